/*
 * The modelled translation hardware of one processor: first-level arrays for data and instructions, a second level, walk caches.
 */
#include "tlb_array.h"
#include "walk_ahead.h"
#include "walk_filter.h"
#include <stdio.h>
#include <stdlib.h>

enum { LEVEL_L1D, LEVEL_L1I, LEVEL_L2, LEVELS };

struct tlb_level {
	struct tlb_array array[TLB_ARRAYS];
	unsigned arrays;
	struct tlb_array *home[3]; /* by size: the first that holds it; NULL: none, and smaller pieces are entered */
	uint32_t held;        /* TLB_HELD: what a lookup must ask */
};

struct tlb_model {
	struct tlb_fast fast; /* first: tlb_model_access_fast() takes one for the other */
	struct tlb_model_config config;
	struct walk_memory memory; /* only read */
	struct walk_memo memo;
	struct walk_ahead ahead;
	struct tlb_level level[LEVELS];
	struct walk_filter walk;
	uint32_t tags;        /* pcid | vpid << 16 now, without what is not tagged */
	bool started;
	bool globals;         /* entries may exist that ignore the PCID */
	uint64_t pieces;      /* by 2 MiB of the guest's addresses, modulo 64: entries may exist that cover only a part of its page there */
};

/* ---- life ---- */

static bool array_refuse(unsigned level, char *error, size_t error_size)
{
	static const char *const names[LEVELS] = { [LEVEL_L1D] = "l1d", [LEVEL_L1I] = "l1i", [LEVEL_L2] = "l2" };
	char what[256];
	snprintf(what, sizeof what, "%s", error);
	snprintf(error, error_size, "preset.tlb.%s: %s", names[level], what);
	return false;
}

static bool level_create(struct tlb_model *m, unsigned level, const struct tlb_geometry *g, char *error, size_t error_size)
{
	struct tlb_fast_slot *fast = level == LEVEL_L1D ? m->fast.data : level == LEVEL_L1I ? m->fast.fetch : NULL;
	struct tlb_level *l = &m->level[level];
	for (unsigned i = 0; i < TLB_ARRAYS; i++)
		if (g[i].entries) {
			if (!tlb_array_create(&l->array[l->arrays], &g[i], &m->fast.clock, fast, error, error_size))
				return array_refuse(level, error, error_size);
			l->array[l->arrays].held = &l->held;
			l->array[l->arrays].number = l->arrays;
			for (unsigned size = 0; size < 3; size++)
				if (!l->home[size] && (g[i].page_sizes >> size & 1))
					l->home[size] = &l->array[l->arrays];
			l->arrays++;
		}
	return true;
}

struct tlb_model *tlb_model_create(const struct tlb_model_config *config, const struct phys *phys, char *error, size_t error_size)
{
	struct tlb_model *m = aligned_alloc(64, (sizeof *m + 63) & ~(size_t)63);
	if (!m) {
		snprintf(error, error_size, "out of memory for the TLB model");
		return NULL;
	}
	*m = (struct tlb_model){ .config = *config };
	m->memory.phys = (struct phys *)(uintptr_t)phys; /* walks with set_ad false never write */
	if (level_create(m, LEVEL_L1D, config->l1d, error, error_size) && level_create(m, LEVEL_L1I, config->l1i, error, error_size)
	    && level_create(m, LEVEL_L2, config->l2, error, error_size) && walk_filter_create(&m->walk, config, &m->fast.stats, error, error_size))
		return m;
	tlb_model_destroy(m);
	return NULL;
}

void tlb_model_destroy(struct tlb_model *m)
{
	if (!m)
		return;
	for (unsigned l = 0; l < LEVELS; l++)
		for (unsigned i = 0; i < m->level[l].arrays; i++)
			tlb_array_destroy(&m->level[l].array[i]);
	if (m->walk.kind)
		walk_filter_destroy(&m->walk);
	free(m);
}

bool tlb_model_stamps(const struct tlb_model *m)
{
	for (unsigned l = LEVEL_L1D; l <= LEVEL_L1I; l++)
		for (unsigned i = 0; i < m->level[l].arrays; i++)
			if (m->level[l].array[i].replacement != tlb_replacement_find(NULL))
				return false;
	return true;
}

/* ---- flushes ---- */

struct scope { /* which entries a flush ends */
	uint32_t mask, tags;   /* tags that must agree */
	bool globals;          /* global ones too */
	bool page;             /* only those of one address... */
	bool nested;           /* only those made through EPT */
	uint64_t gva;
};

static bool scope_covers(const struct scope *s, const struct tlb_array *a, uint32_t slot)
{
	const struct tlb_entry *e = &a->entry[slot];
	bool global = e->mask != UINT32_MAX;
	unsigned shift = e->origin > e->shift ? e->origin : e->shift;
	if (s->nested && !e->nested)
		return false;
	if (s->page && tlb_slot_gva(a, slot) >> shift != s->gva >> shift)
		return false;
	if (global)
		return s->globals && !((e->tags ^ s->tags) & s->mask & e->mask);
	return !((e->tags ^ s->tags) & s->mask);
}

/* The bits of `pieces` that a page of 2^shift bytes stands for. */
static uint64_t pieces_at(uint64_t gva, unsigned shift)
{
	uint64_t one = 1ull << (gva >> 21 & 63), two = 1ull << ((gva ^ 1ull << 21) >> 21 & 63);
	return shift <= 21 ? one : shift == 22 ? one | two : ~0ull;
}

/* Returns the bits of the pieces that stay. */
static uint64_t array_flush(struct tlb_array *a, const struct scope *s)
{
	uint64_t pieces = 0;
	for (uint32_t word = 0; a->valid && word < (a->slots + 63) / 64; word++)
		for (uint64_t left = a->live[word]; left; left &= left - 1) {
			uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(left);
			const struct tlb_entry *e = &a->entry[slot];
			if (scope_covers(s, a, slot))
				tlb_array_kill(a, slot);
			else if (e->origin > e->shift)
				pieces |= pieces_at(tlb_slot_gva(a, slot), e->origin);
		}
	return pieces;
}

/* `once`: nothing is global, so that one entry at most answers. */
static inline void array_end_tag(struct tlb_array *a, uint64_t tag, uint32_t tags, bool once)
{
	uint32_t slot;
	while ((slot = tlb_array_find(a, tag, tags)) != UINT32_MAX) {
		tlb_array_kill(a, slot);
		if (once)
			break;
	}
}

/* The entries for one page of these tags, where no entry is a piece of a larger page: by lookup. */
static void array_flush_page(struct tlb_array *a, uint64_t gva, uint32_t tags, bool once)
{
	if (a->sizes[0])
		array_end_tag(a, tlb_tag(gva, 12), tags, once);
	if (a->sizes[1]) {
		array_end_tag(a, tlb_tag(gva, 21), tags, once);
		array_end_tag(a, tlb_tag(gva, 22), tags, once);
	}
	if (a->sizes[2])
		array_end_tag(a, tlb_tag(gva, 30), tags, once);
}

static void model_flush(struct tlb_model *m, const struct scope *s)
{
	bool quick = s->page && s->globals && s->mask == UINT32_MAX && !(m->pieces & pieces_at(s->gva, 12));
	uint64_t pieces = 0;
	for (unsigned l = 0; l < LEVELS; l++)
		for (unsigned i = 0; i < m->level[l].arrays; i++) {
			if (quick)
				array_flush_page(&m->level[l].array[i], s->gva, s->tags, !m->globals);
			else
				pieces |= array_flush(&m->level[l].array[i], s);
		}
	m->pieces = quick ? m->pieces : pieces;
}

static uint32_t model_tags(const struct tlb_model *m, uint32_t pcid, uint32_t vpid)
{
	return (m->config.tagged_pcid ? pcid & 0xfff : 0) | (m->config.tagged_vpid ? vpid << 16 : 0);
}

void tlb_model_flush(struct tlb_model *m, enum tlb_flush kind, unsigned vpid, uint64_t addr, const struct paging *current)
{
	enum { VPID = 0xffff0000u, BOTH = 0xffffffffu };
	static const struct scope scopes[TLB_FLUSH_KINDS] = {
		[TLB_FLUSH_ALL] = { .globals = true },
		[TLB_FLUSH_VPID] = { .mask = VPID, .globals = true },
		[TLB_FLUSH_VPID_NOGLOBAL] = { .mask = VPID },
		[TLB_FLUSH_PCID] = { .mask = BOTH },
		[TLB_FLUSH_PAGE] = { .mask = BOTH, .globals = true, .page = true },
		[TLB_FLUSH_PAGE_PCID] = { .mask = BOTH, .page = true },
		[TLB_FLUSH_EPT] = { .globals = true, .nested = true },
	};
	unsigned pcid = kind == TLB_FLUSH_PAGE ? (current ? current->pcid : 0) : kind == TLB_FLUSH_PCID || kind == TLB_FLUSH_PAGE_PCID ? addr & 0xfff : 0;
	uint32_t tags = model_tags(m, pcid, vpid);
	if ((unsigned)kind >= TLB_FLUSH_KINDS)
		return;
	struct scope s = scopes[kind];
	s.tags = tags;
	s.gva = kind == TLB_FLUSH_PAGE_PCID ? addr & ~0xfffull : addr; /* the PCID is in its low bits */
	m->fast.stats.flushes[kind]++;
	model_flush(m, &s);
	walk_filter_flush(&m->walk, s.mask, tags, kind == TLB_FLUSH_ALL || kind == TLB_FLUSH_EPT);
}

/* ---- tags ---- */

static void filter_empty(struct tlb_model *m)
{
	for (unsigned i = 0; i < TLB_FAST_SLOTS; i++) {
		m->fast.data[i].read_key = m->fast.data[i].write_key = 0;
		m->fast.fetch[i].read_key = 0;
	}
}

/* The PCID or VPID is another one: hardware without that tag cannot keep what it has. */
static void tags_change(struct tlb_model *m, const struct paging *p, uint32_t tags)
{
	uint32_t moved = m->started ? tags ^ m->fast.tags : 0;
	filter_empty(m);
	m->fast.tags = tags;
	m->started = true;
	m->tags = model_tags(m, p->pcid, p->vpid);
	if ((moved >> 16) && !m->config.tagged_vpid)
		tlb_model_flush(m, TLB_FLUSH_ALL, 0, 0, p);
	else if ((moved & 0xffff) && !m->config.tagged_pcid)
		tlb_model_flush(m, TLB_FLUSH_VPID_NOGLOBAL, p->vpid, 0, p);
}

/* ---- lookups ---- */

struct found { struct tlb_array *array; uint32_t slot; };

static bool large_is_4m(const struct paging *p) { return p->format == PAGING_32 && !p->space; }

static struct found level_lookup(struct tlb_level *l, const struct paging *p, uint64_t gva, uint32_t tags)
{
	const uint8_t shift[4] = { 12, large_is_4m(p) ? 22 : 21, 30 };
	for (uint32_t left = l->held; left; left &= left - 1) {
		unsigned at = (unsigned)__builtin_ctz(left);
		struct tlb_array *a = &l->array[at >> 2];
		uint32_t slot = tlb_array_lookup(a, gva, shift[at & 3], tags);
		if (slot != UINT32_MAX)
			return (struct found){ a, slot };
	}
	return (struct found){ NULL, UINT32_MAX };
}

static struct found entry_insert(struct tlb_model *m, struct tlb_array *a, uint64_t gva, const struct tlb_entry *e)
{
	m->pieces |= e->origin > e->shift ? pieces_at(gva, e->origin) : 0;
	m->globals |= e->mask != UINT32_MAX;
	return (struct found){ a, tlb_array_insert(a, gva, e) };
}

/* Inserts into the first array that holds the page size, or the next smaller size: then the entry covers the piece around gva. */
static struct found level_insert(struct tlb_model *m, struct tlb_level *l, uint64_t gva, const struct tlb_entry *e)
{
	unsigned size = tlb_size_index(e->shift);
	if (l->home[size])
		return entry_insert(m, l->home[size], gva, e);
	while (size-- > 0) {
		if (!l->home[size])
			continue;
		struct tlb_entry piece = *e;
		piece.shift = size == 0 ? 12 : 21;
		piece.base |= gva & ((1ull << e->shift) - 1) & (~0ull << piece.shift);
		return entry_insert(m, l->home[size], gva, &piece);
	}
	return (struct found){ NULL, UINT32_MAX };
}

/* ---- walks ---- */

static bool model_walk(struct tlb_model *m, const struct paging *p, uint64_t gva, enum access access, unsigned flags, struct tlb_outcome *out, struct walk *w)
{
	bool fault = flags & EVF_FAULT;
	struct walk_request rq = { .access = access, .user = flags & EVF_USER, .ac_override = !fault };
	struct walk_steps steps;
	out->faulted = false;
	if (fault || !paging_walk_plain(p, &m->memory, &m->memo, gva, rq, w, &steps)) {
		out->faulted = !paging_walk(p, &m->memory, gva, rq, w) || fault;
		paging_walk_steps(w, &steps);
	} else {
		walk_ahead_learn(&m->ahead, p, gva, &steps);
	}
	m->fast.stats.walks++;
	m->fast.stats.walks_faulted += out->faulted;
	walk_filter_apply(&m->walk, p, gva, m->tags, &steps, out);
	if (out->faulted)
		walk_filter_fault(&m->walk, p, gva, m->tags, w);
	return !out->faulted;
}

static struct tlb_entry entry_from_walk(const struct tlb_model *m, const struct paging *p, const struct walk *w, bool write)
{
	struct tlb_entry e = { .tags = m->tags, .mask = w->global ? 0xffff0000u : UINT32_MAX, .nested = p->space != NULL };
	e.shift = w->page_shift == 22 && !large_is_4m(p) ? 21 : w->page_shift;
	e.origin = w->guest_shift;
	e.base = w->hpa & (~0ull << e.shift);
	e.write_ok = write || (w->writable && w->dirty); /* a write that succeeded has set D, even where CR0.WP let it pass */
	return e;
}

/* The second level's entries for the page learn it as well; that is no lookup, so nothing is touched. */
static void write_learned(struct tlb_level *l, uint64_t gva, uint32_t tags)
{
	static const uint8_t shifts[] = { 12, 21, 22, 30 };
	for (unsigned i = 0; i < l->arrays; i++)
		for (unsigned n = 0; n < sizeof shifts; n++) {
			uint32_t slot = tlb_array_find(&l->array[i], tlb_tag(gva, shifts[n]), tags);
			if (slot != UINT32_MAX)
				l->array[i].entry[slot].write_ok = true;
		}
}

/* A write through an entry that does not know the page as writable and dirty: the hardware walks again (SDM 3A 4.8), and so learns. */
static void write_assist(struct tlb_model *m, const struct paging *p, uint64_t gva, unsigned flags, struct found f, struct tlb_outcome *out)
{
	struct walk w;
	m->fast.stats.dirty_assists++;
	out->dirty_assist = true;
	model_walk(m, p, gva, ACCESS_WRITE, flags, out, &w);
	out->faulted = false; /* the access itself did not */
	f.array->entry[f.slot].write_ok = true;
	write_learned(&m->level[LEVEL_L2], gva, m->tags);
}

/* An access whose translation failed ends what the TLB has for the page (SDM 3A 4.10.4.1), walks, and enters nothing. */
static void access_faulted(struct tlb_model *m, const struct paging *p, uint64_t gva, enum access access, unsigned flags, struct tlb_outcome *out)
{
	struct walk w;
	const struct scope page = { .mask = UINT32_MAX, .tags = m->tags, .globals = true, .page = true, .gva = gva };
	model_flush(m, &page);
	out->result = TLB_WALK;
	model_walk(m, p, gva, access, flags, out, &w);
}

/* ---- an access ---- */

static bool paging_off(const struct paging *p)
{
	return p->format == PAGING_IDENTITY && (!p->space || (p->space->format == PAGING_IDENTITY && !p->space->space));
}

/* The first level has not got it. Returns the entry that it has then, if it can hold one. */
static struct found access_l2(struct tlb_model *m, const struct paging *p, uint64_t gva, enum access access, unsigned flags, struct tlb_level *l1, struct tlb_outcome *out)
{
	struct tlb_level *l2 = &m->level[LEVEL_L2];
	struct tlb_entry e;
	struct walk w;
	struct found f = level_lookup(l2, p, gva, m->tags);
	m->fast.stats.l2_access += l2->arrays != 0;
	if (f.array) {
		out->result = TLB_HIT_L2;
		if (access == ACCESS_WRITE && !f.array->entry[f.slot].write_ok)
			write_assist(m, p, gva, flags, f, out);
		e = f.array->entry[f.slot];
	} else {
		m->fast.stats.l2_miss += l2->arrays != 0;
		out->result = TLB_WALK;
		if (!model_walk(m, p, gva, access, flags, out, &w))
			return f;
		e = entry_from_walk(m, p, &w, access == ACCESS_WRITE);
		level_insert(m, l2, gva, &e);
	}
	out->hpa = e.base | (gva & ((1ull << e.shift) - 1));
	return level_insert(m, l1, gva, &e);
}

void tlb_model_access(struct tlb_model *m, const struct paging *p, uint64_t gva, enum access access, unsigned event_flags, struct tlb_outcome *out)
{
	out->faulted = out->dirty_assist = false;
	out->refs = 0;
	out->result = TLB_HIT_L1;
	if (!tlb_model_access_fast(m, p, gva, access, event_flags, &out->hpa))
		tlb_model_access_slow(m, p, gva, access, event_flags, out);
}

void tlb_model_access_slow(struct tlb_model *m, const struct paging *p, uint64_t gva, enum access access, unsigned event_flags, struct tlb_outcome *out)
{
	bool fetch = access == ACCESS_EXEC;
	struct tlb_level *l1 = &m->level[fetch ? LEVEL_L1I : LEVEL_L1D];
	uint32_t tags = (uint32_t)p->vpid << 16 | p->pcid;
	out->faulted = out->dirty_assist = false;
	out->refs = 0;
	out->result = TLB_HIT_L1;
	if (paging_off(p)) {
		out->result = TLB_OFF;
		out->hpa = gva;
		return;
	}
	if (tags != m->fast.tags || !m->started)
		tags_change(m, p, tags);
	*(fetch ? &m->fast.stats.l1i_access : &m->fast.stats.l1d_access) += 1;
	struct found f = event_flags & EVF_FAULT ? (struct found){ NULL, UINT32_MAX } : level_lookup(l1, p, gva, m->tags);
	if (f.array) {
		const struct tlb_entry *e = &f.array->entry[f.slot];
		if (access == ACCESS_WRITE && !e->write_ok)
			write_assist(m, p, gva, event_flags, f, out);
		out->hpa = e->base | (gva & ((1ull << e->shift) - 1));
	} else {
		*(fetch ? &m->fast.stats.l1i_miss : &m->fast.stats.l1d_miss) += 1;
		if (event_flags & EVF_FAULT)
			access_faulted(m, p, gva, access, event_flags, out);
		else
			f = access_l2(m, p, gva, access, event_flags, l1, out);
	}
	if (f.array && !m->config.no_filter && f.slot != UINT32_MAX)
		tlb_array_filter(f.array, gva, f.slot);
}

void tlb_model_expect(const struct tlb_model *m, const struct paging *p, uint64_t far, uint64_t near)
{
	walk_ahead_fetch(&m->ahead, m->memory.phys, p, far, near);
}

/* ---- what is left out of the event stream ---- */

/* Sets of the array that 4 KiB pages enter, by the low bits of their number; 1: all pages may share one; 0: they enter none. */
static unsigned level_slots(const struct tlb_level *l)
{
	for (unsigned i = 0; i < l->arrays; i++) {
		const struct tlb_array *a = &l->array[i];
		if (a->geometry.page_sizes & TLB_4K)
			return a->geometry.page_sizes != TLB_4K || !a->low_bits ? 1 : a->sets < FILTER_PAGES ? a->sets : FILTER_PAGES;
	}
	return 0;
}

bool tlb_model_filter(const struct tlb_model *m, struct event_filter_shape *shape)
{
	shape->pages = (uint8_t)level_slots(&m->level[LEVEL_L1D]);
	shape->fetches = (uint8_t)level_slots(&m->level[LEVEL_L1I]);
	return shape->pages && shape->fetches;
}

void tlb_model_skipped(struct tlb_model *m, const struct paging *p, uint64_t accesses, uint64_t fetches)
{
	if (paging_off(p))
		return;
	m->fast.stats.l1d_access += accesses;
	m->fast.stats.l1i_access += fetches;
}

bool tlb_model_peek(const struct tlb_model *m, const struct paging *p, uint64_t gva, uint64_t *hpa)
{
	const struct tlb_level *l = &m->level[LEVEL_L1I];
	const uint8_t shift[4] = { 12, large_is_4m(p) ? 22 : 21, 30 };
	*hpa = gva;
	if (paging_off(p))
		return true;
	for (uint32_t left = l->held; left; left &= left - 1) { /* as level_lookup() */
		unsigned at = (unsigned)__builtin_ctz(left);
		const struct tlb_array *a = &l->array[at >> 2];
		uint32_t slot = tlb_array_find(a, tlb_tag(gva, shift[at & 3]), m->tags);
		if (slot == UINT32_MAX)
			continue;
		*hpa = a->entry[slot].base | (gva & ((1ull << a->entry[slot].shift) - 1));
		return true;
	}
	return false;
}

/* ---- statistics ---- */

const struct tlb_stats *tlb_model_stats(const struct tlb_model *m) { return &m->fast.stats; }

static const struct { const char *name; size_t offset; } stat_rows[] = {
#define STAT(name, field) { name, offsetof(struct tlb_stats, field) }
	STAT("l1d.access", l1d_access), STAT("l1d.miss", l1d_miss), STAT("l1i.access", l1i_access), STAT("l1i.miss", l1i_miss),
	STAT("l2.access", l2_access), STAT("l2.miss", l2_miss),
	STAT("walk.count", walks), STAT("walk.faulted", walks_faulted), STAT("walk.refs", walk_refs),
	STAT("walk.guest.level1", refs_by[0][1]), STAT("walk.guest.level2", refs_by[0][2]), STAT("walk.guest.level3", refs_by[0][3]),
	STAT("walk.guest.level4", refs_by[0][4]), STAT("walk.guest.level5", refs_by[0][5]),
	STAT("walk.host.level1", refs_by[1][1]), STAT("walk.host.level2", refs_by[1][2]), STAT("walk.host.level3", refs_by[1][3]),
	STAT("walk.host.level4", refs_by[1][4]), STAT("walk.host.level5", refs_by[1][5]),
	STAT("walk_cache.guest.level2", walk_cache_hits[0][2]), STAT("walk_cache.guest.level3", walk_cache_hits[0][3]),
	STAT("walk_cache.guest.level4", walk_cache_hits[0][4]), STAT("walk_cache.guest.level5", walk_cache_hits[0][5]),
	STAT("walk_cache.host.level2", walk_cache_hits[1][2]), STAT("walk_cache.host.level3", walk_cache_hits[1][3]),
	STAT("walk_cache.host.level4", walk_cache_hits[1][4]), STAT("walk_cache.host.level5", walk_cache_hits[1][5]),
	STAT("nested_tlb.hits", nested_tlb_hits), STAT("nested_tlb.misses", nested_tlb_misses),
	STAT("dirty_assists", dirty_assists),
	STAT("flush.all", flushes[TLB_FLUSH_ALL]), STAT("flush.vpid", flushes[TLB_FLUSH_VPID]), STAT("flush.vpid_noglobal", flushes[TLB_FLUSH_VPID_NOGLOBAL]),
	STAT("flush.pcid", flushes[TLB_FLUSH_PCID]), STAT("flush.page", flushes[TLB_FLUSH_PAGE]), STAT("flush.page_pcid", flushes[TLB_FLUSH_PAGE_PCID]),
	STAT("flush.ept", flushes[TLB_FLUSH_EPT]),
#undef STAT
};

bool tlb_model_stat(const struct tlb_model *m, unsigned i, const char **name, uint64_t *value)
{
	if (i >= sizeof stat_rows / sizeof *stat_rows)
		return false;
	*name = stat_rows[i].name;
	memcpy(value, (const char *)&m->fast.stats + stat_rows[i].offset, sizeof *value);
	return true;
}
