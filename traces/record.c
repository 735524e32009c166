/* The recorder: an event consumer that keeps layer 1 and a page sink, on a machine. */
#include "format.h"

struct trace_writer {
	struct trace_file *file;
	struct machine *machine;
	char *description;
	bool started;
	struct event_consumer consumer;
	struct bytes early;             /* events of loading, before the header could be written */
	struct bytes early_pages;       /* u64 gpa + contents */
};

static void writer_consume(void *self, const struct event *first, const struct event *end)
{
	struct trace_writer *w = self;
	if (w->started)
		trace_file_events(w->file, first, end, machine_blocks(w->machine));
	else
		bytes_put(&w->early, first, (size_t)(end - first) * sizeof *first);
}

static void writer_page(void *self, uint64_t gpa, const uint8_t *bytes)
{
	struct trace_writer *w = self;
	if (w->started) {
		trace_file_page(w->file, gpa, bytes);
	} else {
		bytes_u64(&w->early_pages, gpa);
		bytes_put(&w->early_pages, bytes, TRACE_PAGE);
	}
}

struct trace_writer *trace_writer_open(const char *path, struct machine *m, const char *description, char *error, size_t error_size)
{
	struct trace_writer *w = calloc(1, sizeof *w);
	char *text = strdup(description);
	struct trace_file *file = w && text ? trace_file_create(path, error, error_size) : NULL;
	if (!file) {
		if (!w || !text)
			snprintf(error, error_size, "%s: out of memory", path);
		free(w);
		free(text);
		return NULL;
	}
	*w = (struct trace_writer){ .file = file, .machine = m, .description = text };
	w->consumer = (struct event_consumer){ writer_consume, w, NULL };
	event_sink_attach(machine_events(m), &w->consumer);
	machine_mmu(m)->page_sink = (struct page_sink){ w, writer_page };
	return w;
}

void trace_writer_start(struct trace_writer *w)
{
	const struct machine_config *c = machine_configuration(w->machine);
	struct trace_info info = { .memory_bytes = c->memory_bytes, .description = w->description };
	struct run_result loaded; /* a 64-bit kernel, too, starts in 32-bit mode: only the machine knows what image it loaded */
	struct trace_cpu cpu;

	event_drain(machine_events(w->machine));
	machine_result(w->machine, &loaded);
	info.width = loaded.width;
	snprintf(info.technique, sizeof info.technique, "%s", c->technique);
	snprintf(info.workload, sizeof info.workload, "%s", c->workload);
	trace_cpu_save(&cpu, machine_cpu(w->machine));
	trace_file_header(w->file, &info, &cpu);
	w->started = true;
	for (size_t at = 0; at + 8 + TRACE_PAGE <= w->early_pages.count; at += 8 + TRACE_PAGE) {
		uint64_t gpa;
		memcpy(&gpa, w->early_pages.data + at, 8);
		trace_file_page(w->file, gpa, w->early_pages.data + at + 8);
	}
	for (size_t at = 0; at < w->early.count; at += sizeof(struct event)) {
		struct event e;
		memcpy(&e, w->early.data + at, sizeof e);
		trace_file_events(w->file, &e, &e + 1, machine_blocks(w->machine));
	}
	bytes_destroy(&w->early);
	bytes_destroy(&w->early_pages);
}

/* The machine outlives the recording: takes the consumer out of the sink's list again. */
static void writer_detach(struct trace_writer *w)
{
	struct event_sink *s = machine_events(w->machine);
	struct event_consumer **at = &s->consumers;
	while (*at && *at != &w->consumer)
		at = &(*at)->next;
	if (*at)
		*at = w->consumer.next;
	s->on = s->consumers != NULL;
	machine_mmu(w->machine)->page_sink = (struct page_sink){ 0 };
}

bool trace_writer_close(struct trace_writer *w, const struct run_result *result, char *error, size_t error_size)
{
	event_drain(machine_events(w->machine));
	bool lost = w->early.failed || w->early_pages.failed;
	writer_detach(w);
	bool ok = trace_file_close(w->file, w->started ? result : NULL, machine_blocks(w->machine), error, error_size);
	if (ok && lost) {
		snprintf(error, error_size, "the trace was not written: out of memory");
		ok = false;
	}
	bytes_destroy(&w->early);
	bytes_destroy(&w->early_pages);
	free(w->description);
	free(w);
	return ok;
}
