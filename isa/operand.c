/* Operands of system instructions. */
#include "transfer.h"

void register_write(struct cpu *cpu, unsigned reg, uint64_t value, unsigned size)
{
	uint64_t keep = size < 4 ? ~width_mask(size) : 0;
	cpu->reg[reg] = (cpu->reg[reg] & keep) | (value & width_mask(size));
}

uint64_t operand_read(struct cpu *cpu, const struct sys_operands *o, unsigned size)
{
	if (!o->memory)
		return cpu->reg[o->rm] & width_mask(size);
	return mem_read_u(cpu, segment_linear(cpu, o->seg, o->offset, size, ACCESS_READ), size, false);
}

void operand_write(struct cpu *cpu, const struct sys_operands *o, uint64_t value, unsigned size)
{
	if (!o->memory)
		register_write(cpu, o->rm, value, size);
	else
		mem_write_u(cpu, segment_linear(cpu, o->seg, o->offset, size, ACCESS_WRITE), value & width_mask(size), size, false);
}
