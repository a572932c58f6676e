/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: warming brings what was asked for and no more: of a namespace what is listed of
 * it, of a range all there is, values that were read and no others, within the budget
 * and the cache; and a list that is too large, or cannot be written, is done without.
 * Method: whole databases, in a real directory where values are mapped, which alone
 * lists them, else in the simulator.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "db/warm.h"

enum {
    SMALL = 400,      /* keys of each namespace */
    SMALL_SIZE = 100, /* of their values */
    LARGE = 20,       /* large values of each */
    LARGE_SIZE = 90000,
    THRESHOLD = 1000,
    CACHE = 1 << 20,
    BLOCK = 1024,
    PLACES_MAX = 500,
};

typedef struct world {
    lsm_env *env; /* NULL: the system */
    char path[256];
    lsmkv_db *db;
    lsmkv_namespace *space;
    uint32_t cache_bytes;
    int64_t threshold;
} world;

static void start(world *w) {
    lsmkv_namespace_how how = {.create = true};
    lsmkv_options options;
    lsmkv_error err;

    lsmkv_options_init(&options);
    options.memory_bytes = 8 << 20;
    options.block_cache_bytes = w->cache_bytes;
    options.block_bytes = BLOCK;
    options.table_bytes = 1 << 14;
    options.blob_threshold_bytes = w->threshold;
    options.background_threads = 1;
    options.seed = 1;
    CHECK_OK(w->env != NULL ? lsm_test_open(w->env, SIM_PATH, &options, &w->db, &err)
                            : lsmkv_open(w->path, &options, &w->db, &err));
    CHECK_OK(lsmkv_namespace_open(w->db, bytes_of("space"), &how, &w->space, &err));
}

static void stop(world *w) {
    lsmkv_namespace_free(w->space);
    close_db(w->db);
}

static void begin(world *w, bool simulated, uint32_t cache_bytes) {
    *w = (world){.cache_bytes = cache_bytes, .threshold = THRESHOLD};
    if (simulated) {
        w->env = lsm_sim_create(1);
        CHECK(w->env != NULL);
    } else {
        (void)snprintf(w->path, sizeof(w->path), "%s/lsmkv-warm-XXXXXX", P_tmpdir);
        CHECK(mkdtemp(w->path) != NULL);
    }
    start(w);
}

static void end(world *w) {
    lsmkv_error err;

    stop(w);
    if (w->env == NULL) {
        CHECK_OK(lsmkv_destroy(w->path, &err));
    }
    lsm_sim_destroy(w->env);
}

static lsmkv_bytes key_of(char to[16], char kind, size_t index) {
    int size = snprintf(to, 16, "%c%04zu", kind, index);
    return (lsmkv_bytes){to, (size_t)size};
}

static void put(world *w, const lsmkv_namespace *space, lsmkv_bytes key, size_t size) {
    static uint8_t value[3 << 20];
    lsmkv_write how = {.space = space};
    lsmkv_error err;

    CHECK(size <= sizeof(value));
    for (size_t i = 0; i < size; i += 8) { /* nothing to be compressed */
        uint64_t word = (i + key.size) * UINT64_C(0x9E3779B97F4A7C15);
        memcpy(value + i, &word, size - i < 8 ? size - i : 8);
    }
    CHECK_OK(lsmkv_put(w->db, &how, key, (lsmkv_bytes){value, size}, &err));
}

static void get(world *w, const lsmkv_namespace *space, lsmkv_bytes key, size_t size) {
    lsmkv_read read = {.space = space};
    lsmkv_error err;
    lsmkv_pin pin;

    CHECK_OK(lsmkv_get(w->db, &read, key, &pin, &err));
    CHECK_EQ(pin.value.size, size);
    lsmkv_pin_release(&pin);
}

static uint64_t misses(world *w) {
    lsmkv_stats stats;
    lsmkv_error err;

    CHECK_OK(lsmkv_get_stats(w->db, &stats, &err));
    return stats.cache_misses;
}

/* Small values and large ones in both namespaces, all in tables. */
static void fill(world *w, size_t large) {
    lsmkv_error err;
    char key[16];

    for (int i = 0; i < 2; i++) {
        const lsmkv_namespace *space = i == 0 ? NULL : w->space;
        for (size_t k = 0; k < SMALL; k++) {
            put(w, space, key_of(key, 's', k), SMALL_SIZE);
        }
        for (size_t k = 0; k < large; k++) {
            put(w, space, key_of(key, 'l', k), LARGE_SIZE);
        }
    }
    CHECK_OK(lsmkv_flush(w->db, &err));
    CHECK_OK(lsmkv_compact(w->db, NULL, NULL, &err));
}

/* Reads all small values; answers the blocks that were not in memory. */
static uint64_t read_small(world *w, const lsmkv_namespace *space) {
    uint64_t before = misses(w);
    char key[16];

    for (size_t k = 0; k < SMALL; k++) {
        get(w, space, key_of(key, 's', k), SMALL_SIZE);
    }
    return misses(w) - before;
}

static lsmkv_warm_report warm(world *w, const lsmkv_warm_how *how) {
    lsmkv_warm_report report;
    lsmkv_error err;

    CHECK_OK(lsmkv_warm(w->db, how, &report, &err));
    CHECK_EQ(report.total_bytes, report.byte_count);
    return report;
}

LSM_TEST(warming_a_namespace_brings_what_is_listed_of_it_alone) {
    lsmkv_warm_how how = {0};
    char key[16];
    world w;

    begin(&w, false, CACHE);
    fill(&w, 2);
    CHECK(read_small(&w, NULL) != 0);
    CHECK(read_small(&w, w.space) != 0);
    get(&w, w.space, key_of(key, 'l', 1), LARGE_SIZE);
    get(&w, NULL, key_of(key, 'l', 0), LARGE_SIZE);
    stop(&w);
    start(&w);
    how.space = w.space;
    lsmkv_warm_report report = warm(&w, &how);
    CHECK(report.block_count != 0);
    CHECK_EQ(report.value_count, 1);
    CHECK_EQ(read_small(&w, w.space), 0);
    CHECK(read_small(&w, NULL) != 0);
    end(&w);
}

LSM_TEST(warming_a_namespace_of_which_little_is_listed_brings_little) {
    lsmkv_namespace_how make = {.create = true};
    lsmkv_namespace *empty = NULL;
    lsmkv_warm_how how = {0};
    lsmkv_error err;
    char key[16];
    world w;

    begin(&w, true, CACHE);
    fill(&w, 1);
    stop(&w);
    start(&w);
    get(&w, w.space, key_of(key, 's', 7), SMALL_SIZE);
    get(&w, NULL, key_of(key, 's', 7), SMALL_SIZE);
    stop(&w);
    start(&w);
    CHECK_OK(lsmkv_namespace_open(w.db, bytes_of("empty"), &make, &empty, &err));
    how.space = empty;
    CHECK_EQ(warm(&w, &how).block_count, 0);
    how.space = w.space;
    lsmkv_warm_report report = warm(&w, &how);
    CHECK(report.block_count != 0);
    CHECK(report.byte_count < (uint64_t)4 * BLOCK);
    lsmkv_namespace_free(empty);
    end(&w);
}

/* Their neighbours in the blocks lie in the same segment or in another one. */
LSM_TEST(warming_brings_values_that_were_read_and_no_others) {
    static const size_t read[][3] = {{0, 8, 18}, {1, 7, 19}, {0, 1, 7}};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(read); i++) {
        lsmkv_error err;
        char key[16];
        world w;

        begin(&w, false, CACHE);
        for (size_t odd = 0; odd < 2; odd++) {
            for (size_t k = odd; k < LARGE; k += 2) {
                put(&w, NULL, key_of(key, 'l', k), LARGE_SIZE);
            }
            CHECK_OK(lsmkv_flush(w.db, &err));
        }
        CHECK_OK(lsmkv_compact(w.db, NULL, NULL, &err));
        for (size_t k = 0; k < LSM_ARRAY_COUNT(read[i]); k++) {
            get(&w, NULL, key_of(key, 'l', read[i][k]), LARGE_SIZE);
        }
        stop(&w);
        start(&w);
        CHECK_EQ(warm(&w, NULL).value_count, LSM_ARRAY_COUNT(read[i]));
        end(&w);
    }
}

/* With a budget that nothing fits in, so that each attempt finds the same. */
LSM_TEST(warming_without_memory_says_so_or_does_without_the_list) {
    lsmkv_warm_how how = {.budget_bytes = 1};
    bool failed = true;
    char key[16];
    world w;

    begin(&w, false, CACHE);
    fill(&w, 2);
    get(&w, NULL, key_of(key, 'l', 1), LARGE_SIZE);
    stop(&w);
    start(&w);
    for (uint64_t at = 0; failed; at++) {
        lsmkv_warm_report report;
        lsmkv_error err;
        uint64_t before = lsm_alloc_count();
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = lsmkv_warm(w.db, &how, &report, &err);
        failed = lsm_alloc_count() - before > at;
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || (failed && status == LSMKV_NO_MEMORY));
        CHECK(at < PLACES_MAX);
    }
    CHECK_EQ(warm(&w, NULL).value_count, 1);
    end(&w);
}

LSM_TEST(warming_a_range_brings_all_of_it_within_the_budget) {
    lsmkv_range range = {bytes_of("l"), bytes_of("m"), true, true};
    lsmkv_warm_how how = {.range = &range, .budget_bytes = 64 << 20};
    world w;

    begin(&w, true, CACHE);
    fill(&w, LARGE);
    lsmkv_warm_report all = warm(&w, &how);
    CHECK_EQ(all.value_count, LARGE);
    CHECK(all.byte_count >= (uint64_t)LARGE * LARGE_SIZE);
    for (uint64_t budget = 1; budget < all.byte_count; budget = budget * 3 + 5000) {
        stop(&w);
        start(&w);
        how.budget_bytes = budget;
        lsmkv_warm_report some = warm(&w, &how);
        CHECK(some.byte_count <= budget);
        CHECK(some.value_count <= budget / LARGE_SIZE);
    }
    end(&w);
}

/* The buffer that it was read into is not kept. */
LSM_TEST(warming_reads_a_value_larger_than_all_others_together) {
    lsmkv_range range = {.has_start = false};
    lsmkv_warm_how how = {.range = &range, .budget_bytes = 64 << 20};
    lsmkv_error err;
    world w;

    begin(&w, true, CACHE);
    put(&w, NULL, bytes_of("huge"), 3 << 20);
    put(&w, NULL, bytes_of("large"), LARGE_SIZE);
    CHECK_OK(lsmkv_flush(w.db, &err));
    CHECK_EQ(warm(&w, &how).value_count, 2);
    end(&w);
}

LSM_TEST(warming_a_cache_brings_the_values_in_it) {
    enum { CACHED = 30 };
    lsmkv_namespace_how make = {.create = true,
                                .has_max_bytes = true,
                                .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_range all = {.has_start = false};
    lsmkv_warm_how how = {.range = &all, .budget_bytes = 64 << 20};
    lsmkv_namespace *cache = NULL;
    lsmkv_error err;
    char key[16];
    world w;

    begin(&w, true, CACHE);
    fill(&w, 0);
    CHECK_OK(lsmkv_namespace_open(w.db, bytes_of("cache"), &make, &cache, &err));
    for (size_t i = 0; i < CACHED; i++) {
        put(&w, cache, key_of(key, 'c', i), SMALL_SIZE);
    }
    CHECK_OK(lsmkv_flush(w.db, &err));
    CHECK_EQ(warm(&w, &how).value_count, 0); /* of the namespace without a name */
    how.space = cache;
    CHECK_EQ(warm(&w, &how).value_count, CACHED);
    lsmkv_namespace_free(cache);
    end(&w);
}

/* More values than are collected before they are read. */
LSM_TEST(warming_reads_ever_so_many_values) {
    enum { MANY = 17000, STEP = 500, SIZE = 64 };
    static const uint8_t value[SIZE] = {1};
    lsmkv_range all = {.has_start = false};
    lsmkv_warm_how how = {.range = &all, .budget_bytes = 64 << 20};
    lsmkv_batch *batch = NULL;
    lsmkv_error err;
    char key[16];
    world w;

    begin(&w, true, 4 << 20);
    stop(&w);
    w.threshold = SIZE;
    start(&w);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    for (size_t i = 0; i < MANY; i++) {
        CHECK_OK(lsmkv_batch_put(batch, NULL, key_of(key, 'v', i),
                                 (lsmkv_bytes){value, SIZE}, &err));
        if (i % STEP == STEP - 1) {
            CHECK_OK(lsmkv_write_batch(w.db, NULL, batch, &err));
            lsmkv_batch_clear(batch);
        }
    }
    lsmkv_batch_free(batch);
    CHECK_OK(lsmkv_flush(w.db, &err));
    CHECK_EQ(warm(&w, &how).value_count, MANY);
    end(&w);
}

/* What is in the cache already stays, unless it is colder. */
LSM_TEST(warming_ends_where_the_cache_is_full) {
    lsmkv_range all = {.has_start = false};
    lsmkv_warm_how range = {.range = &all, .budget_bytes = 64 << 20};
    lsmkv_warm_how listed = {.budget_bytes = 66 << 10}; /* less than is listed */
    world w;

    begin(&w, true, CACHE);
    fill(&w, 1);
    stop(&w);
    start(&w);
    for (size_t i = 0; i < SMALL; i += BLOCK / SMALL_SIZE) {
        char key[16]; /* each block once: what goes first */
        get(&w, NULL, key_of(key, 's', i), SMALL_SIZE);
        get(&w, w.space, key_of(key, 's', i), SMALL_SIZE);
    }
    stop(&w);
    w.cache_bytes = SMALL * SMALL_SIZE / 2;
    start(&w);
    uint64_t most = (uint64_t)SMALL * SMALL_SIZE;
    lsmkv_warm_report report = warm(&w, &listed);
    CHECK(report.block_count != 0 && report.byte_count < most);
    report = warm(&w, &range);
    CHECK(report.byte_count < most + LARGE_SIZE);
    range.space = w.space;
    report = warm(&w, &range);
    CHECK(report.byte_count < most);
    end(&w);
}

/* Reads what is cold, at every step of the warming. */
static int read_beside(void *context, uint64_t done, uint64_t total) {
    world *w = context;

    CHECK(done <= total);
    (void)read_small(w, NULL);
    return 1;
}

LSM_TEST(warming_lets_those_go_first_who_read_meanwhile) {
    lsmkv_warm_how how = {.on_progress = read_beside};
    lsmkv_range all = {.has_start = false};
    world w;

    begin(&w, false, CACHE);
    fill(&w, 2);
    how.range = &all;
    how.context = &w;
    stop(&w);
    start(&w);
    CHECK(warm(&w, &how).byte_count != 0);
    end(&w);
}

LSM_TEST(a_hot_list_of_more_bytes_than_it_may_have_is_not_read) {
    char path[300];
    world w;

    begin(&w, false, CACHE);
    fill(&w, 1);
    CHECK(read_small(&w, NULL) != 0);
    stop(&w);
    (void)snprintf(path, sizeof(path), "%s/%s", w.path, LSM_HOTLIST_NAME);
    CHECK_EQ(truncate(path, (off_t)LSM_HOTLIST_SIZE_MAX + 1), 0);
    start(&w);
    CHECK_EQ(warm(&w, NULL).block_count, 0);
    CHECK(read_small(&w, NULL) != 0);
    stop(&w); /* writes one that is right */
    start(&w);
    CHECK(warm(&w, NULL).block_count != 0);
    end(&w);
}

/* Values among it, which are listed where they are mapped. */
LSM_TEST(a_hot_list_without_memory_is_not_written) {
    bool failed = true;
    char key[16];
    world w;

    begin(&w, false, CACHE);
    fill(&w, 2);
    CHECK(read_small(&w, NULL) != 0);
    get(&w, NULL, key_of(key, 'l', 1), LARGE_SIZE);
    for (uint64_t at = 0; failed; at++) {
        uint64_t before = lsm_alloc_count();
        lsm_alloc_fail_after(at, 0);
        lsm_hot_save *save = lsm_hot_save_start(w.db);
        while (save != NULL && lsm_hot_save_step(save)) {
        }
        lsm_hot_save_end(save);
        failed = lsm_alloc_count() - before > at;
        lsm_alloc_fail_never();
        CHECK(at < PLACES_MAX);
    }
    stop(&w);
    start(&w);
    CHECK(warm(&w, NULL).value_count == 1);
    CHECK_EQ(read_small(&w, NULL), 0);
    end(&w);
}

/* Five minutes go by, after which there should be another list. */
static void let_it_be_due(world *w) {
    lsm_sim_advance_ms(w->env, 301 * 1000);
}

static bool has_list(world *w) {
    const uint8_t *data;
    size_t size;

    return lsm_sim_file_read(w->env, SIM_PATH, LSM_HOTLIST_NAME, &data, &size);
}

LSM_TEST(a_hot_list_that_cannot_be_written_is_tried_again_when_it_is_due) {
    static const lsm_sim_call calls[] = {LSM_SIM_UNLINK, LSM_SIM_OPEN, LSM_SIM_APPEND,
                                         LSM_SIM_CLOSE, LSM_SIM_RENAME};
    world w;

    begin(&w, true, CACHE);
    fill(&w, 1);
    CHECK(read_small(&w, NULL) != 0);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        CHECK(lsm_sim_file_write(w.env, SIM_PATH, LSM_HOTLIST_TEMP_NAME, "x", 1));
        let_it_be_due(&w);
        lsm_sim_fail(w.env, calls[i], 0, EIO, true);
        (void)lsm_test_step(w.db, 1000);
        lsm_sim_fail(w.env, calls[i], 0, 0, false);
        CHECK(!has_list(&w));
    }
    for (uint64_t at = 0; !has_list(&w); at++) {
        CHECK(at < PLACES_MAX);
        let_it_be_due(&w);
        lsm_alloc_fail_after(at, 1);
        (void)lsm_test_step(w.db, 1000);
        lsm_alloc_fail_never();
    }
    end(&w);
}

LSM_TEST(a_hot_list_is_not_written_on_a_full_disk) {
    lsmkv_error err;
    world w;

    begin(&w, true, CACHE);
    fill(&w, 1);
    CHECK(read_small(&w, NULL) != 0);
    lsm_hot_save *save = lsm_hot_save_start(w.db);
    CHECK(save != NULL && lsm_hot_save_step(save));
    lsm_sim_fail(w.env, LSM_SIM_APPEND, 0, ENOSPC, false);
    CHECK_STATUS(lsmkv_put(w.db, NULL, bytes_of("a"), bytes_of("b"), &err),
                 LSMKV_DISK_FULL);
    while (lsm_hot_save_step(save)) {
    }
    lsm_hot_save_end(save);
    CHECK(!has_list(&w));
    CHECK_OK(lsmkv_resume(w.db, &err));
    end(&w);
}

/* Tables that are gone by then are passed over. */
LSM_TEST(a_hot_list_is_written_beside_a_compaction) {
    lsmkv_error err;
    world w;

    begin(&w, true, CACHE);
    fill(&w, 1);
    CHECK(read_small(&w, NULL) != 0);
    lsm_hot_save *save = lsm_hot_save_start(w.db);
    CHECK(save != NULL && lsm_hot_save_step(save));
    for (size_t i = 0; i < SMALL; i++) {
        char key[16];
        put(&w, NULL, key_of(key, 's', i), SMALL_SIZE);
    }
    CHECK_OK(lsmkv_compact(w.db, NULL, NULL, &err));
    while (lsm_hot_save_step(save)) {
    }
    lsm_hot_save_end(save);
    CHECK(has_list(&w));
    CHECK(read_small(&w, NULL) != 0);
    end(&w);
}
