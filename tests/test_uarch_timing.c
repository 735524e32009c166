/*
 * Proves: cycles are the sum over causes, whatever the events; exits and VMM work add up to their causes; the size of the event buffer changes nothing; and the price list is applied
 * as the presets say (each rule by a sequence small enough to add up by hand).
 * Reference: sums made here from the preset's own numbers, and the model against itself in other batch sizes.
 */
#include "uarch/timing.h"
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY (1u << 20)

struct rig {
	struct phys phys;
	struct paging paging;
	struct block_dictionary blocks;
	struct timing *timing;
	uint8_t work_cause[4];
};

static const struct paging *rig_paging(void *self) { return &((struct rig *)self)->paging; }

/* A flat cost model: every cache hit or miss costs the same as an L1 hit, so that only the priced things cost. */
static struct preset flat_preset(void)
{
	struct preset p = *preset_find("prescott");
	p.l2.latency = p.l1d.latency = p.l1i.latency = 4;
	p.dram.row_hit = p.dram.row_miss = p.dram.row_conflict = 0;
	p.milli_cpi = 1000;
	p.vmm_milli_cpi = 700;
	p.rep_iteration_milli = 250;
	return p;
}

/* Tables of four levels at 0x1000.. map the first 2 MiB of addresses one to one, writable, user. */
static void tables_build(struct phys *m)
{
	for (unsigned level = 0; level < 3; level++)
		phys_write64(m, 0x1000 + level * 0x1000ull, (0x2000 + level * 0x1000ull) | 0x67);
	for (unsigned i = 0; i < 512; i++)
		phys_write64(m, 0x4000 + i * 8ull, (i * 4096ull) | 0x67);
}

static void rig_create(struct rig *r, const struct preset *p, const char *core, bool paged)
{
	char error[200] = "";
	memset(r, 0, sizeof *r);
	CU_ASSERT_FATAL(phys_create(&r->phys, MEMORY));
	CU_ASSERT_FATAL(block_dictionary_create(&r->blocks));
	tables_build(&r->phys);
	r->paging = (struct paging){ .format = paged ? PAGING_4LEVEL : PAGING_IDENTITY, .root = 0x1000, .phys_bits = 46, .wp = true };
	r->work_cause[0] = r->work_cause[1] = CAUSE_VMM;
	r->work_cause[2] = CAUSE_TRANSLATION;
	r->work_cause[3] = CAUSE_DEVICES;
	uint8_t code[64];
	memset(code, 0x90, sizeof code);
	for (uint8_t n = 1; n <= 30; n++) /* block n-1: n one-byte instructions */
		CU_ASSERT_EQUAL(block_dictionary_enter(&r->blocks, &(struct block_static){ .bytes = n, .insns = n, .mode = 8, .code = code }), n - 1u);
	struct timing_port port = { .self = r, .paging = rig_paging, .blocks = &r->blocks, .phys = &r->phys, .work_cause = r->work_cause, .works = 4 };
	r->timing = timing_create(core, p, &port, error, sizeof error);
	CU_ASSERT_PTR_NOT_NULL_FATAL(r->timing);
}

static void rig_destroy(struct rig *r)
{
	timing_destroy(r->timing);
	block_dictionary_destroy(&r->blocks);
	phys_destroy(&r->phys);
}

static void give(struct rig *r, const struct event *e, size_t count, size_t batch)
{
	struct event_consumer *c = timing_consumer(r->timing);
	for (size_t at = 0; at < count; at += batch)
		c->consume(c->self, e + at, e + (at + batch < count ? at + batch : count));
}

static uint64_t cause_sum(const struct timing *t)
{
	uint64_t sum = 0;
	for (unsigned c = 0; c < CAUSES; c++)
		sum += timing_cause(t, c);
	return sum;
}

/* ---- random streams ---- */

static uint64_t random_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	return *s ^= *s << 17;
}

/* A stream with every kind of event, in orders that engines and VMMs make and in some that they do not. */
static struct event event_make(uint64_t *seed, bool *inside)
{
	static const uint8_t kinds[] = { EV_BLOCK, EV_BLOCK, EV_BLOCK, EV_LOAD, EV_LOAD, EV_STORE, EV_RMW, EV_TABLE_STORE, EV_VALUE, EV_CUT, EV_REP, EV_SENSITIVE, EV_SENSITIVE, EV_EXCEPTION,
		EV_INTERRUPT, EV_IRQ_RAISED, EV_STATE, EV_IDLE, EV_DEVICE, EV_HYPERCALL, EV_MARK, EV_PROBE, EV_EXIT, EV_EXIT, EV_HANDLER, EV_VMM_WORK, EV_VMM_LOAD, EV_VMM_STORE, EV_VMCS_READ, EV_VMCS_WRITE,
		EV_TRANSLATE, EV_TC_JUMP, EV_TC_FETCH, EV_TLB_FLUSH, EV_TABLE_PAGE, EV_TABLE_FORGET };
	uint64_t r = random_next(seed);
	struct event e = { .kind = kinds[r % sizeof kinds], .addr = (r >> 20) % MEMORY, .id = (uint32_t)(r >> 40), .aux = 1 + (r >> 10 & 15) };
	uint32_t small = (uint32_t)(r >> 42);
	switch (e.kind) {
	case EV_BLOCK: e.id = small % 30; e.aux = (uint16_t)(e.id + 1); e.flags = small >> 6 & EVF_USER; break;
	case EV_CUT: e.id = small % 2; break;
	case EV_SENSITIVE: e.id = small % SENS_COUNT; e.aux = 0; break;
	case EV_EXIT:
		if (*inside)
			e.kind = EV_ENTRY;
		*inside = !*inside;
		e.id = small % 20;
		e.aux = small >> 5 & 3;
		break;
	case EV_HANDLER: e.id = small % 4; break;
	case EV_MARK: e.id = small % 32; break;
	case EV_TLB_FLUSH: e.id = small % TLB_FLUSH_KINDS; e.aux = 0; break;
	case EV_LOAD: case EV_STORE: case EV_RMW: e.flags = small % 16 ? EVF_USER : 0; break;
	default: e.id = small % 100; break;
	}
	return e;
}

static struct event *stream_make(size_t count, uint64_t seed)
{
	struct event *e = calloc(count, sizeof *e);
	bool inside = false;
	for (size_t i = 0; e && i < count; i++)
		e[i] = event_make(&seed, &inside);
	return e;
}

enum { STREAM = 40000 };

static void test_additive(void)
{
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct rig r;
		rig_create(&r, preset_at(seed & 1), "fixed", seed & 2);
		struct event *e = stream_make(STREAM, seed * 7919);
		uint64_t last = 0;
		for (size_t at = 0; at < STREAM; at += 1000) {
			give(&r, e + at, 1000, 1000);
			uint64_t now = timing_now(r.timing);
			CU_ASSERT_EQUAL(now, cause_sum(r.timing));
			CU_ASSERT(now > last);
			last = now;
		}
		uint64_t transitions = 0, works[CAUSES] = { 0 };
		for (unsigned x = 0; x < TIMING_EXITS; x++)
			transitions += timing_exits(r.timing, x)->transition_cycles;
		for (unsigned w = 0; w < 4; w++)
			works[r.work_cause[w]] += timing_work_cycles(r.timing, w);
		CU_ASSERT_EQUAL(transitions, timing_cause(r.timing, CAUSE_TRANSITIONS));
		CU_ASSERT_EQUAL(works[CAUSE_VMM], timing_cause(r.timing, CAUSE_VMM));
		CU_ASSERT(works[CAUSE_TRANSLATION] <= timing_cause(r.timing, CAUSE_TRANSLATION)); /* the rest: what translated code has over the guest's */
		free(e);
		rig_destroy(&r);
	}
}

static void rigs_compare(struct rig *a, struct rig *b)
{
	for (unsigned c = 0; c < CAUSES; c++)
		CU_ASSERT_EQUAL(timing_cause(a->timing, c), timing_cause(b->timing, c));
	CU_ASSERT_EQUAL(memcmp(timing_exits(a->timing, 0), timing_exits(b->timing, 0), TIMING_EXITS * sizeof(struct exit_account)), 0);
	CU_ASSERT_EQUAL(timing_instructions(a->timing), timing_instructions(b->timing));
	for (unsigned id = 0; id < 16; id++)
		CU_ASSERT_EQUAL(memcmp(timing_region(a->timing, id), timing_region(b->timing, id), sizeof(struct region_account)), 0);
	const char *name[2];
	uint64_t value[2];
	unsigned stats = 0;
	for (; timing_stat(a->timing, stats, &name[0], &value[0]); stats++) {
		CU_ASSERT(timing_stat(b->timing, stats, &name[1], &value[1]));
		CU_ASSERT_STRING_EQUAL(name[0], name[1]);
		CU_ASSERT_EQUAL(value[0], value[1]);
	}
	CU_ASSERT(stats > 20);
}

static void test_buffer_size_is_nothing(void)
{
	static const size_t batches[] = { 1, 2, 3, 7, 64, 1000, STREAM };
	struct event *e = stream_make(STREAM, 4242);
	for (unsigned core = 0; core_models[core].name; core++)
		for (unsigned preset = 0; preset_at(preset); preset++) {
			struct rig whole;
			rig_create(&whole, preset_at(preset), core_models[core].name, true);
			give(&whole, e, STREAM, STREAM);
			for (unsigned i = 0; i < sizeof batches / sizeof *batches; i++) {
				struct rig r;
				rig_create(&r, preset_at(preset), core_models[core].name, true);
				give(&r, e, STREAM, batches[i]);
				rigs_compare(&whole, &r);
				rig_destroy(&r);
			}
			CU_ASSERT_EQUAL(timing_now(whole.timing) > 0, core_models[core].keeps_time);
			rig_destroy(&whole);
		}
	free(e);
}

/* Geometry of which no copy of the loop is made: other lines, sets and rows that are no powers of two, replacement that is not LRU. */
static struct preset odd_preset(void)
{
	struct preset p = *preset_find("skylake");
	p.l1d = (struct cache_geometry){ 3 * 2 * 32, 2, 32, 4 };
	p.l1i = (struct cache_geometry){ 5 * 3 * 128, 3, 128, 3 };
	p.l2 = (struct cache_geometry){ 7 * 5 * 64, 5, 64, 2 }; /* nearer than L1: nobody stalls for less than nothing */
	p.l3 = (struct cache_geometry){ 9 * 16 * 128, 16, 128, 47 };
	p.dram.banks = 5;
	p.dram.row_bytes = 1000;
	p.tlb.l1d[0].replacement = "plru";
	p.tlb.l1i[0].replacement = "random";
	return p;
}

/* In order, staged by level, or by turns: the same cycles and counts. Batches of 5000 let `auto` look at what it has seen. */
static void test_consume_is_nothing(void)
{
	static const size_t batches[] = { 1, 7, 5000, STREAM };
	const struct preset presets[] = { *preset_find("skylake"), *preset_find("prescott"), odd_preset() };
	struct event *e = stream_make(STREAM, 31337);
	for (unsigned shape = 0; shape < 6; shape++) { /* each preset with paging and without */
		struct preset p = presets[shape / 2];
		struct rig plain, r;
		p.consume = CONSUME_IN_ORDER;
		p.lru = LRU_SCALAR;
		rig_create(&plain, &p, "fixed", shape & 1);
		give(&plain, e, STREAM, STREAM);
		for (unsigned i = 0; i < CONSUMES * 4; i++) {
			p.consume = (enum consume)(i / 4);
			p.lru = (enum lru_variant)(i % 4);
			rig_create(&r, &p, "fixed", shape & 1);
			give(&r, e, STREAM, batches[i % 4]);
			rigs_compare(&plain, &r);
			rig_destroy(&r);
		}
		rig_destroy(&plain);
	}
	free(e);
}

/* The two core models see the same TLB accesses. */
static void test_tlb_core_agrees(void)
{
	struct event *e = stream_make(STREAM, 99);
	struct rig a, b;
	rig_create(&a, preset_find("skylake"), "fixed", true);
	rig_create(&b, preset_find("skylake"), "tlb", true);
	give(&a, e, STREAM, 512);
	give(&b, e, STREAM, 512);
	CU_ASSERT_EQUAL(memcmp(timing_tlb_stats(a.timing), timing_tlb_stats(b.timing), sizeof(struct tlb_stats)), 0);
	CU_ASSERT(timing_tlb_stats(a.timing)->walks > 100);
	rig_destroy(&a);
	rig_destroy(&b);
	free(e);
}

/* ---- the price list ---- */

static uint64_t price(const struct preset *p, const struct event *e, size_t count, enum cause c)
{
	struct rig r;
	rig_create(&r, p, "fixed", false);
	give(&r, e, count, count);
	uint64_t cycles = timing_cause(r.timing, c);
	CU_ASSERT_EQUAL(timing_now(r.timing), cause_sum(r.timing));
	rig_destroy(&r);
	return cycles;
}
#define PRICE(cause, ...) price(&p, (const struct event[]){ __VA_ARGS__ }, sizeof((const struct event[]){ __VA_ARGS__ }) / sizeof(struct event), cause)
#define BLOCK(n, pc, ...) { .kind = EV_BLOCK, .id = (n) - 1, .aux = (n), .addr = (pc), __VA_ARGS__ }

static void test_instructions(void)
{
	struct preset p = flat_preset();
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(10, 0x8000)), 10);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_USER, BLOCK(10, 0x8000, .flags = EVF_USER)), 10);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(10, 0x8000), { .kind = EV_CUT, .id = 4 }), 6);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(2, 0x8000), { .kind = EV_REP, .id = 10 }), 2 + 2); /* 2.5: the half waits */
	p.milli_cpi = 300;
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(3, 0x8000), BLOCK(3, 0x8003), BLOCK(4, 0x8006)), 3); /* 0.9 + 0.9 + 1.2: thousandths are kept */
	p.milli_cpi = 1000;
	p.branch_taken = 7;
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(3, 0x8000), BLOCK(3, 0x8003), BLOCK(3, 0x9000)), 9 + 7);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(3, 0x8000), { .kind = EV_CUT, .id = 1 }, BLOCK(3, 0x9000)), 5); /* what cut it short led there, and pays itself */
	CU_ASSERT_EQUAL(PRICE(CAUSE_IDLE, { .kind = EV_IDLE, .addr = 12345 }), 12345);
}

static void test_system_costs(void)
{
	struct preset p = flat_preset();
	p.serialize = 100, p.exception = 1000, p.syscall = 60, p.port_io = 5000;
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(1, 0), { .kind = EV_SENSITIVE, .id = SENS_CR3_WRITE }), 101);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(1, 0), { .kind = EV_SENSITIVE, .id = SENS_CLI }), 1);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_USER, BLOCK(1, 0, .flags = EVF_USER), { .kind = EV_SENSITIVE, .id = SENS_SYSCALL }), 31);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_USER, BLOCK(1, 0, .flags = EVF_USER), { .kind = EV_EXCEPTION, .id = 14 }), 1001);
	CU_ASSERT_EQUAL(PRICE(CAUSE_DEVICES, BLOCK(1, 0), { .kind = EV_SENSITIVE, .id = SENS_IO_IN }, { .kind = EV_DEVICE }), 5000);
}

/* An exit replaces what the instruction would have done natively, also through INT n and its delivery; an exit elsewhere does not. */
static void test_exit_replaces_native_work(void)
{
	struct preset p = flat_preset();
	p.serialize = 100, p.exception = 1000, p.port_io = 5000;
#define EXIT_PAIR { .kind = EV_EXIT, .id = 3, .aux = 1 }, { .kind = EV_ENTRY, .id = 3, .aux = 1 }
	CU_ASSERT_EQUAL(PRICE(CAUSE_DEVICES, BLOCK(1, 0), { .kind = EV_SENSITIVE, .id = SENS_IO_OUT, .aux = 1 }, { .kind = EV_VALUE }, EXIT_PAIR, { .kind = EV_DEVICE }), 0);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(1, 0), { .kind = EV_SENSITIVE, .id = SENS_CR3_WRITE }, EXIT_PAIR), 1);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_USER, BLOCK(1, 0, .flags = EVF_USER), { .kind = EV_SENSITIVE, .id = SENS_INT_N }, { .kind = EV_EXCEPTION, .id = 0x80, .flags = EVF_SOFT }, EXIT_PAIR), 1);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(1, 0), { .kind = EV_SENSITIVE, .id = SENS_IRET }, { .kind = EV_EXCEPTION, .id = 13 }, EXIT_PAIR), 1); /* both prices go back */
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, BLOCK(1, 0), { .kind = EV_SENSITIVE, .id = SENS_IRET }, { .kind = EV_LOAD, .addr = 64, .aux = 8 }, EXIT_PAIR), 101);
	CU_ASSERT_EQUAL(PRICE(CAUSE_TRANSITIONS, EXIT_PAIR), (uint64_t)p.exit_cost[1] + p.entry_cost[1]);
}

static void test_vmm_work(void)
{
	struct preset p = flat_preset();
	p.vmread = 50, p.vmwrite = 40;
	struct rig r;
	rig_create(&r, &p, "fixed", false);
	const struct event e[] = { { .kind = EV_EXIT, .id = 5, .aux = 0 }, { .kind = EV_VMM_WORK, .id = 10 }, { .kind = EV_VMCS_READ, .id = 3 }, { .kind = EV_HANDLER, .id = 1 },
		{ .kind = EV_VMM_WORK, .id = 100 }, { .kind = EV_VMCS_WRITE, .id = 2 }, { .kind = EV_HANDLER, .id = 3 }, { .kind = EV_VMM_WORK, .id = 10 }, { .kind = EV_VMM_STORE, .addr = 64, .aux = 8 },
		{ .kind = EV_ENTRY, .id = 5, .aux = 0 }, { .kind = EV_HANDLER, .id = 2 }, { .kind = EV_VMM_WORK, .id = 10 } };
	give(&r, e, sizeof e / sizeof *e, 1);
	CU_ASSERT_EQUAL(timing_work_cycles(r.timing, 0), 7 + 150);
	CU_ASSERT_EQUAL(timing_work_cycles(r.timing, 1), 70 + 80);
	CU_ASSERT_EQUAL(timing_work_cycles(r.timing, 3), 7);
	CU_ASSERT_EQUAL(timing_cause(r.timing, CAUSE_DEVICES), 7);
	CU_ASSERT_EQUAL(timing_cause(r.timing, CAUSE_TRANSLATION), 7);
	CU_ASSERT_EQUAL(timing_cause(r.timing, CAUSE_VMM), 157 + 150);
	const struct exit_account *a = timing_exits(r.timing, 5);
	CU_ASSERT_EQUAL(a->count, 1);
	CU_ASSERT_EQUAL(a->transition_cycles, (uint64_t)p.exit_cost[0] + p.entry_cost[0]);
	CU_ASSERT_EQUAL(a->handler_cycles, 157 + 150 + 7); /* not what came after the entry */
	rig_destroy(&r);
}

static void test_translated_code(void)
{
	struct preset p = flat_preset();
	p.serialize = 100;
	CU_ASSERT_EQUAL(PRICE(CAUSE_TRANSLATION, { .kind = EV_TC_FETCH, .addr = 0x3000, .id = 40, .aux = 6 }, BLOCK(5, 0x8000), BLOCK(5, 0x8005)), 6);
	CU_ASSERT_EQUAL(PRICE(CAUSE_GUEST_KERNEL, { .kind = EV_TC_FETCH, .addr = 0x3000, .id = 40, .aux = 6 }, BLOCK(5, 0x8000), { .kind = EV_SENSITIVE, .id = SENS_CR3_WRITE }, BLOCK(5, 0x8005)), 10);
}

static void test_walks_by_dimension(void)
{
	struct preset p = *preset_find("prescott");
	struct rig r;
	rig_create(&r, &p, "fixed", true);
	const struct event e[] = { { .kind = EV_LOAD, .addr = 0x9000, .aux = 8 }, { .kind = EV_LOAD, .addr = 0x9008, .aux = 8 } };
	give(&r, e, 2, 2);
	const struct tlb_stats *s = timing_tlb_stats(r.timing);
	CU_ASSERT_EQUAL(s->walks, 1);
	CU_ASSERT_EQUAL(s->walk_refs, 4);
	/* Tables at 0x1000, 0x2000, 0x3000, 0x4000 with rows of 0x2000: the second and third share one. */
	CU_ASSERT_EQUAL(timing_cause(r.timing, CAUSE_WALK_GUEST), p.walk_start + 4ull * p.l2.latency + 3ull * p.dram.row_miss + p.dram.row_hit);
	CU_ASSERT_EQUAL(timing_cause(r.timing, CAUSE_WALK_HOST), 0);
	rig_destroy(&r);
}

static void test_regions(void)
{
	struct preset p = flat_preset();
	struct rig r;
	rig_create(&r, &p, "fixed", false);
	const struct event e[] = { BLOCK(10, 0), { .kind = EV_MARK, .id = 9 << 1 | 1 }, BLOCK(20, 10), { .kind = EV_IDLE, .addr = 100 }, { .kind = EV_MARK, .id = 9 << 1 }, BLOCK(5, 30),
		{ .kind = EV_MARK, .id = 9 << 1 /* an end without a begin */ }, { .kind = EV_MARK, .id = 5000 << 1 | 1 } };
	give(&r, e, sizeof e / sizeof *e, 3);
	const struct region_account *a = timing_region(r.timing, 9);
	CU_ASSERT_EQUAL(a->count, 1);
	CU_ASSERT_EQUAL(a->cycles, 120);
	CU_ASSERT_EQUAL(a->instructions, 20);
	CU_ASSERT_EQUAL(a->by_cause[CAUSE_IDLE], 100);
	CU_ASSERT_PTR_NULL(timing_region(r.timing, TIMING_REGIONS));
	rig_destroy(&r);
}

static void test_presets(void)
{
	for (unsigned i = 0; preset_at(i); i++) {
		struct preset p = *preset_at(i);
		struct rig r;
		CU_ASSERT_PTR_EQUAL(preset_find(p.name), preset_at(i));
		rig_create(&r, &p, "fixed", true);
		CU_ASSERT(timing_worst_block(r.timing) > (uint64_t)p.exit_cost[0] + p.entry_cost[0]);
		rig_destroy(&r);
		const char *name, *doc;
		uint32_t *value;
		unsigned keys = 0;
		for (; preset_key(&p, keys, &name, &value, &doc); keys++) {
			CU_ASSERT((char *)value >= (char *)&p && (char *)(value + 1) <= (char *)(&p + 1));
			CU_ASSERT(name[0] && doc[0]);
		}
		CU_ASSERT(keys > 40);
	}
	CU_ASSERT_PTR_NULL(preset_find("no such"));
	CU_ASSERT_EQUAL(preset_find("prescott")->exit_cost[0] + preset_find("prescott")->entry_cost[0], 3963); /* Agesen et al., ATC 2012, table 1 */
	CU_ASSERT_EQUAL(preset_find("skylake")->exit_cost[0] + preset_find("skylake")->entry_cost[0], 784);
}

static void test_refusals(void)
{
	char error[200] = "";
	struct rig r;
	struct preset p = *preset_find("skylake");
	rig_create(&r, &p, "fixed", true);
	struct timing_port port = { .self = &r, .paging = rig_paging, .phys = &r.phys };
	CU_ASSERT_PTR_NULL(timing_create("no such", &p, &port, error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "no such"));
	p.l2.ways = 7;
	CU_ASSERT_PTR_NULL(timing_create("fixed", &p, &port, error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "l2"));
	p = *preset_find("skylake");
	p.tlb.walk_cache = "no such cache";
	CU_ASSERT_PTR_NULL(timing_create("fixed", &p, &port, error, sizeof error));
	rig_destroy(&r);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("uarch: time", NULL, NULL);
	CU_add_test(s, "causes, exits and work add up", test_additive);
	CU_add_test(s, "the buffer's size changes nothing", test_buffer_size_is_nothing);
	CU_add_test(s, "in order and staged are the same", test_consume_is_nothing);
	CU_add_test(s, "the TLB core sees the same accesses", test_tlb_core_agrees);
	CU_add_test(s, "instructions", test_instructions);
	CU_add_test(s, "system instructions", test_system_costs);
	CU_add_test(s, "an exit replaces native work", test_exit_replaces_native_work);
	CU_add_test(s, "VMM work", test_vmm_work);
	CU_add_test(s, "translated code", test_translated_code);
	CU_add_test(s, "walks by dimension", test_walks_by_dimension);
	CU_add_test(s, "regions", test_regions);
	CU_add_test(s, "presets", test_presets);
	CU_add_test(s, "refusals", test_refusals);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
