/* What machines in lock-step have in common, or not. */
#include "lockstep.h"
#include "machine_private.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Rows of fields; a row with several has them `stride` bytes apart. */
struct visible {
	const char *name;
	size_t offset;
	unsigned size, count, stride;
	const char *const *names; /* of each; NULL: name and number */
};
static const char *const registers[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
static const char *const segments[] = { "es", "cs", "ss", "ds", "fs", "gs" };
#define SIZE(member) sizeof(((struct cpu *)0)->member)
#define ONE(name, member) { name, offsetof(struct cpu, member), SIZE(member), 1, 0, NULL }
#define MANY(name, member) { name, offsetof(struct cpu, member[0]), SIZE(member[0]), SIZE(member) / SIZE(member[0]), SIZE(member[0]), NULL }
#define SEGMENT(what, member) { what, offsetof(struct cpu, seg[0].member), SIZE(seg[0].member), SEG_COUNT, sizeof(struct segment), segments }, \
	ONE("ldtr" what, ldtr.member), ONE("tr" what, tr.member)
static const struct visible visible[] = {
	{ "", offsetof(struct cpu, reg), 8, 16, 8, registers }, /* not the temporaries */
	ONE("rip", rip), ONE("icount", icount), MANY("xmm", xmm), ONE("mxcsr", mxcsr), ONE("cpl", cpl), ONE("code size", code_size), ONE("sti shadow", shadow_sti), ONE("ss shadow", shadow_ss),
	SEGMENT("", selector), SEGMENT(" base", base), SEGMENT(" limit", limit), SEGMENT(" attributes", attributes),
	ONE("gdtr base", gdtr.base), ONE("gdtr limit", gdtr.limit), ONE("idtr base", idtr.base), ONE("idtr limit", idtr.limit),
	ONE("cr0", cr0), ONE("cr2", cr2), ONE("cr3", cr3), ONE("cr4", cr4), ONE("cr8", cr8), ONE("efer", efer), MANY("dr", dr), ONE("kernel gs base", kernel_gs_base),
	ONE("star", star), ONE("lstar", lstar), ONE("cstar", cstar), ONE("fmask", fmask), ONE("tsc aux", tsc_aux), ONE("tsc offset", tsc_offset), ONE("pat", pat), ONE("apic base", apic_base),
	ONE("misc enable", misc_enable), ONE("sysenter cs", sysenter_cs), ONE("sysenter esp", sysenter_esp), ONE("sysenter eip", sysenter_eip), ONE("mtrr def type", mtrr_def_type), MANY("mtrr", mtrr),
	ONE("x87 control", x87.control), ONE("x87 status", x87.status), ONE("x87 tag", x87.tag), ONE("x87 opcode", x87.opcode), ONE("x87 ip", x87.ip), ONE("x87 dp", x87.dp), MANY("st", x87.st),
	ONE("stop", stop), ONE("user calls", user_calls), ONE("emulated", emulated), ONE("state event", state_emitted),
};

static struct lockstep_line *line_add(struct lockstep_report *r, const char *name)
{
	struct lockstep_line *l = &r->line[r->lines < LOCKSTEP_LINES - 1 ? r->lines++ : LOCKSTEP_LINES - 1];
	snprintf(l->name, sizeof l->name, "%.23s", name);
	return l;
}

static void value_print(char to[40], const uint8_t *from, unsigned size)
{
	unsigned n = (unsigned)snprintf(to, 40, "0x");
	for (unsigned i = size; i-- > 0;)
		n += (unsigned)snprintf(to + n, 40 - n, "%02x", from[i]);
}

static void field_compare(const struct visible *v, const uint8_t *a, const uint8_t *b, struct lockstep_report *r)
{
	if (v->stride == v->size && !memcmp(a + v->offset, b + v->offset, v->count * v->size))
		return;
	for (unsigned i = 0; i < v->count; i++) {
		const uint8_t *x = a + v->offset + i * v->stride, *y = b + v->offset + i * v->stride;
		if (!memcmp(x, y, v->size))
			continue;
		char name[40], number[12] = "";
		if (v->count > 1)
			snprintf(number, sizeof number, "%u", i);
		snprintf(name, sizeof name, "%s%s", v->names ? v->names[i] : v->name, v->names ? v->name : number);
		struct lockstep_line *l = line_add(r, name);
		value_print(l->reference, x, v->size);
		value_print(l->tested, y, v->size);
	}
}

static void number_compare(const char *name, uint64_t a, uint64_t b, struct lockstep_report *r)
{
	if (a == b)
		return;
	struct lockstep_line *l = line_add(r, name);
	snprintf(l->reference, sizeof l->reference, "0x%" PRIx64, a);
	snprintf(l->tested, sizeof l->tested, "0x%" PRIx64, b);
}

/* Beside the processor: devices, exits, how it ended. */
static void machine_compare(struct machine *a, struct machine *b, struct lockstep_report *r)
{
	number_compare("eflags", cpu_eflags(&a->cpu), cpu_eflags(&b->cpu), r);
	number_compare("time", machine_now(a), machine_now(b), r);
	number_compare("idle time", a->idle, b->idle, r);
	number_compare("interrupt line", a->intr_seen, b->intr_seen, r);
	number_compare("output", a->console.hash, b->console.hash, r);
	number_compare("ended", (uint64_t)a->ended << 8 | a->end, (uint64_t)b->ended << 8 | b->end, r);
	number_compare("exit code", (uint32_t)a->exit_code, (uint32_t)b->exit_code, r);
	for (unsigned i = 0; i < EXIT_REASONS; i++)
		if (a->vmm.stats.exits[i] != b->vmm.stats.exits[i]) {
			char name[24];
			snprintf(name, sizeof name, "exits %.17s", exit_reason_name(i));
			number_compare(name, a->vmm.stats.exits[i], b->vmm.stats.exits[i], r);
		}
}

/* ---- memory ---- */
enum { PAGE = 4096, SPAN = 512 /* pages that are asked about in one go */ };

static void page_compare(const struct machine *a, const struct machine *b, uint64_t hpa, struct lockstep_report *r)
{
	const uint8_t *x = a->phys.bytes + hpa, *y = b->phys.bytes + hpa;
	if (!memcmp(x, y, PAGE))
		return;
	unsigned at = 0;
	while (x[at] == y[at])
		at++;
	at &= ~7u;
	char name[24];
	snprintf(name, sizeof name, "memory %" PRIx64, hpa + at);
	struct lockstep_line *l = line_add(r, name);
	value_print(l->reference, x + at, 8);
	value_print(l->tested, y + at, 8);
}

/* Only what one of them has touched: the rest is zero in both. */
static void memory_compare(const struct machine *a, const struct machine *b, struct lockstep_report *r)
{
	unsigned char here[2][SPAN];
	for (uint64_t hpa = 0; hpa < a->phys.size; hpa += SPAN * PAGE) {
		uint64_t left = a->phys.size - hpa, bytes = left < SPAN * PAGE ? left : SPAN * PAGE;
		bool asked = !mincore(a->phys.bytes + hpa, bytes, here[0]) && !mincore(b->phys.bytes + hpa, bytes, here[1]);
		for (uint64_t i = 0; i < bytes / PAGE; i++)
			if (!asked || ((here[0][i] | here[1][i]) & 1))
				page_compare(a, b, hpa + i * PAGE, r);
	}
}

bool lockstep_states_differ(struct machine *a, struct machine *b, bool memory, struct lockstep_report *r)
{
	r->lines = 0;
	for (unsigned i = 0; i < sizeof visible / sizeof *visible; i++)
		field_compare(&visible[i], (const uint8_t *)&a->cpu, (const uint8_t *)&b->cpu, r);
	machine_compare(a, b, r);
	if (memory)
		memory_compare(a, b, r);
	return r->lines != 0;
}

/* ---- results ---- */
static void metrics_compare(const struct run_result *a, const struct run_result *b, struct lockstep_report *r)
{
	number_compare("statistics", a->stats, b->stats, r);
	for (unsigned i = 0; i < a->stats && i < b->stats; i++)
		number_compare(a->stat[i].name, a->stat[i].value, b->stat[i].value, r);
	for (unsigned i = 0; i < CAUSES; i++)
		number_compare(cause_name(i), a->by_cause[i], b->by_cause[i], r);
}

bool lockstep_results_differ(struct machine *a, struct machine *b, struct lockstep_report *r)
{
	struct run_result *x = calloc(2, sizeof *x);
	r->lines = 0;
	if (!x)
		return false;
	machine_result(a, &x[0]);
	machine_result(b, &x[1]);
	memcpy(x[1].engine, x[0].engine, sizeof x[1].engine);
	metrics_compare(&x[0], &x[1], r);
	if (!r->lines && memcmp(&x[0], &x[1], sizeof *x))
		number_compare("machine hash", x[0].machine_hash, x[1].machine_hash, r);
	if (!r->lines && memcmp(&x[0], &x[1], sizeof *x))
		snprintf(line_add(r, "the result")->tested, sizeof r->line->tested, "differs in another field");
	free(x);
	return r->lines != 0;
}
