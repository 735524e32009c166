/* Guest side of tests/test_isa_rings.c: Multiboot entry, exception stubs, and the code that probes run. 32 bits, flat, no paging. */
#include "probe.inc"

	.text
	HEADER
start:
	cli
	mov $stack_top, %esp
	call main
1:	mov $0, %eax
	mov $0xf4, %edx
	out %al, (%dx)
	hlt
	jmp 1b

/* void probe_run(void): enters probe_state at its ring; comes back with result filled. */
	.globl probe_run
probe_run:
	pusha
	mov %esp, monitor_esp
	mov probe_eflags, %eax
	mov probe_cs, %ebx
	test $3, %ebx
	jz 1f
	push probe_ss
	push probe_esp
	jmp 2f
1:	mov probe_esp, %esp
2:	push %eax
	push %ebx
	push probe_eip
	mov $0x33, %eax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %fs
	mov %ax, %gs
	mov probe_eax, %eax
	mov probe_ebx, %ebx
	mov probe_ecx, %ecx
	mov probe_edx, %edx
	mov $0x51515151, %esi
	mov $0xd1d1d1d1, %edi
	mov $0xb9b9b9b9, %ebp
	iret

/* A stub a vector: error code (0 where the processor pushes none) and number. */
	.balign 16
	.globl stubs
stubs:
	STUBS
	.balign 16
	.globl stub_back
stub_back:
	push $0
	push $0x30
trap:
	pusha
	push %ds
	push %es
	push %fs
	push %gs
	mov $0x10, %eax
	mov %ax, %ds
	mov %ax, %es
	mov %esp, trap_frame
	mov %ss, trap_ss
	mov $0x10, %eax
	mov %ax, %ss
	mov monitor_esp, %esp
	cld
	popa
	ret

/* Entry points of the tasks for vectors 10 to 13: the error code is on their stack. */
	.balign 16
	.globl task_stubs
task_stubs:
	.set v, 10
	.rept 4
	.balign 16
	push $v
	jmp task_trap
	.set v, v + 1
	.endr
task_trap:
	mov %esp, trap_frame
	mov monitor_esp, %esp
	push $2
	popf
	popa
	ret

/* ---- what probes run ---- */
	code none, "nop"
	code mov_ds, "mov %ax, %ds"
	code mov_es, "mov %ax, %es"
	code mov_fs, "mov %ax, %fs"
	code mov_ss, "mov %ax, %ss"
	code lar, "lar %eax, %ebx"
	code lar16, "lar %ax, %bx"
	code lsl, "lsl %eax, %ebx"
	code verr, "verr %ax"
	code verw, "verw %ax"
	code arpl, "arpl %bx, %ax"
	code ljmp, "ljmp *far_pointer"
	code lcall, "lcall *far_pointer"
	code int40, "int $0x40"
	code int3, "int3"
	code into, "into"
	code popf, "push %eax; popf"
	code popf16, "pushw %ax; popfw"
	code pushf, "pushf; pop %eax"
	code cli, "cli"
	code sti, "sti"
	code lldt, "lldt %ax"
	code str, "str %eax"
	code sldt, "sldt %eax"
	code clts, "clts"
	code invlpg, "invlpg 0x1000"
	code mov_cr0, "mov %cr0, %eax"
	code inb, "inb $0x80, %al"
	code outw, "outw %ax, $0xb0"
	code in_dx, "in %dx, %eax; xor %eax, %eax"
	code bound, "bound %eax, bounds"
	code enter, "mov $0x28080, %ebp; enter $16, $3"
	code ud, "ud2"
	code div, "div %ecx"
	code pop_ds, "push %eax; pop %ds"
	code push_ds, "pushl %ds; pop %eax"
	code les, "les far_pointer, %ebx"
	code lss, "lss far_pointer, %esp"
	code sgdt, "sgdt scratch"
	code smsw, "smsw %eax"
	.globl code_retf, code_iret, code_iret16, bounds
code_retf: /* eax cs, ebx ss, ecx esp, edx eip */
	push %ebx
	push %ecx
	push $0x77777777
	push $0x66666666
	push %eax
	push %edx
	lret $8
code_iret: /* eax cs, ebx ss, ecx esp, edx flags */
	push %ebx
	push %ecx
	push %edx
	push %eax
	push landing_offset
	iret
code_iret16:
	pushw %bx
	pushw %cx
	pushw %dx
	pushw %ax
	pushw landing_offset
	iretw
bounds:	.long -5, 10

	.bss
	.balign 16
	.globl far_pointer, scratch, landing_offset, monitor_esp, trap_frame, trap_ss
	.globl probe_cs, probe_ss, probe_eip, probe_esp, probe_eflags, probe_eax, probe_ebx, probe_ecx, probe_edx
far_pointer: .skip 8
scratch: .skip 16
landing_offset: .skip 4
monitor_esp: .skip 4
trap_frame: .skip 4
trap_ss: .skip 4
probe_cs: .skip 4
probe_ss: .skip 4
probe_eip: .skip 4
probe_esp: .skip 4
probe_eflags: .skip 4
probe_eax: .skip 4
probe_ebx: .skip 4
probe_ecx: .skip 4
probe_edx: .skip 4
	.balign 4096
	.skip 16384
stack_top:
	.globl bss_end
bss_end:
