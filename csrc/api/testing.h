/* SPDX-License-Identifier: Apache-2.0
 *
 * What the test harnesses need beyond lsmkv.h; built only with -DLSMKV_TESTING. The
 * simulated environment is driven through env/env_sim.h, whose functions are exported
 * in that build.
 */
#ifndef LSM_API_TESTING_H
#define LSM_API_TESTING_H

#include "base/alloc.h"
#include "env/env.h"
#include "env/env_sim.h"
#include "include/lsmkv.h"

/* lsmkv_open in an environment of the caller's, which must outlive the handle. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsm_test_open(lsm_env *env, const char *path,
                                                      const lsmkv_options *options,
                                                      lsmkv_db **dbp, lsmkv_error *err);
typedef struct lsm_test_repair_request {
    const char *path;
    const char *into;
    lsmkv_problem_fn on_problem;
    void *context;
} lsm_test_repair_request;

/* lsmkv_repair and lsmkv_destroy likewise. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsm_test_repair(lsm_env *env, const lsm_test_repair_request *request,
                lsmkv_report *report, lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsm_test_destroy(lsm_env *env, const char *path,
                                                         lsmkv_error *err);
/* Runs up to `count` steps of background work (flush, compaction) on this thread, in
 * the database's seeded order; returns how many there were to run. Only in an
 * environment without threads. */
LSMKV_API uint64_t lsm_test_step(lsmkv_db *db, uint64_t count);
/* Drops the handle as a crash would: nothing is flushed, synced or unlinked. The files
 * of a simulated env stay as they are. */
LSMKV_API void lsm_test_abandon(lsmkv_db *db);
LSMKV_API uint64_t lsm_test_live_allocations(void);
/* Whether the files in the directory are exactly those the database needs. Writes the
 * first stray or missing name into `name` (LSM_NAME_SIZE_MAX bytes). */
LSMKV_API bool lsm_test_files_match(lsmkv_db *db, char *name);
/* The sequence of the newest write that is readable. */
LSMKV_API uint64_t lsm_test_sequence(lsmkv_db *db);
/* Engine time, by which values expire. */
LSMKV_API uint64_t lsm_test_now_ms(lsmkv_db *db);
/* Has it follow the wall clock, as writes and background work do. */
LSMKV_API void lsm_test_follow_clock(lsmkv_db *db);
/* Has the engine make a mistake on purpose (base/mutant.h) from now on; with "", none.
 * false: no mistake has that name. */
LSMKV_API bool lsm_test_select_mutant(const char *name);

#endif
