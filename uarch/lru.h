/*
 * A cache set as a list from the most to the least recently used, in consecutive 64-bit entries: line number << 1 | dirty.
 *
 * Invariant: every variant leaves the same set and gives the same answer; they differ in speed alone. A variant moves to the front in whole vectors: a narrow store followed by a
 * vector load would wait for the store to leave the processor's buffer.
 */
#ifndef UARCH_LRU_H
#define UARCH_LRU_H
#include <stdbool.h>
#include <stdint.h>

#define LRU_EMPTY (~0ull) /* no line number reaches it: 52-bit addresses */
#define LRU_HIT (~1ull)   /* nor this */

enum lru_variant { LRU_BEST /* of what the real processor has */, LRU_SCALAR, LRU_AVX2, LRU_AVX512, LRU_VARIANTS };

/* Touches `entry`, line << 1 | write. LRU_HIT: it was there, and stands first now, dirty if it was or is written. Otherwise it has been entered, and the least recently used entry,
 * which had to go, is returned (LRU_EMPTY: there was room). */
typedef uint64_t lru_touch_fn(uint64_t *set, uint32_t ways, uint64_t entry);

/* The same for a list, one after the other: entry[i] is for set[i], and becomes what lru_touch_fn would return. */
typedef void lru_list_fn(uint64_t *const *set, uint32_t ways, uint64_t *entry, uint32_t n);

struct lru_code { lru_touch_fn *touch; lru_list_fn *list; };

/* The code for sets of so many ways. A variant that has none for them gives the scalar one, and so does one that the real processor cannot run. */
const struct lru_code *lru_code_find(enum lru_variant variant, uint32_t ways);
bool lru_variant_runs(enum lru_variant variant);

/* One file each. NULL: not for so many ways. */
const struct lru_code *lru_scalar_find(uint32_t ways);
const struct lru_code *lru_avx2_find(uint32_t ways);
const struct lru_code *lru_avx512_find(uint32_t ways);
#endif
