#include "flags.h"

/* CF, AF and OF together: their common cases, one look at the kind. */
static uint32_t flags_carries(const struct lazy_flags *f)
{
	return (flags_cf(f) ? FLAG_CF : 0) | (flags_af(f) ? FLAG_AF : 0) | (flags_of(f) ? FLAG_OF : 0);
}

uint32_t flags_get(const struct cpu *cpu)
{
	const struct lazy_flags *f = &cpu->flags;
	if (f->op == FLAGS_EXPLICIT)
		return f->result & FLAGS_ARITH;
	uint64_t r = f->result;
	uint32_t low = r & 0xf, top = r >> flags_top(f) & 1;
	uint32_t common = (__builtin_parity(r & 0xff) ? 0 : FLAG_PF) | (r ? 0 : FLAG_ZF) | top * FLAG_SF;
	uint64_t edge = 1ull << flags_top(f);
	switch (f->op & ~3u) {
	case FLAGS_LOGIC: return common;
	case FLAGS_INC: return common | (f->extra ? FLAG_CF : 0) | (low == 0 ? FLAG_AF : 0) | (r == edge ? FLAG_OF : 0);
	case FLAGS_DEC: return common | (f->extra ? FLAG_CF : 0) | (low == 0xf ? FLAG_AF : 0) | (r == edge - 1 ? FLAG_OF : 0);
	default: return common | flags_carries(f);
	}
}

void flags_set(struct cpu *cpu, uint32_t arith)
{
	flags_put(cpu, FLAGS_EXPLICIT, arith & FLAGS_ARITH, 0, 0);
}

uint32_t cpu_eflags(const struct cpu *cpu)
{
	return (cpu->eflags & ~FLAGS_ARITH) | 2 | flags_get(cpu);
}
