/* gups: read-modify-writes at random places of 16 MiB, behind 4 KiB pages: a miss of any TLB nearly each time. */
#include "bench.inc"
	.set MAPPED_TABLES, 8    /* of 4 MiB each: the image and the table lie below 32 MiB */
#include "paging.inc"
	.set EXPECTED, 0xfa73bf27
	.set WORDS, 4194304
	.set UPDATES, 6000000

bench:
	call paging_begin
	xorl %ecx, %ecx
4:	movl %ecx, table(,%ecx,4)
	incl %ecx
	cmpl $WORDS, %ecx
	jne 4b
	movl $2463534242, %eax
	movl $UPDATES, %ecx
5:	XORSHIFT32
	movl %eax, %edx
	andl $WORDS - 1, %edx
	xorl %eax, table(,%edx,4)
	decl %ecx
	jnz 5b
	xorl %ecx, %ecx
	xorl %eax, %eax
6:	roll $1, %eax
	addl table(,%ecx,4), %eax
	incl %ecx
	cmpl $WORDS, %ecx
	jne 6b
	ret

	.bss
	.balign 4096
table:	.skip WORDS * 4
