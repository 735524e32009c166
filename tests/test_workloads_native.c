/*
 * Proves that programs compute on the simulated machine what they compute on the real one: each row of workloads.def, in 32 and 64 bit and under every technique, prints the checksum lines
 * that the same source prints when it runs natively on Linux, and the guest ends well. Independent reference: the real processor.
 */
#include "workload_rows.h"
#include "guest_config.h"

/* Runs the row; the console to `output`. Returns the exit code; -1 when the guest did not end by itself. */
static int machine_row(const struct technique *t, unsigned width, const struct workload *w, char *output)
{
	struct machine_config c;
	char error[256] = "";
	size_t bytes = 0;
	int code = -1;

	guest_config(&c, t, width, w->command_line, w->memory_mib);
	struct machine *m = machine_create(&c, error, sizeof error);
	if (m && machine_load(m, error, sizeof error) && machine_run(m) == END_EXIT) {
		struct run_result *r = calloc(1, sizeof *r);
		machine_result(m, r);
		code = r->exit_code;
		free(r);
	} else {
		printf("\n%s %u-bit under %s: %s\n", w->name, width, t->name, error);
	}
	const char *console = m ? machine_console(m, &bytes) : "";
	snprintf(output, OUTPUT_MAX, "%.*s", (int)bytes, console);
	machine_destroy(m);
	return code;
}

static void check_row(unsigned width, const struct workload *w)
{
	const char *arch = widths[width == 64];
	static char guest[OUTPUT_MAX], native[OUTPUT_MAX];

	CU_ASSERT_EQUAL(native_run(arch, w, native), 0);
	lines_filter(native);
	CU_ASSERT_NOT_EQUAL(native[0], 0);
	for (unsigned t = 0; t < TECHNIQUES; t++) {
		CU_ASSERT_EQUAL(machine_row(&techniques[t], width, w, guest), 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(guest, "ringside: exit 0"));
		lines_filter(guest);
		if (strcmp(guest, native))
			printf("\n%s %s under %s: guest\n%snative\n%s", arch, w->name, techniques[t].name, guest, native);
		CU_ASSERT_STRING_EQUAL(guest, native);
	}
}

static void check_rows(unsigned width)
{
	for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
		check_row(width, &workloads[i]);
}

static void rows_32(void) { check_rows(32); }
static void rows_64(void) { check_rows(64); }

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite s = CU_add_suite("workloads on the simulated machine", NULL, NULL);
	CU_add_test(s, "as on the real processor, 32 bit", rows_32);
	CU_add_test(s, "as on the real processor, 64 bit", rows_64);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
