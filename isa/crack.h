/*
 * The crack: x86 instructions, decoded by Zydis, become micro-ops.
 *
 * Invariant: what a block's micro-ops do depends on the code bytes, the offset in CS and the mode key only; so a block may be kept and found again by those.
 * Within an instruction every micro-op that can fault comes before the first that changes architectural state (writes after an RMW cannot fault any more).
 */
#ifndef ISA_CRACK_H
#define ISA_CRACK_H
#include "block.h"
#include "sse.h"
#include "system.h"
#include <Zydis/Zydis.h>

enum {
	CRACK_MAX_UOPS = 640,
	CRACK_UOPS_PER_INSN = 24, /* room that one instruction may need (PUSHA in a segment that is not flat) */
	CRACK_MAX_SYS = 8,
};

enum crack_result { CRACK_DONE, CRACK_MORE_BYTES /* the first instruction is not complete */ };

struct crack {
	ZydisDecoder decoder[3];    /* 64, 32, 16 bits */
	/* in */
	const uint8_t *code;
	unsigned avail, max_insns;  /* bytes that may be looked at; instructions at most */
	uint64_t pc;                /* offset in CS of code[0] */
	uint32_t key;
	/* out */
	struct uop uop[CRACK_MAX_UOPS];
	struct uop_sys sys[CRACK_MAX_SYS]; /* micro-ops sys and sys_end: imm is an index here until the block is made */
	unsigned uops, syss, insns, bytes;
	enum block_end end;
	uint64_t next_pc[2];
	struct block_static facts;
	/* the instruction being cracked */
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	unsigned offset, temps;
	bool ended;
};

struct crack_row {
	bool (*crack)(struct crack *c, const struct crack_row *row); /* false: not in the subset after all */
	uint16_t op;       /* first micro-op of the family, or a number of the row's own */
	uint8_t aux;
	uint8_t sensitive; /* enum sensitive + 1, or 0 */
	sys_fn *sys;
};
extern const struct crack_row crack_rows[ZYDIS_MNEMONIC_MAX_VALUE + 1];

void crack_create(struct crack *c);
/* Fills the outputs from the inputs. */
enum crack_result crack_block(struct crack *c);

/* ---- for the crack_*.c files ---- */
struct crack_address {
	enum uop_form form;
	uint8_t base, index, scale, seg;
	int32_t disp;
	uint64_t imm;
};

static inline unsigned crack_mode(const struct crack *c) { return c->key & KEY_CODE_SIZE; }
static inline uint64_t crack_mask(unsigned bytes) { return bytes >= 8 ? ~0ull : (1ull << bytes * 8) - 1; }
static inline unsigned crack_lg(unsigned bytes) { return (unsigned)__builtin_ctz(bytes); }
static inline unsigned crack_operand_size(const struct crack *c) { return c->insn.operand_width / 8; }
static inline unsigned crack_address_size(const struct crack *c) { return c->insn.address_width / 8; }
static inline bool crack_is_memory(const struct crack *c, unsigned i) { return c->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY; }
static inline bool crack_is_register(const struct crack *c, unsigned i) { return c->operand[i].type == ZYDIS_OPERAND_TYPE_REGISTER; }
static inline bool crack_is_immediate(const struct crack *c, unsigned i) { return c->operand[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE; }
/* Offset of the next instruction. */
uint64_t crack_next(const struct crack *c);

struct uop *crack_emit(struct crack *c, unsigned op);
struct uop *crack_emit3(struct crack *c, unsigned op, unsigned dst, unsigned a, unsigned b);
/* A fresh temporary of this instruction: REG_T0 .. REG_T4 (REG_T5 holds addresses). */
unsigned crack_temp(struct crack *c);
/* enum reg of an integer register; *high: AH, CH, DH or BH. */
unsigned crack_register(ZydisRegister r, bool *high);
/* enum segment_name of a Zydis segment register. */
unsigned crack_segment(ZydisRegister r);
/* The linear address of memory operand i, with the micro-ops that it needs. `size` bytes are accessed. */
struct crack_address crack_ea(struct crack *c, unsigned i, unsigned size, enum access access);
/* The same for an offset that a register already holds: bit strings, XLAT. */
struct crack_address crack_ea_moved(struct crack *c, unsigned i, unsigned offset_reg, unsigned size, enum access access);
/* A plain address: base + disp, linear already. */
struct crack_address crack_at(const struct crack *c, unsigned base, int32_t disp, unsigned seg);
/* A memory micro-op of the family whose form bd is `op`. */
struct uop *crack_memory(struct crack *c, unsigned op, const struct crack_address *ea);
/* The raw effective address of operand i (no segment) into dst. */
void crack_lea(struct crack *c, unsigned i, unsigned dst);
/* The register (or temporary) that holds operand i; upper bits beyond `size` are not defined for registers. */
unsigned crack_read(struct crack *c, unsigned i, unsigned size);
/* Writes `size` bytes of register `from` to integer register operand i. */
void crack_write_register(struct crack *c, unsigned i, unsigned from, unsigned size);

/* A destination that is read and written: registers in place, AH.. through a temporary, memory by RMW. */
struct crack_target {
	unsigned reg, i, size;
	bool high, memory;
	struct crack_address ea;
};
struct crack_target crack_open(struct crack *c, unsigned i, unsigned size);
void crack_close(struct crack *c, const struct crack_target *t);

/* Pushes and pops by the stack's size. */
void crack_push(struct crack *c, unsigned reg, unsigned size);
void crack_push_imm(struct crack *c, uint64_t imm, unsigned size);
void crack_pop_load(struct crack *c, unsigned dst, unsigned size, unsigned base);
void crack_add_sp(struct crack *c, int32_t by);
/* Ends the block. */
void crack_finish(struct crack *c, enum block_end end);
void crack_fault(struct crack *c, enum vector v, bool has_error);
/* Emits a call of a C helper; a, b, size, seg, disp are its arguments. */
struct uop *crack_help(struct crack *c, uop_help_fn *fn);

typedef bool crack_fn(struct crack *c, const struct crack_row *row);
crack_fn crack_alu, crack_compare, crack_step, crack_not, crack_shift, crack_rotate, crack_double_shift, crack_mul, crack_imul, crack_div, crack_bt, crack_bit, crack_scan,
	crack_cmpxchg, crack_cmpxchg8b, crack_cmpxchg16b, crack_xadd, crack_bswap, crack_mov, crack_movzx, crack_movsx, crack_lea_insn, crack_xchg, crack_simple, crack_widen,
	crack_setcc, crack_cmov, crack_nop, crack_clflush, crack_xlat, crack_movnti, crack_bcd;
crack_fn crack_push_insn, crack_pop_insn, crack_pusha, crack_leave, crack_jmp, crack_call, crack_ret, crack_jcc, crack_loop, crack_string, crack_sys, crack_ud;
crack_fn crack_sse;
/* A system instruction that a VMM may trap: ends the block. */
bool crack_sensitive(struct crack *c, sys_fn *fn, enum sensitive s);
/* String MOVSD and CMPSD share their names with SSE's. */
crack_fn crack_string_or_sse;

/* ---- C helpers of micro-op `help` (isa/uop_help.c, isa/uop_string.c) ---- */
uop_help_fn help_daa, help_das, help_aaa, help_aas, help_aam, help_aad, help_pusha, help_popa, help_string;
enum string_kind { STRING_MOVS, STRING_CMPS, STRING_SCAS, STRING_STOS, STRING_LODS };
#endif
