#include "dev_pit.h"
#include <string.h>

void pit_reset(struct pit *p)
{
	memset(p, 0, sizeof *p);
	for (unsigned i = 0; i < 3; i++)
		p->channel[i] = (struct pit_channel){ .access = 3, .gate = i != 2, .reload = 65536 };
}

static bool mode_periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool mode_triggered(const struct pit_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

static uint32_t count_span(const struct pit_channel *c)
{
	return c->bcd ? 10000 : 65536;
}

/* Ticks since the period that the channel is in began; negative: a new period begins later. */
static int64_t elapsed(const struct pit_channel *c, uint64_t now)
{
	return !c->gate && !mode_triggered(c) ? (int64_t)c->held : (int64_t)(now - c->start);
}

/* The counting element, 0..65535, binary. Mode 3 counts down by two, twice a period (data sheet, mode 3; odd counts: one tick more while OUT is high). */
static uint32_t count_now(const struct pit_channel *c, uint64_t now)
{
	if (!c->running)
		return c->reload % count_span(c);
	int64_t e = elapsed(c, now);
	if (e < 0)
		return (uint32_t)-e % count_span(c); /* the end of the old period */
	uint64_t t = (uint64_t)e;
	if (c->mode == 2)
		return (uint32_t)(c->reload - t % c->reload) % count_span(c);
	if (c->mode == 3) {
		uint32_t half = (c->reload + 1) / 2, in = (uint32_t)(t % c->reload);
		return ((c->reload & ~1u) - 2 * (in < half ? in : in - half)) % count_span(c);
	}
	return (uint32_t)((c->reload + count_span(c) - t % count_span(c)) % count_span(c));
}

static bool channel_out(const struct pit_channel *c, uint64_t now)
{
	if (!c->running)
		return c->mode != 0;
	int64_t e = elapsed(c, now);
	uint64_t t = e < 0 ? 0 : (uint64_t)e;
	switch (c->mode) {
	case 0: case 1: return t >= c->reload;
	case 2: return !c->gate || t % c->reload != c->reload - 1;
	case 3: return !c->gate || t % c->reload < (c->reload + 1) / 2;
	default: return t != c->reload; /* strobes: low for one tick */
	}
}

bool pit_out(const struct pit *p, unsigned channel, uint64_t now)
{
	return channel_out(&p->channel[channel], now);
}

uint64_t pit_next_rise(const struct pit *p, unsigned channel, uint64_t after)
{
	const struct pit_channel *c = &p->channel[channel];
	if (!c->running || (!c->gate && !mode_triggered(c)))
		return PIT_NEVER;
	if (mode_periodic(c) && after < c->start)
		return c->replaces ? c->start : c->start + c->reload; /* OUT is high from the control word on: no rise begins the first period */
	if (mode_periodic(c))
		return c->start + ((after - c->start) / c->reload + 1) * c->reload;
	uint64_t rise = c->start + c->reload + (c->mode >= 4);
	return rise > after ? rise : PIT_NEVER;
}

/* ---- writing ---- */

static uint32_t from_bcd(uint32_t v)
{
	return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000;
}

static uint32_t to_bcd(uint32_t v)
{
	return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12;
}

static void count_load(struct pit_channel *c, uint16_t raw, uint64_t now)
{
	uint32_t count = c->bcd ? from_bcd(raw) : raw;
	uint32_t reload = count ? count : count_span(c);
	if (mode_periodic(c) && reload == 1)
		reload = 2; /* a count of 1 is illegal in modes 2 and 3 */
	if (mode_periodic(c) && c->running && c->gate) { /* the old period ends first */
		if (now >= c->start) {
			c->start += ((now - c->start) / c->reload + 1) * c->reload;
			c->replaces = true;
		}
	} else if (!mode_triggered(c)) {
		c->start = now + 1; /* the count enters the counting element at the next tick */
		c->held = 0;
		c->running = true;
	}
	c->reload = reload;
}

static void channel_write(struct pit_channel *c, uint8_t value, uint64_t now)
{
	if (c->access == 3 && !c->second_write) {
		c->low = value;
		c->second_write = true;
		if (c->mode == 0)
			c->running = false; /* the first byte stops mode 0 */
		return;
	}
	uint16_t raw = c->access == 1 ? value : c->access == 2 ? (uint16_t)(value << 8) : (uint16_t)(value << 8 | c->low);
	c->second_write = false;
	count_load(c, raw, now);
}

static void count_latch(struct pit_channel *c, uint64_t now)
{
	if (c->count_latched)
		return; /* the first latch stands until it is read */
	uint32_t count = count_now(c, now);
	c->latch = (uint16_t)(c->bcd ? to_bcd(count) : count);
	c->count_latched = true;
}

static void status_latch(struct pit_channel *c, uint64_t now)
{
	if (c->status_latched)
		return;
	c->status = (uint8_t)(channel_out(c, now) << 7 | !c->running << 6 | c->access << 4 | c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void control_write(struct pit *p, uint8_t value, uint64_t now)
{
	unsigned select = value >> 6;
	if (select == 3) { /* read-back: bit 5 clear latches counts, bit 4 clear latches status */
		for (unsigned i = 0; i < 3; i++) {
			if (!(value >> (i + 1) & 1))
				continue;
			if (!(value & 0x20))
				count_latch(&p->channel[i], now);
			if (!(value & 0x10))
				status_latch(&p->channel[i], now);
		}
		return;
	}
	struct pit_channel *c = &p->channel[select];
	if (!(value & 0x30)) {
		count_latch(c, now);
		return;
	}
	unsigned mode = value >> 1 & 7;
	*c = (struct pit_channel){ .mode = (uint8_t)(mode > 5 ? mode - 4 : mode), .access = value >> 4 & 3, .bcd = value & 1, .gate = c->gate, .reload = value & 1 ? 10000 : 65536 };
}

static void gate_set(struct pit_channel *c, bool high, uint64_t now)
{
	bool rose = high && !c->gate;
	if (!high && c->gate && c->running)
		c->held = now > c->start ? now - c->start : 0;
	c->gate = high;
	if (!rose)
		return;
	if (mode_triggered(c)) {
		c->running = true;
		c->start = now + 1;
	} else if (mode_periodic(c)) {
		c->start = now + 1; /* a rising gate reloads modes 2 and 3 */
		c->replaces = false;
	} else {
		c->start = now - c->held; /* modes 0 and 4 go on */
	}
}

void pit_write(struct pit *p, uint16_t port, uint8_t value, uint64_t now)
{
	if (port == 0x61) {
		p->control61 = value & 3;
		gate_set(&p->channel[2], value & 1, now);
	} else if ((port & 3) == 3) {
		control_write(p, value, now);
	} else {
		channel_write(&p->channel[port & 3], value, now);
	}
}

/* ---- reading ---- */

uint8_t pit_read(struct pit *p, uint16_t port, uint64_t now)
{
	if (port == 0x61) /* bit 5: OUT of channel 2; bit 4: refresh request, toggles every 15 us = 18 ticks */
		return (uint8_t)(p->control61 | (now / 18 & 1) << 4 | channel_out(&p->channel[2], now) << 5);
	if ((port & 3) == 3)
		return 0xff; /* the control word cannot be read */
	struct pit_channel *c = &p->channel[port & 3];
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	uint32_t count = c->latch;
	if (!c->count_latched) {
		count = count_now(c, now);
		count = c->bcd ? to_bcd(count) : count;
	}
	bool high = c->access == 2 || (c->access == 3 && c->second_read);
	c->second_read = c->access == 3 && !c->second_read;
	if (!c->second_read)
		c->count_latched = false;
	return (uint8_t)(high ? count >> 8 : count);
}
