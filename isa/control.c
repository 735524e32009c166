/* Control and debug registers, and invalidations: SDM 3A 2.5, 2B MOV (control registers), MOV (debug registers), 2A INVLPG, INVPCID. */
#include "transfer.h"
#include <stddef.h>

static _Noreturn void gp0(struct cpu *cpu)
{
	cpu_raise_error(cpu, VEC_GP, 0);
}

static void context_changed(struct cpu *cpu, enum context_change why, uint64_t old, bool no_flush)
{
	cpu->mem.context_changed(cpu->mem.self, cpu, why, old, no_flush);
}

/* #GP(0) when PAE paging, in force after the move, would load PDPTEs with reserved bits set: SDM 3A 4.4.1. */
static void pdptes_check(struct cpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
	bool long_mode = cpu->efer & EFER_LME; /* LMA follows once PG is set */
	if ((cr0 & CR0_PG) && (cr4 & CR4_PAE) && !long_mode && cpu->mem.pdptes_valid && !cpu->mem.pdptes_valid(cpu->mem.self, cpu, cr3))
		gp0(cpu);
}

/* ---------------------------------------------------------------- CR0 */
/* SDM 3A 4.1.1 and 9.8.5: what turning paging on or off needs. */
static void cr0_check_paging(struct cpu *cpu, uint64_t value)
{
	bool was = cpu->cr0 & CR0_PG, will = value & CR0_PG;
	if (!was && will && cpu->efer & EFER_LME) {
		bool tss16 = !(cpu->tr.attributes & (SEGA_UNUSABLE | 8)); /* types 1 and 3 */
		if (!(cpu->cr4 & CR4_PAE) || cpu->seg[SEG_CS].attributes & SEGA_L || tss16)
			gp0(cpu);
	}
	if (was && !will && (cpu_code64(cpu) || cpu->cr4 & CR4_PCIDE))
		gp0(cpu);
}

void cr0_write(struct cpu *cpu, uint64_t value)
{
	static const uint64_t defined = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
	if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		gp0(cpu);
	cr0_check_paging(cpu, value);
	uint64_t old = cpu->cr0, old_efer = cpu->efer;
	if ((old ^ value) & (CR0_PG | CR0_CD | CR0_NW))
		pdptes_check(cpu, value, cpu->cr3, cpu->cr4);
	cpu->cr0 = (value & defined) | CR0_ET;
	cpu->efer = cpu->efer & EFER_LME && value & CR0_PG ? cpu->efer | EFER_LMA : cpu->efer & ~(uint64_t)EFER_LMA;
	cpu_mode_update(cpu);
	if (old != cpu->cr0)
		context_changed(cpu, CONTEXT_CR0, old, false);
	if (old_efer != cpu->efer)
		context_changed(cpu, CONTEXT_EFER, old_efer, false);
	cpu_state_emit(cpu);
}

/* ---------------------------------------------------------------- CR3, CR4, EFER */
void cr3_write(struct cpu *cpu, uint64_t value)
{
	uint64_t old = cpu->cr3;
	bool no_flush = false;
	if (cpu->cr4 & CR4_PCIDE) { /* SDM 3A 4.10.4.1 */
		no_flush = value >> 63;
		value &= ~(1ull << 63);
	}
	if (cpu_long_mode(cpu) && value >> cpu->features->phys_bits)
		gp0(cpu);
	pdptes_check(cpu, cpu->cr0, value, cpu->cr4);
	cpu->cr3 = value;
	context_changed(cpu, CONTEXT_CR3, old, no_flush);
}

static uint64_t cr4_allowed(const struct cpu_features *f)
{
	uint64_t allowed = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PCE;
	static const struct { uint16_t offset; uint32_t bits; } optional[] = {
		{ offsetof(struct cpu_features, pge), CR4_PGE }, { offsetof(struct cpu_features, sse2), CR4_OSFXSR | CR4_OSXMMEXCPT }, { offsetof(struct cpu_features, umip), CR4_UMIP },
		{ offsetof(struct cpu_features, la57), CR4_LA57 }, { offsetof(struct cpu_features, fsgsbase), CR4_FSGSBASE }, { offsetof(struct cpu_features, pcid), CR4_PCIDE },
		{ offsetof(struct cpu_features, smep), CR4_SMEP }, { offsetof(struct cpu_features, smap), CR4_SMAP },
	};
	for (unsigned i = 0; i < sizeof optional / sizeof optional[0]; i++)
		if (*((const bool *)f + optional[i].offset))
			allowed |= optional[i].bits;
	return allowed;
}

void cr4_write(struct cpu *cpu, uint64_t value)
{
	uint64_t old = cpu->cr4, changed = old ^ value;
	if (value & ~cr4_allowed(cpu->features))
		gp0(cpu);
	if (cpu_long_mode(cpu) && (!(value & CR4_PAE) || changed & CR4_LA57))
		gp0(cpu);
	if (changed & value & CR4_PCIDE && (!cpu_long_mode(cpu) || cpu->cr3 & 0xfff)) /* SDM 3A 4.10.1 */
		gp0(cpu);
	if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP))
		pdptes_check(cpu, cpu->cr0, cpu->cr3, value);
	cpu->cr4 = value;
	cpu_mode_update(cpu);
	context_changed(cpu, CONTEXT_CR4, old, false);
}

bool efer_valid(const struct cpu *cpu, uint64_t value)
{
	const struct cpu_features *f = cpu->features;
	uint64_t allowed = EFER_LMA | (f->long_mode ? EFER_SCE | EFER_LME : 0) | (f->nx ? EFER_NXE : 0);
	if (value & ~allowed)
		return false;
	return !(cpu->cr0 & CR0_PG && (value ^ cpu->efer) & EFER_LME); /* SDM 3A 2.2.1 */
}

void efer_write(struct cpu *cpu, uint64_t value)
{
	if (!efer_valid(cpu, value))
		gp0(cpu);
	uint64_t old = cpu->efer;
	cpu->efer = (value & ~(uint64_t)EFER_LMA) | (old & EFER_LMA); /* LMA follows LME and PG */
	cpu_mode_update(cpu);
	if (cpu->efer != old)
		context_changed(cpu, CONTEXT_EFER, old, false);
}

/* ---------------------------------------------------------------- MOV CR */
struct control_register {
	int8_t sensitive; /* of a write; -1: no such register */
	void (*write)(struct cpu *cpu, uint64_t value);
};

static void cr2_write(struct cpu *cpu, uint64_t value)
{
	cpu->cr2 = value;
}

static void cr8_write(struct cpu *cpu, uint64_t value)
{
	if (value & ~0xfull)
		gp0(cpu);
	cpu->cr8 = value;
}

static const struct control_register control_registers[9] = {
	{ SENS_CR0_WRITE, cr0_write }, { -1, NULL }, { SENS_COUNT, cr2_write }, { SENS_CR3_WRITE, cr3_write }, { SENS_CR4_WRITE, cr4_write },
	{ -1, NULL }, { -1, NULL }, { -1, NULL }, { SENS_CR8_WRITE, cr8_write },
};

static const struct control_register *control_register_find(struct cpu *cpu, unsigned number)
{
	if (number > 8 || control_registers[number].sensitive < 0 || (number == 8 && !cpu_code64(cpu)))
		cpu_raise(cpu, VEC_UD);
	return &control_registers[number];
}

/* CR2 has no event of its own: a write of it moves nothing, but it is privileged; deprivileging VMMs see it as a read. */
void sys_mov_to_cr(struct cpu *cpu, const struct sys_operands *o)
{
	const struct control_register *c = control_register_find(cpu, o->reg);
	uint64_t value = cpu->reg[o->rm] & (cpu_code64(cpu) ? ~0ull : 0xffffffff);
	if (c->sensitive == SENS_COUNT) {
		if (ring0_or_failed(cpu, SENS_CR_READ, o->reg, value))
			c->write(cpu, value);
		return;
	}
	if (ring0_or_failed(cpu, (enum sensitive)c->sensitive, value, 0) && !sensitive_event(cpu, (enum sensitive)c->sensitive, value, 0, false))
		c->write(cpu, value);
}

void sys_mov_from_cr(struct cpu *cpu, const struct sys_operands *o)
{
	control_register_find(cpu, o->reg);
	if (!ring0_or_failed(cpu, SENS_CR_READ, o->reg, 0) || sensitive_event(cpu, SENS_CR_READ, o->reg, 0, false))
		return;
	const uint64_t values[9] = { [0] = cpu->cr0, [2] = cpu->cr2, [3] = cpu->cr3, [4] = cpu->cr4, [8] = cpu->cr8 };
	register_write(cpu, o->rm, values[o->reg], cpu_code64(cpu) ? 8 : 4);
}

/* ---------------------------------------------------------------- CLTS, LMSW, SMSW */
void sys_clts(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (!ring0_or_failed(cpu, SENS_CLTS, 0, 0) || sensitive_event(cpu, SENS_CLTS, 0, 0, false))
		return;
	cpu->cr0 &= ~(uint64_t)CR0_TS;
	cpu_mode_update(cpu);
}

void sys_lmsw(struct cpu *cpu, const struct sys_operands *o)
{
	uint64_t value = 0;
	if (cpu->cpl == 0 || cpu->vmm.privileged)
		value = (cpu->cr0 & ~0xeull) | (operand_read(cpu, o, 2) & 0xf); /* PE can be set, not cleared */
	if (ring0_or_failed(cpu, SENS_LMSW, value, 0) && !sensitive_event(cpu, SENS_LMSW, value, 0, false))
		cr0_write(cpu, value);
}

void sys_smsw(struct cpu *cpu, const struct sys_operands *o)
{
	if (cpu->cpl > 0 && cpu->cr4 & CR4_UMIP) {
		privilege_failed(cpu, SENS_SMSW, 0, 0);
		return;
	}
	if (!sensitive_event(cpu, SENS_SMSW, 0, 0, false))
		operand_write(cpu, o, cpu->cr0, o->memory ? 2 : o->size);
}

/* ---------------------------------------------------------------- MOV DR */
enum { DR7_GD = 0x2000, DR6_BD = 0x2000 };

static unsigned debug_register_number(struct cpu *cpu, unsigned number)
{
	if (number > 7 || ((number == 4 || number == 5) && cpu->cr4 & CR4_DE))
		cpu_raise(cpu, VEC_UD);
	return number == 4 || number == 5 ? number + 2 : number; /* SDM 3B 17.2.2 */
}

/* DR7.GD: any access is itself a debug exception, a fault (SDM 3B 17.2.4). */
static void debug_register_guard(struct cpu *cpu)
{
	if (!(cpu->dr[7] & DR7_GD))
		return;
	cpu->dr[6] |= DR6_BD;
	cpu->dr[7] &= ~(uint64_t)DR7_GD; /* cleared when the handler is entered */
	cpu_raise(cpu, VEC_DB);
}

void sys_mov_to_dr(struct cpu *cpu, const struct sys_operands *o)
{
	unsigned number = debug_register_number(cpu, o->reg);
	uint64_t value = cpu->reg[o->rm] & (cpu_code64(cpu) ? ~0ull : 0xffffffff);
	if (!ring0_or_failed(cpu, SENS_DR_ACCESS, number, value))
		return;
	debug_register_guard(cpu);
	if (number >= 6 && value >> 32)
		gp0(cpu);
	if (sensitive_event(cpu, SENS_DR_ACCESS, number, value, true))
		return;
	/* Fixed bits: SDM 3B figure 17-1. */
	if (number == 6)
		value = (value & 0xe00f) | 0xffff0ff0;
	else if (number == 7)
		value = (value & 0xffff2bff) | 0x400;
	cpu->dr[number] = value;
}

void sys_mov_from_dr(struct cpu *cpu, const struct sys_operands *o)
{
	unsigned number = debug_register_number(cpu, o->reg);
	if (!ring0_or_failed(cpu, SENS_DR_ACCESS, number, 0))
		return;
	debug_register_guard(cpu);
	if (!sensitive_event(cpu, SENS_DR_ACCESS, number, 0, false))
		register_write(cpu, o->rm, cpu->dr[number], cpu_code64(cpu) ? 8 : 4);
}

/* ---------------------------------------------------------------- invalidations */
/* INVLPG and INVPCID name an address without accessing it: no limit, no type. */
static uint64_t address_of(const struct cpu *cpu, const struct sys_operands *o)
{
	if (cpu_code64(cpu))
		return o->offset + (o->seg >= SEG_FS ? cpu->seg[o->seg].base : 0);
	return (o->offset + cpu->seg[o->seg].base) & 0xffffffff;
}

void sys_invlpg(struct cpu *cpu, const struct sys_operands *o)
{
	uint64_t gva = address_of(cpu, o);
	if (!ring0_or_failed(cpu, SENS_INVLPG, gva, 0) || sensitive_event(cpu, SENS_INVLPG, gva, 0, false))
		return;
	if (cpu_canonical(cpu, gva)) /* SDM 2A INVLPG: else no operation */
		cpu->mem.invlpg(cpu->mem.self, cpu, gva);
}

void sys_invpcid(struct cpu *cpu, const struct sys_operands *o)
{
	uint64_t type = cpu->reg[o->reg] & (cpu_code64(cpu) ? ~0ull : 0xffffffff), pcid = 0, gva = 0;
	if (!cpu->features->invpcid)
		cpu_raise(cpu, VEC_UD);
	if (cpu->cpl == 0 || cpu->vmm.privileged) {
		uint64_t at = segment_linear(cpu, o->seg, o->offset, 16, ACCESS_READ);
		pcid = mem_read_u(cpu, at, 8, false);
		gva = mem_read_u(cpu, at + 8, 8, false);
	}
	if (!ring0_or_failed(cpu, SENS_INVPCID, gva, (type & 3) | pcid << 8))
		return;
	/* SDM 2A INVPCID: types 0 address, 1 context, 2 all with globals, 3 all without. */
	if (type > 3 || pcid > 0xfff || (type == 0 && !cpu_canonical(cpu, gva)) || (type <= 1 && pcid && !(cpu->cr4 & CR4_PCIDE)))
		gp0(cpu);
	if (!sensitive_event(cpu, SENS_INVPCID, gva, type | pcid << 8, true))
		cpu->mem.invpcid(cpu->mem.self, cpu, (unsigned)type, (unsigned)pcid, gva);
}

/* Caches are not part of the architectural state here: memory is always coherent. */
void sys_invd(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (ring0_or_failed(cpu, SENS_INVD, 0, 0))
		(void)sensitive_event(cpu, SENS_INVD, 0, 0, false);
}

void sys_wbinvd(struct cpu *cpu, const struct sys_operands *o)
{
	sys_invd(cpu, o);
}
