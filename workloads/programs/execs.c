/* execs n=N: the program executes itself n times, carrying count and checksum in its arguments. */
#include "rs.h"

/* Writes NAME=VALUE with the name's length `at`. */
static void put_number(char *text, unsigned at, uint32_t value)
{
	char digits[12];
	unsigned n = 0;
	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	while (n)
		text[at++] = digits[--n];
	text[at] = 0;
}

int main(int argc, char **argv)
{
	char left[32] = "left=", sum_text[32] = "sum=";
	char *arguments[] = { "execs", left, sum_text, NULL };
	long n = rs_parameter(argc, argv, "n", 10), remaining = rs_parameter(argc, argv, "left", n);
	uint32_t sum = (uint32_t)rs_parameter(argc, argv, "sum", 0);
	if (!rs_parameter_text(argc, argv, "left", NULL))
		RS_MARK_BEGIN(RS_REGION_EXECS);
	if (remaining == 0) {
		RS_MARK_END(RS_REGION_EXECS);
		rs_report("execs", sum);
		return 0;
	}
	put_number(left, 5, (uint32_t)remaining - 1);
	put_number(sum_text, 4, rs_mix(sum, (uint32_t)remaining) % 90000000);
	rs_exec("execs", arguments);
	rs_fail("execs", "exec");
}
