/*
 * What the control transfers, segment loads and exception delivery share: descriptors, stacks, EFLAGS images. Private to isa/.
 *
 * Invariant: everything here that can fault does so before it changes architectural state. Error codes carry the EXT bit by themselves
 * (cpu->delivering.ext), so that a check is written once for instructions and for delivery.
 */
#ifndef ISA_TRANSFER_H
#define ISA_TRANSFER_H
#include "block.h"
#include "flags.h"
#include "memory.h"
#include "system.h"

/* ---- descriptors (isa/segment.c); formats: SDM 3A figures 3-8, 3-9 (segments), 6-2 and 5-8 (gates), 7-3, 7-4 (TSS) ---- */
enum descriptor_type { /* system types, SDM 3A table 3-2 */
	TYPE_TSS16 = 1, TYPE_LDT = 2, TYPE_TSS16_BUSY = 3, TYPE_CALL16 = 4, TYPE_TASK_GATE = 5, TYPE_INT16 = 6, TYPE_TRAP16 = 7,
	TYPE_TSS = 9, TYPE_TSS_BUSY = 11, TYPE_CALL = 12, TYPE_INT = 14, TYPE_TRAP = 15,
};
enum { TSS_BUSY = 2 }; /* the bit of the type field */

/* raw: the first eight bytes of a descriptor. */
static inline unsigned descriptor_dpl(uint64_t raw) { return raw >> 45 & 3; }
static inline bool descriptor_present(uint64_t raw) { return raw >> 47 & 1; }
static inline unsigned descriptor_type(uint64_t raw) { return raw >> 40 & 15; }
static inline bool descriptor_is_segment(uint64_t raw) { return raw >> 44 & 1; } /* the S bit */
static inline bool descriptor_is_code(uint64_t raw) { return (raw >> 40 & 0x18) == 0x18; }
static inline bool descriptor_is_conforming(uint64_t raw) { return (raw >> 40 & 0x1c) == 0x1c; }
static inline bool descriptor_is_writable_data(uint64_t raw) { return (raw >> 40 & 0x1a) == 0x12; }
static inline bool descriptor_is_long(uint64_t raw) { return raw >> 53 & 1; }
static inline uint32_t gate_offset_low(uint64_t raw) { return (uint32_t)(raw & 0xffff) | (uint32_t)(raw >> 32 & 0xffff0000); }
static inline uint16_t gate_selector(uint64_t raw) { return (uint16_t)(raw >> 16); }
static inline bool selector_is_null(uint16_t selector) { return !(selector & 0xfffc); }

/* The linear address of a descriptor of `bytes` bytes; false when the selector is outside its table, or there is no LDT. */
bool descriptor_find(const struct cpu *cpu, uint16_t selector, unsigned bytes, uint64_t *linear);
/* Reads the first 8 bytes, as an implicit supervisor access; raises `outside`(selector) when there is no such descriptor. */
uint64_t descriptor_read(struct cpu *cpu, uint16_t selector, enum vector outside);
/* Second half of a 16-byte descriptor (long mode). */
uint64_t descriptor_read_upper(struct cpu *cpu, uint16_t selector, enum vector outside);
/* The register image of a descriptor. */
struct segment descriptor_segment(uint16_t selector, uint64_t raw);
/* The same, with the accessed bit set here and, if it was clear, in the table (SDM 3A 3.4.5.1). May raise #PF. */
struct segment descriptor_access(struct cpu *cpu, uint16_t selector, uint64_t raw);
/* Sets or clears the busy bit of a TSS descriptor in the GDT. */
void descriptor_set_busy(struct cpu *cpu, uint16_t selector, bool busy);
/* Checks SS for `cpl` as stack switches and far returns do (SDM 2B RET, 2A INT): null -> v(0), bad -> v(selector), not present -> #SS(selector). */
struct segment segment_check_stack(struct cpu *cpu, uint16_t selector, unsigned cpl, enum vector v);
/* Checks one of ES, DS, FS, GS for a load at `cpl` and returns its image; bad -> v(selector), not present -> #NP(selector). Null is the caller's. */
struct segment segment_check_data(struct cpu *cpu, uint16_t selector, unsigned cpl, enum vector v);
/* A null selector's image; dpl matters for SS (SDM 3C 26.3.1.2: SS.DPL is CPL even when unusable). */
struct segment segment_null(uint16_t selector, unsigned dpl);
/* True when [offset, offset + n) lies inside the limit (expand-down too). */
bool segment_fits_slow(const struct segment *s, uint64_t offset, unsigned n);
static inline bool segment_fits(const struct segment *s, uint64_t offset, unsigned n)
{
	if (s->attributes & SEGA_DOWN_CONFORMING)
		return segment_fits_slow(s, offset, n);
	uint64_t last = offset + n - 1;
	return last >= offset && last <= s->limit;
}
/* Flat code or stack segments that SYSCALL, SYSENTER and kin load without reading a descriptor (SDM 2B SYSCALL). */
static inline struct segment segment_flat_code(uint16_t selector, unsigned dpl, bool long_mode)
{
	return (struct segment){ .selector = selector, .limit = 0xffffffff,
		.attributes = SEGA_CODE | SEGA_WRITE_READ | SEGA_ACCESSED | SEGA_S | SEGA_P | dpl << SEGA_DPL_SHIFT | SEGA_G | (long_mode ? SEGA_L : SEGA_DB) };
}

static inline struct segment segment_flat_data(uint16_t selector, unsigned dpl)
{
	return (struct segment){ .selector = selector, .limit = 0xffffffff,
		.attributes = SEGA_WRITE_READ | SEGA_ACCESSED | SEGA_S | SEGA_P | dpl << SEGA_DPL_SHIFT | SEGA_G | SEGA_DB };
}
/* Real-address mode: base = selector * 16, the rest of the hidden part stays. */
void segment_load_real(struct cpu *cpu, enum segment_name seg, uint16_t selector);
/* After a return to an outer ring: data segments that `cpl` may not use become null (SDM 2B RET). */
void segment_drop_inner(struct cpu *cpu, unsigned cpl);
static inline bool segment_is_inner(const struct segment *s, unsigned cpl)
{
	bool conforming = (s->attributes & (SEGA_CODE | SEGA_DOWN_CONFORMING)) == (SEGA_CODE | SEGA_DOWN_CONFORMING);
	return !(s->attributes & SEGA_UNUSABLE) && (s->attributes & SEGA_DPL) >> SEGA_DPL_SHIFT < cpl && !conforming;
}
/* Whether there are any. */
static inline bool segments_inner(const struct cpu *cpu, unsigned cpl)
{
	const struct segment *s = cpu->seg;
	return segment_is_inner(&s[SEG_ES], cpl) || segment_is_inner(&s[SEG_DS], cpl) || segment_is_inner(&s[SEG_FS], cpl) || segment_is_inner(&s[SEG_GS], cpl);
}

/* ---- faults with a selector (isa/exception.c) ---- */
_Noreturn void raise_selector(struct cpu *cpu, enum vector v, uint16_t selector);

/* 48-bit, or with CR4.LA57 57-bit, canonical form (SDM 1 3.3.7.1). */
static inline bool cpu_canonical(const struct cpu *cpu, uint64_t a)
{
	unsigned shift = cpu->cr4 & CR4_LA57 ? 7 : 16;
	return (uint64_t)((int64_t)(a << shift) >> shift) == a;
}

/* ---- stacks (isa/stack.c) ---- */
struct stack {
	struct segment ss;
	uint64_t sp, mask;
	bool flat;               /* 64-bit mode: no base, no limit, canonical addresses */
	bool supervisor;         /* pushes are made for a more privileged level than cpu->cpl */
	uint16_t fault_selector; /* of #SS: a new stack's selector, or 0 */
};
struct stack stack_current(const struct cpu *cpu);
/* A stack that `cpl` is about to use. */
struct stack stack_new(const struct cpu *cpu, struct segment ss, uint64_t sp, unsigned cpl, bool flat, uint16_t fault_selector);
/* Raises #SS or #PF unless `count` pushes of `size` bytes can be made. */
void stack_reserve(struct cpu *cpu, const struct stack *s, unsigned count, unsigned size);
/* Raises unless one push could be made; writes nothing. */
void stack_probe(struct cpu *cpu, const struct stack *s, unsigned size);
void stack_push(struct cpu *cpu, struct stack *s, uint64_t value, unsigned size);
uint64_t stack_pop(struct cpu *cpu, struct stack *s, unsigned size);
/* The same for `count` values in order: at once where they lie in one page that nothing is wanted of. */
void stack_push_all(struct cpu *cpu, struct stack *s, const uint64_t *value, unsigned count, unsigned size);
void stack_pop_all(struct cpu *cpu, struct stack *s, uint64_t *value, unsigned count, unsigned size);
/* Writes the stack pointer register by the stack's width. */
void stack_commit(struct cpu *cpu, const struct stack *s);

/*
 * Values of `size` bytes on the stack, all of them served by the fast table: `bytes` bytes from address `linear` on, in one page or two. The value at `at` is at real[at >= split] + at.
 */
struct stack_window {
	uint8_t *real[2];
	uint64_t linear;
	unsigned split;
};
/* False: they must be looked at one by one. flat: as in struct stack. */
static inline __attribute__((always_inline)) bool stack_window_map(struct cpu *cpu, uint64_t linear, unsigned bytes, unsigned size, bool write, bool supervisor, bool flat, struct stack_window *w)
{
	unsigned room = 4096 - (unsigned)(linear & 4095);
	w->linear = linear;
	w->split = room < bytes ? room : bytes;
	w->real[0] = memory_quick(cpu, linear, w->split, write, supervisor);
	if (!w->real[0] || (flat && !cpu_canonical(cpu, linear)))
		return false;
	if (w->split == bytes)
		return true;
	w->real[1] = memory_quick(cpu, linear + room, bytes - room, write, supervisor);
	if (!w->real[1] || room % size || (flat ? !cpu_canonical(cpu, linear + bytes - 1) : linear + bytes - 1 > 0xffffffff))
		return false;
	w->real[1] -= room;
	return true;
}
static inline uint8_t *stack_window_at(const struct stack_window *w, unsigned at) { return w->real[at >= w->split] + at; }

/* ---- quick forms (uop.h) ---- */
enum { FLAGS_SYSRET = 0x3c7fd7 }; /* what SYSRET takes from R11: SDM 2B SYSRET */
sys_quick_fn quick_syscall, quick_sysret, quick_swapgs, quick_int_n, quick_iret;
/* No events are wanted, and neither this instruction nor a change of the privilege level has a hook. */
static inline bool quick_allowed(const struct cpu *cpu, enum sensitive what)
{
	return !cpu->events->on && !(cpu->vmm.trap_set & SENS_BIT(what)) && !cpu->vmm.cpl_changed;
}
/* transfer_finish() where nothing but the privilege level and IF may have changed: 64-bit code stays 64-bit code, and so on. */
static inline __attribute__((always_inline)) void quick_finish(struct cpu *cpu, const unsigned cpl)
{
	bool ac = (cpu->eflags & FLAG_AC) && (cpu->cr4 & CR4_SMAP);
	cpu->cpl = cpl;
	cpu->mode_key = (cpu->mode_key & ~(uint32_t)KEY_USER) | (cpl == 3 ? KEY_USER : 0);
	cpu->mem.tag = cpu->mem.mode_tag[cpl == 3 ? MEMORY_USER : ac ? MEMORY_SUPERVISOR_AC : MEMORY_SUPERVISOR];
	block_stamp_now(cpu);
	cpu->state_emitted = cpu_state_id(cpu); /* as cpu_state_emit() leaves it when no events are wanted */
}

/* ---- the rest ---- */
static inline bool cpu_code64(const struct cpu *cpu) { return cpu->code_size == 8; }
static inline unsigned cpu_iopl(const struct cpu *cpu) { return cpu->eflags >> 12 & 3; }

/* Raises #GP(0) (with EXT) unless `offset` may be executed in `cs`. */
void code_offset_check(struct cpu *cpu, const struct segment *cs, uint64_t offset);
/* Replaces the bits of EFLAGS in `mask`; returns those beside the arithmetic ones that changed. TF and AC are then the caller's business. */
static inline uint32_t eflags_put(struct cpu *cpu, uint32_t value, uint32_t mask)
{
	uint32_t before = cpu->eflags;
	if ((mask & FLAGS_ARITH) == FLAGS_ARITH)
		flags_put(cpu, FLAGS_EXPLICIT, value & FLAGS_ARITH, 0, 0);
	else if (mask & FLAGS_ARITH)
		flags_set(cpu, (flags_get(cpu) & ~mask) | (value & mask));
	/* RF is not kept: without instruction breakpoints nothing but saved images can show it. */
	cpu->eflags = ((before & ~mask) | (value & mask & ~FLAG_RF) | 2) & ~FLAGS_ARITH;
	return before ^ cpu->eflags;
}
/* The same; keeps mode and memory port in step with TF and AC. */
void eflags_write(struct cpu *cpu, uint64_t value, uint32_t mask);
/* The bits that POPF and IRET may change at this privilege: SDM 2B POPF table 4-x, 2A IRET. size: operand size. */
uint32_t eflags_mask(const struct cpu *cpu, unsigned size);
/* After CS and CPL changed: mode, hook, EV_STATE. */
static inline void transfer_finish(struct cpu *cpu, unsigned old_cpl)
{
	block_mode_follow(cpu);
	if (cpu->vmm.cpl_changed && old_cpl != cpu->cpl)
		cpu->vmm.cpl_changed(cpu->vmm.self, cpu, old_cpl);
	cpu_state_emit(cpu);
}
/* True at CPL 0; else what privilege_failed() does, and false when the VMM has carried the instruction out. */
static inline bool ring0_or_failed(struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value)
{
	if (cpu->cpl == 0)
		return true;
	privilege_failed(cpu, what, addr, value);
	return false;
}
/* What IRET may change beyond popf: at CPL 0 the virtual flags, too (SDM 2A IRET). */
static inline uint32_t iret_mask(const struct cpu *cpu, unsigned size)
{
	return eflags_mask(cpu, size) | (cpu->cpl == 0 && size != 2 ? FLAG_VIF | FLAG_VIP : 0);
}

/* ---- deliveries (isa/exception.c) ---- */
struct delivery {
	unsigned vector;
	int64_t error;  /* -1: none */
	bool soft;      /* INT n, INT3, INTO: the gate's DPL counts */
	bool fault;     /* the frame's RF is set: SDM 3B 17.3.1.1 */
	uint64_t rip;   /* to be saved */
};
static inline uint32_t delivery_flags(const struct cpu *cpu, const struct delivery *d)
{
	return cpu_eflags(cpu) | (d->fault ? FLAG_RF : 0);
}

struct gate {
	unsigned type;
	uint16_t selector;
	uint64_t offset;
	unsigned ist;    /* long mode */
	uint64_t raw[2]; /* raw[1]: in long mode */
};
/* The flags that a handler starts without; an interrupt gate takes IF, a trap gate leaves it. */
static inline uint32_t gate_flags_cleared(const struct gate *g)
{
	return FLAG_TF | FLAG_NT | FLAG_VM | FLAG_RF | (g->type & 1 ? 0 : FLAG_IF);
}

/* ---- what has been taken before (isa/transfer_memo.c) ---- */
/* Delivers as the same delivery went before; false: it has not been seen, or not so, and nothing has been done. */
bool gate_repeat(struct cpu *cpu, const struct delivery *d);
/* Keeps how a delivery through `g` went, which is over. key: gate_key() from before it. */
void gate_remember(struct cpu *cpu, uint32_t key, const struct gate *g);
uint32_t gate_key(const struct cpu *cpu, const struct delivery *d);
/* The same for IRET of an operand size, by its frame's selectors. outer: SS was popped; else `ss` is 0. */
bool return_repeat(struct cpu *cpu, unsigned size);
void return_remember(struct cpu *cpu, uint64_t key, unsigned size, bool outer);
uint64_t return_key(const struct cpu *cpu, uint16_t cs, uint16_t ss);

/* Delivers INT n, INT3, INTO inside their sys_fn. A fault of the delivery is raised as the instruction's own. */
void exception_soft(struct cpu *cpu, unsigned vector);

/* ---- task switches (isa/task.c) ---- */
enum task_source { TASK_JMP, TASK_CALL, TASK_INT, TASK_FAULT /* a fault-class exception: RF is set in the image saved */, TASK_IRET };
/* Switches to the task of `selector` (SDM 3A 7.3). cpu->rip: what the old task saves. error < 0: none to push. Checks before the commit point raise in the old task,
 * later ones in the new (cpu->rip is then the new task's). */
void task_switch(struct cpu *cpu, uint16_t selector, enum task_source why, int64_t error);
/* The same for an instruction: faults in the new task's context are delivered there. */
void task_switch_instruction(struct cpu *cpu, uint16_t selector, enum task_source why);
/* Stack pointer and SS for a more privileged level from the TSS (SDM 3A 7.2.1, 8.7.7). Long mode: only *sp; ist 1..7 takes that entry. Raises #TS. */
void tss_stack(struct cpu *cpu, unsigned cpl, unsigned ist, uint16_t *ss, uint64_t *sp);
/* Where in a TSS of this register width the pointer is. 64-bit TSS, SDM 3A figure 7-11: RSP0..2 at 4, IST1..7 at 36. Others: back link, then pairs of (E)SP and SS. */
static inline unsigned tss_stack_offset(unsigned width, unsigned cpl, unsigned ist)
{
	if (width == 8)
		return ist ? 36 + (ist - 1) * 8 : 4 + cpl * 8;
	return width + cpl * 2 * width;
}

/* What WRMSR of EFER would accept (isa/control.c). */
bool efer_valid(const struct cpu *cpu, uint64_t value);

/* ---- operands of system instructions (isa/operand.c) ---- */
/* Reads or writes operand rm: a register, or memory through segment checks. size in bytes. */
uint64_t operand_read(struct cpu *cpu, const struct sys_operands *o, unsigned size);
void operand_write(struct cpu *cpu, const struct sys_operands *o, uint64_t value, unsigned size);
/* A register by width: 4 zero-extends, 1 and 2 keep the rest. */
void register_write(struct cpu *cpu, unsigned reg, uint64_t value, unsigned size);
static inline uint64_t width_mask(unsigned size) { return size >= 8 ? ~0ull : (1ull << 8 * size) - 1; }
#endif
