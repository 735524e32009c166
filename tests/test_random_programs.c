/*
 * Proves, on random guest programs (random_program.h: loops, calls, branches, faults, strings, SSE, code that changes itself, rings, widths, page tables, interrupts):
 *   engines      in lock-step every engine has the same state at every block, and the same statistics at the end, under each technique, with and without a timing model;
 *   techniques   registers, all memory and output of the guest come out the same under every technique;
 *   ways         every way to write and consume events (filter, buffer, order, vector code), every cache and batch size gives the same result, byte for byte;
 *   replay       a recording replayed has every statistic of the run, and a native one replayed under another technique those of that technique's run;
 *   QEMU         programs that keep to what the manual defines compute what QEMU's TCG computes. Skipped, and said so, where QEMU is not installed.
 *
 * test_random_programs FIRST [COUNT]: those seeds instead, for a longer hunt; test_random_programs FIRST COUNT engines (or techniques, ways, replay, qemu): only that test.
 */
#define _GNU_SOURCE /* memfd_create */
#include "../cli/lockstep_print.h"
#include "../traces/trace.h"
#include "random_program.h"
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST = 300000, CONSOLE = 64 };

static struct hunt { uint64_t first, count; const char *only; } hunt;
static struct random_program program;
static int program_fd = -1;
struct outcome { struct run_result result; char console[CONSOLE]; };
static struct outcome reference, tested;

static void program_make(uint64_t seed, unsigned what)
{
	random_program_make(&program, seed, what);
	CU_ASSERT_FATAL(!ftruncate(program_fd, 0) && pwrite(program_fd, program.code, program.size, 0) == (ssize_t)program.size);
}

static void config_make(struct machine_config *c, const char *technique, const char *engine, const char *core)
{
	machine_config_default(c);
	snprintf(c->kernel, sizeof c->kernel, BINARY_DIR "/tests/random_guest.bin");
	snprintf(c->module, sizeof c->module, "/proc/self/fd/%d", program_fd);
	snprintf(c->technique, sizeof c->technique, "%s", technique);
	snprintf(c->engine, sizeof c->engine, "%s", engine);
	snprintf(c->core, sizeof c->core, "%s", core);
	c->memory_bytes = 8u << 20;
	c->max_instructions = MOST;
	c->block_cache_bytes = 4u << 20;
	c->softtlb_entries = 256;
}

static void guest_run(const struct machine_config *c, struct outcome *o)
{
	char error[640] = "";
	size_t bytes = 0;
	memset(o, 0, sizeof *o);
	struct machine *m = machine_create(c, error, sizeof error);
	bool loaded = m && machine_load(m, error, sizeof error);
	if (!loaded)
		printf("  %s\n", error);
	CU_ASSERT_FATAL(loaded);
	machine_run(m);
	machine_result(m, &o->result);
	const char *text = machine_console(m, &bytes);
	snprintf(o->console, sizeof o->console, "%.*s", (int)bytes, text ? text : "");
	machine_destroy(m);
}

static void program_say(uint64_t seed, const char *what, const struct outcome *o)
{
	printf("\n  seed %llu (paging %u, ring %u, width %u, timer %u): %s: %s, %s: %s after %llu, machine %016llx, not %s after %llu, %016llx", (unsigned long long)seed, program.head.kind, program.head.ring,
		program.head.width, program.head.timer, what, o->result.technique, o->result.engine, run_end_name(o->result.end), (unsigned long long)o->result.instructions,
		(unsigned long long)o->result.machine_hash, run_end_name(reference.result.end), (unsigned long long)reference.result.instructions, (unsigned long long)reference.result.machine_hash);
}

static bool hunted(const char *test) { return !hunt.only || !strcmp(hunt.only, test); }

/* ---- engines ---- */

/* Every other time none, else each core model in turn. */
static const char *core_of(uint64_t n)
{
	unsigned cores = 0;
	while (core_models[cores].name)
		cores++;
	return n % 2 ? core_models[n / 2 % cores].name : "functional";
}

static void engines_check(uint64_t seed)
{
	static const unsigned entries[] = { 256, 4096, 1, 16 }, events[] = { 4096, 2, 65536, 37 }, cache[] = { 4u << 20, 1u << 16, 1u << 18 };
	const struct engine *list[8] = { engine_find("switch") };
	const struct technique *t = &techniques[seed % TECHNIQUES];
	struct lockstep_report r;
	struct machine_config c;
	char error[640] = "";
	unsigned n = 1;
	for (const struct engine *e = engines; e->name; e++)
		if (e != list[0])
			list[n++] = e;
	program_make(seed, 0);
	config_make(&c, t->paravirtual_guest ? "native" : t->name, "switch", core_of(seed / TECHNIQUES));
	c.softtlb_entries = entries[seed / 2 % 4];
	c.event_buffer = events[seed / 3 % 4];
	c.block_cache_bytes = cache[seed / 5 % 3];
	bool ran = lockstep_run(&c, list, LOCKSTEP_TURN, &r, error, sizeof error), same = ran && !r.differ;
	CU_ASSERT(same);
	if (same)
		return;
	printf("\n  seed %llu (paging %u, ring %u, width %u, timer %u) under %s, core %s: %s\n", (unsigned long long)seed, program.head.kind, program.head.ring, program.head.width, program.head.timer, c.technique,
		c.core, error);
	if (ran)
		lockstep_print(stdout, &r, list);
}

static void test_engines(void)
{
	for (uint64_t i = 0; i < hunt.count && hunted("engines"); i++)
		engines_check(hunt.first + i);
}

/* ---- techniques ---- */
static bool technique_same(const struct outcome *a, const struct outcome *b)
{
	const struct run_result *x = &a->result, *y = &b->result;
	if (x->end != y->end || y->resource_violations)
		return false;
	/* a budget ends where the technique's blocks end; before a shutdown, the kernel's own tables may have been overwritten, without a flush */
	return x->end == END_BUDGET || x->end == END_TRIPLE_FAULT || (x->machine_hash == y->machine_hash && x->state_hash == y->state_hash && x->instructions == y->instructions && !strcmp(a->console, b->console));
}

static void techniques_check(uint64_t seed)
{
	struct machine_config c;
	unsigned n = 0;
	while (engines[n].name)
		n++;
	program_make(seed, RANDOM_TIMELESS | RANDOM_FLUSHED);
	config_make(&c, "native", "switch", "functional");
	guest_run(&c, &reference);
	for (const struct technique *t = techniques; t < techniques + TECHNIQUES; t++) {
		if (t->paravirtual_guest)
			continue;
		config_make(&c, t->name, engines[(seed + (uint64_t)(t - techniques)) % n].name, "functional");
		guest_run(&c, &tested);
		bool same = technique_same(&reference, &tested);
		CU_ASSERT(same);
		if (!same)
			program_say(seed, "the techniques differ", &tested);
	}
}

static void test_techniques(void)
{
	if (hunted("techniques"))
		techniques_check(910353); /* reads around the end of linear memory, observed without a filter */
	for (uint64_t i = 0; i < hunt.count && hunted("techniques"); i++)
		techniques_check(hunt.first + i);
}

/* ---- ways to run ---- */
struct figures { char name[400][96]; uint64_t value[400]; unsigned n; };

static bool figure_add(void *self, const char *name, uint64_t value)
{
	struct figures *f = self;
	snprintf(f->name[f->n], sizeof f->name[0], "%s", name);
	f->value[f->n++] = value;
	return f->n < 400;
}

static void figures_compare(uint64_t seed, const struct run_result *a, const struct run_result *b, const char *how)
{
	static struct figures x, y;
	x.n = y.n = 0;
	trace_result_stats(a, figure_add, &x);
	trace_result_stats(b, figure_add, &y);
	CU_ASSERT_EQUAL(x.n, y.n);
	for (unsigned i = 0; i < x.n && i < y.n; i++) {
		bool same = !strcmp(x.name[i], y.name[i]) && x.value[i] == y.value[i];
		CU_ASSERT(same);
		if (!same)
			printf("\n  seed %llu (paging %u, ring %u, width %u, timer %u) under %s, %s: %s is %llu, then %s %llu", (unsigned long long)seed, program.head.kind, program.head.ring,
				program.head.width, program.head.timer, a->technique, how, x.name[i], (unsigned long long)x.value[i], y.name[i], (unsigned long long)y.value[i]);
	}
}

static void way_set(struct machine_config *c, uint64_t seed)
{
	static const unsigned buffers[] = { 4096, 2, 65536, 37 }, entries[] = { 256, 1, 4096 };
	const enum lru_variant lru = (enum lru_variant)(seed % LRU_VARIANTS);
	unsigned n = 0;
	while (engines[n].name)
		n++;
	snprintf(c->engine, sizeof c->engine, "%s", engines[seed % n].name);
	snprintf(c->consume, sizeof c->consume, "%s", consume_name(seed / 2 % CONSUMES));
	c->preset.lru = lru_variant_runs(lru) ? lru : LRU_SCALAR;
	c->preset.tlb.no_filter = seed % 5 == 4;
	c->event_filter = seed % 7 != 6;
	c->event_buffer = buffers[seed / 3 % 4];
	c->softtlb_entries = entries[seed / 5 % 3];
	c->block_cache_bytes = seed % 4 ? 4u << 20 : 20000;
	c->batch = seed % 6 ? 1u << 22 : 1 + seed % 1009;
	c->forgetful = seed % 12 == 6;
}

static void ways_check(uint64_t seed)
{
	struct machine_config c;
	const struct technique *t = &techniques[seed % TECHNIQUES];
	program_make(seed, RANDOM_FLUSHED); /* else it may tell a large softtlb from a small one, as it may tell real TLBs apart */
	config_make(&c, t->paravirtual_guest ? "native" : t->name, "switch", "fixed");
	c.preset.lru = LRU_SCALAR;
	c.preset.tlb.no_filter = true;
	c.event_filter = false;
	c.event_buffer = 2;
	snprintf(c.consume, sizeof c.consume, "%s", consume_name(CONSUME_IN_ORDER));
	guest_run(&c, &reference);
	for (unsigned i = 0; i < 2; i++) {
		way_set(&c, seed * 2 + i);
		guest_run(&c, &tested);
		memcpy(reference.result.engine, tested.result.engine, sizeof tested.result.engine);
		bool same = !memcmp(&reference, &tested, sizeof tested);
		CU_ASSERT(same);
		if (same)
			continue;
		program_say(seed, "the ways differ", &tested);
		figures_compare(seed, &reference.result, &tested.result, c.consume);
	}
}

static void test_ways(void)
{
	static const uint64_t rare[] = {
		70061,          /* source and destination never in a table of one entry at once: iterations go one by one */
		600204, 600273, /* stores beside the code that runs, until its page is taken for data */
	};
	for (unsigned i = 0; i < sizeof rare / sizeof *rare && hunted("ways"); i++)
		ways_check(rare[i]);
	for (uint64_t i = 0; i < hunt.count && hunted("ways"); i++)
		ways_check(hunt.first + i);
}

/* ---- replay ---- */
static char trace_path[] = "/tmp/ringside-random-XXXXXX";

/* Bytes that nobody chose may read a clock: counts such reads in `self`. */
static void clock_watch(void *self, const struct event *first, const struct event *end)
{
	const uint64_t clocks = SENS_BIT(SENS_RDTSC) | SENS_BIT(SENS_RDPMC) | SENS_BIT(SENS_IO_IN) | SENS_BIT(SENS_MSR_READ);
	for (unsigned *reads = self; first < end; first++)
		*reads += first->kind == EV_SENSITIVE && (clocks >> first->id & 1);
}

/* False: nothing to compare with. It did not end by itself, or not without a look at a clock, which shows another time under another technique. */
static bool guest_record(const struct machine_config *c, struct run_result *r, bool timeless)
{
	char error[640] = "";
	unsigned reads = 0;
	struct event_consumer watch = { clock_watch, &reads, NULL, NULL };
	struct machine *m = machine_create(c, error, sizeof error);
	struct trace_writer *w = m ? trace_writer_open(trace_path, m, "", error, sizeof error) : NULL;
	CU_ASSERT_FATAL(w && machine_load(m, error, sizeof error));
	trace_writer_start(w);
	event_sink_attach(machine_events(m), &watch);
	bool ended = machine_run(m) == END_EXIT;
	machine_result(m, r);
	CU_ASSERT(trace_writer_close(w, r, error, sizeof error));
	machine_destroy(m);
	return ended && !(timeless && reads);
}

static void trace_run(const struct machine_config *c, struct run_result *r)
{
	char error[640] = "";
	struct machine *m = machine_create(c, error, sizeof error);
	struct trace_reader *t = trace_reader_open(trace_path, error, sizeof error);
	CU_ASSERT_FATAL(m && t);
	CU_ASSERT(trace_replay(t, m, NULL, NULL, error, sizeof error));
	machine_result(m, r);
	trace_reader_close(t);
	machine_destroy(m);
}

/*
 * Odd seeds: anything, under one technique. Even ones: what time plays no part in, recorded natively for another technique.
 */
static void replay_check(uint64_t seed)
{
	struct machine_config c;
	const struct technique *t = &techniques[seed / 2 % TECHNIQUES];
	const char *technique = t->paravirtual_guest ? "native" : t->name;
	program_make(seed, RANDOM_FLUSHED | (seed % 2 ? 0 : RANDOM_TIMELESS));
	config_make(&c, seed % 2 ? technique : "native", "threaded", "fixed");
	if (!guest_record(&c, &reference.result, seed % 2 == 0))
		return;
	if (seed % 2 == 0) {
		snprintf(c.technique, sizeof c.technique, "%s", technique);
		guest_run(&c, &reference);
	}
	trace_run(&c, &tested.result);
	figures_compare(seed, &reference.result, &tested.result, seed % 2 ? "its own recording" : "a native recording");
}

static void test_replay(void)
{
	static const uint64_t rare[] = {
		40994, 40196, 41586,        /* an access crosses into a page that faults: what its first page took belongs to the recording */
		166, 42374, 101366,         /* a write asked for before the same bytes are read: ARPL, PUSHA over two pages, a change to a page table */
		90362,                      /* the first page of an instruction whose second page faults */
		102442,                     /* a string instruction whose destination is not canonical */
		102572, 200793, 201123,     /* writes that a VMM makes itself: CR0.WP = 0 */
		60044,                      /* reads a clock */
	};
	int fd = mkstemp(trace_path);
	CU_ASSERT_FATAL(fd >= 0);
	close(fd);
	for (uint64_t i = 0; i < (hunt.only ? hunt.count : hunt.count * 3) && hunted("replay"); i++)
		replay_check(hunt.first + i);
	for (unsigned i = 0; i < sizeof rare / sizeof *rare && hunted("replay"); i++)
		replay_check(rare[i]);
	unlink(trace_path);
}

/* ---- QEMU ---- */
static bool qemu_run(char *console)
{
	char path[] = "/tmp/ringside-random-XXXXXX", command[1024];
	int fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0 && write(fd, program.code, program.size) == (ssize_t)program.size);
	close(fd);
	snprintf(command, sizeof command, "timeout 60 qemu-system-x86_64 -accel tcg -m 8 -kernel " BINARY_DIR "/tests/random_guest.bin -initrd %s -serial stdio -display none "
		"-device isa-debug-exit,iobase=0xf4,iosize=1 -no-reboot </dev/null 2>/dev/null", path);
	FILE *from = popen(command, "r");
	size_t n = from ? fread(console, 1, CONSOLE - 1, from) : 0;
	console[n] = 0;
	int status = from ? pclose(from) : -1;
	unlink(path);
	return status >= 0;
}

static void qemu_check(uint64_t seed)
{
	char theirs[CONSOLE];
	struct machine_config c;
	program_make(seed, RANDOM_DEFINED | RANDOM_TIMELESS | RANDOM_FLUSHED);
	config_make(&c, "native", "threaded", "functional");
	guest_run(&c, &reference);
	if (reference.result.end != END_EXIT)
		return; /* it loops, or is shut down: nothing to compare */
	CU_ASSERT(qemu_run(theirs));
	bool same = !strcmp(theirs, reference.console);
	CU_ASSERT(same);
	if (!same) {
		program_say(seed, "QEMU differs", &reference);
		printf(": %s, not %s", theirs, reference.console);
	}
}

static void test_qemu(void)
{
	if (system("command -v qemu-system-x86_64 >/dev/null")) {
		printf("SKIPPED: no qemu-system-x86_64 here ");
		return;
	}
	for (uint64_t i = 0; i < (hunt.only ? hunt.count : (hunt.count + 4) / 5) && hunted("qemu"); i++)
		qemu_check(hunt.first + i);
}

int main(int argc, char **argv)
{
	hunt = (struct hunt){ argc > 1 ? strtoull(argv[1], NULL, 0) : 1, argc > 2 ? strtoull(argv[2], NULL, 0) : argc > 1 ? 1 : 60, argc > 3 ? argv[3] : NULL };
	program_fd = memfd_create("program", 0);
	if (program_fd < 0 || CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite s = CU_add_suite("random programs", NULL, NULL);
	CU_add_test(s, "engines", test_engines);
	CU_add_test(s, "techniques", test_techniques);
	CU_add_test(s, "ways", test_ways);
	CU_add_test(s, "replay", test_replay);
	CU_add_test(s, "QEMU", test_qemu);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
