/*
 * Descriptors: console, files of the archive (read only), pipes.
 * Invariant: a pipe's page holds `count` bytes from `start`; it lives while either end is open.
 */
#include "kernel.h"

#define FILES_MAX 64
#define PIPES_MAX 24

enum file_kind { FILE_CONSOLE = 1, FILE_ARCHIVE, FILE_PIPE_READ, FILE_PIPE_WRITE };

struct pipe {
	frame_t frame; /* 0: this one is free */
	unsigned start, count;
	bool reader, writer;
};

struct file {
	enum file_kind kind;
	unsigned users; /* 0: this one is free */
	struct pipe *pipe;
	const uint8_t *bytes;
	word_t count, at;
};

static struct file files[FILES_MAX];
static struct pipe pipes[PIPES_MAX];

static struct file *file_allocate(enum file_kind kind)
{
	for (struct file *f = files; f < files + FILES_MAX; f++) {
		if (f->users)
			continue;
		*f = (struct file){ .kind = kind, .users = 1 };
		return f;
	}
	return NULL;
}

struct file *file_console(void)
{
	return file_allocate(FILE_CONSOLE);
}

struct file *file_open(const char *name)
{
	word_t count;
	const uint8_t *bytes = archive_find(name, &count);
	struct file *f = bytes ? file_allocate(FILE_ARCHIVE) : NULL;
	if (f)
		f->bytes = bytes, f->count = count;
	return f;
}

static struct pipe *pipe_allocate(void)
{
	for (struct pipe *p = pipes; p < pipes + PIPES_MAX; p++) {
		if (p->frame)
			continue;
		*p = (struct pipe){ .frame = frame_alloc(), .reader = true, .writer = true };
		return p->frame ? p : NULL;
	}
	return NULL;
}

bool file_pipe(struct file *ends[2])
{
	struct pipe *p = pipe_allocate();
	ends[0] = p ? file_allocate(FILE_PIPE_READ) : NULL;
	ends[1] = p ? file_allocate(FILE_PIPE_WRITE) : NULL;
	if (ends[0] && ends[1]) {
		ends[0]->pipe = ends[1]->pipe = p;
		return true;
	}
	for (unsigned i = 0; i < 2; i++)
		if (ends[i])
			ends[i]->users = 0;
	if (p) {
		frame_release(p->frame);
		p->frame = 0;
	}
	return false;
}

void file_share(struct file *f)
{
	f->users++;
}

void file_close(struct file *f)
{
	if (--f->users || !f->pipe)
		return;
	struct pipe *p = f->pipe;
	if (f->kind == FILE_PIPE_READ)
		p->reader = false;
	else
		p->writer = false;
	process_wake(p);
	if (!p->reader && !p->writer) {
		frame_release(p->frame);
		p->frame = 0;
	}
}

static word_t smaller(word_t a, word_t b)
{
	return a < b ? a : b;
}

/* Moves up to `bytes` between the user and one run of the pipe's ring; returns how many, or -1. */
static long pipe_take(struct pipe *p, void *user, word_t bytes)
{
	word_t n = smaller(smaller(bytes, p->count), PAGE_BYTES - p->start);
	if (user_copy(user, (uint8_t *)frame_pointer(p->frame) + p->start, n))
		return -1;
	p->start = (p->start + (unsigned)n) % PAGE_BYTES;
	p->count -= (unsigned)n;
	return (long)n;
}

static long pipe_give(struct pipe *p, const void *user, word_t bytes)
{
	unsigned end = (p->start + p->count) % PAGE_BYTES;
	word_t n = smaller(smaller(bytes, PAGE_BYTES - p->count), PAGE_BYTES - end);
	if (user_copy((uint8_t *)frame_pointer(p->frame) + end, user, n))
		return -1;
	p->count += (unsigned)n;
	return (long)n;
}

static long pipe_read(struct pipe *p, void *user, word_t bytes)
{
	while (!p->count) {
		if (!p->writer)
			return 0;
		process_sleep(p);
	}
	long n = pipe_take(p, user, bytes);
	process_wake(p);
	return n;
}

static long pipe_write(struct pipe *p, const uint8_t *user, word_t bytes)
{
	word_t done = 0;
	while (done < bytes) {
		if (!p->reader)
			return -1;
		if (p->count == PAGE_BYTES) {
			process_sleep(p);
			continue;
		}
		long n = pipe_give(p, user + done, bytes - done);
		if (n < 0)
			return -1;
		done += (word_t)n;
		process_wake(p);
	}
	return (long)done;
}

static long console_write(const uint8_t *user, word_t bytes)
{
	char line[128];
	for (word_t done = 0; done < bytes;) {
		word_t n = smaller(bytes - done, sizeof line);
		if (user_copy(line, user + done, n))
			return -1;
		arch_console_write(line, (unsigned)n);
		done += n;
	}
	return (long)bytes;
}

static long archive_read(struct file *f, void *user, word_t bytes)
{
	word_t n = smaller(bytes, f->count - f->at);
	if (user_copy(user, f->bytes + f->at, n))
		return -1;
	f->at += n;
	return (long)n;
}

long file_read(struct file *f, void *user, word_t bytes)
{
	if (!bytes || f->kind == FILE_CONSOLE)
		return 0;
	return f->kind == FILE_ARCHIVE ? archive_read(f, user, bytes) : f->kind == FILE_PIPE_READ ? pipe_read(f->pipe, user, bytes) : -1;
}

long file_write(struct file *f, const void *user, word_t bytes)
{
	return f->kind == FILE_CONSOLE ? console_write(user, bytes) : f->kind == FILE_PIPE_WRITE ? pipe_write(f->pipe, user, bytes) : -1;
}
