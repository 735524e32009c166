/*
 * Processes and the scheduler: round robin, one time slice a tick.
 * Invariant: exactly one process is RUNNING once the first has started; a READY one is in the queue, no other is.
 */
#include "kernel.h"
#include "ringside_syscall.h"

#define EXIT_INIT_KILLED 125 /* what the machine ends with when the first program died of a fault */

static struct {
	struct process table[PROCESSES_MAX];
	struct process *current, *first, *last;
	frame_t loaded_root;
	word_t loaded_tls;
	int next_id;
	uint32_t tick;
	bool due, timer_on;
} sched;

static uint8_t stacks[PROCESSES_MAX][STACK_BYTES] __attribute__((aligned(4096)));

struct process *process_current(void)
{
	return sched.current;
}

static void queue_put(struct process *p)
{
	p->state = PROCESS_READY;
	p->next = NULL;
	if (sched.last)
		sched.last->next = p;
	else
		sched.first = p;
	sched.last = p;
}

static struct process *queue_get(void)
{
	struct process *p = sched.first;
	if (p) {
		sched.first = p->next;
		if (!sched.first)
			sched.last = NULL;
	}
	return p;
}

static void fpu_initialise(struct process *p)
{
	memset(p->fpu, 0, sizeof p->fpu);
	p->fpu[0] = 0x7f, p->fpu[1] = 0x03;   /* FCW after FNINIT */
	p->fpu[24] = 0x80, p->fpu[25] = 0x1f; /* MXCSR after reset */
}

static void space_load(frame_t root)
{
	if (sched.loaded_root == root)
		return;
	sched.loaded_root = root;
	mmu_root_load(root);
}

static void tls_load(struct process *p)
{
	if (sched.loaded_tls == p->tls)
		return;
	sched.loaded_tls = p->tls;
	arch_tls_set(p->tls);
}

/* Gives the processor to `next`; returns when somebody gives it back. Interrupts are off. */
static void process_switch(struct process *next)
{
	struct process *previous = sched.current;
	next->state = PROCESS_RUNNING;
	sched.due = false;
	if (next == previous)
		return;
	sched.current = next;
	__asm__ volatile("fxsave %0" : "=m"(previous->fpu));
	__asm__ volatile("fxrstor %0" : : "m"(next->fpu));
	space_load(next->space.root);
	arch_stack_set(next->stack_top);
	tls_load(next);
	previous->segments = arch_segments_get();
	arch_segments_set(next->segments);
	arch_switch(&previous->saved_sp, next->saved_sp);
}

static bool somebody_waits_for_time(void)
{
	for (struct process *p = sched.table; p < sched.table + PROCESSES_MAX; p++)
		if (p->state == PROCESS_SLEEPING && !p->channel)
			return true;
	return false;
}

/* Runs the next ready process; idles while there is none. */
static void schedule(void)
{
	word_t state = arch_irq_save();
	struct process *next;
	while (!(next = queue_get())) {
		if (!somebody_waits_for_time())
			panic("every process waits for another one");
		arch_idle();
	}
	process_switch(next);
	arch_irq_restore(state);
}

void process_space_changed(struct process *p)
{
	space_load(p->space.root);
}

void process_reset(struct process *p)
{
	p->tls = p->segments = 0;
	tls_load(p);
	arch_segments_set(0);
	fpu_initialise(p);
	__asm__ volatile("fxrstor %0" : : "m"(p->fpu));
}

int process_tls_set(word_t base)
{
	sched.current->tls = sched.loaded_tls = base;
	return arch_tls_set(base);
}

static struct process *process_allocate(void)
{
	for (unsigned i = 0; i < PROCESSES_MAX; i++) {
		struct process *p = &sched.table[i];
		if (p->state != PROCESS_FREE)
			continue;
		memset(p, 0, sizeof *p);
		p->stack_top = (word_t)(stacks[i] + STACK_BYTES);
		return p;
	}
	return NULL;
}

/* Lays the stack of a new process out as if it had called arch_switch from trap_return with a trap frame below. */
static struct trap_frame *process_prepare_stack(struct process *p)
{
	struct trap_frame *f = (struct trap_frame *)p->stack_top - 1;
	word_t *sp = (word_t *)f;
	*--sp = (word_t)trap_return;
	for (unsigned i = 0; i < 6; i++)
		*--sp = 0; /* callee-saved registers, at most six (ORDER SWITCH) */
	p->saved_sp = (word_t)sp;
	return f;
}

void process_start_init(const char *name, char *arguments, word_t bytes, unsigned argc)
{
	struct process *p = process_allocate();
	struct trap_frame *f = process_prepare_stack(p);
	p->id = sched.next_id = 1;
	for (unsigned fd = 0; fd < 3; fd++)
		p->files[fd] = file_console();
	/* exec_load works on the present process; what was current before is this boot stack, never resumed. */
	sched.current = p;
	p->state = PROCESS_RUNNING;
	arch_stack_set(p->stack_top);
	memset(f, 0, sizeof *f);
	if (!exec_load(p, name, arguments, bytes, argc, f))
		panic("cannot start \"%s\": no such program in the archive (first module), or no memory", name);
	word_t boot_sp;
	arch_switch(&boot_sp, p->saved_sp);
	__builtin_unreachable();
}

int process_fork(struct trap_frame *f)
{
	struct process *parent = sched.current, *child = process_allocate();
	if (!child || !space_fork(&child->space, &parent->space))
		return -1;
	*process_prepare_stack(child) = *f;
	trap_call_result((struct trap_frame *)child->stack_top - 1, 0);
	__asm__ volatile("fxsave %0" : "=m"(child->fpu));
	child->segments = arch_segments_get();
	child->tls = parent->tls;
	memcpy(child->name, parent->name, sizeof child->name);
	for (unsigned fd = 0; fd < RS_FILES_MAX; fd++)
		if ((child->files[fd] = parent->files[fd]))
			file_share(child->files[fd]);
	child->id = ++sched.next_id;
	child->parent = parent->id;
	word_t state = arch_irq_save();
	queue_put(child);
	arch_irq_restore(state);
	return child->id;
}

static struct process *process_find(int id)
{
	for (struct process *p = sched.table; p < sched.table + PROCESSES_MAX; p++)
		if (p->state != PROCESS_FREE && p->id == id)
			return p;
	return NULL;
}

_Noreturn void process_exit(int status)
{
	struct process *me = sched.current;
	if (me->id == 1) {
		int code = status == RS_STATUS_KILLED ? EXIT_INIT_KILLED : status;
		print("ringside: exit %d\n", code);
		arch_shutdown((unsigned)code);
	}
	for (unsigned fd = 0; fd < RS_FILES_MAX; fd++)
		if (me->files[fd])
			file_close(me->files[fd]);
	space_load(mmu_kernel_root());
	space_destroy(&me->space);
	for (struct process *p = sched.table; p < sched.table + PROCESSES_MAX; p++)
		if (p->state != PROCESS_FREE && p->parent == me->id)
			p->parent = 1;
	arch_irq_disable();
	me->status = status;
	me->state = PROCESS_ZOMBIE;
	me->space.root = mmu_kernel_root(); /* should an idling zombie's root be asked for */
	struct process *parent = process_find(me->parent);
	process_wake(parent);
	schedule();
	panic("a dead process runs");
}

int process_wait(int *status)
{
	struct process *me = sched.current;
	for (;;) {
		bool children = false;
		for (struct process *p = sched.table; p < sched.table + PROCESSES_MAX; p++) {
			if (p->state == PROCESS_FREE || p->parent != me->id)
				continue;
			children = true;
			if (p->state != PROCESS_ZOMBIE)
				continue;
			*status = p->status;
			p->state = PROCESS_FREE;
			return p->id;
		}
		if (!children)
			return -1;
		process_sleep(me);
	}
}

void process_yield(void)
{
	word_t state = arch_irq_save();
	queue_put(sched.current);
	schedule();
	arch_irq_restore(state);
}

void process_sleep(const void *channel)
{
	word_t state = arch_irq_save();
	sched.current->state = PROCESS_SLEEPING;
	sched.current->channel = channel;
	schedule();
	arch_irq_restore(state);
}

bool process_sleep_ticks(uint32_t ticks)
{
	if (!sched.timer_on)
		return false;
	word_t state = arch_irq_save();
	sched.current->wake_tick = sched.tick + ticks;
	sched.current->state = PROCESS_SLEEPING;
	sched.current->channel = NULL;
	if (ticks)
		schedule();
	else
		sched.current->state = PROCESS_RUNNING;
	arch_irq_restore(state);
	return true;
}

void process_wake(const void *channel)
{
	word_t state = arch_irq_save();
	for (struct process *p = sched.table; channel && p < sched.table + PROCESSES_MAX; p++)
		if (p->state == PROCESS_SLEEPING && p->channel == channel)
			queue_put(p);
	arch_irq_restore(state);
}

void process_tick(void)
{
	sched.tick++;
	sched.due = true;
	for (struct process *p = sched.table; p < sched.table + PROCESSES_MAX; p++)
		if (p->state == PROCESS_SLEEPING && !p->channel && (int32_t)(sched.tick - p->wake_tick) >= 0)
			queue_put(p);
}

bool process_is_due(void)
{
	return sched.due;
}

void process_timer_enable(void)
{
	sched.timer_on = true;
	arch_timer_start(TIMER_HZ);
}
