/* SPDX-License-Identifier: Apache-2.0
 *
 * The warming that an opening asks for. It has a thread of its own, since the workers
 * may be needed for more urgent things; in the simulator it is one of the things that a
 * step may be of. No failure of it is anybody's concern: what it did not read is read
 * when somebody asks for it.
 */
#include "db/warm.h"

static void publish(lsmkv_db *db, const lsmkv_warm_report *report) {
    atomic_store(&db->warm_bytes, report->byte_count);
    atomic_store(&db->warm_total_bytes, report->total_bytes);
}

bool lsm_warm_start_step(lsmkv_db *db) {
    bool done = false;
    lsmkv_status status = LSMKV_OK;

    if (atomic_load(&db->closing) || atomic_load(&db->stopping)) {
        return false;
    }
    if (db->warming == NULL) {
        int64_t given = db->options.given.warm_bytes;
        lsm_warm_plan plan = {.budget = given > 0 ? (uint64_t)given : 0};
        status = lsm_warm_create(db, &plan, &db->warming, NULL);
    } else {
        status = lsm_warm_step(db->warming, &done, NULL);
    }
    if (db->warming != NULL) {
        publish(db, lsm_warm_report(db->warming));
    }
    done = done || status != LSMKV_OK;
    if (done) {
        lsm_warm_start_end(db);
    }
    return !done;
}

void lsm_warm_start_end(lsmkv_db *db) {
    lsm_warm_destroy(db->warming);
    db->warming = NULL;
    atomic_store(&db->warm_runs, false);
}

static void run(void *context) {
    lsmkv_db *db = context;

    while (lsm_warm_start_step(db)) {
        if (db->warming != NULL) {
            lsm_warm_yield(db->warming);
        }
    }
    lsm_warm_start_end(db);
}

void lsm_warm_start(lsmkv_db *db) {
    if (db->options.given.warm_bytes == 0) {
        return;
    }
    atomic_store(&db->warm_runs, true);
    if (db->threaded && !lsm_thread_start(&db->warmer, run, db, "lsmkv-warm")) {
        atomic_store(&db->warm_runs, false);
    }
}
