/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm_slice: bytes borrowed from somebody else. A struct field that is a slice says
 * from whom it borrows.
 */
#ifndef LSM_BASE_SLICE_H
#define LSM_BASE_SLICE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct lsm_slice {
    const uint8_t *data;
    size_t size;
} lsm_slice;

static inline lsm_slice lsm_slice_make(const void *data, size_t size) {
    return (lsm_slice){(const uint8_t *)data, size};
}

/* < 0, 0, > 0, as qsort wants it. */
static inline int lsm_compare_u64(uint64_t a, uint64_t b) {
    return (a > b) - (a < b);
}

static inline int lsm_slice_compare(lsm_slice a, lsm_slice b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static inline int lsm_slice_equal(lsm_slice a, lsm_slice b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The number of leading bytes in which both agree. */
static inline size_t lsm_slice_common(lsm_slice a, lsm_slice b) {
    size_t least = a.size < b.size ? a.size : b.size;
    size_t common = 0;

    while (common + 8 <= least && memcmp(a.data + common, b.data + common, 8) == 0) {
        common += 8;
    }
    while (common < least && a.data[common] == b.data[common]) {
        common++;
    }
    return common;
}

#endif
