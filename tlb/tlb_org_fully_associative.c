/* A page can live anywhere: content-addressed, as small L1 and 1 GiB arrays are. */
#include "tlb_array.h"

static bool shape(struct tlb_array *a, char *error, size_t error_size)
{
	(void)error, (void)error_size;
	a->sets = 1;
	a->ways = a->geometry.entries;
	return true;
}

static uint32_t find(const struct tlb_array *a, uint64_t tag, uint32_t tags)
{
	return tlb_scan(a, 0, a->ways, tag, tags);
}

static void candidates(const struct tlb_array *a, uint64_t tag, unsigned *slot)
{
	(void)tag;
	for (unsigned i = 0; i < a->ways; i++)
		slot[i] = i;
}

const struct tlb_organisation tlb_organisation_fully_associative = {
	"fully-associative", "any entry can hold any page", shape, find, candidates, true, true,
};
