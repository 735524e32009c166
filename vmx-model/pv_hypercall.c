/* Hypercalls of the paravirtual guest: arguments, then one normalized operation after the other. */
#include "pv.h"

static struct pv *pv_of(struct vmm *v) { return v->cpu_self; }

/* ---------------------------------------------------------------- operations, live and in replay */
static int64_t op_trap(struct vmm *v, uint64_t a, uint64_t b)
{
	struct pv *p = pv_of(v);
	unsigned vector = a & 0xff, dpl = a >> 8 & 0xff;
	if (a >> 16 || vector == 0x82 || dpl > 3 || !pv_canonical(v, b))
		return PV_EINVAL;
	p->trap[vector] = (struct pv_trap_entry){ b, (uint8_t)dpl };
	vmm_store_data(v, p->traps + 16ull * vector, b, 8);
	vmm_store_data(v, p->traps + 16ull * vector + 8, dpl, 8);
	return 0;
}

static int64_t op_mmuext(struct vmm *v, uint64_t op, uint64_t arg)
{
	vmm_work(v, WORK_HYPERCALL_MMU, v->config.mmu_update_instructions / 2);
	switch (op) {
	case PV_MMUEXT_NEW_BASEPTR: return direct_paging_root(v, arg);
	case PV_MMUEXT_INVLPG: direct_paging_invlpg(v, arg); return 0;
	case PV_MMUEXT_FLUSH: direct_paging_flush(v); return 0;
	case PV_MMUEXT_PIN: return direct_paging_pin(v, arg);
	case PV_MMUEXT_UNPIN: return direct_paging_unpin(v, arg);
	default: return PV_EINVAL;
	}
}

static int64_t op_address(struct vmm *v, uint64_t *where, uint64_t value)
{
	if (!pv_canonical(v, value))
		return PV_EINVAL;
	*where = value;
	return 0;
}

static int64_t op_segment_base(struct vmm *v, uint64_t which, uint64_t base)
{
	const struct pv *p = pv_of(v);
	if (!pv_canonical(v, base) || (p->width == 64 && which > 1))
		return PV_EINVAL;
	if (p->width == 32) {
		vmm_store_data(v, p->gdt + (PV_UTLS32 & ~7u), pv_thread_descriptor((uint32_t)base), 8);
		return 0;
	}
	v->cpu->seg[which ? SEG_GS : SEG_FS].base = base;
	return 0;
}

int64_t pv_apply(struct vmm *v, uint32_t number, uint64_t a, uint64_t b)
{
	struct pv *p = pv_of(v);
	switch (number) {
	case PV_REPLAY_END: pv_leave(v); return 0;
	case PV_REPLAY_EVENT: pv_bounce_cost(v, 0); return 0;
	case PV_SET_TRAP_TABLE: return op_trap(v, a, b);
	case PV_MMU_UPDATE: return direct_paging_update(v, a, b);
	case PV_MMUEXT_OP: return op_mmuext(v, a, b);
	case PV_UPDATE_VA: return direct_paging_update_va(v, a, b);
	case PV_STACK_SWITCH: return op_address(v, &p->stack, a);
	case PV_SET_CALLBACK: return a > PV_CALLBACK_SYSCALL ? PV_EINVAL : op_address(v, a == PV_CALLBACK_EVENT ? &p->event_handler : &p->syscall_handler, b);
	case PV_IRET: pv_mask_set(v, a); return 0;
	case PV_SCHED_OP: if (a == PV_SCHED_BLOCK) pv_mask_set(v, false); return 0;
	case PV_CONSOLE_WRITE: vmm_work(v, WORK_DEVICE_MODEL, v->config.device_instructions + v->config.backend_instructions + (uint32_t)(a & 0xffff)); return 0;
	case PV_SET_TIMER: vmm_work(v, WORK_DEVICE_MODEL, v->config.device_instructions); return 0;
	case PV_SET_SEGMENT_BASE: return op_segment_base(v, a, b);
	default: return 0; /* PV_FORCE_EVENT: the way back looks for events */
	}
}

void vmm_replay_hypercall(struct vmm *v, uint32_t number, uint64_t a, uint64_t b)
{
	const struct pv *p = v->cpu_self;
	if (v->technique->id == TECHNIQUE_PARAVIRT && p->width)
		pv_apply(v, number, a, b);
}

/* Live: carries out one operation and writes it down. After it, because validation may have to write down the contents of a new table, which a replay needs first. */
static int64_t operate(struct vmm *v, uint32_t number, uint64_t a, uint64_t b)
{
	int64_t result = pv_apply(v, number, a, b);
	event_put2(v->events, EV_HYPERCALL, 0, 1, number, a, b);
	return result;
}

/* ---------------------------------------------------------------- arguments */
static bool guest_read(struct vmm *v, uint64_t va, void *to, unsigned size)
{
	struct mem_fault fault;
	return pv_canonical(v, va) && pv_canonical(v, va + size - 1) && mem_try_read(v->cpu, va, to, size, true, &fault);
}

static uint64_t argument(const struct vmm *v, unsigned i)
{
	static const uint8_t narrow[] = { REG_BX, REG_CX, REG_DX }, wide[] = { REG_DI, REG_SI, REG_DX };
	const struct pv *p = v->cpu_self;
	return p->width == 64 ? v->cpu->reg[wide[i]] : v->cpu->reg[narrow[i]] & 0xffffffff;
}

typedef int64_t hypercall_fn(struct vmm *v, uint64_t a, uint64_t b, uint64_t c);

static int64_t call_trap_table(struct vmm *v, uint64_t va, uint64_t count, uint64_t c)
{
	struct pv_trap t;
	(void)c;
	if (count > 256)
		return PV_EINVAL;
	for (uint64_t i = 0; i < count; i++) {
		if (!guest_read(v, va + i * sizeof t, &t, sizeof t))
			return PV_EFAULT;
		int64_t error = t.vector > 255 || t.dpl > 3 ? PV_EINVAL : operate(v, PV_SET_TRAP_TABLE, t.vector | t.dpl << 8, t.handler);
		if (error)
			return error;
	}
	return 0;
}

/* The result is how many were done; an error when the first failed. */
static int64_t call_pairs(struct vmm *v, uint32_t number, uint64_t va, uint64_t count)
{
	uint64_t pair[2];
	if (count > 2048)
		return PV_EINVAL;
	for (uint64_t i = 0; i < count; i++) {
		if (!guest_read(v, va + 16 * i, pair, 16))
			return i ? (int64_t)i : PV_EFAULT;
		int64_t error = operate(v, number, number == PV_MMUEXT_OP ? (uint32_t)pair[0] : pair[0], pair[1]);
		if (error)
			return i ? (int64_t)i : error;
	}
	return (int64_t)count;
}

static int64_t call_mmu_update(struct vmm *v, uint64_t va, uint64_t count, uint64_t c)
{
	(void)c;
	return call_pairs(v, PV_MMU_UPDATE, va, count);
}

/* Unlike updates, operations are all or an error: ringside_pv.h promises no count for them. */
static int64_t call_mmuext(struct vmm *v, uint64_t va, uint64_t count, uint64_t c)
{
	(void)c;
	int64_t done = call_pairs(v, PV_MMUEXT_OP, va, count);
	return done < 0 ? done : (uint64_t)done == count ? 0 : PV_EINVAL;
}

static int64_t call_stack(struct vmm *v, uint64_t a, uint64_t b, uint64_t c) { (void)b, (void)c; return operate(v, PV_STACK_SWITCH, a, 0); }
static int64_t call_callback(struct vmm *v, uint64_t a, uint64_t b, uint64_t c) { (void)c; return operate(v, PV_SET_CALLBACK, a, b); }
static int64_t call_segment_base(struct vmm *v, uint64_t a, uint64_t b, uint64_t c) { (void)c; return operate(v, PV_SET_SEGMENT_BASE, a, b); }
static int64_t call_force_event(struct vmm *v, uint64_t a, uint64_t b, uint64_t c) { (void)a, (void)b, (void)c; return operate(v, PV_FORCE_EVENT, 0, 0); }
static int64_t call_update_va(struct vmm *v, uint64_t va, uint64_t low, uint64_t high) { (void)high; return operate(v, PV_UPDATE_VA, va, low); }

static int64_t call_sched(struct vmm *v, uint64_t op, uint64_t arg, uint64_t c)
{
	(void)c;
	if (op > PV_SCHED_SHUTDOWN)
		return PV_EINVAL;
	operate(v, PV_SCHED_OP, op, arg);
	if (op == PV_SCHED_SHUTDOWN && v->devices.shutdown) {
		v->devices.shutdown(v->devices.self, (int)arg);
	} else if (op == PV_SCHED_BLOCK) {
		const uint8_t *shared = phys_ptr(v->phys, pv_of(v)->shared, sizeof(struct pv_shared_info));
		if (!shared[0]) {
			v->cpu->stop = CPU_HALTED;
			v->cpu->attention |= 1;
		}
	}
	return 0;
}

static int64_t call_timer(struct vmm *v, uint64_t hz, uint64_t b, uint64_t c)
{
	(void)b, (void)c;
	if (hz > 1000000)
		return PV_EINVAL;
	operate(v, PV_SET_TIMER, hz, 0);
	if (v->devices.set_timer)
		v->devices.set_timer(v->devices.self, (unsigned)hz);
	return 0;
}

static int64_t call_console(struct vmm *v, uint64_t va, uint64_t count, uint64_t c)
{
	uint8_t bytes[16];
	(void)c;
	if (count > 65535)
		return PV_EINVAL;
	operate(v, PV_CONSOLE_WRITE, count, 0);
	for (uint64_t done = 0, n; done < count; done += n) {
		n = count - done < sizeof bytes ? count - done : sizeof bytes;
		if (!guest_read(v, va + done, bytes, (unsigned)n))
			return PV_EFAULT;
		if (v->devices.console)
			v->devices.console(v->devices.self, bytes, (unsigned)n);
	}
	return (int64_t)count;
}

/* ---------------------------------------------------------------- PV_IRET */
struct iret_frame { uint64_t ax, ip, cs, flags, sp, ss; };

static bool iret_read(struct vmm *v, struct iret_frame *f, unsigned *words)
{
	unsigned size = pv_of(v)->width / 8;
	uint64_t *field = &f->ax, sp = v->cpu->reg[REG_SP];
	*words = size == 8 ? 6 : 4;
	for (unsigned i = 0; i < *words; i++) {
		uint64_t at = sp + (uint64_t)i * size;
		field[i] = 0;
		if (!guest_read(v, size == 4 ? at & 0xffffffff : at, &field[i], size))
			return false;
		if (i == 2 && size == 4 && (f->cs & 3) == 3)
			*words = 6;
	}
	return true;
}

static bool iret_allowed(struct vmm *v, const struct iret_frame *f, unsigned words)
{
	const struct pv *p = pv_of(v);
	uint16_t cs = (uint16_t)f->cs, ss = (uint16_t)f->ss;
	if (cs != PV_KCS && cs != PV_UCS32 && !(cs == PV_UCS64 && p->width == 64))
		return false;
	if (words == 6 && ss != (cs == PV_KCS ? PV_KDS : PV_UDS))
		return false;
	return cs == PV_UCS32 ? f->ip >> 32 == 0 : pv_canonical(v, f->ip);
}

static int64_t call_iret(struct vmm *v, uint64_t a, uint64_t b, uint64_t c)
{
	struct cpu *cpu = v->cpu;
	struct iret_frame f = { 0 };
	unsigned words, size = pv_of(v)->width / 8;
	(void)a, (void)b, (void)c;
	if (!iret_read(v, &f, &words))
		return PV_EFAULT;
	if (!iret_allowed(v, &f, words))
		return PV_EINVAL;
	operate(v, PV_IRET, !(f.flags & FLAG_IF), 0);
	uint64_t sp = words == 6 ? f.sp : cpu->reg[REG_SP] + (uint64_t)words * size;
	cpu->reg[REG_SP] = size == 4 ? (uint32_t)sp : sp;
	flags_set(cpu, f.flags & FLAGS_ARITH);
	cpu->eflags = 2 | (f.flags & (FLAG_TF | FLAG_IF | FLAG_DF | FLAG_AC | FLAG_ID));
	cpu->rip = f.ip;
	pv_segments_set(v, (uint16_t)f.cs, words == 6 ? (uint16_t)f.ss : PV_KDS);
	return (int64_t)f.ax; /* the value that AX has afterwards: "does not return" */
}

static hypercall_fn *const calls[] = {
	[PV_SET_TRAP_TABLE] = call_trap_table, [PV_MMU_UPDATE] = call_mmu_update, [PV_MMUEXT_OP] = call_mmuext, [PV_STACK_SWITCH] = call_stack, [PV_SET_CALLBACK] = call_callback,
	[PV_IRET] = call_iret, [PV_SCHED_OP] = call_sched, [PV_SET_TIMER] = call_timer, [PV_CONSOLE_WRITE] = call_console, [PV_FORCE_EVENT] = call_force_event,
	[PV_UPDATE_VA] = call_update_va, [PV_SET_SEGMENT_BASE] = call_segment_base,
};

void pv_hypercall(struct vmm *v)
{
	struct cpu *cpu = v->cpu;
	uint64_t number = pv_of(v)->width == 64 ? cpu->reg[REG_AX] : cpu->reg[REG_AX] & 0xffffffff;
	int64_t result = PV_EINVAL;
	if (number < sizeof calls / sizeof *calls && calls[number])
		result = calls[number](v, argument(v, 0), argument(v, 1), argument(v, 2));
	cpu->reg[REG_AX] = pv_of(v)->width == 64 ? (uint64_t)result : (uint32_t)result;
}
