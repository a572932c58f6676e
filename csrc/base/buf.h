/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm_buf: bytes that grow and are owned. Appending either succeeds or leaves the
 * buffer as it was. A zeroed struct is an empty buffer.
 */
#ifndef LSM_BASE_BUF_H
#define LSM_BASE_BUF_H

#include <stdbool.h>

#include "base/macros.h"
#include "base/slice.h"

typedef struct lsm_buf {
    uint8_t *data; /* owned; NULL when capacity is 0 */
    size_t size;
    size_t capacity;
} lsm_buf;

void lsm_buf_init(lsm_buf *buf);
void lsm_buf_deinit(lsm_buf *buf); /* frees; the buffer is empty and usable again */
/* Ensures room for `extra` more bytes. false: no memory (or overflow). */
bool lsm_buf_reserve(lsm_buf *buf, size_t extra) LSM_MUST_CHECK;
bool lsm_buf_append(lsm_buf *buf, const void *data, size_t size) LSM_MUST_CHECK;
bool lsm_buf_append_zeros(lsm_buf *buf, size_t size) LSM_MUST_CHECK;
bool lsm_buf_append_u8(lsm_buf *buf, uint8_t value) LSM_MUST_CHECK;
bool lsm_buf_append_u32(lsm_buf *buf,
                        uint32_t value) LSM_MUST_CHECK; /* little-endian */
bool lsm_buf_append_u64(lsm_buf *buf, uint64_t value) LSM_MUST_CHECK;
bool lsm_buf_append_varint(lsm_buf *buf, uint64_t value) LSM_MUST_CHECK;
bool lsm_buf_append_slice(lsm_buf *buf,
                          lsm_slice slice) LSM_MUST_CHECK; /* varint size, bytes */

static inline void lsm_buf_clear(lsm_buf *buf) {
    buf->size = 0;
}

static inline lsm_slice lsm_buf_slice(const lsm_buf *buf) {
    return lsm_slice_make(buf->data, buf->size);
}

#endif
