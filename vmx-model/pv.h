/*
 * The paravirtual VMM: state of its one domain, and what its files share. The contract with the guest is workloads/include/ringside_pv.h.
 *
 * Live and replay take the same path: every operation of a hypercall is made one normalized EV_HYPERCALL (number, a, b) and carried out by pv_apply(). In replay the
 * guest's registers and memory are not there; its reads and writes of memory come from the trace, and pv_apply() is called for each recorded EV_HYPERCALL. So everything that
 * costs is in pv_apply() and the hooks' common part; what touches guest registers, or memory as the guest sees it, is skipped when v->replaying.
 */
#ifndef VMX_MODEL_PV_H
#define VMX_MODEL_PV_H
#include "vmm.h"
#include "../workloads/include/ringside_pv.h"

enum { PV_REPLAY_END = 0x100, PV_REPLAY_EVENT = 0x101 }; /* normalized numbers of our own: the VMM returns to the guest; an event is delivered on the way */
enum { PV_EPERM = -1, PV_EFAULT = -14, PV_EBUSY = -16, PV_EINVAL = -22 };

struct pv_trap_entry { uint64_t handler; uint8_t dpl; };

struct pv {
	unsigned width;          /* 32 or 64; 0: no domain yet */
	struct pv_trap_entry trap[256];
	uint64_t traps;          /* the same table in simulated memory */
	uint64_t stack, event_handler, syscall_handler;
	uint64_t shared;         /* host-physical address of struct pv_shared_info */
	uint64_t gdt;            /* of the domain's GDT */
	bool open;               /* the VMM runs: EV_EXIT has been written, EV_ENTRY not */
	enum exit_reason reason;
};

/* ---- cpu_paravirt.c ---- */
void pv_leave(struct vmm *v);
/* shared_info: what the guest sees of virtual interrupts. */
void pv_mask_set(struct vmm *v, bool masked);
/* The cost of building a bounce frame; the frame itself is made by the callers, live. */
void pv_bounce_cost(struct vmm *v, unsigned vector);
/* Flat segments of the domain. */
void pv_segments_set(struct vmm *v, unsigned cs, unsigned ss);
bool pv_canonical(const struct vmm *v, uint64_t va);

/* ---- pv_hypercall.c ---- */
/* `int $0x82` from ring 1, live: reads arguments, carries out, sets the result. */
void pv_hypercall(struct vmm *v);
/* One normalized operation. Returns its result. */
int64_t pv_apply(struct vmm *v, uint32_t number, uint64_t a, uint64_t b);

/* ---- mem_direct_paging.c: frame types. Machine frame numbers; results 0 or PV_E*. ---- */
void direct_paging_width(struct vmm *v, unsigned width);
int direct_paging_update(struct vmm *v, uint64_t ptr, uint64_t value);
int direct_paging_update_va(struct vmm *v, uint64_t va, uint64_t value);
int direct_paging_root(struct vmm *v, uint64_t mfn);
int direct_paging_pin(struct vmm *v, uint64_t mfn);
int direct_paging_unpin(struct vmm *v, uint64_t mfn);
void direct_paging_invlpg(struct vmm *v, uint64_t va);
void direct_paging_flush(struct vmm *v);
/* 32-bit domains: the descriptor of PV_UTLS32. */
uint64_t pv_thread_descriptor(uint32_t base);
/* Holds a frame back for the VMM: the guest may read it, never map it writable or use it as a table. */
void direct_paging_reserve(struct vmm *v, uint64_t mfn);
#endif
