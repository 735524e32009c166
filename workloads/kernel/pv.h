/*
 * The paravirtual machine, private to the paravirtual builds: arch_pv.c is common, i386/pv.c and x86_64/pv.c differ.
 * Invariant: pv_call is the only way to the VMM, and include/ringside_pv.h the only contract.
 */
#ifndef PV_H
#define PV_H
#include "arch.h"
#include "ringside_pv.h"

/* Hypercall; registers by width. */
static inline long pv_call(enum pv_hypercall number, word_t a, word_t b, word_t c);

/* Trap-table entries and callbacks that only this width has. */
void pv_entries_init(void);
void pv_trap_set(unsigned vector, unsigned dpl, unsigned stub);

extern const char trap_stubs[]; /* stubs.S: 16 bytes each */
#define STUB_SYSCALL 48

#include "pv_call.h"
#endif
