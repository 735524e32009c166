/*
 * Proves that deliveries and IRETs that go by a memo (isa/transfer_memo.c) cannot be told from those that are worked out: two processors take the same INTs, exceptions, interrupts and
 * IRETs, one without memos, while gates, descriptors, TSS, tables, limits, frames, privilege, pages and listeners change in between at random; registers, memory and events stay equal.
 */
#include "isa_box.h"
#include "isa/transfer.h"
#include <stdio.h>

enum { SEEDS = 200, STEPS = 600, ELSEWHERE = 0x90000 };

static uint64_t random_next(uint64_t *state) /* xorshift64 (Marsaglia, J. Stat. Soft. 8:14) */
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static unsigned random_below(uint64_t *state, unsigned n) { return (unsigned)(random_next(state) >> 33) % n; }

/* ---- the two ---- */
struct pair {
	struct box *box[2]; /* [1] makes no memos */
	uint64_t random;
	bool wide;
};

static const uint8_t vectors[] = { 0x80, 0x20, VEC_PF, VEC_DE, VEC_GP, 0x21 };
enum { VECTORS = sizeof vectors };

static void pair_good(struct box *b, bool wide)
{
	static const uint16_t handlers[VECTORS] = { CODE0, CODE0, CODE0, CODE1, CODE0, CONFORM0 };
	for (unsigned i = 0; i < VECTORS; i++) {
		unsigned access = (i ? 0x8eu : 0xeeu) | (i & 1);
		put(b, IDT + (wide ? 16 : 8) * vectors[i], gate(wide ? LONG0 : handlers[i], HANDLER + 16 * i, access, wide && i == 3), 8);
		if (wide)
			put(b, IDT + 16 * vectors[i] + 8, i == 2 ? 0xffff8000 : i == 5 ? 0x8000 : 0, 8); /* the last is canonical only with 57 bits */
	}
}

static void box_place(struct box *b, unsigned ring, bool wide)
{
	struct cpu *c = &b->cpu;
	c->stop = CPU_RUNNING;
	c->attention = 0;
	c->eflags = 2 | FLAG_IF;
	c->rip = START;
	for (unsigned s = 0; s < SEG_COUNT; s++)
		segment_set_flat(c, s, s == SEG_CS ? CODE0 : DATA0, 0, s == SEG_CS, 4);
	if (wide) {
		segment_set_flat(c, SEG_CS, ring ? LONG3 : LONG0, ring ? 3 : 0, true, 8);
		segment_set_flat(c, SEG_SS, ring ? DATA3 : DATA0, ring ? 3 : 0, false, 8);
	}
	cpu_set_cpl(c, 0);
	c->reg[REG_SP] = STACK0 - 0x800;
	if (ring && wide) {
		cpu_set_cpl(c, 3);
		c->reg[REG_SP] = STACK3;
	} else {
		box_set_ring(b, ring);
	}
}

static void box_restore(struct box *b, unsigned ring, bool wide)
{
	struct cpu *c = &b->cpu;
	memset(b->phys.bytes + GDT, 0, 0x100);
	box_fill_gdt(b);
	pair_good(b, wide);
	c->gdtr = (struct descriptor_table){ GDT, 0xff };
	c->idtr = (struct descriptor_table){ IDT, 0xfff };
	c->tr = wide ? (struct segment){ SEL_TSS_64, SEGA_P | 11, 0x67, TSS_64 } : (struct segment){ SEL_TSS_A, SEGA_P | 11, 0x67 + 40, TSS_A };
	put(b, TSS_A + 4, STACK0, 4), put(b, TSS_A + 8, DATA0, 4), put(b, TSS_A + 12, STACK1, 4), put(b, TSS_A + 16, DATA1 | 1, 4);
	put(b, TSS_64 + 4, STACK0 + 8, 8), put(b, TSS_64 + 36, STACK_IST, 8);
	c->cr4 = (c->cr4 & ~(uint64_t)CR4_LA57) | (wide && ring ? CR4_LA57 : 0);
	b->port.moved = 0;
	flat_set_absent(&b->port, c, ~0ull);
	memset(b->port.code, 0, sizeof b->port.code);
	box_place(b, ring, wide);
}

static bool box_create_pair(struct pair *p, uint64_t seed)
{
	p->random = seed * 0x9e3779b97f4a7c15ull | 1;
	p->wide = seed & 1;
	for (unsigned i = 0; i < 2; i++) {
		struct box *b = p->box[i] = p->wide ? box_create_long(0) : box_create();
		b->consumer = (struct event_consumer){ .consume = box_record, .self = b };
		event_sink_attach(&b->sink, &b->consumer);
		b->cpu.no_memos = i;
		b->cpu.blocks = block_cache_create(1 << 20, NULL);
		box_restore(b, 0, p->wide);
	}
	return true;
}

/* ---- comparing ---- */
static bool events_equal(struct box *a, struct box *b)
{
	event_drain(&a->sink), event_drain(&b->sink);
	bool same = a->seen_count == b->seen_count && !memcmp(a->seen, b->seen, a->seen_count * sizeof *a->seen);
	a->seen_count = b->seen_count = 0;
	return same;
}

static bool segments_equal(const struct segment *a, const struct segment *b)
{
	return a->selector == b->selector && a->attributes == b->attributes && a->limit == b->limit && a->base == b->base;
}

static const char *pair_difference(struct pair *p)
{
	struct cpu *a = &p->box[0]->cpu, *b = &p->box[1]->cpu;
	if (!events_equal(p->box[0], p->box[1]))
		return "events";
	if (memcmp(a->reg, b->reg, sizeof a->reg) || a->rip != b->rip || cpu_eflags(a) != cpu_eflags(b))
		return "registers";
	for (unsigned i = 0; i < SEG_COUNT; i++)
		if (!segments_equal(&a->seg[i], &b->seg[i]))
			return "segments";
	if (a->cpl != b->cpl || a->code_size != b->code_size || block_mode_key(a) != b->mode_key || a->mode_key != b->mode_key || a->stop != b->stop || a->cr2 != b->cr2 || a->stamp != b->stamp)
		return "mode";
	if (a->state_emitted != b->state_emitted || a->user_calls != b->user_calls || a->shadow_ss != b->shadow_ss || a->shadow_sti != b->shadow_sti || !segments_equal(&a->tr, &b->tr))
		return "the rest";
	return memcmp(p->box[0]->phys.bytes, p->box[1]->phys.bytes, 1 << 20) ? "memory" : NULL;
}

/* ---- what both do ---- */
/* An instruction as the engines run it: its quick form, where it has one and it may, then its function; a fault is delivered. */
static void box_instruction(struct box *b, sys_fn *fn, sys_quick_fn *quick, struct sys_operands o)
{
	o.next = (b->cpu.rip + 2) & (b->cpu.code_size == 8 ? ~0ull : 0xffffffff);
	b->block->pc = b->cpu.rip;
	b->block->key = b->cpu.mode_key;
	if (quick && quick(&b->cpu, &b->uop, &o))
		return;
	if (box_run(b, fn, o).vector >= 0)
		cpu_deliver_raised(&b->cpu);
}

static void do_int(struct pair *p)
{
	unsigned vector = random_below(&p->random, 4) ? 0x80 : vectors[random_below(&p->random, VECTORS)];
	for (unsigned i = 0; i < 2; i++)
		box_instruction(p->box[i], sys_int_n, i ? NULL : quick_int_n, (struct sys_operands){ .imm = vector });
}

static void do_iret(struct pair *p)
{
	unsigned size = p->box[0]->cpu.code_size == 8 && random_below(&p->random, 8) ? 8 : random_below(&p->random, 16) ? 4 : 2;
	for (unsigned i = 0; i < 2; i++)
		box_instruction(p->box[i], sys_iret, i ? NULL : quick_iret, (struct sys_operands){ .size = (uint8_t)size });
}

static void do_deliver(struct pair *p)
{
	unsigned vector = vectors[1 + random_below(&p->random, VECTORS - 1)];
	bool external = vector >= 0x20;
	for (unsigned i = 0; i < 2; i++)
		cpu_deliver(&p->box[i]->cpu, vector, vector == VEC_PF || vector == VEC_GP ? 6 : -1, false, external, 0x1234);
}

/* ---- what changes in between ---- */
static void both_put(struct pair *p, uint64_t at, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < 2; i++)
		put(p->box[i], at, value, size);
}

static void flip(struct pair *p, uint64_t at, uint64_t bits, unsigned size) { both_put(p, at, get(p->box[0], at, size) ^ bits, size); }

static void change_gate(struct pair *p)
{
	uint64_t at = IDT + (p->wide ? 16 : 8) * vectors[random_below(&p->random, VECTORS)];
	static const uint64_t bits[] = { 1ull << 47, 1ull << 45, 3ull << 45, 1ull << 40, 1ull << 43, 0x10ull << 16, 4ull << 16, 1ull << 32, 0x40, 1ull << 60, 0x30ull << 16 };
	flip(p, at, bits[random_below(&p->random, sizeof bits / sizeof *bits)], 8);
	if (p->wide && !random_below(&p->random, 4))
		flip(p, at + 8, 1ull << random_below(&p->random, 32), 8);
}

static void change_descriptor(struct pair *p)
{
	static const uint16_t selectors[] = { CODE0, DATA0, CODE1, DATA1, CODE3, DATA3, CONFORM0, LONG0, LONG3 };
	unsigned bit = random_below(&p->random, 2) ? 40 : random_below(&p->random, 64); /* the accessed bit, or any */
	uint64_t at = GDT + (selectors[random_below(&p->random, 9)] & 0xfff8u);
	if (random_below(&p->random, 4))
		flip(p, at, 1ull << bit, 8);
	else /* limits that cut off stacks and code, and 16-bit stacks */
		both_put(p, at, (get(p->box[0], at, 8) & 0xff10ffffffff0000) | 0x7f | (bit & 1) << 20 | (uint64_t)(bit & 2) << 53, 8);
}

static void change_tss(struct pair *p)
{
	static const uint8_t fields[] = { 4, 8, 12, 16, 36 };
	uint64_t at = (p->wide ? TSS_64 : TSS_A) + fields[random_below(&p->random, 5)];
	flip(p, at, random_below(&p->random, 2) ? 0x1000 : 1ull << random_below(&p->random, 32), p->wide ? 8 : 4);
}

static void change_tables(struct pair *p)
{
	unsigned what = random_below(&p->random, 10), n = random_below(&p->random, 0x100);
	for (unsigned i = 0; i < 2; i++) {
		struct box *b = p->box[i];
		struct cpu *c = &b->cpu;
		switch (what) {
		case 0: c->gdtr.limit = (uint16_t)n; break;
		case 1: c->idtr.limit = (uint16_t)(n << 4 | 15); break;
		case 2: c->tr.limit = n; break;
		case 3: c->tr.attributes ^= n & 1 ? 8 : SEGA_UNUSABLE; break;
		case 4: /* a copy of the GDT somewhere else, and the old one overwritten */
			memmove(b->phys.bytes + 0x8f80, b->phys.bytes + c->gdtr.base, 0x100);
			memset(b->phys.bytes + c->gdtr.base, 0, c->gdtr.base == 0x8f80 ? 0 : 0x100);
			c->gdtr.base = 0x8f80;
			break;
		case 5:
			memmove(b->phys.bytes + 0xa000, b->phys.bytes + c->idtr.base, 0x1000);
			c->idtr.base = 0xa000;
			break;
		case 6: c->cr4 ^= CR4_LA57; break;
		case 7: c->seg[SEG_SS].limit = STACK0 - 0x800 - n; break;
		case 8: c->seg[SEG_SS].attributes ^= n & 1 ? SEGA_DB : SEGA_DOWN_CONFORMING; break;
		default: c->idtr.limit = 0xfff;
		}
		cpu_mode_update(c);
	}
}

static void change_cpu(struct pair *p)
{
	static const uint32_t flags[] = { FLAG_NT, FLAG_TF, FLAG_AC, FLAG_IOPL, FLAG_IF };
	unsigned what = random_below(&p->random, 4), which = random_below(&p->random, 5), by = random_below(&p->random, 64), seg = random_below(&p->random, SEG_COUNT);
	for (unsigned i = 0; i < 2; i++) {
		struct cpu *c = &p->box[i]->cpu;
		if (what == 0)
			c->eflags ^= flags[which];
		else if (what == 1)
			c->reg[REG_SP] += by * 4 - 128u + (which ? 0 : 2);
		else if (what == 2)
			flags_put(c, FLAGS_SUB | 2, by, which, 0);
		else if (seg != SEG_CS)
			c->seg[seg] = which ? segment_flat_data(DATA3, 3) : segment_null(0, 0);
		cpu_mode_update(c);
	}
}

static void change_pages(struct pair *p)
{
	static const uint64_t pages[] = { GDT, IDT, TSS_A, STACK0 - 1, STACK0, STACK3, HANDLER };
	unsigned which = random_below(&p->random, 7), what = random_below(&p->random, 5), byte = random_below(&p->random, 0x100);
	for (unsigned i = 0; i < 2; i++) {
		struct box *b = p->box[i];
		if (what == 0)
			flat_set_absent(&b->port, &b->cpu, pages[which]);
		else if (what == 1)
			flat_mark_code(&b->port, pages[which] & ~0xfffull); /* stores to it go the long way */
		else if (what == 2) { /* another page there, nearly the same */
			b->port.moved = pages[which] & ~0xfffull;
			b->port.to = ELSEWHERE;
			memcpy(b->phys.bytes + ELSEWHERE, b->phys.bytes + b->port.moved, 4096);
			b->phys.bytes[ELSEWHERE + byte] ^= 1u << which;
			flat_set_absent(&b->port, &b->cpu, ~0ull);
		} else {
			flat_set_absent(&b->port, &b->cpu, ~0ull);
		}
		block_stamp_now(&b->cpu);
	}
}

static void change_listening(struct pair *p)
{
	for (unsigned i = 0; i < 2; i++)
		event_sink_listen(&p->box[i]->sink, !p->box[i]->sink.on);
}

/* A frame for an IRET: to any ring, by any selector. */
static void change_frame(struct pair *p)
{
	static const uint16_t cs[] = { CODE0, CODE1 | 1, CODE3, CONFORM0 | 3, LONG3, LONG0, LDT_CODE3, CODE0 | 3 }, ss[] = { DATA0, DATA1 | 1, DATA3, 0, 3, LDT_DATA3, STACK16 };
	unsigned size = p->box[0]->cpu.code_size == 8 ? 8 : 4, ring = random_below(&p->random, 2) ? 2 : 0;
	uint64_t sp = p->box[0]->cpu.reg[REG_SP] & 0xfffff;
	if (sp > 0xfff00)
		return;
	uint64_t frame[] = { random_below(&p->random, 2) ? START : 0x40, p->wide ? ring ? LONG3 : LONG0 : cs[ring], 2, ring ? STACK3 : STACK0 - 0x400, ring ? DATA3 : DATA0 };
	if (!random_below(&p->random, 3))
		frame[1] = cs[random_below(&p->random, 8)];
	if (!random_below(&p->random, 3))
		frame[4] = ss[random_below(&p->random, 7)];
	if (!random_below(&p->random, 3))
		frame[2] ^= 1u << random_below(&p->random, 22);
	if (!random_below(&p->random, 6))
		frame[0] ^= 1ull << random_below(&p->random, size * 8);
	for (unsigned i = 0; i < 5; i++)
		both_put(p, sp + i * size, frame[i], size);
}

static void change_back(struct pair *p)
{
	unsigned ring = random_below(&p->random, 3);
	for (unsigned i = 0; i < 2; i++)
		box_restore(p->box[i], ring == 2 ? 3 : ring, p->wide);
}

static void test_random(void)
{
	typedef void step(struct pair *p);
	static const struct { step *step; unsigned weight; const char *name; } steps[] = {
		{ do_int, 12, "int" }, { do_iret, 24, "iret" }, { do_deliver, 12, "delivery" }, { change_gate, 1, "gate" }, { change_descriptor, 2, "descriptor" }, { change_tss, 1, "TSS" },
		{ change_tables, 2, "tables" }, { change_cpu, 2, "cpu" }, { change_pages, 1, "pages" }, { change_listening, 1, "listening" }, { change_frame, 4, "frame" }, { change_back, 4, "back" },
	};
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct pair p;
		const char *wrong = box_create_pair(&p, seed) ? NULL : "no boxes";
		for (unsigned n = 0; n < STEPS && !wrong; n++) {
			unsigned i = 0, at = random_below(&p.random, 66);
			while (at >= steps[i].weight)
				at -= steps[i++].weight;
			steps[p.box[0]->cpu.stop == CPU_RUNNING ? i : 11].step(&p);
			wrong = pair_difference(&p);
			if (wrong)
				printf("\n    seed %u, step %u (%s): %s differ", (unsigned)seed, n, steps[i].name, wrong);
		}
		CU_ASSERT_PTR_NULL(wrong);
		for (unsigned i = 0; i < 2; i++) {
			block_cache_destroy(p.box[i]->cpu.blocks);
			box_destroy(p.box[i]);
		}
	}
}

/* Each way there is, taken twice: the second time by the memo. */
static void test_used(void)
{
	static const struct { bool wide; uint8_t ring, vector; int64_t error; bool soft; } rows[] = {
		{ false, 3, 0x80, -1, true }, { false, 0, 0x20, -1, false }, { false, 3, VEC_DE, -1, false }, { false, 1, VEC_PF, 2, false }, { true, 3, 0x80, -1, true }, { true, 0, VEC_PF, 0, false },
		{ true, 3, VEC_DE, -1, false }, { true, 0, VEC_DE, -1, false }, { false, 3, 0x21, -1, false },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		bool wide = rows[i].wide;
		struct box *b = wide ? box_create_long(0) : box_create();
		struct delivery d = { .vector = rows[i].vector, .error = rows[i].error, .soft = rows[i].soft, .rip = START };
		for (unsigned round = 0; round < 2; round++) {
			if (round == 0)
				box_restore(b, rows[i].ring, wide);
			else
				box_place(b, rows[i].ring, wide);
			CU_ASSERT_EQUAL(gate_repeat(&b->cpu, &d), round == 1);
			if (round == 0)
				cpu_deliver(&b->cpu, d.vector, d.error, d.soft, false, 0);
			b->cpu.reg[REG_SP] += d.error >= 0 ? (wide ? 8 : 4) : 0;
			CU_ASSERT_EQUAL(return_repeat(&b->cpu, wide ? 8 : 4), round == 1);
			if (round == 0)
				expect(box_run(b, sys_iret, (struct sys_operands){ .size = wide ? 8 : 4 }), -1, 0, "iret");
			CU_ASSERT_EQUAL(b->cpu.rip, START);
			CU_ASSERT_EQUAL(b->cpu.cpl, rows[i].ring);
		}
		box_destroy(b);
	}
}

int main(void)
{
	static CU_TestInfo tests[] = { { "a second time", test_used }, { "random changes", test_random }, CU_TEST_INFO_NULL };
	static CU_SuiteInfo suites[] = { { "isa memo", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };
	CU_initialize_registry();
	CU_register_suites(suites);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
