/* i386 monitor: Multiboot start, mapped at 0xFC000000 + physical (64 MiB); entry and return. ORDER TRAP FRAME (width.h) */
	.section .boot, "awx"
	.balign 4
	.long 0x1BADB002, 0x00000003, -(0x1BADB002 + 0x00000003)
	.globl boot_entry
boot_entry:
	cli
	cld
	movl $boot_directory - 0xFC000000, %edi
	movl $0x83, %eax
	xorl %ecx, %ecx
1:	movl %eax, (%edi,%ecx,4)
	movl %eax, 1008*4(%edi,%ecx,4)
	addl $0x400000, %eax
	incl %ecx
	cmpl $16, %ecx
	jne 1b
	movl %cr4, %eax
	orl $0x610, %eax
	movl %eax, %cr4
	movl %edi, %cr3
	movl %cr0, %eax
	andl $~0x6000000c, %eax
	orl $0x80010022, %eax
	movl %eax, %cr0
	movl $high, %eax
	jmp *%eax

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
