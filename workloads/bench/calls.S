/* calls: Fibonacci's numbers by recursion: calls, returns, pushes and pops. */
#include "bench.inc"
	.set MAPPED_TABLES, 2
#include "paging.inc"
	.set EXPECTED, 5702887
	.set N, 34

bench:
	call paging_begin
	movl $N, %eax
	call fibonacci
	ret

fibonacci:                       /* EAX = n; returns its number, keeps EBX and ESI */
	cmpl $2, %eax
	jb 1f
	pushl %ebx
	pushl %esi
	movl %eax, %ebx
	decl %eax
	call fibonacci
	movl %eax, %esi
	leal -2(%ebx), %eax
	call fibonacci
	addl %esi, %eax
	popl %esi
	popl %ebx
	ret
1:	ret
