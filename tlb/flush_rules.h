/*
 * Which translations end when the guest changes its paging registers or invalidates: the rules of SDM 3A 4.10.4 for guest tables that hardware walks, in one place for every memory part.
 *
 * Invariant: what ends in the softtlb is at least what ends in the hardware; what EV_TLB_FLUSH says is exactly what the manual requires.
 *
 * `now` is the paging after the change (its pcid and vpid are the scope's tags); emit false: the softtlb follows, but no event is written (another event has said it already).
 */
#ifndef TLB_FLUSH_RULES_H
#define TLB_FLUSH_RULES_H
#include "mmu.h"

/* After MOV to CR0, CR3 or CR4, a write of EFER, or a reset. `before`: the paging until now; no_flush: bit 63 of the CR3 value. */
void flush_context(struct mmu *mmu, struct cpu *cpu, const struct paging *before, const struct paging *now, enum context_change why, uint64_t old_value, bool no_flush, bool emit);
void flush_invlpg(struct mmu *mmu, struct cpu *cpu, const struct paging *now, uint64_t gva, bool emit);
void flush_invpcid(struct mmu *mmu, struct cpu *cpu, const struct paging *now, unsigned type, unsigned pcid, uint64_t gva, bool emit);
/* PAE: keeps the PDPTEs of `before` where the change does not load them again (SDM 3A 4.4.1). Returns true when they were loaded: the page at now->root was read. */
bool paging_pdptes_follow(const struct cpu *cpu, const struct paging *before, struct paging *now, enum context_change why, uint64_t old_value);
#endif
