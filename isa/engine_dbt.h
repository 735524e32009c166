/*
 * The translator: blocks of micro-ops become x86-64 code.
 *
 * Invariant: wherever emitted code calls C, jumps to another block or leaves, cpu is exactly what the threaded engine's would be there; between, guest registers live in real ones
 * (dbt_host). Code lives as long as the blocks it was made from: all of it goes when the block cache is emptied.
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
#define LOAD(name, form, type, facts) FAMILY_##form(name)
#define RMW(name, form, type, facts) FAMILY_##form(name)
#define STORE(name, form, type, facts) FAMILY_##form(name)
#define QUIET(name, form, type, facts) FAMILY_##form(name)
#define LOADX(name, form, bytes, facts) FAMILY_##form(name)
#define STOREX(name, form, bytes, facts) FAMILY_##form(name)
#include "uops.def"
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
	EXIT_STALE,               /* a linked jump met a block that must not be entered; rip is set */
	EXIT_END,                 /* the running block's end micro-op is to be run by its C function */
	EXIT_ENTER,               /* `value`: a block without code, reached by an indirect branch */
	EXIT_FINISH,              /* the running block died; `value`: the micro-op to go on with */
};
struct dbt_exit { uint64_t kind, value; };

struct dbt { /* one a block cache */
	struct emit emit;         /* where the next block's code goes */
	uint8_t *memory, *first;  /* the writable mapping; where blocks begin, behind the stubs */
	size_t size;
	uint64_t generation;      /* of the block cache that the code belongs to */
	bool events_on, hook;     /* what observed code was made for */
	const struct event_filter *filter; /* and that: NULL: every event is written */
	uint64_t mask;            /* and what code was made for: of the fast table */
	struct dbt_exit (*enter)(struct cpu *cpu, const uint8_t *code);
	/* stubs, in the writable mapping */
	uint8_t *exit, *exit_chain[2], *exit_stale, *exit_end, *exit_enter;
	uint8_t *call;            /* calls dx(cpu, cx, ax): a C function of a micro-op */
	uint8_t *call_stop;       /* the same, when it may have killed the running block */
	uint8_t *call_carry;      /* ax = the guest's carry flag; nothing else changes but cx, dx and the flags */
	uint8_t *call_condition;  /* al = whether condition cx holds; as call_carry */
	uint8_t *call_sse;        /* ax(cpu, cpu + (cx >> 8), dx, cx & 255): an SSE operation; ZF: it wants an exception */
	uint8_t *drain;           /* event_drain(); keeps dx */
	uint8_t *observe[2];      /* a load, or a store, at ax that the filter does not know, event head in dx: looked up and written. ZF: neither; else cx = addend */
};
struct dbt *dbt_create(void); /* NULL: no executable memory to be had */
void dbt_destroy(struct dbt *d); /* NULL is fine */

/* Makes dbt.observe for a filter (NULL: none) and the present mask of the fast table, in front of the blocks. */
void dbt_emit_observe(struct dbt *d, const struct event_filter *f);

/* ---- translation of one block ---- */
enum { DBT_MAX_SITES = 1400 };
enum dbt_site_kind { SITE_UOP, SITE_DRAIN /* the event buffer is full */, SITE_BLOCK /* block_observe() */, SITE_OBSERVE /* dbt.observe, then as SITE_UOP */ };
struct dbt_site { /* a slow path, out of line */
	enum dbt_site_kind kind;
	uint32_t head;           /* SITE_OBSERVE: the event's */
	uint8_t *from, *back;    /* the jump to it; where it goes on (writable mapping) */
	uint8_t *hit;            /* SITE_OBSERVE: and where with cx = addend */
	const struct uop *u;
};

enum live { LIVE_NONE = 0, LIVE_CARRY = 1, LIVE_OVERFLOW = 2, LIVE_REST = 4 /* ZF, SF, PF */, LIVE_ALL = 7 }; /* AF never */
struct translation {
	struct dbt *d;
	struct block *b;
	const struct dbt_row *rows;
	struct emit *e;
	bool observed;
	int flags;               /* lazy_flags.op of the last writer in this block; -1: not known */
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
bool dbt_emit_sse(struct translation *t, const struct uop *u);
/* Where XMM register i is (16 and 17: temporaries). */
struct emit_place dbt_xmm(unsigned i);
/* Makes condition cc of the guest's flags one of the real flags, and returns which: cc itself, or another when the C function had to be asked. Changes ax, cx. */
unsigned dbt_emit_condition(struct translation *t, unsigned cc);
/* lazy_flags.op, .result (a real register, zero-extended) and .source (a real register, or HOST_NONE: not written). Keeps the real flags. */
void dbt_emit_flags(struct translation *t, unsigned op, unsigned result, unsigned source);
/* Whether the flags as `u` leaves them can never be seen: all are written again before anything looks, faults or leaves. */
bool dbt_flags_dead_after(const struct uop *u);
/* A jump to where micro-op u is done by its C function, which goes on behind u. */
void dbt_emit_slow(struct translation *t, const struct uop *u, uint8_t *jump);
/* A jump to another slow path; the caller says where it goes on. NULL when there are too many. */
struct dbt_site *dbt_emit_site(struct translation *t, enum dbt_site_kind kind, const struct uop *u, uint8_t *jump);
/* Writes one event: `word` is its first 8 bytes, the address is in ax. Changes ax, cx; keeps dx. */
void dbt_emit_event(struct translation *t, uint64_t word);

/* ---- registers ----
 * bp = cpu + DBT_BIAS, so that the hot fields are within a byte's displacement;  ax, cx, dx are scratch. r10 = cpu->budget; while code runs, cpu->icount lacks what r10 lost since. */
enum { DBT_BIAS = 128, DBT_BUDGET = HOST_10 };
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
#endif
