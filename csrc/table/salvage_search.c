/* SPDX-License-Identifier: Apache-2.0
 *
 * See salvage_search.h for the steps and what they cost.
 */
#include "table/salvage_search.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/coding.h"

enum {
    CODEC_AT = 4,
    TYPE_AT = 5,
    ZEROS_AT = 6,
    START_COUNT = 8, /* places where a block may begin, kept in mind */
};

/* A place where a block may begin. */
typedef struct block_start {
    uint64_t offset;
    lsm_xxh3_prefix prefix;
} block_start;

static bool keep_block(lsm_block_search *search, lsm_found_block block) {
    void *blocks = search->blocks;

    if (!lsm_grow(&blocks, &search->capacity, search->count + 1,
                  sizeof(*search->blocks))) {
        return false;
    }
    search->blocks = blocks;
    search->blocks[search->count++] = block;
    return true;
}

static uint64_t block_end(const lsm_found_block *block) {
    return block->offset + block->size + LSM_BLOCK_FRAME_SIZE;
}

/* Whether a block of this extent verifies; while there is effort left. */
static bool verifies(lsm_block_search *search, uint64_t offset, uint64_t size,
                     lsm_block_frame *frame) {
    lsm_effort *effort = &search->effort;
    uint64_t end;

    if (!lsm_add_ok(offset, size, &end) ||
        !lsm_add_ok(end, LSM_BLOCK_FRAME_SIZE, &end) || end > search->file.size ||
        !lsm_effort_allows(effort, offset, end - offset)) {
        return false;
    }
    bool found = lsm_block_frame_open(
        lsm_slice_make(search->file.data + offset, (size_t)(end - offset)),
        search->file_id, offset, frame);
    lsm_effort_spend(effort, end - offset, found);
    return found;
}

static void begin_at(const lsm_block_search *search, block_start *start,
                     uint64_t offset) {
    start->offset = offset;
    lsm_xxh3_prefix_init(&start->prefix, search->file.data + offset);
}

/* Whether a block from there on has its frame at `at`. */
static bool ends_at(lsm_block_search *search, block_start *start, uint64_t at,
                    lsm_block_frame *frame) {
    size_t before = start->prefix.stripe_count;
    bool found =
        lsm_block_frame_open_after(&start->prefix, (size_t)(at - start->offset),
                                   search->file_id, start->offset, frame);

    /* The end of what is hashed is looked at each time. */
    search->effort.hashed += (start->prefix.stripe_count - before + 1) * 64;
    return found;
}

/* Whether the bytes may be a frame of a data block with a codec, or of any without. */
static bool may_be_frame(const uint8_t *at, bool compressed) {
    bool type = compressed ? at[TYPE_AT] == LSM_BLOCK_DATA
                           : at[TYPE_AT] >= LSM_BLOCK_DATA &&
                                 at[TYPE_AT] <= LSM_BLOCK_RANGE_DELETES;

    return type && (at[CODEC_AT] != 0) == compressed && at[ZEROS_AT] == 0 &&
           at[ZEROS_AT + 1] == 0;
}

/* Step 1. */
static bool find_uncompressed(lsm_block_search *search) {
    lsm_slice file = search->file;
    block_start start;
    size_t at = 0;

    begin_at(search, &start, 0);
    while (file.size >= LSM_BLOCK_FRAME_SIZE &&
           at <= file.size - LSM_BLOCK_FRAME_SIZE) {
        const uint8_t *bytes = file.data + at;
        uint32_t size = may_be_frame(bytes, false) ? lsm_get_u32(bytes) : 0;
        lsm_block_frame frame;

        if (size == 0 || size > at - start.offset ||
            !(at - size == start.offset ? ends_at(search, &start, at, &frame)
                                        : verifies(search, at - size, size, &frame))) {
            at += 1;
            continue;
        }
        if (!keep_block(search, (lsm_found_block){at - size, size, frame.type})) {
            return false;
        }
        at += LSM_BLOCK_FRAME_SIZE;
        begin_at(search, &start, at);
    }
    return true;
}

static int compare_blocks(const void *a, const void *b) {
    return lsm_compare_u64(((const lsm_found_block *)a)->offset,
                           ((const lsm_found_block *)b)->offset);
}

/* Among the first ones, which are sorted. */
static bool has_block(const lsm_block_search *search, size_t sorted, uint64_t offset) {
    lsm_found_block key = {offset, 0, LSM_BLOCK_DATA};

    return bsearch(&key, search->blocks, sorted, sizeof(key), compare_blocks) != NULL;
}

/* Of blocks that overlap, as only a forged file has them, the first one stays. */
static void sort_blocks(lsm_block_search *search) {
    size_t kept = 0;

    if (search->count > 1) {
        qsort(search->blocks, search->count, sizeof(*search->blocks), compare_blocks);
    }
    for (size_t i = 0; i < search->count; i++) {
        if (kept == 0 ||
            search->blocks[i].offset >= block_end(&search->blocks[kept - 1])) {
            search->blocks[kept++] = search->blocks[i];
        }
    }
    search->count = kept;
}

/* The data blocks that one index block names, which lie behind each other: from *begin
 * on, which becomes the end of the last one. */
static bool find_indexed(lsm_block_search *search, lsm_found_block index, size_t sorted,
                         uint64_t *begin) {
    lsm_block_cursor cursor = {0};
    bool ok = true;

    lsm_block_cursor_open(
        &cursor, lsm_slice_make(search->file.data + index.offset, (size_t)index.size));
    while (ok && lsm_block_cursor_next(&cursor)) {
        lsm_block_handle handle;
        lsm_block_frame frame;

        if (lsm_block_handle_decode(cursor.field, &handle) && handle.offset >= *begin &&
            !has_block(search, sorted, handle.offset) &&
            verifies(search, handle.offset, handle.size, &frame)) {
            lsm_found_block found = {handle.offset, handle.size, frame.type};
            ok = keep_block(search, found);
            *begin = block_end(&found);
        }
    }
    ok = ok && !cursor.failed;
    lsm_block_cursor_deinit(&cursor);
    return ok;
}

/* Compressed blocks between two blocks that were found: from `begin` on, or from behind
 * one of the last few places that look like a frame, to the next frame that verifies.
 * Few: the raw size of a frame may make four bytes before it look like one, too. */
static bool find_between(lsm_block_search *search, uint64_t begin, uint64_t end) {
    block_start starts[START_COUNT];
    size_t count = 1;

    begin_at(search, &starts[0], begin);
    for (uint64_t at = begin; at + LSM_BLOCK_FRAME_SIZE <= end; at++) {
        lsm_block_frame frame;
        size_t i = 0;

        if (!may_be_frame(search->file.data + at, true)) {
            continue;
        }
        while (i < count &&
               (starts[i].offset >= at || !ends_at(search, &starts[i], at, &frame))) {
            i++;
        }
        if (i < count) {
            uint64_t offset = starts[i].offset;
            if (!keep_block(search,
                            (lsm_found_block){offset, at - offset, frame.type})) {
                return false;
            }
            count = 0;
        } else if (count == START_COUNT) {
            count--;
            memmove(starts + 1, starts + 2, (count - 1) * sizeof(*starts));
        }
        begin_at(search, &starts[count++], at + LSM_BLOCK_FRAME_SIZE);
    }
    return true;
}

/* Step 2. */
static bool find_compressed(lsm_block_search *search) {
    size_t sorted = search->count;
    uint64_t begin = 0;
    bool ok = true;

    search->effort.wasted = 0;
    for (size_t i = 0; ok && i < sorted; i++) {
        if (search->blocks[i].type == LSM_BLOCK_INDEX) {
            ok = find_indexed(search, search->blocks[i], sorted, &begin);
        }
    }
    sort_blocks(search);
    sorted = search->count;
    begin = 0;
    for (size_t i = 0; ok && i < sorted; i++) {
        lsm_found_block block = search->blocks[i]; /* the array may move */
        if (begin < block.offset) {
            ok = find_between(search, begin, block.offset);
        }
        begin = block_end(&block);
    }
    ok = ok &&
         (begin >= search->file.size || find_between(search, begin, search->file.size));
    sort_blocks(search);
    return ok;
}

bool lsm_block_search_run(lsm_block_search *search) {
    search->effort.bytes = search->file.size;
    return find_uncompressed(search) && find_compressed(search);
}

void lsm_block_search_deinit(lsm_block_search *search) {
    lsm_free(search->blocks);
    search->blocks = NULL;
    search->count = 0;
}
