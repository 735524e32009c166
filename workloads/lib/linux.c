/*
 * The programs' library on Linux, so that the same source runs natively and its checksums can be compared.
 * Invariant: what only our kernel can do (the kernel-mode nanobenchmarks) is reported as not applicable, never imitated.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "rs.h"

_Noreturn void rs_exit(int code)
{
	_exit(code & 0xff);
}

long rs_write(int fd, const void *bytes, size_t count)
{
	return write(fd, bytes, count);
}

long rs_read(int fd, void *bytes, size_t count)
{
	return read(fd, bytes, count);
}

/* The path of `name` in the directory of the running program; false: too long. */
static bool sibling_path(char *path, size_t room, const char *name)
{
	long n = readlink("/proc/self/exe", path, room - 1);
	if (n <= 0)
		return false;
	path[n] = 0;
	char *slash = strrchr(path, '/');
	size_t used = slash ? (size_t)(slash + 1 - path) : 0;
	if (used + strlen(name) + 1 > room)
		return false;
	strcpy(path + used, name);
	return true;
}

int rs_open(const char *name)
{
	char path[1024];
	return sibling_path(path, sizeof path, name) ? open(path, O_RDONLY) : -1;
}

int rs_close(int fd)
{
	return close(fd);
}

int rs_fork(void)
{
	return fork();
}

int rs_exec(const char *name, char *const argv[])
{
	char path[1024];
	return sibling_path(path, sizeof path, name) ? execv(path, argv) : -1;
}

int rs_wait(int *status)
{
	int raw, id = wait(&raw);
	if (id > 0 && status)
		*status = WIFEXITED(raw) ? WEXITSTATUS(raw) : RS_KILLED;
	return id;
}

int rs_pipe(int fd[2])
{
	return pipe(fd);
}

void rs_yield(void)
{
	sched_yield();
}

void *rs_map(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return at == MAP_FAILED ? NULL : at;
}

int rs_unmap(void *at, size_t bytes)
{
	return munmap(at, bytes);
}

int rs_protect(void *at, size_t bytes, bool writable)
{
	return mprotect(at, bytes, PROT_READ | (writable ? PROT_WRITE : 0));
}

int rs_null_call(void)
{
	syscall(SYS_getppid);
	return 0;
}

int rs_nanobench(unsigned which, unsigned n)
{
	(void)which, (void)n;
	return RS_NANOBENCH_NOT_APPLICABLE;
}

int rs_sleep(unsigned ticks)
{
	struct timespec t = { .tv_sec = ticks / 100, .tv_nsec = (long)(ticks % 100) * 10000000 };
	return nanosleep(&t, NULL);
}
