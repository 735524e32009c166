/* ringside bench: guest speed by engine, model and technique, beside Debian's Bochs and QEMU on the same Multiboot images, as ratios in one run, and what limits it. */
#include "bench.h"
#include "options.h"
#include "../analysis/bench_results.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RUNS_DEFAULT 3
#define QUICK_ROUND 240 /* seconds of real time: --quick promises five minutes, and begins a turn only when it should end by then */
#define QUICK_END 290   /* what did not begin by then is left out */
#define REPEATS 4       /* processes, of whose times the mean is taken where start-up is most of it */

/* ---- measuring ---- */

static void progress_show(const struct bench *b, unsigned run, const char *what, const char *who)
{
	if (b->progress)
		fprintf(stderr, "\r[run %u of %u]  %s  %s\033[K", run + 1, b->runs, what, who);
}

static double seconds_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Whether one more run may begin. */
static bool time_left(struct bench *b)
{
	bool left = !b->quick || seconds_now() - b->start < QUICK_END;
	b->late |= !left;
	return left;
}

/* What is subtracted must not decide: start-up, and what takes less than twice as long, is measured several times. */
static bool sample_again(const struct bench *b, unsigned k, enum bench_contestant c, unsigned run)
{
	return k == BENCH_EMPTY || b->sample[k][c][run].seconds < 2 * b->sample[BENCH_EMPTY][c][run].seconds;
}

static enum bench_end sample_repeat(struct bench *b, unsigned k, enum bench_contestant c, unsigned run)
{
	struct bench_sample *s = &b->sample[k][c][run], more;
	enum bench_end end = bench_contestant_run(c, &b->place, &bench_kernels[k], s);
	double sum = s->seconds;
	for (unsigned n = 1; end == BENCH_GOOD && n < REPEATS && sample_again(b, k, c, run) && time_left(b); s->seconds = sum / ++n)
		if ((end = bench_contestant_run(c, &b->place, &bench_kernels[k], &more)) == BENCH_GOOD)
			sum += more.seconds;
	return end;
}

static bool sample_take(struct bench *b, unsigned k, enum bench_contestant c, unsigned run)
{
	struct bench_sample *s = &b->sample[k][c][run];
	*s = (struct bench_sample){ NAN, NAN, NAN };
	if (!bench_takes_part(b, c) || !bench_contestant_present(c) || !time_left(b))
		return true;
	progress_show(b, run, bench_kernels[k].name, bench_contestant_name(c));
	enum bench_end end = sample_repeat(b, k, c, run);
	if (end == BENCH_BAD)
		complain(STATUS_FAILED, "%s did not run %s to its right end: left out", bench_contestant_name(c), bench_kernels[k].file);
	if (end != BENCH_GOOD)
		s->seconds = NAN;
	return end != BENCH_INTERRUPTED;
}

static bool replays_take(struct bench *b, unsigned run)
{
	enum bench_end end = BENCH_GOOD;
	for (unsigned r = 0; end != BENCH_INTERRUPTED && r < REPLAYS; r++) {
		b->replay[r][run] = (struct bench_speed){ NAN, NAN };
		if (!b->chosen[bench_kernel_find(bench_replay_kernel(r))] || !time_left(b))
			continue;
		progress_show(b, run, bench_replay_what(r), "");
		end = bench_replay_run(r, &b->place, &b->replay[r][run]);
		if (end == BENCH_BAD)
			complain(STATUS_FAILED, "%s failed: left out", bench_replay_what(r));
	}
	return end != BENCH_INTERRUPTED;
}

static bool scaling_take(struct bench *b, unsigned run)
{
	b->scaling[run] = NAN;
	if (!b->chosen[bench_kernel_find(BENCH_SCALING_KERNEL)] || !time_left(b))
		return true;
	progress_show(b, run, "two machines", "");
	enum bench_end end = bench_scaling_run(&b->place, &b->scaling[run]);
	if (end == BENCH_BAD)
		complain(STATUS_FAILED, "two machines side by side failed: left out");
	return end != BENCH_INTERRUPTED;
}

/* A turn that was cut short counts only when there is no other. */
static void turns_end(struct bench *b, unsigned run)
{
	b->runs = b->late && run ? run : run + 1;
	b->late &= run == 0;
}

/* Everyone on every kernel in turn, so that what else the computer does meets all alike. A quick bench has fewer turns when there is no time for more. False: interrupted. */
static bool samples_take(struct bench *b)
{
	bool go = true;
	b->start = seconds_now();
	for (unsigned run = 0; go && run < b->runs; run++) {
		for (unsigned k = 0; go && k < bench_kernel_count; k++)
			for (unsigned c = 0; go && b->chosen[k] && c < CONTESTANTS; c++)
				go = sample_take(b, k, c, run);
		go = go && replays_take(b, run) && scaling_take(b, run);
		if (b->quick && (seconds_now() - b->start) * (run + 2) / (run + 1) > QUICK_ROUND)
			turns_end(b, run);
	}
	if (b->progress)
		fprintf(stderr, "\r\033[K");
	return go;
}

static void versions_fill(struct bench *b)
{
	for (unsigned c = 0; c < CONTESTANTS; c++)
		if (c < CONTEST_OURS)
			snprintf(b->version[c], sizeof b->version[c], "ringside %s", results_program_version());
		else if (b->peers)
			bench_contestant_version(c, &b->place, b->version[c], sizeof b->version[c]);
}

/* ---- the command ---- */

static bool bench_store(const struct bench *b, struct results_db *db)
{
	struct bench_row rows[BENCH_KERNELS_MOST * CONTESTANTS];
	struct bench_aim_row aims[32];
	char error[640];
	unsigned n = 0, m = 0;
	for (unsigned k = 0; k < bench_kernel_count; k++)
		for (unsigned c = 0; bench_counts(b, k) && c < CONTESTANTS; c++)
			if (bench_takes_part(b, c))
				rows[n++] = (struct bench_row){ bench_kernels[k].name, bench_contestant_name(c), b->version[c], bench_kernels[k].instructions, b->runs, b->seconds[k][c],
					bench_ratio(b, k, c, CONTEST_BOCHS), bench_ratio(b, k, c, CONTEST_QEMU) };
	for (; m < bench_aim_count() && m < sizeof aims / sizeof *aims; m++) {
		struct bench_aim a = bench_aim_of(b, m);
		aims[m] = (struct bench_aim_row){ a.name, a.unit, a.kernel, a.aim, a.at_most, a.value, bench_aim_met(&a) };
	}
	bool ok = bench_results_write(db, rows, n, aims, m, error, sizeof error);
	if (!ok)
		complain(STATUS_FAILED, "%s", error);
	return ok;
}

static const char *kernel_choice(unsigned i) { return i < bench_kernel_count ? bench_kernels[i].name : NULL; }

/* "A,B,..." or NULL for all. */
static int kernels_choose(struct bench *b, const char *list)
{
	for (unsigned k = 0; k < bench_kernel_count; k++)
		b->chosen[k] = !list || k == BENCH_EMPTY;
	for (const char *at = list; at && *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
		char word[32];
		snprintf(word, sizeof word, "%.*s", (int)strcspn(at, ","), at);
		unsigned k = bench_kernel_find(word);
		if (k == bench_kernel_count) {
			const char *near = nearest_word(word, kernel_choice);
			return complain(STATUS_USAGE, "--kernels: there is no \"%s\"%s%s; ringside list bench shows all", word, near ? ", the nearest is " : "", near ? near : "");
		}
		b->chosen[k] = true;
	}
	return -1;
}

static bool ringside_ran(const struct bench *b)
{
	for (unsigned k = 0; k < bench_kernel_count; k++)
		for (unsigned c = 0; b->chosen[k] && c < CONTEST_OURS; c++)
			if (isnan(b->seconds[k][c]))
				return false;
	return true;
}

static int bench_run(struct bench *b, const struct options *o, struct results_db *db)
{
	char error[640];
	if (!bench_place_create(&b->place, error, sizeof error))
		return complain(STATUS_FAILED, "%s", error);
	for (unsigned c = CONTEST_OURS; b->peers && c < CONTESTANTS; c++)
		if (!bench_contestant_present(c))
			complain(STATUS_GOOD, "%s is not there: its figures and aims are left out; apt-get install %s", bench_contestant_name(c), bench_contestant_package(c));
	bool whole = samples_take(b);
	if (whole) {
		bench_medians_fill(b);
		versions_fill(b);
	}
	bench_place_destroy(&b->place);
	if (!whole)
		return complain(STATUS_FAILED, "interrupted");
	if (b->late)
		complain(STATUS_FAILED, "this computer is too slow or too busy for --quick: what had not begun in time is left out; choose --kernels, or run without --quick");
	(o->json ? bench_print_json : bench_print)(b);
	if (db && !bench_store(b, db))
		return STATUS_FAILED;
	return ringside_ran(b) ? STATUS_GOOD : STATUS_FAILED;
}

int cmd_bench(int argc, char **argv)
{
	struct bench *b = calloc(1, sizeof *b);
	struct results_db *db = NULL;
	struct options o;
	int status = options_parse(&o, BENCHES, 0, argc, argv);
	if (!b)
		status = complain(STATUS_FAILED, "out of memory");
	if (status < 0)
		status = kernels_choose(b, o.kernels);
	if (status < 0 && !store_open(&o, NULL, &db))
		status = STATUS_FAILED;
	if (status < 0) {
		b->runs = o.runs ? o.runs : RUNS_DEFAULT;
		b->peers = o.peers;
		b->quick = o.quick;
		b->progress = o.progress || isatty(STDERR_FILENO);
		status = bench_run(b, &o, db);
	}
	results_close(db);
	options_destroy(&o);
	free(b);
	return status;
}
