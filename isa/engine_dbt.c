/* The translator's run loop, code memory, stubs and links. */
#define _GNU_SOURCE
#include "engine_dbt.h"
#include "engine_run.h"
#include "flags.h"
#include "uop_control.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CODE_BYTES = 64 << 20 };

/* Callee-saved real registers for what a call most often leaves alone has no use here: every call spills. REG_SINK is written only. */
const uint8_t dbt_host[REG_COUNT] = {
	[REG_AX] = HOST_BX, [REG_CX] = HOST_12, [REG_DX] = HOST_13, [REG_BX] = HOST_14, [REG_SP] = HOST_15, [REG_BP] = HOST_DI, [REG_SI] = HOST_SI, [REG_DI] = HOST_8, [REG_R8] = HOST_9,
	[REG_R9] = HOST_NONE, [REG_R10] = HOST_NONE, [REG_R11] = HOST_NONE, [REG_R12] = HOST_NONE, [REG_R13] = HOST_NONE, [REG_R14] = HOST_NONE, [REG_R15] = HOST_NONE, [REG_T0] = HOST_11,
	[REG_T1] = HOST_NONE, [REG_T2] = HOST_NONE, [REG_T3] = HOST_NONE, [REG_T4] = HOST_NONE, [REG_T5] = HOST_NONE, [REG_ZERO] = HOST_NONE, [REG_SINK] = HOST_NONE,
};

/* ---- stubs ---- */
static void stub_registers(struct emit *e, unsigned op)
{
	for (unsigned r = 0; r < REG_COUNT; r++)
		if (dbt_host[r] != HOST_NONE)
			emit_op(e, 8, op, dbt_host[r], dbt_field(offsetof(struct cpu, reg) + r * sizeof(uint64_t)));
}

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

static void stub_load(struct emit *e)
{
	stub_registers(e, OP_LOAD);
	emit_op(e, 8, OP_LOAD, DBT_BUDGET, DBT_FIELD(budget));
}

static const uint8_t stub_saved[] = { HOST_BX, HOST_BP, HOST_12, HOST_13, HOST_14, HOST_15 }; /* SysV ABI, figure 3.4; an even number: the stack stays 8 off a multiple of 16 */

static void stub_enter(struct dbt *d, struct emit *e)
{
	uint8_t *at = e->at + e->to_run;
	memcpy(&d->enter, &at, sizeof at);
	for (unsigned i = 0; i < sizeof stub_saved; i++)
		emit_push(e, stub_saved[i]);
	emit_op(e, 8, OP_LEA, HOST_BP, emit_memory(HOST_DI, DBT_BIAS));
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
	for (unsigned i = sizeof stub_saved; i-- > 0;)
		emit_pop(e, stub_saved[i]);
	emit_ret(e);
	for (unsigned way = 0; way < 2; way++)
		d->exit_chain[way] = stub_exit_as(d, e, way ? EXIT_CHAIN1 : EXIT_CHAIN0);
	d->exit_end = stub_exit_as(d, e, EXIT_END);
	d->exit_stale = e->at; /* ax: the block */
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_memory(HOST_AX, offsetof(struct block, pc)));
	emit_op(e, 8, OP_STORE, HOST_CX, DBT_FIELD(rip));
	stub_exit_as(d, e, EXIT_STALE);
	d->exit_enter = e->at; /* cx: the block */
	emit_op(e, 8, OP_LOAD, HOST_DX, emit_register(HOST_CX));
	stub_exit_as(d, e, EXIT_ENTER);
}

static void stub_call_c(struct emit *e)
{
	stub_store(e);
	emit_op(e, 8, OP_LEA, HOST_DI, emit_memory(HOST_BP, -DBT_BIAS));
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_CX));
	emit_op(e, 8, OP_XCHG, HOST_AX, emit_register(HOST_DX));
	emit_op(e, 4, OP_GROUP5, 2, emit_register(HOST_AX)); /* CALL */
	stub_load(e);
}

static void stub_calls(struct dbt *d, struct emit *e)
{
	d->call = e->at;
	stub_call_c(e);
	emit_ret(e);
	d->call_stop = e->at;
	emit_push(e, HOST_CX);
	emit_push(e, HOST_CX);
	stub_call_c(e);
	emit_pop(e, HOST_DX);
	emit_pop(e, HOST_DX);
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(block));
	emit_alu_imm(e, 1, ALU_CMP, emit_memory(HOST_AX, offsetof(struct block, dead)), 0);
	uint8_t *dead = emit_jump_if(e, CC_NZ);
	emit_ret(e);
	emit_patch(dead, e->at);
	emit_pop(e, HOST_AX); /* the return address: the code is left */
	emit_alu_imm(e, 8, ALU_ADD, emit_register(HOST_DX), sizeof(struct uop));
	stub_exit_as(d, e, EXIT_FINISH);
}

static uint64_t dbt_carry(struct cpu *cpu) { return flags_cf(&cpu->flags); }
static uint64_t dbt_condition(struct cpu *cpu, unsigned cc) { return flags_condition(&cpu->flags, cc); }

/* A call of a C function that touches no guest register, with cpu or the event sink, and cx: only what C may change is kept. */
static void stub_keep_call(struct emit *e, uint64_t function, bool sink)
{
	static const uint8_t kept[] = { HOST_DX, HOST_SI, HOST_DI, HOST_8, HOST_9, HOST_10, HOST_11 };
	for (unsigned i = 0; i < sizeof kept; i++)
		emit_push(e, kept[i]);
	emit_push(e, HOST_DX);
	stub_settle(e);
	emit_op(e, 8, sink ? OP_LOAD : OP_LEA, HOST_DI, sink ? DBT_FIELD(events) : emit_memory(HOST_BP, -DBT_BIAS));
	emit_op(e, 4, OP_LOAD, HOST_SI, emit_register(HOST_CX));
	emit_mov_imm(e, HOST_AX, function);
	emit_op(e, 4, OP_GROUP5, 2, emit_register(HOST_AX));
	emit_pop(e, HOST_DX);
	for (unsigned i = sizeof kept; i-- > 0;)
		emit_pop(e, kept[i]);
	emit_ret(e);
}

static void stub_sse(struct dbt *d, struct emit *e)
{
	static const uint8_t kept[] = { HOST_SI, HOST_DI, HOST_8, HOST_9, HOST_10, HOST_11 };
	d->call_sse = e->at;
	for (unsigned i = 0; i < sizeof kept; i++)
		emit_push(e, kept[i]);
	emit_op(e, 8, OP_LEA, HOST_DI, emit_memory(HOST_BP, -DBT_BIAS));
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_CX));
	emit_shift_imm(e, 4, SHIFT_SHR, emit_register(HOST_SI), 8);
	emit_alu(e, 8, ALU_ADD, HOST_SI, emit_register(HOST_DI));
	emit_op(e, 4, OP_MOVZX8, HOST_CX, emit_register(HOST_CX));
	emit_op(e, 4, OP_GROUP5, 2, emit_register(HOST_AX));
	for (unsigned i = sizeof kept; i-- > 0;)
		emit_pop(e, kept[i]);
	emit_op(e, 1, OP_TEST, HOST_AX, emit_register(HOST_AX));
	emit_ret(e);
}

static void dbt_stubs(struct dbt *d)
{
	struct emit *e = &d->emit;
	stub_enter(d, e);
	stub_exits(d, e);
	stub_calls(d, e);
	stub_sse(d, e);
	d->call_carry = e->at;
	stub_keep_call(e, (uint64_t)(uintptr_t)dbt_carry, false);
	d->call_condition = e->at;
	stub_keep_call(e, (uint64_t)(uintptr_t)dbt_condition, false);
	d->drain = e->at;
	stub_keep_call(e, (uint64_t)(uintptr_t)event_drain, true);
	d->first = e->at;
}

/* ---- code memory: the same pages twice, once to write and once to run ---- */
struct dbt *dbt_create(void)
{
	struct dbt *d = calloc(1, sizeof *d);
	int fd = memfd_create("ringside-code", MFD_CLOEXEC);
	if (!d || fd < 0 || ftruncate(fd, CODE_BYTES) < 0) {
		free(d);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	d->size = CODE_BYTES;
	uint8_t *write = mmap(NULL, d->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *run = mmap(NULL, d->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	close(fd);
	if (write == MAP_FAILED || run == MAP_FAILED) {
		if (write != MAP_FAILED)
			munmap(write, d->size);
		free(d);
		return NULL;
	}
	d->memory = write;
	d->emit = (struct emit){ .at = write, .end = write + d->size, .to_run = run - write };
	dbt_stubs(d);
	return d;
}

void dbt_destroy(struct dbt *d)
{
	if (!d)
		return;
	munmap(d->memory + d->emit.to_run, d->size);
	munmap(d->memory, d->size);
	free(d);
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

/* Points the block's jumps at the code of the blocks that it is chained to. */
static void dbt_link(struct dbt *d, struct block *b)
{
	for (unsigned way = 0; way < 2; way++)
		emit_patch(b->site[way], b->next[way]->body ? b->next[way]->code - d->emit.to_run : d->exit_chain[way]);
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
	case EXIT_FINISH:
		return dbt_interpret(cpu, (const struct uop *)(uintptr_t)x.value);
	}
	return u ? u : engine_resolve(cpu);
}

/* The code of the block that was just entered, or NULL: to be interpreted. */
static const uint8_t *dbt_code(struct cpu *cpu, struct dbt *d)
{
	struct block *b = cpu->block;
	if (b->body || b->key & (KEY_SINGLE | KEY_TRAP) || cpu->blocks->flush_wanted)
		return b->body;
	if (!dbt_translate(cpu, d, b))
		cpu->blocks->flush_wanted = true; /* full: at the next boundary all blocks go */
	return b->body;
}

static void dbt_go(struct cpu *cpu, const struct uop *u)
{
	struct block_cache *c = cpu->blocks;
	struct dbt *d = c->dbt;
	struct block *from = NULL;
	if (d->generation != c->generation) {
		d->generation = c->generation;
		d->emit.at = d->first;
		d->emit.full = false;
		d->events_on = cpu->events->on;
		d->hook = cpu->vmm.block_enter != NULL;
		d->mask = cpu->mem.mask;
		dbt_emit_observe(d, cpu->events->filter);
	}
	while (u) {
		const uint8_t *code = dbt_code(cpu, d);
		if (from)
			dbt_link(d, from);
		struct dbt_exit x;
		if (code)
			x = d->enter(cpu, code);
		else
			x = (struct dbt_exit){ EXIT_FINISH, (uint64_t)(uintptr_t)u };
		from = cpu->block;
		u = dbt_leave(cpu, x);
	}
	if (from)
		dbt_link(d, from);
}

void dbt_run(struct cpu *cpu);
void dbt_run(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;
	if (!c->dbt) {
		c->dbt = dbt_create();
		c->flush_wanted = true;
		if (c->dbt) {
			c->dbt->generation = c->generation;
			c->code_none = c->dbt->exit_enter + c->dbt->emit.to_run;
		}
	}
	if (!c->dbt) { /* no executable memory to be had: the same, slower */
		engine_find("threaded")->run(cpu);
		return;
	}
	if (c->dbt->mask != cpu->mem.mask || c->dbt->events_on != cpu->events->on || c->dbt->filter != cpu->events->filter || c->dbt->hook != (cpu->vmm.block_enter != NULL))
		c->flush_wanted = true;
	engine_run(cpu, dbt_go, dbt_go);
}
