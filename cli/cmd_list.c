/* ringside list: every registry, by topic. A topic is a row: a function that gives its i-th entry. */
#include "bench.h"
#include "options.h"
#include "../tlb/tlb_array.h"
#include "../tlb/walk_cache.h"
#include <string.h>

struct entry { char name[64]; char text[400]; };
typedef bool topic_fn(unsigned i, struct entry *e);

static bool entry_set(struct entry *e, const char *name, const char *text)
{
	snprintf(e->name, sizeof e->name, "%s", name);
	snprintf(e->text, sizeof e->text, "%s", text ? text : "");
	return true;
}

static bool topic_techniques(unsigned i, struct entry *e) { return i < TECHNIQUES && entry_set(e, techniques[i].name, techniques[i].summary); }
static bool topic_exit_reasons(unsigned i, struct entry *e) { return i < EXIT_REASONS && entry_set(e, exit_reason_name(i), exit_reason_text(i)); }
static bool topic_causes(unsigned i, struct entry *e) { return i < CAUSES && entry_set(e, cause_name(i), cause_text(i)); }
static bool topic_sensitive(unsigned i, struct entry *e) { return i < SENS_COUNT && entry_set(e, sensitive_name(i), ""); }

static bool topic_engines(unsigned i, struct entry *e)
{
	return choice_engine(i) && entry_set(e, engines[i].name, engines[i].summary);
}

static bool topic_cores(unsigned i, struct entry *e)
{
	if (i == 0)
		return entry_set(e, "functional", "no timing model: instructions only");
	return choice_core(i) && entry_set(e, core_models[i - 1].name, core_models[i - 1].summary);
}

static bool topic_presets(unsigned i, struct entry *e)
{
	return preset_at(i) && entry_set(e, preset_at(i)->name, preset_at(i)->summary);
}

static bool topic_workloads(unsigned i, struct entry *e)
{
	const struct workload_row *w = workload_at(i);
	if (!w)
		return false;
	entry_set(e, w->name, "");
	snprintf(e->text, sizeof e->text, "%s%s", w->what, w->depends_on_time ? " (its path depends on time)" : "");
	return true;
}

static bool topic_organisations(unsigned i, struct entry *e)
{
	const char *name = tlb_organisation_name(i);
	return name && entry_set(e, name, tlb_organisation_find(name)->summary);
}

static bool topic_replacements(unsigned i, struct entry *e)
{
	const char *name = tlb_replacement_name(i);
	return name && entry_set(e, name, tlb_replacement_find(name)->summary);
}

static bool topic_walk_caches(unsigned i, struct entry *e)
{
	const char *name = walk_cache_name(i);
	return name && entry_set(e, name, walk_cache_find(name)->summary);
}

static bool topic_works(unsigned i, struct entry *e)
{
	return i < VMM_WORKS && entry_set(e, vmm_work_name(i), "");
}

static bool topic_formats(unsigned i, struct entry *e)
{
	char text[64];
	if (i >= PAGING_FORMATS)
		return false;
	snprintf(text, sizeof text, "references in one dimension: %u", paging_format_levels(i));
	return entry_set(e, paging_format_name(i), text);
}

static bool topic_events(unsigned i, struct entry *e)
{
	static const char *const rows[][2] = {
#define TRACE_KIND(kind, name, addr, aux, id) { name, "addr: " addr "; aux: " aux "; id: " id },
#include "../traces/kinds.def"
#undef TRACE_KIND
	};
	return i < sizeof rows / sizeof *rows && entry_set(e, rows[i][0], rows[i][1]);
}

static bool topic_bench(unsigned i, struct entry *e)
{
	return i < bench_kernel_count && entry_set(e, bench_kernels[i].name, bench_kernels[i].what);
}

static bool topic_keys(unsigned i, struct entry *e)
{
	struct config c;
	struct config_key k;
	char value[1200];
	config_default(&c);
	if (!config_key(&c, i, &k))
		return false;
	config_value(&k, value, sizeof value);
	entry_set(e, k.name, "");
	snprintf(e->text, sizeof e->text, "%s (%s; default %.100s)", k.doc, key_kind_name(k.kind), value);
	return true;
}

static const struct topic { const char *name, *text; topic_fn *get; } topics[] = {
	{ "techniques", "ways to virtualize: a CPU part and a memory part each", topic_techniques },
	{ "workloads", "built-in guest programs", topic_workloads },
	{ "engines", "ways to run guest instructions", topic_engines },
	{ "presets", "processor generations", topic_presets },
	{ "core-models", "models that tell time", topic_cores },
	{ "tlb-organisations", "modelled TLBs", topic_organisations },
	{ "tlb-replacements", "replacement policies of modelled TLBs", topic_replacements },
	{ "walk-caches", "caches of page walks", topic_walk_caches },
	{ "paging-formats", "page-table formats that the walker knows", topic_formats },
	{ "causes", "what cycles are attributed to", topic_causes },
	{ "exit-reasons", "why control leaves the guest for the VMM", topic_exit_reasons },
	{ "vmm-work", "kinds of VMM work", topic_works },
	{ "sensitive", "sensitive instructions that a technique may trap", topic_sensitive },
	{ "trace-events", "event kinds in a trace", topic_events },
	{ "bench", "kernels of ringside bench", topic_bench },
	{ "keys", "configuration keys, for YAML files and --set", topic_keys },
};
#define TOPICS (sizeof topics / sizeof *topics)

static const char *topic_choice(unsigned i)
{
	return i < TOPICS ? topics[i].name : NULL;
}

static void topic_print(const struct topic *t)
{
	struct entry e;
	for (unsigned i = 0; t->get(i, &e); i++)
		printf("%-*s%s%s\n", *e.text ? 28 : 0, e.name, *e.text ? " " : "", e.text);
}

static void quoted_print(const char *s)
{
	putchar('"');
	for (; *s; s++)
		*s == '"' || *s == '\\' ? printf("\\%c", *s) : putchar(*s);
	putchar('"');
}

static void topic_print_json(const struct topic *t)
{
	struct entry e;
	printf("{\n  \"topic\": \"%s\",\n  \"entries\": [", t->name);
	for (unsigned i = 0; t->get(i, &e); i++) {
		printf("%s\n    {\"name\": ", i ? "," : "");
		quoted_print(e.name);
		printf(", \"text\": ");
		quoted_print(e.text);
		putchar('}');
	}
	printf("\n  ]\n}\n");
}

static int list_run(const struct options *o)
{
	if (!o->operands) {
		for (unsigned i = 0; i < TOPICS; i++)
			printf("%-20s %s\n", topics[i].name, topics[i].text);
		printf("\nringside list TOPIC shows one\n");
		return STATUS_GOOD;
	}
	for (unsigned i = 0; i < TOPICS; i++)
		if (!strcmp(topics[i].name, o->operand[0])) {
			o->json ? topic_print_json(&topics[i]) : topic_print(&topics[i]);
			return STATUS_GOOD;
		}
	const char *near = nearest_word(o->operand[0], topic_choice);
	return complain(STATUS_USAGE, "unknown topic \"%s\"%s%s; ringside list shows all", o->operand[0], near ? ", the nearest is " : "", near ? near : "");
}

int cmd_list(int argc, char **argv)
{
	struct options o;
	int status = options_parse(&o, LIST, 1, argc, argv);
	if (status < 0)
		status = list_run(&o);
	options_destroy(&o);
	return status;
}
