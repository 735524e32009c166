/*
 * Core model "tlb": the modelled TLBs and nothing else. It keeps no time; it is for translation studies at the speed of the functional simulator.
 *
 * Invariant: it gives the TLBs the accesses that "fixed" gives them, so the same run has the same TLB statistics under both.
 */
#include "timing_private.h"

static __attribute__((noinline)) void page_touch_slow(struct timing *t, const struct paging *p, uint64_t gva, enum access access, unsigned flags)
{
	struct tlb_outcome o;
	tlb_model_access(t->tlb, p, gva, access, flags, &o);
}

/* A copy for each kind of access, known where it is called: the filter is most of what there is to do. */
#define EACH static inline __attribute__((always_inline))

EACH void page_touch(struct timing *t, const struct paging *p, uint64_t gva, enum access access, unsigned flags)
{
	uint64_t hpa;
	if (p->format == PAGING_IDENTITY && !p->space)
		return; /* paging is off: no TLB is asked */
	if (__builtin_expect(!tlb_model_access_fast(t->tlb, p, gva, access, flags, &hpa), 0))
		page_touch_slow(t, p, gva, access, flags);
}

EACH void bytes_touch(struct timing *t, const struct paging *p, const struct event *e, unsigned bytes, enum access access)
{
	uint64_t last = e->addr + (bytes ? bytes - 1u : 0);
	page_touch(t, p, e->addr, access, e->flags);
	if (__builtin_expect((e->addr ^ last) >> 12 != 0, 0) && !(e->flags & EVF_FAULT))
		page_touch_slow(t, p, last & ~0xfffull, access, e->flags);
}

/* A load; or a fetch that faulted. */
EACH void load_touch(struct timing *t, const struct paging *p, const struct event *e)
{
	if (__builtin_expect(e->flags & EVF_FETCH, 0))
		page_touch_slow(t, p, e->addr, ACCESS_EXEC, e->flags);
	else
		bytes_touch(t, p, e, e->aux, ACCESS_READ);
}

EACH void block_touch(struct timing *t, const struct paging *p, const struct event *e)
{
	const struct block_dictionary *d = t->port.blocks;
	bool translated = t->tc_pending;
	t->instructions += e->aux;
	t->tc_pending = false;
	if (!translated)
		bytes_touch(t, p, e, d && e->id < d->count ? d->entry[e->id].bytes : 4u * e->aux, ACCESS_EXEC);
}

void core_tlb_consume(void *self, const struct event *first, const struct event *end)
{
	struct timing *t = self;
	const struct paging *p = t->port.paging(t->port.self);
	for (const struct event *e = first; e < end; e++)
		switch (e->kind) {
		case EV_BLOCK: block_touch(t, p, e); break;
		case EV_LOAD: load_touch(t, p, e); break;
		case EV_STORE: case EV_TABLE_STORE: case EV_RMW: bytes_touch(t, p, e, e->aux, ACCESS_WRITE); break;
		case EV_CUT: t->instructions -= e->id < t->instructions ? e->id : t->instructions; break;
		case EV_TC_FETCH: t->tc_pending = true; break;
		case EV_TLB_FLUSH: tlb_model_flush(t->tlb, (enum tlb_flush)e->id, e->aux, e->addr, p); break;
		case EV_EXIT: t->exit[e->id < TIMING_EXITS ? e->id : TIMING_EXITS - 1].count++; break;
		case EV_MARK: timing_mark(t, e); break;
		default: break;
		}
}
