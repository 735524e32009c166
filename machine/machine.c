/* Composition, time and the run loop. */
#include "machine_private.h"
#include <stdlib.h>

#define IDLE_PER_INSTRUCTION 4    /* the budget also ends a guest that does nothing but wait: so many time units count as an instruction */
#define PROGRESS_EVERY (1ull << 22) /* instructions between two looks at the progress function */

void machine_config_default(struct machine_config *c)
{
	*c = (struct machine_config){ .technique = "native", .engine = "dbt", .core = "fixed", .preset_name = "skylake", .preset = *preset_find("skylake"), .features = cpu_features_all,
		.sampling = { .interval = 400000, .warmup = 80000, .window = 5000, .head = 20000000, .seed = 1 },
		.memory_bytes = 64u << 20, .max_instructions = 20000000000ull, .seed = 1, .softtlb_entries = 4096, .event_buffer = 4096, .consume = "auto", .event_filter = true, .block_cache_bytes = 64u << 20, .batch = 1u << 22 };
	vmm_config_default(&c->vmm);
}

/* ---- composition ---- */

static const struct paging *hardware_paging(void *self)
{
	struct machine *m = self;
	return m->mmu.part->hardware_paging(m->mmu.part_self);
}

/* Which cause each kind of VMM work belongs to; all others are VMM handlers. */
static void work_causes_fill(struct machine *m)
{
	memset(m->work_cause, CAUSE_VMM, sizeof m->work_cause);
	m->work_cause[WORK_TRANSLATOR] = m->work_cause[WORK_ADAPT] = CAUSE_TRANSLATION;
	m->work_cause[WORK_DEVICE_MODEL] = CAUSE_DEVICES;
}

static bool timing_attach(struct machine *m, char *error, size_t error_size)
{
	const struct machine_config *c = &m->config;
	bool functional = !strcmp(c->core, "functional");
	if (functional && !c->tlb_only)
		return true;
	work_causes_fill(m);
	struct timing_port port = { .self = m, .paging = hardware_paging, .walks_are_shadow = !strcmp(m->technique->mem->name, "shadow"), .blocks = &m->dictionary, .phys = &m->phys,
		.work_cause = m->work_cause, .works = VMM_WORKS };
	m->timing = timing_create(functional ? "tlb" : c->core, &c->preset, &port, error, error_size);
	if (!m->timing)
		return false;
	m->keeps_time = core_model_find(functional ? "tlb" : c->core)->keeps_time;
	event_sink_attach(&m->events, timing_consumer(m->timing));
	if (c->event_filter && event_sink_filter(&m->events, &m->cpu.filter))
		mmu_filter(&m->mmu);
	return true;
}

static bool registries_find(struct machine *m, char *error, size_t error_size)
{
	struct machine_config *c = &m->config;
	m->technique = technique_find(c->technique);
	m->engine = engine_find(c->engine);
	if (!m->technique)
		return snprintf(error, error_size, "no technique is named \"%s\": see `ringside list techniques`", c->technique), false;
	if (!m->engine)
		return snprintf(error, error_size, "no engine is named \"%s\": see `ringside list engines`", c->engine), false;
	if (!consume_find(c->consume, &c->preset.consume))
		return snprintf(error, error_size, "no way to consume events is named \"%s\": auto, in-order or staged", c->consume), false;
	if (c->memory_bytes < 1u << 20 || c->memory_bytes > 1ull << 40 || c->memory_bytes % 4096)
		return snprintf(error, error_size, "machine.memory: %llu bytes: give from 1 MiB to 1 TiB, a multiple of 4 KiB", (unsigned long long)c->memory_bytes), false;
	if (!c->preset.mhz)
		return snprintf(error, error_size, "preset.mhz: 0: give the clock of the simulated processor"), false;
	return true;
}

static void vmm_describe(struct machine *m, uint64_t pool)
{
	const struct machine_config *c = &m->config;
	m->vmm = (struct vmm){ .technique = m->technique, .config = c->vmm, .cpu = &m->cpu, .mmu = &m->mmu, .events = &m->events, .phys = &m->phys, .devices = machine_vmm_devices(m),
		.guest_base = pool, .guest_bytes = c->memory_bytes, .pool_base = 0, .pool_bytes = pool, .blocks = &m->dictionary, .replaying = c->replay };
	m->vmm.config.vpid &= c->preset.vpid; /* a processor without VPID flushes whatever the VMM wants */
}

static uint64_t clock_now(void *self)
{
	return machine_now(self);
}

static bool hardware_create(struct machine *m, char *error, size_t error_size)
{
	const struct machine_config *c = &m->config;
	uint64_t pool = vmm_pool_bytes(m->technique, &c->vmm, c->memory_bytes);
	vmm_describe(m, pool);
	m->cpu.unknown = unknown_opcodes_create();
	bool made = m->cpu.unknown && phys_create(&m->phys, pool + c->memory_bytes) && event_sink_create(&m->events, c->event_buffer < 2 ? 2 : c->event_buffer) &&
		block_dictionary_create(&m->dictionary);
	if (made)
		m->cpu.blocks = block_cache_create(c->block_cache_bytes, &m->dictionary);
	if (!made || !m->cpu.blocks)
		return snprintf(error, error_size, "out of memory: %llu MiB of guest memory and %llu MiB for the VMM", (unsigned long long)(c->memory_bytes >> 20), (unsigned long long)(pool >> 20)), false;
	m->cpu.events = &m->events;
	m->cpu.phys = &m->phys;
	m->cpu.features = &m->config.features;
	m->cpu.io = (struct io_port){ m, machine_io_in, machine_io_out };
	m->cpu.clock = (struct clock_port){ m, clock_now };
	m->mmu_made = mmu_create(&m->mmu, &m->cpu, &m->events, c->softtlb_entries);
	if (!m->mmu_made)
		return snprintf(error, error_size, "machine.softtlb_entries: %u: give a power of two from 1 to 16384", c->softtlb_entries), false;
	return true;
}

static bool machine_build(struct machine *m, char *error, size_t error_size)
{
	if (!registries_find(m, error, error_size) || !hardware_create(m, error, error_size) || !timing_attach(m, error, error_size) || !sampling_create(m, error, error_size))
		return false;
	machine_devices_reset(m);
	m->console.hash = hash_start();
	m->vmm_made = vmm_create(&m->vmm); /* gives the mmu its memory part: before the reset, which tells it of the registers */
	if (!m->vmm_made)
		return snprintf(error, error_size, "%s", m->vmm.error), false;
	cpu_reset(&m->cpu);
	m->progress_next = PROGRESS_EVERY;
	return true;
}

struct machine *machine_create(const struct machine_config *c, char *error, size_t error_size)
{
	struct machine *m = calloc(1, sizeof *m);
	if (!m) {
		snprintf(error, error_size, "out of memory");
		return NULL;
	}
	m->config = *c;
	if (machine_build(m, error, error_size))
		return m;
	machine_destroy(m);
	return NULL;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	if (m->vmm_made)
		vmm_destroy(&m->vmm);
	if (m->mmu_made)
		mmu_destroy(&m->mmu);
	if (m->cpu.blocks)
		block_cache_destroy(m->cpu.blocks);
	block_dictionary_destroy(&m->dictionary);
	event_sink_destroy(&m->events);
	timing_destroy(m->timing);
	sampling_destroy(m);
	if (m->cpu.unknown)
		unknown_opcodes_destroy(m->cpu.unknown);
	phys_destroy(&m->phys);
	console_destroy(&m->console);
	free(m);
}

/* ---- time and the end ---- */

uint64_t machine_now(struct machine *m)
{
	event_drain(&m->events);
	uint64_t now = m->sampling ? sampling_now(m) : m->keeps_time ? timing_now(m->timing) : m->cpu.icount + m->idle;
	if (now > m->time)
		m->time = now; /* a block that is cut short gives cycles back: time stands still until they are used */
	return m->time;
}

void machine_end(struct machine *m, enum run_end end, int code)
{
	if (!m->ended) {
		m->ended = true;
		m->end = end;
		m->exit_code = code;
	}
	m->cpu.stop = CPU_STOP_REQUEST;
	m->cpu.attention |= 1;
}

static bool machine_ended(struct machine *m)
{
	if (m->vmm.failed)
		machine_end(m, END_VMM_FAILED, 0);
	else if (m->cpu.stop == CPU_SHUTDOWN)
		machine_end(m, END_TRIPLE_FAULT, 0);
	else if (m->cpu.icount >= m->config.max_instructions || (m->idle + m->fruitless) / IDLE_PER_INSTRUCTION >= m->config.max_instructions)
		machine_end(m, END_BUDGET, 0);
	if (!m->ended && m->cpu.icount >= m->progress_next) {
		m->progress_next = m->cpu.icount + PROGRESS_EVERY;
		if (m->progress && !m->progress(m->progress_self, m->cpu.icount))
			machine_end(m, END_BUDGET, 0);
	}
	return m->ended;
}

/* ---- interrupts and batches ---- */

/* Says once that the INTR line went up, and hands the interrupt over when the guest takes one. Returns true while one waits. */
static bool machine_interrupts(struct machine *m)
{
	struct pics *p = &m->devices.pics;
	if (!pics_intr(p))
		return m->intr_seen = false;
	if (!m->intr_seen) {
		m->intr_seen = true;
		event_put(&m->events, EV_IRQ_RAISED, 0, 0, pics_irq(p), 0);
		vmm_irq_raised(&m->vmm, pics_irq(p));
	}
	if (!vmm_interruptible(&m->vmm))
		return true;
	m->intr_seen = false; /* INTR drops in the acknowledge cycle; a further request raises it again */
	vmm_interrupt(&m->vmm, pics_acknowledge(p));
	return pics_intr(p);
}

/*
 * How many instructions may pass before the engine must come back: as many as cannot reach the next timer deadline, so that its interrupt is taken at the first block boundary at or
 * after it whatever the size of the event buffer (design, decision 3). With an interrupt waiting, one block at a time until the guest takes it. A masked timer interrupts nobody: its
 * rises reach the PIC when somebody looks. What may take longer than timing_worst_block() says of an instruction, an exit or a REP, ends the batch behind it (cpu->bounded).
 */
static int64_t machine_batch(struct machine *m, bool waiting)
{
	uint64_t left = m->config.max_instructions - m->cpu.icount, fruit = m->config.max_instructions - (m->idle + m->fruitless) / IDLE_PER_INSTRUCTION;
	uint64_t deadline = machine_devices_deadline(m), now = m->time, batch = left < m->config.batch ? left : m->config.batch;
	bool timed = deadline != UINT64_MAX && pics_listens(&m->devices.pics, 0);
	batch = fruit < batch ? fruit : batch; /* each unit of it may be fruitless: the run must end at the same boundary whatever config.batch is */
	if (m->sampling && sampling_left(m) < batch)
		batch = sampling_left(m);
	m->cpu.bounded = timed && m->keeps_time;
	if (waiting)
		return 1;
	if (timed) {
		uint64_t room = deadline > now ? deadline - now : 0;
		uint64_t safe = m->sampling ? sampling_reach(m, room) : m->keeps_time ? room / timing_worst_block(m->timing) : room;
		batch = safe < batch ? safe : batch;
	}
	return batch ? (int64_t)batch : 1;
}

/* The hostile test: nothing that the simulator remembers may be needed. */
static void machine_forget(struct machine *m)
{
	mmu_flush_all(&m->mmu, &m->cpu);
	block_cache_invalidate_all(&m->cpu);
}

/* Halted: time jumps to the next timer. Nothing but an interrupt ends a HLT, so a timer that raises none ends the run. */
static void machine_idle(struct machine *m)
{
	uint64_t deadline = machine_devices_deadline(m), duration = deadline - m->time;
	if (deadline == UINT64_MAX || pics_intr(&m->devices.pics)) { /* the guest halted with interrupts off */
		machine_end(m, END_HALTED_FOREVER, 0);
		return;
	}
	if (deadline > m->time) {
		event_put(&m->events, EV_IDLE, 0, 0, 0, duration); /* the timing model adds it to its time */
		m->idle += duration;
	}
	machine_devices_advance(m, machine_now(m));
	if (!pics_intr(&m->devices.pics))
		machine_end(m, END_HALTED_FOREVER, 0);
}

/* Runs what cpu.budget allows. A guest whose handler faults at once retires nothing: what it spent is kept, so that it ends, too. */
static void machine_batch_run(struct machine *m)
{
	uint64_t retired = m->cpu.icount;
	int64_t budget = m->cpu.budget;
	if (m->config.forgetful)
		machine_forget(m);
	m->engine->run(&m->cpu);
	uint64_t spent = (uint64_t)(budget - m->cpu.budget);
	m->spent += spent;
	retired = m->cpu.icount - retired;
	m->fruitless += m->cpu.budget < budget && spent > retired ? spent - retired : 0;
}

bool machine_turn(struct machine *m, uint64_t most)
{
	if (machine_ended(m))
		return false;
	if (m->sampling)
		sampling_step(m);
	machine_devices_advance(m, machine_now(m)); /* timers that are due reach the PIC */
	bool waiting = machine_interrupts(m);       /* the PIC reaches the guest, or its VMM */
	if (m->cpu.stop == CPU_HALTED) {
		machine_idle(m);
	} else if (m->cpu.stop == CPU_RUNNING) {
		int64_t batch = machine_batch(m, waiting);
		m->cpu.attention = 0;
		m->cpu.budget = (uint64_t)batch < most ? batch : (int64_t)most;
		machine_batch_run(m);               /* instructions become events; a full buffer drains into the timing model */
	}
	return true;
}

enum run_end machine_run(struct machine *m)
{
	while (machine_turn(m, INT64_MAX))
		;
	event_drain(&m->events);
	if (m->sampling)
		sampling_finish(m);
	return m->end;
}

void machine_set_progress(struct machine *m, machine_progress *fn, void *self)
{
	m->progress = fn;
	m->progress_self = self;
}

void machine_set_replayed(struct machine *m, enum run_end end, int exit_code, uint64_t state_hash, uint64_t instructions)
{
	m->replayed = m->ended = true;
	m->end = end;
	m->exit_code = exit_code;
	m->replayed_hash = state_hash;
	m->replayed_instructions = instructions;
}

struct cpu *machine_cpu(struct machine *m) { return &m->cpu; }
struct mmu *machine_mmu(struct machine *m) { return &m->mmu; }
struct vmm *machine_vmm(struct machine *m) { return &m->vmm; }
struct event_sink *machine_events(struct machine *m) { return &m->events; }
struct block_dictionary *machine_blocks(struct machine *m) { return &m->dictionary; }
const struct machine_config *machine_configuration(const struct machine *m) { return &m->config; }
