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

/* Written with shifts, which compilers turn into one load or store; the pointers need
 * no alignment. */
static inline void lsm_put_u16(uint8_t *to, uint16_t value) {
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

static inline void lsm_put_u32(uint8_t *to, uint32_t value) {
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    to[2] = (uint8_t)(value >> 16);
    to[3] = (uint8_t)(value >> 24);
}

static inline void lsm_put_u64(uint8_t *to, uint64_t value) {
    lsm_put_u32(to, (uint32_t)value);
    lsm_put_u32(to + 4, (uint32_t)(value >> 32));
}

static inline void lsm_put_u32_be(uint8_t *to, uint32_t value) {
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

static inline uint16_t lsm_get_u16(const uint8_t *from) {
    return (uint16_t)(from[0] | from[1] << 8);
}

static inline uint32_t lsm_get_u32(const uint8_t *from) {
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static inline uint64_t lsm_get_u64(const uint8_t *from) {
    return (uint64_t)from[0] | (uint64_t)from[1] << 8 | (uint64_t)from[2] << 16 |
           (uint64_t)from[3] << 24 | (uint64_t)from[4] << 32 | (uint64_t)from[5] << 40 |
           (uint64_t)from[6] << 48 | (uint64_t)from[7] << 56;
}

static inline uint32_t lsm_get_u32_be(const uint8_t *from) {
    return (uint32_t)from[3] | (uint32_t)from[2] << 8 | (uint32_t)from[1] << 16 |
           (uint32_t)from[0] << 24;
}

static inline uint64_t lsm_get_u64_be(const uint8_t *from) {
    return (uint64_t)from[7] | (uint64_t)from[6] << 8 | (uint64_t)from[5] << 16 |
           (uint64_t)from[4] << 24 | (uint64_t)from[3] << 32 | (uint64_t)from[2] << 40 |
           (uint64_t)from[1] << 48 | (uint64_t)from[0] << 56;
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
    return (lsm_reader){bytes.data, bytes.data + bytes.size, false};
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
