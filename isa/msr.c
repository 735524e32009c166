/* Model-specific registers and time stamps: SDM 4 chapter 2, 2B RDMSR, RDTSC, WRMSR. */
#include "transfer.h"
#include <stddef.h>

/* SDM 3A 11.11.1: 6 variable ranges, fixed ranges, write combining. mtrr[0..11]: base and mask pairs; mtrr[12..22]: fixed ranges. */
enum { MTRR_VARIABLE = 6, MTRR_FIXED = 12, MTRR_CAP = 0x500 | MTRR_VARIABLE };

enum msr_check { /* what a value must be, beside the reserved bits */
	CHECK_NONE, CHECK_CANONICAL, CHECK_MEMORY_TYPES /* eight of them */, CHECK_READ_ONLY, CHECK_MTRR_TYPE /* of bits 7:0 */, CHECK_PAT,
};

struct msr_row {
	uint32_t number;
	uint32_t field;    /* offset in struct cpu; FIELD_NONE: reads as `fixed` */
	uint64_t defined;  /* bits that may be 1 */
	uint64_t fixed;
	uint8_t check;     /* enum msr_check */
};
#define FIELD(name) (uint32_t)offsetof(struct cpu, name)
#define FIELD_NONE UINT32_MAX
#define ALL_BITS (~0ull)
#define PHYS_BITS ((1ull << 52) - 1)

/* Numbers and formats: SDM 4 table 2-2. Sorted by number. */
static const struct msr_row msr_rows[] = {
	{ 0x1b, FIELD(apic_base), PHYS_BITS & ~0x2ffull, 0, CHECK_NONE },                  /* IA32_APIC_BASE */
	{ 0x8b, FIELD_NONE, ALL_BITS, 0, CHECK_NONE },                                     /* IA32_BIOS_SIGN_ID: no microcode; writes prepare a read */
	{ 0xfe, FIELD_NONE, 0, MTRR_CAP, CHECK_READ_ONLY },                                /* IA32_MTRRCAP */
	{ 0x174, FIELD(sysenter_cs), 0xffffffff, 0, CHECK_NONE },                          /* IA32_SYSENTER_CS */
	{ 0x175, FIELD(sysenter_esp), ALL_BITS, 0, CHECK_CANONICAL },
	{ 0x176, FIELD(sysenter_eip), ALL_BITS, 0, CHECK_CANONICAL },
	{ 0x1a0, FIELD(misc_enable), 0x1400c51889ull | 1, 0, CHECK_NONE },                 /* IA32_MISC_ENABLE: storage */
	{ 0x277, FIELD(pat), ALL_BITS, 0, CHECK_PAT },                                     /* IA32_PAT */
	{ 0x2ff, FIELD(mtrr_def_type), 0xcff, 0, CHECK_MTRR_TYPE },                        /* IA32_MTRR_DEF_TYPE */
	{ 0xc0000081, FIELD(star), ALL_BITS, 0, CHECK_NONE },                              /* IA32_STAR */
	{ 0xc0000082, FIELD(lstar), ALL_BITS, 0, CHECK_CANONICAL },
	{ 0xc0000083, FIELD(cstar), ALL_BITS, 0, CHECK_CANONICAL },
	{ 0xc0000084, FIELD(fmask), 0xffffffff, 0, CHECK_NONE },                           /* IA32_FMASK */
	{ 0xc0000100, FIELD(seg[SEG_FS].base), ALL_BITS, 0, CHECK_CANONICAL },             /* IA32_FS_BASE */
	{ 0xc0000101, FIELD(seg[SEG_GS].base), ALL_BITS, 0, CHECK_CANONICAL },
	{ 0xc0000102, FIELD(kernel_gs_base), ALL_BITS, 0, CHECK_CANONICAL },
	{ 0xc0000103, FIELD(tsc_aux), 0xffffffff, 0, CHECK_NONE },                         /* IA32_TSC_AUX */
};
enum { MSR_TSC = 0x10, MSR_EFER = 0xc0000080, MSR_TSC_AUX = 0xc0000103 };

static bool msr_exists(const struct cpu *cpu, uint32_t msr)
{
	if (msr == MSR_TSC_AUX)
		return cpu->features->rdtscp;
	return msr <= MSR_EFER || cpu->features->long_mode;
}

/* MTRRs live in an array of their own; copied into *row as if they stood in the table. */
static bool mtrr_row(uint32_t msr, struct msr_row *row)
{
	static const uint16_t fixed[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f };
	*row = (struct msr_row){ .number = msr };
	if (msr >= 0x200 && msr < 0x200 + 2 * MTRR_VARIABLE) {
		row->field = FIELD(mtrr) + 8 * (msr - 0x200);
		row->defined = msr & 1 ? PHYS_BITS & ~0x7ffull : PHYS_BITS & ~0xf00ull;
		row->check = msr & 1 ? CHECK_NONE : CHECK_MTRR_TYPE;
		return true;
	}
	for (unsigned i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
		if (fixed[i] != msr)
			continue;
		row->field = FIELD(mtrr) + 8 * (MTRR_FIXED + i);
		row->defined = ALL_BITS;
		row->check = CHECK_MEMORY_TYPES;
		return true;
	}
	return false;
}

static bool msr_find(const struct cpu *cpu, uint32_t msr, struct msr_row *row)
{
	for (unsigned i = 0; i < sizeof msr_rows / sizeof msr_rows[0]; i++) {
		if (msr_rows[i].number != msr)
			continue;
		*row = msr_rows[i];
		return msr_exists(cpu, msr);
	}
	return mtrr_row(msr, row);
}

/* SDM 3A table 11-8 (MTRR types) and 11-10 (PAT adds UC-). */
static bool memory_type_valid(unsigned type, bool pat)
{
	return type == 0 || type == 1 || type == 4 || type == 5 || type == 6 || (pat && type == 7);
}

static bool memory_types_valid(uint64_t value, bool pat)
{
	for (unsigned i = 0; i < 64; i += 8)
		if (!memory_type_valid(value >> i & 0xff, pat))
			return false;
	return true;
}

static bool msr_value_valid(const struct cpu *cpu, const struct msr_row *row, uint64_t value)
{
	uint64_t defined = row->defined;
	if (defined >> 52 == 0 && defined >> 46) /* an address: bits above MAXPHYADDR are reserved */
		defined &= (1ull << cpu->features->phys_bits) - 1;
	if (value & ~defined)
		return false;
	switch ((enum msr_check)row->check) {
	case CHECK_CANONICAL: return cpu_canonical(cpu, value);
	case CHECK_MEMORY_TYPES: return memory_types_valid(value, false);
	case CHECK_PAT: return memory_types_valid(value, true);
	case CHECK_MTRR_TYPE: return memory_type_valid(value & 0xff, false);
	case CHECK_READ_ONLY: return false;
	case CHECK_NONE: return true;
	}
	return false;
}

static uint64_t tsc_now(const struct cpu *cpu)
{
	uint64_t now = cpu->clock.now ? cpu->clock.now(cpu->clock.self) : cpu->icount;
	return now + cpu->tsc_offset;
}

bool msr_read(struct cpu *cpu, uint32_t msr, uint64_t *value)
{
	struct msr_row row;
	if (msr == MSR_TSC) {
		*value = tsc_now(cpu);
		return true;
	}
	if (msr == MSR_EFER) {
		*value = cpu->efer;
		return cpu->features->long_mode || cpu->features->nx;
	}
	if (!msr_find(cpu, msr, &row))
		return false;
	*value = row.fixed;
	if (row.field != FIELD_NONE)
		memcpy(value, (const uint8_t *)cpu + row.field, 8);
	return true;
}

static bool msr_write_efer(struct cpu *cpu, uint64_t value)
{
	if (!efer_valid(cpu, value))
		return false;
	efer_write(cpu, value);
	return true;
}

bool msr_write(struct cpu *cpu, uint32_t msr, uint64_t value)
{
	struct msr_row row;
	if (msr == MSR_TSC) {
		cpu->tsc_offset += value - tsc_now(cpu);
		return true;
	}
	if (msr == MSR_EFER)
		return msr_write_efer(cpu, value);
	if (!msr_find(cpu, msr, &row) || !msr_value_valid(cpu, &row, value))
		return false;
	if (row.field != FIELD_NONE)
		memcpy((uint8_t *)cpu + row.field, &value, 8);
	return true;
}

/* ---------------------------------------------------------------- instructions */
void sys_rdmsr(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	uint32_t msr = (uint32_t)cpu->reg[REG_CX];
	uint64_t value;
	if (!ring0_or_failed(cpu, SENS_MSR_READ, msr, 0) || sensitive_event(cpu, SENS_MSR_READ, msr, 0, false))
		return;
	if (!msr_read(cpu, msr, &value))
		cpu_raise_error(cpu, VEC_GP, 0);
	cpu->reg[REG_AX] = value & 0xffffffff;
	cpu->reg[REG_DX] = value >> 32;
}

void sys_wrmsr(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	uint32_t msr = (uint32_t)cpu->reg[REG_CX];
	uint64_t value = (cpu->reg[REG_DX] << 32) | (cpu->reg[REG_AX] & 0xffffffff);
	if (!ring0_or_failed(cpu, SENS_MSR_WRITE, msr, value) || sensitive_event(cpu, SENS_MSR_WRITE, msr, value, true))
		return;
	if (!msr_write(cpu, msr, value))
		cpu_raise_error(cpu, VEC_GP, 0);
}

/* CR4.TSD makes it privileged. True: DX:AX is written. */
static bool tsc_read(struct cpu *cpu)
{
	if (cpu->cpl > 0 && cpu->cr4 & CR4_TSD) {
		privilege_failed(cpu, SENS_RDTSC, 0, 0);
		return false;
	}
	if (sensitive_event(cpu, SENS_RDTSC, 0, 0, false))
		return false;
	uint64_t now = tsc_now(cpu);
	cpu->reg[REG_AX] = now & 0xffffffff;
	cpu->reg[REG_DX] = now >> 32;
	return true;
}

void sys_rdtsc(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	(void)tsc_read(cpu);
}

/* RCX is written even when a VMM supplied the time: IA32_TSC_AUX is not virtualized by a time trap. */
void sys_rdtscp(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (!cpu->features->rdtscp)
		cpu_raise(cpu, VEC_UD);
	(void)tsc_read(cpu);
	cpu->reg[REG_CX] = cpu->tsc_aux & 0xffffffff;
}

/* There are no performance counters: every index is out of range. */
void sys_rdpmc(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (cpu->cpl > 0 && !(cpu->cr4 & CR4_PCE)) {
		privilege_failed(cpu, SENS_RDPMC, cpu->reg[REG_CX] & 0xffffffff, 0);
		return;
	}
	if (!sensitive_event(cpu, SENS_RDPMC, cpu->reg[REG_CX] & 0xffffffff, 0, false))
		cpu_raise_error(cpu, VEC_GP, 0);
}
