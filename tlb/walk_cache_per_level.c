#include "walk_cache_per_level.h"

static void per_level_destroy(void *self)
{
	struct walk_per_level *c = self;
	for (unsigned d = 0; d < 2; d++)
		for (unsigned l = 0; l < WALK_CACHE_LEVELS; l++)
			assoc_destroy(&c->cache[d][l]);
	free(c);
}

static void *per_level_create(const struct tlb_model_config *config)
{
	struct walk_per_level *c = calloc(1, sizeof *c);
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

static unsigned per_level_lowest(void *self, const struct walk_key *k, unsigned leaf)
{
	return walk_per_level_lowest(self, k, leaf);
}

static void per_level_learn(void *self, const struct walk_key *k, unsigned level, uint64_t hpa, bool leaf)
{
	(void)hpa;
	walk_per_level_learn(self, k, level, leaf);
}

static void per_level_flush(void *self, uint64_t mask, uint64_t owner, bool host)
{
	struct walk_per_level *c = self;
	for (unsigned l = 0; l < WALK_CACHE_LEVELS; l++) {
		assoc_flush(&c->cache[WALK_GUEST][l], mask, owner);
		if (host)
			assoc_flush(&c->cache[WALK_HOST][l], 0, 0);
	}
}

static void per_level_drop(void *self, const struct walk_key *k)
{
	struct walk_per_level *c = self;
	for (unsigned l = 2; l < WALK_CACHE_LEVELS; l++)
		assoc_drop(&c->cache[k->dimension][l], walk_per_level_prefix(k, l), k->owner);
}

const struct walk_cache_kind walk_cache_per_level = {
	"per-level", "Intel: a cache for each level, tagged by address bits", per_level_create, per_level_destroy, per_level_lowest, NULL, per_level_learn, per_level_flush, per_level_drop,
};
