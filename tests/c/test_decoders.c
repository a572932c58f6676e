/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what encodes bytes for the disk writes all or answers that there is no memory,
 * and what decodes them refuses what no writer writes, however well it is disguised.
 * Method: an encoder finds room for each number of bytes and no memory for more; single
 * forged fields, told by their status.
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "format/batch.h"
#include "format/block.h"
#include "format/bloom.h"
#include "format/codec.h"
#include "format/edit.h"
#include "format/footer.h"
#include "format/publish_record.h"
#include "format/space.h"

typedef bool (*encoder)(const void *what, lsm_buf *to);

/* Encodes with room for every number of bytes. For its last number an encoder may ask
 * for as much as the longest one takes. */
static void starve(encoder encode, const void *what) {
    lsm_buf whole = {0};
    lsm_buf buf = {0};
    size_t enough;

    CHECK(encode(what, &whole));
    CHECK(whole.size > 0);
    enough = whole.size + LSM_VARINT_SIZE_MAX;
    CHECK(lsm_buf_reserve(&buf, enough));
    for (size_t room = 0; room <= enough; room++) {
        buf.size = buf.capacity - room;
        lsm_alloc_fail_after(0, 1);
        bool done = encode(what, &buf);
        lsm_alloc_fail_never();
        CHECK(done ? room >= whole.size : room < enough);
    }
    CHECK(memcmp(buf.data + buf.capacity - enough, whole.data, whole.size) == 0);
    lsm_buf_deinit(&buf);
    lsm_buf_deinit(&whole);
}

static bool encode_edit(const void *what, lsm_buf *to) {
    return lsm_edit_encode(what, to);
}

static bool encode_properties(const void *what, lsm_buf *to) {
    return lsm_properties_encode(what, to);
}

static bool encode_space(const void *what, lsm_buf *to) {
    return lsm_space_encode(what, to);
}

/* Each number of allocations suffices or is said not to. */
static void decode_without_memory(const lsm_edit *edit) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    lsm_buf whole = {0};
    lsm_buf again = {0};
    size_t failures = 0;

    CHECK(lsm_edit_encode(edit, &whole));
    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        lsm_edit decoded;
        lsmkv_error err;

        lsm_edit_init(&decoded);
        lsm_alloc_fail_after(n, 0);
        status = lsm_edit_decode(&decoded, lsm_buf_slice(&whole), &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        failures += status != LSMKV_OK;
        CHECK(status != LSMKV_OK || lsm_edit_encode(&decoded, &again));
        lsm_edit_deinit(&decoded);
    }
    CHECK(failures >= 7);
    CHECK(lsm_slice_equal(lsm_buf_slice(&whole), lsm_buf_slice(&again)));
    lsm_buf_deinit(&whole);
    lsm_buf_deinit(&again);
}

LSM_TEST(an_edit_is_encoded_whole_or_not_at_all) {
    static const uint8_t key[] = "\0\0\0\1a\x01\x07\0\0\0\0\0\0";
    static const lsm_segment_share shares[] = {{4, 1000}, {300, UINT64_MAX}};
    lsm_slice bound = lsm_slice_make(key, sizeof(key) - 1);
    lsm_table_info info = {.number = 1 << 30,
                           .file_size = 1000,
                           .tail_size = 200,
                           .smallest = bound,
                           .largest = bound,
                           .segments = shares,
                           .segment_count = 2};
    lsm_edit_segment segment = {1 << 30, 7, 1 << 30, LSM_SEGMENT_VALUES};
    lsm_edit_cache cache = {1 << 30, 7, 5000};
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit.has_next_file = edit.has_last_sequence = true;
    edit.has_first_log = edit.has_time = true;
    edit.next_file = edit.time_ms = 1000;
    for (int i = 0; i < 2; i++) {
        CHECK(lsm_edit_add_origin(&edit, (const uint8_t *)"fifteen letters"));
        CHECK(lsm_edit_add_log(&edit, 1 << 30, 5));
        CHECK(lsm_edit_add_segment(&edit, &segment));
        CHECK(lsm_edit_add_cache(&edit, &cache));
        CHECK(lsm_edit_drop_cache(&edit, 1 << 30));
        CHECK(lsm_edit_delete_table(&edit, 1, 1 << 30));
        CHECK(lsm_edit_add_table(&edit, 1, &info));
    }
    starve(encode_edit, &edit);
    decode_without_memory(&edit);
    lsm_edit_deinit(&edit);
}

LSM_TEST(properties_are_encoded_whole_or_not_at_all) {
    lsm_properties properties = {
        .entry_count = 300, .sequence_min = 5, .range_delete_count = UINT64_MAX};

    starve(encode_properties, &properties);
}

static bool encode_publish_record(const void *what, lsm_buf *to) {
    return lsm_publish_record_encode(what, to);
}

LSM_TEST(the_record_of_something_published_is_encoded_whole_or_not_at_all) {
    lsm_publish_record record = {.state = LSM_PUBLISH_COMPLETE,
                                 .created_ms = UINT64_MAX,
                                 .space = {.id = 300, .options = {.codec = 1}}};

    starve(encode_publish_record, &record);
}

LSM_TEST(the_definition_of_a_namespace_is_encoded_whole_or_not_at_all) {
    lsm_space_definition definition = {
        .id = 5,
        .options = {.default_ttl_ms = 1000, .blob_threshold_bytes = 300, .codec = 1}};

    starve(encode_space, &definition);
}

/* Segments of an edit: the same in all the places that name them. */
LSM_TEST(segments_of_an_edit_with_impossible_fields_are_refused) {
    static const uint8_t kind[] = {7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5, 9};
    static const uint8_t cut[] = {7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5};
    static const uint8_t origin[] = {9, 1, 2, 3};
    lsmkv_error err;
    lsm_edit edit;

    lsm_edit_init(&edit);
    CHECK_STATUS(lsm_edit_decode(&edit, lsm_slice_make(kind, sizeof(kind)), &err),
                 LSMKV_UNSUPPORTED_VERSION);
    CHECK(strstr(err.message, "kind 9") != NULL);
    CHECK_STATUS(lsm_edit_decode(&edit, lsm_slice_make(cut, sizeof(cut)), &err),
                 LSMKV_CORRUPTION);
    CHECK_STATUS(lsm_edit_decode(&edit, lsm_slice_make(origin, sizeof(origin)), &err),
                 LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "cut short") != NULL);
}

static lsmkv_status decode_space(const void *bytes, size_t size) {
    lsm_space_definition definition;
    lsmkv_error err;

    return lsm_space_decode(lsm_slice_make(bytes, size), &definition, &err);
}

LSM_TEST(definitions_of_namespaces_with_impossible_fields_are_refused) {
    CHECK_STATUS(decode_space("\1\2\0\0\0", 5), LSMKV_OK);
    CHECK_STATUS(decode_space("\1\1\0\0\0", 5),
                 LSMKV_CORRUPTION); /* the default's id */
    CHECK_STATUS(decode_space("\1\xFD\xFF\xFF\xFF", 5), LSMKV_OK);
    CHECK_STATUS(decode_space("\1\xFE\xFF\xFF\xFF", 5), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\2\1", 7), LSMKV_OK);
    CHECK_STATUS(decode_space("\1\2\0\0\0\2\0", 7), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\3\1", 7), LSMKV_OK);
    CHECK_STATUS(decode_space("\1\2\0\0\0\3\0", 7), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\3\x7F", 7), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\3\1\3\1", 9), LSMKV_CORRUPTION); /* twice */
    CHECK_STATUS(decode_space("\1\2\0\0\0\3", 6), LSMKV_CORRUPTION);
}

/* The options of caches and of vectors: each value in its range, and each only together
 * with what belongs to it. */
LSM_TEST(definitions_of_caches_and_vectors_are_whole_and_in_range) {
    CHECK_STATUS(decode_space("\1\2\0\0\0\5\x80\x80\4\6\1", 11), LSMKV_OK);
    CHECK_STATUS(decode_space("\1\2\0\0\0\5\xFF\xFF\3\6\1", 11),
                 LSMKV_CORRUPTION); /* one byte less than a cache has */
    CHECK_STATUS(decode_space("\1\2\0\0\0\5\x80\x80\4\6\2", 11), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\5\x80\x80\4", 9), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\6\1", 7), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\7\x80\x80\x40\10\1\11\1", 13), LSMKV_OK);
    CHECK_STATUS(decode_space("\1\2\0\0\0\7\x81\x80\x40\10\1\11\1", 13),
                 LSMKV_CORRUPTION); /* one more than the largest dimension */
    CHECK_STATUS(decode_space("\1\2\0\0\0\7\0\10\1\11\1", 11), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\7\3\10\0\11\1", 11), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\7\3\10\1\11\0", 11), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\7\3\10\1", 9), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\7\3\11\1", 9), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\11\1", 7), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_space("\1\2\0\0\0\13\1", 7), LSMKV_UNSUPPORTED_VERSION);
}

LSM_TEST(options_of_vectors_are_all_there_and_in_range_or_none) {
    static const struct {
        uint32_t dim;
        int32_t dtype;
        int32_t metric;
        bool valid;
    } cases[] = {
        {0, -1, -1, true},
        {0, 0, -1, false},
        {0, -1, 0, false},
        {1, 0, 0, true},
        {LSMKV_VECTOR_DIM_MAX, LSM_VECTOR_DTYPES - 1, LSM_VECTOR_METRICS - 1, true},
        {LSMKV_VECTOR_DIM_MAX + 1, 0, 0, false},
        {1, -1, 0, false},
        {1, LSM_VECTOR_DTYPES, 0, false},
        {1, 0, -1, false},
        {1, 0, LSM_VECTOR_METRICS, false},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsmkv_space_options options = LSM_SPACE_OPTIONS_NONE;
        options.vector_dim = cases[i].dim;
        options.vector_dtype = cases[i].dtype;
        options.vector_metric = cases[i].metric;
        CHECK_EQ(lsm_space_vector_check(&options), cases[i].valid);
    }
}

LSM_TEST(names_with_bytes_that_continue_no_character_are_refused) {
    CHECK(lsm_space_name_check((lsmkv_bytes){"\xC3\xA4", 2}));
    CHECK(!lsm_space_name_check((lsmkv_bytes){"\xC3(", 2}));
    CHECK(!lsm_space_name_check((lsmkv_bytes){"\xE2\x82(", 3}));
}

LSM_TEST(footers_whose_parts_lie_elsewhere_are_corruption) {
    enum { SIZE = 10000, BEGIN = 8000 };
    const lsm_block_handle properties = {9500, 100};
    const lsm_block_handle ranges = {8000, 100};
    const struct {
        lsm_footer footer;
        const char *part; /* that is in the wrong place; NULL: none */
    } cases[] = {
        {{.tail_offset = BEGIN, .index = {9000, 9}, .properties = properties}, NULL},
        {{.tail_offset = BEGIN, .index = {9990, 9}, .properties = properties}, "index"},
        {{.tail_offset = BEGIN, .properties = properties}, "index"},
        {{.tail_offset = SIZE - LSM_FOOTER_SIZE, .index = {SIZE - LSM_FOOTER_SIZE, 1}},
         "index"},
        {{.tail_offset = BEGIN, .properties = properties, .range_deletes = ranges},
         "index"},
        {{.tail_offset = 0, .properties = properties, .range_deletes = ranges}, NULL},
        {{.tail_offset = 0,
          .index = {9990, 9},
          .properties = properties,
          .range_deletes = ranges},
         "index"},
    };
    lsmkv_error err;

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        uint8_t bytes[LSM_FOOTER_SIZE];
        lsm_footer found;

        lsm_footer_encode(&cases[i].footer, bytes);
        lsmkv_status status =
            lsm_footer_decode(bytes, SIZE, "000013.tbl", &found, &err);
        CHECK_STATUS(status, cases[i].part == NULL ? LSMKV_OK : LSMKV_CORRUPTION);
        CHECK(cases[i].part == NULL || strstr(err.message, cases[i].part) != NULL);
        CHECK_STATUS(
            lsm_footer_decode(bytes, UINT64_C(1) << 63, "000013.tbl", &found, &err),
            LSMKV_CORRUPTION);
        CHECK(strstr(err.message, "has no footer") != NULL);
    }
}

LSM_TEST(filters_of_absurd_sizes_are_not_built) {
    static const uint64_t hash = 12345;
    lsm_buf buf = {0};
    lsm_bloom bloom;

    CHECK(!lsm_bloom_build(&hash, SIZE_MAX / 2, 10, &buf));
    CHECK(!lsm_bloom_build(&hash, SIZE_MAX / 64, 10, &buf));
    lsm_alloc_fail_after(0, 1);
    CHECK(!lsm_bloom_build(&hash, 1, 10, &buf));
    lsm_alloc_fail_never();
    CHECK_EQ(buf.size, 0);
    CHECK(lsm_bloom_build(&hash, 1, 0, &buf)); /* the fewest probes there are */
    CHECK(lsm_bloom_open(&bloom, lsm_buf_slice(&buf)));
    CHECK(lsm_bloom_may_contain(&bloom, hash));
    lsm_buf_deinit(&buf);
}

/* Appends an entry with sizes of any length. */
static void put_entry(lsm_buf *to, uint64_t shared, size_t unshared, size_t field) {
    CHECK(lsm_buf_append_varint(to, shared) && lsm_buf_append_varint(to, unshared) &&
          lsm_buf_append_varint(to, field) && lsm_buf_append_u8(to, LSM_KIND_PUT) &&
          lsm_buf_append_varint(to, 2) && lsm_buf_append_zeros(to, unshared + field));
}

LSM_TEST(blocks_with_impossible_sizes_are_refused) {
    lsm_block_shape shape;
    lsm_buf bytes = {0};

    CHECK(!lsm_block_measure(lsm_slice_make("", 0), false, &shape));
    /* Nothing of it is looked at. */
    CHECK(!lsm_block_measure(lsm_slice_make("", (size_t)LSM_BLOCK_RAW_SIZE_MAX + 1),
                             false, &shape));
    put_entry(&bytes, 0, LSM_SKEY_SIZE_MAX, 0);
    CHECK(lsm_block_measure(lsm_buf_slice(&bytes), false, &shape));
    put_entry(&bytes, LSM_SKEY_SIZE_MAX, 1, 0);
    CHECK(!lsm_block_measure(lsm_buf_slice(&bytes), false, &shape));
    lsm_buf_clear(&bytes);
    put_entry(&bytes, 0, LSM_SKEY_SIZE_MAX + 1, 0);
    CHECK(!lsm_block_measure(lsm_buf_slice(&bytes), false, &shape));
    lsm_buf_clear(&bytes);
    CHECK(lsm_buf_append(&bytes, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 10) &&
          lsm_buf_append_zeros(&bytes, 60));
    bytes.data[0] = 0x81;
    CHECK(!lsm_block_measure(lsm_buf_slice(&bytes), false, &shape)); /* ten bytes */
    memset(bytes.data, 0x81, 9);
    CHECK(!lsm_block_measure(lsm_buf_slice(&bytes), false, &shape));
    lsm_buf_deinit(&bytes);
}

/* Walks two entries whose keys have `size` bytes; the n-th allocation fails. Returns
 * whether there was memory for all. */
static bool walk_starved(size_t size, uint64_t n) {
    lsm_block_cursor cursor = {0};
    lsm_buf bytes = {0};
    size_t count = 0;

    put_entry(&bytes, 0, size, 3);
    put_entry(&bytes, size - 1, 1, 3);
    bytes.data[bytes.size - 4] = 1; /* the second is the greater one */
    lsm_block_cursor_open(&cursor, lsm_buf_slice(&bytes));
    lsm_alloc_fail_after(n, 1);
    while (lsm_block_cursor_next(&cursor)) {
        count++;
    }
    lsm_alloc_fail_never();
    bool whole = !cursor.failed;
    CHECK(!cursor.corrupt);
    CHECK(whole ? count == 2 : count < 2);
    CHECK(!lsm_block_cursor_next(&cursor)); /* it stays where it is */
    CHECK_EQ(cursor.failed, !whole);
    lsm_block_cursor_deinit(&cursor);
    lsm_buf_deinit(&bytes);
    return whole;
}

LSM_TEST(a_cursor_over_a_block_says_where_it_lacked_memory) {
    for (size_t size = LSM_NAMESPACE_SIZE; size < 300; size++) {
        uint64_t n = 0;
        while (!walk_starved(size, n)) {
            n++;
            CHECK(n < 20);
        }
        CHECK(n > 0);
    }
}

LSM_TEST(a_cursor_over_a_block_stays_where_it_found_damage) {
    lsm_block_cursor cursor = {0};
    lsm_buf bytes = {0};

    put_entry(&bytes, 0, 8, 0);
    put_entry(&bytes, 9, 1, 0);
    lsm_block_cursor_open(&cursor, lsm_buf_slice(&bytes));
    CHECK(lsm_block_cursor_next(&cursor));
    CHECK(!lsm_block_cursor_next(&cursor));
    CHECK(cursor.corrupt);
    CHECK(!lsm_block_cursor_next(&cursor));
    CHECK(cursor.corrupt && !cursor.failed);
    lsm_block_cursor_deinit(&cursor);
    lsm_buf_deinit(&bytes);
}

/* Whether a batch of one record with this tag and field is read. */
static bool reads_record(uint8_t tag, const void *field, size_t size) {
    uint8_t payload[LSM_BATCH_HEADER_SIZE + 256] = {0};
    uint8_t *to = payload + LSM_BATCH_HEADER_SIZE;
    lsm_batch_reader reader;
    lsm_batch_record record;

    CHECK(size < 200);
    lsm_put_u64(payload, 1);
    lsm_put_u32(payload + 16, 2); /* so that one is left after a bad one */
    *to++ = tag;
    *to++ = LSM_NAMESPACE_SIZE;
    to += LSM_NAMESPACE_SIZE;
    to += lsm_put_varint(to, size);
    memcpy(to, field, size);
    to += size;
    CHECK(lsm_batch_reader_init(&reader,
                                lsm_slice_make(payload, (size_t)(to - payload) + 20)));
    bool ok = lsm_batch_reader_next(&reader, &record);
    CHECK(ok || !lsm_batch_reader_next(&reader, &record));
    CHECK(!lsm_batch_reader_ok(&reader));
    return ok;
}

LSM_TEST(large_values_in_a_batch_are_refused_unless_they_lie_where_they_should) {
    uint8_t field[200] = {0};
    size_t head = 8 + 1; /* checksum, size */
    size_t begin = LSM_RECORD_HEADER_SIZE + LSM_BATCH_HEADER_SIZE + 2 +
                   LSM_NAMESPACE_SIZE + 1 + head;
    size_t zeros = LSM_VALUE_ALIGN - begin % LSM_VALUE_ALIGN;

    field[8] = 5;
    CHECK(head + zeros + 5 < 0x80);
    CHECK(reads_record(LSM_KIND_POINTER, field, head + zeros + 5));
    CHECK(!reads_record(LSM_KIND_POINTER, field, head + zeros + 6)); /* not aligned */
    CHECK(!reads_record(LSM_KIND_POINTER, field, head + zeros + 5 + 2 * 64));
    CHECK(!reads_record(LSM_KIND_POINTER | 0x40, field, head + zeros + 5));
    CHECK(!reads_record(LSM_KIND_POINTER, field, 8)); /* no size */
    CHECK(!reads_record(LSM_KIND_POINTER, field, 7));
    field[head] = 1;
    CHECK(!reads_record(LSM_KIND_POINTER, field, head + zeros + 5));
    field[head] = 0;
    field[8] = 0;
    CHECK(!reads_record(LSM_KIND_POINTER, field, head + zeros));
    field[8] = 100;
    CHECK(!reads_record(LSM_KIND_POINTER, field, head + zeros + 5));
}

LSM_TEST(times_of_a_record_come_before_its_value) {
    enum { EXPIRES = LSM_TAG_EXPIRES, FRESH = LSM_TAG_FRESH };
    const struct {
        lsm_times times;
        uint8_t tag;
        uint64_t expire_at;
        uint64_t fresh_until;
    } cases[] = {
        {{.ttl_ms = 0}, 0, 0, 0},
        {{.ttl_ms = 9}, EXPIRES, 109, 0},
        {{.ttl_ms = 9, .stale_ms = 5}, EXPIRES | FRESH, 114, 109},
        {{.ttl_ms = UINT64_MAX}, EXPIRES, UINT64_MAX - 1, 0},
        {{.ttl_ms = 9, .stale_ms = UINT64_MAX}, EXPIRES | FRESH, UINT64_MAX - 1, 109},
        {{.expire_at = 7}, EXPIRES, 7, 0},
        {{.fresh_until = 5}, FRESH, 0, 5},
        {{.expire_at = 7, .fresh_until = 5}, EXPIRES | FRESH, 7, 5},
    };
    lsmkv_error err;
    lsmkv_bytes value = {"v", 1};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_batch batch;
        lsm_batch_reader reader;
        lsm_batch_record record;

        lsm_batch_init(&batch);
        CHECK_OK(lsm_batch_put_timed(&batch, 1, &cases[i].times, value, value, &err));
        lsm_batch_resolve(&batch, 100);
        lsm_batch_stamp(&batch, 1, 100);
        CHECK(lsm_batch_reader_init(
            &reader, lsm_slice_make(batch.record.data + LSM_RECORD_HEADER_SIZE,
                                    lsm_batch_payload_size(&batch))));
        CHECK(lsm_batch_reader_next(&reader, &record));
        CHECK_EQ(record.tag, LSM_KIND_PUT | cases[i].tag);
        const uint8_t *at = record.field.data;
        if ((record.tag & EXPIRES) != 0) {
            CHECK_EQ(lsm_get_u64(at), cases[i].expire_at);
            at += 8;
        }
        if ((record.tag & FRESH) != 0) {
            CHECK_EQ(lsm_get_u64(at), cases[i].fresh_until);
        }
        lsm_batch_deinit(&batch);
    }
}

/* Each call finds no memory at its n-th request; then the batch is as it was. */
LSM_TEST(a_batch_of_namespaces_and_times_bears_a_lack_of_memory) {
    static const lsm_times times = {.ttl_ms = 9};
    lsmkv_bytes value = {"v", 1};
    lsmkv_error err;
    lsm_batch batch;

    lsm_batch_init(&batch);
    for (uint32_t id = 2; id < 100; id++) {
        lsmkv_status status = LSMKV_NO_MEMORY;
        for (uint64_t n = 0; status != LSMKV_OK; n++) {
            lsm_alloc_fail_after(n, 1);
            status = lsm_batch_put_timed(&batch, id, &times, value, value, &err);
            lsm_alloc_fail_never();
            CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
            CHECK_EQ(batch.count, id - 2 + (status == LSMKV_OK));
            CHECK_EQ(batch.ttl_count, batch.count);
        }
    }
    lsmkv_bytes long_key = {NULL, LSMKV_KEY_SIZE_MAX + 1};
    lsmkv_range range = {.has_stop = true, .stop = long_key};
    CHECK_STATUS(lsm_batch_put_timed(&batch, 2, &times, long_key, value, &err),
                 LSMKV_LIMIT_EXCEEDED);
    CHECK_STATUS(lsm_batch_delete_range(&batch, 2, &range, &err), LSMKV_LIMIT_EXCEEDED);
    CHECK_EQ(batch.count, 98);
    CHECK_EQ(batch.ttl_count, 98);
    lsm_batch_deinit(&batch);
}

/* The system's own records are read before anything that pointers lead into. */
LSM_TEST(values_of_the_system_never_lie_apart) {
    lsmkv_bytes value = {"long enough", 11};
    lsmkv_error err;
    lsm_batch batch;

    lsm_batch_init(&batch);
    batch.threshold = 5;
    CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_SYSTEM, value, value, &err));
    CHECK_EQ(batch.record.data[LSM_RECORD_HEADER_SIZE + LSM_BATCH_HEADER_SIZE],
             LSM_KIND_PUT);
    lsm_batch_clear(&batch);
    CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_DEFAULT, value, value, &err));
    CHECK_EQ(batch.record.data[LSM_RECORD_HEADER_SIZE + LSM_BATCH_HEADER_SIZE],
             LSM_KIND_POINTER);
    lsm_batch_deinit(&batch);
}

LSM_TEST(vectors_are_the_same_if_all_that_is_said_of_them_is) {
    lsmkv_space_options a = {.vector_dim = 4, .vector_dtype = 1, .vector_metric = 1};
    lsmkv_space_options others[] = {a, a, a};

    CHECK(lsm_space_vector_same(&a, &others[0]));
    others[0].vector_dim++;
    others[1].vector_dtype++;
    others[2].vector_metric++;
    for (size_t i = 0; i < LSM_ARRAY_COUNT(others); i++) {
        CHECK(!lsm_space_vector_same(&a, &others[i]));
    }
    CHECK_EQ(lsm_space_name_make((lsmkv_bytes){NULL, 0}).size, 0);
}
