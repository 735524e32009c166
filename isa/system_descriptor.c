/* Descriptor tables, segment registers and queries: SDM 2A LAR, LGDT, LLDT, LSL, 2B LTR, MOV, POP, SGDT, SLDT, VERR, ARPL. */
#include "transfer.h"

/* ---------------------------------------------------------------- GDTR, IDTR */
static struct descriptor_table table_operand(struct cpu *cpu, const struct sys_operands *o)
{
	unsigned width = cpu_code64(cpu) ? 8 : 4;
	uint64_t at = segment_linear(cpu, o->seg, o->offset, 2 + width, ACCESS_READ);
	struct descriptor_table t = { .limit = (uint16_t)mem_read_u(cpu, at, 2, false) };
	t.base = mem_read_u(cpu, at + 2, width, false);
	if (width == 4 && o->size == 2)
		t.base &= 0xffffff; /* a 16-bit operand size loads 24 bits */
	return t;
}

static void table_load(struct cpu *cpu, const struct sys_operands *o, enum sensitive what, struct descriptor_table *to)
{
	struct descriptor_table t = { 0 };
	if (cpu->cpl == 0 || cpu->vmm.privileged) /* a deprivileging VMM needs the operand; bare hardware faults before reading it */
		t = table_operand(cpu, o);
	if (!ring0_or_failed(cpu, what, t.base, t.limit))
		return;
	if (cpu_code64(cpu) && !cpu_canonical(cpu, t.base))
		cpu_raise_error(cpu, VEC_GP, 0);
	if (!sensitive_event(cpu, what, t.base, t.limit, true))
		*to = t;
}

void sys_lgdt(struct cpu *cpu, const struct sys_operands *o)
{
	table_load(cpu, o, SENS_LGDT, &cpu->gdtr);
}

void sys_lidt(struct cpu *cpu, const struct sys_operands *o)
{
	table_load(cpu, o, SENS_LIDT, &cpu->idtr);
}

/* CR4.UMIP (SDM 3A 2.5): SGDT, SIDT, SLDT, SMSW and STR become privileged. True: go on. */
static bool umip_passes(struct cpu *cpu, enum sensitive what)
{
	if (cpu->cpl > 0 && cpu->cr4 & CR4_UMIP) {
		privilege_failed(cpu, what, 0, 0);
		return false;
	}
	return !sensitive_event(cpu, what, 0, 0, false);
}

static void table_store(struct cpu *cpu, const struct sys_operands *o, enum sensitive what, const struct descriptor_table *from)
{
	if (!umip_passes(cpu, what))
		return;
	unsigned width = cpu_code64(cpu) ? 8 : 4;
	uint64_t at = segment_linear(cpu, o->seg, o->offset, 2 + width, ACCESS_WRITE);
	uint8_t image[10];
	memcpy(image, &from->limit, 2);
	memcpy(image + 2, &from->base, 8);
	mem_write(cpu, at, image, 2 + width, false);
}

void sys_sgdt(struct cpu *cpu, const struct sys_operands *o)
{
	table_store(cpu, o, SENS_SGDT, &cpu->gdtr);
}

void sys_sidt(struct cpu *cpu, const struct sys_operands *o)
{
	table_store(cpu, o, SENS_SIDT, &cpu->idtr);
}

/* ---------------------------------------------------------------- LDTR, TR */
static void protected_only(struct cpu *cpu)
{
	if (!cpu_protected(cpu))
		cpu_raise(cpu, VEC_UD);
}

/* The selector operand of LLDT and LTR; false when the VMM did the instruction. */
static bool system_selector(struct cpu *cpu, const struct sys_operands *o, enum sensitive what, uint16_t *selector)
{
	protected_only(cpu);
	*selector = 0;
	if (cpu->cpl == 0 || cpu->vmm.privileged)
		*selector = (uint16_t)operand_read(cpu, o, 2);
	return ring0_or_failed(cpu, what, *selector, 0) && !sensitive_event(cpu, what, *selector, 0, false);
}

/* An LDT or TSS descriptor, 16 bytes in long mode (SDM 3A figures 7-4, 3-8). */
static struct segment system_segment(struct cpu *cpu, uint16_t selector, unsigned types)
{
	if (selector & 4)
		raise_selector(cpu, VEC_GP, selector);
	uint64_t raw = descriptor_read(cpu, selector, VEC_GP), upper = 0;
	if (descriptor_is_segment(raw) || !(types >> descriptor_type(raw) & 1))
		raise_selector(cpu, VEC_GP, selector);
	if (cpu_long_mode(cpu)) {
		upper = descriptor_read_upper(cpu, selector, VEC_GP);
		if (upper >> 40 & 0x1f)
			raise_selector(cpu, VEC_GP, selector);
	}
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_NP, selector);
	struct segment s = descriptor_segment(selector, raw);
	s.base |= upper << 32;
	if (cpu_long_mode(cpu) && !cpu_canonical(cpu, s.base))
		raise_selector(cpu, VEC_GP, selector);
	return s;
}

void sys_lldt(struct cpu *cpu, const struct sys_operands *o)
{
	uint16_t selector;
	if (!system_selector(cpu, o, SENS_LLDT, &selector))
		return;
	cpu->ldtr = selector_is_null(selector) ? segment_null(selector, 0) : system_segment(cpu, selector, 1 << TYPE_LDT);
}

void sys_ltr(struct cpu *cpu, const struct sys_operands *o)
{
	uint16_t selector;
	if (!system_selector(cpu, o, SENS_LTR, &selector))
		return;
	if (selector_is_null(selector))
		raise_selector(cpu, VEC_GP, 0);
	unsigned types = cpu_long_mode(cpu) ? 1 << TYPE_TSS : 1 << TYPE_TSS | 1 << TYPE_TSS16;
	struct segment tr = system_segment(cpu, selector, types);
	descriptor_set_busy(cpu, selector, true);
	tr.attributes |= TSS_BUSY;
	cpu->tr = tr;
}

/* Selectors go to memory as 16 bits, to a register zero-extended to the operand size. */
static void selector_store(struct cpu *cpu, const struct sys_operands *o, uint16_t selector)
{
	operand_write(cpu, o, selector, o->memory ? 2 : o->size);
}

void sys_sldt(struct cpu *cpu, const struct sys_operands *o)
{
	protected_only(cpu);
	if (umip_passes(cpu, SENS_SLDT))
		selector_store(cpu, o, cpu->ldtr.selector);
}

void sys_str(struct cpu *cpu, const struct sys_operands *o)
{
	protected_only(cpu);
	if (umip_passes(cpu, SENS_STR))
		selector_store(cpu, o, cpu->tr.selector);
}

/* ---------------------------------------------------------------- queries */
/* Fetches a descriptor that may be seen from here at all; false: the query answers ZF = 0. */
static bool query_descriptor(struct cpu *cpu, const struct sys_operands *o, uint64_t *raw, bool *visible)
{
	protected_only(cpu);
	uint16_t selector = (uint16_t)operand_read(cpu, o, 2);
	uint64_t linear;
	*visible = false;
	if (sensitive_event(cpu, SENS_DESCRIPTOR_QUERY, selector, 0, false))
		return false;
	if (selector_is_null(selector) || !descriptor_find(cpu, selector, 8, &linear))
		return true;
	*raw = mem_read_u(cpu, linear, 8, true);
	unsigned dpl = descriptor_dpl(*raw);
	*visible = descriptor_is_conforming(*raw) || (cpu->cpl <= dpl && (selector & 3u) <= dpl);
	return true;
}

static void query_answer(struct cpu *cpu, bool yes)
{
	flags_set(cpu, (flags_get(cpu) & ~FLAG_ZF) | (yes ? FLAG_ZF : 0));
}

/* System types that LAR and LSL accept: SDM 2A tables "Segment and Gate Types" of LAR and LSL; bit = type. */
static bool query_type(const struct cpu *cpu, uint64_t raw, bool limit)
{
	static const uint16_t lar[2] = { 0x1a3e, 0x1a04 }, lsl[2] = { 0x0a0e, 0x0a04 };
	unsigned wide = cpu_long_mode(cpu);
	return descriptor_is_segment(raw) || (limit ? lsl[wide] : lar[wide]) >> descriptor_type(raw) & 1;
}

void sys_lar(struct cpu *cpu, const struct sys_operands *o)
{
	uint64_t raw = 0;
	bool visible;
	if (!query_descriptor(cpu, o, &raw, &visible))
		return;
	visible = visible && query_type(cpu, raw, false);
	if (visible) /* bits 16 to 19 are undefined in the SDM; the limit's bits are left out */
		register_write(cpu, o->reg, raw >> 32 & (o->size == 2 ? 0xff00 : 0x00f0ff00), o->size);
	query_answer(cpu, visible);
}

void sys_lsl(struct cpu *cpu, const struct sys_operands *o)
{
	uint64_t raw = 0;
	bool visible;
	if (!query_descriptor(cpu, o, &raw, &visible))
		return;
	visible = visible && query_type(cpu, raw, true);
	if (visible)
		register_write(cpu, o->reg, descriptor_segment(0, raw).limit, o->size);
	query_answer(cpu, visible);
}

static void verify(struct cpu *cpu, const struct sys_operands *o, bool write)
{
	uint64_t raw = 0;
	bool visible;
	if (!query_descriptor(cpu, o, &raw, &visible))
		return;
	bool readable = !descriptor_is_code(raw) || descriptor_type(raw) & SEGA_WRITE_READ;
	query_answer(cpu, visible && descriptor_is_segment(raw) && (write ? descriptor_is_writable_data(raw) : readable));
}

void sys_verr(struct cpu *cpu, const struct sys_operands *o)
{
	verify(cpu, o, false);
}

void sys_verw(struct cpu *cpu, const struct sys_operands *o)
{
	verify(cpu, o, true);
}

void sys_arpl(struct cpu *cpu, const struct sys_operands *o)
{
	protected_only(cpu);
	if (o->memory) /* a destination that cannot be written faults even when nothing changes */
		mem_probe_write(cpu, segment_linear(cpu, o->seg, o->offset, 2, ACCESS_WRITE), 2, false);
	unsigned to = (unsigned)operand_read(cpu, o, 2), from = cpu->reg[o->reg] & 3;
	bool raise = (to & 3) < from;
	if (raise)
		operand_write(cpu, o, (to & ~3u) | from, 2);
	query_answer(cpu, raise);
}

/* ---------------------------------------------------------------- segment registers */
static void sreg_load(struct cpu *cpu, unsigned seg, uint16_t selector)
{
	segment_load(cpu, (enum segment_name)seg, selector);
	if (seg == SEG_SS)
		cpu->shadow_ss = true; /* SDM 2B MOV: interrupts wait for the next instruction */
}

void sys_mov_to_sreg(struct cpu *cpu, const struct sys_operands *o)
{
	if (o->reg == SEG_CS || o->reg >= SEG_COUNT)
		cpu_raise(cpu, VEC_UD);
	uint16_t selector = (uint16_t)operand_read(cpu, o, 2);
	if (!sensitive_event(cpu, SENS_SEGMENT_LOAD, selector, o->reg, true))
		sreg_load(cpu, o->reg, selector);
}

void sys_mov_from_sreg(struct cpu *cpu, const struct sys_operands *o)
{
	if (o->reg >= SEG_COUNT)
		cpu_raise(cpu, VEC_UD);
	if (!sensitive_event(cpu, SENS_SEGMENT_READ, o->reg, 0, false))
		selector_store(cpu, o, cpu->seg[o->reg].selector);
}

void sys_push_sreg(struct cpu *cpu, const struct sys_operands *o)
{
	if (sensitive_event(cpu, SENS_SEGMENT_READ, o->reg, 0, false))
		return;
	struct stack s = stack_current(cpu);
	stack_push(cpu, &s, cpu->seg[o->reg].selector, o->stack_size);
	stack_commit(cpu, &s);
}

void sys_pop_sreg(struct cpu *cpu, const struct sys_operands *o)
{
	struct stack s = stack_current(cpu);
	uint16_t selector = (uint16_t)stack_pop(cpu, &s, o->stack_size);
	if (sensitive_event(cpu, SENS_SEGMENT_LOAD, selector, o->reg, true))
		return;
	sreg_load(cpu, o->reg, selector);
	stack_commit(cpu, &s); /* by the width of the stack that was popped */
}

void sys_load_far_pointer(struct cpu *cpu, const struct sys_operands *o)
{
	uint64_t at = segment_linear(cpu, o->seg, o->offset, o->size + 2u, ACCESS_READ);
	uint64_t offset = mem_read_u(cpu, at, o->size, false);
	uint16_t selector = (uint16_t)mem_read_u(cpu, at + o->size, 2, false);
	if (sensitive_event(cpu, SENS_SEGMENT_LOAD, selector, o->rm, true))
		return;
	segment_load(cpu, (enum segment_name)o->rm, selector);
	register_write(cpu, o->reg, offset, o->size);
}

static void swap_gs(struct cpu *cpu)
{
	uint64_t base = cpu->seg[SEG_GS].base;
	cpu->seg[SEG_GS].base = cpu->kernel_gs_base;
	cpu->kernel_gs_base = base;
}

void sys_swapgs(struct cpu *cpu, const struct sys_operands *o)
{
	(void)o;
	if (!cpu_code64(cpu))
		cpu_raise(cpu, VEC_UD);
	if (!ring0_or_failed(cpu, SENS_SWAPGS, 0, 0))
		return;
	if (sensitive_event(cpu, SENS_SWAPGS, 0, 0, false))
		return;
	swap_gs(cpu);
}

bool quick_swapgs(struct cpu *cpu, const struct uop *u, const struct sys_operands *o)
{
	(void)u;
	if (!quick_allowed(cpu, SENS_SWAPGS) || !cpu_code64(cpu) || cpu->cpl)
		return false;
	swap_gs(cpu);
	cpu->rip = o->next;
	return true;
}

/* SDM 2B RDFSBASE, WRFSBASE. */
void sys_fsgsbase(struct cpu *cpu, const struct sys_operands *o)
{
	if (!cpu_code64(cpu) || !(cpu->cr4 & CR4_FSGSBASE))
		cpu_raise(cpu, VEC_UD);
	struct segment *s = &cpu->seg[o->imm & 1 ? SEG_GS : SEG_FS];
	if (!(o->imm & 2)) {
		register_write(cpu, o->rm, s->base, o->size);
		return;
	}
	uint64_t base = cpu->reg[o->rm] & width_mask(o->size);
	if (!cpu_canonical(cpu, base))
		cpu_raise_error(cpu, VEC_GP, 0);
	s->base = base;
}
