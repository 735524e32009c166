/*
 * ringside compare: the main job. Each technique runs the guest; the native run is recorded, and so is the paravirtual one, whose guest image is another; then each technique runs
 * again from the recording of its image.
 *
 * Invariant: what is printed and stored does not depend on how many runs went at a time: results are kept in the order of the registry.
 */
#include "options.h"
#include "runner.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct comparison {
	const struct options *options;
	const struct config *config;
	bool wanted[TECHNIQUES];
	char trace[2][40];                 /* recordings: native image, paravirtual image */
	int trace_fd[2];                   /* open files without a name, so that nothing is left behind whatever ends the program; 0: none */
	struct runner *runner;             /* [execution of all techniques..., replay of all techniques...], a seed at a time */
	unsigned runners, main_runners;    /* of them: those that the tables show; after them: those of --fit */
	struct progress progress;
	unsigned jobs;
	bool refused;   /* a machine cannot be made as it is configured */
	struct results_db *db;
	/* the pool */
	pthread_mutex_t lock;
	unsigned next, end;
};

/* ------------------------------------------------------------------ the pool of runs */
static void *pool_work(void *self)
{
	struct comparison *c = self;
	for (;;) {
		pthread_mutex_lock(&c->lock);
		unsigned i = c->next < c->end ? c->next++ : c->end;
		pthread_mutex_unlock(&c->lock);
		if (i == c->end)
			return NULL;
		runner_run(&c->runner[i]);
	}
}

/* Runs runner[first..end) with c->jobs threads. */
static void pool_run(struct comparison *c, unsigned first, unsigned end)
{
	pthread_t thread[64];
	unsigned n = 0;
	c->next = first;
	c->end = end;
	while (n + 1 < c->jobs && n + 1 < end - first && n < 63 && !pthread_create(&thread[n], NULL, pool_work, c))
		n++;
	pool_work(c);
	while (n)
		pthread_join(thread[--n], NULL);
}

/* ------------------------------------------------------------------ what to run */
static bool techniques_choose(struct comparison *c)
{
	char list[512], *word, *rest;
	if (!c->options->techniques) {
		memset(c->wanted, true, sizeof c->wanted);
		return true;
	}
	snprintf(list, sizeof list, "%s", c->options->techniques);
	for (word = strtok_r(list, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
		const struct technique *t = technique_find(word);
		const char *near = nearest_word(word, choice_technique);
		if (!t) {
			complain(STATUS_USAGE, "--techniques: unknown technique \"%s\"%s%s; ringside list techniques", word, near ? ", the nearest is " : "", near ? near : "");
			return false;
		}
		c->wanted[t->id] = true;
	}
	for (unsigned t = 0; t < TECHNIQUES; t++)
		if (c->wanted[t])
			return true;
	complain(STATUS_USAGE, "--techniques: name at least one");
	return false;
}

/* Native runs whatever is wanted: it is what overhead and equivalence are measured against, and what is replayed. */
static bool technique_runs(const struct comparison *c, unsigned t)
{
	return c->wanted[t] || t == TECHNIQUE_NATIVE;
}

static void runners_free(struct comparison *c)
{
	for (unsigned i = 0; i < c->runners; i++)
		free((char *)(uintptr_t)c->runner[i].config_text);
	free(c->runner);
}

static bool runner_add(struct comparison *c, unsigned t, uint64_t seed, bool replay, char *error, size_t error_size)
{
	struct runner *r = &c->runner[c->runners];
	const char *trace = c->trace[techniques[t].paravirtual_guest];
	bool records = !c->options->no_replay && (t == TECHNIQUE_NATIVE || t == TECHNIQUE_PARAVIRT);
	*r = (struct runner){ .progress = &c->progress, .record = !replay && records ? trace : NULL, .replay = replay ? trace : NULL, .console = c->options->console ? stderr : NULL };
	struct config own = *c->config; /* what is stored with the run: its technique and seed are its own */
	snprintf(own.machine.technique, sizeof own.machine.technique, "%s", techniques[t].name);
	own.machine.seed = seed;
	if (!config_machine(&own, NULL, &r->config, error, error_size))
		return false;
	r->config_text = config_text(&own); /* freed by runners_free() */
	if (!r->config_text) {
		snprintf(error, error_size, "out of memory");
		return false;
	}
	c->runners++;
	return true;
}

static bool traces_name(struct comparison *c)
{
	const char *base = getenv("TMPDIR");
	char name[256];
	for (unsigned i = 0; i < 2; i++) {
		snprintf(name, sizeof name, "%.200s/ringside-XXXXXX", base && *base ? base : "/tmp");
		int fd = mkostemp(name, O_CLOEXEC);
		if (fd < 0) {
			complain(STATUS_FAILED, "%s: cannot make a file for a recording: %s; set TMPDIR to a directory with room", name, strerror(errno));
			return false;
		}
		unlink(name);
		c->trace_fd[i] = fd;
		snprintf(c->trace[i], sizeof c->trace[i], "/proc/self/fd/%d", fd);
	}
	return true;
}

static void traces_remove(struct comparison *c)
{
	for (unsigned i = 0; i < 2; i++)
		if (c->trace_fd[i])
			close(c->trace_fd[i]);
}

/* Recordings have no name of their own: the user knows their place. */
static void runner_complain(const struct comparison *c, const struct runner *r)
{
	const char *base = getenv("TMPDIR"), *text = r->error;
	for (unsigned i = 0; i < 2; i++) {
		size_t n = strlen(c->trace[i]);
		if (!n || strncmp(text, c->trace[i], n))
			continue;
		complain(STATUS_FAILED, "%s%s: recording in %.200s%s; set TMPDIR to a directory with room, or leave the replays out with --no-replay", r->config.technique, r->replay ? " (replay)" : "",
			base && *base ? base : "/tmp", text + n);
		return;
	}
	if (r->refused)
		options_refuse(c->options, text);
	else
		complain(STATUS_FAILED, "%s%s: %s", r->config.technique, r->replay ? " (replay)" : "", text);
}

/* ------------------------------------------------------------------ running */
static bool comparison_refuse(struct comparison *c, const char *error)
{
	options_refuse(c->options, error);
	c->refused = true;
	return false;
}

static bool seed_run(struct comparison *c, uint64_t seed)
{
	char error[640];
	unsigned first = c->runners;
	for (unsigned t = 0; t < TECHNIQUES; t++)
		if (technique_runs(c, t) && !runner_add(c, t, seed, false, error, sizeof error))
			return comparison_refuse(c, error);
	unsigned executions = c->runners;
	for (unsigned t = 0; t < TECHNIQUES && !c->options->no_replay; t++)
		if (c->wanted[t] && !runner_add(c, t, seed, true, error, sizeof error))
			return comparison_refuse(c, error);
	pool_run(c, first, executions);
	for (unsigned i = first; i < executions; i++)
		if (!c->runner[i].ok)
			return true; /* told by the caller */
	pool_run(c, executions, c->runners);
	return true;
}

/* Half, a quarter, ... of the second-level TLB, in sets. */
#define FIT_SIZES 5

static bool fit_run(struct comparison *c)
{
	char error[640];
	unsigned first = c->runners;
	for (unsigned t = 0; t < TECHNIQUES; t++)
		for (unsigned size = 0; c->wanted[t] && size < FIT_SIZES; size++) {
			if (!runner_add(c, t, c->config->machine.seed, false, error, sizeof error))
				return complain(STATUS_USAGE, "%s", error), false;
			struct runner *r = &c->runner[c->runners - 1];
			r->record = NULL;
			for (unsigned a = 0; a < TLB_ARRAYS; a++) {
				struct tlb_geometry *g = &r->config.preset.tlb.l2[a];
				unsigned sets = g->ways ? (g->entries / g->ways) >> size : 0;
				g->entries = (sets ? sets : 1) * g->ways;
			}
		}
	pool_run(c, first, c->runners);
	return true;
}

static bool comparison_run(struct comparison *c)
{
	unsigned seeds = c->options->seeds, each = 0, fits = 0;
	for (unsigned t = 0; t < TECHNIQUES; t++)
		each += technique_runs(c, t) + (c->wanted[t] && !c->options->no_replay);
	for (unsigned t = 0; c->options->fit && t < TECHNIQUES; t++)
		fits += c->wanted[t] ? FIT_SIZES : 0;
	c->runner = calloc((size_t)seeds * each + fits, sizeof *c->runner);
	if (!c->runner) {
		complain(STATUS_FAILED, "out of memory");
		return false;
	}
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	c->jobs = c->options->jobs ? c->options->jobs : processors > 0 ? (unsigned)processors : 1;
	progress_create(&c->progress, c->options->progress, seeds * each + fits);
	pthread_mutex_init(&c->lock, NULL);
	bool ok = true;
	for (unsigned s = 0; ok && s < seeds; s++)
		ok = seed_run(c, c->config->machine.seed + s);
	c->main_runners = c->runners;
	if (ok && c->options->fit)
		ok = fit_run(c);
	pthread_mutex_destroy(&c->lock);
	progress_destroy(&c->progress);
	for (unsigned i = 0; ok && i < c->runners; i++)
		if (!c->runner[i].ok && c->runner[i].error[0]) {
			runner_complain(c, &c->runner[i]);
			c->refused |= c->runner[i].refused;
			ok = false;
		}
	return ok;
}

/* ------------------------------------------------------------------ showing */
static bool run_wanted(const struct comparison *c, const struct run_result *r)
{
	return c->wanted[technique_find(r->technique)->id];
}

static bool comparison_store(const struct comparison *c)
{
	char error[640], title[160];
	const struct run_result *first = &c->runner[0].result;
	snprintf(title, sizeof title, "%s, %u-bit guest, preset %s", first->workload, first->width, first->preset);
	int64_t group = results_new_comparison(c->db, title, error, sizeof error);
	bool ok = group >= 0;
	for (unsigned i = 0; ok && i < c->main_runners; i++)
		if (run_wanted(c, &c->runner[i].result))
			ok = results_write(c->db, &c->runner[i].result, c->runner[i].config_text, group, error, sizeof error) >= 0;
	if (!ok)
		complain(STATUS_FAILED, "%s", error);
	return ok;
}

/* Fills in what only all runs together tell; then gives those that were asked for. Returns how many those are. */
static unsigned runs_collect(struct comparison *c, struct run_result *runs)
{
	unsigned n = 0;
	for (unsigned i = 0; i < c->main_runners; i++)
		runs[i] = c->runner[i].result;
	compare_fill(runs, c->main_runners);
	for (unsigned i = 0; i < c->main_runners; i++) {
		c->runner[i].result = runs[i];
		if (run_wanted(c, &c->runner[i].result))
			runs[n++] = c->runner[i].result;
	}
	return n;
}

/* The runs of --fit; NULL: out of memory, or none were made. */
static struct run_result *sizes_collect(const struct comparison *c)
{
	struct run_result *sizes = c->options->fit ? calloc(c->runners - c->main_runners + 1, sizeof *sizes) : NULL;
	for (unsigned i = c->main_runners; sizes && i < c->runners; i++)
		sizes[i - c->main_runners] = c->runner[i].result;
	return sizes;
}

static void comparison_print(const struct comparison *c, const struct run_result *runs, unsigned n)
{
	struct run_result *sizes = sizes_collect(c);
	unsigned sizes_n = sizes ? c->runners - c->main_runners : 0;
	if (c->options->json) {
		compare_print_json_fitted(stdout, runs, n, sizes, sizes_n);
	} else {
		compare_print(stdout, runs, n);
		compare_print_seeds(stdout, runs, n);
		if (sizes_n)
			compare_print_fit(stdout, sizes, sizes_n);
	}
	free(sizes);
}

static int comparison_show(struct comparison *c)
{
	struct run_result *runs = calloc(c->runners, sizeof *runs);
	if (!runs)
		return complain(STATUS_FAILED, "out of memory");
	unsigned n = runs_collect(c, runs);
	int status = comparison_store(c) ? STATUS_GOOD : STATUS_FAILED; /* first: a reader of standard output may leave early */
	comparison_print(c, runs, n);
	if (!status && !compare_good(runs, n))
		status = complain(STATUS_FAILED, "the runs are not all equivalent, or did not all end as they should: see \"equivalence\", \"resource control\" and the state hashes");
	free(runs);
	return status;
}

static int compare_config(struct comparison *c)
{
	int status = STATUS_FAILED;
	if (!techniques_choose(c))
		return STATUS_USAGE;
	if (!store_open(c->options, "results.db", &c->db))
		return STATUS_FAILED;
	if ((c->options->no_replay || traces_name(c)) && comparison_run(c))
		status = comparison_show(c);
	else if (c->refused)
		status = STATUS_USAGE;
	results_close(c->db);
	traces_remove(c);
	runners_free(c);
	return status;
}

static int config_print(const struct config *c)
{
	char *text = config_text(c);
	int status = text && fputs(text, stdout) >= 0 ? STATUS_GOOD : STATUS_FAILED;
	free(text);
	return status;
}

int cmd_compare(int argc, char **argv)
{
	struct options o;
	struct config config;
	int status = options_parse(&o, COMPARE, 1, argc, argv);
	if (status < 0 && !options_config(&o, o.operand[0], &config))
		status = STATUS_USAGE;
	if (status < 0) {
		struct comparison c = { .options = &o, .config = &config };
		status = o.print_config ? config_print(&config) : compare_config(&c);
	}
	options_destroy(&o);
	return status;
}
