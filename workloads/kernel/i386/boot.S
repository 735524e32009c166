/*
 * i386 native start: Multiboot 1 (EAX = magic, EBX = information), 32-bit protected mode without paging, at 1 MiB.
 * Maps the first GiB of physical addresses at 0 and at KBASE with 4 MiB pages, then jumps up; arch_init trims that.
 */
	.section .boot, "awx"
	.balign 4
	.long 0x1BADB002, 0x00000003, -(0x1BADB002 + 0x00000003) /* modules page aligned, memory size wanted */

	.globl boot_entry
boot_entry:
	cli
	cld
	movl $boot_directory_physical, %edi
	movl $0x183, %eax        /* P RW PS G */
	xorl %ecx, %ecx
1:	movl %eax, (%edi,%ecx,4)
	movl %eax, 768*4(%edi,%ecx,4)
	addl $0x400000, %eax
	incl %ecx
	cmpl $256, %ecx
	jne 1b
	movl %cr4, %eax
	orl $0x10, %eax          /* PSE */
	movl %eax, %cr4
	movl %edi, %cr3
	movl %cr0, %eax
	andl $~0x6000000c, %eax  /* CD NW TS EM off */
	orl $0x80010022, %eax    /* PG WP NE MP */
	movl %eax, %cr0
	movl $high_entry, %eax
	jmp *%eax

	.text
high_entry:
	movl $boot_stack_top, %esp
	xorl %ebp, %ebp
	pushl %ebx
	call kernel_main

	.bss
	.balign 4096
	.globl boot_directory
boot_directory:
	.skip 4096
boot_stack:
	.skip 8192
boot_stack_top:
	.set boot_directory_physical, boot_directory - 0xC0000000
