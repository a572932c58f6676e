/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an index whose blocks contradict each other, the footer or the properties is
 * refused, whatever its checksums say. Method: tails of two index blocks and a top
 * index put together in memory, with one thing wrong at a time.
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "format/block.h"
#include "format/footer.h"
#include "table/table_index.h"

enum {
    TAIL_AT = 1000,
    SPAN = 250, /* of a data block with its frame */
    FILE_ID = 99,
    FOREIGN_CODEC = 1,
};

/* One thing that is wrong. */
typedef enum forgery {
    NOTHING,
    TOP_BEFORE_TAIL,
    TOP_BEHIND_TAIL,
    TOP_WITHOUT_FRAME,
    TOP_TOO_LONG,
    TOP_DAMAGED,
    TOP_OF_OTHER_TYPE,
    TOP_COMPRESSED,
    TOP_MALFORMED,
    TOP_HANDLE_MALFORMED,
    TOP_HANDLE_MOVED,
    TOP_BEHIND_GAP,
    TOP_OTHER_SEPARATOR,
    BLOCK_OF_OTHER_TYPE,
    BLOCK_MALFORMED,
    DATA_HANDLE_MALFORMED,
    DATA_MOVED,
    DATA_EMPTY,
    DATA_TOO_LONG,
    DATA_FAR_TOO_LONG,
    DATA_TOO_SHORT,
    OTHER_DATA_COUNT,
    OTHER_INDEX_COUNT,
    OTHER_LARGEST,
    OTHER_SMALLEST,
    FORGERY_END,
} forgery;

typedef struct forged_index {
    lsm_table_info info;
    lsm_footer footer;
    lsm_properties properties;
    lsm_buf tail;
} forged_index;

static const uint8_t keys[5][LSM_IKEY_SIZE_MIN + 1] = {
    {0, 0, 0, 1, 'a', LSM_KIND_PUT, 7}, {0, 0, 0, 1, 'b', LSM_KIND_PUT, 7},
    {0, 0, 0, 1, 'c', LSM_KIND_PUT, 7}, {0, 0, 0, 1, 'd', LSM_KIND_PUT, 7},
    {0, 0, 0, 1, 'e', LSM_KIND_PUT, 7},
};

static lsm_slice key(size_t index) {
    return lsm_slice_make(keys[index], sizeof(keys[index]));
}

static void add_entry(lsm_block_builder *builder, lsm_slice separator,
                      lsm_block_handle handle, bool malformed) {
    uint8_t encoded[LSM_BLOCK_HANDLE_SIZE_MAX];
    size_t size = lsm_block_handle_encode(handle, encoded);

    CHECK_EQ(lsm_block_builder_add(builder, separator,
                                   lsm_slice_make(encoded, size - malformed)),
             LSMKV_OK);
}

/* Appends a block, whose frame is right but for what the arguments say. */
static lsm_block_handle put_block(lsm_buf *tail, lsm_slice payload, lsm_block_type type,
                                  uint8_t codec) {
    lsm_block_handle handle = {TAIL_AT + tail->size, payload.size};
    lsm_block_frame frame = {(uint32_t)payload.size, codec, type};
    size_t at = tail->size;

    CHECK(lsm_buf_append(tail, payload.data, payload.size));
    CHECK(lsm_buf_append_zeros(tail, LSM_BLOCK_FRAME_SIZE));
    lsm_block_frame_seal(tail->data + at, payload.size, frame, FILE_ID, handle.offset);
    return handle;
}

/* The data block of this number, of which there are four. */
static lsm_block_handle data_block(size_t index, forgery what) {
    lsm_block_handle handle = {index * SPAN, SPAN - LSM_BLOCK_FRAME_SIZE};

    if (index == 3) {
        handle.offset += what == DATA_MOVED;
        handle.size += what == DATA_TOO_LONG;
        handle.size -= what == DATA_TOO_SHORT;
        handle.size = what == DATA_EMPTY ? 0 : handle.size;
        handle.size = what == DATA_FAR_TOO_LONG ? UINT64_MAX - 3 : handle.size;
    }
    return handle;
}

/* An index block of two data blocks. */
static lsm_block_handle put_index_block(lsm_buf *tail, size_t first, forgery what) {
    lsm_block_builder builder;
    bool last = first == 2;

    lsm_block_builder_init(&builder);
    for (size_t i = first; i < first + 2; i++) {
        add_entry(&builder, key(i + 1), data_block(i, what),
                  i == 3 && what == DATA_HANDLE_MALFORMED);
    }
    lsm_slice payload = lsm_block_builder_finish(&builder);
    payload.size -= last && what == BLOCK_MALFORMED;
    lsm_block_handle handle = put_block(
        tail, payload,
        last && what == BLOCK_OF_OTHER_TYPE ? LSM_BLOCK_DATA : LSM_BLOCK_INDEX, 0);
    lsm_block_builder_deinit(&builder);
    return handle;
}

static void put_top(forged_index *forged, const lsm_block_handle handles[2],
                    forgery what) {
    lsm_block_builder builder;
    lsm_block_handle second = handles[1];

    second.offset += what == TOP_HANDLE_MOVED;
    lsm_block_builder_init(&builder);
    add_entry(&builder, key(2), handles[0], false);
    add_entry(&builder, key(what == TOP_OTHER_SEPARATOR ? 3 : 4), second,
              what == TOP_HANDLE_MALFORMED);
    lsm_slice payload = lsm_block_builder_finish(&builder);
    payload.size -= what == TOP_MALFORMED;
    CHECK(lsm_buf_append_zeros(&forged->tail, what == TOP_BEHIND_GAP ? 5 : 0));
    forged->footer.index =
        put_block(&forged->tail, payload,
                  what == TOP_OF_OTHER_TYPE ? LSM_BLOCK_INDEX : LSM_BLOCK_TOP_INDEX,
                  what == TOP_COMPRESSED ? FOREIGN_CODEC : 0);
    lsm_block_builder_deinit(&builder);
}

static void forge(forged_index *forged, forgery what) {
    lsm_block_handle handles[2];
    lsm_block_handle *top = &forged->footer.index;

    *forged = (forged_index){
        .info = {.smallest = key(0), .largest = key(4)},
        .footer = {.file_id = FILE_ID, .tail_offset = TAIL_AT},
        .properties = {.data_block_count = 4, .index_block_count = 2},
    };
    handles[0] = put_index_block(&forged->tail, 0, what);
    handles[1] = put_index_block(&forged->tail, 2, what);
    put_top(forged, handles, what);
    uint64_t end = TAIL_AT + forged->tail.size;
    if (what == TOP_BEFORE_TAIL) {
        top->offset = TAIL_AT - 1;
    } else if (what == TOP_BEHIND_TAIL) {
        top->offset = end + 1;
    } else if (what == TOP_WITHOUT_FRAME) {
        top->offset = end - LSM_BLOCK_FRAME_SIZE + 1;
    } else if (what == TOP_TOO_LONG) {
        top->size++;
    } else if (what == TOP_DAMAGED) {
        forged->tail.data[forged->tail.size - 1] ^= 1;
    }
    forged->properties.data_block_count += what == OTHER_DATA_COUNT;
    forged->properties.index_block_count += what == OTHER_INDEX_COUNT;
    forged->info.largest = what == OTHER_LARGEST ? key(3) : forged->info.largest;
    forged->info.smallest = what == OTHER_SMALLEST ? key(2) : forged->info.smallest;
}

static lsmkv_status open_index(const forged_index *forged, lsm_table_index *index,
                               lsmkv_error *err) {
    lsm_index_source source = {.info = &forged->info,
                               .footer = &forged->footer,
                               .properties = &forged->properties,
                               .tail = lsm_buf_slice(&forged->tail),
                               .begin = TAIL_AT,
                               .file = "table"};

    if (forged->footer.tail_offset != TAIL_AT) {
        source.begin = forged->footer.tail_offset;
    }
    lsm_error_clear(err);
    return lsm_table_index_init(index, &source, err);
}

LSM_TEST(an_index_of_several_blocks_leads_to_the_right_ones) {
    forged_index forged;
    lsm_table_index index;
    lsmkv_error err;

    forge(&forged, NOTHING);
    CHECK_OK(open_index(&forged, &index, &err));
    CHECK_EQ(index.block_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK(lsm_slice_equal(lsm_table_index_separator(&index, i), key(i + 1)));
        CHECK_EQ(index.offsets[i], i * SPAN);
        CHECK_EQ(lsm_table_index_find(&index, lsm_ikey_skey(key(i + 1)),
                                      lsm_ikey_trailer(key(i + 1))),
                 i);
    }
    CHECK_EQ(index.offsets[4], TAIL_AT);
    lsm_table_index_deinit(&index);
    lsm_buf_deinit(&forged.tail);
}

LSM_TEST(an_index_with_one_thing_wrong_is_refused_under_right_checksums) {
    for (int what = NOTHING + 1; what < FORGERY_END; what++) {
        forged_index forged;
        lsm_table_index index;
        lsmkv_error err;

        forge(&forged, (forgery)what);
        lsmkv_status status = open_index(&forged, &index, &err);
        if (status != LSMKV_CORRUPTION || strcmp(err.file, "table") != 0) {
            lsm_test_fail(__FILE__, __LINE__, "forgery %d: %s", what,
                          lsmkv_status_name(status));
        }
        CHECK(index.memory == NULL);
        lsm_buf_deinit(&forged.tail);
    }
}

LSM_TEST(an_index_without_memory_says_so_and_leaves_nothing) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    forged_index forged;
    lsm_table_index index;
    lsmkv_error err;

    forge(&forged, NOTHING);
    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        lsm_alloc_fail_after(n, 0);
        status = open_index(&forged, &index, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        CHECK_EQ(index.memory != NULL, status == LSMKV_OK);
    }
    lsm_table_index_deinit(&index);
    lsm_buf_deinit(&forged.tail);
}

LSM_TEST(no_index_is_right_where_no_blocks_are_counted) {
    static const struct {
        uint64_t data;
        uint64_t index;
        lsmkv_status status;
    } cases[] = {
        {0, 0, LSMKV_OK},
        {1, 0, LSMKV_CORRUPTION},
        {0, 1, LSMKV_CORRUPTION},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        forged_index forged = {
            .info = {.smallest = key(0), .largest = key(4)},
            .properties = {.data_block_count = cases[i].data,
                           .index_block_count = cases[i].index},
        };
        lsm_table_index index;
        lsmkv_error err;

        CHECK_STATUS(open_index(&forged, &index, &err), cases[i].status);
        lsm_table_index_deinit(&index);
    }
}

/* Prefix compression lets few bytes stand for keys that no memory holds. */
LSM_TEST(an_index_of_more_than_4_gib_of_keys_is_refused) {
    enum { SIZE = LSM_SKEY_SIZE_MAX, COUNT = UINT32_MAX / SIZE + 2, SUFFIX = 3 };
    enum { DATA_SIZE = LSM_BLOCK_FRAME_SIZE + 1 };
    lsm_buf payload = {0};
    lsm_buf largest = {0};
    lsm_table_index index;
    lsmkv_error err;

    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t shared = i == 0 ? 0 : SIZE - SUFFIX;
        lsm_block_handle handle = {(uint64_t)i * DATA_SIZE, 1};
        uint8_t encoded[LSM_BLOCK_HANDLE_SIZE_MAX];
        size_t size = lsm_block_handle_encode(handle, encoded);

        CHECK(lsm_buf_append_varint(&payload, shared));
        CHECK(lsm_buf_append_varint(&payload, SIZE - shared));
        CHECK(lsm_buf_append_varint(&payload, size));
        CHECK(lsm_buf_append_u8(&payload, LSM_KIND_PUT));
        CHECK(lsm_buf_append_varint(&payload, 0));
        CHECK(lsm_buf_append_zeros(&payload, i == 0 ? SIZE - SUFFIX : 0));
        for (int shift = 8 * (SUFFIX - 1); shift >= 0; shift -= 8) {
            CHECK(lsm_buf_append_u8(&payload, (uint8_t)(i >> shift)));
        }
        CHECK(lsm_buf_append(&payload, encoded, size));
    }
    CHECK(lsm_buf_append_zeros(&largest, SIZE - SUFFIX));
    for (int shift = 8 * (SUFFIX - 1); shift >= 0; shift -= 8) {
        CHECK(lsm_buf_append_u8(&largest, (uint8_t)((COUNT - 1) >> shift)));
    }
    CHECK(lsm_buf_append_u64(&largest, lsm_trailer_make(0, LSM_KIND_PUT)));
    forged_index forged = {
        .info = {.smallest = key(0), .largest = lsm_buf_slice(&largest)},
        .footer = {.file_id = FILE_ID, .tail_offset = (uint64_t)COUNT * DATA_SIZE},
        .properties = {.data_block_count = COUNT, .index_block_count = 1},
    };
    forged.footer.index = (lsm_block_handle){forged.footer.tail_offset, payload.size};
    CHECK(lsm_buf_append_zeros(&payload, LSM_BLOCK_FRAME_SIZE));
    lsm_block_frame frame = {(uint32_t)forged.footer.index.size, 0, LSM_BLOCK_INDEX};
    lsm_block_frame_seal(payload.data, payload.size - LSM_BLOCK_FRAME_SIZE, frame,
                         FILE_ID, forged.footer.index.offset);
    forged.tail = payload;
    CHECK_STATUS(open_index(&forged, &index, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "number of blocks") != NULL);
    lsm_buf_deinit(&payload);
    lsm_buf_deinit(&largest);
}
