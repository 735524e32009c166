/* ringside trace: record, replay, info. */
#include "options.h"
#include "runner.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ record */
static int record_config(const struct options *o, const struct config *c, const char *text)
{
	struct progress progress;
	const char *path = o->output ? o->output : "ringside.trace";
	struct runner r = { .config_text = text, .progress = &progress, .record = path, .console = o->console ? stderr : NULL };
	if (!config_machine(c, NULL, &r.config, r.error, sizeof r.error))
		return options_refuse(o, r.error);
	progress_create(&progress, o->progress, 1);
	bool ok = runner_run(&r);
	progress_destroy(&progress);
	if (!ok)
		return r.refused ? options_refuse(o, r.error) : complain(STATUS_FAILED, "%s", r.error);
	printf("%s: %" PRIu64 " instructions of %s under %s, %s\n", path, r.result.instructions, r.result.workload, r.result.technique, run_end_name(r.result.end));
	return r.result.end == END_EXIT ? STATUS_GOOD : STATUS_FAILED;
}

static int trace_record(int argc, char **argv)
{
	struct options o;
	struct config c;
	int status = options_parse(&o, RECORD, 1, argc, argv);
	if (status < 0 && !options_config(&o, o.operand[0], &c))
		status = STATUS_USAGE;
	if (status < 0) {
		char *text = config_text(&c);
		status = text ? record_config(&o, &c, text) : complain(STATUS_FAILED, "out of memory");
		free(text);
	}
	options_destroy(&o);
	return status;
}

/* ------------------------------------------------------------------ replay */
struct check { const struct trace_reader *trace; unsigned compared, different; FILE *out; };

static bool check_stat(void *self, const char *name, uint64_t value)
{
	struct check *c = self;
	const char *recorded;
	uint64_t before;
	for (unsigned i = 0; trace_reader_stat(c->trace, i, &recorded, &before); i++) {
		if (strcmp(recorded, name))
			continue;
		c->compared++;
		if (before == value)
			break;
		c->different++;
		fprintf(c->out, "  %-40s recorded %20" PRIu64 "  replayed %20" PRIu64 "\n", name, before, value);
		break;
	}
	return true;
}

/* The same technique and configuration: every statistic must be as recorded. */
static int replay_check(const struct trace_reader *t, const struct run_result *r, bool quiet)
{
	struct check c = { t, 0, 0, quiet ? stderr : stdout };
	trace_result_stats(r, check_stat, &c);
	if (c.different)
		return complain(STATUS_FAILED, "%u of %u statistics differ from the recorded run: replay must give every one", c.different, c.compared);
	if (!quiet)
		printf("all %u statistics are as in the recorded run\n", c.compared);
	return STATUS_GOOD;
}

/* What the recording decides, and a replay cannot change any more: the guest, the processor it found, how it was run. A name that ends in a dot: all below it. */
static const char *const recorded_keys[] = { "workload", "width", "images", "kernel", "kernel_pv", "module", "cmdline", "machine.memory", "machine.engine", "machine.max_instructions",
	"machine.event_filter", "machine.block_cache", "machine.batch", "machine.forgetful", "sampling.", "cpu." };

static bool key_is_recorded(const char *name)
{
	for (unsigned i = 0; i < sizeof recorded_keys / sizeof *recorded_keys; i++) {
		size_t n = strlen(recorded_keys[i]);
		if (recorded_keys[i][n - 1] == '.' ? !strncmp(name, recorded_keys[i], n) : !strcmp(name, recorded_keys[i]))
			return true;
	}
	return false;
}

/* Whether all that the command line changes is for a replay to change. False: one line was printed. */
static bool replay_changes_check(struct config *recorded, struct config *c)
{
	struct config_key before, now;
	char was[700], is[700];
	for (unsigned i = 0; config_key(recorded, i, &before) && config_key(c, i, &now); i++) {
		config_value(&before, was, sizeof was);
		config_value(&now, is, sizeof is);
		if (key_is_recorded(now.name) && strcmp(was, is)) {
			complain(STATUS_USAGE, "%s: the recording decides it (%s), and a replay cannot make it %s: leave it out, or record the trace again with it", now.name, was, is);
			return false;
		}
	}
	return true;
}

/* The recording's own configuration, then the command line's. */
static bool replay_config(struct options *o, const struct trace_info *info, struct config *recorded, struct config *c)
{
	struct settings s = { 0 };
	char error[1200];
	config_default(recorded);
	bool ok = settings_parse(&s, info->description, strlen(info->description), "configuration in the trace", error, sizeof error) && config_apply(recorded, &s, error, sizeof error);
	recorded->machine.memory_bytes = info->memory_bytes; /* a workload's memory is not in its configuration */
	*c = *recorded;
	ok = ok && config_apply(c, &o->settings, error, sizeof error);
	settings_destroy(&s);
	if (!ok)
		return complain(STATUS_USAGE, "%s", error), false;
	return replay_changes_check(recorded, c);
}

static bool config_same(const struct config *a, const struct config *b)
{
	char *one = config_text(a), *two = config_text(b);
	bool same = one && two && !strcmp(one, two);
	free(one);
	free(two);
	return same;
}

static void references_print(const struct run_result *r)
{
	printf("%" PRIu64 " references: %" PRIu64 " fetches of blocks, %" PRIu64 " loads, %" PRIu64 " stores, %" PRIu64 " read-modify-writes\n", result_stat(r, "replay.references"),
		result_stat(r, "replay.fetches"), result_stat(r, "replay.loads"), result_stat(r, "replay.stores"), result_stat(r, "replay.rmws"));
}

/* Closes the database. */
static int replay_show(const struct options *o, const struct trace_reader *t, const struct runner *r, struct results_db *db, bool same)
{
	const struct trace_info *info = trace_reader_info(t);
	(o->json ? result_print_json : result_print)(stdout, &r->result);
	if (!o->json)
		references_print(&r->result);
	int status = store_run(db, &r->result, r->config_text) ? STATUS_GOOD : STATUS_FAILED;
	if (!info->complete)
		return complain(STATUS_FAILED, "%s: %s; replayed what is there: %" PRIu64 " instructions, %" PRIu64 " references", r->replay, info->note, r->result.instructions,
			result_stat(&r->result, "replay.references"));
	if (info->note[0])
		complain(0, "%s: %s", r->replay, info->note);
	return same && replay_check(t, &r->result, o->json) ? STATUS_FAILED : status;
}

/* All that a replay looks up is the softtlb, and no result depends on its size: unless told otherwise, as large as 256 MiB of small pages ask for (2 MiB). */
#define REPLAY_SOFTTLB 65536

static bool settings_name(const struct settings *s, const char *key)
{
	for (unsigned i = 0; i < s->count; i++)
		if (!strcmp(s->at[i].key, key))
			return true;
	return false;
}

static int replay_run(struct options *o, const struct trace_reader *t, struct runner *r, bool same)
{
	struct progress progress;
	struct results_db *db;
	if (!store_open(o, NULL, &db))
		return STATUS_FAILED;
	r->progress = &progress;
	progress_create(&progress, o->progress, 1);
	bool ok = runner_run(r);
	progress_destroy(&progress);
	if (ok)
		return replay_show(o, t, r, db, same);
	results_close(db);
	return r->refused ? options_refuse(o, r->error) : complain(STATUS_FAILED, "%s", r->error);
}

static int replay_trace(struct options *o, struct trace_reader *t)
{
	struct config recorded, c;
	struct runner r = { .replay = o->operand[0] };
	const struct trace_info *info = trace_reader_info(t);
	if (!replay_config(o, info, &recorded, &c))
		return STATUS_USAGE;
	if (!config_machine(&c, NULL, &r.config, r.error, sizeof r.error))
		return options_refuse(o, r.error);
	if (technique_find(info->technique) && technique_find(r.config.technique)->paravirtual_guest != technique_find(info->technique)->paravirtual_guest)
		return complain(STATUS_USAGE, "%s was recorded under %s; %s runs another build of the guest: record that one", o->operand[0], info->technique, r.config.technique);
	if (!settings_name(&o->settings, "machine.softtlb_entries"))
		r.config.softtlb_entries = REPLAY_SOFTTLB;
	char *text = config_text(&c);
	if (!text)
		return complain(STATUS_FAILED, "out of memory");
	r.config_text = text;
	int status = replay_run(o, t, &r, config_same(&recorded, &c));
	free(text);
	return status;
}

/* ------------------------------------------------------------------ info */
struct tally { uint64_t events, instructions, by_kind[EV_KIND_COUNT]; char error[400]; };

/* Reads every chunk: counts, and finds damage. False: t->error. */
static bool trace_tally(struct trace_reader *r, struct tally *t)
{
	const struct event *e;
	const uint8_t *pages;
	size_t n;
	for (;;) {
		if (!trace_reader_next(r, &e, &n, &pages, t->error, sizeof t->error))
			return false;
		if (!n)
			return true;
		for (size_t i = 0; i < n; i++) {
			t->by_kind[e[i].kind]++;
			t->instructions += e[i].kind == EV_BLOCK ? e[i].aux : 0;
			t->instructions -= e[i].kind == EV_CUT ? e[i].id : 0;
		}
		t->events += n;
	}
}

/* What only the closing record tells is left out of what is said of a cut file. */
static void info_print(const struct trace_info *i, const struct tally *t)
{
	char width[24] = "";
	if (i->complete)
		snprintf(width, sizeof width, "%u-bit guest, ", i->width);
	printf("version %u, %srecorded under %s, workload %s, %" PRIu64 " MiB\n", i->version, width, i->technique, i->workload, i->memory_bytes >> 20);
	if (i->complete)
		printf("%s, exit code %d, state hash %016" PRIx64 "\n", run_end_name(i->end), i->exit_code, i->state_hash);
	printf("%" PRIu64 " instructions, %" PRIu64 " events in %" PRIu64 " chunks, %" PRIu64 " blocks, %" PRIu64 " page-table pages\n", t->instructions, t->events, i->chunks, i->blocks, i->table_pages);
	if (t->events && t->instructions)
		printf("%" PRIu64 " bytes: %.2f bytes an event, %.2f an instruction\n", i->file_bytes, (double)i->file_bytes / (double)t->events, (double)i->file_bytes / (double)t->instructions);
	for (unsigned k = 1; k < EV_GUEST_KINDS; k++)
		if (t->by_kind[k])
			printf("  %-14s %14" PRIu64 "\n", trace_kind_name(k), t->by_kind[k]);
	if (i->complete && i->note[0])
		printf("note: %s\n", i->note);
}

/* Of a cut file, what only the closing record tells is null. */
static void info_print_json(const struct trace_info *i, const struct tally *t)
{
	char width[12] = "null", code[16] = "null", hash[24] = "null";
	if (i->complete) {
		snprintf(width, sizeof width, "%u", i->width);
		snprintf(code, sizeof code, "%d", i->exit_code);
		snprintf(hash, sizeof hash, "\"%016" PRIx64 "\"", i->state_hash);
	}
	printf("{\n  \"version\": %u,\n  \"width\": %s,\n  \"technique\": \"%s\",\n  \"workload\": \"%s\",\n  \"memory_bytes\": %" PRIu64 ",\n  \"complete\": %s,\n", i->version, width, i->technique,
		i->workload, i->memory_bytes, i->complete ? "true" : "false");
	printf("  \"state_hash\": %s,\n  \"exit_code\": %s,\n  \"instructions\": %" PRIu64 ",\n  \"events\": %" PRIu64 ",\n  \"chunks\": %" PRIu64 ",\n  \"blocks\": %" PRIu64 ",\n", hash, code,
		t->instructions, t->events, i->chunks, i->blocks);
	printf("  \"references\": %" PRIu64 ",\n  \"table_pages\": %" PRIu64 ",\n  \"file_bytes\": %" PRIu64 ",\n  \"events_by_kind\": {", trace_references(t->by_kind), i->table_pages, i->file_bytes);
	const char *comma = "";
	for (unsigned k = 1; k < EV_GUEST_KINDS; k++)
		if (t->by_kind[k]) {
			printf("%s\n    \"%s\": %" PRIu64, comma, trace_kind_name(k), t->by_kind[k]);
			comma = ",";
		}
	printf("\n  }\n}\n");
}

static int info_trace(struct options *o, struct trace_reader *r)
{
	const struct trace_info *info = trace_reader_info(r);
	struct tally t = { 0 };
	bool whole = trace_tally(r, &t);
	/* Names in a damaged header could hold anything: they are shown as text only, where the terminal's rules apply, when printable. */
	(o->json ? info_print_json : info_print)(info, &t);
	if (!whole)
		return complain(STATUS_FAILED, "%s", t.error);
	return info->complete ? STATUS_GOOD : complain(STATUS_FAILED, "%s: %s; record it again, or replay what is there", o->operand[0], info->note);
}

/* ------------------------------------------------------------------ one file */
static int with_trace(int argc, char **argv, enum command_set command, int (*fn)(struct options *o, struct trace_reader *r))
{
	struct options o;
	char error[640];
	int status = options_parse(&o, command, 1, argc, argv);
	if (status < 0 && !o.operands)
		status = complain(STATUS_USAGE, "name a trace file; --help shows the usage");
	if (status < 0) {
		struct trace_reader *r = trace_reader_open(o.operand[0], error, sizeof error);
		if (r) {
			status = fn(&o, r);
			trace_reader_close(r);
		} else {
			status = complain(STATUS_FAILED, "%s", error);
		}
	}
	options_destroy(&o);
	return status;
}

static int trace_replay_command(int argc, char **argv) { return with_trace(argc, argv, REPLAY, replay_trace); }
static int trace_info_command(int argc, char **argv) { return with_trace(argc, argv, INFO, info_trace); }

static const struct { const char *name; command_fn *run; } trace_rows[] = {
	{ "record", trace_record },
	{ "replay", trace_replay_command },
	{ "info", trace_info_command },
};

static const char *trace_choice(unsigned i)
{
	return i < sizeof trace_rows / sizeof *trace_rows ? trace_rows[i].name : NULL;
}

int cmd_trace(int argc, char **argv)
{
	for (unsigned i = 0; argc > 1 && i < sizeof trace_rows / sizeof *trace_rows; i++)
		if (!strcmp(argv[1], trace_rows[i].name))
			return trace_rows[i].run(argc - 1, argv + 1);
	bool help = argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));
	if (argc > 1 && !help) {
		const char *near = nearest_word(argv[1], trace_choice);
		return complain(STATUS_USAGE, "trace: unknown word \"%s\"%s%s; there are record, replay and info: ringside trace --help", argv[1], near ? ", the nearest is " : "", near ? near : "");
	}
	fputs("usage: ringside trace record [CONFIG.yaml] [options]\n       ringside trace replay FILE [options]\n       ringside trace info FILE [options]\n\n"
		"ringside trace record --help, and so on, teach each one\n", help ? stdout : stderr);
	return help ? STATUS_GOOD : STATUS_USAGE;
}
