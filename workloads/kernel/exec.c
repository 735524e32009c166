/*
 * Loading programs: static ELF files of the archive become areas; no page is copied before it is touched.
 * Invariant: a process keeps its old space until the new program is known to be loadable.
 *
 * The new stack, from the top: argument strings, padding, NULL, argv[argc-1] .. argv[0], argc  <- SP, 16-byte aligned.
 */
#include "kernel.h"
#include "ringside_syscall.h"

#define STACK_AREA_BYTES 0x100000u
#define ELF_LOAD 1
#define ELF_EXECUTABLE 2

static bool elf_check(const struct elf_header *h, word_t bytes)
{
	return bytes >= sizeof *h && h->ident[0] == 0x7f && h->ident[1] == 'E' && h->ident[2] == 'L' && h->ident[3] == 'F' &&
	       h->ident[4] == ELF_CLASS && h->type == ELF_EXECUTABLE && h->machine == ELF_MACHINE &&
	       h->phentsize == sizeof(struct elf_segment) && h->phoff < bytes && h->entry < USER_TOP &&
	       (word_t)h->phnum * sizeof(struct elf_segment) <= bytes - h->phoff;
}

/* One area for a LOAD segment; false if it does not lie in the file and in user space. */
static bool segment_add(struct space *s, const struct elf_segment *g, const uint8_t *file, word_t bytes)
{
	if (g->offset > bytes || g->filesz > bytes - g->offset || g->filesz > g->memsz || g->vaddr >= USER_TOP - STACK_AREA_BYTES ||
	    g->memsz > USER_TOP - STACK_AREA_BYTES - g->vaddr)
		return false;
	struct area a = {
		.start = g->vaddr & ~(word_t)(PAGE_BYTES - 1),
		.end = (g->vaddr + g->memsz + PAGE_BYTES - 1) & ~(word_t)(PAGE_BYTES - 1),
		.protection = RS_PROT_READ | (g->flags & 2 ? RS_PROT_WRITE : 0) | (g->flags & 1 ? RS_PROT_EXEC : 0),
		.file = file + g->offset,
		.file_start = g->vaddr,
		.file_bytes = g->filesz,
	};
	if (a.end > s->heap_start)
		s->heap_start = s->heap_end = a.end;
	return space_add(s, &a);
}

static bool elf_map(struct space *s, const uint8_t *file, word_t bytes)
{
	struct elf_header h;
	memcpy(&h, file, bytes < sizeof h ? bytes : sizeof h);
	if (!elf_check(&h, bytes))
		return false;
	for (unsigned i = 0; i < h.phnum; i++) {
		struct elf_segment g;
		memcpy(&g, file + h.phoff + i * sizeof g, sizeof g);
		if (g.type == ELF_LOAD && g.memsz && !segment_add(s, &g, file, bytes))
			return false;
	}
	struct area stack = { .start = USER_TOP - STACK_AREA_BYTES, .end = USER_TOP, .protection = RS_PROT_READ | RS_PROT_WRITE };
	return space_add(s, &stack);
}

/* Writes the initial stack through the new, present space; returns SP, or 0 if it could not. */
static word_t stack_build(const char *arguments, word_t bytes, unsigned argc)
{
	word_t strings = USER_TOP - ((bytes + 15) & ~(word_t)15);
	word_t block[RS_ARGS_MAX + 2] = { argc };
	word_t at = 0;
	for (unsigned i = 0; i < argc; i++) {
		block[1 + i] = strings + at;
		while (arguments[at++])
			;
	}
	word_t sp = (strings - sizeof block) & ~(word_t)15;
	if (user_copy((void *)strings, arguments, bytes) || user_copy((void *)sp, block, sizeof block))
		return 0;
	return sp;
}

static void name_set(struct process *p, const char *name)
{
	unsigned i = 0;
	for (; name[i] && i < sizeof p->name - 1; i++)
		p->name[i] = name[i];
	p->name[i] = 0;
}

bool exec_load(struct process *p, const char *name, char *arguments, word_t argument_bytes, unsigned argc, struct trap_frame *f)
{
	struct space old = p->space, fresh;
	struct elf_header h;
	word_t bytes;
	const uint8_t *file = archive_find(name, &bytes);
	if (!file || !space_create(&fresh))
		return false;
	if (!elf_map(&fresh, file, bytes)) {
		space_destroy(&fresh);
		return false;
	}
	memcpy(&h, file, sizeof h);
	name_set(p, name); /* before the space with the name's memory may go */
	p->space = fresh;
	process_space_changed(p);
	if (old.root)
		space_destroy(&old);
	word_t sp = stack_build(arguments, argument_bytes, argc);
	if (!sp) {
		print("ringside: %s (process %d) killed: no memory for its arguments\n", p->name, p->id);
		process_exit(RS_STATUS_KILLED);
	}
	trap_start_user(f, h.entry, sp);
	process_reset(p);
	return true;
}
