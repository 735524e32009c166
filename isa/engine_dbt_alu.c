/*
 * Emitters of moves, integer arithmetic and conditions.
 *
 * Invariant: isa/engine_dbt_alu.h.
 */
#include "engine_dbt_alu.h"

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

void dbt_emit_ea(struct translation *t, unsigned size, unsigned to, const struct uop *u, bool indexed)
{
	struct emit *e = t->e;
	indexed = indexed && u->index != REG_ZERO;
	if (u->a == REG_ZERO && !indexed) {
		emit_mov_imm(e, to, size == 4 ? (uint32_t)u->disp : (uint64_t)(int64_t)u->disp);
		return;
	}
	unsigned base = u->a == REG_ZERO ? (unsigned)HOST_NONE : dbt_read(t, u->a, HOST_AX);
	struct emit_place place = indexed ? emit_indexed(base, dbt_read(t, u->index, HOST_CX), u->scale, u->disp) : emit_memory(base, u->disp);
	if (!indexed && u->disp == 0)
		emit_op(e, size, OP_LOAD, to, emit_register(base));
	else
		emit_op(e, size, OP_LEA, to, place);
}

static bool emit_lea(struct translation *t, const struct uop *u, unsigned i) /* lea, lea32, lea16, lea_bd, lea_seg */
{
	unsigned to = i == 4 ? HOST_AX : dbt_target(u->dst, HOST_AX);
	dbt_emit_ea(t, i == 1 || i == 2 ? 4 : 8, to, u, i != 3);
	if (i == 2)
		emit_op(t->e, 4, OP_MOVZX16, to, emit_register(to));
	if (i == 4) {
		emit_op(t->e, 8, OP_LOAD, HOST_CX, dbt_field(offsetof(struct cpu, seg) + u->seg * sizeof(struct segment) + offsetof(struct segment, base)));
		emit_op(t->e, 8, OP_LEA, HOST_AX, emit_indexed(HOST_AX, HOST_CX, 0, 0));
		dbt_write(t, u->dst, HOST_AX);
		return true;
	}
	dbt_written(t, u->dst, to);
	return true;
}

static bool emit_add_sp(struct translation *t, const struct uop *u, unsigned i)
{
	unsigned sp = dbt_host[REG_SP];
	(void)i;
	if (u->imm == 0xffff) {
		emit_op(t->e, 4, OP_LEA, HOST_AX, emit_memory(sp, u->disp));
		emit_op(t->e, 2, OP_STORE, HOST_AX, emit_register(sp));
	} else {
		emit_op(t->e, u->imm == 0xffffffff ? 4 : 8, OP_LEA, sp, emit_memory(sp, u->disp));
	}
	return true;
}

static bool emit_geth(struct translation *t, const struct uop *u, unsigned i)
{
	(void)i;
	emit_op(t->e, 4, OP_LOAD, HOST_AX, dbt_guest(u->a));
	emit_bytes(t->e, "\x0f\xb6\xc4", 3); /* MOVZX eax, ah */
	dbt_write(t, u->dst, HOST_AX);
	return true;
}

static bool emit_puth(struct translation *t, const struct uop *u, unsigned i)
{
	(void)i;
	emit_op(t->e, 8, OP_LOAD, HOST_CX, dbt_guest(u->dst));
	emit_op(t->e, 4, OP_LOAD, HOST_AX, dbt_guest(u->a));
	emit_bytes(t->e, "\x88\xc5", 2); /* MOV ch, al */
	dbt_write(t, u->dst, HOST_CX);
	return true;
}

static bool emit_bswap(struct translation *t, const struct uop *u, unsigned i)
{
	unsigned to = dbt_target(u->dst, HOST_AX);
	if (to == HOST_AX)
		emit_op(t->e, 8, OP_LOAD, HOST_AX, dbt_guest(u->dst));
	emit_bswap_register(t->e, i ? 8 : 4, to);
	dbt_written(t, u->dst, to);
	return true;
}

static bool emit_xchg(struct translation *t, const struct uop *u, unsigned lg)
{
	dbt_emit_operand(t, lg, HOST_AX, u->dst);
	dbt_emit_operand(t, lg, HOST_CX, u->a);
	emit_result(t, lg, u->dst, HOST_CX);
	emit_result(t, lg, u->a, HOST_AX);
	return true;
}

static bool emit_cwd(struct translation *t, const struct uop *u, unsigned i) /* 16, 32, 64 */
{
	static const char *const code[] = { "\x66\x99", "\x99", "\x48\x99" };
	(void)u;
	emit_op(t->e, 8, OP_LOAD, HOST_AX, dbt_guest(REG_AX));
	emit_bytes(t->e, code[i], i == 1 ? 1 : 2);
	emit_result(t, i + LG16, REG_DX, HOST_DX);
	return true;
}

/* ---- two operands ---- */
enum { TWO_FLAGS = 1, TWO_STORE = 2 };

static unsigned two_kind(enum emit_alu alu) { return alu == ALU_ADD ? FLAGS_ADD : alu == ALU_SUB ? FLAGS_SUB : FLAGS_LOGIC; }

/* place(dst) op= b, or imm. */
static void emit_on_place(struct translation *t, enum emit_alu alu, unsigned lg, unsigned dst, unsigned b, bool immediate, uint64_t imm)
{
	struct emit *e = t->e;
	unsigned size = 1u << lg, from = HOST_CX;
	if (immediate && (lg < LG64 || alu_fits(imm))) {
		emit_alu_imm(e, size, alu, dbt_guest(dst), (int32_t)imm);
		return;
	}
	if (immediate)
		emit_mov_imm(e, HOST_CX, imm);
	else if (dbt_host[dst] != HOST_NONE) {
		emit_alu(e, size, alu, dbt_host[dst], dbt_guest(b));
		return;
	} else
		from = dbt_read(t, b, HOST_CX);
	emit_op(e, size, alu * 8 + 1, from, dbt_guest(dst));
}

static void emit_two_in_place(struct translation *t, const struct uop *u, enum emit_alu alu, unsigned lg, bool immediate, bool flags)
{
	uint64_t imm = alu_cut(lg, u->imm);
	unsigned kind = two_kind(alu), same = !immediate && u->b == u->dst && kind != FLAGS_LOGIC;
	if (flags && same) /* the source is about to be lost */
		dbt_emit_operand(t, lg, HOST_CX, u->b), emit_op(t->e, 8, OP_STORE, HOST_CX, DBT_FIELD(flags.source));
	emit_on_place(t, alu, lg, u->dst, u->b, immediate, imm);
	if (!flags)
		return;
	t->live = LIVE_ALL;
	if (same) {
		dbt_emit_operand(t, lg, HOST_AX, u->dst);
		dbt_emit_flags(t, kind | lg, HOST_AX, HOST_NONE);
	} else {
		dbt_flags_later(t, (struct dbt_recipe){ .op = (uint8_t)(kind | lg), .result = u->dst, .source = immediate ? REG_ZERO : u->b, .imm = imm });
	}
}

/* ax = a alu b; the flags are stored at once: at the end of a block, and where the operands are not kept. */
static void emit_two_aside(struct translation *t, const struct uop *u, enum emit_alu alu, unsigned lg, bool immediate, unsigned what)
{
	struct emit *e = t->e;
	unsigned size = 1u << lg, kind = two_kind(alu);
	uint64_t imm = alu_cut(lg, u->imm);
	bool direct = immediate && (lg < LG64 || alu_fits(imm)), sourced = (what & TWO_FLAGS) && kind != FLAGS_LOGIC;
	if (immediate && (!direct || (sourced && !alu_fits(imm))))
		emit_mov_imm(e, HOST_CX, imm);
	else if (!immediate && (sourced || lg < LG32))
		dbt_emit_operand(t, lg, HOST_CX, u->b);
	dbt_emit_operand(t, lg, HOST_AX, u->a);
	if (direct)
		emit_alu_imm(e, size, alu, emit_register(HOST_AX), (int32_t)imm);
	else
		emit_alu(e, size, alu, HOST_AX, immediate || sourced || lg < LG32 ? emit_register(HOST_CX) : dbt_guest(u->b));
	if (what & TWO_FLAGS) {
		emit_widen(t, lg, HOST_AX);
		if (sourced && immediate && alu_fits(imm))
			emit_store_imm(e, 8, DBT_FIELD(flags.source), (int32_t)imm), sourced = false;
		dbt_emit_flags(t, kind | lg, HOST_AX, sourced ? HOST_CX : HOST_NONE);
		t->live = LIVE_ALL;
	}
	if (what & TWO_STORE)
		emit_result(t, lg, u->dst, HOST_AX);
}

static bool emit_alu_row(struct translation *t, const struct uop *u, unsigned i, enum emit_alu alu)
{
	unsigned lg = i >> 2;
	bool immediate = i & 2, flags = !(i & 1);
	if (alu_in_place(u, lg))
		emit_two_in_place(t, u, alu, lg, immediate, flags);
	else
		emit_two_aside(t, u, alu, lg, immediate, TWO_STORE | (flags ? TWO_FLAGS : 0));
	return true;
}
static bool emit_add(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_ADD); }
static bool emit_or(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_OR); }
static bool emit_and(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_AND); }
static bool emit_sub(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_SUB); }
static bool emit_xor(struct translation *t, const struct uop *u, unsigned i) { return emit_alu_row(t, u, i, ALU_XOR); }

static bool emit_compare(struct translation *t, const struct uop *u, unsigned i, bool logic)
{
	unsigned lg = i >> 1, b = i & 1 ? REG_ZERO : u->b;
	if (t->last) {
		emit_two_aside(t, u, logic ? ALU_AND : ALU_SUB, lg, i & 1, TWO_FLAGS);
		return true;
	}
	struct dbt_recipe r = { .compare = true, .op = (uint8_t)((logic ? FLAGS_LOGIC : FLAGS_SUB) | lg), .result = u->a, .source = (uint8_t)b, .imm = i & 1 ? alu_cut(lg, u->imm) : 0 };
	dbt_emit_compare(t, logic, lg, u->a, b, r.imm);
	dbt_flags_later(t, r);
	t->live = LIVE_ALL;
	return true;
}
static bool emit_cmp(struct translation *t, const struct uop *u, unsigned i) { return emit_compare(t, u, i, false); }
static bool emit_test(struct translation *t, const struct uop *u, unsigned i) { return emit_compare(t, u, i, true); }

/* ADC, SBB: the carry goes in as a real one, and is remembered. */
static bool emit_with_carry(struct translation *t, const struct uop *u, unsigned i, bool borrow)
{
	struct emit *e = t->e;
	unsigned lg = i >> 2;
	enum emit_alu alu = borrow ? ALU_SBB : ALU_ADC;
	uint64_t imm = alu_cut(lg, u->imm);
	bool immediate = i & 2, flags = !(i & 1);
	if (!t->carry && (t->flags < 0 || !dbt_emit_real_flags(t, CC_B)))
		dbt_emit_carry(t);
	t->live = LIVE_NONE;
	if (!flags && alu_in_place(u, lg)) {
		emit_on_place(t, alu, lg, u->dst, u->b, immediate, imm);
		return true;
	}
	if (immediate)
		emit_mov_imm(e, HOST_CX, imm);
	else
		dbt_emit_operand(t, lg, HOST_CX, u->b);
	if (flags) {
		emit_op(e, 1, OP_SETCC | CC_B, 0, emit_register(HOST_DX));
		emit_op(e, 4, OP_MOVZX8, HOST_DX, emit_register(HOST_DX));
		emit_op(e, 8, OP_STORE, HOST_DX, DBT_FIELD(flags.extra));
	}
	dbt_emit_operand(t, lg, HOST_AX, u->a);
	emit_alu(e, 1u << lg, alu, HOST_AX, emit_register(HOST_CX));
	if (flags) {
		emit_widen(t, lg, HOST_AX);
		dbt_emit_flags(t, (borrow ? FLAGS_SBB : FLAGS_ADC) | lg, HOST_AX, HOST_CX);
		t->live = LIVE_ALL;
	}
	emit_result(t, lg, u->dst, HOST_AX);
	return true;
}
static bool emit_adc(struct translation *t, const struct uop *u, unsigned i) { return emit_with_carry(t, u, i, false); }
static bool emit_sbb(struct translation *t, const struct uop *u, unsigned i) { return emit_with_carry(t, u, i, true); }

/* ---- one operand ---- */
static bool emit_step(struct translation *t, const struct uop *u, unsigned i, bool dec)
{
	unsigned lg = i >> 1;
	bool flags = !(i & 1);
	if (flags)
		dbt_emit_keep_carry(t);
	if (alu_in_place(u, lg)) {
		emit_op(t->e, 1u << lg, 0xff, dec, dbt_guest(u->dst));
		if (flags)
			dbt_flags_later(t, (struct dbt_recipe){ .op = (uint8_t)((dec ? FLAGS_DEC : FLAGS_INC) | lg), .result = u->dst, .source = REG_ZERO });
	} else {
		dbt_emit_operand(t, lg, HOST_AX, u->a);
		emit_op(t->e, 1u << lg, 0xff, dec, emit_register(HOST_AX));
		if (flags) {
			emit_widen(t, lg, HOST_AX);
			dbt_emit_flags(t, (dec ? FLAGS_DEC : FLAGS_INC) | lg, HOST_AX, HOST_NONE);
		}
		emit_result(t, lg, u->dst, HOST_AX);
	}
	if (flags)
		t->live = LIVE_OVERFLOW | LIVE_REST | (t->carry ? LIVE_CARRY : 0);
	return true;
}
static bool emit_inc(struct translation *t, const struct uop *u, unsigned i) { return emit_step(t, u, i, false); }
static bool emit_dec(struct translation *t, const struct uop *u, unsigned i) { return emit_step(t, u, i, true); }

static bool emit_neg(struct translation *t, const struct uop *u, unsigned i)
{
	unsigned lg = i >> 1;
	if ((i & 1) && alu_in_place(u, lg)) {
		emit_op(t->e, 1u << lg, OP_GROUP3, 3, dbt_guest(u->dst));
		return true;
	}
	dbt_emit_operand(t, lg, HOST_CX, u->a);
	emit_op(t->e, 8, OP_LOAD, HOST_AX, emit_register(HOST_CX));
	emit_op(t->e, 1u << lg, OP_GROUP3, 3, emit_register(HOST_AX));
	if (!(i & 1)) {
		emit_widen(t, lg, HOST_AX);
		dbt_emit_flags(t, FLAGS_SUB | lg, HOST_AX, HOST_CX);
		t->live = LIVE_ALL;
	}
	emit_result(t, lg, u->dst, HOST_AX);
	return true;
}

static bool emit_not(struct translation *t, const struct uop *u, unsigned lg)
{
	if (alu_in_place(u, lg)) {
		emit_op(t->e, 1u << lg, OP_GROUP3, 2, dbt_guest(u->dst));
		return true;
	}
	dbt_emit_operand(t, lg, HOST_AX, u->a);
	emit_op(t->e, 1u << lg, OP_GROUP3, 2, emit_register(HOST_AX));
	emit_result(t, lg, u->dst, HOST_AX);
	return true;
}

/* ---- multiplication into one register ---- */
/* `low` = the product's low half, zero-extended; the real OF: CF = OF = it does not fit. Changes cx. */
static void emit_product_flags(struct translation *t, unsigned lg, unsigned low)
{
	int32_t both = FLAG_CF | FLAG_OF;
	emit_op(t->e, 1, OP_SETCC | CC_O, 0, emit_register(HOST_CX));
	emit_op(t->e, 4, OP_MOVZX8, HOST_CX, emit_register(HOST_CX));
	emit_op(t->e, 4, 0x69, HOST_CX, emit_register(HOST_CX));
	emit_bytes(t->e, &both, 4);
	dbt_emit_flags(t, FLAGS_PARTIAL | lg, low, HOST_CX);
}

static bool emit_imul(struct translation *t, const struct uop *u, unsigned i)
{
	struct emit *e = t->e;
	unsigned lg = i % 6 / 2 + LG16, size = 1u << lg;
	bool flags = !(i & 1);
	if (i >= 6 && lg == LG64 && !alu_fits(u->imm))
		return false;
	unsigned to = flags || lg == LG16 ? HOST_AX : dbt_target(u->dst, HOST_AX);
	if (i >= 6) {
		int32_t imm = (int32_t)u->imm;
		emit_op(e, size, 0x69, to, dbt_guest(u->a));
		emit_bytes(e, &imm, lg == LG16 ? 2 : 4);
		emit_widen(t, lg, to);
	} else {
		if (u->dst != u->a && u->dst == u->b)
			to = HOST_AX;
		if (to == HOST_AX || u->dst != u->a)
			dbt_emit_operand(t, lg, to, u->a);
		emit_op(e, size, OP_IMUL, to, dbt_guest(u->b));
	}
	if (flags)
		emit_product_flags(t, lg, HOST_AX);
	if (to == HOST_AX)
		emit_result(t, lg, u->dst, HOST_AX);
	return true;
}

/* ---- into AX and DX ---- */
/* What MUL, DIV and kin leave in ax and dx; of bytes, in ax alone. */
static void emit_halves(struct translation *t, unsigned lg)
{
	emit_result(t, lg == LG8 ? LG16 : lg, REG_AX, HOST_AX);
	if (lg != LG8)
		emit_result(t, lg, REG_DX, HOST_DX);
}

static bool emit_product(struct translation *t, const struct uop *u, unsigned lg, bool is_signed)
{
	dbt_emit_operand(t, lg, HOST_AX, REG_AX);
	emit_op(t->e, 1u << lg, OP_GROUP3, is_signed ? 5 : 4, dbt_guest(u->a));
	if (lg == LG8)
		emit_op(t->e, 4, OP_MOVZX8, HOST_DX, emit_register(HOST_AX));
	if (!dbt_flags_dead_after(u))
		emit_product_flags(t, lg, lg == LG8 ? HOST_DX : HOST_AX);
	emit_halves(t, lg);
	return true;
}
static bool emit_mul(struct translation *t, const struct uop *u, unsigned lg) { return emit_product(t, u, lg, false); }
static bool emit_imul_one(struct translation *t, const struct uop *u, unsigned lg) { return emit_product(t, u, lg, true); }

/* dx = the high half of the dividend, ax = the low one; of bytes, ax = all of it, and dx its high byte. */
static void emit_dividend(struct translation *t, unsigned lg)
{
	dbt_emit_operand(t, lg == LG8 ? LG16 : lg, HOST_AX, REG_AX);
	if (lg != LG8) {
		dbt_emit_operand(t, lg, HOST_DX, REG_DX);
		return;
	}
	emit_op(t->e, 4, OP_LOAD, HOST_DX, emit_register(HOST_AX));
	emit_shift_imm(t->e, 4, SHIFT_SHR, emit_register(HOST_DX), 8);
}

/* A quotient that would not fit, or a divisor of 0: the high half is not below the divisor, and the C function raises. */
static bool emit_div(struct translation *t, const struct uop *u, unsigned lg)
{
	dbt_emit_operand(t, lg, HOST_CX, u->a);
	emit_dividend(t, lg);
	emit_alu(t->e, 1u << lg, ALU_CMP, HOST_DX, emit_register(HOST_CX));
	dbt_emit_slow(t, u, emit_jump_if(t->e, CC_AE));
	emit_op(t->e, 1u << lg, OP_GROUP3, 6, emit_register(HOST_CX));
	emit_halves(t, lg);
	return true;
}

/* With a dividend that is AX's sign extended (CBW or CDQ came before) and a divisor that is neither 0 nor -1 every quotient fits; the rest is left to the C function. */
static bool emit_idiv(struct translation *t, const struct uop *u, unsigned lg)
{
	static const char *const extend[] = { "\x66\x98", "\x66\x99", "\x99", "\x48\x99" }; /* CBW, CWD, CDQ, CQO */
	struct emit *e = t->e;
	unsigned size = 1u << lg;
	dbt_emit_operand(t, lg, HOST_CX, u->a);
	emit_op(e, 8, OP_LEA, HOST_AX, emit_memory(HOST_CX, 1));
	emit_alu_imm(e, size, ALU_CMP, emit_register(HOST_AX), 1);
	dbt_emit_slow(t, u, emit_jump_if(e, CC_BE));
	dbt_emit_operand(t, lg, HOST_AX, REG_AX);
	emit_bytes(e, extend[lg], lg == LG32 ? 1 : 2);
	emit_alu(e, lg == LG8 ? 2 : size, ALU_CMP, lg == LG8 ? HOST_AX : HOST_DX, dbt_guest(lg == LG8 ? REG_AX : REG_DX));
	dbt_emit_slow(t, u, emit_jump_if(e, CC_NZ));
	emit_op(e, size, OP_GROUP3, 7, emit_register(HOST_CX));
	emit_halves(t, lg);
	return true;
}

/* ---- bits ---- */
/* BSF, BSR: flags as of a logic operation on the source; nothing is written for 0. */
static bool emit_scan(struct translation *t, const struct uop *u, unsigned i)
{
	struct emit *e = t->e;
	unsigned lg = i % 3 + LG16;
	dbt_emit_operand(t, lg, HOST_AX, u->a);
	emit_op(e, lg == LG64 ? 8 : 4, i < 3 ? 0x0fbc : 0x0fbd, HOST_CX, emit_register(HOST_AX));
	uint8_t *none = emit_jump_if(e, CC_Z);
	emit_result(t, lg, u->dst, HOST_CX);
	emit_patch(none, e->at);
	dbt_emit_flags(t, FLAGS_LOGIC | lg, HOST_AX, HOST_NONE);
	return true;
}

/* BT, BTS, BTR, BTC: the carry alone changes. */
static bool emit_bit(struct translation *t, const struct uop *u, unsigned i)
{
	struct emit *e = t->e;
	unsigned lg = i % 3 + LG16, which = i / 3, size = 1u << lg;
	bool flags = !dbt_flags_dead_after(u);
	if (flags)
		dbt_flush_flags(t);
	dbt_emit_operand(t, lg, HOST_AX, u->a);
	emit_op(e, 4, OP_LOAD, HOST_CX, dbt_guest(u->b));
	emit_op(e, size, OP_BT + 8 * which, HOST_CX, emit_register(HOST_AX));
	if (flags) {
		emit_op(e, 1, OP_SETCC | CC_B, 0, emit_register(HOST_CX));
		if (which)
			emit_result(t, lg, u->dst, HOST_AX);
		emit_op(e, 4, OP_MOVZX8, HOST_CX, emit_register(HOST_CX));
		dbt_emit_keeping(t, t->d->call_set_carry);
		t->flags = FLAGS_EXPLICIT;
	} else if (which) {
		emit_result(t, lg, u->dst, HOST_AX);
	}
	return true;
}

/* dst = a + the bytes before the operand that bit b is in. */
static bool emit_bit_address(struct translation *t, const struct uop *u, unsigned i)
{
	struct emit *e = t->e;
	unsigned lg = u->size == 8 ? LG64 : u->size == 4 ? LG32 : LG16;
	(void)i;
	emit_op(e, 8, lg == LG64 ? OP_LOAD : lg == LG32 ? OP_MOVSXD : OP_MOVSX16, HOST_CX, dbt_guest(u->b));
	emit_shift_imm(e, 8, SHIFT_SAR, emit_register(HOST_CX), lg + 3);
	emit_op(e, 8, OP_LEA, HOST_AX, emit_indexed(dbt_read(t, u->a, HOST_AX), HOST_CX, lg, 0));
	dbt_write(t, u->dst, HOST_AX);
	return true;
}

/* CMPXCHG: equal: dst = b. Unequal: the accumulator and dst = the old value. */
static bool emit_cmpxchg(struct translation *t, const struct uop *u, unsigned lg)
{
	struct emit *e = t->e;
	unsigned size = 1u << lg;
	if (u->dst == REG_AX || u->b == u->dst)
		return false;
	dbt_emit_operand(t, lg, HOST_CX, u->a);
	dbt_emit_operand(t, lg, HOST_AX, REG_AX);
	emit_alu(e, size, ALU_SUB, HOST_AX, emit_register(HOST_CX));
	dbt_emit_flags(t, FLAGS_SUB | lg, HOST_AX, HOST_CX);
	dbt_emit_operand(t, lg, HOST_DX, u->b);
	uint8_t *equal = emit_jump_if(e, CC_Z);
	emit_result(t, lg, REG_AX, HOST_CX);
	emit_op(e, 8, OP_LOAD, HOST_DX, emit_register(HOST_CX));
	emit_patch(equal, e->at);
	emit_result(t, lg, u->dst, HOST_DX);
	t->live = LIVE_ALL;
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

/* ---- other flags ---- */
static bool emit_direction(struct translation *t, const struct uop *u, unsigned i) /* CLD, STD */
{
	(void)u;
	emit_alu_imm(t->e, 4, i ? ALU_OR : ALU_AND, DBT_FIELD(eflags), i ? (int32_t)FLAG_DF : ~(int32_t)FLAG_DF);
	return true;
}

/* In 64-bit code a target that 48 bits do not hold is left to the C function, which knows of 57; in flat 32-bit code none is refused. */
static bool emit_check_target(struct translation *t, const struct uop *u, unsigned i)
{
	struct emit *e = t->e;
	(void)i;
	if ((t->b->key & KEY_CODE_SIZE) != 8)
		return false;
	emit_op(e, 8, OP_LOAD, HOST_AX, dbt_guest(u->a));
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_register(HOST_AX));
	emit_shift_imm(e, 8, SHIFT_SHL, emit_register(HOST_CX), 16);
	emit_shift_imm(e, 8, SHIFT_SAR, emit_register(HOST_CX), 16);
	emit_alu(e, 8, ALU_CMP, HOST_AX, emit_register(HOST_CX));
	dbt_emit_slow(t, u, emit_jump_if(e, CC_NZ));
	return true;
}

/* ---- the rows ---- */
struct alu_range {
	uint16_t first, count;
	bool keeps; /* the real flags */
	dbt_alu_fn *emit;
};

static bool emit_nop(struct translation *t, const struct uop *u, unsigned i) { return (void)t, (void)u, (void)i, true; }

static const struct alu_range alu_ranges[] = { /* ORDER OP: ascending; counts follow uops.def */
	{ UOP_nop, 1, true, emit_nop },
	{ UOP_mov8, 4, true, emit_mov },
	{ UOP_movi8, 3, true, emit_movi },
	{ UOP_movz8, 2, true, emit_movz },
	{ UOP_movs8_16, 6, true, emit_movs },
	{ UOP_geth, 1, true, emit_geth },
	{ UOP_puth, 1, true, emit_puth },
	{ UOP_lea, 5, true, emit_lea },
	{ UOP_bswap32, 2, true, emit_bswap },
	{ UOP_xchg8, 4, true, emit_xchg },
	{ UOP_cwd16, 3, true, emit_cwd },
	{ UOP_add8_rr, 16, false, emit_add },
	{ UOP_or8_rr, 16, false, emit_or },
	{ UOP_adc8_rr, 16, false, emit_adc },
	{ UOP_sbb8_rr, 16, false, emit_sbb },
	{ UOP_and8_rr, 16, false, emit_and },
	{ UOP_sub8_rr, 16, false, emit_sub },
	{ UOP_xor8_rr, 16, false, emit_xor },
	{ UOP_cmp8_rr, 8, false, emit_cmp },
	{ UOP_test8_rr, 8, false, emit_test },
	{ UOP_inc8, 8, false, emit_inc },
	{ UOP_dec8, 8, false, emit_dec },
	{ UOP_neg8, 8, false, emit_neg },
	{ UOP_not8, 4, true, emit_not },
	{ UOP_shl8_ri, 12, false, dbt_emit_shl },
	{ UOP_shr8_ri, 12, false, dbt_emit_shr },
	{ UOP_sar8_ri, 12, false, dbt_emit_sar },
	{ UOP_rol8_ri, 8, false, dbt_emit_rol },
	{ UOP_ror8_ri, 8, false, dbt_emit_ror },
	{ UOP_rcl8_ri, 8, false, dbt_emit_rcl },
	{ UOP_rcr8_ri, 8, false, dbt_emit_rcr },
	{ UOP_shld16_ri, 12, false, dbt_emit_double },
	{ UOP_mul8, 4, false, emit_mul },
	{ UOP_imul8, 4, false, emit_imul_one },
	{ UOP_imul16_rr, 12, false, emit_imul },
	{ UOP_div8, 4, false, emit_div },
	{ UOP_idiv8, 4, false, emit_idiv },
	{ UOP_bt16, 12, false, emit_bit },
	{ UOP_bit_address, 1, false, emit_bit_address },
	{ UOP_bsf16, 6, false, emit_scan },
	{ UOP_cmpxchg8, 4, false, emit_cmpxchg },
	{ UOP_set_o, 16, true, emit_set },
	{ UOP_cmov16_o, 48, true, emit_cmov },
	{ UOP_lahf, 1, false, dbt_emit_lahf },
	{ UOP_sahf, 1, false, dbt_emit_sahf },
	{ UOP_cmc, 3, false, dbt_emit_carry_flag },
	{ UOP_cld, 2, false, emit_direction },
	{ UOP_salc, 1, false, dbt_emit_salc },
	{ UOP_add_sp, 1, true, emit_add_sp },
	{ UOP_check_target, 1, false, emit_check_target },
};

static const struct alu_range *alu_find(unsigned op)
{
	unsigned low = 0, high = sizeof alu_ranges / sizeof *alu_ranges;
	while (high - low > 1) {
		unsigned middle = (low + high) / 2;
		if (alu_ranges[middle].first <= op)
			low = middle;
		else
			high = middle;
	}
	return op - alu_ranges[low].first < alu_ranges[low].count ? &alu_ranges[low] : NULL;
}

bool dbt_emits_alu(unsigned op) { return alu_find(op) != NULL; }

bool dbt_emit_alu(struct translation *t, const struct uop *u)
{
	const struct alu_range *r = alu_find(u->op);
	unsigned live = t->live;
	if (!r)
		return false;
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
