/* Event streams for trace tests: deterministic, and nasty where the format has corners. */
#ifndef TESTS_TRACE_SAMPLES_H
#define TESTS_TRACE_SAMPLES_H
#include "traces/format.h"

static inline uint64_t sample_random(uint64_t *state) /* splitmix64 (Vigna 2015) */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Any layer-1 events, all fields random, extremes often; blocks name entries below `blocks`, pairs are whole. Returns how many were made (n, or n + 1). */
static inline size_t sample_events(struct event *to, size_t n, uint32_t blocks, uint64_t seed)
{
	static const uint64_t edge[] = { 0, 1, ~0ull, 1ull << 63, 0xffffffff80000000ull, 0xfff, 0x1000 };
	size_t at = 0;
	while (at < n) {
		uint64_t r = sample_random(&seed), address = sample_random(&seed);
		struct event e = { (uint8_t)(1 + r % (EV_GUEST_KINDS - 1)), (uint8_t)(r >> 8 & ~EVF_HIDDEN), (uint16_t)(r >> 16), (uint32_t)(r >> 32), r & 1 ? address : edge[address % 7] };
		if (e.kind == EV_VALUE)
			continue;
		if (e.kind == EV_BLOCK)
			e.id %= blocks;
		if (e.kind == EV_SENSITIVE)
			e.id %= SENS_COUNT;
		if (e.kind == EV_TABLE_PAGE)
			e.addr &= ~0xfffull;
		to[at++] = e;
		if (e.kind == EV_TABLE_STORE || ((e.kind == EV_SENSITIVE || e.kind == EV_HYPERCALL) && e.aux))
			to[at++] = (struct event){ EV_VALUE, 0, 0, 0, address };
	}
	return at;
}

/* A loop as a guest makes it: two blocks in turn, an array walked, a stack slot. */
static inline void sample_loop(struct event *to, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t turn = i / 5;
		const struct event body[5] = {
			{ EV_BLOCK, 1, 6, 0, 0x401000 },
			{ EV_LOAD, 1, 8, 0, 0x600000 + 8 * turn },
			{ EV_STORE, 1, 8, 0, 0x7fff0000 },
			{ EV_BLOCK, 1, 3, 1, 0x401018 },
			{ EV_RMW, 1, 4, 0, 0x700000 + 64 * turn },
		};
		to[i] = body[i % 5];
	}
}

/* Enters `n` different blocks. */
static inline void sample_blocks(struct block_dictionary *d, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t code[BLOCK_MAX_BYTES];
		struct block_static b = { .bytes = (uint16_t)(4 + i % 40), .insns = 3, .end = (uint8_t)(i % (BLOCK_END_SYSTEM + 1)), .mode = i & 1 ? 8 : 4, .loads = 1, .code = code };
		memset(code, 0x90, sizeof code);
		memcpy(code, &i, 4);
		block_dictionary_enter(d, &b);
	}
}

static inline void sample_info(struct trace_info *info, struct trace_cpu *cpu)
{
	*info = (struct trace_info){ .width = 64, .memory_bytes = 16 << 20, .technique = "native", .workload = "sample", .description = "workload: \"sample\"\n" };
	*cpu = (struct trace_cpu){ .count = 2, .reg = { { "cr3", 0x1234000 }, { "cpl", 3 } } };
}
#endif
