/* SPDX-License-Identifier: Apache-2.0
 *
 * The only malloc and free of the engine. With -DLSMKV_TESTING every allocation is
 * counted and the n-th can be made to fail. All functions are thread-safe.
 */
#ifndef LSM_BASE_ALLOC_H
#define LSM_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

enum { LSM_HUGE_PAGE = 2 << 20 };

/* Whether to take small pieces of one kind from large ones. Not where a tool watches
 * every allocation for us. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LSM_ALLOC_POOLED = 0 };
#else
enum { LSM_ALLOC_POOLED = 1 };
#endif

/* NULL when there is no memory, or for a size of 0. The caller owns the result and
 * gives it to lsm_free. */
void *lsm_alloc(size_t size) LSM_MUST_CHECK;
void *lsm_calloc(size_t count,
                 size_t size) LSM_MUST_CHECK;             /* zeroed, overflow-checked */
void *lsm_realloc(void *old, size_t size) LSM_MUST_CHECK; /* size > 0 */
/* Aligned to LSM_CACHE_LINE; released with lsm_free_aligned. Not zeroed. */
void *lsm_alloc_aligned(size_t size) LSM_MUST_CHECK;
/* `size`, a multiple of LSM_HUGE_PAGE, bytes aligned to it, which the system is asked
 * to back by huge pages. Zeroed. Released with lsm_free_huge. */
void *lsm_alloc_huge(size_t size) LSM_MUST_CHECK;
void lsm_free_huge(void *memory, size_t size); /* NULL is fine */
void lsm_free(void *memory);                   /* NULL is fine */
void lsm_free_aligned(void *memory);
char *lsm_strdup(const char *text) LSM_MUST_CHECK;

/* Grows an array to hold at least `needed` elements (doubling). *array is replaced and
 * *capacity updated on success; on failure false, and the old array stays valid. */
bool lsm_grow(void **array, size_t *capacity, size_t needed,
              size_t element_size) LSM_MUST_CHECK;

#ifdef LSMKV_TESTING
uint64_t lsm_alloc_live(void);  /* allocations not yet freed */
uint64_t lsm_alloc_count(void); /* requests so far, failed ones included */
/* Makes the allocation after `after` further ones fail (0: the next one), and every
 * later one too if sticky. lsm_alloc_fail_never() ends it. */
void lsm_alloc_fail_after(uint64_t after, int sticky);
/* As above for `count` requests in a row. */
void lsm_alloc_fail_range(uint64_t after, uint64_t count);
void lsm_alloc_fail_never(void);
/* Is told the size of each request before it is served; NULL: nobody. */
void lsm_alloc_set_watch(void (*watch)(size_t size));
/* While exempt, requests of this thread neither count nor fail: what a test itself
 * needs between requests of the engine. They do count as live. */
void lsm_alloc_exempt(bool exempt);
#endif

#endif
