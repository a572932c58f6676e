/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: arguments out of their limits are refused by every call that takes them, and
 * change nothing. Method: one wrong argument at a time, in a database that has one of
 * everything.
 */
#include "db_help.h"
#include "calls_help.h"

#include "base/alloc.h"

static const uint8_t long_key[LSMKV_KEY_SIZE_MAX + 1] = {1};

LSM_TEST(keys_over_their_limit_are_refused_wherever_they_come_in) {
    lsmkv_bytes key = {long_key, sizeof(long_key)};
    lsmkv_lookup lookups[2] = {{.key = bytes_of("key")}, {.key = key}};
    lsmkv_pair pair = {key, bytes_of("value 8b")};
    lsmkv_keys keys = {.bytes = &key, .count = 1};
    lsmkv_rows rows = {"value 8b", ROW_BYTES, ROW_BYTES};
    lsmkv_view *view = NULL;
    lsmkv_bytes value;
    lsmkv_entry entry;
    lsmkv_pin pin;
    lsmkv_error err;
    size_t count = 9;
    int64_t ttl_ms;
    all a;

    begin(&a);
    lsmkv_write in_cache = {.space = a.cache};
    lsmkv_write since = {.since = a.snapshot};
    const lsmkv_status expected = LSMKV_LIMIT_EXCEEDED;
    CHECK_STATUS(lsmkv_get(a.db, NULL, key, &pin, &err), expected);
    CHECK_STATUS(lsmkv_get_entry(a.db, NULL, key, &entry, &pin, &err), expected);
    CHECK_STATUS(lsmkv_get_view(a.db, NULL, key, &view, &value, &err), expected);
    CHECK_STATUS(lsmkv_get_many(a.db, NULL, lookups, 2, &pin, &err), expected);
    CHECK_STATUS(lsmkv_ttl(a.db, NULL, key, &ttl_ms, &err), expected);
    CHECK_STATUS(lsmkv_put(a.db, NULL, key, bytes_of("v"), &err), expected);
    CHECK_STATUS(lsmkv_put(a.db, &since, key, bytes_of("v"), &err), expected);
    CHECK_STATUS(lsmkv_put(a.db, &in_cache, key, bytes_of("v"), &err), expected);
    CHECK_STATUS(lsmkv_delete(a.db, NULL, key, &err), expected);
    CHECK_STATUS(lsmkv_touch(a.db, NULL, key, &err), expected);
    CHECK_STATUS(lsmkv_batch_put(a.batch, NULL, key, bytes_of("v"), &err), expected);
    CHECK_STATUS(lsmkv_batch_delete(a.batch, NULL, key, &err), expected);
    CHECK_STATUS(lsmkv_batch_put_rows(a.batch, NULL, &keys, &rows, &err), expected);
    CHECK_STATUS(lsmkv_put_rows(a.db, NULL, &keys, &rows, &count, &err), expected);
    CHECK_EQ(count, 0);
    CHECK_STATUS(lsmkv_publish_put(a.publish, NULL, &pair, 1, &err), expected);
    CHECK_EQ(lsmkv_batch_count(a.batch), 1);
    end(&a);
}

LSM_TEST(times_that_make_no_sense_are_refused_wherever_they_come_in) {
    lsmkv_pair pair = {bytes_of("key"), bytes_of("value 8b")};
    lsmkv_error err;
    all a;

    begin(&a);
    for (int what = 0; what < 2; what++) {
        const lsmkv_namespace *spaces[] = {NULL, a.space, a.cache};
        for (size_t i = 0; i < LSM_ARRAY_COUNT(spaces); i++) {
            lsmkv_write how = {.ttl_ms = what == 0 ? -2 : 1000,
                               .stale_ms = what == 1 ? -2 : 0,
                               .space = spaces[i]};
            CHECK_STATUS(
                lsmkv_put(a.db, &how, bytes_of("key"), bytes_of("value 8b"), &err),
                LSMKV_INVALID_ARGUMENT);
            CHECK_STATUS(lsmkv_touch(a.db, &how, bytes_of("key"), &err),
                         LSMKV_INVALID_ARGUMENT);
        }
    }
    lsmkv_write how = {.ttl_ms = -2};
    CHECK_STATUS(lsmkv_publish_put(a.publish, &how, &pair, 1, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_publish_put(a.publish, NULL, &pair, 1, &err));
    CHECK_OK(lsmkv_publish_commit(a.publish, &err));
    end(&a);
}

LSM_TEST(versions_have_names_and_all_of_their_rows) {
    lsmkv_namespace_how cache = {.has_max_bytes = true,
                                 .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_namespace_how plain = {.has_default_ttl = true,
                                 .options = {.default_ttl_ms = 1000000}};
    lsmkv_publish *publish = NULL;
    lsmkv_error err;
    all a;

    begin(&a);
    CHECK_STATUS(lsmkv_publish_begin(a.db, bytes_of("other"), bytes_of("1"), &cache,
                                     &publish, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK(publish == NULL && strstr(err.message, "no cache") != NULL);
    CHECK_STATUS(lsmkv_publish_begin(a.db, bytes_of("other"), bytes_of(""), &plain,
                                     &publish, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(lsmkv_rollback(a.db, bytes_of("name"), bytes_of(""), &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_publish_begin(a.db, bytes_of("other"), bytes_of("1"), &plain,
                                 &publish, &err));
    lsmkv_publish_free(publish);
    end(&a);
}

LSM_TEST(rows_go_into_a_batch_all_of_one_size_and_of_one_database) {
    uint64_t id = 7;
    lsmkv_keys keys = {.ids = &id, .count = 1};
    lsmkv_rows rows = {"value 8b", ROW_BYTES, ROW_BYTES};
    lsmkv_rows none = {"value 8b", 0, ROW_BYTES};
    lsmkv_error err;
    all a;
    all b;

    begin(&a);
    begin(&b);
    lsmkv_write in_a = {.space = a.space};
    lsmkv_write in_b = {.space = b.space};
    CHECK_STATUS(lsmkv_batch_put_rows(a.batch, NULL, &keys, &none, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_batch_put_rows(a.batch, &in_a, &keys, &rows, &err));
    CHECK_STATUS(lsmkv_batch_put_rows(a.batch, &in_b, &keys, &rows, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_EQ(lsmkv_batch_count(a.batch), 2);
    end(&a);
    end(&b);
}

LSM_TEST(a_put_into_a_cache_would_have_to_wait) {
    lsmkv_error err;
    all a;

    begin(&a);
    lsmkv_write how = {.space = a.cache, .nonblocking = true};
    CHECK_STATUS(lsmkv_put(a.db, &how, bytes_of("key"), bytes_of("other 8b"), &err),
                 LSMKV_WOULD_BLOCK);
    end(&a);
}

LSM_TEST(views_hold_small_and_large_values_beyond_the_close) {
    static const char *const names[] = {"key", "large"};
    static const size_t sizes[] = {8, VALUE_SIZE};
    lsmkv_view *views[2] = {NULL, NULL};
    lsmkv_bytes values[2];
    lsmkv_error err;
    all a;

    begin(&a);
    for (size_t i = 0; i < 2; i++) {
        CHECK_OK(lsmkv_get_view(a.db, NULL, bytes_of(names[i]), &views[i], &values[i],
                                &err));
        CHECK_EQ(values[i].size, sizes[i]);
    }
    CHECK_OK(lsmkv_close(a.db, &err));
    CHECK(memcmp(values[0].data, "value 8b", 8) == 0);
    CHECK_EQ(((const uint8_t *)values[1].data)[0], 7);
    for (size_t i = 0; i < 2; i++) {
        lsmkv_view_free(views[i]);
    }
    end(&a);
}

LSM_TEST(a_batch_that_finds_no_memory_is_none) {
    lsmkv_batch *batch = NULL;
    lsmkv_error err;

    lsm_alloc_fail_after(0, 0);
    CHECK_STATUS(lsmkv_batch_create(&batch, &err), LSMKV_NO_MEMORY);
    lsm_alloc_fail_never();
    CHECK(batch == NULL);
    lsmkv_batch_free(batch);
}
