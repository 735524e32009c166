/* ringside: subcommands by table. Each is one file, cmd_<name>.c. */
#include "options.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct command_row { const char *name; command_fn *run; const char *operands, *summary; } command_rows[] = {
#define COMMAND(name, function, operands, summary) { name, function, operands, summary },
#include "commands.def"
#undef COMMAND
};
#define COMMANDS (sizeof command_rows / sizeof *command_rows)

static void help_print(FILE *out)
{
	fputs("ringside: run one guest under every virtualization technique, and see where each cycle goes\n\nusage: ringside COMMAND [arguments]\n\n", out);
	for (unsigned i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %-22s %s\n", command_rows[i].name, command_rows[i].operands, command_rows[i].summary);
	fputs("\n  ringside COMMAND --help teaches a command, with examples\n"
		"\nto begin with:\n"
		"  ringside compare                                  every technique, the built-in workloads\n"
		"  ringside compare --workload forkwait --width 32   one workload, 32-bit guest\n"
		"  ringside list                                     what there is to choose from\n"
		"\nexit status: 0 good; 1 a run failed, or runs are not equivalent; 2 usage or configuration\n", out);
}

static const char *command_choice(unsigned i)
{
	return i < COMMANDS ? command_rows[i].name : NULL;
}

/* A standard stream that the caller has closed is taken by nothing else: no result may end up in a trace. Writing to it fails. */
static void streams_open(void)
{
	int fd;
	while ((fd = open("/dev/null", O_RDONLY)) >= 0 && fd <= STDERR_FILENO)
		;
	if (fd > STDERR_FILENO)
		close(fd);
}

/* What could not be written was not said. */
static int streams_close(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	complain(STATUS_FAILED, "standard output: not all could be written: it is closed, or its disk is full");
	return status == STATUS_GOOD ? STATUS_FAILED : status;
}

static int command_run(int argc, char **argv)
{
	if (argc < 2) {
		help_print(stderr);
		return STATUS_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help_print(stdout);
		return STATUS_GOOD;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("ringside %s\n", results_program_version());
		return STATUS_GOOD;
	}
	for (unsigned i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], command_rows[i].name))
			return command_rows[i].run(argc - 1, argv + 1);
	const char *near = nearest_word(argv[1], command_choice);
	return complain(STATUS_USAGE, "unknown command \"%s\"%s%s; ringside --help shows all", argv[1], near ? ", the nearest is " : "", near ? near : "");
}

int main(int argc, char **argv)
{
	streams_open();
	return streams_close(command_run(argc, argv));
}
