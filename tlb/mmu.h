/*
 * The functional MMU: memory_port made of the softtlb and a technique's memory part.
 *
 * Invariant: a softtlb entry never outlives what would have ended it in the architecture (INVLPG, MOV CR3, ... of its context) nor what the memory part took away
 * (a zapped shadow entry, an EPT change, a page that became a page table). It caches the combined gva -> real mapping; it is a legal TLB and decides nothing about time.
 *
 * Tracking: every guest page that a walk reads as a page table is tracked. Stores to it are slow, drain the events first, and appear as EV_TABLE_STORE with their
 * value; when tracking begins, EV_TABLE_PAGE and the page sink give the contents. After FORGET_STORES stores without a walk between, each to another
 * entry than the one before, it is forgotten (EV_TABLE_FORGET).
 * This is the same under every technique, so that a trace recorded natively carries what shadow paging needs.
 */
#ifndef TLB_MMU_H
#define TLB_MMU_H
#include "../isa/cpu.h"
#include "frames.h"
#include "paging.h"
#include "tlb_flush.h"

struct mmu;

struct translation { /* what a memory part answers */
	uint64_t hpa;       /* of the byte */
	uint64_t gpa;
	bool write_ok;      /* later writes may go straight through (dirty bits are set everywhere) */
	bool exec_ok, user; /* user: pages that CPL 3 may touch */
	bool read_ok;
	bool large;         /* the hardware's mapping is larger than 4 KiB: other sets of the modelled TLBs */
	uint8_t page_shift; /* log2 of the guest's page (walk.guest_shift): INVLPG ends all of it. 0: unknown, taken as the largest */
	struct mem_fault fault;
};

struct memory_part { /* implemented by tlb/mem_direct.c (native) and by vmx-model/ (shadow, nested, direct paging) */
	const char *name;
	/* Translates one access for the guest: hardware walk, and whatever the VMM does about a miss (hidden faults, EPT violations), until it succeeds or the guest must see a fault.
	   Emits an EVF_FAULT access event for every failed hardware attempt, and layer-2 events. Calls mmu_track_table() for each guest table it read. */
	bool (*translate)(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, struct walk_request rq, unsigned size, struct translation *out);
	/* A guest store to a tracked page-table page: do what the technique does (native: just write). Must perform the write to t->hpa. Events are drained already. */
	void (*table_store)(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva, const struct translation *t, uint64_t value, unsigned size);
	/* The guest's paging registers changed, after the change. Emits EV_TLB_FLUSH with the scope that the hardware applies under this technique. */
	void (*context_changed)(void *self, struct mmu *mmu, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush);
	void (*invlpg)(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gva);
	void (*invpcid)(void *self, struct mmu *mmu, struct cpu *cpu, unsigned type, unsigned pcid, uint64_t gva);
	/* A tracked table was forgotten (gpa): shadow paging drops its shadow. May be NULL. */
	void (*table_forgotten)(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gpa);
	/* What the hardware walks now: the consumer's modelled MMU walks this on a TLB miss. Changes only after a drain. */
	const struct paging *(*hardware_paging)(void *self);
	/* hpa of a guest-physical address, no events, no side effects: for loaders, devices, hashing. UINT64_MAX: none. */
	uint64_t (*gpa_to_hpa)(void *self, uint64_t gpa);
	/* Replay installed the contents of a table page that the registers may depend on (PAE's PDPTEs): read them again. May be NULL. */
	void (*table_page_installed)(void *self, struct mmu *mmu, struct cpu *cpu, uint64_t gpa);
};

#define FORGET_STORES 64

struct page_sink { void *self; void (*page)(void *self, uint64_t gpa, const uint8_t *bytes); }; /* the trace recorder; page == NULL: none */

struct mmu {
	const struct memory_part *part;
	void *part_self;
	struct phys *phys;
	struct event_sink *events;
	struct frames frames;
	struct page_sink page_sink;
	struct walk_memory walk_memory; /* drains before A/D changes */
	struct softtlb *softtlb;        /* contexts, entries */
	uint64_t resource_violations;   /* accesses to frames that were not granted: must stay 0 (Popek and Goldberg's resource control) */
	uint64_t fills, table_stores, table_pages;
	uint64_t table_changes;         /* stores to tracked tables, and forgets: what mmu_context_unchanged() compares */
	bool replaying;                 /* tables are forgotten when the trace says so (mmu_replay_table_forget), not by the rule */
};

/* entries: of the softtlb, a power of two from 1 (hostile build) to 16384. Fills cpu->mem. The part may be set later, before the first access. */
bool mmu_create(struct mmu *mmu, struct cpu *cpu, struct event_sink *events, unsigned entries);
void mmu_destroy(struct mmu *mmu);
void mmu_set_part(struct mmu *mmu, const struct memory_part *part, void *self);

/* ---- for memory parts ---- */
/* Starts tracking the guest table page at hpa (gpa: its guest-physical address), or notes that a walk read it again. Cheap when tracked already. */
void mmu_track_table(struct mmu *mmu, struct cpu *cpu, uint64_t hpa, uint64_t gpa);
/* Ends softtlb entries: all, or one page of all contexts. Bumps cpu->mem.epoch, unless it is a page that nobody fetched from. */
void mmu_flush_all(struct mmu *mmu, struct cpu *cpu);
void mmu_flush_page(struct mmu *mmu, struct cpu *cpu, uint64_t gva);
/* The current address space changed: later entries belong to context `key` (e.g. root | pcid); `keep`: its old entries are still valid (PCID). */
void mmu_set_context(struct mmu *mmu, struct cpu *cpu, uint64_t key, bool keep);
/* True when context `key` is alive and no tracked table has changed since it was last entered: every entry of it is what a walk would give, so that `keep` is legal
   even where the hardware flushes. Only for parts to whom a walk that succeeds is invisible (not shadow paging). */
bool mmu_context_unchanged(const struct mmu *mmu, uint64_t key);
/* Ends the contexts other than the present one whose key matches `key` under `mask` (INVPCID of another PCID). */
void mmu_end_contexts(struct mmu *mmu, struct cpu *cpu, uint64_t mask, uint64_t key);
/* mmu_track_table() for every guest table that a walk (successful or not) has read. */
void mmu_track_walk(struct mmu *mmu, struct cpu *cpu, const struct walk *w);
/* What a successful walk, A/D flags set, allows to be cached. p: the paging that was walked. */
void mmu_translation_from_walk(const struct paging *p, const struct walk *w, struct walk_request rq, struct translation *out);
/* Has the filter of the events ask this MMU when it is in doubt (isa/event_filter.h). */
void mmu_filter(struct mmu *mmu);
/* A word of tables that the hardware walks is about to change: what was translated through it may not be what they say any more. */
void mmu_doubt(struct mmu *mmu, uint64_t hpa);
/* Fills out->fault with the page fault of a failed walk. */
void mmu_translation_fault(uint64_t gva, uint32_t error, struct translation *out);
/* Emits the failed access of a translation that faulted. hidden: the guest will not see it (EVF_HIDDEN). */
void mmu_emit_fault(struct mmu *mmu, uint64_t gva, struct walk_request rq, unsigned size, bool supervisor_implicit, bool hidden);

/* ---- for replay: the same translation and store paths that the live engine takes through memory_port ---- */
/* The access of a layer-1 event: softtlb lookup, fill on a miss. Returns false when the guest faults (events emitted by the part). */
bool mmu_replay_access(struct mmu *mmu, struct cpu *cpu, uint64_t gva, enum access access, bool supervisor, unsigned size, struct mem_fill *out);
/* A recorded EV_TABLE_STORE. */
void mmu_replay_table_store(struct mmu *mmu, struct cpu *cpu, uint64_t gva, uint64_t value, unsigned size, bool supervisor);
/* A recorded EV_TABLE_PAGE: installs the contents at the guest-physical page. */
void mmu_replay_table_page(struct mmu *mmu, struct cpu *cpu, uint64_t gpa, const uint8_t *bytes);

/* A recorded EV_TABLE_FORGET. */
void mmu_replay_table_forget(struct mmu *mmu, struct cpu *cpu, uint64_t gpa);

/* Native: guest-physical is host-physical, hardware walks the guest's own tables. self for mmu_set_part. */
struct mem_direct { struct paging paging; };
extern const struct memory_part memory_part_direct;
void mem_direct_create(struct mem_direct *d);
#endif
