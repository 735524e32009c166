/*
 * Bodies of the memory micro-ops: effective addresses by form, and what is done with a loaded value or gives the stored one.
 *
 * Invariant: nothing here touches memory; the engines do, between these bodies (isa/uop.h, shapes).
 */
#ifndef ISA_UOP_MEMORY_H
#define ISA_UOP_MEMORY_H
#include "memory.h"
#include "uop_alu.h"

/* ---- effective addresses, linear ---- */
#define EA(form) UOP_BODY uint64_t ea_##form(struct cpu *cpu, const struct uop *u)
EA(bd) { return R(u->a) + (uint64_t)(int64_t)u->disp; }
EA(sib) { return uop_ea(cpu, u); }
EA(bd32) { return (uint32_t)(R(u->a) + (uint32_t)u->disp); }
EA(sib32) { return (uint32_t)uop_ea(cpu, u); }
EA(abs) { (void)cpu; return u->imm; }
EA(seg) { return uop_ea(cpu, u) + cpu->seg[u->seg].base; }

/* ---- loads ---- */
#define LOADED(name, type) UOP_BODY void uop_##name##_done(struct cpu *cpu, const struct uop *u, type v)
LOADED(ld8, uint8_t) { R(u->dst) = v; }
LOADED(ld16, uint16_t) { R(u->dst) = v; }
LOADED(ld32, uint32_t) { R(u->dst) = v; }
LOADED(ld64, uint64_t) { R(u->dst) = v; }
LOADED(ld8s32, uint8_t) { R(u->dst) = (uint32_t)(int8_t)v; }
LOADED(ld8s64, uint8_t) { R(u->dst) = (uint64_t)(int8_t)v; }
LOADED(ld16s32, uint16_t) { R(u->dst) = (uint32_t)(int16_t)v; }
LOADED(ld16s64, uint16_t) { R(u->dst) = (uint64_t)(int16_t)v; }
LOADED(ld32s64, uint32_t) { R(u->dst) = (uint64_t)(int32_t)v; }
LOADED(rmw8, uint8_t) { R(u->dst) = v; }
LOADED(rmw16, uint16_t) { R(u->dst) = v; }
LOADED(rmw32, uint32_t) { R(u->dst) = v; }
LOADED(rmw64, uint64_t) { R(u->dst) = v; }
#define LOADED_ALU(name, bits, expr, keep)                                                                                                                             \
	LOADED(name##bits##_rm, uint##bits##_t)                                                                                                                        \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->dst), r = (uint##bits##_t)(a expr v);                                                                          \
		keep(bits, r, v, 0);                                                                                                                                   \
		R(u->dst) = r;                                                                                                                                         \
	}
#define LOADED_BOTH(name, expr, keep) LOADED_ALU(name, 32, expr, keep) LOADED_ALU(name, 64, expr, keep)
LOADED_BOTH(add, +, KEEP_ADD) LOADED_BOTH(or, |, KEEP_LOGIC) LOADED_BOTH(and, &, KEEP_LOGIC) LOADED_BOTH(sub, -, KEEP_SUB) LOADED_BOTH(xor, ^, KEEP_LOGIC)
/* POP of the stack pointer itself: the increment comes first (SDM 2B "POP"). */
LOADED(pop64, uint64_t) { R(REG_SP) += 8; R(u->dst) = v; }
LOADED(pop32, uint32_t) { R(REG_SP) = (uint32_t)(R(REG_SP) + 4); R(u->dst) = v; }

/* ---- stores ---- */
#define VALUE(name, type, expr)                                                                                                                                        \
	UOP_BODY type uop_##name##_value(struct cpu *cpu, const struct uop *u) { (void)cpu; return (type)(expr); }
#define STORED(name) UOP_BODY void uop_##name##_done(struct cpu *cpu, const struct uop *u)
#define STORE_PLAIN(name, type, expr) VALUE(name, type, expr) STORED(name) { (void)cpu, (void)u; }
STORE_PLAIN(st8, uint8_t, R(u->b)) STORE_PLAIN(st16, uint16_t, R(u->b)) STORE_PLAIN(st32, uint32_t, R(u->b)) STORE_PLAIN(st64, uint64_t, R(u->b))
STORE_PLAIN(sti8, uint8_t, u->imm) STORE_PLAIN(sti16, uint16_t, u->imm) STORE_PLAIN(sti32, uint32_t, u->imm) STORE_PLAIN(sti64, uint64_t, u->imm)
STORE_PLAIN(stq8, uint8_t, R(u->b)) STORE_PLAIN(stq16, uint16_t, R(u->b)) STORE_PLAIN(stq32, uint32_t, R(u->b)) STORE_PLAIN(stq64, uint64_t, R(u->b))
VALUE(push64, uint64_t, R(u->b)) STORED(push64) { (void)u; R(REG_SP) -= 8; }
VALUE(pushi64, uint64_t, u->imm) STORED(pushi64) { (void)u; R(REG_SP) -= 8; }
VALUE(push32, uint32_t, R(u->b)) STORED(push32) { (void)u; R(REG_SP) = (uint32_t)(R(REG_SP) - 4); }
VALUE(pushi32, uint32_t, u->imm) STORED(pushi32) { (void)u; R(REG_SP) = (uint32_t)(R(REG_SP) - 4); }

UOP_BODY union xmm *xmm_at(struct cpu *cpu, unsigned i) { return i < 16 ? &cpu->xmm[i] : &cpu->xmm_temp[i - 16]; }

/* ---- checked addresses: 16- and 32-bit code with segments that are not flat ---- */
BODY(address)
{
	uop_settle(cpu, u);
	uint64_t linear = segment_linear(cpu, (enum segment_name)u->seg, uop_ea(cpu, u) & u->imm, u->size, (enum access)u->b);
	uop_resume(cpu, u);
	R(u->dst) = linear;
}
BODY(push_address)
{
	uop_settle(cpu, u);
	uint64_t linear = segment_linear(cpu, SEG_SS, (R(REG_SP) - u->size) & u->imm, u->size, ACCESS_WRITE);
	uop_resume(cpu, u);
	R(u->dst) = linear;
}
BODY(pop_address)
{
	uop_settle(cpu, u);
	uint64_t linear = segment_linear(cpu, SEG_SS, (R(u->a) + (uint64_t)(int64_t)u->disp) & u->imm, u->size, ACCESS_READ);
	uop_resume(cpu, u);
	R(u->dst) = linear;
}
BODY(add_sp)
{
	uint64_t sp = (R(REG_SP) + (uint64_t)(int64_t)u->disp) & u->imm;
	R(REG_SP) = u->imm == 0xffff ? (R(REG_SP) & ~0xffffull) | sp : sp;
}
BODY(check_aligned)
{
	if (R(u->a) & (u->size - 1u))
		uop_raise_error(cpu, u, VEC_GP, 0);
}
/* Which XMM accesses must be aligned (#GP(0) otherwise): by the micro-op's name, for the engines' slow paths. */
#define ALIGNED_ldx1 false
#define ALIGNED_ldx2 false
#define ALIGNED_ldx4 false
#define ALIGNED_ldx8 false
#define ALIGNED_ldx16 false
#define ALIGNED_ldx16a true
#define ALIGNED_stx1 false
#define ALIGNED_stx2 false
#define ALIGNED_stx4 false
#define ALIGNED_stx8 false
#define ALIGNED_stx16 false
#define ALIGNED_stx16a true
#endif
