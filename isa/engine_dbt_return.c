/*
 * Calls and returns: a guest's near CALL is a real one, so that the real processor predicts where a guest's RET goes.
 *
 * Invariant: a real return address leads to code that compares where the guest returns to, in r11, with the offset behind its CALL, and goes on as the cache's table would: it is linked
 * only while the table holds the block of that offset (dbt_return_cut()), and the mode key that was at the CALL, but for KEY_USER where tags tell user from supervisor, is at the RET, too
 * (return_forget). So calls and returns that do not match, a stack that the guest switches, exits and faults cost a lookup and change nothing.
 *
 * The real stack, from the top: what stub_enter() saved (cpu->real_stack), return_empty, then at most RETURN_DEPTH return addresses; they are all forgotten when code is left, and when
 * there is no room for more. C is called on it, aligned anew (emit_call_c()).
 */
#include "engine_dbt.h"

enum { RETURN_DEPTH = 1024 }; /* 8 KiB: a loop that calls and never returns must end somewhere, within what is cached */

/* sp = as after stub_enter(): return_empty on top. */
static void return_reset(struct emit *e)
{
	emit_op(e, 8, OP_LOAD, HOST_SP, DBT_FIELD(real_stack));
	emit_op(e, 8, OP_LEA, HOST_SP, emit_memory(HOST_SP, -8));
}

void dbt_return_enter(struct emit *e, unsigned empty)
{
	emit_op(e, 8, OP_STORE, HOST_SP, DBT_FIELD(real_stack));
	emit_op(e, 8, OP_LEA, HOST_CX, emit_memory(HOST_SP, -8 * RETURN_DEPTH));
	emit_op(e, 8, OP_STORE, HOST_CX, DBT_FIELD(real_floor));
	emit_push(e, empty);
}

/* block_target() by the cache's table: goes to the block at r11, or leaves. */
static void return_lookup(struct dbt *d, struct emit *e, unsigned variant)
{
	emit_op(e, 8, OP_LOAD, HOST_DX, DBT_FIELD(block));
	dbt_emit_table(e, HOST_11);
	emit_alu(e, 8, ALU_CMP, HOST_11, emit_memory(HOST_CX, offsetof(struct block, pc)));
	uint8_t *other = emit_jump_if(e, CC_NZ);
	emit_op(e, 4, OP_LOAD, HOST_DX, emit_memory(HOST_DX, offsetof(struct block, key)));
	emit_alu(e, 4, ALU_CMP, HOST_DX, emit_memory(HOST_CX, offsetof(struct block, key)));
	uint8_t *mode = emit_jump_if(e, CC_NZ);
	emit_op(e, 4, OP_GROUP5, 4, dbt_block_code(HOST_CX, variant)); /* JMP */
	emit_patch(other, e->at);
	emit_patch(mode, e->at);
	emit_mov_imm(e, HOST_DX, 0);
	emit_jump_to(e, d->exit_return);
}

void dbt_return_stubs(struct dbt *d)
{
	struct emit *e = &d->emit;
	for (unsigned variant = 0; variant < DBT_VARIANTS; variant++) {
		d->return_empty[variant] = e->at;
		emit_op(e, 8, OP_LEA, HOST_SP, emit_memory(HOST_SP, -8)); /* it stays */
		d->return_lookup[variant] = e->at;
		return_lookup(d, e, variant);
		d->return_forget[variant] = e->at;
		return_reset(e);
		emit_op(e, 4, OP_GROUP5, 4, dbt_block_code(HOST_CX, variant));
	}
}

uint8_t *dbt_emit_room(struct translation *t)
{
	emit_alu(t->e, 8, ALU_CMP, HOST_SP, DBT_FIELD(real_floor));
	return emit_jump_if(t->e, CC_B);
}

/* Behind the real call, which is at `call`; `full` from dbt_emit_room(). */
void dbt_emit_landing(struct translation *t, uint8_t *full, const uint8_t *call)
{
	struct emit *e = t->e;
	struct dbt_link *l = &t->code->link[DBT_RETURN];
	uint64_t pc = t->b->next_pc[1];
	if (pc == (uint64_t)(int64_t)(int32_t)pc) {
		emit_alu_imm(e, 8, ALU_CMP, emit_register(HOST_11), (int32_t)pc);
	} else {
		emit_mov_imm(e, HOST_CX, pc);
		emit_alu(e, 8, ALU_CMP, HOST_11, emit_register(HOST_CX));
	}
	l->site = emit_jump_if(e, CC_Z);
	l->behind = e->at;
	emit_jump_to(e, t->d->return_lookup[t->d->variant]);
	l->out = e->at;
	emit_patch(l->site, l->out);
	emit_mov_imm(e, HOST_DX, (uint64_t)(uintptr_t)l);
	emit_jump_to(e, t->d->exit_return);
	emit_patch(full, e->at);
	return_reset(e);
	emit_jump_to(e, call);
}

bool dbt_emit_ret(struct translation *t, const struct uop *u)
{
	struct emit *e = t->e;
	unsigned size = t->b->key & KEY_CODE_SIZE, sp = dbt_host[REG_SP];
	int32_t by = (int32_t)u->size + (int32_t)u->imm; /* imm: 16 bits */
	if (dbt_host[u->a] != HOST_11)
		return false;
	emit_op(e, size == 8 ? 8 : t->b->key & KEY_STACK16 ? 2 : 4, OP_LEA, sp, emit_memory(sp, by));
	emit_ret(e);
	return true;
}
