/* pingpong n=N: two processes send a number to and fro over two pipes, n times. */
#include "rs.h"

static void serve(int in, int out)
{
	uint32_t value;
	while (rs_read(in, &value, sizeof value) == (long)sizeof value) {
		value = rs_mix(value, 1);
		rs_write(out, &value, sizeof value);
	}
	rs_exit(0);
}

int main(int argc, char **argv)
{
	long n = rs_parameter(argc, argv, "n", 200);
	int there[2], back[2], status;
	uint32_t value = 7, sum = 0;
	if (rs_pipe(there) || rs_pipe(back))
		rs_fail("pingpong", "no pipe");
	int child = rs_fork();
	if (child < 0)
		rs_fail("pingpong", "no child");
	if (child == 0) {
		rs_close(there[1]);
		serve(there[0], back[1]);
	}
	rs_close(there[0]);
	rs_close(back[1]);
	RS_MARK_BEGIN(RS_REGION_PINGPONG);
	for (long i = 0; i < n; i++) {
		rs_write(there[1], &value, sizeof value);
		if (rs_read(back[0], &value, sizeof value) != (long)sizeof value)
			rs_fail("pingpong", "no answer");
		sum = rs_mix(sum, value);
	}
	RS_MARK_END(RS_REGION_PINGPONG);
	rs_close(there[1]);
	rs_wait(&status);
	rs_report("pingpong", rs_mix(sum, (uint32_t)status));
	return 0;
}
