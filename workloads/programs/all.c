/* all: runs each program in turn with small parameters; its checksum covers their exit codes. */
#include "rs.h"

#define PROGRAM(...) { __VA_ARGS__, NULL }

static char *const programs[][5] = {
	PROGRAM("nanobench", "which=syscall", "n=500"),
	PROGRAM("nanobench", "which=in", "n=100"),
	PROGRAM("nanobench", "which=cr8wr", "n=100"),
	PROGRAM("nanobench", "which=callret", "n=1000"),
	PROGRAM("nanobench", "which=pgfault", "n=100"),
	PROGRAM("nanobench", "which=divzero", "n=100"),
	PROGRAM("nanobench", "which=ptemod", "n=200"),
	PROGRAM("forkwait", "n=20"),
	PROGRAM("pingpong", "n=50"),
	PROGRAM("gups", "kib=512", "n=20000"),
	PROGRAM("chase", "kib=256", "n=20000"),
	PROGRAM("sort", "n=5000"),
	PROGRAM("ptstorm", "n=3", "pages=64"),
	PROGRAM("zlib", "level=6", "n=1"),
	PROGRAM("execs", "n=5"),
	PROGRAM("faults"),
	PROGRAM("preempt", "n=5000"),
};

int main(void)
{
	uint32_t sum = 0;
	bool failed = false;
	for (unsigned i = 0; i < sizeof programs / sizeof *programs; i++) {
		int status, child = rs_fork();
		if (child == 0) {
			rs_exec(programs[i][0], programs[i]);
			rs_fail("all", "a program is missing");
		}
		if (child < 0 || rs_wait(&status) != child)
			rs_fail("all", "no child");
		sum = rs_mix(sum, (uint32_t)status + i + 1);
		failed |= status != 0;
	}
	rs_report("all", sum);
	return failed;
}
