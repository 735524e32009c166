/*
 * Emitters of SSE micro-ops: moves inline, operations as a call of their function alone.
 *
 * Invariant: a function of isa/sse.h touches no integer register, so only what C may change is kept around it. When it wants an exception it has changed nothing but MXCSR's
 * flags, so the micro-op's C function does it again, and raises.
 */
#include "engine_dbt.h"
#include "sse.h"

struct emit_place dbt_xmm(unsigned i)
{
	return dbt_field(i < 16 ? offsetof(struct cpu, xmm) + i * sizeof(union xmm) : offsetof(struct cpu, xmm_temp) + (i - 16) * sizeof(union xmm));
}

static struct emit_place xmm_high(unsigned i)
{
	struct emit_place p = dbt_xmm(i);
	p.disp += 8;
	return p;
}

static void sse_put(struct translation *t, unsigned dst) /* ax, zero-extended */
{
	emit_op(t->e, 8, OP_STORE, HOST_AX, dbt_xmm(dst));
	emit_store_imm(t->e, 8, xmm_high(dst), 0);
}

static void sse_call(struct translation *t, const struct uop *u)
{
	const struct sse_op *op = (const struct sse_op *)(uintptr_t)u->imm;
	struct emit *e = t->e;
	emit_op(e, 8, OP_LEA, HOST_DX, dbt_xmm(u->a));
	emit_mov_imm(e, HOST_CX, (uint64_t)(dbt_xmm(u->dst).disp + DBT_BIAS) << 8 | u->size);
	emit_mov_imm(e, HOST_AX, (uint64_t)(uintptr_t)op->fn);
	emit_call_to(e, t->d->call_sse);
	dbt_emit_slow(t, u, emit_jump_if(e, CC_Z));
	if (op->sets_flags) {
		t->flags = -1;
		t->recipe.pending = false; /* the function has stored flags: those of a writer before it must not come over them */
	}
}

bool dbt_emit_sse(struct translation *t, const struct uop *u)
{
	struct emit *e = t->e;
	unsigned live = t->live, size = u->size == 8 ? 8 : 4, to;
	t->live = LIVE_NONE;
	switch (u->op) {
	case UOP_sse:
		sse_call(t, u);
		return true;
	case UOP_x_mov:
		emit_op(e, 4, OP_MOVUPS_LOAD, 0, dbt_xmm(u->a));
		emit_op(e, 4, OP_MOVUPS_STORE, 0, dbt_xmm(u->dst));
		break;
	case UOP_x_from_gpr:
		emit_op(e, size, OP_LOAD, HOST_AX, dbt_guest(u->a));
		sse_put(t, u->dst);
		break;
	case UOP_x_from_imm:
		emit_mov_imm(e, HOST_AX, u->imm);
		sse_put(t, u->dst);
		break;
	case UOP_x_to_gpr:
		to = dbt_target(u->dst, HOST_AX);
		emit_op(e, size, OP_LOAD, to, dbt_xmm(u->a));
		dbt_written(t, u->dst, to);
		break;
	default:
		return false;
	}
	t->live = live;
	return true;
}
