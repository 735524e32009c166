/*
 * Binary translation: code is translated once, chained once, looked up at indirect branches, translated again when it changes or the cache was emptied, and adapted when its
 * page-table stores keep trapping. Expected counts are counted by hand from Adams and Agesen's rules (ASPLOS 2006, section 3).
 */
#include "vmm_rig.h"
#include <CUnit/Basic.h>

enum { GUEST_BYTES = 4 << 20 };

static uint32_t block(struct rig *r, uint8_t first, unsigned bytes, unsigned insns, enum block_end end, uint64_t sensitive)
{
	uint8_t code[256];
	memset(code, first, sizeof code);
	struct block_static b = { .bytes = (uint16_t)bytes, .insns = (uint8_t)insns, .end = end, .mode = 4, .sensitive = sensitive, .sensitive_count = (uint8_t)__builtin_popcountll(sensitive), .code = code };
	return block_dictionary_enter(&r->blocks, &b);
}

static void enter(struct rig *r, uint32_t id, uint64_t pc, bool indirect)
{
	r->cpu.vmm.block_enter(r->cpu.vmm.self, &r->cpu, id, pc, indirect);
	event_put(&r->events, EV_BLOCK, 0, r->blocks.entry[id].insns, id, pc);
	event_drain(&r->events);
}

static struct rig *rig_bt(const struct vmm_config *c)
{
	struct rig *r = malloc(sizeof *r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_BT, GUEST_BYTES, 0, c));
	rig_registers(r, CR0_PE, 0, 0, 0);
	event_drain(&r->events);
	memset(r->seen, 0, sizeof r->seen);
	return r;
}

static void rig_end(struct rig *r)
{
	rig_destroy(r);
	free(r);
}

static void test_translate_once(void)
{
	struct rig *r = rig_bt(NULL);
	uint32_t a = block(r, 1, 20, 5, BLOCK_END_JUMP, 0), b = block(r, 2, 60, 25, BLOCK_END_BRANCH, 0);
	for (unsigned i = 0; i < 10; i++) {
		enter(r, a, 0x1000, false);
		enter(r, b, 0x2000, false);
	}
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_TRANSLATE], 2);
	CU_ASSERT_EQUAL(r->vmm.stats.translated_instructions, 30);
	CU_ASSERT_EQUAL(r->vmm.stats.translated_blocks, 1 + 3); /* units of 12 */
	CU_ASSERT_EQUAL(r->seen[EV_TC_FETCH], 20);
	CU_ASSERT_EQUAL(r->seen[EV_TC_JUMP], 1);                     /* the first entry came from the VMM */
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_CALLOUT], 2);        /* a -> b and b -> a are patched once each */
	CU_ASSERT_EQUAL(r->seen[EV_EXIT], r->seen[EV_ENTRY]);
	rig_end(r);
}

/* A unit ends at 12 instructions: 12 are one, 13 two. */
static void test_units(void)
{
	static const struct { unsigned insns, units; } rows[] = { { 1, 1 }, { 12, 1 }, { 13, 2 }, { 24, 2 }, { 32, 3 } };
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rig *r = rig_bt(NULL);
		enter(r, block(r, 1, 64, rows[i].insns, BLOCK_END_JUMP, 0), 0x1000, false);
		CU_ASSERT_EQUAL(r->vmm.stats.translated_blocks, rows[i].units);
		CU_ASSERT_EQUAL(r->last[EV_TRANSLATE].aux, rows[i].units);
		rig_end(r);
	}
}

/* A conditional branch has two ways out: each is patched once, and both stay. */
static void test_two_successors(void)
{
	struct rig *r = rig_bt(NULL);
	uint32_t a = block(r, 1, 20, 5, BLOCK_END_BRANCH, 0), b = block(r, 2, 20, 5, BLOCK_END_JUMP, 0), c = block(r, 3, 20, 5, BLOCK_END_JUMP, 0);
	for (unsigned i = 0; i < 10; i++) {
		enter(r, a, 0x1000, false);
		enter(r, i & 1 ? c : b, i & 1 ? 0x3000 : 0x2000, false);
	}
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_CALLOUT], 4); /* a -> b, b -> a, a -> c, c -> a */
	rig_end(r);
}

static void test_indirect_and_change(void)
{
	struct rig *r = rig_bt(NULL);
	uint32_t a = block(r, 1, 20, 5, BLOCK_END_RET, 0), changed = block(r, 9, 20, 5, BLOCK_END_RET, 0);
	for (unsigned i = 0; i < 5; i++)
		enter(r, a, 0x1000, i > 0);
	CU_ASSERT_EQUAL(r->vmm.stats.hash_lookups, 5);
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_CALLOUT], 0);
	enter(r, changed, 0x1000, true);
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_TRANSLATE], 2);
	enter(r, a, 0x1000, true);                                   /* the old code again: its fragment lives, but the hash slot is the other's */
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_TRANSLATE], 2);
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_CALLOUT], 1);
	rig_end(r);
}

static void test_cache_full(void)
{
	struct vmm_config c;
	vmm_config_default(&c);
	c.bt_cache_bytes = 64 << 10;
	struct rig *r = rig_bt(&c);
	uint32_t a = block(r, 1, 200, 30, BLOCK_END_JUMP, 0);
	for (unsigned i = 0; i < 1000; i++) /* a fragment has at least the guest's 200 bytes: 64 KiB hold fewer than 328 */
		enter(r, a, 0x1000 + 256 * i, false);
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_TRANSLATE], 1000);
	enter(r, a, 0x1000, false);
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_TRANSLATE], 1001);
	CU_ASSERT_TRUE(r->vmm.stats.tc_bytes <= 64 << 10);
	CU_ASSERT_FALSE(r->vmm.failed);
	rig_end(r);
}

static void sensitive(struct rig *r, enum sensitive what, unsigned cpl)
{
	r->cpu.cpl = (uint8_t)cpl;
	event_drain(&r->events);
	memset(r->seen, 0, sizeof r->seen);
	CU_ASSERT_FALSE(r->cpu.vmm.sensitive(r->cpu.vmm.self, &r->cpu, what, 0, 0));
	event_drain(&r->events);
}

static void test_sensitive(void)
{
	struct rig *r = rig_bt(NULL);
	sensitive(r, SENS_CLI, 0);
	CU_ASSERT_EQUAL(r->seen[EV_EXIT], 0); /* in place */
	CU_ASSERT_EQUAL(r->seen[EV_VMM_STORE], 1);
	sensitive(r, SENS_CR8_WRITE, 0);
	CU_ASSERT_EQUAL(r->seen[EV_EXIT], 0);
	sensitive(r, SENS_IO_IN, 0);
	CU_ASSERT_EQUAL(r->seen[EV_EXIT], 1);
	sensitive(r, SENS_POPF, 3);           /* user code runs as it is */
	CU_ASSERT_EQUAL(r->seen[EV_EXIT] + r->seen[EV_VMM_LOAD], 0);
	sensitive(r, SENS_SYSCALL, 3);
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_SYSTEM_CALL], 1);
	CU_ASSERT_EQUAL(r->vmm.stats.callouts, 1); /* the IN; SYSCALL enters by hardware */
	rig_end(r);
}

/* A kernel block that stores to a page table: traps until the threshold, callouts from then on. */
static void test_adaptation(void)
{
	struct vmm_config c;
	vmm_config_default(&c);
	c.bt_adapt_threshold = 3;
	struct rig *r = rig_bt(&c);
	uint32_t pde = 0x1000 | 7, pte = 0x1000 | 7, id = block(r, 1, 20, 5, BLOCK_END_JUMP, 0);
	memcpy(rig_guest(r), &pde, 4);
	memcpy(rig_guest(r) + 0x1000, &pte, 4); /* the table maps itself at 0 */
	rig_registers(r, CR0_PE | CR0_PG | CR0_WP, 0, 0, 0);
	rig_access(r, 0x10, ACCESS_WRITE, false, 4, 0);
	enter(r, id, 0x2000, false);
	const struct event before = r->last[EV_TC_FETCH];
	for (unsigned i = 0; i < 10; i++) {
		enter(r, id, 0x2000, false);
		rig_access(r, 0x10 + 4 * i, ACCESS_WRITE, false, 4, 0);
	}
	CU_ASSERT_EQUAL(r->vmm.stats.adapted, 1);
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_PAGE_TABLE_WRITE], 11);
	CU_ASSERT_EQUAL(r->vmm.stats.callouts, r->vmm.stats.exits[EXIT_CALLOUT] + 7); /* three of the fragment trapped */
	CU_ASSERT_EQUAL(r->last[EV_TC_FETCH].aux, before.aux + 3);    /* spill, call, restore */
	CU_ASSERT_EQUAL(r->last[EV_TC_FETCH].id, before.id + 16);     /* bytes */
	CU_ASSERT_NOT_EQUAL(r->last[EV_TC_FETCH].addr, before.addr);  /* translated again, elsewhere */
	rig_end(r);
}

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite s = CU_add_suite("vmm binary translation", NULL, NULL);
	CU_add_test(s, "translated once, chained once", test_translate_once);
	CU_add_test(s, "units", test_units);
	CU_add_test(s, "two successors", test_two_successors);
	CU_add_test(s, "indirect branches, changed code", test_indirect_and_change);
	CU_add_test(s, "full cache", test_cache_full);
	CU_add_test(s, "in place, callouts, user code", test_sensitive);
	CU_add_test(s, "adaptation", test_adaptation);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
