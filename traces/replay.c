/*
 * Replay: the engine that reads its instructions' events from a trace.
 *
 * Invariant: the machine sees the same calls, in the same order, that the live engine makes: an access asks the softtlb and on a miss the memory part, a sensitive event asks the VMM's
 * hook, a block entered below CPL 3 asks block_enter. What virtualization adds is therefore made anew by the technique under study, and is never read from the file.
 *
 * One row of `handlers` an event kind. A handler returns how many events it took, 0 to stop with p->error.
 */
#include "format.h"

#define NO_BLOCK UINT32_MAX
#define AHEAD 24 /* events that what a softtlb entry's line takes to come is long */
/* Passing or reading: measured on GUPS, a tour of programs, and storms of INVLPG and system calls. */
#define STOPS_LOOK 64   /* events that did not pass unseen, between two looks at how many did */
#define PASS_MOST 512   /* references that pass in one go */
#define PASSED_WORTH 3u /* as many must pass for one that does not, or else */
#define BATCHES_READ 8u /* so many batches are read first */
#define PROGRESS_EVERY (1u << 20) /* instructions between two looks at the progress function */

struct replay {
	struct trace_reader *reader;
	struct machine *machine;
	struct cpu *cpu;
	struct mmu *mmu;
	struct vmm *vmm;
	struct event_sink *events;
	const struct event *end;       /* of the batch */
	const uint8_t *page;           /* contents of the batch's next EV_TABLE_PAGE */
	uint64_t retired;              /* instructions of all blocks so far, the running one included */
	uint32_t *number;              /* by the trace's block id: the number in this machine's dictionary */
	uint32_t numbers;
	uint32_t gone;                 /* ids that the trace has taken away since the dictionary was trimmed */
	uint32_t last_block;           /* the trace's id of the last block, if nothing came between; else NO_BLOCK */
	bool indirect;                 /* last_block is NO_BLOCK, and the block before ended in an indirect transfer */
	bool failed;
	uint64_t stops, passed;        /* of late: events that did not pass unseen, and all */
	unsigned batches;              /* to be read before references pass again */
	bool passing;                  /* references go by between the batches, which are short then */
	char error[400];
};

typedef unsigned replay_fn(struct replay *p, const struct event *e);

static unsigned replay_fail(struct replay *p, const char *what, const struct event *e)
{
	p->failed = true;
	snprintf(p->error, sizeof p->error, "replay diverges after %llu instructions: %s (%s at %#llx): the trace does not belong to this guest, or is damaged",
		(unsigned long long)p->retired, what, trace_kind_name(e->kind), (unsigned long long)e->addr);
	return 0;
}

static void replay_pass(struct replay *p, const struct event *e)
{
	event_put(p->events, e->kind, e->flags, e->aux, e->id, e->addr);
}

/* ------------------------------------------------------------------ accesses */
/* One access. False: the guest faults here. */
static bool replay_access(struct replay *p, uint64_t gva, enum access access, bool supervisor, unsigned size)
{
	struct mem_fill fill;
	return mmu_replay_access(p->mmu, p->cpu, gva, access, supervisor, size, &fill);
}

/* The last block ended in an indirect transfer. */
static bool replay_indirect(const struct replay *p)
{
	if (p->last_block == NO_BLOCK)
		return p->indirect;
	const struct block_static *b = trace_reader_block(p->reader, p->last_block);
	return b && (b->end == BLOCK_END_INDIRECT || b->end == BLOCK_END_INDIRECT_CALL || b->end == BLOCK_END_RET);
}

/* The guest's path is broken: an exception, an interrupt, a block cut short. */
static void replay_break(struct replay *p)
{
	p->last_block = NO_BLOCK;
	p->indirect = false;
}

static unsigned replay_block(struct replay *p, const struct event *e)
{
	const struct block_static *b = trace_reader_block(p->reader, e->id);
	struct cpu *cpu = p->cpu;
	cpu->rip = e->addr - cpu->seg[SEG_CS].base;
	cpu->icount = p->retired;
	if (!replay_access(p, e->addr, ACCESS_EXEC, false, e->flags & EVF_STRADDLE ? b->bytes : 1))
		return replay_fail(p, "a fetch faults that did not when it was recorded", e);
	if (cpu->vmm.block_enter && cpu->cpl < 3)
		cpu->vmm.block_enter(cpu->vmm.self, cpu, p->number[e->id], e->addr, replay_indirect(p));
	event_put(p->events, EV_BLOCK, e->flags, e->aux, p->number[e->id], e->addr);
	p->retired += e->aux;
	p->last_block = e->id;
	return 1;
}

static unsigned replay_cut(struct replay *p, const struct event *e)
{
	if (e->id > p->retired)
		return replay_fail(p, "more instructions are cut than ran", e);
	p->retired -= e->id;
	p->cpu->icount = p->retired;
	replay_break(p);
	replay_pass(p, e);
	return 1;
}

static unsigned replay_memory(struct replay *p, const struct event *e)
{
	enum access access = e->flags & EVF_FETCH ? ACCESS_EXEC : e->kind == EV_LOAD ? ACCESS_READ : ACCESS_WRITE;
	bool supervisor = e->flags & EVF_SUPERVISOR;
	unsigned size = e->aux ? e->aux : 1;
	if (size > 4096)
		return replay_fail(p, "an access is larger than a page", e);
	if (e->flags & EVF_FAULT) { /* walked again, and told again, by the memory part */
		if (access == ACCESS_EXEC && size > 1)
			(void)replay_access(p, e->addr - (size - 1), access, false, 1);
		(void)replay_access(p, e->addr, access, supervisor, size);
		return 1;
	}
	if (!replay_access(p, e->addr, access, supervisor, size))
		return replay_fail(p, "an access faults that did not when it was recorded", e);
	replay_pass(p, e);
	if (e->kind == EV_RMW)
		(void)replay_access(p, e->addr, access, supervisor, size); /* the store looks again: isa/memory.c */
	return 1;
}

static unsigned replay_table_store(struct replay *p, const struct event *e)
{
	if (e->aux == 0 || e->aux > 8 || (e->addr & 4095) + e->aux > 4096)
		return replay_fail(p, "a page-table store has an impossible size", e);
	mmu_replay_table_store(p->mmu, p->cpu, e->addr, e[1].addr, e->aux, e->flags & EVF_SUPERVISOR);
	return 2;
}

static unsigned replay_table_page(struct replay *p, const struct event *e)
{
	if (e->addr >= machine_configuration(p->machine)->memory_bytes)
		return replay_fail(p, "a page table lies outside the guest's memory", e);
	mmu_replay_table_page(p->mmu, p->cpu, e->addr & ~4095ull, p->page);
	p->page += TRACE_PAGE;
	return 1;
}

static unsigned replay_table_forget(struct replay *p, const struct event *e)
{
	mmu_replay_table_forget(p->mmu, p->cpu, e->addr);
	return 1;
}

static unsigned replay_nothing(struct replay *p, const struct event *e)
{
	(void)p;
	(void)e;
	return 1;
}

/* ------------------------------------------------------------------ sensitive instructions: the part of their effect that later events depend on */
typedef void effect_fn(struct cpu *cpu, uint64_t addr, uint64_t value);

static void effect_cr0(struct cpu *cpu, uint64_t addr, uint64_t value) { (void)value; cr0_write(cpu, addr); }
static void effect_cr3(struct cpu *cpu, uint64_t addr, uint64_t value) { (void)value; cr3_write(cpu, addr); }
static void effect_cr4(struct cpu *cpu, uint64_t addr, uint64_t value) { (void)value; cr4_write(cpu, addr); }
static void effect_cr8(struct cpu *cpu, uint64_t addr, uint64_t value) { (void)value; cpu->cr8 = addr & 15; }
static void effect_clts(struct cpu *cpu, uint64_t addr, uint64_t value) { (void)addr; (void)value; cr0_write(cpu, cpu->cr0 & ~(uint64_t)CR0_TS); }
static void effect_invlpg(struct cpu *cpu, uint64_t addr, uint64_t value) { (void)value; cpu->mem.invlpg(cpu->mem.self, cpu, addr); }
static void effect_invpcid(struct cpu *cpu, uint64_t addr, uint64_t value) { cpu->mem.invpcid(cpu->mem.self, cpu, value & 0xff, value >> 8 & 0xfff, addr); }
static void effect_msr(struct cpu *cpu, uint64_t addr, uint64_t value) { (void)msr_write(cpu, (uint32_t)addr, value); }
static void effect_lgdt(struct cpu *cpu, uint64_t addr, uint64_t value) { cpu->gdtr = (struct descriptor_table){ addr, (uint16_t)value }; }
static void effect_lidt(struct cpu *cpu, uint64_t addr, uint64_t value) { cpu->idtr = (struct descriptor_table){ addr, (uint16_t)value }; }

static effect_fn *const effects[SENS_COUNT] = {
	[SENS_CR0_WRITE] = effect_cr0, [SENS_CR3_WRITE] = effect_cr3, [SENS_CR4_WRITE] = effect_cr4, [SENS_CR8_WRITE] = effect_cr8, [SENS_CLTS] = effect_clts,
	[SENS_LMSW] = effect_cr0, [SENS_INVLPG] = effect_invlpg, [SENS_INVPCID] = effect_invpcid, [SENS_MSR_WRITE] = effect_msr, [SENS_LGDT] = effect_lgdt, [SENS_LIDT] = effect_lidt,
};

struct sensitive_call { enum sensitive what; uint64_t addr, value; bool refused; /* CPL forbade it: the guest takes #GP next, unless the VMM emulates */ };

static void sensitive_run(struct cpu *cpu, const struct sensitive_call *c)
{
	if (c->refused) {
		if (cpu->vmm.privileged)
			(void)cpu->vmm.privileged(cpu->vmm.self, cpu, c->what, c->addr, c->value);
		return;
	}
	bool done = (cpu->vmm.trap_set & SENS_BIT(c->what)) && cpu->vmm.sensitive && cpu->vmm.sensitive(cpu->vmm.self, cpu, c->what, c->addr, c->value);
	if (!done && effects[c->what])
		effects[c->what](cpu, c->addr, c->value);
}

/* An effect may raise, as it did live (reserved bits): the trace's next event then is that exception, so nothing else is to be done about it. */
static void sensitive_guarded(struct cpu *cpu, const struct sensitive_call *c)
{
	jmp_buf here, *outer = cpu->escape;
	cpu->escape = &here;
	if (!setjmp(here))
		sensitive_run(cpu, c);
	cpu->escape = outer;
}

static void cr0_guarded(struct cpu *cpu, uint64_t value)
{
	const struct sensitive_call c = { SENS_CR0_WRITE, value, 0, false };
	jmp_buf here, *outer = cpu->escape;
	cpu->escape = &here;
	if (!setjmp(here))
		effects[c.what](cpu, c.addr, c.value);
	cpu->escape = outer;
}

/* Whether the guest took #GP for it: the attempt's event is followed by that exception, behind the cut of its block. */
static bool sensitive_refused(const struct replay *p, const struct event *next)
{
	while (next < p->end && next->kind == EV_CUT)
		next++;
	return p->cpu->cpl > 0 && next < p->end && next->kind == EV_EXCEPTION && (next->id & 0xff) == VEC_GP && (next->flags & (EVF_HAS_ERROR | EVF_SOFT)) == EVF_HAS_ERROR;
}

static unsigned replay_sensitive(struct replay *p, const struct event *e)
{
	unsigned taken = e->aux ? 2 : 1;
	struct sensitive_call c = { e->id, e->addr, e->aux ? e[1].addr : 0, sensitive_refused(p, e + taken) };

	if (e->aux)
		event_put2(p->events, EV_SENSITIVE, e->flags, e->aux, e->id, e->addr, e[1].addr);
	else
		replay_pass(p, e);
	sensitive_guarded(p->cpu, &c);
	return taken;
}

/* ------------------------------------------------------------------ control */
static void deliver_guarded(struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2)
{
	jmp_buf here, *outer = cpu->escape;
	cpu->escape = &here;
	if (!setjmp(here) && cpu->vmm.deliver)
		(void)cpu->vmm.deliver(cpu->vmm.self, cpu, vector, error, soft, external, cr2);
	cpu->escape = outer;
}

static unsigned replay_exception(struct replay *p, const struct event *e)
{
	unsigned vector = e->id & 0xff;
	replay_break(p);
	replay_pass(p, e);
	if (vector == VEC_PF && !(e->flags & EVF_SOFT))
		p->cpu->cr2 = e->addr;
	deliver_guarded(p->cpu, vector, e->flags & EVF_HAS_ERROR ? (int64_t)(e->id >> 8) : -1, e->flags & EVF_SOFT, false, vector == VEC_PF ? e->addr : 0);
	return 1;
}

static unsigned replay_interrupt(struct replay *p, const struct event *e)
{
	replay_break(p);
	replay_pass(p, e);
	deliver_guarded(p->cpu, e->id & 0xff, -1, false, true, 0);
	return 1;
}

static unsigned replay_irq_raised(struct replay *p, const struct event *e)
{
	replay_pass(p, e);
	vmm_irq_raised(p->vmm, e->id);
	return 1;
}

static unsigned replay_state(struct replay *p, const struct event *e)
{
	struct cpu *cpu = p->cpu;
	unsigned from = cpu->cpl;
	uint32_t keep = cpu->eflags & ~(FLAG_IF | FLAG_AC);
	cpu->cpl = e->id & 3;
	cpu->eflags = keep | (e->id & 8 ? FLAG_IF : 0) | (e->id & 16 ? FLAG_AC : 0);
	cpu->seg[SEG_CS].attributes = (cpu->seg[SEG_CS].attributes & ~(uint32_t)SEGA_L) | (e->id & 4 ? SEGA_L : 0);
	cpu_mode_update(cpu);
	if (cpu->vmm.cpl_changed && cpu->cpl != from)
		cpu->vmm.cpl_changed(cpu->vmm.self, cpu, from);
	if (cpu->state_emitted != e->id) /* a control register's write has said so already */
		replay_pass(p, e);
	cpu->state_emitted = e->id;
	return 1;
}

static unsigned replay_hypercall(struct replay *p, const struct event *e)
{
	unsigned taken = e->aux ? 2 : 1;
	uint64_t second = e->aux ? e[1].addr : 0;
	if (e->aux)
		event_put2(p->events, EV_HYPERCALL, e->flags, e->aux, e->id, e->addr, second);
	else
		replay_pass(p, e);
	vmm_replay_hypercall(p->vmm, e->id, e->addr, second);
	return taken;
}

static unsigned replay_other(struct replay *p, const struct event *e)
{
	replay_pass(p, e);
	return 1;
}

static replay_fn *const handlers[EV_GUEST_KINDS] = {
	[EV_NONE] = replay_nothing,
	[EV_BLOCK] = replay_block,
	[EV_CUT] = replay_cut,
	[EV_LOAD] = replay_memory,
	[EV_STORE] = replay_memory,
	[EV_RMW] = replay_memory,
	[EV_TABLE_STORE] = replay_table_store,
	[EV_VALUE] = replay_nothing, /* taken by the event before it */
	[EV_TABLE_PAGE] = replay_table_page,
	[EV_TABLE_FORGET] = replay_table_forget,
	[EV_REP] = replay_other,
	[EV_SENSITIVE] = replay_sensitive,
	[EV_EXCEPTION] = replay_exception,
	[EV_INTERRUPT] = replay_interrupt,
	[EV_IRQ_RAISED] = replay_irq_raised,
	[EV_STATE] = replay_state,
	[EV_IDLE] = replay_other, /* the recording's time units: exact for the technique that was recorded, an approximation for others, whose timer ticks fall elsewhere */
	[EV_DEVICE] = replay_other,
	[EV_HYPERCALL] = replay_hypercall,
	[EV_MARK] = replay_other,
	[EV_PROBE] = replay_memory,
};

/* ------------------------------------------------------------------ the whole */
static bool room_for_number(struct replay *p, uint32_t id)
{
	if (id < p->numbers)
		return true;
	uint32_t numbers = id * 2 + 64, *number = realloc(p->number, numbers * sizeof *number);
	if (!number)
		return false;
	memset(number + p->numbers, 0xff, (numbers - p->numbers) * sizeof *number);
	p->number = number;
	p->numbers = numbers;
	return true;
}

/* As a live run's block cache does: a guest that writes ever new code must not fill the dictionary. */
static void replay_trim(struct replay *p, struct block_dictionary *d)
{
	uint8_t *kept = calloc(d->count, 1);
	if (!kept)
		return;
	event_drain(p->events);
	for (uint32_t id = 0; id < p->numbers; id++)
		if (p->number[id] != NO_BLOCK)
			kept[p->number[id]] = 1;
	if (p->cpu->vmm.blocks_keep)
		p->cpu->vmm.blocks_keep(p->cpu->vmm.self, kept);
	block_dictionary_trim(d, kept);
	p->gone = 0;
	free(kept);
}

/* Enters a block of the trace, if the id stands for one. Its number here is its own: the trace gives an id again, while a VMM may still know what it stood for. */
static bool replay_number(struct replay *p, uint32_t id)
{
	const struct block_static *b = trace_reader_block(p->reader, id);
	if (!room_for_number(p, id))
		return false;
	p->gone += !b;
	p->number[id] = b ? block_dictionary_enter(machine_blocks(p->machine), b) : NO_BLOCK;
	return !b || p->number[id] != NO_BLOCK;
}

/* What the batch brings and takes away. */
static bool replay_blocks(struct replay *p)
{
	struct block_dictionary *d = machine_blocks(p->machine);
	size_t n;
	const uint32_t *fresh = trace_reader_fresh(p->reader, &n);
	for (size_t i = 0; i < n; i++)
		if (!replay_number(p, fresh[i])) {
			snprintf(p->error, sizeof p->error, "out of memory for the trace's blocks");
			return false;
		}
	if (block_dictionary_crowded(d) || p->gone > d->live / 4)
		replay_trim(p, d);
	return true;
}

/*
 * What the softtlb knows passes unchanged: no handler is called, and the event goes from batch to sink as it is. One row an event kind says what it looks up; kinds that need
 * their handler have rows that no access fits. `blocks`: no hook waits for them.
 */
struct pass_row { uint8_t tag_at /* in struct fast_entry */, handled /* flags that need the handler */; uint16_t sized /* mask of aux: bytes */, retires /* mask of aux: instructions */; uint32_t named /* mask of id: a block */; uint16_t room /* it must end below, counted from the start of its page */; };
#define PASS_ACCESS(tag) { offsetof(struct fast_entry, tag), EVF_FAULT | EVF_FETCH, 0xffff, 0, 0, 0x1001 }
#define PASS_BLOCK { offsetof(struct fast_entry, exec), EVF_FAULT | EVF_SUPERVISOR | EVF_STRADDLE, 0, 0xffff, UINT32_MAX, 0x1001 }
static const struct pass_row pass_rows[2][EV_GUEST_KINDS] = { /* room 0: the handler's */
	{ [EV_LOAD] = PASS_ACCESS(read), [EV_STORE] = PASS_ACCESS(write), [EV_RMW] = PASS_ACCESS(write) },
	{ [EV_LOAD] = PASS_ACCESS(read), [EV_STORE] = PASS_ACCESS(write), [EV_RMW] = PASS_ACCESS(write), [EV_BLOCK] = PASS_BLOCK },
};

/* Whether no hook waits for blocks. */
static bool replay_unhooked(const struct replay *p) { return !p->cpu->vmm.block_enter || p->cpu->cpl == 3; }

/* Whether the softtlb knows what the event looks up. */
static inline bool pass_fits(const struct memory_port *mem, const struct pass_row *row, const struct event *e)
{
	uint64_t have, tag = e->flags & EVF_SUPERVISOR ? mem->supervisor_tag : mem->tag;
	memcpy(&have, (const uint8_t *)&mem->table[e->addr >> 12 & mem->mask] + row->tag_at, sizeof have);
	return have == ((e->addr & ~0xfffull) | tag) && !(e->flags & row->handled) && (e->addr & 0xfff) + (e->aux & row->sized) < row->room;
}

/* A block has been entered, and counted. */
static void replay_entered(struct replay *p, const struct event *block)
{
	struct cpu *cpu = p->cpu;
	p->last_block = block->id;
	cpu->rip = block->addr - cpu->seg[SEG_CS].base;
	cpu->icount = p->retired - block->aux;
}

/* Passes events on, up to `end`, which the sink has room for. Returns the first that needs its handler. */
static const struct event *replay_pass_known(struct replay *p, const struct event *e, const struct event *end)
{
	const struct memory_port *mem = &p->cpu->mem;
	const struct pass_row *rows = pass_rows[replay_unhooked(p)];
	const struct event *block = NULL;
	struct event *to = p->events->next;
	unsigned step = p->events->on;
	uint64_t retired = p->retired;

	for (; e < end; e++, to += step) {
		const struct pass_row *row = &rows[e->kind];
		__builtin_prefetch(&mem->table[(end - e > AHEAD ? e[AHEAD] : *e).addr >> 12 & mem->mask]);
		if (!pass_fits(mem, row, e))
			break;
		uint32_t number = p->number[e->id & row->named];
		event_write(to, e->kind, e->flags, e->aux, row->named ? number : e->id, e->addr);
		retired += e->aux & row->retires;
		block = row->retires ? e : block;
	}
	p->events->next = to;
	p->retired = retired;
	if (block)
		replay_entered(p, block);
	return e;
}

/* What the softtlb knows is told to the filter, too. False: the event needs its handler. */
static bool replay_take(void *self, const struct event *e)
{
	struct replay *p = self;
	const struct pass_row *row = &pass_rows[replay_unhooked(p)][e->kind];
	uint64_t head;
	if (!pass_fits(&p->cpu->mem, row, e))
		return false;
	const struct event *next = p->events->next;
	memcpy(&head, e, sizeof head);
	if (e->kind == EV_BLOCK)
		event_put_block(p->events, e->flags, e->aux, machine_blocks(p->machine)->entry[p->number[e->id]].bytes, p->number[e->id], e->addr);
	else
		event_put_access(p->events, head, e->addr, 0);
	p->stops += p->events->next != next;
	return true;
}

/* What is known among the few events between those that pass. */
static const struct event *replay_taken(struct replay *p, const struct event *e)
{
	for (; e < p->end && replay_take(p, e); e++) {
		if (e->kind != EV_BLOCK)
			continue;
		p->retired += e->aux;
		replay_entered(p, e);
	}
	return e;
}

/* The same in steps that the sink has room for. */
static const struct event *replay_known(struct replay *p, const struct event *e)
{
	if (p->passing)
		return replay_taken(p, e);
	event_forget(p->events);
	while (e < p->end) {
		size_t room = (size_t)(p->events->limit - p->events->next) + 1, left = (size_t)(p->end - e);
		const struct event *end = e + (room < left ? room : left);
		e = replay_pass_known(p, e, end);
		if (p->events->next > p->events->limit)
			event_drain(p->events);
		if (e < end)
			break;
	}
	return e;
}

/* Before the next batch gives the last block's id to another one. */
static void replay_leave(struct replay *p)
{
	p->indirect = replay_indirect(p);
	p->last_block = NO_BLOCK;
}

/* Has an event handled. Returns how many it was with those that belong to it; 0: failed. */
static unsigned replay_handle(struct replay *p, const struct event *e)
{
	unsigned taken = handlers[e->kind](p, e);
	if (taken == 0 || !p->vmm->failed)
		return taken;
	p->failed = true;
	snprintf(p->error, sizeof p->error, "the VMM failed in replay after %llu instructions: %s", (unsigned long long)p->retired, p->vmm->error);
	return 0;
}

/* Whether so few of the references stop of late that it is quicker to have them pass than to read them from batches. */
static bool replay_worth_passing(struct replay *p)
{
	if (p->stops >= STOPS_LOOK) {
		p->batches = p->passed < p->stops * PASSED_WORTH ? BATCHES_READ : 0;
		p->stops = p->passed = 0;
	}
	return !p->batches;
}

/* Whether references may pass unseen that the filter of the sink knows: no hook waits for them, and it is worth it. */
static bool replay_passes(struct replay *p)
{
	return replay_worth_passing(p) && p->events->filter && p->events->on && replay_unhooked(p);
}

/* The references that come next, as far as none is special. */
static bool replay_pass_by(struct replay *p)
{
	struct codec_pass pass = { .filter = p->events->filter, .take = replay_take, .self = p };
	while ((p->passing = replay_passes(p))) {
		p->passed += trace_reader_pass(p->reader, &pass, PASS_MOST);
		p->stops++;
		p->retired += pass.instructions;
		if (pass.last)
			replay_entered(p, &pass.block);
		if (pass.end == PASS_ALL)
			continue;
		if (pass.end != PASS_EVENT)
			break;
		p->end = &pass.event + 1;
		if (!replay_handle(p, &pass.event))
			return false;
	}
	replay_leave(p);
	return true;
}

static bool replay_batch(struct replay *p, const struct event *e, size_t count)
{
	p->end = e + count;
	while ((e = replay_known(p, e)) < p->end) {
		unsigned taken = replay_handle(p, e);
		e += taken;
		if (taken == 0)
			return false;
	}
	replay_leave(p);
	return true;
}

static bool replay_fits(const struct trace_info *info, struct machine *m, char *error, size_t error_size)
{
	uint64_t bytes = machine_configuration(m)->memory_bytes;
	if (bytes == info->memory_bytes)
		return true;
	snprintf(error, error_size, "the trace was recorded with %llu MiB of guest memory, the machine has %llu: set machine.memory", (unsigned long long)(info->memory_bytes >> 20),
		(unsigned long long)(bytes >> 20));
	return false;
}

/* The machine as machine_load() leaves it, but for the guest's memory: the registers, by the writes that loading makes; a paravirtual guest's domain is built again. */
static bool replay_begin(struct replay *p)
{
	const struct trace_boot *b = &trace_reader_info(p->reader)->boot;
	const struct trace_cpu *start = trace_reader_cpu(p->reader);
	struct cpu *cpu = p->cpu;
	struct cpu recorded = *cpu;

	trace_reader_rewind(p->reader);
	p->vmm->replaying = p->mmu->replaying = true;
	if (b->width) {
		struct pv_boot boot = { b->width, b->entry, b->free_gpa, b->module_gpa, b->module_bytes, b->cmdline };
		if (vmm_paravirt_boot(p->vmm, &boot))
			return true;
		snprintf(p->error, sizeof p->error, "the domain cannot be built as it was: %s", p->vmm->error);
		return false;
	}
	(void)trace_cpu_load(start, &recorded);
	if (recorded.cr0 & CR0_PG) { /* no loader of ours starts so; a trace of another's may */
		(void)trace_cpu_load(start, cpu);
		cpu_mode_update(cpu);
		cpu->mem.context_changed(cpu->mem.self, cpu, CONTEXT_RESET, 0, false);
	} else {
		cr0_guarded(cpu, recorded.cr0);
		(void)trace_cpu_load(start, cpu);
		cpu_mode_update(cpu);
	}
	cpu_state_emit(cpu);
	return true;
}

static bool replay_all(struct replay *p, machine_progress *progress, void *self)
{
	const struct event *e;
	size_t count;
	uint64_t next = 0;
	if (!replay_begin(p))
		return false;
	for (;;) {
		if (!replay_pass_by(p))
			return false;
		if (!trace_reader_next(p->reader, &e, &count, &p->page, p->error, sizeof p->error))
			return false;
		if (!count)
			return true;
		if (!replay_blocks(p) || !replay_batch(p, e, count))
			return false;
		p->batches -= p->batches > 0;
		if (!progress || p->retired < next)
			continue;
		next = p->retired + PROGRESS_EVERY;
		if (!progress(self, p->retired)) {
			snprintf(p->error, sizeof p->error, "replay stopped");
			return false;
		}
	}
}

bool trace_replay(struct trace_reader *r, struct machine *m, machine_progress *progress, void *self, char *error, size_t error_size)
{
	struct replay p = { .reader = r, .machine = m, .cpu = machine_cpu(m), .mmu = machine_mmu(m), .vmm = machine_vmm(m), .events = machine_events(m), .last_block = NO_BLOCK };
	const struct trace_info *info = trace_reader_info(r);

	if (!replay_fits(info, m, error, error_size))
		return false;
	bool ok = room_for_number(&p, 0) && replay_all(&p, progress, self);
	free(p.number);
	if (!ok) {
		snprintf(error, error_size, "%s", p.error[0] ? p.error : "out of memory");
		return false;
	}
	p.cpu->icount = p.retired;
	event_drain(p.events);
	machine_set_replayed(m, info->complete ? info->end : END_TRACE, info->exit_code, info->state_hash, p.retired);
	return true;
}
