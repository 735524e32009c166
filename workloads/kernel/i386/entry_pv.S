/* i386 paravirtual start, entry and return (include/ringside_pv.h). ORDER TRAP FRAME (width.h) */
	.text
	.globl pv_entry, trap_common, trap_return
/* ESI = virtual address of struct pv_start_info */
pv_entry:
	cld
	movl $boot_stack_top, %esp
	xorl %ebp, %ebp
	pushl %esi
	call kernel_main

trap_common:
	pushl %ds
	pushl %es
	pushal
	movl $0x11, %eax         /* PV_KDS */
	movl %eax, %ds
	movl %eax, %es
	cld
	pushl %esp
	call trap_dispatch
	addl $4, %esp
trap_return:
	movl 28(%esp), %eax      /* saved EAX goes where the error code was: PV_IRET wants it below EIP */
	movl %eax, 44(%esp)
	popal
	popl %es
	popl %ds
	addl $4, %esp
	movl $6, %eax            /* PV_IRET */
	int $0x82

	.bss
	.balign 4096
boot_stack:
	.skip 8192
boot_stack_top:
