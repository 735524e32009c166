/* gups kib=SIZE n=N: n read-modify-writes at random places of a table of SIZE KiB (rounded down to a power of two). */
#include "rs.h"

int main(int argc, char **argv)
{
	long kib = rs_parameter(argc, argv, "kib", 1024), n = rs_parameter(argc, argv, "n", 50000);
	size_t words = 256;
	while (words * 2 * sizeof(uint32_t) <= (size_t)kib * 1024)
		words *= 2;
	uint32_t *table = rs_map(words * sizeof *table), state = 2463534242u, sum = 0;
	if (!table)
		rs_fail("gups", "no memory");
	for (size_t i = 0; i < words; i++)
		table[i] = (uint32_t)i;
	RS_MARK_BEGIN(RS_REGION_GUPS);
	for (long i = 0; i < n; i++) {
		uint32_t random = rs_random(&state);
		table[random & (words - 1)] ^= random;
	}
	RS_MARK_END(RS_REGION_GUPS);
	for (size_t i = 0; i < words; i++)
		sum = rs_mix(sum, table[i]);
	rs_report("gups", sum);
	return 0;
}
