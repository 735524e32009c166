/* Fast system calls and software interrupts: SDM 2B SYSCALL, SYSENTER, SYSEXIT, SYSRET, 2A INT n. */
#include "transfer.h"
#include "user_calls.h"

#define INLINE static inline __attribute__((always_inline))

/* Loads CS and SS with the fixed contents that the fast calls use, and CPL. */
INLINE void fast_segments_put(struct cpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl, bool long_mode)
{
	cpu->seg[SEG_CS] = segment_flat_code((uint16_t)((cs & ~3u) | cpl), cpl, long_mode);
	cpu->seg[SEG_SS] = segment_flat_data((uint16_t)((ss & ~3u) | cpl), cpl);
	cpu->cpl = (uint8_t)cpl;
}

static void fast_segments(struct cpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl, bool long_mode)
{
	unsigned from = cpu->cpl;
	fast_segments_put(cpu, cs, ss, cpl, long_mode);
	transfer_finish(cpu, from);
}

static void syscall_check(struct cpu *cpu)
{
	if (!cpu_long_mode(cpu) || !cpu_code64(cpu) || !(cpu->efer & EFER_SCE))
		cpu_raise(cpu, VEC_UD);
}

/* SYSCALL without its checks. Returns the bits of EFLAGS that changed. */
INLINE uint32_t syscall_enter(struct cpu *cpu, uint64_t next)
{
	uint16_t cs = (uint16_t)(cpu->star >> 32 & 0xfffc);
	cpu->reg[REG_CX] = next;
	cpu->reg[REG_R11] = cpu_eflags(cpu) & ~FLAG_RF;
	cpu->rip = cpu->lstar;
	fast_segments_put(cpu, cs, (uint16_t)(cs + 8), 0, true);
	return eflags_put(cpu, 0, (uint32_t)cpu->fmask);
}

void sys_syscall(struct cpu *cpu, const struct sys_operands *o)
{
	syscall_check(cpu);
	user_call_count(cpu, cpu_insn_start(cpu));
	if (sensitive_event(cpu, SENS_SYSCALL, 0, 0, false))
		return;
	unsigned from = cpu->cpl;
	syscall_enter(cpu, o->next);
	transfer_finish(cpu, from);
}

INLINE void sysret_leave(struct cpu *cpu, bool wide)
{
	uint16_t base = (uint16_t)(cpu->star >> 48);
	cpu->rip = wide ? cpu->reg[REG_CX] : cpu->reg[REG_CX] & 0xffffffff;
	eflags_put(cpu, (uint32_t)cpu->reg[REG_R11], FLAGS_SYSRET);
	fast_segments_put(cpu, (uint16_t)(wide ? base + 16 : base), (uint16_t)(base + 8), 3, wide);
}

void sys_sysret(struct cpu *cpu, const struct sys_operands *o)
{
	syscall_check(cpu);
	if (!ring0_or_failed(cpu, SENS_SYSRET, 0, 0))
		return;
	bool wide = o->size == 8;
	/* Checked at CPL 0, as Intel does: SDM 2B SYSRET. */
	if (wide && !cpu_canonical(cpu, cpu->reg[REG_CX]))
		cpu_raise_error(cpu, VEC_GP, 0);
	if (sensitive_event(cpu, SENS_SYSRET, 0, 0, false))
		return;
	sysret_leave(cpu, wide);
	transfer_finish(cpu, 0);
	if (cpu->eflags & FLAG_TF) { /* unlike IRET, which lets one instruction pass: the trap is SYSRET's own, in the ring it returned to */
		cpu->dr[6] |= 1u << 14;
		cpu_deliver(cpu, VEC_DB, -1, false, false, 0);
	}
}

/* ---- the common case, 64-bit code on both sides ---- */
bool quick_syscall(struct cpu *cpu, const struct uop *u, const struct sys_operands *o)
{
	if (!quick_allowed(cpu, SENS_SYSCALL) || !cpu_code64(cpu) || !(cpu->efer & EFER_SCE) || cpu->eflags & FLAG_TF)
		return false;
	user_call_count(cpu, cpu->block->pc + u->offset);
	syscall_enter(cpu, o->next);
	quick_finish(cpu, 0);
	return true;
}

bool quick_sysret(struct cpu *cpu, const struct uop *u, const struct sys_operands *o)
{
	(void)u;
	if (!quick_allowed(cpu, SENS_SYSRET) || !cpu_code64(cpu) || !(cpu->efer & EFER_SCE) || cpu->cpl || o->size != 8 || !cpu_canonical(cpu, cpu->reg[REG_CX]) ||
		(cpu->reg[REG_R11] ^ cpu->eflags) & (FLAG_TF | FLAG_AC) || cpu->reg[REG_R11] & FLAG_TF)
		return false;
	sysret_leave(cpu, true);
	quick_finish(cpu, 3);
	return true;
}

void sys_sysenter(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	uint16_t cs = cpu->sysenter_cs & 0xfffc;
	if (!cpu_protected(cpu) || cs == 0)
		cpu_raise_error(cpu, VEC_GP, 0);
	user_call_count(cpu, cpu_insn_start(cpu));
	if (sensitive_event(cpu, SENS_SYSENTER, 0, 0, false))
		return;
	bool wide = cpu_long_mode(cpu);
	eflags_write(cpu, 0, FLAG_VM | FLAG_IF | FLAG_RF);
	cpu->reg[REG_SP] = wide ? cpu->sysenter_esp : cpu->sysenter_esp & 0xffffffff;
	cpu->rip = wide ? cpu->sysenter_eip : cpu->sysenter_eip & 0xffffffff;
	fast_segments(cpu, cs, (uint16_t)(cs + 8), 0, wide);
}

void sys_sysexit(struct cpu *cpu, const struct sys_operands *o)
{
	uint16_t cs = cpu->sysenter_cs & 0xfffc;
	bool wide = o->size == 8;
	if (!cpu_protected(cpu) || cs == 0)
		cpu_raise_error(cpu, VEC_GP, 0);
	if (!ring0_or_failed(cpu, SENS_SYSEXIT, 0, 0))
		return;
	if (wide && (!cpu_canonical(cpu, cpu->reg[REG_DX]) || !cpu_canonical(cpu, cpu->reg[REG_CX])))
		cpu_raise_error(cpu, VEC_GP, 0);
	if (sensitive_event(cpu, SENS_SYSEXIT, 0, 0, false))
		return;
	cpu->reg[REG_SP] = cpu->reg[REG_CX] & (wide ? ~0ull : 0xffffffff);
	cpu->rip = cpu->reg[REG_DX] & (wide ? ~0ull : 0xffffffff);
	fast_segments(cpu, (uint16_t)(cs + (wide ? 32 : 16)), (uint16_t)(cs + (wide ? 40 : 24)), 3, wide);
}

void sys_int_n(struct cpu *cpu, const struct sys_operands *o)
{
	user_call_count(cpu, cpu_insn_start(cpu));
	if (!sensitive_event(cpu, SENS_INT_N, o->imm & 0xff, 0, false))
		exception_soft(cpu, o->imm & 0xff);
}

void sys_int3(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (!sensitive_event(cpu, SENS_INT_N, VEC_BP, 0, false))
		exception_soft(cpu, VEC_BP);
}

void sys_into(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (flags_get(cpu) & FLAG_OF && !sensitive_event(cpu, SENS_INT_N, VEC_OF, 0, false))
		exception_soft(cpu, VEC_OF);
}

/* INT1 is a trap-like #DB; no gate privilege check, EXT is set (SDM 2A INT n). */
void sys_int1(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	cpu_deliver(cpu, VEC_DB, -1, false, false, 0);
}

void sys_vmcall(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (!sensitive_event(cpu, SENS_VMCALL, 0, 0, false))
		cpu_raise(cpu, VEC_UD);
}
