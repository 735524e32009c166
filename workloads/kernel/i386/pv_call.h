/* i386 hypercall (include/ringside_pv.h). Invariant: all registers but EAX are preserved by the VMM. */
#ifndef PV_CALL_H
#define PV_CALL_H

static inline long pv_call(enum pv_hypercall number, word_t a, word_t b, word_t c)
{
	long result;
	__asm__ volatile("int $0x82" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
}

#endif
