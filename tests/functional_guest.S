/*
 * The guest of the layering proof (functional_main.c): enters with 32-bit flat segments at 1 MiB, turns paging on (identity, one 4 MiB page), takes a page fault through its own IDT, sums,
 * and says its result on port 0xE9 byte by byte, then halts with interrupts off.
 */
	.code32
	.globl _start
_start:
	mov $stack_top, %esp
	lgdt gdt_pointer
	ljmp $8, $1f
1:	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $idt, %edi
	movl $page_fault, %eax
	mov %ax, 14*8(%edi)
	movw $8, 14*8+2(%edi)
	movw $0x8e00, 14*8+4(%edi)
	shr $16, %eax
	mov %ax, 14*8+6(%edi)
	lidt idt_pointer
	mov $directory, %eax
	movl $0x83, (%eax)              /* present, writable, 4 MiB: 0..4 MiB */
	mov %eax, %cr3
	mov %cr4, %eax
	or $0x10, %eax
	mov %eax, %cr4
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
	xor %ebx, %ebx
	mov $100000, %ecx
2:	add %ecx, %ebx
	mov %ebx, word
	xor word, %ebx
	add word, %ebx
	loop 2b
	movl $0x1234, 0x800000          /* not mapped: the handler maps it (4 MiB page at 8 MiB -> 0) */
	add 0x800000, %ebx
	mov $4, %ecx
3:	mov %bl, %al
	out %al, $0xe9
	shr $8, %ebx
	loop 3b
	cli
	hlt

page_fault:
	add $4, %esp
	push %eax
	mov %cr2, %eax
	shr $22, %eax
	movl $0x400083, directory(,%eax,4)
	mov %cr2, %eax
	invlpg (%eax)
	pop %eax
	iret

	.balign 8
gdt:	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
	.word 23
	.long gdt
idt_pointer:
	.word 15*8-1
	.long idt
word:	.long 0
	.balign 4096
directory:
	.fill 1024, 4, 0
idt:	.fill 512, 4, 0
	.fill 1024, 4, 0
stack_top:
