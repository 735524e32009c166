/* The cr8wr nanobenchmark. Ring 1 of the paravirtual build executes the same instruction: the VMM emulates it. */
#include "kernel.h"
#include "ringside_mark.h"
#include "ringside_nanobench.h"

int arch_nanobench_cr8wr(word_t n)
{
	RS_MARK_BEGIN(RS_NANOBENCH_CR8WR);
	for (word_t i = 0; i < n; i++)
		__asm__ volatile("mov %0, %%cr8" : : "r"(i & 1));
	RS_MARK_END(RS_NANOBENCH_CR8WR);
	__asm__ volatile("mov %0, %%cr8" : : "r"((word_t)0));
	return 0;
}
