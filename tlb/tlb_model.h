/*
 * The modelled TLBs: what the simulated processor's translation hardware does with the accesses in the event stream. They decide only time and statistics.
 *
 * Invariant: the state is a function of the ordered events alone. A modelled entry dies exactly when the architecture says it must (tlb_flush.h), or by replacement.
 */
#ifndef TLB_MODEL_H
#define TLB_MODEL_H
#include "paging.h"
#include "tlb_flush.h"
#include "../isa/event.h"
#include <stddef.h>

enum { TLB_4K = 1, TLB_2M = 2 /* and 4M */, TLB_1G = 4 }; /* page sizes that an array holds */

struct tlb_geometry { /* one array. entries 0: absent. Any number of ways and sets: sets = entries / ways need not be a power of two */
	const char *organisation; /* row of tlb/tlb_organisations.def: "set-associative" (default, NULL), "fully-associative", ... */
	const char *replacement;  /* "lru" (NULL), "plru", "fifo", "random", ... as the organisation offers */
	unsigned entries, ways;
	unsigned page_sizes;      /* which sizes it holds: several arrays a level make split TLBs, one with all sizes a mixed one */
	uint32_t seed;            /* of "random": another seed, another order of victims */
};
#define TLB_ARRAYS 4 /* arrays a level */
#define WALK_CACHE_LEVELS 6

struct tlb_model_config {
	struct tlb_geometry l1d[TLB_ARRAYS], l1i[TLB_ARRAYS], l2[TLB_ARRAYS];
	bool tagged_pcid, tagged_vpid;  /* false: the tag is ignored and the caller flushes */
	const char *walk_cache;         /* row of tlb/walk_caches.def: "none", "per-level" (paging-structure caches by virtual prefix), "by-address" (AMD's style) */
	unsigned walk_cache_entries[WALK_CACHE_LEVELS]; /* per-level: [2] = PDE cache, [3] = PDPTE, [4] = PML4E, [5] = PML5E; by-address: [0] */
	unsigned nested_tlb_entries;    /* gpa -> hpa, fully associative; 0: none */
	bool no_filter;                 /* tests: never use the fast path; every result stays the same */
};

enum tlb_result { TLB_HIT_L1, TLB_HIT_L2, TLB_WALK, TLB_OFF /* paging off */ };

struct tlb_outcome {
	enum tlb_result result;
	bool faulted;                /* the walk found no valid mapping (EVF_FAULT accesses): nothing inserted, hpa meaningless */
	bool dirty_assist;           /* a write hit an entry whose D flag was clear: a walk set it (SDM 3A 4.8) */
	uint64_t hpa;                /* of the access */
	unsigned refs;               /* references that were made, after the walk caches took theirs away */
	struct walk_ref ref[WALK_MAX_REFS];
};

struct tlb_stats { /* counters that a result lists; names in tlb_model.c, iterated with tlb_model_stat() */
	uint64_t l1d_access, l1d_miss, l1i_access, l1i_miss, l2_access, l2_miss;
	uint64_t walks, walks_faulted, walk_refs, refs_by[2][7] /* [dimension][level] */, walk_cache_hits[2][7], nested_tlb_hits, nested_tlb_misses;
	uint64_t flushes[TLB_FLUSH_KINDS], dirty_assists; /* walks include dirty assists */
};

/*
 * The filter in front: a small direct-mapped table of entries that an L1 array holds. It is exact, because a hit through it does to the replacement state just what a hit
 * through the array does: *touched = (*touched & keep) | set | (clock & stamp). A slot dies with its entry, at every flush, and when the tags change.
 */
#define TLB_FAST_SLOTS 64
struct tlb_fast_slot { /* 64 bytes: a line */
	uint64_t read_key, write_key; /* gva page | 1; 0: nothing. Fetches use read_key of their own slots */
	uint64_t base;                /* hpa of the 4 KiB page */
	uint64_t *touched;            /* replacement state of the entry or of its set */
	uint64_t keep, set, stamp;
	uint64_t spare;
};
/* Arrays that lie a power of two apart have slots of their own. */
static inline unsigned tlb_fast_index(uint64_t gva) { return (unsigned)(gva >> 12 ^ gva >> 18) & (TLB_FAST_SLOTS - 1); }
struct tlb_fast { /* the head of struct tlb_model */
	uint64_t clock;
	uint32_t tags; /* pcid | vpid << 16 that the slots belong to */
	struct tlb_stats stats;
	struct tlb_fast_slot data[TLB_FAST_SLOTS] __attribute__((aligned(64)));
	struct tlb_fast_slot fetch[TLB_FAST_SLOTS];
};

struct tlb_model;
static inline struct tlb_fast *tlb_model_fast(struct tlb_model *m) { return (struct tlb_fast *)(void *)m; }
static inline bool tlb_fast_current(const struct tlb_fast *f, const struct paging *p) { return f->tags == ((uint32_t)p->vpid << 16 | p->pcid); }
/* What a hit does to the replacement state. Writes without reading where nothing is kept: accesses to one page in a row do not wait for each other. */
static inline void tlb_fast_touch(const struct tlb_fast_slot *s, uint64_t clock)
{
	if (s->keep)
		*s->touched = (*s->touched & s->keep) | s->set | (clock & s->stamp);
	else
		*s->touched = s->set | (clock & s->stamp);
}
/* An access that hits the filter, all of it: true, and *hpa. False: nothing happened, call tlb_model_access(). */
static inline bool tlb_model_access_fast(struct tlb_model *m, const struct paging *p, uint64_t gva, enum access access, unsigned event_flags, uint64_t *hpa)
{
	struct tlb_fast *f = tlb_model_fast(m);
	struct tlb_fast_slot *s = &(access == ACCESS_EXEC ? f->fetch : f->data)[tlb_fast_index(gva)];
	uint64_t key = access == ACCESS_WRITE ? s->write_key : s->read_key;
	if (key != ((gva & ~0xfffull) | 1) || !tlb_fast_current(f, p) || (event_flags & EVF_FAULT))
		return false;
	tlb_fast_touch(s, ++f->clock);
	*hpa = s->base | (gva & 0xfff);
	*(access == ACCESS_EXEC ? &f->stats.l1i_access : &f->stats.l1d_access) += 1;
	return true;
}

struct tlb_model *tlb_model_create(const struct tlb_model_config *config, const struct phys *phys, char *error, size_t error_size); /* NULL with a line in error */
void tlb_model_destroy(struct tlb_model *m);
/* Whether all that a hit in the filter does is *touched = clock: LRU in all first-level arrays. */
bool tlb_model_stamps(const struct tlb_model *m);
/* One access, within one page. p: the paging that the hardware walks now. fetch: instruction side. write, user, fault: from the event. */
void tlb_model_access(struct tlb_model *m, const struct paging *p, uint64_t gva, enum access access, unsigned event_flags, struct tlb_outcome *out);
/* The same after the filter has been asked in vain. */
void tlb_model_access_slow(struct tlb_model *m, const struct paging *p, uint64_t gva, enum access access, unsigned event_flags, struct tlb_outcome *out);
/* These will be accessed: `near` soon, `far` some accesses later. Fetches ahead into the caches of the real processor; changes nothing. */
void tlb_model_expect(const struct tlb_model *m, const struct paging *p, uint64_t far, uint64_t near);
enum { TLB_EXPECT_NEAR = 6, TLB_EXPECT_FAR = 12 }; /* events ahead: two to six misses of a guest that goes about at random, some hundred nanoseconds */
/* EV_TLB_FLUSH. current: the paging now (its pcid, for TLB_FLUSH_PAGE). */
void tlb_model_flush(struct tlb_model *m, enum tlb_flush kind, unsigned vpid, uint64_t addr, const struct paging *current);
/* Sets of the first level, as slots of the filter in front of the events (isa/event_filter.h). False: not every access enters a page where a touch of it could be left out. */
bool tlb_model_filter(const struct tlb_model *m, struct event_filter_shape *shape);
/* Accesses that the filter left out: hits in the first level. */
void tlb_model_skipped(struct tlb_model *m, const struct paging *p, uint64_t accesses, uint64_t fetches);
/* Where the first level has the code at gva; touches nothing. False: it has not. */
bool tlb_model_peek(const struct tlb_model *m, const struct paging *p, uint64_t gva, uint64_t *hpa);
const struct tlb_stats *tlb_model_stats(const struct tlb_model *m);
/* The i-th statistic by name ("l1d.miss", "walk.refs", "walk.host.level2", ...); false: no more. */
bool tlb_model_stat(const struct tlb_model *m, unsigned i, const char **name, uint64_t *value);
/* Names of the rows of the registries, for listings and test matrices: the i-th, or NULL. */
const char *tlb_organisation_name(unsigned i);
const char *tlb_replacement_name(unsigned i);
const char *walk_cache_name(unsigned i);
#endif
