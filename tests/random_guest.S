/*
 * The kernel under the random programs of random_program.c: one Multiboot image; the program is its module.
 *
 * It copies the program to CODE, enters it in the mode that its head asks for, and lets it do what it likes. Every exception adds the whole state to a running checksum and goes on at the
 * next multiple of 32 bytes behind the instruction (the generator has an instruction begin there); INT 40h and up are services. At the end the checksum of log, registers, data and
 * page tables goes to the serial port, and the machine ends by port 0xF4.
 *
 * ORDER HEAD: the program's first bytes are struct random_head (random_program.h), which the offsets HEAD_* repeat.
 */
#include "flat_guest.inc"
#include "random_guest.h"

#define IDT32 0x200000
#define IDT64 0x201000
#define TSS32 0x202000
#define TSS64 0x202100
#define KSTACK 0x308000
#define ISTACK 0x310000      /* all exceptions of long mode */
#define SCRATCH 0x318000     /* of the handler */
#define USTACK 0x487f00
#define PT32 RANDOM_PT32
#define PD32 0x214000
#define PD64 0x21c000        /* of PAE and long mode */
#define PDPT_PAE 0x21e000
#define PDPT64 0x21f000
#define PML4 0x220000
#define RAM_PAGES 2048

#define HEAD_KIND (RANDOM_CODE + 0)
#define HEAD_RING (RANDOM_CODE + 4)
#define HEAD_WIDTH (RANDOM_CODE + 8)
#define HEAD_TIMER (RANDOM_CODE + 12)
#define HEAD_FAULTS (RANDOM_CODE + 16)
#define HEAD_SIZE (RANDOM_CODE + 20)
#define HEAD_EFLAGS (RANDOM_CODE + 24)
#define HEAD_STACK16 (RANDOM_CODE + 28)
#define HEAD_REGS (RANDOM_CODE + 64)

	.text
	.code32
	FLAT_HEADER entry
gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff      /* 08 code, 10 data of ring 0 */
	.quad 0x00cffb000000ffff, 0x00cff3000000ffff         /* 18 code, 20 data of ring 3 */
	.quad 0x00affb000000ffff, 0x00cff3000000ffff         /* 28 64-bit code, 30 data of ring 3 (SYSRET) */
	.quad 0x00af9b000000ffff, 0x00cf93000000ffff         /* 38 64-bit code, 40 data of ring 0 (SYSCALL) */
	.quad 0x00009b400000ffff, 0x0000fb400000ffff         /* 48, 50 16-bit code at RANDOM_CODE */
	.quad 0x0000f3480000ffff                             /* 58 16-bit stack */
	.quad 0x0040f35000000fff                             /* 60 4 KiB of data */
	.quad 0x00cff3500100ffff                             /* 68 data from somewhere */
	.quad 0x0040f750000007ff                             /* 70 data that expand down */
	.quad 0x0000890000000067 + ((TSS32 & 0xffffff) << 16) /* 78 */
	.quad 0x0000890000000067 + ((TSS64 & 0xffffff) << 16), 0 /* 80 */
	.quad 0x00cff1000000ffff                             /* 90 read-only data */
	FLAT_GDT_END
idtr32:	.word 0x7ff
	.long IDT32
idtr64:	.word 0xfff
	.long IDT64
to_decide:
	.long decide_long
	.word 8
	.balign 8
ctx:	.skip 16 * 8                 /* registers in the order of their numbers */
ctx_rip: .quad 0
ctx_cs:	.quad 0
ctx_flags: .quad 0
ctx_rsp: .quad 0
ctx_ss:	.quad 0
ctx_vector: .quad 0
ctx_error: .quad 0
ctx_ds:	.long 0
ctx_es:	.long 0
log:	.long 0
faults:	.long 0
steps:	.long 0
calls:	.long 0
last:	.long RANDOM_ENTRY
ticks:	.long 0                      /* not in the checksum: a function of time */

/* ---- setting up ---- */
entry:
	FLAT_ENTER KSTACK
	movl 24(%ebx), %eax
	movl (%eax), %esi
	movl 4(%eax), %ecx
	subl %esi, %ecx
	movl $RANDOM_CODE, %edi
	rep movsb
	movl $RANDOM_CODE, %esi      /* the data begin as bytes of the program */
	movl $RANDOM_DATA, %edi
	movl $RANDOM_DATA_BYTES / 4, %ecx
	rep movsl
	movl $RANDOM_CODE, %esi
	movl $RANDOM_EDIT, %edi
	movl $RANDOM_EDIT_PAGES * 1024, %ecx
	rep movsl
	call gates_fill
	movl $KSTACK, TSS32 + 4
	movl $0x10, TSS32 + 8
	movl $0x680000, TSS32 + 100
	movl $KSTACK, TSS64 + 4
	movl $ISTACK, TSS64 + 36
	movl $0x680000, TSS64 + 100
	call pages_fill
	call timer_on
	xorl %ecx, %ecx
1:	movl HEAD_REGS(,%ecx,4), %eax
	movl %eax, ctx(,%ecx,4)
	incl %ecx
	cmpl $32, %ecx
	jne 1b
	movl $0x23, %eax
	movl %eax, %fs
	movl %eax, %gs
	call msrs_write
	call start_context
	lidt idtr32
	movl $0x78, %eax
	cmpl $3, HEAD_KIND
	je 1f
	ltr %ax
1:	movl %cr4, %eax
	orl $0x600, %eax             /* OSFXSR, OSXMMEXCPT */
	movl %eax, %cr4
	movl HEAD_KIND, %edx
	movl $PD32, %ecx
	cmpl $1, %edx
	jb resume32                  /* no paging */
	je 2f
	orl $0x20, %eax              /* PAE */
	movl %eax, %cr4
	movl $PDPT_PAE, %ecx
	cmpl $2, %edx
	je 2f
	movl $PML4, %ecx
2:	movl %ecx, %cr3
	movl %cr0, %eax
	orl $0x80010000, %eax        /* PG, WP */
	movl %eax, %cr0
	cmpl $3, %edx
	jne resume32
	lidt idtr64
	movl $0x80, %eax
	ltr %ax
	ljmp $0x38, $resume64

gates_fill:
	xorl %ecx, %ecx
	movl $stubs32, %eax
	movl $stubs64, %ebx
1:	movl $0x8e00, %edx
	cmpl $0x40, %ecx
	jae 2f
	cmpl $3, %ecx
	je 2f
	cmpl $4, %ecx
	jne 3f
2:	movb $0xee, %dh
3:	movw %ax, IDT32(,%ecx,8)
	movw $8, IDT32 + 2(,%ecx,8)
	movw %dx, IDT32 + 4(,%ecx,8)
	movl %ecx, %edi
	shll $4, %edi
	movw %bx, IDT64(%edi)
	movw $0x38, IDT64 + 2(%edi)
	incl %edx                    /* stack 1 */
	movw %dx, IDT64 + 4(%edi)
	movl %eax, %edx
	shrl $16, %edx
	movw %dx, IDT32 + 6(,%ecx,8)
	movl %ebx, %edx
	shrl $16, %edx
	movl $0, IDT64 + 8(%edi)
	movw %dx, IDT64 + 6(%edi)
	addl $16, %eax
	addl $16, %ebx
	incl %ecx
	cmpl $256, %ecx
	jne 1b
	ret

/* Both formats: everything supervisor and writable; code, stacks, data and the pages to edit for users, too; four odd pages. */
page_set:                            /* edx: page number, eax: entry */
	movl %eax, PT32(,%edx,4)
	movl %eax, RANDOM_PT64(,%edx,8)
	ret
pages_user:                          /* edx: first, ecx: how many */
1:	orl $4, PT32(,%edx,4)
	orl $4, RANDOM_PT64(,%edx,8)
	incl %edx
	loop 1b
	ret
pages_fill:
	xorl %edx, %edx
	movl $3, %eax
1:	call page_set
	addl $0x1000, %eax
	incl %edx
	cmpl $RAM_PAGES, %edx
	jne 1b
	movl $RANDOM_CODE >> 12, %edx
	movl $16, %ecx
	call pages_user
	movl $0x480, %edx
	movl $16, %ecx
	call pages_user
	movl $RANDOM_DATA >> 12, %edx
	movl $16, %ecx
	call pages_user
	movl $RANDOM_EDIT >> 12, %edx
	movl $RANDOM_EDIT_PAGES, %ecx
	call pages_user
	xorl %eax, %eax
	xorl %edx, %edx
2:	call page_set                /* the first MiB is not the same everywhere */
	incb %dl
	jnz 2b
	movl $RANDOM_ABSENT >> 12, %edx
	call page_set
	addl $3, %edx
	call page_set
	subl $2, %edx
	movl $RANDOM_ABSENT + 0x1005, %eax
	call page_set
	movl $PT32 + 7, PD32
	movl $PT32 + 0x1007, PD32 + 4
	movl $RANDOM_PT64 + 7, PD64
	movl $RANDOM_PT64 + 0x1007, PD64 + 8
	movl $RANDOM_PT64 + 0x2007, PD64 + 16
	movl $RANDOM_PT64 + 0x3007, PD64 + 24
	movl $PD64 + 1, PDPT_PAE
	movl $PD64 + 7, PDPT64
	movl $PDPT64 + 7, PML4
	ret

timer_on:                            /* both PICs to 20h; all masked, or the timer */
	movb $0x11, %al
	outb %al, $0x20
	outb %al, $0xa0
	movb $0x20, %al
	outb %al, $0x21
	movb $0x28, %al
	outb %al, $0xa1
	movb $4, %al
	outb %al, $0x21
	movb $2, %al
	outb %al, $0xa1
	movb $1, %al
	outb %al, $0x21
	outb %al, $0xa1
	movb $0xff, %al
	outb %al, $0xa1
	outb %al, $0x21
	cmpl $0, HEAD_TIMER
	je 1f
	movb $0xfe, %al
	outb %al, $0x21
	movb $0x34, %al
	outb %al, $0x43
	movl HEAD_TIMER, %eax
	outb %al, $0x40
	movb %ah, %al
	outb %al, $0x40
1:	ret

msrs_write:
	movl $0x174, %ecx
	movl $8, %eax
	xorl %edx, %edx
	wrmsr
	incl %ecx
	movl $KSTACK, %eax
	wrmsr
	incl %ecx
	movl $sysenter_entry, %eax
	wrmsr
	movl $0xc0000080, %ecx
	movl $0x801, %eax            /* NXE, SCE */
	cmpl $3, HEAD_KIND
	jne 1f
	orl $0x100, %eax             /* LME */
1:	wrmsr
	incl %ecx
	xorl %eax, %eax
	movl $0x00180038, %edx
	wrmsr
	incl %ecx
	movl $syscall_entry, %eax
	xorl %edx, %edx
	wrmsr
	addl $2, %ecx
	movl $0x40700, %eax          /* FMASK: TF, IF, DF, AC */
	wrmsr
	movl $0xc0000102, %ecx       /* KERNEL_GS_BASE */
	movl $RANDOM_DATA, %eax
	wrmsr
	ret

start_context:
	movl HEAD_WIDTH, %ecx
	movl $0x48, %eax
	cmpl $4, %ecx
	jb 1f
	movl $0x38, %eax
	ja 1f
	movl $0x08, %eax
1:	cmpl $0, HEAD_RING
	je 2f
	call ring_flip_cs
2:	movl %eax, ctx_cs
	movl HEAD_EFLAGS, %eax
	movl %eax, ctx_flags
	movl $RANDOM_ENTRY - 32, ctx_rip
	cmpl $4, %ecx
	jb 3f
	addl $RANDOM_CODE, ctx_rip
3:	jmp realign

/* ---- ways in ---- */
.macro stubs common
	.balign 16
	.set i, 0
	.rept 256
	.balign 16
	.if i != 8 && (i < 10 || i > 14) && i != 17
	push $0
	.endif
	push $i
	jmp \common
	.set i, i + 1
	.endr
.endm
	.balign 16
stubs32:
	stubs common32

common32:                            /* SS is flat in ring 0 */
	movl %eax, %ss:ctx
	movl %ecx, %ss:ctx + 8
	movl %edx, %ss:ctx + 16
	movl %ebx, %ss:ctx + 24
	movl %ebp, %ss:ctx + 40
	movl %esi, %ss:ctx + 48
	movl %edi, %ss:ctx + 56
	movl %ds, %eax
	movl %eax, %ss:ctx_ds
	movl %es, %eax
	movl %eax, %ss:ctx_es
	popl %ss:ctx_vector
	popl %ss:ctx_error
	popl %ss:ctx_rip
	popl %ss:ctx_cs
	popl %ss:ctx_flags
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	testb $3, ctx_cs
	jnz 1f
	andl $~0x10000, -4(%esp)     /* RF: QEMU's TCG leaves none on the stack */
	movl %esp, ctx_rsp
	movl %eax, ctx_ss
	jmp 2f
1:	popl ctx_rsp
	popl ctx_ss
2:	movl $SCRATCH, %esp
	cld
	call decide
resume32:
	movl $KSTACK, %esp
	testb $3, ctx_cs
	jnz 1f
	movl ctx_rsp, %esp
	jmp 2f
1:	pushl ctx_ss
	pushl ctx_rsp
2:	pushl ctx_flags
	pushl ctx_cs
	pushl ctx_rip
	movl ctx + 8, %ecx
	movl ctx + 16, %edx
	movl ctx + 24, %ebx
	movl ctx + 40, %ebp
	movl ctx + 48, %esi
	movl ctx + 56, %edi
	movl ctx_es, %eax
	movl %eax, %es
	movl ctx_ds, %eax
	movl %eax, %ds
	movl %ss:ctx, %eax
	iretl

sysenter_entry:                      /* the program has set ECX and EDX */
	incl %ss:calls
	sysexit

	.code64
	.balign 16
stubs64:
	stubs common64
common64:
	movq %rax, ctx
	movq %rcx, ctx + 8
	movq %rdx, ctx + 16
	movq %rbx, ctx + 24
	movq %rbp, ctx + 40
	movq %rsi, ctx + 48
	movq %rdi, ctx + 56
	movq %r8, ctx + 64
	movq %r9, ctx + 72
	movq %r10, ctx + 80
	movq %r11, ctx + 88
	movq %r12, ctx + 96
	movq %r13, ctx + 104
	movq %r14, ctx + 112
	movq %r15, ctx + 120
	movl %ds, %eax
	movl %eax, ctx_ds
	movl %es, %eax
	movl %eax, ctx_es
	popq ctx_vector
	popq ctx_error
	popq ctx_rip
	popq ctx_cs
	popq ctx_flags
	popq ctx_rsp
	popq ctx_ss
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $SCRATCH, %esp
	cld
	ljmp *to_decide
	.code32
decide_long:
	call decide
	ljmp $0x38, $resume64
	.code64
resume64:
	movl $ISTACK, %esp
	pushq ctx_ss
	pushq ctx_rsp
	pushq ctx_flags
	pushq ctx_cs
	pushq ctx_rip
	movl ctx_es, %eax
	movl %eax, %es
	movl ctx_ds, %eax
	movl %eax, %ds
	movq ctx, %rax
	movq ctx + 8, %rcx
	movq ctx + 16, %rdx
	movq ctx + 24, %rbx
	movq ctx + 40, %rbp
	movq ctx + 48, %rsi
	movq ctx + 56, %rdi
	movq ctx + 64, %r8
	movq ctx + 72, %r9
	movq ctx + 80, %r10
	movq ctx + 88, %r11
	movq ctx + 96, %r12
	movq ctx + 104, %r13
	movq ctx + 112, %r14
	movq ctx + 120, %r15
	iretq

syscall_entry:
	incl calls
	leaq 1(%rax,%rax,4), %rax
	sysretq
	.code32

/* ---- what to do with what came: may change ctx ---- */
decide:
	movl ctx_rsp, %eax
	movl %eax, ctx + 32
	movl ctx_rsp + 4, %eax
	movl %eax, ctx + 36
	movl ctx_vector, %eax
	cmpl $0x40, %eax
	jae service
	cmpl $0x20, %eax
	jae tick
	incl faults
	movl faults, %ecx
	cmpl HEAD_FAULTS, %ecx
	ja finish
	call log_add
	movl ctx_error, %eax
	andl $~2, %eax               /* QEMU's TCG reads first, for what is going to be written */
	call log_add
	movl ctx_flags, %eax
	andl $~0x108d5, %eax         /* without RF, and what arithmetic leaves */
	call log_add
	cmpl $14, ctx_vector
	jne 1f
	movl %cr2, %eax
	call log_add
1:	xorl %ecx, %ecx
2:	movl ctx(,%ecx,4), %eax      /* registers and RIP */
	call log_add
	incl %ecx
	cmpl $34, %ecx
	jne 2b
	movl ctx_vector, %eax
	cmpl $3, %eax
	je 3f
	cmpl $4, %eax
	je 3f
	cmpl $1, %eax
	jne realign
	movl $0xffff0ff0, %eax       /* single steps: sixteen, then no more */
	movl %eax, %dr6
	incl steps
	testl $15, steps
	jnz 3f
	andl $~0x100, ctx_flags
3:	ret

log_add:
	xorl log, %eax
	imull $0x01000193, %eax
	roll $5, %eax
	movl %eax, log
	ret

tick:	incl ticks
	movb $0x20, %al
	outb %al, $0x20
	ret

is_16:                               /* ZF: the program ran in 16-bit code; clobbers eax */
	movl ctx_cs, %eax
	andl $~3, %eax
	cmpl $0x48, %eax
	je 1f
	cmpl $0x50, %eax
1:	ret

realign:                             /* on to the next line; from outside of the program to the line behind the last such */
	call is_16
	setne %cl
	movl ctx_rip, %eax
	cmpl $0, ctx_rip + 4
	jne 2f
	testb %cl, %cl
	jz 1f
	subl $RANDOM_CODE, %eax
1:	orl $31, %eax
	incl %eax
	cmpl HEAD_SIZE, %eax
	jb 3f
2:	movl last, %eax
	addl $32, %eax
3:	movl %eax, last
	cmpl HEAD_SIZE, %eax
	jae finish
	testb %cl, %cl
	jz 4f
	addl $RANDOM_CODE, %eax
4:	movl %eax, ctx_rip
	movl $0, ctx_rip + 4
	andl $~0x54100, ctx_flags    /* TF, NT, RF, AC */
stack_reset:                         /* and segments */
	movl $0x23, ctx_ds
	movl $0x23, ctx_es
	movl $KSTACK, ctx_rsp
	movl $0, ctx_rsp + 4
	movl $0x10, ctx_ss
	call is_16
	jne 1f
	movl $0x6b, ctx_ds
1:	testb $3, ctx_cs
	jz 2f
	movl $USTACK, ctx_rsp
	movl $0x23, ctx_ss
	call is_16
	jne 2f
	cmpl $0, HEAD_STACK16
	je 2f
	movl $0x5b, ctx_ss
	movl $0x7f00, ctx_rsp
2:	ret

/* ---- services ---- */
service:
	cmpl $0x40, %eax
	je finish
	cmpl $0x41, %eax
	je ring_flip
	cmpl $0x42, %eax
	je page_edit
	cmpl $0x43, %eax
	je space_reload
	cmpl $0x44, %eax
	je protect_flip
	cmpl $0x45, %eax
	je global_flip
	imull $69069, ctx, %eax
	incl %eax
	movl %eax, ctx
	ret
ring_flip:
	movl ctx_cs, %eax
	call ring_flip_cs
	movl %eax, ctx_cs
	jmp stack_reset
ring_flip_cs:                        /* eax: a code selector; becomes that of the other ring */
	testb $3, %al
	jnz 1f
	cmpb $0x38, %al
	je 2f
	addl $0x0b, %eax             /* 48 -> 53 */
	cmpb $0x53, %al
	je 3f
	addl $8, %eax                /* 08 -> 1b */
	ret
2:	movl $0x2b, %eax
	ret
1:	cmpb $0x2b, %al
	je 4f
	subl $0x0b, %eax
	cmpb $0x48, %al
	je 3f
	subl $8, %eax
3:	ret
4:	movl $0x38, %eax
	ret

page_edit:                           /* EAX of the program says which page, frame and bits */
	cmpl $0, HEAD_KIND
	je 3f
	movl ctx, %eax
	movl %eax, %ecx
	shrl $4, %ecx
	andl $RANDOM_EDIT_PAGES - 1, %ecx
	movl %eax, %edx
	shrl $8, %edx
	andl $RANDOM_EDIT_PAGES - 1, %edx
	shll $12, %edx
	addl $RANDOM_EDIT + 1, %edx
	testl $0x70000000, %eax
	jnz 1f
	decl %edx                    /* one in eight is absent */
1:	movl %eax, %ebx
	shrl $12, %ebx
	andl $0x166, %ebx            /* W, U, A, D, G */
	orl %ebx, %edx
	movl %eax, %ebx
	andl $0x08000000, %ebx
	shll $4, %ebx                /* NX */
	cmpl $1, HEAD_KIND
	je 2f
	movl %edx, RANDOM_PT64 + (RANDOM_EDIT >> 9)(,%ecx,8)
	movl %ebx, RANDOM_PT64 + (RANDOM_EDIT >> 9) + 4(,%ecx,8)
	jmp 4f
2:	movl %edx, RANDOM_PT32 + (RANDOM_EDIT >> 10)(,%ecx,4)
4:	shll $12, %ecx
	invlpg RANDOM_EDIT(%ecx)
	testl %eax, %eax
	jns 3f
space_reload:
	movl %cr3, %eax
	movl %eax, %cr3
3:	ret
protect_flip:
	movl %cr0, %eax
	xorl $0x10000, %eax
	movl %eax, %cr0
	ret
global_flip:
	movl %cr4, %eax
	xorl $0x80, %eax
	movl %eax, %cr4
	ret

/* ---- the end ---- */
range_add:                           /* esi: from, ecx: words, an even number */
	movl log, %edx
	shrl $1, %ecx
1:	xorl (%esi), %edx
	imull $0x01000193, %edx, %edx
	xorl 4(%esi), %edx
	roll $7, %edx
	addl $8, %esi
	loop 1b
	movl %edx, log
	ret
finish:
	movl %cr4, %eax
	andl $~0x80, %eax
	movl %eax, %cr4
	movl $RANDOM_DATA, %esi
	movl $RANDOM_DATA_BYTES / 4, %ecx
	call range_add
	movl $ctx, %esi
	movl $34, %ecx
	call range_add
	movl $faults, %esi
	movl $4, %ecx
	call range_add
	cmpl $0, HEAD_KIND
	je 1f
	movl $RANDOM_PT32 + (RANDOM_EDIT >> 10), %esi
	movl $RANDOM_EDIT_PAGES, %ecx
	call range_add
	movl $RANDOM_PT64 + (RANDOM_EDIT >> 9), %esi
	movl $RANDOM_EDIT_PAGES * 2, %ecx
	call range_add
	movl $0, %ecx                /* the frames, where they began to be */
2:	movl %ecx, %eax
	shll $12, %eax
	addl $RANDOM_EDIT + 3, %eax
	movl %eax, RANDOM_PT32 + (RANDOM_EDIT >> 10)(,%ecx,4)
	movl %eax, RANDOM_PT64 + (RANDOM_EDIT >> 9)(,%ecx,8)
	movl $0, RANDOM_PT64 + (RANDOM_EDIT >> 9) + 4(,%ecx,8)
	incl %ecx
	cmpl $RANDOM_EDIT_PAGES, %ecx
	jne 2b
	movl %cr3, %eax
	movl %eax, %cr3
1:	movl $RANDOM_EDIT, %esi
	movl $RANDOM_EDIT_PAGES * 1024, %ecx
	call range_add
	movl log, %ebx
	movl $0x3f8, %edx
	movl $8, %ecx
3:	roll $4, %ebx
	movl %ebx, %eax
	andl $15, %eax
	movb digits(%eax), %al
	outb %al, %dx
	loop 3b
	movb $10, %al
	outb %al, %dx
	movb $0, %al
	outb %al, $0xf4
4:	cli
	hlt
	jmp 4b
digits:	.ascii "0123456789abcdef"
