/*
 * Proves: a guest can do nothing to the simulator. Guests that mean harm (hostile_guests.S: tables stored over themselves, code and tables where no memory is, faults without end,
 * strings over everything, instructions that change themselves, nonsense to every device, task switches, control bits, random code in rings 0 and 3, 32 and 64 bit) end within their
 * budget under every technique, reach nothing that was not granted, and compute the same.
 *
 * Reference: bare hardware of the simulator on the switch engine. Registers, all memory, and output of the guest must come out equal (machine hash) under every technique and engine;
 * under one technique all engines must give the same result byte for byte.
 */
#include "../machine/machine.h"
#include <CUnit/Basic.h>
#include <stdlib.h>

/* In the order of the table `programs` in hostile_guests.S. clock: what it computes depends on time, which techniques take differently. budget: thousands of instructions; 0: 100. */
static const struct program { const char *name; bool clock; unsigned budget; } programs[] = {
	{ "jumps where no memory is", false, 0 }, { "runs to the end of 4 GiB", false, 0 }, { "runs across the wrap of 4 GiB", false, 0 },
	{ "erases its page tables", false, 0 }, { "CR3 outside memory", false, 0 }, { "IDT outside memory", false, 0 }, { "faults without end", false, 0 },
	{ "copies over everything", false, 10 }, { "strings where no memory is", false, 10 }, { "modifies its code", false, 0 }, { "REP over itself", false, 0 },
	{ "reads every port", true, 400 }, { "writes every port", true, 400 }, { "nonsense to timer and interrupt controller", true, 0 }, { "halts for ever", false, 0 },
	{ "LTR and LLDT of everything", false, 0 }, { "tasks without end", false, 0 }, { "tasks of nonsense", false, 0 }, { "directory maps itself", false, 0 },
	{ "remaps the page that runs", false, 0 }, { "toggles paging", false, 0 }, { "control bits at random", false, 0 }, { "every MSR", true, 0 },
	{ "noncanonical addresses", false, 0 }, { "PML4 maps itself", false, 0 }, { "stacks that wrap", false, 0 }, { "every selector", false, 0 },
	{ "descriptor tables in page tables", false, 0 }, { "random code", true, 0 }, { "returns to everything", false, 0 }, { "single steps", false, 0 },
	{ "hypercalls and CPUID", true, 0 }, { "strings over tables", false, 0 }, { "executes its page table", false, 0 }, { "address spaces of nonsense", false, 0 },
	{ "FXSAVE at the end of memory", false, 0 }, { "double fault into nowhere", false, 0 }, { "random user code", true, 0 }, { "random 64-bit code", true, 0 },
};
#define PROGRAMS (sizeof programs / sizeof *programs)

static void config_fill(struct machine_config *c, unsigned program, const char *technique, const char *engine)
{
	machine_config_default(c);
	snprintf(c->kernel, sizeof c->kernel, BINARY_DIR "/tests/hostile_guests.bin");
	snprintf(c->cmdline, sizeof c->cmdline, "%c", 'A' + program);
	snprintf(c->technique, sizeof c->technique, "%s", technique);
	snprintf(c->engine, sizeof c->engine, "%s", engine);
	c->memory_bytes = 8u << 20;
	c->max_instructions = programs[program].budget ? programs[program].budget * 1000 : 100000;
	c->block_cache_bytes = 1u << 20;
}

static void guest_run(unsigned program, const char *technique, const char *engine, struct run_result *r)
{
	struct machine_config c;
	char error[640] = "";
	config_fill(&c, program, technique, engine);
	struct machine *m = machine_create(&c, error, sizeof error);
	memset(r, 0, sizeof *r);
	if (m && machine_load(m, error, sizeof error)) {
		machine_run(m);
		machine_result(m, r);
	} else {
		CU_FAIL("a machine");
		printf("  %s\n", error);
	}
	machine_destroy(m);
}

static bool check(bool good, const char *what, unsigned program, const struct run_result *r, const struct run_result *reference)
{
	CU_ASSERT(good);
	if (!good)
		printf("  %s, %s, %s: %s (%s after %llu, not %s after %llu)\n", programs[program].name, r->technique, r->engine, what, run_end_name(r->end), (unsigned long long)r->instructions,
			run_end_name(reference->end), (unsigned long long)reference->instructions);
	return good;
}

static void result_check(unsigned program, const struct run_result *r, const struct run_result *bare)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < CAUSES; i++)
		sum += r->by_cause[i];
	check(r->resource_violations == 0, "reached what was not granted", program, r, bare);
	check(sum == r->cycles, "causes do not add up", program, r, bare);
	check(r->end != END_VMM_FAILED, "the VMM gave up", program, r, bare);
	if (programs[program].clock)
		return;
	check(r->end == bare->end, "ends otherwise", program, r, bare);
	check(r->end == END_BUDGET || r->machine_hash == bare->machine_hash, "computes otherwise", program, r, bare); /* a budget ends where the technique's blocks end */
}

static void program_run(unsigned program)
{
	struct run_result *bare = malloc(sizeof *bare), *first = malloc(sizeof *first), *second = malloc(sizeof *second);
	guest_run(program, "native", "switch", bare);
	for (unsigned t = 0; t < TECHNIQUES; t++) {
		if (techniques[t].paravirtual_guest)
			continue;
		guest_run(program, techniques[t].name, "switch", first);
		result_check(program, first, bare);
		for (const struct engine *e = engines; e->name; e++) {
			guest_run(program, techniques[t].name, e->name, second);
			memcpy(first->engine, second->engine, sizeof first->engine);
			check(!memcmp(first, second, sizeof *first), "the engines differ", program, second, first);
		}
	}
	free(bare);
	free(first);
	free(second);
}

static void every_program(void)
{
	for (unsigned i = 0; i < PROGRAMS; i++)
		program_run(i);
}

int main(void)
{
	CU_pSuite s;
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	s = CU_add_suite("hostile guests", NULL, NULL);
	CU_add_test(s, "every program", every_program);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
