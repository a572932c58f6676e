/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a view of a value stays what it was, whatever becomes of the value, of the file
 * it lies in and of the database. Method: a database in a real directory, with and
 * without mappings; values that lie in blocks, in logs and in files of their own are
 * lent, overwritten, compacted away, and looked at once more behind the close.
 */
#include "db_help.h"
#include "posix_help.h"

#include "include/lsmkv.h"

enum { KEYS = 12, SMALL_SIZE = 100, LARGE_SIZE = 5000 };

static size_t size_of(size_t index) {
    return index % 3 == 0 ? SMALL_SIZE : LARGE_SIZE;
}

static lsmkv_bytes key_at(char to[16], size_t index) {
    int size = snprintf(to, 16, "key%02zu", index);

    return (lsmkv_bytes){to, (size_t)size};
}

static void put_all(lsmkv_db *db, int round) {
    for (size_t i = 0; i < KEYS; i++) {
        char key[16];
        uint8_t value[LARGE_SIZE];
        lsmkv_error err;
        memset(value, (int)i * 7 + round, sizeof(value));
        CHECK_OK(lsmkv_put(db, NULL, key_at(key, i), (lsmkv_bytes){value, size_of(i)},
                           &err));
    }
}

static void check_value(lsmkv_bytes value, size_t index, int round) {
    const uint8_t *bytes = value.data;

    CHECK_EQ(value.size, size_of(index));
    for (size_t i = 0; i < value.size; i++) {
        CHECK_EQ(bytes[i], (uint8_t)(index * 7 + (size_t)round));
    }
}

typedef struct lent {
    lsmkv_view *views[KEYS];
    lsmkv_bytes values[KEYS];
    int round;
} lent;

static void lend_all(lsmkv_db *db, lent *l, int round) {
    char key[16];
    lsmkv_error err;

    l->round = round;
    for (size_t i = 0; i < KEYS; i++) {
        CHECK_OK(lsmkv_get_view(db, NULL, key_at(key, i), &l->views[i], &l->values[i],
                                &err));
    }
}

static void check_lent(const lent *l) {
    for (size_t i = 0; i < KEYS; i++) {
        check_value(l->values[i], i, l->round);
    }
}

static void free_lent(lent *l) {
    for (size_t i = 0; i < KEYS; i++) {
        lsmkv_view_free(l->views[i]);
    }
}

static uint64_t count_segments(lsmkv_db *db) {
    lsmkv_stats stats;
    lsmkv_error err;

    CHECK_OK(lsmkv_get_stats(db, &stats, &err));
    return stats.segment_count;
}

static void lend_and_lose(const char *path, bool mapping) {
    lsmkv_db *db = NULL;
    lsmkv_options options;
    lsmkv_error err;
    lent in_log;
    lent in_tables;

    lsmkv_options_init(&options);
    options.memory_bytes = 4 << 20;
    options.blob_threshold_bytes = LARGE_SIZE;
    options.mapping = mapping;
    CHECK_OK(lsmkv_open(path, &options, &db, &err));
    put_all(db, 0);
    lend_all(db, &in_log, 0);
    CHECK_OK(lsmkv_flush(db, &err));
    put_all(db, 1);
    CHECK_OK(lsmkv_compact(db, NULL, NULL, &err));
    lend_all(db, &in_tables, 1);
    CHECK(count_segments(db) > 0);
    lsmkv_range all = {.has_start = false};
    CHECK_OK(lsmkv_delete_range(db, NULL, &all, &err));
    CHECK_OK(lsmkv_compact(db, NULL, NULL, &err));
    CHECK_EQ(count_segments(db), 0);
    check_lent(&in_log);
    check_lent(&in_tables);
    close_db(db);
    check_lent(&in_log);
    check_lent(&in_tables);
    free_lent(&in_log);
    free_lent(&in_tables);
}

LSM_TEST(views_outlive_values_files_and_databases) {
    for (int mapping = 0; mapping < 2; mapping++) {
        place at;
        char path[300];
        lsmkv_error err;

        set_up(&at);
        (void)snprintf(path, sizeof(path), "%s/sub", at.path);
        lend_and_lose(path, mapping != 0);
        CHECK_OK(lsmkv_destroy(path, &err));
        (void)rmdir(path);
        tear_down(&at);
    }
}
