/*
 * A processor in a box, for tests of system instructions: 1 MiB of flat memory with a GDT, IDT, LDT and TSSs, and a way to run one sys_fn as an engine would.
 *
 * Invariant: box_run() leaves rip at the instruction's start when it faults; nothing else of the state is touched between tests, each makes its own box.
 */
#ifndef TESTS_ISA_BOX_H
#define TESTS_ISA_BOX_H
#include "flat_port.h"
#include "isa/block.h"
#include "isa/system.h"
#include <CUnit/Basic.h>
#include <stddef.h>
#include <stdlib.h>

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

static inline uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

static inline uint64_t gate(uint16_t selector, uint32_t offset, unsigned access, unsigned parameters)
{
	return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)parameters << 32 | (uint64_t)access << 40 | (uint64_t)(offset >> 16) << 48;
}

static inline void put(struct box *b, uint64_t at, uint64_t value, unsigned size)
{
	memcpy(b->phys.bytes + at, &value, size);
}

static inline uint64_t get(const struct box *b, uint64_t at, unsigned size)
{
	uint64_t v = 0;
	memcpy(&v, b->phys.bytes + at, size);
	return v;
}

static inline void describe(struct box *b, unsigned selector, uint64_t raw)
{
	put(b, GDT + (selector & 0xfff8), raw, 8);
}

static inline void box_fill_gdt(struct box *b)
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

static inline void box_record(void *self, const struct event *first, const struct event *end)
{
	struct box *b = self;
	for (; first < end && b->seen_count < 256; first++)
		b->seen[b->seen_count++] = *first;
}

static inline uint32_t box_in(void *self, struct cpu *cpu, uint16_t port, unsigned size)
{
	(void)cpu, (void)size;
	return ((struct box *)self)->io_value + port;
}

static inline void box_out(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value)
{
	(void)cpu, (void)port, (void)size;
	((struct box *)self)->io_value = value;
}

/* 32-bit protected mode, ring 0, flat; no paging. */
static inline struct box *box_create(void)
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

static inline void box_destroy(struct box *b)
{
	phys_destroy(&b->phys);
	event_sink_destroy(&b->sink);
	free(b->block);
	free(b);
}

/* Ring 1 or 3 as if returned to; IOPL stays 0. */
static inline void box_set_ring(struct box *b, unsigned ring)
{
	if (ring == 0)
		return;
	segment_set_flat(&b->cpu, SEG_CS, ring == 1 ? CODE1 | 1 : CODE3, ring, true, 4);
	segment_set_flat(&b->cpu, SEG_SS, ring == 1 ? DATA1 | 1 : DATA3, ring, false, 4);
	cpu_set_cpl(&b->cpu, ring);
	b->cpu.reg[REG_SP] = ring == 1 ? STACK1 : STACK3;
}

/* 64-bit mode, ring 0 or 3, 64-bit TSS and IDT. */
static inline struct box *box_create_long(unsigned ring)
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
static inline struct outcome box_run(struct box *b, sys_fn *fn, struct sys_operands o)
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

static inline void expect(struct outcome got, int vector, int64_t error, const char *what)
{
	bool ok = got.vector == vector && (vector < 0 || got.error == error);
	if (!ok)
		printf("\n    %s: vector %d error %lld, expected %d error %lld", what, got.vector, (long long)got.error, vector, (long long)error);
	CU_ASSERT_TRUE(ok);
}

static inline unsigned tss_type(const struct box *b, unsigned selector)
{
	return get(b, GDT + selector + 5, 1) & 15;
}
#endif
