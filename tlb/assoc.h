/*
 * A fully associative LRU memory of keys: what walk caches and the nested TLB are made of.
 *
 * Invariant: the first `count` places hold it, in no order, and (key, owner) is among them at most once. They are in one ring from each to the next more recently used, which closes from
 * the most to the least; the finger of each stands in `finger`, and with more than ASSOC_SCAN places each is in the one chain of its hash. `owner` says whose a key is: PCID and VPID
 * tags, or the root of a host table.
 */
#ifndef TLB_ASSOC_H
#define TLB_ASSOC_H
#include <emmintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct assoc_line {
	uint64_t key, owner;
	uint32_t older, newer;         /* the ring; newer of the newest is the oldest */
	uint32_t next;                 /* in the chain; ASSOC_NONE ends it */
	uint32_t hash;                 /* whose chain that is */
};
#define ASSOC_NONE UINT32_MAX
#define ASSOC_TEXT static inline __attribute__((always_inline)) /* a walk asks and enters several times */
#define ASSOC_SCAN 64 /* up to so many places are searched by fingers: that has no branch on what stands where, as a chain has */

struct assoc {
	struct assoc_line *line;       /* [lines] */
	uint32_t *finger;              /* [lines], and up to a multiple of 16 */
	uint32_t *chain;               /* first place by hash */
	uint32_t lines, count, shift;  /* hash: the top bits of a product */
	uint32_t newest;
};

static inline void assoc_empty(struct assoc *a)
{
	a->count = a->newest = 0;
	if (a->lines > ASSOC_SCAN)
		memset(a->chain, 0xff, (2ull << (63 - a->shift)) * sizeof *a->chain);
}

static inline void assoc_destroy(struct assoc *a)
{
	free(a->line);
	free(a->finger);
	free(a->chain);
	*a = (struct assoc){ 0 };
}

static inline bool assoc_create(struct assoc *a, unsigned lines)
{
	uint32_t bits = 2;
	*a = (struct assoc){ 0 };
	if (!lines)
		return true;
	while (1u << bits < 2 * lines)
		bits++;
	a->line = calloc(lines, sizeof *a->line);
	a->finger = calloc((lines + 15) & ~15u, sizeof *a->finger);
	a->chain = malloc(sizeof *a->chain << bits);
	if (!a->line || !a->finger || !a->chain) {
		assoc_destroy(a);
		return false;
	}
	a->lines = lines;
	a->shift = 64 - bits;
	assoc_empty(a);
	return true;
}

/* ------------------------------------------------------------------ the ring */
/* Behind the newest, as the newest. The ring holds others already, or this is place 0 and the first. */
static inline void assoc_ring_enter(struct assoc *a, uint32_t i)
{
	uint32_t newest = a->newest, oldest = a->count == 1 ? i : a->line[newest].newer;
	a->line[i].older = newest;
	a->line[i].newer = oldest;
	a->line[newest].newer = i;
	a->line[oldest].older = i;
	a->newest = i;
}

static inline void assoc_ring_leave(struct assoc *a, uint32_t i)
{
	struct assoc_line *l = &a->line[i];
	a->line[l->newer].older = l->older;
	a->line[l->older].newer = l->newer;
	if (a->newest == i)
		a->newest = l->older;
}

ASSOC_TEXT void assoc_touch(struct assoc *a, uint32_t i)
{
	if (i == a->newest)
		return;
	if (i != a->line[a->newest].newer) { /* else it is the oldest: the ring is right already, and only begins elsewhere */
		assoc_ring_leave(a, i);
		assoc_ring_enter(a, i);
	}
	a->newest = i;
}

/* ------------------------------------------------------------------ where it is */
/* Multiplicative hashing (Knuth, TAOCP 3, 6.4). */
static inline uint32_t assoc_hash(const struct assoc *a, uint64_t key, uint64_t owner)
{
	return (uint32_t)((key ^ owner << 20) * 0x9e3779b97f4a7c15ull >> a->shift);
}

static inline uint32_t assoc_finger(uint64_t key, uint64_t owner) { return (uint32_t)(key ^ owner); }

/* Which of 16 fingers are equal to one. */
static inline uint32_t assoc_fingers(const uint32_t *finger, __m128i want)
{
	const __m128i *f = (const __m128i *)(const void *)finger;
	__m128i a = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_loadu_si128(f), want), _mm_cmpeq_epi32(_mm_loadu_si128(f + 1), want));
	__m128i b = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_loadu_si128(f + 2), want), _mm_cmpeq_epi32(_mm_loadu_si128(f + 3), want));
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(a, b));
}

static inline bool assoc_is(const struct assoc *a, uint32_t i, uint64_t key, uint64_t owner) { return a->line[i].key == key && a->line[i].owner == owner; }

ASSOC_TEXT uint32_t assoc_scan(const struct assoc *a, uint64_t key, uint64_t owner)
{
	const __m128i want = _mm_set1_epi32((int)assoc_finger(key, owner));
	for (uint32_t first = 0; first < a->count; first += 16)
		for (uint32_t left = assoc_fingers(a->finger + first, want); left; left &= left - 1) {
			uint32_t i = first + (uint32_t)__builtin_ctz(left);
			if (i < a->count && assoc_is(a, i, key, owner))
				return i;
		}
	return ASSOC_NONE;
}

/* Where it is; ASSOC_NONE: nowhere. */
ASSOC_TEXT uint32_t assoc_index(const struct assoc *a, uint64_t key, uint64_t owner)
{
	if (a->lines <= ASSOC_SCAN)
		return assoc_scan(a, key, owner);
	uint32_t i = a->chain[assoc_hash(a, key, owner)];
	while (i != ASSOC_NONE && !assoc_is(a, i, key, owner))
		i = a->line[i].next;
	return i;
}

/* True when it is there; that counts as a use. */
ASSOC_TEXT bool assoc_find(struct assoc *a, uint64_t key, uint64_t owner)
{
	uint32_t i = assoc_index(a, key, owner);
	if (i == ASSOC_NONE)
		return false;
	assoc_touch(a, i);
	return true;
}

/* ------------------------------------------------------------------ changes */
/* Place `i` stands in its chain as `as`; ASSOC_NONE: no longer. */
static inline void assoc_chain_set(struct assoc *a, uint32_t i, uint32_t as)
{
	if (a->lines <= ASSOC_SCAN)
		return;
	uint32_t *at = &a->chain[a->line[i].hash];
	while (*at != i)
		at = &a->line[*at].next;
	*at = as == ASSOC_NONE ? a->line[i].next : as;
}

ASSOC_TEXT void assoc_write(struct assoc *a, uint32_t i, uint64_t key, uint64_t owner)
{
	a->line[i].key = key;
	a->line[i].owner = owner;
	a->finger[i] = assoc_finger(key, owner);
	if (a->lines <= ASSOC_SCAN)
		return;
	uint32_t hash = a->line[i].hash = assoc_hash(a, key, owner);
	a->line[i].next = a->chain[hash];
	a->chain[hash] = i;
}

/* Enters what is not there, in place of the least recently used when all places are taken. Without any place: nothing. */
ASSOC_TEXT void assoc_enter(struct assoc *a, uint64_t key, uint64_t owner)
{
	uint32_t i = a->count;
	if (i == a->lines) {
		if (!i)
			return;
		i = a->line[a->newest].newer;
		assoc_chain_set(a, i, ASSOC_NONE);
		a->newest = i;
	} else {
		a->count++;
		assoc_ring_enter(a, i);
	}
	assoc_write(a, i, key, owner);
}

/* The last line in use takes its place. */
static inline void assoc_end(struct assoc *a, uint32_t i)
{
	uint32_t from = --a->count;
	assoc_chain_set(a, i, ASSOC_NONE);
	assoc_ring_leave(a, i);
	if (i == from)
		return;
	assoc_chain_set(a, from, i);
	a->line[i] = a->line[from];
	a->finger[i] = a->finger[from];
	a->newest = a->newest == from ? i : a->newest;
	a->line[a->line[i].newer].older = i; /* of itself, if it is the only one left: below */
	a->line[a->line[i].older].newer = i;
	if (a->count == 1)
		a->line[i].newer = a->line[i].older = i;
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
