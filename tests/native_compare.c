/* The comparison of the real CPU with every engine, and the values that go into it. See native_oracle.h. */
#include "native_oracle.h"
#include <CUnit/Basic.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FLAGS_COMPARED (FLAGS_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID)
enum { PRINT_AT_MOST = 40 };

uint64_t session_random(struct native_session *s) /* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016 */
{
	s->seed ^= s->seed >> 12;
	s->seed ^= s->seed << 25;
	s->seed ^= s->seed >> 27;
	return s->seed * 0x2545f4914f6cdd1dull;
}

uint64_t session_value(struct native_session *s)
{
	static const uint64_t corner[] = { 0, 1, 2, 3, 7, 8, 9, 0xf, 0x10, 0x1f, 0x20, 0x3f, 0x40, 0x7e, 0x7f, 0x80, 0x81, 0x99, 0x9a, 0xfe, 0xff, 0x100, 0x7fff, 0x8000, 0x8001,
		0xffff, 0x10000, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0x8000000000000001,
		0xffffffffffffff7f, 0xffffffffffffff80, 0xffffffffffff7fff, 0xffffffffffff8000, 0xffffffff7fffffff, 0xffffffff80000000, 0xfffffffffffffffe, 0xffffffffffffffff };
	const uint64_t r = session_random(s);
	switch (r >> 61) {
	case 0:
	case 1:
	case 2:
		return corner[(r & 0xffff) % (sizeof corner / sizeof *corner)];
	case 3:
		return 1ull << (r & 63);
	case 4:
		return session_random(s) >> (r & 63);
	default:
		return session_random(s);
	}
}

void session_fill(struct native_session *s, struct native_state *n, unsigned mode)
{
	for (unsigned i = 0; i < 16; i++)
		n->reg[i] = mode == 8 ? session_value(s) : (uint32_t)session_value(s);
	n->reg[REG_SP] = NATIVE_SP;
	n->rip = NATIVE_ENTRY;
	n->eflags = 0x202 | ((uint32_t)session_random(s) & (FLAGS_ARITH | FLAG_ID));
	n->mxcsr = 0x1f80;
	for (unsigned i = 0; i < 16; i++)
		n->xmm[i] = (union xmm){ .q = { session_value(s), session_value(s) } };
	for (unsigned i = 0; i < NATIVE_WINDOW_BYTES; i += 8) {
		const uint64_t v = session_value(s), w = session_value(s);
		memcpy(n->data + i, &v, 8);
		memcpy(n->stack + i, &w, 8);
	}
}

bool session_open(struct native_session *s, int argc, char **argv)
{
	const char *why;
	*s = (struct native_session){ .seed = 0x9e3779b97f4a7c15ull ^ (argc > 1 ? strtoull(argv[1], NULL, 0) << 20 : 0) };
	s->native = native_open(&why);
	if (!s->native) {
		printf("SKIPPED: the real CPU cannot be asked: %s\n", why);
		return false;
	}
	if (!native_has_32(s->native))
		printf("SKIPPED in part: this kernel runs no 32-bit code (CS 0x23), so i386 is not compared\n");
	for (unsigned i = 0; engines[i].name && i < 7; i++) {
		s->model[i] = model_open(&engines[i]);
		s->engine[i] = engines[i].name;
	}
	return true;
}

void session_close(struct native_session *s)
{
	for (unsigned i = 0; s->model[i]; i++)
		model_close(s->model[i]);
	native_close(s->native);
}

/* Equal, both NaN or zero alike, or within the manual's bound for approximations, twice (each side may be off by as much). */
static bool float_near(float a, float b)
{
	union { float f; uint32_t d; } x = { a }, y = { b };
	return x.d == y.d || fabsf(a - b) <= fabsf(a) * 3 * 0x1p-12f || (fabsf(a) < 0x1p-125f && fabsf(b) < 0x1p-125f);
}

static bool xmm_same(const struct native_code *c, const union xmm *a, const union xmm *b)
{
	if (!memcmp(a, b, 16))
		return true;
	for (unsigned i = 0; i < 4; i++)
		if (!c->approximate || !float_near(a->f[i], b->f[i]))
			return false;
	return true;
}

/* The name of the first thing that differs; NULL: nothing. */
static const char *state_difference(const struct native_code *c, const struct native_state *before, const struct native_state *real, const struct native_state *ours)
{
	static const char *const names[] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	const bool wide = c->mode == 8 && real->selector[0] != 0x23; /* code that left 64-bit mode has half of its registers left to show */
	const unsigned registers = wide ? 16 : 8;
	const uint64_t width = wide ? ~0ull : 0xffffffffull;
	uint32_t undefined = c->fixed;
	if (c->undefined)
		undefined = c->undefined(before, c->fixed);
	if (real->vector >= 0 && real->vector != VEC_DE)
		undefined = 0;
	if (real->vector != ours->vector)
		return "vector";
	if (real->rip != ours->rip)
		return "rip";
	/* of an address beyond a user's (TASK_SIZE_MAX) Linux says "present", to hide what is there */
	if ((real->error ^ ours->error) & (real->cr2 >= 0x7ffffffff000 ? ~1u : ~0u))
		return "error code";
	for (unsigned i = 0; i < 4; i++)
		if (real->selector[i] != ours->selector[i] && !(real->selector[i] == 0 && ours->selector[i] < 4)) /* any interrupt's IRET may leave a null as 0 */
			return "selectors";
	if (real->cr2 != ours->cr2)
		return "cr2";
	for (unsigned i = 0; i < registers; i++)
		if ((real->reg[i] ^ ours->reg[i]) & width & ~(uint64_t)(i == REG_CX ? c->fixed_cx : 0))
			return names[i];
	if ((real->eflags ^ ours->eflags) & FLAGS_COMPARED & ~undefined)
		return "flags";
	if (real->mxcsr != ours->mxcsr)
		return "mxcsr";
	for (unsigned i = 0; i < registers; i++)
		if (!xmm_same(c, &real->xmm[i], &ours->xmm[i]))
			return "xmm";
	if (memcmp(real->data, ours->data, sizeof real->data))
		return "data";
	return memcmp(real->stack, ours->stack, sizeof real->stack) ? "stack" : NULL;
}

static void state_print(const char *title, const struct native_state *n, const struct native_code *c, const struct native_state *before)
{
	const bool first = n == before;
	printf("    %-7s", title);
	for (unsigned i = 0; i < (c->mode == 8 ? 16u : 8u); i++)
		if (first || n->reg[i] != before->reg[i])
			printf(" r%u=%llx", i, (unsigned long long)n->reg[i]);
	if (!first)
		printf(" cs=%x ss=%x ds=%x es=%x", n->selector[0], n->selector[1], n->selector[2], n->selector[3]);
	printf(" fl=%x mxcsr=%x vec=%d err=%x cr2=%llx rip=%+lld\n", n->eflags & 0xfd5, n->mxcsr, first ? 0 : n->vector, first ? 0 : n->error,
	       first ? 0 : (unsigned long long)n->cr2, (long long)(n->rip - NATIVE_ENTRY));
	for (unsigned i = 0; i < (c->mode == 8 ? 16u : 8u); i++)
		if (!first && memcmp(&n->xmm[i], &before->xmm[i], 16))
			printf("            xmm%u %016llx:%016llx was %016llx:%016llx\n", i, (unsigned long long)n->xmm[i].q[1], (unsigned long long)n->xmm[i].q[0],
			       (unsigned long long)before->xmm[i].q[1], (unsigned long long)before->xmm[i].q[0]);
	for (unsigned i = 0; i < NATIVE_WINDOW_BYTES && !first; i++)
		if (n->data[i] != before->data[i])
			printf("            data[%u] %02x was %02x\n", i, n->data[i], before->data[i]);
	for (unsigned i = 0; i < NATIVE_STACK_BYTES && !first; i++)
		if (n->stack[i] != before->stack[i])
			printf("            stack[%u] %02x was %02x\n", i, n->stack[i], before->stack[i]);
}

static void code_print(const struct native_code *c)
{
	printf("  %s, %u-bit code:", c->name, c->mode * 8);
	for (unsigned i = 0; i < c->length; i++)
		printf(" %02x", c->code[i]);
}

static void difference_print(struct native_session *s, const struct native_code *c, const char *engine, const char *what, unsigned i, const struct native_state *ours)
{
	if (s->printed++ >= PRINT_AT_MOST)
		return;
	code_print(c);
	printf(": %s differs in %s\n", engine, what);
	state_print("before", &native_before(s->native)[i], c, &native_before(s->native)[i]);
	state_print("real", &native_after(s->native)[i], c, &native_before(s->native)[i]);
	state_print("ours", ours, c, &native_before(s->native)[i]);
}

void session_check(struct native_session *s, const struct native_code *c, unsigned count)
{
	if (c->mode == 4 && !native_has_32(s->native))
		return;
	if (!native_run(s->native, c->mode, c->code, c->length, count)) {
		code_print(c);
		printf(": the real machine did not come back\n");
		s->died++;
		return;
	}
	s->cases += count;
	unsigned shown = 0; /* one difference of this code is enough to look at */
	for (unsigned e = 0; s->model[e]; e++) {
		unsigned here = 0;
		model_load(s->model[e], c->mode, c->code, c->length);
		for (unsigned i = 0; i < count; i++) {
			struct native_state ours;
			model_run(s->model[e], &native_before(s->native)[i], &ours);
			const char *what = state_difference(c, &native_before(s->native)[i], &native_after(s->native)[i], &ours);
			if (!what)
				continue;
			s->differences++;
			here++;
			if (shown++ == 0)
				difference_print(s, c, s->engine[e], what, i, &ours);
		}
		if (!model_pages_agree(s->model[e]) && !here) {
			s->differences++;
			code_print(c);
			printf(": %s wrote other memory than the real CPU\n", s->engine[e]);
		}
	}
}

int session_run(struct native_session *s, const char *suite, const struct native_test *tests)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite all = CU_add_suite(suite, NULL, NULL);
	for (const struct native_test *t = tests; t->name; t++)
		CU_add_test(all, t->name, t->run);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	const unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	printf("%llu cases against the real CPU, each on every engine\n", (unsigned long long)s->cases);
	session_close(s);
	return failures != 0;
}
