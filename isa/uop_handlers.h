/*
 * A function for each micro-op, generated from uops.def: the memory access of each form around the bodies of uop_*.h. Who includes it says what such a function is (isa/engine_threaded.h,
 * isa/engine_dbt_calls.h):
 *   OBSERVED         1: loads and stores become events
 *   HANDLER(name)    the head of a micro-op's function, with `cpu` and `u`
 *   SLOW(name)       the head of its slow path s_<name>, with `cpu`, `u` and `ea`
 *   NEXT             what a function ends with, a return
 *   HANDLER_END(name) the whole function of a micro-op that ends a block
 *
 * Invariant: no micro-op gets a second meaning here. What an access does happens in the order event, memory, registers, and nothing before the access is known to succeed. Observed, the event filter
 * is asked first, and what it does not know is looked up in the fast table by the slow path, which writes the event.
 */
#define likely(x) __builtin_expect(!!(x), 1)

#define ALWAYS static inline __attribute__((always_inline))
/* Where the bytes of an access are that the fast table knows, and events need no telling: there are none, or the filter, a smaller table, has it. NULL: the slow path. */
ALWAYS uint8_t *handler_fast(struct cpu *cpu, uint64_t ea, unsigned size, bool write)
{
	struct fast_entry *e = memory_entry(cpu, ea);
	return (write ? e->write : e->read) == memory_tag(cpu, ea, size) ? memory_real(e, ea) : NULL;
}
ALWAYS uint8_t *handler_find(struct cpu *cpu, uint64_t ea, unsigned size, bool write)
{
	if (!OBSERVED)
		return handler_fast(cpu, ea, size, write);
	return event_filter_hit(&cpu->filter, ea, size, write) ? (uint8_t *)(uintptr_t)(ea + event_filter_entry(&cpu->filter, ea)->addend[write]) : NULL;
}
/* What the filter does not know: looked up in the fast table and written. */
ALWAYS uint8_t *handler_observe(struct cpu *cpu, enum event_kind kind, uint64_t ea, unsigned size) { return OBSERVED ? memory_observe(cpu, kind, ea, size) : NULL; }

ALWAYS void handler_loadx(union xmm *to, const uint8_t *from, unsigned bytes)
{
	union xmm v = { .q = { 0, 0 } };
	memcpy(&v, from, bytes);
	*to = v;
}

/* ---- slow paths: handler_find() missed at `ea`; they complete the micro-op. All forms share one. ---- */
#define PLAIN(name, facts)
#define END(name, facts)
#define IF_FIRST_bd(...) __VA_ARGS__
#define IF_FIRST_bd32(...)
#define IF_FIRST_sib(...)
#define IF_FIRST_sib32(...)
#define IF_FIRST_abs(...)
#define IF_FIRST_seg(...)
#define SLOW_LOAD(name, type, function, kind)                                                                                                                          \
	SLOW(name)                                                                                                                                                     \
	{                                                                                                                                                              \
		type v;                                                                                                                                                \
		const uint8_t *real = handler_observe(cpu, kind, ea, sizeof v);                                                                                       \
		if (likely(real))                                                                                                                                      \
			memcpy(&v, real, sizeof v);                                                                                                                    \
		else                                                                                                                                                   \
			v = (type)function(cpu, u, ea, sizeof v);                                                                                                      \
		uop_##name##_done(cpu, u, v);                                                                                                                          \
		NEXT;                                                                                                                                                  \
	}
#define SLOW_STORE(name, function, type, observe)                                                                                                                      \
	SLOW(name)                                                                                                                                                     \
	{                                                                                                                                                              \
		type v = uop_##name##_value(cpu, u);                                                                                                                   \
		uint8_t *real = observe;                                                                                                                               \
		if (likely(real))                                                                                                                                      \
			memcpy(real, &v, sizeof v);                                                                                                                    \
		else                                                                                                                                                   \
			function(cpu, u, ea, v, sizeof v);                                                                                                             \
		uop_##name##_done(cpu, u);                                                                                                                             \
		NEXT;                                                                                                                                                  \
	}
#define STORE_OBSERVED(type) handler_observe(cpu, EV_STORE, ea, sizeof(type))
#define LOAD(name, form, type, facts) IF_FIRST_##form(SLOW_LOAD(name, type, memory_load_slow, EV_LOAD))
#define RMW(name, form, type, facts) IF_FIRST_##form(SLOW_LOAD(name, type, memory_rmw_slow, EV_RMW))
#define STORE(name, form, type, facts) IF_FIRST_##form(SLOW_STORE(name, memory_store_slow, type, STORE_OBSERVED(type)))
#define QUIET(name, form, type, facts) IF_FIRST_##form(SLOW_STORE(name, memory_store_quiet_slow, type, NULL))
#define SLOW_XMM(name, bytes, kind, i, hit, slow)                                                                                                                      \
	SLOW(name)                                                                                                                                                     \
	{                                                                                                                                                              \
		union xmm *x = xmm_at(cpu, i);                                                                                                                         \
		uint8_t *real = ALIGNED_##name && ea & 15 ? NULL : handler_observe(cpu, kind, ea, bytes);                                                             \
		if (likely(real))                                                                                                                                      \
			hit;                                                                                                                                           \
		else                                                                                                                                                   \
			slow(cpu, u, ea, x, bytes, ALIGNED_##name);                                                                                                    \
		NEXT;                                                                                                                                                  \
	}
#define LOADX(name, form, bytes, facts) IF_FIRST_##form(SLOW_XMM(name, bytes, EV_LOAD, u->dst, handler_loadx(x, real, bytes), memory_loadx_slow))
#define STOREX(name, form, bytes, facts) IF_FIRST_##form(SLOW_XMM(name, bytes, EV_STORE, u->b, memcpy(real, x, bytes), memory_storex_slow))
SLOW_LOAD(pop32, uint32_t, memory_load_slow, EV_LOAD)
SLOW_STORE(push32, memory_store_slow, uint32_t, STORE_OBSERVED(uint32_t))
SLOW_STORE(pushi32, memory_store_slow, uint32_t, STORE_OBSERVED(uint32_t))
#include "uops.def"

/* ---- the functions ---- */
#define PLAIN(name, facts)                                                                                                                                             \
	HANDLER(name)                                                                                                                                                  \
	{                                                                                                                                                              \
		uop_##name(cpu, u);                                                                                                                                    \
		NEXT;                                                                                                                                                  \
	}
#define END(name, facts) HANDLER_END(name)
#define LOAD_AS(name, form, type, write)                                                                                                                               \
	HANDLER(name##_##form)                                                                                                                                         \
	{                                                                                                                                                              \
		uint64_t ea = ea_##form(cpu, u);                                                                                                                       \
		const uint8_t *real = handler_find(cpu, ea, sizeof(type), write);                                                                                     \
		if (!likely(real))                                                                                                                                     \
			return s_##name(cpu, u, ea);                                                                                                                   \
		type v;                                                                                                                                                \
		memcpy(&v, real, sizeof v);                                                                                                                            \
		uop_##name##_done(cpu, u, v);                                                                                                                          \
		NEXT;                                                                                                                                                  \
	}
#define STORE_AS(name, form, type, find)                                                                                                                               \
	HANDLER(name##_##form)                                                                                                                                         \
	{                                                                                                                                                              \
		uint64_t ea = ea_##form(cpu, u);                                                                                                                       \
		uint8_t *real = find(cpu, ea, sizeof(type), true);                                                                                                     \
		if (!likely(real))                                                                                                                                     \
			return s_##name(cpu, u, ea);                                                                                                                   \
		type v = uop_##name##_value(cpu, u);                                                                                                                   \
		memcpy(real, &v, sizeof v);                                                                                                                            \
		uop_##name##_done(cpu, u);                                                                                                                             \
		NEXT;                                                                                                                                                  \
	}
#define LOAD(name, form, type, facts) LOAD_AS(name, form, type, false)
#define RMW(name, form, type, facts) LOAD_AS(name, form, type, true)
#define STORE(name, form, type, facts) STORE_AS(name, form, type, handler_find)
#define QUIET(name, form, type, facts) STORE_AS(name, form, type, handler_fast)
#define XMM_AS(name, form, bytes, write, hit)                                                                                                                          \
	HANDLER(name##_##form)                                                                                                                                         \
	{                                                                                                                                                              \
		uint64_t ea = ea_##form(cpu, u);                                                                                                                       \
		uint8_t *real = ALIGNED_##name && ea & 15 ? NULL : handler_find(cpu, ea, bytes, write);                                                               \
		if (!likely(real))                                                                                                                                     \
			return s_##name(cpu, u, ea);                                                                                                                   \
		hit;                                                                                                                                                   \
		NEXT;                                                                                                                                                  \
	}
#define LOADX(name, form, bytes, facts) XMM_AS(name, form, bytes, false, handler_loadx(xmm_at(cpu, u->dst), real, bytes))
#define STOREX(name, form, bytes, facts) XMM_AS(name, form, bytes, true, memcpy(real, xmm_at(cpu, u->b), bytes))
#include "uops.def"
