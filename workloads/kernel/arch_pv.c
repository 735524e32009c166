/*
 * The platform "paravirtual machine" (include/ringside_pv.h): every privileged deed is a hypercall.
 *
 * Invariant: a frame that is a page table, or about to be linked as one, is mapped read-only at KBASE + frame; every other
 * frame of ours is mapped writable there. Entries of page tables hold machine frames; frame_t is always pseudo-physical.
 *
 * Updates of tables are queued, in order, and reach the VMM in one hypercall at mmu_commit; invalidations follow them.
 */
#include "kernel.h"
#include "pv.h"
#include "ringside_nanobench.h"

#define UPDATES_MAX 512 /* <= 2048 of PV_MMU_UPDATE */
#define OPS_MAX 64
#define NOT_OURS 0xffffffffu

static struct {
	volatile struct pv_shared_info *shared;
	const unsigned *p2m, *m2p;
	word_t m2p_entries;
	frame_t kernel_root;
	unsigned update_count, op_count;
	struct pv_mmu_update updates[UPDATES_MAX];
	struct pv_mmuext_op ops[OPS_MAX];
} pv;

extern char kernel_end[]; /* linker script */

static void *physical_pointer(word_t address)
{
	return (void *)(KBASE + address);
}

static word_t larger(word_t a, word_t b)
{
	return a > b ? a : b;
}

/* ---- start ---- */

void pv_trap_set(unsigned vector, unsigned dpl, unsigned stub)
{
	struct pv_trap trap = { .vector = vector, .dpl = dpl, .handler = (word_t)trap_stubs + 16 * stub };
	if (pv_call(PV_SET_TRAP_TABLE, (word_t)&trap, 1, 0) < 0)
		panic("the VMM refused trap %u", vector);
}

static void traps_init(void)
{
	for (unsigned v = 0; v < 32; v++)
		pv_trap_set(v, v == 3 || v == 4 ? 3 : 0, v);
	if (pv_call(PV_SET_CALLBACK, PV_CALLBACK_EVENT, (word_t)trap_stubs + 16 * VECTOR_IRQ, 0) < 0)
		panic("the VMM refused the event entry");
	pv_entries_init();
}

void arch_init(struct boot_info *info, word_t loader)
{
	const struct pv_start_info *start = (const struct pv_start_info *)loader;
	word_t top = larger((word_t)kernel_end - KBASE, (word_t)start->free_pa);
	if (start->magic != PV_MAGIC || start->width != 8 * sizeof(word_t))
		panic("not started by a VMM that speaks our interface");
	pv.shared = (volatile struct pv_shared_info *)(word_t)start->shared_info;
	pv.p2m = (const unsigned *)(word_t)start->p2m;
	pv.m2p = (const unsigned *)(word_t)start->m2p;
	pv.m2p_entries = (word_t)start->m2p_entries;
	pv.kernel_root = (frame_t)(start->pt_base_pa >> 12);
	pv.shared->upcall_mask = 1;
	if (start->mod_bytes) {
		info->archive = physical_pointer((word_t)start->mod_start_pa);
		info->archive_bytes = (word_t)start->mod_bytes;
		top = larger(top, (word_t)(start->mod_start_pa + start->mod_bytes));
	}
	info->frames = (frame_t)start->nr_pages;
	info->first_free = (frame_t)((top + PAGE_BYTES - 1) / PAGE_BYTES);
	for (unsigned i = 0; i < sizeof start->cmdline - 1 && start->cmdline[i]; i++)
		info->cmdline[i] = start->cmdline[i];
	traps_init();
}

/* ---- interrupts and time ---- */

void arch_irq_enable(void)
{
	pv.shared->upcall_mask = 0;
	__asm__ volatile("" : : : "memory");
	if (pv.shared->upcall_pending)
		pv_call(PV_FORCE_EVENT, 0, 0, 0);
}

void arch_irq_disable(void)
{
	pv.shared->upcall_mask = 1;
	__asm__ volatile("" : : : "memory");
}

word_t arch_irq_save(void)
{
	word_t state = pv.shared->upcall_mask;
	arch_irq_disable();
	return state;
}

void arch_irq_restore(word_t state)
{
	__asm__ volatile("" : : : "memory");
	if (!state)
		arch_irq_enable();
}

void arch_idle(void)
{
	pv_call(PV_SCHED_OP, PV_SCHED_BLOCK, 0, 0);
	arch_irq_disable();
}

bool arch_irq_acknowledge(unsigned vector)
{
	unsigned events = 0;
	(void)vector;
	pv.shared->upcall_pending = 0; /* before reading: a later event sets it again */
	__asm__ volatile("xchgl %0, %1" : "+r"(events), "+m"(pv.shared->pending_events));
	return events & PV_EVENT_TIMER;
}

void arch_timer_start(unsigned hz)
{
	pv_call(PV_SET_TIMER, hz, 0, 0);
}

/* ---- console and end ---- */

void arch_console_write(const char *bytes, unsigned count)
{
	pv_call(PV_CONSOLE_WRITE, (word_t)bytes, count, 0);
}

_Noreturn void arch_shutdown(unsigned code)
{
	for (;;)
		pv_call(PV_SCHED_OP, PV_SCHED_SHUTDOWN, code, 0);
}

word_t arch_fault_address(void)
{
	return (word_t)pv.shared->cr2;
}

void arch_stack_set(word_t top)
{
	pv_call(PV_STACK_SWITCH, top, 0, 0);
}

/* ---- page tables ---- */

static pte_t machine_address(frame_t frame)
{
	return (pte_t)pv.p2m[frame] << 12;
}

pte_t pte_make(frame_t frame, pte_t flags)
{
	return machine_address(frame) | flags;
}

frame_t pte_frame(pte_t entry)
{
	word_t machine = (word_t)((entry & PTE_ADDRESS) >> 12);
	if (machine >= pv.m2p_entries || pv.m2p[machine] == NOT_OURS)
		panic("page-table entry %lx holds a frame that is not ours", (word_t)entry);
	return pv.m2p[machine];
}

static void updates_send(void)
{
	for (unsigned done = 0; done < pv.update_count;) {
		long n = pv_call(PV_MMU_UPDATE, (word_t)(pv.updates + done), pv.update_count - done, 0);
		if (n <= 0)
			panic("the VMM refused a page-table update: entry at %lx, value %lx", (word_t)pv.updates[done].ptr,
			      (word_t)pv.updates[done].val);
		done += (unsigned)n;
	}
	pv.update_count = 0;
}

static void ops_send(void)
{
	if (pv.op_count && pv_call(PV_MMUEXT_OP, (word_t)pv.ops, pv.op_count, 0) < 0)
		panic("the VMM refused operation %u on %lx", pv.ops[0].op, (word_t)pv.ops[0].arg);
	pv.op_count = 0;
}

void mmu_commit(void)
{
	updates_send();
	ops_send();
}

static void op_queue(enum pv_mmuext op, word_t argument)
{
	if (pv.op_count == OPS_MAX)
		mmu_commit();
	pv.ops[pv.op_count++] = (struct pv_mmuext_op){ .op = op, .arg = argument };
}

void mmu_write(frame_t table, unsigned index, pte_t value)
{
	if (pv.update_count == UPDATES_MAX)
		updates_send();
	pv.updates[pv.update_count++] = (struct pv_mmu_update){ .ptr = machine_address(table) + index * sizeof(pte_t), .val = value };
}

/* Queues the change of the mapping of `frame` at KBASE. The kernel's half is shared by all roots, so once is enough. */
static void direct_map_set(frame_t frame, bool writable)
{
	word_t va = KBASE + ((word_t)frame << 12);
	frame_t table = pv.kernel_root;
	for (unsigned level = PT_LEVELS; level; level--) {
		unsigned index = (unsigned)(va >> (12 + PT_BITS * (level - 1))) & ((1u << PT_BITS) - 1);
		pte_t entry = ((volatile pte_t *)frame_pointer(table))[index];
		if (level > 1)
			table = pte_frame(entry);
		else
			mmu_write(table, index, writable ? entry | PTE_RW : entry & ~(pte_t)PTE_RW);
	}
	mmu_invalidate(va);
}

void mmu_table_seal(frame_t table)
{
	direct_map_set(table, false);
}

void mmu_table_unseal(frame_t table)
{
	direct_map_set(table, true);
}

frame_t mmu_kernel_root(void)
{
	return pv.kernel_root;
}

void mmu_root_load(frame_t root)
{
	op_queue(PV_MMUEXT_NEW_BASEPTR, pv.p2m[root]);
	mmu_commit();
}

void mmu_root_adopt(frame_t root)
{
	op_queue(PV_MMUEXT_PIN, pv.p2m[root]);
	mmu_commit();
}

void mmu_root_retire(frame_t root)
{
	op_queue(PV_MMUEXT_UNPIN, pv.p2m[root]);
	mmu_commit();
}

void mmu_invalidate(word_t va)
{
	op_queue(PV_MMUEXT_INVLPG, va);
}

void mmu_flush(void)
{
	op_queue(PV_MMUEXT_FLUSH, 0);
}

void mmu_replace(word_t va, frame_t table, unsigned index, pte_t value)
{
	if (pv.update_count == 0 && pv.op_count == 0) {
		if (pv_call(PV_UPDATE_VA, va, value, 0) < 0)
			panic("the VMM refused value %lx for %lx", (word_t)value, va);
		return;
	}
	/* The table itself may still be in the queue. */
	mmu_write(table, index, value);
	mmu_invalidate(va);
	mmu_commit();
}

void mmu_store(word_t va, frame_t table, unsigned index, pte_t value)
{
	(void)va;
	mmu_write(table, index, value);
	updates_send();
}

