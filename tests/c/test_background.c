/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what the threads of a database do by themselves, whatever nobody asks them for:
 * they drop what has expired, write the hot list, wait while there is nothing to do or
 * something fails, and go on when memory is there again; and a close waits for who
 * reads. Method: a real directory; where one would have to wait for minutes, the clock
 * that the threads look at is set back in the handle.
 */
#include "db_help.h"
#include "child_help.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "db/db.h"
#include "env/sync.h"
#include "format/filename.h"

enum { KEYS = 50, WAIT_US = 1000, WAITS_MAX = 10000, HOURS_MS = 10000000 };

#define OLD_US ((uint64_t)600 * 1000 * 1000)

typedef struct place {
    char path[256];
    lsmkv_db *db;
} place;

static void start(place *at) {
    lsmkv_options options;
    lsmkv_error err;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.background_threads = 2;
    options.l0_compact_trigger = 1;
    CHECK_OK(lsmkv_open(at->path, &options, &at->db, &err));
}

static void begin(place *at) {
    (void)snprintf(at->path, sizeof(at->path), "%s/lsmkv-background-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(at->path) != NULL);
    start(at);
}

static void stop(place *at) {
    close_db(at->db);
}

static void end(place *at) {
    lsmkv_error err;

    stop(at);
    CHECK_OK(lsmkv_destroy(at->path, &err));
}

static void put_all(place *at, int64_t ttl_ms) {
    lsmkv_write how = {.ttl_ms = ttl_ms};
    lsmkv_error err;

    for (int i = 0; i < KEYS; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "key%03d", i);
        CHECK_OK(lsmkv_put(at->db, &how, bytes_of(key), bytes_of(key), &err));
    }
}

static void check_all(place *at) {
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        lsmkv_error err;
        lsmkv_pin pin;
        (void)snprintf(key, sizeof(key), "key%03d", i);
        CHECK_OK(lsmkv_get(at->db, NULL, bytes_of(key), &pin, &err));
        lsmkv_pin_release(&pin);
    }
}

static lsmkv_stats stats_of(place *at) {
    lsmkv_stats stats;
    lsmkv_error err;

    CHECK_OK(lsmkv_get_stats(at->db, &stats, &err));
    return stats;
}

/* Waits for something to be so, which nobody is asked for. */
static void await(place *at, bool (*is_so)(place *at)) {
    for (int i = 0; !is_so(at); i++) {
        CHECK(i < WAITS_MAX);
        lsm_sleep_us(WAIT_US);
    }
}

/* With their table; or one by one, where the flush came so late that they were gone. */
static bool has_dropped_what_expired(place *at) {
    lsmkv_stats stats = stats_of(at);

    return stats.expired_table_count != 0 || stats.expired_count >= KEYS;
}

LSM_TEST(background_threads_drop_what_has_expired_without_being_asked) {
    lsmkv_error err;
    place at;

    begin(&at);
    CHECK_OK(lsmkv_flush(at.db, &err)); /* what the engine keeps for itself */
    put_all(&at, 50);
    CHECK_OK(lsmkv_flush(at.db, &err));
    await(&at, has_dropped_what_expired);
    put_all(&at, HOURS_MS); /* nothing is due for long */
    CHECK_OK(lsmkv_flush(at.db, &err));
    check_all(&at);
    end(&at);
}

/* As if the database had been open for ten minutes. */
static void grow_old(place *at) {
    lsm_mutex_lock(&at->db->mu);
    at->db->opened_us -=
        OLD_US; /* to before zero, if the machine is younger than that */
    at->db->hot_begun_us -= OLD_US;
    lsm_cond_broadcast(&at->db->work);
    lsm_mutex_unlock(&at->db->mu);
}

static bool has_hot_list(place *at) {
    char path[300];

    (void)snprintf(path, sizeof(path), "%s/%s", at->path, LSM_HOTLIST_NAME);
    return access(path, F_OK) == 0;
}

LSM_TEST(background_threads_write_a_hot_list_now_and_then) {
    lsmkv_error err;
    place at;

    begin(&at);
    put_all(&at, 0);
    CHECK_OK(lsmkv_flush(at.db, &err));
    check_all(&at);
    CHECK(!has_hot_list(&at));
    grow_old(&at);
    await(&at, has_hot_list);
    lsm_test_abandon(at.db); /* which writes none */
    start(&at);
    check_all(&at);
    end(&at);
}

LSM_TEST(background_threads_of_a_poisoned_database_write_nothing) {
    lsmkv_error failure;
    lsmkv_error err;
    place at;

    begin(&at);
    put_all(&at, 0);
    CHECK_OK(lsmkv_flush(at.db, &err));
    check_all(&at);
    (void)lsm_fail(&failure, LSMKV_IO_ERROR, "as if the disk had failed");
    (void)lsm_db_poison(at.db, &failure);
    grow_old(&at);
    lsm_sleep_us(WAIT_US); /* in which they would, if they did */
    CHECK(!has_hot_list(&at));
    check_all(&at);
    CHECK_STATUS(lsmkv_close(at.db, &err), LSMKV_IO_ERROR);
    CHECK(strcmp(err.message, "as if the disk had failed") == 0);
    lsmkv_free(at.db);
    CHECK(!has_hot_list(&at));
    start(&at);
    check_all(&at);
    end(&at);
}

static bool has_failed(place *at) {
    lsm_mutex_lock(&at->db->mu);
    bool failed = at->db->background_failures != 0;
    lsm_mutex_unlock(&at->db->mu);
    return failed;
}

/* No job starts before then. */
static void retry_at(place *at, uint64_t us) {
    lsm_mutex_lock(&at->db->mu);
    at->db->retry_at_us = us;
    lsm_cond_broadcast(&at->db->work);
    lsm_mutex_unlock(&at->db->mu);
}

LSM_TEST(background_threads_without_memory_try_again_when_there_is_some) {
    lsmkv_error err;
    place at;

    begin(&at);
    put_all(&at, 0);
    retry_at(&at, UINT64_MAX);
    CHECK_OK(lsm_db_rotate(at.db, &err));
    lsm_alloc_fail_after(0, 1);
    retry_at(&at, 0);
    for (int i = 0; i < WAITS_MAX && !has_failed(&at); i++) {
        lsm_sleep_us(WAIT_US);
    }
    lsm_alloc_fail_never();
    CHECK(has_failed(&at));
    lsm_mutex_lock(&at.db->mu);
    lsmkv_status failure = at.db->background.status;
    lsm_mutex_unlock(&at.db->mu);
    CHECK_STATUS(failure, LSMKV_NO_MEMORY);
    CHECK_OK(lsmkv_flush(at.db, &err));
    CHECK_EQ(stats_of(&at).state, LSM_STATE_OPEN);
    check_all(&at);
    end(&at);
}

/* From four times the trigger on, while nothing is compacted. */
LSM_TEST(writes_are_slowed_down_by_many_tables_and_not_stopped) {
    lsmkv_error err;
    place at;

    begin(&at);
    CHECK_OK(lsm_scheduler_claim(at.db, &err));
    lsm_mutex_lock(&at.db->mu);
    uint32_t slowdown = at.db->options.l0_slowdown;
    lsm_mutex_unlock(&at.db->mu);
    for (uint32_t i = 0; i < slowdown; i++) {
        put_all(&at, 0);
        CHECK_OK(lsmkv_flush(at.db, &err));
    }
    uint64_t before = stats_of(&at).stall_count;
    CHECK_OK(lsmkv_put(at.db, NULL, bytes_of("key000"), bytes_of("x"), &err));
    CHECK_EQ(stats_of(&at).stall_count, before + 1);
    lsm_scheduler_unclaim(at.db);
    CHECK_OK(lsmkv_settle(at.db, &err));
    check_all(&at);
    end(&at);
}

static void compact_it(void *context) {
    place *at = context;
    lsmkv_error err;

    if (lsmkv_compact(at->db, NULL, NULL, &err) != LSMKV_OK) {
        abort();
    }
}

static uint32_t pauses_of(place *at) {
    lsm_mutex_lock(&at->db->mu);
    uint32_t pauses = at->db->pause_compactions;
    lsm_mutex_unlock(&at->db->mu);
    return pauses;
}

LSM_TEST(compactions_by_hand_wait_for_each_other) {
    lsm_thread thread;
    lsmkv_error err;
    place at;

    begin(&at);
    put_all(&at, 0);
    CHECK_OK(lsm_scheduler_claim(at.db, &err)); /* one that takes its time */
    CHECK(lsm_thread_start(&thread, compact_it, &at, "compact"));
    while (pauses_of(&at) != 2) {
        lsm_sleep_us(100);
    }
    lsm_scheduler_unclaim(at.db);
    lsm_thread_join(&thread);
    CHECK_EQ(pauses_of(&at), 0);
    check_all(&at);
    end(&at);
}

static bool has_evictor(place *at) {
    lsm_mutex_lock(&at->db->mu);
    bool runs = at->db->evictor_runs;
    lsm_mutex_unlock(&at->db->mu);
    return runs;
}

LSM_TEST(a_thread_for_evictions_is_started_once) {
    lsmkv_namespace_how how = {.create = true,
                               .has_max_bytes = true,
                               .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_namespace *spaces[2];
    lsmkv_error err;
    place at;

    begin(&at);
    CHECK_EQ(lsm_test_step(at.db, 1), 0); /* threads do that here */
    CHECK(!has_evictor(&at));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(lsmkv_namespace_open(at.db, bytes_of(i == 0 ? "a" : "b"), &how,
                                      &spaces[i], &err));
        CHECK(has_evictor(&at));
    }
    for (int i = 0; i < 2; i++) {
        lsmkv_namespace_free(spaces[i]);
    }
    end(&at);
}

static void close_it(void *context) {
    place *at = context;
    lsmkv_error err;

    if (lsmkv_close(at->db, &err) != LSMKV_OK) {
        abort();
    }
}

LSM_TEST(a_close_waits_for_who_holds_a_value) {
    lsm_thread thread;
    lsmkv_error err;
    lsmkv_pin pin;
    place at;

    begin(&at);
    put_all(&at, 0);
    CHECK_OK(lsmkv_get(at.db, NULL, bytes_of("key007"), &pin, &err));
    CHECK(lsm_thread_start(&thread, close_it, &at, "close"));
    while (!lsmkv_is_closed(at.db)) {
        (void)sched_yield();
    }
    lsm_sleep_us(WAIT_US); /* in which it would go on, if it did */
    CHECK(memcmp(pin.value.data, "key007", 6) == 0);
    lsmkv_pin_release(&pin);
    lsm_thread_join(&thread);
    lsm_test_abandon(at.db); /* nothing is left to be done */
    start(&at);
    check_all(&at);
    end(&at);
}

/* A child has the memory of its parent's database, but none of its threads. */
static int use_in_a_child(void *context) {
    place *at = context;
    lsmkv_error err;
    lsmkv_pin pin;

    if (lsmkv_put(at->db, NULL, bytes_of("key"), bytes_of("x"), &err) != LSMKV_FORKED) {
        return 1;
    }
    if (lsmkv_get(at->db, NULL, bytes_of("key000"), &pin, &err) != LSMKV_FORKED) {
        return 2;
    }
    if (lsmkv_sync(at->db, &err) != LSMKV_FORKED ||
        lsmkv_resume(at->db, &err) != LSMKV_FORKED) {
        return 3;
    }
    if (lsmkv_close(at->db, &err) != LSMKV_FORKED ||
        strstr(err.message, "opened by the parent process") == NULL) {
        return 4;
    }
    lsmkv_free(at->db);
    return 0;
}

LSM_TEST(a_database_belongs_to_the_process_that_opened_it) {
    place at;

    begin(&at);
    put_all(&at, 0);
    CHECK_EQ(run_child(use_in_a_child, &at), 0);
    check_all(&at);
    end(&at);
}
