/* SPDX-License-Identifier: Apache-2.0
 *
 * See cache_segment.h.
 */
#include "segment/cache_segment.h"

#include "base/alloc.h"
#include "base/assert.h"

enum { WORD_BITS = 64, WINDOW_SIZE = 64 << 10 };

lsm_segment *lsm_cache_segment_create(const lsm_segment_context *context,
                                      const lsm_edit_cache *info) {
    lsm_edit_segment as = {info->number, info->file_id, 0, LSM_SEGMENT_CACHE};
    lsm_segment *segment = lsm_segment_create(context, &as);

    if (segment != NULL) {
        segment->space_id = info->space_id;
    }
    return segment;
}

bool lsm_cache_segment_size(lsm_segment *segment, uint64_t capacity, uint64_t size) {
    uint64_t words = capacity / LSM_VALUE_ALIGN / WORD_BITS + 1;

    LSM_ASSERT(segment->touched == NULL && size <= capacity);
    /* unreachable: where size_t has 64 bits */
    if (words > SIZE_MAX / sizeof(*segment->touched)) {
        return false;
    }
    segment->touched = lsm_calloc((size_t)words, sizeof(*segment->touched));
    if (segment->touched == NULL) {
        return false;
    }
    segment->capacity = capacity;
    lsm_segment_seal(segment, size);
    return true;
}

lsmkv_status lsm_cache_segment_begin(const lsm_segment *segment, lsm_file **filep,
                                     lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_record_file_header header = {
        .type = LSM_FILE_CACHE, .number = segment->number, .file_id = segment->file_id};
    uint8_t bytes[LSM_RECORD_FILE_HEADER_SIZE];
    lsm_slice piece = lsm_slice_make(bytes, sizeof(bytes));
    char name[LSM_FILENAME_SIZE];
    lsm_file *file = NULL;

    *filep = NULL;
    memcpy(header.uuid, segment->context->uuid, LSM_UUID_SIZE);
    lsm_record_file_header_encode(&header, bytes);
    lsm_segment_name(segment, name);
    LSM_TRY(lsm_file_open(segment->context->dir, name, LSM_OPEN_CREATE, &file, err));
    LSM_TRY(lsm_file_write_at(file, 0, &piece, 1, err));
    *filep = file;
    file = NULL;
out:
    lsm_file_drop(file);
    return status;
}

void lsm_cache_segment_grow(lsm_segment *segment, uint64_t end) {
    uint64_t size = atomic_load_explicit(&segment->size, memory_order_relaxed);

    LSM_ASSERT(end <= segment->capacity);
    /* release: pairs with the acquire of who follows a pointer. */
    while (size < end && !atomic_compare_exchange_weak_explicit(
                             &segment->size, &size, end, memory_order_release,
                             memory_order_relaxed)) {
    }
}

bool lsm_cache_segment_touched(const lsm_segment *segment, uint64_t offset) {
    uint64_t unit = offset / LSM_VALUE_ALIGN;
    uint64_t word =
        atomic_load_explicit(&segment->touched[unit / WORD_BITS], memory_order_relaxed);
    return (word >> unit % WORD_BITS & 1) != 0;
}

void lsm_cache_walk_init(lsm_cache_walk *walk, const lsm_segment *segment) {
    char name[LSM_FILENAME_SIZE];

    *walk = (lsm_cache_walk){.segment = segment, .offset = LSM_RECORD_FILE_HEADER_SIZE};
    lsm_buf_init(&walk->window);
    lsm_segment_name(segment, name);
    walk->end = atomic_load_explicit(&segment->size, memory_order_acquire);
    if (lsm_file_open(segment->context->dir, name, LSM_OPEN_READ, &walk->file, NULL) !=
        LSMKV_OK) {
        walk->file = NULL;
    }
}

void lsm_cache_walk_deinit(lsm_cache_walk *walk) {
    lsm_file_drop(walk->file);
    lsm_buf_deinit(&walk->window);
    walk->file = NULL;
}

/* Brings `size` bytes at the walk's offset into the window. */
static lsmkv_status fetch(lsm_cache_walk *walk, size_t size, const uint8_t **bytes,
                          lsmkv_error *err) {
    uint64_t skip = walk->offset - walk->window_at;

    LSM_ASSERT(walk->offset >= walk->window_at);
    if (size > walk->end - walk->offset) {
        return LSMKV_NOT_FOUND;
    }
    if (skip + size > walk->window.size) {
        uint64_t left = walk->end - walk->offset;
        size_t want = size > WINDOW_SIZE ? size : WINDOW_SIZE;
        size_t got = 0;
        want = left < want ? (size_t)left : want;
        lsm_buf_clear(&walk->window);
        if (!lsm_buf_reserve(&walk->window, want)) {
            return lsm_fail_memory(err, want);
        }
        if (lsm_file_read(walk->file, walk->offset, walk->window.data, want, &got,
                          NULL) != LSMKV_OK ||
            got < size) {
            return LSMKV_NOT_FOUND;
        }
        walk->window.size = got;
        walk->window_at = walk->offset;
        skip = 0;
    }
    *bytes = walk->window.data + skip;
    return LSMKV_OK;
}

/* The frame at the walk's offset. *there: there is one. */
static lsmkv_status look(lsm_cache_walk *walk, lsm_cache_frame *frame, bool *there,
                         const uint8_t **bytes, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_segment *segment = walk->segment;

    *there = false;
    LSM_TRY(fetch(walk, LSM_CACHE_HEAD_SIZE, bytes, err));
    if (!lsm_cache_frame_peek(*bytes, frame) ||
        frame->value_at + frame->value_size > walk->end - walk->offset) {
        return LSMKV_OK;
    }
    LSM_TRY(fetch(walk, LSM_CACHE_HEAD_SIZE + frame->key_size, bytes, err));
    *there = lsm_cache_frame_check(frame, *bytes, segment->file_id, walk->offset);
out:
    return status;
}

lsmkv_status lsm_cache_walk_next(lsm_cache_walk *walk, lsm_cache_item *item,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_cache_frame frame;
    const uint8_t *bytes;
    bool there = false;

    if (walk->file == NULL) {
        return LSMKV_NOT_FOUND;
    }
    while (!there) {
        if (walk->offset >= walk->end) {
            return LSMKV_NOT_FOUND;
        }
        LSM_TRY(look(walk, &frame, &there, &bytes, err));
        if (!there) {
            walk->offset += LSM_CACHE_FRAME_ALIGN;
        }
    }
    item->skey = lsm_slice_make(bytes + LSM_CACHE_HEAD_SIZE, frame.key_size);
    item->pointer = (lsm_pointer){.segment = walk->segment->number,
                                  .offset = walk->offset + frame.value_at,
                                  .checksum = frame.value_checksum,
                                  .size = frame.value_size};
    item->size = frame.size;
    walk->offset += frame.size;
out:
    return status;
}
