/* Two machines side by side: whether a sweep of runs is twice as fast on two processors. Real time counts here, for once. */
#include "bench.h"
#include "config.h"
#include "runner.h"
#include <stdlib.h>
#include <unistd.h>

#define SIDES 2

struct side { pthread_t thread; struct runner *runner; bool good; };

static void *side_run(void *self)
{
	struct side *s = self;
	s->good = runner_run(s->runner) && s->runner->result.end == END_EXIT && s->runner->result.exit_code == 0;
	return NULL;
}

static bool side_prepare(struct side *s, const struct bench_place *p, struct progress *quiet)
{
	struct machine_config *c;
	s->runner = calloc(1, sizeof *s->runner);
	if (!s->runner)
		return false;
	c = &s->runner->config;
	s->runner->config_text = "";
	s->runner->progress = quiet;
	machine_config_default(c);
	snprintf(c->engine, sizeof c->engine, "dbt");
	snprintf(c->kernel, sizeof c->kernel, "%.400s/%s", p->images, bench_kernels[bench_kernel_find(BENCH_SCALING_KERNEL)].file);
	return true;
}

struct sides { const struct bench_place *place; bool threads; };

/* In a process of its own. */
static int sides_run(void *self)
{
	const struct sides *how = self;
	struct side side[SIDES] = { 0 };
	struct progress quiet;
	bool good = true;
	progress_create(&quiet, false, SIDES);
	for (unsigned i = 0; i < SIDES; i++)
		good = good && side_prepare(&side[i], how->place, &quiet);
	for (unsigned i = 0; good && i < SIDES; i++)
		how->threads ? (void)(good = !pthread_create(&side[i].thread, NULL, side_run, &side[i])) : (void)side_run(&side[i]);
	for (unsigned i = 0; good && i < SIDES; i++) {
		if (how->threads)
			pthread_join(side[i].thread, NULL);
		good = side[i].good;
	}
	return !good;
}

static enum bench_end sides_time(const struct bench_place *p, bool threads, double *seconds)
{
	struct sides how = { p, threads };
	struct bench_usage u;
	enum bench_end end = bench_process_run(&(struct bench_task){ .body = sides_run, .self = &how }, &u);
	*seconds = u.real;
	return end == BENCH_GOOD && u.status ? BENCH_BAD : end;
}

enum bench_end bench_scaling_run(const struct bench_place *p, double *times)
{
	double turn, beside;
	*times = NAN;
	if (sysconf(_SC_NPROCESSORS_ONLN) < SIDES)
		return BENCH_GOOD;
	enum bench_end end = sides_time(p, false, &turn);
	if (end == BENCH_GOOD)
		end = sides_time(p, true, &beside);
	if (end == BENCH_GOOD)
		*times = turn / beside;
	return end;
}
