#include "emit_x86_64.h"
#include <string.h>

void emit_bytes(struct emit *e, const void *bytes, unsigned n)
{
	if (e->full || e->end - e->at < (int64_t)n) {
		e->full = true;
		return;
	}
	memcpy(e->at, bytes, n);
	e->at += n;
}

static void emit_imm32(struct emit *e, int32_t v) { emit_bytes(e, &v, 4); }

/* ModRM, SIB and displacement (SDM 2A tables 2-2 and 2-3) behind the bytes in `to`; returns the new length. */
static unsigned encode_place(uint8_t *to, unsigned n, unsigned reg, struct emit_place p)
{
	if (!p.memory) {
		to[n++] = (uint8_t)(0xc0 | (reg & 7) << 3 | (p.base & 7));
		return n;
	}
	if (p.base == HOST_NONE) { /* index and displacement alone: base 101b without a mod */
		to[n++] = (uint8_t)((reg & 7) << 3 | 4);
		to[n++] = (uint8_t)(p.scale << 6 | (p.index & 7) << 3 | 5);
		memcpy(to + n, &p.disp, 4);
		return n + 4;
	}
	bool sib = p.index != HOST_NONE || (p.base & 7) == HOST_SP;
	unsigned mod = p.disp == 0 && (p.base & 7) != HOST_BP ? 0 : p.disp == (int8_t)p.disp ? 1 : 2;
	to[n++] = (uint8_t)(mod << 6 | (reg & 7) << 3 | (sib ? 4 : p.base & 7));
	if (sib)
		to[n++] = (uint8_t)(p.scale << 6 | (p.index == HOST_NONE ? 4 : p.index & 7) << 3 | (p.base & 7));
	if (mod) {
		memcpy(to + n, &p.disp, 4);
		n += mod == 1 ? 1 : 4;
	}
	return n;
}

void emit_op(struct emit *e, unsigned size, unsigned op, unsigned reg, struct emit_place p)
{
	uint8_t code[20];
	unsigned n = 0, rex = (size == 8 ? 8 : 0) | (reg >= 8 ? 4 : 0) | (p.memory && p.index != HOST_NONE && p.index >= 8 ? 2 : 0) | (p.base >= 8 && p.base != HOST_NONE ? 1 : 0);
	bool byte = size == 1 || op == OP_MOVZX8 || op == OP_MOVSX8 || (op & ~0xfu) == OP_SETCC;
	if (op > 0xffff)
		code[n++] = (uint8_t)(op >> 16);
	else if (size == 2)
		code[n++] = 0x66;
	if (rex || (byte && (reg >= 4 || (!p.memory && p.base >= 4)))) /* SPL, BPL, SIL, DIL need a REX prefix */
		code[n++] = (uint8_t)(0x40 | rex);
	if (op > 0xff)
		code[n++] = 0x0f;
	code[n++] = (uint8_t)(size == 1 && op <= 0xff ? op & ~1u : op);
	emit_bytes(e, code, encode_place(code, n, reg, p));
}

void emit_alu_imm(struct emit *e, unsigned size, enum emit_alu alu, struct emit_place place, int32_t imm)
{
	int8_t small = (int8_t)imm;
	int16_t middle = (int16_t)imm;
	if (size == 1) {
		emit_op(e, 1, 0x81, alu, place);
		emit_bytes(e, &small, 1);
	} else if (imm == small) {
		emit_op(e, size, 0x83, alu, place);
		emit_bytes(e, &small, 1);
	} else {
		emit_op(e, size, 0x81, alu, place);
		if (size == 2)
			emit_bytes(e, &middle, 2);
		else
			emit_imm32(e, imm);
	}
}

void emit_shift_imm(struct emit *e, unsigned size, enum emit_shift shift, struct emit_place place, unsigned count)
{
	uint8_t c = (uint8_t)count;
	emit_op(e, size, 0xc1, shift, place);
	emit_bytes(e, &c, 1);
}

void emit_mov_imm(struct emit *e, unsigned reg, uint64_t imm)
{
	uint8_t code[2] = { (uint8_t)(0x40 | (reg >= 8 ? 1 : 0)), (uint8_t)(0xb8 | (reg & 7)) };
	if (imm <= UINT32_MAX) {
		emit_bytes(e, reg >= 8 ? code : code + 1, reg >= 8 ? 2 : 1);
		emit_imm32(e, (int32_t)imm);
	} else if (imm == (uint64_t)(int32_t)imm) {
		emit_op(e, 8, 0xc7, 0, emit_register(reg));
		emit_imm32(e, (int32_t)imm);
	} else {
		code[0] |= 8;
		emit_bytes(e, code, 2);
		emit_bytes(e, &imm, 8);
	}
}

void emit_store_imm(struct emit *e, unsigned size, struct emit_place place, int32_t imm)
{
	emit_op(e, size, 0xc7, 0, place);
	emit_bytes(e, &imm, size < 4 ? size : 4);
}

static void emit_short(struct emit *e, unsigned op, unsigned reg)
{
	uint8_t code[2] = { 0x41, (uint8_t)(op | (reg & 7)) };
	emit_bytes(e, reg >= 8 ? code : code + 1, reg >= 8 ? 2 : 1);
}

void emit_bswap_register(struct emit *e, unsigned size, unsigned reg)
{
	uint8_t code[3] = { (uint8_t)(0x40 | (size == 8 ? 8 : 0) | (reg >= 8 ? 1 : 0)), 0x0f, (uint8_t)(0xc8 | (reg & 7)) };
	emit_bytes(e, code, 3);
}

void emit_push(struct emit *e, unsigned reg) { emit_short(e, 0x50, reg); }
void emit_pop(struct emit *e, unsigned reg) { emit_short(e, 0x58, reg); }
void emit_ret(struct emit *e) { emit_bytes(e, "\xc3", 1); }

static uint8_t *emit_distance(struct emit *e)
{
	emit_imm32(e, 0);
	return e->full ? NULL : e->at - 4;
}

uint8_t *emit_jump(struct emit *e)
{
	emit_bytes(e, "\xe9", 1);
	return emit_distance(e);
}

uint8_t *emit_jump_if(struct emit *e, unsigned cc)
{
	uint8_t code[2] = { 0x0f, (uint8_t)(0x80 | cc) };
	emit_bytes(e, code, 2);
	return emit_distance(e);
}

uint8_t *emit_call(struct emit *e)
{
	emit_bytes(e, "\xe8", 1);
	return emit_distance(e);
}

void emit_patch(uint8_t *site, const uint8_t *target)
{
	if (!site)
		return;
	int32_t distance = (int32_t)(target - (site + 4)), is;
	memcpy(&is, site, 4);
	if (is != distance) /* a store to code that has run costs hundreds of cycles */
		memcpy(site, &distance, 4);
}
