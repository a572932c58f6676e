/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: namespaces are apart, are defined and dropped in commit order like any write,
 * and nothing ever appears in one that was dropped. Method: a database in the
 * simulator, power failures included.
 */
#include "expiry_help.h"

#include "db/db.h"
#include "db/system_key.h"
#include "format/space.h"
#include "runs_codec.h"

static lsmkv_namespace *space_make(expiry_db *d, const char *name) {
    lsmkv_error err;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {.create = true};

    CHECK_OK(lsmkv_namespace_open(d->db, word_bytes(name), &how, &space, &err));
    return space;
}

static lsmkv_status space_open(expiry_db *d, const char *name,
                               const lsmkv_namespace_how *how,
                               lsmkv_namespace **space) {
    lsmkv_error err;

    return lsmkv_namespace_open(d->db, word_bytes(name), how, space, &err);
}

static lsmkv_status space_drop(expiry_db *d, const char *name) {
    lsmkv_error err;

    return lsmkv_namespace_drop(d->db, word_bytes(name), &err);
}

static lsmkv_status space_put(expiry_db *d, const lsmkv_namespace *space,
                              const char *key, const char *value) {
    lsmkv_error err;
    lsmkv_write how = {.space = space};

    return lsmkv_put(d->db, &how, word_bytes(key), word_bytes(value), &err);
}

static lsmkv_status space_get(expiry_db *d, const lsmkv_namespace *space,
                              const lsmkv_snapshot *snapshot, const char *key,
                              const char *value) {
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_read read = {.snapshot = snapshot, .space = space};
    lsmkv_status status = lsmkv_get(d->db, &read, word_bytes(key), &pin, &err);

    if (status == LSMKV_OK) {
        CHECK(value != NULL && word_is(pin.value, value));
        lsmkv_pin_release(&pin);
    }
    return status;
}

/* All of a namespace, as "key=value ". */
static void space_scan(expiry_db *d, const lsmkv_namespace *space, char *to,
                       size_t room) {
    lsmkv_error err;
    lsmkv_read read = {.space = space};
    lsmkv_iter *iter;
    size_t at = 0;

    to[0] = 0;
    CHECK_OK(lsmkv_iter_create(d->db, &read, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    while (lsmkv_iter_valid(iter)) {
        lsmkv_bytes key = lsmkv_iter_key(iter);
        lsmkv_bytes value = lsmkv_iter_value(iter);
        at += (size_t)snprintf(to + at, room - at, "%.*s=%.*s ", (int)key.size,
                               (const char *)key.data, (int)value.size,
                               (const char *)value.data);
        CHECK(at < room);
        CHECK_OK(lsmkv_iter_next(iter, &err));
    }
    lsmkv_iter_free(iter);
}

static bool space_holds(expiry_db *d, const lsmkv_namespace *space, const char *rows) {
    char found[512];

    space_scan(d, space, found, sizeof(found));
    return strcmp(found, rows) == 0;
}

LSM_TEST(space_names_are_one_to_255_bytes_of_utf8) {
    static const char *const right[] = {
        "a", "with space", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "a/b"};
    static const char *const wrong[] = {
        "",         "\x80",         "\xC3",         "\xC0\xAF",         "a\xFF",
        "\xE2\x82", "\xED\xA0\x80", "\xE0\x80\xAF", "\xF4\x90\x80\x80", "\xF0\x80\x80"};
    char longest[LSM_SPACE_NAME_MAX + 2];

    for (size_t i = 0; i < LSM_ARRAY_COUNT(right); i++) {
        CHECK(lsm_space_name_check(word_bytes(right[i])));
    }
    for (size_t i = 0; i < LSM_ARRAY_COUNT(wrong); i++) {
        CHECK(!lsm_space_name_check(word_bytes(wrong[i])));
    }
    memset(longest, 'x', sizeof(longest));
    CHECK(lsm_space_name_check((lsmkv_bytes){longest, LSM_SPACE_NAME_MAX}));
    CHECK(!lsm_space_name_check((lsmkv_bytes){longest, LSM_SPACE_NAME_MAX + 1}));
}

LSM_TEST(space_definitions_round_trip_and_refuse_what_is_cut_or_unknown) {
    lsmkv_error err;
    lsm_buf bytes = {0};
    lsm_space_definition found;
    lsm_space_definition given = {.id = 77,
                                  .options = {.default_ttl_ms = 5000,
                                              .default_stale_ms = 300,
                                              .codec = 1,
                                              .codec_level = -3}};

    CHECK(lsm_space_encode(&given, &bytes));
    CHECK_OK(lsm_space_decode(lsm_buf_slice(&bytes), &found, &err));
    CHECK_EQ(found.id, 77);
    CHECK_EQ(found.options.default_ttl_ms, 5000);
    CHECK_EQ(found.options.default_stale_ms, 300);
    CHECK_EQ(found.options.blob_threshold_bytes, 0);
    CHECK_EQ(found.options.codec, 1);
    CHECK(found.options.codec_level == -3);
    for (size_t size = 0; size < bytes.size; size++) {
        lsmkv_status status =
            lsm_space_decode(lsm_slice_make(bytes.data, size), &found, &err);
        CHECK(status == LSMKV_OK || status == LSMKV_CORRUPTION);
        CHECK(size >= 5 || status == LSMKV_CORRUPTION);
    }
    CHECK(lsm_buf_append(&bytes, "\x0B\x01", 2));
    CHECK_STATUS(lsm_space_decode(lsm_buf_slice(&bytes), &found, &err),
                 LSMKV_UNSUPPORTED_VERSION);
    bytes.data[0] = 2;
    CHECK_STATUS(lsm_space_decode(lsm_buf_slice(&bytes), &found, &err),
                 LSMKV_UNSUPPORTED_VERSION);
    lsm_buf_deinit(&bytes);
}

LSM_TEST(space_definitions_with_absurd_numbers_are_corruption) {
    static const uint64_t numbers[] = {UINT64_C(1) << 63, UINT64_MAX};
    lsm_space_definition found;
    lsmkv_error err;

    for (uint64_t tag = 1; tag <= 4; tag++) {
        for (size_t i = 0; i < LSM_ARRAY_COUNT(numbers); i++) {
            lsm_buf bytes = {0};
            CHECK(lsm_buf_append(&bytes, "\1\2\0\0\0", 5) &&
                  lsm_buf_append_varint(&bytes, tag) &&
                  lsm_buf_append_varint(&bytes, numbers[i]));
            CHECK_STATUS(lsm_space_decode(lsm_buf_slice(&bytes), &found, &err),
                         LSMKV_CORRUPTION);
            lsm_buf_deinit(&bytes);
        }
    }
}

/* Defines a namespace of a name that no call would take, and opens again. */
static lsmkv_status open_forged(lsmkv_bytes name) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_options options;
    lsm_space_definition definition = {.id = 2, .options = LSM_SPACE_OPTIONS_NONE};
    lsm_system_key key;
    lsm_batch batch;
    lsm_buf value = {0};

    expiry_begin(&d);
    lsm_batch_init(&batch);
    lsm_system_key_make(&key, LSM_SPACE_PREFIX, name);
    CHECK(lsm_space_encode(&definition, &value));
    CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_SYSTEM, lsm_system_key_bytes(&key),
                           (lsmkv_bytes){value.data, value.size}, &err));
    CHECK_OK(lsm_system_commit(d.db, &batch, NULL, &err));
    expiry_close(&d);
    lsmkv_options_init(&options);
    lsmkv_status status = lsm_test_open(d.env, "db", &options, &d.db, &err);
    if (status == LSMKV_OK) {
        expiry_close(&d);
    }
    lsm_buf_deinit(&value);
    lsm_batch_deinit(&batch);
    lsm_sim_destroy(d.env);
    return status;
}

LSM_TEST(namespaces_of_impossible_names_are_corruption) {
    char longest[LSM_SPACE_NAME_MAX + 1];

    memset(longest, 'x', sizeof(longest));
    CHECK_EQ(open_forged((lsmkv_bytes){longest, LSM_SPACE_NAME_MAX}), LSMKV_OK);
    CHECK_EQ(open_forged((lsmkv_bytes){longest, sizeof(longest)}), LSMKV_CORRUPTION);
    CHECK_EQ(open_forged(word_bytes("a\xFF")), LSMKV_CORRUPTION);
}

LSM_TEST(namespaces_hold_keys_of_their_own) {
    expiry_db d;
    lsmkv_namespace *red;
    lsmkv_namespace *blue;

    expiry_begin(&d);
    CHECK_STATUS(space_open(&d, "red", NULL, &red), LSMKV_NOT_FOUND);
    CHECK(red == NULL);
    red = space_make(&d, "red");
    blue = space_make(&d, "blue");
    expiry_put(&d, "key", "default", NEVER);
    expiry_put(&d, "other", "x", NEVER);
    CHECK(space_put(&d, red, "key", "of red") == LSMKV_OK);
    CHECK(space_put(&d, blue, "key", "of blue") == LSMKV_OK);
    for (int round = 0; round < 3; round++) {
        CHECK(space_holds(&d, red, "key=of red "));
        CHECK(space_holds(&d, blue, "key=of blue "));
        CHECK(space_holds(&d, NULL, "key=default other=x "));
        CHECK_STATUS(space_get(&d, red, NULL, "other", NULL), LSMKV_NOT_FOUND);
        expiry_flush(&d);
        if (round == 1) {
            lsmkv_namespace_free(red);
            lsmkv_namespace_free(blue);
            expiry_reopen(&d);
            CHECK(space_open(&d, "red", NULL, &red) == LSMKV_OK);
            CHECK(space_open(&d, "blue", NULL, &blue) == LSMKV_OK);
        }
    }
    lsmkv_namespace_free(red);
    lsmkv_namespace_free(blue);
    expiry_end(&d);
}

LSM_TEST(a_handle_of_a_namespace_outlives_the_database) {
    expiry_db d;
    lsmkv_namespace *red;

    expiry_begin(&d);
    red = space_make(&d, "red");
    expiry_close(&d);
    lsmkv_namespace_free(red);
    lsm_sim_destroy(d.env);
}

LSM_TEST(options_of_a_namespace_last_and_change_only_when_asked_to) {
    expiry_db d;
    lsmkv_namespace *space;
    lsmkv_space_options options;
    lsmkv_namespace_how how = {
        .create = true, .has_default_ttl = true, .options = {.default_ttl_ms = 5000}};

    expiry_begin(&d);
    CHECK(space_open(&d, "s", &how, &space) == LSMKV_OK);
    lsmkv_namespace_free(space);
    expiry_reopen(&d);
    CHECK(space_open(&d, "s", NULL, &space) == LSMKV_OK);
    lsmkv_namespace_options(space, &options);
    CHECK_EQ(options.default_ttl_ms, 5000);
    CHECK(options.codec == -1 && options.blob_threshold_bytes == -1);
    CHECK(space_put(&d, space, "key", "value") == LSMKV_OK);
    lsmkv_namespace *again = NULL;
    how.options.default_ttl_ms = 9000;
    CHECK_STATUS(space_open(&d, "s", &how, &again), LSMKV_INVALID_ARGUMENT);
    CHECK(again == NULL);
    how.alter = true;
    CHECK(space_open(&d, "s", &how, &again) == LSMKV_OK);
    lsmkv_namespace_options(space, &options); /* older handles see it, too */
    CHECK_EQ(options.default_ttl_ms, 9000);
    how.options.default_ttl_ms = 9000;
    how.has_codec = true;
    how.options.codec = 7; /* not registered */
    lsmkv_namespace *third;
    CHECK(space_open(&d, "s", &how, &third) != LSMKV_OK);
    lsmkv_namespace_free(again);
    expiry_pass(&d, 5000);
    CHECK_STATUS(space_get(&d, space, NULL, "key", NULL), LSMKV_NOT_FOUND);
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(the_default_time_to_live_gives_way_to_that_of_a_put) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_namespace *space;
    lsmkv_namespace_how how = {
        .create = true, .has_default_ttl = true, .options = {.default_ttl_ms = 5000}};
    int64_t ttl_ms;

    expiry_begin(&d);
    CHECK(space_open(&d, "s", &how, &space) == LSMKV_OK);
    const int64_t given[] = {0, -1, 70};
    const int64_t expected[] = {5000, -1, 70};
    for (size_t i = 0; i < LSM_ARRAY_COUNT(given); i++) {
        lsmkv_write write = {.ttl_ms = given[i], .space = space};
        lsmkv_read read = {.space = space};
        CHECK_OK(lsmkv_put(d.db, &write, word_bytes("k"), word_bytes("v"), &err));
        CHECK_OK(lsmkv_ttl(d.db, &read, word_bytes("k"), &ttl_ms, &err));
        CHECK(ttl_ms == expected[i]);
        CHECK_OK(lsmkv_touch(d.db, &write, word_bytes("k"), &err));
        CHECK_OK(lsmkv_ttl(d.db, &read, word_bytes("k"), &ttl_ms, &err));
        CHECK(ttl_ms == expected[i]);
    }
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(the_default_time_to_be_stale_gives_way_to_that_of_a_put) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_namespace *space;
    lsmkv_namespace_how how = {
        .create = true,
        .has_default_ttl = true,
        .has_default_stale = true,
        .options = {.default_ttl_ms = 5000, .default_stale_ms = 300}};

    expiry_begin(&d);
    CHECK(space_open(&d, "s", &how, &space) == LSMKV_OK);
    const int64_t given[] = {0, -1, 70};
    const int64_t expected[] = {5300, 5000, 5070};
    for (size_t i = 0; i < LSM_ARRAY_COUNT(given); i++) {
        lsmkv_write write = {.stale_ms = given[i], .space = space};
        lsmkv_read read = {.space = space, .stale = true};
        int64_t left_ms;
        CHECK_OK(lsmkv_put(d.db, &write, word_bytes("k"), word_bytes("v"), &err));
        CHECK_OK(lsmkv_ttl(d.db, &read, word_bytes("k"), &left_ms, &err));
        CHECK(left_ms == expected[i]);
        CHECK_OK(lsmkv_touch(d.db, &write, word_bytes("k"), &err));
        CHECK_OK(lsmkv_ttl(d.db, &read, word_bytes("k"), &left_ms, &err));
        CHECK(left_ms == expected[i]);
    }
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(a_batch_is_atomic_across_namespaces) {
    for (int all = 0; all < 2; all++) {
        expiry_db d;
        lsmkv_error err;
        lsmkv_batch *batch;

        expiry_begin(&d);
        lsmkv_namespace *red = space_make(&d, "red");
        lsmkv_namespace *blue = space_make(&d, "blue");
        lsmkv_write in_red = {.space = red};
        lsmkv_write in_blue = {.space = blue, .sync = true};
        CHECK_OK(lsmkv_batch_create(&batch, &err));
        CHECK_OK(
            lsmkv_batch_put(batch, &in_red, word_bytes("a"), word_bytes("1"), &err));
        CHECK_OK(
            lsmkv_batch_put(batch, &in_blue, word_bytes("b"), word_bytes("2"), &err));
        CHECK_OK(lsmkv_batch_put(batch, NULL, word_bytes("c"), word_bytes("3"), &err));
        CHECK_OK(lsmkv_write_batch(d.db, &in_blue, batch, &err));
        lsmkv_batch_free(batch);
        lsmkv_namespace_free(red);
        lsmkv_namespace_free(blue);
        expiry_crash(&d, all != 0);
        CHECK(space_open(&d, "red", NULL, &red) == LSMKV_OK);
        CHECK(space_open(&d, "blue", NULL, &blue) == LSMKV_OK);
        CHECK(space_holds(&d, red, "a=1 "));
        CHECK(space_holds(&d, blue, "b=2 "));
        CHECK(space_holds(&d, NULL, "c=3 "));
        lsmkv_namespace_free(red);
        lsmkv_namespace_free(blue);
        expiry_end(&d);
    }
}

LSM_TEST(a_drop_takes_everything_before_it_and_refuses_everything_behind_it) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_batch *batch;

    expiry_begin(&d);
    lsmkv_namespace *red = space_make(&d, "red");
    lsmkv_namespace *blue = space_make(&d, "blue");
    lsmkv_write in_red = {.space = red};
    CHECK_STATUS(space_drop(&d, "none"), LSMKV_NOT_FOUND);
    CHECK(space_put(&d, red, "key", "flushed") == LSMKV_OK);
    expiry_flush(&d);
    CHECK(space_put(&d, red, "other", "unsynced") == LSMKV_OK);
    CHECK(space_put(&d, blue, "key", "kept") == LSMKV_OK);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    CHECK_OK(lsmkv_batch_put(batch, NULL, word_bytes("half"), word_bytes("x"), &err));
    CHECK_OK(
        lsmkv_batch_put(batch, &in_red, word_bytes("half"), word_bytes("x"), &err));
    CHECK(space_drop(&d, "red") == LSMKV_OK);
    CHECK_STATUS(lsmkv_write_batch(d.db, NULL, batch, &err), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(space_put(&d, red, "key", "late"), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(space_get(&d, red, NULL, "key", NULL), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(space_drop(&d, "red"), LSMKV_NOT_FOUND);
    CHECK(space_holds(&d, NULL, "")); /* not even half of the batch */
    CHECK(space_holds(&d, blue, "key=kept "));
    lsmkv_namespace *fresh = space_make(&d, "red");
    CHECK(fresh->space->id > red->space->id);
    CHECK(space_holds(&d, fresh, ""));
    CHECK(space_put(&d, fresh, "key", "new") == LSMKV_OK);
    CHECK_STATUS(lsmkv_write_batch(d.db, NULL, batch, &err), LSMKV_INVALID_ARGUMENT);
    lsmkv_batch_free(batch);
    lsmkv_namespace_free(red);
    lsmkv_namespace_free(fresh);
    lsmkv_namespace_free(blue);
    expiry_compact(&d);
    lsmkv_stats stats = expiry_stats(&d);
    uint64_t entries = 0;
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        entries += stats.levels[i].entry_count;
    }
    /* options, next id, two definitions, a row in each: nothing of the old one */
    CHECK_EQ(entries, 6);
    expiry_reopen(&d);
    CHECK(space_open(&d, "red", NULL, &fresh) == LSMKV_OK);
    CHECK(space_holds(&d, fresh, "key=new "));
    lsmkv_namespace_free(fresh);
    expiry_end(&d);
}

/* What a power failure leaves of: writes, unsynced; a drop; a synced write elsewhere.
 */
LSM_TEST(a_drop_and_unsynced_batches_before_it_survive_in_order) {
    for (int mode = 0; mode < LSM_CRASH_MODE_COUNT; mode++) {
        for (uint64_t seed = 0; seed < 8; seed++) {
            expiry_db d;
            lsmkv_error err;
            lsmkv_namespace *red;

            expiry_begin(&d);
            CHECK_OK(lsmkv_sync(d.db, &err));
            red = space_make(&d, "red");
            CHECK(space_put(&d, red, "a", "1") == LSMKV_OK);
            CHECK(space_put(&d, red, "b", "2") == LSMKV_OK);
            CHECK(space_drop(&d, "red") == LSMKV_OK);
            lsmkv_namespace *again = space_make(&d, "red");
            CHECK(space_put(&d, again, "c", "3") == LSMKV_OK);
            lsm_env *env = lsm_sim_crash(d.env, seed, (lsm_crash_mode)mode, 32);
            CHECK(env != NULL);
            lsmkv_namespace_free(red);
            lsmkv_namespace_free(again);
            lsm_test_abandon(d.db);
            lsm_sim_destroy(d.env);
            d.env = env;
            expiry_open(&d);
            if (space_open(&d, "red", NULL, &red) == LSMKV_OK) {
                char rows[64];
                space_scan(&d, red, rows, sizeof(rows));
                CHECK(red->space->id == 2
                          ? strcmp(rows, "") == 0 || strcmp(rows, "a=1 ") == 0 ||
                                strcmp(rows, "a=1 b=2 ") == 0
                          : strcmp(rows, "") == 0 || strcmp(rows, "c=3 ") == 0);
                lsmkv_namespace_free(red);
            }
            expiry_end(&d);
        }
    }
}

LSM_TEST(ids_of_namespaces_are_never_used_again) {
    expiry_db d;
    uint32_t last = 0;
    char name[16];

    expiry_begin(&d);
    for (int i = 0; i < 12; i++) {
        lsmkv_error err;
        (void)snprintf(name, sizeof(name), "space %d", i % 3);
        lsmkv_namespace *space = space_make(&d, name);
        CHECK(space->space->id > last);
        last = space->space->id;
        CHECK_OK(lsmkv_sync(d.db, &err));
        lsmkv_namespace_free(space);
        CHECK(space_drop(&d, name) == LSMKV_OK);
        CHECK_OK(lsmkv_sync(d.db, &err));
        if (i % 4 == 1) {
            expiry_reopen(&d);
        } else if (i % 4 == 3) {
            expiry_crash(&d, false);
        }
    }
    expiry_end(&d);
}

typedef struct names {
    char text[256];
    size_t size;
} names;

static void add_name(void *context, lsmkv_bytes name,
                     const lsmkv_space_options *options) {
    names *to = context;

    CHECK(options->codec == -1);
    to->size += (size_t)snprintf(to->text + to->size, sizeof(to->text) - to->size,
                                 "%.*s ", (int)name.size, (const char *)name.data);
}

static bool names_are(expiry_db *d, const lsmkv_snapshot *snapshot, const char *text) {
    lsmkv_error err;
    lsmkv_read read = {.snapshot = snapshot};
    names found = {0};

    CHECK_OK(lsmkv_namespace_list(d->db, &read, add_name, &found, &err));
    return strcmp(found.text, text) == 0;
}

LSM_TEST(a_snapshot_keeps_its_own_view_of_names) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_snapshot *before;
    lsmkv_snapshot *after;
    lsmkv_namespace *red;
    lsmkv_namespace *old = NULL;

    expiry_begin(&d);
    red = space_make(&d, "red");
    CHECK(space_put(&d, red, "key", "old") == LSMKV_OK);
    CHECK_OK(lsmkv_snapshot_create(d.db, &before, &err));
    CHECK(space_drop(&d, "red") == LSMKV_OK);
    lsmkv_namespace *fresh = space_make(&d, "red");
    lsmkv_namespace *blue = space_make(&d, "blue");
    CHECK(space_put(&d, fresh, "key", "new") == LSMKV_OK);
    CHECK_OK(lsmkv_snapshot_create(d.db, &after, &err));
    CHECK(space_drop(&d, "blue") == LSMKV_OK);
    expiry_compact(&d);
    CHECK(names_are(&d, NULL, "red "));
    CHECK(names_are(&d, before, "red "));
    CHECK(names_are(&d, after, "blue red "));
    lsmkv_namespace_how how = {.snapshot = before};
    CHECK(space_open(&d, "red", &how, &old) == LSMKV_OK);
    CHECK_EQ(old->space->id, red->space->id);
    CHECK(space_get(&d, old, before, "key", "old") == LSMKV_OK);
    CHECK(space_get(&d, red, before, "key", "old") == LSMKV_OK);
    CHECK_STATUS(space_get(&d, old, NULL, "key", NULL), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(space_get(&d, fresh, before, "key", NULL), LSMKV_NOT_FOUND);
    CHECK(space_get(&d, fresh, after, "key", "new") == LSMKV_OK);
    lsmkv_namespace_free(old);
    CHECK_STATUS(space_open(&d, "blue", &how, &old), LSMKV_NOT_FOUND);
    how.create = true;
    CHECK_STATUS(space_open(&d, "green", &how, &old), LSMKV_NOT_FOUND);
    lsmkv_namespace_free(red);
    lsmkv_namespace_free(fresh);
    lsmkv_namespace_free(blue);
    lsmkv_snapshot_free(before);
    lsmkv_snapshot_free(after);
    expiry_end(&d);
}

LSM_TEST(handles_of_another_database_are_refused) {
    expiry_db d;
    expiry_db e;
    lsmkv_error err;
    lsmkv_batch *batch;

    expiry_begin(&d);
    expiry_begin(&e);
    lsmkv_namespace *red = space_make(&d, "red");
    lsmkv_namespace *other = space_make(&e, "red");
    CHECK_STATUS(space_put(&e, red, "k", "v"), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(space_get(&e, red, NULL, "k", NULL), LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    lsmkv_write how = {.space = red};
    CHECK_OK(lsmkv_batch_put(batch, &how, word_bytes("k"), word_bytes("v"), &err));
    CHECK_STATUS(lsmkv_write_batch(e.db, NULL, batch, &err), LSMKV_INVALID_ARGUMENT);
    how.space = other;
    CHECK_STATUS(lsmkv_batch_put(batch, &how, word_bytes("k"), word_bytes("v"), &err),
                 LSMKV_INVALID_ARGUMENT);
    lsmkv_batch_clear(batch);
    CHECK_OK(lsmkv_batch_put(batch, &how, word_bytes("k"), word_bytes("v"), &err));
    CHECK_OK(lsmkv_write_batch(e.db, NULL, batch, &err));
    lsmkv_batch_free(batch);
    lsmkv_namespace_free(red);
    lsmkv_namespace_free(other);
    expiry_end(&d);
    expiry_end(&e);
}

static _Atomic uint64_t times_compressed;

static size_t count_compress(void *context, void *dst, size_t capacity, const void *src,
                             size_t size) {
    atomic_fetch_add(&times_compressed, 1);
    return runs_compress(context, dst, capacity, src, size);
}

LSM_TEST(a_namespace_may_have_a_codec_of_its_own) {
    static const lsmkv_codec runs = {.id = 5,
                                     .name = "runs",
                                     .create = runs_create,
                                     .destroy = runs_destroy,
                                     .bound = runs_bound,
                                     .compress = count_compress,
                                     .decompress = runs_decompress};
    expiry_db d;
    lsmkv_error err;
    lsmkv_namespace *packed;
    lsmkv_namespace *plain;
    lsmkv_namespace_how how = {
        .create = true, .has_codec = true, .options = {.codec = 5}};
    char value[200];
    lsmkv_report report;

    memset(value, 'z', sizeof(value));
    value[sizeof(value) - 1] = 0;
    expiry_begin(&d);
    CHECK_OK(lsmkv_register_codec(&runs, &err));
    CHECK(space_open(&d, "packed", &how, &packed) == LSMKV_OK);
    plain = space_make(&d, "plain");
    uint64_t before = atomic_load(&times_compressed);
    for (int i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%d", i);
        CHECK(space_put(&d, plain, key, value) == LSMKV_OK);
        expiry_put(&d, key, value, NEVER);
    }
    expiry_flush(&d);
    CHECK_EQ(atomic_load(&times_compressed), before);
    uint64_t raw = expiry_stats(&d).flush_bytes_written;
    for (int i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%d", i);
        CHECK(space_put(&d, packed, key, value) == LSMKV_OK);
    }
    expiry_flush(&d);
    CHECK(atomic_load(&times_compressed) > before);
    CHECK(expiry_stats(&d).flush_bytes_written - raw < raw / 4);
    expiry_compact(&d);
    for (int i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%d", i);
        CHECK(space_get(&d, packed, NULL, key, value) == LSMKV_OK);
        CHECK(space_get(&d, plain, NULL, key, value) == LSMKV_OK);
    }
    CHECK_OK(lsmkv_verify(d.db, NULL, NULL, &report, &err));
    CHECK_EQ(report.problem_count, 0);
    lsmkv_namespace_free(packed);
    lsmkv_namespace_free(plain);
    expiry_end(&d);
}

LSM_TEST(names_that_are_wrong_and_options_out_of_range_are_refused) {
    expiry_db d;
    lsmkv_namespace *space;
    lsmkv_namespace_how how = {.create = true,
                               .has_blob_threshold = true,
                               .options = {.blob_threshold_bytes = -2}};

    expiry_begin(&d);
    CHECK_STATUS(space_open(&d, "", &how, &space), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(space_open(&d, "\xFF", &how, &space), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(space_open(&d, "s", &how, &space), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(space_drop(&d, ""), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(space_open(&d, "s", NULL, &space), LSMKV_NOT_FOUND);
    expiry_end(&d);
}

/* One batch with values of the same size in namespaces that store them differently,
 * written to a database that has another threshold than the batch expects. */
LSM_TEST(a_namespace_may_have_a_threshold_of_its_own_for_large_values) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_batch *batch;
    lsmkv_namespace *spaces[2];
    char value[200];

    memset(value, 'v', sizeof(value));
    value[sizeof(value) - 1] = 0;
    expiry_begin(&d);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    for (int i = 0; i < 2; i++) {
        lsmkv_namespace_how how = {
            .create = true,
            .has_blob_threshold = true,
            .options = {.blob_threshold_bytes = i == 0 ? 100 : 0}};
        CHECK(space_open(&d, i == 0 ? "apart" : "inline", &how, &spaces[i]) ==
              LSMKV_OK);
        lsmkv_write write = {.space = spaces[i]};
        CHECK_OK(
            lsmkv_batch_put(batch, &write, word_bytes("key"), word_bytes(value), &err));
    }
    d.db->options.blob_threshold = 150;
    CHECK_OK(lsmkv_batch_put(batch, NULL, word_bytes("key"), word_bytes(value), &err));
    CHECK_OK(lsmkv_write_batch(d.db, NULL, batch, &err));
    lsmkv_batch_free(batch);
    uint8_t kinds[3];
    for (uint32_t i = 0; i < 3; i++) {
        uint8_t skey[] = {
            0, 0, 0, (uint8_t)(i == 0 ? 1 : spaces[i - 1]->space->id), 'k', 'e', 'y'};
        lsm_lookup lookup = lsm_lookup_make(lsm_slice_make(skey, sizeof(skey)),
                                            lsm_test_sequence(d.db));
        lsm_found found;
        CHECK_OK(lsm_memtable_get(d.db->mem, &lookup, &found));
        kinds[i] = (uint8_t)lsm_tag_kind(lsm_trailer_tag(found.trailer));
    }
    CHECK_EQ(kinds[0], LSM_KIND_POINTER);
    CHECK_EQ(kinds[1], LSM_KIND_POINTER);
    CHECK_EQ(kinds[2], LSM_KIND_PUT);
    for (int round = 0; round < 2; round++) {
        CHECK(expiry_get(&d, NULL, "key", value));
        CHECK(space_get(&d, spaces[0], NULL, "key", value) == LSMKV_OK);
        CHECK(space_get(&d, spaces[1], NULL, "key", value) == LSMKV_OK);
        expiry_flush(&d);
        expiry_compact(&d);
    }
    lsmkv_namespace_free(spaces[0]);
    lsmkv_namespace_free(spaces[1]);
    expiry_end(&d);
}

/* As a repair may leave it: without the key that counts the namespaces. */
LSM_TEST(ids_of_namespaces_are_not_used_again_when_their_count_is_lost) {
    static const lsm_write_how how = {.alone = true};
    expiry_db d;
    lsmkv_error err;
    lsm_batch batch;
    lsm_system_key key;

    expiry_begin(&d);
    lsmkv_namespace *first = space_make(&d, "first");
    lsmkv_namespace *second = space_make(&d, "second");
    CHECK_OK(space_put(&d, first, "a", "1"));
    CHECK_OK(space_put(&d, second, "a", "2"));
    for (int round = 0; round < 3; round++) {
        lsm_batch_init(&batch);
        lsm_system_key_make(&key, LSM_NEXT_SPACE_KEY, (lsmkv_bytes){NULL, 0});
        CHECK_OK(lsm_batch_delete(&batch, LSM_NAMESPACE_SYSTEM,
                                  lsm_system_key_bytes(&key), &err));
        if (round == 2) { /* not on the list either */
            lsm_system_key_make(&key, LSM_SPACE_PREFIX, word_bytes("second"));
            CHECK_OK(lsm_batch_delete(&batch, LSM_NAMESPACE_SYSTEM,
                                      lsm_system_key_bytes(&key), &err));
        }
        CHECK_OK(lsm_db_write(d.db, &batch, how, &err));
        lsm_batch_deinit(&batch);
        if (round == 1) {
            expiry_flush(&d);
        }
        if (round == 2) {
            lsmkv_namespace_free(first);
            lsmkv_namespace_free(second);
            expiry_reopen(&d);
        }
        lsmkv_namespace *third = space_make(&d, "third");
        CHECK(space_holds(&d, third, ""));
        lsmkv_namespace_free(third);
        CHECK_OK(space_drop(&d, "third"));
    }
    expiry_end(&d);
}
