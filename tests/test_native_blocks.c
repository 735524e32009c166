/*
 * Proves that instructions mean the same in a block, and in a loop of blocks, as alone: lazy flags and the removal of dead flag results change nothing, not even when an instruction in
 * the middle faults and when the flags are looked at by a conditional branch at the end; and that a single step (EFLAGS.TF) traps where it should.
 * Independent reference: the processor that runs this test (native_oracle.h), with random sequences of instructions whose flags are all defined.
 */
#include "native_encode.h"
#include <CUnit/Basic.h>
#include <stdio.h>

enum { SEQUENCES = 12000, STATES = 24, LONGEST = 7 };

static struct native_session session;

static unsigned pick(unsigned n)
{
	return (unsigned)((session_random(&session) >> 33) % n);
}

/* May the row stand in a sequence? Nothing whose flags or operands need care, nothing that needs its own registers. */
static bool fits(const struct row *row, unsigned mode, bool last)
{
	const uint32_t never = TARGET | RETURN | POPF | ENTER | FRAME | XLAT | BOUNDS | EQUAL_PAIR | DIVIDE | ANY_ADDRESS | BIT_OFFSET | NO_FAULT;
	if (row->traits & (mode == 8 ? ONLY32 : ONLY64) || row->traits & never || (row->undefined & ~FLAG_AF))
		return false;
	if (row->traits & STRINGS && strlen(row->encoding) > 2)
		return false; /* REP: counts are wild here */
	return last || !(row->traits & BRANCH);
}

/* AF is undefined after AND, OR, XOR and TEST: nothing that reads it may follow. */
static bool reads_af(const struct row *row)
{
	static const char *const names[] = { "lahf", "pushf", "aaa", "aas", "daa", "das" };
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(row->name, names[i]))
			return true;
	return false;
}

static unsigned row_count(void)
{
	unsigned n = 0;
	while (row_get(n))
		n++;
	return n;
}

/* COMISS or UCOMISD of registers: all flags are written, by something that is no integer instruction. */
static void append_comparison(struct native_code *c, struct variant *v)
{
	static const struct row row = { "comiss", "0F 2F /r", "d", 0, 0 };
	const bool twice = pick(2);
	const uint8_t bytes[] = { 0x66, 0x0f, twice ? 0x2e : 0x2f, (uint8_t)(0xc0 | pick(64)) };
	*v = (struct variant){ .row = &row, .mode = c->mode, .size = 4, .has_modrm = true };
	memcpy(c->code + c->length, bytes + !twice, sizeof bytes - !twice);
	c->length += sizeof bytes - !twice;
}

/* Appends one random instruction; gives it back in *v. */
static void append(struct native_code *c, bool last, struct variant *v)
{
	static const char letters[] = "bwdqs";
	const unsigned rows = row_count();
	if (pick(12) == 0) {
		append_comparison(c, v);
		return;
	}
	for (;;) {
		const struct row *row = row_get(pick(rows));
		const char size = letters[pick(sizeof letters - 1)];
		if (!fits(row, c->mode, last) || !strchr(row->sizes, size) || (size == 'q' && c->mode == 4) || (reads_af(row) && (c->fixed & FLAG_AF)))
			continue;
		*v = (struct variant){ .row = row, .mode = c->mode, .size = row_bytes(size, c->mode), .memory = (row->traits & MEMORY) || pick(3) == 0, .code = *c };
		if ((row->traits & EQUAL_AX) && v->size == 4 && !v->memory)
			continue; /* see native_encode.c */
		variant_encode(&session, v, true);
		const uint32_t undefined = c->fixed | row->undefined;
		*c = v->code;
		c->fixed = undefined;
		c->undefined = NULL;
		return;
	}
}

static void run_sequence(unsigned mode)
{
	struct native_code c = { .mode = mode };
	struct variant v;
	struct native_state *n = native_before(session.native);
	const unsigned length = 2 + pick(LONGEST - 1);
	for (unsigned i = 0; i < length; i++)
		append(&c, i + 1 == length, &v);
	c.name = "sequence";
	for (unsigned i = 0; i < STATES; i++) {
		session_fill(&session, &n[i], mode);
		n[i].reg[REG_BX] = NATIVE_WINDOW + 100 + pick(60);
		n[i].reg[REG_SI] = NATIVE_WINDOW + 100 + pick(60);
		n[i].reg[REG_DI] = NATIVE_WINDOW + 100 + pick(60);
		if (pick(8) == 0)
			n[i].reg[REG_BX] = NATIVE_DATA + 0x2000 - pick(64); /* may fault in the middle */
	}
	session_check(&session, &c, STATES);
}

/* Could it write CX, which counts? CH is a byte register of number 5. */
static bool touches_count(const struct variant *v)
{
	const unsigned ch = v->size == 1 ? 5 : REG_CX;
	const bool rm = !v->memory && (v->rm == REG_CX || v->rm == ch), implied = !v->has_modrm && !strstr(v->row->encoding, "+r");
	return rm || v->reg == REG_CX || v->reg == ch || (implied && v->row->traits & STRINGS);
}

/* A loop: the translator's blocks are chained to themselves, with flags alive across the way back, and may fault in any round. */
static void run_loop(unsigned mode)
{
	struct native_code c = { .mode = mode }, with;
	struct variant v;
	struct native_state *n = native_before(session.native);
	const unsigned length = 2 + pick(LONGEST - 1);
	for (unsigned i = 0; i < length; i++) {
		do {
			with = c;
			append(&with, false, &v);
		} while (touches_count(&v) || !strcmp(v.row->name, "pusha")); /* in a loop it reaches the stack's end, where processors push less or more before they fault */
		c = with;
	}
	const uint8_t back[] = { 0xff, 0xc9, 0x7f, (uint8_t)-(c.length + 4) }; /* DEC ECX; JG */
	memcpy(c.code + c.length, back, sizeof back);
	c.length += sizeof back;
	c.name = "loop";
	for (unsigned i = 0; i < STATES; i++) {
		session_fill(&session, &n[i], mode);
		n[i].reg[REG_BX] = pick(8) ? NATIVE_WINDOW + 100 + pick(60) : NATIVE_DATA + 0x2000 - pick(64);
		n[i].reg[REG_SI] = NATIVE_WINDOW + 100 + pick(60);
		n[i].reg[REG_DI] = NATIVE_WINDOW + 100 + pick(60);
		n[i].reg[REG_CX] = pick(24);
	}
	session_check(&session, &c, STATES);
}

static void report(const char *what, uint64_t since, uint64_t differences)
{
	printf("\n    %s: %llu cases, %llu differences over all engines\n", what, (unsigned long long)(session.cases - since),
	       (unsigned long long)(session.differences - differences));
	CU_ASSERT_EQUAL(session.differences, differences);
	CU_ASSERT_EQUAL(session.died, 0);
}

static void test_sequences(void)
{
	const uint64_t since = session.cases, differences = session.differences;
	for (unsigned i = 0; i < SEQUENCES; i++) {
		run_sequence(8);
		run_sequence(4);
	}
	report("sequences", since, differences);
}

static void test_loops(void)
{
	const uint64_t since = session.cases, differences = session.differences;
	for (unsigned i = 0; i < SEQUENCES / 3; i++) {
		run_loop(8);
		run_loop(4);
	}
	report("loops", since, differences);
}

/* POPF sets TF; the trap comes after the instruction that follows it, and says where the next one is. */
static void test_single_step(void)
{
	static const struct { const char *name; uint8_t length, code[12]; } list[] = {
		{ "popf, nop", 2, { 0x9d, 0x90 } }, { "popf, add", 3, { 0x9d, 0x01, 0xc8 } }, { "popf, jmp", 5, { 0x9d, 0xeb, 0x7d } }, { "popf, jz", 5, { 0x9d, 0x74, 0x7d } },
		{ "popf, pushf", 2, { 0x9d, 0x9c } }, { "popf, popf", 2, { 0x9d, 0x9d } }, { "popf, rep stosb", 3, { 0x9d, 0xf3, 0xaa } }, { "popf, lodsb", 2, { 0x9d, 0xac } },
		{ "popf, load", 3, { 0x9d, 0x8b, 0x03 } }, { "popf, int3", 2, { 0x9d, 0xcc } }, { "popf, ud2", 3, { 0x9d, 0x0f, 0x0b } }, { "popf, hlt", 2, { 0x9d, 0xf4 } },
		{ "popf, mov ss", 5, { 0x9d, 0x8e, 0xd1, 0x90, 0x90 } }, { "popf, addps", 4, { 0x9d, 0x0f, 0x58, 0xc1 } }, { "popf, call", 6, { 0x9d, 0xe8, 0x7a, 0, 0, 0 } },
	};
	const uint64_t since = session.cases, differences = session.differences;
	struct native_state *n = native_before(session.native);
	for (unsigned mode = 4; mode <= 8; mode += 4)
		for (unsigned k = 0; k < sizeof list / sizeof *list; k++) {
			struct native_code c = { .name = list[k].name, .mode = mode, .length = list[k].length };
			memcpy(c.code, list[k].code, sizeof list[k].code);
			for (unsigned i = 0; i < STATES; i++) {
				const uint64_t flags = 0x202 | (session_random(&session) & (FLAGS_ARITH | FLAG_TF));
				session_fill(&session, &n[i], mode);
				for (unsigned at = 0; at < 24; at += mode)
					memcpy(n[i].stack + (NATIVE_SP - NATIVE_STACK_WINDOW) + at, &flags, mode);
				n[i].reg[REG_BX] = pick(4) ? NATIVE_WINDOW + 8 : NATIVE_BASE + 0x4000;
				n[i].reg[REG_SI] = n[i].reg[REG_DI] = NATIVE_WINDOW + 64;
				n[i].reg[REG_CX] = strstr(c.name, "mov ss") ? 0x2b : pick(4);
			}
			session_check(&session, &c, STATES);
		}
	report("single steps", since, differences);
}

int main(int argc, char **argv)
{
	static const struct native_test tests[] = { { "random sequences", test_sequences }, { "loops", test_loops }, { "single steps", test_single_step }, { NULL, NULL } };
	if (!session_open(&session, argc, argv))
		return NATIVE_SKIPPED;
	return session_run(&session, "sequences of instructions against the real CPU", tests);
}
