/*
 * Address spaces: areas say what may be at an address, page tables what is there.
 * Invariant: a present leaf entry lies in an area; it is writable only if the area is and nobody else uses the frame.
 */
#include "kernel.h"
#include "ringside_syscall.h"

#define PT_SLOTS (1u << PT_BITS)
#define TABLE_FLAGS (PTE_P | PTE_RW | PTE_US)
#define INVALIDATE_MAX 32 /* more pages than that: flush everything */

static pte_t *table_entries(frame_t table)
{
	return frame_pointer(table);
}

static unsigned table_user_slots(unsigned level)
{
	return level == PT_LEVELS ? PT_USER_SLOTS : PT_SLOTS;
}

static unsigned table_index(word_t va, unsigned level)
{
	return (unsigned)(va >> (12 + PT_BITS * (level - 1))) & (PT_SLOTS - 1);
}

/* Gives back a table that nothing links any more, with all that hangs on it. */
static void table_release(frame_t table, unsigned level)
{
	pte_t *entries = table_entries(table);
	for (unsigned i = 0; i < table_user_slots(level); i++) {
		if (!(entries[i] & PTE_P))
			continue;
		if (level > 1)
			table_release(pte_frame(entries[i]), level - 1);
		else
			frame_release(pte_frame(entries[i]));
	}
	mmu_table_unseal(table);
	frame_release(table);
}

static frame_t root_create(void)
{
	frame_t root = frame_alloc_zeroed();
	if (root)
		memcpy(table_entries(root) + PT_USER_SLOTS, table_entries(mmu_kernel_root()) + PT_USER_SLOTS,
		       (PT_SLOTS - PT_USER_SLOTS) * sizeof(pte_t));
	return root;
}

/*
 * Finds the leaf entry of va in the present space, walking from the root; makes missing tables if `create`.
 * False: there is none, or no memory for one.
 */
static bool table_walk(struct space *s, word_t va, bool create, frame_t *leaf)
{
	frame_t table = s->root;
	for (unsigned level = PT_LEVELS; level > 1; level--) {
		unsigned index = table_index(va, level);
		pte_t entry = table_entries(table)[index];
		frame_t below = entry & PTE_P ? pte_frame(entry) : 0;
		if (!below) {
			if (!create || !(below = frame_alloc_zeroed()))
				return false;
			mmu_table_seal(below);
			mmu_write(table, index, pte_make(below, TABLE_FLAGS));
		}
		table = below;
	}
	*leaf = table;
	return true;
}

bool space_create(struct space *s)
{
	memset(s, 0, sizeof *s);
	s->root = root_create();
	if (!s->root)
		return false;
	mmu_table_seal(s->root);
	mmu_root_adopt(s->root);
	return true;
}

void space_destroy(struct space *s)
{
	mmu_root_retire(s->root);
	table_release(s->root, PT_LEVELS);
	mmu_commit();
	memset(s, 0, sizeof *s);
}

/* ---- fork ---- */

/*
 * Fills `to` from `from`: leaf entries lose their write permission in both. The copy is not linked while it is filled.
 * False: out of memory; `to` is as far as it got.
 */
static bool table_copy(frame_t to, frame_t from, unsigned level)
{
	pte_t *source = table_entries(from), *copy = table_entries(to);
	for (unsigned i = 0; i < table_user_slots(level); i++) {
		pte_t entry = source[i];
		if (!(entry & PTE_P))
			continue;
		if (level == 1) {
			if (entry & PTE_RW) {
				entry &= ~(pte_t)PTE_RW;
				mmu_write(from, i, entry);
			}
			frame_share(pte_frame(entry));
			copy[i] = entry;
			continue;
		}
		frame_t below = frame_alloc_zeroed();
		if (!below)
			return false;
		bool complete = table_copy(below, pte_frame(entry), level - 1);
		mmu_table_seal(below);
		copy[i] = pte_make(below, TABLE_FLAGS);
		if (!complete)
			return false;
	}
	return true;
}

bool space_fork(struct space *child, struct space *parent)
{
	*child = *parent;
	child->root = root_create();
	if (!child->root)
		return false;
	bool complete = table_copy(child->root, parent->root, PT_LEVELS);
	mmu_table_seal(child->root);
	mmu_flush();
	mmu_commit();
	mmu_root_adopt(child->root);
	if (!complete)
		space_destroy(child);
	return complete;
}

/* ---- faults ---- */

static struct area *area_find(struct space *s, word_t va)
{
	for (struct area *a = s->areas; a < s->areas + s->count; a++)
		if (va >= a->start && va < a->end)
			return a;
	return NULL;
}

static bool area_allows(const struct area *a, unsigned access)
{
	unsigned need = access & FAULT_WRITE ? RS_PROT_WRITE : access & FAULT_FETCH ? RS_PROT_EXEC : RS_PROT_READ;
	return (a->protection & need) == need;
}

static pte_t area_flags(const struct area *a)
{
	return PTE_P | PTE_US | (a->protection & RS_PROT_WRITE ? PTE_RW : 0) | (a->protection & RS_PROT_EXEC ? 0 : PTE_NX);
}

/* A frame with what the area says is at `page`; 0: out of memory. */
static frame_t area_fill(const struct area *a, word_t page)
{
	frame_t frame = frame_alloc_zeroed();
	if (!frame || !a->file)
		return frame;
	word_t from = page > a->file_start ? page : a->file_start;
	word_t to = page + PAGE_BYTES < a->file_start + a->file_bytes ? page + PAGE_BYTES : a->file_start + a->file_bytes;
	if (from < to)
		memcpy((uint8_t *)frame_pointer(frame) + (from - page), a->file + (from - a->file_start), to - from);
	return frame;
}

/* The frame to write to in place of a frame that may be shared; 0: out of memory. */
static frame_t frame_unshare(frame_t frame)
{
	if (frame_users(frame) == 1)
		return frame;
	frame_t copy = frame_alloc();
	if (copy) {
		memcpy(frame_pointer(copy), frame_pointer(frame), PAGE_BYTES);
		frame_release(frame);
	}
	return copy;
}

bool space_fault(struct space *s, word_t va, unsigned access)
{
	word_t page = va & ~(word_t)(PAGE_BYTES - 1);
	struct area *a = area_find(s, va);
	frame_t leaf, frame;
	if (!a || !area_allows(a, access) || !table_walk(s, page, true, &leaf))
		return false;
	unsigned index = table_index(page, 1);
	pte_t entry = table_entries(leaf)[index];
	if (!(entry & PTE_P)) {
		frame = area_fill(a, page);
	} else if (access & FAULT_WRITE && !(entry & PTE_RW)) {
		frame = frame_unshare(pte_frame(entry));
	} else { /* the processor remembered an older entry */
		mmu_invalidate(page);
		mmu_commit();
		return true;
	}
	if (!frame) {
		mmu_commit(); /* tables that table_walk made */
		return false;
	}
	mmu_replace(page, leaf, index, pte_make(frame, area_flags(a)));
	return true;
}

bool space_slot(struct space *s, word_t va, frame_t *table, unsigned *index)
{
	bool found = table_walk(s, va, true, table);
	mmu_commit();
	*index = table_index(va, 1);
	return found;
}

/* ---- areas ---- */

bool space_add(struct space *s, const struct area *area)
{
	if (s->count == AREAS_MAX)
		return false;
	s->areas[s->count++] = *area;
	return true;
}

static const struct area *area_overlap(const struct space *s, word_t start, word_t end)
{
	for (const struct area *a = s->areas; a < s->areas + s->count; a++)
		if (start < a->end && a->start < end)
			return a;
	return NULL;
}

/* Rounds [at, at + bytes) to pages; false if it is empty or leaves user space. */
static bool range_round(word_t at, word_t bytes, word_t *end)
{
	if (at & (PAGE_BYTES - 1) || !bytes || at >= USER_TOP || bytes > USER_TOP - at)
		return false;
	*end = (at + bytes + PAGE_BYTES - 1) & ~(word_t)(PAGE_BYTES - 1);
	return true;
}

word_t space_map(struct space *s, word_t at, word_t bytes, unsigned protection)
{
	bool anywhere = at == 0;
	word_t start = anywhere ? USER_MAP_BASE : at, end;
	const struct area *other;
	if (!range_round(start, bytes, &end))
		return 0;
	while ((other = area_overlap(s, start, end))) {
		start = other->end;
		if (!anywhere || !range_round(start, bytes, &end))
			return 0;
	}
	struct area area = { .start = start, .end = end, .protection = protection & 7 };
	return space_add(s, &area) ? start : 0;
}

/* Makes `at` a boundary between areas; false: no room for one more. */
static bool area_split(struct space *s, word_t at)
{
	struct area *a = area_find(s, at);
	if (!a || a->start == at)
		return true;
	struct area upper = *a;
	upper.start = at;
	if (!space_add(s, &upper))
		return false;
	a->end = at;
	return true;
}

/* Applies `change` to each present leaf entry of [start, end); it returns the new entry. */
static void range_change(struct space *s, word_t start, word_t end, pte_t (*change)(pte_t entry, const struct area *a))
{
	unsigned changed = 0;
	for (word_t va = start; va < end; va += PAGE_BYTES) {
		frame_t leaf;
		if (!table_walk(s, va, false, &leaf)) {
			/* On to the last page that the missing leaf table would map. */
			va = (va | (((word_t)PAGE_BYTES << PT_BITS) - 1)) & ~(word_t)(PAGE_BYTES - 1);
			continue;
		}
		pte_t entry = table_entries(leaf)[table_index(va, 1)];
		if (!(entry & PTE_P))
			continue;
		mmu_write(leaf, table_index(va, 1), change(entry, area_find(s, va)));
		if (++changed <= INVALIDATE_MAX)
			mmu_invalidate(va);
	}
	if (changed > INVALIDATE_MAX)
		mmu_flush();
	mmu_commit();
}

static pte_t entry_drop(pte_t entry, const struct area *a)
{
	(void)a;
	frame_release(pte_frame(entry));
	return 0;
}

static pte_t entry_protect(pte_t entry, const struct area *a)
{
	pte_t flags = area_flags(a);
	if (frame_users(pte_frame(entry)) > 1)
		flags &= ~(pte_t)PTE_RW; /* still copy on write */
	return pte_make(pte_frame(entry), flags);
}

/* Unlinks and gives back the leaf tables that lie wholly in [start, end), which has no present entry left. */
static void range_release_tables(struct space *s, word_t start, word_t end)
{
	const word_t span = (word_t)PAGE_BYTES << PT_BITS;
	bool changed = false;
	for (word_t va = (start + span - 1) & ~(span - 1); va < end && end - va >= span; va += span) {
		frame_t table = s->root;
		for (unsigned level = PT_LEVELS; level > 2 && table; level--) {
			pte_t entry = table_entries(table)[table_index(va, level)];
			table = entry & PTE_P ? pte_frame(entry) : 0;
		}
		pte_t entry = table ? table_entries(table)[table_index(va, 2)] : 0;
		if (!(entry & PTE_P))
			continue;
		mmu_write(table, table_index(va, 2), 0);
		mmu_flush(); /* before the frame can become something else: walk caches hold it (SDM 3A 4.10.2) */
		table_release(pte_frame(entry), 1);
		changed = true;
	}
	if (changed)
		mmu_commit();
}

bool space_unmap(struct space *s, word_t at, word_t bytes)
{
	word_t end;
	if (!range_round(at, bytes, &end) || !area_split(s, at) || !area_split(s, end))
		return false;
	range_change(s, at, end, entry_drop);
	range_release_tables(s, at, end);
	for (unsigned i = 0; i < s->count;) {
		if (s->areas[i].start >= at && s->areas[i].end <= end)
			s->areas[i] = s->areas[--s->count];
		else
			i++;
	}
	return true;
}

bool space_protect(struct space *s, word_t at, word_t bytes, unsigned protection)
{
	word_t end;
	if (!(protection & RS_PROT_READ) || !range_round(at, bytes, &end) || !area_split(s, at) || !area_split(s, end))
		return false;
	for (struct area *a = s->areas; a < s->areas + s->count; a++)
		if (a->start >= at && a->end <= end)
			a->protection = protection & 7;
	range_change(s, at, end, entry_protect);
	return true;
}

word_t space_brk(struct space *s, word_t end)
{
	if (end <= s->heap_end || end >= USER_TOP || area_overlap(s, s->heap_end, end + PAGE_BYTES))
		return s->heap_end;
	word_t rounded = (end + PAGE_BYTES - 1) & ~(word_t)(PAGE_BYTES - 1);
	struct area *heap = s->heap_end > s->heap_start ? area_find(s, s->heap_end - 1) : NULL;
	struct area area = { .start = s->heap_start, .end = rounded, .protection = RS_PROT_READ | RS_PROT_WRITE };
	if (heap)
		heap->end = rounded;
	else if (!space_add(s, &area))
		return s->heap_end;
	return s->heap_end = rounded;
}
