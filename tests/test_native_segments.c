/*
 * Proves that user code handles segments as on the real CPU: loads of DS, ES and SS with null, good, privileged, absent and local selectors, far jumps, calls,
 * returns and IRET within and between 32-bit and 64-bit code, LAR, LSL, VERR, VERW and ARPL. The descriptors are those that Linux gives every process (the
 * model has a copy). Independent reference: the processor that runs this test (native_oracle.h).
 */
#include "native_oracle.h"
#include <CUnit/Basic.h>
#include <stdio.h>

enum { STATES = 256 };

enum form {
	SELECTOR_AX,    /* the selector is in AX */
	SELECTOR_MEMORY, /* in memory at BX */
	SELECTOR_STACK, /* on top of the stack */
	POINTER,        /* at BX: offset, selector */
	RETURN_FAR,     /* on the stack: offset, selector */
	RETURN_INTERRUPT, /* on the stack: offset, selector, flags, and in 64-bit code SP, SS */
	DIRECT,         /* in the instruction: its last bytes are filled in */
};
struct case_row {
	const char *name;
	enum form form;
	uint8_t modes; /* 4, 8 or 12 for both */
	uint8_t size;  /* of the offset in bytes; 0: the mode's */
	uint8_t length, code[8];
};
static const struct case_row rows[] = {
	{ "mov es, ax", SELECTOR_AX, 12, 0, 2, { 0x8e, 0xc0 } }, { "mov ss, ax", SELECTOR_AX, 12, 0, 2, { 0x8e, 0xd0 } }, { "mov ds, ax", SELECTOR_AX, 12, 0, 2, { 0x8e, 0xd8 } },
	{ "mov cs, ax", SELECTOR_AX, 12, 0, 2, { 0x8e, 0xc8 } }, { "mov ?, ax", SELECTOR_AX, 12, 0, 2, { 0x8e, 0xf0 } },
	{ "mov ds, m", SELECTOR_MEMORY, 12, 0, 2, { 0x8e, 0x1b } }, { "mov ds, ax; mov ds, m", SELECTOR_AX, 12, 0, 4, { 0x8e, 0xd8, 0x8e, 0x1b } },
	{ "mov ds, ax; load", SELECTOR_AX, 12, 0, 4, { 0x8e, 0xd8, 0x8b, 0x0b } }, { "mov ds, ax; store", SELECTOR_AX, 12, 0, 4, { 0x8e, 0xd8, 0x89, 0x0b } },
	{ "mov es, ax; stosb", SELECTOR_AX, 12, 0, 3, { 0x8e, 0xc0, 0xaa } }, { "mov ds, ax; ss load", SELECTOR_AX, 12, 0, 5, { 0x8e, 0xd8, 0x36, 0x8b, 0x0b } },
	{ "mov ds, ax; mov ax, ds", SELECTOR_AX, 12, 0, 4, { 0x8e, 0xd8, 0x8c, 0xd8 } },
	{ "pop es", SELECTOR_STACK, 4, 0, 1, { 0x07 } }, { "pop ss", SELECTOR_STACK, 4, 0, 1, { 0x17 } }, { "pop ds", SELECTOR_STACK, 4, 0, 1, { 0x1f } },
	{ "pop ds 16", SELECTOR_STACK, 4, 0, 2, { 0x66, 0x1f } },
	{ "les", POINTER, 4, 4, 2, { 0xc4, 0x0b } }, { "lds", POINTER, 4, 4, 2, { 0xc5, 0x0b } }, { "lds 16", POINTER, 4, 2, 3, { 0x66, 0xc5, 0x0b } },
	{ "lss", POINTER, 12, 4, 3, { 0x0f, 0xb2, 0x0b } }, { "lss 16", POINTER, 12, 2, 4, { 0x66, 0x0f, 0xb2, 0x0b } },
	{ "lar", SELECTOR_AX, 12, 0, 3, { 0x0f, 0x02, 0xc8 } }, { "lar 16", SELECTOR_AX, 12, 0, 4, { 0x66, 0x0f, 0x02, 0xc8 } }, { "lar m", SELECTOR_MEMORY, 12, 0, 3, { 0x0f, 0x02, 0x0b } },
	{ "lsl", SELECTOR_AX, 12, 0, 3, { 0x0f, 0x03, 0xc8 } }, { "lsl 16", SELECTOR_AX, 12, 0, 4, { 0x66, 0x0f, 0x03, 0xc8 } }, { "lsl 64", SELECTOR_AX, 8, 0, 4, { 0x48, 0x0f, 0x03, 0xc8 } },
	{ "lar 64", SELECTOR_AX, 8, 0, 4, { 0x48, 0x0f, 0x02, 0xc8 } }, { "verr", SELECTOR_AX, 12, 0, 3, { 0x0f, 0x00, 0xe0 } }, { "verw", SELECTOR_AX, 12, 0, 3, { 0x0f, 0x00, 0xe8 } },
	{ "verr m", SELECTOR_MEMORY, 12, 0, 3, { 0x0f, 0x00, 0x23 } }, { "arpl", SELECTOR_AX, 4, 0, 2, { 0x63, 0xd0 } },
	{ "jmp far m", POINTER, 12, 4, 2, { 0xff, 0x2b } }, { "call far m", POINTER, 12, 4, 2, { 0xff, 0x1b } },
	{ "jmp far", DIRECT, 4, 4, 7, { 0xea } }, { "call far", DIRECT, 4, 4, 7, { 0x9a } },
	{ "retf", RETURN_FAR, 12, 4, 1, { 0xcb } }, { "retf 8", RETURN_FAR, 12, 4, 3, { 0xca, 0x08, 0x00 } }, { "retfq", RETURN_FAR, 8, 8, 2, { 0x48, 0xcb } },
	{ "iret", RETURN_INTERRUPT, 12, 4, 1, { 0xcf } }, { "iretq", RETURN_INTERRUPT, 8, 8, 2, { 0x48, 0xcf } },
};

static struct native_session session;

static unsigned pick(unsigned n)
{
	return (unsigned)((session_random(&session) >> 33) % n);
}

static uint16_t pick_selector(void)
{
	static const uint16_t good[] = { 0x23, 0x2b, 0x33 };
	switch (pick(5)) {
	case 0:
		return (uint16_t)pick(4); /* null */
	case 1:
		return (uint16_t)(8 + pick(48)); /* any of the six, any RPL, some local */
	case 2:
		return (uint16_t)(pick(2) ? 0x80 + pick(0x400) : 0xfff8 + pick(8)); /* past the table */
	default:
		return good[pick(3)];
	}
}

/* Where the selector's code may be arrived at: a pad of that mode; or nowhere. */
static uint64_t pick_target(unsigned mode, uint16_t selector)
{
	const bool other = (selector & ~3u) == (mode == 8 ? 0x20 : 0x30);
	if (pick(12) == 0)
		return NATIVE_BASE + 0x4000 + pick(4096);
	return NATIVE_ENTRY + (uint64_t)(other ? NATIVE_PAD_OTHER + pick(2) : 1 + pick(6)) * NATIVE_PAD_STEP;
}

static void put(uint8_t **at, uint64_t value, unsigned bytes)
{
	memcpy(*at, &value, bytes);
	*at += bytes;
}

static void fill(struct native_state *n, const struct case_row *r, unsigned mode, struct native_code *c)
{
	const uint16_t selector = pick_selector();
	const uint64_t target = pick_target(mode, selector);
	const unsigned size = r->size ? r->size : mode;
	uint8_t *data = n->data + 100, *stack = n->stack + (NATIVE_SP - NATIVE_STACK_WINDOW);
	session_fill(&session, n, mode);
	n->reg[REG_BX] = NATIVE_WINDOW + 100;
	n->reg[REG_DI] = NATIVE_WINDOW + 50;
	switch (r->form) {
	case SELECTOR_AX:
		n->reg[REG_AX] = (n->reg[REG_AX] & 0xffff0000) | selector;
		break;
	case SELECTOR_MEMORY:
		put(&data, selector, 2);
		break;
	case SELECTOR_STACK:
		put(&stack, selector, 2);
		break;
	case POINTER:
		put(&data, target, size);
		put(&data, selector, 2);
		break;
	case RETURN_INTERRUPT:
	case RETURN_FAR:
		put(&stack, target, size);
		put(&stack, selector | (pick(2) ? session_random(&session) << 16 : 0), size);
		if (r->form == RETURN_INTERRUPT) /* with flags that user code may change, and some that it may not */
			put(&stack, session_random(&session) & (FLAGS_ARITH | FLAG_DF | FLAG_ID | FLAG_IF | FLAG_IOPL), size);
		put(&stack, NATIVE_SP + 16 * pick(4), size);
		put(&stack, pick(4) ? 0x2b : pick_selector(), size);
		break;
	case DIRECT:
		memcpy(c->code + 1, &target, 4);
		memcpy(c->code + 5, &selector, 2);
		break;
	}
}

static void run_row(const struct case_row *r, unsigned mode)
{
	struct native_code c = { .name = r->name, .mode = mode, .length = r->length };
	const unsigned batch = r->form == DIRECT ? 1 : STATES;
	memcpy(c.code, r->code, sizeof r->code);
	c.fixed_cx = strncmp(r->name, "lar", 3) ? 0 : 0x000f0000; /* SDM 2 LAR: masked by 00FxFF00, x undefined */
	for (unsigned done = 0; done < STATES; done += batch) {
		for (unsigned i = 0; i < batch; i++)
			fill(&native_before(session.native)[i], r, mode, &c);
		session_check(&session, &c, batch);
	}
}

static void run_mode(unsigned mode)
{
	const uint64_t since = session.cases, differences = session.differences;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].modes & mode)
			run_row(&rows[i], mode);
	printf("\n    %u-bit code: %llu cases, %llu differences over all engines\n", mode * 8, (unsigned long long)(session.cases - since),
	       (unsigned long long)(session.differences - differences));
	CU_ASSERT_EQUAL(session.differences, differences);
	CU_ASSERT_EQUAL(session.died, 0);
}

static void test_64(void)
{
	run_mode(8);
}

static void test_32(void)
{
	run_mode(4);
}

int main(int argc, char **argv)
{
	static const struct native_test tests[] = { { "64-bit code", test_64 }, { "32-bit code", test_32 }, { NULL, NULL } };
	if (!session_open(&session, argc, argv))
		return NATIVE_SKIPPED;
	if (!native_has_32(session.native)) {
		session_close(&session);
		return NATIVE_SKIPPED;
	}
	return session_run(&session, "segments in user code against the real CPU", tests);
}
