#include "flags.h"

uint32_t flags_get(const struct cpu *cpu)
{
	const struct lazy_flags *f = &cpu->flags;
	if (f->op == FLAGS_EXPLICIT)
		return f->result & FLAGS_ARITH;
	return (flags_cf(f) ? FLAG_CF : 0) | (flags_pf(f) ? FLAG_PF : 0) | (flags_af(f) ? FLAG_AF : 0) | (flags_zf(f) ? FLAG_ZF : 0) | (flags_sf(f) ? FLAG_SF : 0) |
	       (flags_of(f) ? FLAG_OF : 0);
}

void flags_set(struct cpu *cpu, uint32_t arith)
{
	flags_put(cpu, FLAGS_EXPLICIT, arith & FLAGS_ARITH, 0, 0);
}

uint32_t cpu_eflags(const struct cpu *cpu)
{
	return (cpu->eflags & ~FLAGS_ARITH) | 2 | flags_get(cpu);
}
