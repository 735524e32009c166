/*
 * Guests that mean harm, one image: the first letter of the Multiboot command line chooses the program (tests/test_hostile_guests.c names them in the same order).
 *
 * Flat 32-bit segments, an IDT of 256 gates that all lead to `handler`: it takes a fresh stack and continues at *resume, and after FAULTS_MOST faults, or when a program
 * says so, the machine is ended by port 0xF4. RAM is 8 MiB; tables lie at 2 MiB and above, scratch memory at 5 MiB.
 */
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
	.globl start
start:
	.long 0x1BADB002, 0x10003, -(0x1BADB002 + 0x10003)
	.long start, start, 0, 0, entry
	.balign 8
gdt:
	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00af9a000000ffff /* 8 code, 16 data, 24 64-bit code */
	.quad 0x0000890000000000 + 0x67 + ((TSS_A & 0xffffff) << 16)        /* 32 TSS A */
	.quad 0x0000890000000000 + 0x67 + ((TSS_B & 0xffffff) << 16)        /* 40 TSS B */
	.quad 0x0000e50000280000, 0xffcf92fffff0ffff                        /* 48 task gate to B, DPL 3; 56 data that begins at 0xfffffff0 */
	.quad 0x00cffa000000ffff, 0x00cff2000000ffff                        /* 64+3 user code, 72+3 user data */
	.quad 0x0000890000000000 + 0x10 + ((TSS_B & 0xffffff) << 16)        /* 80 a TSS with no room */
	.quad 0xf0008900000000ff, 0x0000820000000017                        /* 88 a TSS nowhere; 96 an LDT */
	.quad 0x00009a000000ffff, 0x000092000000ffff                        /* 104, 112 16-bit code and data */
gdt_end:
gdtr:	.word gdt_end - gdt - 1
	.long gdt
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
	cli
	cld
	movl $STACK, %esp
	lgdt gdtr
	ljmp $8, $1f
1:	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
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

random:                              /* eax: the next of a linear congruential generator */
	imull $1664525, seed, %eax
	addl $1013904223, %eax
	movl %eax, seed
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

/* ---- control flow ---- */
p_nowhere:                           /* fetches where no memory is; then the handler cannot run either */
	movl $1f, resume
	movl $NOWHERE, %eax
	jmp *%eax
1:	lidt none
	jmp *%eax
p_wrap:
	movl $finish, resume
	movl $0xfffffff0, %eax
	jmp *%eax
p_wrap_paged:                        /* the last page of the address space is RAM full of NOPs, and so is page 0 */
	call paging_on
	movl $0x90909090, %eax
	movl $SCRATCH, %edi
	movl $2048, %ecx
	rep stosl
	movb $0xeb, SCRATCH + 0x1ffe       /* JMP across the wrap: its displacement is the first byte of page 0 */
	movl $SCRATCH + 0x1007, PT + 0x3ffc
	movl $PT + 0x3007, PD + 4092
	movl $SCRATCH + 7, PT
	movl %cr3, %eax
	movl %eax, %cr3
	movl $0x0ff4b0e6, %eax
	movl $finish, resume
	movb $0xe6, 0x10                  /* OUT 0xF4 with what AL holds, some way up page 0 */
	movb $0xf4, 0x11
	movl $0xfffff800, %eax
	jmp *%eax

/* ---- tables ---- */
p_tables_erased:                     /* stores over the tables that map the stores */
	call paging_on
	movl $finish, resume
	movl $PD, %edi
	movl $0x5000, %ecx
	movb $0x41, %al
	rep stosb
	jmp finish
p_cr3_outside:
	movl $0xfffff000, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	jmp finish
p_idt_outside:
	lidt idtr_nowhere
	int3
p_fault_loop:                        /* the handler returns to the fault */
	call paging_on
	movl $1f, %eax
	movw %ax, IDT + 14 * 8
	shrl $16, %eax
	movw %ax, IDT + 14 * 8 + 6
	movl 0xe0000000, %eax
1:	addl $4, %esp
	iretl
p_huge_rep:
	movl $finish, resume
	call paging_on
	xorl %esi, %esi
	movl $SCRATCH, %edi
	movl $0xffffffff, %ecx
	rep movsb                        /* copies low memory up, over everything, until 16 MiB fault */
	jmp finish
p_rep_nowhere:
	movl $finish, resume
	movl $NOWHERE, %edi
	movl %edi, %esi
	movl $0x3fffffff, %ecx
	rep movsl
	jmp finish

/* ---- code that changes ---- */
p_self_modify:
	movl $finish, resume
	movl $200, %ecx
1:	movl $0x90909090, 2f             /* the next instruction, while it is in the same block */
2:	.long 0x90909090
	incl 3f + 1
3:	movl $0, %eax
	movb $0x40, 4f
4:	nop
	addl %eax, %edx
	loop 1b
	movl $0xffffffff, 5f + 4         /* an instruction that overwrites itself: it must be carried out once */
5:	movl $0x11223344, 5b + 2
	jmp finish
p_rep_over_itself:
	movl $2f, resume
	movl $1f, %edi
	movl $64, %ecx
	movb $0x90, %al
1:	rep stosb
	.skip 80, 0x90
2:	jmp finish

/* ---- devices ---- */
p_ports_in:
	movl $finish, resume
	xorl %edx, %edx
1:	inb %dx, %al
	inw %dx, %ax
	inl %dx, %eax
	incl %edx
	cmpl $0x10001, %edx
	jne 1b
	movl $SCRATCH, %edi
	movl $0x3f8, %edx
	movl $300, %ecx
	rep insb
	movl $0x40, %edx
	movl $300, %ecx
	rep insl
	jmp finish
p_ports_out:                         /* all but those that end the machine */
	movl $finish, resume
	xorl %edx, %edx
1:	cmpl $0xf4, %edx
	je 2f
	movl %edx, %eax
	imull $0x9e3779b1, %eax
	outb %al, %dx
	cmpl $0xf3, %edx
	je 2f
	outw %ax, %dx
	movl %edx, %ebx
	addl $3, %ebx
	cmpl $0xf4, %ebx
	jae 3f
	jmp 4f
3:	cmpl $0xf7, %ebx
	jbe 2f
4:	outl %eax, %dx
2:	incl %edx
	cmpl $0x10000, %edx
	jne 1b
	jmp finish
p_pic_pit:                           /* random commands to every device that has state, interrupts on */
	movl $1f, resume
1:	sti
	call random
	movl %eax, %ebx
	andl $31, %eax
	movzwl nonsense_ports(,%eax,2), %edx
	movb %bh, %al
	testl $0x10000, %ebx
	jnz 2f
	outb %al, %dx
	jmp 3f
2:	inb %dx, %al
3:	testl $0xe0000, %ebx
	jnz 1b
	decl nonsense_left
	jz finish
	jmp 1b
nonsense_left: .long 400
nonsense_ports:
	.word 0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x43, 0x43, 0x61, 0x70, 0x71, 0x3f8, 0x3f9, 0x3fa
	.word 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x4d0, 0x4d1, 0x20, 0x20, 0xa0, 0x40, 0x40, 0x43, 0x21, 0xa1, 0x80
p_halt:
	cli
	hlt
	jmp finish

/* ---- tasks and descriptors ---- */
p_ltr:
	movl $1f, resume
	movl $-1, %ebx
1:	incl %ebx
	cmpl $130, %ebx
	je finish
	movl %ebx, %eax
	ltr %ax
	lldt %ax
	str %ax
	lar %ebx, %eax
	lsl %ebx, %eax
	jmp 1b
task_fill:                           /* ebx: TSS, eax: EIP */
	movl %eax, 32(%ebx)
	movl $2, 36(%ebx)
	movl $STACK - 0x1000, 56(%ebx)
	movl $16, 72(%ebx)
	movl $8, 76(%ebx)
	movl $16, 80(%ebx)
	movl $16, 84(%ebx)
	movl $16, 88(%ebx)
	movl $16, 92(%ebx)
	movl $0, 96(%ebx)
	movl %cr3, %eax
	movl %eax, 28(%ebx)
	ret
p_task_loop:                         /* two tasks that jump to each other, then one that calls itself */
	movl $2f, resume
	movl $TSS_B, %ebx
	movl $1f, %eax
	call task_fill
	movl $32, %eax
	ltr %ax
	movl $2000, %esi
	jmp 3f
1:	ljmp $32, $0                     /* B */
	jmp 1b
3:	ljmp $40, $0                     /* A */
	movl %esp, %esp
	incl task_turns
	cmpl $2000, task_turns
	jb 3b
2:	lcall $32, $0
	lcall $48, $0
	jmp finish
task_turns: .long 0
p_task_faults:                       /* contents of the new task are nonsense, field by field */
	movl $1f, resume
	movl $32, %eax
	ltr %ax
	movl $0, task_turns
1:	andl $~0x200, gdt + 36           /* neither is busy */
	andl $~0x200, gdt + 44
	movl $TSS_B, %ebx
	movl $finish, %eax
	call task_fill
	movl task_turns, %ecx
	incl task_turns
	cmpl $26, %ecx
	jae finish
	call random
	movl %eax, TSS_B(,%ecx,4)
	lcall $48, $0
	jmp 1b
p_double_fault_task:                 /* a double fault whose task gate leads to a TSS nowhere */
	movl $0x00580000, IDT + 8 * 8
	movl $0x00008500, IDT + 8 * 8 + 4
	movl $32, %eax
	ltr %ax
	movl $0, IDT + 13 * 8 + 4
	movl $0x00500000, IDT + 6 * 8
	movl $0x00008500, IDT + 6 * 8 + 4
	movl $finish, resume
	ud2
p_selectors:                         /* far calls, loads and returns with every selector of the table and beyond */
	movl $2f, resume
	xorl %ebx, %ebx
1:	movl %ebx, %eax
	movl $3f, resume
	movl %eax, %es
3:	movl $4f, resume
	movl %eax, %ss
4:	movl $5f, resume
	pushl %ebx
	pushl $6f
	lretl
6:	pushl $16
	popl %ss
5:	movl $2f, resume
	pushl %ebx
	pushl $2f
	lcall *(%esp)
2:	incl %ebx
	cmpl $136, %ebx
	jb 1b
	jmp finish
p_descriptors_in_tables:             /* GDT and IDT lie in the page tables, then at the end of the address space */
	call paging_on
	movl $1f, resume
	pushl $PT - 0x8000
	pushw $0xffff
	lgdt (%esp)
	movl $64, %eax
	movl %eax, %es
1:	movl $2f, resume
	lgdt descriptor_wrap
	movl $8, %eax
	movl %eax, %es
2:	movl $3f, resume
	lgdt gdtr
	lidt descriptor_wrap
	int $0
	int3
3:	jmp finish

/* ---- paging that maps itself ---- */
p_self_map:                          /* directory entry 1023 is the directory: its entries are rewritten through it */
	call paging_on
	movl $1f, resume
	movl $PD + 7, PD + 4092
	movl $400, %esi
1:	decl %esi
	jz finish
	call random
	movl %eax, %ebx
	andl $0x3ffc, %ebx
	orl $0xffc00000, %ebx
	call random
	movl (%ebx), %edx
	xorl %eax, %edx
	andl $0xf67, %edx                /* rights, accessed and dirty bits, frames below 16 MiB */
	xorl %edx, (%ebx)
	invlpg (%ebx)
	movl 0xfffff000, %eax
	movl %eax, 0xfffffff8
	lock incl 0xfffff010
	movl (%ebx), %eax
	shrl $10, %ebx
	movl (%ebx), %eax
	jmp 1b
p_self_map_code:                     /* the page that runs is mapped elsewhere, and back */
	call paging_on
	movl $finish, resume
	movl $1f, %esi                   /* a copy of this page, to be seen through the same addresses */
	andl $~0xfff, %esi
	movl $SCRATCH, %edi
	movl $2048, %ecx
	pushl %esi
	rep movsl
	popl %esi
	shrl $10, %esi
	movl $100, %ecx
1:	movl $SCRATCH + 7, PT(%esi)
	movl $SCRATCH + 0x1007, PT + 4(%esi)
	movl %cr3, %eax
	movl %eax, %cr3
	addl %ecx, %edx
	movl %esi, %eax
	shll $10, %eax
	orl $7, %eax
	movl %eax, PT(%esi)
	movl %cr3, %eax
	movl %eax, %cr3
	loop 1b
	jmp finish
p_paging_toggle:                     /* paging, PAE, PSE and long mode bits on and off under running code */
	call paging_on
	movl $1f, resume
	movl $200, %esi
1:	decl %esi
	jz finish
	call random
	movl %eax, %ebx
	movl %cr4, %eax
	andl $0xb0, %ebx
	xorl %ebx, %eax
	movl %eax, %cr4
	movl PD, %eax
	call random
	movl %eax, %ebx
	movl $0xc0000080, %ecx
	rdmsr
	andl $0x900, %ebx
	xorl %ebx, %eax
	wrmsr
	movl %cr0, %eax
	xorl $0x80000000, %eax
	movl %eax, %cr0
	movl 0x100000, %eax
	jmp 1b
p_control_bits:
	call paging_on
	movl $1f, resume
	movl $200, %esi
1:	decl %esi
	jz finish
	call random
	rorl $3, %eax
	testl $1, %esi
	jz 2f
	movl %eax, %cr4
	jmp 3f
2:	orl $1, %eax
	movl %eax, %cr0
3:	movl %cr0, %eax
	andl $~0x2c, %eax
	movl %eax, %cr0
	clts
	call random
	lmsw %ax
	movl %eax, %dr7
	movl %eax, %dr6
	movl %eax, %dr0
	jmp 1b
p_msrs:
	movl $1f, resume
	movl $-1, %esi
1:	incl %esi
	movl %esi, %ecx
	cmpl $0x1000, %esi
	jb 2f
	leal 0xbffff000(%esi), %ecx
	cmpl $0x1140, %esi
	ja finish
2:	movl $0, faults
	rdmsr
	pushl %eax
	call random
	movl %eax, %edx
	popl %ebx
	wrmsr
	jmp 1b
p_cr3_storm:                         /* address spaces that share tables; some are nonsense; INVLPG and INVPCID */
	call paging_on
	movl $1f, resume
	movl $PD, %esi
	movl $SCRATCH, %edi
	movl $0x2000, %ecx
	rep movsl
	movl $500, %esi
1:	decl %esi
	jz finish
	call random
	andl $7, %eax
	shll $12, %eax
	leal SCRATCH(%eax), %ebx
	movl $PD, %eax
	testl $3, %ebx
	cmovnzl %ebx, %eax
	testl $1, %esi
	cmovnzl %ebx, %eax
	movl %eax, %cr3
	movl SCRATCH + 0x3000, %eax
	incl SCRATCH + 0x7ffc
	call random
	invlpg (%eax)
	andl $7, %eax
	.byte 0x66, 0x0f, 0x38, 0x82, 0x04, 0x24 /* INVPCID (%esp), %eax */
	jmp 1b
p_table_strings:                     /* string instructions to, from and between tables, both directions, across pages */
	call paging_on
	movl $1f, resume
	movl $150, %ebp
1:	cld
	decl %ebp
	jz finish
	movl $PT + 0x2ff0, %esi
	movl $PT + 0x3010, %edi
	movl $24, %ecx
	testl $1, %ebp
	jz 2f
	std
2:	testl $2, %ebp
	jz 3f
	rep movsb
	jmp 4f
3:	rep movsl
4:	movl $PT + 0x3f00, %esi
	movl $PT + 0x3f00, %edi
	movl $40, %ecx
	repe cmpsw
	movl $PT + 0x2ffe, %eax
	addl %ebp, (%eax)
	lock xaddl %ebp, 0x300(%eax)
	subl 0x300(%eax), %ebp
	negl %ebp
	movl 0x900000, %edx
	movl 0xbff000, %edx
	movl %edx, 0x600ffe
	jmp 1b
p_tables_as_code:                    /* a page table is executed, stored to and walked */
	call paging_on
	movl $1f, resume
	movl $60, %esi
	movl $0x90e2ff67, %eax           /* JMP *%edx; NOP */
1:	decl %esi
	jz finish
	movl $0x90e2ff67, PT + 0x2ff8
	movl $2f, %edx
	movl $PT + 0x2ff0, %eax
	movl $0x90909067, PT + 0x2ff0
	movl $0x90909067, PT + 0x2ff4
	jmp *%eax
2:	movl 0xbfe000, %ebx
	movl PT + 0x2ff8, %eax
	movb $0x90, PT + 0x2ff0
	jmp 1b

/* ---- stacks and returns ---- */
p_stack_wrap:
	movl $1f, resume
	movl $2, %esp
	pushl %eax
1:	movl $2f, resume
	movl $0xfffffffe, %esp
	popl %eax
	pushal
2:	movl $3f, resume
	movl $56, %eax
	movl %eax, %es
	movl $0x11223344, %es:14          /* the segment wraps */
	movl %es:0xfffffff0, %eax
3:	movl $4f, resume
	movl $112, %eax
	movl %eax, %ss
	movl $0x10002, %esp              /* 16-bit stack: SP wraps in 64 KiB */
	pushl %eax
	pushl %eax
	enter $0x7fff, $31
4:	jmp finish
p_returns:                           /* IRET, RETF and POPF with every kind of flags and selectors */
	call paging_on
	movl $1f, resume
	movl $32, %eax
	ltr %ax
	andl $~0x200, gdt + 36
1:	call random
	movl %eax, %ebx
	andl $0xff, %eax
	pushl %eax
	pushl $STACK - 0x100
	call random
	shll $8, %eax
	testl $0x700000, %eax
	jz 2f
	andl $~0x24100, %eax             /* mostly without NT, VM and TF */
2:	pushl %eax
	andl $0x7f, %ebx
	pushl %ebx
	pushl $1b
	iretl
p_single_step:                       /* every instruction traps; so do REP and POP SS */
	movl $1f, resume
	pushl $0x102
	popfl
1:	pushl $0x102
	popfl
	movl $SCRATCH, %edi
	movl $5, %ecx
	rep stosb
	pushl %ss
	popl %ss
	nop
	int3
p_fxsave:
	call paging_on
	movl %cr4, %eax
	orl $0x600, %eax
	movl %eax, %cr4
	movl $1f, resume
	movl $0x900000 - 0x600, %ebx
	movl $0, %esi
1:	movl %cr0, %eax
	andl $~0xc, %eax
	movl %eax, %cr0
	addl $0x10, %ebx
	incl %esi
	cmpl $120, %esi
	ja finish
	fxsave (%ebx)
	fxrstor (%ebx)
	fxrstor -0x100000(%ebx)
	cmpxchg8b -4(%ebx)
	movups 0xffffffc, %xmm0
	jmp 1b
p_hypercalls:
	movl $1f, resume
	xorl %esi, %esi
1:	incl %esi
	cmpl $100, %esi
	ja finish
	movl %esi, %eax
	testl $1, %esi
	jz 2f
	vmcall
2:	movl %esi, %eax
	shll $24, %eax
	cpuid
	movl %esi, %eax
	vmmcall
	jmp 1b

/* ---- random code ---- */
random_fill:                         /* 64 bytes of code at SCRATCH; no OUT, HLT, or far jump out by luck is kept out: all is allowed */
	xorl %ecx, %ecx
1:	call random
	movl %eax, SCRATCH(,%ecx,2)
	incl %ecx
	cmpl $32, %ecx
	jne 1b
	ret
p_random_code:
	movl $1f, resume
1:	cld
	call random_fill
	pushl $3f
	movl $SCRATCH + 0x400, %esi
	leal 0x100(%esi), %edi
	movl $SCRATCH, %eax
	call *%eax
3:	jmp 1b
p_user_random:                       /* the same at CPL 3, paging on */
	call paging_on
	movl $1f, resume
	movl $32, %eax
	ltr %ax
1:	cld
	call random_fill
	pushl $75
	pushl $STACK - 0x2000
	pushl $0x202
	pushl $67
	pushl $SCRATCH
	movl $75, %eax
	movl %eax, %ds
	movl %eax, %es
	movl $SCRATCH + 0x400, %esi
	movl %esi, %edi
	iretl

/* ---- the module's code; behind each fault it goes on 16 bytes further ---- */
module_copy:
	cld
	movl modules, %eax
	movl (%eax), %esi
	movl 4(%eax), %ecx
	subl %esi, %ecx
	movl $SCRATCH, %edi
	rep movsb
	movl $32, %eax
	ltr %ax
	movl $1f, resume
	ret
1:	movl faults, %eax                /* where to go on */
	shll $4, %eax
	andl $0xff0, %eax
	addl $SCRATCH, %eax
	movl $SCRATCH + 0x2000, %esi
	movl $PT + 0x1800, %edi
	jmp *%eax
p_module_paged:
	call paging_on
p_module:
	call module_copy
	jmp *resume
p_module_user:
	call paging_on
	call module_copy
	movl $2f, resume
2:	movl faults, %eax
	shll $4, %eax
	andl $0xff0, %eax
	addl $SCRATCH, %eax
	pushl $75
	pushl $STACK - 0x2000
	pushl $0x202
	pushl $67
	pushl %eax
	movl $75, %eax
	movl %eax, %ds
	movl %eax, %es
	iretl
p_module_long:
	call module_copy
	movl $1f, %edi
	jmp long_on
	.code64
1:	movl $2f, resume
2:	movl faults, %eax
	shll $4, %eax
	andl $0xff0, %eax
	addl $SCRATCH, %eax
	movl $SCRATCH + 0x2000, %esi
	movl $PD64 + 0x20, %edi
	jmp *%rax
	.code32

/* ---- 64-bit mode ---- */
p_long_noncanonical:
	movl $1f, %edi
	jmp long_on
	.code64
1:	movl $2f, resume
	movabsq $0x8000000000000000, %rax
	jmp *%rax
2:	movl $3f, resume
	movabsq $0x00007fffffffffff, %rax
	jmp *%rax
3:	movl $4f, resume
	movabsq $0xffff800000000000, %rsp
	pushq %rax
4:	movl $5f, resume
	movabsq $0x00007ffffffffffc, %rax
	movq (%rax), %rax
5:	movl $6f, resume
	movq $-4, %rax
	movq (%rax), %rax
6:	movl $7f, resume
	movl $0xc0000100, %ecx           /* FS base */
	movl $0x12345678, %edx
	movl %edx, %eax
	wrmsr
7:	movl $8f, resume
	movq $-8, %rbx
	invlpg (%rbx)
	movabsq $0x7ffffffffff8, %rbx
	invlpg (%rbx)
	movq $-1, %rax
	movq %rax, %cr3
8:	movl $9f, resume
	movq $-1, %rax
	movq %rax, %cr8
9:	movl $1f, resume
	movq %cr4, %rax
	orq $0x1000, %rax                 /* LA57 in long mode */
	movq %rax, %cr4
1:	movl $finish64, resume
	pushq $0
	pushq $-1
	pushq $0x202
	pushq $24
	movabsq $0x0000900000000000, %rax
	pushq %rax
	iretq
	jmp finish64
	.code32
p_long_self_map:
	movl $1f, %edi
	jmp long_on
	.code64
1:	movl $2f, resume
	movl $PML4 + 7, PML4 + 511 * 8
	movl $300, %r12d
2:	decl %r12d
	jz finish64
	imull $1664525, seed, %eax
	addl $1013904223, %eax
	movl %eax, seed
	movq $-1, %rbx
	shlq $39, %rbx                   /* the window of tables */
	movl %eax, %edx
	shrl $5, %edx
	andl $0x3fff8, %edx
	testl $3, %eax
	jz 3f
	addq $0, %rbx
	orq %rdx, %rbx
	jmp 4f
3:	movq $-4096, %rbx                /* the PML4 itself */
	andl $0xf00, %edx
	orq %rdx, %rbx
4:	movl %eax, %ecx
	andl $0x67, %ecx
	xorq %rcx, (%rbx)
	invlpg (%rbx)
	movq (%rbx), %rax
	movq %cr3, %rax
	movq %rax, %cr3
	jmp 2b
	.code32
p_long_random:
	movl $1f, %edi
	jmp long_on
	.code64
1:	movl $2f, resume
2:	cld
	xorl %ecx, %ecx
3:	imull $1664525, seed, %eax
	addl $1013904223, %eax
	movl %eax, seed
	shrl $8, %eax
	movl %eax, SCRATCH(,%ecx,2)
	incl %ecx
	cmpl $32, %ecx
	jne 3b
	movl $SCRATCH + 0x400, %esi
	movl %esi, %edi
	movl %esi, %ebx
	movl $SCRATCH, %eax
	pushq $2b
	call *%rax
	jmp 2b
	.section .note.GNU-stack,"",@progbits
