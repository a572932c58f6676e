/* SPDX-License-Identifier: Apache-2.0
 *
 * Building and testing the blocked bloom filter. Multiplying again by the same odd
 * constant gives each probe bits that depend on all lower bits of the hash, which keeps
 * the rate of false positives near that of independent probes.
 */
#include "format/bloom.h"

#include <string.h>

#include "base/coding.h"
#include "base/mutant.h"

enum {
    PROBE_SHIFT = 32 - 9, /* a line has 2^9 bits */
    PROBES_MAX = 16,
    LINE_BITS = 8 * LSM_BLOOM_LINE,
    AHEAD = 16, /* lines fetched before they are written */
};

#define PROBE_FACTOR 0x9E3779B9u

/* The number of probes with the fewest false positives: below ln 2 per bit, because
 * keys are spread unevenly over lines. Chosen by measurement (tests/c/test_bloom.c). */
static uint32_t pick_probes(uint32_t bits_per_key) {
    uint32_t probes = (bits_per_key * 5 + 4) / 8;

    if (probes < 1) {
        return 1;
    }
    return probes > PROBES_MAX ? PROBES_MAX : probes;
}

static inline uint8_t *line_of(uint8_t *lines, uint64_t line_count, uint64_t hash) {
    return lines + (((hash >> 32) * line_count) >> 32) * LSM_BLOOM_LINE;
}

bool lsm_bloom_build(const uint64_t *hashes, size_t count, uint32_t bits_per_key,
                     lsm_buf *to) {
    uint64_t bits = 0;
    uint64_t line_count = 0;
    uint32_t probes = pick_probes(bits_per_key);
    uint8_t *lines = NULL;

    if (!lsm_mul_ok(count, bits_per_key, &bits) || bits / LINE_BITS >= UINT32_MAX) {
        return false;
    }
    line_count = bits / LINE_BITS + 1;
    size_t lines_size = (size_t)line_count * LSM_BLOOM_LINE;
    if (!lsm_buf_reserve(to, lines_size + LSM_BLOOM_TRAILER_SIZE)) {
        return false;
    }
    lines = to->data + to->size;
    memset(lines, 0, lines_size);
    for (size_t i = 0; i < count; i++) {
        uint8_t *line = line_of(lines, line_count, hashes[i]);
        uint32_t mixed = (uint32_t)hashes[i];

        if (i + AHEAD < count) {
            LSM_PREFETCH(line_of(lines, line_count, hashes[i + AHEAD]));
        }
        for (uint32_t probe = 0; probe < probes; probe++) {
            uint32_t bit = mixed >> PROBE_SHIFT;

            line[bit / 8] = (uint8_t)(line[bit / 8] | 1u << (bit % 8));
            mixed *= PROBE_FACTOR;
        }
    }
    lsm_put_u32(lines + lines_size, (uint32_t)line_count);
    lsm_put_u32(lines + lines_size + 4, probes);
    to->size += lines_size + LSM_BLOOM_TRAILER_SIZE;
    return true;
}

bool lsm_bloom_open(lsm_bloom *bloom, lsm_slice bytes) {
    lsm_reader reader = {0};
    uint8_t probes = 0;

    *bloom = (lsm_bloom){0};
    if (bytes.size < LSM_BLOOM_TRAILER_SIZE) {
        return false;
    }
    size_t lines_size = bytes.size - LSM_BLOOM_TRAILER_SIZE;
    reader = lsm_reader_make(
        lsm_slice_make(bytes.data + lines_size, LSM_BLOOM_TRAILER_SIZE));
    lsm_read_u32(&reader, &bloom->line_count);
    lsm_read_u8(&reader, &probes);
    lsm_read_zeros(&reader, 3);
    bloom->lines = bytes.data;
    bloom->probes = probes;
    return lsm_reader_done(&reader) && probes >= 1 && probes <= PROBES_MAX &&
           bloom->line_count >= 1 &&
           (uint64_t)bloom->line_count * LSM_BLOOM_LINE == lines_size;
}

bool lsm_bloom_may_contain(const lsm_bloom *bloom, uint64_t hash) {
    const uint8_t *line = NULL;
    uint32_t mixed = (uint32_t)hash;
    uint32_t present = 1;

    if (bloom->line_count == 0) {
        return true;
    }
    /* All probes are taken: one would end at a place nobody can predict. */
    line = lsm_bloom_line(bloom, hash);
    for (uint32_t probe = 0; probe < bloom->probes; probe++) {
        uint32_t bit = mixed >> PROBE_SHIFT;

        present &= (uint32_t)line[bit / 8] >> (bit % 8);
        mixed *= PROBE_FACTOR;
    }
    return present != 0 && !(LSM_MUTANT(FILTER_MISSES_KEYS) && hash % 64 == 0);
}
