/*
 * SSE rows that compute in floating point, under the guest's MXCSR.
 *
 * Invariant: the real machine computes with the guest's rounding, DAZ and FTZ and with every exception masked, and its own MXCSR is back before any C code
 * of ours runs; so no result depends on how this program was started, and no SIGFPE can come. An exception that the guest has unmasked is found from the
 * flags afterwards (SDM 1 11.5.2), before anything is committed.
 */
#include "sse_rows.h"
#include <emmintrin.h>

enum { /* MXCSR, SDM 1 figure 10-3: flags 5:0, DAZ 6, masks 12:7, rounding 14:13, FTZ 15 */
	MX_IE = 1, MX_DE = 2, MX_ZE = 4, MX_OE = 8, MX_UE = 16, MX_PE = 32, MX_FLAGS = 0x3f, MX_BEFORE = MX_IE | MX_DE | MX_ZE,
	MX_DAZ = 0x40, MX_MASKS = 0x1f80, MX_MASK_SHIFT = 7, MX_UM = MX_UE << MX_MASK_SHIFT, MX_RC_SHIFT = 13, MX_FTZ = 0x8000,
};

static const uint32_t mxcsr_ours = 0x1f80; /* the ABI's value at program start (x86-64 psABI 3.2.1) */

#define ROW(name) bool sse_##name(struct cpu *cpu, union xmm *dst, const union xmm *src, unsigned imm)

/* Runs one instruction under *csr and gives back the flags in it. */
#define UNDER(csr, instruction, ...) \
	__asm__ volatile("ldmxcsr %[csr]\n\t" instruction "\n\tstmxcsr %[csr]\n\tldmxcsr %[ours]" : __VA_ARGS__, [ours] "m"(mxcsr_ours))

enum fp_kind { FP_ADD, FP_SUB, FP_MUL, FP_DIV, FP_NARROW, FP_PLAIN /* can neither overflow nor underflow */ };
struct fp_shape {
	enum fp_kind kind;
	bool wide; /* the lanes of src are doubles */
	uint8_t lanes;
};
typedef void fp_run(union xmm *d, const union xmm *s, uint32_t *csr);

static inline bool all_masked(const struct cpu *cpu)
{
	return (cpu->mxcsr & MX_MASKS) == MX_MASKS;
}

/* What to load when the guest has unmasked something. FTZ acts only while underflow is masked (SDM 1 10.2.3.3). */
static uint32_t probe_csr(uint32_t mxcsr)
{
	const uint32_t csr = (mxcsr | MX_MASKS) & ~(uint32_t)MX_FLAGS;
	return mxcsr & MX_UM ? csr : csr & ~(uint32_t)MX_FTZ;
}

/* Enters new flags; false when one of them is unmasked. Exceptions found before computing (invalid, denormal, zero divide) keep those found after from being looked for. */
static bool settle(struct cpu *cpu, uint32_t new)
{
	const uint32_t unmasked = ~cpu->mxcsr >> MX_MASK_SHIFT & MX_FLAGS;
	if (new & unmasked & MX_BEFORE)
		new &= MX_BEFORE;
	cpu->mxcsr |= new;
	return !(new & unmasked);
}

/* One lane's result as if the exponent had no bounds: the x87 rounds to 24 or 53 bits in a 15-bit exponent. Gives x87 status: bit 5 inexact. */
static uint16_t unbounded(enum fp_kind kind, long double a, long double b, uint16_t control, long double *result)
{
#define X87(instruction)                                                                                                                   \
	__asm__ volatile("fnstcw %[old]\n\tfldcw %[new]\n\tfnclex\n\tfldt %[b]\n\tfldt %[a]\n\t" instruction " %%st(1), %%st\n\tfstpt %[r]\n\t"   \
	                 "fstp %%st(0)\n\tfnstsw %[status]\n\tfnclex\n\tfldcw %[old]"                                                          \
	                 : [r] "=m"(*result), [old] "=m"(old), [status] "=m"(status) : [a] "m"(a), [b] "m"(b), [new] "m"(control))
	uint16_t old, status = 0;
	switch (kind) {
	case FP_ADD:
		X87("fadd");
		break;
	case FP_SUB:
		X87("fsub");
		break;
	case FP_DIV:
		X87("fdiv");
		break;
	case FP_MUL:
	case FP_NARROW: /* times one */
	case FP_PLAIN:
		X87("fmul");
		break;
	}
#undef X87
	return status;
}

/* Lane i of x. A denormal counts as zero under DAZ. */
static long double lane_get(const union xmm *x, unsigned i, bool wide, bool daz)
{
	const long double v = wide ? (long double)x->g[i] : (long double)x->f[i];
	const long double least = wide ? 0x1p-1022L : 0x1p-126L;
	return daz && v < least && v > -least ? 0 : v;
}

static void lane_only(union xmm *x, unsigned i, const struct fp_shape *shape)
{
	for (unsigned k = 0; k < shape->lanes; k++)
		if (k != i && shape->wide)
			x->g[k] = 1;
		else if (k != i)
			x->f[k] = 1;
}

/* The flags of an instruction of which underflow or overflow is unmasked: then tiny alone is an underflow, and PE tells whether the result with an
 * unbounded exponent is inexact (SDM 1 4.9.1.5, 4.9.1.4). Lane by lane: the others compute 1 op 1, which sets nothing. */
static uint32_t lanes_flags(const struct cpu *cpu, const union xmm *dst, const union xmm *src, fp_run *run, const struct fp_shape *shape)
{
	const uint32_t unmasked = ~cpu->mxcsr >> MX_MASK_SHIFT & MX_FLAGS;
	const bool narrow = shape->kind == FP_NARROW, daz = cpu->mxcsr & MX_DAZ;
	const uint16_t control = (uint16_t)(0x3f | (shape->wide && !narrow ? 0x200 : 0) | (cpu->mxcsr >> MX_RC_SHIFT & 3) << 10);
	const long double least = shape->wide && !narrow ? 0x1p-1022L : 0x1p-126L, huge = 0x1p+16000L;
	uint32_t all = 0;
	for (unsigned i = 0; i < shape->lanes; i++) {
		union xmm d = *dst, s = *src;
		uint32_t csr = probe_csr(cpu->mxcsr);
		lane_only(&d, i, shape);
		lane_only(&s, i, shape);
		const long double b = narrow ? 1 : lane_get(&s, i, shape->wide, daz), a = lane_get(narrow ? &s : &d, i, shape->wide, daz);
		run(&d, &s, &csr);
		uint32_t flags = csr & MX_FLAGS;
		if (a < huge && a > -huge && b < huge && b > -huge && !(flags & (MX_IE | MX_ZE))) { /* finite operands */
			long double r;
			const uint32_t inexact = unbounded(shape->kind, a, b, control, &r) & 0x20 ? MX_PE : 0;
			if ((unmasked & MX_UE) && r != 0 && r < least && r > -least)
				flags = (flags & MX_BEFORE) | MX_UE | inexact;
			if (unmasked & flags & MX_OE)
				flags = (flags & MX_BEFORE) | MX_OE | inexact;
		}
		all |= flags;
	}
	return all;
}

static bool __attribute__((noinline)) fp_unmasked(struct cpu *cpu, union xmm *dst, const union xmm *src, fp_run *run, const struct fp_shape *shape)
{
	union xmm d = *dst;
	uint32_t csr = probe_csr(cpu->mxcsr);
	run(&d, src, &csr);
	uint32_t new = csr & MX_FLAGS;
	const uint32_t unmasked = ~cpu->mxcsr >> MX_MASK_SHIFT & MX_FLAGS;
	if (shape->kind != FP_PLAIN && (unmasked & (MX_UE | MX_OE)) && !(new & unmasked & MX_BEFORE))
		new = lanes_flags(cpu, dst, src, run, shape);
	if (!settle(cpu, new))
		return false;
	*dst = d;
	return true;
}

/* ---- XMM from XMM ---- */
#define FP(name, kind_, wide_, lanes_)                                                                              \
	static inline void run_##name(union xmm *d, const union xmm *s, uint32_t *csr)                                  \
	{                                                                                                               \
		__m128i v = _mm_load_si128((const __m128i *)d);                                                             \
		UNDER(csr, #name " %[s], %[d]", [d] "+x"(v), [csr] "+m"(*csr) : [s] "x"(_mm_load_si128((const __m128i *)s))); \
		_mm_store_si128((__m128i *)d, v);                                                                           \
	}                                                                                                               \
	ROW(name)                                                                                                       \
	{                                                                                                               \
		static const struct fp_shape shape = { kind_, wide_, lanes_ };                                              \
		(void)imm;                                                                                                  \
		if (!all_masked(cpu))                                                                                       \
			return fp_unmasked(cpu, dst, src, run_##name, &shape);                                                  \
		run_##name(dst, src, &cpu->mxcsr);                                                                          \
		return true;                                                                                                \
	}
#define FP_FOUR(name, kind) FP(name##ps, kind, false, 4) FP(name##pd, kind, true, 2) FP(name##ss, kind, false, 1) FP(name##sd, kind, true, 1)
FP_FOUR(add, FP_ADD)
FP_FOUR(sub, FP_SUB)
FP_FOUR(mul, FP_MUL)
FP_FOUR(div, FP_DIV)
FP_FOUR(min, FP_PLAIN)
FP_FOUR(max, FP_PLAIN)
FP_FOUR(sqrt, FP_PLAIN)
FP(cvtss2sd, FP_PLAIN, false, 1)
FP(cvtsd2ss, FP_NARROW, true, 1)
FP(cvtps2pd, FP_PLAIN, false, 2)
FP(cvtpd2ps, FP_NARROW, true, 2)
FP(cvtdq2ps, FP_PLAIN, false, 4)
FP(cvtdq2pd, FP_PLAIN, false, 2)
FP(cvtps2dq, FP_PLAIN, false, 4)
FP(cvttps2dq, FP_PLAIN, false, 4)
FP(cvtpd2dq, FP_PLAIN, true, 2)
FP(cvttpd2dq, FP_PLAIN, true, 2)

/* ---- compare: the predicate is an immediate of the real instruction too ---- */
#define CMP_CASE(name, n)                                                                                                    \
	case n:                                                                                                                  \
		UNDER(csr, #name " $" #n ", %[s], %[d]", [d] "+x"(d), [csr] "+m"(csr) : [s] "x"(_mm_load_si128((const __m128i *)src))); \
		break;
#define CMP(name)                                                                                                            \
	ROW(name)                                                                                                                \
	{                                                                                                                        \
		const bool quick = all_masked(cpu);                                                                                  \
		uint32_t csr = quick ? cpu->mxcsr : probe_csr(cpu->mxcsr);                                                           \
		__m128i d = _mm_load_si128((const __m128i *)dst);                                                                    \
		switch (imm & 7) {                                                                                                   \
			CMP_CASE(name, 0) CMP_CASE(name, 1) CMP_CASE(name, 2) CMP_CASE(name, 3)                                          \
			CMP_CASE(name, 4) CMP_CASE(name, 5) CMP_CASE(name, 6) CMP_CASE(name, 7)                                          \
		}                                                                                                                    \
		if (!settle(cpu, csr & MX_FLAGS))                                                                                    \
			return false;                                                                                                    \
		_mm_store_si128((__m128i *)dst, d);                                                                                  \
		return true;                                                                                                         \
	}
CMP(cmpps)
CMP(cmppd)
CMP(cmpss)
CMP(cmpsd)

#define COMPARE(name)                                                                                                        \
	ROW(name)                                                                                                                \
	{                                                                                                                        \
		uint32_t csr = probe_csr(cpu->mxcsr);                                                                                \
		bool z, p, c;                                                                                                        \
		(void)imm;                                                                                                           \
		UNDER(csr, #name " %[s], %[d]", [csr] "+m"(csr), "=@ccz"(z), "=@ccp"(p), "=@ccc"(c)                                  \
		      : [d] "x"(_mm_load_si128((const __m128i *)dst)), [s] "x"(_mm_load_si128((const __m128i *)src)));               \
		if (!settle(cpu, csr & MX_FLAGS))                                                                                    \
			return false;                                                                                                    \
		flags_set(cpu, (z ? FLAG_ZF : 0) | (p ? FLAG_PF : 0) | (c ? FLAG_CF : 0));                                           \
		return true;                                                                                                         \
	}
COMPARE(comiss)
COMPARE(comisd)
COMPARE(ucomiss)
COMPARE(ucomisd)

/* ---- to and from integer registers ---- */
#define FROM_INTEGER(name, instruction, type)                                                                                \
	ROW(name)                                                                                                                \
	{                                                                                                                        \
		uint32_t csr = probe_csr(cpu->mxcsr);                                                                                \
		__m128i d = _mm_load_si128((const __m128i *)dst);                                                                    \
		(void)imm;                                                                                                           \
		UNDER(csr, instruction " %[s], %[d]", [d] "+x"(d), [csr] "+m"(csr) : [s] "r"((type)src->q[0]));                      \
		if (!settle(cpu, csr & MX_FLAGS))                                                                                    \
			return false;                                                                                                    \
		_mm_store_si128((__m128i *)dst, d);                                                                                  \
		return true;                                                                                                         \
	}
FROM_INTEGER(cvtsi2ss_d, "cvtsi2ssl", uint32_t)
FROM_INTEGER(cvtsi2ss_q, "cvtsi2ssq", uint64_t)
FROM_INTEGER(cvtsi2sd_d, "cvtsi2sdl", uint32_t)
FROM_INTEGER(cvtsi2sd_q, "cvtsi2sdq", uint64_t)

#define TO_INTEGER(name, instruction, type)                                                                                  \
	ROW(name)                                                                                                                \
	{                                                                                                                        \
		uint32_t csr = probe_csr(cpu->mxcsr);                                                                                \
		type d;                                                                                                              \
		(void)imm;                                                                                                           \
		UNDER(csr, instruction " %[s], %[d]", [d] "=r"(d), [csr] "+m"(csr) : [s] "x"(_mm_load_si128((const __m128i *)src)));  \
		if (!settle(cpu, csr & MX_FLAGS))                                                                                    \
			return false;                                                                                                    \
		dst->q[0] = d;                                                                                                       \
		return true;                                                                                                         \
	}
TO_INTEGER(cvtss2si_d, "cvtss2si", uint32_t)
TO_INTEGER(cvtss2si_q, "cvtss2si", uint64_t)
TO_INTEGER(cvtsd2si_d, "cvtsd2si", uint32_t)
TO_INTEGER(cvtsd2si_q, "cvtsd2si", uint64_t)
TO_INTEGER(cvttss2si_d, "cvttss2si", uint32_t)
TO_INTEGER(cvttss2si_q, "cvttss2si", uint64_t)
TO_INTEGER(cvttsd2si_d, "cvttsd2si", uint32_t)
TO_INTEGER(cvttsd2si_q, "cvttsd2si", uint64_t)

/*
 * ---- approximations ----
 * The manual bounds the error (1.5 * 2^-12, SDM 2 RCPPS) and leaves the bits to the implementation; makers differ. For results that do not depend on the
 * real machine, ours is the exact value rounded to 12 bits of fraction. Neither reads nor writes MXCSR.
 */
static uint32_t round_12(uint32_t sign, double magnitude)
{
	union { float f; uint32_t d; } r = { .f = (float)magnitude };
	r.d = (r.d + 0x400) & ~0x7ffu;
	return sign | (r.d < 0x00800000 ? 0 : r.d); /* tiny results are zero */
}

static uint32_t reciprocal(uint32_t x)
{
	const uint32_t sign = x & 0x80000000, magnitude = x & 0x7fffffff;
	const union { uint32_t d; float f; } m = { magnitude };
	if (magnitude > 0x7f800000)
		return x | 0x00400000; /* a NaN, quiet */
	if (magnitude < 0x00800000)
		return sign | 0x7f800000; /* zero; denormals count as zero */
	return round_12(sign, 1 / (double)m.f);
}

static uint32_t reciprocal_root(uint32_t x)
{
	const uint32_t sign = x & 0x80000000, magnitude = x & 0x7fffffff;
	const union { uint32_t d; float f; } m = { magnitude };
	if (magnitude > 0x7f800000)
		return x | 0x00400000;
	if (magnitude < 0x00800000)
		return sign | 0x7f800000;
	if (sign)
		return 0xffc00000; /* the default NaN */
	const __m128d root = _mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd((double)m.f));
	return round_12(0, 1 / _mm_cvtsd_f64(root));
}

#define APPROXIMATE(name, function, lanes)                 \
	ROW(name)                                              \
	{                                                      \
		(void)cpu, (void)imm;                              \
		for (unsigned i = 0; i < (lanes); i++)             \
			dst->d[i] = function(src->d[i]);               \
		return true;                                       \
	}
APPROXIMATE(rcpps, reciprocal, 4)
APPROXIMATE(rcpss, reciprocal, 1)
APPROXIMATE(rsqrtps, reciprocal_root, 4)
APPROXIMATE(rsqrtss, reciprocal_root, 1)
