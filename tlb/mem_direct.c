/*
 * The native memory part: no VMM. The hardware walks the guest's own tables, and guest-physical is host-physical.
 */
#include "mmu.h"

void mem_direct_create(struct mem_direct *d)
{
	*d = (struct mem_direct){ .paging = { .format = PAGING_IDENTITY } };
}

static bool direct_translate(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, struct walk_request rq, unsigned size, struct translation *out)
{
	struct mem_direct *d = self;
	struct walk w;
	rq.set_ad = false; /* first look, then change: the tables are tracked, and their contents given away, before their flags move */
	bool good = paging_walk(&d->paging, &mmu->walk_memory, gva, rq, &w);
	mmu_track_walk(mmu, cpu, &w);
	if (good && w.ad_pending) {
		rq.set_ad = true;
		good = paging_walk(&d->paging, &mmu->walk_memory, gva, rq, &w);
	}
	if (!good) {
		mmu_emit_fault(mmu, gva, rq, size, cpu->cpl == 3 && !rq.user);
		mmu_translation_fault(gva, w.error, out);
		return false;
	}
	mmu_translation_from_walk(&d->paging, &w, rq, out);
	return true;
}

static void direct_table_store(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, const struct translation *t, uint64_t value, unsigned size)
{
	(void)self, (void)cpu, (void)gva;
	void *at = phys_ptr(mmu->phys, t->hpa, size);
	if (at)
		memcpy(at, &value, size);
}

static void direct_flush(struct mmu *mmu, enum tlb_flush kind, uint64_t addr)
{
	if (mmu->events)
		event_put(mmu->events, EV_TLB_FLUSH, 0, 0, kind, addr);
}

/* What MOV to CR0 and CR4 invalidate: SDM 3A 4.10.4.1. TLB_FLUSH_KINDS: nothing. */
static enum tlb_flush register_scope(const struct cpu *cpu, enum context_change why, uint64_t old)
{
	uint64_t off0 = why == CONTEXT_CR0 ? old & ~cpu->cr0 : 0, moved = why == CONTEXT_CR4 ? old ^ cpu->cr4 : 0;
	if (why == CONTEXT_RESET)
		return TLB_FLUSH_ALL;
	if ((off0 & CR0_PG) || (moved & (CR4_PGE | CR4_PAE)) || (moved & old & CR4_PCIDE))
		return TLB_FLUSH_VPID;
	if (moved & cpu->cr4 & CR4_SMEP)
		return TLB_FLUSH_PCID;
	return TLB_FLUSH_KINDS;
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

/* Entries made under one are right under the other, but for root and PCID. */
static bool same_rules(const struct paging *a, const struct paging *b)
{
	return a->format == b->format && a->wp == b->wp && a->nxe == b->nxe && a->smep == b->smep && a->smap == b->smap && a->pse == b->pse && a->pge == b->pge;
}

static void direct_context_changed(void *self, struct mmu *mmu, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush)
{
	struct mem_direct *d = self;
	struct paging before = d->paging;
	bool pcide = (cpu->cr4 & CR4_PCIDE) && (cpu->efer & EFER_LMA);
	enum tlb_flush scope = register_scope(cpu, why, old_value);
	paging_from_registers(cpu, &mmu->walk_memory, NULL, &d->paging);
	if (d->paging.format == PAGING_PAE && before.format == PAGING_PAE && !pdptes_due(cpu, why, old_value))
		memcpy(d->paging.pdpte, before.pdpte, sizeof before.pdpte);
	else if (d->paging.format == PAGING_PAE)
		mmu_track_table(mmu, cpu, d->paging.root, d->paging.root);
	if (why == CONTEXT_CR3 && !(pcide && no_flush))
		scope = pcide ? TLB_FLUSH_PCID : TLB_FLUSH_VPID_NOGLOBAL;
	if (scope != TLB_FLUSH_KINDS)
		direct_flush(mmu, scope, scope == TLB_FLUSH_PCID ? d->paging.pcid : 0);
	uint64_t key = d->paging.root | d->paging.pcid;
	if (!same_rules(&before, &d->paging) || (scope != TLB_FLUSH_KINDS && why != CONTEXT_CR3)) {
		mmu_flush_all(mmu, cpu);
		mmu_set_context(mmu, cpu, key, false);
	} else if (why == CONTEXT_CR3 || before.root != d->paging.root || before.pcid != d->paging.pcid) {
		mmu_set_context(mmu, cpu, key, (pcide && no_flush) || mmu_context_unchanged(mmu, key));
		if (pcide && !no_flush)
			mmu_end_contexts(mmu, cpu, 0xfff, d->paging.pcid);
	}
}

static void direct_invlpg(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva)
{
	(void)self;
	direct_flush(mmu, TLB_FLUSH_PAGE, gva);
	mmu_flush_page(mmu, cpu, gva);
}

static void direct_invpcid(void *self, struct mmu *mmu, struct cpu *cpu, unsigned type, unsigned pcid, uint64_t gva)
{
	struct mem_direct *d = self;
	static const enum tlb_flush scope[4] = { TLB_FLUSH_PAGE_PCID, TLB_FLUSH_PCID, TLB_FLUSH_VPID, TLB_FLUSH_VPID_NOGLOBAL };
	direct_flush(mmu, scope[type & 3], (type & 3) == 0 ? (gva & ~0xfffull) | pcid : (type & 3) == 1 ? pcid : 0);
	if (type == 0)
		mmu_flush_page(mmu, cpu, gva);
	else if (type == 1 && pcid != d->paging.pcid)
		mmu_end_contexts(mmu, cpu, 0xfff, pcid);
	else
		mmu_flush_all(mmu, cpu);
}

static const struct paging *direct_paging(void *self)
{
	const struct mem_direct *d = self;
	return &d->paging;
}

static uint64_t direct_gpa_to_hpa(void *self, uint64_t gpa)
{
	(void)self;
	return gpa;
}

static void direct_table_page_installed(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gpa)
{
	struct mem_direct *d = self;
	(void)cpu;
	if (d->paging.format == PAGING_PAE && (d->paging.root & ~0xfffull) == gpa)
		paging_pdptes_load(&d->paging, &mmu->walk_memory);
}

const struct memory_part memory_part_direct = {
	.name = "direct", .translate = direct_translate, .table_store = direct_table_store, .context_changed = direct_context_changed, .invlpg = direct_invlpg,
	.invpcid = direct_invpcid, .hardware_paging = direct_paging, .gpa_to_hpa = direct_gpa_to_hpa, .table_page_installed = direct_table_page_installed,
};
