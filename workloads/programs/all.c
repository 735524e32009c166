/*
 * all scale=N: runs each program in turn with small parameters, repeated N times over; its checksum covers their exit codes.
 * The scale multiplies what each program repeats, not the memory that it touches.
 */
#include "rs.h"

struct part {
	const char *program, *option[2]; /* as they are */
	long n;                          /* n=N times the scale; 0: takes no n */
};

static const struct part parts[] = {
	{ "nanobench", { "which=syscall" }, 500 },
	{ "nanobench", { "which=in" }, 100 },
	{ "nanobench", { "which=cr8wr" }, 100 },
	{ "nanobench", { "which=callret" }, 1000 },
	{ "nanobench", { "which=pgfault" }, 100 },
	{ "nanobench", { "which=divzero" }, 100 },
	{ "nanobench", { "which=ptemod" }, 200 },
	{ "forkwait", { NULL }, 20 },
	{ "pingpong", { NULL }, 50 },
	{ "gups", { "kib=512" }, 20000 },
	{ "chase", { "kib=256" }, 20000 },
	{ "sort", { NULL }, 5000 },
	{ "ptstorm", { "pages=64" }, 3 },
	{ "zlib", { "level=6" }, 1 },
	{ "execs", { NULL }, 5 },
	{ "faults", { NULL }, 0 },
	{ "preempt", { NULL }, 5000 },
};

/* "n=" and the decimal number. */
static void count_format(char *to, long n)
{
	char digits[24];
	int length = 0;
	do
		digits[length++] = (char)('0' + n % 10);
	while (n /= 10);
	*to++ = 'n';
	*to++ = '=';
	while (length)
		*to++ = digits[--length];
	*to = 0;
}

static void part_exec(const struct part *p, long scale)
{
	char count[32];
	const char *argv[5] = { p->program };
	int argc = 1;
	for (int i = 0; i < 2 && p->option[i]; i++)
		argv[argc++] = p->option[i];
	if (p->n) {
		count_format(count, p->n * scale);
		argv[argc++] = count;
	}
	rs_exec(p->program, (char *const *)argv);
	rs_fail("all", "a program is missing");
}

int main(int argc, char **argv)
{
	long scale = rs_parameter(argc, argv, "scale", 1);
	uint32_t sum = 0;
	bool failed = false;
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
		int status, child = rs_fork();
		if (child == 0)
			part_exec(&parts[i], scale);
		if (child < 0 || rs_wait(&status) != child)
			rs_fail("all", "no child");
		sum = rs_mix(sum, (uint32_t)status + i + 1);
		failed |= status != 0;
	}
	rs_report("all", sum);
	return failed;
}
