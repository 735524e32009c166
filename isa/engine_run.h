/*
 * What every engine's run loop shares: the dispatcher.
 *
 * Invariant: between blocks cpu->at is NULL and rip, icount and budget are exact.
 */
#ifndef ISA_ENGINE_RUN_H
#define ISA_ENGINE_RUN_H
#include "block.h"

/* Runs blocks from the given first micro-op until the dispatcher is wanted. */
typedef void engine_go(struct cpu *cpu, const struct uop *first);
/* An engine's run(): `plain` is used when nobody observes. */
void engine_run(struct cpu *cpu, engine_go *plain, engine_go *observed);
/* After an end micro-op returned NULL with rip set: finds and chains the next block, or NULL when the dispatcher must look. */
const struct uop *engine_resolve(struct cpu *cpu);
#endif
