/* SPDX-License-Identifier: Apache-2.0
 *
 * See recover.h for the rules. The last part is in recover_flush.c.
 */
#include "db/recover.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/budget.h"
#include "base/limits.h"
#include "base/mutant.h"
#include "format/filename.h"

enum {
    EMPTY_MEMTABLE_BYTES = 1024,
    GROWTH_MARGIN = 2 << 20, /* what a log may exceed the size by that logs end at */
};

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

static bool has_log(const lsm_recovery *recovery, uint64_t number) {
    for (size_t i = 0; i < recovery->log_count; i++) {
        if (recovery->logs[i].number == number) {
            return true;
        }
    }
    return false;
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
            number < state->first_log || has_log(recovery, number)) {
            continue;
        }
        bool ok = lsm_grow(&logs, &recovery->log_capacity, recovery->log_count + 1,
                           sizeof(*recovery->logs));
        LSM_TRY(ok ? LSMKV_OK : lsm_fail_memory(err, sizeof(*recovery->logs)));
        recovery->logs = logs;
        recovery->logs[recovery->log_count++] = (lsm_replay_log){.number = number};
        if (lsm_is_limited() && recovery->log_count > LSM_UNTRUSTED_LOGS_MAX) {
            LSM_TRY(lsm_fail_limit(err, list.names[i], "live logs", recovery->log_count,
                                   LSM_UNTRUSTED_LOGS_MAX));
        }
    }
    if (recovery->log_count > 1) {
        qsort(recovery->logs, recovery->log_count, sizeof(*recovery->logs),
              compare_logs);
    }
out:
    lsm_namelist_deinit(&list);
    return status;
}

static lsmkv_status check_presence(const lsm_recovery *recovery,
                                   const lsm_manifest_state *state, lsmkv_error *err) {
    for (size_t i = 0; i < state->log_count; i++) {
        if (!has_log(recovery, state->logs[i].number) &&
            !LSM_MUTANT(MISSING_LOG_PASSED_OVER)) {
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
    log->recorded = recorded != NULL;
    lsm_filename_make(name, LSM_NAME_LOG, log->number);
    lsmkv_status status =
        lsm_wal_open(db->dir, name, &expect, &log->reader, &log->torn, err);
    if (status == LSMKV_CORRUPTION && log->torn && !log->recorded) {
        lsm_error_clear(err);
        return LSMKV_OK; /* nothing in it was ever acknowledged as synced */
    }
    if (status == LSMKV_NOT_FOUND) {
        status = lsm_fail_at(err, LSMKV_CHANGED, name, -1,
                             "the log has been deleted since the directory was listed");
    }
    return status;
}

/* The memtable with room for the plan, a new one if need be. */
static lsmkv_status room_for(lsm_replay *replay, const lsm_replay_log *log,
                             const lsm_mem_plan *plan, lsm_memtable **memp,
                             lsmkv_error *err) {
    lsm_recovery *recovery = replay->recovery;
    const lsm_replayed *last =
        recovery->count > 0 ? &recovery->memtables[recovery->count - 1] : NULL;
    if (last != NULL && plan->bytes <= lsm_memtable_left(last->mem) &&
        !recovery->separates && (!recovery->follows || last->log == log->number)) {
        *memp = last->mem;
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
    recovery->memtables[recovery->count++] = (lsm_replayed){*memp, log->number};
    recovery->separates = false;
    return LSMKV_OK;
}

/* Makes the log known as a file that pointers lead into. */
static lsmkv_status add_segment(lsm_replay *replay, const lsm_replay_log *log,
                                lsmkv_error *err) {
    lsm_recovery *recovery = replay->recovery;
    size_t count = recovery->segment_count;
    void *segments = recovery->segments;
    uint64_t capacity = lsm_wal_file_size(log->reader);

    if (recovery->follows) { /* it may grow while it is mapped */
        capacity += replay->db->options.log_bytes + GROWTH_MARGIN;
    }
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
                               lsm_wal_header(log->reader)->file_id, capacity);
    if (recovery->segments[count] == NULL) {
        return lsm_fail_memory(err, sizeof(lsm_segment));
    }
    atomic_store(&recovery->segments[count]->keeps_name, true); /* the sweep's */
    recovery->segment_count = count + 1;
    return LSMKV_OK;
}

/* Whether a batch writes to the system namespace. */
static bool is_definition(const lsm_mem_plan *plan) {
    for (uint32_t i = 0; i < plan->sequence_count; i++) {
        if (lsm_get_u32_be(plan->records[i].skey) == LSM_NAMESPACE_SYSTEM) {
            return true;
        }
    }
    return false;
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
    if (reader.sequence != recovery->last_sequence + 1 &&
        !LSM_MUTANT(REPLAY_GOES_ON_BEHIND_A_HOLE) && !LSM_MUTANT(BAD_RECORD_SKIPPED)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, name, (int64_t)record->offset,
                           "expected sequence %llu, found %llu",
                           (unsigned long long)(recovery->last_sequence + 1),
                           (unsigned long long)reader.sequence);
    }
    status = lsm_mem_plan_init(&plan, record->payload, err);
    if (status == LSMKV_INVALID_ARGUMENT ||
        (status == LSMKV_OK && !lsm_mem_plan_may_begin(&plan, record->offset))) {
        status = lsm_fail_at(err, LSMKV_CORRUPTION, name, (int64_t)record->offset,
                             "malformed batch");
    }
    LSM_TRY(status);
    LSM_TRY(room_for(replay, log, &plan, &mem, err));
    recovery->defines |= recovery->follows && is_definition(&plan);
    if (plan.large_bytes != 0) {
        LSM_TRY(add_segment(replay, log, err));
        plan.log_number = log->number;
        plan.log_offset = record->offset;
    }
    lsm_memtable_insert(mem, &plan, reader.sequence);
    if (reader.time_ms > recovery->time_ms) {
        recovery->time_ms = reader.time_ms;
    }
    recovery->last_sequence = reader.sequence + plan.sequence_count - 1;
    recovery->records += plan.sequence_count;
out:
    lsm_mem_plan_deinit(&plan);
    return status;
}

/* An untrusted database is read from its tables alone: docs/adr/0009 says why. */
static lsmkv_status refuse_record(const lsm_replay_log *log, lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];

    lsm_filename_make(name, LSM_NAME_LOG, log->number);
    return lsm_fail_at(
        err, LSMKV_LIMIT_EXCEEDED, name, -1,
        "the log holds writes that no table holds, and at most 0 are "
        "read here: have the database closed, or a checkpoint made; " LSM_LIMIT_ADVICE);
}

static lsmkv_status replay_log(lsm_replay *replay, const lsm_replay_log *log,
                               uint64_t limit, lsmkv_error *err) {
    lsm_record record;
    bool past = false;
    lsmkv_status status = LSMKV_OK;

    while (status == LSMKV_OK && !past) {
        status = lsm_wal_next(log->reader, &record, err);
        if (status == LSMKV_OK && lsm_is_limited()) {
            status = refuse_record(log, err);
        }
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

static const lsm_replay_log *next_readable(const lsm_recovery *recovery, size_t index) {
    for (size_t i = index + 1; i < recovery->log_count; i++) {
        if (recovery->logs[i].reader != NULL) {
            return &recovery->logs[i];
        }
    }
    return NULL;
}

/* Where replay of a log must stop: what the next readable log says came before it. */
static uint64_t limit_of(const lsm_recovery *recovery, size_t index) {
    const lsm_replay_log *next = next_readable(recovery, index);
    return next == NULL || LSM_MUTANT(FAILED_WRITE_REPLAYED)
               ? LSM_SEQUENCE_MAX
               : lsm_wal_header(next->reader)->previous_sequence;
}

/* A follower's readers know the segment before there is a pointer into it. */
static lsmkv_status begin_log(lsm_replay *replay, lsm_replay_log *log,
                              lsmkv_error *err) {
    log->begun = true;
    return replay->recovery->follows ? add_segment(replay, log, err) : LSMKV_OK;
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
        if (status == LSMKV_OK && lsm_is_limited()) {
            status = refuse_record(log, err);
        }
    }
    return status == LSMKV_NOT_FOUND ? check_unsynced(replay, log, err) : status;
}

static lsmkv_status replay_all(lsm_replay *replay, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_recovery *recovery = replay->recovery;
    bool hole = false;

    for (size_t i = 0; i < recovery->log_count; i++) {
        lsm_replay_log *log = &recovery->logs[i];
        if (log->reader == NULL) {
            continue;
        }
        uint64_t begins = lsm_wal_header(log->reader)->previous_sequence;
        hole = hole || (begins != recovery->last_sequence &&
                        !LSM_MUTANT(REPLAY_GOES_ON_BEHIND_A_HOLE));
        if (hole) {
            LSM_TRY(skip_log(replay, log, err));
        } else {
            LSM_TRY(begin_log(replay, log, err));
            LSM_TRY(replay_log(replay, log, limit_of(recovery, i), err));
        }
    }
out:
    return status;
}

static lsmkv_status fail_gap(const lsm_replay *replay, const lsm_replay_log *log,
                             lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];

    lsm_filename_make(name, LSM_NAME_LOG, log->number);
    return lsm_fail_at(err, LSMKV_CHANGED, name, -1,
                       "replay has reached sequence %llu, which is not where the "
                       "writer went on; refresh again",
                       (unsigned long long)replay->recovery->last_sequence);
}

/* Replays what a log has got since it was last read. */
static lsmkv_status extend_log(lsm_replay *replay, const lsm_replay_log *log,
                               uint64_t limit, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    bool grown = false;

    LSM_TRY(lsm_wal_extend(log->reader, &grown, err));
    if (grown) {
        LSM_TRY(replay_log(replay, log, limit, err));
    }
out:
    return status;
}

lsmkv_status lsm_recovery_go_on(lsmkv_db *db, lsm_recovery *recovery,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_replay replay = {.db = db, .recovery = recovery};

    for (size_t i = 0; i < recovery->log_count; i++) {
        lsm_replay_log *log = &recovery->logs[i];
        const lsm_replay_log *next = next_readable(recovery, i);
        LSM_ASSERT(log->reader != NULL); /* without a header it was left out */
        if (log->begun && next != NULL && next->begun) {
            continue; /* complete */
        }
        if (!log->begun &&
            lsm_wal_header(log->reader)->previous_sequence != recovery->last_sequence) {
            LSM_TRY(fail_gap(&replay, log, err));
        }
        if (!log->begun) {
            LSM_TRY(begin_log(&replay, log, err));
            LSM_TRY(
                lsm_segment_hold(recovery->segments[recovery->segment_count - 1], err));
        }
        LSM_TRY(extend_log(&replay, log, limit_of(recovery, i), err));
        if (next != NULL && recovery->last_sequence != limit_of(recovery, i)) {
            LSM_TRY(fail_gap(&replay, log, err));
        }
    }
out:
    return status;
}

lsmkv_status lsm_recovery_discover(lsmkv_db *db, const lsm_manifest_state *state,
                                   lsm_recovery *recovery, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    LSM_TRY(list_logs(db, state, recovery, err));
    LSM_TRY(check_presence(recovery, state, err));
    for (size_t i = recovery->log_count; i > 0; i--) {
        if (recovery->logs[i - 1].reader == NULL) {
            LSM_TRY(open_log(db, &recovery->logs[i - 1], state, err));
        }
    }
out:
    return status;
}

lsmkv_status lsm_recovery_open(lsmkv_db *db, const lsm_manifest_state *state,
                               lsm_recovery *recovery, lsmkv_error *err) {
    recovery->last_sequence = state->last_sequence;
    return lsm_recovery_discover(db, state, recovery, err);
}

void lsm_recovery_drop(lsm_recovery *recovery, uint64_t first_log) {
    size_t logs = 0;
    size_t memtables = 0;
    size_t segments = 0;

    for (; logs < recovery->log_count && recovery->logs[logs].number < first_log;
         logs++) {
        lsm_wal_reader_close(recovery->logs[logs].reader);
    }
    for (;
         memtables < recovery->count && recovery->memtables[memtables].log < first_log;
         memtables++) {
        lsm_memtable_unref(recovery->memtables[memtables].mem);
    }
    for (; segments < recovery->segment_count &&
           recovery->segments[segments]->number < first_log;
         segments++) {
        lsm_segment_unref(recovery->segments[segments]);
    }
    recovery->log_count -= logs;
    recovery->count -= memtables;
    recovery->segment_count -= segments;
    if (logs > 0) {
        memmove(recovery->logs, recovery->logs + logs,
                recovery->log_count * sizeof(*recovery->logs));
    }
    if (memtables > 0) {
        memmove(recovery->memtables, recovery->memtables + memtables,
                recovery->count * sizeof(*recovery->memtables));
    }
    if (segments > 0) {
        memmove(recovery->segments, recovery->segments + segments,
                recovery->segment_count * sizeof(lsm_segment *));
    }
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

lsm_readstate *lsm_recovery_readstate(lsmkv_db *db, const lsm_recovery *recovery,
                                      lsm_version *version) {
    size_t count = recovery->count;
    lsm_memtable *newest = NULL;
    lsm_readstate *state = lsm_readstate_alloc(count, recovery->segment_count);

    if (count > 0) {
        newest = recovery->memtables[count - 1].mem;
        lsm_memtable_ref(newest);
    } else {
        newest = lsm_memtable_create(EMPTY_MEMTABLE_BYTES, lsm_rng_next(&db->rng));
    }
    if (state == NULL || newest == NULL) {
        lsm_memtable_unref(newest);
        lsm_free(state);
        return NULL;
    }
    atomic_init(&state->refs, 1);
    state->mem = newest;
    for (size_t i = 1; i < count; i++) {
        state->immutables[i - 1] = recovery->memtables[count - 1 - i].mem;
        lsm_memtable_ref(state->immutables[i - 1]);
        state->immutable_count = i;
    }
    for (size_t i = 0; i < recovery->segment_count; i++) {
        lsm_readstate_add_log(state, recovery->segments[i]);
    }
    state->version = version;
    lsm_version_ref(version);
    return state;
}

lsmkv_status lsm_recovery_publish(lsmkv_db *db, const lsm_recovery *recovery,
                                  lsmkv_error *err) LSM_UNSHARED {
    lsm_readstate *state = lsm_recovery_readstate(db, recovery, db->version);

    if (state == NULL) {
        return lsm_fail_memory(err, EMPTY_MEMTABLE_BYTES);
    }
    atomic_init(&db->readstate, state);
    db->last_sequence = recovery->last_sequence;
    atomic_init(&db->published, recovery->last_sequence);
    return LSMKV_OK;
}

void lsm_recovery_deinit(lsm_recovery *recovery) {
    lsm_recovery_close_logs(recovery);
    for (size_t i = 0; i < recovery->count; i++) {
        lsm_memtable_unref(recovery->memtables[i].mem);
    }
    for (size_t i = 0; i < recovery->segment_count; i++) {
        lsm_segment_unref(recovery->segments[i]);
    }
    lsm_free(recovery->memtables);
    lsm_free(recovery->segments);
    lsm_free(recovery->written);
}
