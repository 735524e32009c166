/*
 * The kernel-mode nanobenchmarks of Adams and Agesen (ASPLOS 2006).
 * Invariant: between the marks there are exactly n operations and the loop around them.
 *
 * pgfault and divzero retry: the handler corrects the register (EBX/RBX) that holds the bad pointer or divisor and returns to
 * the same instruction. So the page tables do not change and nothing but the fault is measured.
 */
#include "kernel.h"
#include "ringside_mark.h"
#include "ringside_nanobench.h"
#include "ringside_syscall.h"

static struct {
	word_t vector, good; /* the exception that is expected, and the register value that cures it */
	bool expected;
} fixup;

bool nanobench_trap(struct trap_frame *f)
{
	if (!fixup.expected || f->vector != fixup.vector)
		return false;
	trap_correct(f, fixup.good);
	return true;
}

static void fixup_expect(word_t vector, word_t good)
{
	fixup.vector = vector;
	fixup.good = good;
	fixup.expected = true;
}

static __attribute__((noinline, noclone)) void subroutine(void)
{
	__asm__ volatile("");
}

static int run_callret(word_t n)
{
	RS_MARK_BEGIN(RS_NANOBENCH_CALLRET);
	for (word_t i = 0; i < n; i++)
		subroutine();
	RS_MARK_END(RS_NANOBENCH_CALLRET);
	return 0;
}

/* Ring 1 of the paravirtual builds executes the same instruction: the VMM emulates it. */
static int run_in(word_t n)
{
	RS_MARK_BEGIN(RS_NANOBENCH_IN);
	for (word_t i = 0; i < n; i++)
		__asm__ volatile("inb $0x80, %%al" : : : "eax");
	RS_MARK_END(RS_NANOBENCH_IN);
	return 0;
}

static int run_divzero(word_t n)
{
	fixup_expect(VECTOR_DIVIDE, 1);
	RS_MARK_BEGIN(RS_NANOBENCH_DIVZERO);
	for (word_t i = 0; i < n; i++) {
		uint32_t low = 7, high = 0;
		word_t divisor = 0;
		__asm__ volatile("divl %k2" : "+a"(low), "+d"(high), "+b"(divisor));
	}
	RS_MARK_END(RS_NANOBENCH_DIVZERO);
	fixup.expected = false;
	return 0;
}

/* Two pages of user space whose leaf table exists: the first is mapped, the second is not. */
static bool window_open(struct space *s)
{
	return space_map(s, USER_NANOBENCH, 2 * PAGE_BYTES, RS_PROT_READ | RS_PROT_WRITE) &&
	       space_fault(s, USER_NANOBENCH, FAULT_WRITE);
}

static int run_pgfault(word_t n)
{
	struct space *s = &process_current()->space;
	if (!window_open(s))
		return -1;
	fixup_expect(VECTOR_PAGE_FAULT, USER_NANOBENCH);
	RS_MARK_BEGIN(RS_NANOBENCH_PGFAULT);
	for (word_t i = 0; i < n; i++) {
		word_t pointer = USER_NANOBENCH + PAGE_BYTES;
		__asm__ volatile("movl %k1, (%0)" : "+b"(pointer) : "a"(i) : "memory");
	}
	RS_MARK_END(RS_NANOBENCH_PGFAULT);
	fixup.expected = false;
	return space_unmap(s, USER_NANOBENCH, 2 * PAGE_BYTES) ? 0 : -1;
}

/* The entry alternates between read-only and writable; nobody looks through it meanwhile. Its table is in use: the page was touched before. */
static int run_ptemod(word_t n)
{
	struct space *s = &process_current()->space;
	frame_t table;
	unsigned index;
	if (!window_open(s) || !space_slot(s, USER_NANOBENCH, &table, &index))
		return -1;
	pte_t entry[2];
	(void)*(volatile uint8_t *)USER_NANOBENCH; /* a walk through the table makes it one: a VMM that shadows it traces it from here */
	entry[0] = ((pte_t *)frame_pointer(table))[index];
	entry[1] = entry[0] & ~(pte_t)PTE_RW;
	RS_MARK_BEGIN(RS_NANOBENCH_PTEMOD);
	for (word_t i = 0; i < n; i++)
		mmu_store(USER_NANOBENCH, table, index, entry[i & 1]);
	RS_MARK_END(RS_NANOBENCH_PTEMOD);
	return space_unmap(s, USER_NANOBENCH, 2 * PAGE_BYTES) ? 0 : -1;
}

static int (*const runs[RS_NANOBENCH_COUNT + 1])(word_t n) = {
	[RS_NANOBENCH_IN] = run_in, [RS_NANOBENCH_CR8WR] = arch_nanobench_cr8wr, [RS_NANOBENCH_CALLRET] = run_callret,
	[RS_NANOBENCH_PGFAULT] = run_pgfault,  [RS_NANOBENCH_DIVZERO] = run_divzero,        [RS_NANOBENCH_PTEMOD] = run_ptemod,
};

int nanobench_run(unsigned which, word_t n)
{
	return which <= RS_NANOBENCH_COUNT && runs[which] ? runs[which](n) : -1;
}
