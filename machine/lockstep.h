/*
 * Engines run the same guest side by side, and their states are compared at every block.
 *
 * Invariant: all machines pass through the same block boundaries, for engines stop by budget and budgets are spent alike; at each boundary everything must be equal that a guest, its VMM
 * or a result can tell: registers with their hidden parts, control registers, MSRs, flags, XMM, x87, instruction count, exits, time, output; every LOCKSTEP_MEMORY_EVERY instructions and at
 * the end all memory, at the end the whole result, statistics included.
 *
 * The reference goes block by block. Each engine under test runs twice: block by block too, compared at every block, which finds what is wrong in a block; and in turns of many blocks,
 * of several lengths, compared when a turn ends, which finds what is wrong in chains from block to block. Where those differ, and where memory does, both machines are made
 * again and the distance is bisected: the first block boundary that differs is reported, with the block that led there.
 */
#ifndef MACHINE_LOCKSTEP_H
#define MACHINE_LOCKSTEP_H
#include "machine.h"

enum { LOCKSTEP_CODE = 512, LOCKSTEP_LINES = 48, LOCKSTEP_TURN = 4096, LOCKSTEP_MEMORY_EVERY = 1 << 21 };

struct lockstep_report {
	uint64_t instructions, blocks, turns; /* that agreed: instructions, comparisons at blocks and at ends of turns */
	bool differ;
	bool refused;                 /* lockstep_run() is false because no machine can be made as it is configured */
	/* the first difference: */
	const struct engine *tested;
	bool chained;                 /* it shows in turns of many blocks only */
	uint64_t boundary;            /* instructions retired by then */
	uint64_t pc;                  /* the last block that the reference ran before it: offset in CS, */
	unsigned mode, bytes;         /* code size (2, 4 or 8), and length; 0: not known */
	uint8_t code[LOCKSTEP_CODE];
	struct lockstep_line { char name[24], reference[40], tested[40]; } line[LOCKSTEP_LINES];
	unsigned lines;
};

/* Runs the guest of `c` under each of engine[0..], the first of which is the reference (NULL after the last); c->engine does not matter. turn: the longest, in instructions.
 * False with one line in error: no machine, or no guest. */
bool lockstep_run(const struct machine_config *c, const struct engine *const engine[], uint64_t turn, struct lockstep_report *report, char *error, size_t error_size);

/* ---- lockstep_state.c ---- */
/* Writes a line for each difference into the report (emptied first); false: none. memory: compares that, too. */
bool lockstep_states_differ(struct machine *a, struct machine *b, bool memory, struct lockstep_report *r);
/* Of runs that ended: everything in their results but the engine's name. */
bool lockstep_results_differ(struct machine *a, struct machine *b, struct lockstep_report *r);
#endif
