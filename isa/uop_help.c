/* The C functions behind helper micro-ops: system instructions, decimal adjustment, PUSHA, and leaving a block. */
#include "crack.h"
#include "flags.h"
#include "transfer.h"
#include "uop_settle.h"

_Noreturn void uop_raise(struct cpu *cpu, const struct uop *u, enum vector v)
{
	uop_settle(cpu, u);
	cpu_raise(cpu, v);
}

_Noreturn void uop_raise_error(struct cpu *cpu, const struct uop *u, enum vector v, uint32_t error)
{
	uop_settle(cpu, u);
	cpu_raise_error(cpu, v, error);
}

uint64_t cpu_insn_start(const struct cpu *cpu)
{
	return cpu->at ? (cpu->block->pc + cpu->at->offset) & code_mask(cpu) : cpu->rip;
}

/* ---- system instructions ---- */
sys_quick_fn *sys_quick_find(sys_fn *fn)
{
	static const struct { sys_fn *fn; sys_quick_fn *quick; } rows[] = { { sys_syscall, quick_syscall }, { sys_sysret, quick_sysret }, { sys_swapgs, quick_swapgs },
		{ sys_int_n, quick_int_n }, { sys_iret, quick_iret } };
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].fn == fn)
			return rows[i].quick;
	return NULL;
}

static void sys_call(struct cpu *cpu, const struct uop *u)
{
	const struct uop_sys *s = (const struct uop_sys *)(uintptr_t)u->imm;
	if (!s->mask) {
		cpu->rip = s->o.next;
		s->fn(cpu, &s->o);
		return;
	}
	struct sys_operands o = s->o;
	o.offset = (o.offset + cpu->reg[u->a] + (cpu->reg[u->index] << u->scale)) & s->mask;
	cpu->rip = o.next;
	s->fn(cpu, &o);
}

void uop_sys_call(struct cpu *cpu, const struct uop *u);
void uop_sys_call(struct cpu *cpu, const struct uop *u)
{
	uop_settle(cpu, u);
	sys_call(cpu, u);
	uop_resume(cpu, u);
}

/* The instruction at `u` did not retire, nor did any after it: takes them back and says so. icount is settled already. */
static void block_cut(struct cpu *cpu, const struct uop *u)
{
	unsigned cut = cpu->block->insns - u->insn;
	cpu->budget += cut;
	event_put(cpu->events, EV_CUT, 0, 0, cut, 0);
	cpu->at = NULL;
}

bool uop_sys_end_call(struct cpu *cpu, const struct uop *u);
/* False: the instruction is to go on later, through the dispatcher. */
bool uop_sys_end_call(struct cpu *cpu, const struct uop *u)
{
	const struct uop_sys *s = (const struct uop_sys *)(uintptr_t)u->imm;
	bool again = s->o.rep != 0;
	if (s->quick && s->quick(cpu, u, &s->o))
		return true;
	uop_settle(cpu, u);
	uint64_t start = cpu->rip;
	sys_call(cpu, u);
	if (again && cpu->rip == start) { /* INS, OUTS: iterations remain */
		block_cut(cpu, u);
		return false;
	}
	uop_resume(cpu, u);
	return true;
}

void uop_leave_call(struct cpu *cpu, const struct uop *u);
void uop_leave_call(struct cpu *cpu, const struct uop *u)
{
	uop_settle(cpu, u);
	block_cut(cpu, u);
}

_Noreturn void uop_unknown_raise(struct cpu *cpu, const struct uop *u);
_Noreturn void uop_unknown_raise(struct cpu *cpu, const struct uop *u)
{
	unknown_opcodes_count(cpu->unknown, (unsigned)u->imm);
	uop_raise(cpu, u, VEC_UD);
}

/* ---- decimal adjustment (SDM 2A "DAA" and following, their pseudocode) ---- */
static void flags_decimal(struct cpu *cpu, uint8_t al, bool cf, bool af)
{
	flags_put(cpu, FLAGS_PARTIAL, al, (cf ? FLAG_CF : 0) | (af ? FLAG_AF : 0), 0);
}

static void put_al(struct cpu *cpu, uint8_t al) { cpu->reg[REG_AX] = (cpu->reg[REG_AX] & ~0xffull) | al; }
static void put_ax(struct cpu *cpu, uint16_t ax) { cpu->reg[REG_AX] = (cpu->reg[REG_AX] & ~0xffffull) | ax; }

void help_daa(struct cpu *cpu, const struct uop *u)
{
	(void)u;
	uint8_t al = (uint8_t)cpu->reg[REG_AX], old = al;
	bool old_cf = flags_cf(&cpu->flags), af = (al & 0xf) > 9 || flags_af(&cpu->flags), high = old > 0x99 || old_cf;
	al = (uint8_t)(al + (af ? 6 : 0) + (high ? 0x60 : 0));
	put_al(cpu, al);
	flags_decimal(cpu, al, high, af);
}

void help_das(struct cpu *cpu, const struct uop *u)
{
	(void)u;
	uint8_t al = (uint8_t)cpu->reg[REG_AX], old = al;
	bool old_cf = flags_cf(&cpu->flags), af = (al & 0xf) > 9 || flags_af(&cpu->flags), high = old > 0x99 || old_cf;
	bool borrow = af && old < 6;
	al = (uint8_t)(al - (af ? 6 : 0) - (high ? 0x60 : 0));
	put_al(cpu, al);
	flags_decimal(cpu, al, high || borrow, af);
}

static void adjust_ascii(struct cpu *cpu, int by)
{
	uint16_t ax = (uint16_t)cpu->reg[REG_AX];
	bool yes = (ax & 0xf) > 9 || flags_af(&cpu->flags);
	if (yes)
		ax = (uint16_t)(ax + by * 0x106);
	ax &= 0xff0f;
	put_ax(cpu, ax);
	flags_decimal(cpu, (uint8_t)ax, yes, yes);
}

void help_aaa(struct cpu *cpu, const struct uop *u) { (void)u; adjust_ascii(cpu, 1); }
void help_aas(struct cpu *cpu, const struct uop *u) { (void)u; adjust_ascii(cpu, -1); }

void help_aam(struct cpu *cpu, const struct uop *u)
{
	uint8_t al = (uint8_t)cpu->reg[REG_AX], by = (uint8_t)u->disp;
	if (!by)
		cpu_raise(cpu, VEC_DE);
	put_ax(cpu, (uint16_t)((al / by) << 8 | al % by));
	flags_decimal(cpu, al % by, false, false);
}

void help_aad(struct cpu *cpu, const struct uop *u)
{
	uint16_t ax = (uint16_t)cpu->reg[REG_AX];
	uint8_t al = (uint8_t)(ax + (ax >> 8) * u->disp);
	put_ax(cpu, al);
	flags_decimal(cpu, al, false, false);
}

/* ---- PUSHA, POPA: size 2 or 4, disp: mask of the stack pointer (all ones: 32 bits) ---- */
static void put_sp(struct cpu *cpu, uint32_t mask, uint32_t sp)
{
	cpu->reg[REG_SP] = mask == 0xffff ? (cpu->reg[REG_SP] & ~0xffffull) | (sp & mask) : sp;
}

/* The real address of all eight, when a flat 32-bit stack has them in one page that the fast table serves; NULL: one by one. */
static uint8_t *all_eight(struct cpu *cpu, const struct uop *u, uint32_t low, bool write)
{
	bool flat = u->size == 4 && (uint32_t)u->disp == ~0u && cpu->mode_key & KEY_FLAT_SS;
	return flat ? memory_quick(cpu, low, 32, write, false) : NULL;
}

static void tell_eight(struct cpu *cpu, enum event_kind kind, uint32_t low, const uint8_t *real)
{
	for (unsigned i = 0; i < 8 && cpu->events->on; i++) {
		unsigned at = kind == EV_STORE ? 28 - i * 4 : i * 4; /* pushes go down */
		event_put_data(cpu->events, kind, memory_flags(cpu, false), 4, low + at, real + at);
	}
}

void help_pusha(struct cpu *cpu, const struct uop *u)
{
	uint32_t mask = (uint32_t)u->disp, sp = (uint32_t)cpu->reg[REG_SP];
	uint64_t linear[8];
	uint8_t *real = all_eight(cpu, u, sp - 32, true);
	if (real) {
		tell_eight(cpu, EV_STORE, sp - 32, real);
		for (unsigned i = 0; i < 8; i++)
			memory_put(real + 28 - i * 4, cpu->reg[REG_AX + i], 4);
		put_sp(cpu, mask, sp - 32);
		return;
	}
	for (unsigned i = 0; i < 8; i++) {
		linear[i] = segment_linear(cpu, SEG_SS, (sp - (i + 1) * u->size) & mask, u->size, ACCESS_WRITE);
		if (linear[i] >> 12 == linear[0] >> 12)
			continue; /* as stack_reserve() */
		mem_probe_write(cpu, linear[0], u->size, false);
		mem_probe_write(cpu, linear[i], u->size, false);
	}
	for (unsigned i = 0; i < 8; i++) /* AX CX DX BX, the old SP, BP SI DI */
		mem_write_u(cpu, linear[i], cpu->reg[REG_AX + i], u->size, false);
	put_sp(cpu, mask, sp - 8u * u->size);
}

void help_popa(struct cpu *cpu, const struct uop *u)
{
	uint32_t mask = (uint32_t)u->disp, sp = (uint32_t)cpu->reg[REG_SP];
	uint64_t value[8];
	const uint8_t *real = all_eight(cpu, u, sp, false);
	if (real) { /* DI SI BP, one skipped, BX DX CX AX */
		tell_eight(cpu, EV_LOAD, sp, real);
		for (unsigned i = 0; i < 3; i++)
			cpu->reg[REG_DI - i] = memory_load(real + i * 4, 4);
		for (unsigned i = 4; i < 8; i++)
			cpu->reg[REG_DI - i] = memory_load(real + i * 4, 4);
		put_sp(cpu, mask, sp + 32);
		return;
	}
	for (unsigned i = 0; i < 8; i++)
		value[i] = mem_read_u(cpu, segment_linear(cpu, SEG_SS, (sp + i * u->size) & mask, u->size, ACCESS_READ), u->size, false);
	for (unsigned i = 0; i < 8; i++) { /* DI SI BP, one skipped, BX DX CX AX */
		uint64_t *r = &cpu->reg[REG_DI - i];
		if (REG_DI - i != REG_SP)
			*r = u->size == 2 ? (*r & ~0xffffull) | value[i] : value[i];
	}
	put_sp(cpu, mask, sp + 8u * u->size);
}
