#include "tlb_consumer.h"

static void page_access(struct tlb_consumer *c, const struct paging *p, uint64_t gva, enum access access, unsigned flags)
{
	struct tlb_outcome out;
	uint64_t hpa;
	if (!tlb_model_access_fast(c->model, p, gva, access, flags, &hpa))
		tlb_model_access(c->model, p, gva, access, flags, &out);
}

/* An access of some bytes, which may reach into a second page. */
static void bytes_access(struct tlb_consumer *c, const struct paging *p, uint64_t gva, unsigned bytes, enum access access, unsigned flags)
{
	uint64_t last = gva + (bytes ? bytes - 1 : 0);
	page_access(c, p, gva, access, flags);
	if ((gva ^ last) >> 12 && !(flags & EVF_FAULT)) /* a fault names the page that had it */
		page_access(c, p, last & ~0xfffull, access, flags);
}

static unsigned block_bytes(const struct tlb_consumer *c, const struct event *e)
{
	if (c->blocks && e->id < c->blocks->count)
		return c->blocks->entry[e->id].bytes;
	return e->flags & EVF_STRADDLE ? 0x1001 - (e->addr & 0xfff) : 1;
}

static void event_consume(struct tlb_consumer *c, const struct paging *p, const struct event *e)
{
	switch (e->kind) {
	case EV_BLOCK: bytes_access(c, p, e->addr, block_bytes(c, e), ACCESS_EXEC, e->flags & EVF_USER); break;
	case EV_LOAD: bytes_access(c, p, e->addr, e->aux, e->flags & EVF_FETCH ? ACCESS_EXEC : ACCESS_READ, e->flags); break;
	case EV_STORE: case EV_RMW: case EV_TABLE_STORE: bytes_access(c, p, e->addr, e->aux, ACCESS_WRITE, e->flags); break;
	case EV_TLB_FLUSH: tlb_model_flush(c->model, (enum tlb_flush)e->id, e->aux, e->addr, p); break;
	default: break;
	}
}

static void consume(void *self, const struct event *first, const struct event *end)
{
	struct tlb_consumer *c = self;
	const struct paging *p = c->paging(c->paging_self);
	for (const struct event *e = first; e < end; e++)
		event_consume(c, p, e);
}

void tlb_consumer_create(struct tlb_consumer *c, struct tlb_model *model, const struct block_dictionary *blocks, const struct paging *(*paging)(void *), void *paging_self)
{
	*c = (struct tlb_consumer){ model, blocks, paging, paging_self, { .consume = consume } };
	c->link.self = c;
}
