/*
 * Proves that segment loads, far transfers, gates, exceptions, task switches, fast system calls, control registers, MSRs and I/O permissions do what the manuals say: each
 * expectation is written from the section of the Intel SDM that is named beside it, not from the code. tests/test_isa_rings.c compares the same ground with QEMU.
 */
#include "flat_port.h"
#include "isa/block.h"
#include "isa/system.h"
#include <CUnit/Basic.h>
#include <stddef.h>
#include <stdlib.h>

/* ---------------------------------------------------------------- a small machine */
enum { /* where things lie */
	GDT = 0x1000, IDT = 0x2000, LDT = 0x3000, TSS_A = 0x4000, TSS_B = 0x4800, TSS_64 = 0x5000, OPERAND = 0x6000, STACK0 = 0x20000, STACK1 = 0x22000, STACK3 = 0x24000, STACK_IST = 0x26000,
	HANDLER = 0x30000, /* + 16 * vector */
	START = 0x10000,
};
enum { /* selectors */
	CODE0 = 0x08, DATA0 = 0x10, CODE1 = 0x18, DATA1 = 0x20, CODE3 = 0x2b, DATA3 = 0x33, CONFORM0 = 0x38, SEL_TSS_A = 0x40, SEL_TSS_B = 0x48, SEL_LDT = 0x50, GATE3 = 0x58 /* to CODE0, 2 parameters */,
	GATE_LONG = 0x60 /* 16 bytes, to LONG0 */, LONG0 = 0x70, LONG3 = 0x7b, CODE_ABSENT = 0x80, DATA_RO = 0x88, DATA_DOWN = 0x90, DATA_ABSENT = 0x98, CODE_XO = 0xa0, TASK_GATE = 0xa8, STACK16 = 0xb0,
	LONG_BOTH = 0xb8 /* L and D */, SEL_TSS_64 = 0xc0 /* 16 bytes */, SEL_LDT_64 = 0xd0 /* 16 bytes */, SMALL3 = 0xe0 /* 16-byte code segment, ring 0 */, GATE_ABSENT = 0xe8, GATE0 = 0xf0, GATE_CONFORM = 0xf8,
	OUTSIDE = 0x1000, LDT_DATA3 = 0x07, LDT_CODE3 = 0x0f,
};

struct box {
	struct cpu cpu;
	struct phys phys;
	struct flat_port port;
	struct event_sink sink;
	struct event_consumer consumer;
	struct event seen[256];
	unsigned seen_count;
	struct cpu_features features;
	struct block *block;
	struct uop uop;
	uint32_t io_value;
};

static uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

static uint64_t gate(uint16_t selector, uint32_t offset, unsigned access, unsigned parameters)
{
	return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)parameters << 32 | (uint64_t)access << 40 | (uint64_t)(offset >> 16) << 48;
}

static void put(struct box *b, uint64_t at, uint64_t value, unsigned size)
{
	memcpy(b->phys.bytes + at, &value, size);
}

static uint64_t get(const struct box *b, uint64_t at, unsigned size)
{
	uint64_t v = 0;
	memcpy(&v, b->phys.bytes + at, size);
	return v;
}

static void describe(struct box *b, unsigned selector, uint64_t raw)
{
	put(b, GDT + (selector & 0xfff8), raw, 8);
}

static void box_fill_gdt(struct box *b)
{
	describe(b, CODE0, descriptor(0, 0xfffff, 0x9a, 0xc));
	describe(b, DATA0, descriptor(0, 0xfffff, 0x92, 0xc));
	describe(b, CODE1, descriptor(0, 0xfffff, 0xba, 0xc));
	describe(b, DATA1, descriptor(0, 0xfffff, 0xb2, 0xc));
	describe(b, CODE3, descriptor(0, 0xfffff, 0xfa, 0xc));
	describe(b, DATA3, descriptor(0, 0xfffff, 0xf2, 0xc));
	describe(b, CONFORM0, descriptor(0, 0xfffff, 0x9e, 0xc));
	describe(b, SEL_TSS_A, descriptor(TSS_A, 0x67 + 40, 0x89, 0));
	describe(b, SEL_TSS_B, descriptor(TSS_B, 0x67, 0x89, 0));
	describe(b, SEL_LDT, descriptor(LDT, 0x1f, 0x82, 0));
	describe(b, GATE3, gate(CODE0, 0x12345678, 0xec, 2));
	describe(b, GATE_LONG, gate(LONG0, 0x9abcdef0, 0xec, 0));
	put(b, GDT + GATE_LONG + 8, 0x00007fff, 8);
	describe(b, LONG0, descriptor(0, 0, 0x9a, 0x2));
	describe(b, LONG3, descriptor(0, 0, 0xfa, 0x2));
	describe(b, CODE_ABSENT, descriptor(0, 0xfffff, 0x1a, 0xc));
	describe(b, DATA_RO, descriptor(0, 0xfffff, 0x90, 0xc));
	describe(b, DATA_DOWN, descriptor(0, 0x0000f, 0x96, 0xc)); /* valid: 10000h and up */
	describe(b, DATA_ABSENT, descriptor(0, 0xfffff, 0x12, 0xc));
	describe(b, CODE_XO, descriptor(0, 0xfffff, 0x98, 0xc));
	describe(b, TASK_GATE, gate(SEL_TSS_B, 0, 0xe5, 0));
	describe(b, STACK16, descriptor(0, 0xffff, 0x92, 0x0));
	describe(b, LONG_BOTH, descriptor(0, 0xfffff, 0x9a, 0xe));
	describe(b, SEL_TSS_64, descriptor(TSS_64, 0x67, 0x89, 0));
	describe(b, SEL_LDT_64, descriptor(LDT, 0x1f, 0x82, 0));
	describe(b, SMALL3, descriptor(0, 0xf, 0x9a, 0x4));
	describe(b, GATE_ABSENT, gate(CODE0, 0x1000, 0x6c, 0));
	describe(b, GATE0, gate(CODE0, 0x1000, 0x8c, 0));
	describe(b, GATE_CONFORM, gate(CONFORM0, 0x2000, 0xec, 0));
	put(b, LDT, descriptor(0, 0xfffff, 0xf2, 0xc), 8);
	put(b, LDT + 8, descriptor(0, 0xfffff, 0xfa, 0xc), 8);
}

static void box_record(void *self, const struct event *first, const struct event *end)
{
	struct box *b = self;
	for (; first < end && b->seen_count < 256; first++)
		b->seen[b->seen_count++] = *first;
}

static uint32_t box_in(void *self, struct cpu *cpu, uint16_t port, unsigned size)
{
	(void)cpu, (void)size;
	return ((struct box *)self)->io_value + port;
}

static void box_out(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value)
{
	(void)cpu, (void)port, (void)size;
	((struct box *)self)->io_value = value;
}

/* 32-bit protected mode, ring 0, flat; no paging. */
static struct box *box_create(void)
{
	struct box *b = calloc(1, sizeof *b);
	CU_ASSERT_TRUE_FATAL(b && phys_create(&b->phys, 1 << 20) && event_sink_create(&b->sink, 64));
	b->features = cpu_features_all;
	b->cpu.features = &b->features;
	b->cpu.events = &b->sink;
	b->cpu.io.self = b;
	b->cpu.io.in = box_in;
	b->cpu.io.out = box_out;
	flat_port_attach(&b->port, &b->cpu, &b->phys);
	cpu_reset(&b->cpu);
	b->block = calloc(1, sizeof *b->block);
	box_fill_gdt(b);
	struct cpu *c = &b->cpu;
	c->gdtr = (struct descriptor_table){ GDT, 0xff };
	c->idtr = (struct descriptor_table){ IDT, 0x7ff };
	c->cr0 = CR0_PE | CR0_ET;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set_flat(c, i, i == SEG_CS ? CODE0 : DATA0, 0, i == SEG_CS, 4);
	c->tr = (struct segment){ SEL_TSS_A, SEGA_P | 11, 0x67 + 40, TSS_A };
	describe(b, SEL_TSS_A, descriptor(TSS_A, 0x67 + 40, 0x8b, 0));
	c->ldtr = (struct segment){ SEL_LDT, SEGA_P | 2, 0x1f, LDT };
	put(b, TSS_A + 4, STACK0, 4), put(b, TSS_A + 8, DATA0, 4);
	put(b, TSS_A + 12, STACK1, 4), put(b, TSS_A + 16, DATA1 | 1, 4);
	put(b, TSS_A + 102, 0x68, 2);
	for (unsigned v = 0; v < 256; v++) /* interrupt gates, ring 0 */
		put(b, IDT + 8 * v, gate(CODE0, HANDLER + 16 * v, 0x8e, 0), 8);
	c->reg[REG_SP] = STACK0;
	c->rip = START;
	c->block = b->block;
	c->at = &b->uop;
	b->block->pc = START;
	return b;
}

static void box_destroy(struct box *b)
{
	phys_destroy(&b->phys);
	event_sink_destroy(&b->sink);
	free(b->block);
	free(b);
}

/* Ring 1 or 3 as if returned to; IOPL stays 0. */
static void box_set_ring(struct box *b, unsigned ring)
{
	if (ring == 0)
		return;
	segment_set_flat(&b->cpu, SEG_CS, ring == 1 ? CODE1 | 1 : CODE3, ring, true, 4);
	segment_set_flat(&b->cpu, SEG_SS, ring == 1 ? DATA1 | 1 : DATA3, ring, false, 4);
	cpu_set_cpl(&b->cpu, ring);
	b->cpu.reg[REG_SP] = ring == 1 ? STACK1 : STACK3;
}

/* 64-bit mode, ring 0 or 3, 64-bit TSS and IDT. */
static struct box *box_create_long(unsigned ring)
{
	struct box *b = box_create();
	struct cpu *c = &b->cpu;
	c->cr4 = CR4_PAE;
	c->cr0 |= CR0_PG;
	c->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
	segment_set_flat(c, SEG_CS, ring ? LONG3 : LONG0, ring, true, 8);
	segment_set_flat(c, SEG_SS, ring ? DATA3 : DATA0, ring, false, 8);
	cpu_set_cpl(c, ring);
	c->tr = (struct segment){ SEL_TSS_64, SEGA_P | 11, 0x67, TSS_64 };
	put(b, TSS_64 + 4, STACK0 + 8, 8); /* not aligned: delivery aligns it */
	put(b, TSS_64 + 36, STACK_IST, 8);
	for (unsigned v = 0; v < 128; v++) {
		put(b, IDT + 16 * v, gate(LONG0, HANDLER + 16 * v, 0x8e, 0), 8);
		put(b, IDT + 16 * v + 8, 0, 8);
	}
	c->reg[REG_SP] = ring ? STACK3 : STACK0;
	return b;
}

struct outcome {
	int vector; /* -1: completed */
	int64_t error;
};

/* Runs one system function as an engine would: rip is the next instruction's inside; a fault comes back with rip at the start. */
static struct outcome box_run(struct box *b, sys_fn *fn, struct sys_operands o)
{
	jmp_buf here;
	uint64_t start = b->cpu.rip;
	if (!o.next)
		o.next = start + 2;
	if (!o.stack_size)
		o.stack_size = b->cpu.code_size == 8 ? 8 : 4;
	if (!o.size)
		o.size = 4;
	o.address_size = b->cpu.code_size == 8 ? 8 : 4;
	b->block->pc = start;
	b->cpu.escape = &here;
	if (setjmp(here)) {
		b->cpu.rip = start;
		return (struct outcome){ b->cpu.raised.vector, b->cpu.raised.error };
	}
	b->cpu.rip = o.next;
	fn(&b->cpu, &o);
	return (struct outcome){ -1, -1 };
}

static void expect(struct outcome got, int vector, int64_t error, const char *what)
{
	bool ok = got.vector == vector && (vector < 0 || got.error == error);
	if (!ok)
		printf("\n    %s: vector %d error %lld, expected %d error %lld", what, got.vector, (long long)got.error, vector, (long long)error);
	CU_ASSERT_TRUE(ok);
}

/* ---------------------------------------------------------------- segment registers */
/* SDM 2B MOV, "Loading a segment register", the list of checks for SS and for DS, ES, FS, GS. */
static void test_segment_load(void)
{
	static const struct { uint8_t ring, seg; uint16_t selector; int vector; uint16_t error; } rows[] = {
		{ 0, SEG_DS, DATA0, -1, 0 }, { 0, SEG_DS, 0, -1, 0 }, { 0, SEG_DS, 3, -1, 0 },
		{ 0, SEG_DS, CODE0, -1, 0 },                           /* readable code */
		{ 0, SEG_DS, CODE_XO, VEC_GP, CODE_XO },               /* execute-only code */
		{ 0, SEG_DS, OUTSIDE, VEC_GP, OUTSIDE },
		{ 0, SEG_DS, DATA_ABSENT, VEC_NP, DATA_ABSENT }, { 0, SEG_SS, DATA_ABSENT, VEC_SS, DATA_ABSENT },
		{ 0, SEG_DS, SEL_TSS_A, VEC_GP, SEL_TSS_A },
		{ 0, SEG_DS, DATA0 | 1, VEC_GP, DATA0 },               /* RPL > DPL */
		{ 3, SEG_DS, DATA0, VEC_GP, DATA0 },                   /* CPL > DPL */
		{ 3, SEG_DS, CONFORM0 | 3, -1, 0 },                    /* conforming: privilege does not count */
		{ 3, SEG_ES, DATA3, -1, 0 }, { 1, SEG_ES, DATA3, -1, 0 }, { 3, SEG_FS, LDT_DATA3, -1, 0 }, { 3, SEG_GS, 0x27, VEC_GP, 0x24 } /* outside the LDT; TI stays */,
		{ 0, SEG_SS, DATA0, -1, 0 }, { 0, SEG_SS, 0, VEC_GP, 0 }, { 0, SEG_SS, DATA_RO, VEC_GP, DATA_RO }, { 0, SEG_SS, CODE0, VEC_GP, CODE0 },
		{ 0, SEG_SS, DATA0 | 1, VEC_GP, DATA0 }, { 0, SEG_SS, DATA3, VEC_GP, DATA3 & ~3 }, { 3, SEG_SS, DATA3, -1, 0 }, { 3, SEG_SS, DATA0 | 3, VEC_GP, DATA0 },
		{ 0, SEG_CS, CODE0, VEC_UD, 0 },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct box *b = box_create();
		char what[64];
		box_set_ring(b, rows[i].ring);
		b->cpu.reg[REG_AX] = rows[i].selector;
		struct segment before = b->cpu.seg[rows[i].seg];
		snprintf(what, sizeof what, "mov sreg %u, %x at ring %u", rows[i].seg, rows[i].selector, rows[i].ring);
		struct outcome got = box_run(b, sys_mov_to_sreg, (struct sys_operands){ .reg = rows[i].seg, .rm = REG_AX });
		expect(got, rows[i].vector, rows[i].vector == VEC_UD ? -1 : rows[i].error, what);
		if (rows[i].vector >= 0) {
			CU_ASSERT_EQUAL(memcmp(&before, &b->cpu.seg[rows[i].seg], sizeof before), 0);
		} else {
			CU_ASSERT_EQUAL(b->cpu.seg[rows[i].seg].selector, rows[i].selector);
			CU_ASSERT_EQUAL(b->cpu.shadow_ss, rows[i].seg == SEG_SS); /* SDM 3A 6.8.3 */
		}
		box_destroy(b);
	}
}

/* SDM 3A 3.4.5.1: loading sets the accessed bit in the table; 5.3: limits, with G and expand-down. */
static void test_segment_limits(void)
{
	static const struct { uint16_t selector; uint64_t offset; unsigned size; enum access access; int vector; } rows[] = {
		{ STACK16, 0xfffc, 4, ACCESS_WRITE, -1 }, { STACK16, 0xfffd, 4, ACCESS_WRITE, VEC_GP }, { STACK16, 0x10000, 1, ACCESS_READ, VEC_GP },
		{ DATA_DOWN, 0xffff, 1, ACCESS_READ, VEC_GP }, { DATA_DOWN, 0x10000, 1, ACCESS_READ, -1 }, { DATA_DOWN, 0xfffffffc, 4, ACCESS_READ, -1 }, { DATA_DOWN, 0xfffffffd, 4, ACCESS_READ, VEC_GP },
		{ DATA_RO, 0, 4, ACCESS_READ, -1 }, { DATA_RO, 0, 4, ACCESS_WRITE, VEC_GP }, { CODE0, 0, 4, ACCESS_READ, -1 }, { CODE0, 0, 4, ACCESS_WRITE, VEC_GP },
		{ 0, 0, 1, ACCESS_READ, VEC_GP }, { DATA0, 0xffffffff, 1, ACCESS_READ, -1 },
	};
	struct box *b = box_create();
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		jmp_buf here;
		volatile int vector = -1;
		b->cpu.escape = &here;
		segment_load(&b->cpu, SEG_ES, rows[i].selector);
		if (!setjmp(here))
			segment_linear(&b->cpu, SEG_ES, rows[i].offset, rows[i].size, rows[i].access);
		else
			vector = b->cpu.raised.vector;
		CU_ASSERT_EQUAL(vector, rows[i].vector);
		if (rows[i].selector)
			CU_ASSERT_EQUAL(get(b, GDT + rows[i].selector + 5, 1) & 1, 1);
	}
	box_destroy(b);
}

/* ---------------------------------------------------------------- far transfers */
/* SDM 2A JMP and CALL, "Operation", PROTECTED-MODE. */
static void test_far_jump(void)
{
	static const struct { uint8_t ring; uint16_t selector; uint32_t offset; int vector; uint16_t error; uint16_t cs; } rows[] = {
		{ 0, CODE0, 0x1234, -1, 0, CODE0 }, { 0, 0, 0, VEC_GP, 0, 0 }, { 0, 3, 0, VEC_GP, 0, 0 }, { 0, OUTSIDE, 0, VEC_GP, OUTSIDE, 0 },
		{ 0, DATA0, 0, VEC_GP, DATA0, 0 }, { 0, CODE3, 0, VEC_GP, CODE3 & ~3, 0 },    /* non-conforming: DPL must be CPL */
		{ 3, CODE0, 0, VEC_GP, CODE0, 0 }, { 3, CODE3 & ~3, 5, -1, 0, CODE3 },        /* RPL 0 <= CPL: CS.RPL becomes CPL */
		{ 1, CODE1 | 3, 0, VEC_GP, CODE1, 0 },                                       /* RPL > CPL */
		{ 3, CONFORM0, 7, -1, 0, CONFORM0 | 3 },                                     /* conforming: CPL stays */
		{ 0, CODE_ABSENT, 0, VEC_NP, CODE_ABSENT, 0 }, { 0, SMALL3, 0xf, -1, 0, SMALL3 }, { 0, SMALL3, 0x10, VEC_GP, 0, 0 },
		{ 3, LDT_CODE3, 9, -1, 0, LDT_CODE3 }, { 0, SEL_LDT, 0, VEC_GP, SEL_LDT, 0 },
		{ 0, SEL_TSS_A, 0, VEC_GP, SEL_TSS_A, 0 },                                   /* busy */
		{ 3, SEL_TSS_B, 0, VEC_GP, SEL_TSS_B, 0 },                                   /* TSS DPL 0 < CPL */
		{ 0, GATE3, 0, -1, 0, CODE0 }, { 3, GATE3 | 3, 0, VEC_GP, CODE0, 0 },         /* JMP through a gate: non-conforming DPL must be CPL */
		{ 3, GATE0 | 3, 0, VEC_GP, GATE0, 0 },                                       /* gate DPL < CPL */
		{ 0, GATE0 | 1, 0, VEC_GP, GATE0, 0 },                                       /* gate DPL < RPL */
		{ 3, GATE_CONFORM | 3, 0, -1, 0, CONFORM0 | 3 }, { 0, GATE_ABSENT, 0, VEC_NP, GATE_ABSENT, 0 },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct box *b = box_create();
		char what[64];
		box_set_ring(b, rows[i].ring);
		snprintf(what, sizeof what, "jmp %x:%x at ring %u", rows[i].selector, rows[i].offset, rows[i].ring);
		expect(box_run(b, sys_far_jmp, (struct sys_operands){ .imm = rows[i].offset, .imm2 = rows[i].selector }), rows[i].vector, rows[i].error, what);
		if (rows[i].vector < 0) {
			CU_ASSERT_EQUAL(b->cpu.seg[SEG_CS].selector, rows[i].cs);
			CU_ASSERT_EQUAL(b->cpu.cpl, rows[i].ring);
		} else {
			CU_ASSERT_EQUAL(b->cpu.rip, START);
		}
		box_destroy(b);
	}
}

/* SDM 3A 5.8.5 and figure 5-12: a call gate to ring 0 copies parameters to the TSS's stack; RET n comes back and drops ring 0 segments (2B RET). */
static void test_call_gate(void)
{
	struct box *b = box_create();
	box_set_ring(b, 3);
	put(b, STACK3, 0x11111111, 4), put(b, STACK3 + 4, 0x22222222, 4);
	expect(box_run(b, sys_far_call, (struct sys_operands){ .imm = 0xdead, .imm2 = GATE3 | 3 }), -1, 0, "call gate");
	CU_ASSERT_EQUAL(b->cpu.rip, 0x12345678);
	CU_ASSERT_EQUAL(b->cpu.cpl, 0);
	CU_ASSERT_EQUAL(b->cpu.seg[SEG_CS].selector, CODE0);
	CU_ASSERT_EQUAL(b->cpu.seg[SEG_SS].selector, DATA0);
	CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], STACK0 - 24);
	static const uint32_t frame[] = { START + 2, CODE3, 0x11111111, 0x22222222, STACK3, DATA3 };
	for (unsigned i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(get(b, STACK0 - 24 + 4 * i, 4), frame[i]);
	segment_load(&b->cpu, SEG_ES, DATA0);
	segment_load(&b->cpu, SEG_FS, CONFORM0);
	segment_load(&b->cpu, SEG_DS, DATA3);
	expect(box_run(b, sys_far_ret, (struct sys_operands){ .imm = 8 }), -1, 0, "ret 8 to ring 3");
	CU_ASSERT_EQUAL(b->cpu.cpl, 3);
	CU_ASSERT_EQUAL(b->cpu.rip, START + 2);
	CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], STACK3 + 8); /* the outer stack's copy is released too */
	CU_ASSERT_EQUAL(b->cpu.seg[SEG_ES].selector, 0);
	CU_ASSERT_EQUAL(b->cpu.seg[SEG_FS].selector, CONFORM0);
	CU_ASSERT_EQUAL(b->cpu.seg[SEG_DS].selector, DATA3);
	box_destroy(b);
}

/* SDM 2A CALL: what a stack switch may find wrong. */
static void test_call_gate_faults(void)
{
	static const struct { uint16_t ss; uint32_t tr_limit; int vector; uint16_t error; const char *what; } rows[] = {
		{ 0, 0x67, VEC_TS, 0, "null SS" }, { DATA0 | 1, 0x67, VEC_TS, DATA0, "SS RPL is not the code's DPL" }, { DATA3 & ~3, 0x67, VEC_TS, DATA3 & ~3, "SS DPL" },
		{ DATA_RO, 0x67, VEC_TS, DATA_RO, "SS not writable" }, { OUTSIDE, 0x67, VEC_TS, OUTSIDE, "SS outside" }, { DATA_ABSENT, 0x67, VEC_SS, DATA_ABSENT, "SS not present" },
		{ DATA0, 8, VEC_TS, SEL_TSS_A, "TSS too small" }, { DATA_DOWN, 0x67, VEC_SS, DATA_DOWN, "no room" },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct box *b = box_create();
		box_set_ring(b, 3);
		put(b, TSS_A + 8, rows[i].ss, 2);
		if (rows[i].ss == DATA_DOWN)
			put(b, TSS_A + 4, 0x10008, 4);
		b->cpu.tr.limit = rows[i].tr_limit;
		expect(box_run(b, sys_far_call, (struct sys_operands){ .imm2 = GATE3 | 3 }), rows[i].vector, rows[i].error, rows[i].what);
		CU_ASSERT_EQUAL(b->cpu.cpl, 3);
		CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], STACK3);
		CU_ASSERT_EQUAL(b->cpu.seg[SEG_SS].selector, DATA3);
		box_destroy(b);
	}
}

/* ---------------------------------------------------------------- delivery, 32-bit */
/* SDM 3A figure 6-4: stack usage with and without a change of privilege; 6.12.1.2: which flags go. */
static void test_deliver_frames(void)
{
	for (unsigned ring = 0; ring < 4; ring += 3)
		for (int with_error = 0; with_error < 2; with_error++) {
			struct box *b = box_create();
			box_set_ring(b, ring);
			b->cpu.eflags |= FLAG_IF | FLAG_TF | FLAG_NT | FLAG_AC;
			flags_set(&b->cpu, FLAG_CF | FLAG_ZF);
			uint64_t top = STACK0;
			cpu_deliver(&b->cpu, with_error ? VEC_GP : VEC_UD, with_error ? 0x1234 : -1, false, false, 0);
			if (ring) {
				CU_ASSERT_EQUAL(get(b, top -= 4, 4), DATA3);
				CU_ASSERT_EQUAL(get(b, top -= 4, 4), STACK3);
			}
			/* RF is set in the image of a fault (SDM 3B 17.3.1.1). */
			CU_ASSERT_EQUAL(get(b, top -= 4, 4), (FLAG_IF | FLAG_TF | FLAG_NT | FLAG_AC | FLAG_RF | FLAG_CF | FLAG_ZF | 2));
			CU_ASSERT_EQUAL(get(b, top -= 4, 4), ring ? CODE3 : CODE0);
			CU_ASSERT_EQUAL(get(b, top -= 4, 4), START);
			if (with_error)
				CU_ASSERT_EQUAL(get(b, top -= 4, 4), 0x1234);
			CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], top);
			CU_ASSERT_EQUAL(b->cpu.rip, HANDLER + 16u * (with_error ? VEC_GP : VEC_UD));
			CU_ASSERT_EQUAL(b->cpu.cpl, 0);
			CU_ASSERT_EQUAL(cpu_eflags(&b->cpu), (FLAG_AC | FLAG_CF | FLAG_ZF | 2));
			box_destroy(b);
		}
}

/* SDM 2A INT n, "Operation": error codes name the IDT entry (bit 1) and external events (bit 0); the gate's DPL counts for software interrupts only. */
static void test_deliver_faults(void)
{
	static const struct { uint64_t entry_access; uint16_t selector; uint8_t ring; bool soft; int vector; uint32_t error; const char *what; } rows[] = {
		{ 0x8e, CODE0, 3, true, VEC_GP, 0x20 * 8 + 2, "INT n at CPL > gate DPL" },
		{ 0xee, CODE0, 3, true, -1, 0, "INT n at CPL = gate DPL" },
		{ 0x8e, CODE0, 3, false, -1, 0, "external: DPL does not count" },
		{ 0x0e, CODE0, 0, false, VEC_NP, 0x20 * 8 + 3, "gate not present, external" },
		{ 0x0e, CODE0, 0, true, VEC_NP, 0x20 * 8 + 2, "gate not present, INT n" },
		{ 0x8c, CODE0, 0, false, VEC_GP, 0x20 * 8 + 3, "a call gate in the IDT" },
		{ 0x8e, 0, 0, false, VEC_GP, 1, "null selector" },
		{ 0x8e, OUTSIDE, 0, false, VEC_GP, OUTSIDE + 1, "selector outside" },
		{ 0x8e, DATA0, 0, false, VEC_GP, DATA0 + 1, "not code" },
		{ 0x8e, CODE3, 0, true, VEC_GP, CODE3 & ~3, "handler less privileged" },
		{ 0x8e, CODE_ABSENT, 0, false, VEC_NP, CODE_ABSENT + 1, "code not present" },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct box *b = box_create();
		box_set_ring(b, rows[i].ring);
		put(b, IDT + 8 * 0x20, gate(rows[i].selector, 0x5000, (unsigned)rows[i].entry_access, 0), 8);
		if (rows[i].soft)
			b->cpu.soft_start = START - 2; /* as sys_int_n would have left it */
		cpu_deliver(&b->cpu, 0x20, -1, rows[i].soft, !rows[i].soft, 0);
		bool faulted = rows[i].vector >= 0;
		CU_ASSERT_EQUAL(b->cpu.rip, faulted ? HANDLER + 16u * (unsigned)rows[i].vector : 0x5000u);
		if (faulted) {
			uint64_t sp = b->cpu.reg[REG_SP];
			if (get(b, sp, 4) != rows[i].error)
				printf("\n    %s: error %llx", rows[i].what, (unsigned long long)get(b, sp, 4));
			CU_ASSERT_EQUAL(get(b, sp, 4), rows[i].error);
			CU_ASSERT_EQUAL(get(b, sp + 4, 4), rows[i].soft ? START - 2 : START);
		}
		box_destroy(b);
	}
}

/* INT n itself: saves the next instruction's address; its fault is the instruction's. */
static void test_int_n(void)
{
	struct box *b = box_create();
	put(b, IDT + 8 * 0x80, gate(CODE0, 0x5000, 0xef, 0), 8); /* trap gate, DPL 3 */
	box_set_ring(b, 3);
	b->cpu.eflags |= FLAG_IF;
	expect(box_run(b, sys_int_n, (struct sys_operands){ .imm = 0x80 }), -1, 0, "int 80h");
	CU_ASSERT_EQUAL(get(b, b->cpu.reg[REG_SP], 4), START + 2);
	CU_ASSERT_TRUE(b->cpu.eflags & FLAG_IF); /* a trap gate leaves IF */
	expect(box_run(b, sys_iret, (struct sys_operands){ 0 }), -1, 0, "iret");
	CU_ASSERT_EQUAL(b->cpu.cpl, 3);
	CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], STACK3);
	expect(box_run(b, sys_int_n, (struct sys_operands){ .imm = 0x21 }), VEC_GP, 0x21 * 8 + 2, "int 21h from ring 3");
	expect(box_run(b, sys_int3, (struct sys_operands){ 0 }), VEC_GP, 3 * 8 + 2, "int3 through a ring 0 gate");
	flags_set(&b->cpu, 0);
	expect(box_run(b, sys_into, (struct sys_operands){ 0 }), -1, 0, "into, OF clear");
	flags_set(&b->cpu, FLAG_OF);
	expect(box_run(b, sys_into, (struct sys_operands){ 0 }), VEC_GP, 4 * 8 + 2, "into, OF set");
	box_destroy(b);
}

/* SDM 3A 6.15 interrupt 10 and 2A INT: faults of the stack switch, EXT included. */
static void test_deliver_stack_faults(void)
{
	static const struct { uint16_t ss; int vector; uint32_t error; } rows[] = {
		{ 0, VEC_TS, 1 }, { DATA0 | 1, VEC_TS, DATA0 | 1 }, { DATA_RO, VEC_TS, DATA_RO | 1 }, { DATA_ABSENT, VEC_SS, DATA_ABSENT | 1 },
	};
	for (unsigned i = 0; i < 4; i++) {
		struct box *b = box_create();
		/* The handlers of #TS and #SS run in ring 1, on a good stack, so that they can be reached. */
		put(b, IDT + 8 * VEC_TS, gate(CODE1, 0x6000, 0x8e, 0), 8);
		put(b, IDT + 8 * VEC_SS, gate(CODE1, 0x6100, 0x8e, 0), 8);
		box_set_ring(b, 3);
		put(b, TSS_A + 8, rows[i].ss, 2);
		cpu_deliver(&b->cpu, 0x20, -1, false, true, 0);
		CU_ASSERT_EQUAL(b->cpu.rip, rows[i].vector == VEC_TS ? 0x6000 : 0x6100);
		CU_ASSERT_EQUAL(b->cpu.cpl, 1);
		CU_ASSERT_EQUAL(get(b, b->cpu.reg[REG_SP], 4), rows[i].error);
		CU_ASSERT_EQUAL(get(b, b->cpu.reg[REG_SP] + 16, 4), STACK3);
		box_destroy(b);
	}
}

/* ---------------------------------------------------------------- double and triple faults */
/* SDM 3A table 6-5. First: the exception delivered. Second: what its gate makes it meet. */
static void test_double_fault(void)
{
	enum { NONE, CONTRIBUTORY, PAGE };
	static const struct { uint8_t vector; bool external; int class; } firsts[] = {
		{ VEC_DE, false, CONTRIBUTORY }, { VEC_DB, false, NONE }, { VEC_BP, false, NONE }, { VEC_UD, false, NONE }, { VEC_NM, false, NONE }, { VEC_TS, false, CONTRIBUTORY },
		{ VEC_NP, false, CONTRIBUTORY }, { VEC_SS, false, CONTRIBUTORY }, { VEC_GP, false, CONTRIBUTORY }, { VEC_PF, false, PAGE }, { VEC_MF, false, NONE }, { VEC_XM, false, NONE },
		{ 0x20, true, NONE }, { VEC_GP, true, NONE },
	};
	for (unsigned i = 0; i < sizeof firsts / sizeof firsts[0]; i++)
		for (int second = CONTRIBUTORY; second <= PAGE; second++) {
			struct box *b = box_create();
			unsigned v = firsts[i].vector, met = second == PAGE ? VEC_PF : VEC_GP;
			bool has_error = v == 8 || (v >= 10 && v <= 14);
			/* The second fault: a null code selector gives #GP; a descriptor in an absent page gives #PF. */
			b->cpu.ldtr.base = 0x80000;
			b->cpu.ldtr.limit = 0xffff;
			flat_set_absent(&b->port, &b->cpu, 0x80000);
			put(b, IDT + 8 * v, gate(second == PAGE ? 0x0c : 0, 0, 0x8e, 0), 8);
			if (met == v) /* its own handler is the broken one: only a double fault can end it, or a triple */
				put(b, IDT + 8 * VEC_DF, gate(CODE0, 0x7000, 0x8e, 0), 8);
			cpu_deliver(&b->cpu, v, has_error && !firsts[i].external ? 0 : -1, false, firsts[i].external, 0x1234);
			bool doubled = (firsts[i].class == CONTRIBUTORY && second == CONTRIBUTORY) || firsts[i].class == PAGE;
			if (firsts[i].class == NONE && met == v) /* an external vector 13 that meets #GP: then #GP meets #GP */
				doubled = true;
			unsigned handler = HANDLER + 16 * (doubled ? VEC_DF : met);
			if (doubled && met == v)
				handler = 0x7000;
			if (b->cpu.rip != handler)
				printf("\n    first %u external %d second %u: rip %llx", v, firsts[i].external, met, (unsigned long long)b->cpu.rip);
			CU_ASSERT_EQUAL(b->cpu.rip, handler);
			CU_ASSERT_EQUAL(b->cpu.stop, CPU_RUNNING);
			if (doubled)
				CU_ASSERT_EQUAL(get(b, b->cpu.reg[REG_SP], 4), 0);
			if (second == PAGE)
				CU_ASSERT_EQUAL(b->cpu.cr2, 0x80008); /* interrupt 14: CR2 is overwritten even when it becomes a double fault */
			box_destroy(b);
		}
}

static void test_triple_fault(void)
{
	struct box *b = box_create();
	put(b, IDT + 8 * VEC_GP, gate(0, 0, 0x8e, 0), 8);
	put(b, IDT + 8 * VEC_DF, gate(0, 0, 0x8e, 0), 8);
	cpu_deliver(&b->cpu, VEC_GP, 0, false, false, 0);
	CU_ASSERT_EQUAL(b->cpu.stop, CPU_SHUTDOWN);
	CU_ASSERT_NOT_EQUAL(b->cpu.attention, 0);
	box_destroy(b);
	b = box_create(); /* no IDT at all: what real-world reboots do */
	b->cpu.idtr.limit = 0;
	cpu_deliver(&b->cpu, VEC_BP, -1, true, false, 0);
	CU_ASSERT_EQUAL(b->cpu.stop, CPU_SHUTDOWN);
	box_destroy(b);
}

/* A page fault on the handler's stack: nothing of the state may have moved before the double fault. */
static void test_stack_page_fault(void)
{
	struct box *b = box_create();
	box_set_ring(b, 3);
	put(b, IDT + 8 * VEC_PF, gate(CODE1, 0x6000, 0x8e, 0), 8); /* #PF in ring 1: its stack is present */
	flat_set_absent(&b->port, &b->cpu, STACK0 - 1);
	cpu_deliver(&b->cpu, 0x20, -1, false, true, 0);
	CU_ASSERT_EQUAL(b->cpu.rip, 0x6000);
	CU_ASSERT_EQUAL(b->cpu.cr2, STACK0 - 4);
	uint64_t sp = b->cpu.reg[REG_SP];
	CU_ASSERT_EQUAL(get(b, sp, 4), 2); /* a supervisor write to a page that is not present */
	CU_ASSERT_EQUAL(get(b, sp + 4, 4), START);
	CU_ASSERT_EQUAL(get(b, sp + 8, 4), CODE3);
	box_destroy(b);
}

/* ---------------------------------------------------------------- IRET */
/* SDM 2A IRET and 2B POPF table 4-15: which flags change at which privilege. */
static void test_flag_masks(void)
{
	static const struct { uint8_t ring, iopl; uint32_t changes; } rows[] = {
		{ 0, 0, FLAG_IF | FLAG_IOPL }, { 1, 0, 0 }, { 1, 1, FLAG_IF }, { 3, 0, 0 }, { 3, 3, FLAG_IF },
	};
	const uint32_t always = FLAGS_ARITH | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID;
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (unsigned size = 2; size <= 4; size += 2)
			for (unsigned iret = 0; iret < 2; iret++) {
				struct box *b = box_create();
				box_set_ring(b, rows[i].ring);
				b->cpu.eflags |= (uint32_t)rows[i].iopl << 12;
				uint64_t sp = b->cpu.reg[REG_SP] -= iret ? 3 * size : size;
				uint32_t before = cpu_eflags(&b->cpu), want = before ^ (always | FLAG_IF | FLAG_IOPL);
				if (iret) {
					put(b, sp, 0x4444, size), put(b, sp + size, b->cpu.seg[SEG_CS].selector, size);
					sp += 2 * size;
				}
				put(b, sp, want & (size == 2 ? 0xffff : ~0u), size);
				expect(box_run(b, iret ? sys_iret : sys_popf, (struct sys_operands){ .size = (uint8_t)size, .stack_size = (uint8_t)size }), -1, 0, "popf/iret");
				uint32_t mask = (always | rows[i].changes) & (size == 2 ? 0xffff : ~0u);
				CU_ASSERT_EQUAL(cpu_eflags(&b->cpu), (before & ~mask) | (want & mask));
				box_destroy(b);
			}
}

/* SDM 2A IRET: faults of a return. The frame: EIP, CS, EFLAGS, ESP, SS. */
static void test_iret_faults(void)
{
	static const struct { uint16_t cs, ss; uint32_t eip, flags; uint8_t ring; int vector; uint16_t error; const char *what; } rows[] = {
		{ 0, 0, 0, 2, 0, VEC_GP, 0, "null CS" }, { OUTSIDE, 0, 0, 2, 0, VEC_GP, OUTSIDE, "CS outside" }, { DATA0, 0, 0, 2, 0, VEC_GP, DATA0, "CS is data" },
		{ CODE0, 0, 0, 2, 3, VEC_GP, CODE0, "to an inner ring" }, { CODE0 | 3, DATA3, 0, 2, 0, VEC_GP, CODE0, "DPL is not RPL" }, { CODE_ABSENT, 0, 0, 2, 0, VEC_NP, CODE_ABSENT, "CS absent" },
		{ CODE3, 0, 0, 2, 0, VEC_GP, 0, "null SS" }, { CODE3, DATA3 & ~3, 0, 2, 0, VEC_GP, DATA3 & ~3, "SS RPL" }, { CODE3, DATA0 | 3, 0, 2, 0, VEC_GP, DATA0, "SS DPL" },
		{ SMALL3, 0, 0x10, 2, 0, VEC_GP, 0, "EIP outside" }, { CODE3, DATA3, 0x77, 2, 0, -1, 0, "to ring 3" }, { CODE1 | 1, DATA1 | 1, 0x77, 2, 0, -1, 0, "to ring 1" },
		{ CODE0, 0, 0, 2 | FLAG_VM, 0, VEC_GP, 0, "virtual-8086 mode is outside the subset" },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct box *b = box_create();
		box_set_ring(b, rows[i].ring);
		uint64_t sp = b->cpu.reg[REG_SP] -= 20;
		put(b, sp, rows[i].eip, 4), put(b, sp + 4, rows[i].cs, 4), put(b, sp + 8, rows[i].flags, 4), put(b, sp + 12, 0x25000, 4), put(b, sp + 16, rows[i].ss, 4);
		struct cpu before = b->cpu;
		expect(box_run(b, sys_iret, (struct sys_operands){ 0 }), rows[i].vector, rows[i].error, rows[i].what);
		if (rows[i].vector < 0) {
			CU_ASSERT_EQUAL(b->cpu.cpl, rows[i].cs & 3);
			CU_ASSERT_EQUAL(b->cpu.rip, rows[i].eip);
			CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], 0x25000);
			CU_ASSERT_EQUAL(b->cpu.seg[SEG_DS].selector, 0); /* ring 0 data does not follow outwards */
		} else {
			CU_ASSERT_EQUAL(memcmp(before.reg, b->cpu.reg, sizeof before.reg), 0);
			CU_ASSERT_EQUAL(memcmp(before.seg, b->cpu.seg, sizeof before.seg), 0);
		}
		box_destroy(b);
	}
}

/* ---------------------------------------------------------------- long mode */
/* SDM 3A 6.14: frames of five quadwords, 16-byte aligned, SS null on a change of ring, IST. */
static void test_long_delivery(void)
{
	for (unsigned ring = 0; ring < 4; ring += 3)
		for (unsigned ist = 0; ist < 2; ist++) {
			struct box *b = box_create_long(ring);
			b->cpu.reg[REG_SP] -= 4; /* misaligned */
			uint64_t sp = b->cpu.reg[REG_SP], rip = 0xffff800000001234, ss = b->cpu.seg[SEG_SS].selector;
			b->cpu.rip = rip;
			put(b, IDT + 16 * VEC_PF + 4, ist, 1);
			put(b, IDT + 16 * VEC_PF + 8, 0xffff8000, 4);
			cpu_deliver(&b->cpu, VEC_PF, 7, false, false, 0xffffffff80001000);
			uint64_t top = ist ? STACK_IST : ring ? STACK0 : (sp & ~0xfull);
			const uint64_t frame[] = { ss, sp, FLAG_RF | 2, ring ? LONG3 : LONG0, rip, 7 };
			for (unsigned i = 0; i < 6; i++)
				CU_ASSERT_EQUAL(get(b, top - 8 * (i + 1), 8), frame[i]);
			CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], top - 48);
			CU_ASSERT_EQUAL(b->cpu.rip, 0xffff800000000000 + HANDLER + 16 * VEC_PF);
			CU_ASSERT_EQUAL(b->cpu.seg[SEG_SS].selector, ring ? 0 : ss);
			CU_ASSERT_EQUAL(b->cpu.cr2, 0xffffffff80001000);
			CU_ASSERT_EQUAL(b->cpu.cpl, 0);
			b->cpu.reg[REG_SP] += 8;
			expect(box_run(b, sys_iret, (struct sys_operands){ .size = 8 }), -1, 0, "iretq");
			CU_ASSERT_EQUAL(b->cpu.rip, rip);
			CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], sp);
			CU_ASSERT_EQUAL(b->cpu.cpl, ring);
			CU_ASSERT_EQUAL(b->cpu.code_size, 8);
			box_destroy(b);
		}
}

static void test_long_faults(void)
{
	struct box *b = box_create_long(3);
	put(b, IDT + 16 * 0x20, gate(CODE0, 0x5000, 0x8e, 0), 8); /* SDM 3A 6.14.1: the target must be 64-bit code */
	put(b, IDT + 16 * VEC_GP + 4, 1, 1);
	cpu_deliver(&b->cpu, 0x20, -1, false, true, 0);
	CU_ASSERT_EQUAL(b->cpu.rip, HANDLER + 16 * VEC_GP);
	CU_ASSERT_EQUAL(get(b, b->cpu.reg[REG_SP], 8), CODE0 | 1);
	box_destroy(b);
	b = box_create_long(3); /* a stack pointer that is not canonical: #SS, and again for #SS: a double fault through IST */
	put(b, TSS_64 + 4, 0x0001000000000000, 8);
	put(b, IDT + 16 * VEC_DF + 4, 1, 1);
	cpu_deliver(&b->cpu, VEC_UD, -1, false, false, 0);
	CU_ASSERT_EQUAL(b->cpu.rip, HANDLER + 16 * VEC_DF);
	box_destroy(b);
	b = box_create_long(0); /* IRETQ to a RIP that is not canonical: #GP(0) before anything moves */
	uint64_t sp = b->cpu.reg[REG_SP] -= 40;
	const uint64_t frame[] = { 0x0000800000000000, LONG3, 2, STACK3, DATA3 };
	memcpy(b->phys.bytes + sp, frame, sizeof frame);
	expect(box_run(b, sys_iret, (struct sys_operands){ .size = 8 }), VEC_GP, 0, "iretq, rip not canonical");
	CU_ASSERT_EQUAL(b->cpu.cpl, 0);
	CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], sp);
	b->cpu.eflags |= FLAG_NT;
	expect(box_run(b, sys_iret, (struct sys_operands){ .size = 8 }), VEC_GP, 0, "iretq with NT: no tasks in long mode");
	b->cpu.eflags &= ~FLAG_NT;
	expect(box_run(b, sys_far_jmp_mem, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND }), VEC_GP, 0, "far jmp, null");
	put(b, OPERAND, 0x0000800000000000, 8), put(b, OPERAND + 8, LONG0, 2);
	expect(box_run(b, sys_far_jmp_mem, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND, .size = 8 }), VEC_GP, 0, "far jmp, target not canonical");
	expect(box_run(b, sys_far_call_mem, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND, .size = 8 }), VEC_GP, 0, "far call, target not canonical");
	put(b, GDT + GATE_LONG + 8, 0x00008000, 8), put(b, OPERAND, 0, 8), put(b, OPERAND + 4, GATE_LONG, 2);
	expect(box_run(b, sys_far_call_mem, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND }), VEC_GP, 0, "call gate, target not canonical");
	put(b, IDT + 16 * 0x21 + 8, 0x00008000, 8);
	expect(box_run(b, sys_int_n, (struct sys_operands){ .imm = 0x21 }), VEC_GP, 0, "int n, target not canonical");
	put(b, OPERAND + 4, LONG_BOTH, 2);
	expect(box_run(b, sys_far_jmp_mem, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND }), VEC_GP, LONG_BOTH, "L and D");
	put(b, OPERAND + 4, CODE0, 2);
	expect(box_run(b, sys_far_jmp_mem, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND }), -1, 0, "to compatibility mode");
	CU_ASSERT_EQUAL(b->cpu.code_size, 4);
	expect(box_run(b, sys_far_jmp, (struct sys_operands){ .imm2 = LONG0, .imm = 0x9000 }), -1, 0, "and back");
	CU_ASSERT_EQUAL(b->cpu.code_size, 8);
	box_destroy(b);
}

/* SDM 3A 5.8.3.1, 5.8.5.1: 64-bit call gates: 16 bytes, no parameters, SS null, quadword pushes. */
static void test_long_call_gate(void)
{
	struct box *b = box_create_long(3);
	put(b, OPERAND + 4, GATE_LONG | 3, 2);
	expect(box_run(b, sys_far_call_mem, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND }), -1, 0, "64-bit call gate");
	CU_ASSERT_EQUAL(b->cpu.rip, 0x7fff9abcdef0);
	CU_ASSERT_EQUAL(b->cpu.cpl, 0);
	CU_ASSERT_EQUAL(b->cpu.seg[SEG_SS].selector, 0);
	CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], STACK0 + 8 - 32); /* not aligned, unlike interrupts */
	const uint64_t frame[] = { START + 2, LONG3, STACK3, DATA3 };
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(get(b, STACK0 + 8 - 32 + 8 * i, 8), frame[i]);
	expect(box_run(b, sys_far_ret, (struct sys_operands){ .size = 8 }), -1, 0, "far return");
	CU_ASSERT_EQUAL(b->cpu.cpl, 3);
	CU_ASSERT_EQUAL(b->cpu.reg[REG_SP], STACK3);
	put(b, GDT + GATE_LONG + 13, 0x01, 1); /* figure 5-8: the upper type must be 0 */
	expect(box_run(b, sys_far_call_mem, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND }), VEC_GP, GATE_LONG, "upper type");
	box_destroy(b);
}

/* SDM 2B SYSCALL, SYSRET, SYSENTER, SYSEXIT. */
static void test_fast_calls(void)
{
	struct box *b = box_create_long(3);
	struct cpu *c = &b->cpu;
	c->star = 0x0023001000000000; /* SYSRET base 23h, SYSCALL base 10h */
	c->lstar = 0xffffffff80000000;
	c->fmask = FLAG_IF | FLAG_DF;
	c->eflags |= FLAG_IF | FLAG_DF | FLAG_AC;
	flags_set(c, FLAG_CF);
	expect(box_run(b, sys_syscall, (struct sys_operands){ 0 }), -1, 0, "syscall");
	CU_ASSERT_EQUAL(c->rip, 0xffffffff80000000);
	CU_ASSERT_EQUAL(c->reg[REG_CX], START + 2);
	CU_ASSERT_EQUAL(c->reg[REG_R11], (FLAG_IF | FLAG_DF | FLAG_AC | FLAG_CF | 2));
	CU_ASSERT_EQUAL(cpu_eflags(c), (FLAG_AC | FLAG_CF | 2));
	CU_ASSERT_EQUAL(c->seg[SEG_CS].selector, 0x10);
	CU_ASSERT_EQUAL(c->seg[SEG_SS].selector, 0x18);
	CU_ASSERT_EQUAL(c->cpl, 0);
	expect(box_run(b, sys_sysret, (struct sys_operands){ .size = 8 }), -1, 0, "sysretq");
	CU_ASSERT_EQUAL(c->seg[SEG_CS].selector, 0x33);
	CU_ASSERT_EQUAL(c->seg[SEG_SS].selector, 0x2b);
	CU_ASSERT_EQUAL(c->cpl, 3);
	CU_ASSERT_EQUAL(c->rip, START + 2);
	CU_ASSERT_TRUE(c->eflags & FLAG_IF);
	expect(box_run(b, sys_sysret, (struct sys_operands){ .size = 8 }), VEC_GP, 0, "sysret in ring 3");
	box_run(b, sys_syscall, (struct sys_operands){ 0 });
	c->reg[REG_CX] = 0x0000800000000000;
	expect(box_run(b, sys_sysret, (struct sys_operands){ .size = 8 }), VEC_GP, 0, "sysret, rcx not canonical");
	CU_ASSERT_EQUAL(c->cpl, 0);
	c->reg[REG_CX] = 0xffffffff00001000;
	expect(box_run(b, sys_sysret, (struct sys_operands){ .size = 4 }), -1, 0, "sysretl");
	CU_ASSERT_EQUAL(c->rip, 0x1000);
	CU_ASSERT_EQUAL(c->seg[SEG_CS].selector, 0x23);
	CU_ASSERT_EQUAL(c->code_size, 4);
	expect(box_run(b, sys_syscall, (struct sys_operands){ 0 }), VEC_UD, -1, "syscall in compatibility mode (Intel)");
	expect(box_run(b, sys_sysenter, (struct sys_operands){ 0 }), VEC_GP, 0, "sysenter, no CS");
	c->sysenter_cs = 0x40;
	c->sysenter_esp = 0xffff800000002000;
	c->sysenter_eip = 0xffff800000001000;
	expect(box_run(b, sys_sysenter, (struct sys_operands){ 0 }), -1, 0, "sysenter");
	CU_ASSERT_EQUAL(c->rip, 0xffff800000001000);
	CU_ASSERT_EQUAL(c->reg[REG_SP], 0xffff800000002000);
	CU_ASSERT_EQUAL(c->seg[SEG_SS].selector, 0x48);
	CU_ASSERT_FALSE(c->eflags & FLAG_IF);
	CU_ASSERT_EQUAL(c->code_size, 8);
	c->reg[REG_DX] = 0x7000, c->reg[REG_CX] = 0x8000;
	expect(box_run(b, sys_sysexit, (struct sys_operands){ .size = 8 }), -1, 0, "sysexitq");
	CU_ASSERT_EQUAL(c->seg[SEG_CS].selector, 0x63);
	CU_ASSERT_EQUAL(c->seg[SEG_SS].selector, 0x6b);
	CU_ASSERT_EQUAL(c->rip, 0x7000);
	CU_ASSERT_EQUAL(c->reg[REG_SP], 0x8000);
	c->sysenter_cs = 3;
	expect(box_run(b, sys_sysenter, (struct sys_operands){ 0 }), VEC_GP, 0, "sysenter, null CS with RPL bits");
	box_destroy(b);
	b = box_create_long(0);
	b->cpu.sysenter_cs = 0x40, b->cpu.reg[REG_DX] = 0x0000800000000000;
	expect(box_run(b, sys_sysexit, (struct sys_operands){ .size = 8 }), VEC_GP, 0, "sysexit, rdx not canonical");
	b->cpu.reg[REG_DX] = 0, b->cpu.reg[REG_CX] = 0x0000800000000000;
	expect(box_run(b, sys_sysexit, (struct sys_operands){ .size = 8 }), VEC_GP, 0, "sysexit, rcx not canonical");
	b->cpu.reg[REG_CX] = 0x5000, b->cpu.reg[REG_R11] = FLAG_TF;
	expect(box_run(b, sys_sysret, (struct sys_operands){ .size = 8 }), -1, 0, "sysret with TF");
	CU_ASSERT_EQUAL(b->cpu.rip, HANDLER + 16 * VEC_DB); /* at once, with the user's RIP */
	CU_ASSERT_EQUAL(get(b, b->cpu.reg[REG_SP], 8), 0x5000);
	box_destroy(b);
}

/* ---------------------------------------------------------------- tasks */
static void task_prepare(struct box *b, unsigned at, unsigned ring)
{
	static const unsigned segments[6] = { 0, 0, 0, 0, 0, 0 };
	put(b, at + 28, 0, 4), put(b, at + 32, 0x9000, 4), put(b, at + 36, FLAG_IF | FLAG_CF | 2, 4);
	for (unsigned i = 0; i < 8; i++)
		put(b, at + 40 + 4 * i, i == 4 ? 0x28000 : 0x100 + i, 4);
	for (unsigned i = 0; i < 6; i++)
		put(b, at + 72 + 4 * i, segments[i], 4);
	put(b, at + 72, ring ? DATA3 : DATA0, 4), put(b, at + 76, ring ? CODE3 : CODE0, 4), put(b, at + 80, ring ? DATA3 : DATA0, 4), put(b, at + 84, ring ? DATA3 : DATA0, 4);
	put(b, at + 96, SEL_LDT, 4), put(b, at + 100, 0, 4);
}

static unsigned tss_type(const struct box *b, unsigned selector)
{
	return get(b, GDT + selector + 5, 1) & 15;
}

/* SDM 3A table 7-2: busy flags, NT and links of the three ways; 7.3 for what is saved. */
static void test_task_switch(void)
{
	for (unsigned how = 0; how < 3; how++) { /* JMP, CALL, interrupt */
		struct box *b = box_create();
		struct cpu *c = &b->cpu;
		task_prepare(b, TSS_B, 3);
		put(b, IDT + 8 * VEC_GP, gate(SEL_TSS_B, 0, 0x85, 0), 8);
		c->reg[REG_BX] = 0xb0b0b0b0;
		if (how == 2)
			cpu_deliver(c, VEC_GP, 0x555, false, false, 0);
		else
			expect(box_run(b, how ? sys_far_call : sys_far_jmp, (struct sys_operands){ .imm2 = how ? TASK_GATE : SEL_TSS_B }), -1, 0, "task switch");
		CU_ASSERT_EQUAL(c->rip, 0x9000);
		CU_ASSERT_EQUAL(c->cpl, 3);
		CU_ASSERT_EQUAL(c->tr.selector, SEL_TSS_B);
		CU_ASSERT_EQUAL(c->reg[REG_BX], 0x103);
		CU_ASSERT_EQUAL(c->seg[SEG_SS].selector, DATA3);
		CU_ASSERT_EQUAL(c->seg[SEG_SS].limit, 0xffffffff);
		CU_ASSERT_TRUE(c->cr0 & CR0_TS);
		CU_ASSERT_EQUAL(tss_type(b, SEL_TSS_B), 11);
		CU_ASSERT_EQUAL(tss_type(b, SEL_TSS_A), how == 0 ? 9 : 11);
		CU_ASSERT_EQUAL(!!(c->eflags & FLAG_NT), how != 0);
		CU_ASSERT_EQUAL(get(b, TSS_A + 32, 4), how == 2 ? START : START + 2);
		CU_ASSERT_EQUAL(get(b, TSS_A + 52, 4), 0xb0b0b0b0);
		CU_ASSERT_EQUAL(get(b, TSS_A + 76, 2), CODE0);
		if (how)
			CU_ASSERT_EQUAL(get(b, TSS_B, 2), SEL_TSS_A);
		if (how == 2) {
			CU_ASSERT_EQUAL(c->reg[REG_SP], 0x28000 - 4);
			CU_ASSERT_EQUAL(get(b, 0x28000 - 4, 4), 0x555);
		}
		if (how) { /* IRET with NT goes back; the frame on the stack does not matter */
			c->reg[REG_DI] = 0xd1d1d1d1;
			expect(box_run(b, sys_iret, (struct sys_operands){ 0 }), -1, 0, "iret to the old task");
			CU_ASSERT_EQUAL(c->tr.selector, SEL_TSS_A);
			CU_ASSERT_EQUAL(c->reg[REG_BX], 0xb0b0b0b0);
			CU_ASSERT_EQUAL(c->rip, how == 2 ? START : START + 2);
			CU_ASSERT_EQUAL(tss_type(b, SEL_TSS_B), 9);
			CU_ASSERT_EQUAL(tss_type(b, SEL_TSS_A), 11);
			CU_ASSERT_EQUAL(get(b, TSS_B + 68, 4), 0xd1d1d1d1);
			CU_ASSERT_EQUAL(get(b, TSS_B + 36, 4) & FLAG_NT, 0); /* NT is cleared in the image that IRET saves */
			CU_ASSERT_EQUAL(c->cpl, 0);
		}
		box_destroy(b);
	}
}

/* SDM 3A table 7-1: before the commit the old task faults, after it the new one. */
static void test_task_faults(void)
{
	struct box *b = box_create();
	expect(box_run(b, sys_far_jmp, (struct sys_operands){ .imm2 = SEL_TSS_A }), VEC_GP, SEL_TSS_A, "busy");
	describe(b, SEL_TSS_B, descriptor(TSS_B, 0x66, 0x89, 0));
	expect(box_run(b, sys_far_jmp, (struct sys_operands){ .imm2 = SEL_TSS_B }), VEC_TS, SEL_TSS_B, "limit");
	describe(b, SEL_TSS_B, descriptor(TSS_B, 0x67, 0x09, 0));
	expect(box_run(b, sys_far_jmp, (struct sys_operands){ .imm2 = SEL_TSS_B }), VEC_NP, SEL_TSS_B, "not present");
	b->cpu.eflags |= FLAG_NT;
	put(b, TSS_A, SEL_TSS_B, 2);
	describe(b, SEL_TSS_B, descriptor(TSS_B, 0x67, 0x89, 0));
	expect(box_run(b, sys_iret, (struct sys_operands){ 0 }), VEC_TS, SEL_TSS_B, "IRET to a task that is not busy");
	b->cpu.eflags &= ~FLAG_NT;
	CU_ASSERT_EQUAL(b->cpu.tr.selector, SEL_TSS_A);
	task_prepare(b, TSS_B, 0);
	put(b, TSS_B + 84, OUTSIDE, 2); /* DS */
	expect(box_run(b, sys_far_jmp, (struct sys_operands){ .imm2 = SEL_TSS_B }), -1, 0, "a bad DS");
	CU_ASSERT_EQUAL(b->cpu.tr.selector, SEL_TSS_B);
	CU_ASSERT_EQUAL(b->cpu.rip, HANDLER + 16 * VEC_TS); /* delivered in the new task */
	CU_ASSERT_EQUAL(get(b, 0x28000 - 16, 4), OUTSIDE);
	CU_ASSERT_EQUAL(get(b, 0x28000 - 12, 4), 0x9000);
	box_destroy(b);
}

/* ---------------------------------------------------------------- queries */
/* SDM 2A LAR table 3-53, LSL table 3-63; 2B VERR/VERW: over every type, DPL, RPL, CPL. */
static void test_queries(void)
{
	static const bool lar_system[16] = { [1] = 1, [2] = 1, [3] = 1, [4] = 1, [5] = 1, [9] = 1, [11] = 1, [12] = 1 };
	static const bool lsl_system[16] = { [1] = 1, [2] = 1, [3] = 1, [9] = 1, [11] = 1 };
	struct box *b = box_create();
	unsigned wrong = 0;
	for (unsigned access = 0; access < 256; access++)
		for (unsigned cpl = 0; cpl < 4; cpl++)
			for (unsigned rpl = 0; rpl < 4; rpl++) {
				unsigned type = access & 15, dpl = access >> 5 & 3;
				bool segment = access & 16, code = segment && type & 8, conforming = code && type & 4;
				bool ranked = conforming || (cpl <= dpl && rpl <= dpl);
				b->cpu.cpl = (uint8_t)cpl;
				describe(b, DATA1, descriptor(0x1000, 0x12345, access, 0xc));
				b->cpu.reg[REG_AX] = DATA1 | rpl;
				const struct { sys_fn *fn; bool yes; uint64_t value; } rows[] = {
					{ sys_lar, ranked && (segment || lar_system[type]), access << 8 | 0x00c00000 },
					{ sys_lsl, ranked && (segment || lsl_system[type]), 0x12345fff },
					{ sys_verr, segment && ranked && (!code || type & 2), 77 }, { sys_verw, segment && ranked && !code && type & 2, 77 },
				};
				for (unsigned i = 0; i < 4; i++) {
					b->cpu.reg[REG_BX] = 77;
					flags_set(&b->cpu, FLAG_CF | (rows[i].yes ? 0 : FLAG_ZF));
					struct outcome got = box_run(b, rows[i].fn, (struct sys_operands){ .reg = REG_BX, .rm = REG_AX });
					bool good = got.vector < 0 && flags_get(&b->cpu) == (FLAG_CF | (rows[i].yes ? FLAG_ZF : 0)) && b->cpu.reg[REG_BX] == (rows[i].yes ? rows[i].value : 77);
					wrong += !good;
				}
			}
	CU_ASSERT_EQUAL(wrong, 0);
	box_destroy(b);
	b = box_create_long(0); /* long mode: the same tables' other column */
	b->cpu.reg[REG_AX] = DATA1;
	for (unsigned type = 0; type < 16; type++)
		for (unsigned limit = 0; limit < 2; limit++) {
			describe(b, DATA1, descriptor(0x1000, 0x12345, 0x80 | type, 0));
			bool yes = type == 2 || type == 9 || type == 11 || (type == 12 && !limit);
			expect(box_run(b, limit ? sys_lsl : sys_lar, (struct sys_operands){ .reg = REG_BX, .rm = REG_AX }), -1, 0, "lar/lsl");
			CU_ASSERT_EQUAL(!!(flags_get(&b->cpu) & FLAG_ZF), yes);
		}
	box_destroy(b);
}

static void test_arpl(void)
{
	struct box *b = box_create();
	for (unsigned to = 0; to < 4; to++)
		for (unsigned from = 0; from < 4; from++) {
			b->cpu.reg[REG_AX] = 0xabcd0100 | to, b->cpu.reg[REG_BX] = from;
			box_run(b, sys_arpl, (struct sys_operands){ .reg = REG_BX, .rm = REG_AX, .size = 2 });
			CU_ASSERT_EQUAL(b->cpu.reg[REG_AX], 0xabcd0100 | (to < from ? from : to));
			CU_ASSERT_EQUAL(!!(flags_get(&b->cpu) & FLAG_ZF), to < from);
		}
	box_destroy(b);
}

/* SDM 2A LLDT, 2B LTR, LGDT: what they accept. */
static void test_table_registers(void)
{
	struct box *b = box_create();
	struct cpu *c = &b->cpu;
	static const struct { uint16_t selector; bool ltr; int vector; uint16_t error; } rows[] = {
		{ SEL_LDT, false, -1, 0 }, { 0, false, -1, 0 }, { SEL_TSS_B, false, VEC_GP, SEL_TSS_B }, { OUTSIDE, false, VEC_GP, OUTSIDE }, { LDT_DATA3 & ~3, false, VEC_GP, LDT_DATA3 & ~3 },
		{ SEL_TSS_B, true, -1, 0 }, { SEL_TSS_B, true, VEC_GP, SEL_TSS_B } /* busy now */, { 0, true, VEC_GP, 0 }, { DATA0, true, VEC_GP, DATA0 },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		c->reg[REG_AX] = rows[i].selector;
		expect(box_run(b, rows[i].ltr ? sys_ltr : sys_lldt, (struct sys_operands){ .rm = REG_AX }), rows[i].vector, rows[i].error, "lldt/ltr");
	}
	CU_ASSERT_EQUAL(tss_type(b, SEL_TSS_B), 11);
	put(b, OPERAND, 0x3ff, 2), put(b, OPERAND + 2, 0x12345678, 4);
	expect(box_run(b, sys_lgdt, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND, .memory = true }), -1, 0, "lgdt");
	CU_ASSERT_EQUAL(c->gdtr.base, 0x12345678);
	expect(box_run(b, sys_lidt, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND, .memory = true, .size = 2 }), -1, 0, "lidt, 16-bit");
	CU_ASSERT_EQUAL(c->idtr.base, 0x345678);
	expect(box_run(b, sys_sgdt, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND + 16, .memory = true }), -1, 0, "sgdt");
	CU_ASSERT_EQUAL(get(b, OPERAND + 16, 8), 0x1234567803ff);
	box_destroy(b);
	b = box_create();
	box_set_ring(b, 3);
	put(b, TSS_A + 102, 0xffff, 2); /* no I/O bitmap */
	static sys_fn *const privileged[] = { sys_lgdt, sys_lidt, sys_lldt, sys_ltr, sys_clts, sys_lmsw, sys_hlt, sys_invlpg, sys_rdmsr, sys_wrmsr, sys_mov_to_cr, sys_mov_from_cr, sys_mov_to_dr,
		sys_mov_from_dr, sys_invd, sys_wbinvd, sys_invpcid, sys_cli, sys_sti, sys_in, sys_out };
	for (unsigned i = 0; i < sizeof privileged / sizeof privileged[0]; i++)
		expect(box_run(b, privileged[i], (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND, .memory = true, .imm = 0x60, .size = 1 }), VEC_GP, 0, "privileged in ring 3");
	static sys_fn *const umip[] = { sys_sgdt, sys_sidt, sys_sldt, sys_str, sys_smsw };
	for (unsigned i = 0; i < 5; i++)
		for (unsigned on = 0; on < 2; on++) {
			b->cpu.cr4 = on ? CR4_UMIP : 0;
			expect(box_run(b, umip[i], (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND, .memory = true }), on ? VEC_GP : -1, 0, "UMIP");
		}
	box_destroy(b);
	b = box_create_long(0);
	put(b, GDT + SEL_LDT_64 + 8, 0xffff8000, 8);
	b->cpu.reg[REG_AX] = SEL_LDT_64;
	expect(box_run(b, sys_lldt, (struct sys_operands){ .rm = REG_AX }), -1, 0, "16-byte LDT descriptor");
	CU_ASSERT_EQUAL(b->cpu.ldtr.base, 0xffff800000000000 + LDT);
	b->cpu.reg[REG_AX] = SEL_TSS_64;
	expect(box_run(b, sys_ltr, (struct sys_operands){ .rm = REG_AX }), -1, 0, "16-byte TSS descriptor");
	put(b, OPERAND, 0xff, 2), put(b, OPERAND + 2, 0x0000800000000000, 8);
	expect(box_run(b, sys_lgdt, (struct sys_operands){ .seg = SEG_DS, .offset = OPERAND, .memory = true, .size = 8 }), VEC_GP, 0, "lgdt, base not canonical");
	box_destroy(b);
}

/* ---------------------------------------------------------------- control registers, MSRs */
/* SDM 3A 2.5 and 4.1; 2B MOV (control registers): combinations that raise #GP(0). */
static void test_control_registers(void)
{
	static const struct { uint8_t number; bool wide; uint64_t cr0, cr3, cr4, efer, value; int vector; } rows[] = {
		{ 0, false, CR0_PE, 0, 0, 0, CR0_PE | CR0_PG, -1 }, { 0, false, CR0_PE, 0, 0, 0, CR0_PG, VEC_GP }, { 0, false, CR0_PE, 0, 0, 0, CR0_PE | CR0_NW, VEC_GP },
		{ 0, false, CR0_PE, 0, 0, 0, CR0_PE | CR0_NW | CR0_CD, -1 }, { 0, false, CR0_PE, 0, 0, EFER_LME, CR0_PE | CR0_PG, VEC_GP } /* LME without PAE */,
		{ 0, false, CR0_PE, 0, CR4_PAE, EFER_LME, CR0_PE | CR0_PG, -1 }, { 0, true, CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, CR0_PE, VEC_GP } /* PG off in 64-bit mode */,
		{ 0, true, CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, CR0_PE | CR0_PG | 1ull << 32, VEC_GP },
		{ 3, true, CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 1ull << 46, VEC_GP }, { 3, true, CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 1ull << 45, -1 },
		{ 3, true, CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 1ull << 63, VEC_GP }, { 3, true, CR0_PE | CR0_PG, 0, CR4_PAE | CR4_PCIDE, EFER_LME | EFER_LMA, 1ull << 63 | 0x1005, -1 },
		{ 4, false, CR0_PE, 0, 0, 0, CR4_PAE | CR4_PGE | CR4_PSE, -1 }, { 4, false, CR0_PE, 0, 0, 0, CR4_VME, VEC_GP }, { 4, false, CR0_PE, 0, 0, 0, 1u << 13, VEC_GP } /* VMXE: no VMX */,
		{ 4, false, CR0_PE, 0, 0, 0, CR4_PCIDE, VEC_GP } /* not in long mode */, { 4, true, CR0_PE | CR0_PG, 0x1000, CR4_PAE, EFER_LME | EFER_LMA, CR4_PAE | CR4_PCIDE, -1 },
		{ 4, true, CR0_PE | CR0_PG, 0x1001, CR4_PAE, EFER_LME | EFER_LMA, CR4_PAE | CR4_PCIDE, VEC_GP } /* CR3[11:0] not 0 */, { 4, true, CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 0, VEC_GP },
		{ 4, true, CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, CR4_PAE | CR4_LA57, VEC_GP }, { 8, true, CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 15, -1 },
		{ 8, true, CR0_PE | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 16, VEC_GP }, { 8, false, CR0_PE, 0, 0, 0, 0, VEC_UD }, { 1, false, CR0_PE, 0, 0, 0, 0, VEC_UD }, { 5, false, CR0_PE, 0, 0, 0, 0, VEC_UD },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct box *b = rows[i].wide ? box_create_long(0) : box_create();
		char what[48];
		b->cpu.cr0 = rows[i].cr0 | CR0_ET, b->cpu.cr3 = rows[i].cr3, b->cpu.cr4 = rows[i].cr4, b->cpu.efer = rows[i].efer;
		b->cpu.reg[REG_AX] = rows[i].value;
		unsigned before = b->port.context_changes;
		snprintf(what, sizeof what, "mov cr%u, row %u", rows[i].number, i);
		expect(box_run(b, sys_mov_to_cr, (struct sys_operands){ .reg = rows[i].number, .rm = REG_AX }), rows[i].vector, rows[i].vector == VEC_UD ? -1 : 0, what);
		if (rows[i].vector < 0 && rows[i].number != 8)
			CU_ASSERT_TRUE(b->port.context_changes > before);
		if (rows[i].number == 3 && rows[i].vector < 0) {
			CU_ASSERT_EQUAL(b->port.last_no_flush, rows[i].value >> 63);
			CU_ASSERT_EQUAL(b->cpu.cr3, rows[i].value & ~(1ull << 63));
		}
		box_destroy(b);
	}
}

/* SDM 3A 9.8.5: LMA follows PG when LME is set; 64-bit mode begins with the far jump. */
static void test_enter_long_mode(void)
{
	struct box *b = box_create();
	struct cpu *c = &b->cpu;
	c->reg[REG_AX] = CR4_PAE;
	box_run(b, sys_mov_to_cr, (struct sys_operands){ .reg = 4, .rm = REG_AX });
	c->reg[REG_CX] = 0xc0000080, c->reg[REG_AX] = EFER_LME | EFER_SCE, c->reg[REG_DX] = 0;
	expect(box_run(b, sys_wrmsr, (struct sys_operands){ 0 }), -1, 0, "wrmsr EFER");
	CU_ASSERT_FALSE(cpu_long_mode(c));
	c->reg[REG_AX] = CR0_PE | CR0_PG;
	expect(box_run(b, sys_mov_to_cr, (struct sys_operands){ .reg = 0, .rm = REG_AX }), -1, 0, "paging on");
	CU_ASSERT_TRUE(cpu_long_mode(c));
	CU_ASSERT_EQUAL(c->code_size, 4);
	expect(box_run(b, sys_far_jmp, (struct sys_operands){ .imm2 = LONG0, .imm = 0x9000 }), -1, 0, "to 64-bit code");
	CU_ASSERT_EQUAL(c->code_size, 8);
	c->reg[REG_CX] = 0xc0000080, c->reg[REG_AX] = EFER_SCE;
	expect(box_run(b, sys_wrmsr, (struct sys_operands){ 0 }), VEC_GP, 0, "LME off while paging");
	box_destroy(b);
}

/* SDM 4 table 2-2 and 2B WRMSR. */
static void test_msrs(void)
{
	static const struct { uint32_t msr; uint64_t value; bool ok; } rows[] = {
		{ 0xc0000082, 0xffff800000000000, true }, { 0xc0000082, 0x0000800000000000, false }, { 0xc0000100, 0x00007fffffffffff, true }, { 0xc0000101, 0x8000000000000000, false },
		{ 0xc0000102, 0xffffffffffffffff, true }, { 0xc0000103, 0xffffffff, true }, { 0xc0000103, 1ull << 32, false }, { 0xc0000084, 1ull << 32, false }, { 0xc0000080, 1, true },
		{ 0xc0000080, 2, false }, { 0x277, 0x0007040600070406, true }, { 0x277, 2, false }, { 0x277, 0x0300000000000000, false }, { 0x2ff, 0xc06, true }, { 0x2ff, 0x302, false }, { 0x200, 0x80000006, true },
		{ 0x200, 0x80000007, false }, { 0x20c, 0, false } /* six ranges */, { 0xfe, 0, false }, { 0x174, 0x8, true }, { 0x175, 0x1000000000000000, false }, { 0x12345, 0, false }, { 0x26f, 0x0606060606060606, true },
		{ 0x26f, 0x0606060606060602, false },
	};
	struct box *b = box_create();
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t back = 0;
		bool ok = msr_write(&b->cpu, rows[i].msr, rows[i].value);
		if (ok != rows[i].ok)
			printf("\n    msr %x = %llx", rows[i].msr, (unsigned long long)rows[i].value);
		CU_ASSERT_EQUAL(ok, rows[i].ok);
		if (rows[i].ok) {
			CU_ASSERT_TRUE(msr_read(&b->cpu, rows[i].msr, &back));
			CU_ASSERT_EQUAL(back, rows[i].value);
		}
	}
	uint64_t tsc;
	b->cpu.icount = 1000; /* no clock: instructions */
	msr_write(&b->cpu, 0x10, 5000000000);
	b->cpu.icount = 1007;
	CU_ASSERT_TRUE(msr_read(&b->cpu, 0x10, &tsc));
	CU_ASSERT_EQUAL(tsc, 5000000007);
	box_run(b, sys_rdtsc, (struct sys_operands){ 0 });
	CU_ASSERT_EQUAL(b->cpu.reg[REG_DX] << 32 | b->cpu.reg[REG_AX], 5000000007);
	box_set_ring(b, 3);
	b->cpu.cr4 = CR4_TSD;
	expect(box_run(b, sys_rdtsc, (struct sys_operands){ 0 }), VEC_GP, 0, "rdtsc under TSD");
	box_destroy(b);
}

static void test_cpuid(void)
{
	struct box *b = box_create();
	uint32_t r[4];
	cpuid_read(&b->cpu, 0, 0, r);
	CU_ASSERT_EQUAL(memcmp(&r[1], "Genu", 4) | memcmp(&r[3], "ineI", 4) | memcmp(&r[2], "ntel", 4), 0);
	static const struct { uint32_t leaf; unsigned out, bit; size_t feature; } rows[] = {
		{ 1, 2, 17, offsetof(struct cpu_features, pcid) }, { 7, 1, 7, offsetof(struct cpu_features, smep) }, { 7, 1, 20, offsetof(struct cpu_features, smap) }, { 7, 1, 10, offsetof(struct cpu_features, invpcid) },
		{ 0x80000001, 3, 20, offsetof(struct cpu_features, nx) }, { 0x80000001, 3, 29, offsetof(struct cpu_features, long_mode) }, { 1, 3, 13, offsetof(struct cpu_features, pge) },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (unsigned on = 0; on < 2; on++) {
			*((bool *)&b->features + rows[i].feature) = on;
			cpuid_read(&b->cpu, rows[i].leaf, 0, r);
			CU_ASSERT_EQUAL(r[rows[i].out] >> rows[i].bit & 1, on);
		}
	cpuid_read(&b->cpu, 0x80000008, 0, r);
	CU_ASSERT_EQUAL(r[0] & 0xff, 46);
	uint32_t last[4];
	cpuid_read(&b->cpu, 7, 0, last);
	cpuid_read(&b->cpu, 0x40000000, 0, r); /* above the last leaf: as the last basic one */
	CU_ASSERT_EQUAL(memcmp(last, r, sizeof r), 0);
	b->features.smap = false; /* what is not reported is not accepted */
	b->cpu.reg[REG_AX] = CR4_SMAP;
	expect(box_run(b, sys_mov_to_cr, (struct sys_operands){ .reg = 4, .rm = REG_AX }), VEC_GP, 0, "CR4.SMAP without the feature");
	expect(box_run(b, sys_stac, (struct sys_operands){ 0 }), VEC_UD, -1, "STAC without the feature");
	box_destroy(b);
}

/* ---------------------------------------------------------------- I/O, interrupt flag, hooks */
/* SDM 1 19.5.2: all bits of the ports touched must be 0, and the two bytes read must lie within the limit. */
static void test_io_bitmap(void)
{
	static const struct { uint8_t iopl; uint16_t base; uint8_t bits0, bits1; uint16_t port; uint8_t size; int vector; } rows[] = {
		{ 0, 0x68, 0, 0, 4, 1, -1 }, { 0, 0x68, 0x10, 0, 4, 1, VEC_GP }, { 3, 0x68, 0xff, 0xff, 4, 1, -1 }, { 0, 0x68, 0x20, 0, 4, 2, VEC_GP }, { 0, 0x68, 0, 1, 7, 2, VEC_GP }, { 0, 0x68, 0, 1, 7, 1, -1 },
		{ 0, 0x68, 0, 0, 0x138, 1, VEC_GP } /* byte 27h is the last: the second byte is outside */, { 0, 0x68, 0, 0, 0x130, 4, -1 }, { 0, 0xffff, 0, 0, 4, 1, VEC_GP },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct box *b = box_create();
		box_set_ring(b, 3);
		b->cpu.eflags |= (uint32_t)rows[i].iopl << 12;
		put(b, TSS_A + 102, rows[i].base, 2), put(b, TSS_A + 0x68, rows[i].bits0, 1), put(b, TSS_A + 0x69, rows[i].bits1, 1);
		b->io_value = 0x1000;
		b->cpu.reg[REG_DX] = rows[i].port;
		char what[32];
		snprintf(what, sizeof what, "in, row %u", i);
		expect(box_run(b, sys_in, (struct sys_operands){ .reg = REG_DX, .size = rows[i].size }), rows[i].vector, 0, what);
		if (rows[i].vector < 0)
			CU_ASSERT_EQUAL(b->cpu.reg[REG_AX], ((0x1000u + rows[i].port) & (rows[i].size == 4 ? ~0u : (1u << 8 * rows[i].size) - 1)));
		box_destroy(b);
	}
}

static void test_string_io(void)
{
	struct box *b = box_create();
	struct cpu *c = &b->cpu;
	c->reg[REG_DX] = 0x80, c->reg[REG_DI] = OPERAND, c->reg[REG_CX] = 40, b->io_value = 1;
	const struct sys_operands o = { .reg = REG_DX, .size = 2, .rep = 0xf3, .seg = SEG_DS };
	expect(box_run(b, sys_ins, o), -1, 0, "rep insw");
	CU_ASSERT_TRUE(c->reg[REG_CX] > 0 && c->rip == START); /* interruptible: not all at once */
	expect(box_run(b, sys_ins, o), -1, 0, "rep insw, the rest");
	CU_ASSERT_EQUAL(c->reg[REG_CX], 0);
	CU_ASSERT_EQUAL(c->rip, START + 2);
	CU_ASSERT_EQUAL(c->reg[REG_DI], OPERAND + 80);
	CU_ASSERT_EQUAL(get(b, OPERAND + 78, 2), 0x81);
	c->reg[REG_CX] = 5, c->reg[REG_DI] = 0x80000 - 6;
	flat_set_absent(&b->port, c, 0x80000);
	expect(box_run(b, sys_ins, o), VEC_PF, 2, "a fault in the fourth element");
	CU_ASSERT_EQUAL(c->reg[REG_CX], 2); /* SDM 2B REP: registers stand at the faulting element */
	CU_ASSERT_EQUAL(c->reg[REG_DI], 0x80000);
	c->eflags |= FLAG_DF;
	c->reg[REG_CX] = 2, c->reg[REG_SI] = OPERAND + 2;
	put(b, OPERAND, 0xbeef, 2);
	expect(box_run(b, sys_outs, o), -1, 0, "rep outsw, DF");
	CU_ASSERT_EQUAL(b->io_value, 0xbeef);
	CU_ASSERT_EQUAL(c->reg[REG_SI], OPERAND - 2);
	box_destroy(b);
}

static void test_interrupt_shadow(void)
{
	struct box *b = box_create();
	box_run(b, sys_sti, (struct sys_operands){ 0 });
	CU_ASSERT_TRUE(b->cpu.shadow_sti);
	CU_ASSERT_FALSE(cpu_interruptible(&b->cpu));
	b->cpu.shadow_sti = false;
	box_run(b, sys_sti, (struct sys_operands){ 0 }); /* SDM 2B STI: only when IF was 0 */
	CU_ASSERT_FALSE(b->cpu.shadow_sti);
	b->cpu.shadow_sti = true;
	box_run(b, sys_hlt, (struct sys_operands){ 0 });
	CU_ASSERT_EQUAL(b->cpu.stop, CPU_HALTED);
	CU_ASSERT_TRUE(cpu_interruptible(&b->cpu));
	cpu_interrupt(&b->cpu, 0x20);
	CU_ASSERT_EQUAL(b->cpu.stop, CPU_RUNNING);
	CU_ASSERT_EQUAL(get(b, b->cpu.reg[REG_SP], 4), START + 6); /* after HLT */
	box_destroy(b);
}

struct hook_log {
	unsigned calls;
	enum sensitive what;
	uint64_t addr, value;
	bool answer;
};

static bool hook(void *self, struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value)
{
	struct hook_log *l = self;
	(void)cpu;
	l->calls++;
	l->what = what, l->addr = addr, l->value = value;
	return l->answer;
}

static bool hook_deliver(void *self, struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2)
{
	(void)cpu, (void)error, (void)soft, (void)external, (void)cr2;
	((struct hook_log *)self)->calls += 100 + vector;
	return true;
}

/* isa/ports.h: what the VMM is asked, and that its answer is obeyed. */
static void test_hooks(void)
{
	struct box *b = box_create();
	struct hook_log log = { .answer = true };
	b->cpu.vmm = (struct vmm_port){ .self = &log, .sensitive = hook, .privileged = hook, .trap_set = SENS_BIT(SENS_CR3_WRITE) };
	b->cpu.reg[REG_AX] = 0x5000;
	expect(box_run(b, sys_mov_to_cr, (struct sys_operands){ .reg = 3, .rm = REG_AX }), -1, 0, "trapped mov cr3");
	CU_ASSERT_TRUE(log.calls == 1 && log.what == SENS_CR3_WRITE && log.addr == 0x5000 && b->cpu.cr3 == 0);
	expect(box_run(b, sys_clts, (struct sys_operands){ 0 }), -1, 0, "clts, not trapped");
	CU_ASSERT_EQUAL(log.calls, 1);
	log.answer = false;
	expect(box_run(b, sys_mov_to_cr, (struct sys_operands){ .reg = 3, .rm = REG_AX }), -1, 0, "trapped, not carried out");
	CU_ASSERT_EQUAL(b->cpu.cr3, 0x5000);
	box_set_ring(b, 1); /* a deprivileged kernel */
	log = (struct hook_log){ .answer = true };
	put(b, OPERAND, 0x3ff, 2), put(b, OPERAND + 2, 0x12345678, 4);
	expect(box_run(b, sys_lgdt, (struct sys_operands){ .seg = SEG_ES, .offset = OPERAND, .memory = true }), -1, 0, "lgdt at ring 1 with a VMM");
	CU_ASSERT_TRUE(log.calls == 1 && log.what == SENS_LGDT && log.addr == 0x12345678 && log.value == 0x3ff && b->cpu.gdtr.base == GDT);
	log.answer = false;
	expect(box_run(b, sys_cli, (struct sys_operands){ 0 }), VEC_GP, 0, "the VMM declines");
	log.calls = 0;
	b->cpu.vmm.deliver = hook_deliver;
	uint64_t rip = b->cpu.rip;
	cpu_deliver(&b->cpu, VEC_UD, -1, false, false, 0);
	CU_ASSERT_TRUE(log.calls == 106 && b->cpu.rip == rip && b->cpu.cpl == 1);
	box_destroy(b);
}

/* isa/event.h: the stream of a ring 3 system call and its return. */
static void test_events(void)
{
	struct box *b = box_create();
	put(b, IDT + 8 * 0x80, gate(CODE0, 0x5000, 0xee, 0), 8);
	box_set_ring(b, 3);
	b->cpu.eflags |= FLAG_IF;
	cpu_state_emit(&b->cpu);
	b->consumer = (struct event_consumer){ box_record, b, NULL };
	event_sink_attach(&b->sink, &b->consumer);
	box_run(b, sys_int_n, (struct sys_operands){ .imm = 0x80 });
	box_run(b, sys_iret, (struct sys_operands){ 0 });
	event_drain(&b->sink);
	static const struct { uint8_t kind; uint32_t id; } want[] = { { EV_SENSITIVE, SENS_INT_N }, { EV_EXCEPTION, 0x80 }, { EV_STATE, 0 }, { EV_SENSITIVE, SENS_IRET }, { EV_STATE, 3 | 1 << 3 } };
	unsigned next = 0, stores = 0;
	for (unsigned i = 0; i < b->seen_count; i++) {
		stores += b->seen[i].kind == EV_STORE && b->seen[i].addr >= STACK0 - 20 && b->seen[i].addr < STACK0;
		if (b->seen[i].kind == EV_LOAD || b->seen[i].kind == EV_STORE)
			continue;
		CU_ASSERT_TRUE(next < 5 && b->seen[i].kind == want[next].kind && b->seen[i].id == want[next].id);
		next++;
	}
	CU_ASSERT_EQUAL(next, 5);
	CU_ASSERT_EQUAL(stores, 5);
	box_destroy(b);
}

/* SDM 3A table 9-1. */
static void test_reset(void)
{
	struct box *b = box_create();
	cpu_reset(&b->cpu);
	CU_ASSERT_EQUAL(b->cpu.rip, 0xfff0);
	CU_ASSERT_EQUAL(b->cpu.seg[SEG_CS].selector, 0xf000);
	CU_ASSERT_EQUAL(b->cpu.seg[SEG_CS].base, 0xffff0000);
	CU_ASSERT_EQUAL(b->cpu.cr0, 0x60000010);
	CU_ASSERT_EQUAL(cpu_eflags(&b->cpu), 2);
	CU_ASSERT_EQUAL(b->cpu.dr[6], 0xffff0ff0);
	CU_ASSERT_EQUAL(b->cpu.dr[7], 0x400);
	CU_ASSERT_EQUAL(b->cpu.code_size, 2);
	b->cpu.reg[REG_AX] = 0x11; /* real mode: no checks, base = selector * 16; then PE */
	b->cpu.reg[REG_BX] = 0x1234;
	expect(box_run(b, sys_mov_to_sreg, (struct sys_operands){ .reg = SEG_DS, .rm = REG_BX }), -1, 0, "mov ds in real mode");
	CU_ASSERT_EQUAL(b->cpu.seg[SEG_DS].base, 0x12340);
	b->cpu.seg[SEG_CS] = (struct segment){ 0, 0x9b, 0xffff, 0 };
	b->cpu.gdtr = (struct descriptor_table){ GDT, 0xff };
	expect(box_run(b, sys_lmsw, (struct sys_operands){ .rm = REG_AX }), -1, 0, "lmsw");
	expect(box_run(b, sys_far_jmp, (struct sys_operands){ .imm2 = CODE0, .imm = 0x54321 }), -1, 0, "jmp to protected mode");
	CU_ASSERT_EQUAL(b->cpu.code_size, 4);
	CU_ASSERT_EQUAL(b->cpu.rip, 0x54321);
	box_destroy(b);
}

/* SDM 2A BOUND, ENTER. */
static void test_bound_enter(void)
{
	struct box *b = box_create();
	struct cpu *c = &b->cpu;
	put(b, OPERAND, (uint32_t)-5, 4), put(b, OPERAND + 4, 10, 4);
	static const struct { int32_t index; int vector; } rows[] = { { -5, -1 }, { -6, VEC_BR }, { 10, -1 }, { 11, VEC_BR } };
	for (unsigned i = 0; i < 4; i++) {
		c->reg[REG_AX] = (uint32_t)rows[i].index;
		expect(box_run(b, sys_bound, (struct sys_operands){ .reg = REG_AX, .seg = SEG_DS, .offset = OPERAND, .memory = true }), rows[i].vector, -1, "bound");
	}
	c->reg[REG_BP] = STACK1;
	put(b, STACK1 - 4, 0xaaaa, 4), put(b, STACK1 - 8, 0xbbbb, 4);
	expect(box_run(b, sys_enter, (struct sys_operands){ .imm = 0x20, .imm2 = 3 }), -1, 0, "enter 20h, 3");
	const uint32_t frame[] = { STACK1, 0xaaaa, 0xbbbb, STACK0 - 4 };
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(get(b, STACK0 - 4 - 4 * i, 4), frame[i]);
	CU_ASSERT_EQUAL(c->reg[REG_BP], STACK0 - 4);
	CU_ASSERT_EQUAL(c->reg[REG_SP], STACK0 - 16 - 0x20);
	box_destroy(b);
}

int main(void)
{
	static CU_TestInfo tests[] = {
		{ "reset and real mode", test_reset }, { "segment loads", test_segment_load }, { "segment limits", test_segment_limits }, { "far jumps", test_far_jump }, { "call gates", test_call_gate },
		{ "call gate faults", test_call_gate_faults }, { "exception frames", test_deliver_frames }, { "faults of delivery", test_deliver_faults }, { "int n", test_int_n },
		{ "stack switch faults", test_deliver_stack_faults }, { "double faults", test_double_fault }, { "triple faults", test_triple_fault }, { "page fault on the stack", test_stack_page_fault },
		{ "flags by privilege", test_flag_masks }, { "iret faults", test_iret_faults }, { "64-bit delivery", test_long_delivery }, { "64-bit faults", test_long_faults },
		{ "64-bit call gates", test_long_call_gate }, { "syscall and sysenter", test_fast_calls }, { "task switches", test_task_switch }, { "task switch faults", test_task_faults },
		{ "lar, lsl, verr, verw", test_queries }, { "arpl", test_arpl }, { "table registers", test_table_registers }, { "control registers", test_control_registers },
		{ "entering long mode", test_enter_long_mode }, { "msrs", test_msrs }, { "cpuid", test_cpuid }, { "io bitmap", test_io_bitmap }, { "string io", test_string_io },
		{ "interrupt shadows", test_interrupt_shadow }, { "vmm hooks", test_hooks }, { "events", test_events }, { "bound and enter", test_bound_enter }, CU_TEST_INFO_NULL,
	};
	static CU_SuiteInfo suites[] = { { "isa system", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };
	CU_initialize_registry();
	CU_register_suites(suites);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
