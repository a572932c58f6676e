/* SPDX-License-Identifier: Apache-2.0
 *
 * Iterating over a table, in both directions.
 *
 * The iterator stands on an entry of one decoded block. That is a cached block, which
 * it holds by a reference, or a block of its own, decoded from its read window: a run
 * of whole blocks read at once. A scanning iterator reads everything through windows. A
 * caching one asks the cache first; of blocks that are not there, the first
 * AHEAD_AFTER in a row go into the cache, as those of any short read do, and from then
 * on they are read through growing windows and leave the cache alone.
 *
 * Blocks are only moved into when they were checked, so a failure leaves the iterator
 * on nothing, with the error as its status; it never looks like the end.
 */
#include "base/alloc.h"
#include "base/budget.h"
#include "table/table_private.h"

enum {
    AHEAD_AFTER = 2,
    WINDOW_MIN = 64 << 10,
    WINDOW_MAX = 256 << 10,
    WINDOWS_IN_BUDGET = 64, /* a scan has one for every table of level 0 */
    PREFETCH_LINES = 6,     /* header, tables and first entry of a block of 4 KiB */
};

typedef enum iter_direction { FORWARD, BACKWARD } iter_direction;

typedef struct table_iter {
    lsm_iter base;
    lsm_table *table; /* a reference */
    lsm_table_access access;
    const lsm_block *block;   /* the current one; NULL: none */
    uint32_t number;          /* of the current block */
    uint32_t entry;           /* index of the current entry in it */
    lsm_cached_block *pinned; /* holds `block`, or NULL */
    lsm_block_room room;      /* holds it otherwise; owned */
    uint8_t *window;          /* owned */
    size_t window_capacity;
    uint32_t window_begin; /* blocks in the window: [begin, end) */
    uint32_t window_end;
    size_t window_size;     /* bytes of the next window */
    uint32_t missed_in_row; /* blocks not in the cache since the last jump */
    bool counting;          /* came here block by block from the first */
    uint64_t counted;       /* entries in the blocks on that way */
} table_iter;

static table_iter *iter_of(lsm_iter *base) {
    return LSM_CONTAINER_OF(base, table_iter, base);
}

static void release_block(table_iter *iter) {
    lsm_cache_unpin(iter->table->cache, iter->pinned);
    iter->pinned = NULL;
    iter->block = NULL;
}

static void fail(table_iter *iter, lsmkv_status status) {
    release_block(iter);
    iter->base.valid = false;
    iter->base.status = status;
}

static size_t window_max(void) {
    uint64_t share = WINDOW_MAX;

    if (lsm_is_limited()) {
        share = lsm_budget_current->max / WINDOWS_IN_BUDGET;
    }
    return share < WINDOW_MAX ? (size_t)share : WINDOW_MAX;
}

/* Reads a run of blocks that begins (ends, when going backward) with `number`. */
static lsmkv_status fill_window(table_iter *iter, uint32_t number,
                                iter_direction direction) {
    const uint64_t *offsets = iter->table->index.offsets;
    size_t most = window_max();
    size_t wanted = iter->window_size < most ? iter->window_size : most;
    uint32_t begin = number;
    uint32_t end = number + 1;
    size_t size = 0;
    lsmkv_status status = LSMKV_OK;

    if (direction == FORWARD) {
        while (end < iter->table->index.block_count &&
               offsets[end + 1] - offsets[begin] <= wanted) {
            end++;
        }
    } else {
        while (begin > 0 && offsets[end] - offsets[begin - 1] <= wanted) {
            begin--;
        }
    }
    size = (size_t)(offsets[end] - offsets[begin]);
    iter->window_begin = iter->window_end = 0;
    if (size > iter->window_capacity) {
        size_t capacity = size > most ? size : most;

        lsm_free(iter->window);
        iter->window_capacity = 0;
        iter->window = lsm_alloc(capacity);
        if (iter->window == NULL) {
            return lsm_fail_memory(&iter->base.error, capacity);
        }
        iter->window_capacity = capacity;
    }
    LSM_TRY(lsm_file_read_exact(iter->table->file, offsets[begin], iter->window, size,
                                &iter->base.error));
    iter->window_begin = begin;
    iter->window_end = end;
    iter->window_size = wanted * 2 < most ? wanted * 2 : most;
out:
    return status;
}

/* Decodes a block that is, or then will be, in the window. */
static lsmkv_status load_from_window(table_iter *iter, uint32_t number,
                                     iter_direction direction) {
    const uint64_t *offsets = iter->table->index.offsets;
    lsmkv_status status = LSMKV_OK;
    lsm_slice stored;

    if (number < iter->window_begin || number >= iter->window_end) {
        LSM_TRY(fill_window(iter, number, direction));
    }
    stored = lsm_slice_make(
        iter->window + (size_t)(offsets[number] - offsets[iter->window_begin]),
        (size_t)(offsets[number + 1] - offsets[number]));
    LSM_TRY(lsm_table_decode(iter->table, number, stored, LSM_USE_SCAN, &iter->room,
                             &iter->base.error));
    iter->block = &iter->room.block->block;
out:
    return status;
}

static void pin(table_iter *iter, lsm_cached_block *block) {
    lsm_cache_pin(iter->table->cache, block);
    iter->pinned = block;
    iter->block = &block->block;
}

/* Through the cache, for the first blocks missed in a row through a window after. */
static lsmkv_status load_cached(table_iter *iter, uint32_t number,
                                iter_direction direction) {
    lsm_cached_block *block = lsm_cache_load(&iter->table->index.slots[number]);
    lsmkv_status status = LSMKV_OK;

    if (block == NULL) {
        if (iter->missed_in_row >= AHEAD_AFTER) {
            return load_from_window(iter, number, direction);
        }
        iter->missed_in_row++;
        LSM_TRY(lsm_table_load(iter->table, number, &block, &iter->base.error));
    }
    pin(iter, block);
out:
    return status;
}

/* A hint for the block that a forward iterator will come to next. */
static void prefetch_following(const table_iter *iter) {
    uint32_t number = iter->number + 1;
    const uint8_t *block = NULL;

    if (number == iter->table->index.block_count) {
        return;
    }
    block = (const uint8_t *)lsm_cache_peek(&iter->table->index.slots[number]);
    if (block != NULL) {
        for (size_t i = 0; i < PREFETCH_LINES; i++) {
            LSM_PREFETCH(block + i * LSM_CACHE_LINE);
        }
    }
}

/* Makes `number` the current block. false: failed. */
static bool load_block(table_iter *iter, uint32_t number, iter_direction direction) {
    lsmkv_status status = LSMKV_OK;

    release_block(iter);
    if (iter->access == LSM_ACCESS_SCAN) {
        status = load_from_window(iter, number, direction);
    } else {
        status = load_cached(iter, number, direction);
    }
    if (status != LSMKV_OK) {
        fail(iter, status);
        return false;
    }
    iter->number = number;
    iter->counted += iter->block->entry_count;
    if (iter->access == LSM_ACCESS_CACHED && direction == FORWARD) {
        prefetch_following(iter);
    }
    return true;
}

static inline void stand_on(table_iter *iter, uint32_t index) {
    lsm_block_entry entry = lsm_block_entry_get(iter->block, index);

    iter->entry = index;
    iter->base.key = entry.ikey;
    iter->base.value = entry.field;
    iter->base.valid = true;
}

/* Before a jump: forgets a failure. */
static void begin_jump(table_iter *iter) {
    iter->base.valid = false;
    iter->base.status = LSMKV_OK;
    iter->counting = false;
}

/* Makes `number`, which may be the current block or any other, the current one. */
static bool jump_to_block(table_iter *iter, uint32_t number, iter_direction direction) {
    if (iter->block != NULL && iter->number == number) {
        return true;
    }
    if (iter->block == NULL || number != iter->number + 1) {
        iter->missed_in_row = 0;
        iter->window_size = iter->access == LSM_ACCESS_SCAN ? WINDOW_MAX : WINDOW_MIN;
    }
    return load_block(iter, number, direction);
}

/* The end in forward direction. Who came all the way from the start has seen all. */
static void end_forward(table_iter *iter) {
    uint64_t expected = iter->table->properties.entry_count;

    iter->base.valid = false;
    if (iter->counting && iter->counted != expected) {
        fail(iter, lsm_fail_at(&iter->base.error, LSMKV_CORRUPTION, iter->table->name,
                               -1, "%llu entries, expected %llu",
                               (unsigned long long)iter->counted,
                               (unsigned long long)expected));
    }
}

static void move_forward(table_iter *iter) {
    if (iter->number + 1 == iter->table->index.block_count) {
        end_forward(iter);
    } else if (load_block(iter, iter->number + 1, FORWARD)) {
        stand_on(iter, 0);
    }
}

static void table_iter_seek_first(lsm_iter *base) {
    table_iter *iter = iter_of(base);

    begin_jump(iter);
    if (iter->table->index.block_count == 0) {
        return;
    }
    if (iter->block != NULL && iter->number == 0) {
        iter->counted = iter->block->entry_count;
    } else {
        iter->counted = 0;
    }
    iter->counting = true;
    if (jump_to_block(iter, 0, FORWARD)) {
        stand_on(iter, 0);
    }
}

static void table_iter_seek_last(lsm_iter *base) {
    table_iter *iter = iter_of(base);

    begin_jump(iter);
    if (iter->table->index.block_count != 0 &&
        jump_to_block(iter, iter->table->index.block_count - 1, BACKWARD)) {
        stand_on(iter, iter->block->entry_count - 1);
    }
}

static void table_iter_seek(lsm_iter *base, lsm_slice ikey) {
    table_iter *iter = iter_of(base);
    lsm_slice skey = lsm_ikey_skey(ikey);
    uint64_t trailer = lsm_ikey_trailer(ikey);
    uint32_t number = lsm_table_index_find(&iter->table->index, skey, trailer);
    uint32_t index = 0;

    begin_jump(iter);
    if (number == iter->table->index.block_count ||
        !jump_to_block(iter, number, FORWARD)) {
        return;
    }
    index = lsm_block_seek(iter->block, skey, trailer);
    if (index < iter->block->entry_count) {
        stand_on(iter, index);
    } else {
        move_forward(
            iter); /* the key lies between the block's last and its separator */
    }
}

static void table_iter_next(lsm_iter *base) {
    table_iter *iter = iter_of(base);

    if (LSM_LIKELY(iter->entry + 1 < iter->block->entry_count)) {
        stand_on(iter, iter->entry + 1);
    } else {
        move_forward(iter);
    }
}

static void table_iter_prev(lsm_iter *base) {
    table_iter *iter = iter_of(base);

    if (LSM_LIKELY(iter->entry > 0)) {
        stand_on(iter, iter->entry - 1);
    } else if (iter->number == 0) {
        iter->base.valid = false;
    } else {
        iter->counting = false;
        if (load_block(iter, iter->number - 1, BACKWARD)) {
            stand_on(iter, iter->block->entry_count - 1);
        }
    }
}

static void table_iter_destroy(lsm_iter *base) {
    table_iter *iter = iter_of(base);

    release_block(iter);
    lsm_cached_block_unref(iter->room.block);
    lsm_free(iter->window);
    lsm_table_unref(iter->table);
    lsm_free(iter);
}

lsm_iter *lsm_table_iter(lsm_table *table, lsm_table_access access) {
    static const lsm_iter_ops ops = {
        .destroy = table_iter_destroy,
        .seek_first = table_iter_seek_first,
        .seek_last = table_iter_seek_last,
        .seek = table_iter_seek,
        .next = table_iter_next,
        .prev = table_iter_prev,
    };
    table_iter *iter = lsm_calloc(1, sizeof(*iter));

    if (iter == NULL) {
        return NULL;
    }
    iter->base.ops = &ops;
    iter->access = access;
    iter->window_size = access == LSM_ACCESS_SCAN ? WINDOW_MAX : WINDOW_MIN;
    iter->table = table;
    lsm_table_ref(table);
    return &iter->base;
}
