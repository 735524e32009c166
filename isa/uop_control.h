/*
 * Bodies of the micro-ops that reach the rest of the world or end a block.
 *
 * Invariant: an end micro-op returns the next block's first micro-op only when nothing asks for the dispatcher: budget left, no attention, the chain's stamp valid.
 */
#ifndef ISA_UOP_CONTROL_H
#define ISA_UOP_CONTROL_H
#include "sse.h"
#include "uop_memory.h"

#define END_BODY(name) UOP_BODY const struct uop *uop_##name(struct cpu *cpu, const struct uop *u, const bool observed)

/* ---- SSE ---- */
BODY(x_mov) { *xmm_at(cpu, u->dst) = *xmm_at(cpu, u->a); }
BODY(x_from_gpr) { *xmm_at(cpu, u->dst) = (union xmm){ .q = { u->size == 8 ? R(u->a) : (uint32_t)R(u->a), 0 } }; }
BODY(x_from_imm) { *xmm_at(cpu, u->dst) = (union xmm){ .q = { u->imm, 0 } }; }
BODY(x_to_gpr) { R(u->dst) = u->size == 8 ? xmm_at(cpu, u->a)->q[0] : xmm_at(cpu, u->a)->d[0]; }
BODY(sse)
{
	const struct sse_op *op = (const struct sse_op *)(uintptr_t)u->imm;
	if (__builtin_expect(!op->fn(cpu, xmm_at(cpu, u->dst), xmm_at(cpu, u->a), u->size), 0)) {
		uop_settle(cpu, u);
		sse_raise(cpu);
	}
}
BODY(sse_check)
{
	uop_settle(cpu, u);
	sse_check(cpu);
	uop_resume(cpu, u);
}

/* ---- helpers ---- */
void uop_sys_call(struct cpu *cpu, const struct uop *u); /* isa/uop_help.c */
bool uop_sys_end_call(struct cpu *cpu, const struct uop *u);
void uop_string_rep_call(struct cpu *cpu, const struct uop *u); /* isa/uop_string.c */
_Noreturn void uop_unknown_raise(struct cpu *cpu, const struct uop *u);
void uop_leave_call(struct cpu *cpu, const struct uop *u);
BODY(help)
{
	uop_settle(cpu, u);
	((uop_help_fn *)(uintptr_t)u->imm)(cpu, u);
	uop_resume(cpu, u);
}
BODY(sys) { uop_sys_call(cpu, u); }
BODY(mark) { event_put(cpu->events, EV_MARK, 0, 0, (uint32_t)u->imm, 0); }
BODY(check_target)
{
	uint64_t to = R(u->a);
	if (cpu->code_size == 8 ? (int64_t)(to << (cpu->cr4 & CR4_LA57 ? 7 : 16)) >> (cpu->cr4 & CR4_LA57 ? 7 : 16) != (int64_t)to : to > cpu->seg[SEG_CS].limit)
		uop_raise_error(cpu, u, VEC_GP, 0);
}

/* ---- ends ---- */
void block_observe(struct cpu *cpu, struct block *b); /* isa/engine.c: the VMM's hook and EV_BLOCK */

UOP_BODY const struct uop *block_enter(struct cpu *cpu, struct block *b, const bool observed)
{
	cpu->block = b;
	if (observed)
		block_observe(cpu, b);
	cpu->budget -= b->insns;
	cpu->icount += b->insns;
	return b->uop;
}
UOP_BODY const struct uop *block_chain(struct cpu *cpu, unsigned way, const bool observed)
{
	struct block *b = cpu->block, *n = b->next[way];
	if (__builtin_expect(n->stamp == cpu->stamp && cpu->budget > 0 && !(observed && cpu->attention), 1))
		return block_enter(cpu, n, observed);
	cpu->rip = b->next_pc[way];
	return NULL;
}
/* The block at an indirect target: what the cache's table has, and nothing else; NULL when the dispatcher must look. A target that is not canonical faults here. */
UOP_BODY struct block *block_target(struct cpu *cpu, const struct uop *u, uint64_t to, const bool observed)
{
	struct block *n = *block_jump_slot(cpu->blocks, to);
	if (observed)
		cpu->blocks->indirect = true;
	if (__builtin_expect(n->stamp == cpu->stamp && n->pc == to && n->key == cpu->block->key && cpu->budget > 0 && !(observed && cpu->attention), 1))
		return n;
	if (cpu->code_size == 8)
		uop_check_target(cpu, u);
	cpu->rip = to;
	return NULL;
}
END_BODY(jmp) { (void)u; return block_chain(cpu, 0, observed); }
END_BODY(fall) { (void)u; return block_chain(cpu, 1, observed); }
#define DEFINE_JCC(cc) END_BODY(j_##cc) { (void)u; return condition_##cc(cpu) ? block_chain(cpu, 0, observed) : block_chain(cpu, 1, observed); }
DEFINE_JCC(o) DEFINE_JCC(no) DEFINE_JCC(b) DEFINE_JCC(ae) DEFINE_JCC(z) DEFINE_JCC(nz) DEFINE_JCC(be) DEFINE_JCC(a) DEFINE_JCC(s) DEFINE_JCC(ns) DEFINE_JCC(p) DEFINE_JCC(np) DEFINE_JCC(l) DEFINE_JCC(ge) DEFINE_JCC(le) DEFINE_JCC(g)
/* Comparison and branch in one: the condition in terms of the operands. */
#define TAKE(condition) return (condition) ? block_chain(cpu, 0, observed) : block_chain(cpu, 1, observed)
#define JCMP_ONE(cc, bits, suffix, second, type, rel)                                                                                                                  \
	END_BODY(jcmp##bits##_##suffix##_##cc)                                                                                                                         \
	{                                                                                                                                                              \
		uint##bits##_t a = (uint##bits##_t)R(u->a), b = (uint##bits##_t)(second);                                                                              \
		flags_two(cpu, FLAGS_SUB | LG##bits, (uint##bits##_t)(a - b), b);                                                                                      \
		TAKE((type##bits##_t)a rel (type##bits##_t)b);                                                                                                         \
	}
#define JCMP_BITS(cc, bits, type, rel) JCMP_ONE(cc, bits, rr, R(u->b), type, rel) JCMP_ONE(cc, bits, ri, u->imm, type, rel)
#define JCMP_CC(cc, type, rel) JCMP_BITS(cc, 8, type, rel) JCMP_BITS(cc, 32, type, rel) JCMP_BITS(cc, 64, type, rel)
JCMP_CC(b, uint, <) JCMP_CC(ae, uint, >=) JCMP_CC(z, uint, ==) JCMP_CC(nz, uint, !=) JCMP_CC(be, uint, <=) JCMP_CC(a, uint, >) JCMP_CC(l, int, <) JCMP_CC(ge, int, >=)
JCMP_CC(le, int, <=) JCMP_CC(g, int, >)
#define JTEST_ONE(cc, bits, suffix, second, rel)                                                                                                                       \
	END_BODY(jtest##bits##_##suffix##_##cc)                                                                                                                        \
	{                                                                                                                                                              \
		uint##bits##_t r = (uint##bits##_t)(R(u->a) & (second));                                                                                               \
		flags_result(cpu, FLAGS_LOGIC | LG##bits, r);                                                                                                          \
		TAKE((int##bits##_t)r rel 0);                                                                                                                          \
	}
#define JTEST_BITS(cc, bits, rel) JTEST_ONE(cc, bits, rr, R(u->b), rel) JTEST_ONE(cc, bits, ri, u->imm, rel)
#define JTEST_CC(cc, rel) JTEST_BITS(cc, 8, rel) JTEST_BITS(cc, 32, rel) JTEST_BITS(cc, 64, rel)
JTEST_CC(z, ==) JTEST_CC(nz, !=) JTEST_CC(s, <) JTEST_CC(ns, >=) JTEST_CC(le, <=) JTEST_CC(g, >)
#define JDEC_ONE(cc, bits, rel)                                                                                                                                        \
	END_BODY(jdec##bits##_##cc)                                                                                                                                    \
	{                                                                                                                                                              \
		uop_dec##bits(cpu, u);                                                                                                                                 \
		TAKE((uint##bits##_t)R(u->dst) rel 0);                                                                                                                 \
	}
JDEC_ONE(z, 32, ==) JDEC_ONE(z, 64, ==) JDEC_ONE(nz, 32, !=) JDEC_ONE(nz, 64, !=)
END_BODY(jmp_reg)
{
	struct block *n = block_target(cpu, u, R(u->a), observed);
	return n ? block_enter(cpu, n, observed) : NULL;
}
/* The stack pointer by the stack's size. */
UOP_BODY void stack_move(struct cpu *cpu, uint64_t by)
{
	uint64_t sp = R(REG_SP) + by;
	if (cpu->code_size == 8)
		R(REG_SP) = sp;
	else if (cpu->seg[SEG_SS].attributes & SEGA_DB)
		R(REG_SP) = (uint32_t)sp;
	else
		reg_put16(cpu, REG_SP, (uint16_t)sp);
}
END_BODY(ret)
{
	struct block *n = block_target(cpu, u, R(u->a), observed); /* a fault comes before the stack pointer moves */
	stack_move(cpu, u->size + u->imm);
	return n ? block_enter(cpu, n, observed) : NULL;
}
UOP_BODY bool loop_taken(struct cpu *cpu, const struct uop *u)
{
	if (u->imm == 3)
		return !(u->size == 8 ? R(REG_CX) : u->size == 4 ? (uint32_t)R(REG_CX) : (uint16_t)R(REG_CX));
	uint64_t n = R(REG_CX) - 1;
	if (u->size == 2)
		reg_put16(cpu, REG_CX, (uint16_t)n);
	else
		R(REG_CX) = u->size == 8 ? n : (uint32_t)n;
	bool more = u->size == 8 ? n != 0 : u->size == 4 ? (uint32_t)n != 0 : (uint16_t)n != 0;
	return more && (u->imm == 0 || flags_zf(&cpu->flags) == (u->imm == 1));
}
END_BODY(loop) { return loop_taken(cpu, u) ? block_chain(cpu, 0, observed) : block_chain(cpu, 1, observed); }
END_BODY(string_rep) /* leaves rip at the instruction while iterations remain */
{
	uop_string_rep_call(cpu, u);
	if (cpu->rip != cpu->block->next_pc[1])
		return NULL;
	return block_chain(cpu, 1, observed);
}
/* The block at rip by the mode that is now: the running block's last target, then the cache's table; NULL: not known. */
UOP_BODY struct block *block_at_system_end(struct cpu *cpu)
{
	struct block *n = cpu->block->next[0];
	if (n->stamp == cpu->stamp && n->pc == cpu->rip && n->key == cpu->mode_key)
		return n;
	n = *block_jump_slot(cpu->blocks, cpu->rip);
	return n->stamp == cpu->stamp && n->pc == cpu->rip && n->key == cpu->mode_key ? n : NULL;
}
/* After a system instruction: rip, mode and stamp are new. As block_target(), but by the mode that is now, and never past a single step or an interrupt shadow. */
UOP_BODY struct block *block_after_system(struct cpu *cpu, const bool observed)
{
	struct block *n = block_at_system_end(cpu);
	if (!n || cpu->budget <= 0 || (observed && cpu->attention) || cpu->shadow_sti || cpu->shadow_ss || cpu->block->key & KEY_TRAP)
		return NULL;
	return n;
}
END_BODY(sys_end)
{
	struct block *n = uop_sys_end_call(cpu, u) ? block_after_system(cpu, observed) : NULL;
	return n ? block_enter(cpu, n, observed) : NULL;
}
END_BODY(fault)
{
	(void)observed;
	if (u->imm == ~0ull)
		uop_raise(cpu, u, (enum vector)u->a);
	uop_raise_error(cpu, u, (enum vector)u->a, (uint32_t)u->imm);
}
END_BODY(unknown) { (void)observed; uop_unknown_raise(cpu, u); }
END_BODY(leave_block)
{
	(void)observed;
	uop_leave_call(cpu, u);
	return NULL;
}
#endif
