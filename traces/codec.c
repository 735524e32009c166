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

/* The slot that predicts the next event: where a block is expected, the longer history if it has been here before. */
static const struct codec_slot *codec_predict(struct codec *c)
{
	const struct codec_slot *s = place_slot(c);
	if (s->kind == EV_BLOCK) {
		const struct codec_slot *h = history_slot(c);
		if (h->kind == EV_BLOCK)
			return h;
	}
	return s;
}

static void slot_learn(struct codec_slot *s, const struct event *e)
{
	bool same = s->kind == e->kind;
	s->stride = same && e->kind != EV_BLOCK ? e->addr - s->addr : 0;
	s->addr = e->addr;
	s->id = e->id;
	s->aux = e->aux;
	s->kind = e->kind;
	s->flags = e->flags;
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
	c->block[2] = c->block[1];
	c->block[1] = c->block[0];
	c->block[0] = e->id;
	c->ordinal = 0;
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

static void codec_encode_event(struct codec *c, struct codec_out *out, const struct event *e)
{
	const struct codec_slot *s = codec_predict(c);
	const struct codec_slot *known = known_slot(c, e->id);
	bool alike = s->kind == e->kind && s->id == e->id && s->aux == e->aux && s->flags == e->flags;

	if (alike && s->addr + s->stride == e->addr) {
		c->run++;
	} else if (alike) {
		codec_token(c, out, CODEC_ADDRESS);
		bytes_varint(&out->addresses, zigzag(e->addr - (s->addr + s->stride)));
	} else if (e->kind == EV_BLOCK && known->kind == EV_BLOCK && known->id == e->id && known->addr == e->addr && known->aux == e->aux && known->flags == e->flags) {
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
	*e = (struct event){ (uint8_t)kind, (uint8_t)flags, (uint16_t)aux, (uint32_t)id, c->last_addr[kind] + unzigzag(difference) };
	return true;
}

static bool codec_decode_block(struct codec *c, struct codec_in *in, struct event *e)
{
	uint64_t id = span_varint(&in->details);
	if (in->details.bad || id > UINT32_MAX)
		return false;
	const struct codec_slot *s = known_slot(c, (uint32_t)id);
	if (s->kind != EV_BLOCK || s->id != id)
		return false;
	*e = (struct event){ EV_BLOCK, s->flags, s->aux, s->id, s->addr };
	return true;
}

static bool codec_decode_op(struct codec *c, struct codec_in *in, enum codec_op op, struct event *e)
{
	if (op == CODEC_FULL)
		return codec_decode_full(c, in, e);
	if (op == CODEC_BLOCK)
		return codec_decode_block(c, in, e);
	const struct codec_slot *s = codec_predict(c);
	uint64_t difference = op == CODEC_ADDRESS ? unzigzag(span_varint(&in->addresses)) : 0;
	if (in->addresses.bad || !codec_stores(s->kind))
		return false;
	*e = (struct event){ s->kind, s->flags, s->aux, s->id, s->addr + s->stride + difference };
	return true;
}

bool codec_decode(struct codec *c, struct codec_in *in, struct event *to, size_t n)
{
	struct event *end = to + n;
	for (;;) {
		uint64_t token = span_varint(&in->tokens), run = token >> 2;
		enum codec_op op = token & 3;
		if (in->tokens.bad || run > (uint64_t)(end - to))
			return false;
		for (; run; run--, to++) {
			if (!codec_decode_op(c, in, CODEC_NONE, to))
				return false;
			codec_learn(c, to);
		}
		if (op == CODEC_NONE)
			break;
		if (to == end || !codec_decode_op(c, in, op, to))
			return false;
		codec_learn(c, to++);
	}
	return to == end && !span_left(&in->tokens) && !span_left(&in->addresses) && !span_left(&in->details);
}
