/* nap n=N: sleeps N times for two timer ticks, so that the machine idles; says so when there is no timer. */
#include "rs.h"

int main(int argc, char **argv)
{
	long n = rs_parameter(argc, argv, "n", 5);
	uint32_t sum = 0;
	RS_MARK_BEGIN(RS_REGION_NAP);
	for (long i = 0; i < n; i++) {
		if (rs_sleep(2) != 0) {
			rs_print("nap: there is no timer\n");
			break;
		}
	}
	RS_MARK_END(RS_REGION_NAP);
	rs_report("nap", rs_mix(sum, (uint32_t)n));
	return 0;
}
