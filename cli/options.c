/* The command line. */
#include "options.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct option_row { enum option_id id; const char *name, *argument; unsigned commands; const char *help; } option_rows[] = {
#define OPTION(id, name, argument, commands, help) { OPTION_##id, name, argument, commands, help },
#include "options.def"
#undef OPTION
};
#define OPTION_ROWS (sizeof option_rows / sizeof *option_rows)

/* What each command does, with examples that can be typed as they stand. */
static const struct help_row { enum command_set command; const char *text; } help_rows[] = {
	{ RUN, "usage: ringside run [CONFIG.yaml] [options]\n\n"
		"Runs one guest under one technique and shows where its cycles went. Without a configuration: the built-in\n"
		"workload `tour` on the 64-bit kernel, natively.\n\n"
		"  ringside run --workload forkwait --technique shadow\n"
		"  ringside run --set machine.preset=prescott --set vmm.shadow_roots=1 --technique shadow --json\n"
		"  ringside run my.yaml --print-config > complete.yaml\n\n"
		"Long runs: --sample measures a window of each interval, runs the rest without models, and says how far off the\n"
		"estimate may be. Windows twice as many: intervals of confidence smaller by a factor of 1.4. What a window inherits\n"
		"from cold caches is in no interval: sampling.warmup as long as sampling.interval keeps them warm, at the price of\n"
		"speed. Between the two, make the warm-up longer until the mean stays.\n\n"
		"  ringside run --workload gups --sample\n"
		"  ringside run --workload gups --sample --set sampling.interval=200000 --set sampling.warmup=200000\n" },
	{ COMPARE, "usage: ringside compare [CONFIG.yaml] [options]\n\n"
		"Runs the same guest under every technique and prints them side by side: cycles, overhead against native, exits,\n"
		"TLB misses, and where each cycle went. The native run is recorded on the way and replayed under every technique;\n"
		"a second table shows how far the replays are off. Everything is written to results.db as well.\n\n"
		"  ringside compare\n"
		"  ringside compare --workload pgfault --techniques native,shadow,nested-ept\n"
		"  ringside compare --json | python3 -m json.tool\n"
		"  python3 analysis/plot_compare.py results.db -o plots\n" },
	{ RECORD, "usage: ringside trace record [CONFIG.yaml] [options]\n\n"
		"Runs the guest (natively, unless told otherwise) and writes what it did to a trace.\n\n"
		"  ringside trace record --workload forkwait --output forkwait.trace\n" },
	{ REPLAY, "usage: ringside trace replay FILE [options]\n\n"
		"Runs a recording again: the guest's events come from the file, everything else - TLBs, walks, the VMM, time - is made\n"
		"anew. Under the recorded technique and configuration every counter must come out as recorded; this is checked.\n"
		"Keys that the recording decides (the guest, its memory, cpu.*) are refused. A trace that was cut replays as far as it goes,\n"
		"with exit status 1.\n\n"
		"  ringside trace replay forkwait.trace\n"
		"  ringside trace replay forkwait.trace --technique nested-ept --set vmm.ept_page_shift=21\n" },
	{ INFO, "usage: ringside trace info FILE [options]\n\n"
		"Shows what a trace holds, and whether it is whole: every chunk is read and checked. A trace that was cut or is damaged\n"
		"ends in a line that says so and exit status 1; what its end would have told is null in JSON.\n\n"
		"  ringside trace info forkwait.trace --json\n" },
	{ BENCHES, "usage: ringside bench [options]\n\n"
		"Runs small Multiboot kernels of known length on Ringside (interpreter and translator; without models, with the modelled\n"
		"TLBs, with the fixed core; natively and under nested and shadow paging), in turn, and prints speeds, ratios among them,\n"
		"what limits the fixed model, and what is aimed at. With --peers also on Debian's Bochs and QEMU, with and without\n"
		"-icount, where installed: then ratios are against those. Aims that nothing was measured for say so.\n\n"
		"  ringside bench --peers --quick\n"
		"  ringside bench --kernels sort,gups,syscall --runs 5\n"
		"  ringside bench --peers --json --db results.db\n" },
	{ LIST, "usage: ringside list [TOPIC] [options]\n\n"
		"Shows what there is. Without a topic: the topics.\n\n"
		"  ringside list techniques\n"
		"  ringside list keys\n" },
};

/* Help of one command, from the same table. */
static void options_help(FILE *out, enum command_set command)
{
	for (unsigned i = 0; i < sizeof help_rows / sizeof *help_rows; i++)
		if (help_rows[i].command == command)
			fputs(help_rows[i].text, out);
	fputs("\noptions:\n", out);
	for (unsigned i = 0; i < OPTION_ROWS; i++) {
		const struct option_row *row = &option_rows[i];
		char left[40];
		if (!(row->commands & command))
			continue;
		snprintf(left, sizeof left, "--%s%s%s", row->name, row->argument ? " " : "", row->argument ? row->argument : "");
		fprintf(out, "  %-24s %s\n", left, row->help);
	}
	fputs("\nexit status: 0 good; 1 a run failed, or runs are not equivalent; 2 usage or configuration\n", out);
}

/* One line whatever is quoted in it: control characters of a file or an argument do not reach the terminal. */
int complain(int status, const char *format, ...)
{
	char line[2000];
	va_list list;
	va_start(list, format);
	vsnprintf(line, sizeof line, format, list);
	va_end(list);
	for (char *s = line; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	fprintf(stderr, "ringside: %s\n", line);
	return status;
}

static bool count_parse(const char *text, unsigned most, unsigned *out)
{
	char *end;
	errno = 0;
	unsigned long v = strtoul(text, &end, 10);
	if (errno || !*text || *end || *text == '-' || v == 0 || v > most)
		return false;
	*out = (unsigned)v;
	return true;
}

/* Options that stand for a configuration key. */
static bool option_setting(struct options *o, const char *key, const char *value, char *error, size_t error_size)
{
	char assignment[1024];
	if ((size_t)snprintf(assignment, sizeof assignment, "%s=%s", key, value) < sizeof assignment)
		return settings_add(&o->settings, assignment, error, error_size);
	snprintf(error, error_size, "--%s: the value is too long", key);
	return false;
}

static bool option_take(struct options *o, enum option_id id, const char *value, char *error, size_t error_size)
{
	switch (id) {
	case OPTION_SET: return settings_add(&o->settings, value, error, error_size);
	case OPTION_WORKLOAD: return option_setting(o, "workload", value, error, error_size);
	case OPTION_WIDTH: return option_setting(o, "width", value, error, error_size);
	case OPTION_TECHNIQUE: return option_setting(o, "technique", o->technique = value, error, error_size);
	case OPTION_SAMPLE: return option_setting(o, "sampling.on", "true", error, error_size);
	case OPTION_TECHNIQUES: o->techniques = value; return true;
	case OPTION_DB: o->db = value; return true;
	case OPTION_KERNELS: o->kernels = value; return true;
	case OPTION_OUTPUT: o->output = value; return true;
	case OPTION_FIT: o->fit = true; return true;
	case OPTION_NO_REPLAY: o->no_replay = true; return true;
	case OPTION_LOCKSTEP: o->lockstep = true; return true;
	case OPTION_PEERS: o->peers = true; return true;
	case OPTION_QUICK: o->quick = true; return true;
	case OPTION_JSON: o->json = true; return true;
	case OPTION_CONSOLE: o->console = true; return true;
	case OPTION_PROGRESS: o->progress = true; return true;
	case OPTION_PRINT_CONFIG: o->print_config = true; return true;
	case OPTION_HELP: o->help = true; return true;
	case OPTION_SEEDS: snprintf(error, error_size, "--seeds %.40s: give a number from 1 to 100", value); return count_parse(value, 100, &o->seeds);
	case OPTION_RUNS: snprintf(error, error_size, "--runs %.40s: give a number from 1 to 15", value); return count_parse(value, 15, &o->runs);
	case OPTION_JOBS: snprintf(error, error_size, "--jobs %.40s: give a number from 1 to 64", value); return count_parse(value, 64, &o->jobs);
	default: return false;
	}
}

static void options_long(struct option longs[OPTION_ROWS + 1], enum command_set command)
{
	unsigned n = 0;
	for (unsigned i = 0; i < OPTION_ROWS; i++)
		if (option_rows[i].commands & command)
			longs[n++] = (struct option){ option_rows[i].name, option_rows[i].argument ? required_argument : no_argument, NULL, option_rows[i].id };
	longs[n] = (struct option){ 0 };
}

/* An option that getopt did not take: unknown, or ('?' with optopt set, and ':') with an argument too many or too few. */
static int option_refuse(enum command_set command, int got, const char *word)
{
	const char *near = NULL, *name = word + strspn(word, "-");
	unsigned least = (unsigned)strlen(name) / 2 + 2;
	if (got == ':')
		return complain(STATUS_USAGE, "%s needs a value; --help shows the options", word);
	if (optopt >= 0x100)
		return complain(STATUS_USAGE, "%s takes no value; --help shows the options", word);
	for (unsigned i = 0; i < OPTION_ROWS; i++) {
		unsigned d = edit_distance(name, option_rows[i].name);
		if ((option_rows[i].commands & command) && d < least) {
			least = d;
			near = option_rows[i].name;
		}
	}
	return complain(STATUS_USAGE, "unknown option \"%s\"%s%s; --help shows the options", word, near ? ", the nearest is --" : "", near ? near : "");
}

int options_parse(struct options *o, enum command_set command, unsigned most, int argc, char **argv)
{
	static const struct { char letter; enum option_id id; } letters[] = { { 'h', OPTION_HELP }, { 'j', OPTION_JOBS }, { 'o', OPTION_OUTPUT } };
	struct option longs[OPTION_ROWS + 1];
	char error[1200];
	int got;

	*o = (struct options){ .seeds = 1 };
	options_long(longs, command);
	optind = 1;
	while ((got = getopt_long(argc, argv, command == RECORD ? ":ho:" : command == COMPARE ? ":hj:" : ":h", longs, NULL)) != -1) {
		if (got == '?' || got == ':')
			return option_refuse(command, got, argv[optind - 1]);
		for (unsigned i = 0; i < sizeof letters / sizeof *letters; i++)
			if (got == letters[i].letter)
				got = (int)letters[i].id;
		if (!option_take(o, (enum option_id)got, optarg, error, sizeof error))
			return complain(STATUS_USAGE, "%s", error);
	}
	if (o->help) {
		options_help(stdout, command);
		return STATUS_GOOD;
	}
	for (; optind < argc; optind++) {
		if (o->operands == most)
			return complain(STATUS_USAGE, "unexpected argument \"%s\"; --help shows the usage", argv[optind]);
		o->operand[o->operands++] = argv[optind];
	}
	return -1;
}

void options_destroy(struct options *o)
{
	settings_destroy(&o->settings);
}

bool options_config(struct options *o, const char *path, struct config *c)
{
	struct settings file = { 0 };
	char error[1200];
	config_default(c);
	bool ok = !path || settings_load(&file, path, error, sizeof error);
	/* One list in order, so that machine.preset comes first wherever it stands. */
	for (unsigned i = 0; ok && i < o->settings.count; i++) {
		char assignment[1300];
		snprintf(assignment, sizeof assignment, "%s=%s", o->settings.at[i].key, o->settings.at[i].value);
		ok = settings_add(&file, assignment, error, sizeof error);
	}
	ok = ok && config_apply(c, &file, error, sizeof error);
	settings_destroy(&o->settings);
	o->settings = file;
	if (!ok)
		complain(STATUS_USAGE, "%s", error);
	return ok;
}

/* The setting of `key`, or the last one below it where it is a section. */
static const struct setting *setting_last(const struct settings *s, const char *key, size_t length)
{
	for (unsigned i = s->count; i-- > 0;)
		if (!strncmp(s->at[i].key, key, length) && (!s->at[i].key[length] || s->at[i].key[length] == '.'))
			return &s->at[i];
	return NULL;
}

int options_refuse(const struct options *o, const char *error)
{
	static const char preset[] = "preset.";
	size_t length = strspn(error, "abcdefghijklmnopqrstuvwxyz0123456789_.");
	const struct setting *s = length ? setting_last(&o->settings, error, length) : NULL;
	if (!s && length > sizeof preset && !strncmp(error, preset, sizeof preset - 1)) /* tlb.l2.replacement may not suit the preset's entries */
		s = setting_last(&o->settings, error + sizeof preset - 1, length - sizeof preset + 1);
	return s ? complain(STATUS_USAGE, "%s: %s", s->where, error) : complain(STATUS_USAGE, "%s", error);
}

/* ------------------------------------------------------------------ --db */
bool store_open(const struct options *o, const char *otherwise, struct results_db **db)
{
	char error[640];
	const char *path = o->db ? o->db : otherwise;
	*db = path ? results_open(path, error, sizeof error) : NULL;
	if (path && !*db)
		complain(STATUS_FAILED, "%s", error);
	return !path || *db;
}

bool store_run(struct results_db *db, const struct run_result *r, const char *config_text)
{
	char error[640];
	bool ok = !db || results_write(db, r, config_text, 0, error, sizeof error) >= 0;
	if (!ok)
		complain(STATUS_FAILED, "%s", error);
	results_close(db);
	return ok;
}
