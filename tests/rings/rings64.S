/* Guest side of tests/test_isa_rings.c in long mode: Multiboot entry, identity paging, exception stubs, and the code that probes run. */
#include "probe.inc"

	.text
	HEADER
	.code32
start:
	cli
	mov $stack_top, %esp
	movl $page_pointers + 7, page_top
	movl $page_directory + 7, page_pointers
	mov $0x87, %eax /* 2 MiB pages, user, writable */
	mov $page_directory, %edi
	mov $512, %ecx
1:	mov %eax, (%edi)
	movl $0, 4(%edi)
	add $0x200000, %eax
	add $8, %edi
	loop 1b
	mov %cr4, %eax
	or $0x20, %eax
	mov %eax, %cr4
	mov $page_top, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x101, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
	lgdt first_gdtr
	ljmp $8, $1f
	.code64
1:	call main
	mov $0, %eax
	mov $0xf4, %edx
	out %al, (%dx)
2:	hlt
	jmp 2b
	.balign 8
first_gdt:
	.quad 0, 0x00209b0000000000
first_gdtr:
	.word 15
	.long first_gdt

/* void probe_run(void) */
	.globl probe_run
probe_run:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, monitor_rsp
	mov $0x2b, %eax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %fs
	mov %ax, %gs
	pushq probe_ss
	pushq probe_rsp
	pushq probe_rflags
	pushq probe_cs
	pushq probe_rip
	mov probe_rax, %rax
	mov probe_rbx, %rbx
	mov probe_rcx, %rcx
	mov probe_rdx, %rdx
	mov $0x51515151, %esi
	mov $0xd1d1d1d1, %edi
	mov $0xb9b9b9b9, %ebp
	mov $0x1111111111240ad7, %r11
	iretq

	.balign 16
	.globl stubs, stub_back
stubs:
	STUBS
	.balign 16
stub_back:
	push $0
	push $0x30
trap:
	push %rax
	push %rbx
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %rbp
	push %r11
	mov %ds, %eax
	push %rax
	mov %es, %eax
	push %rax
	mov %fs, %eax
	push %rax
	mov %gs, %eax
	push %rax
	mov %rsp, trap_frame
	mov %ss, %eax
	mov %eax, trap_ss
	mov $0x10, %eax
	mov %ax, %ss
	mov monitor_rsp, %rsp
	cld
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

/* ---- what probes run ---- */
	code none, "nop"
	code mov_ds, "mov %ax, %ds"
	code mov_fs, "mov %ax, %fs"
	code mov_ss, "mov %ax, %ss"
	code lar, "lar %eax, %ebx"
	code lsl, "lsl %eax, %ebx"
	code verr, "verr %ax"
	code ljmp, "ljmp *far_pointer"
	code lcall, "lcall *far_pointer"
	code ljmpq, "rex.w ljmp *far_pointer"
	code lcallq, "rex.w lcall *far_pointer"
	code int40, "int $0x40"
	code lldt, "lldt %ax"
	code str, "str %eax"
	code syscall, "syscall"
	code sysretl, "sysretl"
	code sysretq, "sysretq"
	code sysenter, "sysenter"
	code sysexitl, ".byte 0x0f, 0x35"
	code sysexitq, ".byte 0x48, 0x0f, 0x35"
	code swapgs, "swapgs"
	code popfq, "push %rax; popfq"
	code popfw, "pushw %ax; popfw"
	code pushfq, "pushfq; pop %rax"
	code mov_cr8, "mov %rax, %cr8; mov %cr8, %rbx"
	code enter, "mov $0x28080, %ebp; enter $16, $2"
	code push_fs, "push %fs; pop %rax"
	code pop_fs, "push %rax; pop %fs"
	code lss, "lss far_pointer, %esp"
	code cli, "cli"
	code ud, "ud2"
	code div, "xor %edx, %edx; xor %ecx, %ecx; div %ecx"
	code read, "mov (%rcx), %rax"
	code read_sp, "mov %rcx, %rsp; pop %rax"
	code push_sp, "mov %rcx, %rsp; push %rax"
	code jump, "jmp *%rcx"
	code sgdt, "sgdt scratch"
	code wrmsr, "wrmsr"
	.globl code_retf, code_retfq, code_iretq, code_iretd
code_retf: /* eax cs, ebx ss, ecx rsp, edx rip */
	push %rax /* room */
	sub $16, %rsp
	mov %edx, (%rsp)
	mov %eax, 4(%rsp)
	mov %ecx, 8(%rsp)
	mov %ebx, 12(%rsp)
	lretl
code_retfq:
	push %rbx
	push %rcx
	push %rax
	push %rdx
	lretq
code_iretq: /* rax cs, rbx ss, rcx rsp, rdx flags */
	push %rbx
	push %rcx
	push %rdx
	push %rax
	pushq landing_offset
	iretq
code_iretd:
	sub $24, %rsp
	mov landing_offset, %esi
	mov %esi, (%rsp)
	mov %eax, 4(%rsp)
	mov %edx, 8(%rsp)
	mov %ecx, 12(%rsp)
	mov %ebx, 16(%rsp)
	iretl
	.code32
	code c_none, "nop"
	code c_int40, "int $0x40"
	code c_ljmp, "ljmp *far_pointer"
	code c_lcall, "lcall *far_pointer"
	code c_mov_ss, "mov %ax, %ss"
	code c_mov_ds, "mov %ax, %ds"
	code c_syscall, "syscall"
	code c_sysenter, "sysenter"
	code c_pushf, "pushf; pop %eax"
	code c_popf, "push %eax; popf"
	code c_ud, "ud2"
	.globl code_c_iret, code_c_retf
code_c_iret:
	push %ebx
	push %ecx
	push %edx
	push %eax
	push landing_offset
	iret
code_c_retf:
	push %ebx
	push %ecx
	push %eax
	push landing_offset
	lret
	.code64

	.bss
	.balign 4096
page_top: .skip 4096
page_pointers: .skip 4096
page_directory: .skip 4096
	.globl far_pointer, scratch, landing_offset, trap_frame, trap_ss
	.globl probe_cs, probe_ss, probe_rip, probe_rsp, probe_rflags, probe_rax, probe_rbx, probe_rcx, probe_rdx
far_pointer: .skip 16
scratch: .skip 16
landing_offset: .skip 8
monitor_rsp: .skip 8
trap_frame: .skip 8
trap_ss: .skip 8
probe_cs: .skip 8
probe_ss: .skip 8
probe_rip: .skip 8
probe_rsp: .skip 8
probe_rflags: .skip 8
probe_rax: .skip 8
probe_rbx: .skip 8
probe_rcx: .skip 8
probe_rdx: .skip 8
	.balign 4096
	.skip 16384
stack_top:
	.globl bss_end
bss_end:
