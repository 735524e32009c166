/*
 * Fuzzes replay: events that no guest made, in a trace that is well formed, under each technique. Nothing may crash, hang, or reach outside the simulator; replay may end early with an
 * error. Eight bytes make an event, four kilobytes after a page-table page are its contents, so that walks find something to chew on.
 */
#define _GNU_SOURCE /* memfd_create */
#include "traces/format.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define EVENTS_MOST 400
#define MEMORY (2u << 20)

struct maker { struct span in; struct event event[2 * EVENTS_MOST]; size_t events; uint8_t page[4096]; };

/* Addresses near each other, so that events meet; now and then any address at all. */
static uint64_t address_make(struct span *in)
{
	unsigned how = span_u8(in);
	uint64_t low = span_u16(in);
	if (how & 0x80)
		return low << (how & 0x3f);
	return (uint64_t)(how & 0x3f) << 15 ^ low;
}

static void event_make(struct maker *m)
{
	struct event e = { .kind = (uint8_t)(1 + span_u8(&m->in) % (EV_GUEST_KINDS - 1)), .flags = span_u8(&m->in), .id = span_u16(&m->in), .addr = address_make(&m->in) };
	e.aux = (uint16_t)(span_u8(&m->in) % 20);
	if (e.kind == EV_VALUE || e.kind == EV_IDLE)
		return;
	if (e.kind == EV_BLOCK)
		e.id %= 4;
	if (e.kind == EV_SENSITIVE)
		e.id %= SENS_COUNT;
	if (e.kind == EV_TABLE_PAGE)
		e.addr &= 0x1ff000;
	m->event[m->events++] = e;
	if (e.kind == EV_TABLE_STORE || ((e.kind == EV_SENSITIVE || e.kind == EV_HYPERCALL) && e.aux))
		m->event[m->events++] = (struct event){ .kind = EV_VALUE, .addr = address_make(&m->in) };
}

static void blocks_make(struct block_dictionary *d)
{
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t code[8] = { (uint8_t)(0x90 + i), 0x0f, 0xa2, 0xc3, 0x90, 0x90, 0x90, 0x90 };
		struct block_static b = { .bytes = 8, .insns = 7, .end = (uint8_t)(i * 2), .mode = i & 1 ? 8 : 4, .sensitive = i, .code = code };
		block_dictionary_enter(d, &b);
	}
}

static bool trace_make(struct maker *m, const char *path, uint8_t start)
{
	struct block_dictionary blocks;
	struct trace_info info = { .width = 64, .memory_bytes = MEMORY, .technique = "native", .description = "" };
	struct trace_cpu cpu = { .count = 2, .reg = { { "cr0", start & 1 ? 0x80000011u : 0x11 }, { "cpl", start >> 1 & 3 } } };
	struct run_result r = { .width = 64 };
	char error[400];
	struct trace_file *f = trace_file_create(path, error, sizeof error);
	if (!f || !block_dictionary_create(&blocks))
		abort();
	if (start & 8)
		info.boot = (struct trace_boot){ .width = start & 16 ? 32 : 64, .entry = 0x1000, .free_gpa = 0x4000 };
	blocks_make(&blocks);
	trace_file_header(f, &info, &cpu);
	for (size_t i = 0; i < m->events; i++) {
		if (m->event[i].kind == EV_TABLE_PAGE)
			trace_file_page(f, m->event[i].addr, m->page);
	}
	trace_file_events(f, m->event, m->event + m->events, &blocks);
	bool ok = trace_file_close(f, &r, error, sizeof error);
	block_dictionary_destroy(&blocks);
	return ok;
}

static void technique_replay(const char *path, const char *technique)
{
	struct machine_config c;
	struct run_result result;
	char error[640];
	machine_config_default(&c);
	c.memory_bytes = MEMORY;
	c.softtlb_entries = 16;
	c.event_buffer = 64;
	snprintf(c.technique, sizeof c.technique, "%s", technique);
	struct machine *m = machine_create(&c, error, sizeof error);
	struct trace_reader *r = trace_reader_open(path, error, sizeof error);
	if (!m || !r)
		abort();
	trace_replay(r, m, NULL, NULL, error, sizeof error);
	machine_result(m, &result);
	trace_reader_close(r);
	machine_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct maker m; /* 20 KiB: not for the stack */
	char path[64];
	int fd = memfd_create("trace", 0);
	if (size < 600 || fd < 0) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	m.in = (struct span){ data + 513, data + size, false };
	m.events = 0;
	for (unsigned i = 0; i < 4096; i++)
		m.page[i] = data[1 + i % 512];
	while (span_left(&m.in) >= 8 && m.events < EVENTS_MOST)
		event_make(&m);
	if (trace_make(&m, path, data[0]))
		for (unsigned t = 0; t < TECHNIQUES; t++)
			technique_replay(path, techniques[t].name);
	close(fd);
	return 0;
}
