/*
 * The system calls of the Ringside guest kernel: one numbering for every build.
 *
 * Invariant: a call never depends on the width or the platform of the kernel; the two registers-to-arguments
 * conventions are i386 `int $0x80` (number EAX; EBX ECX EDX ESI EDI) and x86-64 SYSCALL (RAX; RDI RSI RDX R10 R8).
 * The result is in EAX/RAX; negative means failure (the values are not told apart).
 */
#ifndef RINGSIDE_SYSCALL_H
#define RINGSIDE_SYSCALL_H

enum rs_syscall {
	RS_SYS_NULL = 0,      /* (): 0; does nothing, the cheapest possible call */
	RS_SYS_EXIT = 1,      /* (code): does not return */
	RS_SYS_WRITE = 2,     /* (fd, bytes, count): how many were written */
	RS_SYS_READ = 3,      /* (fd, bytes, count): how many were read, 0 at the end */
	RS_SYS_OPEN = 4,      /* (name): a file of the archive, read only */
	RS_SYS_CLOSE = 5,     /* (fd) */
	RS_SYS_FORK = 6,      /* (): child id, 0 in the child */
	RS_SYS_EXEC = 7,      /* (name, argv): returns only on failure */
	RS_SYS_WAIT = 8,      /* (int *status): child id; status: exit code 0..255, or RS_STATUS_KILLED */
	RS_SYS_PIPE = 9,      /* (int fd[2]): read end, write end */
	RS_SYS_YIELD = 10,    /* () */
	RS_SYS_GETPID = 11,   /* () */
	RS_SYS_BRK = 12,      /* (address or 0): the present end of the heap */
	RS_SYS_MAP = 13,      /* (address or 0, bytes, protection): address of fresh zero pages */
	RS_SYS_UNMAP = 14,    /* (address, bytes) */
	RS_SYS_PROTECT = 15,  /* (address, bytes, protection) */
	RS_SYS_SET_TLS = 16,  /* (base): base of FS (64-bit) or of the segment returned as selector (32-bit, for GS) */
	RS_SYS_NANOBENCH = 17, /* (enum rs_nanobench, n): 0, or RS_NANOBENCH_NOT_APPLICABLE */
	RS_SYS_SLEEP = 18,    /* (timer ticks of 10 ms): 0; failure when the timer is off */
	RS_SYS_COUNT
};

#define RS_STATUS_KILLED 0x100 /* wait status of a program that died of a fault */
#define RS_PROT_READ 1u
#define RS_PROT_WRITE 2u
#define RS_PROT_EXEC 4u
#define RS_FILES_MAX 16 /* file descriptors of one process */
#define RS_ARGS_MAX 16  /* arguments of one program */

#endif
