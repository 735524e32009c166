/* x86_64 on the paravirtual machine: SYSCALL arrives as a callback. Invariant: the kernel itself never uses FS or GS. */
#include "kernel.h"
#include "pv.h"

void pv_entries_init(void)
{
	if (pv_call(PV_SET_CALLBACK, PV_CALLBACK_SYSCALL, (word_t)trap_stubs + 16 * STUB_SYSCALL, 0) < 0)
		panic("the VMM refused the system call entry");
}

int arch_tls_set(word_t base)
{
	pv_call(PV_SET_SEGMENT_BASE, 0, base, 0);
	return 0;
}
