/*
 * The last-touched filter on the writing side: what a consumer would make nothing of is not written, only counted (EV_SKIPPED).
 *
 * Invariant: an access may be left out when the last event that touched its set, in every structure that a consumer keeps, was an access to the same entry: touching it again changes
 * nothing under LRU, tree PLRU, FIFO or random replacement. A slot here stands for a set or for several (coarser is exact, too), and holds what was written last for it. Writing an event
 * that could have been left out is always right, so whoever is in doubt empties the filter; event_put() does for events that may reach what is kept, and an engine writes what is to stay in it by
 * event_put_access() and event_put_block().
 *
 * Engines take a hit for a hit in the fast table, too (isa/ports.h): so the filter is also emptied wherever an entry of that table ends or the context changes. Entries are of user or of supervisor
 * mode, as that table's; what was touched last is the same to a model, whoever touched it.
 */
#ifndef ISA_EVENT_FILTER_H
#define ISA_EVENT_FILTER_H
#include <stdbool.h>
#include <stdint.h>

enum { FILTER_SLOTS = 64, FILTER_PAGES = 16 };
#define FILTER_NONE (~0ull) /* no page's number */
enum {
	FILTER_GENERATION = 2,  /* from one key to the next of the same mode */
	FILTER_ENTRY_SHIFT = 6, /* log2 of an entry's bytes */
};

/* What a consumer allows to be left out. All counts are powers of two, at most those above. */
struct event_filter_shape {
	uint8_t granule;  /* log2 of bytes: 12: pages, all that it looks at; less: lines of a cache that page walks go through as well */
	uint8_t slots;    /* of granules, by the low bits of their number; with lines, at most as many as a page has */
	uint8_t pages;    /* slots of pages accessed as data */
	uint8_t fetches;  /* slots of pages that code runs from */
	uint8_t code;     /* slots of lines that code runs from; 0: a block only counts, whoever runs it, and fetches its page */
	uint8_t code_line; /* log2 of their bytes */
	bool pairs;       /* of lines, two a slot may be left out: true LRU of two ways or more */
	uint64_t ignored; /* set of event kinds below 64 that it makes nothing of at all: they are not written, nor the EV_VALUE behind them */
};

enum filter_answer { FILTER_GONE, FILTER_SMALL, FILTER_LARGE }; /* what the tables say of a page now: not allowed, mapped by 4 KiB, mapped by more */

/*
 * What was touched last, by loads and by stores. Where there are pairs these may be two granules: they are the two that were touched last, and of all that happens between the two only which came
 * last matters. Else they are one, or `write` is 0: a read does not make an entry dirty.
 */
struct event_filter_entry { /* 64 bytes */
	uint64_t read, write;   /* granule of the last byte | key; 0: none */
	uint64_t addend[2];     /* of them, as in struct fast_entry */
	uint8_t last, told;     /* of a pair: which was touched last, and which one the consumer thinks was: 1: `write` */
	uint64_t spare[3];
};

struct event_filter {
	uint64_t key;             /* 2 .. granule - 1: bit 0: entries of user mode; the rest: those of another generation are empty */
	uint64_t accesses;        /* left out since the last EV_SKIPPED */
	uint64_t blocks, instructions;
	uint64_t taken, lines;    /* of these blocks: entered by a jump, not from above; lines of theirs that were not the last line of the block before */
	uint64_t next, line;      /* where the last block ends, and its last line's number */
	uint64_t told;            /* `next` as the consumer has it */
	uint64_t noted;           /* accesses + blocks when the last EV_SENSITIVE was written: what was left out before it is told behind it */
	bool user;                /* whose blocks those are */
	bool open;                /* supervisor mode may reach user pages now (EFLAGS.AC) */
	bool hidden;              /* fetch[] is in kept[]: the next block must be written, for the consumer does not know who runs it, or that no jump leads to it */
	uint64_t fetch[FILTER_PAGES], kept[FILTER_PAGES]; /* page numbers */
	uint64_t code[FILTER_SLOTS];  /* line numbers */
	uint64_t code_held;       /* set of slots that are not empty */
	struct { uint64_t read, write; } page[FILTER_PAGES]; /* page numbers */
	struct event_filter_shape shape;
	uint32_t mask;            /* of granules: at least 1, so that an access that straddles two meets the first one's slot with the second one's tag, and misses */
	uint64_t large_low, large_high; /* page numbers: every page of a large translation lies between */
	struct event_filter_entry entry[FILTER_SLOTS];
	/* While in doubt: an entry of a table has changed, and translations from before may still be used. A page enters the filter only when it is touched twice in a row in its slot and the
	   tables still say so: else a model that had lost it would walk again and again, or walk to a large page that was a small one. */
	bool doubt;
	enum filter_answer (*ask)(void *self, uint64_t gva, unsigned access, bool user); /* access: enum access. NULL: while in doubt nothing enters */
	void *ask_self;
	uint64_t paired;       /* set of slots that hold two granules; FILTER_NONE while there are late ones */
	unsigned lates;        /* touches of pairs that were emptied before the consumer was told who was last: to be written before anything else that it looks at the cache for */
	uint64_t late[FILTER_SLOTS]; /* address | user */
	uint64_t asked[FILTER_SLOTS], candidate[3 * FILTER_PAGES]; /* page | 8 | access << 1 | user; by slot, and by access and slot */
};

/* A filter that nobody fills finds nothing: not even an access that ends with the last byte that there is, if its key is not 0. */
static inline void event_filter_idle(struct event_filter *f) { f->key = FILTER_GENERATION; }
/* Begins empty. */
void event_filter_create(struct event_filter *f, const struct event_filter_shape *shape);
/* Nothing is last any more. Counts stay. */
void event_filter_empty(struct event_filter *f);
/* The mode has changed: entries of another one are no hits for now. open: event_filter.open. */
void event_filter_turn(struct event_filter *f, bool user, bool open);
/* The next block is to be written, whatever is known of it. */
void event_filter_hide(struct event_filter *f);
/* Large pages live in arrays of their own, with other sets: of those pages one region of 2 MiB at a time stays in the filter. */
void event_filter_note_large(struct event_filter *f, uint64_t gva, unsigned shift);
/* There is no translation left, so no large one. */
void event_filter_no_large(struct event_filter *f);
/* A table that translations were made from changes; and: there are no such translations any more. */
void event_filter_doubt(struct event_filter *f);
static inline void event_filter_trust(struct event_filter *f) { f->doubt = false; }
/* An access of `size` bytes within a page is to be written: before it, these touches, which have been counted as left out, are to be: address | user. Returns how many; at most FILTER_SLOTS. */
unsigned event_filter_owed(struct event_filter *f, uint64_t gva, unsigned size, bool write, uint64_t owed[FILTER_SLOTS]);
/* All there are. */
unsigned event_filter_owed_all(struct event_filter *f, uint64_t owed[FILTER_SLOTS]);
/* An access of `size` bytes within a page has been written. */
void event_filter_access(struct event_filter *f, uint64_t gva, unsigned size, bool write, bool user, uint64_t addend);
/* The same where nobody knows whether the fast table would take it the same way: nothing of it is left out. */
void event_filter_touch(struct event_filter *f, uint64_t gva, unsigned size, bool write, bool user);
/* A block of `bytes` has been written. */
void event_filter_block(struct event_filter *f, uint64_t pc, unsigned bytes, bool user);
static inline struct event_filter_entry *event_filter_entry(struct event_filter *f, uint64_t gva) { return &f->entry[gva >> f->shape.granule & f->mask]; }
/* Whether an access need not be written: then it has been counted, and the bytes are at gva + event_filter_entry()->addend[write]. What emitted code does. */
static inline bool event_filter_hit(struct event_filter *f, uint64_t gva, unsigned size, bool write)
{
	struct event_filter_entry *e = event_filter_entry(f, gva);
	if ((write ? e->write : e->read) != (((gva + size - 1) & (~0ull << f->shape.granule)) | f->key))
		return false;
	f->accesses++;
	e->last = write;
	return true;
}
/* The same for who has asked the fast table already: whoever's the entry is, the model has been there last. */
static inline bool event_filter_same(struct event_filter *f, uint64_t gva, unsigned size, bool write)
{
	struct event_filter_entry *e = event_filter_entry(f, gva);
	if (((write ? e->write : e->read) ^ (((gva + size - 1) & (~0ull << f->shape.granule)) | f->key)) & ~1ull)
		return false;
	f->accesses++;
	e->last = write;
	return true;
}
/* The same of a block, which must not straddle two pages and, with lines, must have been of the same user as the last that was written. */
bool event_filter_block_hit(struct event_filter *f, uint64_t pc, unsigned bytes, unsigned insns);
static inline bool event_filter_fetched(const struct event_filter *f, uint64_t gva) { return f->fetch[gva >> 12 & (f->shape.fetches - 1u)] == gva >> 12; }
/* event_filter_block_hit() for who asks all the time: a hit only where lines of code do not matter. `flags`: of its event; those of a block within a page are 0 or EVF_USER, which is 1. */
static inline bool event_filter_page_hit(struct event_filter *f, uint64_t pc, unsigned flags, unsigned insns)
{
	bool hit = event_filter_fetched(f, pc) && flags <= 1 && !f->shape.code;
	f->blocks += hit;
	f->instructions += hit ? insns : 0;
	return hit;
}
/* Lines of a block, numbers of the first and last. */
static inline uint64_t event_filter_line(const struct event_filter *f, uint64_t gva) { return gva >> f->shape.code_line; }
#endif
