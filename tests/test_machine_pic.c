/*
 * Proves: the two 8259A behave as their data sheet (Intel 231468) says, sequence by sequence: initialization, priorities, the end-of-interrupt commands, rotation, special modes,
 * cascade, spurious requests, polling, edge and level inputs.
 * Reference: the data sheet's text; every expectation below is its rule, not our code's output.
 */
#include "machine/dev_pic.h"
#include <CUnit/Basic.h>

static void start(struct pics *p, uint8_t icw4)
{
	static const uint16_t port[2] = { 0x20, 0xa0 };
	pics_reset(p);
	for (unsigned i = 0; i < 2; i++) {
		pics_write(p, port[i], 0x11);
		pics_write(p, port[i] + 1, i ? 0x28 : 0x20);
		pics_write(p, port[i] + 1, i ? 2 : 4);
		pics_write(p, port[i] + 1, i ? 1 : icw4);
		pics_write(p, port[i] + 1, 0);
	}
}

static void pulse(struct pics *p, unsigned irq)
{
	pics_line(p, irq, true);
	pics_line(p, irq, false);
	pics_line(p, irq, true);
}

static uint8_t read_register(struct pics *p, uint16_t port, uint8_t ocw3)
{
	pics_write(p, port, ocw3);
	return pics_read(p, port);
}

static void test_silent_before_initialization(void)
{
	struct pics p;
	pics_reset(&p);
	pics_write(&p, 0x21, 0);
	pulse(&p, 0);
	CU_ASSERT_FALSE(pics_intr(&p));
}

static void test_initialization(void)
{
	struct pics p;
	start(&p, 1);
	pics_write(&p, 0x21, 0xa5);
	CU_ASSERT_EQUAL(pics_read(&p, 0x21), 0xa5);
	pics_write(&p, 0x20, 0x11); /* ICW1 clears the mask register */
	pics_write(&p, 0x21, 0x47); /* the low three bits of ICW2 are not of the vector */
	CU_ASSERT_FALSE(pics_intr(&p));
	pics_write(&p, 0x21, 4);
	pics_write(&p, 0x21, 1);
	CU_ASSERT_EQUAL(pics_read(&p, 0x21), 0);
	pulse(&p, 3);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x43);
	pics_reset(&p);
	pics_write(&p, 0x20, 0x12); /* single, no ICW4: ICW2 is the only one that follows */
	pics_write(&p, 0x21, 0x50);
	pics_write(&p, 0x21, 0xfe);
	CU_ASSERT_EQUAL(pics_read(&p, 0x21), 0xfe);
	pulse(&p, 0);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x50);
}

static void test_priority_and_nesting(void)
{
	struct pics p;
	start(&p, 1);
	pulse(&p, 5);
	pulse(&p, 3);
	CU_ASSERT_EQUAL(pics_irq(&p), 3);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x23);
	CU_ASSERT_FALSE(pics_intr(&p)); /* 5 waits behind 3 in service */
	pulse(&p, 3);
	CU_ASSERT_FALSE(pics_intr(&p)); /* so does 3 itself */
	pulse(&p, 1);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x21); /* 1 interrupts 3 */
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0b), 0x0a);
	pics_write(&p, 0x20, 0x20); /* non-specific EOI ends the highest: 1 */
	CU_ASSERT_EQUAL(pics_read(&p, 0x20), 0x08);
	pics_write(&p, 0x20, 0x63); /* specific EOI of 3 */
	CU_ASSERT_EQUAL(pics_read(&p, 0x20), 0);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x23);
	pics_write(&p, 0x20, 0x20);
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0a), 0x20); /* IRR: 5 still waits */
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x25);
}

static void test_mask(void)
{
	struct pics p;
	pics_reset(&p);
	CU_ASSERT_FALSE(pics_listens(&p, 0));
	start(&p, 1);
	CU_ASSERT_TRUE(pics_listens(&p, 0));
	CU_ASSERT_TRUE(pics_listens(&p, 12));
	pics_write(&p, 0x21, 0x05);
	CU_ASSERT_FALSE(pics_listens(&p, 0));
	CU_ASSERT_FALSE(pics_listens(&p, 12)); /* the slave's way is masked */
	CU_ASSERT_TRUE(pics_listens(&p, 1));
	pics_write(&p, 0x21, 0x10);
	pulse(&p, 4);
	CU_ASSERT_FALSE(pics_intr(&p));
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0a), 0x10); /* a masked request is remembered */
	pics_write(&p, 0x21, 0);
	CU_ASSERT(pics_intr(&p));
}

static void test_rotation(void)
{
	struct pics p;
	start(&p, 1);
	pulse(&p, 4);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x24);
	pics_write(&p, 0x20, 0xa0); /* rotate on non-specific EOI: 4 becomes the lowest, 5 the highest (data sheet, "automatic rotation") */
	pulse(&p, 4);
	pulse(&p, 6);
	pulse(&p, 0);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x26);
	pics_write(&p, 0x20, 0xe6); /* rotate on specific EOI of 6: 7 the highest */
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x20);
	pics_write(&p, 0x20, 0x20);
	pics_write(&p, 0x20, 0xc3); /* set priority: 3 the lowest, 4 the highest */
	pulse(&p, 3);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x24);
}

static void test_automatic_end(void)
{
	struct pics p;
	start(&p, 3);
	pulse(&p, 2 + 4);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x26);
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0b), 0);
	pics_write(&p, 0x20, 0x80); /* rotate in automatic EOI mode */
	pulse(&p, 6);
	pics_acknowledge(&p);
	pulse(&p, 6);
	pulse(&p, 7);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x27);
}

static void test_special_mask(void)
{
	struct pics p;
	start(&p, 1);
	pulse(&p, 3);
	pics_acknowledge(&p);
	pulse(&p, 6);
	CU_ASSERT_FALSE(pics_intr(&p));
	pics_write(&p, 0x21, 8);    /* masks its own level */
	CU_ASSERT_FALSE(pics_intr(&p));
	pics_write(&p, 0x20, 0x68); /* special mask mode: then it blocks nobody */
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x26);
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0b), 0x48);
	pics_write(&p, 0x20, 0x20); /* non-specific EOI: of level 6, because a masked level is not ended so in this mode */
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0b), 8);
	pics_write(&p, 0x20, 0x20);
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0b), 8);
	pics_write(&p, 0x20, 0x48); /* mode off: level 3 blocks again, and is ended as ever */
	pulse(&p, 7);
	CU_ASSERT_FALSE(pics_intr(&p));
	pics_write(&p, 0x20, 0x20);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x27);
}

static void test_cascade(void)
{
	struct pics p;
	start(&p, 1);
	pulse(&p, 12);
	CU_ASSERT_EQUAL(pics_irq(&p), 12);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x2c);
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0b), 4);
	CU_ASSERT_EQUAL(read_register(&p, 0xa0, 0x0b), 0x10);
	pulse(&p, 8); /* higher within the slave, the same level for the master */
	CU_ASSERT_FALSE(pics_intr(&p));
	pics_write(&p, 0xa0, 0x20);
	pics_write(&p, 0x20, 0x20);
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x28);
	start(&p, 0x11); /* special fully nested mode in the master */
	pulse(&p, 12);
	pics_acknowledge(&p);
	pulse(&p, 8);
	CU_ASSERT(pics_intr(&p));
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x28);
}

static void test_spurious(void)
{
	struct pics p;
	start(&p, 1);
	pics_line(&p, 4, true);
	CU_ASSERT(pics_intr(&p));
	pics_line(&p, 4, false); /* gone before the acknowledge: a default IR7 (data sheet) */
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x27);
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0b), 0); /* and nothing in service */
	start(&p, 1);
	p.chip[0].irr = 4; /* the slave's INT went down between the two acknowledge pulses */
	CU_ASSERT_EQUAL(pics_acknowledge(&p), 0x2f);
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0b), 4);
	CU_ASSERT_EQUAL(read_register(&p, 0xa0, 0x0b), 0);
}

static void test_poll(void)
{
	struct pics p;
	start(&p, 1);
	pics_write(&p, 0x20, 0x0c);
	CU_ASSERT_EQUAL(pics_read(&p, 0x20) & 0x80, 0);
	pulse(&p, 6);
	pics_write(&p, 0x20, 0x0c);
	CU_ASSERT_EQUAL(pics_read(&p, 0x20), 0x86);
	CU_ASSERT_EQUAL(read_register(&p, 0x20, 0x0b), 0x40);
}

static void test_edge_and_level(void)
{
	struct pics p;
	start(&p, 1);
	pics_line(&p, 5, true);
	pics_acknowledge(&p);
	pics_write(&p, 0x20, 0x20);
	CU_ASSERT_FALSE(pics_intr(&p)); /* still high: no new edge, no new request */
	pulse(&p, 5);
	CU_ASSERT(pics_intr(&p));
	start(&p, 1);
	pics_write(&p, 0x4d0, 0xff);
	CU_ASSERT_EQUAL(pics_read(&p, 0x4d0), 0xf8); /* inputs 0, 1 and 2 are edge-triggered for good */
	pics_line(&p, 5, true);
	pics_acknowledge(&p);
	pics_write(&p, 0x20, 0x20);
	CU_ASSERT(pics_intr(&p)); /* level: it asks again as long as the line is high */
	pics_line(&p, 5, false);
	CU_ASSERT_FALSE(pics_intr(&p));
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("machine: 8259A", NULL, NULL);
	CU_add_test(s, "silent before initialization", test_silent_before_initialization);
	CU_add_test(s, "initialization words", test_initialization);
	CU_add_test(s, "priority, nesting and EOI", test_priority_and_nesting);
	CU_add_test(s, "mask", test_mask);
	CU_add_test(s, "rotation", test_rotation);
	CU_add_test(s, "automatic EOI", test_automatic_end);
	CU_add_test(s, "special mask mode", test_special_mask);
	CU_add_test(s, "cascade and special fully nested mode", test_cascade);
	CU_add_test(s, "spurious", test_spurious);
	CU_add_test(s, "poll", test_poll);
	CU_add_test(s, "edge and level", test_edge_and_level);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
