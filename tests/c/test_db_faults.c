/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what once went wrong in a whole database after a failing call or allocation
 * stays right. Method: one short story on the simulator for each mistake found; the
 * sweeps of the crash program (alloc, errors, damage) found them.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>

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

static uint32_t state_of(lsmkv_db *db) {
    lsmkv_error err;
    lsmkv_stats stats;

    CHECK_OK(lsmkv_get_stats(db, &stats, &err));
    return stats.state;
}

/* Every append of a flush in turn: to the new log, the table and the MANIFEST. */
LSM_TEST(a_full_disk_never_poisons_and_writing_goes_on_when_there_is_space) {
    lsm_env *env = lsm_sim_create(2);
    lsmkv_status status = LSMKV_DISK_FULL;
    lsmkv_db *db = open_db(env);

    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        lsmkv_error err;
        char name[LSM_NAME_SIZE_MAX];
        put(db, "key");
        lsm_sim_halve(env, LSM_SIM_APPEND, n, ENOSPC, false);
        status = lsmkv_flush(db, &err);
        CHECK(status == LSMKV_OK || status == LSMKV_DISK_FULL);
        CHECK(state_of(db) <= 1);
        lsm_sim_fail(env, LSM_SIM_APPEND, 0, 0, false);
        put(db, "key");
        CHECK_OK(lsmkv_flush(db, &err));
        CHECK_EQ(state_of(db), 0);
        CHECK(lsm_test_files_match(db, name));
    }
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(flushes_that_lack_file_descriptors_do_not_poison_however_many_fail) {
    lsm_env *env = lsm_sim_create(3);
    lsmkv_db *db = open_db(env);
    lsmkv_error err;

    put(db, "key");
    CHECK_OK(lsmkv_flush(db, &err));
    put(db, "key");
    lsm_sim_fail(env, LSM_SIM_OPEN, 1, EMFILE, true); /* the log, then the tables */
    for (int i = 0; i < 8; i++) {
        CHECK(lsmkv_flush(db, &err) == LSMKV_IO_ERROR);
        CHECK_EQ(state_of(db), 0);
    }
    lsm_sim_fail(env, LSM_SIM_OPEN, 0, 0, false);
    CHECK_OK(lsmkv_flush(db, &err));
    close_db(db);
    lsm_sim_destroy(env);
}

static void no_problem(void *context, const lsmkv_error *problem) {
    (void)context;
    lsm_test_fail(__FILE__, __LINE__, "verify: %s: %s", problem->file,
                  problem->message);
}

/* MANIFESTs are replaced when they have grown enough; the directory sync behind that
 * fails, so CURRENT names a MANIFEST that this handle does not go on with. */
LSM_TEST(verify_finds_nothing_wrong_after_a_failed_switch_of_manifests) {
    lsm_env *env = lsm_sim_create(4);
    lsmkv_db *db = open_db(env);
    lsmkv_report report;
    lsmkv_error err;
    uint64_t renames = lsm_sim_call_count(env, LSM_SIM_RENAME);

    for (int i = 0; lsm_sim_call_count(env, LSM_SIM_RENAME) == renames; i++) {
        CHECK(i < 100000);
        put(db, "key");
        lsm_sim_fail(env, LSM_SIM_DIR_SYNC, 2, EIO, false);
        lsm_ignore(lsmkv_flush(db, &err)); /* two directory syncs: no rewrite */
    }
    CHECK_EQ(state_of(db), 2);
    CHECK_OK(lsmkv_verify(db, no_problem, NULL, &report, &err));
    CHECK_EQ(report.problem_count, 0);
    CHECK(lsmkv_close(db, &err) == LSMKV_IO_ERROR);
    lsmkv_free(db);
    close_db(open_db(env));
    lsm_sim_destroy(env);
}

/* A lack of memory says nothing about the files. */
LSM_TEST(verify_without_memory_fails_and_finds_no_problem) {
    lsm_env *env = lsm_sim_create(6);
    lsmkv_db *db = open_db(env);
    lsmkv_report report;
    lsmkv_error err;
    lsmkv_status status = LSMKV_NO_MEMORY;

    put(db, "key");
    CHECK_OK(lsmkv_flush(db, &err));
    put(db, "other");
    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        CHECK(n < 1000);
        lsm_alloc_fail_after(n, 1);
        status = lsmkv_verify(db, no_problem, NULL, &report, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
    }
    CHECK_EQ(report.problem_count, 0);
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(a_fill_that_lacks_memory_leaves_the_iterator_without_a_position) {
    const lsmkv_fill fill = {0};
    lsm_env *env = lsm_sim_create(5);
    lsmkv_db *db = open_db(env);
    lsmkv_iter *iter = NULL;
    lsmkv_chunk chunk;
    lsmkv_error err;

    put(db, "a");
    put(db, "b");
    CHECK_OK(lsmkv_iter_create(db, NULL, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    lsm_alloc_fail_after(0, 1);
    CHECK(lsmkv_iter_fill(iter, &fill, &chunk, &err) == LSMKV_NO_MEMORY);
    lsm_alloc_fail_never();
    CHECK(!lsmkv_iter_valid(iter));
    CHECK(lsmkv_iter_next(iter, &err) == LSMKV_NO_MEMORY);
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    CHECK_OK(lsmkv_iter_fill(iter, &fill, &chunk, &err));
    CHECK_EQ(chunk.row_count, 2);
    lsmkv_iter_free(iter);
    close_db(db);
    lsm_sim_destroy(env);
}

/* The oldest table, which is the one of the smallest number. */
static void find_table(lsm_env *env, char name[LSM_NAME_SIZE_MAX]) {
    for (int number = 1; number < 100; number++) {
        const uint8_t *data;
        size_t size;
        (void)snprintf(name, LSM_NAME_SIZE_MAX, "%06d.tbl", number);
        if (lsm_sim_file_read(env, SIM_PATH, name, &data, &size)) {
            return;
        }
    }
    lsm_test_fail(__FILE__, __LINE__, "there is no table");
}

/* The damage is in the block that an open looks for namespaces in, but not in the one
 * with the options as they are now. */
LSM_TEST(an_open_that_meets_damage_fails_before_it_changes_anything) {
    lsm_env *env = lsm_sim_create(6);
    lsmkv_options options;
    lsmkv_error err;
    char name[LSM_NAME_SIZE_MAX];
    uint8_t damaged[1 << 14];
    const uint8_t *data;
    size_t size;
    lsmkv_db *db = open_db(env);
    const lsmkv_namespace_how how = {.create = true};
    lsmkv_namespace *space = NULL;

    CHECK_OK(lsmkv_namespace_open(db, (lsmkv_bytes){"n", 1}, &how, &space, &err));
    lsmkv_namespace_free(space);
    close_db(db);
    lsmkv_options_init(&options);
    options.block_bytes = 512;
    CHECK_OK(lsm_test_open(env, SIM_PATH, &options, &db, &err));
    close_db(db);
    find_table(env, name);
    CHECK(lsm_sim_file_read(env, SIM_PATH, name, &data, &size));
    CHECK(size <= sizeof(damaged));
    memcpy(damaged, data, size);
    damaged[0] ^= 1;
    CHECK(lsm_sim_file_write(env, SIM_PATH, name, damaged, size));

    uint64_t steps = lsm_sim_steps(env);
    CHECK(lsm_test_open(env, SIM_PATH, &options, &db, &err) == LSMKV_CORRUPTION);
    CHECK(strcmp(err.file, name) == 0);
    CHECK_EQ(lsm_sim_steps(env), steps);
    lsm_sim_destroy(env);
}

LSM_TEST(a_database_without_current_is_named_as_such_also_for_reading_only) {
    lsm_env *env = lsm_sim_create(7);
    lsmkv_options options;
    lsmkv_error err;
    lsmkv_db *db = open_db(env);

    put(db, "key");
    close_db(db);
    CHECK(lsm_sim_file_remove(env, SIM_PATH, "CURRENT"));
    lsmkv_options_init(&options);
    for (int i = 0; i < 2; i++) {
        options.read_only = i == 1;
        CHECK(lsm_test_open(env, SIM_PATH, &options, &db, &err) ==
              LSMKV_NOT_A_DATABASE);
        CHECK(strcmp(err.file, "CURRENT") == 0);
    }
    lsm_sim_destroy(env);
}
