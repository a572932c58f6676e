/* SPDX-License-Identifier: Apache-2.0
 *
 * Integers to bytes and back. Stored integers are little-endian, except where order
 * matters (namespace ids in keys: big-endian). Decoding of bytes from disk goes
 * through lsm_reader, a cursor that never reads outside its bytes: each lsm_read_*
 * either consumes and returns true, or returns false, sets its out-parameter to zero
 * (or the empty slice) and leaves the cursor failed at the byte that was wrong. Every
 * later read fails too, so a decoder may read several fields and check once.
 *
 *   varint   LEB128, 7 bits a byte, low first, at most 10 bytes. Overlong forms (a
 *            last byte of 0 after the first) are rejected, so that every value has
 *            one encoding and a flipped bit cannot hide.
 */
#ifndef LSM_BASE_CODING_H
#define LSM_BASE_CODING_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"
#include "base/slice.h"

enum { LSM_VARINT_SIZE_MAX = 10, LSM_VARINT32_SIZE_MAX = 5 };

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
enum { LSM_BIG_ENDIAN = 1 };
#else
enum { LSM_BIG_ENDIAN = 0 };
#endif

static inline uint16_t lsm_swap_u16(uint16_t value) {
    return (uint16_t)(value << 8 | value >> 8);
}

static inline uint32_t lsm_swap_u32(uint32_t value) {
    value = (value & 0x00FF00FFu) << 8 | (value >> 8 & 0x00FF00FFu);
    return value << 16 | value >> 16;
}

static inline uint64_t lsm_swap_u64(uint64_t value) {
    uint32_t low = lsm_swap_u32((uint32_t)value);
    return (uint64_t)low << 32 | lsm_swap_u32((uint32_t)(value >> 32));
}

/* The pointers need no alignment. memcpy rather than shifts of bytes, because gcc does
 * not always see that eight shifted bytes are one load. */
static inline void lsm_put_u16(uint8_t *to, uint16_t value) {
    value = LSM_BIG_ENDIAN ? lsm_swap_u16(value) : value;
    memcpy(to, &value, sizeof(value));
}

static inline void lsm_put_u32(uint8_t *to, uint32_t value) {
    value = LSM_BIG_ENDIAN ? lsm_swap_u32(value) : value;
    memcpy(to, &value, sizeof(value));
}

static inline void lsm_put_u64(uint8_t *to, uint64_t value) {
    value = LSM_BIG_ENDIAN ? lsm_swap_u64(value) : value;
    memcpy(to, &value, sizeof(value));
}

static inline void lsm_put_u32_be(uint8_t *to, uint32_t value) {
    lsm_put_u32(to, lsm_swap_u32(value));
}

static inline void lsm_put_u64_be(uint8_t *to, uint64_t value) {
    lsm_put_u64(to, lsm_swap_u64(value));
}

static inline uint16_t lsm_get_u16(const uint8_t *from) {
    uint16_t value;
    memcpy(&value, from, sizeof(value));
    return LSM_BIG_ENDIAN ? lsm_swap_u16(value) : value;
}

static inline uint32_t lsm_get_u32(const uint8_t *from) {
    uint32_t value;
    memcpy(&value, from, sizeof(value));
    return LSM_BIG_ENDIAN ? lsm_swap_u32(value) : value;
}

static inline uint64_t lsm_get_u64(const uint8_t *from) {
    uint64_t value;
    memcpy(&value, from, sizeof(value));
    return LSM_BIG_ENDIAN ? lsm_swap_u64(value) : value;
}

static inline uint32_t lsm_get_u32_be(const uint8_t *from) {
    return lsm_swap_u32(lsm_get_u32(from));
}

static inline uint64_t lsm_get_u64_be(const uint8_t *from) {
    return lsm_swap_u64(lsm_get_u64(from));
}

/* Returns the bytes written (1..10). */
size_t lsm_put_varint(uint8_t *to, uint64_t value);
size_t lsm_varint_size(uint64_t value);
/* Decodes a varint32 in [from, end). Returns the byte after it, or NULL. Hot path of
 * block decoding; the one-byte case is for the caller to inline. */
const uint8_t *lsm_get_varint32(const uint8_t *from, const uint8_t *end,
                                uint32_t *value);

typedef struct lsm_reader {
    const uint8_t *at; /* borrowed from whoever made the reader */
    const uint8_t *end;
    bool failed;
} lsm_reader;

static inline lsm_reader lsm_reader_make(lsm_slice bytes) {
    /* Of no bytes there may be no address, which nothing is added to. */
    const uint8_t *end = bytes.size == 0 ? bytes.data : bytes.data + bytes.size;

    return (lsm_reader){bytes.data, end, false};
}

static inline size_t lsm_reader_left(const lsm_reader *reader) {
    return (size_t)(reader->end - reader->at);
}

/* true when everything was consumed and nothing failed. */
static inline bool lsm_reader_done(const lsm_reader *reader) {
    return !reader->failed && reader->at == reader->end;
}

bool lsm_read_u8(lsm_reader *reader, uint8_t *value);
bool lsm_read_u32(lsm_reader *reader, uint32_t *value);
bool lsm_read_u64(lsm_reader *reader, uint64_t *value);
bool lsm_read_varint(lsm_reader *reader, uint64_t *value);
bool lsm_read_varint32(lsm_reader *reader, uint32_t *value);
bool lsm_read_bytes(lsm_reader *reader, size_t size, lsm_slice *bytes);
/* varint size, then that many bytes. */
bool lsm_read_slice(lsm_reader *reader, lsm_slice *bytes);
/* Consumes `size` bytes that must all be zero. */
bool lsm_read_zeros(lsm_reader *reader, size_t size);

/* *sum = a + b, *product = a * b; false on overflow. For sizes that come from files. */
bool lsm_add_ok(uint64_t a, uint64_t b, uint64_t *sum);
bool lsm_mul_ok(uint64_t a, uint64_t b, uint64_t *product);

#endif
