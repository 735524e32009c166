/*
 * The caches and main memory as one thing with two doors: instructions and data.
 *
 * Invariant: state is a function of the ordered accesses. A dirty victim is written to the next level at once, in the background: it changes that level's state and takes no time.
 */
#ifndef UARCH_HIERARCHY_H
#define UARCH_HIERARCHY_H
#include "cache.h"
#include "dram.h"

/*
 * Staged: what missed L1 waits in a list, and the list goes through each level as a whole: L2, then L3, then memory. That is exact, for information flows downward only: what a level
 * does depends on the order of the accesses that reach it and on nothing that a lower level finds, and no cache takes lines from one above it. A level passes on, in the order in which
 * one access at a time would: reads that missed, and dirty lines that had to go.
 */
#define STAGED_MOST 256   /* accesses that wait: their lists stay in the real L1 */
#define PAYERS 8          /* who pays for an access is a small number; 0: nobody does */
struct staged_list { uint64_t *address /* | 1: a whole line is written */; uint8_t *payer; unsigned count; };
struct staged {
	struct staged_list level[3];            /* accesses on their way to L2, L3, memory; room for STAGED_MOST, twice and four times that: each may push a line out */
	uint64_t cycles[PAYERS];                /* to be paid; [0] is never looked at */
	uint32_t cost[2][PAYERS], memory[3][PAYERS]; /* load-to-use cycles less `free` of the payer: of L2, L3; of memory as the row was open, closed, another one */
};

struct hierarchy {
	struct cache l1i, l1d, l2, l3; /* l3.entry NULL: none */
	struct dram dram;
	struct staged staged;
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

/* Each payer's cycles that are not charged: the latency of an L1 hit, for those who stall for what is beyond it. Call once, before the first access is staged. */
void hierarchy_stage(struct hierarchy *h, const uint32_t *free_cycles);
/* All waiting accesses go down. */
void hierarchy_settle(struct hierarchy *h);

/* A read that missed L1 begins to wait, and so does the line that L1 gave up. Until hierarchy_settle(), nothing else may reach below L1. */
static inline void hierarchy_put(struct hierarchy *h, unsigned payer, const struct cache *l1, uint64_t address, const struct cache_victim *victim)
{
	struct staged_list *l = &h->staged.level[0];
	unsigned n = l->count;
	l->address[n] = address & ~1ull;
	l->payer[n] = (uint8_t)payer;
	l->address[n + 1] = victim->line << l1->line_shift | 1;
	l->payer[n + 1] = 0;
	l->count = n + 1 + victim->dirty;
	if (__builtin_expect(l->count > STAGED_MOST - 2, 0))
		hierarchy_settle(h);
}

static inline uint32_t cycles_beyond(uint32_t cycles, uint32_t least) { return cycles > least ? cycles - least : 0; }

/* The same as hierarchy_access(), as a stall: cycles beyond an L1 hit. */
static inline uint32_t hierarchy_stall(struct hierarchy *h, struct cache *l1, uint64_t address, bool write)
{
	struct cache_victim victim;
	if (__builtin_expect(cache_access(l1, address >> l1->line_shift, write, &victim), 1))
		return 0;
	return cycles_beyond(hierarchy_miss(h, l1, address, &victim), l1->latency);
}
#endif
