/*
 * The platform under the kernel: arch_native.c (bare hardware) or arch_pv.c (include/ringside_pv.h), one of them linked.
 *
 * Invariant: shared code never executes a privileged instruction and never stores to a linked page table; it asks here.
 * A change of page tables is certain to have happened only after mmu_commit(): a platform may queue it. Shared code
 * commits at the end of each operation and does not read back an entry that it changed before that.
 */
#ifndef ARCH_H
#define ARCH_H
#include "width.h"

typedef uint32_t frame_t; /* a physical (paravirt: pseudo-physical) frame number; 0 = none */

struct boot_info {
	frame_t frames;           /* RAM is frames 0 .. frames-1 */
	frame_t first_free;       /* everything below is in use */
	const uint8_t *archive;   /* first module; NULL: none */
	word_t archive_bytes;
	char cmdline[512];
};

/* Boot: fills info, sets up descriptors, traps, kernel mapping; interrupts stay off. loader: what the loader passed. */
void arch_init(struct boot_info *info, word_t loader);

/* Interrupts. arch_irq_save returns the old state for arch_irq_restore. arch_idle waits for one, returns with them off. */
void arch_irq_enable(void);
void arch_irq_disable(void);
word_t arch_irq_save(void);
void arch_irq_restore(word_t state);
void arch_idle(void);

/* Acknowledges the interrupt `vector`; true if it is the timer's. */
bool arch_irq_acknowledge(unsigned vector);
void arch_timer_start(unsigned hz);

void arch_console_write(const char *bytes, unsigned count);
_Noreturn void arch_shutdown(unsigned code);

/* Address of the page fault being handled; must be asked before anything else can fault. */
word_t arch_fault_address(void);

/* Kernel stack for the next entry from user mode. */
void arch_stack_set(word_t top);
/* Thread segment of the running program; returns the selector for it (0: none needed) or -1 (this platform has none). */
int arch_tls_set(word_t base);
/* 32-bit user FS and GS stay loaded in the kernel; a switch saves and loads them. Nothing in 64-bit mode. */
word_t arch_segments_get(void);
void arch_segments_set(word_t segments);
/* Saves callee-saved registers and the stack pointer at *save, continues from stack pointer `load` (switch.S). */
void arch_switch(word_t *save, word_t load);
/* Restores the trap frame at the stack pointer (entry_*.S); the first thing a new process does. */
void trap_return(void);

/*
 * Copies between user and kernel memory (switch.S); returns how many bytes were left when it met a page that the process
 * may not access. The fault handler recognises the one instruction, user_copy_access, and continues at user_copy_failed.
 */
word_t user_copy(void *to, const void *from, word_t bytes);
extern const char user_copy_access[], user_copy_failed[];

/* Page-table entries. */
#define PTE_P 1u
#define PTE_RW 2u
#define PTE_US 4u
pte_t pte_make(frame_t frame, pte_t flags);
frame_t pte_frame(pte_t entry);

/* The root that holds only the kernel's half. Every root's upper slots are copies of its. */
frame_t mmu_kernel_root(void);
/* Makes `root` the present address space. */
void mmu_root_load(frame_t root);
/* A filled table stops being ordinary memory, before it is linked; and becomes it again after its last link is gone. */
void mmu_table_seal(frame_t table);
void mmu_table_unseal(frame_t table);
/* A sealed root becomes loadable; and stops being it (it must not be loaded). */
void mmu_root_adopt(frame_t root);
void mmu_root_retire(frame_t root);
/* Changes entry `index` of a linked table; translations stay as they are. */
void mmu_write(frame_t table, unsigned index, pte_t value);
/* Changes the entry that maps va in the present address space and invalidates va. Done when it returns. */
void mmu_replace(word_t va, frame_t table, unsigned index, pte_t value);
void mmu_invalidate(word_t va);
void mmu_flush(void); /* all user translations */
void mmu_commit(void);
/* One unbatched store to the linked entry that maps va, without invalidation where that exists: the nanobenchmark ptemod. */
void mmu_store(word_t va, frame_t table, unsigned index, pte_t value);

/* The nanobenchmarks that are one privileged instruction: n times, or RS_NANOBENCH_NOT_APPLICABLE. */
int arch_nanobench_cr8wr(word_t n);

static inline void *frame_pointer(frame_t frame) { return (void *)(KBASE + ((word_t)frame << 12)); }
static inline bool trap_from_user(const struct trap_frame *f) { return (f->cs & 3) == 3; }

#endif
