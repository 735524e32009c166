#include "event.h"
#include "ports.h"
#include <assert.h>
#include <stdlib.h>

enum { SPARE_SLOTS = 2 + 2 }; /* a pair is written before the limit is looked at, and what was left out when the batch ends */

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

/* Writes EV_SKIPPED and EV_SKIPPED_CODE in spare slots, if there is anything to tell. */
static bool skipped_write(struct event_sink *s)
{
	struct event_filter *f = s->filter;
	unsigned flags = f && f->user ? EVF_USER : 0;
	if (!f || !(f->accesses | f->blocks))
		return false;
	uint64_t blocks = skipped_take(&f->blocks);
	event_write(s->next++, EV_SKIPPED, flags, 0, (uint32_t)skipped_take(&f->accesses), blocks << 32 | skipped_take(&f->instructions));
	if (f->taken | f->lines) {
		event_write(s->next++, EV_SKIPPED_CODE, flags, 0, (uint32_t)skipped_take(&f->taken), f->lines);
		f->lines = 0;
	}
	return true;
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
	while (skipped_write(s) || s->next != s->buffer)
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

/* Where blocks that were left out have led. */
static void skipped_lead(struct event_sink *s)
{
	struct event_filter *f = s->filter;
	if (f->next == f->told)
		return;
	f->told = f->next;
	put_one(s, EV_SKIPPED_TO, f->next);
}

void event_settle(struct event_sink *s)
{
	s->live = false;
	if (!s->filter)
		return;
	while (skipped_write(s))
		if (s->next > s->limit)
			batch_consume(s);
	skipped_lead(s);
	event_filter_empty(s->filter);
}

/* ---- what stays in the filter ---- */

void event_put_access(struct event_sink *s, uint64_t head, uint64_t gva, uint64_t addend)
{
	put_one(s, head, gva);
	if (s->filter) {
		event_filter_access(s->filter, gva, head >> 16 & 0xffff, (uint8_t)head != EV_LOAD, head >> 8 & EVF_USER, addend);
		s->live = true;
	}
}

static bool block_skipped(struct event_sink *s, unsigned flags, unsigned insns, unsigned bytes, uint32_t id, uint64_t pc)
{
	struct event_filter *f = s->filter;
	if (f->user == (bool)(flags & EVF_USER))
		return !(flags & EVF_STRADDLE) && id != UINT32_MAX && event_filter_block_hit(f, pc, bytes, insns);
	event_settle(s); /* others pay from here on */
	return false;
}

void event_put_block(struct event_sink *s, unsigned flags, unsigned insns, unsigned bytes, uint32_t id, uint64_t pc)
{
	struct event block;
	uint64_t head;
	if (!s->on || (s->filter && block_skipped(s, flags, insns, bytes, id, pc)))
		return;
	if (s->filter)
		skipped_lead(s);
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
