/* 64-bit programs have no segments but the base of FS (arch_tls_set). Invariant: none to keep. */
#include "arch.h"

word_t arch_segments_get(void)
{
	return 0;
}

void arch_segments_set(word_t segments)
{
	(void)segments;
}
