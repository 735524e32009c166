/*
 * Memory as engines and string instructions reach it.
 *
 * Invariant: an access either completes with its events written, or leaves guest memory as it was and names its fault.
 */
#ifndef ISA_MEMORY_H
#define ISA_MEMORY_H
#include "block.h"

/* The entry that serves [gva, gva+size) for the given column, or a miss. `real` is set on a hit. The index is of the first byte and the tag of the last. */
static inline __attribute__((always_inline)) struct fast_entry *memory_entry(struct cpu *cpu, uint64_t gva)
{
	return (struct fast_entry *)((char *)cpu->mem.table + (gva >> (12 - FAST_ENTRY_SHIFT) & cpu->mem.byte_mask));
}
static inline __attribute__((always_inline)) uint64_t memory_tag(const struct cpu *cpu, uint64_t gva, unsigned size)
{
	return ((gva + size - 1) & ~0xfffull) | cpu->mem.tag;
}
static inline __attribute__((always_inline)) uint8_t *memory_real(const struct fast_entry *e, uint64_t gva)
{
	return (uint8_t *)(uintptr_t)(gva + e->addend);
}

/* For micro-ops whose fast path missed: they settle, and raise. `u->seg` decides between #GP and #SS for an address that is not canonical. */
uint64_t memory_load_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, unsigned size);
/* A load checked as a write (RMW). */
uint64_t memory_rmw_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, unsigned size);
void memory_store_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, uint64_t value, unsigned size);
/* The store after an RMW. */
void memory_store_quiet_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, uint64_t value, unsigned size);
void memory_loadx_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, union xmm *to, unsigned size, bool aligned);
void memory_storex_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, const union xmm *from, unsigned size, bool aligned);
/* The real address of the byte at `linear` for reading or writing to the end of its page, without an event; NULL when accesses must go one by one (no memory, tracked page).
 * Raises a fault. *left: bytes to the end of the page. */
uint8_t *memory_window(struct cpu *cpu, uint64_t linear, unsigned size, bool write, unsigned *left);
/* EVF_ flags of an access now. */
static inline unsigned memory_flags(const struct cpu *cpu, bool supervisor) { return cpu->cpl == 3 ? supervisor ? EVF_SUPERVISOR : EVF_USER : 0; }

/* Where the bytes of an access are, by the fast table, its event written: for engines, when the event filter does not know it. NULL: not there, and nothing happened. */
uint8_t *memory_observe(struct cpu *cpu, enum event_kind kind, uint64_t ea, unsigned size);

/* ---- mem_read_u() and kin as part of their callers ---- */
/* The real address of an access that the fast table serves whole; NULL: the long way. */
static inline __attribute__((always_inline)) uint8_t *memory_quick(struct cpu *cpu, uint64_t linear, unsigned size, bool write, bool supervisor)
{
	struct fast_entry *e = memory_entry(cpu, linear);
	uint64_t tag = ((linear + size - 1) & ~0xfffull) | (supervisor ? cpu->mem.supervisor_tag : cpu->mem.tag);
	return tag == (write ? e->write : e->read) ? memory_real(e, linear) : NULL;
}

/* A load of 1, 2, 4 or 8 bytes that does not go through memory: a wide load behind narrow stores would wait for them. */
static inline uint64_t memory_load(const uint8_t *from, unsigned size)
{
	uint8_t b;
	uint16_t w;
	uint32_t d;
	uint64_t q;
	switch (size) {
	case 1: memcpy(&b, from, 1); return b;
	case 2: memcpy(&w, from, 2); return w;
	case 4: memcpy(&d, from, 4); return d;
	default: memcpy(&q, from, 8); return q;
	}
}

static inline void memory_put(uint8_t *to, uint64_t v, unsigned size)
{
	uint8_t b = (uint8_t)v;
	uint16_t w = (uint16_t)v;
	uint32_t d = (uint32_t)v;
	switch (size) {
	case 1: memcpy(to, &b, 1); break;
	case 2: memcpy(to, &w, 2); break;
	case 4: memcpy(to, &d, 4); break;
	default: memcpy(to, &v, 8); break;
	}
}

uint64_t memory_get_slow(struct cpu *cpu, uint64_t linear, unsigned size, bool supervisor);
static inline uint64_t memory_get(struct cpu *cpu, uint64_t linear, unsigned size, bool supervisor)
{
	const uint8_t *real = memory_quick(cpu, linear, size, false, supervisor);
	if (__builtin_expect(!real, 0))
		return memory_get_slow(cpu, linear, size, supervisor);
	event_put_data(cpu->events, EV_LOAD, memory_flags(cpu, supervisor), size, linear, real);
	return memory_load(real, size);
}
#endif
