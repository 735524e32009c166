/*
 * Proves: nothing that makes the simulator fast shows in a result. The hostile machine has a softtlb of one entry and an event buffer of two, and runs one block in a go, or forgets every
 * cached translation and block again and again; the result must equal the ordinary machine's byte for byte: every cycle, exit, TLB and cache counter, the guest's state, under every technique and
 * engine, timer on. So must every way to consume events: scalar and vector code for the caches, in order or staged by level, the TLB filter on or off, batches of any size.
 *
 * The reference is the ordinary machine; that the ordinary machine is right is what the other suites prove.
 */
#include "guest_config.h"
#include <CUnit/Basic.h>
#include <stdlib.h>

static void config_fill(struct machine_config *c, const struct technique *t, unsigned width, const char *cmdline)
{
	guest_config(c, t, width, cmdline, 16);
	snprintf(c->core, sizeof(c->core), "fixed");
	snprintf(c->preset_name, sizeof(c->preset_name), "%s", width == 64 ? "skylake" : "prescott");
	c->preset = *preset_find(c->preset_name);
}

static void result_of(const struct machine_config *c, struct run_result *r)
{
	char error[256] = "";
	struct machine *m = machine_create(c, error, sizeof(error));

	memset(r, 0, sizeof(*r));
	if (m && machine_load(m, error, sizeof(error))) {
		machine_run(m);
		machine_result(m, r);
	} else {
		CU_FAIL(error);
		printf("  %s\n", error);
	}
	machine_destroy(m);
	memset(r->engine, 0, sizeof(r->engine)); /* the one field that may differ */
}

/* Says what differs, then fails. */
static void results_compare(const struct run_result *a, const struct run_result *b, const char *how)
{
	for (unsigned i = 0; i < a->stats; i++)
		if (a->stat[i].value != b->stat[i].value)
			printf("  %s %u-bit %s: %s is %llu, not %llu\n", a->technique, a->width, how, b->stat[i].name, (unsigned long long)b->stat[i].value, (unsigned long long)a->stat[i].value);
	for (unsigned i = 0; i < a->exits; i++)
		if (a->exit[i].count != b->exit[i].count)
			printf("  %s %u-bit %s: exits %s %llu, not %llu\n", a->technique, a->width, how, b->exit[i].name, (unsigned long long)b->exit[i].count, (unsigned long long)a->exit[i].count);
	CU_ASSERT_EQUAL(a->end, END_EXIT);
	CU_ASSERT_NOT_EQUAL(a->cycles, 0);
	CU_ASSERT_EQUAL(a->cycles, b->cycles);
	CU_ASSERT_EQUAL(memcmp(a, b, sizeof(*a)), 0);
}

static void hostile_run(unsigned technique, unsigned width, const char *cmdline)
{
	struct machine_config c;
	struct run_result *ordinary = malloc(sizeof(*ordinary)), *hostile = malloc(sizeof(*hostile));

	config_fill(&c, &techniques[technique], width, cmdline);
	result_of(&c, ordinary);
	for (const struct engine *e = engines; e->name; e++) {
		config_fill(&c, &techniques[technique], width, cmdline);
		snprintf(c.engine, sizeof(c.engine), "%s", e->name);
		result_of(&c, hostile);
		results_compare(ordinary, hostile, e->name);
		c.softtlb_entries = 1;
		c.event_buffer = 2;
		c.batch = 1;
		result_of(&c, hostile);
		results_compare(ordinary, hostile, "with tiny limits");
		c.batch = 999;
		c.forgetful = true;
		result_of(&c, hostile);
		results_compare(ordinary, hostile, "forgetful");
		c.forgetful = false;
		c.block_cache_bytes = 20000;
		result_of(&c, hostile);
		results_compare(ordinary, hostile, "with a tiny block cache");
	}
	free(ordinary);
	free(hostile);
}

/* Some way to write and consume events: each choice goes round at its own pace, so that in 36 ways any two of any two choices meet. */
static void way_set(struct machine_config *c, unsigned way)
{
	static const unsigned buffers[] = { 2, 4096, 65536 };
	enum lru_variant lru = (enum lru_variant)(way / 9 % LRU_VARIANTS);

	snprintf(c->consume, sizeof(c->consume), "%s", consume_name(way % CONSUMES));
	c->event_buffer = buffers[way / 3 % 3];
	c->preset.lru = lru_variant_runs(lru) ? lru : LRU_SCALAR;
	snprintf(c->engine, sizeof(c->engine), "%s", way & 1 ? "dbt" : "threaded");
	c->event_filter = way & 2;
	c->preset.tlb.no_filter = way % 5 == 4;
}

/*
 * Every way to write and consume events faster: left out by the filter in front of them or all written, one by one or staged by level, caches in scalar code, AVX2 or AVX-512, the TLB filter
 * on or off, batches of two events, of 4 Ki or of 64 Ki.
 */
static void variants_run(unsigned technique, unsigned width, const char *cmdline)
{
	struct machine_config c;
	struct run_result *plain = malloc(sizeof(*plain)), *variant = malloc(sizeof(*variant));
	char how[128];

	config_fill(&c, &techniques[technique], width, cmdline);
	c.preset.lru = LRU_SCALAR;
	c.preset.tlb.no_filter = true;
	c.event_buffer = 2;
	c.event_filter = false;
	snprintf(c.consume, sizeof(c.consume), "in-order");
	result_of(&c, plain);
	for (unsigned way = 0; way < 36; way++) {
		way_set(&c, way);
		result_of(&c, variant);
		snprintf(how, sizeof(how), "%s, %s, %u events, cache code %d, events %s, TLB filter %s", c.engine, c.consume, c.event_buffer, c.preset.lru, c.event_filter ? "left out" : "all written",
			 c.preset.tlb.no_filter ? "off" : "on");
		results_compare(plain, variant, how);
	}
	free(plain);
	free(variant);
}

/* An interrupt is taken at the first block boundary at or after its time, however many instructions run in one go: whatever takes long ends a batch. */
static void deadlines(void)
{
	struct machine_config c;
	struct run_result *one = malloc(sizeof(*one)), *many = malloc(sizeof(*many));

	for (unsigned width = 32; width <= 64; width += 32)
		for (unsigned t = 0; t < TECHNIQUES; t++) {
			config_fill(&c, &techniques[t], width, "init=all");
			snprintf(c.preset_name, sizeof(c.preset_name), "prescott"); /* the longest exits */
			c.preset = *preset_find(c.preset_name);
			c.memory_bytes = 32u << 20;
			result_of(&c, many);
			c.batch = 1;
			result_of(&c, one);
			results_compare(one, many, "with as many instructions in one go as can be");
		}
	free(one);
	free(many);
}

static void every_technique(const char *cmdline)
{
	for (unsigned width = 32; width <= 64; width += 32)
		for (unsigned t = 0; t < TECHNIQUES; t++)
			hostile_run(t, width, cmdline);
}

static void processes(void) { every_technique("init=forkwait n=3"); }
static void page_tables(void) { every_technique("init=ptstorm n=1 pages=32"); }
static void faults(void) { every_technique("init=faults"); }
static void consumers(void)
{
	for (unsigned width = 32; width <= 64; width += 32)
		for (unsigned t = 0; t < TECHNIQUES; t++) {
			variants_run(t, width, "init=forkwait n=3");
			variants_run(t, width, "init=ptstorm n=1 pages=32");
		}
}
static void preemption(void) { every_technique("init=preempt n=3000"); }

int main(void)
{
	CU_pSuite s;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	s = CU_add_suite("hostile", NULL, NULL);
	CU_add_test(s, "fork and wait", processes);
	CU_add_test(s, "page-table storm", page_tables);
	CU_add_test(s, "faults", faults);
	CU_add_test(s, "preemption", preemption);
	CU_add_test(s, "deadlines", deadlines);
	CU_add_test(s, "every way to consume events", consumers);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
