/*
 * Paging-structure caches as Intel describes them (SDM 3A 4.10.3; with EPT, 3C 28.4.1): for each level above the last, a cache of that level's entries tagged by the address bits
 * that select them. An entry found there is used directly, so the walk goes on at the table below. Guest walks cache combined entries (they hold the host-physical address of the
 * next table); host walks cache guest-physical ones.
 *
 * Invariant: what a walk learns was not there: it asked for all levels below the one that it found.
 * Here and not in walk_cache_per_level.c because nearly every configuration has them, and walk_filter.c asks them several times a walk.
 */
#ifndef TLB_WALK_CACHE_PER_LEVEL_H
#define TLB_WALK_CACHE_PER_LEVEL_H
#include "assoc.h"
#include "walk_cache.h"
#include <assert.h>

static_assert(WALK_CACHE_LEVELS == WALK_LEVELS, "a cache for each level of a walk");

struct walk_per_level { struct assoc cache[2][WALK_CACHE_LEVELS]; };

static inline uint64_t walk_per_level_prefix(const struct walk_key *k, unsigned level)
{
	return k->at >> (12 + (level - 1) * k->index_bits);
}

static inline __attribute__((always_inline)) unsigned walk_per_level_lowest(struct walk_per_level *c, const struct walk_key *k, unsigned leaf)
{
	if (leaf >= k->levels) /* nothing is above it; and where no entry was read, there is no such prefix */
		return 0;
	uint64_t prefix = walk_per_level_prefix(k, leaf + 1);
	for (unsigned level = leaf + 1; level <= k->levels; level++, prefix >>= k->index_bits)
		if (assoc_find(&c->cache[k->dimension][level], prefix, k->owner))
			return level;
	return 0;
}

static inline __attribute__((always_inline)) void walk_per_level_learn(struct walk_per_level *c, const struct walk_key *k, unsigned level, bool leaf)
{
	if (!leaf)
		assoc_enter(&c->cache[k->dimension][level], walk_per_level_prefix(k, level), k->owner);
}
#endif
