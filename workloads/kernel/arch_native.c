/*
 * The platform "bare hardware": 8259 PICs, 8254 PIT, 16550 serial port, plain page-table stores.
 * Invariant: interrupts other than the timer's stay masked in the PICs.
 */
#include "kernel.h"
#include "native.h"
#include "ringside_mark.h"
#include "ringside_nanobench.h"

#define SERIAL 0x3F8u      /* COM1; registers: 16550D data sheet */
#define PIC_MASTER 0x20u
#define PIC_SLAVE 0xA0u
#define PIT_HZ 1193182u    /* 8254 input clock of the PC */
#define DEBUG_EXIT 0xF4u
#define BOCHS_SHUTDOWN 0x8900u /* Bochs powers off on the text "Shutdown" there */

/* Multiboot 1 information, the fields used here (Multiboot Specification 0.6.96, 3.3). */
struct multiboot {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
};
struct multiboot_module {
	uint32_t start, end, string, reserved;
};

static struct {
	frame_t kernel_root;
} native;

extern char kernel_end[]; /* linker script */

static void *physical_pointer(uint32_t address)
{
	return (void *)(KBASE + address);
}

static void serial_init(void)
{
	port_write(SERIAL + 1, 0);    /* no interrupts: output is polled */
	port_write(SERIAL + 3, 0x80); /* divisor latch: 115200 baud */
	port_write(SERIAL + 0, 1);
	port_write(SERIAL + 1, 0);
	port_write(SERIAL + 3, 0x03); /* 8N1 */
	port_write(SERIAL + 2, 0x07); /* FIFOs on and empty */
}

static void pic_init(void)
{
	static const struct { uint16_t port; uint8_t value; } sequence[] = { /* 8259A data sheet: ICW1..ICW4, then masks */
		{ PIC_MASTER, 0x11 }, { PIC_SLAVE, 0x11 }, { PIC_MASTER + 1, VECTOR_IRQ }, { PIC_SLAVE + 1, VECTOR_IRQ + 8 },
		{ PIC_MASTER + 1, 4 }, { PIC_SLAVE + 1, 2 }, { PIC_MASTER + 1, 1 }, { PIC_SLAVE + 1, 1 },
		{ PIC_MASTER + 1, 0xff }, { PIC_SLAVE + 1, 0xff },
	};
	for (unsigned i = 0; i < sizeof sequence / sizeof *sequence; i++)
		port_write(sequence[i].port, sequence[i].value);
}

static void info_read(struct boot_info *info, const struct multiboot *mb)
{
	word_t top = (word_t)kernel_end - KBASE;
	frame_t frames = (0x100000u + ((mb->flags & 1 ? mb->mem_upper : 0) & ~3u) * 1024ull) / PAGE_BYTES;
	info->frames = frames < native_frames_max ? frames : native_frames_max;
	if (mb->flags & 4) {
		const char *from = physical_pointer(mb->cmdline);
		for (unsigned i = 0; i < sizeof info->cmdline - 1 && from[i]; i++)
			info->cmdline[i] = from[i];
	}
	if (mb->flags & 8 && mb->mods_count) {
		const struct multiboot_module *m = physical_pointer(mb->mods_addr);
		info->archive = physical_pointer(m[0].start);
		info->archive_bytes = m[0].end - m[0].start;
		for (uint32_t i = 0; i < mb->mods_count; i++)
			if (m[i].end > top)
				top = m[i].end;
	}
	info->first_free = (frame_t)((top + PAGE_BYTES - 1) / PAGE_BYTES);
}

void arch_init(struct boot_info *info, word_t loader)
{
	serial_init();
	pic_init();
	native_descriptors_init();
	const char *missing = native_check_cpu();
	if (missing)
		panic("this processor has no %s", missing);
	native.kernel_root = (frame_t)(cr3_read() >> 12);
	cr4_write(cr4_read() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	info_read(info, physical_pointer((uint32_t)loader));
	native_map_trim(info->frames);
	cr4_write(cr4_read() | CR4_PGE);
}

/* ---- interrupts and time ---- */

void arch_irq_enable(void)
{
	__asm__ volatile("sti" : : : "memory");
}

void arch_irq_disable(void)
{
	__asm__ volatile("cli" : : : "memory");
}

word_t arch_irq_save(void)
{
	word_t state;
	__asm__ volatile("pushf; pop %0; cli" : "=r"(state) : : "memory");
	return state;
}

void arch_irq_restore(word_t state)
{
	__asm__ volatile("push %0; popf" : : "r"(state) : "memory", "cc");
}

void arch_idle(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

bool arch_irq_acknowledge(unsigned vector)
{
	if (vector != VECTOR_IRQ)
		return false; /* spurious: everything else is masked */
	port_write(PIC_MASTER, 0x20);
	return true;
}

void arch_timer_start(unsigned hz)
{
	unsigned divisor = (PIT_HZ + hz / 2) / hz;
	port_write(0x43, 0x34); /* channel 0, low then high byte, mode 2 */
	port_write(0x40, (uint8_t)divisor);
	port_write(0x40, (uint8_t)(divisor >> 8));
	port_write(PIC_MASTER + 1, 0xfe);
}

/* ---- console and end ---- */

void arch_console_write(const char *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		while (!(port_read(SERIAL + 5) & 0x20))
			;
		port_write(SERIAL, (uint8_t)bytes[i]);
	}
}

_Noreturn void arch_shutdown(unsigned code)
{
	arch_irq_disable();
	while (!(port_read(SERIAL + 5) & 0x40)) /* transmitter empty */
		;
	port_write(DEBUG_EXIT, (uint8_t)code);
	for (const char *s = "Shutdown"; *s; s++)
		port_write(BOCHS_SHUTDOWN, (uint8_t)*s);
	for (;;)
		__asm__ volatile("cli; hlt");
}

word_t arch_fault_address(void)
{
	word_t address;
	__asm__ volatile("mov %%cr2, %0" : "=r"(address));
	return address;
}

/* ---- page tables ---- */

pte_t pte_make(frame_t frame, pte_t flags)
{
	return (pte_t)frame << 12 | flags;
}

frame_t pte_frame(pte_t entry)
{
	return (frame_t)((entry & PTE_ADDRESS) >> 12);
}

frame_t mmu_kernel_root(void)
{
	return native.kernel_root;
}

void mmu_root_load(frame_t root)
{
	cr3_write((word_t)root << 12);
}

void mmu_table_seal(frame_t table)
{
	(void)table;
}

void mmu_table_unseal(frame_t table)
{
	(void)table;
}

void mmu_root_adopt(frame_t root)
{
	(void)root;
}

void mmu_root_retire(frame_t root)
{
	(void)root;
}

void mmu_write(frame_t table, unsigned index, pte_t value)
{
	((volatile pte_t *)frame_pointer(table))[index] = value;
}

void mmu_replace(word_t va, frame_t table, unsigned index, pte_t value)
{
	volatile pte_t *entry = (volatile pte_t *)frame_pointer(table) + index;
	pte_t old = *entry;
	*entry = value;
	if (old & PTE_P) /* not-present entries are never cached (SDM 3A 4.10.2.3) */
		mmu_invalidate(va);
}

void mmu_invalidate(word_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

void mmu_flush(void)
{
	cr3_write(cr3_read());
}

void mmu_commit(void)
{
}

void mmu_store(word_t va, frame_t table, unsigned index, pte_t value)
{
	(void)va;
	mmu_write(table, index, value);
}
