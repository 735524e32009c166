/*
 * zlib level=L n=N: compresses real text (the GNU GPL, version 3, as Debian ships it) with Debian's own libz.a, decompresses it and
 * compares; N times. The checksum covers the compressed bytes.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "rs.h"

#define TEXT_MAX 65536

static void *allocate(void *opaque, unsigned items, unsigned bytes)
{
	(void)opaque;
	return malloc((size_t)items * bytes);
}

static void release(void *opaque, void *at)
{
	(void)opaque;
	free(at);
}

static size_t text_read(unsigned char *to)
{
	int fd = rs_open("GPL-3");
	size_t count = 0;
	long n;
	if (fd < 0)
		rs_fail("zlib", "no file GPL-3");
	while (count < TEXT_MAX && (n = rs_read(fd, to + count, TEXT_MAX - count)) > 0)
		count += (size_t)n;
	rs_close(fd);
	return count;
}

static size_t text_compress(unsigned char *to, const unsigned char *from, size_t count, int level)
{
	z_stream z = { .zalloc = allocate, .zfree = release, .next_in = (unsigned char *)from, .avail_in = (unsigned)count, .next_out = to,
		       .avail_out = TEXT_MAX };
	if (deflateInit(&z, level) != Z_OK || deflate(&z, Z_FINISH) != Z_STREAM_END)
		rs_fail("zlib", "deflate");
	size_t result = z.total_out;
	deflateEnd(&z);
	return result;
}

static size_t text_decompress(unsigned char *to, const unsigned char *from, size_t count)
{
	z_stream z = { .zalloc = allocate, .zfree = release, .next_in = (unsigned char *)from, .avail_in = (unsigned)count, .next_out = to,
		       .avail_out = TEXT_MAX };
	if (inflateInit(&z) != Z_OK || inflate(&z, Z_FINISH) != Z_STREAM_END)
		rs_fail("zlib", "inflate");
	size_t result = z.total_out;
	inflateEnd(&z);
	return result;
}

int main(int argc, char **argv)
{
	long n = rs_parameter(argc, argv, "n", 1);
	int level = (int)rs_parameter(argc, argv, "level", 6);
	unsigned char *text = malloc(TEXT_MAX), *packed = malloc(TEXT_MAX), *again = malloc(TEXT_MAX);
	uint32_t sum = 0;
	if (!text || !packed || !again)
		rs_fail("zlib", "no memory");
	size_t count = text_read(text);
	for (long i = 0; i < n; i++) {
		RS_MARK_BEGIN(RS_REGION_ZLIB_COMPRESS);
		size_t small = text_compress(packed, text, count, level);
		RS_MARK_END(RS_REGION_ZLIB_COMPRESS);
		RS_MARK_BEGIN(RS_REGION_ZLIB_DECOMPRESS);
		size_t large = text_decompress(again, packed, small);
		RS_MARK_END(RS_REGION_ZLIB_DECOMPRESS);
		if (large != count || memcmp(text, again, count) != 0)
			rs_fail("zlib", "the text came back different");
		sum = rs_mix_bytes(rs_mix(sum, (uint32_t)small), packed, small);
	}
	rs_report("zlib", sum);
	return 0;
}
