/*
 * i386: what the shared kernel needs to know about 32-bit mode. The x86_64 folder has the file of the same name.
 *
 * Invariant: struct trap_frame is what stubs.S and entry_*.S push, lowest address first (ORDER TRAP FRAME).
 */
#ifndef WIDTH_H
#define WIDTH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long word_t; /* a register, an address */
typedef unsigned long pte_t;

/* Two-level paging: 10 + 10 + 12 bits (SDM 3A 4.3). */
#define KBASE 0xC0000000u
#define USER_TOP 0xBFFFF000u
#define USER_MAP_BASE 0x40000000u
#define USER_NANOBENCH 0x70000000u
#define PT_LEVELS 2
#define PT_BITS 10
#define PT_USER_SLOTS 768 /* root entries below KBASE */
#define PTE_NX 0u         /* 32-bit paging has no such bit */
#define PTE_ADDRESS 0xfffff000u

#define ELF_CLASS 1
#define ELF_MACHINE 3
struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version, entry, phoff, shoff, flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf_segment {
	uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align;
};

struct trap_frame {
	word_t edi, esi, ebp, esp_unused, ebx, edx, ecx, eax;
	word_t es, ds;
	word_t vector, error;
	word_t ip, cs, flags;
	word_t sp, ss; /* only when it came from ring 3 */
};

/* System call: number, five arguments, result. */
static inline word_t trap_call_number(const struct trap_frame *f) { return f->eax; }
static inline void trap_call_arguments(const struct trap_frame *f, word_t a[5])
{
	a[0] = f->ebx, a[1] = f->ecx, a[2] = f->edx, a[3] = f->esi, a[4] = f->edi;
}
static inline void trap_call_result(struct trap_frame *f, word_t value) { f->eax = value; }

/* The register that the nanobenchmarks' handlers correct (nanobench.c uses "b"). */
static inline void trap_correct(struct trap_frame *f, word_t value) { f->ebx = value; }

/* A fresh user context: all registers zero, interrupts on, SP at the argument block. */
static inline void trap_start_user(struct trap_frame *f, word_t entry, word_t sp)
{
	*f = (struct trap_frame){ .es = 0x23, .ds = 0x23, .ip = entry, .cs = 0x1b, .flags = 0x202, .sp = sp, .ss = 0x23 };
}

#endif
