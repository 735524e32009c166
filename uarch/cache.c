#include "cache.h"
#include <stdlib.h>

static bool geometry_valid(const struct cache_geometry *g)
{
	return g->line >= 8 && !(g->line & (g->line - 1)) && g->ways && g->ways <= 64 && g->bytes % ((uint64_t)g->line * g->ways) == 0;
}

bool cache_create(struct cache *c, const struct cache_geometry *g)
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
	c->entry = malloc(c->sets * c->ways * sizeof *c->entry);
	if (!c->entry)
		return false;
	memset(c->entry, 0xff, c->sets * c->ways * sizeof *c->entry);
	return true;
}

void cache_destroy(struct cache *c)
{
	free(c->entry);
	c->entry = NULL;
}

bool cache_access_slow(struct cache *c, uint64_t *set, uint64_t line, bool write, struct cache_victim *victim)
{
	uint64_t shifted = set[0];
	for (uint32_t way = 1; way < c->ways; way++) { /* one pass finds the line and ages what stands before it */
		uint64_t here = set[way];
		set[way] = shifted;
		shifted = here;
		if (here >> 1 == line) {
			set[0] = here | write;
			return true;
		}
	}
	c->miss++;
	victim->line = shifted >> 1;
	victim->dirty = shifted != CACHE_EMPTY && (shifted & 1);
	c->writeback += victim->dirty;
	set[0] = line << 1 | write;
	return false;
}
