/* The registers that a recording starts from, by name; and what a result counts, by name. */
#include "trace.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct register_row { const char *name; uint16_t offset; uint8_t size; };
#define R(name, field) { name, offsetof(struct cpu, field), sizeof ((struct cpu *)0)->field }
#define SEGMENT(name, field) R(name ".selector", field.selector), R(name ".attr", field.attributes), R(name ".limit", field.limit), R(name ".base", field.base)
static const struct register_row register_rows[] = {
	R("ax", reg[REG_AX]), R("cx", reg[REG_CX]), R("dx", reg[REG_DX]), R("bx", reg[REG_BX]), R("sp", reg[REG_SP]), R("bp", reg[REG_BP]), R("si", reg[REG_SI]), R("di", reg[REG_DI]),
	R("r8", reg[REG_R8]), R("r9", reg[REG_R9]), R("r10", reg[REG_R10]), R("r11", reg[REG_R11]), R("r12", reg[REG_R12]), R("r13", reg[REG_R13]), R("r14", reg[REG_R14]), R("r15", reg[REG_R15]),
	R("rip", rip), R("eflags", eflags), R("cpl", cpl),
	SEGMENT("es", seg[SEG_ES]), SEGMENT("cs", seg[SEG_CS]), SEGMENT("ss", seg[SEG_SS]), SEGMENT("ds", seg[SEG_DS]), SEGMENT("fs", seg[SEG_FS]), SEGMENT("gs", seg[SEG_GS]),
	SEGMENT("ldtr", ldtr), SEGMENT("tr", tr),
	R("gdtr.base", gdtr.base), R("gdtr.limit", gdtr.limit), R("idtr.base", idtr.base), R("idtr.limit", idtr.limit),
	R("cr0", cr0), R("cr2", cr2), R("cr3", cr3), R("cr4", cr4), R("cr8", cr8), R("efer", efer),
	R("star", star), R("lstar", lstar), R("cstar", cstar), R("fmask", fmask), R("kernel_gs_base", kernel_gs_base), R("pat", pat), R("tsc_aux", tsc_aux),
};
#undef SEGMENT
#undef R
#define REGISTER_ROWS (sizeof register_rows / sizeof register_rows[0])
_Static_assert(REGISTER_ROWS <= TRACE_REGISTERS, "every register has room in a header");

void trace_cpu_save(struct trace_cpu *t, const struct cpu *cpu)
{
	t->count = REGISTER_ROWS;
	for (unsigned i = 0; i < REGISTER_ROWS; i++) {
		const struct register_row *row = &register_rows[i];
		uint64_t value = 0;
		memcpy(&value, (const char *)cpu + row->offset, row->size); /* little-endian, as the one real machine this runs on (x86-64) */
		snprintf(t->reg[i].name, sizeof t->reg[i].name, "%s", row->name);
		t->reg[i].value = value;
	}
}

static const struct register_row *register_find(const char *name)
{
	for (unsigned i = 0; i < REGISTER_ROWS; i++)
		if (!strcmp(register_rows[i].name, name))
			return &register_rows[i];
	return NULL;
}

unsigned trace_cpu_load(const struct trace_cpu *t, struct cpu *cpu)
{
	unsigned set = 0;
	for (unsigned i = 0; i < t->count; i++) {
		const struct register_row *row = register_find(t->reg[i].name);
		if (!row)
			continue;
		memcpy((char *)cpu + row->offset, &t->reg[i].value, row->size);
		set++;
	}
	cpu->cpl &= 3; /* a damaged header must not make a privilege level that does not exist */
	return set;
}

/* ------------------------------------------------------------------ results by name */
struct stat_walk { trace_stat_fn *fn; void *self; bool going; };

static void stat_give(struct stat_walk *w, const char *prefix, const char *name, const char *suffix, uint64_t value)
{
	char full[96];
	snprintf(full, sizeof full, "%s%s%s", prefix, name, suffix);
	if (w->going)
		w->going = w->fn(w->self, full, value);
}

void trace_result_stats(const struct run_result *r, trace_stat_fn *fn, void *self)
{
	struct stat_walk w = { fn, self, true };
	stat_give(&w, "", "instructions", "", r->instructions);
	stat_give(&w, "", "cycles", "", r->cycles);
	for (unsigned i = 0; i < CAUSES; i++)
		stat_give(&w, "cause.", cause_name(i), "", r->by_cause[i]);
	for (unsigned i = 0; i < r->exits; i++) {
		stat_give(&w, "exit.", r->exit[i].name, ".count", r->exit[i].count);
		stat_give(&w, "exit.", r->exit[i].name, ".cycles", r->exit[i].transition_cycles + r->exit[i].handler_cycles);
	}
	for (unsigned i = 0; i < r->works; i++)
		stat_give(&w, "work.", r->work[i].name, "", r->work[i].value);
	for (unsigned i = 0; i < r->stats; i++)
		stat_give(&w, "", r->stat[i].name, "", r->stat[i].value);
}
