/*
 * One 16-byte stub for each vector 0..47, and number 48 for system calls: completes the hardware's frame with an error
 * code (0 where the processor pushes none; SDM 3A 6.13) and the vector, then joins trap_common (entry_*.S).
 * ORDER TRAP FRAME (width.h)
 */
	.altmacro
	.macro STUB vector
	.balign 16
	.if (\vector != 8) && (\vector != 17) && (\vector != 21) && ((\vector < 10) || (\vector > 14))
	push $0
	.endif
	push $\vector
	jmp trap_common
	.endm

	.text
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set number, 0
	.rept 48
	STUB %number
	.set number, number + 1
	.endr
	STUB 0x80
