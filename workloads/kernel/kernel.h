/*
 * The Ringside guest kernel, platform-independent part.
 *
 * Invariant: the kernel is never preempted: it gives up the processor only in process_sleep, process_yield and process_exit.
 * Interrupts that arrive in the kernel only count; so module state needs no lock beyond arch_irq_save around what the
 * timer touches. Nothing that is printed depends on time.
 */
#ifndef KERNEL_H
#define KERNEL_H
#include "arch.h"

#define PAGE_BYTES 4096u
#define VECTOR_DIVIDE 0
#define VECTOR_PAGE_FAULT 14
#define VECTOR_IRQ 0x20
#define VECTOR_SYSCALL 0x80
#define TIMER_HZ 100

/* print.c: formats %s %d %u %x (word_t-sized: %lx) %c and %%; straight to the console. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *memset(void *to, int value, size_t bytes);
void *memcpy(void *to, const void *from, size_t bytes);
int string_compare(const char *a, const char *b);

/* frame.c: every frame of RAM has a count of its users; 0 = free. */
void frame_init(frame_t frames, frame_t first_free);
frame_t frame_alloc(void);        /* contents undefined; 0 when there is none */
frame_t frame_alloc_zeroed(void);
void frame_share(frame_t frame);
void frame_release(frame_t frame);
unsigned frame_users(frame_t frame);
frame_t frame_free_count(void);

/* archive.c: files of the newc cpio archive in the first module. */
void archive_init(const uint8_t *bytes, word_t count);
const uint8_t *archive_find(const char *name, word_t *bytes); /* NULL: no such file */

/* space.c: an address space is a root table and a list of areas; pages come at the first touch. */
#define AREAS_MAX 32
struct area {
	word_t start, end;     /* page aligned */
	unsigned protection;   /* RS_PROT_* */
	const uint8_t *file;   /* contents of [file_start, file_start + file_bytes); zero elsewhere; NULL: all zero */
	word_t file_start, file_bytes;
};
struct space {
	frame_t root;
	unsigned count;
	struct area areas[AREAS_MAX];
	word_t heap_start, heap_end;
};
#define FAULT_WRITE 2u /* page-fault error code bits (SDM 3A 4.7) */
#define FAULT_FETCH 16u
bool space_create(struct space *s);
bool space_fork(struct space *child, struct space *parent); /* copy on write; the parent is the present space */
void space_destroy(struct space *s);                        /* must not be the present one */
bool space_fault(struct space *s, word_t va, unsigned access); /* false: the process may not do that */
bool space_add(struct space *s, const struct area *area);
word_t space_map(struct space *s, word_t at, word_t bytes, unsigned protection); /* 0: failure */
bool space_unmap(struct space *s, word_t at, word_t bytes);
bool space_protect(struct space *s, word_t at, word_t bytes, unsigned protection);
word_t space_brk(struct space *s, word_t end);
/* The linked leaf table and index of va, made if need be: the nanobenchmarks' view of a mapping. */
bool space_slot(struct space *s, word_t va, frame_t *table, unsigned *index);

/* exec.c: replaces *s by a fresh space with the program in it; fills the user context. False: *s is as before. */
struct process;
bool exec_load(struct process *p, const char *name, char *arguments, word_t argument_bytes, unsigned argc, struct trap_frame *f);

/* file.c: console, archive files and pipes behind descriptors. */
struct file;
struct file *file_console(void);
struct file *file_open(const char *name);
bool file_pipe(struct file *ends[2]);
void file_share(struct file *file);
void file_close(struct file *file);
long file_read(struct file *file, void *user, word_t bytes);
long file_write(struct file *file, const void *user, word_t bytes);

/* process.c */
#define PROCESSES_MAX 64
#define STACK_BYTES 8192
enum process_state { PROCESS_FREE, PROCESS_READY, PROCESS_RUNNING, PROCESS_SLEEPING, PROCESS_ZOMBIE };
struct process {
	uint8_t fpu[512] __attribute__((aligned(16))); /* FXSAVE image (SDM 1 10.5) */
	enum process_state state;
	int id, parent, status;
	const void *channel;     /* what it sleeps on */
	uint32_t wake_tick;      /* when it sleeps on the clock */
	word_t stack_top, saved_sp, tls, segments;
	struct space space;
	struct file *files[16];
	char name[24];
	struct process *next;    /* in the ready queue */
};
struct process *process_current(void);
void process_start_init(const char *name, char *arguments, word_t bytes, unsigned argc);
void process_space_changed(struct process *p); /* the present process has another root: load it */
void process_reset(struct process *p);         /* the present process starts a program: registers outside the trap frame */
int process_tls_set(word_t base);              /* see arch_tls_set */
int process_fork(struct trap_frame *f);
_Noreturn void process_exit(int status);
int process_wait(int *status);
void process_yield(void);
void process_sleep(const void *channel);
bool process_sleep_ticks(uint32_t ticks);
void process_wake(const void *channel);
void process_tick(void);          /* from the timer interrupt */
bool process_is_due(void);        /* a tick has passed since this one got the processor */
void process_timer_enable(void);

/* trap.c, syscall.c, nanobench.c */
void trap_dispatch(struct trap_frame *f);
void syscall_dispatch(struct trap_frame *f);
int nanobench_run(unsigned which, word_t n);
bool nanobench_trap(struct trap_frame *f); /* true: it was the expected one, and the frame is corrected */

#endif
