/*
 * Region ids for ringside_mark.h: which number stands for which measured region of our guest programs.
 *
 * Invariant: an id is never used for two regions, and never changes its meaning.
 * 1..7 are the nanobenchmarks of Adams and Agesen (ASPLOS 2006); their regions hold exactly n operations and the
 * loop around them. From 16 on: the main region of each program.
 */
#ifndef RINGSIDE_NANOBENCH_H
#define RINGSIDE_NANOBENCH_H

enum rs_nanobench {
	RS_NANOBENCH_SYSCALL = 1, /* user mode: a null system call */
	RS_NANOBENCH_IN = 2,      /* kernel: byte read of port 0x80 */
	RS_NANOBENCH_CR8WR = 3,   /* kernel, 64-bit native only: write CR8 */
	RS_NANOBENCH_CALLRET = 4, /* kernel: call and return of an empty subroutine */
	RS_NANOBENCH_PGFAULT = 5, /* kernel: store to a not-present page; the handler corrects the pointer; retry */
	RS_NANOBENCH_DIVZERO = 6, /* kernel: divide by zero; the handler corrects the divisor; retry */
	RS_NANOBENCH_PTEMOD = 7,  /* kernel: store to a linked page-table entry, no invalidation */
};
#define RS_NANOBENCH_COUNT 7
#define RS_NANOBENCH_NAMES { "", "syscall", "in", "cr8wr", "callret", "pgfault", "divzero", "ptemod" }
#define RS_NANOBENCH_NOT_APPLICABLE (-38)

enum rs_region {
	RS_REGION_FORKWAIT = 16,
	RS_REGION_PINGPONG = 17,
	RS_REGION_GUPS = 18,
	RS_REGION_CHASE = 19,
	RS_REGION_SORT = 20,
	RS_REGION_PTSTORM = 21,
	RS_REGION_ZLIB_COMPRESS = 22,
	RS_REGION_ZLIB_DECOMPRESS = 23,
	RS_REGION_EXECS = 24,
	RS_REGION_FAULTS = 25,
	RS_REGION_PREEMPT = 26,
	RS_REGION_NAP = 27,
};

#endif
