/*
 * Proves that the engines have the same state at every block, all the way: every workload under every technique, both widths, functional and with a core model (interrupts by its time),
 * block by block and in chains. And that lock-step would tell: engines of this test that do one thing wrong, once, are found at that block and by the name of what is wrong.
 * Independent reference: the switch engine.
 *
 * test_lockstep INSTRUCTIONS: that many of each workload, not just its first 700,000.
 */
#include "guest_config.h"
#include "../isa/engine.h"
#include "../cli/lockstep_print.h"
#include <CUnit/Basic.h>
#include <stdlib.h>

static uint64_t instructions_most = 700000;

static const struct { const char *name, *cmdline; unsigned memory_mib; } workloads[] = {
#define WORKLOAD(name, cmdline, mib, what, time) { #name, cmdline, mib },
#include "../workloads/workloads.def"
#undef WORKLOAD
};
#define WORKLOADS (sizeof workloads / sizeof *workloads)

/* The reference, then all others. */
static void engines_list(const struct engine *list[8])
{
	unsigned n = 1;
	list[0] = engine_find("switch");
	for (const struct engine *e = engines; e->name; e++)
		if (e != list[0])
			list[n++] = e;
	list[n] = NULL;
}

static void agreement_check(const struct machine_config *c, uint64_t turn)
{
	const struct engine *list[8];
	struct lockstep_report r;
	char error[640] = "";
	engines_list(list);
	bool ran = lockstep_run(c, list, turn, &r, error, sizeof error);
	CU_ASSERT_TRUE(ran);
	bool good = ran && !r.differ && r.instructions > 20000 && r.blocks > r.instructions / 64 && r.turns > r.instructions / (64 * 1024 + turn);
	CU_ASSERT_TRUE(good);
	if (!good)
		printf("\n    %s, %s, %s, core %s: %s (%s after %llu; first: %s)\n", c->cmdline, c->technique, c->kernel, c->core, ran ? "engines differ" : error, ran && r.differ ? r.tested->name : "",
		       ran ? (unsigned long long)r.boundary : 0, ran && r.lines ? r.line[0].name : "-");
}

static void test_techniques(void)
{
	for (const struct technique *t = techniques; t < techniques + TECHNIQUES; t++)
		for (unsigned width = 32; width <= 64; width += 32) {
			struct machine_config c;
			guest_config(&c, t, width, "init=forkwait n=12", 32);
			agreement_check(&c, 50000);
			snprintf(c.core, sizeof c.core, "fixed");
			agreement_check(&c, 1500); /* the core model's time decides when the timer interrupts */
		}
}

static void test_workloads(void)
{
	for (unsigned w = 0; w < WORKLOADS; w++)
		for (unsigned t = 0; t < TECHNIQUES; t++) {
			struct machine_config c;
			guest_config(&c, &techniques[t], (w + t) & 1 ? 64 : 32, workloads[w].cmdline, workloads[w].memory_mib);
			c.max_instructions = instructions_most;
			agreement_check(&c, LOCKSTEP_TURN);
		}
}

/* ---- engines that are wrong ---- */
#define WRONG_AT 300000 /* instructions */

/* The threaded engine; something happens to the cpu at the first block boundary from WRONG_AT on. many: only when more than that block was asked for. */
static void wrong_run(struct cpu *cpu, void (*wrong)(struct cpu *cpu), bool many)
{
	const struct engine *right = engine_find("threaded");
	const int64_t budget = cpu->budget, before = WRONG_AT - (int64_t)cpu->icount;
	if (before <= 0 || before > budget + BLOCK_MAX_INSNS || (many && budget < 2)) {
		right->run(cpu);
		return;
	}
	for (bool done = false; cpu->budget > 0 && !cpu->attention && cpu->stop == CPU_RUNNING;) {
		const int64_t left = cpu->budget;
		cpu->budget = 1;
		right->run(cpu);
		cpu->budget += left - 1;
		if (!done && cpu->icount >= WRONG_AT)
			wrong(cpu);
		done = cpu->icount >= WRONG_AT;
	}
}

static void wrong_register(struct cpu *cpu) { cpu->reg[REG_BP] ^= 0x10; }
static void wrong_upper(struct cpu *cpu) { cpu->reg[REG_R13] ^= 1ull << 63; }
static void wrong_flag(struct cpu *cpu) { flags_set(cpu, flags_get(cpu) ^ FLAG_PF); }
static void wrong_interrupt_flag(struct cpu *cpu) { cpu->eflags ^= FLAG_IF; }
static void wrong_xmm(struct cpu *cpu) { cpu->xmm[9].b[7] ^= 1; }
static void wrong_msr(struct cpu *cpu) { cpu->lstar ^= 8; }
static void wrong_limit(struct cpu *cpu) { cpu->seg[SEG_DS].limit ^= 0x1000; }
static void wrong_cr2(struct cpu *cpu) { cpu->cr2 ^= 4; }
static void wrong_memory(struct cpu *cpu) { cpu->phys->bytes[0x7ff123] ^= 2; }
#define WRONG(what) static void wrong_##what##_run(struct cpu *cpu) { wrong_run(cpu, wrong_##what, false); }
WRONG(register) WRONG(upper) WRONG(flag) WRONG(interrupt_flag) WRONG(xmm) WRONG(msr) WRONG(limit) WRONG(cr2) WRONG(memory)
#undef WRONG
static void wrong_chain_run(struct cpu *cpu) { wrong_run(cpu, wrong_register, true); }

static void difference_check(const struct engine *wrong, const char *name, bool chained)
{
	const struct engine *const list[] = { engine_find("switch"), engine_find("dbt"), wrong, NULL };
	struct lockstep_report r;
	struct machine_config c;
	char error[640] = "";
	guest_config(&c, &techniques[TECHNIQUE_NATIVE], 64, "notimer init=forkwait n=12", 16);
	bool ran = lockstep_run(&c, list, LOCKSTEP_TURN, &r, error, sizeof error);
	CU_ASSERT_TRUE_FATAL(ran);
	bool found = r.differ && r.tested == wrong && r.chained == chained && r.boundary >= WRONG_AT && r.boundary < WRONG_AT + 64 && r.lines == 1 && !strcmp(r.line[0].name, name) && r.bytes;
	CU_ASSERT_TRUE(found);
	if (!found)
		printf("\n    %s: %s%s at %llu, %u lines, first %s, not %s", wrong->name, r.differ ? r.tested->name : "no difference", r.chained ? " chained" : "", (unsigned long long)r.boundary, r.lines, r.line[0].name, name);
}

static void test_injected(void)
{
	static const struct { struct engine engine; const char *name; bool chained; } rows[] = {
		{ { "wrong register", "", wrong_register_run }, "rbp", false }, { { "wrong upper half", "", wrong_upper_run }, "r13", false }, { { "wrong flag", "", wrong_flag_run }, "eflags", false },
		{ { "wrong IF", "", wrong_interrupt_flag_run }, "eflags", false }, { { "wrong XMM", "", wrong_xmm_run }, "xmm9", false }, { { "wrong MSR", "", wrong_msr_run }, "lstar", false },
		{ { "wrong hidden part", "", wrong_limit_run }, "ds limit", false }, { { "wrong CR2", "", wrong_cr2_run }, "cr2", false },
		{ { "wrong memory", "", wrong_memory_run }, "memory 7ff120", false }, { { "wrong chain", "", wrong_chain_run }, "rbp", true },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		difference_check(&rows[i].engine, rows[i].name, rows[i].chained);
}

/* ---- what is shown ---- */
static void test_report(void)
{
	static const struct engine two[] = { { "one", "", NULL }, { "two", "", NULL } };
	const struct engine *const list[] = { &two[0], &two[1], NULL };
	struct lockstep_report r = { .differ = true, .tested = &two[1], .boundary = 1234, .pc = 0x1000, .mode = 4, .bytes = 13, .lines = 2,
		.code = { 0x01, 0xd8 /* add eax, ebx */, 0x89, 0x03 /* mov [ebx], eax */, 0x8b, 0x0b /* mov ecx, [ebx] */, 0xc7, 0x06, 1, 0, 0, 0 /* mov dword [esi], 1 */, 0x42 /* inc edx */ },
		.line = { { "rcx", "0x01", "0x02" }, { "memory 5000", "0x03", "0x04" } } };
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	CU_ASSERT_FATAL(out != NULL);
	lockstep_print(out, &r, list);
	fclose(out);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "two differs from one at instruction 1234"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "          1000  add eax, ebx\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, ">         1004  mov ecx, [ebx]\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, ">         1006  mov dword ptr"));
	CU_ASSERT_PTR_NULL(strstr(text, ">         1002")); /* it writes memory, too, but another instruction does after it */
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "rcx "));
	free(text);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		instructions_most = strtoull(argv[1], NULL, 0);
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("lockstep", NULL, NULL);
	CU_add_test(s, "techniques", test_techniques);
	CU_add_test(s, "workloads", test_workloads);
	CU_add_test(s, "engines that are wrong", test_injected);
	CU_add_test(s, "what is shown", test_report);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? 1 : 0;
}
