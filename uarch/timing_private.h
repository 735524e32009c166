/*
 * What core models share: accounts, the memory path, and where the stream stands.
 *
 * Invariant: every cycle is charged once, to one cause. Instructions cost thousandths of cycles: those of guest and translated code gather by cause (milli), those of VMM code wait in
 * one carry until they are whole. A cause is cause[c] + milli[c] / 1000 and the total is the sum of the causes: so causes add up to the total, and exits and VMM work to theirs, exactly.
 */
#ifndef UARCH_TIMING_PRIVATE_H
#define UARCH_TIMING_PRIVATE_H
#include "hierarchy.h"
#include "timing.h"

struct region { struct region_account account; uint64_t cycles_at, instructions_at, by_cause_at[CAUSES]; bool open; };
struct stat_name { char name[48]; };

struct timing {
	struct event_consumer consumer;
	struct event_filter_shape shape; /* of consumer.shape */
	const struct core_model *model;
	struct preset preset;
	struct timing_port port;
	struct tlb_model *tlb;
	struct hierarchy memory;
	bool usual;                /* geometry and policies that most processors have: the loop has a copy for them */

	/* accounts: cycles */
	uint64_t cause[CAUSES];
	uint64_t milli[CAUSES];    /* thousandths */
	uint32_t carry;            /* thousandths of VMM code not charged yet: 0..999 */
	struct exit_account exit[TIMING_EXITS];
	uint64_t work[TIMING_EXITS];
	uint64_t instructions;

	/* where the stream stands */
	enum cause guest;          /* GUEST_USER or GUEST_KERNEL: who pays for guest events now */
	enum cause vmm;            /* who pays for VMM events now */
	unsigned work_kind;        /* kind of VMM work now */
	unsigned exit_reason;      /* of the exit being handled; TIMING_EXITS: none */
	bool translated;           /* the present block runs from the translation cache */
	bool tc_pending;           /* the next block does: its fragment is at tc_address */
	uint64_t tc_address;
	uint32_t tc_bytes, tc_extra;
	uint64_t next_pc;          /* where the last block goes on unless it jumps; all ones: unknown, no branch is charged */
	uint64_t sequence;         /* events seen before this batch */
	uint64_t refund_at;        /* sequence number at which an EV_EXIT takes back `refund`: the exit happened instead of the instruction's own work */
	uint64_t refund;
	enum cause refund_cause;
	uint64_t fetch_line;       /* last line fetched, by physical line number; all ones: none */
	uint64_t seen, missed;     /* events of the last batch, and its L1 misses: whether the next one is worth staging */

	struct region *region;     /* TIMING_REGIONS */
	struct stat_name *names;   /* TIMING_STATS */
	unsigned name_count;
};

static inline void timing_charge(struct timing *t, enum cause c, uint64_t cycles)
{
	t->cause[c] += cycles;
}

/* One file each. The filter: what need not be written for this model; false: everything must. */
#define CORE_MODEL(id, name, time, text) \
	void core_##id##_consume(void *self, const struct event *first, const struct event *end); \
	bool core_##id##_filter(const struct timing *t, struct event_filter_shape *shape);
#include "core_models.def"
#undef CORE_MODEL

/* ---- for core models (timing.c) ---- */
void timing_mark(struct timing *t, const struct event *e);
/* References of a walk through the data caches, charged by dimension. staged: those that miss L1 wait (hierarchy_put()). */
void timing_walk(struct timing *t, const struct tlb_outcome *o, bool staged);

/* Who pays for a staged access: a guest cause or a walk's for data, a guest cause for code. */
enum { PAYER_NOBODY, PAYER_DATA /* + enum cause, GUEST_USER to WALK_SHADOW */, PAYER_CODE = PAYER_DATA + CAUSE_WALK_SHADOW + 1 /* + GUEST_USER or GUEST_KERNEL: ORDER CAUSE */ };
_Static_assert(PAYER_CODE + CAUSE_GUEST_KERNEL < PAYERS, "a payer for each");
/* Nothing waits any more, and all is charged. Before whatever reaches below L1 in order, and before anybody reads the sums. */
void timing_settle(struct timing *t);
#endif
