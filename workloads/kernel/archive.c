/*
 * Files of a newc cpio archive. Invariant: a name or contents returned lies wholly inside the module.
 *
 * Entry: "070701", 13 fields of 8 hex digits (6: file size, 11: name size with NUL), name, pad to 4, contents, pad to 4.
 * The last entry is called TRAILER!!!
 */
#include "kernel.h"

#define HEADER_BYTES 110u

static struct {
	const uint8_t *bytes;
	word_t count;
} archive;

void archive_init(const uint8_t *bytes, word_t count)
{
	archive.bytes = bytes;
	archive.count = bytes ? count : 0;
}

static word_t header_field(const uint8_t *header, unsigned field)
{
	word_t value = 0;
	for (unsigned i = 0; i < 8; i++) {
		uint8_t c = header[6 + 8 * field + i];
		value = value << 4 | (word_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
	}
	return value & 0xffffffff;
}

static word_t round4(word_t n)
{
	return (n + 3) & ~(word_t)3;
}

const uint8_t *archive_find(const char *name, word_t *bytes)
{
	for (word_t at = 0; at < archive.count && archive.count - at > HEADER_BYTES;) {
		const uint8_t *header = archive.bytes + at;
		word_t size = header_field(header, 6), name_size = header_field(header, 11);
		word_t left = archive.count - at;
		word_t contents = round4(HEADER_BYTES + name_size);
		if (header[0] != '0' || header[5] != '1' || name_size == 0 || name_size > 256 || contents > left || size > left - contents)
			break;
		if (header[HEADER_BYTES + name_size - 1] == 0 && !string_compare((const char *)header + HEADER_BYTES, name)) {
			*bytes = size;
			return header + contents;
		}
		at += contents + round4(size);
	}
	return NULL;
}
