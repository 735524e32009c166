/* x86_64: change of kernel stacks, and the one instruction that touches user memory. */
	.text
	.globl arch_switch, user_copy, user_copy_access, user_copy_failed
/* void arch_switch(word_t *save, word_t load). ORDER SWITCH: six words, as process_prepare_stack lays them out. */
arch_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret

/* word_t user_copy(void *to, const void *from, word_t bytes) */
user_copy:
	movq %rdx, %rcx
user_copy_access:
	rep movsb
user_copy_failed:
	movq %rcx, %rax
	ret
