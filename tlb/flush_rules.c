/* What ends when: see flush_rules.h. */
#include "flush_rules.h"

static void flush_emit(struct mmu *mmu, const struct paging *now, enum tlb_flush kind, uint64_t addr, bool emit)
{
	if (emit && mmu->events)
		event_put(mmu->events, EV_TLB_FLUSH, 0, now->vpid, kind, addr);
}

/* What MOV to CR0 and CR4 invalidate: SDM 3A 4.10.4.1. TLB_FLUSH_KINDS: nothing. */
static enum tlb_flush register_scope(const struct cpu *cpu, enum context_change why, uint64_t old)
{
	uint64_t off0 = why == CONTEXT_CR0 ? old & ~cpu->cr0 : 0, moved = why == CONTEXT_CR4 ? old ^ cpu->cr4 : 0;
	if (why == CONTEXT_RESET)
		return TLB_FLUSH_ALL;
	if ((off0 & CR0_PG) || (moved & (CR4_PGE | CR4_PAE)) || (moved & old & CR4_PCIDE))
		return TLB_FLUSH_VPID;
	return moved & cpu->cr4 & CR4_SMEP ? TLB_FLUSH_PCID : TLB_FLUSH_KINDS;
}

void flush_context(struct mmu *mmu, struct cpu *cpu, const struct paging *before, const struct paging *now, enum context_change why, uint64_t old_value, bool no_flush, bool emit)
{
	bool pcide = (cpu->cr4 & CR4_PCIDE) && (cpu->efer & EFER_LMA);
	enum tlb_flush scope = register_scope(cpu, why, old_value);
	uint64_t key = now->root | now->pcid;
	if (why == CONTEXT_CR3 && !(pcide && no_flush))
		scope = pcide ? TLB_FLUSH_PCID : TLB_FLUSH_VPID_NOGLOBAL;
	if (scope != TLB_FLUSH_KINDS)
		flush_emit(mmu, now, scope, scope == TLB_FLUSH_PCID ? now->pcid : 0, emit);
	if (!paging_same_rules(before, now) || (scope != TLB_FLUSH_KINDS && why != CONTEXT_CR3)) {
		mmu_flush_all(mmu, cpu);
		mmu_set_context(mmu, cpu, key, false);
	} else if (why == CONTEXT_CR3 || before->root != now->root || before->pcid != now->pcid) {
		mmu_set_context(mmu, cpu, key, (pcide && no_flush) || mmu_context_unchanged(mmu, key));
		if (pcide && !no_flush)
			mmu_end_contexts(mmu, cpu, 0xfff, now->pcid);
	}
}

void flush_invlpg(struct mmu *mmu, struct cpu *cpu, const struct paging *now, uint64_t gva, bool emit)
{
	flush_emit(mmu, now, TLB_FLUSH_PAGE, gva, emit);
	mmu_flush_page(mmu, cpu, gva);
}

void flush_invpcid(struct mmu *mmu, struct cpu *cpu, const struct paging *now, unsigned type, unsigned pcid, uint64_t gva, bool emit)
{
	static const enum tlb_flush scope[4] = { TLB_FLUSH_PAGE_PCID, TLB_FLUSH_PCID, TLB_FLUSH_VPID, TLB_FLUSH_VPID_NOGLOBAL };
	flush_emit(mmu, now, scope[type & 3], (type & 3) == 0 ? (gva & ~0xfffull) | pcid : (type & 3) == 1 ? pcid : 0, emit);
	if (type == 0)
		mmu_flush_page(mmu, cpu, gva);
	else if (type == 1 && pcid != now->pcid)
		mmu_end_contexts(mmu, cpu, 0xfff, pcid);
	else
		mmu_flush_all(mmu, cpu);
}

/* PDPTEs are read again only by these (SDM 3A 4.4.1). */
static bool pdptes_due(const struct cpu *cpu, enum context_change why, uint64_t old)
{
	switch (why) {
	case CONTEXT_CR0: return (old ^ cpu->cr0) & (CR0_PG | CR0_CD | CR0_NW);
	case CONTEXT_CR4: return (old ^ cpu->cr4) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP);
	default: return true;
	}
}

bool paging_pdptes_follow(const struct cpu *cpu, const struct paging *before, struct paging *now, enum context_change why, uint64_t old_value)
{
	if (now->format != PAGING_PAE)
		return false;
	if (before->format != PAGING_PAE || pdptes_due(cpu, why, old_value))
		return true;
	memcpy(now->pdpte, before->pdpte, sizeof now->pdpte);
	return false;
}
