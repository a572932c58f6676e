/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks double from 1 KiB to 256 KiB. A piece too large for the rest of a block gets
 * a block of its own when it would waste more than it fills; that block goes behind
 * the current one, which stays in use.
 */
#include "base/arena.h"

#include <string.h>

#include "base/alloc.h"

enum { BLOCK_SIZE_MIN = 1 << 10, BLOCK_SIZE_MAX = 1 << 18, ALIGNMENT = 8 };

struct lsm_arena_block {
    struct lsm_arena_block *next;
};

_Static_assert(sizeof(struct lsm_arena_block) % ALIGNMENT == 0,
               "the bytes behind a block's head are aligned");

void lsm_arena_init(lsm_arena *arena) {
    *arena = (lsm_arena){NULL, NULL, 0, 0};
}

void lsm_arena_deinit(lsm_arena *arena) {
    struct lsm_arena_block *block = arena->blocks;

    while (block != NULL) {
        struct lsm_arena_block *next = block->next;

        lsm_free(block);
        block = next;
    }
    lsm_arena_init(arena);
}

/* The payload of a new block of `size` bytes, linked in as the current one or, when
 * it serves one piece only, behind the current one. */
static char *add_block(lsm_arena *arena, size_t size, bool current) {
    struct lsm_arena_block *block = lsm_alloc(size);

    if (block == NULL) {
        return NULL;
    }
    arena->allocated += size;
    if (current || arena->blocks == NULL) {
        block->next = arena->blocks;
        arena->blocks = block;
    } else {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    }
    return (char *)(block + 1);
}

void *lsm_arena_alloc(lsm_arena *arena, size_t size) {
    size_t block_size = BLOCK_SIZE_MIN;
    char *memory = NULL;

    if (size > SIZE_MAX - sizeof(struct lsm_arena_block) - ALIGNMENT) {
        return NULL;
    }
    size = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (LSM_LIKELY(size <= arena->left)) {
        memory = arena->at;
        arena->at += size;
        arena->left -= size;
        return memory;
    }
    while (block_size < arena->allocated && block_size < BLOCK_SIZE_MAX) {
        block_size *= 2;
    }
    if (size > block_size / 4) {
        return add_block(arena, sizeof(struct lsm_arena_block) + size, false);
    }
    memory = add_block(arena, block_size, true);
    if (memory != NULL) {
        arena->at = memory + size;
        arena->left = block_size - sizeof(struct lsm_arena_block) - size;
    }
    return memory;
}

bool lsm_arena_copy(lsm_arena *arena, lsm_slice from, lsm_slice *to) {
    uint8_t *copy = lsm_arena_alloc(arena, from.size);

    *to = lsm_slice_make(copy, copy == NULL ? 0 : from.size);
    if (copy != NULL && from.size != 0) {
        memcpy(copy, from.data, from.size);
    }
    return copy != NULL;
}
