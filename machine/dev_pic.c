#include "dev_pic.h"
#include <string.h>

enum { NONE = 8, CASCADE = 2 };

void pics_reset(struct pics *p)
{
	memset(p, 0, sizeof *p);
	p->chip[0].lowest = p->chip[1].lowest = 7;
	p->chip[0].imr = p->chip[1].imr = 0xff;
}

/* The highest-priority bit of a set, by the chip's rotation; NONE. */
static unsigned highest(const struct pic *c, uint8_t set)
{
	for (unsigned i = 1; i <= 8; i++)
		if (set >> ((c->lowest + i) & 7) & 1)
			return (c->lowest + i) & 7;
	return NONE;
}

static unsigned rank(const struct pic *c, unsigned irq)
{
	return irq == NONE ? 8 : (irq - c->lowest - 1) & 7;
}

/* The input that this chip requests for: not masked, and above everything in service. */
static unsigned chip_request(const struct pic *c)
{
	uint8_t in_service = c->special_mask ? c->isr & ~c->imr : c->isr; /* special mask mode: a masked level in service blocks nobody */
	unsigned want = highest(c, c->irr & ~c->imr), busy = highest(c, in_service);
	if (!c->ready || c->expect || want == NONE)
		return NONE;
	bool same_slave = c->special_nested && want == CASCADE && busy == CASCADE; /* special fully nested mode: a slave may interrupt its own lower level */
	return same_slave || rank(c, want) < rank(c, busy) ? want : NONE;
}

/* The slave's INT pin is the master's input 2. */
static void cascade_update(struct pics *p);

static void line_set(struct pic *c, unsigned bit, bool high)
{
	uint8_t mask = (uint8_t)(1u << bit);
	bool was = c->line & mask;
	c->line = (uint8_t)(high ? c->line | mask : c->line & ~mask);
	if (high && (!was || c->level & mask))
		c->irr |= mask;
	else if (!high)
		c->irr &= (uint8_t)~mask; /* a request must stay up until it is acknowledged (data sheet, "edge and level triggered modes") */
}

static void cascade_update(struct pics *p)
{
	line_set(&p->chip[0], CASCADE, chip_request(&p->chip[1]) != NONE);
}

void pics_line(struct pics *p, unsigned irq, bool high)
{
	line_set(&p->chip[irq >> 3 & 1], irq & 7, high);
	cascade_update(p);
}

bool pics_intr(const struct pics *p)
{
	return chip_request(&p->chip[0]) != NONE;
}

bool pics_listens(const struct pics *p, unsigned irq)
{
	const struct pic *master = &p->chip[0], *slave = &p->chip[1];
	unsigned input = irq < 8 ? irq : CASCADE;
	bool open = master->ready && !(master->imr >> input & 1);
	return irq < 8 ? open : open && slave->ready && !(slave->imr >> (irq & 7) & 1);
}

unsigned pics_irq(const struct pics *p)
{
	unsigned irq = chip_request(&p->chip[0]);
	if (irq == CASCADE && !p->chip[0].single) {
		unsigned slave = chip_request(&p->chip[1]);
		return slave == NONE ? 15 : 8 + slave;
	}
	return irq == NONE ? 7 : irq;
}

static void chip_eoi(struct pic *c, unsigned irq)
{
	if (irq != NONE)
		c->isr &= (uint8_t)~(1u << irq);
}

/* What an acknowledge cycle or a poll does to one chip; the input, or NONE. */
static unsigned chip_take(struct pic *c)
{
	unsigned irq = chip_request(c);
	if (irq == NONE)
		return NONE;
	uint8_t mask = (uint8_t)(1u << irq);
	if (!(c->level & mask))
		c->irr &= (uint8_t)~mask;
	if (!c->auto_eoi)
		c->isr |= mask;
	else if (c->rotate_auto)
		c->lowest = (uint8_t)irq;
	return irq;
}

uint8_t pics_acknowledge(struct pics *p)
{
	struct pic *master = &p->chip[0], *slave = &p->chip[1];
	unsigned irq = chip_take(master);
	if (irq == NONE)
		return (uint8_t)(master->base + 7);
	if (irq != CASCADE || master->single)
		return (uint8_t)(master->base + irq);
	unsigned inner = chip_take(slave);
	cascade_update(p);
	return (uint8_t)(slave->base + (inner == NONE ? 7 : inner));
}

/* ---- registers ---- */

static void icw1_write(struct pic *c, uint8_t value)
{
	uint8_t line = c->line, level = c->level;
	*c = (struct pic){ .line = line, .level = level, .lowest = 7, .expect = 2, .ready = true, .single = value & 2, .needs_icw4 = value & 1 };
	c->irr = line & level; /* the edge sense circuit is reset: a line that is up already needs a new edge */
}

static void icw_write(struct pic *c, uint8_t value)
{
	switch (c->expect) {
	case 2:
		c->base = value & 0xf8;
		c->expect = !c->single ? 3 : c->needs_icw4 ? 4 : 0;
		break;
	case 3:
		c->cascade = value;
		c->expect = c->needs_icw4 ? 4 : 0;
		break;
	default:
		c->auto_eoi = value & 2;
		c->special_nested = value & 0x10;
		c->expect = 0;
	}
}

static void ocw2_write(struct pic *c, uint8_t value)
{
	unsigned named = value & 7, top = highest(c, c->special_mask ? c->isr & ~c->imr : c->isr);
	switch (value >> 5) {
	case 0: c->rotate_auto = false; break;
	case 1: chip_eoi(c, top); break;                        /* non-specific EOI */
	case 3: chip_eoi(c, named); break;                      /* specific EOI */
	case 4: c->rotate_auto = true; break;
	case 5:                                                 /* rotate on non-specific EOI */
		chip_eoi(c, top);
		c->lowest = top == NONE ? c->lowest : (uint8_t)top;
		break;
	case 6: c->lowest = (uint8_t)named; break;              /* set priority */
	case 7:                                                 /* rotate on specific EOI */
		chip_eoi(c, named);
		c->lowest = (uint8_t)named;
		break;
	default: break;                                         /* no operation */
	}
}

static void ocw3_write(struct pic *c, uint8_t value)
{
	c->poll = value & 4;
	if (value & 2)
		c->read_isr = value & 1;
	if (value & 0x40)
		c->special_mask = value & 0x20;
}

void pics_write(struct pics *p, uint16_t port, uint8_t value)
{
	struct pic *c = &p->chip[port >= 0xa0 && port != 0x4d0];
	if (port == 0x4d0 || port == 0x4d1)
		p->chip[port & 1].level = value & (port & 1 ? 0xde : 0xf8); /* inputs 0, 1, 2, 8 and 13 are edge-triggered for good */
	else if (port & 1 && c->expect)
		icw_write(c, value);
	else if (port & 1)
		c->imr = value;
	else if (value & 0x10)
		icw1_write(c, value);
	else if (value & 8)
		ocw3_write(c, value);
	else
		ocw2_write(c, value);
	cascade_update(p);
}

uint8_t pics_read(struct pics *p, uint16_t port)
{
	struct pic *c = &p->chip[port >= 0xa0 && port != 0x4d0];
	if (port == 0x4d0 || port == 0x4d1)
		return p->chip[port & 1].level;
	if (c->poll) { /* a read after the poll command is an acknowledge */
		c->poll = false;
		unsigned irq = chip_take(c);
		cascade_update(p);
		return irq == NONE ? 0 : (uint8_t)(0x80 | irq);
	}
	if (port & 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}
