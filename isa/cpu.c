/* The processor's power-on state, its privilege level, and what all sensitive instructions share. */
#include "transfer.h"

const struct cpu_features cpu_features_all = {
	.long_mode = true, .pcid = true, .invpcid = true, .smep = true, .smap = true, .umip = true, .la57 = true, .nx = true, .gbyte_pages = true, .pge = true,
	.fsgsbase = true, .sse2 = true, .rdtscp = true, .cx16 = true, .vmx = false, .svm = false,
	.phys_bits = 46,
	.family_model_stepping = 0x000506e3, /* family 6, model 5Eh, stepping 3: the number that software expects of a Skylake client */
	.vendor = "GenuineIntel", .brand = "Ringside simulated processor",
};

/* SDM 3A table 9-1. What is not named there is 0. */
void cpu_reset(struct cpu *cpu)
{
	struct cpu old = *cpu;
	*cpu = (struct cpu){ .mem = old.mem, .events = old.events, .icount = old.icount, .budget = old.budget, .vmm = old.vmm, .io = old.io, .clock = old.clock,
		.phys = old.phys, .features = old.features, .escape = old.escape, .blocks = old.blocks, .unknown = old.unknown, .user_calls = old.user_calls, .emulated = old.emulated,
		.filter = old.filter };
	if (!cpu->filter.key)
		event_filter_idle(&cpu->filter);
	flags_set(cpu, 0);
	cpu->eflags = 2;
	cpu->rip = 0xfff0;
	cpu->reg[REG_DX] = old.features ? old.features->family_model_stepping : cpu_features_all.family_model_stepping;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		cpu->seg[i] = (struct segment){ .attributes = SEGA_S | SEGA_P | SEGA_WRITE_READ | SEGA_ACCESSED, .limit = 0xffff };
	cpu->seg[SEG_CS] = (struct segment){ 0xf000, SEGA_S | SEGA_P | SEGA_CODE | SEGA_WRITE_READ | SEGA_ACCESSED, 0xffff, 0xffff0000 };
	cpu->ldtr = (struct segment){ .attributes = SEGA_P | TYPE_LDT, .limit = 0xffff };
	cpu->tr = (struct segment){ .attributes = SEGA_P | TYPE_TSS_BUSY, .limit = 0xffff };
	cpu->gdtr.limit = cpu->idtr.limit = 0xffff;
	cpu->cr0 = CR0_CD | CR0_NW | CR0_ET;
	cpu->dr[6] = 0xffff0ff0;
	cpu->dr[7] = 0x400;
	cpu->pat = 0x0007040600070406;      /* SDM 3A table 11-12 */
	cpu->apic_base = 0xfee00000 | 0x100; /* bootstrap processor; no local APIC: bit 11 is clear */
	cpu->misc_enable = 1;               /* fast strings */
	cpu->mxcsr = 0x1f80;
	cpu->x87.control = 0x40;
	cpu->x87.tag = 0x5555;
	cpu_mode_update(cpu);
	if (cpu->mem.context_changed)
		cpu->mem.context_changed(cpu->mem.self, cpu, CONTEXT_RESET, 0, false);
}

void cpu_set_cpl(struct cpu *cpu, unsigned cpl)
{
	unsigned from = cpu->cpl;
	cpu->cpl = cpl & 3;
	transfer_finish(cpu, from);
}

void sensitive_emit(struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value, bool has_value)
{
	if (has_value)
		event_put2(cpu->events, EV_SENSITIVE, cpu->cpl == 3 ? EVF_USER : 0, 1, what, addr, value);
	else
		event_put(cpu->events, EV_SENSITIVE, cpu->cpl == 3 ? EVF_USER : 0, 0, what, addr);
}

/* The event is emitted whether or not the #GP follows: an attempt is sensitive too, and the stream does not depend on the technique. */
void privilege_failed(struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value)
{
	static const uint64_t with_value = SENS_BIT(SENS_DR_ACCESS) | SENS_BIT(SENS_INVPCID) | SENS_BIT(SENS_MSR_WRITE) | SENS_BIT(SENS_IO_OUT) | SENS_BIT(SENS_LGDT) |
		SENS_BIT(SENS_LIDT);
	sensitive_emit(cpu, what, addr, value, with_value >> what & 1);
	if (cpu->vmm.privileged && cpu->vmm.privileged(cpu->vmm.self, cpu, what, addr, value))
		return;
	cpu_raise_error(cpu, VEC_GP, 0);
}
