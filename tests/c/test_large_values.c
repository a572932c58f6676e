/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: large values are there in every state of their life, and their files exactly as
 * long as somebody may follow a pointer. Method: whole databases in the simulator, with
 * a tiny threshold and tiny logs; each test is one story.
 */
#include "db_help.h"
#include "sim_help.h"

#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"

enum { THRESHOLD = 100, KEYS = 30, VALUE_SIZE = 700, VALUE_ROOM = 704 };

static lsmkv_db *open_db(lsm_env *env, uint64_t log_bytes) {
    lsmkv_error err;
    lsmkv_options options;
    lsmkv_db *db = NULL;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.blob_threshold_bytes = THRESHOLD;
    options.log_bytes = log_bytes;
    options.seed = 1;
    CHECK_OK(lsm_test_open(env, SIM_PATH, &options, &db, &err));
    return db;
}

static lsmkv_bytes key_of(char to[16], size_t index) {
    int size = snprintf(to, 16, "key%06zu", index);
    return (lsmkv_bytes){to, (size_t)size};
}

static uint8_t byte_of(size_t index, size_t at, size_t round) {
    return (uint8_t)(index * 31 + at * 7 + (at >> 8) + round * 101);
}

static void put(lsmkv_db *db, size_t index, size_t size, size_t round) {
    lsmkv_error err;
    char key[16];
    uint8_t *value = lsm_alloc(size + 1);

    CHECK(value != NULL);
    for (size_t i = 0; i < size; i++) {
        value[i] = byte_of(index, i, round);
    }
    CHECK_OK(lsmkv_put(db, NULL, key_of(key, index), (lsmkv_bytes){value, size}, &err));
    lsm_free(value);
}

static void put_all(lsmkv_db *db, size_t round) {
    for (size_t i = 0; i < KEYS; i++) {
        put(db, i, VALUE_SIZE, round);
    }
}

static void check_bytes(lsmkv_bytes value, size_t index, size_t size, size_t round) {
    CHECK_EQ(value.size, size);
    for (size_t i = 0; i < size; i++) {
        if (((const uint8_t *)value.data)[i] != byte_of(index, i, round)) {
            lsm_test_fail(__FILE__, __LINE__, "value %zu differs at %zu", index, i);
        }
    }
}

static void check_get(lsmkv_db *db, const lsmkv_read *read, size_t index, size_t size,
                      size_t round) {
    lsmkv_error err;
    lsmkv_pin pin;
    char key[16];

    CHECK_OK(lsmkv_get(db, read, key_of(key, index), &pin, &err));
    check_bytes(pin.value, index, size, round);
    lsmkv_pin_release(&pin);
}

static void check_all(lsmkv_db *db, const lsmkv_read *read, size_t round) {
    for (size_t i = 0; i < KEYS; i++) {
        check_get(db, read, i, VALUE_SIZE, round);
    }
}

static lsmkv_stats stats_of(lsmkv_db *db) {
    lsmkv_error err;
    lsmkv_stats stats;

    CHECK_OK(lsmkv_get_stats(db, &stats, &err));
    return stats;
}

static void check_whole(lsmkv_db *db) {
    lsmkv_error err;
    lsmkv_report report;
    char name[LSM_NAME_SIZE_MAX] = "";

    CHECK_OK(lsmkv_verify(db, NULL, NULL, &report, &err));
    CHECK_EQ(report.problem_count, 0);
    if (!lsm_test_files_match(db, name)) {
        lsm_test_fail(__FILE__, __LINE__, "a file too many or too few: %s", name);
    }
}

static void flush(lsmkv_db *db) {
    lsmkv_error err;

    CHECK_OK(lsmkv_flush(db, &err));
}

static void compact(lsmkv_db *db) {
    lsmkv_error err;

    CHECK_OK(lsmkv_compact(db, NULL, NULL, &err));
}

static const size_t edge_sizes[] = {0,        THRESHOLD - 1,  THRESHOLD, THRESHOLD + 1,
                                    64 << 10, (64 << 10) + 1, 3 << 20,   1};

/* By get, get_many and iterators of both directions. */
static void check_edges(lsmkv_db *db) {
    enum { COUNT = LSM_ARRAY_COUNT(edge_sizes) };
    lsmkv_lookup lookups[COUNT];
    char keys[COUNT][16];
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_iter *iter = NULL;
    lsmkv_chunk chunk;
    lsmkv_fill fill = {.keys_only = true, .row_max = 3};

    for (size_t i = 0; i < COUNT; i++) {
        check_get(db, NULL, i, edge_sizes[i], 0);
        lookups[i] = (lsmkv_lookup){.key = key_of(keys[i], i)};
    }
    CHECK_OK(lsmkv_get_many(db, NULL, lookups, COUNT, &pin, &err));
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(lookups[i].found);
        check_bytes(lookups[i].value, i, edge_sizes[i], 0);
    }
    lsmkv_pin_release(&pin);
    CHECK_OK(lsmkv_iter_create(db, NULL, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(lsmkv_iter_valid(iter));
        check_bytes(lsmkv_iter_value(iter), i, edge_sizes[i], 0);
        CHECK_OK(lsmkv_iter_next(iter, &err));
    }
    CHECK_OK(lsmkv_iter_seek_last(iter, &err));
    for (size_t i = COUNT; i-- > 0;) {
        CHECK(lsmkv_iter_valid(iter));
        check_bytes(lsmkv_iter_value(iter), i, edge_sizes[i], 0);
        CHECK_OK(lsmkv_iter_prev(iter, &err));
    }
    /* A chunk of keys reads no value, not of the row behind it either. */
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    CHECK_OK(lsmkv_iter_fill(iter, &fill, &chunk, &err));
    CHECK_EQ(chunk.row_count, 3);
    CHECK_EQ(chunk.rows[2].value_size, 0);
    CHECK_EQ(lsmkv_iter_value(iter).size, 0);
    fill.keys_only = false;
    CHECK_OK(lsmkv_iter_fill(iter, &fill, &chunk, &err));
    CHECK_EQ(chunk.rows[0].value_size, edge_sizes[3]);
    lsmkv_iter_free(iter);
}

LSM_TEST(values_around_the_threshold_and_huge_ones_live_everywhere) {
    lsm_env *env = lsm_sim_create(1);
    lsmkv_db *db = open_db(env, 1 << 20);

    for (size_t i = 0; i < LSM_ARRAY_COUNT(edge_sizes); i++) {
        put(db, i, edge_sizes[i], 0);
    }
    check_edges(db); /* in memtables and their logs */
    flush(db);
    check_edges(db);
    CHECK(stats_of(db).segment_count > 0);
    compact(db);
    check_edges(db);
    check_whole(db);
    close_db(db);
    db = open_db(env, 1 << 20);
    check_edges(db);
    check_whole(db);
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(recovery_copies_values_out_of_several_logs) {
    lsm_env *env = lsm_sim_create(2);
    lsmkv_db *db = open_db(env, 1 << 13);

    put_all(db, 0);
    put_all(db, 1);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(edge_sizes); i++) {
        put(db, i, edge_sizes[i], 0);
    }
    for (size_t i = LSM_ARRAY_COUNT(edge_sizes); i < KEYS; i++) {
        put(db, i, VALUE_SIZE, 2);
    }
    lsm_test_abandon(db);
    db = open_db(env, 1 << 13);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(edge_sizes); i++) {
        check_get(db, NULL, i, edge_sizes[i], 0);
    }
    for (size_t i = LSM_ARRAY_COUNT(edge_sizes); i < KEYS; i++) {
        check_get(db, NULL, i, VALUE_SIZE, 2);
    }
    CHECK(stats_of(db).segment_count > 0);
    check_whole(db);
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(logs_of_mostly_large_values_stay_and_others_are_copied) {
    lsm_env *env = lsm_sim_create(3);
    lsmkv_db *db = open_db(env, 1 << 20);

    put_all(db, 0);
    flush(db);
    CHECK_EQ(stats_of(db).segment_count, 1);
    CHECK_EQ(stats_of(db).segment_bytes_written, 0);
    CHECK_EQ(stats_of(db).segment_live_bytes, KEYS * VALUE_ROOM);
    for (size_t i = 0; i < 400; i++) {
        put(db, 1000 + i, THRESHOLD - 1, 0);
    }
    put(db, 2000, VALUE_SIZE, 0);
    flush(db);
    CHECK(stats_of(db).segment_bytes_written > VALUE_SIZE);
    CHECK(stats_of(db).segment_bytes_written < 2 * VALUE_SIZE + 200);
    check_get(db, NULL, 2000, VALUE_SIZE, 0);
    check_all(db, NULL, 0);
    check_whole(db);
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(overwritten_values_free_their_segment) {
    lsm_env *env = lsm_sim_create(4);
    lsmkv_db *db = open_db(env, 1 << 20);

    for (size_t round = 0; round < 4; round++) {
        put_all(db, round);
        flush(db);
        compact(db);
        CHECK_EQ(stats_of(db).segment_count, 1);
        CHECK_EQ(stats_of(db).segment_live_bytes, KEYS * VALUE_ROOM);
        check_all(db, NULL, round);
        check_whole(db);
    }
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(snapshots_iterators_and_views_keep_what_they_show) {
    lsm_env *env = lsm_sim_create(5);
    lsmkv_db *db = open_db(env, 1 << 20);
    lsmkv_error err;
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_iter *iter = NULL;
    lsmkv_view *view = NULL;
    lsmkv_bytes value;
    char key[16];

    put_all(db, 0);
    flush(db);
    CHECK_OK(lsmkv_snapshot_create(db, &snapshot, &err));
    CHECK_OK(lsmkv_iter_create(db, NULL, NULL, &iter, &err));
    CHECK_OK(lsmkv_get_view(db, NULL, key_of(key, 3), &view, &value, &err));
    put_all(db, 1);
    flush(db);
    compact(db);
    CHECK_EQ(stats_of(db).segment_count, 2);
    check_all(db, &(lsmkv_read){.snapshot = snapshot}, 0);
    lsmkv_snapshot_free(snapshot);
    put_all(db, 2);
    compact(db);
    CHECK_EQ(stats_of(db).segment_count, 1);
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    for (size_t i = 0; i < KEYS; i++) {
        check_bytes(lsmkv_iter_value(iter), i, VALUE_SIZE, 0);
        CHECK_OK(lsmkv_iter_next(iter, &err));
    }
    lsmkv_iter_free(iter);
    check_bytes(value, 3, VALUE_SIZE, 0);
    check_all(db, NULL, 2);
    close_db(db);
    check_bytes(value, 3, VALUE_SIZE, 0); /* also after the database */
    lsmkv_view_free(view);
    db = open_db(env, 1 << 20);
    check_all(db, NULL, 2);
    check_whole(db);
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(views_show_small_values_and_answer_for_missing_ones) {
    lsm_env *env = lsm_sim_create(6);
    lsmkv_db *db = open_db(env, 1 << 20);
    lsmkv_error err;
    lsmkv_view *view = NULL;
    lsmkv_bytes value;
    char key[16];

    put(db, 1, 10, 0);
    put(db, 2, 0, 0);
    CHECK_STATUS(lsmkv_get_view(db, NULL, key_of(key, 3), &view, &value, &err),
                 LSMKV_NOT_FOUND);
    CHECK(view == NULL);
    lsmkv_view_free(view);
    CHECK_OK(lsmkv_get_view(db, NULL, key_of(key, 2), &view, &value, &err));
    CHECK_EQ(value.size, 0);
    lsmkv_view_free(view);
    CHECK_OK(lsmkv_get_view(db, NULL, key_of(key, 1), &view, &value, &err));
    put(db, 1, 10, 1);
    compact(db);
    check_bytes(value, 1, 10, 0);
    close_db(db);
    check_bytes(value, 1, 10, 0);
    lsmkv_view_free(view);
    lsm_sim_destroy(env);
}

LSM_TEST(large_values_are_not_answered_without_waiting_where_nothing_is_mapped) {
    lsm_env *env = lsm_sim_create(7);
    lsmkv_db *db = open_db(env, 1 << 20);
    lsmkv_read read = {.nonblocking = true};
    lsmkv_error err;
    lsmkv_pin pin;
    char key[16];

    put(db, 1, VALUE_SIZE, 0);
    put(db, 2, THRESHOLD - 1, 0);
    CHECK_STATUS(lsmkv_get(db, &read, key_of(key, 1), &pin, &err), LSMKV_WOULD_BLOCK);
    check_get(db, &read, 2, THRESHOLD - 1, 0);
    check_get(db, NULL, 1, VALUE_SIZE, 0);
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(moved_values_never_bring_back_what_was_deleted) {
    lsm_env *env = lsm_sim_create(9);
    lsmkv_db *db = open_db(env, 1 << 13);
    lsmkv_error err;
    lsmkv_pin pin;
    char key[16];

    /* Every third key is written once and keeps a share of the oldest segments alive;
     * the others are overwritten, and some of them deleted, again and again. */
    put_all(db, 0);
    for (size_t round = 1; round < 30; round++) {
        for (size_t i = 0; i < KEYS; i++) {
            if (i % 3 == 1 || (i % 3 == 2 && round % 2 == 0)) {
                put(db, i, VALUE_SIZE, round);
            } else if (i % 3 == 2) {
                CHECK_OK(lsmkv_delete(db, NULL, key_of(key, i), &err));
            }
        }
        flush(db);
        CHECK_OK(lsmkv_settle(db, &err));
        for (size_t i = 0; i < KEYS; i++) {
            if (i % 3 == 2 && round % 2 == 1) {
                CHECK_STATUS(lsmkv_get(db, NULL, key_of(key, i), &pin, &err),
                             LSMKV_NOT_FOUND);
            } else {
                check_get(db, NULL, i, VALUE_SIZE, i % 3 == 0 ? 0 : round);
            }
        }
    }
    lsmkv_stats stats = stats_of(db);
    CHECK(stats.relocated_bytes > 0);
    CHECK(stats.segment_bytes < 3 * stats.segment_live_bytes + (2 << 13));
    check_whole(db);
    close_db(db);
    lsm_sim_destroy(env);
}

LSM_TEST(a_full_disk_in_a_large_batch_loses_that_batch_alone) {
    lsm_env *env = lsm_sim_create(8);
    lsmkv_db *db = open_db(env, 1 << 20);
    lsmkv_error err;
    lsmkv_batch *batch = NULL;
    char key[16];
    uint8_t value[VALUE_SIZE] = {1};

    put_all(db, 0);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    for (size_t i = 0; i < KEYS; i++) {
        CHECK_OK(lsmkv_batch_put(batch, NULL, key_of(key, i),
                                 (lsmkv_bytes){value, sizeof(value)}, &err));
    }
    lsm_sim_set_quota(env, 40000);
    CHECK_STATUS(lsmkv_write_batch(db, NULL, batch, &err), LSMKV_DISK_FULL);
    check_all(db, NULL, 0);
    lsm_sim_set_quota(env, UINT64_MAX);
    put(db, 4, VALUE_SIZE, 1);
    check_get(db, NULL, 4, VALUE_SIZE, 1);
    check_get(db, NULL, 5, VALUE_SIZE, 0);
    flush(db);
    put(db, 4, VALUE_SIZE, 0);
    check_all(db, NULL, 0);
    close_db(db);
    db = open_db(env, 1 << 20);
    check_all(db, NULL, 0);
    check_whole(db);
    close_db(db);
    lsmkv_batch_free(batch);
    lsm_sim_destroy(env);
}
