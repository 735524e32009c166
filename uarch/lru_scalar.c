/* lru.h in plain C: any number of ways. */
#include "lru.h"

static uint64_t scalar_touch(uint64_t *set, uint32_t ways, uint64_t entry)
{
	uint64_t shifted = set[0];
	if (shifted >> 1 == entry >> 1) {
		set[0] = shifted | entry;
		return LRU_HIT;
	}
	for (uint32_t way = 1; way < ways; way++) { /* one pass finds the line and ages what stands before it */
		uint64_t here = set[way];
		set[way] = shifted;
		shifted = here;
		if (here >> 1 == entry >> 1) {
			set[0] = here | entry;
			return LRU_HIT;
		}
	}
	set[0] = entry;
	return shifted;
}

static void scalar_list(uint64_t *const *set, uint32_t ways, uint64_t *entry, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		entry[i] = scalar_touch(set[i], ways, entry[i]);
}

const struct lru_code *lru_scalar_find(uint32_t ways)
{
	static const struct lru_code code = { scalar_touch, scalar_list };
	(void)ways;
	return &code;
}
