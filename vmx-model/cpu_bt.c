/*
 * Binary translation (Adams and Agesen, ASPLOS 2006): guest kernel code runs from a translation cache, user code runs as it is; no VT-x. The guest kernel is
 * deprivileged, so exceptions, system calls and interrupts enter the VMM first and are reflected.
 *
 * Invariant: what an instruction means stays with the engine; this part says what the translated form of it costs: fragments fetched in place of the guest's code,
 * in-place sequences and their memory references, callouts, traps, lookups. It decides by block number, pc, CPL and order of events only, so that replay decides the same.
 *
 * Granularity: a block of the engine stands for one or more translation units of bt_unit_instructions. Adaptation is by block, not by instruction: a replayed trace knows no
 * finer place of a store.
 */
#include "bt_cache.h"
#include <stdlib.h>

struct bt {
	struct bt_cache cache;
	uint32_t last; /* fragment that ran last, or BT_NONE when control came through the VMM */
	bool light;    /* this page-table write is carried out by callout */
};

enum form { FORM_IDENT, FORM_INPLACE, FORM_CALLOUT };

/* The translated form of a sensitive instruction. Bytes, instructions and references are those of the sequences the paper describes (sections 3.2, 3.3, 6). */
struct row { uint8_t form, reason, instructions /* beyond the one replaced */, bytes, loads, stores, work; };
#define INPLACE(name, instructions, bytes, loads, stores) [SENS_##name] = { FORM_INPLACE, 0, instructions, bytes, loads, stores, 0 }
#define CALLOUT(name, reason, work) [SENS_##name] = { FORM_CALLOUT, EXIT_##reason, 2, 12, 2, 1, WORK_##work }
static const struct row rows[SENS_COUNT] = {
	INPLACE(CLI, 1, 8, 0, 1), INPLACE(STI, 4, 22, 1, 1) /* and look for a pending interrupt */, INPLACE(PUSHF, 6, 26, 1, 0), INPLACE(POPF, 10, 40, 1, 1),
	INPLACE(CR_READ, 1, 8, 1, 0), INPLACE(CR8_WRITE, 5, 24, 1, 1), INPLACE(CLTS, 3, 16, 1, 1), INPLACE(SMSW, 2, 10, 1, 0),
	INPLACE(SEGMENT_LOAD, 9, 36, 2, 1), INPLACE(SEGMENT_READ, 2, 10, 1, 0), INPLACE(SGDT, 3, 14, 1, 0), INPLACE(SIDT, 3, 14, 1, 0), INPLACE(SLDT, 2, 10, 1, 0),
	INPLACE(STR, 2, 10, 1, 0), INPLACE(RDTSC, 8, 30, 1, 0), INPLACE(SWAPGS, 4, 20, 2, 2),
	CALLOUT(CR0_WRITE, CR_ACCESS, EMULATE), CALLOUT(CR3_WRITE, CR_ACCESS, EMULATE), CALLOUT(CR4_WRITE, CR_ACCESS, EMULATE), CALLOUT(LMSW, CR_ACCESS, EMULATE),
	CALLOUT(DR_ACCESS, DR_ACCESS, EMULATE), CALLOUT(INVLPG, INVLPG, EMULATE), CALLOUT(INVPCID, INVLPG, EMULATE), CALLOUT(INVD, CACHE_CONTROL, EMULATE),
	CALLOUT(MSR_READ, MSR, EMULATE), CALLOUT(MSR_WRITE, MSR, EMULATE), CALLOUT(CPUID, CPUID, EMULATE), CALLOUT(RDPMC, RDTSC, EMULATE),
	CALLOUT(IO_IN, IO, DEVICE_MODEL), CALLOUT(IO_OUT, IO, DEVICE_MODEL), CALLOUT(HLT, HLT, EMULATE),
	CALLOUT(IRET, RETURN_TO_USER, EMULATE), CALLOUT(SYSRET, RETURN_TO_USER, EMULATE), CALLOUT(SYSEXIT, RETURN_TO_USER, EMULATE),
	CALLOUT(LGDT, DESCRIPTOR, EMULATE), CALLOUT(LIDT, DESCRIPTOR, EMULATE), CALLOUT(LLDT, DESCRIPTOR, EMULATE), CALLOUT(LTR, DESCRIPTOR, EMULATE),
	CALLOUT(DESCRIPTOR_QUERY, DESCRIPTOR, EMULATE), CALLOUT(FAR_TRANSFER, DESCRIPTOR, EMULATE), CALLOUT(VMCALL, CALLOUT, EMULATE),
	CALLOUT(SYSCALL, SYSTEM_CALL, FAULT_REFLECT), CALLOUT(SYSENTER, SYSTEM_CALL, FAULT_REFLECT),
};
#undef INPLACE
#undef CALLOUT

/* How a block's end is translated: direct control flow is chained, indirect is looked up. */
static const struct { uint8_t bytes, instructions; bool lookup; } ends[] = {
	[BLOCK_END_FALL] = { 5, 0, false }, [BLOCK_END_JUMP] = { 5, 0, false }, [BLOCK_END_BRANCH] = { 11, 0, false },
	[BLOCK_END_CALL] = { 10, 1, false } /* push the guest's return address, jump */, [BLOCK_END_INDIRECT] = { 44, 0, true },
	[BLOCK_END_INDIRECT_CALL] = { 49, 1, true }, [BLOCK_END_RET] = { 44, 0, true }, [BLOCK_END_SYSTEM] = { 5, 0, false },
};

/* ---------------------------------------------------------------- into the VMM and back */
struct crossing { uint8_t out, in; };
static const struct crossing crossings[EXIT_REASONS] = { /* what is not named goes by callout */
	[EXIT_PAGE_FAULT_HIDDEN] = { TRANSITION_TRAP, TRANSITION_TRAP }, [EXIT_PAGE_FAULT_REFLECTED] = { TRANSITION_TRAP, TRANSITION_TRAP },
	[EXIT_PAGE_TABLE_WRITE] = { TRANSITION_TRAP, TRANSITION_TRAP }, [EXIT_DIRTY_TRACKING] = { TRANSITION_TRAP, TRANSITION_TRAP },
	[EXIT_EXTERNAL_INTERRUPT] = { TRANSITION_TRAP, TRANSITION_TRAP }, [EXIT_EXCEPTION] = { TRANSITION_TRAP, TRANSITION_TRAP },
	[EXIT_SYSTEM_CALL] = { TRANSITION_TRAP, TRANSITION_TRAP },
	[EXIT_RETURN_TO_USER] = { TRANSITION_CALLOUT, TRANSITION_TRAP }, /* out of the cache by a call, down to the guest by IRET */
};

static struct crossing crossing_of(enum exit_reason r)
{
	struct crossing c = crossings[r];
	return c.out == TRANSITION_VMX ? (struct crossing){ TRANSITION_CALLOUT, TRANSITION_CALLOUT } : c;
}

static void leave_guest(struct vmm *v, enum exit_reason r, enum vmm_transition t)
{
	vmm_exit_event(v, r, t);
	if (t == TRANSITION_CALLOUT) {
		v->stats.callouts++;
		vmm_work(v, WORK_CALLOUT, v->config.bt_callout_instructions);
		return;
	}
	vmm_work(v, WORK_DISPATCH, v->config.dispatch_instructions);
	for (unsigned i = 0; i < 8; i += 2) /* the frame is on the VMM's stack; the rest of the registers follow */
		event_put(v->events, EV_VMM_STORE, 0, 16, 0, v->vcpu_page + 8 * i);
}

static struct bt_fragment *running(struct bt *b)
{
	return b->last == BT_NONE ? NULL : &b->cache.fragment[b->last];
}

/* "Innocent until proven guilty": a fragment whose stores keep trapping is translated again with a callout in their place. */
static void adapt(struct vmm *v, struct bt_fragment *f)
{
	struct bt *b = v->cpu_self;
	const struct block_static *s = &v->blocks->entry[f->id];
	if (++f->traps < v->config.bt_adapt_threshold)
		return;
	f->adapted = true;
	v->stats.adapted++;
	vmm_work(v, WORK_ADAPT, v->config.bt_translate_instructions * s->insns);
	f->extra += 3; /* spill, call, restore */
	bt_cache_move(&b->cache, b->last, f->bytes + 16);
}

static void bt_exit(struct vmm *v, enum exit_reason r)
{
	struct bt *b = v->cpu_self;
	struct bt_fragment *f = v->cpu->cpl < 3 ? running(b) : NULL;
	b->light = r == EXIT_PAGE_TABLE_WRITE && f && f->adapted;
	leave_guest(v, r, b->light ? TRANSITION_CALLOUT : (enum vmm_transition)crossing_of(r).out);
	if (b->light)
		vmm_work(v, WORK_CALLOUT, v->config.bt_simulate_instructions);
	else if (r == EXIT_PAGE_TABLE_WRITE && f)
		adapt(v, f);
}

static void bt_entry(struct vmm *v, enum exit_reason r)
{
	const struct bt *b = v->cpu_self;
	vmm_entry_event(v, r, r == EXIT_PAGE_TABLE_WRITE && b->light ? TRANSITION_CALLOUT : (enum vmm_transition)crossing_of(r).in);
}

/* ---------------------------------------------------------------- translating */
static void fragment_size(const struct vmm *v, const struct block_static *s, uint32_t *bytes, uint32_t *extra)
{
	unsigned kinds = (unsigned)__builtin_popcountll(s->sensitive), most = 0;
	*bytes = s->bytes + ends[s->end].bytes;
	*extra = ends[s->end].instructions + (ends[s->end].lookup ? v->config.bt_hash_instructions : 0);
	for (unsigned i = 0; i < SENS_COUNT; i++) {
		if (!(s->sensitive >> i & 1))
			continue;
		*bytes += rows[i].bytes;
		*extra += rows[i].instructions;
		most = rows[i].instructions > most ? rows[i].instructions : most;
	}
	if (s->sensitive_count > kinds) /* the same kind several times: its longest row for each more */
		*extra += (s->sensitive_count - kinds) * most;
	*extra = *extra > UINT16_MAX ? UINT16_MAX : *extra;
}

/* The translator reads the guest's code where the guest's tables say it is. */
static void code_read(struct vmm *v, uint64_t pc, unsigned bytes)
{
	struct walk w;
	for (uint64_t at = pc; at < pc + bytes; at = (at | 15) + 1)
		if (vmm_walk_quiet(v, at, (struct walk_request){ .access = ACCESS_EXEC, .ac_override = true }, &w) && phys_ptr(v->phys, w.hpa, 1))
			event_put(v->events, EV_VMM_LOAD, 0, 16, 0, w.hpa & ~15ull);
}

static uint32_t translate(struct vmm *v, uint32_t id, uint64_t pc)
{
	struct bt *b = v->cpu_self;
	const struct block_static *s = &v->blocks->entry[id];
	uint32_t bytes, extra, unit = v->config.bt_unit_instructions ? v->config.bt_unit_instructions : 1, units = (s->insns + unit - 1) / unit;
	fragment_size(v, s, &bytes, &extra);
	vmm_exit_event(v, EXIT_TRANSLATE, TRANSITION_CALLOUT);
	event_put(v->events, EV_TRANSLATE, 0, units, s->insns, 0);
	vmm_work(v, WORK_TRANSLATOR, v->config.bt_translate_instructions * s->insns);
	code_read(v, pc, s->bytes);
	uint32_t f = bt_cache_enter(&b->cache, pc, id, bytes, (uint16_t)extra, s->code, s->bytes);
	vmm_entry_event(v, EXIT_TRANSLATE, TRANSITION_CALLOUT);
	v->stats.translated_blocks += units;
	v->stats.translated_instructions += s->insns;
	if (f == BT_NONE)
		vmm_fail(v, "out of memory for the translation cache's index");
	return f;
}

/* An indirect branch, or the VMM itself, finds the fragment through the hash table; a slot that another pc took is filled again by a callout. */
static void enter_by_lookup(struct vmm *v, const struct bt_fragment *f)
{
	struct bt *b = v->cpu_self;
	uint64_t slot = bt_cache_slot(&b->cache, f->pc);
	v->stats.hash_lookups++;
	event_put(v->events, EV_TC_JUMP, 0, 0, 0, slot);
	if (phys_read64(v->phys, slot) == f->pc && phys_read64(v->phys, slot + 8) == f->hpa)
		return;
	leave_guest(v, EXIT_CALLOUT, TRANSITION_CALLOUT);
	vmm_store_data(v, slot, f->pc, 8);
	vmm_store_data(v, slot + 8, f->hpa, 8);
	vmm_entry_event(v, EXIT_CALLOUT, TRANSITION_CALLOUT);
}

/* A direct jump goes through the VMM once, which patches it to lead to its target from then on. */
static void enter_by_chain(struct vmm *v, struct bt_fragment *from, uint32_t to)
{
	if (from->successor[0] == to || from->successor[1] == to)
		return;
	leave_guest(v, EXIT_CALLOUT, TRANSITION_CALLOUT);
	vmm_store_data(v, from->hpa + (from->bytes & ~7u), 0xe9, 8);
	vmm_entry_event(v, EXIT_CALLOUT, TRANSITION_CALLOUT);
	from->successor[1] = from->successor[0];
	from->successor[0] = to;
}

static void bt_block_enter(void *self, struct cpu *cpu, uint32_t id, uint64_t pc, bool indirect)
{
	struct vmm *v = self;
	struct bt *b = v->cpu_self;
	(void)cpu;
	if (id >= v->blocks->count || v->failed)
		return;
	uint32_t f = bt_cache_find(&b->cache, pc, id);
	if (f == BT_NONE) {
		uint64_t flushes = b->cache.flushes;
		f = translate(v, id, pc);
		if (f == BT_NONE)
			return;
		if (flushes != b->cache.flushes)
			b->last = BT_NONE;
	}
	if (indirect || b->last == BT_NONE)
		enter_by_lookup(v, &b->cache.fragment[f]);
	else
		enter_by_chain(v, running(b), f);
	const struct bt_fragment *g = &b->cache.fragment[f];
	event_put(v->events, EV_TC_FETCH, 0, g->extra, g->bytes, g->hpa);
	b->last = f;
}

/* ---------------------------------------------------------------- executing */
static void references(struct vmm *v, const struct row *r, unsigned what)
{
	uint64_t at = v->vcpu_page + 512 + 8ull * what; /* the virtual register that it is about */
	for (unsigned i = 0; i < r->loads; i++)
		vmm_load(v, at + 512ull * i, 8);
	for (unsigned i = 0; i < r->stores; i++)
		vmm_store_data(v, at + 512ull * i, 0, 8);
}

static void callout(struct vmm *v, enum sensitive what, uint64_t addr)
{
	const struct row *r = &rows[what];
	bool call = what == SENS_SYSCALL || what == SENS_SYSENTER, fast = call || what == SENS_SYSRET || what == SENS_SYSEXIT;
	enum vmm_transition out = call ? TRANSITION_SYSCALL : (enum vmm_transition)crossing_of(r->reason).out;
	enum vmm_transition in = fast && !call ? TRANSITION_SYSCALL : (enum vmm_transition)crossing_of(r->reason).in;
	leave_guest(v, r->reason, out);
	if (r->work == WORK_DEVICE_MODEL)
		vmm_device_work(v, what == SENS_IO_OUT, (uint16_t)addr);
	else
		vmm_work(v, r->work, r->work == WORK_FAULT_REFLECT ? v->config.bt_reflect_instructions : r->reason == EXIT_RETURN_TO_USER ? v->config.bt_return_instructions
			: v->config.emulate_instructions);
	references(v, r, what);
	if (v->technique->mem->prepare)
		v->technique->mem->prepare(v, what, addr);
	vmm_entry_event(v, r->reason, in);
}

static bool bt_sensitive(void *self, struct cpu *cpu, enum sensitive what, uint64_t addr, uint64_t value)
{
	struct vmm *v = self;
	struct bt *b = v->cpu_self;
	const struct row *r = &rows[what];
	(void)value;
	bool from_user = what == SENS_SYSCALL || what == SENS_SYSENTER;
	bool io = what == SENS_IO_IN || what == SENS_IO_OUT;
	if (cpu->cpl == 3 && !from_user && !io) /* user code runs as it is (its CPUID faults nowhere on such processors: it shows the real one) */
		return false;
	if (r->form == FORM_INPLACE) {
		event_put(v->events, EV_HANDLER, 0, 0, WORK_INPLACE, 0);
		references(v, r, what);
		return false;
	}
	cpu->emulated++;
	if (what == SENS_HLT)
		vmm_irq_halt(v);
	else
		callout(v, what, addr);
	if (from_user)
		b->last = BT_NONE;
	return false;
}

/* Exceptions and software interrupts arrive at the VMM, which delivers them to the virtual CPU. Of page faults the memory part has paid the trap and the walk. */
static bool bt_deliver(void *self, struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2)
{
	struct vmm *v = self;
	struct bt *b = v->cpu_self;
	(void)error, (void)cr2;
	b->last = BT_NONE;
	if (external) {
		vmm_irq_deliver(v);
		return false;
	}
	if (vector == VEC_PF && !soft) {
		vmm_work(v, WORK_FAULT_REFLECT, v->config.bt_reflect_instructions);
		return false;
	}
	enum exit_reason r = soft && cpu->cpl == 3 ? EXIT_SYSTEM_CALL : EXIT_EXCEPTION;
	cpu->emulated += soft;
	leave_guest(v, r, soft && cpu->cpl < 3 ? TRANSITION_CALLOUT : TRANSITION_TRAP);
	vmm_work(v, WORK_FAULT_REFLECT, v->config.bt_reflect_instructions);
	for (unsigned i = 0; i < 4; i++) /* the virtual IDT entry, TSS, descriptor: cached by the VMM */
		vmm_load(v, v->vcpu_page + 2048 + ((vector & 63) * 4 + i) * 8, 8);
	vmm_entry_event(v, r, TRANSITION_TRAP);
	return false;
}

static void bt_cpl_changed(void *self, struct cpu *cpu, unsigned from)
{
	struct vmm *v = self;
	struct bt *b = v->cpu_self;
	(void)cpu, (void)from;
	b->last = BT_NONE;
}

static void bt_irq_raised(struct vmm *v, unsigned irq)
{
	(void)irq;
	vmm_irq_exit(v);
}

static void bt_blocks_keep(void *self, uint8_t *kept)
{
	const struct vmm *v = self;
	const struct bt *b = v->cpu_self;
	bt_cache_keep(&b->cache, kept);
}

static bool bt_create(struct vmm *v)
{
	struct bt *b = calloc(1, sizeof *b);
	uint64_t traps = 0;
	if (!b)
		return false;
	v->cpu_self = b;
	b->last = BT_NONE;
	for (unsigned s = 0; s < SENS_COUNT; s++)
		if (rows[s].form != FORM_IDENT)
			traps |= SENS_BIT(s);
	v->cpu->vmm = (struct vmm_port){ .trap_set = traps, .self = v, .sensitive = bt_sensitive, .deliver = bt_deliver, .block_enter = bt_block_enter,
		.blocks_keep = bt_blocks_keep, .cpl_changed = bt_cpl_changed };
	return bt_cache_create(&b->cache, v);
}

static void bt_destroy(struct vmm *v)
{
	struct bt *b = v->cpu_self;
	bt_cache_destroy(&b->cache);
	free(b);
}

const struct cpu_part cpu_part_binary_translation = { "binary-translation", bt_create, bt_destroy, bt_exit, bt_entry, bt_irq_raised };
