#include "event_filter.h"
#include <string.h>

enum { LARGE_REGION = 9 }; /* pages of 4 KiB in the smallest large page, log2 */

/* Where the touch of a pair that the consumer does not know of went. */
static uint64_t pair_owed(struct event_filter *f, unsigned slot)
{
	struct event_filter_entry *e = &f->entry[slot];
	uint64_t tag = e->last ? e->write : e->read;
	e->told = e->last;
	f->accesses--; /* it will be counted when it is consumed */
	return (tag & (~0ull << f->shape.granule)) | (tag & 1);
}

static unsigned pairs_owed(struct event_filter *f, uint64_t slots, uint64_t *owed)
{
	unsigned n = 0;
	for (; slots; slots &= slots - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(slots);
		if (f->entry[slot].last != f->entry[slot].told)
			owed[n++] = pair_owed(f, slot);
	}
	return n;
}

static void entries_empty(struct event_filter *f)
{
	if (f->paired && !f->lates) {
		f->lates = pairs_owed(f, f->paired, f->late);
		f->paired = f->lates ? FILTER_NONE : 0;
	}
	f->key += FILTER_GENERATION;
	if (f->key < 1ull << f->shape.granule)
		return;
	for (unsigned i = 0; i <= f->mask; i++)
		f->entry[i].read = f->entry[i].write = 0;
	f->key = FILTER_GENERATION | (f->key & 1);
}

unsigned event_filter_owed_all(struct event_filter *f, uint64_t owed[FILTER_SLOTS])
{
	unsigned n = f->lates;
	if (!n)
		return pairs_owed(f, f->paired, owed);
	memcpy(owed, f->late, n * sizeof *owed);
	f->lates = 0;
	f->paired = 0; /* those that there were are the late ones, and nothing has been entered since */
	return n;
}

static void code_empty(struct event_filter *f)
{
	for (; f->code_held; f->code_held &= f->code_held - 1)
		f->code[__builtin_ctzll(f->code_held)] = FILTER_NONE;
}

void event_filter_empty(struct event_filter *f)
{
	entries_empty(f);
	memset(f->page, 0xff, sizeof f->page);
	memset(f->fetch, 0xff, sizeof f->fetch);
	f->hidden = false;
	code_empty(f);
}

void event_filter_hide(struct event_filter *f)
{
	if (f->hidden || !f->shape.code)
		return;
	memcpy(f->kept, f->fetch, sizeof f->kept);
	memset(f->fetch, 0xff, sizeof f->fetch);
	f->hidden = true;
}

static void fetches_show(struct event_filter *f)
{
	if (f->hidden)
		memcpy(f->fetch, f->kept, sizeof f->fetch);
	f->hidden = false;
}

void event_filter_turn(struct event_filter *f, bool user, bool open)
{
	if (user == (f->key & 1) || open || f->open)
		entries_empty(f);
	f->key = (f->key & ~1ull) | user;
	f->open = open;
	event_filter_hide(f);
}

void event_filter_create(struct event_filter *f, const struct event_filter_shape *shape)
{
	*f = (struct event_filter){ .shape = *shape, .mask = shape->slots > 1 ? shape->slots - 1u : 1 };
	memset(f->code, 0xff, sizeof f->code);
	event_filter_no_large(f);
	event_filter_empty(f);
}

void event_filter_no_large(struct event_filter *f)
{
	f->large_low = ~0ull;
	f->large_high = 0;
}

void event_filter_note_large(struct event_filter *f, uint64_t gva, unsigned shift)
{
	uint64_t low = (gva & (~0ull << shift)) >> 12, high = (gva | ~(~0ull << shift)) >> 12;
	if (low >= f->large_low && high <= f->large_high)
		return;
	f->large_low = low < f->large_low ? low : f->large_low;
	f->large_high = high > f->large_high ? high : f->large_high;
	event_filter_empty(f); /* pages that were taken for small ones */
}

void event_filter_doubt(struct event_filter *f)
{
	f->doubt = true;
	memset(f->asked, 0, sizeof f->asked);
	memset(f->candidate, 0, sizeof f->candidate);
	event_filter_empty(f);
}

static bool any_large(const struct event_filter *f) { return f->large_low <= f->large_high; }
static bool page_may_be_large(const struct event_filter *f, uint64_t page) { return page >= f->large_low && page <= f->large_high; }
/* Whether two pages may lie in different entries of an array for large pages. */
static bool pages_rival(const struct event_filter *f, uint64_t page, uint64_t other) { return other != FILTER_NONE && page_may_be_large(f, other) && (page ^ other) >> LARGE_REGION; }

static unsigned entry_slot(const struct event_filter *f, uint64_t gva) { return gva >> f->shape.granule & f->mask; }

/* Page-sized entries are those of the pages' slots. */
static void page_forget(struct event_filter *f, unsigned slot)
{
	f->page[slot].read = f->page[slot].write = FILTER_NONE;
	if (f->shape.granule == 12)
		f->entry[slot].read = f->entry[slot].write = 0;
}

/* Whether the tables that the models walk have the page as the fast table has it. `access`: enum access. */
static bool page_certain(struct event_filter *f, uint64_t gva, unsigned access, bool user)
{
	uint64_t key = (gva & ~0xfffull) | 8 | access << 1 | user, page = gva >> 12;
	uint64_t *asked = &f->asked[(page ^ access << 4) & (FILTER_SLOTS - 1)], *candidate = &f->candidate[access * FILTER_PAGES + (page & (FILTER_PAGES - 1))];
	if (!f->doubt || *asked == key)
		return true;
	if (*candidate != key || !f->ask) {
		*candidate = key;
		return false;
	}
	enum filter_answer a = f->ask(f->ask_self, gva, access, user);
	if (a == FILTER_LARGE)
		event_filter_note_large(f, gva, 21);
	if (a != FILTER_GONE)
		*asked = key;
	return a != FILTER_GONE;
}

/* The page of the access now stands in its slot; false: nothing does. Another one there before: a walk may have gone through the cache's lines. */
static bool page_touch(struct event_filter *f, uint64_t gva, bool write, bool user)
{
	uint64_t page = gva >> 12;
	unsigned slot = page & (f->shape.pages - 1u);
	if ((write ? f->page[slot].write : f->page[slot].read) == page)
		return true;
	bool certain = page_certain(f, gva, write, user); /* ORDER: enum access */
	for (unsigned i = 0; (certain ? page_may_be_large(f, page) : any_large(f)) && i < f->shape.pages; i++)
		if (pages_rival(f, page, f->page[i].read))
			page_forget(f, i);
	page_forget(f, slot);
	if (f->shape.granule != 12)
		entries_empty(f);
	if (!certain)
		return false;
	f->page[slot].read = page;
	f->page[slot].write = write ? page : FILTER_NONE;
	return true;
}

static void entry_forget(struct event_filter *f, uint64_t gva)
{
	unsigned slot = entry_slot(f, gva);
	f->entry[slot].read = f->entry[slot].write = 0;
	f->paired &= ~(1ull << slot);
}

static uint64_t granule_of(const struct event_filter *f, uint64_t gva) { return gva & (~0ull << f->shape.granule); }
/* Entries of the same granule, whoever's; entries of this generation. */
static bool tags_alike(uint64_t a, uint64_t b) { return !((a ^ b) & ~1ull); }
static bool tag_lives(const struct event_filter *f, uint64_t tag) { return !((tag ^ f->key) & ((1ull << f->shape.granule) - 1) & ~1ull); }

unsigned event_filter_owed(struct event_filter *f, uint64_t gva, unsigned size, bool write, uint64_t owed[FILTER_SLOTS])
{
	uint64_t page = gva >> 12, granule = granule_of(f, gva), tag = granule | (f->key & ~1ull);
	unsigned slot = entry_slot(f, gva), of = page & (f->shape.pages - 1u);
	const struct event_filter_entry *e = &f->entry[slot];
	if (!f->paired)
		return 0;
	if (f->lates || granule_of(f, gva + size - 1) != granule || (write ? f->page[of].write : f->page[of].read) != page)
		return event_filter_owed_all(f, owed);
	return tags_alike(e->read, tag) || tags_alike(e->write, tag) ? 0 : pairs_owed(f, f->paired & 1ull << slot, owed);
}

/* Enters a granule, which the consumer has now as the last of its set. */
static void entry_enter(struct event_filter *f, unsigned slot, uint64_t tag, bool write, uint64_t addend)
{
	struct event_filter_entry *e = &f->entry[slot];
	uint64_t *own = write ? &e->write : &e->read, *other = write ? &e->read : &e->write, bit = 1ull << slot;
	bool pair = f->shape.pairs && tag_lives(f, *other) && !tags_alike(*other, tag);
	if (pair && f->paired & bit && !tags_alike(*own, tag) && e->last == write) { /* a third one: the other is not the second any more */
		*other = 0;
		pair = false;
	}
	f->paired = pair ? f->paired | bit : f->paired & ~bit;
	e->last = e->told = write;
	*own = tag;
	e->addend[write] = addend;
	if (pair || (f->shape.pairs && tag_lives(f, *other)))
		return;
	*other = write ? tag : 0;
	e->addend[!write] = addend;
}

void event_filter_touch(struct event_filter *f, uint64_t gva, unsigned size, bool write, bool user)
{
	event_filter_access(f, gva, size, write, user, 0);
	entry_forget(f, gva);
}

void event_filter_access(struct event_filter *f, uint64_t gva, unsigned size, bool write, bool user, uint64_t addend)
{
	uint64_t last = gva + size - 1;
	if (f->shape.slots == 1)
		f->entry[0].read = f->entry[0].write = f->entry[1].read = f->entry[1].write = 0;
	if (!page_touch(f, gva, write, user))
		return;
	if (granule_of(f, gva ^ last)) {
		entry_forget(f, gva);
		entry_forget(f, last);
		return;
	}
	entry_enter(f, entry_slot(f, gva), granule_of(f, gva) | (f->key & ~1ull) | user, write, addend);
}

/* ---- code ---- */

static void code_hold(struct event_filter *f, uint64_t line)
{
	unsigned slot = line & (f->shape.code - 1u);
	f->code[slot] = line;
	f->code_held |= 1ull << slot;
}

/* False: the page is not certain. */
static bool page_fetch(struct event_filter *f, uint64_t gva, bool user)
{
	uint64_t page = gva >> 12;
	if (event_filter_fetched(f, gva))
		return true;
	bool certain = page_certain(f, gva, 2, user); /* ORDER: enum access */
	for (unsigned i = 0; (certain ? page_may_be_large(f, page) : any_large(f)) && i < f->shape.fetches; i++)
		if (pages_rival(f, page, f->fetch[i]))
			f->fetch[i] = FILTER_NONE;
	f->fetch[page & (f->shape.fetches - 1u)] = certain ? page : FILTER_NONE;
	if (f->shape.granule != 12)
		entries_empty(f);
	if (f->doubt) /* a walk may find the page in another frame than before */
		code_empty(f);
	return certain;
}

void event_filter_block(struct event_filter *f, uint64_t pc, unsigned bytes, bool user)
{
	uint64_t last = pc + bytes - 1;
	fetches_show(f);
	bool certain = page_fetch(f, pc, user);
	if ((pc ^ last) >> 12)
		certain &= page_fetch(f, last & ~0xfffull, user);
	f->user = user;
	f->next = f->told = pc + bytes;
	f->line = event_filter_line(f, last);
	if (!f->shape.code)
		return;
	for (uint64_t line = event_filter_line(f, pc); line <= f->line; line++)
		code_hold(f, line);
	if (!certain) /* it may have been fetched from nowhere: nobody knows the last line */
		code_empty(f);
}

bool event_filter_block_hit(struct event_filter *f, uint64_t pc, unsigned bytes, unsigned insns)
{
	uint64_t first = event_filter_line(f, pc), last = event_filter_line(f, pc + bytes - 1), in_page = 4095 >> f->shape.code_line;
	if (!event_filter_fetched(f, pc))
		return false;
	if (f->shape.code) {
		for (uint64_t line = first; line <= last; line++)
			if (f->code[line & (f->shape.code - 1u)] != line)
				return false;
		if (f->line != first && !((f->line ^ first) & in_page))
			return false; /* two pages may map the same line */
		f->lines += last - first + (f->line != first);
		f->taken += f->next != pc;
		f->line = last;
		f->next = pc + bytes;
	}
	f->blocks++;
	f->instructions += insns;
	return true;
}
