/*
 * The page walk cache of AMD's first nested-paging processors (Bhargava et al., "Accelerating two-dimensional page walks for virtualized systems", ASPLOS 2008): one cache of
 * entries, of both dimensions and every level but the last, tagged by the host-physical address of the entry. A hit saves that one reference; the walk still goes level by level.
 * It has no context tags: any flush empties it.
 */
#include "assoc.h"
#include "walk_cache.h"

static void *by_address_create(const struct tlb_model_config *config)
{
	struct assoc *c = calloc(1, sizeof *c);
	if (c && !assoc_create(c, config->walk_cache_entries[0])) {
		free(c);
		c = NULL;
	}
	return c;
}

static void by_address_destroy(void *self)
{
	assoc_destroy(self);
	free(self);
}

static bool by_address_holds(void *self, uint64_t hpa)
{
	return assoc_find(self, hpa, 0);
}

static void by_address_learn(void *self, const struct walk_key *k, unsigned level, uint64_t hpa, bool leaf)
{
	(void)k, (void)level, (void)leaf;
	assoc_enter(self, hpa, 0);
}

static void by_address_flush(void *self, uint64_t mask, uint64_t owner, bool host)
{
	(void)mask, (void)owner, (void)host;
	assoc_flush(self, 0, 0);
}

const struct walk_cache_kind walk_cache_by_address = {
	"by-address", "AMD: one cache of entries, tagged by their physical address", by_address_create, by_address_destroy, NULL, by_address_holds, by_address_learn, by_address_flush, NULL,
};
