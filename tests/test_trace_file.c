/*
 * Proves that a trace file gives back what was recorded, or says that it cannot: every byte damaged in two ways, every length it can be cut to, a disk that is full, foreign files.
 * The reference is the recorded stream.
 */
#include <CUnit/Basic.h>
#include "trace_samples.h"
#include <unistd.h>

#define BLOCKS 200
static const char path[] = "test_trace_file.trace", damaged[] = "test_trace_file.damaged";

struct recording { struct event *event; size_t count; uint8_t *bytes; size_t size; };

static void page_fill(uint8_t page[TRACE_PAGE], uint64_t gpa)
{
	for (unsigned i = 0; i < TRACE_PAGE; i += 8)
		memcpy(page + i, &(uint64_t){ i % 512 ? 0 : gpa + i }, 8);
}

/* Pages come as the MMU gives them: some before their event, some after. */
static void record_pages(struct trace_file *f, const struct event *first, const struct event *end)
{
	uint8_t page[TRACE_PAGE];
	for (; first != end; first++)
		if (first->kind == EV_TABLE_PAGE) {
			page_fill(page, first->addr);
			trace_file_page(f, first->addr, page);
		}
}

static bool record_write(const char *to, const struct event *e, size_t n, const struct run_result *result, char *error, size_t error_size)
{
	struct block_dictionary blocks;
	struct trace_info info;
	struct trace_cpu cpu;
	struct trace_file *f = trace_file_create(to, error, error_size);
	if (!f)
		return false;
	block_dictionary_create(&blocks);
	sample_info(&info, &cpu);
	sample_blocks(&blocks, BLOCKS);
	trace_file_header(f, &info, &cpu);
	for (size_t at = 0, next, turn = 0; at < n; at = next, turn++) {
		next = at + 1000 < n ? at + 1000 : n;
		next += next < n && e[next].kind == EV_VALUE; /* a sink keeps a value with its event */
		if (turn % 2)
			record_pages(f, e + at, e + next);
		trace_file_events(f, e + at, e + next, &blocks);
		if (turn % 2 == 0)
			record_pages(f, e + at, e + next);
	}
	bool ok = trace_file_close(f, result, error, error_size);
	block_dictionary_destroy(&blocks);
	return ok;
}

/* Reads all of a trace. Returns events read; *whole: no error. Compares with the recording as far as it goes. */
static size_t stream_compare(FILE *from, const struct recording *r, bool *whole, bool *noted)
{
	char error[400] = "";
	struct trace_reader *t = trace_reader_open_stream(from, "trace", error, sizeof error);
	const struct event *e;
	const uint8_t *pages;
	uint8_t expected[TRACE_PAGE];
	size_t n, total = 0;
	*whole = *noted = false;
	if (!t) {
		CU_ASSERT_NOT_EQUAL(error[0], 0);
		CU_ASSERT_PTR_NULL(strchr(error, '\n'));
		return 0;
	}
	bool ok;
	while ((ok = trace_reader_next(t, &e, &n, &pages, error, sizeof error)) && n) {
		CU_ASSERT_TRUE_FATAL(total + n <= r->count);
		CU_ASSERT_EQUAL(memcmp(e, r->event + total, n * sizeof *e), 0);
		for (size_t i = 0; i < n; i++)
			if (e[i].kind == EV_TABLE_PAGE) {
				page_fill(expected, e[i].addr);
				CU_ASSERT_EQUAL(memcmp(pages, expected, TRACE_PAGE), 0);
				pages += TRACE_PAGE;
			}
		total += n;
	}
	if (!ok)
		CU_ASSERT_NOT_EQUAL(error[0], 0);
	*whole = ok;
	*noted = trace_reader_info(t)->note[0];
	trace_reader_close(t);
	return total;
}

static size_t read_compare(const char *from, const struct recording *r, bool *whole, bool *noted)
{
	FILE *f = fopen(from, "rb");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	return stream_compare(f, r, whole, noted);
}

/* The same from memory: thousands of damaged copies need not be files. */
static size_t bytes_compare(uint8_t *bytes, size_t n, const struct recording *r, bool *whole, bool *noted)
{
	FILE *f = fmemopen(bytes, n, "rb");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	return stream_compare(f, r, whole, noted);
}

static void recording_make(struct recording *r, size_t n)
{
	struct run_result result = { .end = END_EXIT, .width = 64, .exit_code = 3, .state_hash = 0xfeedface12345678ull, .instructions = 777, .stats = 1 };
	char error[400];
	snprintf(result.stat[0].name, sizeof result.stat[0].name, "tlb.l1d.miss");
	result.stat[0].value = 99;
	r->event = malloc((n + 1) * sizeof *r->event);
	r->count = sample_events(r->event, n, BLOCKS, 5);
	CU_ASSERT_TRUE_FATAL(record_write(path, r->event, r->count, &result, error, sizeof error));
	FILE *f = fopen(path, "rb");
	fseek(f, 0, SEEK_END);
	r->size = (size_t)ftell(f);
	r->bytes = malloc(r->size);
	rewind(f);
	CU_ASSERT_EQUAL_FATAL(fread(r->bytes, 1, r->size, f), r->size);
	fclose(f);
}

static void recording_free(struct recording *r)
{
	free(r->event);
	free(r->bytes);
	unlink(path);
	unlink(damaged);
}

static void damaged_write(const uint8_t *bytes, size_t n)
{
	FILE *f = fopen(damaged, "wb");
	CU_ASSERT_EQUAL_FATAL(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static void test_round_trip(void)
{
	struct recording r;
	bool whole, noted;
	char error[400];
	recording_make(&r, 3 * TRACE_CHUNK_EVENTS / 4); /* pages make it several chunks */
	CU_ASSERT_EQUAL(read_compare(path, &r, &whole, &noted), r.count);
	CU_ASSERT_TRUE(whole);
	CU_ASSERT_FALSE(noted);
	struct trace_reader *t = trace_reader_open(path, error, sizeof error);
	const struct trace_info *i = trace_reader_info(t);
	const char *name;
	uint64_t value;
	bool found = false;
	CU_ASSERT_TRUE(i->complete);
	CU_ASSERT_EQUAL(i->events, r.count);
	CU_ASSERT_EQUAL(i->state_hash, 0xfeedface12345678ull);
	CU_ASSERT_EQUAL(i->exit_code, 3);
	CU_ASSERT_EQUAL(i->width, 64);
	CU_ASSERT_EQUAL(i->blocks, BLOCKS);
	CU_ASSERT_TRUE(i->chunks > 1);
	CU_ASSERT_STRING_EQUAL(i->technique, "native");
	CU_ASSERT_STRING_EQUAL(i->description, "workload: \"sample\"\n");
	CU_ASSERT_EQUAL(trace_reader_cpu(t)->reg[0].value, 0x1234000);
	for (unsigned k = 0; trace_reader_stat(t, k, &name, &value); k++)
		found |= !strcmp(name, "tlb.l1d.miss") && value == 99;
	CU_ASSERT_TRUE(found);
	trace_reader_close(t);
	recording_free(&r);
}

static void test_every_byte(void)
{
	struct recording r;
	bool whole, noted;
	recording_make(&r, 300);
	unsigned refused = 0, same = 0;
	for (size_t at = 0; at < r.size; at++)
		for (int way = 0; way < 2; way++) {
			uint8_t before = r.bytes[at];
			r.bytes[at] ^= way ? 0xff : (uint8_t)(1u << at % 8);
			size_t n = bytes_compare(r.bytes, r.size, &r, &whole, &noted);
			r.bytes[at] = before;
			CU_ASSERT_TRUE(!whole || n == r.count); /* an error, or every event */
			whole ? same++ : refused++;
		}
	CU_ASSERT_TRUE(refused > same);
	recording_free(&r);
}

static void test_every_length(void)
{
	struct recording r;
	bool whole, noted;
	recording_make(&r, 300);
	for (size_t n = 1; n < r.size; n++) {
		bytes_compare(r.bytes, n, &r, &whole, &noted);
		CU_ASSERT_TRUE(!whole || noted); /* what is missing is said */
	}
	recording_free(&r);
}

/* A recorder that was killed leaves whole chunks: they read back. */
static void test_killed(void)
{
	struct recording r;
	char error[400];
	bool whole, noted;
	recording_make(&r, 3 * TRACE_CHUNK_EVENTS / 4);
	CU_ASSERT_TRUE(record_write(damaged, r.event, r.count, NULL, error, sizeof error));
	CU_ASSERT_EQUAL(read_compare(damaged, &r, &whole, &noted), r.count);
	CU_ASSERT_TRUE(whole && noted);
	damaged_write(r.bytes, r.size / 2);
	size_t n = read_compare(damaged, &r, &whole, &noted);
	CU_ASSERT_TRUE(n > 0 && n < r.count && whole && noted);
	recording_free(&r);
}

static void test_full_disk(void)
{
	struct recording r;
	char error[400] = "";
	struct run_result result = { .end = END_EXIT, .width = 64 };
	recording_make(&r, 3000);
	CU_ASSERT_FALSE(record_write("/dev/full", r.event, r.count, &result, error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "No space left"));
	CU_ASSERT_FALSE(record_write("/nonexistent/x.trace", r.event, r.count, &result, error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "/nonexistent/x.trace"));
	recording_free(&r);
}

/* What only makes sense with what follows is in one batch with it, though chunks end anywhere: a value, and the exception that says that a sensitive instruction was refused. */
static void test_batches(void)
{
	static const struct event period[] = { { EV_BLOCK, 1, 3, 1, 0x401018 }, { EV_SENSITIVE, 0, 1, 2, 0x1000 }, { EV_VALUE, 0, 0, 0, 77 }, { EV_CUT, 0, 0, 1, 0 }, { EV_CUT, 0, 0, 1, 0 },
		{ EV_EXCEPTION, EVF_HAS_ERROR, 0, 13, 0 }, { EV_TABLE_STORE, 0, 8, 0, 0x2000 }, { EV_VALUE, 0, 0, 0, 78 }, { EV_SENSITIVE, 0, 0, 3, 0 }, { EV_EXCEPTION, EVF_HAS_ERROR, 0, 13, 0 }, { EV_RMW, 1, 4, 0, 64 } };
	enum { PERIOD = sizeof period / sizeof *period, N = (2 * TRACE_CHUNK_EVENTS + 50000) / PERIOD * PERIOD };
	struct run_result result = { .width = 64 };
	struct event *all = malloc(N * sizeof *all);
	char error[400] = "";
	const struct event *e;
	const uint8_t *pages;
	size_t n, total = 0, batches = 0;
	for (size_t i = 0; i < N; i++)
		all[i] = period[i % PERIOD];
	CU_ASSERT_TRUE_FATAL(record_write(path, all, N, &result, error, sizeof error));
	struct trace_reader *t = trace_reader_open(path, error, sizeof error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	while (trace_reader_next(t, &e, &n, &pages, error, sizeof error) && n) {
		unsigned phase = (total + n - 1) % PERIOD; /* of the last event */
		CU_ASSERT_TRUE_FATAL(total + n <= N);
		CU_ASSERT_EQUAL(memcmp(e, all + total, n * sizeof *e), 0);
		CU_ASSERT_TRUE((phase < 1 || phase > 4) && phase != 6 && phase != 8);
		total += n;
		batches++;
	}
	CU_ASSERT_EQUAL(total, N);
	CU_ASSERT_TRUE(batches > 2);
	CU_ASSERT_EQUAL(trace_references(trace_reader_counts(t)), N / PERIOD * 3);
	trace_reader_close(t);
	free(all);
	unlink(path);
}

static void test_foreign(void)
{
	struct recording r = { 0 };
	char error[400] = "";
	bool whole, noted;
	static const char text[] = "this is not a trace, but it is long enough to hold a header";
	damaged_write((const uint8_t *)text, sizeof text);
	read_compare(damaged, &r, &whole, &noted);
	CU_ASSERT_FALSE(whole);
	CU_ASSERT_PTR_NULL(trace_reader_open("/nonexistent", error, sizeof error));
	CU_ASSERT_PTR_NULL(trace_reader_open("/", error, sizeof error));
	CU_ASSERT_NOT_EQUAL(error[0], 0);
	unlink(damaged);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("trace file", NULL, NULL);
	CU_add_test(s, "what was recorded reads back", test_round_trip);
	CU_add_test(s, "every byte damaged: an error or the same events", test_every_byte);
	CU_add_test(s, "every length: a note or an error", test_every_length);
	CU_add_test(s, "what belongs together comes together", test_batches);
	CU_add_test(s, "a killed recorder leaves whole chunks", test_killed);
	CU_add_test(s, "a full disk is told", test_full_disk);
	CU_add_test(s, "foreign files are refused", test_foreign);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
