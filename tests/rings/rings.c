/*
 * Guest side of tests/test_isa_rings.c: runs segment loads, far transfers, gates, returns and privileged instructions over descriptors of every type and privilege, in rings
 * 0, 1 and 3, and writes what happened to port E9h, one line a probe. Nothing here knows what is right: the same image runs on machines that are compared.
 */
#include "probe.h"

enum { LANDING = 0x5000, STACK0 = 0x20000, STACK1 = 0x22000, STACK3 = 0x24000, PROBE0 = 0x26000, OUTER = 0x28000 };
enum { CODE0 = 0x08, DATA0 = 0x10, CODE1 = 0x18, DATA1 = 0x20, CODE3 = 0x28, DATA3 = 0x30, CONFORM0 = 0x38, TSS_A = 0x40, VARY = 0x48, LDT = 0x50, GATE = 0x58, DATA_RO = 0x60, ABSENT = 0x68, TSS_B = 0x70,
	CONFORM3 = 0x78, SMALL = 0x80, LAST = 0x88, TSS_TRAP = 0x90 /* four: for vectors 10 to 13 */, END = 0xb0, LDT_DATA3 = 4, LDT_CODE3 = 12 };

extern uint32_t probe_cs, probe_ss, probe_eip, probe_esp, probe_eflags, probe_eax, probe_ebx, probe_ecx, probe_edx, *trap_frame, trap_ss, landing_offset;
extern struct { uint32_t offset; uint16_t selector; } far_pointer;
extern uint8_t stubs[], stub_back[], task_stubs[];
extern uint8_t scratch[];
void probe_run(void);
int main(void);

static uint64_t gdt[32], idt[128], ldt[4];
static uint32_t tss[64], tss_b[64], tss_trap[4][26];

static uint64_t gate(uint16_t selector, uint32_t offset, unsigned access, unsigned parameters)
{
	return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)parameters << 32 | (uint64_t)access << 40 | (uint64_t)(offset >> 16) << 48;
}

/* ---------------------------------------------------------------- one probe */
static void tables_fill(void)
{
	gdt[CODE0 / 8] = descriptor(0, 0xfffff, 0x9b, 0xc);
	gdt[DATA0 / 8] = descriptor(0, 0xfffff, 0x93, 0xc);
	gdt[CODE1 / 8] = descriptor(0, 0xfffff, 0xbb, 0xc);
	gdt[DATA1 / 8] = descriptor(0, 0xfffff, 0xb3, 0xc);
	gdt[CODE3 / 8] = descriptor(0, 0xfffff, 0xfb, 0xc);
	gdt[DATA3 / 8] = descriptor(0, 0xfffff, 0xf3, 0xc);
	gdt[CONFORM0 / 8] = descriptor(0, 0xfffff, 0x9f, 0xc);
	gdt[CONFORM3 / 8] = descriptor(0, 0xfffff, 0xff, 0xc);
	gdt[TSS_A / 8] = descriptor((uint32_t)tss, 0x67 + 34, 0x8b, 0);
	gdt[TSS_B / 8] = descriptor((uint32_t)tss_b, 0x67, 0x89, 0);
	gdt[LDT / 8] = descriptor((uint32_t)ldt, sizeof ldt - 1, 0x82, 0);
	gdt[DATA_RO / 8] = descriptor(0, 0xfffff, 0x91, 0xc);
	gdt[ABSENT / 8] = descriptor(0, 0xfffff, 0x73, 0xc);
	gdt[SMALL / 8] = descriptor(0, 0x4fff, 0x9b, 0x4);
	gdt[GATE / 8] = 0;
	gdt[VARY / 8] = 0;
	ldt[0] = descriptor(0, 0xfffff, 0xf3, 0xc);
	ldt[1] = descriptor(0, 0xfffff, 0xfb, 0xc);
	for (unsigned i = 0; i < 64; i++)
		tss[i] = tss_b[i] = 0;
	tss[1] = STACK0, tss[2] = DATA0, tss[3] = STACK1, tss[4] = DATA1 | 1;
	tss[25] = 0x68 << 16;
	tss[64 - 30] = 0xffffffff; /* end of the bitmap */
}

static void probe_prepare(unsigned ring, const void *code)
{
	static const uint16_t code_of[] = { CODE0, CODE1 | 1, 0, CODE3 | 3 }, data_of[] = { DATA0, DATA1 | 1, 0, DATA3 | 3 };
	static const uint32_t stack_of[] = { PROBE0, STACK1, 0, STACK3 };
	probe_cs = code_of[ring], probe_ss = data_of[ring], probe_esp = stack_of[ring], probe_eip = (uint32_t)code, probe_eflags = 2;
	probe_eax = probe_ebx = probe_ecx = probe_edx = 0;
	far_pointer.offset = LANDING;
	far_pointer.selector = 0;
	for (unsigned i = 0; i < 16; i++)
		((uint32_t *)(STACK0 - 64))[i] = ((uint32_t *)(STACK1 - 64))[i] = ((uint32_t *)(STACK3 - 64))[i] = ((uint32_t *)(PROBE0 - 64))[i] = 0;
	for (unsigned i = 0; i < 4; i++)
		((uint32_t *)STACK3)[i] = ((uint32_t *)STACK1)[i] = ((uint32_t *)PROBE0)[i] = 0xa0 + i;
}

/* Frame: gs fs es ds, edi esi ebp esp ebx edx ecx eax, vector error eip cs eflags [esp ss]. */
static void probe_report(const char *name, unsigned ring, uint32_t a, uint32_t b)
{
	probe_run();
	const uint32_t *f = trap_frame;
	uint32_t cs = f[15] & 0xffff, from_outer = (cs & 3) != 0, sp = from_outer ? f[17] : (uint32_t)&f[17], ss = from_outer ? f[18] & 0xffff : trap_ss & 0xffff;
	put_text(name);
	put(' ');
	put_hex(ring), put_hex(a), put_hex(b);
	put('>');
	put_hex(f[12]), put_hex(f[13]), put_hex(f[14] == probe_eip ? 0 : f[14] - LANDING < 0x1000 ? f[14] : f[14] - probe_eip + 0x100000), put_hex(cs), put_hex(f[16] & ~0x10000u), put_hex(ss), put_hex(sp);
	put('=');
	put_hex(f[11]), put_hex(f[8]), put_hex(f[3] & 0xffff), put_hex(f[2] & 0xffff), put_hex(f[1] & 0xffff);
	put(':');
	if (sp >= 0x10000 && sp < 0x30000)
		for (unsigned i = 0; i < 7; i++) {
			uint32_t v = ((uint32_t *)sp)[i];
			put_hex(v - (uint32_t)probe_eip < 64 ? 0x10000 + v - probe_eip : v);
		}
	put('\n');
}

/* ---------------------------------------------------------------- families */
static const uint8_t rings[] = { 0, 1, 3 };
#define RINGS(r) (unsigned ri = 0, r = 0; ri < 3 && (r = rings[ri], 1); ri++)
#define DECLARE(name) extern const uint8_t code_##name[]

/* A descriptor of any access byte that is usable if it is anything: gates lead to CODE0, segments are flat (expand-down ones from 4 KiB up), tables small. */
static uint64_t vary(unsigned access)
{
	unsigned type = access & 15;
	if (access & 16)
		return descriptor(0, (access & 12) == 4 ? 0 : 0xfffff, access, 0xc);
	if (type == 4 || type == 5 || type == 6 || type == 7 || type == 12 || type == 14 || type == 15)
		return gate(type == 5 ? TSS_A : CODE0, LANDING, access, 2);
	return descriptor((uint32_t)ldt, sizeof ldt - 1, access, 0);
}

static void selector_family(void)
{
	DECLARE(mov_ds); DECLARE(mov_ss); DECLARE(lar); DECLARE(lsl); DECLARE(verr); DECLARE(verw); DECLARE(ljmp); DECLARE(lcall); DECLARE(lldt);
	static const struct { const char *name; const uint8_t *code; } ops[] = { { "mov_ds", code_mov_ds }, { "mov_ss", code_mov_ss }, { "lar", code_lar }, { "lsl", code_lsl }, { "verr", code_verr },
		{ "verw", code_verw }, { "ljmp", code_ljmp }, { "lcall", code_lcall }, { "lldt", code_lldt } };
	for (unsigned o = 0; o < sizeof ops / sizeof ops[0]; o++)
		for RINGS(r)
			for (unsigned access = 0; access < 256; access++)
				for (unsigned rpl = 0; rpl < 4; rpl += access & 1 ? 3 : 1) {
					tables_fill();
					gdt[VARY / 8] = vary(access);
					/* Available TSSs and task gates have families of their own. */
					if ((o == 6 || o == 7) && !(access & 16) && ((access & 7) == 1 || (access & 15) == 5))
						continue;
					probe_prepare(r, ops[o].code);
					probe_eax = VARY | rpl, probe_ebx = 0xbbbbbbbb;
					far_pointer.selector = (uint16_t)(VARY | rpl);
					probe_report(ops[o].name, r, access, rpl);
					__asm__ volatile("lldt %w0" : : "r"(LDT));
				}
}

/* Named selectors, in and out of their tables. Accesses through them are not probed: QEMU looks at no limit and no type there. */
static const uint16_t selectors[] = { 0, 3, CODE0, CODE0 | 3, DATA0, DATA0 | 1, CODE1 | 1, CODE1, DATA1 | 1, DATA1, CODE3 | 3, CODE3, DATA3 | 3, DATA3, CONFORM0, CONFORM0 | 3, CONFORM3, CONFORM3 | 3, TSS_A, LDT,
	DATA_RO, ABSENT, ABSENT | 3, SMALL, LDT_DATA3 | 3, LDT_DATA3, LDT_CODE3 | 3, LDT_CODE3, 0x24, 0x27, LAST, END, 0xfff8, 0xffff };
#define SELECTORS (sizeof selectors / sizeof selectors[0])

static void named_family(void)
{
	DECLARE(mov_es); DECLARE(mov_fs); DECLARE(mov_ss); DECLARE(pop_ds); DECLARE(les); DECLARE(lss); DECLARE(ljmp); DECLARE(lcall); DECLARE(lar16); DECLARE(lldt);
	static const struct { const char *name; const uint8_t *code; } ops[] = { { "mov_es", code_mov_es }, { "mov_fs", code_mov_fs }, { "Mov_ss", code_mov_ss }, { "pop_ds", code_pop_ds }, { "les", code_les },
		{ "lss", code_lss }, { "Ljmp", code_ljmp }, { "Lcall", code_lcall }, { "lar16", code_lar16 }, { "Lldt", code_lldt } };
	for (unsigned o = 0; o < sizeof ops / sizeof ops[0]; o++)
		for RINGS(r)
			for (unsigned i = 0; i < SELECTORS; i++) {
				tables_fill();
				probe_prepare(r, ops[o].code);
				probe_eax = selectors[i], probe_ebx = 0xbbbbbbbb, probe_ecx = OUTER + 64;
				far_pointer.selector = selectors[i];
				if (o == 5)
					far_pointer.offset = OUTER;
				probe_report(ops[o].name, r, selectors[i], 0);
				__asm__ volatile("lldt %w0" : : "r"(LDT));
			}
}

static void call_gate_family(void)
{
	DECLARE(ljmp); DECLARE(lcall);
	for (unsigned jump = 0; jump < 2; jump++)
		for RINGS(r)
			for (unsigned i = 0; i < SELECTORS; i++)
				for (unsigned wide = 0; wide < 2; wide++)
					for (unsigned parameters = 0; parameters < 4; parameters += 3) {
						tables_fill();
						gdt[GATE / 8] = gate(selectors[i], LANDING, wide ? 0xec : 0xe4, parameters);
						probe_prepare(r, jump ? code_ljmp : code_lcall);
						far_pointer.selector = GATE | 3;
						probe_report(jump ? "gate_jmp" : "gate_call", r, selectors[i], wide << 8 | parameters);
					}
}

/* Stack switches with any SS and TSS limit. */
static void stack_family(void)
{
	DECLARE(lcall); DECLARE(int40);
	for (unsigned trap = 0; trap < 2; trap++)
		for (unsigned i = 0; i < SELECTORS; i++)
			for (unsigned r = 1; r < 4; r += 2) {
				/* To ring 1 from ring 3, so that ring 0's stack stays good for the handlers. */
				tables_fill();
				tss[4] = selectors[i];
				gdt[GATE / 8] = gate(CODE1, LANDING, 0xec, 1);
				idt[0x40] = gate(CODE1, LANDING, 0xee, 0);
				probe_prepare(r, trap ? code_int40 : code_lcall);
				far_pointer.selector = GATE | 3;
				probe_report(trap ? "stack_int" : "stack_call", r, selectors[i], 0);
			}
}

/* Task switches four ways, with every selector in every register of the new task. Faults of the new task go to tasks of their own, as SDM 3A 6.12.2 advises: its stack may not be there. */
static void task_gates(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t *t = tss_trap[i];
		for (unsigned k = 0; k < 26; k++)
			t[k] = 0;
		t[8] = (uint32_t)task_stubs + 16 * i, t[9] = 2, t[14] = PROBE0 + 0x1000, t[19] = CODE0;
		t[18] = t[20] = t[21] = t[22] = t[23] = DATA0;
		gdt[TSS_TRAP / 8 + i] = descriptor((uint32_t)t, 0x67, 0x89, 0);
		idt[10 + i] = gate((uint16_t)(TSS_TRAP + 8 * i), 0, 0x85, 0);
	}
}

static void trap_gates(void)
{
	for (unsigned v = 0; v < 32; v++)
		idt[v] = gate(CODE0, (uint32_t)stubs + 16 * v, v == 3 || v == 4 ? 0xee : 0x8e, 0);
	idt[0x30] = gate(CODE0, (uint32_t)stub_back, 0xee, 0);
}

/* What a task's TSS holds of it. RF and the low bits of an EIP near LANDING are left out: QEMU does not set RF there, and a task whose first segment load faults gets an EIP
 * with the low bits of the old one (SDM 3A 7.3: it is the new task's first instruction; tests/test_isa_system.c looks at that). */
static void put_task(const uint32_t *t)
{
	put_hex(t[0]), put_hex(t[8] - probe_eip < 64 ? 0x10000 + t[8] - probe_eip : t[8] / 4096 == LANDING / 4096 ? LANDING : t[8]), put_hex(t[9] & ~0x10000u), put_hex(t[10]), put_hex(t[14]), put_hex(t[17]);
	for (unsigned i = 18; i < 25; i++)
		put_hex(t[i] & 0xffff);
}

static void task_probe(const char *name, const uint8_t *code, unsigned ring, unsigned how, uint32_t a, uint32_t b)
{
	gdt[GATE / 8] = gate(TSS_B, 0, 0xe5, 0);
	idt[0x40] = gate(TSS_B, 0, 0xe5, 0);
	if (ring)
		gdt[TSS_B / 8] |= 3ull << 45;
	probe_prepare(ring, code);
	far_pointer.selector = how == 1 ? GATE | 3 : TSS_B | ring;
	task_gates();
	probe_run();
	uint32_t tr, cr0, ldtr;
	__asm__ volatile("str %0; mov %%cr0, %1; sldt %2; clts" : "=r"(tr), "=r"(cr0), "=r"(ldtr));
	put_text(name);
	put(' ');
	put_hex(ring), put_hex(a), put_hex(b);
	put('>');
	const uint32_t *f = trap_frame;
	(tr & 0xffff) >= TSS_TRAP ? (put_hex(f[0]), put_hex(f[1])) : (put_hex(f[12]), put_hex(f[13]), put_hex(f[14]), put_hex(f[15] & 0xffff), put_hex(f[16] & ~0x10000u), put_hex(f[11]));
	put_hex(tr & 0xffff), put_hex(ldtr & 0xffff), put_hex(cr0 & 0x1f), put_hex(gdt[TSS_A / 8] >> 40 & 0xff), put_hex(gdt[TSS_B / 8] >> 40 & 0xff);
	put('=');
	put_task(tss);
	put(':');
	put_task(tss_b);
	put('\n');
	gdt[TSS_A / 8] &= ~(2ull << 40);
	__asm__ volatile("ltr %w0; lldt %w1" : : "r"(TSS_A), "r"(LDT));
	trap_gates();
}

static void task_family(void)
{
	DECLARE(ljmp); DECLARE(lcall); DECLARE(int40);
	static const uint8_t fields[] = { 24 /* LDT */, 19 /* CS */, 20 /* SS */, 21 /* DS */, 18 /* ES */, 9 /* EFLAGS */ };
	const struct { const char *name; const uint8_t *code; } ops[] = { { "task_jmp", code_ljmp }, { "task_gate", code_lcall }, { "task_call", code_lcall }, { "task_int", code_int40 } };
	for (unsigned o = 0; o < 4; o++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned to = 0; to < 4; to += 3)
				for (unsigned field = 0; field < sizeof fields; field++)
					for (unsigned i = 0; i < SELECTORS; i++) {
						tables_fill();
						tss_b[1] = STACK0, tss_b[2] = DATA0, tss_b[3] = STACK1, tss_b[4] = DATA1 | 1;
						tss_b[8] = LANDING, tss_b[9] = 0x8d7, tss_b[14] = OUTER;
						for (unsigned k = 0; k < 8; k++)
							tss_b[10 + k] = k == 4 ? OUTER : 0x200 + k;
						tss_b[18] = tss_b[20] = tss_b[21] = tss_b[22] = tss_b[23] = to ? DATA3 | 3 : DATA0;
						tss_b[19] = to ? CODE3 | 3 : CODE0;
						tss_b[24] = LDT;
						tss_b[fields[field]] = fields[field] == 9 ? (1u << (i & 15) | 2) & ~0x300u : selectors[i];
						task_probe(ops[o].name, ops[o].code, r, o, fields[field] << 4 | to, selectors[i]);
					}
	for (unsigned access = 0; access < 256; access += 1) /* the descriptor itself */
		for (unsigned limit = 0x66; limit < 0x68; limit++) {
			if (access & 16 || (access & 15) != 9)
				continue;
			tables_fill();
			tss_b[2] = DATA0, tss_b[1] = STACK0, tss_b[8] = LANDING, tss_b[14] = OUTER, tss_b[20] = DATA0, tss_b[19] = CODE0;
			gdt[TSS_B / 8] = descriptor((uint32_t)tss_b, limit, access, 0);
			task_probe("task_tss", code_ljmp, 0, 0, access, limit);
		}
}

static void idt_family(void)
{
	DECLARE(int40);
	for RINGS(r)
		for (unsigned access = 0; access < 256; access++) {
			if ((access & 31) == 5)
				continue; /* task gates */
			tables_fill();
			idt[0x40] = gate(CODE0, LANDING, access, 0);
			probe_prepare(r, code_int40);
			probe_eflags = 0x202 | 0x4000; /* IF, NT */
			probe_report("idt_type", r, access, 0);
		}
	for RINGS(r)
		for (unsigned i = 0; i < SELECTORS; i++) {
			tables_fill();
			idt[0x40] = gate(selectors[i], LANDING, 0xee, 0);
			probe_prepare(r, code_int40);
			probe_report("idt_code", r, selectors[i], 0);
		}
	idt[0x40] = 0;
}

static void return_family(void)
{
	DECLARE(retf); DECLARE(iret);
	static const uint16_t stacks[] = { 0, 3, DATA0, DATA1 | 1, DATA3 | 3, DATA3, DATA0 | 3, DATA_RO, ABSENT | 3, CODE3 | 3, LAST | 3, LDT_DATA3 | 3 };
	for (unsigned iret = 0; iret < 2; iret++)
		for RINGS(r)
			for (unsigned i = 0; i < SELECTORS; i++)
				for (unsigned j = 0; j < sizeof stacks / sizeof stacks[0]; j++) {
					tables_fill();
					probe_prepare(r, iret ? code_iret : code_retf);
					probe_eax = selectors[i], probe_ebx = stacks[j], probe_ecx = OUTER, probe_edx = iret ? 0x202 : LANDING;
					probe_report(iret ? "iret" : "retf", r, selectors[i], stacks[j]);
				}
}

/* EFLAGS through POPF and IRET at every IOPL. */
static void flags_family(void)
{
	DECLARE(popf); DECLARE(popf16); DECLARE(iret); DECLARE(pushf); DECLARE(cli); DECLARE(sti); DECLARE(iret16);
	static const uint16_t code_of[] = { CODE0, CODE1 | 1, 0, CODE3 | 3 };
	static const uint32_t values[] = { 0, 0x200, 0x3000, 0x3200, 0x4000, 0x40000, 0x200000, 0x10000, 0x8d5, 0x243ed5 };
	for RINGS(r)
		for (unsigned iopl = 0; iopl < 4; iopl++) {
			for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
				for (unsigned from = 0; from < 2; from++)
					for (unsigned o = 0; o < 4; o++) {
						static const char *const names[] = { "popf", "popf16", "flags_iret", "flags_iret16" };
						const uint8_t *const codes[] = { code_popf, code_popf16, code_iret, code_iret16 };
						tables_fill();
						probe_prepare(r, codes[o]);
						probe_eflags = 2 | iopl << 12 | (from ? 0x200 : 0);
						probe_eax = o < 2 ? values[i] : code_of[r], probe_edx = values[i], probe_ebx = DATA3 | 3, probe_ecx = OUTER;
						probe_report(names[o], r, values[i], from << 4 | iopl);
					}
			const struct { const char *name; const uint8_t *code; } ops[] = { { "cli", code_cli }, { "sti", code_sti }, { "pushf", code_pushf } };
			for (unsigned o = 0; o < 3; o++)
				for (unsigned from = 0; from < 2; from++) {
					tables_fill();
					probe_prepare(r, ops[o].code);
					probe_eflags = 2 | iopl << 12 | (from ? 0x200 : 0);
					probe_report(ops[o].name, r, from, iopl);
				}
		}
}

/* Privileged and ring-aware instructions, once a ring. */
static void single_family(void)
{
	DECLARE(none); DECLARE(int3); DECLARE(into); DECLARE(str); DECLARE(sldt); DECLARE(clts); DECLARE(invlpg); DECLARE(mov_cr0); DECLARE(bound); DECLARE(enter); DECLARE(ud); DECLARE(div);
	DECLARE(push_ds); DECLARE(smsw); DECLARE(sgdt); DECLARE(arpl);
	const struct { const char *name; const uint8_t *code; } ops[] = { { "none", code_none }, { "int3", code_int3 }, { "into", code_into }, { "str", code_str }, { "sldt", code_sldt }, { "clts", code_clts },
		{ "invlpg", code_invlpg }, { "mov_cr0", code_mov_cr0 }, { "bound", code_bound }, { "enter", code_enter }, { "ud", code_ud }, { "div", code_div }, { "push_ds", code_push_ds }, { "smsw", code_smsw },
		{ "sgdt", code_sgdt } };
	for (unsigned o = 0; o < sizeof ops / sizeof ops[0]; o++)
		for RINGS(r)
			for (unsigned i = 0; i < 4; i++) {
				static const uint32_t values[] = { 0, 10, 11, (uint32_t)-6 };
				tables_fill();
				probe_prepare(r, ops[o].code);
				probe_eax = values[i];
				probe_eflags = i & 1 ? 0x802 : 2;
				probe_report(ops[o].name, r, values[i], 0);
			}
	for (unsigned i = 0; i < 16; i++) {
		tables_fill();
		probe_prepare(3, code_arpl);
		probe_eax = 0xabcd0100 | (i & 3), probe_ebx = i >> 2;
		probe_report("arpl", 3, i & 3, i >> 2);
	}
}

/* The I/O permission bitmap at every IOPL. Ports 80h and B0h..: nobody answers, or harmlessly. */
static void io_family(void)
{
	DECLARE(inb); DECLARE(outw); DECLARE(in_dx);
	static const struct { const char *name; const uint8_t *code; uint16_t port; } ops[] = { { "outw", code_outw, 0xb0 }, { "in_dx", code_in_dx, 0x10c }, { "in_dx", code_in_dx, 0x105 }, { "in_dx", code_in_dx, 0x107 },
		{ "in_dx", code_in_dx, 0x10d } };
	for (unsigned o = 0; o < sizeof ops / sizeof ops[0]; o++)
		for RINGS(r)
			for (unsigned iopl = 0; iopl < 4; iopl++)
				for (unsigned bits = 0; bits < 5; bits++) {
					tables_fill();
					uint8_t *map = (uint8_t *)tss + 0x68;
					if (bits < 4)
						map[ops[o].port / 8 + (bits >> 1 & 1)] = bits & 1 ? 0x01 : 0x80;
					else
						tss[25] = 0xffffu << 16;
					probe_prepare(r, ops[o].code);
					probe_eflags = 2 | iopl << 12;
					probe_edx = ops[o].port;
					probe_report(ops[o].name, r, ops[o].port, iopl << 4 | bits);
				}
}

int main(void)
{
	struct __attribute__((packed)) { uint16_t limit; uint32_t base; } gdtr = { END - 1, (uint32_t)gdt }, idtr = { sizeof idt - 1, (uint32_t)idt };
	tables_fill();
	gdt[TSS_A / 8] = descriptor((uint32_t)tss, 0x67 + 34, 0x89, 0);
	trap_gates();
	__asm__ volatile("out %%al, $0x21; out %%al, $0xa1" : : "a"(0xff)); /* the firmware's interrupts stay away */
	*(volatile uint16_t *)LANDING = 0x30cd; /* int 30h */
	landing_offset = LANDING;
	__asm__ volatile("lgdt %0; lidt %1; ljmp $8, $1f; 1: mov $16, %%eax; mov %%ax, %%ss; mov %%ax, %%ds; mov %%ax, %%es; ltr %w2; lldt %w3"
			 : : "m"(gdtr), "m"(idtr), "r"(TSS_A), "r"(LDT) : "eax", "memory");
	single_family();
	selector_family();
	named_family();
	call_gate_family();
	stack_family();
	task_family();
	idt_family();
	return_family();
	flags_family();
	io_family();
	put_text("end\n");
	return 0;
}
