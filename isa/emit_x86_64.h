/*
 * A small emitter of x86-64 machine code (SDM 2A chapter 2, "Instruction format").
 *
 * Invariant: nothing is written at or past `end`; when room runs out `full` is set, the rest is dropped, and the caller throws the whole piece away.
 *
 * Code is written through one mapping and runs in another (no page is writable and executable): `at` is where it is written, `to_run` is added for where it runs.
 */
#ifndef ISA_EMIT_X86_64_H
#define ISA_EMIT_X86_64_H
#include <stdbool.h>
#include <stdint.h>

enum emit_register { /* the encoding's numbers */
	HOST_AX, HOST_CX, HOST_DX, HOST_BX, HOST_SP, HOST_BP, HOST_SI, HOST_DI, HOST_8, HOST_9, HOST_10, HOST_11, HOST_12, HOST_13, HOST_14, HOST_15, HOST_NONE = 255
};

struct emit {
	uint8_t *at, *end;
	int64_t to_run;
	bool full;
};

/* An operand: a register, or memory at base + (index << scale) + disp. base HOST_NONE: none. */
struct emit_place {
	bool memory;
	uint8_t base; /* the register itself when not memory */
	uint8_t index, scale;
	int32_t disp;
};
static inline struct emit_place emit_register(unsigned r) { return (struct emit_place){ .base = (uint8_t)r, .index = HOST_NONE }; }
static inline struct emit_place emit_memory(unsigned base, int32_t disp) { return (struct emit_place){ true, (uint8_t)base, HOST_NONE, 0, disp }; }
static inline struct emit_place emit_indexed(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
	return (struct emit_place){ true, (uint8_t)base, (uint8_t)index, (uint8_t)scale, disp };
}

/* Opcodes that emit_op() takes: the form for 16 to 64 bits; with size 1 the low bit is cleared, as the manual's tables have it. 0x0f in the second byte: two-byte opcodes,
 * whose size is the destination's. 0xf3.. or 0x66.. in the third: a mandatory prefix. */
enum {
	OP_LOAD = 0x8b, OP_STORE = 0x89, OP_LEA = 0x8d, OP_TEST = 0x85, OP_XCHG = 0x87, OP_MOVSXD = 0x63, OP_IMUL = 0x0faf, OP_MOVZX8 = 0x0fb6, OP_MOVZX16 = 0x0fb7, OP_MOVSX8 = 0x0fbe,
	OP_MOVSX16 = 0x0fbf, OP_GROUP3 = 0xf7, OP_GROUP5 = 0xff, OP_SETCC = 0x0f90, OP_CMOV = 0x0f40, OP_MOVAPS_LOAD = 0x0f28, OP_MOVAPS_STORE = 0x0f29, OP_MOVUPS_LOAD = 0x0f10, OP_MOVUPS_STORE = 0x0f11, OP_MOVQ_LOAD = 0xf30f7e,
	OP_MOVQ_STORE = 0x660fd6, OP_GROUP15 = 0x0fae, OP_BT = 0x0fa3, OP_BTS = 0x0fab, OP_CMP = 0x3b, OP_MOVD_LOAD = 0x660f6e, OP_MOVD_STORE = 0x660f7e,
};
enum emit_alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP }; /* ORDER ALU: the encoding's numbers */
enum emit_shift { SHIFT_ROL = 0, SHIFT_ROR = 1, SHIFT_RCL = 2, SHIFT_RCR = 3, SHIFT_SHL = 4, SHIFT_SHR = 5, SHIFT_SAR = 7 };
enum emit_condition { CC_O, CC_NO, CC_B, CC_AE, CC_Z, CC_NZ, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

void emit_bytes(struct emit *e, const void *bytes, unsigned n);
/* One instruction with ModRM: `reg` is the register operand or the opcode's extension; size: bytes. */
void emit_op(struct emit *e, unsigned size, unsigned op, unsigned reg, struct emit_place place);
/* reg = reg alu place. */
static inline void emit_alu(struct emit *e, unsigned size, enum emit_alu alu, unsigned reg, struct emit_place place) { emit_op(e, size, alu * 8 + 3, reg, place); }
/* place = place alu immediate. */
void emit_alu_imm(struct emit *e, unsigned size, enum emit_alu alu, struct emit_place place, int32_t imm);
void emit_shift_imm(struct emit *e, unsigned size, enum emit_shift shift, struct emit_place place, unsigned count);
/* reg = imm, all 64 bits; never touches the flags. */
void emit_mov_imm(struct emit *e, unsigned reg, uint64_t imm);
/* place = imm, sign-extended to size 8. */
void emit_store_imm(struct emit *e, unsigned size, struct emit_place place, int32_t imm);
/* Reverses the bytes of a register; size 4 or 8. */
void emit_bswap_register(struct emit *e, unsigned size, unsigned reg);
void emit_push(struct emit *e, unsigned reg);
void emit_pop(struct emit *e, unsigned reg);
void emit_ret(struct emit *e);
/* Jumps and calls by a 32-bit distance: return the place of the distance, for emit_patch(). cc: enum emit_condition. */
uint8_t *emit_jump(struct emit *e);
uint8_t *emit_jump_if(struct emit *e, unsigned cc);
uint8_t *emit_call(struct emit *e);
/* Makes the jump whose distance is at `site` go to `target`; both in the writable mapping. NULL sites are left alone. */
void emit_patch(uint8_t *site, const uint8_t *target);
static inline void emit_jump_to(struct emit *e, const uint8_t *target) { emit_patch(emit_jump(e), target); }
static inline void emit_call_to(struct emit *e, const uint8_t *target) { emit_patch(emit_call(e), target); }
#endif
