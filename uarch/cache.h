/*
 * One cache: set-associative, write-back, write-allocate, true LRU, any number of sets and ways.
 *
 * Invariant: a set lists its lines from the most to the least recently used, so a touch moves to the front and a victim comes from the back. Touching the front line again
 * changes nothing but its dirty bit: that is the fast path, and exact.
 *
 * Entry: line number << 1 | dirty (lru.h).
 */
#ifndef UARCH_CACHE_H
#define UARCH_CACHE_H
#include "lru.h"
#include "timing.h"
#include <string.h>

struct cache {
	uint64_t *entry;      /* sets x ways */
	uint64_t sets;
	bool power;           /* sets is a power of two */
	uint32_t ways, line_shift, latency;
	uint32_t near;        /* entries behind the front that are worth a look each before `touch` looks at all of them together */
	lru_touch_fn *touch;  /* for so many ways */
	uint64_t access, miss, writeback; /* writeback: dirty lines that left for the next level */
};

struct cache_victim { uint64_t line; bool dirty; };

/* False: the geometry is impossible (line not a power of two, sizes not multiples) or no memory. bytes 0 makes an absent cache (entry NULL) and is fine. */
bool cache_create(struct cache *c, const struct cache_geometry *g, enum lru_variant variant);
void cache_destroy(struct cache *c);
/* The part of cache_access() after a miss at the front. */
bool cache_access_slow(struct cache *c, uint64_t *set, uint64_t line, bool write, struct cache_victim *victim);

static inline uint64_t *cache_set(const struct cache *c, uint64_t line)
{
	uint64_t index = c->power ? line & (c->sets - 1) : line % c->sets;
	return c->entry + index * c->ways;
}

/* Touches a line (address >> line_shift). True: hit. On a miss it is allocated and *victim is what had to go (dirty: it must be written to the next level). */
static inline bool cache_access(struct cache *c, uint64_t line, bool write, struct cache_victim *victim)
{
	uint64_t *set = cache_set(c, line);
	c->access++;
	if (set[0] >> 1 == line) {
		if (write && !(set[0] & 1)) /* a store that changes nothing would still be in the way of vector loads */
			set[0] |= 1;
		return true;
	}
	return cache_access_slow(c, set, line, write, victim);
}

/* The same for a level below the first, where the front line is not the likely one. On a hit *victim is left alone. */
static inline bool cache_access_below(struct cache *c, uint64_t line, bool write, struct cache_victim *victim)
{
	uint64_t gone = c->touch(cache_set(c, line), c->ways, line << 1 | write);
	c->access++;
	if (gone == LRU_HIT)
		return true;
	c->miss++;
	victim->line = gone >> 1;
	victim->dirty = gone != LRU_EMPTY && (gone & 1);
	c->writeback += victim->dirty;
	return false;
}
#endif
