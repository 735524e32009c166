/*
 * Frames of RAM.
 * Invariant: users == 0 exactly for the frames on the free list; a free frame is ordinary, writable memory.
 */
#include "kernel.h"

struct frame {
	uint32_t next; /* in the free list */
	uint32_t users;
};

static struct {
	struct frame *frames;
	frame_t first, free_count;
} pool;

void frame_init(frame_t frames, frame_t first_free)
{
	frame_t table = (frame_t)((frames * sizeof *pool.frames + PAGE_BYTES - 1) / PAGE_BYTES);
	if (first_free + table + 64 > frames)
		panic("%u frames of memory are too few", frames);
	pool.frames = frame_pointer(first_free);
	memset(pool.frames, 0, frames * sizeof *pool.frames);
	for (frame_t f = 0; f < first_free + table; f++)
		pool.frames[f].users = 1;
	/* Downwards, so that allocation goes upwards. */
	for (frame_t f = frames - 1; f >= first_free + table; f--) {
		pool.frames[f].next = pool.first;
		pool.first = f;
		pool.free_count++;
	}
}

frame_t frame_alloc(void)
{
	word_t state = arch_irq_save();
	frame_t f = pool.first;
	if (f) {
		pool.first = pool.frames[f].next;
		pool.frames[f].users = 1;
		pool.free_count--;
	}
	arch_irq_restore(state);
	return f;
}

frame_t frame_alloc_zeroed(void)
{
	frame_t f = frame_alloc();
	if (f) {
		void *to = frame_pointer(f);
		word_t words = PAGE_BYTES / sizeof(uint32_t);
		__asm__ volatile("rep stosl" : "+D"(to), "+c"(words) : "a"(0) : "memory");
	}
	return f;
}

void frame_share(frame_t f)
{
	pool.frames[f].users++;
}

void frame_release(frame_t f)
{
	word_t state = arch_irq_save();
	if (!pool.frames[f].users)
		panic("frame %x released twice", f);
	if (!--pool.frames[f].users) {
		pool.frames[f].next = pool.first;
		pool.first = f;
		pool.free_count++;
	}
	arch_irq_restore(state);
}

unsigned frame_users(frame_t f)
{
	return pool.frames[f].users;
}

frame_t frame_free_count(void)
{
	return pool.free_count;
}
