/* i386: change of kernel stacks, and the one instruction that touches user memory. */
	.text
	.globl arch_switch, user_copy, user_copy_access, user_copy_failed
/* void arch_switch(word_t *save, word_t load). ORDER SWITCH: six words, as process_prepare_stack lays them out. */
arch_switch:
	movl 4(%esp), %eax
	movl 8(%esp), %edx
	pushl %ebp
	pushl %ebx
	pushl %esi
	pushl %edi
	subl $8, %esp
	movl %esp, (%eax)
	movl %edx, %esp
	addl $8, %esp
	popl %edi
	popl %esi
	popl %ebx
	popl %ebp
	ret

/* word_t user_copy(void *to, const void *from, word_t bytes) */
user_copy:
	pushl %esi
	pushl %edi
	movl 12(%esp), %edi
	movl 16(%esp), %esi
	movl 20(%esp), %ecx
user_copy_access:
	rep movsb
user_copy_failed:
	movl %ecx, %eax
	popl %edi
	popl %esi
	ret
