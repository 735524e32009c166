/* Guest speeds in the results database. */
#include "bench_results.h"
#include "results_private.h"

static const char tables[] =
	"CREATE TABLE IF NOT EXISTS bench ("
	"bench INTEGER NOT NULL, provenance INTEGER NOT NULL REFERENCES provenance, kernel TEXT NOT NULL, contestant TEXT NOT NULL, version TEXT NOT NULL, "
	"instructions INTEGER NOT NULL, runs INTEGER NOT NULL, seconds REAL, ratio_to_bochs REAL, ratio_to_qemu REAL, PRIMARY KEY (bench, kernel, contestant)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS bench_aims ("
	"bench INTEGER NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL, kernel TEXT NOT NULL, aim REAL NOT NULL, at_most INTEGER NOT NULL, value REAL, met INTEGER, "
	"PRIMARY KEY (bench, name)) WITHOUT ROWID";

static int64_t bench_next(sqlite3 *sql)
{
	sqlite3_stmt *s = NULL;
	int64_t next = -1;
	if (sqlite3_prepare_v2(sql, "SELECT coalesce(max(bench), 0) + 1 FROM bench", -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		next = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return next;
}

static bool row_write(sqlite3_stmt *s, int64_t bench, int64_t provenance, const struct bench_row *r)
{
	sqlite3_bind_int64(s, 1, bench);
	sqlite3_bind_int64(s, 2, provenance);
	sqlite3_bind_text(s, 3, r->kernel, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 4, r->contestant, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 5, r->version, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 6, (int64_t)r->instructions);
	sqlite3_bind_int64(s, 7, r->runs);
	sqlite3_bind_double(s, 8, r->seconds); /* a NAN becomes NULL */
	sqlite3_bind_double(s, 9, r->ratio_to_bochs);
	sqlite3_bind_double(s, 10, r->ratio_to_qemu);
	return sqlite3_step(s) == SQLITE_DONE && sqlite3_reset(s) == SQLITE_OK;
}

static bool aim_write(sqlite3_stmt *s, int64_t bench, const struct bench_aim_row *a)
{
	sqlite3_bind_int64(s, 1, bench);
	sqlite3_bind_text(s, 2, a->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 3, a->unit, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 4, a->kernel, -1, SQLITE_STATIC);
	sqlite3_bind_double(s, 5, a->aim);
	sqlite3_bind_int(s, 6, a->at_most);
	sqlite3_bind_double(s, 7, a->value);
	a->met < 0 ? sqlite3_bind_null(s, 8) : sqlite3_bind_int(s, 8, a->met);
	return sqlite3_step(s) == SQLITE_DONE && sqlite3_reset(s) == SQLITE_OK;
}

static bool aims_write(sqlite3 *sql, int64_t bench, const struct bench_aim_row *aims, unsigned m)
{
	sqlite3_stmt *s = NULL;
	bool ok = sqlite3_prepare_v2(sql, "INSERT INTO bench_aims VALUES (?, ?, ?, ?, ?, ?, ?, ?)", -1, &s, NULL) == SQLITE_OK;
	for (unsigned i = 0; ok && i < m; i++)
		ok = aim_write(s, bench, &aims[i]);
	return sqlite3_finalize(s) == SQLITE_OK && ok;
}

bool bench_results_write(struct results_db *db, const struct bench_row *rows, unsigned n, const struct bench_aim_row *aims, unsigned m, char *error, size_t error_size)
{
	sqlite3 *sql = db->sql;
	sqlite3_stmt *s = NULL;
	bool ok = sqlite3_exec(sql, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK && sqlite3_exec(sql, tables, NULL, NULL, NULL) == SQLITE_OK;
	int64_t bench = ok ? bench_next(sql) : -1;
	ok = bench > 0 && sqlite3_prepare_v2(sql, "INSERT INTO bench VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", -1, &s, NULL) == SQLITE_OK;
	for (unsigned i = 0; ok && i < n; i++)
		ok = row_write(s, bench, db->provenance, &rows[i]);
	ok = ok && aims_write(sql, bench, aims, m);
	if (!ok)
		snprintf(error, error_size, "%s: cannot write a bench: %s; check the file, or name another with --db", db->path, sqlite3_errmsg(sql));
	sqlite3_finalize(s);
	return sqlite3_exec(sql, ok ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK && ok;
}
