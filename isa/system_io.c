/* Port I/O: SDM 1 chapter 19, 2A IN, INS, 2B OUT, OUTS. */
#include "transfer.h"

enum { IO_STRING_BATCH = 32 }; /* elements of a REP INS or OUTS between two looks at interrupts */

/* SDM 1 19.5.2: the I/O permission bitmap; its offset stands at 102 of the TSS, 32-bit and 64-bit alike. Two bytes are always read. */
static bool io_permitted(struct cpu *cpu, uint16_t port, unsigned size)
{
	if (!cpu_protected(cpu) || cpu->cpl <= cpu_iopl(cpu))
		return true;
	const struct segment *tr = &cpu->tr;
	bool tss32 = !(tr->attributes & (SEGA_UNUSABLE | SEGA_S)) && (tr->attributes & SEGA_P) && (tr->attributes & SEGA_TYPE & ~(uint32_t)TSS_BUSY) == TYPE_TSS;
	if (!tss32 || tr->limit < 103)
		return false;
	uint64_t wrap = cpu_long_mode(cpu) ? ~0ull : 0xffffffff;
	uint32_t at = (uint32_t)mem_read_u(cpu, (tr->base + 102) & wrap, 2, true) + port / 8;
	if (at + 1 > tr->limit)
		return false;
	uint32_t bits = (uint32_t)mem_read_u(cpu, (tr->base + at) & wrap, 2, true) >> (port & 7);
	return !(bits & ((1u << size) - 1));
}

static uint16_t io_port_of(const struct cpu *cpu, const struct sys_operands *o)
{
	return o->reg == REG_DX ? (uint16_t)cpu->reg[REG_DX] : (uint16_t)(o->imm & 0xff);
}

/* Reads a port into the low bytes of RAX, through the VMM's hooks where they want it. */
static void io_read(struct cpu *cpu, uint16_t port, unsigned size, bool permitted)
{
	uint64_t operand = port | (uint64_t)size << 16;
	if (!permitted) {
		privilege_failed(cpu, SENS_IO_IN, operand, 0);
		return;
	}
	if (sensitive_event(cpu, SENS_IO_IN, operand, 0, false))
		return;
	uint32_t value = cpu->io.in ? cpu->io.in(cpu->io.self, cpu, port, size) : ~0u;
	register_write(cpu, REG_AX, value, size);
}

static void io_write(struct cpu *cpu, uint16_t port, unsigned size, uint32_t value, bool permitted)
{
	uint64_t operand = port | (uint64_t)size << 16;
	value &= (uint32_t)width_mask(size);
	if (!permitted) {
		privilege_failed(cpu, SENS_IO_OUT, operand, value);
		return;
	}
	if (sensitive_event(cpu, SENS_IO_OUT, operand, value, true))
		return;
	if (cpu->io.out)
		cpu->io.out(cpu->io.self, cpu, port, size, value);
}

void sys_in(struct cpu *cpu, const struct sys_operands *o)
{
	uint16_t port = io_port_of(cpu, o);
	io_read(cpu, port, o->size, io_permitted(cpu, port, o->size));
}

void sys_out(struct cpu *cpu, const struct sys_operands *o)
{
	uint16_t port = io_port_of(cpu, o);
	io_write(cpu, port, o->size, (uint32_t)cpu->reg[REG_AX], io_permitted(cpu, port, o->size));
}

static void string_advance(struct cpu *cpu, const struct sys_operands *o, unsigned index)
{
	uint64_t step = cpu->eflags & FLAG_DF ? -(uint64_t)o->size : o->size;
	register_write(cpu, index, cpu->reg[index] + step, o->address_size);
	if (o->rep) {
		register_write(cpu, REG_CX, cpu->reg[REG_CX] - 1, o->address_size);
		event_put(cpu->events, EV_REP, 0, 0, 1, 0);
	}
}

/* The hooks of a VMM leave their value in RAX; here it goes on to memory and RAX comes back. */
static void ins_one(struct cpu *cpu, const struct sys_operands *o)
{
	uint16_t port = (uint16_t)cpu->reg[REG_DX];
	bool permitted = io_permitted(cpu, port, o->size);
	if (!permitted && !cpu->vmm.privileged)
		privilege_failed(cpu, SENS_IO_IN, port | (uint64_t)o->size << 16, 0);
	uint64_t to = segment_linear(cpu, SEG_ES, cpu->reg[REG_DI] & width_mask(o->address_size), o->size, ACCESS_WRITE);
	mem_probe_write(cpu, to, o->size, false); /* before the device sees the read */
	uint64_t keep = cpu->reg[REG_AX];
	io_read(cpu, port, o->size, permitted);
	uint64_t value = cpu->reg[REG_AX] & width_mask(o->size);
	cpu->reg[REG_AX] = keep;
	mem_write_u(cpu, to, value, o->size, false);
	string_advance(cpu, o, REG_DI);
}

static void outs_one(struct cpu *cpu, const struct sys_operands *o)
{
	uint16_t port = (uint16_t)cpu->reg[REG_DX];
	bool permitted = io_permitted(cpu, port, o->size);
	if (!permitted && !cpu->vmm.privileged)
		privilege_failed(cpu, SENS_IO_OUT, port | (uint64_t)o->size << 16, 0);
	uint64_t from = segment_linear(cpu, o->seg, cpu->reg[REG_SI] & width_mask(o->address_size), o->size, ACCESS_READ);
	io_write(cpu, port, o->size, (uint32_t)mem_read_u(cpu, from, o->size, false), permitted);
	string_advance(cpu, o, REG_SI);
}

static void string_run(struct cpu *cpu, const struct sys_operands *o, void (*one)(struct cpu *cpu, const struct sys_operands *o))
{
	if (!o->rep) {
		one(cpu, o);
		return;
	}
	uint64_t mask = width_mask(o->address_size);
	for (unsigned i = 0; cpu->reg[REG_CX] & mask; i++) {
		if (i == IO_STRING_BATCH) {
			cpu->rip = cpu_insn_start(cpu);
			return;
		}
		one(cpu, o);
	}
}

void sys_ins(struct cpu *cpu, const struct sys_operands *o)
{
	string_run(cpu, o, ins_one);
}

void sys_outs(struct cpu *cpu, const struct sys_operands *o)
{
	string_run(cpu, o, outs_one);
}
