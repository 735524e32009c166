/*
 * Proves that the trace codec loses nothing: any events, from any seed, decode to the same bytes; that loops cost next to nothing; and that garbage is refused.
 * The reference is the input itself.
 */
#include <CUnit/Basic.h>
#include "trace_samples.h"

#define EVENTS 20000

static struct codec *codec_new(void)
{
	struct codec *c = malloc(sizeof *c);
	codec_reset(c);
	return c;
}

static struct codec_in streams_of(const struct codec_out *o)
{
	return (struct codec_in){ .tokens = { o->tokens.data, o->tokens.data + o->tokens.count, false }, .marks = { o->marks.data, o->marks.data + o->marks.count, false },
		.addresses = { o->addresses.data, o->addresses.data + o->addresses.count, false }, .details = { o->details.data, o->details.data + o->details.count, false } };
}

static void streams_free(struct codec_out *o)
{
	bytes_destroy(&o->tokens);
	bytes_destroy(&o->marks);
	bytes_destroy(&o->addresses);
	bytes_destroy(&o->details);
}

/* Encodes in batches of odd sizes, decodes at once, compares. Returns encoded bytes. */
static size_t round_trip(const struct event *e, size_t n)
{
	struct codec *c = codec_new();
	struct codec_out out = { 0 };
	struct event *back = malloc((n + 1) * sizeof *back);
	for (size_t at = 0, step = 1; at < n; at += step) {
		step = 1 + at % 977;
		step = step > n - at ? n - at : step;
		codec_encode(c, &out, e + at, e + at + step);
	}
	codec_finish(c, &out);
	size_t bytes = out.tokens.count + out.marks.count + out.addresses.count + out.details.count;
	struct codec_in in = streams_of(&out);
	codec_reset(c);
	CU_ASSERT_TRUE(codec_decode(c, &in, back, n));
	CU_ASSERT_EQUAL(memcmp(e, back, n * sizeof *e), 0);
	streams_free(&out);
	free(back);
	free(c);
	return bytes;
}

static void test_random(void)
{
	struct event *e = malloc((EVENTS + 1) * sizeof *e);
	for (uint64_t seed = 1; seed <= 20; seed++)
		round_trip(e, sample_events(e, EVENTS, seed % 2 ? 70000 : 5, seed));
	for (size_t n = 0; n < 20; n++)
		round_trip(e, n);
	free(e);
}

static void test_loop(void)
{
	struct event *e = malloc(EVENTS * sizeof *e);
	sample_loop(e, EVENTS);
	CU_ASSERT_TRUE(round_trip(e, EVENTS) < EVENTS / 100);
	free(e);
}

/* A walk over random lines of 4 MiB cannot be predicted, but must cost no more than its address and a token. */
static void test_unpredictable(void)
{
	struct event *e = malloc(EVENTS * sizeof *e);
	uint64_t seed = 7;
	sample_loop(e, EVENTS);
	for (size_t i = 0; i < EVENTS; i++)
		if (e[i].kind == EV_LOAD)
			e[i].addr = 0x600000 + sample_random(&seed) % (4 << 20);
	CU_ASSERT_TRUE(round_trip(e, EVENTS) < EVENTS / 5 * 6);
	free(e);
}

/* A jump to one of 64 blocks at random costs little more than the name of the block. */
static void test_indirect(void)
{
	struct event *e = malloc(EVENTS * sizeof *e);
	uint64_t seed = 11;
	for (size_t i = 0; i < EVENTS; i++) {
		uint64_t to = sample_random(&seed) % 64;
		e[i] = i % 2 ? (struct event){ EV_BLOCK, 1, 2, (uint32_t)to + 1, 0x500000 + 64 * to } : (struct event){ EV_BLOCK, 1, 5, 0, 0x400000 };
	}
	CU_ASSERT_TRUE(round_trip(e, EVENTS) < EVENTS / 2 * 3 / 2);
	free(e);
}

/* Repetitions of every length, two in a block, and more of them than are told apart. */
static void test_repetitions(void)
{
	struct event *e = malloc((EVENTS + 2000) * sizeof *e);
	uint64_t seed = 13;
	size_t n = 0;
	while (n < EVENTS) {
		uint64_t turns = sample_random(&seed) % 7;
		e[n++] = (struct event){ EV_BLOCK, 1, 3, 7, 0x401000 };
		for (uint64_t t = 0; t < turns; t++) {
			uint32_t times = (uint32_t)(sample_random(&seed) % 300);
			for (uint32_t i = 0; i < times; i++)
				e[n++] = (struct event){ i % 2 ? EV_STORE : EV_LOAD, 1, 8, 0, (i % 2 ? 0x700000 : 0x600000) + i / 2 * 8 };
			e[n++] = (struct event){ EV_REP, 0, 0, times, 0 };
			if (n >= EVENTS)
				break;
		}
	}
	CU_ASSERT_TRUE(round_trip(e, n) < n / 2);
	free(e);
}

/* More blocks, and more events in them, than the predictor has room for: it forgets, on both sides at once. */
static void test_forgetting(void)
{
	enum { BLOCKS = 70000, EACH = 6 };
	size_t n = 2 * BLOCKS * EACH;
	struct event *e = malloc(n * sizeof *e);
	for (size_t i = 0; i < n; i++) {
		uint32_t block = (uint32_t)(i / EACH % BLOCKS);
		e[i] = i % EACH ? (struct event){ EV_LOAD, 1, 8, 0, 0x600000 + 8 * i } : (struct event){ EV_BLOCK, 1, 5, block, 0x400000 + 20ull * block };
	}
	round_trip(e, n);
	free(e);
}

/* Where passing stops, and what it has told: the events that the filter of one page left out are counted, the others are what the batch had. */
struct passing { const struct event *at; struct event_filter *filter; uint64_t taken, differ; unsigned refuse; };

static bool passing_take(void *self, const struct event *e)
{
	struct passing *p = self;
	bool block = e->kind == EV_BLOCK;
	while (p->at->kind == EV_BLOCK ? !block || p->at->addr >> 12 != e->addr >> 12 : block || p->at->addr >> 12 != e->addr >> 12 || (p->at->kind == EV_LOAD) != (e->kind == EV_LOAD))
		p->at++; /* left out */
	p->differ += memcmp(p->at, e, sizeof *e) != 0;
	p->at++;
	if (++p->taken % 7 == p->refuse)
		return false;
	if (block)
		event_filter_block(p->filter, e->addr, 4, e->flags & EVF_USER);
	else
		event_filter_access(p->filter, e->addr, e->aux, e->kind != EV_LOAD, e->flags & EVF_USER, 0);
	return true;
}

static void pass_check(struct event *e, size_t n, unsigned refuse)
{
	static const struct event_filter_shape shape = { .granule = 12, .slots = 4, .pages = 4, .fetches = 4 };
	struct event_filter filter;
	struct codec *c = codec_new();
	struct codec_out out = { 0 };
	struct event one;
	uint64_t told = 0, instructions = 0;
	codec_encode(c, &out, e, e + n);
	codec_finish(c, &out);
	struct codec_in in = streams_of(&out);
	event_filter_create(&filter, &shape);
	struct passing passing = { .at = e, .filter = &filter, .refuse = refuse };
	struct codec_pass p = { .filter = &filter, .take = passing_take, .self = &passing };
	codec_reset(c);
	for (size_t at = 0; at < n; at++) {
		size_t passed = codec_decode_pass(c, &in, &p, n - at < 1000 ? n - at : 1000);
		instructions += p.instructions;
		for (size_t i = at; i < at + passed; i++)
			told += e[i].kind == EV_BLOCK ? e[i].aux : 0;
		at += passed;
		if (p.end == PASS_EVENT)
			told -= p.event.kind == EV_BLOCK ? p.event.aux : 0;
		CU_ASSERT_NOT_EQUAL(p.end, PASS_DAMAGED);
		CU_ASSERT_EQUAL(told, instructions);
		if (p.end != PASS_SPECIAL) {
			at--;
			continue;
		}
		CU_ASSERT_TRUE(codec_decode_part(c, &in, &one, 1));
		CU_ASSERT_EQUAL(memcmp(&one, &e[at], sizeof one), 0);
		told += one.kind == EV_BLOCK ? one.aux : 0;
		instructions += one.kind == EV_BLOCK ? one.aux : 0;
		passing.at = e + at + 1;
	}
	CU_ASSERT_TRUE(codec_ended(&in));
	CU_ASSERT_EQUAL(passing.differ, 0);
	streams_free(&out);
	free(c);
}

static void test_passing(void)
{
	struct event *e = malloc((EVENTS + 1) * sizeof *e);
	uint64_t seed = 17;
	sample_loop(e, EVENTS);
	for (size_t i = 0; i < EVENTS; i++) {
		if (e[i].kind == EV_LOAD)
			e[i].addr = 0x600000 + 8 * (sample_random(&seed) % 4096);
		if (sample_random(&seed) % 100 == 0)
			e[i] = (struct event){ EV_STATE, 0, 0, (uint32_t)seed & 3, 0 };
	}
	for (unsigned refuse = 0; refuse < 8; refuse++)
		pass_check(e, EVENTS, refuse);
	pass_check(e, sample_events(e, EVENTS, 5, 3), 1);
	free(e);
}

static void test_garbage(void)
{
	struct codec *c = codec_new();
	struct event *to = malloc(5000 * sizeof *to);
	uint8_t bytes[4][512];
	uint64_t seed = 3;
	for (int round = 0; round < 3000; round++) {
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i / 512][i % 512] = (uint8_t)(sample_random(&seed) & (round & 1 ? 0x1f : 0xff));
		struct codec_in in = { .tokens = { bytes[0], bytes[0] + round % 512, false }, .marks = { bytes[3], bytes[3] + 512, false }, .addresses = { bytes[1], bytes[1] + 512, false },
			.details = { bytes[2], bytes[2] + 512, false } };
		codec_reset(c);
		if (!codec_decode(c, &in, to, 5000))
			continue;
		CU_ASSERT_EQUAL(span_left(&in.tokens), 0);
	}
	free(to);
	free(c);
}

/* Streams that are one byte short, or one byte long, are refused: nothing is made up and nothing is left over. */
static void test_length(void)
{
	struct codec *c = codec_new();
	struct codec_out out = { 0 };
	struct event *e = malloc(1001 * sizeof *e), *back = malloc(1001 * sizeof *e);
	size_t n = sample_events(e, 1000, 9, 42);
	codec_encode(c, &out, e, e + n);
	codec_finish(c, &out);
	for (int stream = 0; stream < 4; stream++) {
		struct codec_in in = streams_of(&out);
		struct span *s = stream == 0 ? &in.tokens : stream == 1 ? &in.addresses : stream == 2 ? &in.marks : &in.details;
		if (s->at == s->end)
			continue;
		s->end--;
		codec_reset(c);
		CU_ASSERT_FALSE(codec_decode(c, &in, back, n));
	}
	struct codec_in in = streams_of(&out);
	codec_reset(c);
	CU_ASSERT_FALSE(codec_decode(c, &in, back, n - 1));
	in = streams_of(&out);
	codec_reset(c);
	CU_ASSERT_FALSE(codec_decode(c, &in, back, n + 1));
	streams_free(&out);
	free(back);
	free(e);
	free(c);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("trace codec", NULL, NULL);
	CU_add_test(s, "random events come back", test_random);
	CU_add_test(s, "a loop costs next to nothing", test_loop);
	CU_add_test(s, "random addresses cost their bytes", test_unpredictable);
	CU_add_test(s, "indirect jumps cost a name", test_indirect);
	CU_add_test(s, "repetitions come back", test_repetitions);
	CU_add_test(s, "what does not fit is forgotten", test_forgetting);
	CU_add_test(s, "references pass as they are", test_passing);
	CU_add_test(s, "garbage is refused", test_garbage);
	CU_add_test(s, "lengths are exact", test_length);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
