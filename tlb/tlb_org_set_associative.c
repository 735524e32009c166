/*
 * The textbook organisation: a page can live in the ways of one set, chosen by the low bits of its number (at its own page size: a mixed array probes once a size).
 */
#include "tlb_array.h"
#include <stdio.h>

static bool shape(struct tlb_array *a, char *error, size_t error_size)
{
	a->ways = a->geometry.ways ? a->geometry.ways : a->geometry.entries;
	a->sets = a->geometry.entries / a->ways;
	if (a->sets && a->sets * a->ways == a->geometry.entries)
		return true;
	snprintf(error, error_size, "%u TLB entries do not divide into sets of %u ways: make entries a multiple of ways", a->geometry.entries, a->ways);
	return false;
}

static inline uint32_t set_first(const struct tlb_array *a, uint64_t tag)
{
	uint64_t vpn = tag >> 6;
	return (uint32_t)(a->sets & (a->sets - 1) ? vpn % a->sets : vpn & (a->sets - 1)) * a->ways;
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

const struct tlb_organisation tlb_organisation_set_associative = {
	"set-associative", "one set, chosen by the low bits of the page number", shape, find, candidates, true, true,
};
