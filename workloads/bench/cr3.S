/* cr3: two address spaces in turn; each touches eight pages of 4 KiB after MOV to CR3 has ended its translations. */
#include "bench.inc"
	.set MAPPED_TABLES, 2
#include "paging.inc"
	.set EXPECTED, 0x25600000
	.set ROUNDS, 500000

	.macro TOUCH
	.irp page, 0, 1, 2, 3, 4, 5, 6, 7
	addl %eax, window + \page * 4096
	addl window + \page * 4096, %ebx
	.endr
	.endm

bench:
	call paging_begin
	movl bench_directory, %eax
	movl %eax, other_directory
	movl bench_directory + 4, %eax
	movl %eax, other_directory + 4
	xorl %ebx, %ebx
	movl $ROUNDS, %ecx
1:	movl $other_directory, %eax
	movl %eax, %cr3
	TOUCH
	movl $bench_directory, %eax
	movl %eax, %cr3
	TOUCH
	decl %ecx
	jnz 1b
	movl %ebx, %eax
	ret

	.bss
	.balign 4096
other_directory:
	.skip 4096
window:	.skip 8 * 4096
