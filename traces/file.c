/*
 * The trace file as it is written: chunks, index, footer. Knows events, not machines.
 *
 * Invariant: a chunk on disk is whole: as many page contents as it has EV_TABLE_PAGE events, and every block that its events name is in it or before it. So whatever kills the
 * recorder, everything up to the last whole chunk reads back.
 */
#include "format.h"
#include <errno.h>
#include <zlib.h>

struct trace_row { uint64_t offset, instructions, events; };

struct trace_file {
	FILE *out;
	char path[512];
	int error;                      /* first errno; 0: none */
	bool memory;                    /* ran out of it */
	struct codec codec;
	struct codec_out streams;
	struct bytes pages;             /* u64 gpa + contents each; those past chunk_pages came before their event */
	uint32_t chunk_events, chunk_pages; /* pages that the chunk's events ask for */
	struct bytes blocks;            /* what the chunk's events name and no chunk before has */
	uint32_t chunk_blocks;
	uint8_t *written;               /* by block id: in the file, or in `blocks` */
	uint32_t written_count;
	uint64_t offset, instructions, events;     /* so far */
	uint64_t chunk_instructions, chunk_first;  /* when the chunk began */
	uint64_t count_by_kind[EV_KIND_COUNT];
	struct trace_row *row;
	size_t rows, row_capacity;
	struct bytes raw, packed;
};
#define PAGE_RECORD (8u + TRACE_PAGE)

struct trace_file *trace_file_create(const char *path, char *error, size_t error_size)
{
	struct trace_file *f = calloc(1, sizeof *f);
	if (!f) {
		snprintf(error, error_size, "%s: out of memory", path);
		return NULL;
	}
	f->out = fopen(path, "wb");
	if (!f->out) {
		snprintf(error, error_size, "%s: cannot write the trace: %s", path, strerror(errno));
		free(f);
		return NULL;
	}
	snprintf(f->path, sizeof f->path, "%s", path);
	codec_reset(&f->codec);
	return f;
}

static void file_write(struct trace_file *f, const struct bytes *b)
{
	if (b->failed)
		f->memory = true;
	else if (!f->error && b->count && fwrite(b->data, 1, b->count, f->out) != b->count)
		f->error = errno ? errno : EIO;
	f->offset += b->count;
}

void trace_file_header(struct trace_file *f, const struct trace_info *info, const struct trace_cpu *cpu)
{
	struct bytes sections = { 0 }, head = { 0 };
	header_build(&sections, info, cpu);
	bytes_put(&head, TRACE_MAGIC, 8);
	bytes_u32(&head, TRACE_VERSION);
	bytes_u32(&head, (uint32_t)sections.count);
	bytes_u32(&head, (uint32_t)crc32(0, sections.data, (uInt)sections.count));
	file_write(f, &head);
	file_write(f, &sections);
	bytes_destroy(&head);
	bytes_destroy(&sections);
}

/* ------------------------------------------------------------------ chunks */
static void row_add(struct trace_file *f, uint64_t instructions, uint64_t events)
{
	if (f->rows == f->row_capacity) {
		size_t capacity = f->row_capacity * 2 + 64;
		struct trace_row *row = realloc(f->row, capacity * sizeof *row);
		if (!row) {
			f->memory = true;
			return;
		}
		f->row = row;
		f->row_capacity = capacity;
	}
	f->row[f->rows++] = (struct trace_row){ f->offset, instructions, events };
}

/* Packs f->raw and writes it as a chunk. */
static void chunk_write(struct trace_file *f, struct trace_chunk *c)
{
	struct bytes head = { 0 };
	f->packed.count = 0;
	if (!bytes_pack(&f->packed, &f->raw)) {
		f->memory = true;
		return;
	}
	c->raw = (uint32_t)f->raw.count;
	c->packed = (uint32_t)f->packed.count;
	bytes_put(&head, "CHNK", 4);
	bytes_u32(&head, c->type);
	bytes_u32(&head, c->packed);
	bytes_u32(&head, c->raw);
	bytes_u32(&head, c->events);
	bytes_u32(&head, c->blocks);
	bytes_u32(&head, c->pages);
	bytes_u64(&head, c->instructions);
	bytes_u64(&head, c->first_event);
	if (!head.failed) {
		uLong crc = crc32(0, head.data + 4, (uInt)head.count - 4);
		bytes_u32(&head, (uint32_t)crc32(crc, f->packed.data, (uInt)f->packed.count));
	}
	row_add(f, c->instructions, c->first_event);
	file_write(f, &head);
	file_write(f, &f->packed);
	bytes_destroy(&head);
}

static void block_put(struct bytes *out, uint32_t id, const struct block_static *b)
{
	bytes_u32(out, id);
	bytes_u16(out, b->bytes);
	bytes_u8(out, b->insns);
	bytes_u8(out, b->end);
	bytes_u8(out, b->mode);
	bytes_u8(out, b->loads);
	bytes_u8(out, b->stores);
	bytes_u8(out, b->sensitive_count);
	bytes_u64(out, b->sensitive);
	bytes_put(out, b->code, b->bytes);
}

static void stream_move(struct bytes *to, struct bytes *from)
{
	bytes_put(to, from->data, from->count);
	to->failed |= from->failed;
	from->count = 0;
}

static void chunk_seal(struct trace_file *f)
{
	struct trace_chunk c = { TRACE_CHUNK_EVENTS_TYPE, 0, 0, f->chunk_events, f->chunk_blocks, f->chunk_pages, f->chunk_instructions, f->chunk_first };
	struct bytes *raw = &f->raw;
	size_t pages = (size_t)f->chunk_pages * PAGE_RECORD;

	codec_finish(&f->codec, &f->streams);
	raw->count = 0;
	bytes_varint(raw, f->streams.tokens.count);
	bytes_varint(raw, f->streams.marks.count);
	bytes_varint(raw, f->streams.addresses.count);
	bytes_varint(raw, f->streams.details.count);
	stream_move(raw, &f->streams.tokens);
	stream_move(raw, &f->streams.marks);
	stream_move(raw, &f->streams.addresses);
	stream_move(raw, &f->streams.details);
	stream_move(raw, &f->blocks);
	bytes_put(raw, f->pages.data, pages);
	chunk_write(f, &c);
	if (pages)
		memmove(f->pages.data, f->pages.data + pages, f->pages.count - pages);
	f->pages.count -= pages;
	f->chunk_events = f->chunk_blocks = f->chunk_pages = 0;
	f->chunk_instructions = f->instructions;
	f->chunk_first = f->events;
	codec_reset(&f->codec);
}

/* The page sink and the event of a page come separately, in either order: a chunk ends only where both are there. */
static bool chunk_whole(const struct trace_file *f)
{
	return f->pages.count >= (size_t)f->chunk_pages * PAGE_RECORD;
}

static bool chunk_ready(const struct trace_file *f)
{
	return (f->chunk_events >= TRACE_CHUNK_EVENTS || f->pages.count + f->blocks.count >= TRACE_RAW_LIMIT / 4) && chunk_whole(f);
}

/* Room in `written` for an id. */
static bool written_grow(struct trace_file *f, uint32_t id)
{
	uint32_t count = id * 2 + 1024;
	uint8_t *written = id < TRACE_BLOCK_LIMIT ? realloc(f->written, count) : NULL;
	if (!written) {
		f->memory = true;
		return false;
	}
	memset(written + f->written_count, 0, count - f->written_count);
	f->written = written;
	f->written_count = count;
	return true;
}

static void file_block_put(struct trace_file *f, uint32_t id, const struct block_static *b)
{
	block_put(&f->blocks, id, b);
	f->chunk_blocks++;
}

/* An event names a block: its description travels with this chunk, unless one before has it. */
static void file_block(struct trace_file *f, uint32_t id, const struct block_dictionary *blocks)
{
	if (id >= f->written_count && !written_grow(f, id))
		return;
	if (f->written[id] || !blocks || id >= blocks->count)
		return;
	f->written[id] = 1;
	file_block_put(f, id, &blocks->entry[id]);
}

void trace_file_blocks_freed(struct trace_file *f, const uint8_t *kept)
{
	static const struct block_static nothing = { .bytes = 0 };
	if (!chunk_whole(f))
		f->memory = true; /* a page without contents: only when a buffer could not grow */
	else if (f->chunk_events)
		chunk_seal(f);
	for (uint32_t id = 0; id < f->written_count; id++) {
		if (!f->written[id] || kept[id])
			continue;
		f->written[id] = 0;
		file_block_put(f, id, &nothing);
	}
}

static void file_count(struct trace_file *f, const struct event *e)
{
	f->count_by_kind[e->kind]++;
	if (e->kind == EV_BLOCK)
		f->instructions += e->aux;
	if (e->kind == EV_CUT)
		f->instructions -= e->id;
	if (e->kind == EV_TABLE_PAGE)
		f->chunk_pages++;
	f->chunk_events++;
	f->events++;
}

void trace_file_events(struct trace_file *f, const struct event *first, const struct event *end, const struct block_dictionary *blocks)
{
	for (; first != end; first++) {
		if (!codec_stores(first->kind) || (first->flags & EVF_HIDDEN))
			continue;
		if (first->kind == EV_BLOCK)
			file_block(f, first->id, blocks);
		codec_encode(&f->codec, &f->streams, first, first + 1);
		file_count(f, first);
	}
	if (chunk_ready(f))
		chunk_seal(f);
}

void trace_file_page(struct trace_file *f, uint64_t gpa, const uint8_t *bytes)
{
	bytes_u64(&f->pages, gpa);
	bytes_put(&f->pages, bytes, TRACE_PAGE);
}

/* ------------------------------------------------------------------ the end of a file */
struct stat_list { struct bytes *out; uint32_t count; };

static bool stat_put(void *self, const char *name, uint64_t value)
{
	struct stat_list *l = self;
	bytes_string(l->out, name);
	bytes_u64(l->out, value);
	return ++l->count < TRACE_STATS_LIMIT;
}

static void closing_write(struct trace_file *f, const struct run_result *r)
{
	struct trace_chunk c = { .type = TRACE_CHUNK_CLOSING_TYPE, .instructions = f->instructions, .first_event = f->events };
	struct bytes stats = { 0 };
	struct stat_list list = { &stats, 0 };
	struct bytes *raw = &f->raw;

	raw->count = 0;
	bytes_u32(raw, r->end);
	bytes_u32(raw, (uint32_t)r->exit_code);
	bytes_u32(raw, r->width);
	bytes_u64(raw, r->state_hash);
	bytes_u64(raw, r->instructions);
	bytes_u64(raw, f->events);
	bytes_u16(raw, EV_GUEST_KINDS);
	for (unsigned k = 0; k < EV_GUEST_KINDS; k++)
		bytes_u64(raw, f->count_by_kind[k]);
	trace_result_stats(r, stat_put, &list);
	bytes_u32(raw, list.count);
	stream_move(raw, &stats);
	bytes_destroy(&stats);
	chunk_write(f, &c);
}

static void index_write(struct trace_file *f)
{
	struct bytes out = { 0 }, foot = { 0 };
	uint64_t at = f->offset;
	bytes_put(&out, "INDX", 4);
	bytes_u32(&out, (uint32_t)f->rows);
	for (size_t i = 0; i < f->rows; i++) {
		bytes_u64(&out, f->row[i].offset);
		bytes_u64(&out, f->row[i].instructions);
		bytes_u64(&out, f->row[i].events);
	}
	if (!out.failed)
		bytes_u32(&out, (uint32_t)crc32(0, out.data, (uInt)out.count));
	file_write(f, &out);
	bytes_put(&foot, "RSFT", 4);
	bytes_u64(&foot, at);
	if (!foot.failed)
		bytes_u32(&foot, (uint32_t)crc32(0, foot.data + 4, 8));
	file_write(f, &foot);
	bytes_destroy(&out);
	bytes_destroy(&foot);
}

static void file_destroy(struct trace_file *f)
{
	bytes_destroy(&f->streams.tokens);
	bytes_destroy(&f->streams.marks);
	bytes_destroy(&f->streams.addresses);
	bytes_destroy(&f->streams.details);
	bytes_destroy(&f->blocks);
	bytes_destroy(&f->pages);
	free(f->written);
	bytes_destroy(&f->raw);
	bytes_destroy(&f->packed);
	free(f->row);
	free(f);
}

bool trace_file_close(struct trace_file *f, const struct run_result *result, char *error, size_t error_size)
{
	if (!chunk_whole(f))
		f->memory = true; /* as above */
	else if (f->chunk_events)
		chunk_seal(f);
	if (result) {
		closing_write(f, result);
		index_write(f);
	}
	if (fclose(f->out) && !f->error)
		f->error = errno ? errno : EIO;
	bool ok = !f->error && !f->memory;
	if (!ok)
		snprintf(error, error_size, "%s: the trace was not written: %s", f->path, f->error ? strerror(f->error) : "out of memory");
	file_destroy(f);
	return ok;
}
