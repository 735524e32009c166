/* x86_64 paravirtual start, entry and return (include/ringside_pv.h). ORDER TRAP FRAME (width.h) */
	.text
	.globl pv_entry, trap_common, trap_return
/* RSI = virtual address of struct pv_start_info */
pv_entry:
	cld
	movq $boot_stack_top, %rsp
	xorl %ebp, %ebp
	movq %rsi, %rdi
	call kernel_main

trap_common:
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %rbp
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	call trap_dispatch
trap_return:
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rbp
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
	movq %rax, 8(%rsp)       /* the error code's place: PV_IRET wants RAX below RIP */
	addq $8, %rsp
	movl $6, %eax            /* PV_IRET */
	int $0x82

	.bss
	.balign 4096
boot_stack:
	.skip 8192
boot_stack_top:
