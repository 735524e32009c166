/*
 * Events: the narrow waist between what a guest does and what is made of it (design, decision 2).
 *
 * Invariant: the stream is ordered as the simulated machine did things, and a consumer that sees all of it in order computes the
 * same whatever the size of the buffer. Therefore the buffer is drained *before* anything that reads time or model state, and before
 * any change to memory that a consumer may read (page tables, of guest or VMM) or to the current paging description.
 *
 * Layer 1 (EV_BLOCK .. EV_PROBE) is what the guest did: the engine writes it, a trace stores it, replay reads it back.
 * Layer 2 (EV_EXIT ..) is what virtualizing it took: the technique writes it, live and in replay alike; a trace never stores it.
 */
#ifndef ISA_EVENT_H
#define ISA_EVENT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "event_filter.h"

enum event_kind { /* ORDER EVENT: numbers are stored in traces; append only, within the layer's range */
	EV_NONE,
	/* ---- layer 1: the guest ---- */
	EV_BLOCK,        /* a block is entered. addr = linear pc; id = index in the block dictionary; aux = instructions in it; flags: EVF_USER */
	EV_CUT,          /* the last block stopped early: id = instructions of it that did not retire */
	EV_LOAD,         /* addr = gva, aux = bytes (<= 16; 512 for FXRSTOR comes as 32 loads of 16) */
	EV_STORE,        /* the same */
	EV_RMW,          /* a load and store of the same address as one event (locked or not) */
	EV_TABLE_STORE,  /* a store to a tracked page-table page. addr = gva, aux = bytes (<= 8; wider are split); next event is EV_VALUE: addr = the value */
	EV_VALUE,        /* second half of the event before it: addr = value */
	EV_TABLE_PAGE,   /* a page becomes tracked as a page table. addr = gpa of the page; its contents go to the page sink (recorder) */
	EV_TABLE_FORGET, /* a page stops being tracked. addr = gpa */
	EV_REP,          /* a REP string instruction did more iterations. id = iterations (its memory events are separate) */
	EV_SENSITIVE,    /* id = enum sensitive, addr = operand; aux = 1: an EV_VALUE follows. Emitted before the effect */
	EV_EXCEPTION,    /* an exception or INT n is about to be delivered. id = vector | error code << 8 (if any) ; flags EVF_HAS_ERROR, EVF_SOFT (INT n, INT3, INTO);
	                    addr = cr2 for vector 14 */
	EV_INTERRUPT,    /* an external interrupt is about to be delivered. id = vector */
	EV_IRQ_RAISED,   /* the interrupt line went up (not yet accepted). id = irq */
	EV_STATE,        /* what replay must know and cannot derive, after each control transfer that changed it: id = cpl | in_64bit_code << 2 | eflags_if << 3 |
	                    eflags_ac << 4 */
	EV_IDLE,         /* halted until the next event. addr = duration in time units of the run that wrote it */
	EV_DEVICE,       /* a device model did something for port I/O. id = port | size << 16 | write << 24 */
	EV_HYPERCALL,    /* id = number, addr = first argument; details as the paravirt VMM writes them (EV_VALUE follows if aux) */
	EV_MARK,         /* workloads/include/ringside_mark.h. id = region << 1 | begin */
	EV_PROBE,        /* a translation asked for ahead of its access, or for none: an instruction that checks for a write before it reads, a fetch that ends in #GP. addr = gva,
	                    aux = bytes; a write, or with EVF_FETCH a fetch. Takes no time: it stands where a VMM is asked */
	EV_GUEST_KINDS,  /* of layer 1, with EV_NONE */
	/* ---- layer 2: virtualization ---- */
	EV_EXIT = 64,    /* control leaves the guest for the VMM. id = enum exit_reason (vmx-model/vmm.h) ; aux = enum vmm_transition */
	EV_ENTRY,        /* and comes back. the same fields */
	EV_HANDLER,      /* VMM work that follows is of kind id = enum vmm_work (vmx-model/vmm.h) until the next EV_HANDLER, EV_ENTRY or guest EV_BLOCK */
	EV_VMM_WORK,     /* straight-line VMM code: id = instructions */
	EV_VMM_LOAD,     /* addr = hpa, aux = bytes */
	EV_VMM_STORE,    /* addr = hpa, aux = bytes */
	EV_VMCS_READ,    /* id = number of VMREADs in a row */
	EV_VMCS_WRITE,
	EV_TRANSLATE,    /* BT translates: id = guest instructions, aux = fragments */
	EV_TC_JUMP,      /* BT executed an indirect branch through its hash table: id = 0; addr = hpa of the hash slot */
	EV_TC_FETCH,     /* the next EV_BLOCK executes from the translation cache: addr = hpa of its fragment; id = its bytes; aux = extra instructions it has over the guest's */
	EV_TLB_FLUSH,    /* id = enum tlb_flush (tlb/tlb_flush.h), aux = vpid, addr = gva | pcid as the scope says */
	EV_SKIPPED,      /* what the filter left out since the last one, for consumers that allow it: id = loads, stores and RMWs; addr = blocks << 32 | their instructions; flags: EVF_USER, and
	                    EVF_EARLIER: in all three: it was before the last EV_SENSITIVE, EV_EXCEPTION or EV_INTERRUPT, behind which nothing has been left out */
	EV_SKIPPED_CODE, /* of these blocks: id = entered by a jump; addr = lines that were not the last one of the block before; flags: EVF_USER */
	EV_SKIPPED_TO,   /* the last of them ended in front of addr */
	EV_KIND_COUNT
};

enum {
	EVF_USER = 1,       /* CPL 3 (blocks); user-mode access (memory events) */
	EVF_FAULT = 2,      /* this memory access did not complete: its translation faulted (the walk happened) */
	EVF_SUPERVISOR = 4, /* implicit supervisor access made at CPL 3: descriptor tables, TSS, IDT */
	EVF_HAS_ERROR = 8,
	EVF_SOFT = 16,
	EVF_EARLIER = 2,
	EVF_FETCH = 64,     /* EV_LOAD with EVF_FAULT: it was an instruction fetch whose translation faulted; aux = 1 + bytes of the instruction in the page before, which had been fetched */
	EVF_STRADDLE = 32,  /* EV_BLOCK: its one instruction crosses a page */
	EVF_HIDDEN = 128,   /* with EVF_FAULT: the guest does not see it; the VMM mends what was missing, or makes the access itself. Layer 2: a trace does not store it */
};

struct event { /* 16 bytes; event_write() fills the first 8 at once, least significant byte first as the real processor has them */
	uint8_t kind;
	uint8_t flags;
	uint16_t aux;
	uint32_t id;
	uint64_t addr;
};

struct event_consumer { /* in the order of the list, each sees every batch */
	void (*consume)(void *self, const struct event *first, const struct event *end);
	void *self;
	struct event_consumer *next;
	const struct event_filter_shape *shape; /* what it lets the filter leave out; NULL: nothing */
};

struct event_sink {
	struct event *next;   /* where the next event goes */
	struct event *limit;  /* last slot that may be written before a drain is due (two spare slots follow: an EV_VALUE stays with its event) */
	struct event *buffer;
	size_t capacity;
	struct event_consumer *consumers; /* NULL: nobody listens; `on` is false then */
	bool on;
	bool live;            /* the filter may hold something */
	struct event_filter *filter; /* NULL: every event is written */
	uint64_t ignored;     /* of its shape: kinds that are not written */
};

/* capacity: events held before a drain (>= 2). Returns false when out of memory. */
bool event_sink_create(struct event_sink *s, size_t capacity);
void event_sink_destroy(struct event_sink *s);
/* Adds at the end of the list; the consumer's storage stays the caller's. Turns the sink on. */
void event_sink_attach(struct event_sink *s, struct event_consumer *c);
/* Has what the one consumer allows left out from now on. `f` stays the caller's. Attaching another consumer ends that. False: nothing may be left out. */
bool event_sink_filter(struct event_sink *s, struct event_filter *f);
/* Drains, and has events written or left out from now on. An engine takes notice at its next block boundary. */
void event_sink_listen(struct event_sink *s, bool on);
/* Gives everything written so far to the consumers, and empties the buffer. Re-entry is an error (a consumer never emits). */
void event_drain(struct event_sink *s);

/* Fills a slot in two stores: an event costs little more. */
static inline __attribute__((always_inline)) void event_write(struct event *at, enum event_kind kind, unsigned flags, unsigned aux, uint32_t id, uint64_t addr)
{
	uint64_t head = (uint64_t)kind | (uint64_t)(uint8_t)flags << 8 | (uint64_t)(uint16_t)aux << 16 | (uint64_t)id << 32; /* ORDER: struct event */
	memcpy(at, &head, sizeof head);
	at->addr = addr;
}

/* Writes what was left out, as far as it may matter to an event of this kind that comes next, and makes the filter forget what that may touch. EV_NONE: everything. */
void event_settle(struct event_sink *s, enum event_kind next);
/* Nothing that was written before may be taken for the last any more. */
static inline void event_forget(struct event_sink *s)
{
	if (s->live)
		event_settle(s, EV_NONE);
}
/* Whether an event is written at all. */
static inline bool event_wanted(const struct event_sink *s, enum event_kind kind) { return s->on && !(kind < 64 && s->ignored >> (kind & 63) & 1); }

static inline void event_put(struct event_sink *s, enum event_kind kind, unsigned flags, unsigned aux, uint32_t id, uint64_t addr)
{
	if (!event_wanted(s, kind))
		return;
	if (s->live)
		event_settle(s, kind);
	struct event *at = s->next;
	s->next = at + 1;
	event_write(at, kind, flags, aux, id, addr);
	if (__builtin_expect(at + 1 > s->limit, 0))
		event_drain(s);
}

/* An event and its EV_VALUE, kept in one batch. */
static inline void event_put2(struct event_sink *s, enum event_kind kind, unsigned flags, unsigned aux, uint32_t id, uint64_t addr, uint64_t value)
{
	if (!event_wanted(s, kind))
		return;
	if (s->live)
		event_settle(s, kind);
	struct event *at = s->next;
	s->next = at + 2;
	event_write(at, kind, flags, aux, id, addr);
	event_write(at + 1, EV_VALUE, 0, 0, 0, value);
	if (__builtin_expect(at + 2 > s->limit, 0))
		event_drain(s);
}

/* The same for what may stay in the filter: a load, store or RMW within a page, whose bytes are at gva + addend; `head`: the first 8 bytes of the event. */
void event_put_access(struct event_sink *s, uint64_t head, uint64_t gva, uint64_t addend);
/* The same for who found the bytes at `real` in the fast table: written unless the filter knows it. flags: EVF_USER or EVF_SUPERVISOR. */
static inline void event_put_data(struct event_sink *s, enum event_kind kind, unsigned flags, unsigned size, uint64_t gva, const uint8_t *real)
{
	if (s->on && !(s->live && event_filter_same(s->filter, gva, size, kind != EV_LOAD)))
		event_put_access(s, (uint64_t)kind | (uint64_t)flags << 8 | (uint64_t)size << 16, gva, (uint64_t)(uintptr_t)real - gva);
}
/* The same for who did not look there: touched, and nothing of it will be left out. */
void event_put_touch(struct event_sink *s, enum event_kind kind, unsigned flags, unsigned size, uint64_t gva);
/* EV_BLOCK of a block of `bytes` that no hook of a VMM knows of; or nothing, where the filter knows it. */
void event_put_block(struct event_sink *s, unsigned flags, unsigned insns, unsigned bytes, uint32_t id, uint64_t pc);

/* ---- the block dictionary: what EV_BLOCK.id stands for ---- */
enum block_end { /* how a block ends */
	BLOCK_END_FALL,     /* length limit, page end, or a boundary after STI, MOV SS, ... */
	BLOCK_END_JUMP,     /* direct jump */
	BLOCK_END_BRANCH,   /* conditional */
	BLOCK_END_CALL,     /* direct call */
	BLOCK_END_INDIRECT, /* indirect jump */
	BLOCK_END_INDIRECT_CALL,
	BLOCK_END_RET,
	BLOCK_END_SYSTEM,   /* far transfer, IRET, SYSCALL, INT, HLT, MOV CR, ... */
};

#define BLOCK_MAX_INSNS 32
#define BLOCK_MAX_BYTES (BLOCK_MAX_INSNS * 15)

struct block_static { /* immutable once entered; a change of the code makes a new entry */
	uint16_t bytes;     /* length of the code */
	uint8_t insns;
	uint8_t end;        /* enum block_end */
	uint8_t mode;       /* code size: 2, 4 or 8 */
	uint8_t loads, stores; /* static memory operands, for reports */
	uint8_t sensitive_count;
	uint64_t sensitive; /* set of enum sensitive (bit each) that occur in it */
	const uint8_t *code; /* `bytes` bytes */
};

struct block_dictionary {
	struct block_static *entry;
	uint32_t count, capacity;
	/* hash of (code, mode) -> entry, so that a block built again gets its number back */
	uint32_t *slot;
	uint32_t slots;
	uint32_t live;      /* entries that are not free: code != NULL */
	uint32_t free;      /* first of the free entries, each naming the next in `sensitive`; UINT32_MAX: none */
	uint32_t roomy;     /* live entries beyond which it pays to trim */
	struct { void *self; void (*freeing)(void *self, const uint8_t *kept); } watcher; /* told before numbers are given to others (a recording); freeing NULL: nobody */
};

bool block_dictionary_create(struct block_dictionary *d);
void block_dictionary_destroy(struct block_dictionary *d);
/* Enters a block (copies the code), or finds the equal one. Returns its id; UINT32_MAX when out of memory. Ids count up from 0, until a trim has made some free. */
uint32_t block_dictionary_enter(struct block_dictionary *d, const struct block_static *b);
/* Whether code that writes itself has filled it: then who knows what is still referred to may trim. */
static inline bool block_dictionary_crowded(const struct block_dictionary *d) { return d->live > d->roomy; }
/* Frees the entries whose kept[id] is 0; the others keep their numbers. Events that name them must have been drained. kept has `count` bytes. */
void block_dictionary_trim(struct block_dictionary *d, const uint8_t *kept);
#endif
