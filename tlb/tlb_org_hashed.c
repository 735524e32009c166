/*
 * Set-associative with a hashed index: the page number folded on itself by exclusive or, as Gras et al. found it in Intel's second-level TLBs
 * ("Translation Leak-aside Buffer", USENIX Security 2018: XOR-7 and XOR-8). Needs a power of two of sets.
 */
#include "tlb_array.h"
#include <stdio.h>

static bool shape(struct tlb_array *a, char *error, size_t error_size)
{
	a->ways = a->geometry.ways ? a->geometry.ways : a->geometry.entries;
	a->sets = a->geometry.entries / a->ways;
	if (a->sets && a->sets * a->ways == a->geometry.entries && !(a->sets & (a->sets - 1)))
		return true;
	snprintf(error, error_size, "a hashed TLB of %u entries and %u ways needs a power of two of sets: change entries or ways", a->geometry.entries, a->ways);
	return false;
}

static inline uint32_t set_first(const struct tlb_array *a, uint64_t tag)
{
	uint64_t vpn = tag >> 6;
	unsigned bits = (unsigned)__builtin_ctz(a->sets);
	return (uint32_t)((vpn ^ vpn >> bits) & (a->sets - 1)) * a->ways;
}

static uint32_t find(const struct tlb_array *a, uint64_t tag, uint32_t tags)
{
	return tlb_scan(a, set_first(a, tag), a->ways, tag, tags);
}

static void candidates(const struct tlb_array *a, uint64_t tag, unsigned *slot)
{
	uint32_t first = set_first(a, tag);
	for (unsigned i = 0; i < a->ways; i++)
		slot[i] = first + i;
}

const struct tlb_organisation tlb_organisation_hashed = {
	"hashed", "one set, chosen by the page number folded by exclusive or", shape, find, candidates, true, false,
};
