/* SPDX-License-Identifier: Apache-2.0
 *
 * See level_iter.h. The current table's iterator is kept until another table is
 * needed, so seeks within one table are cheap.
 */
#include "db/level_iter.h"

#include "base/alloc.h"
#include "base/assert.h"

typedef struct lsm_level_cursor {
    lsm_iter base;
    lsm_table_cache *cache;
    const lsm_level *level; /* borrowed from the version */
    lsm_table_access access;
    size_t index;    /* of the table `table` iterates over */
    lsm_iter *table; /* owned; NULL before the first use */
} lsm_level_cursor;

static lsm_level_cursor *cursor_of(lsm_iter *iter) {
    return LSM_CONTAINER_OF(iter, lsm_level_cursor, base);
}

/* Shows what the table's iterator shows. */
static void mirror(lsm_level_cursor *cursor) {
    lsm_iter *base = &cursor->base;
    base->valid = cursor->table->valid;
    base->key = cursor->table->key;
    base->value = cursor->table->value;
    base->status = cursor->table->status;
    if (base->status != LSMKV_OK) {
        base->error = cursor->table->error;
    }
}

static void end(lsm_level_cursor *cursor) {
    cursor->base.valid = false;
    cursor->base.status = LSMKV_OK;
}

/* Makes `table` iterate over the index-th table. false: it failed, and says so. */
static bool use_table(lsm_level_cursor *cursor, size_t index) {
    lsm_iter *base = &cursor->base;
    lsm_table *table;
    if (cursor->table != NULL && cursor->index == index) {
        return true;
    }
    lsm_iter_destroy(cursor->table);
    cursor->table = NULL;
    base->valid = false;
    base->status = lsm_table_cache_get(cursor->cache, cursor->level->tables[index],
                                       false, &table, &base->error);
    if (base->status == LSMKV_OK) {
        cursor->table = lsm_table_iter(table, cursor->access);
        if (cursor->table == NULL) {
            base->status = lsm_fail_memory(&base->error, sizeof(lsm_iter));
        }
    }
    cursor->index = index;
    return base->status == LSMKV_OK;
}

/* A table has run out without an error: go on with the next, respectively the one
 * before. */
static void go_on(lsm_level_cursor *cursor) {
    while (!cursor->base.valid && cursor->base.status == LSMKV_OK &&
           cursor->index + 1 < cursor->level->count) {
        if (!use_table(cursor, cursor->index + 1)) {
            return;
        }
        lsm_iter_seek_first(cursor->table);
        mirror(cursor);
    }
}

static void go_back(lsm_level_cursor *cursor) {
    while (!cursor->base.valid && cursor->base.status == LSMKV_OK &&
           cursor->index > 0) {
        if (!use_table(cursor, cursor->index - 1)) {
            return;
        }
        lsm_iter_seek_last(cursor->table);
        mirror(cursor);
    }
}

static void level_seek_first(lsm_iter *iter) {
    lsm_level_cursor *cursor = cursor_of(iter);
    if (use_table(cursor, 0)) {
        lsm_iter_seek_first(cursor->table);
        mirror(cursor);
        go_on(cursor);
    }
}

static void level_seek_last(lsm_iter *iter) {
    lsm_level_cursor *cursor = cursor_of(iter);
    if (use_table(cursor, cursor->level->count - 1)) {
        lsm_iter_seek_last(cursor->table);
        mirror(cursor);
        go_back(cursor);
    }
}

static void level_seek(lsm_iter *iter, lsm_slice ikey) {
    lsm_level_cursor *cursor = cursor_of(iter);
    size_t index = lsm_level_find(cursor->level, lsm_ikey_skey(ikey));
    if (index == cursor->level->count) {
        end(cursor);
    } else if (use_table(cursor, index)) {
        lsm_iter_seek(cursor->table, ikey);
        mirror(cursor);
        go_on(cursor);
    }
}

static void level_next(lsm_iter *iter) {
    lsm_level_cursor *cursor = cursor_of(iter);
    lsm_iter_next(cursor->table);
    mirror(cursor);
    if (!iter->valid) {
        go_on(cursor);
    }
}

static void level_prev(lsm_iter *iter) {
    lsm_level_cursor *cursor = cursor_of(iter);
    lsm_iter_prev(cursor->table);
    mirror(cursor);
    if (!iter->valid) {
        go_back(cursor);
    }
}

static void level_destroy(lsm_iter *iter) {
    lsm_level_cursor *cursor = cursor_of(iter);
    lsm_iter_destroy(cursor->table);
    lsm_free(cursor);
}

static const lsm_iter_ops LEVEL_ITER_OPS = {
    .destroy = level_destroy,
    .seek_first = level_seek_first,
    .seek_last = level_seek_last,
    .seek = level_seek,
    .next = level_next,
    .prev = level_prev,
};

lsm_iter *lsm_level_iter(lsm_table_cache *cache, const lsm_level *level,
                         lsm_table_access access) {
    LSM_ASSERT(level->count > 0);
    lsm_level_cursor *cursor = lsm_calloc(1, sizeof(*cursor));
    if (cursor == NULL) {
        return NULL;
    }
    cursor->base.ops = &LEVEL_ITER_OPS;
    cursor->cache = cache;
    cursor->level = level;
    cursor->access = access;
    return &cursor->base;
}
