/*
 * Bodies of the integer micro-ops: arithmetic, logic, shifts, bits, conditions.
 *
 * Invariant: no body here touches memory, and only division may raise. An 8- or 16-bit result leaves the rest of the register alone, a 32-bit one clears the upper half
 * (SDM 1 3.4.1.1). Flags that the manuals leave undefined are noted where they are chosen.
 */
#ifndef ISA_UOP_ALU_H
#define ISA_UOP_ALU_H
#include "flags.h"
#include "uop.h"
#include "uop_settle.h"

#define UOP_BODY static inline __attribute__((always_inline, unused))
#define BODY(name) UOP_BODY void uop_##name(struct cpu *cpu, const struct uop *u __attribute__((unused)))
#define R(i) (cpu->reg[i])

UOP_BODY void reg_put8(struct cpu *cpu, unsigned r, uint8_t v) { R(r) = (R(r) & ~0xffull) | v; }
UOP_BODY void reg_put16(struct cpu *cpu, unsigned r, uint16_t v) { R(r) = (R(r) & ~0xffffull) | v; }
UOP_BODY void reg_put32(struct cpu *cpu, unsigned r, uint32_t v) { R(r) = v; }
UOP_BODY void reg_put64(struct cpu *cpu, unsigned r, uint64_t v) { R(r) = v; }

/* ---- moves ---- */
BODY(nop) { (void)cpu, (void)u; }
BODY(mov8) { reg_put8(cpu, u->dst, (uint8_t)R(u->a)); }
BODY(mov16) { reg_put16(cpu, u->dst, (uint16_t)R(u->a)); }
BODY(mov32) { R(u->dst) = (uint32_t)R(u->a); }
BODY(mov64) { R(u->dst) = R(u->a); }
BODY(movi8) { reg_put8(cpu, u->dst, (uint8_t)u->imm); }
BODY(movi16) { reg_put16(cpu, u->dst, (uint16_t)u->imm); }
BODY(movi) { R(u->dst) = u->imm; }
BODY(movz8) { R(u->dst) = (uint8_t)R(u->a); }
BODY(movz16) { R(u->dst) = (uint16_t)R(u->a); }
BODY(movs8_16) { reg_put16(cpu, u->dst, (uint16_t)(int8_t)R(u->a)); }
BODY(movs8_32) { R(u->dst) = (uint32_t)(int8_t)R(u->a); }
BODY(movs8_64) { R(u->dst) = (uint64_t)(int8_t)R(u->a); }
BODY(movs16_32) { R(u->dst) = (uint32_t)(int16_t)R(u->a); }
BODY(movs16_64) { R(u->dst) = (uint64_t)(int16_t)R(u->a); }
BODY(movs32_64) { R(u->dst) = (uint64_t)(int32_t)R(u->a); }
BODY(geth) { R(u->dst) = (uint8_t)(R(u->a) >> 8); }
BODY(puth) { R(u->dst) = (R(u->dst) & ~0xff00ull) | (R(u->a) & 0xff) << 8; }
UOP_BODY uint64_t uop_ea(struct cpu *cpu, const struct uop *u) { return R(u->a) + (R(u->index) << u->scale) + (uint64_t)(int64_t)u->disp; }
BODY(lea) { R(u->dst) = uop_ea(cpu, u); }
BODY(lea32) { R(u->dst) = (uint32_t)uop_ea(cpu, u); }
BODY(lea16) { R(u->dst) = (uint16_t)uop_ea(cpu, u); }
BODY(lea_bd) { R(u->dst) = R(u->a) + (uint64_t)(int64_t)u->disp; }
BODY(lea_seg) { R(u->dst) = uop_ea(cpu, u) + cpu->seg[u->seg].base; }
BODY(bswap32) { R(u->dst) = __builtin_bswap32((uint32_t)R(u->dst)); }
BODY(bswap64) { R(u->dst) = __builtin_bswap64(R(u->dst)); }
#define XCHG(bits) BODY(xchg##bits) { uint##bits##_t a = (uint##bits##_t)R(u->dst), b = (uint##bits##_t)R(u->a); reg_put##bits(cpu, u->dst, b); reg_put##bits(cpu, u->a, a); }
XCHG(8) XCHG(16) XCHG(32) XCHG(64)
BODY(cwd16) { reg_put16(cpu, REG_DX, (uint16_t)((int16_t)R(REG_AX) >> 15)); }
BODY(cwd32) { R(REG_DX) = (uint32_t)((int32_t)R(REG_AX) >> 31); }
BODY(cwd64) { R(REG_DX) = (uint64_t)((int64_t)R(REG_AX) >> 63); }

/* ---- two operands: the expression and how its flags are remembered ---- */
enum { LG8 = 0, LG16 = 1, LG32 = 2, LG64 = 3 }; /* log2(bytes) */
UOP_BODY void flags_two(struct cpu *cpu, unsigned op, uint64_t r, uint64_t b)
{
	cpu->flags.op = op;
	cpu->flags.result = r;
	cpu->flags.source = b;
}
UOP_BODY void flags_result(struct cpu *cpu, unsigned op, uint64_t r)
{
	cpu->flags.op = op;
	cpu->flags.result = r;
}
#define KEEP_ADD(bits, r, b, c) flags_two(cpu, FLAGS_ADD | LG##bits, r, b)
#define KEEP_SUB(bits, r, b, c) flags_two(cpu, FLAGS_SUB | LG##bits, r, b)
#define KEEP_ADC(bits, r, b, c) flags_put(cpu, FLAGS_ADC | LG##bits, r, b, c)
#define KEEP_SBB(bits, r, b, c) flags_put(cpu, FLAGS_SBB | LG##bits, r, b, c)
#define KEEP_LOGIC(bits, r, b, c) flags_result(cpu, FLAGS_LOGIC | LG##bits, r)
#define KEEP_NONE(bits, r, b, c) ((void)(r))
#define NO_CARRY 0
#define CARRY flags_cf(&cpu->flags)
#define ALU_ONE(name, suffix, bits, second, expr, carry, keep, store)                                                                                                  \
	BODY(name##bits##suffix)                                                                                                                                       \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a), b = (uint##bits##_t)(second), c = (carry), r = (uint##bits##_t)(expr);                                      \
		(void)a, (void)c;                                                                                                                                      \
		keep(bits, r, b, c);                                                                                                                                   \
		store(cpu, u->dst, r);                                                                                                                                 \
	}
#define NO_STORE(cpu, dst, r) ((void)(r))
#define ALU_BITS(name, bits, expr, carry, keep)                                                                                                                        \
	ALU_ONE(name, _rr, bits, R(u->b), expr, carry, keep, reg_put##bits) ALU_ONE(name, _ri, bits, u->imm, expr, carry, keep, reg_put##bits)                          \
	ALU_ONE(name, _rr_nf, bits, R(u->b), expr, carry, KEEP_NONE, reg_put##bits) ALU_ONE(name, _ri_nf, bits, u->imm, expr, carry, KEEP_NONE, reg_put##bits)
#define DEFINE_ALU(name, expr, carry, keep)                                                                                                                               \
	ALU_BITS(name, 8, expr, carry, keep) ALU_BITS(name, 16, expr, carry, keep) ALU_BITS(name, 32, expr, carry, keep) ALU_BITS(name, 64, expr, carry, keep)
DEFINE_ALU(add, a + b, NO_CARRY, KEEP_ADD)
DEFINE_ALU(or, a | b, NO_CARRY, KEEP_LOGIC)
DEFINE_ALU(adc, a + b + c, CARRY, KEEP_ADC)
DEFINE_ALU(sbb, a - b - c, CARRY, KEEP_SBB)
DEFINE_ALU(and, a & b, NO_CARRY, KEEP_LOGIC)
DEFINE_ALU(sub, a - b, NO_CARRY, KEEP_SUB)
DEFINE_ALU(xor, a ^ b, NO_CARRY, KEEP_LOGIC)
#define COMPARE_BITS(name, bits, expr, keep)                                                                                                                           \
	ALU_ONE(name, _rr, bits, R(u->b), expr, NO_CARRY, keep, NO_STORE) ALU_ONE(name, _ri, bits, u->imm, expr, NO_CARRY, keep, NO_STORE)
#define DEFINE_COMPARE(name, expr, keep) COMPARE_BITS(name, 8, expr, keep) COMPARE_BITS(name, 16, expr, keep) COMPARE_BITS(name, 32, expr, keep) COMPARE_BITS(name, 64, expr, keep)
DEFINE_COMPARE(cmp, a - b, KEEP_SUB)
DEFINE_COMPARE(test, a & b, KEEP_LOGIC)

#define STEP_BITS(name, bits, expr, kind)                                                                                                                              \
	BODY(name##bits)                                                                                                                                               \
	{                                                                                                                                                              \
		uint##bits##_t r = (uint##bits##_t)(R(u->a) expr);                                                                                                     \
		flags_put(cpu, kind | LG##bits, r, 0, flags_cf(&cpu->flags));                                                                                          \
		reg_put##bits(cpu, u->dst, r);                                                                                                                         \
	}                                                                                                                                                              \
	BODY(name##bits##_nf) { reg_put##bits(cpu, u->dst, (uint##bits##_t)(R(u->a) expr)); }
#define STEP_ALL(name, expr, kind) STEP_BITS(name, 8, expr, kind) STEP_BITS(name, 16, expr, kind) STEP_BITS(name, 32, expr, kind) STEP_BITS(name, 64, expr, kind)
STEP_ALL(inc, +1, FLAGS_INC)
STEP_ALL(dec, -1, FLAGS_DEC)
#define NEG(bits)                                                                                                                                                      \
	BODY(neg##bits)                                                                                                                                                \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a), r = (uint##bits##_t)(0 - (uint64_t)a);                                                                     \
		flags_two(cpu, FLAGS_SUB | LG##bits, r, a);                                                                                                            \
		reg_put##bits(cpu, u->dst, r);                                                                                                                         \
	}                                                                                                                                                              \
	BODY(neg##bits##_nf) { reg_put##bits(cpu, u->dst, (uint##bits##_t)(0 - R(u->a))); }                                                                            \
	BODY(not##bits) { reg_put##bits(cpu, u->dst, (uint##bits##_t)~R(u->a)); }
NEG(8) NEG(16) NEG(32) NEG(64)

/* ---- shifts. OF for counts above 1 is undefined: the one-bit rule is applied to the last step, as processors do. AF is undefined: 0 ---- */
UOP_BODY uint32_t flags_cf_of(unsigned cf, unsigned of) { return (cf ? FLAG_CF : 0) | (of ? FLAG_OF : 0); }
#define SHIFT_RESULT_shl(bits, a, c) ((c) < bits ? (uint##bits##_t)(a << (c)) : 0)
#define SHIFT_CF_shl(bits, a, c) ((c) <= bits ? (a >> (bits - (c))) & 1 : 0)
#define SHIFT_OF_shl(bits, a, c, r, cf) ((r >> (bits - 1) & 1) ^ (cf))
#define SHIFT_RESULT_shr(bits, a, c) ((c) < bits ? (uint##bits##_t)(a >> (c)) : 0)
#define SHIFT_CF_shr(bits, a, c) ((c) <= bits ? a >> ((c) - 1) & 1 : 0)
#define SHIFT_OF_shr(bits, a, c, r, cf) ((c) == 1 ? a >> (bits - 1) & 1 : 0)
#define SHIFT_RESULT_sar(bits, a, c) ((uint##bits##_t)((int##bits##_t)a >> ((c) < bits ? (c) : bits - 1)))
#define SHIFT_CF_sar(bits, a, c) ((int##bits##_t)a >> ((c) <= bits ? (c) - 1 : bits - 1) & 1)
#define SHIFT_OF_sar(bits, a, c, r, cf) 0
#define SHIFT_MASK(bits) (bits == 64 ? 63 : 31)
#define SHIFT_BITS(name, bits)                                                                                                                                         \
	UOP_BODY uint##bits##_t shift_##name##bits(struct cpu *cpu, uint##bits##_t a, unsigned c)                                                                      \
	{                                                                                                                                                              \
		uint##bits##_t r = SHIFT_RESULT_##name(bits, a, c);                                                                                                    \
		unsigned cf = (unsigned)SHIFT_CF_##name(bits, a, c);                                                                                                   \
		flags_two(cpu, FLAGS_PARTIAL | LG##bits, r, flags_cf_of(cf, (unsigned)SHIFT_OF_##name(bits, a, c, r, cf)));                                            \
		return r;                                                                                                                                              \
	}                                                                                                                                                              \
	BODY(name##bits##_ri) { reg_put##bits(cpu, u->dst, shift_##name##bits(cpu, (uint##bits##_t)R(u->a), (unsigned)u->imm)); }                                      \
	BODY(name##bits##_ri_nf)                                                                                                                                       \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a);                                                                                                            \
		reg_put##bits(cpu, u->dst, SHIFT_RESULT_##name(bits, a, (unsigned)u->imm));                                                                            \
	}                                                                                                                                                              \
	BODY(name##bits##_rr)                                                                                                                                          \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a);                                                                                                            \
		unsigned c = R(REG_CX) & SHIFT_MASK(bits);                                                                                                             \
		reg_put##bits(cpu, u->dst, c ? shift_##name##bits(cpu, a, c) : a);                                                                                     \
	}
#define DEFINE_SHIFT(name) SHIFT_BITS(name, 8) SHIFT_BITS(name, 16) SHIFT_BITS(name, 32) SHIFT_BITS(name, 64)
DEFINE_SHIFT(shl)
DEFINE_SHIFT(shr)
DEFINE_SHIFT(sar)

/* ---- rotates change CF and OF only ---- */
UOP_BODY void flags_rotate(struct cpu *cpu, unsigned cf, unsigned of)
{
	flags_put(cpu, FLAGS_EXPLICIT, (flags_get(cpu) & ~(FLAG_CF | FLAG_OF)) | flags_cf_of(cf, of), 0, 0);
}
#define ROTATE_BITS(bits)                                                                                                                                              \
	UOP_BODY uint##bits##_t rotate_rol##bits(struct cpu *cpu, uint##bits##_t a, unsigned c)                                                                        \
	{                                                                                                                                                              \
		unsigned n = c & (bits - 1);                                                                                                                           \
		uint##bits##_t r = (uint##bits##_t)(n ? a << n | a >> (bits - n) : a);                                                                                 \
		flags_rotate(cpu, r & 1, (r & 1) ^ (r >> (bits - 1) & 1));                                                                                             \
		return r;                                                                                                                                              \
	}                                                                                                                                                              \
	UOP_BODY uint##bits##_t rotate_ror##bits(struct cpu *cpu, uint##bits##_t a, unsigned c)                                                                        \
	{                                                                                                                                                              \
		unsigned n = c & (bits - 1);                                                                                                                           \
		uint##bits##_t r = (uint##bits##_t)(n ? a >> n | a << (bits - n) : a);                                                                                 \
		flags_rotate(cpu, r >> (bits - 1) & 1, (r >> (bits - 1) & 1) ^ (r >> (bits - 2) & 1));                                                                 \
		return r;                                                                                                                                              \
	}                                                                                                                                                              \
	UOP_BODY uint##bits##_t rotate_rcl##bits(struct cpu *cpu, uint##bits##_t a, unsigned c)                                                                        \
	{                                                                                                                                                              \
		unsigned n = c % (bits + 1), cf = flags_cf(&cpu->flags);                                                                                               \
		if (!n)                                                                                                                                                \
			return a;                                                                                                                                      \
		for (unsigned i = 0; i < n; i++) {                                                                                                                     \
			unsigned out = (unsigned)(a >> (bits - 1)) & 1;                                                                                                \
			a = (uint##bits##_t)(a << 1 | cf);                                                                                                             \
			cf = out;                                                                                                                                      \
		}                                                                                                                                                      \
		flags_rotate(cpu, cf, cf ^ (unsigned)(a >> (bits - 1) & 1));                                                                                           \
		return a;                                                                                                                                              \
	}                                                                                                                                                              \
	UOP_BODY uint##bits##_t rotate_rcr##bits(struct cpu *cpu, uint##bits##_t a, unsigned c)                                                                        \
	{                                                                                                                                                              \
		unsigned n = c % (bits + 1), cf = flags_cf(&cpu->flags);                                                                                               \
		if (!n)                                                                                                                                                \
			return a;                                                                                                                                      \
		for (unsigned i = 0; i < n; i++) {                                                                                                                     \
			unsigned out = a & 1;                                                                                                                          \
			a = (uint##bits##_t)(a >> 1 | (uint##bits##_t)cf << (bits - 1));                                                                               \
			cf = out;                                                                                                                                      \
		}                                                                                                                                                      \
		flags_rotate(cpu, cf, (unsigned)((a >> (bits - 1) ^ a >> (bits - 2)) & 1));                                                                            \
		return a;                                                                                                                                              \
	}
ROTATE_BITS(8) ROTATE_BITS(16) ROTATE_BITS(32) ROTATE_BITS(64)
#define ROTATE_UOPS(name, bits)                                                                                                                                        \
	BODY(name##bits##_ri) { reg_put##bits(cpu, u->dst, rotate_##name##bits(cpu, (uint##bits##_t)R(u->a), (unsigned)u->imm)); }                                     \
	BODY(name##bits##_rr)                                                                                                                                          \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a);                                                                                                            \
		unsigned c = R(REG_CX) & SHIFT_MASK(bits);                                                                                                             \
		reg_put##bits(cpu, u->dst, c ? rotate_##name##bits(cpu, a, c) : a);                                                                                    \
	}
#define DEFINE_ROTATE(name) ROTATE_UOPS(name, 8) ROTATE_UOPS(name, 16) ROTATE_UOPS(name, 32) ROTATE_UOPS(name, 64)
DEFINE_ROTATE(rol)
DEFINE_ROTATE(ror)
DEFINE_ROTATE(rcl)
DEFINE_ROTATE(rcr)

/* SHLD, SHRD: the 16-bit form with a count above 16 is undefined; the bits of the first operand come round again, as on Intel's and AMD's. */
#define DOUBLE_BITS(bits, wide)                                                                                                                                        \
	UOP_BODY uint##bits##_t double_shld##bits(struct cpu *cpu, uint##bits##_t a, uint##bits##_t b, unsigned c)                                                     \
	{                                                                                                                                                              \
		wide v = bits == 16 ? (wide)a << (bits * 2 % (sizeof(wide) * 8)) | (wide)b << bits | a : (wide)a << bits | b;                                          \
		unsigned top = bits == 16 ? 3 * bits : 2 * bits;                                                                                                       \
		uint##bits##_t r = (uint##bits##_t)(v >> (top - bits - c));                                                                                            \
		unsigned cf = (unsigned)(v >> (top - c)) & 1;                                                                                                          \
		flags_two(cpu, FLAGS_PARTIAL | (bits == 16 ? LG16 : bits == 32 ? LG32 : LG64), r, flags_cf_of(cf, (unsigned)((a ^ r) >> (bits - 1) & 1)));              \
		return r;                                                                                                                                              \
	}                                                                                                                                                              \
	UOP_BODY uint##bits##_t double_shrd##bits(struct cpu *cpu, uint##bits##_t a, uint##bits##_t b, unsigned c)                                                     \
	{                                                                                                                                                              \
		wide v = bits == 16 ? (wide)a << (bits * 2 % (sizeof(wide) * 8)) | (wide)b << bits | a : (wide)b << bits | a;                                          \
		uint##bits##_t r = (uint##bits##_t)(v >> c);                                                                                                           \
		unsigned cf = (unsigned)(v >> (c - 1)) & 1;                                                                                                            \
		flags_two(cpu, FLAGS_PARTIAL | (bits == 16 ? LG16 : bits == 32 ? LG32 : LG64), r, flags_cf_of(cf, (unsigned)((a ^ r) >> (bits - 1) & 1)));              \
		return r;                                                                                                                                              \
	}
DOUBLE_BITS(16, uint64_t) DOUBLE_BITS(32, uint64_t) DOUBLE_BITS(64, unsigned __int128)
#define DOUBLE_UOPS(name, bits)                                                                                                                                        \
	BODY(name##bits##_ri) { reg_put##bits(cpu, u->dst, double_##name##bits(cpu, (uint##bits##_t)R(u->a), (uint##bits##_t)R(u->b), (unsigned)u->imm)); }             \
	BODY(name##bits##_rr)                                                                                                                                          \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a);                                                                                                            \
		unsigned c = R(REG_CX) & SHIFT_MASK(bits);                                                                                                             \
		reg_put##bits(cpu, u->dst, c ? double_##name##bits(cpu, a, (uint##bits##_t)R(u->b), c) : a);                                                           \
	}
DOUBLE_UOPS(shld, 16) DOUBLE_UOPS(shld, 32) DOUBLE_UOPS(shld, 64) DOUBLE_UOPS(shrd, 16) DOUBLE_UOPS(shrd, 32) DOUBLE_UOPS(shrd, 64)

/* ---- multiplication: SF, ZF, PF are undefined; they follow the low half ---- */
UOP_BODY void flags_multiply(struct cpu *cpu, unsigned lg, uint64_t low, bool over) { flags_two(cpu, FLAGS_PARTIAL | lg, low, flags_cf_of(over, over)); }
BODY(mul8) { uint16_t r = (uint16_t)((uint8_t)R(REG_AX) * (uint8_t)R(u->a)); flags_multiply(cpu, LG8, (uint8_t)r, r >> 8); reg_put16(cpu, REG_AX, r); }
BODY(imul8) { int16_t r = (int16_t)((int8_t)R(REG_AX) * (int8_t)R(u->a)); flags_multiply(cpu, LG8, (uint8_t)r, r != (int8_t)r); reg_put16(cpu, REG_AX, (uint16_t)r); }
#define MULTIPLY(bits, uwide, swide)                                                                                                                                   \
	BODY(mul##bits)                                                                                                                                                \
	{                                                                                                                                                              \
		uwide r = (uwide)(uint##bits##_t)R(REG_AX) * (uint##bits##_t)R(u->a);                                                                                  \
		flags_multiply(cpu, LG##bits, (uint##bits##_t)r, r >> bits != 0);                                                                                      \
		reg_put##bits(cpu, REG_AX, (uint##bits##_t)r);                                                                                                         \
		reg_put##bits(cpu, REG_DX, (uint##bits##_t)(r >> bits));                                                                                               \
	}                                                                                                                                                              \
	BODY(imul##bits)                                                                                                                                               \
	{                                                                                                                                                              \
		swide r = (swide)(int##bits##_t)R(REG_AX) * (int##bits##_t)R(u->a);                                                                                    \
		flags_multiply(cpu, LG##bits, (uint##bits##_t)r, r != (int##bits##_t)r);                                                                               \
		reg_put##bits(cpu, REG_AX, (uint##bits##_t)r);                                                                                                         \
		reg_put##bits(cpu, REG_DX, (uint##bits##_t)(r >> bits));                                                                                               \
	}                                                                                                                                                              \
	BODY(imul##bits##_rr)                                                                                                                                          \
	{                                                                                                                                                              \
		swide r = (swide)(int##bits##_t)R(u->a) * (int##bits##_t)R(u->b);                                                                                      \
		flags_multiply(cpu, LG##bits, (uint##bits##_t)r, r != (int##bits##_t)r);                                                                               \
		reg_put##bits(cpu, u->dst, (uint##bits##_t)r);                                                                                                         \
	}                                                                                                                                                              \
	BODY(imul##bits##_ri)                                                                                                                                          \
	{                                                                                                                                                              \
		swide r = (swide)(int##bits##_t)R(u->a) * (int##bits##_t)u->imm;                                                                                       \
		flags_multiply(cpu, LG##bits, (uint##bits##_t)r, r != (int##bits##_t)r);                                                                               \
		reg_put##bits(cpu, u->dst, (uint##bits##_t)r);                                                                                                         \
	}                                                                                                                                                              \
	BODY(imul##bits##_rr_nf) { reg_put##bits(cpu, u->dst, (uint##bits##_t)((uint64_t)(uint##bits##_t)R(u->a) * (uint##bits##_t)R(u->b))); }                        \
	BODY(imul##bits##_ri_nf) { reg_put##bits(cpu, u->dst, (uint##bits##_t)((uint64_t)(uint##bits##_t)R(u->a) * (uint##bits##_t)u->imm)); }
MULTIPLY(16, uint32_t, int32_t) MULTIPLY(32, uint64_t, int64_t) MULTIPLY(64, unsigned __int128, __int128)

/* ---- division leaves the flags (undefined) alone. The quotient that does not fit is #DE before anything is written ---- */
BODY(div8)
{
	uint16_t n = (uint16_t)R(REG_AX);
	uint8_t d = (uint8_t)R(u->a);
	if (!d || n / d > 0xff)
		uop_raise(cpu, u, VEC_DE);
	reg_put16(cpu, REG_AX, (uint16_t)((n % d) << 8 | n / d));
}
BODY(idiv8)
{
	int16_t n = (int16_t)R(REG_AX);
	int8_t d = (int8_t)R(u->a);
	if (!d || n / d != (int8_t)(n / d))
		uop_raise(cpu, u, VEC_DE);
	reg_put16(cpu, REG_AX, (uint16_t)((uint16_t)(uint8_t)(n % d) << 8 | (uint8_t)(n / d)));
}
#define DIVIDE(bits, uwide, swide)                                                                                                                                     \
	BODY(div##bits)                                                                                                                                                \
	{                                                                                                                                                              \
		uint##bits##_t hi = (uint##bits##_t)R(REG_DX), lo = (uint##bits##_t)R(REG_AX), d = (uint##bits##_t)R(u->a);                                            \
		if (hi >= d) /* also d == 0 */                                                                                                                         \
			uop_raise(cpu, u, VEC_DE);                                                                                                                     \
		uwide n = (uwide)hi << bits | lo;                                                                                                                      \
		uint##bits##_t q = (uint##bits##_t)(hi ? n / d : lo / d), r = (uint##bits##_t)(hi ? n % d : lo % d);                                                   \
		reg_put##bits(cpu, REG_AX, q);                                                                                                                         \
		reg_put##bits(cpu, REG_DX, r);                                                                                                                         \
	}                                                                                                                                                              \
	BODY(idiv##bits)                                                                                                                                               \
	{                                                                                                                                                              \
		swide n = (swide)((uwide)(uint##bits##_t)R(REG_DX) << bits | (uint##bits##_t)R(REG_AX));                                                               \
		int##bits##_t d = (int##bits##_t)R(u->a);                                                                                                              \
		swide least = (swide)((uwide)1 << (2 * bits - 1));                                                                                                     \
		if (!d || (d == -1 && n == least) || n / d != (int##bits##_t)(n / d))                                                                                  \
			uop_raise(cpu, u, VEC_DE);                                                                                                                     \
		reg_put##bits(cpu, REG_AX, (uint##bits##_t)(n / d));                                                                                                   \
		reg_put##bits(cpu, REG_DX, (uint##bits##_t)(n % d));                                                                                                   \
	}
DIVIDE(16, uint32_t, int32_t) DIVIDE(32, uint64_t, int64_t) DIVIDE(64, unsigned __int128, __int128)

/* ---- bits: only CF is defined, ZF is kept, the others too ---- */
UOP_BODY void flags_carry(struct cpu *cpu, unsigned cf) { flags_put(cpu, FLAGS_EXPLICIT, (flags_get(cpu) & ~FLAG_CF) | (cf ? FLAG_CF : 0), 0, 0); }
#define BIT_ONE(name, bits, expr)                                                                                                                                      \
	BODY(name##bits)                                                                                                                                               \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a), m = (uint##bits##_t)((uint##bits##_t)1 << (R(u->b) & (bits - 1)));                                         \
		flags_carry(cpu, (a & m) != 0);                                                                                                                        \
		reg_put##bits(cpu, u->dst, (uint##bits##_t)(expr));                                                                                                    \
	}
#define BIT_ALL(bits)                                                                                                                                                  \
	BODY(bt##bits) { flags_carry(cpu, (uint##bits##_t)R(u->a) >> (R(u->b) & (bits - 1)) & 1); }                                                                    \
	BIT_ONE(bts, bits, a | m) BIT_ONE(btr, bits, a & ~m) BIT_ONE(btc, bits, a ^ m)
BIT_ALL(16) BIT_ALL(32) BIT_ALL(64)
BODY(bit_address)
{
	int64_t bit = u->size == 8 ? (int64_t)R(u->b) : u->size == 4 ? (int32_t)R(u->b) : (int16_t)R(u->b);
	R(u->dst) = R(u->a) + ((uint64_t)(bit >> (u->size == 8 ? 6 : u->size == 4 ? 5 : 4)) * u->size);
}
/* A zero source leaves the destination alone (AMD's manual says so, Intel's processors do so); flags but ZF are undefined: as for a logic operation on the source. */
#define SCAN(bits)                                                                                                                                                     \
	BODY(bsf##bits)                                                                                                                                                \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a);                                                                                                            \
		flags_result(cpu, FLAGS_LOGIC | LG##bits, a);                                                                                                          \
		if (a)                                                                                                                                                 \
			reg_put##bits(cpu, u->dst, (uint##bits##_t)__builtin_ctzll(a));                                                                                \
	}                                                                                                                                                              \
	BODY(bsr##bits)                                                                                                                                                \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a);                                                                                                            \
		flags_result(cpu, FLAGS_LOGIC | LG##bits, a);                                                                                                          \
		if (a)                                                                                                                                                 \
			reg_put##bits(cpu, u->dst, (uint##bits##_t)(63 - __builtin_clzll(a)));                                                                         \
	}
SCAN(16) SCAN(32) SCAN(64)

/* The destination is always written (with its old value when unequal): SDM 2A "CMPXCHG". The accumulator changes only when unequal. */
#define CMPXCHG(bits)                                                                                                                                                  \
	BODY(cmpxchg##bits)                                                                                                                                            \
	{                                                                                                                                                              \
		uint##bits##_t old = (uint##bits##_t)R(u->a), want = (uint##bits##_t)R(REG_AX), new = (uint##bits##_t)R(u->b);                                         \
		flags_two(cpu, FLAGS_SUB | LG##bits, (uint##bits##_t)(want - old), old);                                                                               \
		if (want == old) {                                                                                                                                     \
			reg_put##bits(cpu, u->dst, new);                                                                                                               \
		} else {                                                                                                                                               \
			reg_put##bits(cpu, u->dst, old);                                                                                                               \
			reg_put##bits(cpu, REG_AX, old);                                                                                                               \
		}                                                                                                                                                      \
	}
CMPXCHG(8) CMPXCHG(16) CMPXCHG(32) CMPXCHG(64)
UOP_BODY void flags_zero(struct cpu *cpu, bool zf) { flags_put(cpu, FLAGS_EXPLICIT, (flags_get(cpu) & ~FLAG_ZF) | (zf ? FLAG_ZF : 0), 0, 0); }
BODY(cmpxchg8b) /* T0 = memory in, new value out */
{
	(void)u;
	uint64_t old = R(REG_T0), want = (uint64_t)(uint32_t)R(REG_DX) << 32 | (uint32_t)R(REG_AX);
	flags_zero(cpu, old == want);
	if (old == want) {
		R(REG_T0) = (uint64_t)(uint32_t)R(REG_CX) << 32 | (uint32_t)R(REG_BX);
	} else {
		R(REG_AX) = (uint32_t)old;
		R(REG_DX) = old >> 32;
	}
}
BODY(cmpxchg16b) /* T0, T1 = memory, low and high */
{
	(void)u;
	bool same = R(REG_T0) == R(REG_AX) && R(REG_T1) == R(REG_DX);
	flags_zero(cpu, same);
	R(same ? REG_T0 : REG_AX) = same ? R(REG_BX) : R(REG_T0);
	R(same ? REG_T1 : REG_DX) = same ? R(REG_CX) : R(REG_T1);
}

/* ---- conditions ---- */
#define CONDITION_UOPS(cc, number)                                                                                                                                     \
	UOP_BODY bool condition_##cc(struct cpu *cpu) { return flags_condition(&cpu->flags, number); }                                                                 \
	BODY(set_##cc) { reg_put8(cpu, u->dst, condition_##cc(cpu)); }                                                                                                 \
	BODY(cmov16_##cc) { reg_put16(cpu, u->dst, (uint16_t)R(condition_##cc(cpu) ? u->a : u->dst)); }                                                                \
	BODY(cmov32_##cc) { R(u->dst) = (uint32_t)R(condition_##cc(cpu) ? u->a : u->dst); }                                                                            \
	BODY(cmov64_##cc) { R(u->dst) = R(condition_##cc(cpu) ? u->a : u->dst); }
CONDITION_UOPS(o, 0) CONDITION_UOPS(no, 1) CONDITION_UOPS(b, 2) CONDITION_UOPS(ae, 3) CONDITION_UOPS(z, 4) CONDITION_UOPS(nz, 5) CONDITION_UOPS(be, 6) CONDITION_UOPS(a, 7)
CONDITION_UOPS(s, 8) CONDITION_UOPS(ns, 9) CONDITION_UOPS(p, 10) CONDITION_UOPS(np, 11) CONDITION_UOPS(l, 12) CONDITION_UOPS(ge, 13) CONDITION_UOPS(le, 14) CONDITION_UOPS(g, 15)

/* ---- flags ---- */
BODY(lahf) { (void)u; R(REG_AX) = (R(REG_AX) & ~0xff00ull) | (uint64_t)((flags_get(cpu) & 0xd5) | 2) << 8; }
BODY(sahf) { (void)u; flags_set(cpu, (flags_get(cpu) & FLAG_OF) | (R(REG_AX) >> 8 & 0xd5)); }
BODY(cmc) { (void)u; flags_carry(cpu, !flags_cf(&cpu->flags)); }
BODY(clc) { (void)u; flags_carry(cpu, 0); }
BODY(stc) { (void)u; flags_carry(cpu, 1); }
BODY(cld) { (void)u; cpu->eflags &= ~FLAG_DF; }
BODY(std) { (void)u; cpu->eflags |= FLAG_DF; }
BODY(salc) { (void)u; reg_put8(cpu, REG_AX, flags_cf(&cpu->flags) ? 0xff : 0); }
#endif
