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

/* A whole line comes down to `level`: nothing is read from below, but something may have to make room. */
static inline void level_write(struct hierarchy *h, struct cache *level, uint64_t address)
{
	struct cache_victim victim;
	if (cache_access_below(level, address >> level->line_shift, true, &victim) || !victim.dirty)
		return;
	uint64_t gone = victim.line << level->line_shift;
	if (level != &h->l2 || !h->l3.entry)
		dram_access(&h->dram, gone);
	else if (!cache_access_below(&h->l3, gone >> h->l3.line_shift, true, &victim) && victim.dirty)
		dram_access(&h->dram, victim.line << h->l3.line_shift);
}

/* A read that reached the last cache: its cycles. */
static inline uint32_t last_read(struct hierarchy *h, struct cache *last, uint64_t address, struct cache_victim *victim)
{
	if (cache_access_below(last, address >> last->line_shift, false, victim))
		return last->latency;
	return last->latency + dram_access(&h->dram, address);
}

/* A read that missed L1. */
static inline uint32_t below_read(struct hierarchy *h, uint64_t address)
{
	struct cache_victim victim = { 0 }, second = { 0 };
	uint32_t cycles;
	if (!h->l3.entry) {
		cycles = last_read(h, &h->l2, address, &victim);
		if (victim.dirty)
			dram_access(&h->dram, victim.line << h->l2.line_shift);
		return cycles;
	}
	if (cache_access_below(&h->l2, address >> h->l2.line_shift, false, &victim))
		return h->l2.latency;
	cycles = last_read(h, &h->l3, address, &second);
	if (second.dirty)
		dram_access(&h->dram, second.line << h->l3.line_shift);
	if (victim.dirty)
		level_write(h, &h->l3, victim.line << h->l2.line_shift);
	return cycles;
}

uint32_t hierarchy_miss(struct hierarchy *h, const struct cache *l1, uint64_t address, const struct cache_victim *victim)
{
	if (h->l3.entry) { /* its tags are the largest table here: the real caches may as well begin to bring them */
		const uint64_t *set = cache_set(&h->l3, address >> h->l3.line_shift);
		__builtin_prefetch(set, 1);
		__builtin_prefetch(set + h->l3.ways - 1, 1);
	}
	uint32_t cycles = below_read(h, address);
	if (victim->dirty)
		level_write(h, &h->l2, victim->line << l1->line_shift);
	return cycles;
}
