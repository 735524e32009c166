/*
 * A second, independent implementation of workloads/include/ringside_pv.h: a monitor in ring 0 of bare hardware, so that the paravirtual
 * kernels can be tested under QEMU. It is strict where the contract is strict, and never flushes a translation that it was not asked to.
 *
 * Invariant: frames[f].writable counts the writable leaf entries, in validated tables, that map machine frame f; it is 0 while f is a table.
 */
#ifndef MONITOR_H
#define MONITOR_H
#include "native.h"
#include "ringside_pv.h"

/* The monitor's own window onto machine memory; above the guest's in every address space (monitor_base). */
#define MONITOR_MIB 64u
#define MONITOR_FRAMES (MONITOR_MIB * 256u)
#define MONITOR_CS 0x30u
#define MONITOR_DS 0x38u
#define MONITOR_TSS 0x40u

void monitor_descriptors_init(word_t stack_top);
void monitor_segment_base_set(word_t which, word_t base);
/* True: this root (or upper table) slot is the monitor's own, and holds what it should. */
bool monitor_owns_slot(unsigned level, unsigned index, pte_t entry);
/* Writes the monitor's own slots into a table of the domain builder. */
void monitor_fill_slots(unsigned level, pte_t *table);
/* Hypercall arguments and result. */
void monitor_arguments(const struct trap_frame *f, word_t a[4]);
void monitor_result_set(struct trap_frame *f, long result);
word_t monitor_base(void);
void monitor_start_info_set(struct trap_frame *f, word_t address); /* ESI or RSI, and data segments */
void monitor_trap(struct trap_frame *f);
extern const char hypercall_stub[];

#endif
