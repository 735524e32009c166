/*
 * Proves that the one walker does what the manuals say, for every format: which bits are reserved (the figures of SDM 3A 4.3-4.5 and 3C 28.2, transcribed below as drawings and
 * tried bit by bit), what is permitted (the sentences of SDM 3A 4.6.1 as a second program, against all combinations), error codes, accessed and dirty flags, two-dimensional walks
 * (a second program that takes the steps of SDM 3C 28.2 one by one over an abstract description), and the closed forms of reference counts.
 */
#include "../tlb/paging.h"
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMORY = 4 << 20, M = 40 /* MAXPHYADDR in most tests */ };

static struct phys phys;
static struct walk_memory memory = { .phys = &phys };
static uint64_t next_page;

static uint64_t page_take(void)
{
	uint64_t at = next_page;
	next_page += 4096;
	memset(phys.bytes + at, 0, 4096);
	return at;
}

static int suite_start(void) { return !phys_create(&phys, MEMORY); }
static int suite_end(void) { phys_destroy(&phys); return 0; }

static uint64_t seed = 88172645463325252ull;
static uint64_t draw(void) { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; return seed >> 11; }

/* ---------------------------------------------------------------- a chain of tables for one address */

#define GVA 0x0000004080604abcull /* a different index at each level; below 2^39 + ..., so 32-bit formats use its low part */
#define GVA32 0x80604abcull

struct chain { /* the entries that translate one address, top first is level `levels` */
	struct paging p;
	uint64_t gva;
	unsigned levels, leaf;
	uint64_t entry_at[6]; /* by level: where the entry is */
};

static const uint8_t index_bits[PAGING_FORMATS] = { [PAGING_32] = 10, [PAGING_PAE] = 9, [PAGING_4LEVEL] = 9, [PAGING_5LEVEL] = 9, [PAGING_EPT] = 9, [PAGING_EPT5] = 9, [PAGING_NPT] = 9, [PAGING_NPT5] = 9 };

static unsigned bytes_of(const struct chain *c) { return c->p.format == PAGING_32 ? 4 : 8; }

static uint64_t entry_get(const struct chain *c, unsigned level)
{
	return bytes_of(c) == 4 ? phys_read32(&phys, c->entry_at[level]) : phys_read64(&phys, c->entry_at[level]);
}

static void entry_put(const struct chain *c, unsigned level, uint64_t e)
{
	if (bytes_of(c) == 4)
		phys_write32(&phys, c->entry_at[level], (uint32_t)e);
	else
		phys_write64(&phys, c->entry_at[level], e);
}

/* Tables with all rights, down to a leaf at level `leaf` that maps frame 0x200000 (or a large page there). */
static struct chain chain_make(enum paging_format format, unsigned levels, unsigned leaf)
{
	struct chain c = { .levels = levels, .leaf = leaf, .gva = format == PAGING_32 || format == PAGING_PAE ? GVA32 : GVA };
	bool ept = format == PAGING_EPT || format == PAGING_EPT5;
	uint64_t table;
	next_page = 0x10000;
	c.p = (struct paging){ .format = format, .wp = true, .nxe = true, .pse = true, .pge = true, .phys_bits = M };
	table = c.p.root = page_take();
	if (format == PAGING_PAE) {
		c.p.pdpte[c.gva >> 30 & 3] = table | 1;
		c.p.root = 0x3000;
	}
	for (unsigned level = levels; level >= leaf; level--) {
		unsigned bits = index_bits[format], shift = 12 + (level - 1) * bits;
		c.entry_at[level] = table + (c.gva >> shift & ((1u << bits) - 1)) * bytes_of(&c);
		table = level == leaf ? (level == 3 ? 0 : leaf == 2 && format == PAGING_32 ? 0x400000 : 0x200000) : page_take();
		uint64_t e = table | 7;
		if (level == leaf && level > 1)
			e |= 0x80;
		if (level == leaf && ept)
			e |= 6 << 3; /* write-back */
		entry_put(&c, level, e);
	}
	return c;
}

static struct walk_request request(enum access access, bool user) { return (struct walk_request){ .access = access, .user = user }; }

/* ---------------------------------------------------------------- closed forms */

struct host_map { struct paging p; };

/* Adds one translation to an 8-byte table structure, with leaf bits `bits` at level `leaf`. */
static uint64_t host_map(struct paging *p, unsigned levels, uint64_t gpa, uint64_t hpa, uint64_t bits, unsigned leaf)
{
	uint64_t table = p->root, at = 0;
	for (unsigned level = levels; level >= leaf; level--) {
		at = table + (gpa >> (12 + 9 * (level - 1)) & 511) * 8;
		uint64_t e = phys_read64(&phys, at);
		if (level == leaf)
			phys_write64(&phys, at, hpa | bits | (level > 1 ? 0x80 : 0));
		else if (!e)
			phys_write64(&phys, at, (e = page_take() | 7));
		table = e & 0x000ffffffffff000ull;
	}
	return at;
}

static unsigned references(enum paging_format guest, unsigned guest_levels, unsigned guest_leaf, enum paging_format host, unsigned host_levels, unsigned host_leaf)
{
	struct chain c = chain_make(guest, guest_levels, guest_leaf);
	struct paging h = { .format = host, .phys_bits = M, .root = page_take() };
	uint64_t type = host == PAGING_EPT || host == PAGING_EPT5 ? 7 | 6 << 3 : 7;
	struct walk w;
	if (host != PAGING_IDENTITY) {
		if (host_leaf == 2)
			for (uint64_t at = 0; at < MEMORY; at += 2 << 20)
				host_map(&h, host_levels, at, at, type, 2);
		else
			for (uint64_t at = 0; at < MEMORY; at += 4096)
				host_map(&h, host_levels, at, at, type, 1);
		c.p.space = &h;
	}
	bool good = paging_walk(&c.p, &memory, c.gva, request(ACCESS_READ, true), &w);
	CU_ASSERT_TRUE(good);
	CU_ASSERT_EQUAL(w.hpa, 0x200000 + (c.gva & (guest_leaf == 2 ? 0x1fffff : 0xfff)));
	return good ? w.refs : 0;
}

static void test_closed_forms(void)
{
	CU_ASSERT_EQUAL(references(PAGING_4LEVEL, 4, 1, PAGING_IDENTITY, 0, 1), 4);
	CU_ASSERT_EQUAL(references(PAGING_5LEVEL, 5, 1, PAGING_IDENTITY, 0, 1), 5);
	CU_ASSERT_EQUAL(references(PAGING_4LEVEL, 4, 1, PAGING_EPT, 4, 1), 24);
	CU_ASSERT_EQUAL(references(PAGING_4LEVEL, 4, 1, PAGING_EPT5, 5, 1), 29);
	CU_ASSERT_EQUAL(references(PAGING_5LEVEL, 5, 1, PAGING_EPT, 4, 1), 29);
	CU_ASSERT_EQUAL(references(PAGING_5LEVEL, 5, 1, PAGING_EPT5, 5, 1), 35);
	CU_ASSERT_EQUAL(references(PAGING_4LEVEL, 4, 1, PAGING_NPT, 4, 1), 24);
	CU_ASSERT_EQUAL(references(PAGING_5LEVEL, 5, 1, PAGING_NPT5, 5, 1), 35);
	CU_ASSERT_EQUAL(references(PAGING_4LEVEL, 4, 2, PAGING_EPT, 4, 1), 19);
	CU_ASSERT_EQUAL(references(PAGING_4LEVEL, 4, 1, PAGING_EPT, 4, 2), 19);
	CU_ASSERT_EQUAL(references(PAGING_4LEVEL, 4, 2, PAGING_EPT, 4, 2), 15);
	CU_ASSERT_EQUAL(references(PAGING_PAE, 2, 1, PAGING_EPT, 4, 1), 14);
	CU_ASSERT_EQUAL(references(PAGING_32, 2, 1, PAGING_EPT, 4, 1), 14);
}

static void test_linear_and_identity(void)
{
	struct paging linear = { .format = PAGING_LINEAR, .root = 0x5000, .linear_entries = 4 };
	struct paging off = { .format = PAGING_IDENTITY, .space = &linear };
	struct walk w;
	memset(phys.bytes + 0x5000, 0, 64);
	phys_write64(&phys, 0x5000 + 16, 0x77000 | 1);
	phys_write64(&phys, 0x5000 + 24, 0x78000 | 3);
	phys_write64(&phys, 0x5000 + 32, 0x79000 | 3); /* beyond linear_entries */
	CU_ASSERT_TRUE(paging_walk(&off, &memory, 0x2345, request(ACCESS_READ, false), &w));
	CU_ASSERT_EQUAL(w.hpa, 0x77345);
	CU_ASSERT_EQUAL(w.gpa, 0x2345);
	CU_ASSERT_EQUAL(w.refs, 1);
	CU_ASSERT_FALSE(w.writable);
	CU_ASSERT_FALSE(paging_walk(&off, &memory, 0x2345, request(ACCESS_WRITE, false), &w));
	CU_ASSERT_EQUAL(w.status, WALK_PROTECTION);
	CU_ASSERT_EQUAL(w.fault_dimension, WALK_HOST);
	CU_ASSERT_TRUE(paging_walk(&off, &memory, 0x3000, request(ACCESS_WRITE, false), &w));
	CU_ASSERT_FALSE(paging_walk(&off, &memory, 0x1000, request(ACCESS_READ, false), &w));
	CU_ASSERT_FALSE(paging_walk(&off, &memory, 0x4000, request(ACCESS_READ, false), &w));
	CU_ASSERT_EQUAL(w.fault_gpa, 0x4000);
	off.space = NULL;
	CU_ASSERT_TRUE(paging_walk(&off, &memory, 0x123456, request(ACCESS_WRITE, false), &w));
	CU_ASSERT_EQUAL(w.hpa, 0x123456);
	CU_ASSERT_EQUAL(w.refs, 0);
}

/* ---------------------------------------------------------------- reserved bits, from the figures */

/*
 * From bit 63 (or 31) down, letter and number of bits: X execute-disable, i ignored or free (setting it changes nothing here), R reserved, A address, S page size (left alone),
 * T memory type (tested apart), p u w rights (left alone), d a dirty and accessed, g global. MAXPHYADDR as given.
 */
static const struct drawing { enum paging_format format; unsigned levels, leaf, level, maxphyaddr; const char *figure; } drawings[] = {
	{ PAGING_5LEVEL, 5, 1, 5, 40, "X1 i11 R12 A28 i4 R1 i1 a1 i2 u1 w1 p1" },           /* PML5E */
	{ PAGING_4LEVEL, 4, 1, 4, 40, "X1 i11 R12 A28 i4 R1 i1 a1 i2 u1 w1 p1" },           /* PML4E */
	{ PAGING_4LEVEL, 4, 1, 4, 52, "X1 i11 A40 i4 R1 i1 a1 i2 u1 w1 p1" },
	{ PAGING_4LEVEL, 4, 1, 3, 40, "X1 i11 R12 A28 i4 S1 i1 a1 i2 u1 w1 p1" },           /* PDPTE: table */
	{ PAGING_4LEVEL, 4, 3, 3, 40, "X1 i11 R12 A10 R17 i1 i3 g1 S1 d1 a1 i2 u1 w1 p1" }, /* 1 GiB */
	{ PAGING_4LEVEL, 4, 1, 2, 40, "X1 i11 R12 A28 i4 S1 i1 a1 i2 u1 w1 p1" },           /* PDE: table */
	{ PAGING_4LEVEL, 4, 2, 2, 40, "X1 i11 R12 A19 R8 i1 i3 g1 S1 d1 a1 i2 u1 w1 p1" },  /* 2 MiB */
	{ PAGING_4LEVEL, 4, 1, 1, 40, "X1 i11 R12 A28 i3 g1 i1 d1 a1 i2 u1 w1 p1" },        /* PTE */
	{ PAGING_4LEVEL, 4, 1, 1, 36, "X1 i11 R16 A24 i3 g1 i1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_5LEVEL, 5, 2, 2, 40, "X1 i11 R12 A19 R8 i1 i3 g1 S1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_PAE, 2, 1, 2, 40, "X1 R23 A28 i4 S1 i1 a1 i2 u1 w1 p1" },
	{ PAGING_PAE, 2, 2, 2, 40, "X1 R23 A19 R8 i1 i3 g1 S1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_PAE, 2, 1, 1, 40, "X1 R23 A28 i3 g1 i1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_PAE, 2, 1, 1, 36, "X1 R27 A24 i3 g1 i1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_32, 2, 1, 2, 40, "A20 i4 S1 i1 a1 i2 u1 w1 p1" },
	{ PAGING_32, 2, 2, 2, 40, "A10 R1 A8 i1 i3 g1 S1 d1 a1 i2 u1 w1 p1" },              /* PSE-36 with 40 bits */
	{ PAGING_32, 2, 2, 2, 52, "A10 R1 A8 i1 i3 g1 S1 d1 a1 i2 u1 w1 p1" },              /* never more than 40 */
	{ PAGING_32, 2, 2, 2, 36, "A10 R5 A4 i1 i3 g1 S1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_32, 2, 2, 2, 32, "A10 R9 i1 i3 g1 S1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_32, 2, 1, 1, 40, "A20 i3 g1 i1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_EPT5, 5, 1, 5, 40, "i12 R12 A28 i4 R5 p3" },
	{ PAGING_EPT, 4, 1, 4, 40, "i12 R12 A28 i4 R5 p3" },
	{ PAGING_EPT, 4, 1, 3, 40, "i12 R12 A28 i4 S1 R4 p3" },
	{ PAGING_EPT, 4, 3, 3, 40, "i12 R12 A10 R18 i2 d1 a1 S1 i1 T3 p3" },
	{ PAGING_EPT, 4, 1, 2, 40, "i12 R12 A28 i4 S1 R4 p3" },
	{ PAGING_EPT, 4, 2, 2, 40, "i12 R12 A19 R9 i2 d1 a1 S1 i1 T3 p3" },
	{ PAGING_EPT, 4, 1, 1, 40, "i12 R12 A28 i2 d1 a1 i1 i1 T3 p3" },
	{ PAGING_NPT, 4, 1, 4, 40, "X1 i11 R12 A28 i4 R1 i1 a1 i2 u1 w1 p1" },
	{ PAGING_NPT, 4, 2, 2, 40, "X1 i11 R12 A19 R8 i1 i3 g1 S1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_NPT, 4, 1, 1, 40, "X1 i11 R12 A28 i3 g1 i1 d1 a1 i2 u1 w1 p1" },
	{ PAGING_NPT5, 5, 1, 5, 40, "X1 i11 R12 A28 i4 R1 i1 a1 i2 u1 w1 p1" },
};

static char letter_of(const char *figure, unsigned top, unsigned bit)
{
	unsigned at = top;
	for (const char *s = figure; *s;) {
		char letter = *s++, *end;
		unsigned n = (unsigned)strtoul(s, &end, 10);
		if (bit <= at && bit + n > at)
			return letter;
		at -= n;
		s = *end ? end + 1 : end;
	}
	return '?';
}

/* EPT and NPT translate for a guest without paging. */
static bool walk_chain(struct chain *c, struct walk_request rq, struct walk *w)
{
	struct paging off = { .format = PAGING_IDENTITY, .space = &c->p };
	return c->p.format < PAGING_EPT ? paging_walk(&c->p, &memory, c->gva, rq, w) : paging_walk(&off, &memory, c->gva, rq, w);
}

static void drawing_try(const struct drawing *d, unsigned bit, bool nxe)
{
	struct chain c = chain_make(d->format, d->levels, d->leaf);
	char letter = letter_of(d->figure, bytes_of(&c) * 8 - 1, bit);
	struct walk before, after;
	c.p.phys_bits = (uint8_t)d->maxphyaddr;
	c.p.nxe = nxe;
	bool ok = walk_chain(&c, request(ACCESS_READ, true), &before);
	CU_ASSERT_TRUE(ok);
	entry_put(&c, d->level, entry_get(&c, d->level) ^ 1ull << bit);
	ok = walk_chain(&c, request(ACCESS_READ, true), &after);
	bool reserved = letter == 'R' || (letter == 'X' && !nxe), free_bit = strchr("iXdag", letter) && !reserved;
	CU_ASSERT_NOT_EQUAL(letter, '?');
	if (reserved) {
		CU_ASSERT_EQUAL(after.status, WALK_RESERVED);
		CU_ASSERT_EQUAL(after.fault_level, d->level);
		if (d->format < PAGING_EPT)
			CU_ASSERT_EQUAL(after.error, 1 | 4 | 8);
	}
	if (free_bit)
		CU_ASSERT(ok && after.hpa == before.hpa && after.page_shift == before.page_shift && after.refs == before.refs);
	if (letter == 'A' && d->level == d->leaf)
		CU_ASSERT(ok && after.hpa != before.hpa);
	if ((reserved && after.status != WALK_RESERVED) || (free_bit && !ok))
		printf("\n  %s level %u leaf %u bit %u '%c' nxe %d: status %d\n", paging_format_name(d->format), d->level, d->leaf, bit, letter, nxe, after.status);
}

static void test_reserved_bits(void)
{
	for (size_t i = 0; i < sizeof drawings / sizeof *drawings; i++)
		for (unsigned bit = 0; bit < (drawings[i].format == PAGING_32 ? 32 : 64); bit++)
			for (unsigned nxe = 0; nxe < 2; nxe++)
				drawing_try(&drawings[i], bit, nxe);
}

static void test_pae_pdptes(void)
{
	for (unsigned bit = 1; bit < 64; bit++) { /* SDM 3A table 4-8: 2:1, 8:5 and 63:MAXPHYADDR are reserved */
		struct chain c = chain_make(PAGING_PAE, 2, 1);
		struct walk w;
		bool reserved = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= M;
		uint64_t *pdpte = &c.p.pdpte[GVA32 >> 30];
		*pdpte |= 1ull << bit;
		paging_walk(&c.p, &memory, c.gva, request(ACCESS_READ, true), &w);
		CU_ASSERT_EQUAL(w.status == WALK_RESERVED && w.fault_level == 3, reserved);
		phys_write64(&phys, c.p.root, 0);
		phys_write64(&phys, c.p.root + 8 * (GVA32 >> 30), *pdpte);
		CU_ASSERT_EQUAL(paging_pdptes_load(&c.p, &memory), !reserved);
	}
	struct chain c = chain_make(PAGING_PAE, 2, 1);
	struct walk w;
	c.p.pdpte[GVA32 >> 30] = 0;
	CU_ASSERT_FALSE(paging_walk(&c.p, &memory, c.gva, request(ACCESS_WRITE, true), &w));
	CU_ASSERT_EQUAL(w.error, 2 | 4);
	CU_ASSERT_EQUAL(w.refs, 0);
}

static void test_ept_leaf_types(void)
{
	for (unsigned type = 0; type < 8; type++) {
		struct chain c = chain_make(PAGING_EPT, 4, 1);
		struct walk w;
		bool valid = type != 2 && type != 3 && type != 7; /* UC, WC, WT, WP, WB */
		entry_put(&c, 1, (entry_get(&c, 1) & ~0x38ull) | type << 3);
		walk_chain(&c, request(ACCESS_READ, false), &w);
		CU_ASSERT_EQUAL(w.status, valid ? WALK_OK : WALK_RESERVED);
		CU_ASSERT(valid || w.fault_dimension == WALK_HOST);
	}
}

/* SDM 3C 28.2.2: EPT translates addresses of 48 bits, with five levels 57; wider ones are violations, and no table is read. */
static void test_ept_width(void)
{
	static const struct { enum paging_format format; unsigned levels, bits; } rows[] = { { PAGING_EPT, 4, 48 }, { PAGING_EPT5, 5, 57 } };
	for (unsigned i = 0; i < 2; i++) {
		struct chain c = chain_make(rows[i].format, rows[i].levels, 1);
		const struct paging off = { .format = PAGING_IDENTITY, .space = &c.p };
		struct walk w;
		CU_ASSERT_TRUE(paging_walk(&off, &memory, c.gva, request(ACCESS_READ, false), &w));
		CU_ASSERT_EQUAL(w.refs, rows[i].levels);
		CU_ASSERT_FALSE(paging_walk(&off, &memory, c.gva | 1ull << rows[i].bits, request(ACCESS_READ, false), &w));
		CU_ASSERT_EQUAL(w.status, WALK_NOT_PRESENT);
		CU_ASSERT_EQUAL(w.fault_dimension, WALK_HOST);
		CU_ASSERT_EQUAL(w.fault_gpa, c.gva | 1ull << rows[i].bits);
		CU_ASSERT_EQUAL(w.refs, 0);
	}
}

static void test_pse_off(void)
{
	struct chain c = chain_make(PAGING_32, 2, 1);
	struct walk w;
	c.p.pse = false;
	entry_put(&c, 2, entry_get(&c, 2) | 0x80); /* ignored without CR4.PSE */
	CU_ASSERT_TRUE(paging_walk(&c.p, &memory, c.gva, request(ACCESS_READ, true), &w));
	CU_ASSERT_EQUAL(w.page_shift, 12);
	c = chain_make(PAGING_32, 2, 2);
	entry_put(&c, 2, entry_get(&c, 2) | 0x5a << 13); /* PSE-36: address bits 39:32 */
	CU_ASSERT_TRUE(paging_walk(&c.p, &memory, c.gva, request(ACCESS_READ, true), &w));
	CU_ASSERT_EQUAL(w.hpa, 0x5a00400000ull + (GVA32 & 0x3fffff));
	CU_ASSERT_EQUAL(w.page_shift, 22);
	c = chain_make(PAGING_4LEVEL, 4, 3);
	CU_ASSERT_TRUE(paging_walk(&c.p, &memory, c.gva, request(ACCESS_READ, true), &w));
	CU_ASSERT_EQUAL(w.page_shift, 30);
	c.p.no_gbyte = true;
	CU_ASSERT_FALSE(paging_walk(&c.p, &memory, c.gva, request(ACCESS_READ, true), &w));
	CU_ASSERT_EQUAL(w.status, WALK_RESERVED);
}

/* ---------------------------------------------------------------- permissions: SDM 3A 4.6.1, sentence by sentence */

struct rights { bool all_rw, all_us, any_nx; };

static bool sdm_allows(const struct paging *p, struct rights r, struct walk_request rq)
{
	bool user_address = r.all_us;
	bool nx_in_force = p->nxe && p->format != PAGING_32;
	if (!rq.user && rq.access == ACCESS_READ) { /* "For supervisor-mode accesses: Data may be read ..." */
		if (!user_address)
			return true;
		if (!p->smap)
			return true;
		return rq.ac_override;
	}
	if (!rq.user && rq.access == ACCESS_WRITE) {
		if (p->wp && !r.all_rw)
			return false;
		if (user_address && p->smap && !rq.ac_override)
			return false;
		return true;
	}
	if (!rq.user) {
		if (user_address && p->smep)
			return false;
		return !(nx_in_force && r.any_nx);
	}
	if (!user_address)
		return false;
	if (rq.access == ACCESS_WRITE)
		return r.all_rw;
	if (rq.access == ACCESS_EXEC)
		return !(nx_in_force && r.any_nx);
	return true;
}

static uint32_t sdm_error(const struct paging *p, struct walk_request rq, bool present)
{
	uint32_t e = 0;
	if (present)
		e += 1;
	if (rq.access == ACCESS_WRITE)
		e += 2;
	if (rq.user)
		e += 4;
	if (rq.access == ACCESS_EXEC && ((p->format != PAGING_32 && p->nxe) || p->smep))
		e += 16;
	return e;
}

/* What must have become of the A and D bits of the chain. */
static bool flags_right(const struct chain *c, const uint64_t *before, bool succeeded, enum access access, bool set)
{
	for (unsigned level = c->leaf; level <= c->levels; level++) {
		uint64_t want = before[level];
		if (succeeded && set)
			want |= 0x20 | (level == c->leaf && access == ACCESS_WRITE ? 0x40 : 0);
		if (entry_get(c, level) != want)
			return false;
	}
	return true;
}

/* Runs one case; returns false when the walker and the manual disagree. */
static bool permission_case(struct chain *c, struct rights r, struct walk_request rq)
{
	uint64_t before[6];
	struct walk w;
	for (unsigned level = c->leaf; level <= c->levels; level++)
		before[level] = entry_get(c, level);
	bool allowed = sdm_allows(&c->p, r, rq);
	bool ok = paging_walk(&c->p, &memory, c->gva, rq, &w);
	if (ok != allowed || !flags_right(c, before, ok, rq.access, rq.set_ad))
		return false;
	if (!ok)
		return w.status == WALK_PROTECTION && w.error == sdm_error(&c->p, rq, true) && w.fault_dimension == WALK_GUEST;
	bool nx = c->p.nxe && c->p.format != PAGING_32 && r.any_nx;
	return w.writable == r.all_rw && w.user == r.all_us && w.executable == !nx && w.refs == c->levels - c->leaf + 1;
}

static void restore(const struct chain *c, const uint64_t *entry)
{
	for (unsigned level = c->leaf; level <= c->levels; level++)
		entry_put(c, level, entry[level]);
}

/* All combinations of R/W, U/S and NX at every level, control bits, requester and access. */
static void permissions_of(enum paging_format format, unsigned levels, unsigned leaf)
{
	struct chain c = chain_make(format, levels, leaf);
	unsigned depth = levels - leaf + 1, per = format == PAGING_32 ? 2 : 3, wrong = 0, ran = 0;
	uint64_t good[6], now[6];
	for (unsigned level = leaf; level <= levels; level++)
		good[level] = entry_get(&c, level);
	for (unsigned bits = 0; bits < 1u << depth * per; bits++) {
		struct rights r = { true, true, false };
		for (unsigned i = 0; i < depth; i++) {
			unsigned b = bits >> i * per;
			now[leaf + i] = (good[leaf + i] & ~6ull) | (b & 1 ? 2 : 0) | (b & 2 ? 4 : 0) | (per == 3 && b & 4 ? 1ull << 63 : 0);
			r.all_rw &= b & 1;
			r.all_us &= b >> 1 & 1;
			r.any_nx |= per == 3 && (b & 4);
		}
		for (unsigned control = 0; control < 64; control++) {
			c.p.wp = control & 1, c.p.nxe = control & 2, c.p.smep = control & 4, c.p.smap = control & 8;
			if (!c.p.nxe && r.any_nx)
				continue; /* reserved then */
			for (unsigned who = 0; who < 6; who++) {
				struct walk_request rq = { who % 3, who / 3, control & 16, control & 32 };
				restore(&c, now);
				wrong += !permission_case(&c, r, rq);
				ran++;
			}
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(ran > 1000);
}

static void test_permissions(void)
{
	permissions_of(PAGING_32, 2, 1);
	permissions_of(PAGING_32, 2, 2);
	permissions_of(PAGING_PAE, 2, 1);
	permissions_of(PAGING_PAE, 2, 2);
	permissions_of(PAGING_4LEVEL, 4, 1);
	permissions_of(PAGING_4LEVEL, 4, 2);
	permissions_of(PAGING_4LEVEL, 4, 3);
	permissions_of(PAGING_5LEVEL, 5, 2);
}

static void test_not_present(void)
{
	static const struct { enum paging_format format; unsigned levels; } rows[] = { { PAGING_32, 2 }, { PAGING_PAE, 2 }, { PAGING_4LEVEL, 4 }, { PAGING_5LEVEL, 5 } };
	for (unsigned f = 0; f < 4; f++)
		for (unsigned level = 1; level <= rows[f].levels; level++)
			for (unsigned who = 0; who < 12; who++) {
				struct chain c = chain_make(rows[f].format, rows[f].levels, 1);
				struct walk_request rq = { who % 3, who / 3 & 1, false, true };
				struct walk w;
				uint64_t before[6];
				c.p.smep = who / 6;
				entry_put(&c, level, (c.p.format == PAGING_32 ? 0xfffffffeu : ~1ull)); /* everything but P: reserved bits do not count */
				for (unsigned l = 1; l <= c.levels; l++)
					before[l] = entry_get(&c, l);
				CU_ASSERT_FALSE(paging_walk(&c.p, &memory, c.gva, rq, &w));
				CU_ASSERT_EQUAL(w.status, WALK_NOT_PRESENT);
				CU_ASSERT_EQUAL(w.error, sdm_error(&c.p, rq, false));
				CU_ASSERT_EQUAL(w.fault_level, level);
				CU_ASSERT_EQUAL(w.refs, c.levels - level + 1);
				CU_ASSERT_TRUE(flags_right(&c, before, false, rq.access, true));
			}
}

/* ---------------------------------------------------------------- two dimensions, step by step */

/* The abstract description: five guest pages (tables 4..1, then the data page, numbered 5..1 and 0 below) and what the host says of each. */
enum { DATA = 0 };
struct two_d {
	bool npt, ad;                  /* host: NPT, or EPT with A/D flags */
	uint8_t host[5];               /* rights of the guest-physical page of each guest table (by level) and of DATA: R W X bits */
	bool host_a[5], host_d[5];
	bool guest_rw, guest_us, guest_nx, guest_a[5], guest_d;
	struct walk_request rq;
};
struct verdict { enum walk_status status; unsigned dimension; bool on_table; unsigned page; };

/* Does the host let `access` pass to this page? */
static bool host_lets(const struct two_d *t, unsigned page, bool read, bool write, bool exec)
{
	return (!read || t->host[page] & 1) && (!write || t->host[page] & 2) && (!exec || t->host[page] & 4);
}

static struct verdict two_d_oracle(const struct two_d *t, bool host_a[5], bool host_d[5], bool guest_a[5], bool *guest_d)
{
	bool tables_write = t->npt || t->ad; /* SDM 3C 28.2.5: with A/D flags, guest table references are writes; APM 2 15.25: always */
	struct paging rules = { .format = PAGING_4LEVEL, .wp = true, .nxe = true };
	bool write = t->rq.access == ACCESS_WRITE, changes = false;
	unsigned blocked = 0;
	for (unsigned level = 4; level >= 1; level--)
		if (t->host[level] == 0)
			return (struct verdict){ WALK_NOT_PRESENT, WALK_HOST, true, level };
		else if (!host_lets(t, level, true, tables_write, false))
			return (struct verdict){ WALK_PROTECTION, WALK_HOST, true, level };
	if (!sdm_allows(&rules, (struct rights){ t->guest_rw, t->guest_us, t->guest_nx }, t->rq))
		return (struct verdict){ WALK_PROTECTION, WALK_GUEST, false, 0 };
	if (t->host[DATA] == 0)
		return (struct verdict){ WALK_NOT_PRESENT, WALK_HOST, false, DATA };
	if (!host_lets(t, DATA, t->rq.access == ACCESS_READ, write, t->rq.access == ACCESS_EXEC))
		return (struct verdict){ WALK_PROTECTION, WALK_HOST, false, DATA };
	for (unsigned level = 4; level >= 1; level--) { /* setting a guest flag writes to the table's page */
		changes = !t->guest_a[level] || (level == 1 && write && !t->guest_d);
		if (changes && !(t->host[level] & 2) && !blocked)
			blocked = level;
	}
	if (blocked)
		return (struct verdict){ WALK_PROTECTION, WALK_HOST, true, blocked };
	for (unsigned page = 0; page <= 4; page++) {
		host_a[page] = t->host_a[page] || t->npt || t->ad;
		host_d[page] = t->host_d[page] || ((t->npt || t->ad) && (page != DATA || write));
		guest_a[page] = true;
	}
	*guest_d = t->guest_d || write;
	return (struct verdict){ WALK_OK, 0, false, 0 };
}

/* Host leaf bits for these rights: in EPT R W X; in NPT a missing right is P, R/W or NX. NPT has no page that cannot be read: bit 0 is set in its descriptions. */
static uint64_t host_bits(const struct two_d *t, unsigned page)
{
	uint8_t r = t->host[page];
	uint64_t a = t->host_a[page], d = t->host_d[page];
	if (t->npt)
		return r ? 1 | (r & 2) | 4 | (r & 4 ? 0 : 1ull << 63) | a << 5 | d << 6 : 0;
	return r ? (r | 6 << 3 | a << 8 | d << 9) : 0;
}

static struct two_d two_d_draw(bool npt)
{
	struct two_d t = { .npt = npt, .ad = draw() & 1 };
	static const uint8_t ept_rights[] = { 7, 7, 7, 7, 7, 3, 5, 1, 4, 0 }, npt_rights[] = { 7, 7, 7, 7, 7, 7, 3, 5, 1, 0 };
	for (unsigned page = 0; page < 5; page++) {
		t.host[page] = npt ? npt_rights[draw() % 10] : ept_rights[draw() % 10];
		t.host_a[page] = draw() & 1;
		t.host_d[page] = draw() & 1;
		t.guest_a[page] = draw() % 4;
	}
	t.guest_rw = draw() % 3, t.guest_us = draw() & 1, t.guest_nx = draw() % 3 == 0, t.guest_d = draw() & 1;
	t.rq = (struct walk_request){ draw() % 3, t.guest_us && (draw() & 1), false, true };
	return t;
}

static bool two_d_case(const struct two_d *t)
{
	struct chain c = chain_make(PAGING_4LEVEL, 4, 1);
	struct paging h = { .format = t->npt ? PAGING_NPT : PAGING_EPT, .phys_bits = M, .ad = t->ad, .nxe = true, .root = page_take() };
	uint64_t gpa[5] = { 0x200000 }, host_at[5], hpa[5];
	struct walk w;
	for (unsigned level = 4; level >= 1; level--)
		gpa[level] = c.entry_at[level];
	for (unsigned page = 0; page < 5; page++) { /* the host keeps guest page n elsewhere: contents move with it */
		uint64_t frame = page ? page_take() : 0x300000;
		memcpy(phys.bytes + frame, phys.bytes + (gpa[page] & ~0xfffull), 4096);
		host_at[page] = host_map(&h, 4, gpa[page] & ~0xfffull, frame, host_bits(t, page), 1);
		if (!t->host[page])
			phys_write64(&phys, host_at[page], 0);
		hpa[page] = frame + (gpa[page] & 0xfff);
	}
	for (unsigned level = 1; level <= 4; level++) {
		uint64_t e = phys_read64(&phys, hpa[level]) | (t->guest_a[level] ? 0x20 : 0);
		if (level == 1)
			e = (e & ~6ull) | (t->guest_rw ? 2 : 0) | (t->guest_us ? 4 : 0) | (t->guest_nx ? 1ull << 63 : 0) | (t->guest_d ? 0x40 : 0);
		phys_write64(&phys, hpa[level], e);
	}
	c.p.space = &h;
	bool host_a[5], host_d[5], guest_a[5], guest_d = t->guest_d;
	memcpy(host_a, t->host_a, sizeof host_a), memcpy(host_d, t->host_d, sizeof host_d), memcpy(guest_a, t->guest_a, sizeof guest_a);
	struct verdict v = two_d_oracle(t, host_a, host_d, guest_a, &guest_d);
	bool ok = paging_walk(&c.p, &memory, c.gva, t->rq, &w), right = ok == (v.status == WALK_OK) && w.status == v.status;
	if (!ok)
		right &= w.fault_dimension == v.dimension;
	if (!ok && v.dimension == WALK_HOST)
		right &= w.fault_on_table == v.on_table && w.fault_gpa >> 12 == gpa[v.page] >> 12;
	if (ok)
		right &= w.hpa == 0x300000 + (c.gva & 0xfff) && w.gpa == 0x200000 + (c.gva & 0xfff) && w.refs == 24;
	for (unsigned page = 0; page < 5; page++) {
		uint64_t e = phys_read64(&phys, host_at[page]), g = page ? phys_read64(&phys, hpa[page]) : 0;
		unsigned a = t->npt ? 5 : 8;
		if (t->host[page])
			right &= (e >> a & 1) == host_a[page] && (e >> (a + 1) & 1) == host_d[page];
		if (page)
			right &= (g >> 5 & 1) == guest_a[page];
		if (page == 1)
			right &= (g >> 6 & 1) == guest_d;
	}
	return right;
}

static void test_two_dimensions(void)
{
	unsigned wrong = 0, outcomes[4] = { 0 };
	for (unsigned i = 0; i < 200000; i++) {
		struct two_d t = two_d_draw(i & 1);
		bool a[5], d[5], g[5], gd;
		outcomes[two_d_oracle(&t, a, d, g, &gd).status]++;
		wrong += !two_d_case(&t);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(outcomes[WALK_OK] > 1000 && outcomes[WALK_PROTECTION] > 1000 && outcomes[WALK_NOT_PRESENT] > 1000);
}

static void test_ept_misconfigurations(void)
{
	for (unsigned rights = 0; rights < 8; rights++)
		for (unsigned level = 1; level <= 4; level++)
			for (unsigned access = 0; access < 3; access++) {
				struct chain c = chain_make(PAGING_EPT, 4, 1);
				struct walk w;
				entry_put(&c, level, (entry_get(&c, level) & ~7ull) | rights);
				bool misconfigured = (rights & 3) == 2; /* writable but not readable; execute-only is supported */
				bool allowed = rights >> access & 1;
				walk_chain(&c, request(access, false), &w);
				CU_ASSERT_EQUAL(w.status, rights == 0 ? WALK_NOT_PRESENT : misconfigured ? WALK_RESERVED : allowed ? WALK_OK : WALK_PROTECTION);
				CU_ASSERT(w.status == WALK_OK || (w.fault_dimension == WALK_HOST && w.fault_gpa == c.gva && !w.fault_on_table));
				CU_ASSERT(w.status != WALK_OK || w.readable == (rights & 1));
			}
}

/* What paging_rights() says may be cached is what walks would grant, without changing a flag. */
static void test_rights_to_cache(void)
{
	unsigned wrong = 0;
	for (unsigned i = 0; i < 100000; i++) {
		struct chain c = chain_make(PAGING_4LEVEL, 4, 1 + draw() % 3);
		struct walk w, again;
		c.p.wp = draw() & 1, c.p.nxe = true, c.p.smep = draw() & 1, c.p.smap = draw() & 1;
		for (unsigned level = c.leaf; level <= 4; level++) {
			uint64_t bits = draw(), e = entry_get(&c, level);
			e ^= (bits & 3 ? 0 : 2) | (bits & 12 ? 0 : 4) | (bits & 0x30 ? 0 : 1ull << 63) | (bits & 0xc0 ? 0x20 : 0) | (bits & 0x100 ? 0x40 : 0);
			entry_put(&c, level, e);
		}
		struct walk_request rq = { draw() % 3, draw() & 1, draw() & 1, draw() & 1 };
		if (!paging_walk(&c.p, &memory, c.gva, rq, &w))
			continue;
		unsigned rights = paging_rights(&c.p, &w, rq);
		for (unsigned access = 0; access < 3; access++) {
			struct walk_request other = { access, rq.user, rq.ac_override, false };
			bool may = paging_walk(&c.p, &memory, c.gva, other, &again) && !again.ad_pending;
			wrong += w.ad_pending ? rights != 0 : may != (rights >> access & 1);
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static bool leg_agrees(const struct walk_leg *a, const struct walk_leg *b)
{
	return a->leaf == b->leaf && (!a->leaf || (a->at == b->at && !memcmp(a->hpa + a->leaf, b->hpa + a->leaf, (5u - a->leaf) * sizeof *a->hpa)));
}

/* The steps of a successful walk, against its references. */
static bool steps_agree(const struct walk_steps *s, const struct walk *w, unsigned levels)
{
	struct walk_steps want;
	paging_walk_steps(w, &want);
	bool right = s->leaf == want.leaf && s->nested == want.nested && !memcmp(s->guest + s->leaf, want.guest + s->leaf, (levels + 1u - s->leaf) * sizeof *s->guest);
	for (unsigned level = s->leaf; s->nested && level <= levels; level++)
		right &= leg_agrees(&s->host[level], &want.host[level]);
	return right && (!s->nested || leg_agrees(&s->host[0], &want.host[0]));
}

/* The walk without notes finds what the walk finds, or leaves it to the walk: it says yes to each that succeeds, and to none that fails. */
static void test_plain_walk(void)
{
	unsigned good = 0;
	for (unsigned i = 0; i < 20000; i++) {
		bool four = i & 1, large = !(draw() & 3);
		struct chain c = four ? chain_make(PAGING_4LEVEL, 4, large ? 2 + (draw() & 1) : 1) : chain_make(PAGING_32, 2, large ? 2 : 1);
		c.p.wp = draw() & 1, c.p.nxe = draw() & 1, c.p.smep = draw() & 1, c.p.smap = draw() & 1, c.p.pse = draw() & 7, c.p.pge = draw() & 1, c.p.no_gbyte = !(draw() & 7);
		for (unsigned level = c.leaf; level <= c.levels; level++) {
			uint64_t e = entry_get(&c, level), flip = 1ull << draw() % (four ? 64 : 32);
			e ^= draw() % 6 ? 0 : flip & ~0x3ffffff000ull; /* not the address: it must stay a table of ours */
			entry_put(&c, level, (e & ~6ull) | (draw() & 3 ? 6 : draw() & 6) | (draw() & 0x160));
		}
		struct walk_request rq = { draw() % 3, draw() & 1, draw() & 1, false };
		struct walk a = { 0 }, b = { 0 };
		struct walk_steps steps;
		bool walked = paging_walk(&c.p, &memory, c.gva, rq, &a), plain = paging_walk_plain(&c.p, &memory, NULL, c.gva, rq, &b, &steps);
		CU_ASSERT_EQUAL(plain, walked);
		good += walked;
		if (!walked || !plain)
			continue;
		CU_ASSERT(a.hpa == b.hpa && a.page_shift == b.page_shift && a.guest_shift == b.guest_shift && a.writable == b.writable && a.global == b.global);
		CU_ASSERT(steps_agree(&steps, &a, c.levels));
		CU_ASSERT(rq.access == ACCESS_WRITE || a.dirty == b.dirty); /* a write that is let through counts as dirty */
	}
	CU_ASSERT(good > 3000 && good < 17000);
}

static uint64_t host_entry_at(const struct paging *h, uint64_t gpa, unsigned level)
{
	uint64_t table = h->root, at = 0;
	for (unsigned l = 4; l >= level; l--) {
		at = table + (gpa >> (12 + 9 * (l - 1)) & 511) * 8;
		table = phys_read64(&phys, at) & 0x000ffffffffff000ull;
	}
	return at;
}

/* An EPT of the addresses that a walk of the guest's tables alone touches, flags drawn, and now and then a bit that should not be so. Returns whether its upper levels are plain. */
static bool plain_host_make(struct paging *h, const struct walk *bare, unsigned leaf)
{
	uint64_t gpa[WALK_MAX_REFS + 1] = { bare->gpa }, span = leaf == 2 ? 0x1fffff : 0xfff, upper = 0x100;
	unsigned count = 1;
	*h = (struct paging){ .format = PAGING_EPT, .phys_bits = M, .ad = draw() & 1, .root = page_take() };
	for (unsigned i = 0; i < bare->refs; i++)
		gpa[count++] = bare->ref[i].hpa;
	for (unsigned i = 0; i < count; i++)
		host_map(h, 4, gpa[i] & ~span, gpa[i] & ~span, (draw() % 12 ? 7 : draw() & 7) | (draw() % 20 ? 6 : draw() & 7) << 3 | (draw() & 7 ? 0x300 : draw() & 0x300), leaf);
	for (unsigned level = leaf + 1; level <= 4; level++)
		for (unsigned i = 0; i < count; i++) {
			uint64_t at = host_entry_at(h, gpa[i], level), e = phys_read64(&phys, at) | (draw() & 15 ? 0x100 : 0);
			phys_write64(&phys, at, e ^ (draw() % 60 ? 0 : 1ull << draw() % 12) ^ (draw() % 60 ? 0 : 1ull << (50 + draw() % 14)));
		}
	for (unsigned level = 3; level <= 4; level++)
		upper &= phys_read64(&phys, host_entry_at(h, gpa[0], level));
	return (upper || !h->ad) && !(phys_read64(&phys, host_entry_at(h, gpa[0], 3)) & 0x80);
}

/* The same over an EPT. A memo sees ever new tables in the same pages. */
static void test_plain_walk_nested(void)
{
	struct walk_memo memo[2];
	unsigned good = 0, wrong = 0, pending = 0;
	memset(memo, 0, sizeof memo);
	for (unsigned i = 0; i < 40000; i++) {
		bool four = i & 1, large = !(draw() & 3), plain_upper;
		struct chain c = four ? chain_make(PAGING_4LEVEL, 4, large ? 2 : 1) : chain_make(PAGING_32, 2, large ? 2 : 1);
		struct paging h;
		struct walk a = { 0 }, b = { 0 };
		struct walk_steps steps;
		struct walk_request rq = { draw() % 3, draw() & 1, draw() & 1, false };
		entry_put(&c, c.leaf, entry_get(&c, c.leaf) | (draw() & 0x160));
		paging_walk(&c.p, &memory, c.gva, request(ACCESS_READ, false), &a);
		plain_upper = plain_host_make(&h, &a, draw() & 3 ? 1 : 2);
		c.p.space = &h;
		bool walked = paging_walk(&c.p, &memory, c.gva, rq, &a), plain = paging_walk_plain(&c.p, &memory, &memo[four], c.gva, rq, &b, &steps);
		wrong += plain != (walked && plain_upper);
		if (!walked || !plain)
			continue;
		good++;
		pending += a.ad_pending;
		wrong += a.hpa != b.hpa || a.gpa != b.gpa || a.page_shift != b.page_shift || a.guest_shift != b.guest_shift || a.writable != b.writable || a.user != b.user || a.global != b.global;
		wrong += a.guest_rights != b.guest_rights || a.host_rights != b.host_rights || a.ad_pending != b.ad_pending || !steps_agree(&steps, &a, c.levels);
		wrong += rq.access != ACCESS_WRITE && a.dirty != b.dirty;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(good > 8000 && good < 32000 && pending > 1000 && good - pending > 1000);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("walker", suite_start, suite_end);
	CU_add_test(s, "closed forms 4 5 24 29 35 19 15", test_closed_forms);
	CU_add_test(s, "linear and identity", test_linear_and_identity);
	CU_add_test(s, "reserved bits", test_reserved_bits);
	CU_add_test(s, "PAE PDPTEs", test_pae_pdptes);
	CU_add_test(s, "EPT memory types", test_ept_leaf_types);
	CU_add_test(s, "EPT address width", test_ept_width);
	CU_add_test(s, "PSE, PSE-36, 1 GiB pages", test_pse_off);
	CU_add_test(s, "permissions", test_permissions);
	CU_add_test(s, "not present", test_not_present);
	CU_add_test(s, "two dimensions", test_two_dimensions);
	CU_add_test(s, "EPT misconfigurations", test_ept_misconfigurations);
	CU_add_test(s, "rights that may be cached", test_rights_to_cache);
	CU_add_test(s, "walks without notes", test_plain_walk);
	CU_add_test(s, "walks without notes, over an EPT", test_plain_walk_nested);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
