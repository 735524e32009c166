#include "crack.h"
#include "engine_run.h"
#include "uop_settle.h"
#include <stdlib.h>

#define ENGINE(name, run, summary) void run(struct cpu *cpu);
#include "engines.def"
#undef ENGINE

const struct engine engines[] = {
#define ENGINE(name, run, summary) { #name, summary, run },
#include "engines.def"
#undef ENGINE
	{ NULL, NULL, NULL },
};

const struct engine *engine_find(const char *name)
{
	for (const struct engine *e = engines; e->name; e++)
		if (!strcmp(e->name, name))
			return e;
	return NULL;
}

/* ---- entering blocks ---- */
void block_observe(struct cpu *cpu, struct block *b);
void block_observe(struct cpu *cpu, struct block *b)
{
	uint64_t linear = cpu->code_size == 8 ? b->pc : (b->pc + cpu->seg[SEG_CS].base) & 0xffffffff;
	bool indirect = cpu->blocks->indirect;
	cpu->blocks->indirect = false;
	cpu->rip = b->pc;
	unsigned flags = (cpu->cpl == 3 ? EVF_USER : 0) | (b->straddle ? EVF_STRADDLE : 0);
	if (cpu->vmm.block_enter && cpu->cpl < 3) {
		cpu->vmm.block_enter(cpu->vmm.self, cpu, b->id, linear, indirect);
		event_put(cpu->events, EV_BLOCK, flags, b->insns, b->id, linear); /* it may run, and be fetched, from elsewhere */
		return;
	}
	event_put_block(cpu->events, flags, b->insns, b->bytes, b->id, linear);
}

static const struct uop *engine_enter(struct cpu *cpu, struct block *b)
{
	cpu->block = b;
	if (cpu->blocks->observed)
		block_observe(cpu, b);
	cpu->budget -= b->insns;
	cpu->icount += b->insns;
	return b->uop;
}

const struct uop *engine_resolve(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;
	struct block *from = cpu->block;
	if (cpu->budget <= 0 || cpu->attention || c->flush_wanted || c->bytes > c->max_bytes || (from->key & KEY_TRAP) || from->dead)
		return NULL;
	if (from->end == BLOCK_END_FALL && cpu->rip != from->next_pc[1])
		return NULL; /* a repeated string instruction that goes on */
	if (from->end == BLOCK_END_SYSTEM) { /* what only the dispatcher does: single steps */
		cpu->mode_key = block_mode_key(cpu);
		if (cpu->mode_key & KEY_TRAP || cpu->stop != CPU_RUNNING)
			return NULL;
	}
	struct block *to = block_find(cpu);
	cpu->shadow_sti = cpu->shadow_ss = false; /* they hold for this block's one instruction, which has begun */
	bool known = from->end == BLOCK_END_JUMP || from->end == BLOCK_END_CALL || from->end == BLOCK_END_BRANCH || from->end == BLOCK_END_FALL;
	if (!from->dead && !((from->key | to->key) & KEY_SINGLE)) {
		if (!known || cpu->rip == from->next_pc[0])
			from->next[0] = to;
		if (cpu->rip == from->next_pc[1] && (known || (from->end == BLOCK_END_SYSTEM && to->key == from->key)))
			from->next[1] = to;
	}
	block_stamp_now(cpu);
	return engine_enter(cpu, to);
}

/* ---- exceptions ---- */
/* After cpu_raise*(): takes back what did not retire (icount is settled), and delivers. */
static void engine_deliver(struct cpu *cpu)
{
	if (cpu->at) {
		unsigned cut = cpu->block->insns - cpu->at->insn;
		cpu->rip = cpu_insn_start(cpu);
		cpu->budget += cut;
		event_put(cpu->events, EV_CUT, 0, 0, cut, 0);
		cpu->at = NULL;
	}
	cpu->blocks->indirect = false;
	cpu->budget--; /* a guest whose handler faults at its first instruction retires nothing, and must not keep the engine for ever */
	cpu_deliver(cpu, cpu->raised.vector, cpu->raised.error, false, false, cpu->raised.cr2);
}

/* Single step: #DB after an instruction that began with TF set, except one that is itself a software interrupt or system call, which cleared TF on its way (SDM 3B 17.3.1.4).
 * A MOV SS or POP SS holds it off (SDM 3A 6.8.3). */
static void engine_trap(struct cpu *cpu)
{
	const struct block *b = cpu->block;
	if (b->end == BLOCK_END_SYSTEM && !(cpu->eflags & FLAG_TF)) {
		const struct uop *u = &b->uop[b->uops - 1];
		sys_fn *fn = u->op == UOP_sys_end ? ((const struct uop_sys *)(uintptr_t)u->imm)->fn : NULL;
		if (fn != sys_popf && fn != sys_iret)
			return;
	}
	if (cpu->shadow_ss)
		return;
	cpu->dr[6] |= 1u << 14; /* BS */
	cpu_deliver(cpu, VEC_DB, -1, false, false, 0);
}

/* ---- the dispatcher ---- */
static void engine_block(struct cpu *cpu, engine_go *go)
{
	struct block *b = block_find(cpu);
	cpu->shadow_sti = cpu->shadow_ss = false; /* they hold for this block's one instruction, which has begun */
	block_stamp_now(cpu);
	const struct uop *first = engine_enter(cpu, b);
	go(cpu, first);
	cpu->at = NULL;
	if ((b->key & KEY_TRAP) && cpu->stop == CPU_RUNNING)
		engine_trap(cpu);
}

void engine_run(struct cpu *cpu, engine_go *plain, engine_go *observed)
{
	jmp_buf here, *outer = cpu->escape;
	cpu->at = NULL;
	cpu->escape = &here;
	if (setjmp(here))
		engine_deliver(cpu);
	while (cpu->stop == CPU_RUNNING && cpu->budget > 0 && !cpu->attention) {
		cpu->mode_key = block_mode_key(cpu);
		block_cache_settle(cpu);
		engine_block(cpu, cpu->blocks->observed ? observed : plain);
	}
	cpu->escape = outer;
	block_stamp_now(cpu);
}

void cpu_mode_update(struct cpu *cpu)
{
	block_mode_follow(cpu);
}

/* ---- opcodes outside the subset ---- */
struct unknown_opcodes {
	uint64_t count[ZYDIS_MNEMONIC_MAX_VALUE + 1];
};

struct unknown_opcodes *unknown_opcodes_create(void)
{
	return calloc(1, sizeof(struct unknown_opcodes));
}

void unknown_opcodes_destroy(struct unknown_opcodes *u)
{
	free(u);
}

void unknown_opcodes_count(struct unknown_opcodes *u, unsigned mnemonic)
{
	if (u && mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE)
		u->count[mnemonic]++;
}

bool unknown_opcodes_get(const struct unknown_opcodes *u, unsigned i, const char **mnemonic, uint64_t *count)
{
	if (!u)
		return false;
	for (unsigned m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++)
		if (u->count[m] && i-- == 0) {
			*mnemonic = m == ZYDIS_MNEMONIC_INVALID ? "(undecodable)" : ZydisMnemonicGetString((ZydisMnemonic)m);
			*count = u->count[m];
			return true;
		}
	return false;
}
