/* The codec: see codec.h. */
#include "codec.h"

void codec_reset(struct codec *c)
{
	memset(c, 0, sizeof *c);
}

/* ------------------------------------------------------------------ contexts */
/* Fibonacci hashing: the high bits of a product depend on all bits of the key. */
static unsigned slot_index(uint64_t key)
{
	return (unsigned)((key * 0x9e3779b97f4a7c15ull) >> 50) & (CODEC_SLOTS - 1);
}

static struct codec_slot *place_slot(struct codec *c)
{
	return &c->place[slot_index((uint64_t)c->block[0] << 16 ^ c->ordinal)];
}

static struct event *history_slot(struct codec *c)
{
	uint64_t key = c->block[0] + ((uint64_t)c->block[1] << 21) + ((uint64_t)c->block[2] << 42);
	return &c->history[slot_index(key ^ (uint64_t)c->ordinal << 13)];
}

static struct event *known_slot(struct codec *c, uint32_t id)
{
	return &c->known[id & (CODEC_SLOTS - 1)];
}

/* The place after an event. What follows REP is found again however often it was repeated. */
static inline uint32_t ordinal_next(uint32_t ordinal, unsigned kind)
{
	uint32_t next = (ordinal & (CODEC_ROUND - 1)) == CODEC_ROUND - 1 ? ordinal - 1 : ordinal + 1;
	return kind == EV_REP ? (ordinal | (CODEC_ROUND - 1)) + 1 : next;
}

static inline bool kind_accesses(unsigned kind)
{
	return kind - EV_LOAD <= EV_TABLE_STORE - EV_LOAD; /* ORDER EVENT */
}

/* ------------------------------------------------------------------ slots */
/* Copies an event in two words, as event_write() made it: a copy by one wide load would wait for both stores. */
static inline void event_copy(struct event *to, const struct event *from)
{
	uint64_t head;
	memcpy(&head, from, sizeof head);
	memcpy(to, &head, sizeof head);
	to->addr = from->addr;
}

static inline unsigned slot_kind(const struct codec_slot *s)
{
	return s->event.kind & ~CODEC_NEAR;
}

/* Where the next event is expected. Differences are kept in 32 bits: those that do not fit are as wrong in the encoder as in the decoder. */
static inline uint64_t slot_address(const struct codec_slot *s, uint64_t near)
{
	uint64_t by_stride = s->event.addr + (uint64_t)(int64_t)s->stride, by_offset = near + (uint64_t)(int64_t)s->offset;
	return s->event.kind & CODEC_NEAR ? by_offset : by_stride;
}

static inline void slot_move(struct codec_slot *s, uint64_t addr, uint64_t near)
{
	s->stride = (int32_t)(addr - s->event.addr);
	s->offset = (int32_t)(addr - near);
	s->event.addr = addr;
}

/* Another address than expected, of the same kind of event: the other way of expecting it may have been right. */
static void slot_correct(struct codec_slot *s, uint64_t addr, uint64_t near)
{
	uint64_t by_stride = s->event.addr + (uint64_t)(int64_t)s->stride, by_offset = near + (uint64_t)(int64_t)s->offset;
	if ((s->event.kind & CODEC_NEAR ? by_stride : by_offset) == addr)
		s->event.kind ^= CODEC_NEAR;
	slot_move(s, addr, near);
}

static void slot_learn(struct codec_slot *s, const struct event *e, uint64_t near)
{
	unsigned kind = slot_kind(s), how;
	if (e->kind == EV_BLOCK || kind != e->kind) {
		event_copy(&s->event, e);
		s->stride = 0;
		s->offset = (int32_t)(e->addr - near);
		return;
	}
	if (slot_address(s, near) == e->addr)
		slot_move(s, e->addr, near);
	else
		slot_correct(s, e->addr, near);
	how = s->event.kind & CODEC_NEAR;
	event_copy(&s->event, e);
	s->event.kind |= (uint8_t)how;
}

/* What is expected: where it is a block, by the longer history if that has been here before. */
static struct event codec_predict(struct codec *c)
{
	const struct codec_slot *s = place_slot(c);
	struct event e = s->event;
	if (e.kind == EV_BLOCK) {
		const struct event *h = history_slot(c);
		return h->kind == EV_BLOCK ? *h : e;
	}
	e.addr = slot_address(s, c->near);
	e.kind &= (uint8_t)~CODEC_NEAR;
	return e;
}

static void codec_enter_block(struct codec *c, uint32_t id)
{
	c->block[2] = c->block[1];
	c->block[1] = c->block[0];
	c->block[0] = id;
	c->ordinal = 0;
}

static void codec_learn(struct codec *c, const struct event *e)
{
	slot_learn(place_slot(c), e, c->near);
	c->last_addr[e->kind] = e->addr;
	if (kind_accesses(e->kind))
		c->near = e->addr;
	if (e->kind != EV_BLOCK) {
		c->ordinal = ordinal_next(c->ordinal, e->kind);
		return;
	}
	event_copy(history_slot(c), e);
	event_copy(known_slot(c, e->id), e);
	codec_enter_block(c, e->id);
}

/* ------------------------------------------------------------------ encoding */
static void codec_token(struct codec *c, struct codec_out *out, enum codec_op op)
{
	bytes_varint(&out->tokens, c->run << 2 | op);
	c->run = 0;
}

static void codec_encode_full(struct codec *c, struct codec_out *out, const struct event *e)
{
	codec_token(c, out, CODEC_FULL);
	bytes_u8(&out->details, e->kind);
	bytes_u8(&out->details, e->flags);
	bytes_varint(&out->details, e->aux);
	bytes_varint(&out->details, e->id);
	bytes_varint(&out->details, zigzag(e->addr - c->last_addr[e->kind]));
}

/* All but the address. */
static bool event_alike(const struct event *a, const struct event *b)
{
	return a->kind == b->kind && a->id == b->id && a->aux == b->aux && a->flags == b->flags;
}

static void codec_encode_event(struct codec *c, struct codec_out *out, const struct event *e)
{
	const struct event expected = codec_predict(c), *known = known_slot(c, e->id);
	bool alike = event_alike(&expected, e);

	if (alike && expected.addr == e->addr) {
		c->run++;
	} else if (alike) {
		codec_token(c, out, CODEC_ADDRESS);
		bytes_varint(&out->addresses, zigzag(e->addr - expected.addr));
	} else if (e->kind == EV_BLOCK && event_alike(known, e) && known->addr == e->addr) {
		codec_token(c, out, CODEC_BLOCK);
		bytes_varint(&out->details, e->id);
	} else {
		codec_encode_full(c, out, e);
	}
	codec_learn(c, e);
}

void codec_encode(struct codec *c, struct codec_out *out, const struct event *first, const struct event *end)
{
	for (; first != end; first++)
		codec_encode_event(c, out, first);
}

void codec_finish(struct codec *c, struct codec_out *out)
{
	codec_token(c, out, CODEC_NONE);
}

/* ------------------------------------------------------------------ decoding: one event that was not expected */
static bool codec_decode_full(struct codec *c, struct codec_in *in, struct event *e)
{
	unsigned kind = span_u8(&in->details);
	unsigned flags = span_u8(&in->details);
	uint64_t aux = span_varint(&in->details), id = span_varint(&in->details), difference = span_varint(&in->details);
	if (in->details.bad || !codec_stores(kind) || aux > UINT16_MAX || id > UINT32_MAX)
		return false;
	event_write(e, kind, flags, (unsigned)aux, (uint32_t)id, c->last_addr[kind] + unzigzag(difference));
	codec_learn(c, e);
	return true;
}

static bool codec_decode_block(struct codec *c, struct codec_in *in, struct event *e)
{
	uint64_t id = span_varint(&in->details);
	if (in->details.bad || id > UINT32_MAX)
		return false;
	event_copy(e, known_slot(c, (uint32_t)id));
	if (e->kind != EV_BLOCK || e->id != id)
		return false;
	codec_learn(c, e);
	return true;
}

/* An event as it stands in its slot, but for how it was expected. */
static inline void slot_give(const struct codec_slot *s, struct event *to)
{
	uint64_t head;
	memcpy(&head, &s->event, sizeof head);
	head &= ~(uint64_t)CODEC_NEAR; /* ORDER: struct event */
	memcpy(to, &head, sizeof head);
	to->addr = s->event.addr;
}

/* As expected but for the address: what is unpredictable in a guest, and so most of what is not in runs. */
static inline bool codec_decode_address(struct codec *c, struct codec_in *in, struct event *e)
{
	struct codec_slot *s = place_slot(c);
	uint64_t difference = unzigzag(span_varint(&in->addresses));
	unsigned kind = slot_kind(s);
	if (kind <= EV_BLOCK) {
		*e = codec_predict(c);
		e->addr += difference;
		codec_learn(c, e);
		return !in->addresses.bad && kind == EV_BLOCK;
	}
	uint64_t expected = slot_address(s, c->near), addr = expected + difference;
	slot_correct(s, addr, c->near);
	slot_give(s, e);
	c->last_addr[kind] = addr;
	c->near = kind_accesses(kind) ? addr : c->near;
	c->ordinal = ordinal_next(c->ordinal, kind);
	return !in->addresses.bad && difference;
}

static inline bool codec_decode_op(struct codec *c, struct codec_in *in, struct event *e)
{
	switch (in->op) {
	case CODEC_ADDRESS: return codec_decode_address(c, in, e);
	case CODEC_BLOCK: return codec_decode_block(c, in, e);
	case CODEC_FULL: return codec_decode_full(c, in, e);
	default: return false;
	}
}

/* ------------------------------------------------------------------ decoding: runs */
/* A block as expected: what codec_learn() does, where nothing but the place may have held another. */
static inline void codec_run_block(struct codec *c, struct event *to, struct codec_slot *place)
{
	struct event *history = history_slot(c);
	event_copy(to, history->kind == EV_BLOCK ? history : &place->event);
	event_copy(&place->event, to);
	event_copy(history, to);
	event_copy(known_slot(c, to->id), to);
	place->stride = 0;
	place->offset = (int32_t)(to->addr - c->near);
	c->last_addr[EV_BLOCK] = to->addr;
	codec_enter_block(c, to->id);
}

/* Events exactly as expected, up to `end`. Returns where it stopped: sooner if nothing is. The loop of all decoding: what it needs stays in registers. */
static struct event *codec_run(struct codec *c, struct event *to, const struct event *end)
{
	uint64_t block = (uint64_t)c->block[0] << 16, near = c->near;
	uint32_t ordinal = c->ordinal;
	for (; to < end; to++) {
		struct codec_slot *s = &c->place[slot_index(block ^ ordinal)];
		unsigned kind = slot_kind(s);
		if (kind == EV_NONE)
			break;
		if (kind == EV_BLOCK) {
			c->ordinal = ordinal;
			c->near = near;
			codec_run_block(c, to, s);
			block = (uint64_t)c->block[0] << 16;
			ordinal = 0;
			continue;
		}
		slot_move(s, slot_address(s, near), near);
		slot_give(s, to);
		c->last_addr[kind] = to->addr;
		near = kind_accesses(kind) ? to->addr : near;
		ordinal = ordinal_next(ordinal, kind);
	}
	c->ordinal = ordinal;
	c->near = near;
	return to;
}

static bool codec_token_read(struct codec_in *in)
{
	uint64_t token = span_varint(&in->tokens);
	in->run = token >> 2;
	in->op = token & 3;
	in->told = !in->tokens.bad;
	return in->told;
}

bool codec_decode_part(struct codec *c, struct codec_in *in, struct event *to, size_t n)
{
	struct event *end = to + n;
	while (to < end) {
		if (!in->told && !codec_token_read(in))
			return false;
		size_t left = (size_t)(end - to), run = in->run < left ? (size_t)in->run : left;
		if (codec_run(c, to, to + run) != to + run)
			return false;
		to += run;
		in->run -= run;
		if (to == end)
			break;
		if (!codec_decode_op(c, in, to++))
			return false;
		in->told = false;
	}
	return true;
}

bool codec_ended(struct codec_in *in)
{
	return (in->told || codec_token_read(in)) && in->run == 0 && in->op == CODEC_NONE && !span_left(&in->tokens) && !span_left(&in->addresses) && !span_left(&in->details);
}

bool codec_decode(struct codec *c, struct codec_in *in, struct event *to, size_t n)
{
	return codec_decode_part(c, in, to, n) && codec_ended(in);
}
