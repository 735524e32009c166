/*
 * From a block's micro-ops to code: the way in, the micro-ops, the ways out, the slow paths behind them.
 *
 * Invariant: the way in refuses where block_chain() would have, and counts as block_enter() does.
 */
#include "engine_dbt.h"
#include "system.h"
#include "uop_control.h"
#include <stdlib.h>

static void translate_observe(struct cpu *cpu, const struct uop *u, uint64_t unused)
{
	(void)u, (void)unused;
	block_observe(cpu, cpu->block);
}

/* ---- C functions ---- */
static uint64_t translate_address(void (*f)(struct cpu *, const struct uop *)) { return (uint64_t)(uintptr_t)f; }

static void translate_call(struct translation *t, const struct uop *u, uint64_t function, bool stop)
{
	emit_mov_imm(t->e, HOST_CX, (uint64_t)(uintptr_t)u);
	emit_mov_imm(t->e, HOST_DX, function);
	emit_call_to(t->e, stop ? t->d->call_stop : t->d->call);
}

/* ---- the way in ---- */
static void translate_event(struct translation *t)
{
	const struct block *b = t->b;
	struct emit *e = t->e;
	uint64_t word = EV_BLOCK | (uint64_t)((b->key & KEY_USER ? EVF_USER : 0) | (b->straddle ? EVF_STRADDLE : 0)) << 8 | (uint64_t)b->insns << 16 | (uint64_t)b->id << 32;
	emit_mov_imm(e, HOST_AX, b->pc);
	if ((b->key & KEY_CODE_SIZE) != 8) {
		emit_alu(e, 4, ALU_ADD, HOST_AX, DBT_FIELD(seg[SEG_CS].base));
	}
	dbt_emit_event(t, word);
}

/* field cmp value, where a value that is no immediate takes dx; and field = value. */
static void translate_compare(struct emit *e, struct emit_place field, uint64_t value)
{
	if (value == (uint64_t)(int64_t)(int32_t)value) {
		emit_alu_imm(e, 8, ALU_CMP, field, (int32_t)value);
		return;
	}
	emit_mov_imm(e, HOST_DX, value);
	emit_op(e, 8, ALU_CMP * 8 + 1, HOST_DX, field);
}

static void translate_set(struct emit *e, struct emit_place field, uint64_t value)
{
	if (value == (uint64_t)(int64_t)(int32_t)value) {
		emit_store_imm(e, 8, field, (int32_t)value);
		return;
	}
	emit_mov_imm(e, HOST_DX, value);
	emit_op(e, 8, OP_STORE, HOST_DX, field);
}

/* The lines of a block that are not the last one's of the block before; what the lines' slots do not know goes to odd[]. Returns how many places that has. */
static unsigned translate_lines(struct translation *t, uint64_t first, uint64_t last, uint8_t **odd)
{
	const struct event_filter *f = t->d->filter;
	struct emit *e = t->e;
	unsigned n = 0;
	for (uint64_t line = first; line <= last; line++) {
		translate_compare(e, dbt_field(offsetof(struct cpu, filter.code) + (line & (f->shape.code - 1u)) * sizeof(uint64_t)), line);
		odd[n++] = emit_jump_if(e, CC_NZ);
	}
	emit_op(e, 8, OP_LOAD, HOST_CX, DBT_FIELD(filter.line));
	translate_compare(e, emit_register(HOST_CX), first);
	uint8_t *same = emit_jump_if(e, CC_Z);
	emit_alu_imm(e, 4, ALU_XOR, emit_register(HOST_CX), (int32_t)first);
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), (int32_t)(4095 >> f->shape.code_line));
	odd[n++] = emit_jump_if(e, CC_Z); /* two pages may map the same line */
	emit_alu_imm(e, 8, ALU_ADD, DBT_FIELD(filter.lines), 1);
	emit_patch(same, e->at);
	if (last != first)
		emit_alu_imm(e, 8, ALU_ADD, DBT_FIELD(filter.lines), (int32_t)(last - first));
	return n;
}

/* What event_filter_block_hit() does, for a block within a page; block_observe() does the others, and what the filter does not know. */
static void translate_filtered(struct translation *t)
{
	const struct block *b = t->b;
	const struct event_filter *f = t->d->filter;
	struct emit *e = t->e;
	uint64_t page = b->pc >> 12, first = event_filter_line(f, b->pc), last = event_filter_line(f, b->pc + b->bytes - 1u);
	uint8_t *odd[FILTER_SLOTS + 2];
	unsigned n = 0;
	if (b->straddle || !(b->key & KEY_FLAT_CS) || b->id == UINT32_MAX || last - first >= f->shape.code + (f->shape.code ? 0u : FILTER_SLOTS) || last - first >= FILTER_SLOTS) {
		translate_call(t, b->uop, (uint64_t)(uintptr_t)translate_observe, false);
		return;
	}
	translate_compare(e, dbt_field(offsetof(struct cpu, filter.fetch) + (page & (f->shape.fetches - 1u)) * sizeof(uint64_t)), page);
	odd[n++] = emit_jump_if(e, CC_NZ);
	if (f->shape.code) {
		n += translate_lines(t, first, last, odd + n);
		emit_alu(e, 4, ALU_XOR, HOST_CX, emit_register(HOST_CX));
		translate_compare(e, DBT_FIELD(filter.next), b->pc);
		emit_op(e, 1, OP_SETCC | CC_NZ, 0, emit_register(HOST_CX));
		emit_op(e, 8, ALU_ADD * 8 + 1, HOST_CX, DBT_FIELD(filter.taken));
		translate_set(e, DBT_FIELD(filter.line), last);
		translate_set(e, DBT_FIELD(filter.next), b->pc + b->bytes);
	}
	emit_alu_imm(e, 8, ALU_ADD, DBT_FIELD(filter.blocks), 1);
	emit_alu_imm(e, 8, ALU_ADD, DBT_FIELD(filter.instructions), b->insns);
	uint8_t *back = e->at;
	for (unsigned i = 0; i < n; i++)
		dbt_emit_site(t, SITE_BLOCK, b->uop, odd[i])->back = back;
}

/* Functional code is entered with budget left, and goes back at once when that would be gone behind it: so no block looks at the budget again before it jumps to the next. */
static void translate_entry_budget(struct translation *t)
{
	struct emit *e = t->e;
	emit_alu_imm(e, 8, ALU_SUB, emit_register(DBT_BUDGET), t->b->insns);
	emit_op(e, 8, OP_STORE, HOST_AX, DBT_FIELD(block));
	emit_patch(emit_jump_if(e, CC_LE), t->d->exit_last);
}

static void translate_entry_observed(struct translation *t)
{
	struct emit *e = t->e;
	emit_op(e, 8, OP_TEST, DBT_BUDGET, emit_register(DBT_BUDGET));
	emit_patch(emit_jump_if(e, CC_LE), t->d->exit_stale);
	if (t->d->hook) { /* it may ask for attention; who else does leaves a stamp that no block has */
		emit_alu_imm(e, 4, ALU_CMP, DBT_FIELD(attention), 0);
		emit_patch(emit_jump_if(e, CC_NZ), t->d->exit_stale);
	}
	emit_op(e, 8, OP_STORE, HOST_AX, DBT_FIELD(block));
	if (t->d->hook)
		translate_call(t, t->b->uop, (uint64_t)(uintptr_t)translate_observe, false);
	else if (t->d->filter)
		translate_filtered(t);
	else
		translate_event(t);
	emit_alu_imm(e, 8, ALU_SUB, emit_register(DBT_BUDGET), t->b->insns);
}

static const uint8_t *translate_entry(struct translation *t)
{
	struct emit *e = t->e;
	emit_mov_imm(e, HOST_AX, (uint64_t)(uintptr_t)t->b);
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_memory(HOST_AX, offsetof(struct block, stamp)));
	emit_alu(e, 8, ALU_CMP, HOST_CX, DBT_FIELD(stamp));
	emit_patch(emit_jump_if(e, CC_NZ), t->d->exit_stale);
	if (t->observed)
		translate_entry_observed(t);
	else
		translate_entry_budget(t);
	return e->at;
}

/* ---- the ways out ---- */
void dbt_emit_way(struct translation *t, unsigned way, uint8_t *site)
{
	t->code->link[way] = (struct dbt_link){ .site = site, .out = t->d->exit_chain[way] };
	emit_patch(site, t->d->exit_chain[way]);
}

static void translate_branch(struct translation *t, unsigned cc)
{
	dbt_emit_way(t, 0, emit_jump_if(t->e, cc));
	dbt_emit_way(t, 1, emit_jump(t->e));
}

/* LOOP and JECXZ; LOOPE and LOOPNE look at the guest's ZF, too, and are left to C. */
static bool translate_loop(struct translation *t, const struct uop *u)
{
	struct emit_place count = dbt_guest(REG_CX);
	if (u->imm == 1 || u->imm == 2)
		return false;
	if (u->imm == 3)
		emit_op(t->e, u->size, OP_TEST, dbt_host[REG_CX], count);
	else
		emit_alu_imm(t->e, u->size, ALU_SUB, count, 1);
	translate_branch(t, u->imm == 3 ? CC_Z : CC_NZ);
	return true;
}

/* The comparison of a fused micro-op as the row of the plain one. */
static bool translate_fused(struct translation *t, const struct uop *u)
{
	static const uint8_t jcmp_cc[] = { CC_B, CC_AE, CC_Z, CC_NZ, CC_BE, CC_A, CC_L, CC_GE, CC_LE, CC_G }, jtest_cc[] = { CC_Z, CC_NZ, CC_S, CC_NS, CC_LE, CC_G }; /* ORDER FUSED */
	static const uint8_t lg[] = { 0, 2, 3 };
	struct uop plain = *u;
	unsigned cc, i = u->op - UOP_jcmp8_rr_b;
	if (u->op >= UOP_jdec32_z && u->op <= UOP_jdec64_nz) {
		i = u->op - UOP_jdec32_z;
		plain.op = (uint16_t)(UOP_dec8 + (i & 1 ? 3 : 2) * 2);
		cc = i < 2 ? CC_Z : CC_NZ;
	} else if (u->op >= UOP_jcmp8_rr_b && u->op <= UOP_jcmp64_ri_g) {
		plain.op = (uint16_t)(UOP_cmp8_rr + lg[i % 6 / 2] * 2 + (i & 1));
		cc = jcmp_cc[i / 6];
	} else if (u->op >= UOP_jtest8_rr_z && u->op <= UOP_jtest64_ri_g) {
		i = u->op - UOP_jtest8_rr_z;
		plain.op = (uint16_t)(UOP_test8_rr + lg[i % 6 / 2] * 2 + (i & 1));
		cc = jtest_cc[i / 6];
	} else {
		return false;
	}
	t->last = true;
	dbt_emit_alu(t, &plain);
	dbt_flush_flags(t);
	translate_branch(t, cc);
	return true;
}

void dbt_emit_lookup(struct translation *t, uint32_t key, uint8_t *miss[2])
{
	struct emit *e = t->e;
	dbt_emit_table(e, HOST_DX);
	emit_alu(e, 8, ALU_CMP, HOST_DX, emit_memory(HOST_CX, offsetof(struct block, pc)));
	miss[0] = emit_jump_if(e, CC_NZ);
	emit_alu_imm(e, 4, ALU_CMP, emit_memory(HOST_CX, offsetof(struct block, key)), (int32_t)key);
	miss[1] = emit_jump_if(e, CC_NZ);
}

/* A jump to linked code; for a CALL that its RET can come back to, a real one. Whoever calls what is next wants to know where it is. */
static void translate_jump(struct translation *t)
{
	if (t->b->end != BLOCK_END_CALL || t->b->next_pc[0] == t->b->next_pc[1]) {
		dbt_emit_way(t, 0, emit_jump(t->e));
		return;
	}
	uint8_t *full = dbt_emit_room(t), *call = t->e->at;
	dbt_emit_way(t, 0, emit_call(t->e));
	dbt_emit_landing(t, full, call);
}

static void translate_said_indirect(struct translation *t)
{
	if (!t->observed || !t->d->hook)
		return;
	emit_op(t->e, 8, OP_LOAD, HOST_AX, DBT_FIELD(blocks));
	emit_store_imm(t->e, 1, emit_memory(HOST_AX, offsetof(struct block_cache, indirect)), 1);
}

/* block_target() inline: the cache's table. Anything else is left to the C function. */
static void translate_indirect(struct translation *t, const struct uop *u)
{
	struct emit *e = t->e;
	bool call = t->b->end == BLOCK_END_INDIRECT_CALL;
	uint8_t *full = call ? dbt_emit_room(t) : NULL, *start = e->at, *miss[2];
	emit_op(e, 8, OP_LOAD, HOST_DX, dbt_guest(u->a));
	dbt_emit_lookup(t, t->b->key, miss);
	emit_patch(miss[0], t->d->exit_end);
	emit_patch(miss[1], t->d->exit_end);
	emit_op(e, 4, OP_GROUP5, call ? 2 : 4, dbt_block_code(HOST_CX, t->d->variant)); /* CALL, JMP */
	if (call)
		dbt_emit_landing(t, full, start);
}

static void translate_end(struct translation *t, const struct uop *u, const struct cpu *cpu)
{
	bool done = true;
	if (!(uop_facts[u->op] & FACT_SETS))
		dbt_flush_flags(t);
	if (u->op == UOP_jmp_reg || u->op == UOP_ret)
		translate_said_indirect(t);
	if (u->op == UOP_jmp)
		translate_jump(t);
	else if (u->op == UOP_fall)
		dbt_emit_way(t, 1, emit_jump(t->e));
	else if (u->op >= UOP_j_o && u->op <= UOP_j_g)
		translate_branch(t, dbt_emit_condition(t, u->op - UOP_j_o));
	else if (u->op == UOP_jmp_reg)
		translate_indirect(t, u);
	else if (u->op == UOP_loop)
		done = translate_loop(t, u);
	else if (u->op == UOP_ret)
		done = dbt_emit_ret(t, u);
	else
		done = translate_fused(t, u);
	if (u->op == UOP_sys_end) {
		dbt_emit_system(t, u, cpu);
		emit_mov_imm(t->e, HOST_CX, (uint64_t)(uintptr_t)u);
		emit_jump_to(t->e, !t->observed && ((const struct uop_sys *)(uintptr_t)u->imm)->quick ? t->d->quick : t->d->system);
	} else if (!done)
		emit_jump_to(t->e, t->d->exit_end);
}

/* ---- the block ---- */
/* Whether an emitted micro-op writes a register that the flags are yet to be made from. */
static bool translate_loses(const struct translation *t, const struct uop *u)
{
	const struct dbt_recipe *r = &t->recipe;
	unsigned also = u->dst, more = u->dst;
	if (u->op >= UOP_mul8 && u->op <= UOP_idiv64)
		also = REG_AX, more = REG_DX;
	else if (u->op >= UOP_cwd16 && u->op <= UOP_cwd64)
		also = REG_DX;
	else if (u->op >= UOP_xchg8 && u->op <= UOP_xchg64)
		also = u->a;
	else if (u->op >= UOP_cmpxchg8 && u->op <= UOP_cmpxchg64)
		also = REG_AX;
	else if ((u->op >= UOP_push64_bd && u->op <= UOP_pop32_bd32) || u->op == UOP_add_sp)
		also = REG_SP;
	unsigned source = r->source == REG_ZERO ? (unsigned)REG_COUNT : r->source;
	return r->pending && (r->result == u->dst || r->result == also || r->result == more || source == u->dst || source == also || source == more);
}

bool dbt_emits(unsigned op)
{
	const struct dbt_row *row = &dbt_rows[op];
	if (row->shape == SHAPE_LOADX || row->shape == SHAPE_STOREX)
		return row->bytes >= 4;
	return row->shape != SHAPE_END && (row->shape != SHAPE_PLAIN || dbt_emits_alu(op) || op == UOP_sse || (op >= UOP_x_mov && op <= UOP_x_to_gpr));
}

/* Slow paths since `first` complete what they are for and go on behind it. */
static void translate_back(struct translation *t, unsigned first)
{
	for (unsigned i = first; i < t->sites; i++)
		if (t->site[i].kind == SITE_UOP || t->site[i].kind == SITE_OBSERVE)
			t->site[i].back = t->e->at, t->site[i].xmm = t->xmm, t->site[i].fp = t->fp;
}

/* Pushes or pops that follow on each other; returns how many. */
static unsigned translate_run(struct translation *t, const struct uop *u)
{
	unsigned n = dbt_stack_run(t, u), first = t->sites;
	if (!n)
		return 0;
	for (unsigned i = 0; i < n; i++)
		if (translate_loses(t, &u[i]))
			dbt_flush_flags(t);
	dbt_emit_stack_run(t, u, n);
	translate_back(t, first);
	return n;
}

static void translate_uop(struct translation *t, const struct uop *u)
{
	unsigned facts = uop_facts[u->op], first = t->sites;
	bool over = (facts & FACT_SETS) || dbt_flags_dead_after(u), loses = translate_loses(t, u);
	if (loses && !over)
		dbt_flush_flags(t);
	if (dbt_emit_alu(t, u) || dbt_emit_memory(t, u) || dbt_emit_sse(t, u)) {
		translate_back(t, first);
		if (loses && over && t->recipe.pending && !(facts & FACT_SETS)) { /* nobody will ask */
			t->recipe.pending = false;
			t->flags = -1;
		}
		return;
	}
	if ((facts & (FACT_USES | FACT_STOP)) || !(facts & FACT_SETS))
		dbt_flush_flags(t);
	t->recipe.pending = false;
	translate_call(t, u, translate_address(t->rows[u->op].call), facts & FACT_STOP);
	t->live = LIVE_NONE;
	t->xmm = 0;
	t->fp = false;
	if (facts & (FACT_SETS | FACT_USES | FACT_STOP))
		t->flags = -1;
}

/* The micro-op, or all of a run, by C functions; what emitted code kept beside them is made again. */
static void translate_slow(struct translation *t, const struct dbt_site *s)
{
	const struct dbt_row *row = &t->rows[s->u->op];
	dbt_emit_recipe(t, &s->recipe);
	if (s->uops == 1)
		translate_call(t, s->u, row->slow ? (uint64_t)(uintptr_t)row->slow : translate_address(row->call), true);
	for (const struct uop *u = s->u; s->uops > 1 && u < s->u + s->uops; u++)
		translate_call(t, u, translate_address(t->rows[u->op].call), true);
	dbt_emit_xmm_again(t, s->xmm);
	if (s->fp)
		emit_call_to(t->e, t->d->mxcsr_begin);
}

static void translate_site(struct translation *t, const struct dbt_site *s)
{
	switch (s->kind) {
	case SITE_OBSERVE:
		emit_mov_imm(t->e, HOST_DX, s->head);
		emit_call_to(t->e, t->d->observe[(uint8_t)s->head != EV_LOAD]);
		emit_patch(emit_jump_if(t->e, CC_NZ), s->hit);
		translate_slow(t, s);
		break;
	case SITE_UOP:
		translate_slow(t, s);
		break;
	case SITE_BLOCK:
		translate_call(t, s->u, (uint64_t)(uintptr_t)translate_observe, false);
		break;
	case SITE_DRAIN:
		emit_call_to(t->e, t->d->drain);
		break;
	case SITE_MXCSR:
		dbt_emit_recipe(t, &s->recipe);
		emit_mov_imm(t->e, HOST_DX, (uint64_t)(uintptr_t)s->u);
		emit_call_to(t->e, t->d->mxcsr_begin);
		break;
	}
}

static void translate_sites(struct translation *t)
{
	for (unsigned i = 0; i < t->sites; i++) {
		emit_patch(t->site[i].from, t->e->at);
		translate_site(t, &t->site[i]);
		emit_jump_to(t->e, t->site[i].back);
	}
}

bool dbt_translate(struct cpu *cpu, struct dbt *d, struct block *b)
{
	bool observed = cpu->blocks->observed;
	struct translation t; /* large: its list of slow paths is not cleared */
	uint8_t *start = d->emit.at;
	t.code = calloc(1, sizeof *t.code);
	if (!t.code)
		abort(); /* the real machine is out of memory: nothing can go on */
	t.d = d, t.b = b, t.e = &d->emit, t.rows = observed ? dbt_rows_observed : dbt_rows, t.observed = observed, t.flags = -1, t.live = LIVE_NONE, t.sites = 0;
	t.recipe.pending = t.last = t.fp = false, t.xmm = 0;
	const uint8_t *body = translate_entry(&t);
	const struct uop *u = b->uop;
	while (t.rows[u->op].shape != SHAPE_END) {
		unsigned run = translate_run(&t, u);
		if (!run)
			translate_uop(&t, u);
		u += run ? run : 1;
	}
	translate_end(&t, u, cpu);
	translate_sites(&t);
	if (d->emit.full) {
		free(t.code);
		d->emit.at = start;
		d->emit.full = false;
		return false;
	}
	t.code->block = b;
	t.code->enter = start + d->emit.to_run;
	t.code->body = body + d->emit.to_run;
	dbt_keep(d, t.code);
	return true;
}
