/*
 * SSE rows that cannot raise a floating-point exception: moves, logic, shuffles, packed integers.
 *
 * Invariant: nothing here reads or writes MXCSR. The real machine is an x86-64, whose own instruction is each row's meaning.
 */
#include "sse_rows.h"
#include <emmintrin.h>

static inline __m128i get(const union xmm *x)
{
	return _mm_load_si128((const __m128i *)x);
}

static inline bool put(union xmm *x, __m128i v)
{
	_mm_store_si128((__m128i *)x, v);
	return true;
}

#define ROW(name) bool sse_##name(struct cpu *cpu, union xmm *dst, const union xmm *src, unsigned imm)
#define UNUSED ((void)cpu, (void)dst, (void)src, (void)imm)

/* ---- moves ---- */
ROW(copy)
{
	UNUSED;
	return put(dst, get(src));
}

ROW(copy_q)
{
	UNUSED;
	const uint64_t q = src->q[0];
	dst->q[1] = 0;
	dst->q[0] = q;
	return true;
}

ROW(copy_d)
{
	UNUSED;
	const uint32_t d = src->d[0];
	dst->q[1] = 0;
	dst->q[0] = d;
	return true;
}

ROW(merge_q)
{
	UNUSED;
	dst->q[0] = src->q[0];
	return true;
}

ROW(merge_d)
{
	UNUSED;
	dst->d[0] = src->d[0];
	return true;
}

ROW(low_to_high)
{
	UNUSED;
	dst->q[1] = src->q[0];
	return true;
}

ROW(high_to_low)
{
	UNUSED;
	dst->q[0] = src->q[1];
	return true;
}

ROW(movmskps)
{
	UNUSED;
	dst->q[0] = (unsigned)_mm_movemask_ps(_mm_castsi128_ps(get(src)));
	return true;
}

ROW(movmskpd)
{
	UNUSED;
	dst->q[0] = (unsigned)_mm_movemask_pd(_mm_castsi128_pd(get(src)));
	return true;
}

ROW(pmovmskb)
{
	UNUSED;
	dst->q[0] = (unsigned)_mm_movemask_epi8(get(src));
	return true;
}

ROW(pextrw)
{
	UNUSED;
	dst->q[0] = src->w[imm & 7];
	return true;
}

ROW(pinsrw)
{
	UNUSED;
	dst->w[imm & 7] = src->w[0];
	return true;
}

/* ---- two operands, 128 bits each ---- */
#define BINARY(name, intrinsic)                       \
	ROW(name)                                         \
	{                                                 \
		UNUSED;                                       \
		return put(dst, intrinsic(get(dst), get(src))); \
	}
BINARY(pand, _mm_and_si128)
BINARY(pandn, _mm_andnot_si128)
BINARY(por, _mm_or_si128)
BINARY(pxor, _mm_xor_si128)
BINARY(punpcklbw, _mm_unpacklo_epi8)
BINARY(punpcklwd, _mm_unpacklo_epi16)
BINARY(punpckldq, _mm_unpacklo_epi32)
BINARY(punpcklqdq, _mm_unpacklo_epi64)
BINARY(punpckhbw, _mm_unpackhi_epi8)
BINARY(punpckhwd, _mm_unpackhi_epi16)
BINARY(punpckhdq, _mm_unpackhi_epi32)
BINARY(punpckhqdq, _mm_unpackhi_epi64)
BINARY(packsswb, _mm_packs_epi16)
BINARY(packssdw, _mm_packs_epi32)
BINARY(packuswb, _mm_packus_epi16)
BINARY(paddb, _mm_add_epi8)
BINARY(paddw, _mm_add_epi16)
BINARY(paddd, _mm_add_epi32)
BINARY(paddq, _mm_add_epi64)
BINARY(paddsb, _mm_adds_epi8)
BINARY(paddsw, _mm_adds_epi16)
BINARY(paddusb, _mm_adds_epu8)
BINARY(paddusw, _mm_adds_epu16)
BINARY(psubb, _mm_sub_epi8)
BINARY(psubw, _mm_sub_epi16)
BINARY(psubd, _mm_sub_epi32)
BINARY(psubq, _mm_sub_epi64)
BINARY(psubsb, _mm_subs_epi8)
BINARY(psubsw, _mm_subs_epi16)
BINARY(psubusb, _mm_subs_epu8)
BINARY(psubusw, _mm_subs_epu16)
BINARY(pcmpeqb, _mm_cmpeq_epi8)
BINARY(pcmpeqw, _mm_cmpeq_epi16)
BINARY(pcmpeqd, _mm_cmpeq_epi32)
BINARY(pcmpgtb, _mm_cmpgt_epi8)
BINARY(pcmpgtw, _mm_cmpgt_epi16)
BINARY(pcmpgtd, _mm_cmpgt_epi32)
BINARY(pavgb, _mm_avg_epu8)
BINARY(pavgw, _mm_avg_epu16)
BINARY(pmaxsw, _mm_max_epi16)
BINARY(pmaxub, _mm_max_epu8)
BINARY(pminsw, _mm_min_epi16)
BINARY(pminub, _mm_min_epu8)
BINARY(pmullw, _mm_mullo_epi16)
BINARY(pmulhw, _mm_mulhi_epi16)
BINARY(pmulhuw, _mm_mulhi_epu16)
BINARY(pmuludq, _mm_mul_epu32)
BINARY(pmaddwd, _mm_madd_epi16)
BINARY(psadbw, _mm_sad_epu8)
BINARY(psllw, _mm_sll_epi16)
BINARY(pslld, _mm_sll_epi32)
BINARY(psllq, _mm_sll_epi64)
BINARY(psrlw, _mm_srl_epi16)
BINARY(psrld, _mm_srl_epi32)
BINARY(psrlq, _mm_srl_epi64)
BINARY(psraw, _mm_sra_epi16)
BINARY(psrad, _mm_sra_epi32)

/* A shift by an immediate is the shift by a register that holds its 8 bits. */
#define SHIFT(name, intrinsic)                                                  \
	ROW(name)                                                                   \
	{                                                                           \
		UNUSED;                                                                 \
		return put(dst, intrinsic(get(dst), _mm_cvtsi32_si128((int)(imm & 0xff)))); \
	}
SHIFT(psllw_i, _mm_sll_epi16)
SHIFT(pslld_i, _mm_sll_epi32)
SHIFT(psllq_i, _mm_sll_epi64)
SHIFT(psrlw_i, _mm_srl_epi16)
SHIFT(psrld_i, _mm_srl_epi32)
SHIFT(psrlq_i, _mm_srl_epi64)
SHIFT(psraw_i, _mm_sra_epi16)
SHIFT(psrad_i, _mm_sra_epi32)

/* ---- the immediate chooses bytes: more than a table of 256 instructions is worth, so these are written out ---- */
ROW(pslldq)
{
	UNUSED;
	const union xmm old = *dst;
	const unsigned n = imm & 0xff;
	for (unsigned i = 0; i < 16; i++)
		dst->b[i] = i >= n ? old.b[i - n] : 0;
	return true;
}

ROW(psrldq)
{
	UNUSED;
	const union xmm old = *dst;
	const unsigned n = imm & 0xff;
	for (unsigned i = 0; i < 16; i++)
		dst->b[i] = i + n < 16 ? old.b[i + n] : 0;
	return true;
}

ROW(pshufd)
{
	UNUSED;
	const union xmm from = *src;
	for (unsigned i = 0; i < 4; i++)
		dst->d[i] = from.d[imm >> 2 * i & 3];
	return true;
}

ROW(pshuflw)
{
	UNUSED;
	const union xmm from = *src;
	for (unsigned i = 0; i < 4; i++)
		dst->w[i] = from.w[imm >> 2 * i & 3];
	dst->q[1] = from.q[1];
	return true;
}

ROW(pshufhw)
{
	UNUSED;
	const union xmm from = *src;
	dst->q[0] = from.q[0];
	for (unsigned i = 0; i < 4; i++)
		dst->w[4 + i] = from.w[4 + (imm >> 2 * i & 3)];
	return true;
}

ROW(shufps)
{
	UNUSED;
	const union xmm a = *dst, b = *src;
	*dst = (union xmm){ .d = { a.d[imm & 3], a.d[imm >> 2 & 3], b.d[imm >> 4 & 3], b.d[imm >> 6 & 3] } };
	return true;
}

ROW(shufpd)
{
	UNUSED;
	const union xmm a = *dst, b = *src;
	*dst = (union xmm){ .q = { a.q[imm & 1], b.q[imm >> 1 & 1] } };
	return true;
}
