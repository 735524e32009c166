/*
 * Bare hardware, private to the native builds: arch_native.c is common, i386/native.c and x86_64/native.c differ.
 * Invariant: port numbers and register bits appear here or in those files, nowhere else.
 */
#ifndef NATIVE_H
#define NATIVE_H
#include "arch.h"

#define CR4_PGE 0x80u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u

static inline void port_write(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline uint8_t port_read(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}
static inline word_t cr3_read(void)
{
	word_t value;
	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}
static inline void cr3_write(word_t value) { __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory"); }
static inline word_t cr4_read(void)
{
	word_t value;
	__asm__ volatile("mov %%cr4, %0" : "=r"(value));
	return value;
}
static inline void cr4_write(word_t value) { __asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory"); }
static inline void cpuid(uint32_t leaf, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

extern const char trap_stubs[]; /* stubs.S: 16 bytes each */
extern pte_t boot_directory[];  /* boot.S: large pages over the first GiB */

/* Per width: GDT, IDT, TSS; and the kernel mapping cut down to `frames`, identity mapping gone. Returns missing features. */
const char *native_check_cpu(void);
void native_descriptors_init(void);
void native_map_trim(frame_t frames);
/* The most RAM that this width maps. */
extern const frame_t native_frames_max;

#endif
