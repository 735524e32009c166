/*
 * The translation cache of the binary-translating VMM: fragments in the pool, a hash table over them, chains between them.
 *
 * Invariant: a fragment is found only by the guest pc *and* the code it was made from (the block's number stands for its bytes), so changed code is translated again.
 * The fragments and the hash table that translated code searches are simulated memory; the index beside them is the simulator's own way to find what it has put there.
 */
#ifndef VMX_MODEL_BT_CACHE_H
#define VMX_MODEL_BT_CACHE_H
#include "vmm.h"

#define BT_NONE UINT32_MAX
#define BT_HASH_SLOTS 4096u /* of 16 bytes: { guest pc, fragment } */

struct bt_fragment {
	uint64_t pc, hpa;
	uint32_t id, bytes;
	uint32_t next;        /* in the index's bucket */
	uint32_t successor[2];/* chained: direct jumps that need no lookup any more */
	uint16_t extra;       /* instructions more than the guest's */
	uint16_t traps;       /* of its page-table stores */
	bool adapted;
};

struct bt_cache {
	struct vmm *v;
	uint64_t code, code_bytes, code_used; /* simulated: fragments */
	uint64_t hash;                        /* simulated: what indirect branches search */
	struct bt_fragment *fragment;
	uint32_t count, capacity;
	uint32_t bucket[4096];                /* by pc and id */
	uint32_t recent[4096];                /* by pc: first place to look */
	uint64_t flushes;
};

bool bt_cache_create(struct bt_cache *c, struct vmm *v);
void bt_cache_destroy(struct bt_cache *c);
/* BT_NONE: not translated. */
uint32_t bt_cache_find(struct bt_cache *c, uint64_t pc, uint32_t id);
/* Enters a fragment of that size (writing it, and its hash slot, through events); empties the cache first when it is full. BT_NONE: the real machine is out of memory. */
uint32_t bt_cache_enter(struct bt_cache *c, uint64_t pc, uint32_t id, uint32_t bytes, uint16_t extra, const uint8_t *code, unsigned code_bytes);
/* Marks the block numbers of all fragments. */
void bt_cache_keep(const struct bt_cache *c, uint8_t *kept);
/* Room for a fragment translated again; its old place gets a forwarding jump. */
void bt_cache_move(struct bt_cache *c, uint32_t f, uint32_t bytes);
uint64_t bt_cache_slot(const struct bt_cache *c, uint64_t pc); /* simulated address of the hash slot */
#endif
