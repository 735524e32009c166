/*
 * Proves that SSE and SSE2 do what the real CPU does: results to the bit, NaNs, MXCSR flags, unmasked exceptions, all rounding modes, DAZ and FTZ, alignment
 * and page faults, in 32-bit and 64-bit code, on every engine. One test a row of isa/sse.def. Independent reference: the processor that runs this test
 * (native_oracle.h); the encodings come from Zydis' encoder. RCPPS and RSQRTPS are compared within the manual's error bound, because their bits are the maker's.
 */
#include "native_oracle.h"
#include "isa/sse.h"
#include <CUnit/Basic.h>
#include <Zydis/Zydis.h>
#include <stdio.h>

enum { STATES = 256, VARIANTS = 6 };

static struct native_session session;

static unsigned pick(unsigned n)
{
	return (unsigned)((session_random(&session) >> 33) % n);
}

/* ---------------------------------------------------------------- values */
static uint32_t pick_single(void)
{
	static const uint32_t special[] = {
		0x00000000, 0x00000001, 0x00000002, 0x007fffff, 0x00400000, /* zero, denormals */
		0x00800000, 0x00800001, 0x00ffffff, 0x01000000,             /* least normal numbers */
		0x3f800000, 0x3f800001, 0x3f7fffff, 0x3f000000, 0x3effffff, 0x3fc00000, 0x40200000, 0x40600000, /* 1, its neighbours, 0.5, 1.5, 2.5, 3.5 */
		0x4b000001, 0x4b7fffff, 0x4effffff, 0x4f000000, 0x4f000001, 0x4f7fffff, 0x5effffff, 0x5f000000, /* around 2^23, 2^31, 2^63 */
		0x7f7fffff, 0x7f7ffffe, 0x7f000000, 0x5f800000, 0x1f800000, /* greatest; roots of overflow and underflow */
		0x7f800000, 0x7fc00000, 0x7fc12345, 0x7f800001, 0x7fa00000, 0x7fbfffff, 0x7fffffff, /* infinity, quiet and signalling NaNs */
	};
	const uint32_t sign = pick(3) == 0 ? 0x80000000 : 0, r = (uint32_t)session_random(&session);
	switch (pick(8)) {
	case 0:
	case 1:
	case 2:
		return sign | special[pick(sizeof special / sizeof *special)];
	case 3:
		return sign | (0x3f000000 + (r & 0x01ffffff)); /* near one */
	case 4:
		return sign | (0x40000000 + (r & 0x1fffffff & ~(pick(2) ? 0xfffu : 0))); /* large integers and parts of them */
	case 5:
		return sign | (pick(2) ? 0x20000000 + (r & 0x00ffffff) : 0x5f000000 + (r & 0x00ffffff)); /* products at the edges of range */
	case 6:
		return sign | (r & 0x00ffffff); /* at the lower edge */
	default:
		return r;
	}
}

static uint64_t pick_double(void)
{
	static const uint64_t special[] = {
		0x0000000000000000, 0x0000000000000001, 0x000fffffffffffff, 0x0008000000000000, 0x0010000000000000, 0x0010000000000001, 0x001fffffffffffff,
		0x3ff0000000000000, 0x3ff0000000000001, 0x3fefffffffffffff, 0x3fe0000000000000, 0x3fdfffffffffffff, 0x3ff8000000000000, 0x4004000000000000, 0x400c000000000000,
		0x41dfffffffc00000, 0x41dfffffffe00000, 0x41dfffffffffffff, 0x41e0000000000000, 0x41e0000000100000, 0x43dfffffffffffff, 0x43e0000000000000, 0x4330000000000001,
		0x7fefffffffffffff, 0x7fe0000000000000, 0x5ff0000000000000, 0x1ff0000000000000,
		0x47efffffe0000000, 0x47efffffefffffff, 0x47effffff0000000, 0x47f0000000000000, /* the greatest single, and what rounds over it */
		0x3810000000000000, 0x380fffffffffffff, 0x380fffffe0000000, 0x36a0000000000000, 0x3690000000000000, 0x3690000000000001, /* the least singles */
		0x7ff0000000000000, 0x7ff8000000000000, 0x7ff8123456789abc, 0x7ff0000000000001, 0x7ff4000000000000, 0x7ff7ffffffffffff, 0x7ff0000010000000, 0x7fffffffffffffff,
	};
	const uint64_t sign = pick(3) == 0 ? 1ull << 63 : 0, r = session_random(&session);
	switch (pick(8)) {
	case 0:
	case 1:
	case 2:
		return sign | special[pick(sizeof special / sizeof *special)];
	case 3:
		return sign | (0x3fe0000000000000 + (r & 0x003fffffffffffff));
	case 4:
		return sign | (0x4000000000000000 + (r & 0x03ffffffffffffff & ~(pick(2) ? 0xfffffffffull : 0)));
	case 5:
		return sign | (pick(2) ? 0x2000000000000000 + (r & 0x001fffffffffffff) : 0x5fe0000000000000 + (r & 0x001fffffffffffff));
	case 6:
		return sign | (pick(2) ? r & 0x001fffffffffffff : 0x36800000000fffff + (r & 0x01ffffffffffffff)); /* lower edge of double; of single */
	default:
		return r;
	}
}

static union xmm pick_xmm(void)
{
	switch (pick(5)) {
	case 0:
	case 1:
		return (union xmm){ .d = { pick_single(), pick_single(), pick_single(), pick_single() } };
	case 2:
	case 3:
		return (union xmm){ .q = { pick_double(), pick_double() } };
	default:
		return (union xmm){ .q = { session_value(&session), session_value(&session) } };
	}
}

/* Rounding, DAZ and FTZ in all combinations; exceptions all masked, all unmasked, or any; flags that are already there. */
static uint32_t pick_mxcsr(void)
{
	const uint32_t r = (uint32_t)session_random(&session), masks = pick(5) ? 0x1f80 : pick(8) ? r & 0x1f80 : 0;
	return (r & 0xe040) | masks | (pick(2) ? r & 0x3f & r >> 16 : 0);
}

static void fill(struct native_state *n, unsigned mode)
{
	session_fill(&session, n, mode);
	n->mxcsr = pick_mxcsr();
	for (unsigned i = 0; i < 16; i++)
		n->xmm[i] = pick_xmm();
	for (unsigned i = 0; i < NATIVE_WINDOW_BYTES; i += 16) {
		const union xmm x = pick_xmm();
		memcpy(n->data + i, &x, 16);
	}
}

/* Puts the memory operand somewhere: aligned or not, across the page boundary, or where nothing is. */
static uint64_t pick_ea(unsigned mode)
{
	if (pick(30) == 0)
		return pick(2) ? NATIVE_DATA + 0x2000 - pick(20) : mode == 8 ? 0x8000000000000000ull : NATIVE_BASE + 0x4100;
	return NATIVE_WINDOW + (pick(4) ? 16 * pick(14) : pick(224));
}

/* ---------------------------------------------------------------- rows */
static ZydisRegister xmm_register(unsigned i)
{
	return (ZydisRegister)(ZYDIS_REGISTER_XMM0 + i);
}

static void set_operand(ZydisEncoderOperand *o, enum sse_operand kind, bool memory, unsigned xmm, const struct sse_op *row, unsigned mode)
{
	if (kind == SSE_MEM || (memory && (kind == SSE_XM || kind == SSE_RM))) {
		o->type = ZYDIS_OPERAND_TYPE_MEMORY;
		o->mem.base = mode == 8 ? ZYDIS_REGISTER_RBX : ZYDIS_REGISTER_EBX;
		o->mem.displacement = 0x10;
		o->mem.size = row->bytes;
		return;
	}
	o->type = ZYDIS_OPERAND_TYPE_REGISTER;
	if (kind == SSE_GPR || kind == SSE_RM)
		o->reg.value = (row->operand_size == 8 ? ZYDIS_REGISTER_RAX : ZYDIS_REGISTER_EAX) + pick(mode == 8 ? 16 : 8);
	else
		o->reg.value = xmm_register(xmm);
}

static bool takes_immediate(const char *name)
{
	static const char *const with[] = { "CMPPS", "CMPPD", "CMPSS", "CMPSD", "SHUFPS", "SHUFPD", "PSHUFD", "PSHUFLW", "PSHUFHW", "PEXTRW", "PINSRW" };
	for (unsigned i = 0; i < sizeof with / sizeof *with; i++)
		if (!strcmp(name, with[i]))
			return true;
	return false;
}

static unsigned pick_immediate(const char *name)
{
	if (!strncmp(name, "CMP", 3))
		return pick(8); /* more is reserved */
	return pick(4) ? pick(256) : pick(70);
}

static bool encode(const struct sse_op *row, unsigned mode, bool memory, struct native_code *c)
{
	ZydisEncoderRequest r = { .machine_mode = mode == 8 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
	                          .allowed_encodings = ZYDIS_ENCODABLE_ENCODING_LEGACY, .mnemonic = (ZydisMnemonic)row->mnemonic };
	ZyanUSize length = sizeof c->code;
	const unsigned registers = mode == 8 ? 16 : 8, first = pick(registers);
	set_operand(&r.operands[r.operand_count++], (enum sse_operand)row->dst, memory, first, row, mode);
	if (row->src != SSE_NONE)
		set_operand(&r.operands[r.operand_count++], (enum sse_operand)row->src, memory, pick(4) ? pick(registers) : first, row, mode);
	if (row->src == SSE_NONE || takes_immediate(row->name)) {
		r.operands[r.operand_count].type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
		r.operands[r.operand_count++].imm.u = pick_immediate(row->name);
	}
	*c = (struct native_code){ .name = row->name, .mode = mode };
	c->approximate = !strncmp(row->name, "RCP", 3) || !strncmp(row->name, "RSQRT", 5);
	if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&r, c->code, &length)))
		return false;
	c->length = (unsigned)length;
	return true;
}

static void run_code(const struct native_code *c)
{
	struct native_state *n = native_before(session.native);
	for (unsigned i = 0; i < STATES; i++) {
		fill(&n[i], c->mode);
		n[i].reg[REG_BX] = pick_ea(c->mode) - 0x10;
		if (c->mode == 4)
			n[i].reg[REG_BX] = (uint32_t)n[i].reg[REG_BX];
	}
	session_check(&session, c, STATES);
}

static void run_row(const struct sse_op *row, unsigned mode)
{
	const bool either = row->dst == SSE_XM || row->dst == SSE_RM || row->src == SSE_XM || row->src == SSE_RM;
	struct native_code c;
	if (mode == 4 && row->operand_size == 8)
		return;
	for (unsigned i = 0; i < VARIANTS; i++) {
		const bool encoded = encode(row, mode, either && i % 2, &c);
		if (!encoded)
			printf("Zydis cannot encode a form of %s\n", row->name);
		CU_ASSERT_TRUE(encoded);
		if (encoded)
			run_code(&c);
	}
}

static void report(const char *what, uint64_t since, uint64_t differences)
{
	printf("\n    %s: %llu cases, %llu differences over all engines\n", what, (unsigned long long)(session.cases - since),
	       (unsigned long long)(session.differences - differences));
	CU_ASSERT_EQUAL(session.differences, differences);
	CU_ASSERT_EQUAL(session.died, 0);
}

static void test_rows(void)
{
	const uint64_t since = session.cases, differences = session.differences;
	for (unsigned pass = 0; pass < 4; pass++)
		for (unsigned i = 0; sse_row(i); i++) {
			run_row(sse_row(i), 8);
			run_row(sse_row(i), 4);
		}
	report("every row, both modes", since, differences);
}

/* Encodings that an encoder does not choose: the store opcode between registers, 64-bit forms of MOVD, MXCSR, and what looks like SSE with other prefixes. */
static void test_other_encodings(void)
{
	static const struct { const char *name; uint8_t length, code[8]; } list[] = {
		{ "movups store", 3, { 0x0f, 0x11, 0xd1 } }, { "movupd store", 4, { 0x66, 0x0f, 0x11, 0xd1 } }, { "movss store", 4, { 0xf3, 0x0f, 0x11, 0xd1 } },
		{ "movsd store", 4, { 0xf2, 0x0f, 0x11, 0xd1 } }, { "movaps store", 3, { 0x0f, 0x29, 0xd1 } }, { "movapd store", 4, { 0x66, 0x0f, 0x29, 0xd1 } },
		{ "movdqa store", 4, { 0x66, 0x0f, 0x7f, 0xd1 } }, { "movdqu store", 4, { 0xf3, 0x0f, 0x7f, 0xd1 } }, { "movq store", 4, { 0x66, 0x0f, 0xd6, 0xd1 } },
		{ "movq m, x", 5, { 0x66, 0x48, 0x0f, 0x7e, 0x03 } }, { "movq x, m", 5, { 0x66, 0x48, 0x0f, 0x6e, 0x03 } },
		{ "stmxcsr", 3, { 0x0f, 0xae, 0x1b } }, { "movmskps rax", 4, { 0x48, 0x0f, 0x50, 0xc3 } }, { "pmovmskb rax", 5, { 0x66, 0x48, 0x0f, 0xd7, 0xc3 } },
		{ "pextrw rax", 6, { 0x66, 0x48, 0x0f, 0xc5, 0xc3, 0x0d } }, { "pinsrw rax", 6, { 0x66, 0x48, 0x0f, 0xc4, 0xc3, 0x0d } },
		{ "movaps rex", 4, { 0x45, 0x0f, 0x28, 0xd1 } }, { "cvtsi2sd from ah's number", 4, { 0xf2, 0x0f, 0x2a, 0xc4 } },
		{ "andps, repeated prefix", 4, { 0xf3, 0x0f, 0x54, 0xc1 } }, { "lock addps", 4, { 0xf0, 0x0f, 0x58, 0x03 } }, { "movntps register", 3, { 0x0f, 0x2b, 0xc1 } },
		{ "movlpd register", 4, { 0x66, 0x0f, 0x12, 0xc1 } }, { "movnti register", 3, { 0x0f, 0xc3, 0xc1 } },
	};
	const uint64_t since = session.cases, differences = session.differences;
	for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
		for (unsigned mode = 4; mode <= 8; mode += 4) {
			struct native_code c = { .name = list[i].name, .mode = mode, .length = list[i].length };
			const bool rex = list[i].code[0] == 0x48 || list[i].code[1] == 0x48 || list[i].code[0] == 0x45;
			memcpy(c.code, list[i].code, sizeof list[i].code);
			if (mode == 8 || !rex)
				run_code(&c);
		}
	report("other encodings", since, differences);
}

/* LDMXCSR: bit 17 is AMD's MISALIGNSSE, which the model's processor does not have; it stays clear. */
static void test_ldmxcsr(void)
{
	const uint64_t since = session.cases, differences = session.differences;
	const struct native_code c = { .name = "ldmxcsr", .mode = 8, .length = 3, .code = { 0x0f, 0xae, 0x13 } };
	struct native_state *n = native_before(session.native);
	for (unsigned i = 0; i < STATES; i++) {
		fill(&n[i], 8);
		const uint32_t value = (uint32_t)session_random(&session) & (pick(2) ? 0xffff : 0xfffdffff);
		memcpy(n[i].data + 100, &value, 4);
		n[i].reg[REG_BX] = NATIVE_WINDOW + 100;
	}
	session_check(&session, &c, STATES);
	report("ldmxcsr", since, differences);
}

static void test_maskmovdqu(void)
{
	static const uint8_t codes[][5] = { { 4, 0x66, 0x0f, 0xf7, 0xca }, { 5, 0x67, 0x66, 0x0f, 0xf7 } };
	const uint64_t since = session.cases, differences = session.differences;
	for (unsigned mode = 4; mode <= 8; mode += 4)
		for (unsigned k = 0; k < (mode == 8 ? 2u : 1u); k++) {
			struct native_code c = { .name = "maskmovdqu", .mode = mode, .length = codes[k][0] };
			struct native_state *n = native_before(session.native);
			memcpy(c.code, codes[k] + 1, 4);
			c.code[4] = 0xca; /* of the form with an address size prefix */
			for (unsigned i = 0; i < STATES; i++) {
				fill(&n[i], mode);
				n[i].reg[REG_DI] = NATIVE_WINDOW + pick(240) + (k ? session_random(&session) << 32 : 0);
			}
			session_check(&session, &c, STATES);
		}
	report("maskmovdqu", since, differences);
}

/* FXRSTOR takes its image from the first data page, FXSAVE puts one there; the x87 part stays as FNINIT leaves it. */
static void image_fill(uint8_t image[512])
{
	const uint16_t control = 0x037f;
	const uint32_t mxcsr = pick_mxcsr();
	memset(image, 0, 512);
	memcpy(image, &control, 2);
	memcpy(image + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 16; i++) {
		const union xmm x = pick_xmm();
		memcpy(image + 160 + 16 * i, &x, 16);
	}
	if (pick(8) == 0)
		image[27] = 0x80; /* a reserved bit of MXCSR */
}

static void test_fxrstor(void)
{
	const uint64_t since = session.cases, differences = session.differences;
	for (unsigned i = 0; i < 600; i++) {
		const unsigned mode = i % 3 == 0 ? 4 : 8;
		struct native_code c = { .name = "fxrstor", .mode = mode, .length = 3, .code = { 0x0f, 0xae, 0x0b } };
		if (i % 3 == 2)
			c = (struct native_code){ .name = "fxrstor64", .mode = mode, .length = 4, .code = { 0x48, 0x0f, 0xae, 0x0b } };
		struct native_state *n = native_before(session.native);
		fill(&n[0], mode);
		n[0].reg[REG_BX] = pick(16) ? NATIVE_DATA + 16 * pick(8) : NATIVE_DATA + 8;
		image_fill((uint8_t *)(uintptr_t)(n[0].reg[REG_BX] & ~15ull));
		for (unsigned e = 0; session.model[e]; e++)
			model_pages_agree(session.model[e]);
		session_check(&session, &c, 1);
	}
	report("fxrstor", since, differences);
}

/* Byte by byte, but for MXCSR_MASK (28..31), which tells which bits the processor has: AMD has one more. */
static bool image_same(const uint8_t *real, const uint8_t *ours)
{
	return !memcmp(real, ours, 28) && !memcmp(real + 32, ours + 32, 512 - 32);
}

static void test_fxsave(void)
{
	static const struct { unsigned mode; uint8_t code[4]; unsigned length; } forms[] = { { 4, { 0x0f, 0xae, 0x03 }, 3 }, { 8, { 0x0f, 0xae, 0x03 }, 3 }, { 8, { 0x48, 0x0f, 0xae, 0x03 }, 4 } };
	unsigned cases = 0;
	for (unsigned i = 0; i < 3; i++) {
		if (forms[i].mode == 4 && !native_has_32(session.native))
			continue;
		struct native_state *n = native_before(session.native), ours;
		uint8_t *const image = (uint8_t *)NATIVE_DATA;
		fill(&n[0], forms[i].mode);
		n[0].reg[REG_BX] = NATIVE_DATA;
		memset(image, 0x5a, 512); /* what is not written stays */
		for (unsigned e = 0; session.model[e]; e++)
			model_pages_agree(session.model[e]);
		CU_ASSERT_TRUE_FATAL(native_run(session.native, forms[i].mode, forms[i].code, forms[i].length, 1));
		for (unsigned e = 0; session.model[e]; e++) {
			cases++;
			model_load(session.model[e], forms[i].mode, forms[i].code, forms[i].length);
			model_run(session.model[e], &n[0], &ours);
			CU_ASSERT_EQUAL(ours.vector, -1);
			CU_ASSERT_TRUE(image_same(image, model_data(session.model[e])));
			for (unsigned b = 0; b < 512 && !image_same(image, model_data(session.model[e])); b++)
				if (image[b] != model_data(session.model[e])[b])
					printf("  fxsave form %u byte %u: real %02x, %s %02x\n", i, b, image[b], session.engine[e], model_data(session.model[e])[b]);
		}
	}
	printf("\n    fxsave: %u images\n", cases);
}

int main(int argc, char **argv)
{
	static const struct native_test tests[] = { { "every row", test_rows }, { "other encodings", test_other_encodings }, { "ldmxcsr", test_ldmxcsr }, { "maskmovdqu", test_maskmovdqu }, { "fxrstor", test_fxrstor }, { "fxsave", test_fxsave }, { NULL, NULL } };
	if (!session_open(&session, argc, argv))
		return NATIVE_SKIPPED;
	return session_run(&session, "SSE and SSE2 against the real CPU", tests);
}
