/*
 * The rows of workloads.def, and what the same programs print when they run natively on Linux: the reference of the workload suites.
 */
#ifndef TESTS_WORKLOAD_ROWS_H
#define TESTS_WORKLOAD_ROWS_H
#include <CUnit/Basic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define OUTPUT_MAX 65536

struct workload {
	const char *name, *command_line;
	unsigned memory_mib;
	bool depends_on_time;
};

static const struct workload workloads[] = {
#define WORKLOAD(name, command_line, memory_mib, what, depends_on_time) { #name, command_line, memory_mib, depends_on_time },
#include "workloads/workloads.def"
#undef WORKLOAD
};

static const char *const widths[] = { "i386", "x86_64" };

/* Runs a shell command; its standard output to `output`. Returns the exit code, -1 if it did not end by itself. */
static inline int command_run(const char *command, char *output)
{
	FILE *pipe = popen(command, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(pipe);
	size_t count = fread(output, 1, OUTPUT_MAX - 1, pipe);
	output[count] = 0;
	int status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Keeps only the lines with ": checksum ", each without its carriage return. */
static inline void lines_filter(char *text)
{
	char *to = text, *save = NULL;
	for (char *line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
		size_t length = strlen(line);
		if (!strstr(line, ": checksum "))
			continue;
		memmove(to, line, length);
		to += length;
		*to++ = '\n';
	}
	*to = 0;
}

/* Runs the row's program natively, as built for Linux from the same source. Returns its exit code. */
static inline int native_run(const char *width, const struct workload *w, char *output)
{
	char command[4096];
	snprintf(command, sizeof command, "timeout 120 '%s/workloads/native/%s/'%s", BINARY_DIR, width, strstr(w->command_line, "init=") + 5);
	return command_run(command, output);
}
#endif
