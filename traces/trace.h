/*
 * Traces: layer-1 events on disk, and the engine that reads them back.
 *
 * Invariant: a trace replayed under the configuration it was recorded with gives every TLB, walk, exit and cycle counter of that run. It stores what the guest did, never what
 * virtualizing it took; so one native recording replays under every technique that runs the same guest image.
 */
#ifndef TRACES_TRACE_H
#define TRACES_TRACE_H
#include "../machine/machine.h"

/* ---- recording ---- */
struct trace_writer;
/* Starts recording machine m into path: header (format version, machine description as text from `description`: the effective configuration, YAML), then chunks. Records
 * nothing until trace_writer_start(). NULL with one line in error. */
struct trace_writer *trace_writer_open(const char *path, struct machine *m, const char *description, char *error, size_t error_size);
/* Notes the processor's state, from which replay starts, and records from now on: after machine_load(), before machine_run(). */
void trace_writer_start(struct trace_writer *w);
/* Writes the closing chunk (result, state hash, statistics), index and footer. False with a line when the disk failed at any time. result NULL: abandons the recording. */
bool trace_writer_close(struct trace_writer *w, const struct run_result *result, char *error, size_t error_size);

/* ---- reading ---- */
struct trace_reader;
struct trace_boot { /* a paravirtual guest's start of day, which replay builds again; width 0: the guest is not paravirtual */
	unsigned width;
	uint64_t entry, free_gpa, module_gpa, module_bytes;
	char cmdline[256];
};
struct trace_info {
	uint32_t version;
	uint64_t events, instructions, chunks, blocks, table_pages, file_bytes, raw_bytes; /* raw_bytes: events as they are in memory, 16 bytes each */
	unsigned width;            /* 32 or 64: of the guest kernel; of a cut file, as far as it was known when it was loaded */
	enum run_end end;
	int exit_code;
	uint64_t state_hash;
	char technique[24], workload[64];
	uint64_t memory_bytes;     /* guest RAM of the recording */
	const char *description;   /* effective configuration of the recording, YAML */
	uint64_t count_by_kind[EV_KIND_COUNT];
	struct trace_boot boot;
	bool complete;             /* the closing record is there: end, exit_code, state_hash, count_by_kind and the statistics are known */
	char note[160];            /* empty, or what is missing or damaged but does not stop a reader: a cut file, a damaged index */
};
struct trace_reader *trace_reader_open(const char *path, char *error, size_t error_size); /* checks magic, version, checksums of header and index */
const struct trace_info *trace_reader_info(const struct trace_reader *r);
void trace_reader_close(struct trace_reader *r);
/* Next batch of events, in order; *count 0 at the end (of a cut file: after its last whole chunk). False: damaged (a line in error names chunk and offset). *pages: the contents of the
 * EV_TABLE_PAGE events of this batch, 4096 bytes each, in their order. All pointers live until the next call. */
bool trace_reader_next(struct trace_reader *r, const struct event **events, size_t *count, const uint8_t **pages, char *error, size_t error_size);
/* Goes back to the first event. */
void trace_reader_rewind(struct trace_reader *r);
/* Events by kind of the batches so far (EV_KIND_COUNT numbers). */
const uint64_t *trace_reader_counts(const struct trace_reader *r);
/* Memory references among them: fetches of blocks, loads, stores (of page tables, too) and read-modify-writes. Takes info.count_by_kind of a complete trace as well. */
uint64_t trace_references(const uint64_t count_by_kind[EV_KIND_COUNT]);
/* Static block facts by id, as of the last batch: later ones may bring an id with another block. NULL: none. */
const struct block_static *trace_reader_block(const struct trace_reader *r, uint32_t id);
/* The ids that the last batch brought, brought again or took away: what they stand for holds from its first event. */
const uint32_t *trace_reader_fresh(const struct trace_reader *r, size_t *count);
/* Statistics of the recorded run by name (instructions, cycles, cause.*, exit.*, tlb.*, ...); false: no more. */
bool trace_reader_stat(const struct trace_reader *r, unsigned i, const char **name, uint64_t *value);
/* Name of an event kind ("table-store"); NULL: not in traces. */
const char *trace_kind_name(unsigned kind);

/* Named registers at the start of a recording: traces/registers.c lists them. */
#define TRACE_REGISTERS 96
struct trace_cpu { unsigned count; struct { char name[16]; uint64_t value; } reg[TRACE_REGISTERS]; };
void trace_cpu_save(struct trace_cpu *t, const struct cpu *cpu);
/* Sets what it names; registers it does not name, and names it does not know, stay alone. Returns how many were set. */
unsigned trace_cpu_load(const struct trace_cpu *t, struct cpu *cpu);
const struct trace_cpu *trace_reader_cpu(const struct trace_reader *r);

/* What a result counts, flattened to name and value, in a fixed order: instructions, cycles, cause.<name>, exit.<reason>.count, exit.<reason>.cycles, work.<kind>, and each stat by its
 * own name. The closing record holds this list; `trace replay` compares by it. Calls fn for each; a false from fn ends it. */
typedef bool trace_stat_fn(void *self, const char *name, uint64_t value);
void trace_result_stats(const struct run_result *r, trace_stat_fn *fn, void *self);

/* ---- replay ---- */
/* Runs the trace through machine m (created with the technique under study and the trace's memory size, never loaded). False: damaged trace or divergence, one line in error. */
bool trace_replay(struct trace_reader *r, struct machine *m, machine_progress *progress, void *self, char *error, size_t error_size);
#endif
