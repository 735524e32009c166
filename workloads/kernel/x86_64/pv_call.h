/* x86_64 hypercall (include/ringside_pv.h). Invariant: all registers but RAX are preserved by the VMM. */
#ifndef PV_CALL_H
#define PV_CALL_H

static inline long pv_call(enum pv_hypercall number, word_t a, word_t b, word_t c)
{
	long result;
	__asm__ volatile("int $0x82" : "=a"(result) : "a"((word_t)number), "D"(a), "S"(b), "d"(c) : "memory");
	return result;
}

#endif
