/*
 * fp: SSE2 floating point in 64-bit mode: arrays of 16 KiB are read and written by packed doubles, packed singles and scalar doubles in turn: add, subtract, multiply, divide, square root,
 * compare, maximum, convert. IEEE 754 says how each result is rounded, so the sum over all bits stored is one number. Values stay between 0 and 8192: nothing is denormal or infinite.
 */
#include "bench.inc"
	.set EFER_BITS, 0x100                /* LME */
#include "long_mode.inc"
	.set EXPECTED, 0x897cfefc
	.set COUNT, 2048                     /* doubles in an array */
	.set ROUNDS, 4000

bench:
	ENTER_LONG_MODE
	movq %cr0, %rax
	andl $~4, %eax                       /* EM */
	orl $2, %eax                         /* MP */
	movq %rax, %cr0
	movq %cr4, %rax
	orl $0x600, %eax                     /* OSFXSR, OSXMMEXCPT */
	movq %rax, %cr4
	movl $0x1f80, mxcsr(%rip)            /* all masked, to nearest, no flush to zero */
	ldmxcsr mxcsr(%rip)
	leaq left(%rip), %rsi
	leaq right(%rip), %rdi
	leaq bias(%rip), %r8
	xorl %ecx, %ecx
	movl $12345, %eax
1:	imull $1664525, %eax, %eax
	addl $1013904223, %eax
	movl %eax, %edx
	shrl $20, %edx
	incl %edx
	cvtsi2sdl %edx, %xmm0
	movsd %xmm0, (%r8,%rcx,8)            /* 1 to 4096 */
	movsd one(%rip), %xmm1
	movsd %xmm1, (%rdi,%rcx,8)
	addsd %xmm1, %xmm0
	movsd %xmm0, (%rsi,%rcx,8)
	incl %ecx
	cmpl $COUNT, %ecx
	jne 1b
	movl $ROUNDS, %ebp
	movapd one(%rip), %xmm8
	movaps half(%rip), %xmm9
	movapd limit(%rip), %xmm10
	movaps ones(%rip), %xmm11
2:	xorl %ecx, %ecx
	xorl %ebx, %ebx
3:	movapd (%rsi,%rcx,8), %xmm0          /* packed doubles: left = sqrt(left * right) + bias / left, at most the limit */
	movapd (%rdi,%rcx,8), %xmm2
	movapd (%r8,%rcx,8), %xmm1
	mulpd %xmm0, %xmm2
	divpd %xmm0, %xmm1
	sqrtpd %xmm2, %xmm2
	addpd %xmm1, %xmm2
	movapd %xmm2, %xmm3
	cmpltpd %xmm10, %xmm3
	andpd %xmm3, %xmm2
	andnpd %xmm10, %xmm3
	orpd %xmm3, %xmm2
	movapd %xmm2, (%rsi,%rcx,8)
	cvtpd2ps %xmm2, %xmm4                /* packed singles: with s = sqrt(left / 2 + 1), right = (1.5 s - 0.5) / (0.5 s + 1), at least 1 */
	mulps %xmm9, %xmm4
	addps %xmm11, %xmm4
	sqrtps %xmm4, %xmm4
	movaps %xmm4, %xmm5
	mulps %xmm9, %xmm5
	addps %xmm5, %xmm4
	addps %xmm11, %xmm5
	subps %xmm9, %xmm4
	divps %xmm5, %xmm4
	maxps %xmm11, %xmm4
	cvtps2pd %xmm4, %xmm5
	movapd %xmm5, (%rdi,%rcx,8)
	movsd (%rsi,%rcx,8), %xmm6           /* scalar doubles: s = sqrt(left * right - 1), divided where it is above half the limit; the next left = s + floor(s) + 1 */
	movsd 8(%rdi,%rcx,8), %xmm7
	mulsd %xmm7, %xmm6
	subsd %xmm8, %xmm6
	sqrtsd %xmm6, %xmm6
	addsd %xmm6, %xmm6
	ucomisd %xmm10, %xmm6
	jb 4f
	incl %ebx
	divsd %xmm7, %xmm6
4:	cvttsd2si %xmm6, %edx
	addl %edx, %ebx
	cvtsi2sdl %edx, %xmm7
	addsd %xmm7, %xmm6
	addsd %xmm8, %xmm6
	movsd %xmm6, 8(%rsi,%rcx,8)
	addl $2, %ecx
	cmpl $COUNT, %ecx
	jne 3b
	addl %ebx, counted(%rip)
	decl %ebp
	jnz 2b
	movl counted(%rip), %eax
	xorl %ecx, %ecx
5:	roll $1, %eax
	addl (%rsi,%rcx,4), %eax
	roll $1, %eax
	addl (%rdi,%rcx,4), %eax
	incl %ecx
	cmpl $COUNT * 2, %ecx
	jne 5b
	movl %eax, counted(%rip)
	LEAVE_LONG_MODE
	movl counted, %eax
	ret

	.data
	.balign 16
one:	.double 1.0, 1.0
limit:	.double 12.0, 12.0
half:	.float 0.5, 0.5, 0.5, 0.5
ones:	.float 1.0, 1.0, 1.0, 1.0
	.bss
	.balign 4096
left:	.skip COUNT * 8
right:	.skip COUNT * 8
bias:	.skip COUNT * 8
counted:
	.skip 4
mxcsr:	.skip 4
