#include "timing_private.h"
#include <stdlib.h>

const struct core_model core_models[] = {
#define CORE_MODEL(id, name, time, text) { name, text, time },
#include "core_models.def"
#undef CORE_MODEL
	{ NULL, NULL, false }
};

static void (*const consumers[])(void *, const struct event *, const struct event *) = { /* ORDER: core_models.def */
#define CORE_MODEL(id, name, time, text) core_##id##_consume,
#include "core_models.def"
#undef CORE_MODEL
};

static bool (*const filters[])(const struct timing *, struct event_filter_shape *) = { /* ORDER: core_models.def */
#define CORE_MODEL(id, name, time, text) core_##id##_filter,
#include "core_models.def"
#undef CORE_MODEL
};

static const struct { const char *name, *text; } causes[CAUSES] = {
#define CAUSE(id, name, text) { name, text },
#include "causes.def"
#undef CAUSE
};

const char *cause_name(enum cause c) { return c < CAUSES ? causes[c].name : "?"; }
const char *cause_text(enum cause c) { return c < CAUSES ? causes[c].text : "?"; }

const struct core_model *core_model_find(const char *name)
{
	for (const struct core_model *m = core_models; m->name; m++)
		if (!strcmp(m->name, name))
			return m;
	return NULL;
}

/* ---- names of statistics ---- */

static const struct { const char *name; size_t offset; } memory_stats[] = {
#define COUNTER(name, field) { name, offsetof(struct hierarchy, field) }
	COUNTER("cache.l1i.access", l1i.access), COUNTER("cache.l1i.miss", l1i.miss),
	COUNTER("cache.l1d.access", l1d.access), COUNTER("cache.l1d.miss", l1d.miss), COUNTER("cache.l1d.writeback", l1d.writeback),
	COUNTER("cache.l2.access", l2.access), COUNTER("cache.l2.miss", l2.miss), COUNTER("cache.l2.writeback", l2.writeback),
	COUNTER("cache.l3.access", l3.access), COUNTER("cache.l3.miss", l3.miss), COUNTER("cache.l3.writeback", l3.writeback),
	COUNTER("dram.row-hit", dram.row_hit), COUNTER("dram.row-miss", dram.row_miss), COUNTER("dram.row-conflict", dram.row_conflict),
#undef COUNTER
};
#define MEMORY_STATS (sizeof memory_stats / sizeof *memory_stats)

/* "l1d.access" becomes "tlb.l1d.access"; names that already say where they belong stay. */
static void stats_name(struct timing *t)
{
	const char *name;
	uint64_t value;
	while (t->name_count < TIMING_STATS - MEMORY_STATS && tlb_model_stat(t->tlb, t->name_count, &name, &value)) {
		bool complete = !strncmp(name, "walk", 4) || !strncmp(name, "tlb", 3) || !strncmp(name, "nested", 6);
		snprintf(t->names[t->name_count++].name, sizeof t->names->name, "%s%s", complete ? "" : "tlb.", name);
	}
}

bool timing_stat(const struct timing *t, unsigned i, const char **name, uint64_t *value)
{
	if (i < t->name_count) {
		const char *inner;
		tlb_model_stat(t->tlb, i, &inner, value);
		*name = t->names[i].name;
		return true;
	}
	i -= t->name_count;
	if (i >= MEMORY_STATS || !t->model->keeps_time)
		return false;
	*name = memory_stats[i].name;
	memcpy(value, (const char *)&t->memory + memory_stats[i].offset, sizeof *value);
	return true;
}

const struct tlb_stats *timing_tlb_stats(const struct timing *t)
{
	return tlb_model_stats(t->tlb);
}

static void payers_create(struct timing *t);

/* ---- life ---- */

static bool timing_build(struct timing *t, char *error, size_t error_size)
{
	t->region = calloc(TIMING_REGIONS, sizeof *t->region);
	t->names = calloc(TIMING_STATS, sizeof *t->names);
	if (!t->region || !t->names)
		return snprintf(error, error_size, "out of memory for the timing model"), false;
	const char *wrong = hierarchy_create(&t->memory, &t->preset);
	if (wrong && !strcmp(wrong, "dram"))
		return snprintf(error, error_size, "preset.dram: impossible geometry: banks must be 1 to 65536, row_bytes at least 1"), false;
	if (wrong)
		return snprintf(error, error_size, "preset.%s: impossible geometry: bytes must be a multiple of line * ways, line a power of two from 8, ways 1 to 64", wrong), false;
	t->tlb = tlb_model_create(&t->preset.tlb, t->port.phys, error, error_size);
	if (!t->tlb)
		return false;
	payers_create(t);
	t->usual = cache_usual(&t->memory.l1d) && cache_usual(&t->memory.l1i) && tlb_model_stamps(t->tlb);
	stats_name(t);
	return true;
}

static void stream_forget(struct timing *t)
{
	t->guest = CAUSE_GUEST_KERNEL;
	t->vmm = CAUSE_VMM;
	t->work_kind = 0;
	t->exit_reason = TIMING_EXITS;
	t->translated = t->tc_pending = false;
	t->next_pc = t->fetch_line = ~0ull;
	t->refund_at = ~0ull;
}

struct timing *timing_create(const char *core_model, const struct preset *p, const struct timing_port *port, char *error, size_t error_size)
{
	const struct core_model *model = core_model_find(core_model);
	if (!model) {
		snprintf(error, error_size, "no core model is named \"%s\": see `ringside list core-models`", core_model);
		return NULL;
	}
	struct timing *t = calloc(1, sizeof *t);
	if (!t) {
		snprintf(error, error_size, "out of memory for the timing model");
		return NULL;
	}
	t->model = model;
	t->preset = *p;
	t->port = *port;
	t->consumer = (struct event_consumer){ consumers[model - core_models], t, NULL, NULL };
	stream_forget(t);
	if (!timing_build(t, error, error_size)) {
		timing_destroy(t);
		return NULL;
	}
	t->consumer.shape = filters[model - core_models](t, &t->shape) ? &t->shape : NULL;
	return t;
}

void timing_destroy(struct timing *t)
{
	if (!t)
		return;
	if (t->tlb)
		tlb_model_destroy(t->tlb);
	hierarchy_destroy(&t->memory);
	free(t->region);
	free(t->names);
	free(t);
}

void timing_resync(struct timing *t)
{
	stream_forget(t);
	for (unsigned id = 0; id < TIMING_REGIONS; id++)
		t->region[id].open = false;
	tlb_model_flush(t->tlb, TLB_FLUSH_ALL, 0, 0, t->port.paging(t->port.self)); /* the flushes that the guest made were among what was left out */
}

void timing_snapshot_take(const struct timing *t, struct timing_snapshot *s)
{
	const char *name;
	for (unsigned c = 0; c < CAUSES; c++)
		s->cause[c] = timing_cause(t, c);
	memcpy(s->work, t->work, sizeof s->work);
	memcpy(s->exit, t->exit, sizeof s->exit);
	for (s->stats = 0; s->stats < TIMING_STATS && timing_stat(t, s->stats, &name, &s->stat[s->stats]); s->stats++)
		;
}

struct event_consumer *timing_consumer(struct timing *t) { return &t->consumer; }

/* ---- accounts ---- */

uint64_t timing_now(const struct timing *t)
{
	uint64_t sum = 0;
	for (unsigned c = 0; c < CAUSES; c++)
		sum += timing_cause(t, c);
	return sum;
}

uint64_t timing_worst_block(const struct timing *t)
{
	const struct preset *p = &t->preset;
	uint64_t transition = 0;
	for (unsigned k = 0; k < 4; k++)
		if ((uint64_t)p->exit_cost[k] + p->entry_cost[k] > transition)
			transition = (uint64_t)p->exit_cost[k] + p->entry_cost[k];
	uint64_t memory = (uint64_t)p->dram.row_conflict + (p->l3.bytes ? p->l3.latency : p->l2.latency);
	return 1 + p->milli_cpi / 1000 + p->serialize + p->exception + transition + 8 * memory; /* 8: a code, a data and some handler misses with their walks */
}

uint64_t timing_instructions(const struct timing *t) { return t->instructions; }
uint64_t timing_cause(const struct timing *t, enum cause c) { return c < CAUSES ? t->cause[c] + t->milli[c] / 1000 : 0; }
const struct exit_account *timing_exits(const struct timing *t, unsigned reason) { return reason < TIMING_EXITS ? &t->exit[reason] : NULL; }
uint64_t timing_work_cycles(const struct timing *t, unsigned work) { return work < TIMING_EXITS ? t->work[work] : 0; }
const struct region_account *timing_region(const struct timing *t, unsigned id) { return id < TIMING_REGIONS ? &t->region[id].account : NULL; }

/* ---- for core models ---- */

void timing_mark(struct timing *t, const struct event *e)
{
	unsigned id = e->id >> 1;
	if (id >= TIMING_REGIONS)
		return;
	struct region *r = &t->region[id];
	uint64_t now = timing_now(t);
	if (e->id & 1) { /* a begin inside a region starts it afresh: a process may have died in it */
		r->open = true;
		r->cycles_at = now;
		r->instructions_at = t->instructions;
		for (unsigned c = 0; c < CAUSES; c++)
			r->by_cause_at[c] = timing_cause(t, c);
	} else if (r->open) {
		r->open = false;
		r->account.count++;
		r->account.cycles += now - r->cycles_at;
		r->account.instructions += t->instructions - r->instructions_at;
		for (unsigned c = 0; c < CAUSES; c++)
			r->account.by_cause[c] += timing_cause(t, c) - r->by_cause_at[c];
	}
}

void timing_walk(struct timing *t, const struct tlb_outcome *o, bool staged)
{
	enum cause first = t->port.walks_are_shadow ? CAUSE_WALK_SHADOW : CAUSE_WALK_GUEST;
	struct cache *l1d = &t->memory.l1d;
	struct cache_victim victim;
	timing_charge(t, first, t->preset.walk_start);
	for (unsigned i = 0; i < o->refs; i++) {
		enum cause payer = o->ref[i].dimension == WALK_HOST ? CAUSE_WALK_HOST : first;
		if (cache_access(l1d, o->ref[i].hpa >> l1d->line_shift, false, &victim))
			timing_charge(t, payer, l1d->latency);
		else if (staged)
			hierarchy_put(&t->memory, PAYER_DATA + payer, l1d, o->ref[i].hpa, &victim);
		else
			timing_charge(t, payer, hierarchy_miss(&t->memory, l1d, o->ref[i].hpa, &victim));
	}
}

/* ---- staged accesses ---- */

static void payers_create(struct timing *t)
{
	uint32_t free_cycles[PAYERS] = { 0 }; /* walks pay all, as they wait for all */
	for (unsigned c = CAUSE_GUEST_USER; c <= CAUSE_GUEST_KERNEL; c++) {
		free_cycles[PAYER_DATA + c] = t->memory.l1d.latency;
		free_cycles[PAYER_CODE + c] = t->memory.l1i.latency;
	}
	hierarchy_stage(&t->memory, free_cycles);
}

void timing_settle(struct timing *t)
{
	uint64_t *cycles = t->memory.staged.cycles;
	hierarchy_settle(&t->memory);
	for (unsigned c = CAUSE_GUEST_USER; c <= CAUSE_WALK_SHADOW; c++)
		timing_charge(t, c, cycles[PAYER_DATA + c]);
	for (unsigned c = CAUSE_GUEST_USER; c <= CAUSE_GUEST_KERNEL; c++)
		timing_charge(t, c, cycles[PAYER_CODE + c]);
	memset(cycles, 0, sizeof t->memory.staged.cycles);
}

const char *consume_name(unsigned i)
{
	static const char *const names[CONSUMES] = { "auto", "in-order", "staged" };
	return i < CONSUMES ? names[i] : NULL;
}

bool consume_find(const char *name, enum consume *consume)
{
	for (unsigned i = 0; i < CONSUMES; i++)
		if (!strcmp(consume_name(i), name)) {
			*consume = (enum consume)i;
			return true;
		}
	return false;
}
