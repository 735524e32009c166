/*
 * ptstorm n=N pages=P: a page-table storm. Each round maps P pages, touches them, write-protects every other page, forks a child that
 * writes to the rest (copy on write), makes all writable again, unmaps the middle and then everything.
 */
#include "rs.h"

#define PAGE 4096

static uint32_t child_sum(volatile uint32_t *words, long pages)
{
	uint32_t sum = 0;
	for (long p = 1; p < pages; p += 2) {
		words[p * (PAGE / 4)] += 5;
		sum = rs_mix(sum, words[p * (PAGE / 4)]);
	}
	return sum;
}

static uint32_t storm_round(uint32_t round, long pages)
{
	char *at = rs_map((size_t)pages * PAGE);
	volatile uint32_t *words = (volatile uint32_t *)at;
	uint32_t sum = 0;
	int status;
	if (!at)
		rs_fail("ptstorm", "no memory");
	for (long p = 0; p < pages; p++)
		words[p * (PAGE / 4)] = rs_mix(round, (uint32_t)p);
	for (long p = 0; p + 1 < pages; p += 16)
		rs_protect(at + p * PAGE, PAGE, false);
	int child = rs_fork();
	if (child == 0)
		rs_exit((int)(child_sum(words, pages) & 0x7f));
	if (child < 0 || rs_wait(&status) != child)
		rs_fail("ptstorm", "no child");
	rs_protect(at, (size_t)pages * PAGE, true);
	for (long p = 0; p < pages; p++) {
		words[p * (PAGE / 4)]++;
		sum = rs_mix(sum, words[p * (PAGE / 4)]);
	}
	rs_unmap(at + pages / 4 * PAGE, (size_t)(pages / 2) * PAGE);
	sum = rs_mix(sum, words[0]);
	rs_unmap(at, (size_t)pages * PAGE);
	return rs_mix(sum, (uint32_t)status);
}

int main(int argc, char **argv)
{
	long n = rs_parameter(argc, argv, "n", 10), pages = rs_parameter(argc, argv, "pages", 64);
	uint32_t sum = 0;
	RS_MARK_BEGIN(RS_REGION_PTSTORM);
	for (long i = 0; i < n; i++)
		sum = rs_mix(sum, storm_round((uint32_t)i, pages));
	RS_MARK_END(RS_REGION_PTSTORM);
	rs_report("ptstorm", sum);
	return 0;
}
