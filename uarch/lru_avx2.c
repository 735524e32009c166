/* lru.h with AVX2: sets of 4, 8 and 16 ways, four lanes at a time. As lru_avx512.c, with a comparison of lane numbers in place of masks. */
#define VECTOR __attribute__((target("avx2")))
#define MOVE(n, set, entry) avx2_touch(set, n / 4, entry)
#include "lru_vector.h"

EACH uint64_t avx2_touch(uint64_t *set, unsigned vectors, uint64_t entry)
{
	const __m256i one = _mm256_set1_epi64x(1), want = _mm256_set1_epi64x((long long)(entry | 1));
	uint64_t last = set[vectors * 4 - 1];
	unsigned here = 0, dirty = 0;
	__m256i v[4];
	for (unsigned i = 0; i < vectors; i++) {
		v[i] = _mm256_loadu_si256((const __m256i *)set + i);
		unsigned equal = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_or_si256(v[i], one), want)));
		dirty |= equal & (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_slli_epi64(v[i], 63)));
		here |= equal << 4 * i;
	}
	unsigned at = (unsigned)__builtin_ctz(here | 1u << (vectors * 4 - 1));
	const __m256i lanes = _mm256_set_epi64x(3, 2, 1, 0);
	__m256i before = _mm256_set1_epi64x((long long)(entry | (dirty != 0)));
	for (unsigned i = 0; i < vectors; i++) { /* lanes up to `at` take their neighbour's entry */
		__m256i rotated = _mm256_permute4x64_epi64(v[i], 0x93), moved = _mm256_blend_epi32(rotated, before, 0x03);
		__m256i front = _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)at + 1 - 4 * (long long)i), lanes);
		_mm256_storeu_si256((__m256i *)set + i, _mm256_blendv_epi8(v[i], moved, front));
		before = rotated; /* its lane 0 is this vector's lane 3 */
	}
	return here ? LRU_HIT : last;
}

LRU_CODE(4)
LRU_CODE(8)
LRU_CODE(16)

const struct lru_code *lru_avx2_find(uint32_t ways)
{
	return LRU_CODE_FIND(ways);
}
