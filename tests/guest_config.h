/* A machine for a test: the built guest kernel that fits the technique, its program archive, no timing model unless the test asks for one. */
#ifndef TESTS_GUEST_CONFIG_H
#define TESTS_GUEST_CONFIG_H
#include "../machine/machine.h"
#include <stdio.h>

static inline void guest_config(struct machine_config *c, const struct technique *t, unsigned width, const char *cmdline, unsigned memory_mib)
{
	const char *arch = width == 64 ? "x86_64" : "i386";
	machine_config_default(c);
	snprintf(c->kernel, sizeof c->kernel, BINARY_DIR "/workloads/kernel-%s%s.elf", arch, t->paravirtual_guest ? "-pv" : "");
	snprintf(c->module, sizeof c->module, BINARY_DIR "/workloads/programs-%s.cpio", arch);
	snprintf(c->cmdline, sizeof c->cmdline, "%s", cmdline);
	snprintf(c->technique, sizeof c->technique, "%s", t->name);
	snprintf(c->core, sizeof c->core, "functional");
	c->memory_bytes = (uint64_t)memory_mib << 20;
	c->max_instructions = 4000000000ull;
}
#endif
