/*
 * Proves that configurations are strict and complete: an unknown key names its line and the nearest key, a bad value says what is allowed, and the effective configuration written out
 * and read back is the same, for every key there is. Edit distances are checked against values worked out by hand (Levenshtein 1966).
 */
#include <CUnit/Basic.h>
#include "cli/config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Default, then this text. */
static bool apply(struct config *c, const char *text, char *error)
{
	struct settings s = { 0 };
	config_default(c);
	error[0] = 0;
	bool ok = settings_parse(&s, text, strlen(text), "test.yaml", error, 1200) && config_apply(c, &s, error, 1200);
	settings_destroy(&s);
	return ok;
}

static void refuse(const char *text, const char *where, const char *what)
{
	struct config c;
	char error[1200];
	CU_ASSERT_FALSE(apply(&c, text, error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, where));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, what));
	CU_ASSERT_PTR_NULL(strchr(error, '\n'));
	if (!strstr(error, where) || !strstr(error, what))
		printf("    got: %s\n    wanted: %s ... %s\n", error, where, what);
}

static void test_unknown(void)
{
	refuse("workload: sort\nvmm:\n  shadow_rots: 4\n", "test.yaml:3", "\"vmm.shadow_roots\"");
	refuse("workload: sort\n\n\nmachine.sed: 4\n", "test.yaml:4", "\"machine.seed\"");
	refuse("tecnique: bt\n", "test.yaml:1", "\"technique\"");
	refuse("seed: 3\n", "test.yaml:1", "\"machine.seed\"");
	refuse("qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq: 3\n", "test.yaml:1", "ringside list keys");
}

static void test_values(void)
{
	refuse("technique: shadows\n", "test.yaml:1", "did you mean \"shadow\"");
	refuse("workload: zzzzzzzzzzzzzzzzz\n", "test.yaml:1", "one of:");
	refuse("tlb:\n  l2.replacement: rando\n", "test.yaml:2", "did you mean \"random\"");
	refuse("width: 16\n", "test.yaml:1", "must be 32 or 64");
	refuse("machine:\n  memory: much\n", "test.yaml:2", "64M");
	refuse("machine:\n  memory: -1\n", "test.yaml:2", "number");
	refuse("machine:\n  memory: 99999999999999999999999\n", "test.yaml:2", "number");
	refuse("machine:\n  memory: 3\n", "test.yaml:2", "must be from");
	refuse("machine:\n  softtlb_entries: 3\n", "test.yaml:2", "power of two");
	refuse("machine:\n  event_buffer: 1\n", "test.yaml:2", "must be from 2");
	refuse("machine:\n  tlb_only: maybe\n", "test.yaml:2", "true or false");
	refuse("vmm:\n  dispatch_instructions: 4294967296\n", "test.yaml:2", "too large");
	refuse("preset:\n  mhz: fast\n", "test.yaml:2", "whole number");
	refuse("cpu:\n  phys_bits: 64\n", "test.yaml:2", "32 to 52");
}

static void test_syntax(void)
{
	refuse("workload: sort\nworkload: zlib\n", "test.yaml:2", "twice");
	refuse("machine:\n  seed: 1\nmachine.seed: 2\n", "test.yaml:3", "twice");
	refuse("machine: [1, 2]\n", "test.yaml:1", "lists");
	refuse("a: &x 1\nb: *x\n", "test.yaml:2", "aliases");
	refuse("just words\n", "test.yaml:1", "key: value");
	refuse("a: {b: {c: {d: {e: {f: {g: 1}}}}}}\n", "test.yaml:1", "deeply");
	refuse("a: 1\n---\nb: 2\n", "test.yaml:", "one document");
	refuse("a: \"unterminated\n", "test.yaml:", "YAML");
	refuse("? {a: 1}\n: 2\n", "test.yaml:1", "map cannot be a key");
	refuse("\tworkload: sort\n", "test.yaml:", "YAML");
	struct config c;
	char error[1200];
	CU_ASSERT_TRUE(apply(&c, "", error));
	CU_ASSERT_TRUE(apply(&c, "# only a comment\n", error));
}

static void test_meaning(void)
{
	struct config c;
	char error[1200];
	struct settings s = { 0 };
	CU_ASSERT_TRUE_FATAL(apply(&c, "machine: { seed: 0x10, memory: 96M }\nworkload: sort\ntechnique: nested-ept\nvmm.ept_page_shift: 21\n", error));
	CU_ASSERT_EQUAL(c.machine.seed, 16);
	CU_ASSERT_EQUAL(c.machine.memory_bytes, 96ull << 20);
	CU_ASSERT_STRING_EQUAL(c.machine.technique, "nested-ept");
	CU_ASSERT_EQUAL(c.machine.vmm.ept_page_shift, 21);
	CU_ASSERT_TRUE_FATAL(apply(&c, "workload: sort\n", error));
	CU_ASSERT_EQUAL(c.machine.memory_bytes, (uint64_t)workload_find("sort")->memory_mib << 20);
	/* The preset comes first wherever it stands; --set comes after the file. */
	CU_ASSERT_TRUE_FATAL(apply(&c, "preset:\n  mhz: 1234\nmachine:\n  preset: prescott\n", error));
	CU_ASSERT_EQUAL(c.machine.preset.mhz, 1234);
	CU_ASSERT_EQUAL(c.machine.preset.l1d.bytes, preset_find("prescott")->l1d.bytes);
	CU_ASSERT_EQUAL(c.machine.vmm.vpid, preset_find("prescott")->vpid);
	CU_ASSERT_TRUE(settings_add(&s, "machine.seed=7", error, sizeof error));
	CU_ASSERT_TRUE(settings_add(&s, "machine.seed=8", error, sizeof error));
	CU_ASSERT_TRUE(settings_add(&s, "cmdline=a=b c", error, sizeof error));
	CU_ASSERT_FALSE(settings_add(&s, "nonsense", error, sizeof error));
	CU_ASSERT_FALSE(settings_add(&s, "=1", error, sizeof error));
	CU_ASSERT_FALSE(settings_add(&s, "images=\xff", error, sizeof error));
	CU_ASSERT_FALSE(settings_add(&s, "images=\xed\xa0\x80", error, sizeof error)); /* a surrogate */
	CU_ASSERT_FALSE(settings_add(&s, "images=\xf0\x9f", error, sizeof error));      /* cut */
	CU_ASSERT_TRUE(settings_add(&s, "images=\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", error, sizeof error));
	CU_ASSERT_TRUE(config_apply(&c, &s, error, sizeof error));
	CU_ASSERT_EQUAL(c.machine.seed, 8);
	CU_ASSERT_STRING_EQUAL(c.cmdline, "a=b c");
	settings_destroy(&s);
}

/* A value of each key's kind that is not what it has. */
static void value_other(const struct config_key *k, char *to, size_t room)
{
	uint64_t v = 0;
	if (k->choices) {
		const char *word = k->choices(0);
		snprintf(to, room, "%s", strcmp(word, k->value) || !k->choices(1) ? word : k->choices(1));
	} else if (k->kind == KEY_TEXT) {
		snprintf(to, room, "a \"b\" \\ c: # '%s' \t", k->name);
	} else if (k->kind == KEY_FLAG) {
		snprintf(to, room, "%s", *(bool *)k->value ? "false" : "true");
	} else {
		memcpy(&v, k->value, k->size);
		v = k->kind == KEY_WIDTH ? 96 - v : k->kind == KEY_POWER ? v / 2 : k->kind == KEY_PHYS_BITS ? v - 1 : k->kind == KEY_BYTES ? v + 4096 : v + 1;
		snprintf(to, room, "%llu", (unsigned long long)v);
	}
}

static void test_round_trip(void)
{
	struct config c, back;
	struct config_key k;
	char error[1200], value[600], assignment[800];
	unsigned keys = 0;
	for (unsigned i = 0; config_default(&c), config_key(&c, i, &k); i++, keys++) {
		struct settings s = { 0 };
		value_other(&k, value, sizeof value);
		snprintf(assignment, sizeof assignment, "%s=%s", k.name, value);
		char *plain = config_text(&c);
		CU_ASSERT_TRUE_FATAL(settings_add(&s, assignment, error, sizeof error));
		CU_ASSERT_TRUE_FATAL(config_apply(&c, &s, error, sizeof error));
		char *text = config_text(&c);
		CU_ASSERT_STRING_NOT_EQUAL(text, plain);
		CU_ASSERT_TRUE_FATAL(apply(&back, text, error));
		char *again = config_text(&back);
		CU_ASSERT_STRING_EQUAL(text, again);
		CU_ASSERT_TRUE(k.doc && *k.doc);
		free(plain);
		free(text);
		free(again);
		settings_destroy(&s);
	}
	CU_ASSERT_TRUE(keys > 60);
}

static void test_machine(void)
{
	struct config c;
	struct machine_config m;
	char error[1200];
	CU_ASSERT_TRUE_FATAL(apply(&c, "images: /images\nworkload: sort\nwidth: 32\n", error));
	CU_ASSERT_TRUE(config_machine(&c, "paravirt", &m, error, sizeof error));
	CU_ASSERT_STRING_EQUAL(m.kernel, "/images/kernel-i386-pv.elf");
	CU_ASSERT_STRING_EQUAL(m.module, "/images/programs-i386.cpio");
	CU_ASSERT_STRING_EQUAL(m.cmdline, workload_find("sort")->cmdline);
	CU_ASSERT_TRUE(config_machine(&c, "shadow", &m, error, sizeof error));
	CU_ASSERT_STRING_EQUAL(m.kernel, "/images/kernel-i386.elf");
	CU_ASSERT_STRING_EQUAL(m.technique, "shadow");
	CU_ASSERT_EQUAL(m.preset.tlb.l2[0].replacement, preset_find("skylake")->tlb.l2[0].replacement);
	CU_ASSERT_TRUE_FATAL(apply(&c, "images: /images\ntlb: {l2.replacement: random, l1d.organisation: skewed, walk_cache: none}\nmachine: {seed: 9}\n", error));
	CU_ASSERT_TRUE(config_machine(&c, "shadow", &m, error, sizeof error));
	CU_ASSERT_STRING_EQUAL(m.preset.tlb.l2[0].replacement, "random");
	CU_ASSERT_STRING_EQUAL(m.preset.tlb.l1d[0].organisation, "skewed");
	CU_ASSERT_STRING_EQUAL(m.preset.tlb.walk_cache, "none");
	CU_ASSERT_EQUAL(m.preset.tlb.l2[0].seed, 9);
	CU_ASSERT_FALSE(config_machine(&c, "shadw", &m, error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "shadow"));
	CU_ASSERT_TRUE_FATAL(apply(&c, "kernel: /k\nmodule: /m\ncmdline: hello\n", error));
	CU_ASSERT_TRUE(config_machine(&c, "native", &m, error, sizeof error));
	CU_ASSERT_STRING_EQUAL(m.kernel, "/k");
	CU_ASSERT_STRING_EQUAL(m.cmdline, "hello");
	CU_ASSERT_FALSE(config_machine(&c, "paravirt", &m, error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "kernel_pv"));
}

static void test_files(void)
{
	struct settings s = { 0 };
	char error[1200];
	CU_ASSERT_FALSE(settings_load(&s, "/nonexistent.yaml", error, sizeof error));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "/nonexistent.yaml"));
	CU_ASSERT_FALSE(settings_load(&s, "/", error, sizeof error));
	CU_ASSERT_FALSE(settings_load(&s, "/dev/zero", error, sizeof error));
	settings_destroy(&s);
}

static void test_distance(void)
{
	CU_ASSERT_EQUAL(edit_distance("kitten", "sitting"), 3);
	CU_ASSERT_EQUAL(edit_distance("saturday", "sunday"), 3);
	CU_ASSERT_EQUAL(edit_distance("", "abc"), 3);
	CU_ASSERT_EQUAL(edit_distance("abc", ""), 3);
	CU_ASSERT_EQUAL(edit_distance("same", "same"), 0);
	CU_ASSERT_STRING_EQUAL(nearest_word("nestedept", choice_technique), "nested-ept");
	CU_ASSERT_PTR_NULL(nearest_word("xyzzyxyzzy", choice_technique));
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("config", NULL, NULL);
	CU_add_test(s, "unknown keys name line and nearest key", test_unknown);
	CU_add_test(s, "bad values say what is allowed", test_values);
	CU_add_test(s, "syntax", test_syntax);
	CU_add_test(s, "meaning", test_meaning);
	CU_add_test(s, "every key survives a round trip", test_round_trip);
	CU_add_test(s, "the machine that a configuration makes", test_machine);
	CU_add_test(s, "files", test_files);
	CU_add_test(s, "edit distance", test_distance);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
