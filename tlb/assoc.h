/*
 * A small fully associative LRU memory of keys: what walk caches and the nested TLB are made of.
 *
 * Invariant: the first `count` places hold it, in no order, and (key, owner) is among them at most once; `used` says when each was used, all different. `owner` says whose it is:
 * PCID and VPID tags, or the root of a host table. Nothing moves on a use: lists that move to the front cost more than looking for the oldest when a place is needed.
 */
#ifndef TLB_ASSOC_H
#define TLB_ASSOC_H
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct assoc {
	uint64_t *key, *owner, *used;
	uint64_t clock;                /* counts uses */
	unsigned lines, count, last;   /* last: used last; where most looks end */
};

static inline bool assoc_create(struct assoc *a, unsigned lines)
{
	*a = (struct assoc){ .key = lines ? calloc(lines, 3 * sizeof *a->key) : NULL };
	if (!a->key)
		return !lines;
	a->owner = a->key + lines;
	a->used = a->owner + lines;
	a->lines = lines;
	return true;
}

static inline void assoc_destroy(struct assoc *a)
{
	free(a->key);
	*a = (struct assoc){ 0 };
}

static inline bool assoc_is(const struct assoc *a, unsigned i, uint64_t key, uint64_t owner)
{
	return a->key[i] == key && a->owner[i] == owner;
}

/* Where it is; count: nowhere. */
static inline unsigned assoc_index(const struct assoc *a, uint64_t key, uint64_t owner)
{
	unsigned i = 0;
	if (a->last < a->count && assoc_is(a, a->last, key, owner))
		return a->last;
	while (i < a->count && !assoc_is(a, i, key, owner))
		i++;
	return i;
}

/* True when it is there; that counts as a use. */
static inline bool assoc_find(struct assoc *a, uint64_t key, uint64_t owner)
{
	unsigned i = assoc_index(a, key, owner);
	if (i == a->count)
		return false;
	a->last = i;
	a->used[i] = ++a->clock;
	return true;
}

static inline unsigned assoc_oldest(const struct assoc *a)
{
	unsigned old = 0;
	uint64_t when = a->used[0];
	for (unsigned i = 1; i < a->count; i++) {
		old = a->used[i] < when ? i : old; /* not branches: which is the oldest cannot be predicted */
		when = a->used[i] < when ? a->used[i] : when;
	}
	return old;
}

/* Enters it, in place of the least recently used when all are. */
static inline void assoc_learn(struct assoc *a, uint64_t key, uint64_t owner)
{
	if (!a->lines || assoc_find(a, key, owner))
		return;
	unsigned i = a->count < a->lines ? a->count++ : assoc_oldest(a);
	a->key[i] = key;
	a->owner[i] = owner;
	a->used[i] = ++a->clock;
	a->last = i;
}

/* The last line takes its place. */
static inline void assoc_end(struct assoc *a, unsigned i)
{
	unsigned from = --a->count;
	a->key[i] = a->key[from];
	a->owner[i] = a->owner[from];
	a->used[i] = a->used[from];
}

static inline void assoc_drop(struct assoc *a, uint64_t key, uint64_t owner)
{
	unsigned i = assoc_index(a, key, owner);
	if (i < a->count)
		assoc_end(a, i);
}

/* Ends lines whose owner agrees with `owner` under `mask`. */
static inline void assoc_flush(struct assoc *a, uint64_t mask, uint64_t owner)
{
	if (!mask)
		a->count = 0;
	for (unsigned i = a->count; i-- > 0;)
		if (!((a->owner[i] ^ owner) & mask))
			assoc_end(a, i);
}
#endif
