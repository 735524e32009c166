/*
 * Paging-structure caches as Intel describes them (SDM 3A 4.10.3; with EPT, 3C 28.4.1): for each level above the last, a cache of that level's entries tagged by the address bits
 * that select them. An entry found there is used directly, so the walk goes on at the table below. Guest walks cache combined entries (they hold the host-physical address of the
 * next table); host walks cache guest-physical ones.
 */
#include "assoc.h"
#include "walk_cache.h"

struct per_level { struct assoc cache[2][WALK_CACHE_LEVELS]; };

static void per_level_destroy(void *self)
{
	struct per_level *c = self;
	for (unsigned d = 0; d < 2; d++)
		for (unsigned l = 0; l < WALK_CACHE_LEVELS; l++)
			assoc_destroy(&c->cache[d][l]);
	free(c);
}

static void *per_level_create(const struct tlb_model_config *config)
{
	struct per_level *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	for (unsigned d = 0; d < 2; d++)
		for (unsigned l = 2; l < WALK_CACHE_LEVELS; l++)
			if (!assoc_create(&c->cache[d][l], config->walk_cache_entries[l])) {
				per_level_destroy(c);
				return NULL;
			}
	return c;
}

static uint64_t prefix(const struct walk_key *k, unsigned level)
{
	return k->at >> (12 + (level - 1) * k->index_bits);
}

static unsigned per_level_lowest(void *self, const struct walk_key *k, unsigned leaf)
{
	struct per_level *c = self;
	for (unsigned level = leaf + 1; level <= k->levels && level < WALK_CACHE_LEVELS; level++)
		if (assoc_find(&c->cache[k->dimension][level], prefix(k, level), k->owner))
			return level;
	return 0;
}

static void per_level_learn(void *self, const struct walk_key *k, const struct walk_ref *r, bool leaf)
{
	struct per_level *c = self;
	if (!leaf && r->level < WALK_CACHE_LEVELS)
		assoc_learn(&c->cache[k->dimension][r->level], prefix(k, r->level), k->owner);
}

static void per_level_flush(void *self, uint64_t mask, uint64_t owner, bool host)
{
	struct per_level *c = self;
	for (unsigned l = 0; l < WALK_CACHE_LEVELS; l++) {
		assoc_flush(&c->cache[WALK_GUEST][l], mask, owner);
		if (host)
			assoc_flush(&c->cache[WALK_HOST][l], 0, 0);
	}
}

static void per_level_drop(void *self, const struct walk_key *k)
{
	struct per_level *c = self;
	for (unsigned l = 2; l < WALK_CACHE_LEVELS; l++)
		assoc_drop(&c->cache[k->dimension][l], prefix(k, l), k->owner);
}

const struct walk_cache_kind walk_cache_per_level = {
	"per-level", "Intel: a cache for each level, tagged by address bits", per_level_create, per_level_destroy, per_level_lowest, NULL, per_level_learn, per_level_flush, per_level_drop,
};
