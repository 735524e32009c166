/* i386 native entry and return. ORDER TRAP FRAME (width.h) */
	.text
	.globl trap_common, trap_return
trap_common:
	pushl %ds
	pushl %es
	pushal
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	cld
	pushl %esp
	call trap_dispatch
	addl $4, %esp
trap_return:
	popal
	popl %es
	popl %ds
	addl $8, %esp
	iret
