/*
 * Emitters of SSE micro-ops: the real machine's own instruction, or a call of the row's function alone.
 *
 * Invariant: guest XMM registers are right in cpu at any time. Within a block real ones hold copies: of guest register i < 14 in real register i, of the temporaries in 14 and 15
 * (translation.xmm says which); slow paths, whose C functions may use any of them, load the copies again. While cpu->mxcsr_real, the real MXCSR is the guest's: with every exception masked,
 * which is when the row's function does nothing but run the instruction under it (isa/sse_fp.c); sticky flags are read back before C runs (stub_mxcsr()). With an exception unmasked the
 * rest of the block is interpreted. A function of isa/sse.h touches no integer register, so only what C may change is kept around it. When it wants an exception it has changed nothing but
 * MXCSR's flags, so the micro-op's C function does it again, and raises.
 */
#include "engine_dbt.h"
#include "flags.h"
#include "sse_rows.h"

enum { XMM_GUESTS = 14 };

struct emit_place dbt_xmm(unsigned i)
{
	return dbt_field(i < 16 ? offsetof(struct cpu, xmm) + i * sizeof(union xmm) : offsetof(struct cpu, xmm_temp) + (i - 16) * sizeof(union xmm));
}

static struct emit_place xmm_high(unsigned i)
{
	struct emit_place p = dbt_xmm(i);
	p.disp += 8;
	return p;
}

/* ---- copies in real registers ---- */
/* The real register for a copy of guest register i; that of temporary 0 serves the last two guest registers, which are not kept. */
static unsigned xmm_real(unsigned i) { return i < XMM_GUESTS ? i : i == 17 ? 15 : 14; }
static uint32_t xmm_bit(unsigned i) { return i < XMM_GUESTS || i >= 16 ? 1u << i : 0; }

/* A real register to make guest register i in. */
static unsigned xmm_take(struct translation *t, unsigned i)
{
	if (!xmm_bit(i))
		t->xmm &= ~xmm_bit(16);
	return xmm_real(i);
}

/* The real register that holds guest register i. */
static unsigned xmm_get(struct translation *t, unsigned i)
{
	if (t->xmm & xmm_bit(i))
		return xmm_real(i);
	unsigned to = xmm_take(t, i);
	emit_op(t->e, 4, OP_MOVAPS_LOAD, to, dbt_xmm(i));
	t->xmm |= t->observed ? 0 : xmm_bit(i);
	return to;
}

static struct emit_place xmm_place(const struct translation *t, unsigned i)
{
	return t->xmm & xmm_bit(i) ? emit_register(xmm_real(i)) : dbt_xmm(i);
}

/* Guest register i has been made in its real one. */
static void xmm_put(struct translation *t, unsigned i)
{
	emit_op(t->e, 4, OP_MOVAPS_STORE, xmm_real(i), dbt_xmm(i));
	t->xmm |= t->observed ? 0 : xmm_bit(i);
}

void dbt_emit_xmm_again(struct translation *t, uint32_t set)
{
	for (unsigned i = 0; i < 18; i++)
		if (set >> i & 1)
			emit_op(t->e, 4, OP_MOVAPS_LOAD, xmm_real(i), dbt_xmm(i));
}

void dbt_emit_xmm_load(struct translation *t, unsigned bytes, unsigned dst, struct emit_place from)
{
	static const uint32_t load[] = { [4] = OP_MOVD_LOAD, [8] = OP_MOVQ_LOAD, [16] = OP_MOVUPS_LOAD };
	emit_op(t->e, 4, load[bytes], xmm_take(t, dst), from);
	xmm_put(t, dst);
}

void dbt_emit_xmm_store(struct translation *t, unsigned bytes, unsigned b, struct emit_place to)
{
	static const uint32_t store[] = { [4] = OP_MOVD_STORE, [8] = OP_MOVQ_STORE, [16] = OP_MOVUPS_STORE };
	emit_op(t->e, 4, store[bytes], xmm_get(t, b), to);
}

/* ---- operations ---- */
enum sse_how {
	HOW_BINARY,   /* dst = dst op src */
	HOW_UNARY,    /* dst = op src */
	HOW_IMM2,     /* dst = dst op src by imm & 255 */
	HOW_IMM1,     /* dst = op src by imm */
	HOW_SHIFT,    /* dst = dst shifted by imm; `extension` is the opcode's */
	HOW_COMPARE,  /* flags */
	HOW_FROM_GPR, /* dst = op of the integer in src's low half */
	HOW_TO_GPR,   /* dst's low half = op of src */
	HOW_INSERT,   /* dst = dst op the integer in src's low half, by imm */
	HOW_EXTRACT,  /* dst's low half = op of src by imm */
	HOW_PREDICATE, /* as HOW_IMM2, of which 3 bits count */
};
static const struct sse_emit {
	sse_fn *fn;
	uint32_t op;     /* as for emit_op() */
	uint8_t how;
	bool fp;         /* looks at MXCSR */
	uint8_t wide;    /* REX.W */
	uint8_t extension;
} sse_emits[] = {
#define FOUR(name, op) { sse_##name##ps, 0x0f00 | op, HOW_BINARY, true, 0, 0 }, { sse_##name##pd, 0x660f00 | op, HOW_BINARY, true, 0, 0 }, { sse_##name##ss, 0xf30f00 | op, HOW_BINARY, true, 0, 0 }, { sse_##name##sd, 0xf20f00 | op, HOW_BINARY, true, 0, 0 }
	FOUR(add, 0x58), FOUR(sub, 0x5c), FOUR(mul, 0x59), FOUR(div, 0x5e), FOUR(min, 0x5d), FOUR(max, 0x5f),
	{ sse_sqrtps, 0x0f51, HOW_UNARY, true, 0, 0 }, { sse_sqrtpd, 0x660f51, HOW_UNARY, true, 0, 0 }, { sse_sqrtss, 0xf30f51, HOW_BINARY, true, 0, 0 }, { sse_sqrtsd, 0xf20f51, HOW_BINARY, true, 0, 0 },
	{ sse_cvtss2sd, 0xf30f5a, HOW_BINARY, true, 0, 0 }, { sse_cvtsd2ss, 0xf20f5a, HOW_BINARY, true, 0, 0 }, { sse_cvtps2pd, 0x0f5a, HOW_UNARY, true, 0, 0 },
	{ sse_cvtpd2ps, 0x660f5a, HOW_UNARY, true, 0, 0 }, { sse_cvtdq2ps, 0x0f5b, HOW_UNARY, true, 0, 0 }, { sse_cvtdq2pd, 0xf30fe6, HOW_UNARY, true, 0, 0 },
	{ sse_cvtps2dq, 0x660f5b, HOW_UNARY, true, 0, 0 }, { sse_cvttps2dq, 0xf30f5b, HOW_UNARY, true, 0, 0 }, { sse_cvtpd2dq, 0xf20fe6, HOW_UNARY, true, 0, 0 },
	{ sse_cvttpd2dq, 0x660fe6, HOW_UNARY, true, 0, 0 },
	{ sse_cmpps, 0x0fc2, HOW_PREDICATE, true, 0, 0 }, { sse_cmppd, 0x660fc2, HOW_PREDICATE, true, 0, 0 }, { sse_cmpss, 0xf30fc2, HOW_PREDICATE, true, 0, 0 }, { sse_cmpsd, 0xf20fc2, HOW_PREDICATE, true, 0, 0 },
	{ sse_comiss, 0x0f2f, HOW_COMPARE, true, 0, 0 }, { sse_comisd, 0x660f2f, HOW_COMPARE, true, 0, 0 }, { sse_ucomiss, 0x0f2e, HOW_COMPARE, true, 0, 0 }, { sse_ucomisd, 0x660f2e, HOW_COMPARE, true, 0, 0 },
	{ sse_cvtsi2ss_d, 0xf30f2a, HOW_FROM_GPR, true, 0, 0 }, { sse_cvtsi2ss_q, 0xf30f2a, HOW_FROM_GPR, true, 1, 0 }, { sse_cvtsi2sd_d, 0xf20f2a, HOW_FROM_GPR, true, 0, 0 },
	{ sse_cvtsi2sd_q, 0xf20f2a, HOW_FROM_GPR, true, 1, 0 },
	{ sse_cvtss2si_d, 0xf30f2d, HOW_TO_GPR, true, 0, 0 }, { sse_cvtss2si_q, 0xf30f2d, HOW_TO_GPR, true, 1, 0 }, { sse_cvtsd2si_d, 0xf20f2d, HOW_TO_GPR, true, 0, 0 },
	{ sse_cvtsd2si_q, 0xf20f2d, HOW_TO_GPR, true, 1, 0 }, { sse_cvttss2si_d, 0xf30f2c, HOW_TO_GPR, true, 0, 0 }, { sse_cvttss2si_q, 0xf30f2c, HOW_TO_GPR, true, 1, 0 },
	{ sse_cvttsd2si_d, 0xf20f2c, HOW_TO_GPR, true, 0, 0 }, { sse_cvttsd2si_q, 0xf20f2c, HOW_TO_GPR, true, 1, 0 },
#define TWO(name, op) { sse_##name, 0x660f00 | op, HOW_BINARY, false, 0, 0 }
	TWO(pand, 0xdb), TWO(pandn, 0xdf), TWO(por, 0xeb), TWO(pxor, 0xef), TWO(punpcklbw, 0x60), TWO(punpcklwd, 0x61), TWO(punpckldq, 0x62), TWO(punpcklqdq, 0x6c), TWO(punpckhbw, 0x68),
	TWO(punpckhwd, 0x69), TWO(punpckhdq, 0x6a), TWO(punpckhqdq, 0x6d), TWO(packsswb, 0x63), TWO(packssdw, 0x6b), TWO(packuswb, 0x67), TWO(paddb, 0xfc), TWO(paddw, 0xfd), TWO(paddd, 0xfe),
	TWO(paddq, 0xd4), TWO(paddsb, 0xec), TWO(paddsw, 0xed), TWO(paddusb, 0xdc), TWO(paddusw, 0xdd), TWO(psubb, 0xf8), TWO(psubw, 0xf9), TWO(psubd, 0xfa), TWO(psubq, 0xfb),
	TWO(psubsb, 0xe8), TWO(psubsw, 0xe9), TWO(psubusb, 0xd8), TWO(psubusw, 0xd9), TWO(pcmpeqb, 0x74), TWO(pcmpeqw, 0x75), TWO(pcmpeqd, 0x76), TWO(pcmpgtb, 0x64), TWO(pcmpgtw, 0x65),
	TWO(pcmpgtd, 0x66), TWO(pavgb, 0xe0), TWO(pavgw, 0xe3), TWO(pmaxsw, 0xee), TWO(pmaxub, 0xde), TWO(pminsw, 0xea), TWO(pminub, 0xda), TWO(pmullw, 0xd5), TWO(pmulhw, 0xe5),
	TWO(pmulhuw, 0xe4), TWO(pmuludq, 0xf4), TWO(pmaddwd, 0xf5), TWO(psadbw, 0xf6), TWO(psllw, 0xf1), TWO(pslld, 0xf2), TWO(psllq, 0xf3), TWO(psrlw, 0xd1), TWO(psrld, 0xd2),
	TWO(psrlq, 0xd3), TWO(psraw, 0xe1), TWO(psrad, 0xe2),
	{ sse_pshufd, 0x660f70, HOW_IMM1, false, 0, 0 }, { sse_pshuflw, 0xf20f70, HOW_IMM1, false, 0, 0 }, { sse_pshufhw, 0xf30f70, HOW_IMM1, false, 0, 0 },
	{ sse_shufps, 0x0fc6, HOW_IMM2, false, 0, 0 }, { sse_shufpd, 0x660fc6, HOW_IMM2, false, 0, 0 },
	{ sse_psllw_i, 0x660f71, HOW_SHIFT, false, 0, 6 }, { sse_pslld_i, 0x660f72, HOW_SHIFT, false, 0, 6 }, { sse_psllq_i, 0x660f73, HOW_SHIFT, false, 0, 6 },
	{ sse_psrlw_i, 0x660f71, HOW_SHIFT, false, 0, 2 }, { sse_psrld_i, 0x660f72, HOW_SHIFT, false, 0, 2 }, { sse_psrlq_i, 0x660f73, HOW_SHIFT, false, 0, 2 },
	{ sse_psraw_i, 0x660f71, HOW_SHIFT, false, 0, 4 }, { sse_psrad_i, 0x660f72, HOW_SHIFT, false, 0, 4 }, { sse_pslldq, 0x660f73, HOW_SHIFT, false, 0, 7 }, { sse_psrldq, 0x660f73, HOW_SHIFT, false, 0, 3 },
	{ sse_movmskps, 0x0f50, HOW_TO_GPR, false, 0, 0 }, { sse_movmskpd, 0x660f50, HOW_TO_GPR, false, 0, 0 }, { sse_pmovmskb, 0x660fd7, HOW_TO_GPR, false, 0, 0 },
	{ sse_pextrw, 0x660fc5, HOW_EXTRACT, false, 0, 0 }, { sse_pinsrw, 0x660fc4, HOW_INSERT, false, 0, 0 },
	{ sse_copy_q, 0xf30f7e, HOW_UNARY, false, 0, 0 }, { sse_copy_d, 0x660f6e, HOW_FROM_GPR, false, 0, 0 },
	{ sse_merge_q, 0xf20f10, HOW_BINARY, false, 0, 0 }, { sse_merge_d, 0xf30f10, HOW_BINARY, false, 0, 0 }, { sse_low_to_high, 0x0f16, HOW_BINARY, false, 0, 0 }, { sse_high_to_low, 0x0f12, HOW_BINARY, false, 0, 0 },
};

bool dbt_sse_emitted(const struct sse_op *op)
{
	for (unsigned i = 0; i < sizeof sse_emits / sizeof *sse_emits; i++)
		if (sse_emits[i].fn == op->fn)
			return true;
	return false;
}

/* Means something else with memory: wants its source in a register. */
static bool sse_merges(sse_fn *fn) { return fn == sse_merge_q || fn == sse_merge_d || fn == sse_low_to_high || fn == sse_high_to_low; }

static const struct sse_emit *sse_emit_find(const struct translation *t, const struct uop *u, const struct sse_op *op)
{
	for (unsigned i = 0; i < sizeof sse_emits / sizeof *sse_emits; i++)
		if (sse_emits[i].fn == op->fn)
			return (sse_emits[i].fp && t->observed) || !xmm_bit(u->dst) || (!xmm_bit(u->a) && sse_merges(op->fn)) ? NULL : &sse_emits[i];
	return NULL;
}

/* The real MXCSR is the guest's from here on. */
static void sse_begin(struct translation *t, const struct uop *u)
{
	if (t->fp)
		return;
	emit_alu_imm(t->e, 4, ALU_CMP, DBT_FIELD(mxcsr_real), 0);
	struct dbt_site *s = dbt_emit_site(t, SITE_MXCSR, u, emit_jump_if(t->e, CC_Z));
	s->back = t->e->at;
	t->fp = true;
}

/* COMISD and kin: OF, SF, AF are 0; AH = SF:ZF:0:AF:0:PF:1:CF (SDM 2A "LAHF"), less the 1. The real flags stay. */
static void sse_compared(struct translation *t)
{
	emit_bytes(t->e, "\x9f\x0f\xb6\xc4", 4); /* LAHF; MOVZX eax, ah */
	emit_op(t->e, 4, OP_LEA, HOST_AX, emit_memory(HOST_AX, -2));
	dbt_emit_flags(t, FLAGS_EXPLICIT, HOST_AX, HOST_NONE);
	t->live = LIVE_ALL;
}

static void sse_emit(struct translation *t, const struct uop *u, const struct sse_emit *s)
{
	struct emit *e = t->e;
	uint8_t imm = s->how == HOW_PREDICATE ? u->size & 7 : u->size;
	if (s->fp)
		sse_begin(t, u);
	bool to_gpr = s->how == HOW_TO_GPR || s->how == HOW_EXTRACT, reads = s->how != HOW_UNARY && s->how != HOW_IMM1;
	unsigned dst = to_gpr ? 0 : reads ? xmm_get(t, u->dst) : xmm_take(t, u->dst);
	if (to_gpr) {
		emit_op(e, s->wide ? 8 : 4, s->op, HOST_AX, emit_register(xmm_get(t, u->a)));
		if (s->how == HOW_EXTRACT)
			emit_bytes(e, &imm, 1);
		emit_op(e, 8, OP_STORE, HOST_AX, dbt_xmm(u->dst));
		t->xmm &= ~xmm_bit(u->dst);
	} else if (s->how == HOW_SHIFT) {
		emit_op(e, 4, s->op, s->extension, emit_register(dst));
	} else if (s->how == HOW_FROM_GPR || s->how == HOW_INSERT) {
		emit_op(e, s->wide ? 8 : 4, s->op, dst, dbt_xmm(u->a));
	} else {
		emit_op(e, 4, s->op, dst, sse_merges(s->fn) ? emit_register(xmm_get(t, u->a)) : xmm_place(t, u->a));
	}
	if (s->how == HOW_SHIFT || s->how == HOW_IMM1 || s->how == HOW_IMM2 || s->how == HOW_PREDICATE || s->how == HOW_INSERT)
		emit_bytes(e, &imm, 1);
	if (s->how == HOW_COMPARE)
		sse_compared(t);
	else if (!to_gpr)
		xmm_put(t, u->dst);
}

static void sse_call(struct translation *t, const struct uop *u, const struct sse_op *op)
{
	struct emit *e = t->e;
	emit_op(e, 8, OP_LEA, HOST_DX, dbt_xmm(u->a));
	emit_mov_imm(e, HOST_CX, (uint64_t)(dbt_xmm(u->dst).disp + DBT_BIAS) << 8 | u->size);
	emit_mov_imm(e, HOST_AX, (uint64_t)(uintptr_t)op->fn);
	emit_call_to(e, t->d->call_sse);
	dbt_emit_slow(t, u, emit_jump_if(e, CC_Z));
	if (op->sets_flags) {
		t->recipe.pending = false;
		t->flags = FLAGS_EXPLICIT;
	}
	t->xmm = 0;
	t->fp = false;
}

static void sse_operation(struct translation *t, const struct uop *u)
{
	const struct sse_op *op = (const struct sse_op *)(uintptr_t)u->imm;
	const struct sse_emit *s = sse_emit_find(t, u, op);
	if (s)
		sse_emit(t, u, s);
	else
		sse_call(t, u, op);
}

/* dst = ax, zero-extended. */
static void sse_from_ax(struct translation *t, unsigned dst)
{
	emit_op(t->e, 8, OP_STORE, HOST_AX, dbt_xmm(dst));
	emit_store_imm(t->e, 8, xmm_high(dst), 0);
	t->xmm &= ~xmm_bit(dst);
}

bool dbt_emit_sse(struct translation *t, const struct uop *u)
{
	struct emit *e = t->e;
	unsigned live = t->live, size = u->size == 8 ? 8 : 4, to;
	t->live = LIVE_NONE;
	switch (u->op) {
	case UOP_sse:
		sse_operation(t, u);
		return true;
	case UOP_x_mov:
		emit_op(e, 4, OP_MOVAPS_LOAD, xmm_take(t, u->dst), xmm_place(t, u->a));
		xmm_put(t, u->dst);
		break;
	case UOP_x_from_gpr:
		emit_op(e, size, OP_LOAD, HOST_AX, dbt_guest(u->a));
		sse_from_ax(t, u->dst);
		break;
	case UOP_x_from_imm:
		emit_mov_imm(e, HOST_AX, u->imm);
		sse_from_ax(t, u->dst);
		break;
	case UOP_x_to_gpr:
		to = dbt_target(u->dst, HOST_AX);
		emit_op(e, size, OP_LOAD, to, dbt_xmm(u->a));
		dbt_written(t, u->dst, to);
		break;
	default:
		return false;
	}
	t->live = live;
	return true;
}
