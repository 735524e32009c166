/*
 * Sampled simulation: the schedule of phases, the flow of time where no model keeps it, and the estimates.
 *
 * Invariant: phases change between batches, at the first block boundary at or after an instruction count, with the events drained; so a sampled run is the same whatever the buffer, the
 * batch and the engine are. The guest runs through every instruction: what is sampled is only what the models see.
 *
 *   | head      | unit 0                                   | unit 1                                   | ...
 *   | measured  | skip ............ | warm-up | window | ..skip......... | warm-up | window | ...        window k begins at head + offset + k * interval
 *
 * Time in a skip flows as in the last window: its cycles an instruction, without idle time, which is known. Before the first window an instruction takes preset.milli_cpi.
 *
 * Estimates are ratios (Cochran, Sampling Techniques, 3rd ed., 1977, chapter 6): the sum over windows of what was counted, by that of their instructions, because windows end at block
 * boundaries and the last one with the run. The head is a stratum that is known, not estimated. Standard error: of the residuals of the windows from that ratio, with the finite population correction (section 2.6).
 */
#include "machine_private.h"
#include "../isa/block.h"
#include <math.h>
#include <stdlib.h>

enum phase { PHASE_SKIP, PHASE_WARM, PHASE_MEASURE };
__extension__ typedef __int128 wide; /* sums of squares and products, exactly */

#define SERIES (1 + CAUSES + TIMING_STATS) /* what gets a standard error: all cycles but idle ones, each cause, each statistic */
struct series { wide sum, squares, products /* with the window's instructions */, head; };
struct part { wide sum, head; };

struct sampling {
	struct sampling_config config;
	uint64_t offset;             /* of the first window, behind the head */
	bool in_head;                /* the present window is the head */
	uint64_t head;               /* its instructions */
	enum phase phase;
	uint64_t begin, until;       /* instruction counts: of the phase's begin, and when it is over */
	uint64_t next;               /* where the next window begins */
	/* time */
	uint64_t ahead;              /* cycles that skips took: virtual time is the models' and these */
	uint64_t skip_time, skip_idle; /* when the skip began: virtual time, and cycles halted so far */
	uint64_t rate_cycles, rate_instructions; /* of the last window */
	/* windows */
	uint64_t windows, measured, warmed, skips; /* without the head */
	uint64_t warmed_cycles, busy; /* of all warm-ups; when the present one began */
	wide instructions_squares;
	wide cubes[4];               /* of a window's cycles y and instructions x, summed: yyy, yyx, yxx, xxx */
	struct series series[SERIES];
	struct part exit[TIMING_EXITS][2], work[TIMING_EXITS]; /* transition and handler cycles by reason; VMM cycles by kind */
	struct timing_snapshot at, end; /* of the present window */
};

/* ---- making ---- */

static const char *config_wrong(const struct machine_config *c, bool keeps_time)
{
	const struct sampling_config *s = &c->sampling;
	if (!keeps_time)
		return "machine.core: sampling estimates cycles: give a core that keeps time (ringside list core-models)";
	if (c->replay)
		return "sampling.on: sampling skips what a replay must see: set it to false";
	if (!s->window || s->window > s->interval)
		return "sampling.window: give from 1 to sampling.interval instructions";
	if (s->interval > 1ull << 40 || s->warmup > 1ull << 40 || s->head > 1ull << 40)
		return "sampling.interval, sampling.warmup and sampling.head: give at most 2^40 instructions";
	return NULL;
}

bool sampling_create(struct machine *m, char *error, size_t error_size)
{
	const struct sampling_config *c = &m->config.sampling;
	if (!c->on)
		return true;
	const char *wrong = config_wrong(&m->config, m->keeps_time);
	if (wrong)
		return snprintf(error, error_size, "%s", wrong), false;
	struct sampling *s = m->sampling = calloc(1, sizeof *s);
	if (!s)
		return snprintf(error, error_size, "out of memory"), false;
	s->config = *c;
	s->offset = hash_word(hash_start(), c->seed) % (c->interval - c->window + 1); /* the first window lies in the first interval */
	s->next = c->head + s->offset;
	s->rate_cycles = m->config.preset.milli_cpi ? m->config.preset.milli_cpi : 1000;
	s->rate_instructions = 1000;
	s->phase = PHASE_WARM; /* of no instructions: the first step leaves it */
	m->cpu.blocks->numbered = true;
	return true;
}

void sampling_destroy(struct machine *m)
{
	free(m->sampling);
}

/* ---- time ---- */

static uint64_t cycles_of(const struct sampling *s, uint64_t instructions)
{
	return (uint64_t)((wide)instructions * s->rate_cycles / s->rate_instructions);
}

uint64_t sampling_now(const struct machine *m)
{
	const struct sampling *s = m->sampling;
	if (s->phase != PHASE_SKIP)
		return timing_now(m->timing) + s->ahead;
	return s->skip_time + cycles_of(s, m->cpu.icount - s->begin) + (m->idle - s->skip_idle);
}

uint64_t sampling_left(const struct machine *m)
{
	const struct sampling *s = m->sampling;
	return s->until > m->cpu.icount ? s->until - m->cpu.icount : 1;
}

uint64_t sampling_reach(const struct machine *m, uint64_t cycles)
{
	const struct sampling *s = m->sampling;
	if (s->phase != PHASE_SKIP)
		return cycles / timing_worst_block(m->timing);
	wide n = (wide)cycles * s->rate_instructions / s->rate_cycles;
	return n > INT64_MAX ? INT64_MAX : (uint64_t)n;
}

/* ---- windows ---- */

static uint64_t busy_cycles(const struct machine *m)
{
	return timing_now(m->timing) - timing_cause(m->timing, CAUSE_IDLE);
}

static void part_add(struct part *p, bool head, uint64_t now, uint64_t before)
{
	*(head ? &p->head : &p->sum) += (int64_t)(now - before);
}

/* Counts may be negative: an exit takes back what was charged just before the window. */
static void series_add(struct sampling *s, unsigned i, int64_t count, uint64_t instructions)
{
	struct series *r = &s->series[i];
	if (s->in_head) {
		r->head += count;
		return;
	}
	r->sum += count;
	r->squares += (wide)count * count;
	r->products += (wide)count * (int64_t)instructions;
}

static void window_count(struct sampling *s, int64_t busy, uint64_t instructions)
{
	wide y = busy, x = (int64_t)instructions;
	if (s->in_head) {
		s->head += instructions;
		return;
	}
	s->windows++;
	s->measured += instructions;
	s->instructions_squares += x * x;
	s->cubes[0] += y * y * y;
	s->cubes[1] += y * y * x;
	s->cubes[2] += y * x * x;
	s->cubes[3] += x * x * x;
}

static void window_end(struct machine *m, uint64_t instructions)
{
	struct sampling *s = m->sampling;
	int64_t busy = 0;
	if (!instructions)
		return;
	timing_snapshot_take(m->timing, &s->end);
	for (unsigned c = 0; c < CAUSES; c++) {
		int64_t cycles = (int64_t)(s->end.cause[c] - s->at.cause[c]);
		busy += c == CAUSE_IDLE ? 0 : cycles;
		series_add(s, 1 + c, cycles, instructions);
	}
	series_add(s, 0, busy, instructions);
	for (unsigned i = 0; i < s->end.stats; i++)
		series_add(s, 1 + CAUSES + i, (int64_t)(s->end.stat[i] - s->at.stat[i]), instructions);
	for (unsigned i = 0; i < TIMING_EXITS; i++) {
		part_add(&s->exit[i][0], s->in_head, s->end.exit[i].transition_cycles, s->at.exit[i].transition_cycles);
		part_add(&s->exit[i][1], s->in_head, s->end.exit[i].handler_cycles, s->at.exit[i].handler_cycles);
		part_add(&s->work[i], s->in_head, s->end.work[i], s->at.work[i]);
	}
	window_count(s, busy, instructions);
	s->rate_cycles = busy > 0 ? (uint64_t)busy : 1;
	s->rate_instructions = instructions;
}

/* ---- phases ---- */

static void phase_end(struct machine *m)
{
	struct sampling *s = m->sampling;
	uint64_t instructions = m->cpu.icount - s->begin;
	event_drain(&m->events);
	if (s->phase == PHASE_SKIP) {
		s->ahead = sampling_now(m) - timing_now(m->timing);
		event_sink_listen(&m->events, true);
		timing_resync(m->timing);
	} else if (s->phase == PHASE_WARM) {
		s->warmed += instructions;
		s->warmed_cycles += busy_cycles(m) - s->busy;
	} else {
		window_end(m, instructions);
	}
}

static void phase_begin(struct machine *m, enum phase phase, uint64_t until)
{
	struct sampling *s = m->sampling;
	if (phase == PHASE_SKIP) {
		s->skip_time = sampling_now(m);
		s->skip_idle = m->idle;
		s->skips++;
		event_sink_listen(&m->events, false);
	} else if (phase == PHASE_MEASURE) {
		if (m->cpu.icount)
			timing_snapshot_take(m->timing, &s->at);
		else
			memset(&s->at, 0, sizeof s->at); /* what loading took belongs to the run */
		s->next += s->in_head ? 0 : s->config.interval;
	} else {
		s->busy = busy_cycles(m);
	}
	s->phase = phase;
	s->begin = m->cpu.icount;
	s->until = until;
}

void sampling_step(struct machine *m)
{
	struct sampling *s = m->sampling;
	uint64_t now = m->cpu.icount, warm = s->next > s->config.warmup ? s->next - s->config.warmup : 0;
	if (now < s->until)
		return;
	phase_end(m);
	s->in_head = now < s->config.head;
	if (s->in_head)
		phase_begin(m, PHASE_MEASURE, s->config.head);
	else if (now >= s->next)
		phase_begin(m, PHASE_MEASURE, s->next + s->config.window);
	else if (now >= warm)
		phase_begin(m, PHASE_WARM, s->next);
	else
		phase_begin(m, PHASE_SKIP, warm);
}

void sampling_finish(struct machine *m)
{
	phase_end(m);
	phase_begin(m, PHASE_WARM, UINT64_MAX); /* asked again, time stands where it stood */
}

/* ---- estimates ---- */

static uint64_t behind_head(const struct machine *m)
{
	return m->cpu.icount > m->sampling->head ? m->cpu.icount - m->sampling->head : 0;
}

/* A sum over head and windows as one over the run, rounded; nothing is less than nothing. */
static uint64_t whole_run(const struct machine *m, wide head, wide sum)
{
	const struct sampling *s = m->sampling;
	wide rest = s->measured && sum > 0 ? (sum * (wide)behind_head(m) + s->measured / 2) / s->measured : 0;
	return head + rest > 0 ? (uint64_t)(head + rest) : 0;
}

static uint64_t part_whole(const struct machine *m, const struct part *p)
{
	return whole_run(m, p->head, p->sum);
}

/* Of the squares of the windows' residuals from the ratio. */
static long double residual_squares(const struct sampling *s, const struct series *r)
{
	long double ratio = (long double)r->sum / s->measured;
	long double sum = (long double)r->squares - 2 * ratio * (long double)r->products + ratio * ratio * (long double)s->instructions_squares;
	return sum > 0 ? sum : 0;
}

/* Third moment of the residuals over the 3/2nd power of the second. */
static double skewness(const struct sampling *s)
{
	long double squares = s->windows > 1 ? residual_squares(s, &s->series[0]) : 0, n = s->windows;
	if (squares <= 0)
		return 0;
	long double q = (long double)s->series[0].sum / s->measured;
	long double cubes = (long double)s->cubes[0] - 3 * q * (long double)s->cubes[1] + 3 * q * q * (long double)s->cubes[2] - q * q * q * (long double)s->cubes[3];
	return (double)(cubes / n / powl(squares / n, 1.5L));
}

/* NaN: not known. */
static double standard_error(const struct machine *m, const struct series *r)
{
	const struct sampling *s = m->sampling;
	long double x = s->measured, n = s->windows, rest = behind_head(m), all = m->cpu.icount;
	if (s->measured >= behind_head(m))
		return 0;
	if (s->windows < 2)
		return (double)NAN;
	long double variance = residual_squares(s, r) / (n - 1);
	return (double)(sqrtl(n * variance * (1 - x / rest)) / x * (rest / all));
}

static void estimate_add(const struct machine *m, struct result_sampling *out, const char *prefix, const char *name, const struct series *r)
{
	const struct sampling *s = m->sampling;
	if ((!r->sum && !r->head) || !(s->measured || s->head))
		return;
	struct result_estimate *e = &out->estimate[out->estimates++];
	long double rest = s->measured ? (long double)r->sum / s->measured * behind_head(m) : 0;
	snprintf(e->name, sizeof e->name, "%s%s", prefix, name);
	e->mean = (double)(((long double)r->head + rest) / m->cpu.icount);
	e->error = standard_error(m, r);
}

static void stats_fill(const struct machine *m, struct run_result *r)
{
	const struct sampling *s = m->sampling;
	const char *name;
	uint64_t value;
	for (unsigned i = 0; i < TIMING_STATS && r->stats < RESULT_METRICS && timing_stat(m->timing, i, &name, &value); i++) {
		const struct series *v = &s->series[1 + CAUSES + i];
		struct result_metric *out = &r->stat[r->stats++];
		snprintf(out->name, sizeof out->name, "%s", name);
		out->value = whole_run(m, v->head, v->sum);
		estimate_add(m, &r->sampling, "", name, v);
	}
}

void sampling_fill(const struct machine *m, struct run_result *r)
{
	const struct sampling *s = m->sampling;
	const struct sampling_config *c = &s->config;
	r->sampling = (struct result_sampling){ .on = true, .interval = c->interval, .warmup = c->warmup, .window = c->window, .head = c->head, .seed = c->seed, .offset = s->offset, .windows = s->windows,
		.measured = s->measured + s->head, .warmed = s->warmed, .skips = s->skips, .warmed_cycles = s->warmed_cycles, .idle = m->idle, .skewness = skewness(s) };
	estimate_add(m, &r->sampling, "", "cycles", &s->series[0]);
	for (unsigned k = 0; k < CAUSES; k++) {
		r->by_cause[k] = k == CAUSE_IDLE ? m->idle : whole_run(m, s->series[1 + k].head, s->series[1 + k].sum);
		r->cycles += r->by_cause[k];
		if (k != CAUSE_IDLE)
			estimate_add(m, &r->sampling, "cause.", cause_name(k), &s->series[1 + k]);
	}
	for (unsigned w = 0; w < VMM_WORKS; w++) {
		uint64_t cycles = part_whole(m, &s->work[w]);
		if (!cycles)
			continue;
		snprintf(r->work[r->works].name, sizeof r->work->name, "%s", vmm_work_name(w));
		r->work[r->works++].value = cycles;
	}
	stats_fill(m, r);
}

struct exit_account sampling_exit(const struct machine *m, unsigned reason)
{
	const struct sampling *s = m->sampling;
	return (struct exit_account){ m->vmm.stats.exits[reason], part_whole(m, &s->exit[reason][0]), part_whole(m, &s->exit[reason][1]) };
}
