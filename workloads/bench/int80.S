/* int80: round trips from ring 3 by `int $0x80` to a handler that saves and restores registers, as a 32-bit system call does. */
#include "bench.inc"
	.set MAPPED_TABLES, 2
#include "paging.inc"
	.set EXPECTED, 0xbba68f20
	.set ROUNDS, 1000000

bench:
	call paging_begin
	movl $handler, %eax
	movw %ax, idt + 0x80 * 8
	movw $8, idt + 0x80 * 8 + 2
	movw $0xee00, idt + 0x80 * 8 + 4   /* interrupt gate, DPL 3 */
	shrl $16, %eax
	movw %ax, idt + 0x80 * 8 + 6
	movl $tss, %eax                    /* base of the TSS descriptor */
	movw %ax, gdt + 0x28 + 2
	shrl $16, %eax
	movb %al, gdt + 0x28 + 4
	movb %ah, gdt + 0x28 + 7
	lgdt gdt_pointer
	lidt idt_pointer
	ljmp $8, $1f
1:	movl $0x10, %eax
	movl %eax, %ss
	movl $0x23, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %esp, tss + 4
	movl $0x10, tss + 8
	movl $104 << 16, tss + 100
	movl $0x28, %eax
	ltr %ax
	movl %esp, kernel_stack
	movl $ROUNDS, %ecx
	xorl %ebx, %ebx
	pushl $0x23
	pushl $user_stack_top
	pushl $2
	pushl $0x1b
	pushl $user
	iret

user:	movl %ecx, %eax
	int $0x80
	addl %eax, %ebx
	decl %ecx
	jnz user
	movl $-1, %eax
	int $0x80

handler:
	cmpl $-1, %eax
	je done
	pushal
	movl 28(%esp), %eax
	imull $0x9E3779B1, %eax, %eax
	movl %eax, 28(%esp)
	popal
	iret
done:	movl kernel_stack, %esp
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %ebx, %eax
	ret

	.data
	.balign 4096
gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff, 0x0000890000000067
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.long gdt
idt_pointer:
	.word 0x81 * 8 - 1
	.long idt
	.bss
	.balign 8
idt:	.skip 0x81 * 8
tss:	.skip 104
kernel_stack:
	.skip 4
	.skip 4096
user_stack_top:
