/*
 * Progress of long runs on standard error: one line, overwritten.
 *
 * Invariant: it is fed by instruction counts, and writes only when it has been asked to or standard error is a terminal; it changes no result. Several threads may feed it.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_RUNS 64
struct progress {
	bool on;
	pthread_mutex_t lock;
	unsigned runs;                    /* that there are, for "3 of 10" */
	unsigned done;
	struct { const char *name; uint64_t instructions; bool active; } run[PROGRESS_RUNS];
	uint64_t shown;                   /* total instructions at the last line */
};
struct progress_run { struct progress *progress; unsigned slot; };

void progress_create(struct progress *p, bool asked, unsigned runs);
/* A run begins; its machine gets progress_tick() and the returned handle. */
struct progress_run progress_begin(struct progress *p, const char *name);
void progress_end(struct progress_run *r);
/* machine_progress: self is a struct progress_run. */
bool progress_tick(void *self, uint64_t instructions);
/* Wipes the line. */
void progress_destroy(struct progress *p);
#endif
