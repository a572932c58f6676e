/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a filter never denies a key it was built from, rarely admits another, and only
 * well-formed bytes open. Method: hashes of counters, counted exactly.
 */
#include "test.h"

#include "base/alloc.h"
#include "base/coding.h"
#include "base/xxh3.h"
#include "format/bloom.h"

enum { KEYS = 100000 };

static uint64_t hash_of(uint64_t number) {
    uint8_t key[8];

    lsm_put_u64(key, number);
    return lsm_xxh3(key, sizeof(key));
}

static void build(lsm_buf *to, size_t count, uint32_t bits_per_key) {
    uint64_t *hashes = lsm_alloc(count * sizeof(*hashes));

    CHECK(hashes != NULL);
    for (size_t i = 0; i < count; i++) {
        hashes[i] = hash_of(i);
    }
    CHECK(lsm_bloom_build(hashes, count, bits_per_key, to));
    lsm_free(hashes);
}

/* False positives in a million, over as many foreign keys as the filter holds. */
static uint64_t rate_of(uint32_t bits_per_key) {
    lsm_buf bytes = {0};
    uint64_t admitted = 0;
    lsm_bloom bloom;

    build(&bytes, KEYS, bits_per_key);
    CHECK(lsm_bloom_open(&bloom, lsm_buf_slice(&bytes)));
    for (uint64_t i = 0; i < KEYS; i++) {
        CHECK(lsm_bloom_may_contain(&bloom, hash_of(i)));
        admitted += lsm_bloom_may_contain(&bloom, hash_of(i + KEYS));
    }
    lsm_buf_deinit(&bytes);
    return admitted * 1000000 / KEYS;
}

LSM_TEST(bloom_admits_every_key_and_about_one_foreign_key_in_a_hundred) {
    uint64_t rate = rate_of(10);

    CHECK(rate > 5000 && rate < 11000);
}

LSM_TEST(bloom_gets_sharper_with_more_bits) {
    uint64_t before = 1000000;

    for (uint32_t bits = 2; bits <= 20; bits += 3) {
        uint64_t rate = rate_of(bits);

        CHECK(rate < before);
        before = rate;
    }
    CHECK(before < 500);
}

LSM_TEST(bloom_works_for_any_number_of_keys) {
    for (size_t count = 1; count < 200; count += 13) {
        for (uint32_t bits = 1; bits < 70; bits += 17) {
            lsm_buf bytes = {0};
            lsm_bloom bloom;

            build(&bytes, count, bits);
            CHECK(lsm_bloom_open(&bloom, lsm_buf_slice(&bytes)));
            for (uint64_t i = 0; i < count; i++) {
                CHECK(lsm_bloom_may_contain(&bloom, hash_of(i)));
            }
            lsm_buf_deinit(&bytes);
        }
    }
}

LSM_TEST(bloom_is_appended_behind_what_is_there) {
    lsm_buf bytes = {0};
    lsm_bloom bloom;

    CHECK(lsm_buf_append(&bytes, "before", 6));
    build(&bytes, 50, 10);
    CHECK(memcmp(bytes.data, "before", 6) == 0);
    CHECK(lsm_bloom_open(&bloom, lsm_slice_make(bytes.data + 6, bytes.size - 6)));
    for (uint64_t i = 0; i < 50; i++) {
        CHECK(lsm_bloom_may_contain(&bloom, hash_of(i)));
    }
    lsm_buf_deinit(&bytes);
}

LSM_TEST(bloom_without_lines_admits_everything) {
    lsm_bloom bloom = {0};

    CHECK(lsm_bloom_may_contain(&bloom, hash_of(1)));
}

LSM_TEST(bloom_rejects_malformed_bytes) {
    lsm_buf bytes = {0};
    lsm_bloom bloom;

    build(&bytes, 100, 10);
    for (size_t size = 0; size < bytes.size; size++) {
        CHECK(!lsm_bloom_open(&bloom, lsm_slice_make(bytes.data, size)));
    }
    for (size_t bit = (bytes.size - LSM_BLOOM_TRAILER_SIZE) * 8; bit < bytes.size * 8;
         bit++) {
        bool probes = bit / 8 == bytes.size - 4;

        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* Some other number of probes is well-formed; checksums are for that. */
        CHECK(probes || !lsm_bloom_open(&bloom, lsm_buf_slice(&bytes)));
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bytes.data[bytes.size - 4] = 0;
    CHECK(!lsm_bloom_open(&bloom, lsm_buf_slice(&bytes)));
    bytes.data[bytes.size - 4] = 17;
    CHECK(!lsm_bloom_open(&bloom, lsm_buf_slice(&bytes)));
    lsm_buf_deinit(&bytes);
}
