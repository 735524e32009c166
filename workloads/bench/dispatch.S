/* dispatch: an interpreter of byte code, whose every operation ends in an indirect jump that goes anywhere. */
#include "bench.inc"
	.set MAPPED_TABLES, 2
#include "paging.inc"
	.set EXPECTED, 0xf3fc9ba8
	.set LENGTH, 8192        /* operations; the last one ends the program */
	.set ROUNDS, 1500

	.macro NEXT
	movzbl (%esi), %edx
	incl %esi
	jmp *operations(,%edx,4)
	.endm

bench:
	call paging_begin
	xorl %ecx, %ecx
	movl $2463534242, %eax
1:	XORSHIFT32
	movl %eax, %edx
	shrl $29, %edx
	movb %dl, code(%ecx)
	incl %ecx
	cmpl $LENGTH, %ecx
	jne 1b
	movb $8, code + LENGTH - 1
	movl $ROUNDS, %ebp
	movl $1, %ebx
	movl $2, %ecx
	movl $code, %esi
	NEXT

0:	addl %ecx, %ebx
	NEXT
1:	xorl %ebx, %ecx
	NEXT
2:	roll $7, %ebx
	NEXT
3:	subl %ebx, %ecx
	NEXT
4:	movl %ebx, memory
	NEXT
5:	addl memory, %ecx
	NEXT
6:	leal 1(%ecx,%ebx,2), %ecx
	NEXT
7:	imull $0x9E3779B1, %ecx, %ecx
	NEXT
8:	movl $code, %esi
	decl %ebp
	jz 9f
	NEXT
9:	leal (%ebx,%ecx), %eax
	ret

	.balign 4
operations:
	.long 0b, 1b, 2b, 3b, 4b, 5b, 6b, 7b, 8b
	.bss
	.balign 4096
code:	.skip LENGTH
memory:	.skip 4
