#include "kernel.h"
#include "ringside_nanobench.h"

int arch_nanobench_cr8wr(word_t n)
{
	(void)n;
	return RS_NANOBENCH_NOT_APPLICABLE; /* CR8 exists in 64-bit mode only */
}
