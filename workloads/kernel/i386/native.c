/*
 * i386 descriptors, and what only 32-bit mode has.
 * Invariant: selectors are those of include/ringside_pv.h with RPL 0 for the kernel's: 08 10 | 1b 23 | 2b thread segment | 30 TSS.
 */
#include "kernel.h"
#include "native.h"
#include "ringside_nanobench.h"

#define TSS_BYTES 104u

const frame_t native_frames_max = 0x3c000000u / PAGE_BYTES; /* 960 MiB: the rest of the top GiB stays unmapped */

static struct {
	uint64_t gdt[7];
	uint64_t idt[256];
	uint32_t tss[TSS_BYTES / 4] __attribute__((aligned(128)));
} cpu;

struct table_pointer {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

/* Segment descriptor (SDM 3A 3.4.5). attributes: flags nibble << 8 | access byte. */
static uint64_t descriptor(uint32_t base, uint32_t limit, uint64_t attributes)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (attributes & 0xff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
	       (attributes >> 8 & 15) << 52 | (uint64_t)(base >> 24) << 56;
}

/* Interrupt gate (SDM 3A 6.11). */
static uint64_t gate(uint32_t handler, unsigned dpl)
{
	return (handler & 0xffff) | 0x08ull << 16 | (0x8eull | dpl << 5) << 40 | (uint64_t)(handler >> 16) << 48;
}

void native_descriptors_init(void)
{
	cpu.gdt[1] = descriptor(0, 0xfffff, 0xc9b);
	cpu.gdt[2] = descriptor(0, 0xfffff, 0xc93);
	cpu.gdt[3] = descriptor(0, 0xfffff, 0xcfb);
	cpu.gdt[4] = descriptor(0, 0xfffff, 0xcf3);
	cpu.gdt[5] = descriptor(0, 0xfffff, 0xcf3);
	cpu.gdt[6] = descriptor((uint32_t)cpu.tss, TSS_BYTES - 1, 0x089);
	cpu.tss[2] = 0x10;                 /* SS0 */
	cpu.tss[25] = TSS_BYTES << 16;     /* no I/O bitmap */
	for (unsigned v = 0; v < 48; v++)
		cpu.idt[v] = gate((uint32_t)trap_stubs + 16 * v, v == 3 || v == 4 ? 3 : 0);
	cpu.idt[VECTOR_SYSCALL] = gate((uint32_t)trap_stubs + 16 * 48, 3);
	struct table_pointer gdt = { sizeof cpu.gdt - 1, (uint32_t)cpu.gdt }, idt = { sizeof cpu.idt - 1, (uint32_t)cpu.idt };
	__asm__ volatile("lgdt %0; lidt %1; ljmp $0x08, $1f; 1: mov %2, %%ds; mov %2, %%es; mov %2, %%ss; mov %3, %%fs; mov %3, %%gs"
			 : : "m"(gdt), "m"(idt), "r"(0x10), "r"(0) : "memory");
	__asm__ volatile("ltr %w0; lldt %w1" : : "r"(0x30), "r"(0));
}

const char *native_check_cpu(void)
{
	uint32_t r[4];
	cpuid(1, r);
	return !(r[3] & 1 << 3) ? "PSE" : !(r[3] & 1 << 13) ? "PGE" : !(r[3] & 1 << 24) ? "FXSR" : NULL;
}

void native_map_trim(frame_t frames)
{
	for (unsigned i = 0; i < PT_USER_SLOTS; i++)
		boot_directory[i] = 0;
	for (unsigned i = (frames + 1023) / 1024; i < 256; i++)
		boot_directory[PT_USER_SLOTS + i] = 0;
	cr3_write(cr3_read());
}

void arch_stack_set(word_t top)
{
	cpu.tss[1] = top; /* ESP0 */
}

int arch_tls_set(word_t base)
{
	cpu.gdt[5] = descriptor(base, 0xfffff, 0xcf3);
	return 0x2b;
}
