/*
 * What user programs ask of their kernel, as one number: cpu->user_calls, a part of the state hash.
 *
 * Invariant: it is a sum of hashes, one a call (SYSCALL, SYSENTER or INT n at CPL 3), so that the order in which processes made their calls does not matter. A hash is of the registers
 * before the call has changed any, and of where it was made; no engine and no technique changes it. The translator emits user_call_hash64() from the same table.
 *
 * The hash: registers go in pairs, (first + key) * (second + key) modulo 2^128, and the products are added: NH of UMAC (Black, Halevi, Krawczyk, Krovetz, Rogaway: UMAC, CRYPTO '99,
 * section 4.2), with words of 64 bits. What is left is folded into 64 bits by one more product, which is not linear, as sums of sums would be. Against the same hash by a chain of mixed
 * words it costs half: a multiplication for two registers, and none waits for another.
 */
#ifndef ISA_USER_CALLS_H
#define ISA_USER_CALLS_H
#include "cpu.h"

struct user_call_pair {
	uint8_t first, second; /* enum reg */
	uint64_t key[2];       /* the digits of pi, 3.243f6a88...h */
};

/* 64-bit code. Left out: RCX and R11, which SYSCALL itself overwrites with RIP and RFLAGS. 32-bit code: all eight, cut to 32 bits. */
enum { USER_CALL_PAIRS64 = 7, USER_CALL_PAIRS32 = 4 };
static const struct user_call_pair user_call_pairs64[USER_CALL_PAIRS64] = {
	{ REG_AX, REG_DI, { 0x243f6a8885a308d3, 0x13198a2e03707344 } }, { REG_SI, REG_DX, { 0xa4093822299f31d0, 0x082efa98ec4e6c89 } },
	{ REG_R10, REG_R8, { 0x452821e638d01377, 0xbe5466cf34e90c6c } }, { REG_R9, REG_SP, { 0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917 } },
	{ REG_BX, REG_BP, { 0x9216d5d98979fb1b, 0xd1310ba698dfb5ac } }, { REG_R12, REG_R13, { 0x2ffd72dbd01adfb7, 0xb8e1afed6a267e96 } },
	{ REG_R14, REG_R15, { 0xba7c9045f12c7f99, 0x24a19947b3916cf7 } },
};
static const struct user_call_pair user_call_pairs32[USER_CALL_PAIRS32] = {
	{ REG_AX, REG_BX, { 0x243f6a8885a308d3, 0x13198a2e03707344 } }, { REG_CX, REG_DX, { 0xa4093822299f31d0, 0x082efa98ec4e6c89 } },
	{ REG_SI, REG_DI, { 0x452821e638d01377, 0xbe5466cf34e90c6c } }, { REG_BP, REG_SP, { 0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917 } },
};
#define USER_CALL_LOW 0x0801f2e2858efc16ull  /* the next digits */
#define USER_CALL_HIGH 0x636920d871574e69ull
#define USER_CALL_LAST 0xa458fea3f4933d7full /* odd: the multiplication loses nothing */

/* A product added to the sum. */
static inline unsigned __int128 user_call_add(unsigned __int128 sum, const struct user_call_pair *p, uint64_t first, uint64_t second)
{
	return sum + (unsigned __int128)(first + p->key[0]) * (second + p->key[1]);
}

static inline uint64_t user_call_fold(unsigned __int128 sum)
{
	unsigned __int128 p = (unsigned __int128)((uint64_t)sum ^ USER_CALL_LOW) * ((uint64_t)(sum >> 64) ^ USER_CALL_HIGH);
	uint64_t h = ((uint64_t)p ^ (uint64_t)(p >> 64)) * USER_CALL_LAST;
	return h ^ h >> 32;
}

/* The hash of a call by the instruction at offset `pc`; r: cpu.reg. */
static inline uint64_t user_call_hash64(const uint64_t *r, uint64_t pc)
{
	unsigned __int128 sum = pc;
	const struct user_call_pair *p = user_call_pairs64;
#pragma GCC unroll 7
	for (unsigned i = 0; i < USER_CALL_PAIRS64; i++)
		sum = user_call_add(sum, &p[i], r[p[i].first], r[p[i].second]);
	return user_call_fold(sum);
}

static inline uint64_t user_call_hash32(const uint64_t *r, uint64_t pc)
{
	unsigned __int128 sum = pc;
	const struct user_call_pair *p = user_call_pairs32;
#pragma GCC unroll 4
	for (unsigned i = 0; i < USER_CALL_PAIRS32; i++)
		sum = user_call_add(sum, &p[i], (uint32_t)r[p[i].first], (uint32_t)r[p[i].second]);
	return user_call_fold(sum);
}

/* A system call is about to be made by the instruction at offset `pc`, before it changes anything and before a VMM sees it; does nothing at other privilege levels. */
static inline void user_call_count(struct cpu *cpu, uint64_t pc)
{
	if (cpu->cpl == 3)
		cpu->user_calls += cpu->code_size == 8 ? user_call_hash64(cpu->reg, pc) : user_call_hash32(cpu->reg, pc);
}
#endif
