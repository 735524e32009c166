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
	return (struct codec_in){ .tokens = { o->tokens.data, o->tokens.data + o->tokens.count, false }, .addresses = { o->addresses.data, o->addresses.data + o->addresses.count, false },
		.details = { o->details.data, o->details.data + o->details.count, false } };
}

static void streams_free(struct codec_out *o)
{
	bytes_destroy(&o->tokens);
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
	size_t bytes = out.tokens.count + out.addresses.count + out.details.count;
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

static void test_garbage(void)
{
	struct codec *c = codec_new();
	struct event *to = malloc(5000 * sizeof *to);
	uint8_t bytes[3][512];
	uint64_t seed = 3;
	for (int round = 0; round < 3000; round++) {
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i / 512][i % 512] = (uint8_t)(sample_random(&seed) & (round & 1 ? 0x1f : 0xff));
		struct codec_in in = { .tokens = { bytes[0], bytes[0] + round % 512, false }, .addresses = { bytes[1], bytes[1] + 512, false }, .details = { bytes[2], bytes[2] + 512, false } };
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
	for (int stream = 0; stream < 3; stream++) {
		struct codec_in in = streams_of(&out);
		struct span *s = stream == 0 ? &in.tokens : stream == 1 ? &in.addresses : &in.details;
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
	CU_add_test(s, "garbage is refused", test_garbage);
	CU_add_test(s, "lengths are exact", test_length);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
