/*
 * Page tables and the one walker (design, decision 5).
 *
 * A paging structure is (format, root, space). The space says where the pointers found in it live: NULL, they are host-physical; another paging
 * structure, they are addresses that it translates. So native and shadow are one-dimensional walks (of different roots), nested paging is a walk whose
 * space is EPT or NPT, and a VMM's software walk of guest tables is one whose space is its own linear p2m table. There is one walk function.
 *
 * Invariant: walk() touches simulated memory only through the references that it returns, in that order; with set_ad false it changes nothing.
 */
#ifndef TLB_PAGING_H
#define TLB_PAGING_H
#include "../isa/phys.h"
#include "../isa/ports.h"

enum paging_format { /* rows of tlb/paging_formats.def in order; ORDER FORMAT: ids in traces and databases */
	PAGING_IDENTITY, /* paging off: address = address, 0 references */
	PAGING_LINEAR,   /* a flat array of 8-byte frame entries (a VMM's p2m): entry = hpa | 1 present | 2 writable; 1 reference */
	PAGING_32,       /* two levels, 4-byte entries, 4 MiB pages with PSE (PSE-36): SDM 3A 4.3 */
	PAGING_PAE,      /* SDM 3A 4.4: PDPTEs come from registers (pdpte[]), so a walk is 2 references */
	PAGING_4LEVEL,   /* SDM 3A 4.5 */
	PAGING_5LEVEL,
	PAGING_EPT,      /* SDM 3C 28.2, four levels */
	PAGING_EPT5,     /* five levels */
	PAGING_NPT,      /* AMD APM 2 15.25: long-mode tables; every access is a user access */
	PAGING_NPT5,
	PAGING_FORMATS
};

struct paging {
	enum paging_format format;
	uint64_t root;              /* address of the top-level table, in `space` (control bits removed) */
	const struct paging *space; /* NULL: root and the pointers found are host-physical */
	uint64_t linear_entries;    /* PAGING_LINEAR: how many */
	uint64_t pdpte[4];          /* PAGING_PAE: loaded at MOV CR3 (SDM 3A 4.4.1) */
	bool wp, nxe, smep, smap, pse, pge;
	bool no_gbyte;              /* the processor has no 1 GiB pages: PS in a PDPTE is reserved (not for EPT) */
	bool ad;                    /* EPT: accessed and dirty flags on (EPTP bit 6); other formats always have them */
	uint8_t phys_bits;          /* MAXPHYADDR: reserved bits follow from it; 0: 52 */
	uint16_t pcid, vpid;        /* tags of translations made through it; 0 when off */
};

enum walk_dimension { WALK_GUEST = 0 /* the structure itself (native tables, guest's tables, shadow) */, WALK_HOST = 1 /* its space */ };

struct walk_ref {
	uint64_t hpa;     /* of the entry that was read; bytes = entry size of its format */
	uint64_t at;      /* the address being translated by this dimension when it was read (gva, or gpa in WALK_HOST): key of walk caches */
	uint8_t dimension;
	uint8_t level;    /* 1 = leaf page table, 2 = page directory, ... of its own dimension */
	uint8_t outer;    /* WALK_HOST: level of the guest entry that this nested walk locates; 0: the final address */
	uint8_t bytes;    /* 4 or 8 */
};
#define WALK_MAX_REFS 40 /* 5 over 5 gives 35 */

/*
 * The same references as walk caches look at them: in each dimension, from its topmost table down to `leaf`. Kept apart from struct walk because a walk that goes well needs no list.
 */
#define WALK_LEVELS 6 /* by level: 1 .. 5 */
struct walk_leg { /* one walk of the host dimension */
	uint64_t at;                /* the guest-physical address that it translates */
	uint64_t hpa[WALK_LEVELS];  /* of its entries, by level */
	uint8_t leaf;               /* level of the last that was read; 0: none */
};
struct walk_steps {
	uint64_t guest[WALK_LEVELS]; /* host-physical addresses of the first dimension's entries */
	uint8_t leaf;                /* level of the last that was read; WALK_LEVELS: none */
	bool nested;                 /* there are references in the host dimension: host[] is set, from the topmost level of the first dimension */
	struct walk_leg host[WALK_LEVELS]; /* by the level of the guest entry that they locate; 0: of the final address */
};

enum walk_status { WALK_OK, WALK_NOT_PRESENT, WALK_PROTECTION, WALK_RESERVED };

enum { WALK_R = 1, WALK_W = 2, WALK_X = 4 }; /* as in EPT entries and exit qualifications: 1 << enum access */

struct walk_request {
	enum access access;
	bool user;         /* user-mode access (CPL 3 and not implicit supervisor) */
	bool ac_override;  /* EFLAGS.AC set and not implicit: SMAP does not apply */
	bool set_ad;       /* set accessed (and dirty, for writes) flags in every dimension, only when the whole walk succeeds in all of them */
};

struct walk {
	enum walk_status status;
	uint8_t fault_dimension, fault_level; /* where it ended, unless WALK_OK */
	uint32_t error;        /* WALK_GUEST faults of x86 formats: page-fault error code (SDM 3A 4.7) */
	uint64_t fault_gpa;    /* WALK_HOST faults: the guest-physical address that had no translation */
	bool fault_on_table;   /* WALK_HOST faults: it was a guest page table's address, not the final one */
	uint64_t hpa;          /* of the byte asked for */
	uint64_t gpa;          /* what the first dimension gave (== hpa in one dimension) */
	uint8_t page_shift;    /* of the combined mapping: the smaller of both dimensions: 12, 21, 22 or 30 */
	uint8_t guest_shift;   /* page size of the first dimension alone */
	uint8_t fault_access;  /* WALK_HOST faults: enum access that the host dimension saw; a guest table reference counts as a write under EPT A/D and NPT */
	uint8_t fault_rights;  /* WALK_HOST faults: rights (WALK_R | WALK_W | WALK_X) of the entries read up to the fault, for the exit qualification */
	bool ad_pending;       /* set_ad was false, and true would have changed an accessed or dirty flag */
	uint8_t guest_rights, host_rights; /* of the first dimension and of its space: WALK_R | WALK_W | WALK_X, and 8 for user pages */
	bool readable;         /* false only for execute-only EPT pages */
	bool writable, user, executable, global; /* combined permissions for later accesses (CR0.WP etc. not applied) */
	bool dirty;            /* leaf D set in every dimension that has one: a write may be cached */
	uint64_t leaf;         /* the first dimension's leaf entry as it stands after the walk */
	unsigned refs;
	struct walk_ref ref[WALK_MAX_REFS];
};

struct walk_memory { /* how the walker reaches entries */
	struct phys *phys;
	void *self;
	void (*before_change)(void *self, uint64_t hpa); /* called before an A or D bit is written; may be NULL */
};

/*
 * What a walk of an EPT has found in its two upper levels, for paging_walk_plain(). Both entries are read again each time, and compared: so nobody has to tell it of changes, and a walk
 * does not wait for one to know where the next is. Zeroes are a good start.
 */
struct walk_memo {
	struct walk_upper {
		uint64_t root, region;  /* gpa >> 30 */
		uint64_t at[2], entry[2];
		uint64_t table;         /* of level 2 */
		uint8_t phys_bits, rights;
		bool known;
	} upper[4];                     /* by the low bits of the region */
};

/* The walk that the manuals draw. `address` in the structure's input space. Returns out->status == WALK_OK. */
bool paging_walk(const struct paging *p, const struct walk_memory *mem, uint64_t address, struct walk_request rq, struct walk *out);

/*
 * The same for the commonest of walks, without notes for A and D flags: 32-bit or 4-level tables, alone or over an EPT, all of it present and allowed. True: hpa, page_shift,
 * guest_shift, gpa, both rights, writable, user, dirty, global and ad_pending of *out are set, as paging_walk() without set_ad sets them (dirty as it stands, pending or not), so that
 * paging_rights() may be asked unless a flag is pending; and *steps instead of the references. False: ask paging_walk(). memo NULL: no walk over an EPT.
 */
bool paging_walk_plain(const struct paging *p, const struct walk_memory *mem, struct walk_memo *memo, uint64_t gva, struct walk_request rq, struct walk *out, struct walk_steps *steps);
/* The references of a walk, successful or not, as steps. */
void paging_walk_steps(const struct walk *w, struct walk_steps *steps);

/* Entries made under one are right under the other, but for root and PCID. */
static inline bool paging_same_rules(const struct paging *a, const struct paging *b)
{
	return a->format == b->format && a->wp == b->wp && a->nxe == b->nxe && a->smep == b->smep && a->smap == b->smap && a->pse == b->pse && a->pge == b->pge;
}

/* Whether a PAE PDPTE is present with a bit set that must be 0: 1, 2, 5 to 8, and from MAXPHYADDR (0: 52) on (SDM 3A table 4-8). */
static inline bool paging_pdpte_reserved(unsigned phys_bits, uint64_t pdpte)
{
	return (pdpte & 1) && (pdpte & (0x1e6 | ~0ull << (phys_bits ? phys_bits : 52)));
}

/* What paging the guest's control registers ask for, over `space` (PAGING_IDENTITY when CR0.PG is 0). Reads PDPTEs through the walker for PAE. */
void paging_from_registers(const struct cpu *cpu, const struct walk_memory *mem, const struct paging *space, struct paging *out);
/* False when a PAE PDPTE has reserved bits set: MOV CR3 raises #GP(0) then. */
bool paging_pdptes_load(struct paging *p, const struct walk_memory *mem);

/* Which accesses (1 << enum access) of the same kind of requester may be cached from a successful walk: they pass every permission check and change no A/D flag. */
unsigned paging_rights(const struct paging *p, const struct walk *w, struct walk_request rq);
/* Guest-physical address of the guest entry that w->ref[i] read (dimension WALK_GUEST); its hpa when there is one dimension. */
uint64_t paging_ref_gpa(const struct walk *w, unsigned i);
/* log2 of the bytes that one entry of `level` covers: 12 for level 1, 21 or 22 for level 2, ... */
unsigned paging_level_shift(enum paging_format f, unsigned level);
const char *paging_format_name(enum paging_format f);
unsigned paging_format_levels(enum paging_format f); /* references of a 4 KiB walk in one dimension */
#endif
