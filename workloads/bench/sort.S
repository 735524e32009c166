/* sort: Shell's sort (gaps of Ciura 2001) of pseudo-random numbers in 256 KiB, many times; compares and branches on data. */
#include "bench.inc"
	.set MAPPED_TABLES, 2
#include "paging.inc"
	.set EXPECTED, 0x1204e5c0
	.set COUNT, 65536
	.set ROUNDS, 15

bench:
	call paging_begin
	movl $88172645, %eax
	movl $ROUNDS, rounds
	xorl %ebp, %ebp
round:	xorl %ecx, %ecx
1:	XORSHIFT32
	movl %eax, numbers(,%ecx,4)
	incl %ecx
	cmpl $COUNT, %ecx
	jne 1b
	movl %eax, state
	movl $gaps, %esi
gap:	movl (%esi), %ebx        /* EBX = gap, EDI = element to insert, ECX = where the hole is */
	movl %ebx, %edi
insert:	movl numbers(,%edi,4), %eax
	movl %edi, %ecx
shift:	movl %ecx, %edx
	subl %ebx, %edx
	jb place
	cmpl %eax, numbers(,%edx,4)
	jbe place
	pushl numbers(,%edx,4)
	popl numbers(,%ecx,4)
	movl %edx, %ecx
	jmp shift
place:	movl %eax, numbers(,%ecx,4)
	incl %edi
	cmpl $COUNT, %edi
	jne insert
	addl $4, %esi
	cmpl $gaps_end, %esi
	jne gap
	xorl %ecx, %ecx          /* the result depends on each number's place */
2:	roll $1, %ebp
	addl numbers(,%ecx,4), %ebp
	incl %ecx
	cmpl $COUNT, %ecx
	jne 2b
	movl state, %eax
	decl rounds
	jnz round
	movl %ebp, %eax
	ret

	.balign 4
gaps:	.long 8858, 3937, 1750, 701, 301, 132, 57, 23, 10, 4, 1
gaps_end:
	.bss
	.balign 4096
numbers:
	.skip COUNT * 4
rounds:	.skip 4
state:	.skip 4
