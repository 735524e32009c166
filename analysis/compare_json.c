/* Results as JSON, for scripts. Keys are stable: they are added to, never renamed. */
#include "results.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

struct json { FILE *out; bool more; /* a comma is due */ unsigned depth; };

static void json_line(struct json *j)
{
	fprintf(j->out, "%s\n%*s", j->more ? "," : "", (int)j->depth * 2, "");
	j->more = true;
}

static void json_string(struct json *j, const char *s)
{
	fputc('"', j->out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			fprintf(j->out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(j->out, "\\u%04x", c);
		else
			fputc(c, j->out);
	}
	fputc('"', j->out);
}

static void json_key(struct json *j, const char *key)
{
	json_line(j);
	json_string(j, key);
	fputs(": ", j->out);
}

static void json_open(struct json *j, const char *key, char bracket)
{
	if (key)
		json_key(j, key);
	else
		json_line(j);
	fputc(bracket, j->out);
	j->more = false;
	j->depth++;
}

static void json_close(struct json *j, char bracket)
{
	j->depth--;
	if (j->more)
		fprintf(j->out, "\n%*s", (int)j->depth * 2, "");
	fputc(bracket, j->out);
	j->more = true;
}

static void json_uint(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	fprintf(j->out, "%" PRIu64, v);
}

static void json_real(struct json *j, const char *key, double v)
{
	json_key(j, key);
	fprintf(j->out, "%.9g", v);
}

static void json_text(struct json *j, const char *key, const char *v)
{
	json_key(j, key);
	json_string(j, v);
}

static void json_hash(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	fprintf(j->out, "\"%016" PRIx64 "\"", v);
}

static void json_word(struct json *j, const char *key, const char *word)
{
	json_key(j, key);
	fputs(word, j->out);
}

/* ------------------------------------------------------------------ parts of a run */
static void json_identity(struct json *j, const struct run_result *r)
{
	json_text(j, "technique", r->technique);
	json_text(j, "mode", run_mode_name(r->mode));
	json_text(j, "workload", r->workload);
	json_uint(j, "width", r->width);
	json_text(j, "engine", r->engine);
	json_text(j, "core", r->core);
	json_text(j, "preset", r->preset);
	json_uint(j, "seed", r->seed);
	json_text(j, "end", run_end_name(r->end));
	json_key(j, "exit_code");
	fprintf(j->out, "%d", r->exit_code);
	json_uint(j, "instructions", r->instructions);
	json_uint(j, "cycles", r->cycles);
	r->overhead > 0 ? json_real(j, "overhead", r->overhead) : json_word(j, "overhead", "null");
	json_hash(j, "state_hash", r->state_hash);
	json_hash(j, "machine_hash", r->machine_hash);
}

static void json_exits(struct json *j, const struct run_result *r)
{
	json_open(j, "exits", '{');
	for (unsigned i = 0; i < r->exits; i++) {
		const struct result_exit *e = &r->exit[i];
		json_open(j, e->name, '{');
		json_uint(j, "count", e->count);
		json_uint(j, "cycles", e->transition_cycles + e->handler_cycles);
		json_uint(j, "transition_cycles", e->transition_cycles);
		json_uint(j, "handler_cycles", e->handler_cycles);
		json_close(j, '}');
	}
	json_close(j, '}');
}

/* Statistics whose name starts with `prefix`, without it. */
static void json_stats(struct json *j, const struct run_result *r, const char *prefix)
{
	size_t n = strlen(prefix);
	for (unsigned i = 0; i < r->stats; i++)
		if (!strncmp(r->stat[i].name, prefix, n))
			json_uint(j, r->stat[i].name + n, r->stat[i].value);
}

static void json_translation(struct json *j, const struct run_result *r)
{
	json_open(j, "tlb", '{');
	json_stats(j, r, "tlb.");
	json_close(j, '}');
	json_open(j, "walks", '{');
	json_stats(j, r, "walk.");
	json_real(j, "references_per_walk", result_references_per_walk(r));
	json_close(j, '}');
	json_open(j, "caches", '{');
	json_stats(j, r, "cache.");
	json_close(j, '}');
	json_open(j, "dram", '{');
	json_stats(j, r, "dram.");
	json_close(j, '}');
	if (r->mode == RUN_REPLAY) {
		json_open(j, "replay", '{');
		json_stats(j, r, "replay.");
		json_close(j, '}');
	}
	json_open(j, "memory", '{');
	json_uint(j, "vmm_table_bytes", r->table_bytes_peak);
	json_uint(j, "guest_table_bytes", r->guest_table_bytes);
	json_uint(j, "guest_touched_bytes", r->guest_touched_bytes);
	json_close(j, '}');
}

static void json_popek_goldberg(struct json *j, const struct run_result *r)
{
	json_open(j, "popek_goldberg", '{');
	json_word(j, "equivalence", !r->equivalence_known ? "null" : r->equivalent ? "true" : "false");
	json_real(j, "efficiency", result_efficiency(r));
	json_word(j, "resource_control", r->resource_violations ? "false" : "true");
	json_uint(j, "resource_violations", r->resource_violations);
	json_uint(j, "emulated_instructions", r->emulated);
	json_close(j, '}');
}

static void json_lists(struct json *j, const struct run_result *r)
{
	json_open(j, "vmm_work", '{');
	for (unsigned i = 0; i < r->works; i++)
		json_uint(j, r->work[i].name, r->work[i].value);
	json_close(j, '}');
	json_open(j, "regions", '[');
	for (unsigned i = 0; i < r->regions; i++) {
		json_open(j, NULL, '{');
		json_uint(j, "id", r->region[i].id);
		json_uint(j, "count", r->region[i].count);
		json_uint(j, "cycles", r->region[i].cycles);
		json_uint(j, "instructions", r->region[i].instructions);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_open(j, "unknown_opcodes", '{');
	for (unsigned i = 0; i < r->unknown; i++)
		json_uint(j, r->unknown_opcode[i].name, r->unknown_opcode[i].value);
	json_close(j, '}');
}

static void json_known(struct json *j, const char *key, double v)
{
	isfinite(v) ? json_real(j, key, v) : json_word(j, key, "null");
}

static void json_estimate(struct json *j, const struct run_result *r, const struct result_estimate *e)
{
	json_open(j, e->name, '{');
	json_real(j, "mean", e->mean);
	json_known(j, "error", e->error);
	json_known(j, "half_width_95", sampling_half_width(r, e, sampling_confidences[0]));
	json_known(j, "half_width_99_7", sampling_half_width(r, e, sampling_confidences[1]));
	json_close(j, '}');
}

static void json_sampling(struct json *j, const struct run_result *r)
{
	const struct result_sampling *s = &r->sampling;
	if (!s->on)
		return;
	json_open(j, "sampling", '{');
	json_uint(j, "interval", s->interval);
	json_uint(j, "warmup", s->warmup);
	json_uint(j, "window", s->window);
	json_uint(j, "head", s->head);
	json_uint(j, "seed", s->seed);
	json_uint(j, "offset", s->offset);
	json_uint(j, "windows", s->windows);
	json_uint(j, "measured_instructions", s->measured);
	json_uint(j, "warmed_instructions", s->warmed);
	json_uint(j, "warmed_cycles", s->warmed_cycles);
	json_uint(j, "skips", s->skips);
	json_real(j, "skewness", s->skewness);
	json_uint(j, "idle_cycles", s->idle);
	const struct result_estimate *e = sampling_estimate(r, "cycles");
	if (e) {
		json_known(j, "cycles_half_width_95", sampling_half_width(r, e, sampling_confidences[0]) * (double)r->instructions);
		json_known(j, "cycles_half_width_99_7", sampling_half_width(r, e, sampling_confidences[1]) * (double)r->instructions);
	}
	json_open(j, "per_instruction", '{');
	for (unsigned i = 0; i < s->estimates; i++)
		json_estimate(j, r, &s->estimate[i]);
	json_close(j, '}');
	json_close(j, '}');
}

static void json_run(struct json *j, const char *key, const struct run_result *r)
{
	json_open(j, key, '{');
	json_identity(j, r);
	json_open(j, "cycles_by_cause", '{');
	for (unsigned c = 0; c < CAUSES; c++)
		json_uint(j, cause_name(c), r->by_cause[c]);
	json_close(j, '}');
	json_exits(j, r);
	json_translation(j, r);
	json_popek_goldberg(j, r);
	json_lists(j, r);
	json_sampling(j, r);
	if (r->has_cycles_error)
		json_real(j, "cycles_error", r->cycles_error);
	json_close(j, '}');
}

/* A technique whose references do not depend on the size has no fit: null. */
static void json_fit(struct json *j, const char *technique, const struct fit *f, bool fits)
{
	json_open(j, NULL, '{');
	json_text(j, "technique", technique);
	json_known(j, "cycles_without_walks", fits ? f->c[0] : NAN);
	json_known(j, "cycles_per_reference", fits ? f->c[1] : NAN);
	json_known(j, "standard_error", fits ? f->se[1] : NAN);
	json_known(j, "r2", fits ? f->r2 : NAN);
	json_close(j, '}');
}

static void json_fits(struct json *j, const struct run_result *sizes, unsigned n)
{
	struct fit f = { 0 };
	bool fits;
	json_open(j, "fit", '[');
	for (unsigned t = 0; t < TECHNIQUES; t++)
		if (compare_fit(sizes, n, techniques[t].name, &f, &fits))
			json_fit(j, techniques[t].name, &f, fits);
	json_close(j, ']');
}

void compare_print_json(FILE *out, const struct run_result *runs, unsigned n)
{
	compare_print_json_fitted(out, runs, n, NULL, 0);
}

void compare_print_json_fitted(FILE *out, const struct run_result *runs, unsigned n, const struct run_result *sizes, unsigned sizes_n)
{
	struct json j = { out, false, 1 };
	fputc('{', out);
	json_text(&j, "program_version", results_program_version());
	json_open(&j, "runs", '[');
	for (unsigned i = 0; i < n; i++)
		json_run(&j, NULL, &runs[i]);
	json_close(&j, ']');
	if (sizes_n)
		json_fits(&j, sizes, sizes_n);
	fputs("\n}\n", out);
}

void result_print_json(FILE *out, const struct run_result *r)
{
	struct json j = { out, false, 1 };
	fputc('{', out);
	json_text(&j, "program_version", results_program_version());
	json_run(&j, "run", r);
	fputs("\n}\n", out);
}
