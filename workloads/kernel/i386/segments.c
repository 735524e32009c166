/* User FS and GS, which stay loaded in the kernel. Invariant: a value put back was loadable in ring 3, so it is loadable here. */
#include "arch.h"

word_t arch_segments_get(void)
{
	word_t fs, gs;
	__asm__ volatile("mov %%fs, %0; mov %%gs, %1" : "=r"(fs), "=r"(gs));
	return fs << 16 | (gs & 0xffff);
}

void arch_segments_set(word_t segments)
{
	__asm__ volatile("mov %0, %%fs; mov %1, %%gs" : : "r"(segments >> 16), "r"(segments & 0xffff));
}
