/*
 * System calls in line, where nobody observes: SYSCALL, SYSRET and SWAPGS as their quick forms in C do them (isa/system_call.c, system_descriptor.c); and CLI, STI as sys_cli(), sys_sti().
 *
 * Invariant: all is asked before anything is changed. What asks for more than the common case leaves by one of `out`, has changed nothing, and is done by the C functions; what is done here
 * is what the quick form would have done, and the next block is looked for where it would have been.
 *
 * Code of SYSCALL, SYSRET and SWAPGS is 64-bit on both sides, so that of the mode only the privilege level changes, and block key, EFLAGS.TF (clear: no block with KEY_TRAP is translated) and segments are constants.
 */
#include "engine_dbt.h"
#include "flags.h"
#include "transfer.h"
#include "user_calls.h"

struct questions { /* jumps to where the C functions take over */
	struct translation *t;
	uint8_t *out[12];
	unsigned n;
};
static void out_if(struct questions *q, unsigned cc) { q->out[q->n++] = emit_jump_if(q->t->e, cc); }

static void out_unless_zero(struct questions *q, unsigned size, size_t field)
{
	emit_alu_imm(q->t->e, size, ALU_CMP, dbt_field(field), 0);
	out_if(q, CC_NZ);
}

/* TEST of 1 or 4 bytes. */
static void test_bits(struct emit *e, unsigned size, struct emit_place place, uint32_t bits)
{
	emit_op(e, size, OP_GROUP3, 0, place);
	emit_bytes(e, &bits, size);
}

/* quick_allowed(); functional code has no events. */
static void ask_allowed(struct questions *q, enum sensitive what)
{
	test_bits(q->t->e, 1, dbt_field(offsetof(struct cpu, vmm.trap_set) + what / 8), 1u << what % 8);
	out_if(q, CC_NZ);
}

/* What SYSCALL and SYSRET share, and that the next block may be entered: a last block is run with the budget gone. STAR as it is now is a constant of the code, for the segments. */
static void ask_fast_call(struct questions *q, enum sensitive what, uint64_t star)
{
	struct emit *e = q->t->e;
	emit_op(e, 8, OP_TEST, DBT_BUDGET, emit_register(DBT_BUDGET));
	out_if(q, CC_LE);
	out_unless_zero(q, 4, offsetof(struct cpu, attention));
	ask_allowed(q, what);
	out_unless_zero(q, 8, offsetof(struct cpu, vmm.cpl_changed));
	test_bits(e, 1, DBT_FIELD(efer), EFER_SCE);
	out_if(q, CC_Z);
	emit_mov_imm(e, HOST_AX, star);
	emit_alu(e, 8, ALU_CMP, HOST_AX, DBT_FIELD(star));
	out_if(q, CC_NZ);
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(mem.mode_tag[MEMORY_USER])); /* else a RET may not tell whose CALL it meets (dbt_next()) */
	emit_alu(e, 8, ALU_CMP, HOST_AX, DBT_FIELD(mem.mode_tag[MEMORY_SUPERVISOR]));
	out_if(q, CC_Z);
}

/* user_call_hash64(). r11 holds a temporary, which has ended with its instruction. */
static void count_user_call(struct translation *t, uint64_t pc)
{
	struct emit *e = t->e;
	emit_mov_imm(e, HOST_CX, pc);
	emit_alu(e, 4, ALU_XOR, HOST_11, emit_register(HOST_11));
	for (const struct user_call_pair *p = user_call_pairs64; p < user_call_pairs64 + USER_CALL_PAIRS64; p++) {
		emit_mov_imm(e, HOST_AX, p->key[0]);
		emit_alu(e, 8, ALU_ADD, HOST_AX, dbt_guest(p->first));
		emit_mov_imm(e, HOST_DX, p->key[1]);
		emit_alu(e, 8, ALU_ADD, HOST_DX, dbt_guest(p->second));
		emit_op(e, 8, OP_GROUP3, 4, emit_register(HOST_DX)); /* MUL */
		emit_alu(e, 8, ALU_ADD, HOST_CX, emit_register(HOST_AX));
		emit_alu(e, 8, ALU_ADC, HOST_11, emit_register(HOST_DX));
	}
	emit_mov_imm(e, HOST_AX, USER_CALL_LOW);
	emit_alu(e, 8, ALU_XOR, HOST_AX, emit_register(HOST_CX));
	emit_mov_imm(e, HOST_DX, USER_CALL_HIGH);
	emit_alu(e, 8, ALU_XOR, HOST_DX, emit_register(HOST_11));
	emit_op(e, 8, OP_GROUP3, 4, emit_register(HOST_DX));
	emit_alu(e, 8, ALU_XOR, HOST_AX, emit_register(HOST_DX));
	emit_mov_imm(e, HOST_CX, USER_CALL_LAST);
	emit_op(e, 8, OP_IMUL, HOST_AX, emit_register(HOST_CX));
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_register(HOST_AX));
	emit_shift_imm(e, 8, SHIFT_SHR, emit_register(HOST_CX), 32);
	emit_alu(e, 8, ALU_XOR, HOST_AX, emit_register(HOST_CX));
	emit_op(e, 8, ALU_ADD * 8 + 1, HOST_AX, DBT_FIELD(user_calls));
}

/* The arithmetic flags = those in ax. */
static void put_arithmetic(struct emit *e)
{
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_AX), FLAGS_ARITH);
	emit_op(e, 8, OP_STORE, HOST_AX, DBT_FIELD(flags.result));
	emit_store_imm(e, 4, DBT_FIELD(flags.op), FLAGS_EXPLICIT);
}

static void put_segment(struct emit *e, enum segment_name name, struct segment s)
{
	size_t at = offsetof(struct cpu, seg) + name * sizeof s;
	_Static_assert(offsetof(struct segment, selector) == 0 && offsetof(struct segment, attributes) == 4, "one word");
	emit_mov_imm(e, HOST_AX, (uint64_t)s.attributes << 32 | s.selector);
	emit_op(e, 8, OP_STORE, HOST_AX, dbt_field(at));
	emit_store_imm(e, 4, dbt_field(at + offsetof(struct segment, limit)), (int32_t)s.limit);
	emit_store_imm(e, 8, dbt_field(at + offsetof(struct segment, base)), (int32_t)s.base);
}

/* block_stamp(), with mem.tag in ax; attention is not wanted. */
static void put_stamp(struct emit *e)
{
	emit_op(e, 8, OP_LOAD, HOST_CX, DBT_FIELD(mem.epoch));
	emit_alu_imm(e, 8, ALU_ADD, emit_register(HOST_CX), 1);
	emit_shift_imm(e, 8, SHIFT_SHL, emit_register(HOST_CX), 12);
	emit_alu(e, 8, ALU_OR, HOST_CX, emit_register(HOST_AX));
	emit_op(e, 8, OP_STORE, HOST_CX, DBT_FIELD(stamp));
}

/* fast_segments_put() and quick_finish(), with the new EFLAGS in ax; AC is clear unless `cpl` is 3. */
static void put_level(struct translation *t, uint16_t cs, uint16_t ss, unsigned cpl, uint32_t key)
{
	struct emit *e = t->e;
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_AX), FLAG_IF);
	emit_shift_imm(e, 4, SHIFT_SHR, emit_register(HOST_AX), 6);
	emit_alu_imm(e, 4, ALU_OR, emit_register(HOST_AX), (int32_t)(cpl | 4)); /* ORDER STATE: cpu_state_id() */
	emit_op(e, 4, OP_STORE, HOST_AX, DBT_FIELD(state_emitted));
	put_segment(e, SEG_CS, segment_flat_code((uint16_t)((cs & ~3u) | cpl), cpl, true));
	put_segment(e, SEG_SS, segment_flat_data((uint16_t)((ss & ~3u) | cpl), cpl));
	emit_store_imm(e, 1, DBT_FIELD(cpl), (int32_t)cpl);
	emit_store_imm(e, 4, DBT_FIELD(mode_key), (int32_t)key);
	emit_op(e, 8, OP_LOAD, HOST_AX, dbt_field(offsetof(struct cpu, mem.mode_tag) + (cpl == 3 ? MEMORY_USER : MEMORY_SUPERVISOR) * sizeof(uint64_t)));
	emit_op(e, 8, OP_STORE, HOST_AX, DBT_FIELD(mem.tag));
	put_stamp(e);
}

/* Goes on at offset dx. */
static void go_on(struct translation *t, uint32_t key)
{
	struct emit *e = t->e;
	uint8_t *miss[2];
	dbt_emit_lookup(t, key, miss);
	emit_op(e, 4, OP_GROUP5, 4, dbt_block_code(HOST_CX, t->d->variant)); /* JMP */
	emit_patch(miss[0], e->at);
	emit_patch(miss[1], e->at);
	emit_op(e, 8, OP_STORE, HOST_DX, DBT_FIELD(rip));
	emit_jump_to(e, t->d->exit_system);
}

static void system_syscall(struct translation *t, struct questions *q, const struct uop *u, const struct sys_operands *o, const struct cpu *cpu)
{
	struct emit *e = t->e;
	uint16_t cs = (uint16_t)(cpu->star >> 32);
	uint32_t key = t->b->key & ~(uint32_t)KEY_USER;
	ask_fast_call(q, SENS_SYSCALL, cpu->star);
	test_bits(e, 4, DBT_FIELD(eflags), FLAG_AC);
	out_if(q, CC_NZ);
	if (t->b->key & KEY_USER)
		count_user_call(t, t->b->pc + u->offset);
	emit_call_to(e, t->d->call_flags);
	emit_op(e, 4, OP_LOAD, HOST_CX, DBT_FIELD(eflags));
	emit_alu(e, 4, ALU_OR, HOST_AX, emit_register(HOST_CX));
	dbt_write(t, REG_R11, HOST_AX);
	emit_mov_imm(e, dbt_host[REG_CX], o->next);
	emit_op(e, 4, OP_LOAD, HOST_DX, DBT_FIELD(fmask));
	emit_op(e, 4, OP_GROUP3, 2, emit_register(HOST_DX)); /* NOT */
	emit_alu(e, 4, ALU_AND, HOST_AX, emit_register(HOST_DX)); /* Linux clears the arithmetic ones, too */
	put_arithmetic(e);
	emit_op(e, 4, OP_LOAD, HOST_AX, emit_register(HOST_CX));
	emit_alu(e, 4, ALU_AND, HOST_AX, emit_register(HOST_DX));
	emit_alu_imm(e, 4, ALU_OR, emit_register(HOST_AX), 2);
	emit_op(e, 4, OP_STORE, HOST_AX, DBT_FIELD(eflags));
	put_level(t, cs, (uint16_t)((cs & ~3u) + 8), 0, key);
	emit_op(e, 8, OP_LOAD, HOST_DX, DBT_FIELD(lstar));
	go_on(t, key);
}

static void system_sysret(struct translation *t, struct questions *q, const struct cpu *cpu)
{
	struct emit *e = t->e;
	const uint32_t kept = FLAGS_SYSRET & ~(FLAGS_ARITH | FLAG_RF);
	unsigned base = (unsigned)(cpu->star >> 48);
	uint32_t key = t->b->key | KEY_USER;
	ask_fast_call(q, SENS_SYSRET, cpu->star);
	emit_alu_imm(e, 1, ALU_CMP, DBT_FIELD(cpl), 0);
	out_if(q, CC_NZ);
	emit_op(e, 8, OP_LOAD, HOST_DX, emit_register(dbt_host[REG_CX])); /* canonical with 48 bits: with 57, too */
	emit_shift_imm(e, 8, SHIFT_SHL, emit_register(HOST_DX), 16);
	emit_shift_imm(e, 8, SHIFT_SAR, emit_register(HOST_DX), 16);
	emit_alu(e, 8, ALU_CMP, HOST_DX, emit_register(dbt_host[REG_CX]));
	out_if(q, CC_NZ);
	emit_op(e, 4, OP_LOAD, HOST_CX, dbt_guest(REG_R11));
	emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(eflags));
	emit_alu(e, 4, ALU_OR, HOST_AX, emit_register(HOST_CX));
	test_bits(e, 4, emit_register(HOST_AX), FLAG_TF | FLAG_AC);
	out_if(q, CC_NZ);
	emit_op(e, 4, OP_LOAD, HOST_AX, emit_register(HOST_CX));
	put_arithmetic(e);
	emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(eflags)); /* eflags_put() */
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_AX), (int32_t)~(uint32_t)FLAGS_SYSRET);
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), (int32_t)kept);
	emit_alu(e, 4, ALU_OR, HOST_AX, emit_register(HOST_CX));
	emit_alu_imm(e, 4, ALU_OR, emit_register(HOST_AX), 2);
	emit_op(e, 4, OP_STORE, HOST_AX, DBT_FIELD(eflags));
	put_level(t, (uint16_t)(base + 16), (uint16_t)(base + 8), 3, key);
	go_on(t, key);
}

/* Its next block has a way of its own. */
static void system_swapgs(struct translation *t, struct questions *q)
{
	struct emit *e = t->e;
	emit_alu_imm(e, 1, ALU_CMP, DBT_FIELD(cpl), 0);
	out_if(q, CC_NZ);
	ask_allowed(q, SENS_SWAPGS);
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(seg[SEG_GS].base));
	emit_op(e, 8, OP_LOAD, HOST_CX, DBT_FIELD(kernel_gs_base));
	emit_op(e, 8, OP_STORE, HOST_AX, DBT_FIELD(kernel_gs_base));
	emit_op(e, 8, OP_STORE, HOST_CX, DBT_FIELD(seg[SEG_GS].base));
	dbt_emit_way(t, 1, emit_jump(e));
}

/* CLI, and STI where interrupts are on already, in the kernel; what else STI does holds them off. As uop_resume() behind the C function, stamps anew. */
static void system_interrupts(struct translation *t, struct questions *q, bool on)
{
	struct emit *e = t->e;
	uint32_t id = ((t->b->key & KEY_CODE_SIZE) == 8 ? 4 : 0) | (on ? FLAG_IF >> 6 : 0); /* ORDER STATE */
	emit_alu_imm(e, 1, ALU_CMP, DBT_FIELD(cpl), 0);
	out_if(q, CC_NZ);
	out_unless_zero(q, 4, offsetof(struct cpu, attention));
	ask_allowed(q, on ? SENS_STI : SENS_CLI);
	emit_op(e, 4, OP_LOAD, HOST_AX, DBT_FIELD(eflags));
	if (on) {
		test_bits(e, 4, emit_register(HOST_AX), FLAG_IF);
		out_if(q, CC_Z);
	} else {
		emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_AX), (int32_t)~FLAG_IF);
		emit_op(e, 4, OP_STORE, HOST_AX, DBT_FIELD(eflags));
	}
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_AX), FLAG_AC);
	emit_shift_imm(e, 4, SHIFT_SHR, emit_register(HOST_AX), 14);
	emit_alu_imm(e, 4, ALU_OR, emit_register(HOST_AX), (int32_t)id);
	emit_op(e, 4, OP_STORE, HOST_AX, DBT_FIELD(state_emitted));
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(mem.tag));
	put_stamp(e);
	dbt_emit_way(t, 1, emit_jump(e));
}

void dbt_emit_system(struct translation *t, const struct uop *u, const struct cpu *cpu)
{
	const struct uop_sys *s = (const struct uop_sys *)(uintptr_t)u->imm;
	struct questions q = { .t = t };
	bool wide = (t->b->key & KEY_CODE_SIZE) == 8;
	if (t->observed)
		return;
	if (s->fn == sys_syscall && wide)
		system_syscall(t, &q, u, &s->o, cpu);
	else if (s->fn == sys_sysret && wide && s->o.size == 8)
		system_sysret(t, &q, cpu);
	else if (s->fn == sys_swapgs && wide)
		system_swapgs(t, &q);
	else if (s->fn == sys_cli || s->fn == sys_sti)
		system_interrupts(t, &q, s->fn == sys_sti);
	for (unsigned i = 0; i < q.n; i++)
		emit_patch(q.out[i], t->e->at);
}
