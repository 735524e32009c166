#include "lockstep.h"
#include "../isa/block.h"
#include "machine_private.h"

enum { ENGINES_MOST = 8 };

struct side { const struct engine *engine; struct machine *machine; bool chained; };

struct lockstep {
	const struct machine_config *config;
	uint64_t turn;
	struct side side[2 * ENGINES_MOST]; /* [0]: the reference, block by block */
	unsigned sides;
	struct lockstep_report *report;
};

/* ---- making ---- */
static void lockstep_close(struct lockstep *l)
{
	for (unsigned i = 0; i < l->sides; i++) {
		machine_destroy(l->side[i].machine);
		l->side[i].machine = NULL;
	}
}

static bool lockstep_open(struct lockstep *l, char *error, size_t error_size)
{
	for (unsigned i = 0; i < l->sides; i++) {
		struct side *s = &l->side[i];
		s->machine = machine_create(l->config, error, error_size);
		if (!s->machine || !machine_load(s->machine, error, error_size)) {
			l->report->refused = !s->machine;
			lockstep_close(l);
			return false;
		}
		s->machine->engine = s->engine;
	}
	return true;
}

static void sides_choose(struct lockstep *l, const struct engine *const engine[])
{
	l->side[l->sides++] = (struct side){ engine[0], NULL, false };
	for (unsigned i = 1; engine[i] && i < ENGINES_MOST; i++)
		for (unsigned chained = 0; chained < 2; chained++)
			l->side[l->sides++] = (struct side){ engine[i], NULL, chained };
}

/* ---- running ---- */

/* Turns are long, short and in between, so that chains are entered and left in many places. */
static uint64_t turn_length(const struct lockstep *l, uint64_t turn)
{
	const uint64_t length = turn % 4 == 0 ? l->turn : 1 + hash_word(turn, 0) % (turn % 4 == 1 ? 16 : turn % 4 == 2 ? 128 : 1024);
	return length < l->turn ? length : l->turn;
}

/* To the first block boundary where the machine has spent `until` of engine budget. False: its guest has ended. */
static bool machine_advance(struct machine *m, uint64_t until)
{
	while (m->spent < until)
		if (!machine_turn(m, until - m->spent))
			return false;
	return true;
}

static void block_report(const struct machine *m, struct lockstep_report *r)
{
	const struct block *b = m->cpu.block;
	r->boundary = m->cpu.icount;
	if (!b || b->bytes > LOCKSTEP_CODE || b->straddle || !phys_ptr(&m->phys, b->hpa, b->bytes))
		return;
	r->pc = b->pc;
	r->mode = b->key & KEY_CODE_SIZE;
	r->bytes = b->bytes;
	memcpy(r->code, m->phys.bytes + b->hpa, b->bytes);
}

static bool side_differs(struct lockstep *l, struct side *s, bool memory)
{
	struct lockstep_report *r = l->report;
	r->differ = lockstep_states_differ(l->side[0].machine, s->machine, memory, r);
	if (!r->differ)
		return false;
	r->tested = s->engine;
	r->chained = s->chained;
	block_report(l->side[0].machine, r);
	return true;
}

/* The reference and those that go with it take one block each, and are compared; to where the reference has spent `until`. False: the guest has ended, or something differs. */
static bool blocks_run(struct lockstep *l, uint64_t until)
{
	struct machine *reference = l->side[0].machine;
	while (reference->spent < until) {
		const bool more = machine_turn(reference, 1);
		for (unsigned i = 1; i < l->sides; i++) {
			if (l->side[i].chained)
				continue;
			machine_turn(l->side[i].machine, 1);
			if (side_differs(l, &l->side[i], false))
				return false;
		}
		if (!more)
			return false;
		l->report->blocks++;
		l->report->instructions = reference->cpu.icount;
	}
	return true;
}

/* One turn of everybody. False: the guest has ended, or something differs. */
static bool turn_run(struct lockstep *l, uint64_t length, bool memory)
{
	const uint64_t until = l->side[0].machine->spent + length;
	const bool more = blocks_run(l, until);
	for (unsigned i = 1; i < l->sides && !l->report->differ; i++) {
		if (l->side[i].chained)
			machine_advance(l->side[i].machine, more ? until : UINT64_MAX);
		if ((l->side[i].chained || memory || !more) && side_differs(l, &l->side[i], memory || !more))
			return false;
	}
	return more && !l->report->differ;
}

/* ---- narrowing a difference down to a block ---- */

/* A turn of both. Up to `good`, where all is known to be well, the reference need not stop at every block. */
static bool probe_turn(struct lockstep *l, uint64_t to, uint64_t good)
{
	struct machine *reference = l->side[0].machine, *tested = l->side[1].machine;
	bool more = true;
	while (more && reference->spent < to)
		more = machine_turn(reference, reference->spent < good ? to - reference->spent : 1);
	if (!more)
		to = UINT64_MAX;
	while (tested->spent < to && machine_turn(tested, l->side[1].chained ? to - tested->spent : 1))
		;
	return more;
}

/* The reference and one side, from the start to where the reference has spent `until`: do they differ there? */
static bool probe(const struct lockstep *from, unsigned side, uint64_t until, uint64_t good, struct lockstep_report *r)
{
	char error[640];
	struct lockstep l = { .config = from->config, .turn = from->turn, .side = { from->side[0], from->side[side] }, .sides = 2, .report = r };
	bool more = true;
	*r = (struct lockstep_report){ 0 };
	l.side[0].machine = l.side[1].machine = NULL;
	if (!lockstep_open(&l, error, sizeof error))
		return true;
	const struct machine *reference = l.side[0].machine;
	for (uint64_t turn = 0; more && reference->spent < until; turn++) {
		const uint64_t length = turn_length(&l, turn), left = until - reference->spent;
		more = probe_turn(&l, reference->spent + (length < left ? length : left), good);
	}
	const bool differ = side_differs(&l, &l.side[1], true);
	lockstep_close(&l);
	return differ;
}

/* The shortest run from the start that shows a difference; `good` is known to show none. */
static void difference_narrow(struct lockstep *l, uint64_t good)
{
	const uint64_t start = good;
	struct lockstep_report found = *l->report, r;
	unsigned side = 1;
	while (l->side[side].engine != found.tested || l->side[side].chained != found.chained)
		side++;
	uint64_t bad = l->side[0].machine->spent;
	lockstep_close(l);
	while (bad - good > 1) {
		const uint64_t middle = good + (bad - good) / 2;
		if (probe(l, side, middle, start, &r))
			bad = middle;
		else
			good = middle;
	}
	if (!probe(l, side, bad, start, &r))
		return; /* not from the start again: what was found stands */
	r.instructions = found.instructions;
	r.blocks = found.blocks;
	r.turns = found.turns;
	*l->report = r;
}

/* What only shows at the end: statistics, the whole result. */
static void ends_compare(struct lockstep *l)
{
	for (unsigned i = 1; i < l->sides && !l->report->differ; i++) {
		l->report->differ = lockstep_results_differ(l->side[0].machine, l->side[i].machine, l->report);
		l->report->tested = l->side[i].engine;
		l->report->chained = l->side[i].chained;
		l->report->boundary = l->side[0].machine->cpu.icount;
	}
}

bool lockstep_run(const struct machine_config *c, const struct engine *const engine[], uint64_t turn, struct lockstep_report *report, char *error, size_t error_size)
{
	struct lockstep l = { .config = c, .turn = turn ? turn : 1, .report = report };
	uint64_t good = 0, next_memory = LOCKSTEP_MEMORY_EVERY;
	*report = (struct lockstep_report){ 0 };
	sides_choose(&l, engine);
	if (!lockstep_open(&l, error, error_size))
		return false;
	const struct machine *reference = l.side[0].machine;
	for (bool memory = false; turn_run(&l, turn_length(&l, report->turns), memory); memory = reference->cpu.icount >= next_memory) {
		report->turns++;
		if (memory) {
			good = reference->spent;
			next_memory = reference->cpu.icount + LOCKSTEP_MEMORY_EVERY;
		}
	}
	if (report->differ)
		difference_narrow(&l, good);
	else
		ends_compare(&l);
	lockstep_close(&l);
	return true;
}
