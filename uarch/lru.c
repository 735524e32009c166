/* Which variant of lru.h runs here. */
#include "lru.h"
#include <stddef.h>

static const struct lru_code *(*const finders[LRU_VARIANTS])(uint32_t ways) = { [LRU_SCALAR] = lru_scalar_find, [LRU_AVX2] = lru_avx2_find, [LRU_AVX512] = lru_avx512_find };

bool lru_variant_runs(enum lru_variant variant)
{
	switch (variant) {
	case LRU_AVX512: return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
	case LRU_AVX2: return __builtin_cpu_supports("avx2");
	default: return true;
	}
}

const struct lru_code *lru_code_find(enum lru_variant variant, uint32_t ways)
{
	unsigned best = variant == LRU_BEST ? LRU_AVX512 : variant, worst = variant == LRU_BEST ? LRU_SCALAR : variant;
	for (unsigned v = best; v >= worst; v--) {
		const struct lru_code *code = lru_variant_runs((enum lru_variant)v) ? finders[v](ways) : NULL;
		if (code)
			return code;
	}
	return lru_scalar_find(ways);
}
