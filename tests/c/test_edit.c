/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: edits decode to what was encoded, and whatever else is in a payload is refused
 * without reading outside it. Method: round trips, exact bytes, single impossible
 * fields, every truncation and flipped bit, a failing allocation at every place.
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "format/edit.h"
#include "format/footer.h"

static const uint8_t key_a[] = "\0\0\0\1a\x01\x07\0\0\0\0\0\0";
static const uint8_t key_b[] = "\0\0\0\1b\x02\x09\0\0\0\0\0\0";

static const lsm_segment_share segments[] = {{4, 1000}, {300, UINT64_MAX}};

static lsm_table_info sample_table(uint64_t number) {
    return (lsm_table_info){
        .number = number,
        .file_id = 0x1020304050607080,
        .file_size = 100000,
        .tail_size = 2000,
        .smallest = lsm_slice_make(key_a, sizeof(key_a) - 1),
        .largest = lsm_slice_make(key_b, sizeof(key_b) - 1),
        .sequence_min = 7,
        .sequence_max = 9,
        .entry_count = 300,
        .tombstone_count = 1,
        .raw_bytes = 123456,
        .expire_all_at = 1800000000000,
        .expire_half_at = 1700000000000,
        .range_delete_count = 5,
        .segments = segments,
        .segment_count = 2,
    };
}

static void check_tables_equal(const lsm_table_info *a, const lsm_table_info *b) {
    CHECK_EQ(a->number, b->number);
    CHECK_EQ(a->file_id, b->file_id);
    CHECK_EQ(a->file_size, b->file_size);
    CHECK_EQ(a->tail_size, b->tail_size);
    CHECK(lsm_slice_equal(a->smallest, b->smallest));
    CHECK(lsm_slice_equal(a->largest, b->largest));
    CHECK_EQ(a->sequence_min, b->sequence_min);
    CHECK_EQ(a->sequence_max, b->sequence_max);
    CHECK_EQ(a->entry_count, b->entry_count);
    CHECK_EQ(a->tombstone_count, b->tombstone_count);
    CHECK_EQ(a->raw_bytes, b->raw_bytes);
    CHECK_EQ(a->expire_all_at, b->expire_all_at);
    CHECK_EQ(a->expire_half_at, b->expire_half_at);
    CHECK_EQ(a->range_delete_count, b->range_delete_count);
    CHECK_EQ(a->segment_count, b->segment_count);
    for (size_t i = 0; i < a->segment_count; i++) {
        CHECK_EQ(a->segments[i].number, b->segments[i].number);
        CHECK_EQ(a->segments[i].bytes, b->segments[i].bytes);
    }
}

/* An edit with every field. false: no memory. */
static bool fill_edit(lsm_edit *edit) {
    lsm_table_info first = sample_table(20);
    lsm_table_info second = sample_table(UINT64_MAX);

    edit->has_next_file = edit->has_last_sequence = edit->has_first_log = true;
    edit->next_file = 300;
    edit->last_sequence = LSM_SEQUENCE_MAX;
    edit->first_log = 0;
    return lsm_edit_add_origin(edit, (const uint8_t *)"fifteen letters") &&
           lsm_edit_add_origin(edit, (const uint8_t *)"another fifteen") &&
           lsm_edit_add_log(edit, 18, 0xfeed) && lsm_edit_add_log(edit, 19, 0xbeef) &&
           lsm_edit_delete_table(edit, 0, 15) && lsm_edit_delete_table(edit, 6, 16) &&
           lsm_edit_add_table(edit, 1, &first) && lsm_edit_add_table(edit, 6, &second);
}

LSM_TEST(edit_round_trips_with_every_field) {
    lsmkv_error err;
    lsm_buf buf = {0};
    lsm_buf again = {0};
    lsm_edit edit;
    lsm_edit found;

    lsm_edit_init(&edit);
    lsm_edit_init(&found);
    CHECK(fill_edit(&edit));
    CHECK(lsm_edit_encode(&edit, &buf));
    CHECK_OK(lsm_edit_decode(&found, lsm_buf_slice(&buf), &err));
    CHECK(lsm_edit_encode(&found, &again));
    CHECK(lsm_slice_equal(lsm_buf_slice(&buf), lsm_buf_slice(&again)));
    memset(buf.data, 0xEE, buf.size); /* the edit has its own copies */
    CHECK(found.has_next_file && found.has_last_sequence && found.has_first_log);
    CHECK_EQ(found.next_file, 300);
    CHECK_EQ(found.last_sequence, LSM_SEQUENCE_MAX);
    CHECK_EQ(found.first_log, 0);
    CHECK_EQ(found.log_count, 2);
    CHECK_EQ(found.logs[1].number, 19);
    CHECK_EQ(found.logs[1].file_id, 0xbeef);
    CHECK_EQ(found.deleted_count, 2);
    CHECK_EQ(found.deleted[1].level, 6);
    CHECK_EQ(found.deleted[1].number, 16);
    CHECK_EQ(found.origin_count, 2);
    CHECK_EQ(memcmp(found.origins[1], "another fifteen", LSM_UUID_SIZE), 0);
    CHECK_EQ(found.added_count, 2);
    for (size_t i = 0; i < 2; i++) {
        CHECK_EQ(found.added[i].level, edit.added[i].level);
        check_tables_equal(&found.added[i].info, &edit.added[i].info);
    }
    lsm_edit_deinit(&edit);
    lsm_edit_deinit(&found);
    lsm_buf_deinit(&buf);
    lsm_buf_deinit(&again);
}

LSM_TEST(edit_without_fields_is_empty) {
    lsmkv_error err;
    lsm_buf buf = {0};
    lsm_edit edit;

    lsm_edit_init(&edit);
    CHECK(lsm_edit_encode(&edit, &buf));
    CHECK_EQ(buf.size, 0);
    CHECK_OK(lsm_edit_decode(&edit, lsm_slice_make("", 0), &err));
    CHECK(!edit.has_next_file && !edit.has_last_sequence && !edit.has_first_log);
    lsm_edit_deinit(&edit);
}

LSM_TEST(edit_has_the_documented_bytes) {
    static const uint8_t expected[] = {
        1, 0xac, 2,  2, 9, 3, 8,          /* next file, last sequence, first log */
        4, 8,    1,  2, 3, 4, 5, 6, 7, 8, /* log */
        6, 2,    17,                      /* deleted table */
    };
    lsm_buf buf = {0};
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit.has_next_file = edit.has_last_sequence = edit.has_first_log = true;
    edit.next_file = 300;
    edit.last_sequence = 9;
    edit.first_log = 8;
    CHECK(lsm_edit_add_log(&edit, 8, 0x0807060504030201));
    CHECK(lsm_edit_delete_table(&edit, 2, 17));
    CHECK(lsm_edit_encode(&edit, &buf));
    CHECK(lsm_slice_equal(lsm_buf_slice(&buf),
                          lsm_slice_make(expected, sizeof(expected))));
    lsm_edit_deinit(&edit);
    lsm_buf_deinit(&buf);
}

/* Decodes an exactly sized copy into a fresh edit. */
static lsmkv_status decode_copy(const uint8_t *data, size_t size, lsmkv_error *err) {
    uint8_t *copy = lsm_alloc(size + 1);
    lsm_edit edit;

    CHECK(copy != NULL);
    memcpy(copy + 1, data, size);
    lsm_edit_init(&edit);
    lsmkv_status status = lsm_edit_decode(&edit, lsm_slice_make(copy + 1, size), err);
    if (status == LSMKV_OK) {
        for (size_t i = 0; i < edit.added_count; i++) {
            CHECK(edit.added[i].level < LSMKV_LEVEL_COUNT);
            const lsm_table_info *info = &edit.added[i].info;
            CHECK(lsm_bounds_check(info->smallest, info->largest,
                                   info->range_delete_count != 0));
        }
    } else {
        CHECK(edit.added_count == 0 && edit.logs == NULL && edit.deleted == NULL);
    }
    lsm_edit_deinit(&edit);
    lsm_free(copy);
    return status;
}

LSM_TEST(no_damaged_edit_crashes_and_none_cut_inside_a_field_is_taken) {
    lsmkv_error err;
    lsm_buf buf = {0};
    lsm_edit edit;
    size_t whole = 0;

    lsm_edit_init(&edit);
    CHECK(fill_edit(&edit));
    CHECK(lsm_edit_encode(&edit, &buf));
    for (size_t cut = 0; cut <= buf.size; cut++) {
        lsmkv_status status = decode_copy(buf.data, cut, &err);

        CHECK(status == LSMKV_OK || status == LSMKV_CORRUPTION);
        whole += status == LSMKV_OK;
    }
    CHECK_EQ(whole, 1 + 3 + 2 + 2 + 2 + 2); /* nothing, and the end of each field */
    for (size_t bit = 0; bit < buf.size * 8; bit++) {
        buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        lsmkv_status status = decode_copy(buf.data, buf.size, &err);
        CHECK(status == LSMKV_OK || status == LSMKV_CORRUPTION ||
              status == LSMKV_UNSUPPORTED_VERSION);
        buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    lsm_edit_deinit(&edit);
    lsm_buf_deinit(&buf);
}

LSM_TEST(edit_decoder_survives_random_bytes) {
    lsm_rng rng = {4711};
    lsmkv_error err;

    for (int round = 0; round < 20000; round++) {
        uint8_t payload[64];
        size_t size = (size_t)lsm_rng_below(&rng, sizeof(payload) + 1);

        for (size_t i = 0; i < size; i++) {
            uint64_t number = lsm_rng_next(&rng);
            payload[i] = (uint8_t)(number & 1 ? number >> 8 : (number >> 8) % 8);
        }
        (void)decode_copy(payload, size, &err);
    }
}

LSM_TEST(edit_fields_of_later_versions_are_unsupported) {
    lsmkv_error err;

    for (uint8_t tag = 0; tag < 0x80; tag++) {
        if (tag == 0 || tag >= 12) {
            uint8_t payload[] = {tag, 1, 1, 1};
            CHECK_STATUS(decode_copy(payload, sizeof(payload), &err),
                         LSMKV_UNSUPPORTED_VERSION);
        }
    }
}

LSM_TEST(edit_fields_given_twice_are_corruption) {
    lsmkv_error err;

    for (uint8_t tag = 1; tag <= 3; tag++) {
        uint8_t payload[] = {tag, 5, tag, 5};
        CHECK_STATUS(decode_copy(payload, 2, &err), LSMKV_OK);
        CHECK_STATUS(decode_copy(payload, 4, &err), LSMKV_CORRUPTION);
    }
}

/* Encodes an edit that adds one table and decodes it. */
static lsmkv_status try_table(uint32_t level, const lsm_table_info *info) {
    lsmkv_error err;
    lsm_buf buf = {0};
    lsm_edit edit;

    lsm_edit_init(&edit);
    CHECK(lsm_edit_add_table(&edit, level, info));
    CHECK(lsm_edit_encode(&edit, &buf));
    lsmkv_status status = decode_copy(buf.data, buf.size, &err);
    CHECK(status == LSMKV_OK || err.message[0] != '\0');
    lsm_edit_deinit(&edit);
    lsm_buf_deinit(&buf);
    return status;
}

LSM_TEST(edit_tables_with_impossible_fields_are_corruption) {
    lsm_table_info info = sample_table(1);
    uint8_t bad[sizeof(key_a) - 1];

    CHECK_STATUS(try_table(LSMKV_LEVEL_COUNT - 1, &info), LSMKV_OK);
    CHECK_STATUS(try_table(LSMKV_LEVEL_COUNT, &info), LSMKV_CORRUPTION);
    CHECK_STATUS(try_table(UINT32_MAX, &info), LSMKV_CORRUPTION);
    info.smallest = info.largest;
    CHECK_STATUS(try_table(0, &info), LSMKV_OK);
    info.smallest = sample_table(1).largest;
    info.largest = sample_table(1).smallest;
    CHECK_STATUS(try_table(0, &info), LSMKV_CORRUPTION);
    info = sample_table(1);
    info.smallest.size = LSM_IKEY_SIZE_MIN - 1;
    CHECK_STATUS(try_table(0, &info), LSMKV_CORRUPTION);
    memcpy(bad, key_b, sizeof(bad));
    bad[5] = LSM_KIND_MERGE;
    info = sample_table(1);
    info.largest = lsm_slice_make(bad, sizeof(bad));
    CHECK_STATUS(try_table(0, &info), LSMKV_CORRUPTION);
    info = sample_table(1);
    info.sequence_min = info.sequence_max + 1;
    CHECK_STATUS(try_table(0, &info), LSMKV_CORRUPTION);
    info.sequence_min = info.sequence_max = LSM_SEQUENCE_MAX;
    CHECK_STATUS(try_table(0, &info), LSMKV_OK);
    info.sequence_max++;
    CHECK_STATUS(try_table(0, &info), LSMKV_CORRUPTION);
    info = sample_table(1);
    info.tail_size = LSM_FOOTER_SIZE;
    CHECK_STATUS(try_table(0, &info), LSMKV_OK);
    info.tail_size--;
    CHECK_STATUS(try_table(0, &info), LSMKV_CORRUPTION);
    info.tail_size = info.file_size;
    CHECK_STATUS(try_table(0, &info), LSMKV_OK);
    info.tail_size++;
    CHECK_STATUS(try_table(0, &info), LSMKV_CORRUPTION);
}

LSM_TEST(edit_deletions_and_sequences_out_of_range_are_corruption) {
    static const uint8_t last_level[] = {6, LSMKV_LEVEL_COUNT - 1, 1};
    static const uint8_t no_level[] = {6, LSMKV_LEVEL_COUNT, 1};
    uint8_t sequence[1 + LSM_VARINT_SIZE_MAX] = {2};
    lsmkv_error err;

    CHECK_OK(decode_copy(last_level, sizeof(last_level), &err));
    CHECK_STATUS(decode_copy(no_level, sizeof(no_level), &err), LSMKV_CORRUPTION);
    size_t size = 1 + lsm_put_varint(sequence + 1, LSM_SEQUENCE_MAX);
    CHECK_OK(decode_copy(sequence, size, &err));
    size = 1 + lsm_put_varint(sequence + 1, LSM_SEQUENCE_MAX + 1);
    CHECK_STATUS(decode_copy(sequence, size, &err), LSMKV_CORRUPTION);
}

LSM_TEST(edit_survives_every_failing_allocation) {
    lsmkv_error err;
    lsm_buf encoded = {0};
    lsm_edit edit;
    bool all = false;

    for (uint64_t n = 0; !all; n++) {
        lsm_buf buf = {0};
        lsm_edit found;

        lsm_edit_init(&edit);
        lsm_edit_init(&found);
        lsm_alloc_fail_after(n, 0);
        all = fill_edit(&edit) && lsm_edit_encode(&edit, &buf) &&
              lsm_edit_decode(&found, lsm_buf_slice(&buf), &err) == LSMKV_OK;
        lsm_alloc_fail_never();
        lsm_edit_deinit(&edit);
        lsm_edit_deinit(&found);
        lsm_buf_deinit(&buf);
        CHECK(n < 100);
    }
    lsm_edit_init(&edit);
    CHECK(fill_edit(&edit));
    CHECK(lsm_edit_encode(&edit, &encoded));
    lsm_alloc_fail_after(0, 1);
    CHECK_STATUS(lsm_edit_decode(&edit, lsm_slice_make("\x04\x01", 2), &err),
                 LSMKV_CORRUPTION);
    CHECK_STATUS(lsm_edit_decode(&edit, lsm_buf_slice(&encoded), &err),
                 LSMKV_NO_MEMORY);
    lsm_alloc_fail_never();
    lsm_buf_deinit(&encoded);
}
