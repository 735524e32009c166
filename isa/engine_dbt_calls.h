/*
 * One C function a micro-op, generated from uops.def: what the translator calls where it has no emitter; included with OBSERVED 0 or 1 (isa/engine_dbt_calls*.c).
 *
 * Invariant: the functions are the bodies of isa/uop_*.h and nothing else, so that the translator gives no micro-op a second meaning.
 */
#include "engine_dbt.h"
#include "uop_control.h"

#define CALL(name) static void c_##name(struct cpu *cpu, const struct uop *u)
#define SLOW(name) static void s_##name(struct cpu *cpu, const struct uop *u, uint64_t ea)

static inline void call_event(struct cpu *cpu, enum event_kind kind, unsigned size, uint64_t ea)
{
	if (OBSERVED)
		event_put(cpu->events, kind, cpu->cpl == 3 ? EVF_USER : 0, size, 0, ea);
}

/* Slow paths: the fast table missed at `ea`; they complete the micro-op. All forms share one. */
#define PLAIN(name, facts)
#define END(name, facts)
#define IF_FIRST_bd(...) __VA_ARGS__
#define IF_FIRST_bd32(...)
#define IF_FIRST_sib(...)
#define IF_FIRST_sib32(...)
#define IF_FIRST_abs(...)
#define IF_FIRST_seg(...)
#define SLOW_LOAD(name, type, function)                                                                                                                                \
	SLOW(name) { uop_##name##_done(cpu, u, (type)function(cpu, u, ea, sizeof(type))); }
#define SLOW_STORE(name, function, type)                                                                                                                               \
	SLOW(name)                                                                                                                                                     \
	{                                                                                                                                                              \
		function(cpu, u, ea, uop_##name##_value(cpu, u), sizeof(type));                                                                                        \
		uop_##name##_done(cpu, u);                                                                                                                             \
	}
#define LOAD(name, form, type, facts) IF_FIRST_##form(SLOW_LOAD(name, type, memory_load_slow))
#define RMW(name, form, type, facts) IF_FIRST_##form(SLOW_LOAD(name, type, memory_rmw_slow))
#define STORE(name, form, type, facts) IF_FIRST_##form(SLOW_STORE(name, memory_store_slow, type))
#define QUIET(name, form, type, facts) IF_FIRST_##form(SLOW_STORE(name, memory_store_quiet_slow, type))
#define LOADX(name, form, bytes, facts) IF_FIRST_##form(SLOW(name) { memory_loadx_slow(cpu, u, ea, xmm_at(cpu, u->dst), bytes, ALIGNED_##name); })
#define STOREX(name, form, bytes, facts) IF_FIRST_##form(SLOW(name) { memory_storex_slow(cpu, u, ea, xmm_at(cpu, u->b), bytes, ALIGNED_##name); })
SLOW_LOAD(pop32, uint32_t, memory_load_slow)
SLOW_STORE(push32, memory_store_slow, uint32_t)
SLOW_STORE(pushi32, memory_store_slow, uint32_t)
#include "uops.def"

#define PLAIN(name, facts) CALL(name) { uop_##name(cpu, u); }
#define END(name, facts) static const struct uop *e_##name(struct cpu *cpu, const struct uop *u) { return uop_##name(cpu, u, OBSERVED); }
#define FAST(name, form, column, size, also, ...)                                                                                                                      \
	CALL(name##_##form)                                                                                                                                            \
	{                                                                                                                                                              \
		uint64_t ea = ea_##form(cpu, u);                                                                                                                       \
		struct fast_entry *e = memory_entry(cpu, ea);                                                                                                          \
		if (e->column != memory_tag(cpu, ea, size) || (also)) {                                                                                                \
			s_##name(cpu, u, ea);                                                                                                                          \
			return;                                                                                                                                        \
		}                                                                                                                                                      \
		__VA_ARGS__                                                                                                                                            \
	}
#define LOAD_AS(name, form, type, column, kind)                                                                                                                        \
	FAST(name, form, column, sizeof(type), false, type v; memcpy(&v, memory_real(e, ea), sizeof v); call_event(cpu, kind, sizeof v, ea); uop_##name##_done(cpu, u, v);)
#define LOAD(name, form, type, facts) LOAD_AS(name, form, type, read, EV_LOAD)
#define RMW(name, form, type, facts) LOAD_AS(name, form, type, write, EV_RMW)
#define STORE_AS(name, form, type, event)                                                                                                                              \
	FAST(name, form, write, sizeof(type), false, type v = uop_##name##_value(cpu, u); event; memcpy(memory_real(e, ea), &v, sizeof v); uop_##name##_done(cpu, u);)
#define STORE(name, form, type, facts) STORE_AS(name, form, type, call_event(cpu, EV_STORE, sizeof(type), ea))
#define QUIET(name, form, type, facts) STORE_AS(name, form, type, (void)0)
#define LOADX(name, form, bytes, facts)                                                                                                                                \
	FAST(name, form, read, bytes, ALIGNED_##name && ea & 15, union xmm v = { .q = { 0, 0 } }; memcpy(&v, memory_real(e, ea), bytes); call_event(cpu, EV_LOAD, bytes, ea);  \
	     *xmm_at(cpu, u->dst) = v;)
#define STOREX(name, form, bytes, facts)                                                                                                                               \
	FAST(name, form, write, bytes, ALIGNED_##name && ea & 15, call_event(cpu, EV_STORE, bytes, ea); memcpy(memory_real(e, ea), xmm_at(cpu, u->b), bytes);)
#include "uops.def"

const struct dbt_row DBT_TABLE[UOP_COUNT] = {
#define PLAIN(name, facts) [UOP_##name] = { .call = c_##name, .shape = SHAPE_PLAIN },
#define END(name, facts) [UOP_##name] = { .end = e_##name, .shape = SHAPE_END },
#define MEMORY(name, how, size, kind)                                                                                                                                  \
	[UOP_##name##_##how] = { .call = c_##name##_##how, .slow = s_##name, .shape = kind, .form = MEMORY_FORM_##how, .bytes = size, .family = FAMILY_##name },
#define LOAD(name, form, type, facts) MEMORY(name, form, sizeof(type), SHAPE_LOAD)
#define RMW(name, form, type, facts) MEMORY(name, form, sizeof(type), SHAPE_RMW)
#define STORE(name, form, type, facts) MEMORY(name, form, sizeof(type), SHAPE_STORE)
#define QUIET(name, form, type, facts) MEMORY(name, form, sizeof(type), SHAPE_QUIET)
#define LOADX(name, form, bytes, facts) MEMORY(name, form, bytes, SHAPE_LOADX)
#define STOREX(name, form, bytes, facts) MEMORY(name, form, bytes, SHAPE_STOREX)
#include "uops.def"
#undef MEMORY
};
