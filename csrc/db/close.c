/* SPDX-License-Identifier: Apache-2.0
 *
 * Closing, in two steps of life: lsm_db_close ends the use of the engine and releases
 * the directory; lsm_db_destroy, at the last reference, releases the memory. Between
 * the two, iterators and snapshots still hold what they point at, and every call
 * answers CLOSED.
 *
 * A clean close flushes the memtable, so that the next open has no log to replay. If
 * that fails, syncing the logs keeps the promise as well. It stops compactions, but for
 * that of a level 0 with as many tables as slow writes down: else a database that is
 * opened again and again for moments would never get to it.
 */
#include "db/db.h"

#include "base/alloc.h"
#include "db/follow.h"
#include "db/publish.h"
#include "db/view.h"

enum { DRAIN_POLL_US = 200 };

/* Sets `closing` and waits until nobody is inside. false: another thread closes. */
static bool drain(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    if (atomic_load(&db->closing)) {
        while (!db->closed) {
            lsm_cond_wait(&db->idle, &db->mu);
        }
        lsm_mutex_unlock(&db->mu);
        return false;
    }
    atomic_store(&db->closing, true);
    while (!lsm_list_empty(&db->writers) || db->active_calls > 0) {
        lsm_cond_wait(&db->idle, &db->mu);
    }
    /* Readers do not signal; they are inside for microseconds, or one disk read. */
    while (!lsm_epoch_idle(&db->epoch)) {
        (void)lsm_cond_wait_us(&db->idle, &db->mu, DRAIN_POLL_US);
    }
    lsm_mutex_unlock(&db->mu);
    return true;
}

/* Hands the memtable to the flush without starting another log. */
static lsmkv_status flush_last(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_mutex_lock(&db->mu);
    while (status == LSMKV_OK && db->immutable_count == LSM_IMMUTABLE_MAX) {
        status = lsm_scheduler_await_locked(db, err);
    }
    if (status == LSMKV_OK && !lsm_memtable_empty(db->mem)) {
        lsm_segment *log = db->logs[db->log_count - 1].segment;
        lsm_memtable_ref(db->mem);
        lsm_segment_ref(log);
        db->immutables[db->immutable_count++] =
            (lsm_immutable){db->mem, log, db->next_file++};
        lsm_cond_broadcast(&db->work);
    }
    lsm_mutex_unlock(&db->mu);
    return status == LSMKV_OK ? lsm_scheduler_wait_flushed(db, err) : status;
}

/* All that was acknowledged becomes durable, one way or the other. */
static lsmkv_status make_durable(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_error flush_failure;
    if (db->read_only) {
        return LSMKV_OK;
    }
    lsm_error_clear(&flush_failure);
    lsm_mutex_lock(&db->mu);
    lsmkv_status status =
        db->state == LSM_STATE_POISONED ? lsm_error_copy(err, &db->failure) : LSMKV_OK;
    lsm_mutex_unlock(&db->mu);
    if (status == LSMKV_OK && flush_last(db, &flush_failure) != LSMKV_OK &&
        lsm_logs_sync(db, true, NULL) != LSMKV_OK) {
        status = lsm_error_copy(err, &flush_failure);
    }
    return status;
}

/* Lets the compaction of an overfull level 0 come to its end. */
static void relieve_level0(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    while (db->state == LSM_STATE_OPEN &&
           db->version->levels[0].count >= db->options.l0_slowdown &&
           lsm_scheduler_await_locked(db, NULL) == LSMKV_OK) {
    }
    lsm_mutex_unlock(&db->mu);
}

/* Engine time goes on record, so that what has expired now has expired after the next
 * open, too, however the wall clock is set by then. No promise to a writer hangs on it:
 * if it fails, time starts from the last edit. */
static void record_time(lsmkv_db *db) {
    lsm_edit edit;
    lsm_edit_init(&edit);
    lsm_ignore(lsm_db_install(db, &edit, 0, NULL));
    lsm_edit_deinit(&edit);
}

/* Closes the log and MANIFEST writers; their files hold what they should. */
static void close_files(lsmkv_db *db) LSM_UNSHARED {
    for (size_t i = 0; i < db->log_count; i++) {
        lsm_segment *segment = db->logs[i].segment;
        lsm_ignore(lsm_wal_close(db->logs[i].writer, NULL));
        atomic_store(&segment->keeps_name, true); /* the next open reads it */
        lsm_segment_unref(segment);
    }
    db->log_count = 0;
    lsm_ignore(lsm_wal_close(db->manifest, NULL));
    db->manifest = NULL;
}

static void shut(lsmkv_db *db) {
    lsm_scheduler_stop(db);
    lsm_stats_save_end(db);
    lsm_publish_discard_all(db);
    close_files(db);
    lsm_gc_collect(db);
    lsm_lock_release(db->lock);
    db->lock = NULL;
    lsm_mutex_lock(&db->mu);
    db->state = LSM_STATE_CLOSED;
    db->closed = true;
    lsm_cond_broadcast(&db->idle);
    lsm_mutex_unlock(&db->mu);
}

lsmkv_status lsm_db_close(lsmkv_db *db, lsmkv_error *err) {
    if (db->fork_generation != lsm_fork_generation()) {
        return lsm_fail(err, LSMKV_FORKED,
                        "this database was opened by the parent process, which alone "
                        "can close it");
    }
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    if (!drain(db)) {
        return LSMKV_OK;
    }
    lsmkv_status status = make_durable(db, err);
    if (status == LSMKV_OK) {
        relieve_level0(db);
    }
    record_time(db);
    lsm_scheduler_stop(db);
    lsm_hot_save_now(db);
    lsm_stats_save_last(db);
    shut(db);
    return status;
}

void lsm_db_abandon(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    bool first = !atomic_exchange(&db->closing, true);
    if (first && db->state != LSM_STATE_POISONED) {
        db->state = LSM_STATE_POISONED; /* unlinks nothing from here on */
        (void)lsm_fail(&db->failure, LSMKV_CLOSED, "the database was abandoned");
    }
    lsm_mutex_unlock(&db->mu);
    if (first) {
        shut(db);
    }
}

/* Lets go of everything retired and dropped. One leads to the other: a readstate holds
 * a version, which holds tables, which hold cached blocks. */
static void release_all(lsmkv_db *db) {
    for (int round = 0; round < 4; round++) {
        lsm_epoch_poll(&db->epoch);
        lsm_gc_discard(db);
    }
    lsm_epoch_deinit(&db->epoch);
}

void lsm_db_destroy(lsmkv_db *db) LSM_UNSHARED {
    lsm_budget *budget = db->budget;
    LSM_BUDGET_SCOPE before = lsm_budget_enter(budget);
    lsm_readstate_unref(atomic_load(&db->readstate));
    for (size_t i = 0; i < db->immutable_count; i++) {
        lsm_memtable_unref(db->immutables[i].mem);
        lsm_segment_unref(db->immutables[i].log);
    }
    lsm_memtable_unref(db->mem);
    lsm_version_unref(db->version);
    lsm_catalog_deinit(db);
    lsm_space_counters_deinit(&db->default_space.counters);
    lsm_follow_end(db);
    release_all(db);
    if (db->built) {
        lsm_table_cache_deinit(&db->table_cache);
        lsm_cache_destroy(db->cache);
    }
    lsm_segment_files_deinit(&db->segment_files);
    lsm_view_files_destroy(db->view_files);
    lsm_free(db->origins);
    lsm_dir_close(db->dir);
    lsm_cond_deinit(&db->changed);
    lsm_cond_deinit(&db->work);
    lsm_cond_deinit(&db->idle);
    lsm_mutex_deinit(&db->mu);
    lsm_mutex_deinit(&db->catalog_mu);
    lsm_mutex_deinit(&db->sink_mu);
    lsm_free(db);
    lsm_budget_destroy(budget);
}

void lsm_db_unref(lsmkv_db *db) {
    /* acq_rel: the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&db->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (db->fork_generation == lsm_fork_generation()) {
        lsm_db_destroy(db);
    }
    /* In a child of fork the state may be half changed by threads that do not exist
     * here: the memory is left to the end of the process. */
}
