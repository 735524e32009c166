/*
 * A consumer of events that does nothing but keep a modelled TLB: for functional runs that want TLB statistics, for tests and for replay without a timing model.
 *
 * Invariant: it makes the accesses that the event stream names, in order: a block is a fetch of its page (and of the next, when it crosses into it), a memory event one access a
 * page, EV_TLB_FLUSH a flush.
 */
#ifndef TLB_CONSUMER_H
#define TLB_CONSUMER_H
#include "tlb_model.h"

struct tlb_consumer {
	struct tlb_model *model;
	const struct block_dictionary *blocks;        /* lengths of blocks; NULL: a block is taken to lie in one page, unless EVF_STRADDLE */
	const struct paging *(*paging)(void *self);   /* what the hardware walks; constant within a batch */
	void *paging_self;
	struct event_consumer link;                   /* for event_sink_attach() */
};

/* Fills in *c. The model stays the caller's. */
void tlb_consumer_create(struct tlb_consumer *c, struct tlb_model *model, const struct block_dictionary *blocks, const struct paging *(*paging)(void *), void *paging_self);
#endif
