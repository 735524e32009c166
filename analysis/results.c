/* The results database: schema.sql is compiled in. */
#include "results_private.h"
#include <gsl/gsl_version.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char schema[] = {
#include "schema.inc"
	, 0
};

const char *results_program_version(void)
{
	return RINGSIDE_VERSION;
}

/* FNV-1a of a configuration's text: its name in the database. */
static uint64_t results_hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325ull;
	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
	return h;
}

static void db_error(struct results_db *db, const char *what, char *error, size_t error_size)
{
	snprintf(error, error_size, "%s: cannot %s: %s; check the file, or name another with --db", db->path, what, sqlite3_errmsg(db->sql));
}

/* ------------------------------------------------------------------ statements: one value at a time, by type */
static sqlite3_stmt *db_prepare(struct results_db *db, const char *text)
{
	sqlite3_stmt *s = NULL;
	return sqlite3_prepare_v2(db->sql, text, -1, &s, NULL) == SQLITE_OK ? s : NULL;
}

/* t text, i integer, o integer or NULL when negative, d real (SQLite stores a NaN as NULL). */
static bool db_insert(struct results_db *db, const char *text, const char *types, ...)
{
	sqlite3_stmt *s = db_prepare(db, text);
	va_list list;
	if (!s)
		return false;
	va_start(list, types);
	for (int i = 0; types[i]; i++) {
		if (types[i] == 't') {
			sqlite3_bind_text(s, i + 1, va_arg(list, const char *), -1, SQLITE_TRANSIENT);
		} else if (types[i] == 'd') {
			sqlite3_bind_double(s, i + 1, va_arg(list, double));
		} else {
			int64_t number = va_arg(list, int64_t);
			if (types[i] == 'i' || number >= 0)
				sqlite3_bind_int64(s, i + 1, number);
		}
	}
	va_end(list);
	bool ok = sqlite3_step(s) == SQLITE_DONE;
	return sqlite3_finalize(s) == SQLITE_OK && ok;
}

static bool db_run(struct results_db *db, const char *text)
{
	return sqlite3_exec(db->sql, text, NULL, NULL, NULL) == SQLITE_OK;
}

/* The first column of the first row; `otherwise` when there is none. */
static int64_t db_number(struct results_db *db, const char *text, int64_t otherwise)
{
	sqlite3_stmt *s = db_prepare(db, text);
	int64_t value = otherwise;
	if (s && sqlite3_step(s) == SQLITE_ROW)
		value = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return value;
}

/* ------------------------------------------------------------------ opening */
static bool schema_make(struct results_db *db)
{
	char version[64];
	snprintf(version, sizeof version, "PRAGMA user_version = %d", RESULTS_SCHEMA);
	return db_run(db, "BEGIN IMMEDIATE") && db_run(db, schema) && db_run(db, version) && db_run(db, "COMMIT");
}

/* What is not ours is left as it was found. */
static bool schema_check(struct results_db *db, bool *empty, char *error, size_t error_size)
{
	int64_t version = db_number(db, "PRAGMA user_version", -1), tables = db_number(db, "SELECT count(*) FROM sqlite_master", -1);
	*empty = version == 0 && tables == 0;
	if (version == RESULTS_SCHEMA || *empty)
		return true;
	if (version < 0 || tables < 0)
		db_error(db, "open the database", error, error_size);
	else
		snprintf(error, error_size, "%s: not a results database of this program (schema %lld, expected %d); name another with --db", db->path, (long long)version, RESULTS_SCHEMA);
	return false;
}

static bool schema_ensure(struct results_db *db, char *error, size_t error_size)
{
	bool empty;
	if (!schema_check(db, &empty, error, error_size))
		return false;
	if (!db_run(db, "PRAGMA journal_mode = WAL") || !db_run(db, "PRAGMA synchronous = NORMAL") || !db_run(db, "PRAGMA foreign_keys = ON")) {
		db_error(db, "open the database", error, error_size);
		return false;
	}
	if (!empty || schema_make(db))
		return true;
	db_run(db, "ROLLBACK");
	if (db_number(db, "PRAGMA user_version", -1) == RESULTS_SCHEMA)
		return true; /* another process was faster */
	db_error(db, "create the tables", error, error_size);
	return false;
}

static bool provenance_note(struct results_db *db, char *error, size_t error_size)
{
	const char *values[] = { RINGSIDE_VERSION, sqlite3_libversion(), zlibVersion(), gsl_version };
	bool ok = db_insert(db, "INSERT OR IGNORE INTO provenance (program, sqlite, zlib, gsl) VALUES (?, ?, ?, ?)", "tttt", values[0], values[1], values[2], values[3]);
	sqlite3_stmt *s = ok ? db_prepare(db, "SELECT id FROM provenance WHERE program = ? AND sqlite = ? AND zlib = ? AND gsl = ?") : NULL;
	for (int i = 0; s && i < 4; i++)
		sqlite3_bind_text(s, i + 1, values[i], -1, SQLITE_STATIC);
	ok = s && sqlite3_step(s) == SQLITE_ROW;
	if (ok)
		db->provenance = sqlite3_column_int64(s, 0);
	else
		db_error(db, "write", error, error_size);
	sqlite3_finalize(s);
	return ok;
}

struct results_db *results_open(const char *path, char *error, size_t error_size)
{
	struct results_db *db = calloc(1, sizeof *db);
	if (!db) {
		snprintf(error, error_size, "%s: out of memory", path);
		return NULL;
	}
	snprintf(db->path, sizeof db->path, "%s", path);
	if (!*path || *path == ':') { /* to SQLite a database that is gone when it is closed */
		snprintf(error, error_size, "\"%s\" is no file: name another with --db", path);
		results_close(db);
		return NULL;
	}
	bool ok = sqlite3_open_v2(path, &db->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK;
	if (ok)
		sqlite3_busy_timeout(db->sql, 10000); /* another run may be writing: its transaction is short */
	else
		db_error(db, "open the database", error, error_size);
	if (!ok || !schema_ensure(db, error, error_size) || !provenance_note(db, error, error_size)) {
		results_close(db);
		return NULL;
	}
	return db;
}

void results_close(struct results_db *db)
{
	if (db)
		sqlite3_close(db->sql);
	free(db);
}

/* ------------------------------------------------------------------ writing */
int64_t results_new_comparison(struct results_db *db, const char *title, char *error, size_t error_size)
{
	if (db_insert(db, "INSERT INTO comparisons (title) VALUES (?)", "t", title))
		return sqlite3_last_insert_rowid(db->sql);
	db_error(db, "write a comparison", error, error_size);
	return -1;
}

static bool run_write(struct results_db *db, const struct run_result *r, const char *hash, int64_t comparison)
{
	static const char sql[] = "INSERT INTO runs (comparison, provenance, configuration, technique, mode, engine, core, preset, workload, width, seed, ending, exit_code, "
		"instructions, cycles, state_hash, machine_hash, table_bytes_peak, guest_table_bytes, equivalent, emulated, efficiency, resource_violations, overhead, cycles_error) "
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
	char state[17], machine[17];
	int64_t group = comparison ? comparison : -1, equivalent = r->equivalence_known ? r->equivalent : -1;
	double overhead = r->overhead > 0 ? r->overhead : NAN, cycles_error = r->has_cycles_error ? r->cycles_error : NAN;
	snprintf(state, sizeof state, "%016llx", (unsigned long long)r->state_hash);
	snprintf(machine, sizeof machine, "%016llx", (unsigned long long)r->machine_hash);
	return db_insert(db, sql, "oitttttttiitiiittiioididd", group, db->provenance, hash, r->technique, run_mode_name(r->mode), r->engine, r->core, r->preset, r->workload,
		(int64_t)r->width, (int64_t)r->seed, run_end_name(r->end), (int64_t)r->exit_code, (int64_t)r->instructions, (int64_t)r->cycles, state, machine, (int64_t)r->table_bytes_peak,
		(int64_t)r->guest_table_bytes, equivalent, (int64_t)r->emulated, result_efficiency(r), (int64_t)r->resource_violations, overhead, cycles_error);
}

static bool parts_write(struct results_db *db, const struct run_result *r, int64_t run)
{
	bool ok = true;
	for (unsigned i = 0; ok && i < CAUSES; i++)
		ok = db_insert(db, "INSERT INTO causes VALUES (?, ?, ?, ?)", "iiti", run, (int64_t)i, cause_name(i), (int64_t)r->by_cause[i]);
	for (unsigned i = 0; ok && i < r->exits; i++)
		ok = db_insert(db, "INSERT INTO exits VALUES (?, ?, ?, ?, ?)", "itiii", run, r->exit[i].name, (int64_t)r->exit[i].count, (int64_t)r->exit[i].transition_cycles,
			(int64_t)r->exit[i].handler_cycles);
	for (unsigned i = 0; ok && i < r->works; i++)
		ok = db_insert(db, "INSERT INTO works VALUES (?, ?, ?)", "iti", run, r->work[i].name, (int64_t)r->work[i].value);
	for (unsigned i = 0; ok && i < r->stats; i++)
		ok = db_insert(db, "INSERT INTO metrics VALUES (?, ?, ?)", "iti", run, r->stat[i].name, (int64_t)r->stat[i].value);
	for (unsigned i = 0; ok && i < r->regions; i++)
		ok = db_insert(db, "INSERT INTO regions VALUES (?, ?, ?, ?, ?)", "iiiii", run, (int64_t)r->region[i].id, (int64_t)r->region[i].count, (int64_t)r->region[i].cycles,
			(int64_t)r->region[i].instructions);
	for (unsigned i = 0; ok && i < r->unknown; i++)
		ok = db_insert(db, "INSERT INTO unknown_opcodes VALUES (?, ?, ?)", "iti", run, r->unknown_opcode[i].name, (int64_t)r->unknown_opcode[i].value);
	return ok;
}

static bool sampling_write(struct results_db *db, const struct run_result *r, int64_t run)
{
	const struct result_sampling *s = &r->sampling;
	if (!s->on)
		return true;
	bool ok = db_insert(db, "INSERT INTO sampling VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "iiiiiiiiiiiiid", run, (int64_t)s->interval, (int64_t)s->warmup, (int64_t)s->window, (int64_t)s->head, (int64_t)s->seed,
		(int64_t)s->offset, (int64_t)s->windows, (int64_t)s->measured, (int64_t)s->warmed, (int64_t)s->skips, (int64_t)s->warmed_cycles, (int64_t)s->idle,
		s->skewness);
	for (unsigned i = 0; ok && i < s->estimates; i++) {
		const struct result_estimate *e = &s->estimate[i];
		ok = db_insert(db, "INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", "itdddd", run, e->name, e->mean, e->error, sampling_half_width(r, e, sampling_confidences[0]),
			sampling_half_width(r, e, sampling_confidences[1]));
	}
	return ok;
}

int64_t results_write(struct results_db *db, const struct run_result *r, const char *config_text, int64_t comparison, char *error, size_t error_size)
{
	char hash[17];
	int64_t run = -1;
	snprintf(hash, sizeof hash, "%016llx", (unsigned long long)results_hash(config_text));
	bool ok = db_run(db, "BEGIN IMMEDIATE") && db_insert(db, "INSERT OR IGNORE INTO configurations VALUES (?, ?)", "tt", hash, config_text) && run_write(db, r, hash, comparison);
	if (ok)
		run = sqlite3_last_insert_rowid(db->sql);
	ok = ok && parts_write(db, r, run) && sampling_write(db, r, run) && db_run(db, "COMMIT");
	if (ok)
		return run;
	db_error(db, "write a run", error, error_size);
	if (!sqlite3_get_autocommit(db->sql))
		db_run(db, "ROLLBACK");
	return -1;
}
