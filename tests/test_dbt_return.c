/*
 * Proves that the translator's real calls and returns are what the interpreters' are, whatever the guest makes of them: random programs of functions that call, return, return to where nobody
 * called from, drop and replace return addresses, call the next instruction, recurse deeper than the translator follows, change each other's code, change segments and the width of code, in
 * 16-, 32- and 64-bit code, with code memory and blocks for all of it and for a part. Offsets that share a place of the block cache's table are among them. Independent reference: the switch engine.
 */
#include "isa/engine_dbt.h"
#include "isa/flags.h"
#include "isa_box.h"
#include <CUnit/Basic.h>
#include <stdio.h>

enum {
	FIRST = 0x8000, FUNCTIONS = 32, EACH = 64 /* bytes */, BUDGET = 12000, ROUNDS = 20, PROGRAMS = 40, STACK = 0x60000, STACK_LOW = 0x40000, STACK_HIGH = 0x80000,
	SMALL_DATA = GATE_CONFORM, /* data that is not flat */
};
enum kind { NARROW, WIDE, LONG, MIXED /* 32- and 64-bit code, the same bytes */ };

struct program {
	enum kind kind;
	unsigned width;      /* bytes of an immediate, 2 or 4 */
	uint8_t *bytes, *at; /* the box's memory; where the next instruction goes */
	uint64_t seed;
};

static unsigned random_below(struct program *p, unsigned n) /* xorshift64* (Vigna, 2016) */
{
	uint64_t *s = &p->seed;
	*s ^= *s >> 12, *s ^= *s << 25, *s ^= *s >> 27;
	return (unsigned)((*s * 2685821657736338717ull >> 33) % n);
}

/* The second half lies so that what is behind its calls shares places of the table with the first's. */
static uint32_t function_at(unsigned i) { return FIRST + (i & 15) * EACH + i / 16 * 0x1001; }
static uint32_t random_function(struct program *p) { return function_at(random_below(p, FUNCTIONS)); }

static void put_code(struct program *p, const char *code, unsigned n) { memcpy(p->at, code, n), p->at += n; }
static void put_imm(struct program *p, const char *code, unsigned n, uint32_t imm, unsigned size)
{
	put_code(p, code, n);
	put_code(p, (const char *)&imm, size);
}
static void put_call(struct program *p, uint32_t to) { put_imm(p, "\xe8", 1, to - ((uint32_t)(p->at - p->bytes) + 1 + p->width), p->width); }

static void put_action(struct program *p)
{
	uint32_t f = random_function(p);
	switch (random_below(p, 13)) {
	case 0: case 1: case 2:
		put_call(p, f);
		break;
	case 3: case 4:
		put_imm(p, "\xb9", 1, f, p->width); /* mov ecx, f */
		put_code(p, "\xff\xd1", 2);         /* call ecx */
		break;
	case 5:
		put_imm(p, "\x68", 1, f, p->width); /* push f; ret */
		put_code(p, "\xc3", 1);
		break;
	case 6:
		put_code(p, "\x5a", 1); /* pop edx: the caller's caller is next */
		break;
	case 7:
		put_imm(p, "\xe8", 1, 0, p->width); /* call 1f; 1: pop edx */
		put_code(p, "\x5a", 1);
		break;
	case 8:
		put_code(p, "\x5a", 1);             /* pop edx; mov ecx, f; push ecx */
		put_imm(p, "\xb9", 1, f, p->width);
		put_code(p, "\x51", 1);
		break;
	case 9: /* mov al, bl; mov [the constant in f], al */
		if (p->kind == MIXED)
			break;
		put_imm(p, "\x88\xd8\xa2", 3, f + 2, p->width);
		if (p->kind == LONG)
			put_code(p, "\0\0\0\0", 4);
		break;
	case 10: /* mov ecx, a selector; mov ds, ecx */
		if (p->kind != NARROW)
			put_imm(p, "\xb9", 1, random_below(p, 2) ? DATA0 : SMALL_DATA, 4), put_code(p, "\x8e\xd9", 2);
		break;
	case 12: /* mov esi, a depth; call what recurses so far */
		put_imm(p, "\xbe", 1, random_below(p, 1600), p->width);
		put_call(p, function_at(0));
		break;
	case 11: /* push a selector; push f; lretq, or dec eax and lret */
		if (p->kind == MIXED && random_below(p, 3) == 0)
			put_imm(p, "\x68", 1, random_below(p, 2) ? LONG0 : CODE0, 4), put_imm(p, "\x68", 1, f, 4), put_code(p, "\x48\xcb", 2);
		break;
	}
}

static void put_function(struct program *p, unsigned i)
{
	p->at = p->bytes + function_at(i);
	uint8_t *end = p->at + EACH;
	put_imm(p, "\x83\xc3", 2, random_below(p, 100), 1); /* add ebx, n */
	put_code(p, "\xd1\xc3", 2);                         /* rol ebx, 1 */
	if (i == 0) { /* so deep, and back */
		put_code(p, "\x83\xee\x01\x7e", 4); /* sub esi, 1; jle to the end */
		put_code(p, p->width == 2 ? "\x03" : "\x05", 1);
		put_call(p, function_at(0));
		put_code(p, "\xc3", 1);
		return;
	}
	for (unsigned n = 1 + random_below(p, 2); n--;) {
		put_imm(p, "\xf6\xc3", 2, 1u << random_below(p, 8), 1); /* test bl, one bit */
		put_code(p, "\x74\0", 2); /* jz over the action */
		uint8_t *from = p->at;
		put_action(p);
		from[-1] = (uint8_t)(p->at - from);
	}
	if (random_below(p, 4) == 0)
		put_imm(p, "\xe9", 1, random_function(p) - ((uint32_t)(p->at - p->bytes) + 1 + p->width), p->width);
	else
		put_code(p, random_below(p, 4) ? "\xc3\0\0" : "\xc2\0\0", 3);
	CU_ASSERT_TRUE_FATAL(p->at <= end);
}

static void program_put(struct program *p, struct box *b)
{
	unsigned entry = p->kind == NARROW ? 2 : p->kind == WIDE ? 4 : 8;
	p->bytes = b->phys.bytes;
	for (unsigned i = 0; i < FUNCTIONS; i++)
		put_function(p, i);
	for (uint32_t at = STACK_LOW; at < STACK_HIGH; at += entry)
		put(b, at, random_function(p), entry);
	for (unsigned v = 0; v < 32; v++) { /* mov esp, ...; jmp to a function */
		p->at = p->bytes + HANDLER + 16 * v;
		put_code(p, "\xbc", 1), put(b, (uint64_t)(p->at - p->bytes), STACK, 4), p->at += 4;
		put_code(p, "\xe9", 1), put(b, (uint64_t)(p->at - p->bytes), function_at(1) - (HANDLER + 16 * v + 10), 4);
	}
	describe(b, SMALL_DATA, descriptor(0, 0xffffe, 0x92, 0xc));
}

/* At the start of a function, with the segments of the program. */
static void program_start(struct program *p, struct box *b)
{
	struct cpu *c = &b->cpu;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set_flat(c, i, i == SEG_CS ? p->kind >= LONG ? LONG0 : CODE0 : DATA0, 0, i == SEG_CS, p->kind == NARROW ? 2 : p->kind == WIDE ? 4 : 8);
	if (p->kind == NARROW) {
		c->seg[SEG_SS].base = STACK_LOW;
		c->seg[SEG_SS].attributes &= ~(uint32_t)SEGA_DB;
	}
	cpu_mode_update(c);
	c->reg[REG_SP] = p->kind == NARROW ? 0xabcd8000 : STACK;
	c->rip = random_function(p);
	c->stop = CPU_RUNNING;
	c->budget = BUDGET + (int64_t)random_below(p, 100);
}

struct room { size_t code, blocks; bool eager; }; /* bytes a region of code memory and of blocks, 0: enough */

static struct box *program_box(enum kind kind, struct room r, const char *engine)
{
	struct box *b = kind >= LONG ? box_create_long(0) : box_create();
	b->cpu.blocks = block_cache_create(r.blocks ? r.blocks : 1 << 20, NULL);
	b->cpu.blocks->eager = r.eager;
	if (r.code && !strcmp(engine, "dbt"))
		CU_ASSERT_TRUE_FATAL(dbt_attach(b->cpu.blocks, DBT_BEFORE + 4 * r.code, 4));
	return b;
}

static bool boxes_agree(const struct box *want, const struct box *got)
{
	const struct cpu *w = &want->cpu, *g = &got->cpu;
	return w->icount == g->icount && w->rip == g->rip && w->budget == g->budget && w->stop == g->stop && w->mode_key == g->mode_key && cpu_eflags(w) == cpu_eflags(g) &&
		!memcmp(w->reg, g->reg, REG_T0 * sizeof *w->reg) && !memcmp(want->phys.bytes, got->phys.bytes, 1 << 20);
}

/* A landing is linked only while the table holds the block that it goes to. */
static bool landings_good(const struct block_cache *c)
{
	for (const struct block *b = c->all; b; b = b->all_next)
		for (unsigned variant = 0; variant < DBT_VARIANTS; variant++)
			if (b->dbt[variant] && b->dbt[variant]->returns && c->jump[(b->pc ^ b->pc >> 12) & (JUMP_SLOTS - 1)] != b)
				return false;
	return true;
}

static uint64_t programs_run(enum kind kind, struct room r, unsigned programs)
{
	uint64_t landings = 0;
	for (unsigned n = 0; n < programs; n++) {
		struct program p = { .kind = kind, .width = kind == NARROW ? 2 : 4, .seed = (n + 1) * 0x9e3779b97f4a7c15ull + kind };
		struct box *b[2];
		const char *const engine[2] = { "switch", "dbt" };
		for (unsigned i = 0; i < 2; i++) {
			struct program again = p;
			b[i] = program_box(kind, r, engine[i]);
			program_put(&again, b[i]);
		}
		for (unsigned round = 0; round < ROUNDS; round++) {
			for (unsigned i = 0; i < 2; i++) {
				struct program again = p;
				program_start(&again, b[i]);
				engine_find(engine[i])->run(&b[i]->cpu);
			}
			random_below(&p, 2);
			CU_ASSERT_TRUE(landings_good(b[1]->cpu.blocks));
			if (!boxes_agree(b[0], b[1])) {
				printf("\n    kind %u, program %u, round %u: rip %llx and %llx, after %llu and %llu instructions ", kind, n, round, (unsigned long long)b[0]->cpu.rip,
				       (unsigned long long)b[1]->cpu.rip, (unsigned long long)b[0]->cpu.icount, (unsigned long long)b[1]->cpu.icount);
				CU_FAIL_FATAL("the translator differs");
			}
		}
		CU_ASSERT_TRUE(b[0]->cpu.icount > BUDGET); /* it ran, and did not end at once each time */
		landings += b[1]->cpu.blocks->dbt->landings;
		for (unsigned i = 0; i < 2; i++)
			block_cache_destroy(b[i]->cpu.blocks), box_destroy(b[i]);
	}
	return landings;
}

static void kind_run(enum kind kind)
{
	static const struct room rooms[] = { { 0, 0, false }, { 0, 0, true }, { 6000, 0, true }, { 0, 9000, true } };
	uint64_t landings = 0;
	for (unsigned i = 0; i < sizeof rooms / sizeof *rooms; i++)
		landings += programs_run(kind, rooms[i], i ? PROGRAMS / 2 : PROGRAMS);
	printf("%llu landings linked ", (unsigned long long)landings);
	CU_ASSERT_TRUE(landings > 500);
}
static void test_narrow(void) { kind_run(NARROW); }
static void test_wide(void) { kind_run(WIDE); }
static void test_long(void) { kind_run(LONG); }
static void test_mixed(void) { kind_run(MIXED); }

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return CU_get_error();
	CU_pSuite s = CU_add_suite("dbt_return", NULL, NULL);
	CU_add_test(s, "16-bit code", test_narrow);
	CU_add_test(s, "32-bit code", test_wide);
	CU_add_test(s, "64-bit code", test_long);
	CU_add_test(s, "32- and 64-bit code in turn", test_mixed);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
