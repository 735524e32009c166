/*
 * Gates and returns that have been taken before.
 *
 * Invariant: a memo holds all that decided how a delivery or an IRET went (vector or selectors, privilege, mode, the bytes of gate and descriptors) and what came of it. It is used when all
 * of that is so again: the bytes are read each time, from where the tables are now, and only where the fast table serves every read and the whole frame, so that nothing can fault and
 * nothing is a VMM's business. So a memo never ends, and neither the guest nor the events can tell whether there was one: the events are those of the long way, in its order.
 */
#include "transfer.h"
#include "uop_settle.h"
#include "user_calls.h"

#define INLINE static inline __attribute__((always_inline))
#define OFTEN_NOT static __attribute__((noinline))
#define WHOLE __attribute__((flatten)) /* all that it calls becomes part of it */
enum {
	MEMO_USED = 1 << 30,    /* in keys: none is 0 */
	GATE_TSS32 = 8,         /* a bit of the TSS's type */
	GATE_CPL = 4, GATE_SOFT = 6, GATE_VECTOR = 16,
};

/* ---- what both share ---- */
/* The bytes of a descriptor, its accessed bit set: descriptor_segment() the other way round. */
static uint64_t descriptor_raw(const struct segment *s)
{
	uint64_t limit = s->attributes & SEGA_G ? s->limit >> 12 : s->limit;
	return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (uint64_t)((s->attributes & 0xf0ff) | SEGA_ACCESSED) << 40 | (limit & 0xf0000) << 32 | (s->base & 0xff000000) << 32;
}

/* What is read, and told in the end. */
struct place {
	uint64_t linear;
	const uint8_t *real;
};

INLINE bool place_find(struct cpu *cpu, uint64_t linear, unsigned size, const bool wide, struct place *p)
{
	p->linear = wide ? linear : linear & 0xffffffff;
	p->real = memory_quick(cpu, p->linear, size, false, true);
	return p->real;
}

INLINE bool place_has(const struct place *p, uint64_t word) { return memory_load(p->real, 8) == word; }

static void place_tell(struct cpu *cpu, const struct place *p, unsigned at, unsigned size)
{
	event_put_data(cpu->events, EV_LOAD, memory_flags(cpu, true), size, p->linear + at, p->real + at);
}

/* The descriptor of a selector of the GDT. */
INLINE bool descriptor_is(struct cpu *cpu, uint16_t selector, uint64_t raw, const bool wide, struct place *p)
{
	uint32_t index = selector & 0xfff8u;
	return index + 7 <= cpu->gdtr.limit && place_find(cpu, cpu->gdtr.base + index, 8, wide, p) && place_has(p, raw);
}

/* A frame of `bytes` bytes, values of `size`, from offset `low` on: within the limit, and all of it served by the fast table. */
INLINE bool frame_open(struct cpu *cpu, const struct segment *ss, uint64_t low, unsigned bytes, bool write, bool supervisor, const bool wide, struct stack_window *w)
{
	if (wide)
		return stack_window_map(cpu, low, bytes, 8, write, supervisor, true, w);
	if ((ss->attributes & (SEGA_DB | SEGA_DOWN_CONFORMING)) != SEGA_DB || low + bytes - 1 > ss->limit)
		return false;
	return stack_window_map(cpu, (ss->base + low) & 0xffffffff, bytes, 4, write, supervisor, false, w);
}

/* transfer_finish(), with the part of the mode key that the transfer decides. */
INLINE void transfer_finish_as(struct cpu *cpu, uint32_t decided, uint32_t key, unsigned from)
{
	cpu->code_size = key & KEY_CODE_SIZE;
	cpu->mode_key = (cpu->mode_key & ~decided) | key;
	cpu_memory_mode_follow(cpu);
	block_stamp_now(cpu);
	if (cpu->vmm.cpl_changed && from != cpu->cpl)
		cpu->vmm.cpl_changed(cpu->vmm.self, cpu, from);
	if (cpu->events->on)
		cpu_state_emit(cpu);
	else
		cpu->state_emitted = cpu_state_id(cpu);
}

/* The bits of the mode key that follow from a transfer that loaded CS, and SS or not. */
static uint32_t key_decided(bool wide, bool ss)
{
	return KEY_CODE_SIZE | KEY_USER | KEY_FLAT_CS | KEY_TRAP | (wide ? KEY_FLAT_SS | KEY_FLAT_DS | KEY_FLAT_ES | KEY_STACK16 : ss ? KEY_FLAT_SS | KEY_STACK16 : 0);
}

/* ---- delivery ---- */
INLINE struct gate_memo *gate_slot(struct cpu *cpu, unsigned vector, unsigned cpl)
{
	return &cpu->gate_memo[(vector ^ vector >> 3 ^ cpl << 3) % GATE_MEMOS];
}

uint32_t gate_key(const struct cpu *cpu, const struct delivery *d)
{
	_Static_assert((CR0_PE | GATE_TSS32) < 1 << GATE_CPL && EFER_LMA == 1 << 10 && CR4_LA57 == 1 << 12 && GATE_VECTOR > 12, "bits that stay where they are");
	return MEMO_USED | (uint32_t)(cpu->cr0 & CR0_PE) | (cpu->tr.attributes & GATE_TSS32) | (uint32_t)cpu->cpl << GATE_CPL | (uint32_t)d->soft << GATE_SOFT |
		(uint32_t)(cpu->efer & EFER_LMA) | (uint32_t)(cpu->cr4 & CR4_LA57) | d->vector << GATE_VECTOR;
}

struct gate_way {
	const struct gate_memo *m;
	struct place gate[2], code, tss, stack;
	uint64_t low;                    /* the frame's offset in the stack */
	struct stack_window frame;
	unsigned count;                  /* values in it */
};

/* The stack of the handler as the TSS has it: its pointer, and in legacy mode its selector and descriptor. */
INLINE bool gate_find_tss(struct cpu *cpu, const struct gate_memo *m, const bool wide, struct gate_way *w, uint64_t *sp)
{
	const unsigned bytes = wide ? 8 : 6;
	if (m->tss + bytes - 1 > cpu->tr.limit || cpu->tr.attributes & SEGA_UNUSABLE || !place_find(cpu, cpu->tr.base + m->tss, bytes, wide, &w->tss))
		return false;
	*sp = memory_load(w->tss.real, wide ? 8 : 4);
	return wide ? cpu_canonical(cpu, *sp) : memory_load(w->tss.real + 4, 2) == m->ss.selector && descriptor_is(cpu, m->ss.selector, m->stack, wide, &w->stack);
}

INLINE bool gate_find(struct cpu *cpu, const struct delivery *d, const bool wide, struct gate_way *w)
{
	const struct gate_memo *m = gate_slot(cpu, d->vector, cpu->cpl);
	const unsigned bytes = wide ? 16 : 8, size = wide ? 8 : 4;
	uint64_t sp = cpu->reg[REG_SP];
	uint64_t at = cpu->idtr.base + d->vector * bytes;
	w->m = m;
	if (m->key != gate_key(cpu, d) || d->vector * bytes + bytes - 1 > cpu->idtr.limit || !place_find(cpu, at, 8, wide, &w->gate[0]) || !place_has(&w->gate[0], m->gate[0]))
		return false;
	if (wide && (!place_find(cpu, at + 8, 8, wide, &w->gate[1]) || !place_has(&w->gate[1], m->gate[1])))
		return false;
	if (!descriptor_is(cpu, m->cs.selector, m->code, wide, &w->code) || (m->tss && !gate_find_tss(cpu, m, wide, w, &sp)))
		return false;
	w->count = (wide || m->loads_ss ? 5 : 3) + (d->error >= 0);
	w->low = wide ? (sp & ~0xfull) - w->count * size : (uint32_t)(sp - w->count * size);
	return frame_open(cpu, m->loads_ss ? &m->ss : &cpu->seg[SEG_SS], w->low, w->count * size, true, cpu->cpl == 3 && m->cpl < 3, wide, &w->frame);
}

OFTEN_NOT void gate_tell(struct cpu *cpu, const struct gate_way *w, bool wide)
{
	unsigned size = wide ? 8 : 4;
	for (unsigned i = 0; i <= wide; i++)
		place_tell(cpu, &w->gate[i], 0, 8);
	place_tell(cpu, &w->code, 0, 8);
	if (w->m->tss) {
		place_tell(cpu, &w->tss, 0, size);
		if (!wide) {
			place_tell(cpu, &w->tss, 4, 2);
			place_tell(cpu, &w->stack, 0, 8);
		}
	}
	if (w->frame.split < w->count * size && event_wanted(cpu->events, EV_PROBE)) { /* asks for both pages before it pushes */
		struct stack s = stack_new(cpu, w->m->loads_ss ? w->m->ss : cpu->seg[SEG_SS], w->low + w->count * size, w->m->cpl, wide, 0);
		stack_reserve(cpu, &s, w->count, size);
	}
	for (unsigned at = w->count * size; at > 0;) {
		at -= size;
		event_put_data(cpu->events, EV_STORE, memory_flags(cpu, cpu->cpl == 3 && w->m->cpl < 3), size, w->frame.linear + at, stack_window_at(&w->frame, at));
	}
}

INLINE void gate_go(struct cpu *cpu, const struct delivery *d, const struct gate_way *w, const bool wide)
{
	const struct gate_memo *m = w->m;
	const unsigned size = wide ? 8 : 4, from = cpu->cpl;
	const uint64_t value[] = { d->rip, cpu->seg[SEG_CS].selector, delivery_flags(cpu, d), cpu->reg[REG_SP], cpu->seg[SEG_SS].selector };
	unsigned at = d->error >= 0 ? size : 0;
	if (cpu->events->on)
		gate_tell(cpu, w, wide);
	if (d->error >= 0)
		memory_put(stack_window_at(&w->frame, 0), (uint64_t)d->error, size);
	for (unsigned i = 0; i < 3; i++)
		memory_put(stack_window_at(&w->frame, at + i * size), value[i], size);
	for (unsigned i = 3; i < 5 && (wide || m->loads_ss); i++)
		memory_put(stack_window_at(&w->frame, at + i * size), value[i], size);
	cpu->reg[REG_SP] = w->low;
	if (m->loads_ss)
		cpu->seg[SEG_SS] = m->ss;
	cpu->seg[SEG_CS] = m->cs;
	cpu->cpl = m->cpl;
	cpu->rip = m->rip;
	cpu->eflags &= ~m->flags_cleared;
	transfer_finish_as(cpu, m->decided, m->mode_key, from);
}

INLINE bool gate_repeat_as(struct cpu *cpu, const struct delivery *d, const bool wide)
{
	struct gate_way w;
	if (!gate_find(cpu, d, wide, &w))
		return false;
	gate_go(cpu, d, &w, wide);
	return true;
}

WHOLE bool gate_repeat(struct cpu *cpu, const struct delivery *d)
{
	return cpu_long_mode(cpu) ? gate_repeat_as(cpu, d, true) : gate_repeat_as(cpu, d, false);
}

void gate_remember(struct cpu *cpu, uint32_t key, const struct gate *g)
{
	unsigned from = key >> GATE_CPL & 3;
	bool wide = cpu_long_mode(cpu), inner = cpu->cpl != from, small = g->type == TYPE_INT16 || g->type == TYPE_TRAP16;
	bool local = (cpu->seg[SEG_CS].selector | (inner && !wide ? cpu->seg[SEG_SS].selector : 0)) & 4; /* descriptors of the LDT */
	if (cpu->no_memos || local || small || (inner && !wide && !(key & GATE_TSS32)))
		return;
	struct gate_memo m = { .key = key, .gate = { g->raw[0], g->raw[1] }, .rip = cpu->rip, .cs = cpu->seg[SEG_CS], .cpl = cpu->cpl, .loads_ss = inner,
		.flags_cleared = gate_flags_cleared(g), .decided = key_decided(wide, inner) };
	m.code = descriptor_raw(&m.cs);
	if (inner)
		m.ss = cpu->seg[SEG_SS];
	if (inner && !wide)
		m.stack = descriptor_raw(&m.ss);
	if (inner || g->ist)
		m.tss = (uint8_t)tss_stack_offset(wide ? 8 : 4, cpu->cpl, g->ist);
	m.mode_key = cpu->mode_key & m.decided;
	*gate_slot(cpu, key >> GATE_VECTOR & 0xff, from) = m;
}

/* INT n with nobody watching (uop.h). */
WHOLE bool quick_int_n(struct cpu *cpu, const struct uop *u, const struct sys_operands *o)
{
	struct delivery d = { .vector = o->imm & 0xff, .error = -1, .soft = true, .rip = o->next };
	struct gate_way w;
	bool wide = cpu_long_mode(cpu);
	if (!quick_allowed(cpu, SENS_INT_N) || cpu->vmm.deliver || cpu->eflags & FLAG_TF || !(wide ? gate_find(cpu, &d, true, &w) : gate_find(cpu, &d, false, &w)))
		return false;
	user_call_count(cpu, (cpu->block->pc + u->offset) & code_mask(cpu));
	if (wide)
		gate_go(cpu, &d, &w, true);
	else
		gate_go(cpu, &d, &w, false);
	return true;
}

/* ---- IRET ---- */
struct return_way {
	const struct return_memo *m;
	struct stack_window frame;
	struct place code, stack;
	uint64_t rip, flags, sp;
	bool outer;                   /* SS and SP come from the frame */
};

INLINE struct return_memo *return_slot(struct cpu *cpu, uint16_t selector)
{
	return &cpu->return_memo[(selector >> 3 ^ (unsigned)cpu->cpl) % RETURN_MEMOS];
}

uint64_t return_key(const struct cpu *cpu, uint16_t cs, uint16_t ss)
{
	return (uint64_t)(MEMO_USED | cpu->cpl | (uint32_t)(cpu->efer & EFER_LMA) | (uint32_t)(cpu->cr4 & CR4_LA57)) << 32 | (uint64_t)ss << 16 | cs;
}

INLINE uint64_t frame_value(const struct return_way *w, unsigned i, unsigned size)
{
	return memory_load(stack_window_at(&w->frame, i * size), size);
}

/* Only between 64-bit code, and outside long mode. */
INLINE bool return_find(struct cpu *cpu, const bool wide, struct return_way *w)
{
	const unsigned size = wide ? 8 : 4;
	const struct segment *from = &cpu->seg[SEG_SS];
	uint64_t low = wide ? cpu->reg[REG_SP] : (uint32_t)cpu->reg[REG_SP];
	if (cpu->eflags & (FLAG_NT | FLAG_TF))
		return false;
	bool five = frame_open(cpu, from, low, 5 * size, false, false, wide, &w->frame);
	if (!five && (wide || !frame_open(cpu, from, low, 3 * size, false, false, wide, &w->frame)))
		return false;
	uint16_t cs = (uint16_t)frame_value(w, 1, size), ss = 0;
	w->rip = frame_value(w, 0, size);
	w->flags = frame_value(w, 2, size);
	w->sp = (uint32_t)(low + 3 * size);
	w->outer = wide || (cs & 3) > cpu->cpl;
	if (w->outer) {
		if (!five)
			return false;
		w->sp = frame_value(w, 3, size);
		ss = (uint16_t)frame_value(w, 4, size);
	}
	const struct return_memo *m = w->m = return_slot(cpu, cs);
	if (m->key != return_key(cpu, cs, ss) || w->flags & (FLAG_TF | FLAG_VM) || (wide ? !cpu_canonical(cpu, w->rip) : w->rip > m->cs.limit))
		return false;
	return descriptor_is(cpu, cs, m->code, wide, &w->code) && (!m->stack || descriptor_is(cpu, ss, m->stack, wide, &w->stack));
}

static void return_tell_values(struct cpu *cpu, const struct return_way *w, unsigned first, unsigned end, unsigned size)
{
	for (unsigned at = first * size; at < end * size; at += size)
		event_put_data(cpu->events, EV_LOAD, memory_flags(cpu, false), size, w->frame.linear + at, stack_window_at(&w->frame, at));
}

OFTEN_NOT void return_tell(struct cpu *cpu, const struct return_way *w, unsigned size)
{
	return_tell_values(cpu, w, 0, 3, size);
	place_tell(cpu, &w->code, 0, 8);
	if (w->outer)
		return_tell_values(cpu, w, 3, 5, size);
	if (w->m->stack)
		place_tell(cpu, &w->stack, 0, 8);
}

INLINE void return_go(struct cpu *cpu, const struct return_way *w, const bool wide)
{
	const struct return_memo *m = w->m;
	unsigned from = cpu->cpl;
	if (cpu->events->on)
		return_tell(cpu, w, wide ? 8 : 4);
	eflags_put(cpu, (uint32_t)w->flags, iret_mask(cpu, wide ? 8 : 4));
	cpu->reg[REG_SP] = w->sp;
	if (w->outer)
		cpu->seg[SEG_SS] = m->ss;
	cpu->seg[SEG_CS] = m->cs;
	cpu->cpl = m->cs.selector & 3;
	cpu->rip = w->rip;
	if (cpu->cpl > from && segments_inner(cpu, cpu->cpl)) {
		segment_drop_inner(cpu, cpu->cpl);
		transfer_finish(cpu, from);
	} else {
		transfer_finish_as(cpu, m->decided, m->mode_key, from);
	}
}

/* Whether IRET is between segments that memos are kept for, and which. */
INLINE bool return_wide(const struct cpu *cpu, unsigned size, bool *wide)
{
	*wide = size == 8;
	return *wide ? cpu_code64(cpu) : size == 4 && cpu_protected(cpu) && !cpu_long_mode(cpu);
}

WHOLE bool return_repeat(struct cpu *cpu, unsigned size)
{
	struct return_way w;
	bool wide;
	if (!return_wide(cpu, size, &wide) || !(wide ? return_find(cpu, true, &w) : return_find(cpu, false, &w)))
		return false;
	if (wide)
		return_go(cpu, &w, true);
	else
		return_go(cpu, &w, false);
	return true;
}

void return_remember(struct cpu *cpu, uint64_t key, unsigned size, bool outer)
{
	unsigned from = key >> 32 & 3;
	const struct segment *cs = &cpu->seg[SEG_CS], *ss = &cpu->seg[SEG_SS];
	bool wide = size == 8, local = (cs->selector | (outer ? ss->selector : 0)) & 4;
	if (cpu->no_memos || local || size == 2 || (wide ? !cpu_code64(cpu) : cpu_long_mode(cpu) || (outer && !(ss->attributes & SEGA_DB))))
		return;
	struct return_memo m = { .key = key, .cs = *cs, .code = descriptor_raw(cs), .decided = key_decided(wide, outer) };
	if (outer)
		m.ss = *ss;
	if (outer && !(ss->attributes & SEGA_UNUSABLE))
		m.stack = descriptor_raw(ss);
	m.mode_key = cpu->mode_key & m.decided & ~(uint32_t)KEY_TRAP;
	cpu->return_memo[(cs->selector >> 3 ^ from) % RETURN_MEMOS] = m;
}

/* IRET with nobody watching (uop.h). */
bool quick_iret(struct cpu *cpu, const struct uop *u, const struct sys_operands *o)
{
	(void)u;
	return quick_allowed(cpu, SENS_IRET) && return_repeat(cpu, o->size);
}
