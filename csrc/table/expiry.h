/* SPDX-License-Identifier: Apache-2.0
 *
 * When the entries of a table are dead, gathered while it is written: from bytes by
 * time left, in buckets of which four make up each power of two.
 */
#ifndef LSM_TABLE_EXPIRY_H
#define LSM_TABLE_EXPIRY_H

#include <stdint.h>

enum { LSM_EXPIRY_PARTS = 4, LSM_EXPIRY_BUCKETS = 64 * LSM_EXPIRY_PARTS };

typedef struct lsm_expiry {
    uint64_t now_ms; /* from which time left is counted */
    uint64_t count;  /* entries that expire */
    uint64_t earliest, latest;
    uint64_t bytes[LSM_EXPIRY_BUCKETS];
} lsm_expiry;

/* Adds an entry that expires; starts from zeros but for now_ms. */
void lsm_expiry_add(lsm_expiry *expiry, uint64_t expire_at, uint64_t bytes);
/* When half of `bytes`, those of all entries, are dead, or up to a quarter of the time
 * later; 0: never. */
uint64_t lsm_expiry_half_at(const lsm_expiry *expiry, uint64_t bytes);

#endif
