/*
 * Configuration: YAML files and --set, by one table of keys.
 *
 * Invariant: what is not a key of the table is an error that names where it stands and the nearest key; the effective configuration, written out and read back, gives the same
 * configuration.
 */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H
#include "../machine/machine.h"
#include <stddef.h>

struct config {
	struct machine_config machine; /* without kernel, module and cmdline: config_machine() fills them in */
	unsigned width;                /* 32 or 64 */
	char images[400];              /* "" : beside the program */
	char kernel[512], kernel_pv[512], module[512], cmdline[256]; /* "": the workload's */
	struct { char organisation[32], replacement[32]; } tlb[3]; /* l1d, l1i, l2; "": the preset's */
	char walk_cache[32];
	bool memory_given;             /* machine.memory was set: the workload's does not apply */
	bool cmdline_given;
};

/* One setting as it was written: to be applied in order. */
struct setting { char key[96]; char *value; char where[300]; /* "FILE:LINE" or "--set" */ };
struct settings { struct setting *at; unsigned count, capacity; };
void settings_destroy(struct settings *s);
/* Reads a YAML file's keys (nested maps or dotted names) into settings. False with one line in error: syntax, a key given twice, or not a map of scalars. Keys are not looked up yet. */
bool settings_load(struct settings *s, const char *path, char *error, size_t error_size);
/* The same from text; name is what messages call it. */
bool settings_parse(struct settings *s, const char *text, size_t bytes, const char *name, char *error, size_t error_size);
/* "key=value" from the command line. */
bool settings_add(struct settings *s, const char *assignment, char *error, size_t error_size);

/* Built-in workload `tour`, 64 bits, natively; machine_config_default() for the rest. */
void config_default(struct config *c);
/* Applies settings, later over earlier, machine.preset before all. False with one line in error: unknown key (with the nearest one), bad value (with what is allowed). */
bool config_apply(struct config *c, const struct settings *s, char *error, size_t error_size);
/* The machine for one technique (NULL: the configured one): finds images, fills in what the workload says. False with a line in error. */
bool config_machine(const struct config *c, const char *technique, struct machine_config *out, char *error, size_t error_size);
/* The effective configuration as YAML: every key with its value. Caller frees. NULL: out of memory. */
char *config_text(const struct config *c);

/* ---- the keys, for `ringside list keys` ---- */
enum key_kind { KEY_TEXT, KEY_WIDTH, KEY_U32, KEY_U64, KEY_BYTES, KEY_FLAG, KEY_COUNT, KEY_POWER, KEY_PHYS_BITS };
typedef const char *choice_fn(unsigned i); /* i-th allowed word; NULL: no more */
struct config_key { char name[64]; enum key_kind kind; void *value; size_t size; choice_fn *choices; const char *doc; };
/* i-th key with its place in c; false: no more. */
bool config_key(struct config *c, unsigned i, struct config_key *out);
const char *key_kind_name(enum key_kind k);
/* A key's value as YAML text. */
void config_value(const struct config_key *k, char *to, size_t room);

/* ---- registries by name (cli/registry.c) ---- */
choice_fn choice_workload, choice_technique, choice_preset, choice_engine, choice_core, choice_consume;
choice_fn choice_organisation, choice_replacement, choice_walk_cache; /* the first is "": as the preset says */
struct workload_row { const char *name, *cmdline; unsigned memory_mib; const char *what; bool depends_on_time; };
const struct workload_row *workload_find(const char *name);
const struct workload_row *workload_at(unsigned i); /* NULL: no more */
/* The word of `choices` nearest to `word` by edit distance, NULL when none is near. */
const char *nearest_word(const char *word, choice_fn *choices);
unsigned edit_distance(const char *a, const char *b);
#endif
