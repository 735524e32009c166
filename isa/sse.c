/* The table of SSE rows and what every SSE instruction has in common. */
#include "sse_rows.h"
#include <Zydis/Zydis.h>

enum { SSE_R = 1, SSE_A = 2, SSE_S = 4, SSE_F = 8 };

static const struct sse_op sse_table[] = {
#define SSE(mnemonic_, function, dst_, src_, bytes_, flags_, operand_size_)                                                                     \
	{ .mnemonic = ZYDIS_MNEMONIC_##mnemonic_, .name = #mnemonic_, .fn = sse_##function, .dst = SSE_##dst_, .src = SSE_##src_, .bytes = (bytes_), \
	  .store = ((flags_) & SSE_S) != 0, .reads_dst = ((flags_) & SSE_R) != 0, .aligned = ((flags_) & SSE_A) != 0,                                \
	  .sets_flags = ((flags_) & SSE_F) != 0, .zext_dst = SSE_##dst_ != SSE_GPR ? 0 : (operand_size_) ? (operand_size_) : 4,                      \
	  .operand_size = (operand_size_) },
#include "sse.def"
#undef SSE
};
enum { SSE_ROWS = sizeof sse_table / sizeof *sse_table };

const struct sse_op *sse_row(unsigned i)
{
	return i < SSE_ROWS ? &sse_table[i] : NULL;
}

static bool operand_fits(enum sse_operand kind, bool memory, bool gpr)
{
	switch (kind) {
	case SSE_XMM:
		return !memory && !gpr;
	case SSE_GPR:
		return gpr && !memory;
	case SSE_XM:
		return !gpr;
	case SSE_RM:
		return gpr || memory;
	case SSE_MEM:
		return memory;
	case SSE_NONE:
		break;
	}
	return false;
}

const struct sse_op *sse_find(unsigned mnemonic, bool dst_memory, bool src_memory, bool dst_gpr, bool src_gpr, unsigned operand_size)
{
	for (const struct sse_op *o = sse_table; o < sse_table + SSE_ROWS; o++)
		if (o->mnemonic == mnemonic && operand_fits(o->dst, dst_memory, dst_gpr) && operand_fits(o->src, src_memory, src_gpr) &&
		    (!o->operand_size || o->operand_size == operand_size))
			return o;
	return NULL;
}

const struct sse_op *sse_find_shift(unsigned mnemonic)
{
	for (const struct sse_op *o = sse_table; o < sse_table + SSE_ROWS; o++)
		if (o->mnemonic == mnemonic && o->src == SSE_NONE)
			return o;
	return NULL;
}

void sse_check(struct cpu *cpu)
{
	if ((cpu->cr0 & CR0_EM) || !(cpu->cr4 & CR4_OSFXSR))
		cpu_raise(cpu, VEC_UD);
	if (cpu->cr0 & CR0_TS)
		cpu_raise(cpu, VEC_NM);
}

_Noreturn void sse_raise(struct cpu *cpu)
{
	cpu_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
}

/* Bytes from `at` on that lie in one page. */
static unsigned bytes_in_page(uint64_t linear, unsigned at)
{
	const unsigned left = 4096 - (unsigned)(linear & 4095);
	return left < 16 - at ? left : 16 - at;
}

/* A page of the destination in which no byte is selected is never looked at; one in which some is, is probed whole before anything is written, so that a fault
 * leaves memory untouched and CR2 is the start of the operand there (SDM 2 MASKMOVDQU leaves the faults of an all-zero mask to the implementation). */
void sys_maskmovdqu(struct cpu *cpu, const struct sys_operands *o)
{
	const uint64_t width = o->address_size == 8 ? ~0ull : o->address_size == 4 ? 0xffffffffull : 0xffffull;
	const union xmm data = cpu->xmm[o->reg & 15], mask = cpu->xmm[o->rm & 15];
	uint64_t linear[16];
	sse_check(cpu);
	for (unsigned i = 0; i < 16; i++)
		linear[i] = segment_linear(cpu, (enum segment_name)o->seg, (cpu->reg[REG_DI] + i) & width, 1, ACCESS_WRITE);
	for (unsigned i = 0, n; i < 16; i += n) {
		bool selected = false;
		n = bytes_in_page(linear[i], i);
		for (unsigned k = 0; k < n; k++)
			selected |= mask.b[i + k] >> 7;
		if (selected)
			mem_probe_write(cpu, linear[i], n, false);
	}
	for (unsigned i = 0; i < 16; i++)
		if (mask.b[i] & 0x80)
			mem_write(cpu, linear[i], &data.b[i], 1, false);
}
