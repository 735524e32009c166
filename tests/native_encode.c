/* Random forms of the rows of native_integer.def; see native_encode.h. */
#include "native_encode.h"
#include <stdio.h>
#include <stdlib.h>

static const struct row rows[] = {
#define ROW(name, encoding, sizes, undefined, traits) { name, encoding, sizes, undefined, traits },
#include "native_integer.def"
#undef ROW
};

const struct row *row_get(unsigned i)
{
	return i < sizeof rows / sizeof *rows ? &rows[i] : NULL;
}

/* SDM 2, the pages of SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD: "Flags Affected". */
uint32_t shift_undefined(const struct native_state *before, uint32_t fixed)
{
	const unsigned bits = 1u << (fixed >> 20 & 15), kind = fixed & KIND;
	const unsigned raw = fixed >> 24 ? (fixed >> 24) - 1 : (unsigned)before->reg[REG_CX], count = raw & (bits == 64 ? 63 : 31);
	if (count == 0)
		return 0;
	if (kind == ROTATES)
		return count == 1 ? 0 : FLAG_OF;
	return FLAG_AF | (count > 1 ? FLAG_OF : 0) | (kind == SHIFTS && count >= bits ? FLAG_CF : 0);
}

static unsigned pick(struct native_session *s, unsigned n)
{
	return (unsigned)((session_random(s) >> 33) % n);
}

static unsigned pick_register(struct native_session *s, const struct variant *v)
{
	return pick(s, v->mode == 8 ? 16 : 8);
}

static int pick_base(struct native_session *s, const struct variant *v)
{
	for (;;) {
		const int r = (int)pick_register(s, v);
		if (((v->row->traits & FIXED_OPERANDS) && r <= REG_BX) || ((v->row->traits & BIT_OFFSET) && (unsigned)r == v->reg))
			continue;
		if (r == REG_SP && (v->row->traits & (TARGET | BIT_OFFSET | TWICE)))
			continue;
		return r;
	}
}

static uint64_t pick_ea(struct native_session *s)
{
	return NATIVE_WINDOW + 72 + pick(s, 96);
}

/* ---------------------------------------------------------------- encoding */
static void put(struct variant *v, uint64_t value, unsigned bytes)
{
	memcpy(v->code.code + v->code.length, &value, bytes);
	v->code.length += bytes;
}

/* Chooses the registers of ModRM before REX is written. */
static void choose_operands(struct native_session *s, struct variant *v, const char *encoding, bool plain)
{
	v->base = v->index = -1;
	v->scale = 1;
	v->disp = 0;
	v->has_modrm = strchr(encoding, '/') != NULL;
	v->reg = strstr(encoding, "/r") ? pick_register(s, v) : v->has_modrm ? (unsigned)(strchr(encoding, '/')[1] - '0') : 0;
	v->rm = pick_register(s, v);
	if ((v->row->traits & TARGET) && v->rm == REG_SP)
		v->rm = REG_BX;
	v->memory = v->memory && v->has_modrm;
	v->fixed_ea = pick_ea(s);
	if (!v->memory || pick(s, plain ? 2 : 6) == 0)
		return;
	if (plain) {
		v->base = REG_BX;
		v->disp = (int32_t)pick(s, 80) - 40;
		return;
	}
	v->base = pick_base(s, v);
	v->disp = pick(s, 3) == 0 ? 0 : pick(s, 2) ? (int32_t)pick(s, 256) - 128 : (int32_t)session_random(s) >> pick(s, 16);
	if (v->base == REG_SP) {
		v->disp = (int32_t)pick(s, 96) - 48;
		return;
	}
	if (pick(s, 2) == 0)
		return;
	do
		v->index = pick_base(s, v);
	while (v->index == REG_SP || v->index == v->base);
	v->scale = 1u << pick(s, 4);
}

static void put_rex(struct native_session *s, struct variant *v, const char *sizes)
{
	const bool implied = strchr(sizes, 's') || strchr(sizes, 'n');
	unsigned rex = 0;
	if (v->mode != 8)
		return;
	rex |= v->size == 8 && !implied ? 0x48 : 0;
	rex |= v->has_modrm && v->reg >= 8 ? 0x44 : 0;
	rex |= v->index >= 8 ? 0x42 : 0;
	rex |= (v->memory ? v->base >= 8 : (v->has_modrm || strstr(v->row->encoding, "+r")) && v->rm >= 8) ? 0x41 : 0;
	if (rex || pick(s, 6) == 0)
		put(v, rex | 0x40, 1);
}

static void put_modrm(struct variant *v)
{
	const unsigned reg = (v->reg & 7) << 3;
	if (!v->memory) {
		put(v, 0xc0 | reg | (v->rm & 7), 1);
		return;
	}
	if (v->base < 0) { /* an absolute address: through SIB in 64-bit code, where the short form is relative to RIP */
		put(v, reg | (v->mode == 8 ? 4 : 5), 1);
		if (v->mode == 8)
			put(v, 0x25, 1);
		put(v, v->fixed_ea, 4);
		return;
	}
	const bool sib = v->index >= 0 || (v->base & 7) == REG_SP;
	const unsigned mod = v->disp == 0 && (v->base & 7) != REG_BP ? 0 : v->disp == (int8_t)v->disp ? 1 : 2;
	put(v, mod << 6 | reg | (sib ? 4 : (unsigned)v->base & 7), 1);
	if (sib)
		put(v, (v->scale == 8 ? 3u : v->scale >> 1) << 6 | (v->index < 0 ? 4 : (unsigned)v->index & 7) << 3 | ((unsigned)v->base & 7), 1);
	put(v, (uint32_t)v->disp, mod == 0 ? 0 : mod == 1 ? 1 : 4);
}

static uint64_t pick_immediate(struct native_session *s, struct variant *v, unsigned bytes)
{
	uint64_t value = session_value(s);
	if (v->row->traits & IMM_COUNT) {
		value = (v->row->undefined & KIND) == DOUBLES && v->size == 2 ? pick(s, 17) | pick(s, 8) << 5 : pick(s, 2) ? pick(s, 70) : value & 0xff;
		v->code.fixed |= (((uint32_t)value & 63) + 1) << 24;
	}
	if ((v->row->traits & ENTER) && bytes == 1)
		value = pick(s, 4) | pick(s, 2) << 5;
	if ((v->row->traits & (ENTER | RETURN)) && bytes == 2)
		value = pick(s, 48);
	return value;
}

static void put_token(struct native_session *s, struct variant *v, const char *t)
{
	if (t[0] == '/')
		put_modrm(v);
	else if (!strcmp(t, "ib"))
		put(v, pick_immediate(s, v, 1), 1);
	else if (!strcmp(t, "iw"))
		put(v, pick_immediate(s, v, 2), 2);
	else if (!strcmp(t, "iz"))
		put(v, pick_immediate(s, v, 4), v->size == 2 ? 2 : 4);
	else if (!strcmp(t, "iv"))
		put(v, pick_immediate(s, v, 8), v->size);
	else if (!strcmp(t, "mo"))
		put(v, v->fixed_ea, v->mode == 8 && !v->address32 ? 8 : 4);
	else if (!strcmp(t, "rel8"))
		put(v, (uint64_t)(int64_t)(v->pad * NATIVE_PAD_STEP - (int)v->code.length - 1), 1);
	else if (!strcmp(t, "rel32"))
		put(v, (uint64_t)(int64_t)(v->pad * NATIVE_PAD_STEP - (int)v->code.length - 4), 4);
	else if (!strcmp(t, "+r"))
		v->code.code[v->code.length - 1] |= v->rm & 7;
	else
		put(v, strtoul(t, NULL, 16), 1);
}

static bool is_prefix(const char *t)
{
	return !strcmp(t, "67") || !strcmp(t, "F2") || !strcmp(t, "F3");
}

static void put_prefixes(struct native_session *s, struct variant *v)
{
	static const uint8_t segments[] = { 0x26, 0x2e, 0x36, 0x3e };
	const uint32_t traits = v->row->traits;
	if (v->memory && !(traits & NO_FAULT) && pick(s, 8) == 0)
		put(v, segments[pick(s, 4)], 1);
	if (v->memory && (traits & LOCKABLE) ? pick(s, 4) == 0 : v->has_modrm && !(traits & BRANCH) && pick(s, 48) == 0)
		put(v, 0xf0, 1);
	if (v->address32)
		put(v, 0x67, 1);
	if (v->size == 2)
		put(v, 0x66, 1);
}

void variant_encode(struct native_session *s, struct variant *v, bool plain)
{
	char text[64], *save, *t;
	const bool byte_count = v->row->undefined & KIND;
	v->code.name = v->row->name;
	v->code.mode = v->mode;
	v->code.fixed = v->row->undefined;
	if (byte_count) {
		v->code.undefined = shift_undefined;
		v->code.fixed |= (uint32_t)(__builtin_ctz(v->size) + 3) << 20;
		if (v->row->traits & COUNT_1)
			v->code.fixed |= 2u << 24;
	}
	v->pad = strstr(v->row->encoding, "rel8") ? (pick(s, 2) ? 1 : -1) : pick(s, 2) ? 1 + (int)pick(s, NATIVE_PAD_OTHER - 1) : -1 - (int)pick(s, 4);
	if (plain)
		v->pad = 2;
	v->address32 = v->mode == 8 && !strstr(v->row->encoding, "67 ") && (v->memory || (v->row->traits & XLAT) || strstr(v->row->encoding, "mo")) && pick(s, 5) == 0;
	snprintf(text, sizeof text, "%s", v->row->encoding);
	choose_operands(s, v, text, plain);
	put_prefixes(s, v);
	t = strtok_r(text, " ", &save);
	for (; t && is_prefix(t); t = strtok_r(NULL, " ", &save))
		put_token(s, v, t);
	put_rex(s, v, v->row->sizes);
	for (; t; t = strtok_r(NULL, " ", &save))
		put_token(s, v, t);
}

/* ---------------------------------------------------------------- operands */
static void operand_set(struct native_state *n, uint64_t ea, uint64_t value, unsigned bytes)
{
	if (ea >= NATIVE_WINDOW && ea + bytes <= NATIVE_WINDOW + NATIVE_WINDOW_BYTES)
		memcpy(n->data + (ea - NATIVE_WINDOW), &value, bytes);
	else if (ea >= NATIVE_STACK_WINDOW && ea + bytes <= NATIVE_STACK_WINDOW + NATIVE_STACK_BYTES)
		memcpy(n->stack + (ea - NATIVE_STACK_WINDOW), &value, bytes);
}

static uint64_t operand_get(const struct native_state *n, uint64_t ea, unsigned bytes)
{
	uint64_t value = 0;
	if (ea >= NATIVE_WINDOW && ea + bytes <= NATIVE_WINDOW + NATIVE_WINDOW_BYTES)
		memcpy(&value, n->data + (ea - NATIVE_WINDOW), bytes);
	return value;
}

/* Somewhere that faults: behind the data pages or across their end, before them, or an address that is not canonical. */
static uint64_t pick_bad_ea(struct native_session *s, const struct variant *v)
{
	switch (pick(s, v->mode == 8 && !v->address32 ? 4 : 3)) {
	case 0:
		return NATIVE_DATA + 0x2000 - pick(s, 16);
	case 1:
		return NATIVE_DATA - 1 - pick(s, 16);
	case 2:
		return NATIVE_BASE + 0x4000 + pick(s, 4096);
	default:
		return 0x4000000000000000ull + NATIVE_WINDOW;
	}
}

/* Sets base and index so that the operand is at the address this gives back. */
static uint64_t place_operand(struct native_session *s, const struct variant *v, struct native_state *n)
{
	const uint64_t mask = v->mode == 4 || v->address32 ? 0xffffffffull : ~0ull;
	uint64_t ea = pick(s, 24) == 0 && !(v->row->traits & NO_FAULT) ? pick_bad_ea(s, v) : pick_ea(s);
	if (v->row->traits & ANY_ADDRESS)
		return 0;
	if (v->base < 0)
		return v->fixed_ea;
	if (v->base == REG_SP)
		return NATIVE_SP + (uint64_t)(int64_t)v->disp;
	if ((v->row->traits & TWICE) && pick(s, 4))
		ea &= ~15ull;
	uint64_t base = ea - (uint64_t)(int64_t)v->disp;
	if (v->index >= 0) {
		n->reg[v->index] = pick(s, 4) ? pick(s, 64) : session_value(s) & mask;
		base -= n->reg[v->index] * v->scale;
	}
	n->reg[v->base] = v->address32 && pick(s, 2) ? (base & mask) | session_random(s) << 32 : base & mask;
	return ea;
}

static uint64_t pick_target(struct native_session *s)
{
	return pick(s, 16) == 0 ? NATIVE_BASE + 0x4000 + pick(s, 4096) : NATIVE_ENTRY + (uint64_t)((int)pick(s, NATIVE_PAD_OTHER - 1) + 1) * NATIVE_PAD_STEP;
}

static void string_operands(struct native_session *s, const struct variant *v, struct native_state *n)
{
	const uint64_t high = v->mode == 8 && strstr(v->row->encoding, "67") ? session_random(s) << 32 : 0;
	n->eflags |= pick(s, 2) ? FLAG_DF : 0;
	n->reg[REG_SI] = high | (NATIVE_WINDOW + 128 + pick(s, 8) - (pick(s, 2) ? pick(s, 64) : 0));
	n->reg[REG_DI] = (high << 1) | (pick(s, 3) ? NATIVE_WINDOW + 128 + pick(s, 8) : (n->reg[REG_SI] & 0xffffffff) + pick(s, 9) - 4);
	n->reg[REG_CX] = high | pick(s, 14);
	if (pick(s, 16) == 0)
		n->reg[pick(s, 2) ? REG_SI : REG_DI] = pick(s, 2) ? NATIVE_DATA + 0x2000 - pick(s, 40) : NATIVE_DATA + pick(s, 40);
	if (pick(s, 2)) { /* much alike, so that comparisons go on */
		memset(n->data, (int)pick(s, 256), NATIVE_WINDOW_BYTES);
		n->data[100 + pick(s, 60)] ^= 1;
		if (pick(s, 2))
			memset(&n->reg[REG_AX], n->data[0], v->mode);
	}
}

/* Only every second time: the rest is as wild as session_fill() made it. */
static void divide_operands(struct native_session *s, const struct variant *v, struct native_state *n)
{
	const unsigned bits = v->size * 8;
	const int64_t low = (int64_t)(n->reg[REG_AX] << (64 - bits)) >> (64 - bits);
	if (pick(s, 2))
		return;
	if (bits == 8)
		n->reg[REG_AX] = (n->reg[REG_AX] & ~0xff00ull) | (pick(s, 2) ? (uint64_t)pick(s, 8) << 8 : (uint64_t)(low < 0 ? 0xff : 0) << 8);
	else
		n->reg[REG_DX] = pick(s, 2) ? pick(s, 8) : low < 0 ? ~0ull : 0;
	if (v->mode == 4)
		n->reg[REG_DX] = (uint32_t)n->reg[REG_DX];
}

static void special_operands(struct native_session *s, const struct variant *v, struct native_state *n, uint64_t ea)
{
	const uint32_t traits = v->row->traits;
	const uint64_t mode_mask = v->mode == 8 ? ~0ull : 0xffffffffull;
	if (traits & COUNT_CL)
		n->reg[REG_CX] = (n->reg[REG_CX] & ~0xffull & mode_mask) | ((v->row->undefined & KIND) == DOUBLES && v->size == 2 ? pick(s, 17) | pick(s, 8) << 5 : pick(s, 2) ? pick(s, 70) : pick(s, 256));
	if (traits & DIVIDE)
		divide_operands(s, v, n);
	if ((traits & BIT_OFFSET) && v->memory)
		n->reg[v->reg] = (uint64_t)((int64_t)pick(s, 800) - 400) & mode_mask;
	const bool addressed = v->memory && (v->base == REG_AX || v->base == REG_DX || v->index == REG_AX || v->index == REG_DX);
	if ((traits & EQUAL_AX) && !addressed && pick(s, 2))
		n->reg[REG_AX] = v->memory ? operand_get(n, ea, v->size) : n->reg[v->rm];
	/* Does a compare that fails clear the upper half of a 32-bit register operand? The manual's pseudo-code writes it back, some processors do not. */
	if ((traits & EQUAL_AX) && !v->memory && v->size == 4)
		n->reg[v->rm] = (uint32_t)n->reg[v->rm];
	if ((traits & EQUAL_PAIR) && !addressed && pick(s, 2)) {
		n->reg[REG_AX] = operand_get(n, ea, v->size);
		n->reg[REG_DX] = operand_get(n, ea + v->size, v->size);
	}
	/* of a zero source some processors clear the upper half, most leave all of the destination alone (SDM 2 BSF, footnote) */
	if ((traits & SCAN) && v->size == 4 && v->mode == 8 && !(uint32_t)(v->memory ? operand_get(n, ea, 4) : n->reg[v->rm])) {
		operand_set(n, ea, 0x00a00000, 4);
		n->reg[v->rm] = v->memory ? n->reg[v->rm] : 0x00a00000;
	}
	if (traits & XLAT)
		n->reg[REG_BX] = NATIVE_WINDOW | (v->address32 ? session_random(s) << 32 : 0);
	if ((traits & LOOPS) && pick(s, 2))
		n->reg[REG_CX] = pick(s, 3) | (pick(s, 2) ? 0 : session_random(s) << 32 & mode_mask);
	if ((traits & TARGET) && v->memory)
		operand_set(n, ea, pick_target(s), v->mode);
	else if (traits & TARGET)
		n->reg[v->rm] = pick_target(s);
	if (traits & RETURN)
		operand_set(n, NATIVE_SP, pick_target(s), v->mode);
	if (traits & POPF)
		n->stack[NATIVE_SP - NATIVE_STACK_WINDOW + 1] &= 0xfe; /* TF would trap; that is another test's */
	if (traits & (ENTER | FRAME))
		n->reg[REG_BP] = pick(s, 8) == 0 && !(traits & NO_FAULT) ? NATIVE_BASE + 0x4000 : NATIVE_SP + pick(s, 64);
	if (traits & STRINGS)
		string_operands(s, v, n);
}

void variant_fill(struct native_session *s, const struct variant *v, struct native_state *n)
{
	special_operands(s, v, n, v->memory ? place_operand(s, v, n) : 0);
}
