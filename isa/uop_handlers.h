/*
 * A function for each micro-op, generated from uops.def: the memory access of each form around the bodies of uop_*.h. Who includes it says what such a function is (isa/engine_threaded.h,
 * isa/engine_dbt_calls.h):
 *   OBSERVED         1: loads and stores become events
 *   HANDLER(name)    the head of a micro-op's function, with `cpu` and `u`
 *   SLOW(name)       the head of its slow path s_<name>, with `cpu`, `u` and `ea`
 *   NEXT             what a function ends with, a return
 *   HANDLER_END(name) the whole function of a micro-op that ends a block
 *
 * Invariant: no micro-op gets a second meaning here. What an access does happens in the order event, memory, registers, and nothing before the access is known to succeed.
 */
#define likely(x) __builtin_expect(!!(x), 1)

static inline __attribute__((always_inline)) void handler_event(struct cpu *cpu, enum event_kind kind, unsigned size, uint64_t ea)
{
	if (OBSERVED)
		event_put(cpu->events, kind, cpu->cpl == 3 ? EVF_USER : 0, size, 0, ea);
}

/* ---- slow paths: the fast table missed at `ea`; they complete the micro-op. All forms share one. ---- */
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

/* ---- the functions: the fast table knows, or the slow path takes over ---- */
#define PLAIN(name, facts)                                                                                                                                             \
	HANDLER(name)                                                                                                                                                  \
	{                                                                                                                                                              \
		uop_##name(cpu, u);                                                                                                                                    \
		NEXT;                                                                                                                                                  \
	}
#define END(name, facts) HANDLER_END(name)
#define LOAD_AS(name, form, type, column, kind)                                                                                                                        \
	HANDLER(name##_##form)                                                                                                                                         \
	{                                                                                                                                                              \
		uint64_t ea = ea_##form(cpu, u);                                                                                                                       \
		struct fast_entry *e = memory_entry(cpu, ea);                                                                                                          \
		if (!likely(e->column == memory_tag(cpu, ea, sizeof(type))))                                                                                           \
			return s_##name(cpu, u, ea);                                                                                                                   \
		type v;                                                                                                                                                \
		memcpy(&v, memory_real(e, ea), sizeof v);                                                                                                              \
		handler_event(cpu, kind, sizeof v, ea);                                                                                                                \
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
#define STORE(name, form, type, facts) STORE_AS(name, form, type, handler_event(cpu, EV_STORE, sizeof(type), ea))
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
		handler_event(cpu, EV_LOAD, bytes, ea);                                                                                                                \
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
		handler_event(cpu, EV_STORE, bytes, ea);                                                                                                               \
		memcpy(memory_real(e, ea), xmm_at(cpu, u->b), bytes);                                                                                                  \
		NEXT;                                                                                                                                                  \
	}
#include "uops.def"
