/*
 * Hints of where the last levels of walks to come lie in the real memory, for real prefetches: a guest that goes about at random waits for each of its tables' lines otherwise.
 *
 * Invariant: a hint may be wrong, and nothing but speed depends on it; the frames that it names have been read in a walk, so they are there.
 */
#ifndef TLB_WALK_AHEAD_H
#define TLB_WALK_AHEAD_H
#include "paging.h"

enum { WALK_AHEAD = 1024 }; /* regions; others share their place */
struct walk_ahead {
	uint32_t guest[WALK_AHEAD], host[WALK_AHEAD]; /* frame numbers of last-level tables, by the region that each maps; 0: none known */
};

struct walk_ahead_shape { unsigned region, index_bits, bytes; }; /* of last-level tables */
static inline struct walk_ahead_shape walk_ahead_shape(const struct paging *p)
{
	return p->format == PAGING_32 ? (struct walk_ahead_shape){ 22, 10, 4 } : (struct walk_ahead_shape){ 21, 9, 8 };
}

static inline uint64_t walk_ahead_at(const uint32_t *frames, struct walk_ahead_shape s, uint64_t address)
{
	return ((uint64_t)frames[address >> s.region & (WALK_AHEAD - 1)] << 12) + (address >> 12 & ((1u << s.index_bits) - 1)) * s.bytes;
}

/* A walk has gone well. */
static inline void walk_ahead_learn(struct walk_ahead *a, const struct paging *p, uint64_t gva, const struct walk_steps *w)
{
	if (w->leaf == 1)
		a->guest[gva >> walk_ahead_shape(p).region & (WALK_AHEAD - 1)] = (uint32_t)(w->guest[1] >> 12);
	if (w->nested && w->host[0].leaf == 1)
		a->host[w->host[0].at >> 21 & (WALK_AHEAD - 1)] = (uint32_t)(w->host[0].hpa[1] >> 12);
}

/* `far` will be walked some time after `near`: far's entry in the last guest table is sent for; near's has come, and says which entry of the host's tables to send for.
   Inlined always: gcc takes a function that only prefetches for one that does nothing, and drops calls to it. */
static inline __attribute__((always_inline)) void walk_ahead_fetch(const struct walk_ahead *a, const struct phys *phys, const struct paging *p, uint64_t far, uint64_t near)
{
	const struct walk_ahead_shape s = walk_ahead_shape(p), host = { 21, 9, 8 };
	uint64_t at = walk_ahead_at(a->guest, s, near), entry;
	__builtin_prefetch(phys->bytes + walk_ahead_at(a->guest, s, far));
	if (!p->space)
		return;
	entry = s.bytes == 4 ? phys_read32(phys, at) : phys_read64(phys, at);
	__builtin_prefetch(phys->bytes + walk_ahead_at(a->host, host, entry & 0x000ffffffffff000ull));
}
#endif
