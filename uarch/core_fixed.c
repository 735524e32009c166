/*
 * Core model "fixed": an in-order processor. Every instruction costs preset.milli_cpi; loads, fetches and walks stall for what they take beyond an L1 hit; stores retire into a
 * store buffer and do not stall, though they change the caches all the same.
 *
 * Invariant: nothing here depends on where a batch ends. What one event leaves for a later one (translation-cache fragment, refund, last line fetched) is in struct timing.
 *
 * VMM code runs from a direct map of large global pages: its loads and stores go to the caches by physical address and never miss a TLB.
 */
#include "timing_private.h"

enum sensitive_price { FREE, SERIALIZE, HALF_SYSCALL, PORT_IO };

/* What a sensitive instruction costs natively beyond milli_cpi. Missing rows are FREE: HLT (its time is EV_IDLE), INT n (its delivery is priced), flag and segment instructions. */
static const uint8_t sensitive_prices[SENS_COUNT] = {
	[SENS_CR0_WRITE] = SERIALIZE, [SENS_CR3_WRITE] = SERIALIZE, [SENS_CR4_WRITE] = SERIALIZE, [SENS_DR_ACCESS] = SERIALIZE,
	[SENS_LMSW] = SERIALIZE, [SENS_INVLPG] = SERIALIZE, [SENS_INVPCID] = SERIALIZE, [SENS_INVD] = SERIALIZE, [SENS_MSR_WRITE] = SERIALIZE,
	[SENS_CPUID] = SERIALIZE, [SENS_IRET] = SERIALIZE, [SENS_LGDT] = SERIALIZE, [SENS_LIDT] = SERIALIZE, [SENS_LLDT] = SERIALIZE, [SENS_LTR] = SERIALIZE,
	[SENS_SYSCALL] = HALF_SYSCALL, [SENS_SYSRET] = HALF_SYSCALL, [SENS_SYSENTER] = HALF_SYSCALL, [SENS_SYSEXIT] = HALF_SYSCALL,
	[SENS_IO_IN] = PORT_IO, [SENS_IO_OUT] = PORT_IO,
};

/* Charges work that an EV_EXIT right behind would replace: the processor exits instead of doing it. Chains (INT n, then its delivery) are taken back together. */
static void provisional_charge(struct timing *t, uint64_t sequence, enum cause c, uint64_t cycles)
{
	timing_charge(t, c, cycles);
	t->refund = t->refund_at == sequence && t->refund_cause == c ? t->refund + cycles : cycles;
	t->refund_cause = c;
	t->refund_at = sequence + 1;
}

/* Thousandths of VMM code as whole cycles; the rest waits. */
static uint64_t vmm_whole(struct timing *t, uint64_t thousandths)
{
	uint64_t sum = t->carry + thousandths;
	t->carry = sum % 1000;
	return sum / 1000;
}

static void vmm_charge(struct timing *t, uint64_t cycles)
{
	timing_charge(t, t->vmm, cycles);
	t->work[t->work_kind] += cycles;
	if (t->exit_reason < TIMING_EXITS)
		t->exit[t->exit_reason].handler_cycles += cycles;
}

/* ---- translation ---- */

#define NOWHERE (~0ull) /* the translation faulted */

/* One lookup in the modelled TLBs with what it costs. Returns the physical address or NOWHERE. */
static uint64_t translate_slow(struct timing *t, const struct paging *p, uint64_t gva, enum access access, unsigned flags, bool staged)
{
	struct tlb_outcome o;
	tlb_model_access_slow(t->tlb, p, gva, access, flags, &o);
	if (o.result == TLB_HIT_L2)
		timing_charge(t, t->guest, t->preset.l2_tlb_hit);
	if (o.refs || o.result == TLB_WALK)
		timing_walk(t, &o, staged);
	return o.faulted ? NOWHERE : o.hpa;
}

static inline uint64_t translate(struct timing *t, const struct paging *p, uint64_t gva, enum access access, unsigned flags)
{
	uint64_t hpa;
	if (p->format == PAGING_IDENTITY && !p->space)
		return gva; /* paging is off: no TLB is asked */
	if (__builtin_expect(tlb_model_access_fast(t->tlb, p, gva, access, flags, &hpa), 1))
		return hpa;
	return translate_slow(t, p, gva, access, flags, false);
}

/* ---- instruction fetch ---- */

/* The lines of [hpa, hpa + bytes), within a page. The line fetched last is at hand. */
static inline void lines_fetch(struct timing *t, uint64_t hpa, unsigned bytes)
{
	unsigned shift = t->memory.l1i.line_shift;
	uint64_t line = hpa >> shift, end = (hpa + bytes - 1) >> shift;
	if (line == t->fetch_line && line++ == end)
		return;
	t->fetch_line = end;
	do
		timing_charge(t, t->guest, hierarchy_stall(&t->memory, &t->memory.l1i, line << shift, false));
	while (line++ != end);
}

/* A block whose one instruction crosses into a second page. */
static __attribute__((noinline)) void code_straddle(struct timing *t, const struct paging *p, uint64_t pc, unsigned bytes, unsigned flags)
{
	unsigned here = 0x1000 - (pc & 0xfff);
	uint64_t first = translate(t, p, pc, ACCESS_EXEC, flags);
	if (first != NOWHERE)
		lines_fetch(t, first, here);
	uint64_t second = translate(t, p, pc + here, ACCESS_EXEC, flags);
	if (second != NOWHERE)
		lines_fetch(t, second, bytes - here);
}

static inline void code_fetch(struct timing *t, const struct paging *p, uint64_t pc, unsigned bytes, unsigned flags)
{
	if (__builtin_expect((pc ^ (pc + bytes - 1)) >> 12, 0)) {
		code_straddle(t, p, pc, bytes, flags);
		return;
	}
	uint64_t hpa = translate(t, p, pc, ACCESS_EXEC, flags);
	if (hpa != NOWHERE)
		lines_fetch(t, hpa, bytes);
}

/* Translated code is fetched from the VMM's memory, which large global pages map. */
static __attribute__((noinline)) void fragment_fetch(struct timing *t)
{
	t->milli[CAUSE_TRANSLATION] += (uint64_t)t->tc_extra * t->preset.milli_cpi;
	lines_fetch(t, t->tc_address, t->tc_bytes ? t->tc_bytes : 1);
}

static inline void block_enter(struct timing *t, const struct paging *p, const struct event *e)
{
	const struct block_dictionary *d = t->port.blocks;
	unsigned bytes = d && e->id < d->count ? d->entry[e->id].bytes : 4u * e->aux;
	t->guest = e->flags & EVF_USER ? CAUSE_GUEST_USER : CAUSE_GUEST_KERNEL;
	t->milli[t->guest] += (uint64_t)e->aux * t->preset.milli_cpi;
	if (e->addr != t->next_pc && t->next_pc != ~0ull)
		timing_charge(t, t->guest, t->preset.branch_taken);
	t->instructions += e->aux;
	t->next_pc = e->addr + bytes;
	t->translated = t->tc_pending;
	t->tc_pending = false;
	if (t->translated)
		fragment_fetch(t);
	else
		code_fetch(t, p, e->addr, bytes ? bytes : 1, e->flags);
}

static void block_cut(struct timing *t, const struct event *e)
{
	uint64_t back = (uint64_t)e->id * t->preset.milli_cpi;
	t->milli[t->guest] -= back < t->milli[t->guest] ? back : t->milli[t->guest];
	t->instructions -= e->id < t->instructions ? e->id : t->instructions;
	t->next_pc = ~0ull;
}

/* ---- data ---- */

/* The line at hpa. Stores go to the store buffer and do not stall. */
static inline void line_access(struct timing *t, uint64_t hpa, bool write, bool stall)
{
	uint32_t cycles = hierarchy_stall(&t->memory, &t->memory.l1d, hpa, write);
	if (stall)
		timing_charge(t, t->guest, cycles);
}

/* The part of an access in a second line, and perhaps a second page. */
static __attribute__((noinline)) void data_split(struct timing *t, const struct paging *p, const struct event *e, uint64_t hpa, bool write, bool stall)
{
	uint64_t last = e->addr + e->aux - 1u;
	if ((e->addr ^ last) >> 12)
		hpa = translate(t, p, last & ~0xfffull, write ? ACCESS_WRITE : ACCESS_READ, e->flags);
	else
		hpa += e->aux - 1u;
	if (hpa != NOWHERE)
		line_access(t, hpa, write, stall);
}

/* An access that did not complete: its walk happened, no more. */
static __attribute__((noinline)) void data_fault(struct timing *t, const struct paging *p, const struct event *e, bool write)
{
	translate_slow(t, p, e->addr, e->flags & EVF_FETCH ? ACCESS_EXEC : write ? ACCESS_WRITE : ACCESS_READ, e->flags, false);
}

static inline __attribute__((always_inline)) void data_access(struct timing *t, const struct paging *p, const struct event *e, bool write, bool stall)
{
	if (__builtin_expect(e->flags & EVF_FAULT, 0)) {
		data_fault(t, p, e, write);
		return;
	}
	uint64_t hpa = translate(t, p, e->addr, write ? ACCESS_WRITE : ACCESS_READ, e->flags);
	if (hpa == NOWHERE)
		return;
	line_access(t, hpa, write, stall);
	uint64_t last = e->addr + e->aux - 1; /* aux is never 0 */
	if (__builtin_expect((e->addr ^ last) >> t->memory.l1d.line_shift, 0))
		data_split(t, p, e, hpa, write, stall);
}

/* ---- the VMM and the system ---- */

static void exit_account(struct timing *t, const struct event *e, uint64_t sequence)
{
	unsigned reason = e->id < TIMING_EXITS ? e->id : TIMING_EXITS - 1;
	bool leaving = e->kind == EV_EXIT;
	uint64_t cycles = leaving ? t->preset.exit_cost[e->aux & 3] : t->preset.entry_cost[e->aux & 3];
	if (leaving && t->refund_at == sequence)
		t->cause[t->refund_cause] -= t->refund;
	timing_charge(t, CAUSE_TRANSITIONS, cycles);
	t->exit[reason].transition_cycles += cycles;
	t->exit[reason].count += leaving;
	t->exit_reason = leaving ? reason : TIMING_EXITS;
	t->work_kind = 0;
	t->vmm = t->port.work_cause && t->port.works ? (enum cause)t->port.work_cause[0] : CAUSE_VMM;
	t->refund_at = ~0ull;
}

static void handler_begin(struct timing *t, const struct event *e)
{
	t->work_kind = e->id < TIMING_EXITS ? e->id : TIMING_EXITS - 1;
	t->vmm = t->port.work_cause && e->id < t->port.works ? (enum cause)t->port.work_cause[e->id] : CAUSE_VMM;
}

static void sensitive_charge(struct timing *t, const struct event *e, uint64_t sequence)
{
	const struct preset *p = &t->preset;
	unsigned price = e->id < SENS_COUNT && !t->translated ? sensitive_prices[e->id] : FREE; /* translated code has something else in its place */
	const uint64_t cycles[] = { [FREE] = 0, [SERIALIZE] = p->serialize, [HALF_SYSCALL] = p->syscall / 2, [PORT_IO] = p->port_io };
	provisional_charge(t, sequence, price == PORT_IO ? CAUSE_DEVICES : t->guest, cycles[price]);
}

static void delivery_charge(struct timing *t, uint64_t sequence)
{
	provisional_charge(t, sequence, t->guest, t->preset.exception);
	t->guest = CAUSE_GUEST_KERNEL; /* the pushes that follow, and the handler */
	t->next_pc = ~0ull;
}

/* What the filter left out: hits in the first level of everything. */
static void skipped_count(struct timing *t, const struct paging *p, const struct event *e, uint64_t sequence)
{
	enum cause guest = e->flags & EVF_USER ? CAUSE_GUEST_USER : CAUSE_GUEST_KERNEL;
	uint64_t hpa = e->addr - 1;
	t->refund_at += t->refund_at == sequence && e->flags & EVF_EARLIER;
	if (e->kind == EV_SKIPPED) {
		t->memory.l1d.access += e->id;
		tlb_model_skipped(t->tlb, p, e->id, e->addr >> 32);
		t->instructions += (uint32_t)e->addr;
		t->milli[guest] += (uint64_t)(uint32_t)e->addr * t->preset.milli_cpi;
	} else if (e->kind == EV_SKIPPED_CODE) {
		timing_charge(t, guest, (uint64_t)e->id * t->preset.branch_taken);
		t->memory.l1i.access += e->addr;
	} else {
		t->next_pc = e->addr;
		t->fetch_line = tlb_model_peek(t->tlb, p, hpa, &hpa) ? hpa >> t->memory.l1i.line_shift : ~0ull;
	}
}

/* Everything but blocks and guest data. */
static void event_consume_slow(struct timing *t, const struct paging *p, const struct event *e, uint64_t sequence)
{
	switch (e->kind) {
	case EV_CUT: block_cut(t, e); break;
	case EV_REP: t->milli[t->guest] += (uint64_t)e->id * t->preset.rep_iteration_milli; break;
	case EV_SENSITIVE: sensitive_charge(t, e, sequence); break;
	case EV_EXCEPTION: case EV_INTERRUPT: delivery_charge(t, sequence); break;
	case EV_IDLE: timing_charge(t, CAUSE_IDLE, e->addr); break;
	case EV_MARK: timing_mark(t, e); break;
	case EV_EXIT: case EV_ENTRY: exit_account(t, e, sequence); break;
	case EV_HANDLER: handler_begin(t, e); break;
	case EV_VMM_WORK: vmm_charge(t, vmm_whole(t, (uint64_t)e->id * t->preset.vmm_milli_cpi)); break;
	case EV_VMM_LOAD: vmm_charge(t, hierarchy_stall(&t->memory, &t->memory.l1d, e->addr, false)); break;
	case EV_VMM_STORE: hierarchy_access(&t->memory, &t->memory.l1d, e->addr, true); break;
	case EV_VMCS_READ: vmm_charge(t, (uint64_t)e->id * t->preset.vmread); break;
	case EV_VMCS_WRITE: vmm_charge(t, (uint64_t)e->id * t->preset.vmwrite); break;
	case EV_TC_JUMP: timing_charge(t, CAUSE_TRANSLATION, hierarchy_access(&t->memory, &t->memory.l1d, e->addr, false)); break;
	case EV_TC_FETCH:
		t->tc_pending = true;
		t->tc_address = e->addr;
		t->tc_bytes = e->id;
		t->tc_extra = e->aux;
		break;
	case EV_TLB_FLUSH: tlb_model_flush(t->tlb, (enum tlb_flush)e->id, e->aux, e->addr, p); break;
	case EV_SKIPPED: case EV_SKIPPED_CODE: case EV_SKIPPED_TO: skipped_count(t, p, e, sequence); break;
	case EV_VALUE: case EV_STATE: case EV_HYPERCALL: case EV_IRQ_RAISED: case EV_DEVICE: case EV_PROBE: /* take no time, and do not come between an instruction and its exit */
		t->refund_at += t->refund_at == sequence;
		break;
	default: break; /* EV_TABLE_PAGE, EV_TABLE_FORGET, EV_TRANSLATE: bookkeeping */
	}
}

/* ---- the common case ---- */

/*
 * What the loop keeps in registers. Most are counts that will be added: whoever adds to the same sums meanwhile does no harm. Before an event that reads them, or changes who pays,
 * lane_settle() gives them back, and lane_begin() takes them up again; so the sums are those of one event at a time.
 *
 * Every access that the filter answers moves its clock by one, so the clock counts loads and stores: what else moved it is in `other`. Without paging it counts them all.
 */
struct lane {
	uint64_t clock, began, other;             /* the filter's clock, now and when the lane began; moves of it by fetches and by slow accesses */
	uint64_t slow;                            /* loads and stores that went to L1D with a slow translation */
	uint64_t fetches, lines;                  /* L1 ITLB accesses by the filter; L1I accesses */
	uint64_t instructions, taken;             /* of blocks since it began */
	uint64_t next_pc, fetch_line;             /* as in struct timing */
	enum cause guest;
	/* constants */
	const struct block_static *block;         /* the dictionary; blocks: how many; 0 sends the next block the slow way, to its fragment */
	uint32_t blocks;
	const struct tlb_fast *filter;
	uint64_t *l1d, l1d_mask, l1d_ways, *l1i, l1i_mask, l1i_ways;
};

#define ALWAYS static inline __attribute__((always_inline))

/*
 * What a copy of the loop knows beforehand. paged: TLBs are asked. usual: lines of 64 bytes, powers of two of sets with four ways or more in L1, LRU in the first-level TLBs.
 * staged: what misses L1 waits (hierarchy_put()).
 */
struct known { bool paged, usual, staged; };

ALWAYS void lane_begin(struct timing *t, struct lane *l, struct known k)
{
	const struct block_dictionary *d = t->port.blocks;
	*l = (struct lane){ .next_pc = t->next_pc, .fetch_line = t->fetch_line, .guest = t->guest };
	l->block = d ? d->entry : NULL;
	l->blocks = d && !t->tc_pending ? d->count : 0;
	l->filter = tlb_model_fast(t->tlb);
	l->l1d = t->memory.l1d.entry;
	l->l1d_mask = t->memory.l1d.sets - 1;
	l->l1d_ways = t->memory.l1d.ways;
	l->l1i = t->memory.l1i.entry;
	l->l1i_mask = t->memory.l1i.sets - 1;
	l->l1i_ways = t->memory.l1i.ways;
	if (k.paged)
		l->clock = l->began = l->filter->clock;
}

ALWAYS void lane_settle(struct timing *t, const struct lane *l, struct known k)
{
	struct tlb_fast *f = tlb_model_fast(t->tlb);
	uint64_t loads = l->clock - l->began - l->other;
	t->memory.l1d.access += loads + l->slow;
	t->memory.l1i.access += l->lines;
	t->instructions += l->instructions;
	t->milli[l->guest] += l->instructions * t->preset.milli_cpi;
	t->cause[l->guest] += l->taken * t->preset.branch_taken;
	t->next_pc = l->next_pc;
	t->fetch_line = l->fetch_line;
	t->guest = l->guest;
	if (k.paged) {
		f->clock = l->clock;
		f->stats.l1d_access += loads;
		f->stats.l1i_access += l->fetches;
	}
}

/* The filter has not got it. */
ALWAYS uint64_t lane_translate_slow(struct timing *t, struct lane *l, const struct paging *p, uint64_t gva, enum access access, unsigned flags, struct known k)
{
	struct tlb_fast *f = tlb_model_fast(t->tlb);
	f->clock = l->clock;
	uint64_t hpa = translate_slow(t, p, gva, access, flags, k.staged);
	l->other += f->clock - l->clock;
	l->clock = f->clock;
	return hpa;
}

/* What a hit in the filter does. LRU keeps nothing of what was there. */
ALWAYS void lane_touch(struct lane *l, const struct tlb_fast_slot *s, struct known k)
{
	l->clock++;
	if (k.usual)
		*s->touched = l->clock;
	else
		tlb_fast_touch(s, l->clock);
}

/* A line that L1 has not got, and what it gave up for it. */
ALWAYS void miss_fast(struct timing *t, struct cache *l1, uint64_t hpa, const struct cache_victim *victim, enum cause guest, unsigned payer, struct known k)
{
	if (k.staged) {
		hierarchy_put(&t->memory, payer, l1, hpa, victim);
	} else {
		uint32_t cycles = cycles_beyond(hierarchy_miss(&t->memory, l1, hpa, victim), l1->latency);
		t->cause[guest] += payer != PAYER_NOBODY ? cycles : 0;
	}
}

/* A load or store within a line. False: nothing happened. end: of the batch. */
ALWAYS bool data_fast(struct timing *t, struct lane *l, const struct paging *p, const struct event *e, const struct event *end, bool write, bool stall, struct known k)
{
	struct cache *c = &t->memory.l1d;
	struct cache_victim victim;
	const unsigned shift = k.usual ? 6 : c->line_shift;
	uint64_t gva = e->addr, hpa = gva;
	if (__builtin_expect((e->flags & EVF_FAULT) || (gva ^ (gva + e->aux - 1)) >> shift, 0))
		return false;
	if (k.paged) {
		const struct tlb_fast_slot *s = &l->filter->data[tlb_fast_index(gva)];
		if (__builtin_expect((&s->read_key)[write] == ((gva & ~0xfffull) | 1), 1)) { /* ORDER: struct tlb_fast_slot */
			lane_touch(l, s, k);
			hpa = s->base | (gva & 0xfff);
		} else {
			if (end - e > TLB_EXPECT_FAR)
				tlb_model_expect(t->tlb, p, e[TLB_EXPECT_FAR].addr, e[TLB_EXPECT_NEAR].addr);
			hpa = lane_translate_slow(t, l, p, gva, write ? ACCESS_WRITE : ACCESS_READ, e->flags, k);
			if (hpa == NOWHERE)
				return true;
			l->slow++;
		}
	} else {
		l->clock++;
	}
	uint64_t line = hpa >> shift, *set = k.usual ? l->l1d + (line & l->l1d_mask) * l->l1d_ways : cache_set(c, line);
	if (__builtin_expect(set[0] >> 1 == line, 1)) {
		if (write && !(set[0] & 1)) /* a store that changes nothing would still be in the way of vector loads */
			set[0] |= 1;
	} else if (!(k.usual ? cache_touch_near(set, line, write) || cache_access_far(c, set, line, write, &victim) : cache_access_slow(c, set, line, write, &victim))) {
		miss_fast(t, c, hpa, &victim, l->guest, stall ? PAYER_DATA + l->guest : PAYER_NOBODY, k);
	}
	return true;
}

/* Somebody else pays from here on. */
static __attribute__((noinline)) void guest_turn(struct timing *t, enum cause from, enum cause to, uint64_t instructions, uint64_t taken)
{
	t->milli[from] += instructions * t->preset.milli_cpi;
	t->cause[from] += taken * t->preset.branch_taken;
	t->instructions += instructions;
	t->guest = to;
}

/* The lines of a block that is not all in the line fetched last. */
ALWAYS void lines_fast(struct timing *t, struct lane *l, uint64_t line, uint64_t end, struct known k)
{
	struct cache *c = &t->memory.l1i;
	struct cache_victim victim;
	const unsigned shift = k.usual ? 6 : c->line_shift;
	line += line == l->fetch_line;
	l->fetch_line = end;
	do {
		uint64_t *set = k.usual ? l->l1i + (line & l->l1i_mask) * l->l1i_ways : cache_set(c, line);
		l->lines++;
		if (set[0] >> 1 != line && !cache_access_slow(c, set, line, false, &victim))
			miss_fast(t, c, line << shift, &victim, l->guest, PAYER_CODE + l->guest, k);
	} while (line++ != end);
}

/* A block within a page. False: nothing happened. */
ALWAYS bool block_fast(struct timing *t, struct lane *l, const struct paging *p, const struct event *e, struct known k)
{
	const unsigned shift = k.usual ? 6 : t->memory.l1i.line_shift;
	unsigned bytes = e->id < l->blocks ? l->block[e->id].bytes : 0;
	uint64_t pc = e->addr, hpa = pc;
	enum cause guest = e->flags & EVF_USER ? CAUSE_GUEST_USER : CAUSE_GUEST_KERNEL;
	if (__builtin_expect(!bytes || (pc ^ (pc + bytes - 1)) >> 12, 0))
		return false;
	if (__builtin_expect(guest != l->guest, 0)) {
		guest_turn(t, l->guest, guest, l->instructions, l->taken);
		l->guest = guest;
		l->instructions = l->taken = 0;
	}
	l->taken += pc != l->next_pc && l->next_pc != ~0ull;
	l->instructions += e->aux;
	l->next_pc = pc + bytes;
	t->translated = false;
	if (k.paged) {
		const struct tlb_fast_slot *s = &l->filter->fetch[tlb_fast_index(pc)];
		if (__builtin_expect(s->read_key == ((pc & ~0xfffull) | 1), 1)) {
			lane_touch(l, s, k);
			l->fetches++;
			l->other++;
			hpa = s->base | (pc & 0xfff);
		} else {
			hpa = lane_translate_slow(t, l, p, pc, ACCESS_EXEC, e->flags, k);
			if (hpa == NOWHERE)
				return true;
		}
	}
	uint64_t line = hpa >> shift, end = (hpa + bytes - 1) >> shift;
	if (line != l->fetch_line || line != end)
		lines_fast(t, l, line, end, k);
	return true;
}

/* Any event, one by one. */
static __attribute__((noinline)) void event_consume(struct timing *t, const struct paging *p, const struct event *e, uint64_t sequence)
{
	switch (e->kind) {
	case EV_BLOCK: block_enter(t, p, e); break;
	case EV_LOAD: data_access(t, p, e, false, true); break;
	case EV_STORE: case EV_RMW: case EV_TABLE_STORE: data_access(t, p, e, true, e->kind == EV_RMW); break;
	default: event_consume_slow(t, p, e, sequence); break;
	}
}

/* Loads and stores share one path: which of them comes next cannot be predicted. */
ALWAYS bool event_fast(struct timing *t, struct lane *l, const struct paging *p, const struct event *e, const struct event *end, struct known k)
{
	if (e->kind == EV_BLOCK)
		return block_fast(t, l, p, e, k);
	if ((unsigned)e->kind - EV_LOAD > EV_TABLE_STORE - EV_LOAD) /* ORDER EVENT */
		return false;
	return data_fast(t, l, p, e, end, e->kind != EV_LOAD, e->kind == EV_LOAD || e->kind == EV_RMW, k);
}

/* Whether an event neither reads nor sets what struct lane keeps, beyond adding to the same sums. */
ALWAYS bool event_adds(unsigned kind)
{
	const uint64_t guest = 1ull << EV_VALUE | 1ull << EV_REP | 1ull << EV_SENSITIVE | 1ull << EV_IRQ_RAISED | 1ull << EV_STATE | 1ull << EV_IDLE | 1ull << EV_DEVICE | 1ull << EV_HYPERCALL | 1ull << EV_PROBE;
	return kind >= EV_EXIT ? kind != EV_TC_FETCH && kind != EV_SKIPPED_TO : guest >> kind & 1;
}

/* Whether an event that event_fast() leaves alone may reach below L1, or reads the sums. */
ALWAYS bool event_reaches(unsigned kind)
{
	return kind <= EV_TABLE_STORE || kind == EV_MARK || kind == EV_VMM_LOAD || kind == EV_VMM_STORE || kind == EV_TC_JUMP; /* ORDER EVENT */
}

ALWAYS void events_consume(struct timing *t, const struct paging *p, const struct event *first, const struct event *end, struct known k)
{
	struct lane l;
	lane_begin(t, &l, k);
	for (const struct event *e = first; e < end; e++) {
		if (__builtin_expect(event_fast(t, &l, p, e, end, k), 1))
			continue;
		if (k.staged && event_reaches(e->kind))
			timing_settle(t);
		if (event_adds(e->kind)) {
			event_consume_slow(t, p, e, t->sequence + (uint64_t)(e - first));
			continue;
		}
		lane_settle(t, &l, k);
		event_consume(t, p, e, t->sequence + (uint64_t)(e - first));
		lane_begin(t, &l, k);
	}
	lane_settle(t, &l, k);
	if (k.staged)
		timing_settle(t);
}

#define LOOP(name, paged, usual, staged) \
	static void loop_##name(struct timing *t, const struct paging *p, const struct event *first, const struct event *end) { events_consume(t, p, first, end, (struct known){ paged, usual, staged }); }
LOOP(plain, false, false, false)
LOOP(staged, false, false, true)
LOOP(usual, false, true, false)
LOOP(usual_staged, false, true, true)
LOOP(paged, true, false, false)
LOOP(paged_staged, true, false, true)
LOOP(paged_usual, true, true, false)
LOOP(paged_usual_staged, true, true, true)
#undef LOOP
static void (*const loops[2][2][2])(struct timing *, const struct paging *, const struct event *, const struct event *) = { /* [paged][usual][staged] */
	{ { loop_plain, loop_staged }, { loop_usual, loop_usual_staged } }, { { loop_paged, loop_paged_staged }, { loop_paged_usual, loop_paged_usual_staged } },
};

/* The present tags are not the filter's: an access whose turn it is changes that, which may take a few events. Returns where it has. */
static const struct event *tags_settle(struct timing *t, const struct paging *p, const struct event *first, const struct event *end)
{
	const struct event *e = first;
	for (; e < end && !tlb_fast_current(tlb_model_fast(t->tlb), p); e++)
		event_consume(t, p, e, t->sequence + (uint64_t)(e - first));
	t->sequence += (uint64_t)(e - first);
	return e;
}

/* Slots for the lines of a cache: its sets as far as they are chosen within a page. */
static uint8_t cache_slots(const struct cache *c)
{
	uint64_t lines = 4096u >> c->line_shift, sets = c->power ? c->sets : 1, slots = sets < lines ? sets : lines;
	return (uint8_t)(slots < FILTER_SLOTS ? slots : FILTER_SLOTS);
}

/* A hit in the most recent line of a set changes nothing but its dirty bit, and costs nothing. Walks go through L1D, too, so lines are forgotten where a page may be walked. */
bool core_fixed_filter(const struct timing *t, struct event_filter_shape *shape)
{
	const struct cache *d = &t->memory.l1d, *i = &t->memory.l1i;
	if (d->line_shift >= 12 || i->line_shift >= 12 || !tlb_model_filter(t->tlb, shape))
		return false;
	shape->granule = (uint8_t)d->line_shift;
	shape->slots = cache_slots(d);
	shape->code = cache_slots(i);
	shape->code_line = (uint8_t)i->line_shift;
	shape->pairs = shape->slots > 1 && d->ways > 1;
	shape->ignored = 1ull << EV_STATE | 1ull << EV_IRQ_RAISED | 1ull << EV_DEVICE | 1ull << EV_PROBE;
	return true;
}

/* Many misses in the last batch: as many in this one. Where the two ways cross was measured (README.md). */
static bool staging_pays(const struct timing *t)
{
	return t->preset.consume == CONSUME_STAGED || (t->preset.consume == CONSUME_AUTO && t->missed * 8 > t->seen);
}

void core_fixed_consume(void *self, const struct event *first, const struct event *end)
{
	struct timing *t = self;
	const struct paging *p = t->port.paging(t->port.self);
	bool paged = p->format != PAGING_IDENTITY || p->space;
	if (paged)
		first = tags_settle(t, p, first, end);
	uint64_t misses = t->memory.l1d.miss + t->memory.l1i.miss;
	loops[paged][t->usual][staging_pays(t)](t, p, first, end);
	t->seen = (uint64_t)(end - first);
	t->missed = t->memory.l1d.miss + t->memory.l1i.miss - misses;
	t->sequence += (uint64_t)(end - first);
}
