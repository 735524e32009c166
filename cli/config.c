/* The keys, their values, and the machine that they make. */
#include "config.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ the table */
static const struct key_row { const char *name; enum key_kind kind; size_t offset, size; choice_fn *choices; const char *doc; } key_rows[] = {
#define CONFIG_KEY(name, kind, field, choices, doc) { name, KEY_##kind, offsetof(struct config, field), sizeof ((struct config *)0)->field, choices, doc },
#include "config_keys.def"
#undef CONFIG_KEY
};
#define KEY_ROWS (sizeof key_rows / sizeof *key_rows)

static bool key_of_vmm(struct config *c, unsigned i, struct config_key *out)
{
	const char *name;
	uint32_t *u32 = NULL;
	uint64_t *u64 = NULL;
	bool *flag = NULL;
	if (!vmm_config_key(&c->machine.vmm, i, &name, &u32, &u64, &flag, &out->doc))
		return false;
	snprintf(out->name, sizeof out->name, "vmm.%s", name);
	out->kind = u32 ? KEY_U32 : u64 ? KEY_U64 : KEY_FLAG;
	out->value = u32 ? (void *)u32 : u64 ? (void *)u64 : (void *)flag;
	out->size = u32 ? 4 : u64 ? 8 : sizeof(bool);
	return true;
}

static bool key_of_preset(struct config *c, unsigned i, struct config_key *out)
{
	const char *name;
	uint32_t *value;
	if (!preset_key(&c->machine.preset, i, &name, &value, &out->doc))
		return false;
	snprintf(out->name, sizeof out->name, "preset.%s", name);
	out->kind = KEY_U32;
	out->value = value;
	out->size = 4;
	return true;
}

/* Counted once more each time: the tables are short, and a configuration is read once. */
bool config_key(struct config *c, unsigned i, struct config_key *out)
{
	*out = (struct config_key){ 0 };
	if (i < KEY_ROWS) {
		const struct key_row *row = &key_rows[i];
		snprintf(out->name, sizeof out->name, "%s", row->name);
		out->kind = row->kind;
		out->value = (char *)c + row->offset;
		out->size = row->size;
		out->choices = row->choices;
		out->doc = row->doc;
		return true;
	}
	i -= KEY_ROWS;
	unsigned vmm = 0;
	while (key_of_vmm(c, vmm, out))
		if (vmm++ == i)
			return true;
	return key_of_preset(c, i - vmm, out);
}

static bool key_find(struct config *c, const char *name, struct config_key *out)
{
	for (unsigned i = 0; config_key(c, i, out); i++)
		if (!strcmp(out->name, name))
			return true;
	return false;
}

static bool key_nearest(struct config *c, const char *name, char *to, size_t room)
{
	struct config_key k;
	unsigned least = (unsigned)strlen(name) / 2 + 2;
	bool found = false;
	for (unsigned i = 0; config_key(c, i, &k); i++) {
		const char *last = strrchr(k.name, '.');
		unsigned d = edit_distance(name, k.name);
		if (last && !strchr(name, '.') && edit_distance(name, last + 1) + 1 < d) /* the section was left out */
			d = edit_distance(name, last + 1) + 1;
		if (d < least) {
			least = d;
			snprintf(to, room, "%s", k.name);
			found = true;
		}
	}
	return found;
}

const char *key_kind_name(enum key_kind k)
{
	static const char *const names[] = { "text", "32 or 64", "number", "number", "bytes", "true or false", "number", "power of two", "number" };
	return names[k];
}

/* ------------------------------------------------------------------ values */
static bool number_parse(const char *text, bool suffix, uint64_t *out)
{
	char *end;
	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 0);
	if (errno)
		return false;
	static const char letters[] = "KMG";
	const char *letter = suffix && *end ? strchr(letters, toupper((unsigned char)*end)) : NULL;
	unsigned shift = letter ? 10 * (unsigned)(letter - letters + 1) : 0;
	if (letter)
		end++;
	if (letter && (!strcmp(end, "iB") || !strcmp(end, "B")))
		end += strlen(end);
	*out = (uint64_t)v << shift;
	return !*end && *out >> shift == v;
}

static bool flag_parse(const char *text, bool *out)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcasecmp(text, words[i])) {
			*out = i & 1;
			return true;
		}
	return false;
}

/* What a kind allows; NULL: the value is set. */
static const char *number_set(const struct config_key *k, uint64_t v)
{
	if (k->kind == KEY_WIDTH && v != 32 && v != 64)
		return "must be 32 or 64";
	if (k->kind == KEY_POWER && (v == 0 || v > 16384 || (v & (v - 1))))
		return "must be a power of two from 1 to 16384";
	if (k->kind == KEY_COUNT && (v < 2 || v > 1u << 20))
		return "must be from 2 to 1048576";
	if (k->kind == KEY_PHYS_BITS && (v < 32 || v > 52))
		return "must be from 32 to 52";
	if (k->kind == KEY_BYTES && (v < 4096 || v > 1ull << 36))
		return "must be from 4K to 64G"; /* of machine.memory less: machine_create() says what */
	if (k->size < 8 && v >> (8 * k->size))
		return "is too large";
	memcpy(k->value, &v, k->size); /* little-endian: the low bytes come first */
	return NULL;
}

static bool text_set(const struct config_key *k, const char *text, char *why, size_t room)
{
	const char *word;
	if (strlen(text) >= k->size) {
		snprintf(why, room, "is longer than %zu characters", k->size - 1);
		return false;
	}
	for (unsigned i = 0; k->choices && (word = k->choices(i)); i++)
		if (!strcmp(word, text))
			break;
	if (k->choices && !word) {
		const char *near = nearest_word(text, k->choices);
		size_t at = (size_t)snprintf(why, room, "is unknown%s%s%s; one of:", near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
		for (unsigned i = 0; (word = k->choices(i)) && at < room; i++)
			at += (size_t)snprintf(why + at, room - at, " %s", *word ? word : "\"\"");
		return false;
	}
	memset(k->value, 0, k->size);
	memcpy(k->value, text, strlen(text));
	return true;
}

static bool value_set(const struct config_key *k, const char *text, char *why, size_t room)
{
	uint64_t v;
	const char *wrong;
	if (k->kind == KEY_TEXT)
		return text_set(k, text, why, room);
	if (k->kind == KEY_FLAG) {
		wrong = flag_parse(text, k->value) ? NULL : "must be true or false";
	} else {
		wrong = !number_parse(text, k->kind == KEY_BYTES || k->kind == KEY_U64, &v) ? k->kind == KEY_BYTES ? "must be a number of bytes, such as 64M" : "must be a whole number" : number_set(k, v);
	}
	if (wrong)
		snprintf(why, room, "%s", wrong);
	return !wrong;
}

void config_value(const struct config_key *k, char *to, size_t room)
{
	uint64_t v = 0;
	size_t at = 0;
	if (k->kind == KEY_FLAG) {
		snprintf(to, room, "%s", *(const bool *)k->value ? "true" : "false");
	} else if (k->kind != KEY_TEXT) {
		memcpy(&v, k->value, k->size);
		snprintf(to, room, "%" PRIu64, v);
	} else { /* quoted, as YAML's double-quoted scalars are */
		to[at++] = '"';
		for (const char *s = k->value; *s && at + 8 < room; s++) {
			unsigned char b = (unsigned char)*s;
			if (b == '"' || b == '\\')
				at += (size_t)snprintf(to + at, room - at, "\\%c", b);
			else if (b < 0x20 || b == 0x7f)
				at += (size_t)snprintf(to + at, room - at, "\\x%02x", b);
			else
				to[at++] = (char)b;
		}
		to[at++] = '"';
		to[at] = 0;
	}
}

/* ------------------------------------------------------------------ applying */
void config_default(struct config *c)
{
	memset(c, 0, sizeof *c);
	machine_config_default(&c->machine);
	c->width = 64;
	snprintf(c->machine.workload, sizeof c->machine.workload, "tour");
	snprintf(c->machine.technique, sizeof c->machine.technique, "%s", techniques[TECHNIQUE_NATIVE].name);
}

/* A preset is a whole: its numbers replace all preset.*, and it says whether the processor tags translations by VPID. */
static void preset_apply(struct config *c)
{
	const struct preset *p = preset_find(c->machine.preset_name);
	if (!p)
		return;
	c->machine.preset = *p;
	c->machine.vmm.vpid = p->vpid;
}

static bool key_is_section(struct config *c, const char *name)
{
	struct config_key k;
	size_t n = strlen(name);
	for (unsigned i = 0; config_key(c, i, &k); i++)
		if (!strncmp(k.name, name, n) && k.name[n] == '.')
			return true;
	return false;
}

static bool setting_apply(struct config *c, const struct setting *s, char *error, size_t error_size)
{
	struct config_key k;
	char why[600], near[64];
	if (!key_find(c, s->key, &k)) {
		if (key_is_section(c, s->key))
			snprintf(error, error_size, "%s: \"%s\" is a section and has no value of its own; ringside list keys shows the keys in it", s->where, s->key);
		else if (key_nearest(c, s->key, near, sizeof near))
			snprintf(error, error_size, "%s: unknown key \"%s\"; the nearest is \"%s\"", s->where, s->key, near);
		else
			snprintf(error, error_size, "%s: unknown key \"%s\"; ringside list keys shows all", s->where, s->key);
		return false;
	}
	if (!value_set(&k, s->value, why, sizeof why)) {
		snprintf(error, error_size, "%s: %s: \"%.100s\" %s", s->where, s->key, s->value, why);
		return false;
	}
	c->memory_given |= !strcmp(s->key, "machine.memory");
	c->cmdline_given |= !strcmp(s->key, "cmdline") && s->value[0];
	return true;
}

bool config_apply(struct config *c, const struct settings *s, char *error, size_t error_size)
{
	for (int late = 0; late < 2; late++)
		for (unsigned i = 0; i < s->count; i++) {
			bool early = !strcmp(s->at[i].key, "machine.preset");
			if (early == (bool)late)
				continue;
			if (!setting_apply(c, &s->at[i], error, error_size))
				return false;
			if (early)
				preset_apply(c);
		}
	const struct workload_row *w = workload_find(c->machine.workload);
	if (w && !c->memory_given)
		c->machine.memory_bytes = (uint64_t)w->memory_mib << 20;
	return true;
}

/* ------------------------------------------------------------------ the machine */
static bool images_directory(const struct config *c, char *to, size_t room)
{
	char self[400];
	if (c->images[0]) {
		snprintf(to, room, "%s", c->images);
		return true;
	}
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return false;
	self[n] = 0;
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	snprintf(to, room, "%s/workloads", self);
	return true;
}

static bool builtin_images(const struct config *c, bool pv, struct machine_config *out, char *error, size_t error_size)
{
	char directory[440];
	const char *arch = c->width == 32 ? "i386" : "x86_64";
	const struct workload_row *w = workload_find(c->machine.workload);
	if (!w || !images_directory(c, directory, sizeof directory)) {
		snprintf(error, error_size, w ? "cannot find the built-in images; name them with --set images=DIRECTORY" : "no workload and no kernel: set workload: NAME or kernel: FILE");
		return false;
	}
	snprintf(out->kernel, sizeof out->kernel, "%s/kernel-%s%s.elf", directory, arch, pv ? "-pv" : "");
	snprintf(out->module, sizeof out->module, "%s/programs-%s.cpio", directory, arch);
	snprintf(out->cmdline, sizeof out->cmdline, "%s", c->cmdline_given ? c->cmdline : w->cmdline);
	if (c->module[0]) {
		snprintf(error, error_size, "module is for a kernel of your own, and the built-in workload \"%s\" brings its own: set kernel: FILE too, or leave module out", w->name);
		return false;
	}
	if (!c->images[0] && access(out->kernel, R_OK)) {
		snprintf(error, error_size, "%s: no built-in kernel there: %s; say where the build has its workloads/ with --set images=DIRECTORY", out->kernel, strerror(errno));
		return false;
	}
	return true;
}

static bool given_images(const struct config *c, bool pv, struct machine_config *out, char *error, size_t error_size)
{
	const char *kernel = pv ? c->kernel_pv : c->kernel;
	if (!*kernel) {
		snprintf(error, error_size, pv ? "technique %s needs the kernel's paravirtual build: set kernel_pv: FILE" : "technique %s needs the kernel's native build beside kernel_pv: set kernel: FILE",
			out->technique);
		return false;
	}
	snprintf(out->kernel, sizeof out->kernel, "%s", kernel);
	snprintf(out->module, sizeof out->module, "%s", c->module);
	snprintf(out->cmdline, sizeof out->cmdline, "%s", c->cmdline);
	if (!workload_find(out->workload) || c->kernel[0]) {
		const char *base = strrchr(c->kernel, '/');
		snprintf(out->workload, sizeof out->workload, "%.60s", base ? base + 1 : c->kernel);
	}
	return true;
}

/* The registry's own word: it outlives every configuration. NULL: none was given. */
static const char *word_given(const char *word, choice_fn *choices)
{
	const char *have;
	for (unsigned i = 1; *word && (have = choices(i)); i++)
		if (!strcmp(have, word))
			return have;
	return NULL;
}

static void tlb_apply(const struct config *c, struct machine_config *out)
{
	struct tlb_model_config *t = &out->preset.tlb;
	struct tlb_geometry *const level[3] = { t->l1d, t->l1i, t->l2 };
	const char *walk_cache = word_given(c->walk_cache, choice_walk_cache);
	for (unsigned l = 0; l < 3; l++) {
		const char *organisation = word_given(c->tlb[l].organisation, choice_organisation), *replacement = word_given(c->tlb[l].replacement, choice_replacement);
		for (unsigned a = 0; a < TLB_ARRAYS; a++) {
			level[l][a].seed = (uint32_t)c->machine.seed;
			if (organisation)
				level[l][a].organisation = organisation;
			if (replacement)
				level[l][a].replacement = replacement;
		}
	}
	if (walk_cache)
		t->walk_cache = walk_cache;
}

bool config_machine(const struct config *c, const char *technique, struct machine_config *out, char *error, size_t error_size)
{
	const struct technique *t = technique_find(technique ? technique : c->machine.technique);
	if (!t) {
		const char *near = nearest_word(technique ? technique : c->machine.technique, choice_technique);
		snprintf(error, error_size, "unknown technique \"%.40s\"%s%s; ringside list techniques", technique ? technique : c->machine.technique, near ? ", the nearest is " : "",
			near ? near : "");
		return false;
	}
	*out = c->machine;
	snprintf(out->technique, sizeof out->technique, "%s", t->name);
	tlb_apply(c, out);
	return (c->kernel[0] || c->kernel_pv[0] ? given_images : builtin_images)(c, t->paravirtual_guest, out, error, error_size);
}

/* ------------------------------------------------------------------ writing */
/* Keys are dotted in the second level, for "preset.syscall" is a number and "preset.syscall.exit" another. */
char *config_text(const struct config *c)
{
	struct config copy = *c;
	struct config_key k;
	char section[64] = "", value[1200], *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	for (unsigned i = 0; config_key(&copy, i, &k); i++) {
		const char *dot = strchr(k.name, '.');
		config_value(&k, value, sizeof value);
		if (dot && (strncmp(section, k.name, (size_t)(dot - k.name)) || section[dot - k.name])) {
			snprintf(section, sizeof section, "%.*s", (int)(dot - k.name), k.name);
			fprintf(out, "%s:\n", section);
		}
		fprintf(out, dot ? "  %s: %s\n" : "%s: %s\n", dot ? dot + 1 : k.name, value);
	}
	fclose(out);
	return text;
}
