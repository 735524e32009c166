/*
 * Proves: the 8254 counts, reads back and drives OUT as its data sheet (Intel 231164) says, in every mode.
 * Reference: for modes 2 and 3 a tick-by-tick counting element made here from the data sheet's description ("the counter is decremented by one (two) on each CLK"); for the rest its text.
 */
#include "machine/dev_pit.h"
#include <CUnit/Basic.h>

static void program(struct pit *p, unsigned channel, unsigned mode, unsigned count, bool bcd, uint64_t now)
{
	pit_write(p, 0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1 | bcd), now);
	pit_write(p, (uint16_t)(0x40 + channel), (uint8_t)count, now);
	pit_write(p, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8), now);
}

static unsigned read_count(struct pit *p, unsigned channel, uint64_t now)
{
	pit_write(p, 0x43, (uint8_t)(channel << 6), now); /* counter latch */
	unsigned low = pit_read(p, (uint16_t)(0x40 + channel), now);
	return low | (unsigned)pit_read(p, (uint16_t)(0x40 + channel), now) << 8;
}

struct element { unsigned mode, reload, count; bool out; }; /* the naive counting element of modes 2 and 3 */

static bool element_tick(struct element *e) /* true: OUT rose */
{
	bool was = e->out;
	if (e->mode == 2) {
		if (--e->count == 0)
			e->count = e->reload;
		e->out = e->count != 1;
	} else {
		/* Mode 3, odd N: OUT is high for (N+1)/2 and low for (N-1)/2 counts. `count` counts ticks left of the half. */
		if (--e->count == 0) {
			e->out = !e->out;
			e->count = e->out ? (e->reload + 1) / 2 : e->reload / 2;
		}
	}
	return !was && e->out;
}

static void periodic_compare(unsigned mode, unsigned reload)
{
	struct pit p;
	uint64_t start = 1000, differences = 0, rises = 0;
	pit_reset(&p);
	program(&p, 0, mode, reload & 0xffff, false, start);
	struct element e = { mode, reload, mode == 2 ? reload : (reload + 1) / 2, true };
	uint64_t expected = pit_next_rise(&p, 0, start);
	for (uint64_t now = start + 2; now <= start + 1 + 5ull * reload; now++) { /* the count enters the element one tick after it was written */
		bool rose = element_tick(&e);
		differences += pit_out(&p, 0, now) != e.out;
		if (mode == 2)
			differences += read_count(&p, 0, now) != (e.count & 0xffff);
		differences += rose != (now == expected);
		if (now == expected) {
			expected = pit_next_rise(&p, 0, now);
			rises++;
		}
	}
	CU_ASSERT_EQUAL(differences, 0);
	CU_ASSERT_EQUAL(rises, 5);
}

static void test_rate_generator(void)
{
	static const unsigned counts[] = { 2, 3, 7, 100, 11932, 65536 };
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
		periodic_compare(2, counts[i]);
}

static void test_square_wave(void)
{
	static const unsigned counts[] = { 2, 3, 8, 101, 4096 };
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
		periodic_compare(3, counts[i]);
}

static void test_terminal_count(void)
{
	struct pit p;
	pit_reset(&p);
	program(&p, 0, 0, 5, false, 100);
	CU_ASSERT_FALSE(pit_out(&p, 0, 100));
	CU_ASSERT_FALSE(pit_out(&p, 0, 105));
	CU_ASSERT_TRUE(pit_out(&p, 0, 106)); /* N + 1 ticks after the count was written */
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 100), 106);
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 106), PIT_NEVER);
	CU_ASSERT_EQUAL(read_count(&p, 0, 103), 3);
	CU_ASSERT_EQUAL(read_count(&p, 0, 107), 0xffff); /* and goes on below zero */
	pit_write(&p, 0x40, 9, 200);                     /* the first byte stops the count */
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 200), PIT_NEVER);
	pit_write(&p, 0x40, 0, 210);
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 210), 220);
}

static void test_one_shot(void)
{
	struct pit p;
	pit_reset(&p);
	program(&p, 2, 1, 10, false, 50);
	CU_ASSERT_TRUE(pit_out(&p, 2, 60));  /* waits for its trigger */
	pit_write(&p, 0x61, 1, 100);         /* the gate of channel 2 is bit 0 of port 0x61 */
	CU_ASSERT_FALSE(pit_out(&p, 2, 105));
	CU_ASSERT_EQUAL(pit_read(&p, 0x61, 105) & 0x20, 0);
	CU_ASSERT_TRUE(pit_out(&p, 2, 111));
	CU_ASSERT_EQUAL(pit_read(&p, 0x61, 111) & 0x20, 0x20);
	pit_write(&p, 0x61, 0, 120);
	pit_write(&p, 0x61, 1, 130);         /* retriggerable */
	CU_ASSERT_FALSE(pit_out(&p, 2, 140));
	CU_ASSERT_TRUE(pit_out(&p, 2, 141));
}

static void test_strobe(void)
{
	struct pit p;
	pit_reset(&p);
	program(&p, 0, 4, 3, false, 0);
	for (uint64_t now = 1; now < 10; now++)
		CU_ASSERT_EQUAL(pit_out(&p, 0, now), now != 4); /* low for one tick, N + 1 after the write */
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 0), 5);
}

static void test_gate_holds_the_count(void)
{
	struct pit p;
	pit_reset(&p);
	pit_write(&p, 0x61, 1, 0);
	program(&p, 2, 0, 100, false, 0);
	CU_ASSERT_EQUAL(read_count(&p, 2, 41), 60);
	pit_write(&p, 0x61, 0, 41);
	CU_ASSERT_EQUAL(read_count(&p, 2, 5000), 60);
	pit_write(&p, 0x61, 1, 6000);
	CU_ASSERT_EQUAL(read_count(&p, 2, 6010), 50);
}

static void test_new_count_waits_for_the_period(void)
{
	struct pit p;
	pit_reset(&p);
	program(&p, 0, 2, 100, false, 0);    /* periods begin at 1, 101, 201 */
	pit_write(&p, 0x40, 50, 120);
	pit_write(&p, 0x40, 0, 120);
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 120), 201);
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 201), 251);
	CU_ASSERT_EQUAL(read_count(&p, 0, 151), 50); /* what was left of the old one */
}

static void test_latches(void)
{
	struct pit p;
	pit_reset(&p);
	program(&p, 0, 2, 1000, false, 0);
	pit_write(&p, 0x43, 0x00, 101);
	pit_write(&p, 0x43, 0x00, 301);      /* a second latch before the read is ignored */
	CU_ASSERT_EQUAL(pit_read(&p, 0x40, 400), (900 & 0xff));
	CU_ASSERT_EQUAL(pit_read(&p, 0x40, 400), 900 >> 8);
	pit_write(&p, 0x43, 0xc2, 501);      /* read-back: status and count of channel 0; status comes first */
	CU_ASSERT_EQUAL(pit_read(&p, 0x40, 600), 0x80 | 0x30 | 2 << 1);
	CU_ASSERT_EQUAL(pit_read(&p, 0x40, 600), 500 & 0xff);
	CU_ASSERT_EQUAL(pit_read(&p, 0x40, 600), 500 >> 8);
	pit_write(&p, 0x43, 0x34, 700);
	pit_write(&p, 0x43, 0xe2, 700);      /* status alone: null count until one is written */
	CU_ASSERT_EQUAL(pit_read(&p, 0x40, 700) & 0x40, 0x40);
}

static void test_byte_access(void)
{
	struct pit p;
	pit_reset(&p);
	pit_write(&p, 0x43, 0x14, 0);        /* channel 0, low byte only, mode 2 */
	pit_write(&p, 0x40, 200, 0);
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 0), 201);
	pit_write(&p, 0x43, 0x24, 0);        /* high byte only */
	pit_write(&p, 0x40, 2, 0);
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 1), 513);
}

static void test_bcd(void)
{
	struct pit p;
	pit_reset(&p);
	program(&p, 0, 2, 0x1234, true, 0);
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 1), 1235);
	CU_ASSERT_EQUAL(read_count(&p, 0, 35), 0x1200);
	program(&p, 0, 2, 0, true, 0);       /* 0 stands for 10000 */
	CU_ASSERT_EQUAL(pit_next_rise(&p, 0, 1), 10001);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("machine: 8254", NULL, NULL);
	CU_add_test(s, "mode 2 against a ticking element", test_rate_generator);
	CU_add_test(s, "mode 3 against a ticking element", test_square_wave);
	CU_add_test(s, "mode 0", test_terminal_count);
	CU_add_test(s, "mode 1", test_one_shot);
	CU_add_test(s, "mode 4", test_strobe);
	CU_add_test(s, "gate", test_gate_holds_the_count);
	CU_add_test(s, "a new count waits for the period", test_new_count_waits_for_the_period);
	CU_add_test(s, "latch and read-back", test_latches);
	CU_add_test(s, "single-byte access", test_byte_access);
	CU_add_test(s, "BCD", test_bcd);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
