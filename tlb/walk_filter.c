#include "walk_filter.h"
#include <stdio.h>

bool walk_filter_create(struct walk_filter *f, const struct tlb_model_config *c, struct tlb_stats *stats, char *error, size_t error_size)
{
	*f = (struct walk_filter){ .kind = walk_cache_find(c->walk_cache), .stats = stats };
	unsigned most = c->nested_tlb_entries;
	for (unsigned i = 0; i < WALK_CACHE_LEVELS; i++)
		most = c->walk_cache_entries[i] > most ? c->walk_cache_entries[i] : most;
	if (!f->kind) {
		snprintf(error, error_size, "unknown walk cache '%s': see `ringside list walk-caches`", c->walk_cache);
		return false;
	}
	if (most > 1u << 16) {
		snprintf(error, error_size, "preset.tlb: a walk cache or nested TLB of %u entries: at most 65536", most);
		return false;
	}
	f->cache = f->kind->create(c);
	if (f->cache && assoc_create(&f->nested, c->nested_tlb_entries))
		return true;
	snprintf(error, error_size, "out of memory for walk caches");
	walk_filter_destroy(f);
	return false;
}

void walk_filter_destroy(struct walk_filter *f)
{
	if (f->cache)
		f->kind->destroy(f->cache);
	f->cache = NULL;
	assoc_destroy(&f->nested);
}

static inline void keep(struct walk_filter *f, struct tlb_outcome *out, const struct walk_ref *r)
{
	out->ref[out->refs++] = *r;
	f->stats->walk_refs++;
	f->stats->refs_by[r->dimension][r->level]++;
}

static inline unsigned lowest(struct walk_filter *f, const struct walk_key *k, unsigned leaf)
{
	unsigned level = f->kind->lowest ? f->kind->lowest(f->cache, k, leaf) : 0;
	if (level)
		f->stats->walk_cache_hits[k->dimension][level]++;
	return level;
}

/* One reference that no prefix took away. */
static inline void entry_apply(struct walk_filter *f, const struct walk_key *k, const struct walk_ref *r, bool leaf, struct tlb_outcome *out)
{
	if (r->level > 1 && f->kind->holds && f->kind->holds(f->cache, r)) { /* walk caches hold no entries of the last level: that is what TLBs are for */
		f->stats->walk_cache_hits[r->dimension][r->level]++;
		return;
	}
	keep(f, out, r);
	if (r->level > 1 && !out->faulted)
		f->kind->learn(f->cache, k, r, leaf);
}

/* The nested TLB does not know page sizes beforehand: it is probed with each. */
static bool nested_find(struct walk_filter *f, const struct walk_key *k)
{
	static const uint8_t shifts[] = { 12, 21, 30 };
	for (unsigned i = 0; i < sizeof shifts; i++)
		if (assoc_find(&f->nested, k->at >> shifts[i] << 6 | shifts[i], k->owner)) {
			f->stats->nested_tlb_hits++;
			return true;
		}
	f->stats->nested_tlb_misses += f->nested.lines != 0;
	return false;
}

/* A nested walk: references first .. end-1 of w, all for one guest-physical address. */
static void nested_apply(struct walk_filter *f, const struct paging *host, const struct walk_ref *first, const struct walk_ref *end, struct tlb_outcome *out)
{
	struct walk_key k = walk_key(WALK_HOST, host->format, first->at, host->root);
	if (nested_find(f, &k))
		return;
	unsigned leaf = end[-1].level, from = lowest(f, &k, leaf);
	for (const struct walk_ref *r = first; r < end; r++)
		if (!from || r->level < from)
			entry_apply(f, &k, r, r->level == leaf, out);
	unsigned shift = paging_level_shift(host->format, leaf);
	if (!out->faulted)
		assoc_learn(&f->nested, k.at >> shift << 6 | shift, k.owner);
}

static unsigned guest_leaf(const struct walk *w)
{
	for (unsigned i = w->refs; i-- > 0;)
		if (w->ref[i].dimension == WALK_GUEST)
			return w->ref[i].level;
	return WALK_CACHE_LEVELS;
}

void walk_filter_apply(struct walk_filter *f, const struct paging *p, uint64_t gva, uint32_t tags, const struct walk *w, struct tlb_outcome *out)
{
	struct walk_key k = walk_key(WALK_GUEST, p->format, gva, tags);
	const struct walk_ref *end = w->ref + w->refs;
	unsigned leaf = guest_leaf(w), from = lowest(f, &k, leaf);
	for (const struct walk_ref *r = w->ref, *next; r < end; r = next) {
		next = r + 1;
		if (r->dimension == WALK_GUEST) {
			if (!from || r->level < from)
				entry_apply(f, &k, r, r->level == leaf, out);
			continue;
		}
		while (next < end && next->dimension == WALK_HOST && next->outer == r->outer)
			next++;
		if (!from || r->outer == 0 || r->outer < from - 1) /* a cached entry holds the host address of the table below it */
			nested_apply(f, p->space, r, next, out);
	}
}

void walk_filter_flush(struct walk_filter *f, uint64_t mask, uint64_t owner, bool host)
{
	f->kind->flush(f->cache, mask, owner, host);
	if (host)
		assoc_flush(&f->nested, 0, 0);
}

void walk_filter_fault(struct walk_filter *f, const struct paging *p, uint64_t gva, uint32_t tags, const struct walk *w)
{
	struct walk_key guest = walk_key(WALK_GUEST, p->format, gva, tags);
	if (f->kind->drop)
		f->kind->drop(f->cache, &guest);
	if (w->status == WALK_OK || w->fault_dimension != WALK_HOST)
		return;
	struct walk_key host = walk_key(WALK_HOST, p->space->format, w->fault_gpa, p->space->root);
	if (f->kind->drop)
		f->kind->drop(f->cache, &host);
	for (unsigned shift = 12; shift <= 30; shift += 9)
		assoc_drop(&f->nested, host.at >> shift << 6 | shift, host.owner);
}
