/* stream: a[i] = b[i] + 3 c[i] over three arrays of 4 MiB (the triad of McCalpin's STREAM, in integers). */
#include "bench.inc"
	.set MAPPED_TABLES, 8
#include "paging.inc"
	.set EXPECTED, 0x570cee9e
	.set WORDS, 1048576
	.set ROUNDS, 24

bench:
	call paging_begin
	xorl %ecx, %ecx
	movl $12345, %eax
1:	movl %eax, b(,%ecx,4)
	movl %ecx, c(,%ecx,4)
	imull $1664525, %eax, %eax
	addl $1013904223, %eax
	incl %ecx
	cmpl $WORDS, %ecx
	jne 1b
	movl $ROUNDS, %ebp
2:	xorl %ecx, %ecx
3:	movl c(,%ecx,4), %eax
	leal (%eax,%eax,2), %eax
	addl b(,%ecx,4), %eax
	movl %eax, a(,%ecx,4)
	incl %ecx
	cmpl $WORDS, %ecx
	jne 3b
	incl b(,%ebp,4)
	decl %ebp
	jnz 2b
	xorl %ecx, %ecx
	xorl %eax, %eax
4:	roll $1, %eax
	addl a(,%ecx,4), %eax
	incl %ecx
	cmpl $WORDS, %ecx
	jne 4b
	ret

	.bss
	.balign 4096
a:	.skip WORDS * 4
b:	.skip WORDS * 4
c:	.skip WORDS * 4
