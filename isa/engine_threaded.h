/*
 * The threaded engine's handlers, generated from uops.def; included with OBSERVED 0 or 1 (isa/engine_threaded*.c).
 *
 * Invariant: a handler ends in a jump to the next handler, never in a call (checked on the object code: isa/check_sibling_calls.py): the real stack does not grow with guest
 * code. A slow path is a tail call too, so that the hot path saves no registers.
 */
#include "engine_run.h"
#include "uop_control.h"

#define HANDLER(name) static void t_##name(struct cpu *cpu, const struct uop *u)
#define SLOW(name) static __attribute__((noinline, THREADED_SLOW)) void s_##name(struct cpu *cpu, const struct uop *u, uint64_t ea)
#define NEXT return u[1].fn(cpu, u + 1)
#define HANDLER_END(name)                                                                                                                                              \
	HANDLER(name)                                                                                                                                                  \
	{                                                                                                                                                              \
		const struct uop *n = uop_##name(cpu, u, OBSERVED);                                                                                                    \
		if (!likely(n))                                                                                                                                        \
			return threaded_resolve(cpu, u);                                                                                                               \
		return n->fn(cpu, n);                                                                                                                                  \
	}

static __attribute__((noinline, cold)) void threaded_resolve(struct cpu *cpu, const struct uop *u)
{
	u = engine_resolve(cpu);
	if (!u)
		return;
	return u->fn(cpu, u);
}

#include "uop_handlers.h"

uop_fn *const THREADED_TABLE[UOP_COUNT] = {
#define PLAIN(name, facts) [UOP_##name] = t_##name,
#define END(name, facts) [UOP_##name] = t_##name,
#define MEMORY(name, form, facts) [UOP_##name##_##form] = t_##name##_##form,
#include "uops_alike.def"
};
