/* x86-64 start of a program and the system call. The kernel enters with RSP = argc, argv..., NULL, 16-byte aligned. */
	.text
	.globl _start, rs_call
_start:
	xorl %ebp, %ebp
	movq (%rsp), %rdi
	leaq 8(%rsp), %rsi
	call rs_start

/* long rs_call(long number, a, b, c, d, e) */
rs_call:
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rdx, %rsi
	movq %rcx, %rdx
	movq %r8, %r10
	movq %r9, %r8
	syscall
	ret
	.section .note.GNU-stack,"",@progbits
