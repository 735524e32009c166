/* x86_64 monitor: Multiboot start, mapped at 0xffffffffc0000000 + physical; entry and return. ORDER TRAP FRAME (width.h) */
#include "registers.inc"
#include "start.inc"
	.set BASE, 0xffffffffc0000000
	LONG_START high, root_physical, pointers_physical, directory_physical, 511, 0x83, 0x620 /* at BASE; PAE OSFXSR OSXMMEXCPT */

	.text
high:	movq $boot_stack_top, %rsp
	movq $boot_stack_top, %rsi
	call monitor_main

	.globl trap_common, monitor_enter, hypercall_stub, syscall_entry
hypercall_stub:
	push $0
	pushq $0x82
trap_common:
	PUSH_REGISTERS
	cld
	movq %rsp, %rdi
	call monitor_trap
	jmp leave
syscall_entry:
	movq %rsp, user_sp
	movq $boot_stack_top, %rsp
	pushq $0x23
	pushq user_sp
	pushq %r11
	pushq $0x2b
	pushq %rcx
	pushq $0
	pushq $0x80
	jmp trap_common
monitor_enter:
	movq %rdi, %rsp
leave:	POP_REGISTERS
	addq $16, %rsp
	iretq

	.bss
	.balign 4096
	.globl boot_root, boot_directory
boot_root:
	.skip 4096
boot_pointers:
	.skip 4096
boot_directory:
	.skip 4096
user_sp: .skip 16
	.skip 16384
boot_stack_top:
	.set root_physical, boot_root - BASE
	.set pointers_physical, boot_pointers - BASE
	.set directory_physical, boot_directory - BASE
