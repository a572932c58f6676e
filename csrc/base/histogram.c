/* SPDX-License-Identifier: Apache-2.0
 *
 * See histogram.h.
 */
#include "base/histogram.h"

enum { PARTS = 1 << LSM_HISTOGRAM_PART_BITS };

static uint32_t highest_bit(uint64_t value) {
    uint32_t bit = 0;

    for (uint32_t step = 32; step > 0; step /= 2) {
        if (value >> step != 0) {
            value >>= step;
            bit += step;
        }
    }
    return bit;
}

uint32_t lsm_histogram_bucket(uint64_t value) {
    if (value < PARTS) {
        return (uint32_t)value;
    }
    uint32_t bit = highest_bit(value);
    if (bit >= LSM_HISTOGRAM_VALUE_BITS) {
        return LSM_HISTOGRAM_BUCKETS - 1;
    }
    uint32_t octave = bit - LSM_HISTOGRAM_PART_BITS;
    return ((octave + 1) << LSM_HISTOGRAM_PART_BITS) + (uint32_t)(value >> octave) -
           PARTS;
}

uint64_t lsm_histogram_bound(uint32_t bucket) {
    if (bucket < PARTS) {
        return (uint64_t)bucket + 1;
    }
    uint32_t octave = (bucket >> LSM_HISTOGRAM_PART_BITS) - 1;
    return (uint64_t)(bucket % PARTS + PARTS + 1) << octave;
}

void lsm_histogram_add(lsm_histogram *histogram, uint64_t value, uint64_t weight) {
    uint64_t max = atomic_load_explicit(&histogram->max, memory_order_relaxed);

    /* Relaxed, all of it: nothing else depends on these words. */
    atomic_fetch_add_explicit(&histogram->counts[lsm_histogram_bucket(value)], weight,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value * weight, memory_order_relaxed);
    while (value > max && !atomic_compare_exchange_weak_explicit(
                              &histogram->max, &max, value, memory_order_relaxed,
                              memory_order_relaxed)) {
    }
}
