/*
 * Fuzzes the processor and the VMMs: the input is code, run by tests/hostile_guests.S flat, with paging, at CPL 3 or in 64-bit mode, under one technique. Nothing may crash, hang, or
 * reach what was not granted; both engines must come to the same result, byte for byte.
 */
#define _GNU_SOURCE /* memfd_create */
#include "machine/machine.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MODES 4 /* programs h, i, j, k */

static void guest_run(const char *code, unsigned mode, const struct technique *t, const char *engine, struct run_result *r)
{
	struct machine_config c;
	char error[640];
	machine_config_default(&c);
	snprintf(c.kernel, sizeof c.kernel, BINARY_DIR "/tests/hostile_guests.bin");
	snprintf(c.module, sizeof c.module, "%s", code);
	snprintf(c.cmdline, sizeof c.cmdline, "%c", 'h' + mode);
	snprintf(c.technique, sizeof c.technique, "%s", t->name);
	snprintf(c.engine, sizeof c.engine, "%s", engine);
	c.memory_bytes = 8u << 20;
	c.max_instructions = 36000; /* the tables are made in 33,000 */
	c.block_cache_bytes = 1u << 20;
	c.softtlb_entries = 64;
	struct machine *m = machine_create(&c, error, sizeof error);
	if (!m || !machine_load(m, error, sizeof error)) {
		fprintf(stderr, "%s\n", error);
		abort();
	}
	machine_run(m);
	machine_result(m, r);
	machine_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run_result switched, threaded; /* large: not for the stack */
	char path[64];
	if (size < 2 || size > 4096)
		return -1;
	const struct technique *t = &techniques[data[0] / MODES % TECHNIQUES];
	int fd = t->paravirtual_guest ? -1 : memfd_create("code", 0);
	if (fd < 0)
		return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (write(fd, data + 1, size - 1) != (ssize_t)size - 1)
		abort();
	memset(&switched, 0, sizeof switched);
	memset(&threaded, 0, sizeof threaded);
	guest_run(path, data[0] % MODES, t, "switch", &switched);
	guest_run(path, data[0] % MODES, t, "threaded", &threaded);
	close(fd);
	memcpy(switched.engine, threaded.engine, sizeof switched.engine);
	if (switched.resource_violations || switched.end == END_VMM_FAILED || memcmp(&switched, &threaded, sizeof switched))
		abort();
	return 0;
}
