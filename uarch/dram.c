#include "dram.h"
#include <stdlib.h>

bool dram_create(struct dram *d, const struct dram_geometry *g)
{
	*d = (struct dram){ .geometry = *g };
	if (!g->banks || g->banks > 65536 || !g->row_bytes)
		return false;
	d->power = !(g->banks & (g->banks - 1)) && !(g->row_bytes & (g->row_bytes - 1));
	d->row_shift = (uint32_t)__builtin_ctz(g->row_bytes);
	d->open = calloc(g->banks, sizeof *d->open);
	return d->open != NULL;
}

void dram_destroy(struct dram *d)
{
	free(d->open);
	d->open = NULL;
}
