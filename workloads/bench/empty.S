/* empty: nothing. What it takes is start-up: `ringside bench` subtracts it from every other kernel's time. */
#include "bench.inc"
	.set EXPECTED, 1

bench:
	movl $EXPECTED, %eax
	ret
