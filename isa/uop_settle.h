/*
 * Making the architectural state exact in the middle of a block.
 *
 * Invariant: a block's instructions are counted when it is entered. Before anything outside the engine may look (a port, a helper, an exception), uop_settle() takes back the
 * ones that have not retired and gives rip; uop_resume() undoes it and looks at what the port may have changed.
 */
#ifndef ISA_UOP_SETTLE_H
#define ISA_UOP_SETTLE_H
#include "block.h"

static inline uint64_t code_mask(const struct cpu *cpu)
{
	return cpu->code_size == 8 ? ~0ull : 0xffffffffull;
}

static inline void uop_settle(struct cpu *cpu, const struct uop *u)
{
	const struct block *b = cpu->block;
	cpu->at = u;
	cpu->rip = (b->pc + u->offset) & code_mask(cpu);
	cpu->icount -= b->insns - u->insn;
}

static inline void uop_resume(struct cpu *cpu, const struct uop *u)
{
	cpu->icount += cpu->block->insns - u->insn;
	cpu->at = NULL;
	block_stamp_now(cpu);
}

/* Settle and raise. */
_Noreturn void uop_raise(struct cpu *cpu, const struct uop *u, enum vector v);
_Noreturn void uop_raise_error(struct cpu *cpu, const struct uop *u, enum vector v, uint32_t error);
#endif
