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
	bool near;            /* four ways or more: the three entries behind the front get a look each before `touch` looks at all of them together */
	lru_touch_fn *touch;  /* for so many ways */
	lru_list_fn *list;
	uint64_t access, miss, writeback; /* writeback: dirty lines that left for the next level */
};

struct cache_victim { uint64_t line; bool dirty; };

/* False: the geometry is impossible (line not a power of two, sizes not multiples) or no memory. bytes 0 makes an absent cache (entry NULL) and is fine. */
bool cache_create(struct cache *c, const struct cache_geometry *g, enum lru_variant variant);
void cache_destroy(struct cache *c);
/* The part of cache_access() after a miss at the front, or at all places of cache_touch_near(). */
bool cache_access_slow(struct cache *c, uint64_t *set, uint64_t line, bool write, struct cache_victim *victim);
bool cache_access_far(struct cache *c, uint64_t *set, uint64_t line, bool write, struct cache_victim *victim);

static inline uint64_t *cache_set(const struct cache *c, uint64_t line)
{
	uint64_t index = c->power ? line & (c->sets - 1) : line % c->sets;
	return c->entry + index * c->ways;
}

/* The three places behind the front, where streams that share a set take turns: moving few entries one by one is faster than moving all as a vector. False: nothing happened. */
static inline bool cache_touch_near(uint64_t *set, uint64_t line, bool write)
{
	uint64_t front = set[0], second = set[1], third = set[2], fourth = set[3];
	if (second >> 1 == line) {
		set[0] = second | write;
		set[1] = front;
		return true;
	}
	if (third >> 1 == line) {
		set[0] = third | write;
		set[1] = front;
		set[2] = second;
		return true;
	}
	if (fourth >> 1 != line)
		return false;
	set[0] = fourth | write;
	set[1] = front;
	set[2] = second;
	set[3] = third;
	return true;
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

static inline bool cache_usual(const struct cache *c) { return c->line_shift == 6 && c->power && c->near; }

/* The same for a level below the first, where the front line is not the likely one. On a hit *victim is left alone. */
static inline bool cache_access_below(struct cache *c, uint64_t line, bool write, struct cache_victim *victim)
{
	c->access++;
	return cache_access_far(c, cache_set(c, line), line, write, victim);
}
#endif
