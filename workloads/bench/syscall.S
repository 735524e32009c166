/* syscall: round trips from ring 3 by SYSCALL and SYSRET in 64-bit mode, to a handler that changes stacks by SWAPGS and saves registers, as kernels do. */
#include "bench.inc"
	.set EXPECTED, 0xf1fd2e40
	.set ROUNDS, 2000000

	.macro SET_MSR number, high, low
	movl $\number, %ecx
	movl \high, %edx
	movl \low, %eax
	wrmsr
	.endm

bench:
	movl %esp, kernel_stack
	movl $pml4_next + 7, pml4          /* P RW US; the first GiB onto itself by 2 MiB pages */
	movl $directory + 7, pml4_next
	xorl %ecx, %ecx
	movl $0x87, %eax
1:	movl %eax, directory(,%ecx,8)
	movl $0, directory + 4(,%ecx,8)
	addl $0x200000, %eax
	incl %ecx
	cmpl $512, %ecx
	jne 1b
	movl %cr4, %eax
	orl $0x20, %eax                    /* PAE */
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	SET_MSR 0xc0000080, $0, $0x101       /* EFER: LME, SCE */
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $0x08, $long_mode

	.code64
long_mode:
	movl $0x10, %eax
	movl %eax, %ss
	SET_MSR 0xc0000081, $0x00180008, $0  /* STAR: SYSCALL to 0x08 and 0x10, SYSRET to 0x2b and 0x23 */
	SET_MSR 0xc0000082, $0, $handler     /* LSTAR */
	SET_MSR 0xc0000084, $0, $0x200       /* FMASK */
	SET_MSR 0xc0000102, $0, $per_cpu     /* KERNEL_GS_BASE */
	movl $ROUNDS, %ebx
	xorl %ebp, %ebp
	movl $user_stack_top, %esp
	movl $user, %ecx
	movl $2, %r11d
	sysretq

user:	movl %ebx, %eax
	syscall
	addl %eax, %ebp
	decl %ebx
	jnz user
	movl $-1, %eax
	syscall

handler:
	swapgs
	movq %rsp, %gs:8
	movq %gs:0, %rsp
	pushq %rcx
	pushq %r11
	pushq %rbx
	pushq %rbp
	cmpl $-1, %eax
	je done
	imull $0x9E3779B1, %eax, %eax
	popq %rbp
	popq %rbx
	popq %r11
	popq %rcx
	movq %gs:8, %rsp
	swapgs
	sysretq
done:	ljmp *compatibility(%rip)

	.code32
32:	movl $0x10, %eax
	movl %eax, %ss
	movl kernel_stack, %esp
	movl %ebp, %eax
	ret

	.data
	.balign 4096
gdt:	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.long gdt
compatibility:
	.long 32b
	.word 0x18
	.balign 8
per_cpu:
	.long kernel_stack_top, 0, 0, 0
	.bss
	.balign 4096
pml4:	.skip 4096
pml4_next:
	.skip 4096
directory:
	.skip 4096
	.skip 4096
kernel_stack_top:
	.skip 4096
user_stack_top:
kernel_stack:
	.skip 4
