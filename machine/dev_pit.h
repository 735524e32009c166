/*
 * The 8254 programmable interval timer (Intel 8254 data sheet, 231164), with port 0x61 as in a PC.
 *
 * Invariant: nothing ticks. A channel is a function of the time that it is asked at, given in ticks of 1.193182 MHz; the caller turns virtual time into ticks.
 */
#ifndef MACHINE_DEV_PIT_H
#define MACHINE_DEV_PIT_H
#include <stdbool.h>
#include <stdint.h>

#define PIT_HZ 1193182u
#define PIT_NEVER UINT64_MAX

struct pit_channel {
	uint8_t mode;            /* 0..5 */
	uint8_t access;          /* 1 low byte, 2 high byte, 3 low then high */
	bool bcd, gate;
	bool running;            /* a count was loaded (and, in modes 1 and 5, triggered) */
	bool second_write, second_read; /* access 3: the high byte is due */
	uint8_t low;             /* the low byte that waits for its high byte */
	uint32_t reload;         /* 1..65536 (10000 in BCD) */
	uint64_t start;          /* tick at which the present period began (or will begin: a count written in modes 2 and 3 waits for the period to end) */
	bool replaces;           /* `start` ends the period of an older count: OUT rises there */
	uint64_t held;           /* elapsed ticks when the gate went low, modes 0, 2, 3, 4 */
	bool count_latched, status_latched;
	uint16_t latch;
	uint8_t status;
};
struct pit { struct pit_channel channel[3]; uint8_t control61; };

void pit_reset(struct pit *p);
/* Ports 0x40..0x43 and 0x61, at tick `now`. */
uint8_t pit_read(struct pit *p, uint16_t port, uint64_t now);
void pit_write(struct pit *p, uint16_t port, uint8_t value, uint64_t now);
/* OUT of a channel. */
bool pit_out(const struct pit *p, unsigned channel, uint64_t now);
/* The first tick after `after` at which OUT of a channel rises; PIT_NEVER: none if nothing is written. */
uint64_t pit_next_rise(const struct pit *p, unsigned channel, uint64_t after);
#endif
