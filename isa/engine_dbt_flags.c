/*
 * The guest's arithmetic flags in translated code: real ones while they are alive, a recipe while only registers know them, the lazy words of cpu when something may look.
 *
 * Invariant: wherever C may look at cpu->flags they have been stored, in line or on the way out of line; a recipe names only registers that still hold what it was made from.
 */
#include "engine_dbt.h"
#include "flags.h"

static bool flags_fit(uint64_t v) { return v == (uint64_t)(int64_t)(int32_t)v; }
static bool flags_logic(unsigned op) { return (op & ~3u) == FLAGS_LOGIC; }
static bool flags_sourced(unsigned op) { return (op & ~3u) == FLAGS_ADD || (op & ~3u) == FLAGS_SUB; } /* of the kinds that recipes have */

void dbt_emit_operand(struct translation *t, unsigned lg, unsigned to, unsigned reg)
{
	if (lg >= 2)
		emit_op(t->e, 1u << lg, OP_LOAD, to, dbt_guest(reg));
	else
		emit_op(t->e, 4, lg ? OP_MOVZX16 : OP_MOVZX8, to, dbt_guest(reg));
}

void dbt_emit_flags(struct translation *t, unsigned op, unsigned result, unsigned source)
{
	emit_store_imm(t->e, 4, DBT_FIELD(flags.op), (int32_t)op);
	emit_op(t->e, 8, OP_STORE, result, DBT_FIELD(flags.result));
	if (source != HOST_NONE)
		emit_op(t->e, 8, OP_STORE, source, DBT_FIELD(flags.source));
	t->recipe.pending = false;
	t->flags = (int)op;
}

void dbt_flags_later(struct translation *t, struct dbt_recipe r)
{
	r.pending = true;
	t->recipe = r;
	t->flags = r.op;
}

/* ---- storing what a recipe says ---- */
/* flags.source; leaves it in cx when it is a register. */
static void recipe_source(struct translation *t, const struct dbt_recipe *r)
{
	struct emit *e = t->e;
	if (r->source == REG_ZERO && flags_fit(r->imm)) {
		emit_store_imm(e, 8, DBT_FIELD(flags.source), (int32_t)r->imm);
		return;
	}
	if (r->source == REG_ZERO)
		emit_mov_imm(e, HOST_CX, r->imm);
	else
		dbt_emit_operand(t, r->op & 3, HOST_CX, r->source);
	emit_op(e, 8, OP_STORE, HOST_CX, DBT_FIELD(flags.source));
}

/* dx = what a comparison did not keep. A difference leaves the real flags alone; a conjunction does not. */
static void recipe_compared(struct translation *t, const struct dbt_recipe *r)
{
	struct emit *e = t->e;
	unsigned lg = r->op & 3, size = 1u << lg;
	bool immediate = r->source == REG_ZERO && flags_fit(r->imm) && (int32_t)r->imm != INT32_MIN;
	dbt_emit_operand(t, lg, HOST_DX, r->result);
	if (flags_logic(r->op)) {
		if (r->source == REG_ZERO)
			emit_mov_imm(e, HOST_CX, r->imm), emit_alu(e, size, ALU_AND, HOST_DX, emit_register(HOST_CX));
		else
			emit_alu(e, size, ALU_AND, HOST_DX, dbt_guest(r->source));
	} else if (immediate) {
		emit_op(e, lg == 3 ? 8 : 4, OP_LEA, HOST_DX, emit_memory(HOST_DX, -(int32_t)r->imm));
	} else {
		if (r->source == REG_ZERO)
			emit_mov_imm(e, HOST_CX, r->imm);
		emit_op(e, 8, OP_GROUP3, 2, emit_register(HOST_CX)); /* NOT: a - b = a + ~b + 1 */
		emit_op(e, lg == 3 ? 8 : 4, OP_LEA, HOST_DX, emit_indexed(HOST_DX, HOST_CX, 0, 1));
	}
	if (lg < 2)
		emit_op(e, 4, lg ? OP_MOVZX16 : OP_MOVZX8, HOST_DX, emit_register(HOST_DX));
}

void dbt_emit_recipe(struct translation *t, const struct dbt_recipe *r)
{
	struct emit *e = t->e;
	unsigned result = HOST_DX, lg = r->op & 3;
	if (!r->pending)
		return;
	if (flags_sourced(r->op))
		recipe_source(t, r);
	if (r->compare)
		recipe_compared(t, r);
	else if (lg >= 2 && dbt_host[r->result] != HOST_NONE)
		result = dbt_host[r->result]; /* a 32-bit result has zeros above */
	else
		dbt_emit_operand(t, lg, HOST_DX, r->result);
	emit_op(e, 8, OP_STORE, result, DBT_FIELD(flags.result));
	emit_store_imm(e, 4, DBT_FIELD(flags.op), (int32_t)r->op);
}

void dbt_flush_flags(struct translation *t)
{
	if (!t->recipe.pending)
		return;
	dbt_emit_recipe(t, &t->recipe);
	if (t->recipe.compare && flags_logic(t->recipe.op))
		t->live = LIVE_NONE;
	t->recipe.pending = false;
}

/* ---- who will look ---- */
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

/* Micro-ops between which the real flags live. */
static bool flags_survive(unsigned op)
{
	return op == UOP_nop || (op >= UOP_mov8 && op <= UOP_movs32_64) || (op >= UOP_lea && op <= UOP_lea_bd && op != UOP_lea16);
}

bool dbt_flags_only_real(const struct uop *u)
{
	while (flags_survive((++u)->op))
		;
	bool carry = (u->op >= UOP_adc8_rr && u->op <= UOP_adc64_ri_nf) || (u->op >= UOP_sbb8_rr && u->op <= UOP_sbb64_ri_nf);
	return carry && ((uop_facts[u->op] & FACT_SETS) || dbt_flags_dead_after(u));
}

/* ---- real flags ---- */
void dbt_emit_keeping(struct translation *t, const uint8_t *stub)
{
	emit_call_to(t->e, stub);
	t->xmm = 0; /* C may use them */
}

void dbt_emit_carry(struct translation *t)
{
	struct emit *e = t->e;
	unsigned kind = t->flags < 0 ? 0 : (unsigned)t->flags & ~3u;
	if (kind == FLAGS_PARTIAL) { /* bit 0 of the source */
		emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(flags.source));
		emit_shift_imm(e, 4, SHIFT_SHR, emit_register(HOST_AX), 1);
		return;
	}
	if (kind == FLAGS_INC || kind == FLAGS_DEC) {
		emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(flags.extra));
		emit_alu_imm(e, 1, ALU_ADD, emit_register(HOST_AX), -1);
		return;
	}
	dbt_flush_flags(t);
	dbt_emit_keeping(t, t->d->call_carry);
	emit_alu_imm(e, 1, ALU_ADD, emit_register(HOST_AX), -1);
}

void dbt_emit_compare(struct translation *t, bool logic, unsigned lg, unsigned a, unsigned b, uint64_t imm)
{
	struct emit *e = t->e;
	unsigned size = 1u << lg;
	if (b != REG_ZERO) {
		emit_op(e, size, logic ? OP_TEST : OP_CMP, dbt_read(t, a, HOST_AX), dbt_guest(b)); /* CMP r, r/m */
	} else if (lg == 3 && !flags_fit(imm)) {
		emit_mov_imm(e, HOST_CX, imm);
		emit_op(e, size, logic ? OP_TEST : OP_CMP, dbt_read(t, a, HOST_AX), emit_register(HOST_CX));
	} else if (logic) {
		emit_op(e, size, OP_GROUP3, 0, dbt_guest(a));
		emit_bytes(e, &imm, size < 4 ? size : 4);
	} else {
		emit_alu_imm(e, size, ALU_CMP, dbt_guest(a), (int32_t)imm);
	}
}

/* ax = result, cx = source of the last writer, wherever they are. */
static void flags_operands(struct translation *t, bool source)
{
	const struct dbt_recipe *r = &t->recipe;
	struct emit *e = t->e;
	if (!r->pending)
		emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(flags.result));
	else
		dbt_emit_operand(t, r->op & 3, HOST_AX, r->result);
	if (!source)
		return;
	if (!r->pending)
		emit_op(e, 8, OP_LOAD, HOST_CX, DBT_FIELD(flags.source));
	else if (r->source == REG_ZERO)
		emit_mov_imm(e, HOST_CX, r->imm);
	else
		dbt_emit_operand(t, r->op & 3, HOST_CX, r->source);
}

bool dbt_emit_real_flags(struct translation *t, unsigned cc)
{
	static const uint8_t needs[] = { LIVE_OVERFLOW, LIVE_CARRY, LIVE_REST, LIVE_CARRY | LIVE_REST, LIVE_REST, LIVE_REST, LIVE_OVERFLOW | LIVE_REST, LIVE_OVERFLOW | LIVE_REST };
	unsigned need = needs[cc >> 1];
	if ((t->live & need) == need)
		return true;
	if (t->flags < 0)
		return false;
	unsigned kind = (unsigned)t->flags & ~3u, size = 1u << (t->flags & 3);
	struct emit *e = t->e;
	if (t->recipe.pending && t->recipe.compare) {
		dbt_emit_compare(t, kind == FLAGS_LOGIC, t->flags & 3, t->recipe.result, t->recipe.source, t->recipe.imm);
	} else if (kind == FLAGS_SUB || kind == FLAGS_ADD) { /* the first operand again, and the operation again */
		flags_operands(t, true);
		emit_alu(e, 8, kind == FLAGS_SUB ? ALU_ADD : ALU_SUB, HOST_AX, emit_register(HOST_CX));
		emit_alu(e, size, kind == FLAGS_SUB ? ALU_CMP : ALU_ADD, HOST_AX, emit_register(HOST_CX));
	} else if (kind == FLAGS_EXPLICIT) { /* the bits of AH are those of EFLAGS (SDM 2B "SAHF"); OF is not among them */
		if (need & LIVE_OVERFLOW)
			return false;
		emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(flags.result));
		emit_bytes(e, "\x88\xc4\x9e", 3); /* MOV ah, al; SAHF */
		t->live = LIVE_CARRY | LIVE_REST;
		return true;
	} else if (need == LIVE_CARRY && (kind == FLAGS_PARTIAL || kind == FLAGS_INC || kind == FLAGS_DEC)) {
		dbt_emit_carry(t);
		t->live = LIVE_CARRY;
		return true;
	} else if (kind == FLAGS_LOGIC || need == LIVE_REST) { /* ZF, SF and PF of every kind follow from the result */
		flags_operands(t, false);
		emit_op(e, size, OP_TEST, HOST_AX, emit_register(HOST_AX));
	} else {
		return false;
	}
	t->live = kind == FLAGS_SUB || kind == FLAGS_ADD || kind == FLAGS_LOGIC ? LIVE_ALL : LIVE_REST;
	return true;
}

unsigned dbt_emit_condition(struct translation *t, unsigned cc)
{
	if (dbt_emit_real_flags(t, cc))
		return cc;
	dbt_flush_flags(t);
	emit_mov_imm(t->e, HOST_CX, cc);
	dbt_emit_keeping(t, t->d->call_condition);
	emit_op(t->e, 1, OP_TEST, HOST_AX, emit_register(HOST_AX));
	t->live = LIVE_NONE;
	return CC_NZ;
}

void dbt_emit_keep_carry(struct translation *t)
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
	if (t->carry || (t->flags >= 0 && dbt_emit_real_flags(t, CC_B))) {
		emit_op(e, 1, OP_SETCC | CC_B, 0, emit_register(HOST_AX));
		emit_op(e, 4, OP_MOVZX8, HOST_AX, emit_register(HOST_AX));
		t->carry = true;
	} else {
		if (t->flags < 0) {
			emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(flags.op));
			emit_alu_imm(e, 4, ALU_SUB, emit_register(HOST_AX), FLAGS_INC);
			emit_alu_imm(e, 4, ALU_CMP, emit_register(HOST_AX), FLAGS_PARTIAL - FLAGS_INC);
			has = emit_jump_if(e, CC_B);
		}
		dbt_flush_flags(t);
		dbt_emit_keeping(t, t->d->call_carry);
	}
	emit_op(e, 8, OP_STORE, HOST_AX, DBT_FIELD(flags.extra));
	emit_patch(has, e->at);
}
