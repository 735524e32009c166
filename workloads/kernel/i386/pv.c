/* i386 on the paravirtual machine: system calls are `int $0x80`. Invariant: user programs reach their thread block through PV_UTLS32. */
#include "kernel.h"
#include "pv.h"

void pv_entries_init(void)
{
	pv_trap_set(VECTOR_SYSCALL, 3, STUB_SYSCALL);
}

int arch_tls_set(word_t base)
{
	pv_call(PV_SET_SEGMENT_BASE, 0, base, 0);
	return PV_UTLS32;
}
