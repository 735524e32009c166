/*
 * Proves that queries, table and control registers, MSRs, CPUID, I/O permissions, interrupt shadows, reset, and the hooks and events of system instructions do what the manuals and
 * the contract headers say: each expectation is written from the section of the Intel SDM (or the header) that is named beside it.
 */
#include "isa_box.h"

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

static bool pdptes_below_2000(void *self, const struct cpu *cpu, uint64_t cr3)
{
	(void)self, (void)cpu;
	return cr3 < 0x2000;
}

/* SDM 3A 4.4.1: MOV to CR0, CR3 and CR4 raise #GP(0) where they would load PDPTEs with reserved bits set, and only there. */
static void test_pdptes(void)
{
	static const struct { uint8_t number; uint64_t cr0, cr3, cr4, value; int vector; } rows[] = {
		{ 3, CR0_PE | CR0_PG, 0, CR4_PAE, 0x1000, -1 }, { 3, CR0_PE | CR0_PG, 0, CR4_PAE, 0x2000, VEC_GP }, { 3, CR0_PE | CR0_PG, 0, 0, 0x2000, -1 } /* not PAE */,
		{ 3, CR0_PE, 0, CR4_PAE, 0x2000, -1 } /* paging off */, { 0, CR0_PE, 0x2000, CR4_PAE, CR0_PE | CR0_PG, VEC_GP }, { 0, CR0_PE, 0x1000, CR4_PAE, CR0_PE | CR0_PG, -1 },
		{ 0, CR0_PE | CR0_PG, 0x2000, CR4_PAE, CR0_PE | CR0_PG | CR0_WP, -1 } /* WP loads none */, { 0, CR0_PE | CR0_PG, 0x2000, CR4_PAE, CR0_PE | CR0_PG | CR0_CD, VEC_GP },
		{ 4, CR0_PE | CR0_PG, 0x2000, 0, CR4_PAE, VEC_GP }, { 4, CR0_PE | CR0_PG, 0x2000, CR4_PAE, CR4_PAE | CR4_PGE, VEC_GP }, { 4, CR0_PE | CR0_PG, 0x2000, CR4_PAE, CR4_PAE | CR4_TSD, -1 },
		{ 4, CR0_PE | CR0_PG, 0x2000, CR4_PAE, CR4_PAE | CR4_PSE, VEC_GP }, { 4, CR0_PE | CR0_PG, 0x2000, CR4_PAE, CR4_PAE | CR4_SMEP, VEC_GP },
		{ 4, CR0_PE | CR0_PG, 0x2000, CR4_PAE, CR4_PAE | CR4_SMAP, -1 },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct box *b = box_create();
		char what[48];
		b->cpu.cr0 = rows[i].cr0 | CR0_ET, b->cpu.cr3 = rows[i].cr3, b->cpu.cr4 = rows[i].cr4;
		b->cpu.mem.pdptes_valid = pdptes_below_2000;
		b->cpu.reg[REG_AX] = rows[i].value;
		snprintf(what, sizeof what, "PDPTEs, mov cr%u, row %u", rows[i].number, i);
		expect(box_run(b, sys_mov_to_cr, (struct sys_operands){ .reg = rows[i].number, .rm = REG_AX }), rows[i].vector, 0, what);
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
	c->tr.attributes = SEGA_P | 3;
	expect(box_run(b, sys_mov_to_cr, (struct sys_operands){ .reg = 0, .rm = REG_AX }), VEC_GP, 0, "a 16-bit TSS (SDM 2B MOV to CR0)");
	c->tr.attributes = SEGA_P | 11;
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
		{ 0x1b, 0xfee00000ull | 1ull << 45, true }, { 0x1b, 0xfee00000ull | 1ull << 46, false }, { 0x201, 1ull << 45 | 0x800, true }, { 0x201, 1ull << 46 | 0x800, false }, /* MAXPHYADDR is 46 */
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
	b->consumer = (struct event_consumer){ box_record, b, NULL, NULL };
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
		{ "reset and real mode", test_reset },
		{ "lar, lsl, verr, verw", test_queries },
		{ "arpl", test_arpl },
		{ "table registers", test_table_registers },
		{ "control registers", test_control_registers }, { "PDPTEs", test_pdptes },
		{ "entering long mode", test_enter_long_mode },
		{ "msrs", test_msrs },
		{ "cpuid", test_cpuid },
		{ "io bitmap", test_io_bitmap },
		{ "string io", test_string_io },
		{ "interrupt shadows", test_interrupt_shadow },
		{ "vmm hooks", test_hooks },
		{ "events", test_events },
		{ "bound and enter", test_bound_enter }, CU_TEST_INFO_NULL,
	};
	static CU_SuiteInfo suites[] = { { "isa control", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };
	CU_initialize_registry();
	CU_register_suites(suites);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
