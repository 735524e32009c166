/*
 * A fully associative LRU memory of keys: what walk caches and the nested TLB are made of.
 *
 * Invariant: the first `count` places hold it, in no order, and (key, owner) is among them at most once. Each place in use is in one ring, from the most to the least recently used
 * and round through place `lines`, and in the one chain of its hash. `owner` says whose a key is: PCID and VPID tags, or the root of a host table.
 */
#ifndef TLB_ASSOC_H
#define TLB_ASSOC_H
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct assoc_line {
	uint64_t key, owner;
	uint32_t older, newer;         /* the ring; place `lines` is its anchor: older leads to the most recently used, newer to the least */
	uint32_t next;                 /* in the chain; ASSOC_NONE ends it */
	uint32_t hash;                 /* whose chain that is */
};
#define ASSOC_NONE UINT32_MAX

struct assoc {
	struct assoc_line *line;       /* [lines + 1] */
	uint32_t *chain;               /* first place by hash */
	uint32_t lines, count, shift;  /* hash: the top bits of a product */
};

static inline void assoc_empty(struct assoc *a)
{
	a->count = 0;
	a->line[a->lines].older = a->line[a->lines].newer = a->lines;
	memset(a->chain, 0xff, (2ull << (63 - a->shift)) * sizeof *a->chain);
}

static inline bool assoc_create(struct assoc *a, unsigned lines)
{
	*a = (struct assoc){ 0 };
	if (!lines)
		return true;
	uint32_t bits = 2;
	while (1u << bits < 2 * lines)
		bits++;
	a->line = calloc(lines + 1ull, sizeof *a->line);
	a->chain = malloc(sizeof *a->chain << bits);
	if (!a->line || !a->chain) {
		free(a->line);
		free(a->chain);
		a->line = NULL;
		return false;
	}
	a->lines = lines;
	a->shift = 64 - bits;
	assoc_empty(a);
	return true;
}

static inline void assoc_destroy(struct assoc *a)
{
	if (a->lines) {
		free(a->line);
		free(a->chain);
	}
	*a = (struct assoc){ 0 };
}

/* Multiplicative hashing (Knuth, TAOCP 3, 6.4). */
static inline uint32_t assoc_hash(const struct assoc *a, uint64_t key, uint64_t owner)
{
	return (uint32_t)((key ^ owner << 20) * 0x9e3779b97f4a7c15ull >> a->shift);
}

static inline void assoc_ring_leave(struct assoc *a, uint32_t i)
{
	struct assoc_line *l = &a->line[i];
	a->line[l->newer].older = l->older;
	a->line[l->older].newer = l->newer;
}

static inline void assoc_ring_enter(struct assoc *a, uint32_t i)
{
	struct assoc_line *anchor = &a->line[a->lines];
	a->line[i].newer = a->lines;
	a->line[i].older = anchor->older;
	a->line[anchor->older].newer = i;
	anchor->older = i;
}

/* Where it is; ASSOC_NONE: nowhere. */
static inline uint32_t assoc_index(const struct assoc *a, uint64_t key, uint64_t owner)
{
	uint32_t i = a->chain[assoc_hash(a, key, owner)];
	while (i != ASSOC_NONE && !(a->line[i].key == key && a->line[i].owner == owner))
		i = a->line[i].next;
	return i;
}

/* True when it is there; that counts as a use. */
static inline bool assoc_find(struct assoc *a, uint64_t key, uint64_t owner)
{
	if (!a->count)
		return false;
	uint32_t i = assoc_index(a, key, owner);
	if (i == ASSOC_NONE)
		return false;
	if (a->line[a->lines].older != i) {
		assoc_ring_leave(a, i);
		assoc_ring_enter(a, i);
	}
	return true;
}

static inline void assoc_chain_leave(struct assoc *a, uint32_t i)
{
	uint32_t *at = &a->chain[a->line[i].hash];
	while (*at != i)
		at = &a->line[*at].next;
	*at = a->line[i].next;
}

/* Enters what is not there, in place of the least recently used when all places are taken. Without any place: nothing. */
static inline void assoc_enter(struct assoc *a, uint64_t key, uint64_t owner)
{
	if (!a->lines)
		return;
	uint32_t i = a->count, hash = assoc_hash(a, key, owner);
	if (i < a->lines) {
		a->count++;
	} else {
		i = a->line[a->lines].newer;
		assoc_chain_leave(a, i);
		assoc_ring_leave(a, i);
	}
	a->line[i].key = key;
	a->line[i].owner = owner;
	a->line[i].hash = hash;
	a->line[i].next = a->chain[hash];
	a->chain[hash] = i;
	assoc_ring_enter(a, i);
}

/* The last line in use takes its place. */
static inline void assoc_end(struct assoc *a, uint32_t i)
{
	uint32_t from = --a->count;
	assoc_chain_leave(a, i);
	assoc_ring_leave(a, i);
	if (i == from)
		return;
	uint32_t *at = &a->chain[a->line[from].hash];
	while (*at != from)
		at = &a->line[*at].next;
	*at = i;
	a->line[i] = a->line[from];
	a->line[a->line[i].newer].older = i;
	a->line[a->line[i].older].newer = i;
}

static inline void assoc_drop(struct assoc *a, uint64_t key, uint64_t owner)
{
	uint32_t i = a->count ? assoc_index(a, key, owner) : ASSOC_NONE;
	if (i != ASSOC_NONE)
		assoc_end(a, i);
}

/* Ends lines whose owner agrees with `owner` under `mask`. */
static inline void assoc_flush(struct assoc *a, uint64_t mask, uint64_t owner)
{
	if (!mask && a->count)
		assoc_empty(a);
	for (uint32_t i = a->count; i-- > 0;)
		if (!((a->line[i].owner ^ owner) & mask))
			assoc_end(a, i);
}
#endif
