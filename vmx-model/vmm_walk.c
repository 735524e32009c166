/*
 * How a VMM looks at the guest's page tables, and the flush rules that it owes the guest.
 */
#include "../tlb/flush_rules.h"
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

bool vmm_walk_plain(struct vmm *v, uint64_t gva, struct walk_request rq, struct walk *out, struct walk_steps *steps)
{
	struct phys view = { .bytes = v->phys->bytes + v->guest_base, .size = v->guest_bytes };
	const struct walk_memory mem = { &view, NULL, NULL };
	struct paging bare = v->guest;
	bare.space = NULL;
	rq.set_ad = false;
	bool plain = paging_walk_plain(&bare, &mem, NULL, gva, rq, out, steps), ok = plain || paging_walk(&bare, &mem, gva, rq, out);
	if (!plain)
		paging_walk_steps(out, steps);
	out->hpa = vmm_hpa_of(v, out->gpa);
	return ok;
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
void vmm_flush_context(struct vmm *v, const struct paging *before, const struct paging *now, enum context_change why, uint64_t old_value, bool no_flush)
{
	flush_context(v->mmu, v->cpu, before, now, why, old_value, no_flush, !v->quiet);
}

void vmm_flush_invlpg(struct vmm *v, const struct paging *now, uint64_t gva)
{
	flush_invlpg(v->mmu, v->cpu, now, gva, !v->quiet);
}

void vmm_flush_invpcid(struct vmm *v, const struct paging *now, unsigned type, unsigned pcid, uint64_t gva)
{
	flush_invpcid(v->mmu, v->cpu, now, type, pcid, gva, !v->quiet);
}

void vmm_pdptes_follow(struct vmm *v, const struct paging *before, struct paging *now, enum context_change why, uint64_t old_value)
{
	if (paging_pdptes_follow(v->cpu, before, now, why, old_value) && now->root < v->guest_bytes)
		mmu_track_table(v->mmu, v->cpu, vmm_hpa_of(v, now->root), now->root);
}
