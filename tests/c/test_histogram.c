/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: durations are counted in the bucket they belong to, and calls are timed as
 * often as is said. Method: every bucket's ends; a database in the simulator, whose
 * clock the test moves.
 */
#include "expiry_help.h"

#include "base/histogram.h"
#include "db/db.h"

LSM_TEST(buckets_lie_side_by_side_and_are_an_eighth_wide_at_most) {
    uint64_t low = 0;

    for (uint32_t i = 0; i < LSM_HISTOGRAM_BUCKETS; i++) {
        uint64_t bound = lsm_histogram_bound(i);
        CHECK(bound > low);
        CHECK(low < 16 || (bound - low) * 8 <= low);
        CHECK_EQ(lsm_histogram_bucket(low), i);
        CHECK_EQ(lsm_histogram_bucket(bound - 1), i);
        CHECK_EQ(lsmkv_histogram_bound(i), bound);
        low = bound;
    }
    CHECK_EQ(low, (uint64_t)1 << LSM_HISTOGRAM_VALUE_BITS);
    CHECK_EQ(lsm_histogram_bucket(low), LSM_HISTOGRAM_BUCKETS - 1);
    CHECK_EQ(lsm_histogram_bucket(UINT64_MAX), LSM_HISTOGRAM_BUCKETS - 1);
    CHECK_EQ(lsmkv_histogram_bound(UINT32_MAX), low);
}

LSM_TEST(a_histogram_knows_sum_and_max) {
    static lsm_histogram histogram;

    lsm_histogram_add(&histogram, 1000, 64);
    lsm_histogram_add(&histogram, 50, 1);
    CHECK_EQ(atomic_load(&histogram.sum), 64050);
    CHECK_EQ(atomic_load(&histogram.max), 1000);
    CHECK_EQ(atomic_load(&histogram.counts[lsm_histogram_bucket(1000)]), 64);
    CHECK_EQ(atomic_load(&histogram.counts[lsm_histogram_bucket(50)]), 1);
}

static lsmkv_histogram timed(expiry_db *d, lsmkv_latency_kind kind) {
    lsmkv_error err;
    static lsmkv_histogram histogram;

    CHECK_OK(lsmkv_get_latency(d->db, kind, &histogram, &err));
    return histogram;
}

LSM_TEST(one_quick_call_in_64_is_timed_and_counts_for_all) {
    enum { CALLS = 64 * 500 };
    expiry_db d;

    expiry_begin(&d);
    expiry_put(&d, "key", "value", NEVER);
    for (int i = 0; i < CALLS; i++) {
        CHECK(expiry_get(&d, NULL, "key", "value"));
    }
    uint64_t count = timed(&d, LSMKV_LATENCY_GET).count;
    CHECK(count % 64 == 0 && count > CALLS * 9 / 10 && count < CALLS * 11 / 10);
    CHECK_EQ(timed(&d, LSMKV_LATENCY_GET_MANY).count, 0);
    expiry_end(&d);
}

LSM_TEST(what_is_slow_is_timed_each_time) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_lookup lookups[LSM_LATENCY_SLOW];
    lsmkv_write how = {.sync = true};

    expiry_begin(&d);
    for (size_t i = 0; i < LSM_LATENCY_SLOW; i++) {
        lookups[i] = (lsmkv_lookup){.key = word_bytes("key")};
    }
    lsmkv_histogram before = timed(&d, LSMKV_LATENCY_SYNC);
    lsmkv_histogram flushes = timed(&d, LSMKV_LATENCY_FLUSH);
    lsmkv_histogram writes = timed(&d, LSMKV_LATENCY_WRITE);
    for (int i = 0; i < 10; i++) {
        CHECK_OK(lsmkv_put(d.db, &how, word_bytes("key"), word_bytes("value"), &err));
        CHECK_OK(lsmkv_get_many(d.db, NULL, lookups, LSM_LATENCY_SLOW, &pin, &err));
        lsmkv_pin_release(&pin);
    }
    expiry_flush(&d);
    CHECK_EQ(timed(&d, LSMKV_LATENCY_GET_MANY).count, 10);
    CHECK_EQ(timed(&d, LSMKV_LATENCY_WRITE).count - writes.count, 10);
    CHECK(timed(&d, LSMKV_LATENCY_SYNC).count - before.count >= 10);
    CHECK_EQ(timed(&d, LSMKV_LATENCY_FLUSH).count - flushes.count, 1);
    expiry_compact(&d);
    lsmkv_stats stats = expiry_stats(&d);
    CHECK_EQ(timed(&d, LSMKV_LATENCY_COMPACTION).count, stats.compact_count);
    expiry_end(&d);
}

LSM_TEST(durations_follow_the_clock) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_histogram histogram;

    expiry_begin(&d);
    uint64_t begun = lsm_latency_now(&d.db->latencies);
    expiry_pass(&d, 5);
    lsm_latency_note(&d.db->latencies, LSMKV_LATENCY_STALL, begun, 1);
    histogram = timed(&d, LSMKV_LATENCY_STALL);
    CHECK(histogram.max_ns == 5000000 && histogram.sum_ns == 5000000);
    CHECK_EQ(histogram.counts[lsm_histogram_bucket(5000000)], 1);
    CHECK(lsmkv_get_latency(d.db, LSMKV_LATENCY_KINDS, &histogram, &err) ==
          LSMKV_INVALID_ARGUMENT);
    expiry_end(&d);
}
