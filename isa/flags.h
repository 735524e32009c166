/*
 * Lazy arithmetic flags: how any flag is found from the last flag-writing micro-op.
 *
 * Invariant: `result` and `source` are zero-extended from the operand size; for every kind the first operand can be computed back from them, so that two words and
 * a kind are enough. SDM 1 3.4.3.1 and appendix A ("EFLAGS cross-reference") say which flag each instruction defines.
 */
#ifndef ISA_FLAGS_H
#define ISA_FLAGS_H
#include "cpu.h"

/* lazy_flags.op = kind << 2 | log2(bytes). */
enum flags_op {
	FLAGS_EXPLICIT = 0,      /* result = the six bits themselves */
	FLAGS_ADD = 1 << 2,      /* result = a + source */
	FLAGS_ADC = 2 << 2,      /* result = a + source + extra */
	FLAGS_SUB = 3 << 2,      /* result = a - source */
	FLAGS_SBB = 4 << 2,      /* result = a - source - extra */
	FLAGS_LOGIC = 5 << 2,    /* CF = OF = AF = 0 */
	FLAGS_INC = 6 << 2,      /* CF = extra */
	FLAGS_DEC = 7 << 2,
	FLAGS_PARTIAL = 8 << 2,  /* CF, OF (and AF) are in source; the others follow from result */
};

static inline unsigned flags_top(const struct lazy_flags *f) { return (8u << (f->op & 3)) - 1; }
static inline uint64_t flags_cut(const struct lazy_flags *f, uint64_t v) { return v & (~0ull >> (63 - flags_top(f))); }

/* The first operand of an addition or subtraction. */
static inline uint64_t flags_first(const struct lazy_flags *f)
{
	switch (f->op & ~3u) {
	case FLAGS_ADD: return flags_cut(f, f->result - f->source);
	case FLAGS_ADC: return flags_cut(f, f->result - f->source - f->extra);
	case FLAGS_SUB: return flags_cut(f, f->result + f->source);
	default: return flags_cut(f, f->result + f->source + f->extra);
	}
}

static inline bool flags_cf(const struct lazy_flags *f)
{
	switch (f->op & ~3u) {
	case FLAGS_ADD: return f->result < f->source;
	case FLAGS_ADC: return f->extra ? f->result <= f->source : f->result < f->source;
	case FLAGS_SUB: return flags_first(f) < f->source;
	case FLAGS_SBB: return f->extra ? flags_first(f) <= f->source : flags_first(f) < f->source;
	case FLAGS_LOGIC: return false;
	case FLAGS_INC:
	case FLAGS_DEC: return f->extra;
	case FLAGS_PARTIAL: return f->source & FLAG_CF;
	default: return f->result & FLAG_CF;
	}
}

static inline bool flags_zf(const struct lazy_flags *f)
{
	return (f->op & ~3u) == FLAGS_EXPLICIT ? (f->result & FLAG_ZF) != 0 : f->result == 0;
}

static inline bool flags_sf(const struct lazy_flags *f)
{
	return (f->op & ~3u) == FLAGS_EXPLICIT ? (f->result & FLAG_SF) != 0 : f->result >> flags_top(f) & 1;
}

static inline bool flags_pf(const struct lazy_flags *f)
{
	return (f->op & ~3u) == FLAGS_EXPLICIT ? (f->result & FLAG_PF) != 0 : !__builtin_parity(f->result & 0xff);
}

static inline bool flags_of(const struct lazy_flags *f)
{
	uint64_t a;
	switch (f->op & ~3u) {
	case FLAGS_ADD:
	case FLAGS_ADC: a = flags_first(f); return ((a ^ f->result) & (f->source ^ f->result)) >> flags_top(f) & 1;
	case FLAGS_SUB:
	case FLAGS_SBB: a = flags_first(f); return ((a ^ f->source) & (a ^ f->result)) >> flags_top(f) & 1;
	case FLAGS_LOGIC: return false;
	case FLAGS_INC: return f->result == 1ull << flags_top(f);
	case FLAGS_DEC: return f->result == (1ull << flags_top(f)) - 1;
	case FLAGS_PARTIAL: return f->source & FLAG_OF;
	default: return f->result & FLAG_OF;
	}
}

static inline bool flags_af(const struct lazy_flags *f)
{
	switch (f->op & ~3u) {
	case FLAGS_ADD:
	case FLAGS_ADC:
	case FLAGS_SUB:
	case FLAGS_SBB: return (flags_first(f) ^ f->source ^ f->result) & 0x10;
	case FLAGS_LOGIC: return false;
	case FLAGS_INC: return (f->result & 0xf) == 0;
	case FLAGS_DEC: return (f->result & 0xf) == 0xf;
	case FLAGS_PARTIAL: return f->source & FLAG_AF;
	default: return f->result & FLAG_AF;
	}
}

/* Signed "less" after a comparison, in the form that branches use most. */
static inline bool flags_less(const struct lazy_flags *f)
{
	return flags_sf(f) != flags_of(f);
}

/* Condition of the encoding's 4 bits (SDM 1 appendix B). A constant cc leaves one test. */
static inline bool flags_condition(const struct lazy_flags *f, unsigned cc)
{
	bool yes;
	switch (cc >> 1) {
	case 0: yes = flags_of(f); break;
	case 1: yes = flags_cf(f); break;
	case 2: yes = flags_zf(f); break;
	case 3: yes = flags_zf(f) || flags_cf(f); break;
	case 4: yes = flags_sf(f); break;
	case 5: yes = flags_pf(f); break;
	case 6: yes = flags_less(f); break;
	default: yes = flags_zf(f) || flags_less(f); break;
	}
	return yes != (cc & 1);
}

static inline void flags_put(struct cpu *cpu, uint32_t op, uint64_t result, uint64_t source, uint64_t extra)
{
	cpu->flags.op = op;
	cpu->flags.result = result;
	cpu->flags.source = source;
	cpu->flags.extra = extra;
}
#endif
