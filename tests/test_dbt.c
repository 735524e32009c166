/*
 * Proves that what the translator emits for a micro-op is what the micro-op's C function does: every row of uops.def that cannot leave its block, over corner and random operands,
 * with every register class (in a real register, in memory), after different flag writers, before and behind a writer that makes its flags dead; loads and stores of every form,
 * hits, misses and page crossings, functional and with their events; comparisons and branches by the way they go. Independent reference: the C functions (isa/uop_*.h), which
 * test_native_*.c hold against the real CPU.
 */
#include "flat_port.h"
#include "isa/engine_dbt.h"
#include "isa/flags.h"
#include "isa/sse.h"
#include "isa/uop_control.h"
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMORY = 1 << 16, ROUNDS = 300, MOST_UOPS = 12 };

struct side { /* one of the two cpus */
	struct cpu cpu;
	struct phys phys;
	struct flat_port port;
	struct event_sink sink;
	struct block *block;
};

static uint64_t random_next(uint64_t *s) /* xorshift64* (Vigna, 2016) */
{
	*s ^= *s >> 12, *s ^= *s << 25, *s ^= *s >> 27;
	return *s * 2685821657736338717ull;
}

static uint64_t random_operand(uint64_t *s)
{
	static const uint64_t corner[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, ~0ull };
	uint64_t r = random_next(s);
	return r >> 60 < 8 ? corner[(r & 0xffff) % (sizeof corner / sizeof *corner)] : random_next(s);
}

static void side_open(struct side *d, bool observed)
{
	memset(d, 0, sizeof *d);
	CU_ASSERT_TRUE_FATAL(phys_create(&d->phys, MEMORY) && event_sink_create(&d->sink, 64));
	d->sink.on = observed;
	d->cpu.events = &d->sink;
	d->cpu.features = (struct cpu_features *)&cpu_features_all;
	flat_port_attach(&d->port, &d->cpu, &d->phys);
	d->cpu.blocks = block_cache_create(1 << 20, NULL);
	d->cpu.blocks->observed = observed;
	cpu_reset(&d->cpu);
	d->cpu.cr0 = CR0_PE | CR0_ET | CR0_NE;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set_flat(&d->cpu, i, 8, 0, i == SEG_CS, 4);
	cpu_mode_update(&d->cpu);
	d->block = calloc(1, sizeof *d->block + MOST_UOPS * sizeof(struct uop));
}

static void side_close(struct side *d)
{
	block_cache_destroy(d->cpu.blocks);
	event_sink_destroy(&d->sink);
	phys_destroy(&d->phys);
	free(d->block);
}

struct pair {
	struct side *want, *got;
	struct dbt *dbt;
	const struct dbt_row *rows;
	uint64_t seed;
	unsigned long cases, emitted;
	unsigned key; /* mode key of the blocks */
};
static bool covered[UOP_COUNT]; /* rows that were compared with their C functions */

static struct pair pair_open(bool observed)
{
	struct pair p = { aligned_alloc(64, (sizeof(struct side) + 63) & ~63ull), aligned_alloc(64, (sizeof(struct side) + 63) & ~63ull), dbt_create(1 << 20, 1), observed ? dbt_rows_observed : dbt_rows,
		0x243f6a8885a308d3ull, 0, 0, 4 | KEY_FLAT_CS | KEY_FLAT_SS };
	CU_ASSERT_PTR_NOT_NULL_FATAL(p.dbt);
	side_open(p.want, observed);
	side_open(p.got, observed);
	p.dbt->events_on = observed;
	p.dbt->variant = observed ? DBT_EVENTS : DBT_FUNCTIONAL;
	return p;
}

static void pair_close(struct pair *p)
{
	dbt_destroy(p->dbt);
	side_close(p->want);
	side_close(p->got);
	free(p->want);
	free(p->got);
}

/* The same random state on both sides. */
static void pair_fill(struct pair *p)
{
	struct cpu *a = &p->want->cpu, *b = &p->got->cpu;
	for (unsigned i = 0; i < REG_COUNT; i++)
		a->reg[i] = b->reg[i] = i == REG_ZERO ? 0 : random_operand(&p->seed);
	for (unsigned i = 0; i < 16; i++)
		a->xmm[i].q[0] = b->xmm[i].q[0] = random_next(&p->seed), a->xmm[i].q[1] = b->xmm[i].q[1] = random_next(&p->seed);
	for (unsigned i = 0; i < 2; i++)
		a->xmm_temp[i].q[0] = b->xmm_temp[i].q[0] = random_next(&p->seed), a->xmm_temp[i].q[1] = b->xmm_temp[i].q[1] = random_next(&p->seed);
	flags_set(a, (uint32_t)random_next(&p->seed) & FLAGS_ARITH);
	flags_set(b, flags_get(a));
	p->want->sink.next = p->want->sink.buffer;
	p->got->sink.next = p->got->sink.buffer;
}

/* The block's code, and what the run loop does where it comes back. */
static void pair_run_emitted(struct pair *p, const struct uop *last)
{
	struct side *g = p->got;
	struct dbt_exit x = dbt_call(&g->cpu, p->dbt, g->block->dbt[p->dbt->variant]->body);
	const struct uop *end = &g->block->uop[g->block->uops - 1];
	if (x.kind == EXIT_FINISH)
		for (const struct uop *u = (const struct uop *)(uintptr_t)x.value; u < end; u++)
			p->rows[u->op].call(&g->cpu, u);
	struct block *n = (struct block *)(uintptr_t)x.value;
	if (x.kind == EXIT_ENTER && n->stamp == g->cpu.stamp)
		block_enter(&g->cpu, n, g->cpu.blocks->observed);
	else if (x.kind == EXIT_ENTER)
		g->cpu.rip = n->pc;
	else if (x.kind == EXIT_RETURN)
		stack_move(&g->cpu, -(uint64_t)end->size - end->imm), p->rows[last->op].end(&g->cpu, end);
	else if (x.kind == EXIT_END || x.kind == EXIT_FINISH)
		p->rows[last->op].end(&g->cpu, end);
	else
		g->cpu.rip = g->block->next_pc[x.kind == EXIT_CHAIN1];
	p->emitted += x.kind != EXIT_END;
}

/* Runs the block's micro-ops by their C functions on one side and as emitted code on the other; returns whether all that can be seen agrees. */
static bool pair_run(struct pair *p, const struct uop *u, unsigned n)
{
	struct side *w = p->want, *g = p->got;
	for (unsigned i = 0; i < 2; i++) {
		struct side *s = i ? g : w;
		struct block *b = s->block;
		if (b->dbt[p->dbt->variant])
			dbt_forget(p->dbt, true);
		memset(b, 0, sizeof *b);
		*b = (struct block){ .pc = 0x1000, .insns = (uint8_t)n, .key = p->key, .uops = (uint16_t)n, .next = { s->cpu.blocks->nowhere, s->cpu.blocks->nowhere },
			.next_pc = { 0x2000, 0x3000 }, .id = 7 };
		memcpy(b->uop, u, n * sizeof *u);
		s->cpu.block = b;
		s->cpu.at = NULL;
		s->cpu.rip = b->pc;
		s->cpu.budget = 100;
		s->cpu.icount = 1000;
		s->cpu.stamp = 77; /* nobody's */
	}
	jmp_buf raised; /* a SIMD exception: both sides are compared where they then are */
	w->cpu.escape = g->cpu.escape = &raised;
	volatile unsigned escaped = 0;
	if (!setjmp(raised)) {
		for (unsigned i = 0; i + 1 < n; i++)
			p->rows[u[i].op].call(&w->cpu, &w->block->uop[i]);
		p->rows[u[n - 1].op].end(&w->cpu, &w->block->uop[n - 1]);
	} else {
		escaped |= 1;
	}
	CU_ASSERT_TRUE_FATAL(dbt_translate(&g->cpu, p->dbt, g->block));
	if (!setjmp(raised))
		pair_run_emitted(p, &u[n - 1]);
	else
		escaped |= 2;
	if (escaped == 1 || escaped == 2 || (escaped && (w->cpu.raised.vector != g->cpu.raised.vector || w->cpu.at - w->block->uop != g->cpu.at - g->block->uop)))
		return false;
	p->cases++;
	w->cpu.reg[REG_SINK] = g->cpu.reg[REG_SINK];
	size_t events = (size_t)(w->sink.next - w->sink.buffer);
	return !memcmp(w->cpu.reg, g->cpu.reg, sizeof w->cpu.reg) && flags_get(&w->cpu) == flags_get(&g->cpu) && w->cpu.rip == g->cpu.rip && w->cpu.budget == g->cpu.budget &&
		w->cpu.icount == g->cpu.icount && !memcmp(w->cpu.xmm, g->cpu.xmm, sizeof w->cpu.xmm) && !memcmp(w->cpu.xmm_temp, g->cpu.xmm_temp, sizeof w->cpu.xmm_temp) &&
		w->cpu.eflags == g->cpu.eflags && w->cpu.mxcsr == g->cpu.mxcsr && !g->cpu.mxcsr_real && events == (size_t)(g->sink.next - g->sink.buffer) && !memcmp(w->sink.buffer, g->sink.buffer, events * sizeof(struct event)) &&
		!memcmp(w->phys.bytes, g->phys.bytes, MEMORY);
}

static void pair_check(struct pair *p, const struct uop *u, unsigned n, unsigned under_test)
{
	covered[u[under_test].op] = true;
	if (pair_run(p, u, n))
		return;
	printf("\n    %s (dst %u a %u b %u index %u imm %llx disp %d), the %u. of:", uop_names[u[under_test].op], u[under_test].dst, u[under_test].a, u[under_test].b, u[under_test].index,
	       (unsigned long long)u[under_test].imm, u[under_test].disp, under_test + 1);
	for (unsigned i = 0; i < n; i++)
		printf(" %s", uop_names[u[i].op]);
	for (unsigned i = 0; i < REG_COUNT; i++)
		if (p->want->cpu.reg[i] != p->got->cpu.reg[i])
			printf("\n      reg %u: C %llx, emitted %llx", i, (unsigned long long)p->want->cpu.reg[i], (unsigned long long)p->got->cpu.reg[i]);
	for (unsigned i = 0; i < 18; i++)
		for (unsigned k = 0; k < 2; k++) {
			uint64_t want = i < 16 ? p->want->cpu.xmm[i].q[k] : p->want->cpu.xmm_temp[i - 16].q[k], got = i < 16 ? p->got->cpu.xmm[i].q[k] : p->got->cpu.xmm_temp[i - 16].q[k];
			if (want != got)
				printf("\n      xmm %u.%u: C %llx, emitted %llx", i, k, (unsigned long long)want, (unsigned long long)got);
		}
	printf("\n      mxcsr: C %x, emitted %x", p->want->cpu.mxcsr, p->got->cpu.mxcsr);
	printf("\n      flags: C %x, emitted %x; rip: C %llx, emitted %llx\n", flags_get(&p->want->cpu), flags_get(&p->got->cpu), (unsigned long long)p->want->cpu.rip,
	       (unsigned long long)p->got->cpu.rip);
	CU_FAIL("emitted code and C function differ");
	exit(1); /* one is enough to look at */
}

static uint8_t random_register(struct pair *p)
{
	static const uint8_t some[] = { REG_AX, REG_CX, REG_DX, REG_BX, REG_SP, REG_BP, REG_SI, REG_DI, REG_R8, REG_R9, REG_R12, REG_T0, REG_T1 };
	return some[random_next(&p->seed) % sizeof some];
}

static bool starts(const char *name, const char *with) { return !strncmp(name, with, strlen(with)); }

/* Operands that a crack could have given: counts of shifts are masked and not zero; XMM numbers where the row takes them. */
static struct uop random_uop(struct pair *p, unsigned op)
{
	const char *name = uop_names[op];
	struct uop u = { .op = (uint16_t)op, .dst = random_register(p), .a = random_register(p), .b = random_register(p), .index = random_register(p), .scale = random_next(&p->seed) & 3,
		.seg = SEG_DS, .imm = random_operand(&p->seed), .disp = (int32_t)random_operand(&p->seed), .size = 4 };
	static const char *const counted[] = { "shl", "shr", "sar", "rol", "ror", "rcl", "rcr" }; /* and SHLD, SHRD */
	for (unsigned i = 0; i < sizeof counted / sizeof *counted; i++)
		if (starts(name, counted[i])) {
			unsigned bits = (unsigned)strtoul(name + 3 + (name[3] == 'd'), NULL, 10), most = bits == 64 ? 63 : 31;
			if (name[1] == 'c' || name[3] == 'd')
				most = bits - 1;
			u.imm = 1 + random_next(&p->seed) % most;
		}
	if (random_next(&p->seed) & 1)
		u.a = u.dst;
	if (starts(name, "x_")) {
		bool from_gpr = starts(name, "x_from"), to_gpr = starts(name, "x_to");
		u.dst = to_gpr ? u.dst : random_next(&p->seed) % 18;
		u.a = from_gpr ? u.a : random_next(&p->seed) % 18;
		u.size = random_next(&p->seed) & 1 ? 8 : 4;
	}
	if (op == UOP_bit_address)
		u.size = (uint8_t)(2u << random_next(&p->seed) % 3);
	if (starts(name, "add_sp"))
		u.imm = random_next(&p->seed) & 1 ? 0xffff : 0xffffffff;
	return u;
}

/* Rows that flags come from: a nop leaves what was there. */
static unsigned random_writer(struct pair *p)
{
	static const uint16_t some[] = { UOP_nop, UOP_nop, UOP_add32_rr, UOP_sub64_rr, UOP_cmp8_ri, UOP_and16_rr, UOP_inc32, UOP_dec64, UOP_shr32_ri, UOP_shl64_ri, UOP_sar32_ri, UOP_adc32_rr,
		UOP_sbb64_rr, UOP_neg32, UOP_imul32_rr, UOP_rol32_ri, UOP_xor64_rr, UOP_add8_rr, UOP_bt32 };
	return some[random_next(&p->seed) % (sizeof some / sizeof *some)];
}

/* The high half of the dividend (DX; of bytes, AH) = the sign of the low one, or 0. */
static void fill_dividend(struct pair *p, unsigned size)
{
	uint64_t a = p->want->cpu.reg[REG_AX], high = random_next(&p->seed) & 1 ? (uint64_t)((int64_t)(a << (64 - 8 * size)) >> 63) : 0;
	if (size == 1)
		p->want->cpu.reg[REG_AX] = p->got->cpu.reg[REG_AX] = (a & 0xff) | (high & 0xff00);
	else
		p->want->cpu.reg[REG_DX] = p->got->cpu.reg[REG_DX] = high;
}

static void test_plain(void)
{
	struct pair p = pair_open(false);
	for (unsigned op = 0; op < UOP_COUNT; op++) {
		bool divides = op >= UOP_div8 && op <= UOP_idiv64; /* the others that may fault ask for more of the world than is here */
		if (p.rows[op].shape != SHAPE_PLAIN || (uop_facts[op] & FACT_STOP && !divides))
			continue;
		for (unsigned i = 0; i < ROUNDS; i++) {
			static const uint16_t after[] = { UOP_fall, UOP_j_z, UOP_j_be, UOP_j_l };
			struct uop u[4] = { random_uop(&p, random_writer(&p)), random_uop(&p, op), random_uop(&p, i & 1 ? UOP_cmp32_rr : UOP_nop), random_uop(&p, after[i % 4]) };
			pair_fill(&p);
			if (divides && i & 2) /* a dividend that is no wider than the divisor: a quotient that fits, most often */
				fill_dividend(&p, 1u << (op - UOP_div8) % 4);
			pair_check(&p, u, 4, 1);
		}
	}
	CU_ASSERT_TRUE(p.cases > 10000);
	printf("%lu blocks ", p.cases);
	pair_close(&p);
}

/* Every condition after every kind of flag writer, the adjacent one and one with moves between. */
static void test_branches(void)
{
	struct pair p = pair_open(false);
	for (unsigned op = 0; op < UOP_COUNT; op++) {
		bool fused = op >= UOP_jcmp8_rr_b && op <= UOP_jdec64_nz, jcc = op >= UOP_j_o && op <= UOP_j_g;
		for (unsigned i = 0; (fused || jcc || op == UOP_loop) && i < 4 * ROUNDS; i++) {
			struct uop u[3] = { random_uop(&p, random_writer(&p)), random_uop(&p, i & 1 ? UOP_mov32 : UOP_not32), random_uop(&p, op) };
			if (op >= UOP_jdec32_z && op <= UOP_jdec64_nz)
				u[2].a = u[2].dst;
			if (op == UOP_loop)
				u[2].imm = i % 4, u[2].size = (uint8_t)(2u << i / 4 % 3);
			pair_fill(&p);
			if (i & 2)
				p.want->cpu.reg[u[2].a] = p.got->cpu.reg[u[2].a] = p.want->cpu.reg[u[2].b];
			pair_check(&p, u, 3, 2);
		}
	}
	printf("%lu blocks, %lu by emitted branches ", p.cases, p.emitted);
	pair_close(&p);
}

/* Operands whose address lies in memory: hits, misses of the fast table, page crossings. */
static void place_operands(struct pair *p, struct uop *u, unsigned form)
{
	uint64_t at = 0x100 + random_next(&p->seed) % (MEMORY - 0x2000), index = random_next(&p->seed) & 0xff;
	if (random_next(&p->seed) & 1)
		at = (at & ~0xfffull) + 0x1000 - random_next(&p->seed) % 17;
	if (random_next(&p->seed) & 1)
		at &= ~15ull;
	u->disp = (int32_t)(random_next(&p->seed) & 0x3f) - 0x20;
	u->imm = form == MEMORY_FORM_abs ? at : u->imm;
	u->index = form == MEMORY_FORM_bd || form == MEMORY_FORM_bd32 || random_next(&p->seed) & 1 ? REG_ZERO : REG_SI;
	u->a = p->rows[u->op].family >= FAMILY_pop32 || starts(uop_names[u->op], "push") || starts(uop_names[u->op], "pop") ? REG_SP : random_next(&p->seed) & 1 ? REG_BX : REG_R12;
	struct cpu *side[] = { &p->want->cpu, &p->got->cpu };
	for (unsigned i = 0; i < 2; i++) {
		side[i]->reg[REG_SI] = index;
		side[i]->reg[u->a] = at - (uint64_t)(int64_t)u->disp - (u->index == REG_SI ? index << u->scale : 0);
	}
}

static void memory_rows(bool observed)
{
	struct pair p = pair_open(observed);
	for (unsigned i = 0; i < MEMORY; i++)
		p.want->phys.bytes[i] = p.got->phys.bytes[i] = (uint8_t)random_next(&p.seed);
	for (unsigned op = 0; op < UOP_COUNT; op++) {
		const struct dbt_row *row = &p.rows[op];
		if (row->shape == SHAPE_PLAIN || row->shape == SHAPE_END)
			continue;
		for (unsigned i = 0; i < ROUNDS; i++) {
			struct uop u[3] = { random_uop(&p, random_writer(&p)), random_uop(&p, op), random_uop(&p, UOP_fall) };
			bool xmm = row->shape == SHAPE_LOADX || row->shape == SHAPE_STOREX;
			bool aligned = xmm && uop_names[op][strcspn(uop_names[op], ".") - 1] == 'a';
			u[0].dst = REG_DX, u[0].a = REG_DI; /* not the address */
			u[1].dst = xmm ? random_next(&p.seed) % 18 : u[1].dst;
			u[1].b = xmm ? random_next(&p.seed) % 18 : u[1].b;
			pair_fill(&p);
			place_operands(&p, &u[1], row->form);
			if (aligned) { /* what is not aligned faults, and leaves */
				struct cpu *side[] = { &p.want->cpu, &p.got->cpu };
				uint64_t off = (row->form == MEMORY_FORM_abs ? u[1].imm : uop_ea(&p.want->cpu, &u[1])) & 15;
				u[1].imm -= row->form == MEMORY_FORM_abs ? off : 0;
				for (unsigned k = 0; k < 2; k++)
					side[k]->reg[u[1].a] -= off;
			}
			if (i % 5 == 0)
				flat_set_absent(&p.want->port, &p.want->cpu, ~0ull), flat_set_absent(&p.got->port, &p.got->cpu, ~0ull);
			pair_check(&p, u, 3, 1);
		}
	}
	printf("%lu blocks ", p.cases);
	pair_close(&p);
}
static void test_memory(void) { memory_rows(false); }
static void test_memory_observed(void) { memory_rows(true); }

/* Blocks of many micro-ops: flags that are put off meet everything that may overwrite what they are made from, and slow paths between. Some registers take the zero that stands for
 * no base. Weighted towards what writes and uses flags. */
static struct uop random_stream_uop(struct pair *p)
{
	static const uint16_t favourite[] = { UOP_add32_rr, UOP_sub32_rr, UOP_cmp32_rr, UOP_cmp64_ri, UOP_cmp8_rr, UOP_test32_rr, UOP_test16_ri, UOP_inc32, UOP_dec64, UOP_adc32_rr,
		UOP_sbb32_ri_nf, UOP_mov32, UOP_mov64, UOP_movi, UOP_lea32, UOP_xor32_rr, UOP_and64_ri, UOP_shr32_ri, UOP_shl8_ri, UOP_set_l, UOP_cmov32_b, UOP_bt32, UOP_xchg32, UOP_neg64 };
	unsigned op = favourite[random_next(&p->seed) % (sizeof favourite / sizeof *favourite)];
	unsigned any = (unsigned)(random_next(&p->seed) % UOP_COUNT), what = (unsigned)(random_next(&p->seed) % 8);
	bool memory = false;
	for (unsigned i = 0; what == 0 && !memory && i < 50; i++) {
		any = UOP_add32_rm_bd + (unsigned)(random_next(&p->seed) % (UOP_pop32_bd32 - UOP_add32_rm_bd + 1));
		memory = p->rows[any].form == MEMORY_FORM_abs;
	}
	if (memory || (what < 4 && p->rows[any].shape == SHAPE_PLAIN && !(uop_facts[any] & FACT_STOP) && !starts(uop_names[any], "x_")))
		op = any;
	struct uop u = random_uop(p, op);
	if (memory) { /* or a page crossing, now and then */
		u.imm = 0x100 + random_next(&p->seed) % (MEMORY - 0x2000);
		if (p->rows[op].shape == SHAPE_STORE)
			u.b = random_register(p);
	}
	if (starts(uop_names[op], "lea") && random_next(&p->seed) & 1)
		u.a = REG_ZERO;
	if (starts(uop_names[op], "lea") && random_next(&p->seed) & 1)
		u.index = REG_ZERO;
	return u;
}

static void test_streams(void)
{
	struct pair p = pair_open(false);
	for (unsigned i = 0; i < 200 * ROUNDS; i++) {
		struct uop u[MOST_UOPS];
		unsigned n = 2 + (unsigned)(random_next(&p.seed) % (MOST_UOPS - 1));
		for (unsigned k = 0; k + 1 < n; k++)
			u[k] = random_stream_uop(&p);
		unsigned fused = UOP_jcmp8_rr_b + (unsigned)(random_next(&p.seed) % (UOP_jdec64_nz - UOP_jcmp8_rr_b + 1)), plain = UOP_j_o + (unsigned)(random_next(&p.seed) % 16);
		u[n - 1] = random_uop(&p, i & 1 ? fused : plain);
		if (starts(uop_names[u[n - 1].op], "jdec"))
			u[n - 1].a = u[n - 1].dst;
		pair_fill(&p);
		if (i % 5 == 0)
			flat_set_absent(&p.want->port, &p.want->cpu, ~0ull), flat_set_absent(&p.got->port, &p.got->cpu, ~0ull); /* empties the fast table */
		pair_check(&p, u, n, n - 1);
	}
	printf("%lu blocks ", p.cases);
	pair_close(&p);
}

/* Pushes, or pops and a return's load, behind each other, which are looked up together: in one page, over two, in one that is not there; with the stack pointer among them. */
static void test_stack_runs(void)
{
	struct pair p = pair_open(false);
	for (unsigned i = 0; i < 60 * ROUNDS; i++) {
		bool wide = i & 1, push = i & 2;
		unsigned n = 1 + (unsigned)(random_next(&p.seed) % (MOST_UOPS - 3));
		struct uop u[MOST_UOPS] = { random_uop(&p, random_writer(&p)) };
		u[0].dst = REG_DX, u[0].a = REG_DI; /* not the address */
		for (unsigned k = 1; k <= n; k++) {
			bool immediate = random_next(&p.seed) >> 63, load = !push && k == n && immediate;
			u[k] = random_uop(&p, wide ? (push ? immediate ? UOP_pushi64_bd : UOP_push64_bd : load ? UOP_ld64_bd : UOP_pop64_bd) :
				push ? immediate ? UOP_pushi32_bd32 : UOP_push32_bd32 : load ? UOP_ld32_bd32 : UOP_pop32_bd32);
			u[k].a = REG_SP, u[k].b = random_register(&p), u[k].dst = load ? (unsigned)REG_T0 : random_register(&p);
			u[k].disp = !push ? 0 : wide ? -8 : -4;
			if (random_next(&p.seed) % 8)
				u[k].b = u[k].b == REG_SP ? (unsigned)REG_R9 : u[k].b, u[k].dst = u[k].dst == REG_SP ? (unsigned)REG_R9 : u[k].dst;
		}
		u[n + 1] = random_uop(&p, UOP_fall);
		pair_fill(&p);
		uint64_t at = 0x2000 + random_next(&p.seed) % 0x8000, absent = ~0ull;
		if (i & 4)
			at = (at & ~0xfffull) + random_next(&p.seed) % 100 - 50;
		if (random_next(&p.seed) % 8 == 0)
			absent = (at - 40 + random_next(&p.seed) % 80) & ~0xfffull;
		p.want->cpu.reg[REG_SP] = p.got->cpu.reg[REG_SP] = at;
		if (i % 5 == 0 || absent != ~0ull)
			flat_set_absent(&p.want->port, &p.want->cpu, absent), flat_set_absent(&p.got->port, &p.got->cpu, absent);
		pair_check(&p, u, n + 2, 1);
	}
	printf("%lu blocks ", p.cases);
	pair_close(&p);
}

/* ---- indirect branches ---- */
/* To a block that the cache's table knows, to one of another mode, to one that is stale, and to nowhere. */
static void test_indirect(void)
{
	struct pair p = pair_open(false);
	struct block *target[2];
	for (unsigned i = 0; i < 2; i++)
		target[i] = calloc(1, sizeof **target + sizeof(struct uop));
	for (unsigned i = 0; i < 8 * ROUNDS; i++) {
		struct uop u[2] = { random_uop(&p, random_writer(&p)), random_uop(&p, i & 1 ? UOP_ret : UOP_jmp_reg) };
		u[0].dst = REG_DX;
		u[1].a = i & 2 ? REG_BX : REG_T0, u[1].size = 4, u[1].imm = random_next(&p.seed) & 0xff;
		p.key = 4 | KEY_FLAT_CS | KEY_FLAT_SS | (i & 4 ? KEY_STACK16 : 0);
		p.want->cpu.seg[SEG_SS].attributes = p.got->cpu.seg[SEG_SS].attributes = (p.want->cpu.seg[SEG_SS].attributes & ~(uint32_t)SEGA_DB) | (i & 4 ? 0 : SEGA_DB);
		pair_fill(&p);
		uint64_t to = (uint32_t)random_next(&p.seed);
		for (unsigned s = 0; s < 2; s++) {
			struct side *d = s ? p.got : p.want;
			*target[s] = (struct block){ .pc = to + (i / 8 % 4 == 1), .insns = 3, .key = p.key ^ (i / 8 % 4 == 2 ? KEY_USER : 0), .stamp = i / 8 % 4 == 3 ? 78 : 77,
				.code = { p.dbt->exit_enter + p.dbt->emit.to_run }, .next = { d->cpu.blocks->nowhere, d->cpu.blocks->nowhere } };
			*block_jump_slot(d->cpu.blocks, to) = target[s];
			d->cpu.reg[u[1].a] = to;
		}
		pair_check(&p, u, 2, 1);
		for (unsigned s = 0; s < 2; s++) {
			struct side *d = s ? p.got : p.want;
			CU_ASSERT_EQUAL(d->cpu.block == target[s], i / 8 % 4 == 0);
			*block_jump_slot(d->cpu.blocks, to) = d->cpu.blocks->nowhere;
		}
	}
	printf("%lu blocks, %lu by emitted branches ", p.cases, p.emitted);
	free(target[0]), free(target[1]);
	pair_close(&p);
}

/* The check of a call's target in 64-bit code: canonical ones pass in line, others fault as in C. */
static void test_target(void)
{
	struct pair p = pair_open(false);
	p.key = 8 | KEY_FLAT_CS | KEY_FLAT_SS;
	p.want->cpu.code_size = p.got->cpu.code_size = 8;
	for (unsigned i = 0; i < 4 * ROUNDS; i++) {
		struct uop u[3] = { random_uop(&p, random_writer(&p)), random_uop(&p, UOP_check_target), random_uop(&p, UOP_fall) };
		u[0].dst = REG_DX;
		u[1].a = REG_BX;
		pair_fill(&p);
		uint64_t to = random_next(&p.seed) >> (i & 1 ? 17 : 16);
		p.want->cpu.reg[REG_BX] = p.got->cpu.reg[REG_BX] = i & 2 ? ~to : to;
		p.want->cpu.cr4 = p.got->cpu.cr4 = i & 4 ? CR4_LA57 : 0;
		pair_check(&p, u, 3, 1);
	}
	pair_close(&p);
}

/* ---- SSE ---- */
static uint64_t random_float(uint64_t *s)
{
	static const uint64_t corner[] = { 0, 1ull << 63, 0x3ff0000000000000, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff4000000000001, 1, 0x000fffffffffffff, 0x0010000000000000,
		0x7fefffffffffffff, 0x3f8000003f800000, 0x7f800000ff800000, 0x7fc000007fa00001, 0x00000001007fffff, 0x008000007f7fffff, 0x41e0000000000000, 0x43e0000000000000, 0x4f0000005f000000 };
	uint64_t r = random_next(s);
	switch (r >> 61) {
	case 0:
	case 1: return corner[(r & 0xffff) % (sizeof corner / sizeof *corner)];
	case 2: return r;
	case 3: return (r & 0x800fffff800fffff) | 0x3f8000003f800000; /* singles near one */
	case 4: return (r & 0x80007fff00000000) | 0x3ff0000000000000; /* short doubles: exact results */
	default: return (r & 0x80ffffffffffffff) | 0x3f00000000000000;
	}
}

static void pair_fill_floats(struct pair *p, uint32_t mxcsr)
{
	struct cpu *a = &p->want->cpu, *b = &p->got->cpu;
	for (unsigned i = 0; i < 18; i++)
		for (unsigned k = 0; k < 2; k++) {
			uint64_t v = random_float(&p->seed);
			*(i < 16 ? &a->xmm[i].q[k] : &a->xmm_temp[i - 16].q[k]) = *(i < 16 ? &b->xmm[i].q[k] : &b->xmm_temp[i - 16].q[k]) = v;
		}
	a->mxcsr = b->mxcsr = mxcsr;
	a->cr4 = b->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
}

static struct uop random_sse(struct pair *p, const struct sse_op *op)
{
	struct uop u = random_uop(p, UOP_sse);
	u.imm = (uint64_t)(uintptr_t)op;
	u.dst = op->dst == SSE_GPR || op->dst == SSE_MEM ? 16 : random_next(&p->seed) % 16;
	u.a = op->src == SSE_XMM || op->src == SSE_XM ? random_next(&p->seed) % 18 : 17;
	u.size = (uint8_t)random_next(&p->seed);
	return u;
}

/* Every row of sse.def, all exceptions masked and with some that are not, among others, moves and a load that misses the fast table (its C function may use any XMM register). */
static void sse_rows_check(bool observed)
{
	struct pair p = pair_open(observed);
	unsigned rows = 0, own = 0;
	while (sse_row(rows))
		rows++;
	for (unsigned row = 0; row < rows; row++) {
		own += dbt_sse_emitted(sse_row(row));
		for (unsigned i = 0; i < ROUNDS; i++) {
			struct uop u[8];
			uint64_t r = random_next(&p.seed);
			u[0] = random_uop(&p, random_writer(&p));
			u[1] = random_sse(&p, sse_row(r % rows));
			u[2] = random_uop(&p, r & 0x1000 ? UOP_ldx16_abs : UOP_x_mov);
			u[2].dst = r >> 16 & 15, u[2].a = r >> 20 & 15;
			if (r & 0x1000)
				u[2].imm = 0x1000 + (r >> 32 & 0xfff);
			u[3] = random_sse(&p, sse_row(row));
			u[4] = random_uop(&p, r & 0x2000 ? UOP_x_from_gpr : r & 0x4000 ? UOP_x_to_gpr : UOP_stx8_abs);
			u[4].imm = 0x3000 + (r >> 40 & 0xff), u[4].b = r >> 24 & 15;
			u[5] = random_sse(&p, sse_row(random_next(&p.seed) % rows));
			u[6] = random_uop(&p, i & 1 ? UOP_j_a : UOP_fall);
			pair_fill(&p);
			uint32_t mxcsr = 0x1f80 | (r >> 48 & 0x8040) | (r >> 50 & 3) << 13 | (r & 0x8000 ? r >> 56 & 0x3f : 0);
			pair_fill_floats(&p, i % 4 ? mxcsr : mxcsr & ~(0x80u << (r >> 60) % 6));
			if (i % 3 == 0)
				flat_set_absent(&p.want->port, &p.want->cpu, ~0ull), flat_set_absent(&p.got->port, &p.got->cpu, ~0ull); /* empties the fast table */
			pair_check(&p, u, 7, 3);
		}
	}
	CU_ASSERT_TRUE(own > 140);
	printf("%lu blocks, %u of %u rows emitted ", p.cases, own, rows);
	pair_close(&p);
}
static void test_sse(void) { sse_rows_check(false); }
static void test_sse_observed(void) { sse_rows_check(true); }

static void sides_compare(const struct side *want, const struct side *got)
{
	CU_ASSERT_EQUAL(want->cpu.icount, got->cpu.icount);
	CU_ASSERT_EQUAL(want->cpu.rip, got->cpu.rip);
	CU_ASSERT_EQUAL(want->cpu.budget, got->cpu.budget);
	CU_ASSERT_EQUAL(flags_get(&want->cpu), flags_get(&got->cpu));
	CU_ASSERT_EQUAL(memcmp(want->cpu.reg, got->cpu.reg, 16 * sizeof *want->cpu.reg), 0);
	CU_ASSERT_EQUAL(memcmp(want->phys.bytes, got->phys.bytes, MEMORY), 0);
}

/* 200 blocks in a ring, by direct jumps, a call and a return, on one engine. `room`: bytes a region of code memory, 0: as usual. `blocks`: bytes of blocks, 0: enough. `write`: a store changes an instruction of the ring
 * each time round. */
static struct side *ring_run(const char *engine, size_t room, size_t blocks, bool write)
{
	struct side *s = aligned_alloc(64, (sizeof *s + 63) & ~63ull);
	side_open(s, false);
	if (blocks)
		s->cpu.blocks->max_bytes = blocks;
	uint8_t *p = s->phys.bytes + 0x1000;
	for (unsigned i = 0; i < 200; i++, p += 3)
		memcpy(p, "\x40\xeb\x00", 3); /* inc eax; jmp to the next */
	if (write)
		memcpy(p, "\xa2\x22\x10\x00\x00", 5), p += 5; /* mov [0x1022], al: the distance of a jump, */
	if (write)
		memcpy(p, "\xc6\x05\x22\x10\x00\x00\x00", 7), p += 7; /* and back to 0 before it is run */
	memcpy(p, "\xe8\x05\x00\x00\x00\xe9", 6); /* call 5 on; jmp back */
	int32_t back = (int32_t)(s->phys.bytes + 0x1000 - (p + 10));
	memcpy(p + 6, &back, 4);
	memcpy(p + 10, "\x83\xc3\x05\xc3", 4); /* add ebx, 5; ret */
	s->cpu.rip = 0x1000;
	s->cpu.reg[REG_SP] = 0x8000;
	if (room && !strcmp(engine, "dbt"))
		CU_ASSERT_TRUE_FATAL(dbt_attach(s->cpu.blocks, DBT_BEFORE + 4 * room, 4));
	for (unsigned i = 0; i < 60; i++) {
		s->cpu.budget = 1000;
		engine_find(engine)->run(&s->cpu);
	}
	return s;
}

/* Code memory for no block, for a few, and for all of them: eviction all the time, of regions; the blocks stay. */
static void test_full_memory(void)
{
	static const size_t room[] = { 0, 10, 300, 1000, 5000, 30000 };
	for (unsigned i = 0; i < 2 * sizeof room / sizeof *room; i++) {
		struct side *want = ring_run("switch", 0, 0, i & 1), *got = ring_run("dbt", room[i / 2], 0, i & 1);
		sides_compare(want, got);
		CU_ASSERT_TRUE(room[i / 2] == 0 || room[i / 2] > 1000 || got->cpu.blocks->dbt->evictions > 100);
		CU_ASSERT_TRUE(got->cpu.blocks->generation <= 1); /* the flush that makes the translator known */
		side_close(want), side_close(got);
		free(want), free(got);
	}
}

/* Room for a part of the blocks only: old ones go, the others and their translations stay. */
static void test_few_blocks(void)
{
	static const size_t room[] = { 1, 5000, 30000, 45000 };
	struct side *want = ring_run("switch", 0, 0, true);
	for (unsigned i = 0; i < 2 * sizeof room / sizeof *room; i++) {
		struct side *got = ring_run(i & 1 ? "dbt" : "threaded", 0, room[i / 2], true);
		sides_compare(want, got);
		CU_ASSERT_TRUE(got->cpu.blocks->generation <= 1 && got->cpu.blocks->collections > 50);
		CU_ASSERT_TRUE(got->cpu.blocks->bytes <= room[i / 2] + 32 * 1024);
		side_close(got);
		free(got);
	}
	side_close(want);
	free(want);
}

/* A small program of 16-bit code: stack, memory through segments, a loop, rotates, a call. */
static struct side *narrow_run(const char *engine)
{
	static const uint8_t code[] = {
		0xb9, 0xe8, 0x03,             /* mov cx, 1000 */
		0x50,                         /* 1: push ax */
		0x05, 0x39, 0x30,             /* add ax, 12345 */
		0xd1, 0xc0,                   /* rol ax, 1 */
		0xa3, 0x00, 0x30,             /* mov [0x3000], ax */
		0x8b, 0x36, 0x00, 0x30,       /* mov si, [0x3000] */
		0x81, 0xe6, 0xff, 0x0f,       /* and si, 0xfff */
		0x00, 0x84, 0x00, 0x40,       /* add [si + 0x4000], al */
		0x66, 0x01, 0xc3,             /* add ebx, eax */
		0x5a,                         /* pop dx */
		0x31, 0xd0,                   /* xor ax, dx */
		0xe8, 0x04, 0x00,             /* call 2f */
		0xe2, 0xe0,                   /* loop 1b */
		0xeb, 0xdb,                   /* jmp to the start */
		0x11, 0xd3,                   /* 2: adc bx, dx */
		0xc3,                         /* ret */
	};
	struct side *s = aligned_alloc(64, (sizeof *s + 63) & ~63ull);
	side_open(s, false);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set_flat(&s->cpu, i, 8, 0, i == SEG_CS, 2);
	s->cpu.seg[SEG_SS].attributes &= ~(uint32_t)SEGA_DB;
	s->cpu.seg[SEG_DS].base = 0x100; /* not flat: checked addresses */
	cpu_mode_update(&s->cpu);
	memcpy(s->phys.bytes + 0x1000, code, sizeof code);
	s->cpu.rip = 0x1000;
	s->cpu.reg[REG_SP] = 0xabcd8000;
	for (unsigned i = 0; i < 20; i++) {
		s->cpu.budget = 1000;
		engine_find(engine)->run(&s->cpu);
	}
	return s;
}

static void test_narrow(void)
{
	struct side *want = narrow_run("switch"), *got = narrow_run("dbt");
	CU_ASSERT_TRUE(want->cpu.icount >= 19000 && want->cpu.stop == CPU_RUNNING);
	CU_ASSERT_TRUE(got->cpu.blocks->dbt->translations > 2);
	sides_compare(want, got);
	side_close(want), side_close(got);
	free(want), free(got);
}

/* Listening now and then, as sampled runs do: each block is translated twice, and then never again. */
static void test_both_kept(void)
{
	struct side *s = ring_run("dbt", 0, 0, false);
	s->cpu.blocks->numbered = true;
	uint64_t after = 0, flushes = s->cpu.blocks->generation;
	for (unsigned i = 0; i < 40; i++) {
		s->sink.on = i & 1;
		s->cpu.budget = 2000;
		engine_find("dbt")->run(&s->cpu);
		if (i == 9)
			after = s->cpu.blocks->dbt->translations;
	}
	CU_ASSERT_TRUE(after > 400);
	CU_ASSERT_EQUAL(s->cpu.blocks->dbt->translations, after);
	CU_ASSERT_EQUAL(s->cpu.blocks->generation, flushes);
	side_close(s);
	free(s);
}

/* Every row that has an emitter was compared above. */
static void test_coverage(void)
{
	unsigned emitters = 0;
	for (unsigned op = 0; op < UOP_COUNT; op++) {
		emitters += dbt_emits(op);
		if (dbt_emits(op) && !covered[op]) {
			printf("\n    %s is emitted and not tested", uop_names[op]);
			CU_FAIL("emitter without a test");
		}
	}
	printf("%u rows with emitters ", emitters);
	CU_ASSERT_TRUE(emitters > 500);
}

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return CU_get_error();
	CU_pSuite s = CU_add_suite("dbt", NULL, NULL);
	CU_add_test(s, "micro-ops in registers", test_plain);
	CU_add_test(s, "branches", test_branches);
	CU_add_test(s, "streams of micro-ops", test_streams);
	CU_add_test(s, "loads and stores", test_memory);
	CU_add_test(s, "loads and stores, with events", test_memory_observed);
	CU_add_test(s, "pushes and pops behind each other", test_stack_runs);
	CU_add_test(s, "indirect branches", test_indirect);
	CU_add_test(s, "targets of calls", test_target);
	CU_add_test(s, "SSE", test_sse);
	CU_add_test(s, "SSE, with events", test_sse_observed);
	CU_add_test(s, "full code memory", test_full_memory);
	CU_add_test(s, "room for few blocks", test_few_blocks);
	CU_add_test(s, "16-bit code", test_narrow);
	CU_add_test(s, "both translations kept", test_both_kept);
	CU_add_test(s, "every emitter was compared", test_coverage);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
