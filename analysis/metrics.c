/* What tables and JSON ask of a result. */
#include "results.h"
#include <string.h>

uint64_t result_stat(const struct run_result *r, const char *name)
{
	size_t n = strlen(name);
	for (unsigned i = 0; i < r->stats; i++) {
		const char *have = r->stat[i].name;
		size_t m = strlen(have);
		if (m >= n && !strcmp(have + m - n, name) && (m == n || (m - n == 4 && !strncmp(have, "tlb.", 4))))
			return r->stat[i].value;
	}
	return 0;
}

uint64_t result_exits_total(const struct run_result *r)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < r->exits; i++)
		total += r->exit[i].count;
	return total;
}

double result_references_per_walk(const struct run_result *r)
{
	uint64_t walks = result_stat(r, "walk.count");
	return walks ? (double)result_stat(r, "walk.refs") / (double)walks : 0;
}
