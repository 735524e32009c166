/* Stacks of control transfers: pushes and pops by the stack's own width, checked before they are made. */
#include "transfer.h"

struct stack stack_new(const struct cpu *cpu, struct segment ss, uint64_t sp, unsigned cpl, bool flat, uint16_t fault_selector)
{
	struct stack s = { .ss = ss, .sp = sp, .flat = flat, .fault_selector = fault_selector };
	s.mask = flat ? ~0ull : ss.attributes & SEGA_DB ? 0xffffffffull : 0xffffull;
	s.supervisor = cpu->cpl == 3 && cpl < 3;
	return s;
}

struct stack stack_current(const struct cpu *cpu)
{
	return stack_new(cpu, cpu->seg[SEG_SS], cpu->reg[REG_SP], cpu->cpl, cpu_code64(cpu), 0);
}

static uint64_t stack_linear(struct cpu *cpu, const struct stack *s, uint64_t offset, unsigned size)
{
	if (s->flat) {
		if (!cpu_canonical(cpu, offset) || !cpu_canonical(cpu, offset + size - 1))
			raise_selector(cpu, VEC_SS, s->fault_selector);
		return offset;
	}
	if (!segment_fits(&s->ss, offset, size))
		raise_selector(cpu, VEC_SS, s->fault_selector);
	return (s->ss.base + offset) & 0xffffffff;
}

static inline bool stack_window_open(struct cpu *cpu, const struct stack *s, uint64_t low, unsigned bytes, unsigned size, bool write, struct stack_window *w)
{
	if (s->flat)
		return stack_window_map(cpu, low, bytes, size, write, s->supervisor, true, w);
	if (low + bytes - 1 > s->mask || !segment_fits(&s->ss, low, bytes))
		return false;
	return stack_window_map(cpu, (s->ss.base + low) & 0xffffffff, bytes, size, write, s->supervisor, false, w);
}

void stack_reserve(struct cpu *cpu, const struct stack *s, unsigned count, unsigned size)
{
	uint64_t first = 0;
	struct stack_window w;
	if (stack_window_open(cpu, s, (s->sp - (uint64_t)count * size) & s->mask, count * size, size, true, &w) && w.split == count * size)
		return;
	for (unsigned i = 1; i <= count; i++) {
		uint64_t linear = stack_linear(cpu, s, (s->sp - (uint64_t)i * size) & s->mask, size);
		if (i == 1)
			first = linear;
		/* Within one page the first push faults before anything is written. Over more, ask about each, in the order of the pushes. */
		if (linear >> 12 == first >> 12)
			continue;
		mem_probe_write(cpu, first, size, s->supervisor);
		mem_probe_write(cpu, linear, size, s->supervisor);
	}
}

void stack_probe(struct cpu *cpu, const struct stack *s, unsigned size)
{
	mem_probe_write(cpu, stack_linear(cpu, s, (s->sp - size) & s->mask, size), size, s->supervisor);
}

void stack_push(struct cpu *cpu, struct stack *s, uint64_t value, unsigned size)
{
	uint64_t sp = (s->sp - size) & s->mask;
	mem_write_u(cpu, stack_linear(cpu, s, sp, size), value & width_mask(size), size, s->supervisor);
	s->sp = (s->sp & ~s->mask) | sp;
}

#define BY_SIZE static inline __attribute__((always_inline))

/* size is known where these are called, so that each value is one store or load. */
BY_SIZE bool push_window(struct cpu *cpu, struct stack *s, const uint64_t *value, unsigned count, unsigned size)
{
	uint64_t low = (s->sp - (uint64_t)count * size) & s->mask;
	struct stack_window w;
	if (!stack_window_open(cpu, s, low, count * size, size, true, &w))
		return false;
	for (unsigned i = 0, at = count * size; i < count; i++) {
		at -= size;
		event_put_data(cpu->events, EV_STORE, memory_flags(cpu, s->supervisor), size, w.linear + at, stack_window_at(&w, at));
		memory_put(stack_window_at(&w, at), value[i], size);
	}
	s->sp = (s->sp & ~s->mask) | low;
	return true;
}

BY_SIZE bool pop_window(struct cpu *cpu, struct stack *s, uint64_t *value, unsigned count, unsigned size)
{
	uint64_t low = s->sp & s->mask;
	struct stack_window w;
	if (!stack_window_open(cpu, s, low, count * size, size, false, &w))
		return false;
	for (unsigned i = 0; i < count; i++) {
		event_put_data(cpu->events, EV_LOAD, memory_flags(cpu, s->supervisor), size, w.linear + i * size, stack_window_at(&w, i * size));
		value[i] = memory_load(stack_window_at(&w, i * size), size);
	}
	s->sp = (s->sp & ~s->mask) | ((low + (uint64_t)count * size) & s->mask);
	return true;
}

void stack_push_all(struct cpu *cpu, struct stack *s, const uint64_t *value, unsigned count, unsigned size)
{
	bool done = size == 8 ? push_window(cpu, s, value, count, 8) : size == 4 && push_window(cpu, s, value, count, 4);
	for (unsigned i = 0; i < count && !done; i++)
		stack_push(cpu, s, value[i], size);
}

void stack_pop_all(struct cpu *cpu, struct stack *s, uint64_t *value, unsigned count, unsigned size)
{
	bool done = size == 8 ? pop_window(cpu, s, value, count, 8) : size == 4 && pop_window(cpu, s, value, count, 4);
	for (unsigned i = 0; i < count && !done; i++)
		value[i] = stack_pop(cpu, s, size);
}

uint64_t stack_pop(struct cpu *cpu, struct stack *s, unsigned size)
{
	uint64_t sp = s->sp & s->mask;
	uint64_t value = mem_read_u(cpu, stack_linear(cpu, s, sp, size), size, s->supervisor);
	s->sp = (s->sp & ~s->mask) | ((sp + size) & s->mask);
	return value;
}

void stack_commit(struct cpu *cpu, const struct stack *s)
{
	uint64_t keep = s->mask == 0xffff ? ~0xffffull : 0; /* a 32-bit stack pointer zero-extends */
	cpu->reg[REG_SP] = (cpu->reg[REG_SP] & keep) | (s->sp & s->mask);
}
