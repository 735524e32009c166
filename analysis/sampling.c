/* What a sampled run tells, with how sure it is. */
#include "results_private.h"
#include <gsl/gsl_cdf.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

double statistics_half_width(double error, uint64_t n, double confidence)
{
	if (error == 0)
		return 0;
	return n > 1 ? gsl_cdf_tdist_Pinv(0.5 + confidence / 2, (double)(n - 1)) * error : NAN;
}

double sampling_half_width(const struct run_result *r, const struct result_estimate *e, double confidence)
{
	return statistics_half_width(e->error, r->sampling.windows, confidence);
}

const struct result_estimate *sampling_estimate(const struct run_result *r, const char *name)
{
	for (unsigned i = 0; i < r->sampling.estimates; i++)
		if (!strcmp(r->sampling.estimate[i].name, name))
			return &r->sampling.estimate[i];
	return NULL;
}

/* ---- text ---- */

#define WINDOWS_FEWEST 30 /* the rule of thumb for a normal mean; what skewness adds, 25 G1^2, is Cochran's, Sampling Techniques, 1977, 2.15 */

static void estimate_print(FILE *out, const struct run_result *r, const struct result_estimate *e)
{
	const char *shown = !strcmp(e->name, "cycles") ? "cycles, but for idle ones" : e->name;
	fprintf(out, "  %-34s %14.8f", shown, e->mean);
	for (unsigned i = 0; i < SAMPLING_CONFIDENCES; i++) {
		double half = sampling_half_width(r, e, sampling_confidences[i]);
		if (isnan(half))
			fprintf(out, " %12s", "unknown");
		else
			fprintf(out, " %12.8f", half);
	}
	fputc('\n', out);
}

static bool estimate_shown(const char *name)
{
	static const char *const most[] = { "tlb.l1d.miss", "tlb.l1i.miss", "tlb.l2.miss", "walk.count", "walk.refs", "cache.l1d.miss", "cache.l2.miss", "cache.l3.miss" };
	for (unsigned i = 0; i < sizeof most / sizeof *most; i++)
		if (!strcmp(most[i], name))
			return true;
	return !strcmp(name, "cycles") || !strncmp(name, "cause.", 6);
}

uint64_t sampling_windows_wanted(const struct run_result *r, double relative, double confidence)
{
	const struct result_estimate *e = sampling_estimate(r, "cycles");
	double half = e ? sampling_half_width(r, e, confidence) : NAN, share = e && e->mean > 0 ? half / (relative * e->mean) : NAN;
	return share > 0 ? (uint64_t)ceil((double)r->sampling.windows * share * share) : 0; /* NaN is not */
}

static void bound_print(FILE *out, const struct run_result *r)
{
	const struct result_estimate *e = sampling_estimate(r, "cycles");
	if (!e)
		return;
	fprintf(out, "  cycles of the whole run: %" PRIu64, r->cycles);
	for (unsigned i = 0; i < SAMPLING_CONFIDENCES; i++) {
		double half = sampling_half_width(r, e, sampling_confidences[i]) * (double)r->instructions;
		if (!isnan(half))
			fprintf(out, ", +- %.0f (%.2f%%) with %g %% confidence", half, 100 * half / (double)r->cycles, 100 * sampling_confidences[i]);
	}
	fputc('\n', out);
	uint64_t wanted = sampling_windows_wanted(r, 0.03, 0.997);
	if (wanted > r->sampling.windows)
		fprintf(out, "  +- 3%% with 99.7 %% confidence would take some %" PRIu64 " windows: make sampling.interval smaller, or the run longer\n", wanted);
}

void sampling_print(FILE *out, const struct run_result *r)
{
	const struct result_sampling *s = &r->sampling;
	if (!s->on)
		return;
	fprintf(out, "\nsampled: all but instructions, exit counts and hashes above is estimated\n  %" PRIu64 " windows of %" PRIu64 " instructions, one in %" PRIu64 ", each after %" PRIu64
		" of warm-up, and the first %" PRIu64 ": %.2f%% of the run measured\n", s->windows, s->window, s->interval, s->warmup, s->head, r->instructions ? 100.0 * (double)s->measured / (double)r->instructions : 0);
	if (!s->windows && s->measured < r->instructions) {
		fprintf(out, "  the run ended before the first window: make sampling.interval smaller\n");
		return;
	}
	fprintf(out, "  %-34s %14s %12s %12s\n", "an instruction", "mean", "+- 95 %", "+- 99.7 %");
	for (unsigned i = 0; i < s->estimates; i++)
		if (estimate_shown(s->estimate[i].name))
			estimate_print(out, r, &s->estimate[i]);
	bound_print(out, r);
	if (s->skips && s->warmed)
		fprintf(out, "  windows may be colder than the run, which no interval covers: with a longer sampling.warmup the mean must stay (from %" PRIu64 " on nothing\n"
			"  is ever cold). An instruction took %.3f cycles in warm-ups\n", s->interval - s->window, (double)s->warmed_cycles / (double)s->warmed);
	else if (s->skips)
		fprintf(out, "  without warm-up each window begins with cold TLBs: set sampling.warmup\n");
	double enough = WINDOWS_FEWEST + 25 * s->skewness * s->skewness;
	if ((double)s->windows < enough && s->measured < r->instructions)
		fprintf(out, "  too few windows: their cycles are so uneven (skewness %.1f) that intervals can be trusted from %.0f windows on; make sampling.interval smaller\n", s->skewness, enough);
}
