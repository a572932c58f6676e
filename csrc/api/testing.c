/* SPDX-License-Identifier: Apache-2.0
 *
 * See testing.h. Compiled only into the testing build.
 */
#include "api/testing.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "db/db.h"
#include "db/repair.h"

lsmkv_status lsm_test_open(lsm_env *env, const char *path, const lsmkv_options *options,
                           lsmkv_db **dbp, lsmkv_error *err) {
    if (!lsm_env_threaded(env)) {
        lsm_latency_restart();
    }
    return lsm_db_open(env, path, options, dbp, err);
}

lsmkv_status lsm_test_repair(lsm_env *env, const lsm_test_repair_request *request,
                             lsmkv_report *report, lsmkv_error *err) {
    const lsm_findings findings = {request->on_problem, request->context, report};
    *report = (lsmkv_report){0};
    return lsm_db_repair(env, request->path, request->into, &findings, err);
}

lsmkv_status lsm_test_destroy(lsm_env *env, const char *path, lsmkv_error *err) {
    return lsm_db_destroy_files(env, path, err);
}

uint64_t lsm_test_step(lsmkv_db *db, uint64_t count) {
    return lsm_scheduler_step(db, count);
}

void lsm_test_abandon(lsmkv_db *db) {
    lsm_db_abandon(db);
    lsm_db_unref(db);
}

uint64_t lsm_test_live_allocations(void) {
    return lsm_alloc_live();
}

bool lsm_test_files_match(lsmkv_db *db, char *name) {
    return lsm_gc_files_match(db, name);
}

uint64_t lsm_test_sequence(lsmkv_db *db) {
    return lsm_db_published(db);
}

uint64_t lsm_test_now_ms(lsmkv_db *db) {
    return lsm_clock_now_ms(&db->clock);
}

void lsm_test_follow_clock(lsmkv_db *db) {
    (void)lsm_clock_follow_ms(&db->clock);
}

bool lsm_test_select_mutant(const char *name) {
    return lsm_mutant_select(name);
}
