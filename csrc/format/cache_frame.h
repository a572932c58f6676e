/* SPDX-License-Identifier: Apache-2.0
 *
 * What lies in a cache segment: the header of a record file (record.h), then frames.
 *
 * Frame, at a multiple of 64:
 *    0 checksum u64: lsm_checksum(file id, offset of the frame, bytes 8..24 + key size)
 *    8 checksum u64 of the value (XXH3-64)
 *   16 size u32 of the value      20 size u32 of the stored key
 *   24 stored key, zeros, value
 *
 * A value of LSM_CACHE_LARGE_MIN bytes or more starts at the next multiple of 64, a
 * smaller one at the next multiple of 8. The next frame may begin at the next multiple
 * of 64; what lies between is not looked at.
 *
 * Frames are written in any order and never synced. Who walks a segment goes on to the
 * next multiple of 64 where there is no frame.
 */
#ifndef LSM_FORMAT_CACHE_FRAME_H
#define LSM_FORMAT_CACHE_FRAME_H

#include "base/buf.h"
#include "base/status.h"
#include "format/ikey.h"

enum {
    LSM_CACHE_FRAME_ALIGN = 64,
    LSM_CACHE_HEAD_SIZE = 24,
    LSM_CACHE_LARGE_MIN = 1024,
};

typedef struct lsm_cache_frame {
    uint64_t value_checksum;
    uint32_t value_size;
    uint32_t key_size;
    uint64_t value_at; /* from the start of the frame */
    uint64_t size;     /* up to where the next one may begin */
} lsm_cache_frame;

/* Sizes and places, for a stored key and a value within their limits. */
lsm_cache_frame lsm_cache_frame_plan(size_t key_size, size_t value_size);
/* Appends what comes before the value, for a frame at `offset` of its file. */
bool lsm_cache_frame_encode(const lsm_cache_frame *frame, lsm_slice skey,
                            uint64_t file_id, uint64_t offset,
                            lsm_buf *to) LSM_MUST_CHECK;
/* Looks at the first LSM_CACHE_HEAD_SIZE bytes alone: false when no frame begins so. */
bool lsm_cache_frame_peek(const uint8_t *head, lsm_cache_frame *frame);
/* Whether head and key, of a frame that was peeked at, are what was written. */
bool lsm_cache_frame_check(const lsm_cache_frame *frame, const uint8_t *bytes,
                           uint64_t file_id, uint64_t offset);

#endif
