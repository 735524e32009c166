/*
 * Walk caches: filters over the list of references that a walk makes (design, decision 5).
 *
 * Invariant: a walk cache only takes references away; it never changes what a walk finds. A kind is one file with one struct walk_cache_kind and one line in walk_caches.def.
 */
#ifndef TLB_WALK_CACHE_H
#define TLB_WALK_CACHE_H
#include "tlb_model.h"
#include <assert.h>

struct walk_shape { uint8_t index_bits, levels, bytes /* of an entry */; }; /* of a format */

struct walk_key { /* one walk of one dimension */
	uint8_t dimension, index_bits, levels;
	uint64_t head;  /* of its references, but for their level: walk_head() */
	uint64_t at;    /* the address that it translates */
	uint64_t owner; /* pcid | vpid << 16 for WALK_GUEST, the root for WALK_HOST */
};

struct walk_cache_kind {
	const char *name, *summary;
	void *(*create)(const struct tlb_model_config *config); /* NULL: out of memory */
	void (*destroy)(void *self);
	/* The lowest level above `leaf` whose entry for this address is cached: references of it and of all levels above are not made (nor the nested walks that would have
	   located them and the table below). 0: none. NULL: this kind does not work by prefix. */
	unsigned (*lowest)(void *self, const struct walk_key *k, unsigned leaf);
	/* Whether this very entry, of level 2 or above, is cached. NULL: this kind does not work by address. */
	bool (*holds)(void *self, uint64_t hpa);
	/* A successful walk read this entry, of level 2 or above, for which lowest() or holds() has been asked in vain. leaf: it maps a page. */
	void (*learn)(void *self, const struct walk_key *k, unsigned level, uint64_t hpa, bool leaf);
	/* Ends what was cached of guest walks whose owner agrees under mask; `host`: and of host walks. */
	void (*flush)(void *self, uint64_t mask, uint64_t owner, bool host);
	/* A fault ends what would be used for this address (SDM 3A 4.10.4.1). May be NULL. */
	void (*drop)(void *self, const struct walk_key *k);
};

static inline struct walk_shape walk_shape(enum paging_format format)
{
	uint8_t index_bits = (uint8_t)(paging_level_shift(format, 2) - 12);
	return (struct walk_shape){ index_bits, (uint8_t)paging_format_levels(format), index_bits == 10 ? 4 : 8 };
}

/* What follows the addresses in struct walk_ref, least significant byte first as the real processor has them. ORDER: struct walk_ref */
static inline uint64_t walk_head(unsigned dimension, unsigned level, unsigned outer, unsigned bytes) { return dimension | level << 8 | outer << 16 | bytes << 24; }
static_assert(sizeof(struct walk_ref) == 24 && offsetof(struct walk_ref, dimension) == 16 && offsetof(struct walk_ref, bytes) == 19, "walk_head() is the end of struct walk_ref");

/* shapes: of all formats. outer: as in struct walk_ref. */
static inline struct walk_key walk_key(const struct walk_shape *shapes, uint8_t dimension, unsigned outer, enum paging_format format, uint64_t at, uint64_t owner)
{
	const struct walk_shape *s = &shapes[format];
	return (struct walk_key){ dimension, s->index_bits, s->levels, walk_head(dimension, 0, outer, s->bytes), at, owner };
}

extern const struct walk_cache_kind walk_cache_per_level; /* the usual one: walk_filter.c calls its functions by name */
const struct walk_cache_kind *walk_cache_find(const char *name); /* NULL name: none; NULL: unknown */
#endif
