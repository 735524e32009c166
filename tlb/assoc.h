/*
 * A small fully associative LRU memory of keys: what walk caches and the nested TLB are made of.
 *
 * Invariant: (key, owner) is in it at most once. `owner` says whose it is: PCID and VPID tags, or the root of a host table.
 */
#ifndef TLB_ASSOC_H
#define TLB_ASSOC_H
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct assoc_line { uint64_t key, owner, used; /* used: 0 = empty */ };
struct assoc { struct assoc_line *line; unsigned lines; uint64_t clock; };

static inline bool assoc_create(struct assoc *a, unsigned lines)
{
	a->line = lines ? calloc(lines, sizeof *a->line) : NULL;
	a->lines = a->line ? lines : 0;
	a->clock = 0;
	return a->line || !lines;
}

static inline void assoc_destroy(struct assoc *a) { free(a->line); a->line = NULL; a->lines = 0; }

/* True when it is there; that counts as a use. */
static inline bool assoc_find(struct assoc *a, uint64_t key, uint64_t owner)
{
	for (unsigned i = 0; i < a->lines; i++)
		if (a->line[i].key == key && a->line[i].owner == owner && a->line[i].used) {
			a->line[i].used = ++a->clock;
			return true;
		}
	return false;
}

/* Enters it in place of the least recently used. */
static inline void assoc_learn(struct assoc *a, uint64_t key, uint64_t owner)
{
	struct assoc_line *old = a->line;
	if (!a->lines || assoc_find(a, key, owner))
		return;
	for (unsigned i = 1; i < a->lines; i++)
		if (a->line[i].used < old->used)
			old = &a->line[i];
	*old = (struct assoc_line){ key, owner, ++a->clock };
}

static inline void assoc_drop(struct assoc *a, uint64_t key, uint64_t owner)
{
	for (unsigned i = 0; i < a->lines; i++)
		if (a->line[i].key == key && a->line[i].owner == owner)
			a->line[i].used = 0;
}

/* Ends lines whose owner agrees with `owner` under `mask`. */
static inline void assoc_flush(struct assoc *a, uint64_t mask, uint64_t owner)
{
	for (unsigned i = 0; i < a->lines; i++)
		if (!((a->line[i].owner ^ owner) & mask))
			a->line[i].used = 0;
}
#endif
