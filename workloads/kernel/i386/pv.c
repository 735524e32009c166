/* i386 on the paravirtual machine: system calls are `int $0x80`. Invariant: the VMM's GDT has no thread segment for us. */
#include "kernel.h"
#include "pv.h"

void pv_entries_init(void)
{
	pv_trap_set(VECTOR_SYSCALL, 3, STUB_SYSCALL);
}

int arch_tls_set(word_t base)
{
	(void)base;
	return -1;
}
