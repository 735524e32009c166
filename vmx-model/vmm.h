/*
 * The virtual machine monitors: a technique is a CPU part and a memory part on one virtual machine.
 *
 * Invariant: whatever the technique, the guest computes the same. A VMM changes guest state only as the architecture (or, for paravirt, ringside_pv.h) says,
 * its tables live in simulated host-physical memory inside its pool, and every touch of them is a vmm_load or vmm_store. No VMM can name a cycle: it emits events.
 */
#ifndef VMX_MODEL_VMM_H
#define VMX_MODEL_VMM_H
#include "../tlb/mmu.h"

enum exit_reason {
#define EXIT_REASON(name, text) EXIT_##name,
#include "exit_reasons.def"
#undef EXIT_REASON
	EXIT_REASONS
};
enum vmm_work {
#define VMM_WORK(name, text) WORK_##name,
#include "vmm_works.def"
#undef VMM_WORK
	VMM_WORKS
};
const char *exit_reason_name(enum exit_reason r); /* "page-fault-hidden": the id in lower case with dashes */
const char *exit_reason_text(enum exit_reason r);
const char *vmm_work_name(enum vmm_work w);

enum vmm_transition { /* EV_EXIT.aux, EV_ENTRY.aux: what the hardware does; the preset prices each. ORDER TRANSITION */
	TRANSITION_VMX,      /* VM exit, VM entry */
	TRANSITION_TRAP,     /* exception or interrupt gate to ring 0, and IRET back (deprivileged guests: BT, paravirt) */
	TRANSITION_CALLOUT,  /* from the translation cache into the VMM and back: a call, registers saved; no privilege change */
	TRANSITION_SYSCALL,  /* SYSCALL/SYSENTER to ring 0, SYSRET/SYSEXIT back */
	TRANSITIONS
};

enum technique_id {
#define TECHNIQUE(id, name, cpu, mem, pv, summary) TECHNIQUE_##id,
#include "techniques.def"
#undef TECHNIQUE
	TECHNIQUES
};

struct vmm;
struct cpu_part { /* how the CPU is virtualized */
	const char *name;
	bool (*create)(struct vmm *v); /* sets v->cpu->vmm hooks and trap_set */
	void (*destroy)(struct vmm *v);
	/* Control passes to the VMM and back, for the memory part: emits EV_EXIT, dispatch work, VMCS reads; EV_ENTRY. */
	void (*exit)(struct vmm *v, enum exit_reason r);
	void (*entry)(struct vmm *v, enum exit_reason r);
	/* An interrupt line went up while the guest may or may not accept it (external-interrupt exit). May be NULL. */
	void (*irq_raised)(struct vmm *v, unsigned irq);
};
struct vmm_memory_part { /* how memory is virtualized */
	const char *name;
	const struct memory_part *part; /* what tlb/ calls; its self is v->mem_self */
	bool (*create)(struct vmm *v);
	void (*destroy)(struct vmm *v);
	/* The guest is about to write a paging register (CR0, CR3, CR4, EFER by MSR_WRITE), or to invalidate: called between exit and entry, so that following it is
	   paid for there. `context_changed` comes afterwards and does the change itself. May be NULL. */
	void (*prepare)(struct vmm *v, enum sensitive what, uint64_t value);
};

struct technique {
	enum technique_id id;
	const char *name, *summary;
	const struct cpu_part *cpu;
	const struct vmm_memory_part *mem;
	bool paravirtual_guest;
};
extern const struct technique techniques[TECHNIQUES];
const struct technique *technique_find(const char *name); /* NULL: unknown */

/* Path lengths of the built-in VMMs, in instructions of straight-line code beside the memory references that handlers really make (loads and stores of their tables are
 * events of their own). Defaults and their reasons: vmm_config_default() in vmm.c; every field is a configuration key `vmm.<name>`. */
struct vmm_config {
	bool vpid;              /* the processor tags translations by VPID/ASID: no flush at transitions */
	bool ept_ad;            /* EPT accessed/dirty flags */
	uint32_t ept_page_shift;/* 12 or 21: page size of EPT mappings */
	uint32_t dispatch_instructions, fill_instructions, trace_instructions, reflect_instructions, emulate_instructions, device_instructions, inject_instructions,
		backend_instructions, ept_fill_instructions, switch_instructions, hypercall_instructions, mmu_update_instructions, bounce_instructions, validate_instructions;
	uint32_t vmcs_reads, vmcs_writes; /* per exit, in the common path */
	uint32_t shadow_roots;  /* cached shadow roots */
	/* binary translation (Adams and Agesen 2006) */
	uint32_t bt_unit_instructions;      /* translation unit: 12 */
	uint32_t bt_translate_instructions; /* VMM instructions to translate one guest instruction */
	uint32_t bt_callout_instructions, bt_hash_instructions, bt_adapt_threshold; /* traps of one fragment's page-table stores before it is retranslated */
	uint32_t bt_simulate_instructions;  /* extra instructions of an adapted page-table store */
	uint32_t bt_reflect_instructions, bt_return_instructions; /* deliver an exception to, return from one on, the virtual CPU */
	uint64_t bt_cache_bytes;
};
void vmm_config_default(struct vmm_config *c);
/* Configuration keys, for strict YAML and documentation: i-th field by name with its location; false: no more. */
bool vmm_config_key(struct vmm_config *c, unsigned i, const char **name, uint32_t **u32, uint64_t **u64, bool **flag, const char **doc);

struct vmm_devices { /* what a paravirtual VMM asks of the machine; implemented by machine/ */
	void *self;
	void (*console)(void *self, const uint8_t *bytes, unsigned n);
	void (*set_timer)(void *self, unsigned hz);   /* periodic; raises IRQ 0 */
	void (*shutdown)(void *self, int code);
};

struct vmm_stats {
	uint64_t exits[EXIT_REASONS];
	uint64_t table_bytes, table_bytes_peak;  /* VMM tables in simulated memory: shadow pages, EPT, p2m */
	uint64_t translated_blocks, translated_instructions, tc_bytes, callouts, hash_lookups, adapted; /* BT */
	uint64_t hypercalls, mmu_updates, bounces; /* paravirt */
};

struct vmm {
	const struct technique *technique;
	struct vmm_config config;
	struct cpu *cpu;
	struct mmu *mmu;
	struct event_sink *events;
	struct phys *phys;
	struct vmm_devices devices;
	uint64_t guest_base, guest_bytes;  /* the guest's memory: hpa = guest_base + gpa (the VMM reads it from its p2m all the same) */
	uint64_t pool_base, pool_bytes;    /* the VMM's own memory */
	uint64_t pool_next, pool_free;     /* bump pointer and free list (linked through the pages, in simulated memory) */
	uint64_t pool_pages_left;          /* how many more vmm_page_alloc() will give */
	struct paging p2m;                 /* PAGING_LINEAR in the pool; PAGING_IDENTITY natively */
	struct paging guest;               /* the guest's own paging with space = &p2m: what the VMM's software walks use; kept by the memory part */
	uint64_t vcpu_page;                /* the VMM's own record of the virtual CPU: saved registers, virtual flags (pool) */
	bool quiet;                        /* the VMM is being built: its loads, stores and work are no events */
	bool replaying;                    /* set by the replay engine before vmm_create(): guest registers and untracked guest memory are not what they were; the hooks
	                                      make layer-2 events only, the guest's own accesses come from the trace */
	struct { bool halted, injected; } irq; /* vmm_irq.c */
	void *cpu_self, *mem_self;
	struct vmm_stats stats;
	const struct block_dictionary *blocks; /* static facts of blocks, by EV_BLOCK id */
	bool failed;                       /* the VMM gave up (out of pool, invalid guest request): cpu->stop is CPU_STOP_REQUEST; error says why */
	char error[160];
};

/* How much pool a technique wants for guest_bytes of guest memory (bytes, multiple of 2 MiB; 0 for native). The machine puts the pool at hpa 0 and the guest above it. */
uint64_t vmm_pool_bytes(const struct technique *t, const struct vmm_config *c, uint64_t guest_bytes);
/* Makes the virtual machine on cpu and mmu: grants the guest's frames, builds the p2m, sets hooks and memory part. All other fields of v are filled by the caller before. False: v->error. */
bool vmm_create(struct vmm *v);
void vmm_destroy(struct vmm *v);
/* The interrupt line of the machine's PIC went up: called by the run loop (live) and by replay at EV_IRQ_RAISED. */
void vmm_irq_raised(struct vmm *v, unsigned irq);
/* May the machine hand over an interrupt now? And the handing over: vector from the PIC. Native, VMX and BT: the guest's IF; paravirt: always, as an event. */
bool vmm_interruptible(const struct vmm *v);
void vmm_interrupt(struct vmm *v, unsigned vector);
/* Paravirt: builds the domain's start of day (ringside_pv.h) for an ELF kernel already loaded by p_paddr at guest-physical addresses. entry, virtual. False: v->error. */
struct pv_boot { unsigned width; uint64_t entry, free_gpa, module_gpa, module_bytes; const char *cmdline; };
bool vmm_paravirt_boot(struct vmm *v, const struct pv_boot *b);
/* Replay of a normalized hypercall (EV_HYPERCALL). */
void vmm_replay_hypercall(struct vmm *v, uint32_t number, uint64_t a, uint64_t b);

/* ---- for the parts ---- */
uint64_t vmm_page_alloc(struct vmm *v);           /* a zeroed page of the pool (hpa); fails the VMM and returns 0 when there is none */
void vmm_page_free(struct vmm *v, uint64_t hpa);
uint64_t vmm_load(struct vmm *v, uint64_t hpa, unsigned bytes);                    /* EV_VMM_LOAD + the value */
void vmm_store(struct vmm *v, uint64_t hpa, uint64_t value, unsigned bytes);       /* drains, EV_VMM_STORE + the change: for tables that hardware walks */
void vmm_store_data(struct vmm *v, uint64_t hpa, uint64_t value, unsigned bytes);  /* the same without the drain: for the VMM's own data, which no event consumer reads */
uint64_t vmm_region_alloc(struct vmm *v, uint64_t bytes);                          /* contiguous zeroed pages, for the life of the VMM; 0 and a failed VMM when there is no room */
void vmm_work(struct vmm *v, enum vmm_work kind, uint32_t instructions);           /* EV_HANDLER + EV_VMM_WORK */
void vmm_device_work(struct vmm *v, bool write, uint16_t port);                    /* the device model of a port access, its back end included where it has one */
void vmm_exit_event(struct vmm *v, enum exit_reason r, enum vmm_transition t);     /* EV_EXIT, counted */
void vmm_entry_event(struct vmm *v, enum exit_reason r, enum vmm_transition t);    /* EV_ENTRY */
uint64_t vmm_gpa_to_hpa(struct vmm *v, uint64_t gpa);                              /* by the p2m, as a vmm_load; UINT64_MAX: none */
bool vmm_walk_guest(struct vmm *v, uint64_t gva, struct walk_request rq, struct walk *out); /* software walk of the guest's tables (v->guest) through the p2m: its references are VMM
                                                     loads, A and D bits that it sets (rq.set_ad) VMM stores; the tables must be tracked already */
void vmm_fail(struct vmm *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same walk as the bare machine would make it, over guest memory as an array, without events: what a VMM looks up in its own cached knowledge, and the meaning of
 * tables that lie outside memory (an open bus: all ones). out->hpa is out->gpa moved to host-physical, or past all memory. */
bool vmm_walk_quiet(struct vmm *v, uint64_t gva, struct walk_request rq, struct walk *out);
/* The same without setting flags, by paging_walk_plain() where that will do: out->ref is not set, but for steps->guest, which is in guest-physical addresses. */
bool vmm_walk_plain(struct vmm *v, uint64_t gva, struct walk_request rq, struct walk *out, struct walk_steps *steps);
uint64_t vmm_hpa_of(const struct vmm *v, uint64_t gpa); /* no events; past all memory when the guest has none there */
static inline uint64_t vmm_gpa_of(const struct vmm *v, uint64_t hpa) { return hpa - v->guest_base; }
/* Applies SDM 3A 4.10.4's flush rules for guest paging that hardware walks itself (nested): EV_TLB_FLUSH under now->vpid, softtlb context. before: the paging until now. */
void vmm_flush_context(struct vmm *v, const struct paging *before, const struct paging *now, enum context_change why, uint64_t old_value, bool no_flush);
void vmm_flush_invlpg(struct vmm *v, const struct paging *now, uint64_t gva);
void vmm_flush_invpcid(struct vmm *v, const struct paging *now, unsigned type, unsigned pcid, uint64_t gva);
/* PAE: PDPTEs are read again only by some register writes (SDM 3A 4.4.1); keeps the old ones otherwise, and tracks their page. */
void vmm_pdptes_follow(struct vmm *v, const struct paging *before, struct paging *now, enum context_change why, uint64_t old_value);
/* ---- interrupts of vmx and binary translation (vmm_irq.c): in replay as live, decided by IF, HLT and order alone ---- */
void vmm_irq_exit(struct vmm *v);      /* the line went up: exit, injection or window request */
void vmm_irq_deliver(struct vmm *v);   /* the guest takes it: the rest of the work */
void vmm_irq_halt(struct vmm *v);      /* HLT: exit without entry; the next interrupt enters */
#endif
