/*
 * The result of one run: everything that tables, JSON and databases show. Filled once, by machine_result(); pure data, owned by the caller.
 *
 * Invariant: it holds nothing of the real machine (no wall time, no address): same configuration and seed, same bytes.
 */
#ifndef MACHINE_RESULT_H
#define MACHINE_RESULT_H
#include "../uarch/timing.h"
#include "../vmx-model/vmm.h"

enum run_mode { RUN_EXECUTION, RUN_REPLAY };
enum run_end { END_EXIT /* guest ended by the debug exit port or PV shutdown */, END_BUDGET, END_TRIPLE_FAULT, END_HALTED_FOREVER, END_VMM_FAILED, END_TRACE /* replay reached its end */ };
const char *run_mode_name(enum run_mode m); /* "execution", "replay" */
const char *run_end_name(enum run_end e);

struct result_metric { char name[48]; uint64_t value; };
struct result_exit { char name[40]; uint64_t count, transition_cycles, handler_cycles; };
struct result_region { unsigned id; uint64_t count, cycles, instructions; };

#define RESULT_METRICS 192
/* Of a sampled run: what was counted an instruction in the windows, and the standard error of that as an estimate for the whole run (NaN: one window tells none). */
struct result_estimate { char name[48] /* "cycles" (without idle), "cause.<name>", or a statistic's own */; double mean, error; };
struct result_sampling {
	bool on;
	uint64_t interval, warmup, window, head, seed, offset; /* the schedule; offset: of the first window, behind the head */
	uint64_t windows, measured, warmed;              /* windows behind the head; instructions in head and windows; and in warm-ups */
	uint64_t skips, warmed_cycles;                   /* times the models were left out; cycles of the warm-ups, but for idle ones: far above the windows', warm-ups are too short */
	uint64_t idle;                                   /* cycles halted: known for the whole run, not estimated */
	double skewness;                                 /* of the windows' cycles (Fisher's G1); 0: fewer than two windows */
	unsigned estimates; struct result_estimate estimate[1 + CAUSES + RESULT_METRICS]; /* those that are not 0; "cycles" is first, if there was a window */
};
struct run_result {
	char technique[24], engine[24], core[24] /* "functional" without a timing model */, preset[24], workload[64];
	unsigned width;                 /* 32 or 64: of the guest kernel image */
	enum run_mode mode;
	enum run_end end;
	int exit_code;
	uint64_t seed;
	struct result_sampling sampling; /* on: cycles, by_cause, stat, work and cycles of exits are estimates for the whole run, by what the windows had; there are no regions */
	uint64_t instructions, cycles;  /* cycles 0 without a timing model */
	uint64_t state_hash;            /* guest-visible: device output, exit code, and what user programs computed (order of processes does not matter); equal under all techniques */
	uint64_t machine_hash;          /* registers, all guest memory, device output: equal for the same kernel image when time plays no part. 0 for replay */
	uint64_t by_cause[CAUSES];
	unsigned exits; struct result_exit exit[EXIT_REASONS];       /* those with count > 0 */
	unsigned works; struct result_metric work[VMM_WORKS];        /* VMM handler cycles by kind, > 0 */
	unsigned stats; struct result_metric stat[RESULT_METRICS];   /* tlb.*, walk.*, cache.*, dram.* */
	unsigned regions; struct result_region region[TIMING_REGIONS];
	unsigned unknown; struct result_metric unknown_opcode[32];   /* opcodes outside the subset, by name */
	uint64_t table_bytes_peak, guest_table_bytes;                /* memory spent on tables: the VMM's; the guest's own (tracked table pages) */
	uint64_t guest_touched_bytes;                                /* RAM that the guest reached, in whole pages: the least that a run of it needs. 0 for replay */
	/* Popek and Goldberg 1974 */
	bool equivalence_known, equivalent;   /* state hash against native: filled by a comparison */
	uint64_t emulated;                    /* efficiency = 1 - emulated / instructions */
	uint64_t resource_violations;         /* resource control: must be 0 */
	/* comparison */
	double overhead;                      /* cycles / native cycles; 0 unknown */
	bool has_cycles_error; double cycles_error; /* replay: against the execution-driven run of the same technique */
};
double result_efficiency(const struct run_result *r);
#endif
