/* Who runs bench kernels: each contestant is a command line and what its end looks like when the guest was right. */
#include "bench.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct bench_kernel bench_kernels[] = {
#define BENCH(name, file, instructions, what) { #name, file, instructions, what },
#include "../workloads/bench.def"
#undef BENCH
};
const unsigned bench_kernel_count = sizeof bench_kernels / sizeof *bench_kernels;
_Static_assert(sizeof bench_kernels / sizeof *bench_kernels <= BENCH_KERNELS_MOST, "arrays of results hold every kernel");

unsigned bench_kernel_find(const char *name)
{
	unsigned k = 0;
	while (k < bench_kernel_count && strcmp(bench_kernels[k].name, name))
		k++;
	return k;
}

/* A command line: arguments point to literals or into text. */
struct command { const char *argument[24]; char text[4][1100]; };
struct contestant;
typedef bool command_maker(const struct contestant *who, const struct bench_place *p, const struct bench_kernel *k, struct command *c);
struct contestant {
	const char *name, *what;
	enum bench_contestant against, among; /* whom its ratio is against, with peers and without */
	const char *program, *package;        /* NULL: this one */
	command_maker *command;
	bool (*good)(const struct bench_place *p, int status);
	const char *engine, *core, *technique; /* of Ringside */
	const char *icount;                    /* of QEMU: argument of -icount; NULL: none */
};

static bool ringside_command(const struct contestant *who, const struct bench_place *p, const struct bench_kernel *k, struct command *c)
{
	snprintf(c->text[0], sizeof *c->text, "kernel=%s/%s", p->images, k->file);
	snprintf(c->text[1], sizeof *c->text, "machine.core=%s", who->core);
	snprintf(c->text[2], sizeof *c->text, "machine.engine=%s", who->engine);
	const char *const all[] = { p->self, "run", "--set", c->text[0], "--set", c->text[1], "--set", c->text[2], "--technique", who->technique, "--set", "machine.memory=512M", "--json", NULL };
	memcpy(c->argument, all, sizeof all);
	return true;
}

static bool qemu_command(const struct contestant *who, const struct bench_place *p, const struct bench_kernel *k, struct command *c)
{
	snprintf(c->text[0], sizeof *c->text, "%s/%s", p->images, k->file);
	const char *const all[] = { who->program, "-accel", "tcg,thread=single", "-m", "512", "-display", "none", "-no-reboot", "-nodefaults", "-kernel", c->text[0], "-device",
		"isa-debug-exit,iobase=0xf4,iosize=1", who->icount ? "-icount" : NULL, who->icount, NULL };
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
static bool bochs_command(const struct contestant *who, const struct bench_place *p, const struct bench_kernel *k, struct command *c)
{
	char config[2048];
	int stem = (int)strcspn(k->file, ".");
	snprintf(c->text[0], sizeof *c->text, "%s/bochsrc", p->scratch);
	snprintf(c->text[1], sizeof *c->text, "%s/continue", p->scratch);
	snprintf(c->text[2], sizeof *c->text, "%s/bochs.log", p->scratch);
	unlink(c->text[2]); /* of the run before */
	snprintf(config, sizeof config,
		"megs: 512\nromimage: file=/usr/share/bochs/BIOS-bochs-latest\nvgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n"
		"ata0-master: type=disk, path=\"%s/%.*s.disk\", mode=flat\nboot: disk\ndisplay_library: rfb, options=\"timeout=0\"\n"
		"log: %s\npanic: action=fatal\nerror: action=report\nclock: sync=none\nspeaker: enabled=0\n", p->images, stem, k->file, c->text[2]);
	const char *const all[] = { who->program, "-q", "-f", c->text[0], "-rc", c->text[1], NULL };
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

/* The guest powers Bochs off, which it reports as a panic; now and then its display's thread then meets its end (a fault). It cannot tell the result: Ringside and QEMU check that. */
static bool bochs_good(const struct bench_place *p, int status)
{
	return (status == 1 || status < 0) && scratch_find(p, "bochs.log", "shutdown requested", NULL, 0);
}

#define OURS NULL, NULL, ringside_command, ringside_good
#define QEMU "qemu-system-x86_64", "qemu-system-x86", qemu_command, qemu_good, NULL, NULL, NULL

static const struct contestant contestants[CONTESTANTS] = { /* ORDER CONTEST */
	{ "functional", "Ringside's interpreter without a timing model", CONTEST_BOCHS, CONTEST_FUNCTIONAL, OURS, "threaded", "functional", "native", NULL },
	{ "tlb", "Ringside's interpreter with the modelled TLBs and page walks only", CONTEST_BOCHS, CONTEST_FUNCTIONAL, OURS, "threaded", "tlb", "native", NULL },
	{ "fixed", "Ringside's interpreter with the fixed core: TLBs, walks, caches, DRAM", CONTEST_BOCHS, CONTEST_FUNCTIONAL, OURS, "threaded", "fixed", "native", NULL },
	{ "dbt", "Ringside's translator without a timing model", CONTEST_QEMU, CONTEST_FUNCTIONAL, OURS, "dbt", "functional", "native", NULL },
	{ "dbt-tlb", "Ringside's translator with the modelled TLBs and page walks only", CONTEST_QEMU, CONTEST_DBT, OURS, "dbt", "tlb", "native", NULL },
	{ "dbt-fixed", "Ringside's translator with the fixed core", CONTEST_QEMU_ICOUNT, CONTEST_DBT, OURS, "dbt", "fixed", "native", NULL },
	{ "dbt-nested", "the same, the guest under nested paging (nested-ept)", CONTEST_DBT_FIXED, CONTEST_DBT_FIXED, OURS, "dbt", "fixed", "nested-ept", NULL },
	{ "dbt-shadow", "the same, the guest under shadow paging (shadow)", CONTEST_DBT_FIXED, CONTEST_DBT_FIXED, OURS, "dbt", "fixed", "shadow", NULL },
	{ "bochs", "Debian's Bochs", CONTEST_QEMU, CONTEST_QEMU, "bochs", "bochs", bochs_command, bochs_good, NULL, NULL, NULL, NULL },
	{ "qemu", "Debian's QEMU, -accel tcg,thread=single", CONTEST_QEMU, CONTEST_QEMU, QEMU, NULL },
	{ "qemu-icount", "the same with -icount shift=0", CONTEST_QEMU, CONTEST_QEMU, QEMU, "shift=0" },
};

const char *bench_contestant_name(enum bench_contestant c) { return contestants[c].name; }
const char *bench_contestant_what(enum bench_contestant c) { return contestants[c].what; }
enum bench_contestant bench_contestant_base(enum bench_contestant c, bool peers) { return peers ? contestants[c].against : contestants[c].among; }
const char *bench_contestant_package(enum bench_contestant c) { return contestants[c].package; }

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
	else if (c != CONTEST_BOCHS && c >= CONTEST_OURS && bench_contestant_present(c)) {
		FILE *f = popen("qemu-system-x86_64 --version", "r");
		if (f && fgets(version, (int)size, f))
			version[strcspn(version, "\n")] = 0;
		if (f)
			pclose(f);
	}
}

/* Of what Ringside printed: JSON with one such key. */
static double touched_find(const struct bench_place *p)
{
	static const char key[] = "\"guest_touched_bytes\": ";
	char line[128];
	return scratch_find(p, "output", key, line, sizeof line) ? strtod(line + sizeof key - 1, NULL) : NAN;
}

enum bench_end bench_contestant_run(enum bench_contestant which, const struct bench_place *p, const struct bench_kernel *k, struct bench_sample *s)
{
	const struct contestant *who = &contestants[which];
	struct command c = { { NULL }, { "" } };
	char output[300];
	struct bench_usage u;
	snprintf(output, sizeof output, "%s/output", p->scratch);
	if (!who->command(who, p, k, &c))
		return BENCH_BAD;
	enum bench_end end = bench_process_run(&(struct bench_task){ .argument = c.argument, .output = output }, &u);
	if (end == BENCH_GOOD && !who->good(p, u.status))
		end = BENCH_BAD;
	if (end == BENCH_GOOD)
		*s = (struct bench_sample){ u.user, u.resident, which < CONTEST_OURS ? touched_find(p) : NAN };
	return end;
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
	bench_signals_hold();
	if (snprintf(p->scratch, sizeof p->scratch, "%s/ringside-bench-XXXXXX", temporary && *temporary ? temporary : "/tmp") >= (int)sizeof p->scratch || !mkdtemp(p->scratch))
		return bench_signals_release(), snprintf(error, error_size, "no temporary directory: %s; set TMPDIR to one that can be written", strerror(errno)), false;
	return true;
}

void bench_place_destroy(const struct bench_place *p)
{
	DIR *d = opendir(p->scratch);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(p->scratch);
	bench_signals_release();
}
