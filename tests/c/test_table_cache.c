/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a table is opened once, stays open while it is in use, never costs more
 * descriptors than allowed, and what a reader found stays valid until it leaves the
 * epoch. Method: small tables in the simulator, whose calls are counted and made to
 * fail; threads over real files.
 */
#include "version_help.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "db/table_cache.h"
#include "env/env_sim.h"
#include "table/table_writer.h"

enum { PLACE_TABLES = 12, PLACE_PATH_MAX = 256, THREAD_COUNT = 4, THREAD_GETS = 4000 };

/* Table files, live tables for them, and a cache that opens them. Table i holds one
 * key, whose value is its number. */
typedef struct place {
    lsm_env *env;
    lsm_dir *dir;
    lsm_epoch epoch;
    lsm_cache *blocks;
    lsm_table_cache cache;
    count_sink sink;
    lsm_live_table *live[PLACE_TABLES];
} place;

static void make_word(char word[16], size_t index) {
    (void)snprintf(word, 16, "key%02zu", index);
}

static void write_table(place *at, size_t index, const uint8_t *uuid) {
    lsm_table_write_options options = {.block_bytes = 256,
                                       .index_block_bytes = 256,
                                       .bloom_bits_per_key = 10,
                                       .file_id = 77 + index};
    lsm_table_writer *writer = NULL;
    lsm_table_info info;
    word_key key;
    char word[16];
    lsmkv_error err;

    memcpy(options.uuid, uuid, LSM_UUID_SIZE);
    make_word(word, index);
    word_key_make(&key, word, 10 + index);
    CHECK_OK(lsm_table_writer_create(at->dir, 1 + index, &options, &writer, &err));
    CHECK_OK(lsm_table_writer_add(writer, word_ikey(&key),
                                  lsm_slice_make(word, strlen(word)), &err));
    CHECK_OK(lsm_table_writer_finish(writer, &info, &err));
    at->live[index] = lsm_live_table_create(&info, &at->sink.head);
    CHECK(at->live[index] != NULL);
    lsm_table_writer_destroy(writer);
}

enum { BUDGET = 1 << 20 };

static void place_init(place *at, lsm_env *env, const char *path, uint32_t open_max) {
    lsm_table_context context = {.uuid = "0123456789abcde"};
    lsmkv_error err;

    memset(at, 0, sizeof(*at));
    at->env = env;
    at->sink = count_sink_make();
    CHECK_OK(lsm_dir_open(env, path, true, &at->dir, &err));
    CHECK(lsm_epoch_init(&at->epoch));
    at->blocks = lsm_cache_create(1 << 20, &at->epoch);
    CHECK(at->blocks != NULL);
    context.dir = at->dir;
    context.cache = at->blocks;
    lsm_table_cache_init(&at->cache, &context, &at->epoch, open_max, BUDGET);
    for (size_t i = 0; i < PLACE_TABLES; i++) {
        write_table(at, i, context.uuid);
    }
}

/* Drops every table, as the end of a database does. */
static void place_deinit(place *at) {
    for (size_t i = 0; i < PLACE_TABLES; i++) {
        lsm_table_cache_forget(&at->cache, at->live[i]);
        lsm_live_table_unref(at->live[i]);
    }
    CHECK_EQ(lsm_table_cache_open_count(&at->cache), 0);
    CHECK_EQ(atomic_load(&at->cache.charge), 0);
    lsm_epoch_poll(&at->epoch);
    lsm_table_cache_deinit(&at->cache);
    lsm_cache_destroy(at->blocks);
    lsm_epoch_deinit(&at->epoch);
    lsm_dir_close(at->dir);
}

static void sim_place_init(place *at, uint32_t open_max) {
    lsm_env *env = lsm_sim_create(1);

    CHECK(env != NULL);
    place_init(at, env, "db", open_max);
}

static void sim_place_deinit(place *at) {
    place_deinit(at);
    lsm_sim_destroy(at->env); /* asserts that no file is open */
}

static lsmkv_status get(place *at, size_t index, bool nonblocking, lsm_table **tablep) {
    lsmkv_error err;

    return lsm_table_cache_get(&at->cache, at->live[index], nonblocking, tablep, &err);
}

/* Whether the open table answers its key. */
static bool answers(lsm_table *table, size_t index) {
    word_key key;
    char word[16];
    lsm_found found;
    lsmkv_error err;

    make_word(word, index);
    word_key_make(&key, word, 1);
    lsm_lookup lookup = lsm_lookup_make(word_skey(&key), LSM_SEQUENCE_MAX);
    return lsm_table_get(table, &lookup, false, &found, &err) == LSMKV_OK &&
           lsm_slice_equal(found.field, lsm_slice_make(word, strlen(word)));
}

/* Gets a table in an epoch of its own and reads it. */
static void touch(place *at, size_t index) {
    lsm_table *table = NULL;
    lsm_epoch_token token = lsm_epoch_enter(&at->epoch);

    CHECK_EQ(get(at, index, false, &table), LSMKV_OK);
    CHECK(answers(table, index));
    lsm_epoch_leave(token);
    lsm_epoch_poll(&at->epoch);
}

static bool is_open(const place *at, size_t index) {
    return atomic_load(&at->live[index]->handle) != NULL;
}

static uint64_t opens(const place *at) {
    return lsm_sim_call_count(at->env, LSM_SIM_OPEN);
}

LSM_TEST(a_table_is_opened_at_its_first_use_and_then_found) {
    place at;

    sim_place_init(&at, 16);
    uint64_t before = opens(&at);
    touch(&at, 3);
    touch(&at, 3);
    touch(&at, 3);
    CHECK_EQ(opens(&at) - before, 1);
    touch(&at, 4);
    CHECK_EQ(opens(&at) - before, 2);
    CHECK_EQ(lsm_table_cache_open_count(&at.cache), 2);
    sim_place_deinit(&at);
}

LSM_TEST(a_nonblocking_get_of_a_closed_table_would_block_and_opens_nothing) {
    lsm_table *table = NULL;
    place at;

    sim_place_init(&at, 16);
    uint64_t before = opens(&at);
    CHECK_EQ(get(&at, 0, true, &table), LSMKV_WOULD_BLOCK);
    CHECK(table == NULL);
    CHECK_EQ(opens(&at), before);
    touch(&at, 0);
    CHECK_EQ(get(&at, 0, true, &table), LSMKV_OK);
    CHECK(table != NULL);
    sim_place_deinit(&at);
}

LSM_TEST(no_more_than_the_allowed_tables_stay_open_and_their_memory_is_counted) {
    place at;

    sim_place_init(&at, 5);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < PLACE_TABLES; i++) {
            uint64_t charge = 0;
            size_t open = 0;
            touch(&at, i);
            for (size_t j = 0; j < PLACE_TABLES; j++) {
                lsm_table *table = atomic_load(&at.live[j]->handle);
                open += table != NULL;
                charge += table == NULL ? 0 : lsm_table_charge(table);
            }
            CHECK(open <= 5 && is_open(&at, i));
            CHECK_EQ(lsm_table_cache_open_count(&at.cache), open);
            CHECK_EQ(atomic_load(&at.cache.charge), charge);
        }
    }
    sim_place_deinit(&at);
}

LSM_TEST(a_table_in_constant_use_stays_open_while_others_pass_by) {
    place at;

    sim_place_init(&at, 4);
    touch(&at, 0);
    uint64_t before = opens(&at);
    for (size_t i = 1; i < PLACE_TABLES; i++) {
        touch(&at, i);
        touch(&at, 0);
        CHECK(is_open(&at, 0));
    }
    CHECK_EQ(opens(&at) - before, PLACE_TABLES - 1);
    sim_place_deinit(&at);
}

LSM_TEST(what_a_reader_found_stays_valid_until_it_leaves_the_epoch) {
    lsm_table *table = NULL;
    place at;

    sim_place_init(&at, 2);
    lsm_epoch_token token = lsm_epoch_enter(&at.epoch);
    CHECK_EQ(get(&at, 0, false, &table), LSMKV_OK);
    for (size_t i = 1; i < PLACE_TABLES; i++) {
        lsm_table *other = NULL;
        CHECK_EQ(get(&at, i, false, &other), LSMKV_OK);
    }
    CHECK(!is_open(&at, 0));
    CHECK(answers(table, 0));
    lsm_epoch_leave(token);
    lsm_epoch_poll(&at.epoch);
    touch(&at, 0); /* opened again */
    sim_place_deinit(&at);
}

LSM_TEST(a_forgotten_table_is_closed_when_it_is_destroyed) {
    place at;

    sim_place_init(&at, 16);
    touch(&at, 1);
    touch(&at, 2);
    lsm_table_cache_forget(&at.cache, at.live[1]);
    lsm_table_cache_forget(&at.cache, at.live[1]); /* twice is fine */
    lsm_table_cache_forget(&at.cache, at.live[5]); /* and one never opened */
    CHECK_EQ(lsm_table_cache_open_count(&at.cache), 1);
    sim_place_deinit(&at);
}

LSM_TEST(a_failed_open_is_reported_and_tried_again_the_next_time) {
    lsm_table *table = NULL;
    lsmkv_error err;
    place at;

    sim_place_init(&at, 16);
    lsm_sim_fail(at.env, LSM_SIM_READ, 0, EIO, false);
    CHECK_STATUS(lsm_table_cache_get(&at.cache, at.live[0], false, &table, &err),
                 LSMKV_IO_ERROR);
    CHECK(table == NULL);
    CHECK(strcmp(err.file, "000001.tbl") == 0);
    CHECK_EQ(err.os_errno, EIO);
    CHECK_EQ(lsm_table_cache_open_count(&at.cache), 0);
    CHECK_STATUS(lsm_table_cache_get(&at.cache, at.live[0], false, &table, NULL),
                 LSMKV_OK);
    CHECK(lsm_sim_file_remove(at.env, "db", "000002.tbl"));
    CHECK_STATUS(get(&at, 1, false, &table), LSMKV_CORRUPTION);
    CHECK(table == NULL);
    sim_place_deinit(&at);
}

LSM_TEST(without_descriptors_a_quarter_is_closed_and_the_open_tried_again) {
    lsm_table *table = NULL;
    lsmkv_error err;
    place at;

    sim_place_init(&at, 16);
    for (size_t i = 0; i < 8; i++) {
        touch(&at, i);
    }
    lsm_sim_fail(at.env, LSM_SIM_OPEN, 0, EMFILE, false);
    touch(&at, 8);
    CHECK_EQ(lsm_table_cache_open_count(&at.cache), 8 - 2 + 1);

    lsm_sim_fail(at.env, LSM_SIM_OPEN, 0, ENFILE, true);
    CHECK_STATUS(lsm_table_cache_get(&at.cache, at.live[9], false, &table, &err),
                 LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, ENFILE);
    CHECK_EQ(lsm_table_cache_open_count(&at.cache), 7 - 1);
    for (size_t i = 0; i < 9; i++) {
        if (is_open(&at, i)) {
            touch(&at, i);
        }
    }
    lsm_sim_fail(at.env, LSM_SIM_OPEN, 0, 0, false);
    touch(&at, 9);
    sim_place_deinit(&at);
}

LSM_TEST(other_errors_close_nothing) {
    lsm_table *table = NULL;
    place at;

    sim_place_init(&at, 16);
    for (size_t i = 0; i < 8; i++) {
        touch(&at, i);
    }
    uint64_t before = opens(&at);
    lsm_sim_fail(at.env, LSM_SIM_OPEN, 0, EACCES, false);
    CHECK_STATUS(get(&at, 8, false, &table), LSMKV_IO_ERROR);
    CHECK_EQ(opens(&at) - before, 1);
    CHECK_EQ(lsm_table_cache_open_count(&at.cache), 8);
    sim_place_deinit(&at);
}

LSM_TEST(opening_survives_every_failing_allocation) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    lsm_table *table = NULL;
    uint64_t failed = 0;
    place at;

    sim_place_init(&at, 16);
    while (status != LSMKV_OK) {
        lsm_alloc_fail_after(failed, 0);
        status = get(&at, 0, false, &table);
        lsm_alloc_fail_never();
        if (status != LSMKV_OK) {
            CHECK_EQ(status, LSMKV_NO_MEMORY);
            CHECK(table == NULL && !is_open(&at, 0));
            failed++;
        }
    }
    CHECK(failed > 2);
    sim_place_deinit(&at);
}

typedef struct reader_thread {
    lsm_thread thread;
    place *at;
    uint64_t seed;
} reader_thread;

/* Mostly favours table 0, so that hits, misses and evictions all happen. */
static void read_tables(void *context) {
    reader_thread *reader = context;
    lsm_rng rng = {reader->seed};

    for (int i = 0; i < THREAD_GETS; i++) {
        size_t index =
            lsm_rng_below(&rng, 3) != 0 ? 0 : (size_t)lsm_rng_below(&rng, PLACE_TABLES);
        touch(reader->at, index);
    }
}

LSM_TEST(threads_that_open_and_evict_the_same_tables_always_read_their_keys) {
    static reader_thread readers[THREAD_COUNT];
    char path[PLACE_PATH_MAX];
    char name[PLACE_PATH_MAX + 32];
    place at;

    (void)snprintf(path, sizeof(path), "%s/lsmkv-cache-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    place_init(&at, lsm_env_posix(), path, 3);
    for (size_t i = 0; i < THREAD_COUNT; i++) {
        readers[i] = (reader_thread){.at = &at, .seed = 100 + i};
        CHECK(lsm_thread_start(&readers[i].thread, read_tables, &readers[i], "reader"));
    }
    for (size_t i = 0; i < THREAD_COUNT; i++) {
        lsm_thread_join(&readers[i].thread);
    }
    CHECK(lsm_table_cache_open_count(&at.cache) <= 3);
    place_deinit(&at);
    for (size_t i = 0; i < PLACE_TABLES; i++) {
        (void)snprintf(name, sizeof(name), "%s/%06zu.tbl", path, i + 1);
        CHECK_EQ(unlink(name), 0);
    }
    CHECK_EQ(rmdir(path), 0);
}

LSM_TEST(block_cache_gets_what_the_open_tables_leave_of_the_budget) {
    place at;

    sim_place_init(&at, 4);
    CHECK_EQ(lsm_cache_capacity(at.blocks), BUDGET);
    for (size_t i = 0; i < PLACE_TABLES; i++) {
        touch(&at, i);
        CHECK_EQ(lsm_cache_capacity(at.blocks) + atomic_load(&at.cache.charge), BUDGET);
    }
    lsm_table_cache_forget(&at.cache, at.live[PLACE_TABLES - 1]);
    CHECK_EQ(lsm_cache_capacity(at.blocks) + atomic_load(&at.cache.charge), BUDGET);
    atomic_fetch_add(&at.cache.charge, BUDGET); /* as if filters outgrew it */
    touch(&at, 0);
    touch(&at, 1);
    CHECK_EQ(lsm_cache_capacity(at.blocks), BUDGET / 4);
    atomic_fetch_sub(&at.cache.charge, BUDGET);
    sim_place_deinit(&at);
}
