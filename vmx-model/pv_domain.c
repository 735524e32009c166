/* The domain builder: what a paravirtual kernel finds at its entry (ringside_pv.h, "Start of the day"). */
#include "pv.h"
#include <stdio.h>

struct builder {
	struct vmm *v;
	unsigned width, levels, bytes, index_bits;
	uint64_t kbase, next;                    /* next free guest-physical page */
	uint64_t gdt, shared, start, p2m, m2p, m2p_entries, root, tables, tables_end;
};

/* SDM 3A 3.4.5. Accessed is set already: the guest maps its GDT read-only. */
static const uint64_t gdt_narrow[6] = { 0, 0x00cfbb000000ffffull, 0x00cfb3000000ffffull, 0x00cffb000000ffffull, 0x00cff3000000ffffull, 0x00cff3000000ffffull };
static const uint64_t gdt_wide[6] = { 0, 0x00afbb000000ffffull, 0x00cfb3000000ffffull, 0x00cffb000000ffffull, 0x00cff3000000ffffull, 0x00affb000000ffffull };

uint64_t pv_thread_descriptor(uint32_t base)
{
	return 0x00cff3000000ffffull | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56;
}

static uint8_t *guest_at(const struct builder *b, uint64_t gpa) { return b->v->phys->bytes + b->v->guest_base + gpa; }
static uint64_t machine_of(const struct builder *b, uint64_t gpa) { return b->v->guest_base + gpa; }

static uint64_t take(struct builder *b, uint64_t bytes)
{
	uint64_t at = b->next;
	b->next += (bytes + 4095) & ~4095ull;
	return at;
}

static unsigned level_shift(const struct builder *b, unsigned level) { return 12 + (level - 1) * b->index_bits; }

/* Table pages that map [kbase, kbase + bytes), over all levels. */
static uint64_t tables_needed(const struct builder *b, uint64_t bytes)
{
	uint64_t pages = 0;
	for (unsigned level = 1; level <= b->levels; level++) {
		unsigned span = level_shift(b, level + 1);
		pages += level == b->levels ? 1 : ((b->kbase + bytes - 1) >> span) - (b->kbase >> span) + 1;
	}
	return pages;
}

static bool layout(struct builder *b)
{
	struct vmm *v = b->v;
	uint64_t frames = v->guest_bytes >> 12, most = b->width == 64 ? 0x7f000000ull : 0x3f000000ull;
	b->next = (b->next + 4095) & ~4095ull;
	if (v->guest_bytes > most || (b->width == 32 && (v->guest_base + v->guest_bytes) >> 32)) {
		vmm_fail(v, "a %u-bit paravirtual guest can have at most %llu MiB of memory: set machine.memory lower", b->width, (unsigned long long)most >> 20);
		return false;
	}
	b->m2p_entries = (v->guest_base + v->guest_bytes) >> 12;
	uint64_t need = 3 * 4096 + 2 * 4096 + frames * 4 + b->m2p_entries * 4 + tables_needed(b, v->guest_bytes) * 4096 + (1 << 20);
	if (b->next > v->guest_bytes || need > v->guest_bytes - b->next) {
		vmm_fail(v, "%llu MiB are too little for this paravirtual guest: set machine.memory higher", (unsigned long long)v->guest_bytes >> 20);
		return false;
	}
	b->gdt = take(b, 4096);
	b->shared = take(b, 4096);
	b->start = take(b, 4096);
	b->p2m = take(b, frames * 4);
	b->m2p = take(b, b->m2p_entries * 4);
	b->tables = b->next;
	b->root = take(b, 4096);
	b->tables_end = b->tables + tables_needed(b, v->guest_bytes) * 4096;
	memset(guest_at(b, b->gdt), 0, b->tables_end - b->gdt);
	return true;
}

static uint64_t entry_at(const struct builder *b, uint64_t gpa)
{
	uint64_t e = 0;
	memcpy(&e, guest_at(b, gpa), b->bytes);
	return e;
}

/* Maps one page of the domain at kbase + gpa. */
static void map(struct builder *b, uint64_t gpa)
{
	uint64_t va = b->kbase + gpa, table = b->root, e;
	bool fixed = gpa == b->gdt || (gpa >= b->tables && gpa < b->tables_end);
	for (unsigned level = b->levels;; level--) {
		uint64_t at = table + (va >> level_shift(b, level) & ((1u << b->index_bits) - 1)) * b->bytes;
		if (level == 1) {
			e = machine_of(b, gpa) | 1 | (fixed ? 0 : 2);
			memcpy(guest_at(b, at), &e, b->bytes);
			return;
		}
		e = entry_at(b, at);
		if (!(e & 1)) {
			e = machine_of(b, take(b, 4096)) | 3;
			memcpy(guest_at(b, at), &e, b->bytes);
		}
		table = vmm_gpa_of(b->v, e & 0x000ffffffffff000ull);
	}
}

static void fill_frames(struct builder *b)
{
	uint64_t first = b->v->guest_base >> 12;
	for (uint64_t m = 0; m < b->m2p_entries; m++) {
		uint32_t pfn = m < first ? 0xffffffffu : (uint32_t)(m - first), mfn = (uint32_t)m;
		memcpy(guest_at(b, b->m2p) + 4 * m, &pfn, 4);
		if (m >= first)
			memcpy(guest_at(b, b->p2m) + 4 * (m - first), &mfn, 4);
	}
}

static void fill_start(struct builder *b, const struct pv_boot *boot)
{
	struct pv_start_info s = { .magic = PV_MAGIC, .width = b->width, .nr_pages = b->v->guest_bytes >> 12, .free_pa = b->next, .pt_base_pa = b->root, .shared_info = b->kbase + b->shared,
		.p2m = b->kbase + b->p2m, .m2p = b->kbase + b->m2p, .m2p_entries = b->m2p_entries, .mod_start_pa = boot->module_gpa, .mod_bytes = boot->module_bytes };
	struct pv_shared_info shared = { .upcall_mask = 1 };
	snprintf(s.cmdline, sizeof s.cmdline, "%s", boot->cmdline ? boot->cmdline : "");
	memcpy(guest_at(b, b->start), &s, sizeof s);
	memcpy(guest_at(b, b->shared), &shared, sizeof shared);
	memcpy(guest_at(b, b->gdt), b->width == 64 ? gdt_wide : gdt_narrow, sizeof gdt_wide);
}

static void enter(struct builder *b, const struct pv_boot *boot)
{
	struct cpu *cpu = b->v->cpu;
	bool wide = b->width == 64;
	cpu->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | (wide ? CR4_PAE : 0);
	cpu->efer = wide ? EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE : 0;
	cpu->cr3 = machine_of(b, b->root);
	cpu->gdtr = (struct descriptor_table){ b->kbase + b->gdt, sizeof gdt_wide - 1 };
	cpu->idtr = (struct descriptor_table){ 0, 0 };
	cpu->ldtr = cpu->tr = (struct segment){ .attributes = SEGA_UNUSABLE };
	for (unsigned s = 0; s < SEG_COUNT; s++)
		if (s != SEG_CS)
			segment_set_flat(cpu, (enum segment_name)s, PV_KDS, 1, false, b->width / 8);
	cpu->eflags = 2;
	flags_set(cpu, 0);
	memset(cpu->reg, 0, sizeof cpu->reg);
	cpu->reg[REG_SI] = b->kbase + b->start;
	cpu->rip = boot->entry;
	pv_segments_set(b->v, PV_KCS, PV_KDS);
	cpu->mem.context_changed(cpu->mem.self, cpu, CONTEXT_RESET, 0, false);
}

bool vmm_paravirt_boot(struct vmm *v, const struct pv_boot *boot)
{
	struct builder b = { .v = v, .width = boot->width, .levels = boot->width == 64 ? 4 : 2, .bytes = boot->width / 8, .index_bits = boot->width == 64 ? 9 : 10,
		.kbase = boot->width == 64 ? PV_KBASE_64 : PV_KBASE_32, .next = boot->free_gpa };
	struct pv *p = v->cpu_self;
	if (v->technique->id != TECHNIQUE_PARAVIRT || (boot->width != 32 && boot->width != 64)) {
		vmm_fail(v, "technique %s cannot run a paravirtual guest of %u bits", v->technique->name, boot->width);
		return false;
	}
	if (!layout(&b))
		return false;
	p->width = boot->width;
	p->shared = machine_of(&b, b.shared);
	p->gdt = machine_of(&b, b.gdt);
	fill_frames(&b);
	for (uint64_t gpa = 0; gpa < v->guest_bytes; gpa += 4096)
		map(&b, gpa);
	fill_start(&b, boot);
	v->quiet = true;
	direct_paging_width(v, boot->width);
	direct_paging_reserve(v, machine_of(&b, b.gdt) >> 12);
	int error = direct_paging_root(v, machine_of(&b, b.root) >> 12);
	v->quiet = false;
	if (error) {
		vmm_fail(v, "the domain's first page tables were refused (%d)", error);
		return false;
	}
	enter(&b, boot);
	return true;
}
