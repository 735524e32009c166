/*
 * The oracle for user-mode instructions: the real CPU.
 *
 * Invariant: a case is (mode, code, state before), and the real machine and the model each turn it into a state after, from the same addresses, with the same
 * pages mapped. The real instruction runs in a child process of its own: whatever it does, the test goes on. The only things that are compared are those that
 * the manual defines; who compares says which flags those are.
 *
 * The child loads all registers from a shared page, jumps to the code, and comes back through a pad (a store of the pad's own address and a jump) that stands
 * behind the instruction and at NATIVE_PADS places where branches may go. No system call and no signal for a case that does not fault; a fault is caught by a
 * signal handler on a stack of its own, and gives vector, error code and CR2 as the kernel saw them. 32-bit code runs in compatibility mode, CS 0x23.
 */
#ifndef TESTS_NATIVE_ORACLE_H
#define TESTS_NATIVE_ORACLE_H
#include "isa/cpu.h"
#include "isa/engine.h"

enum {
	NATIVE_BASE = 0x20000000,            /* alone, so that an address that went a little astray faults on both sides */
	NATIVE_CODE = 0x5a5d1000,            /* one page, executable; the oracle's own are around it, where sums of powers of two do not lead */
	NATIVE_ENTRY = NATIVE_CODE + 0x400,  /* where the instruction stands */
	NATIVE_PAD_STEP = 0x40,              /* pads at NATIVE_ENTRY + k * 0x40, k = -4..-1 and 1..8 */
	NATIVE_PAD_OTHER = 7,                /* from here on pads are for arriving in the other mode */
	NATIVE_DATA = NATIVE_BASE + 0x5000,  /* two pages, an unmapped one before and after */
	NATIVE_WINDOW = NATIVE_DATA + 0x1000 - 128, /* what of them is state: 256 bytes around the page boundary */
	NATIVE_WINDOW_BYTES = 256,
	NATIVE_STACK = NATIVE_BASE + 0x8000, /* one page, unmapped ones around */
	NATIVE_STACK_WINDOW = NATIVE_STACK + 0x800,
	NATIVE_STACK_BYTES = 256,
	NATIVE_SP = NATIVE_STACK_WINDOW + 128,
	NATIVE_CODE_BYTES = 112,
	NATIVE_BATCH = 512,                  /* cases between two messages to the child */
};

struct native_state {
	uint64_t reg[16];
	uint64_t rip;
	uint32_t eflags, mxcsr;
	int32_t vector;    /* -1: the instruction completed; -2: it never came back (model only) */
	uint32_t error;
	uint64_t cr2;
	uint16_t selector[4]; /* CS, SS, DS, ES, after; before they are flat */
	union xmm xmm[16];
	uint8_t data[NATIVE_WINDOW_BYTES], stack[NATIVE_STACK_BYTES];
};

struct native;
/* Starts the child. On failure returns NULL and a sentence in *why: the caller skips, visibly. */
struct native *native_open(const char **why);
void native_close(struct native *n);
/* Can the real machine run 32-bit code here? */
bool native_has_32(const struct native *n);
/* Where to put the states of a batch: NATIVE_BATCH of them. */
struct native_state *native_before(struct native *n);
const struct native_state *native_after(const struct native *n);
/* Runs `count` cases of one instruction in mode 4 or 8. False: the child died (and was started again); `after` is then meaningless. */
bool native_run(struct native *n, unsigned mode, const uint8_t *code, unsigned length, unsigned count);

/* Our side of it: one engine over a flat memory of the same pages (native_model.c). */
struct model;
struct model *model_open(const struct engine *engine);
void model_close(struct model *m);
/* Chooses mode and instruction for the cases that follow. */
void model_load(struct model *m, unsigned mode, const uint8_t *code, unsigned length);
void model_run(struct model *m, const struct native_state *before, struct native_state *after);
/* Are the data and stack pages, all of them, as the real ones are now? Makes them so. Also catches stores outside of the windows. */
bool model_pages_agree(struct model *m);
/* Its two data pages, which begin at NATIVE_DATA. */
const uint8_t *model_data(const struct model *m);
/* For tests that want another CR0, CR4 or descriptor. */
struct cpu *model_cpu(struct model *m);

/* ---- both, and the comparison (native_compare.c) ---- */
struct native_session {
	struct native *native;
	struct model *model[8]; /* of each row of engines[]; NULL after the last */
	const char *engine[8];
	uint64_t cases, differences, died;
	uint64_t seed;          /* of session_random */
	unsigned printed;
};
/* What the manual leaves undefined after one case; arithmetic flags only. NULL: nothing. */
typedef uint32_t undefined_fn(const struct native_state *before, uint32_t fixed);
struct native_code {
	const char *name;
	unsigned mode, length;
	uint8_t code[NATIVE_CODE_BYTES]; /* one instruction, or several that run one after another */
	undefined_fn *undefined; /* NULL: `fixed` alone */
	uint32_t fixed;          /* flags undefined whatever the operands */
	uint32_t fixed_cx;       /* bits of CX that are undefined (LAR) */
	bool approximate;        /* RCPPS, RSQRTPS: floats within 1.5 * 2^-12 of each other (SDM 2) */
};
/* False: prints why and that the test is skipped. argv[1], if any, is a seed: for a longer hunt than a test may take. */
bool session_open(struct native_session *s, int argc, char **argv);
void session_close(struct native_session *s);
/* A native suite after session_open(): runs the tests (the last has name NULL) as a CUnit suite, says how many cases ran, closes the session. Returns main's exit status. */
struct native_test { const char *name; void (*run)(void); };
int session_run(struct native_session *s, const char *suite, const struct native_test *tests);
#define NATIVE_SKIPPED 77 /* exit status that ctest shows as skipped */
/* Runs the `count` cases that stand in native_before() on the real CPU and on every engine, and compares. Prints the first differences. */
void session_check(struct native_session *s, const struct native_code *c, unsigned count);
uint64_t session_random(struct native_session *s);
/* An integer with corners (0, 1, -1, the extremes of each width, small numbers, single bits) as often as not. */
uint64_t session_value(struct native_session *s);
/* A state of random and corner values: flags, registers, windows; SP in the stack window, everything else as wild as it comes. */
void session_fill(struct native_session *s, struct native_state *n, unsigned mode);
#endif
