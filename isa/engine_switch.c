/*
 * The reference engine: one switch over the micro-ops, generated from the same rows and bodies as the threaded engine, in plain C that every sanitizer understands.
 */
#include "engine_run.h"
#include "uop_control.h"

#define SWITCH_INLINE static inline __attribute__((always_inline))

/* The real address of a fast-table hit, or NULL. */
SWITCH_INLINE uint8_t *switch_find(struct cpu *cpu, uint64_t ea, unsigned size, bool write)
{
	struct fast_entry *e = memory_entry(cpu, ea);
	return (write ? e->write : e->read) == memory_tag(cpu, ea, size) ? memory_real(e, ea) : NULL;
}

SWITCH_INLINE void switch_event(struct cpu *cpu, enum event_kind kind, unsigned size, uint64_t ea, const uint8_t *real, bool observed)
{
	if (observed)
		event_put_data(cpu->events, kind, cpu->cpl == 3 ? EVF_USER : 0, size, ea, real);
}

SWITCH_INLINE uint64_t switch_load(struct cpu *cpu, const struct uop *u, uint64_t ea, unsigned size, bool rmw, bool observed)
{
	uint64_t v = 0;
	const uint8_t *real = switch_find(cpu, ea, size, rmw);
	if (!real)
		return rmw ? memory_rmw_slow(cpu, u, ea, size) : memory_load_slow(cpu, u, ea, size);
	memcpy(&v, real, size);
	switch_event(cpu, rmw ? EV_RMW : EV_LOAD, size, ea, real, observed);
	return v;
}

SWITCH_INLINE void switch_store(struct cpu *cpu, const struct uop *u, uint64_t ea, uint64_t v, unsigned size, bool quiet, bool observed)
{
	uint8_t *real = switch_find(cpu, ea, size, true);
	if (!real) {
		(quiet ? memory_store_quiet_slow : memory_store_slow)(cpu, u, ea, v, size);
		return;
	}
	if (!quiet)
		switch_event(cpu, EV_STORE, size, ea, real, observed);
	memcpy(real, &v, size);
}

static bool switch_aligned(unsigned op) /* the rows whose name ends in a */
{
	return (op >= UOP_ldx16a_bd && op <= UOP_ldx16a_seg) || (op >= UOP_stx16a_bd && op <= UOP_stx16a_seg);
}

static void switch_loadx(struct cpu *cpu, const struct uop *u, uint64_t ea, unsigned size, bool observed)
{
	union xmm v = { .q = { 0, 0 } };
	bool aligned = switch_aligned(u->op);
	const uint8_t *real = aligned && ea & 15 ? NULL : switch_find(cpu, ea, size, false);
	if (!real) {
		memory_loadx_slow(cpu, u, ea, xmm_at(cpu, u->dst), size, aligned);
		return;
	}
	memcpy(&v, real, size);
	switch_event(cpu, EV_LOAD, size, ea, real, observed);
	*xmm_at(cpu, u->dst) = v;
}

static void switch_storex(struct cpu *cpu, const struct uop *u, uint64_t ea, unsigned size, bool observed)
{
	bool aligned = switch_aligned(u->op);
	uint8_t *real = aligned && ea & 15 ? NULL : switch_find(cpu, ea, size, true);
	if (!real) {
		memory_storex_slow(cpu, u, ea, xmm_at(cpu, u->b), size, aligned);
		return;
	}
	switch_event(cpu, EV_STORE, size, ea, real, observed);
	memcpy(real, xmm_at(cpu, u->b), size);
}

SWITCH_INLINE void switch_go(struct cpu *cpu, const struct uop *u, const bool observed)
{
	const struct uop *n;
	for (;;) {
		switch ((enum uop_op)u->op) {
#define PLAIN(name, facts)                                                                                                                                             \
	case UOP_##name: uop_##name(cpu, u); break;
#define END(name, facts)                                                                                                                                               \
	case UOP_##name:                                                                                                                                               \
		n = uop_##name(cpu, u, observed);                                                                                                                      \
		if (!n)                                                                                                                                                \
			n = engine_resolve(cpu);                                                                                                                       \
		if (!n)                                                                                                                                                \
			return;                                                                                                                                        \
		u = n;                                                                                                                                                 \
		continue;
#define LOAD(name, form, type, facts)                                                                                                                                  \
	case UOP_##name##_##form: uop_##name##_done(cpu, u, (type)switch_load(cpu, u, ea_##form(cpu, u), sizeof(type), false, observed)); break;
#define RMW(name, form, type, facts)                                                                                                                                   \
	case UOP_##name##_##form: uop_##name##_done(cpu, u, (type)switch_load(cpu, u, ea_##form(cpu, u), sizeof(type), true, observed)); break;
#define STORE_AS(name, form, type, quiet)                                                                                                                              \
	case UOP_##name##_##form:                                                                                                                                      \
		switch_store(cpu, u, ea_##form(cpu, u), uop_##name##_value(cpu, u), sizeof(type), quiet, observed);                                                    \
		uop_##name##_done(cpu, u);                                                                                                                             \
		break;
#define STORE(name, form, type, facts) STORE_AS(name, form, type, false)
#define QUIET(name, form, type, facts) STORE_AS(name, form, type, true)
#define LOADX(name, form, bytes, facts)                                                                                                                                \
	case UOP_##name##_##form: switch_loadx(cpu, u, ea_##form(cpu, u), bytes, observed); break;
#define STOREX(name, form, bytes, facts)                                                                                                                               \
	case UOP_##name##_##form: switch_storex(cpu, u, ea_##form(cpu, u), bytes, observed); break;
#include "uops.def"
#undef STORE_AS
		case UOP_COUNT: return;
		}
		u++;
	}
}

static void switch_go_plain(struct cpu *cpu, const struct uop *first) { switch_go(cpu, first, false); }
static void switch_go_observed(struct cpu *cpu, const struct uop *first) { switch_go(cpu, first, true); }

void switch_run(struct cpu *cpu);
void switch_run(struct cpu *cpu)
{
	cpu->no_memos = true;
	engine_run(cpu, switch_go_plain, switch_go_observed);
	cpu->no_memos = false;
}
