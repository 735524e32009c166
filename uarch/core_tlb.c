/*
 * Core model "tlb": the modelled TLBs and nothing else. It keeps no time; it is for translation studies at the speed of the functional simulator.
 *
 * Invariant: it gives the TLBs the accesses that "fixed" gives them, so the same run has the same TLB statistics under both.
 */
#include "timing_private.h"

static __attribute__((noinline)) void page_touch_slow(struct timing *t, const struct paging *p, uint64_t gva, enum access access, unsigned flags)
{
	struct tlb_outcome o;
	tlb_model_access_slow(t->tlb, p, gva, access, flags, &o);
}

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS void page_touch(struct timing *t, const struct paging *p, uint64_t gva, enum access access, unsigned flags)
{
	uint64_t hpa;
	if (__builtin_expect(!tlb_model_access_fast(t->tlb, p, gva, access, flags, &hpa), 0))
		page_touch_slow(t, p, gva, access, flags);
}

static __attribute__((noinline)) void bytes_touch(struct timing *t, const struct paging *p, const struct event *e, unsigned bytes, enum access access)
{
	uint64_t last = e->addr + (bytes ? bytes - 1u : 0);
	page_touch(t, p, e->addr, access, e->flags);
	if (__builtin_expect((e->addr ^ last) >> 12 != 0, 0) && !(e->flags & EVF_FAULT))
		page_touch_slow(t, p, last & ~0xfffull, access, e->flags);
}

static __attribute__((noinline)) void skipped_count(struct timing *t, const struct paging *p, const struct event *e)
{
	tlb_model_skipped(t->tlb, p, e->id, e->addr >> 32);
	t->instructions += (uint32_t)e->addr;
}

/* What comes neither of the common way nor as a block. */
static __attribute__((noinline)) void event_consume(struct timing *t, const struct paging *p, const struct event *e, bool paged)
{
	switch (e->kind) {
	case EV_LOAD: /* or a fetch that faulted */
		if (paged && (e->flags & EVF_FETCH))
			page_touch_slow(t, p, e->addr, ACCESS_EXEC, e->flags);
		else if (paged)
			bytes_touch(t, p, e, e->aux, ACCESS_READ);
		break;
	case EV_STORE: case EV_TABLE_STORE: case EV_RMW:
		if (paged)
			bytes_touch(t, p, e, e->aux, ACCESS_WRITE);
		break;
	case EV_CUT: t->instructions -= e->id < t->instructions ? e->id : t->instructions; break;
	case EV_TC_FETCH: t->tc_pending = true; break;
	case EV_TLB_FLUSH: tlb_model_flush(t->tlb, (enum tlb_flush)e->id, e->aux, e->addr, p); break;
	case EV_SKIPPED: skipped_count(t, p, e); break;
	case EV_EXIT: t->exit[e->id < TIMING_EXITS ? e->id : TIMING_EXITS - 1].count++; break;
	case EV_MARK: timing_mark(t, e); break;
	default: break;
	}
}

ALWAYS void block_consume(struct timing *t, const struct paging *p, const struct event *e, bool paged)
{
	const struct block_dictionary *d = t->port.blocks;
	bool translated = t->tc_pending;
	t->instructions += e->aux;
	t->tc_pending = false;
	if (paged && !translated)
		bytes_touch(t, p, e, d && e->id < d->count ? d->entry[e->id].bytes : 4u * e->aux, ACCESS_EXEC);
}

/* ---- the common case: what the filter answers, its clock in a register. As in core_fixed.c ---- */

struct lane { uint64_t clock, began, fetches; };

ALWAYS void lane_begin(struct timing *t, struct lane *l)
{
	*l = (struct lane){ .clock = tlb_model_fast(t->tlb)->clock };
	l->began = l->clock;
}

ALWAYS void lane_settle(struct timing *t, const struct lane *l)
{
	struct tlb_fast *f = tlb_model_fast(t->tlb);
	f->clock = l->clock;
	f->stats.l1d_access += l->clock - l->began - l->fetches;
	f->stats.l1i_access += l->fetches;
}

/* An access within a page that the filter answers. False: nothing happened. */
ALWAYS bool lane_touch(struct lane *l, const struct tlb_fast_slot *slots, const struct event *e, uint64_t last, bool write, bool stamps)
{
	const struct tlb_fast_slot *s = &slots[tlb_fast_index(e->addr)];
	if (__builtin_expect((&s->read_key)[write] != ((e->addr & ~0xfffull) | 1) || (e->addr ^ last) >> 12 || (e->flags & EVF_FAULT), 0)) /* ORDER: struct tlb_fast_slot */
		return false;
	l->clock++;
	if (stamps)
		*s->touched = l->clock;
	else
		tlb_fast_touch(s, l->clock);
	return true;
}

ALWAYS bool event_fast(struct timing *t, struct lane *l, const struct event *e, bool stamps)
{
	const struct tlb_fast *f = tlb_model_fast(t->tlb);
	const struct block_dictionary *d = t->port.blocks;
	if ((unsigned)e->kind - EV_LOAD <= EV_TABLE_STORE - EV_LOAD) /* ORDER EVENT */
		return lane_touch(l, f->data, e, e->addr + e->aux - 1, e->kind != EV_LOAD, stamps);
	if (e->kind != EV_BLOCK || t->tc_pending || !d || e->id >= d->count || !d->entry[e->id].bytes || !lane_touch(l, f->fetch, e, e->addr + d->entry[e->id].bytes - 1, false, stamps))
		return false;
	l->fetches++;
	t->instructions += e->aux;
	return true;
}

/* The filter does not know it: that is all that may be special about it. */
ALWAYS bool access_within_page(const struct event *e)
{
	return (unsigned)e->kind - EV_LOAD <= EV_TABLE_STORE - EV_LOAD && !(e->flags & EVF_FETCH) && !((e->addr ^ (e->addr + (e->aux ? e->aux - 1u : 0))) >> 12); /* ORDER EVENT */
}

ALWAYS void events_consume(struct timing *t, const struct paging *p, const struct event *first, const struct event *end, bool stamps)
{
	struct lane l;
	lane_begin(t, &l);
	for (const struct event *e = first; e < end; e++) {
		if (__builtin_expect(event_fast(t, &l, e, stamps), 1))
			continue;
		lane_settle(t, &l);
		if (end - e > TLB_EXPECT_FAR)
			tlb_model_expect(t->tlb, p, e[TLB_EXPECT_FAR].addr, e[TLB_EXPECT_NEAR].addr);
		if (access_within_page(e))
			page_touch_slow(t, p, e->addr, e->kind == EV_LOAD ? ACCESS_READ : ACCESS_WRITE, e->flags);
		else if (e->kind == EV_BLOCK)
			block_consume(t, p, e, true);
		else
			event_consume(t, p, e, true);
		lane_begin(t, &l);
	}
	lane_settle(t, &l);
}

/* Paging is off: no TLB is asked. */
static void events_unpaged(struct timing *t, const struct paging *p, const struct event *first, const struct event *end)
{
	for (const struct event *e = first; e < end; e++) {
		if ((unsigned)e->kind - EV_LOAD <= EV_TABLE_STORE - EV_LOAD) /* ORDER EVENT */
			continue;
		if (e->kind == EV_BLOCK)
			block_consume(t, p, e, false);
		else
			event_consume(t, p, e, false);
	}
}

bool core_tlb_filter(const struct timing *t, struct event_filter_shape *shape)
{
	const uint64_t delivery = 1ull << EV_EXCEPTION | 1ull << EV_INTERRUPT | 1ull << EV_IRQ_RAISED, system = 1ull << EV_SENSITIVE | 1ull << EV_STATE | 1ull << EV_DEVICE | 1ull << EV_HYPERCALL;
	*shape = (struct event_filter_shape){ .granule = 12, .ignored = delivery | system | 1ull << EV_REP | 1ull << EV_IDLE | 1ull << EV_PROBE };
	if (!tlb_model_filter(t->tlb, shape))
		return false;
	shape->slots = shape->pages;
	return true;
}

void core_tlb_consume(void *self, const struct event *first, const struct event *end)
{
	struct timing *t = self;
	const struct paging *p = t->port.paging(t->port.self);
	if (p->format == PAGING_IDENTITY && !p->space) {
		events_unpaged(t, p, first, end);
		return;
	}
	for (; first < end && !tlb_fast_current(tlb_model_fast(t->tlb), p); first++) /* the access whose turn it is makes the present tags the filter's */
		first->kind == EV_BLOCK ? block_consume(t, p, first, true) : event_consume(t, p, first, true);
	if (t->usual)
		events_consume(t, p, first, end, true);
	else
		events_consume(t, p, first, end, false);
}
