/*
 * The trace file: its layout, and the parts that writer and reader share.
 *
 *   file    = magic "RINGSIDE" | u32 version | u32 n | u32 crc of the n bytes | n bytes of sections | chunk* | index | footer
 *   section = u8 tag[4] | u32 n | n bytes       "INFO" facts, "KIND" event kinds and fields, "DESC" machine description (YAML), "BOOT" start of day of a paravirtual guest, "CPU0" registers by name
 *   chunk   = "CHNK" | u32 type (0 events, 1 closing) | u32 packed | u32 raw | u32 events | u32 blocks | u32 pages | u64 instructions before | u64 events before | u32 crc | packed bytes
 *             crc over the fields from `type` to `events before`, then the packed bytes (raw deflate, RFC 1951)
 *   raw     = varint n1 n2 n3 n4 | n1 tokens | n2 marks | n3 addresses | n4 details (codec.h) | blocks | pages (u64 gpa, 4096 bytes)
 *   block   = u32 id | u16 bytes | u8 insns end mode loads stores sensitive_count | u64 sensitive | code       what an id stands for from this chunk on: those that its events name first, and those
 *             whose id stood for another block before (code that writes itself); without bytes: the id stands for nothing
 *   closing = u32 end | i32 exit code | u32 width | u64 state hash, instructions, events | u16 n | n times u64 count by kind | u32 n | n times (string name, u64 value): statistics of the run
 *   index   = "INDX" | u32 n | n times (u64 offset, u64 instructions before, u64 events before) | u32 crc
 *   footer  = "RSFT" | u64 offset of the index | u32 crc of that offset
 *
 * All little-endian. A reader refuses versions other than its own.
 * Version 1: the first.
 * Version 2: addresses are also expected at their distance from the access before, events behind a REP in places of their own, four times as many events a chunk (half the bytes);
 *            blocks carry their id, so that a recorder need not remember all blocks there ever were.
 * Version 3: the codec's predictor is a graph of blocks, and what is half predicted takes a bit (twice as fast to decode, a third smaller where a guest branches at random);
 *            chunks are packed without zlib's own header and checksum, which ours made needless.
 * Version 4: the kind EV_PROBE; faults that only a VMM sees are not stored.
 */
#ifndef TRACES_FORMAT_H
#define TRACES_FORMAT_H
#include "codec.h"
#include "trace.h"
#include <stdio.h>

#define TRACE_MAGIC "RINGSIDE"
#define TRACE_VERSION 4u
#define TRACE_HEADER_LIMIT (1u << 20)   /* bytes of sections */
#define TRACE_CHUNK_EVENTS (1u << 20) /* the writer seals a chunk at about this many */
#define TRACE_CHUNK_EVENT_LIMIT (1u << 22)
#define TRACE_RAW_LIMIT (1u << 26)      /* bytes of a chunk, unpacked */
#define TRACE_PACKED_LIMIT (1u << 26)
#define TRACE_CHUNK_HEAD 48u            /* bytes of a chunk before its packed bytes */
#define TRACE_PAGE 4096u
#define TRACE_INDEX_LIMIT (1u << 24)    /* rows */
#define TRACE_STATS_LIMIT 1024u
#define TRACE_BLOCK_LIMIT (1u << 22)    /* ids */

struct trace_chunk { uint32_t type, packed, raw, events, blocks, pages; uint64_t instructions, first_event; };
enum { TRACE_CHUNK_EVENTS_TYPE, TRACE_CHUNK_CLOSING_TYPE };

/* Header sections from and to facts. header_parse returns false with a line in error. */
void header_build(struct bytes *out, const struct trace_info *info, const struct trace_cpu *cpu);
bool header_parse(struct span in, struct trace_info *info, struct trace_cpu *cpu, char **description, char *error, size_t error_size);
/* Event kinds by name, for `trace info`: NULL for kinds that a trace does not hold: trace_kind_name() in trace.h. */

/* Deflate in one go. bytes_pack appends; unpack gives exactly n bytes or false. */
bool bytes_pack(struct bytes *out, const struct bytes *raw);
bool bytes_unpack(uint8_t *to, size_t n, const uint8_t *packed, size_t packed_bytes);

/* Records without a machine: the file itself. The machine part is record.c. */
struct trace_file;
struct trace_file *trace_file_create(const char *path, char *error, size_t error_size);
/* Writes the header: first call after create. */
void trace_file_header(struct trace_file *f, const struct trace_info *info, const struct trace_cpu *cpu);
void trace_file_events(struct trace_file *f, const struct event *first, const struct event *end, const struct block_dictionary *blocks);
/* From now on the ids whose kept[id] is 0 may stand for other blocks. Events that name them have been given. */
void trace_file_blocks_freed(struct trace_file *f, const uint8_t *kept);
void trace_file_page(struct trace_file *f, uint64_t gpa, const uint8_t *bytes);
/* Closes with the result; result NULL: leaves the file without closing record, as a killed recorder would. Frees f. */
bool trace_file_close(struct trace_file *f, const struct run_result *result, char *error, size_t error_size);

/* Has the plain references that come next pass, `most` of them, as codec_decode_pass() does: none if the batch before ended with events that must be seen with what follows. Where it
 * ends for what comes next, the next batch is a short one, which ends behind its first reference; it says so if they were damaged. Returns how many have passed. */
uint64_t trace_reader_pass(struct trace_reader *r, struct codec_pass *p, uint64_t most);

/* Reading from any stream, which it closes. name: for messages. */
struct trace_reader *trace_reader_open_stream(FILE *in, const char *name, char *error, size_t error_size);
#endif
