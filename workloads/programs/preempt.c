/* preempt n=N: four processes compute at once, N steps each, with SSE2 state, and never give up the processor. */
#include "rs.h"

/* Depends on every step; the double and the integer must survive each switch of processes. */
static uint32_t compute(long n, uint32_t seed)
{
	double x = (int32_t)seed; /* signed conversions: SSE2 has no other, and i386 code would reach for x87 */
	uint32_t sum = 0;
	for (long i = 0; i < n; i++) {
		x = x * 0.5 + (double)(i & 255);
		sum = rs_mix(sum, (uint32_t)(int32_t)x);
	}
	return sum;
}

int main(int argc, char **argv)
{
	long n = rs_parameter(argc, argv, "n", 20000);
	uint32_t sum = 0, part;
	int fd[4][2], status;
	RS_MARK_BEGIN(RS_REGION_PREEMPT);
	for (uint32_t i = 0; i < 4; i++) {
		if (rs_pipe(fd[i]))
			rs_fail("preempt", "no pipe");
		int child = rs_fork();
		if (child < 0)
			rs_fail("preempt", "no child");
		if (child == 0) {
			part = compute(n, i + 1);
			rs_write(fd[i][1], &part, sizeof part);
			rs_exit(0);
		}
	}
	for (uint32_t i = 0; i < 4; i++) {
		if (rs_read(fd[i][0], &part, sizeof part) != (long)sizeof part)
			rs_fail("preempt", "no result");
		sum = rs_mix(sum, part);
		rs_wait(&status);
	}
	RS_MARK_END(RS_REGION_PREEMPT);
	rs_report("preempt", sum);
	return 0;
}
