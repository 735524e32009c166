/* The result of a run, taken from the machine. */
#include "machine_private.h"

static const char *const mode_names[] = { [RUN_EXECUTION] = "execution", [RUN_REPLAY] = "replay" };
static const char *const end_names[] = { [END_EXIT] = "exit", [END_BUDGET] = "budget", [END_TRIPLE_FAULT] = "triple-fault", [END_HALTED_FOREVER] = "halted-forever",
	[END_VMM_FAILED] = "vmm-failed", [END_TRACE] = "trace-end" };

const char *run_mode_name(enum run_mode m) { return (unsigned)m < 2 ? mode_names[m] : "?"; }
const char *run_end_name(enum run_end e) { return (unsigned)e < sizeof end_names / sizeof *end_names ? end_names[e] : "?"; }

double result_efficiency(const struct run_result *r)
{
	return r->instructions ? 1.0 - (double)r->emulated / (double)r->instructions : 1.0;
}

static void stat_add(struct run_result *r, const char *name, uint64_t value)
{
	if (r->stats == RESULT_METRICS)
		return;
	struct result_metric *s = &r->stat[r->stats++];
	snprintf(s->name, sizeof s->name, "%s", name);
	s->value = value;
}

static void time_fill(struct machine *m, struct run_result *r)
{
	for (unsigned c = 0; c < CAUSES; c++)
		r->by_cause[c] = timing_cause(m->timing, c);
	r->cycles = m->keeps_time ? timing_now(m->timing) : 0;
	for (unsigned w = 0; w < VMM_WORKS; w++) {
		uint64_t cycles = timing_work_cycles(m->timing, w);
		if (!cycles)
			continue;
		snprintf(r->work[r->works].name, sizeof r->work->name, "%s", vmm_work_name(w));
		r->work[r->works++].value = cycles;
	}
	const char *name;
	uint64_t value;
	for (unsigned i = 0; timing_stat(m->timing, i, &name, &value); i++)
		stat_add(r, name, value);
	for (unsigned id = 0; id < TIMING_REGIONS; id++) {
		const struct region_account *a = timing_region(m->timing, id);
		if (a->count)
			r->region[r->regions++] = (struct result_region){ id, a->count, a->cycles, a->instructions };
	}
}

static void exits_fill(struct machine *m, struct run_result *r)
{
	for (unsigned x = 0; x < EXIT_REASONS; x++) {
		struct exit_account sampled = m->sampling ? sampling_exit(m, x) : (struct exit_account){ 0 };
		const struct exit_account *a = m->sampling ? &sampled : m->timing ? timing_exits(m->timing, x) : NULL;
		struct result_exit e = { .count = a ? a->count : m->vmm.stats.exits[x], .transition_cycles = a ? a->transition_cycles : 0, .handler_cycles = a ? a->handler_cycles : 0 };
		if (!e.count)
			continue;
		snprintf(e.name, sizeof e.name, "%s", exit_reason_name(x));
		r->exit[r->exits++] = e;
	}
}

static void vmm_stats_fill(const struct vmm_stats *s, struct run_result *r)
{
	const struct { const char *name; uint64_t value; } list[] = {
		{ "bt.translated-blocks", s->translated_blocks }, { "bt.translated-instructions", s->translated_instructions }, { "bt.cache-bytes", s->tc_bytes }, { "bt.callouts", s->callouts },
		{ "bt.hash-lookups", s->hash_lookups }, { "bt.adapted", s->adapted }, { "pv.hypercalls", s->hypercalls }, { "pv.mmu-updates", s->mmu_updates }, { "pv.bounces", s->bounces },
	};
	for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
		if (list[i].value)
			stat_add(r, list[i].name, list[i].value);
	r->table_bytes_peak = s->table_bytes_peak;
}

static void unknown_fill(const struct machine *m, struct run_result *r)
{
	const char *name;
	uint64_t count;
	for (unsigned i = 0; r->unknown < sizeof r->unknown_opcode / sizeof *r->unknown_opcode && unknown_opcodes_get(m->cpu.unknown, i, &name, &count); i++) {
		snprintf(r->unknown_opcode[r->unknown].name, sizeof r->unknown_opcode->name, "%s", name);
		r->unknown_opcode[r->unknown++].value = count;
	}
}

static void guest_memory_fill(const struct machine *m, struct run_result *r)
{
	uint64_t tables = 0, touched = 0;
	for (uint64_t hpa = m->vmm.guest_base; hpa < m->vmm.guest_base + m->vmm.guest_bytes; hpa += 4096) {
		const struct frame *f = frames_at(&m->mmu.frames, hpa);
		tables += f && f->flags & FRAME_TABLE;
		touched += f && f->flags & FRAME_TOUCHED;
	}
	r->guest_table_bytes = tables << 12;
	r->guest_touched_bytes = m->replayed ? 0 : touched << 12;
}

void machine_result(struct machine *m, struct run_result *r)
{
	const struct machine_config *c = &m->config;
	event_drain(&m->events);
	*r = (struct run_result){ .mode = m->replayed ? RUN_REPLAY : RUN_EXECUTION, .end = m->end, .exit_code = m->exit_code, .seed = c->seed };
	snprintf(r->technique, sizeof r->technique, "%s", c->technique);
	snprintf(r->engine, sizeof r->engine, "%s", m->replayed ? "replay" : c->engine);
	snprintf(r->core, sizeof r->core, "%s", c->core);
	snprintf(r->preset, sizeof r->preset, "%s", c->preset_name);
	snprintf(r->workload, sizeof r->workload, "%s", c->workload);
	r->width = m->width == 64 || cpu_long_mode(&m->cpu) ? 64 : 32;
	r->instructions = m->replayed ? m->replayed_instructions : m->cpu.icount;
	r->state_hash = m->replayed ? m->replayed_hash : machine_state_hash(m);
	r->machine_hash = m->replayed ? 0 : machine_memory_hash(m);
	if (m->sampling)
		sampling_fill(m, r);
	else if (m->timing)
		time_fill(m, r);
	exits_fill(m, r);
	vmm_stats_fill(&m->vmm.stats, r);
	unknown_fill(m, r);
	guest_memory_fill(m, r);
	r->emulated = m->cpu.emulated;
	r->resource_violations = m->mmu.resource_violations;
}
