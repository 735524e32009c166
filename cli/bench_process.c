/*
 * Processes of a bench: started, waited for, measured.
 * Nothing of the simulator is included: <signal.h> has registers of the same names.
 */
#include "bench.h"
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CPU_SECONDS_MOST 120  /* of one run */
#define WALL_SECONDS_MOST 900 /* of one run: the computer may be busy */

/* Signals that end this process unless it was started to ignore them, as nohup does. */
static void endings_fill(sigset_t *set)
{
	static const int endings[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction now;
	sigemptyset(set);
	for (unsigned i = 0; i < sizeof endings / sizeof *endings; i++)
		if (!sigaction(endings[i], NULL, &now) && now.sa_handler != SIG_IGN)
			sigaddset(set, endings[i]);
}

/* Beside them: the end of a child, which is waited for as a signal, and a reader of our output that went away, which may end us only when the temporary directory is gone. */
static void held_change(int how)
{
	sigset_t set;
	endings_fill(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGPIPE);
	sigprocmask(how, &set, NULL);
}

void bench_signals_hold(void)
{
	signal(SIGCHLD, SIG_DFL); /* whoever started us may ignore it: then there would be nothing to wait for */
	held_change(SIG_BLOCK);
}

void bench_signals_release(void) { held_change(SIG_UNBLOCK); }

static _Noreturn void child_become(const struct bench_task *t)
{
	struct rlimit cpu = { CPU_SECONDS_MOST, CPU_SECONDS_MOST + 1 };
	int null = open("/dev/null", O_RDWR), out = t->output ? open(t->output, O_WRONLY | O_CREAT | O_TRUNC, 0600) : null;
	setrlimit(RLIMIT_CPU, &cpu);
	alarm(WALL_SECONDS_MOST); /* it outlives exec */
	held_change(SIG_UNBLOCK);
	dup2(null, 0);
	dup2(out, 1);
	dup2(null, 2);
	if (!t->argument)
		_exit(t->body(t->self));
	execvp(t->argument[0], (char *const *)(uintptr_t)t->argument);
	_exit(127);
}

static enum bench_end child_wait(pid_t pid, int *status, struct rusage *usage)
{
	sigset_t set;
	endings_fill(&set);
	sigaddset(&set, SIGCHLD);
	for (;;) {
		int s = sigwaitinfo(&set, NULL);
		pid_t ended = s == SIGCHLD ? wait4(pid, status, WNOHANG, usage) : 0;
		if (ended == pid)
			return BENCH_GOOD;
		if (ended < 0)
			return BENCH_BAD;
		if (s > 0 && s != SIGCHLD) {
			kill(pid, SIGKILL);
			wait4(pid, status, 0, usage);
			return BENCH_INTERRUPTED;
		}
	}
}

static double seconds_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

enum bench_end bench_process_run(const struct bench_task *t, struct bench_usage *u)
{
	struct rusage usage;
	int status;
	fflush(NULL);
	double start = seconds_now();
	pid_t pid = fork();
	if (pid == 0)
		child_become(t);
	enum bench_end end = pid > 0 ? child_wait(pid, &status, &usage) : BENCH_BAD;
	if (end != BENCH_GOOD)
		return end;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)
		return BENCH_INTERRUPTED;
	u->real = seconds_now() - start;
	u->user = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6;
	u->resident = (double)usage.ru_maxrss * 1024; /* Linux has it in KiB: getrusage(2) */
	u->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	return BENCH_GOOD;
}
