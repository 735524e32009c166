/* x86_64 monitor: Multiboot start, mapped at 0xffffffffc0000000 + physical; entry and return. ORDER TRAP FRAME (width.h) */
	.set BASE, 0xffffffffc0000000
	.section .boot, "awx"
	.code32
	.balign 4
	.long 0x1BADB002, 0x00000003, -(0x1BADB002 + 0x00000003)
	.globl boot_entry
boot_entry:
	cli
	cld
	movl $directory_physical, %edi
	movl $0x83, %eax
	xorl %ecx, %ecx
1:	movl %eax, (%edi,%ecx,8)
	addl $0x200000, %eax
	incl %ecx
	cmpl $512, %ecx
	jne 1b
	movl $root_physical, %edi
	movl $pointers_physical + 3, (%edi)
	movl $pointers_physical + 3, 511*8(%edi)
	movl $pointers_physical, %esi
	movl $directory_physical + 3, (%esi)
	movl $directory_physical + 3, 511*8(%esi)
	movl %cr4, %eax
	orl $0x620, %eax
	movl %eax, %cr4
	movl %edi, %cr3
	movl $0xC0000080, %ecx
	rdmsr
	orl $0x901, %eax
	wrmsr
	movl %cr0, %eax
	andl $~0x6000000c, %eax
	orl $0x80010022, %eax
	movl %eax, %cr0
	lgdt boot_gdt_pointer
	ljmp $8, $long_entry
	.code64
long_entry:
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %ebx, %edi
	movabsq $high, %rax
	jmp *%rax
	.balign 8
boot_gdt:
	.quad 0, 0x00209b0000000000
boot_gdt_pointer:
	.word 15
	.long boot_gdt

	.text
high:	movq $boot_stack_top, %rsp
	movq $boot_stack_top, %rsi
	call monitor_main

	.macro PUSH_REGISTERS
	.irp r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
	pushq %\r
	.endr
	.endm
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
leave:	.irp r, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
	popq %\r
	.endr
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
