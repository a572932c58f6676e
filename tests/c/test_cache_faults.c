/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a cache that is dropped while it is empty, while it evicts, or while its
 * eviction fails leaves no file behind for good; an eviction that lacks memory or meets
 * an error of the disk loses at most what is in the segment it drops, and nothing that
 * is pinned; and what is too large for a cache, or comes for one that is gone, is
 * refused. Method: small caches in the simulator, where evictions run step by step;
 * each test is one story.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "format/filename.h"

enum {
    CAP = 1 << 16,
    SIZE = 300,
    PINNED = 20,
    STEPS_MAX = 16,
    PLACES_MAX = 2000,
    LOADED = 10
};

typedef struct cache_db {
    lsm_env *env;
    lsmkv_db *db;
    lsmkv_namespace *space;
} cache_db;

static lsmkv_namespace *open_cache(cache_db *c, const char *name, int64_t cap) {
    lsmkv_namespace_how how = {.create = true,
                               .alter = true,
                               .has_max_bytes = true,
                               .options = {.max_bytes = cap}};
    lsmkv_namespace *space = NULL;
    lsmkv_error err;

    CHECK_OK(lsmkv_namespace_open(c->db, bytes_of(name), &how, &space, &err));
    return space;
}

static void start(cache_db *c) {
    lsmkv_options options;
    lsmkv_error err;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.seed = 1;
    CHECK_OK(lsm_test_open(c->env, SIM_PATH, &options, &c->db, &err));
}

static void begin(cache_db *c) {
    *c = (cache_db){.env = lsm_sim_create(7)};
    CHECK(c->env != NULL);
    lsm_sim_exempt_memory(c->env);
    start(c);
    c->space = open_cache(c, "cache", CAP);
}

static void end(cache_db *c) {
    lsmkv_namespace_free(c->space);
    close_db(c->db);
    lsm_sim_destroy(c->env);
}

static lsmkv_bytes key_of(char to[16], size_t index) {
    int size = snprintf(to, 16, "key%06zu", index);
    return (lsmkv_bytes){to, (size_t)size};
}

static lsmkv_status try_put(cache_db *c, size_t index, lsmkv_error *err) {
    lsmkv_write how = {.space = c->space};
    uint8_t value[SIZE];
    char key[16];

    memset(value, (int)(index & 0xFF), SIZE);
    return lsmkv_put(c->db, &how, key_of(key, index), (lsmkv_bytes){value, SIZE}, err);
}

static void load(cache_db *c, size_t from, size_t to) {
    lsmkv_error err;

    for (size_t i = from; i < to; i++) {
        CHECK_OK(try_put(c, i, &err));
    }
}

static size_t count_hits(cache_db *c, size_t from, size_t to) {
    lsmkv_read read = {.space = c->space};
    lsmkv_error err;
    size_t hits = 0;

    for (size_t i = from; i < to; i++) {
        char key[16];
        lsmkv_pin pin;
        lsmkv_status status = lsmkv_get(c->db, &read, key_of(key, i), &pin, &err);
        if (status == LSMKV_NOT_FOUND) {
            continue;
        }
        CHECK_EQ(status, LSMKV_OK);
        CHECK_EQ(pin.value.size, SIZE);
        CHECK_EQ(((const uint8_t *)pin.value.data)[0], i & 0xFF);
        lsmkv_pin_release(&pin);
        hits += 1;
    }
    return hits;
}

static lsmkv_cache_stats stats_of(cache_db *c) {
    lsmkv_cache_stats stats;
    lsmkv_error err;

    CHECK_OK(lsmkv_get_cache_stats(c->db, c->space, &stats, &err));
    return stats;
}

static size_t cache_files(lsm_env *env) {
    lsm_namelist names = {0};
    size_t count = 0;
    lsmkv_error err;
    lsm_dir *dir;

    CHECK_OK(lsm_dir_open(env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        uint64_t number;
        count += lsm_filename_parse(names.names[i], &number) == LSM_NAME_CACHE;
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
    return count;
}

LSM_TEST(cache_that_never_held_anything_is_dropped_without_a_word_in_the_manifest) {
    lsmkv_error err;
    cache_db c;

    begin(&c);
    lsmkv_namespace_free(open_cache(&c, "idle", CAP));
    load(&c, 0, 3);
    CHECK_OK(lsmkv_namespace_drop(c.db, bytes_of("idle"), &err));
    CHECK_EQ(count_hits(&c, 0, 3), 3);
    CHECK_OK(lsmkv_namespace_drop(c.db, bytes_of("cache"), &err));
    CHECK_EQ(cache_files(c.env), 0);
    end(&c);
}

/* At every step of the eviction. */
LSM_TEST(cache_that_is_dropped_while_it_evicts_leaves_no_file) {
    for (uint64_t steps = 0; steps < STEPS_MAX; steps++) {
        lsmkv_error err;
        cache_db c;

        begin(&c);
        load(&c, 0, 200);
        CHECK(count_hits(&c, 0, 200) != 0); /* so that an eviction takes steps */
        lsmkv_namespace_free(open_cache(&c, "cache", CAP)); /* as it was */
        lsmkv_namespace *other = open_cache(&c, "other", CAP);
        (void)lsm_test_step(c.db, steps);
        CHECK_OK(lsmkv_namespace_drop(c.db, bytes_of("cache"), &err));
        CHECK_EQ(cache_files(c.env), 0);
        CHECK_STATUS(try_put(&c, 1, &err), LSMKV_INVALID_ARGUMENT);
        lsmkv_namespace_free(c.space);
        c.space = other;
        load(&c, 0, 200);
        CHECK_EQ(count_hits(&c, 190, 200), 10);
        end(&c);
    }
}

/* What cannot write the MANIFEST takes the database with it, an eviction as much as a
 * drop; the files go with the next life. */
LSM_TEST(cache_that_is_dropped_while_its_eviction_fails_goes_with_the_next_open) {
    bool failed = true;

    for (uint64_t at = 0; failed; at++) {
        char stray[LSM_NAME_SIZE_MAX];
        lsmkv_error err;
        cache_db c;

        begin(&c);
        lsmkv_namespace_free(open_cache(&c, "cache", 2 * CAP));
        load(&c, 0, 300);
        CHECK_EQ(count_hits(&c, 0, 300), 300); /* so that an eviction takes steps */
        lsmkv_namespace_free(open_cache(&c, "cache", CAP));
        (void)lsm_test_step(c.db, 1);
        uint64_t before = lsm_sim_call_count(c.env, LSM_SIM_APPEND);
        lsm_sim_fail(c.env, LSM_SIM_APPEND, at, EIO, true);
        lsmkv_status status = lsmkv_namespace_drop(c.db, bytes_of("cache"), &err);
        failed = lsm_sim_call_count(c.env, LSM_SIM_APPEND) - before > at;
        lsm_sim_fail(c.env, LSM_SIM_APPEND, 0, 0, false);
        CHECK(status == LSMKV_OK || (failed && status == LSMKV_IO_ERROR));
        lsmkv_namespace_free(c.space);
        lsm_test_abandon(c.db);
        start(&c);
        c.space = open_cache(&c, "cache", CAP);
        CHECK(status != LSMKV_OK || count_hits(&c, 0, 200) == 0);
        CHECK(lsm_test_files_match(c.db, stray));
        CHECK(at < STEPS_MAX);
        end(&c);
    }
}

/* Values that are pinned, and others that were read, in a cache that evicts. */
static void begin_pinned(cache_db *c) {
    char names[PINNED][16];
    lsmkv_bytes keys[PINNED];
    lsmkv_error err;

    begin(c);
    load(c, 0, 2 * PINNED);
    for (size_t i = 0; i < PINNED; i++) {
        keys[i] = key_of(names[i], i);
    }
    CHECK_OK(lsmkv_cache_pin(c->db, c->space, keys, PINNED, true, &err));
    CHECK_EQ(count_hits(c, 0, 2 * PINNED), 2 * PINNED);
    load(c, 100, 230);
}

static void end_pinned(cache_db *c) {
    CHECK_EQ(count_hits(c, 0, PINNED), PINNED);
    CHECK(stats_of(c).file_bytes <= CAP + CAP / 20);
    end(c);
}

/* Puts until something has been evicted, from the key on. The first that fails ends
 * it. */
static lsmkv_status evict_some(cache_db *c, size_t from, lsmkv_error *err) {
    uint64_t evicted = stats_of(c).evicted_segments;
    lsmkv_status status = LSMKV_OK;

    for (size_t i = from; status == LSMKV_OK && stats_of(c).evicted_segments == evicted;
         i++) {
        CHECK(i < from + LOADED);
        status = try_put(c, i, err);
    }
    return status;
}

/* Everything has been read, so that every eviction writes values once more. */
LSM_TEST(cache_eviction_without_memory_is_tried_again_and_keeps_what_is_pinned) {
    bool failed = true;
    cache_db c;

    begin_pinned(&c);
    for (uint64_t at = 0; failed; at++) {
        lsmkv_error err;
        size_t first = LOADED * (at + 1);
        (void)count_hits(&c, first < 200 ? 0 : first - 200, first + LOADED);
        uint64_t before = lsm_alloc_count();
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = evict_some(&c, first, &err);
        failed = lsm_alloc_count() - before > at;
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || (failed && status == LSMKV_NO_MEMORY));
        CHECK_EQ(evict_some(&c, first, &err), LSMKV_OK);
        CHECK_EQ(count_hits(&c, 0, PINNED), PINNED);
        CHECK(at < PLACES_MAX);
    }
    end_pinned(&c);
}

LSM_TEST(cache_eviction_on_a_full_disk_is_tried_again_and_keeps_what_is_pinned) {
    cache_db c;

    begin_pinned(&c);
    for (uint64_t at = 0; at < 200; at++) {
        lsmkv_error err;
        size_t first = LOADED * (at + 1);
        lsm_sim_fail(c.env, LSM_SIM_APPEND, at % 12, ENOSPC, false);
        lsmkv_status status = evict_some(&c, first, &err);
        lsm_sim_fail(c.env, LSM_SIM_APPEND, 0, 0, false);
        CHECK(status == LSMKV_OK || status == LSMKV_DISK_FULL);
        CHECK_EQ(evict_some(&c, first, &err), LSMKV_OK);
        CHECK_EQ(count_hits(&c, 0, PINNED), PINNED);
    }
    end_pinned(&c);
}

static void damage_cache_files(lsm_env *env) {
    lsm_namelist names = {0};
    lsmkv_error err;
    lsm_dir *dir;

    CHECK_OK(lsm_dir_open(env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        uint64_t number;
        const uint8_t *data;
        size_t size;
        uint8_t copy[CAP];
        if (lsm_filename_parse(names.names[i], &number) == LSM_NAME_CACHE) {
            CHECK(lsm_sim_file_read(env, SIM_PATH, names.names[i], &data, &size));
            CHECK(size <= sizeof(copy));
            memcpy(copy, data, size);
            copy[size - 1] ^= 1; /* of the last value in it */
            CHECK(lsm_sim_file_write(env, SIM_PATH, names.names[i], copy, size));
        }
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
}

/* Nobody reads the values before the evictions come to them. */
LSM_TEST(cache_eviction_gives_up_what_is_pinned_and_damaged) {
    cache_db c;

    begin_pinned(&c);
    lsmkv_namespace_free(c.space);
    close_db(c.db);
    damage_cache_files(c.env);
    start(&c);
    c.space = open_cache(&c, "cache", CAP);
    load(&c, 1000, 1300);
    size_t hits = count_hits(&c, 0, PINNED);
    CHECK(hits != 0 && hits < PINNED);
    end(&c);
}

/* The only segment of a cache is evicted in steps, while it is still written; what
 * comes meanwhile goes into another. */
LSM_TEST(cache_whose_cap_falls_below_its_only_segment_begins_another) {
    lsmkv_error err;
    cache_db c;
    char key[16];

    begin(&c);
    lsmkv_namespace *narrow = c.space;
    c.space = open_cache(&c, "wide", 256 * CAP);
    lsmkv_write how = {.space = c.space};
    for (size_t i = 0; stats_of(&c).file_bytes <= CAP; i++) {
        CHECK_OK(lsmkv_put(c.db, &how, key_of(key, i), bytes_of("a tiny value"), &err));
    }
    CHECK_EQ(stats_of(&c).segment_count, 1);
    lsmkv_namespace_free(open_cache(&c, "wide", CAP));
    (void)lsm_test_step(c.db, 1);
    load(&c, 5000, 5003);
    CHECK_EQ(count_hits(&c, 5000, 5003), 3);
    CHECK_OK(lsmkv_settle(c.db, &err));
    CHECK_EQ(count_hits(&c, 5000, 5003), 3);
    CHECK_EQ(stats_of(&c).evicted_segments, 1);
    CHECK(stats_of(&c).file_bytes <= CAP);
    lsmkv_namespace_free(narrow);
    end(&c);
}

/* What is lacking may come back; what a disk cannot give is a miss. */
LSM_TEST(cache_reads_say_what_is_lacking_and_miss_what_is_damaged) {
    static const struct {
        lsm_sim_call call;
        int code;
        lsmkv_status status;
    } cases[] = {
        {LSM_SIM_OPEN, EMFILE, LSMKV_IO_ERROR}, {LSM_SIM_OPEN, ENOMEM, LSMKV_NO_MEMORY},
        {LSM_SIM_OPEN, EIO, LSMKV_NOT_FOUND},   {LSM_SIM_READ, ENOMEM, LSMKV_NO_MEMORY},
        {LSM_SIM_READ, EIO, LSMKV_NOT_FOUND},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsmkv_error err;
        lsmkv_pin pin;
        cache_db c;
        char key[16];

        begin(&c);
        load(&c, 0, 1);
        lsmkv_read read = {.space = c.space};
        lsm_sim_fail(c.env, cases[i].call, 0, cases[i].code, true);
        CHECK_STATUS(lsmkv_get(c.db, &read, key_of(key, 0), &pin, &err),
                     cases[i].status);
        lsm_sim_fail(c.env, cases[i].call, 0, 0, false);
        CHECK_EQ(count_hits(&c, 0, 1), 1);
        end(&c);
    }
}

/* Too large to be copied next to its header, it is written as it is. */
LSM_TEST(cache_puts_of_large_values_without_memory_say_so) {
    static uint8_t value[20000];
    lsmkv_error err;
    cache_db c;
    lsmkv_status status = LSMKV_NO_MEMORY;
    lsmkv_pin pin;

    begin(&c);
    lsmkv_namespace *narrow = c.space;
    c.space = open_cache(&c, "wide", 64 * (int64_t)sizeof(value));
    lsmkv_write how = {.space = c.space};
    lsmkv_read read = {.space = c.space};
    memset(value, 7, sizeof(value));
    for (size_t size = sizeof(value); size > 100; size /= 10) {
        lsmkv_bytes bytes = {value, size};
        status = LSMKV_NO_MEMORY;
        for (uint64_t at = 0; status != LSMKV_OK; at++) {
            CHECK(at < PLACES_MAX);
            lsm_alloc_fail_after(at, 1);
            status = lsmkv_put(c.db, &how, bytes_of("key"), bytes, &err);
            lsm_alloc_fail_never();
            CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        }
        CHECK_OK(lsmkv_get(c.db, &read, bytes_of("key"), &pin, &err));
        CHECK_EQ(pin.value.size, size);
        CHECK(memcmp(pin.value.data, value, size) == 0);
        lsmkv_pin_release(&pin);
    }
    lsmkv_namespace_free(narrow);
    end(&c);
}

/* What has expired has no second chance, however often it was read. */
LSM_TEST(cache_second_chance_is_not_for_what_has_expired) {
    lsmkv_error err;
    cache_db c;
    char key[16];

    begin(&c);
    lsmkv_write how = {.space = c.space, .ttl_ms = 1000};
    uint8_t value[SIZE] = {0};
    CHECK_OK(lsmkv_put(c.db, &how, key_of(key, 0), (lsmkv_bytes){value, SIZE}, &err));
    CHECK_EQ(count_hits(&c, 0, 1), 1);
    lsm_sim_advance_ms(c.env, 2000);
    lsm_test_follow_clock(c.db);
    for (size_t i = 10; stats_of(&c).evicted_segments < 3; i++) {
        CHECK(i < 1000);
        load(&c, i, i + 1);
    }
    CHECK_EQ(stats_of(&c).reinserted_bytes, 0);
    end(&c);
}

LSM_TEST(cache_refuses_keys_over_a_256th_of_its_bytes) {
    static const uint8_t long_key[CAP / 256 + 1] = {1};
    lsmkv_error err;
    cache_db c;

    begin(&c);
    lsmkv_write how = {.space = c.space};
    lsmkv_bytes key = {long_key, sizeof(long_key)};
    CHECK_STATUS(lsmkv_put(c.db, &how, key, bytes_of("v"), &err), LSMKV_LIMIT_EXCEEDED);
    CHECK(strstr(err.message, "key of 257 bytes") != NULL);
    key.size -= 1;
    CHECK_OK(lsmkv_put(c.db, &how, key, bytes_of("v"), &err));
    end(&c);
}

LSM_TEST(cache_that_is_gone_takes_no_batch_that_was_made_for_it) {
    lsmkv_batch *batch = NULL;
    lsmkv_error err;
    cache_db c;

    begin(&c);
    lsmkv_write how = {.space = c.space};
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    CHECK_OK(lsmkv_batch_put(batch, &how, bytes_of("a"), bytes_of("1"), &err));
    CHECK_OK(lsmkv_batch_put(batch, NULL, bytes_of("a"), bytes_of("1"), &err));
    CHECK_OK(lsmkv_namespace_drop(c.db, bytes_of("cache"), &err));
    CHECK_STATUS(lsmkv_write_batch(c.db, NULL, batch, &err), LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "has been dropped") != NULL);
    lsmkv_pin pin;
    CHECK_STATUS(lsmkv_get(c.db, NULL, bytes_of("a"), &pin, &err), LSMKV_NOT_FOUND);
    lsmkv_batch_free(batch);
    end(&c);
}

/* Writing into a segment may wait, for an eviction or the disk. */
LSM_TEST(cache_on_a_disk_has_nothing_for_who_may_not_wait) {
    lsmkv_batch *batch = NULL;
    lsmkv_error err;
    cache_db c;

    begin(&c);
    lsmkv_write how = {.space = c.space, .nonblocking = true};
    CHECK_STATUS(lsmkv_put(c.db, &how, bytes_of("a"), bytes_of("1"), &err),
                 LSMKV_WOULD_BLOCK);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    CHECK_OK(lsmkv_batch_put(batch, &how, bytes_of("a"), bytes_of("1"), &err));
    CHECK_STATUS(lsmkv_write_batch(c.db, &how, batch, &err), LSMKV_WOULD_BLOCK);
    lsmkv_batch_free(batch);
    CHECK_EQ(stats_of(&c).written_bytes, 0);
    load(&c, 0, 1);
    lsmkv_read read = {.space = c.space, .nonblocking = true};
    char key[16];
    lsmkv_pin pin;
    CHECK_STATUS(lsmkv_get(c.db, &read, key_of(key, 0), &pin, &err), LSMKV_WOULD_BLOCK);
    end(&c);
}
