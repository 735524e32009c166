/* Where every entry into the kernel arrives. Invariant: a user program can only kill itself; a fault of the kernel is a panic. */
#include "kernel.h"
#include "ringside_syscall.h"

static const char *const exception_names[32] = {
	[0] = "divide error", [1] = "debug exception", [2] = "NMI", [3] = "breakpoint", [4] = "overflow", [5] = "bound range exceeded",
	[6] = "invalid opcode", [7] = "device not available", [8] = "double fault", [10] = "invalid TSS", [11] = "segment not present",
	[12] = "stack fault", [13] = "general protection", [14] = "page fault", [16] = "x87 error", [17] = "alignment check",
	[18] = "machine check", [19] = "SIMD error",
};

static const char *exception_name(word_t vector)
{
	return vector < 32 && exception_names[vector] ? exception_names[vector] : "unexpected interrupt";
}

static _Noreturn void trap_kill(const struct trap_frame *f, word_t address)
{
	struct process *p = process_current();
	print("ringside: %s (process %d) killed: %s at %lx", p->name, p->id, exception_name(f->vector), f->ip);
	if (f->vector == VECTOR_PAGE_FAULT)
		print(", address %lx", address);
	print("\n");
	process_exit(RS_STATUS_KILLED);
}

static _Noreturn void trap_panic(const struct trap_frame *f, word_t address)
{
	panic("%s in the kernel at %lx, error %lx, address %lx", exception_name(f->vector), f->ip, f->error, address);
}

/* Addresses of user space may fault in the kernel too, but only in user_copy. */
static void trap_page_fault(struct trap_frame *f, word_t address)
{
	if (address < USER_TOP && process_current() && space_fault(&process_current()->space, address, (unsigned)f->error))
		return;
	if (trap_from_user(f))
		trap_kill(f, address);
	if (f->ip != (word_t)user_copy_access)
		trap_panic(f, address);
	f->ip = (word_t)user_copy_failed;
}

static void trap_exception(struct trap_frame *f)
{
	word_t address = f->vector == VECTOR_PAGE_FAULT ? arch_fault_address() : 0;
	if (!trap_from_user(f) && nanobench_trap(f))
		return;
	if (f->vector == VECTOR_PAGE_FAULT)
		trap_page_fault(f, address);
	else if (trap_from_user(f))
		trap_kill(f, address);
	else
		trap_panic(f, address);
}

void trap_dispatch(struct trap_frame *f)
{
	if (f->vector == VECTOR_SYSCALL) {
		arch_irq_enable();
		syscall_dispatch(f);
		arch_irq_disable();
	} else if (f->vector - VECTOR_IRQ < 16) {
		if (arch_irq_acknowledge((unsigned)f->vector))
			process_tick();
	} else {
		trap_exception(f);
	}
	if (trap_from_user(f) && process_is_due())
		process_yield();
}
