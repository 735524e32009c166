/* What the guests of both widths share: descriptors, and output to port E9h. */
#ifndef TESTS_RINGS_PROBE_H
#define TESTS_RINGS_PROBE_H
#include <stdint.h>

static inline uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

static inline void put(char c)
{
	__asm__ volatile("outb %0, $0xe9" : : "a"(c));
}

static inline void put_text(const char *s)
{
	while (*s)
		put(*s++);
}

/* Without leading zeros, and a space. */
static inline void put_hex(unsigned long v)
{
	int shift = 8 * (int)sizeof v - 4;
	while (shift > 0 && !(v >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		put("0123456789abcdef"[v >> shift & 15]);
	put(' ');
}
#endif
