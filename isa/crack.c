/* The crack's loop: decode, crack, decide where the block ends, drop flags that nobody reads. */
#include "crack.h"
#include <stdlib.h>

void crack_create(struct crack *c)
{
	static const struct { ZydisMachineMode mode; ZydisStackWidth width; } how[3] = {
		{ ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 }, { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 }, { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 }
	};
	/* What CPUID does not report decodes as what it was before: rep bsf, endbr as NOP, ... */
	static const ZydisDecoderMode off[] = { ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_LZCNT, ZYDIS_DECODER_MODE_TZCNT, ZYDIS_DECODER_MODE_WBNOINVD,
		ZYDIS_DECODER_MODE_CLDEMOTE };
	*c = (struct crack){ 0 };
	for (unsigned i = 0; i < 3; i++) {
		ZydisDecoderInit(&c->decoder[i], how[i].mode, how[i].width);
		for (unsigned k = 0; k < sizeof off / sizeof *off; k++)
			ZydisDecoderEnableMode(&c->decoder[i], off[k], ZYAN_FALSE);
	}
}

struct uop *crack_emit(struct crack *c, unsigned op)
{
	struct uop *u = &c->uop[c->uops++];
	*u = (struct uop){ .op = (uint16_t)op, .dst = REG_SINK, .a = REG_ZERO, .b = REG_ZERO, .index = REG_ZERO, .seg = SEG_DS, .offset = (uint16_t)c->offset, .insn = (uint8_t)c->insns };
	return u;
}

struct uop *crack_emit3(struct crack *c, unsigned op, unsigned dst, unsigned a, unsigned b)
{
	struct uop *u = crack_emit(c, op);
	u->dst = (uint8_t)dst;
	u->a = (uint8_t)a;
	u->b = (uint8_t)b;
	return u;
}

unsigned crack_temp(struct crack *c)
{
	return REG_T0 + c->temps++;
}

uint64_t crack_next(const struct crack *c)
{
	return (c->pc + c->offset + c->insn.length) & (crack_mode(c) == 8 ? ~0ull : 0xffffffff);
}

void crack_finish(struct crack *c, enum block_end end)
{
	c->end = end;
	c->ended = true;
}

void crack_fault(struct crack *c, enum vector v, bool has_error)
{
	struct uop *u = crack_emit(c, UOP_fault);
	u->a = (uint8_t)v;
	u->imm = has_error ? 0 : ~0ull;
	crack_finish(c, BLOCK_END_SYSTEM);
}

static void crack_unknown(struct crack *c, unsigned mnemonic)
{
	crack_emit(c, UOP_unknown)->imm = mnemonic;
	crack_finish(c, BLOCK_END_SYSTEM);
}

static void crack_decoded(struct crack *c)
{
	const struct crack_row *row = &crack_rows[c->insn.mnemonic];
	unsigned uops = c->uops, syss = c->syss;
	uint8_t loads = c->facts.loads, stores = c->facts.stores;
	c->temps = 0;
	c->next_pc[1] = crack_next(c);
	if (row->crack ? row->crack(c, row) : crack_sse(c, row)) {
		if (row->sensitive) {
			c->facts.sensitive |= SENS_BIT(row->sensitive - 1);
			c->facts.sensitive_count++;
		}
		return;
	}
	c->uops = uops;
	c->syss = syss;
	c->facts.loads = loads;
	c->facts.stores = stores;
	c->ended = false;
	crack_unknown(c, c->insn.mnemonic);
}

/* SIB without a base (mod 0, base 101b) has none with REX.B either, and a 32-bit displacement (SDM 2A table 2-5, note 1). Zydis 4.0 says R13D and no displacement
 * when the address size is 32. */
static void forget_r13d(struct crack *c)
{
	for (unsigned i = 0; i < c->insn.operand_count; i++) {
		ZydisDecodedOperandMem *m = &c->operand[i].mem;
		if (c->operand[i].type != ZYDIS_OPERAND_TYPE_MEMORY || m->base != ZYDIS_REGISTER_R13D || c->insn.raw.modrm.mod != 0)
			continue;
		m->base = ZYDIS_REGISTER_NONE;
		m->disp.has_displacement = ZYAN_TRUE;
		m->disp.value = c->insn.raw.disp.value;
	}
}

/* One instruction. Returns false when its bytes are not all there. */
static bool crack_one(struct crack *c)
{
	const ZydisDecoder *d = &c->decoder[crack_mode(c) == 8 ? 0 : crack_mode(c) == 4 ? 1 : 2];
	c->offset = c->bytes;
	ZyanStatus status = ZydisDecoderDecodeFull(d, c->code + c->bytes, c->avail - c->bytes, &c->insn, c->operand);
	if (ZYAN_SUCCESS(status)) {
		forget_r13d(c);
		crack_decoded(c);
	} else if (status == ZYDIS_STATUS_NO_MORE_DATA) {
		return false;
	} else {
		/* Never gone past. All bytes that the decoder may have looked at belong to the block, so that cracking it again meets the same end. */
		c->insn.length = (ZyanU8)(c->avail - c->bytes < 15 ? c->avail - c->bytes : 15);
		if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
			crack_fault(c, VEC_GP, true); /* SDM 2A 2.3.11 */
		else
			crack_unknown(c, ZYDIS_MNEMONIC_INVALID);
	}
	c->bytes += c->insn.length;
	c->insns++;
	return true;
}

/* From the last micro-op to the first: a result in the flags that is overwritten before anything can see it is not kept. */
static void crack_drop_flags(struct crack *c)
{
	bool live = true;
	for (unsigned i = c->uops; i-- > 0;) {
		struct uop *u = &c->uop[i];
		unsigned facts = uop_facts[u->op];
		if ((facts & FACT_SETS) && !live) {
			if (facts & FACT_TWIN)
				u->op++;
			else if (facts & FACT_VOID)
				u->op = UOP_nop; /* kept: leaving a block in the middle needs every instruction's place */
			facts = uop_facts[u->op];
		}
		if (facts & FACT_SETS)
			live = false;
		if (facts & (FACT_USES | FACT_STOP))
			live = true;
	}
}

enum crack_result crack_block(struct crack *c)
{
	c->uops = c->syss = c->insns = c->bytes = 0;
	c->ended = false;
	c->next_pc[0] = c->next_pc[1] = c->pc;
	c->facts = (struct block_static){ .mode = (uint8_t)crack_mode(c), .code = c->code };
	while (!c->ended && c->insns < c->max_insns && c->uops < CRACK_MAX_UOPS - CRACK_UOPS_PER_INSN && c->syss < CRACK_MAX_SYS) {
		if (c->bytes < c->avail && crack_one(c))
			continue;
		if (!c->insns)
			return CRACK_MORE_BYTES;
		break;
	}
	if (!c->ended) {
		c->insns--; /* the end belongs to the last instruction */
		crack_emit(c, UOP_fall);
		c->insns++;
		crack_finish(c, BLOCK_END_FALL);
	}
	crack_drop_flags(c);
	c->facts.bytes = (uint16_t)c->bytes;
	c->facts.insns = (uint8_t)c->insns;
	c->facts.end = (uint8_t)c->end;
	return CRACK_DONE;
}
