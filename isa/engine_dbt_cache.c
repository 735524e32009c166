/*
 * The translator's code memory: a ring of regions, and the jumps between translations.
 *
 * Invariant: a jump goes into a translation only while that is in the list of the translation it goes to; so whoever takes a translation away finds every jump to it. Making room
 * costs what one region holds, not what the memory holds; blocks, and translations in other regions, stay.
 */
#define _GNU_SOURCE
#include "engine_dbt.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RETURN_CUTS = 8 };

/* ---- memory: the same pages twice, once to write and once to run ---- */
static bool dbt_map(struct dbt *d, size_t bytes)
{
	int fd = memfd_create("ringside-code", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	uint8_t *write = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *run = mmap(NULL, bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	close(fd);
	if (write == MAP_FAILED || run == MAP_FAILED) {
		if (write != MAP_FAILED)
			munmap(write, bytes);
		return false;
	}
	d->size = bytes;
	d->memory = write;
	d->emit = (struct emit){ .at = write, .end = write + bytes, .to_run = run - write };
	return true;
}

static void dbt_open_region(struct dbt *d, unsigned i)
{
	size_t each = (size_t)(d->memory + d->size - d->first) / d->regions;
	d->region = i;
	d->emit.at = d->first + i * each;
	d->emit.end = d->emit.at + each;
	d->emit.full = false;
}

struct dbt *dbt_create(size_t bytes, unsigned regions)
{
	struct dbt *d = calloc(1, sizeof *d);
	if (!d || !dbt_map(d, bytes)) {
		free(d);
		return NULL;
	}
	dbt_stubs(d);
	d->made = d->emit.at;
	d->first = d->memory + DBT_BEFORE;
	d->regions = regions < DBT_REGIONS ? regions : DBT_REGIONS;
	dbt_open_region(d, 0);
	return d;
}

void dbt_destroy(struct dbt *d)
{
	if (!d)
		return;
	dbt_forget(d, false);
	munmap(d->memory + d->emit.to_run, d->size);
	munmap(d->memory, d->size);
	free(d);
}

/* ---- links ---- */
static void link_cut(struct dbt_link *l)
{
	if (!l->to)
		return;
	*l->prev = l->next;
	if (l->next)
		l->next->prev = l->prev;
	l->to = NULL;
	emit_patch(l->site, l->out);
}

static void link_make(struct dbt *d, struct dbt_link *l, struct dbt_code *to, struct dbt_link **list)
{
	link_cut(l);
	l->to = to;
	l->next = *list;
	l->prev = list;
	if (*list)
		(*list)->prev = &l->next;
	*list = l;
	emit_patch(l->site, to->enter - d->emit.to_run);
}

void dbt_link(struct dbt *d, const struct block *b)
{
	struct dbt_code *from = b->dbt[d->variant];
	for (unsigned way = 0; from && way < 2; way++) {
		struct dbt_link *l = &from->link[way];
		struct dbt_code *to = b->next[way]->dbt[d->variant];
		if (!l->site || l->to == to)
			continue;
		if (to)
			link_make(d, l, to, &to->in);
		else
			link_cut(l);
	}
}

void dbt_return_link(struct dbt *d, struct dbt_link *l, const struct block *to, const struct block *in_table)
{
	struct dbt_code *code = to->dbt[d->variant];
	if (!code || to != in_table)
		return;
	link_make(d, l, code, &code->returns);
	d->landings++;
}

/* Offsets that share a slot take turns: patching code for each costs more than the lookup that is saved. */
void dbt_return_cut(struct block *b)
{
	for (unsigned variant = 0; variant < DBT_VARIANTS; variant++)
		for (struct dbt_link *l = b->dbt[variant] ? b->dbt[variant]->returns : NULL, *next; l; l = next) {
			next = l->next;
			if (++l->cuts == RETURN_CUTS)
				l->out = l->behind;
			link_cut(l);
		}
}

/* ---- taking translations away ---- */
static void code_cut(struct dbt_code *c)
{
	for (unsigned i = 0; i < DBT_LINKS; i++)
		link_cut(&c->link[i]);
	while (c->in)
		link_cut(c->in);
	while (c->returns)
		link_cut(c->returns);
}

static void code_free(struct dbt *d, struct dbt_code *c, bool blocks)
{
	code_cut(c);
	if (blocks && c->block) {
		c->block->dbt[c->variant] = NULL;
		c->block->code[c->variant] = d->exit_enter + d->emit.to_run;
	}
	free(c);
}

void dbt_drop(struct dbt *d, struct block *b)
{
	for (unsigned variant = 0; variant < DBT_VARIANTS; variant++) {
		struct dbt_code *c = b->dbt[variant];
		if (!c)
			continue;
		code_cut(c);
		b->dbt[variant] = NULL;
		b->code[variant] = d->exit_enter + d->emit.to_run;
		c->block = NULL;
	}
}

static void region_empty(struct dbt *d, unsigned i, bool blocks)
{
	for (struct dbt_code *c = d->codes[i], *next; c; c = next) {
		next = c->next;
		code_free(d, c, blocks);
	}
	d->codes[i] = NULL;
}

void dbt_forget(struct dbt *d, bool blocks)
{
	for (unsigned i = 0; i < d->regions; i++)
		region_empty(d, i, blocks);
	dbt_open_region(d, 0);
}

void dbt_forget_dead(struct dbt *d)
{
	for (unsigned i = 0; i < d->regions; i++)
		for (struct dbt_code **at = &d->codes[i], *c = *at; c; c = *at) {
			if (c->block && !c->block->dead) {
				at = &c->next;
				continue;
			}
			*at = c->next;
			code_free(d, c, true);
		}
}

void dbt_next_region(struct dbt *d)
{
	unsigned i = (d->region + 1) % d->regions;
	region_empty(d, i, true);
	dbt_open_region(d, i);
	d->evictions++;
}

void dbt_keep(struct dbt *d, struct dbt_code *c)
{
	d->translations++;
	c->variant = d->variant;
	c->next = d->codes[d->region];
	d->codes[d->region] = c;
	c->block->dbt[d->variant] = c;
	c->block->code[d->variant] = c->enter;
}
