/*
 * Direct paging (Barham et al. 2003, section 3.3): the hardware walks the guest's own tables, which hold machine frames and which only the VMM writes, after validation.
 *
 * Invariant: each frame of the domain has at most one type at a time, and a count of the references that want it: writable mappings, or links (and pins) as a table of one
 * level. A table's every present entry has been checked and holds such a reference. So no writable mapping of a table exists, no table maps a frame of somebody else, and
 * the hardware never walks a page that the guest can write.
 *
 * The frame table is simulated memory, one word a guest frame:
 *   2:0 type   3 pinned   31:8 references   63:40 flush serial when the last reference went (a stale translation may live until the serial has moved on)
 */
#include "pv.h"
#include <stdlib.h>

enum frame_type { FRAME_NONE, FRAME_WRITABLE, FRAME_L1, FRAME_L2, FRAME_L3, FRAME_L4, FRAME_RESERVED };
enum { TYPE_MASK = 7, PINNED = 8, REF_SHIFT = 8, SERIAL_SHIFT = 40 };
#define REF_MASK 0xffffffull
#define ENTRY_ADDRESS 0x000ffffffffff000ull
enum { PTE_P = 1, PTE_W = 2, PTE_PS = 0x80 };

struct direct_paging {
	struct vmm *v;
	struct paging hw;
	uint64_t frames;      /* the frame table */
	uint64_t serial;
	uint64_t root;        /* machine frame of the present top-level table; 0: none */
	unsigned levels, bytes;
};

static struct direct_paging *part_of(struct vmm *v) { return v->mem_self; }

/* ---------------------------------------------------------------- frames */
static bool frame_ours(const struct vmm *v, uint64_t mfn)
{
	return mfn >= v->guest_base >> 12 && mfn - (v->guest_base >> 12) < v->guest_bytes >> 12;
}

static uint64_t frame_word(const struct direct_paging *d, uint64_t mfn) { return d->frames + (mfn - (d->v->guest_base >> 12)) * 8; }
static uint64_t frame_get(struct direct_paging *d, uint64_t mfn) { return vmm_load(d->v, frame_word(d, mfn), 8); }
static void frame_set(struct direct_paging *d, uint64_t mfn, uint64_t value) { vmm_store_data(d->v, frame_word(d, mfn), value, 8); }
static uint64_t frame_refs(uint64_t w) { return w >> REF_SHIFT & REF_MASK; }

static uint64_t frame_make(const struct direct_paging *d, enum frame_type type, uint64_t refs, uint64_t flags)
{
	return type | flags | refs << REF_SHIFT | (d->serial & REF_MASK) << SERIAL_SHIFT;
}

static void flush_everything(struct direct_paging *d)
{
	struct vmm *v = d->v;
	if (!v->quiet)
		event_put(v->events, EV_TLB_FLUSH, 0, 0, TLB_FLUSH_VPID, 0);
	mmu_flush_all(v->mmu, v->cpu);
	d->serial++;
}

static int frame_type_get(struct direct_paging *d, uint64_t mfn, enum frame_type want);
static void frame_type_put(struct direct_paging *d, uint64_t mfn);

/* ---------------------------------------------------------------- entries */
static uint64_t entry_load(struct direct_paging *d, uint64_t hpa) { return vmm_load(d->v, hpa, d->bytes); }
static uint64_t entry_mfn(uint64_t e) { return (e & ENTRY_ADDRESS) >> 12; }

/* Takes the reference that an entry of a level-`level` table needs. */
static int entry_get(struct direct_paging *d, unsigned level, uint64_t e)
{
	if (!(e & PTE_P))
		return 0;
	if (!frame_ours(d->v, entry_mfn(e)))
		return PV_EPERM;
	if (level > 1)
		return e & PTE_PS ? PV_EINVAL : frame_type_get(d, entry_mfn(e), (enum frame_type)(FRAME_L1 + level - 2));
	return e & PTE_W ? frame_type_get(d, entry_mfn(e), FRAME_WRITABLE) : 0;
}

static void entry_put(struct direct_paging *d, unsigned level, uint64_t e)
{
	if ((e & PTE_P) && (level > 1 || (e & PTE_W)))
		frame_type_put(d, entry_mfn(e));
}

static unsigned entries_of(const struct direct_paging *d) { return 4096 / d->bytes; }

static void table_release(struct direct_paging *d, uint64_t mfn, unsigned level, unsigned entries)
{
	for (unsigned i = 0; i < entries; i++)
		entry_put(d, level, entry_load(d, (mfn << 12) + (uint64_t)i * d->bytes));
}

static int table_validate(struct direct_paging *d, uint64_t mfn, unsigned level)
{
	struct vmm *v = d->v;
	/* From now on the guest cannot write it; its contents are an event, so that a replay can validate the same. */
	mmu_track_table(v->mmu, v->cpu, mfn << 12, vmm_gpa_of(v, mfn << 12));
	vmm_work(v, WORK_VALIDATE, v->config.validate_instructions * entries_of(d));
	for (unsigned i = 0; i < entries_of(d); i++) {
		int error = entry_get(d, level, entry_load(d, (mfn << 12) + (uint64_t)i * d->bytes));
		if (error) {
			table_release(d, mfn, level, i);
			return error;
		}
	}
	return 0;
}

static int frame_type_get(struct direct_paging *d, uint64_t mfn, enum frame_type want)
{
	uint64_t w = frame_get(d, mfn), refs = frame_refs(w);
	if (refs == REF_MASK || (refs && (w & TYPE_MASK) != want))
		return PV_EBUSY;
	if (refs) {
		frame_set(d, mfn, w + (1ull << REF_SHIFT));
		return 0;
	}
	if ((w >> SERIAL_SHIFT) == (d->serial & REF_MASK)) /* what it was may still be in a TLB */
		flush_everything(d);
	frame_set(d, mfn, frame_make(d, want, 1, 0)); /* before its entries are looked at: a table that refers to itself is refused */
	int error = want == FRAME_WRITABLE ? 0 : table_validate(d, mfn, want - FRAME_L1 + 1);
	if (error)
		frame_set(d, mfn, frame_make(d, FRAME_NONE, 0, 0));
	return error;
}

static void frame_type_put(struct direct_paging *d, uint64_t mfn)
{
	uint64_t w = frame_get(d, mfn);
	unsigned type = w & TYPE_MASK;
	if (frame_refs(w) > 1) {
		frame_set(d, mfn, w - (1ull << REF_SHIFT));
		return;
	}
	if (type >= FRAME_L1 && type <= FRAME_L4)
		table_release(d, mfn, type - FRAME_L1 + 1, entries_of(d));
	frame_set(d, mfn, frame_make(d, FRAME_NONE, 0, 0));
}

void direct_paging_reserve(struct vmm *v, uint64_t mfn)
{
	struct direct_paging *d = part_of(v);
	frame_set(d, mfn, frame_make(d, FRAME_RESERVED, 1, 0));
}

/* ---------------------------------------------------------------- what hypercalls ask */
/* Changes entry `hpa` of a validated table of `level`. */
static int entry_change(struct direct_paging *d, uint64_t hpa, unsigned level, uint64_t value)
{
	struct vmm *v = d->v;
	uint64_t old = entry_load(d, hpa), same = ENTRY_ADDRESS | PTE_P | PTE_W | (level > 1 ? PTE_PS : 0);
	v->stats.mmu_updates++;
	vmm_work(v, WORK_HYPERCALL_MMU, v->config.mmu_update_instructions);
	if (d->bytes == 4 && value >> 32)
		return PV_EINVAL;
	if ((old ^ value) & same || !(old & PTE_P)) {
		int error = entry_get(d, level, value);
		if (error)
			return error;
		vmm_store(v, hpa, value, d->bytes);
		entry_put(d, level, old);
	} else {
		vmm_store(v, hpa, value, d->bytes);
	}
	v->mmu->table_changes++;
	return 0;
}

int direct_paging_update(struct vmm *v, uint64_t ptr, uint64_t value)
{
	struct direct_paging *d = part_of(v);
	if ((ptr & (d->bytes - 1u)) || !frame_ours(v, ptr >> 12))
		return PV_EINVAL;
	uint64_t w = frame_get(d, ptr >> 12);
	unsigned type = w & TYPE_MASK;
	if (!frame_refs(w) || type < FRAME_L1 || type > FRAME_L4)
		return PV_EINVAL;
	return entry_change(d, ptr, type - FRAME_L1 + 1, value);
}

int direct_paging_update_va(struct vmm *v, uint64_t va, uint64_t value)
{
	struct direct_paging *d = part_of(v);
	uint64_t table = d->root << 12, entry, at;
	for (unsigned level = d->levels;; level--) {
		unsigned shift = d->bytes == 4 ? (level - 1) * 10 + 12 : (level - 1) * 9 + 12;
		at = table + (va >> shift & (entries_of(d) - 1u)) * d->bytes;
		if (level == 1)
			break;
		entry = entry_load(d, at);
		if (!(entry & PTE_P))
			return PV_EINVAL;
		table = entry & ENTRY_ADDRESS;
	}
	int error = entry_change(d, at, 1, value);
	if (!error)
		direct_paging_invlpg(v, va);
	return error;
}

static int root_get(struct direct_paging *d, uint64_t mfn)
{
	return frame_ours(d->v, mfn) ? frame_type_get(d, mfn, (enum frame_type)(FRAME_L1 + d->levels - 1)) : PV_EINVAL;
}

int direct_paging_root(struct vmm *v, uint64_t mfn)
{
	struct direct_paging *d = part_of(v);
	uint64_t old = v->cpu->cr3, last = d->root;
	int error = root_get(d, mfn);
	if (error)
		return error;
	d->root = mfn;
	vmm_work(v, WORK_HYPERCALL_MMU, v->config.mmu_update_instructions);
	v->cpu->cr3 = mfn << 12;
	if (v->cpu->cr0 & CR0_PG)
		v->cpu->mem.context_changed(v->cpu->mem.self, v->cpu, CONTEXT_CR3, old, false);
	if (last)
		frame_type_put(d, last);
	return 0;
}

int direct_paging_pin(struct vmm *v, uint64_t mfn)
{
	struct direct_paging *d = part_of(v);
	if (!frame_ours(v, mfn) || (frame_get(d, mfn) & PINNED))
		return PV_EINVAL;
	int error = root_get(d, mfn);
	if (!error)
		frame_set(d, mfn, frame_get(d, mfn) | PINNED);
	return error;
}

int direct_paging_unpin(struct vmm *v, uint64_t mfn)
{
	struct direct_paging *d = part_of(v);
	if (!frame_ours(v, mfn) || !(frame_get(d, mfn) & PINNED))
		return PV_EINVAL;
	frame_set(d, mfn, frame_get(d, mfn) & ~(uint64_t)PINNED);
	frame_type_put(d, mfn);
	return 0;
}

void direct_paging_invlpg(struct vmm *v, uint64_t va)
{
	vmm_flush_invlpg(v, &part_of(v)->hw, va);
}

void direct_paging_flush(struct vmm *v)
{
	flush_everything(part_of(v));
}

void direct_paging_width(struct vmm *v, unsigned width)
{
	struct direct_paging *d = part_of(v);
	d->levels = width == 64 ? 4 : 2;
	d->bytes = width == 64 ? 8 : 4;
}

/* ---------------------------------------------------------------- the memory part */
static void track_tables(struct vmm *v, const struct walk *w)
{
	for (unsigned i = 0; i < w->refs; i++)
		if (frame_ours(v, w->ref[i].hpa >> 12))
			mmu_track_table(v->mmu, v->cpu, w->ref[i].hpa & ENTRY_ADDRESS, vmm_gpa_of(v, w->ref[i].hpa) & ENTRY_ADDRESS);
}

static bool paging_translate(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, struct walk_request rq, unsigned size, struct translation *out)
{
	struct direct_paging *d = self;
	struct walk w;
	rq.set_ad = false; /* tables are tracked before their flags move */
	bool good = paging_walk(&d->hw, &mmu->walk_memory, gva, rq, &w);
	track_tables(d->v, &w);
	if (good && w.ad_pending) {
		rq.set_ad = true;
		good = paging_walk(&d->hw, &mmu->walk_memory, gva, rq, &w);
	}
	if (!good) {
		mmu_emit_fault(mmu, gva, rq, size, cpu->cpl == 3 && !rq.user, false);
		mmu_translation_fault(gva, w.error, out);
		return false;
	}
	mmu_translation_from_walk(&d->hw, &w, rq, out);
	out->gpa = vmm_gpa_of(d->v, w.hpa);
	return true;
}

/* A page that was a table once and is an ordinary page again is written like one. A store that reaches a table in use is a hole in the validation. */
static void paging_table_store(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, const struct translation *t, uint64_t value, unsigned size)
{
	struct direct_paging *d = self;
	void *at = phys_ptr(mmu->phys, t->hpa, size);
	(void)cpu, (void)gva;
	uint64_t w = frame_ours(d->v, t->hpa >> 12) ? phys_read64(mmu->phys, frame_word(d, t->hpa >> 12)) : 0;
	if (frame_refs(w) && (w & TYPE_MASK) != FRAME_WRITABLE) {
		mmu->resource_violations++;
		return;
	}
	if (at)
		memcpy(at, &value, size);
}

static void paging_context_changed(void *self, struct mmu *mmu, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush)
{
	struct direct_paging *d = self;
	struct paging before = d->hw;
	paging_from_registers(cpu, &mmu->walk_memory, NULL, &d->hw);
	d->v->guest = d->hw;
	vmm_flush_context(d->v, &before, &d->hw, why, old_value, no_flush);
}

static void paging_invlpg(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva)
{
	struct direct_paging *d = self;
	(void)mmu, (void)cpu;
	direct_paging_invlpg(d->v, gva);
}

static void paging_invpcid(void *self, struct mmu *mmu, struct cpu *cpu, unsigned type, unsigned pcid, uint64_t gva)
{
	struct direct_paging *d = self;
	(void)mmu, (void)cpu;
	vmm_flush_invpcid(d->v, &d->hw, type, pcid, gva);
}

static const struct paging *paging_hardware(void *self)
{
	const struct direct_paging *d = self;
	return &d->hw;
}

static uint64_t paging_gpa_to_hpa(void *self, uint64_t gpa)
{
	const struct direct_paging *d = self;
	return gpa < d->v->guest_bytes ? vmm_hpa_of(d->v, gpa) : UINT64_MAX;
}

static const struct memory_part paging_part = {
	.name = "direct-paging", .translate = paging_translate, .table_store = paging_table_store, .context_changed = paging_context_changed, .invlpg = paging_invlpg,
	.invpcid = paging_invpcid, .hardware_paging = paging_hardware, .gpa_to_hpa = paging_gpa_to_hpa,
};

static bool paging_create(struct vmm *v)
{
	struct direct_paging *d = calloc(1, sizeof *d);
	if (!d)
		return false;
	d->v = v;
	d->serial = 1; /* frames start with 0: nothing of theirs is in a TLB */
	v->mem_self = d;
	d->frames = vmm_region_alloc(v, (v->guest_bytes >> 12) * 8);
	direct_paging_width(v, 32);
	return d->frames != 0;
}

static void paging_destroy(struct vmm *v)
{
	free(v->mem_self);
}

const struct vmm_memory_part vmm_memory_direct_paging = { "direct-paging", &paging_part, paging_create, paging_destroy, NULL };
