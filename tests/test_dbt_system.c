/*
 * Proves that SYSCALL, SYSRET, SWAPGS, CLI and STI as the translator emits them do what the instructions' full C functions do, whatever the state: flags of every kind of writer, STAR (also when it
 * changes after the translation), masks, privilege levels, traps and hooks of a VMM, attention, a budget that is gone, addresses that are not canonical. Independent reference: the C
 * functions (isa/system_call.c), which test_isa_rings holds against QEMU.
 */
#include "flat_port.h"
#include "isa/engine_dbt.h"
#include "isa/flags.h"
#include "isa/transfer.h"
#include "isa/uop_control.h"
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMORY = 1 << 16, ROUNDS = 20000, PC = 0x1000 };

struct side { /* one of the two cpus */
	struct cpu cpu;
	struct phys phys;
	struct flat_port port;
	struct event_sink sink;
	struct block *block;
	struct uop_sys sys;
};

static uint64_t random_next(uint64_t *s) /* xorshift64* (Vigna, 2016) */
{
	*s ^= *s >> 12, *s ^= *s << 25, *s ^= *s >> 27;
	return *s * 2685821657736338717ull;
}
static bool one_in(uint64_t *s, unsigned n) { return (random_next(s) >> 40) % n == 0; }

static bool hook_sensitive(void *self, struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value)
{
	(void)self, (void)what, (void)addr, (void)value;
	cpu->emulated++;
	return false;
}
static void hook_level(void *self, struct cpu *cpu, unsigned from)
{
	(void)self;
	cpu->emulated += 16 + from;
}

static struct side *side_open(void)
{
	struct side *d = aligned_alloc(64, (sizeof *d + 63) & ~63ull);
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	memset(d, 0, sizeof *d);
	CU_ASSERT_TRUE_FATAL(phys_create(&d->phys, MEMORY) && event_sink_create(&d->sink, 64));
	d->sink.on = false;
	d->cpu.events = &d->sink;
	d->cpu.features = (struct cpu_features *)&cpu_features_all;
	flat_port_attach(&d->port, &d->cpu, &d->phys);
	d->cpu.blocks = block_cache_create(1 << 20, NULL);
	cpu_reset(&d->cpu);
	d->cpu.vmm.sensitive = hook_sensitive;
	d->block = calloc(1, sizeof *d->block + sizeof(struct uop));
	return d;
}

static void side_close(struct side *d)
{
	d->cpu.blocks->dbt = NULL; /* the test's own */
	block_cache_destroy(d->cpu.blocks);
	event_sink_destroy(&d->sink);
	phys_destroy(&d->phys);
	free(d->block);
	free(d);
}

static struct lazy_flags flags_random(uint64_t *s)
{
	unsigned op = (unsigned)(random_next(s) >> 32) % (FLAGS_PARTIAL + 4);
	uint64_t mask = ~0ull >> (64 - (8 << (op & 3))), keep = one_in(s, 3) ? 15 : ~0ull;
	struct lazy_flags f = { .op = op, .result = random_next(s) & mask & keep, .source = random_next(s) & mask & keep, .extra = random_next(s) >> 63 };
	if (op < FLAGS_ADD)
		f.op = FLAGS_EXPLICIT, f.result &= FLAGS_ARITH;
	if (op >= FLAGS_PARTIAL)
		f.source &= FLAGS_ARITH;
	return f;
}

/* 64-bit code at a random level, most often one at which the instruction works. */
static void state_fill(struct cpu *c, uint64_t *s, unsigned level)
{
	for (unsigned i = 0; i < REG_COUNT; i++)
		c->reg[i] = i == REG_ZERO ? 0 : random_next(s);
	c->reg[REG_CX] = (uint64_t)((int64_t)c->reg[REG_CX] >> (one_in(s, 8) ? 7 : 17));
	c->reg[REG_R11] &= ~(uint64_t)(one_in(s, 8) ? 0 : FLAG_TF | FLAG_AC);
	c->flags = flags_random(s);
	c->eflags = ((uint32_t)random_next(s) & (FLAGS_SYSRET & ~(FLAGS_ARITH | FLAG_RF | FLAG_TF | (one_in(s, 8) ? 0 : FLAG_AC)))) | 2;
	c->cpl = (uint8_t)(one_in(s, 8) ? random_next(s) >> 62 : level);
	c->seg[SEG_CS] = segment_flat_code((uint16_t)(0x30 | c->cpl), c->cpl, true);
	c->seg[SEG_SS] = segment_flat_data((uint16_t)(0x28 | c->cpl), c->cpl);
	c->seg[SEG_GS].base = random_next(s), c->kernel_gs_base = random_next(s);
	c->efer = EFER_LME | EFER_LMA | (one_in(s, 12) ? 0 : EFER_SCE);
	c->cr0 = CR0_PE | CR0_PG | CR0_ET | (one_in(s, 2) ? CR0_TS : 0);
	c->cr4 = CR4_PAE | (one_in(s, 2) ? CR4_SMAP : 0) | (one_in(s, 2) ? CR4_OSFXSR : 0) | (one_in(s, 4) ? CR4_LA57 : 0);
	c->star = random_next(s), c->lstar = random_next(s), c->fmask = random_next(s) & ~(uint64_t)(one_in(s, 2) ? FLAGS_ARITH : 0);
	for (unsigned i = 0; i < MEMORY_MODES; i++)
		c->mem.mode_tag[i] = random_next(s) >> 53;
	if (one_in(s, 8)) /* as without paging */
		c->mem.mode_tag[MEMORY_USER] = c->mem.mode_tag[MEMORY_SUPERVISOR];
	c->mem.epoch = random_next(s) >> 40;
	c->vmm.trap_set = one_in(s, 8) ? random_next(s) : 0;
	c->vmm.cpl_changed = one_in(s, 10) ? hook_level : NULL;
	c->attention = one_in(s, 10);
	c->budget = one_in(s, 10) ? 0 : 100;
	c->stop = CPU_RUNNING;
	c->shadow_sti = false;
	c->icount = 1000, c->emulated = c->user_calls = 0, c->state_emitted = 99;
	c->idtr.limit = 0; /* what is delivered ends in a shutdown */
	c->at = NULL;
	cpu_mode_update(c);
}

static void block_make(struct side *d, sys_fn *fn, unsigned size, sys_quick_fn *quick)
{
	struct cpu *c = &d->cpu;
	d->sys = (struct uop_sys){ .fn = fn, .quick = quick, .o = { .next = PC + 5, .size = (uint8_t)size } };
	memset(d->block, 0, sizeof *d->block);
	*d->block = (struct block){ .pc = PC, .insns = 1, .end = BLOCK_END_SYSTEM, .key = c->mode_key, .uops = 1, .next = { c->blocks->nowhere, c->blocks->nowhere }, .next_pc = { PC + 5, PC + 5 } };
	d->block->uop[0] = (struct uop){ .op = UOP_sys_end, .offset = 3, .imm = (uint64_t)(uintptr_t)&d->sys };
	c->block = d->block;
	c->rip = PC;
}

static bool segments_agree(const struct segment *a, const struct segment *b)
{
	return a->selector == b->selector && a->attributes == b->attributes && a->limit == b->limit && a->base == b->base;
}

static bool states_agree(const struct cpu *a, const struct cpu *b)
{
	return !memcmp(a->reg, b->reg, 16 * sizeof *a->reg) && a->rip == b->rip && cpu_eflags(a) == cpu_eflags(b) && a->eflags == b->eflags && a->cpl == b->cpl && a->code_size == b->code_size &&
		segments_agree(&a->seg[SEG_CS], &b->seg[SEG_CS]) && segments_agree(&a->seg[SEG_SS], &b->seg[SEG_SS]) && a->seg[SEG_GS].base == b->seg[SEG_GS].base &&
		a->kernel_gs_base == b->kernel_gs_base && a->mode_key == b->mode_key && a->mem.tag == b->mem.tag && a->mem.supervisor_tag == b->mem.supervisor_tag && a->stamp == b->stamp &&
		a->state_emitted == b->state_emitted && a->user_calls == b->user_calls && a->emulated == b->emulated && a->budget == b->budget && a->icount == b->icount && a->stop == b->stop && a->shadow_sti == b->shadow_sti &&
		a->dr[6] == b->dr[6];
}

/* One instruction on both sides: in full by C, and as emitted, where what emitted code leaves to C is done by C. Returns how it came back, or -1: by a fault. */
static int system_run(struct side *want, struct side *got, struct dbt *d, uint64_t star)
{
	struct cpu *w = &want->cpu, *g = &got->cpu;
	jmp_buf raised;
	volatile unsigned faults = 0;
	volatile int kind = -1;
	w->escape = g->escape = &raised;
	dbt_forget(d, true);
	CU_ASSERT_TRUE_FATAL(dbt_translate(g, d, got->block));
	w->star = g->star = star;
	if (!setjmp(raised))
		dbt_rows[UOP_sys_end].end(w, want->block->uop);
	else
		faults |= 1;
	if (!setjmp(raised)) {
		struct dbt_exit x = dbt_call(g, d, got->block->dbt[DBT_FUNCTIONAL]->body);
		kind = (int)x.kind;
		if (x.kind == EXIT_CHAIN1)
			g->rip = got->block->next_pc[1];
	} else {
		faults |= 2;
	}
	CU_ASSERT_TRUE(faults == 0 || (faults == 3 && w->raised.vector == g->raised.vector && w->raised.error == g->raised.error));
	return kind;
}

static void compare(sys_fn *fn, unsigned size, unsigned level, enum dbt_exit_kind done)
{
	struct side *want = side_open(), *got = side_open();
	struct dbt *d = dbt_create(1 << 20, 1);
	uint64_t seed = 0x243f6a8885a308d3ull, in_line = 0, wrong = 0;
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	d->variant = DBT_FUNCTIONAL;
	got->cpu.blocks->dbt = d;
	got->cpu.blocks->code_none = d->exit_enter + d->emit.to_run;
	for (unsigned i = 0; i < ROUNDS && wrong < 5; i++) {
		uint64_t again = seed;
		state_fill(&want->cpu, &again, level);
		state_fill(&got->cpu, &seed, level);
		block_make(want, fn, size, NULL);
		block_make(got, fn, size, sys_quick_find(fn));
		uint64_t star = one_in(&seed, 10) ? random_next(&seed) : want->cpu.star;
		int kind = system_run(want, got, d, star);
		in_line += kind == (int)done;
		if (states_agree(&want->cpu, &got->cpu))
			continue;
		wrong++;
		printf("\n    round %u, flags op %u, came back by %d: rip %llx and %llx, eflags %x and %x, cpl %u and %u, stamp %llx and %llx", i, got->cpu.flags.op, kind,
		       (unsigned long long)want->cpu.rip, (unsigned long long)got->cpu.rip, cpu_eflags(&want->cpu), cpu_eflags(&got->cpu), want->cpu.cpl, got->cpu.cpl,
		       (unsigned long long)want->cpu.stamp, (unsigned long long)got->cpu.stamp);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_TRUE(in_line > ROUNDS / 8 && in_line < ROUNDS);
	dbt_destroy(d);
	side_close(want);
	side_close(got);
}

static void test_syscall(void) { compare(sys_syscall, 8, 3, EXIT_SYSTEM); }
static void test_syscall_kernel(void) { compare(sys_syscall, 8, 0, EXIT_SYSTEM); }
static void test_sysret(void) { compare(sys_sysret, 8, 0, EXIT_SYSTEM); }
static void test_sysret_narrow(void) { compare(sys_sysret, 4, 0, EXIT_STALE); }
static void test_swapgs(void) { compare(sys_swapgs, 8, 0, EXIT_CHAIN1); }
static void test_interrupts(void)
{
	compare(sys_cli, 8, 0, EXIT_CHAIN1);
	compare(sys_sti, 8, 0, EXIT_CHAIN1);
}

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return CU_get_error();
	CU_pSuite s = CU_add_suite("dbt system", NULL, NULL);
	CU_add_test(s, "SYSCALL of a program", test_syscall);
	CU_add_test(s, "SYSCALL at other levels", test_syscall_kernel);
	CU_add_test(s, "SYSRET", test_sysret);
	CU_add_test(s, "SYSRET to 32-bit code", test_sysret_narrow);
	CU_add_test(s, "SWAPGS", test_swapgs);
	CU_add_test(s, "CLI and STI", test_interrupts);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
