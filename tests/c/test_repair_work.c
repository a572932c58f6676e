/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what a repair hashes is linear in the bytes of a file, whatever they are, and
 * what is whole is found all the same.
 * Method: files in which as many places as can be look like the end of a block, or the
 * beginning of a record, of half of all the file; bytes hashed are counted, not time.
 */
#include "test.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/coding.h"
#include "db/repair_scan.h"
#include "table/salvage_search.h"

enum {
    FILE_ID = 0x5eed,
    SIZE = 256 << 10,
    /* Of the bytes of a file. To try each pair of places takes SIZE / 16 and more. */
    WORK_MAX = 200,
};

static const char payload[] = "a block that is whole, and of which nothing is forged";

/* A block at the end of the file; its offset. */
static uint64_t add_block(lsm_buf *file, lsm_slice bytes, uint8_t codec,
                          lsm_block_type type) {
    uint64_t offset = file->size;
    lsm_block_frame frame = {(uint32_t)bytes.size, codec, type};

    CHECK(lsm_buf_append(file, bytes.data, bytes.size));
    CHECK(lsm_buf_append_zeros(file, LSM_BLOCK_FRAME_SIZE));
    lsm_block_frame_seal(file->data + offset, bytes.size, frame, FILE_ID, offset);
    return offset;
}

static uint64_t add_whole(lsm_buf *file, uint8_t codec) {
    return add_block(file, lsm_slice_make(payload, sizeof(payload)), codec,
                     LSM_BLOCK_DATA);
}

static bool finds(const lsm_block_search *search, uint64_t offset) {
    bool found = false;

    for (size_t i = 0; i < search->count; i++) {
        found |= search->blocks[i].offset == offset;
    }
    return found;
}

/* Searches a file that must cost no more than it may. */
static lsm_block_search search_file(const lsm_buf *file) {
    lsm_block_search search = {.file = lsm_buf_slice(file), .file_id = FILE_ID};

    CHECK(lsm_block_search_run(&search));
    CHECK(search.effort.hashed <= WORK_MAX * (uint64_t)file->size);
    for (size_t i = 1; i < search.count; i++) {
        const lsm_found_block *before = &search.blocks[i - 1];
        CHECK(before->offset + before->size + LSM_BLOCK_FRAME_SIZE <=
              search.blocks[i].offset);
    }
    return search;
}

/* What may be frames of uncompressed blocks: of half of what lies before them, or, with
 * `from`, of all from there on. */
static void add_frames(lsm_buf *file, const uint64_t *from, size_t size) {
    for (size_t i = 0; i < size; i += 8) {
        uint64_t at = file->size;
        uint8_t frame[8] = {0, 0, 0, 0, 0, LSM_BLOCK_DATA, 0, 0};
        lsm_put_u32(frame, (uint32_t)(from != NULL ? at - *from : at / 2));
        CHECK(lsm_buf_append(file, frame, sizeof(frame)));
    }
}

LSM_TEST(forged_frames_of_uncompressed_blocks_cost_linear_work) {
    lsm_buf file = {0};
    uint64_t whole[3];

    for (int round = 0; round < 2; round++) {
        lsm_buf_clear(&file);
        whole[0] = add_whole(&file, 0);
        uint64_t begin = file.size;
        add_frames(&file, round == 0 ? NULL : &begin, SIZE);
        /* Its end is one of very many that are tried from the same place. */
        lsm_block_frame frame = {(uint32_t)(file.size - begin), 0, LSM_BLOCK_DATA};
        CHECK(lsm_buf_append_zeros(&file, LSM_BLOCK_FRAME_SIZE));
        lsm_block_frame_seal(file.data + begin, frame.raw_size, frame, FILE_ID, begin);
        whole[1] = begin;
        whole[2] = add_whole(&file, 0);
        lsm_block_search search = search_file(&file);
        CHECK_EQ(search.count, LSM_ARRAY_COUNT(whole));
        for (size_t i = 0; i < LSM_ARRAY_COUNT(whole); i++) {
            CHECK_EQ(search.blocks[i].offset, whole[i]);
        }
        lsm_block_search_deinit(&search);
        /* The same without its checksum: what lies behind is found. */
        file.data[begin] ^= 1;
        search = search_file(&file);
        CHECK(finds(&search, whole[0]));
        CHECK(finds(&search, whole[2]));
        CHECK_EQ(search.count, 2);
        lsm_block_search_deinit(&search);
    }
    lsm_buf_deinit(&file);
}

LSM_TEST(forged_frames_of_compressed_blocks_cost_linear_work) {
    static const uint8_t forged[] = {7, LSM_BLOCK_DATA, 0, 0};
    lsm_buf file = {0};

    uint64_t first = add_whole(&file, 7);
    for (size_t i = 0; i < SIZE; i += sizeof(forged)) {
        CHECK(lsm_buf_append(&file, forged, sizeof(forged)));
    }
    uint64_t begin = file.size;
    uint64_t last = add_whole(&file, 7);
    lsm_block_search search = search_file(&file);
    CHECK(finds(&search, first));
    CHECK(finds(&search, last));
    lsm_block_search_deinit(&search);
    /* As a block of its own they hide nothing. */
    lsm_block_frame frame = {100, 7, LSM_BLOCK_DATA};
    file.size = begin;
    CHECK(lsm_buf_append_zeros(&file, LSM_BLOCK_FRAME_SIZE));
    uint64_t second = first + sizeof(payload) + LSM_BLOCK_FRAME_SIZE;
    lsm_block_frame_seal(file.data + second, begin - second, frame, FILE_ID, second);
    last = add_whole(&file, 7);
    search = search_file(&file);
    CHECK_EQ(search.count, 3);
    CHECK(finds(&search, second));
    CHECK(finds(&search, last));
    lsm_block_search_deinit(&search);
    lsm_buf_deinit(&file);
}

/* An index block that names extents of most of the file, at 16 offsets in turn. */
static void add_index(lsm_buf *file, size_t count) {
    lsm_block_builder builder;
    uint64_t end = file->size - LSM_BLOCK_FRAME_SIZE;

    lsm_block_builder_init(&builder);
    for (size_t i = 0; i < count; i++) {
        uint8_t handle[LSM_BLOCK_HANDLE_SIZE_MAX];
        uint8_t ikey[16] = {0, 0, 0, LSM_NAMESPACE_DEFAULT};
        lsm_put_u32_be(ikey + 4, (uint32_t)i);
        lsm_put_u64(ikey + 8, lsm_trailer_make(1, LSM_KIND_PUT));
        size_t size =
            lsm_block_handle_encode((lsm_block_handle){i % 16, end - i % 16}, handle);
        CHECK(lsm_block_builder_add(&builder, lsm_slice_make(ikey, sizeof(ikey)),
                                    lsm_slice_make(handle, size)) == LSMKV_OK);
    }
    (void)add_block(file, lsm_block_builder_finish(&builder), 0, LSM_BLOCK_INDEX);
    lsm_block_builder_deinit(&builder);
}

LSM_TEST(forged_indexes_cost_linear_work) {
    lsm_buf file = {0};

    CHECK(lsm_buf_append_zeros(&file, SIZE));
    for (int i = 0; i < 8; i++) {
        add_index(&file, 2000);
    }
    lsm_block_search search = search_file(&file);
    CHECK_EQ(search.count, 8);
    lsm_block_search_deinit(&search);
    lsm_buf_deinit(&file);
}

LSM_TEST(blocks_that_lie_inside_each_other_count_once) {
    lsm_buf file = {0};

    /* Each of them verifies: from the start of the file to its own frame. */
    CHECK(lsm_buf_append_zeros(&file, 64));
    for (size_t i = 0; i < 2000; i++) {
        lsm_block_frame frame = {(uint32_t)file.size, 0, LSM_BLOCK_DATA};
        CHECK(lsm_buf_append_zeros(&file, LSM_BLOCK_FRAME_SIZE));
        lsm_block_frame_seal(file.data, frame.raw_size, frame, FILE_ID, 0);
    }
    lsm_block_search search = search_file(&file);
    CHECK_EQ(search.count, 1);
    CHECK_EQ(search.blocks[0].size, 64);
    lsm_block_search_deinit(&search);
    lsm_buf_deinit(&file);
}

static void add_record(lsm_buf *file, size_t size) {
    uint64_t offset = file->size;

    CHECK(lsm_buf_append_zeros(file, (size_t)lsm_record_size(size)));
    lsm_record_seal(file->data + offset, size, LSM_RECORD_BATCH,
                    (lsm_record_place){FILE_ID, offset, 0});
}

LSM_TEST(forged_records_cost_linear_work) {
    lsmkv_report report = {0};
    lsm_findings findings = {.report = &report};
    lsm_scan scan = {
        .findings = &findings, .name = "", .file_id = FILE_ID, .at = 64, .lost_to = 1};
    lsm_record record;
    lsm_buf file = {0};

    CHECK(lsm_buf_append_zeros(&file, LSM_RECORD_FILE_HEADER_SIZE));
    add_record(&file, 100);
    for (size_t i = 0; i < SIZE; i += 16) {
        /* Behind a checksum, or what was synced before, comes a size and a type. */
        uint8_t forged[16] = {0};
        lsm_put_u32(forged + 8, (uint32_t)(SIZE - i) / 2);
        forged[12] = LSM_RECORD_BATCH;
        CHECK(lsm_buf_append(&file, forged, sizeof(forged)));
    }
    add_record(&file, 5000); /* may be given up: the effort is spent */
    uint64_t last = file.size;
    add_record(&file, 5000);
    scan.file = lsm_buf_slice(&file);
    scan.effort.bytes = file.size;
    CHECK(lsm_scan_next(&scan, &record));
    CHECK_EQ(record.offset, LSM_RECORD_FILE_HEADER_SIZE);
    CHECK_EQ(report.problem_count, 0);
    do {
        CHECK(lsm_scan_next(&scan, &record));
        CHECK_EQ(report.problem_count, 1);
    } while (record.offset != last);
    CHECK(!lsm_scan_next(&scan, &record));
    CHECK_EQ(report.problem_count, 1);
    CHECK(scan.effort.hashed <= WORK_MAX * (uint64_t)file.size);
    CHECK(scan.effort.wasted > file.size); /* it was tempted */
    lsm_buf_deinit(&file);
}
