/*
 * Proves that a replay is the run: for each technique of the registry, on workloads of both widths, a recording replayed under its own technique gives every statistic of the run, and a
 * native recording replayed under every other technique gives that technique's own execution, where the guest's path does not depend on time. The reference is the execution-driven run.
 * Also: what does not fit (memory size, damage on the way) is told.
 */
#include <CUnit/Basic.h>
#include "cli/config.h"
#include "traces/trace.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char path[] = "test_replay.trace";

/* Machine configuration of a workload under a technique. */
static struct machine_config configuration(const char *workload, const char *width, const char *technique, const char *extra)
{
	struct config c;
	struct settings s = { 0 };
	struct machine_config m;
	char error[1200], text[200];
	config_default(&c);
	settings_add(&s, "images=" BINARY_DIR "/workloads", error, sizeof error);
	snprintf(text, sizeof text, "workload=%s", workload);
	settings_add(&s, text, error, sizeof error);
	snprintf(text, sizeof text, "width=%s", width);
	settings_add(&s, text, error, sizeof error);
	if (extra)
		settings_add(&s, extra, error, sizeof error);
	CU_ASSERT_TRUE_FATAL(config_apply(&c, &s, error, sizeof error));
	CU_ASSERT_TRUE_FATAL(config_machine(&c, technique, &m, error, sizeof error));
	settings_destroy(&s);
	return m;
}

/* Runs and, if asked, records. */
static void run(const struct machine_config *c, bool record, struct run_result *r)
{
	char error[640] = "";
	struct machine *m = machine_create(c, error, sizeof error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	struct trace_writer *w = record ? trace_writer_open(path, m, "", error, sizeof error) : NULL;
	CU_ASSERT_TRUE_FATAL(machine_load(m, error, sizeof error));
	if (w)
		trace_writer_start(w);
	CU_ASSERT_EQUAL(machine_run(m), END_EXIT);
	machine_result(m, r);
	if (w)
		CU_ASSERT_TRUE(trace_writer_close(w, r, error, sizeof error));
	machine_destroy(m);
}

static void replay(const struct machine_config *c, struct run_result *r)
{
	char error[640] = "";
	struct machine *m = machine_create(c, error, sizeof error);
	struct trace_reader *t = trace_reader_open(path, error, sizeof error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	CU_ASSERT_TRUE(trace_replay(t, m, NULL, NULL, error, sizeof error));
	if (error[0])
		printf("    %s\n", error);
	machine_result(m, r);
	trace_reader_close(t);
	machine_destroy(m);
}

struct list { char name[400][96]; uint64_t value[400]; unsigned n; };

static bool list_add(void *self, const char *name, uint64_t value)
{
	struct list *l = self;
	snprintf(l->name[l->n], sizeof l->name[0], "%s", name);
	l->value[l->n++] = value;
	return l->n < 400;
}

/* Every statistic by name. Returns how many differ, and says which. */
static unsigned differences(const struct run_result *a, const struct run_result *b, const char *what)
{
	struct list x = { .n = 0 }, y = { .n = 0 };
	unsigned different = 0;
	trace_result_stats(a, list_add, &x);
	trace_result_stats(b, list_add, &y);
	CU_ASSERT_EQUAL(x.n, y.n);
	CU_ASSERT_TRUE(x.n > 30);
	for (unsigned i = 0; i < x.n && i < y.n; i++)
		if (strcmp(x.name[i], y.name[i]) || x.value[i] != y.value[i]) {
			different++;
			printf("    %s: %s is %llu, %s in replay %llu\n", what, x.name[i], (unsigned long long)x.value[i], y.name[i], (unsigned long long)y.value[i]);
		}
	return different;
}

static void check_workload(const char *workload, const char *width)
{
	struct run_result execution[TECHNIQUES], again;
	char what[120];
	for (unsigned t = 0; t < TECHNIQUES; t++) { /* each under its own recording */
		struct machine_config c = configuration(workload, width, techniques[t].name, NULL);
		run(&c, true, &execution[t]);
		replay(&c, &again);
		snprintf(what, sizeof what, "%s %s, own recording, %s", workload, width, techniques[t].name);
		CU_ASSERT_EQUAL(differences(&execution[t], &again, what), 0);
		CU_ASSERT_EQUAL(again.state_hash, execution[t].state_hash);
		CU_ASSERT_EQUAL(again.mode, RUN_REPLAY);
		CU_ASSERT_EQUAL(again.end, END_EXIT);
	}
	struct machine_config native = configuration(workload, width, techniques[TECHNIQUE_NATIVE].name, NULL);
	run(&native, true, &again);
	for (unsigned t = 0; t < TECHNIQUES; t++) {
		struct machine_config c = configuration(workload, width, techniques[t].name, NULL);
		if (techniques[t].paravirtual_guest)
			continue;
		replay(&c, &again);
		snprintf(what, sizeof what, "%s %s, native recording, %s", workload, width, techniques[t].name);
		CU_ASSERT_EQUAL(differences(&execution[t], &again, what), 0);
	}
	unlink(path);
}

static void test_forkwait(void) { check_workload("forkwait", "64"); }
static void test_faults(void) { check_workload("faults", "64"); }
static void test_ptstorm(void) { check_workload("ptstorm", "32"); }
static void test_pingpong(void) { check_workload("pingpong", "32"); }
static void test_zlib(void) { check_workload("zlib", "64"); }

/* The guest's path depends on time here: its own recording is exact all the same, and another technique's is near. */
static void test_timer(void)
{
	struct run_result execution, again;
	for (unsigned t = 0; t < TECHNIQUES; t++) {
		struct machine_config c = configuration("nap", "64", techniques[t].name, NULL);
		run(&c, true, &execution);
		replay(&c, &again);
		CU_ASSERT_EQUAL(differences(&execution, &again, techniques[t].name), 0);
	}
	struct machine_config native = configuration("nap", "64", "native", NULL), shadow = configuration("nap", "64", "shadow", NULL);
	run(&shadow, false, &execution);
	run(&native, true, &again);
	replay(&shadow, &again);
	CU_ASSERT_TRUE((double)again.cycles < 1.02 * (double)execution.cycles && (double)again.cycles > 0.98 * (double)execution.cycles);
	unlink(path);
}

/* Buffers, presets, TLBs: the machine may be another one, the trace need not care. */
static void test_variations(void)
{
	static const char *const extra[] = { "machine.event_buffer=2", "machine.softtlb_entries=1", "machine.preset=prescott", "preset.tlb.l2.entries=12", "vmm.ept_page_shift=21" };
	struct run_result execution, again;
	struct machine_config native = configuration("pgfault", "64", "native", NULL);
	run(&native, true, &again);
	for (unsigned i = 0; i < sizeof extra / sizeof *extra; i++) {
		struct machine_config c = configuration("pgfault", "64", "nested-ept", extra[i]);
		run(&c, false, &execution);
		replay(&c, &again);
		CU_ASSERT_EQUAL(differences(&execution, &again, extra[i]), 0);
	}
	unlink(path);
}

/* References that pass while they are decoded, and all of them read from batches. */
static void test_passing(void)
{
	static const char *const core[] = { "machine.core=tlb", "machine.core=fixed" };
	struct run_result passed, read;
	struct machine_config native = configuration("forkwait", "64", "native", NULL);
	run(&native, true, &read);
	for (unsigned i = 0; i < 2 * TECHNIQUES; i++) {
		const struct technique *t = &techniques[i / 2];
		struct machine_config c = configuration("forkwait", "64", t->name, core[i % 2]);
		if (t->paravirtual_guest)
			continue;
		replay(&c, &passed);
		c.event_filter = false;
		replay(&c, &read);
		CU_ASSERT_EQUAL(differences(&read, &passed, t->name), 0);
	}
	unlink(path);
}

static void test_refusals(void)
{
	char error[640] = "";
	struct run_result r;
	struct machine_config c = configuration("syscall", "64", "native", NULL), small;
	run(&c, true, &r);
	small = c;
	small.memory_bytes = 8 << 20;
	struct machine *m = machine_create(&small, error, sizeof error);
	struct trace_reader *t = trace_reader_open(path, error, sizeof error);
	CU_ASSERT_FALSE(trace_replay(t, m, NULL, NULL, error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "machine.memory"));
	trace_reader_close(t);
	machine_destroy(m);
	unlink(path);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("replay", NULL, NULL);
	CU_add_test(s, "forkwait, 64 bits", test_forkwait);
	CU_add_test(s, "faults, 64 bits", test_faults);
	CU_add_test(s, "ptstorm, 32 bits", test_ptstorm);
	CU_add_test(s, "pingpong, 32 bits", test_pingpong);
	CU_add_test(s, "zlib, 64 bits", test_zlib);
	CU_add_test(s, "a path that depends on time", test_timer);
	CU_add_test(s, "other machines", test_variations);
	CU_add_test(s, "what passes, and what is read", test_passing);
	CU_add_test(s, "what does not fit", test_refusals);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
