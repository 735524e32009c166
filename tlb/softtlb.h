/*
 * The softtlb: the fast translation table that engines look into, and its contexts.
 *
 * Invariant: an entry matches only while its context slot is the present one. A context that ends gives its slot back never, until the whole table is emptied; so ending
 * a context costs nothing. A table of any size gives the same results: an entry only saves a translation whose answer would be the same.
 * So a table that is too small for its guest grows, up to SOFTTLB_MAX entries.
 *
 * Two neighbouring pages never share an index: an access that crosses from one to the other is looked up at the index of the first with the tag of the second, and must miss
 * (isa/ports.h). So a softtlb of one entry has two places, of which one is used.
 *
 * A tag (12 bits):  slot << 2 | enum memory_mode.  Slots are 0 .. 1022, so that no tag is FAST_NEVER.
 */
#ifndef TLB_SOFTTLB_H
#define TLB_SOFTTLB_H
#include "../isa/ports.h"

#define SOFTTLB_MAX 65536 /* entries: struct frame keeps indices in 16 bits, and emitted code has 32 bits of an address in hand (isa/engine_dbt_memory.c) */
#define SOFTTLB_DEFAULT 4096 /* entries at the start, and the smallest table that grows */
#define SOFTTLB_SLOTS 1023
#define SOFTTLB_CONTEXTS 64 /* remembered at once; more than the processes that take turns in our guests */

struct softtlb_context {
	uint64_t key;
	uint64_t stamp; /* mmu.table_changes when it was begun */
	unsigned slot;
	bool alive;
};

struct softtlb {
	struct fast_entry *table;
	uint64_t mask;
	bool single;                  /* hostile build: one entry */
	bool small;                   /* smaller than any but a test asks for: stays so */
	unsigned slots_used;
	struct softtlb_context *now;
	struct softtlb_context context[SOFTTLB_CONTEXTS];
	unsigned victim;              /* next context to forget when all are in use */
	uint32_t evictions;           /* of entries in use, by others of their context; and the instruction count when counting began */
	uint64_t counted_since;
	uint64_t executed[64];        /* a bit for each page number modulo 4096: a page that some living context has fetched from has it set */
	uint64_t large_low, large_high; /* gva range that holds every 4 KiB piece of a larger page; low > high: none */
	uint8_t large_shift;          /* the largest page among them */
};

bool softtlb_create(struct softtlb *s, unsigned entries);
void softtlb_destroy(struct softtlb *s);
/* Whether as many translations have gone for others as there are entries. */
static inline bool softtlb_grow_look(const struct softtlb *s) { return s->evictions > s->mask && !s->small; }
/* Then: whether that took so few instructions that a larger table pays. Counts anew. */
bool softtlb_grow_due(struct softtlb *s, uint64_t icount);
/* A larger, empty table. False: there is no memory for it, and nothing has changed. */
bool softtlb_grow(struct softtlb *s);
/* Enters context `key`; `keep`: with the entries that it had. */
void softtlb_context_enter(struct softtlb *s, uint64_t key, bool keep, uint64_t stamp);
/* The living context of that key, or NULL. */
const struct softtlb_context *softtlb_context_find(const struct softtlb *s, uint64_t key);
void softtlb_contexts_end(struct softtlb *s, uint64_t mask, uint64_t key);
void softtlb_flush(struct softtlb *s, uint64_t stamp);
void softtlb_flush_page(struct softtlb *s, uint64_t gva);
/* Ends writes to the real page. */
void softtlb_end_writes(struct softtlb *s, const uint8_t *page);
/* The same through one entry. */
void softtlb_entry_end_write(struct fast_entry *e, const uint8_t *page);
/* Gives a place to another page: nothing matches yet. */
void softtlb_entry_begin(struct softtlb *s, struct fast_entry *e, uint64_t addend);
/* Notes a mapping of a page larger than 4 KiB. */
void softtlb_note_large(struct softtlb *s, uint64_t gva, unsigned shift);

/* A page was translated for a fetch. */
static inline void softtlb_note_execute(struct softtlb *s, uint64_t gva) { s->executed[gva >> 18 & 63] |= 1ull << (gva >> 12 & 63); }
/* False: no living context has fetched from what softtlb_flush_page() would end, so that nothing depends on its translation for that. */
static inline bool softtlb_may_execute(const struct softtlb *s, uint64_t gva)
{
	bool large = (gva | 0xfff) >= s->large_low && gva <= s->large_high;
	return large || (s->executed[gva >> 18 & 63] >> (gva >> 12 & 63) & 1);
}

static inline uint64_t softtlb_tag(const struct softtlb *s, enum memory_mode mode)
{
	return (uint64_t)s->now->slot << 2 | mode;
}

/* The entry that `gva` may be in; its fields hold other pages' tags unless they match. */
static inline struct fast_entry *softtlb_entry(const struct softtlb *s, uint64_t gva)
{
	return &s->table[gva >> 12 & s->mask];
}
#endif
