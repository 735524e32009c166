/*
 * x86_64 native start: Multiboot 1 (EAX = magic, EBX = information), 32-bit protected mode without paging, at 1 MiB.
 * Maps the first GiB of physical addresses at 0 and at KBASE with 2 MiB pages, enters long mode and jumps up;
 * arch_init trims the mapping.
 */
#include "start.inc"
	LONG_START high_entry, boot_root_physical, boot_pointers_physical, boot_directory_physical, 510, 0x183, 0x20 /* KBASE; global; PAE */

	.text
high_entry:
	movq $boot_stack_top, %rsp
	xorl %ebp, %ebp
	call kernel_main

	.bss
	.balign 4096
	.globl boot_root, boot_pointers, boot_directory
boot_root:
	.skip 4096
boot_pointers:
	.skip 4096
boot_directory:
	.skip 4096
boot_stack:
	.skip 8192
boot_stack_top:
	.set boot_root_physical, boot_root - 0xffffffff80000000
	.set boot_pointers_physical, boot_pointers - 0xffffffff80000000
	.set boot_directory_physical, boot_directory - 0xffffffff80000000
