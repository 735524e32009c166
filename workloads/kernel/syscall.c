/* System calls. Invariant: no argument is believed: user memory is reached only through user_copy. */
#include "kernel.h"
#include "ringside_nanobench.h"
#include "ringside_syscall.h"

#define NAME_BYTES 64

/* A user range is below USER_TOP as a whole. */
static bool user_range(word_t at, word_t bytes)
{
	return at < USER_TOP && bytes <= USER_TOP - at;
}

static bool user_get(void *to, word_t from, word_t bytes)
{
	return user_range(from, bytes) && !user_copy(to, (const void *)from, bytes);
}

static bool user_put(word_t to, const void *from, word_t bytes)
{
	return user_range(to, bytes) && !user_copy((void *)to, from, bytes);
}

/* Copies a string with its NUL; returns its bytes, 0 if it is too long or not there. */
static word_t user_get_string(char *to, word_t from, word_t room)
{
	for (word_t n = 0; n < room; n++) {
		if (!user_get(to + n, from + n, 1))
			return 0;
		if (!to[n])
			return n + 1;
	}
	return 0;
}

static struct file **file_slot(word_t fd)
{
	struct process *p = process_current();
	return fd < RS_FILES_MAX && p->files[fd] ? &p->files[fd] : NULL;
}

/* Puts a file into the lowest free descriptor; -1 (and closed) if there is none. */
static long file_install(struct file *file)
{
	struct process *p = process_current();
	for (unsigned fd = 0; file && fd < RS_FILES_MAX; fd++) {
		if (p->files[fd])
			continue;
		p->files[fd] = file;
		return fd;
	}
	if (file)
		file_close(file);
	return -1;
}

static long call_null(const word_t *a, struct trap_frame *f)
{
	(void)a, (void)f;
	return 0;
}

static long call_exit(const word_t *a, struct trap_frame *f)
{
	(void)f;
	process_exit((int)(a[0] & 0xff));
}

static long call_write(const word_t *a, struct trap_frame *f)
{
	struct file **file = file_slot(a[0]);
	(void)f;
	return file && user_range(a[1], a[2]) ? file_write(*file, (const void *)a[1], a[2]) : -1;
}

static long call_read(const word_t *a, struct trap_frame *f)
{
	struct file **file = file_slot(a[0]);
	(void)f;
	return file && user_range(a[1], a[2]) ? file_read(*file, (void *)a[1], a[2]) : -1;
}

static long call_open(const word_t *a, struct trap_frame *f)
{
	char name[NAME_BYTES];
	(void)f;
	return user_get_string(name, a[0], sizeof name) ? file_install(file_open(name)) : -1;
}

static long call_close(const word_t *a, struct trap_frame *f)
{
	struct file **file = file_slot(a[0]);
	(void)f;
	if (!file)
		return -1;
	file_close(*file);
	*file = NULL;
	return 0;
}

static long call_fork(const word_t *a, struct trap_frame *f)
{
	(void)a;
	return process_fork(f);
}

/* Gathers argv into one frame: the strings one after another. Returns argc, or -1. */
static long arguments_get(char *to, word_t argv, word_t *bytes)
{
	word_t pointer;
	*bytes = 0;
	for (unsigned argc = 0; argc <= RS_ARGS_MAX; argc++) {
		if (!user_get(&pointer, argv + argc * sizeof pointer, sizeof pointer))
			return -1;
		if (!pointer)
			return argc;
		word_t n = argc < RS_ARGS_MAX ? user_get_string(to + *bytes, pointer, PAGE_BYTES - *bytes) : 0;
		if (!n)
			return -1;
		*bytes += n;
	}
	return -1;
}

static long call_exec(const word_t *a, struct trap_frame *f)
{
	char name[NAME_BYTES];
	frame_t frame = frame_alloc();
	if (!frame)
		return -1;
	word_t bytes;
	char *arguments = frame_pointer(frame);
	long argc = user_get_string(name, a[0], sizeof name) ? arguments_get(arguments, a[1], &bytes) : -1;
	bool loaded = argc >= 0 && exec_load(process_current(), name, arguments, bytes, (unsigned)argc, f);
	frame_release(frame);
	return loaded ? 0 : -1;
}

static long call_wait(const word_t *a, struct trap_frame *f)
{
	int status;
	(void)f;
	int id = process_wait(&status);
	return id < 0 || !a[0] || user_put(a[0], &status, sizeof status) ? id : -1;
}

static long call_pipe(const word_t *a, struct trap_frame *f)
{
	struct file *ends[2];
	(void)f;
	if (!file_pipe(ends))
		return -1;
	int fd[2] = { (int)file_install(ends[0]), (int)file_install(ends[1]) };
	return fd[0] >= 0 && fd[1] >= 0 && user_put(a[0], fd, sizeof fd) ? 0 : -1;
}

static long call_yield(const word_t *a, struct trap_frame *f)
{
	(void)a, (void)f;
	process_yield();
	return 0;
}

static long call_getpid(const word_t *a, struct trap_frame *f)
{
	(void)a, (void)f;
	return process_current()->id;
}

static long call_brk(const word_t *a, struct trap_frame *f)
{
	(void)f;
	return (long)space_brk(&process_current()->space, a[0]);
}

static long call_map(const word_t *a, struct trap_frame *f)
{
	(void)f;
	word_t at = space_map(&process_current()->space, a[0], a[1], (unsigned)a[2]);
	return at ? (long)at : -1;
}

static long call_unmap(const word_t *a, struct trap_frame *f)
{
	(void)f;
	return space_unmap(&process_current()->space, a[0], a[1]) ? 0 : -1;
}

static long call_protect(const word_t *a, struct trap_frame *f)
{
	(void)f;
	return space_protect(&process_current()->space, a[0], a[1], (unsigned)a[2]) ? 0 : -1;
}

static long call_set_tls(const word_t *a, struct trap_frame *f)
{
	(void)f;
	return a[0] < USER_TOP ? process_tls_set(a[0]) : -1;
}

static long call_nanobench(const word_t *a, struct trap_frame *f)
{
	(void)f;
	return nanobench_run((unsigned)a[0], a[1]);
}

static long call_sleep(const word_t *a, struct trap_frame *f)
{
	(void)f;
	return process_sleep_ticks((uint32_t)a[0]) ? 0 : -1;
}

static long (*const calls[RS_SYS_COUNT])(const word_t *a, struct trap_frame *f) = {
	[RS_SYS_NULL] = call_null,   [RS_SYS_EXIT] = call_exit,       [RS_SYS_WRITE] = call_write,         [RS_SYS_READ] = call_read,
	[RS_SYS_OPEN] = call_open,   [RS_SYS_CLOSE] = call_close,     [RS_SYS_FORK] = call_fork,           [RS_SYS_EXEC] = call_exec,
	[RS_SYS_WAIT] = call_wait,   [RS_SYS_PIPE] = call_pipe,       [RS_SYS_YIELD] = call_yield,         [RS_SYS_GETPID] = call_getpid,
	[RS_SYS_BRK] = call_brk,     [RS_SYS_MAP] = call_map,         [RS_SYS_UNMAP] = call_unmap,         [RS_SYS_PROTECT] = call_protect,
	[RS_SYS_SET_TLS] = call_set_tls, [RS_SYS_NANOBENCH] = call_nanobench, [RS_SYS_SLEEP] = call_sleep,
};

void syscall_dispatch(struct trap_frame *f)
{
	word_t number = trap_call_number(f), arguments[5];
	trap_call_arguments(f, arguments);
	trap_call_result(f, number < RS_SYS_COUNT ? (word_t)calls[number](arguments, f) : (word_t)-1);
}
