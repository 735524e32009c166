/*
 * The one walker. A dimension is walked by walk_dimension(); every address that it finds goes through reach_space(), which walks the dimension below.
 */
#include "paging.h"
#include "../isa/cpu.h"
#include <assert.h>

enum rules { RULES_NONE, RULES_LINEAR, RULES_X86, RULES_EPT, RULES_NPT };

/*
 * An x86 entry (SDM 3A figure 4-11):      an EPT entry (SDM 3C figure 28-1):
 *   63 NX | 51:12 address | 8 G | 7 PS      51:12 address | 9 D | 8 A | 7 PS
 *   6 D | 5 A | 2 U/S | 1 R/W | 0 P         6 IPAT | 5:3 memory type | 2 X | 1 W | 0 R
 */
enum {
	X86_P = 1, X86_RW = 2, X86_US = 4, X86_A = 0x20, X86_D = 0x40, PS = 0x80, X86_G = 0x100,
	EPT_R = 1, EPT_W = 2, EPT_X = 4, EPT_A = 0x100, EPT_D = 0x200,
	RIGHT_U = 8, /* beside WALK_R, WALK_W, WALK_X: user pages */
};
#define X86_NX (1ull << 63)
#define ENTRY_ADDRESS 0x000ffffffffff000ull

struct entry_rules {
	uint64_t present;        /* any of these: present */
	uint64_t accessed, dirty;
	bool walks_write, walks_user; /* a guest table reference through this space is a write, is a user access (SDM 3C 28.2.5, APM 2 15.25.6) */
};
static const struct entry_rules entry_rules[] = {
	[RULES_NONE] = { 0, 0, 0, false, false },
	[RULES_LINEAR] = { 1, 0, 0, false, false },
	[RULES_X86] = { X86_P, X86_A, X86_D, false, false },
	[RULES_EPT] = { EPT_R | EPT_W | EPT_X, EPT_A, EPT_D, true /* only with A/D flags on */, false },
	[RULES_NPT] = { X86_P, X86_A, X86_D, true, true },
};

struct format {
	const char *name;
	uint8_t rules, levels, bytes, index_bits, large, address_bits;
};
#define LEVEL(n) (1u << (n))
static const struct format formats[PAGING_FORMATS] = {
#define FORMAT(id, name, rules, levels, bytes, index_bits, large, address_bits) [PAGING_##id] = { name, rules, levels, bytes, index_bits, large, address_bits },
#include "paging_formats.def"
#undef FORMAT
};

/*
 * Permission checks (SDM 3A 4.6): what an access needs, by requester, page and access; a fact is what page and control registers grant.
 * Allowed when no needed fact is missing.
 */
enum { FACT_WRITE = 1 /* R/W everywhere, or supervisor with CR0.WP clear */, FACT_EXEC = 2 /* NX nowhere */, FACT_SMAP_OFF = 4, FACT_SMEP_OFF = 8, NEVER = 16 };
static const uint8_t needs[2][2][3] = { /* [user requester][user page][enum access] */
	{ { 0, FACT_WRITE, FACT_EXEC }, { FACT_SMAP_OFF, FACT_SMAP_OFF | FACT_WRITE, FACT_SMEP_OFF | FACT_EXEC } },
	{ { NEVER, NEVER, NEVER },      { 0, FACT_WRITE, FACT_EXEC } },
};

struct reach { /* what a dimension gave */
	uint64_t address;
	uint64_t leaf;
	uint8_t shift;
	uint8_t rights; /* WALK_R .. RIGHT_U: the conjunction over the levels */
	bool global, dirty;
};

struct walker {
	const struct walk_memory *mem;
	struct walk *out;
	uint64_t entry[WALK_MAX_REFS]; /* as read */
	uint64_t set[WALK_MAX_REFS];   /* flags that set_ad would add */
	uint64_t gpa[WALK_MAX_REFS];   /* of the entry, in its own space */
	bool fixed[WALK_MAX_REFS];     /* the space does not let it be written */
};

static uint64_t bits(unsigned low, unsigned high) /* a mask of bits low..high, both included; empty when low > high */
{
	return low > high ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

unsigned paging_level_shift(enum paging_format f, unsigned level)
{
	return 12 + (level ? level - 1 : 0) * formats[f].index_bits;
}

static unsigned phys_bits(const struct paging *p)
{
	return p->phys_bits ? p->phys_bits : 52;
}

/*
 * What follows takes the format as a row that is known where it is called (walk_dimension() below), so that each format gets a loop of its own out of the one text.
 */
#define ONE_TEXT static inline __attribute__((always_inline))

ONE_TEXT unsigned level_shift(const struct format *f, unsigned level)
{
	return 12 + (level - 1) * f->index_bits;
}

ONE_TEXT bool entry_large(const struct format *f, const struct paging *p, unsigned level, uint64_t entry)
{
	if (!(f->large & LEVEL(level)) || !(entry & PS))
		return false;
	return f->bytes == 4 ? p->pse : !(level == 3 && p->no_gbyte && f->rules == RULES_X86);
}

/* Reserved bits of a present entry: SDM 3A tables 4-4 to 4-20. */
ONE_TEXT uint64_t reserved_x86(const struct format *f, const struct paging *p, unsigned level, bool large)
{
	unsigned m = phys_bits(p);
	if (f->bytes == 4) /* PSE-36: bits 39:32 of a 4 MiB page sit in 20:13, as many as there are */
		return large ? bits((m < 40 ? m : 40) - 19, 21) : 0;
	uint64_t r = bits(m, f == &formats[PAGING_PAE] ? 62 : 51) | (p->nxe ? 0 : X86_NX);
	if (large)
		r |= bits(13, level_shift(f, level) - 1);
	else if (level >= 3)
		r |= PS;
	return r;
}

/*
 * Present EPT entries that are no misconfiguration (SDM 3C 28.2.3.1): bit n of EPT_RIGHTS, when bits 2:0 may be n together: execute-only pages are supported; bit n of EPT_LEAVES, when
 * bits 5:0 of a leaf may be n: rights, and a memory type that there is (0, 1, 4, 5, 6).
 */
#define EPT_RIGHTS (1ull << EPT_R | 1ull << (EPT_R | EPT_W) | 1ull << EPT_X | 1ull << (EPT_R | EPT_X) | 1ull << (EPT_R | EPT_W | EPT_X))
#define EPT_LEAVES (EPT_RIGHTS | EPT_RIGHTS << 8 | EPT_RIGHTS << 32 | EPT_RIGHTS << 40 | EPT_RIGHTS << 48)

/* Present, and as it should be. `beyond`: address bits that the processor has not got. */
ONE_TEXT bool good_ept(const struct format *f, uint64_t beyond, unsigned level, uint64_t entry, bool leaf)
{
	if (!leaf)
		return (EPT_RIGHTS >> (entry & 7) & 1) && !(entry & (beyond | (level >= 4 ? bits(3, 7) : bits(3, 6))));
	return (EPT_LEAVES >> (entry & 63) & 1) && !(entry & (beyond | bits(12, level_shift(f, level) - 1)));
}

ONE_TEXT bool entry_reserved(const struct format *f, const struct paging *p, unsigned level, uint64_t entry, bool leaf)
{
	switch (f->rules) {
	case RULES_LINEAR: return false;
	case RULES_EPT: return !good_ept(f, bits(phys_bits(p), 51), level, entry, leaf);
	default: return entry & reserved_x86(f, p, level, leaf && level > 1);
	}
}

ONE_TEXT uint8_t entry_rights(const struct format *f, const struct paging *p, uint64_t entry)
{
	switch (f->rules) {
	case RULES_EPT: return (uint8_t)((entry & (WALK_R | WALK_W | WALK_X)) | RIGHT_U);
	case RULES_LINEAR: return (uint8_t)(WALK_R | WALK_X | RIGHT_U | (entry & WALK_W));
	default:
		return (uint8_t)(WALK_R | (entry & X86_RW ? WALK_W : 0) | (entry & X86_US ? RIGHT_U : 0) | (p->nxe && f->bytes == 8 && entry & X86_NX ? 0 : WALK_X));
	}
}

ONE_TEXT uint64_t entry_address(const struct format *f, unsigned level, uint64_t entry, bool leaf)
{
	if (f->bytes == 4 && leaf && level == 2)
		return (entry & 0xffc00000u) | (entry >> 13 & 0xff) << 32;
	return entry & ENTRY_ADDRESS & (~0ull << (leaf ? level_shift(f, level) : 12));
}

ONE_TEXT unsigned access_facts(const struct paging *p, uint8_t rights, struct walk_request rq, bool user)
{
	return ((rights & WALK_W) || (!user && !p->wp) ? FACT_WRITE : 0) | (rights & WALK_X ? FACT_EXEC : 0)
		| (!p->smap || rq.ac_override ? FACT_SMAP_OFF : 0) | (!p->smep ? FACT_SMEP_OFF : 0);
}

/* Whether tables of the x86 kind allow what is asked. */
ONE_TEXT bool access_allowed(const struct paging *p, uint8_t rights, struct walk_request rq, bool npt)
{
	bool user = rq.user || npt;
	return !(needs[user][!!(rights & RIGHT_U)][rq.access] & ~access_facts(p, rights, rq, user));
}

/* Accesses (1 << enum access) that a dimension's rights allow to this requester. */
ONE_TEXT unsigned rights_allowed(const struct format *f, const struct paging *p, uint8_t rights, struct walk_request rq)
{
	unsigned rules = f->rules, allowed = 0;
	if (rules != RULES_X86 && rules != RULES_NPT)
		return rights & (WALK_R | WALK_W | WALK_X);
	bool user = rq.user || rules == RULES_NPT;
	const uint8_t *need = needs[user][!!(rights & RIGHT_U)];
	unsigned missing = ~access_facts(p, rights, rq, user);
	for (unsigned a = ACCESS_READ; a <= ACCESS_EXEC; a++)
		allowed |= (unsigned)!(need[a] & missing) << a;
	return allowed;
}

/* SDM 3A 4.7. */
static uint32_t error_code(const struct paging *p, enum walk_status status, struct walk_request rq)
{
	bool nx = p->nxe && p->format != PAGING_32;
	return (status != WALK_NOT_PRESENT ? 1 : 0) | (rq.access == ACCESS_WRITE ? 2 : 0) | (rq.user ? 4 : 0) | (status == WALK_RESERVED ? 8 : 0)
		| (rq.access == ACCESS_EXEC && (nx || p->smep) ? 16 : 0);
}

struct place { uint8_t dimension, outer; }; /* where in the whole walk a dimension is walked */

static bool walk_fail(struct walker *w, const struct paging *p, struct place at, enum walk_status status, unsigned level, uint64_t address, uint8_t rights, struct walk_request rq)
{
	struct walk *o = w->out;
	o->status = status;
	o->fault_dimension = at.dimension;
	o->fault_level = (uint8_t)level;
	if (at.dimension == WALK_GUEST) {
		o->error = error_code(p, status, rq);
		return false;
	}
	o->fault_gpa = address;
	o->fault_on_table = at.outer != 0;
	o->fault_access = rq.access;
	o->fault_rights = status == WALK_NOT_PRESENT && !level ? 0 : rights & (WALK_R | WALK_W | WALK_X);
	return false;
}

static bool reach_space(struct walker *w, const struct paging *space, uint64_t address, struct walk_request rq, struct place at, struct reach *r);

/* Where a table entry at `address` of a space lies. To NPT, and to EPT with A/D flags, such a reference is a write. */
static bool reach_table(struct walker *w, const struct paging *space, uint64_t address, unsigned level, struct reach *r)
{
	const struct entry_rules *rules = &entry_rules[formats[space->format].rules];
	bool writes = rules->walks_write && (formats[space->format].rules != RULES_EPT || space->ad);
	struct walk_request rq = { .access = writes ? ACCESS_WRITE : ACCESS_READ, .user = rules->walks_user };
	return reach_space(w, space, address, rq, (struct place){ WALK_HOST, (uint8_t)level }, r);
}

/* Reads the entry at `address` (in p's space) and notes the reference. False: the space has no translation for it. */
ONE_TEXT bool entry_read(struct walker *w, const struct format *f, const struct paging *p, uint64_t address, uint64_t input, unsigned level, struct place at, uint64_t *entry)
{
	unsigned bytes = f->bytes;
	struct reach r = { .address = address, .rights = WALK_W };
	if (p->space && !reach_table(w, p->space, address, level, &r))
		return false;
	assert(w->out->refs < WALK_MAX_REFS); /* at most two dimensions of tables */
	unsigned n = w->out->refs++;
	*entry = bytes == 4 ? phys_read32(w->mem->phys, r.address) : phys_read64(w->mem->phys, r.address);
	w->out->ref[n] = (struct walk_ref){ r.address, input, at.dimension, (uint8_t)level, at.outer, (uint8_t)bytes };
	w->entry[n] = *entry;
	w->set[n] = 0;
	w->gpa[n] = address;
	w->fixed[n] = !(r.rights & WALK_W);
	return true;
}

/* Flags that this access sets in an entry just read. */
ONE_TEXT void entry_touch(struct walker *w, const struct format *f, const struct paging *p, uint64_t entry, bool leaf, enum access access)
{
	const struct entry_rules *rules = &entry_rules[f->rules];
	if (f->rules == RULES_EPT && !p->ad)
		return;
	uint64_t flags = rules->accessed | (leaf && access == ACCESS_WRITE ? rules->dirty : 0);
	w->set[w->out->refs - 1] = flags & ~entry;
}

ONE_TEXT bool leaf_dirty(const struct format *f, const struct paging *p, uint64_t entry, enum access access)
{
	uint64_t dirty = entry_rules[f->rules].dirty;
	if (!dirty || (f->rules == RULES_EPT && !p->ad))
		return true;
	return (entry & dirty) || access == ACCESS_WRITE;
}

/* Where a walk starts: the first table. PAE: from a PDPTE register. */
ONE_TEXT bool walk_start(struct walker *w, const struct format *f, const struct paging *p, uint64_t address, struct walk_request rq, struct place at, uint64_t *table)
{
	*table = p->root;
	if (f->rules == RULES_LINEAR)
		return address >> 12 < p->linear_entries || walk_fail(w, p, at, WALK_NOT_PRESENT, 1, address, 0, rq);
	if (at.dimension == WALK_HOST && address >> f->address_bits) /* SDM 3C 28.2.2: a wider address is a violation */
		return walk_fail(w, p, at, WALK_NOT_PRESENT, f->levels, address, 0, rq);
	if (f != &formats[PAGING_PAE])
		return true;
	uint64_t e = p->pdpte[address >> 30 & 3];
	if (!(e & X86_P))
		return walk_fail(w, p, at, WALK_NOT_PRESENT, 3, address, 0, rq);
	if (paging_pdpte_reserved(p->phys_bits, e))
		return walk_fail(w, p, at, WALK_RESERVED, 3, address, 0, rq);
	*table = e & ENTRY_ADDRESS;
	return true;
}

/* One dimension of the walk: from the root to the leaf. */
ONE_TEXT bool walk_levels(struct walker *w, const struct format *f, const struct paging *p, uint64_t address, struct walk_request rq, struct place at, struct reach *r)
{
	uint64_t table, entry;
	if (!walk_start(w, f, p, address, rq, at, &table))
		return false;
	for (unsigned level = f->levels;; level--) {
		unsigned shift = level_shift(f, level);
		if (!entry_read(w, f, p, table + (address >> shift & bits(0, f->index_bits - 1u)) * f->bytes, address, level, at, &entry))
			return false;
		uint8_t rights = r->rights & entry_rights(f, p, entry);
		if (!(entry & entry_rules[f->rules].present))
			return walk_fail(w, p, at, WALK_NOT_PRESENT, level, address, rights, rq);
		bool leaf = level == 1 || entry_large(f, p, level, entry);
		if (entry_reserved(f, p, level, entry, leaf))
			return walk_fail(w, p, at, WALK_RESERVED, level, address, rights, rq);
		r->rights = rights;
		entry_touch(w, f, p, entry, leaf, rq.access);
		table = entry_address(f, level, entry, leaf);
		if (!leaf)
			continue;
		if (!(rights_allowed(f, p, rights, rq) >> rq.access & 1))
			return walk_fail(w, p, at, WALK_PROTECTION, level, address, rights, rq);
		r->address = table | (address & bits(0, shift - 1));
		r->leaf = entry;
		r->shift = (uint8_t)shift;
		r->global = p->pge && f->rules == RULES_X86 && (entry & X86_G);
		r->dirty = leaf_dirty(f, p, entry, rq.access);
		return true;
	}
}

static bool walk_dimension(struct walker *w, const struct paging *p, uint64_t address, struct walk_request rq, struct place at, struct reach *r)
{
	*r = (struct reach){ .address = address, .shift = 63, .rights = 0xf, .dirty = true };
	switch (p->format) {
	case PAGING_LINEAR: return walk_levels(w, &formats[PAGING_LINEAR], p, address, rq, at, r);
	case PAGING_32: return walk_levels(w, &formats[PAGING_32], p, address, rq, at, r);
	case PAGING_PAE: return walk_levels(w, &formats[PAGING_PAE], p, address, rq, at, r);
	case PAGING_4LEVEL: return walk_levels(w, &formats[PAGING_4LEVEL], p, address, rq, at, r);
	case PAGING_EPT: return walk_levels(w, &formats[PAGING_EPT], p, address, rq, at, r);
	case PAGING_IDENTITY: return true;
	default: return walk_levels(w, &formats[p->format], p, address, rq, at, r); /* the rarer formats share one copy */
	}
}

/* Translates an address that was found in `space` down to host-physical memory. */
static bool reach_space(struct walker *w, const struct paging *space, uint64_t address, struct walk_request rq, struct place at, struct reach *r)
{
	struct reach lower;
	*r = (struct reach){ .address = address, .shift = 63, .rights = 0xf, .dirty = true };
	if (!space)
		return true;
	if (!walk_dimension(w, space, address, rq, at, r))
		return false;
	if (!reach_space(w, space->space, r->address, rq, at, &lower))
		return false;
	r->address = lower.address;
	r->rights &= lower.rights;
	r->dirty = r->dirty && lower.dirty;
	if (lower.shift < r->shift)
		r->shift = lower.shift;
	return true;
}

/* Sets the flags that the walk has collected. A guest table that its space holds read-only cannot take them: that is a fault of the space (SDM 3C 28.2.3.2). */
static bool flags_write(struct walker *w)
{
	struct walk *o = w->out;
	for (unsigned i = 0; i < o->refs; i++)
		if (w->set[i] && w->fixed[i]) {
			walk_fail(w, NULL, (struct place){ WALK_HOST, o->ref[i].level }, WALK_PROTECTION, 1, w->gpa[i], WALK_R | WALK_X, (struct walk_request){ .access = ACCESS_WRITE });
			return false;
		}
	for (unsigned i = 0; i < o->refs; i++) {
		if (!w->set[i])
			continue;
		if (w->mem->before_change)
			w->mem->before_change(w->mem->self, o->ref[i].hpa);
		if (o->ref[i].bytes == 4)
			phys_write32(w->mem->phys, o->ref[i].hpa, (uint32_t)(w->entry[i] | w->set[i]));
		else
			phys_write64(w->mem->phys, o->ref[i].hpa, w->entry[i] | w->set[i]);
	}
	return true;
}

static void walk_combine(struct walk *o, const struct reach *guest, const struct reach *host)
{
	uint8_t rights = guest->rights & host->rights, shift = guest->shift < host->shift ? guest->shift : host->shift;
	o->status = WALK_OK;
	o->hpa = host->address;
	o->gpa = guest->address;
	o->guest_shift = guest->shift < 30 ? guest->shift : 30;
	o->page_shift = shift < 30 ? shift : 30;
	o->readable = rights & WALK_R;
	o->writable = rights & WALK_W;
	o->executable = rights & WALK_X;
	o->user = guest->rights & RIGHT_U;
	o->global = guest->global;
	o->guest_rights = guest->rights;
	o->host_rights = host->rights;
	o->dirty = guest->dirty && host->dirty;
	o->leaf = guest->leaf;
}

bool paging_walk(const struct paging *p, const struct walk_memory *mem, uint64_t address, struct walk_request rq, struct walk *out)
{
	struct walker w;
	struct reach guest, host;
	w.mem = mem;
	w.out = out;
	memset(out, 0, offsetof(struct walk, ref));
	if (!walk_dimension(&w, p, address, rq, (struct place){ WALK_GUEST, 0 }, &guest))
		return false;
	unsigned leaf = out->refs ? out->refs - 1 : 0; /* the last reference of the first dimension, if it has any */
	if (!reach_space(&w, p->space, guest.address, rq, (struct place){ WALK_HOST, 0 }, &host))
		return false;
	walk_combine(out, &guest, &host);
	for (unsigned i = 0; i < out->refs; i++)
		out->ad_pending |= w.set[i] != 0;
	if (rq.set_ad && out->ad_pending) {
		out->ad_pending = false;
		if (!flags_write(&w))
			return false;
		out->leaf |= guest.leaf ? w.set[leaf] : 0;
	} else if (out->ad_pending && rq.access == ACCESS_WRITE) {
		out->dirty = false; /* a D flag (or the A flag beside it) is still to be set: not to be cached for writes */
	}
	return true;
}

/* ------------------------------------------------------------------ walks without notes */
struct plain { /* memory; and the host dimension of a plain walk: what it is, and what the last leg has given */
	const uint8_t *bytes;
	uint64_t last;                  /* place of 8 bytes */
	const struct paging *space;
	const struct phys *phys;
	const struct walk_upper *upper; /* of `region` */
	uint64_t region;                /* gpa >> 30 */
	uint64_t beyond;                /* address bits that the processor has not got */
	uint64_t missing;               /* flags that set_ad would add, of all legs */
	uint64_t address, leaf;
	unsigned rights, shift;
};

/* Levels 4 and 3 of an EPT, from the tables. NULL: the rarer ways of the whole walk, and its faults. */
static const struct walk_upper *upper_learn(const struct paging *space, const struct phys *phys, uint64_t gpa, struct walk_upper *u)
{
	const struct format *f = &formats[PAGING_EPT];
	uint64_t table = space->root, beyond = bits(phys_bits(space), 51);
	*u = (struct walk_upper){ .root = table, .region = gpa >> 30, .phys_bits = space->phys_bits, .rights = WALK_R | WALK_W | WALK_X };
	for (unsigned i = 0, level = 4; i < 2; i++, level--) {
		u->at[i] = table + (gpa >> level_shift(f, level) & 511) * 8;
		uint64_t entry = u->entry[i] = phys_read64(phys, u->at[i]);
		if (!phys_ptr(phys, u->at[i], 8) || !good_ept(f, beyond, level, entry, false) || entry_large(f, space, level, entry) || (space->ad && !(entry & EPT_A)))
			return NULL;
		u->rights &= (uint8_t)entry;
		table = entry_address(f, level, entry, false);
	}
	u->table = table;
	u->known = true;
	return u;
}

ONE_TEXT const struct walk_upper *upper_find(const struct paging *space, const struct phys *phys, struct walk_memo *memo, uint64_t gpa)
{
	uint64_t region = gpa >> 30, now[2];
	struct walk_upper *u = &memo->upper[region & 3];
	if (u->known && u->region == region && u->root == space->root && u->phys_bits == space->phys_bits) {
		memcpy(&now[0], phys->bytes + u->at[0], 8);
		memcpy(&now[1], phys->bytes + u->at[1], 8);
		if (now[0] == u->entry[0] && now[1] == u->entry[1])
			return u;
	}
	return gpa >> 48 ? NULL : upper_learn(space, phys, gpa, u);
}

/* As phys_read64() and phys_read32(). */
ONE_TEXT uint64_t plain_read(const struct plain *w, uint64_t at, unsigned bytes)
{
	uint64_t entry = 0;
	if (__builtin_expect(at > w->last + 8 - bytes, 0))
		return bytes == 4 ? ~0u : ~0ull;
	memcpy(&entry, w->bytes + at, bytes);
	return entry;
}

/* A level of it. */
ONE_TEXT uint64_t leg_read(const struct plain *w, uint64_t gpa, unsigned level, uint64_t table, struct walk_leg *leg)
{
	uint64_t at = table + (gpa >> level_shift(&formats[PAGING_EPT], level) & 511) * 8;
	leg->hpa[level] = at;
	return plain_read(w, at, 8);
}

/* One walk of the EPT. `needed`: a right; `flags`: what it would set in the leaf, were there flags. */
ONE_TEXT bool plain_leg(struct plain *w, struct walk_memo *memo, uint64_t gpa, unsigned needed, uint64_t flags, struct walk_leg *leg)
{
	const struct format *f = &formats[PAGING_EPT];
	if (gpa >> 30 != w->region) {
		w->upper = upper_find(w->space, w->phys, memo, gpa);
		if (!w->upper)
			return false;
		w->region = gpa >> 30;
	}
	uint64_t above = leg_read(w, gpa, 2, w->upper->table, leg), leaf = above;
	bool large = above & PS;
	leg->at = gpa;
	leg->hpa[4] = w->upper->at[0];
	leg->hpa[3] = w->upper->at[1];
	leg->leaf = large ? 2 : 1;
	w->shift = large ? 21 : 12;
	if (__builtin_expect(!large, 1)) {
		leaf = leg_read(w, gpa, 1, entry_address(f, 2, above, false), leg);
		if (!good_ept(f, w->beyond, 2, above, false) || !good_ept(f, w->beyond, 1, leaf, true))
			return false;
	} else if (!good_ept(f, w->beyond, 2, above, true)) {
		return false;
	}
	w->rights = w->upper->rights & (unsigned)above & (unsigned)leaf;
	w->missing |= (EPT_A & ~above) | (flags & ~leaf);
	w->leaf = leaf;
	w->address = large ? entry_address(f, 2, leaf, true) | (gpa & bits(0, 20)) : entry_address(f, 1, leaf, true) | (gpa & bits(0, 11));
	return w->rights & needed;
}

/* The final address through the host dimension. */
ONE_TEXT bool plain_host(struct plain *w, struct walk_memo *memo, enum access access, struct walk *out, struct walk_leg *leg)
{
	if (!plain_leg(w, memo, out->gpa, 1u << access, access == ACCESS_WRITE ? EPT_A | EPT_D : EPT_A, leg))
		return false;
	out->hpa = w->address;
	out->host_rights = (uint8_t)(w->rights | RIGHT_U);
	out->writable &= w->rights >> 1 & 1;
	out->dirty &= !w->space->ad || (w->leaf & EPT_D);
	out->ad_pending |= w->space->ad && w->missing;
	out->page_shift = w->shift < out->page_shift ? (uint8_t)w->shift : out->page_shift;
	return true;
}

ONE_TEXT bool plain_levels(const struct format *f, const struct paging *p, const struct phys *phys, bool two, struct walk_memo *memo, uint64_t gva, struct walk_request rq, struct walk *out,
	struct walk_steps *s)
{
	struct plain host = { .bytes = phys->bytes, .last = phys->size - 8, .space = p->space, .phys = phys, .region = ~0ull, .beyond = two ? bits(phys_bits(p->space), 51) : 0 };
	uint64_t table = p->root, entry, all = ~X86_NX, never = 0;
	unsigned level = f->levels, shift, tables_need = two && p->space->ad ? WALK_W : WALK_R;
	bool leaf;
	for (;; level--) {
		shift = level_shift(f, level);
		uint64_t at = table + (gva >> shift & bits(0, f->index_bits - 1u)) * f->bytes;
		if (two && !plain_leg(&host, memo, at, tables_need, EPT_A | EPT_D, &s->host[level]))
			return false;
		at = s->guest[level] = two ? host.address : at;
		entry = plain_read(&host, at, f->bytes);
		leaf = level == 1 || entry_large(f, p, level, entry);
		if (!(entry & X86_P) || entry_reserved(f, p, level, entry, leaf))
			return false;
		all &= entry;
		never |= entry & X86_NX;
		table = entry_address(f, level, entry, leaf);
		if (leaf)
			break;
	}
	s->leaf = (uint8_t)level;
	s->nested = two;
	s->host[level - 1].leaf = 0;
	out->hpa = out->gpa = table | (gva & bits(0, shift - 1));
	out->page_shift = out->guest_shift = (uint8_t)shift;
	out->guest_rights = entry_rights(f, p, all | never);
	out->host_rights = 0xf;
	out->writable = all & X86_RW;
	out->user = all & X86_US;
	out->dirty = entry & X86_D;
	out->ad_pending = !(all & X86_A) || (rq.access == ACCESS_WRITE && !(entry & X86_D));
	out->global = p->pge && (entry & X86_G);
	return access_allowed(p, out->guest_rights, rq, false) && (!two || plain_host(&host, memo, rq.access, out, &s->host[0]));
}

bool paging_walk_plain(const struct paging *p, const struct walk_memory *mem, struct walk_memo *memo, uint64_t gva, struct walk_request rq, struct walk *out, struct walk_steps *steps)
{
	bool two = p->space;
	if (mem->phys->size < 8 || (two && (!memo || p->space->format != PAGING_EPT || p->space->space)))
		return false;
	if (p->format == PAGING_32)
		return two ? plain_levels(&formats[PAGING_32], p, mem->phys, true, memo, gva, rq, out, steps) : plain_levels(&formats[PAGING_32], p, mem->phys, false, NULL, gva, rq, out, steps);
	if (p->format == PAGING_4LEVEL)
		return two ? plain_levels(&formats[PAGING_4LEVEL], p, mem->phys, true, memo, gva, rq, out, steps) : plain_levels(&formats[PAGING_4LEVEL], p, mem->phys, false, NULL, gva, rq, out, steps);
	return false;
}

void paging_walk_steps(const struct walk *w, struct walk_steps *s)
{
	s->leaf = WALK_LEVELS;
	s->nested = false;
	for (unsigned i = 0; i < WALK_LEVELS; i++)
		s->host[i].leaf = 0;
	for (const struct walk_ref *r = w->ref; r < w->ref + w->refs; r++) {
		if (r->dimension == WALK_GUEST) {
			s->guest[s->leaf = r->level] = r->hpa;
			continue;
		}
		s->nested = true;
		s->host[r->outer].at = r->at;
		s->host[r->outer].hpa[s->host[r->outer].leaf = r->level] = r->hpa;
	}
}

unsigned paging_rights(const struct paging *p, const struct walk *w, struct walk_request rq)
{
	if (w->ad_pending)
		return 0;
	unsigned allowed = rights_allowed(&formats[p->format], p, w->guest_rights, rq) & w->host_rights & (WALK_R | WALK_W | WALK_X);
	return w->dirty ? allowed : allowed & ~(unsigned)WALK_W;
}

uint64_t paging_ref_gpa(const struct walk *w, unsigned i)
{
	for (unsigned j = i; j-- > 0;)
		if (w->ref[j].dimension == WALK_HOST && w->ref[j].outer == w->ref[i].level)
			return w->ref[j].at;
	return w->ref[i].hpa;
}

const char *paging_format_name(enum paging_format f)
{
	return (unsigned)f < PAGING_FORMATS ? formats[f].name : "?";
}

unsigned paging_format_levels(enum paging_format f)
{
	return (unsigned)f < PAGING_FORMATS ? formats[f].levels : 0;
}

bool paging_pdptes_load(struct paging *p, const struct walk_memory *mem)
{
	bool good = true;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t hpa = p->root + 8 * i;
		struct walk w;
		if (p->space)
			hpa = paging_walk(p->space, mem, hpa, (struct walk_request){ .access = ACCESS_READ }, &w) ? w.hpa : UINT64_MAX;
		p->pdpte[i] = hpa == UINT64_MAX ? 0 : phys_read64(mem->phys, hpa);
		good = good && !paging_pdpte_reserved(p->phys_bits, p->pdpte[i]);
	}
	return good;
}

void paging_from_registers(const struct cpu *cpu, const struct walk_memory *mem, const struct paging *space, struct paging *out)
{
	bool long_mode = cpu->efer & EFER_LMA;
	*out = (struct paging){ .format = PAGING_IDENTITY, .space = space, .phys_bits = cpu->features ? cpu->features->phys_bits : 52 };
	if (!(cpu->cr0 & CR0_PG))
		return;
	out->wp = cpu->cr0 & CR0_WP;
	out->nxe = cpu->efer & EFER_NXE;
	out->smep = cpu->cr4 & CR4_SMEP;
	out->smap = cpu->cr4 & CR4_SMAP;
	out->pse = cpu->cr4 & CR4_PSE;
	out->pge = cpu->cr4 & CR4_PGE;
	out->no_gbyte = cpu->features && !cpu->features->gbyte_pages;
	if (long_mode) {
		out->format = cpu->cr4 & CR4_LA57 ? PAGING_5LEVEL : PAGING_4LEVEL;
		out->root = cpu->cr3 & ENTRY_ADDRESS;
		out->pcid = cpu->cr4 & CR4_PCIDE ? cpu->cr3 & 0xfff : 0;
	} else if (cpu->cr4 & CR4_PAE) {
		out->format = PAGING_PAE;
		out->root = cpu->cr3 & 0xffffffe0u;
		paging_pdptes_load(out, mem);
	} else {
		out->format = PAGING_32;
		out->root = cpu->cr3 & 0xfffff000u;
	}
}
