/* SPDX-License-Identifier: Apache-2.0
 *
 * splitmix64 (Steele, Lea, Flood 2014): the source of all randomness inside a
 * database, from one seed, so that a simulated run repeats exactly.
 */
#ifndef LSM_BASE_RNG_H
#define LSM_BASE_RNG_H

#include <stdint.h>

typedef struct lsm_rng {
    uint64_t state;
} lsm_rng;

static inline uint64_t lsm_rng_next(lsm_rng *rng) {
    uint64_t z = (rng->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Uniform in [0, bound); bound > 0. The bias is below 2^-32 for bounds below 2^32. */
static inline uint64_t lsm_rng_below(lsm_rng *rng, uint64_t bound) {
    return lsm_rng_next(rng) % bound;
}

#endif
