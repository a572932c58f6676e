/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: of a record file, nothing damaged, misplaced or cut is taken for valid.
 * Method: round trips, every truncation, every flipped bit, fields patched behind a
 * checksum made right again; exactly sized copies, so that the sanitizers see reads
 * outside.
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "base/xxh3.h"
#include "format/record.h"

enum { FILE_ID = 0x5eed, OFFSET = 640, SYNCED_TO = 512 };

static lsm_record_file_header sample_header(void) {
    lsm_record_file_header header = {
        .type = LSM_FILE_LOG,
        .number = 12,
        .file_id = 0x8877665544332211,
        .previous_sequence = 1000,
    };

    for (int i = 0; i < LSM_UUID_SIZE; i++) {
        header.uuid[i] = (uint8_t)(200 + i);
    }
    return header;
}

static lsmkv_status decode_header(const uint8_t *bytes, size_t size,
                                  lsm_record_file_header *header, lsmkv_error *err) {
    return lsm_record_file_header_decode(bytes, size, "000012.log", header, err);
}

LSM_TEST(file_header_round_trips) {
    lsm_record_file_header header = sample_header();
    lsm_record_file_header found;
    uint8_t bytes[LSM_RECORD_FILE_HEADER_SIZE];
    lsmkv_error err;

    lsm_record_file_header_encode(&header, bytes);
    CHECK(memcmp(bytes, "LSMKVREC\x01\x00\x00\x00\x01\x00\x00\x00", 16) == 0);
    CHECK_OK(decode_header(bytes, sizeof(bytes), &found, &err));
    CHECK_EQ(found.type, LSM_FILE_LOG);
    CHECK(memcmp(found.uuid, header.uuid, LSM_UUID_SIZE) == 0);
    CHECK_EQ(found.number, 12);
    CHECK_EQ(found.file_id, header.file_id);
    CHECK_EQ(found.previous_sequence, 1000);
}

LSM_TEST(every_truncation_and_flipped_bit_of_a_file_header_is_an_error) {
    lsm_record_file_header header = sample_header();
    lsm_record_file_header found;
    uint8_t bytes[LSM_RECORD_FILE_HEADER_SIZE];
    lsmkv_error err;

    lsm_record_file_header_encode(&header, bytes);
    for (size_t cut = 0; cut < sizeof(bytes); cut++) {
        CHECK_STATUS(decode_header(bytes, cut, &found, &err), LSMKV_CORRUPTION);
        CHECK(strcmp(err.file, "000012.log") == 0);
    }
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_STATUS(decode_header(bytes, sizeof(bytes), &found, &err),
                     bit < 64 ? LSMKV_NOT_A_DATABASE : LSMKV_CORRUPTION);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

LSM_TEST(file_header_of_a_later_version_or_unknown_type_is_told_apart) {
    lsm_record_file_header header = sample_header();
    lsm_record_file_header found;
    uint8_t bytes[LSM_RECORD_FILE_HEADER_SIZE];
    lsmkv_error err;

    lsm_record_file_header_encode(&header, bytes);
    lsm_put_u32(bytes + 8, 2);
    lsm_put_u64(bytes + 56, lsm_xxh3(bytes, 56));
    CHECK_STATUS(decode_header(bytes, sizeof(bytes), &found, &err),
                 LSMKV_UNSUPPORTED_VERSION);
    lsm_put_u32(bytes + 8, 1);
    for (uint32_t type = 0; type <= 5; type += 5) {
        lsm_put_u32(bytes + 12, type);
        lsm_put_u64(bytes + 56, lsm_xxh3(bytes, 56));
        CHECK_STATUS(decode_header(bytes, sizeof(bytes), &found, &err),
                     LSMKV_UNSUPPORTED_VERSION);
        CHECK_EQ(err.offset, 12);
        CHECK_EQ(found.type, LSM_FILE_NONE);
    }
}

LSM_TEST(uuids_are_found_among_those_that_are_there_and_in_an_empty_list_none) {
    static const uint8_t list[][LSM_UUID_SIZE] = {{1}, {3}, {3, 1}, {9}};
    static const uint8_t missing[][LSM_UUID_SIZE] = {{0}, {2}, {3, 0, 1}, {10}};
    const lsm_uuids uuids = {list, LSM_ARRAY_COUNT(list)};

    for (size_t i = 0; i < uuids.count; i++) {
        CHECK(lsm_uuids_have(uuids, list[i]));
        CHECK(!lsm_uuids_have(uuids, missing[i]));
        CHECK(!lsm_uuids_have((lsm_uuids){0}, list[i]));
    }
}

/* A sealed record with `size` payload bytes in exactly sized memory; free it. */
static uint8_t *make_record(size_t size, lsm_record_type type) {
    lsm_record_place place = {FILE_ID, OFFSET, SYNCED_TO};
    uint8_t *bytes = lsm_alloc((size_t)lsm_record_size(size));

    CHECK(bytes != NULL);
    memset(bytes, 0xEE, (size_t)lsm_record_size(size));
    for (size_t i = 0; i < size; i++) {
        bytes[LSM_RECORD_HEADER_SIZE + i] = (uint8_t)(i * 7 + 3);
    }
    lsm_record_seal(bytes, size, type, place);
    return bytes;
}

static bool parse(const uint8_t *bytes, size_t size, lsm_record *record) {
    return lsm_record_parse(lsm_slice_make(bytes, size), FILE_ID, OFFSET, record);
}

LSM_TEST(records_round_trip_at_every_padding) {
    for (size_t size = 0; size < 40; size++) {
        uint8_t *bytes = make_record(size, LSM_RECORD_BATCH);
        size_t total = (size_t)lsm_record_size(size);
        uint64_t peeked = 0;
        lsm_record record;

        CHECK_EQ(total % LSM_RECORD_ALIGN, 0);
        CHECK(lsm_record_peek(bytes, OFFSET, &peeked));
        CHECK_EQ(peeked, total);
        CHECK(parse(bytes, total, &record));
        CHECK_EQ(record.type, LSM_RECORD_BATCH);
        CHECK_EQ(record.offset, OFFSET);
        CHECK_EQ(record.synced_to, SYNCED_TO);
        CHECK_EQ(record.size, total);
        CHECK_EQ(record.payload.size, size);
        CHECK(record.payload.data == bytes + LSM_RECORD_HEADER_SIZE);
        for (size_t i = 0; i < size; i++) {
            CHECK_EQ(record.payload.data[i], (uint8_t)(i * 7 + 3));
        }
        lsm_free(bytes);
    }
}

LSM_TEST(every_truncation_and_flipped_bit_of_a_record_is_refused) {
    static const size_t sizes[] = {0, 1, 8, 23, 200, 1000};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(sizes); i++) {
        uint8_t *bytes = make_record(sizes[i], LSM_RECORD_EDIT);
        size_t total = (size_t)lsm_record_size(sizes[i]);
        lsm_record record;

        for (size_t bit = 0; bit < total * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK(!parse(bytes, total, &record));
            CHECK_EQ(record.size, 0);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        CHECK(parse(bytes, total, &record));
        for (size_t cut = 0; cut < total; cut++) {
            uint8_t *copy = lsm_alloc(cut + 1);

            CHECK(copy != NULL);
            memcpy(copy + 1, bytes, cut);
            CHECK(!parse(copy + 1, cut, &record));
            lsm_free(copy);
        }
        lsm_free(bytes);
    }
}

LSM_TEST(records_are_bound_to_their_file_and_offset) {
    uint8_t *bytes = make_record(100, LSM_RECORD_BATCH);
    lsm_slice slice = lsm_slice_make(bytes, (size_t)lsm_record_size(100));
    lsm_record record;

    CHECK(!lsm_record_parse(slice, FILE_ID + 1, OFFSET, &record));
    CHECK(!lsm_record_parse(slice, FILE_ID, OFFSET + 8, &record));
    CHECK(!lsm_record_parse(slice, FILE_ID, OFFSET + 1, &record));
    CHECK(lsm_record_parse(slice, FILE_ID, OFFSET, &record));
    lsm_free(bytes);
}

/* Makes the checksum of a record right again after its bytes were changed. */
static void reseal(uint8_t *bytes, size_t size) {
    lsm_put_u64(bytes, lsm_checksum(FILE_ID, OFFSET, bytes + 8, size - 8));
}

LSM_TEST(records_that_claim_more_than_their_own_offset_is_durable_are_refused) {
    uint8_t *bytes = make_record(0, LSM_RECORD_MARK);
    lsm_record record;

    CHECK(parse(bytes, LSM_RECORD_HEADER_SIZE, &record));
    lsm_put_u64(bytes + 16, OFFSET);
    reseal(bytes, LSM_RECORD_HEADER_SIZE);
    CHECK(parse(bytes, LSM_RECORD_HEADER_SIZE, &record));
    CHECK_EQ(record.synced_to, OFFSET);
    lsm_put_u64(bytes + 16, OFFSET + 1);
    reseal(bytes, LSM_RECORD_HEADER_SIZE);
    CHECK(!parse(bytes, LSM_RECORD_HEADER_SIZE, &record));
    lsm_free(bytes);
}

LSM_TEST(records_with_impossible_fields_are_refused_in_spite_of_their_checksum) {
    size_t size = (size_t)lsm_record_size(13);
    lsm_record record;
    uint64_t peeked = 0;

    for (uint32_t type = 0; type < 256; type++) {
        uint8_t *bytes = make_record(13, LSM_RECORD_BATCH);
        bool known = type == LSM_RECORD_BATCH || type == LSM_RECORD_EDIT ||
                     type == LSM_RECORD_VALUES;

        bytes[12] = (uint8_t)type; /* a mark has no payload */
        reseal(bytes, size);
        CHECK_EQ(parse(bytes, size, &record), known);
        lsm_free(bytes);
    }
    for (size_t at = 13; at < 16; at++) {
        uint8_t *bytes = make_record(13, LSM_RECORD_BATCH);

        bytes[at] = 1;
        reseal(bytes, size);
        CHECK(!parse(bytes, size, &record));
        lsm_free(bytes);
    }
    for (size_t at = LSM_RECORD_HEADER_SIZE + 13; at < size; at++) {
        uint8_t *bytes = make_record(13, LSM_RECORD_BATCH);

        bytes[at] = 1;
        reseal(bytes, size);
        CHECK(!parse(bytes, size, &record));
        lsm_free(bytes);
    }
    uint8_t *bytes = make_record(13, LSM_RECORD_BATCH);
    lsm_put_u32(bytes + 8, LSM_RECORD_PAYLOAD_MAX);
    CHECK(lsm_record_peek(bytes, OFFSET, &peeked));
    CHECK(!parse(bytes, size, &record));
    lsm_put_u32(bytes + 8, (uint32_t)LSM_RECORD_PAYLOAD_MAX + 1);
    CHECK(!lsm_record_peek(bytes, OFFSET, &peeked));
    lsm_put_u32(bytes + 8, UINT32_MAX);
    CHECK(!lsm_record_peek(bytes, OFFSET, &peeked));
    CHECK(!parse(bytes, size, &record));
    lsm_free(bytes);
}

LSM_TEST(zeros_are_no_record) {
    uint8_t *bytes = lsm_calloc(1, 4096);
    lsm_record record;

    CHECK(bytes != NULL);
    for (uint64_t offset = 0; offset < 4096; offset += 8) {
        CHECK(!lsm_record_parse(lsm_slice_make(bytes, 4096), 0, offset, &record));
    }
    lsm_free(bytes);
}
