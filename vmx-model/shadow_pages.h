/*
 * Shadow page tables in the VMM's pool, cached by the guest table that they shadow.
 *
 * Invariant: a present shadow entry says what its guest entry says, never more: the same frame (through the p2m), the same U/S, W and NX bits at the same level, except
 * that a leaf is writable only if the guest's dirty flag is set and its frame is no tracked page table. Every guest table behind a present entry is tracked, and a store
 * to it zaps the entry before the guest goes on. So the shadow is always a subset of what the guest's tables allow at this moment.
 *
 * One record in simulated memory describes one shadow page:
 *   word 0  guest-physical page of the guest table | level (bits 2:0) | quadrant (4:3) | direct (5)
 *        1  the shadow page (host-physical)      2  next record of the hash bucket
 *        3  list of the entries that point to it (vmm_slab.h)
 *        4  first gva that it maps | 1 if it maps several      5  present entries
 * Quadrant: a 32-bit guest table has 1024 entries of 4 bytes; a shadow page has 512 of 8. A page table becomes 2 shadow pages (quadrant 0, 1), a page directory 4.
 * Direct: the inside of a larger guest page (or of all memory, while paging is off), cut into 4 KiB pages: it belongs to one entry and dies with it.
 */
#ifndef VMX_MODEL_SHADOW_PAGES_H
#define VMX_MODEL_SHADOW_PAGES_H
#include "vmm_slab.h"

enum { SH_P = 1, SH_W = 2, SH_U = 4, SH_A = 0x20, SH_D = 0x40 }; /* hardware's format is the 64-bit one: SDM 3A table 4-19 */
#define SH_NX (1ull << 63)
#define SH_ADDRESS 0x000ffffffffff000ull

#define SHADOW_DIRECT 0x20ull
#define SHADOW_RECORD_BYTES 64
#define SHADOW_ROOT_BYTES 64
#define SHADOW_ROOTS_MAX 64

struct shadow {
	struct vmm *v;
	struct paging hw;              /* what the hardware walks */
	struct vmm_slab records, nodes;
	uint64_t buckets, bucket_mask; /* hash heads: records by guest page */
	uint64_t owner;                /* record of each pool page, 8 bytes a page */
	uint64_t rmap;                 /* by guest frame: writable leaf entries that map it */
	uint64_t roots;                /* root slots: { key | 1, last use, 4 top tables | 1, serial } */
	unsigned root_slots, current;
	uint64_t clock, serial;
	bool prepared;                 /* the last change of context was a MOV CR3, whose tables shadow_prepare() made and paid for */
	bool aliased;                  /* some page above the leaves is mapped at two gvas: a leaf's gva is not known any more */
};

static inline uint64_t shadow_key(uint64_t gpa, unsigned level, unsigned quadrant, bool direct)
{
	return (gpa & SH_ADDRESS) | level | quadrant << 3 | (direct ? SHADOW_DIRECT : 0);
}

/* The tables of the cache itself. False: no room. */
bool shadow_pages_create(struct shadow *s);
/* The shadow page of that key that maps from gva on, made if need be (direct ones always). Returns its record; 0: the pool is empty. */
uint64_t shadow_page_get(struct shadow *s, uint64_t key, uint64_t gva);
/* The record of the table that an entry (or root slot word) points to. */
uint64_t shadow_page_owner(struct shadow *s, uint64_t entry);
uint64_t shadow_page_table(struct shadow *s, uint64_t record);
uint64_t shadow_page_key(struct shadow *s, uint64_t record);
/* Points entry `index` of a shadow page at another one, with these permission bits. */
void shadow_page_link(struct shadow *s, uint64_t parent, unsigned index, uint64_t child, uint64_t bits);
/* Sets a leaf entry. */
void shadow_leaf_set(struct shadow *s, uint64_t record, unsigned index, uint64_t entry);
/* Root slot words: the same as entries, but of no page. */
void shadow_root_link(struct shadow *s, uint64_t word, uint64_t child);
void shadow_root_unlink(struct shadow *s, uint64_t word);
/* The guest stored `size` bytes at gpa, in one of its tables: entries that shadow them end. */
void shadow_zap_store(struct shadow *s, uint64_t gpa, unsigned size, bool wide);
/* All shadow pages of a guest page end. */
void shadow_drop_table(struct shadow *s, uint64_t gpa);
/* Takes W from every leaf entry that maps the frame. Returns how many there were. */
unsigned shadow_write_protect(struct shadow *s, uint64_t gpa);
#endif
