/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a hot list comes back as it was written, and nothing else passes for one.
 * Method: round trips; every truncation and every flipped bit of a list; lists with
 * right checksums around groups that make no sense.
 */
#include "test.h"

#include <string.h>

#include "base/xxh3.h"
#include "format/hotlist.h"

static const uint8_t uuid[LSM_UUID_SIZE] = {1, 2, 3};

static lsmkv_status decode(const lsm_buf *file, lsm_slice *groups) {
    lsmkv_error err;
    lsmkv_status status = lsm_hotlist_decode(lsm_buf_slice(file), uuid, groups, &err);

    CHECK(status == LSMKV_OK || (status == LSMKV_CORRUPTION && groups->size == 0 &&
                                 strcmp(err.file, "HOTLIST") == 0));
    return status;
}

/* Two tables, of which one has blocks of two heats, and a segment. */
static void build(lsm_buf *file) {
    lsm_hotlist_builder builder = {0};

    CHECK(lsm_hotlist_add(&builder, 8, 7, 0, 100));
    CHECK(lsm_hotlist_add(&builder, 1, 7, 1, 50));
    CHECK(lsm_hotlist_add(&builder, 8, 7, 2, 100));
    CHECK(lsm_hotlist_end(&builder));
    CHECK(lsm_hotlist_end(&builder)); /* a file with nothing in it */
    CHECK(lsm_hotlist_add(&builder, 8, 1000000, UINT32_MAX, 1));
    CHECK(lsm_hotlist_end(&builder));
    CHECK(lsm_hotlist_add(&builder, LSM_HOTLIST_VALUES, 9, 1, 5000));
    CHECK(lsm_hotlist_add(&builder, LSM_HOTLIST_VALUES, 9, 200, 0));
    CHECK(lsm_hotlist_end(&builder));
    CHECK_EQ(builder.bytes, 5251);
    CHECK(lsm_hotlist_finish(&builder, uuid, file));
    lsm_hotlist_builder_deinit(&builder);
}

typedef struct expected_group {
    lsm_hotlist_group group;
    uint32_t places[2];
} expected_group;

LSM_TEST(hot_list_comes_back_hottest_first) {
    static const expected_group expected[] = {
        {{8, 7, 200, 2, {NULL, 0}}, {0, 2}},
        {{8, 1000000, 1, 1, {NULL, 0}}, {UINT32_MAX, 0}},
        {{1, 7, 50, 1, {NULL, 0}}, {1, 0}},
        {{0, 9, 5000, 2, {NULL, 0}}, {1, 200}},
    };
    lsm_buf file = {0};
    lsm_slice groups;
    lsm_hotlist_group group;

    build(&file);
    CHECK_EQ(decode(&file, &groups), LSMKV_OK);
    lsm_reader reader = lsm_reader_make(groups);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(expected); i++) {
        uint32_t place = 0;
        CHECK(lsm_hotlist_next_group(&reader, &group));
        CHECK_EQ(group.heat, expected[i].group.heat);
        CHECK_EQ(group.number, expected[i].group.number);
        CHECK_EQ(group.bytes, expected[i].group.bytes);
        CHECK_EQ(group.count, expected[i].group.count);
        lsm_hotlist_cursor cursor = lsm_hotlist_cursor_make(&group);
        for (uint32_t k = 0; k < group.count; k++) {
            CHECK(lsm_hotlist_next_place(&cursor, &place));
            CHECK_EQ(place, expected[i].places[k]);
        }
        CHECK(!lsm_hotlist_next_place(&cursor, &place));
    }
    CHECK(!lsm_hotlist_next_group(&reader, &group));
    CHECK(lsm_reader_done(&reader));
    lsm_buf_deinit(&file);
}

LSM_TEST(hot_list_of_nothing_is_a_header) {
    lsm_hotlist_builder builder = {0};
    lsm_buf file = {0};
    lsm_slice groups;

    CHECK(lsm_hotlist_finish(&builder, uuid, &file));
    CHECK_EQ(file.size, LSM_HOTLIST_HEADER_SIZE);
    CHECK_EQ(decode(&file, &groups), LSMKV_OK);
    CHECK_EQ(groups.size, 0);
    lsm_hotlist_builder_deinit(&builder);
    lsm_buf_deinit(&file);
}

LSM_TEST(every_truncation_and_flipped_bit_of_a_hot_list_is_found) {
    lsm_buf file = {0};
    lsm_slice groups;

    build(&file);
    size_t size = file.size;
    for (file.size = 0; file.size < size; file.size++) {
        CHECK_EQ(decode(&file, &groups), LSMKV_CORRUPTION);
    }
    for (size_t bit = 0; bit < size * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK_EQ(decode(&file, &groups), LSMKV_CORRUPTION);
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(lsm_buf_append_u8(&file, 0));
    CHECK_EQ(decode(&file, &groups), LSMKV_CORRUPTION);
    lsm_buf_deinit(&file);
}

LSM_TEST(hot_list_of_another_database_is_none) {
    static const uint8_t other[LSM_UUID_SIZE] = {1, 2, 4};
    lsm_buf file = {0};
    lsm_slice groups;
    lsmkv_error err;

    build(&file);
    CHECK_STATUS(lsm_hotlist_decode(lsm_buf_slice(&file), other, &groups, &err),
                 LSMKV_CORRUPTION);
    lsm_buf_deinit(&file);
}

/* A file around these groups whose checksums hold. */
static void forge(lsm_buf *file, const void *groups, size_t size) {
    lsm_buf_clear(file);
    CHECK(lsm_buf_append_zeros(file, LSM_HOTLIST_HEADER_SIZE));
    CHECK(lsm_buf_append(file, groups, size));
    memcpy(file->data, "LSMKVHOT", 8);
    lsm_put_u32(file->data + 8, LSM_HOTLIST_VERSION);
    memcpy(file->data + 16, uuid, sizeof(uuid));
    lsm_put_u64(file->data + 32, size);
    lsm_put_u64(file->data + 40, lsm_xxh3(groups, size));
    lsm_put_u64(file->data + 56, lsm_xxh3(file->data, 56));
}

typedef struct forged {
    size_t size;
    uint8_t bytes[24];
} forged;

LSM_TEST(groups_that_make_no_sense_are_refused_under_right_checksums) {
    static const forged right = {5, {8, 7, 1, 0, 9}};
    static const forged wrong[] = {
        {4, {8, 7, 0, 9}},                                   /* no place */
        {5, {9, 7, 1, 0, 9}},                                /* too hot */
        {5, {8, 0, 1, 0, 9}},                                /* no number */
        {4, {8, 7, 1, 0}},                                   /* no bytes */
        {3, {8, 7, 1}},                                      /* no end */
        {1, {8}},                                            /* nothing else */
        {6, {8, 7, 0x81, 0, 0, 9}},                          /* overlong varint */
        {9, {8, 7, 0x81, 0x80, 0x80, 0x80, 0x10, 0, 9}},     /* gap of 2^32 + 1 */
        {10, {8, 7, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 0, 9}}, /* place 2^32 */
        {10, {8, 7, 1, 0, 9, 8, 7, 1, 0, 9}},                /* a table twice */
        {10, {8, 7, 1, 0, 9, 8, 6, 1, 0, 9}},                /* numbers descend */
        {10, {1, 7, 1, 0, 9, 8, 8, 1, 0, 9}},                /* heats ascend */
        {13, {8, 7, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0}},
    };
    lsm_buf file = {0};
    lsm_slice groups;

    forge(&file, right.bytes, right.size);
    CHECK_EQ(decode(&file, &groups), LSMKV_OK);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(wrong); i++) {
        forge(&file, wrong[i].bytes, wrong[i].size);
        if (decode(&file, &groups) != LSMKV_CORRUPTION) {
            lsm_test_fail(__FILE__, __LINE__, "case %zu passes", i);
        }
    }
    lsm_buf_deinit(&file);
}
