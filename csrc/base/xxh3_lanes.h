/* SPDX-License-Identifier: Apache-2.0
 *
 * The eight 64-bit lanes of XXH3's long inputs and the two operations on them. A
 * stripe of data and 64 bytes of secret enter as little-endian words; lane i gets
 *
 *   data[i ^ 1] + low32(data[i] ^ secret[i]) * high32(data[i] ^ secret[i])
 *
 * Written twice: as loops of constant count for any machine, and for SSE2, which every
 * x86-64 has, because what gcc makes of the loops takes 1.5 (-O3) to 4.5 (-O2) times
 * as long. Both are inlined, so that the lanes stay in registers over a whole input.
 */
#ifndef LSM_BASE_XXH3_LANES_H
#define LSM_BASE_XXH3_LANES_H

#include <stddef.h>
#include <stdint.h>

#include "base/coding.h"
#include "base/macros.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { LSM_XXH3_LANE_COUNT = 8, LSM_XXH3_STRIPE_SIZE = 64 };

#define LSM_XXH3_SCRAMBLE_PRIME 0x9E3779B1u

#if defined(__SSE2__)

typedef struct lsm_xxh3_lanes {
    __m128i pairs[LSM_XXH3_LANE_COUNT / 2];
} lsm_xxh3_lanes;

static LSM_ALWAYS_INLINE __m128i lsm_xxh3_load_pair(const uint8_t *from) {
    return _mm_loadu_si128((const __m128i *)(const void *)from);
}

static LSM_ALWAYS_INLINE __m128i lsm_xxh3_accumulate_pair(__m128i pair,
                                                          const uint8_t *data,
                                                          const uint8_t *secret) {
    __m128i words = lsm_xxh3_load_pair(data);
    __m128i keyed = _mm_xor_si128(words, lsm_xxh3_load_pair(secret));
    __m128i high = _mm_shuffle_epi32(keyed, _MM_SHUFFLE(0, 3, 0, 1));
    __m128i swapped = _mm_shuffle_epi32(words, _MM_SHUFFLE(1, 0, 3, 2));

    return _mm_add_epi64(_mm_add_epi64(pair, swapped), _mm_mul_epu32(keyed, high));
}

/* Spelled out, because a loop stays one at -O2 and the lanes in memory with it. */
static LSM_ALWAYS_INLINE void lsm_xxh3_accumulate(lsm_xxh3_lanes *lanes,
                                                  const uint8_t *data,
                                                  const uint8_t *secret) {
    __m128i *pairs = lanes->pairs;

    pairs[0] = lsm_xxh3_accumulate_pair(pairs[0], data, secret);
    pairs[1] = lsm_xxh3_accumulate_pair(pairs[1], data + 16, secret + 16);
    pairs[2] = lsm_xxh3_accumulate_pair(pairs[2], data + 32, secret + 32);
    pairs[3] = lsm_xxh3_accumulate_pair(pairs[3], data + 48, secret + 48);
}

static LSM_ALWAYS_INLINE __m128i lsm_xxh3_scramble_pair(__m128i pair,
                                                        const uint8_t *secret) {
    __m128i prime = _mm_set1_epi32((int)LSM_XXH3_SCRAMBLE_PRIME);
    __m128i high;

    pair = _mm_xor_si128(pair, _mm_srli_epi64(pair, 47));
    pair = _mm_xor_si128(pair, lsm_xxh3_load_pair(secret));
    high = _mm_slli_epi64(_mm_mul_epu32(_mm_srli_epi64(pair, 32), prime), 32);
    return _mm_add_epi64(_mm_mul_epu32(pair, prime), high);
}

static LSM_ALWAYS_INLINE void lsm_xxh3_scramble(lsm_xxh3_lanes *lanes,
                                                const uint8_t *secret) {
    __m128i *pairs = lanes->pairs;

    pairs[0] = lsm_xxh3_scramble_pair(pairs[0], secret);
    pairs[1] = lsm_xxh3_scramble_pair(pairs[1], secret + 16);
    pairs[2] = lsm_xxh3_scramble_pair(pairs[2], secret + 32);
    pairs[3] = lsm_xxh3_scramble_pair(pairs[3], secret + 48);
}

#else

typedef struct lsm_xxh3_lanes {
    uint64_t lane[LSM_XXH3_LANE_COUNT];
} lsm_xxh3_lanes;

static LSM_ALWAYS_INLINE void lsm_xxh3_accumulate(lsm_xxh3_lanes *lanes,
                                                  const uint8_t *data,
                                                  const uint8_t *secret) {
    uint64_t words[LSM_XXH3_LANE_COUNT];

    for (size_t i = 0; i < LSM_XXH3_LANE_COUNT; i++) {
        words[i] = lsm_get_u64(data + 8 * i);
    }
    for (size_t i = 0; i < LSM_XXH3_LANE_COUNT; i++) {
        uint64_t keyed = words[i] ^ lsm_get_u64(secret + 8 * i);

        lanes->lane[i] += words[i ^ 1] + (keyed & UINT32_MAX) * (keyed >> 32);
    }
}

static LSM_ALWAYS_INLINE void lsm_xxh3_scramble(lsm_xxh3_lanes *lanes,
                                                const uint8_t *secret) {
    for (size_t i = 0; i < LSM_XXH3_LANE_COUNT; i++) {
        uint64_t lane = lanes->lane[i];

        lane ^= lane >> 47;
        lane ^= lsm_get_u64(secret + 8 * i);
        lanes->lane[i] = lane * LSM_XXH3_SCRAMBLE_PRIME;
    }
}

#endif

_Static_assert(sizeof(lsm_xxh3_lanes) == LSM_XXH3_STRIPE_SIZE,
               "the lanes are exactly eight words, in order");

#endif
