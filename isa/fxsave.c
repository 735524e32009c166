/*
 * State of the x87 and of SSE as a whole: FXSAVE and kin, MXCSR, and the x87 control instructions that system code uses.
 *
 * Invariant: an image is read whole and checked before any of it is taken, and the memory of one is probed whole before any of it is written.
 * x87.st[] is in physical order: ST(i) is st[(TOP + i) & 7]; x87.tag has 2 bits a physical register (SDM 1 8.1.7).
 */
#include "sse.h"
#include "system.h"

enum {
	X87_ES = 0x80, X87_B = 0x8000, X87_TOP_SHIFT = 11, X87_EXCEPTIONS = 0x3f,
	TAG_VALID = 0, TAG_ZERO = 1, TAG_SPECIAL = 2, TAG_EMPTY = 3,
	MXCSR_MASK = 0xffff, /* with DAZ (SDM 1 11.6.6) */
	FX_BYTES = 512, FX_ST = 32, FX_XMM = 160,
};

/* ---- what every x87 instruction checks (SDM 3A table 2-2) ---- */
static void x87_check(struct cpu *cpu)
{
	if (cpu->cr0 & (CR0_EM | CR0_TS))
		cpu_raise(cpu, VEC_NM);
}

/* Waiting instructions report an exception that a loaded image left pending. With CR0.NE clear a PC's FERR# would assert instead: no guest of the subset can
 * compute in x87, so nothing is reported then. */
static void x87_wait(struct cpu *cpu)
{
	if ((cpu->x87.status & X87_ES) && (cpu->cr0 & CR0_NE))
		cpu_raise(cpu, VEC_MF);
}

/* ES and B follow from flags and masks (SDM 1 8.1.3.3). */
static void x87_summarize(struct x87_image *x)
{
	const bool pending = x->status & ~x->control & X87_EXCEPTIONS;
	x->status = (uint16_t)((x->status & ~(X87_ES | X87_B)) | (pending ? X87_ES | X87_B : 0));
}

static void x87_init(struct x87_image *x)
{
	x->control = 0x037f;
	x->status = 0;
	x->tag = 0xffff;
	x->opcode = 0;
	x->ip = x->dp = 0;
}

static unsigned x87_top(const struct x87_image *x)
{
	return x->status >> X87_TOP_SHIFT & 7;
}

/* The tag of a register that is not empty, from its contents (SDM 2 FXSAVE, table "recreating FSAVE format"). */
static unsigned x87_tag_of(const uint8_t st[16])
{
	uint64_t mantissa;
	uint16_t exponent;
	memcpy(&mantissa, st, 8);
	memcpy(&exponent, st + 8, 2);
	exponent &= 0x7fff;
	if (exponent == 0 && mantissa == 0)
		return TAG_ZERO;
	return exponent == 0 || exponent == 0x7fff || !(mantissa >> 63) ? TAG_SPECIAL : TAG_VALID;
}

/* Tags as they are stored: emptiness is state, the rest is recomputed. */
static uint16_t x87_tags(const struct x87_image *x)
{
	unsigned tags = 0;
	for (unsigned p = 0; p < 8; p++)
		tags |= ((x->tag >> 2 * p & 3) == TAG_EMPTY ? TAG_EMPTY : x87_tag_of(x->st[p])) << 2 * p;
	return (uint16_t)tags;
}

/* ---- access to memory operands ---- */
static uint64_t operand(struct cpu *cpu, const struct sys_operands *o, unsigned size, enum access access)
{
	return segment_linear(cpu, (enum segment_name)o->seg, o->offset, size, access);
}

static void operand_write16(struct cpu *cpu, const struct sys_operands *o, uint16_t value)
{
	mem_write_u(cpu, operand(cpu, o, 2, ACCESS_WRITE), value, 2, false);
}

static void put16(uint8_t *at, unsigned v)
{
	const uint16_t w = (uint16_t)v;
	memcpy(at, &w, 2);
}

static void put32(uint8_t *at, uint64_t v)
{
	const uint32_t d = (uint32_t)v;
	memcpy(at, &d, 4);
}

static uint16_t get16(const uint8_t *at)
{
	uint16_t v;
	memcpy(&v, at, 2);
	return v;
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;
	memcpy(&v, at, 4);
	return v;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t v;
	memcpy(&v, at, 8);
	return v;
}

/*
 * ---- FXSAVE, FXRSTOR (SDM 1 10.5.1, SDM 2 FXSAVE) ----
 *
 *        15..12   11..8            7..6   5       4        3..2    1..0
 *   0    FCS|FIP  FIP              FOP    0       FTW abr. FSW     FCW       FIP is 64 bits with REX.W, else 32 bits and FCS
 *  16    MXCSR_MASK  MXCSR         FDS|FDP        FDP
 *  32    ST(0) .. ST(7), 16 bytes each, 10 used
 * 160    XMM0 .. XMM7, in 64-bit mode XMM15
 * 416    not written
 * FCS and FDS read as zero: CPUID.7.0:EBX[13] deprecates them.
 */
static unsigned fx_xmm_count(const struct cpu *cpu)
{
	return !(cpu->cr4 & CR4_OSFXSR) ? 0 : cpu->code_size == 8 ? 16 : 8; /* without OSFXSR: none, as the manual allows */
}

static uint64_t fx_operand(struct cpu *cpu, const struct sys_operands *o, enum access access)
{
	x87_check(cpu);
	const uint64_t linear = operand(cpu, o, FX_BYTES, access);
	if (linear & 15)
		cpu_raise_error(cpu, VEC_GP, 0);
	return linear;
}

static void fx_pointer_put(uint8_t *at, uint64_t v, bool wide)
{
	if (wide)
		memcpy(at, &v, 8);
	else
		put32(at, v);
}

void sys_fxsave(struct cpu *cpu, const struct sys_operands *o)
{
	const uint64_t linear = fx_operand(cpu, o, ACCESS_WRITE);
	const struct x87_image *x = &cpu->x87;
	uint8_t image[FX_BYTES] = { 0 };
	const unsigned xmm = fx_xmm_count(cpu);
	mem_probe_write(cpu, linear, FX_BYTES, false);
	put16(image, x->control);
	put16(image + 2, x->status);
	for (unsigned p = 0; p < 8; p++)
		if ((x->tag >> 2 * p & 3) != TAG_EMPTY)
			image[4] |= (uint8_t)(1u << p);
	put16(image + 6, x->opcode);
	fx_pointer_put(image + 8, x->ip, o->size == 8);
	fx_pointer_put(image + 16, x->dp, o->size == 8);
	if (xmm) {
		put32(image + 24, cpu->mxcsr);
		put32(image + 28, MXCSR_MASK);
	} else {
		mem_read(cpu, linear + 24, image + 24, 8, false);
	}
	for (unsigned i = 0; i < 8; i++)
		memcpy(image + FX_ST + 16 * i, x->st[(x87_top(x) + i) & 7], 10);
	memcpy(image + FX_XMM, cpu->xmm, 16 * xmm);
	for (unsigned at = 0; at < FX_XMM + 16 * xmm; at += 16)
		mem_write(cpu, linear + at, image + at, 16, false);
}

void sys_fxrstor(struct cpu *cpu, const struct sys_operands *o)
{
	const uint64_t linear = fx_operand(cpu, o, ACCESS_READ);
	struct x87_image *x = &cpu->x87;
	uint8_t image[FX_BYTES];
	const unsigned xmm = fx_xmm_count(cpu);
	for (unsigned at = 0; at < FX_BYTES; at += 16)
		mem_read(cpu, linear + at, image + at, 16, false);
	if (xmm && (get32(image + 24) & ~(uint32_t)MXCSR_MASK))
		cpu_raise_error(cpu, VEC_GP, 0);
	x->control = (uint16_t)((get16(image) & 0x1f3f) | 0x40); /* reserved bits as the hardware keeps them (SDM 1 figure 8-6) */
	x->status = get16(image + 2);
	x->opcode = get16(image + 6) & 0x7ff;
	x->ip = o->size == 8 ? get64(image + 8) : get32(image + 8);
	x->dp = o->size == 8 ? get64(image + 16) : get32(image + 16);
	for (unsigned i = 0; i < 8; i++)
		memcpy(x->st[(x87_top(x) + i) & 7], image + FX_ST + 16 * i, 10);
	unsigned tags = 0;
	for (unsigned p = 0; p < 8; p++)
		tags |= (image[4] >> p & 1 ? x87_tag_of(x->st[p]) : TAG_EMPTY) << 2 * p;
	x->tag = (uint16_t)tags;
	x87_summarize(x);
	if (xmm)
		cpu->mxcsr = get32(image + 24);
	memcpy(cpu->xmm, image + FX_XMM, 16 * xmm);
}

/* ---- MXCSR ---- */
void sys_ldmxcsr(struct cpu *cpu, const struct sys_operands *o)
{
	sse_check(cpu);
	const uint32_t value = (uint32_t)mem_read_u(cpu, operand(cpu, o, 4, ACCESS_READ), 4, false);
	if (value & ~(uint32_t)MXCSR_MASK)
		cpu_raise_error(cpu, VEC_GP, 0);
	cpu->mxcsr = value;
}

void sys_stmxcsr(struct cpu *cpu, const struct sys_operands *o)
{
	sse_check(cpu);
	mem_write_u(cpu, operand(cpu, o, 4, ACCESS_WRITE), cpu->mxcsr, 4, false);
}

/* ---- x87 control ---- */
void sys_fninit(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	x87_check(cpu);
	x87_init(&cpu->x87);
}

void sys_fnclex(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	x87_check(cpu);
	cpu->x87.status &= 0x7f00; /* keeps TOP and condition codes (SDM 2 FCLEX) */
}

void sys_fnstcw(struct cpu *cpu, const struct sys_operands *o)
{
	x87_check(cpu);
	operand_write16(cpu, o, cpu->x87.control);
}

void sys_fldcw(struct cpu *cpu, const struct sys_operands *o)
{
	x87_check(cpu);
	x87_wait(cpu);
	const uint16_t value = (uint16_t)mem_read_u(cpu, operand(cpu, o, 2, ACCESS_READ), 2, false);
	cpu->x87.control = (uint16_t)((value & 0x1f3f) | 0x40);
	x87_summarize(&cpu->x87);
}

void sys_fnstsw(struct cpu *cpu, const struct sys_operands *o)
{
	x87_check(cpu);
	if (o->memory)
		operand_write16(cpu, o, cpu->x87.status);
	else
		cpu->reg[REG_AX] = (cpu->reg[REG_AX] & ~0xffffull) | cpu->x87.status;
}

void sys_fwait(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		cpu_raise(cpu, VEC_NM);
	x87_wait(cpu);
}

void sys_emms(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (cpu->cr0 & CR0_EM)
		cpu_raise(cpu, VEC_UD);
	if (cpu->cr0 & CR0_TS)
		cpu_raise(cpu, VEC_NM);
	x87_wait(cpu);
	cpu->x87.tag = 0xffff;
}

/*
 * ---- FNSAVE, FRSTOR (SDM 1 8.1.10, figures 8-9 to 8-12) ----
 * Environment of 7 words of 4 or 2 bytes (operand size), then ST(0)..ST(7), 10 bytes each:
 *   control, status, tag, then
 *   protected mode:  FIP, FCS | FOP << 16 (32-bit only), FDP, FDS
 *   real and v8086:  FIP[15:0], FIP[31:16] << 12 | FOP, FDP[15:0], FDP[31:16] << 12
 * The upper halves of 32-bit words that hold 16 bits read as ones.
 */
enum { ENV_WORDS = 7, ENV_ST_BYTES = 80 };

static bool env_linear_pointers(const struct cpu *cpu)
{
	return !cpu_protected(cpu) || (cpu->eflags & FLAG_VM);
}

static void env_fill(const struct cpu *cpu, uint32_t word[ENV_WORDS], bool wide)
{
	const struct x87_image *x = &cpu->x87;
	word[0] = 0xffff0000u | x->control;
	word[1] = 0xffff0000u | x->status;
	word[2] = 0xffff0000u | x87_tags(x);
	if (env_linear_pointers(cpu)) {
		word[3] = 0xffff0000u * wide | (uint16_t)x->ip;
		word[4] = (uint32_t)(x->ip >> 16 & 0xffff) << 12 | x->opcode;
		word[5] = 0xffff0000u * wide | (uint16_t)x->dp;
		word[6] = (uint32_t)(x->dp >> 16 & 0xffff) << 12;
		return;
	}
	word[3] = (uint32_t)x->ip;
	word[4] = wide ? (uint32_t)x->opcode << 16 : 0;
	word[5] = (uint32_t)x->dp;
	word[6] = 0xffff0000u;
}

void sys_fnsave(struct cpu *cpu, const struct sys_operands *o)
{
	x87_check(cpu);
	struct x87_image *x = &cpu->x87;
	const unsigned width = o->size == 2 ? 2 : 4, bytes = ENV_WORDS * width + ENV_ST_BYTES;
	const uint64_t linear = operand(cpu, o, bytes, ACCESS_WRITE);
	uint32_t word[ENV_WORDS];
	mem_probe_write(cpu, linear, bytes, false);
	env_fill(cpu, word, width == 4);
	for (unsigned i = 0; i < ENV_WORDS; i++)
		mem_write_u(cpu, linear + i * width, width == 4 ? word[i] : (uint16_t)word[i], width, false);
	for (unsigned i = 0; i < 8; i++)
		mem_write(cpu, linear + ENV_WORDS * width + 10 * i, x->st[(x87_top(x) + i) & 7], 10, false);
	x87_init(x);
}

void sys_frstor(struct cpu *cpu, const struct sys_operands *o)
{
	x87_check(cpu);
	x87_wait(cpu);
	struct x87_image *x = &cpu->x87;
	const unsigned width = o->size == 2 ? 2 : 4, bytes = ENV_WORDS * width + ENV_ST_BYTES;
	const uint64_t linear = operand(cpu, o, bytes, ACCESS_READ);
	uint32_t word[ENV_WORDS];
	uint8_t st[8][10];
	for (unsigned i = 0; i < ENV_WORDS; i++)
		word[i] = (uint32_t)mem_read_u(cpu, linear + i * width, width, false);
	for (unsigned i = 0; i < 8; i++)
		mem_read(cpu, linear + ENV_WORDS * width + 10 * i, st[i], 10, false);
	x->control = (uint16_t)((word[0] & 0x1f3f) | 0x40);
	x->status = (uint16_t)word[1];
	x->tag = (uint16_t)word[2];
	if (env_linear_pointers(cpu)) {
		x->ip = (word[3] & 0xffff) | (uint64_t)(word[4] >> 12 & 0xffff) << 16;
		x->dp = (word[5] & 0xffff) | (uint64_t)(word[6] >> 12 & 0xffff) << 16;
		x->opcode = word[4] & 0x7ff;
	} else {
		x->ip = word[3];
		x->dp = word[5];
		x->opcode = width == 4 ? word[4] >> 16 & 0x7ff : 0;
	}
	for (unsigned i = 0; i < 8; i++)
		memcpy(x->st[(x87_top(x) + i) & 7], st[i], 10);
	x87_summarize(x);
}
