/*
 * x86_64 native entry and return. ORDER TRAP FRAME (width.h)
 * In the kernel GS points at struct cpu_local (native.c): 0 = kernel stack, 8 = room for the user stack pointer.
 */
#include "registers.inc"

	.text
	.globl trap_common, trap_return, syscall_entry
trap_common:
	testb $3, 24(%rsp)       /* CS: from user mode? */
	jz 1f
	swapgs
1:	PUSH_REGISTERS
	cld
	movq %rsp, %rdi
	call trap_dispatch
trap_return:
	POP_REGISTERS
	testb $3, 24(%rsp)
	jz 1f
	swapgs
1:	addq $16, %rsp
	iretq

/* SYSCALL: RCX = RIP, R11 = RFLAGS, the rest as the user had it; interrupts are off (SFMASK). */
syscall_entry:
	swapgs
	movq %rsp, %gs:8
	movq %gs:0, %rsp
	pushq $0x23
	pushq %gs:8
	pushq %r11
	pushq $0x2b
	pushq %rcx
	pushq $0
	pushq $0x80
	PUSH_REGISTERS
	cld
	movq %rsp, %rdi
	call trap_dispatch
	POP_REGISTERS
	movq 16(%rsp), %rcx
	movq 32(%rsp), %r11
	movq 40(%rsp), %rsp
	swapgs
	sysretq
