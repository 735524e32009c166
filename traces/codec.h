/*
 * The codec: events to few bytes and back, by prediction from context.
 *
 * Invariant: decoding what was encoded gives the same events, bit for bit; both sides change their predictor after each event and by nothing but that event, so they never part.
 * A chunk starts with an empty predictor: chunks can be decoded alone.
 *
 * The predictor is the guest's program as far as the chunk has shown it. A *site* is a block at an address; it has a row of *slots*, the events that were seen in it last time, and the two
 * sites that have followed it. In a block the next event is expected to be that of the next slot, at an address by its stride or at its distance from the access before, whichever was
 * right when the other was not; behind the last slot the block ends, and the first follower is expected. So arrays are told by their strides, stack frames and structures by
 * their first access, and decoding walks a graph without looking anything up. A site with many followers (a return, an indirect jump) expects the last one.
 *
 * Four streams, compressed by zlib afterwards:
 *   tokens     varint (run << 2 | op): `run` events exactly as predicted, then what `op` says
 *   marks      one bit an event, of the events of a CODEC_MARKS: 0 as predicted, 1 the other way: another address, the other follower; of a site with many, one
 *              named in `details`
 *   addresses  varint zigzag differences to the predicted address
 *   details    of events that nothing predicted
 * Loops therefore cost next to nothing, and what is random in the guest (hash tables, branches) is what takes room.
 */
#ifndef TRACES_CODEC_H
#define TRACES_CODEC_H
#include "../isa/event.h"
#include "bytes.h"

enum codec_op { /* ORDER OP: stored */
	CODEC_NONE,  /* the chunk ends after the run */
	CODEC_MARKS, /* as many events as the next varint in `tokens` says, each with its mark */
	CODEC_SITE,  /* EV_BLOCK of a known site, whose number is in `details` */
	CODEC_FULL,  /* all in `details`: kind, flags, aux, id, and the difference to the last access; for a block, to where the one before began; for other kinds, to the last one told in full */
};

enum codec_what { /* ORDER: what a filter may leave out comes first, then other accesses */
	CODEC_READ, CODEC_WRITE, CODEC_ACCESS, CODEC_OTHER, CODEC_TURN /* EV_REP: what comes behind it has slots of its own, however often it was repeated */
};

/* The numbers below are part of the format. */
#define CODEC_SITES 65536  /* when they are used up, or the slots are, all is forgotten */
#define CODEC_SLOTS 262144
#define CODEC_ROUND 128    /* slots of a site; events behind them (a long REP) go round in the second half */
#define CODEC_TURNS 4      /* EV_REPs of a block that are told apart */
#define CODEC_MANY 16      /* so many times another one than the two followers: then the last one is expected, and the other way names it */
#define CODEC_QUIET 48     /* the encoder ends marks before that many events as predicted; less than a word less a byte */

struct codec_slot { /* the event as it was; the next one is expected `stride` further on, or, if `near`, `offset` away from the access before it */
	uint64_t head, addr;
	int32_t stride, offset;
	uint8_t what, near;
};

struct codec_site {
	uint64_t head, addr;  /* its EV_BLOCK */
	uint32_t next[2];     /* sites that have followed; 0: none yet */
	uint32_t slot;        /* its first; `slots` are in use, there is room for `room` */
	uint16_t slots, room;
	uint32_t turn;        /* the site that stands for the rest of the block behind an EV_REP; 0: none yet */
	uint8_t oldest, others; /* of `next`: which is replaced by a third one; how often that was */
	uint8_t turns;        /* how many EV_REPs it stands behind */
};

struct codec {
	uint32_t sites, slots;                  /* in use; site 0 is where no block was entered yet */
	uint32_t now, ordinal;                  /* the site, and the slot whose turn it is */
	uint64_t near;                          /* address of the last access */
	uint64_t last_addr[EV_KIND_COUNT];      /* of kinds that are neither block nor access, told in full */
	uint64_t run, lead, marked;             /* encoder: predicted events not yet told; those before the marks that are not told yet; events that have marks */
	uint64_t mark_bits;                     /* encoder: marks not yet written, */
	unsigned mark_count;                    /* and how many */
	uint32_t seen[CODEC_SITES];             /* encoder: sites by hash; a site that is not found again gets another number */
	struct codec_site site[CODEC_SITES];
	struct codec_slot slot[CODEC_SLOTS];    /* memory that is not used is not touched */
};

struct codec_out { struct bytes tokens, marks, addresses, details; };
struct codec_in {
	struct span tokens, marks, addresses, details;
	uint64_t mark;          /* marks that have been read: `marks` itself stays */
	uint64_t run, marked;   /* of the token being carried out: predicted events still to come, those with marks behind them, */
	enum codec_op op;       /* and what comes after the run */
	bool told;              /* there is such a token */
};

void codec_reset(struct codec *c);
void codec_encode(struct codec *c, struct codec_out *out, const struct event *first, const struct event *end);
/* Tells the last run. Call once, at the end of a chunk. */
void codec_finish(struct codec *c, struct codec_out *out);
/* Decodes the next n events into `to`. False: the streams are damaged (too short, unknown kind). */
bool codec_decode_part(struct codec *c, struct codec_in *in, struct event *to, size_t n);
/* Whether the streams end here, as they should after the last event. */
bool codec_ended(struct codec_in *in);
/* Decodes exactly n events, which must be all. */
bool codec_decode(struct codec *c, struct codec_in *in, struct event *to, size_t n);

/* Decoding without writing what a filter leaves out: references go by one at a time. */
enum codec_pass_end {
	PASS_ALL,     /* n have passed */
	PASS_EVENT,   /* `event` has been decoded, but not taken */
	PASS_SPECIAL, /* what comes next is no plain reference, or told in full */
	PASS_DAMAGED,
};
struct codec_pass {
	struct event_filter *filter;
	bool (*take)(void *self, const struct event *e); /* what the filter does not know. False: not taken; decoding stops behind it */
	void *self;
	enum codec_pass_end end;
	struct event event;
	const struct codec_site *last;            /* of the last block that passed; NULL: none did */
	struct event block;                       /* that block */
	uint64_t instructions;                    /* of the blocks that passed */
	uint64_t count[EV_RMW + 1];               /* events by kind, and `event` */
};
/* Decodes plain loads, stores, RMWs and blocks, n at most, and returns how many; p->end says why no more. */
uint64_t codec_decode_pass(struct codec *c, struct codec_in *in, struct codec_pass *p, uint64_t n);

/* Layer-1 kinds: those that a trace may hold. */
static inline bool codec_stores(unsigned kind) { return kind > EV_NONE && kind < EV_GUEST_KINDS; }
#endif
