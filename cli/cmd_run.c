/* ringside run: one guest, one technique. */
#include "lockstep_print.h"
#include "options.h"
#include "runner.h"
#include <stdlib.h>
#include <string.h>

static int run_status(const struct run_result *r)
{
	return r->end == END_EXIT && r->exit_code == 0 && !r->resource_violations ? STATUS_GOOD : STATUS_FAILED;
}

static int run_config(const struct options *o, const struct config *c, const char *text)
{
	struct progress progress;
	struct results_db *db;
	struct runner r = { .config_text = text, .progress = &progress, .console = o->console ? stderr : NULL };
	if (!config_machine(c, NULL, &r.config, r.error, sizeof r.error))
		return options_refuse(o, r.error);
	if (!store_open(o, NULL, &db))
		return STATUS_FAILED;
	progress_create(&progress, o->progress, 1);
	bool ok = runner_run(&r);
	progress_destroy(&progress);
	if (!ok) {
		results_close(db);
		return r.refused ? options_refuse(o, r.error) : complain(STATUS_FAILED, "%s", r.error);
	}
	(o->json ? result_print_json : result_print)(stdout, &r.result);
	return store_run(db, &r.result, text) ? run_status(&r.result) : STATUS_FAILED;
}

/* Every engine beside the reference interpreter. */
static int run_lockstep(const struct options *o, const struct config *c)
{
	enum { ENGINES = 8 };
	const struct engine *list[ENGINES] = { engine_find("switch") };
	struct machine_config m;
	struct lockstep_report r;
	char error[640];
	unsigned n = 1;
	if (o->db || o->json)
		return complain(STATUS_USAGE, "--lockstep compares engines and has no result: leave %s out", o->db ? "--db" : "--json");
	if (!config_machine(c, NULL, &m, error, sizeof error))
		return options_refuse(o, error);
	for (const struct engine *e = engines; e->name && n < ENGINES - 1; e++)
		if (e != list[0])
			list[n++] = e;
	if (!lockstep_run(&m, list, LOCKSTEP_TURN, &r, error, sizeof error))
		return r.refused ? options_refuse(o, error) : complain(STATUS_FAILED, "%s", error);
	lockstep_print(stdout, &r, list);
	return r.differ ? STATUS_FAILED : STATUS_GOOD;
}

int cmd_run(int argc, char **argv)
{
	struct options o;
	struct config c;
	int status = options_parse(&o, RUN, 1, argc, argv);
	if (status < 0 && !options_config(&o, o.operand[0], &c))
		status = STATUS_USAGE;
	if (status < 0) {
		char *text = config_text(&c);
		if (!text)
			status = complain(STATUS_FAILED, "out of memory");
		else if (o.print_config)
			status = fputs(text, stdout) < 0 ? STATUS_FAILED : STATUS_GOOD;
		else if (o.lockstep)
			status = run_lockstep(&o, &c);
		else
			status = run_config(&o, &c, text);
		free(text);
	}
	options_destroy(&o);
	return status;
}
