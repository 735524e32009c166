/* Figures of a bench: medians, ratios, and the aims they are held to. */
#include "bench.h"
#include <gsl/gsl_sort_double.h>
#include <gsl/gsl_statistics_double.h>

#define MIB 1048576.0

/* Of a copy that may be sorted. A run that failed spoils its row: NAN. */
static double median_of(const double *x, unsigned n)
{
	double sorted[BENCH_RUNS_MOST];
	for (unsigned i = 0; i < n; i++)
		if (isnan(sorted[i] = x[i]))
			return NAN;
	gsl_sort(sorted, 1, n);
	return gsl_stats_median_from_sorted_data(sorted, 1, n);
}

static double seconds_median(const struct bench *b, unsigned k, enum bench_contestant c)
{
	double x[BENCH_RUNS_MOST];
	for (unsigned run = 0; run < b->runs; run++)
		x[run] = b->sample[k][c][run].seconds;
	return median_of(x, b->runs);
}

void bench_medians_fill(struct bench *b)
{
	for (unsigned c = 0; c < CONTESTANTS; c++) {
		double start = bench_takes_part(b, c) ? seconds_median(b, BENCH_EMPTY, c) : NAN;
		for (unsigned k = 0; k < bench_kernel_count; k++) {
			double s = b->chosen[k] && !isnan(start) ? seconds_median(b, k, c) - start : NAN;
			b->seconds[k][c] = s < 1e-6 ? 1e-6 : s; /* the clock's grain; a NAN stays one */
		}
	}
}

double bench_speed_of(const struct bench *b, unsigned k, enum bench_contestant c) { return bench_kernels[k].instructions / b->seconds[k][c] / 1e6; }

double bench_ratio(const struct bench *b, unsigned k, enum bench_contestant c, enum bench_contestant base) { return b->seconds[k][base] / b->seconds[k][c]; }

double bench_geometric_mean(const struct bench *b, enum bench_contestant c, enum bench_contestant base)
{
	double sum = 0;
	unsigned n = 0;
	for (unsigned k = 0; k < bench_kernel_count; k++)
		if (bench_counts(b, k) && isfinite(bench_ratio(b, k, c, base))) {
			sum += log(bench_ratio(b, k, c, base));
			n++;
		}
	return n ? exp(sum / n) : NAN;
}

struct bench_limits bench_limits_of(const struct bench *b, unsigned k)
{
	double scale = 1e9 / bench_kernels[k].instructions;
	double functional = b->seconds[k][CONTEST_FUNCTIONAL] * scale, tlb = b->seconds[k][CONTEST_TLB] * scale, fixed = b->seconds[k][CONTEST_FIXED] * scale;
	return (struct bench_limits){ functional, fmax(tlb - functional, 0), fmax(fixed - fmax(tlb, functional), 0) };
}

const char *bench_limit_name(struct bench_limits l)
{
	return isnan(l.engine + l.tlb + l.memory) ? "?" : l.engine >= l.tlb && l.engine >= l.memory ? "the engine" : l.tlb >= l.memory ? "events and TLBs" : "caches and DRAM";
}

/* ---- aims ---- */

struct aim_row;
typedef void aim_measure(const struct bench *b, const struct aim_row *row, struct bench_aim *a);
static aim_measure measure_mean, measure_least, measure_kernel, measure_replay, measure_memory, measure_scaling;

#define RATIO(who, against) .unit = "times", .contestant = CONTEST_##who, .base = CONTEST_##against

static const struct aim_row {
	const char *name;
	double aim;
	aim_measure *measure;
	const char *unit;
	enum bench_contestant contestant, base; /* of ratios */
	const char *kernel;                     /* measure_kernel */
	enum bench_replay replay;               /* measure_replay */
} aim_rows[] = {
	{ "interpreter against Bochs, geometric mean", 4, measure_mean, RATIO(FUNCTIONAL, BOCHS) },
	{ "interpreter against Bochs, slowest kernel", 1.5, measure_least, RATIO(FUNCTIONAL, BOCHS) },
	{ "translator against QEMU, integer", 1, measure_kernel, RATIO(DBT, QEMU), .kernel = "integer" },
	{ "translator against QEMU, sort", 1, measure_kernel, RATIO(DBT, QEMU), .kernel = "sort" },
	{ "translator against QEMU, copy", 1, measure_kernel, RATIO(DBT, QEMU), .kernel = "copy" },
	{ "translator against QEMU, GUPS", 3, measure_kernel, RATIO(DBT, QEMU), .kernel = "gups256" },
	{ "translator against QEMU, INVLPG", 3, measure_kernel, RATIO(DBT, QEMU), .kernel = "invlpg" },
	{ "translator against QEMU, CR3", 3, measure_kernel, RATIO(DBT, QEMU), .kernel = "cr3" },
	{ "translator against QEMU, system call", 3, measure_kernel, RATIO(DBT, QEMU), .kernel = "syscall" },
	{ "translator against QEMU, INT 0x80", 3, measure_kernel, RATIO(DBT, QEMU), .kernel = "int80" },
	{ "translator against QEMU, self-modifying code", 3, measure_kernel, RATIO(DBT, QEMU), .kernel = "smc" },
	{ "translator with TLBs and walks against QEMU, geometric mean", 0.8, measure_mean, RATIO(DBT_TLB, QEMU) },
	{ "translator with fixed core against QEMU -icount, geometric mean", 0.5, measure_mean, RATIO(DBT_FIXED, QEMU_ICOUNT) },
	{ "nested-ept against native, geometric mean", 0.8, measure_mean, RATIO(DBT_NESTED, DBT_FIXED) },
	{ "shadow against native, geometric mean", 0.8, measure_mean, RATIO(DBT_SHADOW, DBT_FIXED) },
	{ "replay of a program, TLBs and walks", 100, measure_replay, .unit = "M references/s", .replay = REPLAY_PROGRAM },
	{ "replay of GUPS under nested-ept, TLBs and walks", 30, measure_replay, .unit = "M references/s", .replay = REPLAY_GUPS },
	{ "memory beyond guest RAM touched", 256, measure_memory, .unit = "MiB" },
	{ "two machines on two processors", 1.9, measure_scaling, .unit = "times" },
};

/* The kernel with the least ratio. */
static void worst_find(const struct bench *b, const struct aim_row *row, struct bench_aim *a)
{
	for (unsigned k = 0; k < bench_kernel_count; k++) {
		double r = bench_counts(b, k) ? bench_ratio(b, k, row->contestant, row->base) : NAN;
		a->missing += bench_counts(b, k) && !isfinite(r);
		if (isfinite(r) && !(r >= a->worst)) {
			a->worst = r;
			a->kernel = bench_kernels[k].name;
		}
	}
}

static void measure_mean(const struct bench *b, const struct aim_row *row, struct bench_aim *a)
{
	worst_find(b, row, a);
	a->value = bench_geometric_mean(b, row->contestant, row->base);
}

static void measure_least(const struct bench *b, const struct aim_row *row, struct bench_aim *a)
{
	worst_find(b, row, a);
	a->value = a->worst;
}

static void measure_kernel(const struct bench *b, const struct aim_row *row, struct bench_aim *a)
{
	unsigned k = bench_kernel_find(row->kernel);
	a->kernel = row->kernel;
	if (k < bench_kernel_count && bench_counts(b, k))
		a->value = a->worst = bench_ratio(b, k, row->contestant, row->base);
}

static void measure_replay(const struct bench *b, const struct aim_row *row, struct bench_aim *a)
{
	double x[BENCH_RUNS_MOST];
	for (unsigned run = 0; run < b->runs; run++)
		x[run] = b->replay[row->replay][run].references / fmax(b->replay[row->replay][run].seconds, 1e-6) / 1e6;
	a->kernel = bench_replay_kernel(row->replay);
	a->value = a->worst = median_of(x, b->runs);
}

/* The most that any run of ours had beyond what its guest touched. */
static void measure_memory(const struct bench *b, const struct aim_row *row, struct bench_aim *a)
{
	(void)row;
	a->at_most = true;
	for (unsigned k = 0; k < bench_kernel_count; k++)
		for (unsigned c = 0; bench_counts(b, k) && c < CONTEST_OURS; c++)
			for (unsigned run = 0; run < b->runs; run++) {
				double beyond = (b->sample[k][c][run].resident - b->sample[k][c][run].touched) / MIB;
				a->missing += run == 0 && isnan(beyond);
				if (!isnan(beyond) && !(beyond <= a->value)) {
					a->value = a->worst = beyond;
					a->kernel = bench_kernels[k].name;
				}
			}
}

static void measure_scaling(const struct bench *b, const struct aim_row *row, struct bench_aim *a)
{
	(void)row;
	a->kernel = BENCH_SCALING_KERNEL;
	a->value = a->worst = median_of(b->scaling, b->runs);
}

unsigned bench_aim_count(void) { return sizeof aim_rows / sizeof *aim_rows; }

struct bench_aim bench_aim_of(const struct bench *b, unsigned i)
{
	const struct aim_row *row = &aim_rows[i];
	struct bench_aim a = { .name = row->name, .unit = row->unit, .aim = row->aim, .value = NAN, .kernel = "", .worst = NAN };
	row->measure(b, row, &a);
	return a;
}

int bench_aim_met(const struct bench_aim *a)
{
	return !isfinite(a->value) || a->missing ? -1 : a->at_most ? a->value <= a->aim : a->value >= a->aim;
}
