/* i386 start of a program and the system call. The kernel enters with ESP = argc, argv..., NULL, 16-byte aligned. */
	.text
	.globl _start, rs_call
_start:
	xorl %ebp, %ebp
	movl (%esp), %eax
	leal 4(%esp), %ecx
	subl $8, %esp
	pushl %ecx
	pushl %eax
	call rs_start

/* long rs_call(long number, a, b, c, d, e) */
rs_call:
	pushl %ebx
	pushl %esi
	pushl %edi
	movl 16(%esp), %eax
	movl 20(%esp), %ebx
	movl 24(%esp), %ecx
	movl 28(%esp), %edx
	movl 32(%esp), %esi
	movl 36(%esp), %edi
	int $0x80
	popl %edi
	popl %esi
	popl %ebx
	ret
	.section .note.GNU-stack,"",@progbits
