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

/*
 * Accesses whose sets are brought from the real memory together. They are counted by payer in the eight bytes of a word, which so many cannot overflow: sums in memory would wait for each
 * other. And no branch depends on what an access found: that cannot be predicted.
 */
enum { CHUNK = 64 };
_Static_assert(PAYERS == 8 && CHUNK < 256, "a byte of a word for each payer");

static inline uint64_t count_by_payer(uint64_t count, uint8_t payer) { return count << 8 * payer; }

/* Charges what a chunk's counts stand for; returns how many they are. */
static uint64_t counts_charge(uint64_t counts, const uint32_t *cost, uint64_t *cycles)
{
	uint64_t sum = 0;
	for (unsigned payer = 0; payer < PAYERS; payer++) {
		uint64_t n = counts >> 8 * payer & 0xff;
		cycles[payer] += n * cost[payer];
		sum += n;
	}
	return sum;
}

/* What a chunk's accesses have found becomes accesses to the level below. Returns the hits by payer. */
static uint64_t chunk_pass(struct cache *c, const uint64_t *address, const uint8_t *payer, const uint64_t *gone, unsigned n, struct staged_list *out)
{
	uint64_t *restrict to = out->address + out->count;
	uint8_t *restrict who = out->payer + out->count;
	uint64_t hits = 0, made = 0, writebacks = 0;
	const uint32_t shift = c->line_shift;
	for (unsigned i = 0; i < n; i++) {
		uint64_t hit = gone[i] == LRU_HIT, dirty = (gone[i] & 1) & (gone[i] != LRU_EMPTY); /* LRU_HIT is even */
		hits += count_by_payer(hit, payer[i]);
		to[made] = address[i];
		who[made] = payer[i];
		made += ~(hit | address[i]) & 1; /* a whole line that is written needs nothing from below */
		to[made] = gone[i] >> 1 << shift | 1;
		who[made] = 0;
		made += dirty;
		writebacks += dirty;
	}
	out->count += made;
	c->writeback += writebacks;
	return hits;
}

/* Where the accesses go, and what for. */
static void chunk_aim(const struct cache *level, const uint64_t *address, unsigned n, uint64_t **set, uint64_t *entry)
{
	const struct cache c = *level;
	const uint32_t second = c.ways > 8 ? 8 : 0; /* a set is one real line or two */
	for (unsigned i = 0; i < n; i++) {
		uint64_t line = address[i] >> c.line_shift;
		set[i] = cache_set(&c, line);
		entry[i] = line << 1 | (address[i] & 1);
		__builtin_prefetch(set[i], 1);
		__builtin_prefetch(set[i] + second, 1);
	}
}

static void level_settle(struct cache *c, struct staged_list *in, struct staged_list *out, const uint32_t *cost, uint64_t *cycles)
{
	uint64_t *set[CHUNK], entry[CHUNK];
	for (unsigned first = 0, n; first < in->count; first += n) {
		n = in->count - first < CHUNK ? in->count - first : CHUNK;
		chunk_aim(c, in->address + first, n, set, entry);
		c->list(set, c->ways, entry, n);
		c->miss += n - counts_charge(chunk_pass(c, in->address + first, in->payer + first, entry, n, out), cost, cycles);
	}
	c->access += in->count;
	in->count = 0;
}

static void dram_settle(struct dram *dram, struct staged_list *in, const uint32_t (*cost)[PAYERS], uint64_t *cycles)
{
	const struct dram d = *dram;
	for (unsigned first = 0, n; first < in->count; first += n) {
		uint64_t all = 0, open = 0, closed = 0;
		n = in->count - first < CHUNK ? in->count - first : CHUNK;
		for (unsigned i = first; i < first + n; i++) {
			uint64_t row = dram_row(&d, in->address[i]), *at = &d.open[dram_bank(&d, row)];
			all += count_by_payer(1, in->payer[i]);
			open += count_by_payer(*at == row + 1, in->payer[i]);
			closed += count_by_payer(*at == 0, in->payer[i]);
			*at = row + 1;
		}
		dram->row_hit += counts_charge(open, cost[0], cycles);
		dram->row_miss += counts_charge(closed, cost[1], cycles);
		dram->row_conflict += counts_charge(all - open - closed, cost[2], cycles); /* no byte is less than nothing */
	}
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
