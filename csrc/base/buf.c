/* SPDX-License-Identifier: Apache-2.0
 *
 * Owned bytes that grow by doubling. Every append reserves first and changes the
 * buffer only when that succeeded. The bytes appended may lie in the buffer itself.
 */
#include "base/buf.h"

#include <string.h>

#include "base/alloc.h"
#include "base/coding.h"

enum { CAPACITY_MIN = 64 };

void lsm_buf_init(lsm_buf *buf) {
    *buf = (lsm_buf){NULL, 0, 0};
}

void lsm_buf_deinit(lsm_buf *buf) {
    lsm_free(buf->data);
    lsm_buf_init(buf);
}

static LSM_NOINLINE bool grow(lsm_buf *buf, size_t extra) {
    size_t wanted = buf->capacity < CAPACITY_MIN ? CAPACITY_MIN : buf->capacity;
    size_t needed = buf->size + extra;
    uint8_t *data = NULL;

    if (needed < extra) {
        return false;
    }
    while (wanted < needed) {
        wanted = wanted > SIZE_MAX / 2 ? needed : wanted * 2;
    }
    data = lsm_realloc(buf->data, wanted);
    if (data == NULL) {
        return false;
    }
    buf->data = data;
    buf->capacity = wanted;
    return true;
}

bool lsm_buf_reserve(lsm_buf *buf, size_t extra) {
    return LSM_LIKELY(extra <= buf->capacity - buf->size) || grow(buf, extra);
}

bool lsm_buf_append(lsm_buf *buf, const void *data, size_t size) {
    const uint8_t *from = data;

    if (size == 0) {
        return true;
    }
    if (LSM_UNLIKELY(size > buf->capacity - buf->size)) {
        /* Growing moves the buffer, and with it bytes that are a part of it. */
        uintptr_t inside = (uintptr_t)from - (uintptr_t)buf->data;
        bool own = buf->data != NULL && inside < buf->size;

        if (!grow(buf, size)) {
            return false;
        }
        from = own ? buf->data + inside : from;
    }
    memcpy(buf->data + buf->size, from, size);
    buf->size += size;
    return true;
}

bool lsm_buf_append_zeros(lsm_buf *buf, size_t size) {
    if (size == 0) {
        return true;
    }
    if (!lsm_buf_reserve(buf, size)) {
        return false;
    }
    memset(buf->data + buf->size, 0, size);
    buf->size += size;
    return true;
}

bool lsm_buf_append_u8(lsm_buf *buf, uint8_t value) {
    if (!lsm_buf_reserve(buf, 1)) {
        return false;
    }
    buf->data[buf->size++] = value;
    return true;
}

bool lsm_buf_append_u32(lsm_buf *buf, uint32_t value) {
    if (!lsm_buf_reserve(buf, sizeof(value))) {
        return false;
    }
    lsm_put_u32(buf->data + buf->size, value);
    buf->size += sizeof(value);
    return true;
}

bool lsm_buf_append_u64(lsm_buf *buf, uint64_t value) {
    if (!lsm_buf_reserve(buf, sizeof(value))) {
        return false;
    }
    lsm_put_u64(buf->data + buf->size, value);
    buf->size += sizeof(value);
    return true;
}

bool lsm_buf_append_varint(lsm_buf *buf, uint64_t value) {
    if (!lsm_buf_reserve(buf, LSM_VARINT_SIZE_MAX)) {
        return false;
    }
    buf->size += lsm_put_varint(buf->data + buf->size, value);
    return true;
}

bool lsm_buf_append_slice(lsm_buf *buf, lsm_slice slice) {
    size_t size = buf->size;

    if (!lsm_buf_append_varint(buf, slice.size)) {
        return false;
    }
    if (!lsm_buf_append(buf, slice.data, slice.size)) {
        buf->size = size;
        return false;
    }
    return true;
}
