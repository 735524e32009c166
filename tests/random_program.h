/*
 * Random guest programs, by number: loops, calls, branches, memory that is there or not, flags, strings, SSE, stores over code, changes of ring, width, address space and page tables.
 *
 * Invariant: a program is a function of (seed, what) alone. It runs on the kernel of random_guest.S and ends by itself, but for a few that loop until the budget is used.
 */
#ifndef TESTS_RANDOM_PROGRAM_H
#define TESTS_RANDOM_PROGRAM_H
#include "random_guest.h"
#include <stdbool.h>
#include <stdint.h>

enum random_what { /* what a program may do */
	RANDOM_DEFINED = 1,  /* only what the manual defines: no result that makers are free to choose */
	RANDOM_TIMELESS = 2, /* no timer, nothing that depends on time */
	RANDOM_FLUSHED = 4,  /* page tables are changed with the flush that the manual asks for */
};

struct random_head { /* ORDER HEAD: random_guest.S */
	uint32_t kind;       /* of paging: none, 32-bit, PAE, long mode */
	uint32_t ring, width;/* where it begins: 0 or 3; 2, 4 or 8 bytes */
	uint32_t timer;      /* ticks of the 8254 between interrupts; 0: none */
	uint32_t faults;     /* exceptions before it is ended */
	uint32_t size, eflags;
	uint32_t stack16;    /* 16-bit code of ring 3 has a 16-bit stack */
	uint32_t pad[8];
	uint64_t reg[16];
};

struct random_program {
	uint32_t size;
	union { struct random_head head; uint8_t code[0x10000]; };
};
void random_program_make(struct random_program *p, uint64_t seed, unsigned what);
#endif
