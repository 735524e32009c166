/* Makes random programs; see random_program.h. No expression draws twice, unless ?:, && or || says which comes first: else compilers would make other programs. */
#include "random_program.h"
#include <stddef.h>
#include <string.h>

enum { LINE = 32, FIXUPS = 64, FUNCTIONS = 6, PATCHES = 64, CODE_MOST = 0xe000 };
enum { AX, CX, DX, BX, SP, BP, SI, DI };

struct fixup { uint32_t at, line; uint8_t bytes; bool absolute; }; /* a forward branch's displacement, or an address, that is not known yet */
struct call { uint32_t at; uint8_t bytes, function; bool absolute; };

struct maker {
	struct random_program *p;
	uint64_t state;
	unsigned what;
	uint32_t at;
	unsigned width;          /* of the code being made */
	bool kernel;             /* it is likely to run in ring 0 */
	unsigned kept;           /* set of registers that count loops */
	struct fixup fixup[FIXUPS];
	unsigned fixups;
	struct call call[256];
	unsigned calls;
	unsigned function;       /* number of the first function that may be called */
	unsigned functions;
	uint32_t entry[FUNCTIONS];
	uint8_t entry_width[FUNCTIONS];
	struct { uint32_t at; unsigned bytes; } patch[PATCHES]; /* immediates that stores may change */
	unsigned patches;
};

static uint64_t rnd(struct maker *m) /* xorshift64*: Vigna, 2016 */
{
	m->state ^= m->state >> 12;
	m->state ^= m->state << 25;
	m->state ^= m->state >> 27;
	return m->state * 0x2545f4914f6cdd1dull;
}
static unsigned pick(struct maker *m, unsigned n) { return (unsigned)((rnd(m) >> 33) % n); }
static bool chance(struct maker *m, unsigned n) { return pick(m, n) == 0; }

/* ---------------------------------------------------------------- bytes */
static void put(struct maker *m, uint64_t value, unsigned bytes)
{
	memcpy(m->p->code + m->at, &value, bytes);
	m->at += bytes;
}
static void put1(struct maker *m, unsigned value) { put(m, value, 1); }

static void fixups_due(struct maker *m);

/* NOPs up to the next line, unless `room` bytes are left in this one. Branches that wait for a line lead to its begin. */
static void line_room(struct maker *m, unsigned room)
{
	static const uint8_t nops[4][3] = { { 0 }, { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0x00 } };
	unsigned left = LINE - m->at % LINE;
	for (unsigned n; left < room && left; left -= n) {
		n = left < 3 ? left : 3;
		memcpy(m->p->code + m->at, nops[n], n);
		m->at += n;
	}
	if (m->at % LINE == 0)
		fixups_due(m);
}

/* ---------------------------------------------------------------- values */
static uint64_t value(struct maker *m)
{
	static const uint64_t corner[] = { 0, 1, 2, 7, 8, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
		0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~1ull, ~0x7full, ~0x7fffull, ~0x7fffffffull };
	if (chance(m, 2))
		return corner[pick(m, sizeof corner / sizeof *corner)];
	const bool narrow = chance(m, 2);
	const uint64_t v = rnd(m);
	return narrow ? v >> pick(m, 64) : v;
}

/* An address worth having in a register. */
static uint64_t address(struct maker *m)
{
	const uint32_t data = RANDOM_DATA + pick(m, RANDOM_DATA_BYTES);
	switch (pick(m, 24)) {
	case 0: return RANDOM_ABSENT + pick(m, 0x4000);
	case 1: return RANDOM_ABSENT - pick(m, 32); /* next to the absent page */
	case 2: return m->what & RANDOM_DEFINED ? data : RANDOM_CODE + RANDOM_ENTRY + pick(m, 0x1000);
	case 3: return m->what & RANDOM_DEFINED ? data : m->width == 8 ? 0x8000000000000000ull >> pick(m, 40) : (uint32_t)rnd(m);
	case 4: return m->what & RANDOM_FLUSHED ? data : RANDOM_PT64 + pick(m, 0x4000); /* page tables themselves: without a flush after it, who knows */
	case 5: case 6: case 7: case 8: return RANDOM_EDIT + pick(m, RANDOM_EDIT_PAGES * 4096);
	case 9: case 10: case 11: return (data & ~0xfffu) + 4096 - pick(m, 24);
	default: return data & ~(chance(m, 2) ? 15u : 0u);
	}
}

static unsigned reg_any(struct maker *m) { return pick(m, m->width == 8 ? 16 : 8); }
/* A register to be written: not one that counts, seldom the stack's, and pointers only now and then. */
static unsigned reg_target(struct maker *m)
{
	for (;;) {
		unsigned r = reg_any(m);
		const bool pointer = r == BX || r == SI || r == DI, tame = m->what & RANDOM_DEFINED;
		if ((m->kept >> r & 1) || (r == SP && (tame || m->kernel || pick(m, 16))) || (pointer && (tame || pick(m, 4))))
			continue;
		return r;
	}
}

/* MOV of a constant: `bytes` of it, 4 in 32-bit operand size. */
static void load_constant(struct maker *m, unsigned reg, uint64_t v)
{
	const bool wide = m->width == 8 && v >> 32;
	line_room(m, 10);
	if (m->width == 8 && (wide || reg >= 8))
		put1(m, 0x40 | (wide ? 8 : 0) | (reg >= 8));
	put1(m, 0xb8 | (reg & 7));
	put(m, v, wide ? 8 : m->width == 2 ? 2 : 4);
}

static void pointer_refresh(struct maker *m)
{
	static const uint8_t regs[] = { BX, SI, DI, BX, SI, DI, BP, CX };
	unsigned r = regs[pick(m, sizeof regs)];
	if (m->kept >> r & 1)
		return;
	if (r == CX)
		load_constant(m, r, pick(m, 64));
	else
		load_constant(m, r, m->width == 2 ? pick(m, chance(m, 8) ? 0x10000 : 0x3f80) : address(m));
}

/* ---------------------------------------------------------------- ModRM */
struct operand { bool memory; unsigned rm; int base, index; unsigned scale; int32_t disp; bool rip, address32; };

static struct operand operand_pick(struct maker *m, bool memory)
{
	static const uint8_t bases[] = { BX, SI, DI, BX, SI, DI, BX, BP, SP };
	struct operand o = { .memory = memory, .base = -1, .index = -1, .rm = reg_any(m) };
	if (!memory)
		return o;
	o.disp = chance(m, 3) ? 0 : chance(m, 3) ? (int32_t)pick(m, 0x2000) - 0x1000 : (int32_t)pick(m, 128) - 64;
	if (chance(m, 6)) { /* absolute, or relative to RIP */
		o.rip = m->width == 8 && chance(m, 2);
		o.disp = (int32_t)(m->width == 2 ? pick(m, 0x4000) : (uint32_t)address(m));
		return o;
	}
	o.base = bases[pick(m, m->what & RANDOM_DEFINED ? 6 : m->width == 2 ? 7 : sizeof bases)];
	if (m->width != 2 && chance(m, 5)) {
		o.index = chance(m, 4) ? (int)reg_any(m) : CX;
		o.index = o.index == SP ? CX : o.index;
		o.scale = pick(m, 4);
	}
	return o;
}

static void put_modrm16(struct maker *m, unsigned reg, const struct operand *o)
{
	const unsigned rm = o->base == BX ? 7 : o->base == SI ? 4 : o->base == DI ? 5 : 6;
	if (o->base < 0) {
		put1(m, reg << 3 | 6);
		put(m, (uint32_t)o->disp, 2);
		return;
	}
	const unsigned mod = o->disp == (int8_t)o->disp ? 1 : 2;
	put1(m, mod << 6 | reg << 3 | rm);
	put(m, (uint32_t)o->disp, mod);
}

/* `after`: bytes of immediates behind it, which RIP counts. */
static void put_modrm(struct maker *m, unsigned reg, const struct operand *o, unsigned after)
{
	reg &= 7;
	if (!o->memory) {
		put1(m, 0xc0 | reg << 3 | (o->rm & 7));
		return;
	}
	if (m->width == 2) {
		put_modrm16(m, reg, o);
		return;
	}
	if (o->base < 0) {
		put1(m, reg << 3 | (m->width == 8 && !o->rip ? 4 : 5));
		if (m->width == 8 && !o->rip)
			put1(m, 0x25);
		put(m, (uint32_t)o->disp - (o->rip ? RANDOM_CODE + m->at + 4 + after : 0), 4);
		return;
	}
	const bool sib = o->index >= 0 || (o->base & 7) == SP;
	const unsigned mod = o->disp == 0 && (o->base & 7) != BP ? 0 : o->disp == (int8_t)o->disp ? 1 : 2;
	put1(m, mod << 6 | reg << 3 | (sib ? 4 : (unsigned)o->base & 7));
	if (sib)
		put1(m, o->scale << 6 | (o->index < 0 ? 4 : (unsigned)o->index & 7) << 3 | ((unsigned)o->base & 7));
	put(m, (uint32_t)o->disp, mod == 2 ? 4 : mod);
}

/* ---------------------------------------------------------------- instructions */
enum trait { /* of a form */
	BYTE = 1, NO64 = 2, ONLY64 = 4, MEM = 8, REG = 0x10, FREE = 0x20 /* flags that the manual leaves open */, LOCKED = 0x40, READS = 0x80 /* rm is not written */,
	IB = 0x100, IZ = 0x200, IV = 0x400, PLUS = 0x800 /* register in the opcode */, TO_REG = 0x1000 /* reg is written */, NONE = 0x2000 /* no ModRM */, STACK = 0x4000, WIDE = 0x8000 /* 4 and 8 bytes only */,
	RARE = 0x10000, XMM = 0x20000, FLOAT = 0x40000, FIXED = 0x80000 /* no operand size prefix, no REX.W */, GENERAL = 0x100000 /* of an XMM form: reg is a general register */,
	COUNTED = 0x200000 /* writes CX, SI or DI */, NARROW = 0x400000 /* 16 bits: the manual leaves results open */, OPEN = 0x800000 /* the result is */,
};
struct form { uint8_t prefix, length, op[3]; int8_t digit; uint32_t traits; };
#define F(traits, digit, ...) { 0, sizeof((uint8_t[]){ __VA_ARGS__ }), { __VA_ARGS__ }, digit, traits },
#define P(prefix, traits, digit, ...) { prefix, sizeof((uint8_t[]){ __VA_ARGS__ }), { __VA_ARGS__ }, digit, traits },
#define R (-1)
#define ALU(k) F(BYTE | LOCKED, R, 8 * k) F(LOCKED, R, 8 * k + 1) F(BYTE | TO_REG, R, 8 * k + 2) F(TO_REG, R, 8 * k + 3) F(BYTE | NONE | IB, 0, 8 * k + 4) F(NONE | IZ, 0, 8 * k + 5) \
	F(BYTE | IB | LOCKED, k, 0x80) F(IZ | LOCKED, k, 0x81) F(IB | LOCKED, k, 0x83)
#define SHIFT(k) F(BYTE | IB | FREE, k, 0xc0) F(IB | FREE, k, 0xc1) F(FREE, k, 0xd1) F(BYTE | FREE, k, 0xd2) F(FREE, k, 0xd3)
#define CC(k) F(TO_REG, R, 0x0f, 0x40 + k) F(BYTE | FIXED, 0, 0x0f, 0x90 + k)
static const struct form integer[] = {
	ALU(0) ALU(1) ALU(2) ALU(3) ALU(4) ALU(5) ALU(6) F(BYTE | READS, R, 0x38) F(READS, R, 0x39) F(BYTE | READS, R, 0x3a) F(READS, R, 0x3b) F(READS | IB, 7, 0x83) F(READS | IZ, 7, 0x81)
	F(READS | IB | BYTE, 7, 0x80) F(BYTE | READS, R, 0x84) F(READS, R, 0x85) F(NONE | IB | BYTE, 0, 0xa8) F(NONE | IZ, 0, 0xa9) F(BYTE | READS | IB, 0, 0xf6) F(READS | IZ, 0, 0xf7)
	F(BYTE | LOCKED, 2, 0xf6) F(LOCKED, 2, 0xf7) F(BYTE | LOCKED, 3, 0xf6) F(LOCKED, 3, 0xf7) F(READS | FREE, 4, 0xf7) F(READS | FREE | BYTE, 4, 0xf6) F(READS | FREE, 5, 0xf7)
	F(READS | FREE | RARE, 6, 0xf7) F(READS | FREE | RARE, 7, 0xf7) F(READS | FREE | RARE | BYTE, 6, 0xf6) F(TO_REG | FREE, R, 0x0f, 0xaf) F(TO_REG | FREE | IZ, R, 0x69) F(TO_REG | FREE | IB, R, 0x6b)
	F(BYTE | LOCKED, 0, 0xfe) F(LOCKED, 0, 0xff) F(BYTE | LOCKED, 1, 0xfe) F(LOCKED, 1, 0xff) F(NO64 | PLUS, 0, 0x40) F(NO64 | PLUS, 0, 0x48)
	SHIFT(0) SHIFT(1) SHIFT(2) SHIFT(3) SHIFT(4) SHIFT(5) SHIFT(7) F(IB | FREE | NARROW, R, 0x0f, 0xa4) F(FREE | NARROW, R, 0x0f, 0xa5) F(IB | FREE | NARROW, R, 0x0f, 0xac) F(FREE | NARROW, R, 0x0f, 0xad)
	F(REG | READS | FREE, R, 0x0f, 0xa3) F(REG | FREE, R, 0x0f, 0xab) F(REG | FREE, R, 0x0f, 0xb3) F(REG | FREE, R, 0x0f, 0xbb)
	F(READS | FREE | IB, 4, 0x0f, 0xba) F(FREE | IB | LOCKED, 5, 0x0f, 0xba) F(FREE | IB | LOCKED, 6, 0x0f, 0xba) F(FREE | IB | LOCKED, 7, 0x0f, 0xba)
	F(WIDE | PLUS, 0, 0x0f, 0xc8) F(BYTE, R, 0x88) F(0, R, 0x89) F(0, R, 0x89) F(BYTE | TO_REG, R, 0x8a) F(TO_REG, R, 0x8b) F(TO_REG, R, 0x8b) F(TO_REG, R, 0x8b) F(BYTE | PLUS | IB, 0, 0xb0) F(PLUS | IV, 0, 0xb8)
	F(BYTE | IB, 0, 0xc6) F(IZ, 0, 0xc7) F(BYTE | LOCKED, R, 0x86) F(LOCKED, R, 0x87) F(PLUS, 0, 0x90) F(TO_REG | MEM, R, 0x8d) F(TO_REG | MEM, R, 0x8d)
	F(TO_REG, R, 0x0f, 0xb6) F(TO_REG, R, 0x0f, 0xb7) F(TO_REG, R, 0x0f, 0xbe) F(TO_REG, R, 0x0f, 0xbf) F(TO_REG | ONLY64, R, 0x63) F(NONE, 0, 0x98) F(NONE, 0, 0x99)
	F(BYTE | LOCKED, R, 0x0f, 0xc0) F(LOCKED, R, 0x0f, 0xc1) F(BYTE | LOCKED, R, 0x0f, 0xb0) F(LOCKED, R, 0x0f, 0xb1) F(MEM | LOCKED | FIXED, 1, 0x0f, 0xc7) F(NONE | BYTE, 0, 0xd7)
	CC(0) CC(1) CC(2) CC(3) CC(4) CC(5) CC(6) CC(7) CC(8) CC(9) CC(10) CC(11) CC(12) CC(13) CC(14) CC(15)
	F(STACK | PLUS | READS, 0, 0x50) F(STACK | PLUS | READS, 0, 0x50) F(STACK | NONE | IZ, 0, 0x68) F(STACK | NONE | IB, 0, 0x6a) F(STACK | READS, 6, 0xff) F(STACK | PLUS, 0, 0x58) F(STACK | PLUS, 0, 0x58)
	F(STACK, 0, 0x8f) F(STACK | NONE, 0, 0x9c) F(STACK | NONE | RARE, 0, 0x9d) F(NONE | BYTE, 0, 0x9e) F(NONE | BYTE, 0, 0x9f) F(NONE | BYTE, 0, 0xf5) F(NONE | BYTE, 0, 0xf8) F(NONE | BYTE, 0, 0xf9)
	F(NONE | BYTE | RARE, 0, 0xfc) F(NONE | BYTE | RARE, 0, 0xfd) F(NO64 | NONE | BYTE | OPEN, 0, 0x27) F(NO64 | NONE | BYTE | OPEN, 0, 0x37) F(NO64 | NONE | STACK, 0, 0x60) F(READS, 0, 0x0f, 0x1f)
	F(NO64 | NONE | BYTE, 0, 0xd6) F(NO64 | NONE | BYTE | RARE, 0, 0xce) F(REG | READS, 0, 0x8c) F(REG | READS, 3, 0x8c) F(OPEN | TO_REG, R, 0x0f, 0xbc) F(OPEN | TO_REG, R, 0x0f, 0xbd)
	F(NONE | RARE | COUNTED, 0, 0xa4) F(NONE | RARE | COUNTED, 0, 0xa5) F(NONE | RARE | COUNTED, 0, 0xab) F(NONE | RARE | COUNTED, 0, 0xad) F(NONE | RARE | COUNTED, 0, 0xa7) F(NONE | RARE | COUNTED, 0, 0xaf)
	F(NONE | RARE | BYTE, 0, 0x0f, 0xae, 0xf0) F(MEM | OPEN | RARE | BYTE, 7, 0x0f, 0xae) F(OPEN, 0, 0x0f, 0x00) F(OPEN, 4, 0x0f, 0x01)
};
#define V(prefix, ...) P(prefix, XMM | FIXED | TO_REG, R, 0x0f, __VA_ARGS__)
#define VF(prefix, ...) P(prefix, XMM | FIXED | TO_REG | FLOAT, R, 0x0f, __VA_ARGS__)
static const struct form vector[] = {
	V(0, 0x10) V(0, 0x28) V(0x66, 0x6f) V(0xf3, 0x6f) V(0xf3, 0x7e) V(0xf3, 0x10) V(0xf2, 0x10) V(0x66, 0xfe) V(0x66, 0xd4) V(0x66, 0xfc) V(0x66, 0xfd) V(0x66, 0xfa) V(0x66, 0xfb) V(0x66, 0xf8)
	V(0x66, 0xdb) V(0x66, 0xdf) V(0x66, 0xeb) V(0x66, 0xef) V(0x66, 0x60) V(0x66, 0x61) V(0x66, 0x62) V(0x66, 0x6a) V(0x66, 0x6c) V(0x66, 0x6d) V(0x66, 0x63) V(0x66, 0x67) V(0x66, 0x6b) V(0x66, 0xd5)
	V(0x66, 0xe5) V(0x66, 0xf4) V(0x66, 0xf5) V(0x66, 0xf6) V(0x66, 0xda) V(0x66, 0xde) V(0x66, 0xea) V(0x66, 0xee) V(0x66, 0x64) V(0x66, 0x66) V(0x66, 0x74) V(0x66, 0x76) V(0x66, 0xd2) V(0x66, 0xd3)
	V(0x66, 0xf2) V(0x66, 0xe2) V(0, 0x54) V(0, 0x57) V(0x66, 0x14) V(0, 0x14) V(0, 0x15) V(0x66, 0xdc) V(0x66, 0xe8) V(0x66, 0xe0)
	P(0, XMM | FIXED, R, 0x0f, 0x11) P(0, XMM | FIXED, R, 0x0f, 0x29) P(0x66, XMM | FIXED, R, 0x0f, 0x7f) P(0xf3, XMM | FIXED, R, 0x0f, 0x7f) P(0x66, XMM | FIXED, R, 0x0f, 0xd6) P(0xf3, XMM | FIXED, R, 0x0f, 0x11)
	P(0xf2, XMM | FIXED, R, 0x0f, 0x11) P(0x66, XMM | FIXED | MEM, R, 0x0f, 0xe7) P(0, XMM | FIXED | MEM, R, 0x0f, 0x2b) P(0x66, XMM | FIXED | TO_REG | MEM, R, 0x0f, 0x12) P(0x66, XMM | FIXED | MEM, R, 0x0f, 0x17)
	P(0x66, XMM | FIXED | TO_REG | IB, R, 0x0f, 0x70) P(0xf3, XMM | FIXED | TO_REG | IB, R, 0x0f, 0x70) P(0, XMM | FIXED | TO_REG | IB, R, 0x0f, 0xc6) P(0x66, XMM | FIXED | REG | IB, 2, 0x0f, 0x73)
	P(0x66, XMM | FIXED | REG | IB, 7, 0x0f, 0x73) P(0x66, XMM | FIXED | REG | IB, 4, 0x0f, 0x72) P(0x66, XMM | FIXED | REG | IB, 6, 0x0f, 0x71)
	P(0x66, XMM | TO_REG | READS, R, 0x0f, 0x6e) P(0x66, XMM, R, 0x0f, 0x7e) P(0x66, XMM | FIXED | GENERAL | REG | TO_REG, R, 0x0f, 0xd7) P(0, XMM | FIXED | GENERAL | REG | TO_REG, R, 0x0f, 0x50)
	P(0x66, XMM | FIXED | TO_REG | IB, R, 0x0f, 0xc4) P(0x66, XMM | FIXED | GENERAL | REG | TO_REG | IB, R, 0x0f, 0xc5)
	VF(0, 0x58) VF(0x66, 0x58) VF(0xf3, 0x58) VF(0xf2, 0x58) VF(0, 0x59) VF(0xf2, 0x59) VF(0xf3, 0x5c) VF(0x66, 0x5c) VF(0xf2, 0x5e) VF(0, 0x5e) VF(0xf2, 0x5d) VF(0, 0x5f) VF(0xf2, 0x51) VF(0x66, 0x2e)
	VF(0, 0x2f) VF(0, 0x5a) VF(0xf2, 0x5a) VF(0, 0x5b) VF(0x66, 0x5b) VF(0xf3, 0xe6) P(0xf2, XMM | TO_REG | FLOAT, R, 0x0f, 0x2a) P(0xf3, XMM | TO_REG | FLOAT, R, 0x0f, 0x2a)
	P(0xf2, XMM | GENERAL | TO_REG | FLOAT, R, 0x0f, 0x2c) P(0xf3, XMM | GENERAL | TO_REG | FLOAT, R, 0x0f, 0x2d) P(0xf2, XMM | FIXED | TO_REG | FLOAT | IB, R, 0x0f, 0xc2)
	P(0, FIXED | MEM | READS | RARE | FLOAT, 2, 0x0f, 0xae) P(0, FIXED | MEM | FLOAT, 3, 0x0f, 0xae) P(0, FIXED | MEM | FLOAT | RARE, 0, 0x0f, 0xae) P(0, FIXED | MEM | FLOAT | RARE, 1, 0x0f, 0xae)
};

static bool form_fits(struct maker *m, const struct form *f)
{
	const uint32_t t = f->traits;
	if ((t & (m->width == 8 ? NO64 : ONLY64)) || ((t & RARE) && pick(m, 8)))
		return false;
	if ((m->what & RANDOM_DEFINED) && ((t & (OPEN | FLOAT)) || ((t & MEM) && (t & XMM) && (f->op[1] == 0xe7 || f->op[1] == 0x2b))))
		return false;
	if ((t & COUNTED) && m->kept)
		return false;
	/* the accumulator and its friends */
	return !((t & NONE) && !(t & STACK) && (m->kept & 5)) && !((f->op[0] | 1) == 0xf7 && f->digit >= 4 && (m->kept & 5));
}

/* A flag writer behind which every flag is defined, unless flags are compared loosely: AF stays open after logic, and is not kept by CMP. */
static void flags_define(struct maker *m)
{
	line_room(m, 3);
	const unsigned reg = pick(m, 8), rm = pick(m, 8);
	put1(m, 0x39);
	put1(m, 0xc0 | reg << 3 | rm);
}

static unsigned size_pick(struct maker *m, const struct form *f)
{
	if (f->traits & BYTE)
		return 1;
	if (f->traits & STACK)
		return m->width == 8 ? 8 : chance(m, 12) ? 6 - m->width : m->width;
	if ((f->traits & FIXED) || ((f->traits & XMM) && m->width != 8))
		return 4;
	unsigned size = m->width == 8 && chance(m, 2) ? 8 : chance(m, 8) ? 2 : 4;
	if (m->width == 2)
		size = chance(m, 4) ? 4 : 2;
	if (size == 2 && ((f->traits & (WIDE | XMM)) || ((f->traits & NARROW) && (m->what & RANDOM_DEFINED))))
		size = 4;
	return size;
}

static void put_prefixes(struct maker *m, const struct form *f, const struct operand *o, unsigned size, unsigned reg, unsigned rm)
{
	static const uint8_t segments[] = { 0x64, 0x65, 0x36, 0x26, 0x3e, 0x2e }; /* code cannot be written, which QEMU's TCG does not know */
	const unsigned operand = size == 1 || (f->traits & FIXED) || (f->traits & XMM) ? m->width == 2 ? 2 : 4 : size;
	if (o->memory && chance(m, 20))
		put1(m, segments[pick(m, sizeof segments - (m->what & RANDOM_DEFINED ? 1 : 0))]);
	if (o->memory && (f->traits & LOCKED) && chance(m, 8))
		put1(m, 0xf0);
	if (m->width == 8 && o->memory && o->base >= 0 && chance(m, 24))
		put1(m, 0x67);
	if (m->width == 2 ? operand == 4 : operand == 2)
		put1(m, 0x66);
	if (f->prefix)
		put1(m, f->prefix);
	if (m->width != 8)
		return;
	const unsigned rex = (size == 8 && !(f->traits & STACK) ? 8 : 0) | (reg >= 8 ? 4 : 0) | (o->memory && o->index >= 8 ? 2 : 0) | ((o->memory ? o->base >= 8 : rm >= 8) ? 1 : 0);
	if (rex || ((f->traits & BYTE) && chance(m, 3)))
		put1(m, 0x40 | rex);
}

static void put_immediate(struct maker *m, const struct form *f, unsigned size)
{
	const unsigned bytes = f->traits & IB ? 1 : f->traits & IZ ? size == 2 ? 2 : 4 : f->traits & IV ? size : 0;
	if (!bytes)
		return;
	const unsigned slot = m->patches < PATCHES ? m->patches++ : pick(m, PATCHES);
	m->patch[slot].at = m->at;
	m->patch[slot].bytes = bytes;
	put(m, value(m), bytes);
}

/* XCHG, XADD: they write both operands. CMPXCHG: the accumulator. */
static bool swaps(const struct form *f)
{
	const uint8_t op = f->op[f->length - 1];
	return f->length == 1 ? op == 0x86 || op == 0x87 || op == 0x90 : op == 0xc0 || op == 0xc1 || op == 0xb0 || op == 0xb1 || op == 0xc7;
}

static bool writes_kept(const struct maker *m, const struct form *f, const struct operand *o, unsigned reg, unsigned rm)
{
	const unsigned byte = f->traits & BYTE ? 3 : 15; /* AH to BH are of AX to BX */
	if (!(f->traits & XMM) && swaps(f))
		return m->kept;
	if (f->traits & TO_REG)
		return m->kept >> (reg & byte) & 1 || m->kept >> reg & 1;
	return !o->memory && !(f->traits & READS) && (m->kept >> (rm & byte) & 1 || m->kept >> rm & 1);
}

/* QEMU's TCG takes any address for an operand of 16 bytes. */
static bool wants_alignment(const struct maker *m, const struct form *f)
{
	const uint8_t op = f->op[1];
	const bool small = f->prefix == 0xf2 || (f->prefix == 0xf3 && op != 0x70) || op == 0x10 || op == 0x11 || (f->prefix == 0x66 && (op == 0xd6 || op == 0x6e || op == 0x7e || op == 0xc4));
	return (m->what & RANDOM_DEFINED) && (f->traits & XMM) && !small;
}

static void form_put(struct maker *m, const struct form *f)
{
	const uint32_t t = f->traits;
	const unsigned size = size_pick(m, f);
	struct operand o = operand_pick(m, !(t & (NONE | PLUS | REG)) && ((t & MEM) || (chance(m, 2) && !wants_alignment(m, f))));
	const bool target = (t & TO_REG) ? !(t & XMM) || (t & GENERAL) : !(t & XMM) && (m->what & RANDOM_DEFINED) && swaps(f);
	const unsigned reg = f->digit >= 0 ? (unsigned)f->digit : target ? reg_target(m) : reg_any(m);
	const unsigned rm = (t & PLUS) || (!o.memory && !(t & (READS | TO_REG))) ? reg_target(m) : o.rm;
	o.rm = rm;
	if (writes_kept(m, f, &o, reg, rm) || ((t & STACK) && m->width == 2 && (t & NONE) && f->op[0] == 0x60))
		return;
	line_room(m, 15);
	put_prefixes(m, f, &o, size, f->digit >= 0 ? 0 : reg, (t & NONE) ? 0 : rm);
	for (unsigned i = 0; i < f->length; i++)
		put1(m, f->op[i] | (i + 1 == f->length && (t & PLUS) ? rm & 7 : 0));
	const unsigned after = t & IB ? 1 : t & IZ ? size == 2 ? 2 : 4 : 0;
	if (!(t & (NONE | PLUS)))
		put_modrm(m, reg, &o, after);
	put_immediate(m, f, size);
	if ((t & FREE) && (m->what & RANDOM_DEFINED))
		flags_define(m);
}

static void integer_put(struct maker *m)
{
	for (;;) {
		const struct form *f = &integer[pick(m, sizeof integer / sizeof *integer)];
		if (form_fits(m, f)) {
			form_put(m, f);
			return;
		}
	}
}

static void vector_put(struct maker *m)
{
	for (;;) {
		const struct form *f = &vector[pick(m, sizeof vector / sizeof *vector)];
		if (form_fits(m, f)) {
			form_put(m, f);
			return;
		}
	}
}

static void straight_put(struct maker *m, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (chance(m, 6))
			pointer_refresh(m);
		else if (chance(m, 7))
			vector_put(m);
		else
			integer_put(m);
}

/* ---------------------------------------------------------------- branches */
static void fixup_patch(struct maker *m, const struct fixup *x)
{
	const uint32_t v = x->absolute ? m->at + (m->width == 2 ? 0 : RANDOM_CODE) : m->at - (x->at + x->bytes);
	memcpy(m->p->code + x->at, &v, x->bytes);
}

/* Branches that wait for this line, or for any (`all`), lead here. */
static void fixups_patch(struct maker *m, bool all)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < m->fixups; i++)
		if (all || m->at >= m->fixup[i].line)
			fixup_patch(m, &m->fixup[i]);
		else
			m->fixup[kept++] = m->fixup[i];
	m->fixups = kept;
}
static void fixups_due(struct maker *m) { fixups_patch(m, false); }

/* The begin of a line, where every branch that waits leads. */
static void fixups_bind(struct maker *m)
{
	line_room(m, LINE);
	fixups_patch(m, true);
}

static void fixup_add(struct maker *m, unsigned bytes, unsigned lines, bool absolute)
{
	m->fixup[m->fixups++] = (struct fixup){ m->at, (m->at / LINE + lines) * LINE, (uint8_t)bytes, absolute };
	put(m, 0, bytes);
}

static void forward_branch(struct maker *m)
{
	const unsigned near = m->width == 2 ? 2 : 4, how = pick(m, 8);
	if (m->fixups >= FIXUPS)
		return;
	line_room(m, 12);
	if (how < 4) { /* short and conditional */
		put1(m, 0x70 | pick(m, 16));
		fixup_add(m, 1, 1 + pick(m, 2), false);
	} else if (how < 6) {
		put1(m, 0x0f);
		put1(m, 0x80 | pick(m, 16));
		fixup_add(m, near, 1 + pick(m, 6), false);
	} else if (how == 6) {
		put1(m, 0xe9);
		fixup_add(m, near, 1 + pick(m, 3), false);
	} else { /* through a register */
		const unsigned r = (m->kept & 1) ? DX : AX;
		if (m->kept >> r & 1)
			return;
		put1(m, 0xb8 | r);
		fixup_add(m, near, 1 + pick(m, 3), true);
		put1(m, 0xff);
		put1(m, 0xe0 | r);
	}
}

static void items_put(struct maker *m, unsigned count, unsigned depth);

/* Counted by a register that the body leaves alone. A loop entered from the side with nonsense in it ends when that is not positive. */
static void loop_put(struct maker *m, unsigned depth)
{
	static const uint8_t regs[] = { CX, DX, BP, AX, 9, 14 };
	const unsigned r = regs[pick(m, m->width == 8 ? 6 : 4)], kept = m->kept;
	if (kept >> r & 1)
		return;
	load_constant(m, r, chance(m, 8) ? 200 + pick(m, 400) : 2 + pick(m, depth ? 6 : 40));
	fixups_bind(m);
	m->kept |= 1u << r;
	const uint32_t top = m->at;
	if (chance(m, 2))
		straight_put(m, 2 + pick(m, 12));
	else
		items_put(m, 1 + pick(m, 3), depth + 1);
	fixups_bind(m);
	m->kept = kept;
	if (r >= 8)
		put1(m, 0x41);
	put1(m, 0xff);
	put1(m, 0xc8 | (r & 7));
	if (m->at + 2 - top <= 128 && chance(m, 2)) {
		put1(m, 0x7f);
		put1(m, (uint8_t)(top - m->at - 1));
	} else {
		const unsigned bytes = m->width == 2 ? 2 : 4;
		put(m, 0x8f0f, 2);
		put(m, top - m->at - bytes, bytes);
	}
}

static void call_put(struct maker *m)
{
	const unsigned bytes = m->width == 2 ? 2 : 4;
	if (m->width != m->p->head.width || m->function >= m->functions || m->calls >= sizeof m->call / sizeof *m->call || (m->kept & (m->kept - 1)))
		return;
	const unsigned f = m->function + pick(m, m->functions - m->function), indirect = chance(m, 4) && !(m->kept & 1);
	line_room(m, 8);
	put1(m, indirect ? 0xb8 : 0xe8);
	m->call[m->calls++] = (struct call){ m->at, (uint8_t)bytes, (uint8_t)f, indirect };
	put(m, 0, bytes);
	if (indirect)
		put(m, 0xd0ff, 2);
}

/* ---------------------------------------------------------------- other things that guests do */
static void string_put(struct maker *m)
{
	static const uint8_t ops[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };
	if (m->kept & (1u << CX | 1u << SI | 1u << DI))
		return;
	load_constant(m, CX, chance(m, 20) ? 5000 : chance(m, 8) ? 0 : pick(m, 48));
	if (chance(m, 2))
		load_constant(m, SI, m->width == 2 ? pick(m, 0x4000) : address(m));
	if (chance(m, 2))
		load_constant(m, DI, m->width == 2 ? pick(m, 0x4000) : address(m));
	line_room(m, 6);
	if (chance(m, 4))
		put1(m, 0xfd);
	put1(m, chance(m, 3) ? 0xf2 : 0xf3);
	if (m->width == 8 && chance(m, 3))
		put1(m, 0x48);
	put1(m, ops[pick(m, sizeof ops)]);
	if (chance(m, 2))
		put1(m, 0xfc);
}

/* A store into the code: over an immediate made before or over that of the next instruction, or (0, 1) over anything near. */
static void code_store_put(struct maker *m)
{
	const unsigned how = m->what & RANDOM_DEFINED ? 2 + pick(m, 2) : pick(m, 4), old = m->patches ? pick(m, m->patches) : 0;
	const unsigned size = how == 2 && m->patches ? m->patch[old].bytes : 4, bytes = size == 4 ? 1u << pick(m, 3) : size == 8 ? 4 : size;
	if (m->width == 2)
		return;
	line_room(m, 20);
	const uint32_t behind = m->at + (bytes == 2) + (m->width == 8 ? 7 : 6) + (how == 0 ? 0 : bytes);
	const uint32_t to = how < 2 ? behind + pick(m, 16) : how == 2 && m->patches ? m->patch[old].at : behind + 1 + pick(m, 5 - bytes);
	if (bytes == 2)
		put1(m, 0x66);
	put1(m, (how == 0 ? 0xfe : 0xc6) | (bytes > 1)); /* INC, or MOV of a constant */
	put1(m, m->width == 8 ? 0x04 : 0x05);
	if (m->width == 8)
		put1(m, 0x25);
	put(m, RANDOM_CODE + to, 4);
	if (how)
		put(m, chance(m, 3) ? 0x90909090 : rnd(m), bytes);
	if (how < 2 || (how == 2 && m->patches))
		return;
	put1(m, m->kept & 1 ? 0x3d : 0xb8); /* what it changes: CMP or MOV of a constant */
	put(m, rnd(m), 4);
}

static void service_put(struct maker *m)
{
	static const uint8_t vectors[] = { 0x41, 0x42, 0x42, 0x42, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x80, 3, 0x20, 0x0d }; /* the last two fault: QEMU's TCG has its own error code in long mode */
	const uint8_t v = vectors[pick(m, sizeof vectors - (m->what & RANDOM_DEFINED ? 2 : 0))];
	if (v == 0x42 && !(m->kept & 1))
		load_constant(m, AX, rnd(m) & 0xffffffff);
	line_room(m, 3);
	put1(m, 0xcd);
	put1(m, v);
	if (v == 0x41)
		m->kernel = !m->kernel;
}

/* An entry of the pages to edit, written by the program itself; in ring 3 it faults. Without the flush, what follows may use either. */
static void entry_store_put(struct maker *m)
{
	const unsigned page = pick(m, RANDOM_EDIT_PAGES), kind = m->p->head.kind;
	const uint32_t entry = kind == 1 ? RANDOM_PT32 + (RANDOM_EDIT >> 10) + 4 * page : RANDOM_PT64 + (RANDOM_EDIT >> 9) + 8 * page;
	if (m->width == 2 || !kind || (m->kept & 1))
		return;
	line_room(m, 32);
	put1(m, 0xc7);
	put1(m, m->width == 8 ? 0x04 : 0x05);
	if (m->width == 8)
		put1(m, 0x25);
	const uint32_t to = RANDOM_EDIT + pick(m, RANDOM_EDIT_PAGES) * 4096, flags = rnd(m) & 0x166;
	put(m, entry, 4);
	put(m, to | flags | (chance(m, 8) ? 0 : 1), 4);
	if (!(m->what & RANDOM_FLUSHED) && chance(m, 4))
		return;
	if (chance(m, 3)) {
		put(m, 0xd8200f, 3); /* MOV EAX, CR3 and back */
		put(m, 0xd8220f, 3);
		return;
	}
	put(m, m->width == 8 ? 0x253c010f : 0x3d010f, m->width == 8 ? 4 : 3); /* INVLPG */
	put(m, RANDOM_EDIT + page * 4096, 4);
}

/* Defined: QEMU's TCG knows neither limits nor the types of segments. */
static void segment_put(struct maker *m)
{
	static const uint16_t selectors[] = { 0x23, 0x23, 0x6b, 0x33, 0xf8, 0x1b, 0x10, 0, 0x63, 0x73, 0x93, 0x5b };
	static const uint8_t segments[] = { 0, 3, 4, 5, 4, 5 }; /* not CS, SS */
	const unsigned s = segments[pick(m, sizeof segments)];
	if ((m->kept & 1) || ((s == 0 || s == 3) && pick(m, 3)))
		return;
	load_constant(m, AX, selectors[pick(m, m->what & RANDOM_DEFINED ? 6 : sizeof selectors / sizeof *selectors)]);
	line_room(m, 2);
	put1(m, 0x8e);
	put1(m, 0xc0 | s << 3);
}

static void privileged_put(struct maker *m)
{
	static const struct { uint8_t length, code[5]; } list[] = { { 1, { 0xfa } }, { 1, { 0xfb } }, { 3, { 0x0f, 0x20, 0xc0 } }, { 2, { 0x0f, 0x06 } }, { 2, { 0x8e, 0xd0 } }, { 1, { 0xf4 } },
		{ 3, { 0x0f, 0x01, 0xf8 } }, { 2, { 0x0f, 0x0b } }, { 3, { 0x0f, 0x20, 0xd0 } }, { 2, { 0x0f, 0x09 } }, { 2, { 0x0f, 0x05 } }, { 1, { 0xcc } }, { 1, { 0xcf } }, { 3, { 0x0f, 0x01, 0xca } },
		{ 3, { 0x0f, 0x21, 0xf0 } }, { 2, { 0xe4, 0x21 } }, { 3, { 0x0f, 0x20, 0xe0 } } };
	const unsigned i = pick(m, sizeof list / sizeof *list);
	const bool to_ax = list[i].code[0] == 0x0f && (list[i].code[1] & 0xfc) == 0x20;
	if (list[i].code[0] == 0xf4 && !m->p->head.timer && m->kernel && pick(m, 8))
		return;
	if ((list[i].code[0] == 0xcf && m->kernel) || ((to_ax || list[i].code[0] == 0xe4 || list[i].code[1] == 0x05) && m->kept))
		return;
	if (list[i].code[1] == 0x05 && (m->p->head.kind != 3 || m->width != 8)) /* SYSCALL elsewhere: makers differ */
		return;
	if ((m->what & RANDOM_DEFINED) && (list[i].code[0] == 0x8e || list[i].code[0] == 0xcf || list[i].code[0] == 0xf4 || list[i].code[1] == 0x21 || list[i].code[1] == 0x01))
		return;
	if (list[i].code[0] == 0x8e)
		load_constant(m, AX, m->kernel ? 0x10 : 0x23);
	line_room(m, 5);
	for (unsigned k = 0; k < list[i].length; k++)
		put1(m, list[i].code[k]);
	if (list[i].code[0] == 0xf4 || list[i].code[0] == 0xfa)
		put1(m, 0xfb);
}

/* SYSENTER with what the kernel's SYSEXIT needs. */
static void sysenter_put(struct maker *m)
{
	if (m->width != 4 || m->p->head.kind == 3 || m->kernel || (m->kept & (1u << CX | 1u << DX)))
		return;
	fixups_bind(m);
	put(m, 0xe189, 2);   /* MOV ECX, ESP */
	put1(m, 0xba);       /* MOV EDX, behind */
	put(m, RANDOM_CODE + m->at + 6, 4);
	put(m, 0x340f, 2);
}

/* To code of another width in the same ring, by a far jump. Only between items of the main program. */
static void width_change(struct maker *m)
{
	const bool wide = m->p->head.kind == 3;
	const unsigned old = m->width, to = wide ? (old == 8 ? (chance(m, 3) ? 2 : 4) : chance(m, 3) ? 6 - old : 8) : 6 - old;
	const unsigned selector = to == 2 ? (m->kernel ? 0x48 : 0x53) : to == 4 ? (m->kernel ? 8 : 0x1b) : m->kernel ? 0x38 : 0x2b;
	fixups_bind(m);
	const uint32_t next = (m->at + 2 * LINE) & ~(LINE - 1u), offset = next + (to == 2 ? 0 : RANDOM_CODE);
	if (old == 8) { /* there is no direct one: FF /5, its pointer behind it */
		put(m, 0x2dff, 2);
		put(m, 0, 4);
	} else {
		if (old == 2)
			put1(m, 0x66);
		put1(m, 0xea);
	}
	put(m, offset, 4);
	put(m, selector, 2);
	while (m->at < next)
		put1(m, 0x90);
	m->width = to;
	if (to != 2)
		return;
	put1(m, 0xb8); /* data segments that 16 bits reach */
	put(m, 0x6b, 2);
	put(m, 0xd88e, 2);
	put(m, chance(m, 2) ? 0xc08e : 0x9090, 2);
}

/* Bytes that nobody chose; the handler finds the way out. */
static void noise_put(struct maker *m)
{
	if (m->what & RANDOM_DEFINED)
		return;
	fixups_bind(m);
	for (unsigned i = 0; i < LINE - 2; i += 2)
		put(m, rnd(m), 2);
	put(m, 0x0b0f, 2);
}

static void item_put(struct maker *m, unsigned depth)
{
	switch (pick(m, 24)) {
	case 0: case 1: case 2: case 3: if (depth < 3) loop_put(m, depth); break;
	case 4: case 5: case 6: case 7: forward_branch(m); straight_put(m, 1 + pick(m, 5)); break;
	case 8: case 9: case 10: call_put(m); break;
	case 11: string_put(m); break;
	case 12: case 13: code_store_put(m); break;
	case 14: service_put(m); break;
	case 15: entry_store_put(m); break;
	case 16: segment_put(m); break;
	case 17: privileged_put(m); break;
	case 18: if (chance(m, 3)) sysenter_put(m); else if (depth == 0 && chance(m, 2)) width_change(m); break;
	case 19: if (!m->kernel && chance(m, 3)) noise_put(m); break;
	default: straight_put(m, 2 + pick(m, 8));
	}
}

static void items_put(struct maker *m, unsigned count, unsigned depth)
{
	for (unsigned i = 0; i < count && m->at < CODE_MOST; i++)
		item_put(m, depth);
}

/* ---------------------------------------------------------------- programs */
static void head_make(struct maker *m)
{
	struct random_head *h = &m->p->head;
	h->kind = chance(m, 8) && !(m->what & RANDOM_DEFINED) ? 0 : chance(m, 2) ? 3 : 1 + pick(m, 2);
	h->width = h->kind == 3 && pick(m, 4) ? 8 : chance(m, 4) && !(m->what & RANDOM_DEFINED) ? 2 : 4;
	h->ring = h->kind && pick(m, 5) < 3 ? 3 : 0;
	h->timer = (m->what & RANDOM_TIMELESS) || pick(m, 3) ? 0 : 20 + pick(m, 3000);
	h->stack16 = !(m->what & RANDOM_DEFINED); /* what IRET leaves in the upper half of ESP there is the maker's */
	h->faults = 40 + pick(m, 200);
	h->eflags = chance(m, 2) || h->timer ? 0x202 : 2;
	h->eflags |= chance(m, 3) ? 0x3000 : 0;
	h->eflags |= (uint32_t)(rnd(m) & 0x8d5);
	for (unsigned i = 0; i < 16; i++)
		h->reg[i] = i == BX || i == SI || i == DI ? RANDOM_DATA + pick(m, RANDOM_DATA_BYTES) : h->kind == 3 ? value(m) : (uint32_t)value(m);
	m->width = h->width;
	m->kernel = h->ring == 0;
}

static void functions_make(struct maker *m)
{
	const unsigned width = m->p->head.width;
	for (unsigned i = 0; i < m->functions; i++) {
		fixups_bind(m);
		m->width = width;
		m->function = i + 1;
		m->entry[i] = m->at;
		items_put(m, 2 + pick(m, 5), 1);
		fixups_bind(m);
		put1(m, 0xc3);
	}
}

static void calls_patch(struct maker *m)
{
	for (unsigned i = 0; i < m->calls; i++) {
		const struct call *c = &m->call[i];
		const uint32_t to = m->entry[c->function], v = c->absolute ? to + (c->bytes == 2 ? 0 : RANDOM_CODE) : to - (c->at + c->bytes);
		memcpy(m->p->code + c->at, &v, c->bytes);
	}
}

void random_program_make(struct random_program *p, uint64_t seed, unsigned what)
{
	struct maker m = { .p = p, .state = seed * 0x9e3779b97f4a7c15ull + what + 1, .what = what, .at = RANDOM_ENTRY, .functions = FUNCTIONS };
	memset(p, 0, sizeof *p);
	for (unsigned i = 0; i < 8; i++)
		rnd(&m);
	head_make(&m);
	items_put(&m, 20 + pick(&m, 50), 0);
	fixups_bind(&m);
	put(&m, 0x40cd, 2); /* the end */
	functions_make(&m);
	fixups_bind(&m);
	put(&m, 0x40cd, 2);
	calls_patch(&m);
	p->size = p->head.size = (m.at + LINE - 1) & ~(LINE - 1u);
}
