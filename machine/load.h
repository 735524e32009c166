/*
 * Loaders: kernel images into guest memory.
 *
 * Invariant: a hostile file can only make a loader return false with one line that names the file and a remedy. Nothing outside [0, memory) is written, nothing outside the file is read.
 */
#ifndef MACHINE_LOAD_H
#define MACHINE_LOAD_H
#include "../isa/cpu.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load_file { char path[512]; uint8_t *bytes; size_t size; };
struct load_memory { uint8_t *bytes; uint64_t size; }; /* guest-physical memory from 0 */
struct load_error { char *text; size_t size; };
struct load_image { /* what a loaded kernel looks like */
	unsigned width;          /* 32 or 64: class of the ELF file; 32 for an image without one */
	uint64_t entry;          /* as the file says: virtual in a paravirtual kernel */
	uint64_t entry_physical; /* the same through the segment that holds it */
	uint64_t low, high;      /* guest-physical range [low, high) that it takes, its zeroed part included */
};

/* Reads a whole file (at most 1 GiB). */
bool load_file_read(struct load_file *f, const char *path, struct load_error *e);
void load_file_free(struct load_file *f);
/* One line into the error; returns false. */
bool load_fail(const struct load_error *e, const struct load_file *f, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Checks [at, at + bytes) against guest memory. */
static inline bool load_fits(const struct load_memory *m, uint64_t at, uint64_t bytes)
{
	return bytes <= m->size && at <= m->size - bytes;
}

/* ELF32 or ELF64 executable, i386 or x86-64, by p_paddr. Does the file look like ELF at all? */
bool elf_recognize(const struct load_file *f);
bool elf_load(const struct load_file *f, const struct load_memory *m, struct load_image *out, struct load_error *e);

/* Multiboot 1 (Multiboot Specification 0.6.96). */
bool multiboot_recognize(const struct load_file *f);
/* Loads kernel and modules, and leaves the information structure's address in *info. `top`: end of guest RAM. */
bool multiboot_load(const struct load_file *f, const struct load_file *module, unsigned modules, const char *cmdline, const struct load_memory *m, struct load_image *out, uint32_t *info,
	struct load_error *e);
/* Machine state at entry: section 3.2. */
void multiboot_enter(struct cpu *cpu, const struct load_image *image, uint32_t info);
#endif
