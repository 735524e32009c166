/* Stack instructions, control transfers, strings, and the system instructions that are one helper micro-op. */
#include "crack.h"

/* ---- stack ---- */
bool crack_sensitive(struct crack *c, sys_fn *fn, enum sensitive s)
{
	c->facts.sensitive |= SENS_BIT(s);
	c->facts.sensitive_count++;
	return crack_sys(c, &(struct crack_row){ .sys = fn, .aux = 1 });
}

static bool is_segment(const struct crack *c, unsigned i)
{
	return crack_is_register(c, i) && ZydisRegisterGetClass(c->operand[i].reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

bool crack_push_insn(struct crack *c, const struct crack_row *row)
{
	(void)row;
	unsigned size = crack_operand_size(c);
	if (is_segment(c, 0))
		return crack_sensitive(c, sys_push_sreg, SENS_SEGMENT_READ);
	if (crack_is_immediate(c, 0))
		crack_push_imm(c, c->operand[0].imm.value.u, size);
	else
		crack_push(c, crack_read(c, 0, size), size);
	return true;
}

bool crack_pop_insn(struct crack *c, const struct crack_row *row)
{
	static const uint16_t store[] = { UOP_st8_bd, UOP_st16_bd, UOP_st32_bd, UOP_st64_bd };
	(void)row;
	unsigned size = crack_operand_size(c), mode = crack_mode(c);
	bool high;
	if (is_segment(c, 0))
		return crack_sensitive(c, sys_pop_sreg, SENS_SEGMENT_LOAD);
	if (crack_is_register(c, 0) && (size == 8 || (size == 4 && mode != 8 && (c->key & KEY_FLAT_SS) && !(c->key & KEY_STACK16)))) {
		struct crack_address sp = crack_at(c, REG_SP, 0, SEG_SS);
		crack_memory(c, size == 8 ? UOP_pop64_bd : UOP_pop32_bd32, &sp)->dst = (uint8_t)crack_register(c->operand[0].reg.value, &high);
		return true;
	}
	unsigned t = crack_temp(c);
	crack_pop_load(c, t, size, REG_SP);
	if (crack_is_register(c, 0)) {
		crack_add_sp(c, (int32_t)size);
		crack_write_register(c, 0, t, size);
		return true;
	}
	/* An address with the stack pointer as its base is computed after the increment (SDM 2B "POP"). */
	if (crack_register(c->operand[0].mem.base, &high) == REG_SP && c->operand[0].mem.base != ZYDIS_REGISTER_NONE)
		c->operand[0].mem.disp.value += (ZyanI64)size;
	struct crack_address ea = crack_ea(c, 0, size, ACCESS_WRITE);
	crack_memory(c, store[crack_lg(size)], &ea)->b = (uint8_t)t;
	crack_add_sp(c, (int32_t)size);
	return true;
}

bool crack_pusha(struct crack *c, const struct crack_row *row) /* aux: 0 PUSHA, 1 POPA */
{
	struct uop *u = crack_help(c, row->aux ? help_popa : help_pusha);
	u->size = row->op ? 4 : 2;
	u->disp = c->key & KEY_STACK16 ? 0xffff : -1;
	return true;
}

bool crack_leave(struct crack *c, const struct crack_row *row)
{
	(void)row;
	unsigned size = crack_operand_size(c), t = crack_temp(c);
	crack_pop_load(c, t, size, REG_BP);
	if (crack_mode(c) == 8)
		crack_emit3(c, UOP_mov64, REG_SP, REG_BP, REG_ZERO);
	else
		crack_emit3(c, c->key & KEY_STACK16 ? UOP_mov16 : UOP_mov32, REG_SP, REG_BP, REG_ZERO);
	crack_add_sp(c, (int32_t)size);
	crack_emit3(c, UOP_mov8 + crack_lg(size), REG_BP, t, REG_ZERO);
	return true;
}

/* ---- near transfers ---- */
static uint64_t direct_target(const struct crack *c)
{
	unsigned size = crack_mode(c) == 8 ? 8 : crack_operand_size(c);
	return (c->pc + c->offset + c->insn.length + c->operand[0].imm.value.u) & crack_mask(size);
}

static bool far_operand(const struct crack *c)
{
	return c->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

/* Targets need a look only where CS is not flat: elsewhere they cannot be outside (64-bit: the fetch, or the indirect end, says so). */
static void check_target(struct crack *c, unsigned reg)
{
	if (!(c->key & KEY_FLAT_CS) && crack_mode(c) != 8)
		crack_emit3(c, UOP_check_target, REG_SINK, reg, REG_ZERO);
}

static void check_constant(struct crack *c, uint64_t to)
{
	if ((c->key & KEY_FLAT_CS) || crack_mode(c) == 8)
		return;
	crack_emit3(c, UOP_movi, REG_T4, REG_ZERO, REG_ZERO)->imm = to;
	check_target(c, REG_T4);
}

/* The offset that an indirect transfer goes to, in a temporary. */
static unsigned indirect_target(struct crack *c)
{
	unsigned size = crack_operand_size(c), from = crack_read(c, 0, size);
	if (crack_is_register(c, 0)) {
		unsigned t = crack_temp(c);
		crack_emit3(c, size == 8 ? UOP_mov64 : size == 4 ? UOP_mov32 : UOP_movz16, t, from, REG_ZERO);
		from = t;
	}
	check_target(c, from);
	return from;
}

bool crack_jmp(struct crack *c, const struct crack_row *row)
{
	if (far_operand(c)) {
		bool memory = crack_is_memory(c, 0);
		return crack_sensitive(c, memory ? sys_far_jmp_mem : sys_far_jmp, SENS_FAR_TRANSFER);
	}
	(void)row;
	if (crack_is_immediate(c, 0)) {
		c->next_pc[0] = direct_target(c);
		check_constant(c, c->next_pc[0]);
		crack_emit(c, UOP_jmp);
		crack_finish(c, BLOCK_END_JUMP);
		return true;
	}
	unsigned to = indirect_target(c);
	crack_emit3(c, UOP_jmp_reg, REG_SINK, to, REG_ZERO);
	crack_finish(c, BLOCK_END_INDIRECT);
	return true;
}

bool crack_call(struct crack *c, const struct crack_row *row)
{
	(void)row;
	if (far_operand(c)) {
		bool memory = crack_is_memory(c, 0);
		return crack_sensitive(c, memory ? sys_far_call_mem : sys_far_call, SENS_FAR_TRANSFER);
	}
	unsigned size = crack_mode(c) == 8 ? 8 : crack_operand_size(c);
	if (crack_is_immediate(c, 0)) {
		c->next_pc[0] = direct_target(c);
		check_constant(c, c->next_pc[0]);
		crack_push_imm(c, crack_next(c), size);
		crack_emit(c, UOP_jmp);
		crack_finish(c, BLOCK_END_CALL);
		return true;
	}
	unsigned to = indirect_target(c);
	if (crack_mode(c) == 8)
		crack_emit3(c, UOP_check_target, REG_SINK, to, REG_ZERO); /* before the push */
	crack_push_imm(c, crack_next(c), size);
	crack_emit3(c, UOP_jmp_reg, REG_SINK, to, REG_ZERO);
	crack_finish(c, BLOCK_END_INDIRECT_CALL);
	return true;
}

bool crack_ret(struct crack *c, const struct crack_row *row)
{
	(void)row;
	if (far_operand(c))
		return crack_sensitive(c, sys_far_ret, SENS_FAR_TRANSFER);
	unsigned size = crack_mode(c) == 8 ? 8 : crack_operand_size(c), t = crack_temp(c);
	crack_pop_load(c, t, size, REG_SP);
	check_target(c, t);
	struct uop *u = crack_emit3(c, UOP_ret, REG_SINK, t, REG_ZERO);
	u->size = (uint8_t)size;
	u->imm = crack_is_immediate(c, 0) ? c->operand[0].imm.value.u & 0xffff : 0;
	crack_finish(c, BLOCK_END_RET);
	return true;
}

/* ORDER FUSED: [condition] -> index of the fused family, counted from 1. */
static const uint8_t fused_compare[16] = { [2] = 1, [3] = 2, [4] = 3, [5] = 4, [6] = 5, [7] = 6, [12] = 7, [13] = 8, [14] = 9, [15] = 10 };
static const uint8_t fused_test[16] = { [4] = 1, [5] = 2, [8] = 3, [9] = 4, [14] = 5, [15] = 6 };

/* The micro-op that does what the last one and a branch on cc do; 0: there is none. */
static unsigned fused_op(unsigned last, unsigned cc)
{
	static const uint8_t place[4] = { 0, 0xff, 1, 2 }; /* by log2(bytes): 8, -, 32, 64 bits */
	if (last >= UOP_cmp8_rr && last <= UOP_cmp64_ri && fused_compare[cc] && place[(last - UOP_cmp8_rr) / 2] != 0xff)
		return UOP_jcmp8_rr_b + (fused_compare[cc] - 1u) * 6 + place[(last - UOP_cmp8_rr) / 2] * 2u + (last - UOP_cmp8_rr) % 2;
	if (last >= UOP_test8_rr && last <= UOP_test64_ri && fused_test[cc] && place[(last - UOP_test8_rr) / 2] != 0xff)
		return UOP_jtest8_rr_z + (fused_test[cc] - 1u) * 6 + place[(last - UOP_test8_rr) / 2] * 2u + (last - UOP_test8_rr) % 2;
	if ((last == UOP_dec32 || last == UOP_dec64) && (cc == 4 || cc == 5))
		return UOP_jdec32_z + (cc == 5 ? 2 : 0) + (last == UOP_dec64);
	return 0;
}

static bool crack_fused(struct crack *c, unsigned cc)
{
	if (!c->uops)
		return false;
	struct uop *last = &c->uop[c->uops - 1];
	if (last->insn + 1u != c->insns)
		return false;
	unsigned op = fused_op(last->op, cc);
	if (op)
		last->op = (uint16_t)op;
	return op != 0;
}

bool crack_jcc(struct crack *c, const struct crack_row *row)
{
	c->next_pc[0] = direct_target(c);
	check_constant(c, c->next_pc[0]); /* stricter than the manuals for a branch not taken to beyond the limit */
	if (!crack_fused(c, row->aux))
		crack_emit(c, UOP_j_o + row->aux);
	crack_finish(c, BLOCK_END_BRANCH);
	return true;
}

bool crack_loop(struct crack *c, const struct crack_row *row) /* aux: as in the micro-op; op: address size, or 0 for the instruction's */
{
	c->next_pc[0] = direct_target(c);
	check_constant(c, c->next_pc[0]);
	struct uop *u = crack_emit(c, UOP_loop);
	u->imm = row->aux;
	u->size = row->op ? (uint8_t)row->op : (uint8_t)crack_address_size(c);
	crack_finish(c, BLOCK_END_BRANCH);
	return true;
}

/* ---- strings ---- */
static unsigned rep_prefix(const struct crack *c)
{
	unsigned rep = 0;
	for (unsigned i = 0; i < c->insn.raw.prefix_count; i++)
		if (c->insn.raw.prefixes[i].value == 0xf2 || c->insn.raw.prefixes[i].value == 0xf3)
			rep = c->insn.raw.prefixes[i].value;
	return rep;
}

/* The segment of the source (DS or an override): that of the memory operand whose base is not rDI. */
static unsigned string_segment(const struct crack *c)
{
	for (unsigned i = 0; i < c->insn.operand_count; i++) {
		bool high;
		if (crack_is_memory(c, i) && crack_register(c->operand[i].mem.base, &high) == REG_SI)
			return crack_segment(c->operand[i].mem.segment);
	}
	return SEG_DS;
}

/* a: enum string_kind, b: address size, index: rep prefix, size, seg. */
bool crack_string(struct crack *c, const struct crack_row *row)
{
	static const struct { uint8_t loads, stores; } traffic[] = { { 1, 1 }, { 2, 0 }, { 1, 0 }, { 0, 1 }, { 1, 0 } }; /* ORDER enum string_kind */
	unsigned rep = rep_prefix(c);
	struct uop *u = rep ? crack_emit(c, UOP_string_rep) : crack_help(c, help_string);
	u->a = row->aux;
	u->b = (uint8_t)crack_address_size(c);
	u->index = (uint8_t)rep;
	u->size = (uint8_t)row->op;
	u->seg = (uint8_t)string_segment(c);
	c->facts.loads += traffic[row->aux].loads;
	c->facts.stores += traffic[row->aux].stores;
	if (rep)
		crack_finish(c, BLOCK_END_FALL);
	return true;
}

bool crack_string_or_sse(struct crack *c, const struct crack_row *row)
{
	return c->insn.meta.category == ZYDIS_CATEGORY_STRINGOP ? crack_string(c, row) : crack_sse(c, row);
}

/* ---- system ---- */
static void sys_memory(struct crack *c, struct uop *u, struct uop_sys *s, unsigned i)
{
	const ZydisDecodedOperandMem *m = &c->operand[i].mem;
	bool high;
	bool rip = m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP;
	u->a = m->base == ZYDIS_REGISTER_NONE || rip ? REG_ZERO : (uint8_t)crack_register(m->base, &high);
	u->index = m->index == ZYDIS_REGISTER_NONE ? REG_ZERO : (uint8_t)crack_register(m->index, &high);
	u->scale = m->scale ? (uint8_t)__builtin_ctz(m->scale) : 0;
	s->o.offset = (uint64_t)m->disp.value + (rip ? crack_next(c) : 0); /* the constant part; the registers are added when it runs */
	s->o.seg = (uint8_t)crack_segment(m->segment);
	s->mask = crack_mask(crack_address_size(c));
	/* Not of implicit stack operands: those are the helper's business. */
	s->o.memory = c->operand[i].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN;
}

/* reg and rm as ModRM has them; the fields of instructions without ModRM from their operands. */
static void sys_registers(const struct crack *c, struct sys_operands *o)
{
	if (c->insn.attributes & ZYDIS_ATTRIB_HAS_MODRM) {
		o->reg = (uint8_t)(c->insn.raw.modrm.reg | c->insn.raw.rex.R << 3);
		o->rm = (uint8_t)(c->insn.raw.modrm.rm | c->insn.raw.rex.B << 3);
		return;
	}
	for (unsigned i = 0; i < c->insn.operand_count_visible; i++)
		if (is_segment(c, i))
			o->reg = (uint8_t)crack_segment(c->operand[i].reg.value);
		else if (crack_is_register(c, i) && c->operand[i].reg.value == ZYDIS_REGISTER_DX)
			o->reg = REG_DX;
}

/* The segment that LES, LDS, LSS, LFS, LGS load. */
static unsigned far_pointer_segment(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_LES: return SEG_ES;
	case ZYDIS_MNEMONIC_LSS: return SEG_SS;
	case ZYDIS_MNEMONIC_LFS: return SEG_FS;
	case ZYDIS_MNEMONIC_LGS: return SEG_GS;
	default: return SEG_DS;
	}
}

static void sys_immediates(const struct crack *c, struct sys_operands *o)
{
	unsigned n = 0;
	for (unsigned i = 0; i < c->insn.operand_count_visible; i++) {
		const ZydisDecodedOperand *p = &c->operand[i];
		if (p->type == ZYDIS_OPERAND_TYPE_POINTER) {
			o->imm = p->ptr.offset;
			o->imm2 = p->ptr.segment;
		} else if (p->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			*(n++ ? &o->imm2 : &o->imm) = p->imm.value.u;
		}
	}
}

/* Port I/O moves its data operand, not the operand size (the byte forms). */
static unsigned sys_size(const struct crack *c)
{
	switch (c->insn.mnemonic) {
	case ZYDIS_MNEMONIC_IN: return c->operand[0].size / 8;
	case ZYDIS_MNEMONIC_OUT: return c->operand[1].size / 8;
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_OUTSB: return 1;
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_OUTSW: return 2;
	case ZYDIS_MNEMONIC_INSD:
	case ZYDIS_MNEMONIC_OUTSD: return 4;
	default: return crack_operand_size(c);
	}
}

/* row.aux: bit 0 ends the block; bit 1: row.op is `imm`. */
bool crack_sys(struct crack *c, const struct crack_row *row)
{
	bool ends = row->aux & 1;
	struct uop *u = crack_emit(c, ends ? UOP_sys_end : UOP_sys);
	struct uop_sys *s = &c->sys[c->syss];
	u->imm = c->syss++;
	*s = (struct uop_sys){ .fn = row->sys, .quick = ends ? sys_quick_find(row->sys) : NULL };
	s->o = (struct sys_operands){ .next = crack_next(c), .seg = SEG_DS, .size = (uint8_t)sys_size(c), .address_size = (uint8_t)crack_address_size(c), .rep = (uint8_t)rep_prefix(c) };
	s->o.stack_size = crack_mode(c) == 8 ? crack_operand_size(c) == 2 ? 2 : 8 : (uint8_t)crack_operand_size(c);
	sys_registers(c, &s->o);
	sys_immediates(c, &s->o);
	if (row->aux & 2)
		s->o.imm = row->op;
	for (unsigned i = 0; i < c->insn.operand_count; i++)
		if (crack_is_memory(c, i) && (c->operand[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT || rep_prefix(c) || c->insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP)) {
			sys_memory(c, u, s, i);
			break;
		}
	if (c->insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP)
		s->o.seg = (uint8_t)string_segment(c);
	if (row->sys == sys_maskmovdqu)
		s->o.seg = (uint8_t)crack_segment(c->operand[2].mem.segment);
	if (row->sys == sys_load_far_pointer)
		s->o.rm = (uint8_t)far_pointer_segment(c->insn.mnemonic);
	if (ends) {
		c->next_pc[1] = s->o.next;
		crack_finish(c, BLOCK_END_SYSTEM);
	}
	return true;
}

bool crack_ud(struct crack *c, const struct crack_row *row)
{
	(void)row;
	crack_fault(c, VEC_UD, false);
	return true;
}
