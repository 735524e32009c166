/*
 * The thread block of an i386 program. Debian's objects are compiled with the stack protector: they read a canary from %gs:0x14.
 * Invariant: the canary is constant, so that a run does not depend on chance.
 */
#include "ringside_syscall.h"
#include "system.h"

#define CANARY 0x00d2b4f6u

static uint32_t thread_block[16] = { [5] = CANARY };

void rs_thread_start(void)
{
	long selector = rs_call(RS_SYS_SET_TLS, (long)thread_block, 0, 0, 0, 0);
	if (selector < 0)
		rs_exit(120);
	__asm__ volatile("mov %0, %%gs" : : "r"(selector));
}
