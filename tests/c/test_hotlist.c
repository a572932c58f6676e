/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a hot list comes back as it was written, and nothing else passes for one.
 * Method: round trips; every truncation and every flipped bit of a list; lists with
 * right checksums around groups that make no sense.
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
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
        {7, {8, 7, 0x81, 0x80, 0x80, 0x80, 0x10}},           /* ends in such a gap */
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

LSM_TEST(headers_that_make_no_sense_are_refused_under_right_checksums) {
    static const uint8_t groups_of_one[] = {8, 7, 1, 0, 9};
    static const uint8_t places[] = {0, 8, 12, 16, 32, 40, 48, 55};
    lsm_buf file = {0};
    lsm_slice groups;
    lsmkv_error err;

    forge(&file, groups_of_one, sizeof(groups_of_one));
    for (size_t i = 0; i < LSM_ARRAY_COUNT(places); i++) {
        file.data[places[i]] ^= 1;
        lsm_put_u64(file.data + 56, lsm_xxh3(file.data, 56));
        CHECK_EQ(decode(&file, &groups), LSMKV_CORRUPTION);
        file.data[places[i]] ^= 1;
    }
    lsm_put_u64(file.data + 56, lsm_xxh3(file.data, 56));
    CHECK_EQ(decode(&file, &groups), LSMKV_OK);
    lsm_slice longer = lsm_slice_make(file.data, LSM_HOTLIST_SIZE_MAX + 1);
    CHECK_STATUS(lsm_hotlist_decode(longer, uuid, &groups, &err), LSMKV_CORRUPTION);
    lsm_buf_deinit(&file);
}

/* Adds two places of each of some heats, ends, finishes. */
static bool build_some(lsm_hotlist_builder *builder, lsm_buf *file) {
    bool ok = true;

    for (uint8_t heat = 0; ok && heat < 3; heat++) {
        ok = lsm_hotlist_add(builder, heat, UINT64_MAX, 1, 5) &&
             lsm_hotlist_add(builder, heat, UINT64_MAX, UINT32_MAX, UINT64_MAX - 5);
    }
    return ok && lsm_hotlist_end(builder) && lsm_hotlist_finish(builder, uuid, file);
}

/* Whatever room the parts have, the first request for more fails. */
LSM_TEST(a_hot_list_is_written_whole_or_not_at_all) {
    enum { ROOM = 64 };
    size_t failures = 0;

    for (size_t part = 0; part < 3; part++) {
        for (size_t room = 0; room <= ROOM; room++) {
            lsm_hotlist_builder builder = {0};
            lsm_buf file = {0};
            lsm_slice groups;

            for (size_t i = 0; i < 3; i++) {
                lsm_buf *buf = &builder.parts[i].groups;
                CHECK(lsm_buf_reserve(buf, ROOM));
                CHECK_EQ(buf->capacity, ROOM);
                buf->size = i == part ? ROOM - room : 0;
                memset(buf->data, 0, buf->size);
            }
            CHECK(lsm_buf_reserve(&file, 2000));
            lsm_alloc_fail_after(0, 1);
            bool done = build_some(&builder, &file);
            lsm_alloc_fail_never();
            failures += !done;
            CHECK(done || room < ROOM);
            CHECK(room != ROOM || decode(&file, &groups) == LSMKV_OK);
            lsm_hotlist_builder_deinit(&builder);
            lsm_buf_deinit(&file);
        }
    }
    CHECK(failures > 3 * 20);
}

LSM_TEST(a_hot_list_without_memory_for_its_file_says_so) {
    size_t failures = 0;
    bool done = false;

    for (uint64_t n = 0; !done; n++) {
        lsm_hotlist_builder builder = {0};
        lsm_buf file = {0};

        for (uint32_t place = 0; place < 200; place++) {
            CHECK(lsm_hotlist_add(&builder, 3, 9, place * 7, 5));
        }
        CHECK(lsm_hotlist_end(&builder));
        lsm_alloc_fail_after(n, 1);
        done = lsm_hotlist_finish(&builder, uuid, &file);
        lsm_alloc_fail_never();
        failures += !done;
        lsm_hotlist_builder_deinit(&builder);
        lsm_buf_deinit(&file);
    }
    CHECK_EQ(failures, 2); /* the header, the groups */
}

/* What does not fit is left out; the rest is a list. */
LSM_TEST(a_hot_list_of_more_places_than_a_file_may_hold_is_cut) {
    const uint32_t gap = 1 << 12; /* two bytes each */
    const uint32_t count = UINT32_MAX / gap;
    lsm_hotlist_builder builder = {0};
    lsm_hotlist_group group;
    lsm_buf file = {0};
    lsm_slice groups;
    uint64_t found = 0;

    for (uint64_t number = 1; number <= 5; number++) {
        for (uint32_t i = 0; i < count; i++) {
            CHECK(lsm_hotlist_add(&builder, 3, number, i * gap, 1));
        }
        CHECK(lsm_hotlist_end(&builder));
    }
    CHECK(lsm_hotlist_finish(&builder, uuid, &file));
    CHECK(file.size < LSM_HOTLIST_SIZE_MAX / (LSM_HOTLIST_HEAT_MAX + 1));
    CHECK_EQ(decode(&file, &groups), LSMKV_OK);
    lsm_reader reader = lsm_reader_make(groups);
    while (lsm_hotlist_next_group(&reader, &group)) {
        found += group.count;
    }
    CHECK(found > 3 * (uint64_t)count && found < 5 * (uint64_t)count);
    lsm_hotlist_builder_deinit(&builder);
    lsm_buf_deinit(&file);
}
