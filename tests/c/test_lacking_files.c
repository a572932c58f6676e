/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a call that runs out of file descriptors frees some and goes on as if nothing
 * had been, a scan also wherever it was and wherever it goes; one that finds a value of
 * a cache damaged goes on behind it. Method: keys of many versions, of rows deleted and
 * of large values, spread over many tables and value files, none of which is open;
 * scans of every kind, with the n-th opening failing, for every n.
 */
#include "db_help.h"
#include "forge_help.h"

#include <errno.h>
#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"

enum {
    KEYS = 24,
    GONE_EVERY = 4,
    LARGE_EVERY = 5,
    VERSIONS = 12,
    SMALL_SIZE = 120,
    LARGE_SIZE = 2000,
    OPENINGS_MAX = 200,
    SHOWN_MAX = 4 * KEYS,
    CACHED = 6,
    DAMAGED = 2, /* of those */
};

static lsmkv_db *open_db(lsm_env *env) {
    lsmkv_db *db = NULL;
    lsmkv_options options;
    lsmkv_error err;

    lsmkv_options_init(&options);
    options.memory_bytes = 4 << 20;
    options.table_bytes = 4096;
    options.block_bytes = 512;
    options.blob_threshold_bytes = LARGE_SIZE;
    options.seed = 9;
    CHECK_OK(lsm_test_open(env, SIM_PATH, &options, &db, &err));
    return db;
}

static lsmkv_bytes key_at(char to[16], size_t index) {
    int size = snprintf(to, 16, "key%03zu", index);

    return (lsmkv_bytes){to, (size_t)size};
}

static bool is_gone(size_t index) {
    return index % GONE_EVERY == 2;
}

static void put_version(lsmkv_db *db, size_t version) {
    for (size_t i = 0; i < KEYS; i++) {
        char key[16];
        uint8_t value[LARGE_SIZE];
        lsmkv_error err;
        bool large = i % LARGE_EVERY == 0 && version + 1 == VERSIONS;
        memset(value, (int)version, sizeof(value));
        value[0] = (uint8_t)i;
        lsmkv_bytes bytes = {value, large ? LARGE_SIZE : SMALL_SIZE};
        if (is_gone(i) && version % 2 == 1) {
            CHECK_OK(lsmkv_delete(db, NULL, key_at(key, i), &err));
        } else {
            CHECK_OK(lsmkv_put(db, NULL, key_at(key, i), bytes, &err));
        }
    }
}

/* Snapshots keep all versions until they are in tables. */
static lsm_env *make_db(void) {
    lsm_env *env = lsm_sim_create(8);
    lsmkv_snapshot *snapshots[VERSIONS];
    lsmkv_error err;

    CHECK(env != NULL);
    lsmkv_db *db = open_db(env);
    for (size_t version = 0; version < VERSIONS; version++) {
        put_version(db, version);
        CHECK_OK(lsmkv_snapshot_create(db, &snapshots[version], &err));
    }
    CHECK_OK(lsmkv_compact(db, NULL, NULL, &err));
    for (size_t version = 0; version < VERSIONS; version++) {
        lsmkv_snapshot_free(snapshots[version]);
    }
    close_db(db);
    return env;
}

/* What a scan has shown: of each row the key and what its value begins with. */
typedef struct shown {
    uint8_t rows[SHOWN_MAX];
    size_t count;
} shown;

static void show(shown *s, const char *key, const uint8_t *value, size_t size) {
    size_t index = (size_t)((key[3] - '0') * 100 + (key[4] - '0') * 10 + key[5] - '0');

    CHECK(index < KEYS && !is_gone(index) && s->count < SHOWN_MAX);
    CHECK_EQ(size, index % LARGE_EVERY == 0 ? LARGE_SIZE : SMALL_SIZE);
    CHECK(value[0] == index && value[size - 1] == VERSIONS - 1);
    s->rows[s->count++] = (uint8_t)index;
}

static void show_row(shown *s, const lsmkv_iter *iter) {
    lsmkv_bytes value = lsmkv_iter_value(iter);

    show(s, lsmkv_iter_key(iter).data, value.data, value.size);
}

/* Row by row: all forward, all backward, or from the middle, turning every few. */
static void scan_rows(lsmkv_iter *iter, int kind, shown *s) {
    char key[16];
    lsmkv_error err;

    if (kind < 2) {
        CHECK_OK(kind == 0 ? lsmkv_iter_seek_first(iter, &err)
                           : lsmkv_iter_seek_last(iter, &err));
    } else {
        CHECK_OK(kind == 2
                     ? lsmkv_iter_seek(iter, key_at(key, KEYS / 2), &err)
                     : lsmkv_iter_seek_for_prev(iter, key_at(key, KEYS / 2), &err));
    }
    for (int step = 0; lsmkv_iter_valid(iter) && step < 2 * KEYS; step++) {
        bool forward =
            kind % 2 == 0 ? kind == 0 || step % 5 < 3 : kind == 3 && step % 5 > 2;
        show_row(s, iter);
        CHECK_OK(forward ? lsmkv_iter_next(iter, &err) : lsmkv_iter_prev(iter, &err));
    }
}

static void scan_chunks(lsmkv_iter *iter, bool reverse, shown *s) {
    const lsmkv_fill fill = {.reverse = reverse, .row_max = 3};
    lsmkv_chunk chunk;
    lsmkv_error err;

    do {
        CHECK_OK(lsmkv_iter_fill(iter, &fill, &chunk, &err));
        for (size_t i = 0; i < chunk.row_count; i++) {
            const lsmkv_row *row = &chunk.rows[i];
            show(s, chunk.data + row->key_offset,
                 (const uint8_t *)chunk.data + row->value_offset, row->value_size);
        }
    } while (chunk.row_count > 0);
}

/* Scans a database that was just opened, while its n-th opening fails. false: it has
 * no more. */
static bool scan(lsm_env *env, int kind, uint64_t n, shown *s) {
    lsmkv_db *db = open_db(env);
    lsmkv_iter *iter = NULL;
    lsmkv_error err;

    *s = (shown){0};
    lsm_sim_fail(env, LSM_SIM_OPEN, n, EMFILE, false);
    CHECK_OK(lsmkv_iter_create(db, NULL, NULL, &iter, &err));
    if (kind < 4) {
        scan_rows(iter, kind, s);
    } else {
        scan_chunks(iter, kind == 5, s);
    }
    bool met = lsm_sim_failed_name(env)[0] != '\0';
    lsm_sim_fail(env, LSM_SIM_OPEN, 0, 0, false);
    lsmkv_iter_free(iter);
    close_db(db);
    return met;
}

LSM_TEST(scans_that_lack_descriptors_go_on_where_they_were) {
    lsm_env *env = make_db();

    for (int kind = 0; kind < 6; kind++) {
        shown whole;
        shown s;
        uint64_t n = 0;
        CHECK(!scan(env, kind, OPENINGS_MAX, &whole));
        CHECK(whole.count > KEYS / 2);
        while (scan(env, kind, n, &s)) {
            CHECK_EQ(s.count, whole.count);
            CHECK(memcmp(s.rows, whole.rows, whole.count) == 0);
            CHECK(++n < OPENINGS_MAX);
        }
        CHECK(n > 4);
    }
    lsm_sim_destroy(env);
}

/* The calls that look keys up, by one each: a key that is there, one that is not. */
static lsmkv_status use_get(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_pin pin = {0};
    lsmkv_entry entry;
    char key[16];
    lsmkv_status status = lsmkv_get(db, NULL, key_at(key, 1), &pin, err);

    lsmkv_pin_release(&pin);
    if (status == LSMKV_OK) {
        status = lsmkv_get_entry(db, NULL, key_at(key, KEYS - 1), &entry, &pin, err);
        lsmkv_pin_release(&pin);
    }
    return status;
}

static lsmkv_status use_get_many(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_lookup lookups[KEYS];
    char keys[KEYS][16];
    lsmkv_pin pin = {0};

    for (size_t i = 0; i < KEYS; i++) {
        lookups[i] = (lsmkv_lookup){.key = key_at(keys[i], i)};
    }
    lsmkv_status status = lsmkv_get_many(db, NULL, lookups, KEYS, &pin, err);
    for (size_t i = 0; status == LSMKV_OK && i < KEYS; i++) {
        CHECK_EQ(lookups[i].found, !is_gone(i));
    }
    lsmkv_pin_release(&pin);
    return status;
}

static lsmkv_status use_get_view(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_view *view = NULL;
    lsmkv_bytes value;
    char key[16];
    lsmkv_status status = lsmkv_get_view(db, NULL, key_at(key, 0), &view, &value, err);

    CHECK(status != LSMKV_OK || value.size == LARGE_SIZE);
    lsmkv_view_free(view);
    return status;
}

static lsmkv_status use_get_rows(lsmkv_db *db, lsmkv_error *err) {
    static uint8_t out[LARGE_SIZE];
    uint8_t there = 0;
    size_t count = 0;
    char key[16];
    lsmkv_bytes bytes = key_at(key, 0);
    lsmkv_keys keys = {.bytes = &bytes, .count = 1};
    lsmkv_gather to = {
        .out = out, .found = &there, .row_bytes = LARGE_SIZE, .stride = LARGE_SIZE};
    lsmkv_status status = lsmkv_get_rows(db, NULL, &keys, &to, &count, err);

    CHECK(status != LSMKV_OK || count == 1);
    return status;
}

static lsmkv_status use_ttl(lsmkv_db *db, lsmkv_error *err) {
    int64_t left_ms = 0;
    char key[16];
    lsmkv_status status = lsmkv_ttl(db, NULL, key_at(key, 3), &left_ms, err);

    CHECK(status != LSMKV_OK || left_ms == -1);
    return status;
}

static lsmkv_status use_touch(lsmkv_db *db, lsmkv_error *err) {
    const lsmkv_write how = {.ttl_ms = 100000};
    char key[16];

    return lsmkv_touch(db, &how, key_at(key, 0), err); /* reads the large value, too */
}

static lsmkv_status use_put_since(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_snapshot *snapshot = NULL;
    char key[16];

    CHECK_EQ(lsmkv_snapshot_create(db, &snapshot, err), LSMKV_OK);
    lsmkv_write how = {.since = snapshot};
    lsmkv_status status =
        lsmkv_put(db, &how, key_at(key, 3), (lsmkv_bytes){"new", 3}, err);
    lsmkv_snapshot_free(snapshot);
    return status;
}

static lsmkv_status use_count(lsmkv_db *db, lsmkv_error *err) {
    char keys[2][16];
    lsmkv_range range = {key_at(keys[0], 3), key_at(keys[1], 20), true, true};
    uint64_t count = 0;
    lsmkv_status status = lsmkv_approximate_count(db, NULL, &range, &count, err);

    CHECK(status != LSMKV_OK || count > 0);
    return status;
}

/* Makes a call in a database that was just opened, while its n-th opening fails. false:
 * it has no more. */
static bool use(lsm_env *made, lsmkv_status (*call)(lsmkv_db *db, lsmkv_error *err),
                uint64_t n) {
    lsm_env *env = sim_crash(made, 1, LSM_CRASH_ALL, 512);
    lsmkv_db *db = open_db(env);
    lsmkv_error err;

    lsm_error_clear(&err);
    lsm_sim_fail(env, LSM_SIM_OPEN, n, EMFILE, false);
    CHECK_OK(call(db, &err));
    bool met = lsm_sim_failed_name(env)[0] != '\0';
    lsm_test_abandon(db);
    lsm_sim_destroy(env);
    return met;
}

LSM_TEST(calls_that_lack_descriptors_close_what_they_do_not_need_and_go_on) {
    static lsmkv_status (*const calls[])(lsmkv_db *db, lsmkv_error *err) = {
        use_get, use_get_many, use_get_view,  use_get_rows,
        use_ttl, use_touch,    use_put_since, use_count};
    lsm_env *env = make_db();

    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        uint64_t n = 0;
        while (use(env, calls[i], n)) {
            CHECK(++n < OPENINGS_MAX);
        }
        CHECK(n > 0);
    }
    lsm_sim_destroy(env);
}

static lsmkv_namespace *open_cache(lsmkv_db *db, bool create) {
    lsmkv_namespace_how how = {
        .create = create, .has_max_bytes = create, .options = {.max_bytes = 1 << 20}};
    lsmkv_namespace *space = NULL;
    lsmkv_error err;

    CHECK_OK(lsmkv_namespace_open(db, (lsmkv_bytes){"cache", 5}, &how, &space, &err));
    return space;
}

/* Of a run of so many equal bytes, the one in the middle. */
static void damage_run(lsm_env *env, const char *part, uint8_t byte, size_t length) {
    const uint8_t *data = NULL;
    lsm_buf copy = {0};
    size_t size = 0;
    size_t run = 0;
    names found;

    list_names(env, part, &found);
    CHECK(lsm_sim_file_read(env, SIM_PATH, found.list[0], &data, &size));
    CHECK(lsm_buf_append(&copy, data, size));
    for (size_t i = 0; i < size && run < length; i++) {
        run = data[i] == byte ? run + 1 : 0;
        copy.data[i] ^= run == length / 2;
    }
    CHECK_EQ(run, length);
    CHECK(lsm_sim_file_write(env, SIM_PATH, found.list[0], copy.data, size));
    lsm_buf_deinit(&copy);
}

static lsm_env *make_cache(void) {
    lsm_env *env = lsm_sim_create(8);
    lsmkv_error err;

    CHECK(env != NULL);
    lsmkv_db *db = open_db(env);
    lsmkv_namespace *space = open_cache(db, true);
    lsmkv_write how = {.space = space};
    for (size_t i = 0; i < CACHED; i++) {
        char key[16];
        uint8_t value[LARGE_SIZE];
        memset(value, (int)(0xA0 + i), sizeof(value));
        CHECK_OK(lsmkv_put(db, &how, key_at(key, i), (lsmkv_bytes){value, LARGE_SIZE},
                           &err));
    }
    CHECK_OK(lsmkv_flush(db, &err));
    lsmkv_namespace_free(space);
    close_db(db);
    damage_run(env, ".cache", 0xA0 + DAMAGED, LARGE_SIZE / 2);
    return env;
}

/* The keys tell of the damaged value, too, whose bytes nobody has looked at; that it
 * cannot be had comes out when the scan goes on with values. */
LSM_TEST(a_scan_for_keys_that_goes_on_with_values_passes_over_damaged_cached_ones) {
    lsm_env *env = make_cache();
    lsmkv_db *db = open_db(env);
    lsmkv_namespace *space = open_cache(db, false);
    const lsmkv_read read = {.space = space};
    lsmkv_error err;

    for (int reverse = 0; reverse < 2; reverse++) {
        lsmkv_iter *iter = NULL;
        lsmkv_chunk chunk;
        lsmkv_fill fill = {.reverse = reverse != 0, .keys_only = true};
        size_t next = reverse != 0 ? DAMAGED - 1 : DAMAGED + 1;
        fill.row_max = reverse != 0 ? CACHED - DAMAGED - 1 : DAMAGED;
        CHECK_OK(lsmkv_iter_create(db, &read, NULL, &iter, &err));
        CHECK_OK(lsmkv_iter_fill(iter, &fill, &chunk, &err));
        CHECK_EQ(chunk.row_count, fill.row_max);
        fill.keys_only = false;
        fill.row_max = 1;
        CHECK_OK(lsmkv_iter_fill(iter, &fill, &chunk, &err));
        CHECK_EQ(chunk.row_count, 1);
        CHECK_EQ((uint8_t)chunk.data[chunk.rows[0].value_offset], 0xA0 + next);
        CHECK_EQ(chunk.rows[0].value_size, LARGE_SIZE);
        lsmkv_iter_free(iter);
    }
    lsmkv_namespace_free(space);
    close_db(db);
    lsm_sim_destroy(env);
}
