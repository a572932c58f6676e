/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a writer may take its time with the value that it writes into a cache, while
 * others fill the segment, an eviction drops it, or the whole cache is dropped: nobody
 * waits for it, its file is closed behind it and leaves nothing, and what it wrote is
 * there or is a miss. Method: a real directory below an environment that holds a write
 * into a cache segment until the test has seen enough.
 */
#include "db_help.h"
#include "gate_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/cache_space.h"
#include "db/catalog.h"
#include "env/sync.h"
#include "format/filename.h"

enum { SIZE = 300, PUTS_MAX = 5000 };

/* Where a writer can be held. */
enum { AT_OPEN = NOWHERE + 1, AT_WRITE };

static int gated_write(lsm_file *file, uint64_t offset, lsm_slice piece, size_t *put) {
    gate_pass(AT_WRITE);
    return lsm_env_posix()->ops->file_write(file, offset, piece, put);
}

static int gated_open(lsm_dir *dir, const char *name, lsm_open_mode mode,
                      lsm_file **filep) {
    uint64_t number;

    if (mode != LSM_OPEN_READ && lsm_filename_parse(name, &number) == LSM_NAME_CACHE) {
        gate_pass(AT_OPEN);
    }
    return lsm_env_posix()->ops->file_open(dir, name, mode, filep);
}

typedef struct scene {
    char path[256];
    lsmkv_db *db;
    lsmkv_namespace *space;
    lsm_thread slow;
    lsmkv_status status; /* of the slow writer */
    lsmkv_status drop_status;
} scene;

static lsmkv_namespace *open_cache(scene *s) {
    lsmkv_namespace_how how = {.create = true,
                               .has_max_bytes = true,
                               .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_namespace *space = NULL;
    lsmkv_error err;

    CHECK_OK(lsmkv_namespace_open(s->db, bytes_of("cache"), &how, &space, &err));
    return space;
}

static lsmkv_status put(scene *s, const char *key, lsmkv_error *err) {
    uint8_t value[SIZE];
    lsmkv_write how = {.space = s->space};

    memset(value, key[0], sizeof(value));
    return lsmkv_put(s->db, &how, bytes_of(key), (lsmkv_bytes){value, SIZE}, err);
}

static void put_slowly(void *context) {
    scene *s = context;
    lsmkv_error err;

    s->status = put(s, "slow", &err);
}

static void begin(scene *s) {
    lsmkv_options options;
    lsmkv_error err;

    *s = (scene){.status = LSMKV_CLOSED};
    gate_begin();
    gate.ops.file_write = gated_write;
    gate.ops.file_open = gated_open;
    (void)snprintf(s->path, sizeof(s->path), "%s/lsmkv-caches-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(s->path) != NULL);
    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    CHECK_OK(lsm_test_open(&gate.env, s->path, &options, &s->db, &err));
    s->space = open_cache(s);
}

/* A writer that comes so far and no further. */
static void hold_one(scene *s, int place) {
    gate_close(place);
    CHECK(lsm_thread_start(&s->slow, put_slowly, s, "slow"));
    gate_await();
}

/* It has its place in a segment. */
static void begin_slow(scene *s) {
    lsmkv_error err;

    begin(s);
    CHECK_OK(put(s, "first", &err));
    hold_one(s, AT_WRITE);
}

static void let_go(scene *s) {
    gate_open();
    lsm_thread_join(&s->slow);
}

static lsmkv_status get(scene *s, const char *key) {
    lsmkv_read read = {.space = s->space};
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_status status = lsmkv_get(s->db, &read, bytes_of(key), &pin, &err);

    if (status == LSMKV_OK) {
        CHECK_EQ(pin.value.size, SIZE);
        CHECK_EQ(((const uint8_t *)pin.value.data)[SIZE - 1], key[0]);
        lsmkv_pin_release(&pin);
    }
    return status;
}

static lsmkv_cache_stats stats_of(scene *s) {
    lsmkv_cache_stats stats;
    lsmkv_error err;

    CHECK_OK(lsmkv_get_cache_stats(s->db, s->space, &stats, &err));
    return stats;
}

static void put_until(scene *s, bool (*is_so)(const lsmkv_cache_stats *stats)) {
    lsmkv_error err;

    for (int i = 0;; i++) {
        lsmkv_cache_stats stats = stats_of(s);
        char key[16];
        if (is_so(&stats)) {
            return;
        }
        CHECK(i < PUTS_MAX);
        (void)snprintf(key, sizeof(key), "key%d", i);
        CHECK_OK(put(s, key, &err));
    }
}

static void end(scene *s) {
    char stray[LSM_NAME_SIZE_MAX];
    lsmkv_error err;

    CHECK_OK(lsmkv_settle(s->db, &err));
    CHECK(lsm_test_files_match(s->db, stray));
    lsmkv_namespace_free(s->space);
    close_db(s->db);
    CHECK_OK(lsmkv_destroy(s->path, &err));
}

static bool has_two_segments(const lsmkv_cache_stats *stats) {
    return stats->segment_count > 1;
}

LSM_TEST(cache_writer_ends_behind_the_segment_it_writes_in) {
    scene s;

    begin_slow(&s);
    put_until(&s, has_two_segments);
    CHECK_EQ(get(&s, "slow"), LSMKV_NOT_FOUND);
    let_go(&s);
    CHECK_EQ(s.status, LSMKV_OK);
    CHECK_EQ(get(&s, "slow"), LSMKV_OK);
    CHECK_EQ(get(&s, "first"), LSMKV_OK);
    end(&s);
}

static bool has_evicted(const lsmkv_cache_stats *stats) {
    return stats->evicted_segments > 1;
}

LSM_TEST(cache_writer_whose_segment_is_evicted_meanwhile_wrote_a_miss) {
    scene s;

    begin_slow(&s);
    put_until(&s, has_evicted);
    let_go(&s);
    CHECK_EQ(s.status, LSMKV_OK);
    CHECK_EQ(get(&s, "slow"), LSMKV_NOT_FOUND);
    end(&s);
}

LSM_TEST(cache_writer_whose_cache_is_dropped_meanwhile_is_told_so) {
    lsmkv_error err;
    scene s;

    begin_slow(&s);
    CHECK_OK(lsmkv_namespace_drop(s.db, bytes_of("cache"), &err));
    let_go(&s);
    CHECK_EQ(s.status, LSMKV_INVALID_ARGUMENT);
    lsmkv_namespace_free(s.space);
    s.space = open_cache(&s);
    CHECK_EQ(get(&s, "slow"), LSMKV_NOT_FOUND);
    CHECK_EQ(stats_of(&s).segment_count, 0);
    end(&s);
}

static void drop_it(void *context) {
    scene *s = context;
    lsmkv_error err;

    s->drop_status = lsmkv_namespace_drop(s->db, bytes_of("cache"), &err);
}

/* Whether the drop has come to where it waits for the segment. */
static bool waits_for_segment(scene *s) {
    const lsm_cache_space *cache = s->space->space->cache;

    lsm_mutex_lock(&s->db->mu);
    bool waits = cache->dropped && cache->rolling;
    lsm_mutex_unlock(&s->db->mu);
    return waits;
}

LSM_TEST(cache_that_is_dropped_while_a_segment_is_begun_waits_for_that) {
    lsm_thread dropper;
    scene s;

    begin(&s);
    hold_one(&s, AT_OPEN);
    CHECK(lsm_thread_start(&dropper, drop_it, &s, "drop"));
    while (!waits_for_segment(&s)) {
        lsm_sleep_us(100);
    }
    let_go(&s);
    lsm_thread_join(&dropper);
    CHECK_EQ(s.drop_status, LSMKV_OK);
    CHECK_EQ(s.status, LSMKV_INVALID_ARGUMENT);
    lsmkv_namespace_free(s.space);
    s.space = open_cache(&s);
    CHECK_EQ(stats_of(&s).segment_count, 0);
    end(&s);
}
