/*
 * The native memory part: no VMM. The hardware walks the guest's own tables, and guest-physical is host-physical.
 */
#include "flush_rules.h"

void mem_direct_create(struct mem_direct *d)
{
	*d = (struct mem_direct){ .paging = { .format = PAGING_IDENTITY } };
}

static bool direct_translate(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, struct walk_request rq, unsigned size, struct translation *out)
{
	struct mem_direct *d = self;
	struct walk w;
	struct walk_steps steps;
	if (paging_walk_plain(&d->paging, &mmu->walk_memory, NULL, gva, rq, &w, &steps) && !w.ad_pending) {
		for (unsigned level = paging_format_levels(d->paging.format); level >= steps.leaf; level--)
			mmu_track_table(mmu, cpu, steps.guest[level], steps.guest[level]);
		mmu_translation_from_walk(&d->paging, &w, rq, out);
		return true;
	}
	rq.set_ad = false; /* first look, then change: the tables are tracked, and their contents given away, before their flags move */
	bool good = paging_walk(&d->paging, &mmu->walk_memory, gva, rq, &w);
	mmu_track_walk(mmu, cpu, &w);
	if (good && w.ad_pending) {
		rq.set_ad = true;
		good = paging_walk(&d->paging, &mmu->walk_memory, gva, rq, &w);
	}
	if (!good) {
		mmu_emit_fault(mmu, gva, rq, size, cpu->cpl == 3 && !rq.user, false);
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

static void direct_context_changed(void *self, struct mmu *mmu, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush)
{
	struct mem_direct *d = self;
	struct paging before = d->paging;
	paging_from_registers(cpu, &mmu->walk_memory, NULL, &d->paging);
	if (paging_pdptes_follow(cpu, &before, &d->paging, why, old_value))
		mmu_track_table(mmu, cpu, d->paging.root, d->paging.root);
	flush_context(mmu, cpu, &before, &d->paging, why, old_value, no_flush, true);
}

static void direct_invlpg(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva)
{
	struct mem_direct *d = self;
	flush_invlpg(mmu, cpu, &d->paging, gva, true);
}

static void direct_invpcid(void *self, struct mmu *mmu, struct cpu *cpu, unsigned type, unsigned pcid, uint64_t gva)
{
	struct mem_direct *d = self;
	flush_invpcid(mmu, cpu, &d->paging, type, pcid, gva, true);
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
