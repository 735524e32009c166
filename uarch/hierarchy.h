/*
 * The caches and main memory as one thing with two doors: instructions and data.
 *
 * Invariant: state is a function of the ordered accesses. A dirty victim is written to the next level at once, in the background: it changes that level's state and takes no time.
 */
#ifndef UARCH_HIERARCHY_H
#define UARCH_HIERARCHY_H
#include "cache.h"
#include "dram.h"

struct hierarchy {
	struct cache l1i, l1d, l2, l3; /* l3.entry NULL: none */
	struct dram dram;
};

/* NULL, or the name of what is wrong with the preset's geometry. */
const char *hierarchy_create(struct hierarchy *h, const struct preset *p);
void hierarchy_destroy(struct hierarchy *h);
/* Load-to-use cycles of a line that missed L1 (victim: what L1 gave up). */
uint32_t hierarchy_miss(struct hierarchy *h, const struct cache *l1, uint64_t address, const struct cache_victim *victim);

/* One access within a line, by physical address: load-to-use cycles. */
static inline uint32_t hierarchy_access(struct hierarchy *h, struct cache *l1, uint64_t address, bool write)
{
	struct cache_victim victim;
	if (__builtin_expect(cache_access(l1, address >> l1->line_shift, write, &victim), 1))
		return l1->latency;
	return hierarchy_miss(h, l1, address, &victim);
}

/* The same, as a stall: cycles beyond an L1 hit. */
static inline uint32_t hierarchy_stall(struct hierarchy *h, struct cache *l1, uint64_t address, bool write)
{
	struct cache_victim victim;
	if (__builtin_expect(cache_access(l1, address >> l1->line_shift, write, &victim), 1))
		return 0;
	return hierarchy_miss(h, l1, address, &victim) - l1->latency;
}
#endif
