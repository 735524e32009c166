/*
 * System instructions by meaning: one C function each, called from every engine through one helper micro-op (design, decision 1).
 *
 * Invariant: a function either completes its instruction or raises before any architectural change. Functions that transfer control set cpu->rip;
 * all others leave rip alone (the engine goes to sys_operands.next). rip already is `next` inside: a hook of the VMM that carries out a control transfer and
 * returns true leaves in rip where the guest goes on.
 */
#ifndef ISA_SYSTEM_H
#define ISA_SYSTEM_H
#include "cpu.h"

/* control transfer: set rip (engine ends the block after each) */
sys_fn sys_far_jmp, sys_far_call, sys_far_jmp_mem, sys_far_call_mem, sys_far_ret, sys_int_n, sys_int3, sys_into, sys_iret, sys_syscall, sys_sysret, sys_sysenter, sys_sysexit, sys_hlt, sys_int1,
	sys_vmcall /* a hypercall may move control */;
/* descriptor tables and segments */
sys_fn sys_lgdt, sys_lidt, sys_sgdt, sys_sidt, sys_lldt, sys_sldt, sys_ltr, sys_str, sys_lar, sys_lsl, sys_verr, sys_verw, sys_arpl, sys_mov_to_sreg, sys_mov_from_sreg,
	sys_push_sreg, sys_pop_sreg, sys_load_far_pointer /* LES LDS LSS LFS LGS: reg = register, rm = segment */, sys_swapgs, sys_fsgsbase /* imm: 0 rdfs 1 rdgs 2 wrfs 3 wrgs */;
/* control and debug registers, MSRs */
sys_fn sys_mov_to_cr, sys_mov_from_cr, sys_mov_to_dr, sys_mov_from_dr, sys_clts, sys_lmsw, sys_smsw, sys_rdmsr, sys_wrmsr, sys_cpuid, sys_rdtsc, sys_rdtscp, sys_rdpmc,
	sys_invlpg, sys_invpcid, sys_invd, sys_wbinvd, sys_pause, sys_clac, sys_stac;
/* flags */
sys_fn sys_cli, sys_sti, sys_pushf, sys_popf;
/* port I/O: imm = port, or DX when `reg` says so (reg = REG_DX); string forms honour rep, DF, address_size and are interruptible: they set rip back to the instruction when iterations remain */
sys_fn sys_in, sys_out, sys_ins, sys_outs;
/* other */
sys_fn sys_bound, sys_enter;

/* rip of the instruction being executed (for restarts): valid inside any helper, where cpu->rip is already the next one's. Defined in isa/block.c. */
uint64_t cpu_insn_start(const struct cpu *cpu);

/* Writes EV_SENSITIVE (and its value). */
void sensitive_emit(struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value, bool has_value);
/* The part of a helper that every sensitive instruction shares: emits EV_SENSITIVE and asks the VMM if it traps. Returns true when the VMM did it all. */
static inline bool sensitive_event(struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value, bool has_value)
{
	if (__builtin_expect(cpu->events->on, 0))
		sensitive_emit(cpu, what, addr, value, has_value);
	return cpu->vmm.trap_set & SENS_BIT(what) && cpu->vmm.sensitive && cpu->vmm.sensitive(cpu->vmm.self, cpu, what, addr, value);
}
/* A privileged instruction at CPL > 0: gives a deprivileging VMM its chance, else raises #GP(0). Returns only when the VMM has emulated it. */
void privilege_failed(struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value);
#endif
