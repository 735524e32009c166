/*
 * Proves that the hash of system calls tells calls apart: every bit of every register and of the place counts; calls that differ in one bit, in two, or in small numbers as arguments have
 * them, all have hashes of their own; about half of the hash changes with any bit; what two calls exchange changes their sum; and what must not count does not.
 */
#include "isa/user_calls.h"
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t hash_fn(const uint64_t *r, uint64_t pc);
struct width {
	hash_fn *hash;
	unsigned pairs, bits;
	const struct user_call_pair *pair;
};
static const struct width widths[] = {
	{ user_call_hash64, USER_CALL_PAIRS64, 64, user_call_pairs64 },
	{ user_call_hash32, USER_CALL_PAIRS32, 32, user_call_pairs32 },
};
enum { WIDTHS = sizeof widths / sizeof *widths };

/* A call as programs make them: a number, a descriptor, pointers, zeros. */
static void registers_fill(uint64_t r[REG_COUNT])
{
	memset(r, 0, REG_COUNT * sizeof *r);
	r[REG_AX] = 1, r[REG_DI] = 2, r[REG_SI] = 0x402010, r[REG_DX] = 6, r[REG_SP] = 0x7ffd1234, r[REG_BX] = 0x401000, r[REG_R12] = 0x7fff0000;
}

static int hash_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static bool all_different(uint64_t *h, size_t n)
{
	qsort(h, n, sizeof *h, hash_order);
	for (size_t i = 1; i < n; i++)
		if (h[i] == h[i - 1])
			return false;
	return true;
}

/* Bit `bit` of all that counts: the registers by pairs, then the place, which lies behind them in r. */
static void bit_flip(const struct width *w, uint64_t *r, unsigned bit)
{
	unsigned i = bit / w->bits;
	unsigned reg = i == 2 * w->pairs ? (unsigned)REG_COUNT : i & 1 ? w->pair[i / 2].second : w->pair[i / 2].first;
	r[reg] ^= 1ull << bit % w->bits;
}

static void test_bits(void)
{
	for (const struct width *w = widths; w < widths + WIDTHS; w++) {
		unsigned bits = (2 * w->pairs + 1) * w->bits;
		size_t n = 0, flips = 0;
		uint64_t r[REG_COUNT + 1], *h = malloc((1 + bits + (size_t)bits * bits / 2) * sizeof *h);
		CU_ASSERT_PTR_NOT_NULL_FATAL(h);
		registers_fill(r);
		r[REG_COUNT] = 0x401234;
		h[n++] = w->hash(r, r[REG_COUNT]);
		for (unsigned a = 0; a < bits; a++) {
			bit_flip(w, r, a);
			h[n] = w->hash(r, r[REG_COUNT]);
			unsigned changed = (unsigned)__builtin_popcountll(h[n++] ^ h[0]);
			flips += changed;
			CU_ASSERT_TRUE(changed >= 8 && changed <= 56); /* six standard deviations of a fair coin */
			for (unsigned b = a + 1; b < bits; b++) {
				bit_flip(w, r, b);
				h[n++] = w->hash(r, r[REG_COUNT]);
				bit_flip(w, r, b);
			}
			bit_flip(w, r, a);
		}
		CU_ASSERT_TRUE(flips > bits * 31 && flips < bits * 33);
		CU_ASSERT_TRUE(all_different(h, n));
		free(h);
	}
}

/* Small numbers in any four registers: none of them makes up for another. */
static void test_small_numbers(void)
{
	enum { SIDE = 12, ALL = SIDE * SIDE * SIDE * SIDE };
	uint64_t *h = malloc(ALL * sizeof *h), seed = 1;
	CU_ASSERT_PTR_NOT_NULL_FATAL(h);
	for (unsigned round = 0; round < 20; round++) {
		const struct width *w = &widths[round % WIDTHS];
		uint64_t r[REG_COUNT];
		unsigned reg[4];
		registers_fill(r);
		for (unsigned i = 0; i < 4; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			reg[i] = (unsigned)(seed >> 33) % w->pairs;
			reg[i] = i & 1 ? w->pair[reg[i]].second : w->pair[reg[i]].first;
		}
		if (reg[0] == reg[2] || reg[1] == reg[3])
			continue;
		for (unsigned i = 0; i < ALL; i++) {
			for (unsigned k = 0, v = i; k < 4; k++, v /= SIDE)
				r[reg[k]] = v % SIDE;
			h[i] = w->hash(r, 0x1000);
		}
		CU_ASSERT_TRUE(all_different(h, ALL));
	}
	free(h);
}

/* Two registers of a call change places; two calls exchange what one register holds. */
static void test_exchanges(void)
{
	for (const struct width *w = widths; w < widths + WIDTHS; w++)
		for (unsigned i = 0; i < 2 * w->pairs; i++)
			for (unsigned k = 0; k < 2 * w->pairs; k++) {
				unsigned a = i & 1 ? w->pair[i / 2].second : w->pair[i / 2].first, b = k & 1 ? w->pair[k / 2].second : w->pair[k / 2].first;
				uint64_t r[4][REG_COUNT];
				for (unsigned c = 0; c < 4; c++)
					registers_fill(r[c]);
				if (a == b)
					continue;
				r[0][a] = r[2][a] = 3, r[0][b] = r[3][b] = 4, r[1][a] = r[3][a] = 5, r[1][b] = r[2][b] = 6;
				CU_ASSERT_NOT_EQUAL(w->hash(r[0], 9) + w->hash(r[1], 9), w->hash(r[2], 9) + w->hash(r[3], 9));
				r[0][a] = 4, r[0][b] = 3, r[3][a] = 3, r[3][b] = 4;
				CU_ASSERT_NOT_EQUAL(w->hash(r[0], 9), w->hash(r[3], 9));
			}
}

/* RCX and R11 of 64-bit code, the upper halves in 32-bit code, and other privilege levels. */
static void test_does_not_count(void)
{
	struct cpu cpu = { .cpl = 3, .code_size = 8 }, other = { .cpl = 3, .code_size = 8 };
	registers_fill(cpu.reg);
	registers_fill(other.reg);
	other.reg[REG_CX] = 7, other.reg[REG_R11] = 8;
	user_call_count(&cpu, 5);
	user_call_count(&other, 5);
	CU_ASSERT_TRUE(cpu.user_calls && cpu.user_calls == other.user_calls);
	cpu.code_size = other.code_size = 4;
	other.reg[REG_CX] = 0;
	for (unsigned i = 0; i < 16; i++)
		other.reg[i] ^= 0xabcdull << 48;
	user_call_count(&cpu, 5);
	user_call_count(&other, 5);
	CU_ASSERT_EQUAL(cpu.user_calls, other.user_calls);
	other.cpl = 0;
	user_call_count(&other, 5);
	CU_ASSERT_EQUAL(cpu.user_calls, other.user_calls);
}

int main(void)
{
	static CU_TestInfo tests[] = {
		{ "every bit and every two bits have a hash of their own", test_bits },
		{ "small numbers in four registers", test_small_numbers },
		{ "what changes places", test_exchanges },
		{ "what does not count", test_does_not_count }, CU_TEST_INFO_NULL,
	};
	static CU_SuiteInfo suites[] = { { "isa user calls", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };
	CU_initialize_registry();
	CU_register_suites(suites);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
