/* SPDX-License-Identifier: Apache-2.0
 *
 * How blocks lie in a file: handles and frames. Everything read here comes from disk.
 */
#include "format/block.h"

#include "base/mutant.h"

enum { FRAME_CHECKED_SIZE = LSM_BLOCK_FRAME_SIZE - 8 };

size_t lsm_block_handle_encode(lsm_block_handle handle,
                               uint8_t to[LSM_BLOCK_HANDLE_SIZE_MAX]) {
    size_t size = lsm_put_varint(to, handle.offset);

    return size + lsm_put_varint(to + size, handle.size);
}

bool lsm_block_handle_decode(lsm_slice bytes, lsm_block_handle *handle) {
    lsm_reader reader = lsm_reader_make(bytes);

    lsm_read_varint(&reader, &handle->offset);
    lsm_read_varint(&reader, &handle->size);
    return lsm_reader_done(&reader);
}

void lsm_block_frame_seal(uint8_t *stored, size_t payload_size, lsm_block_frame frame,
                          uint64_t file_id, uint64_t offset) {
    uint8_t *to = stored + payload_size;

    lsm_put_u32(to, frame.raw_size);
    to[4] = frame.codec;
    to[5] = (uint8_t)frame.type;
    lsm_put_u16(to + 6, 0);
    lsm_put_u64(
        to + FRAME_CHECKED_SIZE,
        lsm_checksum(file_id, offset, stored, payload_size + FRAME_CHECKED_SIZE));
}

/* `from` are the bytes of a frame, behind a payload of that size and under that
 * checksum. */
static bool open_frame(const uint8_t *from, size_t payload_size, uint64_t checksum,
                       lsm_block_frame *frame) {
    if (!lsm_checksum_agrees(lsm_get_u64(from + FRAME_CHECKED_SIZE), checksum) &&
        !LSM_MUTANT(BLOCK_CHECKSUM_NOT_CHECKED)) {
        return false;
    }
    frame->raw_size = lsm_get_u32(from);
    frame->codec = from[4];
    frame->type = (lsm_block_type)from[5];
    return lsm_get_u16(from + 6) == 0 && from[5] >= LSM_BLOCK_DATA &&
           from[5] <= LSM_BLOCK_RANGE_DELETES && frame->raw_size != 0 &&
           frame->raw_size <= LSM_BLOCK_RAW_SIZE_MAX &&
           (frame->codec != 0 || frame->raw_size == payload_size);
}

bool lsm_block_frame_open(lsm_slice stored, uint64_t file_id, uint64_t offset,
                          lsm_block_frame *frame) {
    size_t payload_size = 0;

    if (stored.size < LSM_BLOCK_FRAME_SIZE) {
        return false;
    }
    payload_size = stored.size - LSM_BLOCK_FRAME_SIZE;
    return open_frame(
        stored.data + payload_size, payload_size,
        lsm_checksum(file_id, offset, stored.data, payload_size + FRAME_CHECKED_SIZE),
        frame);
}

bool lsm_block_frame_open_after(lsm_xxh3_prefix *prefix, size_t payload_size,
                                uint64_t file_id, uint64_t offset,
                                lsm_block_frame *frame) {
    uint64_t hash = lsm_xxh3_prefix_hash(prefix, payload_size + FRAME_CHECKED_SIZE);

    return open_frame(prefix->data + payload_size, payload_size,
                      lsm_checksum_bind(hash, file_id, offset), frame);
}
