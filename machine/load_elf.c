/* ELF executables by physical address (System V ABI, chapter 4; AMD64 supplement). */
#include "load.h"
#include <elf.h>

struct segment_header { uint64_t offset, virtual, physical, file_bytes, memory_bytes; uint32_t type; };

bool elf_recognize(const struct load_file *f)
{
	return f->size >= EI_NIDENT && !memcmp(f->bytes, ELFMAG, SELFMAG);
}

struct elf_header { unsigned width; uint16_t type, machine, entry_size, entries; uint64_t entry, table; };

static bool header_read(const struct load_file *f, struct elf_header *h, struct load_error *e)
{
	Elf32_Ehdr small;
	Elf64_Ehdr large;
	if (!elf_recognize(f))
		return load_fail(e, f, "not an ELF file: give a kernel built as an ELF executable");
	if (f->bytes[EI_DATA] != ELFDATA2LSB || (f->bytes[EI_CLASS] != ELFCLASS32 && f->bytes[EI_CLASS] != ELFCLASS64))
		return load_fail(e, f, "ELF class %u, data encoding %u: only little-endian ELF32 and ELF64 run here", f->bytes[EI_CLASS], f->bytes[EI_DATA]);
	h->width = f->bytes[EI_CLASS] == ELFCLASS64 ? 64 : 32;
	if (f->size < (h->width == 64 ? sizeof large : sizeof small))
		return load_fail(e, f, "the file ends inside the ELF header: it is cut short, copy it again");
	if (h->width == 64) {
		memcpy(&large, f->bytes, sizeof large);
		*h = (struct elf_header){ 64, large.e_type, large.e_machine, large.e_phentsize, large.e_phnum, large.e_entry, large.e_phoff };
	} else {
		memcpy(&small, f->bytes, sizeof small);
		*h = (struct elf_header){ 32, small.e_type, small.e_machine, small.e_phentsize, small.e_phnum, small.e_entry, small.e_phoff };
	}
	if (h->type != ET_EXEC)
		return load_fail(e, f, "ELF type %u is not an executable: link it with fixed addresses (-static, -no-pie)", h->type);
	if (h->machine != EM_386 && h->machine != EM_X86_64)
		return load_fail(e, f, "ELF machine %u: only i386 (3) and x86-64 (62) run here", h->machine);
	uint64_t need = h->width == 64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr), bytes = (uint64_t)h->entry_size * h->entries;
	if (!h->entries || h->entry_size < need || h->table > f->size || bytes > f->size - h->table)
		return load_fail(e, f, "its %u program headers of %u bytes at offset %llu are not inside the file: it is damaged or cut short", h->entries, h->entry_size, (unsigned long long)h->table);
	return true;
}

static struct segment_header segment_read(const struct load_file *f, const struct elf_header *h, unsigned i)
{
	const uint8_t *at = f->bytes + h->table + (uint64_t)i * h->entry_size;
	if (h->width == 64) {
		Elf64_Phdr p;
		memcpy(&p, at, sizeof p);
		return (struct segment_header){ p.p_offset, p.p_vaddr, p.p_paddr, p.p_filesz, p.p_memsz, p.p_type };
	}
	Elf32_Phdr p;
	memcpy(&p, at, sizeof p);
	return (struct segment_header){ p.p_offset, p.p_vaddr, p.p_paddr, p.p_filesz, p.p_memsz, p.p_type };
}

static bool segment_place(const struct load_file *f, const struct segment_header *s, unsigned i, const struct load_memory *m, struct load_error *e)
{
	if (s->file_bytes > s->memory_bytes || s->offset > f->size || s->file_bytes > f->size - s->offset)
		return load_fail(e, f, "segment %u (%llu bytes at offset %llu) is not inside the file: it is damaged or cut short", i, (unsigned long long)s->file_bytes,
			(unsigned long long)s->offset);
	if (!load_fits(m, s->physical, s->memory_bytes))
		return load_fail(e, f, "segment %u (%llu bytes at physical 0x%llx) lies outside the guest's %llu MiB: give it more memory, or link it lower", i,
			(unsigned long long)s->memory_bytes, (unsigned long long)s->physical, (unsigned long long)(m->size >> 20));
	memcpy(m->bytes + s->physical, f->bytes + s->offset, s->file_bytes);
	memset(m->bytes + s->physical + s->file_bytes, 0, s->memory_bytes - s->file_bytes);
	return true;
}

bool elf_load(const struct load_file *f, const struct load_memory *m, struct load_image *out, struct load_error *e)
{
	struct elf_header h = { 0 };
	if (!header_read(f, &h, e))
		return false;
	*out = (struct load_image){ .width = h.width, .entry = h.entry, .entry_physical = h.entry, .low = UINT64_MAX };
	bool physical = false, found = false;
	for (unsigned i = 0; i < h.entries; i++) {
		struct segment_header s = segment_read(f, &h, i);
		if (s.type != PT_LOAD || !s.memory_bytes)
			continue;
		if (!segment_place(f, &s, i, m, e))
			return false;
		if (h.entry >= s.physical && h.entry - s.physical < s.memory_bytes)
			physical = true; /* an entry that is a physical address already wins */
		else if (!physical && h.entry >= s.virtual && h.entry - s.virtual < s.memory_bytes)
			out->entry_physical = h.entry - s.virtual + s.physical, found = true;
		out->low = s.physical < out->low ? s.physical : out->low;
		out->high = s.physical + s.memory_bytes > out->high ? s.physical + s.memory_bytes : out->high;
	}
	if (physical)
		out->entry_physical = h.entry;
	if (!out->high)
		return load_fail(e, f, "no segment to load: link it as an executable with PT_LOAD segments");
	if (!physical && !found)
		return load_fail(e, f, "its entry 0x%llx is in none of its segments: set the entry symbol when linking", (unsigned long long)h.entry);
	return true;
}
