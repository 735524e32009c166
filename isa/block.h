/*
 * Blocks: cracked straight-line code, found by where it lies in memory.
 *
 * Invariant: a block holds what the bytes at its physical address mean in its mode; a store to one of those bytes kills it before the next instruction runs. A chain from block to
 * block is followed only while the target's `stamp` equals cpu->stamp: then nothing that could have moved the target's page has happened since it was last looked up.
 *
 * A block is keyed by physical address, offset in CS and mode: with the offset in the key, every address that its instructions compute from rip is a constant.
 */
#ifndef ISA_BLOCK_H
#define ISA_BLOCK_H
#include "engine.h"
#include "uop.h"

enum {
	STAMP_NEVER = 0,     /* a dead block */
	STAMP_ATTENTION = 1, /* cpu->stamp while attention is wanted: no chain is followed */
};

enum mode_key { /* cpu->mode_key, ORDER KEY: decided by block_mode_key() */
	KEY_CODE_SIZE = 0xf,   /* 2, 4 or 8 */
	KEY_USER = 1 << 4,
	KEY_FLAT_CS = 1 << 5, KEY_FLAT_SS = 1 << 6, KEY_FLAT_DS = 1 << 7, KEY_FLAT_ES = 1 << 8,
	KEY_STACK16 = 1 << 9,  /* SS.B clear outside 64-bit code */
	KEY_TRAP = 1 << 10,    /* EFLAGS.TF */
	KEY_SSE = 1 << 11,     /* no SSE instruction would fault on CR0 and CR4 */
	KEY_REAL = 1 << 12,
	KEY_SINGLE = 1 << 13,  /* one instruction only: after STI or MOV SS */
};

enum { DBT_VARIANTS = 3 }; /* translations that a block may have: enum dbt_variant (isa/engine_dbt.h) */

struct block {
	uint64_t stamp;          /* chains to this block hold while equal to cpu->stamp */
	uint64_t pc;             /* offset in CS */
	uint8_t insns, end;      /* count, enum block_end */
	bool dead, straddle;
	bool open;               /* part of it lies where no memory is: found anew each time, for what a VMM does about its fetch */
	uint8_t heat;            /* how often the translator ran it without translating */
	uint32_t key, id;        /* mode key; number in the dictionary */
	struct block *next[2];   /* never NULL: the cache's dead block where nothing is known */
	uint64_t next_pc[2];     /* their offsets: taken (or only) target, fall-through */
	uint64_t hpa, hpa2;      /* of the first byte; straddling: of the second page's first byte */
	uint16_t bytes, uops;
	uint32_t size;           /* of this structure */
	struct block *hash_next, *all_next;
	struct block *page_next[2]; /* other blocks of the same page; [1] for the second page of a straddling block */
	const uint8_t *code[DBT_VARIANTS]; /* the translator's: where indirect branches enter its code (while there is none, what comes back to ask for it), */
	struct dbt_code *dbt[DBT_VARIANTS]; /* and what else there is to know of it, or NULL */
	struct uop uop[];
};

enum { JUMP_SLOTS = 4096, HASH_SLOTS = 1 << 16, PAGE_SLOTS = 1 << 13 };
enum { STORE_MISSES = 200 }; /* stores beside the code of a page before its blocks go, so that data may be written fast */

struct block_cache {
	struct block *jump[JUMP_SLOTS];  /* by offset in CS: the first place to look */
	struct block *hash[HASH_SLOTS];
	struct block *page[PAGE_SLOTS];  /* heads of page_next lists */
	uint8_t misses[PAGE_SLOTS];      /* stores to the page that met no block, since one did */
	struct block *all;               /* every block, dead ones too (chains may still point to them), through all_next */
	struct block *nowhere;           /* a dead block of no instructions */
	struct block_dictionary *dictionary;
	size_t bytes, max_bytes;
	bool flush_wanted;               /* at the next boundary all blocks go */
	bool observed;                   /* handlers chosen for events and hooks */
	bool numbered;                   /* blocks get their dictionary number even unobserved, and outlive a change of `observed`: for runs that listen now and then */
	bool eager;                      /* the translator translates a block before it first runs: for tests */
	bool indirect;                   /* the boundary was reached by an indirect branch */
	struct crack *crack;             /* scratch */
	struct dbt *dbt;                 /* the translator's memory, made when it first runs here */
	const uint8_t *code_none;        /* block.code of a block without a translation */
	uint64_t generation;             /* how often all blocks went */
	uint64_t collections;            /* how often old ones went because room was short */
};

/* What a block found now is stamped with. */
static inline uint64_t block_stamp(const struct cpu *cpu) { return (cpu->mem.epoch + 1) << 12 | cpu->mem.tag; }
static inline void block_stamp_now(struct cpu *cpu) { cpu->stamp = cpu->attention ? STAMP_ATTENTION : block_stamp(cpu); }

/* The part of the key that segments decide, outside 64-bit code. */
uint32_t block_mode_key_segments(const struct cpu *cpu);
static inline uint32_t block_mode_key(const struct cpu *cpu)
{
	_Static_assert(FLAG_TF << 2 == KEY_TRAP && CR4_OSFXSR << 2 == KEY_SSE, "bits that move as they are");
	uint32_t key = cpu->code_size | (cpu->cpl == 3 ? KEY_USER : 0) | (cpu->eflags & FLAG_TF) << 2 | (cpu_protected(cpu) ? 0 : KEY_REAL);
	if (!(cpu->cr0 & (CR0_EM | CR0_TS)))
		key |= (uint32_t)(cpu->cr4 & CR4_OSFXSR) << 2;
	return key | (cpu->code_size == 8 ? KEY_FLAT_CS | KEY_FLAT_SS | KEY_FLAT_DS | KEY_FLAT_ES : block_mode_key_segments(cpu));
}
/* cpu_mode_update() as part of its caller. */
static inline void block_mode_follow(struct cpu *cpu)
{
	uint32_t cs = cpu->seg[SEG_CS].attributes;
	cpu->code_size = cpu_long_mode(cpu) && cs & SEGA_L ? 8 : cs & SEGA_DB ? 4 : 2;
	cpu->mode_key = block_mode_key(cpu);
	cpu_memory_mode_follow(cpu);
	block_stamp_now(cpu);
}
/* The block at cpu->rip, cracked when needed. cpu->at must be NULL; raises what fetching raises. */
struct block *block_find(struct cpu *cpu);
/* Frees everything when a flush is wanted, the dead and the oldest when there are too many. Only where no block is running. */
void block_cache_settle(struct cpu *cpu);
static inline struct block **block_jump_slot(struct block_cache *c, uint64_t pc) { return &c->jump[(pc ^ pc >> 12) & (JUMP_SLOTS - 1)]; }
/* Counts an opcode outside the subset. */
void unknown_opcodes_count(struct unknown_opcodes *u, unsigned mnemonic);
#endif
