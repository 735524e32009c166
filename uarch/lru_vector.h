/* The code of one variant for sets of n ways, out of MOVE(n, set, entry): what lru_touch_fn says. The includer defines MOVE and VECTOR, the target that it is compiled for. */
#include "lru.h"
#include <immintrin.h>
#include <stddef.h>

#define EACH VECTOR static inline __attribute__((always_inline))
#define LRU_CODE(n) \
	VECTOR static uint64_t touch##n(uint64_t *set, uint32_t ways, uint64_t entry) { return (void)ways, MOVE(n, set, entry); } \
	VECTOR static void list##n(uint64_t *const *set, uint32_t ways, uint64_t *entry, uint32_t count) \
	{ \
		(void)ways; \
		for (uint32_t i = 0; i < count; i++) \
			entry[i] = MOVE(n, set[i], entry[i]); \
	} \
	static const struct lru_code code##n = { touch##n, list##n };
#define LRU_CODE_FIND(ways) ((ways) == 4 ? &code4 : (ways) == 8 ? &code8 : (ways) == 16 ? &code16 : NULL)
