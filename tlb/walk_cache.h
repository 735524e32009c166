/*
 * Walk caches: filters over the list of references that a walk makes (design, decision 5).
 *
 * Invariant: a walk cache only takes references away; it never changes what a walk finds. A kind is one file with one struct walk_cache_kind and one line in walk_caches.def.
 */
#ifndef TLB_WALK_CACHE_H
#define TLB_WALK_CACHE_H
#include "tlb_model.h"

struct walk_key { /* one walk of one dimension */
	uint8_t dimension;
	enum paging_format format;
	uint8_t index_bits, levels; /* of that format */
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
	bool (*holds)(void *self, const struct walk_ref *r);
	/* A successful walk read this entry, of level 2 or above. leaf: it maps a page. */
	void (*learn)(void *self, const struct walk_key *k, const struct walk_ref *r, bool leaf);
	/* Ends what was cached of guest walks whose owner agrees under mask; `host`: and of host walks. */
	void (*flush)(void *self, uint64_t mask, uint64_t owner, bool host);
	/* A fault ends what would be used for this address (SDM 3A 4.10.4.1). May be NULL. */
	void (*drop)(void *self, const struct walk_key *k);
};

static inline struct walk_key walk_key(uint8_t dimension, enum paging_format format, uint64_t at, uint64_t owner)
{
	return (struct walk_key){ dimension, format, (uint8_t)(paging_level_shift(format, 2) - 12), (uint8_t)paging_format_levels(format), at, owner };
}

const struct walk_cache_kind *walk_cache_find(const char *name); /* NULL name: none; NULL: unknown */
#endif
