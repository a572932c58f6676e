/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what a publish takes for a large value is as its options have it, value files
 * of replaced rows do not stay, and what it refuses changes nothing. Method: small
 * value files, so that a few values fill several.
 */
#include "publish_help.h"

#include "db/publish.h"

enum { VALUE_SIZE = 2000, LOG_BYTES = 4096, ROWS = 12 };

static void begin_small(expiry_db *d, int64_t blob_threshold) {
    lsmkv_error err;
    lsmkv_options options;

    d->env = lsm_sim_create(5);
    CHECK(d->env != NULL);
    lsmkv_options_init(&options);
    options.log_bytes = LOG_BYTES;
    options.blob_threshold_bytes = blob_threshold;
    options.seed = 7;
    CHECK_OK(lsm_test_open(d->env, "db", &options, &d->db, &err));
}

static void put_value(lsmkv_publish *publish, int index, size_t size) {
    static const char bytes[VALUE_SIZE];
    char key[16];
    lsmkv_error err;

    (void)snprintf(key, sizeof(key), "%04d", index);
    lsmkv_pair pair = {word_bytes(key), {bytes, size}};
    CHECK_OK(lsmkv_publish_put(publish, NULL, &pair, 1, &err));
}

/* Publishes some values with a threshold of their own (-2: none is given); answers how
 * many bytes went to value files. */
static uint64_t bytes_outside(expiry_db *d, const char *version, int64_t threshold) {
    lsmkv_namespace_how how = {.has_blob_threshold = threshold != -2,
                               .options = {.blob_threshold_bytes = threshold}};
    lsmkv_publish *publish = NULL;
    lsmkv_error err;
    uint64_t before = expiry_stats(d).segment_bytes_written;

    CHECK_OK(lsmkv_publish_begin(d->db, word_bytes("n"), word_bytes(version), &how,
                                 &publish, &err));
    for (int i = 0; i < ROWS; i++) {
        put_value(publish, i, VALUE_SIZE);
    }
    put_value(publish, ROWS, 0); /* is never outside */
    commit(publish);
    CHECK(files_match(d));
    verify(d);
    return expiry_stats(d).segment_bytes_written - before;
}

LSM_TEST(a_version_has_a_threshold_of_its_own_for_large_values) {
    const uint64_t all = (uint64_t)ROWS * VALUE_SIZE;
    expiry_db d;

    begin_small(&d, VALUE_SIZE);
    CHECK(bytes_outside(&d, "1", -2) >= all);
    CHECK(bytes_outside(&d, "2", -1) >= all);
    CHECK_EQ(bytes_outside(&d, "3", 0), 0);
    CHECK_EQ(bytes_outside(&d, "4", VALUE_SIZE + 1), 0);
    CHECK(bytes_outside(&d, "5", 1) >= all);
    expiry_end(&d);
    begin_small(&d, 0); /* never, but where a version says so */
    CHECK_EQ(bytes_outside(&d, "1", -1), 0);
    CHECK(bytes_outside(&d, "2", 1) >= all);
    expiry_end(&d);
}

LSM_TEST(value_files_of_rows_that_were_replaced_go_and_the_others_stay) {
    expiry_db d;
    lsmkv_publish *publish = NULL;

    begin_small(&d, VALUE_SIZE);
    publish = begun(&d, "n", "1");
    for (int i = 0; i < ROWS; i++) {
        put_value(publish, i, VALUE_SIZE);
    }
    CHECK(publish->edit.segment_count >= 3);
    for (int i = 0; i < ROWS / 2; i++) {
        put_value(publish, i, 1);
    }
    commit(publish);
    lsmkv_stats stats = expiry_stats(&d);
    CHECK(stats.segment_live_bytes >= ROWS / 2 * VALUE_SIZE);
    CHECK(stats.segment_live_bytes < (ROWS - 2) * VALUE_SIZE);
    CHECK(versions_are(&d, "n", "n/1*:12 "));
    CHECK(files_match(&d));
    verify(&d);
    expiry_reopen(&d);
    CHECK(files_match(&d));
    verify(&d);
    expiry_end(&d);
}

LSM_TEST(a_publish_refuses_what_is_too_large_and_every_row_once_it_has_ended) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_pair huge = {{"key", 3}, {"value", (size_t)LSMKV_VALUE_SIZE_MAX + 1}};
    lsmkv_pair pair = {{"key", 3}, {"value", 5}};
    lsmkv_write longest = {.ttl_ms = INT64_MAX};

    begin_small(&d, VALUE_SIZE);
    for (int aborts = 0; aborts < 2; aborts++) {
        lsmkv_publish *publish = begun(&d, "n", aborts ? "2" : "1");
        CHECK_STATUS(lsmkv_publish_put(publish, NULL, &huge, 1, &err),
                     LSMKV_LIMIT_EXCEEDED);
        CHECK_OK(lsmkv_publish_put(publish, &longest, &pair, 1, &err));
        CHECK_OK(aborts ? lsmkv_publish_abort(publish, &err)
                        : lsmkv_publish_commit(publish, &err));
        CHECK_STATUS(lsmkv_publish_put(publish, NULL, &pair, 1, &err),
                     LSMKV_INVALID_ARGUMENT);
        CHECK(strstr(err.message, "has ended") != NULL);
        CHECK_OK(lsmkv_publish_abort(publish, &err));
        lsmkv_publish_free(publish);
        CHECK(published_shows(&d, "n", "key=value "));
    }
    CHECK(versions_are(&d, "", "n/1*:1 "));
    expiry_end(&d);
}
