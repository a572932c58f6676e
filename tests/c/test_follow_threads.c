/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: threads read through one follower, each in one state, while others refresh it
 * and the writer flushes and compacts; for the thread sanitizer as much as for the
 * answers. Method: a real directory. Batch n gives two keys, one of them in a
 * namespace, the same value, so in one state the two agree and n never falls.
 */
#include "db_help.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/lsmkv.h"

enum {
    BATCHES = 1000,
    SLOTS = 37,
    READERS = 2,
    REFRESHERS = 2,
    VALUE_ROOM = 900,
};

typedef struct follow_run {
    lsmkv_db *follower;
    _Atomic uint64_t acknowledged;
    _Atomic bool over;
    _Atomic uint64_t reads, news;
    _Atomic int wrong; /* the line of a check that failed */
} follow_run;

/* Ends the thread that found it. */
#define EXPECT(condition)                        \
    do {                                         \
        if (!(condition)) {                      \
            atomic_store(&run->wrong, __LINE__); \
            return NULL;                         \
        }                                        \
    } while (0)

static lsmkv_bytes slot_key(char to[16], uint64_t number, char half) {
    int size = snprintf(to, 16, "%c%02u", half, (unsigned)(number % SLOTS));
    return (lsmkv_bytes){to, (size_t)size};
}

static uint64_t number_in(lsmkv_bytes value) {
    uint64_t number = 0;
    memcpy(&number, value.data, sizeof(number));
    return number;
}

static void *refresh_often(void *context) {
    follow_run *run = context;
    lsmkv_error err;

    while (!atomic_load(&run->over)) {
        bool changed = false;
        lsmkv_status status = lsmkv_refresh(run->follower, &changed, &err);
        EXPECT(status == LSMKV_OK || status == LSMKV_CHANGED);
        atomic_fetch_add(&run->news, changed);
    }
    return NULL;
}

/* Both halves of a slot, which agree in one state. */
static bool read_slot(follow_run *run, const lsmkv_snapshot *snapshot, uint64_t slot,
                      uint64_t *least) {
    lsmkv_error err;
    char first[16];
    char second[16];
    lsmkv_lookup lookups[2] = {{.key = slot_key(first, slot, 'a')},
                               {.key = slot_key(second, slot, 'b')}};
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_pin pin = {0};

    if (lsmkv_get_many(run->follower, &read, lookups, 2, &pin, &err) != LSMKV_OK) {
        return false;
    }
    bool ok = lookups[0].found == lookups[1].found;
    if (ok && lookups[0].found) {
        uint64_t number = number_in(lookups[0].value);
        ok = number == number_in(lookups[1].value) && number % SLOTS == slot &&
             number >= *least && lookups[0].value.size == lookups[1].value.size;
        *least = snapshot == NULL ? number : *least;
    }
    lsmkv_pin_release(&pin);
    return ok;
}

/* Of a cache, which may be a miss, but never another value. */
static bool read_cache(follow_run *run, uint64_t slot) {
    lsmkv_namespace *cache = NULL;
    lsmkv_error err;
    lsmkv_pin pin;
    char key[16];

    if (lsmkv_namespace_open(run->follower, (lsmkv_bytes){"c", 1}, NULL, &cache,
                             &err) != LSMKV_OK) {
        return true;
    }
    lsmkv_read read = {.space = cache};
    lsmkv_status status =
        lsmkv_get(run->follower, &read, slot_key(key, slot, 'c'), &pin, &err);
    bool ok = status == LSMKV_OK || status == LSMKV_NOT_FOUND;
    if (status == LSMKV_OK) {
        ok = pin.value.size == VALUE_ROOM && number_in(pin.value) % SLOTS == slot;
        lsmkv_pin_release(&pin);
    }
    lsmkv_namespace_free(cache);
    return ok;
}

static void *read_often(void *context) {
    follow_run *run = context;
    uint64_t least[SLOTS] = {0};
    lsmkv_error err;

    while (!atomic_load(&run->over)) {
        lsmkv_snapshot *snapshot = NULL;
        lsmkv_namespace *space = NULL;
        lsmkv_iter *iter = NULL;
        uint64_t none = 0;

        for (uint64_t slot = 0; slot < SLOTS; slot++) {
            EXPECT(read_slot(run, NULL, slot, &least[slot]));
            EXPECT(read_cache(run, slot));
        }
        EXPECT(lsmkv_snapshot_create(run->follower, &snapshot, &err) == LSMKV_OK);
        lsmkv_namespace_how how = {.snapshot = snapshot};
        EXPECT(lsmkv_namespace_open(run->follower, (lsmkv_bytes){"s", 1}, &how, &space,
                                    &err) == LSMKV_OK);
        lsmkv_read read = {.snapshot = snapshot, .space = space};
        EXPECT(lsmkv_iter_create(run->follower, &read, NULL, &iter, &err) == LSMKV_OK);
        EXPECT(lsmkv_iter_seek_first(iter, &err) == LSMKV_OK);
        for (; lsmkv_iter_valid(iter);) {
            uint64_t number = number_in(lsmkv_iter_value(iter));
            EXPECT(number >= least[number % SLOTS]);
            EXPECT(lsmkv_iter_next(iter, &err) == LSMKV_OK);
        }
        for (uint64_t slot = 0; slot < SLOTS; slot++) {
            EXPECT(read_slot(run, snapshot, slot, &none));
        }
        lsmkv_iter_free(iter);
        lsmkv_namespace_free(space);
        lsmkv_snapshot_free(snapshot);
        atomic_fetch_add(&run->reads, 1);
    }
    return NULL;
}

static lsmkv_db *open_in(const char *path, bool follower) {
    lsmkv_options options;
    lsmkv_error err;
    lsmkv_db *db = NULL;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.table_bytes = 1 << 13;
    options.level_base_bytes = 1 << 15;
    options.level_multiplier = 2;
    options.l0_compact_trigger = 2;
    options.blob_threshold_bytes = 500;
    options.log_bytes = 1 << 17;
    options.follower = follower;
    options.follow_interval_ms = follower ? 1 : 0;
    CHECK_OK(lsmkv_open(path, &options, &db, &err));
    return db;
}

static void write_batches(follow_run *run, lsmkv_db *writer) {
    static uint8_t value[VALUE_ROOM];
    lsmkv_namespace *space = NULL;
    lsmkv_namespace *cache = NULL;
    lsmkv_namespace_how how = {.create = true};
    lsmkv_namespace_how how_cache = {.create = true,
                                     .has_max_bytes = true,
                                     .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_batch *batch = NULL;
    lsmkv_error err;

    CHECK_OK(lsmkv_namespace_open(writer, (lsmkv_bytes){"s", 1}, &how, &space, &err));
    CHECK_OK(
        lsmkv_namespace_open(writer, (lsmkv_bytes){"c", 1}, &how_cache, &cache, &err));
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    for (uint64_t i = 1; i <= BATCHES && atomic_load(&run->wrong) == 0; i++) {
        char first[16];
        char second[16];
        lsmkv_write inside = {.space = space};
        lsmkv_bytes bytes = {value, 8 + i * 7 % (VALUE_ROOM - 8)};
        memcpy(value, &i, sizeof(i));
        lsmkv_batch_clear(batch);
        CHECK_OK(lsmkv_batch_put(batch, NULL, slot_key(first, i, 'a'), bytes, &err));
        CHECK_OK(lsmkv_batch_put(batch, NULL, slot_key(second, i, 'b'), bytes, &err));
        CHECK_OK(lsmkv_batch_put(batch, &inside, slot_key(first, i, 'a'), bytes, &err));
        CHECK_OK(lsmkv_write_batch(writer, NULL, batch, &err));
        lsmkv_write cached = {.space = cache};
        CHECK_OK(lsmkv_put(writer, &cached, slot_key(first, i, 'c'),
                           (lsmkv_bytes){value, VALUE_ROOM}, &err));
        atomic_store(&run->acknowledged, i);
        if (i % (BATCHES / 4) == 0) {
            CHECK_OK(lsmkv_compact(writer, NULL, NULL, &err));
        }
    }
    lsmkv_batch_free(batch);
    lsmkv_namespace_free(cache);
    lsmkv_namespace_free(space);
}

LSM_TEST(followers_threads_read_one_state_while_others_refresh) {
    char path[256];
    lsmkv_error err;
    follow_run run = {0};
    pthread_t threads[READERS + REFRESHERS];
    bool changed;
    uint64_t last = 0;

    (void)snprintf(path, sizeof(path), "%s/lsmkv-follow-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    lsmkv_db *writer = open_in(path, false);
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {.create = true};
    CHECK_OK(lsmkv_namespace_open(writer, (lsmkv_bytes){"s", 1}, &how, &space, &err));
    lsmkv_namespace_free(space);
    run.follower = open_in(path, true);
    for (size_t i = 0; i < READERS + REFRESHERS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL,
                                i < READERS ? read_often : refresh_often, &run),
                 0);
    }
    write_batches(&run, writer);
    atomic_store(&run.over, true);
    for (size_t i = 0; i < READERS + REFRESHERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    CHECK_EQ(atomic_load(&run.wrong), 0);
    CHECK(atomic_load(&run.news) > 0);
    CHECK_OK(lsmkv_refresh(run.follower, &changed, &err));
    CHECK(read_slot(&run, NULL, BATCHES % SLOTS, &last));
    CHECK_EQ(last, BATCHES);
    close_db(run.follower);
    close_db(writer);
    CHECK_OK(lsmkv_destroy(path, &err));
}
