/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a checkpoint or a repair goes into a directory that is absent or empty and
 * nobody else's, says what is in its way, and takes back its own files and no others.
 * Method: directories of the real file system.
 */
#include "posix_help.h"

#include <unistd.h>

#include "db/target.h"
#include "format/filename.h"

static void join(char to[300], const place *at, const char *name) {
    (void)snprintf(to, 300, "%s/%s", at->path, name);
}

static void make_file(const lsm_target *target, const char *name) {
    lsm_file *file = NULL;
    lsmkv_error err;

    CHECK_OK(lsm_file_open(target->dir, name, LSM_OPEN_CREATE, &file, &err));
    lsm_file_drop(file);
}

static bool has(const char *path, const char *name) {
    char file[400];

    (void)snprintf(file, sizeof(file), "%s/%s", path, name);
    return access(file, F_OK) == 0;
}

static void take_away(const char *path, const char *name) {
    char file[400];

    (void)snprintf(file, sizeof(file), "%s/%s", path, name);
    CHECK_EQ(unlink(file), 0);
}

LSM_TEST(a_target_without_a_parent_or_that_is_a_file_is_an_error_and_not_made) {
    static const char *const names[] = {"none/sub", "file"};
    lsm_target target;
    lsmkv_error err;
    char path[300];
    place at;

    set_up_file(&at);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(names); i++) {
        join(path, &at, names[i]);
        CHECK_STATUS(lsm_target_open(lsm_env_posix(), path, &target, &err),
                     LSMKV_IO_ERROR);
        CHECK_EQ(err.status, LSMKV_IO_ERROR);
        CHECK_STATUS(lsm_target_open(lsm_env_posix(), path, &target, NULL),
                     LSMKV_IO_ERROR);
        CHECK(target.dir == NULL && target.lock == NULL);
        lsm_target_close(&target, false);
    }
    CHECK(!has(at.path, "none") && has(at.path, "file"));
    tear_down(&at);
}

LSM_TEST(a_target_that_was_not_finished_is_taken_back_with_what_was_put_into_it) {
    lsm_target target;
    lsmkv_error err;
    char path[300];
    char table[LSM_FILENAME_SIZE];
    place at;

    set_up(&at);
    join(path, &at, "sub");
    lsm_filename_make(table, LSM_NAME_TABLE, 7);
    for (int others = 0; others < 2; others++) {
        CHECK_OK(lsm_target_open(lsm_env_posix(), path, &target, &err));
        CHECK(target.made);
        make_file(&target, table);
        if (others) { /* somebody put it there meanwhile */
            make_file(&target, "other");
        }
        lsm_target_close(&target, false);
        CHECK(has(path, "other") == (others == 1));
        CHECK(!has(path, table) && !has(path, LSM_LOCK_NAME));
        CHECK(has(at.path, "sub") == (others == 1));
    }
    CHECK_STATUS(lsm_target_open(lsm_env_posix(), path, &target, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "other") != NULL && !has(path, LSM_LOCK_NAME));
    take_away(path, "other");
    CHECK(has_sub(&at));
    tear_down(&at);
}

LSM_TEST(a_target_that_was_there_stays_with_its_lock_and_is_one_owners) {
    lsm_target target;
    lsm_target second;
    lsmkv_error err;
    char path[300];
    char table[LSM_FILENAME_SIZE];
    place at;

    set_up(&at);
    join(path, &at, "sub");
    CHECK_OK(open_sub(&at, &err));
    lsm_filename_make(table, LSM_NAME_TABLE, 7);
    for (int i = 0; i < 2; i++) { /* the second time there is a LOCK */
        CHECK_OK(lsm_target_open(lsm_env_posix(), path, &target, &err));
        CHECK(!target.made);
        CHECK_STATUS(lsm_target_open(lsm_env_posix(), path, &second, &err),
                     LSMKV_LOCKED);
        make_file(&target, table);
        lsm_target_close(&target, false);
        CHECK(!has(path, table) && has(path, LSM_LOCK_NAME));
    }
    CHECK_OK(lsm_target_open(lsm_env_posix(), path, &target, &err));
    make_file(&target, table);
    lsm_target_close(&target, true);
    CHECK(has(path, table));
    take_away(path, table);
    take_away(path, LSM_LOCK_NAME);
    CHECK(has_sub(&at));
    tear_down(&at);
}
