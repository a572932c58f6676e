/* SPDX-License-Identifier: Apache-2.0
 *
 * Bump allocator over blocks that grow; everything is freed at once. Used where many
 * small pieces share one lifetime (file metadata of an edit, batch reading). One
 * thread at a time.
 */
#ifndef LSM_BASE_ARENA_H
#define LSM_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "base/slice.h"

typedef struct lsm_arena {
    struct lsm_arena_block *blocks; /* newest first; owned */
    char *at;
    size_t left;
    size_t allocated; /* bytes taken from lsm_alloc */
} lsm_arena;

void lsm_arena_init(lsm_arena *arena);
void lsm_arena_deinit(lsm_arena *arena);
/* Aligned to 8. NULL: no memory. */
void *lsm_arena_alloc(lsm_arena *arena, size_t size) LSM_MUST_CHECK;
/* Copies bytes; the slice lives as long as the arena. false: no memory. */
bool lsm_arena_copy(lsm_arena *arena, lsm_slice from, lsm_slice *to) LSM_MUST_CHECK;

#endif
