/*
 * Proves that the engines have the same state at the same instruction, all the way: every technique, both widths, functional and with a core model (interrupts by its time), in short
 * turns and long ones. Independent reference: the switch engine.
 */
#include "../machine/lockstep.h"
#include "../isa/engine.h"
#include <CUnit/Basic.h>

static const char *const archs[] = { "i386", "x86_64" };

static void guest_config(struct machine_config *c, const struct technique *t, unsigned wide, const char *cmdline)
{
	machine_config_default(c);
	snprintf(c->kernel, sizeof c->kernel, BINARY_DIR "/workloads/kernel-%s%s.elf", archs[wide], t->paravirtual_guest ? "-pv" : "");
	snprintf(c->module, sizeof c->module, BINARY_DIR "/workloads/programs-%s.cpio", archs[wide]);
	snprintf(c->cmdline, sizeof c->cmdline, "%s", cmdline);
	snprintf(c->technique, sizeof c->technique, "%s", t->name);
	c->max_instructions = 4000000000ull;
}

static void check_engines(const struct machine_config *config, uint64_t step)
{
	for (const struct engine *e = engines; e->name; e++) {
		struct machine_config c = *config;
		struct lockstep_report r;
		char error[640];
		if (!strcmp(e->name, "switch"))
			continue;
		snprintf(c.engine, sizeof c.engine, "%s", e->name);
		bool ran = lockstep_run(&c, "switch", step, &r, error, sizeof error);
		CU_ASSERT_TRUE(ran);
		CU_ASSERT_TRUE(ran && !r.differ && r.instructions > 100000 && r.turns > r.instructions / (64 * 1024 + step));
		if (!ran || r.differ)
			printf("\n    %s under %s, %s, core %s: %s (agreed for %llu instructions; first: %s)\n", e->name, c.technique, c.kernel, c.core, ran ? "differs from switch" : error,
			       ran ? (unsigned long long)r.instructions : 0, ran && r.lines ? r.line[0].name : "-");
	}
}

static void test_techniques(void)
{
	for (const struct technique *t = techniques; t < techniques + TECHNIQUES; t++)
		for (unsigned wide = 0; wide < 2; wide++) {
			struct machine_config c;
			guest_config(&c, t, wide, "init=forkwait n=20");
			check_engines(&c, 1500); /* the core model's time decides when the timer interrupts */
			snprintf(c.core, sizeof c.core, "functional");
			check_engines(&c, 50000);
		}
}

/* A turn of one instruction is a block: nothing is chained. */
static void test_single_blocks(void)
{
	struct machine_config c;
	guest_config(&c, &techniques[0], 1, "notimer init=forkwait n=2");
	snprintf(c.core, sizeof c.core, "functional");
	check_engines(&c, 1);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("lockstep", NULL, NULL);
	CU_add_test(s, "techniques", test_techniques);
	CU_add_test(s, "single blocks", test_single_blocks);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? 1 : 0;
}
