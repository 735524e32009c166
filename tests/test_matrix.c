/*
 * Proves: the equivalence matrix. Every technique gives the guest-visible state hash that bare hardware gives, on every workload, in 32 and 64 bit; with the same kernel image, also the
 * whole machine (registers, all memory, device output). The axes come from the registries: a new technique, engine, workload, TLB organisation or walk cache is in the matrix by being listed.
 *
 * The independent reference of what the programs compute is the same source run natively (test_workloads_native.c); here the machine is compared with itself.
 * Runs are functional: time is instructions retired, so that paths cannot depend on a technique's cost.
 */
#include "guest_config.h"
#include <CUnit/Basic.h>
#include <stdlib.h>

struct workload {
	const char *name, *cmdline;
	unsigned memory_mib;
	bool depends_on_time;
};
static const struct workload workloads[] = {
#define WORKLOAD(name, cmdline, mib, what, time) { #name, cmdline, mib, time },
#include "../workloads/workloads.def"
#undef WORKLOAD
};
#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))

/* A configuration for one cell: images from the build, no timing model. */
static void cell_config(struct machine_config *c, const struct technique *t, unsigned width, const struct workload *w)
{
	guest_config(c, t, width, w->cmdline, w->memory_mib);
	snprintf(c->workload, sizeof(c->workload), "%s", w->name);
}

static bool cell_run(const struct machine_config *c, struct run_result *r)
{
	char error[256] = "";
	struct machine *m = machine_create(c, error, sizeof(error));
	bool ok = m && machine_load(m, error, sizeof(error));

	if (ok) {
		machine_run(m);
		machine_result(m, r);
	} else {
		printf("  %s %s: %s\n", c->technique, c->workload, error);
	}
	machine_destroy(m);
	return ok;
}

/* Runs the cell and compares with the reference run; says which cell differs. */
static void cell_check(const struct machine_config *c, const struct run_result *reference, bool same_image)
{
	struct run_result *r = calloc(1, sizeof(*r));
	bool ok = cell_run(c, r);
	bool equal = ok && r->end == END_EXIT && r->exit_code == reference->exit_code && r->state_hash == reference->state_hash &&
	             (!same_image || (r->machine_hash == reference->machine_hash && r->instructions == reference->instructions));

	if (!equal)
		printf("  differs: %s %s %u-bit engine %s softtlb %u buffer %u: end %s code %d state %016llx machine %016llx (reference %016llx %016llx)\n", c->technique, c->workload,
		       reference->width, c->engine, c->softtlb_entries, c->event_buffer, run_end_name(r->end), r->exit_code, (unsigned long long)r->state_hash,
		       (unsigned long long)r->machine_hash, (unsigned long long)reference->state_hash, (unsigned long long)reference->machine_hash);
	CU_ASSERT_TRUE(equal);
	CU_ASSERT_EQUAL(r->resource_violations, 0);
	free(r);
}

static void workload_check(const struct workload *w, unsigned width)
{
	struct machine_config c;
	struct run_result *native = calloc(1, sizeof(*native));

	cell_config(&c, &techniques[TECHNIQUE_NATIVE], width, w);
	CU_ASSERT_TRUE_FATAL(cell_run(&c, native));
	CU_ASSERT_EQUAL(native->end, END_EXIT);
	CU_ASSERT_NOT_EQUAL(native->instructions, 0);
	for (unsigned t = 1; t < TECHNIQUES; t++) {
		cell_config(&c, &techniques[t], width, w);
		cell_check(&c, native, !techniques[t].paravirtual_guest);
	}
	free(native);
}

static void techniques_by_workload(unsigned width)
{
	for (unsigned i = 0; i < WORKLOADS; i++)
		if (!workloads[i].depends_on_time)
			workload_check(&workloads[i], width);
}

static void techniques_by_workload_32(void) { techniques_by_workload(32); }
static void techniques_by_workload_64(void) { techniques_by_workload(64); }

static const struct workload *workload_find(const char *name)
{
	for (unsigned i = 0; i < WORKLOADS; i++)
		if (!strcmp(workloads[i].name, name))
			return &workloads[i];
	return &workloads[0];
}

/* Engines, softtlb sizes and models must not be visible to the guest, under any technique. */
static void engines_and_models(unsigned width)
{
	const struct workload *w = workload_find("forkwait");

	for (unsigned t = 0; t < TECHNIQUES; t++) {
		struct machine_config c;
		struct run_result *reference = calloc(1, sizeof(*reference));
		cell_config(&c, &techniques[t], width, w);
		CU_ASSERT_TRUE_FATAL(cell_run(&c, reference));
		for (const struct engine *e = engines; e->name; e++) {
			snprintf(c.engine, sizeof(c.engine), "%s", e->name);
			cell_check(&c, reference, true);
		}
		c.tlb_only = true; /* events and modelled TLBs on, time still instructions */
		for (unsigned entries = 1; entries <= 4096; entries *= 64) {
			c.softtlb_entries = entries;
			c.event_buffer = entries + 1;
			cell_check(&c, reference, true);
		}
		free(reference);
	}
}

static void engines_and_models_32(void) { engines_and_models(32); }
static void engines_and_models_64(void) { engines_and_models(64); }

/* Every array with this organisation and policy, 64 entries in 4 ways. False: the organisation says that it cannot have the policy (tree PLRU needs sets). */
static bool organisation_set(struct machine_config *c, const char *organisation, const char *replacement, const char *walk_cache)
{
	struct tlb_geometry *level[] = { c->preset.tlb.l1d, c->preset.tlb.l1i, c->preset.tlb.l2 };
	struct tlb_geometry all = { .organisation = organisation, .replacement = replacement, .entries = 64, .ways = 4, .page_sizes = TLB_4K | TLB_2M | TLB_1G };
	char error[256] = "";

	for (unsigned i = 0; i < sizeof(level) / sizeof(level[0]) * TLB_ARRAYS; i++)
		level[i / TLB_ARRAYS][i % TLB_ARRAYS] = i % TLB_ARRAYS ? (struct tlb_geometry){ .entries = 0 } : all;
	c->preset.tlb.walk_cache = walk_cache;
	struct machine *m = machine_create(c, error, sizeof(error));
	machine_destroy(m);
	CU_ASSERT_TRUE(m || strstr(error, "replacement"));
	return m;
}

/* Each combination of the registries of tlb/: the guest must not see the difference. */
static void tlb_organisations(void)
{
	const struct workload *w = workload_find("faults");
	unsigned combinations = 0;

	for (unsigned t = 0; t < TECHNIQUES; t++) {
		struct machine_config c;
		struct run_result *reference = calloc(1, sizeof(*reference));
		cell_config(&c, &techniques[t], 64, w);
		CU_ASSERT_TRUE_FATAL(cell_run(&c, reference));
		c.tlb_only = true;
		for (unsigned o = 0; tlb_organisation_name(o); o++)
			for (unsigned r = 0; tlb_replacement_name(r); r++)
				for (unsigned k = 0; walk_cache_name(k); k++)
					if (organisation_set(&c, tlb_organisation_name(o), tlb_replacement_name(r), walk_cache_name(k))) {
						cell_check(&c, reference, true);
						combinations++;
					}
		free(reference);
	}
	CU_ASSERT_TRUE(combinations >= TECHNIQUES * 4 * 3 * 3); /* 4 organisations x 3 policies that all can have x 3 walk caches */
}

/* With the whole timing model on, the guest's path changes with time, but not what its programs compute. */
static void timed_runs(void)
{
	const struct workload *w = workload_find("all_timer");

	for (unsigned width = 32; width <= 64; width += 32)
		for (const struct core_model *core = core_models; core->name; core++) {
			struct machine_config c;
			struct run_result *native = calloc(1, sizeof(*native));
			for (unsigned t = 0; t < TECHNIQUES; t++) {
				cell_config(&c, &techniques[t], width, w);
				snprintf(c.core, sizeof(c.core), "%s", core->name);
				if (t == TECHNIQUE_NATIVE)
					CU_ASSERT_TRUE_FATAL(cell_run(&c, native));
				cell_check(&c, native, false);
			}
			CU_ASSERT_EQUAL(native->cycles != 0, core->keeps_time);
			free(native);
		}
}

int main(void)
{
	CU_pSuite s;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	s = CU_add_suite("matrix", NULL, NULL);
	CU_add_test(s, "techniques x workloads, 32 bit", techniques_by_workload_32);
	CU_add_test(s, "techniques x workloads, 64 bit", techniques_by_workload_64);
	CU_add_test(s, "techniques x engines x models, 32 bit", engines_and_models_32);
	CU_add_test(s, "techniques x engines x models, 64 bit", engines_and_models_64);
	CU_add_test(s, "techniques x TLB organisations x replacement x walk caches", tlb_organisations);
	CU_add_test(s, "techniques x core models, timer on", timed_runs);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
