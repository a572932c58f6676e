/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: batches read back what was put into them, and no payload makes the reader
 * read outside its bytes. Method: round trips against a list, exact bytes, limits at
 * n and n + 1, every truncation and flipped bit in exactly sized copies, random bytes
 * and failing allocations.
 */
#include "db_help.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "format/batch.h"

static lsm_slice payload_of(const lsm_batch *batch) {
    CHECK(batch->count != 0);
    return lsm_slice_make(batch->record.data + LSM_RECORD_HEADER_SIZE,
                          lsm_batch_payload_size(batch));
}

LSM_TEST(batch_has_the_documented_bytes) {
    static const uint8_t expected[] = {
        5, 0, 0, 0, 0, 0, 0,   0,   9, 0,   0,   0,
        0, 0, 0, 0, 2, 0, 0,   0,                     /* header */
        1, 6, 0, 0, 0, 1, 'a', 'b', 3, 'x', 'y', 'z', /* put */
        2, 5, 0, 0, 1, 0, 'c', 0,                     /* delete */
    };
    lsm_batch batch;
    lsmkv_error err;

    lsm_batch_init(&batch);
    CHECK_EQ(lsm_batch_payload_size(&batch), 0);
    CHECK_OK(lsm_batch_put(&batch, 1, bytes_of("ab"), bytes_of("xyz"), &err));
    CHECK_OK(lsm_batch_delete(&batch, 256, bytes_of("c"), &err));
    lsm_batch_stamp(&batch, 5, 9);
    CHECK_EQ(batch.count, 2);
    CHECK(lsm_slice_equal(payload_of(&batch),
                          lsm_slice_make(expected, sizeof(expected))));
    lsm_batch_deinit(&batch);
}

/* Fills the batch with `count` records, of which every third is a delete; sizes are
 * 0.. around the one and two byte varints. */
static void fill_batch(lsm_batch *batch, uint32_t count, const uint8_t *filler) {
    lsmkv_error err;

    for (uint32_t i = 0; i < count; i++) {
        lsmkv_bytes key = {filler, (i * 61) % 260};
        lsmkv_bytes value = {filler, (i * 1009) % 17000};

        if (i % 3 == 2) {
            CHECK_OK(lsm_batch_delete(batch, i, key, &err));
        } else {
            CHECK_OK(lsm_batch_put(batch, i, key, value, &err));
        }
        CHECK(batch->record.capacity - batch->record.size >= LSM_RECORD_ALIGN);
    }
}

LSM_TEST(batch_round_trips_with_every_kind_of_size) {
    enum { COUNT = 1000, FILLER = 17000 };
    uint8_t *filler = lsm_alloc(FILLER);
    lsm_batch_record record;
    lsm_batch_reader reader;
    lsm_batch batch;

    CHECK(filler != NULL);
    for (size_t i = 0; i < FILLER; i++) {
        filler[i] = (uint8_t)(i * 31);
    }
    lsm_batch_init(&batch);
    for (int round = 0; round < 2; round++) {
        fill_batch(&batch, COUNT, filler);
        lsm_batch_stamp(&batch, LSM_SEQUENCE_MAX - COUNT + 1, 77);
        CHECK(lsm_batch_reader_init(&reader, payload_of(&batch)));
        CHECK_EQ(reader.time_ms, 77);
        for (uint32_t i = 0; i < COUNT; i++) {
            bool is_delete = i % 3 == 2;

            CHECK(!lsm_batch_reader_ok(&reader));
            CHECK(lsm_batch_reader_next(&reader, &record));
            CHECK_EQ(record.sequence, LSM_SEQUENCE_MAX - COUNT + 1 + i);
            CHECK_EQ(record.tag, is_delete ? LSM_KIND_DELETE : LSM_KIND_PUT);
            CHECK_EQ(record.skey.size, LSM_NAMESPACE_SIZE + (i * 61) % 260);
            CHECK_EQ(lsm_get_u32_be(record.skey.data), i);
            CHECK(memcmp(record.skey.data + LSM_NAMESPACE_SIZE, filler,
                         record.skey.size - LSM_NAMESPACE_SIZE) == 0);
            CHECK_EQ(record.field.size, is_delete ? 0 : (i * 1009) % 17000);
            CHECK(memcmp(record.field.data, filler, record.field.size) == 0);
        }
        CHECK(!lsm_batch_reader_next(&reader, &record));
        CHECK(lsm_batch_reader_ok(&reader));
        lsm_batch_clear(&batch);
        CHECK_EQ(lsm_batch_payload_size(&batch), 0);
    }
    lsm_batch_deinit(&batch);
    lsm_free(filler);
}

LSM_TEST(batch_takes_empty_keys_and_values_without_memory_behind_them) {
    lsmkv_bytes nothing = {NULL, 0};
    lsm_batch_record record;
    lsm_batch_reader reader;
    lsmkv_error err;
    lsm_batch batch;

    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_put(&batch, 1, nothing, nothing, &err));
    lsm_batch_stamp(&batch, 1, 0);
    CHECK(lsm_batch_reader_init(&reader, payload_of(&batch)));
    CHECK(lsm_batch_reader_next(&reader, &record));
    CHECK_EQ(record.skey.size, LSM_NAMESPACE_SIZE);
    CHECK_EQ(record.field.size, 0);
    CHECK(!lsm_batch_reader_next(&reader, &record));
    CHECK(lsm_batch_reader_ok(&reader));
    lsm_batch_deinit(&batch);
}

LSM_TEST(batch_limits_hold_at_n_and_n_plus_1) {
    uint8_t *filler = lsm_calloc(1, LSMKV_KEY_SIZE_MAX + 1);
    lsmkv_error err;
    lsm_batch batch;

    CHECK(filler != NULL);
    lsmkv_bytes largest = {filler, LSMKV_KEY_SIZE_MAX};
    lsmkv_bytes too_large = {filler, LSMKV_KEY_SIZE_MAX + 1};
    lsmkv_bytes huge_value = {filler, (size_t)LSMKV_VALUE_SIZE_MAX + 1};
    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_put(&batch, 1, largest, bytes_of("v"), &err));
    size_t size = batch.record.size;
    CHECK_STATUS(lsm_batch_put(&batch, 1, too_large, bytes_of("v"), &err),
                 LSMKV_LIMIT_EXCEEDED);
    CHECK_STATUS(lsm_batch_delete(&batch, 1, too_large, &err), LSMKV_LIMIT_EXCEEDED);
    CHECK_STATUS(lsm_batch_put(&batch, 1, bytes_of("k"), huge_value, &err),
                 LSMKV_LIMIT_EXCEEDED);
    huge_value.size = SIZE_MAX;
    CHECK_STATUS(lsm_batch_put(&batch, 1, bytes_of("k"), huge_value, NULL),
                 LSMKV_LIMIT_EXCEEDED);
    CHECK_EQ(batch.record.size, size);
    CHECK_EQ(batch.count, 1);
    lsm_batch_deinit(&batch);
    lsm_free(filler);
}

LSM_TEST(batch_size_limit_holds_at_n_and_n_plus_1) {
    /* The limit is tried by pretending that the batch is nearly full: its bytes are
     * not there, and are not touched unless the record is taken. */
    size_t full = LSM_RECORD_HEADER_SIZE + (size_t)LSMKV_BATCH_SIZE_MAX;
    lsmkv_error err;
    lsm_batch batch;

    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_delete(&batch, 1, bytes_of("k"), &err));
    batch.record.size = full - 7;
    CHECK_STATUS(lsm_batch_delete(&batch, 1, bytes_of("k"), &err),
                 LSMKV_LIMIT_EXCEEDED);
    batch.record.size = full;
    CHECK_STATUS(lsm_batch_delete(&batch, 1, bytes_of(""), &err), LSMKV_LIMIT_EXCEEDED);
    CHECK_EQ(batch.count, 1);
    lsm_alloc_fail_after(0, 1);
    batch.record.size = full - 7;
    batch.record.capacity = batch.record.size;
    CHECK_STATUS(lsm_batch_delete(&batch, 1, bytes_of(""), &err), LSMKV_NO_MEMORY);
    lsm_alloc_fail_never();
    lsm_batch_deinit(&batch);
}

LSM_TEST(batch_is_as_it_was_after_a_failed_allocation) {
    char value[300] = {0};
    lsmkv_bytes large = {value, sizeof(value)};
    lsmkv_error err;
    lsm_batch batch;

    lsm_batch_init(&batch);
    lsm_alloc_fail_after(0, 1);
    CHECK_STATUS(lsm_batch_put(&batch, 1, bytes_of("k"), large, &err), LSMKV_NO_MEMORY);
    lsm_alloc_fail_never();
    CHECK_EQ(batch.count, 0);
    CHECK_OK(lsm_batch_put(&batch, 1, bytes_of("k"), bytes_of("v"), &err));
    lsm_slice before = payload_of(&batch);
    lsm_alloc_fail_after(0, 1);
    CHECK_STATUS(lsm_batch_put(&batch, 1, bytes_of("k"), large, &err), LSMKV_NO_MEMORY);
    lsm_alloc_fail_never();
    CHECK_EQ(batch.count, 1);
    CHECK(lsm_slice_equal(payload_of(&batch), before));
    lsm_batch_deinit(&batch);
}

/* Reads all of a hostile payload, touching every byte it is lent. Returns the number
 * of records, or -1 when the payload is refused. */
static int64_t read_all(lsm_slice payload) {
    lsm_batch_record record;
    lsm_batch_reader reader;
    int64_t count = 0;
    volatile uint8_t sum = 0;

    if (!lsm_batch_reader_init(&reader, payload)) {
        CHECK(!lsm_batch_reader_ok(&reader));
        CHECK(!lsm_batch_reader_next(&reader, &record));
        return -1;
    }
    while (lsm_batch_reader_next(&reader, &record)) {
        CHECK(record.skey.size >= LSM_NAMESPACE_SIZE);
        CHECK(record.skey.size <= LSM_SKEY_SIZE_MAX);
        CHECK(lsm_record_check(record.tag, record.field));
        CHECK(record.sequence <= LSM_SEQUENCE_MAX);
        for (size_t i = 0; i < record.skey.size; i++) {
            sum = (uint8_t)(sum + record.skey.data[i]);
        }
        for (size_t i = 0; i < record.field.size; i++) {
            sum = (uint8_t)(sum + record.field.data[i]);
        }
        count++;
    }
    return lsm_batch_reader_ok(&reader) ? count : -1;
}

/* Reads an exactly sized copy. */
static int64_t read_copy(lsm_slice payload) {
    uint8_t *copy = lsm_alloc(payload.size + 1);

    CHECK(copy != NULL);
    memcpy(copy + 1, payload.data, payload.size);
    int64_t count = read_all(lsm_slice_make(copy + 1, payload.size));
    lsm_free(copy);
    return count;
}

LSM_TEST(batch_reader_refuses_cached_values_in_what_is_no_cache) {
    const lsm_times times = {0};
    const lsm_pointer pointer = {.segment = 3, .offset = 104, .size = 7};

    for (uint32_t id = 0; id < 4; id++) {
        lsm_batch batch;
        lsmkv_error err;
        lsm_batch_init(&batch);
        CHECK_OK(
            lsm_batch_put_cached(&batch, id, &times, bytes_of("key"), &pointer, &err));
        lsm_batch_stamp(&batch, 1, 2);
        CHECK(read_copy(payload_of(&batch)) == (id > LSM_NAMESPACE_DEFAULT ? 1 : -1));
        lsm_batch_deinit(&batch);
    }
}

LSM_TEST(no_truncated_batch_is_read_whole_and_no_flipped_one_crashes) {
    lsmkv_error err;
    lsm_batch batch;

    lsm_batch_init(&batch);
    for (int i = 0; i < 12; i++) {
        char key[16];
        char value[256];
        lsmkv_bytes bytes = {value, (size_t)i * 20};

        (void)snprintf(key, sizeof(key), "key-%d", i);
        memset(value, i, sizeof(value));
        CHECK_OK(i % 4 == 3 ? lsm_batch_delete(&batch, 1, bytes_of(key), &err)
                            : lsm_batch_put(&batch, 1, bytes_of(key), bytes, &err));
    }
    lsm_batch_stamp(&batch, 1, 2);
    lsm_slice payload = payload_of(&batch);
    CHECK_EQ(read_copy(payload), 12);
    for (size_t cut = 0; cut < payload.size; cut++) {
        CHECK(read_copy(lsm_slice_make(payload.data, cut)) == -1);
    }
    for (size_t bit = 0; bit < payload.size * 8; bit++) {
        uint8_t *byte = batch.record.data + LSM_RECORD_HEADER_SIZE + bit / 8;

        *byte ^= (uint8_t)(1 << bit % 8);
        (void)read_copy(payload);
        if (bit / 8 >= 16 && bit / 8 < 20) {
            CHECK(read_copy(payload) == -1); /* the count */
        }
        *byte ^= (uint8_t)(1 << bit % 8);
    }
    lsm_batch_deinit(&batch);
}

LSM_TEST(batch_reader_refuses_impossible_headers) {
    lsmkv_error err;
    lsm_batch batch;

    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_put(&batch, 1, bytes_of(""), bytes_of(""), &err));
    CHECK_OK(lsm_batch_put(&batch, 1, bytes_of(""), bytes_of(""), &err));
    lsm_batch_stamp(&batch, 1, 2);
    uint8_t *payload = batch.record.data + LSM_RECORD_HEADER_SIZE;
    CHECK_EQ(read_copy(payload_of(&batch)), 2);
    lsm_put_u32(payload + 16, 0);
    CHECK(read_copy(payload_of(&batch)) == -1);
    lsm_put_u32(payload + 16, 3);
    CHECK(read_copy(payload_of(&batch)) == -1);
    lsm_put_u32(payload + 16, UINT32_MAX);
    CHECK(read_copy(payload_of(&batch)) == -1);
    lsm_put_u32(payload + 16, 2);
    lsm_put_u64(payload, LSM_SEQUENCE_MAX);
    CHECK(read_copy(payload_of(&batch)) == -1);
    lsm_put_u64(payload, LSM_SEQUENCE_MAX - 1);
    CHECK_EQ(read_copy(payload_of(&batch)), 2);
    lsm_put_u64(payload, UINT64_MAX);
    CHECK(read_copy(payload_of(&batch)) == -1);
    lsm_batch_deinit(&batch);
}

LSM_TEST(batch_reader_refuses_keys_that_are_too_short_or_too_long) {
    size_t size = LSM_BATCH_HEADER_SIZE + 1 + 3 + LSM_SKEY_SIZE_MAX + 1 + 1;
    uint8_t *payload = lsm_calloc(1, size);

    CHECK(payload != NULL);
    lsm_put_u32(payload + 16, 1);
    payload[20] = LSM_KIND_PUT;
    CHECK_EQ(lsm_put_varint(payload + 21, LSM_SKEY_SIZE_MAX), 3);
    CHECK_EQ(read_copy(lsm_slice_make(payload, size - 1)), 1);
    CHECK_EQ(lsm_put_varint(payload + 21, LSM_SKEY_SIZE_MAX + 1), 3);
    CHECK(read_copy(lsm_slice_make(payload, size)) == -1);
    payload[21] = LSM_NAMESPACE_SIZE;
    payload[22] = 0;
    CHECK_EQ(read_copy(lsm_slice_make(payload, 27)), 1);
    payload[21] = LSM_NAMESPACE_SIZE - 1;
    CHECK(read_copy(lsm_slice_make(payload, 26)) == -1);
    lsm_free(payload);
}

LSM_TEST(batch_reader_survives_random_bytes) {
    lsm_rng rng = {20240607};

    for (int round = 0; round < 20000; round++) {
        uint8_t payload[96];
        size_t size = LSM_BATCH_HEADER_SIZE + (size_t)lsm_rng_below(&rng, 76);

        memset(payload, 0, LSM_BATCH_HEADER_SIZE);
        lsm_put_u32(payload + 16, (uint32_t)lsm_rng_below(&rng, 10));
        for (size_t i = LSM_BATCH_HEADER_SIZE; i < size; i++) {
            /* Small numbers are plausible tags and sizes. */
            uint64_t number = lsm_rng_next(&rng);
            payload[i] = (uint8_t)(number & 1 ? number >> 8 : (number >> 8) % 8);
        }
        (void)read_copy(lsm_slice_make(payload, size));
    }
}
