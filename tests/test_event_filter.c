/*
 * Proves: what the filter leaves out of the event stream changes no statistic. One random guest is written twice: every event, and through the filter as engines and helpers do; the same models
 * must end with the same counters, for every core model, preset, organisation and replacement policy, cache geometry and size of buffer. The guest is a hostile one: it goes on using
 * translations whose tables have changed (as a processor that still has them would), turns small pages into large ones and back, has pages of both kinds side by side, and changes its mode
 * all the time, in all the orders of system instruction, exception and exit. An entry of one mode is no hit in another.
 * Reference: the stream with everything in it.
 */
#include "machine/machine.h"
#include "tlb/tlb_model.h"
#include <CUnit/Basic.h>
#include <stdlib.h>

enum { REGIONS = 8, PAGES = REGIONS * 512, MEMORY = PAGES * 4096, FIRST_TABLE = 0x4000, STEPS = 30000, WORK = 5 };

struct side { /* one writing of the guest, and who reads it */
	struct event_sink sink;
	struct event_filter filter;
	struct timing *timing;
	bool filtered;
};

struct rig {
	struct phys phys;
	struct paging paging;
	struct block_dictionary blocks;
	struct side side[2];
	uint64_t seed;
	unsigned left_out;
	uint64_t work[WORK]; /* pages in use */
	uint64_t pc;
	bool user, open; /* open: supervisor mode that may reach user pages */
};

static uint64_t draw(struct rig *r)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return r->seed >> 11;
}

static const struct paging *rig_paging(void *self) { return &((struct rig *)self)->paging; }

/* The first 16 MiB in regions of 2 MiB, by tables of 4 KiB pages from 0x4000 on or by large pages: entries of the directory at 0x3000. */
static void directory_set(struct rig *r, unsigned region, bool large)
{
	phys_write64(&r->phys, 0x3000 + region * 8, large ? ((uint64_t)region << 21) | 0xe7 : (FIRST_TABLE + region * 0x1000ull) | 0x67);
}

static void tables_build(struct rig *r)
{
	phys_write64(&r->phys, 0x1000, 0x2067);
	phys_write64(&r->phys, 0x2000, 0x3067);
	for (unsigned i = 0; i < PAGES; i++)
		phys_write64(&r->phys, FIRST_TABLE + i * 8ull, (i * 4096ull) | (i & 1 ? 0x27 : 0x67)); /* a first write to an odd page has its D flag to set */
	for (unsigned region = 0; region < REGIONS; region++)
		directory_set(r, region, false);
}

static enum filter_answer rig_ask(void *self, uint64_t gva, unsigned access, bool user)
{
	struct rig *r = self;
	struct walk_memory memory = { &r->phys, NULL, NULL };
	struct walk w;
	if (!paging_walk(&r->paging, &memory, gva, (struct walk_request){ .access = (enum access)access, .user = user, .ac_override = true }, &w))
		return FILTER_GONE;
	return w.page_shift == 12 ? FILTER_SMALL : FILTER_LARGE;
}

static void side_create(struct rig *r, struct side *s, const char *core, const struct preset *p, unsigned buffer)
{
	char error[200] = "";
	struct timing_port port = { .self = r, .paging = rig_paging, .blocks = &r->blocks, .phys = &r->phys };
	CU_ASSERT_FATAL(event_sink_create(&s->sink, buffer));
	s->timing = timing_create(core, p, &port, error, sizeof error);
	if (!s->timing)
		printf("  %s\n", error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s->timing);
	event_sink_attach(&s->sink, timing_consumer(s->timing));
	s->filtered = s == &r->side[1] && event_sink_filter(&s->sink, &s->filter);
	s->filter.ask = rig_ask;
	s->filter.ask_self = r;
}

static void rig_create(struct rig *r, const char *core, const struct preset *p, unsigned buffer, uint64_t seed)
{
	uint8_t code[64];
	memset(r, 0, sizeof *r);
	memset(code, 0x90, sizeof code);
	r->seed = seed * 0x9e3779b97f4a7c15ull | 1;
	CU_ASSERT_FATAL(phys_create(&r->phys, MEMORY));
	CU_ASSERT_FATAL(block_dictionary_create(&r->blocks));
	tables_build(r);
	r->paging = (struct paging){ .format = PAGING_4LEVEL, .root = 0x1000, .phys_bits = 46, .wp = true };
	for (uint8_t n = 1; n <= 30; n++)
		block_dictionary_enter(&r->blocks, &(struct block_static){ .bytes = n, .insns = n, .mode = 8, .code = code });
	side_create(r, &r->side[0], core, p, 64);
	side_create(r, &r->side[1], core, p, buffer);
}

static void rig_destroy(struct rig *r)
{
	for (unsigned i = 0; i < 2; i++) {
		timing_destroy(r->side[i].timing);
		event_sink_destroy(&r->side[i].sink);
	}
	block_dictionary_destroy(&r->blocks);
	phys_destroy(&r->phys);
}

/* ---- what the guest does ---- */

/* A few pages for a while, many of which share a set; sometimes any. */
static uint64_t address_draw(struct rig *r)
{
	uint64_t pick = draw(r), *page = &r->work[pick % WORK];
	if (pick >> 10 & 31)
		return *page << 12 | (pick >> 26 & 3) * 0x400 | (pick >> 20) % 6 * 0x40 | (pick >> 30 & 63);
	*page = draw(r);
	*page = *page % 8 < 5 ? (*page >> 8) % 8 * 0x210 + (*page >> 12 & 3) : *page % 8 < 7 ? (*page >> 8) % 24 * 37 : (*page >> 8) % PAGES;
	return *page << 12;
}

/* Who made an entry of the filter: its addend. */
enum maker { MADE_SUPERVISOR, MADE_USER, MADE_OPEN };

/* An engine's access. */
static void access_engine(struct rig *r, struct side *s, uint64_t head, uint64_t gva)
{
	enum maker now = r->user ? MADE_USER : r->open ? MADE_OPEN : MADE_SUPERVISOR, made;
	if (!s->filtered || !event_filter_hit(&s->filter, gva, head >> 16, (uint8_t)head != EV_LOAD)) {
		event_put_access(&s->sink, head, gva, now);
		return;
	}
	made = (enum maker)event_filter_entry(&s->filter, gva)->addend[(uint8_t)head != EV_LOAD];
	CU_ASSERT(made == now || (now == MADE_OPEN && made == MADE_SUPERVISOR));
	r->left_out++;
}

/* A helper's: of the fast table, now and then by the long way, now and then as a supervisor whatever the mode. */
static void access_helper(struct rig *r, struct side *s, enum event_kind kind, unsigned size, uint64_t gva, unsigned how)
{
	bool user = r->user && how & 1;
	unsigned flags = user ? EVF_USER : r->user ? EVF_SUPERVISOR : 0;
	if (how & 2)
		event_put_touch(&s->sink, kind, flags, size, gva);
	else
		event_put_data(&s->sink, kind, flags, size, gva, (const uint8_t *)(uintptr_t)(gva + (user ? MADE_USER : MADE_SUPERVISOR)));
}

static void access_do(struct rig *r)
{
	static const uint8_t kinds[] = { EV_LOAD, EV_LOAD, EV_STORE, EV_RMW };
	enum event_kind kind = kinds[draw(r) % 4];
	uint64_t gva = address_draw(r);
	unsigned size = 1u << draw(r) % 5, times = draw(r) % 4 ? 1 : 3, how = draw(r) % 16;
	if ((gva & 4095) + size > 4096)
		gva -= size;
	uint64_t head = kind | (r->user ? EVF_USER << 8 : 0) | size << 16;
	for (unsigned n = 0; n < times; n++)
		for (unsigned i = 0; i < 2; i++) {
			if (how < 4)
				access_helper(r, &r->side[i], kind, size, gva, how);
			else
				access_engine(r, &r->side[i], head, gva);
		}
}

/* As emitted code does: it does not look who ran the block before. */
static void block_enter(struct rig *r, struct side *s, uint32_t id, uint64_t pc)
{
	bool straddle = (pc & 4095) + id + 1 > 4096;
	uint64_t before = s->filter.blocks;
	if (!s->filtered || straddle || !event_filter_block_hit(&s->filter, pc, id + 1, id + 1))
		event_put_block(&s->sink, (r->user ? EVF_USER : 0) | (straddle ? EVF_STRADDLE : 0), id + 1, id + 1, id, pc);
	r->left_out += s->filter.blocks > before;
}

/* Blocks here and there, in lines and pages that are used often, some one behind the other. */
static void block_do(struct rig *r)
{
	uint32_t id = (uint32_t)(draw(r) % 30);
	uint64_t pc = draw(r) & 1 ? r->pc : address_draw(r);
	for (unsigned times = draw(r) % 3 + 1; times--;)
		for (unsigned i = 0; i < 2; i++)
			block_enter(r, &r->side[i], id, pc);
	r->pc = draw(r) % 4 ? pc + id + 1 : pc;
}

/* A change of tables: everything is drained, and what follows is in doubt. The translations live on unless a flush follows. */
static void tables_change(struct rig *r)
{
	uint64_t pick = draw(r), page = address_draw(r) >> 12, entry = (page * 4096) | (pick >> 17 & 1 ? 0x27 : 0x67);
	for (unsigned i = 0; i < 2; i++) {
		event_drain(&r->side[i].sink);
		if (r->side[i].filtered)
			event_filter_doubt(&r->side[i].filter);
	}
	if (pick % 4 == 0)
		directory_set(r, pick >> 8 & (REGIONS - 1), pick >> 16 & 1);
	else
		phys_write64(&r->phys, FIRST_TABLE + page * 8, pick % 4 == 1 ? 0 : pick % 4 == 2 ? entry & ~2ull : entry);
}

static void other_do(struct rig *r)
{
	static const struct event some[] = {
		{ .kind = EV_TLB_FLUSH, .id = TLB_FLUSH_ALL }, { .kind = EV_TLB_FLUSH, .id = TLB_FLUSH_PAGE, .addr = 0x110000 }, { .kind = EV_CUT, .id = 1 }, { .kind = EV_MARK, .id = 3 },
		{ .kind = EV_MARK, .id = 2 }, { .kind = EV_VMM_LOAD, .addr = 0x110000, .aux = 8 }, { .kind = EV_EXCEPTION, .id = 14 }, { .kind = EV_EXIT, .id = 1 }, { .kind = EV_ENTRY, .id = 1 },
		{ .kind = EV_LOAD, .flags = EVF_USER | EVF_FAULT, .aux = 4, .addr = 0x111000 }, { .kind = EV_SENSITIVE, .id = SENS_INVLPG }, { .kind = EV_VMM_STORE, .addr = 0x111040, .aux = 8 },
		{ .kind = EV_TC_FETCH, .id = 8, .aux = 2, .addr = 0x3f0000 }, { .kind = EV_SENSITIVE, .id = SENS_SYSCALL }, { .kind = EV_SENSITIVE, .id = SENS_IO_IN }, { .kind = EV_INTERRUPT, .id = 33 },
		{ .kind = EV_SENSITIVE, .id = SENS_SYSRET }, { .kind = EV_SENSITIVE, .id = SENS_IO_OUT }, { .kind = EV_EXCEPTION, .id = 13 }, { .kind = EV_EXIT, .id = 2, .aux = 1 },
		{ .kind = EV_STATE, .id = 3 }, { .kind = EV_REP, .id = 9 }, { .kind = EV_IDLE, .addr = 70 }, { .kind = EV_IRQ_RAISED, .id = 1 }, { .kind = EV_DEVICE, .id = 0x20060 }, { .kind = EV_NONE },
	};
	const struct event *e = &some[draw(r) % (sizeof some / sizeof *some)];
	for (unsigned i = 0; i < 2 && e->kind; i++) {
		event_put(&r->side[i].sink, e->kind, e->flags, e->aux, e->id, e->addr);
		if (e->kind == EV_TC_FETCH)
			event_put(&r->side[i].sink, EV_BLOCK, 0, 4, 3, 0x110100);
	}
}

/* Events that come without a block or an access between them, and perhaps a change of mode behind the first: what is charged for an instruction is taken back when it exits. */
static void system_do(struct rig *r)
{
	uint64_t pick = draw(r);
	other_do(r);
	if (pick & 1) {
		r->user = pick & 2;
		r->open = !r->user && pick & 4;
		for (unsigned i = 0; i < 2; i++)
			if (r->side[i].filtered)
				event_filter_turn(&r->side[i].filter, r->user, r->open);
	}
	while (draw(r) & 1)
		other_do(r);
}

/* ---- comparing ---- */

static void sides_compare(struct rig *r, const char *core, const char *what)
{
	const char *name;
	uint64_t value[2];
	const struct timing *a = r->side[0].timing, *b = r->side[1].timing;
	for (unsigned i = 0; i < 2; i++)
		event_drain(&r->side[i].sink);
	for (unsigned i = 0; timing_stat(a, i, &name, &value[0]); i++) {
		timing_stat(b, i, &name, &value[1]);
		CU_ASSERT_EQUAL(value[0], value[1]);
		if (value[0] != value[1])
			printf("  %s, %s: %s is %llu, not %llu\n", core, what, name, (unsigned long long)value[1], (unsigned long long)value[0]);
	}
	for (unsigned c = 0; c < CAUSES; c++)
		CU_ASSERT_EQUAL(timing_cause(a, c), timing_cause(b, c));
	CU_ASSERT_EQUAL(timing_instructions(a), timing_instructions(b));
	CU_ASSERT_EQUAL(memcmp(timing_region(a, 1), timing_region(b, 1), sizeof(struct region_account)), 0);
}

static unsigned run(const char *core, const struct preset *p, unsigned buffer, bool changing, const char *what)
{
	struct rig *r = malloc(sizeof *r);
	rig_create(r, core, p, buffer, buffer + changing);
	for (unsigned step = 0; step < STEPS; step++) {
		uint64_t pick = draw(r) % 1000;
		if (pick < 25)
			system_do(r);
		else if (pick < 23 && changing)
			tables_change(r);
		else if (pick < 400)
			block_do(r);
		else
			access_do(r);
	}
	sides_compare(r, core, what);
	unsigned left_out = r->left_out;
	rig_destroy(r);
	free(r);
	return left_out;
}

static void run_each_core(const struct preset *p, const char *what)
{
	static const unsigned buffers[] = { 2, 5, 4096 };
	for (unsigned c = 0; core_models[c].name; c++)
		for (unsigned i = 0; i < 6; i++)
			run(core_models[c].name, p, buffers[i / 2], i & 1, what);
}

static void test_presets(void)
{
	for (unsigned i = 0; preset_at(i); i++)
		run_each_core(preset_at(i), preset_at(i)->name);
	for (unsigned c = 0; core_models[c].name; c++) /* and it is not for want of a chance */
		CU_ASSERT(run(core_models[c].name, preset_find("skylake"), 4096, true, "skylake") > STEPS / 8);
}

static void test_organisations(void)
{
	for (unsigned o = 0; tlb_organisation_name(o); o++)
		for (unsigned replacement = 0; tlb_replacement_name(replacement); replacement++) {
			struct preset p = *preset_find("skylake");
			const char *policy = tlb_replacement_name(replacement);
			if (!strcmp(policy, "plru") && strcmp(tlb_organisation_name(o), "set-associative"))
				continue; /* it needs sets */
			p.tlb.l1d[0].organisation = p.tlb.l1i[0].organisation = tlb_organisation_name(o);
			p.tlb.l1d[0].replacement = p.tlb.l1i[0].replacement = p.tlb.l1d[1].replacement = policy;
			run_each_core(&p, tlb_organisation_name(o));
		}
}

/* Small arrays, so that everything is evicted; arrays with pages of several sizes, without any of 4 KiB, and none at all. */
static void test_geometries(void)
{
	static const struct tlb_geometry arrays[][2] = {
		{ { .entries = 4, .ways = 2, .page_sizes = TLB_4K }, { .entries = 2, .ways = 1, .page_sizes = TLB_2M } }, { { .entries = 8, .ways = 2, .page_sizes = TLB_4K | TLB_2M } },
		{ { .entries = 6, .ways = 2, .page_sizes = TLB_4K } }, { { .entries = 4, .ways = 4, .page_sizes = TLB_2M } }, { { .entries = 0 } },
		{ { .entries = 64, .ways = 1, .page_sizes = TLB_4K }, { .entries = 2, .ways = 2, .page_sizes = TLB_2M } },
	};
	for (unsigned i = 0; i < sizeof arrays / sizeof *arrays; i++) {
		struct preset p = *preset_find("skylake");
		memset(p.tlb.l1d, 0, sizeof p.tlb.l1d);
		memset(p.tlb.l1i, 0, sizeof p.tlb.l1i);
		memcpy(p.tlb.l1d, arrays[i], sizeof arrays[i]);
		memcpy(p.tlb.l1i, arrays[i], sizeof arrays[i]);
		p.tlb.l2[0] = (struct tlb_geometry){ .entries = 16, .ways = 2, .page_sizes = TLB_4K | TLB_2M };
		run_each_core(&p, "small arrays");
	}
}

static void test_caches(void)
{
	static const struct cache_geometry l1[] = { { 1024, 2, 64, 4 }, { 512, 8, 64, 4 }, { 6144, 2, 64, 4 }, { 4096, 2, 16, 4 }, { 65536, 1, 128, 4 }, { 4096, 4, 8, 4 }, { 32768, 2, 8192, 4 } };
	for (unsigned i = 0; i < sizeof l1 / sizeof *l1; i++) {
		struct preset p = *preset_find("skylake");
		p.l1d = p.l1i = l1[i];
		p.tlb.l1d[0].entries = 32;
		p.tlb.l1d[0].ways = 2; /* many walks, and so much else that goes through L1D */
		p.tlb.l2[0].entries = p.tlb.l2[0].ways = 4;
		run_each_core(&p, "another L1, few TLB entries");
		p.tlb = preset_find("skylake")->tlb;
		run_each_core(&p, "another L1");
	}
}

/* One that no sink uses, as observed engines ask it when there are recorders. */
static void test_idle(void)
{
	static struct cpu cpu;
	cpu_reset(&cpu);
	for (unsigned size = 1; size <= 16; size++)
		for (uint64_t gva = 0; gva < 64; gva++)
			for (unsigned write = 0; write < 2; write++) {
				CU_ASSERT_FALSE(event_filter_hit(&cpu.filter, gva - 32, size, write));
				CU_ASSERT_FALSE(event_filter_hit(&cpu.filter, (uint32_t)(gva - 32), size, write));
			}
}

int main(void)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite s = CU_add_suite("event filter", NULL, NULL);
	CU_add_test(s, "nobody's filter", test_idle);
	CU_add_test(s, "presets", test_presets);
	CU_add_test(s, "TLB organisations and policies", test_organisations);
	CU_add_test(s, "TLB geometries", test_geometries);
	CU_add_test(s, "cache geometries", test_caches);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
