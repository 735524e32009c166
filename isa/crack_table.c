/*
 * Mnemonics and how they crack, in the order of the manuals' volumes: data movement, arithmetic, control, strings, system. What is not here is SSE (isa/sse.def) or
 * outside the subset (#UD, counted).
 */
#include "crack.h"

#define ROW(mnemonic, fn, ...) [ZYDIS_MNEMONIC_##mnemonic] = { .crack = crack_##fn, __VA_ARGS__ }
#define OP(x) .op = UOP_##x
#define CC(mnemonic, number)                                                                                                                                           \
	ROW(J##mnemonic, jcc, .aux = number), ROW(SET##mnemonic, setcc, .aux = number), ROW(CMOV##mnemonic, cmov, .aux = number)
#define STRINGS(name, kind) ROW(name##B, string, .op = 1, .aux = kind), ROW(name##W, string, .op = 2, .aux = kind), ROW(name##Q, string, .op = 8, .aux = kind)
/* SYS: the block goes on; END: it ends. S: the sensitive event. What a VMM may trap always ends the block, under every technique, so that blocks are the same under all. */
#define SYS(mnemonic, fn) ROW(mnemonic, sys, .sys = sys_##fn)
#define END(mnemonic, fn) ROW(mnemonic, sys, .sys = sys_##fn, .aux = 1)
#define END_S(mnemonic, fn, s) ROW(mnemonic, sys, .sys = sys_##fn, .aux = 1, .sensitive = SENS_##s + 1)

const struct crack_row crack_rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
	/* ---- data movement ---- */
	ROW(MOV, mov), ROW(MOVZX, movzx), ROW(MOVSX, movsx), ROW(MOVSXD, movsx), ROW(LEA, lea_insn), ROW(XCHG, xchg), ROW(BSWAP, bswap), ROW(MOVNTI, movnti), ROW(XLAT, xlat),
	ROW(CBW, widen, OP(movs8_16)), ROW(CWDE, widen, OP(movs16_32)), ROW(CDQE, widen, OP(movs32_64)), ROW(CWD, widen, OP(cwd16)), ROW(CDQ, widen, OP(cwd32)),
	ROW(CQO, widen, OP(cwd64)),
	ROW(PUSH, push_insn), ROW(POP, pop_insn), ROW(PUSHA, pusha, .op = 0, .aux = 0), ROW(PUSHAD, pusha, .op = 1, .aux = 0), ROW(POPA, pusha, .op = 0, .aux = 1),
	ROW(POPAD, pusha, .op = 1, .aux = 1), ROW(LEAVE, leave), SYS(ENTER, enter),
	/* ---- arithmetic and logic ---- */
	ROW(ADD, alu, OP(add8_rr)), ROW(OR, alu, OP(or8_rr)), ROW(ADC, alu, OP(adc8_rr)), ROW(SBB, alu, OP(sbb8_rr)), ROW(AND, alu, OP(and8_rr)), ROW(SUB, alu, OP(sub8_rr)),
	ROW(XOR, alu, OP(xor8_rr)), ROW(CMP, compare, OP(cmp8_rr)), ROW(TEST, compare, OP(test8_rr)), ROW(INC, step, OP(inc8)), ROW(DEC, step, OP(dec8)), ROW(NEG, step, OP(neg8)),
	ROW(NOT, not, OP(not8)), ROW(MUL, mul, OP(mul8)), ROW(IMUL, imul, OP(imul8)), ROW(DIV, div, OP(div8)), ROW(IDIV, div, OP(idiv8)),
	ROW(SHL, shift, OP(shl8_ri)), ROW(SHR, shift, OP(shr8_ri)), ROW(SAR, shift, OP(sar8_ri)), ROW(SALC, simple, OP(salc)),
	ROW(ROL, rotate, OP(rol8_ri)), ROW(ROR, rotate, OP(ror8_ri)), ROW(RCL, rotate, OP(rcl8_ri)), ROW(RCR, rotate, OP(rcr8_ri)),
	ROW(SHLD, double_shift, OP(shld16_ri)), ROW(SHRD, double_shift, OP(shrd16_ri)),
	ROW(BT, bt, OP(bt16)), ROW(BTS, bit, OP(bts16)), ROW(BTR, bit, OP(btr16)), ROW(BTC, bit, OP(btc16)), ROW(BSF, scan, OP(bsf16)), ROW(BSR, scan, OP(bsr16)),
	ROW(CMPXCHG, cmpxchg, OP(cmpxchg8)), ROW(CMPXCHG8B, cmpxchg8b), ROW(CMPXCHG16B, cmpxchg16b), ROW(XADD, xadd, OP(add8_rr)),
	ROW(DAA, bcd, .aux = 0), ROW(DAS, bcd, .aux = 1), ROW(AAA, bcd, .aux = 2), ROW(AAS, bcd, .aux = 3), ROW(AAM, bcd, .aux = 4), ROW(AAD, bcd, .aux = 5),
	ROW(LAHF, simple, OP(lahf)), ROW(SAHF, simple, OP(sahf)), ROW(CMC, simple, OP(cmc)), ROW(CLC, simple, OP(clc)), ROW(STC, simple, OP(stc)), ROW(CLD, simple, OP(cld)),
	ROW(STD, simple, OP(std)),
	/* ---- conditions, ORDER CC ---- */
	CC(O, 0), CC(NO, 1), CC(B, 2), CC(NB, 3), CC(Z, 4), CC(NZ, 5), CC(BE, 6), CC(NBE, 7), CC(S, 8), CC(NS, 9), CC(P, 10), CC(NP, 11), CC(L, 12), CC(NL, 13), CC(LE, 14),
	CC(NLE, 15),
	/* ---- control ---- */
	ROW(JMP, jmp), ROW(CALL, call), ROW(RET, ret), ROW(LOOP, loop, .aux = 0), ROW(LOOPE, loop, .aux = 1), ROW(LOOPNE, loop, .aux = 2), ROW(JCXZ, loop, .op = 2, .aux = 3),
	ROW(JECXZ, loop, .op = 4, .aux = 3), ROW(JRCXZ, loop, .op = 8, .aux = 3),
	/* ---- strings ---- */
	STRINGS(MOVS, STRING_MOVS), STRINGS(CMPS, STRING_CMPS), STRINGS(SCAS, STRING_SCAS), STRINGS(STOS, STRING_STOS), STRINGS(LODS, STRING_LODS),
	ROW(MOVSD, string_or_sse, .op = 4, .aux = STRING_MOVS), ROW(CMPSD, string_or_sse, .op = 4, .aux = STRING_CMPS), ROW(SCASD, string, .op = 4, .aux = STRING_SCAS),
	ROW(STOSD, string, .op = 4, .aux = STRING_STOS), ROW(LODSD, string, .op = 4, .aux = STRING_LODS),
	/* ---- hints and fences ---- */
	ROW(NOP, nop), ROW(ENDBR32, nop), ROW(ENDBR64, nop), ROW(PREFETCH, nop), ROW(PREFETCHNTA, nop), ROW(PREFETCHT0, nop), ROW(PREFETCHT1, nop), ROW(PREFETCHT2, nop),
	ROW(PREFETCHW, nop), ROW(LFENCE, nop), ROW(MFENCE, nop), ROW(SFENCE, nop), ROW(CLFLUSH, clflush), END_S(PAUSE, pause, PAUSE),
	ROW(UD0, ud), ROW(UD1, ud), ROW(UD2, ud),
	/* ---- system: transfers ---- */
	END_S(INT, int_n, INT_N), END_S(INT3, int3, INT_N), END_S(INTO, into, INT_N), END(INT1, int1), END_S(IRET, iret, IRET), END_S(IRETD, iret, IRET), END_S(IRETQ, iret, IRET),
	END_S(SYSCALL, syscall, SYSCALL), END_S(SYSRET, sysret, SYSRET), END_S(SYSENTER, sysenter, SYSENTER), END_S(SYSEXIT, sysexit, SYSEXIT), END_S(HLT, hlt, HLT),
	/* ---- system: segments and descriptor tables ---- */
	END_S(LGDT, lgdt, LGDT), END_S(LIDT, lidt, LIDT), END_S(SGDT, sgdt, SGDT), END_S(SIDT, sidt, SIDT), END_S(LLDT, lldt, LLDT), END_S(SLDT, sldt, SLDT), END_S(LTR, ltr, LTR),
	END_S(STR, str, STR), END_S(LAR, lar, DESCRIPTOR_QUERY), END_S(LSL, lsl, DESCRIPTOR_QUERY), END_S(VERR, verr, DESCRIPTOR_QUERY), END_S(VERW, verw, DESCRIPTOR_QUERY),
	SYS(ARPL, arpl), END_S(LES, load_far_pointer, SEGMENT_LOAD), END_S(LDS, load_far_pointer, SEGMENT_LOAD), END_S(LSS, load_far_pointer, SEGMENT_LOAD),
	END_S(LFS, load_far_pointer, SEGMENT_LOAD), END_S(LGS, load_far_pointer, SEGMENT_LOAD), END_S(SWAPGS, swapgs, SWAPGS),
	ROW(RDFSBASE, sys, .sys = sys_fsgsbase, .aux = 3, .op = 0), ROW(RDGSBASE, sys, .sys = sys_fsgsbase, .aux = 3, .op = 1),
	ROW(WRFSBASE, sys, .sys = sys_fsgsbase, .aux = 3, .op = 2), ROW(WRGSBASE, sys, .sys = sys_fsgsbase, .aux = 3, .op = 3),
	/* ---- system: registers ---- */
	END_S(CLTS, clts, CLTS), END_S(LMSW, lmsw, LMSW), END_S(SMSW, smsw, SMSW), END_S(RDMSR, rdmsr, MSR_READ), END_S(WRMSR, wrmsr, MSR_WRITE), END_S(CPUID, cpuid, CPUID),
	END_S(RDTSC, rdtsc, RDTSC), END_S(RDTSCP, rdtscp, RDTSC), END_S(RDPMC, rdpmc, RDPMC), END_S(INVLPG, invlpg, INVLPG), END_S(INVPCID, invpcid, INVPCID), END_S(INVD, invd, INVD),
	END_S(WBINVD, wbinvd, INVD), END_S(VMCALL, vmcall, VMCALL), END_S(VMMCALL, vmcall, VMCALL), END(CLAC, clac), END(STAC, stac),
	/* ---- system: flags, ports ---- */
	END_S(CLI, cli, CLI), END_S(STI, sti, STI), END_S(PUSHF, pushf, PUSHF), END_S(PUSHFD, pushf, PUSHF), END_S(PUSHFQ, pushf, PUSHF), END_S(POPF, popf, POPF),
	END_S(POPFD, popf, POPF), END_S(POPFQ, popf, POPF), END_S(IN, in, IO_IN), END_S(OUT, out, IO_OUT), END_S(INSB, ins, IO_IN), END_S(INSW, ins, IO_IN), END_S(INSD, ins, IO_IN),
	END_S(OUTSB, outs, IO_OUT), END_S(OUTSW, outs, IO_OUT), END_S(OUTSD, outs, IO_OUT), SYS(BOUND, bound),
	/* ---- x87 and SSE state ---- */
	SYS(FXSAVE, fxsave), SYS(FXSAVE64, fxsave), SYS(FXRSTOR, fxrstor), SYS(FXRSTOR64, fxrstor), SYS(LDMXCSR, ldmxcsr), SYS(STMXCSR, stmxcsr), SYS(FNINIT, fninit), SYS(FNSAVE, fnsave),
	SYS(FRSTOR, frstor), SYS(FNSTCW, fnstcw), SYS(FLDCW, fldcw), SYS(FNSTSW, fnstsw), SYS(FNCLEX, fnclex), SYS(FWAIT, fwait), SYS(EMMS, emms), SYS(MASKMOVDQU, maskmovdqu),
};
