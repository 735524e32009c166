/*
 * Shadow paging: the hardware walks tables that the VMM makes from the guest's, entry by entry, as the guest touches pages.
 *
 * Formats: a guest with paging off, with 32-bit or with PAE paging runs on PAE shadows (two references a walk, PDPTEs in registers, as VT-x offers outside long mode);
 * a guest in long mode on 4- or 5-level shadows. Large guest pages are cut into 4 KiB shadow entries. CR0.WP is always set in hardware: the rare supervisor write to a
 * read-only page under WP = 0 is emulated, one exit each. Faults of the guest's own tables are reflected; their A/D flags are set as the processor would.
 */
#include "shadow_pages.h"
#include <stdlib.h>

enum { FILL_PAGES = 16 }; /* more pool pages than one fill can take: 5 shadow pages, records, nodes */
enum { ROOT_KEY = 0, ROOT_USE = 8, ROOT_TABLE = 16, ROOT_SERIAL = 48 };

/* ---------------------------------------------------------------- roots */
static bool guest_wide(const struct vmm *v) { return v->guest.format != PAGING_32; }
static uint64_t root_slot(const struct shadow *s, unsigned i) { return s->roots + (uint64_t)i * SHADOW_ROOT_BYTES; }

static unsigned top_level(const struct shadow *s)
{
	return s->hw.format == PAGING_PAE ? 2 : paging_format_levels(s->hw.format);
}

static uint64_t root_key(const struct paging *g)
{
	return (g->root & ~0x1full) | (uint64_t)g->format << 1 | 1; /* a format fits below bit 5 */
}

/* Key of top table `i`; 0: there is none. MOV CR3 refuses PDPTEs with reserved bits; a table edited later by other means must not be shadowed either. */
static uint64_t top_key(const struct paging *g, unsigned i)
{
	switch (g->format) {
	case PAGING_IDENTITY: return shadow_key((uint64_t)i << 30, 2, 0, true);
	case PAGING_32: return shadow_key(g->root, 2, i, false);
	case PAGING_PAE: return (g->pdpte[i] & 1) && !paging_pdpte_reserved(g->phys_bits, g->pdpte[i]) ? shadow_key(g->pdpte[i], 2, 0, false) : 0;
	default: return i ? 0 : shadow_key(g->root, paging_format_levels(g->format), 0, false);
	}
}

static void root_drop(struct shadow *s, unsigned slot)
{
	for (unsigned i = 0; i < 4; i++)
		shadow_root_unlink(s, root_slot(s, slot) + ROOT_TABLE + 8 * i);
	vmm_store_data(s->v, root_slot(s, slot) + ROOT_KEY, 0, 8);
}

static void shadow_drop_all(struct shadow *s)
{
	for (unsigned i = 0; i < s->root_slots; i++)
		root_drop(s, i);
	s->aliased = false;
	mmu_flush_all(s->v->mmu, s->v->cpu);
}

/* The slot of a root: its own, or the least recently used one, emptied. */
static unsigned root_find(struct shadow *s, uint64_t key)
{
	unsigned oldest = 0;
	uint64_t age = UINT64_MAX;
	for (unsigned i = 0; i < s->root_slots; i++) {
		uint64_t slot = root_slot(s, i), have = vmm_load(s->v, slot + ROOT_KEY, 8), use = have ? vmm_load(s->v, slot + ROOT_USE, 8) : 0;
		if (have == key)
			return i;
		if (use < age) {
			age = use;
			oldest = i;
		}
	}
	root_drop(s, oldest);
	vmm_store_data(s->v, root_slot(s, oldest) + ROOT_KEY, key, 8);
	vmm_store_data(s->v, root_slot(s, oldest) + ROOT_SERIAL, ++s->serial, 8);
	return oldest;
}

/* Makes top table `i` of a slot what the guest's root says now. */
static void root_follow(struct shadow *s, unsigned slot, const struct paging *g, unsigned i)
{
	uint64_t word = root_slot(s, slot) + ROOT_TABLE + 8 * i, want = top_key(g, i), have = vmm_load(s->v, word, 8);
	if ((have & SH_P) && want && shadow_page_key(s, shadow_page_owner(s, have)) == want)
		return;
	shadow_root_unlink(s, word);
	uint64_t child = want ? shadow_page_get(s, want, g->format == PAGING_4LEVEL || g->format == PAGING_5LEVEL ? 0 : (uint64_t)i << 30) : 0;
	if (child)
		shadow_root_link(s, word, child);
}

/* Finds or makes the shadow root for the guest paging `g`. */
static unsigned root_make(struct shadow *s, const struct paging *g)
{
	unsigned slot = root_find(s, root_key(g));
	vmm_store_data(s->v, root_slot(s, slot) + ROOT_USE, ++s->clock, 8);
	for (unsigned i = 0; i < 4; i++)
		root_follow(s, slot, g, i);
	return slot;
}

/* Points the hardware at a slot's tables. */
static void root_enter(struct shadow *s, unsigned slot)
{
	struct vmm *v = s->v;
	const struct paging *g = &v->guest;
	struct paging hw = { .format = PAGING_PAE, .wp = true, .nxe = true, .smep = g->smep, .smap = g->smap };
	hw.vpid = v->technique->id != TECHNIQUE_BT && v->config.vpid;
	if (g->format == PAGING_4LEVEL || g->format == PAGING_5LEVEL)
		hw.format = g->format;
	for (unsigned i = 0; i < 4; i++)
		hw.pdpte[i] = phys_read64(v->phys, root_slot(s, slot) + ROOT_TABLE + 8 * i);
	hw.root = hw.format == PAGING_PAE ? root_slot(s, slot) + ROOT_TABLE : hw.pdpte[0] & SH_ADDRESS;
	event_drain(v->events);
	s->hw = hw;
	s->current = slot;
}

static void root_reload(struct shadow *s)
{
	root_enter(s, root_make(s, &s->v->guest));
}

/* A pool that runs low gives everything back; the present root starts again. */
static void pool_relieve(struct shadow *s)
{
	if (s->v->pool_pages_left >= FILL_PAGES)
		return;
	shadow_drop_all(s);
	root_reload(s);
}

/* ---------------------------------------------------------------- filling */
static uint64_t guest_entry(struct shadow *s, const struct walk *w, unsigned level)
{
	for (unsigned i = 0; i < w->refs; i++)
		if (w->ref[i].dimension == WALK_GUEST && w->ref[i].level == level)
			return w->ref[i].bytes == 4 ? phys_read32(s->v->phys, w->ref[i].hpa) : phys_read64(s->v->phys, w->ref[i].hpa);
	return 0;
}

static unsigned guest_leaf_level(const struct vmm *v, const struct walk *w)
{
	if (v->guest.format == PAGING_IDENTITY)
		return 8; /* above any table: everything is direct */
	return w->guest_shift >= 30 ? 3 : w->guest_shift > 12 ? 2 : 1;
}

static uint64_t permission_bits(const struct vmm *v, uint64_t entry)
{
	return entry & (SH_W | SH_U | (guest_wide(v) ? SH_NX : 0));
}

/* The page that entry `gva` of shadow level `level` must point to, and with which bits. */
static uint64_t child_make(struct shadow *s, const struct walk *w, uint64_t gva, unsigned level, uint64_t *bits)
{
	unsigned leaf = guest_leaf_level(s->v, w), quadrant = 0;
	uint64_t entry = guest_entry(s, w, level), first = gva & ~0ull << paging_level_shift(PAGING_4LEVEL, level);
	*bits = SH_W | SH_U;
	if (level <= leaf) {
		if (level == leaf)
			*bits = permission_bits(s->v, entry);
		return shadow_page_get(s, shadow_key(0, level - 1, 0, true), first);
	}
	if (!guest_wide(s->v))
		quadrant = gva >> 21 & 1;
	*bits = permission_bits(s->v, entry);
	return shadow_page_get(s, shadow_key(entry, level - 1, quadrant, false), first);
}

static uint64_t leaf_make(struct shadow *s, const struct walk *w)
{
	const struct vmm *v = s->v;
	const struct frame *f = frames_at(&v->mmu->frames, w->hpa);
	bool direct = guest_leaf_level(v, w) > 1, dirty = v->guest.format == PAGING_IDENTITY || (w->leaf & SH_D);
	uint64_t bits = direct ? SH_W | SH_U : permission_bits(v, w->leaf);
	if (!dirty || !f || (f->flags & FRAME_TABLE))
		bits &= ~(uint64_t)SH_W;
	return (w->hpa & SH_ADDRESS) | SH_P | SH_A | bits | (bits & SH_W ? SH_D : 0);
}

static void shadow_fill(struct shadow *s, uint64_t gva, const struct walk *w)
{
	struct vmm *v = s->v;
	unsigned top = top_level(s), slot_word = s->hw.format == PAGING_PAE ? gva >> 30 & 3 : 0;
	uint64_t record = shadow_page_owner(s, vmm_load(v, root_slot(s, s->current) + ROOT_TABLE + 8 * slot_word, 8));
	for (unsigned level = top; level > 1 && record; level--) {
		unsigned index = gva >> paging_level_shift(PAGING_4LEVEL, level) & 511;
		uint64_t entry = vmm_load(v, shadow_page_table(s, record) + 8ull * index, 8), bits, child;
		if (entry & SH_P) {
			child = shadow_page_owner(s, entry);
		} else {
			child = child_make(s, w, gva, level, &bits);
			if (child)
				shadow_page_link(s, record, index, child, bits);
		}
		record = child;
	}
	if (record)
		shadow_leaf_set(s, record, gva >> 12 & 511, leaf_make(s, w));
}

/* ---------------------------------------------------------------- translating */
/* Tables that a walk read become tracked; the shadow stops mapping them writable, and so must the hardware's TLB. */
static void track_page(struct shadow *s, uint64_t hpa)
{
	struct vmm *v = s->v;
	const struct frame *f = frames_at(&v->mmu->frames, hpa);
	bool known = !f || (f->flags & FRAME_TABLE);
	uint64_t gpa = vmm_gpa_of(v, hpa) & SH_ADDRESS;
	if (!f || vmm_gpa_of(v, hpa) >= v->guest_bytes)
		return;
	mmu_track_table(v->mmu, v->cpu, hpa & SH_ADDRESS, gpa);
	if (!known && shadow_write_protect(s, gpa))
		event_put(v->events, EV_TLB_FLUSH, 0, s->hw.vpid, TLB_FLUSH_VPID, 0);
}

static void track_walk(struct shadow *s, const struct walk *w)
{
	for (unsigned i = 0; i < w->refs; i++)
		if (w->ref[i].dimension == WALK_GUEST)
			track_page(s, w->ref[i].hpa);
}

/* What cannot be shadowed: no memory there, tables outside memory, or a write that only CR0.WP = 0 allows. */
static bool emulated_only(const struct vmm *v, const struct walk *w, struct walk_request rq)
{
	if (!phys_ptr(v->phys, w->hpa, 1) || (rq.access == ACCESS_WRITE && !w->writable))
		return true;
	for (unsigned i = 0; i < w->refs; i++)
		if (w->ref[i].dimension == WALK_GUEST && !phys_ptr(v->phys, w->ref[i].hpa, 8))
			return true;
	return false;
}

static void answer_once(const struct walk *w, struct translation *out)
{
	*out = (struct translation){ .hpa = w->hpa, .gpa = w->gpa, .user = w->user, .page_shift = 12 };
}

static bool fault_reflect(struct shadow *s, uint64_t gva, struct walk_request rq, unsigned size, struct walk *guest, struct translation *out)
{
	struct vmm *v = s->v;
	mmu_emit_fault(v->mmu, gva, rq, size, v->cpu->cpl == 3 && !rq.user, false);
	v->technique->cpu->exit(v, EXIT_PAGE_FAULT_REFLECTED);
	rq.set_ad = false;
	vmm_work(v, WORK_FAULT_REFLECT, v->config.reflect_instructions);
	vmm_walk_guest(v, gva, rq, guest);
	v->technique->cpu->entry(v, EXIT_PAGE_FAULT_REFLECTED);
	mmu_translation_fault(gva, guest->error, out);
	return false;
}

static void miss_handle(struct shadow *s, uint64_t gva, struct walk_request rq, bool emulate, bool dirty, struct walk *guest)
{
	struct vmm *v = s->v;
	enum exit_reason reason = dirty && !emulate ? EXIT_DIRTY_TRACKING : EXIT_PAGE_FAULT_HIDDEN;
	v->technique->cpu->exit(v, reason);
	rq.set_ad = true;
	vmm_work(v, emulate ? WORK_EMULATE : WORK_SHADOW_FILL, emulate ? v->config.emulate_instructions : v->config.fill_instructions);
	vmm_walk_guest(v, gva, rq, guest);
	if (!emulate) {
		pool_relieve(s);
		shadow_fill(s, gva, guest);
	}
	v->technique->cpu->entry(v, reason);
}

/* The guest may write, only the VMM's write protection of a table page stands in the way: the store itself will exit (table_store). */
static bool is_traced_write(const struct vmm *v, struct walk_request rq, const struct walk *hw, const struct walk *guest)
{
	const struct frame *f = frames_at(&v->mmu->frames, guest->hpa);
	return rq.access == ACCESS_WRITE && hw->status == WALK_PROTECTION && f && (f->flags & FRAME_TABLE) && guest->writable && !guest->ad_pending;
}

static bool shadow_translate(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, struct walk_request rq, unsigned size, struct translation *out)
{
	struct shadow *s = self;
	struct vmm *v = s->v;
	struct walk hw, guest;
	struct walk_steps steps;
	rq.set_ad = false; /* shadow entries are made with their A and D flags set */
	for (unsigned tries = 0; tries < 4 && !v->failed; tries++) {
		if ((paging_walk_plain(&s->hw, &mmu->walk_memory, NULL, gva, rq, &hw, &steps) && !hw.ad_pending) || paging_walk(&s->hw, &mmu->walk_memory, gva, rq, &hw)) {
			mmu_translation_from_walk(&s->hw, &hw, rq, out);
			out->gpa = vmm_gpa_of(v, hw.hpa);
			return true;
		}
		bool good = vmm_walk_quiet(v, gva, rq, &guest);
		track_walk(s, &guest);
		if (!good)
			return fault_reflect(s, gva, rq, size, &guest, out);
		if (is_traced_write(v, rq, &hw, &guest)) {
			answer_once(&guest, out);
			return true;
		}
		bool emulate = emulated_only(v, &guest, rq);
		mmu_emit_fault(mmu, gva, rq, size, cpu->cpl == 3 && !rq.user, true);
		miss_handle(s, gva, rq, emulate, hw.status == WALK_PROTECTION && rq.access == ACCESS_WRITE, &guest);
		answer_once(&guest, out);
		if (emulate)
			return true;
	}
	vmm_fail(v, "shadow paging cannot map guest address 0x%llx", (unsigned long long)gva);
	answer_once(&(struct walk){ .hpa = UINT64_MAX - 0xfff }, out);
	return true;
}

/* ---------------------------------------------------------------- following the guest */
static void shadow_table_store(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, const struct translation *t, uint64_t value, unsigned size)
{
	struct shadow *s = self;
	struct vmm *v = s->v;
	struct walk w;
	(void)mmu;
	cpu->emulated++;
	v->technique->cpu->exit(v, EXIT_PAGE_TABLE_WRITE);
	vmm_work(v, WORK_SHADOW_TRACE, v->config.trace_instructions);
	vmm_walk_guest(v, gva, (struct walk_request){ .access = ACCESS_WRITE, .ac_override = true }, &w);
	vmm_store(v, t->hpa, value, size);
	shadow_zap_store(s, vmm_gpa_of(v, t->hpa), size, guest_wide(v));
	v->technique->cpu->entry(v, EXIT_PAGE_TABLE_WRITE);
}

/* Entries that were made under other rules mean something else now. */
static bool formats_differ(const struct paging *a, const struct paging *b)
{
	return a->format != b->format || a->nxe != b->nxe || a->pse != b->pse || a->no_gbyte != b->no_gbyte;
}

static void tlb_flush_emit(struct shadow *s, enum tlb_flush kind, uint64_t addr)
{
	if (!s->v->quiet && (s->v->technique->id == TECHNIQUE_BT || s->v->config.vpid)) /* without VPID the entry has done it */
		event_put(s->v->events, EV_TLB_FLUSH, 0, s->hw.vpid, kind, addr);
}

static void shadow_context_changed(void *self, struct mmu *mmu, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush)
{
	struct shadow *s = self;
	struct vmm *v = s->v;
	struct paging before = v->guest;
	bool quiet = v->quiet;
	(void)no_flush; /* shadows follow every store: keeping translations or not makes no difference that the guest could see */
	paging_from_registers(cpu, &mmu->walk_memory, &v->p2m, &v->guest);
	vmm_pdptes_follow(v, &before, &v->guest, why, old_value);
	v->quiet = true; /* paid for in shadow_prepare() */
	if (formats_differ(&before, &v->guest) || v->pool_pages_left < FILL_PAGES)
		shadow_drop_all(s);
	root_reload(s);
	v->quiet = quiet;
	s->prepared = why == CONTEXT_CR3;
	tlb_flush_emit(s, TLB_FLUSH_VPID, 0);
	if (before.wp != v->guest.wp || before.smep != v->guest.smep || before.smap != v->guest.smap || why == CONTEXT_RESET)
		mmu_flush_all(mmu, cpu);
	mmu_set_context(mmu, cpu, phys_read64(v->phys, root_slot(s, s->current) + ROOT_SERIAL), true);
}

static void shadow_prepare(struct vmm *v, enum sensitive what, uint64_t value)
{
	struct shadow *s = v->mem_self;
	struct paging next = v->guest;
	if (what == SENS_CR0_WRITE || what == SENS_LMSW || what == SENS_CR4_WRITE) {
		vmm_work(v, WORK_SHADOW_SWITCH, v->config.switch_instructions);
		return;
	}
	if (what != SENS_CR3_WRITE)
		return;
	vmm_work(v, WORK_SHADOW_SWITCH, v->config.switch_instructions);
	switch (next.format) {
	case PAGING_IDENTITY: return;
	case PAGING_32: next.root = value & 0xfffff000u; break;
	case PAGING_PAE:
		next.root = value & 0xffffffe0u;
		if (!paging_pdptes_load(&next, &v->mmu->walk_memory))
			return; /* MOV CR3 will refuse them (SDM 3A 4.4.1): the root that is in use stays as it is */
		break;
	default: next.root = value & SH_ADDRESS; break;
	}
	pool_relieve(s);
	if (s->root_slots > 1) /* else it would take the place of the one in use */
		root_make(s, &next);
}

static void shadow_invlpg(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva)
{
	tlb_flush_emit(self, TLB_FLUSH_PAGE, gva);
	mmu_flush_page(mmu, cpu, gva);
}

static void shadow_invpcid(void *self, struct mmu *mmu, struct cpu *cpu, unsigned type, unsigned pcid, uint64_t gva)
{
	(void)pcid; /* shadows know no PCIDs */
	if (type == 0)
		shadow_invlpg(self, mmu, cpu, gva);
	else
		tlb_flush_emit(self, TLB_FLUSH_VPID, 0);
}

static void shadow_table_forgotten(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gpa)
{
	struct shadow *s = self;
	(void)mmu, (void)cpu;
	vmm_work(s->v, WORK_SHADOW_TRACE, s->v->config.trace_instructions);
	shadow_drop_table(s, gpa);
	root_reload(s);
}

static void shadow_page_installed(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gpa)
{
	struct shadow *s = self;
	struct vmm *v = s->v;
	bool quiet = v->quiet;
	(void)cpu;
	if (v->guest.format != PAGING_PAE || (v->guest.root & SH_ADDRESS) != gpa) {
		if (shadow_write_protect(s, gpa))
			event_put(v->events, EV_TLB_FLUSH, 0, s->hw.vpid, TLB_FLUSH_VPID, 0);
		return;
	}
	paging_pdptes_load(&v->guest, &mmu->walk_memory);
	v->quiet |= !s->prepared; /* a live run read them in the register's write: as quietly */
	root_reload(s);
	v->quiet = quiet;
}

static const struct paging *shadow_paging(void *self)
{
	const struct shadow *s = self;
	return &s->hw;
}

static uint64_t shadow_gpa_to_hpa(void *self, uint64_t gpa)
{
	const struct shadow *s = self;
	return gpa < s->v->guest_bytes ? vmm_hpa_of(s->v, gpa) : UINT64_MAX;
}

static const struct memory_part shadow_part = {
	.name = "shadow", .translate = shadow_translate, .table_store = shadow_table_store, .context_changed = shadow_context_changed, .invlpg = shadow_invlpg,
	.invpcid = shadow_invpcid, .table_forgotten = shadow_table_forgotten, .hardware_paging = shadow_paging, .gpa_to_hpa = shadow_gpa_to_hpa,
	.table_page_installed = shadow_page_installed,
};

static bool shadow_create(struct vmm *v)
{
	struct shadow *s = calloc(1, sizeof *s);
	if (!s)
		return false;
	s->v = v;
	v->mem_self = s;
	if (!shadow_pages_create(s))
		return false;
	paging_from_registers(v->cpu, &v->mmu->walk_memory, &v->p2m, &v->guest);
	root_reload(s);
	return !v->failed;
}

static void shadow_destroy(struct vmm *v)
{
	free(v->mem_self);
}

const struct vmm_memory_part vmm_memory_shadow = { "shadow", &shadow_part, shadow_create, shadow_destroy, shadow_prepare };
