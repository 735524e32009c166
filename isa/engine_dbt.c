/* The translator's run loop and stubs. */
#include "engine_dbt.h"
#include "engine_run.h"
#include "flags.h"
#include "uop_control.h"

enum {
	CODE_LEAST = 4 << 20, CODE_MOST = 64 << 20, /* bytes of code memory: as much as blocks may use, within these */
	HEAT = 2, /* runs of a block before it is translated: most code of a start-up, and code that is written anew all the time, is run less often */
	HEAT_NEVER = 255, /* it has more code than a region */
};

/* Callee-saved real registers for what a call most often leaves alone has no use here: every call spills. REG_SINK is written only. */
const uint8_t dbt_host[REG_COUNT] = {
	[REG_AX] = HOST_BX, [REG_CX] = HOST_12, [REG_DX] = HOST_13, [REG_BX] = HOST_14, [REG_SP] = HOST_15, [REG_BP] = HOST_DI, [REG_SI] = HOST_SI, [REG_DI] = HOST_8, [REG_R8] = HOST_NONE,
	[REG_R9] = HOST_NONE, [REG_R10] = HOST_NONE, [REG_R11] = HOST_NONE, [REG_R12] = HOST_NONE, [REG_R13] = HOST_NONE, [REG_R14] = HOST_NONE, [REG_R15] = HOST_NONE, [REG_T0] = HOST_11,
	[REG_T1] = HOST_NONE, [REG_T2] = HOST_NONE, [REG_T3] = HOST_NONE, [REG_T4] = HOST_NONE, [REG_T5] = HOST_NONE, [REG_ZERO] = HOST_NONE, [REG_SINK] = HOST_NONE,
};

/* ---- stubs ---- */
static void stub_register(struct emit *e, unsigned op, unsigned r)
{
	if (dbt_host[r] != HOST_NONE)
		emit_op(e, 8, op, dbt_host[r], dbt_field(offsetof(struct cpu, reg) + r * sizeof(uint64_t)));
}

static void stub_registers(struct emit *e, unsigned op)
{
	for (unsigned r = 0; r < REG_COUNT; r++)
		stub_register(e, op, r);
}

/* Whether a call of C leaves this real register alone (SysV ABI, figure 3.4). */
static bool stub_survives(unsigned host) { return host == HOST_BX || host == HOST_BP || (host >= HOST_12 && host <= HOST_15); }

/* cpu->budget and cpu->icount from the budget's register: what one lost since, the other gained. Changes di, which has been stored. */
static void stub_settle(struct emit *e)
{
	emit_op(e, 8, OP_LOAD, HOST_DI, DBT_FIELD(budget));
	emit_alu(e, 8, ALU_SUB, HOST_DI, emit_register(DBT_BUDGET));
	emit_op(e, 8, ALU_ADD * 8 + 1, HOST_DI, DBT_FIELD(icount));
	emit_op(e, 8, OP_STORE, DBT_BUDGET, DBT_FIELD(budget));
}

static void stub_store(struct emit *e)
{
	stub_registers(e, OP_STORE);
	stub_settle(e);
}

enum { MXCSR_LOAD = 2, MXCSR_STORE = 3, MXCSR_MASKS = 0x1f80 }; /* of opcode 0F AE; SDM 1 figure 10-3 */

/* C runs under our own MXCSR. */
static void stub_mxcsr(struct emit *e)
{
	emit_alu_imm(e, 4, ALU_CMP, DBT_FIELD(mxcsr_real), 0);
	uint8_t *ours = emit_jump_if(e, CC_Z);
	emit_op(e, 4, OP_GROUP15, MXCSR_STORE, DBT_FIELD(mxcsr));
	emit_store_imm(e, 4, DBT_FIELD(mxcsr_real), MXCSR_MASKS); /* the ABI's value at program start (x86-64 psABI 3.2.1) */
	emit_op(e, 4, OP_GROUP15, MXCSR_LOAD, DBT_FIELD(mxcsr_real));
	emit_store_imm(e, 4, DBT_FIELD(mxcsr_real), 0);
	emit_patch(ours, e->at);
}

static void stub_load(struct emit *e)
{
	stub_registers(e, OP_LOAD);
	emit_op(e, 8, OP_LOAD, DBT_BUDGET, DBT_FIELD(budget));
	emit_op(e, 8, OP_LOAD, DBT_FAST, DBT_FIELD(mem.table));
}

/* CALL ax, on a stack aligned as the ABI wants it (SysV ABI, 3.2.2): nobody knows how many return addresses are on it. Changes r11, which must have been stored. */
void dbt_emit_call_c(struct emit *e)
{
	emit_op(e, 8, OP_LOAD, HOST_11, emit_register(HOST_SP));
	emit_alu_imm(e, 8, ALU_AND, emit_register(HOST_SP), -16);
	emit_push(e, HOST_11);
	emit_push(e, HOST_11);
	emit_op(e, 4, OP_GROUP5, 2, emit_register(HOST_AX)); /* CALL */
	emit_pop(e, HOST_SP);
}

static const uint8_t stub_saved[] = { HOST_BX, HOST_BP, HOST_12, HOST_13, HOST_14, HOST_15 }; /* SysV ABI, figure 3.4 */

static void stub_enter(struct dbt *d, struct emit *e)
{
	uint8_t *at = e->at + e->to_run;
	memcpy(&d->enter, &at, sizeof at);
	for (unsigned i = 0; i < sizeof stub_saved; i++)
		emit_push(e, stub_saved[i]);
	emit_op(e, 8, OP_LEA, HOST_BP, emit_memory(HOST_DI, DBT_BIAS));
	dbt_return_enter(e, HOST_DX);
	emit_op(e, 8, OP_LOAD, HOST_AX, emit_register(HOST_SI));
	stub_load(e);
	emit_op(e, 4, OP_GROUP5, 4, emit_register(HOST_AX)); /* JMP */
}

static uint8_t *stub_exit_as(struct dbt *d, struct emit *e, enum dbt_exit_kind kind)
{
	uint8_t *at = e->at;
	emit_mov_imm(e, HOST_AX, kind);
	emit_jump_to(e, d->exit);
	return at;
}

static void stub_exits(struct dbt *d, struct emit *e)
{
	d->exit = e->at;
	stub_store(e);
	stub_mxcsr(e);
	emit_op(e, 8, OP_LOAD, HOST_SP, DBT_FIELD(real_stack));
	for (unsigned i = sizeof stub_saved; i-- > 0;)
		emit_pop(e, stub_saved[i]);
	emit_ret(e);
	for (unsigned way = 0; way < 2; way++)
		d->exit_chain[way] = stub_exit_as(d, e, way ? EXIT_CHAIN1 : EXIT_CHAIN0);
	d->exit_end = stub_exit_as(d, e, EXIT_END);
	d->exit_system = stub_exit_as(d, e, EXIT_SYSTEM);
	d->exit_last = stub_exit_as(d, e, EXIT_LAST);
	d->exit_return = stub_exit_as(d, e, EXIT_RETURN);
	d->exit_stale = e->at; /* ax: the block */
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_memory(HOST_AX, offsetof(struct block, pc)));
	emit_op(e, 8, OP_STORE, HOST_CX, DBT_FIELD(rip));
	d->exit_resolve = stub_exit_as(d, e, EXIT_STALE);
	d->exit_enter = e->at; /* cx: the block */
	emit_op(e, 8, OP_LOAD, HOST_DX, emit_register(HOST_CX));
	stub_exit_as(d, e, EXIT_ENTER);
}

static void stub_call_c(struct emit *e)
{
	stub_store(e);
	stub_mxcsr(e);
	emit_op(e, 8, OP_LEA, HOST_DI, emit_memory(HOST_BP, -DBT_BIAS));
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_CX));
	emit_op(e, 8, OP_XCHG, HOST_AX, emit_register(HOST_DX));
	dbt_emit_call_c(e);
	stub_load(e);
}

static void stub_calls(struct dbt *d, struct emit *e)
{
	d->call = e->at;
	stub_call_c(e);
	emit_ret(e);
	d->call_stop = e->at;
	emit_push(e, HOST_CX);
	stub_call_c(e);
	emit_pop(e, HOST_DX);
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(block));
	emit_alu_imm(e, 1, ALU_CMP, emit_memory(HOST_AX, offsetof(struct block, dead)), 0);
	uint8_t *dead = emit_jump_if(e, CC_NZ);
	emit_op(e, 8, OP_TEST, DBT_BUDGET, emit_register(DBT_BUDGET)); /* a block that jumps from its end to the next expects that the budget allows it */
	uint8_t *last = emit_jump_if(e, CC_LE);
	emit_ret(e);
	emit_patch(dead, e->at);
	emit_patch(last, e->at);
	emit_pop(e, HOST_AX); /* the return address: the code is left */
	emit_alu_imm(e, 8, ALU_ADD, emit_register(HOST_DX), sizeof(struct uop));
	stub_exit_as(d, e, EXIT_FINISH);
}

/* Where the code goes on after a system instruction, and the block that it belongs to; NULL: that is to be looked for. What was called in a mode that a return could mistake for this one is
 * forgotten. */
static struct dbt_exit dbt_next(const struct cpu *cpu, const struct block *n)
{
	const struct dbt *d = cpu->blocks->dbt;
	if (!n)
		return (struct dbt_exit){ (uint64_t)(uintptr_t)(d->exit_resolve + d->emit.to_run), 0 };
	uint32_t told = cpu->mem.mode_tag[MEMORY_USER] != cpu->mem.mode_tag[MEMORY_SUPERVISOR] ? KEY_USER : 0;
	bool same = !((n->key ^ cpu->block->key) & ~told);
	return (struct dbt_exit){ (uint64_t)(uintptr_t)(same ? n->code[d->variant] : d->return_forget[d->variant] + d->emit.to_run), (uint64_t)(uintptr_t)n };
}

/* A system instruction, the end of its block: where the code goes on, and the block that it belongs to. */
static struct dbt_exit dbt_system(struct cpu *cpu, const struct uop *u)
{
	return dbt_next(cpu, uop_sys_end_call(cpu, u) ? block_after_system(cpu, true) : NULL);
}

/* The same by its quick form; code 0: it did nothing. The budget and icount are not settled here, and not needed. */
static struct dbt_exit dbt_quick(struct cpu *cpu, const struct uop *u)
{
	const struct uop_sys *s = (const struct uop_sys *)(uintptr_t)u->imm;
	if (!s->quick(cpu, u, &s->o))
		return (struct dbt_exit){ 0, 0 };
	return dbt_next(cpu, block_at_system_end(cpu)); /* the stub looks at the budget as it is; a quick form leaves no shadow */
}

static void stub_quick(struct dbt *d, struct emit *e)
{
	d->quick = e->at; /* cx: the micro-op */
	emit_push(e, HOST_CX);
	emit_push(e, DBT_BUDGET);
	stub_registers(e, OP_STORE);
	stub_mxcsr(e);
	emit_op(e, 8, OP_LEA, HOST_DI, emit_memory(HOST_BP, -DBT_BIAS));
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_CX));
	emit_mov_imm(e, HOST_AX, (uint64_t)(uintptr_t)dbt_quick);
	dbt_emit_call_c(e);
	for (unsigned r = 0; r < REG_COUNT; r++) /* what C may change; and a quick form itself changes RCX, R11 and RSP only, while temporaries end with their instruction */
		if (r == REG_CX || r == REG_R11 || r == REG_SP || (r < REG_T0 && !stub_survives(dbt_host[r])))
			stub_register(e, OP_LOAD, r);
	emit_op(e, 8, OP_LOAD, DBT_FAST, DBT_FIELD(mem.table));
	emit_pop(e, DBT_BUDGET);
	emit_pop(e, HOST_CX);
	emit_op(e, 8, OP_TEST, HOST_AX, emit_register(HOST_AX));
	emit_patch(emit_jump_if(e, CC_Z), d->system);
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_register(HOST_DX));
	emit_op(e, 8, OP_TEST, DBT_BUDGET, emit_register(DBT_BUDGET));
	emit_patch(emit_jump_if(e, CC_LE), d->exit_resolve);
	emit_op(e, 4, OP_GROUP5, 4, emit_register(HOST_AX)); /* JMP */
}

static void stub_system(struct dbt *d, struct emit *e)
{
	d->system = e->at; /* cx: the micro-op */
	stub_store(e);
	stub_mxcsr(e);
	emit_op(e, 8, OP_LEA, HOST_DI, emit_memory(HOST_BP, -DBT_BIAS));
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_CX));
	emit_mov_imm(e, HOST_AX, (uint64_t)(uintptr_t)dbt_system);
	dbt_emit_call_c(e);
	stub_load(e);
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_register(HOST_DX));
	emit_op(e, 4, OP_GROUP5, 4, emit_register(HOST_AX)); /* JMP */
}

static uint64_t dbt_carry(struct cpu *cpu) { return flags_cf(&cpu->flags); }
static uint64_t dbt_set_carry(struct cpu *cpu, unsigned cf)
{
	uint32_t flags = (flags_get(cpu) & ~FLAG_CF) | cf;
	flags_put(cpu, FLAGS_EXPLICIT, flags, 0, 0);
	return 0;
}
static uint64_t dbt_flags(struct cpu *cpu) { return flags_get(cpu); }
static uint64_t dbt_condition(struct cpu *cpu, unsigned cc) { return flags_condition(&cpu->flags, cc); }

/* A call of a C function that touches no guest register, with cpu or the event sink, and cx: only what C may change is kept. */
static void stub_keep_call(struct emit *e, uint64_t function, bool sink)
{
	static const uint8_t kept[] = { HOST_DX, HOST_SI, HOST_DI, HOST_8, HOST_9, HOST_10, HOST_11 };
	for (unsigned i = 0; i < sizeof kept; i++)
		emit_push(e, kept[i]);
	stub_settle(e);
	emit_op(e, 8, sink ? OP_LOAD : OP_LEA, HOST_DI, sink ? DBT_FIELD(events) : emit_memory(HOST_BP, -DBT_BIAS));
	emit_op(e, 4, OP_LOAD, HOST_SI, emit_register(HOST_CX));
	emit_mov_imm(e, HOST_AX, function);
	dbt_emit_call_c(e);
	for (unsigned i = sizeof kept; i-- > 0;)
		emit_pop(e, kept[i]);
	emit_ret(e);
}

static void stub_answer(struct emit *e, uint8_t *other) /* ax = the real carry; `other`: goes on behind */
{
	emit_op(e, 1, OP_SETCC | CC_B, 0, emit_register(HOST_AX));
	emit_op(e, 4, OP_MOVZX8, HOST_AX, emit_register(HOST_AX));
	emit_ret(e);
	emit_patch(other, e->at);
}

static uint8_t *stub_unless(struct emit *e, uint32_t op)
{
	emit_alu_imm(e, 4, ALU_CMP, emit_register(HOST_CX), (int32_t)op);
	return emit_jump_if(e, CC_NZ);
}

/* The carry that a block finds at its start comes from a comparison, most often: those without C, as flags_cf() has them. */
static void stub_carry(struct dbt *d, struct emit *e)
{
	d->call_carry = e->at;
	emit_op(e, 4, OP_LOAD, HOST_CX, DBT_FIELD(flags.op));
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(flags.result));
	emit_op(e, 8, OP_LOAD, HOST_DX, DBT_FIELD(flags.source));
	for (unsigned lg = 2; lg < 4; lg++) {
		uint8_t *other = stub_unless(e, FLAGS_SUB | lg);
		emit_alu(e, 1u << lg, ALU_ADD, HOST_AX, emit_register(HOST_DX)); /* the first operand */
		emit_alu(e, 1u << lg, ALU_CMP, HOST_AX, emit_register(HOST_DX));
		stub_answer(e, other);
	}
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), ~3);
	uint8_t *other = stub_unless(e, FLAGS_LOGIC);
	emit_op(e, 4, OP_TEST, HOST_AX, emit_register(HOST_AX)); /* none */
	stub_answer(e, other);
	other = stub_unless(e, FLAGS_ADD);
	emit_alu(e, 8, ALU_CMP, HOST_AX, emit_register(HOST_DX));
	stub_answer(e, other);
	stub_keep_call(e, (uint64_t)(uintptr_t)dbt_carry, false);
}

/* ax = the flags of the kind in lazy_flags.op, from result (ax) and source (dx), as flags_get() has them. False: by C. */
static bool stub_flags_of(struct emit *e, unsigned op)
{
	unsigned kind = op & ~3u, size = 1u << (op & 3);
	bool add = kind == FLAGS_ADD, inc = kind == FLAGS_INC;
	uint32_t low = FLAG_SF | FLAG_ZF | FLAG_PF | FLAG_CF | (kind == FLAGS_LOGIC ? 0 : FLAG_AF);
	if (kind == FLAGS_ADD || kind == FLAGS_SUB) { /* the first operand again, and the operation again */
		emit_alu(e, size, add ? ALU_SUB : ALU_ADD, HOST_AX, emit_register(HOST_DX));
		emit_alu(e, size, add ? ALU_ADD : ALU_CMP, HOST_AX, emit_register(HOST_DX));
	} else if (kind == FLAGS_LOGIC) {
		emit_op(e, size, OP_TEST, HOST_AX, emit_register(HOST_AX));
	} else if (kind == FLAGS_INC || kind == FLAGS_DEC) {
		emit_op(e, 8, OP_LOAD, HOST_CX, DBT_FIELD(flags.extra));
		emit_op(e, 8, OP_LEA, HOST_AX, emit_memory(HOST_AX, inc ? -1 : 1));
		emit_alu_imm(e, 1, ALU_ADD, emit_register(HOST_CX), -1); /* CF */
		emit_op(e, size, OP_GROUP5, inc ? 0 : 1, emit_register(HOST_AX));
	} else {
		return false;
	}
	emit_bytes(e, "\x9f", 1); /* LAHF: SDM 2A */
	emit_op(e, 1, OP_SETCC | CC_O, 0, emit_register(HOST_AX));
	emit_bytes(e, "\x0f\xb6\xcc", 3); /* MOVZX ecx, ah */
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), (int32_t)low);
	emit_op(e, 4, OP_MOVZX8, HOST_AX, emit_register(HOST_AX));
	emit_shift_imm(e, 4, SHIFT_SHL, emit_register(HOST_AX), 11); /* OF */
	emit_alu(e, 4, ALU_OR, HOST_AX, emit_register(HOST_CX));
	return true;
}

/* By a table of what to do for each kind and size. */
static void stub_flags(struct dbt *d, struct emit *e)
{
	uint64_t at[FLAGS_PARTIAL + 4], table;
	uint8_t *by_c = e->at;
	stub_keep_call(e, (uint64_t)(uintptr_t)dbt_flags, false);
	for (unsigned op = 0; op < FLAGS_PARTIAL + 4; op++) {
		uint8_t *own = e->at;
		bool done = op == FLAGS_EXPLICIT || stub_flags_of(e, op);
		if (done)
			emit_ret(e);
		at[op] = (uint64_t)(uintptr_t)((done ? own : by_c) + e->to_run);
	}
	table = (uint64_t)(uintptr_t)(e->at + e->to_run);
	emit_bytes(e, at, sizeof at);
	d->call_flags = e->at;
	emit_mov_imm(e, HOST_DX, table);
	emit_op(e, 4, OP_LOAD, HOST_CX, DBT_FIELD(flags.op));
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_indexed(HOST_DX, HOST_CX, 3, 0));
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(flags.result));
	emit_op(e, 8, OP_LOAD, HOST_DX, DBT_FIELD(flags.source));
	emit_op(e, 4, OP_GROUP5, 4, emit_register(HOST_CX)); /* JMP */
}

static void stub_sse(struct dbt *d, struct emit *e)
{
	static const uint8_t kept[] = { HOST_SI, HOST_DI, HOST_8, HOST_9, HOST_10, HOST_11 };
	d->call_sse = e->at;
	stub_mxcsr(e);
	for (unsigned i = 0; i < sizeof kept; i++)
		emit_push(e, kept[i]);
	emit_op(e, 8, OP_LEA, HOST_DI, emit_memory(HOST_BP, -DBT_BIAS));
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_CX));
	emit_shift_imm(e, 4, SHIFT_SHR, emit_register(HOST_SI), 8);
	emit_alu(e, 8, ALU_ADD, HOST_SI, emit_register(HOST_DI));
	emit_op(e, 4, OP_MOVZX8, HOST_CX, emit_register(HOST_CX));
	dbt_emit_call_c(e);
	for (unsigned i = sizeof kept; i-- > 0;)
		emit_pop(e, kept[i]);
	emit_op(e, 1, OP_TEST, HOST_AX, emit_register(HOST_AX));
	emit_ret(e);
}

static void stub_mxcsr_begin(struct dbt *d, struct emit *e)
{
	static const int32_t masks = MXCSR_MASKS;
	d->mxcsr_begin = e->at;
	emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(mxcsr));
	emit_op(e, 4, OP_GROUP3, 2, emit_register(HOST_AX)); /* NOT */
	emit_op(e, 4, OP_GROUP3, 0, emit_register(HOST_AX)); /* TEST */
	emit_bytes(e, &masks, sizeof masks);
	uint8_t *unmasked = emit_jump_if(e, CC_NZ);
	emit_op(e, 4, OP_GROUP15, MXCSR_LOAD, DBT_FIELD(mxcsr));
	emit_store_imm(e, 4, DBT_FIELD(mxcsr_real), 1);
	emit_ret(e);
	emit_patch(unmasked, e->at);
	emit_pop(e, HOST_AX); /* the return address: the code is left */
	stub_exit_as(d, e, EXIT_FINISH);
}

void dbt_stubs(struct dbt *d)
{
	struct emit *e = &d->emit;
	stub_enter(d, e);
	stub_exits(d, e);
	stub_calls(d, e);
	stub_system(d, e);
	stub_quick(d, e);
	stub_sse(d, e);
	stub_mxcsr_begin(d, e);
	dbt_return_stubs(d);
	stub_carry(d, e);
	stub_flags(d, e);
	d->call_set_carry = e->at;
	stub_keep_call(e, (uint64_t)(uintptr_t)dbt_set_carry, false);
	d->call_condition = e->at;
	stub_keep_call(e, (uint64_t)(uintptr_t)dbt_condition, false);
	d->drain = e->at;
	stub_keep_call(e, (uint64_t)(uintptr_t)event_drain, true);
}

/* ---- running ---- */
static const struct dbt_row *dbt_table(const struct cpu *cpu) { return cpu->blocks->observed ? dbt_rows_observed : dbt_rows; }

/* The block without translated code, from micro-op u to its end. */
static const struct uop *dbt_interpret(struct cpu *cpu, const struct uop *u)
{
	const struct dbt_row *rows = dbt_table(cpu);
	for (; rows[u->op].shape != SHAPE_END; u++)
		rows[u->op].call(cpu, u);
	u = rows[u->op].end(cpu, u);
	return u ? u : engine_resolve(cpu);
}

/* After emitted code came back: the micro-op to go on with, or NULL for the dispatcher. */
static const struct uop *dbt_leave(struct cpu *cpu, struct dbt_exit x)
{
	const bool observed = cpu->blocks->observed;
	struct block *b = cpu->block, *n;
	const struct uop *u = NULL;
	switch ((enum dbt_exit_kind)x.kind) {
	case EXIT_CHAIN0:
	case EXIT_CHAIN1:
		u = block_chain(cpu, x.kind == EXIT_CHAIN1, observed);
		break;
	case EXIT_STALE:
		break;
	case EXIT_LAST:
		return b->uop;
	case EXIT_END:
		u = &b->uop[b->uops - 1];
		u = dbt_table(cpu)[u->op].end(cpu, u);
		break;
	case EXIT_ENTER:
		n = (struct block *)(uintptr_t)x.value;
		if (n->stamp == cpu->stamp && cpu->budget > 0 && !(observed && cpu->attention))
			return block_enter(cpu, n, observed);
		cpu->rip = n->pc;
		break;
	case EXIT_SYSTEM:
		n = block_after_system(cpu, observed);
		u = n ? block_enter(cpu, n, observed) : NULL;
		break;
	case EXIT_RETURN:
		u = &b->uop[b->uops - 1];
		stack_move(cpu, -(u->size + u->imm));
		u = dbt_table(cpu)[u->op].end(cpu, u);
		break;
	case EXIT_FINISH:
		return dbt_interpret(cpu, (const struct uop *)(uintptr_t)x.value);
	}
	return u ? u : engine_resolve(cpu);
}

/* The code of the block that was just entered, or NULL: to be interpreted. */
static const uint8_t *dbt_code(struct cpu *cpu, struct dbt *d)
{
	struct block *b = cpu->block;
	if (!b->dbt[d->variant]) {
		if (b->key & (KEY_SINGLE | KEY_TRAP) || b->dead || b->heat == HEAT_NEVER)
			return NULL;
		if (b->heat < HEAT && !cpu->blocks->eager) {
			b->heat++;
			return NULL;
		}
		if (!dbt_translate(cpu, d, b)) {
			dbt_next_region(d);
			if (!dbt_translate(cpu, d, b)) {
				b->heat = HEAT_NEVER;
				return NULL;
			}
		}
	}
	const struct dbt_code *code = b->dbt[d->variant];
	return code->body;
}

/* Runs the code of the block that was just entered. With the budget gone it must not get out by itself: linked jumps do not look, and indirect ones only at stamps. */
static struct dbt_exit dbt_enter(struct cpu *cpu, struct dbt *d, const uint8_t *code)
{
	const struct dbt_code *c = cpu->block->dbt[d->variant];
	if (cpu->budget > 0 || d->variant != DBT_FUNCTIONAL)
		return dbt_call(cpu, d, code);
	if (c->link[0].to || c->link[1].to)
		return (struct dbt_exit){ EXIT_FINISH, (uint64_t)(uintptr_t)cpu->block->uop };
	cpu->stamp = STAMP_ATTENTION;
	struct dbt_exit x = dbt_call(cpu, d, code);
	block_stamp_now(cpu);
	return x;
}

/* What the code is made for has changed, or all blocks have gone. */
static void dbt_settle(struct cpu *cpu, struct dbt *d)
{
	const struct block_cache *c = cpu->blocks;
	bool hook = cpu->vmm.block_enter != NULL, gone = d->generation != c->generation;
	if (gone || (c->observed && (d->hook != hook || d->filter != cpu->events->filter))) {
		d->generation = c->generation;
		d->hook = hook;
		d->emit.at = d->made;
		d->emit.end = d->first;
		dbt_emit_observe(d, cpu->events->filter);
		dbt_forget(d, !gone);
	}
	d->events_on = cpu->events->on;
	d->variant = !c->observed ? DBT_FUNCTIONAL : d->events_on ? DBT_EVENTS : DBT_HOOKED;
}

static void dbt_go(struct cpu *cpu, const struct uop *u)
{
	struct dbt *d = cpu->blocks->dbt;
	struct block *from = NULL;
	struct dbt_link *landing = NULL;
	dbt_settle(cpu, d);
	while (u) {
		uint64_t evictions = d->evictions;
		const uint8_t *code = dbt_code(cpu, d);
		if (from)
			dbt_link(d, from);
		if (landing && evictions == d->evictions) /* it is still there */
			dbt_return_link(d, landing, cpu->block, *block_jump_slot(cpu->blocks, cpu->block->pc));
		struct dbt_exit x = code ? dbt_enter(cpu, d, code) : (struct dbt_exit){ EXIT_FINISH, (uint64_t)(uintptr_t)u };
		from = cpu->block;
		landing = x.kind == EXIT_RETURN ? (struct dbt_link *)(uintptr_t)x.value : NULL;
		u = dbt_leave(cpu, x);
	}
	if (from)
		dbt_link(d, from);
}

bool dbt_attach(struct block_cache *c, size_t bytes, unsigned regions)
{
	c->dbt = dbt_create(bytes, regions);
	c->flush_wanted = true; /* blocks that know nothing of it */
	if (!c->dbt)
		return false;
	c->dbt->generation = c->generation;
	c->code_none = c->dbt->exit_enter + c->dbt->emit.to_run;
	return true;
}

static size_t dbt_room(const struct block_cache *c)
{
	return c->max_bytes < CODE_LEAST ? CODE_LEAST : c->max_bytes > CODE_MOST ? CODE_MOST : c->max_bytes & ~4095ull;
}

void dbt_run(struct cpu *cpu);
void dbt_run(struct cpu *cpu)
{
	if (!cpu->blocks->dbt && !dbt_attach(cpu->blocks, dbt_room(cpu->blocks), DBT_REGIONS)) { /* no executable memory to be had: the same, slower */
		engine_find("threaded")->run(cpu);
		return;
	}
	engine_run(cpu, dbt_go, dbt_go);
}
