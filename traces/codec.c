/* The codec: see codec.h. */
#include "codec.h"

void codec_reset(struct codec *c)
{
	memset(c, 0, sizeof *c);
}

/* Fibonacci hashing: the high bits of a product depend on all bits of the key. */
static unsigned slot_index(uint64_t key)
{
	return (unsigned)((key * 0x9e3779b97f4a7c15ull) >> 50) & (CODEC_SLOTS - 1);
}

static struct codec_slot *place_slot(struct codec *c)
{
	return &c->place[slot_index((uint64_t)c->block[0] << 16 ^ c->ordinal)];
}

static struct codec_slot *history_slot(struct codec *c)
{
	uint64_t key = c->block[0] + ((uint64_t)c->block[1] << 21) + ((uint64_t)c->block[2] << 42);
	return &c->history[slot_index(key ^ (uint64_t)c->ordinal << 13)];
}

static struct codec_slot *known_slot(struct codec *c, uint32_t id)
{
	return &c->known[id & (CODEC_SLOTS - 1)];
}

/* Copies an event in two words, as event_write() made it: a copy by one wide load would wait for both stores. */
static inline void event_copy(struct event *to, const struct event *from)
{
	uint64_t head;
	memcpy(&head, from, sizeof head);
	memcpy(to, &head, sizeof head);
	to->addr = from->addr;
}

/* The slot that predicts the next event: where a block is expected, the longer history if it has been here before. */
static const struct codec_slot *codec_predict(struct codec *c)
{
	const struct codec_slot *s = place_slot(c);
	if (s->event.kind == EV_BLOCK) {
		const struct codec_slot *h = history_slot(c);
		if (h->event.kind == EV_BLOCK)
			return h;
	}
	return s;
}

static void slot_learn(struct codec_slot *s, const struct event *e)
{
	bool same = s->event.kind == e->kind;
	s->stride = same && e->kind != EV_BLOCK ? e->addr - s->event.addr : 0;
	event_copy(&s->event, e);
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
	slot_learn(place_slot(c), e);
	c->last_addr[e->kind] = e->addr;
	if (e->kind != EV_BLOCK) {
		c->ordinal++;
		return;
	}
	slot_learn(history_slot(c), e);
	slot_learn(known_slot(c, e->id), e);
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
	const struct codec_slot *s = codec_predict(c), *known = known_slot(c, e->id);
	bool alike = event_alike(&s->event, e);

	if (alike && s->event.addr + s->stride == e->addr) {
		c->run++;
	} else if (alike) {
		codec_token(c, out, CODEC_ADDRESS);
		bytes_varint(&out->addresses, zigzag(e->addr - (s->event.addr + s->stride)));
	} else if (e->kind == EV_BLOCK && event_alike(&known->event, e) && known->event.addr == e->addr) {
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

/* ------------------------------------------------------------------ decoding */
static bool codec_decode_full(struct codec *c, struct codec_in *in, struct event *e)
{
	unsigned kind = span_u8(&in->details);
	unsigned flags = span_u8(&in->details);
	uint64_t aux = span_varint(&in->details), id = span_varint(&in->details), difference = span_varint(&in->details);
	if (in->details.bad || !codec_stores(kind) || aux > UINT16_MAX || id > UINT32_MAX)
		return false;
	event_write(e, kind, flags, (unsigned)aux, (uint32_t)id, c->last_addr[kind] + unzigzag(difference));
	return true;
}

static bool codec_decode_block(struct codec *c, struct codec_in *in, struct event *e)
{
	uint64_t id = span_varint(&in->details);
	if (in->details.bad || id > UINT32_MAX)
		return false;
	event_copy(e, &known_slot(c, (uint32_t)id)->event);
	return e->kind == EV_BLOCK && e->id == id;
}

/* As predicted but for the address: what is unpredictable in a guest, and so most of what is not in runs. */
static inline bool codec_decode_address(struct codec *c, struct codec_in *in, struct event *e)
{
	struct codec_slot *s = place_slot(c);
	uint64_t difference = unzigzag(span_varint(&in->addresses));
	if (s->event.kind == EV_BLOCK) {
		const struct codec_slot *h = codec_predict(c);
		event_copy(e, &h->event);
		e->addr += difference;
		codec_learn(c, e);
		return !in->addresses.bad;
	}
	s->stride += difference;
	c->last_addr[s->event.kind] = s->event.addr += s->stride;
	event_copy(e, &s->event);
	c->ordinal++;
	return !in->addresses.bad && s->event.kind != EV_NONE;
}

static bool codec_decode_op(struct codec *c, struct codec_in *in, struct event *e)
{
	static bool (*const decode[])(struct codec *c, struct codec_in *in, struct event *e) = { /* ORDER OP */
		[CODEC_BLOCK] = codec_decode_block, [CODEC_FULL] = codec_decode_full,
	};
	if (in->op == CODEC_ADDRESS)
		return codec_decode_address(c, in, e);
	if (in->op == CODEC_NONE || !decode[in->op](c, in, e))
		return false;
	codec_learn(c, e);
	return true;
}

/* A block as predicted: what codec_learn() does, where nothing but the place may have held another. */
static inline void codec_run_block(struct codec *c, struct event *to, struct codec_slot *place)
{
	struct codec_slot *history = history_slot(c);
	bool from_history = history->event.kind == EV_BLOCK;
	event_copy(to, from_history ? &history->event : &place->event);
	struct codec_slot *other = from_history ? place : history, *known = known_slot(c, to->id);
	event_copy(&other->event, to);
	event_copy(&known->event, to);
	other->stride = 0; /* as a block's always is */
	c->last_addr[EV_BLOCK] = to->addr;
	codec_enter_block(c, to->id);
}

/* Events exactly as predicted, up to `end`. Returns where it stopped: sooner if nothing predicts. The loop of all decoding: what it needs stays in registers. */
static struct event *codec_run(struct codec *c, struct event *to, const struct event *end)
{
	uint64_t block = (uint64_t)c->block[0] << 16;
	uint32_t ordinal = c->ordinal;
	for (; to < end; to++) {
		struct codec_slot *s = &c->place[slot_index(block ^ ordinal)];
		unsigned kind = s->event.kind;
		if (kind == EV_NONE)
			break;
		if (kind == EV_BLOCK) {
			c->ordinal = ordinal;
			codec_run_block(c, to, s);
			block = (uint64_t)c->block[0] << 16;
			ordinal = 0;
			continue;
		}
		c->last_addr[kind] = s->event.addr += s->stride; /* the stride stays */
		event_copy(to, &s->event);
		ordinal++;
	}
	c->ordinal = ordinal;
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
