/*
 * The simulated computer: composition of every room, and the run loop.
 *
 * Invariant: a machine hangs off struct machine alone; several run in one process, on threads. Time is a function of the events (cycles of the core model, or instructions without
 * one), so a run is the same on every real computer.
 *
 * Memory map (guest-physical): RAM from 0 to memory_bytes; 0xA0000-0xFFFFF is plain RAM, too (no video). Host-physical: the VMM's pool from 0, then the guest's memory;
 * natively the pool is empty. Ports: 0x20/0xA0 two 8259A, 0x40-0x43 8254, 0x61 speaker gate, 0x3F8 16550 (IRQ 4), 0x80 POST code, 0xF4 debug exit (the value is the exit code), 0x70/0x71 CMOS,
 * 0x4D0/0x4D1 edge or level, 0x8900 Bochs shutdown. Ports that no device claims read all ones.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H
#include "../isa/engine.h"
#include "result.h"

/*
 * Sampled simulation (Wunderlich, Wenisch, Falsafi and Hoe, "SMARTS", ISCA 2003): of every `interval` instructions, `window` are measured; the `warmup` before each window drive the models
 * uncounted; the rest run without models. All in guest instructions, ended at the first block boundary.
 */
struct sampling_config {
	bool on;
	uint64_t interval;               /* default 400,000 */
	uint64_t warmup;                 /* default 80,000; interval - window or more: the models are always warm (functional warming) */
	uint64_t window;                 /* default 5,000; interval: everything is measured */
	uint64_t head;                   /* measured whole at the start, for booting is like nothing that follows, and large caches fill in it; default 20,000,000 */
	uint64_t seed;                   /* where in the interval the window lies: each seed has its place */
};

struct machine_config { /* the effective configuration; every field has a key (cli/config.c) and is stored with the run */
	char kernel[512], module[512], cmdline[256]; /* paths (module: several with commas); cmdline is the kernel's */
	char workload[64];               /* name, for results */
	char technique[24];              /* row of techniques.def */
	char engine[24];                 /* row of engines.def; default "threaded" */
	char core[24];                   /* "functional" (no timing model) or a row of core_models.def; default "fixed" */
	char preset_name[24];
	struct preset preset;            /* a copy of the named preset, fields overridden */
	struct vmm_config vmm;
	struct cpu_features features;
	uint64_t memory_bytes;           /* guest RAM; default 64 MiB */
	uint64_t max_instructions;       /* budget; default 20 G. A guest that waits, or faults without end, uses it up, too: four idle time units or deliveries count as one */
	uint64_t seed;
	unsigned softtlb_entries;        /* at the start; default 4096 */
	unsigned event_buffer;           /* events; default 4096 */
	char consume[16];                /* "auto" (default), "in-order" or "staged": how the core model takes events. Results do not depend on it */
	bool event_filter;               /* events that change no model are counted instead of written; default true. Results do not depend on it */
	uint64_t block_cache_bytes;
	uint64_t batch;                  /* most instructions that an engine runs in one go; default 4 Mi. Results do not depend on it */
	bool forgetful;                  /* before every batch, forget all cached translations and blocks: a hostile test; results do not depend on it */
	struct sampling_config sampling; /* keys sampling.*: needs a core that keeps time */
	bool tlb_only;                   /* functional core with the modelled TLBs (statistics, no cycles) */
	bool replay;                     /* a trace will drive it: trace_replay(), not machine_load() and machine_run() */
};
void machine_config_default(struct machine_config *c);

struct machine;
/* Composes a machine. NULL with one line in error (unknown technique, ...). */
struct machine *machine_create(const struct machine_config *c, char *error, size_t error_size);
void machine_destroy(struct machine *m);
/* Loads c->kernel (Multiboot 1 with the module, or a paravirtual ELF under a paravirt technique). False with one line in error: names file and remedy. */
bool machine_load(struct machine *m, char *error, size_t error_size);

/* Called now and then during long runs (not a function of real time): instructions so far. Return false to stop. */
typedef bool machine_progress(void *self, uint64_t instructions);
void machine_set_progress(struct machine *m, machine_progress *fn, void *self);
/* Runs until the guest ends or the budget is used. The loop that the design describes: fits a screen. */
enum run_end machine_run(struct machine *m);
/* One turn of that loop, of at most `most` instructions (to the end of the block that reaches them). False: the guest had ended. */
bool machine_turn(struct machine *m, uint64_t most);
/* Fills r from the machine (drained). */
void machine_result(struct machine *m, struct run_result *r);
/* What the guest wrote to the serial port. */
const char *machine_console(const struct machine *m, size_t *bytes);
/* Echo the serial port to a file as it comes (NULL: no). */
void machine_set_console_file(struct machine *m, FILE *f);

/* ---- for traces/ (recorder attached live, replay engine in place of an engine) ---- */
struct cpu *machine_cpu(struct machine *m);
struct mmu *machine_mmu(struct machine *m);
struct vmm *machine_vmm(struct machine *m);
struct event_sink *machine_events(struct machine *m);
struct block_dictionary *machine_blocks(struct machine *m);
const struct machine_config *machine_configuration(const struct machine *m);
/* Replay ends: what the recording says of the guest (its state hash and exit code are part of the trace). */
void machine_set_replayed(struct machine *m, enum run_end end, int exit_code, uint64_t state_hash, uint64_t instructions);
#endif
