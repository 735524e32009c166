/* EFLAGS, HLT and the small ones: SDM 2A CLI, ENTER, HLT, 2B POPF, PUSHF, STI. */
#include "transfer.h"

static bool may_change_if(const struct cpu *cpu)
{
	return !cpu_protected(cpu) || cpu->cpl <= cpu_iopl(cpu);
}

void sys_cli(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (!may_change_if(cpu)) {
		privilege_failed(cpu, SENS_CLI, 0, 0);
		return;
	}
	if (sensitive_event(cpu, SENS_CLI, 0, 0, false))
		return;
	cpu->eflags &= ~FLAG_IF;
	cpu_state_emit(cpu);
}

void sys_sti(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (!may_change_if(cpu)) {
		privilege_failed(cpu, SENS_STI, 0, 0);
		return;
	}
	if (sensitive_event(cpu, SENS_STI, 0, 0, false))
		return;
	if (!(cpu->eflags & FLAG_IF))
		cpu->shadow_sti = true; /* SDM 2B STI: only when IF was clear */
	cpu->eflags |= FLAG_IF;
	cpu_state_emit(cpu);
}

void sys_pushf(struct cpu *cpu, const struct sys_operands *o)
{
	if (sensitive_event(cpu, SENS_PUSHF, 0, 0, false))
		return;
	struct stack s = stack_current(cpu);
	stack_push(cpu, &s, cpu_eflags(cpu) & 0xfcffff, o->stack_size); /* VM and RF read as 0 */
	stack_commit(cpu, &s);
}

void sys_popf(struct cpu *cpu, const struct sys_operands *o)
{
	struct stack s = stack_current(cpu);
	uint64_t value = stack_pop(cpu, &s, o->stack_size);
	if (sensitive_event(cpu, SENS_POPF, value, 0, false))
		return;
	stack_commit(cpu, &s);
	eflags_write(cpu, value, eflags_mask(cpu, o->stack_size));
	cpu_state_emit(cpu);
}

static void ac_write(struct cpu *cpu, uint32_t value)
{
	if (!cpu->features->smap || cpu->cpl != 0)
		cpu_raise(cpu, VEC_UD);
	eflags_write(cpu, value, FLAG_AC);
	cpu_state_emit(cpu);
}

void sys_clac(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	ac_write(cpu, 0);
}

void sys_stac(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	ac_write(cpu, FLAG_AC);
}

void sys_hlt(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (!ring0_or_failed(cpu, SENS_HLT, 0, 0))
		return;
	if (sensitive_event(cpu, SENS_HLT, 0, 0, false))
		return;
	cpu->shadow_sti = cpu->shadow_ss = false; /* STI; HLT: this was the one instruction */
	cpu->stop = CPU_HALTED;
	cpu->attention |= 1;
}

void sys_pause(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	(void)sensitive_event(cpu, SENS_PAUSE, 0, 0, false);
}

void sys_bound(struct cpu *cpu, const struct sys_operands *o)
{
	unsigned size = o->size;
	uint64_t lower = mem_read_u(cpu, segment_linear(cpu, o->seg, o->offset, size, ACCESS_READ), size, false); /* two operands, each with its own checks */
	uint64_t next = (o->offset + size) & width_mask(o->address_size);
	uint64_t upper = mem_read_u(cpu, segment_linear(cpu, o->seg, next, size, ACCESS_READ), size, false);
	int32_t index = size == 2 ? (int16_t)cpu->reg[o->reg] : (int32_t)cpu->reg[o->reg];
	int32_t low = size == 2 ? (int16_t)lower : (int32_t)lower, high = size == 2 ? (int16_t)upper : (int32_t)upper;
	if (index < low || index > high)
		cpu_raise(cpu, VEC_BR);
}

/* imm: bytes of locals, imm2: nesting level. */
void sys_enter(struct cpu *cpu, const struct sys_operands *o)
{
	unsigned size = o->stack_size, level = o->imm2 & 31;
	struct stack s = stack_current(cpu);
	struct stack from = s;
	from.sp = cpu->reg[REG_BP] & s.mask;
	stack_reserve(cpu, &s, 1 + level, size);
	stack_push(cpu, &s, cpu->reg[REG_BP], size);
	uint64_t top = s.sp;
	for (unsigned i = 1; i < level; i++) { /* one by one: the old frame may overlap the new */
		from.sp = (from.sp - size) & s.mask;
		struct stack at = from;
		stack_push(cpu, &s, stack_pop(cpu, &at, size), size);
	}
	if (level)
		stack_push(cpu, &s, top, size);
	s.sp = (s.sp - (o->imm & 0xffff)) & s.mask;
	/* SDM 2A ENTER: a write at the final stack pointer must be possible, though it is not made. */
	struct stack probe = s;
	probe.sp = (probe.sp + size) & s.mask;
	stack_probe(cpu, &probe, size);
	stack_commit(cpu, &s);
	register_write(cpu, REG_BP, top, size == 8 ? 8 : s.mask == 0xffff || size == 2 ? 2 : 4);
}
