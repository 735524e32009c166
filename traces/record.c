/* The recorder: an event consumer that keeps layer 1 and a page sink, on a machine. */
#include "format.h"
#include "../workloads/include/ringside_pv.h"

struct trace_writer {
	struct trace_file *file;
	struct machine *machine;
	char *description;
	bool started;
	struct event_consumer consumer;
};

static void writer_consume(void *self, const struct event *first, const struct event *end)
{
	struct trace_writer *w = self;
	trace_file_events(w->file, first, end, machine_blocks(w->machine));
}

static void writer_blocks_freed(void *self, const uint8_t *kept)
{
	struct trace_writer *w = self;
	trace_file_blocks_freed(w->file, kept);
}

static void writer_page(void *self, uint64_t gpa, const uint8_t *bytes)
{
	struct trace_writer *w = self;
	trace_file_page(w->file, gpa, bytes);
}

struct trace_writer *trace_writer_open(const char *path, struct machine *m, const char *description, char *error, size_t error_size)
{
	if (machine_configuration(m)->sampling.on) {
		snprintf(error, error_size, "%s: sampling leaves events out, and a recording needs all: set sampling.on=false (compare: or give --no-replay)", path);
		return NULL;
	}
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
	w->consumer = (struct event_consumer){ writer_consume, w, NULL, NULL };
	return w;
}

/* What the domain builder was told, from what it left: registers and start_info (ringside_pv.h). Its first page is the GDT's, at the first free address. */
static void boot_note(struct trace_boot *b, const struct vmm *v)
{
	const struct cpu *cpu = v->cpu;
	struct pv_start_info start;
	b->width = cpu->efer & EFER_LMA ? 64 : 32;
	uint64_t kbase = b->width == 64 ? PV_KBASE_64 : PV_KBASE_32;
	const void *at = phys_ptr(v->phys, v->guest_base + (cpu->reg[REG_SI] - kbase), sizeof start);
	if (!at)
		return;
	memcpy(&start, at, sizeof start);
	b->entry = cpu->rip;
	b->free_gpa = cpu->gdtr.base - kbase;
	b->module_gpa = start.mod_start_pa;
	b->module_bytes = start.mod_bytes;
	snprintf(b->cmdline, sizeof b->cmdline, "%.255s", start.cmdline);
}

void trace_writer_start(struct trace_writer *w)
{
	const struct machine_config *c = machine_configuration(w->machine);
	struct trace_info info = { .memory_bytes = c->memory_bytes, .description = w->description };
	struct run_result loaded;
	struct trace_cpu cpu;

	machine_result(w->machine, &loaded); /* drains: what loading made is not recorded, replay makes it again */
	info.width = loaded.width;
	snprintf(info.technique, sizeof info.technique, "%s", c->technique);
	snprintf(info.workload, sizeof info.workload, "%s", c->workload);
	if (machine_vmm(w->machine)->technique->paravirtual_guest)
		boot_note(&info.boot, machine_vmm(w->machine));
	trace_cpu_save(&cpu, machine_cpu(w->machine));
	trace_file_header(w->file, &info, &cpu);
	machine_blocks(w->machine)->watcher.self = w;
	machine_blocks(w->machine)->watcher.freeing = writer_blocks_freed;
	event_sink_attach(machine_events(w->machine), &w->consumer);
	machine_mmu(w->machine)->page_sink = (struct page_sink){ w, writer_page };
	w->started = true;
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
	machine_blocks(w->machine)->watcher.freeing = NULL;
}

bool trace_writer_close(struct trace_writer *w, const struct run_result *result, char *error, size_t error_size)
{
	if (w->started) {
		event_drain(machine_events(w->machine));
		writer_detach(w);
	}
	bool ok = trace_file_close(w->file, w->started ? result : NULL, error, error_size);
	free(w->description);
	free(w);
	return ok;
}
