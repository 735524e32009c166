#include "event.h"
#include "ports.h"
#include <assert.h>
#include <stdlib.h>

enum { SPARE_SLOTS = 2 }; /* a pair is written before the limit is looked at */

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

/* Writes EV_SKIPPED in a spare slot, if there is anything to tell. */
static bool skipped_write(struct event_sink *s)
{
	struct event_filter *f = s->filter;
	if (!f || !(f->accesses | f->blocks))
		return false;
	uint64_t blocks = skipped_take(&f->blocks);
	event_write(s->next++, EV_SKIPPED, 0, 0, (uint32_t)skipped_take(&f->accesses), blocks << 32 | skipped_take(&f->instructions));
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

void event_settle(struct event_sink *s)
{
	s->live = false;
	while (skipped_write(s))
		if (s->next > s->limit)
			batch_consume(s);
	if (s->filter)
		event_filter_empty(s->filter);
}

/* ---- what stays in the filter ---- */

static void put_one(struct event_sink *s, uint64_t head, uint64_t addr)
{
	struct event *at = s->next++;
	memcpy(at, &head, sizeof head);
	at->addr = addr;
	if (s->next > s->limit)
		event_drain(s);
}

void event_put_access(struct event_sink *s, uint64_t head, uint64_t gva, uint64_t addend)
{
	put_one(s, head, gva);
	if (s->filter) {
		event_filter_access(s->filter, gva, head >> 16 & 0xffff, (uint8_t)head != EV_LOAD, head >> 8 & EVF_USER, addend);
		s->live = true;
	}
}

void event_put_block(struct event_sink *s, unsigned flags, unsigned insns, uint32_t id, uint64_t pc)
{
	struct event block;
	uint64_t head;
	if (!s->on)
		return;
	event_write(&block, EV_BLOCK, flags, insns, id, pc);
	memcpy(&head, &block, sizeof head);
	put_one(s, head, pc);
	if (!s->filter)
		return;
	event_filter_fetch(s->filter, pc, flags & EVF_USER);
	if (flags & EVF_STRADDLE)
		event_filter_fetch(s->filter, (pc | 0xfff) + 1, flags & EVF_USER);
	s->live = true;
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
