#include "dev_serial.h"
#include <string.h>

enum { LCR_DLAB = 0x80, MCR_OUT2 = 8, MCR_LOOP = 0x10, IER_RECEIVE = 1, IER_TRANSMIT = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { LSR_READY = 1, LSR_OVERRUN = 2, LSR_EMPTY = 0x60 /* THRE and TEMT */ };

void serial_reset(struct serial *s)
{
	*s = (struct serial){ .divisor = { 12, 0 } /* 9600 baud */, .trigger = 1, .self = s->self, .transmit = s->transmit };
}

static void receive(struct serial *s, uint8_t byte)
{
	unsigned room = s->fifo_on ? sizeof s->fifo : 1;
	if (s->count < room) {
		s->fifo[(s->first + s->count++) % sizeof s->fifo] = byte;
		return;
	}
	s->overrun = true;
	if (!s->fifo_on)
		s->fifo[s->first] = byte; /* without the FIFO the new byte replaces the old one; with it, it is lost */
}

static uint8_t receiver_take(struct serial *s)
{
	if (!s->count)
		return 0;
	uint8_t byte = s->fifo[s->first];
	s->first = (uint8_t)((s->first + 1) % sizeof s->fifo);
	s->count--;
	return byte;
}

static void receiver_clear(struct serial *s)
{
	s->count = s->first = 0;
}

/* Interrupt identification, highest first (data sheet, table IV); 1: none. */
static uint8_t interrupt_id(const struct serial *s)
{
	if (s->ier & IER_LINE && s->overrun)
		return 6;
	if (s->ier & IER_RECEIVE && s->count >= (s->fifo_on ? s->trigger : 1))
		return 4;
	if (s->ier & IER_RECEIVE && s->count)
		return 0xc; /* character timeout: nothing more comes, so it is due at once */
	if (s->ier & IER_TRANSMIT && s->transmit_pending)
		return 2;
	if (s->ier & IER_MODEM && s->msr_delta)
		return 0;
	return 1;
}

bool serial_irq(const struct serial *s)
{
	return s->mcr & MCR_OUT2 && interrupt_id(s) != 1;
}

/* CTS, DSR, RI, DCD: from RTS, DTR, OUT1, OUT2 in loopback, else a terminal that is always ready. */
static uint8_t modem_lines(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return 0xb0;
	return (uint8_t)((s->mcr >> 1 & 1) << 4 | (s->mcr & 1) << 5 | (s->mcr >> 2 & 1) << 6 | (s->mcr >> 3 & 1) << 7);
}

uint8_t serial_read(struct serial *s, unsigned reg)
{
	uint8_t value;
	switch (reg & 7) {
	case 0: return s->lcr & LCR_DLAB ? s->divisor[0] : receiver_take(s);
	case 1: return s->lcr & LCR_DLAB ? s->divisor[1] : s->ier;
	case 2:
		value = interrupt_id(s);
		if (value == 2)
			s->transmit_pending = false;
		return value | (s->fifo_on ? 0xc0 : 0);
	case 3: return s->lcr;
	case 4: return s->mcr;
	case 5:
		value = (uint8_t)(LSR_EMPTY | (s->count ? LSR_READY : 0) | (s->overrun ? LSR_OVERRUN : 0));
		s->overrun = false;
		return value;
	case 6:
		value = modem_lines(s) | s->msr_delta;
		s->msr_delta = 0;
		return value;
	default: return s->scratch;
	}
}

static void transmit(struct serial *s, uint8_t byte)
{
	if (s->mcr & MCR_LOOP)
		receive(s, byte);
	else if (s->transmit)
		s->transmit(s->self, byte);
	s->transmit_pending = true;
}

static void fifo_control(struct serial *s, uint8_t value)
{
	static const uint8_t levels[4] = { 1, 4, 8, 14 };
	if ((value & 1) != s->fifo_on || value & 2)
		receiver_clear(s);
	s->fifo_on = value & 1;
	s->trigger = s->fifo_on ? levels[value >> 6] : 1;
}

static void modem_control(struct serial *s, uint8_t value)
{
	uint8_t before = modem_lines(s);
	s->mcr = value & 0x1f;
	uint8_t changed = before ^ modem_lines(s);
	uint8_t trailing = before & changed & 0x40; /* RI counts when it goes away */
	s->msr_delta |= (uint8_t)((changed & 0xb0) >> 4 | trailing >> 4);
}

void serial_write(struct serial *s, unsigned reg, uint8_t value)
{
	switch (reg & 7) {
	case 0:
		if (s->lcr & LCR_DLAB)
			s->divisor[0] = value;
		else
			transmit(s, value);
		break;
	case 1:
		if (s->lcr & LCR_DLAB) {
			s->divisor[1] = value;
			break;
		}
		if (~s->ier & value & IER_TRANSMIT)
			s->transmit_pending = true; /* enabling it with an empty transmitter interrupts at once */
		s->ier = value & 0xf;
		break;
	case 2: fifo_control(s, value); break;
	case 3: s->lcr = value; break;
	case 4: modem_control(s, value); break;
	case 7: s->scratch = value; break;
	default: break; /* LSR and MSR: factory test only */
	}
}
