/*
 * Proves that decoding and meaning agree with the real CPU where no table of ours chose the encoding: random opcodes, ModRM and immediates under random
 * prefixes (redundant, repeated, too many, without effect), and code that changes itself. Zydis only sorts out what the oracle cannot judge: instructions of
 * extensions outside the subset, those that leave to the kernel, and those whose result is time or the maker's. Independent reference: the processor that
 * runs this test (native_oracle.h).
 */
#include "native_encode.h"
#include <CUnit/Basic.h>
#include <Zydis/Zydis.h>
#include <stdio.h>

enum { CODES = 120000, STATES = 6, WRITES = 1500 };

static struct native_session session;

static unsigned pick(unsigned n)
{
	return (unsigned)((session_random(&session) >> 33) % n);
}

/* ---------------------------------------------------------------- making */
static void put_random(struct native_code *c, unsigned bytes)
{
	for (unsigned i = 0; i < bytes && c->length < 15; i++)
		c->code[c->length++] = (uint8_t)session_random(&session);
}

/* Prefixes, an opcode, and bytes for whatever it takes. FS and GS have bases of their own on the real side. */
static void make(struct native_code *c, unsigned mode)
{
	static const uint8_t prefixes[] = { 0x66, 0x66, 0x66, 0x67, 0xf2, 0xf3, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e };
	const unsigned count = pick(60) == 0 ? pick(15) : pick(2) ? 0 : 1 + pick(3);
	*c = (struct native_code){ .name = "random", .mode = mode };
	for (unsigned i = 0; i < count; i++)
		c->code[c->length++] = prefixes[pick(sizeof prefixes)];
	if (mode == 8 && pick(2))
		c->code[c->length++] = (uint8_t)(0x40 | pick(16));
	if (pick(2))
		c->code[c->length++] = 0x0f;
	put_random(c, 15);
}

/* ---------------------------------------------------------------- judging */
static bool in_subset(const ZydisDecodedInstruction *d)
{
	static const ZydisISASet sets[] = { ZYDIS_ISA_SET_I86, ZYDIS_ISA_SET_I186, ZYDIS_ISA_SET_I286REAL, ZYDIS_ISA_SET_I286PROTECTED, ZYDIS_ISA_SET_I386, ZYDIS_ISA_SET_I486,
		ZYDIS_ISA_SET_I486REAL, ZYDIS_ISA_SET_PPRO, ZYDIS_ISA_SET_CMOV, ZYDIS_ISA_SET_FAT_NOP, ZYDIS_ISA_SET_LAHF, ZYDIS_ISA_SET_LONGMODE, ZYDIS_ISA_SET_CMPXCHG16B,
		ZYDIS_ISA_SET_PENTIUMREAL, ZYDIS_ISA_SET_SSE, ZYDIS_ISA_SET_SSE2, ZYDIS_ISA_SET_PAUSE, ZYDIS_ISA_SET_CLFSH, ZYDIS_ISA_SET_SSE_PREFETCH };
	for (unsigned i = 0; i < sizeof sets / sizeof *sets; i++)
		if (d->meta.isa_set == sets[i])
			return true;
	return false;
}

/* Into the kernel, of the clock, of this machine's descriptors, of makers who differ; or (branches) somewhere that the two sides fill differently. */
static bool is_unfit(ZydisMnemonic m)
{
	static const ZydisMnemonic unfit[] = { ZYDIS_MNEMONIC_INT, ZYDIS_MNEMONIC_INT1, ZYDIS_MNEMONIC_SYSCALL, ZYDIS_MNEMONIC_SYSENTER, ZYDIS_MNEMONIC_SYSRET, ZYDIS_MNEMONIC_SYSEXIT,
		ZYDIS_MNEMONIC_CPUID, ZYDIS_MNEMONIC_RDTSC, ZYDIS_MNEMONIC_RDPMC, ZYDIS_MNEMONIC_SGDT, ZYDIS_MNEMONIC_SIDT, ZYDIS_MNEMONIC_SLDT, ZYDIS_MNEMONIC_STR, ZYDIS_MNEMONIC_SMSW,
		ZYDIS_MNEMONIC_LAR, ZYDIS_MNEMONIC_LSL, ZYDIS_MNEMONIC_VERR, ZYDIS_MNEMONIC_VERW, ZYDIS_MNEMONIC_ARPL, ZYDIS_MNEMONIC_ENTER, ZYDIS_MNEMONIC_IRET,
		ZYDIS_MNEMONIC_IRETD, ZYDIS_MNEMONIC_IRETQ, ZYDIS_MNEMONIC_RET, ZYDIS_MNEMONIC_LDS, ZYDIS_MNEMONIC_LES, ZYDIS_MNEMONIC_LSS, ZYDIS_MNEMONIC_LFS, ZYDIS_MNEMONIC_LGS,
		ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFD, ZYDIS_MNEMONIC_POPFQ, ZYDIS_MNEMONIC_UD0, ZYDIS_MNEMONIC_LMSW, ZYDIS_MNEMONIC_PREFETCHW, ZYDIS_MNEMONIC_PREFETCH,
		ZYDIS_MNEMONIC_CVTPI2PS, ZYDIS_MNEMONIC_CVTPI2PD, ZYDIS_MNEMONIC_CVTPS2PI, ZYDIS_MNEMONIC_CVTPD2PI, ZYDIS_MNEMONIC_CVTTPS2PI, ZYDIS_MNEMONIC_CVTTPD2PI,
		ZYDIS_MNEMONIC_MASKMOVDQU /* where it faults on a page that holds no selected byte is the maker's */ };
	for (unsigned i = 0; i < sizeof unfit / sizeof *unfit; i++)
		if (m == unfit[i])
			return true;
	return false;
}

static bool has_operand(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *o, ZydisRegisterClass class)
{
	for (unsigned i = 0; i < d->operand_count; i++)
		if (o[i].type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o[i].reg.value) == class)
			return true;
	return false;
}

static bool has_prefix(const ZydisDecodedInstruction *d, uint8_t prefix)
{
	for (unsigned i = 0; i < d->raw.prefix_count; i++)
		if (d->raw.prefixes[i].value == prefix)
			return true;
	return false;
}

/* Of branches with 66 or REP makers differ: AMD cuts RIP to 16 bits, and takes REP for the condition of LOOPE and LOOPNE. */
static bool is_judged(const struct native_code *c, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *o)
{
	const bool wide = c->mode == 8, quirk = wide && d->operand_width == 32;
	if (!in_subset(d) || is_unfit(d->mnemonic) || has_operand(d, o, ZYDIS_REGCLASS_MMX) || has_operand(d, o, ZYDIS_REGCLASS_CONTROL) || has_operand(d, o, ZYDIS_REGCLASS_DEBUG))
		return false;
	if (d->meta.isa_ext == ZYDIS_ISA_EXT_X87)
		return false;
	if (d->attributes & (ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS))
		return false;
	if (d->meta.category == ZYDIS_CATEGORY_IOSTRINGOP) /* REP with a count of 0: some check the permission first */
		return !(d->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE));
	if (d->meta.category == ZYDIS_CATEGORY_COND_BR || d->meta.category == ZYDIS_CATEGORY_UNCOND_BR || d->meta.category == ZYDIS_CATEGORY_CALL)
		return o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && o[0].imm.is_relative && !has_prefix(d, 0x66) && !has_prefix(d, 0xf2) && !has_prefix(d, 0xf3);
	switch (d->mnemonic) {
	case ZYDIS_MNEMONIC_PAUSE: /* F3 90 with REX.B: XCHG of R8 on AMD, which Zydis takes for PAUSE */
		return !(d->attributes & ZYDIS_ATTRIB_HAS_REX);
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_POP:
	case ZYDIS_MNEMONIC_PUSH: /* selectors: FS and GS differ, others may end what follows */
		return !has_operand(d, o, ZYDIS_REGCLASS_SEGMENT);
	case ZYDIS_MNEMONIC_CMPXCHG:
		return !(quirk && o[0].type == ZYDIS_OPERAND_TYPE_REGISTER);
	case ZYDIS_MNEMONIC_BSF:
	case ZYDIS_MNEMONIC_BSR:
		return !quirk;
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
	case ZYDIS_MNEMONIC_BSWAP: /* undefined results */
		return d->operand_width != 16;
	default:
		return true;
	}
}

/* The undefined flags of an instruction: from the row of its name. */
static void set_undefined(struct native_code *c, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *o)
{
	const char *name = ZydisMnemonicGetString(d->mnemonic);
	const struct row *row;
	for (unsigned i = 0; (row = row_get(i)); i++)
		if (!strcmp(row->name, name))
			break;
	c->name = name;
	c->approximate = !strncmp(name, "rcp", 3) || !strncmp(name, "rsqrt", 5);
	c->fixed = row ? row->undefined : 0;
	if (!(c->fixed & KIND))
		return;
	const ZydisDecodedOperand *count = &o[(c->fixed & KIND) == DOUBLES ? 2 : 1];
	c->undefined = shift_undefined;
	c->fixed |= (uint32_t)__builtin_ctz(o[0].size) << 20;
	if (count->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		c->fixed |= (((uint32_t)count->imm.value.u & 63) + 1) << 24;
}

/* Displacements without a base go into the window, large ones become small, branches go to pads. */
static void tame(struct native_code *c, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *o)
{
	const ZydisDecodedOperand *m = NULL;
	for (unsigned i = 0; i < d->operand_count_visible; i++)
		if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			m = &o[i];
	if (m && d->raw.disp.size >= 32) {
		const bool rip = m->mem.base == ZYDIS_REGISTER_RIP || m->mem.base == ZYDIS_REGISTER_EIP, base = m->mem.base != ZYDIS_REGISTER_NONE;
		const uint64_t to = base && !rip ? pick(64) : NATIVE_WINDOW + 64 + pick(100) - (rip ? NATIVE_ENTRY + d->length : 0);
		memcpy(c->code + d->raw.disp.offset, &to, d->raw.disp.size / 8);
	}
	if (o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && o[0].imm.is_relative) {
		const uint64_t by = NATIVE_PAD_STEP * (d->raw.imm[0].size == 8 ? 1 : 2) - (uint64_t)d->length;
		memcpy(c->code + d->raw.imm[0].offset, &by, d->raw.imm[0].size / 8);
	}
}

/* Makes the code one that can be compared. False: no. */
static bool judge(struct native_code *c)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction d;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	if (c->mode == 8)
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, c->code, c->length, &d, o)) || !is_judged(c, &d, o))
		return false;
	tame(c, &d, o);
	set_undefined(c, &d, o);
	c->length = d.length;
	return true;
}

static void fill(struct native_state *n, unsigned mode)
{
	session_fill(&session, n, mode);
	for (unsigned i = 0; i < 16; i++)
		if (i != REG_SP && pick(2))
			n->reg[i] = NATIVE_WINDOW + 64 + pick(128) - pick(2) * 16;
	if (pick(2))
		n->reg[REG_CX] = pick(20);
	n->eflags |= pick(4) ? 0 : FLAG_DF;
}

static void report(const char *what, uint64_t since, uint64_t differences)
{
	printf("\n    %s: %llu cases, %llu differences over all engines\n", what, (unsigned long long)(session.cases - since),
	       (unsigned long long)(session.differences - differences));
	CU_ASSERT_EQUAL(session.differences, differences);
	CU_ASSERT_EQUAL(session.died, 0);
}

static void run_random(unsigned mode, const char *what)
{
	const uint64_t since = session.cases, differences = session.differences;
	struct native_state *n = native_before(session.native);
	for (unsigned i = 0; i < CODES; i++) {
		struct native_code c;
		make(&c, mode);
		if (!judge(&c))
			continue;
		for (unsigned k = 0; k < STATES; k++)
			fill(&n[k], mode);
		session_check(&session, &c, STATES);
	}
	report(what, since, differences);
}

static void test_random_64(void)
{
	run_random(8, "random 64-bit code");
}

static void test_random_32(void)
{
	run_random(4, "random 32-bit code");
}

/* ---------------------------------------------------------------- code that changes itself */
/* A store of two bytes over one of the INCs that follow it, or over itself, or over two of them; the new instruction must run at once (SDM 3A 11.6). */
static void test_self_modifying(void)
{
	static const uint8_t replacements[][2] = { { 0xfe, 0xc3 }, { 0xfe, 0xc1 }, { 0x90, 0xf8 }, { 0x40, 0x90 }, { 0xcc, 0xcc }, { 0xf4, 0x90 }, { 0xb0, 0x07 } };
	const uint64_t since = session.cases, differences = session.differences;
	struct native_state *n = native_before(session.native);
	for (unsigned i = 0; i < WRITES; i++) {
		const unsigned mode = i % 2 ? 4 : 8;
		struct native_code c = { .name = "store over code", .mode = mode };
		const uint8_t *with = replacements[pick(sizeof replacements / sizeof *replacements)];
		c.code[0] = 0x66; /* mov word [bx], imm16 */
		c.code[1] = 0xc7;
		c.code[2] = 0x03;
		memcpy(c.code + 3, with, 2);
		for (c.length = 5; c.length < 21; c.length += 2)
			memcpy(c.code + c.length, (const uint8_t[]){ 0xfe, 0xc0 }, 2); /* inc al */
		session_fill(&session, &n[0], mode);
		n[0].reg[REG_BX] = NATIVE_ENTRY + pick(19);
		session_check(&session, &c, 1);
	}
	report("self-modifying code", since, differences);
}

int main(int argc, char **argv)
{
	static const struct native_test tests[] = { { "random 64-bit code", test_random_64 }, { "random 32-bit code", test_random_32 }, { "self-modifying code", test_self_modifying }, { NULL, NULL } };
	if (!session_open(&session, argc, argv))
		return NATIVE_SKIPPED;
	return session_run(&session, "random code against the real CPU", tests);
}
