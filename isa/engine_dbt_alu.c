/*
 * Emitters of moves, integer arithmetic, shifts and conditions.
 *
 * Invariant: each leaves in cpu->reg (or its real registers) and cpu->flags what its body in isa/uop_alu.h leaves there, bit for bit: tests/test_dbt.c.
 */
#include "engine_dbt.h"
#include "flags.h"

enum { LG8 = 0, LG16 = 1, LG32 = 2, LG64 = 3 };

static uint64_t alu_cut(unsigned lg, uint64_t v) { return lg == LG64 ? v : v & ((1ull << (8 << lg)) - 1); }
static bool alu_fits(uint64_t v) { return v == (uint64_t)(int64_t)(int32_t)v; }

/* ---- flags ---- */
void dbt_emit_flags(struct translation *t, unsigned op, unsigned result, unsigned source)
{
	emit_store_imm(t->e, 4, DBT_FIELD(flags.op), (int32_t)op);
	emit_op(t->e, 8, OP_STORE, result, DBT_FIELD(flags.result));
	if (source != HOST_NONE)
		emit_op(t->e, 8, OP_STORE, source, DBT_FIELD(flags.source));
	t->flags = (int)op;
}

/* Real CF = guest CF; nothing else is right. Changes ax, cx. */
static void emit_carry(struct translation *t)
{
	struct emit *e = t->e;
	if (t->flags >= 0 && (t->flags & ~3) == FLAGS_PARTIAL) { /* bit 0 of the source */
		emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(flags.source));
		emit_shift_imm(e, 4, SHIFT_SHR, emit_register(HOST_AX), 1);
		return;
	}
	emit_call_to(e, t->d->call_carry);
	emit_alu_imm(e, 1, ALU_ADD, emit_register(HOST_AX), -1);
}

bool dbt_flags_dead_after(const struct uop *u)
{
	for (;;) {
		unsigned facts = uop_facts[(++u)->op];
		if (facts & (FACT_USES | FACT_STOP))
			return false;
		if (facts & FACT_SETS)
			return true;
		if (facts & FACT_END)
			return false;
	}
}

/* Real flags = guest flags, as far as condition cc needs; false: not from here. Changes ax, cx. */
static bool emit_real_flags(struct translation *t, unsigned cc)
{
	static const uint8_t needs[] = { LIVE_OVERFLOW, LIVE_CARRY, LIVE_REST, LIVE_CARRY | LIVE_REST, LIVE_REST, LIVE_REST, LIVE_OVERFLOW | LIVE_REST, LIVE_OVERFLOW | LIVE_REST };
	unsigned need = needs[cc >> 1];
	if ((t->live & need) == need)
		return true;
	if (t->flags < FLAGS_ADD)
		return false;
	if ((t->flags & ~3) == FLAGS_PARTIAL && need == LIVE_CARRY) {
		emit_carry(t);
		t->live = LIVE_CARRY;
		return true;
	}
	unsigned kind = (unsigned)t->flags & ~3u, size = 1u << (t->flags & 3);
	struct emit *e = t->e;
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(flags.result));
	if (kind == FLAGS_SUB || kind == FLAGS_ADD) { /* the first operand again, and the operation again */
		emit_op(e, 8, OP_LOAD, HOST_CX, DBT_FIELD(flags.source));
		emit_alu(e, 8, kind == FLAGS_SUB ? ALU_ADD : ALU_SUB, HOST_AX, emit_register(HOST_CX));
		emit_alu(e, size, kind == FLAGS_SUB ? ALU_CMP : ALU_ADD, HOST_AX, emit_register(HOST_CX));
	} else if (kind == FLAGS_LOGIC || need == LIVE_REST) { /* ZF, SF and PF of every kind follow from the result */
		emit_op(e, size, OP_TEST, HOST_AX, emit_register(HOST_AX));
	} else {
		return false;
	}
	t->live = kind == FLAGS_SUB || kind == FLAGS_ADD || kind == FLAGS_LOGIC ? LIVE_ALL : LIVE_REST;
	return true;
}

unsigned dbt_emit_condition(struct translation *t, unsigned cc)
{
	if (emit_real_flags(t, cc))
		return cc;
	emit_mov_imm(t->e, HOST_CX, cc);
	emit_call_to(t->e, t->d->call_condition);
	emit_op(t->e, 1, OP_TEST, HOST_AX, emit_register(HOST_AX));
	t->live = LIVE_NONE;
	return CC_NZ;
}

/* ---- moves: none of these changes the real flags ---- */
static bool emit_mov(struct translation *t, const struct uop *u, unsigned lg)
{
	if (lg >= LG32) {
		unsigned to = dbt_target(u->dst, HOST_AX);
		emit_op(t->e, 1u << lg, OP_LOAD, to, dbt_guest(u->a));
		dbt_written(t, u->dst, to);
	} else {
		emit_op(t->e, 1u << lg, OP_STORE, dbt_read(t, u->a, HOST_AX), dbt_guest(u->dst));
	}
	return true;
}

static bool emit_movi(struct translation *t, const struct uop *u, unsigned i)
{
	if (i < 2) {
		emit_store_imm(t->e, 1u << i, dbt_guest(u->dst), (int32_t)u->imm);
		return true;
	}
	unsigned to = dbt_target(u->dst, HOST_AX);
	emit_mov_imm(t->e, to, u->imm);
	dbt_written(t, u->dst, to);
	return true;
}

static bool emit_movz(struct translation *t, const struct uop *u, unsigned i)
{
	unsigned to = dbt_target(u->dst, HOST_AX);
	emit_op(t->e, 4, i ? OP_MOVZX16 : OP_MOVZX8, to, dbt_guest(u->a));
	dbt_written(t, u->dst, to);
	return true;
}

static bool emit_movs(struct translation *t, const struct uop *u, unsigned i)
{
	static const struct { uint32_t op; uint8_t size; } row[] = { /* ORDER MOVS: from movs8_16 */
		{ OP_MOVSX8, 4 }, { OP_MOVSX8, 4 }, { OP_MOVSX8, 8 }, { OP_MOVSX16, 4 }, { OP_MOVSX16, 8 }, { OP_MOVSXD, 8 },
	};
	unsigned to = i == 0 ? HOST_AX : dbt_target(u->dst, HOST_AX);
	emit_op(t->e, row[i].size, row[i].op, to, dbt_guest(u->a));
	if (i == 0)
		emit_op(t->e, 2, OP_STORE, to, dbt_guest(u->dst));
	else
		dbt_written(t, u->dst, to);
	return true;
}

static bool emit_lea(struct translation *t, const struct uop *u, unsigned i) /* lea, lea32, lea16, lea_bd */
{
	unsigned base = dbt_read(t, u->a, HOST_AX), to = dbt_target(u->dst, HOST_AX);
	struct emit_place place = emit_memory(base, u->disp);
	if (i == 2)
		return false;
	if (i != 3 && u->index != REG_ZERO)
		place = emit_indexed(base, dbt_read(t, u->index, HOST_CX), u->scale, u->disp);
	emit_op(t->e, i == 1 ? 4 : 8, OP_LEA, to, place);
	dbt_written(t, u->dst, to);
	return true;
}

/* ---- two operands ---- */
/* ax = register a, zero-extended from the operand size. */
static void emit_operand(struct translation *t, unsigned lg, unsigned to, unsigned reg)
{
	if (lg >= LG32)
		emit_op(t->e, 1u << lg, OP_LOAD, to, dbt_guest(reg));
	else
		emit_op(t->e, 4, lg == LG8 ? OP_MOVZX8 : OP_MOVZX16, to, dbt_guest(reg));
}

/* Writes the low bytes of ax, as the size of the operation asks. */
static void emit_result(struct translation *t, unsigned lg, unsigned dst)
{
	emit_op(t->e, lg >= LG32 ? 8 : 1u << lg, OP_STORE, HOST_AX, dbt_guest(dst));
}

static void emit_widen(struct translation *t, unsigned lg) /* ax zero-extended: an 8- or 16-bit operation kept its upper bytes zero already, but for SUB and ADD of the whole register */
{
	if (lg < LG32)
		emit_op(t->e, 4, lg == LG8 ? OP_MOVZX8 : OP_MOVZX16, HOST_AX, emit_register(HOST_AX));
}

/* In place, without flags: most address arithmetic. */
static bool emit_alu_quick(struct translation *t, const struct uop *u, enum emit_alu alu, unsigned lg, bool immediate)
{
	if (lg < LG32 || u->dst != u->a || dbt_host[u->dst] == HOST_NONE)
		return false;
	uint64_t imm = lg == LG32 ? (uint64_t)(int64_t)(int32_t)u->imm : u->imm;
	if (immediate && !alu_fits(imm))
		return false;
	if (immediate)
		emit_alu_imm(t->e, 1u << lg, alu, dbt_guest(u->dst), (int32_t)imm);
	else
		emit_alu(t->e, 1u << lg, alu, dbt_host[u->dst], dbt_guest(u->b));
	return true;
}

enum { TWO_FLAGS = 1, TWO_STORE = 2 };
/* dst = a alu b, or a alu imm; ADC and SBB are not for here. */
static void emit_two(struct translation *t, const struct uop *u, enum emit_alu alu, unsigned lg, bool immediate, unsigned what)
{
	struct emit *e = t->e;
	bool logic = alu == ALU_AND || alu == ALU_OR || alu == ALU_XOR;
	uint64_t imm = alu_cut(lg, u->imm);
	unsigned size = 1u << lg;
	if (!immediate)
		emit_operand(t, lg, HOST_CX, u->b);
	else if (lg == LG64 && !alu_fits(imm))
		emit_mov_imm(e, HOST_CX, imm), immediate = false;
	emit_operand(t, lg, HOST_AX, u->a);
	if (immediate)
		emit_alu_imm(e, size, alu, emit_register(HOST_AX), (int32_t)imm);
	else
		emit_alu(e, size, alu, HOST_AX, emit_register(HOST_CX));
	if (what & TWO_FLAGS) {
		emit_widen(t, lg);
		bool direct = immediate && !logic && alu_fits(imm);
		if (direct)
			emit_store_imm(e, 8, DBT_FIELD(flags.source), (int32_t)imm);
		else if (immediate && !logic)
			emit_mov_imm(e, HOST_CX, imm);
		dbt_emit_flags(t, (logic ? FLAGS_LOGIC : alu == ALU_ADD ? FLAGS_ADD : FLAGS_SUB) | lg, HOST_AX, logic || direct ? HOST_NONE : HOST_CX);
		t->live = LIVE_ALL;
	}
	if (what & TWO_STORE)
		emit_result(t, lg, u->dst);
}

static bool emit_alu_row(struct translation *t, const struct uop *u, unsigned i, enum emit_alu alu)
{
	unsigned lg = i >> 2;
	bool immediate = i & 2, flags = !(i & 1);
	if (!flags && emit_alu_quick(t, u, alu, lg, immediate))
		return true;
	emit_two(t, u, alu, lg, immediate, TWO_STORE | (flags ? TWO_FLAGS : 0));
	return true;
}
static bool emit_add(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_ADD); }
static bool emit_or(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_OR); }
static bool emit_and(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_AND); }
static bool emit_sub(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_SUB); }
static bool emit_xor(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_XOR); }
static bool emit_cmp(struct translation *t, const struct uop *u, unsigned i)
{
	emit_two(t, u, ALU_SUB, i >> 1, i & 1, TWO_FLAGS);
	return true;
}
static bool emit_test(struct translation *t, const struct uop *u, unsigned i)
{
	emit_two(t, u, ALU_AND, i >> 1, i & 1, TWO_FLAGS);
	return true;
}

/* ADC, SBB: the carry goes in as a real one, and is remembered. */
static bool emit_with_carry(struct translation *t, const struct uop *u, unsigned i, bool borrow)
{
	struct emit *e = t->e;
	unsigned lg = i >> 2;
	uint64_t imm = alu_cut(lg, u->imm);
	if (!t->carry && (t->flags < 0 || !emit_real_flags(t, CC_B)))
		emit_carry(t);
	if (i & 2)
		emit_mov_imm(e, HOST_CX, imm);
	else
		emit_operand(t, lg, HOST_CX, u->b);
	if (!(i & 1)) {
		emit_op(e, 1, OP_SETCC | CC_B, 0, emit_register(HOST_DX));
		emit_op(e, 4, OP_MOVZX8, HOST_DX, emit_register(HOST_DX));
		emit_op(e, 8, OP_STORE, HOST_DX, DBT_FIELD(flags.extra));
	}
	emit_operand(t, lg, HOST_AX, u->a);
	emit_alu(e, 1u << lg, borrow ? ALU_SBB : ALU_ADC, HOST_AX, emit_register(HOST_CX));
	t->live = LIVE_NONE;
	if (!(i & 1)) {
		emit_widen(t, lg);
		dbt_emit_flags(t, (borrow ? FLAGS_SBB : FLAGS_ADC) | lg, HOST_AX, HOST_CX);
		t->live = LIVE_ALL;
	}
	emit_result(t, lg, u->dst);
	return true;
}
static bool emit_adc(struct translation *t, const struct uop *u, unsigned i) { return emit_with_carry(t, u, i, false); }
static bool emit_sbb(struct translation *t, const struct uop *u, unsigned i) { return emit_with_carry(t, u, i, true); }

/* ---- one operand ---- */
/* flags.extra = CF. After INC and DEC it holds CF already: loops that count with DEC never call. */
static void emit_keep_carry(struct translation *t)
{
	struct emit *e = t->e;
	unsigned kind = t->flags < 0 ? 0 : (unsigned)t->flags & ~3u;
	if (kind == FLAGS_INC || kind == FLAGS_DEC)
		return;
	if (kind == FLAGS_LOGIC) {
		emit_store_imm(e, 8, DBT_FIELD(flags.extra), 0);
		return;
	}
	uint8_t *has = NULL;
	if (t->flags < 0) {
		emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(flags.op));
		emit_alu_imm(e, 4, ALU_SUB, emit_register(HOST_AX), FLAGS_INC);
		emit_alu_imm(e, 4, ALU_CMP, emit_register(HOST_AX), FLAGS_PARTIAL - FLAGS_INC);
		has = emit_jump_if(e, CC_B);
	}
	emit_call_to(e, t->d->call_carry);
	emit_op(e, 8, OP_STORE, HOST_AX, DBT_FIELD(flags.extra));
	emit_patch(has, e->at);
}

static bool emit_step(struct translation *t, const struct uop *u, unsigned i, bool dec)
{
	unsigned lg = i >> 1;
	bool flags = !(i & 1);
	if (!flags && lg >= LG32 && u->dst == u->a && dbt_host[u->dst] != HOST_NONE) {
		emit_op(t->e, 1u << lg, 0xff, dec, dbt_guest(u->dst));
		return true;
	}
	if (flags)
		emit_keep_carry(t);
	emit_operand(t, lg, HOST_AX, u->a);
	emit_op(t->e, 1u << lg, 0xff, dec, emit_register(HOST_AX));
	if (flags) {
		emit_widen(t, lg);
		dbt_emit_flags(t, (dec ? FLAGS_DEC : FLAGS_INC) | lg, HOST_AX, HOST_NONE);
		emit_store_imm(t->e, 8, DBT_FIELD(flags.source), 0);
		t->live = LIVE_ALL & ~LIVE_CARRY;
	}
	emit_result(t, lg, u->dst);
	return true;
}
static bool emit_inc(struct translation *t, const struct uop *u, unsigned i) { return emit_step(t, u, i, false); }
static bool emit_dec(struct translation *t, const struct uop *u, unsigned i) { return emit_step(t, u, i, true); }

static bool emit_neg(struct translation *t, const struct uop *u, unsigned i)
{
	unsigned lg = i >> 1;
	emit_operand(t, lg, HOST_CX, u->a);
	emit_op(t->e, 8, OP_LOAD, HOST_AX, emit_register(HOST_CX));
	emit_op(t->e, 1u << lg, OP_GROUP3, 3, emit_register(HOST_AX));
	if (!(i & 1)) {
		emit_widen(t, lg);
		dbt_emit_flags(t, FLAGS_SUB | lg, HOST_AX, HOST_CX);
		t->live = LIVE_ALL;
	}
	emit_result(t, lg, u->dst);
	return true;
}

static bool emit_not(struct translation *t, const struct uop *u, unsigned lg)
{
	emit_operand(t, lg, HOST_AX, u->a);
	emit_op(t->e, 1u << lg, OP_GROUP3, 2, emit_register(HOST_AX));
	emit_result(t, lg, u->dst);
	return true;
}

/* ---- shifts by a constant ---- */
/* After the shift: ax = result, real CF right. cx = CF | OF << 11 by the body's rule; changes dx. */
static void emit_shift_flags(struct translation *t, enum emit_shift shift, unsigned lg, unsigned reg, unsigned count)
{
	struct emit *e = t->e;
	emit_op(e, 1, OP_SETCC | CC_B, 0, emit_register(HOST_CX));
	emit_op(e, 4, OP_MOVZX8, HOST_CX, emit_register(HOST_CX));
	if (shift == SHIFT_SAR || (shift == SHIFT_SHR && count != 1))
		return;
	if (shift == SHIFT_SHL)
		emit_op(e, 8, OP_LOAD, HOST_DX, emit_register(HOST_AX));
	else
		emit_op(e, 8, OP_LOAD, HOST_DX, dbt_guest(reg)); /* SHR by one: OF is the operand's sign */
	emit_shift_imm(e, 1u << lg, SHIFT_SHR, emit_register(HOST_DX), (8u << lg) - 1);
	if (shift == SHIFT_SHL)
		emit_alu(e, 4, ALU_XOR, HOST_DX, emit_register(HOST_CX));
	emit_shift_imm(e, 4, SHIFT_SHL, emit_register(HOST_DX), 11);
	emit_alu(e, 4, ALU_OR, HOST_CX, emit_register(HOST_DX));
}

/* By CL, and rotates, where nobody will see the flags. */
static bool emit_by_cl(struct translation *t, const struct uop *u, unsigned lg, unsigned shift)
{
	if (lg < LG32 || !dbt_flags_dead_after(u))
		return false;
	emit_op(t->e, 4, OP_LOAD, HOST_CX, dbt_guest(REG_CX));
	emit_operand(t, lg, HOST_AX, u->a);
	emit_op(t->e, 1u << lg, 0xd3, shift, emit_register(HOST_AX));
	emit_result(t, lg, u->dst);
	return true;
}

static bool emit_rotate(struct translation *t, const struct uop *u, unsigned i, unsigned rotate)
{
	unsigned lg = i / 2;
	if (i & 1)
		return emit_by_cl(t, u, lg, rotate);
	if (lg < LG32 || !dbt_flags_dead_after(u))
		return false;
	emit_operand(t, lg, HOST_AX, u->a);
	emit_shift_imm(t->e, 1u << lg, rotate, emit_register(HOST_AX), (unsigned)u->imm);
	emit_result(t, lg, u->dst);
	return true;
}
static bool emit_rol(struct translation *t, const struct uop *u, unsigned i) { return emit_rotate(t, u, i, SHIFT_ROL); }
static bool emit_ror(struct translation *t, const struct uop *u, unsigned i) { return emit_rotate(t, u, i, SHIFT_ROR); }

static bool emit_shift_row(struct translation *t, const struct uop *u, unsigned i, enum emit_shift shift)
{
	unsigned lg = i / 3, count = (unsigned)u->imm;
	if (i % 3 == 2)
		return emit_by_cl(t, u, lg, shift);
	if (i % 3 == 0 && lg < LG32)
		return false;
	if (i % 3 == 1 && lg >= LG32 && u->dst == u->a && dbt_host[u->dst] != HOST_NONE) {
		emit_shift_imm(t->e, 1u << lg, shift, dbt_guest(u->dst), count);
		return true;
	}
	emit_operand(t, lg, HOST_AX, u->a);
	emit_shift_imm(t->e, 1u << lg, shift, emit_register(HOST_AX), count);
	if (i % 3 == 0) {
		emit_shift_flags(t, shift, lg, u->a, count);
		dbt_emit_flags(t, FLAGS_PARTIAL | lg, HOST_AX, HOST_CX);
		if (shift == SHIFT_SAR || (shift == SHIFT_SHR && count != 1)) /* the others' OF took arithmetic */
			t->live = LIVE_CARRY | LIVE_REST;
	}
	emit_result(t, lg, u->dst);
	return true;
}
static bool emit_shl(struct translation *t, const struct uop *u, unsigned i) { return emit_shift_row(t, u, i, SHIFT_SHL); }
static bool emit_shr(struct translation *t, const struct uop *u, unsigned i) { return emit_shift_row(t, u, i, SHIFT_SHR); }
static bool emit_sar(struct translation *t, const struct uop *u, unsigned i) { return emit_shift_row(t, u, i, SHIFT_SAR); }

/* ---- multiplication into one register ---- */
/* ax = low half; the real OF: CF = OF = the product did not fit. Changes cx. */
static void emit_product_flags(struct translation *t, unsigned lg)
{
	int32_t both = FLAG_CF | FLAG_OF;
	emit_op(t->e, 1, OP_SETCC | CC_O, 0, emit_register(HOST_CX));
	emit_op(t->e, 4, OP_MOVZX8, HOST_CX, emit_register(HOST_CX));
	emit_op(t->e, 4, 0x69, HOST_CX, emit_register(HOST_CX));
	emit_bytes(t->e, &both, 4);
	dbt_emit_flags(t, FLAGS_PARTIAL | lg, HOST_AX, HOST_CX);
}

static bool emit_imul(struct translation *t, const struct uop *u, unsigned i)
{
	struct emit *e = t->e;
	unsigned lg = i % 6 / 2 + LG16, size = 1u << lg;
	if (lg == LG16)
		return false;
	emit_operand(t, lg, HOST_AX, u->a);
	if (i >= 6 && lg == LG64 && !alu_fits(u->imm))
		return false;
	if (i >= 6) {
		int32_t imm = (int32_t)u->imm;
		emit_op(e, size, 0x69, HOST_AX, emit_register(HOST_AX));
		emit_bytes(e, &imm, 4);
	} else {
		emit_op(e, size, OP_IMUL, HOST_AX, dbt_guest(u->b));
	}
	if (!(i & 1))
		emit_product_flags(t, lg);
	emit_result(t, lg, u->dst);
	return true;
}

/* ---- into AX and DX ---- */
static bool emit_product(struct translation *t, const struct uop *u, unsigned lg, bool is_signed)
{
	if (lg < LG32)
		return false;
	emit_operand(t, lg, HOST_AX, REG_AX);
	emit_op(t->e, 1u << lg, OP_GROUP3, is_signed ? 5 : 4, dbt_guest(u->a));
	if (!dbt_flags_dead_after(u))
		emit_product_flags(t, lg);
	dbt_write(t, REG_AX, HOST_AX);
	dbt_write(t, REG_DX, HOST_DX);
	return true;
}
static bool emit_mul(struct translation *t, const struct uop *u, unsigned lg) { return emit_product(t, u, lg, false); }
static bool emit_imul_one(struct translation *t, const struct uop *u, unsigned lg) { return emit_product(t, u, lg, true); }

/* A quotient that would not fit, or a divisor of 0: the high half is not below the divisor, and the C function raises. */
static bool emit_div(struct translation *t, const struct uop *u, unsigned lg)
{
	if (lg < LG32)
		return false;
	emit_operand(t, lg, HOST_CX, u->a);
	emit_operand(t, lg, HOST_DX, REG_DX);
	emit_operand(t, lg, HOST_AX, REG_AX);
	emit_alu(t->e, 1u << lg, ALU_CMP, HOST_DX, emit_register(HOST_CX));
	dbt_emit_slow(t, u, emit_jump_if(t->e, CC_AE));
	emit_op(t->e, 1u << lg, OP_GROUP3, 6, emit_register(HOST_CX));
	dbt_write(t, REG_AX, HOST_AX);
	dbt_write(t, REG_DX, HOST_DX);
	return true;
}

/* ---- conditions ---- */
static bool emit_set(struct translation *t, const struct uop *u, unsigned cc)
{
	cc = dbt_emit_condition(t, cc);
	emit_op(t->e, 1, OP_SETCC | cc, 0, dbt_guest(u->dst));
	return true;
}

static bool emit_cmov(struct translation *t, const struct uop *u, unsigned i)
{
	unsigned cc = dbt_emit_condition(t, i & 15), lg = (i >> 4) + LG16;
	unsigned to = dbt_host[u->dst];
	if (to == HOST_NONE)
		emit_op(t->e, 8, OP_LOAD, to = HOST_AX, dbt_guest(u->dst));
	emit_op(t->e, 1u << lg, OP_CMOV | cc, to, dbt_guest(u->a));
	dbt_written(t, u->dst, to);
	return true;
}

/* ---- the rows ---- */
struct alu_range {
	uint16_t first, count;
	bool keeps; /* the real flags */
	bool (*emit)(struct translation *t, const struct uop *u, unsigned i);
};

static bool emit_nop(struct translation *t, const struct uop *u, unsigned i) { return (void)t, (void)u, (void)i, true; }

static const struct alu_range alu_ranges[] = { /* ORDER OP: counts follow uops.def */
	{ UOP_nop, 1, true, emit_nop },
	{ UOP_mov8, 4, true, emit_mov },
	{ UOP_movi8, 3, true, emit_movi },
	{ UOP_movz8, 2, true, emit_movz },
	{ UOP_movs8_16, 6, true, emit_movs },
	{ UOP_lea, 4, true, emit_lea },
	{ UOP_add8_rr, 16, false, emit_add },
	{ UOP_or8_rr, 16, false, emit_or },
	{ UOP_and8_rr, 16, false, emit_and },
	{ UOP_sub8_rr, 16, false, emit_sub },
	{ UOP_xor8_rr, 16, false, emit_xor },
	{ UOP_cmp8_rr, 8, false, emit_cmp },
	{ UOP_test8_rr, 8, false, emit_test },
	{ UOP_inc8, 8, false, emit_inc },
	{ UOP_dec8, 8, false, emit_dec },
	{ UOP_neg8, 8, false, emit_neg },
	{ UOP_not8, 4, false, emit_not },
	{ UOP_shl8_ri, 12, false, emit_shl },
	{ UOP_shr8_ri, 12, false, emit_shr },
	{ UOP_sar8_ri, 12, false, emit_sar },
	{ UOP_rol8_ri, 8, false, emit_rol },
	{ UOP_ror8_ri, 8, false, emit_ror },
	{ UOP_adc8_rr, 16, false, emit_adc },
	{ UOP_sbb8_rr, 16, false, emit_sbb },
	{ UOP_imul16_rr, 12, false, emit_imul },
	{ UOP_mul8, 4, false, emit_mul },
	{ UOP_imul8, 4, false, emit_imul_one },
	{ UOP_div8, 4, false, emit_div },
	{ UOP_set_o, 16, true, emit_set },
	{ UOP_cmov16_o, 48, true, emit_cmov },
};

bool dbt_emit_alu(struct translation *t, const struct uop *u)
{
	for (unsigned i = 0; i < sizeof alu_ranges / sizeof *alu_ranges; i++) {
		const struct alu_range *r = &alu_ranges[i];
		if (u->op < r->first || u->op >= r->first + r->count)
			continue;
		unsigned live = t->live;
		t->carry = live & LIVE_CARRY;
		if (!r->keeps)
			t->live = LIVE_NONE;
		if (!r->emit(t, u, u->op - r->first)) {
			t->live = LIVE_NONE;
			return false;
		}
		if (r->keeps && r->emit != emit_set && r->emit != emit_cmov)
			t->live = live;
		return true;
	}
	return false;
}
