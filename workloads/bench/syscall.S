/* syscall: round trips from ring 3 by SYSCALL and SYSRET in 64-bit mode, to a handler that changes stacks by SWAPGS and saves registers, as kernels do. */
#include "bench.inc"
	.set EFER_BITS, 0x101                /* LME, SCE */
#include "long_mode.inc"
	.set EXPECTED, 0xf1fd2e40
	.set ROUNDS, 2000000

bench:
	ENTER_LONG_MODE
	SET_MSR 0xc0000081, $0x00180008, $0  /* STAR: SYSCALL to 0x08 and 0x10, SYSRET to 0x2b and 0x23 */
	SET_MSR 0xc0000082, $0, $handler     /* LSTAR */
	SET_MSR 0xc0000084, $0, $0x200       /* FMASK */
	SET_MSR 0xc0000102, $0, $per_cpu     /* KERNEL_GS_BASE */
	movl $ROUNDS, %ebx
	xorl %ebp, %ebp
	movl $user_stack_top, %esp
	movl $user, %ecx
	movl $2, %r11d
	sysretq

user:	movl %ebx, %eax
	syscall
	addl %eax, %ebp
	decl %ebx
	jnz user
	movl $-1, %eax
	syscall

handler:
	swapgs
	movq %rsp, %gs:8
	movq %gs:0, %rsp
	pushq %rcx
	pushq %r11
	pushq %rbx
	pushq %rbp
	cmpl $-1, %eax
	je done
	imull $0x9E3779B1, %eax, %eax
	popq %rbp
	popq %rbx
	popq %r11
	popq %rcx
	movq %gs:8, %rsp
	swapgs
	sysretq
done:	LEAVE_LONG_MODE
	movl %ebp, %eax
	ret

	.data
	.balign 8
per_cpu:
	.long kernel_stack_top, 0, 0, 0
	.bss
	.balign 4096
	.skip 4096
kernel_stack_top:
	.skip 4096
user_stack_top:
