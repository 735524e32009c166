/*
 * A small fully associative LRU memory of keys: what walk caches and the nested TLB are made of.
 *
 * Invariant: line[0] .. line[count-1] are what it holds, the most recently used first, and (key, owner) is among them at most once. So a look costs what lies before the find, and an
 * empty one nothing. `owner` says whose it is: PCID and VPID tags, or the root of a host table.
 */
#ifndef TLB_ASSOC_H
#define TLB_ASSOC_H
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct assoc_line { uint64_t key, owner; };
struct assoc { struct assoc_line *line; unsigned lines, count; };

static inline bool assoc_create(struct assoc *a, unsigned lines)
{
	a->line = lines ? calloc(lines, sizeof *a->line) : NULL;
	a->lines = a->line ? lines : 0;
	a->count = 0;
	return a->line || !lines;
}

static inline void assoc_destroy(struct assoc *a)
{
	free(a->line);
	*a = (struct assoc){ NULL, 0, 0 };
}

/* Puts it first; what stood before line[i] moves back by one. */
static inline void assoc_front(struct assoc *a, unsigned i, uint64_t key, uint64_t owner)
{
	for (; i; i--)
		a->line[i] = a->line[i - 1];
	a->line[0] = (struct assoc_line){ key, owner };
}

/* Where it is; count: nowhere. */
static inline unsigned assoc_index(const struct assoc *a, uint64_t key, uint64_t owner)
{
	unsigned i = 0;
	while (i < a->count && (a->line[i].key != key || a->line[i].owner != owner))
		i++;
	return i;
}

/* True when it is there; that counts as a use. */
static inline bool assoc_find(struct assoc *a, uint64_t key, uint64_t owner)
{
	unsigned i = assoc_index(a, key, owner);
	if (i == a->count)
		return false;
	assoc_front(a, i, key, owner);
	return true;
}

/* Enters it in place of the least recently used. */
static inline void assoc_learn(struct assoc *a, uint64_t key, uint64_t owner)
{
	if (!a->lines || assoc_find(a, key, owner))
		return;
	a->count += a->count < a->lines;
	assoc_front(a, a->count - 1, key, owner);
}

static inline void assoc_drop(struct assoc *a, uint64_t key, uint64_t owner)
{
	unsigned i = assoc_index(a, key, owner);
	if (i == a->count)
		return;
	for (a->count--; i < a->count; i++)
		a->line[i] = a->line[i + 1];
}

/* Ends lines whose owner agrees with `owner` under `mask`. */
static inline void assoc_flush(struct assoc *a, uint64_t mask, uint64_t owner)
{
	unsigned kept = 0;
	for (unsigned i = 0; mask && i < a->count; i++)
		if ((a->line[i].owner ^ owner) & mask)
			a->line[kept++] = a->line[i];
	a->count = kept;
}
#endif
