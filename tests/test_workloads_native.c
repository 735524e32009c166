/*
 * Proves that programs compute on the simulated machine what they compute on the real one: each row of workloads.def, in 32 and 64 bit and under every technique, prints the checksum lines
 * that the same source prints when it runs natively on Linux, and the guest ends well. Independent reference: the real processor.
 */
#include "workload_rows.h"
#include "../machine/machine.h"

/* Runs the row; the console to `output`. Returns the exit code; -1 when the guest did not end by itself. */
static int machine_row(const struct technique *t, const char *arch, const struct workload *w, char *output)
{
	struct machine_config c;
	char error[256] = "";
	size_t bytes = 0;
	int code = -1;

	machine_config_default(&c);
	snprintf(c.kernel, sizeof c.kernel, BINARY_DIR "/workloads/kernel-%s%s.elf", arch, t->paravirtual_guest ? "-pv" : "");
	snprintf(c.module, sizeof c.module, BINARY_DIR "/workloads/programs-%s.cpio", arch);
	snprintf(c.cmdline, sizeof c.cmdline, "%s", w->command_line);
	snprintf(c.technique, sizeof c.technique, "%s", t->name);
	snprintf(c.core, sizeof c.core, "functional");
	c.memory_bytes = (uint64_t)w->memory_mib << 20;
	struct machine *m = machine_create(&c, error, sizeof error);
	if (m && machine_load(m, error, sizeof error) && machine_run(m) == END_EXIT) {
		struct run_result *r = calloc(1, sizeof *r);
		machine_result(m, r);
		code = r->exit_code;
		free(r);
	} else {
		printf("\n%s %s under %s: %s\n", arch, w->name, t->name, error);
	}
	const char *console = m ? machine_console(m, &bytes) : "";
	snprintf(output, OUTPUT_MAX, "%.*s", (int)bytes, console);
	machine_destroy(m);
	return code;
}

static void check_row(const char *arch, const struct workload *w)
{
	static char guest[OUTPUT_MAX], native[OUTPUT_MAX];

	CU_ASSERT_EQUAL(native_run(arch, w, native), 0);
	lines_filter(native);
	CU_ASSERT_NOT_EQUAL(native[0], 0);
	for (unsigned t = 0; t < TECHNIQUES; t++) {
		CU_ASSERT_EQUAL(machine_row(&techniques[t], arch, w, guest), 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(guest, "ringside: exit 0"));
		lines_filter(guest);
		if (strcmp(guest, native))
			printf("\n%s %s under %s: guest\n%snative\n%s", arch, w->name, techniques[t].name, guest, native);
		CU_ASSERT_STRING_EQUAL(guest, native);
	}
}

static void check_rows(const char *arch)
{
	for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
		check_row(arch, &workloads[i]);
}

static void rows_32(void) { check_rows("i386"); }
static void rows_64(void) { check_rows("x86_64"); }

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
