/*
 * Proves that user-mode integer instructions do what the real CPU does: every register, flag that the manual defines, memory byte and exception, in 32-bit
 * and 64-bit code, on every engine. Independent reference: the processor that runs this test (native_oracle.h).
 */
#include "native_encode.h"
#include <CUnit/Basic.h>
#include <stdio.h>

enum { STATES = 40, REGISTER_VARIANTS = 6, MEMORY_VARIANTS = 10, OTHER_VARIANTS = 4 };

static struct native_session session; /* one oracle for all suites of this program */

static void run_variant(struct variant *v)
{
	struct native_state *n = native_before(session.native);
	variant_encode(&session, v, false);
	for (unsigned i = 0; i < STATES; i++) {
		session_fill(&session, &n[i], v->mode);
		variant_fill(&session, v, &n[i]);
	}
	session_check(&session, &v->code, STATES);
}

static void run_row_size(const struct row *row, unsigned mode, unsigned size)
{
	const bool modrm = strchr(row->encoding, '/') != NULL;
	const unsigned others = strchr(row->encoding, ' ') ? OTHER_VARIANTS : 1;
	for (unsigned i = 0; i < (modrm ? MEMORY_VARIANTS : others); i++)
		run_variant(&(struct variant){ .row = row, .mode = mode, .size = size, .memory = true });
	for (unsigned i = 0; i < REGISTER_VARIANTS && modrm && !(row->traits & MEMORY); i++)
		run_variant(&(struct variant){ .row = row, .mode = mode, .size = size, .memory = false });
}

static void run_rows(unsigned mode)
{
	const struct row *row;
	for (unsigned i = 0; (row = row_get(i)); i++) {
		if (row->traits & (mode == 8 ? ONLY32 : ONLY64))
			continue;
		for (const char *size = row->sizes; *size; size++) {
			if (*size == 's')
				run_row_size(row, mode, 2);
			if (*size != 'q' || mode == 8)
				run_row_size(row, mode, row_bytes(*size, mode));
		}
	}
}

static void report(const char *what, uint64_t since, uint64_t differences)
{
	printf("\n    %s: %llu cases, %llu differences over all engines\n", what, (unsigned long long)(session.cases - since),
	       (unsigned long long)(session.differences - differences));
	CU_ASSERT_EQUAL(session.differences, differences);
	CU_ASSERT_EQUAL(session.died, 0);
}

static void test_rows_64(void)
{
	const uint64_t since = session.cases, differences = session.differences;
	run_rows(8);
	report("every row, 64-bit code", since, differences);
}

static void test_rows_32(void)
{
	const uint64_t since = session.cases, differences = session.differences;
	run_rows(4);
	report("every row, 32-bit code", since, differences);
}

/* ---------------------------------------------------------------- all pairs of bytes */
struct sweep { /* AX runs from 0 in steps up to `ax`, BL over `bl` values (all, or some), carry in both ways if `carries` */
	const char *name;
	uint8_t code[3];
	uint8_t length;
	uint8_t modes;     /* bit 0: 32-bit code, bit 1: 64-bit code */
	bool divides;      /* AX is 16 bits wide, BL takes corner values */
	uint8_t flags;     /* how many combinations of CF (2) or CF and AF (4) */
	uint32_t undefined;
	bool shifts;       /* BL's value goes to CL, counts 0..63 */
};
static const struct sweep sweeps[] = {
	{ "add al,bl", { 0x00, 0xd8 }, 2, 3, false, 1, 0, false }, { "or al,bl", { 0x08, 0xd8 }, 2, 3, false, 1, FLAG_AF, false },
	{ "adc al,bl", { 0x10, 0xd8 }, 2, 3, false, 2, 0, false }, { "sbb al,bl", { 0x18, 0xd8 }, 2, 3, false, 2, 0, false },
	{ "and al,bl", { 0x20, 0xd8 }, 2, 3, false, 1, FLAG_AF, false }, { "sub al,bl", { 0x28, 0xd8 }, 2, 3, false, 1, 0, false },
	{ "xor al,bl", { 0x30, 0xd8 }, 2, 3, false, 1, FLAG_AF, false }, { "cmp al,bl", { 0x38, 0xd8 }, 2, 3, false, 1, 0, false },
	{ "test al,bl", { 0x84, 0xd8 }, 2, 3, false, 1, FLAG_AF, false }, { "xadd al,bl", { 0x0f, 0xc0, 0xd8 }, 3, 2, false, 1, 0, false },
	{ "cmpxchg bl,al", { 0x0f, 0xb0, 0xc3 }, 3, 2, false, 1, 0, false },
	{ "mul bl", { 0xf6, 0xe3 }, 2, 3, false, 1, FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF, false }, { "imul bl", { 0xf6, 0xeb }, 2, 3, false, 1, FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF, false },
	{ "div bl", { 0xf6, 0xf3 }, 2, 3, true, 1, FLAGS_ARITH, false }, { "idiv bl", { 0xf6, 0xfb }, 2, 3, true, 1, FLAGS_ARITH, false },
	{ "rol al,cl", { 0xd2, 0xc0 }, 2, 3, false, 2, ROTATES, true }, { "ror al,cl", { 0xd2, 0xc8 }, 2, 3, false, 2, ROTATES, true },
	{ "rcl al,cl", { 0xd2, 0xd0 }, 2, 3, false, 2, ROTATES, true }, { "rcr al,cl", { 0xd2, 0xd8 }, 2, 3, false, 2, ROTATES, true },
	{ "shl al,cl", { 0xd2, 0xe0 }, 2, 3, false, 2, SHIFTS, true }, { "shr al,cl", { 0xd2, 0xe8 }, 2, 3, false, 2, SHIFTS, true },
	{ "sar al,cl", { 0xd2, 0xf8 }, 2, 3, false, 2, SHIFTS_SIGNED, true },
	{ "daa", { 0x27 }, 1, 1, false, 4, FLAG_OF, false }, { "das", { 0x2f }, 1, 1, false, 4, FLAG_OF, false },
	{ "aaa", { 0x37 }, 1, 1, false, 4, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF, false }, { "aas", { 0x3f }, 1, 1, false, 4, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF, false },
	{ "aam", { 0xd4, 0x0a }, 2, 1, false, 1, FLAG_OF | FLAG_AF | FLAG_CF, false }, { "aad", { 0xd5, 0x0a }, 2, 1, true, 1, FLAG_OF | FLAG_AF | FLAG_CF, false },
	{ "inc al", { 0xfe, 0xc0 }, 2, 3, false, 2, 0, false }, { "dec al", { 0xfe, 0xc8 }, 2, 3, false, 2, 0, false }, { "neg al", { 0xf6, 0xd8 }, 2, 3, false, 2, 0, false },
};

/* Batches cases that differ in AX, BL, CL and flags only. */
static void sweep_put(struct native_code *c, unsigned *filled, unsigned ax, unsigned b, unsigned flags)
{
	struct native_state *n = &native_before(session.native)[(*filled)++];
	n->reg[REG_AX] = ax;
	n->reg[REG_BX] = b;
	n->reg[REG_CX] = b;
	n->eflags = 0x202 | (flags & 1 ? FLAG_CF : 0) | (flags & 2 ? FLAG_AF : 0);
	if (*filled == NATIVE_BATCH) {
		session_check(&session, c, *filled);
		*filled = 0;
	}
}

static void sweep_run(const struct sweep *w, unsigned mode)
{
	static const uint8_t divisors[] = { 0, 1, 2, 3, 10, 0x7f, 0x80, 0x81, 0xfe, 0xff };
	struct native_code c = { .name = w->name, .mode = mode, .length = w->length, .fixed = w->undefined };
	unsigned filled = 0;
	memcpy(c.code, w->code, sizeof w->code);
	if (w->undefined & KIND) {
		c.undefined = shift_undefined;
		c.fixed |= 3u << 20;
	}
	for (unsigned i = 0; i < NATIVE_BATCH; i++) {
		session_fill(&session, &native_before(session.native)[i], mode);
		native_before(session.native)[i].eflags = 0x202;
	}
	const unsigned others = w->divides ? sizeof divisors : w->shifts ? 64 : 256;
	for (unsigned flags = 0; flags < w->flags; flags++)
		for (unsigned k = 0; k < others; k++)
			for (unsigned ax = 0; ax < (w->divides ? 65536u : 256u); ax++)
				sweep_put(&c, &filled, w->divides ? ax : (ax | k << 8), w->divides ? divisors[k] : k, flags);
	if (filled)
		session_check(&session, &c, filled);
}

static void test_sweeps(void)
{
	const uint64_t since = session.cases, differences = session.differences;
	for (unsigned i = 0; i < sizeof sweeps / sizeof *sweeps; i++) {
		if (sweeps[i].modes & 1)
			sweep_run(&sweeps[i], 4);
		if (sweeps[i].modes & 2)
			sweep_run(&sweeps[i], 8);
	}
	report("every pair of bytes", since, differences);
}

int main(int argc, char **argv)
{
	static const struct native_test tests[] = { { "every row in 64-bit code", test_rows_64 }, { "every row in 32-bit code", test_rows_32 }, { "every pair of bytes", test_sweeps }, { NULL, NULL } };
	if (!session_open(&session, argc, argv))
		return NATIVE_SKIPPED;
	return session_run(&session, "user-mode integer instructions against the real CPU", tests);
}
