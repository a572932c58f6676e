/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what once went wrong in a whole database after a failing call or allocation
 * stays right. Method: one short story on the simulator for each mistake found; the
 * sweeps of the crash program (alloc, errors, damage) found them.
 */
#include "sim_help.h"

#include "api/testing.h"
#include "base/alloc.h"

static lsmkv_db *open_db(lsm_env *env) {
    lsmkv_error err;
    lsmkv_options options;
    lsmkv_db *db = NULL;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 12;
    options.seed = 1;
    CHECK_OK(lsm_test_open(env, SIM_PATH, &options, &db, &err));
    return db;
}

static void close_db(lsmkv_db *db) {
    lsmkv_error err;

    CHECK_OK(lsmkv_close(db, &err));
    lsmkv_free(db);
}

static void put(lsmkv_db *db, const char *key) {
    lsmkv_error err;
    lsmkv_bytes bytes = {key, strlen(key)};

    CHECK_OK(lsmkv_put(db, NULL, bytes, bytes, &err));
}

LSM_TEST(a_flush_that_lacks_memory_at_any_point_leaves_no_table_behind) {
    lsm_env *env = lsm_sim_create(1);
    lsmkv_status status = LSMKV_NO_MEMORY;

    CHECK(env != NULL);
    lsm_sim_exempt_memory(env);
    lsmkv_db *db = open_db(env);
    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        char name[LSM_NAME_SIZE_MAX];
        lsmkv_error err;
        put(db, "key");
        lsm_alloc_fail_after(n, 0);
        status = lsmkv_flush(db, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        CHECK(lsm_test_files_match(db, name));
    }
    close_db(db);
    lsm_sim_destroy(env);
}
