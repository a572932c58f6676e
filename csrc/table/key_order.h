/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparing stored keys in line, eight bytes at a time. Keys here are short and mostly
 * decided within two or three words, where calling memcmp costs more than comparing.
 *
 * A stored key has at least LSM_NAMESPACE_SIZE bytes. So no load has to leave the key:
 * the last, partial word is loaded so that it ends where the shorter key ends, and
 * overlaps bytes already known to be equal.
 */
#ifndef LSM_TABLE_KEY_ORDER_H
#define LSM_TABLE_KEY_ORDER_H

#include "format/ikey.h"

/* < 0, 0, > 0 as stored key a sorts before, equals or sorts after b. */
static inline int lsm_skey_order(lsm_slice a, lsm_slice b) {
    size_t common = a.size < b.size ? a.size : b.size;
    uint64_t a_word = 0;
    uint64_t b_word = 0;

    for (size_t at = 0; at + 8 <= common; at += 8) {
        a_word = lsm_get_u64_be(a.data + at);
        b_word = lsm_get_u64_be(b.data + at);
        if (a_word != b_word) {
            return a_word < b_word ? -1 : 1;
        }
    }
    if (common >= 8) {
        a_word = lsm_get_u64_be(a.data + common - 8);
        b_word = lsm_get_u64_be(b.data + common - 8);
    } else {
        a_word = (uint64_t)lsm_get_u32_be(a.data) << 32 |
                 lsm_get_u32_be(a.data + common - 4);
        b_word = (uint64_t)lsm_get_u32_be(b.data) << 32 |
                 lsm_get_u32_be(b.data + common - 4);
    }
    if (a_word != b_word) {
        return a_word < b_word ? -1 : 1;
    }
    return (a.size > b.size) - (a.size < b.size);
}

/* true when two stored keys of the same size are equal. */
static inline bool lsm_skey_same(const uint8_t *a, const uint8_t *b, size_t size) {
    if (LSM_UNLIKELY(size < 8)) {
        return lsm_get_u32(a) == lsm_get_u32(b) &&
               lsm_get_u32(a + size - 4) == lsm_get_u32(b + size - 4);
    }
    uint64_t different = lsm_get_u64(a + size - 8) ^ lsm_get_u64(b + size - 8);

    for (size_t at = 0; at + 8 < size && different == 0; at += 8) {
        different = lsm_get_u64(a + at) ^ lsm_get_u64(b + at);
    }
    return different == 0;
}

/* How many leading bytes a and b share, at most `limit`, which neither size is below.
 */
static inline size_t lsm_common_size(const uint8_t *a, const uint8_t *b, size_t limit) {
    size_t at = 0;

    while (at + 8 <= limit && lsm_get_u64(a + at) == lsm_get_u64(b + at)) {
        at += 8;
    }
    while (at < limit && a[at] == b[at]) {
        at++;
    }
    return at;
}

/* The eight bytes of a stored key from `from` on as a number, zero-filled. Keys that
 * share the first `from` bytes compare as their windows do, unless these are equal. */
static inline uint64_t lsm_skey_window(lsm_slice skey, size_t from) {
    size_t left = skey.size - from;
    uint64_t window = 0;

    if (LSM_LIKELY(left >= 8)) {
        return lsm_get_u64_be(skey.data + from);
    }
    if (LSM_LIKELY(skey.size >= 8 && left > 0)) {
        return lsm_get_u64_be(skey.data + skey.size - 8) << (64 - 8 * left);
    }
    for (size_t i = 0; i < left; i++) {
        window |= (uint64_t)skey.data[from + i] << (56 - 8 * i);
    }
    return window;
}

#endif
