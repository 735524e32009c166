/*
 * The translator: blocks of micro-ops become x86-64 code.
 *
 * Invariant: wherever emitted code calls C, jumps to another block or leaves, cpu is exactly what the threaded engine's would be there; between, guest registers live in real ones
 * (dbt_host). Code lives until its region of the code memory is wanted for other code, or its block is freed.
 */
#ifndef ISA_ENGINE_DBT_H
#define ISA_ENGINE_DBT_H
#include "block.h"
#include "emit_x86_64.h"
#include "uop.h"
#include <stddef.h>

enum dbt_shape { SHAPE_PLAIN, SHAPE_END, SHAPE_LOAD, SHAPE_RMW, SHAPE_STORE, SHAPE_QUIET, SHAPE_LOADX, SHAPE_STOREX };
enum memory_form { MEMORY_FORM_bd, MEMORY_FORM_sib, MEMORY_FORM_bd32, MEMORY_FORM_sib32, MEMORY_FORM_abs, MEMORY_FORM_seg };
enum dbt_family { /* memory micro-ops without their form */
	FAMILY_none,
#define FAMILY_bd(name) FAMILY_##name,
#define FAMILY_sib(name)
#define FAMILY_bd32(name)
#define FAMILY_sib32(name)
#define FAMILY_abs(name)
#define FAMILY_seg(name)
#define PLAIN(name, facts)
#define END(name, facts)
#define MEMORY(name, form, facts) FAMILY_##form(name)
#include "uops_alike.def"
#undef FAMILY_bd
#undef FAMILY_sib
#undef FAMILY_bd32
#undef FAMILY_sib32
#undef FAMILY_abs
#undef FAMILY_seg
	FAMILY_pop32, FAMILY_push32, FAMILY_pushi32,
};

/* What the translator knows of a micro-op: its C functions and its shape. */
struct dbt_row {
	uop_fn *call;                                                      /* everything but SHAPE_END */
	void (*slow)(struct cpu *cpu, const struct uop *u, uint64_t ea);   /* memory: completes it after a miss of the fast table */
	const struct uop *(*end)(struct cpu *cpu, const struct uop *u);    /* SHAPE_END: as in uop.h */
	uint8_t shape, form, bytes, family;
};
extern const struct dbt_row dbt_rows[UOP_COUNT], dbt_rows_observed[UOP_COUNT];

enum dbt_exit_kind { /* why emitted code came back */
	EXIT_CHAIN0, EXIT_CHAIN1, /* the running block ends by this way, and the jump is not linked */
	EXIT_LAST,                /* the block was entered, and the budget is gone with it: to be interpreted */
	EXIT_STALE,               /* a linked jump met a block that must not be entered; rip is set */
	EXIT_END,                 /* the running block's end micro-op is to be run by its C function */
	EXIT_ENTER,               /* `value`: a block without code, reached by an indirect branch */
	EXIT_SYSTEM,              /* a system instruction is done, rip is set, and its next block is not in the table */
	EXIT_RETURN,              /* a RET has moved the stack pointer, and is to be run by its C function. `value`: the link at the landing that it met, or NULL */
	EXIT_FINISH,              /* the running block died; `value`: the micro-op to go on with */
};
struct dbt_exit { uint64_t kind, value; };

enum dbt_variant { DBT_FUNCTIONAL, DBT_EVENTS, DBT_HOOKED /* a VMM's block hook without events */ }; /* DBT_VARIANTS of them: block.code[], block.dbt[] */

struct dbt_link { /* a jump out of a translation */
	uint8_t *site, *out;      /* where its distance is (writable mapping), NULL: there is no such way; where it goes while not linked */
	struct dbt_code *to;      /* where it goes, or NULL */
	struct dbt_link *next, **prev; /* the jumps that go there */
	uint8_t cuts;             /* DBT_RETURN: how often the table held another block, and where it goes when that has been too often */
	uint8_t *behind;
};
enum { DBT_RETURN = 2, DBT_LINKS = 3 }; /* dbt_code.link[]: by way; then where the CALL that ends the block returns to */
struct dbt_code { /* a translation */
	struct block *block;      /* NULL: dropped */
	unsigned variant;
	const uint8_t *enter, *body; /* where jumps enter it; where the dispatcher does */
	struct dbt_link link[DBT_LINKS];
	struct dbt_link *in, *returns; /* the jumps that come here; the landings that do, while the cache's table has the block */
	struct dbt_code *next;    /* of the same region */
};

enum { DBT_REGIONS = 64, DBT_BEFORE = 16384 /* bytes: stubs and what is made for a filter */ };
struct dbt { /* one a block cache */
	struct emit emit;         /* where the next block's code goes */
	uint8_t *memory, *made, *first; /* the writable mapping; behind the stubs: what is made for the filter; then the regions */
	size_t size;
	unsigned regions, region; /* the one being filled */
	struct dbt_code *codes[DBT_REGIONS];
	uint64_t evictions, translations, landings; /* so far: regions that were emptied for other code; blocks that were translated; landings that were linked */
	uint64_t generation;      /* of the block cache that the code belongs to */
	enum dbt_variant variant; /* of what runs now */
	bool events_on, hook;     /* what observed code was made for */
	const struct event_filter *filter; /* and that: NULL: every event is written */
	struct dbt_exit (*enter)(struct cpu *cpu, const uint8_t *code, const uint8_t *empty); /* `empty`: return_empty, to run */
	/* stubs, in the writable mapping */
	uint8_t *exit, *exit_chain[2], *exit_stale, *exit_end, *exit_enter, *exit_last, *exit_system;
	uint8_t *exit_resolve;    /* rip is set, and the next block is to be looked for */
	uint8_t *exit_return;     /* dx: the link, or 0 */
	uint8_t *return_lookup[DBT_VARIANTS]; /* a RET to r11 by the cache's table */
	uint8_t *return_empty[DBT_VARIANTS];  /* the same, where a RET comes that has no CALL */
	uint8_t *return_forget[DBT_VARIANTS]; /* goes to block cx, and forgets what was called */
	uint8_t *system;          /* the system instruction of micro-op cx, which ends its block; goes on with the next block */
	uint8_t *quick;           /* the same by its quick form, where nobody observes */
	uint8_t *call;            /* calls dx(cpu, cx, ax): a C function of a micro-op */
	uint8_t *call_stop;       /* the same, when it may have killed the running block */
	uint8_t *call_carry;      /* ax = the guest's carry flag; nothing else changes but cx, dx and the flags */
	uint8_t *call_set_carry;  /* the guest's carry flag = cx; as call_carry */
	uint8_t *call_flags;      /* ax = the six arithmetic flags in their places, from cpu->flags; changes cx, dx */
	uint8_t *call_condition;  /* al = whether condition cx holds; as call_carry */
	uint8_t *call_sse;        /* ax(cpu, cpu + (cx >> 8), dx, cx & 255): an SSE operation; ZF: it wants an exception */
	uint8_t *mxcsr_begin;     /* real MXCSR = the guest's; if that has an exception unmasked, the rest of the block is interpreted from micro-op dx. Changes ax */
	uint8_t *drain;           /* event_drain(); keeps dx */
	uint8_t *observe[2];      /* a load, or a store, at ax that the filter does not know, event head in dx: looked up and written. ZF: neither; else cx = addend */
};
/* Runs code. */
static inline struct dbt_exit dbt_call(struct cpu *cpu, const struct dbt *d, const uint8_t *code) { return d->enter(cpu, code, d->return_empty[d->variant] + d->emit.to_run); }
/* ---- code memory and links (isa/engine_dbt_cache.c) ---- */
struct dbt *dbt_create(size_t bytes, unsigned regions); /* NULL: no executable memory to be had */
void dbt_destroy(struct dbt *d); /* NULL is fine */
/* A cache's translator memory, for tests that want little of it: before the engine first runs. False: none to be had. */
bool dbt_attach(struct block_cache *c, size_t bytes, unsigned regions);
void dbt_stubs(struct dbt *d);
/* CALL ax, a C function, from emitted code, whose stack may be anywhere. Changes r11. */
void dbt_emit_call_c(struct emit *e);
/* Drops all translations. `blocks`: their blocks are still there. */
void dbt_forget(struct dbt *d, bool blocks);
/* Drops those of dead blocks, which are about to be freed, and what dbt_drop() has left. */
void dbt_forget_dead(struct dbt *d);
/* Goes on to the next region, whose translations go. */
void dbt_next_region(struct dbt *d);
/* Takes a block's translations away; their code is left until its region goes. Not while the block runs. */
void dbt_drop(struct dbt *d, struct block *b);
/* A translation (calloc'ed) in the present region, for its block. */
void dbt_keep(struct dbt *d, struct dbt_code *c);
/* Points the block's jumps at the translations of the blocks that it is chained to. */
void dbt_link(struct dbt *d, const struct block *b);
/* Points a landing at the block that its RET has led to, if that has a translation and the cache's table holds it. */
void dbt_return_link(struct dbt *d, struct dbt_link *l, const struct block *to, const struct block *in_table);
/* The table is about to hold another block: landings no longer go to this one. */
void dbt_return_cut(struct block *b);

struct translation;
/* ---- calls and returns (isa/engine_dbt_return.c) ---- */
void dbt_return_stubs(struct dbt *d);
/* Part of stub_enter(): no CALL is known; `empty`: the register that holds return_empty. Changes cx. */
void dbt_return_enter(struct emit *e, unsigned empty);
/* Before a real CALL: a jump away, for dbt_emit_landing(), where there is no room for a return address. */
uint8_t *dbt_emit_room(struct translation *t);
/* What is behind the real CALL at `call`. */
void dbt_emit_landing(struct translation *t, uint8_t *full, const uint8_t *call);
/* The micro-op `ret`, whose target is where the crack leaves it: false when it is not. */
bool dbt_emit_ret(struct translation *t, const struct uop *u);

/* Real register `reg`, an address, becomes the offset of its entry in the filter. */
void dbt_emit_filter_index(struct emit *e, const struct event_filter *f, unsigned reg);
/* Makes dbt.observe for a filter (NULL: none), in front of the blocks. */
void dbt_emit_observe(struct dbt *d, const struct event_filter *f);

/* ---- translation of one block ---- */
enum { DBT_MAX_SITES = 1400 };
enum dbt_site_kind { SITE_UOP, SITE_DRAIN /* the event buffer is full */, SITE_BLOCK /* block_observe() */, SITE_OBSERVE /* dbt.observe, then as SITE_UOP */, SITE_MXCSR /* dbt.mxcsr_begin */ };
/* How cpu->flags follows from registers, while it has not been stored. */
struct dbt_recipe {
	bool pending;            /* false: cpu->flags is right */
	bool compare;            /* the result is in no register: it is `result` - source, or `result` & source */
	uint8_t op;              /* lazy_flags.op: ADD, SUB, LOGIC, INC, DEC (extra is stored) */
	uint8_t result, source;  /* guest registers; source REG_ZERO: imm */
	uint64_t imm;            /* cut to the operand's size */
};
struct dbt_site { /* a slow path, out of line */
	enum dbt_site_kind kind;
	uint32_t head;           /* SITE_OBSERVE: the event's */
	uint8_t *from, *back;    /* the jump to it; where it goes on (writable mapping) */
	uint8_t *hit;            /* SITE_OBSERVE: and where with cx = addend */
	const struct uop *u;
	unsigned uops;           /* from u on: one, or those of a run */
	struct dbt_recipe recipe; /* the flags there */
	uint32_t xmm;            /* translation.xmm and .fp where it goes on */
	bool fp;
};

enum live { LIVE_NONE = 0, LIVE_CARRY = 1, LIVE_OVERFLOW = 2, LIVE_REST = 4 /* ZF, SF, PF */, LIVE_ALL = 7 }; /* AF never */
struct translation {
	struct dbt *d;
	struct block *b;
	struct dbt_code *code;
	const struct dbt_row *rows;
	struct emit *e;
	bool observed;
	int flags;               /* lazy_flags.op of the last writer in this block, stored or not; -1: not known */
	struct dbt_recipe recipe;
	uint32_t xmm;            /* set of XMM registers and temporaries that real ones hold copies of (isa/engine_dbt_sse.c) */
	bool fp;                 /* cpu->mxcsr_real is 1 */
	bool last;               /* for an emitter: the block ends here, flags are to be stored at once */
	unsigned live;           /* set of enum live: which real flags are the guest's */
	bool carry;              /* for an emitter: the real CF was the guest's before it */
	unsigned sites;
	struct dbt_site site[DBT_MAX_SITES];
};

/* Translates a block; false when there was no room. */
bool dbt_translate(struct cpu *cpu, struct dbt *d, struct block *b);
/* Each emits one micro-op, or returns false when it has no emitter: then the C function is called. */
bool dbt_emit_alu(struct translation *t, const struct uop *u);
bool dbt_emit_memory(struct translation *t, const struct uop *u);
/* How many pushes, or pops (and the load of a return), follow on each other from u on; fewer than two, or observed: 0. And all of them with one look into the fast table: what is not in one
 * page there, the C functions do one by one. */
unsigned dbt_stack_run(const struct translation *t, const struct uop *u);
void dbt_emit_stack_run(struct translation *t, const struct uop *u, unsigned n);
bool dbt_emit_sse(struct translation *t, const struct uop *u);
/* The common case of a system instruction that ends its block, if it has an emitter here, and the way to the next block; falls through where C must do it. */
void dbt_emit_system(struct translation *t, const struct uop *u, const struct cpu *cpu);
/* The block's way out by this jump. */
void dbt_emit_way(struct translation *t, unsigned way, uint8_t *site);
/* cx = the block of mode `key` at offset dx, by the cache's table; else takes the jumps `miss`. Changes ax. */
void dbt_emit_lookup(struct translation *t, uint32_t key, uint8_t *miss[2]);
/* `to` = the effective address of u, of 4 or 8 bytes, without segment or form: base + disp, `indexed`: + index. `to` is ax, or a register that is no scratch. Keeps the real flags. */
void dbt_emit_ea(struct translation *t, unsigned size, unsigned to, const struct uop *u, bool indexed);
/* ---- XMM registers, 16 and 17: temporaries (isa/engine_dbt_sse.c) ---- */
/* Where XMM register i is in cpu. */
struct emit_place dbt_xmm(unsigned i);
/* XMM register = `bytes` (4, 8, 16) at `from`, zero-extended; and the store. */
void dbt_emit_xmm_load(struct translation *t, unsigned bytes, unsigned dst, struct emit_place from);
void dbt_emit_xmm_store(struct translation *t, unsigned bytes, unsigned b, struct emit_place to);
/* Loads a set of copies again, after C. */
void dbt_emit_xmm_again(struct translation *t, uint32_t set);
/* Whether an operation is emitted as the real machine's own, in functional code: for tests. */
struct sse_op;
bool dbt_sse_emitted(const struct sse_op *op);

/* Whether a row that does not end a block has an emitter, for some operands at least: for tests. */
bool dbt_emits(unsigned op);
bool dbt_emits_alu(unsigned op);
/* A jump to where micro-op u is done by its C function, which goes on behind u. */
void dbt_emit_slow(struct translation *t, const struct uop *u, uint8_t *jump);
/* A jump to another slow path; the caller says where it goes on. NULL when there are too many. */
struct dbt_site *dbt_emit_site(struct translation *t, enum dbt_site_kind kind, const struct uop *u, uint8_t *jump);
/* ---- flags (isa/engine_dbt_flags.c) ---- */
/* Stores lazy_flags.op, .result (a real register, zero-extended) and .source (a real register, or HOST_NONE: not written). Keeps the real flags. */
void dbt_emit_flags(struct translation *t, unsigned op, unsigned result, unsigned source);
/* The same, put off: to be stored where something may look. */
void dbt_flags_later(struct translation *t, struct dbt_recipe r);
/* Stores what a recipe says, if anything; changes cx, dx, and the real flags when it is of a conjunction. */
void dbt_emit_recipe(struct translation *t, const struct dbt_recipe *r);
/* Stores the flags now. */
void dbt_flush_flags(struct translation *t);
/* Whether the flags as `u` leaves them can never be seen: all are written again before anything looks, faults or leaves. */
bool dbt_flags_dead_after(const struct uop *u);
/* Whether all that will ever look at the flags as `u` leaves them is an ADC or SBB that finds the real carry alive. */
bool dbt_flags_only_real(const struct uop *u);
/* Real CF = guest CF; nothing else is right. Changes ax, cx, dx. */
void dbt_emit_carry(struct translation *t);
/* Real flags = guest flags, as far as condition cc needs; false: not from here. Changes ax, cx. */
bool dbt_emit_real_flags(struct translation *t, unsigned cc);
/* Calls call_carry or its kin. */
void dbt_emit_keeping(struct translation *t, const uint8_t *stub);
/* Makes condition cc of the guest's flags one of the real flags, and returns which: cc itself, or another when the C function had to be asked. Changes ax, cx, dx. */
unsigned dbt_emit_condition(struct translation *t, unsigned cc);
/* flags.extra = CF, as INC and DEC want it. After INC and DEC it holds CF already: loops that count with DEC never call. Sets t->carry when the real CF is the guest's behind it. */
void dbt_emit_keep_carry(struct translation *t);
/* CMP or TEST of guest register a with b, or (b == REG_ZERO) imm: real flags only. Changes ax, cx. */
void dbt_emit_compare(struct translation *t, bool logic, unsigned lg, unsigned a, unsigned b, uint64_t imm);
/* Scratch register `to` = guest register, zero-extended from 1 << lg bytes. */
void dbt_emit_operand(struct translation *t, unsigned lg, unsigned to, unsigned reg);

/* Writes one event: `word` is its first 8 bytes, the address is in ax. Changes ax, cx; keeps dx. */
void dbt_emit_event(struct translation *t, uint64_t word);

/* ---- registers ----
 * bp = cpu + DBT_BIAS, so that the hot fields are within a byte's displacement; ax, cx, dx are scratch; r9 = mem.table.
 * r10 = cpu->budget; while code runs, cpu->icount lacks what r10 lost since. */
enum { DBT_BIAS = 128, DBT_BUDGET = HOST_10, DBT_FAST = HOST_9 };
extern const uint8_t dbt_host[REG_COUNT]; /* HOST_NONE: lives in cpu->reg only */
static inline struct emit_place dbt_field(size_t offset) { return emit_memory(HOST_BP, (int32_t)offset - DBT_BIAS); }
#define DBT_FIELD(member) dbt_field(offsetof(struct cpu, member))
static inline struct emit_place dbt_guest(unsigned reg)
{
	return dbt_host[reg] != HOST_NONE ? emit_register(dbt_host[reg]) : dbt_field(offsetof(struct cpu, reg) + reg * sizeof(uint64_t));
}
/* The real register that holds guest register `reg`: its own, or `scratch` loaded with it. */
static inline unsigned dbt_read(struct translation *t, unsigned reg, unsigned scratch)
{
	if (dbt_host[reg] != HOST_NONE)
		return dbt_host[reg];
	emit_op(t->e, 8, OP_LOAD, scratch, dbt_guest(reg));
	return scratch;
}
/* Guest register = real register, all 64 bits. */
static inline void dbt_write(struct translation *t, unsigned reg, unsigned from) { emit_op(t->e, 8, OP_STORE, from, dbt_guest(reg)); }
/* Where a result for guest register `reg` may be made: its own real register, or `scratch`, to be passed to dbt_written(). */
static inline unsigned dbt_target(unsigned reg, unsigned scratch) { return dbt_host[reg] != HOST_NONE ? dbt_host[reg] : scratch; }
static inline void dbt_written(struct translation *t, unsigned reg, unsigned in)
{
	if (dbt_host[reg] == HOST_NONE)
		dbt_write(t, reg, in);
}
/* cx = what the cache's table has for the offset in a real register; ax = cpu->blocks. */
static inline void dbt_emit_table(struct emit *e, unsigned pc)
{
	emit_op(e, 8, OP_LOAD, HOST_AX, DBT_FIELD(blocks));
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_register(pc));
	emit_shift_imm(e, 8, SHIFT_SHR, emit_register(HOST_CX), 12);
	emit_alu(e, 4, ALU_XOR, HOST_CX, emit_register(pc));
	emit_alu_imm(e, 4, ALU_AND, emit_register(HOST_CX), JUMP_SLOTS - 1);
	emit_op(e, 8, OP_LOAD, HOST_CX, emit_indexed(HOST_AX, HOST_CX, 3, offsetof(struct block_cache, jump)));
}
/* block.code[variant] of the block in a real register. */
static inline struct emit_place dbt_block_code(unsigned block, unsigned variant)
{
	return emit_memory(block, (int32_t)(offsetof(struct block, code) + variant * sizeof(uint8_t *)));
}
#endif
