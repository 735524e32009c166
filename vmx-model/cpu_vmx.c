/*
 * VT-x: a VM control structure, exits by trap set, entries with injection.
 *
 * Invariant: between EV_EXIT and EV_ENTRY only the VMM runs; every exit is followed by its entry, except that HLT's comes with the next interrupt. What an instruction
 * means is carried out by the engine on the virtual CPU after the hook returns false: that *is* the emulation.
 */
#include "vmm.h"
#include <stdlib.h>

enum vmcs_field { /* slots of our VMCS page (its layout is the processor's own business: SDM 3C 24.2); names as in 3C appendix B */
	VMCS_EXIT_REASON = 0, VMCS_EXIT_QUALIFICATION, VMCS_GUEST_RIP, VMCS_ENTRY_INTERRUPTION, VMCS_PRIMARY_CONTROLS, VMCS_VPID, VMCS_GUEST_CR3, VMCS_CR0_SHADOW, VMCS_CR4_SHADOW,
};

struct vmx { uint64_t vmcs; };

/* What a VMM does about a sensitive instruction. */
struct handling { uint8_t reason, work; bool trapped, privileged /* never gets to the hook at CPL 3 */; };
#define ROW(name, reason, work, privileged) [SENS_##name] = { EXIT_##reason, WORK_##work, true, privileged }
static const struct handling handlings[SENS_COUNT] = {
	ROW(CR0_WRITE, CR_ACCESS, EMULATE, true), ROW(CR3_WRITE, CR_ACCESS, EMULATE, true), ROW(CR4_WRITE, CR_ACCESS, EMULATE, true),
	ROW(LMSW, CR_ACCESS, EMULATE, true), ROW(DR_ACCESS, DR_ACCESS, EMULATE, true), ROW(INVLPG, INVLPG, EMULATE, true), ROW(INVPCID, INVLPG, EMULATE, true),
	ROW(INVD, CACHE_CONTROL, EMULATE, true), ROW(MSR_READ, MSR, EMULATE, true), ROW(MSR_WRITE, MSR, EMULATE, true),
	ROW(CPUID, CPUID, EMULATE, false) /* unconditional: SDM 3C 25.1.2 */, ROW(IO_IN, IO, DEVICE_MODEL, false), ROW(IO_OUT, IO, DEVICE_MODEL, false),
	ROW(HLT, HLT, EMULATE, true), ROW(VMCALL, HYPERCALL, EMULATE, false) /* unconditional; the guest sees #UD, as without a VMM */,
};
#undef ROW

/* Not trapped although sensitive, and why: CLI, STI, PUSHF, POPF, IRET (real IF is the guest's; a physical interrupt exits all the same), MOV CR8 (TPR shadow), CLTS and CR reads
   (guest-owned bits and read shadows), descriptor tables, RDTSC (TSC offset), SYSCALL and kin, INT n, PAUSE. */
static uint64_t trap_set(const struct vmm *v)
{
	uint64_t set = 0;
	for (unsigned s = 0; s < SENS_COUNT; s++)
		if (handlings[s].trapped)
			set |= SENS_BIT(s);
	if (v->technique->id == TECHNIQUE_NESTED_EPT) /* the guest's own paging: SDM 3C 25.1.3, 24.6.2 */
		set &= ~(SENS_BIT(SENS_CR3_WRITE) | SENS_BIT(SENS_INVLPG) | SENS_BIT(SENS_INVPCID));
	return set;
}

static void vmcs_write(struct vmm *v, enum vmcs_field field, uint64_t value)
{
	const struct vmx *x = v->cpu_self;
	event_put(v->events, EV_VMCS_WRITE, 0, 0, 1, 0);
	phys_write64(v->phys, x->vmcs + 8 * field, value);
}

/* Without VPID each transition ends all translations: SDM 3C 28.3.3.1. */
static void transition_flush(struct vmm *v)
{
	if (!v->config.vpid)
		event_put(v->events, EV_TLB_FLUSH, 0, 0, TLB_FLUSH_ALL, 0);
}

static void vmx_exit(struct vmm *v, enum exit_reason r)
{
	const struct vmx *x = v->cpu_self;
	vmm_exit_event(v, r, TRANSITION_VMX);
	transition_flush(v);
	phys_write64(v->phys, x->vmcs + 8 * VMCS_EXIT_REASON, r); /* by the processor: part of the transition's cost */
	vmm_work(v, WORK_DISPATCH, v->config.dispatch_instructions);
	for (unsigned i = 0; i < 16; i += 2) /* the general registers, which the processor does not save */
		event_put(v->events, EV_VMM_STORE, 0, 16, 0, v->vcpu_page + 8 * i);
	event_put(v->events, EV_VMCS_READ, 0, 0, v->config.vmcs_reads, 0);
}

static void vmx_entry(struct vmm *v, enum exit_reason r)
{
	event_put(v->events, EV_VMCS_WRITE, 0, 0, v->config.vmcs_writes, 0);
	for (unsigned i = 0; i < 16; i += 2)
		event_put(v->events, EV_VMM_LOAD, 0, 16, 0, v->vcpu_page + 8 * i);
	transition_flush(v);
	vmm_entry_event(v, r, TRANSITION_VMX);
	if (r == EXIT_PAGE_FAULT_REFLECTED) {
		const struct vmx *x = v->cpu_self;
		phys_write64(v->phys, x->vmcs + 8 * VMCS_ENTRY_INTERRUPTION, 0); /* the processor takes the event: SDM 3C 26.5 */
	}
}

/* Bits of CR0 and CR4 that the guest owns do not exit when only they change (SDM 3C 24.6.6): TS; nested paging: all that cannot end the VMM's grip. */
static bool write_exits(const struct vmm *v, const struct cpu *cpu, enum sensitive what, uint64_t value)
{
	bool nested = v->technique->id == TECHNIQUE_NESTED_EPT;
	if (what == SENS_CR0_WRITE || what == SENS_LMSW)
		return (value ^ cpu->cr0) & ~(uint64_t)CR0_TS;
	if (what == SENS_CR4_WRITE)
		return (value ^ cpu->cr4) & ~(uint64_t)(nested ? CR4_PGE | CR4_TSD | CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT : 0);
	return true;
}

/* MSR bitmap: system-call entry points and segment bases are the guest's own registers, switched at entry and exit (SDM 3C 24.6.9). */
static bool msr_exits(uint64_t msr)
{
	return !((msr >= 0xc0000081 && msr <= 0xc0000084) || (msr >= 0xc0000100 && msr <= 0xc0000102) || (msr >= 0x174 && msr <= 0x176));
}

static bool event_exits(const struct vmm *v, const struct cpu *cpu, enum sensitive what, uint64_t addr)
{
	if (!handlings[what].trapped || (handlings[what].privileged && cpu->cpl == 3))
		return false;
	if (what == SENS_MSR_READ || what == SENS_MSR_WRITE)
		return msr_exits(addr);
	return write_exits(v, cpu, what, addr);
}

static void prepare(struct vmm *v, enum sensitive what, uint64_t addr, uint64_t value)
{
	(void)value;
	switch (what) {
	case SENS_CR0_WRITE: case SENS_LMSW: vmcs_write(v, VMCS_CR0_SHADOW, addr); break;
	case SENS_CR4_WRITE: vmcs_write(v, VMCS_CR4_SHADOW, addr); break;
	case SENS_CR3_WRITE: vmcs_write(v, VMCS_GUEST_CR3, addr); break;
	case SENS_VMCALL: vmcs_write(v, VMCS_ENTRY_INTERRUPTION, VEC_UD | 3 << 8 | 1u << 31); break;
	default: break;
	}
	if (v->technique->mem->prepare)
		v->technique->mem->prepare(v, what, addr);
}

static bool vmx_sensitive(void *self, struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value)
{
	struct vmm *v = self;
	if (!event_exits(v, cpu, what, addr))
		return false;
	cpu->emulated++;
	if (what == SENS_HLT) {
		vmm_irq_halt(v);
		return false;
	}
	enum exit_reason r = handlings[what].reason;
	vmx_exit(v, r);
	vmm_work(v, WORK_EMULATE, v->config.emulate_instructions);
	if (handlings[what].work == WORK_DEVICE_MODEL)
		vmm_device_work(v, what == SENS_IO_OUT, (uint16_t)addr);
	prepare(v, what, addr, value);
	vmx_entry(v, r);
	return false;
}

/* Exceptions go to the guest by hardware; page faults under shadow paging have had their exit in the memory part. */
static bool vmx_deliver(void *self, struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2)
{
	(void)cpu, (void)vector, (void)error, (void)soft, (void)cr2;
	if (external)
		vmm_irq_deliver(self);
	return false;
}

static bool vmx_create(struct vmm *v)
{
	struct vmx *x = calloc(1, sizeof *x);
	if (!x)
		return false;
	v->cpu_self = x;
	x->vmcs = vmm_region_alloc(v, 4096);
	v->cpu->vmm = (struct vmm_port){ .trap_set = trap_set(v), .self = v, .sensitive = vmx_sensitive, .deliver = vmx_deliver };
	return x->vmcs != 0;
}

static void vmx_destroy(struct vmm *v)
{
	free(v->cpu_self);
}

static void vmx_irq_raised(struct vmm *v, unsigned irq)
{
	(void)irq;
	vmm_irq_exit(v);
}

const struct cpu_part cpu_part_vmx = { "vmx", vmx_create, vmx_destroy, vmx_exit, vmx_entry, vmx_irq_raised };
