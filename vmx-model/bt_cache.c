/* The translation cache. */
#include "bt_cache.h"
#include <stdlib.h>

enum { LARGEST_FRAGMENT = 4096, SMALLEST_CACHE = 64 << 10 };

static uint32_t index_of(uint64_t pc)
{
	return (pc ^ pc >> 12) & 4095;
}

/* With the number: code that writes itself has many fragments at one pc. */
static uint32_t bucket_of(uint64_t pc, uint32_t id)
{
	return (uint32_t)((pc ^ (uint64_t)id << 32) * 0x9e3779b97f4a7c15ull >> 52);
}

uint64_t bt_cache_slot(const struct bt_cache *c, uint64_t pc)
{
	return c->hash + (pc * 0x9e3779b97f4a7c15ull >> 52) * 16;
}

static void index_clear(struct bt_cache *c)
{
	c->count = 0;
	c->code_used = 0;
	memset(c->bucket, 0xff, sizeof c->bucket);
	memset(c->recent, 0xff, sizeof c->recent);
}

bool bt_cache_create(struct bt_cache *c, struct vmm *v)
{
	uint64_t bytes = v->config.bt_cache_bytes < SMALLEST_CACHE ? SMALLEST_CACHE : v->config.bt_cache_bytes;
	*c = (struct bt_cache){ .v = v, .code_bytes = bytes & ~4095ull };
	index_clear(c);
	c->code = vmm_region_alloc(v, c->code_bytes);
	c->hash = vmm_region_alloc(v, BT_HASH_SLOTS * 16);
	v->stats.tc_bytes = 0;
	return c->code && c->hash;
}

void bt_cache_destroy(struct bt_cache *c)
{
	free(c->fragment);
}

uint32_t bt_cache_find(struct bt_cache *c, uint64_t pc, uint32_t id)
{
	uint32_t i = index_of(pc), f = c->recent[i];
	if (f != BT_NONE && c->fragment[f].pc == pc && c->fragment[f].id == id)
		return f;
	for (f = c->bucket[bucket_of(pc, id)]; f != BT_NONE; f = c->fragment[f].next)
		if (c->fragment[f].pc == pc && c->fragment[f].id == id)
			return c->recent[i] = f;
	return BT_NONE;
}

/* Adams and Agesen flush the whole cache when it is full; so do we. */
static void cache_flush(struct bt_cache *c)
{
	for (unsigned i = 0; i < BT_HASH_SLOTS; i++)
		vmm_store_data(c->v, c->hash + 16ull * i, 0, 8);
	index_clear(c);
	c->flushes++;
}

static bool index_grow(struct bt_cache *c)
{
	if (c->count < c->capacity)
		return true;
	uint32_t capacity = c->capacity ? c->capacity * 2 : 1024;
	struct bt_fragment *more = realloc(c->fragment, capacity * sizeof *more);
	if (!more)
		return false;
	c->fragment = more;
	c->capacity = capacity;
	return true;
}

static uint64_t code_take(struct bt_cache *c, uint32_t bytes)
{
	uint64_t at = c->code + c->code_used;
	c->code_used += (bytes + 15) & ~15u;
	if (c->code_used > c->v->stats.tc_bytes)
		c->v->stats.tc_bytes = c->code_used;
	return at;
}

/* Most of a fragment is the guest's own instructions; expansions are filled with the emitter's padding byte. */
static void fragment_write(struct bt_cache *c, uint64_t hpa, uint32_t bytes, const uint8_t *code, unsigned code_bytes)
{
	for (uint32_t at = 0; at < bytes; at += 8) {
		uint64_t word = 0xccccccccccccccccull;
		if (code && at < code_bytes)
			memcpy(&word, code + at, code_bytes - at < 8 ? code_bytes - at : 8);
		vmm_store_data(c->v, hpa + at, word, 8);
	}
}

static void slot_write(struct bt_cache *c, uint64_t pc, uint64_t hpa)
{
	vmm_store_data(c->v, bt_cache_slot(c, pc), pc, 8);
	vmm_store_data(c->v, bt_cache_slot(c, pc) + 8, hpa, 8);
}

uint32_t bt_cache_enter(struct bt_cache *c, uint64_t pc, uint32_t id, uint32_t bytes, uint16_t extra, const uint8_t *code, unsigned code_bytes)
{
	if (bytes > LARGEST_FRAGMENT)
		bytes = LARGEST_FRAGMENT;
	if (c->code_used + bytes + 16 > c->code_bytes)
		cache_flush(c);
	if (!index_grow(c))
		return BT_NONE;
	uint32_t f = c->count++, *bucket = &c->bucket[bucket_of(pc, id)];
	c->fragment[f] = (struct bt_fragment){ .pc = pc, .hpa = code_take(c, bytes), .id = id, .bytes = bytes, .next = *bucket, .successor = { BT_NONE, BT_NONE }, .extra = extra };
	*bucket = c->recent[index_of(pc)] = f;
	fragment_write(c, c->fragment[f].hpa, bytes, code, code_bytes);
	slot_write(c, pc, c->fragment[f].hpa);
	return f;
}

void bt_cache_keep(const struct bt_cache *c, uint8_t *kept)
{
	for (uint32_t f = 0; f < c->count; f++)
		kept[c->fragment[f].id] = 1;
}

void bt_cache_move(struct bt_cache *c, uint32_t f, uint32_t bytes)
{
	struct bt_fragment *g = &c->fragment[f];
	if (bytes > LARGEST_FRAGMENT || c->code_used + bytes + 16 > c->code_bytes)
		return; /* no room: it stays where it is, patched in place */
	vmm_store_data(c->v, g->hpa, 0xe9, 8);
	g->hpa = code_take(c, bytes);
	g->bytes = bytes;
	fragment_write(c, g->hpa, bytes, NULL, 0);
	slot_write(c, g->pc, g->hpa);
}
