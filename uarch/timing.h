/*
 * Time: a core model consumes the event stream and says how many cycles it took, and why.
 *
 * Invariant: cycles = the sum over causes; the same events give the same cycles, live or from a trace, whatever the buffer size. Nothing outside uarch/ knows a latency.
 */
#ifndef UARCH_TIMING_H
#define UARCH_TIMING_H
#include "../isa/event.h"
#include "../tlb/tlb_model.h"
#include "lru.h"
#include <stdio.h>

enum cause {
#define CAUSE(id, name, text) CAUSE_##id,
#include "causes.def"
#undef CAUSE
	CAUSES
};
const char *cause_name(enum cause c);
const char *cause_text(enum cause c);

struct cache_geometry { uint32_t bytes, ways, line, latency /* load to use, cycles */; };
struct dram_geometry { uint32_t banks, row_bytes, row_hit, row_miss, row_conflict; /* cycles */ };

/* How events are consumed; results do not depend on it. Staged: accesses that miss L1 wait, and go through each level below together (hierarchy.h). */
enum consume { CONSUME_AUTO /* staged while many miss */, CONSUME_IN_ORDER, CONSUME_STAGED, CONSUMES };
const char *consume_name(unsigned i);                          /* "auto", "in-order", "staged"; NULL: no more */
bool consume_find(const char *name, enum consume *consume);    /* false: unknown */

#define TIMING_EXITS 64 /* reasons, transitions and kinds are small integers of vmx-model/; uarch/ only counts by them */
struct preset { /* a processor generation: rows of presets.def; every number has its source beside it in preset_<name>.c */
	const char *name, *summary, *source;
	uint32_t mhz;               /* simulated clock: converts device time (ns) to cycles */
	bool vpid;                  /* tags translations by VPID: no TLB flush at VMX transitions */
	bool ept;                   /* had EPT in silicon (informational: techniques run on every preset) */
	struct tlb_model_config tlb;
	uint32_t l2_tlb_hit;        /* cycles over an L1 TLB hit */
	uint32_t walk_start;        /* cycles to start a walk */
	struct cache_geometry l1i, l1d, l2, l3; /* l3.bytes 0: none */
	struct dram_geometry dram;
	/* fixed core: cycles */
	uint32_t milli_cpi;         /* cost of one instruction, thousandths of a cycle, when nothing stalls */
	uint32_t branch_taken;      /* extra for a block that ends in a taken transfer */
	uint32_t serialize;         /* extra for MOV CR, INVLPG, CPUID, IRET and kin: BLOCK_END_SYSTEM blocks */
	uint32_t exception;         /* delivery through the IDT (EV_EXCEPTION, EV_INTERRUPT) */
	uint32_t syscall;           /* SYSCALL + SYSRET pair, each half charged half */
	uint32_t port_io;           /* native IN/OUT to the chipset */
	uint32_t rep_iteration_milli; /* per REP iteration, thousandths */
	/* transitions, cycles: [enum vmm_transition] */
	uint32_t exit_cost[4], entry_cost[4];
	uint32_t vmread, vmwrite;
	uint32_t vmm_milli_cpi;     /* straight-line VMM code */
	enum lru_variant lru;       /* tests: which code moves lines in the caches; results do not depend on it */
	enum consume consume;       /* machine.consume, for the machine's copy */
};
const struct preset *preset_find(const char *name);
const struct preset *preset_at(unsigned i); /* NULL: no more */
/* Configuration keys of a preset copy, `preset.<name>`: i-th numeric field; false: no more. */
bool preset_key(struct preset *p, unsigned i, const char **name, uint32_t **value, const char **doc);

struct timing;
struct timing_port { /* how the core model asks what the hardware walks now: mmu->part->hardware_paging */
	void *self;
	const struct paging *(*paging)(void *self);
	bool walks_are_shadow;      /* one-dimensional walks are of VMM-made tables */
	const struct block_dictionary *blocks;
	const struct phys *phys;
	const uint8_t *work_cause;  /* enum cause of each kind of VMM work, by number; NULL: all of them are CAUSE_VMM */
	unsigned works;             /* how many it has; kinds beyond are CAUSE_VMM */
};
struct core_model { const char *name, *summary; bool keeps_time; /* false: statistics only, timing_now() stays 0 */ };
extern const struct core_model core_models[]; /* rows of core_models.def; ends with name == NULL */
const struct core_model *core_model_find(const char *name); /* NULL: unknown */

/* A core model with TLBs, caches and DRAM of the preset. NULL with a line in error. */
struct timing *timing_create(const char *core_model, const struct preset *p, const struct timing_port *port, char *error, size_t error_size);
void timing_destroy(struct timing *t);
struct event_consumer *timing_consumer(struct timing *t); /* attach it to the sink */
uint64_t timing_now(const struct timing *t);              /* cycles so far; drain first */
uint64_t timing_worst_block(const struct timing *t);      /* cycles that one instruction takes at most, but for what its exit entails and for REP: bounds a batch before a deadline */
uint64_t timing_instructions(const struct timing *t);     /* guest instructions seen in the stream */

struct exit_account { uint64_t count, transition_cycles, handler_cycles; };
struct region_account { uint64_t count, cycles, instructions, by_cause[CAUSES]; }; /* EV_MARK */
#define TIMING_REGIONS 128
uint64_t timing_cause(const struct timing *t, enum cause c);
const struct exit_account *timing_exits(const struct timing *t, unsigned reason);
uint64_t timing_work_cycles(const struct timing *t, unsigned work); /* VMM handler cycles by kind */
const struct region_account *timing_region(const struct timing *t, unsigned id);
const struct tlb_stats *timing_tlb_stats(const struct timing *t);
#define TIMING_STATS 192
/* All accounts at a moment, so that windows of a run can be measured: subtract two of them. Drain first. */
struct timing_snapshot {
	uint64_t cause[CAUSES], work[TIMING_EXITS], stat[TIMING_STATS]; /* stat: in the order of timing_stat() */
	struct exit_account exit[TIMING_EXITS];
	unsigned stats;
};
void timing_snapshot_take(const struct timing *t, struct timing_snapshot *s);
/* Events were left out: what was known of the stream and of translations is forgotten. Caches keep what they had. */
void timing_resync(struct timing *t);
/* Every statistic (TLB, walks, caches, DRAM) by name; false: no more. */
bool timing_stat(const struct timing *t, unsigned i, const char **name, uint64_t *value);
#endif
