/*
 * The threaded engine's handlers, generated from uops.def; included with OBSERVED 0 or 1 (isa/engine_threaded*.c).
 *
 * Invariant: a handler ends in a jump to the next handler, never in a call (checked on the object code: isa/check_sibling_calls.py): the real stack does not grow with guest
 * code. A slow path is a tail call too, so that the hot path saves no registers.
 */
#include "engine_run.h"
#include "uop_control.h"

#define HANDLER(name) static void t_##name(struct cpu *cpu, const struct uop *u)
#define SLOW(name) static __attribute__((noinline, cold)) void s_##name(struct cpu *cpu, const struct uop *u, uint64_t ea)
#define NEXT return u[1].fn(cpu, u + 1)
#define likely(x) __builtin_expect(!!(x), 1)

static __attribute__((noinline, cold)) void threaded_resolve(struct cpu *cpu, const struct uop *u)
{
	u = engine_resolve(cpu);
	if (!u)
		return;
	return u->fn(cpu, u);
}

static inline __attribute__((always_inline)) void threaded_event(struct cpu *cpu, enum event_kind kind, unsigned size, uint64_t ea)
{
	if (OBSERVED)
		event_put(cpu->events, kind, cpu->cpl == 3 ? EVF_USER : 0, size, 0, ea);
}

/* Slow paths, one a micro-op: all forms share it. */
#define PLAIN(name, facts)
#define END(name, facts)
#define IF_FIRST_bd(...) __VA_ARGS__
#define IF_FIRST_bd32(...)
#define IF_FIRST_sib(...)
#define IF_FIRST_sib32(...)
#define IF_FIRST_abs(...)
#define IF_FIRST_seg(...)
#define SLOW_LOAD(name, type, function)                                                                                                                                \
	SLOW(name)                                                                                                                                                     \
	{                                                                                                                                                              \
		uop_##name##_done(cpu, u, (type)function(cpu, u, ea, sizeof(type)));                                                                                   \
		NEXT;                                                                                                                                                  \
	}
#define SLOW_STORE(name, function, type)                                                                                                                               \
	SLOW(name)                                                                                                                                                     \
	{                                                                                                                                                              \
		function(cpu, u, ea, uop_##name##_value(cpu, u), sizeof(type));                                                                                        \
		uop_##name##_done(cpu, u);                                                                                                                             \
		NEXT;                                                                                                                                                  \
	}
#define LOAD(name, form, type, facts) IF_FIRST_##form(SLOW_LOAD(name, type, memory_load_slow))
#define RMW(name, form, type, facts) IF_FIRST_##form(SLOW_LOAD(name, type, memory_rmw_slow))
#define STORE(name, form, type, facts) IF_FIRST_##form(SLOW_STORE(name, memory_store_slow, type))
#define QUIET(name, form, type, facts) IF_FIRST_##form(SLOW_STORE(name, memory_store_quiet_slow, type))
#define LOADX(name, form, bytes, facts) IF_FIRST_##form(SLOW(name) { memory_loadx_slow(cpu, u, ea, xmm_at(cpu, u->dst), bytes, ALIGNED_##name); NEXT; })
#define STOREX(name, form, bytes, facts) IF_FIRST_##form(SLOW(name) { memory_storex_slow(cpu, u, ea, xmm_at(cpu, u->b), bytes, ALIGNED_##name); NEXT; })
SLOW_LOAD(pop32, uint32_t, memory_load_slow)
SLOW_STORE(push32, memory_store_slow, uint32_t)
SLOW_STORE(pushi32, memory_store_slow, uint32_t)
#include "uops.def"

#define PLAIN(name, facts)                                                                                                                                             \
	HANDLER(name)                                                                                                                                                  \
	{                                                                                                                                                              \
		uop_##name(cpu, u);                                                                                                                                    \
		NEXT;                                                                                                                                                  \
	}
#define END(name, facts)                                                                                                                                               \
	HANDLER(name)                                                                                                                                                  \
	{                                                                                                                                                              \
		const struct uop *n = uop_##name(cpu, u, OBSERVED);                                                                                                    \
		if (!likely(n))                                                                                                                                        \
			return threaded_resolve(cpu, u);                                                                                                               \
		return n->fn(cpu, n);                                                                                                                                  \
	}
#define LOAD_AS(name, form, type, column, kind)                                                                                                                        \
	HANDLER(name##_##form)                                                                                                                                         \
	{                                                                                                                                                              \
		uint64_t ea = ea_##form(cpu, u);                                                                                                                       \
		struct fast_entry *e = memory_entry(cpu, ea);                                                                                                          \
		if (!likely(e->column == memory_tag(cpu, ea, sizeof(type))))                                                                                           \
			return s_##name(cpu, u, ea);                                                                                                                   \
		type v;                                                                                                                                                \
		memcpy(&v, memory_real(e, ea), sizeof v);                                                                                                              \
		threaded_event(cpu, kind, sizeof v, ea);                                                                                                               \
		uop_##name##_done(cpu, u, v);                                                                                                                          \
		NEXT;                                                                                                                                                  \
	}
#define STORE_AS(name, form, type, event)                                                                                                                              \
	HANDLER(name##_##form)                                                                                                                                         \
	{                                                                                                                                                              \
		uint64_t ea = ea_##form(cpu, u);                                                                                                                       \
		struct fast_entry *e = memory_entry(cpu, ea);                                                                                                          \
		if (!likely(e->write == memory_tag(cpu, ea, sizeof(type))))                                                                                            \
			return s_##name(cpu, u, ea);                                                                                                                   \
		type v = uop_##name##_value(cpu, u);                                                                                                                   \
		event;                                                                                                                                                 \
		memcpy(memory_real(e, ea), &v, sizeof v);                                                                                                              \
		uop_##name##_done(cpu, u);                                                                                                                             \
		NEXT;                                                                                                                                                  \
	}
#define LOAD(name, form, type, facts) LOAD_AS(name, form, type, read, EV_LOAD)
#define RMW(name, form, type, facts) LOAD_AS(name, form, type, write, EV_RMW)
#define STORE(name, form, type, facts) STORE_AS(name, form, type, threaded_event(cpu, EV_STORE, sizeof(type), ea))
#define QUIET(name, form, type, facts) STORE_AS(name, form, type, (void)0)
#define LOADX(name, form, bytes, facts)                                                                                                                                \
	HANDLER(name##_##form)                                                                                                                                         \
	{                                                                                                                                                              \
		uint64_t ea = ea_##form(cpu, u);                                                                                                                       \
		struct fast_entry *e = memory_entry(cpu, ea);                                                                                                          \
		if (!likely(e->read == memory_tag(cpu, ea, bytes)) || (ALIGNED_##name && ea & 15))                                                                     \
			return s_##name(cpu, u, ea);                                                                                                                   \
		union xmm v = { .q = { 0, 0 } };                                                                                                                       \
		memcpy(&v, memory_real(e, ea), bytes);                                                                                                                 \
		threaded_event(cpu, EV_LOAD, bytes, ea);                                                                                                               \
		*xmm_at(cpu, u->dst) = v;                                                                                                                              \
		NEXT;                                                                                                                                                  \
	}
#define STOREX(name, form, bytes, facts)                                                                                                                               \
	HANDLER(name##_##form)                                                                                                                                         \
	{                                                                                                                                                              \
		uint64_t ea = ea_##form(cpu, u);                                                                                                                       \
		struct fast_entry *e = memory_entry(cpu, ea);                                                                                                          \
		if (!likely(e->write == memory_tag(cpu, ea, bytes)) || (ALIGNED_##name && ea & 15))                                                                    \
			return s_##name(cpu, u, ea);                                                                                                                   \
		threaded_event(cpu, EV_STORE, bytes, ea);                                                                                                              \
		memcpy(memory_real(e, ea), xmm_at(cpu, u->b), bytes);                                                                                                  \
		NEXT;                                                                                                                                                  \
	}
#include "uops.def"

uop_fn *const THREADED_TABLE[UOP_COUNT] = {
#define PLAIN(name, facts) [UOP_##name] = t_##name,
#define END(name, facts) [UOP_##name] = t_##name,
#define MEMORY(name, form) [UOP_##name##_##form] = t_##name##_##form,
#define LOAD(name, form, type, facts) MEMORY(name, form)
#define RMW(name, form, type, facts) MEMORY(name, form)
#define STORE(name, form, type, facts) MEMORY(name, form)
#define QUIET(name, form, type, facts) MEMORY(name, form)
#define LOADX(name, form, bytes, facts) MEMORY(name, form)
#define STOREX(name, form, bytes, facts) MEMORY(name, form)
#include "uops.def"
#undef MEMORY
};
