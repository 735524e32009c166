/*
 * Proves that the softtlb decides nothing: a random guest that edits page tables, invalidates as the manuals ask, changes address spaces, privilege and control registers gets for
 * every access what a walk made at that moment gives (the walker has its own oracle), the same memory at the end and the same modelled-TLB statistics, with 1 to 4096 entries and
 * with event buffers of 2 to 4096. And that events are drained before any table changes: what the consumer walks at a drain is what the access saw.
 */
#include "../tlb/mmu.h"
#include "../tlb/softtlb.h"
#include "../tlb/tlb_consumer.h"
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMORY = 8 << 20, TABLES = 0x200000 /* the guest's tables lie in this 2 MiB (4 MiB) page */, DATA_FRAMES = 0x400000, TABLE_WINDOW = 0x7f000000 };

struct expect { uint64_t gva, hpa; enum access access; bool user; };

struct bench { /* one machine: cpu, mmu, native memory part, consumers */
	struct phys phys;
	struct cpu cpu;
	struct cpu_features features;
	struct event_sink sink;
	struct mmu mmu;
	struct mem_direct direct;
	struct event_consumer checker;
	struct tlb_consumer tlb;
	struct expect expected[8192]; /* accesses whose events are still in the buffer, in order */
	unsigned expected_count, mismatches, seen;
	uint64_t kind_count[256];
	uint64_t pages_given, digest;
	uint64_t seed;
	uint64_t table_next, root[3];
	enum paging_format format;
};

static uint64_t draw(struct bench *b)
{
	b->seed ^= b->seed << 13, b->seed ^= b->seed >> 7, b->seed ^= b->seed << 17;
	return b->seed >> 11;
}

/* Each access event in a batch must find, in memory as it is now, what it found when it was made. */
static void checker_consume(void *self, const struct event *first, const struct event *end)
{
	struct bench *b = self;
	unsigned at = 0;
	for (const struct event *e = first; e < end; e++) {
		struct walk w;
		b->kind_count[e->kind]++;
		if ((e->kind != EV_LOAD && e->kind != EV_STORE && e->kind != EV_TABLE_STORE) || (e->flags & EVF_FAULT) || at == b->expected_count)
			continue;
		const struct expect *x = &b->expected[at++];
		struct walk_request rq = { x->access, x->user, true, false };
		bool ok = paging_walk(&b->direct.paging, &(struct walk_memory){ .phys = &b->phys }, x->gva, rq, &w);
		b->mismatches += !ok || w.hpa != x->hpa || e->addr != x->gva || w.ad_pending;
		b->seen++;
	}
	b->expected_count = 0;
}

static void page_given(void *self, uint64_t gpa, const uint8_t *bytes)
{
	struct bench *b = self;
	b->pages_given++;
	b->mismatches += memcmp(bytes, b->phys.bytes + gpa, 4096) != 0;
}

/* ---------------------------------------------------------------- the guest's tables */

static uint64_t table_take(struct bench *b)
{
	uint64_t at = b->table_next;
	b->table_next += 4096;
	return at;
}

static unsigned entry_bytes(const struct bench *b) { return b->format == PAGING_32 ? 4 : 8; }
static uint64_t entry_read(const struct bench *b, uint64_t at) { return entry_bytes(b) == 4 ? phys_read32(&b->phys, at) : phys_read64(&b->phys, at); }
static void entry_write(struct bench *b, uint64_t at, uint64_t e)
{
	if (entry_bytes(b) == 4)
		phys_write32(&b->phys, at, (uint32_t)e);
	else
		phys_write64(&b->phys, at, e);
}

/* Where the entry of `level` for gva is, tables made as needed. */
static uint64_t entry_place(struct bench *b, uint64_t root, uint64_t gva, unsigned to)
{
	unsigned bits = b->format == PAGING_32 ? 10 : 9, levels = b->format == PAGING_4LEVEL ? 4 : b->format == PAGING_PAE ? 3 : 2;
	uint64_t table = root;
	for (unsigned level = levels;; level--) {
		uint64_t at = table + (gva >> (12 + (level - 1) * bits) & ((1u << bits) - 1)) * entry_bytes(b);
		if (level == to)
			return at;
		if (!(entry_read(b, at) & 1))
			entry_write(b, at, table_take(b) | (b->format == PAGING_PAE && level == 3 ? 1 : 7));
		table = entry_read(b, at) & 0xffffff000ull;
	}
}

enum { USER_BASE = 0x10000000, KERNEL_BASE = 0x50000000, LARGE_BASE = 0x20000000, USER_PAGES = 48, KERNEL_PAGES = 16, LARGE_PAGES = 2 };

static unsigned large_shift(const struct bench *b) { return b->format == PAGING_32 ? 22 : 21; }

static void space_make(struct bench *b, unsigned i)
{
	uint64_t root = b->root[i];
	for (unsigned n = 0; n < USER_PAGES; n++)
		entry_write(b, entry_place(b, root, USER_BASE + n * 4096, 1), (DATA_FRAMES + ((n * 3 + i * 7) % 64) * 4096) | 7);
	for (unsigned n = 0; n < KERNEL_PAGES; n++)
		entry_write(b, entry_place(b, root, KERNEL_BASE + n * 4096, 1), (DATA_FRAMES + (n + 80) * 4096) | 3 | 0x100);
	for (uint64_t n = 0; n < LARGE_PAGES; n++)
		entry_write(b, entry_place(b, root, LARGE_BASE + (n << large_shift(b)), 2), DATA_FRAMES | 7 | 0x80);
	entry_write(b, entry_place(b, root, TABLE_WINDOW & ~((1u << large_shift(b)) - 1), 2), (TABLES & ~((1ull << large_shift(b)) - 1)) | 3 | 0x80);
}

static uint64_t table_gva(const struct bench *b, uint64_t hpa)
{
	uint64_t mask = (1ull << large_shift(b)) - 1;
	return (TABLE_WINDOW & ~mask) + (hpa & mask);
}

static void bench_destroy(struct bench *b)
{
	tlb_model_destroy(b->tlb.model);
	mmu_destroy(&b->mmu);
	event_sink_destroy(&b->sink);
	phys_destroy(&b->phys);
	free(b);
}

static struct bench *bench_create(enum paging_format format, bool pcid, unsigned entries, size_t buffer, uint64_t seed)
{
	static const struct tlb_model_config config = {
		.l1d = { { .entries = 16, .ways = 4, .page_sizes = TLB_4K }, { .entries = 4, .ways = 4, .page_sizes = TLB_2M } }, .l1i = { { .entries = 8, .ways = 2, .page_sizes = TLB_4K | TLB_2M } },
		.l2 = { { .entries = 48, .ways = 6, .page_sizes = TLB_4K | TLB_2M } }, .tagged_pcid = true, .walk_cache = "per-level", .walk_cache_entries = { 0, 0, 4, 4, 2, 2 },
	};
	struct bench *b = calloc(1, sizeof *b);
	char error[200];
	phys_create(&b->phys, MEMORY);
	b->features = (struct cpu_features){ .long_mode = true, .pcid = true, .smep = true, .smap = true, .nx = true, .pge = true, .gbyte_pages = true, .phys_bits = 36 };
	b->cpu.phys = &b->phys;
	b->cpu.features = &b->features;
	b->cpu.events = &b->sink;
	b->seed = seed;
	b->format = format;
	b->table_next = TABLES;
	event_sink_create(&b->sink, buffer);
	b->checker = (struct event_consumer){ .consume = checker_consume, .self = b };
	event_sink_attach(&b->sink, &b->checker);
	mmu_create(&b->mmu, &b->cpu, &b->sink, entries);
	b->mmu.page_sink.self = b;
	b->mmu.page_sink.page = page_given;
	frames_grant(&b->mmu.frames, 0, MEMORY);
	mem_direct_create(&b->direct);
	mmu_set_part(&b->mmu, &memory_part_direct, &b->direct);
	tlb_consumer_create(&b->tlb, tlb_model_create(&config, &b->phys, error, sizeof error), NULL, memory_part_direct.hardware_paging, &b->direct);
	event_sink_attach(&b->sink, &b->tlb.link);
	for (unsigned i = 0; i < 3; i++)
		b->root[i] = table_take(b);
	for (unsigned i = 0; i < 3; i++)
		space_make(b, i);
	uint64_t cr0 = b->cpu.cr0;
	b->cpu.cr3 = b->root[0];
	b->cpu.cr4 = CR4_PSE | CR4_PGE | (format == PAGING_32 ? 0 : CR4_PAE) | (pcid ? CR4_PCIDE : 0);
	b->cpu.efer = format == PAGING_4LEVEL ? EFER_LME | EFER_LMA | EFER_NXE : format == PAGING_PAE ? EFER_NXE : 0;
	b->cpu.cr0 = CR0_PE | CR0_PG | CR0_WP;
	b->cpu.mem.context_changed(&b->mmu, &b->cpu, CONTEXT_CR0, cr0, false);
	return b;
}

/* ---------------------------------------------------------------- what an engine does */

static void expect_put(struct bench *b, uint64_t gva, uint64_t hpa, enum access access)
{
	if (b->expected_count < sizeof b->expected / sizeof *b->expected)
		b->expected[b->expected_count++] = (struct expect){ gva, hpa, access, b->cpu.cpl == 3 };
}

static void digest(struct bench *b, uint64_t v) { b->digest = (b->digest ^ v) * 0x100000001b3ull; }

/* One access through the fast table or fill; compared with a walk made now. */
static bool access_make(struct bench *b, uint64_t gva, enum access access, unsigned size, uint64_t value)
{
	struct memory_port *m = &b->cpu.mem;
	struct fast_entry *e = &m->table[gva >> 12 & m->mask];
	uint64_t tag = access == ACCESS_READ ? e->read : access == ACCESS_WRITE ? e->write : e->exec;
	struct walk_request rq = { access, b->cpu.cpl == 3, b->cpu.cpl < 3 && (b->cpu.eflags & FLAG_AC), false };
	struct walk w;
	struct mem_fill f = { 0 };
	bool allowed = paging_walk(&b->direct.paging, &(struct walk_memory){ .phys = &b->phys }, gva, rq, &w), ok = true;
	if (tag == (((gva + size - 1) & ~0xfffull) | m->tag)) {
		f.real = (uint8_t *)(uintptr_t)(gva + e->addend);
		f.hpa = (uint64_t)(f.real - b->phys.bytes);
		b->mismatches += access == ACCESS_WRITE && frames_at(&b->mmu.frames, f.hpa)->flags & (FRAME_CODE | FRAME_TABLE); /* never past the tracking */
	} else {
		ok = m->fill(m->self, &b->cpu, gva, access, false, size, &f);
	}
	b->mismatches += ok != allowed || (ok && f.hpa != w.hpa) || (!ok && f.fault.error != w.error);
	digest(b, ok ? f.hpa : f.fault.error);
	if (!ok)
		return false;
	expect_put(b, gva, f.hpa, access);
	if (access != ACCESS_WRITE) {
		event_put(&b->sink, EV_LOAD, b->cpu.cpl == 3 ? EVF_USER : 0, size, 0, gva);
	} else if (f.tracked) {
		m->store(m->self, &b->cpu, gva, &f, &value, size, false);
	} else {
		event_put(&b->sink, EV_STORE, b->cpu.cpl == 3 ? EVF_USER : 0, size, 0, gva);
		memcpy(f.real, &value, size);
	}
	return true;
}

static uint64_t gva_draw(struct bench *b)
{
	uint64_t at = draw(b) & 0xff8;
	switch (draw(b) % 8) {
	case 0: return KERNEL_BASE + draw(b) % KERNEL_PAGES * 4096 + at;
	case 1: return LARGE_BASE + draw(b) % (LARGE_PAGES << (large_shift(b) - 12)) * 4096 + at;
	case 2: return USER_BASE + (USER_PAGES + draw(b) % 4) * 4096 + at; /* nothing there */
	default: return USER_BASE + draw(b) % USER_PAGES * 4096 + at;
	}
}

static void register_set(struct bench *b, enum context_change why, uint64_t *reg, uint64_t value, bool no_flush)
{
	uint64_t old = *reg;
	*reg = value;
	b->cpu.mem.context_changed(&b->mmu, &b->cpu, why, old, no_flush);
}

static void cpl_set(struct bench *b, unsigned cpl, bool ac)
{
	b->cpu.cpl = (uint8_t)cpl;
	b->cpu.eflags = ac ? FLAG_AC : 0;
	cpu_memory_mode_follow(&b->cpu);
}

/* Ends every stale translation of gva, by one of the ways that the manuals give. */
static void invalidate(struct bench *b, uint64_t gva, bool pcid)
{
	unsigned how = draw(b) % 4;
	if (pcid) {
		if (how == 0)
			register_set(b, CONTEXT_CR4, &b->cpu.cr4, b->cpu.cr4 ^ CR4_PGE, false);
		else
			b->cpu.mem.invpcid(&b->mmu, &b->cpu, 2, 0, 0);
	} else if (how == 0 && gva < KERNEL_BASE) { /* not for globals */
		register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->cpu.cr3, false);
	} else {
		b->cpu.mem.invlpg(&b->mmu, &b->cpu, gva);
	}
}

/* Changes an entry by a guest store: rights, A and D flags, presence, or the frame. */
static void table_edit(struct bench *b, bool pcid)
{
	static const uint64_t flips[] = { 1, 2, 4, 0x20, 0x40, 0x60, 0x1000, 0x100 };
	uint64_t gva = gva_draw(b) & ~0xfffull;
	bool large = gva >= LARGE_BASE && gva < LARGE_BASE + ((uint64_t)LARGE_PAGES << large_shift(b));
	uint64_t root = b->cpu.cr3 & ~0xfffull, at = entry_place(b, root, gva, large ? 2 : 1), flip = flips[draw(b) % 8];
	if (large && flip == 0x1000)
		flip = 2;
	if (gva >= USER_BASE + USER_PAGES * 4096 && gva < LARGE_BASE)
		return;
	cpl_set(b, 0, b->cpu.eflags & FLAG_AC);
	access_make(b, table_gva(b, at), ACCESS_WRITE, entry_bytes(b), entry_read(b, at) ^ flip);
	invalidate(b, gva, pcid);
}

static void control_change(struct bench *b, bool pcid)
{
	switch (draw(b) % 4) {
	case 0: register_set(b, CONTEXT_CR0, &b->cpu.cr0, b->cpu.cr0 ^ CR0_WP, false); break;
	case 1: register_set(b, CONTEXT_CR0, &b->cpu.cr0, b->cpu.cr0 ^ CR0_TS, false); break;
	case 2: register_set(b, CONTEXT_CR4, &b->cpu.cr4, b->cpu.cr4 ^ (draw(b) & 1 ? CR4_SMAP : CR4_SMEP), false); break;
	default: {
		unsigned i = draw(b) % 3;
		register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[i] | (pcid ? i + 1 : 0), pcid && draw(b) % 2);
	}
	}
}

static void guest_step(struct bench *b, bool pcid)
{
	unsigned what = draw(b) % 64;
	if (what == 0)
		control_change(b, pcid);
	else if (what < 4)
		table_edit(b, pcid);
	else if (what < 6) /* a block is built from some page, whatever maps it */
		b->cpu.mem.mark_code(&b->mmu, DATA_FRAMES + draw(b) % 96 * 4096);
	else if (what < 9)
		cpl_set(b, draw(b) & 1 ? 3 : 0, draw(b) % 4 == 0);
	else
		access_make(b, gva_draw(b), draw(b) % 3, 8, draw(b));
}

struct outcome { uint64_t digest, memory, stats[64]; };

static struct outcome guest_run(enum paging_format format, bool pcid, unsigned entries, size_t buffer, uint64_t seed)
{
	struct bench *b = bench_create(format, pcid, entries, buffer, seed);
	struct outcome o = { 0 };
	const char *name;
	for (unsigned i = 0; i < 40000; i++)
		guest_step(b, pcid);
	event_drain(&b->sink);
	CU_ASSERT_EQUAL(b->mismatches, 0);
	CU_ASSERT(b->seen > 10000);
	CU_ASSERT(b->kind_count[EV_TABLE_STORE] > 100);
	CU_ASSERT_EQUAL(b->kind_count[EV_TABLE_PAGE], b->pages_given);
	CU_ASSERT_EQUAL(b->mmu.resource_violations, 0);
	o.digest = b->digest;
	for (uint64_t at = 0; at < MEMORY; at += 8)
		o.memory = (o.memory ^ phys_read64(&b->phys, at)) * 0x100000001b3ull;
	for (unsigned i = 0; tlb_model_stat(b->tlb.model, i, &name, &o.stats[i]); i++)
		;
	bench_destroy(b);
	return o;
}

static void sizes_compare(enum paging_format format, bool pcid)
{
	static const unsigned sizes[] = { 1, 2, 64, 16384 };
	static const size_t buffers[] = { 2, 7, 4096 };
	for (uint64_t seed = 1; seed <= 2; seed++) {
		struct outcome reference = guest_run(format, pcid, 4096, 512, seed * 0x9e3779b97f4a7c15ull);
		for (unsigned i = 0; i < 4; i++) {
			struct outcome o = guest_run(format, pcid, sizes[i], buffers[i % 3], seed * 0x9e3779b97f4a7c15ull);
			CU_ASSERT_EQUAL(o.digest, reference.digest);
			CU_ASSERT_EQUAL(o.memory, reference.memory);
			CU_ASSERT_EQUAL(memcmp(o.stats, reference.stats, sizeof o.stats), 0);
		}
	}
}

static void test_sizes_32(void) { sizes_compare(PAGING_32, false); }
static void test_sizes_pae(void) { sizes_compare(PAGING_PAE, false); }
static void test_sizes_4level(void) { sizes_compare(PAGING_4LEVEL, false); }
static void test_sizes_pcid(void) { sizes_compare(PAGING_4LEVEL, true); }

/* ---------------------------------------------------------------- single rules */

static void test_tables_tracked_and_forgotten(void)
{
	struct bench *b = bench_create(PAGING_4LEVEL, false, 256, 64, 1);
	uint64_t at = entry_place(b, b->root[0], USER_BASE, 1);
	struct frame *f = frames_at(&b->mmu.frames, at);
	CU_ASSERT_FALSE(f->flags & FRAME_TABLE);
	CU_ASSERT_TRUE(access_make(b, table_gva(b, at), ACCESS_WRITE, 8, entry_read(b, at))); /* an ordinary store: nobody has walked it */
	CU_ASSERT_TRUE(access_make(b, USER_BASE, ACCESS_READ, 8, 0));
	CU_ASSERT_TRUE(f->flags & FRAME_TABLE);
	event_drain(&b->sink);
	CU_ASSERT_EQUAL(b->kind_count[EV_TABLE_PAGE], 5); /* four for USER_BASE, and the page directory of the window */
	CU_ASSERT_EQUAL(b->kind_count[EV_TABLE_STORE], 0);
	for (unsigned i = 0; i < 2 * FORGET_STORES; i++) /* one entry over and over: still a table's */
		access_make(b, table_gva(b, at), ACCESS_WRITE, 8, entry_read(b, at));
	for (unsigned i = 1; i < FORGET_STORES; i++) {
		uint64_t other = at ^ (i & 1) << 3;
		CU_ASSERT_TRUE(f->flags & FRAME_TABLE);
		access_make(b, table_gva(b, other), ACCESS_WRITE, 8, entry_read(b, other));
	}
	CU_ASSERT_FALSE(f->flags & FRAME_TABLE);
	access_make(b, table_gva(b, at), ACCESS_WRITE, 8, entry_read(b, at));
	event_drain(&b->sink);
	CU_ASSERT_EQUAL(b->kind_count[EV_TABLE_STORE], 3 * FORGET_STORES - 1);
	CU_ASSERT_EQUAL(b->kind_count[EV_TABLE_FORGET], 1);
	CU_ASSERT_TRUE(access_make(b, USER_BASE, ACCESS_READ, 8, 0)); /* its entries ended with the forgetting: this walks, and tracks again */
	CU_ASSERT_TRUE(f->flags & FRAME_TABLE);
	bench_destroy(b);
}

static void test_wide_table_stores_split(void)
{
	struct bench *b = bench_create(PAGING_4LEVEL, false, 256, 64, 1);
	uint64_t at = entry_place(b, b->root[0], USER_BASE, 1), two[2] = { entry_read(b, at) | 0x200, entry_read(b, at + 8) | 0x400 };
	struct mem_fill f;
	access_make(b, USER_BASE, ACCESS_READ, 8, 0);
	CU_ASSERT_TRUE(b->cpu.mem.fill(&b->mmu, &b->cpu, table_gva(b, at), ACCESS_WRITE, false, 16, &f));
	CU_ASSERT_TRUE(f.tracked);
	b->cpu.mem.store(&b->mmu, &b->cpu, table_gva(b, at), &f, two, 16, false);
	event_drain(&b->sink);
	CU_ASSERT_EQUAL(b->kind_count[EV_TABLE_STORE], 2);
	CU_ASSERT_EQUAL(b->kind_count[EV_VALUE], 2);
	CU_ASSERT_EQUAL(entry_read(b, at), two[0]);
	CU_ASSERT_EQUAL(entry_read(b, at + 8), two[1]);
	bench_destroy(b);
}

static void test_code_pages(void)
{
	struct bench *b = bench_create(PAGING_4LEVEL, false, 256, 64, 1);
	struct walk w;
	struct fast_entry *e = &b->cpu.mem.table[USER_BASE >> 12 & b->cpu.mem.mask];
	access_make(b, USER_BASE, ACCESS_WRITE, 8, 1);
	CU_ASSERT_NOT_EQUAL(e->write, FAST_NEVER);
	paging_walk(&b->direct.paging, &b->mmu.walk_memory, USER_BASE, (struct walk_request){ ACCESS_READ, false, false, false }, &w);
	b->cpu.mem.mark_code(&b->mmu, w.hpa);
	CU_ASSERT_EQUAL(e->write, FAST_NEVER);
	CU_ASSERT_NOT_EQUAL(e->read, FAST_NEVER);
	access_make(b, USER_BASE, ACCESS_WRITE, 8, 0x1122);
	CU_ASSERT_EQUAL(phys_read64(&b->phys, w.hpa), 0x1122);
	CU_ASSERT_FALSE(frames_at(&b->mmu.frames, w.hpa)->flags & FRAME_CODE); /* its blocks are gone */
	bench_destroy(b);
}

/* A frame mapped at four addresses: marking it as code ends the writes through each. */
static void test_code_page_aliases(void)
{
	struct bench *b = bench_create(PAGING_4LEVEL, false, 256, 64, 1);
	uint64_t hpa = DATA_FRAMES + 9 * 4096;
	struct memory_port *m = &b->cpu.mem;
	for (unsigned n = 0; n < 4; n++) {
		uint64_t gva = USER_BASE + n * 4096;
		entry_write(b, entry_place(b, b->root[0], gva, 1), hpa | 7);
		access_make(b, gva, ACCESS_WRITE, 8, n);
		CU_ASSERT_EQUAL(m->table[gva >> 12 & m->mask].write, gva | m->tag);
	}
	m->mark_code(&b->mmu, hpa);
	for (unsigned n = 0; n < 4; n++)
		CU_ASSERT_EQUAL(m->table[(USER_BASE + n * 4096) >> 12 & m->mask].write, FAST_NEVER);
	bench_destroy(b);
}

static void test_resource_control(void)
{
	struct bench *b = bench_create(PAGING_4LEVEL, false, 256, 64, 1);
	struct mem_fill f;
	struct walk w;
	paging_walk(&b->direct.paging, &b->mmu.walk_memory, USER_BASE, (struct walk_request){ ACCESS_READ, false, false, false }, &w);
	frames_revoke(&b->mmu.frames, w.hpa & ~0xfffull, 4096);
	CU_ASSERT_TRUE(b->cpu.mem.fill(&b->mmu, &b->cpu, USER_BASE, ACCESS_READ, false, 8, &f));
	CU_ASSERT_PTR_NULL(f.real);
	CU_ASSERT_EQUAL(b->mmu.resource_violations, 1);
	b->cpu.mem.store(&b->mmu, &b->cpu, USER_BASE, &f, "12345678", 8, false); /* goes nowhere */
	CU_ASSERT_EQUAL(phys_read64(&b->phys, w.hpa), 0);
	uint64_t at = entry_place(b, b->root[0], USER_BASE + 4096, 1);
	entry_write(b, at, 0xfff000000ull | 7); /* beyond memory, inside MAXPHYADDR: no violation, there is nothing */
	CU_ASSERT_TRUE(b->cpu.mem.fill(&b->mmu, &b->cpu, USER_BASE + 4096, ACCESS_READ, false, 8, &f));
	CU_ASSERT_PTR_NULL(f.real);
	CU_ASSERT_EQUAL(b->mmu.resource_violations, 1);
	bench_destroy(b);
}

/* An access that crosses pages is looked up at the first page's index with the last byte's tag, and must not find the second page's entry: not in the smallest table either. */
static void test_crossing_never_matches(void)
{
	for (unsigned entries = 1; entries <= 4; entries *= 2) {
		struct bench *b = bench_create(PAGING_4LEVEL, false, entries, 64, 1);
		const struct memory_port *m = &b->cpu.mem;
		for (unsigned n = 0; n < 8; n++) {
			uint64_t gva = USER_BASE + (n + 1) * 4096 - 4, tag = ((gva + 7) & ~0xfffull) | m->tag;
			access_make(b, gva + 4, ACCESS_WRITE, 4, 0);
			const struct fast_entry *e = &m->table[gva >> 12 & m->mask], *second = &m->table[(gva + 4) >> 12 & m->mask];
			CU_ASSERT_EQUAL(second->write, tag);
			CU_ASSERT(e->read != tag && e->write != tag && e->exec != tag);
		}
		bench_destroy(b);
	}
}

static void test_implicit_supervisor(void)
{
	struct bench *b = bench_create(PAGING_4LEVEL, false, 256, 64, 1);
	struct mem_fill f;
	cpl_set(b, 3, false);
	CU_ASSERT_FALSE(b->cpu.mem.fill(&b->mmu, &b->cpu, KERNEL_BASE, ACCESS_READ, false, 8, &f));
	CU_ASSERT_EQUAL(f.fault.error, 5);
	CU_ASSERT_EQUAL(f.fault.cr2, KERNEL_BASE);
	CU_ASSERT_TRUE(b->cpu.mem.fill(&b->mmu, &b->cpu, KERNEL_BASE, ACCESS_READ, true, 8, &f));
	const struct fast_entry *e = &b->cpu.mem.table[KERNEL_BASE >> 12 & b->cpu.mem.mask];
	CU_ASSERT_EQUAL(e->read, KERNEL_BASE | b->cpu.mem.supervisor_tag);
	CU_ASSERT_NOT_EQUAL(b->cpu.mem.supervisor_tag, b->cpu.mem.tag);
	register_set(b, CONTEXT_CR4, &b->cpu.cr4, b->cpu.cr4 | CR4_SMAP, false);
	cpl_set(b, 0, true); /* AC lifts SMAP for explicit accesses, not for implicit ones */
	CU_ASSERT_TRUE(b->cpu.mem.fill(&b->mmu, &b->cpu, USER_BASE, ACCESS_READ, false, 8, &f));
	CU_ASSERT_FALSE(b->cpu.mem.fill(&b->mmu, &b->cpu, USER_BASE, ACCESS_READ, true, 8, &f));
	cpl_set(b, 0, false);
	CU_ASSERT_FALSE(b->cpu.mem.fill(&b->mmu, &b->cpu, USER_BASE, ACCESS_READ, false, 8, &f));
	bench_destroy(b);
}

/* INVLPG moves the epoch, on which chains of blocks depend, exactly when code may have been fetched from there: in this context, in another that lives, or through a large page. */
static void test_invalidations_and_chains(void)
{
	struct bench *b = bench_create(PAGING_4LEVEL, true, 256, 64, 1);
	struct memory_port *m = &b->cpu.mem;
	uint64_t code = USER_BASE + 5 * 4096, data = USER_BASE + 6 * 4096, epoch = m->epoch;
	access_make(b, data, ACCESS_WRITE, 8, 1);
	m->invlpg(&b->mmu, &b->cpu, data);
	CU_ASSERT_EQUAL(m->epoch, epoch);
	CU_ASSERT_EQUAL(m->table[data >> 12 & m->mask].write, FAST_NEVER);
	access_make(b, code, ACCESS_EXEC, 1, 0);
	register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[1] | 2, true);
	epoch = m->epoch;
	m->invlpg(&b->mmu, &b->cpu, code);
	CU_ASSERT_NOT_EQUAL(m->epoch, epoch);
	epoch = m->epoch;
	m->invlpg(&b->mmu, &b->cpu, data);
	CU_ASSERT_EQUAL(m->epoch, epoch);
	access_make(b, LARGE_BASE, ACCESS_READ, 8, 0);
	epoch = m->epoch;
	m->invlpg(&b->mmu, &b->cpu, LARGE_BASE + 4096);
	CU_ASSERT_NOT_EQUAL(m->epoch, epoch);
	bench_destroy(b);
}

/* Two pages that share an entry of the smaller table take turns: in few instructions the table grows until they do not, in many it stays. What is writable is still found. */
static void test_growing(void)
{
	for (unsigned slow = 0; slow < 2; slow++) {
		struct bench *b = bench_create(PAGING_4LEVEL, false, SOFTTLB_DEFAULT, 64, 1);
		uint64_t far = USER_BASE + SOFTTLB_DEFAULT * 4096ull, hpa = DATA_FRAMES + 9 * 4096;
		struct memory_port *m = &b->cpu.mem;
		entry_write(b, entry_place(b, b->root[0], far, 1), hpa | 7);
		for (unsigned i = 0; i < 3 * SOFTTLB_DEFAULT; i++) {
			access_make(b, i & 1 ? far : (uint64_t)USER_BASE, ACCESS_WRITE, 8, i);
			b->cpu.icount += slow ? 1000 : 10;
			b->expected_count = 0;
		}
		CU_ASSERT_EQUAL(m->mask + 1, slow ? SOFTTLB_DEFAULT : 4 * SOFTTLB_DEFAULT);
		CU_ASSERT_PTR_EQUAL(m->table, b->mmu.softtlb->table);
		CU_ASSERT_EQUAL(m->byte_mask, m->mask * sizeof(struct fast_entry));
		CU_ASSERT_EQUAL(m->table[far >> 12 & m->mask].write, far | m->tag);
		CU_ASSERT_EQUAL(m->table[USER_BASE >> 12 & m->mask].write == (USER_BASE | m->tag), !slow);
		m->mark_code(&b->mmu, hpa);
		CU_ASSERT_EQUAL(m->table[far >> 12 & m->mask].write, FAST_NEVER);
		bench_destroy(b);
	}
}

/* Contexts: MOV CR3 forgets only what may have changed; PCIDs keep theirs; INVPCID reaches others' contexts. */
static void test_contexts(void)
{
	struct bench *b = bench_create(PAGING_4LEVEL, true, 256, 64, 1);
	register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[1] | 2, false);
	access_make(b, USER_BASE, ACCESS_READ, 8, 0);
	uint64_t fills = b->mmu.fills;
	register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[0] | 1, true);
	register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[1] | 2, true);
	access_make(b, USER_BASE, ACCESS_READ, 8, 0);
	CU_ASSERT_EQUAL(b->mmu.fills, fills);
	register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[0] | 1, true);
	b->cpu.mem.invpcid(&b->mmu, &b->cpu, 1, 2, 0);
	register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[1] | 2, true);
	access_make(b, USER_BASE, ACCESS_READ, 8, 0);
	CU_ASSERT_EQUAL(b->mmu.fills, fills + 1);
	register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[1] | 2, false); /* flushes, but no table has changed: the entries are as good as new */
	access_make(b, USER_BASE, ACCESS_READ, 8, 0);
	CU_ASSERT_EQUAL(b->mmu.fills, fills + 1);
	access_make(b, table_gva(b, entry_place(b, b->root[1], USER_BASE, 1)), ACCESS_WRITE, 8, 0);
	register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[1] | 2, false);
	CU_ASSERT_FALSE(access_make(b, USER_BASE, ACCESS_READ, 8, 0));
	for (unsigned i = 0; i < 5000; i++) { /* more contexts than slots */
		b->mmu.table_changes++;
		register_set(b, CONTEXT_CR3, &b->cpu.cr3, b->root[i % 3] | (i % 3 + 1), false);
		CU_ASSERT_EQUAL(access_make(b, USER_BASE, ACCESS_READ, 8, 0), i % 3 != 1);
	}
	CU_ASSERT_EQUAL(b->mismatches, 0);
	bench_destroy(b);
}

static void test_replay_paths(void)
{
	struct bench *b = bench_create(PAGING_PAE, false, 256, 64, 1);
	struct mem_fill f;
	uint8_t page[4096];
	CU_ASSERT_TRUE(mmu_replay_access(&b->mmu, &b->cpu, USER_BASE + 0xffc, ACCESS_READ, false, 8, &f)); /* both pages of a crossing access */
	uint64_t fills = b->mmu.fills;
	CU_ASSERT_TRUE(mmu_replay_access(&b->mmu, &b->cpu, USER_BASE + 4096, ACCESS_READ, false, 8, &f));
	CU_ASSERT_EQUAL(b->mmu.fills, fills);
	uint64_t at = entry_place(b, b->root[0], USER_BASE + 8192, 1);
	mmu_replay_table_store(&b->mmu, &b->cpu, table_gva(b, at), 0, 8, false);
	CU_ASSERT_EQUAL(phys_read64(&b->phys, at), 0);
	CU_ASSERT_FALSE(mmu_replay_access(&b->mmu, &b->cpu, USER_BASE + 8192, ACCESS_READ, false, 8, &f));
	memcpy(page, b->phys.bytes + b->root[0], sizeof page);
	memset(page, 0, 32); /* the page-directory pointers: registers are loaded from what replay installs */
	mmu_replay_table_page(&b->mmu, &b->cpu, b->root[0], page);
	mmu_flush_all(&b->mmu, &b->cpu);
	CU_ASSERT_FALSE(mmu_replay_access(&b->mmu, &b->cpu, USER_BASE, ACCESS_READ, false, 8, &f));
	mmu_replay_table_forget(&b->mmu, &b->cpu, b->root[0]);
	CU_ASSERT_FALSE(frames_at(&b->mmu.frames, b->root[0])->flags & FRAME_TABLE);
	bench_destroy(b);
}

/* SDM 3A table 4-8: bits 1, 2, 5 to 8 and MAXPHYADDR and above are reserved in a present PDPTE. */
static void test_pdptes_reserved(void)
{
	struct bench *b = bench_create(PAGING_PAE, false, 256, 64, 1);
	uint64_t cr3 = b->cpu.cr3, slot = (cr3 & 0xffffffe0u) + 16, good = phys_read64(&b->phys, slot);
	CU_ASSERT_TRUE(b->cpu.mem.pdptes_valid(b->cpu.mem.self, &b->cpu, cr3));
	for (unsigned bit = 1; bit < 64; bit++) {
		bool reserved = (bit >= 1 && bit <= 2) || (bit >= 5 && bit <= 8) || bit >= b->cpu.features->phys_bits;
		phys_write64(&b->phys, slot, (good & ~(1ull << bit)) | 1 | 1ull << bit);
		CU_ASSERT_EQUAL(b->cpu.mem.pdptes_valid(b->cpu.mem.self, &b->cpu, cr3), !reserved);
		phys_write64(&b->phys, slot, 1ull << bit); /* not present: nothing is reserved */
		CU_ASSERT_TRUE(b->cpu.mem.pdptes_valid(b->cpu.mem.self, &b->cpu, cr3));
	}
	bench_destroy(b);
}

/* Slots run out: then everything goes, and no two living contexts ever share one, else what one entered would answer the other. keys: of the contexts that take turns beside the first. */
static void slots_run_out(unsigned keys)
{
	struct softtlb s;
	CU_ASSERT_TRUE_FATAL(softtlb_create(&s, 64));
	softtlb_context_enter(&s, 0, false, 0);
	softtlb_entry(&s, 0x5000)->read = 0x5000 | softtlb_tag(&s, MEMORY_SUPERVISOR);
	for (unsigned round = 0; round < 3 * SOFTTLB_SLOTS; round++) {
		softtlb_context_enter(&s, 1 + round % keys, false, 0);
		CU_ASSERT_NOT_EQUAL(softtlb_entry(&s, 0x5000)->read, 0x5000 | softtlb_tag(&s, MEMORY_SUPERVISOR));
		unsigned same = 0;
		for (unsigned i = 0; i < SOFTTLB_CONTEXTS; i++)
			same += s.context[i].alive && s.context[i].slot == s.now->slot;
		CU_ASSERT_EQUAL(same, 1);
	}
	softtlb_destroy(&s);
}
static void test_slots(void) { slots_run_out(1); slots_run_out(SOFTTLB_CONTEXTS - 1); slots_run_out(3 * SOFTTLB_SLOTS); }

/* The flush of any address in a large page ends all its pieces, from the first to the last; and nothing beside it. */
static void test_large_flush(void)
{
	static const struct { uint64_t flushed, entered; bool ends; } rows[] = {
		{ 0x400000, 0x400000, true }, { 0x400000, 0x401000, true }, { 0x400000, 0x5ff000, true }, { 0x5ff123, 0x400000, true }, { 0x400000, 0x600000, false }, { 0x400000, 0x3ff000, false },
		{ 0x3ff000, 0x400000, false }, { 0x600000, 0x5ff000, false }, { 0x3ff000, 0x3ff000, true },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct softtlb s;
		CU_ASSERT_TRUE_FATAL(softtlb_create(&s, 4096));
		softtlb_context_enter(&s, 1, false, 0);
		softtlb_note_large(&s, 0x47a000, 21);
		uint64_t tag = rows[i].entered | softtlb_tag(&s, MEMORY_SUPERVISOR);
		softtlb_entry(&s, rows[i].entered)->read = tag;
		softtlb_flush_page(&s, rows[i].flushed);
		CU_ASSERT_EQUAL(softtlb_entry(&s, rows[i].entered)->read != tag, rows[i].ends);
		softtlb_destroy(&s);
	}
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("softtlb", NULL, NULL);
	CU_add_test(s, "sizes agree: 32-bit", test_sizes_32);
	CU_add_test(s, "sizes agree: PAE", test_sizes_pae);
	CU_add_test(s, "sizes agree: 4-level", test_sizes_4level);
	CU_add_test(s, "sizes agree: 4-level with PCID", test_sizes_pcid);
	CU_add_test(s, "tables are tracked and forgotten", test_tables_tracked_and_forgotten);
	CU_add_test(s, "wide table stores are split", test_wide_table_stores_split);
	CU_add_test(s, "code pages", test_code_pages);
	CU_add_test(s, "code pages with aliases", test_code_page_aliases);
	CU_add_test(s, "resource control", test_resource_control);
	CU_add_test(s, "crossing accesses never match", test_crossing_never_matches);
	CU_add_test(s, "implicit supervisor accesses and SMAP", test_implicit_supervisor);
	CU_add_test(s, "contexts", test_contexts);
	CU_add_test(s, "growing", test_growing);
	CU_add_test(s, "invalidations and chains", test_invalidations_and_chains);
	CU_add_test(s, "reserved bits of PDPTEs", test_pdptes_reserved);
	CU_add_test(s, "slots", test_slots);
	CU_add_test(s, "pieces of large pages", test_large_flush);
	CU_add_test(s, "replay", test_replay_paths);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
