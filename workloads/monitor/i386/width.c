/* i386: descriptors and hypercall registers of the test monitor. Invariant: selectors as ringside_pv.h says; the monitor's are 30 38 40. */
#include "monitor.h"

static struct {
	uint64_t gdt[9];
	uint64_t idt[256];
	uint32_t tss[26] __attribute__((aligned(128)));
} cpu;

struct table_pointer {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

static uint64_t gate(uint32_t handler, unsigned dpl)
{
	return (handler & 0xffff) | (uint64_t)MONITOR_CS << 16 | (0x8eull | dpl << 5) << 40 | (uint64_t)(handler >> 16) << 48;
}

void monitor_descriptors_init(word_t stack_top)
{
	uint32_t tss = (uint32_t)cpu.tss;
	cpu.gdt[1] = 0x00cfbb000000ffffull;
	cpu.gdt[2] = 0x00cfb3000000ffffull;
	cpu.gdt[3] = 0x00cffb000000ffffull;
	cpu.gdt[4] = 0x00cff3000000ffffull;
	cpu.gdt[6] = 0x00cf9b000000ffffull;
	cpu.gdt[7] = 0x00cf93000000ffffull;
	cpu.gdt[8] = 103 | (uint64_t)(tss & 0xffffff) << 16 | 0x89ull << 40 | (uint64_t)(tss >> 24) << 56;
	cpu.tss[1] = stack_top;
	cpu.tss[2] = MONITOR_DS;
	cpu.tss[25] = 104 << 16;
	for (unsigned v = 0; v < 48; v++)
		cpu.idt[v] = gate((uint32_t)trap_stubs + 16 * v, v == 3 || v == 4 ? 3 : 0);
	cpu.idt[0x80] = gate((uint32_t)trap_stubs + 16 * 48, 3);
	cpu.idt[0x82] = gate((uint32_t)hypercall_stub, 1);
	struct table_pointer gdt = { sizeof cpu.gdt - 1, (uint32_t)cpu.gdt }, idt = { sizeof cpu.idt - 1, (uint32_t)cpu.idt };
	__asm__ volatile("lgdt %0; lidt %1; ljmp $0x30, $1f; 1: mov %2, %%ds; mov %2, %%es; mov %2, %%ss; mov %3, %%fs; mov %3, %%gs"
			 : : "m"(gdt), "m"(idt), "r"(MONITOR_DS), "r"(0) : "memory");
	__asm__ volatile("ltr %w0" : : "r"(MONITOR_TSS));
}

void monitor_segment_base_set(word_t which, word_t base)
{
	(void)which;
	cpu.gdt[5] = 0x00cff3000000ffffull | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56;
}

bool monitor_owns_slot(unsigned level, unsigned index, pte_t entry)
{
	return level == 2 && index >= 1008 && ((entry ^ boot_directory[index]) & PTE_ADDRESS) == 0;
}

void monitor_fill_slots(unsigned level, pte_t *table)
{
	for (unsigned i = 1008; level == 2 && i < 1024; i++)
		table[i] = boot_directory[i];
}

void monitor_arguments(const struct trap_frame *f, word_t a[4])
{
	a[0] = f->eax, a[1] = f->ebx, a[2] = f->ecx, a[3] = f->edx;
}

void monitor_result_set(struct trap_frame *f, long result)
{
	f->eax = (word_t)result;
}

word_t monitor_base(void)
{
	return 0xFC000000;
}

void monitor_start_info_set(struct trap_frame *f, word_t address)
{
	f->esi = address;
	f->ds = f->es = PV_KDS;
}
