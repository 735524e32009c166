/* One run. */
#include "runner.h"
#include <string.h>

static bool runner_execute(struct runner *r, struct machine *m, struct progress_run *p)
{
	struct trace_writer *w = NULL;
	machine_set_progress(m, progress_tick, p);
	machine_set_console_file(m, r->console);
	if (r->record && !(w = trace_writer_open(r->record, m, r->config_text, r->error, sizeof r->error)))
		return false;
	bool ok = machine_load(m, r->error, sizeof r->error);
	if (ok && w)
		trace_writer_start(w);
	if (ok) {
		machine_run(m);
		machine_result(m, &r->result);
	}
	if (w) {
		char error[sizeof r->error];
		bool written = trace_writer_close(w, ok ? &r->result : NULL, error, sizeof error);
		if (ok && !written)
			memcpy(r->error, error, sizeof error);
		ok = ok && written;
	}
	return ok;
}

/* What the trace gave, as statistics of the replay: references a second are these over the time that the process took. */
static void replay_counts_add(struct run_result *r, const uint64_t *by_kind)
{
	const struct result_metric list[] = { { "replay.references", trace_references(by_kind) }, { "replay.fetches", by_kind[EV_BLOCK] }, { "replay.loads", by_kind[EV_LOAD] },
		{ "replay.stores", by_kind[EV_STORE] + by_kind[EV_TABLE_STORE] }, { "replay.rmws", by_kind[EV_RMW] } };
	for (unsigned i = 0; i < sizeof list / sizeof *list && r->stats < RESULT_METRICS; i++)
		r->stat[r->stats++] = list[i];
}

static bool runner_replay(struct runner *r, struct machine *m, struct progress_run *p)
{
	struct trace_reader *t = trace_reader_open(r->replay, r->error, sizeof r->error);
	if (!t)
		return false;
	bool ok = trace_replay(t, m, progress_tick, p, r->error, sizeof r->error);
	if (ok) {
		machine_result(m, &r->result);
		replay_counts_add(&r->result, trace_reader_counts(t));
	}
	trace_reader_close(t);
	r->result.mode = RUN_REPLAY;
	return ok;
}

bool runner_run(struct runner *r)
{
	char name[48];
	snprintf(name, sizeof name, "%s%s", r->config.technique, r->replay ? " (replay)" : "");
	struct progress_run p = progress_begin(r->progress, name);
	struct machine *m = machine_create(&r->config, r->error, sizeof r->error);
	r->refused = !m;
	r->ok = m && (r->replay ? runner_replay : runner_execute)(r, m, &p);
	if (m)
		machine_destroy(m);
	progress_end(&p);
	return r->ok;
}
