/* The block dictionary: open addressing over (code, mode); slot 0 means empty, otherwise entry number + 1. */
#include "event.h"
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024 };

bool block_dictionary_create(struct block_dictionary *d)
{
	*d = (struct block_dictionary){ .slots = FIRST_SLOTS };
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

static bool dictionary_grow_slots(struct block_dictionary *d)
{
	uint32_t slots = d->slots * 2, *slot = calloc(slots, sizeof *slot);
	if (!slot)
		return false;
	for (uint32_t i = 0; i < d->count; i++) {
		uint32_t at = dictionary_hash(&d->entry[i]) & (slots - 1);
		while (slot[at])
			at = (at + 1) & (slots - 1);
		slot[at] = i + 1;
	}
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

uint32_t block_dictionary_enter(struct block_dictionary *d, const struct block_static *b)
{
	uint32_t at = dictionary_hash(b) & (d->slots - 1);
	for (; d->slot[at]; at = (at + 1) & (d->slots - 1))
		if (dictionary_equal(&d->entry[d->slot[at] - 1], b))
			return d->slot[at] - 1;
	if (d->count == UINT32_MAX / 4 || (d->count == d->capacity && !dictionary_grow_entries(d)))
		return UINT32_MAX;
	if (d->count >= d->slots / 2) {
		if (!dictionary_grow_slots(d))
			return UINT32_MAX;
		at = dictionary_hash(b) & (d->slots - 1);
		while (d->slot[at])
			at = (at + 1) & (d->slots - 1);
	}
	uint8_t *code = malloc(b->bytes ? b->bytes : 1);
	if (!code)
		return UINT32_MAX;
	memcpy(code, b->code, b->bytes);
	d->entry[d->count] = *b;
	d->entry[d->count].code = code;
	d->slot[at] = d->count + 1;
	return d->count++;
}
