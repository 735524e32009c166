/* Bare hardware: nothing traps, the hardware walks the guest's own tables. */
#include "vmm.h"
#include <stdlib.h>

static bool direct_create(struct vmm *v)
{
	(void)v;
	return true;
}

static void direct_destroy(struct vmm *v)
{
	(void)v;
}

/* There is no VMM to pass control to. */
static void direct_transition(struct vmm *v, enum exit_reason r)
{
	(void)v, (void)r;
}

const struct cpu_part cpu_part_direct = { "direct", direct_create, direct_destroy, direct_transition, direct_transition, NULL };

static bool memory_create(struct vmm *v)
{
	struct mem_direct *d = malloc(sizeof *d);
	if (!d)
		return false;
	if (v->guest_base) {
		free(d);
		vmm_fail(v, "bare hardware has its memory at address 0");
		return false;
	}
	mem_direct_create(d);
	v->mem_self = d;
	return true;
}

static void memory_destroy(struct vmm *v)
{
	free(v->mem_self);
}

const struct vmm_memory_part vmm_memory_direct = { "direct", &memory_part_direct, memory_create, memory_destroy, NULL };
