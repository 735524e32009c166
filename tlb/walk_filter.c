#include "walk_filter.h"
#include "walk_cache_per_level.h"
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
	for (unsigned i = 0; i < PAGING_FORMATS; i++)
		f->shapes[i] = walk_shape((enum paging_format)i);
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

/* ------------------------------------------------------------------ a walk */
#define ONE_TEXT static inline __attribute__((always_inline)) /* `usual`: the kind is per-level, known where it is called */

ONE_TEXT void keep(struct walk_filter *f, const struct walk_key *k, unsigned level, uint64_t hpa, struct tlb_outcome *out)
{
	struct walk_ref *r = &out->ref[out->refs++];
	uint64_t head = k->head | walk_head(0, level, 0, 0);
	r->hpa = hpa;
	r->at = k->at;
	memcpy((uint8_t *)r + offsetof(struct walk_ref, dimension), &head, sizeof head);
	f->stats->walk_refs++;
	f->stats->refs_by[k->dimension][level]++;
}

ONE_TEXT unsigned lowest(struct walk_filter *f, const struct walk_key *k, unsigned leaf, bool usual)
{
	unsigned level = usual ? walk_per_level_lowest(f->cache, k, leaf) : f->kind->lowest ? f->kind->lowest(f->cache, k, leaf) : 0;
	if (level)
		f->stats->walk_cache_hits[k->dimension][level]++;
	return level;
}

/* One reference that no prefix took away. */
ONE_TEXT void entry_apply(struct walk_filter *f, const struct walk_key *k, unsigned level, uint64_t hpa, bool leaf, struct tlb_outcome *out, bool usual)
{
	if (!usual && level > 1 && f->kind->holds && f->kind->holds(f->cache, hpa)) { /* walk caches hold no entries of the last level: that is what TLBs are for */
		f->stats->walk_cache_hits[k->dimension][level]++;
		return;
	}
	keep(f, k, level, hpa, out);
	if (level == 1 || out->faulted)
		return;
	if (usual)
		walk_per_level_learn(f->cache, k, level, leaf);
	else
		f->kind->learn(f->cache, k, level, hpa, leaf);
}

/* The nested TLB does not know page sizes beforehand: it is probed with each that it may hold. */
ONE_TEXT bool nested_find(struct walk_filter *f, const struct walk_key *k)
{
	for (uint64_t left = f->nested_sizes; left; left &= left - 1) {
		unsigned shift = (unsigned)__builtin_ctzll(left);
		if (assoc_find(&f->nested, k->at >> shift << 6 | shift, k->owner)) {
			f->stats->nested_tlb_hits++;
			return true;
		}
	}
	f->stats->nested_tlb_misses += f->nested.lines != 0;
	return false;
}

/* One nested walk. `outer`: the level of the guest entry that it locates. */
ONE_TEXT void nested_apply(struct walk_filter *f, const struct paging *host, const struct walk_leg *w, unsigned outer, struct tlb_outcome *out, bool usual)
{
	struct walk_key k = walk_key(f->shapes, WALK_HOST, outer, host->format, w->at, host->root);
	unsigned leaf = w->leaf, shift = 12 + (leaf - 1) * k.index_bits;
	if (nested_find(f, &k))
		return;
	unsigned from = lowest(f, &k, leaf, usual);
	for (unsigned level = from ? from - 1 : k.levels; level >= leaf; level--)
		entry_apply(f, &k, level, w->hpa[level], level == leaf, out, usual);
	if (out->faulted)
		return;
	f->nested_sizes |= 1ull << shift;
	assoc_enter(&f->nested, k.at >> shift << 6 | shift, k.owner);
}

ONE_TEXT void walk_apply(struct walk_filter *f, const struct paging *p, uint64_t gva, uint32_t tags, const struct walk_steps *w, struct tlb_outcome *out, bool usual)
{
	struct walk_key k = walk_key(f->shapes, WALK_GUEST, 0, p->format, gva, tags);
	unsigned leaf = w->leaf, from = lowest(f, &k, leaf, usual), top = from ? from - 1 : k.levels, last = leaf <= k.levels ? leaf : k.levels + 1u;
	for (unsigned level = top; level > 0 && level + 1 >= last; level--) { /* one below the last entry, whose nested walk may have failed */
		if (w->nested && w->host[level].leaf && !(from && level == top)) /* a cached entry holds the host address of the table below it */
			nested_apply(f, p->space, &w->host[level], level, out, usual);
		if (level >= leaf)
			entry_apply(f, &k, level, w->guest[level], level == leaf, out, usual);
	}
	if (w->nested && w->host[0].leaf)
		nested_apply(f, p->space, &w->host[0], 0, out, usual);
}

void walk_filter_apply(struct walk_filter *f, const struct paging *p, uint64_t gva, uint32_t tags, const struct walk_steps *w, struct tlb_outcome *out)
{
	if (f->kind == &walk_cache_per_level)
		walk_apply(f, p, gva, tags, w, out, true);
	else
		walk_apply(f, p, gva, tags, w, out, false);
}

void walk_filter_flush(struct walk_filter *f, uint64_t mask, uint64_t owner, bool host)
{
	f->kind->flush(f->cache, mask, owner, host);
	if (!host)
		return;
	assoc_flush(&f->nested, 0, 0);
	f->nested_sizes = 0;
}

void walk_filter_fault(struct walk_filter *f, const struct paging *p, uint64_t gva, uint32_t tags, const struct walk *w)
{
	struct walk_key guest = walk_key(f->shapes, WALK_GUEST, 0, p->format, gva, tags);
	if (f->kind->drop)
		f->kind->drop(f->cache, &guest);
	if (w->status == WALK_OK || w->fault_dimension != WALK_HOST)
		return;
	struct walk_key host = walk_key(f->shapes, WALK_HOST, 0, p->space->format, w->fault_gpa, p->space->root);
	if (f->kind->drop)
		f->kind->drop(f->cache, &host);
	for (unsigned shift = 12; shift <= 30; shift += 9)
		assoc_drop(&f->nested, host.at >> shift << 6 | shift, host.owner);
}
