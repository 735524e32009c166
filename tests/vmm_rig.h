/*
 * A guest without an engine: two machines, one bare and one under a VMM, that make the same accesses through the same memory port.
 *
 * Invariant: whatever the VMM does, both answer each access alike, and their guests' memories stay equal, accessed and dirty flags included.
 */
#ifndef TESTS_VMM_RIG_H
#define TESTS_VMM_RIG_H
#include "../vmx-model/vmm.h"
#include <stdlib.h>

struct rig {
	struct phys phys;
	struct event_sink events;
	struct event_consumer consumer;
	uint64_t seen[EV_KIND_COUNT];
	struct event last[EV_KIND_COUNT];
	struct cpu cpu;
	struct cpu_features features;
	struct mmu mmu;
	struct vmm vmm;
	struct block_dictionary blocks;
};

static inline void rig_consume(void *self, const struct event *first, const struct event *end)
{
	struct rig *r = self;
	for (; first < end; first++) {
		unsigned kind = first->kind < EV_KIND_COUNT ? first->kind : 0;
		r->seen[kind]++;
		r->last[kind] = *first;
	}
}

/* pool: bytes of the VMM's pool; 0: as the technique wants. */
static inline bool rig_create(struct rig *r, enum technique_id id, uint64_t guest_bytes, uint64_t pool, const struct vmm_config *config)
{
	memset(r, 0, sizeof *r);
	struct vmm_config c;
	vmm_config_default(&c);
	if (config)
		c = *config;
	const struct technique *t = &techniques[id];
	uint64_t pool_bytes = pool ? pool : vmm_pool_bytes(t, &c, guest_bytes);
	r->features = cpu_features_all;
	if (!phys_create(&r->phys, pool_bytes + guest_bytes) || !event_sink_create(&r->events, 2))
		return false;
	r->consumer = (struct event_consumer){ rig_consume, r, NULL, NULL };
	event_sink_attach(&r->events, &r->consumer);
	r->cpu.phys = &r->phys;
	r->cpu.events = &r->events;
	r->cpu.features = &r->features;
	block_dictionary_create(&r->blocks);
	if (!mmu_create(&r->mmu, &r->cpu, &r->events, 16))
		return false;
	r->vmm = (struct vmm){ .technique = t, .config = c, .cpu = &r->cpu, .mmu = &r->mmu, .events = &r->events, .phys = &r->phys, .guest_base = pool_bytes, .guest_bytes = guest_bytes,
		.pool_base = 0, .pool_bytes = pool_bytes, .blocks = &r->blocks };
	return vmm_create(&r->vmm);
}

static inline void rig_destroy(struct rig *r)
{
	vmm_destroy(&r->vmm);
	mmu_destroy(&r->mmu);
	event_sink_destroy(&r->events);
	block_dictionary_destroy(&r->blocks);
	phys_destroy(&r->phys);
}

static inline uint8_t *rig_guest(struct rig *r) { return r->phys.bytes + r->vmm.guest_base; }

/* Sets the paging registers at once, as a loader does. */
static inline void rig_registers(struct rig *r, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
	r->cpu.cr0 = cr0;
	r->cpu.cr3 = cr3;
	r->cpu.cr4 = cr4;
	r->cpu.efer = efer;
	r->cpu.mem.context_changed(r->cpu.mem.self, &r->cpu, CONTEXT_RESET, 0, false);
}

/* MOV CR3 as an engine does it. */
static inline void rig_cr3(struct rig *r, uint64_t cr3)
{
	uint64_t old = r->cpu.cr3;
	event_put(&r->events, EV_SENSITIVE, 0, 0, SENS_CR3_WRITE, cr3);
	if ((r->cpu.vmm.trap_set & SENS_BIT(SENS_CR3_WRITE)) && r->cpu.vmm.sensitive)
		r->cpu.vmm.sensitive(r->cpu.vmm.self, &r->cpu, SENS_CR3_WRITE, cr3, 0);
	r->cpu.cr3 = cr3;
	r->cpu.mem.context_changed(r->cpu.mem.self, &r->cpu, CONTEXT_CR3, old, false);
}

struct rig_answer { bool good; struct mem_fault fault; bool memory; uint64_t gpa, value; };

/* One access of up to 8 bytes within a page. */
static inline struct rig_answer rig_access(struct rig *r, uint64_t gva, enum access access, bool supervisor, unsigned size, uint64_t value)
{
	struct rig_answer a = { 0 };
	struct mem_fill f;
	a.good = r->cpu.mem.fill(r->cpu.mem.self, &r->cpu, gva, access, supervisor, size, &f);
	if (!a.good) {
		a.fault = f.fault;
		return a;
	}
	a.memory = f.real != NULL;
	if (f.real) {
		a.gpa = (uint64_t)(f.real - rig_guest(r));
		if (access == ACCESS_WRITE && f.tracked)
			r->cpu.mem.store(r->cpu.mem.self, &r->cpu, gva, &f, &value, size, supervisor);
		else if (access == ACCESS_WRITE)
			memcpy(f.real, &value, size);
		else
			memcpy(&a.value, f.real, size);
	}
	event_put(&r->events, access == ACCESS_WRITE ? EV_STORE : EV_LOAD, 0, size, 0, gva);
	return a;
}

static inline uint64_t rig_random(uint64_t *state) /* xorshift64* */
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}
#endif
