/*
 * i386 native start: Multiboot 1 (EAX = magic, EBX = information), 32-bit protected mode without paging, at 1 MiB.
 * Maps the first GiB of physical addresses at 0 and at KBASE with 4 MiB pages, then jumps up; arch_init trims that.
 */
#include "start.inc"
	PAGED_START high_entry, boot_directory_physical, 768, 256, 0x183, 0x10 /* KBASE; a GiB; global; PSE */

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
