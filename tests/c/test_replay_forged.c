/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: logs are replayed, by an open as by a repair, whatever lies in them and
 * whatever fails meanwhile: batches of many records, more than one memtable takes,
 * batches that make no sense, logs that are gone. Method: small databases whose process
 * died, with forged records behind what it wrote, and calls that are made to fail.
 */
#include "db_help.h"
#include "forge_help.h"

#include <errno.h>
#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "base/coding.h"
#include "db/db.h"
#include "format/edit.h"

enum {
    BATCH_KEYS = 40,
    DELETED_TABLES = 200, /* more than an array of them has room for at first */
    PLACES_MAX = 5000,
    BIG_SIZE = 60 << 10,
    BIG_KEYS = 300, /* more than the memtable of an opening by default holds */
};

static lsmkv_bytes key_of(char to[16], size_t index) {
    return (lsmkv_bytes){to, (size_t)snprintf(to, 16, "key%03zu", index)};
}

static lsmkv_status open_db(lsm_env *env, const char *path, bool follower,
                            lsmkv_db **db, lsmkv_error *err) {
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memory_bytes = 256 << 20;
    options.memtable_bytes = 64 << 20;
    options.blob_threshold_bytes = 0; /* values are in memtables, whatever their size */
    options.follower = follower;
    options.seed = 1;
    return lsm_test_open(env, path, &options, db, err);
}

/* One batch of many keys, not in their order, is in the log. */
static lsm_env *begin(lsmkv_db **db) {
    lsm_env *env = lsm_sim_create(9);
    lsmkv_batch *batch = NULL;
    lsmkv_error err;

    CHECK(env != NULL);
    CHECK_OK(open_db(env, SIM_PATH, false, db, &err));
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    for (size_t i = BATCH_KEYS; i > 0; i--) {
        char key[16];
        CHECK_OK(
            lsmkv_batch_put(batch, NULL, key_of(key, i - 1), key_of(key, i - 1), &err));
    }
    CHECK_OK(lsmkv_write_batch(*db, NULL, batch, &err));
    lsmkv_batch_free(batch);
    return env;
}

static void check_batch(lsmkv_db *db) {
    for (size_t i = 0; i < BATCH_KEYS; i++) {
        char key[16];
        lsmkv_error err;
        lsmkv_pin pin;
        CHECK_OK(lsmkv_get(db, NULL, key_of(key, i), &pin, &err));
        CHECK(pin.value.size == 6 && memcmp(pin.value.data, key, 6) == 0);
        lsmkv_pin_release(&pin);
    }
}

static void check_opens(lsm_env *env, const char *path) {
    lsmkv_error err;
    lsmkv_db *db = NULL;

    CHECK_OK(open_db(env, path, false, &db, &err));
    check_batch(db);
    lsm_test_abandon(db);
}

static lsmkv_status repair(lsm_env *env, lsmkv_report *report, lsmkv_error *err) {
    lsm_test_repair_request request = {SIM_PATH, "into", NULL, NULL};

    *report = (lsmkv_report){0};
    return lsm_test_repair(env, &request, report, err);
}

/* One call lacks the allocation at `at`. false: it was over before. */
static bool lack_memory(lsm_env *from, uint64_t at, bool repairs) {
    lsm_env *env = sim_crash(from, 1, LSM_CRASH_ALL, 512);
    lsmkv_report report;
    lsmkv_error err;
    lsmkv_db *db = NULL;

    lsm_sim_exempt_memory(env);
    uint64_t before = lsm_alloc_count();
    lsm_alloc_fail_after(at, 0);
    lsmkv_status status =
        repairs ? repair(env, &report, &err) : open_db(env, SIM_PATH, false, &db, &err);
    bool lacked = lsm_alloc_count() - before > at;
    lsm_alloc_fail_never();
    CHECK(status == LSMKV_OK || (lacked && status == LSMKV_NO_MEMORY));
    if (db != NULL) {
        check_batch(db);
        lsm_test_abandon(db);
    } else if (repairs && status == LSMKV_OK) {
        check_opens(env, "into");
    } else {
        check_opens(env, SIM_PATH);
    }
    lsm_sim_destroy(env);
    return lacked;
}

LSM_TEST(an_open_of_a_batch_of_many_records_without_memory_says_so) {
    lsmkv_db *db = NULL;
    lsm_env *env = begin(&db);
    uint64_t at = 0;

    lsm_test_abandon(db);
    while (lack_memory(env, at, false)) {
        at++;
        CHECK(at < PLACES_MAX);
    }
    lsm_sim_destroy(env);
}

/* An edit that takes many tables back that there never were. */
static void append_deletions(lsm_env *env) {
    lsm_edit edit;
    lsm_buf payload = {0};

    lsm_edit_init(&edit);
    for (uint64_t i = 0; i < DELETED_TABLES; i++) {
        CHECK(lsm_edit_delete_table(&edit, 0, 1000 + i));
    }
    CHECK(lsm_edit_encode(&edit, &payload));
    append_record(env, "MANIFEST", true, LSM_RECORD_EDIT, lsm_buf_slice(&payload));
    lsm_buf_deinit(&payload);
    lsm_edit_deinit(&edit);
}

LSM_TEST(a_repair_of_many_deletions_and_records_without_memory_says_so) {
    lsmkv_db *db = NULL;
    lsm_env *whole = begin(&db);
    lsm_env *env = sim_crash(whole, 1, LSM_CRASH_ALL, 512);
    lsmkv_report report;
    lsmkv_error err;
    bool failed = true;

    lsm_test_abandon(db);
    lsm_sim_destroy(whole);
    append_deletions(env);
    for (uint64_t at = 0; failed; at++) {
        lsm_env *copy = sim_crash(env, 1, LSM_CRASH_ALL, 512);
        lsm_sim_exempt_memory(copy);
        uint64_t before = lsm_alloc_count();
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = repair(copy, &report, &err);
        failed = lsm_alloc_count() - before > at;
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || (failed && status == LSMKV_NO_MEMORY));
        if (status != LSMKV_OK) {
            CHECK_OK(repair(copy, &report, &err));
        }
        check_opens(copy, "into");
        lsm_sim_destroy(copy);
        CHECK(at < PLACES_MAX);
    }
    lsm_sim_destroy(env);
}

/* Batches with the sequence that is next: a key that is none, and no records. */
LSM_TEST(a_batch_that_makes_no_sense_is_damage_though_it_verifies) {
    for (int size = 20; size <= 40; size += 20) {
        lsmkv_db *db = NULL;
        lsm_env *env = begin(&db);
        lsmkv_report report;
        lsmkv_error err;
        uint8_t payload[40] = {0};

        lsm_put_u64(payload, lsm_test_sequence(db) + 1);
        lsm_put_u32(payload + 16, 1);
        payload[20] = 0xEE;
        lsm_env *dead = sim_crash(env, 1, LSM_CRASH_ALL, 512);
        lsm_test_abandon(db);
        lsm_sim_destroy(env);
        append_record(dead, ".log", true, LSM_RECORD_BATCH,
                      lsm_slice_make(payload, (size_t)size));
        CHECK_STATUS(open_db(dead, SIM_PATH, false, &db, &err), LSMKV_CORRUPTION);
        CHECK(strstr(err.file, ".log") != NULL && err.offset > 0);
        CHECK_OK(repair(dead, &report, &err));
        CHECK(report.problem_count > 0);
        check_opens(dead, "into");
        lsm_sim_destroy(dead);
    }
}

static void check_big(lsm_env *env, const char *path) {
    static uint8_t value[BIG_SIZE];
    lsmkv_db *db = NULL;
    lsmkv_error err;

    CHECK_OK(open_db(env, path, false, &db, &err));
    for (size_t i = 0; i < BIG_KEYS; i++) {
        char key[16];
        lsmkv_pin pin;
        memset(value, (int)i, sizeof(value));
        CHECK_OK(lsmkv_get(db, NULL, key_of(key, 100 + i), &pin, &err));
        CHECK_EQ(pin.value.size, BIG_SIZE);
        CHECK(memcmp(pin.value.data, value, BIG_SIZE) == 0);
        lsmkv_pin_release(&pin);
    }
    check_batch(db);
    lsm_test_abandon(db);
}

LSM_TEST(a_repair_takes_logs_that_no_single_memtable_holds) {
    static uint8_t value[BIG_SIZE];
    lsmkv_db *db = NULL;
    lsm_env *env = begin(&db);
    lsmkv_report report;
    lsmkv_error err;

    for (size_t i = 0; i < BIG_KEYS; i++) {
        char key[16];
        memset(value, (int)i, sizeof(value));
        CHECK_OK(lsmkv_put(db, NULL, key_of(key, 100 + i),
                           (lsmkv_bytes){value, BIG_SIZE}, &err));
    }
    for (int opens = 0; opens < 2; opens++) { /* what is repaired */
        lsm_env *dead = sim_crash(env, 1, LSM_CRASH_ALL, 512);
        if (!opens) {
            lose_current(dead);
        }
        CHECK_OK(repair(dead, &report, &err));
        check_big(dead, "into");
        lsm_sim_destroy(dead);
    }
    lsm_test_abandon(db);
    lsm_sim_destroy(env);
}

LSM_TEST(a_repair_without_the_logs_that_a_manifest_names_takes_what_is_left) {
    lsmkv_db *db = NULL;
    lsm_env *env = begin(&db);
    lsmkv_report report;
    lsmkv_error err;

    CHECK_OK(lsmkv_close(db, &err)); /* all is in tables now, and no log is left */
    lsmkv_free(db);
    lose_current(env);
    lsm_edit edit;
    lsm_buf payload = {0};
    lsm_edit_init(&edit);
    CHECK(lsm_edit_add_log(&edit, 1000, 7));
    CHECK(lsm_edit_encode(&edit, &payload));
    append_record(env, "MANIFEST", true, LSM_RECORD_EDIT, lsm_buf_slice(&payload));
    lsm_buf_deinit(&payload);
    lsm_edit_deinit(&edit);
    CHECK_OK(repair(env, &report, &err));
    check_opens(env, "into");
    lsm_sim_destroy(env);
}

/* An environment in which directories do not open, or logs vanish. */
static struct {
    const lsm_env_ops *below;
    lsm_env_ops ops;
    int dir_code;
    int logs_left; /* how often one is still found */
} altered;

static int altered_dir_open(lsm_env *env, const char *path, bool create,
                            lsm_dir **dirp) {
    return altered.dir_code != 0 ? altered.dir_code
                                 : altered.below->dir_open(env, path, create, dirp);
}

static int altered_file_open(lsm_dir *dir, const char *name, lsm_open_mode mode,
                             lsm_file **filep) {
    if (mode == LSM_OPEN_READ && strstr(name, ".log") != NULL &&
        altered.logs_left-- <= 0) {
        return ENOENT;
    }
    return altered.below->file_open(dir, name, mode, filep);
}

static void alter_env(lsm_env *env) {
    memset(&altered, 0, sizeof(altered));
    altered.below = env->ops;
    altered.ops = *env->ops;
    altered.ops.dir_open = altered_dir_open;
    altered.ops.file_open = altered_file_open;
    env->ops = &altered.ops;
}

LSM_TEST(a_repair_says_why_it_cannot_look) {
    lsmkv_db *db = NULL;
    lsm_env *env = begin(&db);
    lsmkv_report report;
    lsmkv_error err;

    lsm_test_abandon(db);
    alter_env(env);
    altered.dir_code = EACCES;
    CHECK_STATUS(repair(env, &report, &err), LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, EACCES);
    lsm_sim_destroy(env);
}

LSM_TEST(a_repair_does_not_pass_over_a_log_that_vanishes) {
    int told = 0;
    int failed = 0;

    for (int left = 0; left < 8; left++) {
        lsmkv_db *db = NULL;
        lsm_env *env = begin(&db);
        lsmkv_report report;
        lsmkv_error err;
        lsm_test_abandon(db);
        lose_current(env);
        alter_env(env);
        altered.logs_left = left;
        lsmkv_status status = repair(env, &report, &err);
        if (status != LSMKV_OK) {
            CHECK_STATUS(status, LSMKV_NOT_FOUND);
            CHECK(strstr(err.file, ".log") != NULL);
            failed++;
        } else if (report.problem_count == 0) {
            altered.logs_left = 1000;
            check_opens(env, "into");
        } else {
            told++;
        }
        lsm_sim_destroy(env);
    }
    CHECK(told > 0 && failed > 0);
}

/* Of a follower each log has memtables of its own, also where there is room. */
LSM_TEST(a_follower_reads_on_in_the_next_log) {
    lsmkv_db *db = NULL;
    lsmkv_db *follower = NULL;
    lsmkv_db *later = NULL; /* one that finds several logs */
    lsm_env *env = begin(&db);
    lsmkv_error err;
    lsmkv_pin pin;
    bool changed = false;

    CHECK_OK(open_db(env, SIM_PATH, true, &follower, &err));
    for (int i = 0; i < 2; i++) {
        char key[2] = {'x', (char)('0' + i)};
        CHECK_OK(lsm_db_rotate(db, &err));
        CHECK_OK(
            lsmkv_put(db, NULL, (lsmkv_bytes){key, 2}, (lsmkv_bytes){key, 2}, &err));
        CHECK_OK(lsmkv_refresh(follower, &changed, &err));
        CHECK(changed);
        CHECK_OK(lsmkv_get(follower, NULL, (lsmkv_bytes){key, 2}, &pin, &err));
        lsmkv_pin_release(&pin);
        check_batch(follower);
    }
    CHECK_OK(open_db(env, SIM_PATH, true, &later, &err));
    check_batch(later);
    close_db(later);
    close_db(follower);
    close_db(db);
    lsm_sim_destroy(env);
}
