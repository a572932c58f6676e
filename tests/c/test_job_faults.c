/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a flush or a compaction that lacks memory at any point, or finds that its input
 * is not what it should be, changes nothing and says so; the next one goes through,
 * every value is right, and no file is left over. Method: databases in the simulator
 * with large values, which are kept in sealed logs, copied and moved.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "db/db.h"

enum {
    KEYS = 60,
    LARGE_SIZE = 700,
    SMALL_SIZE = 20,
    LOG_BYTES = 8192, /* that a file of moved values has, too */
    PLACES_MAX = 3000,
};

typedef struct world {
    lsm_env *env;
    lsmkv_db *db;
} world;

static void start(world *w) {
    lsmkv_options options;
    lsmkv_error err;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.blob_threshold_bytes = 100;
    options.log_bytes = LOG_BYTES;
    options.seed = 1;
    CHECK_OK(lsm_test_open(w->env, SIM_PATH, &options, &w->db, &err));
}

static void begin(world *w) {
    w->env = lsm_sim_create(1);
    CHECK(w->env != NULL);
    lsm_sim_exempt_memory(w->env);
    start(w);
}

static lsmkv_bytes key_of(char to[16], size_t index) {
    return (lsmkv_bytes){to, (size_t)snprintf(to, 16, "key%03zu", index)};
}

static void put(world *w, size_t index, size_t size, int64_t ttl_ms) {
    lsmkv_write how = {.ttl_ms = ttl_ms};
    uint8_t value[LARGE_SIZE];
    lsmkv_error err;
    char key[16];

    memset(value, (int)(index + size) & 0xFF, size);
    CHECK_OK(
        lsmkv_put(w->db, &how, key_of(key, index), (lsmkv_bytes){value, size}, &err));
}

static void check_get(world *w, const lsmkv_snapshot *snapshot, size_t index,
                      size_t size) {
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_error err;
    lsmkv_pin pin;
    char key[16];

    CHECK_OK(lsmkv_get(w->db, &read, key_of(key, index), &pin, &err));
    CHECK_EQ(pin.value.size, size);
    CHECK_EQ(((const uint8_t *)pin.value.data)[size - 1], (index + size) & 0xFF);
    lsmkv_pin_release(&pin);
}

static void check_files(world *w) {
    char stray[LSM_NAME_SIZE_MAX];

    if (!lsm_test_files_match(w->db, stray)) {
        lsm_test_fail(__FILE__, __LINE__, "%s should not be there", stray);
    }
}

static void stop(world *w) {
    close_db(w->db);
}

static void end(world *w) {
    stop(w);
    lsm_sim_destroy(w->env);
}

/* With so many large values among the small ones: the log is kept, or copied from. */
static void flush_without_memory(size_t large) {
    bool failed = true;
    world w;

    begin(&w);
    for (uint64_t at = 0; failed; at++) {
        lsmkv_error err;
        CHECK(at < PLACES_MAX);
        for (size_t i = 0; i < KEYS / 6; i++) {
            put(&w, i, i < large ? LARGE_SIZE : SMALL_SIZE, 0);
        }
        uint64_t before = lsm_alloc_count();
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = lsmkv_flush(w.db, &err);
        failed = lsm_alloc_count() - before > at;
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || (failed && status == LSMKV_NO_MEMORY));
        check_files(&w);
        CHECK_OK(lsmkv_flush(w.db, &err));
        check_files(&w);
        for (size_t i = 0; i < KEYS / 6; i++) {
            check_get(&w, NULL, i, i < large ? LARGE_SIZE : SMALL_SIZE);
        }
    }
    end(&w);
}

LSM_TEST(a_flush_of_large_values_without_memory_can_be_repeated) {
    flush_without_memory(KEYS / 6);
    flush_without_memory(1);
}

/* What the log holds then is unknown; the next life reads it. */
LSM_TEST(a_flush_that_cannot_seal_its_log_says_so_and_loses_nothing) {
    static const lsm_sim_call calls[] = {LSM_SIM_TRUNCATE, LSM_SIM_SYNC};

    for (size_t k = 0; k < LSM_ARRAY_COUNT(calls); k++) {
        for (uint64_t at = 0; at < 3; at++) {
            lsmkv_error err;
            world w;

            begin(&w);
            for (size_t i = 0; i < KEYS / 6; i++) {
                put(&w, i, LARGE_SIZE, 0);
            }
            lsm_sim_fail(w.env, calls[k], at, EIO, true);
            lsmkv_status status = lsmkv_flush(w.db, &err);
            CHECK(status == LSMKV_IO_ERROR || at > 0);
            lsm_sim_fail(w.env, calls[k], 0, 0, false);
            lsm_test_abandon(w.db);
            start(&w);
            for (size_t i = 0; i < KEYS / 6; i++) {
                check_get(&w, NULL, i, LARGE_SIZE);
            }
            check_files(&w);
            end(&w);
        }
    }
}

/* Each failure of a compaction leaves all as it was; in the end one goes through. */
static void compact_without_memory(world *w) {
    lsmkv_status status = LSMKV_NO_MEMORY;

    for (uint64_t at = 0; status != LSMKV_OK; at++) {
        lsmkv_error err;
        CHECK(at < PLACES_MAX);
        lsm_alloc_fail_after(at, 0);
        status = lsmkv_compact(w->db, NULL, NULL, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        check_files(w);
    }
}

/* Of each log one value in eight is alive: those move, into several files. */
LSM_TEST(a_compaction_that_moves_values_without_memory_can_be_repeated) {
    enum { MANY = 240, KEPT = 8 };
    lsmkv_stats stats;
    lsmkv_error err;
    world w;

    begin(&w);
    for (size_t i = 0; i < MANY; i++) {
        put(&w, i, LARGE_SIZE, 0);
    }
    CHECK_OK(lsmkv_compact(w.db, NULL, NULL, &err));
    for (size_t i = 0; i < MANY; i++) {
        if (i % KEPT != 0) {
            put(&w, i, SMALL_SIZE, 0);
        }
    }
    CHECK_OK(lsmkv_flush(w.db, &err));
    compact_without_memory(&w); /* shows what is dead */
    put(&w, 1, SMALL_SIZE, 0);
    compact_without_memory(&w); /* and moves the rest */
    for (size_t i = 0; i < MANY; i++) {
        check_get(&w, NULL, i, i % KEPT != 0 ? SMALL_SIZE : LARGE_SIZE);
    }
    CHECK_OK(lsmkv_get_stats(w.db, &stats, &err));
    CHECK(stats.relocated_bytes > LOG_BYTES);
    CHECK(stats.segment_count > 1);
    check_files(&w);
    end(&w);
}

/* A snapshot sees the versions below, which the tombstones must go on hiding. */
LSM_TEST(a_compaction_of_expired_values_without_memory_can_be_repeated) {
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_error err;
    lsmkv_pin pin;
    char key[16];
    world w;

    begin(&w);
    for (size_t i = 0; i < KEYS; i++) {
        put(&w, i, SMALL_SIZE, 0);
    }
    CHECK_OK(lsmkv_compact(w.db, NULL, NULL, &err));
    CHECK_OK(lsmkv_snapshot_create(w.db, &snapshot, &err));
    for (size_t i = 0; i < KEYS; i++) {
        put(&w, i, SMALL_SIZE + 1, 1000);
    }
    CHECK_OK(lsmkv_flush(w.db, &err));
    lsm_sim_advance_ms(w.env, 2000);
    lsm_test_follow_clock(w.db);
    compact_without_memory(&w);
    for (size_t i = 0; i < KEYS; i++) {
        check_get(&w, snapshot, i, SMALL_SIZE);
        CHECK_STATUS(lsmkv_get(w.db, NULL, key_of(key, i), &pin, &err),
                     LSMKV_NOT_FOUND);
    }
    lsmkv_snapshot_free(snapshot);
    end(&w);
}

/* As if the MANIFEST said so, or entries had been lost on the way. */
static void miscount(world *w, uint64_t difference) {
    lsm_mutex_lock(&w->db->mu);
    for (size_t level = 0; level < LSMKV_LEVEL_COUNT; level++) {
        lsm_level *tables = &w->db->version->levels[level];
        for (size_t i = 0; i < tables->count; i++) {
            tables->tables[i]->info.entry_count += difference;
        }
    }
    lsm_mutex_unlock(&w->db->mu);
}

LSM_TEST(a_compaction_that_reads_fewer_entries_than_there_are_installs_nothing) {
    lsmkv_error err;
    world w;

    begin(&w);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = round; i < KEYS; i += 2) {
            put(&w, i, SMALL_SIZE, 0);
        }
        CHECK_OK(lsmkv_flush(w.db, &err));
        check_get(&w, NULL, round, SMALL_SIZE); /* so that the table is open */
    }
    miscount(&w, 1);
    CHECK_STATUS(lsmkv_compact(w.db, NULL, NULL, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "a compaction read ") != NULL);
    check_files(&w);
    miscount(&w, UINT64_MAX);
    CHECK_OK(lsmkv_compact(w.db, NULL, NULL, &err));
    for (size_t i = 0; i < KEYS; i++) {
        check_get(&w, NULL, i, SMALL_SIZE);
    }
    end(&w);
}
