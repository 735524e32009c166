/* Far JMP, CALL, RET and IRET: SDM 2A CALL, INT, IRET, JMP and 2B RET, "Operation". */
#include "transfer.h"

/* ---------------------------------------------------------------- shared with delivery */
void code_offset_check(struct cpu *cpu, const struct segment *cs, uint64_t offset)
{
	bool wide = cpu_long_mode(cpu) && cs->attributes & SEGA_L;
	if (wide ? !cpu_canonical(cpu, offset) : offset > cs->limit)
		raise_selector(cpu, VEC_GP, 0);
}

/* Raises unless a far JMP or CALL may go directly (no gate) to this code segment. */
static void code_check_direct(struct cpu *cpu, uint16_t selector, uint64_t raw)
{
	unsigned dpl = descriptor_dpl(raw);
	bool allowed = descriptor_is_conforming(raw) ? dpl <= cpu->cpl : dpl == cpu->cpl && (selector & 3u) <= cpu->cpl;
	bool both = cpu_long_mode(cpu) && (raw >> 53 & 3) == 3; /* L and D: reserved */
	if (!allowed || both)
		raise_selector(cpu, VEC_GP, selector);
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_NP, selector);
}

void eflags_write(struct cpu *cpu, uint64_t value, uint32_t mask)
{
	if (eflags_put(cpu, (uint32_t)value, mask) & (FLAG_TF | FLAG_AC))
		cpu_mode_update(cpu);
}

uint32_t eflags_mask(const struct cpu *cpu, unsigned size)
{
	uint32_t mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID;
	bool ring0 = cpu->cpl == 0 || !cpu_protected(cpu);
	if (ring0)
		mask |= FLAG_IOPL;
	if (ring0 || cpu->cpl <= cpu_iopl(cpu))
		mask |= FLAG_IF;
	return size == 2 ? mask & 0xffff : mask;
}

/* Enters a code segment: cs with its selector's RPL forced to cpl. */
static void far_enter(struct cpu *cpu, struct segment cs, uint64_t offset, unsigned cpl)
{
	unsigned from = cpu->cpl;
	cs.selector = (uint16_t)((cs.selector & ~3u) | cpl);
	cpu->seg[SEG_CS] = cs;
	cpu->cpl = (uint8_t)cpl;
	cpu->rip = offset;
	transfer_finish(cpu, from);
}

/* ---------------------------------------------------------------- JMP and CALL */
struct far {
	uint16_t selector;
	uint64_t offset;
	unsigned size; /* operand size */
	bool call;
};

static void far_real(struct cpu *cpu, const struct sys_operands *o, const struct far *f)
{
	uint64_t offset = f->offset & width_mask(f->size);
	code_offset_check(cpu, &cpu->seg[SEG_CS], offset);
	if (f->call) {
		struct stack s = stack_current(cpu);
		stack_reserve(cpu, &s, 2, f->size);
		stack_push(cpu, &s, cpu->seg[SEG_CS].selector, f->size);
		stack_push(cpu, &s, o->next, f->size);
		stack_commit(cpu, &s);
	}
	segment_load_real(cpu, SEG_CS, f->selector);
	cpu->rip = offset;
	cpu_mode_update(cpu);
}

/* A code segment of the present privilege, directly or through a gate: `size` of the pushes. */
static void far_same(struct cpu *cpu, const struct sys_operands *o, struct segment cs, uint64_t offset, unsigned size, bool call, bool flat)
{
	struct stack s = stack_new(cpu, cpu->seg[SEG_SS], cpu->reg[REG_SP], cpu->cpl, flat, 0);
	if (call)
		stack_reserve(cpu, &s, 2, size);
	code_offset_check(cpu, &cs, offset);
	if (call) {
		stack_push(cpu, &s, cpu->seg[SEG_CS].selector, size);
		stack_push(cpu, &s, o->next, size);
		stack_commit(cpu, &s);
	}
	far_enter(cpu, cs, offset, cpu->cpl);
}

static void far_direct(struct cpu *cpu, const struct sys_operands *o, const struct far *f, uint64_t raw)
{
	code_check_direct(cpu, f->selector, raw);
	bool wide = cpu_long_mode(cpu) && descriptor_is_long(raw);
	uint64_t offset = f->offset & width_mask(f->size);
	struct segment cs = descriptor_segment(f->selector, raw);
	code_offset_check(cpu, &cs, wide ? offset : offset & 0xffffffff);
	far_same(cpu, o, descriptor_access(cpu, f->selector, raw), wide ? offset : offset & 0xffffffff, f->size, f->call, cpu_code64(cpu));
}

/* A call to a more privileged ring: stack switch, parameters copied (SDM 3A 5.8.5). */
static void far_inner(struct cpu *cpu, const struct sys_operands *o, struct segment cs, uint64_t offset, unsigned size, unsigned parameters)
{
	unsigned cpl = (cs.attributes & SEGA_DPL) >> SEGA_DPL_SHIFT;
	bool wide = size == 8;
	uint16_t selector = 0;
	uint64_t sp;
	uint32_t copied[31];
	tss_stack(cpu, cpl, 0, &selector, &sp);
	struct segment ss = wide ? segment_null((uint16_t)cpl, cpl) : segment_check_stack(cpu, selector, cpl, VEC_TS);
	struct stack s = stack_new(cpu, ss, sp, cpl, wide, selector), old = stack_current(cpu);
	stack_reserve(cpu, &s, 4 + parameters, size);
	for (unsigned i = 0; i < parameters; i++)
		copied[i] = (uint32_t)stack_pop(cpu, &old, size);
	code_offset_check(cpu, &cs, offset);
	stack_push(cpu, &s, cpu->seg[SEG_SS].selector, size);
	stack_push(cpu, &s, cpu->reg[REG_SP], size);
	for (unsigned i = parameters; i > 0; i--)
		stack_push(cpu, &s, copied[i - 1], size);
	stack_push(cpu, &s, cpu->seg[SEG_CS].selector, size);
	stack_push(cpu, &s, o->next, size);
	stack_commit(cpu, &s);
	cpu->seg[SEG_SS] = s.ss;
	far_enter(cpu, cs, offset, cpl);
}

static void far_gate(struct cpu *cpu, const struct sys_operands *o, const struct far *f, uint64_t raw)
{
	bool long_mode = cpu_long_mode(cpu), small = descriptor_type(raw) == TYPE_CALL16;
	uint16_t selector = gate_selector(raw);
	uint64_t offset = small ? raw & 0xffff : gate_offset_low(raw);
	if (descriptor_dpl(raw) < cpu->cpl || descriptor_dpl(raw) < (f->selector & 3u))
		raise_selector(cpu, VEC_GP, f->selector);
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_NP, f->selector);
	if (long_mode) {
		uint64_t upper = descriptor_read_upper(cpu, f->selector, VEC_GP);
		if (upper >> 40 & 0x1f) /* SDM 3A figure 5-8: the upper type field must be 0 */
			raise_selector(cpu, VEC_GP, f->selector);
		offset |= upper << 32;
	}
	if (selector_is_null(selector))
		raise_selector(cpu, VEC_GP, 0);
	uint64_t code = descriptor_read(cpu, selector, VEC_GP);
	unsigned dpl = descriptor_dpl(code);
	bool inner = f->call && !descriptor_is_conforming(code) && dpl < cpu->cpl;
	bool reachable = f->call || descriptor_is_conforming(code) ? dpl <= cpu->cpl : dpl == cpu->cpl;
	if (!descriptor_is_code(code) || !reachable || (long_mode && (code >> 53 & 3) != 1))
		raise_selector(cpu, VEC_GP, selector);
	if (!descriptor_present(code))
		raise_selector(cpu, VEC_NP, selector);
	struct segment cs = descriptor_access(cpu, selector, code);
	unsigned size = long_mode ? 8 : small ? 2 : 4;
	if (inner)
		far_inner(cpu, o, cs, offset, size, long_mode ? 0 : raw >> 32 & 31);
	else
		far_same(cpu, o, cs, offset, size, f->call, long_mode);
}

static void far_task(struct cpu *cpu, const struct far *f, uint64_t raw)
{
	uint16_t task = f->selector;
	if (descriptor_dpl(raw) < cpu->cpl || descriptor_dpl(raw) < (f->selector & 3u))
		raise_selector(cpu, VEC_GP, f->selector);
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_NP, f->selector);
	if (descriptor_type(raw) == TYPE_TASK_GATE)
		task = gate_selector(raw);
	task_switch_instruction(cpu, task, f->call ? TASK_CALL : TASK_JMP);
}

static void far_go(struct cpu *cpu, const struct sys_operands *o, const struct far *f)
{
	if (sensitive_event(cpu, SENS_FAR_TRANSFER, f->selector, 0, false))
		return;
	if (!cpu_protected(cpu)) {
		far_real(cpu, o, f);
		return;
	}
	if (selector_is_null(f->selector))
		raise_selector(cpu, VEC_GP, 0);
	uint64_t raw = descriptor_read(cpu, f->selector, VEC_GP);
	unsigned type = descriptor_type(raw);
	bool long_mode = cpu_long_mode(cpu);
	if (descriptor_is_code(raw))
		far_direct(cpu, o, f, raw);
	else if (!descriptor_is_segment(raw) && (type == TYPE_CALL || (type == TYPE_CALL16 && !long_mode)))
		far_gate(cpu, o, f, raw);
	else if (!descriptor_is_segment(raw) && !long_mode && (type == TYPE_TASK_GATE || type == TYPE_TSS || type == TYPE_TSS16))
		far_task(cpu, f, raw);
	else
		raise_selector(cpu, VEC_GP, f->selector);
}

static void far_memory(struct cpu *cpu, const struct sys_operands *o, bool call)
{
	uint8_t pointer[10];
	struct far f = { .size = o->size, .call = call };
	mem_read(cpu, segment_linear(cpu, o->seg, o->offset, o->size + 2u, ACCESS_READ), pointer, o->size + 2u, false);
	memcpy(&f.offset, pointer, o->size);
	memcpy(&f.selector, pointer + o->size, 2);
	far_go(cpu, o, &f);
}

void sys_far_jmp(struct cpu *cpu, const struct sys_operands *o)
{
	far_go(cpu, o, &(struct far){ (uint16_t)o->imm2, o->imm, o->size, false });
}

void sys_far_call(struct cpu *cpu, const struct sys_operands *o)
{
	far_go(cpu, o, &(struct far){ (uint16_t)o->imm2, o->imm, o->size, true });
}

void sys_far_jmp_mem(struct cpu *cpu, const struct sys_operands *o)
{
	far_memory(cpu, o, false);
}

void sys_far_call_mem(struct cpu *cpu, const struct sys_operands *o)
{
	far_memory(cpu, o, true);
}

/* ---------------------------------------------------------------- RET and IRET */
struct far_return {
	uint64_t offset, sp;
	uint16_t selector, ss_selector;
	struct segment cs, ss;
	unsigned cpl;
	bool outer; /* SS and SP come from the stack */
};

/* CS of a return: SDM 2B RET, 2A IRET. */
static void return_check_code(struct cpu *cpu, struct far_return *r)
{
	if (selector_is_null(r->selector))
		raise_selector(cpu, VEC_GP, 0);
	uint64_t raw = descriptor_read(cpu, r->selector, VEC_GP);
	unsigned dpl = descriptor_dpl(raw);
	r->cpl = r->selector & 3;
	bool ranked = descriptor_is_conforming(raw) ? dpl <= r->cpl : dpl == r->cpl;
	bool both = cpu_long_mode(cpu) && (raw >> 53 & 3) == 3;
	if (!descriptor_is_code(raw) || r->cpl < cpu->cpl || !ranked || both)
		raise_selector(cpu, VEC_GP, r->selector);
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_NP, r->selector);
	r->cs = descriptor_access(cpu, r->selector, raw);
	if (!(cpu_long_mode(cpu) && r->cs.attributes & SEGA_L))
		r->offset &= 0xffffffff;
}

/* SS of a return to an outer ring (or of any IRET in 64-bit mode). */
static void return_check_stack(struct cpu *cpu, struct far_return *r)
{
	bool to64 = cpu_long_mode(cpu) && r->cs.attributes & SEGA_L;
	if (selector_is_null(r->ss_selector) && to64 && r->cpl < 3 && (r->ss_selector & 3u) == r->cpl)
		r->ss = segment_null(r->ss_selector, r->cpl);
	else
		r->ss = segment_check_stack(cpu, r->ss_selector, r->cpl, VEC_GP);
}

static void return_pop_stack(struct cpu *cpu, struct stack *s, struct far_return *r, unsigned size)
{
	uint64_t frame[2];
	stack_pop_all(cpu, s, frame, 2, size);
	r->sp = frame[0];
	r->ss_selector = (uint16_t)frame[1];
	return_check_stack(cpu, r);
}

/* Nothing faults from here on. release: bytes of parameters on the outer stack. */
static void return_commit(struct cpu *cpu, const struct far_return *r, const struct stack *popped, unsigned release)
{
	unsigned from = cpu->cpl;
	bool to64 = cpu_long_mode(cpu) && r->cs.attributes & SEGA_L;
	if (r->outer) {
		struct stack s = stack_new(cpu, r->ss, r->sp, r->cpl, to64, 0);
		s.sp = (s.sp & ~s.mask) | ((s.sp + release) & s.mask);
		cpu->seg[SEG_SS] = r->ss;
		if (s.mask == 0xffff) /* the whole (E)SP was popped; only arithmetic on it is 16 bits wide */
			cpu->reg[REG_SP] = s.sp & 0xffffffff;
		else
			stack_commit(cpu, &s);
	} else {
		stack_commit(cpu, popped);
	}
	cpu->seg[SEG_CS] = r->cs;
	cpu->cpl = (uint8_t)r->cpl;
	cpu->rip = r->offset;
	if (r->cpl > from)
		segment_drop_inner(cpu, r->cpl);
	transfer_finish(cpu, from);
}

static void return_real(struct cpu *cpu, struct stack *s, uint64_t offset, uint16_t selector)
{
	code_offset_check(cpu, &cpu->seg[SEG_CS], offset);
	stack_commit(cpu, s);
	segment_load_real(cpu, SEG_CS, selector);
	cpu->rip = offset;
	cpu_mode_update(cpu);
}

void sys_far_ret(struct cpu *cpu, const struct sys_operands *o)
{
	struct stack s = stack_current(cpu);
	struct far_return r = { .offset = stack_pop(cpu, &s, o->size) };
	r.selector = (uint16_t)stack_pop(cpu, &s, o->size);
	unsigned release = o->imm & 0xffff;
	if (sensitive_event(cpu, SENS_FAR_TRANSFER, r.selector, 0, false))
		return;
	s.sp = (s.sp & ~s.mask) | ((s.sp + release) & s.mask);
	if (!cpu_protected(cpu)) {
		return_real(cpu, &s, r.offset, r.selector);
		return;
	}
	return_check_code(cpu, &r);
	r.outer = r.cpl > cpu->cpl;
	if (r.outer)
		return_pop_stack(cpu, &s, &r, o->size);
	code_offset_check(cpu, &r.cs, r.offset);
	return_commit(cpu, &r, &s, release);
}

static void iret_task(struct cpu *cpu)
{
	if (cpu_long_mode(cpu))
		raise_selector(cpu, VEC_GP, 0);
	if (cpu->tr.attributes & SEGA_UNUSABLE || cpu->tr.limit < 1)
		raise_selector(cpu, VEC_TS, cpu->tr.selector);
	uint16_t back = (uint16_t)mem_read_u(cpu, cpu->tr.base, 2, true);
	task_switch_instruction(cpu, back, TASK_IRET);
}

static void iret_real(struct cpu *cpu, struct stack *s, const struct far_return *r, uint64_t flags, unsigned size)
{
	uint32_t mask = eflags_mask(cpu, size);
	return_real(cpu, s, r->offset, r->selector);
	eflags_write(cpu, flags, mask);
	cpu_state_emit(cpu);
}

static void iret_protected(struct cpu *cpu, const struct sys_operands *o, struct stack *s, struct far_return *r, uint64_t flags)
{
	if (flags & FLAG_VM && o->size == 4 && cpu->cpl == 0 && !cpu_long_mode(cpu))
		raise_selector(cpu, VEC_GP, 0); /* virtual-8086 mode is outside the subset */
	return_check_code(cpu, r);
	r->outer = r->cpl > cpu->cpl || cpu_code64(cpu); /* SDM 3A 6.14.3: IRET in 64-bit mode always pops SS:RSP */
	if (r->outer)
		return_pop_stack(cpu, s, r, o->size);
	code_offset_check(cpu, &r->cs, r->offset);
	/* By the privilege before the return; then the mode, so that EV_STATE says both at once. */
	uint64_t key = return_key(cpu, r->selector, r->ss_selector);
	eflags_write(cpu, flags, iret_mask(cpu, o->size));
	return_commit(cpu, r, s, 0);
	return_remember(cpu, key, o->size, r->outer);
}

void sys_iret(struct cpu *cpu, const struct sys_operands *o)
{
	if (sensitive_event(cpu, SENS_IRET, 0, 0, false))
		return;
	if (return_repeat(cpu, o->size))
		return;
	if (cpu_protected(cpu) && cpu->eflags & FLAG_NT) {
		iret_task(cpu);
		return;
	}
	struct stack s = stack_current(cpu);
	uint64_t frame[3];
	stack_pop_all(cpu, &s, frame, 3, o->size);
	struct far_return r = { .offset = frame[0], .selector = (uint16_t)frame[1] };
	if (cpu_protected(cpu))
		iret_protected(cpu, o, &s, &r, frame[2]);
	else
		iret_real(cpu, &s, &r, frame[2], o->size);
}
