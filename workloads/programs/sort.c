/* sort n=N: quicksort of n pseudo-random 32-bit numbers; insertion sort below 16. */
#include <stdlib.h>
#include "rs.h"

static void insertion_sort(uint32_t *a, long n)
{
	for (long i = 1; i < n; i++) {
		uint32_t value = a[i];
		long j = i;
		for (; j > 0 && a[j - 1] > value; j--)
			a[j] = a[j - 1];
		a[j] = value;
	}
}

static long partition(uint32_t *a, long n)
{
	uint32_t pivot = a[n / 2];
	long i = -1, j = n;
	for (;;) {
		do
			i++;
		while (a[i] < pivot);
		do
			j--;
		while (a[j] > pivot);
		if (i >= j)
			return j + 1;
		uint32_t t = a[i];
		a[i] = a[j];
		a[j] = t;
	}
}

static void quick_sort(uint32_t *a, long n)
{
	while (n > 16) {
		long split = partition(a, n);
		quick_sort(a, split);
		a += split;
		n -= split;
	}
	insertion_sort(a, n);
}

int main(int argc, char **argv)
{
	long n = rs_parameter(argc, argv, "n", 20000);
	uint32_t *a = malloc((size_t)n * sizeof *a), state = 12345, sum = 0;
	if (!a)
		rs_fail("sort", "no memory");
	for (long i = 0; i < n; i++)
		a[i] = rs_random(&state);
	RS_MARK_BEGIN(RS_REGION_SORT);
	quick_sort(a, n);
	RS_MARK_END(RS_REGION_SORT);
	for (long i = 0; i < n; i++) {
		if (i && a[i - 1] > a[i])
			rs_fail("sort", "not in order");
		sum = rs_mix(sum, a[i]);
	}
	free(a);
	rs_report("sort", sum);
	return 0;
}
