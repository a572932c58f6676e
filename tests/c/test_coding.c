/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: integers have one encoding, and no input makes a decoder read outside its
 * bytes. Method: exact bytes, boundary values, every truncation, random bytes with
 * the seed in the source; the sanitizers watch the bounds of exactly sized buffers.
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "base/rng.h"

static lsm_reader reader_of(const void *data, size_t size) {
    return lsm_reader_make(lsm_slice_make(data, size));
}

LSM_TEST(fixed_integers_have_exact_bytes) {
    uint8_t bytes[8];

    lsm_put_u16(bytes, 0x0102);
    CHECK(memcmp(bytes, "\x02\x01", 2) == 0);
    CHECK_EQ(lsm_get_u16(bytes), 0x0102);
    lsm_put_u32(bytes, 0xf1020304);
    CHECK(memcmp(bytes, "\x04\x03\x02\xf1", 4) == 0);
    CHECK_EQ(lsm_get_u32(bytes), 0xf1020304);
    lsm_put_u32_be(bytes, 0xf1020304);
    CHECK(memcmp(bytes, "\xf1\x02\x03\x04", 4) == 0);
    CHECK_EQ(lsm_get_u32_be(bytes), 0xf1020304);
    lsm_put_u64(bytes, 0xf102030405060708);
    CHECK(memcmp(bytes, "\x08\x07\x06\x05\x04\x03\x02\xf1", 8) == 0);
    CHECK_EQ(lsm_get_u64(bytes), 0xf102030405060708);
    CHECK_EQ(lsm_get_u64_be(bytes), 0x08070605040302f1);
}

LSM_TEST(varints_round_trip_at_every_size) {
    for (unsigned bits = 0; bits <= 64; bits++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t base = bits == 64 ? 0 : (uint64_t)1 << bits;
            uint64_t value = base + (uint64_t)(int64_t)delta;
            uint64_t found = 0;
            uint8_t bytes[LSM_VARINT_SIZE_MAX];
            size_t size = lsm_put_varint(bytes, value);
            lsm_reader reader = reader_of(bytes, size);

            CHECK_EQ(lsm_varint_size(value), size);
            CHECK(lsm_read_varint(&reader, &found));
            CHECK_EQ(found, value);
            CHECK(lsm_reader_done(&reader));
        }
    }
}

LSM_TEST(varints_have_exact_bytes) {
    uint8_t bytes[LSM_VARINT_SIZE_MAX];

    CHECK_EQ(lsm_put_varint(bytes, 0), 1);
    CHECK_EQ(bytes[0], 0);
    CHECK_EQ(lsm_put_varint(bytes, 127), 1);
    CHECK_EQ(bytes[0], 127);
    CHECK_EQ(lsm_put_varint(bytes, 128), 2);
    CHECK(memcmp(bytes, "\x80\x01", 2) == 0);
    CHECK_EQ(lsm_put_varint(bytes, UINT64_MAX), 10);
    CHECK(memcmp(bytes, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10) == 0);
}

/* Whether the bytes are one whole varint for the 64-bit and the 32-bit reader. */
static void check_varint(const char *bytes, size_t size, bool ok_64, bool ok_32) {
    lsm_reader reader = reader_of(bytes, size);
    const uint8_t *from = reader.at;
    const uint8_t *after = NULL;
    uint64_t wide = 1;
    uint32_t narrow = 1;

    CHECK_EQ(lsm_read_varint(&reader, &wide), ok_64);
    CHECK(ok_64 || (wide == 0 && reader.failed && reader.at == from));
    reader = reader_of(bytes, size);
    CHECK_EQ(lsm_read_varint32(&reader, &narrow), ok_32);
    CHECK(ok_32 || (narrow == 0 && reader.failed && reader.at == from));
    after = lsm_get_varint32(from, from + size, &narrow);
    CHECK(after == (ok_32 ? from + size : NULL));
    CHECK(!ok_32 || narrow == wide);
}

LSM_TEST(overlong_too_large_and_cut_varints_are_rejected) {
    check_varint("\x00", 1, true, true);
    check_varint("\x80\x00", 2, false, false);
    check_varint("\xff\x80\x00", 3, false, false);
    check_varint("\x81\x01", 2, true, true);
    check_varint("\x81", 1, false, false);
    check_varint("", 0, false, false);
    check_varint("\xff\xff\xff\xff\x0f", 5, true, true);
    check_varint("\xff\xff\xff\xff\x10", 5, true, false);
    check_varint("\x80\x80\x80\x80\x80\x01", 6, true, false);
    check_varint("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, true, false);
    check_varint("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, false, false);
    check_varint("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, false, false);
}

LSM_TEST(what_decodes_from_random_bytes_encodes_to_the_same_bytes) {
    lsm_rng rng = {11};
    int decoded = 0;

    for (int i = 0; i < 20000; i++) {
        size_t size = (size_t)lsm_rng_below(&rng, 13);
        uint8_t *bytes = lsm_alloc(size + (size == 0));
        uint8_t again[LSM_VARINT_SIZE_MAX];
        uint64_t value = 0;
        lsm_reader reader;

        CHECK(bytes != NULL);
        for (size_t j = 0; j < size; j++) {
            bytes[j] = (uint8_t)(lsm_rng_next(&rng) | (i % 2 == 0 ? 0x80 : 0));
        }
        reader = reader_of(bytes, size);
        while (lsm_read_varint(&reader, &value)) {
            size_t length = lsm_put_varint(again, value);

            CHECK(memcmp(again, reader.at - length, length) == 0);
            decoded++;
        }
        lsm_free(bytes);
    }
    CHECK(decoded > 1000);
}

LSM_TEST(the_reader_consumes_fields_in_order) {
    static const uint8_t bytes[] = {7, 4, 3, 2, 1, 8,   0,   0,   0, 0,
                                    0, 0, 0, 9, 2, 'h', 'i', 'x', 0, 0};
    lsm_reader reader = reader_of(bytes, sizeof(bytes));
    lsm_slice slice;
    uint8_t u8 = 0;
    uint32_t u32 = 0;
    uint64_t u64 = 0;

    CHECK(lsm_read_u8(&reader, &u8) && u8 == 7);
    CHECK(lsm_read_u32(&reader, &u32) && u32 == 0x01020304);
    CHECK(lsm_read_u64(&reader, &u64) && u64 == 8);
    CHECK(lsm_read_varint32(&reader, &u32) && u32 == 9);
    CHECK(lsm_read_slice(&reader, &slice));
    CHECK(lsm_slice_equal(slice, lsm_slice_make("hi", 2)));
    CHECK(lsm_read_bytes(&reader, 1, &slice) && slice.data[0] == 'x');
    CHECK_EQ(lsm_reader_left(&reader), 2);
    CHECK(!lsm_reader_done(&reader));
    CHECK(lsm_read_zeros(&reader, 2));
    CHECK(lsm_reader_done(&reader));
    CHECK(lsm_read_bytes(&reader, 0, &slice) && lsm_read_zeros(&reader, 0));
}

LSM_TEST(a_failed_reader_fails_every_later_read_and_stays_where_it_was) {
    static const uint8_t bytes[] = {1, 2, 3};
    lsm_reader reader = reader_of(bytes, sizeof(bytes));
    lsm_slice slice = lsm_slice_make(bytes, 1);
    uint8_t u8 = 1;
    uint32_t u32 = 1;
    uint64_t u64 = 1;

    CHECK(!lsm_read_u32(&reader, &u32) && u32 == 0);
    CHECK(!lsm_read_u8(&reader, &u8) && u8 == 0);
    CHECK(!lsm_read_u64(&reader, &u64) && u64 == 0);
    CHECK(!lsm_read_varint(&reader, &u64));
    CHECK(!lsm_read_bytes(&reader, 0, &slice) && slice.size == 0);
    CHECK(!lsm_read_slice(&reader, &slice));
    CHECK(!lsm_read_zeros(&reader, 0));
    CHECK(reader.at == bytes && reader.failed && !lsm_reader_done(&reader));
}

LSM_TEST(slices_longer_than_the_rest_are_rejected) {
    static const uint8_t bytes[] = {3, 'a', 'b'};
    uint8_t huge[LSM_VARINT_SIZE_MAX];
    size_t size = lsm_put_varint(huge, UINT64_MAX);
    lsm_reader reader = reader_of(bytes, sizeof(bytes));
    lsm_slice slice;

    CHECK(!lsm_read_slice(&reader, &slice) && slice.data == NULL && slice.size == 0);
    CHECK(reader.at == bytes);
    reader = reader_of(huge, size);
    CHECK(!lsm_read_slice(&reader, &slice));
    reader = reader_of(bytes, sizeof(bytes));
    CHECK(!lsm_read_bytes(&reader, SIZE_MAX, &slice));
}

LSM_TEST(zeros_must_be_zero) {
    static const uint8_t bytes[] = {0, 0, 0, 1};
    lsm_reader reader = reader_of(bytes, sizeof(bytes));

    CHECK(!lsm_read_zeros(&reader, 4));
    CHECK(reader.failed && reader.at == bytes);
    reader = reader_of(bytes, sizeof(bytes));
    CHECK(lsm_read_zeros(&reader, 3));
    CHECK(!lsm_read_zeros(&reader, 2));
}

LSM_TEST(sums_and_products_report_overflow) {
    uint64_t result = 0;

    CHECK(lsm_add_ok(UINT64_MAX, 0, &result) && result == UINT64_MAX);
    CHECK(!lsm_add_ok(UINT64_MAX, 1, &result));
    CHECK(!lsm_add_ok(1, UINT64_MAX, &result));
    CHECK(lsm_mul_ok(0, UINT64_MAX, &result) && result == 0);
    CHECK(lsm_mul_ok(UINT64_MAX, 0, &result) && result == 0);
    CHECK(lsm_mul_ok(UINT32_MAX, UINT32_MAX, &result));
    CHECK_EQ(result, 0xfffffffe00000001u);
    CHECK(!lsm_mul_ok((uint64_t)1 << 32, (uint64_t)1 << 32, &result));
}
