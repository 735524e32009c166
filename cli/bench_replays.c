/*
 * Replays that are benched: a program and GUPS, recorded once and replayed with the modelled TLBs and page walks.
 * The program is one of our own 64-bit kernel's, with system calls and page faults as real programs have.
 */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct replay {
	const char *kernel, *what, *technique; /* technique: of the replay; recordings are native */
	const char *trace;
	const char *const record[6];           /* arguments of `ringside trace record`; %s: the directory of bench kernels */
} replays[] = { /* ORDER REPLAY, then the empty one, which is start-up */
	{ "sort", "replay of the program `sort`, TLBs and walks", "native", "program.trace", { "--workload", "sort", "--set", "cmdline=notimer init=sort n=400000" } },
	{ "gups256", "replay of gups256 under nested-ept, TLBs and walks", "nested-ept", "gups.trace", { "--set", "kernel=%s/gups256.elf", "--set", "machine.memory=512M" } },
	{ "empty", "", "", "empty.trace", { "--set", "kernel=%s/empty.elf", "--set", "machine.memory=512M" } },
};

const char *bench_replay_kernel(enum bench_replay r) { return replays[r].kernel; }
const char *bench_replay_what(enum bench_replay r) { return replays[r].what; }

static enum bench_end program_run(const char *const *argument, const char *output, struct bench_usage *u)
{
	enum bench_end end = bench_process_run(&(struct bench_task){ .argument = argument, .output = output }, u);
	return end == BENCH_GOOD && u->status ? BENCH_BAD : end;
}

/* Recorded with the TLBs modelled: a replay under the same technique then checks that every statistic comes out as recorded. */
static enum bench_end replay_record(const struct replay *r, const struct bench_place *p, const char *trace)
{
	char text[6][700];
	struct bench_usage u;
	const char *argument[16] = { p->self, "trace", "record", "--set", "machine.core=tlb", "--output", trace };
	if (!access(trace, R_OK))
		return BENCH_GOOD;
	for (unsigned i = 0; i < 6 && r->record[i]; i++) {
		const char *hole = strstr(r->record[i], "%s");
		snprintf(text[i], sizeof text[i], "%.*s%s%s", hole ? (int)(hole - r->record[i]) : 0, r->record[i], hole ? p->images : "", hole ? hole + 2 : r->record[i]);
		argument[7 + i] = text[i];
	}
	return program_run(argument, NULL, &u);
}

/* The number behind a key of JSON; NAN: there is none. */
static double number_find(const char *path, const char *key)
{
	char line[256], *at = NULL;
	FILE *f = fopen(path, "r");
	while (f && !at && fgets(line, sizeof line, f))
		at = strstr(line, key);
	if (f)
		fclose(f);
	return at ? strtod(at + strlen(key), NULL) : NAN;
}

static enum bench_end replay_take(const struct replay *r, const char *technique, const struct bench_place *p, struct bench_speed *s)
{
	char trace[300], output[300];
	struct bench_usage u;
	snprintf(trace, sizeof trace, "%s/%s", p->scratch, r->trace);
	snprintf(output, sizeof output, "%s/output", p->scratch);
	const char *const argument[] = { p->self, "trace", "replay", trace, "--technique", technique, "--json", NULL };
	enum bench_end end = replay_record(r, p, trace);
	if (end == BENCH_GOOD)
		end = program_run(argument, output, &u);
	if (end == BENCH_GOOD)
		*s = (struct bench_speed){ number_find(output, "\"references\": "), u.user };
	return end;
}

enum bench_end bench_replay_run(enum bench_replay which, const struct bench_place *p, struct bench_speed *speed)
{
	struct bench_speed start;
	enum bench_end end = replay_take(&replays[REPLAYS], replays[which].technique, p, &start);
	if (end == BENCH_GOOD)
		end = replay_take(&replays[which], replays[which].technique, p, speed);
	if (end == BENCH_GOOD)
		speed->seconds -= start.seconds;
	return end;
}
