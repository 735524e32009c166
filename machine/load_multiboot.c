/*
 * Multiboot Specification 0.6.96. Header (section 3.1), within the first 8192 bytes, aligned to 4:
 *   0 magic 0x1BADB002 | 4 flags | 8 checksum | if flags bit 16: 12 header_addr | 16 load_addr | 20 load_end_addr | 24 bss_end_addr | 28 entry_addr
 */
#include "load.h"

enum {
	HEADER_MAGIC = 0x1BADB002, LOADER_MAGIC = 0x2BADB002, HEADER_WITHIN = 8192, HEADER_MANDATORY = 0xffff,
	HEADER_ALIGN = 1, HEADER_MEMORY = 2, HEADER_VIDEO = 4, HEADER_ADDRESSES = 0x10000,
	INFO_MEMORY = 1, INFO_CMDLINE = 4, INFO_MODULES = 8, INFO_MAP = 0x40, INFO_LOADER = 0x200,
	INFO_AT = 0x9000,      /* conventional memory that boot loaders use for it */
	INFO_BYTES = 0x2000,   /* all that we put there fits: checked */
	LOW_TOP = 0xa0000, HIGH_BASE = 0x100000,
};

struct header { uint32_t magic, flags, checksum, header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr; };

struct info { /* section 3.3, the part that we fill */
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name, apm_table,
		vbe[4];
};
struct map_entry { uint32_t size; uint64_t base, length; uint32_t type; } __attribute__((packed));
struct module_entry { uint32_t start, end, string, reserved; };

/* The header's offset in the file; SIZE_MAX: none. */
static size_t header_find(const struct load_file *f, struct header *h)
{
	for (size_t at = 0; at + 12 <= f->size && at + 12 <= HEADER_WITHIN; at += 4) {
		memset(h, 0, sizeof *h);
		memcpy(h, f->bytes + at, f->size - at < sizeof *h ? f->size - at : sizeof *h);
		if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0)
			return at;
	}
	return SIZE_MAX;
}

bool multiboot_recognize(const struct load_file *f)
{
	struct header h;
	return header_find(f, &h) != SIZE_MAX;
}

/* The image as the header's address fields say (flags bit 16). */
static bool addresses_load(const struct load_file *f, const struct header *h, size_t at, const struct load_memory *m, struct load_image *out, struct load_error *e)
{
	uint64_t before = (uint64_t)h->header_addr - h->load_addr;
	if (h->header_addr < h->load_addr || before > at || at + sizeof *h > f->size)
		return load_fail(e, f, "its Multiboot address fields do not fit its header's place in the file: header_addr 0x%x, load_addr 0x%x, header at %zu", h->header_addr, h->load_addr, at);
	uint64_t from = at - before, bytes = h->load_end_addr ? (uint64_t)h->load_end_addr - h->load_addr : f->size - from;
	if ((h->load_end_addr && h->load_end_addr < h->load_addr) || bytes > f->size - from)
		return load_fail(e, f, "its Multiboot load_end_addr 0x%x asks for bytes that the file does not have: it is damaged or cut short", h->load_end_addr);
	uint64_t end = h->load_addr + bytes, high = h->bss_end_addr > end ? h->bss_end_addr : end;
	if (!load_fits(m, h->load_addr, high - h->load_addr))
		return load_fail(e, f, "its Multiboot image 0x%x-0x%llx lies outside the guest's %llu MiB: give it more memory", h->load_addr, (unsigned long long)high, (unsigned long long)(m->size >> 20));
	if (h->entry_addr < h->load_addr || h->entry_addr >= high)
		return load_fail(e, f, "its Multiboot entry_addr 0x%x is outside its image", h->entry_addr);
	memcpy(m->bytes + h->load_addr, f->bytes + from, bytes);
	memset(m->bytes + end, 0, high - end);
	*out = (struct load_image){ 32, h->entry_addr, h->entry_addr, h->load_addr, high };
	return true;
}

/* ---- the information structure ---- */

struct writer { const struct load_memory *m; uint64_t at, end; bool full; };

/* Appends bytes, aligned to 4; returns their guest-physical address. */
static uint32_t put(struct writer *w, const void *from, uint64_t bytes)
{
	uint64_t at = (w->at + 3) & ~3ull;
	if (bytes > w->end - at || at > w->end) {
		w->full = true;
		return 0;
	}
	memcpy(w->m->bytes + at, from, bytes);
	w->at = at + bytes;
	return (uint32_t)at;
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static void map_put(struct writer *w, uint64_t memory, struct info *info)
{
	struct map_entry map[3] = { { 20, 0, LOW_TOP, 1 }, { 20, LOW_TOP, HIGH_BASE - LOW_TOP, 2 /* reserved */ }, { 20, HIGH_BASE, memory > HIGH_BASE ? memory - HIGH_BASE : 0, 1 } };
	info->mmap_length = sizeof map;
	info->mmap_addr = put(w, map, sizeof map);
}

static bool info_build(const struct load_file *f, const struct load_file *module, const struct module_entry *placed, unsigned modules, const char *cmdline, const struct load_memory *m,
	uint64_t at, uint32_t *address, struct load_error *e)
{
	struct writer w = { m, at, at + INFO_BYTES, false };
	struct module_entry entry[16];
	uint64_t upper = m->size > HIGH_BASE ? (m->size - HIGH_BASE) >> 10 : 0;
	struct info info = { .flags = INFO_MEMORY | INFO_CMDLINE | INFO_MAP | INFO_LOADER | (modules ? INFO_MODULES : 0), .mem_lower = LOW_TOP >> 10, .mem_upper = (uint32_t)upper };
	*address = put(&w, &info, sizeof info);
	map_put(&w, m->size, &info);
	for (unsigned i = 0; i < modules; i++) {
		const char *name = file_name(module[i].path); /* not the path: results must not depend on where files lie */
		entry[i] = placed[i];
		entry[i].string = put(&w, name, strlen(name) + 1);
	}
	info.mods_count = modules;
	info.mods_addr = modules ? put(&w, entry, modules * sizeof *entry) : 0;
	info.cmdline = put(&w, cmdline, strlen(cmdline) + 1);
	info.boot_loader_name = put(&w, "Ringside", 9);
	if (w.full)
		return load_fail(e, f, "no room for the Multiboot information at 0x%llx: shorten the command line", (unsigned long long)at);
	memcpy(m->bytes + *address, &info, sizeof info);
	return true;
}

static bool modules_load(const struct load_file *module, unsigned modules, const struct load_memory *m, uint64_t *high, struct module_entry *placed, struct load_error *e)
{
	for (unsigned i = 0; i < modules; i++) {
		uint64_t at = (*high + 4095) & ~4095ull;
		if (!load_fits(m, at, module[i].size) || at + module[i].size > UINT32_MAX)
			return load_fail(e, &module[i], "its %zu bytes do not fit above the kernel in %llu MiB: give the guest more memory", module[i].size, (unsigned long long)(m->size >> 20));
		memcpy(m->bytes + at, module[i].bytes, module[i].size);
		*high = at + module[i].size;
		placed[i] = (struct module_entry){ (uint32_t)at, (uint32_t)*high, 0, 0 };
	}
	return true;
}

bool multiboot_load(const struct load_file *f, const struct load_file *module, unsigned modules, const char *cmdline, const struct load_memory *m, struct load_image *out, uint32_t *info,
	struct load_error *e)
{
	struct header h;
	struct module_entry placed[16];
	size_t at = header_find(f, &h);
	if (at == SIZE_MAX)
		return load_fail(e, f, "no Multiboot header in its first %u bytes: give a Multiboot 1 kernel", HEADER_WITHIN);
	if (h.flags & HEADER_MANDATORY & ~(HEADER_ALIGN | HEADER_MEMORY))
		return load_fail(e, f, "its Multiboot header requires what this machine lacks (flags 0x%x%s): build it without", h.flags, h.flags & HEADER_VIDEO ? ", video mode" : "");
	if (!(h.flags & HEADER_ADDRESSES ? addresses_load(f, &h, at, m, out, e) : elf_load(f, m, out, e)))
		return false;
	if (out->entry_physical > UINT32_MAX)
		return load_fail(e, f, "its entry 0x%llx is above 4 GiB: Multiboot starts in 32-bit mode", (unsigned long long)out->entry_physical);
	uint64_t top = out->high > HIGH_BASE ? out->high : HIGH_BASE;
	if (!modules_load(module, modules, m, &top, placed, e))
		return false;
	bool low_free = out->low >= INFO_AT + INFO_BYTES;
	uint64_t info_at = low_free ? INFO_AT : (top + 4095) & ~4095ull;
	if (!load_fits(m, info_at, INFO_BYTES) || info_at > UINT32_MAX - INFO_BYTES)
		return load_fail(e, f, "no room for the Multiboot information in %llu MiB: give the guest more memory", (unsigned long long)(m->size >> 20));
	return info_build(f, module, placed, modules, cmdline, m, info_at, info, e);
}

void multiboot_enter(struct cpu *cpu, const struct load_image *image, uint32_t info)
{
	cr0_write(cpu, CR0_PE | CR0_ET);
	segment_set_flat(cpu, SEG_CS, 0x08, 0, true, 4);
	static const enum segment_name data[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS };
	for (unsigned i = 0; i < sizeof data / sizeof *data; i++)
		segment_set_flat(cpu, data[i], 0x10, 0, false, 4);
	cpu->eflags = 2; /* VM and IF clear */
	cpu->reg[REG_AX] = (uint32_t)LOADER_MAGIC;
	cpu->reg[REG_BX] = info;
	cpu->rip = image->entry_physical;
	cpu_mode_update(cpu);
	cpu_state_emit(cpu);
}
