/*
 * x86_64 descriptors, SYSCALL, and what only 64-bit mode has.
 * Invariant: selectors are those of include/ringside_pv.h with RPL 0 for the kernel's: 08 10 | 1b 23 2b | 30 TSS. SYSCALL and SYSRET
 * depend on that order (SDM 3A 5.8.8).
 */
#include "kernel.h"
#include "native.h"
#include "ringside_mark.h"
#include "ringside_nanobench.h"

#define TSS_BYTES 104u
#define MSR_STAR 0xC0000081u
#define MSR_LSTAR 0xC0000082u
#define MSR_SFMASK 0xC0000084u
#define MSR_FS_BASE 0xC0000100u
#define MSR_GS_BASE 0xC0000101u
#define MSR_KERNEL_GS_BASE 0xC0000102u
#define SYSCALL_CLEARS 0x47700ull /* AC NT IOPL DF IF TF: bits 18 14 13-12 10 9 8 */

const frame_t native_frames_max = 0x3c000000u / PAGE_BYTES; /* 960 MiB, as i386 */

struct gate {
	uint64_t low, high;
};

static struct {
	uint64_t gdt[8];
	struct gate idt[256];
	uint8_t tss[TSS_BYTES] __attribute__((aligned(128)));
	uint64_t local[2]; /* struct cpu_local of entry_native.S: kernel stack, user stack pointer */
	uint8_t fault_stack[4096] __attribute__((aligned(16)));
} cpu;

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

void syscall_entry(void);
extern pte_t boot_root[], boot_pointers[];

static void msr_write(uint32_t index, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

/* Interrupt gate (SDM 3A 6.14.1). */
static struct gate gate_make(word_t handler, unsigned dpl, unsigned ist)
{
	return (struct gate){ (handler & 0xffff) | 0x08ull << 16 | (uint64_t)ist << 32 | (0x8eull | dpl << 5) << 40 | (handler >> 16 & 0xffff) << 48,
			      handler >> 32 };
}

static void tss_set(unsigned offset, uint64_t value)
{
	memcpy(cpu.tss + offset, &value, sizeof value);
}

static void gdt_fill(void)
{
	word_t tss = (word_t)cpu.tss;
	cpu.gdt[1] = 0x00af9b000000ffffull; /* 64-bit code, ring 0 */
	cpu.gdt[2] = 0x00cf93000000ffffull; /* data, ring 0 */
	cpu.gdt[3] = 0x00cffb000000ffffull; /* 32-bit code, ring 3 */
	cpu.gdt[4] = 0x00cff3000000ffffull; /* data, ring 3 */
	cpu.gdt[5] = 0x00affb000000ffffull; /* 64-bit code, ring 3 */
	cpu.gdt[6] = (TSS_BYTES - 1) | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	cpu.gdt[7] = tss >> 32;
	tss_set(36, (word_t)cpu.fault_stack + sizeof cpu.fault_stack); /* IST1 */
	cpu.tss[102] = TSS_BYTES;                                      /* no I/O bitmap */
}

void native_descriptors_init(void)
{
	gdt_fill();
	for (unsigned v = 0; v < 48; v++)
		cpu.idt[v] = gate_make((word_t)trap_stubs + 16 * v, v == 3 || v == 4 ? 3 : 0, v == 8);
	struct table_pointer gdt = { sizeof cpu.gdt - 1, (word_t)cpu.gdt }, idt = { sizeof cpu.idt - 1, (word_t)cpu.idt };
	__asm__ volatile("lgdt %0; lidt %1" : : "m"(gdt), "m"(idt) : "memory");
	__asm__ volatile("pushq $0x08; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1: mov %0, %%ss; mov %1, %%ds; mov %1, %%es; mov %1, %%fs; mov %1, %%gs"
			 : : "r"(0x10), "r"(0) : "rax", "memory");
	__asm__ volatile("ltr %w0; lldt %w1" : : "r"(0x30), "r"(0));
	msr_write(MSR_STAR, 0x18ull << 48 | 0x08ull << 32);
	msr_write(MSR_LSTAR, (word_t)syscall_entry);
	msr_write(MSR_SFMASK, SYSCALL_CLEARS);
	msr_write(MSR_GS_BASE, (word_t)cpu.local);
	msr_write(MSR_KERNEL_GS_BASE, 0);
}

const char *native_check_cpu(void)
{
	uint32_t r[4];
	cpuid(1, r);
	return !(r[3] & 1 << 13) ? "PGE" : !(r[3] & 1 << 24) ? "FXSR" : NULL;
}

void native_map_trim(frame_t frames)
{
	boot_root[0] = 0;
	boot_pointers[0] = 0;
	for (unsigned i = (frames + 511) / 512; i < 512; i++)
		boot_directory[i] = 0;
	cr3_write(cr3_read());
}

void arch_stack_set(word_t top)
{
	tss_set(4, top); /* RSP0 */
	cpu.local[0] = top;
}

int arch_tls_set(word_t base)
{
	msr_write(MSR_FS_BASE, base);
	return 0;
}
