/*
 * Proves: a sampled run's intervals of confidence hold what the whole run, measured in full, has; windows that leave nothing out give that run exactly, under every technique; leaving
 * models out changes nothing that the guest computes; and a sampled run is the same whatever the event buffer, the batch and the engine are.
 * Reference: the same guests without sampling; Student's t from tables (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
 */
#include "../analysis/results.h"
#include "../traces/trace.h"
#include "guest_config.h"
#include <CUnit/Basic.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char gups[] = "notimer init=gups kib=1024 n=200000", sorting[] = "notimer init=sort n=150000", packing[] = "notimer init=zlib level=6 n=1";

static void config_make(struct machine_config *c, unsigned technique, unsigned width, const char *cmdline)
{
	guest_config(c, &techniques[technique], width, cmdline, 32);
	snprintf(c->core, sizeof c->core, "fixed");
}

static void sampling_set(struct machine_config *c, uint64_t interval, uint64_t warmup, uint64_t window, uint64_t seed)
{
	c->sampling = (struct sampling_config){ true, interval, warmup, window, 0, seed };
}

static struct run_result *guest_run(const struct machine_config *c)
{
	char error[400] = "";
	struct run_result *r = calloc(1, sizeof *r);
	struct machine *m = machine_create(c, error, sizeof error);
	bool loaded = m && machine_load(m, error, sizeof error);
	if (!loaded)
		fprintf(stderr, "%s\n", error);
	CU_ASSERT_FATAL(r && loaded);
	CU_ASSERT_EQUAL(machine_run(m), c->max_instructions < 100000000 ? END_BUDGET : END_EXIT);
	machine_result(m, r);
	machine_destroy(m);
	return r;
}

/* ---- nothing left out ---- */

static void results_compare(const struct run_result *a, const struct run_result *b)
{
	CU_ASSERT_EQUAL(a->instructions, b->instructions);
	CU_ASSERT_EQUAL(a->cycles, b->cycles);
	CU_ASSERT_EQUAL(a->state_hash, b->state_hash);
	CU_ASSERT_EQUAL(a->machine_hash, b->machine_hash);
	CU_ASSERT_EQUAL(memcmp(a->by_cause, b->by_cause, sizeof a->by_cause), 0);
	CU_ASSERT(a->exits == b->exits && a->works == b->works && a->stats == b->stats);
	for (unsigned i = 0; i < a->exits; i++)
		CU_ASSERT(!strcmp(a->exit[i].name, b->exit[i].name) && a->exit[i].count == b->exit[i].count && a->exit[i].transition_cycles == b->exit[i].transition_cycles &&
			a->exit[i].handler_cycles == b->exit[i].handler_cycles);
	for (unsigned i = 0; i < a->works; i++)
		CU_ASSERT(!strcmp(a->work[i].name, b->work[i].name) && a->work[i].value == b->work[i].value);
	for (unsigned i = 0; i < a->stats; i++)
		CU_ASSERT(!strcmp(a->stat[i].name, b->stat[i].name) && a->stat[i].value == b->stat[i].value);
}

static void test_all_measured(void)
{
	static const char *const commands[] = { "notimer init=forkwait n=4", "init=preempt n=3000", "init=nap n=2" };
	for (unsigned t = 0; t < TECHNIQUES; t++)
		for (unsigned i = 0; i < 3; i++) {
			struct machine_config c;
			config_make(&c, t, t & 1 ? 32 : 64, commands[i]);
			struct run_result *whole = guest_run(&c);
			sampling_set(&c, 7001, 0, 7001, t + 1);
			c.sampling.head = i * 5000;
			struct run_result *sampled = guest_run(&c);
			results_compare(whole, sampled);
			CU_ASSERT_EQUAL(sampled->sampling.measured, sampled->instructions);
			CU_ASSERT_EQUAL(sampled->sampling.skips, 0);
			CU_ASSERT(sampled->sampling.windows > 1);
			const struct result_estimate *e = sampling_estimate(sampled, "cycles");
			CU_ASSERT(e && e->error == 0);
			free(whole);
			free(sampled);
		}
}

/* ---- intervals ---- */

#define SEEDS 6

struct score { unsigned inside, all; };

/* A quantity of the whole run against its interval. */
static void interval_check(const struct run_result *r, const char *name, double truth, struct score *score)
{
	const struct result_estimate *e = sampling_estimate(r, name);
	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	double off = fabs(e->mean - truth);
	score->all++;
	score->inside += off <= sampling_half_width(r, e, 0.95);
	if (off > sampling_half_width(r, e, 0.997))
		printf("  %s: %.6f, in truth %.6f, +- %.6f\n", name, e->mean, truth, sampling_half_width(r, e, 0.997));
	CU_ASSERT(off <= sampling_half_width(r, e, 0.997));
}

/* Ended before the program prints: a burst of port accesses that is shorter than the interval, and most of the cycles of the windows that meet it, is what no interval can promise. */
static void intervals_check(unsigned technique, const char *cmdline, uint64_t instructions, struct score *score)
{
	struct machine_config c;
	config_make(&c, technique, 64, cmdline);
	c.max_instructions = instructions;
	struct run_result *whole = guest_run(&c);
	double n = (double)whole->instructions;
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		sampling_set(&c, 40000, 40000, 4000, seed);
		c.sampling.head = 500000;
		struct run_result *r = guest_run(&c);
		CU_ASSERT_EQUAL(r->state_hash, whole->state_hash);
		CU_ASSERT_EQUAL(r->machine_hash, whole->machine_hash);
		CU_ASSERT_EQUAL(r->instructions, whole->instructions);
		CU_ASSERT(isfinite(r->sampling.skewness) && r->sampling.skewness != 0);
		CU_ASSERT(r->sampling.windows > 50 && r->sampling.measured < whole->instructions / 4);
		interval_check(r, "cycles", (double)(whole->cycles - whole->by_cause[CAUSE_IDLE]) / n, score);
		free(r);
	}
	free(whole);
}

static void test_intervals(void)
{
	static const struct { const char *command; uint64_t instructions; } rows[] = { { gups, 8000000 }, { sorting, 15000000 }, { packing, 6400000 } };
	struct score score = { 0, 0 };
	for (unsigned i = 0; i < 3; i++) {
		intervals_check(TECHNIQUE_NATIVE, rows[i].command, rows[i].instructions, &score);
		intervals_check(i == 0 ? TECHNIQUE_NESTED_EPT : TECHNIQUE_SHADOW, rows[i].command, rows[i].instructions, &score);
	}
	printf("  %u of %u inside 95 %% ", score.inside, score.all);
	CU_ASSERT(score.inside * 100 >= score.all * 85);
}

/* ---- models left out ---- */

static void skipping_run(unsigned technique, unsigned width, const char *cmdline)
{
	struct machine_config c;
	config_make(&c, technique, width, cmdline);
	struct run_result *whole = guest_run(&c);
	sampling_set(&c, 30000, 3000, 1000, 3);
	struct run_result *r = guest_run(&c);
	CU_ASSERT_EQUAL(r->state_hash, whole->state_hash);
	CU_ASSERT_EQUAL(r->machine_hash, whole->machine_hash);
	CU_ASSERT_EQUAL(r->instructions, whole->instructions);
	CU_ASSERT(r->sampling.windows > 5 && r->sampling.skips + 1 >= r->sampling.windows);
	CU_ASSERT_EQUAL(r->exits, whole->exits);
	for (unsigned i = 0; i < r->exits && i < whole->exits; i++)
		CU_ASSERT_EQUAL(r->exit[i].count, whole->exit[i].count); /* the VMM works all the time */
	uint64_t sum = 0;
	for (unsigned i = 0; i < CAUSES; i++)
		sum += r->by_cause[i];
	CU_ASSERT_EQUAL(sum, r->cycles);
	free(whole);
	free(r);
}

static void test_skipping(void)
{
	for (unsigned t = 0; t < TECHNIQUES; t++) {
		skipping_run(t, 64, "notimer init=forkwait n=6");
		skipping_run(t, 32, "notimer init=sort n=3000");
	}
}

/* With a timer: its ticks fall by estimated time, the same every time. */
static void test_same_run(void)
{
	static const struct { unsigned buffer; uint64_t batch; const char *engine; unsigned softtlb; } rows[] = { { 4096, 1u << 22, "threaded", 4096 }, { 2, 1u << 22, "threaded", 4096 },
		{ 4096, 500, "threaded", 1 }, { 64, 777, "switch", 64 }, { 4096, 1u << 22, "dbt", 4096 }, { 64, 999, "dbt", 16 } };
	for (unsigned t = 0; t < TECHNIQUES; t++) {
		struct run_result *first = NULL;
		for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct machine_config c;
			config_make(&c, t, t & 1 ? 64 : 32, "init=preempt n=4000");
			sampling_set(&c, 20000, 2000, 1000, 5);
			c.event_buffer = rows[i].buffer;
			c.batch = rows[i].batch;
			c.softtlb_entries = rows[i].softtlb;
			snprintf(c.engine, sizeof c.engine, "%s", rows[i].engine);
			struct run_result *r = guest_run(&c);
			if (first) {
				results_compare(first, r);
				CU_ASSERT_EQUAL(memcmp(first->sampling.estimate, r->sampling.estimate, sizeof r->sampling.estimate), 0);
				free(r);
			} else {
				first = r;
			}
		}
		CU_ASSERT(first->sampling.skips > 5);
		free(first);
	}
}

/* Time goes on while no model keeps it: naps take as long as they take, and are known, not estimated. */
static void test_time(void)
{
	struct machine_config c;
	config_make(&c, TECHNIQUE_NATIVE, 64, "init=nap n=3");
	struct run_result *whole = guest_run(&c);
	sampling_set(&c, 20000, 2000, 1000, 1);
	struct run_result *r = guest_run(&c);
	double ratio = (double)r->cycles / (double)whole->cycles;
	CU_ASSERT(whole->by_cause[CAUSE_IDLE] > whole->cycles / 2);
	CU_ASSERT(ratio > 0.9 && ratio < 1.1);
	CU_ASSERT_EQUAL(r->by_cause[CAUSE_IDLE], r->sampling.idle);
	free(whole);
	free(r);
}

/* ---- refusals and arithmetic ---- */

static void refusal_check(const struct machine_config *c, const char *says)
{
	char error[400] = "";
	struct machine *m = machine_create(c, error, sizeof error);
	CU_ASSERT_PTR_NULL(m);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, says));
	machine_destroy(m);
}

static void test_refusals(void)
{
	struct machine_config c;
	char error[400] = "";
	config_make(&c, TECHNIQUE_NATIVE, 64, gups);
	sampling_set(&c, 1000, 0, 0, 1);
	refusal_check(&c, "sampling.window");
	sampling_set(&c, 1000, 0, 1001, 1);
	refusal_check(&c, "sampling.window");
	sampling_set(&c, 1000, UINT64_MAX, 10, 1);
	refusal_check(&c, "sampling.warmup");
	sampling_set(&c, 1000, 10, 10, 1);
	snprintf(c.core, sizeof c.core, "functional");
	refusal_check(&c, "machine.core");
	c.tlb_only = true;
	refusal_check(&c, "machine.core");
	snprintf(c.core, sizeof c.core, "fixed");
	struct machine *m = machine_create(&c, error, sizeof error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	CU_ASSERT_PTR_NULL(trace_writer_open("/tmp/ringside-sampling-never.trace", m, "", error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "sampling.on=false"));
	CU_ASSERT_NOT_EQUAL(access("/tmp/ringside-sampling-never.trace", F_OK), 0);
	machine_destroy(m);
}

/* A run that ends before its first window has no estimate, and says so. */
static void test_short_run(void)
{
	struct machine_config c;
	char *text;
	size_t size;
	config_make(&c, TECHNIQUE_NATIVE, 64, "notimer init=forkwait n=1");
	sampling_set(&c, 1ull << 40, 10, 10, 1);
	struct run_result *r = guest_run(&c);
	CU_ASSERT(r->sampling.windows == 0 && r->sampling.estimates == 0 && r->sampling.skewness == 0 && r->cycles == 0);
	FILE *out = open_memstream(&text, &size);
	CU_ASSERT_FATAL(out != NULL);
	sampling_print(out, r);
	fclose(out);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "before the first window"));
	free(text);
	free(r);
}

static void test_student(void)
{
	CU_ASSERT_DOUBLE_EQUAL(statistics_half_width(1, 11, 0.95), 2.228, 0.0005);
	CU_ASSERT_DOUBLE_EQUAL(statistics_half_width(2, 31, 0.95), 2 * 2.042, 0.001);
	CU_ASSERT_DOUBLE_EQUAL(statistics_half_width(1, 1000000, 0.997), 2.9677, 0.0005); /* the normal distribution's */
	CU_ASSERT(isnan(statistics_half_width(1, 1, 0.95)));
	CU_ASSERT_EQUAL(statistics_half_width(0, 1, 0.95), 0);
}

/* Four times the windows halve an interval. */
static void test_windows_wanted(void)
{
	struct run_result *r = calloc(1, sizeof *r);
	CU_ASSERT_FATAL(r != NULL);
	r->sampling.windows = 1000000;
	r->sampling.estimates = 1;
	snprintf(r->sampling.estimate[0].name, sizeof r->sampling.estimate[0].name, "cycles");
	r->sampling.estimate[0].mean = 2;
	r->sampling.estimate[0].error = 0.04 / 2.9677; /* +- 2 % with 99.7 % */
	CU_ASSERT_DOUBLE_EQUAL((double)sampling_windows_wanted(r, 0.02, 0.997), 1e6, 2e3);
	CU_ASSERT_DOUBLE_EQUAL((double)sampling_windows_wanted(r, 0.01, 0.997), 4e6, 8e3);
	r->sampling.windows = 1;
	CU_ASSERT_EQUAL(sampling_windows_wanted(r, 0.01, 0.997), 0);
	free(r);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("sampling", NULL, NULL);
	CU_add_test(s, "everything measured is the run", test_all_measured);
	CU_add_test(s, "intervals hold the truth", test_intervals);
	CU_add_test(s, "models left out", test_skipping);
	CU_add_test(s, "one run whatever the buffers", test_same_run);
	CU_add_test(s, "time without models", test_time);
	CU_add_test(s, "refusals", test_refusals);
	CU_add_test(s, "a run too short", test_short_run);
	CU_add_test(s, "Student's t", test_student);
	CU_add_test(s, "windows wanted", test_windows_wanted);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
