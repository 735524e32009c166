/* Operands: registers, effective addresses, reads and writes, the stack. */
#include "crack.h"

unsigned crack_register(ZydisRegister r, bool *high)
{
	*high = false;
	if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W)
		return (unsigned)(r - ZYDIS_REGISTER_AX);
	if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D)
		return (unsigned)(r - ZYDIS_REGISTER_EAX);
	if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15)
		return (unsigned)(r - ZYDIS_REGISTER_RAX);
	if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL)
		return (unsigned)(r - ZYDIS_REGISTER_AL);
	if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH) {
		*high = true;
		return (unsigned)(r - ZYDIS_REGISTER_AH);
	}
	if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_DIL)
		return (unsigned)(REG_SP + r - ZYDIS_REGISTER_SPL);
	if (r >= ZYDIS_REGISTER_R8B && r <= ZYDIS_REGISTER_R15B)
		return (unsigned)(REG_R8 + r - ZYDIS_REGISTER_R8B);
	return REG_ZERO;
}

unsigned crack_segment(ZydisRegister r)
{
	return r >= ZYDIS_REGISTER_ES && r <= ZYDIS_REGISTER_GS ? (unsigned)(r - ZYDIS_REGISTER_ES) : SEG_DS;
}

static bool is_rip(ZydisRegister r)
{
	return r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP || r == ZYDIS_REGISTER_IP;
}

/* Base, index and displacement as written, rip-relative and displacement-only ones as form abs; no segment. */
static struct crack_address address_raw(const struct crack *c, unsigned i)
{
	const ZydisDecodedOperandMem *m = &c->operand[i].mem;
	uint64_t mask = crack_mask(crack_address_size(c));
	bool high;
	struct crack_address ea = { .base = REG_ZERO, .index = REG_ZERO, .seg = (uint8_t)crack_segment(m->segment), .disp = (int32_t)m->disp.value };
	if (is_rip(m->base) || (m->base == ZYDIS_REGISTER_NONE && m->index == ZYDIS_REGISTER_NONE)) {
		ea.form = FORM_ABS;
		ea.imm = ((is_rip(m->base) ? crack_next(c) : 0) + (uint64_t)m->disp.value) & mask;
		return ea;
	}
	if (m->base != ZYDIS_REGISTER_NONE)
		ea.base = (uint8_t)crack_register(m->base, &high);
	if (m->index != ZYDIS_REGISTER_NONE) {
		ea.index = (uint8_t)crack_register(m->index, &high);
		ea.scale = m->scale ? (uint8_t)__builtin_ctz(m->scale) : 0;
	}
	bool wide = crack_address_size(c) == 8;
	ea.form = m->index == ZYDIS_REGISTER_NONE ? wide ? FORM_BD : FORM_BD32 : wide ? FORM_SIB : FORM_SIB32;
	return ea;
}

static void address_fill(struct uop *u, const struct crack_address *ea)
{
	u->a = ea->base;
	u->index = ea->index;
	u->scale = ea->scale;
	u->seg = ea->seg;
	u->disp = ea->disp;
	if (ea->form == FORM_ABS)
		u->imm = ea->imm;
}

/* The raw address into dst, cut to the address size. */
static void address_compute(struct crack *c, const struct crack_address *ea, unsigned dst)
{
	if (ea->form == FORM_ABS) {
		crack_emit3(c, UOP_movi, dst, REG_ZERO, REG_ZERO)->imm = ea->imm;
		return;
	}
	unsigned size = crack_address_size(c);
	struct uop *u = crack_emit(c, size == 8 ? ea->index == REG_ZERO ? UOP_lea_bd : UOP_lea : size == 4 ? UOP_lea32 : UOP_lea16);
	address_fill(u, ea);
	u->dst = (uint8_t)dst;
}

struct crack_address crack_at(const struct crack *c, unsigned base, int32_t disp, unsigned seg)
{
	(void)c;
	return (struct crack_address){ .form = FORM_BD, .base = (uint8_t)base, .index = REG_ZERO, .seg = (uint8_t)seg, .disp = disp };
}

static bool segment_flat(const struct crack *c, unsigned seg, enum access access)
{
	switch (seg) {
	case SEG_CS: return access == ACCESS_READ && (c->key & KEY_FLAT_CS);
	case SEG_SS: return c->key & KEY_FLAT_SS;
	case SEG_DS: return c->key & KEY_FLAT_DS;
	case SEG_ES: return c->key & KEY_FLAT_ES;
	default: return false;
	}
}

/* 64-bit code: only FS and GS have a base (SDM 3A 3.4.4). */
static struct crack_address address_long(struct crack *c, struct crack_address ea)
{
	bool based = ea.seg == SEG_FS || ea.seg == SEG_GS;
	if (!based)
		return ea;
	if (ea.form != FORM_BD && ea.form != FORM_SIB) { /* 32-bit, or constant: first the offset */
		address_compute(c, &ea, REG_T5);
		ea = crack_at(c, REG_T5, 0, ea.seg);
	}
	ea.form = FORM_SEG;
	return ea;
}

static struct crack_address address_checked(struct crack *c, const struct crack_address *ea, unsigned size, enum access access)
{
	struct crack_address from = *ea;
	if (ea->form == FORM_ABS) {
		address_compute(c, ea, REG_T5);
		from = crack_at(c, REG_T5, 0, ea->seg);
	}
	struct uop *u = crack_emit(c, UOP_address);
	address_fill(u, &from);
	u->dst = REG_T5;
	u->b = (uint8_t)access;
	u->size = (uint8_t)size;
	u->imm = crack_mask(crack_address_size(c));
	return crack_at(c, REG_T5, 0, ea->seg);
}

static struct crack_address address_segmented(struct crack *c, struct crack_address ea, unsigned size, enum access access)
{
	if (crack_mode(c) == 8)
		return address_long(c, ea);
	if (!segment_flat(c, ea.seg, access))
		return address_checked(c, &ea, size, access);
	if (crack_address_size(c) == 2 && ea.form != FORM_ABS) {
		address_compute(c, &ea, REG_T5);
		return crack_at(c, REG_T5, 0, ea.seg);
	}
	return ea;
}

struct crack_address crack_ea(struct crack *c, unsigned i, unsigned size, enum access access)
{
	return address_segmented(c, address_raw(c, i), size, access);
}

void crack_lea(struct crack *c, unsigned i, unsigned dst)
{
	struct crack_address ea = address_raw(c, i);
	address_compute(c, &ea, dst);
}


struct crack_address crack_ea_moved(struct crack *c, unsigned i, unsigned offset_reg, unsigned size, enum access access)
{
	bool wide = crack_address_size(c) == 8;
	struct crack_address ea = crack_at(c, offset_reg, 0, crack_segment(c->operand[i].mem.segment));
	ea.form = wide ? FORM_BD : FORM_BD32;
	return address_segmented(c, ea, size, access);
}

struct uop *crack_memory(struct crack *c, unsigned op, const struct crack_address *ea)
{
	bool store = op >= UOP_st8_bd && op <= UOP_sti64_seg;
	bool rmw = op >= UOP_rmw8_bd && op <= UOP_rmw64_seg;
	bool quiet = op >= UOP_stq8_bd && op <= UOP_stq64_seg;
	bool storex = op == UOP_stx1_bd || op == UOP_stx2_bd || (op >= UOP_stx4_bd && op <= UOP_stx16a_seg) || op == UOP_push64_bd || op == UOP_push32_bd32 || op == UOP_pushi64_bd ||
		op == UOP_pushi32_bd32;
	c->facts.stores += store || rmw || storex;
	c->facts.loads += !store && !storex && !quiet;
	bool only = op == UOP_push64_bd || op == UOP_pushi64_bd || op == UOP_pop64_bd || op == UOP_push32_bd32 || op == UOP_pushi32_bd32 || op == UOP_pop32_bd32;
	struct uop *u = crack_emit(c, op + (only ? 0 : ea->form));
	address_fill(u, ea);
	return u;
}

unsigned crack_read(struct crack *c, unsigned i, unsigned size)
{
	static const uint16_t load[] = { UOP_ld8_bd, UOP_ld16_bd, UOP_ld32_bd, UOP_ld64_bd };
	const ZydisDecodedOperand *o = &c->operand[i];
	bool high;
	if (o->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		unsigned r = crack_register(o->reg.value, &high);
		if (!high)
			return r;
		unsigned t = crack_temp(c);
		crack_emit3(c, UOP_geth, t, r, REG_ZERO);
		return t;
	}
	unsigned t = crack_temp(c);
	if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		crack_emit3(c, UOP_movi, t, REG_ZERO, REG_ZERO)->imm = o->imm.value.u;
		return t;
	}
	struct crack_address ea = crack_ea(c, i, size, ACCESS_READ);
	crack_memory(c, load[crack_lg(size)], &ea)->dst = (uint8_t)t;
	return t;
}

void crack_write_register(struct crack *c, unsigned i, unsigned from, unsigned size)
{
	bool high;
	unsigned r = crack_register(c->operand[i].reg.value, &high);
	crack_emit3(c, high ? UOP_puth : UOP_mov8 + crack_lg(size), r, from, REG_ZERO);
}

struct crack_target crack_open(struct crack *c, unsigned i, unsigned size)
{
	static const uint16_t rmw[] = { UOP_rmw8_bd, UOP_rmw16_bd, UOP_rmw32_bd, UOP_rmw64_bd };
	struct crack_target t = { .i = i, .size = size, .memory = crack_is_memory(c, i) };
	if (t.memory) {
		t.reg = crack_temp(c);
		t.ea = crack_ea(c, i, size, ACCESS_WRITE);
		crack_memory(c, rmw[crack_lg(size)], &t.ea)->dst = (uint8_t)t.reg;
		return t;
	}
	t.reg = crack_register(c->operand[i].reg.value, &t.high);
	if (t.high) {
		unsigned r = t.reg;
		t.reg = crack_temp(c);
		crack_emit3(c, UOP_geth, t.reg, r, REG_ZERO);
	}
	return t;
}

void crack_close(struct crack *c, const struct crack_target *t)
{
	static const uint16_t store[] = { UOP_stq8_bd, UOP_stq16_bd, UOP_stq32_bd, UOP_stq64_bd };
	if (t->memory)
		crack_memory(c, store[crack_lg(t->size)], &t->ea)->b = (uint8_t)t->reg;
	else if (t->high)
		crack_write_register(c, t->i, t->reg, 1);
}

/* ---- the stack ---- */
static uint64_t stack_mask(const struct crack *c)
{
	return crack_mode(c) == 8 ? ~0ull : c->key & KEY_STACK16 ? 0xffff : 0xffffffff;
}

static bool stack_plain(const struct crack *c)
{
	return crack_mode(c) == 8 || ((c->key & KEY_FLAT_SS) && !(c->key & KEY_STACK16));
}

/* One micro-op does it: the common sizes on a flat stack. */
static bool push_direct(const struct crack *c, unsigned size)
{
	return stack_plain(c) && size == (crack_mode(c) == 8 ? 8 : 4);
}

void crack_add_sp(struct crack *c, int32_t by)
{
	struct uop *u = crack_emit(c, UOP_add_sp);
	u->disp = by;
	u->imm = stack_mask(c);
}

/* Where a push of `size` bytes goes, checked: into REG_T5. */
static struct crack_address stack_slot(struct crack *c, unsigned size)
{
	if (stack_plain(c)) {
		struct crack_address sp = crack_at(c, REG_SP, -(int32_t)size, SEG_SS);
		sp.form = crack_mode(c) == 8 ? FORM_BD : FORM_BD32;
		return sp;
	}
	struct uop *u = crack_emit3(c, UOP_push_address, REG_T5, REG_ZERO, REG_ZERO);
	u->size = (uint8_t)size;
	u->imm = stack_mask(c);
	return crack_at(c, REG_T5, 0, SEG_SS);
}

void crack_push(struct crack *c, unsigned reg, unsigned size)
{
	static const uint16_t store[] = { UOP_st8_bd, UOP_st16_bd, UOP_st32_bd, UOP_st64_bd };
	struct crack_address to = stack_slot(c, size);
	if (push_direct(c, size)) {
		crack_memory(c, size == 8 ? UOP_push64_bd : UOP_push32_bd32, &to)->b = (uint8_t)reg;
		return;
	}
	crack_memory(c, store[crack_lg(size)], &to)->b = (uint8_t)reg;
	crack_add_sp(c, -(int32_t)size);
}

void crack_push_imm(struct crack *c, uint64_t imm, unsigned size)
{
	if (push_direct(c, size)) {
		struct crack_address to = stack_slot(c, size);
		crack_memory(c, size == 8 ? UOP_pushi64_bd : UOP_pushi32_bd32, &to)->imm = imm;
		return;
	}
	unsigned t = crack_temp(c);
	crack_emit3(c, UOP_movi, t, REG_ZERO, REG_ZERO)->imm = imm;
	crack_push(c, t, size);
}

/* Reads the stack at `base` (REG_SP, or REG_BP for LEAVE) without moving the stack pointer. */
void crack_pop_load(struct crack *c, unsigned dst, unsigned size, unsigned base)
{
	static const uint16_t load[] = { UOP_ld8_bd, UOP_ld16_bd, UOP_ld32_bd, UOP_ld64_bd };
	struct crack_address from = crack_at(c, base, 0, SEG_SS);
	if (stack_plain(c)) {
		from.form = crack_mode(c) == 8 ? FORM_BD : FORM_BD32;
	} else {
		struct uop *u = crack_emit3(c, UOP_pop_address, REG_T5, base, REG_ZERO);
		u->size = (uint8_t)size;
		u->imm = stack_mask(c);
		from = crack_at(c, REG_T5, 0, SEG_SS);
	}
	crack_memory(c, load[crack_lg(size)], &from)->dst = (uint8_t)dst;
}

struct uop *crack_help(struct crack *c, uop_help_fn *fn)
{
	struct uop *u = crack_emit(c, UOP_help);
	u->imm = (uint64_t)(uintptr_t)fn;
	return u;
}
