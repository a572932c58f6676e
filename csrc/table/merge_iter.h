/* SPDX-License-Identifier: Apache-2.0
 *
 * Merges sorted iterators into one, in both directions. Children with equal keys do
 * not occur (sequences are unique) but are tolerated: the earlier child comes first.
 * An error of any child ends the merge with that error: a failing child never looks
 * like an exhausted one.
 */
#ifndef LSM_TABLE_MERGE_ITER_H
#define LSM_TABLE_MERGE_ITER_H

#include "table/iter.h"

/* Takes the children, but not the array; on failure (NULL: no memory) they are
 * destroyed. One child is returned as it is; none gives an iterator over nothing. */
lsm_iter *lsm_merge_iter(lsm_iter *const *children, size_t count);

#endif
