/*
 * The architectural state of one x86 processor, and the ports it reaches the world through.
 *
 * Invariant: between instructions this is exactly the state that the manuals describe; inside one, nothing of it has changed until nothing
 * can fault any more. Arithmetic flags are lazy: read them through flags_get() only.
 */
#ifndef ISA_CPU_H
#define ISA_CPU_H
#include "phys.h"
#include "ports.h"
#include <setjmp.h>

enum reg { /* ORDER REG: the encoding's numbers; then temporaries that live inside one instruction */
	REG_AX, REG_CX, REG_DX, REG_BX, REG_SP, REG_BP, REG_SI, REG_DI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
	REG_T0, REG_T1, REG_T2, REG_T3, REG_T4, REG_T5,
	REG_ZERO, /* always 0: no base, no index */
	REG_SINK, /* written, never read */
	REG_COUNT
};

enum segment_name { /* ORDER SEGMENT: the encoding's numbers */
	SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT
};

/* A segment register with its hidden part. Attributes as in the descriptor's second word, bits 8-15 and 20-23 shifted down (SDM 3A 3.4.5, and the VMCS
 * access-rights format, SDM 3C 24.4.1): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16. */
struct segment {
	uint16_t selector;
	uint32_t attributes;
	uint32_t limit; /* bytes, expanded by G: the last valid offset */
	uint64_t base;
};
enum {
	SEGA_TYPE = 0xf, SEGA_ACCESSED = 1, SEGA_WRITE_READ = 2 /* writable data, readable code */, SEGA_DOWN_CONFORMING = 4, SEGA_CODE = 8, SEGA_S = 0x10,
	SEGA_DPL_SHIFT = 5, SEGA_DPL = 0x60, SEGA_P = 0x80, SEGA_AVL = 0x1000, SEGA_L = 0x2000, SEGA_DB = 0x4000, SEGA_G = 0x8000, SEGA_UNUSABLE = 0x10000,
};

struct descriptor_table { uint64_t base; uint16_t limit; };

/* Lazy arithmetic flags: what the last flag-writing micro-op was. */
struct lazy_flags {
	uint32_t op;     /* enum flags_op (isa/flags.h) with the operand size; FLAGS_EXPLICIT: `result` holds the flag bits themselves */
	uint64_t result;
	uint64_t source;
	uint64_t extra;  /* carry in (ADC, SBB), carry kept by INC and DEC, ... */
};

#define FLAG_CF 0x1u
#define FLAG_PF 0x4u
#define FLAG_AF 0x10u
#define FLAG_ZF 0x40u
#define FLAG_SF 0x80u
#define FLAG_TF 0x100u
#define FLAG_IF 0x200u
#define FLAG_DF 0x400u
#define FLAG_OF 0x800u
#define FLAG_IOPL 0x3000u
#define FLAG_NT 0x4000u
#define FLAG_RF 0x10000u
#define FLAG_VM 0x20000u
#define FLAG_AC 0x40000u
#define FLAG_VIF 0x80000u
#define FLAG_VIP 0x100000u
#define FLAG_ID 0x200000u
#define FLAGS_ARITH (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define CR0_PE 1u
#define CR0_MP 2u
#define CR0_EM 4u
#define CR0_TS 8u
#define CR0_ET 0x10u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_AM 0x40000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u
#define CR4_VME 1u
#define CR4_PVI 2u
#define CR4_TSD 4u
#define CR4_DE 8u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_MCE 0x40u
#define CR4_PGE 0x80u
#define CR4_PCE 0x100u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define CR4_UMIP 0x800u
#define CR4_LA57 0x1000u
#define CR4_FSGSBASE 0x10000u
#define CR4_PCIDE 0x20000u
#define CR4_SMEP 0x100000u
#define CR4_SMAP 0x200000u
#define EFER_SCE 1u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define EFER_NXE 0x800u

enum vector {
	VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6, VEC_NM = 7, VEC_DF = 8, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13,
	VEC_PF = 14, VEC_MF = 16, VEC_AC = 17, VEC_XM = 19
};

union xmm {
	uint8_t b[16];
	uint16_t w[8];
	uint32_t d[4];
	uint64_t q[2];
	float f[4];
	double g[2];
} __attribute__((aligned(16)));

/* x87 and MMX state is carried for FXSAVE/FXRSTOR and FNINIT/FNSAVE only: the subset has no x87 arithmetic. */
struct x87_image {
	uint16_t control, status, tag /* full 16-bit form */, opcode;
	uint64_t ip, dp;
	uint8_t st[8][16]; /* 10 bytes used */
};

enum { ATTENTION_TIME = 2 }; /* cpu->attention: time may have come; what runs is not cut short for it */
enum cpu_stop { /* why an engine came back */
	CPU_RUNNING,
	CPU_HALTED,       /* HLT: until an interrupt */
	CPU_SHUTDOWN,     /* triple fault */
	CPU_STOP_REQUEST, /* a port asked the machine to stop (debug exit, VMM panic) */
};

/* How a delivery or an IRET went, kept for when all is so again (isa/transfer_memo.c). `decided`: the bits of the mode key that follow from it. */
enum { GATE_MEMOS = 32, RETURN_MEMOS = 8 };
struct gate_memo {
	uint32_t key;           /* vector, privilege and mode: gate_key(); 0: empty */
	uint32_t flags_cleared, decided, mode_key;
	uint64_t gate[2], code, stack; /* bytes of the gate (in long mode 16), and of the descriptors of the handler's code and stack */
	uint64_t rip;
	struct segment cs, ss;
	uint8_t cpl, tss;       /* tss: offset of the stack pointer in the TSS; 0: it is not looked at */
	bool loads_ss;
};
struct return_memo {
	uint64_t key;           /* selectors, privilege and mode: return_key(); 0: empty */
	uint32_t decided, mode_key;
	uint64_t code, stack;   /* stack 0: no descriptor is read */
	struct segment cs, ss;
};

struct uop;
struct block;

struct cpu {
	/* ---- touched by every instruction ---- */
	uint64_t reg[REG_COUNT];
	struct lazy_flags flags;
	uint64_t rip;             /* offset in CS; exact at block boundaries. Inside a sys_fn it is already the next instruction's (cpu_insn_start() gives the
	                             instruction's own); inside a memory access of a plain micro-op it is the instruction's own */
	struct memory_port mem;   /* by value: the fast path reads it without a second load */
	struct event_sink *events;
	uint64_t icount;          /* instructions retired; settled per block, exact whenever a port or helper is called */
	int64_t budget;           /* instructions left before the engine must come back; engines leave at the first block boundary where it is <= 0 */
	const struct uop *at;     /* the micro-op that entered a slow path: precise faults come from it */
	struct block *block;      /* and its block */
	uint64_t stamp;           /* chains to blocks of this stamp are valid: epoch and tag of `mem`, 0 while attention is wanted (isa/block.h) */
	uint32_t attention;       /* engines leave at the next block boundary when non-zero: 1 (stop, interrupt window, HLT, ...), or ATTENTION_TIME */
	bool bounded;             /* a deadline ends this batch: what may take longer than an ordinary instruction (an exit, a REP) asks for attention behind it */

	/* ---- flags that are not arithmetic ---- */
	uint32_t eflags;          /* everything but FLAGS_ARITH; bit 1 set */
	uint8_t cpl;
	uint8_t code_size;        /* 2, 4 or 8: derived from CS and EFER.LMA */
	bool shadow_sti, shadow_ss; /* interrupts are held off until after the next instruction (SDM 3A 6.8.3) */
	uint32_t mode_key;        /* what blocks are keyed by beside the physical PC: recomputed by cpu_mode_update() */

	struct segment seg[SEG_COUNT], ldtr, tr;
	struct descriptor_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer;
	uint64_t dr[8];
	uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_aux, tsc_offset, pat, apic_base, misc_enable;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t mtrr_def_type, mtrr[24];
	union xmm xmm[16];
	union xmm xmm_temp[2];    /* memory operands of SSE instructions */
	uint32_t mxcsr;
	uint32_t mxcsr_real;      /* the translator's: the real MXCSR holds the guest's, whose flags are read back before C runs (isa/engine_dbt_sse.c); else 0 */
	struct x87_image x87;
	uint64_t real_stack, real_floor; /* the translator's: the real stack pointer that leaving its code needs, and the lowest for one more return address (isa/engine_dbt_return.c) */

	/* ---- ports ---- */
	struct vmm_port vmm;
	struct io_port io;
	struct clock_port clock;
	struct phys *phys;        /* host-physical memory */
	struct cpu_features *features;

	/* ---- the machinery of exceptions ---- */
	jmp_buf *escape;          /* where cpu_raise() goes: set by the engine's run */
	enum cpu_stop stop;
	struct { uint8_t vector; bool active; uint8_t ext; /* EXT bit of error codes raised meanwhile (SDM 3A 6.13) */ } delivering; /* for double faults */
	struct { uint8_t vector; int64_t error; /* -1: none */ uint64_t cr2; bool soft; } raised; /* filled by cpu_raise*() before longjmp(*escape, 1); the engine puts rip,
	                             icount and budget right through `at` (EV_CUT included) and then calls cpu_deliver_raised() */
	uint64_t soft_start;      /* INT n, INT3, INTO, INT1: where the instruction starts; saved when its delivery faults */
	uint32_t state_emitted;   /* id of the last EV_STATE */
	struct block_cache *blocks;
	struct unknown_opcodes *unknown; /* counts of opcodes outside the subset, by name */
	struct event_filter filter; /* of `events`, where emitted code reaches it */
	struct gate_memo gate_memo[GATE_MEMOS];
	struct return_memo return_memo[RETURN_MEMOS];
	bool no_memos;            /* none are made: the reference engine works everything out */
	uint64_t user_calls;      /* sum over the system calls of user programs of a hash of their registers (isa/user_calls.h) */
	uint64_t emulated;        /* instructions that a VMM carried out or trapped: Popek and Goldberg's efficiency */
};

/* What CPUID reports, and what CR4 and EFER accept. One row of a preset. */
struct cpu_features {
	bool long_mode, pcid, invpcid, smep, smap, umip, la57, nx, gbyte_pages, pge, fsgsbase, sse2, rdtscp, cx16, vmx, svm;
	uint8_t phys_bits; /* MAXPHYADDR: 32..52 */
	uint32_t family_model_stepping; /* CPUID.1:EAX */
	char vendor[13], brand[49];
};
/* Everything that the subset implements, 46 physical bits. */
extern const struct cpu_features cpu_features_all;

/* Power-on state for Ringside: SDM 3A table 9-1 (real mode at F000:FFF0). Ports, phys and features stay as they are. */
void cpu_reset(struct cpu *cpu);
/* Recomputes code_size, mode_key and the memory port's tags after CS, CR0, EFER, CPL or a data segment changed. */
void cpu_mode_update(struct cpu *cpu);
/* The memory port's tags alone: after CPL, EFLAGS.AC, CR4.SMAP or the port's mode_tag[] changed. */
static inline void cpu_memory_mode_follow(struct cpu *cpu)
{
	bool ac = (cpu->eflags & FLAG_AC) && (cpu->cr4 & CR4_SMAP);
	uint64_t before = cpu->mem.tag;
	cpu->mem.supervisor_tag = cpu->mem.mode_tag[MEMORY_SUPERVISOR];
	cpu->mem.tag = cpu->mem.mode_tag[cpu->cpl == 3 ? MEMORY_USER : ac ? MEMORY_SUPERVISOR_AC : MEMORY_SUPERVISOR];
	if (cpu->mem.tag != before && cpu->events && cpu->events->filter)
		event_filter_turn(cpu->events->filter, cpu->cpl == 3, ac);
}

/* ---- flags (isa/flags.c) ---- */
uint32_t flags_get(const struct cpu *cpu);           /* the six arithmetic flags */
void flags_set(struct cpu *cpu, uint32_t arith);     /* replaces the six */
uint32_t cpu_eflags(const struct cpu *cpu);          /* all of EFLAGS */

/* ---- exceptions (isa/exception.c) ----
 * cpu_raise* end the present instruction: they fill cpu->raised and longjmp to the engine, which restores rip and icount through cpu->at and delivers. Callable from any helper
 * while cpu->escape is set. Error codes as SDM 3A chapter 6. */
_Noreturn void cpu_raise(struct cpu *cpu, enum vector v);
_Noreturn void cpu_raise_error(struct cpu *cpu, enum vector v, uint32_t error);
_Noreturn void cpu_raise_fault(struct cpu *cpu, const struct mem_fault *f);
/* Delivers an exception (fault, trap or INT n: `soft`) or external interrupt through the IDT (or the VMM's deliver hook), with double and triple fault rules. cpu->rip: the
 * address to save. Never escapes: faults during delivery are handled inside. On return the guest is at its handler, or cpu->stop is CPU_SHUTDOWN. */
void cpu_deliver(struct cpu *cpu, unsigned vector, int64_t error /* -1: none */, bool soft, bool external, uint64_t cr2);
/* Delivers what cpu_raise* left in cpu->raised, with cpu->rip already at the faulting instruction. For the engine's landing. */
void cpu_deliver_raised(struct cpu *cpu);
/* Emits EV_STATE when CPL, 64-bit code, IF or AC differ from the last one emitted. */
static inline uint32_t cpu_state_id(const struct cpu *cpu)
{
	return cpu->cpl | (cpu->code_size == 8 ? 4u : 0) | (cpu->eflags & FLAG_IF) >> 6 | (cpu->eflags & FLAG_AC) >> 14;
}
static inline void cpu_state_emit(struct cpu *cpu)
{
	uint32_t id = cpu_state_id(cpu);
	if (id == cpu->state_emitted)
		return;
	cpu->state_emitted = id;
	event_put(cpu->events, EV_STATE, 0, 0, id, 0);
}
/* Delivers an external interrupt; wakes from HLT. The caller has checked cpu_interruptible(). */
void cpu_interrupt(struct cpu *cpu, unsigned vector);
/* IF set and no STI or MOV SS shadow. */
static inline bool cpu_interruptible(const struct cpu *cpu)
{
	return (cpu->eflags & FLAG_IF) && !cpu->shadow_sti && !cpu->shadow_ss;
}

/* ---- memory for helpers (isa/memory.c): linear addresses; page crossings, missing memory and tracked pages handled; events emitted; raise on fault.
 * supervisor: implicit supervisor access (descriptor tables, TSS, IDT). size 1..16. */
void mem_read(struct cpu *cpu, uint64_t linear, void *to, unsigned size, bool supervisor);
void mem_write(struct cpu *cpu, uint64_t linear, const void *from, unsigned size, bool supervisor);
uint64_t mem_read_u(struct cpu *cpu, uint64_t linear, unsigned size, bool supervisor); /* 1, 2, 4 or 8 bytes, zero-extended */
void mem_write_u(struct cpu *cpu, uint64_t linear, uint64_t value, unsigned size, bool supervisor);
/* Raises what a write of [linear, linear+size) would raise; afterwards that write cannot fault. */
void mem_probe_write(struct cpu *cpu, uint64_t linear, unsigned size, bool supervisor);
/* Like mem_read and mem_write, but return false with *fault instead of raising: for exception delivery. */
bool mem_try_read(struct cpu *cpu, uint64_t linear, void *to, unsigned size, bool supervisor, struct mem_fault *fault);
bool mem_try_write(struct cpu *cpu, uint64_t linear, const void *from, unsigned size, bool supervisor, struct mem_fault *fault);
/* Segment-relative (isa/segment.c): checks presence, type, limit (expand-down too) or canonical form and returns the linear address; raises #GP(0), #SS(0). */
uint64_t segment_linear(struct cpu *cpu, enum segment_name seg, uint64_t offset, unsigned size, enum access access);

/* ---- system instructions (isa/system*.c): each does the whole instruction, checks included; rip of the *next* instruction is in `next` where control moves.
 * They emit EV_SENSITIVE and call the VMM's hook where trap_set says so. Called by one helper micro-op each. ---- */
struct sys_operands { /* filled by the crack; a helper reads what it needs */
	uint64_t next;        /* offset of the next instruction */
	uint64_t offset;      /* memory operand, offset in seg: segment_linear() makes it linear */
	uint8_t seg;          /* enum segment_name of the memory operand */
	uint8_t reg, rm;      /* enum reg / control register / segment number, from ModRM */
	uint8_t size;         /* operand size in bytes: 1, 2, 4, 8 */
	uint8_t address_size; /* 2, 4, 8 */
	uint8_t stack_size;   /* 2, 4 or 8: width of pushes and pops by the operand size */
	bool memory;          /* rm is a memory operand */
	uint8_t rep;          /* 0, or the prefix 0xf2/0xf3: string I/O */
	uint64_t imm, imm2;   /* immediate; far pointer: offset and selector */
};
typedef void sys_fn(struct cpu *cpu, const struct sys_operands *o);

/* Segment registers (isa/segment.c). segment_load applies SDM 3A 3.4 and table "segment load" checks and raises; in real mode just shifts. */
void segment_load(struct cpu *cpu, enum segment_name seg, uint16_t selector);
/* Sets a flat segment without checks: for loaders and VMMs. code_size 2, 4 or 8 for CS. */
void segment_set_flat(struct cpu *cpu, enum segment_name seg, uint16_t selector, unsigned dpl, bool code, unsigned code_size);
/* Writes CPL and everything that follows from it. */
void cpu_set_cpl(struct cpu *cpu, unsigned cpl);
/* Control registers with all side effects and flush rules, checks already passed or passed here: raise #GP(0) on reserved bits. */
void cr0_write(struct cpu *cpu, uint64_t value);
void cr3_write(struct cpu *cpu, uint64_t value);
void cr4_write(struct cpu *cpu, uint64_t value);
void efer_write(struct cpu *cpu, uint64_t value);
/* MSRs: return false for an unknown MSR or a reserved value (the caller raises #GP(0)). */
bool msr_read(struct cpu *cpu, uint32_t msr, uint64_t *value);
bool msr_write(struct cpu *cpu, uint32_t msr, uint64_t value);
void cpuid_read(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

static inline bool cpu_long_mode(const struct cpu *cpu) { return cpu->efer & EFER_LMA; }
static inline bool cpu_protected(const struct cpu *cpu) { return cpu->cr0 & CR0_PE; }
#endif
