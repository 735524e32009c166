/*
 * Guests that mean harm, one image: the first letter of the Multiboot command line chooses the program (tests/test_hostile_guests.c names them in the same order).
 * The programs are in hostile/, by theme.
 *
 * Flat 32-bit segments, an IDT of 256 gates that all lead to `handler`: it takes a fresh stack and continues at *resume, and after FAULTS_MOST faults, or when a program
 * says so, the machine is ended by port 0xF4. RAM is 8 MiB; tables lie at 2 MiB and above, scratch memory at 5 MiB.
 */
#include "flat_guest.inc"

#define FAULTS_MOST 300
#define IDT    0x200000
#define IDT64  0x201000
#define PD     0x210000   /* 32-bit: a directory and four tables */
#define PT     0x211000
#define PML4   0x220000
#define PDPT   0x221000
#define PD64   0x222000
#define TSS_A  0x230000
#define TSS_B  0x230100
#define SCRATCH 0x500000
#define STACK  0x480000
#define RAM    0x800000
#define NOWHERE 0xf0000000

	.text
	.code32
	FLAT_HEADER entry
gdt:
	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00af9a000000ffff /* 8 code, 16 data, 24 64-bit code */
	.quad 0x0000890000000000 + 0x67 + ((TSS_A & 0xffffff) << 16)        /* 32 TSS A */
	.quad 0x0000890000000000 + 0x67 + ((TSS_B & 0xffffff) << 16)        /* 40 TSS B */
	.quad 0x0000e50000280000, 0xffcf92fffff0ffff                        /* 48 task gate to B, DPL 3; 56 data that begins at 0xfffffff0 */
	.quad 0x00cffa000000ffff, 0x00cff2000000ffff                        /* 64+3 user code, 72+3 user data */
	.quad 0x0000890000000000 + 0x10 + ((TSS_B & 0xffffff) << 16)        /* 80 a TSS with no room */
	.quad 0xf0008900000000ff, 0x0000820000000017                        /* 88 a TSS nowhere; 96 an LDT */
	.quad 0x00009a000000ffff, 0x000092000000ffff                        /* 104, 112 16-bit code and data */
	FLAT_GDT_END
idtr:	.word 0x7ff
	.long IDT
idtr64:	.word 0xfff
	.long IDT64, 0
idtr_nowhere: .word 0x7ff
	.long NOWHERE
descriptor_wrap: .word 0xffff
	.long 0xfffffffc
none:	.word 0
	.long 0
resume:	.long finish
faults:	.long 0
seed:	.long 12345
modules: .long 0
	.balign 16
programs:
	.long p_nowhere, p_wrap, p_wrap_paged, p_tables_erased, p_cr3_outside, p_idt_outside, p_fault_loop, p_huge_rep, p_rep_nowhere
	.long p_self_modify, p_rep_over_itself, p_ports_in, p_ports_out, p_pic_pit, p_halt, p_ltr, p_task_loop, p_task_faults, p_self_map
	.long p_self_map_code, p_paging_toggle, p_control_bits, p_msrs, p_long_noncanonical, p_long_self_map, p_stack_wrap, p_selectors, p_descriptors_in_tables
	.long p_random_code, p_returns, p_single_step, p_hypercalls, p_table_strings, p_tables_as_code, p_cr3_storm, p_fxsave, p_double_fault_task, p_user_random, p_long_random
	.long p_module, p_module_paged, p_module_user, p_module_long /* h i j k: tests/fuzz/fuzz_guest.c */
programs_end:

entry:
	FLAT_ENTER STACK
	movl 24(%ebx), %eax
	movl %eax, modules
	movl 16(%ebx), %ebx          /* the command line */
	movzbl (%ebx), %ebx
	movl $handler, %eax
	movl %eax, %edx
	andl $0xffff, %eax
	orl $0x80000, %eax
	andl $0xffff0000, %edx
	orl $0xee00, %edx            /* 32-bit interrupt gate, DPL 3 */
	xorl %ecx, %ecx
1:	movl %eax, IDT(,%ecx,8)
	movl %edx, IDT+4(,%ecx,8)
	incl %ecx
	cmpl $256, %ecx
	jne 1b
	lidt idtr
	movl $handler64, %eax
	movl %eax, %edx
	andl $0xffff, %eax
	orl $0x180000, %eax
	andl $0xffff0000, %edx
	orl $0x8e00, %edx
	xorl %ecx, %ecx
1:	movl %ecx, %edi
	shll $4, %edi
	movl %eax, IDT64(%edi)
	movl %edx, IDT64+4(%edi)
	movl $0, IDT64+8(%edi)
	incl %ecx
	cmpl $256, %ecx
	jne 1b
	movl $STACK, TSS_A + 4
	movl $16, TSS_A + 8
	movl $0x680000, TSS_A + 100
	subl $'A', %ebx
	cmpl $(programs_end - programs) / 4, %ebx
	jae finish
	jmp *programs(,%ebx,4)

handler:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $STACK, %esp
	pushl $2
	popfl
	incl faults
	cmpl $FAULTS_MOST, faults
	ja finish
	jmp *resume
finish:
	movb $0, %al
	outb %al, $0xf4
1:	cli
	hlt
	jmp 1b

	.macro RANDOM                /* eax: the next of a linear congruential generator, in both widths of code */
	imull $1664525, seed, %eax
	addl $1013904223, %eax
	movl %eax, seed
	.endm
random:                              /* the same, its better bits */
	RANDOM
	shrl $8, %eax
	ret

paging_on:                           /* 16 MiB by 4 KiB pages, all rights; clobbers eax, ecx */
	xorl %ecx, %ecx
	movl $7, %eax
1:	movl %eax, PT(,%ecx,4)
	addl $4096, %eax
	incl %ecx
	cmpl $4096, %ecx
	jne 1b
	xorl %ecx, %ecx
1:	movl $0, PD(,%ecx,4)
	incl %ecx
	cmpl $1024, %ecx
	jne 1b
	movl $PT + 7, PD
	movl $PT + 0x1007, PD + 4
	movl $PT + 0x2007, PD + 8
	movl $PT + 0x3007, PD + 12
	movl $PD, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $0x80010000, %eax
	movl %eax, %cr0
	ret

long_on:                             /* 1 GiB by 2 MiB pages; continues at edi in 64-bit mode */
	xorl %ecx, %ecx
	movl $0x87, %eax
1:	movl %eax, PD64(,%ecx,8)
	movl $0, PD64+4(,%ecx,8)
	movl $0, PML4(,%ecx,8)
	movl $0, PML4+4(,%ecx,8)
	movl $0, PDPT(,%ecx,8)
	movl $0, PDPT+4(,%ecx,8)
	addl $0x200000, %eax
	incl %ecx
	cmpl $512, %ecx
	jne 1b
	movl $PDPT + 7, PML4
	movl $PD64 + 7, PDPT
	movl %cr4, %eax
	orl $0x20, %eax
	movl %eax, %cr4
	movl $PML4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x901, %eax
	wrmsr
	lidt idtr64
	movl %cr0, %eax
	orl $0x80010000, %eax
	movl %eax, %cr0
	ljmp $24, $1f
	.code64
1:	movl $STACK, %esp
	jmp *%rdi
handler64:
	movl $STACK, %esp
	pushq $2
	popfq
	incl faults
	cmpl $FAULTS_MOST, faults
	ja finish64
	movl resume, %eax
	jmp *%rax
finish64:
	movb $0, %al
	outb %al, $0xf4
1:	cli
	hlt
	jmp 1b
	.code32

#include "hostile/code.inc"
#include "hostile/tables.inc"
#include "hostile/system.inc"
#include "hostile/module.inc"
#include "hostile/long_mode.inc"
	.section .note.GNU-stack,"",@progbits
