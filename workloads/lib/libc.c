/*
 * The C library functions that gcc and Debian's libz.a ask for, on our kernel.
 * Invariant of the heap: blocks lie one after another from heap.start to heap.end, each with its header; a free block is
 * never followed by a free one after free() has joined them.
 */
#include <stdlib.h>
#include <string.h>
#include "ringside_syscall.h"
#include "system.h"

#define ALIGNMENT 16u
#define GROW_BYTES 0x10000u

struct block {
	size_t bytes; /* with this header */
	size_t used;
} __attribute__((aligned(16)));

static struct {
	char *start, *end;
} heap;

static struct block *block_next(struct block *b)
{
	return (struct block *)((char *)b + b->bytes);
}

/* Adds at least `bytes` at the end of the heap as one free block; false: the kernel has no more. */
static bool heap_grow(size_t bytes)
{
	if (!heap.start) {
		size_t present = (size_t)rs_call(RS_SYS_BRK, 0, 0, 0, 0, 0);
		heap.start = heap.end = (char *)((present + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1));
	}
	bytes = (bytes + GROW_BYTES - 1) & ~(size_t)(GROW_BYTES - 1);
	if (rs_call(RS_SYS_BRK, (long)(heap.end + bytes), 0, 0, 0, 0) < (long)(heap.end + bytes))
		return false;
	struct block *b = (struct block *)heap.end;
	b->bytes = bytes;
	b->used = 0;
	heap.end += bytes;
	return true;
}

static void block_split(struct block *b, size_t bytes)
{
	if (b->bytes - bytes < 2 * sizeof *b)
		return;
	struct block *rest = (struct block *)((char *)b + bytes);
	rest->bytes = b->bytes - bytes;
	rest->used = 0;
	b->bytes = bytes;
}

void *malloc(size_t count)
{
	size_t bytes = (count + sizeof(struct block) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	if (bytes < count)
		return NULL;
	do {
		for (struct block *b = (struct block *)heap.start; (char *)b < heap.end; b = block_next(b)) {
			if (b->used || b->bytes < bytes)
				continue;
			block_split(b, bytes);
			b->used = 1;
			return b + 1;
		}
	} while (heap_grow(bytes));
	return NULL;
}

void free(void *at)
{
	if (!at)
		return;
	((struct block *)at - 1)->used = 0;
	for (struct block *b = (struct block *)heap.start; (char *)b < heap.end; b = block_next(b))
		while (!b->used && (char *)block_next(b) < heap.end && !block_next(b)->used)
			b->bytes += block_next(b)->bytes;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
	void *result = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	return result;
}

void *memmove(void *to, const void *from, size_t count)
{
	char *t = to;
	const char *f = from;
	if (t <= f || t >= f + count)
		return memcpy(to, from, count);
	while (count--) {
		t[count] = f[count];
		__asm__ volatile("" : : : "memory"); /* keep gcc from making this loop a call of memmove */
	}
	return to;
}

void *memset(void *to, int value, size_t count)
{
	void *result = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
	return result;
}

int memcmp(const void *a, const void *b, size_t count)
{
	const unsigned char *x = a, *y = b;
	for (size_t i = 0; i < count; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (unsigned char)*a - (unsigned char)*b;
}

/* Debian's hardening (-D_FORTIFY_SOURCE, -fstack-protector) calls these. */
void *__memcpy_chk(void *to, const void *from, size_t count, size_t room);
_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail_local(void);

_Noreturn void __stack_chk_fail(void)
{
	rs_fail("libc", "stack smashed");
}

_Noreturn void __stack_chk_fail_local(void)
{
	__stack_chk_fail();
}

void *__memcpy_chk(void *to, const void *from, size_t count, size_t room)
{
	if (count > room)
		rs_fail("libc", "memcpy beyond its target");
	return memcpy(to, from, count);
}
