/* faults: children that do what a program must not do; each has to die of it, and nothing else may happen. */
#include "rs.h"

static const char constant[64] = "read only";

static void null_store(void) { __asm__ volatile("movl $1, 0x10" : : : "memory"); }
static void wild_load(void) { __asm__ volatile("movl 0x1000, %%eax" : : : "eax"); }
static void constant_store(void) { __asm__ volatile("movb $1, (%0)" : : "r"(constant) : "memory"); }
static void divide_by_zero(void) { __asm__ volatile("xorl %%ecx, %%ecx; xorl %%edx, %%edx; divl %%ecx" : : : "eax", "ecx", "edx"); }
static void undefined_opcode(void) { __asm__ volatile("ud2"); }
static void privileged(void) { __asm__ volatile("cli"); }
static void halt(void) { __asm__ volatile("hlt"); }
static void port_access(void) { __asm__ volatile("outb %b0, $0x80" : : "a"(0)); }
static void kernel_load(void) { __asm__ volatile("movl (%0), %%eax" : : "r"((long)0xfffff000) : "eax"); }
static void breakpoint(void) { __asm__ volatile("int3"); }
static void protected_store(void)
{
	char *page = rs_map(4096);
	page[0] = 1;
	rs_protect(page, 4096, false);
	((volatile char *)page)[0] = 2;
}
static void unmapped_load(void)
{
	volatile char *page = rs_map(4096);
	page[0] = 1;
	rs_unmap((void *)page, 4096);
	(void)page[0];
}
static void stack_overflow(void)
{
	__asm__ volatile("1: push $0; jmp 1b" : : : "memory");
}

static void (*const crimes[])(void) = {
	null_store, wild_load, constant_store, divide_by_zero, undefined_opcode, privileged, halt,
	port_access, kernel_load, breakpoint, protected_store, unmapped_load, stack_overflow,
};

int main(void)
{
	uint32_t sum = 0;
	RS_MARK_BEGIN(RS_REGION_FAULTS);
	for (unsigned i = 0; i < sizeof crimes / sizeof *crimes; i++) {
		int status, child = rs_fork();
		if (child == 0) {
			crimes[i]();
			rs_exit(3);
		}
		if (child < 0 || rs_wait(&status) != child || status != RS_KILLED)
			rs_fail("faults", "a child got away with it");
		sum = rs_mix(sum, (uint32_t)status + i);
	}
	RS_MARK_END(RS_REGION_FAULTS);
	rs_report("faults", sum);
	return 0;
}
