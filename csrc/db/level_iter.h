/* SPDX-License-Identifier: Apache-2.0
 *
 * An iterator over the tables of one level >= 1: they are disjoint and in order, so
 * only one is open at a time and a seek opens one. Its user calls it inside the epoch.
 */
#ifndef LSM_DB_LEVEL_ITER_H
#define LSM_DB_LEVEL_ITER_H

#include "db/table_cache.h"
#include "table/iter.h"

/* The level outlives the iterator. NULL: no memory. */
lsm_iter *lsm_level_iter(lsm_table_cache *cache, const lsm_level *level,
                         lsm_table_access access);

#endif
