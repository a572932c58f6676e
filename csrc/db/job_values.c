/* SPDX-License-Identifier: Apache-2.0
 *
 * See job_values.h for the rules.
 */
#include "db/job_values.h"

#include "base/alloc.h"
#include "wal/wal.h"

static bool log_dead_locked(lsmkv_db *db, uint64_t number) LSM_REQUIRES(db->mu) {
    for (size_t i = 0; i < db->log_count; i++) {
        if (lsm_wal_number(db->logs[i].writer) == number) {
            return lsm_wal_dead(db->logs[i].writer);
        }
    }
    return true;
}

static uint64_t log_size_locked(lsmkv_db *db, uint64_t number) LSM_REQUIRES(db->mu) {
    for (size_t i = 0; i < db->log_count; i++) {
        if (lsm_wal_number(db->logs[i].writer) == number) {
            return lsm_wal_size(db->logs[i].writer);
        }
    }
    return 0;
}

/* The bytes of the large values that a flush keeps: the newest of each key for every
 * snapshot. */
static uint64_t kept_bytes(lsm_iter *iter, lsm_strata snapshots) {
    uint64_t bytes = 0;
    lsm_slice last = {NULL, 0};
    size_t last_stratum = 0;

    for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
        lsm_slice skey = lsm_ikey_skey(iter->key);
        uint64_t trailer = lsm_ikey_trailer(iter->key);
        uint8_t tag = lsm_trailer_tag(trailer);
        size_t stratum = lsm_stratum_of(snapshots, lsm_trailer_sequence(trailer));
        bool kept = last.data == NULL || stratum != last_stratum ||
                    !lsm_slice_equal(skey, last);

        last = skey; /* the memtable's bytes stay where they are */
        last_stratum = stratum;
        if (kept && lsm_tag_kind(tag) == LSM_KIND_POINTER) {
            bytes += lsm_pointer_of_field(tag, iter->value).size;
        }
    }
    return bytes;
}

lsmkv_status lsm_job_values_decide(lsm_job_values *values, lsm_memtable *mem,
                                   lsm_strata snapshots, lsmkv_error *err) {
    lsmkv_db *db = values->db;

    lsm_mutex_lock(&db->mu);
    bool dead = log_dead_locked(db, values->log->number);
    uint64_t size = log_size_locked(db, values->log->number);
    lsm_mutex_unlock(&db->mu);
    values->seals = false;
    if (dead || lsm_memtable_large_bytes(mem) < size / 2) {
        return LSMKV_OK;
    }
    lsm_iter *iter = lsm_memtable_iter(mem);
    if (iter == NULL) {
        return lsm_fail_memory(err, sizeof(*iter));
    }
    values->seals = kept_bytes(iter, snapshots) >= size / 2;
    lsm_iter_destroy(iter);
    return LSMKV_OK;
}

static bool is_moving(const lsm_job_values *values, uint64_t number) {
    size_t low = 0;
    size_t high = values->moving_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (values->moving[middle] < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < values->moving_count && values->moving[low] == number;
}

/* The segment that a value is copied out of; NULL: it stays. */
static lsm_segment *source_of(const lsm_job_values *values, uint64_t number) {
    for (size_t i = 0; i < values->source_count && !values->seals; i++) {
        if (values->sources[i]->number == number) {
            return values->sources[i];
        }
    }
    return is_moving(values, number) ? lsm_version_find_segment(values->version, number)
                                     : NULL;
}

static lsmkv_status add_segment(lsm_job_values *values, const lsm_edit_segment *info,
                                lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];

    if (lsm_edit_add_segment(values->edit, info)) {
        return LSMKV_OK;
    }
    if (info->kind == LSM_SEGMENT_VALUES) {
        lsm_filename_make(name, LSM_NAME_SEGMENT, info->number);
        lsm_ignore(lsm_dir_unlink(values->db->dir, name, NULL));
    }
    return lsm_fail_memory(err, sizeof(*info));
}

/* Completes the value file, if there is one. */
static lsmkv_status finish_file(lsm_job_values *values, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_edit_segment info = {0};

    if (values->writer == NULL) {
        return LSMKV_OK;
    }
    LSM_TRY(lsm_value_writer_finish(values->writer, &info, err));
    lsm_value_writer_destroy(values->writer);
    values->writer = NULL;
    atomic_fetch_add_explicit(&values->db->counters.segment_bytes_written, info.size,
                              memory_order_relaxed);
    LSM_TRY(add_segment(values, &info, err));
out:
    return status;
}

lsmkv_status lsm_job_values_place(lsm_job_values *values, uint8_t tag, lsm_slice field,
                                  lsm_slice *placed, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_pointer pointer = lsm_pointer_of_field(tag, field);
    lsm_segment *source = source_of(values, pointer.segment);
    size_t times = lsm_times_size(tag);
    lsm_slice value;
    lsmkv_error failure;
    bool tried = false;

    *placed = field;
    if (source == NULL) {
        return LSMKV_OK;
    }
    if (values->writer != NULL && values->file_bytes_max != 0 &&
        lsm_value_writer_size(values->writer) >= values->file_bytes_max) {
        LSM_TRY(finish_file(values, err));
    }
    if (values->writer == NULL) {
        LSM_TRY(lsm_db_create_values(values->db, &values->writer, err));
    }
    do {
        lsm_buf_clear(&values->value);
        status =
            lsm_segment_read(source, &pointer, false, &values->value, &value, &failure);
    } while (lsm_db_again(values->db, status, &failure, &tried));
    LSM_TRY(status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure));
    LSM_TRY(lsm_segment_check(source, &pointer, value, err));
    pointer.segment = lsm_value_writer_number(values->writer);
    LSM_TRY(lsm_value_writer_add(values->writer, value, &pointer.offset, err));
    memcpy(values->field, field.data, times);
    lsm_pointer_encode(&pointer, values->field + times);
    *placed = lsm_slice_make(values->field, field.size);
    values->copied_bytes += value.size;
out:
    return status;
}

lsmkv_status lsm_job_values_finish(lsm_job_values *values, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_edit_segment info = {0};

    if (values->seals) {
        LSM_TRY(lsm_log_seal(values->db, values->log, &info, err));
        return add_segment(values, &info, err);
    }
    if (values->source_count == 0) {
        atomic_fetch_add_explicit(&values->db->counters.relocated_bytes,
                                  values->copied_bytes, memory_order_relaxed);
    }
    LSM_TRY(finish_file(values, err));
out:
    return status;
}

void lsm_job_values_deinit(lsm_job_values *values) {
    lsm_value_writer_destroy(values->writer);
    lsm_buf_deinit(&values->value);
    lsm_free(values->moving);
    values->writer = NULL;
    values->moving = NULL;
    values->moving_count = 0;
}
