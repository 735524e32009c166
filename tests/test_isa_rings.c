/*
 * Proves that protection in 32-bit protected mode and in long mode works as on a machine we did not write: the two Multiboot images of tests/rings/ run some 56 000 probes
 * (segment loads, far transfers, call gates, stack switches, task switches, interrupt gates, IST, IRET and RET, SYSCALL and SYSENTER, EFLAGS by privilege, I/O permissions, over
 * descriptors of every type and privilege in rings 0, 1 and 3) and print what each did: vector, error code, CS, EIP, EFLAGS, SS, ESP, registers, stack. Independent reference:
 * QEMU's TCG. Where QEMU departs from the manuals, a row of `departures` says how, by section; those probes are expected to differ.
 */
#include "flat_port.h"
#include "isa/engine.h"
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMORY = 4 << 20, LOAD = 0x100000, ENTRY_FIELD = 28 /* of the Multiboot header: entry_addr */, OUTPUT_MAX = 8 << 20, LINE_MAX_SHOWN = 20 };

struct text {
	char *bytes;
	size_t count;
};

/* A kind of probe that QEMU answers otherwise than the manuals. A line is `operation ring a b >outcome`; what ours must say is part of the row. */
struct departure {
	const char *operation; /* prefix */
	int a, b;              /* -1: any */
	const char *ours, *why;
};
enum { ANY = -1, SMALL = 0x80, CONFORM0 = 0x38, ABSENT3 = 0x6b, TASK_CS_FROM_0 = 0x130, TASK_CS_FROM_3 = 0x133, TASK_SS_FROM_3 = 0x143 };
static const struct departure departures_32[] = {
	{ "Lcall", SMALL, ANY, ">d 0 ", "SDM 2A CALL: #GP(0) when the target is outside the code segment's limit; QEMU names the segment" },
	{ "gate_call", SMALL, ANY, ">d 0 ", "the same; QEMU does not look at the limit" },
	{ "idt_code", SMALL, ANY, ">d 0 ", "SDM 2A INT n: #GP(EXT), EXT = 0; QEMU does not look" },
	{ "retf", SMALL, ANY, ">d 0 ", "SDM 2B RET; QEMU does not look" },
	{ "iret", SMALL, ANY, ">d 0 ", "SDM 2A IRET; QEMU does not look" },
	{ "retf", ANY, ABSENT3, ">c 68 ", "SDM 2B RET: #SS(selector) for a stack segment that is not present; QEMU: #NP" },
	{ "iret", ANY, ABSENT3, ">c 68 ", "SDM 2A IRET: the same" },
	{ "task_", TASK_SS_FROM_3, ABSENT3, ">c 68 ", "SDM 3A table 7-1, check 10: the same" },
	{ "gate_call", CONFORM0, ANY, " 2 ", "SDM 2A CALL, SAME-PRIVILEGE: CS(RPL) := CPL; QEMU takes the conforming segment's DPL as CPL" },
	{ "gate_call", CONFORM0 | 3, ANY, " 2 ", "the same" },
	{ "task_", TASK_CS_FROM_0, CONFORM0 | 3, ">a 10 ", "a conforming CS needs DPL <= RPL, as in SDM 2B RET; QEMU wants DPL = RPL. The fault is then SS's" },
	{ "task_", TASK_CS_FROM_3, CONFORM0 | 3, ">30 0 5002 3b ", "the same; no fault" },
	{ NULL, 0, 0, NULL, NULL },
};

static const struct departure departures_64[] = {
	{ "idt", ANY, ANY, " 202 0 ", "SDM 2A INT n: the error code names vector * 8 in long mode too; QEMU: vector * 16" },
	{ "idt", ANY, 2, ">30 0 105002 8 ", "SDM 3A 6.14.5: SS becomes null when CPL changes; QEMU: whenever IST is used" },
	{ "idt", ANY, 0x12, ">30 0 105002 8 ", "the same" },
	{ "tss", ANY, 2, ">30 0 105002 8 ", "the same" },
	{ "read_sp", ANY, ANY, ">c 0 ", "SDM 1 3.3.7.1: #SS(0) for a stack address that is not canonical; QEMU: #GP(0)" },
	{ "push_sp", ANY, ANY, ">c 0 ", "the same" },
	{ "c_syscall", ANY, ANY, ">6 0 ", "SDM 2B SYSCALL: #UD outside 64-bit mode; QEMU has AMD's" },
	{ "Far", ANY, 0x800, ">30 0 105002 ", "64-bit code has no limit (SDM 3A 5.3.1); QEMU's far CALL looks at it" },
	{ "Far", ANY, 0xa00, ">30 0 105002 ", "the same, from compatibility mode" },
	{ "gate", 0x40, ANY, " 43 2 ", "SDM 2A CALL, SAME-PRIVILEGE: CS(RPL) := CPL; QEMU takes the conforming segment's DPL" }, { "gate", 0x43, ANY, " 43 2 ", "the same" },
	{ "sysexitl", ANY, ANY, ">30 0 105002 ", "SDM 2B SYSEXIT: EIP := EDX; QEMU keeps RDX's upper half" },
	{ "mov_ss", 1, ANY, ">d 0 ", "SDM 2B MOV: a null SS needs RPL = CPL" }, { "mov_ss", 2, ANY, ">d 0 ", "the same" }, { "mov_ss", 3, ANY, ">d 0 ", "the same" },
	{ "lss", 1, ANY, ">d 0 ", "the same" }, { "lss", 2, ANY, ">d 0 ", "the same" }, { "lss", 3, ANY, ">d 0 ", "the same" },
	{ "iret", 8, 3, ">d 0 ", "SDM 2A IRET: a null SS needs RPL = CPL" }, { "iret", 0x40, 3, ">d 0 ", "the same" },
	{ "iret", 0x38, 0, ">d 0 ", "SDM 2A IRET: no null SS in compatibility mode" }, { "iret", 0x38, 3, ">d 0 ", "the same" },
	{ NULL, 0, 0, NULL, NULL },
};

struct image {
	const char *file, *qemu;
	const struct departure *departures; /* ended by a row without operation */
	unsigned at_least;                  /* probes that must be equal */
};
static const struct image image_32 = { "rings.bin", "qemu-system-i386", departures_32, 30000 };
static const struct image image_64 = { "rings64.bin", "qemu-system-x86_64 -cpu qemu64,vendor=GenuineIntel", departures_64, 20000 };

static void rings_out(void *self, struct cpu *cpu, uint16_t port, unsigned size, uint32_t value)
{
	struct text *t = self;
	(void)size;
	if (port == 0xe9 && t->count < OUTPUT_MAX - 1)
		t->bytes[t->count++] = (char)value;
	if (port == 0xf4) {
		cpu->stop = CPU_STOP_REQUEST;
		cpu->attention |= 1;
	}
}

static uint32_t rings_in(void *self, struct cpu *cpu, uint16_t port, unsigned size)
{
	(void)self, (void)cpu, (void)port, (void)size;
	return 0;
}

static bool image_read(const struct image *image, struct phys *phys)
{
	char path[1024];
	snprintf(path, sizeof path, "%s/tests/%s", BINARY_DIR, image->file);
	FILE *f = fopen(path, "rb");
	if (!f)
		return false;
	size_t n = fread(phys->bytes + LOAD, 1, MEMORY - LOAD, f);
	fclose(f);
	return n > 32;
}

/* The state that Multiboot 1 section 3.2 promises. */
static void state_multiboot(struct cpu *cpu)
{
	cpu_reset(cpu);
	cpu->cr0 = CR0_PE | CR0_ET;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment_set_flat(cpu, i, i == SEG_CS ? 8 : 0x10, 0, i == SEG_CS, 4);
	cpu->reg[REG_AX] = 0x2badb002;
	cpu->rip = phys_read32(cpu->phys, LOAD + ENTRY_FIELD);
}

static struct text rings_run(const struct image *image, const struct engine *engine)
{
	struct text t = { calloc(1, OUTPUT_MAX), 0 };
	struct cpu *cpu = calloc(1, sizeof *cpu);
	struct phys phys;
	struct flat_port *port = calloc(1, sizeof *port);
	struct event_sink sink;
	struct block_dictionary dictionary;
	struct cpu_features features = cpu_features_all;
	CU_ASSERT_TRUE_FATAL(t.bytes && cpu && port && phys_create(&phys, MEMORY) && event_sink_create(&sink, 64) && block_dictionary_create(&dictionary) && image_read(image, &phys));
	cpu->events = &sink;
	cpu->features = &features;
	cpu->io.self = &t, cpu->io.out = rings_out, cpu->io.in = rings_in;
	cpu->blocks = block_cache_create(16 << 20, &dictionary);
	cpu->unknown = unknown_opcodes_create();
	flat_port_attach(port, cpu, &phys);
	state_multiboot(cpu);
	for (unsigned slices = 0; cpu->stop == CPU_RUNNING && slices < 10000; slices++) {
		cpu->budget = 100000;
		engine->run(cpu);
	}
	CU_ASSERT_EQUAL(cpu->stop, CPU_STOP_REQUEST);
	block_cache_destroy(cpu->blocks);
	unknown_opcodes_destroy(cpu->unknown);
	block_dictionary_destroy(&dictionary);
	event_sink_destroy(&sink);
	phys_destroy(&phys);
	free(port);
	free(cpu);
	return t;
}

static struct text reference_run(const struct image *image)
{
	struct text t = { calloc(1, OUTPUT_MAX), 0 };
	char command[2048];
	snprintf(command, sizeof command, "timeout 240 %s -accel tcg -display none -monitor none -serial none -nodefaults -m 16 -no-reboot -kernel %s/tests/%s -debugcon stdio "
		 "-device isa-debug-exit,iobase=0xf4 2>/dev/null", image->qemu, BINARY_DIR, image->file);
	FILE *p = popen(command, "r");
	CU_ASSERT_TRUE_FATAL(p && t.bytes);
	t.count = fread(t.bytes, 1, OUTPUT_MAX - 1, p);
	pclose(p);
	return t;
}

/* Takes a line off the text; NULL at the end. */
static char *line_next(char **at)
{
	char *line = *at, *end = strchr(line, '\n');
	if (!end)
		return NULL;
	*end = 0;
	*at = end + 1;
	return line;
}

static bool is_departure(const struct departure *d, const char *line)
{
	char operation[32];
	unsigned ring, a, b;
	if (sscanf(line, "%31s %x %x %x", operation, &ring, &a, &b) != 4)
		return false;
	for (; d->operation; d++)
		if (!strncmp(operation, d->operation, strlen(d->operation)) && (d->a == ANY || (unsigned)d->a == a) && (d->b == ANY || (unsigned)d->b == b) && strstr(line, d->ours))
			return true;
	return false;
}

/* Destroys both texts. Returns lines that are equal. */
static unsigned texts_compare(const struct image *image, const char *engine, struct text ours, struct text theirs)
{
	char *a = ours.bytes, *b = theirs.bytes, *x, *y;
	unsigned same = 0, wrong = 0;
	while ((x = line_next(&a)) && (y = line_next(&b))) {
		if (!strcmp(x, y))
			same++;
		else if (!is_departure(image->departures, x) && wrong++ < LINE_MAX_SHOWN)
			printf("\n  %s: ours %s\n  %*s  qemu %s", engine, x, (int)strlen(engine), "", y);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	return same;
}

static void image_compare(const struct image *image)
{
	struct text reference = reference_run(image);
	CU_ASSERT_TRUE_FATAL(reference.count > 4 && !strcmp(reference.bytes + reference.count - 4, "end\n"));
	for (const struct engine *e = engines; e->name; e++) {
		struct text ours = rings_run(image, e), theirs = { malloc(reference.count + 1), reference.count };
		memcpy(theirs.bytes, reference.bytes, reference.count + 1);
		CU_ASSERT_TRUE(ours.count > 4 && !strcmp(ours.bytes + ours.count - 4, "end\n"));
		unsigned same = texts_compare(image, e->name, ours, theirs);
		printf(" %s: %u probes equal;", e->name, same);
		CU_ASSERT_TRUE(same > image->at_least);
		free(ours.bytes);
		free(theirs.bytes);
	}
	free(reference.bytes);
}

static void test_rings_32(void)
{
	image_compare(&image_32);
}

static void test_rings_64(void)
{
	image_compare(&image_64);
}

int main(void)
{
	if (system("qemu-system-i386 --version > /dev/null 2>&1 && qemu-system-x86_64 --version > /dev/null 2>&1")) {
		printf("skipped: no qemu-system-i386 and qemu-system-x86_64 to compare with\n");
		return 77;
	}
	static CU_TestInfo tests[] = { { "32-bit protection against QEMU", test_rings_32 }, { "long mode against QEMU", test_rings_64 }, CU_TEST_INFO_NULL };
	static CU_SuiteInfo suites[] = { { "isa rings", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };
	CU_initialize_registry();
	CU_register_suites(suites);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
