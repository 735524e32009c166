/*
 * A 16550A serial port (National Semiconductor PC16550D data sheet). Nothing is connected to its receiver but its own loopback.
 *
 * Invariant: transmission takes no time: the transmitter is always empty, and every byte written outside loopback goes out at once, in order.
 */
#ifndef MACHINE_DEV_SERIAL_H
#define MACHINE_DEV_SERIAL_H
#include <stdbool.h>
#include <stdint.h>

struct serial {
	uint8_t ier, lcr, mcr, scratch, divisor[2];
	uint8_t msr_delta;      /* low four bits of the modem status register */
	bool fifo_on, overrun;
	bool transmit_pending;  /* the transmitter-empty interrupt: raised by emptying, cleared by reading IIR */
	uint8_t trigger;        /* receive FIFO level that interrupts: 1, 4, 8, 14 */
	uint8_t fifo[16];
	uint8_t first, count;
	void *self;
	void (*transmit)(void *self, uint8_t byte);
};

/* Keeps transmit and self. */
void serial_reset(struct serial *s);
/* Register 0..7. */
uint8_t serial_read(struct serial *s, unsigned reg);
void serial_write(struct serial *s, unsigned reg, uint8_t value);
/* The interrupt line, through the OUT2 gate of a PC. */
bool serial_irq(const struct serial *s);
#endif
