/*
 * Guest side of tests/test_isa_rings.c in long mode: the probes of rings.c where 64-bit and compatibility mode differ: 16-byte gates, IST, stacks without limits, null SS,
 * SYSCALL, SYSENTER, addresses. Nothing here knows what is right; but what QEMU is known not to check (L with D, canonical targets of far transfers, the types that
 * LAR and LSL take in long mode) is left to tests/test_isa_system.c and tests/test_isa_control.c.
 */
#include "probe.h"

enum { LANDING = 0x5000, STACK0 = 0x20008 /* not aligned, on purpose */, STACK3 = 0x24000, PROBE0 = 0x26000, OUTER = 0x28000, IST1 = 0x2a000, IST2 = 0x2c000, FAST = 0x2e000 };
enum { LONG0 = 0x08, DATA0 = 0x10, CODE3 = 0x18, DATA3 = 0x28, LONG3 = 0x30, CODE0 = 0x38, CONFORM64 = 0x40, VARY = 0x50 /* 16 bytes */, GATE = 0x60 /* 16 bytes */,
	LDT = 0x70 /* 16 bytes */, TSS = 0x80 /* 16 bytes */, ABSENT = 0x90, DATA_RO = 0x98, FAST_CS = 0xa0 /* eight: SYSENTER's and SYSCALL's */, END = 0xe0, LDT_LONG3 = 4 };

extern uint64_t probe_cs, probe_ss, probe_rip, probe_rsp, probe_rflags, probe_rax, probe_rbx, probe_rcx, probe_rdx, *trap_frame, landing_offset;
extern struct { uint32_t offset; uint16_t selector; } far_pointer;
extern struct __attribute__((packed)) { uint64_t offset; uint16_t selector; } far_pointer_wide __asm__("far_pointer");
extern uint8_t stubs[], stub_back[];
void probe_run(void);
int main(void);

static uint64_t gdt[END / 8], idt[2 * 80], ldt[4];
static uint32_t tss[32];

static void gate(uint64_t *at, uint16_t selector, uint64_t offset, unsigned access, unsigned ist)
{
	at[0] = (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)ist << 32 | (uint64_t)access << 40 | (offset >> 16 & 0xffff) << 48;
	at[1] = offset >> 32;
}

static void write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return low | (uint64_t)high << 32;
}
enum { MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_STAR = 0xc0000081, MSR_LSTAR, MSR_CSTAR, MSR_FMASK, MSR_FS_BASE = 0xc0000100, MSR_GS_BASE, MSR_KERNEL_GS_BASE };

/* ---------------------------------------------------------------- one probe */
static void tables_fill(void)
{
	gdt[LONG0 / 8] = descriptor(0, 0, 0x9b, 2);
	gdt[DATA0 / 8] = descriptor(0, 0xfffff, 0x93, 0xc);
	gdt[CODE3 / 8] = descriptor(0, 0xfffff, 0xfb, 0xc);
	gdt[DATA3 / 8] = descriptor(0, 0xfffff, 0xf3, 0xc);
	gdt[LONG3 / 8] = descriptor(0, 0, 0xfb, 2);
	gdt[CODE0 / 8] = descriptor(0, 0xfffff, 0x9b, 0xc);
	gdt[CONFORM64 / 8] = descriptor(0, 0, 0x9f, 2);
	gdt[ABSENT / 8] = descriptor(0, 0xfffff, 0x73, 0xc);
	gdt[DATA_RO / 8] = descriptor(0, 0xfffff, 0xf1, 0xc);
	gdt[LDT / 8] = descriptor((uint32_t)(uintptr_t)ldt, sizeof ldt - 1, 0x82, 0);
	gdt[LDT / 8 + 1] = gdt[VARY / 8] = gdt[VARY / 8 + 1] = gdt[GATE / 8] = gdt[GATE / 8 + 1] = 0;
	for (unsigned i = 0; i < 8; i++) /* what SYSENTER, SYSEXIT, SYSCALL and SYSRET suppose stands there */
		gdt[FAST_CS / 8 + i] = descriptor(0, 0xfffff, i % 2 ? 0xf3 : 0xfb, i % 2 ? 0xc : 0xa);
	ldt[0] = descriptor(0, 0, 0xfb, 2);
	for (unsigned i = 0; i < 32; i++)
		tss[i] = 0;
	tss[1] = STACK0, tss[9] = IST1, tss[11] = IST2, tss[25] = 0xffffu << 16;
	gate(&idt[2 * 0x40], LONG0, LANDING, 0xee, 0);
}

enum { MODE_64, MODE_COMPAT };

static void probe_prepare(unsigned ring, unsigned mode, const void *code)
{
	probe_cs = mode == MODE_64 ? (ring ? LONG3 | 3 : LONG0) : (ring ? CODE3 | 3 : CODE0);
	probe_ss = ring ? DATA3 | 3 : DATA0, probe_rsp = ring ? STACK3 : PROBE0, probe_rip = (uint64_t)code, probe_rflags = 2;
	probe_rax = probe_rbx = probe_rcx = probe_rdx = 0;
	far_pointer.offset = LANDING;
	far_pointer.selector = 0;
	for (int i = 1; i <= 10; i++)
		((uint64_t *)(uintptr_t)STACK0)[-i] = ((uint64_t *)(uintptr_t)STACK3)[-i] = ((uint64_t *)(uintptr_t)PROBE0)[-i] = ((uint64_t *)(uintptr_t)IST2)[-i] = 0;
	write_msr(MSR_FS_BASE, 0x1234);
	write_msr(MSR_GS_BASE, 0x5678);
	write_msr(MSR_KERNEL_GS_BASE, 0xffff800000009abc);
}

/* Frame: gs fs es ds, r11 rbp rdi rsi rdx rcx rbx rax, vector error rip cs rflags rsp ss. */
static void probe_report(const char *name, unsigned ring, uint64_t a, uint64_t b)
{
	probe_run();
	const uint64_t *f = trap_frame;
	uint64_t rip = f[14] - probe_rip < 64 ? f[14] - probe_rip : f[14] + 0x100000, sp = f[17];
	put_text(name);
	put(' ');
	put_hex(ring), put_hex(a), put_hex(b);
	put('>');
	put_hex(f[12]), put_hex(f[13]), put_hex(rip), put_hex(f[15]), put_hex(f[16] & ~0x10000ull), put_hex(f[18]), put_hex(sp);
	put('=');
	put_hex(f[11]), put_hex(f[10]), put_hex(f[9] - probe_rip < 64 ? f[9] - probe_rip : f[9]), put_hex(f[4]), put_hex(f[3]), put_hex(f[1]), put_hex(f[0]);
	put_hex(read_msr(MSR_FS_BASE)), put_hex(read_msr(MSR_GS_BASE)), put_hex(read_msr(MSR_KERNEL_GS_BASE));
	put(':');
	if (sp >= 0x10000 && sp < 0x30000)
		for (unsigned i = 0; i < 6; i++) {
			uint64_t v;
			__builtin_memcpy(&v, (const void *)(uintptr_t)(sp + 8 * i), 8);
			put_hex(v - probe_rip < 64 ? 0x10000 + v - probe_rip : v);
		}
	put('\n');
	__asm__ volatile("lldt %w0" : : "r"(LDT));
}

/* ---------------------------------------------------------------- families */
#define DECLARE(name) extern const uint8_t code_##name[]
struct operation {
	const char *name;
	const uint8_t *code;
	unsigned mode;
};
#define OPERATION(name) { #name, code_##name, MODE_64 }
#define COMPAT(name) { #name, code_##name, MODE_COMPAT }

static const uint16_t selectors[] = { 0, 1, 2, 3, LONG0, LONG0 | 3, DATA0, DATA0 | 1, CODE3 | 3, CODE3, DATA3 | 3, DATA3, LONG3 | 3, LONG3, CODE0, CODE0 | 3, CONFORM64, CONFORM64 | 3, LDT, TSS, ABSENT, ABSENT | 3, DATA_RO | 3,
	LDT_LONG3 | 3, LDT_LONG3, 0x27, END - 8, END, 0xffff };
enum { SELECTORS = sizeof selectors / sizeof selectors[0] };

static int is_canonical(uint64_t a)
{
	return a >> 47 == 0 || a >> 47 == 0x1ffff;
}

static const uint64_t addresses[] = { LANDING, 0x7fffffffffff, 0x800000000000, 0xffff7fffffffffff, 0xffff800000000000, 0x8000000000000000, 0x100000000 + LANDING };
enum { ADDRESSES = sizeof addresses / sizeof addresses[0] };

static void descriptor_family(void)
{
	DECLARE(mov_ds); DECLARE(mov_ss); DECLARE(lar); DECLARE(lsl); DECLARE(verr); DECLARE(ljmp); DECLARE(lcall); DECLARE(lldt); DECLARE(c_ljmp); DECLARE(c_lcall); DECLARE(c_mov_ss);
	static const struct operation ops[] = { OPERATION(mov_ds), OPERATION(mov_ss), OPERATION(lar), OPERATION(lsl), OPERATION(verr), OPERATION(lldt), OPERATION(ljmp), OPERATION(lcall), COMPAT(c_ljmp), COMPAT(c_lcall), COMPAT(c_mov_ss) };
	for (unsigned o = 0; o < sizeof ops / sizeof ops[0]; o++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned access = 0; access < 256; access++)
				for (unsigned flags = 0; flags < 3; flags++)
					for (unsigned rpl = 0; rpl < 4; rpl += 3) {
						tables_fill();
						if ((o < 6 || o == 10) && flags)
							continue;
						unsigned type = access & 31;
						if ((o == 2 || o == 3) && (type == 1 || type == 3 || type == 4 || type == 5))
							continue;
						if (o >= 6 && o < 10 && (access & 0x18) == 0x18 && !(flags & 3))
							continue; /* 16-bit code */
						if (type == 12 || type == 14 || type == 15)
							gate(&gdt[VARY / 8], LONG0, LANDING, access, 0);
						else
							gdt[VARY / 8] = descriptor(access & 16 ? 0 : (uint32_t)(uintptr_t)ldt, access & 16 ? ((access & 12) == 4 ? 0 : 0xfffff) : 31, access, (access & 16 ? 8 : 0) | flags << 1);
						probe_prepare(r, ops[o].mode, ops[o].code);
						probe_rax = VARY | rpl, probe_rbx = 0xbbbbbbbb;
						far_pointer.selector = (uint16_t)(VARY | rpl);
						probe_report(ops[o].name, r, access << 4 | flags, rpl);
					}
}

static void named_family(void)
{
	DECLARE(mov_fs); DECLARE(mov_ss); DECLARE(pop_fs); DECLARE(lss); DECLARE(ljmp); DECLARE(lcall); DECLARE(ljmpq); DECLARE(lcallq); DECLARE(c_ljmp); DECLARE(c_lcall); DECLARE(c_mov_ss); DECLARE(c_mov_ds); DECLARE(mov_ds);
	static const struct operation ops[] = { OPERATION(mov_fs), OPERATION(mov_ss), OPERATION(pop_fs), OPERATION(lss), OPERATION(mov_ds), COMPAT(c_mov_ss), COMPAT(c_mov_ds), OPERATION(ljmp), OPERATION(lcall), COMPAT(c_ljmp), COMPAT(c_lcall),
		OPERATION(ljmpq), OPERATION(lcallq) };
	for (unsigned o = 0; o < sizeof ops / sizeof ops[0]; o++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned i = 0; i < SELECTORS; i++)
				for (unsigned j = 0; j < (o >= 11 ? ADDRESSES : 1); j++) {
					if (j && (!is_canonical(addresses[j]) || (selectors[i] & ~7) == CODE0 || (selectors[i] & ~7) == CODE3))
						continue; /* QEMU goes to offsets beyond 4 GiB of a 32-bit segment */
					tables_fill();
					probe_prepare(r, ops[o].mode, ops[o].code);
					probe_rax = selectors[i];
					far_pointer.selector = selectors[i];
					if (o == 3)
						far_pointer.offset = OUTER;
					if (o >= 11)
						far_pointer_wide.offset = addresses[j], far_pointer_wide.selector = selectors[i];
					probe_report(o >= 11 ? (o == 11 ? "Ljmpq" : "Lcallq") : o >= 7 ? "Far" : ops[o].name, r, selectors[i], o << 8 | j);
				}
}

static void gate_family(void)
{
	DECLARE(lcall); DECLARE(ljmp); DECLARE(lcallq); DECLARE(c_lcall); DECLARE(int40); DECLARE(c_int40);
	static const struct operation ops[] = { OPERATION(lcall), OPERATION(ljmp), COMPAT(c_lcall), OPERATION(int40), COMPAT(c_int40) };
	for (unsigned o = 0; o < 5; o++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned i = 0; i < SELECTORS; i++)
				for (unsigned j = 0; j < ADDRESSES; j++) {
					if (!is_canonical(addresses[j]))
						continue;
					tables_fill();
					gate(&gdt[GATE / 8], selectors[i], addresses[j], 0xec, 0);
					gate(&idt[2 * 0x40], selectors[i], addresses[j], 0xee, 0);
					probe_prepare(r, ops[o].mode, ops[o].code);
					far_pointer.selector = GATE | 3;
					probe_report(o < 3 ? "gate" : "int", r, selectors[i], o << 8 | j);
				}
}

static void idt_family(void)
{
	DECLARE(int40); DECLARE(c_int40); DECLARE(c_ud); DECLARE(ud); DECLARE(div);
	static const struct operation ops[] = { OPERATION(int40), COMPAT(c_int40) };
	for (unsigned o = 0; o < 2; o++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned access = 0; access < 256; access++)
				for (unsigned ist = 0; ist < 4; ist += 2) {
					tables_fill();
					gate(&idt[2 * 0x40], LONG0, LANDING, access, ist);
					probe_prepare(r, ops[o].mode, ops[o].code);
					probe_rflags = 0x4202; /* IF; NT, which IRET to get there must not see: set in the image only */
					if (r == 0)
						probe_rsp -= 4; /* alignment */
					probe_report("idt", r, access, o << 4 | ist);
				}
	for (unsigned r = 0; r < 4; r += 3) /* TSS stacks that are not canonical, or do not exist */
		for (unsigned j = 0; j < ADDRESSES; j++)
			for (unsigned ist = 0; ist < 4; ist += 2) {
				if (addresses[j] != LANDING && is_canonical(addresses[j]))
					continue;
				tables_fill();
				gate(&idt[2 * 0x40], LONG0, LANDING, 0xee, ist);
				__builtin_memcpy((char *)tss + 4, &addresses[j], 8);
				__builtin_memcpy((char *)tss + 44, &addresses[j], 8);
				probe_prepare(r, MODE_64, code_int40);
				probe_report("tss", r, j, ist);
			}
}

static void return_family(void)
{
	DECLARE(retf); DECLARE(retfq); DECLARE(iretq); DECLARE(iretd); DECLARE(c_iret); DECLARE(c_retf);
	static const struct operation ops[] = { OPERATION(retf), OPERATION(retfq), OPERATION(iretq), OPERATION(iretd), COMPAT(c_iret), COMPAT(c_retf) };
	static const uint16_t stacks[] = { 0, 3, DATA0, DATA3 | 3, DATA3, DATA0 | 3, DATA_RO | 3, LONG3 | 3, END | 3 };
	for (unsigned o = 0; o < 6; o++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned i = 0; i < SELECTORS; i++)
				for (unsigned j = 0; j < sizeof stacks / sizeof stacks[0]; j++) {
					tables_fill();
					probe_prepare(r, ops[o].mode, ops[o].code);
					probe_rax = selectors[i], probe_rbx = stacks[j], probe_rcx = OUTER, probe_rdx = o < 2 ? LANDING : 2;
					probe_report(ops[o].name, r, selectors[i], stacks[j]);
				}
}

static void flags_family(void)
{
	DECLARE(popfq); DECLARE(popfw); DECLARE(pushfq); DECLARE(iretq); DECLARE(c_popf); DECLARE(c_pushf); DECLARE(cli); DECLARE(syscall); DECLARE(sysretq);
	static const struct operation ops[] = { OPERATION(popfq), OPERATION(popfw), OPERATION(pushfq), COMPAT(c_popf), COMPAT(c_pushf), OPERATION(cli), OPERATION(iretq) };
	static const uint64_t values[] = { 0, 0x200, 0x3000, 0x4000, 0x40000, 0x200000, 0x10000, 0x8d5, 0x243ed5, 0xffffffff00000002 };
	for (unsigned o = 0; o < 7; o++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned iopl = 0; iopl < 4; iopl += 3)
				for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
					tables_fill();
					probe_prepare(r, ops[o].mode, ops[o].code);
					probe_rflags = 2 | iopl << 12;
					probe_rax = values[i];
					if (o == 6)
						probe_rax = r ? LONG3 | 3 : LONG0, probe_rdx = values[i], probe_rcx = OUTER, probe_rbx = r ? DATA3 | 3 : DATA0;
					probe_report(ops[o].name, r, values[i], iopl);
				}
}

static void fast_family(void)
{
	DECLARE(syscall); DECLARE(sysretl); DECLARE(sysretq); DECLARE(sysenter); DECLARE(sysexitl); DECLARE(sysexitq); DECLARE(c_syscall); DECLARE(c_sysenter); DECLARE(swapgs);
	static const struct operation ops[] = { OPERATION(syscall), OPERATION(sysretl), OPERATION(sysretq), OPERATION(sysenter), OPERATION(sysexitl), OPERATION(sysexitq), COMPAT(c_syscall), COMPAT(c_sysenter), OPERATION(swapgs) };
	static const uint64_t masks[] = { 0, 0x47700, 0xffffffff };
	for (unsigned o = 0; o < 9; o++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned cs = 0; cs < 5; cs++)
				for (unsigned m = 0; m < 3; m++)
					for (unsigned j = 0; j < 2; j++) {
						static const uint64_t targets[] = { LANDING, 0x100000000 + LANDING };
						static const uint16_t selector[] = { 0, LONG0, FAST_CS, FAST_CS | 3, FAST_CS | 1 };
						if (j == 1 && o != 1 && o != 4)
							continue;
						tables_fill();
						write_msr(MSR_STAR, (uint64_t)selector[cs] << 48 | (uint64_t)selector[cs] << 32);
						write_msr(MSR_LSTAR, LANDING);
						write_msr(MSR_FMASK, masks[m]);
						write_msr(MSR_SYSENTER_CS, selector[cs]);
						write_msr(MSR_SYSENTER_ESP, FAST);
						write_msr(MSR_SYSENTER_EIP, LANDING);
						probe_prepare(r, ops[o].mode, ops[o].code);
						probe_rflags = 0x40202; /* QEMU's SYSCALL loses arithmetic flags and DF */
						probe_rcx = o >= 4 ? OUTER : targets[j], probe_rdx = targets[j];
						probe_report(ops[o].name, r, selector[cs], m << 4 | j);
					}
}

/* Addresses that are not canonical: #GP or #SS by segment; and instructions that do nothing but show a ring. */
static void single_family(void)
{
	DECLARE(none); DECLARE(c_none); DECLARE(read); DECLARE(read_sp); DECLARE(push_sp); DECLARE(jump); DECLARE(ud); DECLARE(c_ud); DECLARE(div); DECLARE(enter); DECLARE(push_fs); DECLARE(str); DECLARE(mov_cr8); DECLARE(wrmsr);
	static const struct operation ops[] = { OPERATION(none), COMPAT(c_none), OPERATION(ud), COMPAT(c_ud), OPERATION(div), OPERATION(enter), OPERATION(push_fs), OPERATION(str), OPERATION(read), OPERATION(read_sp), OPERATION(push_sp) };
	for (unsigned o = 0; o < sizeof ops / sizeof ops[0]; o++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned j = 1; j < (o >= 8 ? ADDRESSES : 2); j++) {
				if (o >= 8 && is_canonical(addresses[j]))
					continue;
				tables_fill();
				probe_prepare(r, ops[o].mode, ops[o].code);
				probe_rcx = o >= 8 ? addresses[j] : 0;
				probe_report(ops[o].name, r, j, 0);
			}
	for (unsigned r = 0; r < 4; r += 3)
		for (unsigned v = 0; v < 16; v++) { /* QEMU takes more */
			tables_fill();
			probe_prepare(r, MODE_64, code_mov_cr8);
			probe_rax = v;
			probe_report("mov_cr8", r, v, 0);
		}
	static const uint32_t msrs[] = { MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE };
	for (unsigned i = 0; i < 3; i++)
		for (unsigned r = 0; r < 4; r += 3)
			for (unsigned j = 0; j < ADDRESSES; j++) {
				if (!is_canonical(addresses[j]))
					continue; /* QEMU takes any */
				tables_fill();
				probe_prepare(r, MODE_64, code_wrmsr);
				probe_rcx = msrs[i], probe_rax = (uint32_t)addresses[j], probe_rdx = addresses[j] >> 32;
				probe_report("wrmsr", r, i, j);
			}
}

int main(void)
{
	struct __attribute__((packed)) { uint16_t limit; uint64_t base; } gdtr = { sizeof gdt - 1, (uint64_t)gdt }, idtr = { sizeof idt - 1, (uint64_t)idt };
	tables_fill();
	gdt[TSS / 8] = descriptor((uint32_t)(uintptr_t)tss, 0x67, 0x89, 0);
	for (unsigned v = 0; v < 32; v++)
		gate(&idt[2 * v], LONG0, (uint64_t)stubs + 16 * v, v == 3 || v == 4 ? 0xee : 0x8e, 1);
	gate(&idt[2 * 0x30], LONG0, (uint64_t)stub_back, 0xee, 1);
	__asm__ volatile("out %%al, $0x21; out %%al, $0xa1" : : "a"(0xff)); /* the firmware's interrupts stay away */
	*(volatile uint16_t *)(uintptr_t)LANDING = 0x30cd; /* int 30h */
	landing_offset = LANDING;
	__asm__ volatile("lgdt %0; lidt %1; mov %2, %%ss; ltr %w3; lldt %w4" : : "m"(gdtr), "m"(idtr), "r"(DATA0), "r"(TSS), "r"(LDT) : "memory");
	single_family();
	descriptor_family();
	named_family();
	gate_family();
	idt_family();
	return_family();
	flags_family();
	fast_family();
	put_text("end\n");
	return 0;
}
