/*
 * The ports of isa/: what a CPU needs from rooms above it. isa/ owns these declarations and calls through them; it names nothing above.
 *
 * Invariant: engines reach memory only through memory_port, devices only through io_port, a VMM only through vmm_port and time only
 * through clock_port; each may be replaced without the engine knowing.
 */
#ifndef ISA_PORTS_H
#define ISA_PORTS_H
#include "event.h"
#include <stdbool.h>
#include <stdint.h>

struct cpu;

enum sensitive {
#define SENSITIVE(name, text) SENS_##name,
#include "sensitive.def"
#undef SENSITIVE
	SENS_COUNT
};
_Static_assert(SENS_COUNT <= 64, "a trap set is one 64-bit word");
#define SENS_BIT(s) (1ull << (s))
const char *sensitive_name(enum sensitive s);

/* ------------------------------------------------------------------ memory */
enum access { ACCESS_READ = 0, ACCESS_WRITE = 1, ACCESS_EXEC = 2 };

/*
 * One entry of the fast translation table (32 bytes). It matches when tag == ((gva of the last byte & ~0xfff) | memory_port.tag), so an access that
 * crosses a page never matches (neighbouring pages have different indices: mask >= 1). A tag that cannot match (FAST_NEVER) sends every access to the slow path: code pages and page tables for writes.
 */
struct fast_entry {
	uint64_t read, write, exec;
	uint64_t addend; /* real address = gva + addend (modulo 2^64) */
};
#define FAST_NEVER 0xfffull /* context tags stay below it */

struct mem_fault { /* what a failed translation raises */
	uint8_t vector;    /* 14 */
	uint32_t error;    /* page-fault error code, SDM 3A 4.7 */
	uint64_t cr2;
};

struct mem_fill { /* what a translation gave */
	uint64_t hpa;      /* of the byte */
	uint8_t *real;     /* its real address, valid to the end of its 4 KiB page; NULL: no memory there (reads all ones, writes ignored) */
	bool tracked;      /* stores must go through port->store (code page or page table) */
	bool table;        /* and are events of their own (page table) */
	bool quiet;        /* for port->store: an EV_RMW was written with the load; a page table's store is told all the same */
	struct mem_fault fault; /* when fill returned false */
};

enum context_change { /* why memory_port.context_changed is called, after the register has its new value */
	CONTEXT_CR0, CONTEXT_CR3, CONTEXT_CR4, CONTEXT_EFER, CONTEXT_RESET
};

enum memory_mode { MEMORY_USER, MEMORY_SUPERVISOR /* SMAP applies */, MEMORY_SUPERVISOR_AC /* EFLAGS.AC: it does not */, MEMORY_MODES };

struct memory_port { /* implemented by tlb/ (softtlb + the technique's memory part) */
	struct fast_entry *table; /* mask + 1 entries, index = (gva >> 12) & mask; both may change whenever the port is called: memory_port_use() */
	uint64_t mask;
	uint64_t byte_mask;       /* of (gva >> 7): the entry's offset in the table */
	uint64_t tag;             /* context and access mode now: 12 bits */
	uint64_t supervisor_tag;  /* the same for implicit supervisor accesses (equal to tag at CPL < 3) */
	uint64_t mode_tag[MEMORY_MODES]; /* what the two are taken from; the port writes these when the context changes, and calls cpu_memory_mode_follow() */
	uint64_t epoch;           /* grows whenever any translation may have ended; engines drop intra-page block chains when it moved */
	void *self;
	/* Translates the page of gva for one access and enters it in the table where it may be. `supervisor`: implicit supervisor access. Emits EVF_FAULT accesses
	   itself, and whatever the technique does about the miss. `size`: of the access; of a fetch, 1 + bytes of the instruction in the page before. Returns false with out->fault for a guest fault (architectural state untouched; A/D bits as SDM 3A 4.8). */
	bool (*fill)(void *self, struct cpu *cpu, uint64_t gva, enum access access, bool supervisor, unsigned size, struct mem_fill *out);
	/* A store of size <= 16 within one page that fill() called `tracked`. Emits EV_STORE or EV_TABLE_STORE, keeps blocks and tables coherent, writes. */
	void (*store)(void *self, struct cpu *cpu, uint64_t gva, const struct mem_fill *where, const void *data, unsigned size, bool supervisor);
	/* Code was taken from this page into a block: stores to it must be seen. */
	void (*mark_code)(void *self, uint64_t hpa);
	/* A control register changed (flush rules of SDM 3A 4.10.4 are applied here). no_flush: bit 63 of the MOV CR3 operand. */
	void (*context_changed)(void *self, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush);
	/* May PAE paging load its PDPTEs from this CR3? False: one has reserved bits set (SDM 3A 4.4.1), and the move to the control register raises #GP(0). No events. NULL: always. */
	bool (*pdptes_valid)(void *self, const struct cpu *cpu, uint64_t cr3);
	void (*invlpg)(void *self, struct cpu *cpu, uint64_t gva);
	void (*invpcid)(void *self, struct cpu *cpu, unsigned type, unsigned pcid, uint64_t gva); /* operands already checked */
};

enum { FAST_ENTRY_SHIFT = 5 };
_Static_assert(sizeof(struct fast_entry) == 1 << FAST_ENTRY_SHIFT, "the index times the entry's size is a shift");
static inline void memory_port_use(struct memory_port *m, struct fast_entry *table, uint64_t entries)
{
	m->table = table;
	m->mask = entries - 1;
	m->byte_mask = m->mask << FAST_ENTRY_SHIFT;
}

/* ------------------------------------------------------------------ the VMM */
struct vmm_port { /* implemented by the CPU part of a technique; all hooks NULL and trap_set 0 is bare hardware */
	uint64_t trap_set;  /* SENS_BIT()s applied when a block is built: only these call `sensitive` */
	void *self;
	/* Called before the instruction's effect (after EV_SENSITIVE, after privilege checks against the *virtual* CPL have passed).
	   Returns true when the VMM has carried it out itself and advanced nothing: the engine then goes to the next instruction. */
	bool (*sensitive)(void *self, struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value);
	/* An exception, INT n or external interrupt is about to be delivered to the guest. vector; error < 0: none. Returns true when the VMM has put the guest
	   where it belongs (paravirt bounce). cpu->rip is the address to be saved. */
	bool (*deliver)(void *self, struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2);
	/* A privileged instruction or IO without permission raised #GP at CPL != 0 (deprivileged guests). Same contract as `sensitive`; false: the guest takes the #GP. */
	bool (*privileged)(void *self, struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value);
	/* A block is about to run / was just built (binary translation). NULL where the technique does not care: engines then do not check.
	   block_enter is called for every block entered at CPL < 3, before its EV_BLOCK; `indirect`: reached through an indirect branch or return. */
	void (*block_enter)(void *self, struct cpu *cpu, uint32_t id, uint64_t pc, bool indirect);
	/* Sets kept[id] = 1 for every block number that the VMM remembers, before others are given to new code. NULL: it remembers none. */
	void (*blocks_keep)(void *self, uint8_t *kept);
	/* The guest's privilege level changed (after the change). NULL: not wanted. */
	void (*cpl_changed)(void *self, struct cpu *cpu, unsigned from);
};

/* ------------------------------------------------------------------ devices and time */
struct io_port {
	void *self;
	uint32_t (*in)(void *self, struct cpu *cpu, uint16_t port, unsigned size);
	void (*out)(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value);
};

struct clock_port { /* reading it drains the events first: the first of the four places where time flows back */
	void *self;
	uint64_t (*now)(void *self); /* virtual time, in the machine's time units (cycles of the core model, or instructions without one) */
};
#endif
