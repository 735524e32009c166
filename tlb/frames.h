/*
 * What the simulator knows of each host-physical frame.
 *
 * Invariant: a frame with FRAME_CODE or FRAME_TABLE is writable through no softtlb entry; a frame without FRAME_GRANTED is reachable by the guest through none.
 */
#ifndef TLB_FRAMES_H
#define TLB_FRAMES_H
#include <stdbool.h>
#include <stdint.h>

enum {
	FRAME_CODE = 1,    /* blocks were built from it */
	FRAME_TABLE = 2,   /* a walk read it as a guest page table, and it is tracked */
	FRAME_GRANTED = 4, /* the VMM gave it to the guest (all of memory, natively) */
	FRAME_CACHED_WRITE = 16, /* a softtlb entry may reach it for writes; cleared by the scan that ends those entries */
	FRAME_WRITE_MANY = 32, /* ... through more softtlb entries than `entry` names */
	FRAME_TOUCHED = 64, /* the guest has reached it, at some time: never cleared */
};

struct frame {
	uint8_t flags;
	uint8_t stores; /* table stores since a walk last read it as a table, repeated ones to one entry apart */
	uint16_t entry[2]; /* FRAME_CACHED_WRITE: indices of the softtlb entries that may reach it for writes */
	uint32_t gfn;   /* FRAME_TABLE: guest frame number of the table */
	uint16_t last_entry; /* FRAME_TABLE: offset / 4 of the last table store; FRAME_NO_ENTRY: none yet */
};
#define FRAME_NO_ENTRY 0xffff
struct frames { struct frame *frame; uint64_t count; };

/* One struct frame for each 4 KiB of `bytes`. Returns false when out of memory. */
bool frames_create(struct frames *f, uint64_t bytes);
void frames_destroy(struct frames *f);
/* Gives (or takes back) [hpa, hpa + bytes), whole frames. Whoever takes back flushes the softtlb. */
void frames_grant(struct frames *f, uint64_t hpa, uint64_t bytes);
void frames_revoke(struct frames *f, uint64_t hpa, uint64_t bytes);
static inline struct frame *frames_at(const struct frames *f, uint64_t hpa)
{
	return (hpa >> 12) < f->count ? &f->frame[hpa >> 12] : 0;
}
#endif
