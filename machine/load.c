/* Which loader, and the files of a run. */
#include "load.h"
#include "machine_private.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FILE_MOST = 1 << 30, MODULES_MOST = 16 };

bool load_fail(const struct load_error *e, const struct load_file *f, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	int n = snprintf(e->text, e->size, "%s: ", f->path);
	if (n >= 0 && (size_t)n < e->size)
		vsnprintf(e->text + n, e->size - (size_t)n, format, list);
	va_end(list);
	return false;
}

void load_file_free(struct load_file *f)
{
	free(f->bytes);
	f->bytes = NULL;
}

bool load_file_read(struct load_file *f, const char *path, struct load_error *e)
{
	*f = (struct load_file){ 0 };
	snprintf(f->path, sizeof f->path, "%s", path);
	struct stat about;
	if (!stat(path, &about) && !S_ISREG(about.st_mode)) /* asked first: opening a pipe that nobody writes to never ends */
		return load_fail(e, f, "not a regular file: give the path of a kernel or module");
	FILE *in = fopen(path, "rb");
	if (!in)
		return load_fail(e, f, "cannot open: %s: check the path", strerror(errno));
	size_t room = 0;
	bool good = true;
	for (;;) {
		if (f->size == room) {
			room = room ? 2 * room : 1 << 16;
			uint8_t *bytes = room <= 2u * FILE_MOST ? realloc(f->bytes, room) : NULL;
			if (!bytes) {
				good = load_fail(e, f, "too large: a file may have 1 GiB");
				break;
			}
			f->bytes = bytes;
		}
		size_t n = fread(f->bytes + f->size, 1, room - f->size, in);
		if (!n)
			break;
		f->size += n;
	}
	if (good && ferror(in))
		good = load_fail(e, f, "cannot read: %s", strerror(errno));
	if (good && f->size > FILE_MOST)
		good = load_fail(e, f, "too large: a file may have 1 GiB");
	fclose(in);
	if (!good)
		load_file_free(f);
	return good;
}

/* config.module: paths separated by commas. Returns how many were read; negative: failed. */
static int modules_read(const char *list, struct load_file *module, struct load_error *e)
{
	int count = 0;
	char copy[512], *save = NULL;
	snprintf(copy, sizeof copy, "%s", list);
	for (char *path = strtok_r(copy, ",", &save); path; path = strtok_r(NULL, ",", &save)) {
		bool good = count < MODULES_MOST ? load_file_read(&module[count], path, e) : (snprintf(e->text, e->size, "%s: more than %d modules", path, MODULES_MOST), false);
		if (!good) {
			while (count)
				load_file_free(&module[--count]);
			return -1;
		}
		count++;
	}
	return count;
}

static bool native_load(struct machine *m, const struct load_file *kernel, const struct load_file *module, unsigned modules, const struct load_memory *memory, struct load_error *e)
{
	struct load_image image;
	uint32_t info;
	if (!multiboot_recognize(kernel))
		return load_fail(e, kernel, "no Multiboot header in its first 8192 bytes: give a Multiboot 1 kernel%s", elf_recognize(kernel) ? " (paravirtual builds need the technique paravirt)" : "");
	if (!multiboot_load(kernel, module, modules, m->config.cmdline, memory, &image, &info, e))
		return false;
	m->width = image.width;
	multiboot_enter(&m->cpu, &image, info);
	return true;
}

static bool paravirt_load(struct machine *m, const struct load_file *kernel, const struct load_file *module, unsigned modules, const struct load_memory *memory, struct load_error *e)
{
	struct load_image image;
	if (multiboot_recognize(kernel))
		return load_fail(e, kernel, "it has a Multiboot header, and technique %s runs paravirtual builds: give the paravirtual kernel", m->technique->name);
	if (modules > 1)
		return load_fail(e, &module[1], "a paravirtual guest takes one module: join them into one archive");
	if (!elf_load(kernel, memory, &image, e))
		return false;
	uint64_t at = (image.high + 4095) & ~4095ull, bytes = modules ? module[0].size : 0;
	if (!load_fits(memory, at, bytes))
		return load_fail(e, &module[0], "its %llu bytes do not fit above the kernel in %llu MiB: give the guest more memory", (unsigned long long)bytes, (unsigned long long)(memory->size >> 20));
	if (modules)
		memcpy(memory->bytes + at, module[0].bytes, bytes);
	struct pv_boot boot = { image.width, image.entry, (at + bytes + 4095) & ~4095ull, modules ? at : 0, bytes, m->config.cmdline };
	m->width = image.width;
	if (!vmm_paravirt_boot(&m->vmm, &boot))
		return load_fail(e, kernel, "%s", m->vmm.error);
	return true;
}

bool machine_load(struct machine *m, char *error, size_t error_size)
{
	struct load_error e = { error, error_size };
	struct load_file kernel, module[MODULES_MOST];
	struct load_memory memory = { phys_ptr(&m->phys, m->vmm.guest_base, m->vmm.guest_bytes), m->vmm.guest_bytes };
	if (!m->config.kernel[0])
		return snprintf(error, error_size, "no kernel: set `kernel` to a Multiboot 1 image"), false;
	if (!load_file_read(&kernel, m->config.kernel, &e))
		return false;
	int modules = modules_read(m->config.module, module, &e);
	bool good = modules >= 0 && (m->technique->paravirtual_guest ? paravirt_load : native_load)(m, &kernel, module, (unsigned)modules, &memory, &e);
	for (int i = 0; i < modules; i++)
		load_file_free(&module[i]);
	load_file_free(&kernel);
	return good;
}
