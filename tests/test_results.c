/*
 * Proves that the database holds whole runs only (even when the writer is killed), that damage is told in one line, that the views give what was written, and that the statistics are
 * right: against NIST's certified values for Longley's data (Statistical Reference Datasets, "Longley"), and Student's t as tabulated.
 */
#include <CUnit/Basic.h>
#include "analysis/results.h"
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char path[] = "test_results.db";

static void files_remove(void)
{
	unlink("test_results.db");
	unlink("test_results.db-wal");
	unlink("test_results.db-shm");
}

static struct run_result sample(const char *technique, enum run_mode mode, uint64_t cycles)
{
	struct run_result r = { .core = "fixed", .engine = "threaded", .preset = "skylake", .workload = "sort", .width = 64, .mode = mode, .end = END_EXIT, .instructions = 1000, .cycles = cycles,
		.state_hash = 0xfedcba9876543210ull, .exits = 1, .works = 1, .stats = 3, .regions = 1, .unknown = 1, .emulated = 10 };
	snprintf(r.technique, sizeof r.technique, "%s", technique);
	for (unsigned c = 0; c < CAUSES; c++)
		r.by_cause[c] = cycles / CAUSES + (c < cycles % CAUSES);
	r.exit[0] = (struct result_exit){ "cpuid", 5, 500, 70 };
	r.work[0] = (struct result_metric){ "emulation", 70 };
	r.stat[0] = (struct result_metric){ "tlb.l1d.miss", 11 };
	r.stat[1] = (struct result_metric){ "walk.count", 10 };
	r.stat[2] = (struct result_metric){ "walk.refs", 45 };
	r.region[0] = (struct result_region){ 3, 1, 100, 50 };
	r.unknown_opcode[0] = (struct result_metric){ "fsin", 2 };
	return r;
}

/* The first column of the first row as text, "" when there is none. */
static const char *query(const char *sql)
{
	static char text[4096];
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	text[0] = 0;
	if (sqlite3_open(path, &db) == SQLITE_OK && sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		snprintf(text, sizeof text, "%s", sqlite3_column_type(s, 0) == SQLITE_NULL ? "NULL" : (const char *)sqlite3_column_text(s, 0));
	sqlite3_finalize(s);
	sqlite3_close(db);
	return text;
}

static void test_write(void)
{
	char error[640];
	files_remove();
	struct results_db *db = results_open(path, error, sizeof error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(db);
	struct run_result runs[] = { sample("native", RUN_EXECUTION, 1003), sample("shadow", RUN_EXECUTION, 2006), sample("shadow", RUN_REPLAY, 2026) };
	compare_fill(runs, 3);
	int64_t group = results_new_comparison(db, "title", error, sizeof error);
	CU_ASSERT_EQUAL(group, 1);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(results_write(db, &runs[i], "technique: x\n", group, error, sizeof error), i + 1);
	CU_ASSERT_TRUE(results_write(db, &runs[0], "other: y\n", 0, error, sizeof error) == 4);
	results_close(db);
	CU_ASSERT_STRING_EQUAL(query("SELECT count(*) FROM v_compare WHERE comparison = 1"), "3");
	CU_ASSERT_STRING_EQUAL(query("SELECT state_hash FROM v_compare"), "fedcba9876543210");
	CU_ASSERT_STRING_EQUAL(query("SELECT overhead FROM v_compare WHERE technique = 'shadow' AND mode = 'execution'"), "2.0");
	CU_ASSERT_STRING_EQUAL(query("SELECT round(cycles_error, 6) FROM v_replay"), "0.00997");
	CU_ASSERT_STRING_EQUAL(query("SELECT cycles_error FROM runs WHERE mode = 'execution'"), "NULL");
	CU_ASSERT_STRING_EQUAL(query("SELECT comparison FROM runs WHERE id = 4"), "NULL");
	CU_ASSERT_STRING_EQUAL(query("SELECT equivalent FROM runs WHERE id = 2"), "1");
	CU_ASSERT_STRING_EQUAL(query("SELECT sum(cycles) FROM v_cycles_by_cause WHERE run = 1"), "1003");
	CU_ASSERT_STRING_EQUAL(query("SELECT cycles FROM v_exits WHERE run = 1"), "570");
	CU_ASSERT_STRING_EQUAL(query("SELECT count(*) FROM v_walks WHERE run = 1"), "3");
	CU_ASSERT_STRING_EQUAL(query("SELECT mnemonic FROM unknown_opcodes"), "fsin");
	CU_ASSERT_STRING_EQUAL(query("SELECT text FROM configurations c JOIN runs r ON r.configuration = c.hash WHERE r.id = 4"), "other: y\n");
	CU_ASSERT_STRING_EQUAL(query("SELECT count(*) FROM configurations"), "2");
	CU_ASSERT_STRING_EQUAL(query("SELECT count(*) FROM provenance"), "1");
	CU_ASSERT_STRING_EQUAL(query("SELECT program FROM provenance"), results_program_version());
	CU_ASSERT_STRING_EQUAL(query("PRAGMA journal_mode"), "wal");
	CU_ASSERT_STRING_EQUAL(query("PRAGMA foreign_key_check"), "");
	db = results_open(path, error, sizeof error); /* opens again and goes on */
	CU_ASSERT_PTR_NOT_NULL_FATAL(db);
	CU_ASSERT_EQUAL(results_write(db, &runs[0], "other: y\n", 0, error, sizeof error), 5);
	results_close(db);
	files_remove();
}

/* A writer killed at any moment: each run that is there has all its parts. */
static void test_kill(void)
{
	char error[640];
	files_remove();
	for (int round = 0; round < 12; round++) {
		pid_t child = fork();
		if (child == 0) {
			struct results_db *db = results_open(path, error, sizeof error);
			struct run_result r = sample("native", RUN_EXECUTION, 500);
			for (;;)
				if (!db || results_write(db, &r, "x\n", 0, error, sizeof error) < 0)
					_exit(1);
		}
		usleep(20000 + 7919u * (unsigned)round);
		kill(child, SIGKILL);
		int status;
		waitpid(child, &status, 0);
		CU_ASSERT_TRUE(WIFSIGNALED(status));
	}
	char causes[32];
	snprintf(causes, sizeof causes, "%d", CAUSES);
	CU_ASSERT_STRING_EQUAL(query("PRAGMA integrity_check"), "ok");
	CU_ASSERT_TRUE(atoi(query("SELECT count(*) FROM runs")) > 0);
	CU_ASSERT_STRING_EQUAL(query("SELECT min((SELECT count(*) FROM causes WHERE run = id)) FROM runs"), causes);
	CU_ASSERT_STRING_EQUAL(query("SELECT count(*) FROM causes WHERE run NOT IN (SELECT id FROM runs)"), "0");
	CU_ASSERT_STRING_EQUAL(query("SELECT min((SELECT count(*) FROM unknown_opcodes WHERE run = id)) FROM runs"), "1");
	files_remove();
}

static void refuse(const char *what)
{
	char error[640] = "";
	struct results_db *db = results_open(path, error, sizeof error);
	CU_ASSERT_PTR_NULL(db);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, path));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, what));
	results_close(db);
}

static int text_is(void *expected, int columns, char **value, char **name)
{
	(void)columns, (void)name;
	CU_ASSERT_STRING_EQUAL(value[0], (const char *)expected);
	return 0;
}

static void test_damage(void)
{
	char error[640];
	static const char text[] = "This file is not a database, whatever its name may say; it is long enough for a header, though: 0123456789 0123456789.";
	sqlite3 *other;
	files_remove();
	FILE *f = fopen(path, "wb");
	fwrite(text, 1, sizeof text, f);
	fclose(f);
	refuse("not a database");
	files_remove();
	sqlite3_open(path, &other); /* somebody else's database */
	sqlite3_exec(other, "CREATE TABLE mine (x)", NULL, NULL, NULL);
	sqlite3_close(other);
	refuse("not a results database");
	sqlite3_open(path, &other); /* which stays as it was */
	CU_ASSERT_EQUAL(sqlite3_exec(other, "PRAGMA journal_mode", text_is, "delete", NULL), SQLITE_OK);
	sqlite3_close(other);
	files_remove();
	struct results_db *db = results_open(path, error, sizeof error);
	struct run_result r = sample("native", RUN_EXECUTION, 500);
	results_write(db, &r, "x\n", 0, error, sizeof error);
	results_close(db);
	f = fopen(path, "r+b"); /* the schema's first page */
	fseek(f, 100, SEEK_SET);
	for (int i = 0; i < 3000; i++)
		fputc(0x5a, f);
	fclose(f);
	refuse("malformed");
	files_remove();
	CU_ASSERT_PTR_NULL(results_open("/nonexistent/x.db", error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "/nonexistent/x.db"));
}

static void test_interval(void)
{
	static const double x[] = { 1, 2, 3, 4, 5 };
	struct interval v = statistics_interval(x, 5, 0.95);
	CU_ASSERT_DOUBLE_EQUAL(v.mean, 3, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(v.stddev, sqrt(2.5), 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(v.half_width, 2.776445105 * sqrt(2.5) / sqrt(5), 1e-8); /* t(0.975, 4) */
	v = statistics_interval(x, 2, 0.99);
	CU_ASSERT_DOUBLE_EQUAL(v.half_width, 63.656741162 * sqrt(0.5) / sqrt(2), 1e-6); /* t(0.995, 1) */
	v = statistics_interval(x, 1, 0.95);
	CU_ASSERT_EQUAL(v.half_width, 0);
	CU_ASSERT_EQUAL(statistics_interval(x, 0, 0.95).n, 0);
}

static const double longley[16][7] = {
	{ 60323, 83.0, 234289, 2356, 1590, 107608, 1947 }, { 61122, 88.5, 259426, 2325, 1456, 108632, 1948 }, { 60171, 88.2, 258054, 3682, 1616, 109773, 1949 },
	{ 61187, 89.5, 284599, 3351, 1650, 110929, 1950 }, { 63221, 96.2, 328975, 2099, 3099, 112075, 1951 }, { 63639, 98.1, 346999, 1932, 3594, 113270, 1952 },
	{ 64989, 99.0, 365385, 1870, 3547, 115094, 1953 }, { 63761, 100.0, 363112, 3578, 3350, 116219, 1954 }, { 66019, 101.2, 397469, 2904, 3048, 117388, 1955 },
	{ 67857, 104.6, 419180, 2822, 2857, 118734, 1956 }, { 68169, 108.4, 442769, 2936, 2798, 120445, 1957 }, { 66513, 110.8, 444546, 4681, 2637, 121950, 1958 },
	{ 68655, 112.6, 482704, 3813, 2552, 123366, 1959 }, { 69564, 114.2, 502601, 3931, 2514, 125368, 1960 }, { 69331, 115.7, 518173, 4806, 2572, 127852, 1961 },
	{ 70551, 116.9, 554894, 4007, 2827, 130081, 1962 },
};

static void test_longley(void)
{
	static const double c[7] = { -3482258.63459582, 15.0618722713733, -0.0358191792925910, -2.02022980381683, -1.03322686717359, -0.0511041056535807, 1829.15146461355 };
	static const double se[7] = { 890420.383607373, 84.9149257747669, 0.0334910077722432, 0.488399681651699, 0.214274163161675, 0.226073200069370, 455.478499142212 };
	double y[16], x[16 * 6];
	struct fit f;
	for (int i = 0; i < 16; i++) {
		y[i] = longley[i][0];
		for (int j = 0; j < 6; j++)
			x[i * 6 + j] = longley[i][j + 1];
	}
	CU_ASSERT_TRUE_FATAL(statistics_fit(y, x, 16, 6, &f));
	for (int j = 0; j < 7; j++) {
		CU_ASSERT_TRUE(fabs(f.c[j] / c[j] - 1) < 1e-7);
		CU_ASSERT_TRUE(fabs(f.se[j] / se[j] - 1) < 1e-7);
	}
	CU_ASSERT_DOUBLE_EQUAL(f.r2, 0.995479004577296, 1e-10);
}

static void test_fit_limits(void)
{
	static const double y[] = { 1, 2, 3, 4, 5, 6 }, same[] = { 1, 2, 2, 4, 3, 6, 4, 8, 5, 10, 6, 12 }; /* the second column is twice the first */
	struct fit f;
	CU_ASSERT_FALSE(statistics_fit(y, same, 6, 2, &f));
	CU_ASSERT_FALSE(statistics_fit(y, y, 2, 1, &f));
	CU_ASSERT_FALSE(statistics_fit(y, same, 6, FIT_LIMIT + 1, &f));
	CU_ASSERT_TRUE(statistics_fit(y, y, 6, 1, &f));
	CU_ASSERT_DOUBLE_EQUAL(f.c[1], 1, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(f.r2, 1, 1e-12);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("results", NULL, NULL);
	CU_add_test(s, "what is written can be asked for", test_write);
	CU_add_test(s, "a killed writer leaves whole runs", test_kill);
	CU_add_test(s, "damage is told", test_damage);
	CU_add_test(s, "intervals", test_interval);
	CU_add_test(s, "Longley's data", test_longley);
	CU_add_test(s, "fits that mean nothing are refused", test_fit_limits);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
