/* i386 monitor: Multiboot start, mapped at 0xFC000000 + physical (64 MiB); entry and return. ORDER TRAP FRAME (width.h) */
#include "start.inc"
	PAGED_START high, directory_physical, 1008, 16, 0x83, 0x610 /* PSE OSFXSR OSXMMEXCPT */

	.text
high:	movl $boot_stack_top, %esp
	pushl $boot_stack_top
	pushl %ebx
	call monitor_main

	.globl trap_common, monitor_enter, hypercall_stub
hypercall_stub:
	push $0
	push $0x82
trap_common:
	pushl %ds
	pushl %es
	pushal
	movl $0x38, %eax
	movl %eax, %ds
	movl %eax, %es
	cld
	pushl %esp
	call monitor_trap
	addl $4, %esp
	jmp leave
monitor_enter:
	movl 4(%esp), %esp
leave:	popal
	popl %es
	popl %ds
	addl $8, %esp
	iret

	.bss
	.balign 4096
	.globl boot_directory
boot_directory:
	.skip 4096
	.skip 16384
boot_stack_top:
	.set directory_physical, boot_directory - 0xFC000000
