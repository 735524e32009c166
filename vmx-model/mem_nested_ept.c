/*
 * Nested paging with EPT: the hardware walks the guest's own tables, and each address found in them through the VMM's EPT.
 *
 * Invariant: a present EPT entry maps a guest-physical page to the frame that the p2m says, read, write and execute; it is made at the first EPT violation and stays.
 * Guest-physical addresses without memory have none: each access to them exits and is answered as an open bus.
 */
#include "vmm.h"
#include <stdlib.h>

enum { EPT_RWX = 7, EPT_WB = 6 << 3, EPT_PS = 0x80, EPT_A = 0x100, EPT_D = 0x200 }; /* SDM 3C tables 28-1 to 28-6 */
#define EPT_ADDRESS 0x000ffffffffff000ull

/*
 * What walks have found of a guest page, so that a later fill need not go through the EPT again to learn that nothing is left to do there. EPT entries stay as they are once made, and
 * no one clears their flags, so neither does this list.
 */
enum { PAGE_REACHED = 1 /* mapped, accessed flags set all the way */, PAGE_WRITTEN = 2 /* and the dirty flag, where there are such flags */ };

struct nested { struct vmm *v; struct paging ept; uint8_t *page; /* by guest page; NULL: large EPT pages, where reach is the EPT's to tell */ };

/* The EPT table of `level` for gpa, made on the way from the root. 0: the pool is empty. */
static uint64_t ept_table(struct nested *n, uint64_t gpa, unsigned level)
{
	struct vmm *v = n->v;
	uint64_t table = n->ept.root;
	for (unsigned l = paging_format_levels(PAGING_EPT); l > level; l--) {
		uint64_t at = table + (gpa >> paging_level_shift(PAGING_EPT, l) & 511) * 8, entry = vmm_load(v, at, 8);
		if (!(entry & EPT_RWX)) {
			uint64_t page = vmm_page_alloc(v);
			if (!page)
				return 0;
			entry = page | EPT_RWX;
			vmm_store(v, at, entry, 8);
		}
		table = entry & EPT_ADDRESS;
	}
	return table;
}

/* Maps the page of gpa: 2 MiB where the configuration wants it and memory is whole and aligned there. False: no memory, or no pool. */
static bool ept_map(struct nested *n, uint64_t gpa)
{
	struct vmm *v = n->v;
	uint64_t hpa = vmm_gpa_to_hpa(v, gpa), large = 1ull << 21, first = gpa & ~(large - 1);
	bool whole = v->config.ept_page_shift == 21 && first + large <= v->guest_bytes && !((hpa - (gpa - first)) & (large - 1));
	unsigned level = whole ? 2 : 1, shift = paging_level_shift(PAGING_EPT, level);
	if (hpa == UINT64_MAX)
		return false;
	uint64_t table = ept_table(n, gpa, level);
	if (!table)
		return false;
	uint64_t page = hpa & ~((1ull << shift) - 1);
	vmm_store(v, table + (gpa >> shift & 511) * 8, page | EPT_RWX | EPT_WB | (whole ? EPT_PS : 0), 8);
	return true;
}

/* A guest-physical address without memory, as page or as page table: the VMM's emulator does what the bare machine would. False: the guest faults. */
static bool open_bus_walk(struct nested *n, uint64_t gva, struct walk_request rq, struct translation *out)
{
	struct walk w;
	rq.set_ad = true;
	vmm_work(n->v, WORK_EMULATE, n->v->config.emulate_instructions);
	if (!vmm_walk_quiet(n->v, gva, rq, &w)) {
		mmu_translation_fault(gva, w.error, out);
		return false;
	}
	*out = (struct translation){ .hpa = w.hpa, .gpa = w.gpa, .user = w.user, .page_shift = 12 };
	return true;
}

static void track_tables(struct nested *n, const struct walk *w)
{
	struct vmm *v = n->v;
	for (unsigned i = 0; i < w->refs; i++)
		if (w->ref[i].dimension == WALK_GUEST && vmm_gpa_of(v, w->ref[i].hpa) < v->guest_bytes)
			mmu_track_table(v->mmu, v->cpu, w->ref[i].hpa & EPT_ADDRESS, vmm_gpa_of(v, w->ref[i].hpa) & EPT_ADDRESS);
}

/* Whether the guest faults behind a violation at fault_gpa: only where the VMM must read a table that is in no memory. The VMM does not look here: we do, so no load of its p2m. */
static bool guest_faults(struct vmm *v, uint64_t gva, struct walk_request rq, uint64_t fault_gpa)
{
	struct walk w;
	rq.set_ad = false;
	return fault_gpa >= v->guest_bytes && !vmm_walk_quiet(v, gva, rq, &w);
}

/* One EPT violation. Returns true when the access is answered without a mapping: *good then says whether the guest faults. */
static bool violation(struct nested *n, uint64_t gva, struct walk_request rq, unsigned size, const struct walk *w, struct translation *out, bool *good)
{
	struct vmm *v = n->v;
	mmu_emit_fault(v->mmu, gva, rq, size, v->cpu->cpl == 3 && !rq.user, !guest_faults(v, gva, rq, w->fault_gpa));
	v->technique->cpu->exit(v, EXIT_EPT_VIOLATION);
	vmm_work(v, WORK_EPT_FILL, v->config.ept_fill_instructions);
	bool answered = !ept_map(n, w->fault_gpa);
	if (answered)
		*good = open_bus_walk(n, gva, rq, out);
	v->technique->cpu->entry(v, EXIT_EPT_VIOLATION);
	return answered;
}

/* ------------------------------------------------------------------ fills without the second dimension */
static bool page_has(const struct nested *n, uint64_t gpa, unsigned what)
{
	return gpa < n->v->guest_bytes && (n->page[gpa >> 12] & what) == what;
}

static void page_note(struct nested *n, uint64_t gpa, unsigned what)
{
	if (gpa < n->v->guest_bytes)
		n->page[gpa >> 12] |= (uint8_t)what;
}

/* Notes what a successful walk, flags set, has proved. To EPT with A/D flags a reference to a guest table is a write. */
static void walk_note(struct nested *n, const struct walk *w, enum access access)
{
	if (!n->page)
		return;
	for (unsigned i = 0; i < w->refs; i++)
		if (w->ref[i].dimension == WALK_GUEST)
			page_note(n, vmm_gpa_of(n->v, w->ref[i].hpa), PAGE_REACHED | PAGE_WRITTEN);
	page_note(n, w->gpa, access == ACCESS_WRITE || !n->ept.ad ? PAGE_REACHED | PAGE_WRITTEN : PAGE_REACHED);
}

/*
 * The guest's dimension alone: the EPT maps what the p2m says. NOTHING: some table was not reached so before, or the guest faults: the whole walk tells. TABLES: they are tracked, but the
 * page was not reached so, or a flag is to be set. ALL: w is what the whole walk gives, but for its references.
 */
enum known { KNOWN_NOTHING, KNOWN_TABLES, KNOWN_ALL };
static enum known walk_known(struct nested *n, uint64_t gva, struct walk_request rq, struct walk *w)
{
	struct vmm *v = n->v;
	struct walk_steps s;
	unsigned levels = paging_format_levels(v->guest.format);
	if (!n->page || !vmm_walk_plain(v, gva, rq, w, &s))
		return KNOWN_NOTHING;
	for (unsigned level = levels; level >= s.leaf; level--)
		if (!page_has(n, s.guest[level], PAGE_REACHED | PAGE_WRITTEN))
			return KNOWN_NOTHING;
	for (unsigned level = levels; level >= s.leaf; level--)
		mmu_track_table(v->mmu, v->cpu, vmm_hpa_of(v, s.guest[level]) & EPT_ADDRESS, s.guest[level] & EPT_ADDRESS);
	if (w->ad_pending || !page_has(n, w->gpa, rq.access == ACCESS_WRITE ? PAGE_REACHED | PAGE_WRITTEN : PAGE_REACHED))
		return KNOWN_TABLES;
	w->dirty = w->dirty && page_has(n, w->gpa, PAGE_WRITTEN);
	w->page_shift = 12;
	return KNOWN_ALL;
}

static bool nested_translate(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, struct walk_request rq, unsigned size, struct translation *out)
{
	struct nested *n = self;
	struct vmm *v = n->v;
	struct walk w;
	bool good;
	for (unsigned tries = 0; tries < WALK_MAX_REFS && !v->failed; tries++) {
		enum known known = walk_known(n, gva, rq, &w);
		if (known == KNOWN_ALL) {
			mmu_translation_from_walk(&v->guest, &w, rq, out);
			return true;
		}
		rq.set_ad = known == KNOWN_TABLES; /* tables are tracked, and their contents given away, before their flags move */
		bool found = paging_walk(&v->guest, &mmu->walk_memory, gva, rq, &w);
		if (!rq.set_ad)
			track_tables(n, &w);
		if (found && w.ad_pending) {
			rq.set_ad = true;
			found = paging_walk(&v->guest, &mmu->walk_memory, gva, rq, &w);
		}
		if (found) {
			walk_note(n, &w, rq.access);
			mmu_translation_from_walk(&v->guest, &w, rq, out);
			return true;
		}
		if (w.fault_dimension == WALK_GUEST) {
			mmu_emit_fault(mmu, gva, rq, size, cpu->cpl == 3 && !rq.user, false);
			mmu_translation_fault(gva, w.error, out);
			return false;
		}
		if (violation(n, gva, rq, size, &w, out, &good))
			return good;
	}
	vmm_fail(v, "EPT cannot map guest address 0x%llx", (unsigned long long)gva);
	*out = (struct translation){ .hpa = UINT64_MAX - 0xfff };
	return true;
}

static void nested_table_store(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, const struct translation *t, uint64_t value, unsigned size)
{
	void *at = phys_ptr(mmu->phys, t->hpa, size);
	(void)self, (void)cpu, (void)gva;
	if (at)
		memcpy(at, &value, size);
}

static void nested_context_changed(void *self, struct mmu *mmu, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush)
{
	struct nested *n = self;
	struct vmm *v = n->v;
	struct paging before = v->guest;
	paging_from_registers(cpu, &mmu->walk_memory, &n->ept, &v->guest);
	v->guest.vpid = v->config.vpid;
	if (v->guest.format == PAGING_PAE) { /* MOV CR3 in a guest reads PDPTEs through the EPT; the VMM maps their page if need be */
		struct paging over_p2m = v->guest;
		over_p2m.space = &v->p2m;
		paging_pdptes_load(&over_p2m, &mmu->walk_memory);
		memcpy(v->guest.pdpte, over_p2m.pdpte, sizeof over_p2m.pdpte);
	}
	vmm_pdptes_follow(v, &before, &v->guest, why, old_value);
	vmm_flush_context(v, &before, &v->guest, why, old_value, no_flush);
}

static void nested_invlpg(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva)
{
	struct nested *n = self;
	(void)mmu, (void)cpu;
	vmm_flush_invlpg(n->v, &n->v->guest, gva);
}

static void nested_invpcid(void *self, struct mmu *mmu, struct cpu *cpu, unsigned type, unsigned pcid, uint64_t gva)
{
	struct nested *n = self;
	(void)mmu, (void)cpu;
	vmm_flush_invpcid(n->v, &n->v->guest, type, pcid, gva);
}

static const struct paging *nested_paging(void *self)
{
	const struct nested *n = self;
	return &n->v->guest;
}

static uint64_t nested_gpa_to_hpa(void *self, uint64_t gpa)
{
	const struct nested *n = self;
	return gpa < n->v->guest_bytes ? vmm_hpa_of(n->v, gpa) : UINT64_MAX;
}

static void nested_page_installed(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gpa)
{
	struct nested *n = self;
	struct paging *g = &n->v->guest;
	(void)cpu;
	if (g->format != PAGING_PAE || (g->root & EPT_ADDRESS) != gpa)
		return;
	struct paging over_p2m = *g;
	over_p2m.space = &n->v->p2m;
	paging_pdptes_load(&over_p2m, &mmu->walk_memory);
	memcpy(g->pdpte, over_p2m.pdpte, sizeof g->pdpte);
}

static const struct memory_part nested_part = {
	.name = "nested-ept", .translate = nested_translate, .table_store = nested_table_store, .context_changed = nested_context_changed, .invlpg = nested_invlpg,
	.invpcid = nested_invpcid, .hardware_paging = nested_paging, .gpa_to_hpa = nested_gpa_to_hpa, .table_page_installed = nested_page_installed,
};

static bool nested_create(struct vmm *v)
{
	struct nested *n = calloc(1, sizeof *n);
	if (!n)
		return false;
	n->v = v;
	v->mem_self = n;
	if (v->config.ept_page_shift != 12 && v->config.ept_page_shift != 21) {
		vmm_fail(v, "vmm.ept_page_shift is %u: it must be 12 or 21", v->config.ept_page_shift);
		return false;
	}
	if (v->config.ept_page_shift == 12 && !(n->page = calloc(v->guest_bytes >> 12, 1)))
		return false;
	n->ept = (struct paging){ .format = PAGING_EPT, .root = vmm_page_alloc(v), .ad = v->config.ept_ad };
	if (v->failed)
		return false;
	paging_from_registers(v->cpu, &v->mmu->walk_memory, &n->ept, &v->guest);
	v->guest.vpid = v->config.vpid;
	return true;
}

static void nested_destroy(struct vmm *v)
{
	struct nested *n = v->mem_self;
	if (n)
		free(n->page);
	free(n);
}

const struct vmm_memory_part vmm_memory_nested_ept = { "nested-ept", &nested_part, nested_create, nested_destroy, NULL };
