/* SPDX-License-Identifier: Apache-2.0
 *
 * A database whose process has died, with everything in it that recovery knows: tables
 * of several levels, raw and compressed, range deletes in tables and in logs, a
 * namespace, large values in value files, in sealed logs and in live ones, several logs
 * whose memtables were not written out. And what each of its keys shows.
 */
#ifndef LSM_TESTS_DEAD_HELP_H
#define LSM_TESTS_DEAD_HELP_H

#include "db_help.h"
#include "sim_help.h"

#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "runs_codec.h"

enum {
    DEAD_KEYS = 48,
    DEAD_LARGE_EVERY = 7, /* every so many keys a value that lies apart */
    DEAD_LARGE_SIZE = 900,
    DEAD_SMALL_SIZE = 60,
    DEAD_CODEC = 6,
};

typedef struct dead_db {
    lsm_env *env;
    uint8_t rounds[DEAD_KEYS]; /* of the value that shows; 0: none */
} dead_db;

/* Most of the values' bytes are for it. */
static inline void dead_register_codec(void) {
    static const lsmkv_codec codec = {.id = DEAD_CODEC,
                                      .name = "runs of the dead",
                                      .create = runs_create,
                                      .destroy = runs_destroy,
                                      .bound = runs_bound,
                                      .compress = runs_compress,
                                      .decompress = runs_decompress};
    lsmkv_error err;

    CHECK_OK(lsmkv_register_codec(&codec, &err));
}

static inline void dead_options(lsmkv_options *options) {
    lsmkv_options_init(options);
    options->memory_bytes = 1 << 20;
    options->memtable_bytes = 1 << 12;
    options->log_bytes = 1 << 14;
    options->table_bytes = 1 << 12;
    options->block_bytes = 512;
    options->blob_threshold_bytes = DEAD_LARGE_SIZE;
    options->codec = DEAD_CODEC;
    options->seed = 1;
}

static inline lsmkv_status dead_open(lsm_env *env, const char *path, bool read_only,
                                     lsmkv_db **db, lsmkv_error *err) {
    lsmkv_options options;

    dead_options(&options);
    options.read_only = read_only;
    lsm_error_clear(err);
    return lsm_test_open(env, path, &options, db, err);
}

static inline lsmkv_bytes dead_key(char to[16], size_t index) {
    int size = snprintf(to, 16, "key%03zu", index);
    return (lsmkv_bytes){to, (size_t)size};
}

static inline lsmkv_bytes dead_value(uint8_t to[DEAD_LARGE_SIZE], size_t index,
                                     uint8_t round) {
    size_t size = index % DEAD_LARGE_EVERY == 0 ? DEAD_LARGE_SIZE : DEAD_SMALL_SIZE;

    memset(to, (int)index + 1, size);
    for (size_t i = 0; i < size; i += 10) {
        to[i] = (uint8_t)(index * 31 + i * 7 + (size_t)round * 101);
    }
    to[0] = round;
    return (lsmkv_bytes){to, size};
}

static inline void dead_put(dead_db *dead, lsmkv_db *db, size_t index, uint8_t round) {
    lsmkv_error err;
    char key[16];
    uint8_t value[DEAD_LARGE_SIZE];
    lsmkv_write how = {.sync = index % 16 == 5};

    CHECK_OK(lsmkv_put(db, &how, dead_key(key, index), dead_value(value, index, round),
                       &err));
    dead->rounds[index] = round;
}

static inline void dead_delete_range(dead_db *dead, lsmkv_db *db, size_t start,
                                     size_t stop) {
    lsmkv_error err;
    char keys[2][16];
    lsmkv_range range = {dead_key(keys[0], start), dead_key(keys[1], stop), true, true};

    CHECK_OK(lsmkv_delete_range(db, NULL, &range, &err));
    memset(dead->rounds + start, 0, stop - start);
}

/* Everything shows exactly as it did. */
static inline void dead_check(const dead_db *dead, lsmkv_db *db) {
    for (size_t i = 0; i < DEAD_KEYS; i++) {
        lsmkv_error err;
        char key[16];
        uint8_t value[DEAD_LARGE_SIZE];
        lsmkv_pin pin = {0};
        lsmkv_status status = lsmkv_get(db, NULL, dead_key(key, i), &pin, &err);
        if (dead->rounds[i] == 0) {
            CHECK_STATUS(status, LSMKV_NOT_FOUND);
            continue;
        }
        lsmkv_bytes expected = dead_value(value, i, dead->rounds[i]);
        CHECK_OK(status);
        CHECK_EQ(pin.value.size, expected.size);
        CHECK(memcmp(pin.value.data, expected.data, expected.size) == 0);
        lsmkv_pin_release(&pin);
    }
}

/* Reads all of it, then lets go of it. */
static inline void dead_check_open(const dead_db *dead, lsm_env *env, const char *path,
                                   bool read_only) {
    lsmkv_error err;
    lsmkv_db *db = NULL;

    CHECK_OK(dead_open(env, path, read_only, &db, &err));
    dead_check(dead, db);
    close_db(db);
}

/* Until two full memtables wait and the third has something, too. */
static inline void dead_fill_logs(dead_db *dead, lsmkv_db *db) {
    lsmkv_error err;
    lsmkv_stats stats = {0};

    for (size_t i = 0; stats.memtable_count < 3; i++) {
        CHECK(i < 1000);
        dead_put(dead, db, i % DEAD_KEYS, (uint8_t)(3 + i / DEAD_KEYS));
        if (i % 20 == 19) {
            dead_delete_range(dead, db, i % DEAD_KEYS, i % DEAD_KEYS + 1);
        }
        CHECK_OK(lsmkv_get_stats(db, &stats, &err));
    }
    dead_put(dead, db, 1, 100);
    dead_put(dead, db, 7, 101);
}

static inline void dead_begin(dead_db *dead) {
    lsmkv_error err;
    lsmkv_db *db = NULL;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {
        .create = true,
        .has_default_ttl = true,
        .has_blob_threshold = true,
        .options = {.default_ttl_ms = 1000000, .blob_threshold_bytes = 32}};

    *dead = (dead_db){.env = lsm_sim_create(7)};
    CHECK(dead->env != NULL);
    dead_register_codec();
    CHECK_OK(dead_open(dead->env, SIM_PATH, false, &db, &err));
    CHECK_OK(lsmkv_namespace_open(db, (lsmkv_bytes){"space", 5}, &how, &space, &err));
    lsmkv_write in_space = {.space = space};
    for (size_t i = 0; i < DEAD_KEYS; i++) {
        char key[16];
        uint8_t value[DEAD_LARGE_SIZE];
        dead_put(dead, db, i, 1);
        CHECK_OK(
            lsmkv_put(db, &in_space, dead_key(key, i), dead_value(value, 1, 1), &err));
    }
    CHECK_OK(lsmkv_compact(db, NULL, NULL, &err));
    for (size_t i = 0; i < DEAD_KEYS; i += 3) {
        dead_put(dead, db, i, 2);
    }
    dead_delete_range(dead, db, 5, 12);
    CHECK_OK(lsmkv_flush(db, &err));
    dead_fill_logs(dead, db);
    lsmkv_namespace_free(space);
    lsm_test_abandon(db);
}

static inline void dead_end(dead_db *dead) {
    lsm_sim_destroy(dead->env);
}

/* A copy to try something on; lsm_sim_destroy it. */
static inline lsm_env *dead_copy(const dead_db *dead) {
    return sim_crash(dead->env, 1, LSM_CRASH_ALL, 512);
}

#endif
