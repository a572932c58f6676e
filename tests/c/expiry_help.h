/* SPDX-License-Identifier: Apache-2.0
 *
 * A database on a simulated disk, written and asked in words, for tests of what
 * expires.
 */
#ifndef LSM_TESTS_EXPIRY_HELP_H
#define LSM_TESTS_EXPIRY_HELP_H

#include "db_help.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "api/testing.h"

enum { NEVER = -1 };

typedef struct expiry_db {
    lsm_env *env;
    lsmkv_db *db;
} expiry_db;

static inline lsmkv_bytes word_bytes(const char *word) {
    return (lsmkv_bytes){word, strlen(word)};
}

static inline void expiry_open(expiry_db *d) {
    lsmkv_error err;
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memtable_bytes = 64 << 10;
    options.table_bytes = 4096;
    options.level_base_bytes = 16 << 10;
    options.level_multiplier = 2;
    options.seed = 7;
    CHECK_OK(lsm_test_open(d->env, "db", &options, &d->db, &err));
}

/* The remembered options, which never expire, come to lie in a table of their own. */
static inline void expiry_begin(expiry_db *d) {
    lsmkv_error err;

    d->env = lsm_sim_create(5);
    CHECK(d->env != NULL);
    expiry_open(d);
    CHECK_OK(lsmkv_flush(d->db, &err));
}

static inline void expiry_close(expiry_db *d) {
    close_db(d->db);
    d->db = NULL;
}

static inline void expiry_reopen(expiry_db *d) {
    expiry_close(d);
    expiry_open(d);
}

/* A power failure that leaves only what was synced, or, with `all`, a process crash. */
static inline void expiry_crash(expiry_db *d, bool all) {
    lsm_env *env =
        lsm_sim_crash(d->env, 3, all ? LSM_CRASH_ALL : LSM_CRASH_STRICT, 512);

    CHECK(env != NULL);
    lsm_test_abandon(d->db);
    lsm_sim_destroy(d->env);
    d->env = env;
    expiry_open(d);
}

static inline void expiry_end(expiry_db *d) {
    expiry_close(d);
    lsm_sim_destroy(d->env);
}

static inline void expiry_put(expiry_db *d, const char *key, const char *value,
                              int64_t ttl_ms) {
    lsmkv_error err;
    lsmkv_write how = {.ttl_ms = ttl_ms};

    CHECK_OK(lsmkv_put(d->db, &how, word_bytes(key), word_bytes(value), &err));
}

static inline void expiry_flush(expiry_db *d) {
    lsmkv_error err;

    CHECK_OK(lsmkv_flush(d->db, &err));
}

static inline void expiry_compact(expiry_db *d) {
    lsmkv_error err;

    CHECK_OK(lsmkv_compact(d->db, NULL, NULL, &err));
}

static inline void expiry_settle(expiry_db *d) {
    lsmkv_error err;

    CHECK_OK(lsmkv_settle(d->db, &err));
}

static inline void expiry_pass(expiry_db *d, int64_t ms) {
    lsm_sim_advance_ms(d->env, ms);
}

static inline lsmkv_stats expiry_stats(expiry_db *d) {
    lsmkv_error err;
    lsmkv_stats stats;

    CHECK_OK(lsmkv_get_stats(d->db, &stats, &err));
    return stats;
}

/* Without the one of the options. */
static inline uint64_t expiry_table_count(expiry_db *d) {
    lsmkv_stats stats = expiry_stats(d);
    uint64_t count = UINT64_MAX;

    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        count += stats.levels[i].table_count;
    }
    return count;
}

static inline bool word_is(lsmkv_bytes bytes, const char *word) {
    return bytes.size == strlen(word) && memcmp(bytes.data, word, bytes.size) == 0;
}

static inline bool expiry_get(expiry_db *d, const lsmkv_snapshot *snapshot,
                              const char *key, const char *value) {
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_status status = lsmkv_get(d->db, &read, word_bytes(key), &pin, &err);

    if (status == LSMKV_NOT_FOUND) {
        return value == NULL;
    }
    CHECK_OK(status);
    bool same = value != NULL && word_is(pin.value, value);
    lsmkv_pin_release(&pin);
    return same;
}

/* Whether every way of reading shows `value` for a key; NULL: that there is none. */
static inline bool expiry_shows(expiry_db *d, const lsmkv_snapshot *snapshot,
                                const char *key, const char *value) {
    lsmkv_error err;
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_lookup lookup = {.key = word_bytes(key)};
    lsmkv_pin pin;
    lsmkv_iter *iter = NULL;
    int64_t ttl_ms = 0;
    bool same = expiry_get(d, snapshot, key, value);

    CHECK_OK(lsmkv_get_many(d->db, &read, &lookup, 1, &pin, &err));
    same = same && lookup.found == (value != NULL) &&
           (value == NULL || word_is(lookup.value, value));
    lsmkv_pin_release(&pin);
    lsmkv_status left = lsmkv_ttl(d->db, &read, word_bytes(key), &ttl_ms, &err);
    same = same && left == (value == NULL ? LSMKV_NOT_FOUND : LSMKV_OK);
    CHECK_OK(lsmkv_iter_create(d->db, &read, NULL, &iter, &err));
    for (int backward = 0; backward < 2; backward++) {
        CHECK_OK(backward ? lsmkv_iter_seek_for_prev(iter, word_bytes(key), &err)
                          : lsmkv_iter_seek(iter, word_bytes(key), &err));
        bool there = lsmkv_iter_valid(iter) && word_is(lsmkv_iter_key(iter), key);
        same = same && there == (value != NULL) &&
               (!there || word_is(lsmkv_iter_value(iter), value));
    }
    lsmkv_iter_free(iter);
    return same;
}

/* The time left; NEVER; the test fails without a value. */
static inline int64_t expiry_left(expiry_db *d, const char *key) {
    lsmkv_error err;
    int64_t ttl_ms = 0;

    CHECK_OK(lsmkv_ttl(d->db, NULL, word_bytes(key), &ttl_ms, &err));
    return ttl_ms;
}

#endif
