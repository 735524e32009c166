#include "lockstep.h"
#include "../isa/block.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct lockstep {
	const struct machine_config *config;
	const char *reference;
	struct machine *side[2]; /* the reference, the engine under test */
	uint64_t step;
};

/* ---- what a guest can see ---- */
struct visible {
	const char *name;
	size_t offset;
	unsigned size, count;
};
#define ONE(name, member) { name, offsetof(struct cpu, member), sizeof(((struct cpu *)0)->member), 1 }
static const struct visible visible[] = {
	{ "reg", offsetof(struct cpu, reg), 8, 16 }, /* not the temporaries */
	ONE("rip", rip), ONE("icount", icount), ONE("cpl", cpl), ONE("cr0", cr0), ONE("cr2", cr2), ONE("cr3", cr3), ONE("cr4", cr4), ONE("cr8", cr8), ONE("efer", efer),
	{ "dr", offsetof(struct cpu, dr), 8, 8 }, ONE("mxcsr", mxcsr), { "xmm", offsetof(struct cpu, xmm), 16, 16 }, ONE("sti shadow", shadow_sti), ONE("ss shadow", shadow_ss),
	ONE("stop", stop), ONE("gdt", gdtr.base), ONE("idt", idtr.base),
	ONE("es", seg[SEG_ES].selector), ONE("cs", seg[SEG_CS].selector), ONE("ss", seg[SEG_SS].selector), ONE("ds", seg[SEG_DS].selector), ONE("fs", seg[SEG_FS].selector),
	ONE("gs", seg[SEG_GS].selector), ONE("fs base", seg[SEG_FS].base), ONE("gs base", seg[SEG_GS].base), ONE("kernel gs", kernel_gs_base), ONE("ldtr", ldtr.selector), ONE("tr", tr.selector),
};

static void value_print(char to[40], const uint8_t *from, unsigned size)
{
	unsigned n = (unsigned)snprintf(to, 40, "0x");
	for (unsigned i = size; i-- > 0;)
		n += (unsigned)snprintf(to + n, 40 - n, "%02x", from[i]);
}

static struct lockstep_line *line_add(struct lockstep_report *r, const char *name)
{
	struct lockstep_line *l = &r->line[r->lines < LOCKSTEP_LINES - 1 ? r->lines++ : LOCKSTEP_LINES - 1];
	snprintf(l->name, sizeof l->name, "%s", name);
	return l;
}

static void field_compare(const struct visible *v, const struct cpu *a, const struct cpu *b, struct lockstep_report *r)
{
	static const char *const registers[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	for (unsigned i = 0; i < v->count; i++) {
		const uint8_t *x = (const uint8_t *)a + v->offset + i * v->size, *y = (const uint8_t *)b + v->offset + i * v->size;
		if (!memcmp(x, y, v->size))
			continue;
		char name[16];
		snprintf(name, sizeof name, v->count > 1 ? "%.11s%u" : "%.15s", v->name, i);
		struct lockstep_line *l = line_add(r, v->offset == offsetof(struct cpu, reg) ? registers[i] : name);
		value_print(l->reference, x, v->size);
		value_print(l->tested, y, v->size);
	}
}

/* Writes a line for each difference. */
static bool states_differ(const struct lockstep *l, struct lockstep_report *r)
{
	const struct cpu *a = machine_cpu(l->side[0]), *b = machine_cpu(l->side[1]);
	r->lines = 0;
	for (unsigned i = 0; i < sizeof visible / sizeof *visible; i++)
		field_compare(&visible[i], a, b, r);
	if (cpu_eflags(a) != cpu_eflags(b)) {
		struct lockstep_line *line = line_add(r, "eflags");
		snprintf(line->reference, sizeof line->reference, "0x%08x", cpu_eflags(a));
		snprintf(line->tested, sizeof line->tested, "0x%08x", cpu_eflags(b));
	}
	return r->lines != 0;
}

/* ---- running ---- */
static void lockstep_close(struct lockstep *l)
{
	for (unsigned i = 0; i < 2; i++) {
		if (l->side[i])
			machine_destroy(l->side[i]);
		l->side[i] = NULL;
	}
}

static bool lockstep_open(struct lockstep *l, char *error, size_t error_size)
{
	for (unsigned i = 0; i < 2; i++) {
		struct machine_config c = *l->config;
		if (i == 0)
			snprintf(c.engine, sizeof c.engine, "%s", l->reference);
		l->side[i] = machine_create(&c, error, error_size);
		if (!l->side[i] || !machine_load(l->side[i], error, error_size)) {
			lockstep_close(l);
			return false;
		}
	}
	return true;
}

/* Both machines take one turn; false: the reference's guest has ended. */
static bool lockstep_turn(struct lockstep *l, uint64_t budget)
{
	bool more = machine_turn(l->side[0], budget);
	machine_turn(l->side[1], budget);
	return more;
}

/* From the start: `turns` turns that are known to agree, and one of `last` instructions. Returns whether the states differ after it. */
static bool lockstep_probe(struct lockstep *l, uint64_t turns, uint64_t last, struct lockstep_report *r)
{
	char error[640];
	lockstep_close(l);
	if (!lockstep_open(l, error, sizeof error))
		return true;
	for (uint64_t i = 0; i < turns; i++)
		lockstep_turn(l, l->step);
	lockstep_turn(l, last);
	return states_differ(l, r);
}

static void block_report(const struct lockstep *l, struct lockstep_report *r)
{
	const struct cpu *cpu = machine_cpu(l->side[0]);
	const struct block *b = cpu->block;
	r->boundary = cpu->icount;
	if (!b || b->bytes > LOCKSTEP_CODE || b->straddle || b->hpa + b->bytes > cpu->phys->size)
		return;
	r->pc = b->pc;
	r->mode = b->key & KEY_CODE_SIZE;
	r->bytes = b->bytes;
	memcpy(r->code, cpu->phys->bytes + b->hpa, b->bytes);
}

/* The shortest turn after the agreeing ones that shows a difference. */
static void lockstep_narrow(struct lockstep *l, struct lockstep_report *r)
{
	uint64_t good = 0, bad = l->step;
	while (bad - good > 1) {
		uint64_t middle = good + (bad - good) / 2;
		if (lockstep_probe(l, r->turns, middle, r))
			bad = middle;
		else
			good = middle;
	}
	lockstep_probe(l, r->turns, bad, r);
	if (l->side[0])
		block_report(l, r);
}

static void memory_compare(struct lockstep *l, struct lockstep_report *r)
{
	struct run_result result[2];
	for (unsigned i = 0; i < 2; i++)
		machine_result(l->side[i], &result[i]);
	if (result[0].machine_hash == result[1].machine_hash)
		return;
	struct lockstep_line *line = line_add(r, "machine hash");
	snprintf(line->reference, sizeof line->reference, "0x%016" PRIx64, result[0].machine_hash);
	snprintf(line->tested, sizeof line->tested, "0x%016" PRIx64, result[1].machine_hash);
	r->differ = true;
}

bool lockstep_run(const struct machine_config *c, const char *reference, uint64_t step, struct lockstep_report *report, char *error, size_t error_size)
{
	struct lockstep l = { .config = c, .reference = reference, .step = step };
	*report = (struct lockstep_report){ 0 };
	if (!lockstep_open(&l, error, error_size))
		return false;
	for (bool more = true; more && !report->differ;) {
		more = lockstep_turn(&l, l.step);
		report->differ = states_differ(&l, report);
		if (!report->differ) {
			report->turns++;
			report->instructions = machine_cpu(l.side[0])->icount;
		}
	}
	if (report->differ)
		lockstep_narrow(&l, report);
	else
		memory_compare(&l, report);
	lockstep_close(&l);
	return true;
}
