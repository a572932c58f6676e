/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a checkpoint into a directory that cannot share files copies them, and if that
 * lacks memory or meets an error of the disk at any point, it says so and leaves an
 * empty directory, so that it can be repeated. Method: one database in the simulator,
 * which links nothing; each allocation and each call fails in turn.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "format/filename.h"

enum { KEYS = 40, LARGE_SIZE = 300000, PLACES_MAX = 2000 };

#define COPY "copy"

static uint8_t large[LARGE_SIZE]; /* more than is copied in one piece */

static lsmkv_db *open_at(lsm_env *env, const char *path) {
    lsmkv_options options;
    lsmkv_db *db = NULL;
    lsmkv_error err;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 16;
    options.blob_threshold_bytes = 1000;
    options.create_if_missing = strcmp(path, COPY) != 0;
    options.seed = 1;
    CHECK_OK(lsm_test_open(env, path, &options, &db, &err));
    return db;
}

static lsmkv_db *begin(lsm_env **env) {
    lsmkv_error err;

    *env = lsm_sim_create(1);
    CHECK(*env != NULL);
    lsm_sim_exempt_memory(*env);
    lsmkv_db *db = open_at(*env, SIM_PATH);
    memset(large, 'x', sizeof(large));
    CHECK_OK(
        lsmkv_put(db, NULL, bytes_of("large"), (lsmkv_bytes){large, LARGE_SIZE}, &err));
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "key%03d", i);
        CHECK_OK(lsmkv_put(db, NULL, bytes_of(key), bytes_of(key), &err));
    }
    return db;
}

static void check_copy(lsm_env *env) {
    char stray[LSM_NAME_SIZE_MAX];
    lsmkv_db *db = open_at(env, COPY);
    lsmkv_error err;
    lsmkv_pin pin;

    CHECK_OK(lsmkv_get(db, NULL, bytes_of("large"), &pin, &err));
    CHECK_EQ(pin.value.size, LARGE_SIZE);
    CHECK(memcmp(pin.value.data, large, LARGE_SIZE) == 0);
    lsmkv_pin_release(&pin);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "key%03d", i);
        CHECK_OK(lsmkv_get(db, NULL, bytes_of(key), &pin, &err));
        lsmkv_pin_release(&pin);
    }
    CHECK(lsm_test_files_match(db, stray));
    close_db(db);
    CHECK_OK(lsm_test_destroy(env, COPY, &err));
}

static void check_empty(lsm_env *env) {
    lsm_namelist names = {0};
    lsmkv_error err;
    lsm_dir *dir;

    lsmkv_status status = lsm_dir_open(env, COPY, false, &dir, &err);
    if (status == LSMKV_NOT_FOUND) {
        return;
    }
    CHECK_EQ(status, LSMKV_OK);
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        uint64_t number;
        if (lsm_filename_parse(names.names[i], &number) != LSM_NAME_LOCK) {
            lsm_test_fail(__FILE__, __LINE__, "%s is left", names.names[i]);
        }
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
}

/* Nothing can be linked; beyond that, fails what was set up. */
static lsmkv_status copy(lsm_env *env, lsmkv_db *db, lsmkv_error *err) {
    lsm_sim_fail(env, LSM_SIM_LINK, 0, EXDEV, true);
    lsmkv_status status = lsmkv_checkpoint(db, COPY, err);
    lsm_sim_fail(env, LSM_SIM_LINK, 0, 0, false);
    return status;
}

LSM_TEST(a_checkpoint_that_copies_without_memory_leaves_nothing_and_can_be_repeated) {
    bool failed = true;
    lsm_env *env;
    lsmkv_db *db = begin(&env);
    lsmkv_error err;

    CHECK_OK(lsmkv_flush(db, &err)); /* which a checkpoint begins with */
    for (uint64_t at = 0; failed; at++) {
        uint64_t before = lsm_alloc_count();
        CHECK(at < PLACES_MAX);
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = copy(env, db, &err);
        failed = lsm_alloc_count() - before > at;
        lsm_alloc_fail_never();
        if (status == LSMKV_OK) {
            check_copy(env);
        } else {
            CHECK_STATUS(status, LSMKV_NO_MEMORY);
            CHECK(failed);
            check_empty(env);
        }
    }
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(a_checkpoint_that_copies_and_meets_errors_leaves_nothing_and_can_be_repeated) {
    static const lsm_sim_call calls[] = {
        LSM_SIM_OPEN,     LSM_SIM_READ,  LSM_SIM_APPEND, LSM_SIM_SYNC,
        LSM_SIM_DIR_SYNC, LSM_SIM_CLOSE, LSM_SIM_LIST,
    };
    lsm_env *env;
    lsmkv_db *db = begin(&env);
    lsmkv_error err;

    CHECK_OK(lsmkv_flush(db, &err));
    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        bool failed = true;
        for (uint64_t at = 0; failed; at++) {
            uint64_t before = lsm_sim_call_count(env, calls[i]);
            CHECK(at < PLACES_MAX);
            lsm_sim_fail(env, calls[i], at, EIO, false);
            lsmkv_status status = copy(env, db, &err);
            failed = lsm_sim_call_count(env, calls[i]) - before > at;
            lsm_sim_fail(env, calls[i], 0, 0, false);
            if (status == LSMKV_OK) {
                check_copy(env);
                continue;
            }
            CHECK_STATUS(status, LSMKV_IO_ERROR);
            CHECK(failed);
            const uint8_t *data;
            size_t size;
            if (lsm_sim_file_read(env, COPY, LSM_CURRENT_NAME, &data, &size)) {
                check_copy(env); /* only its name may not be durable */
            } else {
                check_empty(env);
            }
        }
    }
    close_db(db);
    lsm_sim_destroy(env);
}

/* The rename that reports a failure may have happened all the same. */
LSM_TEST(a_checkpoint_that_may_be_there_is_left_as_it_is) {
    lsm_env *env;
    lsmkv_db *db = begin(&env);
    lsmkv_error err;

    lsm_sim_fail(env, LSM_SIM_RENAME, 0, EIO, true);
    CHECK_STATUS(copy(env, db, &err), LSMKV_IO_ERROR);
    lsm_sim_fail(env, LSM_SIM_RENAME, 0, 0, false);
    CHECK_STATUS(copy(env, db, &err), LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "is not empty: it holds ") != NULL);
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(a_checkpoint_of_a_database_that_lost_a_file_names_it) {
    lsm_env *env;
    lsmkv_db *db = begin(&env);
    lsm_namelist names = {0};
    lsmkv_error err;
    lsm_dir *dir;

    CHECK_OK(lsmkv_flush(db, &err));
    CHECK_OK(lsm_dir_open(env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        uint64_t number;
        if (lsm_filename_parse(names.names[i], &number) == LSM_NAME_TABLE) {
            CHECK(lsm_sim_file_remove(env, SIM_PATH, names.names[i]));
        }
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
    CHECK_STATUS(lsmkv_checkpoint(db, COPY, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "names this file, but it is missing") != NULL);
    check_empty(env);
    CHECK_STATUS(copy(env, db, &err), LSMKV_CORRUPTION);
    check_empty(env);
    lsm_test_abandon(db);
    lsm_sim_destroy(env);
}
