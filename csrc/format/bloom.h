/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocked bloom filter (Putze, Sanders, Singler 2007): one 64-byte line per key, so a
 * test costs one cache miss. The line is (hash >> 32) * line_count >> 32; the `probes`
 * bits inside it are the top 9 bits of the low half of the hash times powers of
 * 0x9E3779B9, modulo 2^32.
 *
 *   line*  64 bytes each, bit b is bit b % 8 of byte b / 8
 *   line_count u32 | probes u8 | zero u8[3]
 */
#ifndef LSM_FORMAT_BLOOM_H
#define LSM_FORMAT_BLOOM_H

#include "base/buf.h"
#include "base/slice.h"

enum { LSM_BLOOM_LINE = 64, LSM_BLOOM_TRAILER_SIZE = 8 };

/* Appends the filter over the hashes, of which there is at least one. false: no
 * memory. */
bool lsm_bloom_build(const uint64_t *hashes, size_t count, uint32_t bits_per_key,
                     lsm_buf *to) LSM_MUST_CHECK;

typedef struct lsm_bloom {
    const uint8_t *lines; /* borrowed; aligned to LSM_BLOOM_LINE if speed matters */
    uint32_t line_count;  /* 0: no filter, everything may be there */
    uint32_t probes;
} lsm_bloom;

bool lsm_bloom_open(lsm_bloom *bloom, lsm_slice bytes); /* false: malformed */
static inline const uint8_t *lsm_bloom_line(const lsm_bloom *bloom, uint64_t hash) {
    return bloom->lines +
           (size_t)(((hash >> 32) * bloom->line_count) >> 32) * LSM_BLOOM_LINE;
}
bool lsm_bloom_may_contain(const lsm_bloom *bloom, uint64_t hash);

#endif
