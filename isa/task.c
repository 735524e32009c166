/*
 * Task state segments and hardware task switches: SDM 3A chapter 7.
 *
 * Invariant: up to the commit point a fault leaves the old task running; from there on faults belong to the new task, whose state is then already
 * loaded (SDM 3A 7.3 steps 11 to 13).
 */
#include "transfer.h"

/* Field offsets, SDM 3A figures 7-2 (32-bit) and 7-10 (16-bit). */
struct tss_layout {
	uint8_t width;          /* of registers */
	uint8_t min_limit;      /* SDM 3A table 7-1: smaller is #TS */
	uint8_t cr3;            /* 0: none */
	uint8_t ip, flags, regs, segments, ldt, trap;
	uint8_t segment_count, segment_stride;
};
static const struct tss_layout tss32 = { 4, 0x67, 28, 32, 36, 40, 72, 96, 100, 6, 4 };
static const struct tss_layout tss16 = { 2, 0x2b, 0, 14, 16, 18, 34, 42, 0, 4, 2 };

static const struct tss_layout *tss_layout_of(unsigned type)
{
	return type & 8 ? &tss32 : &tss16;
}

void tss_stack(struct cpu *cpu, unsigned cpl, unsigned ist, uint16_t *ss, uint64_t *sp)
{
	const struct segment *tr = &cpu->tr;
	unsigned width = cpu_long_mode(cpu) ? 8 : tr->attributes & 8 ? 4 : 2;
	unsigned offset = tss_stack_offset(width, cpl, ist);
	unsigned bytes = width == 8 ? 8 : width + 2;
	if (tr->attributes & SEGA_UNUSABLE || offset + bytes - 1 > tr->limit)
		raise_selector(cpu, VEC_TS, tr->selector);
	uint64_t at = tr->base + offset;
	if (width != 8)
		at &= 0xffffffff;
	*sp = memory_get(cpu, at, width, true);
	if (width == 8 && !cpu_canonical(cpu, *sp))
		raise_selector(cpu, VEC_SS, 0);
	if (width != 8)
		*ss = (uint16_t)memory_get(cpu, (at + width) & 0xffffffff, 2, true);
}

/* What a TSS holds, read before anything changes. */
struct task_image {
	uint32_t cr3, ip, flags, reg[8];
	uint16_t selector[SEG_COUNT], ldt;
	bool trap;
};

static uint32_t tss_field(struct cpu *cpu, const struct segment *tss, unsigned offset, unsigned width)
{
	return (uint32_t)memory_get(cpu, (tss->base + offset) & 0xffffffff, width, true);
}

static struct task_image task_read(struct cpu *cpu, const struct segment *tss, const struct tss_layout *l)
{
	struct task_image t = { 0 };
	t.cr3 = l->cr3 ? tss_field(cpu, tss, l->cr3, 4) : 0;
	t.ip = tss_field(cpu, tss, l->ip, l->width);
	t.flags = tss_field(cpu, tss, l->flags, l->width);
	for (unsigned i = 0; i < 8; i++)
		t.reg[i] = tss_field(cpu, tss, l->regs + i * l->width, l->width) | (l->width == 2 ? 0xffff0000 : 0);
	for (unsigned i = 0; i < l->segment_count; i++)
		t.selector[i] = (uint16_t)tss_field(cpu, tss, l->segments + i * l->segment_stride, 2);
	t.ldt = (uint16_t)tss_field(cpu, tss, l->ldt, 2);
	t.trap = l->trap && (tss_field(cpu, tss, l->trap, 2) & 1);
	return t;
}

/* Step 5: the dynamic fields of the old TSS (not CR3, not LDT). */
static void task_save(struct cpu *cpu, const struct tss_layout *l, uint32_t flags)
{
	uint64_t base = cpu->tr.base;
	mem_write_u(cpu, (base + l->ip) & 0xffffffff, cpu->rip & width_mask(l->width), l->width, true);
	mem_write_u(cpu, (base + l->flags) & 0xffffffff, flags & width_mask(l->width), l->width, true);
	for (unsigned i = 0; i < 8; i++)
		mem_write_u(cpu, (base + l->regs + i * l->width) & 0xffffffff, cpu->reg[i] & width_mask(l->width), l->width, true);
	for (unsigned i = 0; i < l->segment_count; i++)
		mem_write_u(cpu, (base + l->segments + i * l->segment_stride) & 0xffffffff, cpu->seg[i].selector, 2, true);
}

/* Steps 1 to 4: the new TSS's descriptor. */
static uint64_t task_check(struct cpu *cpu, uint16_t selector, enum task_source why)
{
	enum vector v = why == TASK_IRET ? VEC_TS : VEC_GP;
	if (selector_is_null(selector) || selector & 4)
		raise_selector(cpu, v, selector);
	uint64_t raw = descriptor_read(cpu, selector, v);
	unsigned type = descriptor_type(raw), wanted = why == TASK_IRET ? TSS_BUSY : 0;
	if (descriptor_is_segment(raw) || (type & 7 & ~TSS_BUSY) != TYPE_TSS16 || (type & TSS_BUSY) != wanted)
		raise_selector(cpu, v, selector);
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_NP, selector);
	if (descriptor_segment(selector, raw).limit < tss_layout_of(type)->min_limit)
		raise_selector(cpu, VEC_TS, selector);
	return raw;
}

/* Probes what the switch will write, so that no page fault comes halfway. */
static void task_probe(struct cpu *cpu, const struct segment *tss, bool link)
{
	const struct tss_layout *old = tss_layout_of(cpu->tr.attributes & SEGA_TYPE);
	if (cpu->tr.attributes & SEGA_UNUSABLE || cpu->tr.limit < old->min_limit)
		raise_selector(cpu, VEC_TS, cpu->tr.selector);
	unsigned last = old->segments + old->segment_count * old->segment_stride;
	for (unsigned at = old->ip; at < last; at += 2)
		mem_probe_write(cpu, (cpu->tr.base + at) & 0xffffffff, 2, true);
	if (link)
		mem_probe_write(cpu, tss->base, 2, true);
}

static void task_load_ldt(struct cpu *cpu, uint16_t selector)
{
	if (selector_is_null(selector))
		return;
	if (selector & 4)
		raise_selector(cpu, VEC_TS, selector);
	uint64_t raw = descriptor_read(cpu, selector, VEC_TS);
	if (descriptor_is_segment(raw) || descriptor_type(raw) != TYPE_LDT || !descriptor_present(raw))
		raise_selector(cpu, VEC_TS, selector);
	cpu->ldtr = descriptor_segment(selector, raw);
}

static void task_load_cs(struct cpu *cpu, uint16_t selector)
{
	if (selector_is_null(selector))
		raise_selector(cpu, VEC_TS, 0);
	uint64_t raw = descriptor_read(cpu, selector, VEC_TS);
	unsigned dpl = descriptor_dpl(raw), rpl = selector & 3;
	if (!descriptor_is_code(raw) || (descriptor_is_conforming(raw) ? dpl > rpl : dpl != rpl))
		raise_selector(cpu, VEC_TS, selector);
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_NP, selector);
	cpu->seg[SEG_CS] = descriptor_access(cpu, selector, raw);
}

/* Step 12: the segment registers of the new task, in the new task's context; the SDM's order is LDTR, CS, SS, then the others. */
static void task_load_segments(struct cpu *cpu, const struct task_image *t, unsigned count)
{
	static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	unsigned cpl = t->selector[SEG_CS] & 3;
	task_load_ldt(cpu, t->ldt);
	task_load_cs(cpu, t->selector[SEG_CS]);
	cpu->seg[SEG_SS] = segment_check_stack(cpu, t->selector[SEG_SS], cpl, VEC_TS);
	for (unsigned i = 0; i < 4; i++)
		if (data[i] < count && !selector_is_null(t->selector[data[i]]))
			cpu->seg[data[i]] = segment_check_data(cpu, t->selector[data[i]], cpl, VEC_TS);
}

/* Steps 8 to 11: the commit. Selectors are loaded with their hidden parts invalid; step 12 fills them in. */
static void task_commit(struct cpu *cpu, const struct task_image *t, const struct tss_layout *l, bool nested)
{
	unsigned from = cpu->cpl;
	for (unsigned i = 0; i < 8; i++)
		cpu->reg[i] = t->reg[i];
	cpu->cpl = t->selector[SEG_CS] & 3;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		cpu->seg[i] = segment_null(t->selector[i], i == SEG_SS ? cpu->cpl : 0);
	/* Until CS is read, fetches and pushes of a fault handler go by the new ring; D/B does not matter to them. */
	cpu->seg[SEG_CS].attributes |= SEGA_DB;
	cpu->ldtr = segment_null(t->ldt, 0);
	cpu->rip = t->ip;
	cpu->cr0 |= CR0_TS;
	cpu->dr[7] &= ~0x55ull; /* local breakpoint enables: SDM 3B 17.2.4 */
	uint32_t mask = FLAGS_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_AC | FLAG_ID;
	eflags_write(cpu, t->flags | (nested ? FLAG_NT : 0), l->width == 2 ? mask & 0xffff : mask);
	if (l->cr3 && cpu->cr0 & CR0_PG && t->cr3 != cpu->cr3) {
		uint64_t old = cpu->cr3;
		cpu->cr3 = t->cr3;
		cpu->mem.context_changed(cpu->mem.self, cpu, CONTEXT_CR3, old, false);
	}
	transfer_finish(cpu, from);
}

void task_switch(struct cpu *cpu, uint16_t selector, enum task_source why, int64_t error)
{
	uint64_t raw = task_check(cpu, selector, why);
	const struct tss_layout *l = tss_layout_of(descriptor_type(raw)), *old = tss_layout_of(cpu->tr.attributes & SEGA_TYPE);
	struct segment tss = descriptor_segment(selector, raw);
	bool nested = why == TASK_CALL || why == TASK_INT || why == TASK_FAULT;
	uint32_t flags = cpu_eflags(cpu) & ~(why == TASK_IRET ? FLAG_NT : 0u);
	if (why == TASK_FAULT)
		flags |= FLAG_RF;
	task_probe(cpu, &tss, nested);
	struct task_image t = task_read(cpu, &tss, l);
	if (!nested)
		descriptor_set_busy(cpu, cpu->tr.selector, false);
	task_save(cpu, old, flags);
	if (nested)
		mem_write_u(cpu, tss.base, cpu->tr.selector, 2, true);
	if (why != TASK_IRET)
		descriptor_set_busy(cpu, selector, true);
	cpu->tr = tss;
	cpu->tr.attributes |= TSS_BUSY;
	task_commit(cpu, &t, l, nested);
	task_load_segments(cpu, &t, l->segment_count);
	cpu_mode_update(cpu);
	if (error >= 0) {
		struct stack s = stack_current(cpu);
		stack_push(cpu, &s, (uint64_t)error, l->width);
		stack_commit(cpu, &s);
	}
	code_offset_check(cpu, &cpu->seg[SEG_CS], cpu->rip);
	cpu_state_emit(cpu);
	if (t.trap) {
		cpu->dr[6] |= 1u << 15; /* BT */
		cpu_raise(cpu, VEC_DB);
	}
}

void task_switch_instruction(struct cpu *cpu, uint16_t selector, enum task_source why)
{
	jmp_buf here, *outer = cpu->escape;
	uint64_t old = cpu->tr.base;
	cpu->escape = &here;
	if (!setjmp(here)) {
		task_switch(cpu, selector, why, -1);
		cpu->escape = outer;
		return;
	}
	cpu->escape = outer;
	if (cpu->tr.base == old)
		longjmp(*outer, 1);
	cpu_deliver_raised(cpu); /* the switch is done: the fault is the new task's */
}
