/*
 * What `ringside bench` measures: who runs the bench kernels, how long each took, and how that stands to what we aim at.
 *
 * Invariant: every contestant runs the same guest instructions as a process of its own, and is charged the user CPU time of that process less that of the same process on the
 * kernel `empty`. Real time never enters a result of the simulator: this command reports about it from outside.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* ---- kernels ---- */
struct bench_kernel { const char *name, *file; double instructions; const char *what; };
extern const struct bench_kernel bench_kernels[]; /* workloads/bench.def; [0] is `empty` */
extern const unsigned bench_kernel_count;
#define BENCH_EMPTY 0 /* ORDER: `empty` is the first kernel */
#define BENCH_KERNELS_MOST 32
#define BENCH_RUNS_MOST 15

/* ---- contestants (bench_contestants.c) ---- */
enum bench_contestant { CONTEST_FUNCTIONAL, CONTEST_TLB, CONTEST_FIXED, CONTEST_DBT, CONTEST_DBT_TLB, CONTEST_DBT_FIXED, CONTEST_DBT_NESTED, CONTEST_DBT_SHADOW,
	CONTEST_BOCHS, CONTEST_QEMU, CONTEST_QEMU_ICOUNT, CONTESTANTS }; /* ORDER CONTEST: contestants[] in bench_contestants.c */
#define CONTEST_OURS CONTEST_BOCHS /* those below are Ringside itself */

struct bench_place {        /* where things are */
	char self[512];     /* this program */
	char images[512];   /* kernels and disks */
	char scratch[256];  /* temporary directory */
};

const char *bench_contestant_name(enum bench_contestant c);
const char *bench_contestant_what(enum bench_contestant c);
/* Whom its `ratio` is against: with peers, or among ourselves. */
enum bench_contestant bench_contestant_base(enum bench_contestant c, bool peers);
/* Whether it can be had here: Ringside always; the others when their program is on PATH. */
bool bench_contestant_present(enum bench_contestant c);
/* Debian's package that has it; NULL: Ringside. */
const char *bench_contestant_package(enum bench_contestant c);
/* First line that tells the version of a program that is not this one; "" when unknown. */
void bench_contestant_version(enum bench_contestant c, const struct bench_place *p, char *version, size_t size);

enum bench_end { BENCH_GOOD, BENCH_BAD /* did not start, ran out of time, or the guest ended otherwise than it should */, BENCH_INTERRUPTED /* by the user */ };
struct bench_sample {
	double seconds;   /* user CPU time of the process; NAN: not to be had */
	double resident;  /* bytes: most that it had at a time */
	double touched;   /* bytes of guest RAM that the guest reached; NAN: not told */
};
/* Runs one kernel. Fills *s when the end is good. */
enum bench_end bench_contestant_run(enum bench_contestant c, const struct bench_place *p, const struct bench_kernel *k, struct bench_sample *s);

/* Finds this program and the images, makes the temporary directory, and holds signals that would end this process and leave it there. False with a line in error. */
bool bench_place_create(struct bench_place *p, char *error, size_t error_size);
/* Removes it with all that is in it, and lets signals through again. */
void bench_place_destroy(const struct bench_place *p);

/* ---- processes (bench_process.c) ---- */
struct bench_task {                     /* a program, or a function in a process of its own */
	const char *const *argument;    /* NULL: body */
	int (*body)(void *self);        /* returns the exit status */
	void *self;
	const char *output;             /* file that gets what it prints; NULL: nobody does */
};
struct bench_usage { double user, real, resident /* bytes */; int status /* of its exit, or minus the signal that ended it */; };
/* BENCH_GOOD: it ended, with u->status. BENCH_BAD: it could not be started. */
enum bench_end bench_process_run(const struct bench_task *t, struct bench_usage *u);
/* Until bench_signals_release(), signals that end a program wait; bench_process_run() ends its process and returns BENCH_INTERRUPTED when one comes. */
void bench_signals_hold(void);
void bench_signals_release(void);

/* ---- other runs (bench_replays.c, bench_scaling.c): replays of recorded runs; two machines side by side ---- */
enum bench_replay { REPLAY_PROGRAM, REPLAY_GUPS, REPLAYS }; /* ORDER REPLAY: replays[] in bench_replays.c */
struct bench_speed { double references, seconds; }; /* `seconds` less what the replay of an empty recording takes */
/* The kernel that stands for it: it is measured when that one is chosen. */
const char *bench_replay_kernel(enum bench_replay r);
const char *bench_replay_what(enum bench_replay r);
/* Replays once, with the modelled TLBs; records first when that was not done yet. References: replay.references, a data access or the entry of a block each. */
enum bench_end bench_replay_run(enum bench_replay r, const struct bench_place *p, struct bench_speed *speed);

#define BENCH_SCALING_KERNEL "sort"
/* Real time of two runs in turn over that of the same two on threads of one process, by the translator with the fixed core. NAN: this computer has one processor. */
enum bench_end bench_scaling_run(const struct bench_place *p, double *times);

/* ---- all together (cmd_bench.c fills it; bench_figures.c) ---- */
struct bench {
	struct bench_place place;
	unsigned runs;
	bool progress, peers, quick;
	double start;  /* when the first run began, by some clock */
	bool late;     /* runs were left out, for a quick bench has to end */
	bool chosen[BENCH_KERNELS_MOST];
	struct bench_sample sample[BENCH_KERNELS_MOST][CONTESTANTS][BENCH_RUNS_MOST];
	struct bench_speed replay[REPLAYS][BENCH_RUNS_MOST]; /* NAN: not measured */
	double scaling[BENCH_RUNS_MOST];                     /* the same */
	double seconds[BENCH_KERNELS_MOST][CONTESTANTS];     /* medians, start-up subtracted; NAN: not to be had */
	char version[CONTESTANTS][128];
};

/* Contestants that take part: all of ours, and the peers when they were asked for. */
static inline bool bench_takes_part(const struct bench *b, enum bench_contestant c) { return c < CONTEST_OURS || b->peers; }
static inline bool bench_counts(const struct bench *b, unsigned k) { return b->chosen[k] && k != BENCH_EMPTY; }
/* The kernel of that name; bench_kernel_count: there is none. */
unsigned bench_kernel_find(const char *name);

void bench_medians_fill(struct bench *b);
double bench_speed_of(const struct bench *b, unsigned k, enum bench_contestant c); /* million instructions a second */
double bench_ratio(const struct bench *b, unsigned k, enum bench_contestant c, enum bench_contestant base); /* times as fast as `base` */
double bench_geometric_mean(const struct bench *b, enum bench_contestant c, enum bench_contestant base);    /* of the ratios; NAN: there is none */

/* Where the time of the fixed model goes, by difference: the interpreter alone; writing events and the modelled TLBs; caches, DRAM and accounts. A part that noise makes negative is 0. */
struct bench_limits { double engine, tlb, memory; }; /* nanoseconds an instruction */
struct bench_limits bench_limits_of(const struct bench *b, unsigned k);
const char *bench_limit_name(struct bench_limits l);

struct bench_aim {
	const char *name, *unit; /* unit of aim and value: "times", ... */
	double aim, value;       /* value: NAN: not measured */
	bool at_most;            /* met when value <= aim; else when value >= aim */
	const char *kernel;      /* that decides: the only one, or the worst one; "" when none does */
	double worst;            /* that kernel's own value */
	unsigned missing;        /* kernels (memory: runs) that were chosen, but could not be measured: a mean or worst one of the others decides nothing */
};
unsigned bench_aim_count(void);
struct bench_aim bench_aim_of(const struct bench *b, unsigned i);
/* 1 met, 0 not met, -1 not measured, or not on every kernel that was chosen. */
int bench_aim_met(const struct bench_aim *a);

/* ---- output (bench_print.c) ---- */
void bench_print(const struct bench *b);
void bench_print_json(const struct bench *b);
#endif
