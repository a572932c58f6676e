/* SPDX-License-Identifier: Apache-2.0
 *
 * How many entries a memtable or a table has in a range of keys, roughly and without
 * reading them: from the upper levels of the skiplist, and from the table's index.
 */
#ifndef LSM_TABLE_TALLY_H
#define LSM_TABLE_TALLY_H

#include "table/memtable.h"
#include "table/table_reader.h"

typedef struct lsm_tally {
    uint64_t entries; /* versions of all kinds */
    uint64_t tombstones;
} lsm_tally;

/* Add what lies in the stored keys [start, stop); start is not behind stop. A table is
 * exact to about a block at either end, a memtable to about an eighth. */
void lsm_memtable_tally(const lsm_memtable *mem, lsm_slice start, lsm_slice stop,
                        lsm_tally *tally);
void lsm_table_tally(const lsm_table *table, lsm_slice start, lsm_slice stop,
                     lsm_tally *tally);

#endif
