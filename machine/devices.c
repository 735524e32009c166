/* The devices together: one dispatch table for ports, their lines to the PIC, their time. */
#include "machine_private.h"

/* ---- time: ticks of the PIT out of time units ---- */

static uint64_t clock_hz(const struct machine *m)
{
	return m->config.preset.mhz * 1000000ull;
}

static uint64_t ticks_of(const struct machine *m, uint64_t units)
{
	return (uint64_t)((unsigned __int128)units * PIT_HZ / clock_hz(m));
}

/* The first time unit at which ticks_of() reaches `ticks`. */
static uint64_t units_of(const struct machine *m, uint64_t ticks)
{
	unsigned __int128 product = (unsigned __int128)ticks * clock_hz(m);
	return (uint64_t)((product + PIT_HZ - 1) / PIT_HZ);
}

void machine_devices_advance(struct machine *m, uint64_t now)
{
	struct devices *d = &m->devices;
	uint64_t ticks = ticks_of(m, now);
	if (pit_next_rise(&d->pit, 0, d->pit_done) <= ticks) { /* several rises at once are one request: the line is edge-triggered */
		pics_line(&d->pics, 0, false);
		pics_line(&d->pics, 0, true);
	}
	if (ticks > d->pit_done)
		d->pit_done = ticks;
}

uint64_t machine_devices_deadline(const struct machine *m)
{
	uint64_t rise = pit_next_rise(&m->devices.pit, 0, m->devices.pit_done);
	return rise == PIT_NEVER ? UINT64_MAX : units_of(m, rise);
}

/* ---- ports ---- */

typedef uint32_t port_in(struct machine *m, uint16_t port);
typedef void port_out(struct machine *m, uint16_t port, uint32_t value);

static uint32_t serial_in(struct machine *m, uint16_t port) { return serial_read(&m->devices.serial, port & 7); }
static void serial_out(struct machine *m, uint16_t port, uint32_t value) { serial_write(&m->devices.serial, port & 7, (uint8_t)value); }
static uint32_t cmos_in(struct machine *m, uint16_t port) { return cmos_read(&m->devices.cmos, port); }
static void cmos_out(struct machine *m, uint16_t port, uint32_t value) { cmos_write(&m->devices.cmos, port, (uint8_t)value); }
static uint32_t post_in(struct machine *m, uint16_t port) { (void)port; return m->devices.post_code; }
static void post_out(struct machine *m, uint16_t port, uint32_t value) { (void)port; m->devices.post_code = (uint8_t)value; }
static uint32_t none_in(struct machine *m, uint16_t port) { (void)m; (void)port; return ~0u; }
static void exit_out(struct machine *m, uint16_t port, uint32_t value) { (void)port; machine_end(m, END_EXIT, (int)value); }

/* The PIC's registers see every timer rise so far: run batches do not stop for a masked timer. */
static uint32_t pic_in(struct machine *m, uint16_t port)
{
	machine_devices_advance(m, machine_now(m));
	return pics_read(&m->devices.pics, port);
}

static void pic_out(struct machine *m, uint16_t port, uint32_t value)
{
	machine_devices_advance(m, machine_now(m));
	pics_write(&m->devices.pics, port, (uint8_t)value);
	m->cpu.attention |= 1; /* the timer may be unmasked now */
}

static uint32_t timer_in(struct machine *m, uint16_t port)
{
	return pit_read(&m->devices.pit, port, ticks_of(m, machine_now(m)));
}

static void timer_out(struct machine *m, uint16_t port, uint32_t value)
{
	uint64_t now = machine_now(m);
	machine_devices_advance(m, now); /* what was due before the change */
	pit_write(&m->devices.pit, port, (uint8_t)value, ticks_of(m, now));
	m->cpu.attention |= 1; /* the deadline moved: the run loop bounds its batch anew */
}

/* Bochs and QEMU end on the text "Shutdown" at this port. */
static void shutdown_out(struct machine *m, uint16_t port, uint32_t value)
{
	static const char text[] = "Shutdown";
	struct devices *d = &m->devices;
	(void)port;
	d->shutdown_at = (uint8_t)value == (uint8_t)text[d->shutdown_at] ? d->shutdown_at + 1 : (uint8_t)value == 'S';
	if (!text[d->shutdown_at])
		machine_end(m, END_EXIT, 0);
}

static const struct port_range {
	uint16_t first, last;
	bool wide; /* takes an access of any size as one; all others see bytes, as on the ISA bus */
	port_in *in;
	port_out *out;
} port_ranges[] = {
	{ 0x20, 0x21, false, pic_in, pic_out },
	{ 0x40, 0x43, false, timer_in, timer_out },
	{ 0x61, 0x61, false, timer_in, timer_out },
	{ 0x70, 0x71, false, cmos_in, cmos_out },
	{ 0x80, 0x80, false, post_in, post_out },
	{ 0xa0, 0xa1, false, pic_in, pic_out },
	{ 0xf4, 0xf4, true, none_in, exit_out },
	{ 0x3f8, 0x3ff, false, serial_in, serial_out },
	{ 0x4d0, 0x4d1, false, pic_in, pic_out },
	{ 0x8900, 0x8900, false, none_in, shutdown_out },
};

static const struct port_range *range_find(uint16_t port)
{
	for (unsigned i = 0; i < sizeof port_ranges / sizeof *port_ranges; i++)
		if (port >= port_ranges[i].first && port <= port_ranges[i].last)
			return &port_ranges[i];
	return NULL;
}

/* After any port access: lines that follow registers, and the run loop's look at INTR. */
static void lines_update(struct machine *m)
{
	struct devices *d = &m->devices;
	pics_line(&d->pics, 4, serial_irq(&d->serial));
	if (pics_intr(&d->pics))
		m->cpu.attention |= 1;
}

uint32_t machine_io_in(void *self, struct cpu *cpu, uint16_t port, unsigned size)
{
	struct machine *m = self;
	const struct port_range *r = range_find(port);
	event_put(cpu->events, EV_DEVICE, 0, 0, port | (uint32_t)size << 16, 0);
	uint32_t value = 0;
	if (r && r->wide)
		value = r->in(m, port);
	else
		for (unsigned i = 0; i < size; i++) {
			r = range_find((uint16_t)(port + i));
			value |= (r ? r->in(m, (uint16_t)(port + i)) & 0xff : 0xffu) << 8 * i;
		}
	lines_update(m);
	return value;
}

void machine_io_out(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value)
{
	struct machine *m = self;
	const struct port_range *r = range_find(port);
	event_put(cpu->events, EV_DEVICE, 0, 0, port | (uint32_t)size << 16 | 1u << 24, 0);
	if (r && r->wide)
		r->out(m, port, value);
	else
		for (unsigned i = 0; i < size; i++) {
			r = range_find((uint16_t)(port + i));
			if (r)
				r->out(m, (uint16_t)(port + i), value >> 8 * i & 0xff);
		}
	lines_update(m);
}

/* ---- what a paravirtual VMM asks for ---- */

static void transmit(void *self, uint8_t byte)
{
	console_put(&((struct machine *)self)->console, byte);
}

static void pv_console(void *self, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		transmit(self, bytes[i]);
}

/* The VMM owns the PIC and the PIT then: vectors from 0x20, automatic end of interrupt, only IRQ 0. */
static void pv_set_timer(void *self, unsigned hz)
{
	static const struct { uint16_t port; uint8_t value; } sequence[] = { { 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 3 }, { 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 3 } };
	struct machine *m = self;
	for (unsigned i = 0; i < sizeof sequence / sizeof *sequence; i++)
		pics_write(&m->devices.pics, sequence[i].port, sequence[i].value);
	pics_write(&m->devices.pics, 0xa1, 0xff);
	pics_write(&m->devices.pics, 0x21, hz ? 0xfe : 0xff);
	uint32_t divisor = hz ? (PIT_HZ + hz / 2) / hz : 0;
	divisor = divisor > 65535 ? 0 /* 65536 */ : divisor < 2 && hz ? 2 : divisor;
	timer_out(m, 0x43, 0x34); /* channel 0, both bytes, mode 2 */
	if (!hz)
		return;
	timer_out(m, 0x40, divisor & 0xff);
	timer_out(m, 0x40, divisor >> 8);
}

static void pv_shutdown(void *self, int code)
{
	machine_end(self, END_EXIT, code);
}

struct vmm_devices machine_vmm_devices(struct machine *m)
{
	return (struct vmm_devices){ m, pv_console, pv_set_timer, pv_shutdown };
}

void machine_devices_reset(struct machine *m)
{
	struct devices *d = &m->devices;
	d->serial.self = m;
	d->serial.transmit = transmit;
	pics_reset(&d->pics);
	pit_reset(&d->pit);
	serial_reset(&d->serial);
	cmos_reset(&d->cmos, m->config.memory_bytes);
}
