/* SPDX-License-Identifier: Apache-2.0
 *
 * Histograms of durations with a bounded relative error: the buckets of HdrHistogram
 * (Gil Tene), each power of two cut into eight equal parts. A value is known to an
 * eighth, from a nanosecond to half an hour; what is longer counts in the last bucket.
 * Two histograms are merged by adding bucket to bucket.
 *
 *   0..7 one bucket each; 8..15, 16..31, 32..63, ... eight buckets each
 *
 * Threads: anyone may add at any time. What is read while others add is of no one
 * moment, but nothing in it is made up.
 */
#ifndef LSM_BASE_HISTOGRAM_H
#define LSM_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    LSM_HISTOGRAM_PART_BITS = 3,
    LSM_HISTOGRAM_VALUE_BITS = 41, /* 2^41 ns: 36 minutes */
    LSM_HISTOGRAM_BUCKETS = (LSM_HISTOGRAM_VALUE_BITS - LSM_HISTOGRAM_PART_BITS + 1)
        << LSM_HISTOGRAM_PART_BITS,
};

typedef struct lsm_histogram {
    _Atomic uint64_t counts[LSM_HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum;
    _Atomic uint64_t max;
} lsm_histogram;

/* Zeroed memory is an empty histogram. Counts the value `weight` times. */
void lsm_histogram_add(lsm_histogram *histogram, uint64_t value, uint64_t weight);
uint32_t lsm_histogram_bucket(uint64_t value);
/* The smallest value beyond a bucket. */
uint64_t lsm_histogram_bound(uint32_t bucket);

#endif
