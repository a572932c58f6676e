/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a namespace that is a cache answers with the newest value of a key or with
 * nothing, never with an older one, and its files never pass the cap. Method: whole
 * databases in the simulator, where nothing is mapped and evictions run step by step;
 * each test is one story.
 */
#include "db_help.h"
#include "sim_help.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "format/cache_frame.h"
#include "format/filename.h"

enum { CAP = 1 << 16, SIZE = 300, ROOM = CAP / 64 };

typedef struct cache_db {
    lsm_env *env;
    lsmkv_db *db;
    lsmkv_namespace *space;
} cache_db;

static void start(cache_db *c, int64_t max_bytes) {
    lsmkv_error err;
    lsmkv_options options;
    lsmkv_namespace_how how = {.create = true,
                               .has_max_bytes = max_bytes != 0,
                               .options = {.max_bytes = max_bytes}};

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.seed = 1;
    CHECK_OK(lsm_test_open(c->env, SIM_PATH, &options, &c->db, &err));
    CHECK_OK(lsmkv_namespace_open(c->db, bytes_of("cache"), &how, &c->space, &err));
}

static void begin(cache_db *c) {
    c->env = lsm_sim_create(7);
    CHECK(c->env != NULL);
    start(c, CAP);
}

static void stop(cache_db *c) {
    lsmkv_namespace_free(c->space);
    close_db(c->db);
}

static void end(cache_db *c) {
    stop(c);
    lsm_sim_destroy(c->env);
}

static lsmkv_bytes key_of(char to[16], size_t index) {
    int size = snprintf(to, 16, "key%06zu", index);
    return (lsmkv_bytes){to, (size_t)size};
}

static void fill_value(uint8_t *to, size_t size, size_t index, size_t round) {
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(index * 31 + i * 7 + round * 101);
    }
}

static lsmkv_status put_how(cache_db *c, const lsmkv_write *how, size_t index,
                            size_t size, size_t round) {
    lsmkv_error err;
    char key[16];
    uint8_t value[2 * ROOM];

    CHECK(size <= sizeof(value));
    fill_value(value, size, index, round);
    return lsmkv_put(c->db, how, key_of(key, index), (lsmkv_bytes){value, size}, &err);
}

static void put(cache_db *c, size_t index, size_t size, size_t round) {
    lsmkv_write how = {.space = c->space};

    CHECK_STATUS(put_how(c, &how, index, size, round), LSMKV_OK);
}

/* Whether the value is there; if so, it must be that of the round. */
static bool get_at(cache_db *c, const lsmkv_snapshot *snapshot, size_t index,
                   size_t size, size_t round) {
    lsmkv_error err;
    lsmkv_pin pin;
    char key[16];
    uint8_t value[2 * ROOM];
    lsmkv_read read = {.space = c->space, .snapshot = snapshot};
    lsmkv_status status = lsmkv_get(c->db, &read, key_of(key, index), &pin, &err);

    if (status == LSMKV_NOT_FOUND) {
        return false;
    }
    CHECK_EQ(status, LSMKV_OK);
    fill_value(value, size, index, round);
    CHECK_EQ(pin.value.size, size);
    CHECK(size == 0 || memcmp(pin.value.data, value, size) == 0);
    lsmkv_pin_release(&pin);
    return true;
}

static bool get(cache_db *c, size_t index, size_t size, size_t round) {
    return get_at(c, NULL, index, size, round);
}

static lsmkv_cache_stats stats_of(cache_db *c) {
    lsmkv_error err;
    lsmkv_cache_stats stats;

    CHECK_OK(lsmkv_get_cache_stats(c->db, c->space, &stats, &err));
    return stats;
}

/* What the cache segments of the directory take. */
static uint64_t file_bytes(lsm_env *env, size_t *count) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_namelist names = {0};
    uint64_t bytes = 0;

    *count = 0;
    CHECK_OK(lsm_dir_open(env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        uint64_t number;
        const uint8_t *data;
        size_t size;
        if (lsm_filename_parse(names.names[i], &number) == LSM_NAME_CACHE) {
            CHECK(lsm_sim_file_read(env, SIM_PATH, names.names[i], &data, &size));
            bytes += size;
            *count += 1;
        }
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
    return bytes;
}

static void check_cap(cache_db *c, uint64_t cap) {
    size_t count;
    uint64_t bytes = file_bytes(c->env, &count);

    if (bytes > cap + cap / 20) {
        lsm_test_fail(__FILE__, __LINE__, "%llu bytes in %zu files, the cap is %llu",
                      (unsigned long long)bytes, count, (unsigned long long)cap);
    }
}

static void check_whole(cache_db *c) {
    char name[LSM_NAME_SIZE_MAX] = "";
    lsmkv_error err;
    lsmkv_report report;

    CHECK_OK(lsmkv_settle(c->db, &err));
    if (!lsm_test_files_match(c->db, name)) {
        lsm_test_fail(__FILE__, __LINE__, "%s should not be there", name);
    }
    CHECK_OK(lsmkv_verify(c->db, NULL, NULL, &report, &err));
    CHECK_EQ(report.problem_count, 0);
}

/* Puts keys [from, to), the cap looked at after each. */
static void load(cache_db *c, size_t from, size_t to, size_t round) {
    for (size_t i = from; i < to; i++) {
        put(c, i, SIZE, round);
        check_cap(c, CAP);
    }
}

static size_t count_hits(cache_db *c, size_t from, size_t to, size_t round) {
    size_t hits = 0;

    for (size_t i = from; i < to; i++) {
        hits += get(c, i, SIZE, round);
    }
    return hits;
}

LSM_TEST(cache_gives_back_values_of_every_size) {
    static const size_t sizes[] = {0, 1, 7, 8, 63, 64, 100, 1023, ROOM};
    cache_db c;

    begin(&c);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < LSM_ARRAY_COUNT(sizes); i++) {
            put(&c, i, sizes[i], round);
        }
        for (size_t i = 0; i < LSM_ARRAY_COUNT(sizes); i++) {
            CHECK(get(&c, i, sizes[i], round));
        }
    }
    check_whole(&c);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(sizes); i++) {
        CHECK(get(&c, i, sizes[i], 1));
    }
    end(&c);
}

LSM_TEST(cache_refuses_values_over_a_64th_of_its_bytes) {
    cache_db c;
    lsmkv_error err;
    lsmkv_batch *batch;
    uint8_t value[ROOM + 1] = {0};

    begin(&c);
    lsmkv_write how = {.space = c.space};
    CHECK_STATUS(put_how(&c, &how, 1, ROOM + 1, 0), LSMKV_LIMIT_EXCEEDED);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    CHECK_STATUS(lsmkv_batch_put(batch, &how, bytes_of("a"),
                                 (lsmkv_bytes){value, sizeof(value)}, &err),
                 LSMKV_LIMIT_EXCEEDED);
    lsmkv_batch_free(batch);
    CHECK(!get(&c, 1, ROOM + 1, 0));
    end(&c);
}

LSM_TEST(cache_is_one_from_its_creation_on) {
    cache_db c;
    lsmkv_error err;
    lsmkv_namespace *other;
    lsmkv_namespace_how plain = {.create = true, .alter = true};
    lsmkv_namespace_how none = {.alter = true, .has_max_bytes = true};
    lsmkv_namespace_how more = {
        .alter = true, .has_max_bytes = true, .options = {.max_bytes = 2 * CAP}};
    lsmkv_namespace_how tiny = {
        .create = true, .has_max_bytes = true, .options = {.max_bytes = CAP - 1}};
    lsmkv_space_options found;

    begin(&c);
    CHECK_STATUS(lsmkv_namespace_open(c.db, bytes_of("cache"), &none, &other, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(lsmkv_namespace_open(c.db, bytes_of("tiny"), &tiny, &other, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_namespace_open(c.db, bytes_of("plain"), &plain, &other, &err));
    CHECK_STATUS(lsmkv_cache_pin(c.db, other, NULL, 0, true, &err),
                 LSMKV_INVALID_ARGUMENT);
    lsmkv_namespace_free(other);
    CHECK_STATUS(lsmkv_namespace_open(c.db, bytes_of("plain"), &more, &other, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_namespace_open(c.db, bytes_of("cache"), &more, &other, &err));
    lsmkv_namespace_options(other, &found);
    CHECK_EQ(found.max_bytes, 2 * CAP);
    CHECK_EQ(found.cache_policy, LSMKV_CACHE_FIFO_REINSERT);
    lsmkv_namespace_free(other);
    stop(&c);
    start(&c, 0);
    lsmkv_namespace_options(c.space, &found);
    CHECK_EQ(found.max_bytes, 2 * CAP);
    end(&c);
}

LSM_TEST(cache_segments_never_pass_the_cap_during_a_load) {
    cache_db c;

    begin(&c);
    load(&c, 0, 500, 0);
    check_whole(&c);
    size_t count;
    uint64_t found = file_bytes(c.env, &count);
    CHECK(stats_of(&c).file_bytes >= found); /* what ends a segment is not written */
    CHECK(stats_of(&c).file_bytes - found < count * LSM_CACHE_FRAME_ALIGN);
    CHECK_EQ(stats_of(&c).segment_count, count);
    CHECK(count >= 50);
    CHECK(file_bytes(c.env, &count) > CAP - CAP / 8);
    CHECK(count_hits(&c, 0, 330, 0) == 0);
    CHECK(count_hits(&c, 400, 500, 0) == 100);
    end(&c);
}

LSM_TEST(cache_keeps_what_is_read_while_others_go) {
    cache_db c;

    begin(&c);
    load(&c, 0, 20, 0);
    for (size_t i = 20; i < 600; i++) {
        put(&c, i, SIZE, 0);
        check_cap(&c, CAP);
        CHECK_EQ(count_hits(&c, 0, 20, 0), 20);
    }
    CHECK(stats_of(&c).reinserted_bytes > 0);
    CHECK(stats_of(&c).evicted_segments > 100);
    check_whole(&c);
    end(&c);
}

LSM_TEST(cache_never_stands_still_when_everything_is_read) {
    cache_db c;

    begin(&c);
    for (size_t i = 0; i < 400; i++) {
        put(&c, i, SIZE, 0);
        check_cap(&c, CAP);
        (void)count_hits(&c, 0, i + 1, 0);
        CHECK(get(&c, i, SIZE, 0));
    }
    end(&c);
}

/* A value is chosen for its second chance, and deleted or replaced before the eviction
 * comes to its end: at every step. */
LSM_TEST(cache_second_chance_never_undoes_a_delete_or_a_put) {
    for (uint64_t steps = 0; steps < 40; steps++) {
        cache_db c;
        lsmkv_error err;
        char key[16];

        begin(&c);
        lsmkv_write how = {.space = c.space};
        put(&c, 1, SIZE, 0);
        put(&c, 2, SIZE, 0);
        CHECK(get(&c, 1, SIZE, 0));
        CHECK(get(&c, 2, SIZE, 0));
        load(&c, 10, 90, 0);
        (void)lsm_test_step(c.db, steps);
        CHECK_OK(lsmkv_delete(c.db, &how, key_of(key, 1), &err));
        put(&c, 2, SIZE, 5);
        load(&c, 90, 130, 0);
        CHECK_OK(lsmkv_settle(c.db, &err));
        CHECK(!get(&c, 1, SIZE, 0));
        CHECK(!get(&c, 1, SIZE, 9));
        (void)get(&c, 2, SIZE, 5);
        stop(&c);
        start(&c, 0);
        CHECK(!get(&c, 1, SIZE, 0));
        (void)get(&c, 2, SIZE, 5);
        check_whole(&c);
        end(&c);
    }
}

/* Its place says that it was read, so the eviction that comes by asks for it. */
LSM_TEST(cache_second_chance_is_not_for_what_was_read_and_then_deleted) {
    cache_db c;
    lsmkv_error err;
    char key[16];

    begin(&c);
    lsmkv_write how = {.space = c.space};
    put(&c, 1, SIZE, 0);
    CHECK(get(&c, 1, SIZE, 0));
    CHECK_OK(lsmkv_delete(c.db, &how, key_of(key, 1), &err));
    for (size_t i = 10; stats_of(&c).evicted_segments < 3; i++) {
        CHECK(i < 1000);
        put(&c, i, SIZE, 0);
        CHECK(!get(&c, 1, SIZE, 0));
    }
    CHECK_EQ(stats_of(&c).reinserted_bytes, 0);
    end(&c);
}

LSM_TEST(cache_second_chance_keeps_the_time_a_value_expires) {
    cache_db c;
    lsmkv_error err;
    int64_t left;
    char key[16];

    begin(&c);
    lsmkv_write how = {.space = c.space, .ttl_ms = 1000000};
    lsmkv_read read = {.space = c.space};
    CHECK_STATUS(put_how(&c, &how, 1, SIZE, 0), LSMKV_OK);
    lsm_sim_advance_ms(c.env, 1000);
    for (size_t i = 10; i < 300; i++) {
        put(&c, i, SIZE, 0);
        CHECK(get(&c, 1, SIZE, 0));
    }
    CHECK(stats_of(&c).reinserted_bytes > 0);
    CHECK_OK(lsmkv_ttl(c.db, &read, key_of(key, 1), &left, &err));
    CHECK(left > 990000 && left <= 999000);
    lsm_sim_advance_ms(c.env, 1000000);
    lsm_test_follow_clock(c.db);
    CHECK(!get(&c, 1, SIZE, 0));
    end(&c);
}

LSM_TEST(cache_value_that_has_gone_hides_older_ones_for_good) {
    cache_db c;
    lsmkv_error err;
    lsmkv_batch *batch;
    char key[16];

    begin(&c);
    /* A value that needs no cache segment cannot be made from outside; so the older one
     * is flushed to the tree, and the newer goes with its segment. */
    put(&c, 1, SIZE, 0);
    CHECK_OK(lsmkv_flush(c.db, &err));
    put(&c, 1, SIZE, 1);
    CHECK_OK(lsmkv_flush(c.db, &err));
    load(&c, 10, 300, 0);
    CHECK(!get(&c, 1, SIZE, 1));
    CHECK_OK(lsmkv_compact(c.db, NULL, NULL, &err));
    CHECK(!get(&c, 1, SIZE, 1));
    lsmkv_read read = {.space = c.space};
    int64_t left;
    CHECK_STATUS(lsmkv_ttl(c.db, &read, key_of(key, 1), &left, &err), LSMKV_NOT_FOUND);
    lsmkv_write how = {.space = c.space, .ttl_ms = 5};
    CHECK_STATUS(lsmkv_touch(c.db, &how, key_of(key, 1), &err), LSMKV_NOT_FOUND);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    lsmkv_batch_free(batch);
    check_whole(&c);
    end(&c);
}

LSM_TEST(cache_compactions_move_no_value_and_drop_dead_pointers) {
    cache_db c;
    lsmkv_error err;
    lsmkv_stats before;
    lsmkv_stats after;

    begin(&c);
    for (size_t round = 0; round < 4; round++) {
        load(&c, 0, 300, round);
        CHECK_OK(lsmkv_flush(c.db, &err));
    }
    CHECK_OK(lsmkv_settle(c.db, &err));
    uint64_t written = stats_of(&c).written_bytes;
    CHECK_OK(lsmkv_get_stats(c.db, &before, &err));
    CHECK_OK(lsmkv_compact(c.db, NULL, NULL, &err));
    CHECK_OK(lsmkv_get_stats(c.db, &after, &err));
    CHECK_EQ(stats_of(&c).written_bytes, written);
    CHECK(after.compact_bytes_written - before.compact_bytes_written < 300 * SIZE / 4);
    uint64_t entries = 0;
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        entries += after.levels[i].entry_count;
    }
    CHECK(entries < 2 * CAP / SIZE); /* those of the cap, and the engine's own */
    CHECK(count_hits(&c, 240, 300, 3) == 60);
    /* Every value went to the disk once, but for frames. */
    CHECK(written < (uint64_t)4 * 300 * SIZE * 3 / 2);
    end(&c);
}

LSM_TEST(cache_cap_holds_right_after_a_restart_and_values_are_there) {
    cache_db c;

    begin(&c);
    load(&c, 0, 300, 0);
    for (size_t round = 1; round < 5; round++) {
        size_t before = count_hits(&c, 0, 300, 0);
        stop(&c);
        start(&c, 0);
        check_cap(&c, CAP);
        CHECK_EQ(count_hits(&c, 0, 300, 0), before);
        load(&c, 1000 * round, 1000 * round + 10, round);
        check_whole(&c);
    }
    end(&c);
}

LSM_TEST(cache_with_a_lower_cap_shrinks_and_stays_usable) {
    cache_db c;
    lsmkv_error err;
    lsmkv_namespace_how how = {
        .create = true, .has_max_bytes = true, .options = {.max_bytes = 8 * CAP}};
    lsmkv_namespace *wide;

    begin(&c);
    CHECK_OK(lsmkv_namespace_open(c.db, bytes_of("wide"), &how, &wide, &err));
    lsmkv_namespace *narrow = c.space;
    c.space = wide;
    for (size_t i = 0; i < 600; i++) {
        put(&c, i, SIZE, 0);
    }
    how.alter = true;
    how.options.max_bytes = CAP;
    lsmkv_namespace *again;
    CHECK_OK(lsmkv_namespace_open(c.db, bytes_of("wide"), &how, &again, &err));
    lsmkv_namespace_free(again);
    put(&c, 1000, SIZE, 0);
    CHECK(stats_of(&c).file_bytes <= CAP + CAP / 20);
    CHECK(get(&c, 1000, SIZE, 0));
    check_cap(&c, CAP);
    c.space = narrow;
    lsmkv_namespace_free(wide);
    end(&c);
}

LSM_TEST(cache_that_is_dropped_leaves_no_file) {
    cache_db c;
    lsmkv_error err;
    size_t count;

    begin(&c);
    load(&c, 0, 200, 0);
    CHECK(file_bytes(c.env, &count) > 0);
    CHECK_OK(lsmkv_namespace_drop(c.db, bytes_of("cache"), &err));
    CHECK_EQ(file_bytes(c.env, &count), 0);
    lsmkv_write how = {.space = c.space};
    CHECK_STATUS(put_how(&c, &how, 1, SIZE, 0), LSMKV_INVALID_ARGUMENT);
    lsmkv_namespace_free(c.space);
    lsmkv_namespace_how fresh = {
        .create = true, .has_max_bytes = true, .options = {.max_bytes = CAP}};
    CHECK_OK(lsmkv_namespace_open(c.db, bytes_of("cache"), &fresh, &c.space, &err));
    CHECK_EQ(count_hits(&c, 0, 200, 0), 0);
    put(&c, 3, SIZE, 1);
    CHECK(get(&c, 3, SIZE, 1));
    check_whole(&c);
    end(&c);
}

LSM_TEST(cache_batches_scans_and_snapshots_pass_over_what_has_gone) {
    cache_db c;
    lsmkv_error err;
    lsmkv_batch *batch;
    lsmkv_iter *iter;
    lsmkv_snapshot *snapshot;
    uint8_t value[SIZE];

    begin(&c);
    lsmkv_write how = {.space = c.space};
    lsmkv_read read = {.space = c.space};
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    for (size_t i = 0; i < 100; i++) {
        char key[16];
        fill_value(value, SIZE, i, 0);
        lsmkv_bytes bytes = {value, SIZE};
        CHECK_OK(lsmkv_batch_put(batch, &how, key_of(key, i), bytes, &err));
        CHECK_OK(lsmkv_batch_put(batch, NULL, key_of(key, i), bytes_of("plain"), &err));
    }
    CHECK_OK(lsmkv_write_batch(c.db, NULL, batch, &err));
    CHECK_OK(lsmkv_write_batch(c.db, NULL, batch, &err));
    lsmkv_batch_free(batch);
    CHECK_OK(lsmkv_snapshot_create(c.db, &snapshot, &err));
    CHECK(get_at(&c, snapshot, 99, SIZE, 0));
    for (int reverse = 0; reverse < 2; reverse++) {
        size_t rows = 0;
        CHECK_OK(lsmkv_iter_create(c.db, &read, NULL, &iter, &err));
        CHECK_OK(reverse ? lsmkv_iter_seek_last(iter, &err)
                         : lsmkv_iter_seek_first(iter, &err));
        while (lsmkv_iter_valid(iter)) {
            lsmkv_bytes key = lsmkv_iter_key(iter);
            char digits[7] = {0};
            CHECK_EQ(key.size, 9);
            memcpy(digits, (const char *)key.data + 3, 6);
            size_t index = strtoul(digits, NULL, 10);
            fill_value(value, SIZE, index, 0);
            CHECK_EQ(lsmkv_iter_value(iter).size, SIZE);
            CHECK(memcmp(lsmkv_iter_value(iter).data, value, SIZE) == 0);
            CHECK_OK(reverse ? lsmkv_iter_prev(iter, &err)
                             : lsmkv_iter_next(iter, &err));
            rows += 1;
        }
        lsmkv_iter_free(iter);
        CHECK_EQ(rows, count_hits(&c, 0, 100, 0));
        CHECK(rows > 60);
    }
    for (size_t i = 200; i < 400; i++) {
        put(&c, i, SIZE, 0);
    }
    for (size_t i = 0; i < 100; i++) {
        (void)get_at(&c, snapshot, i, SIZE, 0);
    }
    lsmkv_snapshot_free(snapshot);
    end(&c);
}

LSM_TEST(cache_keys_alone_are_listed_without_their_values) {
    cache_db c;
    lsmkv_error err;
    lsmkv_iter *iter;
    lsmkv_chunk chunk;
    size_t rows = 0;
    const lsmkv_fill fill = {.keys_only = true, .row_max = 7};

    begin(&c);
    load(&c, 0, 300, 0);
    lsmkv_read read = {.space = c.space};
    CHECK_OK(lsmkv_iter_create(c.db, &read, NULL, &iter, &err));
    do {
        CHECK_OK(lsmkv_iter_fill(iter, &fill, &chunk, &err));
        rows += chunk.row_count;
    } while (chunk.row_count > 0);
    lsmkv_iter_free(iter);
    CHECK_EQ(rows, count_hits(&c, 0, 300, 0));
    end(&c);
}

LSM_TEST(cache_pins_outlive_evictions_and_restarts) {
    cache_db c;
    lsmkv_error err;
    char names[40][16];
    lsmkv_bytes keys[40];

    begin(&c);
    for (size_t i = 0; i < 40; i++) {
        keys[i] = key_of(names[i], i);
    }
    load(&c, 0, 40, 0);
    CHECK_OK(lsmkv_cache_pin(c.db, c.space, keys, 10, true, &err));
    CHECK_EQ(stats_of(&c).pinned_count, 10);
    load(&c, 100, 400, 0);
    CHECK_EQ(count_hits(&c, 0, 10, 0), 10);
    CHECK_EQ(count_hits(&c, 10, 40, 0), 0);
    stop(&c);
    start(&c, 0);
    CHECK_EQ(stats_of(&c).pinned_count, 10);
    load(&c, 400, 800, 0);
    CHECK_EQ(count_hits(&c, 0, 10, 0), 10);
    CHECK_OK(lsmkv_cache_pin(c.db, c.space, keys, 10, false, &err));
    CHECK_EQ(stats_of(&c).pinned_count, 0);
    CHECK_EQ(stats_of(&c).pinned_bytes, 0);
    stop(&c);
    start(&c, 0);
    load(&c, 800, 1200, 0);
    CHECK_EQ(count_hits(&c, 0, 10, 0), 0);
    check_whole(&c);
    end(&c);
}

LSM_TEST(cache_pins_take_half_of_the_cap_at_most) {
    enum { MANY = 120 };
    cache_db c;
    lsmkv_error err;
    char names[MANY][16];
    lsmkv_bytes keys[MANY];

    begin(&c);
    for (size_t i = 0; i < MANY; i++) {
        keys[i] = key_of(names[i], i);
    }
    load(&c, 0, MANY, 0);
    CHECK_STATUS(lsmkv_cache_pin(c.db, c.space, keys, MANY, true, &err),
                 LSMKV_LIMIT_EXCEEDED);
    CHECK_EQ(stats_of(&c).pinned_count, 0);
    CHECK_OK(lsmkv_cache_pin(c.db, c.space, keys, MANY / 2, true, &err));
    /* Keys without values, which then come. */
    CHECK_OK(lsmkv_cache_pin(c.db, c.space, keys, MANY, false, &err));
    CHECK_OK(lsmkv_cache_pin(c.db, c.space, keys, 1, true, &err));
    for (size_t i = 0; i < MANY; i++) {
        keys[i] = key_of(names[i], 5000 + i);
    }
    CHECK_OK(lsmkv_cache_pin(c.db, c.space, keys, MANY, true, &err));
    lsmkv_write how = {.space = c.space};
    size_t taken = 0;
    while (taken < MANY && put_how(&c, &how, 5000 + taken, SIZE, 0) == LSMKV_OK) {
        taken += 1;
    }
    CHECK(taken > MANY / 2 && taken < MANY);
    CHECK(stats_of(&c).pinned_bytes <= CAP / 2);
    load(&c, 200, 700, 0);
    CHECK_EQ(count_hits(&c, 5000, 5000 + taken, 0), taken);
    end(&c);
}

/* Power failures at the end of a load: the newest value or none. */
LSM_TEST(cache_after_a_power_failure_shows_the_newest_value_or_none) {
    for (uint64_t seed = 0; seed < 60; seed++) {
        cache_db c;
        lsmkv_error err;
        size_t hits = 0;

        begin(&c);
        for (size_t round = 0; round < 3; round++) {
            for (size_t i = 0; i < 40; i++) {
                put(&c, i, SIZE, round);
            }
            CHECK_OK(lsmkv_flush(c.db, &err));
        }
        lsmkv_write sync = {.space = c.space, .sync = true};
        CHECK_STATUS(put_how(&c, &sync, 50, SIZE, 0), LSMKV_OK);
        lsm_env *after = sim_crash(c.env, seed, (lsm_crash_mode)(seed % 5), 512);
        end(&c);
        c.env = after;
        start(&c, 0);
        for (size_t i = 0; i < 40; i++) {
            hits += get(&c, i, SIZE, 2);
        }
        (void)get(&c, 50, SIZE, 0);
        check_cap(&c, CAP);
        check_whole(&c);
        load(&c, 100, 200, 0);
        check_whole(&c);
        end(&c);
        CHECK(hits <= 40);
    }
}

LSM_TEST(cache_damage_is_a_miss_and_no_problem) {
    for (uint64_t seed = 0; seed < 30; seed++) {
        cache_db c;
        lsmkv_error err;
        lsm_dir *dir;
        lsm_namelist names = {0};
        lsm_rng rng = {seed};

        begin(&c);
        load(&c, 0, 60, 0);
        stop(&c);
        CHECK_OK(lsm_dir_open(c.env, SIM_PATH, false, &dir, &err));
        CHECK_OK(lsm_dir_list(dir, &names, &err));
        for (size_t i = 0; i < names.count; i++) {
            uint64_t number;
            const uint8_t *data;
            size_t size;
            uint8_t copy[8 * ROOM];
            if (lsm_filename_parse(names.names[i], &number) != LSM_NAME_CACHE) {
                continue;
            }
            CHECK(lsm_sim_file_read(c.env, SIM_PATH, names.names[i], &data, &size));
            memcpy(copy, data, size);
            switch (lsm_rng_below(&rng, 4)) {
                case 0:
                    copy[lsm_rng_below(&rng, size)] ^= 0x10;
                    break;
                case 1:
                    size = (size_t)lsm_rng_below(&rng, size);
                    break;
                case 2:
                    CHECK(lsm_sim_file_remove(c.env, SIM_PATH, names.names[i]));
                    continue;
                default:
                    break;
            }
            CHECK(lsm_sim_file_write(c.env, SIM_PATH, names.names[i], copy, size));
        }
        lsm_namelist_deinit(&names);
        lsm_dir_close(dir);
        start(&c, 0);
        size_t hits = count_hits(&c, 0, 60, 0);
        CHECK(hits > 0 && hits < 60);
        check_whole(&c);
        load(&c, 100, 300, 0);
        check_whole(&c);
        end(&c);
    }
}
