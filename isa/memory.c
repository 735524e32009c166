#include "memory.h"
#include "uop_settle.h"

/* One part of an access: within a page. */
struct part {
	struct mem_fill fill;
	uint64_t gva;
	unsigned size;
	bool told;
};

static uint64_t linear_mask(const struct cpu *cpu)
{
	return cpu_long_mode(cpu) ? ~0ull : 0xffffffffull;
}

/* Translates one part: the fast table first, then the port. Fast write entries are never of tracked pages. */
static bool part_translate(struct cpu *cpu, struct part *p, enum access access, bool supervisor, struct mem_fault *fault)
{
	struct fast_entry *e = memory_entry(cpu, p->gva);
	uint64_t tag = ((p->gva & ~0xfffull) | (supervisor ? cpu->mem.supervisor_tag : cpu->mem.tag));
	if (tag == (access == ACCESS_WRITE ? e->write : e->read)) {
		p->fill = (struct mem_fill){ .real = memory_real(e, p->gva) };
		return true;
	}
	p->fill = (struct mem_fill){ 0 };
	bool ok = cpu->mem.fill(cpu->mem.self, cpu, p->gva, access, supervisor, p->size, &p->fill);
	block_stamp_now(cpu);
	if (!ok)
		*fault = p->fill.fault;
	return ok;
}

/* The event of a translated part, once. EV_NONE: none. A page table's store is an event of its own (mem.store writes it), so of a read-modify-write the load is told, and that it asks for a write.
 * Not so a code page's: what is known to be code is the block cache's business. */
static void part_tell(struct cpu *cpu, struct part *p, enum event_kind kind, bool supervisor)
{
	if (p->told || kind == EV_NONE || (kind == EV_STORE && p->fill.tracked && p->fill.real))
		return;
	p->told = true;
	if (kind == EV_RMW && p->fill.table && p->fill.real) {
		event_put(cpu->events, EV_PROBE, memory_flags(cpu, supervisor), p->size, 0, p->gva);
		kind = EV_LOAD;
	}
	event_put_touch(cpu->events, kind, memory_flags(cpu, supervisor), p->size, p->gva);
}

/* Splits at the page's end; returns the number of parts, all translated, or 0 with *fault. What the first part took is told before the second is looked at, which may fault. */
static unsigned access_translate(struct cpu *cpu, struct part part[2], uint64_t linear, unsigned size, enum access access, enum event_kind kind, bool supervisor, struct mem_fault *fault)
{
	uint64_t mask = linear_mask(cpu);
	linear &= mask;
	unsigned room = 4096 - (unsigned)(linear & 4095), n = size > room ? 2 : 1;
	part[0] = (struct part){ .gva = linear, .size = n == 2 ? room : size };
	part[1] = (struct part){ .gva = (linear + room) & mask, .size = size - room };
	if (!part_translate(cpu, &part[0], access, supervisor, fault))
		return 0;
	if (n == 2) {
		part_tell(cpu, &part[0], kind, supervisor);
		if (!part_translate(cpu, &part[1], access, supervisor, fault))
			return 0;
	}
	/* The second walk may have ended or changed the first translation (tracked pages, shadow tables): a write looks again, unless no memory is there. */
	if (n == 2 && access == ACCESS_WRITE && part[0].fill.real && !part_translate(cpu, &part[0], access, supervisor, fault))
		return 0;
	return n;
}

static void part_read(const struct part *p, uint8_t *to)
{
	if (p->fill.real)
		memcpy(to, p->fill.real, p->size);
	else
		memset(to, 0xff, p->size);
}

/* memcpy() of the sizes that there are, as single instructions. */
static inline void copy_sized(void *to, const void *from, unsigned size)
{
	switch (size) {
	case 1: memcpy(to, from, 1); break;
	case 2: memcpy(to, from, 2); break;
	case 4: memcpy(to, from, 4); break;
	case 8: memcpy(to, from, 8); break;
	case 16: memcpy(to, from, 16); break;
	default: memcpy(to, from, size); break;
	}
}

static bool access_read(struct cpu *cpu, uint64_t linear, void *to, unsigned size, bool supervisor, struct mem_fault *fault)
{
	struct part part[2];
	unsigned n = access_translate(cpu, part, linear, size, ACCESS_READ, EV_LOAD, supervisor, fault);
	for (unsigned i = 0; i < n; i++) {
		part_tell(cpu, &part[i], EV_LOAD, supervisor);
		part_read(&part[i], (uint8_t *)to + (i ? part[0].size : 0));
	}
	return n != 0;
}

/* The write of an access that has been translated. `quiet`: the event was written with the load. */
static void access_store(struct cpu *cpu, struct part *part, unsigned n, const uint8_t *from, bool supervisor, bool quiet)
{
	for (unsigned i = 0; i < n; from += part[i].size, i++) {
		struct part *p = &part[i];
		if (p->fill.tracked && p->fill.real) {
			p->fill.quiet = quiet;
			cpu->mem.store(cpu->mem.self, cpu, p->gva, &p->fill, from, p->size, supervisor);
			continue;
		}
		part_tell(cpu, p, quiet ? EV_NONE : EV_STORE, supervisor);
		if (p->fill.real)
			memcpy(p->fill.real, from, p->size);
	}
	block_stamp_now(cpu);
}

static bool access_write(struct cpu *cpu, uint64_t linear, const void *from, unsigned size, bool supervisor, bool quiet, struct mem_fault *fault)
{
	struct part part[2];
	unsigned n = access_translate(cpu, part, linear, size, ACCESS_WRITE, quiet ? EV_NONE : EV_STORE, supervisor, fault);
	access_store(cpu, part, n, from, supervisor, quiet);
	return n != 0;
}

uint8_t *memory_observe(struct cpu *cpu, enum event_kind kind, uint64_t ea, unsigned size)
{
	uint8_t *real = memory_quick(cpu, ea, size, kind != EV_LOAD, false);
	if (real && cpu->events->on)
		event_put_access(cpu->events, (uint64_t)kind | (uint64_t)memory_flags(cpu, false) << 8 | (uint64_t)size << 16, ea, (uint64_t)(uintptr_t)real - ea);
	return real;
}

/* ---- for helpers ---- */
bool mem_try_read(struct cpu *cpu, uint64_t linear, void *to, unsigned size, bool supervisor, struct mem_fault *fault)
{
	return access_read(cpu, linear, to, size, supervisor, fault);
}

bool mem_try_write(struct cpu *cpu, uint64_t linear, const void *from, unsigned size, bool supervisor, struct mem_fault *fault)
{
	return access_write(cpu, linear, from, size, supervisor, false, fault);
}

void mem_read(struct cpu *cpu, uint64_t linear, void *to, unsigned size, bool supervisor)
{
	struct mem_fault fault;
	uint8_t *real = memory_quick(cpu, linear, size, false, supervisor);
	if (real) {
		event_put_data(cpu->events, EV_LOAD, memory_flags(cpu, supervisor), size, linear, real);
		copy_sized(to, real, size);
		return;
	}
	if (!access_read(cpu, linear, to, size, supervisor, &fault))
		cpu_raise_fault(cpu, &fault);
}

void mem_write(struct cpu *cpu, uint64_t linear, const void *from, unsigned size, bool supervisor)
{
	struct mem_fault fault;
	uint8_t *real = memory_quick(cpu, linear, size, true, supervisor);
	if (real) {
		event_put_data(cpu->events, EV_STORE, memory_flags(cpu, supervisor), size, linear, real);
		copy_sized(real, from, size);
		return;
	}
	if (!access_write(cpu, linear, from, size, supervisor, false, &fault))
		cpu_raise_fault(cpu, &fault);
}

uint64_t mem_read_u(struct cpu *cpu, uint64_t linear, unsigned size, bool supervisor)
{
	return memory_get(cpu, linear, size, supervisor);
}

uint64_t memory_get_slow(struct cpu *cpu, uint64_t linear, unsigned size, bool supervisor)
{
	uint64_t v = 0;
	mem_read(cpu, linear, &v, size, supervisor);
	return v;
}

void mem_write_u(struct cpu *cpu, uint64_t linear, uint64_t value, unsigned size, bool supervisor)
{
	mem_write(cpu, linear, &value, size, supervisor);
}

void mem_probe_write(struct cpu *cpu, uint64_t linear, unsigned size, bool supervisor)
{
	struct mem_fault fault;
	uint64_t mask = linear_mask(cpu);
	if (memory_quick(cpu, linear, size, true, supervisor)) {
		event_put(cpu->events, EV_PROBE, memory_flags(cpu, supervisor), size, 0, linear);
		return;
	}
	for (unsigned done = 0; done < size;) {
		struct part p = { .gva = (linear + done) & mask };
		p.size = 4096 - (unsigned)(p.gva & 4095);
		if (p.size > size - done)
			p.size = size - done;
		if (!part_translate(cpu, &p, ACCESS_WRITE, supervisor, &fault))
			cpu_raise_fault(cpu, &fault);
		event_put(cpu->events, EV_PROBE, memory_flags(cpu, supervisor), p.size, 0, p.gva);
		done += p.size;
	}
}

/* ---- for micro-ops ---- */
static bool canonical(const struct cpu *cpu, uint64_t linear)
{
	unsigned drop = cpu->cr4 & CR4_LA57 ? 7 : 16;
	return (uint64_t)((int64_t)(linear << drop) >> drop) == linear;
}

/* What a flat segment refuses: in 64-bit code an address that is not canonical at either end (SDM 3A 3.3.7.1), in 32-bit code one that reaches over 4 GiB, past
 * the limit. Segments that are not flat have been checked by their own micro-op. */
static void check_flat(struct cpu *cpu, const struct uop *u, uint64_t linear, unsigned size)
{
	bool bad;
	if (cpu->code_size == 8)
		bad = !canonical(cpu, linear) || !canonical(cpu, linear + size - 1);
	else
		bad = (linear & 0xffffffff) + size - 1 > 0xffffffff && cpu->seg[u->seg].base == 0;
	if (bad)
		cpu_raise_error(cpu, u->seg == SEG_SS ? VEC_SS : VEC_GP, 0);
}

uint64_t memory_load_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, unsigned size)
{
	uint64_t v = 0;
	uop_settle(cpu, u);
	check_flat(cpu, u, linear, size);
	mem_read(cpu, linear, &v, size, false);
	uop_resume(cpu, u);
	return v;
}

uint64_t memory_rmw_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, unsigned size)
{
	uint64_t v = 0;
	struct part part[2];
	struct mem_fault fault;
	uop_settle(cpu, u);
	check_flat(cpu, u, linear, size);
	unsigned n = access_translate(cpu, part, linear, size, ACCESS_WRITE, EV_RMW, false, &fault);
	if (!n)
		cpu_raise_fault(cpu, &fault);
	for (unsigned i = 0; i < n; i++) {
		part_tell(cpu, &part[i], EV_RMW, false);
		part_read(&part[i], (uint8_t *)&v + (i ? part[0].size : 0));
	}
	uop_resume(cpu, u);
	return v;
}

static void store_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, const void *from, unsigned size, bool quiet)
{
	struct mem_fault fault;
	uop_settle(cpu, u);
	check_flat(cpu, u, linear, size);
	if (!access_write(cpu, linear, from, size, false, quiet, &fault))
		cpu_raise_fault(cpu, &fault);
	uop_resume(cpu, u);
}

void memory_store_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, uint64_t value, unsigned size)
{
	store_slow(cpu, u, linear, &value, size, false);
}

void memory_store_quiet_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, uint64_t value, unsigned size)
{
	store_slow(cpu, u, linear, &value, size, true);
}

static void check_alignment(struct cpu *cpu, const struct uop *u, uint64_t linear, bool aligned)
{
	if (aligned && linear & 15)
		uop_raise_error(cpu, u, VEC_GP, 0);
}

void memory_loadx_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, union xmm *to, unsigned size, bool aligned)
{
	check_alignment(cpu, u, linear, aligned);
	union xmm v = { .q = { 0, 0 } };
	uop_settle(cpu, u);
	check_flat(cpu, u, linear, size);
	mem_read(cpu, linear, &v, size, false);
	uop_resume(cpu, u);
	*to = v;
}

void memory_storex_slow(struct cpu *cpu, const struct uop *u, uint64_t linear, const union xmm *from, unsigned size, bool aligned)
{
	check_alignment(cpu, u, linear, aligned);
	store_slow(cpu, u, linear, from, size, false);
}

uint8_t *memory_window(struct cpu *cpu, uint64_t linear, unsigned size, bool write, unsigned *left)
{
	struct mem_fault fault;
	struct part p = { .gva = linear & linear_mask(cpu), .size = size };
	*left = 4096 - (unsigned)(p.gva & 4095);
	if (*left < size)
		return NULL;
	if (!part_translate(cpu, &p, write ? ACCESS_WRITE : ACCESS_READ, false, &fault))
		cpu_raise_fault(cpu, &fault);
	return write && p.fill.tracked ? NULL : p.fill.real;
}
