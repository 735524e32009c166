/*
 * Two engines run the same guest side by side, and their states are compared.
 *
 * Invariant: both machines take the same turns with the same budgets, so they stop at the same block boundaries; what is compared is everything of the cpu that a guest can see.
 *
 * Comparing after every block would never let the engine under test chain blocks, where translators go wrong. So turns are long, and when one ends in a difference, both machines
 * are made again, run to where they last agreed, and the turn's length is bisected: the first block boundary that differs is found with the chains that led there.
 */
#ifndef MACHINE_LOCKSTEP_H
#define MACHINE_LOCKSTEP_H
#include "machine.h"

enum { LOCKSTEP_CODE = 512, LOCKSTEP_LINES = 48 };

struct lockstep_report {
	uint64_t turns, instructions; /* that agreed */
	bool differ;
	/* the first difference: */
	uint64_t boundary;            /* instructions retired by then */
	uint64_t pc;                  /* the last block that the reference ran before it: offset in CS, */
	unsigned mode, bytes;         /* code size (2, 4 or 8), and length */
	uint8_t code[LOCKSTEP_CODE];
	struct lockstep_line { char name[16], reference[40], tested[40]; } line[LOCKSTEP_LINES];
	unsigned lines;
};

/* Runs the guest of `c` under c->engine and under engine `reference`, `step` instructions a turn. False with one line in error: no machine, or no guest. */
bool lockstep_run(const struct machine_config *c, const char *reference, uint64_t step, struct lockstep_report *report, char *error, size_t error_size);
#endif
