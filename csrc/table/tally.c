/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting without reading. A memtable is counted on the highest level of its skiplist
 * that has enough nodes in the range to stand for the others: one node in four is on
 * the next level up.
 */
#include "table/tally.h"

#include "table/memtable_node.h"
#include "table/table_private.h"

enum {
    NODES_MIN = 64, /* the error falls with the root of it */
    BRANCHING_LOG2 = 2,
};

/* Counts the nodes of one level that lie behind `from`, up to and with `to`. */
static lsm_tally walk(const lsm_memtable *mem, unsigned level, uint32_t from,
                      uint32_t to) {
    lsm_tally tally = {0};

    while (from != to && (from = lsm_mem_next(mem, from, level)) != 0) {
        lsm_kind kind =
            lsm_tag_kind(lsm_trailer_tag(lsm_mem_trailer(lsm_mem_node(mem, from))));

        tally.entries++;
        tally.tombstones += kind == LSM_KIND_DELETE;
    }
    return tally;
}

void lsm_memtable_tally(const lsm_memtable *mem, lsm_slice start, lsm_slice stop,
                        lsm_tally *tally) {
    uint32_t from[LSM_MEM_HEIGHT_MAX];
    uint32_t to[LSM_MEM_HEIGHT_MAX];
    unsigned level = LSM_MEM_HEIGHT_MAX; /* counted last; the one below is next */
    lsm_tally found = {0};

    (void)lsm_mem_find(mem, start, UINT64_MAX, from);
    (void)lsm_mem_find(mem, stop, UINT64_MAX, to);
    for (; level > 0 && found.entries < NODES_MIN; level--) {
        found = walk(mem, level - 1, from[level - 1], to[level - 1]);
    }
    tally->entries += found.entries << (BRANCHING_LOG2 * level);
    tally->tombstones += found.tombstones << (BRANCHING_LOG2 * level);
}

void lsm_table_tally(const lsm_table *table, lsm_slice start, lsm_slice stop,
                     lsm_tally *tally) {
    const lsm_table_index *index = &table->index;

    if (index->block_count == 0) {
        return;
    }
    uint32_t first = lsm_table_index_find(index, start, UINT64_MAX);
    uint32_t last = lsm_table_index_find(index, stop, UINT64_MAX);
    double share = (double)(last - first) / index->block_count;

    tally->entries += (uint64_t)(share * (double)table->info.entry_count);
    tally->tombstones += (uint64_t)(share * (double)table->info.tombstone_count);
}
