/*
 * Proves the layering: isa/, tlb/ and vmx-model/ link, without uarch/ and machine/, into a working functional simulator (design, decision 2). Nothing here knows a cycle.
 *
 * Runs functional_guest.S (flat binary, argument 1) under every technique that runs an unmodified guest, on every engine, and compares what the guest says with the value that the same
 * arithmetic gives in C.
 */
#include "../isa/engine.h"
#include "../vmx-model/vmm.h"
#include <stdio.h>
#include <stdlib.h>

#define GUEST_BYTES (16ull << 20)
#define LOAD_AT 0x100000ull

struct computer {
	struct cpu *cpu;
	struct mmu mmu;
	struct phys phys;
	struct event_sink events;
	struct block_dictionary dictionary;
	struct vmm vmm;
	uint32_t said;
	unsigned said_bytes;
};

static uint32_t port_in(void *self, struct cpu *cpu, uint16_t port, unsigned size)
{
	(void)self, (void)cpu, (void)port, (void)size;
	return ~0u;
}

static void port_out(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value)
{
	struct computer *c = self;
	(void)cpu, (void)size;
	if (port == 0xe9 && c->said_bytes < 4)
		c->said |= (value & 0xff) << (8 * c->said_bytes++);
}

static uint64_t clock_now(void *self)
{
	return ((struct computer *)self)->cpu->icount;
}

static bool computer_create(struct computer *c, const struct technique *t)
{
	struct vmm_config config;
	vmm_config_default(&config);
	uint64_t pool = vmm_pool_bytes(t, &config, GUEST_BYTES);

	c->cpu = aligned_alloc(64, (sizeof(*c->cpu) + 63) & ~63ull);
	if (!c->cpu)
		return false;
	memset(c->cpu, 0, sizeof(*c->cpu));
	if (!phys_create(&c->phys, pool + GUEST_BYTES) || !event_sink_create(&c->events, 64) || !block_dictionary_create(&c->dictionary))
		return false;
	c->cpu->phys = &c->phys;
	c->cpu->events = &c->events;
	c->cpu->features = (struct cpu_features *)&cpu_features_all;
	c->cpu->blocks = block_cache_create(16 << 20, &c->dictionary);
	c->cpu->unknown = unknown_opcodes_create();
	c->cpu->io = (struct io_port){ c, port_in, port_out };
	c->cpu->clock = (struct clock_port){ c, clock_now };
	if (!mmu_create(&c->mmu, c->cpu, &c->events, 256))
		return false;
	c->vmm = (struct vmm){ .technique = t, .config = config, .cpu = c->cpu, .mmu = &c->mmu, .events = &c->events, .phys = &c->phys, .guest_base = pool, .guest_bytes = GUEST_BYTES,
	                       .pool_bytes = pool, .blocks = &c->dictionary };
	cpu_reset(c->cpu);
	return vmm_create(&c->vmm);
}

static void computer_destroy(struct computer *c)
{
	vmm_destroy(&c->vmm);
	mmu_destroy(&c->mmu);
	block_cache_destroy(c->cpu->blocks);
	unknown_opcodes_destroy(c->cpu->unknown);
	block_dictionary_destroy(&c->dictionary);
	event_sink_destroy(&c->events);
	phys_destroy(&c->phys);
	free(c->cpu);
}

/* 32-bit protected mode, flat, as a Multiboot loader leaves it. */
static void guest_start(struct cpu *cpu)
{
	cr0_write(cpu, CR0_PE | CR0_ET | CR0_NE);
	for (enum segment_name s = SEG_ES; s < SEG_COUNT; s++)
		segment_set_flat(cpu, s, s == SEG_CS ? 8 : 16, 0, s == SEG_CS, 4);
	cpu_set_cpl(cpu, 0);
	cpu_mode_update(cpu);
	cpu->rip = LOAD_AT;
}

static uint32_t expected(void)
{
	uint32_t ebx = 0;
	for (uint32_t ecx = 100000; ecx; ecx--) {
		uint32_t word = ebx += ecx;
		ebx ^= word;
		ebx += word;
	}
	return ebx + 0x1234;
}

static bool guest_run(const struct technique *t, const struct engine *e, const uint8_t *image, size_t bytes)
{
	struct computer c = { 0 };
	bool ok = computer_create(&c, t);

	if (ok) {
		memcpy(c.phys.bytes + c.vmm.guest_base + LOAD_AT, image, bytes);
		guest_start(c.cpu);
		c.cpu->budget = 10000000;
		e->run(c.cpu);
		ok = c.cpu->stop == CPU_HALTED && c.said == expected();
	}
	printf("functional: %-10s %-9s %s: %llu instructions, says %08x (expected %08x)\n", t->name, e->name, ok ? "ok" : "FAILED", (unsigned long long)c.cpu->icount, c.said, expected());
	computer_destroy(&c);
	return ok;
}

int main(int argc, char **argv)
{
	static uint8_t image[1 << 16];
	FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
	size_t bytes = f ? fread(image, 1, sizeof(image), f) : 0;
	unsigned failed = 0, passed = 0;

	if (!bytes) {
		fprintf(stderr, "usage: ringside-functional GUEST.bin (tests/functional_guest.S as a flat binary)\n");
		return 2;
	}
	fclose(f);
	for (unsigned t = 0; t < TECHNIQUES; t++)
		for (const struct engine *e = engines; e->name && !techniques[t].paravirtual_guest; e++)
			guest_run(&techniques[t], e, image, bytes) ? passed++ : failed++;
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
