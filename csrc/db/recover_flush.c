/* SPDX-License-Identifier: Apache-2.0
 *
 * The last part of recovery, and undoing it; see recover.h.
 */
#include "base/alloc.h"
#include "db/job_values.h"
#include "db/recover.h"
#include "format/filename.h"
#include "table/table_writer.h"

/* Writes the range deletes of a memtable. There are no snapshots yet, so what counts is
 * the newest one over each key. */
static lsmkv_status write_ranges(const lsm_memtable *mem, lsm_table_writer *writer,
                                 lsmkv_error *err) {
    static const uint64_t newest = LSM_SEQUENCE_MAX;
    const lsm_strata strata = {&newest, 1};
    lsmkv_status status = LSMKV_OK;
    lsm_range_set *set = NULL;
    lsm_range_list list;

    lsm_range_list_init(&list);
    if (lsm_memtable_list_ranges(mem, &list)) {
        set = lsm_range_set_build(list.items, list.count, &strata);
    }
    if (set == NULL) {
        status = lsm_fail_memory(err, sizeof(lsm_tombstone));
    }
    for (size_t i = 0; status == LSMKV_OK && i < set->count; i++) {
        lsm_range_span span = lsm_range_span_of(set, i);
        status = lsm_table_writer_add_range(writer, &span, err);
    }
    lsm_range_set_destroy(set);
    lsm_range_list_deinit(&list);
    return status;
}

/* Adds an entry, with its large value copied. */
static lsmkv_status flush_entry(lsm_table_writer *writer, lsm_job_values *values,
                                const lsm_iter *iter, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(iter->key));
    lsm_slice field = iter->value;

    if (lsm_tag_kind(tag) == LSM_KIND_POINTER) {
        LSM_TRY(lsm_job_values_place(values, tag, field, &field, err));
    }
    LSM_TRY(lsm_table_writer_add(writer, iter->key, field, err));
out:
    return status;
}

static lsmkv_status flush_one(lsmkv_db *db, lsm_memtable *mem, uint64_t number,
                              lsm_job_values *values, lsm_edit *edit,
                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_slice last = {NULL, 0};
    lsm_table_writer *writer = NULL;
    lsm_table_info info;
    lsm_table_write_options how;
    lsm_iter *iter = lsm_memtable_iter(mem);

    if (iter == NULL) {
        return lsm_fail_memory(err, sizeof(*iter));
    }
    lsm_db_table_options(db, lsm_rng_next(&db->rng), &how);
    LSM_TRY(lsm_table_writer_create(db->dir, number, &how, &writer, err));
    for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
        lsm_slice skey = lsm_ikey_skey(iter->key);
        /* There are no snapshots yet: the newest version is all that is needed. */
        if (last.data == NULL || !lsm_slice_equal(skey, last)) {
            LSM_TRY(flush_entry(writer, values, iter, err));
        }
        last = skey; /* the memtable's bytes stay where they are */
    }
    if (lsm_memtable_range_count(mem) != 0) {
        LSM_TRY(write_ranges(mem, writer, err));
    }
    LSM_TRY(lsm_table_writer_finish(writer, &info, err));
    if (!lsm_edit_add_table(edit, 0, &info)) {
        status = lsm_fail_memory(err, sizeof(info));
    }
out:
    lsm_iter_destroy(iter);
    lsm_table_writer_destroy(writer);
    return status;
}

lsmkv_status lsm_recovery_flush(lsmkv_db *db, lsm_recovery *recovery, lsm_edit *edit,
                                lsmkv_error *err) LSM_UNSHARED {
    lsmkv_status status = LSMKV_OK;
    lsm_job_values values = {.db = db,
                             .edit = edit,
                             .sources = recovery->segments,
                             .source_count = recovery->segment_count};

    for (size_t i = 0; i < recovery->count; i++) {
        void *written = recovery->written;
        uint64_t number = db->next_file++;
        bool ok = lsm_grow(&written, &recovery->written_capacity, i + 1,
                           sizeof(*recovery->written));
        LSM_TRY(ok ? LSMKV_OK : lsm_fail_memory(err, sizeof(*recovery->written)));
        recovery->written = written;
        recovery->written[recovery->written_count++] = number;
        LSM_TRY(flush_one(db, recovery->memtables[i].mem, number, &values, edit, err));
    }
    LSM_TRY(lsm_job_values_finish(&values, err));
    recovery->written_segment = edit->segment_count > 0 ? edit->segments[0].number : 0;
    if (recovery->count > 0) {
        LSM_TRY(lsm_dir_sync(db->dir, err));
    }
out:
    lsm_job_values_deinit(&values);
    return status;
}

void lsm_recovery_undo(lsmkv_db *db, const lsm_recovery *recovery) {
    char name[LSM_FILENAME_SIZE];
    for (size_t i = 0; i < recovery->written_count; i++) {
        lsm_filename_make(name, LSM_NAME_TABLE, recovery->written[i]);
        lsm_ignore(lsm_dir_unlink(db->dir, name, NULL));
    }
    if (recovery->written_segment != 0) {
        lsm_filename_make(name, LSM_NAME_SEGMENT, recovery->written_segment);
        lsm_ignore(lsm_dir_unlink(db->dir, name, NULL));
    }
}
