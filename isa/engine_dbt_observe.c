/*
 * Loads and stores that the event filter does not know: the fast table's compare, the event, the filter's new entry.
 *
 * Invariant: what the emitted way does, dbt_observe() does, too (event_filter_access() is the meaning); it is given all that is not plain: an access that straddles two lines, a page that
 * may be large or is in doubt, keys that wrap, a filter of one slot. What the fast table does not know, neither does, and the micro-op's slow function is called.
 */
#include "engine_dbt.h"
#include "memory.h"
#include <stddef.h>

struct observed { uint64_t hit, addend; }; /* in ax and dx (SysV ABI, 3.2.3) */

static struct observed dbt_observe(struct cpu *cpu, uint64_t ea, uint64_t head)
{
	const uint8_t *real = memory_observe(cpu, (enum event_kind)(uint8_t)head, ea, head >> 16 & 0xffff);
	return (struct observed){ real != NULL, (uint64_t)(uintptr_t)real - ea };
}

/* ax, dx as they came; cx = the addend, not ZF: found. Never reads guest registers. */
static void observe_call(struct emit *e)
{
	static const uint8_t kept[] = { HOST_AX, HOST_DX, HOST_SI, HOST_DI, HOST_8, HOST_9, HOST_10, HOST_11 };
	for (unsigned i = 0; i < sizeof kept; i++)
		emit_push(e, kept[i]);
	emit_op(e, 8, OP_LEA, HOST_DI, emit_memory(HOST_BP, -DBT_BIAS));
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_AX));
	emit_mov_imm(e, HOST_AX, (uint64_t)(uintptr_t)dbt_observe);
	dbt_emit_call_c(e);
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_register(HOST_DX));
	emit_op(e, 4, OP_TEST, HOST_AX, emit_register(HOST_AX));
	for (unsigned i = sizeof kept; i-- > 0;)
		emit_pop(e, kept[i]);
	emit_ret(e);
}

static const uint8_t observe_kept[] = { HOST_SI, HOST_DI, HOST_8 };

static void observe_restore(struct emit *e)
{
	for (unsigned i = sizeof observe_kept; i-- > 0;)
		emit_pop(e, observe_kept[i]);
}

/* cx = the fast table's entry for ax, or away to `miss`; di = the last byte. */
static uint8_t *observe_look(struct emit *e, size_t column)
{
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_register(HOST_AX));
	emit_shift_imm(e, 8, SHIFT_SHR, emit_register(HOST_CX), 12 - FAST_ENTRY_SHIFT);
	emit_alu(e, 4, ALU_AND, HOST_CX, DBT_FIELD(mem.byte_mask));
	emit_alu(e, 8, ALU_ADD, HOST_CX, DBT_FIELD(mem.table));
	emit_op(e, 4, OP_LOAD, HOST_DI, emit_register(HOST_DX));
	emit_shift_imm(e, 4, SHIFT_SHR, emit_register(HOST_DI), 16);
	emit_op(e, 8, OP_LEA, HOST_DI, emit_indexed(HOST_AX, HOST_DI, 0, -1));
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_DI));
	emit_alu_imm(e, 8, ALU_AND, emit_register(HOST_SI), -4096);
	emit_alu(e, 8, ALU_OR, HOST_SI, DBT_FIELD(mem.tag));
	emit_alu(e, 8, ALU_CMP, HOST_SI, emit_memory(HOST_CX, (int32_t)column));
	return emit_jump_if(e, CC_NZ);
}

enum { ODD = 8 };

void dbt_emit_filter_index(struct emit *e, const struct event_filter *f, unsigned reg)
{
	int by = f->shape.granule - FILTER_ENTRY_SHIFT;
	_Static_assert(sizeof(struct event_filter_entry) == 1 << FILTER_ENTRY_SHIFT, "the index times the entry's size");
	if (by)
		emit_shift_imm(e, 4, by < 0 ? SHIFT_SHL : SHIFT_SHR, emit_register(reg), (unsigned)(by < 0 ? -by : by));
	emit_alu_imm(e, 4, ALU_AND, emit_register(reg), (int32_t)(f->mask << FILTER_ENTRY_SHIFT));
}

/* As page_touch() of event_filter.c; places to jump from where something is not plain in odd[]. di is left with the key. */
static void observe_page(struct emit *e, const struct event_filter *f, bool write, uint8_t *odd[ODD])
{
	const int32_t page = (int32_t)offsetof(struct cpu, filter.page) - DBT_BIAS;
	struct emit_place read_page = emit_indexed(HOST_BP, HOST_8, 0, page), write_page = emit_indexed(HOST_BP, HOST_8, 0, page + 8); /* ORDER: event_filter.page */
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_AX));
	emit_shift_imm(e, 8, SHIFT_SHR, emit_register(HOST_SI), 12);
	emit_op(e, 4, OP_LOAD, HOST_8, emit_register(HOST_SI));
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_8), f->shape.pages - 1);
	emit_shift_imm(e, 4, SHIFT_SHL, emit_register(HOST_8), 4);
	emit_op(e, 8, OP_LOAD, HOST_DI, DBT_FIELD(filter.key));
	emit_alu(e, 8, ALU_CMP, HOST_SI, write ? write_page : read_page);
	uint8_t *same = emit_jump_if(e, CC_Z);
	emit_alu_imm(e, 1, ALU_CMP, DBT_FIELD(filter.doubt), 0);
	odd[3] = emit_jump_if(e, CC_NZ);
	emit_alu(e, 8, ALU_CMP, HOST_SI, DBT_FIELD(filter.large_high));
	uint8_t *beyond = emit_jump_if(e, CC_A);
	emit_alu(e, 8, ALU_CMP, HOST_SI, DBT_FIELD(filter.large_low));
	odd[1] = emit_jump_if(e, CC_AE);
	emit_patch(beyond, e->at);
	odd[2] = NULL;
	if (f->shape.pairs) {
		emit_alu_imm(e, 8, ALU_CMP, DBT_FIELD(filter.paired), 0);
		odd[4] = emit_jump_if(e, CC_NZ);
	}
	if (f->shape.granule != 12) {
		emit_alu_imm(e, 8, ALU_ADD, emit_register(HOST_DI), FILTER_GENERATION);
		emit_alu_imm(e, 8, ALU_CMP, emit_register(HOST_DI), 1 << f->shape.granule);
		odd[2] = emit_jump_if(e, CC_AE);
		emit_op(e, 8, OP_STORE, HOST_DI, DBT_FIELD(filter.key));
	}
	emit_op(e, 8, OP_STORE, HOST_SI, read_page);
	if (write)
		emit_op(e, 8, OP_STORE, HOST_SI, write_page);
	else
		emit_store_imm(e, 8, write_page, -1);
	emit_patch(same, e->at);
}

/* Where a field of the entry is whose offset is in r8. */
static struct emit_place observe_entry(size_t field) { return emit_indexed(HOST_BP, HOST_8, 0, (int32_t)(offsetof(struct cpu, filter.entry) + field) - DBT_BIAS); }

/* TEST of a register with an immediate. */
static void observe_test(struct emit *e, unsigned size, unsigned reg, int32_t mask)
{
	emit_op(e, size, OP_GROUP3, 0, emit_register(reg));
	emit_bytes(e, &mask, sizeof mask);
}

/* The own tag and addend: si and cx. */
static void observe_own(struct emit *e, bool write)
{
	const size_t tag = write ? offsetof(struct event_filter_entry, write) : offsetof(struct event_filter_entry, read);
	emit_op(e, 8, OP_STORE, HOST_SI, observe_entry(tag));
	emit_op(e, 8, OP_STORE, HOST_CX, observe_entry(offsetof(struct event_filter_entry, addend) + write * sizeof(uint64_t)));
}

/* Where the own tag is of this generation, too: a third granule takes its place if the other one was touched last, and the consumer knows that. Else goes to odd[]. */
static void observe_third(struct emit *e, bool write, uint8_t **odd)
{
	emit_alu_imm(e, 1, ALU_CMP, observe_entry(offsetof(struct event_filter_entry, last)), !write);
	odd[0] = emit_jump_if(e, CC_NZ);
	emit_alu_imm(e, 1, ALU_CMP, observe_entry(offsetof(struct event_filter_entry, told)), !write);
	odd[1] = emit_jump_if(e, CC_NZ);
	observe_test(e, 8, HOST_DI, -2);
	odd[2] = emit_jump_if(e, CC_Z);
}

/* Where the other tag is of this generation: of the same granule, or of a second one. Returns a jump to where all is done. */
static uint8_t *observe_pair(struct emit *e, const struct event_filter *f, bool write, uint8_t **odd)
{
	const size_t own = write ? offsetof(struct event_filter_entry, write) : offsetof(struct event_filter_entry, read);
	const int32_t generation = (1 << f->shape.granule) - FILTER_GENERATION;
	emit_op(e, 8, OP_LOAD, HOST_DI, emit_register(HOST_SI));
	emit_alu(e, 8, ALU_XOR, HOST_DI, observe_entry(write ? offsetof(struct event_filter_entry, read) : offsetof(struct event_filter_entry, write)));
	observe_test(e, 4, HOST_DI, generation);
	uint8_t *dead = emit_jump_if(e, CC_NZ);
	emit_alu(e, 8, ALU_XOR, HOST_SI, observe_entry(own));
	observe_test(e, 4, HOST_SI, generation);
	uint8_t *room = emit_jump_if(e, CC_NZ);
	observe_third(e, write, odd);
	emit_patch(room, e->at);
	emit_alu(e, 8, ALU_XOR, HOST_SI, observe_entry(own));
	observe_own(e, write);
	observe_test(e, 8, HOST_DI, -2);
	uint8_t *alike = emit_jump_if(e, CC_Z);
	emit_store_imm(e, 2, observe_entry(offsetof(struct event_filter_entry, last)), write | write << 8); /* ORDER: event_filter_entry.told follows */
	emit_shift_imm(e, 8, SHIFT_SHR, emit_register(HOST_8), FILTER_ENTRY_SHIFT);
	emit_op(e, 8, OP_BTS, HOST_8, DBT_FIELD(filter.paired));
	emit_patch(alike, e->at);
	uint8_t *done = emit_jump(e);
	emit_patch(dead, e->at);
	return done;
}

/* The entry of ax, with key di and the addend in cx: entry_enter() of event_filter.c. Nothing has changed when it goes to odd[]. */
static void observe_enter(struct emit *e, const struct event_filter *f, bool write, uint8_t **odd)
{
	uint8_t *done = NULL;
	emit_op(e, 4, OP_LOAD, HOST_8, emit_register(HOST_AX));
	dbt_emit_filter_index(e, f, HOST_8);
	emit_op(e, 8, OP_LOAD, HOST_SI, emit_register(HOST_AX));
	emit_alu_imm(e, 8, ALU_AND, emit_register(HOST_SI), -(1 << f->shape.granule));
	emit_alu(e, 8, ALU_OR, HOST_SI, emit_register(HOST_DI));
	if (f->shape.pairs)
		done = observe_pair(e, f, write, odd);
	observe_own(e, write);
	if (write)
		observe_own(e, false);
	else
		emit_store_imm(e, 8, observe_entry(offsetof(struct event_filter_entry, write)), 0);
	emit_patch(done, e->at);
}

/* Writes the event; ends with the flags of comparing the next place with the limit. */
static void observe_write(struct emit *e)
{
	emit_op(e, 8, OP_LOAD, HOST_SI, DBT_FIELD(events));
	emit_op(e, 8, OP_LOAD, HOST_DI, emit_memory(HOST_SI, offsetof(struct event_sink, next)));
	emit_op(e, 8, OP_STORE, HOST_DX, emit_memory(HOST_DI, 0)); /* its upper half is 0 */
	emit_op(e, 8, OP_STORE, HOST_AX, emit_memory(HOST_DI, 8));
	emit_alu_imm(e, 8, ALU_ADD, emit_register(HOST_DI), sizeof(struct event));
	emit_op(e, 8, OP_STORE, HOST_DI, emit_memory(HOST_SI, offsetof(struct event_sink, next)));
	emit_store_imm(e, 1, emit_memory(HOST_SI, offsetof(struct event_sink, live)), true);
	emit_alu(e, 8, ALU_CMP, HOST_DI, emit_memory(HOST_SI, offsetof(struct event_sink, limit)));
}

static uint8_t *observe_emit(struct dbt *d, const struct event_filter *f, bool write)
{
	struct emit *e = &d->emit;
	uint8_t *start = e->at, *odd[ODD] = { NULL };
	if (f->shape.slots == 1) {
		observe_call(e);
		return start;
	}
	for (unsigned i = 0; i < sizeof observe_kept; i++)
		emit_push(e, observe_kept[i]);
	uint8_t *miss = observe_look(e, write ? offsetof(struct fast_entry, write) : offsetof(struct fast_entry, read));
	if (f->shape.granule != 12) {
		emit_alu(e, 8, ALU_XOR, HOST_DI, emit_register(HOST_AX));
		emit_alu_imm(e, 8, ALU_AND, emit_register(HOST_DI), -(1 << f->shape.granule));
		odd[0] = emit_jump_if(e, CC_NZ);
	}
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_memory(HOST_CX, offsetof(struct fast_entry, addend)));
	observe_page(e, f, write, odd);
	observe_enter(e, f, write, &odd[5]);
	observe_write(e);
	uint8_t *full = emit_jump_if(e, CC_A);
	uint8_t *drained = e->at;
	observe_restore(e);
	emit_op(e, 8, OP_TEST, HOST_SP, emit_register(HOST_SP)); /* not 0 */
	emit_ret(e);
	emit_patch(full, e->at);
	emit_push(e, HOST_CX);
	emit_push(e, HOST_AX);
	emit_call_to(e, d->drain);
	emit_pop(e, HOST_AX);
	emit_pop(e, HOST_CX);
	emit_jump_to(e, drained);
	for (unsigned i = 0; i < ODD; i++)
		emit_patch(odd[i], e->at);
	observe_restore(e);
	observe_call(e);
	emit_patch(miss, e->at);
	observe_restore(e);
	emit_alu(e, 4, ALU_CMP, HOST_CX, emit_register(HOST_CX)); /* ZF */
	emit_ret(e);
	return start;
}

void dbt_emit_observe(struct dbt *d, const struct event_filter *f)
{
	d->filter = f;
	for (unsigned write = 0; f && write < 2; write++)
		d->observe[write] = observe_emit(d, f, write);
}
