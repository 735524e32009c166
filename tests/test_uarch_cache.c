/*
 * Proves: the cache is true LRU, write-back and write-allocate for any geometry, and the hierarchy moves lines as such caches do.
 * Reference: a naive model here, written from the definition: a list of lines with time stamps, searched from end to end; and hand-made sequences for latencies and DRAM rows.
 */
#include "uarch/hierarchy.h"
#include <CUnit/Basic.h>
#include <stdlib.h>

struct naive_line { uint64_t line, stamp; bool valid, dirty; };
struct naive { struct naive_line *at; uint64_t sets, ways, now, misses, writebacks; };

static bool naive_access(struct naive *n, uint64_t line, bool write, struct cache_victim *victim)
{
	struct naive_line *set = n->at + line % n->sets * n->ways, *oldest = set;
	n->now++;
	for (uint64_t w = 0; w < n->ways; w++) {
		if (set[w].valid && set[w].line == line) {
			set[w].stamp = n->now;
			set[w].dirty |= write;
			return true;
		}
		if (!set[w].valid ? oldest->valid : oldest->valid && set[w].stamp < oldest->stamp)
			oldest = &set[w];
	}
	n->misses++;
	victim->line = oldest->line;
	victim->dirty = oldest->valid && oldest->dirty;
	n->writebacks += victim->dirty;
	*oldest = (struct naive_line){ line, n->now, true, write };
	return false;
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static void geometry_compare(uint32_t sets, uint32_t ways, uint32_t line, enum lru_variant variant)
{
	struct cache c;
	struct naive n = { calloc((size_t)sets * ways, sizeof *n.at), sets, ways, 0, 0, 0 };
	uint64_t seed = 88172645463325252ull + sets * 64 + ways, differences = 0, range = (uint64_t)sets * ways * 2 + 3;
	CU_ASSERT_FATAL(cache_create(&c, &(struct cache_geometry){ sets * ways * line, ways, line, 3 }, variant));
	CU_ASSERT_EQUAL(c.sets, sets);
	for (unsigned i = 0; i < 60000; i++) {
		uint64_t r = random_next(&seed), at = r >> 8 & 1 ? r >> 16 & 7 : (r >> 16) % range; /* half of it near, so that hits at every depth occur */
		struct cache_victim a = { 0 }, b = { 0 };
		bool hit = cache_access(&c, at, r & 1, &a), expected = naive_access(&n, at, r & 1, &b);
		differences += hit != expected || (!hit && (a.dirty != b.dirty || (a.dirty && a.line != b.line)));
	}
	CU_ASSERT_EQUAL(differences, 0);
	CU_ASSERT_EQUAL(c.access, 60000);
	CU_ASSERT_EQUAL(c.miss, n.misses);
	CU_ASSERT_EQUAL(c.writeback, n.writebacks);
	CU_ASSERT(n.misses > 100 && n.misses < 60000);
	cache_destroy(&c);
	free(n.at);
}

static void test_lru(void)
{
	static const uint32_t shapes[][3] = { { 1, 1, 64 }, { 1, 8, 64 }, { 2, 2, 32 }, { 64, 8, 64 }, { 3, 4, 64 }, { 7, 11, 128 }, { 100, 1, 64 }, { 12, 20, 64 }, { 1, 64, 64 }, { 128, 4, 8 }, { 16, 16, 64 }, { 3, 8, 64 } };
	for (unsigned v = LRU_BEST; v < LRU_VARIANTS; v++)
		for (unsigned i = 0; lru_variant_runs(v) && i < sizeof shapes / sizeof *shapes; i++)
			geometry_compare(shapes[i][0], shapes[i][1], shapes[i][2], v);
}

static void test_impossible(void)
{
	static const struct cache_geometry bad[] = { { 1000, 4, 64, 1 }, { 4096, 0, 64, 1 }, { 4096, 4, 48, 1 }, { 4096, 65, 64, 1 }, { 4096, 4, 4, 1 }, { 96, 1, 64, 1 } };
	struct cache c;
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		CU_ASSERT_FALSE(cache_create(&c, &bad[i], LRU_BEST));
	CU_ASSERT(cache_create(&c, &(struct cache_geometry){ 0, 0, 0, 0 }, LRU_BEST));
	CU_ASSERT_PTR_NULL(c.entry);
}

static struct preset small_preset(bool third)
{
	struct preset p = { .name = "test", .l1i = { 128, 1, 64, 1 }, .l1d = { 128, 1, 64, 4 }, .l2 = { 256, 2, 64, 10 }, .l3 = { third ? 512u : 0, 4, 64, 30 },
		.dram = { 2, 1024, 100, 150, 200 } };
	return p;
}

static void test_levels(void)
{
	struct hierarchy h;
	struct preset p = small_preset(true);
	CU_ASSERT_PTR_NULL_FATAL(hierarchy_create(&h, &p));
	CU_ASSERT_EQUAL(hierarchy_access(&h, &h.l1d, 0, false), 30 + 150);      /* bank 0 was closed */
	CU_ASSERT_EQUAL(hierarchy_access(&h, &h.l1d, 63, true), 4);             /* the same line */
	CU_ASSERT_EQUAL(hierarchy_access(&h, &h.l1d, 128, false), 30 + 100);    /* the row is open; L1 has 2 sets: line 0 leaves, dirty, into L2 */
	CU_ASSERT_EQUAL(h.l1d.writeback, 1);
	CU_ASSERT_EQUAL(hierarchy_access(&h, &h.l1d, 0, false), 10);            /* and is found there */
	CU_ASSERT_EQUAL(hierarchy_access(&h, &h.l1d, 2048, false), 30 + 200);   /* bank 0, another row */
	CU_ASSERT_EQUAL(hierarchy_access(&h, &h.l1d, 1024 + 64, false), 30 + 150); /* bank 1 was closed */
	CU_ASSERT_EQUAL(hierarchy_access(&h, &h.l1i, 0, false), 10);            /* instructions have their own L1 and share L2 */
	CU_ASSERT_EQUAL(h.dram.row_hit, 1);
	CU_ASSERT_EQUAL(h.dram.row_miss, 2);
	CU_ASSERT_EQUAL(h.dram.row_conflict, 1);
	hierarchy_destroy(&h);
	p = small_preset(false);
	CU_ASSERT_PTR_NULL_FATAL(hierarchy_create(&h, &p));
	CU_ASSERT_EQUAL(hierarchy_access(&h, &h.l1d, 0, false), 10 + 150);
	hierarchy_destroy(&h);
}

/* A written line that falls out of every level is written to DRAM once, and no line is ever dirty twice. */
static void test_write_back_reaches_memory(void)
{
	struct hierarchy h;
	struct preset p = small_preset(true);
	CU_ASSERT_PTR_NULL_FATAL(hierarchy_create(&h, &p));
	for (uint64_t line = 0; line < 64; line++)
		hierarchy_access(&h, &h.l1d, line * 64, true);
	for (uint64_t line = 64; line < 128; line++) /* push all of them out */
		hierarchy_access(&h, &h.l1d, line * 64, false);
	CU_ASSERT_EQUAL(h.l1d.writeback, 64);
	CU_ASSERT_EQUAL(h.l2.writeback, 64);
	CU_ASSERT_EQUAL(h.l3.writeback, 64);
	CU_ASSERT_EQUAL(h.dram.row_hit + h.dram.row_miss + h.dram.row_conflict, 128 + 64);
	hierarchy_destroy(&h);
}

/* Reads that missed L1 wait in a list and go down together: the same state, counts and cycles as one at a time, whenever somebody settles. */
static void staged_compare(const struct preset *p)
{
	static const uint32_t free_cycles[PAYERS] = { 0, 0, 4, 12, 1000 }; /* payers stall for what is beyond so much; 1000: for nothing */
	struct hierarchy now, later;
	uint64_t seed = 88172645463325252ull, cycles[PAYERS] = { 0 };
	CU_ASSERT_PTR_NULL_FATAL(hierarchy_create(&now, p));
	CU_ASSERT_PTR_NULL_FATAL(hierarchy_create(&later, p));
	hierarchy_stage(&later, free_cycles);
	for (unsigned i = 0; i < 40000; i++) {
		uint64_t r = random_next(&seed), address = r >> 20 & (i & 4096 ? 0x3fff : 0xfffff), payer = r >> 1 & 7;
		struct cache *l1[2] = { r & 16 ? &now.l1d : &now.l1i, r & 16 ? &later.l1d : &later.l1i };
		struct cache_victim victim;
		if (!cache_access(l1[0], address >> l1[0]->line_shift, r & 1, &victim))
			cycles[payer] += cycles_beyond(hierarchy_miss(&now, l1[0], address, &victim), free_cycles[payer]);
		if (!cache_access(l1[1], address >> l1[1]->line_shift, r & 1, &victim))
			hierarchy_put(&later, (unsigned)payer, l1[1], address, &victim);
		if (!(r >> 40 & 511))
			hierarchy_settle(&later);
	}
	hierarchy_settle(&later);
	CU_ASSERT_EQUAL(memcmp(cycles + 1, later.staged.cycles + 1, sizeof cycles - sizeof *cycles), 0);
	const struct cache *a[] = { &now.l1i, &now.l1d, &now.l2, &now.l3 }, *b[] = { &later.l1i, &later.l1d, &later.l2, &later.l3 };
	for (unsigned i = 0; i < 4; i++) {
		CU_ASSERT(a[i]->access == b[i]->access && a[i]->miss == b[i]->miss && a[i]->writeback == b[i]->writeback);
		CU_ASSERT(!a[i]->entry || !memcmp(a[i]->entry, b[i]->entry, a[i]->sets * a[i]->ways * sizeof *a[i]->entry));
	}
	CU_ASSERT(now.dram.row_hit == later.dram.row_hit && now.dram.row_miss == later.dram.row_miss && now.dram.row_conflict == later.dram.row_conflict);
	CU_ASSERT(now.l2.miss > 1000 && now.l2.writeback > 1000 && now.dram.row_conflict > 1000);
	hierarchy_destroy(&now);
	hierarchy_destroy(&later);
}

static void test_staged(void)
{
	struct preset p = small_preset(true);
	for (unsigned v = LRU_BEST; v < LRU_VARIANTS; v++)
		for (unsigned i = 0; lru_variant_runs(v) && i < 8; i++) {
			p.lru = v;
			p.l1d = (struct cache_geometry){ i & 1 ? 8192 : 3 * 2 * 32, i & 1 ? 8 : 2, i & 1 ? 64 : 32, 4 };
			p.l2 = (struct cache_geometry){ i & 2 ? 32768 : 5 * 3 * 64, i & 2 ? 4 : 3, 64, 10 };
			p.l3 = (struct cache_geometry){ i & 4 ? 7 * 16 * 128 : 0, 16, 128, 30 };
			p.dram.banks = i & 1 ? 8 : 3;
			staged_compare(&p);
		}
}

static void test_bad_preset_names_the_part(void)
{
	struct hierarchy h;
	struct preset p = small_preset(true);
	p.l3.ways = 3;
	CU_ASSERT_STRING_EQUAL(hierarchy_create(&h, &p), "l3");
	p = small_preset(true);
	p.dram.banks = 0;
	CU_ASSERT_STRING_EQUAL(hierarchy_create(&h, &p), "dram");
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("uarch: caches and DRAM", NULL, NULL);
	CU_add_test(s, "LRU against a naive model", test_lru);
	CU_add_test(s, "staged and one at a time", test_staged);
	CU_add_test(s, "impossible geometries are refused", test_impossible);
	CU_add_test(s, "latency by level", test_levels);
	CU_add_test(s, "dirty lines reach memory", test_write_back_reaches_memory);
	CU_add_test(s, "a bad preset names the part", test_bad_preset_names_the_part);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
