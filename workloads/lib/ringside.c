/* The programs' library on our kernel: each function is one system call. Invariant: nothing here keeps state. */
#include "ringside_syscall.h"
#include "system.h"

int main(int argc, char **argv);

_Noreturn void rs_start(int argc, char **argv)
{
	rs_thread_start();
	rs_exit(main(argc, argv));
}

_Noreturn void rs_exit(int code)
{
	for (;;)
		rs_call(RS_SYS_EXIT, code, 0, 0, 0, 0);
}

long rs_write(int fd, const void *bytes, size_t count)
{
	return rs_call(RS_SYS_WRITE, fd, (long)bytes, (long)count, 0, 0);
}

long rs_read(int fd, void *bytes, size_t count)
{
	return rs_call(RS_SYS_READ, fd, (long)bytes, (long)count, 0, 0);
}

int rs_open(const char *name)
{
	return (int)rs_call(RS_SYS_OPEN, (long)name, 0, 0, 0, 0);
}

int rs_close(int fd)
{
	return (int)rs_call(RS_SYS_CLOSE, fd, 0, 0, 0, 0);
}

int rs_fork(void)
{
	return (int)rs_call(RS_SYS_FORK, 0, 0, 0, 0, 0);
}

int rs_exec(const char *name, char *const argv[])
{
	return (int)rs_call(RS_SYS_EXEC, (long)name, (long)argv, 0, 0, 0);
}

int rs_wait(int *status)
{
	return (int)rs_call(RS_SYS_WAIT, (long)status, 0, 0, 0, 0);
}

int rs_pipe(int fd[2])
{
	return (int)rs_call(RS_SYS_PIPE, (long)fd, 0, 0, 0, 0);
}

void rs_yield(void)
{
	rs_call(RS_SYS_YIELD, 0, 0, 0, 0, 0);
}

void *rs_map(size_t bytes)
{
	long at = rs_call(RS_SYS_MAP, 0, (long)bytes, RS_PROT_READ | RS_PROT_WRITE, 0, 0);
	return at == -1 ? NULL : (void *)at;
}

int rs_unmap(void *at, size_t bytes)
{
	return (int)rs_call(RS_SYS_UNMAP, (long)at, (long)bytes, 0, 0, 0);
}

int rs_protect(void *at, size_t bytes, bool writable)
{
	return (int)rs_call(RS_SYS_PROTECT, (long)at, (long)bytes, RS_PROT_READ | (writable ? RS_PROT_WRITE : 0), 0, 0);
}

int rs_null_call(void)
{
	return (int)rs_call(RS_SYS_NULL, 0, 0, 0, 0, 0);
}

int rs_nanobench(unsigned which, unsigned n)
{
	return (int)rs_call(RS_SYS_NANOBENCH, which, n, 0, 0, 0);
}

int rs_sleep(unsigned ticks)
{
	return (int)rs_call(RS_SYS_SLEEP, ticks, 0, 0, 0, 0);
}
