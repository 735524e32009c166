/*
 * Proves: several machines run in one process on threads and share nothing: every technique, in both widths, gives on threads the JSON, byte for byte, that it gives alone. Guest memory
 * costs real memory only where it was touched. A guest that writes ever new code does not fill real memory with what is remembered of it, and forgetting that changes no statistic,
 * neither when it is recorded: the trace then gives block ids again, and replays to every statistic of the run.
 * Reference: the same machines one after another; the kernel's own count of resident pages (/proc/self/statm); the same run with a dictionary that forgets nothing.
 * test_scaling INSTRUCTIONS: long runs of that many each, for instance 1000000000.
 * Under -fsanitize=thread (CMAKE_C_FLAGS) the first test is the proof that there is no race; the second then measures that sanitizer's own memory, and fails.
 */
#include "../analysis/results.h"
#include "../traces/trace.h"
#include "guest_config.h"
#include <CUnit/Basic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- machines on threads ---- */

#define MACHINES (2 * TECHNIQUES)
struct work { struct machine_config config; struct run_result result; char *text; };

static void *work_run(void *self)
{
	struct work *w = self;
	char error[400] = "";
	size_t size;
	struct machine *m = machine_create(&w->config, error, sizeof error);
	if (!m || !machine_load(m, error, sizeof error)) {
		fprintf(stderr, "%s\n", error);
		machine_destroy(m);
		return NULL;
	}
	machine_run(m);
	machine_result(m, &w->result);
	machine_destroy(m);
	FILE *out = open_memstream(&w->text, &size);
	if (out) {
		result_print_json(out, &w->result);
		fclose(out);
	}
	return w->text;
}

/* Techniques by widths; engines and sizes of buffers in turn, so that neighbours differ. */
static void work_config(struct work *w, unsigned i)
{
	static const char *const commands[] = { "notimer init=forkwait n=3", "init=preempt n=2000", "notimer init=sort n=800" };
	*w = (struct work){ 0 };
	guest_config(&w->config, &techniques[i % TECHNIQUES], i < TECHNIQUES ? 32 : 64, commands[i % 3], 16);
	snprintf(w->config.core, sizeof w->config.core, "fixed");
	snprintf(w->config.engine, sizeof w->config.engine, "%s", engines[i & 1].name);
	w->config.event_buffer = 2u << i % 12;
}

static void test_threads(void)
{
	static struct work alone[MACHINES], side[MACHINES];
	pthread_t thread[MACHINES];
	for (unsigned i = 0; i < MACHINES; i++) {
		work_config(&alone[i], i);
		CU_ASSERT_PTR_NOT_NULL(work_run(&alone[i]));
		work_config(&side[i], i);
	}
	for (unsigned i = 0; i < MACHINES; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, work_run, &side[i]), 0);
	for (unsigned i = 0; i < MACHINES; i++) {
		pthread_join(thread[i], NULL);
		CU_ASSERT_EQUAL(side[i].result.end, END_EXIT);
		CU_ASSERT(side[i].text && alone[i].text && !strcmp(side[i].text, alone[i].text));
		free(side[i].text);
		free(alone[i].text);
	}
}

/* ---- guests of our own: 32-bit code without paging ---- */

#define LOAD 0x100000
#define TEXT(x) #x
#define NUMBER(x) TEXT(x)
#define TOUCHED (10u << 20)

__asm__(
	".pushsection .rodata\n"
	".globl scale_start, scale_end, scale_which, scale_count\n"
	".code32\n"
	"scale_start:\n"
	"	.long 0x1BADB002, 0x10003, -(0x1BADB002 + 0x10003)\n"
	"	.long " NUMBER(LOAD) ", " NUMBER(LOAD) ", 0, 0, " NUMBER(LOAD) " + scale_entry - scale_start\n"
	"scale_which: .long 0\n"
	"scale_count: .long 0\n"
	"scale_entry:\n"
	"	movl " NUMBER(LOAD) " + scale_count - scale_start, %ecx\n"
	"	cmpl $0, " NUMBER(LOAD) " + scale_which - scale_start\n	jne 2f\n"
	"	movl $0x40000000, %edi\n" /* a byte of each page, from 1 GiB on */
	"1:	movb $1, (%edi)\n	addl $4096, %edi\n	decl %ecx\n	jnz 1b\n	jmp 9f\n"
	"2:	movl %ecx, " NUMBER(LOAD) " + 3f + 1 - scale_start\n	jmp 3f\n" /* each round is code that never was */
	"3:	movl $0, %ebx\n	addl %ebx, %esi\n	decl %ecx\n	jnz 2b\n"
	"9:	movb $0, %al\n	outb %al, $0xf4\n	jmp 9b\n"
	"scale_end:\n"
	"	.code64\n"
	"	.popsection\n");
extern const uint8_t scale_start[], scale_end[], scale_which[], scale_count[];

static struct machine *guest_make(struct machine_config *c, uint32_t which, uint32_t count)
{
	char error[400] = "";
	size_t size = (size_t)(scale_end - scale_start);
	uint8_t image[512];
	strcpy(c->kernel, "/tmp/ringside-scale-XXXXXX");
	c->module[0] = 0;
	int fd = mkstemp(c->kernel);
	CU_ASSERT_FATAL(fd >= 0 && size <= sizeof image);
	memcpy(image, scale_start, size);
	memcpy(image + (scale_which - scale_start), &which, 4);
	memcpy(image + (scale_count - scale_start), &count, 4);
	CU_ASSERT_EQUAL(write(fd, image, size), (ssize_t)size);
	close(fd);
	struct machine *m = machine_create(c, error, sizeof error);
	bool loaded = m && machine_load(m, error, sizeof error);
	unlink(c->kernel);
	if (!loaded)
		fprintf(stderr, "%s\n", error);
	CU_ASSERT_FATAL(loaded);
	return m;
}

/* ---- memory ---- */

static uint64_t resident_bytes(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void test_memory(void)
{
	static const unsigned kinds[] = { TECHNIQUE_NATIVE, TECHNIQUE_SHADOW, TECHNIQUE_NESTED_EPT };
	static struct run_result r;
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct machine_config c;
		guest_config(&c, &techniques[kinds[i]], 32, "", 3072);
		snprintf(c.core, sizeof c.core, "fixed");
		uint64_t before = resident_bytes();
		struct machine *m = guest_make(&c, 0, TOUCHED / 4096);
		CU_ASSERT_EQUAL(machine_run(m), END_EXIT);
		uint64_t after = resident_bytes();
		machine_result(m, &r); /* hashes all guest memory: it reads what was never written */
		uint64_t hashed = resident_bytes();
		CU_ASSERT(before && after > before + TOUCHED && after < before + TOUCHED + (256u << 20));
		CU_ASSERT(hashed < before + TOUCHED + (256u << 20));
		CU_ASSERT_EQUAL(r.guest_touched_bytes, TOUCHED + 4096); /* and the page of its code */
		machine_destroy(m);
	}
}

/* ---- code without end ---- */

#define ROUNDS 250000u

static void code_run(const struct technique *t, bool roomy, char **text, uint32_t *count)
{
	struct machine_config c;
	struct run_result *r = calloc(1, sizeof *r);
	size_t size;
	guest_config(&c, t, 32, "", 4);
	snprintf(c.core, sizeof c.core, "fixed");
	c.block_cache_bytes = 4u << 20;
	struct machine *m = guest_make(&c, 1, ROUNDS);
	if (roomy)
		machine_blocks(m)->roomy = UINT32_MAX; /* none is ever freed */
	CU_ASSERT_EQUAL(machine_run(m), END_EXIT);
	machine_result(m, r);
	*count = machine_blocks(m)->count;
	machine_destroy(m);
	FILE *out = open_memstream(text, &size);
	CU_ASSERT_FATAL(out != NULL);
	result_print_json(out, r);
	fclose(out);
	free(r);
}

/* Binary translation, too: its own cache of translations is full several times over, and keeps its blocks. */
static void test_endless_code(void)
{
	static const unsigned kinds[] = { TECHNIQUE_NATIVE, TECHNIQUE_BT };
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		char *text[2];
		uint32_t count[2];
		for (unsigned roomy = 0; roomy < 2; roomy++)
			code_run(&techniques[kinds[i]], roomy, &text[roomy], &count[roomy]);
		CU_ASSERT(count[1] > ROUNDS); /* the reference keeps them all */
		CU_ASSERT(count[0] < ROUNDS * 3 / 4);
		CU_ASSERT_STRING_EQUAL(text[0], text[1]);
		free(text[0]);
		free(text[1]);
	}
}

/* ---- the same, recorded ---- */

static unsigned stats_different;

static bool stat_compare(void *self, const char *name, uint64_t value)
{
	const struct trace_reader *t = self;
	const char *recorded;
	uint64_t before;
	for (unsigned i = 0; trace_reader_stat(t, i, &recorded, &before); i++)
		stats_different += !strcmp(recorded, name) && before != value;
	return true;
}

/* Replays under a technique. Returns the size that its dictionary grew to. */
static uint32_t code_replay(const char *path, struct machine_config c, const struct technique *t, bool check)
{
	char error[640] = "";
	struct run_result *r = calloc(1, sizeof *r);
	snprintf(c.technique, sizeof c.technique, "%s", t->name);
	struct trace_reader *reader = trace_reader_open(path, error, sizeof error);
	CU_ASSERT_FATAL(reader != NULL);
	struct machine *m = machine_create(&c, error, sizeof error);
	CU_ASSERT_TRUE(trace_replay(reader, m, NULL, NULL, error, sizeof error));
	machine_result(m, r);
	uint32_t count = machine_blocks(m)->count;
	stats_different = 0;
	if (check)
		trace_result_stats(r, stat_compare, reader);
	CU_ASSERT_EQUAL(stats_different, 0);
	machine_destroy(m);
	trace_reader_close(reader);
	free(r);
	return count;
}

/* A recorder forgets blocks as the machine does, gives their ids again in the file, and a replay follows. */
static void test_endless_recording(void)
{
	static const unsigned kinds[] = { TECHNIQUE_NATIVE, TECHNIQUE_BT };
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct machine_config c;
		struct run_result *r = calloc(1, sizeof *r);
		char path[] = "/tmp/ringside-scale-XXXXXX", error[640] = "";
		int fd = mkstemp(path);
		guest_config(&c, &techniques[kinds[i]], 32, "", 4);
		snprintf(c.core, sizeof c.core, "fixed");
		c.block_cache_bytes = 4u << 20;
		struct machine *m = guest_make(&c, 1, ROUNDS);
		struct trace_writer *w = trace_writer_open(path, m, "", error, sizeof error);
		CU_ASSERT_FATAL(fd >= 0 && w != NULL);
		close(fd);
		trace_writer_start(w);
		CU_ASSERT_EQUAL(machine_run(m), END_EXIT);
		machine_result(m, r);
		CU_ASSERT_TRUE(trace_writer_close(w, r, error, sizeof error));
		CU_ASSERT(machine_blocks(m)->count < ROUNDS * 3 / 4);
		machine_destroy(m);
		free(r);
		CU_ASSERT(code_replay(path, c, &techniques[kinds[i]], true) < ROUNDS);
		CU_ASSERT(code_replay(path, c, &techniques[TECHNIQUE_SHADOW], false) < ROUNDS);
		unlink(path);
	}
}

/* ---- long runs ---- */

#define LONG_GROWS (8u << 20) /* caches of bounded size that are not yet full after a quarter of so short a run; given more instructions, next to nothing */

/* AddressSanitizer keeps freed memory from being used again, 256 MiB of it: what is measured here would be how much was ever freed. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=4"; }

struct watch { uint64_t settled_at, settled, last; }; /* resident bytes at an instruction count, and now */

static bool watch_look(void *self, uint64_t instructions)
{
	struct watch *w = self;
	w->last = resident_bytes();
	if (instructions < w->settled_at || !w->settled)
		w->settled = w->last;
	return true;
}

static void long_run(struct machine *m, uint64_t instructions, const char *what)
{
	struct watch w = { .settled_at = instructions / 4 };
	machine_set_progress(m, watch_look, &w);
	machine_run(m);
	uint64_t ran = machine_cpu(m)->icount, grown = w.last > w.settled ? w.last - w.settled : 0;
	machine_destroy(m);
	CU_ASSERT(ran >= instructions);
	CU_ASSERT(grown < LONG_GROWS);
	if (ran < instructions || grown >= LONG_GROWS)
		printf("  %s: %llu instructions, grew by %llu KiB in the last three quarters\n", what, (unsigned long long)ran, (unsigned long long)grown >> 10);
}

static uint64_t long_instructions = 20000000;

/* Code that never was, page tables built and torn down, processes that come and go: what the simulator remembers of them must not grow without bound. */
static void test_long_runs(void)
{
	static const char *const commands[] = { "init=ptstorm n=1000000 pages=128", "init=execs n=1000000", "init=forkwait n=1000000" };
	static const unsigned kinds[] = { TECHNIQUE_NATIVE, TECHNIQUE_SHADOW, TECHNIQUE_NESTED_EPT, TECHNIQUE_BT };
	for (unsigned i = 0; i < 2 * 4; i++) {
		struct machine_config c;
		char error[400] = "", what[160];
		guest_config(&c, &techniques[kinds[i % 4]], i & 1 ? 32 : 64, commands[i % 3], 16);
		snprintf(c.core, sizeof c.core, "fixed");
		snprintf(c.engine, sizeof c.engine, "%s", i < 4 ? "dbt" : "threaded");
		snprintf(what, sizeof what, "%.60s, %s, %s", c.cmdline, c.technique, c.engine);
		c.max_instructions = long_instructions;
		c.block_cache_bytes = 1u << 20;
		struct machine *m = machine_create(&c, error, sizeof error);
		CU_ASSERT_FATAL(m && machine_load(m, error, sizeof error));
		long_run(m, long_instructions, what);
	}
	for (unsigned i = 0; i < 4; i++) {
		struct machine_config c;
		char what[160];
		guest_config(&c, &techniques[kinds[i]], 32, "", 4);
		snprintf(c.core, sizeof c.core, "fixed");
		snprintf(c.engine, sizeof c.engine, "%s", i & 1 ? "threaded" : "dbt");
		snprintf(what, sizeof what, "code without end, %s, %s", c.technique, c.engine);
		c.max_instructions = long_instructions / 4;
		c.block_cache_bytes = 4u << 20;
		long_run(guest_make(&c, 1, UINT32_MAX), long_instructions / 4, what);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1)
		long_instructions = strtoull(argv[1], NULL, 0);
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("scaling", NULL, NULL);
	CU_add_test(s, "machines on threads", test_threads);
	CU_add_test(s, "memory is what was touched", test_memory);
	CU_add_test(s, "code without end", test_endless_code);
	CU_add_test(s, "long runs", test_long_runs);
	CU_add_test(s, "code without end, recorded", test_endless_recording);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
