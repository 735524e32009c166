/* CPUID from struct cpu_features: SDM 2A CPUID. Only what the subset carries out is reported. */
#include "transfer.h"
#include <stddef.h>

enum { OUT_EAX, OUT_EBX, OUT_ECX, OUT_EDX };
enum { CPUID_MAX_BASIC = 7, CPUID_MAX_EXTENDED = 0x8 };

struct cpuid_bit {
	uint32_t leaf;
	uint8_t out, bit;
	uint8_t feature; /* offset in struct cpu_features; ALWAYS: part of every preset */
};
#define ALWAYS UINT8_MAX
#define FEATURE(name) (uint8_t)offsetof(struct cpu_features, name)

/* SDM 2A tables 3-10, 3-11 and 3-8. x87 arithmetic is outside the subset, but no kernel boots without the FPU bit: FXSAVE and FNINIT are there. */
static const struct cpuid_bit cpuid_bits[] = {
	{ 1, OUT_EDX, 0, ALWAYS },           /* FPU */
	{ 1, OUT_EDX, 2, ALWAYS },           /* DE: CR4.DE; breakpoints themselves are not simulated */
	{ 1, OUT_EDX, 3, ALWAYS },           /* PSE */
	{ 1, OUT_EDX, 4, ALWAYS },           /* TSC */
	{ 1, OUT_EDX, 5, ALWAYS },           /* MSR */
	{ 1, OUT_EDX, 6, ALWAYS },           /* PAE */
	{ 1, OUT_EDX, 8, ALWAYS },           /* CX8 */
	{ 1, OUT_EDX, 11, ALWAYS },          /* SEP */
	{ 1, OUT_EDX, 12, ALWAYS },          /* MTRR: storage */
	{ 1, OUT_EDX, 13, FEATURE(pge) },
	{ 1, OUT_EDX, 15, ALWAYS },          /* CMOV */
	{ 1, OUT_EDX, 16, ALWAYS },          /* PAT: storage */
	{ 1, OUT_EDX, 24, FEATURE(sse2) },   /* FXSR */
	{ 1, OUT_EDX, 25, FEATURE(sse2) },   /* SSE */
	{ 1, OUT_EDX, 26, FEATURE(sse2) },   /* SSE2 */
	{ 1, OUT_ECX, 5, FEATURE(vmx) },
	{ 1, OUT_ECX, 13, FEATURE(cx16) },
	{ 1, OUT_ECX, 17, FEATURE(pcid) },
	{ 7, OUT_EBX, 0, FEATURE(fsgsbase) },
	{ 7, OUT_EBX, 7, FEATURE(smep) },
	{ 7, OUT_EBX, 10, FEATURE(invpcid) },
	{ 7, OUT_EBX, 20, FEATURE(smap) },
	{ 7, OUT_ECX, 2, FEATURE(umip) },
	{ 7, OUT_ECX, 16, FEATURE(la57) },
	{ 0x80000001, OUT_ECX, 0, FEATURE(long_mode) }, /* LAHF and SAHF in 64-bit mode */
	{ 0x80000001, OUT_ECX, 2, FEATURE(svm) },
	{ 0x80000001, OUT_EDX, 20, FEATURE(nx) },
	{ 0x80000001, OUT_EDX, 26, FEATURE(gbyte_pages) },
	{ 0x80000001, OUT_EDX, 27, FEATURE(rdtscp) },
	{ 0x80000001, OUT_EDX, 29, FEATURE(long_mode) },
	{ 0x80000007, OUT_EDX, 8, ALWAYS },  /* invariant TSC: the clock is virtual time */
};

static void cpuid_set_bits(const struct cpu_features *f, uint32_t leaf, uint32_t out[4])
{
	for (unsigned i = 0; i < sizeof cpuid_bits / sizeof cpuid_bits[0]; i++) {
		const struct cpuid_bit *b = &cpuid_bits[i];
		if (b->leaf == leaf && (b->feature == ALWAYS || *((const bool *)f + b->feature)))
			out[b->out] |= 1u << b->bit;
	}
}

static void cpuid_vendor(const struct cpu_features *f, uint32_t max, uint32_t out[4])
{
	out[OUT_EAX] = max;
	memcpy(&out[OUT_EBX], f->vendor, 4);
	memcpy(&out[OUT_EDX], f->vendor + 4, 4);
	memcpy(&out[OUT_ECX], f->vendor + 8, 4);
}

void cpuid_read(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct cpu_features *f = cpu->features;
	bool extended = leaf >> 31;
	memset(out, 0, 16);
	/* Above the last leaf Intel's processors answer as the last basic one. */
	if (extended ? leaf > 0x80000000u + CPUID_MAX_EXTENDED : leaf > CPUID_MAX_BASIC)
		leaf = CPUID_MAX_BASIC;
	if (leaf != 7 || subleaf == 0)
		cpuid_set_bits(f, leaf, out);
	switch (leaf) {
	case 0: cpuid_vendor(f, CPUID_MAX_BASIC, out); break;
	case 1: out[OUT_EAX] = f->family_model_stepping; break;
	case 2: out[OUT_EAX] = 0x00ff0001; break; /* descriptor FFh: see leaf 4, which lists no caches: they belong to the timing model */
	case 0x80000000: out[OUT_EAX] = 0x80000000u + CPUID_MAX_EXTENDED; break;
	case 0x80000001:
		if (f->long_mode && cpu_code64(cpu)) /* SYSCALL shows in 64-bit mode only */
			out[OUT_EDX] |= 1u << 11;
		break;
	case 0x80000002: case 0x80000003: case 0x80000004: memcpy(out, f->brand + 16 * (leaf - 0x80000002), 16); break;
	case 0x80000008: out[OUT_EAX] = f->phys_bits | (f->la57 ? 57u : 48u) << 8; break;
	default: break;
	}
}

void sys_cpuid(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	uint32_t leaf = (uint32_t)cpu->reg[REG_AX], subleaf = (uint32_t)cpu->reg[REG_CX], out[4];
	if (sensitive_event(cpu, SENS_CPUID, leaf, subleaf, true))
		return;
	cpuid_read(cpu, leaf, subleaf, out);
	cpu->reg[REG_AX] = out[OUT_EAX];
	cpu->reg[REG_BX] = out[OUT_EBX];
	cpu->reg[REG_CX] = out[OUT_ECX];
	cpu->reg[REG_DX] = out[OUT_EDX];
}
