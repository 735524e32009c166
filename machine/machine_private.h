/*
 * What the files of machine/ share.
 *
 * Invariant: everything of one simulated computer hangs off struct machine; device registers change only through machine_io_*, machine_devices_advance() and the ports of a VMM.
 */
#ifndef MACHINE_PRIVATE_H
#define MACHINE_PRIVATE_H
#include "dev_cmos.h"
#include "dev_pic.h"
#include "dev_pit.h"
#include "dev_serial.h"
#include "machine.h"

#define CONSOLE_KEPT (16u << 20) /* bytes of serial output that are kept; all of it is hashed */

struct console {
	char *bytes;
	size_t count, capacity;
	uint64_t hash;           /* of every byte, kept or not */
	FILE *echo;
};

struct devices {
	struct pics pics;
	struct pit pit;
	struct serial serial;
	struct cmos cmos;
	uint64_t pit_done;       /* ticks up to which rises of channel 0 have reached the PIC */
	uint8_t post_code;
	uint8_t shutdown_at;     /* how much of "Shutdown" came to port 0x8900 */
};

struct machine {
	struct machine_config config;
	const struct technique *technique;
	const struct engine *engine;
	struct phys phys;
	struct event_sink events;
	struct block_dictionary dictionary;
	struct cpu cpu;
	struct mmu mmu;
	struct vmm vmm;
	bool mmu_made, vmm_made;
	struct timing *timing;       /* NULL: functional */
	struct sampling *sampling;   /* NULL: everything is measured */
	bool keeps_time;             /* the timing model does: virtual time is its cycles; else instructions */
	uint8_t work_cause[VMM_WORKS];
	struct devices devices;
	struct console console;

	uint64_t spent;              /* engine budget, all batches: a place in the run that every engine has, instruction counts stand still in faults and strings */
	uint64_t fruitless;          /* engine budget spent without retiring: deliveries that fault in the handler's first instruction, long REP stretches */
	uint64_t idle;               /* time units skipped while halted, where the timing model does not count them */
	uint64_t time;               /* the latest answer of machine_now(): time never runs backwards */
	bool intr_seen;              /* the INTR line's rise was announced */
	bool ended;
	enum run_end end;
	int exit_code;
	unsigned width;              /* of the kernel image: 32 or 64; 0: not loaded */
	bool replayed;
	uint64_t replayed_hash, replayed_instructions;
	machine_progress *progress;
	void *progress_self;
	uint64_t progress_next;
};

/* ---- machine.c ---- */
uint64_t machine_now(struct machine *m); /* virtual time, in time units; drains */
void machine_end(struct machine *m, enum run_end end, int code);

/* ---- sampling.c ---- */
bool sampling_create(struct machine *m, char *error, size_t error_size);
void sampling_destroy(struct machine *m);
void sampling_step(struct machine *m);               /* between batches: goes to the phase that the instruction count asks for */
void sampling_finish(struct machine *m);             /* the run has ended: so has its window */
uint64_t sampling_now(const struct machine *m);      /* virtual time; drained */
uint64_t sampling_left(const struct machine *m);     /* instructions to the end of the phase, at least 1 */
uint64_t sampling_reach(const struct machine *m, uint64_t cycles); /* instructions that surely pass in fewer cycles */
void sampling_fill(const struct machine *m, struct run_result *r); /* estimates in place of counts */
struct exit_account sampling_exit(const struct machine *m, unsigned reason); /* cycles, estimated; the count is known */

/* ---- devices.c: the devices together, their time and their lines ---- */
void machine_devices_reset(struct machine *m);
uint32_t machine_io_in(void *self, struct cpu *cpu, uint16_t port, unsigned size);
void machine_io_out(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value);
void machine_devices_advance(struct machine *m, uint64_t now);    /* timers due by `now` reach the PIC */
uint64_t machine_devices_deadline(const struct machine *m);       /* when the next timer is due, in time units; UINT64_MAX: never */
struct vmm_devices machine_vmm_devices(struct machine *m);

/* ---- console.c ---- */
void console_put(struct console *c, uint8_t byte);
void console_destroy(struct console *c);

/* ---- hash.c ---- */
uint64_t hash_start(void);
uint64_t hash_word(uint64_t h, uint64_t word);
uint64_t machine_state_hash(const struct machine *m);
uint64_t machine_memory_hash(struct machine *m);
#endif
