/*
 * One C function a micro-op, generated from uops.def: what the translator calls where it has no emitter; included with OBSERVED 0 or 1 (isa/engine_dbt_calls*.c).
 *
 * Invariant: the functions are the bodies of isa/uop_*.h and nothing else, so that the translator gives no micro-op a second meaning.
 */
#include "engine_dbt.h"
#include "uop_control.h"

#define HANDLER(name) static void c_##name(struct cpu *cpu, const struct uop *u)
#define SLOW(name) static void s_##name(struct cpu *cpu, const struct uop *u, uint64_t ea)
#define NEXT return
#define HANDLER_END(name) static const struct uop *e_##name(struct cpu *cpu, const struct uop *u) { return uop_##name(cpu, u, OBSERVED); }
#include "uop_handlers.h"

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
