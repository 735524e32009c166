/* No walk cache: every reference is made. Also the registry of the others. */
#include "walk_cache.h"

static void *none_create(const struct tlb_model_config *config) { return (void *)(uintptr_t)config; /* something that is not NULL */ }
static void none_destroy(void *self) { (void)self; }
static void none_learn(void *self, const struct walk_key *k, unsigned level, uint64_t hpa, bool leaf) { (void)self, (void)k, (void)level, (void)hpa, (void)leaf; }
static void none_flush(void *self, uint64_t mask, uint64_t owner, bool host) { (void)self, (void)mask, (void)owner, (void)host; }

const struct walk_cache_kind walk_cache_none = { "none", "every reference is made", none_create, none_destroy, NULL, NULL, none_learn, none_flush, NULL };

#define WALK_CACHE(symbol) extern const struct walk_cache_kind walk_cache_##symbol;
#include "walk_caches.def"
#undef WALK_CACHE
static const struct walk_cache_kind *const kinds[] = {
#define WALK_CACHE(symbol) &walk_cache_##symbol,
#include "walk_caches.def"
#undef WALK_CACHE
};
enum { KINDS = sizeof kinds / sizeof *kinds };

const struct walk_cache_kind *walk_cache_find(const char *name)
{
	if (!name)
		return kinds[0];
	for (unsigned i = 0; i < KINDS; i++)
		if (!strcmp(kinds[i]->name, name))
			return kinds[i];
	return NULL;
}

const char *walk_cache_name(unsigned i)
{
	return i < KINDS ? kinds[i]->name : NULL;
}
