/*
 * Proves: machine_run() ends as the guest ends, time is a function of the events alone, and a timer interrupt is taken at the first block boundary at or after its deadline whatever
 * the event buffer, the engine and the softtlb are; several machines run side by side.
 * Reference: deadlines computed here from the 8254's divisor and the clock; the guest (assembly below) notes the time-stamp counter itself.
 */
#include "machine/machine.h"
#include <CUnit/Basic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOAD 0x100000
#define TABLE 0x200000 /* the guest's notes: 8-byte time stamps; the count at TABLE - 8 */
#define TEXT(x) #x
#define NUMBER(x) TEXT(x)

/* One image: its first argument, at `which`, chooses the program. */
__asm__(
	".pushsection .rodata\n"
	".globl guest_start, guest_end, guest_which\n"
	".code32\n"
	"guest_start:\n"
	"	.long 0x1BADB002, 0x10003, -(0x1BADB002 + 0x10003)\n"
	"	.long " NUMBER(LOAD) ", " NUMBER(LOAD) ", 0, 0, " NUMBER(LOAD) " + guest_entry - guest_start\n"
	"guest_which: .long 0\n"
	"guest_gdt:	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff\n"
	"guest_gdtr:	.word 23\n	.long " NUMBER(LOAD) " + guest_gdt - guest_start\n"
	"guest_idtr:	.word 0x7ff\n	.long 0x180000\n"
	"guest_none:	.word 0\n	.long 0\n"
	"guest_entry:\n"
	"	movl $0x170000, %esp\n"
	"	cmpl $0x2BADB002, %eax\n"
	"	jne guest_bad\n"
	"	lgdt " NUMBER(LOAD) " + guest_gdtr - guest_start\n"
	"	ljmp $8, $" NUMBER(LOAD) " + 1f - guest_start\n"
	"1:	movl $16, %eax\n	movl %eax, %ds\n	movl %eax, %es\n	movl %eax, %ss\n"
	"	lidt " NUMBER(LOAD) " + guest_idtr - guest_start\n"
	"	movl $" NUMBER(LOAD) " + guest_handler - guest_start, %eax\n" /* gate 0x20 */
	"	movl %eax, %edx\n	andl $0xffff, %eax\n	orl $0x80000, %eax\n	movl %eax, 0x180100\n"
	"	andl $0xffff0000, %edx\n	orl $0x8e00, %edx\n	movl %edx, 0x180104\n"
	"	movl " NUMBER(LOAD) " + guest_which - guest_start, %eax\n"
	"	cmpl $1, %eax\n	je guest_halt\n"
	"	cmpl $2, %eax\n	je guest_triple\n"
	"	cmpl $3, %eax\n	je guest_spin\n"
	"	cmpl $4, %eax\n	je guest_timer\n"
	"	cmpl $5, %eax\n	je guest_timer\n"
	"	cmpl $6, %eax\n	je guest_masked\n"
	"	cmpl $7, %eax\n	je guest_bochs\n"
	"	cmpl $8, %eax\n	je guest_late\n"
	"	cmpl $9, %eax\n	je guest_faults\n"
	"	movl $0x3f8, %edx\n	movb $0x48, %al\n	outb %al, %dx\n	movb $0x69, %al\n	outb %al, %dx\n"
	"	movl $0x5000, %edx\n	inl %dx, %eax\n	cmpl $-1, %eax\n	jne guest_bad\n" /* a port that nobody claims */
	"	movl $0x3fd, %edx\n	inw %dx, %ax\n	cmpw $0xb060, %ax\n	jne guest_bad\n" /* LSR and MSR as two bytes */
	"	movb $42, %al\n	outb %al, $0xf4\n"
	"guest_bad:	movb $99, %al\n	outb %al, $0xf4\n	jmp guest_bad\n"
	"guest_halt:	cli\n	hlt\n	jmp guest_bad\n"
	"guest_triple:	lidt " NUMBER(LOAD) " + guest_none - guest_start\n	ud2\n"
	"guest_spin:	jmp guest_spin\n"
	/* the handler of #UD is UD2, the stack is where no memory is: faults without end that retire nothing */
	"guest_faults:	movl $" NUMBER(LOAD) " + 1f - guest_start, %eax\n	movl %eax, %edx\n	andl $0xffff, %eax\n	orl $0x80000, %eax\n	movl %eax, 0x180030\n"
	"	andl $0xffff0000, %edx\n	orl $0x8e00, %edx\n	movl %edx, 0x180034\n	movl $0xf0000000, %esp\n1:	ud2\n"
	"guest_bochs:	movl $0x8900, %edx\n	movl $" NUMBER(LOAD) " + guest_text - guest_start, %esi\n	movl $8, %ecx\n	cld\n	rep outsb\n	jmp guest_bad\n"
	"guest_text:	.ascii \"Shutdown\"\n"
	"guest_masked:	call guest_devices\n	movb $0xff, %al\n	outb %al, $0x21\n	sti\n	hlt\n	jmp guest_bad\n"
	/* masked for a while: exactly one request waits, IRR shows it, and unmasking delivers it at once */
	"guest_late:	call guest_devices\n	movb $0xff, %al\n	outb %al, $0x21\n	movl $3000000, %ecx\n"
	"1:	decl %ecx\n	jnz 1b\n"
	"	movb $0x0a, %al\n	outb %al, $0x20\n	inb $0x20, %al\n	cmpb $1, %al\n	jne guest_bad\n"
	"	sti\n	nop\n	cmpl $0, " NUMBER(TABLE) " - 8\n	jne guest_bad\n"
	"	movb $0xfe, %al\n	outb %al, $0x21\n	nop\n	nop\n	cmpl $1, " NUMBER(TABLE) " - 8\n	jne guest_bad\n"
	"	movb $5, %al\n	outb %al, $0xf4\n"
	"guest_timer:	call guest_devices\n	sti\n"
	"1:	cmpl $5, " NUMBER(LOAD) " + guest_which - guest_start\n	jne 2f\n	hlt\n" /* program 5 halts, program 4 works */
	"2:	incl %edi\n	imull $7, %edi, %ebx\n	movl %ebx, 0x190000(,%edi,4)\n	andl $0xfff, %edi\n"
	"	cmpl $8, " NUMBER(TABLE) " - 8\n	jb 1b\n"
	"	cli\n	movb $7, %al\n	outb %al, $0xf4\n"
	"guest_devices:\n" /* PIC at vector 0x20, only IRQ 0; PIT channel 0, mode 2, divisor 11932 */
	"	movb $0x11, %al\n	outb %al, $0x20\n	movb $0x20, %al\n	outb %al, $0x21\n	movb $4, %al\n	outb %al, $0x21\n	movb $1, %al\n	outb %al, $0x21\n"
	"	movb $0xfe, %al\n	outb %al, $0x21\n"
	"	movb $0x34, %al\n	outb %al, $0x43\n	movb $0x9c, %al\n	outb %al, $0x40\n	movb $0x2e, %al\n	outb %al, $0x40\n"
	"	rdtsc\n	movl %eax, " NUMBER(TABLE) " - 16\n	movl %edx, " NUMBER(TABLE) " - 12\n	ret\n"
	"guest_handler:\n"
	"	pushl %eax\n	pushl %edx\n	pushl %ecx\n	rdtsc\n	movl " NUMBER(TABLE) " - 8, %ecx\n"
	"	movl %eax, " NUMBER(TABLE) "(,%ecx,8)\n	movl %edx, " NUMBER(TABLE) " + 4(,%ecx,8)\n	incl " NUMBER(TABLE) " - 8\n"
	"	movb $0x20, %al\n	outb %al, $0x20\n	popl %ecx\n	popl %edx\n	popl %eax\n	iret\n"
	"guest_end:\n"
	"	.code64\n"
	"	.popsection\n");
extern const uint8_t guest_start[], guest_end[], guest_which[];

enum { HELLO, HALT, TRIPLE, SPIN, TIMER_BUSY, TIMER_HALT, TIMER_MASKED, BOCHS, TIMER_LATE, FAULTS };

struct outcome { enum run_end end; uint64_t stamp[9] /* [0]: when the timer was started */; struct run_result result; char console[16]; size_t console_bytes; };

static void image_write(struct machine_config *c, uint32_t which)
{
	strcpy(c->kernel, "/tmp/ringside-run-XXXXXX");
	int fd = mkstemp(c->kernel);
	CU_ASSERT_FATAL(fd >= 0);
	size_t size = (size_t)(guest_end - guest_start);
	uint8_t *image = malloc(size);
	memcpy(image, guest_start, size);
	memcpy(image + (guest_which - guest_start), &which, 4);
	CU_ASSERT_EQUAL(write(fd, image, size), (ssize_t)size);
	close(fd);
	free(image);
}

static void config_make(struct machine_config *c, const char *core)
{
	machine_config_default(c);
	snprintf(c->core, sizeof c->core, "%s", core);
	c->memory_bytes = 4u << 20;
	c->max_instructions = 400000000;
}

static void guest_run(struct machine_config *c, uint32_t which, struct outcome *o)
{
	char error[400] = "";
	memset(o, 0, sizeof *o);
	image_write(c, which);
	struct machine *m = machine_create(c, error, sizeof error);
	bool loaded = m && machine_load(m, error, sizeof error);
	unlink(c->kernel);
	if (!loaded)
		fprintf(stderr, "%s\n", error);
	CU_ASSERT_FATAL(loaded);
	o->end = machine_run(m);
	machine_result(m, &o->result);
	const char *text = machine_console(m, &o->console_bytes);
	memcpy(o->console, text, o->console_bytes < sizeof o->console ? o->console_bytes : sizeof o->console);
	uint64_t base = machine_vmm(m)->guest_base;
	o->stamp[0] = phys_read64(machine_cpu(m)->phys, base + TABLE - 16);
	for (unsigned i = 0; i < 8; i++)
		o->stamp[i + 1] = phys_read64(machine_cpu(m)->phys, base + TABLE + 8 * i);
	machine_destroy(m);
}

static void test_ends(void)
{
	static const char *const cores[] = { "functional", "fixed" };
	static const struct { uint32_t which; enum run_end end; int code; } rows[] = {
		{ HELLO, END_EXIT, 42 }, { HALT, END_HALTED_FOREVER, 0 }, { TRIPLE, END_TRIPLE_FAULT, 0 }, { SPIN, END_BUDGET, 0 }, { TIMER_MASKED, END_HALTED_FOREVER, 0 }, { BOCHS, END_EXIT, 0 }, { TIMER_LATE, END_EXIT, 5 },
		{ FAULTS, END_BUDGET, 0 },
	};
	for (unsigned core = 0; core < 2; core++)
		for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct machine_config c;
			struct outcome o;
			config_make(&c, cores[core]);
			c.max_instructions = rows[i].which == FAULTS ? 200000 : 8000000;
			c.preset.mhz = 100;
			guest_run(&c, rows[i].which, &o);
			CU_ASSERT_EQUAL(o.end, rows[i].end);
			CU_ASSERT_EQUAL(o.result.exit_code, rows[i].code);
			CU_ASSERT_EQUAL(o.result.cycles > 0, core == 1);
			uint64_t sum = 0;
			for (unsigned k = 0; k < CAUSES; k++)
				sum += o.result.by_cause[k];
			CU_ASSERT_EQUAL(sum, o.result.cycles);
			if (rows[i].which == HELLO) {
				CU_ASSERT_EQUAL(o.console_bytes, 2);
				CU_ASSERT_EQUAL(memcmp(o.console, "Hi", 2), 0);
			}
			if (rows[i].which == SPIN)
				CU_ASSERT(o.result.instructions >= 8000000 && o.result.instructions < 8000000 + 64);
		}
}

/* A guest that retires nothing ends at the same delivery (each moves its ESP) whatever the batches are. */
static void test_fruitless_batches(void)
{
	struct machine_config c;
	struct outcome whole, parts;
	config_make(&c, "functional");
	c.max_instructions = 10000;
	guest_run(&c, FAULTS, &whole);
	c.batch = 37;
	guest_run(&c, FAULTS, &parts);
	CU_ASSERT_EQUAL(whole.end, END_BUDGET);
	CU_ASSERT_EQUAL(parts.end, END_BUDGET);
	CU_ASSERT_EQUAL(whole.result.machine_hash, parts.result.machine_hash);
}

/* Ticks of the 8254 come at multiples of the divisor after the one at which the count was loaded; each is taken within the time of a block, the delivery and the handler's start. */
static void timer_check(const struct outcome *o, const struct machine_config *c, uint64_t slack)
{
	double period = 11932.0 * c->preset.mhz * 1e6 / 1193182.0;
	for (unsigned i = 1; i <= 8; i++) {
		double late = (double)(o->stamp[i] - o->stamp[1]) - (i - 1) * period;
		CU_ASSERT(late > -(double)slack && late < (double)slack);
	}
	double first = (double)(o->stamp[1] - o->stamp[0]);
	double tick = c->preset.mhz * 1e6 / 1193182.0; /* the count enters at the next tick; the guest notes the start some port accesses later */
	CU_ASSERT(first > period - 3 * tick - (double)slack && first < period + 3 * tick + (double)slack);
}

static void outcomes_compare(const struct outcome *a, const struct outcome *b)
{
	CU_ASSERT_EQUAL(a->end, b->end);
	CU_ASSERT_EQUAL(memcmp(a->stamp, b->stamp, sizeof a->stamp), 0);
	CU_ASSERT_EQUAL(a->result.cycles, b->result.cycles);
	CU_ASSERT_EQUAL(a->result.instructions, b->result.instructions);
	CU_ASSERT_EQUAL(a->result.state_hash, b->result.state_hash);
	CU_ASSERT_EQUAL(a->result.machine_hash, b->result.machine_hash);
	CU_ASSERT_EQUAL(memcmp(a->result.by_cause, b->result.by_cause, sizeof a->result.by_cause), 0);
}

static void timer_matrix(const char *core, uint32_t which, uint64_t slack)
{
	static const unsigned buffers[] = { 4096, 2, 3, 64 };
	struct outcome first, o;
	bool have = false;
	for (unsigned b = 0; b < sizeof buffers / sizeof *buffers; b++)
		for (unsigned e = 0; engines[e].name; e++) {
			struct machine_config c;
			config_make(&c, core);
			c.event_buffer = buffers[b];
			c.softtlb_entries = b & 1 ? 1 : 4096;
			c.preset.mhz = 100; /* periods of a million cycles */
			snprintf(c.engine, sizeof c.engine, "%s", engines[e].name);
			guest_run(&c, which, &o);
			CU_ASSERT_EQUAL(o.end, END_EXIT);
			CU_ASSERT_EQUAL(o.result.exit_code, 7);
			timer_check(&o, &c, slack);
			if (have)
				outcomes_compare(&first, &o);
			first = have ? first : o;
			have = true;
		}
}

static void test_timer_functional(void) { timer_matrix("functional", TIMER_BUSY, 64); }
static void test_timer_fixed(void) { timer_matrix("fixed", TIMER_BUSY, 6000); }
static void test_timer_halted(void) { timer_matrix("functional", TIMER_HALT, 64); timer_matrix("fixed", TIMER_HALT, 6000); }

/* Halting leaves the work to the timer: time passes without instructions, and is called idle. */
static void test_idle(void)
{
	struct machine_config c;
	struct outcome o;
	config_make(&c, "fixed");
	guest_run(&c, TIMER_HALT, &o);
	CU_ASSERT(o.result.by_cause[CAUSE_IDLE] > o.result.cycles / 2);
	CU_ASSERT(o.result.instructions < 1000);
	uint64_t eight = 8ull * 11932 * c.preset.mhz * 1000000 / 1193182;
	CU_ASSERT(o.result.cycles > eight && o.result.cycles < eight + eight / 10);
}

struct thread_work { uint32_t which; struct outcome outcome; };

static void *thread_run(void *self)
{
	struct thread_work *w = self;
	struct machine_config c;
	config_make(&c, "fixed");
	c.preset.mhz = 100;
	guest_run(&c, w->which, &w->outcome);
	return NULL;
}

static void test_machines_side_by_side(void)
{
	static struct thread_work work[6], alone[2];
	pthread_t thread[6];
	for (unsigned i = 0; i < 2; i++) {
		alone[i].which = i ? TIMER_HALT : TIMER_BUSY;
		thread_run(&alone[i]);
	}
	for (unsigned i = 0; i < 6; i++) {
		work[i].which = alone[i & 1].which;
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, thread_run, &work[i]), 0);
	}
	for (unsigned i = 0; i < 6; i++) {
		pthread_join(thread[i], NULL);
		outcomes_compare(&alone[i & 1].outcome, &work[i].outcome);
	}
}

static void test_tlb_statistics_without_time(void)
{
	struct machine_config c;
	struct outcome o;
	config_make(&c, "functional");
	c.tlb_only = true;
	guest_run(&c, HELLO, &o);
	CU_ASSERT_EQUAL(o.end, END_EXIT);
	CU_ASSERT_EQUAL(o.result.cycles, 0);
	CU_ASSERT(o.result.stats > 5);
}

static bool stop_at_once(void *self, uint64_t instructions)
{
	*(uint64_t *)self = instructions;
	return false;
}

static void test_refusals_and_progress(void)
{
	static const struct { const char *what; const char *says; } rows[] = { { "technique", "technique" }, { "engine", "engine" }, { "core", "core model" }, { "memory", "memory" }, { "softtlb", "softtlb" },
		{ "mhz", "mhz" } };
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct machine_config c;
		char error[400] = "";
		config_make(&c, "fixed");
		switch (i) {
		case 0: strcpy(c.technique, "magic"); break;
		case 1: strcpy(c.engine, "magic"); break;
		case 2: strcpy(c.core, "magic"); break;
		case 3: c.memory_bytes = 4097; break;
		case 4: c.softtlb_entries = 3; break;
		default: c.preset.mhz = 0; break;
		}
		CU_ASSERT_PTR_NULL(machine_create(&c, error, sizeof error));
		CU_ASSERT_PTR_NOT_NULL(strstr(error, rows[i].says));
	}
	struct machine_config c;
	char error[400] = "";
	uint64_t seen = 0;
	config_make(&c, "functional");
	image_write(&c, SPIN);
	struct machine *m = machine_create(&c, error, sizeof error);
	CU_ASSERT_FATAL(m && machine_load(m, error, sizeof error));
	unlink(c.kernel);
	machine_set_progress(m, stop_at_once, &seen);
	CU_ASSERT_EQUAL(machine_run(m), END_BUDGET);
	CU_ASSERT(seen > 0 && seen < c.max_instructions);
	machine_destroy(m);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("machine: runs", NULL, NULL);
	CU_add_test(s, "how a run ends", test_ends);
	CU_add_test(s, "faults without end, in batches", test_fruitless_batches);
	CU_add_test(s, "timer, functional", test_timer_functional);
	CU_add_test(s, "timer, fixed core", test_timer_fixed);
	CU_add_test(s, "timer, halted", test_timer_halted);
	CU_add_test(s, "idle time", test_idle);
	CU_add_test(s, "machines side by side", test_machines_side_by_side);
	CU_add_test(s, "TLB statistics without time", test_tlb_statistics_without_time);
	CU_add_test(s, "refusals and progress", test_refusals_and_progress);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
