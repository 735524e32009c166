/* Integer instructions: each function cracks one family; the row's `op` is the family's first micro-op. */
#include "crack.h"

/* The family that takes its second operand from memory: 32 bits, then 64. */
static unsigned alu_loads(unsigned family)
{
	switch (family) {
	case UOP_add8_rr: return UOP_add32_rm_bd;
	case UOP_or8_rr: return UOP_or32_rm_bd;
	case UOP_and8_rr: return UOP_and32_rm_bd;
	case UOP_sub8_rr: return UOP_sub32_rm_bd;
	case UOP_xor8_rr: return UOP_xor32_rm_bd;
	default: return 0;
	}
}

/* ---- arithmetic. ORDER ALU: rr, rr_nf, ri, ri_nf for each size ---- */
bool crack_alu(struct crack *c, const struct crack_row *row)
{
	unsigned size = c->operand[0].size / 8, op = row->op + crack_lg(size) * 4;
	bool imm = crack_is_immediate(c, 1), high;
	if (size >= 4 && crack_is_memory(c, 1) && alu_loads(row->op)) {
		struct crack_address ea = crack_ea(c, 1, size, ACCESS_READ);
		crack_memory(c, alu_loads(row->op) + (size == 8 ? FORM_COUNT : 0), &ea)->dst = (uint8_t)crack_register(c->operand[0].reg.value, &high);
		return true;
	}
	unsigned b = imm ? REG_ZERO : crack_read(c, 1, size);
	struct crack_target t = crack_open(c, 0, size);
	crack_emit3(c, op + (imm ? 2 : 0), t.reg, t.reg, b)->imm = imm ? c->operand[1].imm.value.u : 0;
	crack_close(c, &t);
	return true;
}

/* ORDER COMPARE: rr, ri for each size. */
bool crack_compare(struct crack *c, const struct crack_row *row)
{
	unsigned size = c->operand[0].size / 8, op = row->op + crack_lg(size) * 2;
	bool imm = crack_is_immediate(c, 1);
	unsigned a = crack_read(c, 0, size), b = imm ? REG_ZERO : crack_read(c, 1, size);
	crack_emit3(c, op + (imm ? 1 : 0), REG_SINK, a, b)->imm = imm ? c->operand[1].imm.value.u : 0;
	return true;
}

static void step(struct crack *c, unsigned op, unsigned size)
{
	struct crack_target t = crack_open(c, 0, size);
	crack_emit3(c, op, t.reg, t.reg, REG_ZERO);
	crack_close(c, &t);
}

bool crack_step(struct crack *c, const struct crack_row *row) /* INC, DEC, NEG: two rows a size */
{
	unsigned size = c->operand[0].size / 8;
	step(c, row->op + crack_lg(size) * 2, size);
	return true;
}

bool crack_not(struct crack *c, const struct crack_row *row)
{
	unsigned size = c->operand[0].size / 8;
	step(c, row->op + crack_lg(size), size);
	return true;
}

/* A shift by a constant 0 changes nothing, but a 32-bit register is still cut to 32 bits. */
static void shift_nothing(struct crack *c, const struct crack_target *t)
{
	if (!t->memory && !t->high)
		crack_emit3(c, UOP_mov8 + crack_lg(t->size), t->reg, t->reg, REG_ZERO);
}

static void shift(struct crack *c, unsigned op_imm, unsigned op_cl)
{
	unsigned size = c->operand[0].size / 8;
	struct crack_target t = crack_open(c, 0, size);
	unsigned count = crack_is_immediate(c, 1) ? c->operand[1].imm.value.u & (size == 8 ? 63 : 31) : 0;
	if (!crack_is_immediate(c, 1))
		crack_emit3(c, op_cl, t.reg, t.reg, REG_CX);
	else if (count)
		crack_emit3(c, op_imm, t.reg, t.reg, REG_ZERO)->imm = count;
	else
		shift_nothing(c, &t);
	crack_close(c, &t);
}

bool crack_shift(struct crack *c, const struct crack_row *row) /* ORDER SHIFT: ri, ri_nf, rr for each size */
{
	unsigned op = row->op + crack_lg(c->operand[0].size / 8) * 3;
	shift(c, op, op + 2);
	return true;
}

bool crack_rotate(struct crack *c, const struct crack_row *row) /* ri, rr for each size */
{
	unsigned op = row->op + crack_lg(c->operand[0].size / 8) * 2;
	shift(c, op, op + 1);
	return true;
}

bool crack_double_shift(struct crack *c, const struct crack_row *row) /* ri, rr for 16, 32, 64 */
{
	unsigned size = c->operand[0].size / 8, op = row->op + (crack_lg(size) - 1) * 2;
	unsigned b = crack_read(c, 1, size);
	struct crack_target t = crack_open(c, 0, size);
	unsigned count = crack_is_immediate(c, 2) ? c->operand[2].imm.value.u & (size == 8 ? 63 : 31) : 0;
	if (!crack_is_immediate(c, 2))
		crack_emit3(c, op + 1, t.reg, t.reg, b);
	else if (count)
		crack_emit3(c, op, t.reg, t.reg, b)->imm = count;
	else
		shift_nothing(c, &t);
	crack_close(c, &t);
	return true;
}

/* ---- multiply, divide ---- */
bool crack_mul(struct crack *c, const struct crack_row *row)
{
	unsigned size = c->operand[0].size / 8;
	crack_emit3(c, row->op + crack_lg(size), REG_SINK, crack_read(c, 0, size), REG_ZERO);
	return true;
}

bool crack_imul(struct crack *c, const struct crack_row *row)
{
	if (c->insn.operand_count_visible == 1)
		return crack_mul(c, row);
	unsigned size = c->operand[0].size / 8, which = (crack_lg(size) - 1) * 2;
	bool high;
	unsigned dst = crack_register(c->operand[0].reg.value, &high);
	unsigned b = crack_read(c, 1, size);
	if (c->insn.operand_count_visible == 3)
		crack_emit3(c, UOP_imul16_ri + which, dst, b, REG_ZERO)->imm = c->operand[2].imm.value.u;
	else
		crack_emit3(c, UOP_imul16_rr + which, dst, dst, b);
	return true;
}

bool crack_div(struct crack *c, const struct crack_row *row)
{
	return crack_mul(c, row);
}

/* ---- bits ---- */
/* A bit string in memory: the register's bit number reaches beyond the operand (SDM 2A "BT"). The immediate's does not. */
static struct crack_address bit_string(struct crack *c, unsigned size, enum access access)
{
	if (!crack_is_register(c, 1))
		return crack_ea(c, 0, size, access);
	bool high;
	crack_lea(c, 0, REG_T4);
	crack_emit3(c, UOP_bit_address, REG_T4, REG_T4, crack_register(c->operand[1].reg.value, &high))->size = (uint8_t)size;
	if (crack_address_size(c) == 2)
		crack_emit3(c, UOP_movz16, REG_T4, REG_T4, REG_ZERO);
	return crack_ea_moved(c, 0, REG_T4, size, access);
}

bool crack_bt(struct crack *c, const struct crack_row *row)
{
	static const uint16_t load[] = { 0, UOP_ld16_bd, UOP_ld32_bd, UOP_ld64_bd };
	unsigned size = c->operand[0].size / 8, lg = crack_lg(size), a;
	if (crack_is_memory(c, 0)) {
		struct crack_address ea = bit_string(c, size, ACCESS_READ);
		a = crack_temp(c);
		crack_memory(c, load[lg], &ea)->dst = (uint8_t)a;
	} else {
		a = crack_read(c, 0, size);
	}
	crack_emit3(c, row->op + lg - 1, REG_SINK, a, crack_read(c, 1, size));
	return true;
}

bool crack_bit(struct crack *c, const struct crack_row *row) /* BTS, BTR, BTC */
{
	static const uint16_t rmw[] = { 0, UOP_rmw16_bd, UOP_rmw32_bd, UOP_rmw64_bd };
	unsigned size = c->operand[0].size / 8, lg = crack_lg(size), b = crack_read(c, 1, size);
	struct crack_target t;
	if (crack_is_memory(c, 0)) {
		t = (struct crack_target){ .memory = true, .size = size, .reg = crack_temp(c), .ea = bit_string(c, size, ACCESS_WRITE) };
		crack_memory(c, rmw[lg], &t.ea)->dst = (uint8_t)t.reg;
	} else {
		t = crack_open(c, 0, size);
	}
	crack_emit3(c, row->op + lg - 1, t.reg, t.reg, b);
	crack_close(c, &t);
	return true;
}

bool crack_scan(struct crack *c, const struct crack_row *row)
{
	unsigned size = c->operand[0].size / 8;
	bool high;
	crack_emit3(c, row->op + crack_lg(size) - 1, crack_register(c->operand[0].reg.value, &high), crack_read(c, 1, size), REG_ZERO);
	return true;
}

/* ---- exchanges ---- */
/* The address in T5, for instructions that change a register of it before they store. */
static void pin_address(struct crack *c, struct crack_address *ea)
{
	if (ea->form == FORM_ABS) {
		crack_emit3(c, UOP_movi, REG_T5, REG_ZERO, REG_ZERO)->imm = ea->imm;
	} else {
		unsigned lea = ea->form == FORM_SEG ? UOP_lea_seg : ea->form == FORM_BD32 || ea->form == FORM_SIB32 ? UOP_lea32 : UOP_lea;
		struct uop *u = crack_emit3(c, lea, REG_T5, ea->base, REG_ZERO);
		u->index = ea->index;
		u->scale = ea->scale;
		u->disp = ea->disp;
		u->seg = ea->seg;
	}
	*ea = crack_at(c, REG_T5, 0, ea->seg);
}

/* A memory destination of a compare-and-exchange, which changes AX (and DX) before the store. */
static struct crack_target open_exchange(struct crack *c, unsigned size)
{
	static const uint16_t rmw[] = { UOP_rmw8_bd, UOP_rmw16_bd, UOP_rmw32_bd, UOP_rmw64_bd };
	if (!crack_is_memory(c, 0))
		return crack_open(c, 0, size);
	struct crack_target t = { .memory = true, .size = size, .reg = crack_temp(c), .ea = crack_ea(c, 0, size, ACCESS_WRITE) };
	if (t.ea.base == REG_AX || t.ea.base == REG_DX || t.ea.index == REG_AX || t.ea.index == REG_DX)
		pin_address(c, &t.ea);
	crack_memory(c, rmw[crack_lg(size)], &t.ea)->dst = (uint8_t)t.reg;
	return t;
}

bool crack_cmpxchg(struct crack *c, const struct crack_row *row)
{
	unsigned size = c->operand[0].size / 8, b = crack_read(c, 1, size);
	struct crack_target t = open_exchange(c, size);
	crack_emit3(c, row->op + crack_lg(size), t.reg, t.reg, b);
	crack_close(c, &t);
	return true;
}

bool crack_cmpxchg8b(struct crack *c, const struct crack_row *row)
{
	(void)row;
	struct crack_target t = open_exchange(c, 8);
	crack_emit(c, UOP_cmpxchg8b);
	crack_close(c, &t);
	return true;
}

bool crack_cmpxchg16b(struct crack *c, const struct crack_row *row)
{
	(void)row;
	struct crack_address ea = crack_ea(c, 0, 16, ACCESS_WRITE);
	pin_address(c, &ea);
	crack_emit3(c, UOP_check_aligned, REG_SINK, REG_T5, REG_ZERO)->size = 16;
	struct crack_address low = crack_at(c, REG_T5, 0, ea.seg), high = crack_at(c, REG_T5, 8, ea.seg);
	crack_memory(c, UOP_rmw64_bd, &low)->dst = REG_T0;
	crack_memory(c, UOP_rmw64_bd, &high)->dst = REG_T1;
	crack_emit(c, UOP_cmpxchg16b);
	crack_memory(c, UOP_stq64_bd, &low)->b = REG_T0;
	crack_memory(c, UOP_stq64_bd, &high)->b = REG_T1;
	return true;
}

/* TEMP = SRC + DEST; SRC = DEST; DEST = TEMP (SDM 2D "XADD"): a register destination last, as both may be one register; a memory destination first, as the
 * source may be part of its address. */
bool crack_xadd(struct crack *c, const struct crack_row *row)
{
	unsigned size = c->operand[0].size / 8, b = crack_read(c, 1, size);
	struct crack_target t = crack_open(c, 0, size);
	unsigned old = crack_temp(c), sum = crack_temp(c);
	crack_emit3(c, UOP_mov64, old, t.reg, REG_ZERO);
	crack_emit3(c, row->op + crack_lg(size) * 4, sum, t.reg, b);
	if (t.memory) {
		t.reg = sum;
		crack_close(c, &t);
	}
	crack_write_register(c, 1, old, size);
	if (!t.memory)
		crack_write_register(c, 0, sum, size);
	return true;
}

bool crack_xchg(struct crack *c, const struct crack_row *row)
{
	(void)row;
	unsigned memory = crack_is_memory(c, 1) ? 1 : 0, other = 1 - memory, size = c->operand[other].size / 8;
	unsigned b = crack_read(c, other, size);
	if (crack_is_memory(c, memory)) {
		struct crack_target t = crack_open(c, memory, size);
		unsigned old = t.reg;
		t.reg = b;
		crack_close(c, &t);
		crack_write_register(c, other, old, size); /* after the store, whose address may hold it */
		return true;
	}
	bool high0, high1;
	unsigned r0 = crack_register(c->operand[0].reg.value, &high0), r1 = crack_register(c->operand[1].reg.value, &high1);
	if (!high0 && !high1) {
		crack_emit3(c, UOP_xchg8 + crack_lg(size), r0, r1, REG_ZERO);
		return true;
	}
	unsigned t0 = crack_temp(c), t1 = crack_temp(c);
	crack_emit3(c, UOP_mov64, t0, crack_read(c, 0, size), REG_ZERO);
	crack_emit3(c, UOP_mov64, t1, crack_read(c, 1, size), REG_ZERO);
	crack_write_register(c, 0, t1, size);
	crack_write_register(c, 1, t0, size);
	return true;
}

bool crack_bswap(struct crack *c, const struct crack_row *row)
{
	(void)row;
	unsigned size = c->operand[0].size / 8;
	bool high;
	unsigned r = crack_register(c->operand[0].reg.value, &high);
	if (size == 2) /* undefined: processors give 0 */
		crack_emit3(c, UOP_movi16, r, REG_ZERO, REG_ZERO);
	else
		crack_emit3(c, size == 8 ? UOP_bswap64 : UOP_bswap32, r, r, REG_ZERO);
	return true;
}

/* ---- moves ---- */
static bool mov_special(struct crack *c)
{
	static const struct { ZydisRegisterClass class; sys_fn *to, *from; } how[] = {
		{ ZYDIS_REGCLASS_SEGMENT, sys_mov_to_sreg, sys_mov_from_sreg }, { ZYDIS_REGCLASS_CONTROL, sys_mov_to_cr, sys_mov_from_cr }, { ZYDIS_REGCLASS_DEBUG, sys_mov_to_dr, sys_mov_from_dr }
	};
	for (unsigned i = 0; i < sizeof how / sizeof *how; i++)
		for (unsigned k = 0; k < 2; k++)
			if (crack_is_register(c, k) && ZydisRegisterGetClass(c->operand[k].reg.value) == how[i].class) {
				static const uint8_t sens[3][2] = { { SENS_SEGMENT_LOAD, SENS_SEGMENT_READ }, { SENS_CR0_WRITE, SENS_CR_READ }, { SENS_DR_ACCESS, SENS_DR_ACCESS } };
				static const uint8_t cr[16] = { [3] = SENS_CR3_WRITE, [4] = SENS_CR4_WRITE, [8] = SENS_CR8_WRITE };
				unsigned s = sens[i][k];
				if (i == 1 && k == 0)
					s = cr[ZydisRegisterGetId(c->operand[0].reg.value) & 15];
				return crack_sensitive(c, k ? how[i].from : how[i].to, (enum sensitive)s);
			}
	return false;
}

bool crack_mov(struct crack *c, const struct crack_row *row)
{
	static const uint16_t store[] = { UOP_st8_bd, UOP_st16_bd, UOP_st32_bd, UOP_st64_bd }, store_imm[] = { UOP_sti8_bd, UOP_sti16_bd, UOP_sti32_bd, UOP_sti64_bd };
	static const uint16_t load[] = { 0, 0, UOP_ld32_bd, UOP_ld64_bd };
	(void)row;
	if (mov_special(c))
		return true;
	unsigned size = c->operand[0].size / 8, lg = crack_lg(size);
	bool high;
	if (crack_is_memory(c, 0)) {
		bool imm = crack_is_immediate(c, 1);
		unsigned from = imm ? REG_ZERO : crack_read(c, 1, size);
		struct crack_address ea = crack_ea(c, 0, size, ACCESS_WRITE);
		if (imm && ea.form == FORM_ABS)
			from = crack_read(c, 1, size);
		if (imm && ea.form != FORM_ABS)
			crack_memory(c, store_imm[lg], &ea)->imm = c->operand[1].imm.value.u;
		else
			crack_memory(c, store[lg], &ea)->b = (uint8_t)from;
		return true;
	}
	unsigned dst = crack_register(c->operand[0].reg.value, &high);
	if (crack_is_immediate(c, 1) && !high) {
		static const uint16_t op[] = { UOP_movi8, UOP_movi16, UOP_movi, UOP_movi };
		crack_emit3(c, op[lg], dst, REG_ZERO, REG_ZERO)->imm = c->operand[1].imm.value.u & crack_mask(size);
		return true;
	}
	if (crack_is_memory(c, 1) && size >= 4) {
		struct crack_address ea = crack_ea(c, 1, size, ACCESS_READ);
		crack_memory(c, load[lg], &ea)->dst = (uint8_t)dst;
		return true;
	}
	crack_write_register(c, 0, crack_read(c, 1, size), size);
	return true;
}

bool crack_movzx(struct crack *c, const struct crack_row *row)
{
	(void)row;
	unsigned from = c->operand[1].size / 8, to = c->operand[0].size / 8;
	bool high;
	unsigned dst = crack_register(c->operand[0].reg.value, &high);
	if (to >= 4 && crack_is_memory(c, 1)) {
		struct crack_address ea = crack_ea(c, 1, from, ACCESS_READ);
		crack_memory(c, from == 1 ? UOP_ld8_bd : UOP_ld16_bd, &ea)->dst = (uint8_t)dst;
		return true;
	}
	unsigned a = crack_read(c, 1, from);
	if (to >= 4) {
		crack_emit3(c, from == 1 ? UOP_movz8 : UOP_movz16, dst, a, REG_ZERO);
		return true;
	}
	unsigned t = crack_temp(c);
	crack_emit3(c, from == 1 ? UOP_movz8 : UOP_movz16, t, a, REG_ZERO);
	crack_emit3(c, UOP_mov16, dst, t, REG_ZERO);
	return true;
}

static unsigned movsx_op(unsigned from, unsigned to)
{
	static const uint16_t op[3][4] = { /* [from 1, 2, 4][to 2, 4, 8] */
		{ 0, UOP_movs8_16, UOP_movs8_32, UOP_movs8_64 }, { 0, UOP_mov16, UOP_movs16_32, UOP_movs16_64 }, { 0, UOP_mov16, UOP_mov32, UOP_movs32_64 }
	};
	return op[crack_lg(from)][crack_lg(to)];
}

bool crack_movsx(struct crack *c, const struct crack_row *row)
{
	static const uint16_t load[3][4] = { { 0, 0, UOP_ld8s32_bd, UOP_ld8s64_bd }, { 0, 0, UOP_ld16s32_bd, UOP_ld16s64_bd }, { 0, 0, UOP_ld32_bd, UOP_ld32s64_bd } };
	(void)row;
	unsigned from = c->operand[1].size / 8, to = c->operand[0].size / 8;
	bool high;
	unsigned dst = crack_register(c->operand[0].reg.value, &high);
	if (to >= 4 && crack_is_memory(c, 1)) {
		struct crack_address ea = crack_ea(c, 1, from, ACCESS_READ);
		crack_memory(c, load[crack_lg(from)][crack_lg(to)], &ea)->dst = (uint8_t)dst;
		return true;
	}
	crack_emit3(c, movsx_op(from, to), dst, crack_read(c, 1, from), REG_ZERO);
	return true;
}

bool crack_widen(struct crack *c, const struct crack_row *row) /* CBW CWDE CDQE (aux 0), CWD CDQ CQO (aux 1): op for the size */
{
	crack_emit3(c, row->op, REG_AX, REG_AX, REG_ZERO);
	(void)c;
	return true;
}

bool crack_lea_insn(struct crack *c, const struct crack_row *row)
{
	(void)row;
	unsigned size = c->operand[0].size / 8;
	bool high;
	unsigned dst = crack_register(c->operand[0].reg.value, &high);
	if (size >= 4 && size >= crack_address_size(c)) {
		crack_lea(c, 1, dst);
		return true;
	}
	crack_lea(c, 1, REG_T5);
	crack_emit3(c, UOP_mov8 + crack_lg(size), dst, REG_T5, REG_ZERO);
	return true;
}

bool crack_movnti(struct crack *c, const struct crack_row *row)
{
	return crack_mov(c, row);
}

bool crack_xlat(struct crack *c, const struct crack_row *row)
{
	(void)row;
	unsigned i = 0;
	while (i < c->insn.operand_count && !crack_is_memory(c, i))
		i++;
	if (i == c->insn.operand_count)
		return false;
	unsigned size = crack_address_size(c);
	crack_emit3(c, UOP_movz8, REG_T0, REG_AX, REG_ZERO);
	crack_emit3(c, UOP_lea, REG_T4, REG_BX, REG_ZERO)->index = REG_T0;
	crack_emit3(c, size == 8 ? UOP_mov64 : size == 4 ? UOP_mov32 : UOP_movz16, REG_T4, REG_T4, REG_ZERO);
	struct crack_address ea = crack_ea_moved(c, i, REG_T4, 1, ACCESS_READ);
	crack_memory(c, UOP_ld8_bd, &ea)->dst = REG_T0;
	crack_emit3(c, UOP_mov8, REG_AX, REG_T0, REG_ZERO);
	return true;
}

/* ---- conditions. ORDER CC: row.aux ---- */
bool crack_setcc(struct crack *c, const struct crack_row *row)
{
	if (!crack_is_memory(c, 0)) {
		bool high;
		unsigned r = crack_register(c->operand[0].reg.value, &high);
		crack_emit3(c, UOP_set_o + row->aux, high ? REG_T0 : r, REG_ZERO, REG_ZERO);
		if (high)
			crack_emit3(c, UOP_puth, r, REG_T0, REG_ZERO);
		return true;
	}
	crack_emit3(c, UOP_set_o + row->aux, REG_T0, REG_ZERO, REG_ZERO);
	struct crack_address ea = crack_ea(c, 0, 1, ACCESS_WRITE);
	crack_memory(c, UOP_st8_bd, &ea)->b = REG_T0;
	return true;
}

bool crack_cmov(struct crack *c, const struct crack_row *row)
{
	unsigned size = c->operand[0].size / 8;
	bool high;
	unsigned a = crack_read(c, 1, size); /* a memory operand is read, and faults, either way */
	crack_emit3(c, UOP_cmov16_o + (crack_lg(size) - 1) * 16 + row->aux, crack_register(c->operand[0].reg.value, &high), a, REG_ZERO);
	return true;
}

/* ---- one micro-op without operands ---- */
bool crack_simple(struct crack *c, const struct crack_row *row)
{
	crack_emit(c, row->op);
	return true;
}

/* DAA and kin: C helpers; row.aux picks one. AAM 0 is #DE, raised there. */
bool crack_bcd(struct crack *c, const struct crack_row *row)
{
	static uop_help_fn *const fn[] = { help_daa, help_das, help_aaa, help_aas, help_aam, help_aad };
	uint64_t imm = crack_is_immediate(c, 0) ? c->operand[0].imm.value.u : 0;
	crack_help(c, fn[row->aux])->disp = (int32_t)(imm & 0xff);
	return true;
}

/* CLFLUSH is checked like a load of a byte (SDM 2A); flushing changes nothing that a guest can see. */
bool crack_clflush(struct crack *c, const struct crack_row *row)
{
	(void)row;
	struct crack_address ea = crack_ea(c, 0, 1, ACCESS_READ);
	crack_memory(c, UOP_ld8_bd, &ea)->dst = REG_SINK;
	return true;
}

/* NOP r/m, and our marks: nopl disp32(%eax) with a magic displacement (workloads/include/ringside_mark.h). */
bool crack_nop(struct crack *c, const struct crack_row *row)
{
	(void)row;
	const uint8_t *code = c->code + c->offset;
	if (c->insn.length == 7 && code[0] == 0x0f && code[1] == 0x1f && code[2] == 0x80 && code[5] == 0x53 && code[6] == 0x52)
		crack_emit(c, UOP_mark)->imm = code[3] | (uint32_t)code[4] << 8;
	else
		crack_emit(c, UOP_nop);
	return true;
}
