/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a value with two times is hidden from plain reads at the first and gone at the
 * second, and a conditional put never undoes what came since its snapshot, wherever
 * that lies and whatever became of it. Method: a database in the simulator, whose
 * clocks move only when told.
 */
#include "expiry_help.h"

#include <stdlib.h>

#include "db/db.h"

enum { SECOND = 1000, HOUR = 3600 * SECOND, FRESH_MS = 10, STALE_MS = 20 };

static void put_stale(expiry_db *d, const char *key, const char *value) {
    lsmkv_error err;
    lsmkv_write how = {.ttl_ms = FRESH_MS, .stale_ms = STALE_MS};

    CHECK_OK(lsmkv_put(d->db, &how, word_bytes(key), word_bytes(value), &err));
}

/* Whether every stale-tolerant read shows `value`, so long stale and with so long left;
 * NULL: there is none. */
static bool shows_stale(expiry_db *d, const char *key, const char *value,
                        int64_t stale_for_ms, int64_t left_ms) {
    lsmkv_error err;
    lsmkv_read read = {.stale = true};
    lsmkv_lookup lookup = {.key = word_bytes(key)};
    lsmkv_entry entry;
    lsmkv_pin pin;
    lsmkv_view *view;
    lsmkv_bytes bytes;
    int64_t ttl_ms = 0;
    lsmkv_status status =
        lsmkv_get_entry(d->db, &read, word_bytes(key), &entry, &pin, &err);
    bool same = status == (value == NULL ? LSMKV_NOT_FOUND : LSMKV_OK);

    if (status == LSMKV_OK) {
        same = same && word_is(pin.value, value) &&
               entry.stale_for_ms == stale_for_ms && entry.left_ms == left_ms &&
               entry.expire_at_ms ==
                   (left_ms < 0 ? 0 : lsm_test_now_ms(d->db) + (uint64_t)left_ms);
        lsmkv_pin_release(&pin);
    }
    CHECK_OK(lsmkv_get_many(d->db, &read, &lookup, 1, &pin, &err));
    same = same && lookup.found == (value != NULL) &&
           (value == NULL ||
            (word_is(lookup.value, value) && lookup.stale_for_ms == stale_for_ms));
    lsmkv_pin_release(&pin);
    CHECK(lsmkv_ttl(d->db, &read, word_bytes(key), &ttl_ms, &err) == status);
    same = same && (value == NULL || ttl_ms == left_ms);
    CHECK(lsmkv_get_view(d->db, &read, word_bytes(key), &view, &bytes, &err) == status);
    same = same && (value == NULL || word_is(bytes, value));
    lsmkv_view_free(view);
    return same;
}

typedef enum place { IN_MEMORY, FLUSHED, COMPACTED, REOPENED, PLACES } place;

static void move_to(expiry_db *d, place where) {
    if (where == FLUSHED) {
        expiry_flush(d);
    } else if (where == COMPACTED) {
        expiry_compact(d);
    } else if (where == REOPENED) {
        expiry_reopen(d);
    }
}

LSM_TEST(a_value_is_fresh_then_stale_then_gone) {
    static char large[LSM_BLOB_THRESHOLD_DEFAULT + 100];

    memset(large, 'v', sizeof(large) - 1);
    for (place where = IN_MEMORY; where < PLACES; where++) {
        for (int is_large = 0; is_large < 2; is_large++) {
            const char *value = is_large ? large : "value";
            expiry_db d;

            expiry_begin(&d);
            expiry_put(&d, "key", "older", NEVER);
            put_stale(&d, "key", value);
            move_to(&d, where);
            CHECK(expiry_shows(&d, NULL, "key", value));
            CHECK(shows_stale(&d, "key", value, -1, FRESH_MS + STALE_MS));
            CHECK_EQ(expiry_left(&d, "key"), FRESH_MS);
            expiry_pass(&d, FRESH_MS - 1);
            CHECK(expiry_shows(&d, NULL, "key", value));
            expiry_pass(&d, 1);
            CHECK(expiry_shows(&d, NULL, "key", NULL));
            CHECK(shows_stale(&d, "key", value, 0, STALE_MS));
            move_to(&d, where);
            expiry_pass(&d, STALE_MS - 1);
            CHECK(expiry_shows(&d, NULL, "key", NULL));
            CHECK(shows_stale(&d, "key", value, STALE_MS - 1, 1));
            expiry_pass(&d, 1);
            CHECK(expiry_shows(&d, NULL, "key", NULL));
            CHECK(shows_stale(&d, "key", NULL, 0, 0));
            expiry_pass(&d, -HOUR);
            move_to(&d, where);
            CHECK(shows_stale(&d, "key", NULL, 0, 0));
            expiry_end(&d);
        }
    }
}

LSM_TEST(stale_reads_show_what_has_no_times_as_others_do) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_write how = {.ttl_ms = NEVER, .stale_ms = STALE_MS};

    expiry_begin(&d);
    expiry_put(&d, "plain", "value", NEVER);
    expiry_put(&d, "timed", "value", FRESH_MS);
    CHECK_OK(lsmkv_put(d.db, &how, word_bytes("kept"), word_bytes("value"), &err));
    CHECK_OK(lsmkv_delete(d.db, NULL, word_bytes("deleted"), &err));
    CHECK(shows_stale(&d, "plain", "value", -1, -1));
    CHECK(shows_stale(&d, "timed", "value", -1, FRESH_MS));
    CHECK(
        shows_stale(&d, "kept", "value", -1, -1)); /* what never ends is never stale */
    CHECK(shows_stale(&d, "deleted", NULL, 0, 0));
    expiry_pass(&d, FRESH_MS);
    CHECK(shows_stale(&d, "timed", NULL, 0, 0));
    expiry_end(&d);
}

LSM_TEST(times_out_of_range_are_refused_or_last_for_ever) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_write how = {.ttl_ms = 1, .stale_ms = -2};

    expiry_begin(&d);
    CHECK_STATUS(lsmkv_put(d.db, &how, word_bytes("k"), word_bytes("v"), &err),
                 LSMKV_INVALID_ARGUMENT);
    how = (lsmkv_write){.ttl_ms = INT64_MAX, .stale_ms = INT64_MAX};
    CHECK_OK(lsmkv_put(d.db, &how, word_bytes("k"), word_bytes("v"), &err));
    CHECK(expiry_shows(&d, NULL, "k", "v"));
    CHECK(expiry_left(&d, "k") == INT64_MAX);
    expiry_end(&d);
}

LSM_TEST(a_batch_with_stale_values_counts_from_each_writing) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_batch *batch;
    lsmkv_write how = {.ttl_ms = FRESH_MS, .stale_ms = STALE_MS};
    lsmkv_write timed = {.ttl_ms = FRESH_MS};

    expiry_begin(&d);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    CHECK_OK(lsmkv_batch_put(batch, &how, word_bytes("a"), word_bytes("1"), &err));
    CHECK_OK(lsmkv_batch_put(batch, &timed, word_bytes("b"), word_bytes("2"), &err));
    for (int i = 0; i < 2; i++) {
        CHECK_OK(lsmkv_write_batch(d.db, NULL, batch, &err));
        CHECK(shows_stale(&d, "a", "1", -1, FRESH_MS + STALE_MS));
        CHECK(shows_stale(&d, "b", "2", -1, FRESH_MS));
        expiry_pass(&d, FRESH_MS);
        CHECK(shows_stale(&d, "a", "1", 0, STALE_MS));
        CHECK(shows_stale(&d, "b", NULL, 0, 0));
    }
    lsmkv_batch_free(batch);
    expiry_end(&d);
}

LSM_TEST(a_value_can_be_given_the_end_of_another) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_entry entry;
    lsmkv_pin pin;

    expiry_begin(&d);
    expiry_put(&d, "a", "1", FRESH_MS);
    expiry_pass(&d, 3);
    CHECK_OK(lsmkv_get_entry(d.db, NULL, word_bytes("a"), &entry, &pin, &err));
    lsmkv_pin_release(&pin);
    lsmkv_write how = {.expire_at_ms = entry.expire_at_ms};
    CHECK_OK(lsmkv_put(d.db, &how, word_bytes("b"), word_bytes("2"), &err));
    CHECK_EQ(expiry_left(&d, "b"), FRESH_MS - 3);
    expiry_pass(&d, FRESH_MS - 3);
    CHECK(expiry_shows(&d, NULL, "a", NULL));
    CHECK(expiry_shows(&d, NULL, "b", NULL));
    expiry_end(&d);
}

LSM_TEST(a_touch_gives_new_times_and_finds_nothing_that_is_stale) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_write how = {.ttl_ms = FRESH_MS, .stale_ms = STALE_MS};

    expiry_begin(&d);
    put_stale(&d, "key", "value");
    expiry_pass(&d, FRESH_MS - 1);
    CHECK_OK(lsmkv_touch(d.db, &how, word_bytes("key"), &err));
    CHECK(shows_stale(&d, "key", "value", -1, FRESH_MS + STALE_MS));
    expiry_pass(&d, FRESH_MS);
    CHECK_STATUS(lsmkv_touch(d.db, &how, word_bytes("key"), &err), LSMKV_NOT_FOUND);
    CHECK(shows_stale(&d, "key", "value", 0, STALE_MS));
    expiry_end(&d);
}

/* What may come to a key between a snapshot and the put that names it. */
typedef enum event {
    NOTHING,
    OTHER_KEY,
    PUT,
    DELETED,
    RANGE_DELETED,
    EXPIRED,
    PUT_AND_DELETED,
    EVENTS
} event;

static void happen(expiry_db *d, event what) {
    lsmkv_error err;
    lsmkv_range range = {.start = word_bytes("k"),
                         .stop = word_bytes("l"),
                         .has_start = true,
                         .has_stop = true};

    if (what == OTHER_KEY) {
        CHECK_OK(lsmkv_delete(d->db, NULL, word_bytes("key2"), &err));
    } else if (what == RANGE_DELETED) {
        CHECK_OK(lsmkv_delete_range(d->db, NULL, &range, &err));
    } else if (what == EXPIRED) {
        expiry_put(d, "key", "short", 1);
        expiry_pass(d, 1);
    }
    if (what == PUT || what == PUT_AND_DELETED) {
        expiry_put(d, "key", "other", NEVER);
    }
    if (what == DELETED || what == PUT_AND_DELETED) {
        CHECK_OK(lsmkv_delete(d->db, NULL, word_bytes("key"), &err));
    }
}

static void check_put_since(event what, bool was_there, place where) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_snapshot *since;
    lsmkv_write how = {.ttl_ms = NEVER};
    bool wins = what == NOTHING || what == OTHER_KEY;

    expiry_begin(&d);
    if (was_there) {
        expiry_put(&d, "key", "older", NEVER);
        expiry_compact(&d);
    }
    CHECK_OK(lsmkv_snapshot_create(d.db, &since, &err));
    how.since = since;
    happen(&d, what);
    move_to(&d, where);
    if (where != IN_MEMORY) {
        expiry_settle(&d);
    }
    uint64_t sequence = lsm_test_sequence(d.db);
    CHECK_STATUS(lsmkv_put(d.db, &how, word_bytes("key"), word_bytes("late"), &err),
                 wins ? LSMKV_OK : LSMKV_NOT_FOUND);
    CHECK_EQ(lsm_test_sequence(d.db), wins ? sequence + 1 : sequence);
    CHECK(expiry_shows(&d, NULL, "key", wins ? "late" : what == PUT ? "other" : NULL));
    CHECK_STATUS(lsmkv_put(d.db, &how, word_bytes("key"), word_bytes("later"), &err),
                 LSMKV_NOT_FOUND);
    lsmkv_snapshot_free(since);
    expiry_end(&d);
}

LSM_TEST(a_put_since_a_snapshot_loses_to_whatever_came_after_it) {
    for (event what = NOTHING; what < EVENTS; what++) {
        for (place where = IN_MEMORY; where < REOPENED; where++) {
            check_put_since(what, false, where);
            check_put_since(what, true, where);
        }
    }
}

/* The put that came is in a table of its own, all of which then expires: nothing but
 * the snapshot keeps it from being dropped unread. */
LSM_TEST(a_table_that_has_expired_is_kept_for_an_older_snapshot) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_snapshot *since;
    lsmkv_write how = {.ttl_ms = NEVER};

    expiry_begin(&d);
    CHECK_OK(lsmkv_snapshot_create(d.db, &since, &err));
    how.since = since;
    expiry_put(&d, "key", "short", HOUR);
    expiry_flush(&d);
    expiry_pass(&d, HOUR);
    expiry_settle(&d);
    CHECK_EQ(expiry_stats(&d).expired_table_count, 0);
    CHECK_STATUS(lsmkv_put(d.db, &how, word_bytes("key"), word_bytes("late"), &err),
                 LSMKV_NOT_FOUND);
    lsmkv_snapshot_free(since);
    expiry_settle(&d);
    CHECK_EQ(expiry_table_count(&d), 0);
    expiry_end(&d);
}

LSM_TEST(a_put_since_knows_its_namespace_and_its_database) {
    expiry_db d;
    expiry_db other;
    lsmkv_error err;
    lsmkv_namespace *space;
    lsmkv_namespace_how create = {.create = true};
    lsmkv_snapshot *since;
    lsmkv_write how = {0};

    expiry_begin(&d);
    expiry_begin(&other);
    CHECK_OK(lsmkv_namespace_open(d.db, word_bytes("space"), &create, &space, &err));
    CHECK(lsmkv_namespace_id(space) > LSM_NAMESPACE_DEFAULT);
    CHECK_OK(lsmkv_snapshot_create(d.db, &since, &err));
    how = (lsmkv_write){.since = since, .space = space};
    expiry_put(&d, "key", "in the default one", NEVER);
    CHECK_OK(lsmkv_put(d.db, &how, word_bytes("key"), word_bytes("value"), &err));
    CHECK_STATUS(lsmkv_put(d.db, &how, word_bytes("key"), word_bytes("value"), &err),
                 LSMKV_NOT_FOUND);
    how = (lsmkv_write){.since = since};
    CHECK_STATUS(lsmkv_put(other.db, &how, word_bytes("k"), word_bytes("v"), &err),
                 LSMKV_INVALID_ARGUMENT);
    lsmkv_snapshot_free(since);
    lsmkv_namespace_free(space);
    expiry_end(&other);
    expiry_end(&d);
}

enum { RACE_WRITES = 2000, RACE_PUTTERS = 3, RACE_LOOKS = 40 };

typedef struct race {
    lsmkv_db *db;
    _Atomic int written; /* the number of the newest write that may have happened */
    _Atomic bool over;
    _Atomic bool wrong;
} race;

/* The number that a stale-tolerant read finds; -1: none. */
static int number_found(race *r) {
    lsmkv_error err;
    lsmkv_read read = {.stale = true};
    lsmkv_pin pin;
    char text[16] = {0};
    lsmkv_status status = lsmkv_get(r->db, &read, word_bytes("key"), &pin, &err);

    if (status == LSMKV_NOT_FOUND) {
        return -1;
    }
    CHECK_OK(status);
    CHECK(pin.value.size < sizeof(text));
    memcpy(text, pin.value.data, pin.value.size);
    lsmkv_pin_release(&pin);
    return (int)strtol(text, NULL, 10);
}

/* Puts the number that is the newest once the snapshot is made: what the snapshot sees
 * was announced before. */
static void put_since_on(void *context) {
    race *r = context;
    lsmkv_error err;
    lsmkv_snapshot *since;
    char value[16];

    while (!atomic_load(&r->over)) {
        if (lsmkv_snapshot_create(r->db, &since, &err) != LSMKV_OK) {
            atomic_store(&r->wrong, true);
            return;
        }
        (void)snprintf(value, sizeof(value), "%d", atomic_load(&r->written));
        for (int i = 0; i < RACE_LOOKS; i++) {
            (void)number_found(r); /* so that something may come */
        }
        lsmkv_write how = {.since = since, .ttl_ms = 50, .stale_ms = 50};
        lsmkv_status status =
            lsmkv_put(r->db, &how, word_bytes("key"), word_bytes(value), &err);
        if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
            atomic_store(&r->wrong, true);
        }
        lsmkv_snapshot_free(since);
    }
}

/* A number is announced, then put, or stood for by a delete: nothing older than it may
 * be there afterwards. */
LSM_TEST(a_put_since_never_undoes_a_put_or_delete_at_the_same_time) {
    lsmkv_error err;
    race r = {0};
    lsm_thread threads[RACE_PUTTERS];
    char path[256];
    char value[16];

    (void)snprintf(path, sizeof(path), "%s/lsmkv-since-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    CHECK_OK(lsmkv_open(path, NULL, &r.db, &err));
    for (size_t i = 0; i < RACE_PUTTERS; i++) {
        CHECK(lsm_thread_start(&threads[i], put_since_on, &r, "putter"));
    }
    for (int i = 1; i < RACE_WRITES; i++) {
        atomic_store(&r.written, i);
        (void)snprintf(value, sizeof(value), "%d", i);
        CHECK_OK(i % 3 != 0
                     ? lsmkv_put(r.db, NULL, word_bytes("key"), word_bytes(value), &err)
                     : lsmkv_delete(r.db, NULL, word_bytes("key"), &err));
        for (int looks = 0; looks < RACE_LOOKS; looks++) {
            int found = number_found(&r);
            if (found >= 0 && found < i) {
                atomic_store(&r.wrong, true);
            }
        }
        if (i % 500 == 0) {
            CHECK_OK(lsmkv_flush(r.db, &err));
        }
    }
    atomic_store(&r.over, true);
    for (size_t i = 0; i < RACE_PUTTERS; i++) {
        lsm_thread_join(&threads[i]);
    }
    lsmkv_free(r.db);
    CHECK(!atomic_load(&r.wrong));
    CHECK_OK(lsmkv_destroy(path, &err));
}

/* Whether a scan has exactly this row, with these times; NULL: none. */
static bool scans(expiry_db *d, bool reverse, bool stale, const char *value,
                  const lsmkv_row_times *times) {
    lsmkv_error err;
    lsmkv_read read = {.stale = stale};
    lsmkv_fill fill = {.reverse = reverse, .with_times = true};
    lsmkv_iter *iter;
    lsmkv_chunk chunk;

    CHECK_OK(lsmkv_iter_create(d->db, &read, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_fill(iter, &fill, &chunk, &err));
    bool same = chunk.row_count == (value != NULL);
    if (same && value != NULL) {
        const lsmkv_row *row = &chunk.rows[0];
        lsmkv_bytes found = {chunk.data + row->value_offset, row->value_size};

        same = word_is(found, value) &&
               chunk.times[0].expire_at_ms == times->expire_at_ms &&
               chunk.times[0].fresh_until_ms == times->fresh_until_ms;
    }
    lsmkv_iter_free(iter);
    return same;
}

static void check_scans(expiry_db *d, bool fresh, const char *value,
                        const lsmkv_row_times *times) {
    for (int reverse = 0; reverse < 2; reverse++) {
        CHECK(scans(d, reverse, true, value, times));
        CHECK(scans(d, reverse, false, fresh ? value : NULL, times));
    }
}

LSM_TEST(a_scan_tells_the_times_of_rows_and_shows_stale_ones_if_asked_to) {
    static char large[LSM_BLOB_THRESHOLD_DEFAULT + 100];

    memset(large, 'v', sizeof(large) - 1);
    for (place where = IN_MEMORY; where < PLACES; where++) {
        for (int is_large = 0; is_large < 2; is_large++) {
            const char *value = is_large ? large : "value";
            expiry_db d;

            expiry_begin(&d);
            uint64_t now_ms = lsm_test_now_ms(d.db);
            lsmkv_row_times times = {now_ms + FRESH_MS + STALE_MS, now_ms + FRESH_MS};
            put_stale(&d, "key", value);
            move_to(&d, where);
            check_scans(&d, true, value, &times);
            expiry_pass(&d, FRESH_MS);
            check_scans(&d, false, value, &times);
            expiry_pass(&d, STALE_MS);
            check_scans(&d, false, NULL, &times);
            times = (lsmkv_row_times){0};
            expiry_put(&d, "key", value, NEVER);
            check_scans(&d, true, value, &times);
            expiry_end(&d);
        }
    }
}

LSM_TEST(a_value_can_be_given_both_times_of_another) {
    expiry_db d;
    lsmkv_error err;

    expiry_begin(&d);
    uint64_t now_ms = lsm_test_now_ms(d.db);
    lsmkv_write how = {.expire_at_ms = now_ms + 30, .fresh_until_ms = now_ms + 10};
    CHECK_OK(lsmkv_put(d.db, &how, word_bytes("key"), word_bytes("value"), &err));
    CHECK(shows_stale(&d, "key", "value", -1, 30));
    CHECK_EQ(expiry_left(&d, "key"), 10);
    expiry_pass(&d, 10);
    CHECK(expiry_shows(&d, NULL, "key", NULL));
    CHECK(shows_stale(&d, "key", "value", 0, 20));
    how = (lsmkv_write){.fresh_until_ms = now_ms}; /* alone it means nothing */
    CHECK_OK(lsmkv_put(d.db, &how, word_bytes("key"), word_bytes("kept"), &err));
    CHECK(shows_stale(&d, "key", "kept", -1, -1));
    expiry_end(&d);
}

LSM_TEST(a_database_has_an_identity_and_a_snapshot_its_moment) {
    uint8_t first[LSMKV_UUID_SIZE], again[LSMKV_UUID_SIZE];
    expiry_db d;
    lsmkv_error err;
    lsmkv_snapshot *snapshot;

    expiry_begin(&d);
    lsmkv_get_uuid(d.db, first);
    expiry_reopen(&d);
    lsmkv_get_uuid(d.db, again);
    CHECK(memcmp(first, again, sizeof(first)) == 0);
    CHECK_OK(lsmkv_snapshot_create(d.db, &snapshot, &err));
    uint64_t before = lsmkv_snapshot_sequence(snapshot);
    CHECK_EQ(before, expiry_stats(&d).sequence);
    expiry_put(&d, "key", "value", NEVER);
    CHECK_EQ(lsmkv_snapshot_sequence(snapshot), before);
    CHECK_EQ(expiry_stats(&d).sequence, before + 1);
    lsmkv_snapshot_free(snapshot);
    expiry_end(&d);
}
