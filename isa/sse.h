/*
 * SSE and SSE2 by meaning: one row an instruction (isa/sse.def), one pure function each over XMM values.
 *
 * Invariant: a function changes dst (and MXCSR flags, or an integer register result) only when it returns true; false means that an unmasked SIMD floating-point exception is due
 * (#XM, or #UD without CR4.OSXMMEXCPT), with MXCSR flags already set as SDM 1 11.5.2 says.
 */
#ifndef ISA_SSE_H
#define ISA_SSE_H
#include "cpu.h"

enum sse_operand { /* what dst and src are */
	SSE_XMM,     /* an XMM register */
	SSE_GPR,     /* an integer register: arrives and leaves in q[0] of the union */
	SSE_XM,      /* XMM register or memory of `bytes` */
	SSE_RM,      /* integer register or memory */
	SSE_MEM,     /* memory only */
	SSE_NONE,    /* no second operand: the immediate alone (PSLLDQ x, i; PSLLW x, i); src is not looked at */
};

typedef bool sse_fn(struct cpu *cpu, union xmm *dst, const union xmm *src, unsigned imm);

struct sse_op {
	unsigned mnemonic;      /* ZydisMnemonic */
	const char *name;
	sse_fn *fn;
	uint8_t dst, src;       /* enum sse_operand */
	uint8_t bytes;          /* of a memory source (or destination for stores): 1, 2, 4, 8, 16 */
	bool store;             /* dst may be memory: MOVUPS m, x */
	bool reads_dst;         /* dst is also a source */
	bool aligned;           /* 16-byte memory operand must be aligned: #GP(0) */
	bool sets_flags;        /* COMISS and kin: fn writes arithmetic flags itself */
	uint8_t zext_dst;       /* for SSE_GPR destinations: 4 or 8 bytes written */
	uint8_t operand_size;   /* 4 or 8: the row is for that operand size only; 0: for any */
};
/* The row for a Zydis mnemonic with this operand shape; NULL: outside the subset. operand_size: 4 or 8 for GPR forms. `dst_memory`: operand 0 is memory; `src_memory`: operand 1 is memory; gpr
 * flags say that the operand is an integer register. MMX registers are outside the subset. */
const struct sse_op *sse_find(unsigned mnemonic, bool dst_memory, bool src_memory, bool dst_gpr, bool src_gpr, unsigned operand_size);

/* The row for the forms whose second and last operand is an immediate: PSLLW x, i and kin, PSLLDQ, PSRLDQ. */
const struct sse_op *sse_find_shift(unsigned mnemonic);
/* Row i of the table, for tests and listings; NULL after the last. */
const struct sse_op *sse_row(unsigned i);
/* MASKMOVDQU: stores bytes of xmm[o->reg] where xmm[o->rm] has its sign bits, at o->seg:rDI (o->address_size). Does sse_check() itself. */
sys_fn sys_maskmovdqu;

/* FXSAVE/FXRSTOR/LDMXCSR/STMXCSR/FNINIT/FWAIT/... (isa/fxsave.c) as sys_fn. */
sys_fn sys_fxsave, sys_fxrstor, sys_ldmxcsr, sys_stmxcsr, sys_fninit, sys_fnsave, sys_frstor, sys_fnstcw, sys_fldcw, sys_fnstsw, sys_fnclex, sys_fwait, sys_emms;
/* What must be checked before any SSE instruction: CR0.EM -> #UD, CR4.OSFXSR -> #UD, CR0.TS -> #NM (SDM 3A table 13-1). Raises. */
void sse_check(struct cpu *cpu);
/* #XM or #UD after a function returned false. */
_Noreturn void sse_raise(struct cpu *cpu);
#endif
