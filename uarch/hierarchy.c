#include "hierarchy.h"

const char *hierarchy_create(struct hierarchy *h, const struct preset *p)
{
	*h = (struct hierarchy){ 0 };
	const char *wrong = !cache_create(&h->l1i, &p->l1i, p->lru) || !h->l1i.entry ? "l1i"
		: !cache_create(&h->l1d, &p->l1d, p->lru) || !h->l1d.entry ? "l1d"
		: !cache_create(&h->l2, &p->l2, p->lru) || !h->l2.entry ? "l2"
		: !cache_create(&h->l3, &p->l3, p->lru) ? "l3"
		: !dram_create(&h->dram, &p->dram) ? "dram" : NULL;
	if (wrong)
		hierarchy_destroy(h);
	return wrong;
}

void hierarchy_destroy(struct hierarchy *h)
{
	cache_destroy(&h->l1i);
	cache_destroy(&h->l1d);
	cache_destroy(&h->l2);
	cache_destroy(&h->l3);
	dram_destroy(&h->dram);
}

/* An access that comes down to `level`: its cycles; its own victim goes on down. write_back: a whole line comes from above, so nothing is read from below. */
static uint32_t level_access(struct hierarchy *h, struct cache *level, uint64_t address, bool write_back)
{
	struct cache_victim victim;
	if (cache_access(level, address >> level->line_shift, write_back, &victim))
		return level->latency;
	struct cache *below = level == &h->l2 && h->l3.entry ? &h->l3 : NULL;
	uint32_t cycles = level->latency;
	if (!write_back)
		cycles = below ? level_access(h, below, address, false) : cycles + dram_access(&h->dram, address);
	if (victim.dirty && below)
		level_access(h, below, victim.line << level->line_shift, true);
	else if (victim.dirty)
		dram_access(&h->dram, victim.line << level->line_shift);
	return cycles;
}

uint32_t hierarchy_miss(struct hierarchy *h, const struct cache *l1, uint64_t address, const struct cache_victim *victim)
{
	if (h->l3.entry) { /* its tags are the largest table here: the real caches may as well begin to bring them */
		const uint64_t *set = cache_set(&h->l3, address >> h->l3.line_shift);
		__builtin_prefetch(set, 1);
		__builtin_prefetch(set + h->l3.ways - 1, 1);
	}
	uint32_t cycles = level_access(h, &h->l2, address, false);
	if (victim->dirty)
		level_access(h, &h->l2, victim->line << l1->line_shift, true);
	return cycles;
}
