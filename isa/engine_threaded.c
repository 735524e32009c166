/* The threaded engine, functional: nobody observes, and nothing is paid for it. */
#define OBSERVED 0
#define THREADED_SLOW cold
#define THREADED_TABLE uop_threaded
#include "engine_threaded.h"

static void threaded_go(struct cpu *cpu, const struct uop *first)
{
	first->fn(cpu, first); /* the handlers in a block were chosen when it was built: functional or observed */
}

void threaded_run(struct cpu *cpu);
void threaded_run(struct cpu *cpu)
{
	engine_run(cpu, threaded_go, threaded_go);
}
