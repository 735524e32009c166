/* What several runs of a technique say together: means over seeds, and what a reference of a page walk costs. */
#include "results.h"
#include <stdlib.h>
#include <string.h>

static bool run_counts(const struct run_result *r, const char *technique)
{
	return r->mode == RUN_EXECUTION && !strcmp(r->technique, technique);
}

static void interval_print(FILE *out, const struct run_result *runs, unsigned n, const char *technique)
{
	double *x = calloc(n, sizeof *x);
	unsigned k = 0;
	for (unsigned i = 0; x && i < n; i++)
		if (run_counts(&runs[i], technique))
			x[k++] = (double)runs[i].cycles;
	if (k) {
		struct interval v = statistics_interval(x, k, 0.95);
		fprintf(out, "  %-14s %18.0f +- %.0f\n", technique, v.mean, v.half_width);
	}
	free(x);
}

void compare_print_seeds(FILE *out, const struct run_result *runs, unsigned n)
{
	unsigned seeds = 1;
	for (unsigned i = 1; i < n; i++)
		seeds += run_counts(&runs[i], runs[0].technique) && runs[i].seed != runs[0].seed;
	if (seeds < 2)
		return;
	fprintf(out, "\nmean cycles over %u seeds, with 95 %% confidence\n", seeds);
	for (unsigned t = 0; t < TECHNIQUES; t++)
		interval_print(out, runs, n, techniques[t].name);
}

unsigned compare_fit(const struct run_result *runs, unsigned n, const char *technique, struct fit *f, bool *fits)
{
	double *y = calloc(n + 1, sizeof *y), *x = calloc(n + 1, sizeof *x);
	unsigned k = 0;
	for (unsigned i = 0; x && y && i < n; i++)
		if (run_counts(&runs[i], technique)) {
			y[k] = (double)runs[i].cycles;
			x[k++] = (double)result_stat(&runs[i], "walk.refs");
		}
	*fits = k && statistics_fit(y, x, k, 1, f);
	free(x);
	free(y);
	return k;
}

static void fit_print(FILE *out, const struct run_result *runs, unsigned n, const char *technique)
{
	struct fit f;
	bool fits;
	unsigned k = compare_fit(runs, n, technique, &f, &fits);
	if (fits)
		fprintf(out, "  %-14s %18.0f %10.2f +- %-8.2f %.4f\n", technique, f.c[0], f.c[1], f.se[1], f.r2);
	else if (k)
		fprintf(out, "  %-14s no fit: its walk references do not depend on the size\n", technique);
}

void compare_print_fit(FILE *out, const struct run_result *runs, unsigned n)
{
	fprintf(out, "\nlinear fit of cycles on walk references, over sizes of the second-level TLB\n  %-14s %18s %22s %6s\n", "", "cycles without walks", "cycles a reference", "R2");
	for (unsigned t = 0; t < TECHNIQUES; t++)
		fit_print(out, runs, n, techniques[t].name);
}
