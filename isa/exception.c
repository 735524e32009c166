/* Exceptions and interrupts: SDM 3A chapter 6. */
#include "transfer.h"

/* ---------------------------------------------------------------- raising */
static _Noreturn void exception_escape(struct cpu *cpu, unsigned v, int64_t error, uint64_t cr2)
{
	cpu->raised.vector = (uint8_t)v;
	cpu->raised.error = error;
	cpu->raised.cr2 = cr2;
	longjmp(*cpu->escape, 1);
}

_Noreturn void cpu_raise(struct cpu *cpu, enum vector v)
{
	exception_escape(cpu, v, -1, 0);
}

_Noreturn void cpu_raise_error(struct cpu *cpu, enum vector v, uint32_t error)
{
	exception_escape(cpu, v, error, 0);
}

_Noreturn void cpu_raise_fault(struct cpu *cpu, const struct mem_fault *f)
{
	exception_escape(cpu, f->vector, f->error, f->cr2);
}

_Noreturn void raise_selector(struct cpu *cpu, enum vector v, uint16_t selector)
{
	exception_escape(cpu, v, (selector & 0xfffcu) | cpu->delivering.ext, 0);
}

/* Error code that names an IDT entry: SDM 3A figure 6-7, bit 1 IDT, bit 0 EXT. */
static _Noreturn void raise_idt(struct cpu *cpu, enum vector v, unsigned vector)
{
	exception_escape(cpu, v, vector << 3 | 2 | cpu->delivering.ext, 0);
}

/* ---------------------------------------------------------------- one delivery */
/* SDM 2A INT, "REAL-ADDRESS-MODE": the vector table of four-byte far pointers. */
static void deliver_real(struct cpu *cpu, const struct delivery *d)
{
	if (d->vector * 4 + 3 > cpu->idtr.limit)
		raise_idt(cpu, VEC_GP, d->vector);
	uint32_t to = (uint32_t)memory_get(cpu, (cpu->idtr.base + d->vector * 4) & 0xffffffff, 4, true);
	struct stack s = stack_current(cpu);
	stack_reserve(cpu, &s, 3, 2);
	stack_push(cpu, &s, cpu_eflags(cpu), 2);
	stack_push(cpu, &s, cpu->seg[SEG_CS].selector, 2);
	stack_push(cpu, &s, d->rip, 2);
	stack_commit(cpu, &s);
	eflags_write(cpu, 0, FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
	segment_load_real(cpu, SEG_CS, (uint16_t)(to >> 16));
	cpu->rip = to & 0xffff;
	transfer_finish(cpu, cpu->cpl);
}

/* Reads the IDT entry and checks everything that needs no other descriptor: SDM 2A INT, "PROTECTED-MODE" and "IA-32e-MODE". */
static struct gate gate_read(struct cpu *cpu, const struct delivery *d)
{
	bool long_mode = cpu_long_mode(cpu);
	unsigned bytes = long_mode ? 16 : 8;
	if (d->vector * bytes + bytes - 1 > cpu->idtr.limit)
		raise_idt(cpu, VEC_GP, d->vector);
	uint64_t at = cpu->idtr.base + d->vector * bytes;
	uint64_t raw = memory_get(cpu, long_mode ? at : at & 0xffffffff, 8, true);
	unsigned type = descriptor_type(raw);
	static const uint16_t legacy = 1 << TYPE_TASK_GATE | 1 << TYPE_INT16 | 1 << TYPE_TRAP16 | 1 << TYPE_INT | 1 << TYPE_TRAP, wide = 1 << TYPE_INT | 1 << TYPE_TRAP;
	if (descriptor_is_segment(raw) || !((long_mode ? wide : legacy) >> type & 1))
		raise_idt(cpu, VEC_GP, d->vector);
	if (d->soft && descriptor_dpl(raw) < cpu->cpl)
		raise_idt(cpu, VEC_GP, d->vector);
	if (!descriptor_present(raw))
		raise_idt(cpu, VEC_NP, d->vector);
	struct gate g = { .type = type, .selector = gate_selector(raw), .offset = gate_offset_low(raw), .raw = { raw } };
	if (long_mode) {
		g.raw[1] = memory_get(cpu, at + 8, 8, true);
		g.offset |= g.raw[1] << 32;
		g.ist = raw >> 32 & 7;
	}
	if (type == TYPE_INT16 || type == TYPE_TRAP16)
		g.offset &= 0xffff;
	return g;
}

/* The handler's code segment; its DPL becomes CPL unless it conforms. */
static struct segment gate_code(struct cpu *cpu, const struct gate *g, unsigned *cpl)
{
	if (selector_is_null(g->selector))
		raise_selector(cpu, VEC_GP, 0);
	uint64_t raw = descriptor_read(cpu, g->selector, VEC_GP);
	if (!descriptor_is_code(raw) || descriptor_dpl(raw) > cpu->cpl)
		raise_selector(cpu, VEC_GP, g->selector);
	if (cpu_long_mode(cpu) && (raw >> 53 & 3) != 1) /* L = 1, D = 0 */
		raise_selector(cpu, VEC_GP, g->selector);
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_NP, g->selector);
	*cpl = descriptor_is_conforming(raw) ? cpu->cpl : descriptor_dpl(raw);
	return descriptor_access(cpu, g->selector, raw);
}

/* The stack of the handler: the present one, the TSS's for a more privileged handler, or an IST entry. */
static struct stack gate_stack(struct cpu *cpu, const struct gate *g, unsigned cpl)
{
	bool long_mode = cpu_long_mode(cpu);
	uint16_t selector = 0;
	uint64_t sp = cpu->reg[REG_SP];
	if (cpl == cpu->cpl && !g->ist) {
		struct stack s = stack_new(cpu, cpu->seg[SEG_SS], sp, cpl, long_mode, 0);
		if (long_mode)
			s.sp &= ~0xfull; /* SDM 3A 6.14.2: frames are 16-byte aligned */
		return s;
	}
	tss_stack(cpu, cpl, g->ist, &selector, &sp);
	if (long_mode) {
		struct segment ss = cpl == cpu->cpl ? cpu->seg[SEG_SS] : segment_null((uint16_t)cpl, cpl);
		return stack_new(cpu, ss, sp & ~0xfull, cpl, true, 0);
	}
	return stack_new(cpu, segment_check_stack(cpu, selector, cpl, VEC_TS), sp, cpl, false, selector);
}

static void deliver_gate(struct cpu *cpu, const struct delivery *d, const struct gate *g)
{
	unsigned cpl, from = cpu->cpl, size = cpu_long_mode(cpu) ? 8 : g->type == TYPE_INT16 || g->type == TYPE_TRAP16 ? 2 : 4;
	uint32_t key = gate_key(cpu, d);
	struct segment cs = gate_code(cpu, g, &cpl);
	struct stack s = gate_stack(cpu, g, cpl);
	bool with_ss = cpl != from || size == 8;
	stack_reserve(cpu, &s, (with_ss ? 5 : 3) + (d->error >= 0), size);
	code_offset_check(cpu, &cs, g->offset);
	uint64_t frame[6];
	unsigned n = 0;
	if (with_ss) {
		frame[n++] = cpu->seg[SEG_SS].selector;
		frame[n++] = cpu->reg[REG_SP];
	}
	frame[n++] = delivery_flags(cpu, d);
	frame[n++] = cpu->seg[SEG_CS].selector;
	frame[n++] = d->rip;
	if (d->error >= 0)
		frame[n++] = (uint64_t)d->error;
	stack_push_all(cpu, &s, frame, n, size);
	/* Nothing can fault any more. */
	stack_commit(cpu, &s);
	cpu->seg[SEG_SS] = s.ss;
	cs.selector = (uint16_t)((g->selector & ~3u) | cpl);
	cpu->seg[SEG_CS] = cs;
	cpu->cpl = (uint8_t)cpl;
	cpu->rip = g->offset;
	eflags_write(cpu, 0, gate_flags_cleared(g));
	transfer_finish(cpu, from);
	gate_remember(cpu, key, g);
}

static void deliver_protected(struct cpu *cpu, const struct delivery *d, const struct gate *g)
{
	if (g->type != TYPE_TASK_GATE)
		deliver_gate(cpu, d, g);
	else
		task_switch(cpu, g->selector, d->fault ? TASK_FAULT : TASK_INT, d->error); /* cpu->rip is d->rip: the old task saves it */
}

/* Tries once. Returns false with the fault in cpu->raised and the state as it was (or, after a task switch, the new task's). g: the gate, when it has been read. */
static bool deliver_try(struct cpu *cpu, const struct delivery *d, const struct gate *g)
{
	jmp_buf here, *outer = cpu->escape;
	if (!g && gate_repeat(cpu, d))
		return true;
	cpu->escape = &here;
	if (setjmp(here)) {
		cpu->escape = outer;
		return false;
	}
	if (!cpu_protected(cpu)) {
		deliver_real(cpu, d);
	} else if (g) {
		deliver_protected(cpu, d, g);
	} else {
		struct gate read = gate_read(cpu, d);
		deliver_protected(cpu, d, &read);
	}
	cpu->escape = outer;
	return true;
}

/* ---------------------------------------------------------------- rules about several */
static bool vector_is_fault(unsigned v)
{
	/* SDM 3A table 6-1: traps are 3 and 4, aborts 8 and 18; 1 may be either and is delivered here as a trap. 2 is an interrupt. */
	static const uint32_t others = 1 << VEC_DB | 1 << VEC_NMI | 1 << VEC_BP | 1 << VEC_OF | 1 << VEC_DF | 1 << 18;
	return v < 32 && !(others >> v & 1);
}

enum exception_class { CLASS_BENIGN, CLASS_CONTRIBUTORY, CLASS_PAGE_FAULT }; /* SDM 3A table 6-4 */

static enum exception_class vector_class(unsigned v)
{
	static const uint32_t contributory = 1 << VEC_DE | 1 << VEC_TS | 1 << VEC_NP | 1 << VEC_SS | 1 << VEC_GP;
	if (v == VEC_PF)
		return CLASS_PAGE_FAULT;
	return v < 32 && contributory >> v & 1 ? CLASS_CONTRIBUTORY : CLASS_BENIGN;
}

/* SDM 3A table 6-5. */
static bool is_double_fault(enum exception_class first, enum exception_class second)
{
	return (first == CLASS_CONTRIBUTORY && second == CLASS_CONTRIBUTORY) || (first == CLASS_PAGE_FAULT && second != CLASS_BENIGN);
}

static void exception_announce(struct cpu *cpu, const struct delivery *d, bool external, uint64_t cr2)
{
	if (external) {
		event_put(cpu->events, EV_INTERRUPT, 0, 0, d->vector, 0);
		return;
	}
	uint32_t id = d->vector | (d->error >= 0 ? (uint32_t)d->error << 8 : 0);
	event_put(cpu->events, EV_EXCEPTION, (d->error >= 0 ? EVF_HAS_ERROR : 0) | (d->soft ? EVF_SOFT : 0), 0, id, d->vector == VEC_PF ? cr2 : 0);
}

static void cpu_shutdown(struct cpu *cpu)
{
	cpu->stop = CPU_SHUTDOWN;
	cpu->attention |= 1;
}

/* The fault that a delivery met becomes the next one to deliver, or a double fault. False: a triple fault. */
static bool delivery_next(struct cpu *cpu, struct delivery *d, bool external)
{
	enum exception_class first = external || d->soft ? CLASS_BENIGN : vector_class(d->vector);
	bool was_double = !external && !d->soft && d->vector == VEC_DF;
	if (cpu->raised.vector == VEC_PF)
		cpu->cr2 = cpu->raised.cr2; /* SDM 3A 6.15, interrupt 14: even when it becomes a double fault */
	if (was_double && vector_class(cpu->raised.vector) != CLASS_BENIGN)
		return false;
	if (is_double_fault(first, vector_class(cpu->raised.vector)))
		*d = (struct delivery){ .vector = VEC_DF, .error = 0, .rip = cpu->rip };
	else
		*d = (struct delivery){ .vector = cpu->raised.vector, .error = cpu->raised.error, .fault = vector_is_fault(cpu->raised.vector), .rip = cpu->rip };
	return true;
}

void cpu_deliver(struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2)
{
	struct delivery d = { .vector = vector, .error = error, .soft = soft, .fault = !soft && !external && vector_is_fault(vector), .rip = cpu->rip };
	for (;;) {
		uint64_t task = cpu->tr.base;
		exception_announce(cpu, &d, external, cr2);
		cpu->delivering.active = true;
		cpu->delivering.vector = (uint8_t)d.vector;
		cpu->delivering.ext = !d.soft;
		cpu->shadow_sti = cpu->shadow_ss = false;
		if (cpu->vmm.deliver && cpu->vmm.deliver(cpu->vmm.self, cpu, d.vector, d.error, d.soft, external, cr2))
			break;
		if (d.vector == VEC_PF && !external && !d.soft)
			cpu->cr2 = cr2;
		if (deliver_try(cpu, &d, NULL))
			break;
		if (d.soft && cpu->tr.base == task) /* the new fault is the INT instruction's own */
			cpu->rip = cpu->soft_start;
		if (!delivery_next(cpu, &d, external)) {
			cpu_shutdown(cpu);
			break;
		}
		external = false;
		cr2 = cpu->raised.cr2;
	}
	cpu->delivering.active = false;
	cpu->delivering.ext = 0;
}

void cpu_deliver_raised(struct cpu *cpu)
{
	cpu_deliver(cpu, cpu->raised.vector, cpu->raised.error, false, false, cpu->raised.cr2);
}

void cpu_interrupt(struct cpu *cpu, unsigned vector)
{
	if (cpu->stop == CPU_HALTED)
		cpu->stop = CPU_RUNNING;
	cpu_deliver(cpu, vector, -1, false, true, 0);
}

/* As cpu_deliver() for a software interrupt, but a fault on the way ends the instruction instead of being delivered here: so it does not retire. */
void exception_soft(struct cpu *cpu, unsigned vector)
{
	struct delivery d = { .vector = vector, .error = -1, .soft = true, .rip = cpu->rip };
	uint64_t task = cpu->tr.base;
	cpu->soft_start = cpu_insn_start(cpu);
	exception_announce(cpu, &d, false, 0);
	if (cpu->vmm.deliver && cpu->vmm.deliver(cpu->vmm.self, cpu, vector, -1, true, false, 0))
		return;
	if (gate_repeat(cpu, &d))
		return;
	struct gate g = { .type = TYPE_TASK_GATE };
	bool protected = cpu_protected(cpu);
	if (protected)
		g = gate_read(cpu, &d);
	if (protected && g.type != TYPE_TASK_GATE) { /* what faults raises at once */
		deliver_gate(cpu, &d, &g);
		return;
	}
	if (deliver_try(cpu, &d, protected ? &g : NULL))
		return;
	if (cpu->tr.base == task)
		longjmp(*cpu->escape, 1);
	cpu_deliver_raised(cpu); /* a task gate: the fault is the new task's */
}
