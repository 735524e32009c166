#include "event_filter.h"
#include <string.h>

enum { LARGE_REGION = 9 }; /* pages of 4 KiB in the smallest large page, log2 */

static void entries_empty(struct event_filter *f)
{
	if (++f->key < 1ull << f->shape.granule)
		return;
	memset(f->entry, 0, sizeof f->entry);
	f->key = 1;
}

void event_filter_empty(struct event_filter *f)
{
	entries_empty(f);
	memset(f->page, 0xff, sizeof f->page);
	memset(f->fetch, 0xff, sizeof f->fetch);
}

void event_filter_create(struct event_filter *f, const struct event_filter_shape *shape)
{
	*f = (struct event_filter){ .shape = *shape, .mask = shape->slots > 1 ? shape->slots - 1u : 1 };
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

/* The page of the access now stands in its slot. Another one there before: a walk may have gone through the cache's lines. */
static void page_touch(struct event_filter *f, uint64_t page, bool write)
{
	unsigned slot = page & (f->shape.pages - 1u);
	if ((write ? f->page[slot].write : f->page[slot].read) == page)
		return;
	for (unsigned i = 0; page_may_be_large(f, page) && i < f->shape.pages; i++)
		if (pages_rival(f, page, f->page[i].read))
			page_forget(f, i);
	f->page[slot].read = page;
	f->page[slot].write = write ? page : FILTER_NONE;
	if (f->shape.granule != 12)
		entries_empty(f);
}

static void entry_forget(struct event_filter *f, uint64_t gva)
{
	struct event_filter_entry *e = &f->entry[entry_slot(f, gva)];
	e->read = e->write = 0;
}

void event_filter_access(struct event_filter *f, uint64_t gva, unsigned size, bool write, uint64_t addend)
{
	uint64_t last = gva + size - 1, granule = 1ull << f->shape.granule;
	struct event_filter_entry *e = &f->entry[entry_slot(f, gva)];
	page_touch(f, gva >> 12, write);
	if (f->shape.slots == 1)
		f->entry[0].read = f->entry[0].write = f->entry[1].read = f->entry[1].write = 0;
	if ((gva ^ last) & ~(granule - 1)) {
		entry_forget(f, gva);
		entry_forget(f, last);
		return;
	}
	e->read = (gva & ~(granule - 1)) | f->key;
	e->write = write ? e->read : 0;
	e->addend = addend;
}

void event_filter_fetch(struct event_filter *f, uint64_t gva)
{
	uint64_t page = gva >> 12;
	if (event_filter_fetched(f, gva))
		return;
	for (unsigned i = 0; page_may_be_large(f, page) && i < f->shape.fetches; i++)
		if (pages_rival(f, page, f->fetch[i]))
			f->fetch[i] = FILTER_NONE;
	f->fetch[page & (f->shape.fetches - 1u)] = page;
	if (f->shape.granule != 12)
		entries_empty(f);
}
