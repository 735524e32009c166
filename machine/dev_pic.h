/*
 * Two 8259A interrupt controllers, cascaded as in a PC (Intel 8259A data sheet, 231468; ELCR: 82371SB data sheet 2.5.4).
 *
 * Invariant: pics_intr() is a function of the registers and lines alone; only a line's rising edge, a level-triggered line, an acknowledge or a command changes what is requested.
 */
#ifndef MACHINE_DEV_PIC_H
#define MACHINE_DEV_PIC_H
#include <stdbool.h>
#include <stdint.h>

struct pic {
	uint8_t irr, isr, imr;  /* requests, in service, masked */
	uint8_t line;           /* levels of the eight inputs */
	uint8_t level;          /* ELCR: inputs that are level-triggered */
	uint8_t base;           /* vector of input 0 (ICW2) */
	uint8_t cascade;        /* ICW3 */
	uint8_t lowest;         /* input with the lowest priority; 7 after ICW1 */
	uint8_t expect;         /* next initialization word awaited at the odd port: 2, 3, 4; 0: none, OCW1 */
	bool single, needs_icw4, ready /* initialized once: no request leaves a chip before */;
	bool auto_eoi, rotate_auto, special_nested, special_mask;
	bool read_isr, poll;
};
struct pics { struct pic chip[2]; /* master, slave on its input 2 */ };

void pics_reset(struct pics *p);
/* Ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1. */
uint8_t pics_read(struct pics *p, uint16_t port);
void pics_write(struct pics *p, uint16_t port, uint8_t value);
/* Sets the level of an input, 0..15. */
void pics_line(struct pics *p, unsigned irq, bool high);
/* Is the INTR pin up? */
bool pics_intr(const struct pics *p);
/* Could a request of an input get through, as far as masks go? */
bool pics_listens(const struct pics *p, unsigned irq);
/* The input that INTR stands for now, 0..15; 7: none (spurious). */
unsigned pics_irq(const struct pics *p);
/* The acknowledge cycle: the vector. Spurious when nothing is requested any more: input 7 of the chip concerned. */
uint8_t pics_acknowledge(struct pics *p);
#endif
