/* SPDX-License-Identifier: Apache-2.0
 *
 * The gates of the database. Reads and iterator moves count themselves in the epoch;
 * maintenance calls count themselves in active_calls; writers stand in the queue.
 * Closing sets `closing` and waits for all three.
 */
#include "db/db.h"

enum {
    RELIEF_DIVISOR = 1, /* all: who could not open one may need many at once */
    RELIEF_ROUNDS = 20,
    RELIEF_PAUSE_US = 200,
};

lsmkv_status lsm_db_refuse(const lsmkv_db *db, lsmkv_error *err) {
    if (db->fork_generation != lsm_fork_generation()) {
        return lsm_fail(
            err, LSMKV_FORKED,
            "this database was opened by the parent process; open it in the "
            "child after fork, or use the spawn start method");
    }
    return lsm_fail(err, LSMKV_CLOSED, "the database is closed");
}

lsmkv_status lsm_db_begin(lsmkv_db *db, lsmkv_error *err) {
    if (db->fork_generation != lsm_fork_generation()) {
        return lsm_db_refuse(db, err);
    }
    lsm_mutex_lock(&db->mu);
    bool closing = atomic_load(&db->closing);
    if (!closing) {
        db->active_calls += 1;
    }
    lsm_mutex_unlock(&db->mu);
    return closing ? lsm_db_refuse(db, err) : LSMKV_OK;
}

void lsm_db_end(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    db->active_calls -= 1;
    if (db->active_calls == 0) {
        lsm_cond_broadcast(&db->idle);
    }
    lsm_mutex_unlock(&db->mu);
}

bool lsm_db_relieve(lsmkv_db *db, const lsmkv_error *failure) {
    bool full = failure->status == LSMKV_LIMIT_EXCEEDED && db->budget != NULL;

    if (!full &&
        (failure->status != LSMKV_IO_ERROR || !lsm_error_is_file_limit(failure))) {
        return false;
    }
    if (full) {
        uint64_t capacity = lsm_cache_capacity(db->cache);
        lsm_cache_set_capacity(db->cache, 0);
        lsm_cache_set_capacity(db->cache, capacity);
    }
    lsm_table_cache_relieve(&db->table_cache, RELIEF_DIVISOR);
    lsm_segment_files_relieve(&db->segment_files);
    /* Other readers are inside for microseconds, or for one disk read. */
    for (int i = 0; i < RELIEF_ROUNDS && !lsm_epoch_poll(&db->epoch); i++) {
        if (db->threaded) {
            lsm_sleep_us(RELIEF_PAUSE_US);
        }
    }
    return true;
}

void lsm_db_ref(lsmkv_db *db) {
    atomic_fetch_add_explicit(&db->refs, 1, memory_order_relaxed);
}
