/* SPDX-License-Identifier: Apache-2.0
 *
 * A sorted array: a table seldom points to more than some hundred segments, and most
 * additions find their number already there.
 */
#include "format/segment_shares.h"

#include <string.h>

#include "base/alloc.h"

void lsm_segment_shares_deinit(lsm_segment_shares *shares) {
    lsm_free(shares->shares);
    *shares = (lsm_segment_shares){0};
}

size_t lsm_segment_shares_find(const lsm_segment_share *shares, size_t count,
                               uint64_t number) {
    size_t low = 0;
    size_t high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (shares[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool lsm_segment_shares_add(lsm_segment_shares *shares, uint64_t number,
                            uint64_t bytes) {
    void *array = shares->shares;
    size_t at = shares->last;

    if (at >= shares->count || shares->shares[at].number != number) {
        at = lsm_segment_shares_find(shares->shares, shares->count, number);
    }
    if (at == shares->count || shares->shares[at].number != number) {
        if (!lsm_grow(&array, &shares->capacity, shares->count + 1,
                      sizeof(*shares->shares))) {
            return false;
        }
        shares->shares = array;
        memmove(&shares->shares[at + 1], &shares->shares[at],
                (shares->count - at) * sizeof(*shares->shares));
        shares->shares[at] = (lsm_segment_share){number, 0};
        shares->count++;
    }
    shares->shares[at].bytes += bytes;
    shares->last = at;
    return true;
}
