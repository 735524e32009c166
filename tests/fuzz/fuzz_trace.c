/*
 * Fuzzes the trace reader. The first byte picks the way in: the bytes as a file; as a header's sections; as the contents of a chunk, packed and with a good checksum, so that what
 * lies behind zlib and CRC is reached; as the codec's streams.
 */
#include "traces/format.h"
#include <zlib.h>

static void file_read(const uint8_t *bytes, size_t n)
{
	char error[400];
	const struct event *e;
	const uint8_t *pages;
	size_t count;
	FILE *in = n ? fmemopen((void *)(uintptr_t)bytes, n, "rb") : NULL;
	struct trace_reader *r = in ? trace_reader_open_stream(in, "fuzz", error, sizeof error) : NULL;
	if (!r)
		return;
	while (trace_reader_next(r, &e, &count, &pages, error, sizeof error) && count)
		;
	trace_reader_close(r);
}

static void header_put(struct bytes *out, const struct bytes *sections)
{
	bytes_put(out, TRACE_MAGIC, 8);
	bytes_u32(out, TRACE_VERSION);
	bytes_u32(out, (uint32_t)sections->count);
	bytes_u32(out, (uint32_t)crc32(0, sections->data, (uInt)sections->count));
	bytes_put(out, sections->data, sections->count);
}

static void header_fuzz(const uint8_t *bytes, size_t n)
{
	struct bytes sections = { 0 }, file = { 0 };
	bytes_put(&sections, bytes, n);
	header_put(&file, &sections);
	file_read(file.data, file.count);
	bytes_destroy(&sections);
	bytes_destroy(&file);
}

/* Two bytes each say how many events, blocks and pages there are; one the type; the rest is the chunk. */
static void chunk_fuzz(const uint8_t *bytes, size_t n)
{
	struct bytes sections = { 0 }, file = { 0 }, raw = { 0 }, packed = { 0 }, head = { 0 };
	struct trace_info info = { .width = 64, .description = "" };
	struct trace_cpu cpu = { 0 };
	if (n < 7)
		return;
	header_build(&sections, &info, &cpu);
	header_put(&file, &sections);
	bytes_put(&raw, bytes + 7, n - 7);
	bytes_pack(&packed, &raw);
	bytes_u32(&head, bytes[6] & 1);
	bytes_u32(&head, (uint32_t)packed.count);
	bytes_u32(&head, (uint32_t)raw.count);
	for (int i = 0; i < 3; i++)
		bytes_u32(&head, bytes[2 * i] | (uint32_t)bytes[2 * i + 1] << 8);
	bytes_u64(&head, 0);
	bytes_u64(&head, 0);
	bytes_u32(&head, (uint32_t)crc32(crc32(0, head.data, (uInt)head.count), packed.data, (uInt)packed.count));
	bytes_put(&file, "CHNK", 4);
	bytes_put(&file, head.data, head.count);
	bytes_put(&file, packed.data, packed.count);
	file_read(file.data, file.count);
	bytes_destroy(&sections);
	bytes_destroy(&file);
	bytes_destroy(&raw);
	bytes_destroy(&packed);
	bytes_destroy(&head);
}

/* Quarters of the input are the streams. What decodes must encode and decode to the same events. */
static void codec_fuzz(const uint8_t *bytes, size_t n)
{
	static struct codec c; /* megabytes: not for the stack */
	struct event one[512], two[512];
	struct codec_out out = { 0 };
	const uint8_t *a = bytes, *b = bytes + n / 4, *m = bytes + n / 4 * 2, *d = bytes + n / 4 * 3;
	struct codec_in in = { .tokens = { a, b, false }, .addresses = { b, m, false }, .marks = { m, d, false }, .details = { d, bytes + n, false } };
	codec_reset(&c);
	if (!codec_decode(&c, &in, one, n % 512))
		return;
	codec_reset(&c);
	codec_encode(&c, &out, one, one + n % 512);
	codec_finish(&c, &out);
	in = (struct codec_in){ .tokens = { out.tokens.data, out.tokens.data + out.tokens.count, false }, .addresses = { out.addresses.data, out.addresses.data + out.addresses.count, false },
		.marks = { out.marks.data, out.marks.data + out.marks.count, false },
		.details = { out.details.data, out.details.data + out.details.count, false } };
	codec_reset(&c);
	if (!codec_decode(&c, &in, two, n % 512) || memcmp(one, two, n % 512 * sizeof *one))
		abort();
	bytes_destroy(&out.tokens);
	bytes_destroy(&out.marks);
	bytes_destroy(&out.addresses);
	bytes_destroy(&out.details);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const ways[])(const uint8_t *, size_t) = { file_read, header_fuzz, chunk_fuzz, codec_fuzz };
	if (size)
		ways[data[0] % 4](data + 1, size - 1);
	return 0;
}
