/*
 * Proves that the modelled TLBs do what their geometry says: against a naive model (lists in order of use, searched from end to end, flushed by predicates written from SDM 3A
 * 4.10.4 and 3C 28.4.3) on random streams over many geometries; that the filter in front changes no outcome and no counter, for every organisation and replacement policy of the
 * registries; that walk caches and the nested TLB leave the references that a count by hand leaves.
 */
#include "../tlb/assoc.h"
#include "../tlb/tlb_consumer.h"
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMORY = 16 << 20 };
static struct phys phys;
static uint64_t next_page, seed = 1;

static uint64_t draw(void) { seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; return seed >> 11; }

static uint64_t page_take(void)
{
	uint64_t at = next_page;
	next_page += 4096;
	memset(phys.bytes + at, 0, 4096);
	return at;
}

/* Maps gva in 4-level tables (x86 or EPT), leaf at `leaf`. */
static void map(uint64_t root, uint64_t gva, uint64_t hpa, uint64_t bits, unsigned leaf)
{
	uint64_t table = root;
	for (unsigned level = 4;; level--) {
		uint64_t at = table + (gva >> (12 + 9 * (level - 1)) & 511) * 8;
		if (level == leaf) {
			phys_write64(&phys, at, hpa | bits | (level > 1 ? 0x80 : 0));
			return;
		}
		if (!phys_read64(&phys, at))
			phys_write64(&phys, at, page_take() | 7);
		table = phys_read64(&phys, at) & 0xffffff000ull;
	}
}

enum { A = 0x20, D = 0x40, G = 0x100, SMALL = 96, LARGE = 12, GLOBAL = 16 };
#define SMALL_AT 0x10000000ull
#define LARGE_AT 0x40000000ull
#define GLOBAL_AT 0xffff800000000000ull
#define HUGE_AT 0x8000000000ull

static const struct paging one_to_one = { .format = PAGING_IDENTITY };
static struct paging guest, host, nested, guest_plain;

/* One address space with 4 KiB, 2 MiB and 1 GiB pages and global ones, all flags set; `nested` is the same space over an EPT of 4 KiB pages (2 MiB for the large ones). */
static int suite_start(void)
{
	if (!phys_create(&phys, MEMORY))
		return 1;
	next_page = 0x100000;
	guest = (struct paging){ .format = PAGING_4LEVEL, .wp = true, .nxe = true, .pge = true, .phys_bits = 40 };
	guest.root = page_take();
	for (unsigned i = 0; i < SMALL; i++)
		map(guest.root, SMALL_AT + i * 4096, 0x400000 + i * 4096, 7 | A | D, 1);
	for (unsigned i = 0; i < GLOBAL; i++)
		map(guest.root, GLOBAL_AT + i * 4096, 0x500000 + i * 4096, 7 | A | D | G, 1);
	for (uint64_t i = 0; i < LARGE; i++)
		map(guest.root, LARGE_AT + (i << 21), 0x40000000 + (i << 21), 7 | A | D, 2);
	map(guest.root, HUGE_AT, 0x80000000, 7 | A | D, 3);
	host = (struct paging){ .format = PAGING_EPT, .phys_bits = 40 };
	host.root = page_take();
	for (uint64_t at = 0; at < MEMORY; at += 4096)
		map(host.root, at, at, 7 | 6 << 3, 1);
	for (uint64_t i = 0; i < LARGE; i++)
		map(host.root, 0x40000000 + (i << 21), 0x40000000 + (i << 21), 7 | 6 << 3, 2);
	guest_plain = guest;
	nested = guest;
	nested.space = &host;
	return 0;
}
static int suite_end(void) { phys_destroy(&phys); return 0; }

static struct tlb_model *model(const struct tlb_model_config *c)
{
	char error[200] = "";
	struct tlb_model *m = tlb_model_create(c, &phys, error, sizeof error);
	if (!m)
		printf("\n  %s\n", error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	return m;
}

/* ---------------------------------------------------------------- the naive model */

struct naive_entry { uint64_t page; unsigned shift, set, pcid, vpid; bool global, through_ept; };
struct naive_array { struct naive_entry list[512]; unsigned count, entries, ways, sizes; bool fifo, hashed; };
struct naive { struct naive_array l1d[2], l1i[2], l2[2]; bool pcid_tag, vpid_tag; };

static unsigned naive_set(const struct naive_array *a, uint64_t page)
{
	unsigned sets = a->entries / a->ways, bits = 0;
	if (!a->hashed)
		return (unsigned)(page % sets);
	while (1u << bits < sets)
		bits++;
	return (unsigned)((page % sets) ^ (page / (1u << bits) % sets));
}

/* The page that the tables above give: size, and whether it is global. */
static unsigned page_shift_of(uint64_t gva) { return gva >= GLOBAL_AT || gva < LARGE_AT ? 12 : gva < HUGE_AT ? 21 : 30; }

static bool naive_matches(const struct naive_entry *e, uint64_t gva, unsigned pcid, unsigned vpid)
{
	return e->page == gva >> e->shift && e->vpid == vpid && (e->global || e->pcid == pcid);
}

static void naive_remove(struct naive_array *a, unsigned i)
{
	memmove(&a->list[i], &a->list[i + 1], (--a->count - i) * sizeof *a->list);
}

static void naive_front(struct naive_array *a, struct naive_entry e)
{
	memmove(&a->list[1], &a->list[0], a->count++ * sizeof *a->list);
	a->list[0] = e;
}

static bool naive_lookup(struct naive_array *level, uint64_t gva, unsigned pcid, unsigned vpid)
{
	for (unsigned n = 0; n < 2; n++)
		for (unsigned i = 0; i < level[n].count; i++)
			if (naive_matches(&level[n].list[i], gva, pcid, vpid)) {
				struct naive_entry e = level[n].list[i];
				if (!level[n].fifo) {
					naive_remove(&level[n], i);
					naive_front(&level[n], e);
				}
				return true;
			}
	return false;
}

static void naive_insert(struct naive_array *level, uint64_t gva, unsigned pcid, unsigned vpid, bool through_ept)
{
	for (unsigned n = 0; n < 2; n++) {
		struct naive_array *a = &level[n];
		unsigned shift = page_shift_of(gva), in_set = 0, last = 0;
		if (!a->entries || !(a->sizes & (shift == 12 ? TLB_4K : shift == 21 ? TLB_2M : TLB_1G)))
			continue;
		struct naive_entry e = { gva >> shift, shift, naive_set(a, gva >> shift), pcid, vpid, gva >= GLOBAL_AT, through_ept };
		for (unsigned i = 0; i < a->count; i++)
			if (a->list[i].set == e.set)
				in_set++, last = i;
		if (in_set == a->ways)
			naive_remove(a, last);
		naive_front(a, e);
		return;
	}
}

static enum tlb_result naive_access(struct naive *m, uint64_t gva, bool fetch, unsigned pcid, unsigned vpid, bool through_ept)
{
	struct naive_array *l1 = fetch ? m->l1i : m->l1d;
	enum tlb_result r = TLB_HIT_L1;
	if (!m->pcid_tag)
		pcid = 0;
	if (!m->vpid_tag)
		vpid = 0;
	if (naive_lookup(l1, gva, pcid, vpid))
		return r;
	r = TLB_HIT_L2;
	if (!naive_lookup(m->l2, gva, pcid, vpid)) {
		r = TLB_WALK;
		naive_insert(m->l2, gva, pcid, vpid, through_ept);
	}
	naive_insert(l1, gva, pcid, vpid, through_ept);
	return r;
}

/* "Does this flush end that entry?", a sentence of the manual each. */
static bool naive_ends(const struct naive_entry *e, enum tlb_flush kind, unsigned vpid, uint64_t addr, unsigned current_pcid)
{
	switch (kind) {
	case TLB_FLUSH_ALL: return true;
	case TLB_FLUSH_VPID: return e->vpid == vpid;
	case TLB_FLUSH_VPID_NOGLOBAL: return e->vpid == vpid && !e->global;
	case TLB_FLUSH_PCID: return e->vpid == vpid && !e->global && e->pcid == (addr & 0xfff);
	case TLB_FLUSH_PAGE: return e->vpid == vpid && (e->global || e->pcid == current_pcid) && e->page == addr >> e->shift;
	case TLB_FLUSH_PAGE_PCID: return e->vpid == vpid && !e->global && e->pcid == (addr & 0xfff) && e->page == addr >> e->shift;
	case TLB_FLUSH_EPT: return e->through_ept;
	default: return false;
	}
}

static void naive_flush(struct naive *m, enum tlb_flush kind, unsigned vpid, uint64_t addr, unsigned current_pcid)
{
	struct naive_array *all[] = { m->l1d, m->l1i, m->l2 };
	if (!m->pcid_tag) {
		current_pcid = 0;
		if (kind == TLB_FLUSH_PCID || kind == TLB_FLUSH_PAGE_PCID)
			addr &= ~0xfffull;
	}
	for (unsigned l = 0; l < 6; l++) {
		struct naive_array *a = &all[l / 2][l % 2];
		for (unsigned i = 0; i < a->count;)
			if (naive_ends(&a->list[i], kind, m->vpid_tag ? vpid : 0, addr, current_pcid))
				naive_remove(a, i);
			else
				i++;
	}
}

/* ---------------------------------------------------------------- random streams over geometries */

enum { S4 = TLB_4K, S2 = TLB_2M, S1 = TLB_1G, MIX = TLB_4K | TLB_2M };
static const struct tlb_model_config geometries[] = {
	{ .l1d = { { NULL, NULL, 16, 4, S4 | S2 | S1 } }, .l1i = { { NULL, NULL, 8, 8, S4 | S2 | S1 } }, .l2 = { { NULL, NULL, 64, 4, S4 | S2 | S1 } }, .tagged_pcid = true, .tagged_vpid = true },
	{ .l1d = { { NULL, NULL, 64, 4, S4 }, { NULL, NULL, 8, 4, S2 | S1 } }, .l1i = { { NULL, NULL, 32, 8, S4 }, { NULL, NULL, 8, 8, S2 | S1 } }, .l2 = { { NULL, NULL, 96, 12, MIX }, { NULL, NULL, 4, 4, S1 } },
	  .tagged_pcid = true, .tagged_vpid = true },
	{ .l1d = { { NULL, NULL, 15, 3, S4 | S2 | S1 } }, .l1i = { { NULL, NULL, 7, 1, S4 | S2 | S1 } }, .l2 = { { NULL, NULL, 66, 6, S4 | S2 | S1 } }, .tagged_pcid = true }, /* 5, 7 and 11 sets */
	{ .l1d = { { "fully-associative", NULL, 12, 0, S4 | S2 | S1 } }, .l1i = { { "fully-associative", "fifo", 5, 0, S4 | S2 | S1 } }, .l2 = { { NULL, "fifo", 32, 4, S4 | S2 | S1 } } },
	{ .l1d = { { NULL, NULL, 1, 1, S4 | S2 | S1 } }, .l1i = { { NULL, NULL, 1, 1, S4 | S2 | S1 } }, .tagged_pcid = true, .tagged_vpid = true },
	{ .l1d = { { NULL, "plru", 32, 2, S4 | S2 | S1 } }, .l1i = { { "hashed", NULL, 16, 4, S4 | S2 | S1 } }, .l2 = { { "hashed", "plru", 64, 2, S4 | S2 | S1 } }, .tagged_pcid = true, .tagged_vpid = true }, /* two-way PLRU is LRU */
};

static void naive_arrays(struct naive_array *to, const struct tlb_geometry *g)
{
	for (unsigned i = 0; i < 2; i++) {
		to[i] = (struct naive_array){ .entries = g[i].entries, .ways = g[i].ways ? g[i].ways : g[i].entries, .sizes = g[i].page_sizes };
		to[i].fifo = g[i].replacement && !strcmp(g[i].replacement, "fifo");
		to[i].hashed = g[i].organisation && !strcmp(g[i].organisation, "hashed");
	}
}

static uint64_t gva_draw(void)
{
	uint64_t at = draw() & 0xfff, r = draw();
	switch (draw() % 8) {
	case 0: return GLOBAL_AT + r % GLOBAL * 4096 + at;
	case 1: return LARGE_AT + (r % LARGE << 21) + (draw() & 0x1ff000) + at;
	case 2: return HUGE_AT + (draw() & 0x3ffff000) + at;
	default: return SMALL_AT + (draw() & 1 ? r % SMALL : r % 6) * 4096 + at;
	}
}

static uint64_t hpa_of(uint64_t gva)
{
	return gva >= GLOBAL_AT ? gva - GLOBAL_AT + 0x500000 : gva >= HUGE_AT ? gva - HUGE_AT + 0x80000000 : gva >= LARGE_AT ? gva - LARGE_AT + 0x40000000 : gva - SMALL_AT + 0x400000;
}

static unsigned stream_compare(const struct tlb_model_config *c, unsigned steps)
{
	struct tlb_model *m = model(c);
	struct naive *n = calloc(1, sizeof *n);
	unsigned wrong = 0, pcid = 0, vpid = 0;
	n->pcid_tag = c->tagged_pcid, n->vpid_tag = c->tagged_vpid;
	naive_arrays(n->l1d, c->l1d), naive_arrays(n->l1i, c->l1i), naive_arrays(n->l2, c->l2);
	for (unsigned i = 0; i < steps; i++) {
		struct paging p = guest;
		unsigned what = draw() % 200;
		if (what < 2) { /* another space; hardware without the tag flushes, as the access that follows must show */
			unsigned to_pcid = draw() % 3, to_vpid = c->tagged_vpid ? draw() % 2 : vpid;
			if (to_pcid != pcid && !c->tagged_pcid)
				naive_flush(n, TLB_FLUSH_VPID_NOGLOBAL, to_vpid, 0, 0);
			pcid = to_pcid, vpid = to_vpid;
		}
		p.pcid = (uint16_t)pcid, p.vpid = (uint16_t)vpid;
		bool through_ept = vpid == 1;
		struct paging two = p;
		if (through_ept) /* a host that changes nothing, so that sizes stay the guest's */
			two.space = &one_to_one;
		struct tlb_outcome o;
		uint64_t gva = gva_draw();
		bool fetch = draw() % 4 == 0;
		tlb_model_access(m, &two, gva, fetch ? ACCESS_EXEC : draw() & 1, 0, &o);
		enum tlb_result want = naive_access(n, gva, fetch, pcid, vpid, through_ept);
		wrong += o.result != want || o.hpa != hpa_of(gva) || o.refs != (want == TLB_WALK ? page_shift_of(gva) == 12 ? 4 : page_shift_of(gva) == 21 ? 3 : 2 : 0);
		if (what == 2) {
			enum tlb_flush kind = draw() % TLB_FLUSH_KINDS;
			unsigned of_vpid = c->tagged_vpid ? draw() % 2 : 0, of_pcid = draw() % 3;
			uint64_t addr = kind == TLB_FLUSH_PCID ? of_pcid : kind == TLB_FLUSH_PAGE_PCID ? (gva & ~0xfffull) | of_pcid : gva;
			tlb_model_flush(m, kind, of_vpid, addr, &two);
			naive_flush(n, kind, of_vpid, addr, pcid);
		}
	}
	tlb_model_destroy(m);
	free(n);
	return wrong;
}

static void test_geometries(void)
{
	for (unsigned i = 0; i < sizeof geometries / sizeof *geometries; i++) {
		unsigned wrong = stream_compare(&geometries[i], 60000);
		CU_ASSERT_EQUAL(wrong, 0);
		if (wrong)
			printf("\n  geometry %u: %u outcomes differ\n", i, wrong);
	}
}

/* ---------------------------------------------------------------- the filter changes nothing */

static bool same_outcome(const struct tlb_outcome *a, const struct tlb_outcome *b)
{
	return a->result == b->result && a->hpa == b->hpa && a->faulted == b->faulted && a->dirty_assist == b->dirty_assist && a->refs == b->refs
		&& !memcmp(a->ref, b->ref, a->refs * sizeof *a->ref);
}

static unsigned filter_compare(const char *organisation, const char *replacement, bool over_ept)
{
	struct tlb_model_config c = {
		.l1d = { { organisation, replacement, 16, 4, S4 }, { organisation, replacement, 4, 2, S2 | S1 } }, .l1i = { { organisation, replacement, 8, 4, S4 } },
		.l2 = { { organisation, replacement, 32, 4, MIX } }, .tagged_pcid = true, .walk_cache = "per-level", .walk_cache_entries = { 0, 0, 4, 4, 4 }, .nested_tlb_entries = 8,
	};
	struct tlb_model *with = model(&c);
	c.no_filter = true;
	struct tlb_model *without = model(&c);
	struct paging p = over_ept ? nested : guest;
	unsigned wrong = 0, hits = 0;
	for (unsigned i = 0; i < 40000; i++) {
		struct tlb_outcome a = { 0 }, b = { 0 };
		uint64_t gva = gva_draw(), hpa;
		if (gva >= HUGE_AT && gva < GLOBAL_AT)
			gva = SMALL_AT + (gva & 0x3000);
		unsigned access = draw() % 3, flags = draw() % 64 == 0 ? EVF_FAULT : 0;
		p.pcid = draw() % 128 == 0 ? !p.pcid : p.pcid;
		if (tlb_model_access_fast(with, &p, gva, access, flags, &hpa)) {
			a = (struct tlb_outcome){ .result = TLB_HIT_L1, .hpa = hpa };
			hits++;
		} else {
			tlb_model_access(with, &p, gva, access, flags, &a);
		}
		tlb_model_access(without, &p, gva, access, flags, &b);
		if (flags & EVF_FAULT)
			a.hpa = b.hpa = 0;
		wrong += !same_outcome(&a, &b);
		if (draw() % 100 == 0) {
			enum tlb_flush kind = draw() % TLB_FLUSH_KINDS;
			tlb_model_flush(with, kind, 0, gva & ~0xfffull, &p);
			tlb_model_flush(without, kind, 0, gva & ~0xfffull, &p);
		}
	}
	wrong += memcmp(tlb_model_stats(with), tlb_model_stats(without), sizeof(struct tlb_stats)) != 0;
	CU_ASSERT(hits > 1000);
	tlb_model_destroy(with);
	tlb_model_destroy(without);
	return wrong;
}

static void test_filter(void)
{
	const char *organisation, *replacement;
	for (unsigned o = 0; (organisation = tlb_organisation_name(o)); o++)
		for (unsigned r = 0; (replacement = tlb_replacement_name(r)); r++) {
			if (!strcmp(organisation, "skewed") && !strcmp(replacement, "plru"))
				continue; /* has no sets: refused, see test_bad_configurations */
			CU_ASSERT_EQUAL(filter_compare(organisation, replacement, false), 0);
			CU_ASSERT_EQUAL(filter_compare(organisation, replacement, true), 0);
		}
}

/* ---------------------------------------------------------------- replacement by hand */

static enum tlb_result touch(struct tlb_model *m, uint64_t gva)
{
	struct tlb_outcome o;
	tlb_model_access(m, &guest_plain, gva, ACCESS_READ, 0, &o);
	return o.result;
}

static void test_plru(void)
{
	struct tlb_model_config c = { .l1d = { { NULL, "plru", 4, 4, S4 } } };
	struct tlb_model *m = model(&c);
	for (unsigned i = 0; i < 4; i++)
		touch(m, SMALL_AT + i * 4096); /* ways 0 1 2 3: the tree points left, then left */
	touch(m, SMALL_AT);                /* way 0: root points right, left half points at 1 */
	touch(m, SMALL_AT + 2 * 4096);     /* way 2: root points left, right half points at 3 */
	touch(m, SMALL_AT + 4 * 4096);     /* evicts way 1; root points right */
	CU_ASSERT_EQUAL(touch(m, SMALL_AT), TLB_HIT_L1);
	CU_ASSERT_EQUAL(touch(m, SMALL_AT + 2 * 4096), TLB_HIT_L1);
	CU_ASSERT_EQUAL(touch(m, SMALL_AT + 3 * 4096), TLB_HIT_L1);
	CU_ASSERT_EQUAL(touch(m, SMALL_AT + 1 * 4096), TLB_WALK);
	tlb_model_destroy(m);
}

static void test_random_repeats(void)
{
	struct tlb_model_config c = { .l1d = { { NULL, "random", 16, 4, S4 } } };
	struct tlb_model *a = model(&c), *b = model(&c);
	unsigned hits = 0;
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t gva = SMALL_AT + draw() % 24 * 4096;
		enum tlb_result r = touch(a, gva);
		CU_ASSERT_EQUAL(r, touch(b, gva));
		hits += r == TLB_HIT_L1;
	}
	CU_ASSERT(hits > 2000 && hits < 4500); /* 16 of 24 pages fit */
	tlb_model_destroy(a);
	tlb_model_destroy(b);
}

/* ---------------------------------------------------------------- flush scopes, one by one */

static void test_flush_matrix(void)
{
	/* entries: (vpid, pcid, global, through EPT), all for the same page; which flush of (vpid 1, pcid 1) ends which */
	static const struct { unsigned vpid, pcid; bool global; } entry[] = { { 1, 1, false }, { 1, 2, false }, { 1, 1, true }, { 2, 1, false }, { 2, 1, true } };
	static const bool ends[TLB_FLUSH_KINDS][5] = {
		[TLB_FLUSH_ALL] = { 1, 1, 1, 1, 1 }, [TLB_FLUSH_VPID] = { 1, 1, 1, 0, 0 }, [TLB_FLUSH_VPID_NOGLOBAL] = { 1, 1, 0, 0, 0 }, [TLB_FLUSH_PCID] = { 1, 0, 0, 0, 0 },
		[TLB_FLUSH_PAGE] = { 1, 0, 1, 0, 0 }, [TLB_FLUSH_PAGE_PCID] = { 1, 0, 0, 0, 0 }, [TLB_FLUSH_EPT] = { 1, 1, 1, 1, 1 },
	};
	struct tlb_model_config c = { .l1d = { { NULL, NULL, 32, 8, S4 } }, .l2 = { { NULL, NULL, 64, 8, S4 } }, .tagged_pcid = true, .tagged_vpid = true };
	for (unsigned kind = 0; kind < TLB_FLUSH_KINDS; kind++)
		for (unsigned e = 0; e < 5; e++) {
			struct tlb_model *m = model(&c);
			struct paging p = nested, current = nested;
			struct tlb_outcome o;
			uint64_t gva = entry[e].global ? GLOBAL_AT : SMALL_AT, addr = kind == TLB_FLUSH_PCID ? 1 : kind == TLB_FLUSH_PAGE_PCID ? gva | 1 : gva;
			p.vpid = (uint16_t)entry[e].vpid, p.pcid = (uint16_t)entry[e].pcid;
			current.vpid = current.pcid = 1;
			tlb_model_access(m, &p, gva, ACCESS_READ, 0, &o);
			tlb_model_access(m, &p, gva + 4096, ACCESS_READ, 0, &o); /* another page: survives flushes of one */
			tlb_model_flush(m, kind, 1, addr, &current);
			tlb_model_access(m, &p, gva, ACCESS_READ, 0, &o);
			CU_ASSERT_EQUAL(o.result == TLB_WALK, ends[kind][e]);
			tlb_model_access(m, &p, gva + 4096, ACCESS_READ, 0, &o);
			CU_ASSERT_EQUAL(o.result == TLB_WALK, ends[kind][e] && kind != TLB_FLUSH_PAGE && kind != TLB_FLUSH_PAGE_PCID);
			tlb_model_destroy(m);
		}
}

/* A native translation survives INVEPT; a large guest page over small host pages dies whole at INVLPG of any part of it. */
static void test_flush_pieces(void)
{
	struct tlb_model_config c = { .l1d = { { NULL, NULL, 32, 8, S4 } }, .tagged_pcid = true, .tagged_vpid = true };
	struct tlb_model *m = model(&c);
	CU_ASSERT_EQUAL(touch(m, SMALL_AT), TLB_WALK);
	tlb_model_flush(m, TLB_FLUSH_EPT, 0, 0, &guest);
	CU_ASSERT_EQUAL(touch(m, SMALL_AT), TLB_HIT_L1);
	CU_ASSERT_EQUAL(touch(m, LARGE_AT), TLB_WALK);
	CU_ASSERT_EQUAL(touch(m, LARGE_AT + 0x5000), TLB_WALK); /* the array has no large pages: pieces */
	CU_ASSERT_EQUAL(touch(m, LARGE_AT), TLB_HIT_L1);
	CU_ASSERT_EQUAL(touch(m, LARGE_AT + 0x5000), TLB_HIT_L1);
	tlb_model_flush(m, TLB_FLUSH_PAGE, 0, LARGE_AT + 0x123456, &guest);
	CU_ASSERT_EQUAL(touch(m, LARGE_AT), TLB_WALK);
	CU_ASSERT_EQUAL(touch(m, LARGE_AT + 0x5000), TLB_WALK);
	CU_ASSERT_EQUAL(touch(m, SMALL_AT), TLB_HIT_L1);
	tlb_model_destroy(m);
}

/* ---------------------------------------------------------------- dirty flags and faults */

static void test_dirty_assist(void)
{
	struct tlb_model_config c = { .l1d = { { NULL, NULL, 4, 4, S4 } }, .l2 = { { NULL, NULL, 16, 4, S4 } } };
	struct tlb_model *m = model(&c);
	struct tlb_outcome o;
	uint64_t gva = SMALL_AT + 0x100000;
	map(guest.root, gva, 0x600000, 7 | A, 1);
	tlb_model_access(m, &guest, gva, ACCESS_READ, 0, &o);
	map(guest.root, gva, 0x600000, 7 | A | D, 1); /* the softtlb's walk has set it before the store's event */
	tlb_model_access(m, &guest, gva, ACCESS_WRITE, 0, &o);
	CU_ASSERT(o.result == TLB_HIT_L1 && o.dirty_assist && o.refs == 4);
	tlb_model_access(m, &guest, gva, ACCESS_WRITE, 0, &o);
	CU_ASSERT(o.result == TLB_HIT_L1 && !o.dirty_assist && o.refs == 0);
	for (unsigned i = 0; i < 4; i++)
		touch(m, SMALL_AT + i * 4096); /* out of L1 */
	tlb_model_access(m, &guest, gva, ACCESS_WRITE, 0, &o);
	CU_ASSERT(o.result == TLB_HIT_L2 && !o.dirty_assist); /* the second level has learned it too */
	CU_ASSERT_EQUAL(tlb_model_stats(m)->dirty_assists, 1);
	tlb_model_destroy(m);
}

static void test_faults(void)
{
	struct tlb_model_config c = { .l1d = { { NULL, NULL, 4, 4, S4 } }, .l2 = { { NULL, NULL, 16, 4, S4 } }, .walk_cache = "per-level", .walk_cache_entries = { 0, 0, 4, 4, 4 } };
	struct tlb_model *m = model(&c);
	struct tlb_outcome o;
	CU_ASSERT_EQUAL(touch(m, SMALL_AT), TLB_WALK);
	tlb_model_access(m, &guest, SMALL_AT, ACCESS_WRITE, EVF_FAULT, &o); /* say, a protection fault */
	CU_ASSERT(o.faulted && o.result == TLB_WALK && o.refs == 1); /* the walk caches still had the upper levels... */
	tlb_model_access(m, &guest, SMALL_AT, ACCESS_READ, 0, &o);
	CU_ASSERT(o.result == TLB_WALK && o.refs == 4); /* ...and the fault ended both (SDM 3A 4.10.4.1) */
	tlb_model_access(m, &guest, SMALL_AT + 0x7000000, ACCESS_READ, EVF_FAULT, &o);
	CU_ASSERT(o.faulted && o.refs > 0);
	CU_ASSERT_EQUAL(tlb_model_stats(m)->walks_faulted, 2);
	struct paging off = { .format = PAGING_IDENTITY };
	tlb_model_access(m, &off, 0x1234, ACCESS_READ, 0, &o);
	CU_ASSERT(o.result == TLB_OFF && o.hpa == 0x1234 && o.refs == 0);
	tlb_model_destroy(m);
}

/* ---------------------------------------------------------------- walk caches by hand */

static unsigned refs_of(struct tlb_model *m, const struct paging *p, uint64_t gva)
{
	struct tlb_outcome o;
	tlb_model_access(m, p, gva, ACCESS_READ, 0, &o);
	CU_ASSERT_EQUAL(o.result, TLB_WALK);
	return o.refs;
}

static void test_walk_cache_per_level(void)
{
	struct tlb_model_config c = { .l1d = { { NULL, NULL, 1, 1, S4 } }, .walk_cache = "per-level", .walk_cache_entries = { 0, 0, 8, 8, 8 } };
	struct tlb_model *m = model(&c);
	CU_ASSERT_EQUAL(refs_of(m, &guest, SMALL_AT), 4);
	CU_ASSERT_EQUAL(refs_of(m, &guest, SMALL_AT + 0x1000), 1); /* same page table: the PDE is cached */
	CU_ASSERT_EQUAL(refs_of(m, &guest, LARGE_AT), 2);           /* same PML4E only: PDPTE and PDE (a leaf) are read */
	CU_ASSERT_EQUAL(refs_of(m, &guest, LARGE_AT + 0x200000), 1); /* same PDPTE; a leaf PDE is never cached */
	CU_ASSERT_EQUAL(refs_of(m, &guest, LARGE_AT), 1);
	tlb_model_flush(m, TLB_FLUSH_VPID_NOGLOBAL, 0, 0, &guest);
	CU_ASSERT_EQUAL(refs_of(m, &guest, SMALL_AT), 4);
	tlb_model_flush(m, TLB_FLUSH_PAGE, 0, LARGE_AT, &guest); /* INVLPG ends all of the PCID's (SDM 3A 4.10.4.1) */
	CU_ASSERT_EQUAL(refs_of(m, &guest, SMALL_AT + 0x1000), 4);
	tlb_model_destroy(m);

	c.walk_cache_entries[2] = c.walk_cache_entries[3] = 0; /* PML4E cache alone */
	m = model(&c);
	CU_ASSERT_EQUAL(refs_of(m, &guest, SMALL_AT), 4);
	CU_ASSERT_EQUAL(refs_of(m, &guest, SMALL_AT + 0x1000), 3);
	tlb_model_destroy(m);
}

static void test_walk_cache_nested_counts(void)
{
	struct tlb_model_config c = { .l1d = { { NULL, NULL, 1, 1, S4 } }, .walk_cache = "per-level", .walk_cache_entries = { 0, 0, 8, 8, 8 } };
	struct tlb_model *m = model(&c);
	/* 24, less what host walks of neighbouring frames share: all guest tables lie in one 2 MiB, so after the first nested walk (4) each needs its last level only: 4 + 4 * 1 more nested
	   walks; the data page lies in another 2 MiB under the same PDPTE: 2. So 4 guest + 4 + 3 + 2. */
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT), 4 + 4 + 3 + 2);
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT + 0x1000), 1 + 1); /* guest PDE cached, with the host address of the page table: PTE, and the last level for the data page */
	tlb_model_flush(m, TLB_FLUSH_PCID, 0, 0, &nested); /* the guest's dimension alone: the host's caches stay (SDM 3C 28.4.3.1) */
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT), 4 + 4 + 1);
	tlb_model_flush(m, TLB_FLUSH_EPT, 0, 0, &nested);  /* both */
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT), 4 + 4 + 3 + 2);
	tlb_model_flush(m, TLB_FLUSH_ALL, 0, 0, &nested);
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT), 4 + 4 + 3 + 2);
	tlb_model_destroy(m);

	c = (struct tlb_model_config){ .l1d = { { NULL, NULL, 1, 1, S4 } }, .nested_tlb_entries = 16 };
	m = model(&c);
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT), 24);
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT + 0x1000), 4 + 4); /* the tables' translations are in the nested TLB; the new data page's is not */
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT), 4);
	CU_ASSERT_EQUAL(tlb_model_stats(m)->nested_tlb_hits, 4 + 5);
	tlb_model_flush(m, TLB_FLUSH_PCID, 0, 0, &nested); /* linear mappings only: the nested TLB stays */
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT), 4);
	tlb_model_flush(m, TLB_FLUSH_EPT, 0, 0, &nested);
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT), 24);
	tlb_model_destroy(m);
}

static void test_walk_cache_by_address(void)
{
	struct tlb_model_config c = { .l1d = { { NULL, NULL, 1, 1, S4 } }, .walk_cache = "by-address", .walk_cache_entries = { 32 } };
	struct tlb_model *m = model(&c);
	CU_ASSERT_EQUAL(refs_of(m, &guest, SMALL_AT), 4);
	CU_ASSERT_EQUAL(refs_of(m, &guest, SMALL_AT + 0x1000), 1);
	tlb_model_flush(m, TLB_FLUSH_ALL, 0, 0, &nested);
	/* 24 references; host levels 4, 3, 2 are the same entries for all four tables (12 -> 3), the data page has level 2 of its own (2 saved) */
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT), 24 - 9 - 2);
	CU_ASSERT_EQUAL(refs_of(m, &nested, SMALL_AT + 0x1000), 4 + 1 + 1); /* last-level entries are not cached: five nested ones, one guest */
	tlb_model_destroy(m);
}

/* ---------------------------------------------------------------- the consumer, and configurations that must be refused */

static const struct paging *current_paging(void *self) { return self; }

static void test_consumer(void)
{
	struct tlb_model_config c = { .l1d = { { NULL, NULL, 64, 4, S4 } }, .l1i = { { NULL, NULL, 64, 4, S4 } } };
	struct tlb_model *m = model(&c);
	struct tlb_consumer consumer;
	struct block_static blocks[1] = { { .bytes = 20 } };
	struct block_dictionary d = { .entry = blocks, .count = 1 };
	struct event events[] = {
		{ EV_BLOCK, 0, 5, 0, SMALL_AT + 0x100 }, { EV_BLOCK, 0, 5, 0, SMALL_AT + 0xff0 } /* crosses */, { EV_LOAD, 0, 8, 0, SMALL_AT + 0x2ffc } /* crosses */,
		{ EV_STORE, 0, 8, 0, SMALL_AT + 0x3000 }, { EV_RMW, 0, 4, 0, SMALL_AT + 0x3010 }, { EV_LOAD, EVF_FAULT, 8, 0, SMALL_AT + 0x900000 },
		{ EV_LOAD, EVF_FAULT | EVF_FETCH, 1, 0, SMALL_AT + 0x900000 }, { EV_TLB_FLUSH, 0, 0, TLB_FLUSH_PAGE, SMALL_AT + 0x3000 }, { EV_TABLE_STORE, 0, 8, 0, SMALL_AT + 0x3000 },
		{ EV_VALUE, 0, 0, 0, 99 },
	};
	tlb_consumer_create(&consumer, m, &d, current_paging, &guest);
	consumer.link.consume(consumer.link.self, events, events + sizeof events / sizeof *events);
	const struct tlb_stats *s = tlb_model_stats(m);
	CU_ASSERT_EQUAL(s->l1i_access, 3 + 1);
	CU_ASSERT_EQUAL(s->l1i_miss, 2 + 1);
	CU_ASSERT_EQUAL(s->l1d_access, 2 + 1 + 1 + 1 + 1);
	CU_ASSERT_EQUAL(s->l1d_miss, 2 + 0 + 0 + 1 + 1);
	CU_ASSERT_EQUAL(s->walks_faulted, 2);
	CU_ASSERT_EQUAL(s->flushes[TLB_FLUSH_PAGE], 1);
	tlb_model_destroy(m);
}

static void test_bad_configurations(void)
{
	static const struct tlb_model_config bad[] = {
		{ .l1d = { { "no such", NULL, 16, 4, S4 } } },       { .l1d = { { NULL, "no such", 16, 4, S4 } } }, { .l1d = { { NULL, NULL, 15, 4, S4 } } },
		{ .l1d = { { NULL, NULL, 16, 4, 0 } } },             { .l1d = { { NULL, NULL, 4, 8, S4 } } },       { .l1d = { { NULL, NULL, 0xffffffff, 1, S4 } } },
		{ .l2 = { { "hashed", NULL, 12, 4, S4 } } },         { .l1i = { { NULL, "plru", 12, 3, S4 } } },    { .l1i = { { "skewed", "plru", 16, 4, S4 } } },
		{ .walk_cache = "no such" },                         { .nested_tlb_entries = 0x7fffffff },
	};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		char error[200] = "";
		CU_ASSERT_PTR_NULL(tlb_model_create(&bad[i], &phys, error, sizeof error));
		CU_ASSERT(strlen(error) > 20);
	}
}

/* ---------------------------------------------------------------- what walk caches are made of, against a list */

struct naive_pair { uint64_t key, owner; };

static unsigned keys_find(const struct naive_pair *list, unsigned count, uint64_t key, uint64_t owner)
{
	unsigned i = 0;
	while (i < count && !(list[i].key == key && list[i].owner == owner))
		i++;
	return i;
}

static void keys_remove(struct naive_pair *list, unsigned *count, unsigned at)
{
	memmove(list + at, list + at + 1, (--*count - at) * sizeof *list);
}

/* A list from the least to the most recently used. */
static void assoc_compare(unsigned lines)
{
	struct assoc a;
	struct naive_pair *list = calloc(lines + 1u, sizeof *list);
	unsigned count = 0, hits = 0;
	CU_ASSERT_FATAL(assoc_create(&a, lines));
	for (unsigned i = 0; i < 30000; i++) {
		uint64_t key = draw() % (2 * lines + 3), owner = draw() & 3, what = draw() % 64;
		unsigned at = keys_find(list, count, key, owner);
		if (what == 0) {
			uint64_t mask = draw() & 3;
			assoc_flush(&a, mask, owner);
			for (unsigned n = count; n-- > 0;)
				if (!((list[n].owner ^ owner) & mask))
					keys_remove(list, &count, n);
		} else if (what < 8) {
			assoc_drop(&a, key, owner);
			if (at < count)
				keys_remove(list, &count, at);
		} else {
			bool there = at < count, learns = what & 1;
			if (there)
				keys_remove(list, &count, at);
			else if (learns && count == lines)
				keys_remove(list, &count, 0);
			if (there || learns)
				list[count++] = (struct naive_pair){ key, owner };
			CU_ASSERT_EQUAL(assoc_find(&a, key, owner), there);
			if (learns && !there)
				assoc_enter(&a, key, owner);
			hits += there;
		}
		CU_ASSERT_EQUAL(a.count, count);
	}
	for (unsigned n = 0; n < count; n++)
		CU_ASSERT_NOT_EQUAL(assoc_index(&a, list[n].key, list[n].owner), ASSOC_NONE);
	CU_ASSERT(hits > 1000);
	assoc_destroy(&a);
	free(list);
}

static void test_assoc(void)
{
	static const unsigned lines[] = { 1, 2, 3, 16, 33, 64, 65, 100 };
	for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
		assoc_compare(lines[i]);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("tlb model", suite_start, suite_end);
	CU_add_test(s, "geometries against a naive model", test_geometries);
	CU_add_test(s, "filter on and off", test_filter);
	CU_add_test(s, "tree PLRU by hand", test_plru);
	CU_add_test(s, "random repeats", test_random_repeats);
	CU_add_test(s, "flush scopes", test_flush_matrix);
	CU_add_test(s, "pieces of large pages, INVEPT", test_flush_pieces);
	CU_add_test(s, "dirty assists", test_dirty_assist);
	CU_add_test(s, "faults", test_faults);
	CU_add_test(s, "walk cache per level", test_walk_cache_per_level);
	CU_add_test(s, "walk caches and nested TLB, two dimensions", test_walk_cache_nested_counts);
	CU_add_test(s, "walk cache by address", test_walk_cache_by_address);
	CU_add_test(s, "consumer", test_consumer);
	CU_add_test(s, "bad configurations are refused", test_bad_configurations);
	CU_add_test(s, "walk caches against a list", test_assoc);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
