#include "crack.h"
#include "engine_dbt.h"
#include "memory.h"
#include <stdlib.h>

/* ---- places ---- */
static unsigned hash_slot(uint64_t hpa, uint64_t pc, uint32_t key)
{
	uint64_t h = (hpa ^ pc << 7 ^ (uint64_t)key << 48) * 0x9e3779b97f4a7c15ull; /* Knuth, TAOCP 3, 6.4: multiplicative hashing */
	return (unsigned)(h >> 48) & (HASH_SLOTS - 1);
}

static unsigned page_slot(uint64_t hpa)
{
	return (unsigned)((hpa >> 12) * 0x9e3779b97f4a7c15ull >> 51) & (PAGE_SLOTS - 1);
}

/* Which of its page_next a list of pages that share a slot goes on by. Most blocks lie in one page: asked first, so that walking a list does not wait for a hash of each block's address. */
static unsigned page_way(const struct block *b, unsigned slot) { return __builtin_expect(b->straddle, 0) ? page_slot(b->hpa) != slot : 0; }

/* ---- creation ---- */
struct block_cache *block_cache_create(size_t max_bytes, struct block_dictionary *dictionary)
{
	struct block_cache *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->crack = malloc(sizeof *c->crack);
	c->nowhere = calloc(1, sizeof *c->nowhere);
	if (!c->crack || !c->nowhere) {
		block_cache_destroy(c);
		return NULL;
	}
	crack_create(c->crack);
	c->nowhere->dead = true;
	c->nowhere->next[0] = c->nowhere->next[1] = c->nowhere;
	for (unsigned i = 0; i < JUMP_SLOTS; i++)
		c->jump[i] = c->nowhere;
	c->max_bytes = max_bytes;
	c->dictionary = dictionary;
	return c;
}

/* Costs what there is to free, not what the tables could hold: hostile runs do this all the time. */
static void cache_empty(struct block_cache *c)
{
	for (struct block *b = c->all, *next; b; b = next) {
		next = b->all_next;
		c->hash[hash_slot(b->hpa, b->pc, b->key)] = NULL;
		c->page[page_slot(b->hpa)] = NULL;
		if (b->straddle)
			c->page[page_slot(b->hpa2)] = NULL;
		*block_jump_slot(c, b->pc) = c->nowhere;
		free(b);
	}
	c->all = NULL;
	c->generation++;
	c->bytes = 0;
	c->flush_wanted = false;
}

void block_cache_destroy(struct block_cache *c)
{
	if (!c)
		return;
	cache_empty(c);
	dbt_destroy(c->dbt);
	free(c->nowhere);
	free(c->crack);
	free(c);
}

static void block_unlink_hash(struct block_cache *c, struct block *b)
{
	struct block **at = &c->hash[hash_slot(b->hpa, b->pc, b->key)];
	while (*at != b)
		at = &(*at)->hash_next;
	*at = b->hash_next;
}

/* ---- death ---- */
/* The running block: what follows the present instruction becomes a way out. */
static void block_leave_next(struct cpu *cpu, struct block *b)
{
	if (!cpu->at)
		return;
	for (unsigned i = 0; i < b->uops; i++)
		if (b->uop[i].insn > cpu->at->insn) {
			b->uop[i].op = UOP_leave_block;
			b->uop[i].fn = (cpu->blocks->observed ? uop_threaded_observed : uop_threaded)[UOP_leave_block];
			return;
		}
}

static void block_kill(struct cpu *cpu, struct block *b)
{
	if (b->dead)
		return;
	b->dead = true;
	b->stamp = STAMP_NEVER;
	if (b == cpu->block)
		block_leave_next(cpu, b);
	block_unlink_hash(cpu->blocks, b);
}

static bool block_in_page(const struct block *b, uint64_t hpa)
{
	return b->hpa >> 12 == hpa >> 12 || (b->straddle && b->hpa2 >> 12 == hpa >> 12);
}

/* A list of pages that share a slot: a block is in its first page's list through page_next[0], in that of its second page, when that is another list, through [1]. */
void block_cache_invalidate_page(struct cpu *cpu, uint64_t hpa)
{
	struct block_cache *c = cpu->blocks;
	if (!c)
		return;
	for (struct block **at = &c->page[page_slot(hpa)], *b = *at; b; b = *at) {
		unsigned way = page_way(b, page_slot(hpa));
		if (block_in_page(b, hpa))
			block_kill(cpu, b);
		if (b->dead) /* a straddling one stays, dead, in its other list until it is looked at */
			*at = b->page_next[way];
		else
			at = &b->page_next[way];
	}
}

/* Whether [hpa, hpa+size), within one page, has bytes of the block. */
static bool block_overlaps(const struct block *b, uint64_t hpa, unsigned size)
{
	unsigned first = b->straddle ? 4096 - (unsigned)(b->hpa & 4095) : b->bytes;
	bool in_first = hpa < b->hpa + first && hpa + size > b->hpa;
	return in_first || (b->straddle && hpa < b->hpa2 + (b->bytes - first) && hpa + size > b->hpa2);
}

/* Where the immediate of MOV register, imm32 or imm64 is in its bytes (SDM 2B MOV: B8+r, with or without REX); size 0: it is another instruction. */
struct immediate_place { uint8_t at, size; };

static struct immediate_place movi_place(const uint8_t *code, unsigned code_size)
{
	bool rex = code_size == 8 && (code[0] & 0xf0) == 0x40;
	if (code_size == 2 || (code[rex] & 0xf8) != 0xb8)
		return (struct immediate_place){ 0, 0 };
	return (struct immediate_place){ (uint8_t)(1 + rex), rex && code[0] & 8 ? 8 : 4 };
}

/*
 * A store that has put another constant into a MOV to a register, as compilers at run time do it: the micro-op gets the new one, and the block lives on. False: it must die. Not where the
 * block has a number: that stands for its bytes.
 */
static bool block_patch(struct cpu *cpu, struct block *b, uint64_t hpa, unsigned size)
{
	if (b == cpu->block || b->straddle || b->id != UINT32_MAX || hpa < b->hpa)
		return false;
	for (unsigned i = 0; i < b->uops; i++) {
		struct uop *u = &b->uop[i];
		bool alone = (!i || u[-1].insn != u->insn) && i + 1 < b->uops && u[1].insn != u->insn;
		if (u->op != UOP_movi || !alone)
			continue;
		const uint8_t *code = cpu->phys->bytes + b->hpa + u->offset;
		struct immediate_place p = movi_place(code, b->key & KEY_CODE_SIZE);
		uint64_t from = b->hpa + u->offset + p.at;
		if (hpa < from || hpa + size > from + p.size)
			continue;
		u->imm = 0;
		memcpy(&u->imm, code + p.at, p.size);
		b->heat = 0;
		dbt_drop(cpu->blocks->dbt, b);
		return true;
	}
	return false;
}

bool block_cache_store(struct cpu *cpu, uint64_t hpa, unsigned size)
{
	struct block_cache *c = cpu->blocks;
	unsigned slot = page_slot(hpa);
	bool left = false, hit = false;
	for (struct block **at = &c->page[slot], *b = *at; b; b = *at) {
		unsigned way = page_way(b, slot);
		if (!b->dead && block_overlaps(b, hpa, size)) {
			hit = true;
			if (!block_patch(cpu, b, hpa, size))
				block_kill(cpu, b);
		}
		left |= !b->dead && block_in_page(b, hpa);
		if (b->dead)
			*at = b->page_next[way];
		else
			at = &b->page_next[way];
	}
	c->misses[slot] = hit ? 0 : c->misses[slot] + (c->misses[slot] < STORE_MISSES);
	if (!left || c->misses[slot] < STORE_MISSES || (cpu->block && block_in_page(cpu->block, hpa))) /* the running block would have to stop halfway */
		return left;
	c->misses[slot] = 0;
	block_cache_invalidate_page(cpu, hpa);
	return false;
}

void block_cache_invalidate_all(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;
	if (!c)
		return;
	for (struct block *b = c->all; b; b = b->all_next)
		block_kill(cpu, b);
	c->flush_wanted = true;
}

/* The same blocks for the other engine loop: what a block means does not depend on who watches. */
static void cache_dress(struct block_cache *c)
{
	uop_fn *const *table = c->observed ? uop_threaded_observed : uop_threaded;
	for (struct block *b = c->all; b; b = b->all_next)
		for (unsigned i = 0; i < b->uops; i++)
			b->uop[i].fn = table[b->uop[i].op];
}

/* ---- making room ---- */
/* Takes the dead blocks out of the list of pages that share a slot. */
static void page_clean(struct block_cache *c, unsigned slot)
{
	for (struct block **at = &c->page[slot], *b = *at; b; b = *at) {
		unsigned way = page_way(b, slot);
		if (b->dead)
			*at = b->page_next[way];
		else
			at = &b->page_next[way];
	}
}

/* Takes everything that points to a dead block to nowhere. */
static void cache_point_away(struct block_cache *c)
{
	for (struct block *b = c->all; b; b = b->all_next) {
		if (!b->dead) {
			for (unsigned way = 0; way < 2; way++)
				if (b->next[way]->dead)
					b->next[way] = c->nowhere;
			continue;
		}
		if (*block_jump_slot(c, b->pc) == b)
			*block_jump_slot(c, b->pc) = c->nowhere;
		page_clean(c, page_slot(b->hpa));
		if (b->straddle)
			page_clean(c, page_slot(b->hpa2));
	}
	if (c->dbt)
		dbt_forget_dead(c->dbt);
}

/* Frees the dead blocks, and so many of the oldest that a quarter of the room is free. */
static void cache_collect(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;
	size_t live = 0, most = c->max_bytes / 4 * 3;
	cpu->block = NULL;
	for (struct block *b = c->all; b; b = b->all_next) /* the newest first */
		if (!b->dead && (live += b->size) > most)
			block_kill(cpu, b);
	cache_point_away(c);
	for (struct block **at = &c->all, *b = *at; b; b = *at) {
		if (!b->dead) {
			at = &b->all_next;
			continue;
		}
		*at = b->all_next;
		c->bytes -= b->size;
		free(b);
	}
	c->collections++;
}

/* Numbers are known to the blocks that are left, and to a VMM. Without memory for the list all entries stay. */
static void dictionary_trim(struct cpu *cpu, struct block_dictionary *d)
{
	uint8_t *kept = calloc(d->count, 1);
	if (!kept)
		return;
	event_drain(cpu->events); /* it names entries */
	for (const struct block *b = cpu->blocks->all; b; b = b->all_next)
		if (b->id < d->count)
			kept[b->id] = 1;
	if (cpu->vmm.blocks_keep)
		cpu->vmm.blocks_keep(cpu->vmm.self, kept);
	block_dictionary_trim(d, kept);
	free(kept);
}

void block_cache_settle(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;
	bool observed = cpu->events->on || cpu->vmm.block_enter;
	if (observed != c->observed) {
		c->observed = observed;
		if (c->numbered)
			cache_dress(c);
		else
			c->flush_wanted = true;
	}
	if (c->flush_wanted || c->bytes > c->max_bytes) {
		if (c->flush_wanted)
			cache_empty(c);
		else
			cache_collect(cpu);
		cpu->block = NULL;
		if (c->dictionary && block_dictionary_crowded(c->dictionary))
			dictionary_trim(cpu, c->dictionary);
	}
}

/* ---- fetching ---- */
struct fetch {
	const uint8_t *real; /* NULL: no memory there */
	uint64_t hpa;
};

/* `before`: bytes of the same instruction in the page before, which has been fetched. */
static struct fetch fetch_page(struct cpu *cpu, uint64_t linear, unsigned before)
{
	struct fast_entry *e = &cpu->mem.table[linear >> 12 & cpu->mem.mask];
	struct mem_fill fill = { 0 };
	if (e->exec == ((linear & ~0xfffull) | cpu->mem.tag)) {
		const uint8_t *real = (const uint8_t *)(uintptr_t)(linear + e->addend);
		return (struct fetch){ real, (uint64_t)(real - cpu->phys->bytes) };
	}
	bool ok = cpu->mem.fill(cpu->mem.self, cpu, linear, ACCESS_EXEC, false, 1 + before, &fill);
	block_stamp_now(cpu);
	if (!ok)
		cpu_raise_fault(cpu, &fill.fault);
	return (struct fetch){ fill.real, fill.hpa };
}

static bool fetch_canonical(const struct cpu *cpu, uint64_t pc)
{
	unsigned drop = cpu->cr4 & CR4_LA57 ? 7 : 16;
	return cpu->code_size != 8 || (uint64_t)((int64_t)(pc << drop) >> drop) == pc;
}

/* Bytes from pc that CS allows; raises #GP(0) for none (SDM 3A 5.3). */
static uint64_t fetch_room(struct cpu *cpu)
{
	if (!fetch_canonical(cpu, cpu->rip))
		cpu_raise_error(cpu, VEC_GP, 0);
	if (cpu->code_size == 8)
		return ~0ull;
	uint32_t limit = cpu->seg[SEG_CS].limit;
	if (cpu->rip > limit)
		cpu_raise_error(cpu, VEC_GP, 0);
	return limit - cpu->rip + 1;
}

/* #GP for an instruction that lies where none may, after `bytes` of it have been fetched. */
static _Noreturn void fetch_refuse(struct cpu *cpu, uint64_t linear, unsigned bytes)
{
	event_put(cpu->events, EV_PROBE, EVF_FETCH | memory_flags(cpu, false), bytes, 0, linear);
	cpu_raise_error(cpu, VEC_GP, 0);
}

/* ---- building ---- */
static struct block *block_make(struct cpu *cpu, struct crack *k, const struct fetch *at)
{
	struct block_cache *c = cpu->blocks;
	size_t sys_at = sizeof(struct block) + k->uops * sizeof(struct uop), bytes = sys_at + k->syss * sizeof(struct uop_sys);
	struct block *b = malloc(bytes);
	if (!b)
		abort(); /* the real machine is out of memory: nothing can go on */
	*b = (struct block){ .size = (uint32_t)bytes, .pc = k->pc, .insns = (uint8_t)k->insns, .end = (uint8_t)k->end, .key = k->key, .id = UINT32_MAX, .hpa = at->hpa, .bytes = (uint16_t)k->bytes,
		.uops = (uint16_t)k->uops, .code = { c->code_none, c->code_none, c->code_none }, .next = { c->nowhere, c->nowhere }, .next_pc = { k->next_pc[0], k->next_pc[1] } };
	memcpy(b->uop, k->uop, k->uops * sizeof(struct uop));
	struct uop_sys *sys = (struct uop_sys *)((char *)b + sys_at);
	memcpy(sys, k->sys, k->syss * sizeof *sys);
	uop_fn *const *table = c->observed ? uop_threaded_observed : uop_threaded;
	for (unsigned i = 0; i < b->uops; i++) {
		b->uop[i].fn = table[b->uop[i].op];
		if (b->uop[i].op == UOP_sys || b->uop[i].op == UOP_sys_end)
			b->uop[i].imm = (uint64_t)(uintptr_t)&sys[b->uop[i].imm];
	}
	c->bytes += bytes;
	b->all_next = c->all;
	c->all = b;
	return b;
}

static void block_place(struct cpu *cpu, struct block *b, bool memory)
{
	struct block_cache *c = cpu->blocks;
	struct block **h = &c->hash[hash_slot(b->hpa, b->pc, b->key)], **p = &c->page[page_slot(b->hpa)];
	b->hash_next = *h;
	*h = b;
	b->page_next[0] = *p;
	*p = b;
	if (b->straddle && page_slot(b->hpa2) != page_slot(b->hpa)) {
		p = &c->page[page_slot(b->hpa2)];
		b->page_next[1] = *p;
		*p = b;
	}
	b->open = !memory;
	if (memory)
		cpu->mem.mark_code(cpu->mem.self, b->hpa);
	if (memory && b->straddle)
		cpu->mem.mark_code(cpu->mem.self, b->hpa2);
	block_stamp_now(cpu);
}

/* The first instruction goes on in the next page, or beyond the limit of CS. */
static struct block *block_build_straddling(struct cpu *cpu, struct crack *k, const struct fetch *first, uint64_t linear, uint64_t room)
{
	uint8_t bytes[32];
	unsigned have = 4096 - (unsigned)(linear & 4095);
	if (room <= have)
		fetch_refuse(cpu, linear, 1);
	uint64_t next = linear + have;
	if (cpu->code_size != 8)
		next &= 0xffffffff;
	if (!fetch_canonical(cpu, next))
		fetch_refuse(cpu, linear, 1);
	struct fetch second = fetch_page(cpu, next, have);
	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = i < have ? first->real ? first->real[i] : 0xff : second.real ? second.real[i - have] : 0xff;
	k->code = bytes;
	k->avail = room < sizeof bytes ? (unsigned)room : (unsigned)sizeof bytes;
	k->max_insns = 1;
	if (crack_block(k) != CRACK_DONE)
		fetch_refuse(cpu, linear, have + 1); /* beyond the limit */
	struct block *b = block_make(cpu, k, first);
	b->straddle = true;
	b->hpa2 = second.hpa;
	k->facts.code = bytes;
	if (cpu->blocks->dictionary && (cpu->blocks->observed || cpu->blocks->numbered))
		b->id = block_dictionary_enter(cpu->blocks->dictionary, &k->facts);
	block_place(cpu, b, first->real && second.real);
	return b;
}

static struct block *block_build(struct cpu *cpu, const struct fetch *at, uint64_t linear, uint32_t key, uint64_t room)
{
	static const uint8_t open_bus[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct crack *k = cpu->blocks->crack;
	unsigned page = 4096 - (unsigned)(linear & 4095);
	k->code = at->real ? at->real : open_bus;
	k->avail = at->real ? page : page < sizeof open_bus ? page : (unsigned)sizeof open_bus;
	if (room < k->avail)
		k->avail = (unsigned)room;
	k->pc = cpu->rip;
	k->key = key;
	k->max_insns = key & (KEY_SINGLE | KEY_TRAP) ? 1 : BLOCK_MAX_INSNS;
	if (crack_block(k) == CRACK_MORE_BYTES)
		return block_build_straddling(cpu, k, at, linear, room);
	struct block *b = block_make(cpu, k, at);
	if (cpu->blocks->dictionary && (cpu->blocks->observed || cpu->blocks->numbered))
		b->id = block_dictionary_enter(cpu->blocks->dictionary, &k->facts);
	block_place(cpu, b, at->real != NULL);
	return b;
}

/* ---- finding ---- */
/* Flat: from 0 to 4 GiB, and of a type that needs no further look at its accesses. */
static inline uint32_t segment_key(const struct segment *s, unsigned mask, unsigned want, uint32_t key)
{
	bool flat = (s->attributes & mask) == want && s->base == 0 && s->limit == 0xffffffff;
	return flat ? key : 0;
}

uint32_t block_mode_key_segments(const struct cpu *cpu)
{
	enum { DATA = SEGA_P | SEGA_S | SEGA_WRITE_READ, CODE = DATA | SEGA_CODE };
	uint32_t key = 0;
	key |= segment_key(&cpu->seg[SEG_CS], CODE | SEGA_UNUSABLE, CODE, KEY_FLAT_CS);
	key |= segment_key(&cpu->seg[SEG_SS], CODE | SEGA_UNUSABLE | SEGA_DOWN_CONFORMING, DATA, KEY_FLAT_SS);
	key |= segment_key(&cpu->seg[SEG_DS], CODE | SEGA_UNUSABLE | SEGA_DOWN_CONFORMING, DATA, KEY_FLAT_DS);
	key |= segment_key(&cpu->seg[SEG_ES], CODE | SEGA_UNUSABLE | SEGA_DOWN_CONFORMING, DATA, KEY_FLAT_ES);
	return key | (cpu->seg[SEG_SS].attributes & SEGA_DB ? 0 : KEY_STACK16);
}

static bool block_still_there(struct cpu *cpu, struct block *b, uint64_t linear)
{
	if (!b->straddle)
		return true;
	uint64_t next = (linear | 4095) + 1;
	struct fetch second = fetch_page(cpu, cpu->code_size == 8 ? next : next & 0xffffffff, (unsigned)(next - linear));
	return second.hpa == b->hpa2;
}

struct block *block_find(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;
	uint32_t key = cpu->mode_key | (cpu->shadow_sti || cpu->shadow_ss ? KEY_SINGLE : 0);
	bool chained = key & KEY_FLAT_CS && !(key & (KEY_SINGLE | KEY_TRAP));
	struct block **slot = block_jump_slot(c, cpu->rip), *b = *slot;
	if (chained && b->pc == cpu->rip && b->key == key && b->stamp == block_stamp(cpu))
		return b;
	uint64_t room = fetch_room(cpu);
	uint64_t linear = cpu->code_size == 8 ? cpu->rip : (cpu->rip + cpu->seg[SEG_CS].base) & 0xffffffff;
	struct fetch at = fetch_page(cpu, linear, 0);
	for (b = c->hash[hash_slot(at.hpa, cpu->rip, key)]; b; b = b->hash_next)
		if (b->hpa == at.hpa && b->pc == cpu->rip && b->key == key)
			break;
	if (b && (b->bytes > room || !block_still_there(cpu, b, linear))) {
		block_kill(cpu, b);
		b = NULL;
	}
	if (!b)
		b = block_build(cpu, &at, linear, key, room);
	if (chained && !b->open) {
		b->stamp = block_stamp(cpu);
		if (*slot != b)
			dbt_return_cut(*slot);
		*slot = b;
	}
	return b;
}
