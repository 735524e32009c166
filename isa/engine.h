/*
 * Engines: ways to run a cpu. All compute the same; they differ in speed.
 *
 * Invariant: an engine returns only at an instruction boundary with exact rip, icount and flags, and whatever it does between, the guest cannot tell.
 */
#ifndef ISA_ENGINE_H
#define ISA_ENGINE_H
#include "cpu.h"

struct engine {
	const char *name;
	const char *summary;
	/* Runs until cpu->budget <= 0 at a block boundary, cpu->attention is set, or cpu->stop != CPU_RUNNING. Exceptions of the guest are delivered inside. Sets cpu->escape itself. */
	void (*run)(struct cpu *cpu);
};

/* The engines of isa/engines.def in order; NULL-terminated by name == NULL. */
extern const struct engine engines[];
const struct engine *engine_find(const char *name); /* NULL: unknown */

/* The cache of cracked blocks, keyed by physical PC and mode_key. max_bytes: memory it may use before old blocks go. */
struct block_cache *block_cache_create(size_t max_bytes, struct block_dictionary *dictionary);
void block_cache_destroy(struct block_cache *c);
/* All blocks of one physical page die (self-modifying code), or all blocks (trap set changed). Running blocks stay allocated until the engine is at a boundary. */
void block_cache_invalidate_page(struct cpu *cpu, uint64_t hpa);
void block_cache_invalidate_all(struct cpu *cpu);
/* A store of `size` bytes within one page: kills the blocks that it changes. Returns whether the page still has blocks: then stores to it must go on being seen. */
bool block_cache_store(struct cpu *cpu, uint64_t hpa, unsigned size);

/* Opcodes outside the subset met so far (each raised #UD in the guest): name and count, for the run's summary. i counts from 0; false: no more. */
struct unknown_opcodes *unknown_opcodes_create(void);
void unknown_opcodes_destroy(struct unknown_opcodes *u);
bool unknown_opcodes_get(const struct unknown_opcodes *u, unsigned i, const char **mnemonic, uint64_t *count);
#endif
