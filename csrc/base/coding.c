/* SPDX-License-Identifier: Apache-2.0
 *
 * Varints and the bounds-checked cursor. A read that fails sets its out-parameter to
 * zero or to the empty slice and leaves the cursor where it was, so `at` names the
 * byte that was wrong.
 */
#include "base/coding.h"

enum { VARINT_BITS = 7, VARINT_MORE = 0x80 };

size_t lsm_put_varint(uint8_t *to, uint64_t value) {
    size_t size = 0;

    while (value >= VARINT_MORE) {
        to[size++] = (uint8_t)(value | VARINT_MORE);
        value >>= VARINT_BITS;
    }
    to[size++] = (uint8_t)value;
    return size;
}

size_t lsm_varint_size(uint64_t value) {
    size_t size = 1;

    while (value >= VARINT_MORE) {
        value >>= VARINT_BITS;
        size++;
    }
    return size;
}

/* Decodes a varint of at most `bits` significant bits. NULL: cut short, too large or
 * not the shortest form. */
static inline const uint8_t *decode_varint(const uint8_t *from, const uint8_t *end,
                                           unsigned bits, uint64_t *value) {
    uint64_t result = 0;

    for (unsigned shift = 0; shift < bits && from < end; shift += VARINT_BITS) {
        uint64_t byte = *from++;

        result |= (byte & (VARINT_MORE - 1)) << shift;
        if (byte < VARINT_MORE) {
            bool overlong = byte == 0 && shift != 0;
            bool too_large = shift + VARINT_BITS > bits && byte >> (bits - shift) != 0;

            *value = result;
            return overlong || too_large ? NULL : from;
        }
    }
    return NULL;
}

const uint8_t *lsm_get_varint32(const uint8_t *from, const uint8_t *end,
                                uint32_t *value) {
    uint64_t wide = 0;
    const uint8_t *after = decode_varint(from, end, 32, &wide);

    *value = (uint32_t)wide;
    return after;
}

/* Consumes `size` bytes. NULL: failed before, or fewer are left. */
static inline const uint8_t *take(lsm_reader *reader, size_t size) {
    const uint8_t *at = reader->at;

    if (LSM_UNLIKELY(reader->failed || size > lsm_reader_left(reader))) {
        reader->failed = true;
        return NULL;
    }
    reader->at = at + size;
    return at;
}

bool lsm_read_u8(lsm_reader *reader, uint8_t *value) {
    const uint8_t *at = take(reader, sizeof(*value));

    *value = at == NULL ? 0 : *at;
    return at != NULL;
}

bool lsm_read_u32(lsm_reader *reader, uint32_t *value) {
    const uint8_t *at = take(reader, sizeof(*value));

    *value = at == NULL ? 0 : lsm_get_u32(at);
    return at != NULL;
}

bool lsm_read_u64(lsm_reader *reader, uint64_t *value) {
    const uint8_t *at = take(reader, sizeof(*value));

    *value = at == NULL ? 0 : lsm_get_u64(at);
    return at != NULL;
}

static bool read_varint(lsm_reader *reader, unsigned bits, uint64_t *value) {
    const uint8_t *after = NULL;

    if (!reader->failed) {
        after = decode_varint(reader->at, reader->end, bits, value);
    }
    if (after == NULL) {
        reader->failed = true;
        *value = 0;
        return false;
    }
    reader->at = after;
    return true;
}

bool lsm_read_varint(lsm_reader *reader, uint64_t *value) {
    return read_varint(reader, 64, value);
}

bool lsm_read_varint32(lsm_reader *reader, uint32_t *value) {
    uint64_t wide = 0;
    bool ok = read_varint(reader, 32, &wide);

    *value = (uint32_t)wide;
    return ok;
}

bool lsm_read_bytes(lsm_reader *reader, size_t size, lsm_slice *bytes) {
    const uint8_t *at = reader->at;

    if (LSM_UNLIKELY(reader->failed || size > lsm_reader_left(reader))) {
        reader->failed = true;
        *bytes = lsm_slice_make(NULL, 0);
        return false;
    }
    *bytes = lsm_slice_make(at, size);
    reader->at = size == 0 ? at : at + size;
    return true;
}

bool lsm_read_slice(lsm_reader *reader, lsm_slice *bytes) {
    const uint8_t *start = reader->at;
    uint64_t size = 0;

    if (lsm_read_varint(reader, &size) && size <= lsm_reader_left(reader)) {
        return lsm_read_bytes(reader, (size_t)size, bytes);
    }
    reader->at = start;
    reader->failed = true;
    *bytes = lsm_slice_make(NULL, 0);
    return false;
}

bool lsm_read_zeros(lsm_reader *reader, size_t size) {
    const uint8_t *start = reader->at;
    lsm_slice bytes;
    uint8_t any = 0;

    if (!lsm_read_bytes(reader, size, &bytes)) {
        return false;
    }
    for (size_t i = 0; i < bytes.size; i++) {
        any |= bytes.data[i];
    }
    if (any != 0) {
        reader->at = start;
        reader->failed = true;
    }
    return any == 0;
}

bool lsm_add_ok(uint64_t a, uint64_t b, uint64_t *sum) {
    *sum = a + b;
    return *sum >= a;
}

bool lsm_mul_ok(uint64_t a, uint64_t b, uint64_t *product) {
    *product = a * b;
    return b == 0 || a <= UINT64_MAX / b;
}
