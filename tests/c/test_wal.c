/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a log is read back as it was written, and after any power failure it is a
 * prefix of it with all that was synced. Method: logs of a few groups in the
 * simulator, crashed before every step in every mode and sector size. Seeds are in
 * the source.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "wal_help.h"

LSM_TEST(log_of_one_writer_is_read_back_whole) {
    static const size_t sizes[] = {0,    1,      7,      8,       100,    4096,
                                   9999, 262144, 300000, 1 << 20, 262137, 3};
    enum { COUNT = LSM_ARRAY_COUNT(sizes) };
    uint64_t offsets[COUNT];
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_wal_writer *writer = create_log(dir);

    CHECK_EQ(lsm_wal_number(writer), LOG_NUMBER);
    CHECK_EQ(lsm_wal_file_id(writer), LOG_FILE_ID);
    for (size_t i = 0; i < COUNT; i++) {
        offsets[i] = lsm_wal_size(writer);
        CHECK_OK(append_one(writer, i, sizes[i], &err));
        CHECK_EQ(lsm_wal_size(writer), offsets[i] + lsm_record_size(sizes[i]));
        if (i % 4 == 3) {
            CHECK_OK(lsm_wal_sync(writer, &err));
        }
    }
    uint64_t size = lsm_wal_size(writer);
    uint64_t synced_to = lsm_wal_synced_to(writer);
    CHECK_EQ(synced_to, size - LSM_RECORD_HEADER_SIZE);
    CHECK_OK(lsm_wal_close(writer, &err));

    lsm_sim_set_short_odds(env, 400);
    lsm_wal_reader *reader = open_log(dir);
    CHECK_EQ(lsm_wal_header(reader)->previous_sequence, 41);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_OK(lsm_wal_next(reader, &record, &err));
        CHECK_EQ(record.offset, offsets[i]);
        check_payload(&record, i, sizes[i]);
    }
    for (int round = 0; round < 2; round++) {
        CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_NOT_FOUND);
        CHECK_EQ(lsm_wal_end(reader), size);
        CHECK_EQ(lsm_wal_dropped(reader), 0);
        CHECK_EQ(lsm_wal_highest_mark(reader), synced_to);
    }
    lsm_wal_reader_close(reader);
    sim_end(env, dir);
}

LSM_TEST(log_group_is_one_append_without_allocation) {
    lsm_buf bufs[LSM_WAL_GROUP_MAX];
    lsm_buf *records[LSM_WAL_GROUP_MAX];
    char path[256];
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *sim = sim_make(1, &dir);
    lsm_wal_writer *writer = create_log(dir);

    for (size_t i = 0; i < LSM_WAL_GROUP_MAX; i++) {
        bufs[i] = make_payload(i, i * 3);
        records[i] = &bufs[i];
    }
    uint64_t appends = lsm_sim_call_count(sim, LSM_SIM_APPEND);
    CHECK_OK(
        lsm_wal_append(writer, LSM_RECORD_BATCH, records, LSM_WAL_GROUP_MAX, &err));
    CHECK_EQ(lsm_sim_call_count(sim, LSM_SIM_APPEND), appends + 1);
    CHECK_OK(lsm_wal_close(writer, &err));
    sim_end(sim, dir);

    /* The simulator allocates, the operating system does not. */
    (void)snprintf(path, sizeof(path), "%s/lsmkv-wal-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    CHECK_OK(lsm_dir_open(lsm_env_posix(), path, false, &dir, &err));
    writer = create_log(dir);
    uint64_t allocations = lsm_alloc_count();
    CHECK_OK(
        lsm_wal_append(writer, LSM_RECORD_BATCH, records, LSM_WAL_GROUP_MAX, &err));
    CHECK_OK(lsm_wal_sync(writer, &err));
    CHECK_OK(lsm_wal_append(writer, LSM_RECORD_BATCH, records, 1, &err));
    CHECK_EQ(lsm_alloc_count(), allocations);
    CHECK_OK(lsm_wal_close(writer, &err));

    lsm_wal_reader *reader = open_log(dir);
    lsm_record record;
    for (size_t i = 0; i <= LSM_WAL_GROUP_MAX; i++) {
        size_t number = i % LSM_WAL_GROUP_MAX;

        CHECK_OK(lsm_wal_next(reader, &record, &err));
        check_payload(&record, number, number * 3);
        lsm_buf_deinit(&bufs[number]);
    }
    CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_NOT_FOUND);
    lsm_wal_reader_close(reader);
    CHECK_OK(lsm_dir_unlink(dir, LOG_NAME, &err));
    lsm_dir_close(dir);
    CHECK_EQ(rmdir(path), 0);
}

LSM_TEST(marks_follow_each_sync_and_headers_repeat_them) {
    const uint8_t *data = NULL;
    size_t size = 0;
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_wal_writer *writer = create_log(dir);

    CHECK_OK(lsm_wal_sync(writer, &err)); /* the file header alone */
    CHECK_EQ(lsm_wal_synced_to(writer), 64);
    CHECK_EQ(lsm_wal_size(writer), 64 + 24);
    uint64_t steps = lsm_sim_steps(env);
    CHECK_OK(lsm_wal_sync(writer, &err)); /* nothing but the mark is unsynced */
    CHECK_EQ(lsm_sim_steps(env), steps);
    CHECK_OK(append_one(writer, 0, 8, &err));
    CHECK_OK(append_one(writer, 1, 8, &err));
    CHECK_OK(lsm_wal_sync(writer, &err));
    CHECK_OK(append_one(writer, 2, 8, &err));
    CHECK_OK(lsm_wal_close(writer, &err));

    static const struct {
        lsm_record_type type;
        uint64_t synced_to;
    } expected[] = {
        {LSM_RECORD_MARK, 64},  {LSM_RECORD_BATCH, 64},  {LSM_RECORD_BATCH, 64},
        {LSM_RECORD_MARK, 152}, {LSM_RECORD_BATCH, 152},
    };
    uint64_t at = 64;
    CHECK(lsm_sim_file_read(env, SIM_PATH, LOG_NAME, &data, &size));
    for (size_t i = 0; i < LSM_ARRAY_COUNT(expected); i++) {
        lsm_slice rest = lsm_slice_make(data + at, size - (size_t)at);

        CHECK(lsm_record_parse(rest, LOG_FILE_ID, at, &record));
        CHECK_EQ(record.type, expected[i].type);
        CHECK_EQ(record.synced_to, expected[i].synced_to);
        at += record.size;
    }
    CHECK_EQ(at, size);
    sim_end(env, dir);
}

/* A workload whose state the crash hook looks at. */
typedef struct crash_run {
    lsm_env *env;
    size_t sizes[64];
    size_t given;  /* records handed to lsm_wal_append */
    size_t synced; /* of them, covered by a successful sync */
    bool header_synced;
    uint64_t states;
    uint64_t torn; /* states with dropped bytes or a torn header */
} crash_run;

/* Reads the crashed log: a prefix, never corruption, nothing synced missing. */
static void check_crashed(crash_run *run, lsm_env *crashed) {
    lsm_wal_reader *reader = NULL;
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    bool torn = false;
    size_t count = 0;

    run->states++;
    CHECK_OK(lsm_dir_open(crashed, SIM_PATH, false, &dir, &err));
    lsmkv_status status =
        lsm_wal_open(dir, LOG_NAME, &log_expect, &reader, &torn, &err);
    if (status == LSMKV_OK) {
        while ((status = lsm_wal_next(reader, &record, &err)) == LSMKV_OK) {
            CHECK(count < run->given);
            check_payload(&record, count, run->sizes[count]);
            count++;
        }
        CHECK_STATUS(status, LSMKV_NOT_FOUND);
        run->torn += lsm_wal_dropped(reader) != 0;
    } else {
        /* The name may be gone too: the directory was not synced. */
        CHECK(status == LSMKV_CORRUPTION ? torn : status == LSMKV_NOT_FOUND);
        CHECK(!run->header_synced);
        run->torn++;
    }
    CHECK(count >= run->synced);
    lsm_wal_reader_close(reader);
    lsm_dir_close(dir);
}

static void crash_here(void *context, uint64_t step) {
    static const uint32_t sectors[] = {32, 64, 512, 4096};
    crash_run *run = context;

    for (int mode = 0; mode < LSM_CRASH_MODE_COUNT; mode++) {
        for (size_t i = 0; i < LSM_ARRAY_COUNT(sectors); i++) {
            lsm_env *crashed =
                sim_crash(run->env, step * 64 + i, (lsm_crash_mode)mode, sectors[i]);

            check_crashed(run, crashed);
            lsm_sim_destroy(crashed);
        }
    }
}

/* Writes random groups and syncs, crashing before every step. */
static void run_crashes(crash_run *run, uint64_t seed) {
    lsm_rng rng = {seed};
    lsmkv_error err;
    lsm_dir *dir;

    *run = (crash_run){.states = run->states, .torn = run->torn};
    run->env = sim_make(seed, &dir);
    lsm_sim_set_hook(run->env, crash_here, run);
    lsm_wal_writer *writer = create_log(dir);
    while (run->given < LSM_ARRAY_COUNT(run->sizes)) {
        lsm_buf bufs[8];
        lsm_buf *records[8];
        size_t count = 1 + (size_t)lsm_rng_below(&rng, 8);

        if (count > LSM_ARRAY_COUNT(run->sizes) - run->given) {
            count = LSM_ARRAY_COUNT(run->sizes) - run->given;
        }
        for (size_t i = 0; i < count; i++) {
            size_t number = run->given + i;
            uint64_t limit = lsm_rng_below(&rng, 8) == 0 ? 3000 : 100;

            run->sizes[number] = (size_t)lsm_rng_below(&rng, limit);
            bufs[i] = make_payload(number, run->sizes[number]);
            records[i] = &bufs[i];
        }
        run->given += count;
        CHECK_OK(lsm_wal_append(writer, LSM_RECORD_BATCH, records, count, &err));
        for (size_t i = 0; i < count; i++) {
            lsm_buf_deinit(&bufs[i]);
        }
        if (lsm_rng_below(&rng, 3) == 0) {
            CHECK_OK(lsm_wal_sync(writer, &err));
            CHECK_OK(lsm_dir_sync(dir, &err));
            run->synced = run->given;
            run->header_synced = true;
        }
    }
    CHECK_OK(lsm_wal_close(writer, &err));
    lsm_sim_set_hook(run->env, NULL, NULL);
    sim_end(run->env, dir);
}

LSM_TEST(log_after_any_crash_is_a_prefix_with_all_that_was_synced) {
    crash_run run = {0};

    for (uint64_t seed = 1; seed <= 12; seed++) {
        run_crashes(&run, seed);
    }
    (void)printf("%llu states, %llu torn ", (unsigned long long)run.states,
                 (unsigned long long)run.torn);
    CHECK(run.states > 5000);
    CHECK(run.torn > run.states / 10);
}
