/* x86_64: descriptors and hypercall registers of the test monitor. Invariant: selectors as ringside_pv.h says; the monitor's are 30 38 40. */
#include "monitor.h"

struct gate {
	uint64_t low, high;
};

static struct {
	uint64_t gdt[10];
	struct gate idt[256];
	uint8_t tss[104] __attribute__((aligned(128)));
} cpu;

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

void syscall_entry(void);

static struct gate gate(word_t handler, unsigned dpl)
{
	return (struct gate){ (handler & 0xffff) | (uint64_t)MONITOR_CS << 16 | (0x8eull | dpl << 5) << 40 | (handler >> 16 & 0xffff) << 48, handler >> 32 };
}

static void msr_write(uint32_t index, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

void monitor_descriptors_init(word_t stack_top)
{
	word_t tss = (word_t)cpu.tss;
	cpu.gdt[1] = 0x00afbb000000ffffull;
	cpu.gdt[2] = 0x00cfb3000000ffffull;
	cpu.gdt[3] = 0x00cffb000000ffffull;
	cpu.gdt[4] = 0x00cff3000000ffffull;
	cpu.gdt[5] = 0x00affb000000ffffull;
	cpu.gdt[6] = 0x00af9b000000ffffull;
	cpu.gdt[7] = 0x00cf93000000ffffull;
	cpu.gdt[8] = 103 | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	cpu.gdt[9] = tss >> 32;
	for (unsigned i = 0; i < 8; i++)
		cpu.tss[4 + i] = (uint8_t)(stack_top >> 8 * i);
	cpu.tss[102] = 104;
	for (unsigned v = 0; v < 48; v++)
		cpu.idt[v] = gate((word_t)trap_stubs + 16 * v, v == 3 || v == 4 ? 3 : 0);
	cpu.idt[0x82] = gate((word_t)hypercall_stub, 1);
	struct table_pointer gdt = { sizeof cpu.gdt - 1, (word_t)cpu.gdt }, idt = { sizeof cpu.idt - 1, (word_t)cpu.idt };
	__asm__ volatile("lgdt %0; lidt %1; pushq $0x30; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1: mov %2, %%ss; mov %2, %%ds; mov %2, %%es"
			 : : "m"(gdt), "m"(idt), "r"(MONITOR_DS) : "rax", "memory");
	__asm__ volatile("ltr %w0" : : "r"(MONITOR_TSS));
	msr_write(0xC0000081, (uint64_t)MONITOR_CS << 32);
	msr_write(0xC0000082, (word_t)syscall_entry);
	msr_write(0xC0000084, 0x47700);
}

void monitor_segment_base_set(word_t which, word_t base)
{
	msr_write(which ? 0xC0000101 : 0xC0000100, base);
}

bool monitor_owns_slot(unsigned level, unsigned index, pte_t entry)
{
	return level == 3 && index == 511 && (entry & PTE_ADDRESS) == (word_t)boot_directory - monitor_base();
}

void monitor_fill_slots(unsigned level, pte_t *table)
{
	if (level == 3)
		table[511] = ((word_t)boot_directory - monitor_base()) | PTE_P | PTE_RW;
}

void monitor_arguments(const struct trap_frame *f, word_t a[4])
{
	a[0] = f->rax, a[1] = f->rdi, a[2] = f->rsi, a[3] = f->rdx;
}

void monitor_result_set(struct trap_frame *f, long result)
{
	f->rax = (word_t)result;
}

word_t monitor_base(void)
{
	return 0xffffffffc0000000;
}

void monitor_start_info_set(struct trap_frame *f, word_t address)
{
	f->rsi = address;
}
