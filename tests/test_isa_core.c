/*
 * Proves that the engines compute the same, and that what they report is exact: every program below runs on each engine, functional and observed, with event buffers of 2 and of
 * 64K, and with budgets from one instruction up; final state, instruction count and event stream must not depend on any of it. Then the edges: precise faults, self-modifying
 * code, single step, shadows, budgets, segments, 16-bit code. Independent reference: values worked out by hand from the manuals (beside each program), and, for instructions one
 * by one, the real CPU in test_native_*.c.
 */
#include "flat_port.h"
#include "isa/block.h"
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

enum { CODE = 0x10000, DATA = 0x20000, DATA2 = 0x28000, STACK = 0x40000, ABSENT = 0x50000, FIXUP = 0x11f00, MEMORY = 1 << 20, MAX_FAULTS = 64 };

/* Position-independent guest code, assembled into this program's constants. */
#define CODE_OF(name, mode, text)                                                                                                                                      \
	__asm__(".section .rodata\n" #name "_begin:\n" mode "\n" text "\n" #name "_end:\n.byte 0xf4\n.code64\n.previous\n");                                           \
	extern const uint8_t name##_begin[] __asm__(#name "_begin"), name##_end[] __asm__(#name "_end");
#define CODE64(name, text) CODE_OF(name, ".code64", text)
#define CODE32(name, text) CODE_OF(name, ".code32", text)
#define CODE16(name, text) CODE_OF(name, ".code16", text)

struct fault { /* words only: compared by memcmp */
	uint64_t vector;
	int64_t error;
	uint64_t rip, icount, cr2, flags;
};

struct rig {
	struct cpu cpu;
	struct phys phys;
	struct flat_port port;
	struct event_sink sink;
	struct event_consumer consumer;
	struct block_dictionary dictionary;
	struct event *events;
	size_t count, room;
	struct fault fault[MAX_FAULTS];
	unsigned faults;
	uint64_t resume; /* where the guest goes on after a fault; 0: the run ends */
};

static void rig_consume(void *self, const struct event *first, const struct event *end)
{
	struct rig *r = self;
	size_t n = (size_t)(end - first);
	if (r->count + n > r->room) {
		r->room = (r->count + n) * 2;
		r->events = realloc(r->events, r->room * sizeof *r->events);
	}
	memcpy(r->events + r->count, first, n * sizeof *first);
	r->count += n;
}

static bool rig_deliver(void *self, struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2)
{
	struct rig *r = self;
	(void)soft, (void)external;
	if (r->faults < MAX_FAULTS)
		r->fault[r->faults++] = (struct fault){ vector, error, cpu->rip, cpu->icount, cr2, cpu_eflags(cpu) };
	if (vector == VEC_DB)
		return true; /* traps: the guest goes on */
	if (r->resume)
		cpu->rip = r->resume;
	else
		cpu->stop = CPU_STOP_REQUEST;
	return true;
}

static struct rig *rig_new(unsigned bits, size_t buffer)
{
	struct rig *r = aligned_alloc(64, (sizeof *r + 63) & ~63ull);
	memset(r, 0, sizeof *r);
	phys_create(&r->phys, MEMORY);
	event_sink_create(&r->sink, buffer ? buffer : 64);
	block_dictionary_create(&r->dictionary);
	struct cpu *cpu = &r->cpu;
	cpu->events = &r->sink;
	cpu->features = (struct cpu_features *)&cpu_features_all;
	cpu->vmm.self = r;
	cpu->vmm.deliver = rig_deliver;
	flat_port_attach(&r->port, cpu, &r->phys);
	cpu->blocks = block_cache_create(8 << 20, &r->dictionary);
	cpu->unknown = unknown_opcodes_create();
	cpu_reset(cpu);
	cpu->cr0 = CR0_PE | CR0_ET | CR0_NE | (bits == 64 ? CR0_PG : 0);
	cpu->cr4 = CR4_PAE | CR4_OSFXSR;
	cpu->efer = bits == 64 ? EFER_LME | EFER_LMA : 0;
	cpu->eflags = 2;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set_flat(cpu, i, i == SEG_CS ? 8 : 16, 0, i == SEG_CS, bits / 8);
	cpu_mode_update(cpu);
	for (unsigned i = 0; i < 16; i++)
		cpu->reg[i] = 0;
	cpu->reg[REG_SP] = STACK;
	cpu->rip = CODE;
	if (buffer) {
		r->consumer = (struct event_consumer){ rig_consume, r, NULL, NULL };
		event_sink_attach(&r->sink, &r->consumer);
	}
	return r;
}

static void rig_free(struct rig *r)
{
	block_cache_destroy(r->cpu.blocks);
	block_dictionary_destroy(&r->dictionary);
	unknown_opcodes_destroy(r->cpu.unknown);
	event_sink_destroy(&r->sink);
	phys_destroy(&r->phys);
	free(r->events);
	free(r);
}

static void rig_load(struct rig *r, uint64_t at, const uint8_t *begin, const uint8_t *end)
{
	memcpy(r->phys.bytes + at, begin, (size_t)(end - begin) + 1); /* and the HLT behind it */
}

/* Until HLT or a stop; at most 2000000 instructions. */
static void rig_run(struct rig *r, const char *engine, int64_t budget)
{
	while (r->cpu.stop == CPU_RUNNING && !r->cpu.attention && r->cpu.icount < 2000000) {
		r->cpu.budget = budget;
		engine_find(engine)->run(&r->cpu);
	}
	event_drain(&r->sink);
}

/* Goes on after a HLT. */
static void rig_restart(struct rig *r, uint64_t rip)
{
	r->cpu.stop = CPU_RUNNING;
	r->cpu.attention = 0;
	r->cpu.rip = rip;
}

/* What the events say was retired. */
static uint64_t rig_retired(const struct rig *r)
{
	uint64_t n = 0;
	for (size_t i = 0; i < r->count; i++)
		n += r->events[i].kind == EV_BLOCK ? r->events[i].aux : r->events[i].kind == EV_CUT ? -(uint64_t)r->events[i].id : 0;
	return n;
}

static size_t rig_events_of(const struct rig *r, unsigned kind)
{
	size_t n = 0;
	for (size_t i = 0; i < r->count; i++)
		n += r->events[i].kind == kind;
	return n;
}

/* ---- programs that run under the whole matrix ---- */
/* Sum of i*i for i < 1000 (332833500) by a loop with a call; jump table of four; shifts and conditional moves. */
CODE64(loop64, "xor %eax,%eax\n xor %ecx,%ecx\n"
	       "1: call 2f\n add %rdx,%rax\n inc %ecx\n cmp $1000,%ecx\n jne 1b\n"
	       "lea 5f(%rip),%rsi\n xor %ebp,%ebp\n xor %ecx,%ecx\n"
	       "3: mov %ecx,%edi\n and $3,%edi\n imul $4,%edi,%edi\n lea (%rsi,%rdi),%rdi\n jmp *%rdi\n"
	       ".balign 4\n5: inc %ebp\n jmp 4f\n.balign 4\n inc %ebp\n jmp 4f\n .balign 4\n dec %ebp\n jmp 4f\n.balign 4\n inc %ebp\n jmp 4f\n"
	       "4: inc %ecx\n cmp $400,%ecx\n jb 3b\n hlt\n"
	       "2: mov %ecx,%edx\n imul %rdx,%rdx\n ret\n")
CODE32(loop32, "xor %eax,%eax\n xor %ecx,%ecx\n"
	       "1: push %ecx\n call 2f\n pop %ebx\n add %edx,%eax\n inc %ecx\n cmp $1000,%ecx\n jne 1b\n hlt\n"
	       "2: mov 4(%esp),%edx\n imul %edx,%edx\n ret\n")
/* Strings: fill, copy, an overlapping copy that repeats its pattern, compare, scan, backwards. */
CODE64(strings64, "cld\n mov $0x20000,%edi\n mov $0xab,%al\n mov $9000,%ecx\n rep stosb\n"
		  "movb $1,0x20000\n movb $2,0x20001\n mov $0x20000,%esi\n mov $0x20002,%edi\n mov $6000,%ecx\n rep movsb\n"
		  "mov $0x20001,%esi\n mov $0x28003,%edi\n mov $1200,%ecx\n rep movsq\n"
		  "mov $0x20001,%esi\n mov $0x28003,%edi\n mov $9600,%ecx\n repe cmpsb\n setz %bl\n"
		  "mov $0x20000,%edi\n mov $20000,%ecx\n mov $0xab,%al\n repne scasb\n mov %rdi,%r8\n"
		  "std\n mov $0x21000,%esi\n mov $0x21004,%edi\n mov $300,%ecx\n rep movsl\n cld\n mov $0x20010,%esi\n lodsw\n mov %rax,%r9\n")
/* Read-modify-write of every kind, some across the page boundary at 0x21000. */
CODE64(rmw64, "mov $0x20ffd,%ebx\n mov $1000,%ecx\n mov $0x123456789abcdef,%r8\n"
	      "1: lock addq %r8,(%rbx)\n adcl $7,4(%rbx)\n xor %cl,(%rbx)\n lock xadd %rdx,(%rbx)\n btcl $5,3(%rbx)\n rolq $3,(%rbx)\n negw 2(%rbx)\n"
	      "lock cmpxchg %r9,(%rbx)\n xchg %ebp,1(%rbx)\n incb (%rbx)\n shlq %cl,8(%rbx)\n sbb %rax,8(%rbx)\n dec %ecx\n jnz 1b\n mov (%rbx),%r10\n")
/* Writes its own code: a later block's immediate each turn, then the very next instruction. The sum is 1 + ... + 50, then 7. */
CODE64(smc64, "lea 2f(%rip),%rbx\n xor %eax,%eax\n mov $50,%ecx\n 1: mov %ecx,1(%rbx)\n jmp 2f\n 2: mov $0,%edx\n add %edx,%eax\n dec %ecx\n jnz 1b\n"
	      "lea 3f(%rip),%rbx\n movb $7,1(%rbx)\n 3: mov $1,%edx\n add %edx,%eax\n")
/* Changes constants of a function between calls of it: a byte and all of an imm64, half of an imm32; then writes the second opcode, as it was. */
CODE64(patch64, "lea 9f(%rip),%rbx\n xor %eax,%eax\n mov $40,%ecx\n 1: mov %cl,3(%rbx)\n call 9f\n mov %rcx,2(%rbx)\n call 9f\n mov %cx,11(%rbx)\n call 9f\n"
		"movb $0xbe,10(%rbx)\n dec %ecx\n jnz 1b\n hlt\n .balign 64\n 9: movabs $0x1122334455667788,%rdx\n mov $0,%esi\n add %rdx,%rax\n add %rsi,%rax\n ret\n")
/* Flags through every producer into one register. */
CODE64(flags64, "mov $300,%ecx\n mov $0x9e3779b97f4a7c15,%r8\n xor %r15,%r15\n 1: mov %r8,%rax\n mul %r8\n xor %rdx,%rax\n mov %rax,%r8\n mov %eax,%edx\n shr $13,%edx\n"
		"add %dl,%al\n setc %bl\n sub %dh,%ah\n lahf\n adc %rax,%r15\n sbb %edx,%r8d\n pushf\n pop %r9\n and $0xcd5,%r9\n add %r9,%r15\n inc %dl\n cmovo %r8,%r15\n"
		"cmp %eax,%edx\n jl 2f\n rol $3,%r15\n 2: test %eax,%eax\n jns 3f\n not %r15\n 3: cmp $5,%al\n jbe 4f\n inc %r15\n 4: dec %rcx\n jnz 1b\n")

struct program {
	const char *name;
	unsigned bits;
	const uint8_t *begin, *end;
	unsigned reg; /* a register whose final value is known by hand */
	uint64_t value;
};

static const struct program programs[] = {
	{ "loop64", 64, loop64_begin, loop64_end, REG_AX, 332833500 },
	{ "loop64 table", 64, loop64_begin, loop64_end, REG_BP, 200 }, /* 3 up, 1 down, 100 times */
	{ "loop32", 32, loop32_begin, loop32_end, REG_AX, 332833500 },
	{ "strings64", 64, strings64_begin, strings64_end, REG_R8, 0x20000 + 6002 + 1 }, /* the scan ends behind the first 0xab after the copied pattern */
	{ "rmw64", 64, rmw64_begin, rmw64_end, REG_CX, 0 },
	{ "smc64", 64, smc64_begin, smc64_end, REG_AX, 50 * 51 / 2 + 7 },
	{ "patch64", 64, patch64_begin, patch64_end, REG_AX, 0x11223344556947bd },
	{ "flags64", 64, flags64_begin, flags64_end, REG_CX, 0 },
};

static bool rigs_agree(const struct rig *a, const struct rig *b)
{
	return !memcmp(a->cpu.reg, b->cpu.reg, 16 * sizeof(uint64_t)) && a->cpu.rip == b->cpu.rip && a->cpu.icount == b->cpu.icount && cpu_eflags(&a->cpu) == cpu_eflags(&b->cpu) &&
	       !memcmp(a->phys.bytes, b->phys.bytes, MEMORY);
}

static bool events_agree(const struct rig *a, const struct rig *b)
{
	return a->count == b->count && !memcmp(a->events, b->events, a->count * sizeof *a->events);
}

static struct rig *run_program(const struct program *p, const char *engine, size_t buffer, int64_t budget)
{
	struct rig *r = rig_new(p->bits, buffer);
	rig_load(r, CODE, p->begin, p->end);
	rig_run(r, engine, budget);
	return r;
}

static void test_matrix(void)
{
	static const size_t buffers[] = { 0, 2, 65536 };
	static const int64_t budgets[] = { 1, 7, 100000 };
	for (unsigned i = 0; i < sizeof programs / sizeof *programs; i++) {
		const struct program *p = &programs[i];
		struct rig *want = run_program(p, "switch", 65536, 100000);
		CU_ASSERT_EQUAL(want->cpu.stop, CPU_HALTED);
		CU_ASSERT_EQUAL(want->cpu.reg[p->reg], p->value);
		CU_ASSERT_EQUAL(rig_retired(want), want->cpu.icount);
		for (const struct engine *e = engines; e->name; e++)
			for (unsigned b = 0; b < 3; b++)
				for (unsigned k = 0; k < 3; k++) {
					struct rig *r = run_program(p, e->name, buffers[b], budgets[k]);
					bool same = rigs_agree(want, r) && (!buffers[b] || events_agree(want, r));
					if (!same)
						printf("\n    %s differs on %s, buffer %zu, budget %lld\n", p->name, e->name, buffers[b], (long long)budgets[k]);
					CU_ASSERT_TRUE(same);
					rig_free(r);
				}
		rig_free(want);
	}
}

/* ---- faults ---- */
/* The fourth instruction faults: 3 retired, CF and ZF as the addition left them, the stack pointer untouched by a push from a page that is absent. */
CODE64(fault64, "mov $0xffffffff,%eax\n add $1,%eax\n mov $0x50008,%ebx\n pushq (%rbx)\n nop\n")
/* A read-modify-write whose second page is absent changes nothing: bytes, flags. */
CODE64(cross64, "mov $0x4fffc,%ebx\n movl $0x11223344,(%rbx)\n stc\n lock subq $1,(%rbx)\n")
/* 257 iterations of a string store before the absent page. */
CODE64(rep64, "mov $0x4feff,%edi\n mov $5000,%ecx\n mov $0x77,%al\n rep stosb\n")

static struct rig *run_faulting(unsigned bits, const uint8_t *begin, const uint8_t *end, const char *engine, size_t buffer)
{
	struct rig *r = rig_new(bits, buffer);
	rig_load(r, CODE, begin, end);
	flat_set_absent(&r->port, &r->cpu, ABSENT);
	rig_run(r, engine, 1000);
	return r;
}

static void test_precise_faults(void)
{
	for (const struct engine *e = engines; e->name; e++)
		for (unsigned buffer = 0; buffer <= 2; buffer += 2) {
			struct rig *r = run_faulting(64, fault64_begin, fault64_end, e->name, buffer);
			CU_ASSERT_EQUAL(r->faults, 1);
			CU_ASSERT_EQUAL(r->fault[0].vector, VEC_PF);
			CU_ASSERT_EQUAL(r->fault[0].rip, CODE + 13);
			CU_ASSERT_EQUAL(r->fault[0].icount, 3);
			CU_ASSERT_EQUAL(r->fault[0].cr2, 0x50008);
			CU_ASSERT_EQUAL(r->fault[0].flags & FLAGS_ARITH, FLAG_CF | FLAG_ZF | FLAG_PF | FLAG_AF);
			CU_ASSERT_EQUAL(r->cpu.reg[REG_SP], STACK);
			CU_ASSERT_TRUE(!buffer || rig_retired(r) == 3);
			rig_free(r);
			r = run_faulting(64, cross64_begin, cross64_end, e->name, buffer);
			CU_ASSERT_EQUAL(r->fault[0].cr2, ABSENT);
			CU_ASSERT_EQUAL(r->fault[0].error, 2);
			CU_ASSERT_EQUAL(r->fault[0].icount, 3);
			CU_ASSERT_TRUE(r->fault[0].flags & FLAG_CF);
			CU_ASSERT_EQUAL(phys_read32(&r->phys, 0x4fffc), 0x11223344);
			rig_free(r);
			r = run_faulting(64, rep64_begin, rep64_end, e->name, buffer);
			CU_ASSERT_EQUAL(r->fault[0].cr2, ABSENT);
			CU_ASSERT_EQUAL(r->fault[0].icount, 3);
			CU_ASSERT_EQUAL(r->cpu.reg[REG_DI], ABSENT);
			CU_ASSERT_EQUAL(r->cpu.reg[REG_CX], 5000 - 257);
			CU_ASSERT_EQUAL(r->phys.bytes[0x4ffff], 0x77);
			rig_free(r);
		}
}

CODE64(divide64, "mov $1,%edx\n xor %eax,%eax\n mov $1,%ecx\n div %ecx\n")
CODE64(wild64, "mov $0x800000000000,%rbx\n mov (%rbx),%eax\n")
CODE64(wildstack64, "mov $0x800000000000,%rbp\n mov (%rbp),%eax\n")
CODE64(wildjump64, "mov $0x800000000000,%rbx\n push %rbx\n ret\n")
CODE64(unknown64, "popcnt %eax,%ebx\n")
CODE64(badlock64, ".byte 0xf0,0x01,0xc0\n") /* LOCK ADD EAX,EAX */
CODE64(long64, ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90\n")

static void test_exceptions(void)
{
	static const struct { const uint8_t *begin, *end; unsigned vector; int64_t error; uint64_t offset; } cases[] = {
		{ divide64_begin, divide64_end, VEC_DE, -1, 12 }, { wild64_begin, wild64_end, VEC_GP, 0, 10 }, { wildstack64_begin, wildstack64_end, VEC_SS, 0, 10 },
		{ wildjump64_begin, wildjump64_end, VEC_GP, 0, 11 }, { unknown64_begin, unknown64_end, VEC_UD, -1, 0 }, { badlock64_begin, badlock64_end, VEC_UD, -1, 0 },
		{ long64_begin, long64_end, VEC_GP, 0, 0 },
	};
	for (const struct engine *e = engines; e->name; e++)
		for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
			struct rig *r = run_faulting(64, cases[i].begin, cases[i].end, e->name, 0);
			CU_ASSERT_EQUAL(r->faults, 1);
			CU_ASSERT_EQUAL(r->fault[0].vector, cases[i].vector);
			CU_ASSERT_EQUAL(r->fault[0].error, cases[i].error);
			CU_ASSERT_EQUAL(r->fault[0].rip, CODE + cases[i].offset);
			const char *name;
			uint64_t count;
			bool named = unknown_opcodes_get(r->cpu.unknown, 0, &name, &count);
			CU_ASSERT_EQUAL(named, cases[i].begin == unknown64_begin || cases[i].begin == badlock64_begin);
			CU_ASSERT_TRUE(!named || count == 1);
			CU_ASSERT_TRUE(cases[i].begin != unknown64_begin || !strcmp(name, "popcnt"));
			rig_free(r);
		}
}

/* ---- blocks and translations ---- */
/* A loop that lies across a page boundary with an instruction across it: `mov $imm32,%eax` from 0x10ffe. */
static void test_straddling(void)
{
	static const uint8_t code[] = { 0xb8, 0x78, 0x56, 0x34, 0x12, 0xff, 0xc1, 0x81, 0xf9, 0xe8, 0x03, 0, 0, 0x75, 0xf1, 0xf4 };
	for (const struct engine *e = engines; e->name; e++) {
		struct rig *r = rig_new(64, 64);
		memcpy(r->phys.bytes + 0x10ffe, code, sizeof code);
		r->cpu.rip = 0x10ffe;
		rig_run(r, e->name, 100);
		CU_ASSERT_EQUAL(r->cpu.reg[REG_AX], 0x12345678);
		CU_ASSERT_EQUAL(r->cpu.icount, 4001);
		CU_ASSERT_EQUAL(r->events[0].kind, EV_BLOCK);
		CU_ASSERT_EQUAL(r->events[0].aux, 1);
		CU_ASSERT_TRUE(r->events[0].flags & EVF_STRADDLE);
		/* The second page's part of the instruction changes: the next run must see it. */
		rig_restart(r, 0x10ffe);
		r->cpu.reg[REG_CX] = 0;
		struct mem_fault fault;
		CU_ASSERT_TRUE(mem_try_write(&r->cpu, 0x11001, &(uint8_t){ 0x56 }, 1, false, &fault));
		rig_run(r, e->name, 100);
		CU_ASSERT_EQUAL(r->cpu.reg[REG_AX], 0x12565678);
		/* The second page goes away. */
		rig_restart(r, 0x10ffe);
		flat_set_absent(&r->port, &r->cpu, 0x11000);
		rig_run(r, e->name, 100);
		CU_ASSERT_EQUAL(r->faults, 1);
		CU_ASSERT_EQUAL(r->fault[0].cr2, 0x11000);
		CU_ASSERT_EQUAL(r->fault[0].rip, 0x10ffe);
		rig_free(r);
	}
}

/* Two blocks in two pages that jump to each other for ever; when the second page goes away between two runs, the chain must not be followed. */
static void test_chain_dies_with_translation(void)
{
	for (const struct engine *e = engines; e->name; e++) {
		struct rig *r = rig_new(64, 0);
		memcpy(r->phys.bytes + 0x10000, "\xff\xc0\xe9\xf9\x0f\x00\x00", 7);  /* inc eax; jmp 0x11000 */
		memcpy(r->phys.bytes + 0x11000, "\xff\xc1\xe9\xf9\xef\xff\xff", 7); /* inc ecx; jmp 0x10000 */
		r->cpu.budget = 4000;
		engine_find(e->name)->run(&r->cpu);
		CU_ASSERT_EQUAL(r->cpu.icount, 4000);
		flat_set_absent(&r->port, &r->cpu, 0x11000);
		r->cpu.budget = 4000;
		engine_find(e->name)->run(&r->cpu);
		CU_ASSERT_EQUAL(r->faults, 1);
		CU_ASSERT_EQUAL(r->fault[0].rip, 0x11000);
		CU_ASSERT_EQUAL(r->fault[0].cr2, 0x11000);
		CU_ASSERT_EQUAL(r->cpu.reg[REG_AX], r->cpu.reg[REG_CX] + 1);
		rig_free(r);
	}
}

/* An engine comes back at the first block boundary at or after the budget, never more than a block late, and counts exactly. */
static void test_budget(void)
{
	for (const struct engine *e = engines; e->name; e++)
		for (int64_t budget = 1; budget < 300; budget += 13) {
			struct rig *r = rig_new(64, 0);
			rig_load(r, CODE, loop64_begin, loop64_end);
			uint64_t before = 0;
			for (unsigned i = 0; i < 20; i++) {
				r->cpu.budget = budget;
				engine_find(e->name)->run(&r->cpu);
				CU_ASSERT_EQUAL(r->cpu.icount - before, (uint64_t)(budget - r->cpu.budget));
				CU_ASSERT_TRUE(r->cpu.budget <= 0 && r->cpu.budget > -BLOCK_MAX_INSNS);
				before = r->cpu.icount;
			}
			rig_free(r);
		}
}

/* A repeated string instruction uses up the budget too, a quarter of its iterations: none can keep the engine, and with it interrupts, waiting. */
static void test_budget_strings(void)
{
	static const uint8_t rep_lodsb[] = { 0xf3, 0xac, 0xf4 };
	for (const struct engine *e = engines; e->name; e++) {
		struct rig *r = rig_new(64, 0);
		memcpy(r->phys.bytes + CODE, rep_lodsb, sizeof rep_lodsb);
		r->cpu.reg[REG_CX] = 0x30000;
		for (unsigned i = 1; i <= 3; i++) {
			r->cpu.budget = 4000;
			engine_find(e->name)->run(&r->cpu);
			CU_ASSERT_EQUAL(r->cpu.reg[REG_CX], 0x30000 - i * 4 * 4096); /* 1023 each, so four use up 4000 */
			CU_ASSERT_EQUAL(r->cpu.icount, 0);
			CU_ASSERT_EQUAL(r->cpu.budget, 4000 - 4 * 1024);
		}
		rig_free(r);
	}
}

/* ---- attention, shadows, single step ---- */
static void stop_on_out(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value)
{
	(void)self, (void)port, (void)size, (void)value;
	cpu->attention = 1;
}

CODE64(attention64, "mov $3,%ecx\n 1: out %al,$0x80\n inc %ebx\n inc %ebx\n dec %ecx\n jnz 1b\n")
static void test_attention(void)
{
	for (const struct engine *e = engines; e->name; e++) {
		struct rig *r = rig_new(64, 0);
		r->cpu.io.out = stop_on_out;
		rig_load(r, CODE, attention64_begin, attention64_end);
		rig_run(r, e->name, 1000);
		CU_ASSERT_EQUAL(r->cpu.icount, 2);
		CU_ASSERT_EQUAL(r->cpu.rip, CODE + 7);
		r->cpu.attention = 0;
		rig_run(r, e->name, 1000);
		CU_ASSERT_EQUAL(r->cpu.icount, 7);
		CU_ASSERT_EQUAL(r->cpu.reg[REG_BX], 2);
		rig_free(r);
	}
}

CODE64(sti64, "nop\n sti\n inc %eax\n inc %eax\n inc %eax\n")
static void test_sti_shadow(void)
{
	for (const struct engine *e = engines; e->name; e++) {
		struct rig *r = rig_new(64, 0);
		rig_load(r, CODE, sti64_begin, sti64_end);
		r->cpu.budget = 1;
		engine_find(e->name)->run(&r->cpu);
		CU_ASSERT_EQUAL(r->cpu.icount, 2);
		CU_ASSERT_TRUE(r->cpu.eflags & FLAG_IF);
		CU_ASSERT_FALSE(cpu_interruptible(&r->cpu));
		r->cpu.budget = 1;
		engine_find(e->name)->run(&r->cpu); /* exactly one instruction, and the shadow is over */
		CU_ASSERT_EQUAL(r->cpu.icount, 3);
		CU_ASSERT_EQUAL(r->cpu.reg[REG_AX], 1);
		CU_ASSERT_TRUE(cpu_interruptible(&r->cpu));
		rig_free(r);
	}
}

/* A trap after each instruction, after each iteration of a repeated one, none after the HLT's stop; DR6.BS is set. */
CODE64(step64, "mov $0x20000,%edi\n mov $3,%ecx\n rep stosb\n jmp 1f\n nop\n 1: inc %eax\n")
static void test_single_step(void)
{
	static const uint64_t rip[] = { 5, 10, 10, 10, 12, 15, 17 };
	for (const struct engine *e = engines; e->name; e++) {
		struct rig *r = rig_new(64, 0);
		rig_load(r, CODE, step64_begin, step64_end);
		r->cpu.eflags |= FLAG_TF;
		rig_run(r, e->name, 1000);
		CU_ASSERT_EQUAL_FATAL(r->faults, 7);
		for (unsigned i = 0; i < 7; i++) {
			CU_ASSERT_EQUAL(r->fault[i].vector, VEC_DB);
			CU_ASSERT_EQUAL(r->fault[i].rip, CODE + rip[i]);
		}
		CU_ASSERT_TRUE(r->cpu.dr[6] & 0x4000);
		CU_ASSERT_EQUAL(r->cpu.icount, 6);
		rig_free(r);
	}
}

/* ---- self-modifying code, in detail ---- */
/* The store kills the block that it is in: it retires, the changed instruction behind it runs, and the events say that the first block was cut. */
CODE64(ownblock64, "lea 1f(%rip),%rbx\n nop\n movb $0x42,1(%rbx)\n 1: mov $1,%al\n inc %ecx\n")
static void test_own_block(void)
{
	for (const struct engine *e = engines; e->name; e++)
		for (unsigned buffer = 0; buffer <= 64; buffer += 64) {
			struct rig *r = rig_new(64, buffer);
			rig_load(r, CODE, ownblock64_begin, ownblock64_end);
			rig_run(r, e->name, 1000);
			CU_ASSERT_EQUAL(r->cpu.reg[REG_AX], 0x42);
			CU_ASSERT_EQUAL(r->cpu.icount, 6);
			if (buffer) {
				CU_ASSERT_EQUAL(rig_retired(r), 6);
				CU_ASSERT_EQUAL(rig_events_of(r, EV_CUT), 1);
			}
			rig_free(r);
		}
}

/* Data beside code: 1000 stores to the loop's own page, then one that changes the loop's increment from 1 to 2, then 1000 more. */
CODE64(beside64, "mov $2,%ebp\n lea 4f(%rip),%rbx\n 3: mov $1000,%ecx\n 1: incl (%rbx)\n mov %cl,8(%rbx)\n 2: add $1,%eax\n dec %ecx\n jnz 1b\n movb $2,2b+2(%rip)\n"
		 "dec %ebp\n jnz 3b\n hlt\n .balign 64\n 4: .quad 0,0\n")
static void test_data_beside_code(void)
{
	for (const struct engine *e = engines; e->name; e++) {
		struct rig *r = rig_new(64, 64);
		rig_load(r, CODE, beside64_begin, beside64_end);
		rig_run(r, e->name, 1000);
		CU_ASSERT_EQUAL(r->cpu.reg[REG_AX], 3000);
		CU_ASSERT_EQUAL(rig_retired(r), r->cpu.icount);
		CU_ASSERT_EQUAL(phys_read32(&r->phys, r->cpu.reg[REG_BX]), 2000);
		CU_ASSERT_TRUE(rig_events_of(r, EV_CUT) < 40); /* the loop is not built again at every store */
		rig_free(r);
	}
}

/* Blocks built from memory that a loader fills in behind the engine's back go when asked. */
static void test_invalidate_all(void)
{
	struct rig *r = rig_new(64, 0);
	memcpy(r->phys.bytes + CODE, "\xb0\x01\xf4", 3);
	rig_run(r, "threaded", 10);
	CU_ASSERT_EQUAL(r->cpu.reg[REG_AX], 1);
	r->phys.bytes[CODE + 1] = 2;
	block_cache_invalidate_all(&r->cpu);
	rig_restart(r, CODE);
	rig_run(r, "threaded", 10);
	CU_ASSERT_EQUAL(r->cpu.reg[REG_AX], 2);
	rig_free(r);
}

/* A cache of almost no room flushes at every turn, and nothing changes. */
static void test_tiny_cache(void)
{
	for (const struct engine *e = engines; e->name; e++)
		for (unsigned i = 0; i < sizeof programs / sizeof *programs; i++) {
			struct rig *r = rig_new(programs[i].bits, 0);
			r->cpu.blocks->max_bytes = 1;
			rig_load(r, CODE, programs[i].begin, programs[i].end);
			rig_run(r, e->name, 1000);
			CU_ASSERT_EQUAL(r->cpu.reg[programs[i].reg], programs[i].value);
			rig_free(r);
		}
}

/* ---- segments ---- */
CODE32(segment32, "mov $0x10,%ebx\n movl $0x12345678,(%ebx)\n addl $1,(%ebx)\n mov (%ebx),%eax\n push %eax\n pop %ecx\n movb %fs:(%ebx),%dl\n lea 4(%ebx),%edi\n"
		  "mov $0x10,%esi\n movsl\n mov -4(%edi),%ebp\n movl $0,0x1000(%ebx)\n")
static void test_segments(void)
{
	for (const struct engine *e = engines; e->name; e++) {
		struct rig *r = rig_new(32, 0);
		rig_load(r, CODE, segment32_begin, segment32_end);
		struct cpu *cpu = &r->cpu;
		cpu->seg[SEG_DS].base = cpu->seg[SEG_ES].base = DATA;
		cpu->seg[SEG_DS].limit = 0xfff;
		cpu->seg[SEG_FS].base = DATA + 1;
		cpu->seg[SEG_SS].base = 0x100;
		cpu_mode_update(cpu);
		rig_run(r, e->name, 1000);
		CU_ASSERT_EQUAL(phys_read32(&r->phys, DATA + 0x10), 0x12345679);
		CU_ASSERT_EQUAL(cpu->reg[REG_CX], 0x12345679);
		CU_ASSERT_EQUAL(cpu->reg[REG_DX], 0x56);
		CU_ASSERT_EQUAL(cpu->reg[REG_BP], 0x12345679);
		CU_ASSERT_EQUAL(phys_read32(&r->phys, STACK + 0x100 - 4), 0x12345679);
		CU_ASSERT_EQUAL(r->faults, 1); /* the last store is beyond the limit */
		CU_ASSERT_EQUAL(r->fault[0].vector, VEC_GP);
		CU_ASSERT_EQUAL(r->fault[0].error, 0);
		rig_free(r);
	}
}

/* 16-bit protected code with a based CS and stack: calls, 16-bit addressing, a 32-bit operand, LOOP on CX, wrap of the stack pointer's low half only. */
CODE16(code16, "xorw %ax,%ax\n movw $5,%cx\n 1: call 2f\n loop 1b\n movw $0x200,%bx\n movw $4,%si\n movl $0x89abcdef,2(%bx,%si)\n movl 0x206,%edx\n jmp 3f\n"
	       "2: addw %cx,%ax\n ret\n 3: pushw %ax\n popw %bp\n")
static void test_code16(void)
{
	for (const struct engine *e = engines; e->name; e++) {
		struct rig *r = rig_new(32, 0);
		rig_load(r, CODE, code16_begin, code16_end);
		struct cpu *cpu = &r->cpu;
		cpu->seg[SEG_CS].base = CODE;
		cpu->seg[SEG_CS].limit = 0xffff;
		cpu->seg[SEG_CS].attributes &= ~(uint32_t)(SEGA_DB | SEGA_G);
		cpu->seg[SEG_DS].base = DATA;
		cpu->seg[SEG_SS].base = 0x30000;
		cpu->seg[SEG_SS].attributes &= ~(uint32_t)SEGA_DB;
		cpu->seg[SEG_SS].limit = 0xffff;
		cpu->rip = 0;
		cpu->reg[REG_SP] = 0xabcd0000;
		cpu_mode_update(cpu);
		rig_run(r, e->name, 1000);
		CU_ASSERT_EQUAL(r->faults, 0);
		CU_ASSERT_EQUAL(cpu->reg[REG_AX] & 0xffff, 15);
		CU_ASSERT_EQUAL(cpu->reg[REG_BP] & 0xffff, 15);
		CU_ASSERT_EQUAL(cpu->reg[REG_DX], 0x89abcdef);
		CU_ASSERT_EQUAL(cpu->reg[REG_SP], 0xabcd0000);
		CU_ASSERT_EQUAL(phys_read32(&r->phys, DATA + 0x206), 0x89abcdef);
		rig_free(r);
	}
}

/* ---- events ---- */
CODE64(events64, "mov $0x20ffe,%ebx\n mov (%rbx),%eax\n add %eax,8(%rbx)\n mov %al,(%rbx)\n .byte 0x0f,0x1f,0x80,0x0b,0x00,0x53,0x52\n mov $3,%ecx\n mov $0x20000,%edi\n rep stosl\n")
static void test_event_stream(void)
{
	struct rig *r = rig_new(64, 64);
	rig_load(r, CODE, events64_begin, events64_end);
	rig_run(r, "threaded", 1000);
	static const struct event want[] = {
		{ EV_BLOCK, 0, 8, 0, CODE }, { EV_LOAD, 0, 2, 0, 0x20ffe }, { EV_LOAD, 0, 2, 0, 0x21000 }, { EV_RMW, 0, 4, 0, 0x21006 }, { EV_STORE, 0, 1, 0, 0x20ffe },
		{ EV_MARK, 0, 0, 0x0b, 0 }, { EV_STORE, 0, 4, 0, 0x20000 }, { EV_REP, 0, 0, 1, 0 }, { EV_STORE, 0, 4, 0, 0x20004 }, { EV_REP, 0, 0, 1, 0 },
		{ EV_STORE, 0, 4, 0, 0x20008 }, { EV_REP, 0, 0, 1, 0 }, { EV_BLOCK, 0, 1, 1, CODE + 31 },
	};
	CU_ASSERT_TRUE_FATAL(r->count >= sizeof want / sizeof *want);
	for (unsigned i = 0; i < sizeof want / sizeof *want; i++)
		CU_ASSERT_TRUE(!memcmp(&r->events[i], &want[i], sizeof want[i]));
	rig_free(r);
}

/* ---- memory for helpers ---- */
static void test_helpers_memory(void)
{
	struct rig *r = rig_new(64, 0);
	struct mem_fault fault;
	uint64_t v = 0x1122334455667788;
	CU_ASSERT_TRUE(mem_try_write(&r->cpu, 0x20ffd, &v, 8, false, &fault));
	v = 0;
	CU_ASSERT_TRUE(mem_try_read(&r->cpu, 0x20ffd, &v, 8, false, &fault));
	CU_ASSERT_EQUAL(v, 0x1122334455667788);
	flat_set_absent(&r->port, &r->cpu, 0x21000);
	v = ~0ull;
	CU_ASSERT_FALSE(mem_try_write(&r->cpu, 0x20ffd, &v, 8, false, &fault));
	CU_ASSERT_EQUAL(fault.cr2, 0x21000);
	CU_ASSERT_EQUAL(phys_read32(&r->phys, 0x20ffc) >> 8, 0x667788); /* nothing was written to the first page */
	rig_free(r);
}

/* ---- anything at all ---- */
static uint64_t random_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17; /* Marsaglia, "Xorshift RNGs" */
	return *s;
}

/* Each fault sends the guest to another place of the page, until it has had enough. */
static bool random_deliver(void *self, struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2)
{
	struct rig *r = self;
	rig_deliver(self, cpu, vector, error, soft, external, cr2);
	cpu->rip = CODE + (r->faults * 0x1b5 & 0xfff);
	cpu->stop = r->faults >= MAX_FAULTS ? CPU_STOP_REQUEST : CPU_RUNNING;
	return true;
}

static uint32_t random_in(void *self, struct cpu *cpu, uint16_t port, unsigned size)
{
	(void)self, (void)cpu;
	return port * size;
}

static void random_out(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value)
{
	(void)self, (void)cpu, (void)port, (void)size, (void)value;
}

static uint64_t random_now(void *self)
{
	return ((struct rig *)self)->cpu.icount;
}

static struct rig *random_run(uint64_t seed, unsigned bits, const char *engine, size_t buffer, int64_t budget)
{
	struct rig *r = rig_new(bits == 64 ? 64 : 32, buffer);
	r->cpu.vmm.deliver = random_deliver;
	r->cpu.io = (struct io_port){ r, random_in, random_out };
	r->cpu.clock = (struct clock_port){ r, random_now };
	for (unsigned i = 0; i < 4096; i++)
		r->phys.bytes[CODE + i] = (uint8_t)(random_next(&seed) >> 24);
	for (unsigned i = 0; i < 16; i++)
		r->cpu.reg[i] = i & 1 ? random_next(&seed) & 0x3ffff : random_next(&seed) & 0xffffffff;
	r->cpu.reg[REG_SP] = STACK;
	if (bits == 16) {
		r->cpu.seg[SEG_CS].attributes &= ~(uint32_t)SEGA_DB;
		r->cpu.seg[SEG_DS].base = 0x1230;
		cpu_mode_update(&r->cpu);
	}
	for (unsigned i = 0; i < 3000 && r->cpu.stop == CPU_RUNNING && r->cpu.icount < 3000; i++) {
		r->cpu.attention = 0;
		r->cpu.budget = budget;
		engine_find(engine)->run(&r->cpu);
	}
	event_drain(&r->sink);
	return r;
}

/* Random bytes as code, in every mode: the engines agree on the state and on every fault and its place, and nothing crashes (the sanitizer build runs this too). */
static void test_random_bytes(void)
{
	static const unsigned modes[] = { 16, 32, 64 };
	for (unsigned i = 0; i < 600; i++) {
		unsigned bits = modes[i % 3];
		uint64_t seed = i * 0x9e3779b97f4a7c15ull + 1;
		struct rig *want = random_run(seed, bits, "switch", 0, 1000);
		for (const struct engine *e = engines; e->name; e++)
			for (unsigned buffer = 0; buffer <= 64; buffer += 64) {
				struct rig *got = random_run(seed, bits, e->name, buffer, 1000);
				bool same = rigs_agree(want, got) && want->faults == got->faults && !memcmp(want->fault, got->fault, sizeof want->fault) &&
					(!buffer || rig_retired(got) == got->cpu.icount);
				if (!same)
					printf("\n    seed %u, %u bits: switch and %s differ\n", i, bits, e->name);
				CU_ASSERT_TRUE(same);
				rig_free(got);
			}
		rig_free(want);
	}
}

int main(void)
{
	static const struct { const char *name; void (*run)(void); } tests[] = {
		{ "engines x observation x budget", test_matrix }, { "precise faults", test_precise_faults }, { "exceptions", test_exceptions },
		{ "straddling", test_straddling }, { "chain dies with translation", test_chain_dies_with_translation }, { "budget", test_budget }, { "budget and strings", test_budget_strings }, { "attention", test_attention },
		{ "sti shadow", test_sti_shadow }, { "single step", test_single_step }, { "own block", test_own_block }, { "data beside code", test_data_beside_code }, { "invalidate all", test_invalidate_all },
		{ "tiny cache", test_tiny_cache }, { "segments", test_segments }, { "16-bit code", test_code16 }, { "event stream", test_event_stream },
		{ "memory for helpers", test_helpers_memory }, { "random bytes", test_random_bytes },
	};
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("isa core", NULL, NULL);
	for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
		CU_add_test(s, tests[i].name, tests[i].run);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
