/*
 * The simulated host-physical memory, as bytes.
 *
 * Invariant: nothing reads or writes outside [0, size). Accessors check; whoever takes a pointer checks with phys_ptr().
 * Addresses are host-physical (hpa). Words are little-endian, as on x86. The real pages behind it are allocated at first touch.
 */
#ifndef ISA_PHYS_H
#define ISA_PHYS_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct phys {
	uint8_t *bytes; /* real memory */
	uint64_t size;  /* bytes, a multiple of 4096 */
};

/* Maps `size` bytes of zeroes. Returns false when the real machine has no room. */
bool phys_create(struct phys *p, uint64_t size);
void phys_destroy(struct phys *p);

/* The real address of [hpa, hpa+n), or NULL when any of it is outside. */
static inline void *phys_ptr(const struct phys *p, uint64_t hpa, uint64_t n)
{
	return n <= p->size && hpa <= p->size - n ? p->bytes + hpa : NULL;
}

/* Reads 8 bytes; all ones where there is no memory (an open bus). */
static inline __attribute__((always_inline)) uint64_t phys_read64(const struct phys *p, uint64_t hpa)
{
	uint64_t v = ~0ull;
	const void *at = phys_ptr(p, hpa, 8);
	if (at)
		memcpy(&v, at, 8);
	return v;
}

static inline __attribute__((always_inline)) uint32_t phys_read32(const struct phys *p, uint64_t hpa)
{
	uint32_t v = ~0u;
	const void *at = phys_ptr(p, hpa, 4);
	if (at)
		memcpy(&v, at, 4);
	return v;
}

/* Writes; ignored where there is no memory. */
static inline void phys_write64(struct phys *p, uint64_t hpa, uint64_t v)
{
	void *at = phys_ptr(p, hpa, 8);
	if (at)
		memcpy(at, &v, 8);
}

static inline void phys_write32(struct phys *p, uint64_t hpa, uint32_t v)
{
	void *at = phys_ptr(p, hpa, 4);
	if (at)
		memcpy(at, &v, 4);
}
#endif
