/* SPDX-License-Identifier: Apache-2.0
 *
 * The gates of the database. Reads and iterator moves count themselves in the epoch;
 * maintenance calls count themselves in active_calls; writers stand in the queue.
 * Closing sets `closing` and waits for all three.
 */
#include "db/db.h"

static lsmkv_status fail_forked(lsmkv_error *err) {
    return lsm_fail(err, LSMKV_FORKED,
                    "this database was opened by the parent process; open it in the "
                    "child after fork, or use the spawn start method");
}

static lsmkv_status fail_closed(lsmkv_error *err) {
    return lsm_fail(err, LSMKV_CLOSED, "the database is closed");
}

lsmkv_status lsm_db_enter(lsmkv_db *db, lsm_epoch_token *token, lsmkv_error *err) {
    if (LSM_UNLIKELY(db->fork_generation != lsm_fork_generation())) {
        return fail_forked(err);
    }
    *token = lsm_epoch_enter(&db->epoch);
    if (LSM_UNLIKELY(atomic_load(&db->closing))) {
        lsm_epoch_leave(*token);
        return fail_closed(err);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_db_begin(lsmkv_db *db, lsmkv_error *err) {
    if (db->fork_generation != lsm_fork_generation()) {
        return fail_forked(err);
    }
    lsm_mutex_lock(&db->mu);
    bool closing = atomic_load(&db->closing);
    if (!closing) {
        db->active_calls += 1;
    }
    lsm_mutex_unlock(&db->mu);
    return closing ? fail_closed(err) : LSMKV_OK;
}

void lsm_db_end(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    db->active_calls -= 1;
    if (db->active_calls == 0) {
        lsm_cond_broadcast(&db->idle);
    }
    lsm_mutex_unlock(&db->mu);
}

void lsm_db_ref(lsmkv_db *db) {
    atomic_fetch_add_explicit(&db->refs, 1, memory_order_relaxed);
}
