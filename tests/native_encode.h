/*
 * Integer instructions by their encoding: rows of native_integer.def, and random forms of them with operands to match.
 *
 * Invariant: whatever form is chosen, its memory operand lies in one of the two windows of a native_state, or faults.
 */
#ifndef TESTS_NATIVE_ENCODE_H
#define TESTS_NATIVE_ENCODE_H
#include "native_oracle.h"

enum trait {
	LOCKABLE = 1, ONLY32 = 2, ONLY64 = 4, MEMORY = 8 /* no register form */, ANY_ADDRESS = 0x10, IMM_COUNT = 0x20, COUNT_1 = 0x40, COUNT_CL = 0x80, DIVIDE = 0x100,
	BIT_OFFSET = 0x200, EQUAL_AX = 0x2000, EQUAL_PAIR = 0x4000, TWICE = 0x8000, XLAT = 0x10000, BRANCH = 0x20000,
	LOOPS = 0x40000, TARGET = 0x80000, RETURN = 0x100000, POPF = 0x200000, ENTER = 0x400000, FRAME = 0x800000, BOUNDS = 0x2000000,
	STRINGS = 0x4000000, SCAN = 0x8000000, NO_FAULT = 0x10000000, /* which fault or how much of it was done before is up to the processor */
	/* traits whose operands are in AX, CX, DX, BX: those are then not part of an address */
	FIXED_OPERANDS = COUNT_CL | DIVIDE | XLAT | LOOPS | STRINGS,
};

/* Undefined flags that depend on the count: kind << 16 beside the flags; operand bits go to 23:20 as log2, an immediate count + 1 to 31:24. */
enum { SHIFTS = 1 << 16, SHIFTS_SIGNED = 2 << 16, ROTATES = 3 << 16, DOUBLES = 4 << 16, KIND = 7 << 16 };

struct row {
	const char *name, *encoding, *sizes;
	uint32_t undefined, traits;
};
/* Row i of native_integer.def; NULL after the last. */
const struct row *row_get(unsigned i);

struct variant { /* one encoding of a row, and how its operands are reached */
	const struct row *row;
	unsigned mode, size; /* operand bytes */
	bool memory, address32, has_modrm;
	unsigned reg, rm;
	int base, index;     /* enum reg; -1: none */
	unsigned scale;      /* 1, 2, 4, 8 */
	int32_t disp;
	uint64_t fixed_ea;   /* of forms without a base */
	int pad;             /* branch target: NATIVE_ENTRY + pad * NATIVE_PAD_STEP */
	struct native_code code;
};

/* Operand bytes of a letter of row.sizes; s and n: the mode's own. */
static inline unsigned row_bytes(char size, unsigned mode)
{
	return size == 'b' ? 1 : size == 'w' ? 2 : size == 'd' ? 4 : size == 'q' ? 8 : mode;
}
/* Fills in everything but row, mode, size and memory, and appends the encoding to v->code (which may hold instructions already). `plain`: no base register
 * but BX, and branches go to pad 2 only, so that instructions may stand in a row. */
void variant_encode(struct native_session *s, struct variant *v, bool plain);
/* Gives registers and memory of a state values that suit the form. */
void variant_fill(struct native_session *s, const struct variant *v, struct native_state *n);
/* What shifts and rotates leave undefined (a native_code.undefined). */
uint32_t shift_undefined(const struct native_state *before, uint32_t fixed);
#endif
