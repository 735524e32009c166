/* ringside bench: guest speed beside Debian's Bochs and QEMU on the same Multiboot images, as ratios in one run, and what limits it. */
#include "bench.h"
#include "options.h"
#include "../analysis/bench_results.h"
#include <gsl/gsl_sort_double.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUNS_MOST 15
#define RUNS_DEFAULT 3
#define EMPTY 0 /* ORDER: `empty` is the first kernel */

static const struct aim { enum bench_contestant contestant; double ratio; } aims[] = { { CONTEST_FUNCTIONAL, 3 }, { CONTEST_FIXED, 1.5 } }; /* times Debian's Bochs */
#define AIMS (sizeof aims / sizeof *aims)

struct bench {
	struct bench_place place;
	unsigned runs;
	bool progress;
	bool chosen[BENCH_KERNELS_MOST];
	double sample[BENCH_KERNELS_MOST][CONTESTANTS][RUNS_MOST]; /* seconds; NAN: not to be had */
	double seconds[BENCH_KERNELS_MOST][CONTESTANTS];           /* medians, start-up subtracted */
	char version[CONTESTANTS][128];
};

/* ---- measuring ---- */

static bool sample_take(struct bench *b, unsigned k, enum bench_contestant c, unsigned run)
{
	enum bench_end end = BENCH_BAD;
	double *seconds = &b->sample[k][c][run];
	*seconds = NAN;
	if (!bench_contestant_present(c))
		return true;
	if (b->progress)
		fprintf(stderr, "\r[run %u of %u]  %s  %s\033[K", run + 1, b->runs, bench_kernels[k].name, bench_contestant_name(c));
	end = bench_contestant_run(c, &b->place, &bench_kernels[k], seconds);
	if (end == BENCH_BAD)
		complain(STATUS_FAILED, "%s did not run %s to its right end: left out", bench_contestant_name(c), bench_kernels[k].file);
	return end != BENCH_INTERRUPTED;
}

/* Everyone on every kernel in turn, so that what else the computer does meets all alike. False: interrupted. */
static bool samples_take(struct bench *b)
{
	bool go = true;
	for (unsigned run = 0; go && run < b->runs; run++)
		for (unsigned k = 0; go && k < bench_kernel_count; k++)
			for (unsigned c = 0; go && b->chosen[k] && c < CONTESTANTS; c++)
				go = sample_take(b, k, c, run);
	if (b->progress)
		fprintf(stderr, "\r\033[K");
	return go;
}

/* Of a copy that may be sorted. A run that failed spoils its row: NAN. */
static double median_of(const double *x, unsigned n)
{
	double sorted[RUNS_MOST];
	for (unsigned i = 0; i < n; i++)
		if (isnan(sorted[i] = x[i]))
			return NAN;
	gsl_sort(sorted, 1, n);
	return gsl_stats_median_from_sorted_data(sorted, 1, n);
}

static void medians_fill(struct bench *b)
{
	for (unsigned c = 0; c < CONTESTANTS; c++) {
		double start = median_of(b->sample[EMPTY][c], b->runs);
		for (unsigned k = 0; k < bench_kernel_count; k++) {
			double s = b->chosen[k] ? median_of(b->sample[k][c], b->runs) - start : NAN;
			b->seconds[k][c] = s < 1e-6 ? 1e-6 : s; /* the clock's grain; a NAN stays one */
		}
		if (c < CONTEST_OURS)
			snprintf(b->version[c], sizeof b->version[c], "ringside %s", results_program_version());
		else
			bench_contestant_version(c, &b->place, b->version[c], sizeof b->version[c]);
	}
}

/* ---- figures ---- */

static bool kernel_counts(const struct bench *b, unsigned k) { return b->chosen[k] && k != EMPTY; }
static double speed_of(const struct bench *b, unsigned k, enum bench_contestant c) { return bench_kernels[k].instructions / b->seconds[k][c] / 1e6; }
static double nanoseconds_of(const struct bench *b, unsigned k, enum bench_contestant c) { return b->seconds[k][c] / bench_kernels[k].instructions * 1e9; }

/* How many times faster than `base`. */
static double ratio_of(const struct bench *b, unsigned k, enum bench_contestant c, enum bench_contestant base) { return b->seconds[k][base] / b->seconds[k][c]; }

static double geometric_mean(const struct bench *b, enum bench_contestant c, enum bench_contestant base)
{
	double sum = 0;
	unsigned n = 0;
	for (unsigned k = 0; k < bench_kernel_count; k++)
		if (kernel_counts(b, k) && isfinite(ratio_of(b, k, c, base))) {
			sum += log(ratio_of(b, k, c, base));
			n++;
		}
	return n ? exp(sum / n) : NAN;
}

/*
 * Where the time of the fixed model goes, by difference: the engine alone; writing events and the modelled TLBs; caches, DRAM and accounts. A part that noise makes negative is 0.
 */
struct limits { double engine, tlb, memory; }; /* nanoseconds an instruction */

static struct limits limits_of(const struct bench *b, unsigned k)
{
	double functional = nanoseconds_of(b, k, CONTEST_FUNCTIONAL), tlb = nanoseconds_of(b, k, CONTEST_TLB), fixed = nanoseconds_of(b, k, CONTEST_FIXED);
	return (struct limits){ functional, fmax(tlb - functional, 0), fmax(fixed - fmax(tlb, functional), 0) };
}

static const char *limit_name(struct limits l)
{
	return isnan(l.engine + l.tlb + l.memory) ? "?" : l.engine >= l.tlb && l.engine >= l.memory ? "the engine" : l.tlb >= l.memory ? "events and TLBs" : "caches and DRAM";
}

/* ---- output ---- */

static void number_print(double v, int width, int digits)
{
	isfinite(v) ? printf(" %*.*f", width, digits, v) : printf(" %*s", width, "-");
}

static void heads_print(const char *title)
{
	printf("%-14s", title);
	for (unsigned c = 0; c < CONTESTANTS; c++)
		printf(" %10s", bench_contestant_name(c));
	printf("\n");
}

/* Times as fast as `base`, kernel by kernel, and their geometric mean. */
static void ratios_print(const struct bench *b, enum bench_contestant base)
{
	printf("times as fast as %s\n", bench_contestant_what(base));
	heads_print("kernel");
	for (unsigned k = 0; k < bench_kernel_count; k++) {
		if (!kernel_counts(b, k))
			continue;
		printf("%-14s", bench_kernels[k].name);
		for (unsigned c = 0; c < CONTESTANTS; c++)
			number_print(ratio_of(b, k, c, base), 10, 2);
		printf("\n");
	}
	printf("%-14s", "geometric mean");
	for (unsigned c = 0; c < CONTESTANTS; c++)
		number_print(geometric_mean(b, c, base), 10, 2);
	printf("\n\n");
}

static void speeds_print(const struct bench *b)
{
	printf("guest speed, million instructions a second of user CPU time (median of %u, start-up subtracted)\n", b->runs);
	heads_print("kernel");
	for (unsigned k = 0; k < bench_kernel_count; k++) {
		if (!kernel_counts(b, k))
			continue;
		printf("%-14s", bench_kernels[k].name);
		for (unsigned c = 0; c < CONTESTANTS; c++)
			number_print(speed_of(b, k, c), 10, 1);
		printf("\n");
	}
	printf("\n");
	ratios_print(b, CONTEST_BOCHS);
	ratios_print(b, CONTEST_QEMU);
}

static void limits_print(const struct bench *b)
{
	printf("what limits the fixed model, nanoseconds an instruction\n\n%-10s %10s %16s %16s   %s\n", "kernel", "engine", "+ events, TLBs", "+ caches, DRAM", "most time");
	for (unsigned k = 0; k < bench_kernel_count; k++) {
		if (!kernel_counts(b, k))
			continue;
		struct limits l = limits_of(b, k);
		printf("%-10s", bench_kernels[k].name);
		number_print(l.engine, 10, 2);
		number_print(l.tlb, 16, 2);
		number_print(l.memory, 16, 2);
		printf("   %s\n", limit_name(l));
	}
	printf("\n");
}

static void legend_print(const struct bench *b)
{
	for (unsigned c = 0; c < CONTESTANTS; c++)
		printf("%-10s %s%s%s\n", bench_contestant_name(c), bench_contestant_what(c), *b->version[c] ? ": " : " (not there)", b->version[c]);
	printf("\n");
	for (unsigned i = 0; i < AIMS; i++) {
		double value = geometric_mean(b, aims[i].contestant, CONTEST_BOCHS);
		printf("aim: %s %.1f times Debian's Bochs: ", bench_contestant_name(aims[i].contestant), aims[i].ratio);
		isnan(value) ? printf("not measured\n") : printf("%.2f, %s\n", value, value >= aims[i].ratio ? "met" : "not met");
	}
}

static void json_number(const char *key, double v, const char *end)
{
	isfinite(v) ? printf("\"%s\": %.6g%s", key, v, end) : printf("\"%s\": null%s", key, end);
}

static void json_kernel(const struct bench *b, unsigned k)
{
	struct limits l = limits_of(b, k);
	printf("    {\"name\": \"%s\", \"what\": \"%s\", \"instructions\": %.0f, \"contestants\": {", bench_kernels[k].name, bench_kernels[k].what, bench_kernels[k].instructions);
	for (unsigned c = 0; c < CONTESTANTS; c++) {
		printf("%s\"%s\": {", c ? ", " : "", bench_contestant_name(c));
		json_number("seconds", b->seconds[k][c], ", ");
		json_number("million_per_second", speed_of(b, k, c), ", ");
		json_number("ratio_to_bochs", ratio_of(b, k, c, CONTEST_BOCHS), ", ");
		json_number("ratio_to_qemu", ratio_of(b, k, c, CONTEST_QEMU), "}");
	}
	printf("}, \"limits\": {");
	json_number("engine_ns", l.engine, ", ");
	json_number("events_tlbs_ns", l.tlb, ", ");
	json_number("caches_dram_ns", l.memory, ", ");
	printf("\"most\": \"%s\"}}", limit_name(l));
}

static void json_print(const struct bench *b)
{
	printf("{\n  \"runs\": %u,\n  \"versions\": {", b->runs);
	for (unsigned c = 0; c < CONTESTANTS; c++)
		printf("%s\"%s\": \"%s\"", c ? ", " : "", bench_contestant_name(c), b->version[c]);
	printf("},\n  \"kernels\": [");
	const char *comma = "";
	for (unsigned k = 0; k < bench_kernel_count; k++)
		if (kernel_counts(b, k)) {
			printf("%s\n", comma);
			json_kernel(b, k);
			comma = ",";
		}
	printf("\n  ],\n  \"geometric_means\": {");
	for (unsigned c = 0; c < CONTESTANTS; c++) {
		printf("%s\"%s\": {", c ? ", " : "", bench_contestant_name(c));
		json_number("ratio_to_bochs", geometric_mean(b, c, CONTEST_BOCHS), ", ");
		json_number("ratio_to_qemu", geometric_mean(b, c, CONTEST_QEMU), "}");
	}
	printf("},\n  \"aims\": [");
	for (unsigned i = 0; i < AIMS; i++) {
		double value = geometric_mean(b, aims[i].contestant, CONTEST_BOCHS);
		printf("%s\n    {\"name\": \"%s against bochs\", \"aim\": %g, ", i ? "," : "", bench_contestant_name(aims[i].contestant), aims[i].ratio);
		json_number("value", value, ", ");
		printf("\"met\": %s}", isnan(value) ? "null" : value >= aims[i].ratio ? "true" : "false");
	}
	printf("\n  ]\n}\n");
}

/* ---- the command ---- */

static bool bench_store(const struct bench *b, const char *path)
{
	struct bench_row rows[BENCH_KERNELS_MOST * CONTESTANTS];
	char error[640];
	unsigned n = 0;
	for (unsigned k = 0; k < bench_kernel_count; k++)
		for (unsigned c = 0; kernel_counts(b, k) && c < CONTESTANTS; c++)
			rows[n++] = (struct bench_row){ bench_kernels[k].name, bench_contestant_name(c), b->version[c], bench_kernels[k].instructions, b->runs, b->seconds[k][c],
				ratio_of(b, k, c, CONTEST_BOCHS), ratio_of(b, k, c, CONTEST_QEMU) };
	struct results_db *db = results_open(path, error, sizeof error);
	bool ok = db && bench_results_write(db, rows, n, error, sizeof error);
	if (!ok)
		complain(STATUS_FAILED, "%s", error);
	results_close(db);
	return ok;
}

static const char *kernel_choice(unsigned i) { return i < bench_kernel_count ? bench_kernels[i].name : NULL; }

/* "A,B,..." or NULL for all. */
static int kernels_choose(struct bench *b, const char *list)
{
	for (unsigned k = 0; k < bench_kernel_count; k++)
		b->chosen[k] = !list || k == EMPTY;
	for (const char *at = list; at && *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
		char word[32];
		unsigned k = 0;
		snprintf(word, sizeof word, "%.*s", (int)strcspn(at, ","), at);
		while (k < bench_kernel_count && strcmp(bench_kernels[k].name, word))
			k++;
		if (k == bench_kernel_count) {
			const char *near = nearest_word(word, kernel_choice);
			return complain(STATUS_USAGE, "--kernels: there is no \"%s\"%s%s; ringside list bench shows all", word, near ? ", the nearest is " : "", near ? near : "");
		}
		b->chosen[k] = true;
	}
	return -1;
}

static bool ringside_ran(const struct bench *b)
{
	for (unsigned k = 0; k < bench_kernel_count; k++)
		for (unsigned c = 0; b->chosen[k] && c < CONTEST_OURS; c++)
			if (isnan(b->sample[k][c][0]))
				return false;
	return true;
}

static int bench_run(struct bench *b, const struct options *o)
{
	char error[640];
	if (!bench_place_create(&b->place, error, sizeof error))
		return complain(STATUS_FAILED, "%s", error);
	bool whole = samples_take(b);
	if (whole)
		medians_fill(b);
	bench_place_destroy(&b->place);
	if (!whole)
		return complain(STATUS_FAILED, "interrupted");
	if (o->json) {
		json_print(b);
	} else {
		speeds_print(b);
		limits_print(b);
		legend_print(b);
	}
	if (o->db && !bench_store(b, o->db))
		return STATUS_FAILED;
	return ringside_ran(b) ? STATUS_GOOD : STATUS_FAILED;
}

int cmd_bench(int argc, char **argv)
{
	struct bench *b = calloc(1, sizeof *b);
	struct options o;
	int status = options_parse(&o, BENCHES, 0, argc, argv);
	if (!b)
		status = complain(STATUS_FAILED, "out of memory");
	if (status < 0)
		status = kernels_choose(b, o.kernels);
	if (status < 0) {
		b->runs = o.runs ? o.runs : RUNS_DEFAULT;
		b->progress = o.progress || isatty(STDERR_FILENO);
		status = bench_run(b, &o);
	}
	options_destroy(&o);
	free(b);
	return status;
}
