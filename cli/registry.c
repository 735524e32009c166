/* Registries by name: what may stand in a configuration, and what `ringside list` shows. */
#include "config.h"
#include <stdlib.h>
#include <string.h>

static const struct workload_row workload_rows[] = {
#define WORKLOAD(name, cmdline, memory_mib, what, depends_on_time) { #name, cmdline, memory_mib, what, depends_on_time },
#include "../workloads/workloads.def"
#undef WORKLOAD
};
#define WORKLOADS (sizeof workload_rows / sizeof *workload_rows)

const struct workload_row *workload_at(unsigned i)
{
	return i < WORKLOADS ? &workload_rows[i] : NULL;
}

const struct workload_row *workload_find(const char *name)
{
	for (unsigned i = 0; i < WORKLOADS; i++)
		if (!strcmp(workload_rows[i].name, name))
			return &workload_rows[i];
	return NULL;
}

const char *choice_workload(unsigned i) { return i < WORKLOADS ? workload_rows[i].name : NULL; }
const char *choice_technique(unsigned i) { return i < TECHNIQUES ? techniques[i].name : NULL; }
const char *choice_preset(unsigned i) { return preset_at(i) ? preset_at(i)->name : NULL; }

const char *choice_engine(unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (!engines[k].name)
			return NULL;
	return engines[i].name;
}

const char *choice_core(unsigned i)
{
	if (i == 0)
		return "functional";
	for (unsigned k = 0; k + 1 < i; k++)
		if (!core_models[k].name)
			return NULL;
	return core_models[i - 1].name;
}

const char *choice_consume(unsigned i) { return consume_name(i); }
const char *choice_organisation(unsigned i) { return i ? tlb_organisation_name(i - 1) : ""; }
const char *choice_replacement(unsigned i) { return i ? tlb_replacement_name(i - 1) : ""; }
const char *choice_walk_cache(unsigned i) { return i ? walk_cache_name(i - 1) : ""; }

#define EDIT_LIMIT 95 /* longest key */

/* Levenshtein's distance, one row at a time. */
unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[EDIT_LIMIT + 1], n = (unsigned)strlen(b);
	if (n > EDIT_LIMIT)
		n = EDIT_LIMIT;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= n; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]), drop = row[j] + 1, add = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = change < drop ? change : drop;
			if (add < row[j])
				row[j] = add;
		}
	}
	return row[n];
}

const char *nearest_word(const char *word, choice_fn *choices)
{
	const char *best = NULL, *candidate;
	unsigned least = (unsigned)strlen(word) / 2 + 2; /* farther than that is another word */
	for (unsigned i = 0; (candidate = choices(i)); i++) {
		unsigned d = edit_distance(word, candidate);
		if (d < least) {
			least = d;
			best = candidate;
		}
	}
	return best;
}
