/*
 * What the emitters of integer operations share.
 *
 * Invariant: an emitter that returns false has emitted nothing. What it leaves in cpu->reg (or its real registers) and cpu->flags (or the recipe for it) is what the body in isa/uop_alu.h
 * leaves there, bit for bit: tests/test_dbt.c.
 */
#ifndef ISA_ENGINE_DBT_ALU_H
#define ISA_ENGINE_DBT_ALU_H
#include "engine_dbt.h"
#include "flags.h"

enum { LG8 = 0, LG16 = 1, LG32 = 2, LG64 = 3 };

static inline uint64_t alu_cut(unsigned lg, uint64_t v) { return lg == LG64 ? v : v & ((1ull << (8 << lg)) - 1); }
static inline bool alu_fits(uint64_t v) { return v == (uint64_t)(int64_t)(int32_t)v; }

/* Writes the low bytes of a scratch register, as the size of the operation asks. */
static inline void emit_result(struct translation *t, unsigned lg, unsigned dst, unsigned from)
{
	emit_op(t->e, lg >= LG32 ? 8 : 1u << lg, OP_STORE, from, dbt_guest(dst));
}

static inline void emit_widen(struct translation *t, unsigned lg, unsigned reg)
{
	if (lg < LG32)
		emit_op(t->e, 4, lg == LG8 ? OP_MOVZX8 : OP_MOVZX16, reg, emit_register(reg));
}

/* Whether dst = dst op something can be one instruction on the register's own place: a 32-bit result in memory would leave the upper half. */
static inline bool alu_in_place(const struct uop *u, unsigned lg) { return u->dst == u->a && (dbt_host[u->dst] != HOST_NONE || lg != LG32); }

/* `i`: the row, counted from the first of its range. */
typedef bool dbt_alu_fn(struct translation *t, const struct uop *u, unsigned i);
/* isa/engine_dbt_shift.c */
dbt_alu_fn dbt_emit_shl, dbt_emit_shr, dbt_emit_sar, dbt_emit_rol, dbt_emit_ror, dbt_emit_rcl, dbt_emit_rcr, dbt_emit_double, dbt_emit_lahf, dbt_emit_sahf, dbt_emit_carry_flag, dbt_emit_salc;
#endif
