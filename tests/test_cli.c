/*
 * Proves what scripts rely on: exit codes, one line per error with its remedy, JSON that parses, help for every command, and that each example configuration is accepted. Runs the
 * program itself.
 */
#include <CUnit/Basic.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char output[1 << 20];

/* Runs `ringside <arguments>`; both streams go to `output`. Returns the exit status, or -1 for a signal. */
static int ringside(const char *arguments)
{
	char command[1200];
	snprintf(command, sizeof command, "{ " BINARY_DIR "/ringside %s; } 2>&1", arguments);
	FILE *f = popen(command, "r");
	size_t n = fread(output, 1, sizeof output - 1, f);
	output[n] = 0;
	int status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *arguments, int status, const char *text)
{
	int got = ringside(arguments);
	CU_ASSERT_EQUAL(got, status);
	CU_ASSERT_PTR_NOT_NULL(strstr(output, text));
	if (got != status || !strstr(output, text))
		printf("    ringside %s: status %d, said: %.300s\n", arguments, got, output);
}

static bool json_valid(void)
{
	sqlite3 *db;
	sqlite3_stmt *s;
	sqlite3_open(":memory:", &db);
	sqlite3_prepare_v2(db, "SELECT json_valid(?)", -1, &s, NULL);
	sqlite3_bind_text(s, 1, output, -1, SQLITE_STATIC);
	bool ok = sqlite3_step(s) == SQLITE_ROW && sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return ok;
}

/* The first column of a query's first row. */
static const char *stored(const char *sql)
{
	static char text[64];
	sqlite3 *db;
	sqlite3_stmt *s = NULL;
	sqlite3_open("test_cli.db", &db);
	sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	snprintf(text, sizeof text, "%s", sqlite3_step(s) == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : "nothing");
	sqlite3_finalize(s);
	sqlite3_close(db);
	return text;
}

static void test_usage(void)
{
	expect("", 2, "usage: ringside COMMAND");
	expect("--help", 0, "usage: ringside COMMAND");
	expect("--version", 0, "ringside ");
	expect("rum", 2, "the nearest is run");
	expect("run --help", 0, "ringside run --workload");
	expect("compare --help", 0, "--techniques A,B,...");
	expect("trace --help", 0, "trace replay FILE");
	expect("trace record --help", 0, "--output FILE");
	expect("list --help", 0, "usage: ringside list");
	expect("trace", 2, "usage:");
	expect("trace bogus", 2, "unknown word \"bogus\"");
	expect("trace rekord", 2, "the nearest is record");
	expect("run --nonsense", 2, "unknown option \"--nonsense\"");
	expect("run --worklod=all", 2, "the nearest is --workload");
	expect("run --json=1", 2, "takes no value");
	expect("run --workload", 2, "--workload needs a value");
	expect("run -x", 2, "unknown option \"-x\"");
	expect("run --seeds 3", 2, "--help shows the options");
	expect("run a.yaml b.yaml", 2, "unexpected argument \"b.yaml\"");
	expect("compare --seeds 0", 2, "1 to 100");
	expect("compare --jobs x", 2, "1 to 64");
	expect("compare --techniques native,shadw", 2, "the nearest is shadow");
	expect("list keyz", 2, "the nearest is keys");
}

/* A configuration that no machine can be made of: every command that makes one names the file and the line that is to blame, which is the last one of `text`. */
static void test_refused(const char *text, const char *expected)
{
	static const char *const commands[] = { "run test_cli.yaml --workload syscall", "run test_cli.yaml --workload syscall --lockstep", "trace record test_cli.yaml -o test_cli.trace",
		"compare test_cli.yaml --workload syscall --no-replay --db test_cli.db" };
	char command[300], where[200];
	unsigned line = 1;
	for (const char *s = text; (s = strstr(s, "\\n")); s++)
		line++;
	snprintf(command, sizeof command, "printf '%s\\n' > test_cli.yaml", text);
	CU_ASSERT_EQUAL(system(command), 0);
	snprintf(where, sizeof where, "ringside: test_cli.yaml:%u: %s", line, expected);
	for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
		expect(commands[i], 2, where);
	CU_ASSERT_NOT_EQUAL(access("test_cli.trace", F_OK), 0);
	unlink("test_cli.yaml");
	unlink("test_cli.db");
}

static void test_configuration(void)
{
	expect("run /nonexistent.yaml", 2, "/nonexistent.yaml: cannot open");
	expect("run --set machine.sed=1", 2, "machine.seed");
	expect("run --technique nativ", 2, "did you mean \"native\"");
	expect("run --set kernel=/nonexistent", 1, "/nonexistent");
	expect("run --set kernel=" SOURCE_DIR "/cli/main.c", 1, "Multiboot");
	expect("run --workload syscall --set preset.dram.banks=4294967295", 2, "banks must be 1 to 65536");
	expect("compare --workload syscall --no-replay --techniques native --set preset.dram.banks=4294967295 --db test_cli.db", 2, "banks must be 1 to 65536");
	test_refused("preset:\\n  l1d.ways: 7", "preset.l1d: impossible geometry");
	test_refused("technique: nested-ept\\nvmm:\\n  ept_page_shift: 13", "vmm.ept_page_shift is 13: it must be 12 or 21");
	test_refused("tlb:\\n  l2.replacement: plru", "preset.tlb.l2: replacement 'plru' needs sets");
	test_refused("machine:\\n  memory: 5000", "machine.memory: 5000 bytes");
	expect("run --set kernel=/tmp", 1, "not a regular file");
	CU_ASSERT_EQUAL(system("rm -f test_cli.fifo; mkfifo test_cli.fifo"), 0);
	expect("run --set kernel=test_cli.fifo", 1, "test_cli.fifo: not a regular file");
	expect("trace info test_cli.fifo", 1, "test_cli.fifo: not a regular file");
	expect("run test_cli.fifo", 2, "test_cli.fifo: not a regular file");
	expect("run /tmp", 2, "/tmp: not a regular file");
	unlink("test_cli.fifo");
	expect("run --set images=/nonexistent", 1, "/nonexistent/kernel-x86_64.elf");
	expect("run --workload syscall >/dev/null; cp " BINARY_DIR "/ringside test_cli.alone && ./test_cli.alone run; s=$?; rm test_cli.alone; (exit $s)", 2, "--set images=DIRECTORY");
	expect("run --set machine=5", 2, "\"machine\" is a section");
	expect("run --set tlb.l2.organisation=x", 2, "one of: \"\" set-associative");
	expect("run --workload syscall --set module=/nonexistent", 2, "set kernel: FILE too");
	expect("run --set kernel_pv=x", 2, "native build beside kernel_pv");
	expect("compare --set kernel=x --db test_cli.db", 2, "set kernel_pv: FILE");
	unlink("test_cli.db");
	expect("run --set \"$(printf 'a\\nb\\033[31m=1')\"", 2, "unknown key \"a?b?[31m\"");
	expect("run --set sampling.window=0 --sample", 2, "sampling.window: give from 1 to sampling.interval");
	expect("run --workload syscall --sample --set sampling.head=1000 --set sampling.interval=5000 --set sampling.window=500 --db test_cli.sample", 0, "99.7 % confidence");
	expect("run --workload syscall --sample --set sampling.interval=5000 --set sampling.window=500 --json", 0, "\"cycles_half_width_99_7\"");
	unlink("test_cli.sample");
	expect("run --print-config", 0, "workload: \"tour\"");
	expect("run " SOURCE_DIR "/cli/examples/forkwait-shadow.yaml --print-config", 0, "technique: \"shadow\"");
	expect("run " SOURCE_DIR "/cli/examples/small-tlb.yaml --print-config", 0, "tlb.l2.entries: 144");
	expect("run " SOURCE_DIR "/cli/examples/large-ept-pages.yaml --print-config", 0, "ept_page_shift: 21");
}

/* Results that cannot be written are told, whatever is wrong with standard output; a reader that leaves early loses nothing of the database; no recording stays behind. */
static void test_streams(void)
{
	CU_ASSERT_EQUAL(system("rm -rf test_cli.tmp test_cli.db; mkdir test_cli.tmp"), 0);
	expect("list keys >/dev/full", 1, "standard output: not all could be written");
	expect("run --workload syscall --json >&-", 1, "standard output: not all could be written");
	expect("compare --workload syscall --techniques native,paravirt --db test_cli.db >/dev/full", 1, "standard output: not all could be written");
	CU_ASSERT_STRING_EQUAL(stored("SELECT count(*) FROM runs"), "4");
	ringside("compare --workload syscall --techniques native --db test_cli.db | head -n 1");
	CU_ASSERT_STRING_EQUAL(stored("SELECT count(*) FROM runs"), "6");
	CU_ASSERT_NOT_EQUAL(system("TMPDIR=test_cli.tmp timeout -s KILL 0.3 " BINARY_DIR "/ringside compare --db test_cli.db >/dev/null 2>&1"), 0);
	CU_ASSERT_EQUAL(rmdir("test_cli.tmp"), 0);
	setenv("TMPDIR", "/nonexistent", 1);
	expect("compare --workload syscall --db test_cli.db", 1, "set TMPDIR to a directory with room");
	unsetenv("TMPDIR");
	unlink("test_cli.db");
}

static void test_list(void)
{
	char topics[40][40], *line, *rest, command[80];
	unsigned n = 0;
	expect("list", 0, "techniques");
	for (line = strtok_r(output, "\n", &rest); line && n < 40 && line[0] != 'r'; line = strtok_r(NULL, "\n", &rest))
		if (sscanf(line, "%39s", topics[n]) == 1)
			n++;
	CU_ASSERT_TRUE(n >= 15);
	for (unsigned i = 0; i < n; i++) {
		snprintf(command, sizeof command, "list %.39s", topics[i]);
		CU_ASSERT_EQUAL(ringside(command), 0);
		CU_ASSERT_TRUE(strlen(output) > 10);
		snprintf(command, sizeof command, "list %.39s --json", topics[i]);
		CU_ASSERT_EQUAL(ringside(command), 0);
		CU_ASSERT_TRUE(json_valid());
	}
}

static void test_run(void)
{
	expect("run --workload syscall --technique nested-ept", 0, "state hash");
	expect("run --workload syscall --json", 0, "\"cycles_by_cause\"");
	CU_ASSERT_TRUE(json_valid());
	expect("run --workload syscall --set machine.max_instructions=1000", 1, "budget");
	expect("run --workload syscall --set machine.core=functional", 0, "guest instructions");
	/* before the guest runs: not after hours that would be lost */
	expect("run --workload syscall --db /nonexistent/x.db", 1, "/nonexistent/x.db");
	CU_ASSERT_PTR_NULL(strstr(output, "guest instructions"));
	expect("run --workload syscall --db ''", 1, "is no file");
	expect("run --workload syscall --db :memory:", 1, "is no file");
	expect("run --workload syscall --lockstep --json", 2, "leave --json out");
	expect("run --workload syscall --lockstep --db test_cli.db", 2, "leave --db out");
	expect("compare --workload syscall --db /nonexistent/x.db", 1, "/nonexistent/x.db");
	CU_ASSERT_PTR_NULL(strstr(output, "execution"));
	expect("bench --kernels empty --db /nonexistent/x.db", 1, "/nonexistent/x.db");
	CU_ASSERT_PTR_NULL(strstr(output, "kernel"));
}

/* A sweep is a loop over one database: what was varied can be asked for. */
static void test_sweep(void)
{
	CU_ASSERT_EQUAL(system("rm -f test_cli.db"), 0);
	expect("run --workload syscall --technique shadow --set preset.tlb.l2.entries=96 --db test_cli.db", 0, "state hash");
	expect("run --workload syscall --technique native --set preset.tlb.l2.entries=192 --db test_cli.db", 0, "state hash");
	CU_ASSERT_STRING_EQUAL(stored("SELECT group_concat(key || '=' || v) FROM (SELECT key, group_concat(value) AS v FROM v_settings GROUP BY key HAVING count(DISTINCT value) > 1)"),
		"preset.tlb.l2.entries=96,192,technique=shadow,native");
	CU_ASSERT_STRING_EQUAL(stored("SELECT sum(s.value + 1) FROM runs r JOIN v_settings s USING (configuration) WHERE s.key = 'preset.tlb.l2.entries'"), "290");
	CU_ASSERT_STRING_EQUAL(stored("SELECT group_concat(value) FROM (SELECT DISTINCT key, value FROM v_settings WHERE key IN ('tlb.l2.organisation', 'vmm.vpid', 'machine.engine') ORDER BY key)"),
		"dbt,,true");
	expect("list keys", 0, "workload");
	unsigned keys = 0;
	for (const char *s = output; (s = strchr(s, '\n')); s++)
		keys++;
	CU_ASSERT_EQUAL((unsigned)atoi(stored("SELECT count(*) / 2 FROM v_settings")), keys);
	unlink("test_cli.db");
}

static void test_compare(void)
{
	expect("compare --workload syscall --techniques native,bt --db test_cli.db --json", 0, "\"cycles_error\": 0");
	CU_ASSERT_TRUE(json_valid());
	expect("compare --workload syscall --techniques shadow --no-replay --db test_cli.db", 0, "holds");
	char *head = strstr(output, "\nexecution");
	CU_ASSERT_PTR_NOT_NULL_FATAL(head);
	head[1 + strcspn(head + 1, "\n")] = 0;
	CU_ASSERT_PTR_NULL(strstr(head, "native")); /* it ran, as the reference, but was not asked for */
	expect("compare --workload syscall --techniques bt,shadow --no-replay --db test_cli.db", 0, "holds");
	CU_ASSERT_STRING_EQUAL(stored("SELECT count(*) FROM runs r JOIN configurations c ON c.hash = r.configuration WHERE c.text LIKE '%technique: \"' || r.technique || '\"%'"), "7");
	expect("compare --workload syscall --techniques native --seeds 2 --fit --db test_cli.db", 0, "mean cycles over 2 seeds");
	expect("compare --workload gups --techniques native --no-replay --fit --json --db test_cli.db", 0, "\"cycles_per_reference\"");
	CU_ASSERT_TRUE(json_valid());
	expect("compare --workload syscall --techniques native --no-replay --fit --json --db test_cli.db", 0, "\"fit\": [");
	CU_ASSERT_TRUE(json_valid());
	unlink("test_cli.db");
	unlink("test_cli.db-wal");
	unlink("test_cli.db-shm");
}

static void test_trace(void)
{
	expect("trace record --workload syscall -o test_cli.trace", 0, "instructions of syscall under native");
	expect("trace info test_cli.trace", 0, "bytes an event");
	expect("trace info test_cli.trace --json", 0, "\"events_by_kind\"");
	CU_ASSERT_TRUE(json_valid());
	expect("trace replay test_cli.trace", 0, "statistics are as in the recorded run");
	expect("trace replay test_cli.trace --technique shadow", 0, "state hash");
	expect("trace replay test_cli.trace", 0, "read-modify-writes");
	expect("trace replay test_cli.trace --json", 0, "\"references\"");
	expect("trace replay test_cli.trace --technique paravirt", 2, "another build of the guest");
	expect("trace replay test_cli.trace --set x=1", 2, "unknown key");
	expect("trace replay test_cli.trace --set machine.memory=128M", 2, "machine.memory: the recording decides it");
	expect("trace replay test_cli.trace --set workload=forkwait", 2, "workload: the recording decides it");
	expect("trace replay test_cli.trace --set width=32", 2, "width: the recording decides it");
	expect("trace replay test_cli.trace --set cpu.smep=false", 2, "cpu.smep: the recording decides it");
	expect("trace replay test_cli.trace --set width=64 --set cpu.smep=true", 0, "statistics are as in the recorded run");
	expect("trace replay test_cli.trace --set preset.dram.banks=4294967295", 2, "banks must be 1 to 65536");
	expect("trace replay test_cli.trace --set machine.softtlb_entries=1 --set machine.core=tlb --set preset.tlb.l2.entries=12", 0, "state hash");
	expect("trace replay", 2, "name a trace file");
	expect("trace info " SOURCE_DIR "/cli/main.c", 1, "not a Ringside trace");
	CU_ASSERT_EQUAL(truncate("test_cli.trace", 6000), 0);
	expect("trace info test_cli.trace", 1, "ends early");
	expect("trace info test_cli.trace --json 2>/dev/null", 1, "\"state_hash\": null");
	CU_ASSERT_TRUE(json_valid());
	expect("trace replay test_cli.trace", 1, "replayed what is there: 0 instructions");
	unlink("test_cli.trace");
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("cli", NULL, NULL);
	CU_add_test(s, "usage", test_usage);
	CU_add_test(s, "configuration", test_configuration);
	CU_add_test(s, "standard streams", test_streams);
	CU_add_test(s, "list", test_list);
	CU_add_test(s, "run", test_run);
	CU_add_test(s, "sweep", test_sweep);
	CU_add_test(s, "compare", test_compare);
	CU_add_test(s, "trace", test_trace);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
