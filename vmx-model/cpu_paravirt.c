/*
 * Paravirtualization of the CPU: the guest kernel runs in ring 1 of real segments, its programs in ring 3. Every trap enters the VMM, which bounces it to the guest's handler;
 * interrupts are events behind a mask in shared memory; privileged work is a hypercall (pv_hypercall.c).
 *
 * Invariant: the guest never runs in ring 0, and what it runs with (segments, flags, entry points) was checked when the guest gave it. A guest that leaves the VMM nowhere to
 * deliver to ends with a message: its domain is stopped.
 */
#include "pv.h"
#include <stddef.h>
#include <stdlib.h>

static struct pv *pv_of(struct vmm *v) { return v->cpu_self; }

/* ---------------------------------------------------------------- into the VMM and back */
static void pv_enter(struct vmm *v, enum exit_reason r, enum vmm_transition t)
{
	struct pv *p = pv_of(v);
	if (p->open)
		pv_leave(v);
	p->open = true;
	p->reason = r;
	vmm_exit_event(v, r, t);
	vmm_work(v, WORK_DISPATCH, v->config.dispatch_instructions / 2); /* registers stay where they are: one stack frame */
	for (unsigned i = 0; i < 16; i += 2)
		event_put(v->events, EV_VMM_STORE, 0, 16, 0, v->vcpu_page + 8 * i);
}

void pv_leave(struct vmm *v)
{
	struct pv *p = pv_of(v);
	if (!p->open)
		return;
	for (unsigned i = 0; i < 16; i += 2)
		event_put(v->events, EV_VMM_LOAD, 0, 16, 0, v->vcpu_page + 8 * i);
	vmm_entry_event(v, p->reason, TRANSITION_TRAP);
	p->open = false;
}

static void pv_exit(struct vmm *v, enum exit_reason r) { pv_enter(v, r, TRANSITION_TRAP); }
static void pv_entry(struct vmm *v, enum exit_reason r) { (void)r; pv_leave(v); }

/* ---------------------------------------------------------------- shared_info */
enum { AT_PENDING = offsetof(struct pv_shared_info, upcall_pending), AT_MASK = offsetof(struct pv_shared_info, upcall_mask),
	AT_EVENTS = offsetof(struct pv_shared_info, pending_events), AT_CR2 = offsetof(struct pv_shared_info, cr2) };

void pv_mask_set(struct vmm *v, bool masked) { vmm_store_data(v, pv_of(v)->shared + AT_MASK, masked, 1); }
static bool pv_masked(struct vmm *v) { return vmm_load(v, pv_of(v)->shared + AT_MASK, 1); }

static bool event_due(struct vmm *v)
{
	const struct pv *p = pv_of(v);
	const uint8_t *shared = phys_ptr(v->phys, p->shared, sizeof(struct pv_shared_info));
	return shared[AT_PENDING] && !shared[AT_MASK] && p->event_handler;
}

/* ---------------------------------------------------------------- segments and frames */
bool pv_canonical(const struct vmm *v, uint64_t va)
{
	const struct pv *p = v->cpu_self;
	return p->width == 32 ? va >> 32 == 0 : (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

void pv_segments_set(struct vmm *v, unsigned cs, unsigned ss)
{
	struct cpu *cpu = v->cpu;
	unsigned ring = cs & 3, size = cs == PV_UCS32 ? 4 : cs == PV_UCS64 ? 8 : pv_of(v)->width / 8;
	segment_set_flat(cpu, SEG_CS, (uint16_t)cs, ring, true, size);
	segment_set_flat(cpu, SEG_SS, (uint16_t)ss, ring, false, size);
	for (unsigned s = 0; s < SEG_COUNT; s++) { /* a return to ring 3 takes ring 1's data segments away (SDM 2A IRET) */
		struct segment *g = &cpu->seg[s];
		if (s == SEG_CS || s == SEG_SS || (g->attributes & SEGA_UNUSABLE) || (g->attributes & SEGA_DPL) >> SEGA_DPL_SHIFT >= ring)
			continue;
		g->selector = 0;
		g->attributes = SEGA_UNUSABLE;
	}
	cpu_set_cpl(cpu, ring);
}

static void domain_crash(struct vmm *v, const char *why, unsigned vector)
{
	vmm_fail(v, "the paravirtual guest is stopped: %s (vector %u, CPL %u, at 0x%llx)", why, vector, v->cpu->cpl, (unsigned long long)v->cpu->rip);
}

/* Builds the frame that ringside_pv.h describes and enters the handler. masked: the virtual interrupt mask until now. Live only. */
static void frame_push(struct vmm *v, uint64_t handler, unsigned vector, int64_t error, bool masked)
{
	struct pv *p = pv_of(v);
	struct cpu *cpu = v->cpu;
	unsigned size = p->width / 8, n = 0;
	bool user = cpu->cpl == 3;
	uint64_t sp = user ? p->stack : cpu->reg[REG_SP], word[6];
	struct mem_fault fault;
	if (error >= 0)
		word[n++] = (uint64_t)error;
	word[n++] = cpu->rip;
	word[n++] = cpu->seg[SEG_CS].selector;
	word[n++] = (cpu_eflags(cpu) & ~FLAG_IF) | (masked ? 0 : FLAG_IF);
	if (user || size == 8) {
		word[n++] = cpu->reg[REG_SP];
		word[n++] = cpu->seg[SEG_SS].selector;
	}
	sp = (size == 8 ? sp & ~15ull : sp) - (uint64_t)n * size;
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = sp + (uint64_t)i * size;
		if (!pv_canonical(v, size == 4 ? at & 0xffffffff : at) || !mem_try_write(cpu, size == 4 ? at & 0xffffffff : at, &word[i], size, true, &fault)) {
			domain_crash(v, "its kernel stack cannot take a trap frame", vector);
			return;
		}
	}
	cpu->reg[REG_SP] = size == 4 ? (uint32_t)sp : sp;
	cpu->eflags &= ~(FLAG_TF | FLAG_NT | FLAG_VM | FLAG_RF | FLAG_IF);
	cpu->rip = handler;
	pv_segments_set(v, PV_KCS, PV_KDS);
}

void pv_bounce_cost(struct vmm *v, unsigned vector)
{
	struct pv *p = pv_of(v);
	v->stats.bounces++;
	vmm_work(v, WORK_BOUNCE, v->config.bounce_instructions);
	vmm_load(v, p->traps + 16ull * (vector & 255), 8);
	(void)pv_masked(v);
	pv_mask_set(v, true);
}

/* ---------------------------------------------------------------- events */
/* live: by the VMM on its way back to the guest; replay: at the recorded EV_HYPERCALL(PV_REPLAY_EVENT) (pv_apply). */
static void pv_events_deliver(struct vmm *v)
{
	struct pv *p = pv_of(v);
	if (v->replaying || !event_due(v))
		return;
	event_put(v->events, EV_HYPERCALL, 0, 0, PV_REPLAY_EVENT, 0);
	pv_apply(v, PV_REPLAY_EVENT, 0, 0);
	frame_push(v, p->event_handler, 256, -1, false);
}

/* Goes back to the guest: the last thing of every visit whose length a replay cannot know. */
static void visit_end(struct vmm *v)
{
	event_put(v->events, EV_HYPERCALL, 0, 0, PV_REPLAY_END, 0);
	pv_apply(v, PV_REPLAY_END, 0, 0);
}

static void pv_irq_raised(struct vmm *v, unsigned irq)
{
	struct pv *p = pv_of(v);
	pv_enter(v, EXIT_EXTERNAL_INTERRUPT, TRANSITION_TRAP);
	vmm_work(v, WORK_INTERRUPT, v->config.inject_instructions);
	if (!p->shared)
		return;
	uint64_t events = vmm_load(v, p->shared + AT_EVENTS, 4);
	vmm_store_data(v, p->shared + AT_EVENTS, events | (irq == 0 ? PV_EVENT_TIMER : 0), 4);
	vmm_store_data(v, p->shared + AT_PENDING, 1, 1);
}

/* The machine hands its interrupt over; pv_irq_raised() has made an event of it. */
void vmm_interrupt(struct vmm *v, unsigned vector)
{
	struct cpu *cpu = v->cpu;
	if (v->technique->id != TECHNIQUE_PARAVIRT) {
		cpu_interrupt(cpu, vector);
		return;
	}
	if (cpu->stop == CPU_HALTED)
		cpu->stop = CPU_RUNNING;
	pv_events_deliver(v);
	visit_end(v);
}

bool vmm_interruptible(const struct vmm *v)
{
	return v->technique->id == TECHNIQUE_PARAVIRT || cpu_interruptible(v->cpu);
}

/* ---------------------------------------------------------------- traps */
static void trap_bounce(struct vmm *v, enum exit_reason r, unsigned vector, int64_t error, uint64_t cr2)
{
	struct pv *p = pv_of(v);
	bool masked = false;
	pv_enter(v, r, TRANSITION_TRAP);
	if (p->shared)
		masked = phys_read32(v->phys, p->shared) >> 8 & 0xff;
	pv_bounce_cost(v, vector);
	if (vector == VEC_PF)
		vmm_store_data(v, p->shared + AT_CR2, cr2, 8);
	pv_leave(v);
	if (v->replaying)
		return;
	if (p->trap[vector & 255].handler)
		frame_push(v, p->trap[vector & 255].handler, vector, error, masked);
	else
		domain_crash(v, "it has no handler for a trap", vector);
}

static bool pv_deliver(void *self, struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2)
{
	struct vmm *v = self;
	struct pv *p = pv_of(v);
	enum exit_reason r = soft ? EXIT_SYSTEM_CALL : vector == VEC_PF ? EXIT_PAGE_FAULT_REFLECTED : EXIT_EXCEPTION;
	if (external || v->failed)
		return true;
	if (soft && vector == 0x82 && cpu->cpl != 3) {
		pv_enter(v, EXIT_HYPERCALL, TRANSITION_TRAP);
		cpu->emulated++;
		v->stats.hypercalls++;
		vmm_work(v, WORK_HYPERCALL_OTHER, v->config.hypercall_instructions);
		if (!v->replaying) {
			pv_hypercall(v);
			pv_events_deliver(v);
			visit_end(v);
		}
		return true;
	}
	if (soft && cpu->cpl == 3 && (vector == 0x82 || p->trap[vector].dpl != 3)) { /* the gate says no: SDM 3A 6.12.1.2 */
		error = vector << 3 | 2;
		vector = VEC_GP;
		r = EXIT_EXCEPTION;
		cpu->rip = cpu->soft_start;
	}
	trap_bounce(v, r, vector, error, cr2);
	return true;
}

static void syscall_bounce(struct vmm *v)
{
	struct pv *p = pv_of(v);
	struct cpu *cpu = v->cpu;
	bool masked = phys_read32(v->phys, p->shared) >> 8 & 0xff;
	cpu->emulated++;
	pv_enter(v, EXIT_SYSTEM_CALL, TRANSITION_SYSCALL);
	pv_bounce_cost(v, 0);
	pv_leave(v);
	if (v->replaying)
		return;
	cpu->reg[REG_CX] = cpu->rip; /* a hook inside a control transfer finds the next instruction there */
	cpu->reg[REG_R11] = cpu_eflags(cpu) & ~FLAG_RF;
	if (p->syscall_handler)
		frame_push(v, p->syscall_handler, 257, -1, masked);
	else
		domain_crash(v, "it has no handler for SYSCALL", 257);
}

/* ---------------------------------------------------------------- privileged instructions in ring 1 */
/* Ports that the VMM lets its domain use: POST code, debug exit, serial line. All others float. */
static bool port_open(unsigned port)
{
	return port == 0x80 || port == 0xf4 || (port >= 0x3f8 && port <= 0x3ff);
}

static void port_io(struct vmm *v, enum sensitive what, uint64_t addr, uint64_t value)
{
	struct cpu *cpu = v->cpu;
	unsigned port = addr & 0xffff, size = addr >> 16 & 7;
	pv_enter(v, EXIT_IO, TRANSITION_TRAP);
	vmm_work(v, WORK_EMULATE, v->config.emulate_instructions);
	vmm_device_work(v, what == SENS_IO_OUT, (uint16_t)port);
	pv_leave(v);
	if (v->replaying)
		return;
	if (what == SENS_IO_OUT) {
		if (port_open(port) && cpu->io.out)
			cpu->io.out(cpu->io.self, cpu, (uint16_t)port, size, (uint32_t)value);
		return;
	}
	uint32_t in = port_open(port) && cpu->io.in ? cpu->io.in(cpu->io.self, cpu, (uint16_t)port, size) : ~0u;
	uint64_t mask = size >= 4 ? 0xffffffff : (1ull << 8 * size) - 1;
	cpu->reg[REG_AX] = size >= 4 ? in : (cpu->reg[REG_AX] & ~mask) | (in & mask);
}

static bool pv_privileged(void *self, struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value)
{
	struct vmm *v = self;
	if (cpu->cpl != 1 || (what != SENS_IO_IN && what != SENS_IO_OUT && what != SENS_CR8_WRITE))
		return false;
	cpu->emulated++;
	if (what == SENS_IO_IN || what == SENS_IO_OUT) {
		port_io(v, what, addr, value);
		return true;
	}
	pv_enter(v, EXIT_CR_ACCESS, TRANSITION_TRAP);
	vmm_work(v, WORK_EMULATE, v->config.emulate_instructions);
	cpu->cr8 = addr & 15; /* the same register in replay */
	pv_leave(v);
	return true;
}

/* SYSCALL from ring 3; and, in replay only, what pv_privileged() did live (there the privilege check comes first). */
static bool pv_sensitive(void *self, struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value)
{
	struct vmm *v = self;
	if (what != SENS_SYSCALL)
		return v->replaying && pv_privileged(self, cpu, what, addr, value);
	if (cpu->cpl != 3)
		cpu_raise(cpu, VEC_UD); /* from ring 1 it would enter ring 0 */
	syscall_bounce(v);
	return true;
}

static bool pv_create(struct vmm *v)
{
	struct pv *p = calloc(1, sizeof *p);
	if (!p)
		return false;
	v->cpu_self = p;
	p->traps = vmm_region_alloc(v, 256 * 16);
	v->cpu->vmm = (struct vmm_port){ .trap_set = SENS_BIT(SENS_SYSCALL) | SENS_BIT(SENS_IO_IN) | SENS_BIT(SENS_IO_OUT) | SENS_BIT(SENS_CR8_WRITE),
		.self = v, .sensitive = pv_sensitive, .deliver = pv_deliver, .privileged = pv_privileged };
	return p->traps != 0;
}

static void pv_destroy(struct vmm *v)
{
	free(v->cpu_self);
}

const struct cpu_part cpu_part_paravirt = { "paravirt", pv_create, pv_destroy, pv_exit, pv_entry, pv_irq_raised };
