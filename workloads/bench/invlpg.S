/* invlpg: ends the translation of a page, then reads and writes the page, over 64 pages of 4 KiB. */
#include "bench.inc"
	.set MAPPED_TABLES, 2
#include "paging.inc"
	.set EXPECTED, 0x5c1dd800
	.set PAGES, 64
	.set ROUNDS, 40000

bench:
	call paging_begin
	xorl %eax, %eax
	movl $ROUNDS, %ebp
1:	movl $PAGES * 4096, %ecx
2:	subl $4096, %ecx
	invlpg window(%ecx)
	addl %ebp, window(%ecx)
	addl window(%ecx), %eax
	testl %ecx, %ecx
	jnz 2b
	decl %ebp
	jnz 1b
	ret

	.bss
	.balign 4096
window:	.skip PAGES * 4096
