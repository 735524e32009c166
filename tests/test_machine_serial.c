/*
 * Proves: the 16550 sends, interrupts, loops back and reports as its data sheet (National PC16550D) says.
 * Reference: the data sheet's tables; each expectation cites a rule of it.
 */
#include "machine/dev_serial.h"
#include <CUnit/Basic.h>
#include <string.h>

struct line { char sent[64]; unsigned count; };

static void transmit(void *self, uint8_t byte)
{
	struct line *l = self;
	if (l->count < sizeof l->sent)
		l->sent[l->count++] = (char)byte;
}

static struct serial made(struct line *l)
{
	struct serial s = { .self = l, .transmit = transmit };
	*l = (struct line){ .count = 0 };
	serial_reset(&s);
	return s;
}

static void test_output(void)
{
	struct line l;
	struct serial s = made(&l);
	CU_ASSERT_EQUAL(serial_read(&s, 5), 0x60);
	serial_write(&s, 3, 0x83);            /* divisor latch */
	serial_write(&s, 0, 1);
	serial_write(&s, 1, 2);
	CU_ASSERT_EQUAL(serial_read(&s, 0), 1);
	CU_ASSERT_EQUAL(serial_read(&s, 1), 2);
	serial_write(&s, 3, 3);
	CU_ASSERT_EQUAL(serial_read(&s, 1), 0);
	serial_write(&s, 0, 'O');
	serial_write(&s, 0, 'K');
	CU_ASSERT_EQUAL(l.count, 2);
	CU_ASSERT_EQUAL(memcmp(l.sent, "OK", 2), 0);
	serial_write(&s, 7, 0x5a);
	CU_ASSERT_EQUAL(serial_read(&s, 7), 0x5a);
}

static void test_transmit_interrupt(void)
{
	struct line l;
	struct serial s = made(&l);
	serial_write(&s, 1, 2);
	CU_ASSERT_FALSE(serial_irq(&s));      /* OUT2 gates the line in a PC */
	serial_write(&s, 4, 8);
	CU_ASSERT_TRUE(serial_irq(&s));       /* enabling it with an empty transmitter interrupts */
	CU_ASSERT_EQUAL(serial_read(&s, 2), 2);
	CU_ASSERT_FALSE(serial_irq(&s));      /* reading IIR, when it was the source, clears it */
	CU_ASSERT_EQUAL(serial_read(&s, 2), 1);
	serial_write(&s, 0, 'x');
	CU_ASSERT_TRUE(serial_irq(&s));
}

static void test_fifo(void)
{
	struct line l;
	struct serial s = made(&l);
	serial_write(&s, 2, 0x81);            /* FIFO on, trigger 8 */
	serial_write(&s, 4, 0x18);            /* loopback, OUT2 */
	serial_read(&s, 6);
	serial_write(&s, 1, 1);
	CU_ASSERT_EQUAL(serial_read(&s, 2) & 0xc0, 0xc0);
	for (unsigned i = 0; i < 16; i++) {
		serial_write(&s, 0, (uint8_t)(0x40 + i));
		CU_ASSERT_EQUAL(serial_read(&s, 2) & 0xf, i + 1 >= 8 ? 4 : 0xc); /* at the trigger: data available; below: character timeout */
	}
	CU_ASSERT_EQUAL(l.count, 0);          /* nothing leaves in loopback */
	serial_write(&s, 0, 0xff);            /* the 17th overruns: it is lost */
	CU_ASSERT_EQUAL(serial_read(&s, 5), 0x63);
	CU_ASSERT_EQUAL(serial_read(&s, 5), 0x61); /* reading LSR clears the error */
	for (unsigned i = 0; i < 16; i++)
		CU_ASSERT_EQUAL(serial_read(&s, 0), 0x40 + i);
	CU_ASSERT_EQUAL(serial_read(&s, 5), 0x60);
	serial_write(&s, 0, 1);
	serial_write(&s, 2, 0x83);            /* clears the receiver */
	CU_ASSERT_EQUAL(serial_read(&s, 5), 0x60);
}

static void test_without_fifo(void)
{
	struct line l;
	struct serial s = made(&l);
	serial_write(&s, 4, 0x10);
	serial_write(&s, 0, 1);
	serial_write(&s, 0, 2);
	CU_ASSERT_EQUAL(serial_read(&s, 5), 0x63);
	CU_ASSERT_EQUAL(serial_read(&s, 0), 2); /* the new byte took the place of the old one */
}

static void test_priorities(void)
{
	struct line l;
	struct serial s = made(&l);
	serial_write(&s, 4, 0x18);
	serial_read(&s, 6);
	serial_write(&s, 1, 0xf);
	serial_write(&s, 0, 1);
	serial_write(&s, 0, 2);
	serial_write(&s, 4, 0x1b);
	CU_ASSERT_EQUAL(serial_read(&s, 2), 6); /* line status */
	serial_read(&s, 5);
	CU_ASSERT_EQUAL(serial_read(&s, 2), 4); /* received data */
	serial_read(&s, 0);
	CU_ASSERT_EQUAL(serial_read(&s, 2), 2); /* transmitter */
	CU_ASSERT_EQUAL(serial_read(&s, 2), 0); /* modem status */
	serial_read(&s, 6);
	CU_ASSERT_EQUAL(serial_read(&s, 2), 1);
}

static void test_modem(void)
{
	struct line l;
	struct serial s = made(&l);
	CU_ASSERT_EQUAL(serial_read(&s, 6), 0xb0);
	serial_write(&s, 4, 0x1f);
	CU_ASSERT_EQUAL(serial_read(&s, 6) & 0xf0, 0xf0);
	serial_write(&s, 4, 0x1b);            /* RI falls: its trailing edge is reported */
	CU_ASSERT_EQUAL(serial_read(&s, 6), 0xb4);
	CU_ASSERT_EQUAL(serial_read(&s, 6), 0xb0);
	serial_write(&s, 4, 0x19);            /* RTS loops to CTS */
	CU_ASSERT_EQUAL(serial_read(&s, 6), 0xa1);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("machine: 16550", NULL, NULL);
	CU_add_test(s, "output and registers", test_output);
	CU_add_test(s, "transmitter interrupt", test_transmit_interrupt);
	CU_add_test(s, "receive FIFO", test_fifo);
	CU_add_test(s, "without FIFO", test_without_fifo);
	CU_add_test(s, "interrupt priorities", test_priorities);
	CU_add_test(s, "modem lines", test_modem);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
