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
	uint64_t row_hit, row_miss, row_conflict; /* accesses by kind */
};

bool dram_create(struct dram *d, const struct dram_geometry *g);
void dram_destroy(struct dram *d);
/* One line is read or written: cycles beyond the last cache level. */
uint32_t dram_access(struct dram *d, uint64_t address);
#endif
