/*
 * Small objects in the VMM's pool: pages cut into equal pieces, free ones linked through their first word.
 *
 * Invariant: an object is either in use or on the list; its address is never 0. Taking and giving back are loads and stores of simulated memory.
 */
#ifndef VMX_MODEL_VMM_SLAB_H
#define VMX_MODEL_VMM_SLAB_H
#include "vmm.h"

struct vmm_slab { uint64_t free; unsigned bytes; /* of an object: a multiple of 8 that divides 4096 */ };

uint64_t vmm_slab_take(struct vmm *v, struct vmm_slab *s); /* contents undefined; 0 when the pool is empty (the VMM has failed then) */
void vmm_slab_give(struct vmm *v, struct vmm_slab *s, uint64_t object);

/*
 * A list of addresses of table entries that point at one thing. The head is one word of simulated memory:
 *   0: none      entry address (bit 0 clear): one      node address | 1: several; a node is { entry, entry, entry, next node or 0 }
 */
#define RMAP_NODE_BYTES 32
void rmap_add(struct vmm *v, struct vmm_slab *nodes, uint64_t head, uint64_t entry);
void rmap_remove(struct vmm *v, struct vmm_slab *nodes, uint64_t head, uint64_t entry);
uint64_t rmap_pop(struct vmm *v, struct vmm_slab *nodes, uint64_t head); /* takes one out; 0: empty */
#endif
