#include "cache.h"
#include <stdlib.h>

static bool geometry_valid(const struct cache_geometry *g)
{
	return g->line >= 8 && !(g->line & (g->line - 1)) && g->ways && g->ways <= 64 && g->bytes % ((uint64_t)g->line * g->ways) == 0;
}

bool cache_create(struct cache *c, const struct cache_geometry *g, enum lru_variant variant)
{
	*c = (struct cache){ .latency = g->latency };
	if (!g->bytes)
		return true;
	if (!geometry_valid(g))
		return false;
	c->ways = g->ways;
	c->line_shift = (uint32_t)__builtin_ctz(g->line);
	c->sets = g->bytes / ((uint64_t)g->line * g->ways);
	c->power = !(c->sets & (c->sets - 1));
	c->near = c->ways >= 4;
	c->touch = lru_code_find(variant, c->ways)->touch;
	c->list = lru_code_find(variant, c->ways)->list;
	size_t bytes = (c->sets * c->ways * sizeof *c->entry + 63) & ~(size_t)63;
	c->entry = aligned_alloc(64, bytes); /* a set of eight ways in one real line */
	if (!c->entry)
		return false;
	memset(c->entry, 0xff, bytes); /* LRU_EMPTY */
	return true;
}

void cache_destroy(struct cache *c)
{
	free(c->entry);
	c->entry = NULL;
}

bool cache_access_far(struct cache *c, uint64_t *set, uint64_t line, bool write, struct cache_victim *victim)
{
	uint64_t gone = c->touch(set, c->ways, line << 1 | write);
	if (gone == LRU_HIT)
		return true;
	c->miss++;
	victim->line = gone >> 1;
	victim->dirty = gone != LRU_EMPTY && (gone & 1);
	c->writeback += victim->dirty;
	return false;
}

bool cache_access_slow(struct cache *c, uint64_t *set, uint64_t line, bool write, struct cache_victim *victim)
{
	return (c->near && cache_touch_near(set, line, write)) || cache_access_far(c, set, line, write, victim);
}
