/*
 * Proves that segment loads, far transfers, gates, exceptions, task switches and fast system calls do what the manuals say: each expectation is written from the section of the
 * Intel SDM that is named beside it, not from the code. tests/test_isa_rings.c compares the same ground with QEMU.
 */
#include "isa_box.h"

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
	box_destroy(b);
}

/* SDM 2B SYSENTER, SYSEXIT; SYSRET from ring 0 that never was anywhere else. */
static void test_fast_calls_by_msrs(void)
{
	struct box *b = box_create_long(3);
	struct cpu *c = &b->cpu;
	c->eflags |= FLAG_IF;
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
		CU_ASSERT_EQUAL(!!(get(b, TSS_A + 36, 4) & FLAG_RF), how == 2); /* a fault's image has RF (SDM 3B 17.3.1.1) */
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

int main(void)
{
	static CU_TestInfo tests[] = {
		{ "segment loads", test_segment_load },
		{ "segment limits", test_segment_limits },
		{ "far jumps", test_far_jump },
		{ "call gates", test_call_gate },
		{ "call gate faults", test_call_gate_faults },
		{ "exception frames", test_deliver_frames },
		{ "faults of delivery", test_deliver_faults },
		{ "int n", test_int_n },
		{ "stack switch faults", test_deliver_stack_faults },
		{ "double faults", test_double_fault },
		{ "triple faults", test_triple_fault },
		{ "page fault on the stack", test_stack_page_fault },
		{ "flags by privilege", test_flag_masks },
		{ "iret faults", test_iret_faults },
		{ "64-bit delivery", test_long_delivery },
		{ "64-bit faults", test_long_faults },
		{ "64-bit call gates", test_long_call_gate },
		{ "syscall and sysret", test_fast_calls }, { "sysenter and sysexit", test_fast_calls_by_msrs },
		{ "task switches", test_task_switch },
		{ "task switch faults", test_task_faults }, CU_TEST_INFO_NULL,
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
