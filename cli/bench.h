/*
 * What `ringside bench` measures: who runs the bench kernels, and how long each took.
 *
 * Invariant: every contestant runs the same guest instructions as a process of its own, and is charged the user CPU time of that process less that of the same process on the
 * kernel `empty`. Real time never enters a result of the simulator: this command reports about it from outside.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H
#include <stdbool.h>
#include <stddef.h>

struct bench_kernel { const char *name, *file; double instructions; const char *what; };
extern const struct bench_kernel bench_kernels[]; /* workloads/bench.def; [0] is `empty` */
extern const unsigned bench_kernel_count;
#define CONTEST_OURS CONTEST_BOCHS /* those below are Ringside itself */
#define BENCH_KERNELS_MOST 32

enum bench_contestant { CONTEST_FUNCTIONAL, CONTEST_TLB, CONTEST_FIXED, CONTEST_DBT, CONTEST_DBT_FIXED, CONTEST_BOCHS, CONTEST_QEMU, CONTESTANTS }; /* ORDER CONTEST: contestants[] in bench_contestants.c */

struct bench_place {        /* where things are */
	char self[512];     /* this program */
	char images[512];   /* kernels and disks */
	char scratch[256];  /* temporary directory */
};

const char *bench_contestant_name(enum bench_contestant c);
const char *bench_contestant_what(enum bench_contestant c);
/* Whether it can be had here: Ringside always; the others when their program is on PATH. */
bool bench_contestant_present(enum bench_contestant c);
/* First line that tells the version of a program that is not this one; "" when unknown. */
void bench_contestant_version(enum bench_contestant c, const struct bench_place *p, char *version, size_t size);
enum bench_end { BENCH_GOOD, BENCH_BAD /* did not start, ran out of time, or the guest ended otherwise than it should */, BENCH_INTERRUPTED /* by the user */ };
/* Runs one kernel. *seconds: user CPU time. */
enum bench_end bench_contestant_run(enum bench_contestant c, const struct bench_place *p, const struct bench_kernel *k, double *seconds);

/* Finds this program and the images, and makes the temporary directory. False with a line in error. */
bool bench_place_create(struct bench_place *p, char *error, size_t error_size);
/* Removes it with what bench_contestant_run() put there. */
void bench_place_destroy(const struct bench_place *p);
#endif
