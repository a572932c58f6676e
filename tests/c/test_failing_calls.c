/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: each call of the interface that lacks memory, or meets an error of the disk, at
 * any point says so and no more, and can be repeated. Method: one database with
 * something of everything in it, and rows of calls that end where they began; each
 * allocation and each call of the disk in them fails in turn. Afterwards the row goes
 * through, every key is right, and nothing leaks.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"

enum {
    KEYS = 40,
    LARGE_EVERY = 5,
    LARGE_SIZE = 400,
    SMALL_SIZE = 50,
    CACHED_SIZE = 300,
    CAP = 1 << 16,
    PLACES_MAX = 5000, /* where something can fail in one row */
};

typedef struct world {
    lsm_env *env;
    lsmkv_db *db;
    lsmkv_error err;
} world;

typedef lsmkv_status (*row_of_calls)(world *w);

static lsmkv_bytes key_of(char to[16], size_t index) {
    int size = snprintf(to, 16, "key%03zu", index);
    return (lsmkv_bytes){to, (size_t)size};
}

static lsmkv_bytes value_of(uint8_t to[LARGE_SIZE], size_t index) {
    size_t size = index % LARGE_EVERY == 0 ? LARGE_SIZE : SMALL_SIZE;

    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(index * 31 + i * 7);
    }
    return (lsmkv_bytes){to, size};
}

static void open_world(world *w) {
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.table_bytes = 4096;
    options.block_bytes = 512;
    options.blob_threshold_bytes = LARGE_SIZE;
    options.seed = 3;
    lsm_error_clear(&w->err);
    lsmkv_status status = lsm_test_open(w->env, SIM_PATH, &options, &w->db, &w->err);
    if (status != LSMKV_OK) {
        lsm_test_fail(__FILE__, __LINE__, "open: %s", w->err.message);
    }
}

/* Anything but a namespace: the default one. */
static lsmkv_status put_keys(world *w, const lsmkv_namespace *space, size_t first,
                             size_t step) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_write how = {.space = space};

    for (size_t i = first; status == LSMKV_OK && i < KEYS; i += step) {
        char key[16];
        uint8_t value[LARGE_SIZE];
        status = lsmkv_put(w->db, &how, key_of(key, i), value_of(value, i), &w->err);
    }
    return status;
}

static void check_keys(world *w) {
    for (size_t i = 0; i < KEYS; i++) {
        char key[16];
        uint8_t value[LARGE_SIZE];
        lsmkv_bytes expected = value_of(value, i);
        lsmkv_pin pin;
        lsmkv_error err;
        CHECK_OK(lsmkv_get(w->db, NULL, key_of(key, i), &pin, &err));
        CHECK_EQ(pin.value.size, expected.size);
        CHECK(memcmp(pin.value.data, expected.data, expected.size) == 0);
        lsmkv_pin_release(&pin);
    }
}

/* Tables at two levels and in the log, large values among them, and a namespace. */
static void begin(world *w) {
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {.create = true};
    lsmkv_error err;

    *w = (world){.env = lsm_sim_create(5)};
    CHECK(w->env != NULL);
    lsm_sim_exempt_memory(w->env);
    open_world(w);
    CHECK_EQ(put_keys(w, NULL, 0, 1), LSMKV_OK);
    CHECK_OK(lsmkv_namespace_open(w->db, bytes_of("kept"), &how, &space, &err));
    CHECK_EQ(put_keys(w, space, 0, 2), LSMKV_OK);
    lsmkv_namespace_free(space);
    CHECK_OK(lsmkv_compact(w->db, NULL, NULL, &err));
    CHECK_EQ(put_keys(w, NULL, 0, 3), LSMKV_OK);
    CHECK_OK(lsmkv_flush(w->db, &err));
    CHECK_EQ(put_keys(w, NULL, 0, 4), LSMKV_OK);
}

static void end(world *w) {
    close_db(w->db);
    lsm_sim_destroy(w->env);
}

static void count_names(void *context, lsmkv_bytes name,
                        const lsmkv_space_options *options) {
    (void)name;
    (void)options;
    *(size_t *)context += 1;
}

static bool is_gone(lsmkv_status status) {
    return status == LSMKV_OK || status == LSMKV_NOT_FOUND;
}

static lsmkv_status use_namespaces(world *w) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace *then = NULL;
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_namespace_how how = {
        .create = true, .has_default_ttl = true, .options = {.default_ttl_ms = 100000}};
    lsmkv_namespace_how alter = {.alter = true,
                                 .has_default_stale = true,
                                 .options = {.default_stale_ms = 1000}};
    size_t count = 0;

    LSM_TRY(lsmkv_namespace_open(w->db, bytes_of("brief"), &how, &space, &w->err));
    LSM_TRY(put_keys(w, space, 0, 7));
    LSM_TRY(lsmkv_snapshot_create(w->db, &snapshot, &w->err));
    lsmkv_namespace_free(space);
    space = NULL;
    LSM_TRY(lsmkv_namespace_open(w->db, bytes_of("brief"), &alter, &space, &w->err));
    lsmkv_namespace_how before = {.snapshot = snapshot};
    LSM_TRY(lsmkv_namespace_open(w->db, bytes_of("brief"), &before, &then, &w->err));
    lsmkv_read read = {.snapshot = snapshot};
    LSM_TRY(lsmkv_namespace_list(w->db, &read, count_names, &count, &w->err));
    LSM_TRY(lsmkv_namespace_list(w->db, NULL, count_names, &count, &w->err));
out:
    lsmkv_namespace_free(then);
    lsmkv_namespace_free(space);
    lsmkv_snapshot_free(snapshot);
    if (status == LSMKV_OK) {
        CHECK_EQ(count % 2, 0);
        status = lsmkv_namespace_drop(w->db, bytes_of("brief"), &w->err);
        status = is_gone(status) ? LSMKV_OK : status;
    }
    return status;
}

static lsmkv_status use_cache(world *w) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {
        .create = true, .has_max_bytes = true, .options = {.max_bytes = CAP}};
    static const uint8_t value[CACHED_SIZE];
    lsmkv_batch *batch = NULL;
    lsmkv_cache_stats stats;
    lsmkv_bytes pinned[] = {bytes_of("b"), bytes_of("a"), bytes_of("none")};

    LSM_TRY(lsmkv_namespace_open(w->db, bytes_of("cache"), &how, &space, &w->err));
    lsmkv_write into = {.space = space};
    LSM_TRY(lsmkv_put(w->db, &into, bytes_of("a"), (lsmkv_bytes){value, sizeof(value)},
                      &w->err));
    LSM_TRY(lsmkv_cache_pin(w->db, space, pinned, 3, true, &w->err));
    LSM_TRY(lsmkv_put(w->db, &into, bytes_of("b"), (lsmkv_bytes){value, sizeof(value)},
                      &w->err));
    LSM_TRY(lsmkv_cache_pin(w->db, space, pinned, 1, true, &w->err));
    LSM_TRY(lsmkv_cache_pin(w->db, space, pinned, 1, false, &w->err));
    LSM_TRY(lsmkv_batch_create(&batch, &w->err));
    for (size_t i = 0; i < CAP / CACHED_SIZE; i++) {
        char key[16];
        LSM_TRY(lsmkv_batch_put(batch, &into, key_of(key, i),
                                (lsmkv_bytes){value, sizeof(value)}, &w->err));
        LSM_TRY(
            lsmkv_batch_put(batch, NULL, bytes_of("beside"), bytes_of("it"), &w->err));
        if (i % 40 == 39) {
            LSM_TRY(lsmkv_write_batch(w->db, NULL, batch, &w->err));
            lsmkv_batch_clear(batch);
        }
    }
    LSM_TRY(lsmkv_get_cache_stats(w->db, space, &stats, &w->err));
    LSM_TRY(lsmkv_cache_pin(w->db, space, pinned, 3, false, &w->err));
out:
    lsmkv_batch_free(batch);
    lsmkv_namespace_free(space);
    if (status == LSMKV_OK) {
        CHECK(stats.file_bytes <= CAP + CAP / 20);
        status = lsmkv_namespace_drop(w->db, bytes_of("cache"), &w->err);
        status = is_gone(status) ? LSMKV_OK : status;
    }
    return status;
}

static void count_versions(void *context, const lsmkv_version_info *info) {
    (void)info;
    *(size_t *)context += 1;
}

static lsmkv_status publish_rows(world *w, const char *version, bool large) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_publish *publish = NULL;

    LSM_TRY(lsmkv_publish_begin(w->db, bytes_of("paper"), bytes_of(version), NULL,
                                &publish, &w->err));
    for (size_t i = KEYS; i > 0; i--) {
        char key[16];
        uint8_t value[LARGE_SIZE];
        lsmkv_pair pair = {key_of(key, i), value_of(value, large ? 0 : 1)};
        LSM_TRY(lsmkv_publish_put(publish, NULL, &pair, 1, &w->err));
    }
    LSM_TRY(lsmkv_publish_commit(publish, &w->err));
out:
    if (status != LSMKV_OK && publish != NULL) {
        lsmkv_error ignored;
        lsm_ignore(lsmkv_publish_abort(publish, &ignored));
    }
    lsmkv_publish_free(publish);
    return status;
}

static lsmkv_status use_publishes(world *w) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_namespace *space = NULL;
    lsmkv_snapshot *snapshot = NULL;
    size_t count = 0;

    status = lsmkv_release(w->db, bytes_of("paper"), bytes_of(""), &w->err);
    LSM_TRY(is_gone(status) ? LSMKV_OK : status); /* of a row that failed */
    LSM_TRY(publish_rows(w, "1", true));
    LSM_TRY(lsmkv_snapshot_create(w->db, &snapshot, &w->err));
    LSM_TRY(publish_rows(w, "2", false));
    LSM_TRY(lsmkv_published_open(w->db, bytes_of("paper"), bytes_of(""), snapshot,
                                 &space, &w->err));
    lsmkv_namespace_free(space);
    space = NULL;
    LSM_TRY(lsmkv_versions(w->db, NULL, bytes_of("paper"), count_versions, &count,
                           &w->err));
    CHECK_EQ(count, 2);
    LSM_TRY(lsmkv_rollback(w->db, bytes_of("paper"), bytes_of("1"), &w->err));
    LSM_TRY(lsmkv_published_open(w->db, bytes_of("paper"), bytes_of("2"), NULL, &space,
                                 &w->err));
    LSM_TRY(lsmkv_release(w->db, bytes_of("paper"), bytes_of("2"), &w->err));
    LSM_TRY(lsmkv_release(w->db, bytes_of("paper"), bytes_of(""), &w->err));
out:
    lsmkv_namespace_free(space);
    lsmkv_snapshot_free(snapshot);
    return status;
}

static lsmkv_status use_iterators(world *w) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_iter *iter = NULL;
    lsmkv_view *view = NULL;
    lsmkv_bytes value;
    lsmkv_chunk chunk;
    lsmkv_pin pin = {0};
    lsmkv_lookup lookups[] = {{.key = bytes_of("key000")},
                              {.key = bytes_of("key001")},
                              {.key = bytes_of("none")}};
    lsmkv_range range = {bytes_of("key001"), bytes_of("key030"), true, true};
    lsmkv_fill fill = {.byte_max = 700};
    lsmkv_fill back = {.reverse = true, .keys_only = true};
    uint64_t count = 0;
    int64_t ttl = 0;

    LSM_TRY(lsmkv_iter_create(w->db, NULL, &range, &iter, &w->err));
    LSM_TRY(lsmkv_iter_seek_first(iter, &w->err));
    LSM_TRY(lsmkv_iter_next(iter, &w->err));
    LSM_TRY(lsmkv_iter_fill(iter, &fill, &chunk, &w->err));
    LSM_TRY(lsmkv_iter_seek(iter, bytes_of("key005"), &w->err));
    LSM_TRY(lsmkv_iter_prev(iter, &w->err));
    LSM_TRY(lsmkv_iter_seek_for_prev(iter, bytes_of("key007"), &w->err));
    LSM_TRY(lsmkv_iter_seek_last(iter, &w->err));
    LSM_TRY(lsmkv_iter_fill(iter, &back, &chunk, &w->err));
    LSM_TRY(lsmkv_approximate_count(w->db, NULL, &range, &count, &w->err));
    LSM_TRY(lsmkv_get_many(w->db, NULL, lookups, 3, &pin, &w->err));
    CHECK(lookups[0].found && !lookups[2].found);
    LSM_TRY(lsmkv_get_view(w->db, NULL, bytes_of("key005"), &view, &value, &w->err));
    LSM_TRY(lsmkv_ttl(w->db, NULL, bytes_of("key005"), &ttl, &w->err));
out:
    lsmkv_view_free(view);
    lsmkv_pin_release(&pin);
    lsmkv_iter_free(iter);
    return status;
}

static lsmkv_status use_writes(world *w) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_batch *batch = NULL;
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_range range = {bytes_of("m"), bytes_of("n"), true, true};
    lsmkv_write soon = {.ttl_ms = 5, .sync = true};

    LSM_TRY(lsmkv_snapshot_create(w->db, &snapshot, &w->err));
    lsmkv_write since = {.since = snapshot};
    status = lsmkv_put(w->db, &since, bytes_of("m"), bytes_of("1"), &w->err);
    LSM_TRY(is_gone(status) ? LSMKV_OK : status);
    LSM_TRY(lsmkv_put(w->db, &soon, bytes_of("m1"), bytes_of("1"), &w->err));
    status = lsmkv_touch(w->db, &soon, bytes_of("m1"), &w->err);
    LSM_TRY(is_gone(status) ? LSMKV_OK : status);
    LSM_TRY(lsmkv_batch_create(&batch, &w->err));
    LSM_TRY(lsmkv_batch_put(batch, NULL, bytes_of("m2"), bytes_of("2"), &w->err));
    LSM_TRY(lsmkv_batch_delete(batch, NULL, bytes_of("m"), &w->err));
    LSM_TRY(lsmkv_batch_delete_range(batch, NULL, &range, &w->err));
    LSM_TRY(lsmkv_write_batch(w->db, NULL, batch, &w->err));
    LSM_TRY(lsmkv_delete_range(w->db, NULL, &range, &w->err));
    LSM_TRY(lsmkv_sync(w->db, &w->err));
out:
    lsmkv_batch_free(batch);
    lsmkv_snapshot_free(snapshot);
    return status;
}

static lsmkv_status use_upkeep(world *w) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_report report;
    lsmkv_warm_report warmed;
    lsmkv_warm_how how = {.budget_bytes = 0};
    lsmkv_range all = {.has_start = false};
    lsmkv_warm_how range = {.range = &all};
    lsmkv_stats stats;

    LSM_TRY(put_keys(w, NULL, 1, 2));
    LSM_TRY(lsmkv_flush(w->db, &w->err));
    LSM_TRY(put_keys(w, NULL, 0, 2));
    LSM_TRY(lsmkv_compact(w->db, NULL, NULL, &w->err));
    LSM_TRY(lsmkv_settle(w->db, &w->err));
    LSM_TRY(lsmkv_verify(w->db, NULL, NULL, &report, &w->err));
    LSM_TRY(lsmkv_warm(w->db, &how, &warmed, &w->err));
    LSM_TRY(lsmkv_warm(w->db, &range, &warmed, &w->err));
    LSM_TRY(lsmkv_get_stats(w->db, &stats, &w->err));
    LSM_TRY(lsmkv_resume(w->db, &w->err));
out:
    return status;
}

static lsmkv_status use_checkpoint(world *w) {
    lsmkv_status status = lsm_test_destroy(w->env, "copy", &w->err);

    status = status == LSMKV_NOT_A_DATABASE ? LSMKV_OK : status; /* or a part of one */
    LSM_TRY(status);
    LSM_TRY(lsmkv_checkpoint(w->db, "copy", &w->err));
    LSM_TRY(lsm_test_destroy(w->env, "copy", &w->err));
out:
    return status;
}

/* Nothing fails from here on. */
static void heal(world *w) {
    lsm_alloc_fail_never();
    for (int i = 0; i < LSM_SIM_CALL_COUNT; i++) {
        lsm_sim_fail(w->env, (lsm_sim_call)i, 0, 0, false);
    }
}

static lsmkv_status reopen(world *w) {
    lsmkv_status status = lsmkv_close(w->db, &w->err);

    lsmkv_free(w->db);
    heal(w);
    open_world(w);
    return status;
}

static const row_of_calls rows[] = {
    use_namespaces, use_cache,  use_publishes,  use_iterators,
    use_writes,     use_upkeep, use_checkpoint, reopen,
};

/* Whatever the row left, it goes through now. */
static void repeat(world *w, row_of_calls row) {
    lsmkv_error err;

    if (row == use_checkpoint) { /* what a failed one left is nobody's database */
        lsm_ignore(lsm_test_destroy(w->env, "copy", &err));
    }
    lsmkv_status status = row(w);
    if (status != LSMKV_OK) {
        lsm_test_fail(__FILE__, __LINE__, "repeated: %s: %s", lsmkv_status_name(status),
                      w->err.message);
    }
    check_keys(w);
}

/* Every place at the beginning of a row, further apart the further it goes. */
static uint64_t next_place(uint64_t at, uint64_t dense) {
    return at + 1 + at / dense;
}

static void starve(row_of_calls row, int sticky) {
    bool failed = true;
    world w;

    begin(&w);
    for (uint64_t at = 0; failed; at = next_place(at, sticky ? 16 : 200)) {
        uint64_t before = lsm_alloc_count();
        lsm_alloc_fail_after(at, sticky);
        lsmkv_status status = row(&w);
        failed = lsm_alloc_count() - before > at;
        lsm_alloc_fail_never();
        if (status != LSMKV_OK) {
            CHECK_STATUS(status, LSMKV_NO_MEMORY);
            CHECK(failed);
            repeat(&w, row);
        }
        CHECK(at < PLACES_MAX);
    }
    check_keys(&w);
    end(&w);
}

LSM_TEST(calls_that_lack_memory_once_say_so_and_can_be_repeated) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(rows); i++) {
        starve(rows[i], 0);
    }
}

LSM_TEST(calls_that_lack_memory_from_some_point_on_say_so_and_can_be_repeated) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(rows); i++) {
        starve(rows[i], 1);
    }
}

/* An error that poisons is final, as the docs have it: the process starts again. */
static bool fail_once(world *w, row_of_calls row, lsm_sim_call call, uint64_t at,
                      int code) {
    uint64_t before = lsm_sim_call_count(w->env, call);

    lsm_sim_fail(w->env, call, at, code, false);
    lsmkv_status status = row(w);
    bool failed = lsm_sim_call_count(w->env, call) - before > at;
    heal(w);
    if (status != LSMKV_OK) {
        CHECK(failed);
        if (status != (code == ENOSPC ? LSMKV_DISK_FULL : LSMKV_IO_ERROR)) {
            lsm_test_fail(__FILE__, __LINE__, "call %d at %llu: %s: %s", (int)call,
                          (unsigned long long)at, lsmkv_status_name(status),
                          w->err.message);
        }
        lsm_test_abandon(w->db);
        open_world(w);
        repeat(w, row);
    }
    return failed;
}

static void fail_everywhere(int code) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(rows); i++) {
        world w;
        begin(&w);
        for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
            uint64_t at = 0;
            while (fail_once(&w, rows[i], (lsm_sim_call)call, at, code)) {
                at = next_place(at, 16);
                CHECK(at < PLACES_MAX);
            }
        }
        check_keys(&w);
        end(&w);
    }
}

LSM_TEST(calls_that_meet_an_error_of_the_disk_say_so_and_can_be_repeated) {
    fail_everywhere(EIO);
}

LSM_TEST(calls_on_a_full_disk_say_so_and_can_be_repeated) {
    fail_everywhere(ENOSPC);
}

/* Tables and files that are not needed are closed, and the call goes on. */
LSM_TEST(calls_that_lack_descriptors_once_go_through) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(rows); i++) {
        bool failed = rows[i] != reopen;
        for (uint64_t at = 0; failed; at = next_place(at, 16)) {
            world w;
            begin(&w);
            lsm_test_abandon(w.db);
            open_world(&w); /* so that nothing is open */
            uint64_t before = lsm_sim_call_count(w.env, LSM_SIM_OPEN);
            lsm_sim_fail(w.env, LSM_SIM_OPEN, at, EMFILE, false);
            CHECK_EQ(rows[i](&w), LSMKV_OK);
            failed = lsm_sim_call_count(w.env, LSM_SIM_OPEN) - before > at;
            heal(&w);
            end(&w);
        }
    }
}
