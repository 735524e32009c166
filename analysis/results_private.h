/*
 * What the files that write to the results database share.
 *
 * Invariant: `provenance` is a row of the table of that name for as long as the database is open.
 */
#ifndef ANALYSIS_RESULTS_PRIVATE_H
#define ANALYSIS_RESULTS_PRIVATE_H
#include "results.h"
#include <sqlite3.h>

struct results_db { sqlite3 *sql; char path[512]; int64_t provenance; };
#endif
