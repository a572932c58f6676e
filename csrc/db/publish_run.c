/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of a publish on their way into tables: gathered in memory, sorted, written
 * as runs, merged. See publish.h.
 *
 * Runs are merged MERGE_COUNT at a time when as many have been merged equally often, so
 * a row is written once per such step, log_16 of the number of runs, and not at all
 * again if all came in order.
 */
#include "db/publish.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "db/level_iter.h"
#include "format/filename.h"
#include "table/merge_iter.h"

enum {
    ROW_HEAD_SIZE = 9, /* key size u32, field size u32, tag u8 */
    ROWS_BYTES_MAX = 64 << 20,
    MERGE_COUNT = 16,
    ROWS_PER_STEP = 1024, /* of a merge, between looks at the world */
};

static lsm_slice row_key(const uint8_t *row) {
    return lsm_slice_make(row + ROW_HEAD_SIZE, lsm_get_u32(row));
}

static lsm_slice row_field(const uint8_t *row) {
    return lsm_slice_make(row + ROW_HEAD_SIZE + lsm_get_u32(row), lsm_get_u32(row + 4));
}

static uint64_t window_of(lsm_slice key) {
    uint8_t first[8] = {0};
    size_t size = key.size < sizeof(first) ? key.size : sizeof(first);

    if (size > 0) {
        memcpy(first, key.data, size);
    }
    return lsm_get_u64_be(first);
}

static int compare_keys(const lsm_publish_entry *a, const lsm_publish_entry *b) {
    if (a->window != b->window) {
        return a->window < b->window ? -1 : 1;
    }
    return lsm_slice_compare(row_key(a->row), row_key(b->row));
}

/* Rows of one key stay in the order in which they came, which is that in memory. */
static int compare_entries(const void *left, const void *right) {
    const lsm_publish_entry *a = left;
    const lsm_publish_entry *b = right;
    int order = compare_keys(a, b);

    return order != 0 ? order : (a->row > b->row) - (a->row < b->row);
}

static void unlink_table(lsmkv_db *db, uint64_t number) {
    char name[LSM_FILENAME_SIZE];

    lsm_filename_make(name, LSM_NAME_TABLE, number);
    lsm_ignore(lsm_dir_unlink(db->dir, name, NULL)); /* else the next open does */
}

/* Completes the table that is being written, which each run ends with. */
static lsmkv_status finish_table(lsmkv_publish *publish, lsm_publish_run *run,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_live_table *table = NULL;
    lsm_table_info info;

    LSM_ASSERT(publish->writer != NULL);
    void *tables = run->level.tables;
    bool ok = lsm_grow(&tables, &run->capacity, run->level.count + 1,
                       sizeof(lsm_live_table *));
    run->level.tables = tables;
    if (!ok) {
        LSM_TRY(lsm_fail_memory(err, sizeof(lsm_live_table *)));
    }
    LSM_TRY(lsm_table_writer_finish(publish->writer, &info, err));
    atomic_fetch_add(&publish->db->counters.flush_bytes_written, info.file_size);
    table = lsm_live_table_create(&info, &publish->sink);
    if (table == NULL) {
        unlink_table(publish->db, info.number);
        LSM_TRY(lsm_fail_memory(err, sizeof(*table)));
    }
    run->level.tables[run->level.count++] = table;
out:
    lsm_table_writer_destroy(publish->writer);
    publish->writer = NULL;
    return status;
}

/* Writes a row behind the others of a run. */
static lsmkv_status write_row(lsmkv_publish *publish, lsm_publish_run *run,
                              lsm_slice ikey, lsm_slice field, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    if (publish->writer != NULL &&
        lsm_table_writer_size(publish->writer) >= publish->db->options.table_bytes) {
        LSM_TRY(finish_table(publish, run, err));
    }
    if (publish->writer == NULL) {
        LSM_TRY(lsm_db_create_table(publish->db, &publish->writer, err));
    }
    LSM_TRY(lsm_table_writer_add(publish->writer, ikey, field, err));
out:
    return status;
}

static uint64_t sequence_of(const lsm_publish_run *run) {
    return (uint64_t)run->ordinal + 1;
}

/* Makes last_key the internal key of a row. */
static bool take_key(lsmkv_publish *publish, const lsm_publish_run *run,
                     const uint8_t *row) {
    lsm_buf *key = &publish->last_key;
    lsm_slice from = row_key(row);
    uint8_t head[LSM_NAMESPACE_SIZE];
    uint8_t tag = row[8];

    lsm_put_u32_be(head, publish->record.space.id);
    lsm_buf_clear(key);
    return lsm_buf_append(key, head, sizeof(head)) &&
           lsm_buf_append(key, from.data, from.size) &&
           lsm_buf_append_u64(key, lsm_trailer_make(sequence_of(run), tag));
}

static void drop_run(lsmkv_publish *publish, lsm_publish_run *run, bool unlinks) {
    for (size_t i = 0; i < run->level.count; i++) {
        lsm_live_table *table = run->level.tables[i];
        uint64_t number = table->info.number;
        lsm_live_table_unref(table);
        if (unlinks) {
            unlink_table(publish->db, number);
        }
    }
    lsm_free(run->level.tables);
    *run = (lsm_publish_run){0};
}

/* The runs from `first` on, newest first. */
static lsm_iter *open_runs(lsmkv_publish *publish, size_t first, lsmkv_error *err) {
    lsm_iter *children[LSM_PUBLISH_RUNS_MAX];
    size_t count = 0;

    for (size_t i = publish->run_count; i-- > first;) {
        lsm_iter *child = lsm_level_iter(&publish->db->table_cache,
                                         &publish->runs[i].level, LSM_ACCESS_SCAN);
        if (child == NULL) {
            break;
        }
        children[count++] = child;
    }
    bool all = count == publish->run_count - first;
    for (size_t i = 0; !all && i < count; i++) {
        lsm_iter_destroy(children[i]);
    }
    lsm_iter *iter = all ? lsm_merge_iter(children, count) : NULL;
    if (iter == NULL) {
        (void)lsm_fail_memory(err, sizeof(*iter));
    }
    return iter;
}

/* Writes the current row to `run` unless it has the key of the one before. */
static lsmkv_status merge_row(lsmkv_publish *publish, lsm_publish_run *run,
                              const lsm_iter *input, lsmkv_error *err) {
    lsm_buf *last = &publish->last_key;
    uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(input->key));

    if (last->size != 0 && lsm_slice_equal(lsm_ikey_skey(lsm_buf_slice(last)),
                                           lsm_ikey_skey(input->key))) {
        return LSMKV_OK;
    }
    lsm_buf_clear(last);
    /* unreachable: every row of a run had its key in there before */
    if (!lsm_buf_append(last, input->key.data, input->key.size)) {
        return lsm_fail_memory(err, input->key.size);
    }
    lsm_put_u64(last->data + last->size - LSM_TRAILER_SIZE,
                lsm_trailer_make(sequence_of(run), tag));
    return write_row(publish, run, lsm_buf_slice(last), input->value, err);
}

static lsmkv_status merge_rows(lsmkv_publish *publish, lsm_publish_run *run,
                               lsm_iter *input, uint64_t expected, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t seen = 0;

    lsm_epoch_token token = lsm_epoch_enter(&publish->db->epoch);
    for (lsm_iter_seek_first(input); input->valid; lsm_iter_next(input)) {
        LSM_TRY(merge_row(publish, run, input, err));
        seen += 1;
        if (seen % ROWS_PER_STEP == 0) {
            if (atomic_load(&publish->db->closing)) {
                LSM_TRY(lsm_fail(err, LSMKV_CLOSED, "the database is being closed"));
            }
            lsm_epoch_leave(token);
            token = lsm_epoch_enter(&publish->db->epoch);
        }
    }
    if (input->status != LSMKV_OK) {
        status = lsm_error_copy(err, &input->error);
    } else if (seen != expected) {
        status = lsm_fail(err, LSMKV_CORRUPTION,
                          "a publish read %llu rows back, and wrote %llu",
                          (unsigned long long)seen, (unsigned long long)expected);
    }
out:
    lsm_epoch_leave(token);
    return status;
}

/* Merges the runs from `first` on into one. */
static lsmkv_status merge_runs(lsmkv_publish *publish, size_t first, uint32_t ordinal,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_publish_run merged = {.ordinal = ordinal,
                              .tier = publish->runs[first].tier + 1};
    uint64_t expected = 0;
    lsm_iter *input = open_runs(publish, first, err);

    if (input == NULL) {
        return LSMKV_NO_MEMORY;
    }
    for (size_t i = first; i < publish->run_count; i++) {
        for (size_t k = 0; k < publish->runs[i].level.count; k++) {
            expected += publish->runs[i].level.tables[k]->info.entry_count;
        }
    }
    lsm_buf_clear(&publish->last_key);
    LSM_TRY(merge_rows(publish, &merged, input, expected, err));
    LSM_TRY(finish_table(publish, &merged, err));
out:
    lsm_iter_destroy(input);
    if (status != LSMKV_OK) {
        lsm_table_writer_destroy(publish->writer);
        publish->writer = NULL;
        drop_run(publish, &merged, true);
        return status;
    }
    while (publish->run_count > first) {
        drop_run(publish, &publish->runs[--publish->run_count], true);
    }
    publish->runs[publish->run_count++] = merged;
    return status;
}

/* Ends the last run, and keeps their number small. */
static lsmkv_status finish_run(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    if (publish->run_count == 0) {
        return LSMKV_OK;
    }
    publish->appending = false;
    LSM_TRY(finish_table(publish, &publish->runs[publish->run_count - 1], err));
    while (publish->run_count >= MERGE_COUNT &&
           publish->runs[publish->run_count - MERGE_COUNT].tier ==
               publish->runs[publish->run_count - 1].tier) {
        LSM_TRY(merge_runs(publish, publish->run_count - MERGE_COUNT,
                           publish->runs[publish->run_count - 1].ordinal, err));
    }
    if (publish->run_count == LSM_PUBLISH_RUNS_MAX) {
        LSM_TRY(
            merge_runs(publish, 0, publish->runs[publish->run_count - 1].ordinal, err));
    }
out:
    return status;
}

/* Whether rows from this one on may go on with the last run. */
static bool continues(const lsmkv_publish *publish, const uint8_t *row) {
    lsm_slice last = lsm_buf_slice(&publish->last_key);

    if (!publish->appending) {
        return false;
    }
    last = lsm_ikey_skey(last);
    last =
        lsm_slice_make(last.data + LSM_NAMESPACE_SIZE, last.size - LSM_NAMESPACE_SIZE);
    return lsm_slice_compare(last, row_key(row)) < 0;
}

/* Writes the gathered rows as a run, or on to the last one. */
static lsmkv_status spill(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_publish_entry *entries = publish->entries;

    if (publish->entry_count == 0) {
        return LSMKV_OK;
    }
    if (publish->unordered) {
        qsort(publish->entries, publish->entry_count, sizeof(*publish->entries),
              compare_entries);
    }
    if (!continues(publish, entries[0].row)) {
        LSM_TRY(finish_run(publish, err));
        publish->runs[publish->run_count++] =
            (lsm_publish_run){.ordinal = publish->next_ordinal++};
        publish->appending = true;
    }
    lsm_publish_run *run = &publish->runs[publish->run_count - 1];
    for (size_t i = 0; i < publish->entry_count; i++) {
        if (i + 1 < publish->entry_count &&
            compare_keys(&entries[i], &entries[i + 1]) == 0) {
            continue; /* a later one wins */
        }
        if (!take_key(publish, run, entries[i].row)) {
            LSM_TRY(lsm_fail_memory(err, row_key(entries[i].row).size));
        }
        LSM_TRY(write_row(publish, run, lsm_buf_slice(&publish->last_key),
                          row_field(entries[i].row), err));
    }
    publish->entry_count = 0;
    publish->rows_size = 0;
    publish->unordered = false;
out:
    return status;
}

/* Gives back the memory that rows are gathered in. */
static void free_rows(lsmkv_publish *publish) {
    lsm_db_charge_rows(publish->db, publish->rows_capacity, 0);
    lsm_free(publish->rows);
    publish->rows = NULL;
    publish->rows_size = 0;
    publish->rows_capacity = 0;
}

/* Exchanges that memory for as much as is wanted. */
static lsmkv_status reserve_rows(lsmkv_publish *publish, size_t capacity,
                                 lsmkv_error *err) {
    free_rows(publish);
    publish->rows = lsm_alloc(capacity);
    if (publish->rows == NULL) {
        return lsm_fail_memory(err, capacity);
    }
    publish->rows_capacity = capacity;
    lsm_db_charge_rows(publish->db, 0, capacity);
    return LSMKV_OK;
}

/* Room for a row of that size. */
static lsmkv_status make_room(lsmkv_publish *publish, size_t size, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t usual = publish->db->options.memtable_bytes;
    void *entries = publish->entries;

    if (publish->rows_capacity - publish->rows_size < size) {
        LSM_TRY(spill(publish, err));
    }
    if (publish->rows_capacity < size) {
        size_t capacity = usual < ROWS_BYTES_MAX ? (size_t)usual : ROWS_BYTES_MAX;
        LSM_TRY(reserve_rows(publish, capacity < size ? size : capacity, err));
    }
    bool ok = lsm_grow(&entries, &publish->entry_capacity, publish->entry_count + 1,
                       sizeof(*publish->entries));
    publish->entries = entries;
    if (!ok) {
        LSM_TRY(lsm_fail_memory(err, sizeof(*publish->entries)));
    }
out:
    return status;
}

/* Completes the value file that is being written, if there is one. */
static lsmkv_status finish_values(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_edit_segment info = {0};
    char name[LSM_FILENAME_SIZE];

    if (publish->values == NULL) {
        return LSMKV_OK;
    }
    LSM_TRY(lsm_value_writer_finish(publish->values, &info, err));
    atomic_fetch_add_explicit(&publish->db->counters.segment_bytes_written, info.size,
                              memory_order_relaxed);
    if (!lsm_edit_add_segment(&publish->edit, &info)) {
        lsm_filename_make(name, LSM_NAME_SEGMENT, info.number);
        lsm_ignore(lsm_dir_unlink(publish->db->dir, name, NULL));
        LSM_TRY(lsm_fail_memory(err, sizeof(info)));
    }
out:
    lsm_value_writer_destroy(publish->values);
    publish->values = NULL;
    return status;
}

/* Writes a large value to a value file. */
static lsmkv_status place(lsmkv_publish *publish, lsm_slice value, lsm_pointer *pointer,
                          lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_db *db = publish->db;

    if (publish->values != NULL &&
        lsm_value_writer_size(publish->values) >= db->options.log_bytes) {
        LSM_TRY(finish_values(publish, err));
    }
    if (publish->values == NULL) {
        LSM_TRY(lsm_db_create_values(db, &publish->values, err));
    }
    *pointer = (lsm_pointer){.segment = lsm_value_writer_number(publish->values),
                             .checksum = lsm_xxh3(value.data, value.size),
                             .size = (uint32_t)value.size};
    LSM_TRY(lsm_value_writer_add(publish->values, value, &pointer->offset, err));
out:
    return status;
}

lsmkv_status lsm_publish_add(lsmkv_publish *publish, lsmkv_bytes key, uint8_t tag,
                             lsm_slice times, lsm_slice bytes, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint8_t encoded[LSM_POINTER_SIZE];
    lsm_pointer pointer;

    if (bytes.size != 0 && bytes.size >= publish->threshold) {
        LSM_TRY(place(publish, bytes, &pointer, err));
        lsm_pointer_encode(&pointer, encoded);
        bytes = lsm_slice_make(encoded, sizeof(encoded));
        tag = (uint8_t)((tag & ~LSM_TAG_KIND_MASK) | LSM_KIND_POINTER);
    }
    size_t field_size = times.size + bytes.size;
    LSM_TRY(make_room(publish, ROW_HEAD_SIZE + key.size + field_size, err));
    uint8_t *row = publish->rows + publish->rows_size;
    uint8_t *to = row + ROW_HEAD_SIZE;
    lsm_put_u32(row, (uint32_t)key.size);
    lsm_put_u32(row + 4, (uint32_t)field_size);
    row[8] = tag;
    const lsm_slice parts[] = {lsm_slice_make(key.data, key.size), times, bytes};
    for (size_t i = 0; i < LSM_ARRAY_COUNT(parts); i++) {
        if (parts[i].size > 0) {
            memcpy(to, parts[i].data, parts[i].size);
        }
        to += parts[i].size;
    }
    lsm_publish_entry *entry = &publish->entries[publish->entry_count];
    *entry = (lsm_publish_entry){window_of(row_key(row)), row};
    publish->unordered |=
        publish->entry_count > 0 && compare_keys(entry - 1, entry) > 0;
    publish->entry_count += 1;
    publish->rows_size += (size_t)(to - row);
out:
    return status;
}

lsmkv_status lsm_publish_gather(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    LSM_TRY(spill(publish, err));
    LSM_TRY(finish_run(publish, err));
    LSM_TRY(finish_values(publish, err));
    free_rows(publish);
    if (publish->run_count > 1 ||
        (publish->run_count == 1 && publish->runs[0].ordinal != 0)) {
        LSM_TRY(merge_runs(publish, 0, 0, err));
    }
out:
    return status;
}

void lsm_publish_drop_runs(lsmkv_publish *publish, bool unlinks) {
    char name[LSM_FILENAME_SIZE];

    lsm_table_writer_destroy(publish->writer);
    lsm_value_writer_destroy(publish->values);
    publish->writer = NULL;
    publish->values = NULL;
    while (publish->run_count > 0) {
        drop_run(publish, &publish->runs[--publish->run_count], unlinks);
    }
    for (size_t i = 0; unlinks && i < publish->edit.segment_count; i++) {
        lsm_filename_make(name, LSM_NAME_SEGMENT, publish->edit.segments[i].number);
        lsm_ignore(lsm_dir_unlink(publish->db->dir, name, NULL));
    }
    lsm_edit_deinit(&publish->edit);
    lsm_edit_init(&publish->edit);
    free_rows(publish);
    lsm_free(publish->entries);
    publish->entries = NULL;
    publish->entry_count = publish->entry_capacity = 0;
}
