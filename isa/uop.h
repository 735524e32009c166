/*
 * Micro-ops: the one vocabulary that every engine speaks.
 *
 * Invariant: a micro-op's meaning is its body in isa/uop_*.h, written once; isa/uops.def lists them, and the threaded engine, the switch engine, the names and the
 * facts are generated from that list. Between the micro-ops of one instruction nothing architectural has changed until the last one that can fault has passed.
 *
 * Shapes (what a generator must know of a row):
 *   PLAIN  computes; goes on with the next micro-op. May raise (FACT_STOP).
 *   LOAD   v = memory[ea] by `type`; then uop_<name>_done(cpu, u, v).
 *   RMW    the same, but the access is checked as a write: the STORE of kind QUIET that follows cannot fault. One EV_RMW.
 *   STORE  memory[ea] = uop_<name>_value(cpu, u); then uop_<name>_done(cpu, u).
 *   QUIET  a STORE after an RMW: no event of its own.
 *   LOADX, STOREX   `bytes` between memory and an XMM register (u->dst, u->b: 0..15, 16 and 17: cpu->xmm_temp).
 *   END    ends the block; returns the first micro-op of the next block, or NULL to go through the dispatcher with cpu->rip set.
 * Forms of an effective address:
 *   bd    base + disp                     sib    base + (index << scale) + disp
 *   bd32  the same modulo 2^32            sib32  the same modulo 2^32
 *   abs   imm                             seg    the base of segment `seg` + sib
 */
#ifndef ISA_UOP_H
#define ISA_UOP_H
#include "cpu.h"

struct uop;
typedef void uop_fn(struct cpu *cpu, const struct uop *u);

struct uop { /* 32 bytes */
	uop_fn *fn;      /* the threaded engine's handler */
	uint16_t op;     /* enum uop_op */
	uint8_t dst, a, b; /* enum reg. Memory forms: a is the base, b the value stored */
	uint8_t index, scale, seg;
	uint64_t imm;    /* immediate, address (form abs), or a real pointer (help, sys, sse) */
	int32_t disp;
	uint16_t offset; /* of the instruction from the block's first byte */
	uint8_t insn;    /* number of the instruction in the block */
	uint8_t size;    /* bytes, where the row's name does not say it */
};
_Static_assert(sizeof(struct uop) == 32, "two micro-ops a cache line");

enum uop_form { FORM_BD, FORM_SIB, FORM_BD32, FORM_SIB32, FORM_ABS, FORM_SEG, FORM_COUNT }; /* ORDER FORM: as in uops.def */

enum uop_op {
#define PLAIN(name, facts) UOP_##name,
#define END(name, facts) UOP_##name,
#define MEMORY(name, form, facts) UOP_##name##_##form,
#include "uops_alike.def"
	UOP_COUNT
};

enum uop_fact {
	FACT_NONE = 0,
	FACT_SETS = 1,   /* defines all six arithmetic flags without looking at them */
	FACT_USES = 2,   /* looks at them, or changes only some */
	FACT_STOP = 4,   /* may fault or leave the block here: the flags must be right before it */
	FACT_TWIN = 8,   /* ORDER TWIN: the next row is the same without flags */
	FACT_VOID = 16,  /* has no other effect than flags: may be dropped when they are dead */
	FACT_MEMORY = 32,
	FACT_END = 64,
};
extern const uint8_t uop_facts[UOP_COUNT];
extern const char *const uop_names[UOP_COUNT];
extern uop_fn *const uop_threaded[UOP_COUNT];          /* functional: nobody observes */
extern uop_fn *const uop_threaded_observed[UOP_COUNT]; /* events, and the VMM's block hook */

/* A helper micro-op's C function; runs with rip and icount exact; may raise. */
typedef void uop_help_fn(struct cpu *cpu, const struct uop *u);

/* The common case of a system instruction, with nobody watching: does all of it, or returns false and has changed nothing. Runs before the block is settled: it looks at
 * neither icount nor budget, raises nothing, calls no port, and changes no general register but RCX, R11 and RSP (the translator has the others in real ones). */
typedef bool sys_quick_fn(struct cpu *cpu, const struct uop *u, const struct sys_operands *o);
/* The quick form of a system instruction, or NULL. */
sys_quick_fn *sys_quick_find(sys_fn *fn);

/* A system instruction inside a block: micro-op `sys` or `sys_end` points to it. */
struct uop_sys {
	sys_fn *fn;
	sys_quick_fn *quick; /* NULL: there is none */
	struct sys_operands o;
	uint64_t mask; /* of the effective address; 0: there is none, and `o` is complete */
};
#endif
