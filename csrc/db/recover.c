/* SPDX-License-Identifier: Apache-2.0
 *
 * See recover.h for the rules.
 */
#include "db/recover.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "db/job_values.h"
#include "format/filename.h"
#include "table/table_writer.h"

enum { EMPTY_MEMTABLE_BYTES = 1024 };

typedef struct lsm_replay {
    lsmkv_db *db;
    lsm_recovery *recovery;
} lsm_replay;

static int compare_logs(const void *a, const void *b) {
    return lsm_compare_u64(((const lsm_replay_log *)a)->number,
                           ((const lsm_replay_log *)b)->number);
}

static const lsm_edit_log *recorded_log(const lsm_manifest_state *state,
                                        uint64_t number) {
    for (size_t i = 0; i < state->log_count; i++) {
        if (state->logs[i].number == number) {
            return &state->logs[i];
        }
    }
    return NULL;
}

static lsmkv_status list_logs(const lsmkv_db *db, const lsm_manifest_state *state,
                              lsm_recovery *recovery, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_namelist list = {0};

    LSM_TRY(lsm_dir_list(db->dir, &list, err));
    for (size_t i = 0; i < list.count; i++) {
        uint64_t number;
        void *logs = recovery->logs;
        if (lsm_filename_parse(list.names[i], &number) != LSM_NAME_LOG ||
            number < state->first_log) {
            continue;
        }
        bool ok = lsm_grow(&logs, &recovery->log_capacity, recovery->log_count + 1,
                           sizeof(*recovery->logs));
        LSM_TRY(ok ? LSMKV_OK : lsm_fail_memory(err, sizeof(*recovery->logs)));
        recovery->logs = logs;
        recovery->logs[recovery->log_count++] =
            (lsm_replay_log){number, recorded_log(state, number) != NULL, false, NULL};
    }
    if (recovery->log_count > 1) {
        qsort(recovery->logs, recovery->log_count, sizeof(*recovery->logs),
              compare_logs);
    }
out:
    lsm_namelist_deinit(&list);
    return status;
}

static bool has_log(const lsm_recovery *recovery, uint64_t number) {
    for (size_t i = 0; i < recovery->log_count; i++) {
        if (recovery->logs[i].number == number) {
            return true;
        }
    }
    return false;
}

static lsmkv_status check_presence(const lsm_recovery *recovery,
                                   const lsm_manifest_state *state, lsmkv_error *err) {
    for (size_t i = 0; i < state->log_count; i++) {
        if (!has_log(recovery, state->logs[i].number)) {
            char name[LSM_FILENAME_SIZE];
            lsm_filename_make(name, LSM_NAME_LOG, state->logs[i].number);
            return lsm_fail_at(err, LSMKV_CORRUPTION, name, -1,
                               "the log is missing, but the MANIFEST says that it "
                               "holds synced writes; restore the file");
        }
    }
    return LSMKV_OK;
}

static lsmkv_status open_log(const lsmkv_db *db, lsm_replay_log *log,
                             const lsm_manifest_state *state, lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];
    const lsm_edit_log *recorded = recorded_log(state, log->number);
    lsm_wal_expect expect = {.type = LSM_FILE_LOG,
                             .uuid = state->uuid,
                             .number = log->number,
                             .file_id = recorded != NULL ? recorded->file_id : 0};
    lsm_filename_make(name, LSM_NAME_LOG, log->number);
    lsmkv_status status =
        lsm_wal_open(db->dir, name, &expect, &log->reader, &log->torn, err);
    if (status == LSMKV_CORRUPTION && log->torn && !log->recorded) {
        lsm_error_clear(err);
        return LSMKV_OK; /* nothing in it was ever acknowledged as synced */
    }
    return status;
}

/* The memtable with room for the plan, a new one if need be. */
static lsmkv_status room_for(lsm_replay *replay, const lsm_mem_plan *plan,
                             lsm_memtable **memp, lsmkv_error *err) {
    lsm_recovery *recovery = replay->recovery;
    lsm_memtable *last =
        recovery->count > 0 ? recovery->memtables[recovery->count - 1] : NULL;
    if (last != NULL && plan->bytes <= lsm_memtable_left(last)) {
        *memp = last;
        return LSMKV_OK;
    }
    uint64_t capacity = replay->db->options.memtable_bytes;
    if (capacity < plan->bytes) {
        capacity = plan->bytes;
    }
    void *memtables = recovery->memtables;
    if (!lsm_grow(&memtables, &recovery->capacity, recovery->count + 1,
                  sizeof(*recovery->memtables))) {
        return lsm_fail_memory(err, sizeof(*recovery->memtables));
    }
    recovery->memtables = memtables;
    *memp = lsm_memtable_create(capacity, lsm_rng_next(&replay->db->rng));
    if (*memp == NULL) {
        return lsm_fail_memory(err, (size_t)capacity);
    }
    recovery->memtables[recovery->count++] = *memp;
    return LSMKV_OK;
}

/* Makes the log known as a file that pointers lead into. */
static lsmkv_status add_segment(lsm_replay *replay, const lsm_replay_log *log,
                                lsmkv_error *err) {
    lsm_recovery *recovery = replay->recovery;
    size_t count = recovery->segment_count;
    void *segments = recovery->segments;
    uint64_t file_size = lsm_wal_end(log->reader) + lsm_wal_dropped(log->reader);

    if (count > 0 && recovery->segments[count - 1]->number == log->number) {
        return LSMKV_OK;
    }
    if (!lsm_grow(&segments, &recovery->segment_capacity, count + 1,
                  sizeof(*recovery->segments))) {
        return lsm_fail_memory(err, sizeof(*recovery->segments));
    }
    recovery->segments = segments;
    recovery->segments[count] =
        lsm_segment_create_log(&replay->db->segments, log->number,
                               lsm_wal_header(log->reader)->file_id, file_size);
    if (recovery->segments[count] == NULL) {
        return lsm_fail_memory(err, sizeof(lsm_segment));
    }
    atomic_store(&recovery->segments[count]->keeps_name, true); /* the sweep's */
    recovery->segment_count = count + 1;
    return LSMKV_OK;
}

/* Inserts one record. *past: it lies beyond `limit`, where a failed write may be. */
static lsmkv_status replay_record(lsm_replay *replay, const lsm_replay_log *log,
                                  const lsm_record *record, uint64_t limit, bool *past,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    char name[LSM_FILENAME_SIZE];
    lsm_recovery *recovery = replay->recovery;
    lsm_mem_plan plan = {0};
    lsm_batch_reader reader;
    lsm_memtable *mem;

    lsm_filename_make(name, LSM_NAME_LOG, log->number);
    if (!lsm_batch_reader_init(&reader, record->payload)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, name, (int64_t)record->offset,
                           "expected a batch, found a record of %zu bytes",
                           record->payload.size);
    }
    *past = reader.sequence > limit;
    if (*past) {
        return LSMKV_OK;
    }
    if (reader.sequence != recovery->last_sequence + 1) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, name, (int64_t)record->offset,
                           "expected sequence %llu, found %llu",
                           (unsigned long long)(recovery->last_sequence + 1),
                           (unsigned long long)reader.sequence);
    }
    status = lsm_mem_plan_init(&plan, record->payload, err);
    if (status == LSMKV_INVALID_ARGUMENT) {
        status = lsm_fail_at(err, LSMKV_CORRUPTION, name, (int64_t)record->offset,
                             "malformed batch");
    }
    LSM_TRY(status);
    LSM_TRY(room_for(replay, &plan, &mem, err));
    if (plan.large_bytes != 0) {
        LSM_TRY(add_segment(replay, log, err));
        plan.log_number = log->number;
        plan.log_offset = record->offset;
    }
    lsm_memtable_insert(mem, &plan, reader.sequence);
    if (reader.time_ms > recovery->time_ms) {
        recovery->time_ms = reader.time_ms;
    }
    recovery->last_sequence += plan.sequence_count;
    recovery->records += plan.sequence_count;
out:
    lsm_mem_plan_deinit(&plan);
    return status;
}

static lsmkv_status replay_log(lsm_replay *replay, const lsm_replay_log *log,
                               uint64_t limit, lsmkv_error *err) {
    lsm_record record;
    bool past = false;
    lsmkv_status status = LSMKV_OK;

    while (status == LSMKV_OK && !past) {
        status = lsm_wal_next(log->reader, &record, err);
        if (status == LSMKV_OK) {
            status = replay_record(replay, log, &record, limit, &past, err);
        }
    }
    if (status == LSMKV_NOT_FOUND) {
        replay->recovery->dropped_bytes += lsm_wal_dropped(log->reader);
        status = LSMKV_OK;
    }
    return status;
}

/* Where replay of a log must stop: what the next readable log says came before it. */
static uint64_t limit_of(const lsm_recovery *recovery, size_t index) {
    for (size_t i = index + 1; i < recovery->log_count; i++) {
        if (recovery->logs[i].reader != NULL) {
            return lsm_wal_header(recovery->logs[i].reader)->previous_sequence;
        }
    }
    return LSM_SEQUENCE_MAX;
}

/* A log that begins after a hole: fine if nothing in it was synced. */
static lsmkv_status check_unsynced(const lsm_replay *replay, const lsm_replay_log *log,
                                   lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];
    if (!log->recorded && lsm_wal_highest_mark(log->reader) == 0) {
        return LSMKV_OK;
    }
    lsm_filename_make(name, LSM_NAME_LOG, log->number);
    return lsm_fail_at(
        err, LSMKV_CORRUPTION, name, 0,
        "the log holds synced writes from sequence %llu on, but the logs before it end "
        "at %llu",
        (unsigned long long)lsm_wal_header(log->reader)->previous_sequence + 1,
        (unsigned long long)replay->recovery->last_sequence);
}

/* Reads a log after a hole to its end, only to learn whether it has marks. */
static lsmkv_status skip_log(const lsm_replay *replay, const lsm_replay_log *log,
                             lsmkv_error *err) {
    lsm_record record;
    lsmkv_status status = LSMKV_OK;
    while (status == LSMKV_OK) {
        status = lsm_wal_next(log->reader, &record, err);
    }
    return status == LSMKV_NOT_FOUND ? check_unsynced(replay, log, err) : status;
}

static lsmkv_status replay_all(lsm_replay *replay, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_recovery *recovery = replay->recovery;
    bool hole = false;

    for (size_t i = 0; i < recovery->log_count; i++) {
        const lsm_replay_log *log = &recovery->logs[i];
        if (log->reader == NULL) {
            continue;
        }
        uint64_t begins = lsm_wal_header(log->reader)->previous_sequence;
        hole = hole || begins != recovery->last_sequence;
        if (hole) {
            LSM_TRY(skip_log(replay, log, err));
        } else {
            LSM_TRY(replay_log(replay, log, limit_of(recovery, i), err));
        }
    }
out:
    return status;
}

lsmkv_status lsm_recovery_open(lsmkv_db *db, const lsm_manifest_state *state,
                               lsm_recovery *recovery, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    memset(recovery, 0, sizeof(*recovery));
    recovery->last_sequence = state->last_sequence;
    LSM_TRY(list_logs(db, state, recovery, err));
    LSM_TRY(check_presence(recovery, state, err));
    for (size_t i = recovery->log_count; i > 0; i--) {
        LSM_TRY(open_log(db, &recovery->logs[i - 1], state, err));
    }
out:
    return status;
}

lsmkv_status lsm_recovery_replay(lsmkv_db *db, lsm_recovery *recovery,
                                 lsmkv_error *err) {
    lsm_replay replay = {.db = db, .recovery = recovery};
    return replay_all(&replay, err);
}

void lsm_recovery_close_logs(lsm_recovery *recovery) {
    for (size_t i = 0; i < recovery->log_count; i++) {
        lsm_wal_reader_close(recovery->logs[i].reader);
    }
    lsm_free(recovery->logs);
    recovery->logs = NULL;
    recovery->log_count = 0;
    recovery->log_capacity = 0;
}

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

lsmkv_status lsm_recovery_publish(lsmkv_db *db, const lsm_recovery *recovery,
                                  lsmkv_error *err) LSM_UNSHARED {
    size_t count = recovery->count;
    lsm_memtable *newest = NULL;
    lsm_readstate *state = lsm_readstate_alloc(count, recovery->segment_count);

    if (count > 0) {
        newest = recovery->memtables[count - 1];
        lsm_memtable_ref(newest);
    } else {
        newest = lsm_memtable_create(EMPTY_MEMTABLE_BYTES, lsm_rng_next(&db->rng));
    }
    if (state == NULL || newest == NULL) {
        lsm_memtable_unref(newest);
        lsm_free(state);
        return lsm_fail_memory(err, EMPTY_MEMTABLE_BYTES);
    }
    atomic_init(&state->refs, 1);
    state->mem = newest;
    for (size_t i = 1; i < count; i++) {
        state->immutables[i - 1] = recovery->memtables[count - 1 - i];
        lsm_memtable_ref(state->immutables[i - 1]);
        state->immutable_count = i;
    }
    for (size_t i = 0; i < recovery->segment_count; i++) {
        lsm_readstate_add_log(state, recovery->segments[i]);
    }
    state->version = db->version;
    lsm_version_ref(state->version);
    atomic_init(&db->readstate, state);
    db->last_sequence = recovery->last_sequence;
    atomic_init(&db->published, recovery->last_sequence);
    return LSMKV_OK;
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
        LSM_TRY(flush_one(db, recovery->memtables[i], number, &values, edit, err));
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

void lsm_recovery_deinit(lsm_recovery *recovery) {
    lsm_recovery_close_logs(recovery);
    for (size_t i = 0; i < recovery->count; i++) {
        lsm_memtable_unref(recovery->memtables[i]);
    }
    for (size_t i = 0; i < recovery->segment_count; i++) {
        lsm_segment_unref(recovery->segments[i]);
    }
    lsm_free(recovery->memtables);
    lsm_free(recovery->segments);
    lsm_free(recovery->written);
}
