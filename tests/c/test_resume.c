/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what works in the background and failed is tried again by whoever asks for its
 * result, who hears why if it fails again; nothing that was acknowledged is lost
 * meanwhile. Method: a database in the simulator, whose background work runs step by
 * step, on a disk that is full or has no descriptors; each test is one story.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>

#include "api/testing.h"
#include "db/db.h"

enum { KEYS = 100 };

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
    options.table_bytes = 1024; /* so that each job takes steps */
    options.seed = 1;
    CHECK_OK(lsm_test_open(w->env, SIM_PATH, &options, &w->db, &err));
}

static void begin(world *w) {
    w->env = lsm_sim_create(1);
    CHECK(w->env != NULL);
    start(w);
}

static lsmkv_status put(world *w, size_t index, bool sync, lsmkv_error *err) {
    lsmkv_write how = {.sync = sync};
    char key[16];
    int size = snprintf(key, sizeof(key), "key%03zu", index);

    return lsmkv_put(w->db, &how, (lsmkv_bytes){key, (size_t)size},
                     (lsmkv_bytes){"value", 5}, err);
}

static void put_all(world *w) {
    lsmkv_error err;

    for (size_t i = 0; i < KEYS; i++) {
        CHECK_OK(put(w, i, false, &err));
    }
}

static size_t count_keys(world *w) {
    size_t count = 0;

    for (size_t i = 0; i < KEYS; i++) {
        char key[16];
        int size = snprintf(key, sizeof(key), "key%03zu", i);
        lsmkv_error err;
        lsmkv_pin pin;
        lsmkv_status status =
            lsmkv_get(w->db, NULL, (lsmkv_bytes){key, (size_t)size}, &pin, &err);
        CHECK(status == LSMKV_OK || status == LSMKV_NOT_FOUND);
        if (status == LSMKV_OK) {
            lsmkv_pin_release(&pin);
            count += 1;
        }
    }
    return count;
}

static lsmkv_stats stats_of(world *w) {
    lsmkv_stats stats;
    lsmkv_error err;

    CHECK_OK(lsmkv_get_stats(w->db, &stats, &err));
    return stats;
}

/* After a close, and once more after the next open. */
static void end(world *w) {
    CHECK_EQ(count_keys(w), KEYS);
    close_db(w->db);
    start(w);
    CHECK_EQ(count_keys(w), KEYS);
    close_db(w->db);
    lsm_sim_destroy(w->env);
}

/* What the last job that ended answered. */
static lsmkv_status background_of(world *w) {
    lsm_mutex_lock(&w->db->mu);
    lsmkv_status status = w->db->background.status;
    lsm_mutex_unlock(&w->db->mu);
    return status;
}

static bool runs_a_flush(world *w) {
    lsm_mutex_lock(&w->db->mu);
    bool runs = w->db->flushing;
    lsm_mutex_unlock(&w->db->mu);
    return runs;
}

static bool runs_a_compaction(world *w) {
    lsm_mutex_lock(&w->db->mu);
    bool runs = w->db->compactions != 0;
    lsm_mutex_unlock(&w->db->mu);
    return runs;
}

/* A memtable waits for its flush, which fails for lack of space; with the disk full. */
static void begin_failing(world *w) {
    lsmkv_error err;

    begin(w);
    put_all(w);
    CHECK_OK(lsm_db_rotate(w->db, &err));
    lsm_sim_fail(w->env, LSM_SIM_APPEND, 0, ENOSPC, true);
    while (background_of(w) == LSMKV_OK) {
        CHECK_EQ(lsm_test_step(w->db, 1), 1);
    }
    CHECK_STATUS(background_of(w), LSMKV_DISK_FULL);
}

static void heal(world *w) {
    lsm_sim_fail(w->env, LSM_SIM_APPEND, 0, 0, false);
    lsm_sim_fail(w->env, LSM_SIM_OPEN, 0, 0, false);
    lsm_sim_fail(w->env, LSM_SIM_SYNC, 0, 0, false);
}

/* The flush runs again, and nothing fails any more. */
static void begin_flushing(world *w) {
    begin_failing(w);
    heal(w);
    (void)lsm_test_step(w->db, 1);
    CHECK(runs_a_flush(w));
}

LSM_TEST(resume_says_what_still_fails_and_then_that_it_is_done) {
    lsmkv_error err;
    world w;

    begin_failing(&w);
    CHECK_STATUS(lsmkv_resume(w.db, &err), LSMKV_DISK_FULL);
    CHECK(strstr(err.message, "No space left") != NULL);
    CHECK_STATUS(lsmkv_resume(w.db, &err), LSMKV_DISK_FULL);
    heal(&w);
    CHECK_OK(lsmkv_resume(w.db, &err));
    CHECK_EQ(stats_of(&w).flush_count, 1);
    CHECK_STATUS(background_of(&w), LSMKV_OK);
    CHECK_OK(lsmkv_resume(w.db, &err)); /* nothing has failed since */
    end(&w);
}

/* What runs already may fail for a reason that is gone by now. */
LSM_TEST(resume_forgives_one_failure_of_what_had_begun_before) {
    lsmkv_error err;
    world w;

    begin_flushing(&w);
    lsm_sim_fail(w.env, LSM_SIM_APPEND, 0, ENOSPC, false);
    CHECK_OK(lsmkv_resume(w.db, &err));
    CHECK_EQ(stats_of(&w).flush_count, 1);
    end(&w);
}

LSM_TEST(resume_forgives_no_second_failure) {
    lsmkv_error err;
    world w;

    begin_flushing(&w);
    lsm_sim_fail(w.env, LSM_SIM_APPEND, 0, ENOSPC, true);
    CHECK_STATUS(lsmkv_resume(w.db, &err), LSMKV_DISK_FULL);
    heal(&w);
    CHECK_OK(lsmkv_resume(w.db, &err));
    end(&w);
}

/* Three errors in a row that are no lack of anything are final. */
LSM_TEST(resume_ends_with_the_failure_that_is_final) {
    lsmkv_error err;
    world w;

    begin_flushing(&w);
    lsm_sim_fail(w.env, LSM_SIM_SYNC, 0, EIO, true);
    while (stats_of(&w).state != LSM_STATE_POISONED) {
        CHECK_STATUS(lsmkv_resume(w.db, &err), LSMKV_IO_ERROR);
    }
    heal(&w);
    CHECK_EQ(stats_of(&w).state, LSM_STATE_POISONED);
    CHECK_STATUS(lsmkv_resume(w.db, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(put(&w, 0, false, &err), LSMKV_IO_ERROR);
    CHECK_EQ(count_keys(&w), KEYS);
    lsm_test_abandon(w.db);
    start(&w);
    end(&w);
}

/* The table is synced, the MANIFEST is not: what it holds now is unknown. */
LSM_TEST(resume_forgives_no_failure_that_is_final) {
    lsmkv_error err;
    world w;

    begin_flushing(&w);
    lsm_sim_fail(w.env, LSM_SIM_SYNC, 1, EIO, false);
    CHECK_STATUS(lsmkv_resume(w.db, &err), LSMKV_IO_ERROR);
    CHECK_EQ(stats_of(&w).state, LSM_STATE_POISONED);
    lsm_test_abandon(w.db);
    start(&w);
    end(&w);
}

static bool log_is_dead(world *w) {
    lsm_mutex_lock(&w->db->mu);
    bool dead = lsm_wal_dead(w->db->logs[w->db->log_count - 1].writer);
    lsm_mutex_unlock(&w->db->mu);
    return dead;
}

/* The mark behind a sync is nobody's write; but a log without it takes nothing else. */
LSM_TEST(resume_begins_a_log_in_place_of_one_that_could_not_be_marked) {
    lsmkv_error err;
    world w;

    begin(&w);
    put_all(&w);
    CHECK_OK(put(&w, 0, true, &err)); /* the MANIFEST knows of the log from here on */
    lsm_sim_fail(w.env, LSM_SIM_APPEND, 1, ENOSPC, false);
    CHECK_OK(put(&w, 0, true, &err));
    CHECK(log_is_dead(&w));
    CHECK_EQ(stats_of(&w).state, LSM_STATE_OPEN);
    CHECK_OK(lsmkv_resume(w.db, &err));
    CHECK(!log_is_dead(&w));
    end(&w);
}

/* The log could not take a record: it takes no other, and another one is begun. */
static void begin_degraded(world *w) {
    lsmkv_error err;

    begin(w);
    put_all(w);
    lsm_sim_fail(w->env, LSM_SIM_APPEND, 0, ENOSPC, true);
    CHECK_STATUS(put(w, 0, false, &err), LSMKV_DISK_FULL);
    CHECK_EQ(stats_of(w).state, LSM_STATE_DEGRADED);
}

LSM_TEST(resume_and_sync_on_a_full_disk_say_so_until_there_is_space) {
    for (int by_sync = 0; by_sync < 2; by_sync++) {
        lsmkv_error err;
        world w;

        begin_degraded(&w);
        CHECK_STATUS(lsmkv_resume(w.db, &err), LSMKV_DISK_FULL);
        CHECK_STATUS(lsmkv_sync(w.db, &err), LSMKV_DISK_FULL);
        CHECK_EQ(stats_of(&w).state, LSM_STATE_DEGRADED);
        CHECK_EQ(count_keys(&w), KEYS);
        heal(&w);
        CHECK_OK(by_sync ? lsmkv_sync(w.db, &err) : lsmkv_resume(w.db, &err));
        CHECK_EQ(stats_of(&w).state, LSM_STATE_OPEN);
        end(&w);
    }
}

/* A dead log is never synced: the flush of its memtable takes its place. */
LSM_TEST(a_sync_behind_a_dead_log_says_if_the_flush_in_its_place_fails) {
    lsmkv_error err;
    world w;

    begin_degraded(&w);
    heal(&w);
    lsm_sim_fail(w.env, LSM_SIM_OPEN, 1, EMFILE, true); /* the log, then the tables */
    CHECK_STATUS(put(&w, 1, true, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsmkv_sync(w.db, &err), LSMKV_IO_ERROR);
    CHECK_EQ(count_keys(&w), KEYS);
    heal(&w);
    CHECK_OK(put(&w, 1, true, &err));
    CHECK_EQ(stats_of(&w).flush_count, 1);
    end(&w);
}

/* It waits for those that run, one of which fails. */
LSM_TEST(a_compaction_by_hand_says_if_the_one_before_it_fails) {
    lsmkv_error err;
    world w;

    begin(&w);
    for (int i = 0; i < 6; i++) {
        put_all(&w);
        CHECK_OK(lsmkv_flush(w.db, &err));
    }
    while (!runs_a_compaction(&w)) {
        CHECK_EQ(lsm_test_step(w.db, 1), 1);
    }
    lsm_sim_fail(w.env, LSM_SIM_APPEND, 0, ENOSPC, true);
    CHECK_STATUS(lsmkv_compact(w.db, NULL, NULL, &err), LSMKV_DISK_FULL);
    heal(&w);
    CHECK_OK(lsmkv_compact(w.db, NULL, NULL, &err));
    CHECK(stats_of(&w).compact_count > 0);
    end(&w);
}

LSM_TEST(a_database_for_reading_only_has_nothing_to_settle_and_says_so) {
    lsmkv_options options;
    lsmkv_error err;
    world w;

    begin(&w);
    put_all(&w);
    close_db(w.db);
    lsmkv_options_init(&options);
    options.read_only = true;
    CHECK_OK(lsm_test_open(w.env, SIM_PATH, &options, &w.db, &err));
    CHECK_STATUS(lsmkv_settle(w.db, &err), LSMKV_READ_ONLY);
    close_db(w.db);
    start(&w);
    end(&w);
}
