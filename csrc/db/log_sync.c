/* SPDX-License-Identifier: Apache-2.0
 *
 * Making the logs durable. What a sync promises is everything written before it, so
 * the logs of memtables that still wait for their flush come first, oldest first. A
 * log's name counts as much as its bytes: before the first sync on it is acknowledged,
 * the directory is synced and the MANIFEST learns of the log, so that its absence is
 * noticed. Names come before bytes, older logs before newer ones, because the first
 * mark in a log is taken as proof that the logs before it are whole. All of that
 * happens before the group's own append, because it may need memory, and after an
 * append nothing may fail but the sync itself.
 *
 * A log that died (full disk) is never synced again; the flush of its memtable takes
 * its place. If its memtable was empty when it died, it holds nothing acknowledged.
 */
#include "db/db.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "wal/wal.h"

/* Whether something acknowledged lies in this dead log and in no table yet. */
static bool dead_log_matters_locked(lsmkv_db *db, uint64_t number)
    LSM_REQUIRES(db->mu) {
    return db->immutable_count > 0 &&
           number < db->immutables[db->immutable_count - 1].next_log;
}

/* Waits until the flush of its memtable has dropped the dead log. */
static lsmkv_status await_flush_locked(lsmkv_db *db, uint64_t number, lsmkv_error *err)
    LSM_REQUIRES(db->mu) {
    lsmkv_status status = LSMKV_OK;
    while (status == LSMKV_OK && dead_log_matters_locked(db, number) &&
           lsm_wal_number(db->logs[0].writer) <= number) {
        status = lsm_scheduler_await_locked(db, err);
    }
    return status;
}

/* Syncs one log with mu released; logs[] stays as it is meanwhile. */
static lsmkv_status sync_one_locked(lsmkv_db *db, lsm_wal_writer *writer,
                                    lsmkv_error *err) LSM_REQUIRES(db->mu) {
    LSM_ASSERT(!db->syncing_logs);
    db->syncing_logs = true;
    lsm_mutex_unlock(&db->mu);
    lsmkv_status status = lsm_log_sync(db, writer, err);
    lsm_mutex_lock(&db->mu);
    db->syncing_logs = false;
    lsm_cond_broadcast(&db->changed);
    return status;
}

/* What a failed sync left on the disk is unknown: no later one may say otherwise. */
static lsmkv_status poison_unless_ok(lsmkv_db *db, lsmkv_status status,
                                     const lsmkv_error *failure, lsmkv_error *err) {
    if (status != LSMKV_OK) {
        if (!LSM_MUTANT(FAILED_SYNC_NOT_FINAL)) {
            (void)lsm_db_poison(db, failure);
        }
        (void)lsm_error_copy(err, failure);
    }
    return status;
}

/* Makes the names of logs that the MANIFEST does not know yet durable. */
static lsmkv_status sync_names(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_error failure;
    bool all_recorded = true;
    lsm_mutex_lock(&db->mu);
    for (size_t i = 0; i < db->log_count; i++) {
        all_recorded = all_recorded && db->logs[i].recorded;
    }
    lsm_mutex_unlock(&db->mu);
    if (all_recorded || LSM_MUTANT(LOG_NAMES_NOT_SYNCED)) {
        return LSMKV_OK;
    }
    lsm_error_clear(&failure);
    return poison_unless_ok(db, lsm_dir_sync(db->dir, &failure), &failure, err);
}

/* Tells the MANIFEST about logs that it does not know yet. */
static lsmkv_status record_logs(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_edit edit;

    lsm_edit_init(&edit);
    lsm_mutex_lock(&db->mu);
    while (db->syncing_logs) {
        lsm_cond_wait(&db->changed, &db->mu);
    }
    for (size_t i = 0; i < db->log_count && status == LSMKV_OK; i++) {
        const lsm_live_log *log = &db->logs[i];
        if (!log->recorded && !lsm_wal_dead(log->writer) &&
            !lsm_edit_add_log(&edit, lsm_wal_number(log->writer),
                              lsm_wal_file_id(log->writer))) {
            status = lsm_fail_memory(err, sizeof(lsm_edit_log));
        }
    }
    lsm_mutex_unlock(&db->mu);
    if (status == LSMKV_OK && edit.log_count > 0 && !LSM_MUTANT(LOGS_NOT_RECORDED)) {
        status = lsm_db_install(db, &edit, 0, err);
    }
    lsm_edit_deinit(&edit);
    return status;
}

lsmkv_status lsm_log_sync(lsmkv_db *db, lsm_wal_writer *writer, lsmkv_error *err) {
    lsmkv_error failure;
    lsm_error_clear(&failure);
    atomic_fetch_add_explicit(&db->counters.sync_count, 1, memory_order_relaxed);
    uint64_t begun = lsm_latency_now(&db->latencies);
    lsmkv_status status = lsm_wal_sync(writer, &failure);
    lsm_latency_note(&db->latencies, LSMKV_LATENCY_SYNC, begun, 1);
    return poison_unless_ok(db, status, &failure, err);
}

static lsm_wal_writer *find_writer_locked(lsmkv_db *db, uint64_t number)
    LSM_REQUIRES(db->mu) {
    for (size_t i = 0; i < db->log_count; i++) {
        if (lsm_wal_number(db->logs[i].writer) == number) {
            return db->logs[i].writer;
        }
    }
    return NULL;
}

lsmkv_status lsm_log_seal(lsmkv_db *db, const lsm_segment *log, lsm_edit_segment *info,
                          lsmkv_error *err) {
    *info = (lsm_edit_segment){log->number, log->file_id, 0, LSM_SEGMENT_LOG};
    lsm_mutex_lock(&db->mu);
    while (db->syncing_logs) {
        lsm_cond_wait(&db->changed, &db->mu);
    }
    lsm_wal_writer *writer = find_writer_locked(db, log->number);
    LSM_ASSERT(writer != NULL); /* its memtable waits for the flush */
    db->syncing_logs = true;
    lsm_mutex_unlock(&db->mu);
    lsmkv_status status = lsm_wal_seal(writer, &info->size, err);
    lsm_mutex_lock(&db->mu);
    db->syncing_logs = false;
    lsm_cond_broadcast(&db->changed);
    lsm_mutex_unlock(&db->mu);
    return status;
}

lsmkv_status lsm_logs_sync(lsmkv_db *db, bool active_too, lsmkv_error *err) {
    /* First of all: a mark in a log says that the logs before it are there. */
    lsmkv_status status = sync_names(db, err);

    lsm_mutex_lock(&db->mu);
    for (size_t i = 0; i < db->log_count && status == LSMKV_OK;) {
        if (db->syncing_logs) { /* a flush seals one; then it may drop it */
            lsm_cond_wait(&db->changed, &db->mu);
            i = 0;
            continue;
        }
        const lsm_live_log *log = &db->logs[i];
        bool active = i + 1 == db->log_count;
        if (lsm_wal_dead(log->writer)) {
            uint64_t number = lsm_wal_number(log->writer);
            bool matters = dead_log_matters_locked(db, number);
            if (active) {
                status = lsm_fail(err, LSMKV_IO_ERROR,
                                  "log %llu takes no more writes and cannot be synced",
                                  (unsigned long long)number);
            } else if (matters) {
                status = await_flush_locked(db, number, err);
            }
            i = matters ? 0 : i + 1;
            continue;
        }
        if (!log->recorded ||
            ((active ? active_too : !LSM_MUTANT(SYNC_SKIPS_OLDER_LOGS)) &&
             lsm_wal_synced_to(log->writer) < lsm_wal_size(log->writer))) {
            status = sync_one_locked(db, log->writer, err);
        }
        i += 1;
    }
    lsm_mutex_unlock(&db->mu);
    return status == LSMKV_OK ? record_logs(db, err) : status;
}
