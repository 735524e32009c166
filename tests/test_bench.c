/*
 * Bench: the guest executes exactly the instructions that workloads/bench.def gives, which QEMU -icount and Bochs counted (the oracle), and ends with its own check passed; rows come back from the
 * database as they were written; the command answers in JSON that another program can read, and refuses what it does not know.
 */
#include "analysis/bench_results.h"
#include "cli/bench.h"
#include "machine/machine.h"
#include <CUnit/Basic.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
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
	};
	const struct bench_row rows[] = { { "sort", "fixed", "it's 1.0", 86566141, 3, 0.5, NAN, 0.25 }, { "sort", "bochs", "", 86566141, 3, NAN, NAN, NAN } };
	char path[] = "/tmp/ringside-test-bench-XXXXXX", error[640], text[64];
	int fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0);
	close(fd);
	struct results_db *db = results_open(path, error, sizeof error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(db);
	CU_ASSERT(bench_results_write(db, rows, 2, error, sizeof error));
	CU_ASSERT(bench_results_write(db, rows, 2, error, sizeof error));
	const struct bench_row twice[] = { rows[0], rows[0] }; /* the same key: all or nothing */
	CU_ASSERT_FALSE(bench_results_write(db, twice, 2, error, sizeof error));
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

static int shell(const char *command)
{
	int status = system(command);
	return status < 0 ? -1 : status >> 8;
}

static void test_command(void)
{
	static const char good[] = BINARY_DIR "/ringside bench --kernels calls --runs 1 --json 2>/dev/null | python3 -c '"
		"import json, sys; b = json.load(sys.stdin); k = b[\"kernels\"]; f = k[0][\"contestants\"][\"functional\"]; "
		"sys.exit(not (len(k) == 1 and k[0][\"name\"] == \"calls\" and f[\"seconds\"] > 0 and len(b[\"aims\"]) == 2 and \"met\" in b[\"aims\"][0]))'";
	CU_ASSERT_EQUAL(shell(good), 0);
	CU_ASSERT_EQUAL(shell(BINARY_DIR "/ringside bench --kernels nosuch 2>/dev/null"), 2);
	CU_ASSERT_EQUAL(shell(BINARY_DIR "/ringside bench --kernels sorr 2>&1 | grep -q '\"sorr\", the nearest is sort'"), 0);
	CU_ASSERT_EQUAL(shell(BINARY_DIR "/ringside bench --runs 0 2>/dev/null"), 2);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("bench", NULL, NULL);
	CU_add_test(suite, "instructions are as counted by QEMU", test_counts);
	CU_add_test(suite, "database", test_database);
	CU_add_test(suite, "command", test_command);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
