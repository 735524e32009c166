/*
 * Shadow and nested paging give exactly the translations, page-fault error codes, and accessed and dirty flags that the bare machine gives, over random page tables of
 * every format that edit themselves, random control bits, address-space switches, and accesses of every kind.
 *
 * Reference: the native machine (its walker has its own oracle), whose guest memory is compared byte by byte with the virtual one's.
 */
#include "vmm_rig.h"
#include <CUnit/Basic.h>

enum { TABLES = 24 /* pages where tables live */, GUEST_BYTES = 6 << 20 };

struct format_case { const char *name; uint64_t cr0, cr4, efer; };
static const struct format_case formats[] = {
	{ "off", CR0_PE, 0, 0 },
	{ "32-bit", CR0_PE | CR0_PG, 0, 0 },
	{ "32-bit PSE", CR0_PE | CR0_PG | CR0_WP, CR4_PSE, 0 },
	{ "PAE", CR0_PE | CR0_PG | CR0_WP, CR4_PAE, EFER_NXE },
	{ "PAE no NX", CR0_PE | CR0_PG, CR4_PAE | CR4_SMEP, 0 },
	{ "4-level", CR0_PE | CR0_PG | CR0_WP, CR4_PAE | CR4_SMEP | CR4_SMAP, EFER_LME | EFER_LMA | EFER_NXE },
	{ "4-level, no WP", CR0_PE | CR0_PG, CR4_PAE, EFER_LME | EFER_LMA | EFER_NXE },
	{ "5-level", CR0_PE | CR0_PG | CR0_WP, CR4_PAE | CR4_LA57, EFER_LME | EFER_LMA },
};

static uint64_t entry_random(uint64_t *seed, const struct format_case *f)
{
	uint64_t r = rig_random(seed), e = rig_random(seed) % 8 ? 7 : r >> 50 & 7;
	uint64_t page = rig_random(seed) % 10 ? r % (TABLES + 8) : r >> 8 & 0xfff;
	e |= page << 12 | (r >> 20 & 0x160);          /* A, D, G */
	if (!(r >> 40 & 7))
		e = (e & ~0x1ff000ull) | 0x80 | (r >> 44 & 3) << 21; /* a large page, sometimes where none may be */
	if (!(r >> 32 & 31) && (f->cr4 & CR4_PAE))
		e |= 1ull << 63;
	if (!(r >> 25 & 63))
		e |= f->cr4 & CR4_PAE ? 1ull << 51 : 1 << 21;  /* reserved */
	return e;
}

static void tables_random(struct rig *r, uint64_t seed, const struct format_case *f)
{
	uint8_t *memory = rig_guest(r);
	unsigned bytes = f->cr4 & CR4_PAE ? 8 : 4;
	for (unsigned i = 0; i < TABLES * 4096 / bytes; i++) {
		uint64_t e = i % (4096 / bytes) % 128 < 6 || i % 4 == 0 ? entry_random(&seed, f) : 0;
		if (f->cr4 & CR4_PAE && !(f->efer & EFER_LMA) && i < 8)
			e = (e & 0xff000) | 1; /* PDPTEs that MOV CR3 would accept */
		memcpy(memory + (uint64_t)i * bytes, &e, bytes);
	}
}

static uint64_t gva_random(uint64_t *seed, const struct format_case *f)
{
	uint64_t r = rig_random(seed), offset = r & 0xff8;
	static const uint16_t index[8] = { 0, 1, 2, 3, 4, 128, 5, 1 };
	uint64_t low = (uint64_t)index[r >> 12 & 7] << 12 | (uint64_t)index[r >> 16 & 7] << 21 | offset;
	if (!(f->efer & EFER_LMA))
		return low | (uint64_t)(f->cr4 & CR4_PAE ? r >> 20 & 3 : r >> 20 & 1) << 30;
	return low | (uint64_t)(r >> 20 & 3) << 30 | (uint64_t)(r >> 24 & 1) << 39 | (f->cr4 & CR4_LA57 ? (uint64_t)(r >> 25 & 1) << 48 : 0);
}

static bool answers_equal(const struct rig_answer *a, const struct rig_answer *b)
{
	if (a->good != b->good)
		return false;
	if (!a->good)
		return a->fault.vector == b->fault.vector && a->fault.error == b->fault.error && a->fault.cr2 == b->fault.cr2;
	return a->memory == b->memory && a->gpa == b->gpa && a->value == b->value;
}

/* The hardware may do nothing that the guest's tables do not allow now. */
static bool hardware_is_subset(struct rig *r, uint64_t gva, bool user)
{
	struct walk hw, guest;
	const struct paging *p = r->mmu.part->hardware_paging(r->mmu.part_self);
	struct walk_request rq = { .access = ACCESS_READ, .user = user };
	if (!paging_walk(p, &r->mmu.walk_memory, gva, rq, &hw))
		return true;
	if (!vmm_walk_quiet(&r->vmm, gva, rq, &guest) || hw.hpa != guest.hpa)
		return false;
	if (!(paging_rights(p, &hw, rq) & WALK_W))
		return true;
	const struct frame *f = frames_at(&r->mmu.frames, hw.hpa);
	return guest.dirty && (r->vmm.technique->mem != techniques[TECHNIQUE_SHADOW].mem || !(f->flags & FRAME_TABLE));
}

/* The same for what the softtlb remembers of an address: shadow paging follows each store, so nothing of it may be out of date. */
static bool softtlb_is_true(struct rig *r, uint64_t gva, bool user)
{
	const struct fast_entry *e = &r->cpu.mem.table[gva >> 12 & r->cpu.mem.mask];
	uint64_t key = (gva & ~0xfffull) | r->cpu.mem.tag;
	struct walk_request rq = { .access = e->write == key ? ACCESS_WRITE : ACCESS_READ, .user = user, .ac_override = !user && (r->cpu.eflags & FLAG_AC) };
	struct walk guest;
	if (e->read != key && e->write != key)
		return true;
	return vmm_walk_quiet(&r->vmm, gva, rq, &guest) && !guest.ad_pending && (uint8_t *)(uintptr_t)(gva + e->addend) == r->phys.bytes + guest.hpa;
}

static void step(struct rig *native, struct rig *virtual, const struct format_case *f, uint64_t *seed, bool *same)
{
	uint64_t what = rig_random(seed) % 64, gva = gva_random(seed, f), r = rig_random(seed);
	if (what == 0) {
		uint64_t root = (r % 3) << 12;
		rig_cr3(native, root);
		rig_cr3(virtual, root);
		return;
	}
	if (what == 1) {
		native->cpu.mem.invlpg(native->cpu.mem.self, &native->cpu, gva);
		virtual->cpu.mem.invlpg(virtual->cpu.mem.self, &virtual->cpu, gva);
		return;
	}
	native->cpu.cpl = virtual->cpu.cpl = r & 1 ? 3 : 0;
	native->cpu.eflags = virtual->cpu.eflags = r & 2 ? FLAG_AC : 0;
	cpu_memory_mode_follow(&native->cpu);
	cpu_memory_mode_follow(&virtual->cpu);
	enum access access = (enum access)((r >> 4) % 3);
	uint64_t value = r >> 8 & 3 ? entry_random(seed, f) : 0;
	bool supervisor = !(r >> 12 & 15);
	struct rig_answer a = rig_access(native, gva, access, supervisor, 8, value), b = rig_access(virtual, gva, access, supervisor, 8, value);
	bool fresh = true;
	for (unsigned i = 0; i < 8 && virtual->vmm.technique->id == TECHNIQUE_SHADOW; i++)
		fresh = fresh && softtlb_is_true(virtual, gva_random(seed, f), r & 1);
	*same = fresh && answers_equal(&a, &b) && !memcmp(rig_guest(native), rig_guest(virtual), TABLES * 4096) && hardware_is_subset(virtual, gva, r & 1);
	if (!*same)
		fprintf(stderr, "%s, %s: gva %llx access %d cpl %d: native %d %x %llx, virtual %d %x %llx\n", virtual->vmm.technique->name, f->name, (unsigned long long)gva, access,
			native->cpu.cpl, a.good, a.fault.error, (unsigned long long)a.gpa, b.good, b.fault.error, (unsigned long long)b.gpa);
}

static void compare(enum technique_id id, const struct format_case *f, const struct vmm_config *config, uint64_t seed, unsigned steps)
{
	struct rig *native = malloc(sizeof *native), *virtual = malloc(sizeof *virtual);
	bool same = true;
	CU_ASSERT_TRUE_FATAL(rig_create(native, TECHNIQUE_NATIVE, GUEST_BYTES, 0, NULL));
	CU_ASSERT_TRUE_FATAL(rig_create(virtual, id, GUEST_BYTES, 0, config));
	tables_random(native, seed, f);
	tables_random(virtual, seed, f);
	rig_registers(native, f->cr0, 0, f->cr4, f->efer);
	rig_registers(virtual, f->cr0, 0, f->cr4, f->efer);
	for (unsigned i = 0; i < steps && same; i++)
		step(native, virtual, f, &seed, &same);
	CU_ASSERT_TRUE(same);
	CU_ASSERT_FALSE(virtual->vmm.failed);
	CU_ASSERT_EQUAL(virtual->mmu.resource_violations, 0);
	CU_ASSERT_EQUAL(memcmp(rig_guest(native), rig_guest(virtual), GUEST_BYTES), 0);
	rig_destroy(native);
	rig_destroy(virtual);
	free(native);
	free(virtual);
}

static void compare_all(enum technique_id id, const struct vmm_config *config)
{
	for (unsigned i = 0; i < sizeof formats / sizeof *formats; i++)
		for (uint64_t seed = 1; seed <= 6; seed++)
			compare(id, &formats[i], config, seed * 0x9e3779b97f4a7c15ull, 1500);
}

static void test_shadow(void) { compare_all(TECHNIQUE_SHADOW, NULL); }
static void test_nested(void) { compare_all(TECHNIQUE_NESTED_EPT, NULL); }

static void test_variants(void)
{
	struct vmm_config c;
	vmm_config_default(&c);
	c.shadow_roots = 1;
	c.vpid = false;
	compare_all(TECHNIQUE_SHADOW, &c);
	c.ept_page_shift = 21;
	c.ept_ad = false;
	compare_all(TECHNIQUE_NESTED_EPT, &c);
}

/* Maps pages one by one through a 4-level table: how many accesses go well before the pool ends, and that it ends cleanly. */
static void test_pool_exhaustion(void)
{
	struct rig *r = malloc(sizeof *r);
	struct vmm_config c;
	vmm_config_default(&c);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_NESTED_EPT, 64 << 20, 40 * 4096 + (64 << 20) / 4096 * 8, &c));
	rig_registers(r, CR0_PE, 0, 0, 0);
	for (uint64_t gpa = 0; gpa < 64 << 20 && !r->vmm.failed; gpa += 1 << 21)
		rig_access(r, gpa, ACCESS_READ, true, 8, 0);
	CU_ASSERT_FALSE(r->vmm.failed); /* 32 page tables fit */
	rig_destroy(r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_NESTED_EPT, 64 << 20, 24 * 4096 + (64 << 20) / 4096 * 8, &c));
	rig_registers(r, CR0_PE, 0, 0, 0);
	for (uint64_t gpa = 0; gpa < 64 << 20; gpa += 1 << 21)
		rig_access(r, gpa, ACCESS_READ, true, 8, 0);
	CU_ASSERT_TRUE(r->vmm.failed);
	CU_ASSERT_EQUAL(r->cpu.stop, CPU_STOP_REQUEST);
	CU_ASSERT_PTR_NOT_NULL(strstr(r->vmm.error, "pool"));
	rig_destroy(r);
	CU_ASSERT_FALSE(rig_create(r, TECHNIQUE_SHADOW, 64 << 20, 4 * 4096, &c)); /* not even the p2m */
	CU_ASSERT_TRUE(r->vmm.failed);
	rig_destroy(r);
	free(r);
}

/* A shadow pool that is too small for everything gives pages back and stays right. */
static void test_pool_pressure(void)
{
	struct rig *r = malloc(sizeof *r);
	const uint64_t pool = (64 + 20 + 2 + 40) * 4096;
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_SHADOW, 32 << 20, pool, NULL));
	rig_registers(r, CR0_PE, 0, 0, 0);
	for (unsigned pass = 0; pass < 3; pass++)
		for (uint64_t gpa = 0; gpa < 32 << 20; gpa += 1 << 16) {
			struct rig_answer a = rig_access(r, gpa, ACCESS_WRITE, true, 8, gpa);
			CU_ASSERT_TRUE_FATAL(a.good && a.gpa == gpa);
		}
	for (uint64_t base = 0; base < 4ull << 30; base += 1 << 21) /* mostly no memory: emulated */
		rig_access(r, base, ACCESS_READ, true, 8, 0);
	CU_ASSERT_FALSE(r->vmm.failed);
	CU_ASSERT_TRUE(r->vmm.stats.table_bytes_peak <= pool);
	rig_destroy(r);
	free(r);
}

/* A memory part gone wrong: a frame of the VMM in the guest's tables is counted and unreachable. */
static void test_resource_control(void)
{
	struct rig *r = malloc(sizeof *r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_SHADOW, GUEST_BYTES, 0, NULL));
	rig_registers(r, CR0_PE, 0, 0, 0);
	phys_write64(&r->phys, r->vmm.p2m.root + 8, 0 | 3); /* the p2m itself says: guest page 1 is frame 0, the VMM's */
	rig_access(r, 0x1000, ACCESS_READ, true, 8, 0);
	struct rig_answer a = rig_access(r, 0x1000, ACCESS_READ, true, 8, 0);
	CU_ASSERT_FALSE(a.memory);
	CU_ASSERT_TRUE(r->mmu.resource_violations > 0);
	rig_destroy(r);
	free(r);
}

static void put64(struct rig *r, uint64_t gpa, uint64_t value) { memcpy(rig_guest(r) + gpa, &value, 8); }

static bool cached(struct rig *r, uint64_t gva)
{
	return r->cpu.mem.table[gva >> 12 & r->cpu.mem.mask].read == ((gva & ~0xfffull) | r->cpu.mem.tag);
}

/* One page table reached at several addresses, by its own level or one above: a store to it ends what the softtlb holds of all of them. */
static void aliases(unsigned level)
{
	struct rig *r = malloc(sizeof *r);
	const uint64_t other = (level == 1 ? 1ull << 21 : 1ull << 30) + 0x1000, window = 3ull << 30 | 0x2000; /* no two in one slot of the softtlb */
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_SHADOW, GUEST_BYTES, 0, NULL));
	put64(r, 0, 0x1000 | 7);          /* PML4 -> PDPT -> PD -> PT -> page 9, twice */
	put64(r, 0x1000, 0x2000 | 7);
	put64(r, 0x1008, 0x2000 | 7);
	put64(r, 0x2000, 0x3000 | 7);
	put64(r, 0x2008, 0x3000 | 7);
	put64(r, 0x3000, 0x9000 | 7);
	put64(r, 0x3008, 0x9000 | 7);
	put64(r, 0x1018, 0x4000 | 7);     /* the window: PD and PT of its own, maps page 3, the table */
	put64(r, 0x4000, 0x5000 | 7);
	put64(r, 0x5010, 0x3000 | 7);
	rig_registers(r, CR0_PE | CR0_PG | CR0_WP, 0, CR4_PAE, EFER_LME | EFER_LMA);
	rig_access(r, window, ACCESS_WRITE, false, 8, 0x9000 | 7); /* window in place */
	rig_access(r, 0, ACCESS_READ, false, 8, 0);
	rig_access(r, other, ACCESS_READ, false, 8, 0);
	CU_ASSERT_TRUE(cached(r, 0) && cached(r, other));
	rig_access(r, window + 8, ACCESS_WRITE, false, 8, 0);      /* the entry of `other` */
	CU_ASSERT_FALSE(cached(r, other));
	CU_ASSERT_FALSE(rig_access(r, other, ACCESS_READ, false, 8, 0).good);
	CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_PAGE_TABLE_WRITE], 1);
	rig_destroy(r);
	free(r);
}
static void test_aliases(void) { aliases(1); aliases(2); }

/* MOV CR3 exits before it looks at the PDPTEs. When it refuses them (SDM 3A 4.4.1), the guest goes on with those that it had. */
static void test_refused_pdptes(void)
{
	struct rig *r = malloc(sizeof *r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_SHADOW, GUEST_BYTES, 0, NULL));
	put64(r, 0, 0x1000 | 1);
	put64(r, 0x1000, 0x2000 | 7);
	put64(r, 0x2028, 0x5000 | 7);
	rig_registers(r, CR0_PE | CR0_PG | CR0_WP, 0, CR4_PAE, 0);
	CU_ASSERT_TRUE(rig_access(r, 0x5000, ACCESS_READ, false, 4, 0).good);
	put64(r, 0, 0x1000 | 7); /* bits 1 and 2 are reserved */
	r->cpu.vmm.sensitive(r->cpu.vmm.self, &r->cpu, SENS_CR3_WRITE, 0, 0);
	put64(r, 0x2030, 0x6000 | 7);
	CU_ASSERT_TRUE(rig_access(r, 0x6000, ACCESS_READ, false, 4, 0).good);
	CU_ASSERT_TRUE(rig_access(r, 0x5000, ACCESS_READ, false, 4, 0).good);
	CU_ASSERT_FALSE(r->vmm.failed);
	rig_destroy(r);
	free(r);
}

/* Of vmm.shadow_roots roots the one that was used least recently goes: what was kept needs no fill. */
static void test_roots_kept(void)
{
	static const struct { unsigned root, fills; } rows[] = { { 1, 1 }, { 2, 2 }, { 1, 2 }, { 3, 3 } /* 2 goes */, { 1, 3 }, { 2, 4 } /* 3 goes */, { 1, 4 }, { 3, 5 } };
	struct rig *r = malloc(sizeof *r);
	struct vmm_config c;
	vmm_config_default(&c);
	c.shadow_roots = 2;
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_SHADOW, GUEST_BYTES, 0, &c));
	for (unsigned root = 1; root <= 3; root++) {
		put64(r, 0x1000 * root, (0x4000 + 0x1000 * root) | 0x27);
		put64(r, 0x4000 + 0x1000 * root + 0x20, 0x9000 | 0x67); /* gva 0x8000: accessed and dirty */
	}
	rig_registers(r, CR0_PE | CR0_PG | CR0_WP, 0x1000, 0, 0);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		rig_cr3(r, 0x1000 * rows[i].root);
		CU_ASSERT_TRUE(rig_access(r, 0x8000, ACCESS_READ, false, 4, 0).good);
		CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_PAGE_FAULT_HIDDEN], rows[i].fills);
	}
	rig_destroy(r);
	free(r);
}

/* A large EPT page covers memory of the guest only: what is left of it at the end is mapped by 4 KiB, and what lies behind exits each time. */
static void test_large_page_at_the_end(void)
{
	static const struct { uint64_t gpa; bool memory; unsigned violations; } rows[] = { { 0x1000, true, 1 }, { 0x5000, true, 1 }, { GUEST_BYTES, true, 2 }, { GUEST_BYTES + 0x1000, true, 3 },
		{ GUEST_BYTES + 0xf000, true, 4 }, { GUEST_BYTES + 0x10000, false, 5 }, { GUEST_BYTES + 0x10000, false, 6 } };
	struct rig *r = malloc(sizeof *r);
	struct vmm_config c;
	vmm_config_default(&c);
	c.ept_page_shift = 21;
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_NESTED_EPT, GUEST_BYTES + 0x10000, 0, &c));
	rig_registers(r, CR0_PE, 0, 0, 0);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rig_answer a = rig_access(r, rows[i].gpa, ACCESS_READ, false, 4, 0);
		CU_ASSERT_TRUE(a.good && a.memory == rows[i].memory);
		CU_ASSERT_EQUAL(r->vmm.stats.exits[EXIT_EPT_VIOLATION], rows[i].violations);
	}
	CU_ASSERT_EQUAL(r->mmu.resource_violations, 0);
	rig_destroy(r);
	free(r);
}

/* Where the VMM's walk sets flags for the guest, it stores: an event for each entry (SDM 3A 4.8: accessed in both, dirty in the last). */
static void test_flags_stored(void)
{
	static const struct { enum access access; uint32_t pde, pte; unsigned stores; } rows[] = {
		{ ACCESS_READ, 0x27, 0x27, 0 }, { ACCESS_READ, 0x07, 0x27, 1 }, { ACCESS_READ, 0x07, 0x07, 2 }, { ACCESS_WRITE, 0x27, 0x67, 0 }, { ACCESS_WRITE, 0x27, 0x27, 1 }, { ACCESS_WRITE, 0x07, 0x07, 2 },
	};
	uint64_t none[2] = { 0 }; /* stores of a fill that sets no flag, by access */
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rig *r = malloc(sizeof *r);
		bool write = rows[i].access == ACCESS_WRITE;
		CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_SHADOW, GUEST_BYTES, 0, NULL));
		put64(r, 0x1000, 0x2000 | rows[i].pde);
		put64(r, 0x2020, 0x9000 | rows[i].pte);
		rig_registers(r, CR0_PE | CR0_PG | CR0_WP, 0x1000, 0, 0);
		CU_ASSERT_TRUE(rig_access(r, 0x8000, rows[i].access, false, 4, 0).good);
		event_drain(&r->events);
		if (!rows[i].stores)
			none[write] = r->seen[EV_VMM_STORE];
		CU_ASSERT_EQUAL(r->seen[EV_VMM_STORE], none[write] + rows[i].stores);
		rig_destroy(r);
		free(r);
	}
}

static bool cached_for_writes(struct rig *r, uint64_t gva)
{
	return r->cpu.mem.table[gva >> 12 & r->cpu.mem.mask].write == ((gva & ~0xfffull) | r->cpu.mem.tag);
}

/* The EPT's dirty flag must be set by the first write: until then nothing may be cached that lets a write pass, though the guest's own flag is set (SDM 3C 28.2.4). */
static void test_ept_dirty_flag(void)
{
	struct rig *r = malloc(sizeof *r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_NESTED_EPT, GUEST_BYTES, 0, NULL));
	put64(r, 0x1000, 0x2000 | 0x27);
	put64(r, 0x2020, 0x9000 | 0x67);
	rig_registers(r, CR0_PE | CR0_PG | CR0_WP, 0x1000, 0, 0);
	for (unsigned step = 0; step < 4; step++) {
		CU_ASSERT_TRUE(rig_access(r, 0x8000, step == 2 ? ACCESS_WRITE : ACCESS_READ, false, 4, 0).good);
		CU_ASSERT_EQUAL(cached_for_writes(r, 0x8000), step >= 2);
		mmu_flush_all(&r->mmu, &r->cpu);
	}
	rig_destroy(r);
	free(r);
}

/* Exits are counted by reason, and each EV_EXIT has its EV_ENTRY. */
static void test_exits(void)
{
	struct rig *r = malloc(sizeof *r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_SHADOW, GUEST_BYTES, 0, NULL));
	uint64_t pde = 0x1000 | 7, pte[3] = { 0x5000 | 7, 0, 0x1000 | 7 };
	memcpy(rig_guest(r), &pde, 4);
	for (unsigned i = 0; i < 3; i++)
		memcpy(rig_guest(r) + 0x1000 + 4 * i, &pte[i], 4);
	rig_registers(r, CR0_PE | CR0_PG | CR0_WP, 0, 0, 0);
	CU_ASSERT_TRUE(rig_access(r, 0x10, ACCESS_READ, false, 4, 0).good);          /* hidden */
	CU_ASSERT_TRUE(rig_access(r, 0x20, ACCESS_WRITE, false, 4, 0).good);         /* dirty */
	CU_ASSERT_FALSE(rig_access(r, 0x1000, ACCESS_READ, false, 4, 0).good);       /* reflected */
	CU_ASSERT_TRUE(rig_access(r, 0x2004, ACCESS_WRITE, false, 4, 0x6007).good);  /* hidden, dirty (the table maps itself), then traced */
	CU_ASSERT_TRUE(rig_access(r, 0x1000, ACCESS_READ, false, 4, 0).good);        /* hidden */
	rig_cr3(r, 0);
	const uint64_t *exits = r->vmm.stats.exits;
	CU_ASSERT_EQUAL(exits[EXIT_PAGE_FAULT_HIDDEN], 3);
	CU_ASSERT_EQUAL(exits[EXIT_DIRTY_TRACKING], 1);
	CU_ASSERT_EQUAL(exits[EXIT_PAGE_FAULT_REFLECTED], 1);
	CU_ASSERT_EQUAL(exits[EXIT_PAGE_TABLE_WRITE], 1);
	CU_ASSERT_EQUAL(exits[EXIT_CR_ACCESS], 1);
	event_drain(&r->events);
	CU_ASSERT_EQUAL(r->seen[EV_EXIT], 7);
	CU_ASSERT_EQUAL(r->seen[EV_ENTRY], 7);
	CU_ASSERT_EQUAL(r->seen[EV_TABLE_STORE], 1);
	rig_destroy(r);
	free(r);
}

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite s = CU_add_suite("vmm memory", NULL, NULL);
	CU_add_test(s, "exits by reason", test_exits);
	CU_add_test(s, "shadow = native", test_shadow);
	CU_add_test(s, "nested = native", test_nested);
	CU_add_test(s, "one root, no VPID, 2M EPT, no EPT A/D", test_variants);
	CU_add_test(s, "pool exhaustion", test_pool_exhaustion);
	CU_add_test(s, "pool pressure", test_pool_pressure);
	CU_add_test(s, "one table at several addresses", test_aliases);
	CU_add_test(s, "refused PDPTEs", test_refused_pdptes);
	CU_add_test(s, "roots that are kept", test_roots_kept);
	CU_add_test(s, "large EPT pages at the end of memory", test_large_page_at_the_end);
	CU_add_test(s, "dirty flags of the EPT", test_ept_dirty_flag);
	CU_add_test(s, "flags that the VMM's walk sets", test_flags_stored);
	CU_add_test(s, "resource control", test_resource_control);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
