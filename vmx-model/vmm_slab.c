/* Objects and reverse-map lists in the pool. */
#include "vmm_slab.h"

uint64_t vmm_slab_take(struct vmm *v, struct vmm_slab *s)
{
	if (!s->free) {
		uint64_t page = vmm_page_alloc(v);
		if (!page)
			return 0;
		for (unsigned at = 4096; at >= s->bytes; at -= s->bytes) {
			vmm_store_data(v, page + at - s->bytes, s->free, 8);
			s->free = page + at - s->bytes;
		}
	}
	uint64_t object = s->free;
	s->free = vmm_load(v, object, 8);
	return object;
}

void vmm_slab_give(struct vmm *v, struct vmm_slab *s, uint64_t object)
{
	vmm_store_data(v, object, s->free, 8);
	s->free = object;
}

static uint64_t node_make(struct vmm *v, struct vmm_slab *nodes, uint64_t a, uint64_t b, uint64_t next)
{
	uint64_t node = vmm_slab_take(v, nodes);
	if (!node)
		return 0;
	vmm_store_data(v, node, a, 8);
	vmm_store_data(v, node + 8, b, 8);
	vmm_store_data(v, node + 16, 0, 8);
	vmm_store_data(v, node + 24, next, 8);
	return node;
}

void rmap_add(struct vmm *v, struct vmm_slab *nodes, uint64_t head, uint64_t entry)
{
	uint64_t first = vmm_load(v, head, 8), node;
	if (!first) {
		vmm_store_data(v, head, entry, 8);
		return;
	}
	if (!(first & 1)) {
		node = node_make(v, nodes, first, entry, 0);
	} else {
		for (unsigned i = 0; i < 3; i++)
			if (!vmm_load(v, (first & ~1ull) + 8 * i, 8)) {
				vmm_store_data(v, (first & ~1ull) + 8 * i, entry, 8);
				return;
			}
		node = node_make(v, nodes, entry, 0, first & ~1ull);
	}
	if (node)
		vmm_store_data(v, head, node | 1, 8);
}

/* Unlinks `node` when nothing is left in it. `link`: the word that leads to it; the head's carries bit 0. */
static void node_drop_empty(struct vmm *v, struct vmm_slab *nodes, uint64_t head, uint64_t link, uint64_t node)
{
	for (unsigned i = 0; i < 3; i++)
		if (vmm_load(v, node + 8 * i, 8))
			return;
	uint64_t next = vmm_load(v, node + 24, 8);
	vmm_store_data(v, link, link == head && next ? next | 1 : next, 8);
	vmm_slab_give(v, nodes, node);
}

void rmap_remove(struct vmm *v, struct vmm_slab *nodes, uint64_t head, uint64_t entry)
{
	uint64_t first = vmm_load(v, head, 8), link = head;
	if (!(first & 1)) {
		if (first == entry)
			vmm_store_data(v, head, 0, 8);
		return;
	}
	for (uint64_t node = first & ~1ull; node; link = node + 24, node = vmm_load(v, link, 8))
		for (unsigned i = 0; i < 3; i++)
			if (vmm_load(v, node + 8 * i, 8) == entry) {
				vmm_store_data(v, node + 8 * i, 0, 8);
				node_drop_empty(v, nodes, head, link, node);
				return;
			}
}

uint64_t rmap_pop(struct vmm *v, struct vmm_slab *nodes, uint64_t head)
{
	uint64_t first = vmm_load(v, head, 8);
	if (!(first & 1)) {
		if (first)
			vmm_store_data(v, head, 0, 8);
		return first;
	}
	for (unsigned i = 0; i < 3; i++) {
		uint64_t node = first & ~1ull, entry = vmm_load(v, node + 8 * i, 8);
		if (!entry)
			continue;
		vmm_store_data(v, node + 8 * i, 0, 8);
		node_drop_empty(v, nodes, head, head, node);
		return entry;
	}
	return 0; /* a node is never empty */
}
