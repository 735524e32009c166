/*
 * The block dictionary: open addressing over (code, mode); slot 0 means empty, otherwise entry number + 1.
 *
 * Invariant: an entry that anything may still name is never freed. A guest that writes ever new code would fill any memory; so entries that no block and no translation
 * names are given back (a recording is told, and writes down what a number stands for from then on), and the statistics cannot tell: code that comes again after that is new to everybody who keeps numbers.
 */
#include "event.h"
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024, ROOMY = 1 << 16 /* about 8 MiB of entries and code; a whole system has some thousand blocks */ };

bool block_dictionary_create(struct block_dictionary *d)
{
	*d = (struct block_dictionary){ .slots = FIRST_SLOTS, .free = UINT32_MAX, .roomy = ROOMY };
	d->slot = calloc(d->slots, sizeof *d->slot);
	return d->slot != NULL;
}

void block_dictionary_destroy(struct block_dictionary *d)
{
	for (uint32_t i = 0; i < d->count; i++)
		free((void *)d->entry[i].code);
	free(d->entry);
	free(d->slot);
	*d = (struct block_dictionary){ 0 };
}

static uint32_t dictionary_hash(const struct block_static *b)
{
	uint64_t h = 0xcbf29ce484222325ull ^ b->mode;
	for (unsigned i = 0; i < b->bytes; i++)
		h = (h ^ b->code[i]) * 0x100000001b3ull; /* FNV-1a */
	return (uint32_t)(h ^ h >> 32);
}

static bool dictionary_equal(const struct block_static *a, const struct block_static *b)
{
	return a->bytes == b->bytes && a->mode == b->mode && a->insns == b->insns && a->end == b->end && !memcmp(a->code, b->code, a->bytes);
}

/* The empty slot that b's search ends at. */
static uint32_t dictionary_place(const uint32_t *slot, uint32_t slots, const struct block_static *b)
{
	uint32_t at = dictionary_hash(b) & (slots - 1);
	while (slot[at])
		at = (at + 1) & (slots - 1);
	return at;
}

static void dictionary_index(const struct block_dictionary *d, uint32_t *slot, uint32_t slots)
{
	for (uint32_t i = 0; i < d->count; i++)
		if (d->entry[i].code)
			slot[dictionary_place(slot, slots, &d->entry[i])] = i + 1;
}

static bool dictionary_grow_slots(struct block_dictionary *d)
{
	uint32_t slots = d->slots * 2, *slot = calloc(slots, sizeof *slot);
	if (!slot)
		return false;
	dictionary_index(d, slot, slots);
	free(d->slot);
	d->slot = slot;
	d->slots = slots;
	return true;
}

static bool dictionary_grow_entries(struct block_dictionary *d)
{
	uint32_t capacity = d->capacity ? d->capacity * 2 : 256;
	struct block_static *entry = realloc(d->entry, capacity * sizeof *entry);
	if (!entry)
		return false;
	d->entry = entry;
	d->capacity = capacity;
	return true;
}

/* A number for a new entry: one that was freed, or the next. */
static uint32_t dictionary_number(struct block_dictionary *d)
{
	uint32_t id = d->free;
	if (id != UINT32_MAX) {
		d->free = (uint32_t)d->entry[id].sensitive;
		return id;
	}
	if (d->count == UINT32_MAX / 4 || (d->count == d->capacity && !dictionary_grow_entries(d)))
		return UINT32_MAX;
	return d->count++;
}

uint32_t block_dictionary_enter(struct block_dictionary *d, const struct block_static *b)
{
	uint32_t at = dictionary_hash(b) & (d->slots - 1);
	for (; d->slot[at]; at = (at + 1) & (d->slots - 1))
		if (dictionary_equal(&d->entry[d->slot[at] - 1], b))
			return d->slot[at] - 1;
	if (d->live >= d->slots / 2) {
		if (!dictionary_grow_slots(d))
			return UINT32_MAX;
		at = dictionary_place(d->slot, d->slots, b);
	}
	uint8_t *code = malloc(b->bytes ? b->bytes : 1);
	uint32_t id = code ? dictionary_number(d) : UINT32_MAX;
	if (id == UINT32_MAX) {
		free(code);
		return UINT32_MAX;
	}
	memcpy(code, b->code, b->bytes);
	d->entry[id] = *b;
	d->entry[id].code = code;
	d->slot[at] = id + 1;
	d->live++;
	return id;
}

void block_dictionary_trim(struct block_dictionary *d, const uint8_t *kept)
{
	if (d->watcher.freeing)
		d->watcher.freeing(d->watcher.self, kept);
	d->free = UINT32_MAX;
	d->live = 0;
	for (uint32_t i = d->count; i-- > 0;) { /* downwards: low numbers are given again first */
		if (d->entry[i].code && kept[i]) {
			d->live++;
			continue;
		}
		free((void *)d->entry[i].code);
		d->entry[i] = (struct block_static){ .sensitive = d->free };
		d->free = i;
	}
	memset(d->slot, 0, d->slots * sizeof *d->slot);
	dictionary_index(d, d->slot, d->slots);
	d->roomy = d->live < ROOMY / 2 ? ROOMY : 2 * d->live;
}
