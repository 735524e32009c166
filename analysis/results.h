/*
 * Results: the database, comparisons and statistics.
 *
 * Invariant: one transaction a run; whatever kills the process, the database holds whole runs only. What a row says can be traced to program version, effective configuration and its hash.
 */
#ifndef ANALYSIS_RESULTS_H
#define ANALYSIS_RESULTS_H
#include "../machine/result.h"

struct results_db;
/* Opens or creates (WAL, schema version checked). NULL with one line in error. */
struct results_db *results_open(const char *path, char *error, size_t error_size);
/* Writes one run. config_text: the effective configuration (YAML). comparison: 0, or an id from results_new_comparison that groups runs. Returns run id, or -1 with a line. */
int64_t results_write(struct results_db *db, const struct run_result *r, const char *config_text, int64_t comparison, char *error, size_t error_size);
int64_t results_new_comparison(struct results_db *db, const char *title, char *error, size_t error_size);
void results_close(struct results_db *db);

/* Fills overhead, equivalence and cycles_error of a set of runs (execution and replay) against its native execution. */
void compare_fill(struct run_result *runs, unsigned n);
/* The comparison as tables on a terminal: what `ringside compare` prints. */
void compare_print(FILE *out, const struct run_result *runs, unsigned n);
/* The same as one JSON object. */
void compare_print_json(FILE *out, const struct run_result *runs, unsigned n);
/* One run's summary. */
void result_print(FILE *out, const struct run_result *r);
void result_print_json(FILE *out, const struct run_result *r);

/* GSL: mean and half-width of the confidence interval (Student's t) of n samples. */
struct interval { double mean, half_width, stddev; unsigned n; };
struct interval statistics_interval(const double *x, unsigned n, double confidence);
/* Linear fit of cycles on miss counts (multi-fit, least squares): y ~ c0 + sum c_j x_j; r2 and standard errors. x is row-major n * k. False: singular or too few samples. */
struct fit { unsigned k; double c[9], se[9], r2; };
bool statistics_fit(const double *y, const double *x, unsigned n, unsigned k, struct fit *out);
#endif
