#include "event.h"
#include "ports.h"
#include <assert.h>
#include <stdlib.h>

enum { SPARE_SLOTS = 2 + 3 + FILTER_SLOTS }; /* a pair is written before the limit is looked at, and what was left out when the batch ends */

bool event_sink_create(struct event_sink *s, size_t capacity)
{
	*s = (struct event_sink){ 0 };
	if (capacity < 2 || capacity > SIZE_MAX / sizeof(struct event) - SPARE_SLOTS)
		return false;
	s->buffer = calloc(capacity + SPARE_SLOTS, sizeof *s->buffer);
	if (!s->buffer)
		return false;
	s->capacity = capacity;
	s->next = s->buffer;
	s->limit = s->buffer + capacity - 1;
	return true;
}

void event_sink_destroy(struct event_sink *s)
{
	free(s->buffer);
	*s = (struct event_sink){ 0 };
}

void event_sink_attach(struct event_sink *s, struct event_consumer *c)
{
	struct event_consumer **end = &s->consumers;
	if (s->filter) {
		event_forget(s);
		event_drain(s);
		s->filter = NULL;
		s->ignored = 0;
	}
	while (*end)
		end = &(*end)->next;
	c->next = NULL;
	*end = c;
	s->on = true;
}

bool event_sink_filter(struct event_sink *s, struct event_filter *f)
{
	if (!s->consumers || s->consumers->next || !s->consumers->shape)
		return false;
	event_filter_create(f, s->consumers->shape);
	s->filter = f;
	s->ignored = f->shape.ignored;
	s->live = true;
	return true;
}

void event_sink_listen(struct event_sink *s, bool on)
{
	event_forget(s);
	event_drain(s);
	s->on = on && s->consumers;
}

/* ---- what was left out ---- */

static uint64_t skipped_take(uint64_t *count)
{
	uint64_t n = *count < UINT32_MAX ? *count : UINT32_MAX;
	*count -= n;
	return n;
}

static unsigned skipped_when(const struct event_filter *f) { return f->noted == f->accesses + f->blocks ? EVF_EARLIER : 0; }

/* Writes EV_SKIPPED and EV_SKIPPED_CODE in spare slots, if there is anything to tell. */
static bool skipped_write(struct event_sink *s)
{
	struct event_filter *f = s->filter;
	if (!f || !(f->accesses | f->blocks))
		return false;
	unsigned flags = (f->user ? EVF_USER : 0) | skipped_when(f);
	uint64_t blocks = skipped_take(&f->blocks);
	event_write(s->next++, EV_SKIPPED, flags, 0, (uint32_t)skipped_take(&f->accesses), blocks << 32 | skipped_take(&f->instructions));
	if (f->taken | f->lines) {
		event_write(s->next++, EV_SKIPPED_CODE, flags, 0, (uint32_t)skipped_take(&f->taken), f->lines);
		f->lines = 0;
	}
	f->noted = flags & EVF_EARLIER ? f->accesses + f->blocks : FILTER_NONE;
	return true;
}

/* Writes EV_SKIPPED_TO in a spare slot, if blocks that were left out have led elsewhere. */
static bool lead_write(struct event_sink *s)
{
	struct event_filter *f = s->filter;
	if (!f || f->next == f->told)
		return false;
	f->told = f->next;
	event_write(s->next++, EV_SKIPPED_TO, skipped_when(f), 0, 0, f->next);
	return true;
}

/* Writes touches of pairs, in spare slots. */
static bool owed_write(struct event_sink *s, const uint64_t *owed, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		event_write(s->next++, EV_LOAD, owed[i] & 1 ? EVF_USER : 0, 1, 0, owed[i] & ~1ull);
	return n;
}

static bool pairs_write(struct event_sink *s)
{
	uint64_t owed[FILTER_SLOTS];
	return s->filter && s->filter->paired && owed_write(s, owed, event_filter_owed_all(s->filter, owed));
}

static void batch_consume(struct event_sink *s)
{
	struct event *end = s->next;
	for (struct event_consumer *c = s->consumers; c; c = c->next)
		c->consume(c->self, s->buffer, end);
	assert(s->next == end && "a consumer never emits");
	s->next = s->buffer;
}

void event_drain(struct event_sink *s)
{
	while (pairs_write(s) | skipped_write(s) | lead_write(s) || s->next != s->buffer) /* what comes next may change the paging that the lead is looked up in */
		batch_consume(s);
}

static void put_one(struct event_sink *s, uint64_t head, uint64_t addr)
{
	struct event *at = s->next++;
	memcpy(at, &head, sizeof head);
	at->addr = addr;
	if (s->next > s->limit)
		event_drain(s);
}

static void skipped_lead(struct event_sink *s)
{
	if (lead_write(s) && s->next > s->limit)
		event_drain(s);
}

static void pairs_settle(struct event_sink *s)
{
	if (pairs_write(s) && s->next > s->limit)
		event_drain(s);
}

/* Pairs first: what is counted for them is told with them. */
static void skipped_settle(struct event_sink *s)
{
	pairs_settle(s);
	while (skipped_write(s))
		if (s->next > s->limit)
			batch_consume(s);
}

/* What an event that is no access and no block does to the filter. Of those that neither touch what a model keeps of memory nor change who runs or where, some add to sums and no more:
   what was left out may be told later. Others break off the running block. */
enum reach { REACH_ALL, REACH_NOTE /* as REACH_ADD, and what is told later was before it */, REACH_ADD, REACH_SUMS, REACH_TURN };
static const uint8_t reaches[64] = {
	[EV_SENSITIVE] = REACH_NOTE, [EV_REP] = REACH_ADD, [EV_STATE] = REACH_ADD, [EV_IRQ_RAISED] = REACH_ADD, [EV_DEVICE] = REACH_ADD, [EV_IDLE] = REACH_ADD, [EV_PROBE] = REACH_ADD,
	[EV_MARK] = REACH_SUMS, [EV_CUT] = REACH_TURN, [EV_EXCEPTION] = REACH_TURN, [EV_INTERRUPT] = REACH_TURN,
};

void event_settle(struct event_sink *s, enum event_kind next)
{
	struct event_filter *f = s->filter;
	unsigned reach = next < 64 ? reaches[next] : REACH_ALL;
	if (f && reach == REACH_NOTE) {
		pairs_settle(s);
		f->noted = f->accesses + f->blocks;
	}
	if (f && reach != REACH_NOTE && reach != REACH_ADD) {
		skipped_settle(s);
		if (reach != REACH_SUMS)
			skipped_lead(s);
		if (reach == REACH_TURN)
			event_filter_hide(f);
	}
	if (reach != REACH_ALL)
		return;
	s->live = false;
	if (f)
		event_filter_empty(f);
}

/* ---- what stays in the filter ---- */

/* An access: before it, what it would otherwise overtake in its set. */
static void put_access(struct event_sink *s, uint64_t head, uint64_t gva)
{
	uint64_t owed[FILTER_SLOTS];
	if (s->filter && s->filter->paired && owed_write(s, owed, event_filter_owed(s->filter, gva, head >> 16 & 0xffff, (uint8_t)head != EV_LOAD, owed)) && s->next > s->limit)
		event_drain(s);
	put_one(s, head, gva);
}

void event_put_access(struct event_sink *s, uint64_t head, uint64_t gva, uint64_t addend)
{
	put_access(s, head, gva);
	if (s->filter) {
		event_filter_access(s->filter, gva, head >> 16 & 0xffff, (uint8_t)head != EV_LOAD, head >> 8 & EVF_USER, addend);
		s->live = true;
	}
}

void event_put_touch(struct event_sink *s, enum event_kind kind, unsigned flags, unsigned size, uint64_t gva)
{
	if (!s->on)
		return;
	put_access(s, (uint64_t)kind | (uint64_t)flags << 8 | (uint64_t)size << 16, gva);
	if (s->filter) {
		event_filter_touch(s->filter, gva, size, kind != EV_LOAD, flags & EVF_USER);
		s->live = true;
	}
}

static bool block_skipped(struct event_sink *s, unsigned flags, unsigned insns, unsigned bytes, uint32_t id, uint64_t pc)
{
	struct event_filter *f = s->filter;
	if (f->user == (bool)(flags & EVF_USER) || !f->shape.code)
		return !(flags & EVF_STRADDLE) && id != UINT32_MAX && event_filter_block_hit(f, pc, bytes, insns);
	skipped_settle(s); /* others pay from here on */
	return false;
}

void event_put_block(struct event_sink *s, unsigned flags, unsigned insns, unsigned bytes, uint32_t id, uint64_t pc)
{
	struct event block;
	uint64_t head;
	if (!s->on || (s->filter && block_skipped(s, flags, insns, bytes, id, pc)))
		return;
	if (s->filter) {
		pairs_settle(s); /* its fetch may walk */
		skipped_lead(s);
	}
	event_write(&block, EV_BLOCK, flags, insns, id, pc);
	memcpy(&head, &block, sizeof head);
	put_one(s, head, pc);
	if (s->filter) {
		event_filter_block(s->filter, pc, bytes, flags & EVF_USER);
		s->live = true;
	}
}

const char *sensitive_name(enum sensitive s)
{
	static const char *const names[SENS_COUNT] = {
#define SENSITIVE(name, text) [SENS_##name] = text,
#include "sensitive.def"
#undef SENSITIVE
	};
	return s < SENS_COUNT ? names[s] : "?";
}
