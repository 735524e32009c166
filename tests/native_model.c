/* Our side of the oracle: a cpu at CPL 3 over the same pages at the same addresses, without paging structures. See native_oracle.h. */
#include "native_oracle.h"
#include "isa/block.h"
#include <stdlib.h>

enum { MODEL_TAG = 1, TABLE = 16, PAGES = 4, GDT_AT = 0x70000000 /* for segment loads; the real one is out of a user's reach too */ };

struct model {
	struct cpu cpu;
	struct cpu_features features;
	struct phys phys;          /* the four pages, as physical memory */
	struct event_sink events;
	struct block_dictionary dictionary;
	struct fast_entry table[TABLE];
	const struct engine *engine;
	uint8_t page[PAGES][4096]; /* code, data, data, stack */
	uint64_t gdt[512];
	bool returned;             /* by a delivered exception or trap */
	unsigned vector;
	int64_t error;
	uint64_t cr2, rip;
	unsigned length, mode;     /* of the code at NATIVE_ENTRY */
};

static const uint64_t page_at[PAGES] = { NATIVE_CODE, NATIVE_DATA, NATIVE_DATA + 4096, NATIVE_STACK };

static bool model_fill(void *self, struct cpu *cpu, uint64_t gva, enum access access, bool supervisor, unsigned size, struct mem_fill *out)
{
	struct model *m = self;
	(void)cpu, (void)size;
	*out = (struct mem_fill){ .fault = { .vector = VEC_PF, .cr2 = gva } };
	if (supervisor && gva >> 12 == GDT_AT >> 12) {
		out->real = (uint8_t *)m->gdt + (gva & 0xfff);
		return true;
	}
	const uint32_t error = 4 | (access == ACCESS_WRITE ? 2 : 0) | (access == ACCESS_EXEC ? 16 : 0);
	for (unsigned i = 0; i < PAGES; i++) {
		if ((gva & ~0xfffull) != page_at[i])
			continue;
		if (access == ACCESS_EXEC && i != 0) {
			out->fault.error = error | 1; /* data is not executable */
			return false;
		}
		out->hpa = (uint64_t)i << 12 | (gva & 0xfff);
		out->real = m->page[i] + (gva & 0xfff);
		out->tracked = i == 0;
		const uint64_t tag = page_at[i] | MODEL_TAG;
		m->table[gva >> 12 & (TABLE - 1)] =
			(struct fast_entry){ tag, i == 0 ? FAST_NEVER : tag, i == 0 ? tag : FAST_NEVER, (uint64_t)(uintptr_t)m->page[i] - page_at[i] };
		return true;
	}
	out->fault.error = error;
	return false;
}

static void model_store(void *self, struct cpu *cpu, uint64_t gva, const struct mem_fill *where, const void *data, unsigned size, bool supervisor)
{
	(void)self, (void)gva, (void)supervisor;
	memcpy(where->real, data, size);
	block_cache_invalidate_page(cpu, where->hpa);
}

static void model_mark_code(void *self, uint64_t hpa)
{
	(void)self, (void)hpa; /* the code page is always tracked */
}

static void model_context_changed(void *self, struct cpu *cpu, enum context_change why, uint64_t old_value, bool no_flush)
{
	(void)self, (void)cpu, (void)why, (void)old_value, (void)no_flush;
}

/* Whatever the guest would take through its IDT ends the case. */
static bool model_deliver(void *self, struct cpu *cpu, unsigned vector, int64_t error, bool soft, bool external, uint64_t cr2)
{
	struct model *m = self;
	(void)soft, (void)external;
	m->returned = true;
	m->vector = vector;
	m->error = error;
	m->cr2 = cr2;
	m->rip = cpu->rip;
	cpu->stop = CPU_STOP_REQUEST;
	cpu->attention = 1;
	return true;
}

static uint32_t model_in(void *self, struct cpu *cpu, uint16_t port, unsigned size)
{
	(void)self, (void)cpu, (void)port, (void)size;
	return ~0u;
}

static void model_out(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value)
{
	(void)self, (void)cpu, (void)port, (void)size, (void)value;
}

static uint64_t model_now(void *self)
{
	return ((struct model *)self)->cpu.icount;
}

struct model *model_open(const struct engine *engine)
{
	struct model *m = aligned_alloc(64, (sizeof *m + 63) & ~(size_t)63);
	if (!m)
		return NULL;
	memset(m, 0, sizeof *m);
	m->engine = engine;
	m->features = cpu_features_all;
	if (!event_sink_create(&m->events, 64) || !block_dictionary_create(&m->dictionary)) {
		free(m);
		return NULL;
	}
	for (unsigned i = 0; i < TABLE; i++)
		m->table[i] = (struct fast_entry){ FAST_NEVER, FAST_NEVER, FAST_NEVER, 0 };
	struct cpu *c = &m->cpu;
	c->mem = (struct memory_port){ .tag = MODEL_TAG, .supervisor_tag = MODEL_TAG, .mode_tag = { MODEL_TAG, MODEL_TAG, MODEL_TAG }, .epoch = 1, .self = m,
	                               .fill = model_fill, .store = model_store, .mark_code = model_mark_code,
	                               .context_changed = model_context_changed };
	memory_port_use(&c->mem, m->table, TABLE);
	m->phys = (struct phys){ m->page[0], sizeof m->page };
	c->phys = &m->phys;
	c->events = &m->events;
	c->vmm = (struct vmm_port){ .self = m, .deliver = model_deliver };
	c->io = (struct io_port){ m, model_in, model_out };
	c->clock = (struct clock_port){ m, model_now };
	c->features = &m->features;
	c->unknown = unknown_opcodes_create();
	c->blocks = block_cache_create(1 << 20, &m->dictionary);
	c->blocks->eager = true;
	cpu_reset(c);
	return m;
}

void model_close(struct model *m)
{
	block_cache_destroy(m->cpu.blocks);
	unknown_opcodes_destroy(m->cpu.unknown);
	block_dictionary_destroy(&m->dictionary);
	event_sink_destroy(&m->events);
	free(m);
}

const uint8_t *model_data(const struct model *m)
{
	return m->page[1];
}

struct cpu *model_cpu(struct model *m)
{
	return &m->cpu;
}

/* The processor as Linux gives it to a user program: paging, NX, SSE, CPL 3, IOPL 0, flat segments. */
static void model_mode(struct model *m, unsigned mode)
{
	static const enum segment_name data[] = { SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS };
	struct cpu *c = &m->cpu;
	c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	c->cr4 = CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP;
	c->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	segment_set_flat(c, SEG_CS, mode == 8 ? 0x33 : 0x23, 3, true, mode);
	for (unsigned i = 0; i < sizeof data / sizeof *data; i++)
		segment_set_flat(c, data[i], 0x2b, 3, false, 4);
	/* what Linux has at 0x08..0x37: 32-bit code, 64-bit code, data, of the kernel; 32-bit code, data, 64-bit code of DPL 3; all accessed (arch/x86/include/asm/segment.h) */
	m->gdt[1] = 0x00cf9b000000ffff;
	m->gdt[2] = 0x00af9b000000ffff;
	m->gdt[3] = 0x00cf93000000ffff;
	m->gdt[4] = 0x00cffb000000ffff;
	m->gdt[5] = 0x00cff3000000ffff;
	m->gdt[6] = 0x00affb000000ffff;
	c->gdtr = (struct descriptor_table){ GDT_AT, 0x7f };
	c->ldtr = (struct segment){ .attributes = SEGA_UNUSABLE };
	c->tr.limit = 0; /* no I/O permission bitmap: IN and OUT are #GP(0) */
	cpu_set_cpl(c, 3);
	cpu_mode_update(c);
}

void model_load(struct model *m, unsigned mode, const uint8_t *code, unsigned length)
{
	m->length = length;
	memset(m->page[0], 0xcc, 4096);
	memcpy(m->page[0] + NATIVE_ENTRY - NATIVE_CODE, code, length);
	block_cache_invalidate_page(&m->cpu, 0);
	m->mode = mode;
	model_mode(m, mode);
}

static void model_enter(struct model *m, const struct native_state *before)
{
	struct cpu *c = &m->cpu;
	if (c->seg[SEG_CS].selector != (m->mode == 8 ? 0x33 : 0x23) || c->seg[SEG_SS].selector != 0x2b || c->seg[SEG_DS].selector != 0x2b || c->seg[SEG_ES].selector != 0x2b)
		model_mode(m, m->mode); /* the case before loaded segments */
	memcpy(c->reg, before->reg, sizeof before->reg);
	if (c->code_size == 4)
		for (unsigned i = 0; i < 16; i++)
			c->reg[i] = (uint32_t)c->reg[i];
	memcpy(c->xmm, before->xmm, sizeof before->xmm);
	memcpy(m->page[1] + (NATIVE_WINDOW - NATIVE_DATA), before->data, NATIVE_WINDOW_BYTES); /* page[1] and page[2] are neighbours */
	memcpy(m->page[3] + (NATIVE_STACK_WINDOW - NATIVE_STACK), before->stack, NATIVE_STACK_BYTES);
	c->mxcsr = before->mxcsr;
	c->eflags = (before->eflags & ~FLAGS_ARITH) | 2;
	flags_set(c, before->eflags & FLAGS_ARITH);
	c->rip = NATIVE_ENTRY;
	c->stop = CPU_RUNNING;
	c->attention = 0;
	c->stamp = 0;
	c->shadow_sti = c->shadow_ss = false;
	c->delivering.active = false;
	c->budget = 100000; /* REP iterations included; what has not come back then never will */
	m->returned = false;
}

void model_run(struct model *m, const struct native_state *before, struct native_state *after)
{
	struct cpu *c = &m->cpu;
	model_enter(m, before);
	while (!m->returned && c->budget > 0 && (c->stop == CPU_RUNNING || c->stop == CPU_HALTED))
		m->engine->run(c);
	memcpy(after->reg, c->reg, sizeof after->reg);
	memcpy(after->xmm, c->xmm, sizeof after->xmm);
	memcpy(after->data, m->page[1] + (NATIVE_WINDOW - NATIVE_DATA), NATIVE_WINDOW_BYTES);
	memcpy(after->stack, m->page[3] + (NATIVE_STACK_WINDOW - NATIVE_STACK), NATIVE_STACK_BYTES);
	const uint16_t selector[] = { c->seg[SEG_CS].selector, c->seg[SEG_SS].selector, c->seg[SEG_DS].selector, c->seg[SEG_ES].selector };
	memcpy(after->selector, selector, sizeof selector);
	after->mxcsr = c->mxcsr;
	after->eflags = cpu_eflags(c);
	after->rip = m->returned ? m->rip : c->rip;
	after->vector = m->returned ? (int32_t)m->vector : -2;
	after->error = m->returned && m->error >= 0 ? (uint32_t)m->error : 0;
	after->cr2 = after->vector == VEC_PF ? m->cr2 : 0;
	/* an INT3 behind the code stands where the real side has a pad: the code completed */
	if (after->vector == VEC_BP && (after->rip - 1 < NATIVE_ENTRY || after->rip - 1 >= NATIVE_ENTRY + m->length)) {
		after->vector = -1;
		after->rip--;
	}
}

bool model_pages_agree(struct model *m)
{
	const uint8_t *data = (const uint8_t *)NATIVE_DATA, *stack = (const uint8_t *)NATIVE_STACK;
	if (!memcmp(m->page[1], data, 4096) && !memcmp(m->page[2], data + 4096, 4096) && !memcmp(m->page[3], stack, 4096))
		return true;
	memcpy(m->page[1], data, 4096);
	memcpy(m->page[2], data + 4096, 4096);
	memcpy(m->page[3], stack, 4096);
	return false;
}
