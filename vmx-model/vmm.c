/* What every VMM is made of: its technique's row, its pool of simulated memory, and the accesses and work that become events. */
#include "vmm.h"
#include <stdarg.h>
#include <stdio.h>

/* ---------------------------------------------------------------- names */
static const struct { const char *name, *text; } exit_reasons[EXIT_REASONS] = {
#define EXIT_REASON(name, text) { #name, text },
#include "exit_reasons.def"
#undef EXIT_REASON
};
static const char *const works[VMM_WORKS] = {
#define VMM_WORK(name, text) text,
#include "vmm_works.def"
#undef VMM_WORK
};

/* The ids in lower case with dashes, written once here so that a name is a constant string. */
static const char *const exit_names[EXIT_REASONS] = {
	[EXIT_PAGE_FAULT_HIDDEN] = "page-fault-hidden", [EXIT_PAGE_FAULT_REFLECTED] = "page-fault-reflected", [EXIT_PAGE_TABLE_WRITE] = "page-table-write",
	[EXIT_DIRTY_TRACKING] = "dirty-tracking", [EXIT_EPT_VIOLATION] = "ept-violation", [EXIT_CR_ACCESS] = "cr-access", [EXIT_DR_ACCESS] = "dr-access",
	[EXIT_INVLPG] = "invlpg", [EXIT_IO] = "io", [EXIT_MSR] = "msr", [EXIT_CPUID] = "cpuid", [EXIT_RDTSC] = "rdtsc", [EXIT_HLT] = "hlt",
	[EXIT_EXTERNAL_INTERRUPT] = "external-interrupt", [EXIT_INTERRUPT_WINDOW] = "interrupt-window", [EXIT_EXCEPTION] = "exception",
	[EXIT_SYSTEM_CALL] = "system-call", [EXIT_INTERRUPT_FLAG] = "interrupt-flag", [EXIT_DESCRIPTOR] = "descriptor", [EXIT_HYPERCALL] = "hypercall",
	[EXIT_RETURN_TO_USER] = "return-to-user", [EXIT_CALLOUT] = "callout", [EXIT_TRANSLATE] = "translate", [EXIT_CACHE_CONTROL] = "cache-control",
	[EXIT_TRIPLE_FAULT] = "triple-fault",
};

const char *exit_reason_name(enum exit_reason r) { return (unsigned)r < EXIT_REASONS ? exit_names[r] : "?"; }
const char *exit_reason_text(enum exit_reason r) { return (unsigned)r < EXIT_REASONS ? exit_reasons[r].text : "?"; }
const char *vmm_work_name(enum vmm_work w) { return (unsigned)w < VMM_WORKS ? works[w] : "?"; }

/* ---------------------------------------------------------------- techniques */
#define TECHNIQUE(id, name, cpu, mem, pv, summary) extern const struct cpu_part cpu_part_##cpu; extern const struct vmm_memory_part vmm_memory_##mem;
#include "techniques.def"
#undef TECHNIQUE

const struct technique techniques[TECHNIQUES] = {
#define TECHNIQUE(id, name, cpu, mem, pv, summary) { TECHNIQUE_##id, name, summary, &cpu_part_##cpu, &vmm_memory_##mem, pv },
#include "techniques.def"
#undef TECHNIQUE
};

const struct technique *technique_find(const char *name)
{
	for (unsigned i = 0; i < TECHNIQUES; i++)
		if (!strcmp(techniques[i].name, name))
			return &techniques[i];
	return NULL;
}

/* ---------------------------------------------------------------- events */
void vmm_fail(struct vmm *v, const char *format, ...)
{
	va_list args;
	if (v->failed)
		return; /* the first reason is the one to tell */
	va_start(args, format);
	vsnprintf(v->error, sizeof v->error, format, args);
	va_end(args);
	v->failed = true;
	if (v->cpu) {
		v->cpu->stop = CPU_STOP_REQUEST;
		v->cpu->attention |= 1;
	}
}

static void vmm_event(struct vmm *v, enum event_kind kind, unsigned aux, uint32_t id, uint64_t addr)
{
	if (!v->quiet)
		event_put(v->events, kind, 0, aux, id, addr);
}

uint64_t vmm_load(struct vmm *v, uint64_t hpa, unsigned bytes)
{
	uint64_t value = ~0ull;
	vmm_event(v, EV_VMM_LOAD, bytes, 0, hpa);
	const void *at = phys_ptr(v->phys, hpa, bytes);
	if (!at)
		return value;
	value = 0;
	memcpy(&value, at, bytes < 8 ? bytes : 8);
	return value;
}

void vmm_store_data(struct vmm *v, uint64_t hpa, uint64_t value, unsigned bytes)
{
	vmm_event(v, EV_VMM_STORE, bytes, 0, hpa);
	void *at = phys_ptr(v->phys, hpa, bytes);
	if (at)
		memcpy(at, &value, bytes < 8 ? bytes : 8);
}

void vmm_store(struct vmm *v, uint64_t hpa, uint64_t value, unsigned bytes)
{
	event_drain(v->events);
	mmu_doubt(v->mmu, hpa);
	vmm_store_data(v, hpa, value, bytes);
}

/* Nobody knows how long a handler takes. */
static void time_passes(struct vmm *v)
{
	if (v->cpu && v->cpu->bounded)
		v->cpu->attention |= ATTENTION_TIME;
}

void vmm_work(struct vmm *v, enum vmm_work kind, uint32_t instructions)
{
	time_passes(v);
	vmm_event(v, EV_HANDLER, 0, kind, 0);
	vmm_event(v, EV_VMM_WORK, 0, instructions, 0);
}

/* The serial line's data register: what is written there has to reach somebody outside the VMM. */
void vmm_device_work(struct vmm *v, bool write, uint16_t port)
{
	vmm_work(v, WORK_DEVICE_MODEL, v->config.device_instructions + (write && port == 0x3f8 ? v->config.backend_instructions : 0));
	vmm_load(v, v->vcpu_page + 512 + (port & 0x1f8), 8); /* the device's state */
}

void vmm_exit_event(struct vmm *v, enum exit_reason r, enum vmm_transition t)
{
	v->stats.exits[r]++;
	vmm_event(v, EV_EXIT, t, r, 0);
	time_passes(v);
}

void vmm_entry_event(struct vmm *v, enum exit_reason r, enum vmm_transition t)
{
	vmm_event(v, EV_ENTRY, t, r, 0);
}

/* ---------------------------------------------------------------- the pool */
static void stats_grow(struct vmm *v, int64_t bytes)
{
	v->stats.table_bytes += (uint64_t)bytes;
	if (v->stats.table_bytes > v->stats.table_bytes_peak)
		v->stats.table_bytes_peak = v->stats.table_bytes;
}

/* Pages on the free list keep the next one's address in their first word. */
uint64_t vmm_page_alloc(struct vmm *v)
{
	uint64_t page = v->pool_free;
	if (page) {
		v->pool_free = vmm_load(v, page, 8);
	} else if (v->pool_next + 4096 <= v->pool_base + v->pool_bytes) {
		page = v->pool_next;
		v->pool_next += 4096;
	} else {
		vmm_fail(v, "the VMM's memory pool of %llu KiB is full: it grows with the guest's memory, so set machine.memory higher", (unsigned long long)v->pool_bytes >> 10);
		return 0;
	}
	v->pool_pages_left--;
	for (unsigned line = 0; line < 4096; line += 64)
		vmm_event(v, EV_VMM_STORE, 64, 0, page + line);
	memset(phys_ptr(v->phys, page, 4096), 0, 4096);
	stats_grow(v, 4096);
	return page;
}

/* A consumer may still hold events that walk through the page: they go first. */
void vmm_page_free(struct vmm *v, uint64_t hpa)
{
	vmm_store(v, hpa, v->pool_free, 8);
	v->pool_free = hpa;
	v->pool_pages_left++;
	stats_grow(v, -4096);
}

uint64_t vmm_region_alloc(struct vmm *v, uint64_t bytes)
{
	uint64_t at = v->pool_next;
	bytes = (bytes + 4095) & ~4095ull;
	if (bytes > v->pool_base + v->pool_bytes - v->pool_next) {
		vmm_fail(v, "the VMM's memory pool of %llu KiB has no room for a table of %llu KiB: it grows with the guest's memory, so set machine.memory higher",
			(unsigned long long)v->pool_bytes >> 10, (unsigned long long)bytes >> 10);
		return 0;
	}
	v->pool_next += bytes;
	v->pool_pages_left -= bytes >> 12;
	memset(phys_ptr(v->phys, at, bytes), 0, bytes);
	stats_grow(v, (int64_t)bytes);
	return at;
}

/* p2m and reverse map take 16 bytes a frame; shadow pages at worst about one for each guest table page, and tables are rarely a tenth of memory; page 0 stays unused. */
uint64_t vmm_pool_bytes(const struct technique *t, const struct vmm_config *c, uint64_t guest_bytes)
{
	uint64_t huge = 2ull << 20, bytes;
	if (t->id == TECHNIQUE_NATIVE)
		return 0;
	bytes = guest_bytes / 4096 * 16 + guest_bytes / 8 + (4ull << 20) + (t->id == TECHNIQUE_BT ? c->bt_cache_bytes * 2 : 0);
	return (bytes + huge - 1) & ~(huge - 1);
}

/* ---------------------------------------------------------------- making one */
static bool p2m_create(struct vmm *v)
{
	uint64_t frames = v->guest_bytes >> 12;
	uint64_t table = vmm_region_alloc(v, frames * 8);
	if (!table)
		return false;
	for (uint64_t i = 0; i < frames; i++)
		phys_write64(v->phys, table + 8 * i, (v->guest_base + (i << 12)) | 1 | 2);
	v->p2m = (struct paging){ .format = PAGING_LINEAR, .root = table, .linear_entries = frames };
	return true;
}

static bool layout_check(struct vmm *v)
{
	if (!phys_ptr(v->phys, v->guest_base, v->guest_bytes) || !phys_ptr(v->phys, v->pool_base, v->pool_bytes))
		vmm_fail(v, "the guest's memory and the VMM's pool must lie in host memory of %llu KiB", (unsigned long long)v->phys->size >> 10);
	else if (v->pool_bytes && v->guest_base < v->pool_base + v->pool_bytes && v->pool_base < v->guest_base + v->guest_bytes)
		vmm_fail(v, "the VMM's pool overlaps the guest's memory");
	else if ((v->guest_base | v->guest_bytes | v->pool_base | v->pool_bytes) & 4095)
		vmm_fail(v, "guest memory and VMM pool must be whole pages");
	return !v->failed;
}

static bool pool_create(struct vmm *v)
{
	v->p2m = (struct paging){ .format = PAGING_IDENTITY };
	if (v->technique->id == TECHNIQUE_NATIVE)
		return true;
	v->pool_next = v->pool_base ? v->pool_base : 4096; /* address 0 means "none" in the VMM's tables */
	v->pool_pages_left = (v->pool_base + v->pool_bytes - v->pool_next) >> 12;
	if (v->pool_bytes < 4096 || v->pool_next >= v->pool_base + v->pool_bytes) {
		vmm_fail(v, "technique %s needs a memory pool", v->technique->name);
		return false;
	}
	v->vcpu_page = vmm_region_alloc(v, 4096);
	return v->vcpu_page && p2m_create(v);
}

bool vmm_create(struct vmm *v)
{
	v->failed = false;
	v->pool_free = 0;
	v->cpu_self = v->mem_self = NULL;
	memset(&v->irq, 0, sizeof v->irq);
	if (!layout_check(v))
		return false;
	frames_grant(&v->mmu->frames, v->guest_base, v->guest_bytes);
	v->quiet = true;
	v->cpu->vmm = (struct vmm_port){ .self = v };
	bool made = pool_create(v) && v->technique->mem->create(v) && v->technique->cpu->create(v);
	v->quiet = false;
	if (!made) {
		if (!v->failed)
			vmm_fail(v, "technique %s could not be set up: out of memory", v->technique->name);
		vmm_destroy(v);
		return false;
	}
	mmu_set_part(v->mmu, v->technique->mem->part, v->mem_self);
	return true;
}

void vmm_destroy(struct vmm *v)
{
	if (v->cpu_self)
		v->technique->cpu->destroy(v);
	if (v->mem_self)
		v->technique->mem->destroy(v);
	v->cpu_self = v->mem_self = NULL;
	if (v->cpu)
		v->cpu->vmm = (struct vmm_port){ .self = NULL };
}

void vmm_irq_raised(struct vmm *v, unsigned irq)
{
	if (v->technique->cpu->irq_raised)
		v->technique->cpu->irq_raised(v, irq);
}
