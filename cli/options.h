/*
 * The command line: options of all subcommands by one table, shared helpers of subcommands.
 *
 * Invariant: an option that a subcommand does not take is an error with a remedy, never ignored. Exit codes: 0 good; 1 a run failed, or runs are not equivalent; 2 usage or configuration.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H
#include "config.h"
#include "progress.h"
#include "../analysis/results.h"

enum { STATUS_GOOD = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

enum command_set { RUN = 1, COMPARE = 2, RECORD = 4, REPLAY = 8, INFO = 16, LIST = 32, BENCHES = 64, ALL = 127 };
enum option_id {
	OPTION_FIRST = 256,
#define OPTION(id, name, argument, commands, help) OPTION_##id,
#include "options.def"
#undef OPTION
	OPTION_END
};

struct options {
	struct settings settings;   /* the command line's; behind options_config() the file's come first */
	const char *techniques, *technique, *db, *output, *kernels;
	unsigned seeds, jobs, runs;
	bool fit, no_replay, lockstep, peers, quick, json, console, progress, print_config, help;
	const char *operand[4];
	unsigned operands;
};

/* Parses argv[1..] for one command of `command`; at most `most` operands. Returns -1 to go on, or an exit status (help was printed, or a usage error was). */
int options_parse(struct options *o, enum command_set command, unsigned most, int argc, char **argv);
void options_destroy(struct options *o);

/* Default configuration, then the file (NULL: none), then --set, then --technique; o->settings is all of them from then on. False: one line was printed. */
bool options_config(struct options *o, const char *path, struct config *c);

/* Prints "ringside: ..." on standard error; returns status. */
int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Complains that no machine can be made as it is configured: `error` begins with the key or section that is to blame, and where that was set last ("FILE:LINE") goes before it.
 * Returns STATUS_USAGE. */
int options_refuse(const struct options *o, const char *error);

/* Opens the database of --db, or of `otherwise` (NULL: none), before anything runs: not after hours that it would lose. False: one line was printed. */
bool store_open(const struct options *o, const char *otherwise, struct results_db **db);
/* Writes a run (NULL db: does nothing) and closes the database. False: one line was printed. */
bool store_run(struct results_db *db, const struct run_result *r, const char *config_text);

typedef int command_fn(int argc, char **argv);
command_fn cmd_run, cmd_compare, cmd_trace, cmd_list, cmd_bench;
#endif
