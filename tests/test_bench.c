/*
 * Bench: the guest executes exactly the instructions that workloads/bench.def gives, which QEMU -icount and Bochs counted (the oracle), and ends with its own check passed; figures are those
 * worked out by hand; rows come back from the database as they were written; the command answers in JSON that another program can read, says what it could not measure, refuses what it does not
 * know, and leaves nothing behind when it is interrupted.
 */
#include "analysis/bench_results.h"
#include "cli/bench.h"
#include "machine/machine.h"
#include <CUnit/Basic.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void kernel_check(const struct bench_kernel *k)
{
	struct machine_config c;
	struct run_result r;
	char error[640];
	machine_config_default(&c);
	snprintf(c.core, sizeof c.core, "functional");
	snprintf(c.kernel, sizeof c.kernel, "%s/workloads/bench/%s", BINARY_DIR, k->file);
	c.memory_bytes = 512u << 20;
	struct machine *m = machine_create(&c, error, sizeof error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	CU_ASSERT_FATAL(machine_load(m, error, sizeof error));
	CU_ASSERT_EQUAL(machine_run(m), END_EXIT);
	machine_result(m, &r);
	CU_ASSERT_EQUAL(r.exit_code, 0);
	CU_ASSERT_EQUAL(r.instructions, (uint64_t)k->instructions);
	machine_destroy(m);
}

static void test_counts(void)
{
	for (unsigned i = 0; i < bench_kernel_count; i++)
		kernel_check(&bench_kernels[i]);
}

/* One value of a database as text; "null". */
static void value_read(sqlite3 *sql, const char *query, char *text, size_t size)
{
	sqlite3_stmt *s;
	CU_ASSERT_EQUAL_FATAL(sqlite3_prepare_v2(sql, query, -1, &s, NULL), SQLITE_OK);
	CU_ASSERT_EQUAL_FATAL(sqlite3_step(s), SQLITE_ROW);
	const unsigned char *value = sqlite3_column_text(s, 0);
	snprintf(text, size, "%s", value ? (const char *)value : "null");
	sqlite3_finalize(s);
}

static void test_database(void)
{
	static const struct { const char *query, *value; } expected[] = {
		{ "SELECT count(*) FROM bench", "4" }, { "SELECT max(bench) FROM bench", "2" },
		{ "SELECT seconds FROM bench WHERE bench = 2 AND contestant = 'fixed'", "0.5" }, { "SELECT seconds FROM bench WHERE bench = 1 AND contestant = 'bochs'", "null" },
		{ "SELECT instructions FROM bench WHERE bench = 1 AND contestant = 'fixed'", "86566141" }, { "SELECT version FROM bench WHERE bench = 2 AND contestant = 'fixed'", "it's 1.0" },
		{ "SELECT count(*) FROM bench JOIN provenance ON provenance.id = bench.provenance", "4" },
		{ "SELECT value FROM bench_aims WHERE bench = 2 AND name = 'one'", "0.5" }, { "SELECT met FROM bench_aims WHERE bench = 1 AND name = 'one'", "0" },
		{ "SELECT value FROM bench_aims WHERE bench = 1 AND name = 'two'", "null" }, { "SELECT met FROM bench_aims WHERE bench = 1 AND name = 'two'", "null" },
		{ "SELECT count(*) FROM bench_aims", "4" },
	};
	const struct bench_row rows[] = { { "sort", "fixed", "it's 1.0", 86566141, 3, 0.5, NAN, 0.25 }, { "sort", "bochs", "", 86566141, 3, NAN, NAN, NAN } };
	const struct bench_aim_row aims[] = { { "one", "times", "sort", 1.5, false, 0.5, 0 }, { "two", "MiB", "", 256, true, NAN, -1 } };
	char path[] = "/tmp/ringside-test-bench-XXXXXX", error[640], text[64];
	int fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0);
	close(fd);
	struct results_db *db = results_open(path, error, sizeof error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(db);
	CU_ASSERT(bench_results_write(db, rows, 2, aims, 2, error, sizeof error));
	CU_ASSERT(bench_results_write(db, rows, 2, aims, 2, error, sizeof error));
	const struct bench_row twice[] = { rows[0], rows[0] }; /* the same key: all or nothing */
	CU_ASSERT_FALSE(bench_results_write(db, twice, 2, aims, 2, error, sizeof error));
	results_close(db);
	sqlite3 *sql;
	CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &sql), SQLITE_OK);
	for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) {
		value_read(sql, expected[i].query, text, sizeof text);
		CU_ASSERT_STRING_EQUAL(text, expected[i].value);
	}
	sqlite3_close(sql);
	unlink(path);
}

/* ---- figures ---- */

static void seconds_set(struct bench *b, const char *kernel, enum bench_contestant c, double one, double two, double three)
{
	const double seconds[] = { one, two, three };
	unsigned k = bench_kernel_find(kernel);
	CU_ASSERT_FATAL(k < bench_kernel_count);
	b->chosen[k] = true;
	for (unsigned run = 0; run < 3; run++)
		b->sample[k][c][run] = (struct bench_sample){ seconds[run], 300 * 1048576.0, (k == 1 ? 100 : 60) * 1048576.0 };
}

static const struct bench *bench_made(bool peers)
{
	static struct bench b;
	b = (struct bench){ .runs = 3, .peers = peers };
	for (unsigned k = 0; k < bench_kernel_count; k++)
		for (unsigned c = 0; c < CONTESTANTS; c++)
			for (unsigned run = 0; run < 3; run++)
				b.sample[k][c][run] = (struct bench_sample){ NAN, NAN, NAN };
	for (unsigned c = 0; c < CONTESTANTS; c++)
		seconds_set(&b, "empty", c, 9, 1, 0.5);
	seconds_set(&b, "integer", CONTEST_FUNCTIONAL, 3, 7, 2);  /* 2 seconds without start-up */
	seconds_set(&b, "integer", CONTEST_BOCHS, 17, 16, 18);    /* 16: 8 times */
	seconds_set(&b, "sort", CONTEST_FUNCTIONAL, 5, 5, 5);     /* 4 */
	seconds_set(&b, "sort", CONTEST_BOCHS, 9, 9, 9);          /* 8: 2 times; geometric mean 4 */
	seconds_set(&b, "sort", CONTEST_DBT, 3, 3, 3);            /* 2 */
	seconds_set(&b, "sort", CONTEST_DBT_TLB, 5, 5, 5);        /* 4 */
	seconds_set(&b, "sort", CONTEST_QEMU, 2, 2, 2);           /* 1: half */
	for (unsigned run = 0; run < 3; run++) {
		b.scaling[run] = run ? 1.95 : 1.5;
		for (unsigned r = 0; r < REPLAYS; r++)
			b.replay[r][run] = (struct bench_speed){ r == REPLAY_GUPS && !run ? NAN : 50e6 * (run + 1), 0.5 };
	}
	bench_medians_fill(&b);
	return &b;
}

static void aim_check(const struct bench *b, const char *name, double value, int met, const char *kernel)
{
	unsigned i = 0;
	while (i < bench_aim_count() && strcmp(bench_aim_of(b, i).name, name))
		i++;
	CU_ASSERT_FATAL(i < bench_aim_count());
	struct bench_aim a = bench_aim_of(b, i);
	CU_ASSERT(isnan(value) ? isnan(a.value) : fabs(a.value - value) < 1e-9);
	CU_ASSERT_EQUAL(bench_aim_met(&a), met);
	CU_ASSERT_STRING_EQUAL(a.kernel, kernel);
}

static void test_figures(void)
{
	const struct bench *b = bench_made(true);
	CU_ASSERT_DOUBLE_EQUAL(bench_speed_of(b, bench_kernel_find("integer"), CONTEST_FUNCTIONAL), bench_kernels[bench_kernel_find("integer")].instructions / 2 / 1e6, 1e-9);
	aim_check(b, "interpreter against Bochs, geometric mean", 4, 1, "sort");
	aim_check(b, "interpreter against Bochs, slowest kernel", 2, 1, "sort");
	aim_check(b, "translator against QEMU, sort", 0.5, 0, "sort");
	aim_check(b, "translator against QEMU, integer", NAN, -1, "integer"); /* neither was measured */
	aim_check(b, "translator against QEMU, copy", NAN, -1, "copy");       /* not chosen */
	aim_check(b, "shadow against native, geometric mean", NAN, -1, "");
	aim_check(b, "translator with TLBs and walks against QEMU, geometric mean", 0.25, -1, "sort"); /* integer is missing: no verdict */
	aim_check(b, "replay of a program, TLBs and walks", 200, 1, "sort");
	aim_check(b, "replay of GUPS under nested-ept, TLBs and walks", NAN, -1, "gups256"); /* one run failed */
	aim_check(b, "memory beyond guest RAM touched", 240, -1, "sort"); /* others of ours did not run */
	aim_check(b, "two machines on two processors", 1.95, 1, "sort");
	CU_ASSERT_EQUAL(bench_aim_met(&(struct bench_aim){ .aim = 256, .value = 256, .at_most = true }), 1);
	CU_ASSERT_EQUAL(bench_aim_met(&(struct bench_aim){ .aim = 256, .value = 257, .at_most = true }), 0);
	CU_ASSERT_EQUAL(bench_aim_met(&(struct bench_aim){ .aim = 4, .value = 3.99 }), 0);
	b = bench_made(false); /* peers were not asked for */
	aim_check(b, "interpreter against Bochs, geometric mean", NAN, -1, "");
	aim_check(b, "memory beyond guest RAM touched", 240, -1, "sort"); /* others of ours did not run */
}

/* ---- the command ---- */

static int shell(const char *command)
{
	int status = system(command);
	return status < 0 ? -1 : status >> 8;
}

#define KERNEL "int80" /* short */
#define BENCH BINARY_DIR "/ringside bench "
#define PYTHON " | python3 -c 'import json, sys; b = json.load(sys.stdin); k = b[\"kernels\"]; a = {x[\"name\"]: x for x in b[\"aims\"]}; "

static void test_command(void)
{
	static const char good[] = BENCH "--kernels " KERNEL " --quick --runs 1 --json 2>/dev/null" PYTHON
		"c = k[0][\"contestants\"]; "
		"assert len(k) == 1 and k[0][\"name\"] == \"" KERNEL "\" and len(c) == 8 and len(a) == 19; "
		"assert all(x[\"seconds\"] > 0 and x[\"instructions\"] == k[0][\"instructions\"] and x[\"ratio\"] > 0 for x in c.values()); "
		"assert c[\"dbt-shadow\"][\"against\"] == \"dbt-fixed\"; "
		"assert all((x[\"value\"] is None) == (x[\"met\"] is None) and x[\"aim\"] > 0 for x in a.values()); "
		"assert a[\"memory beyond guest RAM touched\"][\"value\"] > 0 and a[\"shadow against native, geometric mean\"][\"value\"] > 0; "
		"assert a[\"interpreter against Bochs, geometric mean\"][\"value\"] is None; "
		"assert a[\"replay of a program, TLBs and walks\"][\"value\"] is None and a[\"two machines on two processors\"][\"value\"] is None'"; /* not chosen */
	static const char lone[] = "PATH=/nonexistent " BENCH "--kernels empty --runs 1 --peers --json 2>/dev/null" PYTHON
		"assert k == [] and len(a) == 19 and b[\"versions\"][\"qemu\"] is None and all(x[\"met\"] is None for x in a.values())'";
	CU_ASSERT_EQUAL(shell(good), 0);
	CU_ASSERT_EQUAL(shell(lone), 0);
	CU_ASSERT_EQUAL(shell("PATH=/nonexistent " BENCH "--kernels empty --runs 1 --peers 2>&1 | grep -q 'bochs is not there.*apt-get install bochs'"), 0);
	CU_ASSERT_EQUAL(shell("PATH=/nonexistent " BENCH "--kernels empty --runs 1 --peers 2>/dev/null | grep -q 'QEMU.*NOT THERE'"), 0);
	CU_ASSERT_EQUAL(shell(BENCH "--kernels nosuch 2>/dev/null"), 2);
	CU_ASSERT_EQUAL(shell(BENCH "--kernels sorr 2>&1 | grep -q '\"sorr\", the nearest is sort'"), 0);
	CU_ASSERT_EQUAL(shell(BENCH "--runs 0 2>/dev/null"), 2);
	CU_ASSERT_EQUAL(shell(BENCH "--peers=bochs 2>/dev/null"), 2);
	CU_ASSERT_EQUAL(shell("TMPDIR=/nonexistent " BENCH "--kernels empty 2>&1 | grep -q 'set TMPDIR'"), 0);
}

/* What stands beside the kernels: a replay, with what it says of itself; two machines, which end well whatever the computer's processors do otherwise. */
static void test_other_runs(void)
{
	struct bench_place p = { .self = BINARY_DIR "/ringside", .images = BINARY_DIR "/workloads/bench", .scratch = "/tmp/ringside-test-bench-XXXXXX" };
	struct bench_speed speed;
	double times;
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(p.scratch));
	bench_signals_hold();
	CU_ASSERT_EQUAL(bench_replay_run(REPLAY_PROGRAM, &p, &speed), BENCH_GOOD);
	CU_ASSERT(speed.references > 30e6 && speed.references < 60e6 && speed.seconds > 0);
	CU_ASSERT_EQUAL(bench_scaling_run(&p, &times), BENCH_GOOD);
	CU_ASSERT(isnan(times) ? sysconf(_SC_NPROCESSORS_ONLN) == 1 : times > 0);
	snprintf(p.images, sizeof p.images, "/nonexistent");
	CU_ASSERT_EQUAL(bench_scaling_run(&p, &times), sysconf(_SC_NPROCESSORS_ONLN) == 1 ? BENCH_GOOD : BENCH_BAD);
	bench_place_destroy(&p);
	CU_ASSERT_NOT_EQUAL(access(p.scratch, F_OK), 0);
}

/* A signal ends it with status 1 at any time, and nothing is left in the directory that was given to it for temporary files. */
static void test_interruption(void)
{
	static const char *const signals[] = { "INT", "TERM", "HUP" };
	char command[1024];
	for (unsigned i = 0; i < 3; i++) {
		snprintf(command, sizeof command, "python3 -c 'import os, signal as s, subprocess, sys, tempfile, time\n"
			"d = tempfile.mkdtemp()\n"
			"p = subprocess.Popen([\"" BINARY_DIR "/ringside\", \"bench\", \"--runs\", \"15\"], env=dict(os.environ, TMPDIR=d), stderr=subprocess.DEVNULL,\n"
			"    preexec_fn=lambda: s.signal(s.SIG%s, s.SIG_DFL))\n"
			"while not os.listdir(d): time.sleep(0.01)\n"
			"time.sleep(0.%u)\n"
			"p.send_signal(s.SIG%s)\n"
			"status = p.wait()\n"
			"os.rmdir(d)\n"
			"sys.exit(status)'", signals[i], i, signals[i]);
		CU_ASSERT_EQUAL(shell(command), 1);
	}
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("bench", NULL, NULL);
	CU_add_test(suite, "instructions are as counted by QEMU", test_counts);
	CU_add_test(suite, "figures", test_figures);
	CU_add_test(suite, "database", test_database);
	CU_add_test(suite, "command", test_command);
	CU_add_test(suite, "replay, and machines side by side", test_other_runs);
	CU_add_test(suite, "interruption", test_interruption);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
