/*
 * One run from configuration to result, live or from a trace.
 *
 * Invariant: a runner owns its machine from creation to destruction, and shares nothing with other runners: they may run on threads.
 */
#ifndef CLI_RUNNER_H
#define CLI_RUNNER_H
#include "../traces/trace.h"
#include "progress.h"
#include <stdio.h>

struct runner {
	struct machine_config config;
	const char *config_text;     /* effective configuration, stored in traces */
	const char *record;          /* path of a trace to write; NULL: none */
	const char *replay;          /* path of a trace to run instead of the guest; NULL: execution */
	struct progress *progress;
	FILE *console;               /* where the guest's output goes; NULL: nowhere */
	struct run_result result;
	bool ok;
	bool refused;                /* the machine cannot be made as it is configured: a usage error */
	char error[640];
};
/* Fills result; ok and error. Returns ok. */
bool runner_run(struct runner *r);
#endif
