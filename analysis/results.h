/*
 * Results: the database, comparisons and statistics.
 *
 * Invariant: one transaction a run; whatever kills the process, the database holds whole runs only. What a row says can be traced to program version, effective configuration and its hash.
 */
#ifndef ANALYSIS_RESULTS_H
#define ANALYSIS_RESULTS_H
#include "../machine/result.h"

#define RESULTS_SCHEMA 3 /* PRAGMA user_version; analysis/schema.sql */

struct results_db;
/* Opens or creates (WAL, schema version checked). NULL with one line in error. */
struct results_db *results_open(const char *path, char *error, size_t error_size);
/* Writes one run. config_text: the effective configuration (YAML). comparison: 0, or an id from results_new_comparison that groups runs. Returns run id, or -1 with a line. */
int64_t results_write(struct results_db *db, const struct run_result *r, const char *config_text, int64_t comparison, char *error, size_t error_size);
/* Id > 0, or -1 with a line. */
int64_t results_new_comparison(struct results_db *db, const char *title, char *error, size_t error_size);
void results_close(struct results_db *db);
/* Versions of the program and of what it links: one line. */
const char *results_program_version(void);

/* A statistic of a run by name, with or without its room's prefix ("tlb."); 0 when it has none. */
uint64_t result_stat(const struct run_result *r, const char *name);
uint64_t result_exits_total(const struct run_result *r);
/* References a walk made, on average; 0 without walks. */
double result_references_per_walk(const struct run_result *r);

/* Fills overhead, equivalence and cycles_error of a set of runs (execution and replay) against its native execution. Without one among them nothing is known but cycles_error. */
void compare_fill(struct run_result *runs, unsigned n);
/* True when every run with a known equivalence is equivalent, ended as it should, and no guest reached outside. */
bool compare_good(const struct run_result *runs, unsigned n);
/* The comparison as tables on a terminal: what `ringside compare` prints. */
void compare_print(FILE *out, const struct run_result *runs, unsigned n);
/* The same as one JSON object. */
void compare_print_json(FILE *out, const struct run_result *runs, unsigned n);
/* The same, with the linear model over `sizes`: runs of several TLB sizes (0: without). */
void compare_print_json_fitted(FILE *out, const struct run_result *runs, unsigned n, const struct run_result *sizes, unsigned sizes_n);
/* Over several seeds: each technique's mean cycles with its interval of confidence. Nothing for one seed. */
void compare_print_seeds(FILE *out, const struct run_result *runs, unsigned n);
/* compare_fit() of each technique, as a table. */
void compare_print_fit(FILE *out, const struct run_result *runs, unsigned n);
/* One run's summary. */
void result_print(FILE *out, const struct run_result *r);
void result_print_json(FILE *out, const struct run_result *r);

/* GSL: mean and half-width of the confidence interval (Student's t) of n samples. One sample: half-width 0. */
struct interval { double mean, half_width, stddev; unsigned n; };
struct interval statistics_interval(const double *x, unsigned n, double confidence);
/* The same from the standard error of a mean over n samples. NaN: not known from fewer than two, unless the error is 0. */
double statistics_half_width(double error, uint64_t n, double confidence);

/* ---- sampled runs (analysis/sampling.c) ---- */
#define SAMPLING_CONFIDENCES 2
static const double sampling_confidences[SAMPLING_CONFIDENCES] = { 0.95, 0.997 };
/* By name ("cycles", "cause.<name>", a statistic's own); NULL: it was 0, or there is no window. */
const struct result_estimate *sampling_estimate(const struct run_result *r, const char *name);
/* Of the interval around e->mean; NaN: not known. */
double sampling_half_width(const struct run_result *r, const struct result_estimate *e, double confidence);
/* How many windows would bring the interval of all cycles to +- `relative` of them (SMARTS, section 3: the error falls as the square root); 0: not known, or nothing to gain. */
uint64_t sampling_windows_wanted(const struct run_result *r, double relative, double confidence);
/* Schedule, estimates and bounds; nothing for a run that was not sampled. */
void sampling_print(FILE *out, const struct run_result *r);

/* Linear fit of cycles on miss counts (multi-fit, least squares): y ~ c0 + sum c_j x_j; r2 and standard errors. x is row-major n * k. False: singular or too few samples. */
#define FIT_LIMIT 8
struct fit { unsigned k; double c[FIT_LIMIT + 1], se[FIT_LIMIT + 1], r2; };
bool statistics_fit(const double *y, const double *x, unsigned n, unsigned k, struct fit *out);
/* The linear model of the literature: a technique's cycles on its walk references, over runs of several TLB sizes. Returns how many runs of it there are; *fits: *f is set. */
unsigned compare_fit(const struct run_result *runs, unsigned n, const char *technique, struct fit *f, bool *fits);
#endif
