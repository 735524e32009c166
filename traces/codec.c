/* The codec: see codec.h. */
#include "codec.h"

#define ALWAYS static inline __attribute__((always_inline))

/* ------------------------------------------------------------------ sites and slots */
/* Everything learnt goes, as the chunk's start is. Addresses that differences refer to stay. */
static void codec_forget(struct codec *c)
{
	memset(c->seen, 0, sizeof c->seen);
	c->site[0] = (struct codec_site){ 0 };
	c->sites = 1;
	c->slots = c->now = c->ordinal = 0;
}

void codec_reset(struct codec *c)
{
	memset(c, 0, offsetof(struct codec, seen));
	codec_forget(c);
}

static inline uint64_t event_head(const struct event *e)
{
	uint64_t head;
	memcpy(&head, e, sizeof head); /* ORDER: struct event */
	return head;
}

static inline void event_copy(struct event *to, uint64_t head, uint64_t addr)
{
	memcpy(to, &head, sizeof head);
	to->addr = addr;
}

static bool kind_accesses(unsigned kind)
{
	return kind - EV_LOAD <= EV_TABLE_STORE - EV_LOAD; /* ORDER EVENT */
}

/* A filter takes accesses that are within a line of code or two: not of the kinds that fault, or are the processor's own. */
static enum codec_what what_of(const struct event *e)
{
	bool plain = !(e->flags & ~EVF_USER) && e->aux - 1u < 64;
	if (e->kind == EV_REP)
		return CODEC_TURN;
	if (!kind_accesses(e->kind))
		return CODEC_OTHER;
	if (!plain || e->kind == EV_TABLE_STORE)
		return CODEC_ACCESS;
	return e->kind == EV_LOAD ? CODEC_READ : CODEC_WRITE;
}

static uint32_t *seen_slot(struct codec *c, uint64_t head, uint64_t addr)
{
	return &c->seen[((head ^ addr << 20 ^ addr) * 0x9e3779b97f4a7c15ull) >> 48]; /* Fibonacci hashing */
}

static uint32_t site_new(struct codec *c, uint64_t head, uint64_t addr)
{
	if (c->sites == CODEC_SITES)
		codec_forget(c);
	c->site[c->sites] = (struct codec_site){ .head = head, .addr = addr };
	return c->sites++;
}

static inline bool site_many(const struct codec_site *site) { return site->others == CODEC_MANY; }

/* Another site has followed than was expected. */
static void site_link(struct codec_site *site, uint32_t next)
{
	if (!site_many(site) && (site->next[0] == next || site->next[1] == next))
		return;
	unsigned at = site_many(site) || !site->next[0] ? 0 : !site->next[1] ? 1 : site->oldest;
	site->others += site->next[at] && !site_many(site);
	site->next[at] = next;
	site->oldest = !at;
	if (site_many(site)) {
		site->next[0] = next;
		site->next[1] = 0;
	}
}

/* A block that was not expected has begun: before its time, where another one seemed to go on. What is no access (an interrupt) will not be there next time, either. */
static void site_leave(struct codec *c, uint32_t next)
{
	struct codec_site *site = &c->site[c->now];
	if (c->ordinal < site->slots && c->slot[site->slot + c->ordinal].what == CODEC_OTHER)
		site->slots = (uint16_t)c->ordinal;
	site_link(site, next);
}

static void codec_enter(struct codec *c, uint32_t site)
{
	c->now = site;
	c->ordinal = 0;
}

/* Room for one more slot. The site may be another one afterwards: when all is forgotten. */
static struct codec_site *site_grow(struct codec *c)
{
	struct codec_site *site = &c->site[c->now];
	uint32_t room = site->room ? site->room * 2u : 4;
	if (c->slots + room > CODEC_SLOTS) {
		codec_forget(c);
		site = c->site;
		room = 4;
	}
	memcpy(&c->slot[c->slots], &c->slot[site->slot], site->slots * sizeof *c->slot);
	site->slot = c->slots;
	site->room = (uint16_t)room;
	c->slots += room;
	return site;
}

static struct codec_slot *slot_set(struct codec *c, const struct event *e)
{
	struct codec_site *site = &c->site[c->now];
	if (c->ordinal == site->slots) {
		if (site->slots == site->room)
			site = site_grow(c);
		site->slots++;
	}
	struct codec_slot *s = &c->slot[site->slot + c->ordinal];
	*s = (struct codec_slot){ .head = event_head(e), .addr = e->addr, .offset = (int32_t)(e->addr - c->near), .what = (uint8_t)what_of(e) };
	return s;
}

static void codec_turn(struct codec *c)
{
	const struct codec_site *site = &c->site[c->now];
	uint32_t turn = site->turn;
	uint8_t turns = site->turns + 1;
	if (turns > CODEC_TURNS)
		turn = c->now;
	if (!turn) {
		turn = site_new(c, site->head, site->addr);
		c->site[turn].turns = turns;
		c->site[c->now].turn = turn;
	}
	codec_enter(c, turn);
}

static inline uint32_t ordinal_round(uint32_t ordinal) { return ordinal == CODEC_ROUND ? CODEC_ROUND / 2 : ordinal; }

/* The event of a slot has happened. */
static void codec_after(struct codec *c, const struct codec_slot *s)
{
	if (s->what <= CODEC_ACCESS)
		c->near = s->addr;
	if (s->what == CODEC_TURN)
		codec_turn(c);
	else
		c->ordinal = ordinal_round(c->ordinal + 1);
}

/* What an event told in full says. */
static void codec_learn(struct codec *c, const struct event *e)
{
	if (e->kind == EV_BLOCK) {
		uint32_t site = site_new(c, event_head(e), e->addr);
		*seen_slot(c, event_head(e), e->addr) = site;
		site_leave(c, site);
		codec_enter(c, site);
		return;
	}
	c->last_addr[e->kind] = e->addr;
	codec_after(c, slot_set(c, e));
}

/* What the address of an event told in full is a difference to. */
static uint64_t full_base(const struct codec *c, unsigned kind)
{
	return kind == EV_BLOCK ? c->site[c->now].addr : kind_accesses(kind) ? c->near : c->last_addr[kind];
}

/* ------------------------------------------------------------------ addresses */
/* Differences are kept in 32 bits: those that do not fit are as wrong in the encoder as in the decoder. */
static inline uint64_t slot_by_stride(const struct codec_slot *s) { return s->addr + (uint64_t)(int64_t)s->stride; }
static inline uint64_t slot_by_offset(const struct codec_slot *s, uint64_t near) { return near + (uint64_t)(int64_t)s->offset; }

static inline uint64_t slot_expect(const struct codec_slot *s, uint64_t near)
{
	uint64_t by_stride = slot_by_stride(s), by_offset = slot_by_offset(s, near);
	return s->near ? by_offset : by_stride;
}

static inline void slot_move(struct codec_slot *s, uint64_t addr, uint64_t near)
{
	s->stride = (int32_t)(addr - s->addr);
	s->offset = (int32_t)(addr - near);
	s->addr = addr;
}

/* Another address than expected: the other way of expecting it may have been right. */
static inline void slot_correct(struct codec_slot *s, uint64_t addr, uint64_t near)
{
	s->near ^= (s->near ? slot_by_stride(s) : slot_by_offset(s, near)) == addr;
	slot_move(s, addr, near);
}

/* ------------------------------------------------------------------ encoding */
static void codec_token(struct codec_out *out, uint64_t run, enum codec_op op)
{
	bytes_varint(&out->tokens, run << 2 | op);
}

/* So many events as predicted, and one that is not. */
static void marks_put(struct codec *c, struct codec_out *out, uint64_t zeros)
{
	c->mark_bits |= 1ull << (c->mark_count + zeros);
	for (c->mark_count += (unsigned)zeros + 1; c->mark_count >= 8; c->mark_count -= 8) {
		bytes_u8(&out->marks, (uint8_t)c->mark_bits);
		c->mark_bits >>= 8;
	}
}

static void codec_tell_marks(struct codec *c, struct codec_out *out)
{
	if (!c->marked)
		return;
	codec_token(out, c->lead, CODEC_MARKS);
	bytes_varint(&out->tokens, c->marked);
	c->marked = 0;
}

static void codec_as_predicted(struct codec *c, struct codec_out *out)
{
	if (++c->run == CODEC_QUIET)
		codec_tell_marks(c, out);
}

static void codec_mark(struct codec *c, struct codec_out *out)
{
	uint64_t zeros = c->marked ? c->run : 0;
	if (!c->marked)
		c->lead = c->run;
	marks_put(c, out, zeros);
	c->marked += zeros + 1;
	c->run = 0;
}

static void codec_escape(struct codec *c, struct codec_out *out, enum codec_op op)
{
	codec_tell_marks(c, out);
	codec_token(out, c->run, op);
	c->run = 0;
}

static void codec_encode_full(struct codec *c, struct codec_out *out, const struct event *e)
{
	codec_escape(c, out, CODEC_FULL);
	bytes_u8(&out->details, e->kind);
	bytes_u8(&out->details, e->flags);
	bytes_varint(&out->details, e->aux);
	bytes_varint(&out->details, e->id);
	bytes_varint(&out->details, zigzag(e->addr - full_base(c, e->kind)));
	codec_learn(c, e);
}

static void codec_encode_slot(struct codec *c, struct codec_out *out, struct codec_slot *s, uint64_t addr)
{
	uint64_t expected = slot_expect(s, c->near);
	if (addr == expected) {
		codec_as_predicted(c, out);
		slot_move(s, addr, c->near);
	} else {
		codec_mark(c, out);
		bytes_varint(&out->addresses, zigzag(addr - expected));
		slot_correct(s, addr, c->near);
	}
	codec_after(c, s);
}

static bool site_is(const struct codec *c, uint32_t site, const struct event *e)
{
	return site && c->site[site].head == event_head(e) && c->site[site].addr == e->addr;
}

static void codec_encode_block(struct codec *c, struct codec_out *out, const struct event *e)
{
	struct codec_site *site = &c->site[c->now];
	uint32_t seen = *seen_slot(c, event_head(e), e->addr);
	bool ends = c->ordinal == site->slots;
	if (ends && site_is(c, site->next[0], e)) {
		codec_as_predicted(c, out);
		codec_enter(c, site->next[0]);
	} else if (ends && site_is(c, site->next[1], e)) {
		codec_mark(c, out);
		codec_enter(c, site->next[1]);
	} else if (ends && site_many(site) && site_is(c, seen, e)) {
		codec_mark(c, out);
		bytes_varint(&out->details, seen);
		site_link(site, seen);
		codec_enter(c, seen);
	} else if (site_is(c, seen, e)) {
		codec_escape(c, out, CODEC_SITE);
		bytes_varint(&out->details, seen);
		site_leave(c, seen);
		codec_enter(c, seen);
	} else {
		codec_encode_full(c, out, e);
	}
}

static void codec_encode_event(struct codec *c, struct codec_out *out, const struct event *e)
{
	const struct codec_site *site = &c->site[c->now];
	if (e->kind == EV_BLOCK)
		codec_encode_block(c, out, e);
	else if (c->ordinal < site->slots && c->slot[site->slot + c->ordinal].head == event_head(e))
		codec_encode_slot(c, out, &c->slot[site->slot + c->ordinal], e->addr);
	else
		codec_encode_full(c, out, e);
}

void codec_encode(struct codec *c, struct codec_out *out, const struct event *first, const struct event *end)
{
	for (; first != end; first++)
		codec_encode_event(c, out, first);
}

void codec_finish(struct codec *c, struct codec_out *out)
{
	codec_escape(c, out, CODEC_NONE);
	if (c->mark_count)
		bytes_u8(&out->marks, (uint8_t)c->mark_bits);
}

/* ------------------------------------------------------------------ decoding: one event that was not expected */
static bool codec_decode_full(struct codec *c, struct codec_in *in, struct event *e)
{
	unsigned kind = span_u8(&in->details);
	unsigned flags = span_u8(&in->details);
	uint64_t aux = span_varint(&in->details), id = span_varint(&in->details), difference = span_varint(&in->details);
	if (in->details.bad || !codec_stores(kind) || aux > UINT16_MAX || id > UINT32_MAX)
		return false;
	event_write(e, kind, flags, (unsigned)aux, (uint32_t)id, full_base(c, kind) + unzigzag(difference));
	codec_learn(c, e);
	return true;
}

static bool codec_decode_site(struct codec *c, struct codec_in *in)
{
	uint64_t site = span_varint(&in->details);
	if (in->details.bad || site == 0 || site >= c->sites || c->site[site].turns)
		return false;
	site_leave(c, (uint32_t)site);
	codec_enter(c, (uint32_t)site);
	return true;
}

static bool codec_decode_op(struct codec *c, struct codec_in *in, struct event *e)
{
	in->told = false;
	if (in->op == CODEC_FULL)
		return codec_decode_full(c, in, e);
	if (in->op != CODEC_SITE || !codec_decode_site(c, in))
		return false;
	event_copy(e, c->site[c->now].head, c->site[c->now].addr);
	return true;
}

/* ------------------------------------------------------------------ decoding: what was expected, or half expected */
enum { MARKS_PEEK = 56 }; /* marks that one look gives */

/* Where the loops stand: in registers. */
struct walk { struct codec_site *site; uint64_t near; uint32_t ordinal; };

ALWAYS struct walk walk_begin(struct codec *c)
{
	return (struct walk){ &c->site[c->now], c->near, c->ordinal };
}

ALWAYS void walk_end(struct codec *c, const struct walk *w)
{
	c->now = (uint32_t)(w->site - c->site);
	c->near = w->near;
	c->ordinal = ordinal_round(w->ordinal);
}

/* The marks from bit `at` on. There are as many as the token has promised. */
static inline uint64_t marks_peek(const struct span *marks, uint64_t at)
{
	const uint8_t *byte = marks->at + at / 8;
	size_t left = (size_t)(marks->end - byte);
	uint64_t v = 0;
	if (__builtin_expect(left >= 8 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, 1))
		memcpy(&v, byte, 8);
	else
		for (size_t i = 0; i < left && i < 8; i++)
			v |= (uint64_t)byte[i] << (8 * i);
	return v >> (at % 8);
}

static __attribute__((noinline)) bool pass_take(struct codec_pass *p, uint64_t head, uint64_t addr)
{
	event_copy(&p->event, head, addr);
	if (p->take(p->self, &p->event))
		return true;
	p->end = PASS_EVENT;
	return false;
}

/* Writes an access, or has it pass. False: it was not taken. */
ALWAYS bool access_give(struct codec_pass *p, struct event *to, const struct codec_slot *s)
{
	if (!p) {
		event_copy(to, s->head, s->addr);
		return true;
	}
	p->count[s->head & 0xff]++; /* ORDER: struct event */
	return event_filter_hit(p->filter, s->addr, s->head >> 16 & 0xffff, s->what == CODEC_WRITE) || pass_take(p, s->head, s->addr);
}

ALWAYS bool block_give(struct codec_pass *p, struct event *to, const struct codec_site *site)
{
	if (!p) {
		event_copy(to, site->head, site->addr);
		return true;
	}
	unsigned flags = site->head >> 8 & 0xff, insns = site->head >> 16 & 0xffff;
	p->count[EV_BLOCK]++;
	if (!event_filter_page_hit(p->filter, site->addr, flags, insns) && !pass_take(p, site->head, site->addr))
		return false;
	p->instructions += insns;
	p->last = site;
	return true;
}

/* Of an access that is marked. False: damaged. */
static inline bool slot_told(struct codec_slot *s, struct codec_in *in, uint64_t near)
{
	uint64_t difference = unzigzag(span_varint(&in->addresses));
	slot_correct(s, slot_expect(s, near) + difference, near);
	in->addresses.bad |= !difference;
	return !in->addresses.bad;
}

/* The accesses of the block, up to `most`. Returns how many; less: damaged, not taken, at the end of the block, or in front of another event. */
ALWAYS uint64_t walk_accesses(struct codec *c, struct codec_in *in, struct walk *w, struct event *to, uint64_t most, uint64_t marks, bool marked, struct codec_pass *p)
{
	struct codec_slot *first = &c->slot[w->site->slot + w->ordinal], *s = first;
	uint64_t left = w->site->slots - w->ordinal, near = w->near;
	const struct codec_slot *end = s + (left < most ? left : most);
	for (; s < end && s->what <= (p ? CODEC_WRITE : CODEC_ACCESS); marks >>= 1) {
		if (!marked || !(marks & 1))
			slot_move(s, slot_expect(s, near), near);
		else if (!slot_told(s, in, near))
			break;
		near = s->addr;
		if (!access_give(p, to++, s++))
			break;
	}
	w->near = near;
	w->ordinal += (uint32_t)(s - first);
	return (uint64_t)(s - first);
}

/* An event of any kind, which stands in the slot whose turn it is. */
static bool codec_decode_slot(struct codec *c, struct codec_in *in, struct event *to, bool marked)
{
	struct codec_slot *s = &c->slot[c->site[c->now].slot + c->ordinal];
	if (!marked)
		slot_move(s, slot_expect(s, c->near), c->near);
	else if (!slot_told(s, in, c->near))
		return false;
	event_copy(to, s->head, s->addr);
	codec_after(c, s);
	return true;
}

/* The same in the midst of a walk. False: damaged, or nothing that may pass. */
static bool walk_other(struct codec *c, struct codec_in *in, struct walk *w, struct event *to, bool marked, struct codec_pass *p)
{
	if (p) {
		p->end = PASS_SPECIAL;
		return false;
	}
	walk_end(c, w);
	bool good = codec_decode_slot(c, in, to, marked);
	*w = walk_begin(c);
	return good;
}

/* The same of a follower that is none of the expected ones, but may be named. */
static __attribute__((noinline)) bool walk_named(struct codec *c, struct codec_in *in, struct walk *w, unsigned which)
{
	walk_end(c, w);
	bool good = which && site_many(w->site) && codec_decode_site(c, in);
	*w = walk_begin(c);
	return good;
}

/* Enters a follower of the block. False: there is none. */
ALWAYS bool walk_block(struct codec *c, struct codec_in *in, struct walk *w, unsigned which)
{
	uint32_t next = w->site->next[which];
	if (__builtin_expect(!next, 0))
		return walk_named(c, in, w, which);
	w->site = &c->site[next];
	w->ordinal = 0;
	return true;
}

static void walk_damaged(struct codec_pass *p)
{
	if (p)
		p->end = PASS_DAMAGED;
}

/* The loop of all decoding: up to n events that are as predicted, but for their marks. Returns how many; less: damaged, or p->end says why. */
ALWAYS uint64_t codec_follow(struct codec *c, struct codec_in *in, struct event *to, uint64_t n, bool marked, struct codec_pass *p)
{
	struct walk w = walk_begin(c);
	uint64_t done = 0;
	while (done < n) {
		uint64_t marks = marked ? marks_peek(&in->marks, in->mark + done) : 0, most = marked && n - done > MARKS_PEEK ? MARKS_PEEK : n - done;
		uint64_t accesses = walk_accesses(c, in, &w, p ? NULL : to + done, most, marks, marked, p);
		done += accesses;
		marks = marked ? marks >> accesses : 0; /* without marks there may be more accesses than bits */
		if (marked && in->addresses.bad)
			walk_damaged(p);
		if ((marked && in->addresses.bad) || (p && p->end))
			break;
		if (accesses == most)
			continue;
		if (w.ordinal == CODEC_ROUND) {
			w.ordinal = ordinal_round(w.ordinal);
			continue;
		}
		if (__builtin_expect(w.ordinal < w.site->slots, 0)) {
			if (!walk_other(c, in, &w, p ? NULL : to + done, marks & 1, p))
				break;
			done++;
			continue;
		}
		if (!walk_block(c, in, &w, marks & 1)) {
			walk_damaged(p);
			break;
		}
		if (!block_give(p, p ? NULL : to + done, w.site)) {
			done++;
			break;
		}
		done++;
	}
	walk_end(c, &w);
	return done;
}

/* Its four forms: with a mark an event, or none; read from a batch, or passing. */
static __attribute__((noinline)) uint64_t follow_run(struct codec *c, struct codec_in *in, struct event *to, uint64_t n) { return codec_follow(c, in, to, n, false, NULL); }
static __attribute__((noinline)) uint64_t follow_marks(struct codec *c, struct codec_in *in, struct event *to, uint64_t n) { return codec_follow(c, in, to, n, true, NULL); }
static __attribute__((noinline)) uint64_t pass_run(struct codec *c, struct codec_in *in, struct codec_pass *p, uint64_t n) { return codec_follow(c, in, NULL, n, false, p); }
static __attribute__((noinline)) uint64_t pass_marks(struct codec *c, struct codec_in *in, struct codec_pass *p, uint64_t n) { return codec_follow(c, in, NULL, n, true, p); }

static bool codec_token_read(struct codec_in *in)
{
	uint64_t token = span_varint(&in->tokens), bits = (uint64_t)(in->marks.end - in->marks.at) * 8;
	in->run = token >> 2;
	in->op = token & 3;
	in->marked = in->op == CODEC_MARKS ? span_varint(&in->tokens) : 0;
	in->told = !in->tokens.bad && in->marked <= bits - in->mark && (in->marked || in->op != CODEC_MARKS);
	return in->told;
}

static inline uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

bool codec_decode_part(struct codec *c, struct codec_in *in, struct event *to, size_t n)
{
	struct event *end = to + n;
	while (to < end) {
		if (!in->told && !codec_token_read(in))
			return false;
		uint64_t run = least(in->run, (uint64_t)(end - to));
		if (follow_run(c, in, to, run) != run)
			return false;
		to += run;
		in->run -= run;
		uint64_t marked = least(in->marked, (uint64_t)(end - to));
		if (marked && follow_marks(c, in, to, marked) != marked)
			return false;
		to += marked;
		in->mark += marked;
		in->marked -= marked;
		if (in->op == CODEC_MARKS)
			in->told = in->run | in->marked;
		else if (to < end && !codec_decode_op(c, in, to++))
			return false;
	}
	return true;
}

/* A block that is named. False: p->end says why not. */
static bool pass_named(struct codec *c, struct codec_in *in, struct codec_pass *p)
{
	if (in->op != CODEC_SITE) {
		p->end = PASS_SPECIAL;
		return false;
	}
	in->told = false;
	if (!codec_decode_site(c, in)) {
		p->end = PASS_DAMAGED;
		return false;
	}
	return true;
}

/* One token's events, n at most. */
static uint64_t pass_token(struct codec *c, struct codec_in *in, struct codec_pass *p, uint64_t n)
{
	uint64_t run = least(in->run, n), done = run ? pass_run(c, in, p, run) : 0;
	in->run -= done;
	if (done == n || done < run || p->end)
		return done;
	if (in->op == CODEC_MARKS) {
		uint64_t marked = least(in->marked, n - done), passed = pass_marks(c, in, p, marked);
		in->mark += passed;
		in->marked -= passed;
		in->told = in->marked;
		return done + passed;
	}
	if (!pass_named(c, in, p))
		return done;
	(void)block_give(p, NULL, &c->site[c->now]);
	return done + 1;
}

uint64_t codec_decode_pass(struct codec *c, struct codec_in *in, struct codec_pass *p, uint64_t n)
{
	uint64_t done = 0, passed = 1;
	p->end = PASS_ALL;
	p->instructions = 0;
	p->last = NULL;
	memset(p->count, 0, sizeof p->count);
	while (done < n && p->end == PASS_ALL && passed) {
		passed = in->told || codec_token_read(in) ? pass_token(c, in, p, n - done) : 0;
		done += passed;
	}
	if (done < n && p->end == PASS_ALL)
		p->end = PASS_DAMAGED;
	if (p->last)
		event_copy(&p->block, p->last->head, p->last->addr);
	return done;
}

bool codec_ended(struct codec_in *in)
{
	bool told = in->told || codec_token_read(in);
	return told && in->run == 0 && in->op == CODEC_NONE && !span_left(&in->tokens) && !span_left(&in->addresses) && !span_left(&in->details) && (in->mark + 7) / 8 == span_left(&in->marks);
}

bool codec_decode(struct codec *c, struct codec_in *in, struct event *to, size_t n)
{
	return codec_decode_part(c, in, to, n) && codec_ended(in);
}
