/*
 * Proves the walker against an MMU that we did not write: QEMU's, through Unicorn. Random tables (present, R/W, U/S, NX, reserved bits, page size at every level) under random CR0.WP,
 * CR4.SMEP, CR4.SMAP, EFLAGS.AC, and EFER.NXE where the Unicorn at hand has it, for reads, writes and fetches at CPL 0 and CPL 3, in 32-bit, PAE and 4-level paging: the same accesses must fault, with the same CR2;
 * those that pass must leave the same accessed and dirty flags. (Unicorn does not tell error codes; test_tlb_walker has them.)
 */
#include "../tlb/paging.h"
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unicorn/unicorn.h>

enum { MEMORY = 4 << 20, ROOT = 0x10000, CODE_FRAME = 0x30000, DATA_FRAME = 0x34000, LARGE_FRAME = 0x200000 };
enum { CODE = CODE_FRAME /* supervisor */, USER_CODE = 0x32000, DATA = 0xc0604000u };

struct mode { /* a format under test */
	enum paging_format format;
	unsigned levels, index_bits, bytes;
};
static const struct mode modes[] = { { PAGING_32, 2, 10, 4 }, { PAGING_PAE, 2, 9, 8 }, { PAGING_4LEVEL, 4, 9, 8 } };

struct rig {
	const struct mode *mode;
	uc_engine *uc;
	struct phys ours; /* the walker's copy of memory */
	struct paging p;
	uint64_t next, data_gva;
	uint64_t entry_at[5];
	unsigned leaf;
	bool paging_on;
	int vector;       /* that the access raised; -1: none */
	uint64_t seed;
};

static uint64_t draw(struct rig *r)
{
	r->seed ^= r->seed << 13, r->seed ^= r->seed >> 7, r->seed ^= r->seed << 17;
	return r->seed >> 11;
}

static void on_interrupt(uc_engine *uc, uint32_t vector, void *self)
{
	struct rig *r = self;
	r->vector = (int)vector;
	uc_emu_stop(uc);
}

static uint64_t entry_get(const struct rig *r, uint64_t at) { return r->mode->bytes == 4 ? phys_read32(&r->ours, at) : phys_read64(&r->ours, at); }
static void entry_put(struct rig *r, uint64_t at, uint64_t e)
{
	if (r->mode->bytes == 4)
		phys_write32(&r->ours, at, (uint32_t)e);
	else
		phys_write64(&r->ours, at, e);
}

static uint64_t data_base(const struct mode *mode) { return (mode->format == PAGING_4LEVEL ? 0x7f8000000000ull : 0) + (DATA & ~0x3fffffull); }
static uint64_t table_take(struct rig *r) { r->next += 4096; return r->next - 4096; }

/* Where the entry of `level` is; tables above are made with all rights. */
static uint64_t entry_place(struct rig *r, uint64_t gva, unsigned to)
{
	uint64_t table = r->p.root;
	if (r->mode->format == PAGING_PAE)
		table = phys_read64(&r->ours, r->p.root + (gva >> 30 & 3) * 8) & ~0xfffull;
	for (unsigned level = r->mode->levels;; level--) {
		uint64_t at = table + (gva >> (12 + (level - 1) * r->mode->index_bits) & ((1u << r->mode->index_bits) - 1)) * r->mode->bytes;
		if (level == to)
			return at;
		if (!(entry_get(r, at) & 1))
			entry_put(r, at, table_take(r) | 7);
		table = entry_get(r, at) & 0xfffff000;
	}
}

static const uint8_t code[] = {
	0x8a, 0x03,             /* 00 read:  mov al, [(r)bx] */
	0x88, 0x03,             /* 02 write: mov [(r)bx], al */
	0xff, 0xe3,             /* 04 fetch: jmp (r)bx */
	0x48, 0xcf, 0x90,       /* 06 to CPL 3, 64-bit: iretq */
	0x0f, 0x35,             /* 09 to CPL 3, 32-bit: sysexit */
	0x0f, 0x30,             /* 0b wrmsr */
	0x0f, 0x22, 0xc0,       /* 0d mov cr0, (r)ax */
	0x0f, 0x22, 0xd8,       /* 10 mov cr3, (r)ax */
	0x0f, 0x22, 0xe0,       /* 13 mov cr4, (r)ax */
	0x0f, 0x32,             /* 16 rdmsr */
};
enum { GDT = CODE + 0x800, FRAME = CODE + 0xc00, USER_CS = 0x1b, USER_SS = 0x23 };
static const uint64_t gdt[5] = { 0, 0, 0, 0x00affb000000ffffull, 0x00cff3000000ffffull }; /* flat, DPL 3: 64-bit code, data */

static void reg_put(struct rig *r, int reg, uint64_t value) { uc_reg_write(r->uc, reg, &value); }

/* A general register: Unicorn knows them by the name of their width. */
static void general_put(struct rig *r, int reg32, int reg64, uint64_t value) { reg_put(r, r->mode->format == PAGING_4LEVEL ? reg64 : reg32, value); }

/* Control registers and MSRs are written by guest instructions: what Unicorn's own register writes do beside (flushes, masks) differs by version. */
static void control_run(struct rig *r, unsigned at, uint64_t eax)
{
	general_put(r, UC_X86_REG_EAX, UC_X86_REG_RAX, eax);
	uc_emu_start(r->uc, CODE + at, 0, 0, 1);
}

static void msr_run(struct rig *r, uint32_t number, uint64_t value)
{
	general_put(r, UC_X86_REG_ECX, UC_X86_REG_RCX, number);
	general_put(r, UC_X86_REG_EDX, UC_X86_REG_RDX, value >> 32);
	control_run(r, 0x0b, value & 0xffffffff);
}

static uint64_t msr_read(struct rig *r, uint32_t number)
{
	uint64_t eax = 0;
	general_put(r, UC_X86_REG_ECX, UC_X86_REG_RCX, number);
	control_run(r, 0x16, 0);
	uc_reg_read(r->uc, r->mode->format == PAGING_4LEVEL ? UC_X86_REG_RAX : UC_X86_REG_EAX, &eax);
	return eax & 0xffffffff;
}

/* Tables for code and a random chain for DATA, the same in both memories. */
static void tables_draw(struct rig *r)
{
	memset(r->ours.bytes, 0, MEMORY);
	r->next = ROOT;
	r->p.root = table_take(r);
	if (r->mode->format == PAGING_PAE)
		for (unsigned i = 0; i < 4; i++)
			phys_write64(&r->ours, r->p.root + 8 * i, (r->p.pdpte[i] = table_take(r) | 1));
	entry_put(r, entry_place(r, CODE, 1), CODE_FRAME | 3);
	entry_put(r, entry_place(r, USER_CODE, 1), USER_CODE | 7);
	memcpy(r->ours.bytes + CODE_FRAME, code, sizeof code);
	memcpy(r->ours.bytes + USER_CODE, code, sizeof code);
	memcpy(r->ours.bytes + GDT, gdt, sizeof gdt);
	memset(r->ours.bytes + DATA_FRAME, 0x90, 4096); /* nop: what a fetch finds */
	memset(r->ours.bytes + LARGE_FRAME, 0x90, 2 << 20);
	r->data_gva = data_base(r->mode) + (DATA & 0x3fffff) + (draw(r) & 0x7f8); /* far from the end of its page: the fetch must not look into the next */
	r->leaf = draw(r) % 4 ? 1 : 2;
	for (unsigned level = r->mode->levels; level >= r->leaf; level--) {
		uint64_t at = entry_place(r, r->data_gva, level), e = level > r->leaf ? table_take(r) : r->leaf == 2 ? (r->mode->bytes == 4 ? 0 : LARGE_FRAME) | 0x80 : DATA_FRAME, odd = draw(r);
		e |= 7 | (draw(r) & 0x60 & (level == r->leaf ? 0x60 : 0x20));
		e ^= (odd & 7 ? 0 : 2) | (odd & 0x38 ? 0 : 4) | (odd & 0x3c0 ? 0 : 1) | (r->mode->bytes == 8 && !(odd & 0x1c00) ? 1ull << 63 : 0);
		if (r->mode->bytes == 8 && !(odd & 0xf0000))
			e |= 1ull << (13 + draw(r) % 36); /* somewhere among address and reserved bits */
		r->entry_at[level] = at;
		entry_put(r, at, e);
	}
	uc_mem_write(r->uc, 0, r->ours.bytes, MEMORY);
}

static bool rig_create(struct rig *r, const struct mode *mode)
{
	uc_hook hook;
	*r = (struct rig){ .mode = mode, .seed = 88172645463325252ull };
	if (uc_open(UC_ARCH_X86, mode->format == PAGING_4LEVEL ? UC_MODE_64 : UC_MODE_32, &r->uc) != UC_ERR_OK || !phys_create(&r->ours, MEMORY))
		return false;
	uc_ctl_set_cpu_model(r->uc, UC_CPU_X86_SKYLAKE_CLIENT); /* has SMEP, SMAP and NX */
	uc_mem_map(r->uc, 0, MEMORY, UC_PROT_ALL);
	/* Unicorn 2.0 asks whether memory is mapped by virtual address, then uses the physical one: so there must be something, and code must lie where it is mapped. */
	uc_mem_map(r->uc, data_base(mode), 4 << 20, UC_PROT_ALL);
	memset(r->ours.bytes, 0x90, MEMORY); /* it fetches from there, too, once translation has allowed it: let it find nops */
	uc_mem_write(r->uc, data_base(mode), r->ours.bytes, MEMORY);
	uc_hook_add(r->uc, &hook, UC_HOOK_INTR, (void *)(uintptr_t)on_interrupt, r, 1, 0);
	return true;
}

/* Control registers of this case, in Unicorn and in the walker's paging. */
static void controls_draw(struct rig *r, bool ac)
{
	uint64_t bits = draw(r), smep = bits & 1, smap = bits >> 1 & 1, wp = bits >> 2 & 1, nxe = r->mode->bytes == 8 ? bits >> 3 & 1 : 0;
	bool pae = r->mode->format != PAGING_32, long_mode = r->mode->format == PAGING_4LEVEL;
	r->p.format = r->mode->format;
	r->p.smep = smep, r->p.smap = smap, r->p.wp = wp, r->p.pse = true;
	r->p.phys_bits = 40; /* what Unicorn's processors have (TCG_PHYS_ADDR_BITS) */
	msr_run(r, 0xc0000080, (long_mode ? 0x501 : 1) | nxe << 11);
	nxe = msr_read(r, 0xc0000080) >> 11 & 1; /* Unicorn 2.0's processors have no NX */
	msr_run(r, 0x174, 8); /* SYSENTER_CS */
	if (!r->paging_on || !long_mode)
		control_run(r, 0x0d, 1); /* PG off, so that CR4.PAE may change */
	control_run(r, 0x10, r->p.root);
	control_run(r, 0x13, 0x10 | (pae ? 0x20 : 0) | smep << 20 | smap << 21);
	control_run(r, 0x0d, 0x80000001 | wp << 16);
	control_run(r, 0x10, r->p.root);
	r->paging_on = true;
	r->p.nxe = nxe;
	reg_put(r, UC_X86_REG_EFLAGS, 2 | (ac ? 0x40000 : 0));
}

/* Makes the access in Unicorn. */
static void access_run(struct rig *r, enum access access, bool user, bool ac)
{
	uint64_t at = access * 2, flags = 2 | (ac ? 0x40000 : 0);
	bool wide = r->mode->format == PAGING_4LEVEL;
	general_put(r, UC_X86_REG_EBX, UC_X86_REG_RBX, r->data_gva);
	general_put(r, UC_X86_REG_EAX, UC_X86_REG_RAX, 0x90);
	general_put(r, UC_X86_REG_ECX, UC_X86_REG_RCX, wide ? USER_CODE + at : 0x1000);
	general_put(r, UC_X86_REG_EDX, UC_X86_REG_RDX, USER_CODE + at);
	if (wide) {
		const uint64_t frame[5] = { USER_CODE + at, USER_CS, flags, 0x1000, USER_SS };
		uc_mem_write(r->uc, FRAME, frame, sizeof frame);
		uc_reg_write(r->uc, UC_X86_REG_GDTR, &(uc_x86_mmr){ .base = GDT, .limit = sizeof gdt - 1 });
		reg_put(r, UC_X86_REG_RSP, FRAME);
	}
	r->vector = -1;
	uc_emu_start(r->uc, user ? CODE + (wide ? 6 : 9) : CODE + at, 0, 0, (user ? 1 : 0) + (access == ACCESS_EXEC ? 2 : 1));
}

static unsigned flags_differ(struct rig *r)
{
	unsigned differ = 0;
	for (unsigned level = r->leaf; level <= r->mode->levels; level++) {
		uint64_t theirs = 0;
		uc_mem_read(r->uc, r->entry_at[level], &theirs, r->mode->bytes);
		differ += theirs != entry_get(r, r->entry_at[level]);
	}
	return differ;
}

static void mode_compare(const struct mode *mode)
{
	struct rig *r = calloc(1, sizeof *r);
	unsigned wrong = 0, passed = 0, faulted = 0, cases = 3000;
	CU_ASSERT_TRUE_FATAL(rig_create(r, mode));
	for (unsigned i = 0; i < cases; i++) {
		enum access access = draw(r) % 3;
		bool user = draw(r) & 1, ac = draw(r) & 1;
		struct walk w;
		uc_context *fresh = NULL;
		uc_context_alloc(r->uc, &fresh);
		uc_context_save(r->uc, fresh);
		tables_draw(r);
		controls_draw(r, ac);
		access_run(r, access, user, ac);
		bool ok = paging_walk(&r->p, &(struct walk_memory){ .phys = &r->ours }, r->data_gva, (struct walk_request){ access, user, ac && !user, true }, &w);
		uint64_t cr2 = 0;
		uc_reg_read(r->uc, UC_X86_REG_CR2, &cr2);
		bool differ = ok != (r->vector == -1) || (!ok && (r->vector != 14 || cr2 != r->data_gva)) || (ok && flags_differ(r));
		if (differ && wrong++ < 5)
			printf("\n  %s: case %u access %d user %d ac %d wp %d nxe %d smep %d smap %d: ours %d/%x, Unicorn vector %d cr2 %llx\n", paging_format_name(mode->format), i, access, user, ac,
			       r->p.wp, r->p.nxe, r->p.smep, r->p.smap, w.status, w.error, r->vector, (unsigned long long)cr2);
		passed += ok, faulted += !ok;
		uc_context_restore(r->uc, fresh);
		uc_context_free(fresh);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(passed > cases / 10 && faulted > cases / 10);
	printf(" %u passed, %u faulted, %u differ ", passed, faulted, wrong);
	uc_close(r->uc);
	phys_destroy(&r->ours);
	free(r);
}

static void test_32(void) { mode_compare(&modes[0]); }
static void test_pae(void) { mode_compare(&modes[1]); }
static void test_4level(void) { mode_compare(&modes[2]); }

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("walker against Unicorn", NULL, NULL);
	CU_add_test(s, "32-bit", test_32);
	CU_add_test(s, "PAE", test_pae);
	CU_add_test(s, "4-level", test_4level);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
