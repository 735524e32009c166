/*
 * Proves: the loaders put good images where the specifications say, and refuse each kind of damage with one line, whatever the bytes.
 * Reference: Multiboot Specification 0.6.96 and the System V ABI, as offsets written out here; images are built byte by byte by this file, not by our loader's structures.
 */
#include "machine/load.h"
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY (4u << 20)
#define LOAD 0x100000u

static struct load_memory memory;
static char message[300];
static struct load_error error = { message, sizeof message };

static void put16(uint8_t *at, uint16_t v) { memcpy(at, &v, 2); }
static void put32(uint8_t *at, uint32_t v) { memcpy(at, &v, 4); }
static void put64(uint8_t *at, uint64_t v) { memcpy(at, &v, 8); }
static uint32_t get32(uint64_t gpa)
{
	uint32_t v = 0;
	if (gpa + 4 <= memory.size)
		memcpy(&v, memory.bytes + gpa, 4);
	return v;
}

static struct load_file file_of(const uint8_t *bytes, size_t size)
{
	struct load_file f = { .path = "kernel.elf", .bytes = malloc(size ? size : 1), .size = size };
	memcpy(f.bytes, bytes, size);
	return f;
}

static void multiboot_header(uint8_t *at, uint32_t flags)
{
	put32(at, 0x1BADB002);
	put32(at + 4, flags);
	put32(at + 8, 0u - 0x1BADB002u - flags);
}

enum { ELF_BYTES = 0x400, CODE_AT = 0x200, CODE_BYTES = 0x100, MEM_BYTES = 0x180 };

static void elf32_make(uint8_t *b)
{
	memset(b, 0, ELF_BYTES);
	memcpy(b, "\177ELF\1\1\1", 7);
	put16(b + 16, 2);          /* e_type: executable */
	put16(b + 18, 3);          /* e_machine: i386 */
	put32(b + 20, 1);
	put32(b + 24, LOAD + 0x20);/* e_entry */
	put32(b + 28, 52);         /* e_phoff */
	put16(b + 40, 52);
	put16(b + 42, 32);         /* e_phentsize */
	put16(b + 44, 1);          /* e_phnum */
	uint8_t *p = b + 52;
	put32(p, 1);               /* PT_LOAD */
	put32(p + 4, CODE_AT);
	put32(p + 8, 0xc0000000u + LOAD);
	put32(p + 12, LOAD);
	put32(p + 16, CODE_BYTES);
	put32(p + 20, MEM_BYTES);
	for (unsigned i = 0; i < CODE_BYTES; i++)
		b[CODE_AT + i] = (uint8_t)(i + 1);
	multiboot_header(b + CODE_AT, 3);
}

static void elf64_make(uint8_t *b)
{
	memset(b, 0, ELF_BYTES);
	memcpy(b, "\177ELF\2\1\1", 7);
	put16(b + 16, 2);
	put16(b + 18, 62);
	put32(b + 20, 1);
	put64(b + 24, 0xffffffff80000000ull + LOAD + 0x20); /* virtual: found through its segment */
	put64(b + 32, 64);
	put16(b + 52, 64);
	put16(b + 54, 56);
	put16(b + 56, 1);
	uint8_t *p = b + 64;
	put32(p, 1);
	put64(p + 8, CODE_AT);
	put64(p + 16, 0xffffffff80000000ull + LOAD);
	put64(p + 24, LOAD);
	put64(p + 32, CODE_BYTES);
	put64(p + 40, MEM_BYTES);
	for (unsigned i = 0; i < CODE_BYTES; i++)
		b[CODE_AT + i] = (uint8_t)(i + 1);
	multiboot_header(b + CODE_AT, 3);
}

static bool load(const uint8_t *bytes, size_t size, struct load_image *image, uint32_t *info)
{
	static uint8_t archive[5000] = "archive";
	struct load_file kernel = file_of(bytes, size), module = file_of(archive, sizeof archive);
	snprintf(module.path, sizeof module.path, "/some/where/programs.cpio");
	memset(memory.bytes, 0xee, memory.size);
	message[0] = 0;
	bool good = multiboot_load(&kernel, &module, 1, "init=x y", &memory, image, info, &error);
	load_file_free(&kernel);
	load_file_free(&module);
	return good;
}

static void loaded_check(const struct load_image *image, uint32_t info)
{
	CU_ASSERT_EQUAL(image->entry_physical, LOAD + 0x20);
	CU_ASSERT_EQUAL(image->low, LOAD);
	CU_ASSERT_EQUAL(image->high, LOAD + MEM_BYTES);
	CU_ASSERT_EQUAL(memory.bytes[LOAD + CODE_BYTES - 1], (uint8_t)CODE_BYTES);
	CU_ASSERT_EQUAL(memory.bytes[LOAD + CODE_BYTES], 0);     /* zeroed to p_memsz, no further */
	CU_ASSERT_EQUAL(memory.bytes[LOAD + MEM_BYTES - 1], 0);
	CU_ASSERT_EQUAL(memory.bytes[LOAD + MEM_BYTES], 0xee);
	CU_ASSERT_EQUAL(get32(info), 0x1 | 0x4 | 0x8 | 0x40 | 0x200);
	CU_ASSERT_EQUAL(get32(info + 4), 640);                   /* mem_lower, KiB */
	CU_ASSERT_EQUAL(get32(info + 8), (MEMORY >> 10) - 1024); /* mem_upper, KiB from 1 MiB */
	CU_ASSERT_STRING_EQUAL((char *)memory.bytes + get32(info + 16), "init=x y");
	CU_ASSERT_EQUAL(get32(info + 20), 1);
	uint32_t mods = get32(info + 24), start = get32(mods);
	CU_ASSERT_EQUAL(start % 4096, 0);
	CU_ASSERT(start >= LOAD + MEM_BYTES);
	CU_ASSERT_EQUAL(get32(mods + 4) - start, 5000);
	CU_ASSERT_STRING_EQUAL((char *)memory.bytes + start, "archive");
	CU_ASSERT_STRING_EQUAL((char *)memory.bytes + get32(mods + 8), "programs.cpio"); /* its name, not where it lies */
	CU_ASSERT_STRING_EQUAL((char *)memory.bytes + get32(info + 64), "Ringside");
	uint64_t available = 0;
	for (uint32_t at = get32(info + 48), end = at + get32(info + 44); at < end; at += get32(at) + 4)
		available += get32(at + 20) == 1 ? get32(at + 12) : 0;
	CU_ASSERT_EQUAL(available, MEMORY - 0x60000);            /* all but 0xa0000-0xfffff */
}

static void test_good_images(void)
{
	uint8_t bytes[ELF_BYTES];
	struct load_image image;
	uint32_t info = 0;
	elf32_make(bytes);
	CU_ASSERT_FATAL(load(bytes, sizeof bytes, &image, &info));
	CU_ASSERT_EQUAL(image.width, 32);
	loaded_check(&image, info);
	elf64_make(bytes);
	CU_ASSERT_FATAL(load(bytes, sizeof bytes, &image, &info));
	CU_ASSERT_EQUAL(image.width, 64);
	loaded_check(&image, info);
}

/* The address fields (flags bit 16): an image without an ELF header. */
static void test_address_fields(void)
{
	uint8_t b[0x200] = { 0 };
	struct load_image image;
	uint32_t info;
	multiboot_header(b + 16, 0x10003);
	put32(b + 28, LOAD + 16);          /* header_addr: the header lies 16 bytes into the image */
	put32(b + 32, LOAD);               /* load_addr */
	put32(b + 36, LOAD + 0x180);       /* load_end_addr */
	put32(b + 40, LOAD + 0x300);       /* bss_end_addr */
	put32(b + 44, LOAD + 0x40);        /* entry_addr */
	b[0x17f] = 0x55;
	CU_ASSERT_FATAL(load(b, sizeof b, &image, &info));
	CU_ASSERT_EQUAL(image.entry_physical, LOAD + 0x40);
	CU_ASSERT_EQUAL(memory.bytes[LOAD + 0x17f], 0x55);
	CU_ASSERT_EQUAL(memory.bytes[LOAD + 0x180], 0);
	CU_ASSERT_EQUAL(memory.bytes[LOAD + 0x300], 0xee);
	put32(b + 36, 0);                  /* load_end_addr 0: the whole file; bss_end_addr 0: no bss */
	put32(b + 40, 0);
	CU_ASSERT(load(b, sizeof b, &image, &info));
	CU_ASSERT_EQUAL(image.high, LOAD + sizeof b);
	static const struct { unsigned at; uint32_t value; } bad[] = { { 28, LOAD - 1 }, { 28, LOAD + 400 }, { 36, LOAD - 4 }, { 36, LOAD + 0x201 }, { 36, 0xffffffff }, { 40, 0xffffffff }, { 32, 0 },
		{ 44, LOAD - 1 }, { 44, LOAD + 0x200 } };
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint8_t c[sizeof b];
		memcpy(c, b, sizeof c);
		put32(c + bad[i].at, bad[i].value);
		CU_ASSERT_FALSE(load(c, sizeof c, &image, &info));
	}
}

static const struct corruption { const char *what; unsigned wide; size_t size; unsigned at, bytes; uint64_t value; const char *says; } corruptions[] = {
	{ "empty file", 32, 0, 0, 0, 0, "Multiboot header" },
	{ "cut before the Multiboot header", 32, 0x200, 0, 0, 0, "Multiboot header" },
	{ "cut inside the code", 32, 0x240, 0, 0, 0, "cut short" },
	{ "Multiboot checksum", 32, ELF_BYTES, CODE_AT + 8, 4, 1, "Multiboot header" },
	{ "not ELF", 32, ELF_BYTES, 0, 1, 'X', "not an ELF" },
	{ "class 3", 32, ELF_BYTES, 4, 1, 3, "class" },
	{ "big-endian", 32, ELF_BYTES, 5, 1, 2, "encoding" },
	{ "relocatable", 32, ELF_BYTES, 16, 2, 1, "not an executable" },
	{ "position independent", 64, ELF_BYTES, 16, 2, 3, "not an executable" },
	{ "ARM", 32, ELF_BYTES, 18, 2, 40, "machine" },
	{ "no program headers", 32, ELF_BYTES, 44, 2, 0, "program headers" },
	{ "65535 program headers", 32, ELF_BYTES, 44, 2, 65535, "program headers" },
	{ "short program headers", 32, ELF_BYTES, 42, 2, 8, "program headers" },
	{ "program headers outside", 32, ELF_BYTES, 28, 4, 0xfffffff0, "program headers" },
	{ "program headers outside, 64", 64, ELF_BYTES, 32, 8, ~0ull - 8, "program headers" },
	{ "segment offset outside", 32, ELF_BYTES, 52 + 4, 4, 0x80000000, "not inside the file" },
	{ "segment offset wraps, 64", 64, ELF_BYTES, 64 + 8, 8, ~0ull, "not inside the file" },
	{ "file size over memory size", 32, ELF_BYTES, 52 + 20, 4, CODE_BYTES - 1, "not inside the file" },
	{ "file size huge", 64, ELF_BYTES, 64 + 32, 8, ~0ull, "not inside the file" },
	{ "memory size huge", 64, ELF_BYTES, 64 + 40, 8, ~0ull, "outside the guest" },
	{ "address above memory", 32, ELF_BYTES, 52 + 12, 4, MEMORY, "outside the guest" },
	{ "address wraps, 64", 64, ELF_BYTES, 64 + 24, 8, ~0ull - 0x10, "outside the guest" },
	{ "nothing to load", 32, ELF_BYTES, 52, 4, 4, "no segment" },
	{ "entry nowhere", 32, ELF_BYTES, 24, 4, 0x5000, "entry" },
	{ "entry after the end", 64, ELF_BYTES, 24, 8, 0xffffffff80000000ull + LOAD + MEM_BYTES, "entry" },
};

static void test_corruptions(void)
{
	for (unsigned i = 0; i < sizeof corruptions / sizeof *corruptions; i++) {
		const struct corruption *c = &corruptions[i];
		uint8_t bytes[ELF_BYTES];
		struct load_image image;
		uint32_t info;
		(c->wide == 64 ? elf64_make : elf32_make)(bytes);
		memcpy(bytes + c->at, &c->value, c->bytes);
		bool good = load(bytes, c->size, &image, &info);
		if (good || !strstr(message, c->says) || strncmp(message, "kernel.elf: ", 12) || strchr(message, '\n'))
			fprintf(stderr, "%s: %s \"%s\"\n", c->what, good ? "loaded" : "refused with", message);
		CU_ASSERT_FALSE(good);
		CU_ASSERT_PTR_NOT_NULL(strstr(message, c->says));
		CU_ASSERT_EQUAL(strncmp(message, "kernel.elf: ", 12), 0);
		CU_ASSERT_PTR_NULL(strchr(message, '\n'));
	}
}

static void test_demands_that_cannot_be_met(void)
{
	uint8_t bytes[ELF_BYTES];
	struct load_image image;
	uint32_t info;
	elf32_make(bytes);
	multiboot_header(bytes + CODE_AT, 7);      /* a video mode */
	CU_ASSERT_FALSE(load(bytes, sizeof bytes, &image, &info));
	CU_ASSERT_PTR_NOT_NULL(strstr(message, "video"));
	elf32_make(bytes);
	put32(bytes + 52 + 12, MEMORY - MEM_BYTES); /* fits, but leaves no room for the module */
	put32(bytes + 24, MEMORY - MEM_BYTES);
	CU_ASSERT_FALSE(load(bytes, sizeof bytes, &image, &info));
	CU_ASSERT_PTR_NOT_NULL(strstr(message, "programs.cpio"));
}

/* An image at the bottom of memory pushes the information structure up; it is never overwritten. */
static void test_low_image(void)
{
	uint8_t bytes[ELF_BYTES];
	struct load_image image;
	uint32_t info;
	elf32_make(bytes);
	put32(bytes + 52 + 12, 0x9000);
	put32(bytes + 24, 0x9010);
	CU_ASSERT_FATAL(load(bytes, sizeof bytes, &image, &info));
	CU_ASSERT_EQUAL(memory.bytes[0x9010], 0x11);
	CU_ASSERT(info >= 0x100000);
	CU_ASSERT_EQUAL(get32(info + 20), 1);
}

/* Every byte of both images set to several values: loads or is refused, inside its memory (the sanitizer build watches). */
static void test_byte_flips(void)
{
	unsigned refused = 0, loaded = 0;
	uint64_t state = 12345;
	for (unsigned wide = 0; wide < 2; wide++)
		for (unsigned at = 0; at < 0x210; at++)
			for (unsigned k = 0; k < 6; k++) {
				uint8_t bytes[ELF_BYTES];
				struct load_image image;
				uint32_t info;
				(wide ? elf64_make : elf32_make)(bytes);
				state = state * 6364136223846793005ull + 1442695040888963407ull;
				bytes[at] = k == 0 ? 0xff : k == 1 ? 0 : k == 2 ? bytes[at] ^ 0x80 : (uint8_t)(state >> 56);
				bytes[(state >> 32) % 128] ^= k > 3 ? (uint8_t)(state >> 24) : 0;
				struct load_file f = file_of(bytes, sizeof bytes);
				message[0] = 0;
				if (multiboot_load(&f, NULL, 0, "", &memory, &image, &info, &error))
					loaded++;
				else
					refused += message[0] != 0;
				load_file_free(&f);
			}
	CU_ASSERT_EQUAL(refused + loaded, 2 * 0x210 * 6);
	CU_ASSERT(refused > 500);
	CU_ASSERT(loaded > 500);
}

static void test_files(void)
{
	struct load_file f;
	CU_ASSERT_FALSE(load_file_read(&f, "/no/such/file", &error));
	CU_ASSERT_PTR_NOT_NULL(strstr(message, "/no/such/file: cannot open"));
	CU_ASSERT_FALSE(load_file_read(&f, "/", &error)); /* a directory */
	char path[] = "/tmp/ringside-load-XXXXXX";
	int fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0);
	static uint8_t bytes[200000];
	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7);
	CU_ASSERT_EQUAL(write(fd, bytes, sizeof bytes), (ssize_t)sizeof bytes);
	close(fd);
	CU_ASSERT_FATAL(load_file_read(&f, path, &error));
	CU_ASSERT_EQUAL(f.size, sizeof bytes);
	CU_ASSERT_EQUAL(memcmp(f.bytes, bytes, sizeof bytes), 0);
	load_file_free(&f);
	unlink(path);
}

int main(void)
{
	memory = (struct load_memory){ malloc(MEMORY), MEMORY };
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("machine: loaders", NULL, NULL);
	CU_add_test(s, "good images", test_good_images);
	CU_add_test(s, "address fields", test_address_fields);
	CU_add_test(s, "a table of corruptions", test_corruptions);
	CU_add_test(s, "demands that cannot be met", test_demands_that_cannot_be_met);
	CU_add_test(s, "an image in low memory", test_low_image);
	CU_add_test(s, "byte flips", test_byte_flips);
	CU_add_test(s, "files", test_files);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	free(memory.bytes);
	return failures != 0;
}
