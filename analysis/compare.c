/*
 * Comparisons as tables: techniques are columns, figures are rows.
 *
 * Invariant: every number printed comes from a run_result; the rows under "cycles by cause" add up to the row "cycles" of their column.
 */
#include "results.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME_WIDTH 34
#define CELL_WIDTH 19

/* ------------------------------------------------------------------ filling */
static const struct run_result *run_find(const struct run_result *runs, unsigned n, const char *technique, enum run_mode mode, const struct run_result *like)
{
	for (unsigned i = 0; i < n; i++)
		if (runs[i].mode == mode && !strcmp(runs[i].technique, technique) && runs[i].seed == like->seed && !strcmp(runs[i].workload, like->workload) && runs[i].width == like->width)
			return &runs[i];
	return NULL;
}

void compare_fill(struct run_result *runs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct run_result *r = &runs[i];
		const struct run_result *native = run_find(runs, n, techniques[TECHNIQUE_NATIVE].name, RUN_EXECUTION, r);
		const struct run_result *execution = run_find(runs, n, r->technique, RUN_EXECUTION, r);
		r->overhead = native && native->cycles ? (double)r->cycles / (double)native->cycles : 0;
		r->equivalence_known = native != NULL;
		r->equivalent = native && r->state_hash == native->state_hash && r->exit_code == native->exit_code && r->end == native->end;
		r->has_cycles_error = r->mode == RUN_REPLAY && execution && execution->cycles;
		r->cycles_error = r->has_cycles_error ? ((double)r->cycles - (double)execution->cycles) / (double)execution->cycles : 0;
	}
}

bool compare_good(const struct run_result *runs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if ((runs[i].equivalence_known && !runs[i].equivalent) || runs[i].resource_violations || (runs[i].end != END_EXIT && runs[i].end != END_TRACE))
			return false;
	return true;
}

/* ------------------------------------------------------------------ cells */
/* 1234567 as 1,234,567. */
static void number_format(char *to, size_t room, uint64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof digits, "%" PRIu64, value);
	size_t at = 0;
	for (int i = 0; i < n && at + 2 < room; i++) {
		if (i && (n - i) % 3 == 0)
			to[at++] = ',';
		to[at++] = digits[i];
	}
	to[at] = 0;
}

static void row_begin(FILE *out, unsigned indent, const char *name)
{
	fprintf(out, "%*s%-*s", (int)indent, "", NAME_WIDTH - (int)indent, name);
}

static void cell_text(FILE *out, const char *text)
{
	fprintf(out, "%*s", CELL_WIDTH, text);
}

static void cell_number(FILE *out, uint64_t value)
{
	char text[40];
	number_format(text, sizeof text, value);
	cell_text(out, text);
}

/* A part with its share of the whole: "12,345  3.1%". */
static void cell_share(FILE *out, uint64_t part, uint64_t whole)
{
	char text[40], full[64];
	number_format(text, sizeof text, part);
	if (whole && part)
		snprintf(full, sizeof full, "%s %5.1f%%", text, 100.0 * (double)part / (double)whole);
	else
		snprintf(full, sizeof full, "%s       ", part ? text : "-");
	cell_text(out, full);
}

static void cell_real(FILE *out, const char *format, double value)
{
	char text[40];
	snprintf(text, sizeof text, format, value);
	cell_text(out, text);
}

/* ------------------------------------------------------------------ rows */
struct set { const struct run_result *run[32]; unsigned n; }; /* the columns of one table */
#define SET_LIMIT (sizeof ((struct set *)0)->run / sizeof (struct run_result *))

static void row_numbers(FILE *out, const struct set *s, unsigned indent, const char *name, uint64_t (*get)(const struct run_result *r))
{
	row_begin(out, indent, name);
	for (unsigned i = 0; i < s->n; i++)
		cell_number(out, get(s->run[i]));
	fputc('\n', out);
}

static uint64_t get_instructions(const struct run_result *r) { return r->instructions; }
static uint64_t get_cycles(const struct run_result *r) { return r->cycles; }
static uint64_t get_violations(const struct run_result *r) { return r->resource_violations; }

static void row_overhead(FILE *out, const struct set *s)
{
	row_begin(out, 0, "overhead against native");
	for (unsigned i = 0; i < s->n; i++)
		s->run[i]->overhead > 0 ? cell_real(out, "%.3f", s->run[i]->overhead) : cell_text(out, "-");
	fputc('\n', out);
}

static void row_cause(FILE *out, const struct set *s, enum cause c)
{
	bool any = false;
	for (unsigned i = 0; i < s->n; i++)
		any |= s->run[i]->by_cause[c] != 0;
	if (!any)
		return;
	row_begin(out, 2, cause_text(c));
	for (unsigned i = 0; i < s->n; i++)
		cell_share(out, s->run[i]->by_cause[c], s->run[i]->cycles);
	fputc('\n', out);
}

static uint64_t exit_count(const struct run_result *r, const char *name, uint64_t *cycles)
{
	for (unsigned i = 0; i < r->exits; i++)
		if (!strcmp(r->exit[i].name, name)) {
			*cycles = r->exit[i].transition_cycles + r->exit[i].handler_cycles;
			return r->exit[i].count;
		}
	*cycles = 0;
	return 0;
}

static void row_exit(FILE *out, const struct set *s, enum exit_reason reason, bool with_cycles)
{
	const char *name = exit_reason_name(reason);
	uint64_t cycles, any = 0;
	for (unsigned i = 0; i < s->n; i++)
		any |= exit_count(s->run[i], name, &cycles);
	if (!any)
		return;
	row_begin(out, 2, exit_reason_text(reason));
	for (unsigned i = 0; i < s->n; i++) {
		uint64_t count = exit_count(s->run[i], name, &cycles);
		if (!with_cycles)
			cell_share(out, count, 0);
		else
			cell_share(out, cycles, s->run[i]->cycles);
	}
	fputc('\n', out);
}

static uint64_t work_cycles(const struct run_result *r, const char *name)
{
	for (unsigned i = 0; i < r->works; i++)
		if (!strcmp(r->work[i].name, name))
			return r->work[i].value;
	return 0;
}

static void row_work(FILE *out, const struct set *s, enum vmm_work w)
{
	uint64_t any = 0;
	for (unsigned i = 0; i < s->n; i++)
		any |= work_cycles(s->run[i], vmm_work_name(w));
	if (!any)
		return;
	row_begin(out, 2, vmm_work_name(w));
	for (unsigned i = 0; i < s->n; i++)
		cell_share(out, work_cycles(s->run[i], vmm_work_name(w)), s->run[i]->cycles);
	fputc('\n', out);
}

static void row_stat(FILE *out, const struct set *s, const char *label, const char *name)
{
	row_begin(out, 2, label);
	for (unsigned i = 0; i < s->n; i++)
		cell_number(out, result_stat(s->run[i], name));
	fputc('\n', out);
}

static void head_print(FILE *out, const struct set *s, const char *title)
{
	row_begin(out, 0, title);
	for (unsigned i = 0; i < s->n; i++)
		cell_text(out, s->run[i]->technique);
	fputc('\n', out);
	for (unsigned i = 0; i < NAME_WIDTH + CELL_WIDTH * s->n; i++)
		fputc('-', out);
	fputc('\n', out);
}

/* ------------------------------------------------------------------ parts of the table */
static void print_time(FILE *out, const struct set *s)
{
	row_numbers(out, s, 0, "guest instructions", get_instructions);
	row_numbers(out, s, 0, "cycles", get_cycles);
	row_overhead(out, s);
	fprintf(out, "cycles by cause (they add up)\n");
	for (unsigned c = 0; c < CAUSES; c++)
		row_cause(out, s, c);
}

static void print_exits(FILE *out, const struct set *s)
{
	uint64_t any = 0;
	for (unsigned i = 0; i < s->n; i++)
		any |= result_exits_total(s->run[i]);
	if (!any)
		return;
	row_numbers(out, s, 0, "exits", result_exits_total);
	for (unsigned e = 0; e < EXIT_REASONS; e++)
		row_exit(out, s, e, false);
	fprintf(out, "cycles by exit reason (transition and handler)\n");
	for (unsigned e = 0; e < EXIT_REASONS; e++)
		row_exit(out, s, e, true);
	fprintf(out, "cycles by VMM work\n");
	for (unsigned w = 0; w < VMM_WORKS; w++)
		row_work(out, s, w);
}

static void print_translation(FILE *out, const struct set *s)
{
	fprintf(out, "TLB misses\n");
	row_stat(out, s, "L1 data", "l1d.miss");
	row_stat(out, s, "L1 instruction", "l1i.miss");
	row_stat(out, s, "L2", "l2.miss");
	row_stat(out, s, "page walks", "walk.count");
	row_begin(out, 0, "references per walk");
	for (unsigned i = 0; i < s->n; i++)
		cell_real(out, "%.2f", result_references_per_walk(s->run[i]));
	fputc('\n', out);
}

static uint64_t get_table_kib(const struct run_result *r) { return r->table_bytes_peak >> 10; }
static uint64_t get_guest_kib(const struct run_result *r) { return r->guest_table_bytes >> 10; }

static void print_popek_goldberg(FILE *out, const struct set *s)
{
	row_begin(out, 2, "equivalence");
	for (unsigned i = 0; i < s->n; i++)
		cell_text(out, !s->run[i]->equivalence_known ? "not compared" : s->run[i]->equivalent ? "holds" : "BROKEN");
	fputc('\n', out);
	row_begin(out, 2, "efficiency");
	for (unsigned i = 0; i < s->n; i++)
		cell_real(out, "%.4f%%", 100 * result_efficiency(s->run[i]));
	fputc('\n', out);
	row_numbers(out, s, 2, "resource control: violations", get_violations);
}

static void print_hash(FILE *out, const struct set *s)
{
	char text[24];
	row_begin(out, 0, "state hash");
	for (unsigned i = 0; i < s->n; i++) {
		snprintf(text, sizeof text, "%016" PRIx64, s->run[i]->state_hash);
		cell_text(out, text);
	}
	fputc('\n', out);
}

static void print_execution(FILE *out, const struct set *s)
{
	head_print(out, s, "execution");
	print_time(out, s);
	print_exits(out, s);
	print_translation(out, s);
	fprintf(out, "memory spent on tables, KiB\n");
	row_numbers(out, s, 2, "the VMM's (peak)", get_table_kib);
	row_numbers(out, s, 2, "the guest's", get_guest_kib);
	fprintf(out, "Popek and Goldberg\n");
	print_popek_goldberg(out, s);
	print_hash(out, s);
}

/* ------------------------------------------------------------------ replay */
static void cell_difference(FILE *out, uint64_t replay, uint64_t execution)
{
	if (replay == execution)
		cell_text(out, "=");
	else if (!execution)
		cell_text(out, "new");
	else
		cell_real(out, "%+.3f%%", 100 * ((double)replay - (double)execution) / (double)execution);
}

struct pair { const struct run_result *replay, *execution; };
typedef uint64_t metric_fn(const struct run_result *r, unsigned which);

static uint64_t metric_basic(const struct run_result *r, unsigned which)
{
	switch (which) {
	case 0: return r->instructions;
	case 1: return r->cycles;
	case 2: return result_exits_total(r);
	case 3: return result_stat(r, "l1d.miss") + result_stat(r, "l1i.miss");
	case 4: return result_stat(r, "l2.miss");
	case 5: return result_stat(r, "walk.count");
	default: return result_stat(r, "walk.refs");
	}
}

static uint64_t metric_cause(const struct run_result *r, unsigned which) { return r->by_cause[which]; }

static uint64_t metric_exit(const struct run_result *r, unsigned which)
{
	uint64_t cycles;
	return exit_count(r, exit_reason_name(which), &cycles);
}

static void row_difference(FILE *out, const struct pair *p, unsigned n, const char *name, metric_fn *get, unsigned which, bool always)
{
	uint64_t any = 0;
	for (unsigned i = 0; i < n; i++)
		any |= get(p[i].replay, which) | get(p[i].execution, which);
	if (!any && !always)
		return;
	row_begin(out, 2, name);
	for (unsigned i = 0; i < n; i++) {
		uint64_t a = get(p[i].replay, which), b = get(p[i].execution, which);
		a | b ? cell_difference(out, a, b) : cell_text(out, "-");
	}
	fputc('\n', out);
}

/* What the largest difference comes from, in words: the causes that a recording of another technique cannot carry. */
static const char *remains_why(enum cause c)
{
	switch (c) {
	case CAUSE_IDLE:
		return "the guest idles until its timer ticks, and the recording keeps the ticks where the recorded machine had them";
	case CAUSE_GUEST_USER:
	case CAUSE_GUEST_KERNEL:
		return "the path of the guest: interrupts arrive at the instructions of the recording; and what they left in the caches";
	case CAUSE_WALK_GUEST:
	case CAUSE_WALK_HOST:
	case CAUSE_WALK_SHADOW:
		return "TLB contents: the memory accesses around interrupts come in the recording's order";
	default:
		return "exits around interrupts: their number and order are the recording's";
	}
}

static void remains_print(FILE *out, const struct pair *p)
{
	const struct run_result *r = p->replay, *x = p->execution;
	enum cause worst = 0;
	double most = -1;
	for (unsigned c = 0; c < CAUSES; c++) {
		double d = fabs((double)r->by_cause[c] - (double)x->by_cause[c]);
		if (d > most) {
			most = d;
			worst = c;
		}
	}
	if (most <= 0)
		fprintf(out, "  %-14s nothing remains: every cycle is accounted for as in execution\n", r->technique);
	else
		fprintf(out, "  %-14s %+.4f%% cycles, most of it in %s (%+.0f cycles): %s\n", r->technique, 100 * r->cycles_error, cause_text(worst),
			(double)r->by_cause[worst] - (double)x->by_cause[worst], remains_why(worst));
}

static void print_replay(FILE *out, const struct set *s, const struct pair *p, unsigned n)
{
	static const char *const basic[] = { "guest instructions", "cycles", "exits", "L1 TLB misses", "L2 TLB misses", "page walks", "walk references" };
	head_print(out, s, "replay of one recording");
	row_numbers(out, s, 0, "cycles", get_cycles);
	row_overhead(out, s);
	if (!n)
		return;
	fprintf(out, "difference to execution (= is identical)\n");
	for (unsigned i = 0; i < sizeof basic / sizeof *basic; i++)
		row_difference(out, p, n, basic[i], metric_basic, i, true);
	fprintf(out, "of cycles by cause\n");
	for (unsigned c = 0; c < CAUSES; c++)
		row_difference(out, p, n, cause_text(c), metric_cause, c, false);
	fprintf(out, "of exits by reason\n");
	for (unsigned e = 0; e < EXIT_REASONS; e++)
		row_difference(out, p, n, exit_reason_text(e), metric_exit, e, false);
	fprintf(out, "what remains\n");
	for (unsigned i = 0; i < n; i++)
		remains_print(out, &p[i]);
}

/* ------------------------------------------------------------------ the whole */
static struct set set_of(const struct run_result *runs, unsigned n, enum run_mode mode, uint64_t seed)
{
	struct set s = { .n = 0 };
	for (unsigned i = 0; i < n && s.n < SET_LIMIT; i++)
		if (runs[i].mode == mode && runs[i].seed == seed)
			s.run[s.n++] = &runs[i];
	return s;
}

void compare_print(FILE *out, const struct run_result *runs, unsigned n)
{
	struct pair pair[SET_LIMIT];
	unsigned pairs = 0;
	if (!n)
		return;
	fprintf(out, "workload %s, %u-bit guest, engine %s, core %s, preset %s\n\n", runs[0].workload, runs[0].width, runs[0].engine, runs[0].core, runs[0].preset);
	struct set execution = set_of(runs, n, RUN_EXECUTION, runs[0].seed), replay = set_of(runs, n, RUN_REPLAY, runs[0].seed);
	print_execution(out, &execution);
	if (!replay.n)
		return;
	for (unsigned i = 0; i < replay.n; i++) {
		const struct run_result *x = run_find(runs, n, replay.run[i]->technique, RUN_EXECUTION, replay.run[i]);
		if (x)
			pair[pairs++] = (struct pair){ replay.run[i], x };
	}
	fputc('\n', out);
	print_replay(out, &replay, pair, pairs == replay.n ? pairs : 0);
}

/* ------------------------------------------------------------------ over seeds, and over all runs */
static void interval_print(FILE *out, const struct run_result *runs, unsigned n, const char *technique)
{
	double *x = calloc(n, sizeof *x);
	unsigned k = 0;
	for (unsigned i = 0; x && i < n; i++)
		if (runs[i].mode == RUN_EXECUTION && !strcmp(runs[i].technique, technique))
			x[k++] = (double)runs[i].cycles;
	if (k) {
		struct interval v = statistics_interval(x, k, 0.95);
		fprintf(out, "  %-14s %18.0f cycles +- %.0f (95 %%, %u seeds)\n", technique, v.mean, v.half_width, k);
	}
	free(x);
}

static void fit_print(FILE *out, const struct run_result *runs, unsigned n)
{
	static const char *const label[] = { "constant", "walk reference", "exit" };
	double *y = calloc(n + 1, sizeof *y), *x = calloc(2 * n + 1, sizeof *x);
	unsigned k = 0;
	struct fit f;
	for (unsigned i = 0; x && y && i < n; i++)
		if (runs[i].mode == RUN_EXECUTION) {
			y[k] = (double)runs[i].cycles;
			x[2 * k] = (double)result_stat(&runs[i], "walk.refs");
			x[2 * k++ + 1] = (double)result_exits_total(&runs[i]);
		}
	if (x && y && statistics_fit(y, x, k, 2, &f)) {
		fprintf(out, "\nlinear fit of cycles over %u runs (R2 = %.4f)\n", k, f.r2);
		for (unsigned j = 0; j < 3; j++)
			fprintf(out, "  %-14s %16.1f +- %.1f\n", label[j], f.c[j], f.se[j]);
	}
	free(x);
	free(y);
}

void compare_print_statistics(FILE *out, const struct run_result *runs, unsigned n)
{
	bool several = false;
	for (unsigned i = 0; i < n; i++)
		several |= runs[i].seed != runs[0].seed;
	if (several) {
		fprintf(out, "\nmean over seeds\n");
		for (unsigned t = 0; t < TECHNIQUES; t++)
			interval_print(out, runs, n, techniques[t].name);
	}
	fit_print(out, runs, n);
}

void result_print(FILE *out, const struct run_result *r)
{
	struct set s = { { r }, 1 };
	fprintf(out, "workload %s, %u-bit guest, engine %s, core %s, preset %s: %s, exit code %d\n\n", r->workload, r->width, r->engine, r->core, r->preset, run_end_name(r->end), r->exit_code);
	head_print(out, &s, run_mode_name(r->mode));
	if (r->cycles) {
		print_time(out, &s);
		print_exits(out, &s);
	} else {
		row_numbers(out, &s, 0, "guest instructions", get_instructions);
	}
	if (r->stats)
		print_translation(out, &s);
	row_numbers(out, &s, 0, "VMM tables, KiB (peak)", get_table_kib);
	print_popek_goldberg(out, &s);
	print_hash(out, &s);
	for (unsigned i = 0; i < r->unknown; i++)
		fprintf(out, "opcode outside the subset (#UD in the guest): %s, %" PRIu64 " times\n", r->unknown_opcode[i].name, r->unknown_opcode[i].value);
}
