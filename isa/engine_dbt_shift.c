/*
 * Emitters of shifts, rotates, and of the instructions that change or show flags and nothing else.
 *
 * Invariant: isa/engine_dbt_alu.h. Where the manual leaves a flag undefined the body's rule holds: OF is that of the last step by one bit, which the real machine makes when it takes that step
 * alone; so a rotate is followed by one back and one forth.
 */
#include "engine_dbt_alu.h"

enum { MASK_CF_OF = FLAG_CF | FLAG_OF };

static unsigned shift_mask(unsigned lg) { return lg == LG64 ? 63 : 31; }

/* ax = the six flags, in their places. Changes cx, dx. */
static void shift_all_flags(struct translation *t)
{
	if (t->flags == FLAGS_EXPLICIT && !t->recipe.pending) {
		emit_op(t->e, 4, OP_LOAD, HOST_AX, DBT_FIELD(flags.result));
		return;
	}
	dbt_flush_flags(t);
	dbt_emit_keeping(t, t->d->call_flags);
}

/* ---- without flags ---- */
/* dst = a shifted or rotated by a constant. */
static void shift_plain(struct translation *t, const struct uop *u, unsigned lg, unsigned shift)
{
	if (alu_in_place(u, lg)) {
		emit_shift_imm(t->e, 1u << lg, shift, dbt_guest(u->dst), (unsigned)u->imm);
		return;
	}
	dbt_emit_operand(t, lg, HOST_AX, u->a);
	emit_shift_imm(t->e, 1u << lg, shift, emit_register(HOST_AX), (unsigned)u->imm);
	emit_result(t, lg, u->dst, HOST_AX);
}

/* The same by CL. The real shift of 8 and 16 bits takes the count modulo 32, too. */
static void shift_plain_by_cl(struct translation *t, const struct uop *u, unsigned lg, unsigned shift)
{
	emit_op(t->e, 4, OP_LOAD, HOST_CX, dbt_guest(REG_CX));
	if (u->dst == u->a && dbt_host[u->dst] != HOST_NONE && u->dst != REG_CX && lg >= LG32) {
		emit_op(t->e, 1u << lg, 0xd3, shift, dbt_guest(u->dst));
		return;
	}
	dbt_emit_operand(t, lg, HOST_AX, u->a);
	emit_op(t->e, 1u << lg, 0xd3, shift, emit_register(HOST_AX));
	emit_result(t, lg, u->dst, HOST_AX);
}

/* ---- shifts ---- */
/* After the shift by `count` (0: not known, at least 1): ax = result, zero-extended, real CF right. cx = CF | OF << 11; changes dx. */
static void shift_flags(struct translation *t, enum emit_shift shift, unsigned lg, unsigned count)
{
	struct emit *e = t->e;
	emit_op(e, 1, OP_SETCC | CC_B, 0, emit_register(HOST_CX));
	emit_op(e, 4, OP_MOVZX8, HOST_CX, emit_register(HOST_CX));
	if (shift == SHIFT_SAR || (shift == SHIFT_SHR && count > 1))
		return;
	emit_op(e, 8, OP_LOAD, HOST_DX, emit_register(HOST_AX));
	emit_shift_imm(e, 8, SHIFT_SHR, emit_register(HOST_DX), (8u << lg) - (shift == SHIFT_SHL ? 1 : 2)); /* SHR by one: the operand's sign; by more: 0 */
	if (shift == SHIFT_SHL)
		emit_alu(e, 4, ALU_XOR, HOST_DX, emit_register(HOST_CX));
	emit_shift_imm(e, 4, SHIFT_SHL, emit_register(HOST_DX), 11);
	emit_alu(e, 4, ALU_OR, HOST_CX, emit_register(HOST_DX));
}

/* With a count of 0 the flags stay. Narrow operands are shifted in 32 bits, where every count has a CF. */
static void shift_by_cl(struct translation *t, const struct uop *u, unsigned lg, enum emit_shift shift)
{
	struct emit *e = t->e;
	dbt_flush_flags(t);
	emit_op(e, 4, OP_LOAD, HOST_CX, dbt_guest(REG_CX));
	if (shift == SHIFT_SAR && lg < LG32)
		emit_op(e, 4, lg == LG8 ? OP_MOVSX8 : OP_MOVSX16, HOST_AX, dbt_guest(u->a));
	else
		dbt_emit_operand(t, lg, HOST_AX, u->a);
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), (int32_t)shift_mask(lg));
	uint8_t *none = emit_jump_if(e, CC_Z);
	emit_op(e, lg == LG64 ? 8 : 4, 0xd3, shift, emit_register(HOST_AX));
	if (shift == SHIFT_SHL && lg < LG32)
		emit_bytes(e, lg == LG8 ? "\x0f\xba\xe0\x08" : "\x0f\xba\xe0\x10", 4); /* BT eax, 8 or 16 */
	emit_widen(t, lg, HOST_AX);
	shift_flags(t, shift, lg, 0);
	dbt_emit_flags(t, FLAGS_PARTIAL | lg, HOST_AX, HOST_CX);
	emit_patch(none, e->at);
	emit_result(t, lg, u->dst, HOST_AX);
	t->flags = -1;
}

static bool shift_row(struct translation *t, const struct uop *u, unsigned i, enum emit_shift shift)
{
	unsigned lg = i / 3, count = (unsigned)u->imm;
	if (i % 3 == 2) {
		(dbt_flags_dead_after(u) ? shift_plain_by_cl(t, u, lg, shift) : shift_by_cl(t, u, lg, shift));
		return true;
	}
	if (i % 3 == 1) {
		shift_plain(t, u, lg, shift);
		return true;
	}
	if (count >= 8u << lg)
		return false;
	if (dbt_flags_only_real(u)) {
		shift_plain(t, u, lg, shift);
		t->recipe.pending = false;
		t->flags = -1;
		t->live = LIVE_CARRY;
		return true;
	}
	dbt_emit_operand(t, lg, HOST_AX, u->a);
	emit_shift_imm(t->e, 1u << lg, shift, emit_register(HOST_AX), count);
	shift_flags(t, shift, lg, count);
	dbt_emit_flags(t, FLAGS_PARTIAL | lg, HOST_AX, HOST_CX);
	if (shift == SHIFT_SAR || (shift == SHIFT_SHR && count != 1)) /* the others' OF took arithmetic */
		t->live = LIVE_CARRY | LIVE_REST;
	emit_result(t, lg, u->dst, HOST_AX);
	return true;
}
bool dbt_emit_shl(struct translation *t, const struct uop *u, unsigned i) { return shift_row(t, u, i, SHIFT_SHL); }
bool dbt_emit_shr(struct translation *t, const struct uop *u, unsigned i) { return shift_row(t, u, i, SHIFT_SHR); }
bool dbt_emit_sar(struct translation *t, const struct uop *u, unsigned i) { return shift_row(t, u, i, SHIFT_SAR); }

/* ---- rotates: CF and OF change, by a count of 0 nothing ---- */
static void rotate_with_flags(struct translation *t, const struct uop *u, unsigned lg, unsigned rotate, bool by_cl)
{
	struct emit *e = t->e;
	unsigned size = 1u << lg;
	int32_t spread = 0x401; /* CF | OF << 1 to their places */
	uint8_t *none = NULL;
	shift_all_flags(t);
	dbt_emit_operand(t, lg, HOST_DX, u->a);
	if (by_cl) {
		emit_op(e, 4, OP_LOAD, HOST_CX, dbt_guest(REG_CX));
		emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), (int32_t)shift_mask(lg));
		none = emit_jump_if(e, CC_Z);
	}
	if (rotate >= SHIFT_RCL)
		emit_bytes(e, "\x0f\xba\xe0\x00", 4); /* BT eax, 0: the guest's CF */
	if (by_cl)
		emit_op(e, size, 0xd3, rotate, emit_register(HOST_DX));
	else
		emit_shift_imm(e, size, rotate, emit_register(HOST_DX), (unsigned)u->imm);
	emit_op(e, size, 0xd1, rotate ^ 1, emit_register(HOST_DX));
	emit_op(e, size, 0xd1, rotate, emit_register(HOST_DX));
	emit_mov_imm(e, HOST_CX, 0);
	emit_op(e, 1, OP_SETCC | CC_O, 0, emit_register(HOST_CX));
	emit_alu(e, 4, ALU_ADC, HOST_CX, emit_register(HOST_CX));
	emit_op(e, 4, 0x69, HOST_CX, emit_register(HOST_CX)); /* IMUL */
	emit_bytes(e, &spread, 4);
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), MASK_CF_OF);
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_AX), ~MASK_CF_OF);
	emit_alu(e, 4, ALU_OR, HOST_AX, emit_register(HOST_CX));
	emit_patch(none, e->at);
	dbt_emit_flags(t, FLAGS_EXPLICIT, HOST_AX, HOST_NONE);
	emit_result(t, lg, u->dst, HOST_DX);
}

/* Through the carry, by a multiple of one bit more than the operand has, the body leaves OF alone and the real machine does not say: that is left to C where flags matter. */
static bool rotate_row(struct translation *t, const struct uop *u, unsigned i, unsigned rotate)
{
	unsigned lg = i / 2, through = rotate >= SHIFT_RCL;
	bool by_cl = i & 1, dead = dbt_flags_dead_after(u);
	if (!dead && through && (by_cl ? lg < LG32 : u->imm % ((8u << lg) + 1) == 0))
		return false;
	if (!dead) {
		rotate_with_flags(t, u, lg, rotate, by_cl);
		return true;
	}
	if (through && !t->carry && (t->flags < 0 || !dbt_emit_real_flags(t, CC_B)))
		dbt_emit_carry(t);
	t->live = LIVE_NONE;
	(by_cl ? shift_plain_by_cl : shift_plain)(t, u, lg, rotate);
	return true;
}
bool dbt_emit_rol(struct translation *t, const struct uop *u, unsigned i) { return rotate_row(t, u, i, SHIFT_ROL); }
bool dbt_emit_ror(struct translation *t, const struct uop *u, unsigned i) { return rotate_row(t, u, i, SHIFT_ROR); }
bool dbt_emit_rcl(struct translation *t, const struct uop *u, unsigned i) { return rotate_row(t, u, i, SHIFT_RCL); }
bool dbt_emit_rcr(struct translation *t, const struct uop *u, unsigned i) { return rotate_row(t, u, i, SHIFT_RCR); }

/* ---- SHLD, SHRD; of 16 bits, where counts may be beyond what the manual defines, by C ---- */
/* As shift_flags(): OF is a change of sign. */
static void double_flags(struct translation *t, const struct uop *u, unsigned lg)
{
	struct emit *e = t->e;
	emit_op(e, 1, OP_SETCC | CC_B, 0, emit_register(HOST_CX));
	emit_op(e, 4, OP_MOVZX8, HOST_CX, emit_register(HOST_CX));
	dbt_emit_operand(t, lg, HOST_DX, u->a);
	emit_alu(e, 8, ALU_XOR, HOST_DX, emit_register(HOST_AX));
	emit_shift_imm(e, 8, SHIFT_SHR, emit_register(HOST_DX), (8u << lg) - 1);
	emit_shift_imm(e, 4, SHIFT_SHL, emit_register(HOST_DX), 11);
	emit_alu(e, 4, ALU_OR, HOST_CX, emit_register(HOST_DX));
	dbt_emit_flags(t, FLAGS_PARTIAL | lg, HOST_AX, HOST_CX);
}

bool dbt_emit_double(struct translation *t, const struct uop *u, unsigned i)
{
	struct emit *e = t->e;
	unsigned lg = i / 2 % 3 + LG16, by_cl = i & 1;
	uint8_t count = (uint8_t)u->imm, *none = NULL;
	bool flags = !dbt_flags_dead_after(u);
	if (lg == LG16)
		return false;
	if (flags)
		dbt_flush_flags(t);
	unsigned b = dbt_read(t, u->b, HOST_DX);
	dbt_emit_operand(t, lg, HOST_AX, u->a);
	if (by_cl) {
		emit_op(e, 4, OP_LOAD, HOST_CX, dbt_guest(REG_CX));
		emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), (int32_t)shift_mask(lg));
		none = emit_jump_if(e, CC_Z);
	}
	emit_op(e, 1u << lg, (i < 6 ? 0x0fa4 : 0x0fac) + by_cl, b, emit_register(HOST_AX));
	if (!by_cl)
		emit_bytes(e, &count, 1);
	if (flags)
		double_flags(t, u, lg);
	emit_patch(none, e->at);
	emit_result(t, lg, u->dst, HOST_AX);
	if (flags && by_cl)
		t->flags = -1;
	return true;
}

/* ---- flags alone ---- */
enum { FLAGS_IN_AH = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF };

bool dbt_emit_lahf(struct translation *t, const struct uop *u, unsigned i)
{
	struct emit *e = t->e;
	(void)u, (void)i;
	shift_all_flags(t);
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_AX), FLAGS_IN_AH);
	emit_alu_imm(e, 4, ALU_OR, emit_register(HOST_AX), 2);
	emit_op(e, 8, OP_LOAD, HOST_CX, dbt_guest(REG_AX));
	emit_bytes(e, "\x88\xc5", 2); /* MOV ch, al */
	dbt_write(t, REG_AX, HOST_CX);
	return true;
}

bool dbt_emit_sahf(struct translation *t, const struct uop *u, unsigned i)
{
	struct emit *e = t->e;
	(void)u, (void)i;
	shift_all_flags(t);
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_AX), FLAG_OF);
	emit_op(e, 4, OP_LOAD, HOST_CX, dbt_guest(REG_AX));
	emit_bytes(e, "\x0f\xb6\xcd", 3); /* MOVZX ecx, ch */
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), FLAGS_IN_AH);
	emit_alu(e, 4, ALU_OR, HOST_AX, emit_register(HOST_CX));
	dbt_emit_flags(t, FLAGS_EXPLICIT, HOST_AX, HOST_NONE);
	return true;
}

/* CMC, CLC, STC. For an ADC or SBB that follows, the real one. */
bool dbt_emit_carry_flag(struct translation *t, const struct uop *u, unsigned i)
{
	static const struct { uint8_t real; enum emit_alu alu; int32_t by; } how[] = { { 0xf5, ALU_XOR, 1 }, { 0xf8, ALU_AND, ~1 }, { 0xf9, ALU_OR, 1 } };
	if (dbt_flags_only_real(u) && (i || t->carry)) {
		emit_bytes(t->e, &how[i].real, 1);
		t->recipe.pending = false;
		t->flags = -1;
		t->live = LIVE_CARRY;
		return true;
	}
	shift_all_flags(t);
	emit_alu_imm(t->e, 4, how[i].alu, emit_register(HOST_AX), how[i].by);
	dbt_emit_flags(t, FLAGS_EXPLICIT, HOST_AX, HOST_NONE);
	return true;
}

bool dbt_emit_salc(struct translation *t, const struct uop *u, unsigned i)
{
	(void)u, (void)i;
	dbt_flush_flags(t);
	unsigned cc = dbt_emit_condition(t, CC_B);
	emit_op(t->e, 1, OP_SETCC | cc, 0, dbt_guest(REG_AX));
	emit_op(t->e, 1, OP_GROUP3, 3, dbt_guest(REG_AX)); /* NEG */
	t->live = LIVE_NONE;
	return true;
}
