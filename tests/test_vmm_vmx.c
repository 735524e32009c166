/*
 * What leaves the guest under VMX and what does not, and how an external interrupt arrives. The expectations are the controls that cpu_vmx.c says it sets, by the sections of the Intel SDM
 * named beside them.
 */
#include "vmm_rig.h"
#include <CUnit/Basic.h>

enum { GUEST_BYTES = 4 << 20 };

static struct rig *rig_vmx(enum technique_id technique)
{
	struct rig *r = malloc(sizeof *r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, technique, GUEST_BYTES, 0, NULL));
	rig_registers(r, CR0_PE | CR0_ET, 0, CR4_PAE, 0);
	event_drain(&r->events);
	memset(r->seen, 0, sizeof r->seen);
	return r;
}

static void rig_end(struct rig *r)
{
	event_drain(&r->events);
	CU_ASSERT_FALSE(r->vmm.failed);
	rig_destroy(r);
	free(r);
}

/* As an engine does it: the hook is asked when the trap set says so. */
static uint64_t exits_of(struct rig *r, enum sensitive what, uint64_t addr)
{
	event_drain(&r->events);
	uint64_t before = r->seen[EV_EXIT];
	if (r->cpu.vmm.trap_set & SENS_BIT(what))
		CU_ASSERT_FALSE(r->cpu.vmm.sensitive(r->cpu.vmm.self, &r->cpu, what, addr, 0));
	event_drain(&r->events);
	CU_ASSERT_EQUAL(r->seen[EV_ENTRY], r->seen[EV_EXIT]);
	return r->seen[EV_EXIT] - before;
}

/* Under shadow paging the VMM must see all that paging depends on; under EPT the guest owns what cannot end the VMM's grip (SDM 3C 24.6.6, 25.1.3). */
static void test_sensitive(void)
{
	static const struct { uint8_t what; uint64_t addr; bool shadow, nested; } rows[] = {
		{ SENS_CPUID, 0, true, true } /* 25.1.2 */, { SENS_IO_IN, 0x80, true, true }, { SENS_INVD, 0, true, true }, { SENS_DR_ACCESS, 0, true, true }, { SENS_VMCALL, 0, true, true },
		{ SENS_CR3_WRITE, 0x1000, true, false }, { SENS_INVLPG, 0x1000, true, false }, { SENS_INVPCID, 0, true, false },
		{ SENS_CR0_WRITE, CR0_PE | CR0_ET, false, false } /* nothing changes */, { SENS_CR0_WRITE, CR0_PE | CR0_ET | CR0_TS, false, false }, { SENS_LMSW, CR0_PE | CR0_ET | CR0_TS, false, false },
		{ SENS_CR0_WRITE, CR0_PE | CR0_ET | CR0_WP, true, true }, { SENS_CR0_WRITE, CR0_PE | CR0_ET | CR0_TS | CR0_WP, true, true },
		{ SENS_CR4_WRITE, CR4_PAE, false, false }, { SENS_CR4_WRITE, CR4_PAE | CR4_PGE, true, false }, { SENS_CR4_WRITE, CR4_PAE | CR4_TSD, true, false },
		{ SENS_CR4_WRITE, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT, true, false }, { SENS_CR4_WRITE, CR4_PAE | CR4_PSE, true, true }, { SENS_CR4_WRITE, 0, true, true },
		{ SENS_CR4_WRITE, CR4_PAE | CR4_SMEP, true, true }, { SENS_CR4_WRITE, CR4_PAE | CR4_PGE | CR4_PCIDE, true, true },
		{ SENS_CLI, 0, false, false }, { SENS_STI, 0, false, false }, { SENS_POPF, 0, false, false }, { SENS_IRET, 0, false, false }, { SENS_CR_READ, 0, false, false },
		{ SENS_CR8_WRITE, 0, false, false }, { SENS_CLTS, 0, false, false }, { SENS_LGDT, 0, false, false }, { SENS_RDTSC, 0, false, false }, { SENS_SYSCALL, 0, false, false },
	};
	struct rig *shadow = rig_vmx(TECHNIQUE_SHADOW), *nested = rig_vmx(TECHNIQUE_NESTED_EPT);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		CU_ASSERT_EQUAL(exits_of(shadow, rows[i].what, rows[i].addr), rows[i].shadow);
		CU_ASSERT_EQUAL(exits_of(nested, rows[i].what, rows[i].addr), rows[i].nested);
	}
	shadow->cpu.cpl = 3; /* #GP comes before the exit (25.1.1), but not for CPUID and an IN that the bitmap allows */
	CU_ASSERT_EQUAL(exits_of(shadow, SENS_INVD, 0), 0);
	CU_ASSERT_EQUAL(exits_of(shadow, SENS_CPUID, 0), 1);
	CU_ASSERT_EQUAL(exits_of(shadow, SENS_IO_IN, 0x80), 1);
	rig_end(shadow);
	rig_end(nested);
}

/* The MSR bitmap (24.6.9): system-call entry points and segment bases belong to the guest. */
static void test_msr_bitmap(void)
{
	static const struct { uint32_t first, last; bool exits; } rows[] = {
		{ 0x10, 0x173, true }, { 0x174, 0x176, false }, { 0x177, 0x2ff, true }, { 0xc0000080, 0xc0000080, true }, { 0xc0000081, 0xc0000084, false }, { 0xc0000085, 0xc00000ff, true },
		{ 0xc0000100, 0xc0000102, false }, { 0xc0000103, 0xc0000110, true },
	};
	struct rig *r = rig_vmx(TECHNIQUE_NESTED_EPT);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		for (uint32_t msr = rows[i].first; msr <= rows[i].last; msr++) {
			CU_ASSERT_EQUAL(exits_of(r, SENS_MSR_READ, msr), rows[i].exits);
			CU_ASSERT_EQUAL(exits_of(r, SENS_MSR_WRITE, msr), rows[i].exits);
		}
	rig_end(r);
}

static uint64_t counted(struct rig *r, enum exit_reason reason)
{
	event_drain(&r->events);
	return r->vmm.stats.exits[reason];
}

static void interrupt_take(struct rig *r)
{
	CU_ASSERT_FALSE(r->cpu.vmm.deliver(r->cpu.vmm.self, &r->cpu, 0x20, -1, false, true, 0));
}

/* An interrupt leaves the guest at once. With IF it is injected at that entry; without, a window is asked for, and its opening is one more exit (26.3.1.5, 25.2). */
static void test_interrupts(void)
{
	struct rig *r = rig_vmx(TECHNIQUE_NESTED_EPT);
	for (unsigned round = 1; round < 3; round++) {
		r->cpu.eflags |= FLAG_IF;
		vmm_irq_raised(&r->vmm, 0);
		CU_ASSERT_EQUAL(counted(r, EXIT_EXTERNAL_INTERRUPT), 2 * round - 1);
		interrupt_take(r);
		CU_ASSERT_EQUAL(counted(r, EXIT_INTERRUPT_WINDOW), round - 1);
		r->cpu.eflags &= ~(uint32_t)FLAG_IF;
		vmm_irq_raised(&r->vmm, 0);
		CU_ASSERT_EQUAL(counted(r, EXIT_EXTERNAL_INTERRUPT), 2 * round);
		CU_ASSERT_EQUAL(counted(r, EXIT_INTERRUPT_WINDOW), round - 1);
		interrupt_take(r);
		CU_ASSERT_EQUAL(counted(r, EXIT_INTERRUPT_WINDOW), round);
	}
	CU_ASSERT_EQUAL(r->seen[EV_ENTRY], r->seen[EV_EXIT]);
	rig_end(r);
}

/* HLT exits, and its entry comes with the interrupt that ends it: at once when IF is on, else when the guest takes it. */
static void test_halt(void)
{
	for (unsigned open = 0; open < 2; open++) {
		struct rig *r = rig_vmx(TECHNIQUE_SHADOW);
		r->cpu.eflags = open ? 2 | FLAG_IF : 2;
		r->cpu.vmm.sensitive(r->cpu.vmm.self, &r->cpu, SENS_HLT, 0, 0);
		CU_ASSERT_EQUAL(counted(r, EXIT_HLT), 1);
		CU_ASSERT_EQUAL(r->seen[EV_ENTRY], 0);
		vmm_irq_raised(&r->vmm, 0);
		CU_ASSERT_EQUAL(counted(r, EXIT_EXTERNAL_INTERRUPT), 0);
		CU_ASSERT_EQUAL(r->seen[EV_ENTRY], open);
		interrupt_take(r);
		event_drain(&r->events);
		CU_ASSERT_EQUAL(r->seen[EV_ENTRY], 1);
		CU_ASSERT_EQUAL(r->seen[EV_EXIT], 1);
		rig_end(r);
	}
}

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite s = CU_add_suite("vmm vmx", NULL, NULL);
	CU_add_test(s, "what exits", test_sensitive);
	CU_add_test(s, "MSR bitmap", test_msr_bitmap);
	CU_add_test(s, "interrupts", test_interrupts);
	CU_add_test(s, "HLT", test_halt);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
