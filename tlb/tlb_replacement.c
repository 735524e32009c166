/*
 * Replacement policies of modelled TLB arrays. Each says in describe() what its touch() does, so that the filter does the same.
 */
#include "tlb_array.h"

/* ---- true LRU: a slot remembers when it was touched ---- */
static void lru_start(struct tlb_array *a) { a->stamps = true; }
static void lru_touch(struct tlb_array *a, uint32_t slot) { a->order[slot] = ++*a->clock; }

static uint32_t oldest(struct tlb_array *a, const unsigned *candidate)
{
	uint32_t old = candidate[0];
	uint64_t when = a->order[old];
	for (unsigned i = 1; i < a->ways; i++) {
		uint64_t then = a->order[candidate[i]];
		old = then < when ? candidate[i] : old; /* not branches: which is the oldest cannot be predicted */
		when = then < when ? then : when;
	}
	return old;
}

static void lru_describe(struct tlb_array *a, uint32_t slot, struct tlb_fast_slot *f)
{
	f->touched = &a->order[slot];
	f->keep = f->set = 0;
	f->stamp = ~0ull;
}

/* ---- true LRU where no filter takes part: a word a set lists its ways (tlb_array.h) ---- */
static void list_start(struct tlb_array *a)
{
	for (unsigned set = 0; set < a->sets; set++)
		a->tree[set] = 0xfedcba9876543210ull;
	a->lists = true;
}

static uint32_t list_victim(struct tlb_array *a, const unsigned *candidate) { return tlb_list_oldest(a, tlb_slot_set(a, candidate[0])); }

/* ---- FIFO and random: touching changes nothing ---- */
static void no_touch(struct tlb_array *a, uint32_t slot) { (void)a, (void)slot; }

static void no_describe(struct tlb_array *a, uint32_t slot, struct tlb_fast_slot *f)
{
	f->touched = &a->order[slot];
	f->keep = ~0ull;
	f->set = f->stamp = 0;
}

static uint32_t random_victim(struct tlb_array *a, const unsigned *candidate)
{
	a->random ^= a->random << 13; /* xorshift64 (Marsaglia 2003), seeded by the geometry: runs repeat */
	a->random ^= a->random >> 7;
	a->random ^= a->random << 17;
	return candidate[(a->random >> 33) % a->ways];
}

/*
 * ---- tree PLRU ----
 * Node 1 is the root, node n has children 2n and 2n + 1; bit n of the set's word says which half to victimize next: 0 left, 1 right.
 */
static void plru_masks(const struct tlb_array *a, uint32_t slot, uint64_t *clear, uint64_t *set)
{
	unsigned node = 1, way = slot % a->ways;
	*clear = *set = 0;
	for (unsigned half = a->ways / 2; half; half /= 2) {
		bool right = way & half;
		*clear |= 1ull << node;
		*set |= right ? 0 : 1ull << node; /* point away from it */
		node = 2 * node + right;
	}
}

static void plru_touch(struct tlb_array *a, uint32_t slot)
{
	uint64_t clear, set, *tree = &a->tree[slot / a->ways];
	plru_masks(a, slot, &clear, &set);
	*tree = (*tree & ~clear) | set;
}

static uint32_t plru_victim(struct tlb_array *a, const unsigned *candidate)
{
	uint64_t tree = a->tree[candidate[0] / a->ways];
	unsigned node = 1;
	while (node < a->ways)
		node = 2 * node + (tree >> node & 1);
	return candidate[node - a->ways];
}

static void plru_describe(struct tlb_array *a, uint32_t slot, struct tlb_fast_slot *f)
{
	uint64_t clear;
	plru_masks(a, slot, &clear, &f->set);
	f->touched = &a->tree[slot / a->ways];
	f->keep = ~clear;
	f->stamp = 0;
}

static const struct tlb_replacement lru_list = { "lru", "least recently used, exact", false, NULL, list_start, tlb_list_touch, tlb_list_touch, list_victim, NULL };
static const struct tlb_replacement tlb_replacement_lru = { "lru", "least recently used, exact", false, &lru_list, lru_start, lru_touch, lru_touch, oldest, lru_describe };
static const struct tlb_replacement tlb_replacement_plru = { "plru", "binary-tree approximation of LRU", true, NULL, NULL, plru_touch, plru_touch, plru_victim, plru_describe };
static const struct tlb_replacement tlb_replacement_fifo = { "fifo", "first in, first out", false, NULL, NULL, no_touch, lru_touch, oldest, no_describe };
static const struct tlb_replacement tlb_replacement_random = { "random", "pseudo-random, the same in every run with the same seed", false, NULL, NULL, no_touch, no_touch, random_victim, no_describe };

static const struct tlb_replacement *const replacements[] = {
#define REPLACEMENT(symbol) &tlb_replacement_##symbol,
#include "tlb_replacements.def"
#undef REPLACEMENT
};
enum { REPLACEMENTS = sizeof replacements / sizeof *replacements };

const struct tlb_replacement *tlb_replacement_find(const char *name)
{
	if (!name)
		return replacements[0];
	for (unsigned i = 0; i < REPLACEMENTS; i++)
		if (!strcmp(replacements[i]->name, name))
			return replacements[i];
	return NULL;
}

const char *tlb_replacement_name(unsigned i)
{
	return i < REPLACEMENTS ? replacements[i]->name : NULL;
}
