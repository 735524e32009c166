/* copy: a loop of loads and stores copies 16 KiB to and fro: data that stays in a first-level cache. */
#include "bench.inc"
	.set MAPPED_TABLES, 2
#include "paging.inc"
	.set EXPECTED, 0x3a241e52
	.set WORDS, 4096
	.set ROUNDS, 24000

bench:
	call paging_begin
	xorl %ecx, %ecx
	movl $12345, %eax
1:	movl %eax, from(,%ecx,4)
	imull $1664525, %eax, %eax
	addl $1013904223, %eax
	incl %ecx
	cmpl $WORDS, %ecx
	jne 1b
	movl $ROUNDS, %ebp
	movl $from, %esi
	movl $to, %edi
2:	xorl %ecx, %ecx
3:	movl (%esi,%ecx,4), %eax
	movl 4(%esi,%ecx,4), %edx
	movl %eax, (%edi,%ecx,4)
	movl %edx, 4(%edi,%ecx,4)
	movl 8(%esi,%ecx,4), %eax
	movl 12(%esi,%ecx,4), %edx
	movl %eax, 8(%edi,%ecx,4)
	movl %edx, 12(%edi,%ecx,4)
	addl $4, %ecx
	cmpl $WORDS, %ecx
	jne 3b
	incl (%edi)
	xchgl %esi, %edi
	decl %ebp
	jnz 2b
	xorl %ecx, %ecx
	xorl %eax, %eax
4:	roll $1, %eax
	addl (%esi,%ecx,4), %eax
	incl %ecx
	cmpl $WORDS, %ecx
	jne 4b
	ret

	.bss
	.balign 4096
from:	.skip WORDS * 4
to:	.skip WORDS * 4
