#include "hierarchy.h"
#include <stdlib.h>

static bool staged_create(struct staged *s)
{
	for (unsigned i = 0; i < 3; i++) {
		s->level[i].address = malloc((STAGED_MOST << i) * sizeof *s->level[i].address);
		s->level[i].payer = malloc(STAGED_MOST << i);
		if (!s->level[i].address || !s->level[i].payer)
			return false;
	}
	return true;
}

static void staged_destroy(struct staged *s)
{
	for (unsigned i = 0; i < 3; i++) {
		free(s->level[i].address);
		free(s->level[i].payer);
	}
}

const char *hierarchy_create(struct hierarchy *h, const struct preset *p)
{
	*h = (struct hierarchy){ 0 };
	const char *wrong = !cache_create(&h->l1i, &p->l1i, p->lru) || !h->l1i.entry ? "l1i"
		: !cache_create(&h->l1d, &p->l1d, p->lru) || !h->l1d.entry ? "l1d"
		: !cache_create(&h->l2, &p->l2, p->lru) || !h->l2.entry ? "l2"
		: !cache_create(&h->l3, &p->l3, p->lru) ? "l3"
		: !dram_create(&h->dram, &p->dram) ? "dram"
		: !staged_create(&h->staged) ? "memory" : NULL;
	if (wrong)
		hierarchy_destroy(h);
	return wrong;
}

void hierarchy_destroy(struct hierarchy *h)
{
	cache_destroy(&h->l1i);
	cache_destroy(&h->l1d);
	cache_destroy(&h->l2);
	cache_destroy(&h->l3);
	dram_destroy(&h->dram);
	staged_destroy(&h->staged);
}

/* A whole line comes down to `level`: nothing is read from below, but something may have to make room. */
static inline void level_write(struct hierarchy *h, struct cache *level, uint64_t address)
{
	struct cache_victim victim;
	if (cache_access_below(level, address >> level->line_shift, true, &victim) || !victim.dirty)
		return;
	uint64_t gone = victim.line << level->line_shift;
	if (level != &h->l2 || !h->l3.entry)
		dram_access(&h->dram, gone);
	else if (!cache_access_below(&h->l3, gone >> h->l3.line_shift, true, &victim) && victim.dirty)
		dram_access(&h->dram, victim.line << h->l3.line_shift);
}

/* A read that reached the last cache: its cycles. */
static inline uint32_t last_read(struct hierarchy *h, struct cache *last, uint64_t address, struct cache_victim *victim)
{
	if (cache_access_below(last, address >> last->line_shift, false, victim))
		return last->latency;
	return last->latency + dram_access(&h->dram, address);
}

/* A read that missed L1. */
static inline uint32_t below_read(struct hierarchy *h, uint64_t address)
{
	struct cache_victim victim = { 0 }, second = { 0 };
	uint32_t cycles;
	if (!h->l3.entry) {
		cycles = last_read(h, &h->l2, address, &victim);
		if (victim.dirty)
			dram_access(&h->dram, victim.line << h->l2.line_shift);
		return cycles;
	}
	if (cache_access_below(&h->l2, address >> h->l2.line_shift, false, &victim))
		return h->l2.latency;
	cycles = last_read(h, &h->l3, address, &second);
	if (second.dirty)
		dram_access(&h->dram, second.line << h->l3.line_shift);
	if (victim.dirty)
		level_write(h, &h->l3, victim.line << h->l2.line_shift);
	return cycles;
}

uint32_t hierarchy_miss(struct hierarchy *h, const struct cache *l1, uint64_t address, const struct cache_victim *victim)
{
	if (h->l3.entry) { /* its tags are the largest table here: the real caches may as well begin to bring them */
		const uint64_t *set = cache_set(&h->l3, address >> h->l3.line_shift);
		__builtin_prefetch(set, 1);
		__builtin_prefetch(set + h->l3.ways - 1, 1);
	}
	uint32_t cycles = below_read(h, address);
	if (victim->dirty)
		level_write(h, &h->l2, victim->line << l1->line_shift);
	return cycles;
}

/* ---- staged ---- */

void hierarchy_stage(struct hierarchy *h, const uint32_t *free_cycles)
{
	const struct dram_geometry *g = &h->dram.geometry;
	const uint32_t last = h->l3.entry ? h->l3.latency : h->l2.latency, row[3] = { g->row_hit, g->row_miss, g->row_conflict };
	for (unsigned payer = 1; payer < PAYERS; payer++) {
		h->staged.cost[0][payer] = cycles_beyond(h->l2.latency, free_cycles[payer]);
		h->staged.cost[1][payer] = cycles_beyond(h->l3.latency, free_cycles[payer]);
		for (unsigned kind = 0; kind < 3; kind++)
			h->staged.memory[kind][payer] = cycles_beyond(last + row[kind], free_cycles[payer]);
	}
}

enum { CHUNK = 64 }; /* accesses whose sets are brought from the real memory together */

/* What a chunk's accesses have found becomes their payers' cycles and accesses to the level below. No branch depends on what was found: it cannot be predicted. */
static void chunk_pass(struct cache *c, const uint64_t *address, const uint8_t *payer, const uint64_t *gone, unsigned n, struct staged_list *out, const uint32_t *cost, uint64_t *cycles)
{
	unsigned made = out->count;
	uint64_t misses = 0, writebacks = 0;
	for (unsigned i = 0; i < n; i++) {
		bool miss = gone[i] != LRU_HIT, dirty = (gone[i] & 1) && gone[i] != LRU_EMPTY; /* LRU_HIT is even */
		cycles[payer[i]] += miss ? 0 : cost[payer[i]];
		out->address[made] = address[i];
		out->payer[made] = payer[i];
		made += miss & !(address[i] & 1); /* a whole line that is written needs nothing from below */
		out->address[made] = gone[i] >> 1 << c->line_shift | 1;
		out->payer[made] = 0;
		made += dirty;
		misses += miss;
		writebacks += dirty;
	}
	out->count = made;
	c->miss += misses;
	c->writeback += writebacks;
}

static void level_settle(struct cache *c, struct staged_list *in, struct staged_list *out, const uint32_t *cost, uint64_t *cycles)
{
	uint64_t *set[CHUNK], entry[CHUNK];
	for (unsigned first = 0, n; first < in->count; first += n) {
		n = in->count - first < CHUNK ? in->count - first : CHUNK;
		for (unsigned i = 0; i < n; i++) {
			uint64_t line = in->address[first + i] >> c->line_shift;
			set[i] = cache_set(c, line);
			entry[i] = line << 1 | (in->address[first + i] & 1);
			__builtin_prefetch(set[i], 1);
			__builtin_prefetch(set[i] + c->ways - 1, 1);
		}
		c->list(set, c->ways, entry, n);
		chunk_pass(c, in->address + first, in->payer + first, entry, n, out, cost, cycles);
	}
	c->access += in->count;
	in->count = 0;
}

static void dram_settle(struct dram *d, struct staged_list *in, const uint32_t (*cost)[PAYERS], uint64_t *cycles)
{
	uint64_t kinds[3] = { 0 };
	for (unsigned i = 0; i < in->count; i++) {
		uint64_t row = dram_row(d, in->address[i]) + 1, *open = &d->open[dram_bank(d, row - 1)], was = *open;
		unsigned kind = (was != row) + ((was != row) & (was != 0)); /* open, closed, another */
		*open = row;
		kinds[kind]++;
		cycles[in->payer[i]] += cost[kind][in->payer[i]];
	}
	d->row_hit += kinds[0];
	d->row_miss += kinds[1];
	d->row_conflict += kinds[2];
	in->count = 0;
}

void hierarchy_settle(struct hierarchy *h)
{
	struct staged *s = &h->staged;
	struct staged_list *memory = &s->level[1];
	level_settle(&h->l2, &s->level[0], &s->level[1], s->cost[0], s->cycles);
	if (h->l3.entry) {
		memory = &s->level[2];
		level_settle(&h->l3, &s->level[1], memory, s->cost[1], s->cycles);
	}
	dram_settle(&h->dram, memory, s->memory, s->cycles);
}
