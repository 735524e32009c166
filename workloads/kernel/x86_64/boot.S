/*
 * x86_64 native start: Multiboot 1 (EAX = magic, EBX = information), 32-bit protected mode without paging, at 1 MiB.
 * Maps the first GiB of physical addresses at 0 and at KBASE with 2 MiB pages, enters long mode (SDM 3A 9.8.5) and jumps up;
 * arch_init trims the mapping.
 */
	.section .boot, "awx"
	.code32
	.balign 4
	.long 0x1BADB002, 0x00000003, -(0x1BADB002 + 0x00000003) /* modules page aligned, memory size wanted */

	.globl boot_entry
boot_entry:
	cli
	cld
	movl $boot_directory_physical, %edi
	movl $0x183, %eax        /* P RW PS G */
	xorl %ecx, %ecx
1:	movl %eax, (%edi,%ecx,8)
	addl $0x200000, %eax
	incl %ecx
	cmpl $512, %ecx
	jne 1b
	movl $boot_root_physical, %edi
	movl $boot_pointers_physical + 3, (%edi)         /* identity, until arch_init */
	movl $boot_pointers_physical + 3, 511*8(%edi)
	movl $boot_pointers_physical, %esi
	movl $boot_directory_physical + 3, (%esi)
	movl $boot_directory_physical + 3, 510*8(%esi)   /* KBASE */
	movl %cr4, %eax
	orl $0x20, %eax          /* PAE */
	movl %eax, %cr4
	movl %edi, %cr3
	movl $0xC0000080, %ecx   /* EFER */
	rdmsr
	orl $0x901, %eax         /* NXE LME SCE */
	wrmsr
	movl %cr0, %eax
	andl $~0x6000000c, %eax  /* CD NW TS EM off */
	orl $0x80010022, %eax    /* PG WP NE MP */
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
	movabsq $high_entry, %rax
	jmp *%rax

	.balign 8
boot_gdt:
	.quad 0, 0x00209b0000000000
boot_gdt_pointer:
	.word 15
	.long boot_gdt

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
