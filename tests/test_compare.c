/*
 * Proves what a comparison says: overhead, equivalence and replay error against hand-worked values; JSON that SQLite's own parser accepts, with the keys scripts rely on, whatever is
 * in the names; a table whose columns hold the numbers.
 */
#include <CUnit/Basic.h>
#include "analysis/results.h"
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static struct run_result sample(const char *technique, enum run_mode mode, uint64_t cycles, uint64_t hash)
{
	struct run_result r = { .core = "fixed", .engine = "threaded", .preset = "skylake", .workload = "we\"ird\\\n\x01", .width = 64, .mode = mode, .end = END_EXIT, .instructions = 1234567,
		.cycles = cycles, .state_hash = hash, .exits = 1, .works = 1, .stats = 3, .regions = 1, .unknown = 1, .emulated = 10, .seed = 1 };
	snprintf(r.technique, sizeof r.technique, "%s", technique);
	r.by_cause[CAUSE_GUEST_USER] = cycles - 300;
	r.by_cause[CAUSE_TRANSITIONS] = 300;
	r.exit[0] = (struct result_exit){ "cpuid", 5, 230, 70 };
	r.work[0] = (struct result_metric){ "emulation", 70 };
	r.stat[0] = (struct result_metric){ "tlb.l1d.miss", 11 };
	r.stat[1] = (struct result_metric){ "walk.count", 10 };
	r.stat[2] = (struct result_metric){ "walk.refs", 45 };
	r.region[0] = (struct result_region){ 3, 1, 100, 50 };
	r.unknown_opcode[0] = (struct result_metric){ "fsin", 2 };
	return r;
}

static void samples(struct run_result r[4])
{
	r[0] = sample("native", RUN_EXECUTION, 1000000, 7);
	r[1] = sample("shadow", RUN_EXECUTION, 2500000, 7);
	r[2] = sample("bt", RUN_EXECUTION, 1500000, 8);
	r[3] = sample("shadow", RUN_REPLAY, 2525000, 7);
	compare_fill(r, 4);
}

static void test_fill(void)
{
	struct run_result r[4];
	samples(r);
	CU_ASSERT_DOUBLE_EQUAL(r[1].overhead, 2.5, 1e-12);
	CU_ASSERT_DOUBLE_EQUAL(r[0].overhead, 1, 1e-12);
	CU_ASSERT_TRUE(r[1].equivalence_known && r[1].equivalent);
	CU_ASSERT_TRUE(r[2].equivalence_known && !r[2].equivalent);
	CU_ASSERT_TRUE(r[3].has_cycles_error && !r[1].has_cycles_error);
	CU_ASSERT_DOUBLE_EQUAL(r[3].cycles_error, 0.01, 1e-12);
	CU_ASSERT_FALSE(compare_good(r, 4));
	CU_ASSERT_TRUE(compare_good(r, 2));
	r[0].resource_violations = 1;
	CU_ASSERT_FALSE(compare_good(r, 1));
	compare_fill(r + 1, 3); /* no native: nothing to compare with, but the replay */
	CU_ASSERT_FALSE(r[1].equivalence_known);
	CU_ASSERT_EQUAL(r[1].overhead, 0);
	CU_ASSERT_DOUBLE_EQUAL(r[3].cycles_error, 0.01, 1e-12);
	r[1].end = END_VMM_FAILED;
	CU_ASSERT_FALSE(compare_good(r + 1, 1));
}

static char *text_of(void (*print)(FILE *, const struct run_result *, unsigned), const struct run_result *r, unsigned n)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	print(f, r, n);
	fclose(f);
	return text;
}

/* A value of the JSON by SQLite's path. */
static const char *json_at(const char *json, const char *path)
{
	static char text[256];
	sqlite3 *db;
	sqlite3_stmt *s;
	sqlite3_open(":memory:", &db);
	sqlite3_prepare_v2(db, "SELECT CASE WHEN json_valid(?1) THEN coalesce(json_extract(?1, ?2), 'NULL') ELSE 'INVALID' END", -1, &s, NULL);
	sqlite3_bind_text(s, 1, json, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, path, -1, SQLITE_STATIC);
	snprintf(text, sizeof text, "%s", sqlite3_step(s) == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : "ERROR");
	sqlite3_finalize(s);
	sqlite3_close(db);
	return text;
}

static void test_json(void)
{
	struct run_result r[4];
	samples(r);
	char *json = text_of(compare_print_json, r, 4);
	static const char *const expect[][2] = {
		{ "$.runs[0].technique", "native" }, { "$.runs[3].mode", "replay" }, { "$.runs[1].instructions", "1234567" }, { "$.runs[1].cycles", "2500000" }, { "$.runs[1].overhead", "2.5" },
		{ "$.runs[0].state_hash", "0000000000000007" }, { "$.runs[1].cycles_by_cause.guest-user", "2499700" }, { "$.runs[1].exits.cpuid.count", "5" },
		{ "$.runs[1].exits.cpuid.cycles", "300" }, { "$.runs[1].tlb.\"l1d.miss\"", "11" }, { "$.runs[1].walks.refs", "45" }, { "$.runs[1].walks.references_per_walk", "4.5" },
		{ "$.runs[1].memory.vmm_table_bytes", "0" }, { "$.runs[1].popek_goldberg.equivalence", "1" }, { "$.runs[2].popek_goldberg.equivalence", "0" },
		{ "$.runs[1].popek_goldberg.resource_violations", "0" }, { "$.runs[3].cycles_error", "0.01" }, { "$.runs[1].cycles_error", "NULL" }, { "$.runs[4]", "NULL" },
		{ "$.runs[0].workload", "we\"ird\\\n\x01" }, { "$.runs[0].regions[0].cycles", "100" },
	};
	for (unsigned i = 0; i < sizeof expect / sizeof *expect; i++) {
		CU_ASSERT_STRING_EQUAL(json_at(json, expect[i][0]), expect[i][1]);
		if (strcmp(json_at(json, expect[i][0]), expect[i][1]))
			printf("    %s is %s\n", expect[i][0], json_at(json, expect[i][0]));
	}
	free(json);
	json = text_of(compare_print_json, r, 0);
	CU_ASSERT_STRING_EQUAL(json_at(json, "$.runs[0]"), "NULL");
	free(json);
}

static void test_table(void)
{
	struct run_result r[4];
	samples(r);
	char *text = text_of(compare_print, r, 4);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "2,500,000"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "2.500"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "BROKEN"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "+1.000%"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "what remains"));
	free(text);
	text = text_of(compare_print, r, 1);
	CU_ASSERT_PTR_NULL(strstr(text, "replay"));
	free(text);
}

static void test_extremes(void)
{
	struct run_result r = sample("native", RUN_EXECUTION, UINT64_MAX, UINT64_MAX);
	struct run_result none = { .technique = "native" };
	char *text = text_of(compare_print, &r, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "18,446,744,073,709,551,615"));
	free(text);
	text = text_of(compare_print_json, &none, 1);
	CU_ASSERT_STRING_EQUAL(json_at(text, "$.runs[0].overhead"), "NULL");
	free(text);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("compare", NULL, NULL);
	CU_add_test(s, "overhead, equivalence, error", test_fill);
	CU_add_test(s, "JSON", test_json);
	CU_add_test(s, "tables", test_table);
	CU_add_test(s, "extremes", test_extremes);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
