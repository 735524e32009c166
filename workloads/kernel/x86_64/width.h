/*
 * x86_64: what the shared kernel needs to know about 64-bit mode. The i386 folder has the file of the same name.
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

/* Four-level paging: 9 + 9 + 9 + 9 + 12 bits (SDM 3A 4.5). */
#define KBASE 0xffffffff80000000ull
#define USER_TOP 0x00007ffffffff000ull
#define USER_MAP_BASE 0x00007f0000000000ull
#define USER_NANOBENCH 0x70000000ull
#define PT_LEVELS 4
#define PT_BITS 9
#define PT_USER_SLOTS 256 /* root entries of the lower half */
#define PTE_NX (1ull << 63)
#define PTE_ADDRESS 0x000ffffffffff000ull

#define ELF_CLASS 2
#define ELF_MACHINE 62
struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf_segment {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

struct trap_frame {
	word_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	word_t vector, error;
	word_t ip, cs, flags, sp, ss;
};

/* System call: number, five arguments, result. */
static inline word_t trap_call_number(const struct trap_frame *f) { return f->rax; }
static inline void trap_call_arguments(const struct trap_frame *f, word_t a[5])
{
	a[0] = f->rdi, a[1] = f->rsi, a[2] = f->rdx, a[3] = f->r10, a[4] = f->r8;
}
static inline void trap_call_result(struct trap_frame *f, word_t value) { f->rax = value; }

/* The register that the nanobenchmarks' handlers correct (nanobench.c uses "b"). */
static inline void trap_correct(struct trap_frame *f, word_t value) { f->rbx = value; }

/* A fresh user context: all registers zero, interrupts on, SP at the argument block. */
static inline void trap_start_user(struct trap_frame *f, word_t entry, word_t sp)
{
	*f = (struct trap_frame){ .vector = f->vector, .ip = entry, .cs = 0x2b, .flags = 0x202, .sp = sp, .ss = 0x23 };
}

#endif
