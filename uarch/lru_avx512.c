/*
 * lru.h with AVX-512: sets of 4, 8 and 16 ways. No branch and no table: what stands before the hit moves by one lane (valignq), what stands behind it stays (a mask). A miss is a hit
 * in the last lane whose entry is thrown away.
 */
#define VECTOR __attribute__((target("avx512f,avx512vl")))
#define MOVE(n, set, entry) avx512_move##n(set, entry)
#include "lru_vector.h"

EACH uint64_t avx512_move4(uint64_t *set, uint64_t entry)
{
	uint64_t last = set[3];
	__m256i v = _mm256_loadu_si256((const __m256i *)set);
	unsigned here = _mm256_testn_epi64_mask(_mm256_xor_si256(v, _mm256_set1_epi64x((long long)entry)), _mm256_set1_epi64x(-2));
	unsigned dirty = _mm256_mask_test_epi64_mask((__mmask8)here, v, _mm256_set1_epi64x(1));
	unsigned at = here | 1u << 3, front = at ^ (at - 1);
	__m256i moved = _mm256_alignr_epi64(v, _mm256_set1_epi64x((long long)(entry | (dirty != 0))), 3);
	_mm256_storeu_si256((__m256i *)set, _mm256_mask_blend_epi64((__mmask8)front, v, moved));
	return here ? LRU_HIT : last;
}

EACH uint64_t avx512_move8(uint64_t *set, uint64_t entry)
{
	uint64_t last = set[7];
	__m512i v = _mm512_loadu_si512(set);
	unsigned here = _mm512_testn_epi64_mask(_mm512_xor_si512(v, _mm512_set1_epi64((long long)entry)), _mm512_set1_epi64(-2));
	unsigned dirty = _mm512_mask_test_epi64_mask((__mmask8)here, v, _mm512_set1_epi64(1));
	unsigned at = here | 1u << 7, front = at ^ (at - 1);
	__m512i moved = _mm512_alignr_epi64(v, _mm512_set1_epi64((long long)(entry | (dirty != 0))), 7);
	_mm512_storeu_si512(set, _mm512_mask_blend_epi64((__mmask8)front, v, moved));
	return here ? LRU_HIT : last;
}

EACH uint64_t avx512_move16(uint64_t *set, uint64_t entry)
{
	uint64_t last = set[15];
	__m512i low = _mm512_loadu_si512(set), high = _mm512_loadu_si512(set + 8), want = _mm512_set1_epi64((long long)entry), but_dirty = _mm512_set1_epi64(-2), one = _mm512_set1_epi64(1);
	unsigned here_low = _mm512_testn_epi64_mask(_mm512_xor_si512(low, want), but_dirty), here_high = _mm512_testn_epi64_mask(_mm512_xor_si512(high, want), but_dirty);
	unsigned dirty = _mm512_mask_test_epi64_mask((__mmask8)here_low, low, one) | _mm512_mask_test_epi64_mask((__mmask8)here_high, high, one);
	unsigned here = here_low | here_high << 8, at = here | 1u << 15, front = at ^ (at - 1);
	__m512i moved_low = _mm512_alignr_epi64(low, _mm512_set1_epi64((long long)(entry | (dirty != 0))), 7), moved_high = _mm512_alignr_epi64(high, low, 7);
	_mm512_storeu_si512(set, _mm512_mask_blend_epi64((__mmask8)front, low, moved_low));
	_mm512_storeu_si512(set + 8, _mm512_mask_blend_epi64((__mmask8)(front >> 8), high, moved_high));
	return here ? LRU_HIT : last;
}

LRU_CODE(4)
LRU_CODE(8)
LRU_CODE(16)

const struct lru_code *lru_avx512_find(uint32_t ways)
{
	return LRU_CODE_FIND(ways);
}
