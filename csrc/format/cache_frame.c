/* SPDX-License-Identifier: Apache-2.0
 *
 * See cache_frame.h for the bytes.
 */
#include "format/cache_frame.h"

#include "base/coding.h"

enum { VALUE_CHECKSUM_AT = 8, VALUE_SIZE_AT = 16, KEY_SIZE_AT = 20 };

static uint64_t align_up(uint64_t size, uint64_t to) {
    return (size + to - 1) / to * to;
}

lsm_cache_frame lsm_cache_frame_plan(size_t key_size, size_t value_size) {
    uint64_t unit = value_size >= LSM_CACHE_LARGE_MIN ? LSM_CACHE_FRAME_ALIGN : 8;
    uint64_t value_at = align_up(LSM_CACHE_HEAD_SIZE + key_size, unit);

    return (lsm_cache_frame){
        .value_size = (uint32_t)value_size,
        .key_size = (uint32_t)key_size,
        .value_at = value_at,
        .size = align_up(value_at + value_size, LSM_CACHE_FRAME_ALIGN)};
}

bool lsm_cache_frame_encode(const lsm_cache_frame *frame, lsm_slice skey,
                            uint64_t file_id, uint64_t offset, lsm_buf *to) {
    size_t at = to->size;

    if (!lsm_buf_append_zeros(to, (size_t)frame->value_at)) {
        return false;
    }
    uint8_t *head = to->data + at;
    lsm_put_u64(head + VALUE_CHECKSUM_AT, frame->value_checksum);
    lsm_put_u32(head + VALUE_SIZE_AT, frame->value_size);
    lsm_put_u32(head + KEY_SIZE_AT, frame->key_size);
    memcpy(head + LSM_CACHE_HEAD_SIZE, skey.data, skey.size);
    lsm_put_u64(head,
                lsm_checksum(file_id, offset, head + VALUE_CHECKSUM_AT,
                             LSM_CACHE_HEAD_SIZE - VALUE_CHECKSUM_AT + skey.size));
    return true;
}

bool lsm_cache_frame_peek(const uint8_t *head, lsm_cache_frame *frame) {
    uint32_t value_size = lsm_get_u32(head + VALUE_SIZE_AT);
    uint32_t key_size = lsm_get_u32(head + KEY_SIZE_AT);

    if (value_size > LSMKV_VALUE_SIZE_MAX || key_size < LSM_NAMESPACE_SIZE ||
        key_size > LSM_SKEY_SIZE_MAX) {
        return false;
    }
    *frame = lsm_cache_frame_plan(key_size, value_size);
    frame->value_checksum = lsm_get_u64(head + VALUE_CHECKSUM_AT);
    return true;
}

bool lsm_cache_frame_check(const lsm_cache_frame *frame, const uint8_t *bytes,
                           uint64_t file_id, uint64_t offset) {
    return lsm_checksum_agrees(
        lsm_get_u64(bytes),
        lsm_checksum(file_id, offset, bytes + VALUE_CHECKSUM_AT,
                     LSM_CACHE_HEAD_SIZE - VALUE_CHECKSUM_AT + frame->key_size));
}
