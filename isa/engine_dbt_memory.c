/*
 * Emitters of loads and stores: the fast table's compare inline, the rest out of line.
 *
 * Invariant: on a hit, exactly what the threaded engine's handler does, its event included; on a miss, the micro-op's slow C function does all of it.
 */
#include "crack.h"
#include "engine_dbt.h"
#include "flags.h"
#include <stddef.h>

static void memory_ea(struct translation *t, const struct uop *u, unsigned form) /* ax */
{
	struct emit *e = t->e;
	bool narrow = form == MEMORY_FORM_bd32 || form == MEMORY_FORM_sib32, plain = form == MEMORY_FORM_bd || form == MEMORY_FORM_bd32;
	if (form == MEMORY_FORM_abs) {
		emit_mov_imm(e, HOST_AX, u->imm);
		return;
	}
	dbt_emit_ea(t, narrow ? 4 : 8, HOST_AX, u, !plain);
	if (form == MEMORY_FORM_seg)
		emit_alu(e, 8, ALU_ADD, HOST_AX, dbt_field(offsetof(struct cpu, seg) + u->seg * sizeof(struct segment) + offsetof(struct segment, base)));
}

struct dbt_site *dbt_emit_site(struct translation *t, enum dbt_site_kind kind, const struct uop *u, uint8_t *from)
{
	struct dbt_site *s = &t->site[t->sites];
	if (t->sites == DBT_MAX_SITES - 1) /* the last one takes what is too much, and is not looked at */
		t->e->full = true;
	else
		t->sites++;
	*s = (struct dbt_site){ .kind = kind, .from = from, .u = u, .uops = 1, .recipe = t->recipe };
	return s;
}

void dbt_emit_slow(struct translation *t, const struct uop *u, uint8_t *from) { dbt_emit_site(t, SITE_UOP, u, from); }

/* Looks ax up in the fast table; r9 + cx = the entry. Misses go to the slow path, which is returned. */
static struct dbt_site *memory_look(struct translation *t, const struct uop *u, unsigned bytes, size_t column)
{
	struct emit *e = t->e;
	emit_op(e, 4, OP_LOAD, HOST_CX, emit_register(HOST_AX));
	emit_shift_imm(e, 4, SHIFT_SHR, emit_register(HOST_CX), 12 - FAST_ENTRY_SHIFT);
	emit_alu(e, 4, ALU_AND, HOST_CX, DBT_FIELD(mem.byte_mask)); /* in memory: the table may grow */
	emit_op(e, 8, bytes > 1 ? OP_LEA : OP_LOAD, HOST_DX, bytes > 1 ? emit_memory(HOST_AX, (int32_t)bytes - 1) : emit_register(HOST_AX));
	emit_alu_imm(e, 8, ALU_AND, emit_register(HOST_DX), -4096);
	emit_alu(e, 8, ALU_OR, HOST_DX, DBT_FIELD(mem.tag));
	emit_alu(e, 8, ALU_CMP, HOST_DX, emit_indexed(DBT_FAST, HOST_CX, 0, (int32_t)column));
	return dbt_emit_site(t, SITE_UOP, u, emit_jump_if(e, CC_NZ));
}

void dbt_emit_event(struct translation *t, uint64_t word)
{
	struct emit *e = t->e;
	if (!t->d->events_on)
		return;
	emit_op(e, 8, OP_LOAD, HOST_CX, DBT_FIELD(events));
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_memory(HOST_CX, offsetof(struct event_sink, next)));
	emit_store_imm(e, 4, emit_memory(HOST_CX, 0), (int32_t)word);
	emit_store_imm(e, 4, emit_memory(HOST_CX, 4), (int32_t)(word >> 32));
	emit_op(e, 8, OP_STORE, HOST_AX, emit_memory(HOST_CX, 8));
	emit_op(e, 8, OP_LEA, HOST_CX, emit_memory(HOST_CX, sizeof(struct event)));
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(events));
	emit_op(e, 8, OP_STORE, HOST_CX, emit_memory(HOST_AX, offsetof(struct event_sink, next)));
	emit_alu(e, 8, ALU_CMP, HOST_CX, emit_memory(HOST_AX, offsetof(struct event_sink, limit)));
	struct dbt_site *s = dbt_emit_site(t, SITE_DRAIN, NULL, emit_jump_if(e, CC_A));
	s->back = e->at;
}

/* Whether an access goes through the filter. */
static bool memory_filtered(const struct translation *t, enum event_kind kind) { return t->observed && kind != EV_NONE && t->d->events_on && t->d->filter; }

static uint64_t memory_head(const struct translation *t, enum event_kind kind, unsigned bytes) { return kind | (t->b->key & KEY_USER ? EVF_USER << 8 : 0) | bytes << 16; }

/* Looks ax up in the filter, counts a hit; cx = the addend. A hit there would be one in the fast table: this one is smaller, and its place is known. */
static struct emit_place memory_filter(struct translation *t, const struct uop *u, enum event_kind kind, unsigned bytes)
{
	const struct event_filter *f = t->d->filter;
	struct emit *e = t->e;
	size_t at = offsetof(struct cpu, filter.entry), column = kind == EV_LOAD ? offsetof(struct event_filter_entry, read) : offsetof(struct event_filter_entry, write);
	size_t addend = offsetof(struct event_filter_entry, addend) + (kind == EV_LOAD ? 0 : sizeof(uint64_t));
	emit_op(e, 4, OP_LOAD, HOST_CX, emit_register(HOST_AX));
	dbt_emit_filter_index(e, f, HOST_CX);
	emit_op(e, 8, OP_LEA, HOST_DX, emit_memory(HOST_AX, (int32_t)bytes - 1));
	emit_alu_imm(e, 8, ALU_AND, emit_register(HOST_DX), -(1 << f->shape.granule));
	emit_alu(e, 8, ALU_OR, HOST_DX, DBT_FIELD(filter.key));
	emit_alu(e, 8, ALU_CMP, HOST_DX, emit_indexed(HOST_BP, HOST_CX, 0, (int32_t)(at + column) - DBT_BIAS));
	struct dbt_site *s = dbt_emit_site(t, SITE_OBSERVE, u, emit_jump_if(e, CC_NZ));
	if (f->shape.pairs)
		emit_store_imm(e, 1, emit_indexed(HOST_BP, HOST_CX, 0, (int32_t)(at + offsetof(struct event_filter_entry, last)) - DBT_BIAS), kind != EV_LOAD);
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_indexed(HOST_BP, HOST_CX, 0, (int32_t)(at + addend) - DBT_BIAS));
	emit_alu_imm(e, 8, ALU_ADD, DBT_FIELD(filter.accesses), 1);
	s->hit = e->at;
	s->head = (uint32_t)memory_head(t, kind, bytes);
	return emit_indexed(HOST_AX, HOST_CX, 0, 0);
}

/* Looks ax up and writes the event, if there is one: where the bytes are: ax + cx, or dx behind an event. */
static struct emit_place memory_find(struct translation *t, const struct uop *u, enum event_kind kind, unsigned bytes)
{
	struct emit *e = t->e;
	if (memory_filtered(t, kind))
		return memory_filter(t, u, kind, bytes);
	memory_look(t, u, bytes, kind == EV_LOAD ? offsetof(struct fast_entry, read) : offsetof(struct fast_entry, write));
	emit_op(e, 8, OP_LOAD, t->observed ? HOST_DX : HOST_CX, emit_indexed(DBT_FAST, HOST_CX, 0, offsetof(struct fast_entry, addend)));
	if (!t->observed)
		return emit_indexed(HOST_AX, HOST_CX, 0, 0);
	emit_alu(e, 8, ALU_ADD, HOST_DX, emit_register(HOST_AX));
	if (kind != EV_NONE)
		dbt_emit_event(t, memory_head(t, kind, bytes));
	return emit_memory(HOST_DX, 0);
}

/* ---- loads ---- */
static const struct { uint32_t op; uint8_t size; } load_as[] = {
	[FAMILY_ld8] = { OP_MOVZX8, 4 }, [FAMILY_ld16] = { OP_MOVZX16, 4 }, [FAMILY_ld32] = { OP_LOAD, 4 }, [FAMILY_ld64] = { OP_LOAD, 8 },
	[FAMILY_ld8s32] = { OP_MOVSX8, 4 }, [FAMILY_ld8s64] = { OP_MOVSX8, 8 }, [FAMILY_ld16s32] = { OP_MOVSX16, 4 }, [FAMILY_ld16s64] = { OP_MOVSX16, 8 },
	[FAMILY_ld32s64] = { OP_MOVSXD, 8 },
	[FAMILY_rmw8] = { OP_MOVZX8, 4 }, [FAMILY_rmw16] = { OP_MOVZX16, 4 }, [FAMILY_rmw32] = { OP_LOAD, 4 }, [FAMILY_rmw64] = { OP_LOAD, 8 },
};

static void load_alu(struct translation *t, const struct uop *u, const struct dbt_row *row, struct emit_place from)
{
	static const struct { uint8_t alu; uint8_t kind; } as[] = { /* ORDER LOAD_ALU */
		{ ALU_ADD, FLAGS_ADD }, { ALU_OR, FLAGS_LOGIC }, { ALU_AND, FLAGS_LOGIC }, { ALU_SUB, FLAGS_SUB }, { ALU_XOR, FLAGS_LOGIC },
	};
	unsigned i = (row->family - FAMILY_add32_rm) / 2, lg = row->bytes == 8 ? 3 : 2;
	if (dbt_flags_dead_after(u) && dbt_host[u->dst] != HOST_NONE) {
		emit_alu(t->e, row->bytes, as[i].alu, dbt_host[u->dst], from);
		return;
	}
	emit_op(t->e, row->bytes, OP_LOAD, HOST_CX, from);
	emit_op(t->e, row->bytes, OP_LOAD, HOST_AX, dbt_guest(u->dst));
	emit_alu(t->e, row->bytes, as[i].alu, HOST_AX, emit_register(HOST_CX));
	dbt_emit_flags(t, as[i].kind | lg, HOST_AX, as[i].kind == FLAGS_LOGIC ? HOST_NONE : HOST_CX);
	dbt_write(t, u->dst, HOST_AX);
}

static void memory_load(struct translation *t, const struct uop *u, const struct dbt_row *row)
{
	struct emit *e = t->e;
	bool rmw = row->shape == SHAPE_RMW;
	struct emit_place from = memory_find(t, u, rmw ? EV_RMW : EV_LOAD, row->bytes);
	unsigned to = dbt_target(u->dst, HOST_AX);
	if (row->family >= FAMILY_add32_rm && row->family <= FAMILY_xor64_rm) {
		load_alu(t, u, row, from);
	} else if (row->family == FAMILY_pop64 || row->family == FAMILY_pop32) {
		unsigned size = row->bytes;
		emit_op(e, size, OP_LOAD, HOST_AX, from);
		emit_op(e, size, OP_LEA, dbt_host[REG_SP], emit_memory(dbt_host[REG_SP], (int32_t)size));
		dbt_write(t, u->dst, HOST_AX);
	} else {
		emit_op(e, load_as[row->family].size, load_as[row->family].op, to, from);
		dbt_written(t, u->dst, to);
	}
}

/* ---- stores ---- */
static void store_value(struct translation *t, const struct uop *u, const struct dbt_row *row, struct emit_place to)
{
	struct emit *e = t->e;
	unsigned f = row->family, size = row->bytes, scratch = to.base == HOST_DX ? HOST_AX : HOST_DX;
	bool immediate = (f >= FAMILY_sti8 && f <= FAMILY_sti64) || f == FAMILY_pushi64 || f == FAMILY_pushi32;
	if (immediate && (size < 8 || u->imm == (uint64_t)(int64_t)(int32_t)u->imm)) {
		emit_store_imm(e, size, to, (int32_t)u->imm);
	} else {
		if (immediate)
			emit_mov_imm(e, scratch, u->imm);
		emit_op(e, size, OP_STORE, immediate ? scratch : dbt_read(t, u->b, scratch), to);
	}
}

static bool is_push(unsigned family) { return family == FAMILY_push64 || family == FAMILY_push32 || family == FAMILY_pushi64 || family == FAMILY_pushi32; }

static void memory_store(struct translation *t, const struct uop *u, const struct dbt_row *row)
{
	unsigned size = row->bytes;
	store_value(t, u, row, memory_find(t, u, row->shape == SHAPE_QUIET ? EV_NONE : EV_STORE, size));
	if (is_push(row->family))
		emit_op(t->e, size, OP_LEA, dbt_host[REG_SP], emit_memory(dbt_host[REG_SP], -(int32_t)size));
}

/* ---- pushes behind each other, or pops: looked up once ---- */
enum { STACK_RUN_MOST = 16 };

static bool run_member(const struct dbt_row *row, const struct dbt_row *first, const struct uop *u)
{
	bool push = is_push(first->family), pop = row->family == FAMILY_pop64 || row->family == FAMILY_pop32;
	if (row->form != first->form || row->bytes != first->bytes || u->a != REG_SP || u->disp != (push ? -(int32_t)row->bytes : 0))
		return false;
	return push ? is_push(row->family) && u->b != REG_SP : pop && u->dst != REG_SP;
}

unsigned dbt_stack_run(const struct translation *t, const struct uop *u)
{
	const struct dbt_row *first = &t->rows[u->op], *last;
	unsigned n = 0;
	if (t->observed || first->shape == SHAPE_END || (!is_push(first->family) && first->family != FAMILY_pop64 && first->family != FAMILY_pop32))
		return 0;
	while (n < STACK_RUN_MOST && run_member(&t->rows[u[n].op], first, &u[n]))
		n++;
	last = &t->rows[u[n].op]; /* RET reads without moving the stack pointer yet */
	if (n && !is_push(first->family) && (last->family == FAMILY_ld64 || last->family == FAMILY_ld32) && last->form == first->form && last->bytes == first->bytes && u[n].a == REG_SP &&
		u[n].disp == 0 && u[n].dst != REG_SP)
		n++;
	return n < 2 ? 0 : n;
}

void dbt_emit_stack_run(struct translation *t, const struct uop *u, unsigned n)
{
	struct emit *e = t->e;
	unsigned size = t->rows[u->op].bytes;
	bool push = is_push(t->rows[u->op].family);
	int32_t bytes = (int32_t)(n * size), moved = push ? -bytes : t->rows[u[n - 1].op].family == FAMILY_ld64 || t->rows[u[n - 1].op].family == FAMILY_ld32 ? bytes - (int32_t)size : bytes;
	t->live = LIVE_NONE;
	emit_op(e, size, OP_LEA, HOST_AX, emit_memory(dbt_host[REG_SP], push ? -bytes : 0));
	memory_look(t, u, (unsigned)bytes, push ? offsetof(struct fast_entry, write) : offsetof(struct fast_entry, read))->uops = n;
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_indexed(DBT_FAST, HOST_CX, 0, offsetof(struct fast_entry, addend)));
	for (unsigned i = 0; i < n; i++) {
		struct emit_place at = emit_indexed(HOST_AX, HOST_CX, 0, (int32_t)((push ? n - 1 - i : i) * size));
		unsigned to = dbt_target(u[i].dst, HOST_DX);
		if (push) {
			store_value(t, &u[i], &t->rows[u[i].op], at);
		} else {
			emit_op(e, size, OP_LOAD, to, at);
			dbt_written(t, u[i].dst, to);
		}
	}
	emit_op(e, size, OP_LEA, dbt_host[REG_SP], emit_memory(dbt_host[REG_SP], moved));
}

/* ---- XMM ---- */
static void memory_xmm_move(struct translation *t, const struct uop *u, const struct dbt_row *row)
{
	bool is_load = row->shape == SHAPE_LOADX;
	if (row->family == FAMILY_ldx16a || row->family == FAMILY_stx16a) {
		emit_op(t->e, 1, 0xf7, 0, emit_register(HOST_AX)); /* TEST al, 15 */
		emit_bytes(t->e, "\x0f", 1);
		dbt_emit_slow(t, u, emit_jump_if(t->e, CC_NZ));
	}
	struct emit_place at = memory_find(t, u, is_load ? EV_LOAD : EV_STORE, row->bytes);
	if (is_load)
		dbt_emit_xmm_load(t, row->bytes, u->dst, at);
	else
		dbt_emit_xmm_store(t, row->bytes, u->b, at);
}

/* ---- PUSHA and POPA ---- */
/* On a flat 32-bit stack, all in one page, with nobody listening: help_pusha() and help_popa() inline. */
static bool memory_all_eight(struct translation *t, const struct uop *u, bool push)
{
	struct emit *e = t->e;
	if (t->observed || u->size != 4 || (uint32_t)u->disp != ~0u || !(t->b->key & KEY_FLAT_SS))
		return false;
	dbt_flush_flags(t);
	t->live = LIVE_NONE;
	emit_op(e, 4, OP_LEA, HOST_AX, emit_memory(dbt_host[REG_SP], push ? -32 : 0));
	memory_look(t, u, 32, push ? offsetof(struct fast_entry, write) : offsetof(struct fast_entry, read));
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_indexed(DBT_FAST, HOST_CX, 0, offsetof(struct fast_entry, addend)));
	for (unsigned i = 0; i < 8; i++) /* AX at the top, DI at the bottom */
		if (push || i != REG_SP)
			emit_op(e, 4, push ? OP_STORE : OP_LOAD, dbt_host[REG_AX + i], emit_indexed(HOST_AX, HOST_CX, 0, (int32_t)(28 - i * 4)));
	emit_op(e, 4, OP_LEA, dbt_host[REG_SP], emit_memory(dbt_host[REG_SP], push ? -32 : 32));
	return true;
}

bool dbt_emit_memory(struct translation *t, const struct uop *u)
{
	const struct dbt_row *row = &t->rows[u->op];
	if (u->op == UOP_help && (u->imm == (uint64_t)(uintptr_t)help_pusha || u->imm == (uint64_t)(uintptr_t)help_popa))
		return memory_all_eight(t, u, u->imm == (uint64_t)(uintptr_t)help_pusha);
	bool xmm = row->shape == SHAPE_LOADX || row->shape == SHAPE_STOREX;
	if (row->shape == SHAPE_PLAIN || (xmm && row->bytes < 4))
		return false;
	t->live = LIVE_NONE;
	memory_ea(t, u, row->form);
	if (xmm)
		memory_xmm_move(t, u, row);
	else if (row->shape == SHAPE_LOAD || row->shape == SHAPE_RMW)
		memory_load(t, u, row);
	else
		memory_store(t, u, row);
	return true;
}
