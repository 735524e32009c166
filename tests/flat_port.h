/*
 * A memory port for tests of isa/ alone: linear address = physical address.
 *
 * Invariant: nothing is ever translated but the page `moved`; a page that does not exist in `phys`, or is the one named `absent`, raises #PF as a page that is not present would (SDM 3A 4.7).
 */
#ifndef TESTS_FLAT_PORT_H
#define TESTS_FLAT_PORT_H
#include "isa/cpu.h"
#include "isa/engine.h"

#define FLAT_ENTRIES 256
#define FLAT_PAGES 4096 /* pages whose code is followed: 16 MiB */

struct flat_port {
	struct phys *phys;
	uint64_t absent; /* address of a page that is not present; ~0: none */
	uint64_t moved, to; /* linear address of a page that lies elsewhere, 0: none; and where */
	struct fast_entry table[FLAT_ENTRIES];
	bool code[FLAT_PAGES];
	unsigned context_changes, invlpgs, invpcids;
	bool last_no_flush;
};

static inline bool flat_fill(void *self, struct cpu *cpu, uint64_t gva, enum access access, bool supervisor, unsigned size, struct mem_fill *out)
{
	struct flat_port *f = self;
	uint64_t page = gva & ~0xfffull, at = f->moved && page == f->moved ? f->to + (gva & 4095) : gva;
	bool user = cpu->cpl == 3 && !supervisor;
	(void)size;
	if (page == (f->absent & ~0xfffull) || !phys_ptr(f->phys, page, 4096)) {
		out->fault = (struct mem_fault){ VEC_PF, (access == ACCESS_WRITE ? 2 : 0) | (user ? 4 : 0) | (access == ACCESS_EXEC && cpu->efer & EFER_NXE ? 16 : 0), gva };
		return false;
	}
	out->hpa = at;
	out->real = f->phys->bytes + at;
	out->tracked = at >> 12 < FLAT_PAGES && f->code[at >> 12];
	struct fast_entry *e = &f->table[gva >> 12 & (FLAT_ENTRIES - 1)];
	uint64_t addend = (uint64_t)(uintptr_t)out->real - gva;
	if (e->addend != addend)
		*e = (struct fast_entry){ FAST_NEVER, FAST_NEVER, FAST_NEVER, addend };
	e->read = e->exec = page;
	e->write = out->tracked ? FAST_NEVER : page;
	return true;
}

static inline void flat_store(void *self, struct cpu *cpu, uint64_t gva, const struct mem_fill *where, const void *data, unsigned size, bool supervisor)
{
	struct flat_port *f = self;
	(void)supervisor;
	if (!where->quiet)
		event_put(cpu->events, EV_STORE, cpu->cpl == 3 ? EVF_USER : 0, size, 0, gva);
	memcpy(where->real, data, size);
	f->code[where->hpa >> 12] = block_cache_store(cpu, where->hpa, size);
}

static inline void flat_mark_code(void *self, uint64_t hpa)
{
	struct flat_port *f = self;
	if (hpa >> 12 < FLAT_PAGES)
		f->code[hpa >> 12] = true;
	f->table[hpa >> 12 & (FLAT_ENTRIES - 1)].write = FAST_NEVER;
}

static inline void flat_context_changed(void *self, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush)
{
	struct flat_port *f = self;
	(void)cpu, (void)why, (void)old_value;
	f->context_changes++;
	f->last_no_flush = no_flush;
}

static inline void flat_invlpg(void *self, struct cpu *cpu, uint64_t gva)
{
	(void)cpu, (void)gva;
	((struct flat_port *)self)->invlpgs++;
}

static inline void flat_invpcid(void *self, struct cpu *cpu, unsigned type, unsigned pcid, uint64_t gva)
{
	(void)cpu, (void)type, (void)pcid, (void)gva;
	((struct flat_port *)self)->invpcids++;
}

/* Makes the page of `address` not present (~0: none), and forgets what the fast table knows. */
static inline void flat_set_absent(struct flat_port *f, struct cpu *cpu, uint64_t address)
{
	f->absent = address;
	for (unsigned i = 0; i < FLAT_ENTRIES; i++)
		f->table[i] = (struct fast_entry){ FAST_NEVER, FAST_NEVER, FAST_NEVER, 0 };
	cpu->mem.epoch++;
}

static inline void flat_port_attach(struct flat_port *f, struct cpu *cpu, struct phys *phys)
{
	memset(f, 0, sizeof *f);
	f->phys = phys;
	cpu->phys = phys;
	cpu->mem = (struct memory_port){ .self = f, .fill = flat_fill, .store = flat_store, .mark_code = flat_mark_code,
		.context_changed = flat_context_changed, .invlpg = flat_invlpg, .invpcid = flat_invpcid };
	memory_port_use(&cpu->mem, f->table, FLAT_ENTRIES);
	flat_set_absent(f, cpu, ~0ull);
}
#endif
