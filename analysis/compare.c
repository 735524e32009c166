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

#define NAME_WIDTH 42

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
struct set { FILE *out; const struct run_result *run[32]; unsigned n; int width; /* of a cell */ }; /* the columns of one table */
#define SET_LIMIT (sizeof ((struct set *)0)->run / sizeof (struct run_result *))

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

static void row_begin(const struct set *s, unsigned indent, const char *name)
{
	fprintf(s->out, "%*s%-*s", (int)indent, "", NAME_WIDTH - (int)indent, name);
}

static void cell_text(const struct set *s, const char *text)
{
	fprintf(s->out, "%*s", s->width, text);
}

static void cell_number(const struct set *s, uint64_t value)
{
	char text[40];
	number_format(text, sizeof text, value);
	cell_text(s, text);
}

/* The long text where there is room for it, else the name. */
static const char *label(const char *text, const char *name)
{
	return strlen(text) + 3 <= NAME_WIDTH ? text : name;
}

/* A part with its share of the whole: "12,345  3.1%". */
static void cell_share(const struct set *s, uint64_t part, uint64_t whole)
{
	char text[40], full[64];
	number_format(text, sizeof text, part);
	if (whole && part)
		snprintf(full, sizeof full, "%s %5.1f%%", text, 100.0 * (double)part / (double)whole);
	else
		snprintf(full, sizeof full, "%s       ", part ? text : "-");
	cell_text(s, full);
}

static void cell_real(const struct set *s, const char *format, double value)
{
	char text[40];
	snprintf(text, sizeof text, format, value);
	cell_text(s, text);
}

/* ------------------------------------------------------------------ rows */

static void row_numbers(const struct set *s, unsigned indent, const char *name, uint64_t (*get)(const struct run_result *r))
{
	row_begin(s, indent, name);
	for (unsigned i = 0; i < s->n; i++)
		cell_number(s, get(s->run[i]));
	fputc('\n', s->out);
}

static uint64_t get_instructions(const struct run_result *r) { return r->instructions; }
static uint64_t get_cycles(const struct run_result *r) { return r->cycles; }
static uint64_t get_violations(const struct run_result *r) { return r->resource_violations; }

static void row_overhead(const struct set *s)
{
	row_begin(s, 0, "overhead against native");
	for (unsigned i = 0; i < s->n; i++)
		s->run[i]->overhead > 0 ? cell_real(s, "%.3f", s->run[i]->overhead) : cell_text(s, "-");
	fputc('\n', s->out);
}

static void row_cause(const struct set *s, enum cause c)
{
	bool any = false;
	for (unsigned i = 0; i < s->n; i++)
		any |= s->run[i]->by_cause[c] != 0;
	if (!any)
		return;
	row_begin(s, 2, label(cause_text(c), cause_name(c)));
	for (unsigned i = 0; i < s->n; i++)
		cell_share(s, s->run[i]->by_cause[c], s->run[i]->cycles);
	fputc('\n', s->out);
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

static void row_exit(const struct set *s, enum exit_reason reason, bool with_cycles)
{
	const char *name = exit_reason_name(reason);
	uint64_t cycles, any = 0;
	for (unsigned i = 0; i < s->n; i++)
		any |= exit_count(s->run[i], name, &cycles);
	if (!any)
		return;
	row_begin(s, 2, label(exit_reason_text(reason), name));
	for (unsigned i = 0; i < s->n; i++) {
		uint64_t count = exit_count(s->run[i], name, &cycles);
		if (!with_cycles)
			cell_share(s, count, 0);
		else
			cell_share(s, cycles, s->run[i]->cycles);
	}
	fputc('\n', s->out);
}

static uint64_t work_cycles(const struct run_result *r, const char *name)
{
	for (unsigned i = 0; i < r->works; i++)
		if (!strcmp(r->work[i].name, name))
			return r->work[i].value;
	return 0;
}

static void row_work(const struct set *s, enum vmm_work w)
{
	uint64_t any = 0;
	for (unsigned i = 0; i < s->n; i++)
		any |= work_cycles(s->run[i], vmm_work_name(w));
	if (!any)
		return;
	row_begin(s, 2, vmm_work_name(w));
	for (unsigned i = 0; i < s->n; i++)
		cell_share(s, work_cycles(s->run[i], vmm_work_name(w)), s->run[i]->cycles);
	fputc('\n', s->out);
}

static void row_stat(const struct set *s, const char *label, const char *name)
{
	row_begin(s, 2, label);
	for (unsigned i = 0; i < s->n; i++)
		cell_number(s, result_stat(s->run[i], name));
	fputc('\n', s->out);
}

static void head_print(const struct set *s, const char *title)
{
	row_begin(s, 0, title);
	for (unsigned i = 0; i < s->n; i++)
		cell_text(s, s->run[i]->technique);
	fputc('\n', s->out);
	for (unsigned i = 0; i < NAME_WIDTH + (unsigned)s->width * s->n; i++)
		fputc('-', s->out);
	fputc('\n', s->out);
}

/* ------------------------------------------------------------------ parts of the table */
static void print_time(const struct set *s)
{
	row_numbers(s, 0, "guest instructions", get_instructions);
	row_numbers(s, 0, "cycles", get_cycles);
	row_overhead(s);
	fprintf(s->out, "cycles by cause (they add up)\n");
	for (unsigned c = 0; c < CAUSES; c++)
		row_cause(s, c);
}

static void print_exits(const struct set *s)
{
	uint64_t any = 0;
	for (unsigned i = 0; i < s->n; i++)
		any |= result_exits_total(s->run[i]);
	if (!any)
		return;
	row_numbers(s, 0, "exits", result_exits_total);
	for (unsigned e = 0; e < EXIT_REASONS; e++)
		row_exit(s, e, false);
	fprintf(s->out, "cycles by exit reason (transition and handler)\n");
	for (unsigned e = 0; e < EXIT_REASONS; e++)
		row_exit(s, e, true);
	fprintf(s->out, "cycles by VMM work\n");
	for (unsigned w = 0; w < VMM_WORKS; w++)
		row_work(s, w);
}

static void print_translation(const struct set *s)
{
	fprintf(s->out, "TLB misses\n");
	row_stat(s, "L1 data", "l1d.miss");
	row_stat(s, "L1 instruction", "l1i.miss");
	row_stat(s, "L2", "l2.miss");
	row_stat(s, "page walks", "walk.count");
	row_begin(s, 0, "references per walk");
	for (unsigned i = 0; i < s->n; i++)
		cell_real(s, "%.2f", result_references_per_walk(s->run[i]));
	fputc('\n', s->out);
}

/* ---- marked regions */
static const char *const region_names[TIMING_REGIONS] = {
#define REGION(NAME, id, name, what) [id] = name,
#define NANOBENCH(NAME, id, name, what) [id] = name,
#include "../workloads/include/ringside_regions.def"
#undef REGION
#undef NANOBENCH
};

static uint64_t region_cycles(const struct run_result *r, unsigned id)
{
	for (unsigned i = 0; i < r->regions; i++)
		if (r->region[i].id == id)
			return r->region[i].cycles;
	return 0;
}

static void row_region(const struct set *s, unsigned id)
{
	char name[24];
	uint64_t any = 0;
	for (unsigned i = 0; i < s->n; i++)
		any |= region_cycles(s->run[i], id);
	if (!any)
		return;
	snprintf(name, sizeof name, "region %u", id);
	row_begin(s, 2, region_names[id] ? region_names[id] : name);
	for (unsigned i = 0; i < s->n; i++)
		cell_number(s, region_cycles(s->run[i], id));
	fputc('\n', s->out);
}

static void print_regions(const struct set *s)
{
	unsigned any = 0;
	for (unsigned i = 0; i < s->n; i++)
		any |= s->run[i]->regions;
	if (!any)
		return;
	fprintf(s->out, "cycles of marked regions\n");
	for (unsigned id = 0; id < TIMING_REGIONS; id++)
		row_region(s, id);
}

static uint64_t get_table_kib(const struct run_result *r) { return r->table_bytes_peak >> 10; }
static uint64_t get_guest_kib(const struct run_result *r) { return r->guest_table_bytes >> 10; }

static void print_popek_goldberg(const struct set *s)
{
	row_begin(s, 2, "equivalence");
	for (unsigned i = 0; i < s->n; i++)
		cell_text(s, !s->run[i]->equivalence_known ? "not compared" : s->run[i]->equivalent ? "holds" : "BROKEN");
	fputc('\n', s->out);
	row_begin(s, 2, "efficiency");
	for (unsigned i = 0; i < s->n; i++)
		cell_real(s, "%.4f%%", 100 * result_efficiency(s->run[i]));
	fputc('\n', s->out);
	row_numbers(s, 2, "resource control: violations", get_violations);
}

static void print_hash(const struct set *s)
{
	char text[24];
	row_begin(s, 0, "state hash");
	for (unsigned i = 0; i < s->n; i++) {
		snprintf(text, sizeof text, "%016" PRIx64, s->run[i]->state_hash);
		cell_text(s, text);
	}
	fputc('\n', s->out);
}

/* What a reader asks first about an overhead below 1. */
static void print_below_native(const struct set *s)
{
	bool below = false;
	for (unsigned i = 0; i < s->n; i++)
		below |= s->run[i]->overhead > 0 && s->run[i]->overhead < 0.995;
	if (below)
		fprintf(s->out, "Overheads below 1 come from device access: natively each port access goes to the chipset, a VMM answers it by itself (as Adams and Agesen measured with `in`).\n");
}

static void print_execution(const struct set *s)
{
	head_print(s, "execution");
	print_time(s);
	print_exits(s);
	print_translation(s);
	print_regions(s);
	fprintf(s->out, "memory spent on tables, KiB\n");
	row_numbers(s, 2, "the VMM's (peak)", get_table_kib);
	row_numbers(s, 2, "the guest's", get_guest_kib);
	fprintf(s->out, "Popek and Goldberg\n");
	print_popek_goldberg(s);
	print_hash(s);
	print_below_native(s);
}

/* ------------------------------------------------------------------ replay */
static void cell_difference(const struct set *s, uint64_t replay, uint64_t execution)
{
	if (replay == execution)
		cell_text(s, "=");
	else if (!execution)
		cell_text(s, "new");
	else
		cell_real(s, "%+.3f%%", 100 * ((double)replay - (double)execution) / (double)execution);
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

static void row_difference(const struct set *s, const struct pair *p, unsigned n, const char *name, metric_fn *get, unsigned which, bool always)
{
	uint64_t any = 0;
	for (unsigned i = 0; i < n; i++)
		any |= get(p[i].replay, which) | get(p[i].execution, which);
	if (!any && !always)
		return;
	row_begin(s, 2, name);
	for (unsigned i = 0; i < n; i++) {
		uint64_t a = get(p[i].replay, which), b = get(p[i].execution, which);
		a | b ? cell_difference(s, a, b) : cell_text(s, "-");
	}
	fputc('\n', s->out);
}

/* What the largest difference comes from, in words: what a recording of another technique cannot carry. */
static const char *remains_why(const struct run_result *r, enum cause c)
{
	uint64_t cycles;
	if (c == CAUSE_IDLE)
		return "the guest waits for timer ticks, and a recording keeps its waits as long as they were";
	if (exit_count(r, exit_reason_name(EXIT_EXTERNAL_INTERRUPT), &cycles) || r->by_cause[CAUSE_IDLE])
		return "interrupts arrive at the instructions where the recorded machine took them, and leave TLBs and caches behind accordingly";
	return "the order of accesses inside one instruction, around an exit that the recorded machine did not take";
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
		fprintf(out, "  %-14s nothing: every cycle is where execution spent it\n", r->technique);
	else
		fprintf(out, "  %-14s %+.4f%% of cycles, most of it %s (%+.0f cycles): %s\n", r->technique, 100 * r->cycles_error, cause_name(worst),
			(double)r->by_cause[worst] - (double)x->by_cause[worst], remains_why(x, worst));
}

static void print_replay(const struct set *s, const struct pair *p, unsigned n)
{
	static const char *const basic[] = { "guest instructions", "cycles", "exits", "L1 TLB misses", "L2 TLB misses", "page walks", "walk references" };
	head_print(s, "replay of one recording");
	row_numbers(s, 0, "cycles", get_cycles);
	row_overhead(s);
	if (!n)
		return;
	fprintf(s->out, "difference to execution (= is identical)\n");
	for (unsigned i = 0; i < sizeof basic / sizeof *basic; i++)
		row_difference(s, p, n, basic[i], metric_basic, i, true);
	fprintf(s->out, "of cycles by cause\n");
	for (unsigned c = 0; c < CAUSES; c++)
		row_difference(s, p, n, label(cause_text(c), cause_name(c)), metric_cause, c, false);
	fprintf(s->out, "of exits by reason\n");
	for (unsigned e = 0; e < EXIT_REASONS; e++)
		row_difference(s, p, n, label(exit_reason_text(e), exit_reason_name(e)), metric_exit, e, false);
	fprintf(s->out, "what remains\n");
	for (unsigned i = 0; i < n; i++)
		remains_print(s->out, &p[i]);
}

/* ------------------------------------------------------------------ the whole */
/* Wide enough for the largest number with its share. */
static int cell_width(const struct run_result *runs, unsigned n)
{
	char text[40];
	uint64_t most = 0;
	for (unsigned i = 0; i < n; i++)
		most |= runs[i].cycles | runs[i].instructions;
	number_format(text, sizeof text, most);
	int width = (int)strlen(text) + 8;
	return width < 18 ? 18 : width;
}

static struct set set_of(FILE *out, const struct run_result *runs, unsigned n, enum run_mode mode, uint64_t seed)
{
	struct set s = { .out = out, .width = cell_width(runs, n) };
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
	struct set execution = set_of(out, runs, n, RUN_EXECUTION, runs[0].seed), replay = set_of(out, runs, n, RUN_REPLAY, runs[0].seed);
	print_execution(&execution);
	if (!replay.n)
		return;
	for (unsigned i = 0; i < replay.n; i++) {
		const struct run_result *x = run_find(runs, n, replay.run[i]->technique, RUN_EXECUTION, replay.run[i]);
		if (x)
			pair[pairs++] = (struct pair){ replay.run[i], x };
	}
	fputc('\n', out);
	print_replay(&replay, pair, pairs == replay.n ? pairs : 0);
}

void result_print(FILE *out, const struct run_result *r)
{
	struct set s = { out, { r }, 1, cell_width(r, 1) };
	fprintf(out, "workload %s, %u-bit guest, engine %s, core %s, preset %s: %s, exit code %d\n\n", r->workload, r->width, r->engine, r->core, r->preset, run_end_name(r->end), r->exit_code);
	head_print(&s, run_mode_name(r->mode));
	if (r->cycles) {
		print_time(&s);
		print_exits(&s);
	} else {
		row_numbers(&s, 0, "guest instructions", get_instructions);
	}
	if (r->stats)
		print_translation(&s);
	row_numbers(&s, 0, "VMM tables, KiB (peak)", get_table_kib);
	print_popek_goldberg(&s);
	print_hash(&s);
	sampling_print(out, r);
	for (unsigned i = 0; i < r->unknown; i++)
		fprintf(out, "opcode outside the subset (#UD in the guest): %s, %" PRIu64 " times\n", r->unknown_opcode[i].name, r->unknown_opcode[i].value);
}
