/* SPDX-License-Identifier: Apache-2.0
 *
 * How many bytes of large values something points to, segment by segment: an array in
 * ascending order of numbers, gathered one pointer at a time. Neighbouring pointers
 * tend to lead to the same segment, so the last place is tried first.
 */
#ifndef LSM_FORMAT_SEGMENT_SHARES_H
#define LSM_FORMAT_SEGMENT_SHARES_H

#include "format/edit.h"

typedef struct lsm_segment_shares {
    lsm_segment_share *shares; /* owned */
    size_t count;
    size_t capacity;
    size_t last; /* the place added to last */
} lsm_segment_shares;

/* A zeroed struct is empty. */
void lsm_segment_shares_deinit(lsm_segment_shares *shares);
/* false: no memory. */
bool lsm_segment_shares_add(lsm_segment_shares *shares, uint64_t number,
                            uint64_t bytes) LSM_MUST_CHECK;
/* The place of a number, or where it would be. */
size_t lsm_segment_shares_find(const lsm_segment_share *shares, size_t count,
                               uint64_t number);

#endif
