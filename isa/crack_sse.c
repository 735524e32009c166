/* SSE: rows of isa/sse.def between the loads, stores and register moves that every micro-op machine has. */
#include "crack.h"

enum { XMM_TEMP0 = 16, XMM_TEMP1 = 17 };

static unsigned xmm_number(const struct crack *c, unsigned i)
{
	return (unsigned)(c->operand[i].reg.value - ZYDIS_REGISTER_XMM0) & 15;
}

static bool is_xmm(const struct crack *c, unsigned i)
{
	return crack_is_register(c, i) && c->operand[i].reg.value >= ZYDIS_REGISTER_XMM0 && c->operand[i].reg.value <= ZYDIS_REGISTER_XMM15;
}

static bool is_gpr(const struct crack *c, unsigned i)
{
	ZydisRegisterClass k = crack_is_register(c, i) ? ZydisRegisterGetClass(c->operand[i].reg.value) : ZYDIS_REGCLASS_INVALID;
	return k == ZYDIS_REGCLASS_GPR32 || k == ZYDIS_REGCLASS_GPR64;
}

/* ORDER LDX, STX in uops.def. */
static unsigned sse_load_op(unsigned bytes, bool aligned)
{
	switch (bytes) {
	case 1: return UOP_ldx1_bd;
	case 2: return UOP_ldx2_bd;
	case 4: return UOP_ldx4_bd;
	case 8: return UOP_ldx8_bd;
	default: return aligned ? UOP_ldx16a_bd : UOP_ldx16_bd;
	}
}

static unsigned sse_store_op(unsigned bytes, bool aligned)
{
	switch (bytes) {
	case 1: return UOP_stx1_bd;
	case 2: return UOP_stx2_bd;
	case 4: return UOP_stx4_bd;
	case 8: return UOP_stx8_bd;
	default: return aligned ? UOP_stx16a_bd : UOP_stx16_bd;
	}
}

static void sse_load(struct crack *c, const struct sse_op *op, unsigned i, unsigned to)
{
	struct crack_address ea = crack_ea(c, i, op->bytes, ACCESS_READ);
	crack_memory(c, sse_load_op(op->bytes, op->aligned), &ea)->dst = (uint8_t)to;
}

static void sse_store(struct crack *c, const struct sse_op *op, unsigned from)
{
	struct crack_address ea = crack_ea(c, 0, op->bytes, ACCESS_WRITE);
	crack_memory(c, sse_store_op(op->bytes, op->aligned), &ea)->b = (uint8_t)from;
}

static unsigned sse_immediate(const struct crack *c)
{
	for (unsigned i = 0; i < c->insn.operand_count_visible; i++)
		if (crack_is_immediate(c, i))
			return (unsigned)c->operand[i].imm.value.u & 0xff;
	return 0;
}

/* Moves without arithmetic need no call: whole registers, and loads and stores that zero-extend. */
static bool sse_is_copy(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_MOVAPS:
	case ZYDIS_MNEMONIC_MOVAPD:
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQA:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_MOVNTPS:
	case ZYDIS_MNEMONIC_MOVNTPD:
	case ZYDIS_MNEMONIC_MOVNTDQ: return true;
	default: return false;
	}
}

static bool sse_is_scalar_move(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_MOVSS || m == ZYDIS_MNEMONIC_MOVSD || m == ZYDIS_MNEMONIC_MOVQ || m == ZYDIS_MNEMONIC_MOVD;
}

static bool sse_copy(struct crack *c, const struct sse_op *op)
{
	bool whole = sse_is_copy(c->insn.mnemonic), memory0 = crack_is_memory(c, 0), memory1 = crack_is_memory(c, 1);
	if (!whole && !(sse_is_scalar_move(c->insn.mnemonic) && (memory0 || memory1)))
		return false;
	if (memory0 && is_xmm(c, 1))
		sse_store(c, op, xmm_number(c, 1));
	else if (memory1 && is_xmm(c, 0))
		sse_load(c, op, 1, xmm_number(c, 0));
	else if (is_xmm(c, 0) && is_xmm(c, 1))
		crack_emit3(c, UOP_x_mov, xmm_number(c, 0), xmm_number(c, 1), REG_ZERO);
	else
		return false;
	return true;
}

static unsigned sse_source(struct crack *c, const struct sse_op *op, unsigned gpr_size)
{
	if (op->src == SSE_NONE)
		return XMM_TEMP1;
	if (is_xmm(c, 1))
		return xmm_number(c, 1);
	if (crack_is_memory(c, 1)) {
		sse_load(c, op, 1, XMM_TEMP1);
		return XMM_TEMP1;
	}
	bool high;
	crack_emit3(c, UOP_x_from_gpr, XMM_TEMP1, crack_register(c->operand[1].reg.value, &high), REG_ZERO)->size = (uint8_t)gpr_size;
	return XMM_TEMP1;
}

bool crack_sse(struct crack *c, const struct crack_row *row)
{
	(void)row;
	unsigned gpr_size = crack_is_register(c, 0) && is_gpr(c, 0) ? c->operand[0].size / 8 : is_gpr(c, 1) ? c->operand[1].size / 8 : crack_operand_size(c) == 8 ? 8 : 4;
	bool shift = c->insn.operand_count_visible == 2 && crack_is_immediate(c, 1);
	for (unsigned i = 0; i < 2 && i < c->insn.operand_count_visible; i++)
		if (crack_is_register(c, i) && !is_xmm(c, i) && !is_gpr(c, i))
			return false; /* MMX */
	const struct sse_op *op = shift ? sse_find_shift(c->insn.mnemonic)
					: sse_find(c->insn.mnemonic, crack_is_memory(c, 0), crack_is_memory(c, 1), is_gpr(c, 0), is_gpr(c, 1), gpr_size);
	if (!op || c->insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return false;
	if (!(c->key & KEY_SSE))
		crack_emit(c, UOP_sse_check);
	if (sse_copy(c, op))
		return true;
	unsigned src = sse_source(c, op, gpr_size);
	unsigned dst = is_xmm(c, 0) ? xmm_number(c, 0) : XMM_TEMP0;
	struct uop *u = crack_emit3(c, UOP_sse, dst, src, REG_ZERO);
	u->imm = (uint64_t)(uintptr_t)op;
	u->size = (uint8_t)sse_immediate(c);
	bool high;
	if (crack_is_memory(c, 0))
		sse_store(c, op, dst);
	else if (is_gpr(c, 0))
		crack_emit3(c, UOP_x_to_gpr, crack_register(c->operand[0].reg.value, &high), dst, REG_ZERO)->size = op->zext_dst;
	return true;
}
