/* YAML to settings, by libyaml's event parser: maps of scalars only, so that every value has one dotted name and one line. */
#include "config.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#define DEPTH_LIMIT 6

void settings_destroy(struct settings *s)
{
	for (unsigned i = 0; i < s->count; i++)
		free(s->at[i].value);
	free(s->at);
	*s = (struct settings){ 0 };
}

static bool settings_put(struct settings *s, const char *key, const char *value, const char *where)
{
	if (s->count == s->capacity) {
		unsigned capacity = s->capacity * 2 + 16;
		struct setting *at = realloc(s->at, capacity * sizeof *at);
		if (!at)
			return false;
		s->at = at;
		s->capacity = capacity;
	}
	struct setting *t = &s->at[s->count];
	t->value = strdup(value);
	if (!t->value)
		return false;
	snprintf(t->key, sizeof t->key, "%s", key);
	snprintf(t->where, sizeof t->where, "%s", where);
	s->count++;
	return true;
}

/* Length of the character at s by the Unicode Standard's table 3-7, "well-formed UTF-8"; 0: ill-formed. */
static unsigned utf8_length(const unsigned char *s)
{
	static const struct { uint8_t first, last, second_first, second_last, length; } rows[] = {
		{ 0x01, 0x7f, 0x00, 0xff, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (s[0] < rows[i].first || s[0] > rows[i].last || s[1] < rows[i].second_first || s[1] > rows[i].second_last)
			continue;
		for (unsigned k = 2; k < rows[i].length; k++)
			if ((s[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].length;
	}
	return 0;
}

/* What the effective configuration writes must read back as YAML, which is UTF-8. */
static bool text_is_utf8(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	for (unsigned n; *s; s += n) {
		n = utf8_length(s);
		if (!n)
			return false;
	}
	return true;
}

bool settings_add(struct settings *s, const char *assignment, char *error, size_t error_size)
{
	char key[96];
	const char *equals = strchr(assignment, '=');
	if (!equals || equals == assignment || (size_t)(equals - assignment) >= sizeof key) {
		snprintf(error, error_size, "--set %.200s: write it as --set key=value (ringside list keys)", assignment);
		return false;
	}
	snprintf(key, sizeof key, "%.*s", (int)(equals - assignment), assignment);
	if (!text_is_utf8(assignment)) {
		snprintf(error, error_size, "--set %.90s: the value is not UTF-8", key);
		return false;
	}
	if (settings_put(s, key, equals + 1, "--set"))
		return true;
	snprintf(error, error_size, "--set: out of memory");
	return false;
}

/* ------------------------------------------------------------------ the parser */
struct loading {
	struct settings *into;
	unsigned first;               /* settings that this file added begin here */
	const char *name;
	yaml_parser_t parser;
	yaml_event_t event;
	char path[DEPTH_LIMIT][96];   /* dotted name of the map at each depth */
	unsigned depth;
	char key[96];                 /* "" : a key is expected */
	char *error;
	size_t error_size;
};

static bool loading_fail(struct loading *l, const char *what)
{
	snprintf(l->error, l->error_size, "%s:%zu: %s", l->name, l->event.start_mark.line + 1, what);
	return false;
}

static bool key_begin(struct loading *l)
{
	const char *text = (const char *)l->event.data.scalar.value, *outer = l->depth > 1 ? l->path[l->depth - 1] : "";
	char key[96];
	if (strlen(text) != l->event.data.scalar.length || !*text)
		return loading_fail(l, "a key is empty or holds a zero byte");
	int n = snprintf(key, sizeof key, "%s%s%s", outer, *outer ? "." : "", text);
	if (n < 0 || (size_t)n >= sizeof key)
		return loading_fail(l, "a key is longer than 95 characters");
	memcpy(l->key, key, sizeof key);
	return true;
}

static bool value_take(struct loading *l)
{
	const char *text = (const char *)l->event.data.scalar.value;
	char where[300];
	snprintf(where, sizeof where, "%.280s:%zu", l->name, l->event.start_mark.line + 1);
	for (unsigned i = l->first; i < l->into->count; i++)
		if (!strcmp(l->into->at[i].key, l->key)) {
			snprintf(l->error, l->error_size, "%s: %s is given twice, first at %s", where, l->key, l->into->at[i].where);
			return false;
		}
	if (strlen(text) != l->event.data.scalar.length)
		return loading_fail(l, "a value holds a zero byte");
	if (!settings_put(l->into, l->key, text, where))
		return loading_fail(l, "out of memory");
	l->key[0] = 0;
	return true;
}

static bool map_begin(struct loading *l)
{
	if (l->depth == DEPTH_LIMIT)
		return loading_fail(l, "maps are nested too deeply");
	if (l->depth && !l->key[0])
		return loading_fail(l, "a map cannot be a key");
	memcpy(l->path[l->depth], l->key, sizeof l->key);
	l->depth++;
	l->key[0] = 0;
	return true;
}

static bool map_end(struct loading *l)
{
	l->depth--;
	l->key[0] = 0;
	return true;
}

static bool scalar(struct loading *l)
{
	if (!l->depth) /* an empty file, or one with comments only, is a null scalar */
		return l->event.data.scalar.length == 0 || loading_fail(l, "expected lines of the form `key: value`");
	return l->key[0] ? value_take(l) : key_begin(l);
}

static bool loading_event(struct loading *l)
{
	switch (l->event.type) {
	case YAML_SCALAR_EVENT:
		return scalar(l);
	case YAML_MAPPING_START_EVENT:
		return map_begin(l);
	case YAML_MAPPING_END_EVENT:
		return map_end(l);
	case YAML_SEQUENCE_START_EVENT:
		return loading_fail(l, "lists are not used here; write `key: value`");
	case YAML_ALIAS_EVENT:
		return loading_fail(l, "aliases are not used here; write the value out");
	case YAML_DOCUMENT_START_EVENT:
		return l->into->count == l->first || loading_fail(l, "only one document is allowed");
	default:
		return true;
	}
}

static bool loading_run(struct loading *l)
{
	bool more = true, ok = true;
	while (ok && more) {
		if (!yaml_parser_parse(&l->parser, &l->event)) {
			snprintf(l->error, l->error_size, "%s:%zu: not valid YAML: %s", l->name, l->parser.problem_mark.line + 1, l->parser.problem ? l->parser.problem : "unreadable");
			return false;
		}
		more = l->event.type != YAML_STREAM_END_EVENT;
		ok = loading_event(l);
		yaml_event_delete(&l->event);
	}
	return ok;
}

bool settings_parse(struct settings *s, const char *text, size_t bytes, const char *name, char *error, size_t error_size)
{
	struct loading l = { .into = s, .first = s->count, .name = name, .error = error, .error_size = error_size };
	if (!yaml_parser_initialize(&l.parser)) {
		snprintf(error, error_size, "%s: out of memory", name);
		return false;
	}
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)text, bytes);
	bool ok = loading_run(&l);
	yaml_parser_delete(&l.parser);
	return ok;
}

#define CONFIG_BYTES_LIMIT (1u << 20)

bool settings_load(struct settings *s, const char *path, char *error, size_t error_size)
{
	struct stat about;
	if (!stat(path, &about) && !S_ISREG(about.st_mode)) { /* asked first: opening a pipe that nobody writes to never ends */
		snprintf(error, error_size, "%s: not a regular file; write the configuration to one", path);
		return false;
	}
	FILE *in = fopen(path, "rb");
	char *text = malloc(CONFIG_BYTES_LIMIT + 1);
	bool ok = false;
	if (!in || !text) {
		snprintf(error, error_size, "%s: cannot open the configuration: %s", path, in ? "out of memory" : strerror(errno));
	} else {
		size_t n = fread(text, 1, CONFIG_BYTES_LIMIT + 1, in);
		if (ferror(in))
			snprintf(error, error_size, "%s: cannot be read: %s", path, strerror(errno));
		else if (n > CONFIG_BYTES_LIMIT)
			snprintf(error, error_size, "%s: larger than 1 MiB: not a configuration", path);
		else
			ok = settings_parse(s, text, n, path, error, error_size);
	}
	free(text);
	if (in)
		fclose(in);
	return ok;
}
