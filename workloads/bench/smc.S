/*
 * smc: code that is written and then executed, as a JIT or a lazy linker does it, in 64-bit mode: each round stores a new constant into one of 16 short functions, in a page
 * that holds nothing else, and calls it.
 */
#include "bench.inc"
	.set EFER_BITS, 0x100                /* LME */
#include "long_mode.inc"
	.set EXPECTED, 0x4db28de9
	.set ROUNDS, 400000
	.set FUNCTIONS, 16
	.set FUNCTION_BYTES, 16
	.set CONSTANT, 1                     /* where a function's constant is in it: behind the opcode of MOV EDX, imm32 */

bench:
	ENTER_LONG_MODE
	xorl %ebp, %ebp
	movl $2463534242, %eax
	movl $ROUNDS, %ebx
	leaq functions(%rip), %rsi
1:	XORSHIFT32
	movl %ebx, %edi
	andl $FUNCTIONS - 1, %edi
	shll $4, %edi
	addq %rsi, %rdi
	movl %eax, CONSTANT(%rdi)
	callq *%rdi
	decl %ebx
	jnz 1b
	LEAVE_LONG_MODE
	movl %ebp, %eax
	ret

	.code64
	.balign 4096
functions:
	.rept FUNCTIONS
	.balign FUNCTION_BYTES
	movl $0, %edx
	roll $1, %ebp
	addl %edx, %ebp
	ret
	.endr
	.balign 4096
	.code32
