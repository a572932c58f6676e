/* SPDX-License-Identifier: Apache-2.0
 *
 * Effort: what a search may hash in vain. Where the size of a piece is read from bytes
 * that may be anything, every place of a file may ask for all of the file to be hashed,
 * and who wrote the values may have seen to it that many do. So a try is made only as
 * long as those that failed come to no more than a few times the bytes of the file and
 * the bytes passed: what is passed pays for what comes, so that no place can use up all
 * that is there for later ones. Where hardly anything was forged every try is made.
 */
#ifndef LSM_BASE_EFFORT_H
#define LSM_BASE_EFFORT_H

#include <stdbool.h>
#include <stdint.h>

enum { LSM_EFFORT_FACTOR = 8 };

typedef struct lsm_effort {
    uint64_t bytes;  /* of the file */
    uint64_t wasted; /* hashed by tries that failed */
    uint64_t hashed; /* in all */
} lsm_effort;

/* Whether `size` bytes may be hashed, at this offset of the search. */
static inline bool lsm_effort_allows(const lsm_effort *effort, uint64_t at,
                                     uint64_t size) {
    return effort->wasted + size <= LSM_EFFORT_FACTOR * (effort->bytes + at);
}

static inline void lsm_effort_spend(lsm_effort *effort, uint64_t size, bool found) {
    effort->hashed += size;
    effort->wasted += found ? 0 : size;
}

#endif
