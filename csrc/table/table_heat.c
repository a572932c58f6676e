/* SPDX-License-Identifier: Apache-2.0
 *
 * Which blocks of a table are hot, and what takes their place in another table: the
 * blocks with the same keys, found through both indexes. The keys of a block lie behind
 * the separator before it and up to its own.
 */
#include "table/table_private.h"

uint32_t lsm_table_block_count(const lsm_table *table) {
    return table->index.block_count;
}

uint32_t lsm_table_next_hot(lsm_table *table, uint32_t block) {
    lsm_cache_slot *slots = table->index.slots;

    while (block < table->index.block_count &&
           (lsm_cache_peek(&slots[block]) == NULL ||
            !lsm_cache_is_hot(table->cache, &slots[block]))) {
        block++;
    }
    return block;
}

static uint32_t find(const lsm_table *table, lsm_slice ikey) {
    return lsm_table_index_find(&table->index, lsm_ikey_skey(ikey),
                                lsm_ikey_trailer(ikey));
}

static uint64_t stored_size(const lsm_table *table, uint32_t block) {
    return table->index.offsets[block + 1] - table->index.offsets[block];
}

uint64_t lsm_table_hand_on(const lsm_table *from, uint32_t block, lsm_table *to,
                           uint64_t bytes_max) {
    lsm_slice first = block == 0 ? from->index.smallest
                                 : lsm_table_index_separator(&from->index, block - 1);
    lsm_slice last = lsm_table_index_separator(&from->index, block);
    uint64_t loaded = 0;

    if (to->index.block_count == 0 || lsm_ikey_compare(last, to->index.smallest) < 0) {
        return 0;
    }
    uint32_t end = find(to, last);
    for (uint32_t at = find(to, first); at <= end && at < to->index.block_count; at++) {
        uint64_t size = stored_size(to, at);

        if (lsm_cache_peek(&to->index.slots[at]) != NULL) {
            continue;
        }
        if (loaded + size > bytes_max || lsm_table_load_hot(to, at, NULL) != LSMKV_OK) {
            break;
        }
        loaded += size;
    }
    return loaded;
}

uint64_t lsm_table_cool(lsm_table *table, uint32_t block) {
    lsm_cache_drop(table->cache, &table->index.slots[block], 1);
    return stored_size(table, block);
}
