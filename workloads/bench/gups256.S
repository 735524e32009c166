/* gups256: random updates of 256 MiB behind 4 KiB pages: neither a TLB nor a cache holds it. The sum is over the values found, so the memory must be zero at power on. */
#include "bench.inc"
	.set MAPPED_TABLES, 72   /* of 4 MiB each */
#include "paging.inc"
	.set EXPECTED, 0x9defaa2c
	.set WORDS, 67108864
	.set UPDATES, 4000000

bench:
	call paging_begin
	xorl %ebx, %ebx
	movl $2463534242, %eax
	movl $UPDATES, %ecx
1:	XORSHIFT32
	movl %eax, %edx
	andl $WORDS - 1, %edx
	addl table(,%edx,4), %ebx
	xorl %eax, table(,%edx,4)
	decl %ecx
	jnz 1b
	movl %ebx, %eax
	ret

	.bss
	.balign 4096
table:	.skip WORDS * 4
