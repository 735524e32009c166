/* The cache of shadow pages. */
#include "shadow_pages.h"
#include <assert.h>

enum { WORD_KEY = 0, WORD_TABLE = 8, WORD_NEXT = 16, WORD_PARENTS = 24, WORD_GVA = 32, WORD_LIVE = 40 };

static uint64_t get(struct shadow *s, uint64_t record, unsigned word) { return vmm_load(s->v, record + word, 8); }
static void set(struct shadow *s, uint64_t record, unsigned word, uint64_t value) { vmm_store_data(s->v, record + word, value, 8); }

static uint64_t bucket_of(const struct shadow *s, uint64_t gpa)
{
	return s->buckets + ((gpa >> 12) * 0x9e3779b97f4a7c15ull >> 40 & s->bucket_mask) * 8;
}

static uint64_t owner_word(const struct shadow *s, uint64_t hpa)
{
	return s->owner + (((hpa & SH_ADDRESS) - s->v->pool_base) >> 12) * 8;
}

static uint64_t rmap_head(const struct shadow *s, uint64_t hpa)
{
	return s->rmap + (vmm_gpa_of(s->v, hpa & SH_ADDRESS) >> 12) * 8;
}

bool shadow_pages_create(struct shadow *s)
{
	struct vmm *v = s->v;
	s->bucket_mask = 1023;
	s->records.bytes = SHADOW_RECORD_BYTES;
	s->nodes.bytes = RMAP_NODE_BYTES;
	s->root_slots = v->config.shadow_roots < 1 ? 1 : v->config.shadow_roots > SHADOW_ROOTS_MAX ? SHADOW_ROOTS_MAX : v->config.shadow_roots;
	s->buckets = vmm_region_alloc(v, (s->bucket_mask + 1) * 8);
	s->owner = vmm_region_alloc(v, (v->pool_bytes >> 12) * 8);
	s->rmap = vmm_region_alloc(v, (v->guest_bytes >> 12) * 8);
	s->roots = vmm_region_alloc(v, (uint64_t)s->root_slots * SHADOW_ROOT_BYTES);
	return !v->failed;
}

uint64_t shadow_page_owner(struct shadow *s, uint64_t entry) { return vmm_load(s->v, owner_word(s, entry), 8); }
uint64_t shadow_page_table(struct shadow *s, uint64_t record) { return get(s, record, WORD_TABLE); }
uint64_t shadow_page_key(struct shadow *s, uint64_t record) { return get(s, record, WORD_KEY); }

/* ---------------------------------------------------------------- making */
static uint64_t page_find(struct shadow *s, uint64_t key)
{
	uint64_t r = vmm_load(s->v, bucket_of(s, key), 8);
	while (r && get(s, r, WORD_KEY) != key)
		r = get(s, r, WORD_NEXT);
	return r;
}

static uint64_t page_make(struct shadow *s, uint64_t key, uint64_t gva)
{
	struct vmm *v = s->v;
	uint64_t record = vmm_slab_take(v, &s->records), table = record ? vmm_page_alloc(v) : 0, bucket = bucket_of(s, key);
	if (!table)
		return 0;
	set(s, record, WORD_KEY, key);
	set(s, record, WORD_TABLE, table);
	set(s, record, WORD_PARENTS, 0);
	set(s, record, WORD_GVA, gva);
	set(s, record, WORD_LIVE, 0);
	vmm_store_data(v, owner_word(s, table), record, 8);
	if (!(key & SHADOW_DIRECT)) {
		set(s, record, WORD_NEXT, vmm_load(v, bucket, 8));
		vmm_store_data(v, bucket, record, 8);
	}
	return record;
}

uint64_t shadow_page_get(struct shadow *s, uint64_t key, uint64_t gva)
{
	uint64_t record = key & SHADOW_DIRECT ? 0 : page_find(s, key);
	if (!record)
		return page_make(s, key, gva);
	uint64_t first = get(s, record, WORD_GVA);
	if (first != gva && !(first & 1)) {
		set(s, record, WORD_GVA, first | 1);
		s->aliased |= (key & 7) > 1;
	}
	return record;
}

void shadow_root_link(struct shadow *s, uint64_t word, uint64_t child)
{
	vmm_store(s->v, word, shadow_page_table(s, child) | SH_P, 8);
	rmap_add(s->v, &s->nodes, child + WORD_PARENTS, word);
}

void shadow_page_link(struct shadow *s, uint64_t parent, unsigned index, uint64_t child, uint64_t bits)
{
	uint64_t at = shadow_page_table(s, parent) + 8ull * index;
	vmm_store(s->v, at, shadow_page_table(s, child) | SH_P | SH_A | bits, 8);
	set(s, parent, WORD_LIVE, get(s, parent, WORD_LIVE) + 1);
	rmap_add(s->v, &s->nodes, child + WORD_PARENTS, at);
}

void shadow_leaf_set(struct shadow *s, uint64_t record, unsigned index, uint64_t entry)
{
	uint64_t at = shadow_page_table(s, record) + 8ull * index, old = vmm_load(s->v, at, 8);
	if ((old & SH_P) && (old & SH_W))
		rmap_remove(s->v, &s->nodes, rmap_head(s, old), at);
	if (!(old & SH_P))
		set(s, record, WORD_LIVE, get(s, record, WORD_LIVE) + 1);
	vmm_store(s->v, at, entry, 8);
	if (entry & SH_W)
		rmap_add(s->v, &s->nodes, rmap_head(s, entry), at);
}

/* ---------------------------------------------------------------- ending */
static void page_free(struct shadow *s, uint64_t record);

/* An entry at `at` no longer points to `child`; a page that nothing points to goes. */
static void child_release(struct shadow *s, uint64_t at, uint64_t child)
{
	rmap_remove(s->v, &s->nodes, child + WORD_PARENTS, at);
	if (!get(s, child, WORD_PARENTS))
		page_free(s, child);
}

static void entry_zap(struct shadow *s, uint64_t record, unsigned index)
{
	struct vmm *v = s->v;
	uint64_t at = shadow_page_table(s, record) + 8ull * index, old = vmm_load(v, at, 8), first;
	if (!(old & SH_P))
		return;
	vmm_store(v, at, 0, 8);
	set(s, record, WORD_LIVE, get(s, record, WORD_LIVE) - 1);
	if ((shadow_page_key(s, record) & 7) > 1) {
		child_release(s, at, shadow_page_owner(s, old));
		mmu_flush_all(v->mmu, v->cpu);
		return;
	}
	if (old & SH_W)
		rmap_remove(v, &s->nodes, rmap_head(s, old), at);
	first = get(s, record, WORD_GVA);
	if ((first & 1) || s->aliased)
		mmu_flush_all(v->mmu, v->cpu);
	else
		mmu_flush_page(v->mmu, v->cpu, first + ((uint64_t)index << 12));
}

static void bucket_remove(struct shadow *s, uint64_t record, uint64_t key)
{
	uint64_t link = bucket_of(s, key), r;
	while ((r = vmm_load(s->v, link, 8)) && r != record)
		link = r + WORD_NEXT;
	if (r)
		vmm_store_data(s->v, link, get(s, record, WORD_NEXT), 8);
}

static void page_free(struct shadow *s, uint64_t record)
{
	struct vmm *v = s->v;
	uint64_t table = shadow_page_table(s, record), key = shadow_page_key(s, record);
	for (unsigned i = 0; i < 512 && get(s, record, WORD_LIVE); i++)
		entry_zap(s, record, i);
	if (!(key & SHADOW_DIRECT))
		bucket_remove(s, record, key);
	vmm_store_data(v, owner_word(s, table), 0, 8);
	vmm_page_free(v, table);
	vmm_slab_give(v, &s->records, record);
}

void shadow_root_unlink(struct shadow *s, uint64_t word)
{
	uint64_t old = vmm_load(s->v, word, 8);
	if (!(old & SH_P))
		return;
	vmm_store(s->v, word, 0, 8);
	child_release(s, word, shadow_page_owner(s, old));
	mmu_flush_all(s->v->mmu, s->v->cpu);
}

/* Takes the page out of everything that points to it, and frees it. */
static void page_drop(struct shadow *s, uint64_t record)
{
	struct vmm *v = s->v;
	uint64_t at, parent;
	while ((at = rmap_pop(v, &s->nodes, record + WORD_PARENTS))) {
		vmm_store(v, at, 0, 8);
		if (at - s->roots < (uint64_t)s->root_slots * SHADOW_ROOT_BYTES)
			continue;
		parent = shadow_page_owner(s, at);
		set(s, parent, WORD_LIVE, get(s, parent, WORD_LIVE) - 1);
	}
	page_free(s, record);
	mmu_flush_all(v->mmu, v->cpu);
}

/* A guest page may be shadowed as a table of several levels and quadrants; ending one may end another of them (a table that points to itself). */
#define SAME_PAGE_MAX 20
struct same_page { uint64_t record[SAME_PAGE_MAX], table[SAME_PAGE_MAX]; unsigned count; };

static void same_page_find(struct shadow *s, uint64_t gpa, struct same_page *found)
{
	found->count = 0;
	for (uint64_t r = vmm_load(s->v, bucket_of(s, gpa), 8); r; r = get(s, r, WORD_NEXT))
		if ((get(s, r, WORD_KEY) & SH_ADDRESS) == (gpa & SH_ADDRESS)) {
			assert(found->count < SAME_PAGE_MAX);
			found->record[found->count] = r;
			found->table[found->count++] = shadow_page_table(s, r);
		}
}

static bool same_page_alive(struct shadow *s, const struct same_page *found, unsigned i)
{
	return shadow_page_owner(s, found->table[i]) == found->record[i];
}

/* Entry `e` of a 32-bit guest table, in the page of one level and quadrant. */
static void zap_narrow(struct shadow *s, uint64_t record, uint64_t key, unsigned e)
{
	unsigned quadrant = key >> 3 & 3;
	if ((key & 7) == 1 && e / 512 == quadrant)
		entry_zap(s, record, e % 512);
	if ((key & 7) == 2 && e / 256 == quadrant) {
		entry_zap(s, record, e % 256 * 2);
		entry_zap(s, record, e % 256 * 2 + 1);
	}
}

void shadow_zap_store(struct shadow *s, uint64_t gpa, unsigned size, bool wide)
{
	struct same_page found;
	unsigned bytes = wide ? 8 : 4, first = (gpa & 0xfff) / bytes, last = ((gpa & 0xfff) + size - 1) / bytes;
	same_page_find(s, gpa, &found);
	for (unsigned i = 0; i < found.count; i++)
		for (unsigned e = first; e <= last && same_page_alive(s, &found, i); e++) {
			if (wide)
				entry_zap(s, found.record[i], e);
			else
				zap_narrow(s, found.record[i], shadow_page_key(s, found.record[i]), e);
		}
}

void shadow_drop_table(struct shadow *s, uint64_t gpa)
{
	struct same_page found;
	same_page_find(s, gpa, &found);
	for (unsigned i = 0; i < found.count; i++)
		if (same_page_alive(s, &found, i))
			page_drop(s, found.record[i]);
}

unsigned shadow_write_protect(struct shadow *s, uint64_t gpa)
{
	struct vmm *v = s->v;
	uint64_t head = s->rmap + (gpa >> 12) * 8, at;
	unsigned count = 0;
	if (gpa >= v->guest_bytes)
		return 0;
	while ((at = rmap_pop(v, &s->nodes, head))) {
		vmm_store(v, at, vmm_load(v, at, 8) & ~(uint64_t)(SH_W | SH_D), 8);
		count++;
	}
	return count;
}
