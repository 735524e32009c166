/* Progress on standard error. */
#include "progress.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_STEP 5000000u /* instructions between two lines */

void progress_create(struct progress *p, bool asked, unsigned runs)
{
	memset(p, 0, sizeof *p);
	pthread_mutex_init(&p->lock, NULL);
	p->on = asked || isatty(STDERR_FILENO);
	p->runs = runs;
}

static void progress_show(struct progress *p)
{
	char line[200];
	size_t at = (size_t)snprintf(line, sizeof line, "\r[%u of %u]", p->done, p->runs);
	for (unsigned i = 0; i < PROGRESS_RUNS && at < sizeof line - 60; i++)
		if (p->run[i].active)
			at += (size_t)snprintf(line + at, sizeof line - at, "  %s %llu M", p->run[i].name, (unsigned long long)(p->run[i].instructions / 1000000));
	fprintf(stderr, "%s instructions\033[K", line);
	fflush(stderr);
}

struct progress_run progress_begin(struct progress *p, const char *name)
{
	struct progress_run r = { p, 0 };
	pthread_mutex_lock(&p->lock);
	while (r.slot < PROGRESS_RUNS - 1 && p->run[r.slot].active)
		r.slot++;
	p->run[r.slot].active = true;
	p->run[r.slot].name = name;
	p->run[r.slot].instructions = 0;
	if (p->on)
		progress_show(p);
	pthread_mutex_unlock(&p->lock);
	return r;
}

void progress_end(struct progress_run *r)
{
	struct progress *p = r->progress;
	pthread_mutex_lock(&p->lock);
	p->run[r->slot].active = false;
	p->done++;
	if (p->on)
		progress_show(p);
	pthread_mutex_unlock(&p->lock);
}

bool progress_tick(void *self, uint64_t instructions)
{
	struct progress_run *r = self;
	struct progress *p = r->progress;
	uint64_t total = 0;
	if (!p->on)
		return true;
	pthread_mutex_lock(&p->lock);
	p->run[r->slot].instructions = instructions;
	for (unsigned i = 0; i < PROGRESS_RUNS; i++)
		total += p->run[i].active ? p->run[i].instructions : 0;
	if (total > p->shown + PROGRESS_STEP || total < p->shown) {
		p->shown = total;
		progress_show(p);
	}
	pthread_mutex_unlock(&p->lock);
	return true;
}

void progress_destroy(struct progress *p)
{
	if (p->on)
		fprintf(stderr, "\r\033[K");
	pthread_mutex_destroy(&p->lock);
}
