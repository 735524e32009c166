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
	while (*end)
		end = &(*end)->next;
	c->next = NULL;
	*end = c;
	s->on = true;
}

void event_sink_listen(struct event_sink *s, bool on)
{
	event_drain(s);
	s->on = on && s->consumers;
}

void event_drain(struct event_sink *s)
{
	struct event *end = s->next;
	if (end == s->buffer)
		return;
	for (struct event_consumer *c = s->consumers; c; c = c->next)
		c->consume(c->self, s->buffer, end);
	assert(s->next == end && "a consumer never emits");
	s->next = s->buffer;
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
