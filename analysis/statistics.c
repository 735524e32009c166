/* Statistics over runs, by GSL. */
#include "results.h"
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_errno.h>
#include <gsl/gsl_multifit.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>

struct interval statistics_interval(const double *x, unsigned n, double confidence)
{
	struct interval r = { .n = n };
	if (n == 0)
		return r;
	r.mean = gsl_stats_mean(x, 1, n);
	if (n == 1)
		return r;
	r.stddev = gsl_stats_sd_m(x, 1, n, r.mean);
	r.half_width = gsl_cdf_tdist_Pinv(0.5 + confidence / 2, n - 1) * r.stddev / sqrt(n);
	return r;
}

struct fit_data { gsl_matrix *x, *covariance; gsl_vector *y, *c; gsl_multifit_linear_workspace *work; };

static bool fit_alloc(struct fit_data *d, unsigned n, unsigned p)
{
	d->x = gsl_matrix_alloc(n, p);
	d->covariance = gsl_matrix_alloc(p, p);
	d->y = gsl_vector_alloc(n);
	d->c = gsl_vector_alloc(p);
	d->work = gsl_multifit_linear_alloc(n, p);
	return d->x && d->covariance && d->y && d->c && d->work;
}

static void fit_free(struct fit_data *d)
{
	gsl_matrix_free(d->x);
	gsl_matrix_free(d->covariance);
	gsl_vector_free(d->y);
	gsl_vector_free(d->c);
	if (d->work)
		gsl_multifit_linear_free(d->work);
}

/* Singular values below this share of the largest (columns are balanced first) count as zero: then the columns depend on each other, and a coefficient would mean nothing. */
#define FIT_TOLERANCE 1e-10

static bool fit_solve(struct fit_data *d, struct fit *out)
{
	double chisq, total = gsl_stats_tss(d->y->data, d->y->stride, d->y->size);
	size_t rank;
	if (gsl_multifit_linear_tsvd(d->x, d->y, FIT_TOLERANCE, d->c, d->covariance, &chisq, &rank, d->work) != GSL_SUCCESS || rank != d->x->size2)
		return false;
	for (unsigned j = 0; j < d->x->size2; j++) {
		out->c[j] = gsl_vector_get(d->c, j);
		out->se[j] = sqrt(gsl_matrix_get(d->covariance, j, j));
	}
	out->r2 = total > 0 ? 1 - chisq / total : 1;
	return true;
}

bool statistics_fit(const double *y, const double *x, unsigned n, unsigned k, struct fit *out)
{
	struct fit_data d = { 0 };
	gsl_error_handler_t *before;
	bool ok;

	*out = (struct fit){ .k = k };
	if (k > FIT_LIMIT || n <= k + 1)
		return false;
	before = gsl_set_error_handler_off(); /* GSL's default is abort() */
	ok = fit_alloc(&d, n, k + 1);
	for (unsigned i = 0; ok && i < n; i++) {
		gsl_vector_set(d.y, i, y[i]);
		gsl_matrix_set(d.x, i, 0, 1);
		for (unsigned j = 0; j < k; j++)
			gsl_matrix_set(d.x, i, j + 1, x[(size_t)i * k + j]);
	}
	ok = ok && fit_solve(&d, out);
	fit_free(&d);
	gsl_set_error_handler(before);
	return ok;
}
