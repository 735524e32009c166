/*
 * What the hardware's TLBs lose when the guest moves to a control register or invalidates: the scopes of SDM 3A 4.10.4.1, told to the modelled TLBs as EV_TLB_FLUSH.
 */
#include "vmm_rig.h"
#include <CUnit/Basic.h>

enum { GUEST_BYTES = 1 << 20, NOTHING = -1, LONG4 = CR4_PAE, PCIDS = CR4_PAE | CR4_PCIDE };

static struct rig *rig_long(uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
	struct rig *r = malloc(sizeof *r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_NATIVE, GUEST_BYTES, 0, NULL));
	rig_registers(r, cr0, cr3, cr4, EFER_LME | EFER_LMA | EFER_NXE);
	event_drain(&r->events);
	CU_ASSERT_EQUAL(r->last[EV_TLB_FLUSH].id, TLB_FLUSH_ALL);
	memset(r->seen, 0, sizeof r->seen);
	return r;
}

/* kind NOTHING: no event. address: what it names. */
static void flush_check(struct rig *r, int kind, uint64_t address)
{
	event_drain(&r->events);
	CU_ASSERT_EQUAL(r->seen[EV_TLB_FLUSH], kind != NOTHING);
	if (kind != NOTHING) {
		CU_ASSERT_EQUAL(r->last[EV_TLB_FLUSH].id, (uint32_t)kind);
		CU_ASSERT_EQUAL(r->last[EV_TLB_FLUSH].addr, address);
	}
	rig_destroy(r);
	free(r);
}

static void test_control_registers(void)
{
	static const uint64_t on = CR0_PE | CR0_PG | CR0_WP;
	static const struct { uint8_t why; uint64_t from, to; int kind; uint64_t address; } rows[] = {
		{ CONTEXT_CR4, LONG4, LONG4 | CR4_PGE, TLB_FLUSH_VPID, 0 }, { CONTEXT_CR4, LONG4 | CR4_PGE, LONG4, TLB_FLUSH_VPID, 0 }, { CONTEXT_CR4, PCIDS, LONG4, TLB_FLUSH_VPID, 0 },
		{ CONTEXT_CR4, LONG4, PCIDS, NOTHING, 0 }, { CONTEXT_CR4, PCIDS, PCIDS | CR4_SMEP, TLB_FLUSH_PCID, 0x123 }, { CONTEXT_CR4, PCIDS | CR4_SMEP, PCIDS, NOTHING, 0 },
		{ CONTEXT_CR4, LONG4, LONG4 | CR4_SMAP, NOTHING, 0 }, { CONTEXT_CR4, LONG4, LONG4 | CR4_TSD, NOTHING, 0 },
		{ CONTEXT_CR0, on, on & ~(uint64_t)CR0_PG, TLB_FLUSH_VPID, 0 }, { CONTEXT_CR0, on, on & ~(uint64_t)CR0_WP, NOTHING, 0 }, { CONTEXT_CR0, on & ~(uint64_t)CR0_PG, on, NOTHING, 0 },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		bool cr0 = rows[i].why == CONTEXT_CR0;
		struct rig *r = rig_long(cr0 ? rows[i].from : on, 0x1123, cr0 ? PCIDS : rows[i].from);
		*(cr0 ? &r->cpu.cr0 : &r->cpu.cr4) = rows[i].to;
		r->cpu.mem.context_changed(r->cpu.mem.self, &r->cpu, (enum context_change)rows[i].why, rows[i].from, false);
		flush_check(r, rows[i].kind, rows[i].address);
	}
}

static void test_cr3(void)
{
	static const struct { uint64_t cr4; bool keep; int kind; uint64_t address; } rows[] = {
		{ LONG4, false, TLB_FLUSH_VPID_NOGLOBAL, 0 }, { PCIDS, false, TLB_FLUSH_PCID, 0x456 }, { PCIDS, true, NOTHING, 0 },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rig *r = rig_long(CR0_PE | CR0_PG, 0x1123, rows[i].cr4);
		r->cpu.cr3 = 0x2456;
		r->cpu.mem.context_changed(r->cpu.mem.self, &r->cpu, CONTEXT_CR3, 0x1123, rows[i].keep);
		flush_check(r, rows[i].kind, rows[i].address);
	}
}

static void test_invalidations(void)
{
	static const struct { uint64_t address; int kind; } rows[4] = { { 0x7000 | 0x456, TLB_FLUSH_PAGE_PCID }, { 0x456, TLB_FLUSH_PCID }, { 0, TLB_FLUSH_VPID }, { 0, TLB_FLUSH_VPID_NOGLOBAL } };
	for (unsigned type = 0; type < 4; type++) {
		struct rig *r = rig_long(CR0_PE | CR0_PG, 0x1123, PCIDS);
		r->cpu.mem.invpcid(r->cpu.mem.self, &r->cpu, type, 0x456, 0x7abc);
		flush_check(r, rows[type].kind, rows[type].address);
	}
	struct rig *r = rig_long(CR0_PE | CR0_PG, 0x1123, PCIDS);
	r->cpu.mem.invlpg(r->cpu.mem.self, &r->cpu, 0x7abc);
	flush_check(r, TLB_FLUSH_PAGE, 0x7abc);
}

/* INVPCID 1 ends the simulator's own translations of that PCID, too: of the present one as of another. */
static void test_invpcid_softtlb(void)
{
	static const struct { unsigned pcid; bool stays; } rows[] = { { 0x123, false }, { 0x456, true } };
	for (unsigned i = 0; i < 2; i++) {
		struct rig *r = rig_long(CR0_PE | CR0_PG, 0x1123, PCIDS);
		for (uint64_t table = 0x1000; table <= 0x4000; table += 0x1000) { /* address 0 is page 5000h */
			uint64_t entry = (table + 0x1000) | 0x67;
			memcpy(rig_guest(r) + table, &entry, 8);
		}
		CU_ASSERT_TRUE(rig_access(r, 0, ACCESS_READ, false, 4, 0).good);
		const struct fast_entry *e = &r->cpu.mem.table[0];
		CU_ASSERT_EQUAL(e->read, r->cpu.mem.tag);
		r->cpu.mem.invpcid(r->cpu.mem.self, &r->cpu, 1, rows[i].pcid, 0);
		CU_ASSERT_EQUAL(e->read == r->cpu.mem.tag, rows[i].stays);
		rig_destroy(r);
		free(r);
	}
}

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite s = CU_add_suite("tlb flush", NULL, NULL);
	CU_add_test(s, "CR0 and CR4", test_control_registers);
	CU_add_test(s, "CR3", test_cr3);
	CU_add_test(s, "INVLPG and INVPCID", test_invalidations);
	CU_add_test(s, "INVPCID and the softtlb", test_invpcid_softtlb);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
