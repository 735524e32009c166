#include "dram.h"
#include <stdlib.h>

bool dram_create(struct dram *d, const struct dram_geometry *g)
{
	*d = (struct dram){ .geometry = *g };
	if (!g->banks || g->banks > 65536 || !g->row_bytes)
		return false;
	d->open = calloc(g->banks, sizeof *d->open);
	return d->open != NULL;
}

void dram_destroy(struct dram *d)
{
	free(d->open);
	d->open = NULL;
}

uint32_t dram_access(struct dram *d, uint64_t address)
{
	uint64_t row = address / d->geometry.row_bytes;
	uint64_t *open = &d->open[row % d->geometry.banks];
	uint64_t was = *open;
	*open = row + 1;
	if (was == row + 1)
		return d->row_hit++, d->geometry.row_hit;
	if (!was)
		return d->row_miss++, d->geometry.row_miss;
	return d->row_conflict++, d->geometry.row_conflict;
}
