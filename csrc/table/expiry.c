/* SPDX-License-Identifier: Apache-2.0
 *
 * See expiry.h.
 */
#include "table/expiry.h"

#include <stdbool.h>
#include <stddef.h>

enum { PARTS = LSM_EXPIRY_PARTS };

static size_t bucket_of(uint64_t left_ms) {
    size_t high = 0;

    if (left_ms < PARTS) {
        return (size_t)left_ms;
    }
    for (uint64_t rest = left_ms; rest >= 2 * PARTS; rest /= 2) {
        high++;
    }
    return (high + 1) * PARTS + (size_t)(left_ms >> high) % PARTS;
}

/* The longest time in a bucket. */
static uint64_t bucket_end(size_t bucket) {
    if (bucket < PARTS) {
        return bucket;
    }
    size_t high = bucket / PARTS - 1;
    uint64_t next = PARTS + bucket % PARTS + 1;
    return (next << high) - 1;
}

void lsm_expiry_add(lsm_expiry *expiry, uint64_t expire_at, uint64_t bytes) {
    uint64_t left = expire_at > expiry->now_ms ? expire_at - expiry->now_ms : 0;

    expiry->bytes[bucket_of(left)] += bytes;
    if (expiry->count == 0 || expire_at < expiry->earliest) {
        expiry->earliest = expire_at;
    }
    if (expire_at > expiry->latest) {
        expiry->latest = expire_at;
    }
    expiry->count++;
}

uint64_t lsm_expiry_half_at(const lsm_expiry *expiry, uint64_t bytes) {
    uint64_t half = bytes / 2 + bytes % 2;
    uint64_t dead = 0;

    for (size_t i = 0; expiry->count != 0 && i < LSM_EXPIRY_BUCKETS; i++) {
        dead += expiry->bytes[i];
        if (dead >= half) {
            uint64_t left = bucket_end(i);
            bool past = expiry->latest < expiry->now_ms ||
                        left > expiry->latest - expiry->now_ms;
            return past ? expiry->latest : expiry->now_ms + left;
        }
    }
    return 0;
}
