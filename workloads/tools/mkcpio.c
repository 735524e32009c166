/*
 * mkcpio OUTPUT NAME=FILE ...: packs files into a newc cpio archive (format: kernel/archive.c). Times, owners and inode numbers are
 * constants, so that the same files make the same archive.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_padded(FILE *out, const void *bytes, size_t count, size_t already)
{
	static const char zeros[4];
	fwrite(bytes, 1, count, out);
	fwrite(zeros, 1, (4 - (already + count) % 4) % 4, out);
}

static void write_entry(FILE *out, unsigned inode, const char *name, const void *bytes, size_t count)
{
	fprintf(out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", inode, bytes ? 0100755u : 0u, 0u, 0u, 1u, 0u, (unsigned)count,
		0u, 0u, 0u, 0u, (unsigned)strlen(name) + 1, 0u);
	write_padded(out, name, strlen(name) + 1, 110);
	write_padded(out, bytes ? bytes : "", count, 0);
}

static void add_file(FILE *out, unsigned inode, const char *argument)
{
	char name[256];
	const char *equals = strchr(argument, '=');
	if (!equals || (size_t)(equals - argument) >= sizeof name) {
		fprintf(stderr, "mkcpio: %s: write NAME=FILE\n", argument);
		exit(2);
	}
	memcpy(name, argument, (size_t)(equals - argument));
	name[equals - argument] = 0;
	FILE *in = fopen(equals + 1, "rb");
	char *bytes = malloc(1 << 24);
	if (!in || !bytes) {
		fprintf(stderr, "mkcpio: %s: cannot be read\n", equals + 1);
		exit(1);
	}
	write_entry(out, inode, name, bytes, fread(bytes, 1, 1 << 24, in));
	free(bytes);
	fclose(in);
}

int main(int argc, char **argv)
{
	FILE *out = argc > 1 ? fopen(argv[1], "wb") : NULL;
	if (!out) {
		fprintf(stderr, "usage: mkcpio OUTPUT NAME=FILE ...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		add_file(out, (unsigned)i, argv[i]);
	write_entry(out, 0, "TRAILER!!!", NULL, 0);
	return fclose(out) ? 1 : 0;
}
