/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a user's iterator, and copying rows out of it in chunks.
 */
#include "base/alloc.h"
#include "db/db_iter.h"
#include "db/level_iter.h"
#include "table/merge_iter.h"

enum { FILL_BYTES_DEFAULT = 64 << 10 };

typedef struct lsm_children {
    lsm_iter **array;
    size_t count;
} lsm_children;

static bool add(lsm_children *children, lsm_iter *child) {
    if (child == NULL) {
        return false;
    }
    children->array[children->count++] = child;
    return true;
}

static bool overlaps(const lsm_live_table *live, lsm_slice start, lsm_slice stop) {
    return lsm_range_overlaps(lsm_live_table_range(live),
                              (lsm_key_range){start, stop, true});
}

static lsmkv_status add_tables(lsmkv_iter *iter, lsm_children *children,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_version *version = iter->state->version;
    const lsm_level *level0 = &version->levels[0];

    for (size_t i = 0; i < level0->count; i++) {
        lsm_table *table;
        if (!overlaps(level0->tables[i], lsm_buf_slice(&iter->start),
                      lsm_buf_slice(&iter->stop))) {
            continue;
        }
        LSM_TRY(lsm_table_cache_get(&iter->db->table_cache, level0->tables[i], false,
                                    &table, err));
        if (!add(children, lsm_table_iter(table, LSM_ACCESS_CACHED))) {
            LSM_TRY(lsm_fail_memory(err, sizeof(lsm_iter)));
        }
    }
    for (size_t i = 1; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &version->levels[i];
        if (level->count > 0 &&
            !add(children,
                 lsm_level_iter(&iter->db->table_cache, level, LSM_ACCESS_CACHED))) {
            LSM_TRY(lsm_fail_memory(err, sizeof(lsm_iter)));
        }
    }
out:
    return status;
}

/* Adds the range deletes of the tables of a level. */
static lsmkv_status list_level(lsmkv_iter *iter, const lsm_level *level,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    for (size_t i = 0; i < level->count; i++) {
        lsm_live_table *live = level->tables[i];
        lsm_table *table;
        if (LSM_LIKELY(live->info.range_delete_count == 0) ||
            !overlaps(live, lsm_buf_slice(&iter->start), lsm_buf_slice(&iter->stop))) {
            continue;
        }
        LSM_TRY(lsm_table_cache_get(&iter->db->table_cache, live, false, &table, err));
        if (!lsm_range_list_add_set(&iter->range_list, lsm_table_ranges(table))) {
            LSM_TRY(lsm_fail_memory(err, sizeof(lsm_tombstone)));
        }
    }
out:
    return status;
}

/* Gathers the range deletes that the iterator will need, of all its sources. */
static lsmkv_status gather_ranges(lsmkv_iter *iter, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_readstate *state = iter->state;
    const lsm_strata strata = {&iter->sequence, 1};

    iter->range_list.start = lsm_buf_slice(&iter->start);
    iter->range_list.stop = lsm_buf_slice(&iter->stop);
    iter->range_list.sequence_max = iter->sequence;
    iter->range_list.newest_only = true;
    bool ok = lsm_memtable_list_ranges(state->mem, &iter->range_list);
    for (size_t i = 0; ok && i < state->immutable_count; i++) {
        ok = lsm_memtable_list_ranges(state->immutables[i], &iter->range_list);
    }
    for (size_t i = 0; ok && i < LSMKV_LEVEL_COUNT; i++) {
        LSM_TRY(list_level(iter, &state->version->levels[i], err));
    }
    if (ok && iter->range_list.count > 0) {
        iter->ranges = lsm_range_set_build(iter->range_list.items,
                                           iter->range_list.count, &strata);
        ok = iter->ranges != NULL;
    }
    if (!ok) {
        status = lsm_fail_memory(err, sizeof(lsm_tombstone));
    }
out:
    return status;
}

static lsmkv_status open_inner(lsmkv_iter *iter, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_readstate *state = iter->state;
    size_t most = 1 + state->immutable_count + state->version->levels[0].count +
                  LSMKV_LEVEL_COUNT;
    lsm_children children = {lsm_calloc(most, sizeof(lsm_iter *)), 0};

    if (children.array == NULL) {
        return lsm_fail_memory(err, most * sizeof(lsm_iter *));
    }
    bool ok = add(&children, lsm_memtable_iter(state->mem));
    for (size_t i = 0; ok && i < state->immutable_count; i++) {
        ok = add(&children, lsm_memtable_iter(state->immutables[i]));
    }
    if (!ok) {
        LSM_TRY(lsm_fail_memory(err, sizeof(lsm_iter)));
    }
    LSM_TRY(add_tables(iter, &children, err));
    iter->inner = lsm_merge_iter(children.array, children.count);
    children.count = 0;
    if (iter->inner == NULL) {
        status = lsm_fail_memory(err, sizeof(lsm_iter));
    }
out:
    for (size_t i = 0; i < children.count; i++) {
        lsm_iter_destroy(children.array[i]);
    }
    lsm_free(children.array);
    return status;
}

lsmkv_status lsm_db_iter_create(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                lsm_slice start, lsm_slice stop, lsmkv_iter **iterp,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_iter *iter = lsm_calloc(1, sizeof(*iter));

    *iterp = NULL;
    if (iter == NULL) {
        return lsm_fail_memory(err, sizeof(*iter));
    }
    iter->db = db;
    lsm_db_ref(db);
    lsm_error_clear(&iter->error);
    lsm_range_list_init(&iter->range_list);
    iter->state = lsm_db_state_of(db, snapshot);
    lsm_readstate_ref(iter->state);
    iter->sequence = snapshot != NULL ? snapshot->sequence : lsm_db_published(db);
    if (!lsm_buf_append(&iter->start, start.data, start.size) ||
        !lsm_buf_append(&iter->stop, stop.data, stop.size)) {
        LSM_TRY(lsm_fail_memory(err, start.size + stop.size));
    }
    LSM_TRY(gather_ranges(iter, err));
    LSM_TRY(open_inner(iter, err));
    *iterp = iter;
    iter = NULL;
out:
    lsm_db_iter_destroy(iter);
    return status;
}

void lsm_db_iter_destroy(lsmkv_iter *iter) {
    if (iter == NULL) {
        return;
    }
    lsmkv_db *db = iter->db;
    lsm_iter_destroy(iter->inner);
    lsm_readstate_unref(iter->state);
    lsm_range_set_destroy(iter->ranges);
    lsm_range_list_deinit(&iter->range_list);
    lsm_buf_deinit(&iter->start);
    lsm_buf_deinit(&iter->stop);
    lsm_buf_deinit(&iter->skey_copy);
    lsm_buf_deinit(&iter->value_copy);
    lsm_buf_deinit(&iter->large);
    lsm_buf_deinit(&iter->target);
    lsm_buf_deinit(&iter->chunk);
    lsm_free(iter->rows);
    lsm_free(iter->times);
    lsm_free(iter);
    lsm_db_unref(db);
}

/* Notes the times of the row shown. false: no memory. */
static bool note_times(lsmkv_iter *iter, size_t count) {
    lsm_slice field =
        iter->reverse ? lsm_buf_slice(&iter->value_copy) : iter->inner->value;
    bool expires = (iter->tag & LSM_TAG_EXPIRES) != 0;
    bool fresh = (iter->tag & LSM_TAG_FRESH) != 0;
    void *times = iter->times;

    if (!lsm_grow(&times, &iter->times_capacity, count + 1, sizeof(*iter->times))) {
        return false;
    }
    iter->times = times;
    iter->times[count] = (lsmkv_row_times){
        .expire_at_ms = expires ? lsm_get_u64(field.data) : 0,
        .fresh_until_ms = fresh ? lsm_get_u64(field.data + (expires ? 8 : 0)) : 0,
    };
    return true;
}

/* Copies the row shown. false: no memory, nothing added. */
static bool copy_row(lsmkv_iter *iter, size_t count, bool keys_only) {
    void *rows = iter->rows;
    size_t key_size = iter->skey.size - LSM_NAMESPACE_SIZE;
    size_t value_size = keys_only ? 0 : iter->value.size;
    if (!lsm_grow(&rows, &iter->row_capacity, count + 1, sizeof(*iter->rows))) {
        return false;
    }
    iter->rows = rows;
    if (!lsm_buf_reserve(&iter->chunk, key_size + value_size)) {
        return false;
    }
    lsmkv_row *row = &iter->rows[count];
    row->key_offset = iter->chunk.size;
    row->key_size = key_size;
    row->value_offset = iter->chunk.size + key_size;
    row->value_size = value_size;
    uint8_t *to = iter->chunk.data + iter->chunk.size;
    if (key_size > 0) {
        memcpy(to, iter->skey.data + LSM_NAMESPACE_SIZE, key_size);
    }
    if (value_size > 0) {
        memcpy(to + key_size, iter->value.data, value_size);
    }
    iter->chunk.size += key_size + value_size;
    return true;
}

lsmkv_status lsm_db_iter_fill(lsmkv_iter *iter, const lsmkv_fill *fill,
                              lsmkv_chunk *chunk, lsmkv_error *err) {
    size_t row_max = fill->row_max == 0 ? SIZE_MAX : fill->row_max;
    size_t byte_max = fill->byte_max == 0 ? FILL_BYTES_DEFAULT : fill->byte_max;
    size_t count = 0;
    bool no_memory = false;

    lsm_db_iter_begin(iter);
    lsm_buf_clear(&iter->chunk);
    iter->keys_only = fill->keys_only;
    if (!iter->positioned) {
        (fill->reverse ? lsm_db_iter_seek_last : lsm_db_iter_seek_first)(iter);
    }
    if (lsm_db_iter_stale(iter)) {
        (fill->reverse ? lsm_db_iter_prev : lsm_db_iter_next)(iter);
    }
    if (iter->valid && !fill->keys_only) {
        lsm_db_iter_load(iter); /* keys alone were asked for before */
    }
    while (iter->valid && count < row_max &&
           (count == 0 || iter->chunk.size < byte_max)) {
        if (!copy_row(iter, count, fill->keys_only) ||
            (fill->with_times && !note_times(iter, count))) {
            no_memory = true;
            break;
        }
        count += 1;
        (fill->reverse ? lsm_db_iter_prev : lsm_db_iter_next)(iter);
    }
    iter->keys_only = false;
    *chunk = (lsmkv_chunk){(const char *)iter->chunk.data, iter->rows,
                           fill->with_times ? iter->times : NULL, count};
    if (count > 0) {
        return LSMKV_OK; /* what went wrong behind them is the next call's */
    }
    if (no_memory) { /* an error like any other: it lasts until the next seek */
        iter->valid = false;
        iter->status = lsm_fail_memory(&iter->error, 0);
    }
    return iter->status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &iter->error);
}
