/*
 * Traces: layer-1 events on disk, and the engine that reads them back (design, section 7).
 *
 * Invariant: a trace replayed under the configuration it was recorded with gives every TLB, walk, exit and cycle counter of that run. It stores what the guest did, never what
 * virtualizing it took; so one native recording replays under every technique that runs the same guest image.
 */
#ifndef TRACES_TRACE_H
#define TRACES_TRACE_H
#include "../machine/machine.h"

/* ---- recording ---- */
struct trace_writer;
/* Starts recording machine m into path: header (format version, machine description as text from `description`: the effective configuration, YAML), then chunks. Attach before machine_load().
 * NULL with one line in error. */
struct trace_writer *trace_writer_open(const char *path, struct machine *m, const char *description, char *error, size_t error_size);
/* Writes the closing chunk (result, state hash, dictionary, index). False with a line when the disk failed at any time. */
bool trace_writer_close(struct trace_writer *w, const struct run_result *result, char *error, size_t error_size);

/* ---- reading ---- */
struct trace_reader;
struct trace_info { uint32_t version; uint64_t events, instructions, chunks, blocks, table_pages, file_bytes, raw_bytes; unsigned width; enum run_end end; int exit_code; uint64_t state_hash;
	char technique[24], workload[64]; uint64_t memory_bytes; const char *description; uint64_t count_by_kind[EV_KIND_COUNT]; };
struct trace_reader *trace_reader_open(const char *path, char *error, size_t error_size); /* checks magic, version, checksums of header and index */
const struct trace_info *trace_reader_info(const struct trace_reader *r);
void trace_reader_close(struct trace_reader *r);
/* Next batch of events, in order; *count 0 at the end. False: damaged (a line in error names chunk and offset). Pages of EV_TABLE_PAGE come through `pages` in order. */
bool trace_reader_next(struct trace_reader *r, const struct event **events, size_t *count, const uint8_t **pages, char *error, size_t error_size);
/* Static block facts by id. */
const struct block_static *trace_reader_block(const struct trace_reader *r, uint32_t id);

/* ---- replay ---- */
/* Runs the trace through machine m (created with the technique under study and the trace's memory size, never loaded). False: damaged trace or divergence, one line in error. */
bool trace_replay(struct trace_reader *r, struct machine *m, machine_progress *progress, void *self, char *error, size_t error_size);
#endif
