/*
 * Main memory: banks with one open row each.
 *
 * Invariant: a row stays open until an access to another row of its bank (open-page policy); consecutive rows lie in consecutive banks.
 */
#ifndef UARCH_DRAM_H
#define UARCH_DRAM_H
#include "timing.h"

struct dram {
	struct dram_geometry geometry;
	uint64_t *open;       /* row number + 1 by bank; 0: none yet */
	bool power;           /* row_bytes and banks are powers of two: no division finds them */
	uint32_t row_shift;   /* of row_bytes, then */
	uint64_t row_hit, row_miss, row_conflict; /* accesses by kind */
};

bool dram_create(struct dram *d, const struct dram_geometry *g);
void dram_destroy(struct dram *d);

static inline uint64_t dram_row(const struct dram *d, uint64_t address) { return d->power ? address >> d->row_shift : address / d->geometry.row_bytes; }
static inline uint64_t dram_bank(const struct dram *d, uint64_t row) { return d->power ? row & (d->geometry.banks - 1) : row % d->geometry.banks; }

/* One line is read or written: cycles beyond the last cache level. */
static inline uint32_t dram_access(struct dram *d, uint64_t address)
{
	uint64_t row = dram_row(d, address), *open = &d->open[dram_bank(d, row)], was = *open;
	*open = row + 1;
	if (was == row + 1)
		return d->row_hit++, d->geometry.row_hit;
	if (!was)
		return d->row_miss++, d->geometry.row_miss;
	return d->row_conflict++, d->geometry.row_conflict;
}
#endif
