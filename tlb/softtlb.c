#include "softtlb.h"
#include <stdlib.h>
#include <sys/mman.h>

enum {
	REAL_LARGE_PAGE = 2 << 20,
	GROW_BY = 4,
	GROW_RATE = 64, /* fewer instructions than this for each translation that had to go for another: the table is too small for the guest */
};

static const struct fast_entry nothing = { FAST_NEVER, FAST_NEVER, FAST_NEVER, 0 };

static void table_clear(struct softtlb *s)
{
	for (uint64_t i = 0; i <= s->mask; i++)
		s->table[i] = nothing;
	s->large_low = ~0ull;
	s->large_high = 0;
	s->large_shift = 12;
}

/* A large one lies in one large page of the real machine, if it may: a look at it then costs no walk there. */
static struct fast_entry *table_create(uint64_t entries)
{
	size_t bytes = entries * sizeof(struct fast_entry);
	void *at = aligned_alloc(bytes < REAL_LARGE_PAGE ? 64 : REAL_LARGE_PAGE, bytes);
	if (at && bytes >= REAL_LARGE_PAGE)
		madvise(at, bytes, MADV_HUGEPAGE); /* advice only */
	return at;
}

bool softtlb_create(struct softtlb *s, unsigned entries)
{
	*s = (struct softtlb){ 0 };
	if (entries == 0 || (entries & (entries - 1)) || entries > SOFTTLB_MAX)
		return false;
	s->single = entries == 1;
	s->small = entries < SOFTTLB_DEFAULT;
	if (s->single)
		entries = 2;
	s->table = table_create(entries);
	if (!s->table)
		return false;
	s->mask = entries - 1;
	table_clear(s);
	softtlb_context_enter(s, 0, false, 0);
	return true;
}

bool softtlb_grow_due(struct softtlb *s, uint64_t icount)
{
	bool busy = icount - s->counted_since < (uint64_t)s->evictions * GROW_RATE;
	s->evictions = 0;
	s->counted_since = icount;
	return busy && s->mask + 1 < SOFTTLB_MAX;
}

bool softtlb_grow(struct softtlb *s)
{
	uint64_t entries = (s->mask + 1) * GROW_BY;
	if (entries > SOFTTLB_MAX)
		entries = SOFTTLB_MAX;
	struct fast_entry *table = table_create(entries);
	if (!table)
		return false; /* as before, slower */
	free(s->table);
	s->table = table;
	s->mask = entries - 1;
	for (uint64_t i = 0; i < entries; i++)
		table[i] = nothing;
	return true;
}

void softtlb_destroy(struct softtlb *s)
{
	free(s->table);
	s->table = NULL;
}

const struct softtlb_context *softtlb_context_find(const struct softtlb *s, uint64_t key)
{
	for (unsigned i = 0; i < SOFTTLB_CONTEXTS; i++)
		if (s->context[i].alive && s->context[i].key == key)
			return &s->context[i];
	return NULL;
}

static unsigned slot_take(struct softtlb *s)
{
	if (s->slots_used == SOFTTLB_SLOTS) {
		table_clear(s);
		for (unsigned i = 0; i < SOFTTLB_CONTEXTS; i++)
			s->context[i].alive = false;
		s->slots_used = 0;
	}
	return s->slots_used++;
}

/* A place for a new context: its own old one, a dead one, or the next in turn. */
static struct softtlb_context *context_place(struct softtlb *s, const struct softtlb_context *old)
{
	if (old)
		return &s->context[old - s->context];
	for (unsigned i = 0; i < SOFTTLB_CONTEXTS; i++)
		if (!s->context[i].alive)
			return &s->context[i];
	s->victim = (s->victim + 1) % SOFTTLB_CONTEXTS;
	return &s->context[s->victim];
}

void softtlb_context_enter(struct softtlb *s, uint64_t key, bool keep, uint64_t stamp)
{
	const struct softtlb_context *old = softtlb_context_find(s, key);
	if (old && keep) {
		s->now = &s->context[old - s->context];
		return;
	}
	unsigned slot = slot_take(s);
	s->now = context_place(s, old);
	*s->now = (struct softtlb_context){ key, stamp, slot, true };
}

void softtlb_contexts_end(struct softtlb *s, uint64_t mask, uint64_t key)
{
	for (unsigned i = 0; i < SOFTTLB_CONTEXTS; i++)
		if (&s->context[i] != s->now && (s->context[i].key & mask) == (key & mask))
			s->context[i].alive = false;
}

void softtlb_flush(struct softtlb *s, uint64_t stamp)
{
	uint64_t key = s->now->key;
	for (unsigned i = 0; i < SOFTTLB_CONTEXTS; i++)
		s->context[i].alive = false;
	memset(s->executed, 0, sizeof s->executed);
	s->large_low = ~0ull;
	s->large_high = 0;
	s->large_shift = 12;
	softtlb_context_enter(s, key, false, stamp);
}

/* The page that an entry is for; all its living tags agree on it. */
static uint64_t entry_page(const struct fast_entry *e)
{
	uint64_t tag = e->read != FAST_NEVER ? e->read : e->write != FAST_NEVER ? e->write : e->exec;
	return tag & ~0xfffull;
}

void softtlb_flush_page(struct softtlb *s, uint64_t gva)
{
	uint64_t page = gva & ~0xfffull, span = 1ull << 12;
	if (page >= s->large_low && page <= s->large_high) {
		span = 1ull << s->large_shift;
		page &= ~(span - 1);
	}
	uint64_t slots = span >> 12 <= s->mask ? span >> 12 : s->mask + 1;
	for (uint64_t i = 0; i < slots; i++) {
		struct fast_entry *e = softtlb_entry(s, page + (i << 12));
		if ((entry_page(e) & ~(span - 1)) == page)
			*e = nothing;
	}
}

static bool entry_reaches(const struct fast_entry *e, const uint8_t *page)
{
	return entry_page(e) + e->addend == (uint64_t)(uintptr_t)page;
}

void softtlb_entry_end_write(struct fast_entry *e, const uint8_t *page)
{
	if (entry_reaches(e, page))
		e->write = FAST_NEVER;
}

void softtlb_end_writes(struct softtlb *s, const uint8_t *page)
{
	for (uint64_t i = 0; i <= s->mask; i++)
		softtlb_entry_end_write(&s->table[i], page);
}

void softtlb_entry_begin(struct softtlb *s, struct fast_entry *e, uint64_t addend)
{
	uint64_t tag = e->read & e->write & e->exec & 0xfff; /* the living ones are equal, and FAST_NEVER has all bits */
	s->evictions += tag >> 2 == s->now->slot;
	if (s->single)
		s->table[e == s->table] = nothing;
	*e = (struct fast_entry){ FAST_NEVER, FAST_NEVER, FAST_NEVER, addend };
}

void softtlb_note_large(struct softtlb *s, uint64_t gva, unsigned shift)
{
	uint64_t low = gva & (~0ull << shift), high = low | ((1ull << shift) - 1);
	if (low < s->large_low)
		s->large_low = low;
	if (high > s->large_high)
		s->large_high = high;
	if (shift > s->large_shift)
		s->large_shift = (uint8_t)shift;
}
