/* The part of the programs' library that needs no system. Invariant: no state. */
#include "rs.h"
#include <string.h>

const char *rs_parameter_text(int argc, char **argv, const char *name, const char *otherwise)
{
	size_t length = strlen(name);
	for (int i = 1; i < argc; i++)
		if (strlen(argv[i]) > length && memcmp(argv[i], name, length) == 0 && argv[i][length] == '=')
			return argv[i] + length + 1;
	return otherwise;
}

long rs_parameter(int argc, char **argv, const char *name, long otherwise)
{
	const char *text = rs_parameter_text(argc, argv, name, NULL);
	if (!text)
		return otherwise;
	long value = 0;
	for (; *text >= '0' && *text <= '9' && value < 100000000; text++)
		value = value * 10 + (*text - '0');
	return value;
}

uint32_t rs_mix(uint32_t sum, uint32_t value)
{
	sum = (sum ^ value) * 0x9E3779B1u;
	return sum ^ sum >> 15;
}

uint32_t rs_mix_bytes(uint32_t sum, const void *bytes, size_t count)
{
	const unsigned char *p = bytes;
	while (count--)
		sum = (sum ^ *p++) * 0x01000193u; /* FNV-1a */
	return sum;
}

uint32_t rs_random(uint32_t *state)
{
	uint32_t x = *state;
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

void rs_print(const char *text)
{
	rs_write(1, text, strlen(text));
}

/* One write each, so that lines of several processes do not mix. */
void rs_report(const char *name, uint32_t sum)
{
	char line[64];
	size_t n = strlen(name) < 40 ? strlen(name) : 40;
	memcpy(line, name, n);
	memcpy(line + n, ": checksum ", 11);
	for (unsigned i = 0; i < 8; i++)
		line[n + 11 + i] = "0123456789abcdef"[sum >> (28 - 4 * i) & 15];
	line[n + 19] = '\n';
	rs_write(1, line, n + 20);
}

_Noreturn void rs_fail(const char *name, const char *why)
{
	rs_print(name);
	rs_print(": failed: ");
	rs_print(why);
	rs_print("\n");
	rs_exit(1);
}
