/*
 * nanobench which=NAME n=N: one of the seven nanobenchmarks of Adams and Agesen (ASPLOS 2006). `syscall` runs here; the others
 * inside the kernel. Where one does not exist (cr8wr on i386; all but syscall on Linux)
 * a note says so. The checksum covers the request, not the kernel's work, so it is the same everywhere.
 */
#include <string.h>
#include "rs.h"

static const char *const names[] = {
#define REGION(NAME, id, name, what)
#define NANOBENCH(NAME, id, name, what) [id] = name,
#include "ringside_regions.def"
#undef NANOBENCH
#undef REGION
};

static int run_syscall(unsigned n)
{
	int sum = 0;
	RS_MARK_BEGIN(RS_NANOBENCH_SYSCALL);
	for (unsigned i = 0; i < n; i++)
		sum |= rs_null_call();
	RS_MARK_END(RS_NANOBENCH_SYSCALL);
	return sum;
}

static unsigned find(const char *name)
{
	for (unsigned i = 1; i <= RS_NANOBENCH_COUNT; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	rs_fail("nanobench", "which=NAME is one of syscall in cr8wr callret pgfault divzero ptemod");
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)rs_parameter(argc, argv, "n", 1000);
	unsigned which = find(rs_parameter_text(argc, argv, "which", "syscall"));
	int result = which == RS_NANOBENCH_SYSCALL ? run_syscall(n) : rs_nanobench(which, n);
	if (result == RS_NANOBENCH_NOT_APPLICABLE) {
		rs_print(names[which]);
		rs_print(": does not apply to this build\n");
	} else if (result != 0) {
		rs_fail(names[which], "the kernel refused");
	}
	rs_report(names[which], rs_mix(rs_mix(0, which), n));
	return 0;
}
