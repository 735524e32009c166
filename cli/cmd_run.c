/* ringside run: one guest, one technique. */
#include "lockstep_print.h"
#include "options.h"
#include "runner.h"
#include <stdlib.h>
#include <string.h>

static bool run_store(const char *path, const struct run_result *r, const char *text)
{
	char error[640];
	struct results_db *db = results_open(path, error, sizeof error);
	bool ok = db && results_write(db, r, text, 0, error, sizeof error) >= 0;
	if (!ok)
		complain(STATUS_FAILED, "%s", error);
	results_close(db);
	return ok;
}

static int run_status(const struct run_result *r)
{
	return r->end == END_EXIT && r->exit_code == 0 && !r->resource_violations ? STATUS_GOOD : STATUS_FAILED;
}

static int run_config(const struct options *o, const struct config *c, const char *text)
{
	struct progress progress;
	struct runner r = { .config_text = text, .progress = &progress, .console = o->console ? stderr : NULL };
	if (!config_machine(c, NULL, &r.config, r.error, sizeof r.error))
		return complain(STATUS_USAGE, "%s", r.error);
	progress_create(&progress, o->progress, 1);
	bool ok = runner_run(&r);
	progress_destroy(&progress);
	if (!ok)
		return complain(r.refused ? STATUS_USAGE : STATUS_FAILED, "%s", r.error);
	(o->json ? result_print_json : result_print)(stdout, &r.result);
	if (o->db && !run_store(o->db, &r.result, text))
		return STATUS_FAILED;
	return run_status(&r.result);
}

/* Every engine beside the reference interpreter. */
static int run_lockstep(const struct config *c)
{
	enum { ENGINES = 8 };
	const struct engine *list[ENGINES] = { engine_find("switch") };
	struct machine_config m;
	struct lockstep_report r;
	char error[640];
	unsigned n = 1;
	if (!config_machine(c, NULL, &m, error, sizeof error))
		return complain(STATUS_USAGE, "%s", error);
	for (const struct engine *e = engines; e->name && n < ENGINES - 1; e++)
		if (e != list[0])
			list[n++] = e;
	if (!lockstep_run(&m, list, LOCKSTEP_TURN, &r, error, sizeof error))
		return complain(STATUS_FAILED, "%s", error);
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
			status = run_lockstep(&c);
		else
			status = run_config(&o, &c, text);
		free(text);
	}
	options_destroy(&o);
	return status;
}
