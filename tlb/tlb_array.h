/*
 * One modelled TLB array: entries, an organisation (where a translation may live) and a replacement policy (which one goes).
 *
 * Invariant: a slot is valid when its tag is not 0; at most one valid slot answers a lookup, because insertion follows a miss.
 * A new organisation is one file with one struct tlb_organisation and one line in tlb_organisations.def; it needs neither tlb_array.c nor tlb_model.c.
 */
#ifndef TLB_ARRAY_H
#define TLB_ARRAY_H
#include "tlb_model.h"
#include <emmintrin.h>

#define TLB_MAX_WAYS 4096 /* fully associative arrays are one set */

struct tlb_entry {
	uint64_t base;        /* hpa of the page */
	uint32_t tags, mask;  /* pcid | vpid << 16, and which of these bits must match: a global entry ignores the PCID */
	uint8_t shift;        /* log2 of the bytes that this entry covers */
	uint8_t origin;       /* log2 of the guest's page: INVLPG of any part of it ends the entry */
	bool write_ok;        /* writable, and D set: a write needs no walk */
	bool nested;          /* made through EPT or NPT */
};

struct tlb_array {
	struct tlb_geometry geometry;
	const struct tlb_organisation *organisation;
	const struct tlb_replacement *replacement;
	unsigned sets, ways, slots; /* slots = sets * ways */
	uint64_t per_way;           /* 2^32 / ways, rounded up: slot * per_way >> 32 is the set of a slot, exactly up to 16 ways of 2^20 slots */
	uint64_t *tag;              /* vpn << 6 | shift; 0: empty. vpn = gva >> shift */
	struct tlb_entry *entry;
	uint64_t *order;            /* LRU, FIFO: when a slot was touched, filled */
	uint64_t *tree;             /* PLRU: the bits of a set; LRU lists: its ways from the most to the least recently used, four bits each, the first lowest */
	unsigned *candidate;        /* [ways]: scratch for insertions; low_bits: [slots], and holds its own indices */
	bool low_bits;              /* set = the low bits of the page number, slots n * ways ..: what organisation->find and candidates do is known here, and needs no call */
	uint64_t *live;             /* a bit a slot: valid. What a flush looks at */
	unsigned valid, sizes[3];   /* entries now; of them 4K, 2M/4M, 1G: a lookup skips sizes that are not there */
	uint64_t *clock;            /* of the model: counts touches */
	uint64_t random;            /* state of the generator */
	bool stamps, lists;         /* true LRU by time stamps, by lists: what replacement->touch does is known here, and needs no call */
	struct tlb_fast_slot *fast; /* the filter's slots of an L1 array; NULL otherwise */
	uint32_t *held;             /* of the level: a bit an array and size that is there, TLB_HELD(array, size); NULL: nobody asks */
	unsigned number;            /* of the array in its level */
};
#define TLB_HELD(array, size) (1u << ((array) << 2 | (size)))

struct tlb_organisation {
	const char *name, *summary;
	/* Sets a->sets and a->ways from the geometry. False with a line in error. */
	bool (*shape)(struct tlb_array *a, char *error, size_t error_size);
	/* The slot that holds the tag for these tags, or UINT32_MAX. Changes nothing. */
	uint32_t (*find)(const struct tlb_array *a, uint64_t tag, uint32_t tags);
	/* The a->ways slots where the tag may live. */
	void (*candidates)(const struct tlb_array *a, uint64_t tag, unsigned *slot);
	bool partitioned; /* slots n * ways .. n * ways + ways - 1 are the candidates of a tag: what PLRU needs */
	bool low_bits;    /* and n is the page number modulo the number of sets */
};

struct tlb_replacement {
	const char *name, *summary;
	bool needs_sets;  /* only for partitioned organisations with a power of two of ways, at most 64 */
	const struct tlb_replacement *unfiltered; /* decides the same for partitioned arrays of at most 16 ways without a filter, faster; NULL: none */
	void (*start)(struct tlb_array *a); /* sets the state of an empty array; NULL: zeroes */
	void (*touch)(struct tlb_array *a, uint32_t slot);
	void (*filled)(struct tlb_array *a, uint32_t slot);
	uint32_t (*victim)(struct tlb_array *a, const unsigned *candidate); /* all are valid */
	/* Describes touch() for the filter: the fields touched, keep, set and stamp. */
	void (*describe)(struct tlb_array *a, uint32_t slot, struct tlb_fast_slot *f);
};

const struct tlb_organisation *tlb_organisation_find(const char *name); /* NULL name: set-associative; NULL: unknown */
const struct tlb_replacement *tlb_replacement_find(const char *name);   /* NULL name: lru */

bool tlb_array_create(struct tlb_array *a, const struct tlb_geometry *g, uint64_t *clock, struct tlb_fast_slot *fast, char *error, size_t error_size);
void tlb_array_destroy(struct tlb_array *a);
/* Looks up one page size: the slot or UINT32_MAX. Changes nothing. */
static inline uint32_t tlb_array_find(const struct tlb_array *a, uint64_t tag, uint32_t tags);
/* Looks up one page size; a hit counts as a touch. UINT32_MAX: miss. */
static inline uint32_t tlb_array_lookup(struct tlb_array *a, uint64_t gva, unsigned shift, uint32_t tags);
/* Puts e (covering gva) where the policy says. Returns the slot. */
uint32_t tlb_array_insert(struct tlb_array *a, uint64_t gva, const struct tlb_entry *e);
void tlb_array_kill(struct tlb_array *a, uint32_t slot);
/* Tells the filter that `slot` answers for the 4 KiB page of gva. */
void tlb_array_filter(struct tlb_array *a, uint64_t gva, uint32_t slot);

static inline uint64_t tlb_tag(uint64_t gva, unsigned shift) { return gva >> shift << 6 | shift; }
static inline unsigned tlb_size_index(unsigned shift) { return shift == 12 ? 0 : shift < 30 ? 1 : 2; }

/* Whether a valid slot with an equal tag belongs to these tags. */
static inline bool tlb_entry_matches(const struct tlb_entry *e, uint32_t tags) { return !((e->tags ^ tags) & e->mask); }
static inline uint64_t tlb_slot_gva(const struct tlb_array *a, uint32_t slot) { return a->tag[slot] >> 6 << (a->tag[slot] & 63); }

/* The slow half of tlb_scan(): the page is there, but perhaps for other tags. */
uint32_t tlb_scan_slow(const struct tlb_array *a, uint32_t first, unsigned n, uint64_t tag, uint32_t tags);

/* Which of up to 64 tags have the low half of `tag`: four at a time; SSE2 is part of x86-64. No branch depends on where one stands: that cannot be predicted. */
static inline uint64_t tlb_tag_mask(const uint64_t *t, unsigned n, uint64_t tag)
{
	const __m128i want = _mm_set1_epi32((int)(uint32_t)tag);
	uint64_t mask = 0;
	unsigned i = 0;
	for (; i + 4 <= n; i += 4) {
		__m128 low = _mm_castsi128_ps(_mm_loadu_si128((const __m128i *)(t + i))), high = _mm_castsi128_ps(_mm_loadu_si128((const __m128i *)(t + i + 2)));
		__m128i halves = _mm_castps_si128(_mm_shuffle_ps(low, high, 0x88));
		mask |= (uint64_t)(unsigned)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(halves, want))) << i;
	}
	for (; i < n; i++)
		mask |= (uint64_t)(t[i] == tag) << i;
	return mask;
}

/* One of n tags that equals `tag`, or UINT32_MAX. Low halves hardly ever agree by chance. */
static inline uint32_t tlb_tag_find(const uint64_t *t, unsigned n, uint64_t tag)
{
	for (unsigned first = 0; first < n; first += 64)
		for (uint64_t left = tlb_tag_mask(t + first, n - first < 64 ? n - first : 64, tag); left; left &= left - 1) {
			uint32_t at = first + (uint32_t)__builtin_ctzll(left);
			if (t[at] == tag)
				return at;
		}
	return UINT32_MAX;
}

/* Scans a set of consecutive slots: for organisations. */
static inline uint32_t tlb_scan(const struct tlb_array *a, uint32_t first, unsigned n, uint64_t tag, uint32_t tags)
{
	uint32_t hit = tlb_tag_find(a->tag + first, n, tag);
	if (hit == UINT32_MAX)
		return hit;
	return tlb_entry_matches(&a->entry[first + hit], tags) ? first + hit : tlb_scan_slow(a, first, n, tag, tags);
}

static inline uint32_t tlb_set_first(const struct tlb_array *a, uint64_t tag) { return (uint32_t)(tag >> 6 & (a->sets - 1)) * a->ways; }

static inline uint32_t tlb_array_find(const struct tlb_array *a, uint64_t tag, uint32_t tags)
{
	return a->low_bits ? tlb_scan(a, tlb_set_first(a, tag), a->ways, tag, tags) : a->organisation->find(a, tag, tags);
}

static inline uint32_t tlb_slot_set(const struct tlb_array *a, uint32_t slot) { return (uint32_t)(slot * a->per_way >> 32); }

/* An LRU list: touching a way moves its four bits to the low end; the victim's are the highest in use. */
static inline void tlb_list_touch(struct tlb_array *a, uint32_t slot)
{
	const uint64_t each = 0x1111111111111111ull;
	uint32_t set = tlb_slot_set(a, slot);
	uint64_t list = a->tree[set], way = slot - set * a->ways;
	uint64_t differs = list ^ way * each, equal = (differs - each) & ~differs & 8 * each; /* the lowest bit of it is exact: where `way` stands */
	uint64_t front = equal ^ (equal - 1);
	a->tree[set] = (list & ~front) | (list << 4 & front) | way;
}

/* The slot of a set that was touched longest ago. */
static inline uint32_t tlb_stamps_oldest(const struct tlb_array *a, uint32_t first)
{
	const uint64_t *order = a->order + first;
	uint64_t when = order[0];
	uint32_t oldest = 0;
	for (uint32_t i = 1; i < a->ways; i++) {
		oldest = order[i] < when ? i : oldest;
		when = order[i] < when ? order[i] : when;
	}
	return first + oldest;
}

static inline uint32_t tlb_list_oldest(const struct tlb_array *a, uint32_t set) { return set * a->ways + (uint32_t)(a->tree[set] >> 4 * (a->ways - 1) & 15); }

static inline void tlb_array_touch(struct tlb_array *a, uint32_t slot)
{
	if (a->stamps)
		a->order[slot] = ++*a->clock;
	else if (a->lists)
		tlb_list_touch(a, slot);
	else
		a->replacement->touch(a, slot);
}

static inline uint32_t tlb_array_lookup(struct tlb_array *a, uint64_t gva, unsigned shift, uint32_t tags)
{
	uint32_t slot = tlb_array_find(a, tlb_tag(gva, shift), tags);
	if (slot != UINT32_MAX)
		tlb_array_touch(a, slot);
	return slot;
}
#endif
