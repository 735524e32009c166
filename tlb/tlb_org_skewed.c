/*
 * Skewed-associative (Seznec, "Concurrent support of multiple page sizes on a skewed associative TLB", IEEE Trans. Computers 2004): each way has its own index function, so that
 * pages which collide in one way rarely collide in the next. Slot = way * sets + index of the way.
 */
#include "tlb_array.h"
#include <stdio.h>

static bool shape(struct tlb_array *a, char *error, size_t error_size)
{
	a->ways = a->geometry.ways ? a->geometry.ways : 4;
	a->sets = a->geometry.entries / a->ways;
	if (a->sets && a->sets * a->ways == a->geometry.entries)
		return true;
	snprintf(error, error_size, "%u TLB entries do not divide into %u skewed ways: make entries a multiple of ways", a->geometry.entries, a->ways);
	return false;
}

/* A way's index: multiplicative hashing with an odd constant of its own (Knuth, TAOCP 3, 6.4), so that any number of sets and ways will do. */
static inline uint32_t way_slot(const struct tlb_array *a, uint64_t tag, unsigned way)
{
	uint64_t mixed = (tag >> 6) * (0x9e3779b97f4a7c15ull + 2 * (uint64_t)way * 0x632be59bd9b4e019ull);
	return way * a->sets + (uint32_t)((mixed >> 32) * a->sets >> 32);
}

static uint32_t find(const struct tlb_array *a, uint64_t tag, uint32_t tags)
{
	for (unsigned way = 0; way < a->ways; way++) {
		uint32_t slot = way_slot(a, tag, way);
		if (a->tag[slot] == tag && tlb_entry_matches(&a->entry[slot], tags))
			return slot;
	}
	return UINT32_MAX;
}

static void candidates(const struct tlb_array *a, uint64_t tag, unsigned *slot)
{
	for (unsigned way = 0; way < a->ways; way++)
		slot[way] = way_slot(a, tag, way);
}

const struct tlb_organisation tlb_organisation_skewed = {
	"skewed", "every way has its own hash of the page number", shape, find, candidates, false, false,
};
