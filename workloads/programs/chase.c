/* chase kib=SIZE n=N: n steps along one random cycle through cells of 64 bytes in SIZE KiB; each load waits for the one before. */
#include "rs.h"

struct cell {
	struct cell *next;
	uint32_t number;
} __attribute__((aligned(64)));

int main(int argc, char **argv)
{
	long kib = rs_parameter(argc, argv, "kib", 512), n = rs_parameter(argc, argv, "n", 50000);
	uint32_t count = (uint32_t)(kib * 1024 / (long)sizeof(struct cell)), state = 88172645u, sum = 0;
	if (count < 2)
		rs_fail("chase", "kib=SIZE is too small");
	struct cell *cells = rs_map(count * sizeof *cells);
	if (!cells)
		rs_fail("chase", "no memory");
	for (uint32_t i = 0; i < count; i++)
		cells[i].number = i;
	for (uint32_t i = count - 1; i > 0; i--) { /* Sattolo's shuffle: one cycle through all */
		uint32_t j = rs_random(&state) % i, t = cells[i].number;
		cells[i].number = cells[j].number;
		cells[j].number = t;
	}
	for (uint32_t i = 0; i < count; i++)
		cells[i].next = &cells[cells[i].number];
	struct cell *at = cells;
	RS_MARK_BEGIN(RS_REGION_CHASE);
	for (long i = 0; i < n; i++)
		at = at->next;
	RS_MARK_END(RS_REGION_CHASE);
	for (uint32_t i = 0; i < 64; i++, at = at->next)
		sum = rs_mix(sum, at->number);
	rs_report("chase", sum);
	return 0;
}
