/* The header of a trace: sections of facts, event kinds, machine description and registers. Format: format.h. */
#include "format.h"
#include <zlib.h>

struct kind_row { const char *name, *addr, *aux, *id; };
static const struct kind_row kind_rows[EV_GUEST_KINDS] = {
#define TRACE_KIND(kind, name, addr, aux, id) [kind] = { name, addr, aux, id },
#include "kinds.def"
#undef TRACE_KIND
};

const char *trace_kind_name(unsigned kind)
{
	return kind < EV_GUEST_KINDS ? kind_rows[kind].name : NULL;
}

static void section_begin(struct bytes *out, const char *tag, size_t *at)
{
	bytes_put(out, tag, 4);
	*at = out->count;
	bytes_u32(out, 0);
}

static void section_end(struct bytes *out, size_t at)
{
	uint32_t n = (uint32_t)(out->count - at - 4);
	for (unsigned i = 0; i < 4 && !out->failed; i++)
		out->data[at + i] = (uint8_t)(n >> (8 * i));
}

static void kinds_build(struct bytes *out)
{
	for (unsigned k = 1; k < EV_GUEST_KINDS; k++) {
		bytes_u8(out, (uint8_t)k);
		bytes_string(out, kind_rows[k].name);
		bytes_string(out, kind_rows[k].addr);
		bytes_string(out, kind_rows[k].aux);
		bytes_string(out, kind_rows[k].id);
	}
}

static void registers_build(struct bytes *out, const struct trace_cpu *cpu)
{
	bytes_u16(out, (uint16_t)cpu->count);
	for (unsigned i = 0; i < cpu->count; i++) {
		bytes_string(out, cpu->reg[i].name);
		bytes_u64(out, cpu->reg[i].value);
	}
}

void header_build(struct bytes *out, const struct trace_info *info, const struct trace_cpu *cpu)
{
	size_t at;
	section_begin(out, "INFO", &at);
	bytes_u32(out, info->width);
	bytes_u64(out, info->memory_bytes);
	bytes_string(out, info->technique);
	bytes_string(out, info->workload);
	section_end(out, at);
	section_begin(out, "KIND", &at);
	kinds_build(out);
	section_end(out, at);
	section_begin(out, "DESC", &at);
	bytes_put(out, info->description, strlen(info->description));
	section_end(out, at);
	section_begin(out, "BOOT", &at);
	bytes_u32(out, info->boot.width);
	bytes_u64(out, info->boot.entry);
	bytes_u64(out, info->boot.free_gpa);
	bytes_u64(out, info->boot.module_gpa);
	bytes_u64(out, info->boot.module_bytes);
	bytes_string(out, info->boot.cmdline);
	section_end(out, at);
	section_begin(out, "CPU0", &at);
	registers_build(out, cpu);
	section_end(out, at);
}

/* ------------------------------------------------------------------ parsing */
struct header_target { struct trace_info *info; struct trace_cpu *cpu; char **description; };

static bool info_parse(struct span s, struct header_target *t)
{
	t->info->width = span_u32(&s);
	t->info->memory_bytes = span_u64(&s);
	span_string(&s, t->info->technique, sizeof t->info->technique);
	span_string(&s, t->info->workload, sizeof t->info->workload);
	return !s.bad && (t->info->width == 32 || t->info->width == 64);
}

static bool boot_parse(struct span s, struct header_target *t)
{
	struct trace_boot *b = &t->info->boot;
	b->width = span_u32(&s);
	b->entry = span_u64(&s);
	b->free_gpa = span_u64(&s);
	b->module_gpa = span_u64(&s);
	b->module_bytes = span_u64(&s);
	span_string(&s, b->cmdline, sizeof b->cmdline);
	return !s.bad && (b->width == 0 || b->width == 32 || b->width == 64);
}

/* A version has exactly these kinds: a file that names others was not written by it. */
static bool kinds_parse(struct span s, struct header_target *t)
{
	char text[64];
	(void)t;
	while (span_left(&s) && !s.bad) {
		unsigned kind = span_u8(&s);
		span_string(&s, text, sizeof text);
		if (kind == EV_NONE || kind >= EV_GUEST_KINDS || strcmp(text, kind_rows[kind].name))
			return false;
		for (int i = 0; i < 3; i++)
			span_string(&s, text, sizeof text);
	}
	return !s.bad;
}

static bool description_parse(struct span s, struct header_target *t)
{
	if (*t->description || memchr(s.at, 0, span_left(&s)))
		return false;
	*t->description = malloc(span_left(&s) + 1);
	if (!*t->description)
		return false;
	memcpy(*t->description, s.at, span_left(&s));
	(*t->description)[span_left(&s)] = 0;
	return true;
}

static bool registers_parse(struct span s, struct header_target *t)
{
	unsigned n = span_u16(&s);
	if (n > TRACE_REGISTERS)
		return false;
	for (unsigned i = 0; i < n; i++) {
		span_string(&s, t->cpu->reg[i].name, sizeof t->cpu->reg[i].name);
		t->cpu->reg[i].value = span_u64(&s);
	}
	t->cpu->count = n;
	return !s.bad;
}

static const struct section_row { char tag[5]; bool (*parse)(struct span s, struct header_target *t); } section_rows[] = {
	{ "INFO", info_parse },
	{ "KIND", kinds_parse },
	{ "DESC", description_parse },
	{ "BOOT", boot_parse },
	{ "CPU0", registers_parse },
};
#define SECTIONS (sizeof section_rows / sizeof section_rows[0])

static bool section_parse(const uint8_t *tag, struct span body, struct header_target *t, unsigned *seen)
{
	for (unsigned i = 0; i < SECTIONS; i++) {
		if (memcmp(tag, section_rows[i].tag, 4))
			continue;
		*seen |= 1u << i;
		return section_rows[i].parse(body, t);
	}
	return true; /* a section of a later minor revision: skipped */
}

bool header_parse(struct span in, struct trace_info *info, struct trace_cpu *cpu, char **description, char *error, size_t error_size)
{
	struct header_target t = { info, cpu, description };
	unsigned seen = 0;
	while (span_left(&in) && !in.bad) {
		const uint8_t *tag = span_take(&in, 4);
		uint32_t n = span_u32(&in);
		const uint8_t *at = span_take(&in, n);
		if (!at)
			break;
		if (!section_parse(tag, (struct span){ at, at + n, false }, &t, &seen)) {
			snprintf(error, error_size, "header section %.4s is damaged", (const char *)tag);
			return false;
		}
	}
	if (in.bad || seen != (1u << SECTIONS) - 1) {
		snprintf(error, error_size, "the header lacks sections");
		return false;
	}
	info->description = *description;
	return true;
}

/* ------------------------------------------------------------------ zlib */
enum { RAW_DEFLATE = -15 }; /* a window of 32 KiB, no header and no checksum */

bool bytes_pack(struct bytes *out, const struct bytes *raw)
{
	z_stream z = { .next_in = raw->data, .avail_in = (uInt)raw->count };
	/* Level 3: measured on kernel and user code, higher levels gain under 5 % after the codec and cost twice the time. */
	if (raw->failed || raw->count > UINT32_MAX || deflateInit2(&z, 3, Z_DEFLATED, RAW_DEFLATE, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	size_t room = deflateBound(&z, (uLong)raw->count);
	bool ok = room <= UINT32_MAX && bytes_reserve(out, room);
	z.next_out = ok ? out->data + out->count : NULL;
	z.avail_out = ok ? (uInt)room : 0;
	ok = ok && deflate(&z, Z_FINISH) == Z_STREAM_END;
	out->count += ok ? z.total_out : 0;
	deflateEnd(&z);
	return ok;
}

bool bytes_unpack(uint8_t *to, size_t n, const uint8_t *packed, size_t packed_bytes)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)packed, .avail_in = (uInt)packed_bytes, .next_out = to, .avail_out = (uInt)n };
	if (n > UINT32_MAX || packed_bytes > UINT32_MAX || inflateInit2(&z, RAW_DEFLATE) != Z_OK)
		return false;
	bool ok = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == n;
	inflateEnd(&z);
	return ok;
}
