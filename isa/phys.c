#include "phys.h"
#include <sys/mman.h>

bool phys_create(struct phys *p, uint64_t size)
{
	*p = (struct phys){ 0 };
	if (!size || size & 4095 || size > SIZE_MAX / 2)
		return false;
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return false;
	madvise(at, size, MADV_HUGEPAGE); /* advice only: without it everything works, slower */
	p->bytes = at;
	p->size = size;
	return true;
}

void phys_destroy(struct phys *p)
{
	if (p->bytes)
		munmap(p->bytes, p->size);
	*p = (struct phys){ 0 };
}
