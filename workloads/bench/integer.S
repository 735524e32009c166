/* integer: arithmetic, logic, shifts, a multiplication and a branch that goes either way, in registers. */
#include "bench.inc"
	.set MAPPED_TABLES, 2
#include "paging.inc"
	.set EXPECTED, 0xfd8986e2
	.set ROUNDS, 24000000

bench:
	call paging_begin
	movl $ROUNDS, %ecx
	movl $0x12345678, %eax
	movl $0x9abcdef0, %ebx
	xorl %edx, %edx
	movl $1, %esi
	movl $7, %edi
	movl $3, %ebp
1:	addl %eax, %edx
	xorl %ebx, %eax
	roll $5, %eax
	leal 17(%eax,%esi,4), %ebx
	imull $0x9E3779B1, %ebx, %ebx
	shrl $3, %edi
	adcl %edi, %esi
	subl %edx, %edi
	andl $0x7fffffff, %esi
	orl $1, %ebp
	movl %ebx, %edi
	sarl $2, %ebx
	negl %ebp
	testl $4, %edi
	jz 2f
	incl %edx
	notl %ebp
2:	cmpl %esi, %edx
	sbbl $0, %ebp
	xorl %ebp, %eax
	decl %ecx
	jnz 1b
	addl %edx, %eax
	ret
