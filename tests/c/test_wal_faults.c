/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a writer that failed once writes no more and says why, an error of the system
 * is never taken for the end of a log, and no failing allocation leaks. Method: every
 * call of a class made to fail, one after another.
 */
#include "test.h"

#include <errno.h>

#include "base/alloc.h"
#include "wal_help.h"

/* Counts what reached the file. */
static uint64_t writes_so_far(lsm_env *env) {
    return lsm_sim_call_count(env, LSM_SIM_APPEND) +
           lsm_sim_call_count(env, LSM_SIM_SYNC) +
           lsm_sim_call_count(env, LSM_SIM_TRUNCATE);
}

/* The writer answers `expected` to everything and touches its file no more. */
static void check_dead(lsm_env *env, lsm_wal_writer *writer, lsmkv_status expected) {
    uint64_t size = lsm_wal_size(writer);
    uint64_t synced_to = lsm_wal_synced_to(writer);
    uint64_t writes = writes_so_far(env);
    lsmkv_error err;

    CHECK(lsm_wal_dead(writer));
    for (int round = 0; round < 2; round++) {
        CHECK_STATUS(append_one(writer, 9, 10, &err), expected);
        CHECK_EQ(err.status, expected);
        CHECK(strcmp(err.file, LOG_NAME) == 0);
        CHECK_STATUS(append_one(writer, 9, 10, NULL), expected);
        CHECK_STATUS(lsm_wal_sync(writer, &err), expected);
    }
    CHECK_EQ(lsm_wal_size(writer), size);
    CHECK_EQ(lsm_wal_synced_to(writer), synced_to);
    CHECK_OK(lsm_wal_close(writer, &err));
    CHECK_EQ(writes_so_far(env), writes);
}

/* Reads the log and checks that it holds records 0..count-1 of 100 bytes each. */
static void check_log_holds(lsm_dir *dir, size_t count) {
    lsm_wal_reader *reader = open_log(dir);
    lsm_record record;
    lsmkv_error err;

    for (size_t i = 0; i < count; i++) {
        CHECK_OK(lsm_wal_next(reader, &record, &err));
        check_payload(&record, i, 100);
    }
    CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_NOT_FOUND);
    lsm_wal_reader_close(reader);
}

LSM_TEST(writer_is_dead_after_a_failed_append_which_tells_a_full_disk_apart) {
    static const struct {
        int code;
        lsmkv_status status;
    } cases[] = {
        {EIO, LSMKV_IO_ERROR},
        {ENOSPC, LSMKV_DISK_FULL},
        {EDQUOT, LSMKV_DISK_FULL},
        {EFBIG, LSMKV_DISK_FULL},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsmkv_error err;
        lsm_dir *dir;
        lsm_env *env = sim_make(i, &dir);
        lsm_wal_writer *writer = create_log(dir);

        CHECK_OK(append_one(writer, 0, 100, &err));
        lsm_sim_fail(env, LSM_SIM_APPEND, 0, cases[i].code, false);
        CHECK_STATUS(append_one(writer, 1, 100, &err), cases[i].status);
        CHECK_EQ(err.status, cases[i].status);
        CHECK_EQ(err.os_errno, cases[i].code);
        check_dead(env, writer, cases[i].status);
        check_log_holds(dir, 1);
        sim_end(env, dir);
    }
}

LSM_TEST(log_that_outgrew_the_disk_keeps_what_was_acknowledged) {
    for (uint64_t quota = 64; quota < 1200; quota++) {
        lsm_wal_writer *writer = NULL;
        lsmkv_error err;
        lsm_dir *dir;
        lsm_env *env = sim_make(quota, &dir);
        lsmkv_status status = LSMKV_OK;
        size_t count = 0;

        lsm_sim_set_quota(env, quota);
        lsm_sim_set_short_odds(env, 200);
        CHECK_OK(lsm_wal_create(dir, LOG_NAME, &log_header, &writer, &err));
        while (status == LSMKV_OK) {
            status = append_one(writer, count, 100, &err);
            count += status == LSMKV_OK;
        }
        CHECK_STATUS(status, LSMKV_DISK_FULL);
        lsm_sim_set_quota(env, 0);
        check_dead(env, writer, LSMKV_DISK_FULL);
        check_log_holds(dir, count);
        sim_end(env, dir);
    }
}

LSM_TEST(writer_is_dead_after_a_failed_sync) {
    for (int gate = 0; gate < 2; gate++) {
        lsmkv_error err;
        lsm_dir *dir;
        lsm_env *env = sim_make(1, &dir);
        lsm_wal_writer *writer = create_log(dir);

        CHECK_OK(append_one(writer, 0, 100, &err));
        CHECK_OK(lsm_wal_sync(writer, &err));
        CHECK_OK(lsm_dir_sync(dir, &err));
        uint64_t synced_to = lsm_wal_synced_to(writer);
        CHECK_OK(append_one(writer, 1, 100, &err));
        lsm_sim_set_fsyncgate(env, gate != 0);
        lsm_sim_fail(env, LSM_SIM_SYNC, 0, EIO, false);
        CHECK_STATUS(lsm_wal_sync(writer, &err), LSMKV_IO_ERROR);
        CHECK_EQ(err.os_errno, EIO);
        CHECK_EQ(lsm_wal_synced_to(writer), synced_to);
        check_dead(env, writer, LSMKV_IO_ERROR);

        /* What was synced before is there after a power failure, no mark says more. */
        lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 512);
        lsm_dir *after;
        CHECK_OK(lsm_dir_open(crashed, SIM_PATH, false, &after, &err));
        check_log_holds(after, 1);
        sim_end(crashed, after);
        sim_end(env, dir);
    }
}

LSM_TEST(sync_succeeds_though_its_mark_fails_and_the_writer_is_dead_then) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_wal_writer *writer = create_log(dir);

    CHECK_OK(append_one(writer, 0, 100, &err));
    lsm_sim_fail(env, LSM_SIM_APPEND, 0, ENOSPC, false);
    CHECK_OK(lsm_wal_sync(writer, &err));
    CHECK_EQ(lsm_wal_synced_to(writer), lsm_wal_size(writer));
    check_dead(env, writer, LSMKV_DISK_FULL);
    check_log_holds(dir, 1);
    sim_end(env, dir);
}

LSM_TEST(failed_creation_leaves_no_file) {
    static const lsm_sim_call calls[] = {LSM_SIM_OPEN, LSM_SIM_APPEND};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        lsm_wal_writer *writer = NULL;
        lsmkv_error err;
        lsm_dir *dir;
        lsm_env *env = sim_make(1, &dir);

        lsm_sim_fail(env, calls[i], 0, EIO, false);
        CHECK_STATUS(lsm_wal_create(dir, LOG_NAME, &log_header, &writer, &err),
                     LSMKV_IO_ERROR);
        CHECK(writer == NULL);
        CHECK(!sim_exists(env, LOG_NAME));
        sim_end(env, dir);
    }
}

LSM_TEST(creation_does_not_take_an_existing_file) {
    lsm_wal_writer *writer = NULL;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);

    sim_write(dir, LOG_NAME, "something");
    CHECK_STATUS(lsm_wal_create(dir, LOG_NAME, &log_header, &writer, &err),
                 LSMKV_IO_ERROR);
    CHECK(sim_holds(env, LOG_NAME, "something"));
    sim_end(env, dir);
}

LSM_TEST(close_reports_the_system_and_frees_the_writer) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_wal_writer *writer = create_log(dir);

    CHECK_OK(append_one(writer, 0, 100, &err));
    lsm_sim_fail(env, LSM_SIM_CLOSE, 0, EIO, false);
    CHECK_STATUS(lsm_wal_close(writer, &err), LSMKV_IO_ERROR);
    CHECK_OK(lsm_wal_close(NULL, &err));
    check_log_holds(dir, 1);
    sim_end(env, dir);
}

/* Writes records of 100 bytes up to over three windows, with a mark in the middle. */
static size_t write_long_log(lsm_dir *dir) {
    enum { COUNT = 7000 };
    lsm_wal_writer *writer = create_log(dir);
    lsmkv_error err;

    for (size_t i = 0; i < COUNT; i++) {
        CHECK_OK(append_one(writer, i, 100, &err));
        if (i == COUNT / 2) {
            CHECK_OK(lsm_wal_sync(writer, &err));
        }
    }
    CHECK(lsm_wal_size(writer) > (uint64_t)3 << 18);
    CHECK_OK(lsm_wal_close(writer, &err));
    return COUNT;
}

LSM_TEST(no_read_error_passes_for_the_end_and_reading_goes_on_after_it) {
    static const int codes[] = {EIO, ENOENT, EACCES};
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    size_t count = write_long_log(dir);

    for (size_t code = 0; code < LSM_ARRAY_COUNT(codes); code++) {
        uint64_t failures = 0;
        bool failed = true;

        for (uint64_t n = 0; failed; n++) {
            lsm_wal_reader *reader = NULL;
            lsm_record record;
            size_t read = 0;

            lsm_sim_fail(env, LSM_SIM_READ, n, codes[code], false);
            lsmkv_status status =
                lsm_wal_open(dir, LOG_NAME, &log_expect, &reader, NULL, &err);
            failed = status != LSMKV_OK;
            while (status == LSMKV_OK || (reader != NULL && status == LSMKV_IO_ERROR)) {
                status = lsm_wal_next(reader, &record, &err);
                failed = failed || status == LSMKV_IO_ERROR;
                if (status == LSMKV_OK) {
                    check_payload(&record, read, 100);
                    read++;
                }
            }
            CHECK(reader == NULL ? status == LSMKV_IO_ERROR
                                 : status == LSMKV_NOT_FOUND && read == count);
            lsm_wal_reader_close(reader);
            failures += failed;
        }
        CHECK(failures >= 4);
        lsm_sim_fail(env, LSM_SIM_READ, 0, 0, false);
    }
    sim_end(env, dir);
}

LSM_TEST(read_error_while_looking_for_marks_is_no_end) {
    const uint8_t *data = NULL;
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    size_t size = 0;

    (void)write_long_log(dir);
    CHECK(lsm_sim_file_read(env, SIM_PATH, LOG_NAME, &data, &size));
    uint8_t *bytes = lsm_alloc(size);
    CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    bytes[LSM_RECORD_FILE_HEADER_SIZE] ^= 1;
    CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes, size));
    lsm_wal_reader *reader = open_log(dir);
    for (uint64_t n = 0; n < 3; n++) {
        lsm_sim_fail(env, LSM_SIM_READ, 0, EIO, false);
        CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_IO_ERROR);
    }
    CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_CORRUPTION);
    CHECK_EQ(err.offset, LSM_RECORD_FILE_HEADER_SIZE);
    lsm_wal_reader_close(reader);

    /* The same for a bad header: no answer about marks without reading them all. */
    bytes[0] ^= 1;
    CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes, size));
    for (uint64_t n = 0; n < 3; n++) {
        bool torn = false;

        lsm_sim_fail(env, LSM_SIM_READ, n, EIO, false);
        CHECK_STATUS(lsm_wal_open(dir, LOG_NAME, &log_expect, &reader, &torn, &err),
                     LSMKV_IO_ERROR);
        CHECK(!torn && reader == NULL);
    }
    lsm_free(bytes);
    sim_end(env, dir);
}

LSM_TEST(a_log_that_is_gone_for_the_system_does_not_just_end) {
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);

    (void)write_long_log(dir);
    for (int told = 0; told < 2; told++) {
        lsm_wal_reader *reader = NULL;
        lsmkv_error *to = told == 1 ? &err : NULL;
        lsmkv_status status = LSMKV_OK;
        CHECK_OK(lsm_wal_open(dir, LOG_NAME, &log_expect, &reader, NULL, &err));
        lsm_sim_fail(env, LSM_SIM_READ, 0, ENOENT, true);
        while (status == LSMKV_OK) {
            status = lsm_wal_next(reader, &record, to);
        }
        CHECK_STATUS(status, LSMKV_IO_ERROR);
        CHECK(told == 0 || err.status == LSMKV_IO_ERROR);
        lsm_sim_fail(env, LSM_SIM_READ, 0, 0, false);
        lsm_wal_reader_close(reader);
    }
    sim_end(env, dir);
}

LSM_TEST(log_cut_while_it_is_read_is_corruption) {
    const uint8_t *data = NULL;
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsmkv_status status = LSMKV_OK;
    size_t size = 0;

    (void)write_long_log(dir);
    lsm_wal_reader *reader = open_log(dir);
    CHECK(lsm_sim_file_read(env, SIM_PATH, LOG_NAME, &data, &size));
    uint8_t *bytes = lsm_alloc(size);
    CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes, size / 2));
    while (status == LSMKV_OK) {
        status = lsm_wal_next(reader, &record, &err);
    }
    CHECK_STATUS(status, LSMKV_CORRUPTION);
    lsm_wal_reader_close(reader);
    lsm_free(bytes);
    sim_end(env, dir);
}

LSM_TEST(log_survives_every_failing_allocation) {
    bool all = false;

    for (uint64_t n = 0; !all; n++) {
        lsm_wal_writer *writer = NULL;
        lsm_wal_reader *reader = NULL;
        lsm_record record;
        lsmkv_error err;
        lsm_dir *dir;
        lsm_env *env = sim_make(1, &dir);
        lsm_buf buf = make_payload(0, 600000);
        lsm_buf *const records[] = {&buf};

        lsm_alloc_fail_after(n, 0);
        lsmkv_status status = lsm_wal_create(dir, LOG_NAME, &log_header, &writer, &err);
        if (status == LSMKV_OK) {
            status = lsm_wal_append(writer, LSM_RECORD_BATCH, records, 1, &err);
        }
        if (status == LSMKV_OK) {
            status = lsm_wal_open(dir, LOG_NAME, &log_expect, &reader, NULL, &err);
        }
        if (status == LSMKV_OK) {
            status = lsm_wal_next(reader, &record, &err);
            CHECK(status == LSMKV_NO_MEMORY || record.payload.size == 600000);
        }
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        all = status == LSMKV_OK;
        lsm_alloc_fail_never();
        lsm_wal_reader_close(reader);
        CHECK_OK(lsm_wal_close(writer, &err));
        lsm_buf_deinit(&buf);
        sim_end(env, dir);
        CHECK(n < 100);
    }
}
