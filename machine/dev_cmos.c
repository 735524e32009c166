#include "dev_cmos.h"

static void word_put(struct cmos *c, unsigned at, uint64_t value, uint64_t most)
{
	value = value < most ? value : most;
	c->memory[at] = (uint8_t)value;
	c->memory[at + 1] = (uint8_t)(value >> 8);
}

void cmos_reset(struct cmos *c, uint64_t memory_bytes)
{
	*c = (struct cmos){ .memory = {
		[0x04] = 0x12, [0x06] = 0x05, [0x07] = 0x01, [0x08] = 0x01, [0x09] = 0x26, [0x32] = 0x20, /* 2026-01-01 12:00:00, a Thursday, BCD */
		[0x0a] = 0x26, [0x0b] = 0x02 /* BCD, 24 hours */, [0x0d] = 0x80 /* battery good */ } };
	uint64_t mib = 1 << 20;
	word_put(c, 0x15, 640, 640);
	word_put(c, 0x17, memory_bytes > mib ? (memory_bytes - mib) >> 10 : 0, 0xffff);
	word_put(c, 0x30, memory_bytes > mib ? (memory_bytes - mib) >> 10 : 0, 0xffff);
	word_put(c, 0x34, memory_bytes > 16 * mib ? (memory_bytes - 16 * mib) >> 16 : 0, 0xffff);
}

uint8_t cmos_read(struct cmos *c, uint16_t port)
{
	return port & 1 ? c->memory[c->index] : 0xff;
}

void cmos_write(struct cmos *c, uint16_t port, uint8_t value)
{
	if (!(port & 1))
		c->index = value & 0x7f; /* bit 7 gates NMI, of which there is none */
	else if (c->index != 0x0c && c->index != 0x0d)
		c->memory[c->index] = value;
}
