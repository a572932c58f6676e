/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an expired value is gone from every read for good and no older value of its key
 * comes back, wherever the versions lie and whatever the clock does. Method: a database
 * in the simulator, whose clocks move only when told.
 */
#include "expiry_help.h"

#include <stdlib.h>
#include <unistd.h>

#include "db/db.h"

enum { SECOND = 1000, HOUR = 3600 * SECOND, DAY = 24 * HOUR };

LSM_TEST(a_value_shows_until_the_moment_it_expires) {
    expiry_db d;

    expiry_begin(&d);
    expiry_put(&d, "key", "value", 10);
    expiry_put(&d, "kept", "for ever", NEVER);
    expiry_pass(&d, 9);
    CHECK(expiry_shows(&d, NULL, "key", "value"));
    CHECK_EQ(expiry_left(&d, "key"), 1);
    expiry_pass(&d, 1);
    CHECK(expiry_shows(&d, NULL, "key", NULL));
    CHECK(expiry_shows(&d, NULL, "kept", "for ever"));
    CHECK(expiry_left(&d, "kept") == -1);
    expiry_end(&d);
}

LSM_TEST(a_time_to_live_below_minus_one_is_refused) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_write how = {.ttl_ms = -2};
    lsmkv_batch *batch;

    expiry_begin(&d);
    CHECK_STATUS(lsmkv_put(d.db, &how, word_bytes("k"), word_bytes("v"), &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    CHECK_STATUS(lsmkv_batch_put(batch, &how, word_bytes("k"), word_bytes("v"), &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_EQ(lsmkv_batch_count(batch), 0);
    lsmkv_batch_free(batch);
    how.ttl_ms = INT64_MAX;
    CHECK_OK(lsmkv_put(d.db, &how, word_bytes("k"), word_bytes("v"), &err));
    CHECK(expiry_left(&d, "k") == INT64_MAX);
    expiry_end(&d);
}

/* Where the older and the newer version of the key lie when the newer one expires. */
typedef enum place { IN_MEMORY, FLUSHED_BOTH, FLUSHED_APART, COMPACTED, PLACES } place;

static void write_two_versions(expiry_db *d, place where) {
    expiry_put(d, "a", "first", NEVER);
    expiry_put(d, "key", "older", NEVER);
    expiry_put(d, "z", "last", NEVER);
    if (where == FLUSHED_APART || where == COMPACTED) {
        expiry_flush(d);
    }
    if (where == COMPACTED) {
        expiry_compact(d);
    }
    expiry_put(d, "key", "newer", 10);
    if (where == FLUSHED_BOTH || where == FLUSHED_APART) {
        expiry_flush(d);
    }
}

static void check_gone(expiry_db *d, const lsmkv_snapshot *snapshot) {
    lsmkv_error err;
    lsmkv_iter *iter;

    CHECK(expiry_shows(d, NULL, "key", NULL));
    CHECK(expiry_shows(d, snapshot, "key", NULL));
    CHECK_OK(lsmkv_iter_create(d->db, NULL, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    CHECK(word_is(lsmkv_iter_key(iter), "a"));
    CHECK_OK(lsmkv_iter_next(iter, &err));
    CHECK(word_is(lsmkv_iter_key(iter), "z"));
    CHECK_OK(lsmkv_iter_prev(iter, &err));
    CHECK(word_is(lsmkv_iter_key(iter), "a"));
    lsmkv_iter_free(iter);
}

LSM_TEST(an_expired_newest_version_never_lets_an_older_one_show) {
    for (place where = IN_MEMORY; where < PLACES; where++) {
        expiry_db d;
        lsmkv_error err;
        lsmkv_snapshot *snapshot;

        expiry_begin(&d);
        write_two_versions(&d, where);
        CHECK_OK(lsmkv_snapshot_create(d.db, &snapshot, &err));
        CHECK(expiry_shows(&d, snapshot, "key", "newer"));
        expiry_pass(&d, 10);
        check_gone(&d, snapshot);
        expiry_flush(&d);
        check_gone(&d, snapshot);
        expiry_compact(&d);
        check_gone(&d, snapshot);
        lsmkv_snapshot_free(snapshot);
        expiry_compact(&d);
        expiry_settle(&d);
        check_gone(&d, NULL);
        expiry_reopen(&d);
        check_gone(&d, NULL);
        expiry_end(&d);
    }
}

LSM_TEST(an_older_snapshot_keeps_the_version_it_sees) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_snapshot *snapshot;

    expiry_begin(&d);
    expiry_put(&d, "key", "older", NEVER);
    CHECK_OK(lsmkv_snapshot_create(d.db, &snapshot, &err));
    expiry_put(&d, "key", "newer", 10);
    expiry_pass(&d, 10);
    expiry_flush(&d);
    expiry_compact(&d);
    CHECK(expiry_shows(&d, snapshot, "key", "older"));
    CHECK(expiry_shows(&d, NULL, "key", NULL));
    lsmkv_snapshot_free(snapshot);
    expiry_end(&d);
}

LSM_TEST(flush_and_compaction_let_go_of_what_has_expired) {
    expiry_db d;

    expiry_begin(&d);
    expiry_put(&d, "a", "kept", NEVER);
    expiry_put(&d, "b", "goes in the flush", 10);
    expiry_put(&d, "c", "goes in the compaction", 30);
    expiry_pass(&d, 20);
    expiry_flush(&d);
    CHECK_EQ(expiry_stats(&d).expired_count, 1);
    CHECK_EQ(expiry_stats(&d).levels[0].entry_count, 2 + 1 /* options */);
    expiry_pass(&d, 20);
    expiry_compact(&d);
    CHECK_EQ(expiry_stats(&d).expired_count, 2);
    CHECK_EQ(expiry_table_count(&d), 0); /* "a" lies in that of the options */
    expiry_end(&d);
}

static void put_many(expiry_db *d, size_t first, size_t count, int64_t ttl_ms) {
    char key[16];
    char value[64];

    for (size_t i = first; i < first + count; i++) {
        (void)snprintf(key, sizeof(key), "key %05zu", i);
        (void)snprintf(value, sizeof(value), "value %zu of a table, some %d bytes", i,
                       40);
        expiry_put(d, key, value, ttl_ms);
    }
}

LSM_TEST(a_table_wholly_dead_is_dropped_unread) {
    expiry_db d;

    expiry_begin(&d);
    put_many(&d, 0, 300, HOUR);
    expiry_flush(&d);
    expiry_settle(&d);
    CHECK(expiry_table_count(&d) > 0);
    lsmkv_stats before = expiry_stats(&d);
    expiry_pass(&d, HOUR);
    lsm_sim_fail(d.env, LSM_SIM_READ, 0, 5, true);
    expiry_settle(&d);
    lsm_sim_fail(d.env, LSM_SIM_READ, 0, 0, false);
    lsmkv_stats after = expiry_stats(&d);
    CHECK_EQ(expiry_table_count(&d), 0);
    CHECK(after.expired_table_count > before.expired_table_count);
    CHECK_EQ(after.compact_bytes_read, before.compact_bytes_read);
    expiry_end(&d);
}

LSM_TEST(a_dead_table_that_hides_older_data_is_not_dropped_unread) {
    expiry_db d;

    expiry_begin(&d);
    put_many(&d, 0, 300, NEVER);
    expiry_compact(&d);
    put_many(&d, 0, 300, HOUR);
    expiry_flush(&d);
    expiry_pass(&d, HOUR);
    expiry_settle(&d);
    CHECK_EQ(expiry_stats(&d).expired_table_count, 0);
    CHECK(expiry_shows(&d, NULL, "key 00007", NULL));
    CHECK_EQ(expiry_table_count(&d), 0); /* half dead: rewritten, and nothing is left */
    expiry_end(&d);
}

LSM_TEST(a_table_of_the_last_level_is_rewritten_when_half_of_it_is_dead) {
    expiry_db d;

    expiry_begin(&d);
    put_many(&d, 0, 20, NEVER);
    put_many(&d, 20, 30, HOUR);
    expiry_compact(&d);
    lsmkv_stats before = expiry_stats(&d);
    expiry_pass(&d, HOUR / 2);
    expiry_settle(&d);
    CHECK_EQ(expiry_stats(&d).compact_count, before.compact_count);
    expiry_pass(&d, HOUR);
    expiry_settle(&d);
    lsmkv_stats after = expiry_stats(&d);
    CHECK_EQ(after.expired_count, 30);
    CHECK_EQ(after.levels[LSMKV_LEVEL_COUNT - 1].entry_count, 20 + 1 /* options */);
    expiry_settle(&d); /* and comes to rest */
    CHECK_EQ(expiry_stats(&d).compact_count, after.compact_count);
    expiry_end(&d);
}

LSM_TEST(tombstones_that_a_snapshot_holds_are_not_rewritten_for_ever) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_snapshot *snapshot;

    expiry_begin(&d);
    put_many(&d, 0, 50, NEVER);
    CHECK_OK(lsmkv_snapshot_create(d.db, &snapshot, &err));
    put_many(&d, 0, 50, HOUR);
    expiry_compact(&d);
    expiry_pass(&d, 2 * HOUR);
    expiry_settle(&d);
    uint64_t count = expiry_stats(&d).compact_count;
    expiry_settle(&d);
    CHECK_EQ(expiry_stats(&d).compact_count, count);
    CHECK(expiry_shows(&d, NULL, "key 00001", NULL));
    lsmkv_snapshot_free(snapshot);
    expiry_end(&d);
}

LSM_TEST(a_clock_that_goes_back_never_resurrects) {
    expiry_db d;

    expiry_begin(&d);
    expiry_put(&d, "key", "older", NEVER);
    expiry_flush(&d);
    expiry_put(&d, "key", "newer", 10 * SECOND);
    expiry_pass(&d, 10 * SECOND);
    CHECK(expiry_shows(&d, NULL, "key", NULL));
    expiry_pass(&d, -10 * DAY);
    CHECK(expiry_shows(&d, NULL, "key", NULL));
    expiry_put(&d, "later", "counted from engine time", 5 * SECOND);
    expiry_reopen(&d);
    CHECK(expiry_shows(&d, NULL, "key", NULL));
    CHECK_EQ(expiry_left(&d, "later"), 5 * SECOND);
    expiry_pass(&d, 6 * SECOND);
    CHECK(expiry_shows(&d, NULL, "later", NULL));
    expiry_end(&d);
}

/* The value expires, a later write puts the time on record, the wall clock goes back,
 * the power fails. */
LSM_TEST(a_crash_does_not_forget_the_time_that_a_synced_write_carried) {
    for (int all = 0; all < 2; all++) {
        expiry_db d;
        lsmkv_error err;
        lsmkv_write sync = {.sync = true};

        expiry_begin(&d);
        expiry_put(&d, "key", "value", 10 * SECOND);
        expiry_pass(&d, 11 * SECOND);
        CHECK_OK(lsmkv_put(d.db, &sync, word_bytes("k"), word_bytes("v"), &err));
        expiry_pass(&d, -DAY);
        expiry_crash(&d, all != 0);
        CHECK(expiry_shows(&d, NULL, "k", "v"));
        CHECK(expiry_shows(&d, NULL, "key", NULL));
        expiry_end(&d);
    }
}

LSM_TEST(a_value_let_go_by_compaction_stays_gone_after_a_crash_with_the_clock_back) {
    expiry_db d;

    expiry_begin(&d);
    expiry_put(&d, "key", "older", NEVER);
    expiry_compact(&d);
    expiry_put(&d, "key", "newer", 10 * SECOND);
    expiry_flush(&d);
    expiry_pass(&d, 20 * SECOND);
    expiry_settle(&d);
    expiry_pass(&d, -DAY);
    expiry_crash(&d, false);
    CHECK(!expiry_get(&d, NULL, "key", "older"));
    expiry_end(&d);
}

LSM_TEST(a_wall_clock_a_little_ahead_is_followed) {
    expiry_db d;

    expiry_begin(&d);
    expiry_put(&d, "key", "value", HOUR);
    lsm_sim_jump_ms(d.env, 2 * HOUR);
    expiry_put(&d, "other", "a write looks at the clock", NEVER);
    CHECK(expiry_shows(&d, NULL, "key", NULL));
    CHECK_EQ(expiry_stats(&d).clock_jumps, 0);
    expiry_end(&d);
}

LSM_TEST(a_value_lives_as_long_as_it_was_given_also_behind_a_jump_of_the_clock) {
    expiry_db d;
    int64_t ttl_ms = 0;
    lsmkv_error err;

    expiry_begin(&d);
    lsm_sim_jump_ms(d.env, 2 * HOUR);
    expiry_put(&d, "key", "value", HOUR);
    CHECK(expiry_shows(&d, NULL, "key", "value"));
    CHECK_STATUS(lsmkv_ttl(d.db, NULL, word_bytes("key"), &ttl_ms, &err), LSMKV_OK);
    CHECK_EQ(ttl_ms, HOUR);
    expiry_end(&d);
}

LSM_TEST(a_wall_clock_that_jumps_more_than_a_day_is_counted_and_not_followed) {
    expiry_db d;

    expiry_begin(&d);
    expiry_put(&d, "key", "value", 10 * HOUR);
    lsm_sim_jump_ms(d.env, (uint64_t)1000 * DAY);
    expiry_put(&d, "other", "one write", NEVER);
    expiry_put(&d, "other", "another", NEVER);
    CHECK(expiry_shows(&d, NULL, "key", "value"));
    CHECK_EQ(expiry_stats(&d).clock_jumps, 1);
    expiry_pass(&d, -((int64_t)1000 * DAY));
    expiry_put(&d, "other", "in step again", NEVER);
    lsm_sim_jump_ms(d.env, (uint64_t)2 * DAY);
    expiry_put(&d, "other", "ahead again", NEVER);
    CHECK_EQ(expiry_stats(&d).clock_jumps, 2);
    expiry_pass(&d, 10 * HOUR); /* the monotonic clock goes on */
    CHECK(expiry_shows(&d, NULL, "key", NULL));
    expiry_end(&d);
}

LSM_TEST(a_batch_written_again_later_expires_later) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_batch *batch;
    lsmkv_write how = {.ttl_ms = 10 * SECOND};

    expiry_begin(&d);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    CHECK_OK(lsmkv_batch_put(batch, NULL, word_bytes("a"), word_bytes("plain"), &err));
    CHECK_OK(lsmkv_batch_put(batch, &how, word_bytes("b"), word_bytes("timed"), &err));
    CHECK_OK(lsmkv_write_batch(d.db, NULL, batch, &err));
    expiry_pass(&d, 10 * SECOND);
    CHECK(expiry_shows(&d, NULL, "b", NULL));
    CHECK_OK(lsmkv_write_batch(d.db, NULL, batch, &err));
    CHECK(expiry_shows(&d, NULL, "b", "timed"));
    CHECK_EQ(expiry_left(&d, "b"), 10 * SECOND);
    CHECK(expiry_left(&d, "a") == -1);
    lsmkv_batch_clear(batch);
    CHECK_OK(lsmkv_batch_put(batch, NULL, word_bytes("b"), word_bytes("plain"), &err));
    CHECK_OK(lsmkv_write_batch(d.db, &how, batch, &err));
    CHECK(expiry_left(&d, "b") == -1);
    lsmkv_batch_free(batch);
    expiry_end(&d);
}

LSM_TEST(touch_changes_the_time_and_nothing_else) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_write how = {.ttl_ms = 20 * SECOND};
    lsmkv_write never = {.ttl_ms = -1};

    expiry_begin(&d);
    CHECK_STATUS(lsmkv_touch(d.db, &how, word_bytes("key"), &err), LSMKV_NOT_FOUND);
    expiry_put(&d, "key", "value", 10 * SECOND);
    expiry_flush(&d);
    CHECK_OK(lsmkv_touch(d.db, &how, word_bytes("key"), &err));
    expiry_pass(&d, 15 * SECOND);
    CHECK(expiry_shows(&d, NULL, "key", "value"));
    CHECK_EQ(expiry_left(&d, "key"), 5 * SECOND);
    CHECK_OK(lsmkv_touch(d.db, &never, word_bytes("key"), &err));
    CHECK(expiry_left(&d, "key") == -1);
    CHECK_OK(lsmkv_touch(d.db, &how, word_bytes("key"), &err));
    expiry_pass(&d, 20 * SECOND);
    CHECK_STATUS(lsmkv_touch(d.db, &never, word_bytes("key"), &err), LSMKV_NOT_FOUND);
    CHECK(expiry_shows(&d, NULL, "key", NULL));
    CHECK_OK(lsmkv_put(d.db, NULL, word_bytes("key"), word_bytes("new"), &err));
    CHECK_OK(lsmkv_delete(d.db, NULL, word_bytes("key"), &err));
    CHECK_STATUS(lsmkv_touch(d.db, &how, word_bytes("key"), &err), LSMKV_NOT_FOUND);
    expiry_end(&d);
}

LSM_TEST(a_cursor_does_not_show_a_row_that_expired_while_it_stood_there) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_iter *iter;
    lsmkv_chunk chunk;
    lsmkv_fill one = {.row_max = 1};

    expiry_begin(&d);
    expiry_put(&d, "a", "1", NEVER);
    expiry_put(&d, "b", "2", 10);
    expiry_put(&d, "c", "3", NEVER);
    for (int reverse = 0; reverse < 2; reverse++) {
        one.reverse = reverse != 0;
        expiry_put(&d, "b", "2", 10);
        CHECK_OK(lsmkv_iter_create(d.db, NULL, NULL, &iter, &err));
        CHECK_OK(lsmkv_iter_fill(iter, &one, &chunk, &err));
        CHECK(word_is(lsmkv_iter_key(iter), "b"));
        expiry_pass(&d, 10);
        CHECK_OK(lsmkv_iter_fill(iter, &one, &chunk, &err));
        CHECK_EQ(chunk.row_count, 1);
        CHECK(chunk.data[chunk.rows[0].key_offset] == (reverse ? 'a' : 'c'));
        lsmkv_iter_free(iter);
    }
    expiry_end(&d);
}

LSM_TEST(a_write_whose_condition_fails_has_done_nothing) {
    expiry_db d;
    lsmkv_error err;
    lsm_batch batch;
    uint8_t skey[] = {0, 0, 0, LSM_NAMESPACE_DEFAULT, 'k'};
    lsm_condition condition = {.skey = lsm_slice_make(skey, sizeof(skey))};
    lsm_write_how how = {.condition = &condition};

    expiry_begin(&d);
    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_DEFAULT, word_bytes("k"),
                           word_bytes("first"), &err));
    CHECK_OK(lsm_db_write(d.db, &batch, how, &err)); /* there was none */
    uint64_t sequence = lsm_test_sequence(d.db);
    lsm_batch_clear(&batch);
    CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_DEFAULT, word_bytes("k"),
                           word_bytes("second"), &err));
    CHECK_STATUS(lsm_db_write(d.db, &batch, how, &err), LSMKV_NOT_FOUND);
    CHECK(expiry_shows(&d, NULL, "k", "first"));
    CHECK_EQ(lsm_test_sequence(d.db), sequence);
    expiry_flush(&d); /* the version is found in a table, too */
    condition.sequence = sequence;
    CHECK_OK(lsm_db_write(d.db, &batch, how, &err));
    CHECK(expiry_shows(&d, NULL, "k", "second"));
    CHECK_STATUS(lsm_db_write(d.db, &batch, how, &err), LSMKV_NOT_FOUND);
    CHECK_OK(lsmkv_delete(d.db, NULL, word_bytes("k"), &err));
    condition.sequence = 0;
    CHECK_OK(lsm_db_write(d.db, &batch, how, &err)); /* a tombstone is no value */
    lsm_batch_deinit(&batch);
    expiry_end(&d);
}

enum { RACE_PUTS = 3000, RACE_TOUCHERS = 2 };

typedef struct race {
    lsmkv_db *db;
    _Atomic bool over;
    _Atomic bool wrong;
} race;

static void remove_directory(const char *path) {
    lsmkv_error err;
    lsm_namelist names = {0};
    lsm_dir *dir;

    CHECK_OK(lsm_dir_open(lsm_env_posix(), path, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        CHECK_OK(lsm_dir_unlink(dir, names.names[i], &err));
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
    CHECK_EQ(rmdir(path), 0);
}

static void touch_on(void *context) {
    race *r = context;
    lsmkv_error err;
    lsmkv_write how = {.ttl_ms = HOUR};

    while (!atomic_load(&r->over)) {
        lsmkv_status status = lsmkv_touch(r->db, &how, word_bytes("key"), &err);
        if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
            atomic_store(&r->wrong, true);
        }
    }
}

/* One thread alone puts and deletes, so it must find what it wrote last. */
static void put_and_look(race *r) {
    lsmkv_error err;
    lsmkv_pin pin;
    char value[16];

    for (int i = 0; i < RACE_PUTS; i++) {
        (void)snprintf(value, sizeof(value), "%d", i);
        bool there = i % 3 != 0;
        CHECK_OK(
            there ? lsmkv_put(r->db, NULL, word_bytes("key"), word_bytes(value), &err)
                  : lsmkv_delete(r->db, NULL, word_bytes("key"), &err));
        for (int looks = 0; looks < 3; looks++) {
            lsmkv_status status = lsmkv_get(r->db, NULL, word_bytes("key"), &pin, &err);
            bool right = there ? status == LSMKV_OK && word_is(pin.value, value)
                               : status == LSMKV_NOT_FOUND;
            if (status == LSMKV_OK) {
                lsmkv_pin_release(&pin);
            }
            if (!right) {
                atomic_store(&r->wrong, true);
            }
        }
    }
}

LSM_TEST(a_touch_never_undoes_a_put_or_delete_at_the_same_time) {
    lsmkv_error err;
    race r = {0};
    lsm_thread threads[RACE_TOUCHERS];
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/lsmkv-touch-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    CHECK_OK(lsmkv_open(path, NULL, &r.db, &err));
    for (size_t i = 0; i < RACE_TOUCHERS; i++) {
        CHECK(lsm_thread_start(&threads[i], touch_on, &r, "toucher"));
    }
    put_and_look(&r);
    atomic_store(&r.over, true);
    for (size_t i = 0; i < RACE_TOUCHERS; i++) {
        lsm_thread_join(&threads[i]);
    }
    lsmkv_free(r.db);
    CHECK(!atomic_load(&r.wrong));
    remove_directory(path);
}
