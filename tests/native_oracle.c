/* The real machine's side of the oracle; see native_oracle.h. */
#include "native_oracle.h"
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define STRING_(x) #x
#define STRING(x) STRING_(x)

/* Addresses that the assembly below knows as numbers. */
#define AT_LIVE 0x5a5d2000      /* struct live */
#define AT_SMALL_STACK 0x5a5d3f00
#define AT_TRAMPOLINE 0x5a5d0000
enum { OWN_BYTES = 0x4000, CASE_BYTES = 0xa000 /* from NATIVE_BASE */, BATCH_BYTES = 2 * NATIVE_BATCH * sizeof(struct native_state) };

struct live { /* ORDER LIVE: offsets are used by the assembly */
	uint64_t reg[16];        /* 0 */
	uint64_t rip;            /* 128 */
	uint32_t eflags, mxcsr;  /* 136, 140 */
	int32_t vector;          /* 144 */
	uint32_t error;          /* 148 */
	uint64_t cr2;            /* 152 */
	uint16_t cs, ss, ds, es; /* 160 .. 168 */
	uint8_t align[8];
	union xmm xmm[16];       /* 176 */
	uint64_t host_rsp;       /* 432 */
	uint64_t entry;          /* 440 */
	uint32_t mode;           /* 448 */
	uint32_t our_mxcsr;      /* 452 */
	uint32_t far_offset;     /* 456 */
	uint16_t far_selector;   /* 460 */
};
_Static_assert(offsetof(struct live, xmm) == 176 && offsetof(struct live, host_rsp) == 432 && offsetof(struct live, far_offset) == 456, "ORDER LIVE");
_Static_assert(offsetof(struct live, eflags) == 136 && offsetof(struct live, vector) == 144 && offsetof(struct live, cs) == 160, "ORDER LIVE");
#define LIVE ((struct live *)AT_LIVE)

/*
 * The trampoline: copied to AT_TRAMPOLINE, because compatibility mode sees only the low 4 GiB. Entered as a C function; comes back through
 * trampoline_exit64, trampoline_exit32 (from pads) or trampoline_done (from the signal handler). MOV changes no flag; nothing else stands between POPF and
 * the instruction, or between the instruction and PUSHF.
 */
__asm__(".pushsection .rodata\n"
        ".set LIVE, " STRING(AT_LIVE) "\n"
        ".set BASE, " STRING(AT_TRAMPOLINE) "\n"
        "trampoline_start:\n"
        "	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
        "	mov %rsp, LIVE+432\n"
        "	.set i, 0\n"
        "	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "	movaps LIVE+176+16*\\n, %xmm\\n\n"
        "	.endr\n"
        "	ldmxcsr LIVE+140\n"
        "	mov $0x2b, %eax\n	mov %eax, %ds\n	mov %eax, %es\n"
        "	cmpl $4, LIVE+448\n"
        "	je 4f\n"
        "	mov LIVE+136, %eax\n	push %rax\n	popfq\n"
        "	mov LIVE+0, %rax\n	mov LIVE+8, %rcx\n	mov LIVE+16, %rdx\n	mov LIVE+24, %rbx\n"
        "	mov LIVE+32, %rsp\n	mov LIVE+40, %rbp\n	mov LIVE+48, %rsi\n	mov LIVE+56, %rdi\n"
        "	mov LIVE+64, %r8\n	mov LIVE+72, %r9\n	mov LIVE+80, %r10\n	mov LIVE+88, %r11\n"
        "	mov LIVE+96, %r12\n	mov LIVE+104, %r13\n	mov LIVE+112, %r14\n	mov LIVE+120, %r15\n"
        "	jmp *LIVE+440\n"
        "4:	mov $" STRING(AT_SMALL_STACK) ", %esp\n"
        "	mov LIVE+136, %eax\n	push %rax\n	popfq\n"
        "	ljmp *LIVE+456\n"
        "	.code32\n"
        "trampoline_enter32:\n"
        "	mov LIVE+0, %eax\n	mov LIVE+8, %ecx\n	mov LIVE+16, %edx\n	mov LIVE+24, %ebx\n"
        "	mov LIVE+32, %esp\n	mov LIVE+40, %ebp\n	mov LIVE+48, %esi\n	mov LIVE+56, %edi\n"
        "	jmp *LIVE+440\n"
        "trampoline_exit32:\n" /* SS is what cannot be null here */
        "	mov %eax, %ss:LIVE+0\n	mov %ecx, %ss:LIVE+8\n	mov %edx, %ss:LIVE+16\n	mov %ebx, %ss:LIVE+24\n"
        "	mov %esp, %ss:LIVE+32\n	mov %ebp, %ss:LIVE+40\n	mov %esi, %ss:LIVE+48\n	mov %edi, %ss:LIVE+56\n"
        "	mov %cs, %ss:LIVE+160\n	mov %ss, %ss:LIVE+162\n"
        "	mov $" STRING(AT_SMALL_STACK) ", %esp\n"
        "	pushf\n	popl %ss:LIVE+136\n"
        "	ljmp $0x33, $BASE+(trampoline_done-trampoline_start)\n"
        "	.code64\n"
        "trampoline_exit64:\n"
        "	mov %rax, LIVE+0\n	mov %rcx, LIVE+8\n	mov %rdx, LIVE+16\n	mov %rbx, LIVE+24\n"
        "	mov %rsp, LIVE+32\n	mov %rbp, LIVE+40\n	mov %rsi, LIVE+48\n	mov %rdi, LIVE+56\n"
        "	mov %r8, LIVE+64\n	mov %r9, LIVE+72\n	mov %r10, LIVE+80\n	mov %r11, LIVE+88\n"
        "	mov %r12, LIVE+96\n	mov %r13, LIVE+104\n	mov %r14, LIVE+112\n	mov %r15, LIVE+120\n"
        "	mov %cs, LIVE+160\n	mov %ss, LIVE+162\n"
        "	mov $" STRING(AT_SMALL_STACK) ", %esp\n"
        "	pushfq\n	pop %rax\n	mov %eax, LIVE+136\n"
        "trampoline_done:\n"
        "	mov %ds, LIVE+164\n	mov %es, LIVE+166\n"
        "	stmxcsr LIVE+140\n"
        "	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "	movaps %xmm\\n, LIVE+176+16*\\n\n"
        "	.endr\n"
        "	mov LIVE+432, %rsp\n"
        "	ldmxcsr LIVE+452\n"
        "	push $0x202\n	popfq\n"
        "	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
        "	ret\n"
        "trampoline_end:\n"
        ".popsection\n");
extern const uint8_t trampoline_start[], trampoline_enter32[], trampoline_exit32[], trampoline_exit64[], trampoline_done[], trampoline_end[];

static uint32_t trampoline_at(const uint8_t *label)
{
	return (uint32_t)(AT_TRAMPOLINE + (label - trampoline_start));
}

struct native {
	pid_t child;
	int to, from; /* pipes */
	bool has_32;
	struct request *request;
	struct native_state *before, *after;
};

struct request { /* in the shared region, behind the trampoline */
	uint32_t mode, length, count;
	uint8_t code[NATIVE_CODE_BYTES];
};
#define REQUEST ((struct request *)(AT_TRAMPOLINE + 0x800))

/* ---------------------------------------------------------------- in the child */
enum { /* the kernel's struct sigcontext, by number: <ucontext.h> has names that clash with enum reg */
	G_R8, G_R9, G_R10, G_R11, G_R12, G_R13, G_R14, G_R15, G_DI, G_SI, G_BP, G_BX, G_DX, G_AX, G_CX, G_SP, G_IP, G_FLAGS, G_SELECTORS, G_ERROR, G_VECTOR,
	G_OLD_MASK, G_CR2,
};

static void on_signal(int number, siginfo_t *info, void *context)
{
	static const uint8_t from_context[16] = { G_AX, G_CX, G_DX, G_BX, G_SP, G_BP, G_SI, G_DI, G_R8, G_R9, G_R10, G_R11, G_R12, G_R13, G_R14, G_R15 };
	ucontext_t *u = context;
	greg_t *g = u->uc_mcontext.gregs;
	(void)number, (void)info;
	if (LIVE->vector != -3)
		_exit(3); /* not in a case: a fault of this program */
	for (unsigned i = 0; i < 16; i++)
		LIVE->reg[i] = (uint64_t)g[from_context[i]];
	LIVE->rip = (uint64_t)g[G_IP];
	LIVE->eflags = (uint32_t)g[G_FLAGS];
	LIVE->vector = (int32_t)g[G_VECTOR];
	LIVE->error = (uint32_t)g[G_ERROR];
	LIVE->cr2 = LIVE->vector == VEC_PF ? (uint64_t)g[G_CR2] : 0;
	LIVE->cs = (uint16_t)g[G_SELECTORS];
	LIVE->ss = (uint16_t)(g[G_SELECTORS] >> 48);
	g[G_IP] = trampoline_at(trampoline_done);
	g[G_FLAGS] = 0x202;
	g[G_SELECTORS] = (g[G_SELECTORS] & ~0xffffll) | 0x33;
}

static uint8_t *pad_put(uint8_t *at, unsigned mode)
{
	uint8_t *p = at;
	const uint32_t where = (uint32_t)(AT_LIVE + offsetof(struct live, rip)), self = (uint32_t)(uintptr_t)at;
	memcpy(p, (const uint8_t[]){ 0x36, 0xc7, 0x04, 0x25 }, 4); /* mov $self, %ss:where, the same in both modes */
	p += 4;
	memcpy(p, &where, 4);
	memcpy(p + 4, &self, 4);
	p += 8;
	*p++ = 0xe9; /* jmp */
	const uint32_t to = trampoline_at(mode == 8 ? trampoline_exit64 : trampoline_exit32) - (uint32_t)(uintptr_t)(p + 4);
	memcpy(p, &to, 4);
	return p + 4;
}

static void child_load(const struct request *r)
{
	memset((void *)NATIVE_CODE, 0xcc, 4096);
	for (int k = -4; k <= 8; k++)
		pad_put((uint8_t *)(uintptr_t)(NATIVE_ENTRY + k * NATIVE_PAD_STEP), k >= NATIVE_PAD_OTHER ? 12 - r->mode : r->mode);
	memcpy((void *)NATIVE_ENTRY, r->code, r->length);
	pad_put((uint8_t *)(uintptr_t)(NATIVE_ENTRY + r->length), r->mode);
	LIVE->mode = r->mode;
}

static void child_case(const struct native_state *in, struct native_state *out)
{
	void (*const trampoline)(void) = (void (*)(void))AT_TRAMPOLINE;
	memcpy(LIVE->reg, in->reg, sizeof in->reg);
	memcpy(LIVE->xmm, in->xmm, sizeof in->xmm);
	LIVE->eflags = in->eflags;
	LIVE->mxcsr = in->mxcsr;
	memcpy((void *)NATIVE_WINDOW, in->data, sizeof in->data);
	memcpy((void *)NATIVE_STACK_WINDOW, in->stack, sizeof in->stack);
	LIVE->rip = 0; /* pads write the lower half */
	LIVE->error = 0;
	LIVE->cr2 = 0;
	LIVE->vector = -3;
	trampoline();
	memcpy(out->reg, LIVE->reg, sizeof out->reg);
	memcpy(out->xmm, LIVE->xmm, sizeof out->xmm);
	out->rip = LIVE->rip;
	out->eflags = LIVE->eflags;
	out->mxcsr = LIVE->mxcsr;
	memcpy(out->selector, &LIVE->cs, sizeof out->selector);
	out->vector = LIVE->vector == -3 ? -1 : LIVE->vector;
	LIVE->vector = 0;
	out->error = LIVE->error;
	out->cr2 = LIVE->cr2;
	memcpy(out->data, (void *)NATIVE_WINDOW, sizeof out->data);
	memcpy(out->stack, (void *)NATIVE_STACK_WINDOW, sizeof out->stack);
}

static _Noreturn void child_main(struct native *n, int from, int to)
{
	static uint8_t stack[65536]; /* of the child alone */
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	char c;
	sigaltstack(&alternate, NULL);
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
	memcpy((void *)AT_TRAMPOLINE, trampoline_start, (size_t)(trampoline_end - trampoline_start)); /* again: the child before may have died of writing to it */
	LIVE->our_mxcsr = 0x1f80;
	LIVE->entry = NATIVE_ENTRY;
	LIVE->far_offset = trampoline_at(trampoline_enter32);
	LIVE->far_selector = 0x23;
	while (read(from, &c, 1) == 1) {
		const struct itimerval limit = { .it_value = { .tv_sec = 20 } }; /* a case that hangs: SIGALRM ends this process */
		setitimer(ITIMER_REAL, &limit, NULL);
		child_load(REQUEST);
		for (unsigned i = 0; i < REQUEST->count; i++)
			child_case(&n->before[i], &n->after[i]);
		if (write(to, &c, 1) != 1)
			break;
	}
	_exit(0);
}

/* ---------------------------------------------------------------- in the parent */
static bool pages_map(uint32_t at, size_t bytes, int protection)
{
	void *const wanted = (void *)(uintptr_t)at;
	return mmap(wanted, bytes, protection, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == wanted;
}

/* The case's pages as user programs have them: data is not executable, so that jumping there faults. */
static bool region_map(const char **why)
{
	if (pages_map(AT_TRAMPOLINE, OWN_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC) && pages_map(NATIVE_BASE, CASE_BYTES, PROT_NONE) &&
	    !mprotect((void *)(uintptr_t)NATIVE_DATA, 0x2000, PROT_READ | PROT_WRITE) && !mprotect((void *)(uintptr_t)NATIVE_STACK, 0x1000, PROT_READ | PROT_WRITE))
		return true;
	*why = "no executable memory at a fixed low address here";
	return false;
}

/* Where wild addresses lead must be empty, or they would not fault as in the model. */
static bool low_memory_empty(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool empty = true;
	if (!maps)
		return true;
	while (fgets(line, sizeof line, maps)) {
		const unsigned long long start = strtoull(line, NULL, 16);
		empty &= start >> 32 || (start >= NATIVE_BASE && start < NATIVE_BASE + CASE_BYTES) || (start >= AT_TRAMPOLINE && start < AT_TRAMPOLINE + OWN_BYTES);
	}
	fclose(maps);
	return empty;
}

static bool child_start(struct native *n)
{
	int down[2], up[2];
	if (pipe(down) || pipe(up))
		return false;
	fflush(NULL);
	n->child = fork();
	if (n->child == 0) {
		close(down[1]);
		close(up[0]);
		child_main(n, down[0], up[1]);
	}
	close(down[0]);
	close(up[1]);
	n->to = down[1];
	n->from = up[0];
	return n->child > 0;
}

static void child_stop(struct native *n)
{
	close(n->to);
	close(n->from);
	waitpid(n->child, NULL, 0);
}

bool native_run(struct native *n, unsigned mode, const uint8_t *code, unsigned length, unsigned count)
{
	char c = 1;
	*REQUEST = (struct request){ .mode = mode, .length = length, .count = count };
	memcpy(REQUEST->code, code, length);
	if (write(n->to, &c, 1) == 1 && read(n->from, &c, 1) == 1)
		return true;
	child_stop(n);
	child_start(n);
	return false;
}

/* A first case in each mode: NOP. */
static bool works(struct native *n, unsigned mode)
{
	n->before[0] = (struct native_state){ .eflags = 0x202, .mxcsr = 0x1f80, .reg = { 1, 2, 3, 4, NATIVE_SP } };
	return native_run(n, mode, (const uint8_t *)"\x90", 1, 1) && n->after[0].vector == -1 && n->after[0].reg[3] == 4 && n->after[0].rip == NATIVE_ENTRY + 1;
}

static void native_free(struct native *n)
{
	munmap((void *)NATIVE_BASE, CASE_BYTES);
	munmap((void *)AT_TRAMPOLINE, OWN_BYTES);
	munmap(n->before, BATCH_BYTES);
	free(n);
}

struct native *native_open(const char **why)
{
	struct native *n = calloc(1, sizeof *n);
	*why = "out of memory";
	signal(SIGPIPE, SIG_IGN);
	if (!n || !region_map(why)) {
		free(n);
		return NULL;
	}
	n->before = mmap(NULL, BATCH_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); /* wherever 32-bit code does not reach */
	if (n->before == MAP_FAILED) {
		free(n);
		return NULL;
	}
	n->after = n->before + NATIVE_BATCH;
	if (!low_memory_empty()) {
		*why = "something of this program is mapped below 4 GiB (AddressSanitizer's shadow is), where wild addresses of the cases must fault";
		native_free(n);
		return NULL;
	}
	if (!child_start(n) || !works(n, 8)) {
		*why = "the child that runs instructions cannot start or does not come back from a NOP";
		native_close(n);
		return NULL;
	}
	n->has_32 = works(n, 4);
	return n;
}

void native_close(struct native *n)
{
	child_stop(n);
	native_free(n);
}

bool native_has_32(const struct native *n)
{
	return n->has_32;
}

struct native_state *native_before(struct native *n)
{
	return n->before;
}

const struct native_state *native_after(const struct native *n)
{
	return n->after;
}
