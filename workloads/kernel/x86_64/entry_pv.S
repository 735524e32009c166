/* x86_64 paravirtual start, entry and return (include/ringside_pv.h). ORDER TRAP FRAME (width.h) */
#include "registers.inc"

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
	PUSH_REGISTERS
	cld
	movq %rsp, %rdi
	call trap_dispatch
trap_return:
	POP_REGISTERS
	movq %rax, 8(%rsp)       /* the error code's place: PV_IRET wants RAX below RIP */
	addq $8, %rsp
	movl $6, %eax            /* PV_IRET */
	int $0x82

	.bss
	.balign 4096
boot_stack:
	.skip 8192
boot_stack_top:
