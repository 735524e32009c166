/*
 * The paravirtual VMM refuses what would break its hold: entries that map other people's frames, writable mappings of page tables, tables with bad entries, returns to ring 0.
 *
 * Reference: an inspection of the domain's page tables from outside (inspect()), which knows nothing of the VMM's frame types: after thousands of random hypercalls no table
 * that the hardware can reach is writable through any mapping, and no mapping leaves the domain.
 */
#include "vmm_rig.h"
#include "../workloads/include/ringside_pv.h"
#include <CUnit/Basic.h>

enum { MEMORY = 4 << 20, FREE_GPA = 0x10000 };

struct domain { struct rig *r; unsigned width, bytes, levels; uint64_t kbase, start, root; struct pv_start_info info; int shutdown; };

static void shutdown_note(void *self, int code) { ((struct domain *)self)->shutdown = code; }

static uint8_t *at(struct domain *d, uint64_t gpa) { return rig_guest(d->r) + gpa; }
static uint64_t mfn(struct domain *d, uint64_t gpa) { return (d->r->vmm.guest_base + gpa) >> 12; }

static struct domain domain_create(unsigned width)
{
	struct domain d = { .r = malloc(sizeof *d.r), .width = width, .bytes = width / 8, .levels = width == 64 ? 4 : 2, .kbase = width == 64 ? PV_KBASE_64 : PV_KBASE_32 };
	CU_ASSERT_TRUE_FATAL(rig_create(d.r, TECHNIQUE_PARAVIRT, MEMORY, 0, NULL));
	struct pv_boot boot = { .width = width, .entry = d.kbase + 0x1000, .free_gpa = FREE_GPA, .cmdline = "test" };
	CU_ASSERT_TRUE_FATAL(vmm_paravirt_boot(&d.r->vmm, &boot));
	d.start = d.r->cpu.reg[REG_SI];
	memcpy(&d.info, at(&d, d.start - d.kbase), sizeof d.info);
	d.root = d.info.pt_base_pa;
	return d;
}

static void domain_destroy(struct domain *d)
{
	rig_destroy(d->r);
	free(d->r);
}

/* `int $0x82` with three arguments, as the engine hands it over. */
static int64_t call(struct domain *d, unsigned number, uint64_t a, uint64_t b, uint64_t c)
{
	struct cpu *cpu = &d->r->cpu;
	cpu->reg[REG_AX] = number;
	cpu->reg[d->width == 64 ? REG_DI : REG_BX] = a;
	cpu->reg[d->width == 64 ? REG_SI : REG_CX] = b;
	cpu->reg[REG_DX] = c;
	CU_ASSERT_TRUE_FATAL(cpu->vmm.deliver(cpu->vmm.self, cpu, 0x82, -1, true, false, 0));
	return d->width == 64 ? (int64_t)cpu->reg[REG_AX] : (int32_t)cpu->reg[REG_AX];
}

#define SCRATCH 0x8000 /* request arrays: below FREE_GPA, an ordinary page */

static int64_t update(struct domain *d, uint64_t ptr, uint64_t value)
{
	struct pv_mmu_update u = { ptr, value };
	memcpy(at(d, SCRATCH), &u, sizeof u);
	return call(d, PV_MMU_UPDATE, d->kbase + SCRATCH, 1, 0);
}

static int64_t operation(struct domain *d, unsigned op, uint64_t arg)
{
	struct pv_mmuext_op o = { .op = op, .arg = arg };
	memcpy(at(d, SCRATCH), &o, sizeof o);
	return call(d, PV_MMUEXT_OP, d->kbase + SCRATCH, 1, 0);
}

static uint64_t entry(struct domain *d, uint64_t hpa)
{
	return d->bytes == 8 ? phys_read64(&d->r->phys, hpa) : phys_read32(&d->r->phys, hpa);
}

/* Machine address of the leaf entry that maps kbase + gpa, from the present root. */
static uint64_t leaf_of(struct domain *d, uint64_t gpa)
{
	uint64_t va = d->kbase + gpa, table = d->r->cpu.cr3, bits = d->bytes == 8 ? 9 : 10;
	for (unsigned level = d->levels; level > 1; level--)
		table = entry(d, table + (va >> (12 + bits * (level - 1)) & ((1u << bits) - 1)) * d->bytes) & ~0xfffull;
	return table + (va >> 12 & ((1u << bits) - 1)) * d->bytes;
}

/* ---- the view from outside ---- */
struct view { bool table[MEMORY >> 12], writable[MEMORY >> 12]; bool bad; };

static void inspect_table(struct domain *d, struct view *v, uint64_t hpa, unsigned level)
{
	uint64_t base = d->r->vmm.guest_base, frame = (hpa - base) >> 12;
	if (hpa < base || frame >= MEMORY >> 12) {
		v->bad = true;
		return;
	}
	v->table[frame] = true;
	for (unsigned i = 0; i < 4096 / d->bytes; i++) {
		uint64_t e = entry(d, hpa + i * d->bytes), to = e & 0x000ffffffffff000ull;
		if (!(e & 1))
			continue;
		if (level > 1)
			inspect_table(d, v, to, level - 1);
		else if (to < base || (to - base) >> 12 >= MEMORY >> 12)
			v->bad = true;
		else
			v->writable[(to - base) >> 12] |= e >> 1 & 1;
		v->bad |= level > 1 && (e & 0x80);
	}
}

static bool inspect(struct domain *d)
{
	struct view *v = calloc(1, sizeof *v);
	inspect_table(d, v, d->r->cpu.cr3, d->levels);
	for (unsigned i = 0; i < MEMORY >> 12; i++)
		v->bad |= v->table[i] && v->writable[i];
	v->bad |= v->writable[(d->r->cpu.gdtr.base - d->kbase) >> 12];
	bool good = !v->bad;
	free(v);
	return good;
}

/* ---- tests ---- */
static void boot_width(unsigned width)
{
	struct domain d = domain_create(width);
	CU_ASSERT_EQUAL(d.info.magic, PV_MAGIC);
	CU_ASSERT_EQUAL(d.info.nr_pages, MEMORY >> 12);
	CU_ASSERT_EQUAL(d.r->cpu.cpl, 1);
	CU_ASSERT_TRUE(inspect(&d));
	struct rig_answer a = rig_access(d.r, d.kbase + 0x3008, ACCESS_WRITE, false, 4, 77);
	CU_ASSERT_TRUE(a.good && a.memory && a.gpa == 0x3008);
	a = rig_access(d.r, d.kbase + d.root, ACCESS_READ, false, 4, 0);
	CU_ASSERT_TRUE(a.good);
	a = rig_access(d.r, d.kbase + d.root, ACCESS_WRITE, false, 4, 0);
	CU_ASSERT_TRUE(!a.good && a.fault.error == 3);
	a = rig_access(d.r, d.r->cpu.gdtr.base, ACCESS_WRITE, false, 4, 0);
	CU_ASSERT_FALSE(a.good);
	domain_destroy(&d);
}
static void test_boot(void) { boot_width(32); boot_width(64); }

static void refusals(unsigned width)
{
	struct domain d = domain_create(width);
	uint64_t leaf = leaf_of(&d, 0x5000), old = entry(&d, leaf), page = 0x5000;
	CU_ASSERT_EQUAL(update(&d, leaf, 1 << 12 | 3), -1);                      /* a frame of the VMM */
	CU_ASSERT_EQUAL(update(&d, leaf, (mfn(&d, 0) + (MEMORY >> 12)) << 12 | 1), -1); /* past the domain */
	CU_ASSERT_TRUE(update(&d, leaf, mfn(&d, d.root) << 12 | 3) < 0);         /* the root, writable */
	CU_ASSERT_EQUAL(update(&d, leaf, mfn(&d, d.root) << 12 | 1), 1);         /* read-only is fine */
	CU_ASSERT_TRUE(update(&d, leaf, mfn(&d, d.r->cpu.gdtr.base - d.kbase) << 12 | 3) < 0);
	CU_ASSERT_TRUE(update(&d, mfn(&d, page) << 12, 0) < 0);                  /* not a table */
	CU_ASSERT_TRUE(update(&d, leaf + 1, 0) < 0);
	CU_ASSERT_TRUE(update(&d, 0x1000, 3) < 0);                               /* the VMM's own memory */
	CU_ASSERT_EQUAL(update(&d, leaf, old), 1);
	uint64_t top = mfn(&d, d.root) << 12;
	CU_ASSERT_TRUE(update(&d, top, mfn(&d, page) << 12 | 7) < 0);            /* mapped writable still */
	CU_ASSERT_TRUE(update(&d, top, mfn(&d, d.root) << 12 | 7) < 0);          /* a root inside itself */
	CU_ASSERT_TRUE(update(&d, top, mfn(&d, page) << 12 | 0x87) < 0);         /* a large page */
	CU_ASSERT_TRUE(operation(&d, PV_MMUEXT_NEW_BASEPTR, mfn(&d, page)) < 0);
	CU_ASSERT_TRUE(operation(&d, PV_MMUEXT_NEW_BASEPTR, 0) < 0);
	CU_ASSERT_TRUE(operation(&d, PV_MMUEXT_UNPIN, mfn(&d, d.root)) < 0);
	CU_ASSERT_TRUE(operation(&d, 99, 0) < 0);
	CU_ASSERT_TRUE(call(&d, 77, 0, 0, 0) < 0);
	CU_ASSERT_TRUE(call(&d, PV_MMU_UPDATE, d.kbase + SCRATCH, 2049, 0) < 0);
	CU_ASSERT_EQUAL(call(&d, PV_MMU_UPDATE, 0x1000, 1, 0), -14);
	CU_ASSERT_TRUE(inspect(&d));
	CU_ASSERT_EQUAL(d.r->mmu.resource_violations, 0);
	domain_destroy(&d);
}
static void test_refusals(void) { refusals(32); refusals(64); }

/* A page becomes a table, with a bad entry first, and an ordinary page again. */
static void table_life(unsigned width)
{
	struct domain d = domain_create(width);
	uint64_t page = 0x6000, leaf = leaf_of(&d, page), writable = entry(&d, leaf), top = mfn(&d, d.root) << 12, bad = 1 << 12 | 3;
	memset(at(&d, page), 0, 4096);
	CU_ASSERT_EQUAL(update(&d, leaf, writable & ~2ull), 1);
	if (width == 32) {
		uint64_t good = mfn(&d, 0x7000) << 12 | 7;
		memcpy(at(&d, page), &good, d.bytes);
		memcpy(at(&d, page + 64), &bad, d.bytes);
		CU_ASSERT_EQUAL(update(&d, top, mfn(&d, page) << 12 | 7), -1);
		memset(at(&d, page + 64), 0, d.bytes);
	}
	CU_ASSERT_EQUAL(update(&d, top, mfn(&d, page) << 12 | 0x87), -22);       /* a good table, but not as a large page */
	CU_ASSERT_EQUAL(update(&d, top, mfn(&d, page) << 12 | 7), 1);
	CU_ASSERT_TRUE(update(&d, leaf, writable) < 0);                         /* linked: no writable mapping */
	if (width == 32)
		CU_ASSERT_TRUE(rig_access(d.r, 0x10, ACCESS_WRITE, false, 4, 5).good); /* va 0 maps page 7 */
	CU_ASSERT_FALSE(rig_access(d.r, d.kbase + page, ACCESS_WRITE, false, 4, 5).good);
	CU_ASSERT_TRUE(inspect(&d));
	CU_ASSERT_EQUAL(update(&d, top, 0), 1);
	CU_ASSERT_EQUAL(update(&d, leaf, writable), 1);
	CU_ASSERT_EQUAL(call(&d, PV_UPDATE_VA, d.kbase + page, writable & ~2ull, 0), 0);
	CU_ASSERT_FALSE(rig_access(d.r, d.kbase + page, ACCESS_WRITE, false, 4, 5).good);
	CU_ASSERT_EQUAL(call(&d, PV_UPDATE_VA, d.kbase + page, writable, 0), 0);
	struct rig_answer a = rig_access(d.r, d.kbase + page, ACCESS_WRITE, false, 4, 5);
	CU_ASSERT_TRUE(a.good && a.gpa == page);
	CU_ASSERT_EQUAL(d.r->mmu.resource_violations, 0);
	domain_destroy(&d);
}
static void test_table_life(void) { table_life(32); table_life(64); }

/* A stale writable translation does not survive the page's change of type. */
static void test_stale_translation(void)
{
	struct domain d = domain_create(32);
	uint64_t page = 0x6000, leaf = leaf_of(&d, page), writable = entry(&d, leaf);
	memset(at(&d, page), 0, 4096);
	CU_ASSERT_TRUE(rig_access(d.r, d.kbase + page, ACCESS_WRITE, false, 4, 0).good);
	event_drain(&d.r->events);
	uint64_t flushes = d.r->seen[EV_TLB_FLUSH];
	update(&d, leaf, writable & ~2ull);
	update(&d, mfn(&d, d.root) << 12, mfn(&d, page) << 12 | 7);
	event_drain(&d.r->events);
	CU_ASSERT_TRUE(d.r->seen[EV_TLB_FLUSH] > flushes);
	const struct fast_entry *e = &d.r->cpu.mem.table[(d.kbase + page) >> 12 & d.r->cpu.mem.mask];
	CU_ASSERT_NOT_EQUAL(e->write, ((d.kbase + page) & ~0xfffull) | d.r->cpu.mem.tag);
	domain_destroy(&d);
}

static int64_t iret(struct domain *d, uint64_t cs, uint64_t ss, uint64_t flags, uint64_t ip)
{
	uint64_t wide[6] = { 42, ip, cs, flags, 0x5000, ss };
	uint32_t narrow[6] = { 42, (uint32_t)ip, (uint32_t)cs, (uint32_t)flags, 0x5000, (uint32_t)ss };
	memcpy(at(d, SCRATCH), d->width == 64 ? (void *)wide : (void *)narrow, d->width == 64 ? sizeof wide : sizeof narrow);
	d->r->cpu.reg[REG_SP] = d->kbase + SCRATCH;
	return call(d, PV_IRET, 0, 0, 0);
}

static void returns(unsigned width)
{
	struct domain d = domain_create(width);
	struct cpu *cpu = &d.r->cpu;
	CU_ASSERT_EQUAL(iret(&d, 0x08, 0x10, 0x202, 0x1000), -22); /* ring 0 */
	CU_ASSERT_EQUAL(iret(&d, PV_UCS32, PV_KDS, 0x202, 0x1000), -22);
	CU_ASSERT_EQUAL(iret(&d, PV_UCS32, 0x20, 0x202, 0x1000), -22);
	CU_ASSERT_EQUAL(cpu->cpl, 1);
	CU_ASSERT_EQUAL(iret(&d, PV_UCS32, PV_UDS, 0x3202 | FLAG_VM | FLAG_NT, 0x1000), 42);
	CU_ASSERT_EQUAL(cpu->cpl, 3);
	CU_ASSERT_EQUAL(cpu->rip, 0x1000);
	CU_ASSERT_EQUAL(cpu->eflags & (FLAG_IOPL | FLAG_VM | FLAG_NT), 0);
	CU_ASSERT_EQUAL(cpu->reg[REG_SP], 0x5000);
	CU_ASSERT_TRUE(cpu->seg[SEG_DS].attributes & SEGA_UNUSABLE); /* ring 1's data segment */
	/* int $0x82 in ring 3 is a general protection fault; the guest has no handler yet: its domain ends, the machine does not */
	cpu->soft_start = 0x1000;
	CU_ASSERT_TRUE(cpu->vmm.deliver(cpu->vmm.self, cpu, 0x82, -1, true, false, 0));
	CU_ASSERT_TRUE(d.r->vmm.failed);
	domain_destroy(&d);
}
static void test_returns(void) { returns(32); returns(64); }

static void bounces(unsigned width)
{
	struct domain d = domain_create(width);
	struct cpu *cpu = &d.r->cpu;
	struct pv_trap t[2] = { { VEC_GP, 0, d.kbase + 0x2000 }, { 0x80, 3, d.kbase + 0x2100 } };
	memcpy(at(&d, SCRATCH), t, sizeof t);
	CU_ASSERT_EQUAL(call(&d, PV_SET_TRAP_TABLE, d.kbase + SCRATCH, 2, 0), 0);
	CU_ASSERT_EQUAL(call(&d, PV_STACK_SWITCH, d.kbase + 0x5000, 0, 0), 0);
	CU_ASSERT_EQUAL(iret(&d, PV_UCS32, PV_UDS, 0x202, 0x1000), 42);
	cpu->rip = 0x1002;
	cpu->soft_start = 0x1000;
	CU_ASSERT_TRUE(cpu->vmm.deliver(cpu->vmm.self, cpu, 0x80, -1, true, false, 0));
	CU_ASSERT_EQUAL(cpu->rip, d.kbase + 0x2100);
	CU_ASSERT_EQUAL(cpu->cpl, 1);
	uint64_t word[5] = { 0 };
	for (unsigned i = 0; i < 5; i++)
		memcpy(&word[i], at(&d, cpu->reg[REG_SP] - d.kbase + i * d.bytes), d.bytes);
	CU_ASSERT_TRUE(word[0] == 0x1002 && word[1] == PV_UCS32 && (word[2] & FLAG_IF) && word[3] == 0x5000 && word[4] == PV_UDS);
	const struct pv_shared_info *shared = (const void *)at(&d, d.info.shared_info - d.kbase);
	CU_ASSERT_EQUAL(shared->upcall_mask, 1);
	/* a vector that ring 3 may not call */
	iret(&d, PV_UCS32, PV_UDS, 0x202, 0x1000);
	cpu->rip = 0x1002;
	CU_ASSERT_TRUE(cpu->vmm.deliver(cpu->vmm.self, cpu, 0x81, -1, true, false, 0));
	CU_ASSERT_EQUAL(cpu->rip, d.kbase + 0x2000);
	memcpy(word, at(&d, cpu->reg[REG_SP] - d.kbase), 2 * d.bytes);
	CU_ASSERT_EQUAL((uint32_t)word[0], 0x81 << 3 | 2);
	/* an event waits for the mask, and comes with PV_IRET */
	CU_ASSERT_EQUAL(call(&d, PV_SET_CALLBACK, PV_CALLBACK_EVENT, d.kbase + 0x2200, 0), 0);
	vmm_irq_raised(&d.r->vmm, 0);
	CU_ASSERT_TRUE(vmm_interruptible(&d.r->vmm));
	vmm_interrupt(&d.r->vmm, 0x20);
	CU_ASSERT_NOT_EQUAL(cpu->rip, d.kbase + 0x2200);
	CU_ASSERT_EQUAL(shared->pending_events, PV_EVENT_TIMER);
	iret(&d, PV_UCS32, PV_UDS, 0x202, 0x1000);
	CU_ASSERT_EQUAL(cpu->rip, d.kbase + 0x2200);
	CU_ASSERT_FALSE(d.r->vmm.failed);
	event_drain(&d.r->events);
	CU_ASSERT_EQUAL(d.r->seen[EV_EXIT], d.r->seen[EV_ENTRY]);
	domain_destroy(&d);
}
static void test_bounces(void) { bounces(32); bounces(64); }

/* Random requests, most of them near the truth. */
static void storm(unsigned width, uint64_t seed)
{
	struct domain d = domain_create(width);
	d.r->vmm.devices = (struct vmm_devices){ .self = &d, .shutdown = shutdown_note };
	unsigned accepted = 0;
	for (unsigned i = 0; i < 6000; i++) {
		uint64_t r = rig_random(&seed), pages = 40, a = 0x20000 + (r % pages << 12), b = 0x20000 + ((r >> 8) % pages << 12), value = mfn(&d, b) << 12 | (r >> 16 & 7);
		int64_t result = 0;
		switch (r >> 24 & 7) {
		case 0: result = update(&d, leaf_of(&d, a), value); break;
		case 1: result = update(&d, leaf_of(&d, a), mfn(&d, a) << 12 | 1 | (r >> 16 & 2)); break;
		case 2: result = update(&d, (mfn(&d, a) << 12) + (r >> 32 & 0xff0), value); break;
		case 3: result = update(&d, d.r->cpu.cr3 + (r >> 32 & 0x7f8), value); break;
		case 4: result = operation(&d, r >> 32 & 1 ? PV_MMUEXT_PIN : PV_MMUEXT_UNPIN, mfn(&d, a)); break;
		case 5: result = operation(&d, PV_MMUEXT_FLUSH, 0); break;
		case 6: result = call(&d, PV_UPDATE_VA, d.kbase + a, value, 0); break;
		default: { /* what the guest may write, it writes: the beginnings of tables */
			uint64_t e = r >> 40 & 1 ? value : 0;
			rig_access(d.r, d.kbase + a + (r >> 32 & 0xff8), ACCESS_WRITE, false, d.bytes, e);
			break;
		}
		}
		accepted += result > 0;
		if (i % 16 == 0 && !inspect(&d)) {
			CU_FAIL("the domain reached what it may not");
			break;
		}
	}
	CU_ASSERT_TRUE(accepted > 100);
	CU_ASSERT_TRUE(inspect(&d));
	CU_ASSERT_FALSE(d.r->vmm.failed);
	CU_ASSERT_EQUAL(d.r->mmu.resource_violations, 0);
	domain_destroy(&d);
}
static void test_storm(void)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		storm(32, seed * 77);
		storm(64, seed * 91);
	}
}

static void test_bad_domains(void)
{
	struct rig *r = malloc(sizeof *r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_PARAVIRT, MEMORY, 0, NULL));
	CU_ASSERT_FALSE(vmm_paravirt_boot(&r->vmm, &(struct pv_boot){ .width = 32, .free_gpa = MEMORY }));
	CU_ASSERT_PTR_NOT_NULL(strstr(r->vmm.error, "machine.memory"));
	rig_destroy(r);
	CU_ASSERT_TRUE_FATAL(rig_create(r, TECHNIQUE_SHADOW, MEMORY, 0, NULL));
	CU_ASSERT_FALSE(vmm_paravirt_boot(&r->vmm, &(struct pv_boot){ .width = 32 }));
	rig_destroy(r);
	free(r);
}

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite s = CU_add_suite("vmm paravirt", NULL, NULL);
	CU_add_test(s, "start of the day", test_boot);
	CU_add_test(s, "refusals", test_refusals);
	CU_add_test(s, "life of a page table", test_table_life);
	CU_add_test(s, "stale translations", test_stale_translation);
	CU_add_test(s, "PV_IRET", test_returns);
	CU_add_test(s, "bounces and events", test_bounces);
	CU_add_test(s, "random hypercalls", test_storm);
	CU_add_test(s, "domains that cannot be", test_bad_domains);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
