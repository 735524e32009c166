/*
 * What the walk caches and the nested TLB leave of a walk.
 *
 * Invariant: the references that remain are those of the walk, in its order.
 */
#ifndef TLB_WALK_FILTER_H
#define TLB_WALK_FILTER_H
#include "assoc.h"
#include "walk_cache.h"

struct walk_filter {
	const struct walk_cache_kind *kind;
	void *cache;
	struct assoc nested;    /* nested TLB: host page number << 6 | log2 of its size, by root */
	uint64_t nested_sizes;  /* log2 of sizes that have entered it since it was empty, a bit each */
	struct walk_shape shapes[PAGING_FORMATS];
	struct tlb_stats *stats;
};

/* False with a line in error. */
bool walk_filter_create(struct walk_filter *f, const struct tlb_model_config *c, struct tlb_stats *stats, char *error, size_t error_size);
void walk_filter_destroy(struct walk_filter *f);
/* Adds what is left of w to out->ref, and learns from it (unless out->faulted). tags: pcid | vpid << 16. */
void walk_filter_apply(struct walk_filter *f, const struct paging *p, uint64_t gva, uint32_t tags, const struct walk_steps *w, struct tlb_outcome *out);
/* As walk_cache_kind.flush; `host` also empties the nested TLB. */
void walk_filter_flush(struct walk_filter *f, uint64_t mask, uint64_t owner, bool host);
/* A fault of this walk ends what was used for it. */
void walk_filter_fault(struct walk_filter *f, const struct paging *p, uint64_t gva, uint32_t tags, const struct walk *w);
#endif
