/* forkwait n=N: n times fork a child that exits at once, and wait for it (Adams and Agesen, ASPLOS 2006, section 6.2). */
#include "rs.h"

int main(int argc, char **argv)
{
	long n = rs_parameter(argc, argv, "n", 100);
	uint32_t sum = 0;
	RS_MARK_BEGIN(RS_REGION_FORKWAIT);
	for (long i = 0; i < n; i++) {
		int status, child = rs_fork();
		if (child == 0)
			rs_exit((int)(i * 7 & 0x7f));
		if (child < 0 || rs_wait(&status) != child)
			rs_fail("forkwait", "no child");
		sum = rs_mix(sum, (uint32_t)status);
	}
	RS_MARK_END(RS_REGION_FORKWAIT);
	rs_report("forkwait", sum);
	return 0;
}
