/*
 * Guest speeds in the results database: table `bench`, one row a kernel and contestant, and table `bench_aims`, one row an aim; made at first use.
 *
 * Invariant: one transaction a bench; rows of one bench share `bench`. These are the only figures in the database that depend on the real computer and its clock.
 */
#ifndef ANALYSIS_BENCH_RESULTS_H
#define ANALYSIS_BENCH_RESULTS_H
#include "results.h"

struct bench_row {
	const char *kernel, *contestant, *version; /* version: of the program that ran it */
	double instructions;                       /* of the guest */
	unsigned runs;
	double seconds;                            /* user CPU time, median of the runs, start-up subtracted; NAN: not to be had, as the ratios then */
	double ratio_to_bochs, ratio_to_qemu;      /* how many times faster than these, in this bench */
};
struct bench_aim_row {
	const char *name, *unit, *kernel; /* kernel: that decides; "": none does */
	double aim;
	bool at_most;
	double value;                     /* NAN: not measured */
	int met;                          /* 1, 0; negative: not measured */
};
/* Writes all rows. False with one line in error. */
bool bench_results_write(struct results_db *db, const struct bench_row *rows, unsigned n, const struct bench_aim_row *aims, unsigned m, char *error, size_t error_size);
#endif
