/*
 * String instructions.
 *
 * Invariant: SI, DI and CX are those of whole iterations whenever anything can look or fault, so that a repeated instruction starts again where it stopped (SDM 2B "REP").
 * Iterations run in chunks: within one page of each operand at once where nothing is special, else one by one. A chunk's events are those of its iterations in order.
 */
#include "crack.h"
#include "flags.h"
#include "memory.h"
#include "uop_settle.h"

enum { STRING_CHUNK = 4096 }; /* iterations between looks at budget and attention */
enum { STRING_SHORT = 8 };    /* iterations that take no longer than an ordinary instruction may */

struct string {
	enum string_kind kind;
	unsigned size, seg;
	unsigned width;  /* of addresses */
	uint64_t mask;   /* the same */
	uint64_t step;   /* +size or -size */
	unsigned rep;    /* 0, 0xf2 or 0xf3 */
	bool source, destination; /* uses SI; uses DI */
	bool store;
};

static struct string string_new(const struct cpu *cpu, const struct uop *u)
{
	static const struct { bool source, destination, store; } uses[] = { { 1, 1, 1 }, { 1, 1, 0 }, { 0, 1, 0 }, { 0, 1, 1 }, { 1, 0, 0 } }; /* ORDER enum string_kind */
	return (struct string){ .kind = (enum string_kind)u->a, .size = u->size, .seg = u->seg, .width = u->b, .mask = crack_mask(u->b),
		.step = cpu->eflags & FLAG_DF ? -(uint64_t)u->size : u->size, .rep = u->index, .source = uses[u->a].source, .destination = uses[u->a].destination,
		.store = uses[u->a].store };
}

static void string_put(struct cpu *cpu, const struct string *s, unsigned reg, uint64_t v)
{
	cpu->reg[reg] = s->width == 2 ? (cpu->reg[reg] & ~0xffffull) | (v & 0xffff) : v & s->mask;
}

static void string_advance(struct cpu *cpu, const struct string *s, uint64_t iterations)
{
	if (s->source)
		string_put(cpu, s, REG_SI, cpu->reg[REG_SI] + s->step * iterations);
	if (s->destination)
		string_put(cpu, s, REG_DI, cpu->reg[REG_DI] + s->step * iterations);
	if (s->rep)
		string_put(cpu, s, REG_CX, cpu->reg[REG_CX] - iterations);
}

static uint64_t string_linear(struct cpu *cpu, const struct string *s, unsigned reg, enum access access)
{
	return segment_linear(cpu, reg == REG_SI ? (enum segment_name)s->seg : SEG_ES, cpu->reg[reg] & s->mask, s->size, access);
}

static void string_compare(struct cpu *cpu, const struct string *s, uint64_t a, uint64_t b)
{
	uint64_t mask = crack_mask(s->size);
	flags_put(cpu, FLAGS_SUB | crack_lg(s->size), (a - b) & mask, b & mask, 0);
}

static void string_load_accumulator(struct cpu *cpu, const struct string *s, uint64_t v)
{
	cpu->reg[REG_AX] = s->size >= 4 ? v : (cpu->reg[REG_AX] & ~crack_mask(s->size)) | v;
}

/* One iteration, everything checked. */
static void string_one(struct cpu *cpu, const struct string *s)
{
	uint64_t a = s->source ? mem_read_u(cpu, string_linear(cpu, s, REG_SI, ACCESS_READ), s->size, false) : cpu->reg[REG_AX] & crack_mask(s->size);
	uint64_t to = s->destination ? string_linear(cpu, s, REG_DI, s->store ? ACCESS_WRITE : ACCESS_READ) : 0; /* a fault of the source comes first */
	switch (s->kind) {
	case STRING_MOVS:
	case STRING_STOS: mem_write_u(cpu, to, a, s->size, false); break;
	case STRING_CMPS:
	case STRING_SCAS: string_compare(cpu, s, a, mem_read_u(cpu, to, s->size, false)); break;
	case STRING_LODS: string_load_accumulator(cpu, s, a); break;
	}
	string_advance(cpu, s, 1);
}

/* Whether a repeated comparison stops after this iteration. */
static bool string_stops(const struct cpu *cpu, const struct string *s)
{
	return (s->kind == STRING_CMPS || s->kind == STRING_SCAS) && flags_zf(&cpu->flags) != (s->rep == 0xf3);
}

/* ---- chunks: forward, inside a page ---- */
static bool segment_plain(const struct cpu *cpu, unsigned seg)
{
	static const uint16_t flat[SEG_COUNT] = { [SEG_ES] = KEY_FLAT_ES, [SEG_SS] = KEY_FLAT_SS, [SEG_DS] = KEY_FLAT_DS };
	return cpu->code_size == 8 || (cpu->block->key & flat[seg]);
}

/* An operand's linear address in a plain segment, if it is allowed. */
static uint64_t string_plain(const struct cpu *cpu, const struct string *s, unsigned reg)
{
	return (cpu->reg[reg] & s->mask) + (reg == REG_SI && cpu->code_size == 8 && s->seg >= SEG_FS ? cpu->seg[s->seg].base : 0);
}

/* How many iterations of `left` fit into one page of every operand, going forward without address wrap; 0: go one by one. */
static uint64_t chunk_length(const struct cpu *cpu, const struct string *s, uint64_t left)
{
	if ((cpu->eflags & (FLAG_DF | FLAG_TF)) || left < 4 || s->width == 2 || (s->source && !segment_plain(cpu, s->seg)) || (s->destination && !segment_plain(cpu, SEG_ES)))
		return 0;
	uint64_t n = left;
	for (unsigned reg = REG_SI; reg <= REG_DI; reg++) {
		if (reg == REG_SI ? !s->source : !s->destination)
			continue;
		uint64_t room = 4096 - (string_plain(cpu, s, reg) & 4095);
		if (room / s->size < n)
			n = room / s->size;
	}
	return n;
}

/* The copy that element by element copying would make: an overlap that runs into itself repeats its pattern. */
static void chunk_copy(uint8_t *to, const uint8_t *from, size_t bytes, unsigned size)
{
	if (to <= from || to >= from + bytes) {
		memmove(to, from, bytes);
		return;
	}
	for (size_t i = 0; i < bytes; i += size) {
		uint64_t v;
		memcpy(&v, from + i, size);
		memcpy(to + i, &v, size);
	}
}

static void chunk_fill(uint8_t *to, uint64_t v, size_t bytes, unsigned size)
{
	if (size == 1) {
		memset(to, (int)(v & 0xff), bytes);
		return;
	}
	for (size_t i = 0; i < bytes; i += size)
		memcpy(to + i, &v, size);
}

/* Iterations of a comparison until it stops, at most n; leaves the flags of the last. */
static uint64_t chunk_compare(struct cpu *cpu, const struct string *s, const uint8_t *from, const uint8_t *to, uint64_t n)
{
	uint64_t mask = crack_mask(s->size), a = cpu->reg[REG_AX] & mask, b = 0, i = 0;
	while (i < n) {
		if (from)
			memcpy(&a, from + i * s->size, s->size);
		memcpy(&b, to + i * s->size, s->size);
		i++;
		if ((a == b) != (s->rep == 0xf3))
			break;
	}
	string_compare(cpu, s, a, b);
	return i;
}

/* a, b: where `from` and `to` are in real memory. */
static void chunk_events(struct cpu *cpu, const struct string *s, uint64_t from, uint64_t to, const uint8_t *a, const uint8_t *b, uint64_t n)
{
	if (!cpu->events->on)
		return;
	unsigned flags = memory_flags(cpu, false);
	for (uint64_t i = 0; i < n; i++) {
		if (s->source)
			event_put_data(cpu->events, EV_LOAD, flags, s->size, from + i * s->size, a + i * s->size);
		if (s->destination)
			event_put_data(cpu->events, s->store ? EV_STORE : EV_LOAD, flags, s->size, to + i * s->size, b + i * s->size);
	}
}

/* Whether the translations of both operands are in the table. If not, one iteration goes first: its events say where a translation, or a fault, comes between. */
static bool both_ready(struct cpu *cpu, const struct string *s)
{
	uint64_t from = string_plain(cpu, s, REG_SI), to = string_plain(cpu, s, REG_DI);
	const struct fast_entry *a = memory_entry(cpu, from), *b = memory_entry(cpu, to);
	return a->read == memory_tag(cpu, from, s->size) && (s->store ? b->write : b->read) == memory_tag(cpu, to, s->size);
}

/* A chunk; returns its iterations, 0 when it must go one by one. Raises only before its first iteration. */
static uint64_t string_chunk(struct cpu *cpu, const struct string *s, uint64_t left)
{
	uint64_t n = chunk_length(cpu, s, left);
	if (n < 4 || (s->source && s->destination && !both_ready(cpu, s)))
		return 0;
	unsigned room;
	uint64_t from = s->source ? string_linear(cpu, s, REG_SI, ACCESS_READ) : 0;
	uint64_t to = s->destination ? string_linear(cpu, s, REG_DI, s->store ? ACCESS_WRITE : ACCESS_READ) : 0;
	uint8_t *a = s->source ? memory_window(cpu, from, s->size, false, &room) : NULL;
	uint8_t *b = s->destination ? memory_window(cpu, to, s->size, s->store, &room) : NULL;
	if ((s->source && !a) || (s->destination && !b))
		return 0;
	switch (s->kind) {
	case STRING_MOVS: chunk_copy(b, a, n * s->size, s->size); break;
	case STRING_STOS: chunk_fill(b, cpu->reg[REG_AX], n * s->size, s->size); break;
	case STRING_CMPS:
	case STRING_SCAS: n = chunk_compare(cpu, s, a, b, n); break;
	case STRING_LODS: {
		uint64_t v = 0;
		memcpy(&v, a + (n - 1) * s->size, s->size);
		string_load_accumulator(cpu, s, v);
		break;
	}
	}
	chunk_events(cpu, s, from, to, a, b, n);
	string_advance(cpu, s, n);
	return n;
}

/* ---- the micro-ops ---- */
void help_string(struct cpu *cpu, const struct uop *u)
{
	struct string s = string_new(cpu, u);
	string_one(cpu, &s);
}

/* Runs until done (true), or until budget or attention want the dispatcher (false): after the same iterations, whether they went in chunks or one by one. */
static bool rep_run(struct cpu *cpu, const struct string *s)
{
	for (uint64_t since = 0;;) {
		uint64_t left = cpu->reg[REG_CX] & s->mask;
		if (!left)
			return true;
		uint64_t n = string_chunk(cpu, s, left < STRING_CHUNK - since ? left : STRING_CHUNK - since);
		if (!n) {
			string_one(cpu, s);
			n = 1;
		}
		event_put(cpu->events, EV_REP, 0, 0, (uint32_t)n, 0); /* before the next one may fault */
		since += n;
		if (cpu->bounded && since > STRING_SHORT)
			cpu->attention |= ATTENTION_TIME;
		if (string_stops(cpu, s) || n == left)
			return true;
		if ((cpu->attention & ~ATTENTION_TIME) || cpu->block->dead || (cpu->eflags & FLAG_TF) || since >= STRING_CHUNK)
			return false;
	}
}

void uop_string_rep_call(struct cpu *cpu, const struct uop *u);
void uop_string_rep_call(struct cpu *cpu, const struct uop *u)
{
	struct string s = string_new(cpu, u);
	uop_settle(cpu, u);
	if (rep_run(cpu, &s)) {
		cpu->rip = cpu->block->next_pc[1];
		uop_resume(cpu, u);
		return;
	}
	/* Iterations remain: the instruction has not retired, and starts again. Long moves cost budget, so that interrupts are not kept waiting. */
	unsigned cut = cpu->block->insns - u->insn;
	event_put(cpu->events, EV_CUT, 0, 0, cut, 0);
	cpu->budget += (int64_t)cut - STRING_CHUNK / 4;
	cpu->at = NULL;
	block_stamp_now(cpu);
}
