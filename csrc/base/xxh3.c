/* SPDX-License-Identifier: Apache-2.0
 *
 * XXH3-64. Inputs are hashed by one of five routines, chosen by size:
 *
 *   0..16     a few loads, at most one 64x64 -> 128 multiplication
 *   17..128   pairs of 16-byte pieces, from both ends towards the middle
 *   129..240  16-byte pieces from the front, mixed once half way
 *   241..     stripes of 64 bytes into eight 64-bit lanes; the lanes are scrambled
 *             after every block of 16 stripes, and folded to one number at the end
 *
 * Multi-byte values are read little-endian. "Folding" a 128-bit product is the xor of
 * its halves. xxh3_lanes.h holds what is done with the lanes.
 *
 * Threads: pure functions.
 */
#include "base/xxh3.h"

#include <string.h>

#include "base/coding.h"
#include "base/xxh3_lanes.h"
#include "include/lsmkv.h"

enum {
    SECRET_SIZE = 192,
    STRIPE_SIZE = LSM_XXH3_STRIPE_SIZE,
    LANE_COUNT = LSM_XXH3_LANE_COUNT,
    SECRET_STEP = 8, /* how far the secret moves on with every stripe */
    BLOCK_STRIPES = (SECRET_SIZE - STRIPE_SIZE) / SECRET_STEP,
    BLOCK_SIZE = BLOCK_STRIPES * STRIPE_SIZE,
    LAST_STRIPE_SECRET = SECRET_SIZE - STRIPE_SIZE - 7,
    MERGE_SECRET = 11,
    MIDDLE_SIZE_MAX = 240
};

#define PRIME32_1 0x9E3779B1u
#define PRIME32_2 0x85EBCA77u
#define PRIME32_3 0xC2B2AE3Du
#define PRIME64_1 0x9E3779B185EBCA87u
#define PRIME64_2 0xC2B2AE3D27D4EB4Fu
#define PRIME64_3 0x165667B19E3779F9u
#define PRIME64_4 0x85EBCA77C2B2AE63u
#define PRIME64_5 0x27D4EB2F165667C5u
#define PRIME_MX1 0x165667919E3779F9u
#define PRIME_MX2 0x9FB21C651E98DF25u

static const uint8_t default_secret[SECRET_SIZE] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21,
    0xad, 0x1c, 0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4,
    0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a,
    0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e,
    0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3,
    0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3, 0x71, 0x64, 0x48, 0x97,
    0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa,
    0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78,
    0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff,
    0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16,
    0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e, 0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc,
    0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16,
    0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

static LSM_ALWAYS_INLINE uint64_t rotate_left(uint64_t value, unsigned bits) {
    return value << bits | value >> (64 - bits);
}

static LSM_ALWAYS_INLINE uint64_t multiply_fold(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    uint64_t low = (a & UINT32_MAX) * (b & UINT32_MAX);
    uint64_t cross_a = (a >> 32) * (b & UINT32_MAX) + (low >> 32);
    uint64_t cross_b = (a & UINT32_MAX) * (b >> 32) + (cross_a & UINT32_MAX);
    uint64_t high = (a >> 32) * (b >> 32) + (cross_a >> 32) + (cross_b >> 32);

    return (cross_b << 32 | (low & UINT32_MAX)) ^ high;
#endif
}

static LSM_ALWAYS_INLINE uint64_t avalanche(uint64_t hash) {
    hash ^= hash >> 37;
    hash *= PRIME_MX1;
    return hash ^ hash >> 32;
}

/* The finalisation of the older XXH64, used for up to three bytes. */
static LSM_ALWAYS_INLINE uint64_t avalanche_short(uint64_t hash) {
    hash ^= hash >> 33;
    hash *= PRIME64_2;
    hash ^= hash >> 29;
    hash *= PRIME64_3;
    return hash ^ hash >> 32;
}

/* The xor of two neighbouring 8-byte words of the default secret. */
static LSM_ALWAYS_INLINE uint64_t secret_pair(size_t offset) {
    return lsm_get_u64(default_secret + offset) ^
           lsm_get_u64(default_secret + offset + 8);
}

static LSM_ALWAYS_INLINE uint64_t hash_0_to_3(const uint8_t *data, size_t size,
                                              uint64_t seed) {
    uint64_t flip = 0;
    uint32_t word = 0;

    if (size == 0) {
        return avalanche_short(seed ^ secret_pair(56));
    }
    flip = (lsm_get_u32(default_secret) ^ lsm_get_u32(default_secret + 4)) + seed;
    word = (uint32_t)data[0] << 16 | (uint32_t)data[size >> 1] << 24 |
           (uint32_t)data[size - 1] | (uint32_t)size << 8;
    return avalanche_short(word ^ flip);
}

static LSM_ALWAYS_INLINE uint64_t hash_4_to_8(const uint8_t *data, size_t size,
                                              uint64_t seed) {
    uint64_t word = lsm_get_u32(data + size - 4) + ((uint64_t)lsm_get_u32(data) << 32);
    uint64_t hash = 0;

    seed ^= lsm_swap_u64(seed & UINT32_MAX);
    hash = word ^ (secret_pair(8) - seed);
    hash ^= rotate_left(hash, 49) ^ rotate_left(hash, 24);
    hash *= PRIME_MX2;
    hash ^= (hash >> 35) + size;
    hash *= PRIME_MX2;
    return hash ^ hash >> 28;
}

static LSM_ALWAYS_INLINE uint64_t hash_9_to_16(const uint8_t *data, size_t size,
                                               uint64_t seed) {
    uint64_t low = lsm_get_u64(data) ^ (secret_pair(24) + seed);
    uint64_t high = lsm_get_u64(data + size - 8) ^ (secret_pair(40) - seed);

    return avalanche(size + lsm_swap_u64(low) + high + multiply_fold(low, high));
}

static LSM_ALWAYS_INLINE uint64_t mix_16(const uint8_t *data, const uint8_t *secret,
                                         uint64_t seed) {
    return multiply_fold(lsm_get_u64(data) ^ (lsm_get_u64(secret) + seed),
                         lsm_get_u64(data + 8) ^ (lsm_get_u64(secret + 8) - seed));
}

static LSM_ALWAYS_INLINE uint64_t hash_17_to_128(const uint8_t *data, size_t size,
                                                 uint64_t seed) {
    const uint8_t *secret = default_secret;
    const uint8_t *end = data + size;
    uint64_t sum = size * PRIME64_1;

    sum += mix_16(data, secret, seed) + mix_16(end - 16, secret + 16, seed);
    if (size > 32) {
        sum +=
            mix_16(data + 16, secret + 32, seed) + mix_16(end - 32, secret + 48, seed);
    }
    if (size > 64) {
        sum +=
            mix_16(data + 32, secret + 64, seed) + mix_16(end - 48, secret + 80, seed);
    }
    if (size > 96) {
        sum +=
            mix_16(data + 48, secret + 96, seed) + mix_16(end - 64, secret + 112, seed);
    }
    return avalanche(sum);
}

static LSM_NOINLINE uint64_t hash_129_to_240(const uint8_t *data, size_t size,
                                             uint64_t seed) {
    const uint8_t *secret = default_secret;
    uint64_t sum = size * PRIME64_1;

    for (size_t i = 0; i < 8; i++) {
        sum += mix_16(data + 16 * i, secret + 16 * i, seed);
    }
    sum = avalanche(sum);
    for (size_t i = 8; i < size / 16; i++) {
        sum += mix_16(data + 16 * i, secret + 16 * (i - 8) + 3, seed);
    }
    return avalanche(sum + mix_16(data + size - 16, secret + 119, seed));
}

static const uint64_t lanes_start[LANE_COUNT] = {PRIME32_3, PRIME64_1, PRIME64_2,
                                                 PRIME64_3, PRIME64_4, PRIME32_2,
                                                 PRIME64_5, PRIME32_1};

/* Takes in the last stripe and folds the lanes. */
static LSM_ALWAYS_INLINE uint64_t fold_lanes(lsm_xxh3_lanes *lanes, const uint8_t *last,
                                             size_t size, const uint8_t *secret) {
    uint64_t sum = size * PRIME64_1;
    uint64_t words[LANE_COUNT];

    lsm_xxh3_accumulate(lanes, last, secret + LAST_STRIPE_SECRET);
    memcpy(words, lanes, sizeof(words));
    for (size_t i = 0; i < LANE_COUNT; i += 2) {
        const uint8_t *key = secret + MERGE_SECRET + 8 * i;

        sum += multiply_fold(words[i] ^ lsm_get_u64(key),
                             words[i + 1] ^ lsm_get_u64(key + 8));
    }
    return avalanche(sum);
}

static LSM_ALWAYS_INLINE uint64_t hash_long(const uint8_t *data, size_t size,
                                            const uint8_t *secret) {
    const uint8_t *last = data + size - STRIPE_SIZE;
    size_t total = size;
    lsm_xxh3_lanes lanes;

    /* The last stripe is taken from the very end, whole, so a block that ends there
     * is not a full one. */
    memcpy(&lanes, lanes_start, sizeof(lanes));
    for (; size > BLOCK_SIZE; size -= BLOCK_SIZE) {
        for (size_t i = 0; i < BLOCK_STRIPES; i++) {
            lsm_xxh3_accumulate(&lanes, data, secret + SECRET_STEP * i);
            data += STRIPE_SIZE;
        }
        lsm_xxh3_scramble(&lanes, secret + SECRET_SIZE - STRIPE_SIZE);
    }
    for (size_t i = 0; data < last; i++) {
        lsm_xxh3_accumulate(&lanes, data, secret + SECRET_STEP * i);
        data += STRIPE_SIZE;
    }
    return fold_lanes(&lanes, last, total, secret);
}

static LSM_NOINLINE uint64_t hash_long_default(const uint8_t *data, size_t size) {
    return hash_long(data, size, default_secret);
}

static LSM_NOINLINE uint64_t hash_long_seeded(const uint8_t *data, size_t size,
                                              uint64_t seed) {
    uint8_t secret[SECRET_SIZE];

    for (size_t i = 0; i < SECRET_SIZE; i += 16) {
        lsm_put_u64(secret + i, lsm_get_u64(default_secret + i) + seed);
        lsm_put_u64(secret + i + 8, lsm_get_u64(default_secret + i + 8) - seed);
    }
    return hash_long(data, size, secret);
}

static LSM_ALWAYS_INLINE uint64_t hash(const uint8_t *data, size_t size,
                                       uint64_t seed) {
    if (size <= 16) {
        if (size > 8) {
            return hash_9_to_16(data, size, seed);
        }
        return size >= 4 ? hash_4_to_8(data, size, seed)
                         : hash_0_to_3(data, size, seed);
    }
    if (size <= 128) {
        return hash_17_to_128(data, size, seed);
    }
    if (size <= MIDDLE_SIZE_MAX) {
        return hash_129_to_240(data, size, seed);
    }
    return seed == 0 ? hash_long_default(data, size)
                     : hash_long_seeded(data, size, seed);
}

uint64_t lsm_xxh3(const void *data, size_t size) {
    return hash(data, size, 0);
}

uint64_t lsm_xxh3_seeded(const void *data, size_t size, uint64_t seed) {
    return hash(data, size, seed);
}

uint64_t lsm_checksum(uint64_t file_id, uint64_t offset, const void *data,
                      size_t size) {
    return lsm_checksum_bind(lsm_xxh3(data, size), file_id, offset);
}

uint64_t lsm_checksum_bind(uint64_t data_hash, uint64_t file_id, uint64_t offset) {
    uint8_t place[8];

    lsm_put_u64(place, offset);
    return data_hash ^ hash_4_to_8(place, sizeof(place), file_id);
}

#ifdef LSMKV_FUZZING

bool lsm_checksum_agrees(uint64_t expected, uint64_t found) {
    (void)expected;
    (void)found;
    return true;
}

#else

bool lsm_checksum_agrees(uint64_t expected, uint64_t found) {
    return expected == found;
}

#endif

void lsm_xxh3_prefix_init(lsm_xxh3_prefix *prefix, const void *data) {
    prefix->data = data;
    memcpy(prefix->lanes, lanes_start, sizeof(prefix->lanes));
    prefix->stripe_count = 0;
}

uint64_t lsm_xxh3_prefix_hash(lsm_xxh3_prefix *prefix, size_t size) {
    size_t wanted = size == 0 ? 0 : (size - 1) / STRIPE_SIZE; /* but for the last one */
    lsm_xxh3_lanes lanes;

    if (size <= MIDDLE_SIZE_MAX) {
        return lsm_xxh3(prefix->data, size);
    }
    memcpy(&lanes, prefix->lanes, sizeof(lanes));
    for (size_t i = prefix->stripe_count; i < wanted; i++) {
        lsm_xxh3_accumulate(&lanes, prefix->data + i * STRIPE_SIZE,
                            default_secret + SECRET_STEP * (i % BLOCK_STRIPES));
        if (i % BLOCK_STRIPES == BLOCK_STRIPES - 1) {
            lsm_xxh3_scramble(&lanes, default_secret + SECRET_SIZE - STRIPE_SIZE);
        }
    }
    memcpy(prefix->lanes, &lanes, sizeof(lanes));
    prefix->stripe_count = wanted;
    return fold_lanes(&lanes, prefix->data + size - STRIPE_SIZE, size, default_secret);
}

uint64_t lsmkv_xxh3_64(const void *data, size_t size, uint64_t seed) {
    return lsm_xxh3_seeded(data, size, seed);
}
