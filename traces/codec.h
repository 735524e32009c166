/*
 * The codec: events to few bytes and back, by prediction from context.
 *
 * Invariant: decoding what was encoded gives the same events, bit for bit; both sides change their predictor after each event and by nothing but that event, so they never part.
 * A chunk starts with an empty predictor: chunks can be decoded alone.
 *
 * Three streams, compressed by zlib afterwards:
 *   tokens     varint (run << 2 | op): `run` events exactly as predicted, then one event told by `op`
 *   addresses  varint zigzag differences to the predicted address
 *   details    of events that nothing predicted
 * The context of an event is its block and how many events since the block was entered; of a block, the last three blocks. A context remembers the last event seen in it, its stride,
 * and its distance from the access before it, whatever that was; it expects the next event by whichever of the two was right when the other was not. So arrays are told by their
 * strides, and stack frames and structures by their first access. Loops therefore cost next to nothing, and what is random in the guest (hash tables, branches) is what takes room.
 */
#ifndef TRACES_CODEC_H
#define TRACES_CODEC_H
#include "../isa/event.h"
#include "bytes.h"

enum codec_op { /* ORDER OP: stored */
	CODEC_NONE,    /* the chunk ends after the run */
	CODEC_ADDRESS, /* as predicted but for the address: a difference follows in `addresses` */
	CODEC_BLOCK,   /* EV_BLOCK: id in `details`; address, instructions and flags as when that id was last seen, if it was */
	CODEC_FULL,    /* all in `details`: kind, flags, aux, id, and the difference to the last address of that kind */
};

/* The event as it was. The next one is expected `stride` further on, or (kind | CODEC_NEAR) `offset` away from the access before it. */
struct codec_slot { struct event event; int32_t stride, offset; };
#define CODEC_NEAR 0x80 /* in event.kind: kinds of layer 1 are smaller */
#define CODEC_SLOTS 16384 /* a power of two; part of the format */
#define CODEC_ROUND 256   /* events in a block are told apart up to here; those of a long REP then take turns in the last two places. The same */

struct codec {
	struct codec_slot place[CODEC_SLOTS]; /* by (block, events since it) */
	struct event history[CODEC_SLOTS];    /* by the last three blocks */
	struct event known[CODEC_SLOTS];      /* by block id: where it was */
	uint64_t last_addr[EV_KIND_COUNT];
	uint64_t near;                        /* address of the last access */
	uint32_t block[3], ordinal;
	uint64_t run;                           /* encoder: predicted events not yet told */
};

struct codec_out { struct bytes tokens, addresses, details; };
struct codec_in {
	struct span tokens, addresses, details;
	uint64_t run;     /* of the token being carried out: predicted events still to come, */
	enum codec_op op; /* and what comes after them */
	bool told;        /* there is such a token */
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
/* Layer-1 kinds: those that a trace may hold. */
static inline bool codec_stores(unsigned kind) { return kind > EV_NONE && kind <= EV_MARK; }
#endif
