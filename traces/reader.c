/*
 * The reader: a trace file, chunk by chunk. Everything in the file is hostile until its checksum and its meaning have been checked.
 *
 * Invariant: no number of the file sizes an allocation or an index before it was compared with a limit of format.h; a file that is cut or damaged gives one line, never a crash.
 */
#include "format.h"
#include <errno.h>
#include <sys/stat.h>
#include <zlib.h>

enum {
	BATCH = 4096,     /* events at once: they and what is made of them stay in the real computer's second-level cache */
	HELD = 64,        /* events kept back, at most, so that they are seen with what follows */
};

struct reader_stat { char name[64]; uint64_t value; };

struct trace_reader {
	FILE *file;
	char name[256];
	struct trace_info info;
	struct trace_cpu cpu;
	char *description;
	uint64_t first_chunk, end;      /* where chunks begin, and where they cannot be any more (index, or end of file) */
	uint64_t next;                  /* offset of the chunk being read, or of the next one */
	uint64_t chunk, events_read;    /* numbers of it: of the chunk, of its first event */
	uint64_t count_by_kind[EV_KIND_COUNT]; /* of the batches so far */
	struct trace_chunk head;        /* of the chunk being read */
	uint32_t left;                  /* events of it that are still to come */
	struct codec_in in;             /* what they come from, in `raw` */
	bool few, damaged;              /* the next batch ends behind its first reference; references that passed were no good */
	struct span page_in;
	uint8_t *raw;                   /* NULL: no chunk is being read */
	struct codec *codec;            /* made, as the events' room is, when the first chunk is decoded */
	struct event *event;            /* BATCH, and HELD */
	size_t given, held;             /* events that the last batch gave; those behind it that start the next one */
	uint8_t *pages;
	size_t page_capacity;
	struct block_static *block;     /* by id; each with code bytes of its own */
	uint8_t *defined;               /* by id, and one more that is 0: ids that stand for a block */
	uint32_t blocks, block_capacity; /* the highest id and 1; room */
	uint32_t *fresh;                /* ids defined since the last batch */
	size_t fresh_count, fresh_capacity;
	struct reader_stat *stat;
	unsigned stats;
};

static bool read_at(struct trace_reader *r, uint64_t offset, void *to, size_t n)
{
	return offset <= INT64_MAX && !fseeko(r->file, (off_t)offset, SEEK_SET) && fread(to, 1, n, r->file) == n;
}

static bool reader_damaged(const struct trace_reader *r, const char *what, char *error, size_t error_size)
{
	snprintf(error, error_size, "%s: chunk %llu at offset %llu: %s; record the trace again", r->name, (unsigned long long)r->chunk, (unsigned long long)r->next, what);
	return false;
}

/* ------------------------------------------------------------------ chunk heads */
static uint32_t chunk_parse(const uint8_t raw[TRACE_CHUNK_HEAD], struct trace_chunk *c)
{
	struct span s = { raw + 4, raw + TRACE_CHUNK_HEAD, false };
	c->type = span_u32(&s);
	c->packed = span_u32(&s);
	c->raw = span_u32(&s);
	c->events = span_u32(&s);
	c->blocks = span_u32(&s);
	c->pages = span_u32(&s);
	c->instructions = span_u64(&s);
	c->first_event = span_u64(&s);
	return span_u32(&s);
}

/* zlib never packs better than 1032:1, so a small chunk cannot ask for much memory. */
static bool chunk_plausible(const struct trace_chunk *c)
{
	return c->type <= TRACE_CHUNK_CLOSING_TYPE && c->packed <= TRACE_PACKED_LIMIT && c->raw <= TRACE_RAW_LIMIT && c->raw <= (uint64_t)c->packed * 1032 + 64 &&
		c->events <= TRACE_CHUNK_EVENT_LIMIT && (uint64_t)c->pages * (8 + TRACE_PAGE) <= c->raw && (uint64_t)c->blocks * 20 <= c->raw;
}

/* Reads the head at `offset`. False: no whole chunk is there. */
static bool chunk_head(struct trace_reader *r, uint64_t offset, struct trace_chunk *c, uint8_t raw[TRACE_CHUNK_HEAD], uint32_t *crc)
{
	if (offset > r->end || r->end - offset < TRACE_CHUNK_HEAD || !read_at(r, offset, raw, TRACE_CHUNK_HEAD) || memcmp(raw, "CHNK", 4))
		return false;
	*crc = chunk_parse(raw, c);
	return chunk_plausible(c) && r->end - offset - TRACE_CHUNK_HEAD >= c->packed;
}

/* The unpacked bytes of the chunk at `offset` (caller frees), or NULL with what is wrong. */
static uint8_t *chunk_unpack(struct trace_reader *r, uint64_t offset, struct trace_chunk *c, const char **wrong)
{
	uint8_t head[TRACE_CHUNK_HEAD];
	uint32_t crc;
	if (!chunk_head(r, offset, c, head, &crc)) {
		*wrong = "is not a whole chunk";
		return NULL;
	}
	uint8_t *packed = malloc(c->packed + 1u), *raw = malloc(c->raw + 1u);
	*wrong = NULL;
	if (!packed || !raw)
		*wrong = "out of memory";
	else if (fread(packed, 1, c->packed, r->file) != c->packed)
		*wrong = "cannot be read";
	else if (crc32(crc32(0, head + 4, TRACE_CHUNK_HEAD - 8), packed, c->packed) != crc)
		*wrong = "checksum differs";
	else if (!bytes_unpack(raw, c->raw, packed, c->packed))
		*wrong = "does not unpack";
	free(packed);
	if (*wrong) {
		free(raw);
		raw = NULL;
	}
	return raw;
}

/* ------------------------------------------------------------------ opening */
static bool header_read(struct trace_reader *r, char *error, size_t error_size)
{
	uint8_t head[20];
	if (!read_at(r, 0, head, sizeof head) || memcmp(head, TRACE_MAGIC, 8)) {
		snprintf(error, error_size, "%s: not a Ringside trace; make one with: ringside trace record", r->name);
		return false;
	}
	struct span s = { head + 8, head + sizeof head, false };
	uint32_t version = span_u32(&s), n = span_u32(&s), crc = span_u32(&s);
	if (version != TRACE_VERSION) {
		snprintf(error, error_size, "%s: trace version %u, but this program reads version %u: record the trace again", r->name, version, TRACE_VERSION);
		return false;
	}
	if (n > TRACE_HEADER_LIMIT || n > r->info.file_bytes - sizeof head) {
		snprintf(error, error_size, "%s: the header is cut or damaged (says %u bytes); record the trace again", r->name, n);
		return false;
	}
	uint8_t *sections = malloc(n + 1u);
	bool ok = sections && read_at(r, sizeof head, sections, n) && crc32(0, sections, n) == crc;
	char why[128] = "checksum differs";
	ok = ok && header_parse((struct span){ sections, sections + n, false }, &r->info, &r->cpu, &r->description, why, sizeof why);
	if (!ok)
		snprintf(error, error_size, "%s: damaged header: %s; record the trace again", r->name, why);
	free(sections);
	r->info.version = version;
	r->first_chunk = r->next = sizeof head + n;
	return ok;
}

static bool stats_read(struct trace_reader *r, struct span *s)
{
	uint32_t n = span_u32(s);
	if (n > TRACE_STATS_LIMIT)
		return false;
	r->stat = calloc(n + 1u, sizeof *r->stat);
	if (!r->stat)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		span_string(s, r->stat[i].name, sizeof r->stat[i].name);
		r->stat[i].value = span_u64(s);
	}
	r->stats = n;
	return true;
}

/* Fills in what the closing record says; changes nothing when there is none at `offset`. */
static bool closing_read(struct trace_reader *r, uint64_t offset)
{
	struct trace_chunk c;
	struct trace_info info = r->info;
	const char *wrong;
	uint8_t *raw = chunk_unpack(r, offset, &c, &wrong);
	if (!raw)
		return false;
	struct span s = { raw, raw + c.raw, false };
	uint32_t end = span_u32(&s);
	info.exit_code = (int)span_u32(&s);
	info.width = span_u32(&s);
	info.state_hash = span_u64(&s);
	info.instructions = span_u64(&s);
	info.events = span_u64(&s);
	unsigned kinds = span_u16(&s);
	for (unsigned k = 0; k < kinds && k < EV_KIND_COUNT; k++)
		info.count_by_kind[k] = span_u64(&s);
	info.complete = c.type == TRACE_CHUNK_CLOSING_TYPE && kinds == EV_GUEST_KINDS && end <= END_TRACE && (info.width == 32 || info.width == 64) && stats_read(r, &s) && !s.bad && !span_left(&s);
	if (info.complete) {
		info.end = (enum run_end)end;
		r->info = info;
	}
	free(raw);
	return info.complete;
}

/* Goes over the chunk heads: counts what is there, and finds the closing record. indexed: the file has its end. */
static void chunks_scan(struct trace_reader *r, bool indexed)
{
	uint8_t head[TRACE_CHUNK_HEAD];
	struct trace_chunk c = { 0 };
	uint32_t crc;
	uint64_t at = r->first_chunk;
	while (chunk_head(r, at, &c, head, &crc) && c.type != TRACE_CHUNK_CLOSING_TYPE) {
		r->info.chunks++;
		r->info.events += c.events;
		r->info.blocks += c.blocks;
		r->info.table_pages += c.pages;
		at += TRACE_CHUNK_HEAD + (uint64_t)c.packed;
	}
	r->info.instructions = c.instructions; /* up to the last chunk: what it holds itself is not known */
	bool closed = closing_read(r, at);
	r->info.raw_bytes = r->info.events * sizeof(struct event);
	if (closed || !indexed)
		r->end = at; /* else the file is whole, so what stands at `at` is damage: reading it says so */
	if (closed)
		return;
	if (indexed)
		snprintf(r->info.note, sizeof r->info.note, "the trace is damaged after %llu whole chunks", (unsigned long long)r->info.chunks);
	else
		snprintf(r->info.note, sizeof r->info.note, "the trace ends early: %llu whole chunks, then no closing record (the recorder was stopped, or the file was cut)",
			(unsigned long long)r->info.chunks);
}

/* The index and footer are whole: then so is the file, and chunks end where the index starts. */
static bool index_check(struct trace_reader *r)
{
	uint8_t foot[16], head[8];
	uint64_t size = r->info.file_bytes;
	if (size < sizeof foot || !read_at(r, size - sizeof foot, foot, sizeof foot) || memcmp(foot, "RSFT", 4))
		return false;
	struct span s = { foot + 4, foot + sizeof foot, false };
	uint64_t at = span_u64(&s);
	uint32_t crc = span_u32(&s);
	if (crc != (uint32_t)crc32(0, foot + 4, 8) || at > size || size - at < 12 + sizeof foot || !read_at(r, at, head, 8) || memcmp(head, "INDX", 4))
		return false;
	struct span h = { head + 4, head + 8, false };
	uint32_t rows = span_u32(&h);
	if (rows > TRACE_INDEX_LIMIT || size - at - sizeof foot != 12 + (uint64_t)rows * 24)
		return false;
	size_t n = 8 + (size_t)rows * 24;
	uint8_t *index = malloc(n + 4);
	bool ok = index && read_at(r, at, index, n + 4);
	struct span last = { index + n, index + n + 4, !ok };
	ok = ok && span_u32(&last) == (uint32_t)crc32(0, index, (uInt)n);
	free(index);
	if (ok)
		r->end = at;
	return ok;
}

struct trace_reader *trace_reader_open_stream(FILE *in, const char *name, char *error, size_t error_size)
{
	struct trace_reader *r = calloc(1, sizeof *r);
	if (!r) {
		snprintf(error, error_size, "%s: out of memory", name);
		fclose(in);
		return NULL;
	}
	r->file = in;
	snprintf(r->name, sizeof r->name, "%s", name);
	if (fseeko(in, 0, SEEK_END) || ftello(in) < 0) {
		snprintf(error, error_size, "%s: cannot be read as a file: %s", name, strerror(errno));
		trace_reader_close(r);
		return NULL;
	}
	r->info.file_bytes = r->end = (uint64_t)ftello(in);
	if (r->info.file_bytes < 20 || !header_read(r, error, error_size)) {
		if (r->info.file_bytes < 20)
			snprintf(error, error_size, "%s: not a Ringside trace; make one with: ringside trace record", name);
		trace_reader_close(r);
		return NULL;
	}
	bool indexed = index_check(r);
	chunks_scan(r, indexed);
	if (!indexed && r->info.complete)
		snprintf(r->info.note, sizeof r->info.note, "the index is missing or damaged; the trace is read in order without it");
	return r;
}

struct trace_reader *trace_reader_open(const char *path, char *error, size_t error_size)
{
	struct stat about;
	if (!stat(path, &about) && !S_ISREG(about.st_mode)) { /* asked first: opening a pipe that nobody writes to never ends */
		snprintf(error, error_size, "%s: not a regular file; make a trace with: ringside trace record", path);
		return NULL;
	}
	FILE *in = fopen(path, "rb");
	if (!in) {
		snprintf(error, error_size, "%s: cannot open the trace: %s", path, strerror(errno));
		return NULL;
	}
	return trace_reader_open_stream(in, path, error, error_size);
}

const struct trace_info *trace_reader_info(const struct trace_reader *r) { return &r->info; }
const struct trace_cpu *trace_reader_cpu(const struct trace_reader *r) { return &r->cpu; }
const uint64_t *trace_reader_counts(const struct trace_reader *r) { return r->count_by_kind; }

uint64_t trace_references(const uint64_t count_by_kind[EV_KIND_COUNT])
{
	return count_by_kind[EV_BLOCK] + count_by_kind[EV_LOAD] + count_by_kind[EV_STORE] + count_by_kind[EV_RMW] + count_by_kind[EV_TABLE_STORE];
}

bool trace_reader_stat(const struct trace_reader *r, unsigned i, const char **name, uint64_t *value)
{
	if (i >= r->stats)
		return false;
	*name = r->stat[i].name;
	*value = r->stat[i].value;
	return true;
}

const struct block_static *trace_reader_block(const struct trace_reader *r, uint32_t id)
{
	return id < r->blocks && r->defined[id] ? &r->block[id] : NULL;
}

const uint32_t *trace_reader_fresh(const struct trace_reader *r, size_t *count)
{
	*count = r->fresh_count;
	return r->fresh;
}

static void blocks_forget(struct trace_reader *r)
{
	for (uint32_t id = 0; id < r->blocks; id++)
		free((void *)(uintptr_t)r->block[id].code);
	if (r->blocks) {
		memset(r->block, 0, r->blocks * sizeof *r->block);
		memset(r->defined, 0, r->blocks);
	}
	r->blocks = 0;
	r->fresh_count = 0;
}

/* The chunk being read is done with. */
static void chunk_end(struct trace_reader *r)
{
	free(r->raw);
	r->raw = NULL;
	r->left = 0;
}

void trace_reader_rewind(struct trace_reader *r)
{
	blocks_forget(r);
	chunk_end(r);
	r->next = r->first_chunk;
	r->few = r->damaged = false;
	r->chunk = r->events_read = r->given = r->held = 0;
	memset(r->count_by_kind, 0, sizeof r->count_by_kind);
}

void trace_reader_close(struct trace_reader *r)
{
	blocks_forget(r);
	fclose(r->file);
	free(r->description);
	free(r->raw);
	free(r->codec);
	free(r->event);
	free(r->pages);
	free(r->block);
	free(r->defined);
	free(r->fresh);
	free(r->stat);
	free(r);
}

/* ------------------------------------------------------------------ batches */
/* Room for blocks up to that id. Memory that is not used is not touched. */
static bool room_for_block(struct trace_reader *r, uint32_t id)
{
	if (id < r->block_capacity)
		return true;
	uint32_t capacity = id * 2 + 64;
	struct block_static *block = calloc(capacity, sizeof *block);
	uint8_t *defined = calloc(capacity + 1, 1);
	if (!block || !defined) {
		free(block);
		free(defined);
		return false;
	}
	if (r->blocks) {
		memcpy(block, r->block, r->blocks * sizeof *block);
		memcpy(defined, r->defined, r->blocks);
	}
	free(r->block);
	free(r->defined);
	r->block = block;
	r->defined = defined;
	r->block_capacity = capacity;
	return true;
}

static bool room_for_fresh(struct trace_reader *r, size_t more)
{
	if (r->fresh_capacity - r->fresh_count >= more)
		return true;
	size_t capacity = (r->fresh_count + more) * 2;
	uint32_t *fresh = realloc(r->fresh, capacity * sizeof *fresh);
	if (!fresh)
		return false;
	r->fresh = fresh;
	r->fresh_capacity = capacity;
	return true;
}

static const char *block_read(struct trace_reader *r, struct span *s)
{
	uint32_t id = span_u32(s);
	struct block_static b = { .bytes = span_u16(s) };
	b.insns = span_u8(s);
	b.end = span_u8(s);
	b.mode = span_u8(s);
	b.loads = span_u8(s);
	b.stores = span_u8(s);
	b.sensitive_count = span_u8(s);
	b.sensitive = span_u64(s);
	const uint8_t *at = span_take(s, b.bytes);
	if (!at || id >= TRACE_BLOCK_LIMIT || b.bytes > BLOCK_MAX_BYTES || b.end > BLOCK_END_SYSTEM || (b.mode != 2 && b.mode != 4 && b.mode != 8 && b.bytes))
		return "a block is damaged";
	uint8_t *code = malloc(b.bytes + 1u);
	if (!code || !room_for_block(r, id)) {
		free(code);
		return "out of memory";
	}
	memcpy(code, at, b.bytes);
	b.code = code;
	free((void *)(uintptr_t)r->block[id].code);
	r->block[id] = b;
	r->defined[id] = b.bytes != 0;
	r->blocks = id < r->blocks ? r->blocks : id + 1;
	r->fresh[r->fresh_count++] = id;
	return NULL;
}

static const char *blocks_read(struct trace_reader *r, struct span *s, uint32_t n)
{
	const char *wrong = NULL;
	if (!room_for_fresh(r, n + 1u) || !room_for_block(r, 0))
		return "out of memory";
	for (uint32_t i = 0; !wrong && i < n; i++)
		wrong = block_read(r, s);
	return wrong;
}

static bool room_for_page(struct trace_reader *r, size_t page)
{
	if (page < r->page_capacity)
		return true;
	uint8_t *pages = realloc(r->pages, (page * 2 + 16) * TRACE_PAGE);
	if (!pages)
		return false;
	r->pages = pages;
	r->page_capacity = page * 2 + 16;
	return true;
}

static bool stream_span(struct span *s, uint64_t n, struct span *out)
{
	const uint8_t *at = n <= span_left(s) ? span_take(s, (size_t)n) : NULL;
	*out = (struct span){ at, at ? at + n : at, !at };
	return at;
}

static bool event_paired(const struct event *e)
{
	return e->kind == EV_TABLE_STORE || ((e->kind == EV_SENSITIVE || e->kind == EV_HYPERCALL) && e->aux);
}

/* What an event that is no plain reference says of itself and of the next one. */
static const char *event_check(const struct event *e, const struct event *end)
{
	if (event_paired(e) && (e + 1 == end || e[1].kind != EV_VALUE))
		return "an event lacks its value";
	if (e->kind == EV_SENSITIVE && e->id >= SENS_COUNT)
		return "an event names an unknown sensitive instruction";
	return NULL;
}

/* Counts of EV_NONE .. EV_RMW, ten bits each: for up to 1023 events. A count in memory for each kind would wait for itself. ORDER EVENT */
static void counts_unpack(uint64_t *count_by_kind, uint64_t packed)
{
	for (unsigned kind = 0; kind <= EV_RMW; kind++)
		count_by_kind[kind] += packed >> (10 * kind) & 1023;
}

/* What up to 1023 events say of themselves and of each other: a block that exists, a value where one is announced. Counts them. all: end of the batch. */
static const char *events_check(struct trace_reader *r, const struct event *e, const struct event *end, const struct event *all)
{
	const char *wrong = NULL;
	const uint8_t *defined = r->defined;
	uint32_t blocks = r->blocks;
	uint64_t packed = 0;
	bool missing = false;
	for (; e < end; e++) {
		if (__builtin_expect(e->kind <= EV_RMW, 1)) {
			packed += 1ull << (10 * e->kind);
			missing |= (e->kind == EV_BLOCK) & !defined[e->id < blocks ? e->id : blocks];
			continue;
		}
		r->count_by_kind[e->kind]++;
		wrong = event_check(e, all);
		if (wrong)
			break;
	}
	counts_unpack(r->count_by_kind, packed);
	return missing ? "an event names a block that is not there" : wrong;
}

static const char *batch_check(struct trace_reader *r)
{
	const struct event *e = r->event, *all = e + r->given;
	const char *wrong = NULL;
	for (; !wrong && e < all; e += 1023)
		wrong = events_check(r, e, all - e < 1023 ? all : e + 1023, all);
	return wrong;
}

/* The contents of the pages among the events. */
static const char *pages_read(struct trace_reader *r, const struct event *e, const struct event *end)
{
	size_t pages = 0;
	for (; e < end; e++) {
		if (e->kind != EV_TABLE_PAGE)
			continue;
		uint64_t gpa = span_u64(&r->page_in);
		const uint8_t *at = span_take(&r->page_in, TRACE_PAGE);
		if (!at || gpa >> 12 != e->addr >> 12)
			return "page contents do not match their events";
		if (!room_for_page(r, pages))
			return "out of memory";
		memcpy(r->pages + pages++ * TRACE_PAGE, at, TRACE_PAGE);
	}
	return NULL;
}

/* How many events at the end of a batch must be seen with those that follow: half a pair; a sensitive instruction, which may have been refused, with the cuts behind it. */
static size_t tail_length(const struct event *e, size_t n)
{
	size_t at = n;
	if (n && event_paired(&e[n - 1]))
		return 1;
	while (at && n - at < HELD - 2 && e[at - 1].kind == EV_CUT)
		at--;
	if (at > 1 && e[at - 1].kind == EV_VALUE && e[at - 2].kind == EV_SENSITIVE)
		at--;
	return at && e[at - 1].kind == EV_SENSITIVE ? n - at + 1 : 0;
}

static bool reader_prepare(struct trace_reader *r)
{
	if (!r->event)
		r->event = malloc((BATCH + HELD) * sizeof *r->event);
	if (!r->codec)
		r->codec = malloc(sizeof *r->codec);
	return r->event && r->codec;
}

static const char *chunk_begin(struct trace_reader *r)
{
	const char *wrong;
	r->raw = chunk_unpack(r, r->next, &r->head, &wrong);
	if (!r->raw)
		return wrong;
	struct span s = { r->raw, r->raw + r->head.raw, false };
	uint64_t n1 = span_varint(&s), n2 = span_varint(&s), n3 = span_varint(&s), n4 = span_varint(&s);
	r->in = (struct codec_in){ .told = false };
	if (r->head.first_event != r->events_read)
		return "does not continue the one before it";
	if (r->head.type != TRACE_CHUNK_EVENTS_TYPE)
		return "is not a chunk of events";
	if (s.bad || !stream_span(&s, n1, &r->in.tokens) || !stream_span(&s, n2, &r->in.marks) || !stream_span(&s, n3, &r->in.addresses) || !stream_span(&s, n4, &r->in.details))
		return "streams are cut";
	if (!reader_prepare(r))
		return "out of memory";
	codec_reset(r->codec);
	r->left = r->head.events;
	wrong = blocks_read(r, &s, r->head.blocks);
	r->page_in = s;
	return wrong;
}

/* All of the chunk has been read. */
static const char *chunk_finish(struct trace_reader *r)
{
	if (!codec_ended(&r->in))
		return "events are damaged";
	if (span_left(&r->page_in))
		return "page contents do not match their events";
	r->next += TRACE_CHUNK_HEAD + (uint64_t)r->head.packed;
	r->chunk++;
	r->events_read += r->head.events;
	chunk_end(r);
	return NULL;
}

static bool event_refers(const struct event *e) { return e->kind == EV_BLOCK || e->kind - EV_LOAD <= EV_RMW - EV_LOAD; } /* ORDER EVENT */

/* The next events, *more at most. Says in *more how many. False: damaged. */
static bool batch_decode(struct trace_reader *r, size_t *more)
{
	struct event *e = r->event + r->held, *end = e + *more;
	if (r->damaged)
		return false;
	if (!r->few)
		return codec_decode_part(r->codec, &r->in, e, *more);
	do
		if (e < end && !codec_decode_part(r->codec, &r->in, e, 1))
			return false;
	while (e < end && !event_refers(e++));
	*more = (size_t)(e - (r->event + r->held));
	return true;
}

uint64_t trace_reader_pass(struct trace_reader *r, struct codec_pass *p, uint64_t most)
{
	uint64_t passed;
	p->end = PASS_SPECIAL;
	p->instructions = 0;
	p->last = NULL;
	r->few = true;
	if (!r->left || r->held || r->damaged)
		return 0;
	passed = codec_decode_pass(r->codec, &r->in, p, most < r->left ? most : r->left);
	r->left -= (uint32_t)passed;
	r->few = p->end == PASS_SPECIAL || p->end == PASS_DAMAGED;
	r->damaged = p->end == PASS_DAMAGED;
	for (unsigned kind = 0; kind <= EV_RMW; kind++)
		r->count_by_kind[kind] += p->count[kind];
	return passed;
}

/* Decodes more of the chunk, behind what the last batch kept back. */
static const char *batch_fill(struct trace_reader *r)
{
	size_t more = r->left < BATCH ? r->left : BATCH, n = r->held + more;
	memmove(r->event, r->event + r->given, r->held * sizeof *r->event);
	r->given = 0;
	if (!batch_decode(r, &more))
		return "events are damaged";
	r->left -= (uint32_t)more;
	n = r->held + more;
	bool last = !r->left && r->next + TRACE_CHUNK_HEAD + r->head.packed >= r->end;
	r->held = last ? 0 : tail_length(r->event, n);
	r->given = n - r->held;
	const char *wrong = batch_check(r);
	if (!wrong)
		wrong = pages_read(r, r->event, r->event + r->given);
	return wrong || r->left ? wrong : chunk_finish(r);
}

bool trace_reader_next(struct trace_reader *r, const struct event **events, size_t *count, const uint8_t **pages, char *error, size_t error_size)
{
	*count = 0;
	*events = NULL;
	*pages = NULL;
	r->fresh_count = 0;
	while (!*count && (r->raw || r->next < r->end)) {
		const char *wrong = r->raw ? NULL : chunk_begin(r);
		if (!wrong)
			wrong = batch_fill(r);
		if (wrong) {
			chunk_end(r);
			return reader_damaged(r, wrong, error, error_size);
		}
		*count = r->given;
	}
	r->few = false;
	*events = r->event;
	*pages = r->pages;
	return true;
}
