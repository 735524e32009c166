/*
 * Proves that the guest kernel and its programs are right on a machine we did not write: each row of workloads.def runs under QEMU in
 * the i386 and the x86_64 build, and natively on Linux as the same source; all must print the same checksum lines, and the guest must end
 * with "ringside: exit 0" through the debug exit port. The paravirtual builds run the same rows on workloads/monitor, a second implementation
 * of their interface that ends the machine at any violation. Independent references: QEMU's TCG, the real processor and Linux.
 */
#include "workload_rows.h"

static const char qemu_options[] = "-serial stdio -display none -device isa-debug-exit,iobase=0xf4,iosize=1 -no-reboot </dev/null 2>&1";

static int qemu_run(const char *width, const struct workload *w, unsigned mib, char *output)
{
	char command[4096], at[512];
	snprintf(at, sizeof at, "%s/workloads", BINARY_DIR);
	snprintf(command, sizeof command,
		 "timeout 120 qemu-system-%s -accel tcg -m %u -kernel '%s/kernel-%s.elf' -initrd '%s/programs-%s.cpio' -append '%s' %s", width, mib,
		 at, width, at, width, w->command_line, qemu_options);
	return command_run(command, output);
}

static int monitor_run(const char *width, const struct workload *w, unsigned mib, char *output)
{
	char command[4096], at[512];
	(void)mib; /* the monitor gives its domain 16 MiB of these 64 */
	snprintf(at, sizeof at, "%s/workloads", BINARY_DIR);
	snprintf(command, sizeof command,
		 "timeout 120 qemu-system-%s -accel tcg -m 64 -kernel '%s/monitor-%s.elf' -initrd '%s/kernel-%s-pv.elf,%s/programs-%s.cpio' -append '%s' %s",
		 width, at, width, at, width, at, width, w->command_line, qemu_options);
	return command_run(command, output);
}

static bool qemu_present(const char *width)
{
	char command[128], output[OUTPUT_MAX];
	snprintf(command, sizeof command, "command -v qemu-system-%s", width);
	if (command_run(command, output) == 0)
		return true;
	printf("SKIPPED: qemu-system-%s is not installed ", width);
	return false;
}

typedef int run_guest(const char *width, const struct workload *w, unsigned mib, char *output);

static void check_row(run_guest *run, const char *width, const struct workload *w)
{
	static char guest[OUTPUT_MAX], native[OUTPUT_MAX];
	int code = run(width, w, w->memory_mib, guest);
	bool ended = strstr(guest, "ringside: exit 0") != NULL;
	int native_code = native_run(width, w, native);
	if (!ended || code != 1)
		printf("\n%s on %s: exit code %d\n%s", w->name, width, code, guest);
	CU_ASSERT_EQUAL(code, 1); /* isa-debug-exit: (0 << 1) | 1 */
	CU_ASSERT(ended);
	CU_ASSERT_EQUAL(native_code, 0);
	lines_filter(guest);
	lines_filter(native);
	if (strcmp(guest, native) != 0)
		printf("\n%s on %s: guest\n%snative\n%s", w->name, width, guest, native);
	CU_ASSERT(native[0] != 0);
	CU_ASSERT_STRING_EQUAL(guest, native);
}

static void check_rows(run_guest *run)
{
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
		bool present = qemu_present(widths[i]);
		for (size_t j = 0; present && j < sizeof workloads / sizeof *workloads; j++)
			check_row(run, widths[i], &workloads[j]);
	}
}

static void test_native_rows(void)
{
	check_rows(qemu_run);
}

static void test_paravirtual_rows(void)
{
	check_rows(monitor_run);
}

static void test_memory_sizes(void)
{
	static const unsigned sizes[] = { 16, 33, 64, 256 };
	static const struct workload all = { "all", "init=all", 0, false };
	static char output[OUTPUT_MAX];
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
		for (size_t j = 0; qemu_present(widths[i]) && j < sizeof sizes / sizeof *sizes; j++)
			CU_ASSERT_EQUAL(qemu_run(widths[i], &all, sizes[j], output), 1);
}

/* Each bare bench kernel checks its own result and says so by its exit code. */
static void test_bench_kernels(void)
{
	static const char *const files[] = {
#define BENCH(name, file, instructions, what) file,
#include "workloads/bench.def"
#undef BENCH
	};
	char command[4096], output[OUTPUT_MAX];
	for (size_t i = 0; qemu_present("x86_64") && i < sizeof files / sizeof *files; i++) {
		snprintf(command, sizeof command,
			 "timeout 120 qemu-system-x86_64 -accel tcg -m 512 -kernel '%s/workloads/bench/%s' -serial stdio -display none "
			 "-device isa-debug-exit,iobase=0xf4,iosize=1 -no-reboot </dev/null 2>&1", BINARY_DIR, files[i]);
		CU_ASSERT_EQUAL(command_run(command, output), 1);
		CU_ASSERT_STRING_EQUAL(output, "");
	}
}

/* What goes wrong in the guest must end in one line and a code, not in a hang. */
static void test_failures(void)
{
	static const struct workload missing = { "", "init=nosuch", 0, false }, nothing = { "", "notimer", 0, false };
	static char output[OUTPUT_MAX];
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
		if (!qemu_present(widths[i]))
			continue;
		CU_ASSERT_EQUAL(qemu_run(widths[i], &missing, 32, output), 126 << 1 | 1);
		CU_ASSERT_PTR_NOT_NULL(strstr(output, "no such program"));
		CU_ASSERT_EQUAL(qemu_run(widths[i], &nothing, 32, output), 126 << 1 | 1);
		CU_ASSERT_PTR_NOT_NULL(strstr(output, "no init=PROGRAM"));
	}
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("guest kernel under QEMU", NULL, NULL);
	CU_add_test(suite, "every workload prints what it prints natively", test_native_rows);
	CU_add_test(suite, "and in the paravirtual builds", test_paravirtual_rows);
	CU_add_test(suite, "16 to 256 MiB", test_memory_sizes);
	CU_add_test(suite, "bench kernels", test_bench_kernels);
	CU_add_test(suite, "failures end with a line and a code", test_failures);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
