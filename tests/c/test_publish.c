/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a published version is all of its rows or nothing, whatever their order and
 * number; handles and snapshots see one version at a time; nothing stays behind of one
 * that was discarded, interrupted or released. Method: a database in the simulator,
 * with failing calls, failing allocations and power failures.
 */
#include "publish_help.h"

#include <errno.h>

#include "base/alloc.h"
#include "db/db.h"
#include "format/publish_record.h"

LSM_TEST(publish_records_and_names_are_checked) {
    lsmkv_error err;
    lsm_buf bytes = {0};
    lsm_publish_record found;
    lsm_publish_record given = {.state = LSM_PUBLISH_COMPLETE,
                                .created_ms = 12,
                                .row_count = 34,
                                .byte_count = 56,
                                .space = {.id = 78, .options = LSM_SPACE_OPTIONS_NONE}};
    lsmkv_bytes name;
    lsmkv_bytes version;

    CHECK(lsm_publish_record_encode(&given, &bytes));
    CHECK_OK(lsm_publish_record_decode(lsm_buf_slice(&bytes), &found, &err));
    CHECK_EQ(found.created_ms, 12);
    CHECK_EQ(found.row_count, 34);
    CHECK_EQ(found.byte_count, 56);
    CHECK_EQ(found.space.id, 78);
    for (size_t size = 0; size < bytes.size; size++) {
        lsm_slice cut = lsm_slice_make(bytes.data, size);
        CHECK(lsm_publish_record_decode(cut, &found, &err) == LSMKV_CORRUPTION);
    }
    bytes.data[1] = 3;
    CHECK(lsm_publish_record_decode(lsm_buf_slice(&bytes), &found, &err) ==
          LSMKV_CORRUPTION);
    bytes.data[0] = 2;
    CHECK(lsm_publish_record_decode(lsm_buf_slice(&bytes), &found, &err) ==
          LSMKV_UNSUPPORTED_VERSION);
    lsm_buf_deinit(&bytes);
    CHECK(lsm_version_name_check(word_bytes("2026-11-22")));
    CHECK(!lsm_version_name_check(word_bytes("a/b")));
    CHECK(!lsm_version_name_check(word_bytes("")));
    CHECK_OK(lsm_publish_key_split(lsm_slice_make("a/b/c", 5), &name, &version, &err));
    CHECK(word_is(name, "a/b") && word_is(version, "c"));
    CHECK(lsm_publish_key_split(lsm_slice_make("ab", 2), &name, &version, &err) ==
          LSMKV_CORRUPTION);
    CHECK(lsm_publish_key_split(lsm_slice_make("a/", 2), &name, &version, &err) ==
          LSMKV_CORRUPTION);
}

LSM_TEST(a_publish_shows_its_rows_at_once_and_after_a_reopen) {
    expiry_db d;

    expiry_begin(&d);
    expiry_put(&d, "key", "own", NEVER);
    lsmkv_publish *publish = begun(&d, "users", "1");
    add(publish, "a", "1");
    add(publish, "b", "2");
    CHECK(published_shows(&d, "users", NULL));
    CHECK(versions_are(&d, "", ""));
    add(publish, "c", "");
    commit(publish);
    for (int i = 0; i < 2; i++) {
        CHECK(published_shows(&d, "users", "a=1 b=2 c= "));
        CHECK(versions_are(&d, "users", "users/1*:3 "));
        CHECK(expiry_shows(&d, NULL, "key", "own"));
        CHECK(expiry_shows(&d, NULL, "a", NULL));
        CHECK(files_match(&d));
        verify(&d);
        expiry_reopen(&d);
    }
    expiry_compact(&d);
    CHECK(published_shows(&d, "users", "a=1 b=2 c= "));
    expiry_end(&d);
}

LSM_TEST(of_rows_with_equal_keys_the_last_one_stays_whatever_their_order) {
    expiry_db d;

    expiry_begin(&d);
    lsmkv_publish *publish = begun(&d, "n", "1");
    add(publish, "b", "old");
    add(publish, "a", "old");
    add(publish, "c", "old");
    add(publish, "a", "1");
    add(publish, "", "0");
    add(publish, "c", "3");
    add(publish, "b", "2");
    commit(publish);
    CHECK(published_shows(&d, "n", "=0 a=1 b=2 c=3 "));
    CHECK(versions_are(&d, "", "n/1*:4 "));
    expiry_end(&d);
}

/* Far more rows than memory is used for, each key several times, in an order that
 * depends on `step`. */
static void publish_many(expiry_db *d, const char *version, uint32_t count,
                         uint32_t step, size_t value_size) {
    lsmkv_publish *publish = begun(d, "n", version);
    char value[2048];

    CHECK(value_size < sizeof(value));
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < count; i++) {
            char key[16];
            uint32_t place = (uint32_t)((uint64_t)i * step % count);
            memset(value, 'a' + (int)round, value_size);
            (void)snprintf(key, sizeof(key), "%08u", place);
            (void)snprintf(value, sizeof(value), "%s%u", version, place);
            value[strlen(value)] = ' ';
            value[value_size] = 0;
            add(publish, key, value);
        }
    }
    commit(publish);
}

static void check_many(expiry_db *d, const char *version, uint32_t count,
                       size_t value_size) {
    lsmkv_namespace *space = reader(d, "n", version, NULL);
    lsmkv_read read = {.space = space};
    lsmkv_error err;
    lsmkv_iter *iter;
    uint32_t seen = 0;

    CHECK_OK(lsmkv_iter_create(d->db, &read, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    while (lsmkv_iter_valid(iter)) {
        lsmkv_bytes value = lsmkv_iter_value(iter);
        char start[32];
        int size = snprintf(start, sizeof(start), "%s%u ", version, seen);
        CHECK(value.size == value_size && memcmp(value.data, start, (size_t)size) == 0);
        CHECK(((const char *)value.data)[value_size - 1] ==
              'c'); /* of the last round */
        seen += 1;
        CHECK_OK(lsmkv_iter_next(iter, &err));
    }
    lsmkv_iter_free(iter);
    lsmkv_namespace_free(space);
    CHECK_EQ(seen, count);
}

LSM_TEST(rows_in_any_order_and_of_any_number_become_one_run_of_tables) {
    const uint32_t counts[] = {100, 5000, 20011};
    expiry_db d;

    for (size_t i = 0; i < LSM_ARRAY_COUNT(counts); i++) {
        expiry_begin(&d);
        publish_many(&d, "in order", counts[i], 1, 60);
        publish_many(&d, "shuffled", counts[i], 7919, 60);
        for (int again = 0; again < 2; again++) {
            check_many(&d, "in order", counts[i], 60);
            check_many(&d, "shuffled", counts[i], 60);
            CHECK(files_match(&d));
            verify(&d);
            expiry_reopen(&d);
        }
        expiry_end(&d);
    }
}

LSM_TEST(large_values_are_written_once_and_outside_of_the_log) {
    expiry_db d;
    enum { COUNT = 400, SIZE = 2000 };

    expiry_begin(&d);
    lsmkv_stats before = expiry_stats(&d);
    lsmkv_publish *publish = begun(&d, "n", "1");
    char value[SIZE + 1];
    memset(value, 'x', SIZE);
    value[SIZE] = 0;
    for (int i = COUNT; i-- > 0;) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06d", i);
        add(publish, key, value);
    }
    commit(publish);
    lsmkv_stats after = expiry_stats(&d);
    uint64_t given = (uint64_t)COUNT * SIZE;
    CHECK(after.segment_bytes_written - before.segment_bytes_written < given * 21 / 20);
    CHECK(after.log_bytes_written - before.log_bytes_written < 1024);
    CHECK(after.flush_bytes_written - before.flush_bytes_written < given / 4);
    CHECK(after.segment_live_bytes >= given);
    publish_many(&d, "2", 300, 7919, 1500);
    check_many(&d, "2", 300, 1500);
    CHECK(files_match(&d));
    verify(&d);
    expiry_reopen(&d);
    check_many(&d, "2", 300, 1500);
    expiry_end(&d);
}

LSM_TEST(a_publish_of_nothing_is_a_version_without_rows) {
    expiry_db d;

    expiry_begin(&d);
    publish_word(&d, "n", "1", "one");
    commit(begun(&d, "n", "2"));
    CHECK(published_shows(&d, "n", ""));
    CHECK(versions_are(&d, "n", "n/1:1 n/2*:0 "));
    CHECK(files_match(&d));
    expiry_reopen(&d);
    CHECK(published_shows(&d, "n", ""));
    expiry_end(&d);
}

LSM_TEST(a_version_is_published_once_and_one_of_a_name_at_a_time) {
    expiry_db d;
    lsmkv_publish *other = NULL;

    expiry_begin(&d);
    publish_word(&d, "n", "1", "one");
    CHECK_EQ(begin(&d, "n", "1", &other), LSMKV_INVALID_ARGUMENT);
    lsmkv_publish *publish = begun(&d, "n", "2");
    CHECK_EQ(begin(&d, "n", "3", &other), LSMKV_INVALID_ARGUMENT);
    CHECK(other == NULL);
    other = begun(&d, "m", "2");
    add(publish, "k", "n");
    add(other, "k", "m");
    commit(other);
    commit(publish);
    CHECK(published_shows(&d, "n", "k=n "));
    CHECK(published_shows(&d, "m", "k=m "));
    CHECK(versions_are(&d, "", "m/2*:1 n/1:1 n/2*:1 "));
    CHECK_EQ(begin(&d, "", "1", &other), LSMKV_INVALID_ARGUMENT);
    CHECK_EQ(begin(&d, "n", "", &other), LSMKV_INVALID_ARGUMENT);
    CHECK_EQ(begin(&d, "n", "a/b", &other), LSMKV_INVALID_ARGUMENT);
    expiry_end(&d);
}

LSM_TEST(handles_follow_and_snapshots_stay) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_snapshot *none = NULL;
    lsmkv_snapshot *one = NULL;

    expiry_begin(&d);
    CHECK_OK(lsmkv_snapshot_create(d.db, &none, &err));
    publish_word(&d, "n", "1", "one");
    CHECK_OK(lsmkv_snapshot_create(d.db, &one, &err));
    lsmkv_namespace *space = reader(&d, "n", "", NULL);
    lsmkv_namespace *first = reader(&d, "n", "1", NULL);
    CHECK(shows(&d, space, NULL, "key=one "));
    publish_word(&d, "n", "2", "two");
    CHECK(shows(&d, space, NULL, "key=two "));
    CHECK(shows(&d, first, NULL, "key=one "));
    CHECK(shows(&d, space, one, "key=one "));
    CHECK(shows(&d, space, none, ""));
    CHECK_OK(lsmkv_rollback(d.db, word_bytes("n"), word_bytes("1"), &err));
    CHECK(shows(&d, space, NULL, "key=one "));
    CHECK(versions_are(&d, "n", "n/1*:1 n/2:1 "));
    CHECK_OK(lsmkv_rollback(d.db, word_bytes("n"), word_bytes("2"), &err));
    CHECK_EQ(lsmkv_release(d.db, word_bytes("n"), word_bytes("2"), &err),
             LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_release(d.db, word_bytes("n"), word_bytes("1"), &err));
    CHECK_EQ(lsmkv_release(d.db, word_bytes("n"), word_bytes("1"), &err),
             LSMKV_NOT_FOUND);
    CHECK_EQ(lsmkv_rollback(d.db, word_bytes("n"), word_bytes("1"), &err),
             LSMKV_NOT_FOUND);
    expiry_compact(&d);
    CHECK(shows(&d, space, one, "key=one "));
    CHECK(shows(&d, space, NULL, "key=two "));
    lsmkv_namespace *old = reader(&d, "n", "", one);
    CHECK(shows(&d, old, one, "key=one "));
    lsmkv_namespace_free(old);
    CHECK(reader(&d, "n", "", none) == NULL);
    CHECK(reader(&d, "n", "1", NULL) == NULL);
    lsmkv_namespace_free(first);
    lsmkv_snapshot_free(none);
    lsmkv_snapshot_free(one);
    expiry_reopen(&d);
    CHECK(published_shows(&d, "n", "key=two "));
    CHECK(versions_are(&d, "n", "n/2*:1 "));
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(releasing_a_name_releases_all_of_it) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_pin pin;

    expiry_begin(&d);
    publish_word(&d, "n", "1", "one");
    publish_word(&d, "n", "2", "two");
    publish_word(&d, "m", "1", "other");
    lsmkv_namespace *space = reader(&d, "n", "", NULL);
    lsmkv_read read = {.space = space};
    CHECK_OK(lsmkv_release(d.db, word_bytes("n"), word_bytes(""), &err));
    CHECK_EQ(lsmkv_get(d.db, &read, word_bytes("key"), &pin, &err),
             LSMKV_INVALID_ARGUMENT);
    CHECK_EQ(lsmkv_release(d.db, word_bytes("n"), word_bytes(""), &err),
             LSMKV_NOT_FOUND);
    CHECK(published_shows(&d, "n", NULL));
    CHECK(versions_are(&d, "", "m/1*:1 "));
    publish_word(&d, "n", "1", "again");
    CHECK(published_shows(&d, "n", "key=again "));
    lsmkv_namespace_free(space);
    expiry_compact(&d);
    expiry_reopen(&d);
    CHECK(published_shows(&d, "n", "key=again "));
    CHECK(published_shows(&d, "m", "key=other "));
    expiry_end(&d);
}

LSM_TEST(nobody_writes_to_what_was_published) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_batch *batch = NULL;

    expiry_begin(&d);
    publish_word(&d, "n", "1", "one");
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    for (int i = 0; i < 2; i++) {
        lsmkv_namespace *space = reader(&d, "n", i == 0 ? "" : "1", NULL);
        lsmkv_write how = {.space = space, .ttl_ms = 5};
        lsmkv_bytes key = word_bytes("key");
        CHECK_EQ(lsmkv_put(d.db, &how, key, key, &err), LSMKV_READ_ONLY);
        CHECK_EQ(lsmkv_delete(d.db, &how, key, &err), LSMKV_READ_ONLY);
        CHECK_EQ(lsmkv_delete_range(d.db, &how, NULL, &err), LSMKV_READ_ONLY);
        CHECK_EQ(lsmkv_touch(d.db, &how, key, &err), LSMKV_READ_ONLY);
        CHECK_EQ(lsmkv_batch_put(batch, &how, key, key, &err), LSMKV_READ_ONLY);
        CHECK_EQ(lsmkv_batch_delete(batch, &how, key, &err), LSMKV_READ_ONLY);
        lsmkv_namespace_free(space);
    }
    CHECK_EQ(lsmkv_batch_count(batch), 0);
    lsmkv_batch_free(batch);
    CHECK(published_shows(&d, "n", "key=one "));
    expiry_end(&d);
}

LSM_TEST(rows_expire_by_their_own_time_or_that_of_the_version) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_publish *publish = NULL;
    lsmkv_namespace_how how = {.has_default_ttl = true,
                               .options = {.default_ttl_ms = 5000}};
    lsmkv_pair pairs[] = {{word_bytes("a"), word_bytes("never")},
                          {word_bytes("b"), word_bytes("soon")},
                          {word_bytes("c"), word_bytes("later")}};
    const int64_t ttls[] = {-1, 1000, 0};

    expiry_begin(&d);
    CHECK_OK(lsmkv_publish_begin(d.db, word_bytes("n"), word_bytes("1"), &how, &publish,
                                 &err));
    for (size_t i = 0; i < LSM_ARRAY_COUNT(ttls); i++) {
        lsmkv_write write = {.ttl_ms = ttls[i]};
        CHECK_OK(lsmkv_publish_put(publish, &write, &pairs[i], 1, &err));
    }
    commit(publish);
    CHECK(published_shows(&d, "n", "a=never b=soon c=later "));
    expiry_pass(&d, 1001);
    CHECK(published_shows(&d, "n", "a=never c=later "));
    expiry_reopen(&d);
    expiry_pass(&d, 4000);
    CHECK(published_shows(&d, "n", "a=never "));
    expiry_end(&d);
}

LSM_TEST(what_is_discarded_leaves_nothing) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_pair huge = {{"k", LSMKV_KEY_SIZE_MAX + 1}, {NULL, 0}};

    expiry_begin(&d);
    publish_word(&d, "n", "1", "one");
    for (int i = 0; i < 3; i++) {
        lsmkv_publish *publish = begun(&d, "n", "2");
        for (int k = 0; k < 3000; k++) {
            char key[64];
            (void)snprintf(key, sizeof(key), "%050d", k * 7919 % 3001);
            add(publish, key, key);
        }
        CHECK_EQ(lsmkv_publish_put(publish, NULL, &huge, 1, &err),
                 LSMKV_LIMIT_EXCEEDED);
        if (i == 1) {
            CHECK_OK(lsmkv_publish_abort(publish, &err));
            CHECK_EQ(lsmkv_publish_commit(publish, &err), LSMKV_INVALID_ARGUMENT);
        }
        if (i < 2) {
            lsmkv_publish_free(publish);
            CHECK(files_match(&d));
            CHECK(versions_are(&d, "n", "n/1*:1 "));
            continue;
        }
        lsmkv_db *closed = d.db;
        CHECK_OK(lsmkv_close(closed, &err)); /* in the middle of it */
        CHECK_EQ(lsmkv_publish_put(publish, NULL, NULL, 0, &err), LSMKV_CLOSED);
        CHECK_EQ(lsmkv_publish_commit(publish, &err), LSMKV_CLOSED);
        expiry_open(&d);
        CHECK(files_match(&d));
        lsmkv_publish_free(publish);
        lsmkv_free(closed);
    }
    CHECK(files_match(&d));
    CHECK(versions_are(&d, "n", "n/1*:1 "));
    publish_word(&d, "n", "2", "two");
    CHECK(published_shows(&d, "n", "key=two "));
    expiry_end(&d);
}

/* A publish of some rows, in pieces that are written out early. Ends it. */
static lsmkv_status try_publish(expiry_db *d, const char *version) {
    lsmkv_error err;
    lsmkv_publish *publish = NULL;
    lsmkv_status status = begin(d, "n", version, &publish);

    for (int i = 0; status == LSMKV_OK && i < 40; i++) {
        char text[1600];
        lsmkv_pair pair = {{text, 4}, {text, i % 4 == 0 ? 1500 : 700}};
        (void)snprintf(text, sizeof(text), "%04d", i * 7 % 40);
        memset(text + 4, 'x', sizeof(text) - 4);
        status = lsmkv_publish_put(publish, NULL, &pair, 1, &err);
    }
    if (status == LSMKV_OK) {
        status = lsmkv_publish_commit(publish, &err);
    }
    lsmkv_publish_free(publish);
    return status;
}

/* Whether the newest version is the one wanted, whole, or, with `old`, the one before.
 */
static void check_outcome(expiry_db *d, bool committed) {
    lsmkv_namespace *space = reader(d, "n", "", NULL);
    lsmkv_read read = {.space = space};
    uint64_t count = 0;
    lsmkv_error err;

    CHECK(space != NULL);
    CHECK_OK(lsmkv_approximate_count(d->db, &read, NULL, &count, &err));
    CHECK_EQ(count, committed ? 40 : 1);
    CHECK(versions_are(d, "", committed ? "n/0:1 n/1*:40 " : "n/0*:1 "));
    lsmkv_namespace_free(space);
}

LSM_TEST(a_publish_that_lacks_memory_at_any_point_leaves_nothing_behind) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    expiry_db d;

    expiry_begin(&d);
    lsm_sim_exempt_memory(d.env);
    publish_word(&d, "n", "0", "zero");
    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        lsm_alloc_fail_after(n, 0);
        status = try_publish(&d, "1");
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        check_outcome(&d, status == LSMKV_OK);
        expiry_settle(&d); /* a compaction may be half done */
        CHECK(files_match(&d));
    }
    expiry_reopen(&d);
    check_outcome(&d, true);
    expiry_end(&d);
}

/* Fails the n-th call of a kind, for all n, and looks at what a reopen finds. */
static void sweep_calls(lsm_sim_call call, int error) {
    lsmkv_status status = LSMKV_IO_ERROR;

    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        expiry_db d;
        lsmkv_error err;
        expiry_begin(&d);
        publish_word(&d, "n", "0", "zero");
        lsm_sim_fail(d.env, call, n + 1, error, false);
        status = try_publish(&d, "1");
        lsm_sim_fail(d.env, call, 0, 0, false);
        CHECK(status == LSMKV_OK ||
              status == (error == ENOSPC ? LSMKV_DISK_FULL : LSMKV_IO_ERROR));
        lsmkv_stats stats = expiry_stats(&d);
        if (stats.state < 2) {
            check_outcome(&d, status == LSMKV_OK);
        }
        lsm_ignore(lsmkv_close(d.db, &err));
        lsmkv_free(d.db);
        expiry_open(&d);
        CHECK(files_match(&d));
        verify(&d);
        bool there = !versions_are(&d, "", "n/0*:1 ");
        CHECK(there || status != LSMKV_OK);
        check_outcome(&d, there);
        if (!there) {
            CHECK_EQ(try_publish(&d, "1"), LSMKV_OK);
            check_outcome(&d, true);
        }
        expiry_end(&d);
    }
}

LSM_TEST(a_publish_that_meets_an_error_of_the_disk_at_any_point_is_whole_or_nothing) {
    const lsm_sim_call calls[] = {LSM_SIM_APPEND, LSM_SIM_SYNC, LSM_SIM_DIR_SYNC,
                                  LSM_SIM_OPEN, LSM_SIM_READ};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        sweep_calls(calls[i], EIO);
    }
    sweep_calls(LSM_SIM_APPEND, ENOSPC);
}

LSM_TEST(a_crash_in_a_publish_leaves_nothing_of_it) {
    for (int how = 0; how < 4; how++) {
        expiry_db d;
        expiry_begin(&d);
        publish_word(&d, "n", "0", "zero");
        lsmkv_publish *publish = begun(&d, "n", "1");
        for (int k = 0; how >= 2 && k < 3000; k++) {
            char key[64];
            (void)snprintf(key, sizeof(key), "%050d", k * 7919 % 3001);
            add(publish, key, key);
        }
        lsm_env *env = lsm_sim_crash(
            d.env, 3, how % 2 != 0 ? LSM_CRASH_ALL : LSM_CRASH_STRICT, 512);
        CHECK(env != NULL);
        lsm_test_abandon(d.db);
        lsmkv_publish_free(publish);
        lsm_sim_destroy(d.env);
        d.env = env;
        expiry_open(&d);
        CHECK(files_match(&d));
        check_outcome(&d, false);
        CHECK_EQ(try_publish(&d, "1"), LSMKV_OK);
        expiry_crash(&d, false);
        check_outcome(&d, true);
        expiry_end(&d);
    }
}

/* Flips a byte of a table, repairs into another directory, and tells whether the name
 * is published there. */
static bool survives_damage(lsm_env *disk, const char *table) {
    const lsm_test_repair_request request = {.path = "db", .into = "repaired"};
    lsm_env *env = lsm_sim_crash(disk, 1, LSM_CRASH_ALL, 512);
    lsmkv_options options;
    lsmkv_report report;
    lsmkv_error err;
    const uint8_t *data = NULL;
    uint8_t bytes[TEXT_MAX];
    size_t size = 0;
    expiry_db d = {.env = env};

    CHECK(env != NULL && lsm_sim_file_read(env, "db", table, &data, &size));
    CHECK(size <= sizeof(bytes));
    memcpy(bytes, data, size);
    bytes[8] ^= 1;
    CHECK(lsm_sim_file_write(env, "db", table, bytes, size));
    CHECK_OK(lsm_test_repair(env, &request, &report, &err));
    lsmkv_options_init(&options);
    CHECK_OK(lsm_test_open(env, "repaired", &options, &d.db, &err));
    lsmkv_namespace *space = reader(&d, "n", "", NULL);
    bool there = space != NULL;
    lsmkv_namespace_free(space);
    expiry_end(&d);
    return there;
}

LSM_TEST(a_repair_that_loses_a_version_loses_the_name_that_shows_it) {
    expiry_db d;
    lsmkv_error err;
    lsm_dir *dir = NULL;
    lsm_namelist names = {0};
    size_t tables = 0;
    size_t left = 0;

    expiry_begin(&d);
    publish_word(&d, "n", "1", "one");
    expiry_flush(&d);
    publish_word(&d, "n", "2", "two");
    expiry_flush(&d);
    CHECK_OK(lsmkv_rollback(d.db, word_bytes("n"), word_bytes("1"), &err));
    expiry_flush(&d); /* the name is in another table than the record of version 1 */
    CHECK_OK(lsm_dir_open(d.env, "db", false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        if (strstr(names.names[i], ".tbl") != NULL) {
            tables += 1;
            left += survives_damage(d.env, names.names[i]);
        }
    }
    CHECK(left > 0 && left < tables);
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
    expiry_end(&d);
}
