/*
 * memory_port over the softtlb and a memory part, and the tracking of page tables.
 */
#include "mmu.h"
#include "../isa/engine.h"
#include "softtlb.h"
#include <assert.h>
#include <stdlib.h>

static void drain(struct mmu *mmu)
{
	if (mmu->events && mmu->events->on)
		event_drain(mmu->events);
}

static void put(struct mmu *mmu, enum event_kind kind, unsigned flags, unsigned aux, uint64_t addr)
{
	if (mmu->events)
		event_put(mmu->events, kind, flags, aux, 0, addr);
}

static struct event_filter *filter_of(const struct mmu *mmu) { return mmu->events ? mmu->events->filter : NULL; }

/* What the writer of events takes for translated must be asked for again. */
static void filter_empty(const struct mmu *mmu)
{
	if (filter_of(mmu) && mmu->events->live)
		event_filter_empty(filter_of(mmu));
}

/* Without paging no model walks. */
static bool filter_matters(const struct mmu *mmu)
{
	const struct paging *p = filter_of(mmu) && mmu->part ? mmu->part->hardware_paging(mmu->part_self) : NULL;
	return p && (p->format != PAGING_IDENTITY || p->space);
}

void mmu_doubt(struct mmu *mmu, uint64_t hpa)
{
	const void *word = phys_ptr(mmu->phys, hpa & ~7ull, 8);
	uint64_t old = 0;
	if (word)
		memcpy(&old, word, sizeof old);
	if (old && filter_matters(mmu)) /* nothing was translated through nothing */
		event_filter_doubt(filter_of(mmu));
}

/* For the filter: what a model's walk would find. */
static enum filter_answer filter_ask(void *self, uint64_t gva, unsigned access, bool user)
{
	const struct mmu *mmu = self;
	const struct paging *p = mmu->part->hardware_paging(mmu->part_self);
	struct walk w;
	if (!paging_walk(p, &mmu->walk_memory, gva, (struct walk_request){ .access = (enum access)access, .user = user, .ac_override = true }, &w))
		return FILTER_GONE;
	return w.page_shift == 12 || (p->format == PAGING_IDENTITY && !p->space) ? FILTER_SMALL : FILTER_LARGE;
}

void mmu_filter(struct mmu *mmu)
{
	struct event_filter *f = filter_of(mmu);
	if (!f)
		return;
	f->ask = filter_ask;
	f->ask_self = mmu;
}

static void before_change(void *self, uint64_t hpa)
{
	(void)hpa;
	drain(self);
}

/* ---- contexts and modes ---- */

/* After any change of entries or contexts. */
static void mmu_moved(struct mmu *mmu, struct cpu *cpu)
{
	cpu->mem.epoch++;
	filter_empty(mmu);
	for (unsigned m = 0; m < MEMORY_MODES; m++)
		cpu->mem.mode_tag[m] = softtlb_tag(mmu->softtlb, (enum memory_mode)m);
	cpu_memory_mode_follow(cpu);
}

void mmu_flush_all(struct mmu *mmu, struct cpu *cpu)
{
	softtlb_flush(mmu->softtlb, mmu->table_changes);
	if (filter_of(mmu)) {
		event_filter_no_large(filter_of(mmu));
		event_filter_trust(filter_of(mmu));
	}
	mmu_moved(mmu, cpu);
}

void mmu_flush_page(struct mmu *mmu, struct cpu *cpu, uint64_t gva)
{
	bool code = softtlb_may_execute(mmu->softtlb, gva);
	softtlb_flush_page(mmu->softtlb, gva);
	if (code)
		mmu_moved(mmu, cpu);
	else /* only data: no chain of blocks has come to depend on it */
		filter_empty(mmu);
}

/* Ends the entries that write to a frame. False: there was none. */
static bool frame_end_writes(struct mmu *mmu, struct frame *f, uint64_t hpa)
{
	const uint8_t *real = mmu->phys->bytes + (hpa & ~0xfffull);
	if (!(f->flags & FRAME_CACHED_WRITE))
		return false;
	filter_empty(mmu);
	if (f->flags & FRAME_WRITE_MANY)
		softtlb_end_writes(mmu->softtlb, real);
	else
		for (unsigned i = 0; i < 2; i++)
			softtlb_entry_end_write(&mmu->softtlb->table[f->entry[i]], real);
	f->flags &= (uint8_t)~(FRAME_CACHED_WRITE | FRAME_WRITE_MANY);
	return true;
}

/* Notes that the entry of gva writes to the frame. */
static void frame_note_write(struct mmu *mmu, struct frame *f, uint64_t gva)
{
	uint16_t index = (uint16_t)(gva >> 12 & mmu->softtlb->mask);
	if (!(f->flags & FRAME_CACHED_WRITE))
		f->entry[0] = f->entry[1] = index;
	else if (index != f->entry[0] && index != f->entry[1]) {
		if (f->entry[0] != f->entry[1])
			f->flags |= FRAME_WRITE_MANY;
		f->entry[1] = index;
	}
	f->flags |= FRAME_CACHED_WRITE;
}

void mmu_set_context(struct mmu *mmu, struct cpu *cpu, uint64_t key, bool keep)
{
	if (filter_of(mmu) && !keep)
		event_filter_trust(filter_of(mmu));
	else if (filter_matters(mmu) && !mmu_context_unchanged(mmu, key))
		event_filter_doubt(filter_of(mmu));
	softtlb_context_enter(mmu->softtlb, key, keep, mmu->table_changes);
	mmu_moved(mmu, cpu);
}

bool mmu_context_unchanged(const struct mmu *mmu, uint64_t key)
{
	const struct softtlb_context *c = softtlb_context_find(mmu->softtlb, key);
	return c && c->stamp == mmu->table_changes;
}

void mmu_end_contexts(struct mmu *mmu, struct cpu *cpu, uint64_t mask, uint64_t key)
{
	softtlb_contexts_end(mmu->softtlb, mask, key);
	mmu_moved(mmu, cpu);
}

/* ---- page tables ---- */

void mmu_track_table(struct mmu *mmu, struct cpu *cpu, uint64_t hpa, uint64_t gpa)
{
	struct frame *f = frames_at(&mmu->frames, hpa);
	if (!f)
		return;
	f->stores = 0;
	f->last_entry = FRAME_NO_ENTRY;
	if (f->flags & FRAME_TABLE)
		return;
	f->flags |= FRAME_TABLE;
	f->gfn = (uint32_t)(gpa >> 12);
	mmu->table_pages++;
	if (frame_end_writes(mmu, f, hpa))
		mmu_moved(mmu, cpu);
	put(mmu, EV_TABLE_PAGE, 0, 0, gpa & ~0xfffull);
	if (mmu->page_sink.page)
		mmu->page_sink.page(mmu->page_sink.self, gpa & ~0xfffull, mmu->phys->bytes + (hpa & ~0xfffull));
}

void mmu_track_walk(struct mmu *mmu, struct cpu *cpu, const struct walk *w)
{
	for (unsigned i = 0; i < w->refs; i++)
		if (w->ref[i].dimension == WALK_GUEST)
			mmu_track_table(mmu, cpu, w->ref[i].hpa, paging_ref_gpa(w, i));
}

/* Stops tracking a table: EV_TABLE_FORGET, part->table_forgotten, and all softtlb entries end (one of them may come from it). */
static void forget_table(struct mmu *mmu, struct cpu *cpu, uint64_t hpa)
{
	struct frame *f = frames_at(&mmu->frames, hpa);
	if (!f || !(f->flags & FRAME_TABLE))
		return;
	uint64_t gpa = (uint64_t)f->gfn << 12;
	drain(mmu); /* what is buffered may still be walked through it */
	f->flags &= (uint8_t)~FRAME_TABLE;
	mmu->table_changes++;
	put(mmu, EV_TABLE_FORGET, 0, 0, gpa);
	if (mmu->part->table_forgotten)
		mmu->part->table_forgotten(mmu->part_self, mmu, cpu, gpa);
	mmu_flush_all(mmu, cpu); /* an access that still depends on it must walk, and so track it again, before its event is written */
}

/* ---- translation ---- */

void mmu_translation_from_walk(const struct paging *p, const struct walk *w, struct walk_request rq, struct translation *out)
{
	unsigned rights = paging_rights(p, w, rq);
	out->hpa = w->hpa;
	out->gpa = w->gpa;
	out->read_ok = rights & WALK_R;
	out->write_ok = rights & WALK_W;
	out->exec_ok = rights & WALK_X;
	out->user = w->user;
	out->page_shift = w->guest_shift;
	out->large = w->page_shift != 12 && (p->format != PAGING_IDENTITY || p->space);
}

void mmu_translation_fault(uint64_t gva, uint32_t error, struct translation *out)
{
	out->fault = (struct mem_fault){ VEC_PF, error, gva };
}

void mmu_emit_fault(struct mmu *mmu, uint64_t gva, struct walk_request rq, unsigned size, bool supervisor_implicit, bool hidden)
{
	unsigned flags = EVF_FAULT | (hidden ? EVF_HIDDEN : 0) | (rq.user ? EVF_USER : 0) | (supervisor_implicit ? EVF_SUPERVISOR : 0) | (rq.access == ACCESS_EXEC ? EVF_FETCH : 0);
	put(mmu, rq.access == ACCESS_WRITE ? EV_STORE : EV_LOAD, flags, size, gva);
}

/* Enters what the translation allows. Only what this access proves is entered: a data access says nothing about fetches (SMEP, execute-only pages). */
static void entry_insert(struct mmu *mmu, struct frame *f, uint64_t gva, uint64_t tag, enum access access, const struct translation *t, uint8_t *real)
{
	struct fast_entry *e = softtlb_entry(mmu->softtlb, gva);
	uint64_t key = (gva & ~0xfffull) | tag, addend = (uint64_t)(uintptr_t)real - gva;
	bool same = e->addend == addend && (e->read == key || e->write == key || e->exec == key);
	if (!same)
		softtlb_entry_begin(mmu->softtlb, e, addend);
	if (access == ACCESS_EXEC) {
		if (t->exec_ok)
			e->exec = key;
	} else {
		if (t->read_ok)
			e->read = key;
		if (t->write_ok && !(f->flags & (FRAME_CODE | FRAME_TABLE))) {
			e->write = key;
			frame_note_write(mmu, f, gva);
		}
	}
	f->flags |= FRAME_TOUCHED;
	if (t->page_shift != 12)
		softtlb_note_large(mmu->softtlb, gva, t->page_shift ? t->page_shift : 30);
	if (t->large && filter_of(mmu))
		event_filter_note_large(filter_of(mmu), gva, 21);
}

/* Resource control: memory that exists but was not granted is counted, and looks absent. */
static struct frame *frame_reachable(struct mmu *mmu, uint64_t hpa)
{
	struct frame *f = phys_ptr(mmu->phys, hpa, 1) ? frames_at(&mmu->frames, hpa) : NULL;
	if (f && !(f->flags & FRAME_GRANTED)) {
		mmu->resource_violations++;
		return NULL;
	}
	return f;
}

/* The guest needs more translations at a time than there is room for. What the table held is given again by walks. */
static void mmu_grow(struct mmu *mmu, struct cpu *cpu)
{
	if (!softtlb_grow_due(mmu->softtlb, cpu->icount) || !softtlb_grow(mmu->softtlb))
		return;
	memory_port_use(&cpu->mem, mmu->softtlb->table, mmu->softtlb->mask + 1);
	filter_empty(mmu);
	for (uint64_t i = 0; i < mmu->frames.count; i++) /* their entries are gone */
		mmu->frames.frame[i].flags &= (uint8_t)~(FRAME_CACHED_WRITE | FRAME_WRITE_MANY);
}

static bool mmu_fill(void *self, struct cpu *cpu, uint64_t gva, enum access access, bool supervisor, unsigned size, struct mem_fill *out)
{
	struct mmu *mmu = self;
	bool user = cpu->cpl == 3 && !supervisor;
	struct walk_request rq = { .access = access, .user = user, .ac_override = cpu->cpl < 3 && !supervisor && (cpu->eflags & FLAG_AC), .set_ad = true };
	struct translation t = { 0 };
	mmu->fills++;
	if (softtlb_grow_look(mmu->softtlb))
		mmu_grow(mmu, cpu);
	*out = (struct mem_fill){ 0 };
	if (!mmu->part->translate(mmu->part_self, mmu, cpu, gva, rq, size, &t)) {
		out->fault = t.fault;
		return false;
	}
	out->hpa = t.hpa;
	if (access == ACCESS_EXEC)
		softtlb_note_execute(mmu->softtlb, gva); /* even where no memory is: a block will be made of that */
	struct frame *f = frame_reachable(mmu, t.hpa);
	if (!f)
		return true;
	out->real = mmu->phys->bytes + t.hpa;
	out->tracked = f->flags & (FRAME_CODE | FRAME_TABLE);
	out->table = f->flags & FRAME_TABLE;
	entry_insert(mmu, f, gva, supervisor ? cpu->mem.supervisor_tag : cpu->mem.tag, access, &t, out->real);
	return true;
}

/* ---- stores to tracked pages ---- */

static uint64_t bytes_value(const uint8_t *data, unsigned size)
{
	uint64_t v = 0;
	memcpy(&v, data, size);
	return v;
}

/* The forget rule: a table that nobody walks while stores move about in it has become an ordinary page. One entry changed over and over is still a table's. */
static void store_count(struct mmu *mmu, struct cpu *cpu, struct frame *f, uint64_t hpa)
{
	uint16_t entry = (uint16_t)(hpa >> 2 & 0x3ff);
	if (f->last_entry == entry || mmu->replaying)
		return;
	f->last_entry = entry;
	if (++f->stores >= FORGET_STORES)
		forget_table(mmu, cpu, hpa);
}

/* One store of at most 8 bytes to a page table. */
static void table_store(struct mmu *mmu, struct cpu *cpu, struct frame *f, uint64_t gva, const struct mem_fill *where, const uint8_t *data, unsigned size, unsigned flags)
{
	struct translation t = { .hpa = where->hpa, .gpa = (uint64_t)f->gfn << 12 | (where->hpa & 0xfff), .write_ok = true, .read_ok = true };
	uint64_t value = bytes_value(data, size);
	if (mmu->events)
		event_put2(mmu->events, EV_TABLE_STORE, flags, size, 0, gva, value);
	drain(mmu);
	mmu_doubt(mmu, where->hpa);
	mmu_doubt(mmu, where->hpa + size - 1);
	mmu->table_stores++;
	mmu->table_changes++;
	mmu->part->table_store(mmu->part_self, mmu, cpu, gva, &t, value, size);
	store_count(mmu, cpu, f, where->hpa);
}

static void mmu_store(void *self, struct cpu *cpu, uint64_t gva, const struct mem_fill *where, const void *data, unsigned size, bool supervisor)
{
	struct mmu *mmu = self;
	const uint8_t *from = data;
	unsigned flags = cpu->cpl != 3 ? 0 : supervisor ? EVF_SUPERVISOR : EVF_USER;
	struct frame *f = where->real ? frames_at(&mmu->frames, where->hpa) : NULL;
	struct mem_fill part = *where;
	if (!f || !(f->flags & FRAME_TABLE)) {
		if (!where->quiet)
			put(mmu, EV_STORE, flags, size, gva);
		if (where->real)
			memcpy(where->real, data, size);
	} else {
		for (unsigned done = 0, n; done < size; done += n) {
			n = size - done < 8 ? size - done : 8;
			part.hpa = where->hpa + done;
			if (f->flags & FRAME_TABLE) {
				table_store(mmu, cpu, f, gva + done, &part, from + done, n, flags);
				continue;
			}
			put(mmu, EV_STORE, flags, n, gva + done); /* the half before was the last that the forget rule allows */
			memcpy(where->real + done, from + done, n);
		}
	}
	if (f && (f->flags & FRAME_CODE)) {
		if (!cpu->blocks || !block_cache_store(cpu, where->hpa, size)) /* no blocks are left; the next one built from it marks it again */
			f->flags &= (uint8_t)~FRAME_CODE;
	}
}

static void mmu_mark_code(void *self, uint64_t hpa)
{
	struct mmu *mmu = self;
	struct frame *f = frames_at(&mmu->frames, hpa);
	if (!f || (f->flags & FRAME_CODE))
		return;
	f->flags |= FRAME_CODE;
	frame_end_writes(mmu, f, hpa);
}

/* ---- control registers and invalidations ---- */

static void mmu_context_changed(void *self, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush)
{
	struct mmu *mmu = self;
	drain(mmu); /* consumers walk what hardware_paging() gives: what they have not seen yet belongs to the old one */
	if (why == CONTEXT_RESET)
		mmu_flush_all(mmu, cpu);
	if (mmu->part) {
		struct paging before = *mmu->part->hardware_paging(mmu->part_self);
		unsigned slot = mmu->softtlb->now->slot;
		mmu->part->context_changed(mmu->part_self, mmu, cpu, why, old_value, no_flush);
		if (slot == mmu->softtlb->now->slot && filter_matters(mmu) && !paging_same_rules(&before, mmu->part->hardware_paging(mmu->part_self)))
			event_filter_doubt(filter_of(mmu));
	}
	mmu_moved(mmu, cpu);
}

static void mmu_invlpg(void *self, struct cpu *cpu, uint64_t gva)
{
	struct mmu *mmu = self;
	mmu->part->invlpg(mmu->part_self, mmu, cpu, gva);
}

static bool mmu_pdptes_valid(void *self, const struct cpu *cpu, uint64_t cr3)
{
	const struct mmu *mmu = self;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t hpa = mmu->part->gpa_to_hpa(mmu->part_self, (cr3 & 0xffffffe0u) + 8 * i);
		if (hpa != UINT64_MAX && paging_pdpte_reserved(cpu->features->phys_bits, phys_read64(mmu->phys, hpa)))
			return false;
	}
	return true;
}

static void mmu_invpcid(void *self, struct cpu *cpu, unsigned type, unsigned pcid, uint64_t gva)
{
	struct mmu *mmu = self;
	mmu->part->invpcid(mmu->part_self, mmu, cpu, type, pcid, gva);
}

/* ---- replay ---- */

static bool replay_page(struct mmu *mmu, struct cpu *cpu, uint64_t gva, enum access access, bool supervisor, unsigned size, struct mem_fill *out)
{
	const struct fast_entry *e = softtlb_entry(mmu->softtlb, gva);
	uint64_t have = access == ACCESS_READ ? e->read : access == ACCESS_WRITE ? e->write : e->exec;
	if (have != ((gva & ~0xfffull) | (supervisor ? cpu->mem.supervisor_tag : cpu->mem.tag)))
		return mmu_fill(mmu, cpu, gva, access, supervisor, size, out);
	*out = (struct mem_fill){ .real = (uint8_t *)(uintptr_t)(gva + e->addend) };
	out->hpa = (uint64_t)(out->real - mmu->phys->bytes);
	return true;
}

bool mmu_replay_access(struct mmu *mmu, struct cpu *cpu, uint64_t gva, enum access access, bool supervisor, unsigned size, struct mem_fill *out)
{
	unsigned first = 0x1000 - (gva & 0xfff);
	uint64_t second_gva = (gva + first) & (cpu_long_mode(cpu) ? ~0ull : 0xffffffffull);
	struct mem_fill second;
	if (first >= size)
		return replay_page(mmu, cpu, gva, access, supervisor, size, out);
	if (!replay_page(mmu, cpu, gva, access, supervisor, first, out))
		return false;
	if (!replay_page(mmu, cpu, second_gva, access, supervisor, size - first, &second)) {
		out->fault = second.fault;
		return false;
	}
	return access != ACCESS_WRITE || replay_page(mmu, cpu, gva, access, supervisor, first, out); /* as isa/memory.c: a write looks again */
}

void mmu_replay_table_store(struct mmu *mmu, struct cpu *cpu, uint64_t gva, uint64_t value, unsigned size, bool supervisor)
{
	struct mem_fill where;
	if (size <= 8 && replay_page(mmu, cpu, gva, ACCESS_WRITE, supervisor, size, &where))
		mmu_store(mmu, cpu, gva, &where, &value, size, supervisor);
}

void mmu_replay_table_page(struct mmu *mmu, struct cpu *cpu, uint64_t gpa, const uint8_t *bytes)
{
	uint64_t hpa = mmu->part->gpa_to_hpa(mmu->part_self, gpa & ~0xfffull);
	uint8_t *real = hpa == UINT64_MAX ? NULL : phys_ptr(mmu->phys, hpa, 4096);
	if (!real)
		return;
	drain(mmu);
	memcpy(real, bytes, 4096);
	mmu->table_changes++;
	mmu_track_table(mmu, cpu, hpa, gpa);
	if (mmu->part->table_page_installed)
		mmu->part->table_page_installed(mmu->part_self, mmu, cpu, gpa);
}

void mmu_replay_table_forget(struct mmu *mmu, struct cpu *cpu, uint64_t gpa)
{
	uint64_t hpa = mmu->part->gpa_to_hpa(mmu->part_self, gpa & ~0xfffull);
	if (hpa != UINT64_MAX)
		forget_table(mmu, cpu, hpa);
}

/* ---- life ---- */

bool mmu_create(struct mmu *mmu, struct cpu *cpu, struct event_sink *events, unsigned entries)
{
	*mmu = (struct mmu){ .phys = cpu->phys, .events = events };
	mmu->walk_memory = (struct walk_memory){ cpu->phys, mmu, before_change };
	mmu->softtlb = malloc(sizeof *mmu->softtlb);
	if (!mmu->softtlb || !frames_create(&mmu->frames, cpu->phys->size)) {
		free(mmu->softtlb);
		mmu->softtlb = NULL;
		return false;
	}
	if (!softtlb_create(mmu->softtlb, entries)) {
		mmu_destroy(mmu);
		return false;
	}
	cpu->mem = (struct memory_port){
		.self = mmu, .fill = mmu_fill, .store = mmu_store, .mark_code = mmu_mark_code,
		.context_changed = mmu_context_changed, .invlpg = mmu_invlpg, .invpcid = mmu_invpcid,
		.pdptes_valid = mmu_pdptes_valid,
	};
	memory_port_use(&cpu->mem, mmu->softtlb->table, mmu->softtlb->mask + 1);
	mmu_moved(mmu, cpu);
	return true;
}

void mmu_destroy(struct mmu *mmu)
{
	if (mmu->softtlb)
		softtlb_destroy(mmu->softtlb);
	free(mmu->softtlb);
	mmu->softtlb = NULL;
	frames_destroy(&mmu->frames);
}

void mmu_set_part(struct mmu *mmu, const struct memory_part *part, void *self)
{
	mmu->part = part;
	mmu->part_self = self;
}
