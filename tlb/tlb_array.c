#include "tlb_array.h"
#include <stdio.h>
#include <stdlib.h>

#define ORGANISATION(symbol) extern const struct tlb_organisation tlb_organisation_##symbol;
#include "tlb_organisations.def"
#undef ORGANISATION
static const struct tlb_organisation *const organisations[] = {
#define ORGANISATION(symbol) &tlb_organisation_##symbol,
#include "tlb_organisations.def"
#undef ORGANISATION
};
enum { ORGANISATIONS = sizeof organisations / sizeof *organisations };

const struct tlb_organisation *tlb_organisation_find(const char *name)
{
	if (!name)
		return organisations[0];
	for (unsigned i = 0; i < ORGANISATIONS; i++)
		if (!strcmp(organisations[i]->name, name))
			return organisations[i];
	return NULL;
}

const char *tlb_organisation_name(unsigned i)
{
	return i < ORGANISATIONS ? organisations[i]->name : NULL;
}

static bool geometry_check(struct tlb_array *a, char *error, size_t n)
{
	const struct tlb_geometry *g = &a->geometry;
	a->organisation = tlb_organisation_find(g->organisation);
	a->replacement = tlb_replacement_find(g->replacement);
	if (!a->organisation)
		snprintf(error, n, "unknown TLB organisation '%s': see `ringside list tlb-organisations`", g->organisation);
	else if (!a->replacement)
		snprintf(error, n, "unknown TLB replacement policy '%s': see `ringside list tlb-replacements`", g->replacement);
	else if (g->entries > 1u << 20 || g->ways > g->entries)
		snprintf(error, n, "a TLB of %u entries and %u ways: entries must be at most 1048576, and ways at most entries", g->entries, g->ways);
	else if (!(g->page_sizes & (TLB_4K | TLB_2M | TLB_1G)))
		snprintf(error, n, "a TLB of %u entries holds no page size: give it one of 4K, 2M, 1G", g->entries);
	else if (a->organisation->shape(a, error, n)) {
		if (a->replacement->needs_sets && (!a->organisation->partitioned || a->ways > 64 || (a->ways & (a->ways - 1))))
			snprintf(error, n, "replacement '%s' needs sets with a power of two of ways, at most 64: '%s' with %u ways is not", a->replacement->name, a->organisation->name, a->ways);
		else
			return true;
	}
	return false;
}

bool tlb_array_create(struct tlb_array *a, const struct tlb_geometry *g, uint64_t *clock, struct tlb_fast_slot *fast, char *error, size_t error_size)
{
	*a = (struct tlb_array){ .geometry = *g, .clock = clock, .fast = fast, .random = (0x2545f4914f6cdd1dull ^ g->seed * 0x9e3779b97f4a7c15ull) | 1 };
	if (!geometry_check(a, error, error_size))
		return false;
	a->slots = a->sets * a->ways;
	a->per_way = ((1ull << 32) + a->ways - 1) / a->ways;
	a->tag = calloc(a->slots, sizeof *a->tag);
	a->entry = calloc(a->slots, sizeof *a->entry);
	a->order = calloc(a->slots, sizeof *a->order);
	a->tree = calloc(a->sets, sizeof *a->tree);
	a->low_bits = a->organisation->low_bits && !(a->sets & (a->sets - 1));
	a->candidate = calloc(a->low_bits ? a->slots : a->ways, sizeof *a->candidate);
	for (unsigned i = 0; a->low_bits && a->candidate && i < a->slots; i++)
		a->candidate[i] = i;
	a->live = calloc((a->slots + 63) / 64, sizeof *a->live);
	if (a->replacement->unfiltered && !fast && a->organisation->partitioned && a->ways <= 16)
		a->replacement = a->replacement->unfiltered;
	if (a->tag && a->entry && a->order && a->tree && a->candidate && a->live) {
		if (a->replacement->start)
			a->replacement->start(a);
		return true;
	}
	snprintf(error, error_size, "out of memory for a TLB of %u entries", g->entries);
	tlb_array_destroy(a);
	return false;
}

void tlb_array_destroy(struct tlb_array *a)
{
	free(a->tag);
	free(a->entry);
	free(a->order);
	free(a->tree);
	free(a->candidate);
	free(a->live);
	*a = (struct tlb_array){ 0 };
}

uint32_t tlb_scan_slow(const struct tlb_array *a, uint32_t first, unsigned n, uint64_t tag, uint32_t tags)
{
	for (unsigned i = 0; i < n; i++)
		if (a->tag[first + i] == tag && tlb_entry_matches(&a->entry[first + i], tags))
			return first + i;
	return UINT32_MAX;
}

/* The filter forgets all pages that the slot answers for. */
static void filter_forget(struct tlb_array *a, uint32_t slot)
{
	unsigned shift = a->tag[slot] & 63;
	uint64_t vpn = a->tag[slot] >> 6;
	if (shift == 12) {
		struct tlb_fast_slot *f = &a->fast[tlb_fast_index(vpn << 12)];
		uint64_t stays = 0 - (uint64_t)(f->read_key >> 12 != vpn); /* no branch: whether it is still there cannot be predicted */
		f->read_key &= stays;
		f->write_key &= stays;
		return;
	}
	for (unsigned i = 0; i < TLB_FAST_SLOTS; i++)
		if (a->fast[i].read_key >> shift == vpn)
			a->fast[i].read_key = a->fast[i].write_key = 0;
}

static void size_leave(struct tlb_array *a, unsigned size)
{
	if (!--a->sizes[size] && a->held)
		*a->held &= ~TLB_HELD(a->number, size);
}

static void size_enter(struct tlb_array *a, unsigned size)
{
	a->sizes[size]++;
	if (a->held)
		*a->held |= TLB_HELD(a->number, size);
}

void tlb_array_kill(struct tlb_array *a, uint32_t slot)
{
	if (!a->tag[slot])
		return;
	if (a->fast)
		filter_forget(a, slot);
	a->valid--;
	size_leave(a, tlb_size_index(a->tag[slot] & 63));
	a->tag[slot] = 0;
	a->live[slot / 64] &= ~(1ull << slot % 64);
}

/* A slot where the tag may live: an empty one, the first; or the victim. */
static inline uint32_t slot_choose(struct tlb_array *a, uint64_t tag)
{
	uint32_t first = tlb_set_first(a, tag), empty;
	if (!a->low_bits) {
		a->organisation->candidates(a, tag, a->candidate);
		for (unsigned i = 0; i < a->ways && a->valid < a->slots; i++)
			if (!a->tag[a->candidate[i]])
				return a->candidate[i];
		return a->replacement->victim(a, a->candidate);
	}
	if (a->valid < a->slots && (empty = tlb_tag_find(a->tag + first, a->ways, 0)) != UINT32_MAX)
		return first + empty;
	if (a->lists)
		return tlb_list_oldest(a, (uint32_t)(tag >> 6 & (a->sets - 1)));
	return a->stamps ? tlb_stamps_oldest(a, first) : a->replacement->victim(a, a->candidate + first);
}

uint32_t tlb_array_insert(struct tlb_array *a, uint64_t gva, const struct tlb_entry *e)
{
	uint64_t tag = tlb_tag(gva, e->shift);
	uint32_t slot = slot_choose(a, tag);
	if (a->tag[slot] && !((a->tag[slot] ^ tag) & 63)) { /* one goes, one of its size comes */
		if (a->fast)
			filter_forget(a, slot);
	} else {
		if (a->tag[slot])
			tlb_array_kill(a, slot);
		a->live[slot / 64] |= 1ull << slot % 64;
		a->valid++;
		size_enter(a, tlb_size_index(e->shift));
	}
	a->tag[slot] = tag;
	a->entry[slot] = *e;
	if (a->stamps || a->lists)
		tlb_array_touch(a, slot);
	else
		a->replacement->filled(a, slot);
	return slot;
}

void tlb_array_filter(struct tlb_array *a, uint64_t gva, uint32_t slot)
{
	const struct tlb_entry *e = &a->entry[slot];
	struct tlb_fast_slot *f = &a->fast[tlb_fast_index(gva)];
	if (a->stamps) {
		f->touched = &a->order[slot];
		f->keep = f->set = 0;
		f->stamp = ~0ull;
	} else {
		a->replacement->describe(a, slot, f);
	}
	f->read_key = (gva & ~0xfffull) | 1;
	f->write_key = e->write_ok ? f->read_key : 0;
	f->base = e->base | (gva & ((1ull << e->shift) - 1) & ~0xfffull);
}
