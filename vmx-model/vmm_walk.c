/*
 * How a VMM looks at the guest's page tables, and the flush rules that it owes the guest.
 */
#include "vmm.h"

#define OPEN_BUS (1ull << 52) /* beyond any physical address: reads all ones, writes vanish, as natively past the end of memory */

uint64_t vmm_hpa_of(const struct vmm *v, uint64_t gpa)
{
	return gpa < v->guest_bytes ? v->guest_base + gpa : OPEN_BUS | gpa;
}

uint64_t vmm_gpa_to_hpa(struct vmm *v, uint64_t gpa)
{
	if (v->p2m.format == PAGING_IDENTITY)
		return phys_ptr(v->phys, gpa, 1) ? gpa : UINT64_MAX;
	if (gpa >> 12 >= v->p2m.linear_entries)
		return UINT64_MAX;
	uint64_t entry = vmm_load(v, v->p2m.root + (gpa >> 12) * 8, 8);
	return entry & 1 ? (entry & 0x000ffffffffff000ull) | (gpa & 0xfff) : UINT64_MAX;
}

struct changes { struct vmm *v; uint64_t at[WALK_MAX_REFS]; unsigned count; uint64_t base; };

static void change_note(void *self, uint64_t hpa)
{
	struct changes *c = self;
	event_drain(c->v->events);
	if (c->count < WALK_MAX_REFS)
		c->at[c->count++] = hpa + c->base;
}

/* The guest's memory as the bare machine's: its addresses are guest-physical, and past its end is an open bus. */
static bool walk_view(struct vmm *v, struct changes *c, uint64_t gva, struct walk_request rq, struct walk *out)
{
	struct phys view = { .bytes = v->phys->bytes + v->guest_base, .size = v->guest_bytes };
	struct walk_memory mem = { &view, c, change_note };
	struct paging bare = v->guest;
	bare.space = NULL;
	bool ok = paging_walk(&bare, &mem, gva, rq, out);
	out->hpa = vmm_hpa_of(v, out->gpa);
	for (unsigned i = 0; i < out->refs; i++)
		out->ref[i].hpa = vmm_hpa_of(v, out->ref[i].hpa);
	return ok;
}

bool vmm_walk_quiet(struct vmm *v, uint64_t gva, struct walk_request rq, struct walk *out)
{
	struct changes c = { .v = v, .base = v->guest_base };
	return walk_view(v, &c, gva, rq, out);
}

static void walk_emit(struct vmm *v, const struct walk *w, const struct changes *c)
{
	if (v->quiet)
		return;
	for (unsigned i = 0; i < w->refs; i++)
		event_put(v->events, EV_VMM_LOAD, 0, w->ref[i].bytes, 0, w->ref[i].hpa);
	for (unsigned i = 0; i < c->count; i++)
		event_put(v->events, EV_VMM_STORE, 0, 8, 0, c->at[i] & ~7ull);
}

bool vmm_walk_guest(struct vmm *v, uint64_t gva, struct walk_request rq, struct walk *out)
{
	struct changes c = { .v = v };
	struct walk_memory mem = { v->phys, &c, change_note };
	bool ok = paging_walk(&v->guest, &mem, gva, rq, out);
	walk_emit(v, out, &c);
	if (ok || out->fault_dimension == WALK_GUEST)
		return ok;
	/* A table or page outside the guest's memory: what the bare machine would find there. */
	c = (struct changes){ .v = v, .base = v->guest_base };
	return walk_view(v, &c, gva, rq, out);
}

/* ---------------------------------------------------------------- flush rules, for guest tables that hardware walks */
static void flush(struct vmm *v, const struct paging *now, enum tlb_flush kind, uint64_t addr)
{
	if (!v->quiet)
		event_put(v->events, EV_TLB_FLUSH, 0, now->vpid, kind, addr);
}

/* What MOV to CR0 and CR4 invalidate: SDM 3A 4.10.4.1. TLB_FLUSH_KINDS: nothing. */
static enum tlb_flush flush_scope(const struct cpu *cpu, enum context_change why, uint64_t old)
{
	uint64_t off0 = why == CONTEXT_CR0 ? old & ~cpu->cr0 : 0, moved = why == CONTEXT_CR4 ? old ^ cpu->cr4 : 0;
	if (why == CONTEXT_RESET)
		return TLB_FLUSH_ALL;
	if ((off0 & CR0_PG) || (moved & (CR4_PGE | CR4_PAE)) || (moved & old & CR4_PCIDE))
		return TLB_FLUSH_VPID;
	return moved & cpu->cr4 & CR4_SMEP ? TLB_FLUSH_PCID : TLB_FLUSH_KINDS;
}

static bool same_rules(const struct paging *a, const struct paging *b)
{
	return a->format == b->format && a->wp == b->wp && a->nxe == b->nxe && a->smep == b->smep && a->smap == b->smap && a->pse == b->pse && a->pge == b->pge;
}

void vmm_flush_context(struct vmm *v, const struct paging *before, const struct paging *now, enum context_change why, uint64_t old_value, bool no_flush)
{
	struct cpu *cpu = v->cpu;
	bool pcide = (cpu->cr4 & CR4_PCIDE) && (cpu->efer & EFER_LMA);
	enum tlb_flush scope = flush_scope(cpu, why, old_value);
	uint64_t key = now->root | now->pcid;
	if (why == CONTEXT_CR3 && !(pcide && no_flush))
		scope = pcide ? TLB_FLUSH_PCID : TLB_FLUSH_VPID_NOGLOBAL;
	if (scope != TLB_FLUSH_KINDS)
		flush(v, now, scope, scope == TLB_FLUSH_PCID ? now->pcid : 0);
	if (!same_rules(before, now) || (scope != TLB_FLUSH_KINDS && why != CONTEXT_CR3)) {
		mmu_flush_all(v->mmu, cpu);
		mmu_set_context(v->mmu, cpu, key, false);
	} else if (why == CONTEXT_CR3 || before->root != now->root || before->pcid != now->pcid) {
		mmu_set_context(v->mmu, cpu, key, (pcide && no_flush) || mmu_context_unchanged(v->mmu, key));
		if (pcide && !no_flush)
			mmu_end_contexts(v->mmu, cpu, 0xfff, now->pcid);
	}
}

void vmm_flush_invlpg(struct vmm *v, const struct paging *now, uint64_t gva)
{
	flush(v, now, TLB_FLUSH_PAGE, gva);
	mmu_flush_page(v->mmu, v->cpu, gva);
}

void vmm_flush_invpcid(struct vmm *v, const struct paging *now, unsigned type, unsigned pcid, uint64_t gva)
{
	static const enum tlb_flush scope[4] = { TLB_FLUSH_PAGE_PCID, TLB_FLUSH_PCID, TLB_FLUSH_VPID, TLB_FLUSH_VPID_NOGLOBAL };
	flush(v, now, scope[type & 3], (type & 3) == 0 ? (gva & ~0xfffull) | pcid : (type & 3) == 1 ? pcid : 0);
	if (type == 0)
		mmu_flush_page(v->mmu, v->cpu, gva);
	else if (type == 1 && pcid != now->pcid)
		mmu_end_contexts(v->mmu, v->cpu, 0xfff, pcid);
	else
		mmu_flush_all(v->mmu, v->cpu);
}

void vmm_pdptes_follow(struct vmm *v, const struct paging *before, struct paging *now, enum context_change why, uint64_t old_value)
{
	const struct cpu *cpu = v->cpu;
	bool due = why != CONTEXT_CR0 && why != CONTEXT_CR4;
	if (why == CONTEXT_CR0)
		due = (old_value ^ cpu->cr0) & (CR0_PG | CR0_CD | CR0_NW);
	else if (why == CONTEXT_CR4)
		due = (old_value ^ cpu->cr4) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP);
	if (now->format != PAGING_PAE)
		return;
	if (before->format == PAGING_PAE && !due)
		memcpy(now->pdpte, before->pdpte, sizeof now->pdpte);
	else if (now->root < v->guest_bytes)
		mmu_track_table(v->mmu, v->cpu, vmm_hpa_of(v, now->root), now->root);
}
