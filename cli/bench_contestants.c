/*
 * Who runs bench kernels: each contestant is a command line and what its end looks like when the guest was right.
 * Nothing of the simulator is included: <signal.h> has registers of the same names.
 */
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CPU_SECONDS_MOST 120  /* of one run */
#define WALL_SECONDS_MOST 900 /* of one run: the computer may be busy */

const struct bench_kernel bench_kernels[] = {
#define BENCH(name, file, instructions, what) { #name, file, instructions, what },
#include "../workloads/bench.def"
#undef BENCH
};
const unsigned bench_kernel_count = sizeof bench_kernels / sizeof *bench_kernels;
_Static_assert(sizeof bench_kernels / sizeof *bench_kernels <= BENCH_KERNELS_MOST, "arrays of results hold every kernel");

/* A command line: arguments point to literals or into text. */
struct command { const char *argument[24]; char text[4][1100]; };

static bool ringside_command(const struct bench_place *p, const struct bench_kernel *k, struct command *c, const char *engine, const char *core)
{
	snprintf(c->text[0], sizeof *c->text, "kernel=%s/%s", p->images, k->file);
	snprintf(c->text[1], sizeof *c->text, "machine.core=%s", core);
	snprintf(c->text[2], sizeof *c->text, "machine.engine=%s", engine);
	const char *const all[] = { p->self, "run", "--set", c->text[0], "--set", c->text[1], "--set", c->text[2], "--set", "machine.memory=512M", NULL };
	memcpy(c->argument, all, sizeof all);
	return true;
}

static bool functional_command(const struct bench_place *p, const struct bench_kernel *k, struct command *c) { return ringside_command(p, k, c, "threaded", "functional"); }
static bool tlb_command(const struct bench_place *p, const struct bench_kernel *k, struct command *c) { return ringside_command(p, k, c, "threaded", "tlb"); }
static bool fixed_command(const struct bench_place *p, const struct bench_kernel *k, struct command *c) { return ringside_command(p, k, c, "threaded", "fixed"); }
static bool dbt_command(const struct bench_place *p, const struct bench_kernel *k, struct command *c) { return ringside_command(p, k, c, "dbt", "functional"); }
static bool dbt_fixed_command(const struct bench_place *p, const struct bench_kernel *k, struct command *c) { return ringside_command(p, k, c, "dbt", "fixed"); }

static bool qemu_command(const struct bench_place *p, const struct bench_kernel *k, struct command *c)
{
	snprintf(c->text[0], sizeof *c->text, "%s/%s", p->images, k->file);
	const char *const all[] = { "qemu-system-x86_64", "-accel", "tcg,thread=single", "-m", "512", "-display", "none", "-no-reboot", "-nodefaults", "-kernel", c->text[0], "-device",
		"isa-debug-exit,iobase=0xf4,iosize=1", NULL };
	memcpy(c->argument, all, sizeof all);
	return true;
}

static bool file_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	bool ok = f && fputs(text, f) >= 0;
	return f && fclose(f) == 0 && ok;
}

/* Debian's build has a debugger, which wants the command to begin; no display is wanted, and "rfb" with no time to wait for a viewer needs none. */
static bool bochs_command(const struct bench_place *p, const struct bench_kernel *k, struct command *c)
{
	char config[2048];
	int stem = (int)strcspn(k->file, ".");
	snprintf(c->text[0], sizeof *c->text, "%s/bochsrc", p->scratch);
	snprintf(c->text[1], sizeof *c->text, "%s/continue", p->scratch);
	snprintf(config, sizeof config,
		"megs: 512\nromimage: file=/usr/share/bochs/BIOS-bochs-latest\nvgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n"
		"ata0-master: type=disk, path=\"%s/%.*s.disk\", mode=flat\nboot: disk\ndisplay_library: rfb, options=\"timeout=0\"\n"
		"log: %s/bochs.log\npanic: action=fatal\nerror: action=report\nclock: sync=none\nspeaker: enabled=0\n", p->images, stem, k->file, p->scratch);
	const char *const all[] = { "bochs", "-q", "-f", c->text[0], "-rc", c->text[1], NULL };
	memcpy(c->argument, all, sizeof all);
	return file_write(c->text[0], config) && file_write(c->text[1], "c\n");
}

/* Looks for text in a file of the temporary directory; copies the line from there on. */
static bool scratch_find(const struct bench_place *p, const char *file, const char *text, char *line, size_t size)
{
	char path[300], buffer[512];
	snprintf(path, sizeof path, "%s/%s", p->scratch, file);
	FILE *f = fopen(path, "r");
	const char *at = NULL;
	while (f && !at && fgets(buffer, sizeof buffer, f))
		at = strstr(buffer, text);
	if (at && line)
		snprintf(line, size, "%.*s", (int)strcspn(at, "\n"), at);
	if (f)
		fclose(f);
	return at != NULL;
}

/* ---- how a run ends when the guest was right ---- */
static bool ringside_good(const struct bench_place *p, int status) { return (void)p, status == 0; }
static bool qemu_good(const struct bench_place *p, int status) { return (void)p, status == 1; }  /* isa-debug-exit: value << 1 | 1 */

/* The guest powers Bochs off, which it reports as a panic. It cannot tell the result: Ringside and QEMU check that. */
static bool bochs_good(const struct bench_place *p, int status)
{
	return status == 1 && scratch_find(p, "bochs.log", "shutdown requested", NULL, 0);
}

static const struct contestant {
	const char *name, *what, *program; /* program: NULL: this one */
	bool (*command)(const struct bench_place *p, const struct bench_kernel *k, struct command *c);
	bool (*good)(const struct bench_place *p, int status);
} contestants[CONTESTANTS] = { /* ORDER CONTEST */
	{ "functional", "Ringside's interpreter without a timing model", NULL, functional_command, ringside_good },
	{ "tlb", "Ringside with the modelled TLBs only", NULL, tlb_command, ringside_good },
	{ "fixed", "Ringside's fixed core: TLBs, walks, caches, DRAM", NULL, fixed_command, ringside_good },
	{ "dbt", "Ringside's translator without a timing model", NULL, dbt_command, ringside_good },
	{ "dbt-fixed", "Ringside's translator with the fixed core", NULL, dbt_fixed_command, ringside_good },
	{ "bochs", "Debian's Bochs", "bochs", bochs_command, bochs_good },
	{ "qemu", "Debian's QEMU, -accel tcg,thread=single", "qemu-system-x86_64", qemu_command, qemu_good },
};

const char *bench_contestant_name(enum bench_contestant c) { return contestants[c].name; }
const char *bench_contestant_what(enum bench_contestant c) { return contestants[c].what; }

bool bench_contestant_present(enum bench_contestant c)
{
	const char *program = contestants[c].program, *path = getenv("PATH");
	char one[1024];
	while (program && path && *path) {
		size_t n = strcspn(path, ":");
		snprintf(one, sizeof one, "%.*s/%s", (int)n, path, program);
		if (!access(one, X_OK))
			return true;
		path += n + (path[n] == ':');
	}
	return !program;
}

void bench_contestant_version(enum bench_contestant c, const struct bench_place *p, char *version, size_t size)
{
	*version = 0;
	if (c == CONTEST_BOCHS)
		scratch_find(p, "bochs.log", "Bochs x86 Emulator", version, size);
	else if (c == CONTEST_QEMU && bench_contestant_present(c)) {
		FILE *f = popen("qemu-system-x86_64 --version", "r");
		if (f && fgets(version, (int)size, f))
			version[strcspn(version, "\n")] = 0;
		if (f)
			pclose(f);
	}
}

static _Noreturn void child_become(const struct command *c)
{
	struct rlimit cpu = { CPU_SECONDS_MOST, CPU_SECONDS_MOST + 1 };
	int null = open("/dev/null", O_RDWR);
	setrlimit(RLIMIT_CPU, &cpu);
	alarm(WALL_SECONDS_MOST); /* it outlives exec */
	signal(SIGINT, SIG_DFL);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	execvp(c->argument[0], (char *const *)(uintptr_t)c->argument);
	_exit(127);
}

enum bench_end bench_contestant_run(enum bench_contestant which, const struct bench_place *p, const struct bench_kernel *k, double *seconds)
{
	struct command c = { { NULL }, { "" } };
	struct rusage usage;
	int status;
	if (!contestants[which].command(p, k, &c))
		return BENCH_BAD;
	void (*before)(int) = signal(SIGINT, SIG_IGN); /* the child dies of it; this process has the temporary directory to remove */
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		child_become(&c);
	bool waited = pid > 0 && wait4(pid, &status, 0, &usage) == pid;
	signal(SIGINT, before);
	if (waited && WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)
		return BENCH_INTERRUPTED;
	if (!waited || !WIFEXITED(status) || !contestants[which].good(p, WEXITSTATUS(status)))
		return BENCH_BAD;
	*seconds = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6;
	return BENCH_GOOD;
}

/* ---- where things are ---- */
bool bench_place_create(struct bench_place *p, char *error, size_t error_size)
{
	const char *temporary = getenv("TMPDIR");
	ssize_t n = readlink("/proc/self/exe", p->self, sizeof p->self - 1);
	if (n <= 0 || n > (ssize_t)sizeof p->self - 32)
		return snprintf(error, error_size, "this program's own path cannot be read, or is too long"), false;
	p->self[n] = 0;
	snprintf(p->images, sizeof p->images, "%.*s/workloads/bench", (int)(strrchr(p->self, '/') - p->self), p->self);
	if (access(p->images, R_OK))
		return snprintf(error, error_size, "%s: no bench kernels: build the target `workloads`", p->images), false;
	if (snprintf(p->scratch, sizeof p->scratch, "%s/ringside-bench-XXXXXX", temporary && *temporary ? temporary : "/tmp") >= (int)sizeof p->scratch || !mkdtemp(p->scratch))
		return snprintf(error, error_size, "no temporary directory: %s; set TMPDIR to one that can be written", strerror(errno)), false;
	return true;
}

void bench_place_destroy(const struct bench_place *p)
{
	static const char *const files[] = { "bochsrc", "continue", "bochs.log" };
	char path[300];
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "%s/%s", p->scratch, files[i]);
		unlink(path);
	}
	rmdir(p->scratch);
}
