/* SPDX-License-Identifier: Apache-2.0
 *
 * The index of an open table: which data block may hold a key.
 *
 * All separators of a table begin with the bytes in which its smallest and largest key
 * agree. The eight bytes after those, as a big-endian number, are the separator's
 * prefix; nearly always it decides alone. The prefixes form a static search tree of
 * cache lines (levels[0] holds all of them, eight to a line; each level above holds the
 * last prefix of every line below), so a search costs one line and no unforeseeable
 * branch per level: for 100,000 blocks, six. Blocks whose prefix equals the key's are
 * told apart by the separators themselves.
 *
 * Threads: immutable once built, but for the cache slots, which are atomic. Ownership:
 * one piece of memory, owned by the index.
 */
#ifndef LSM_TABLE_TABLE_INDEX_H
#define LSM_TABLE_TABLE_INDEX_H

#include "base/status.h"
#include "format/edit.h"
#include "format/footer.h"
#include "table/cache.h"

enum { LSM_INDEX_LEVELS_MAX = 11 }; /* 8^11 > 2^32 */

typedef struct lsm_table_index {
    uint64_t *levels[LSM_INDEX_LEVELS_MAX]; /* padded with UINT64_MAX */
    uint64_t prefix_last;
    uint32_t level_count;
    uint32_t block_count;
    lsm_cache_slot *slots; /* one per data block; a line of them to a line of levels[0],
                              so that both can be fetched at once. The cache's. */
    uint64_t *offsets;     /* of each data block; one more: where they end */
    uint32_t *key_ends; /* where each separator ends in `keys`; one more in front: 0 */
    uint8_t *keys;      /* the separators, internal keys, one after the other */
    size_t charge;      /* bytes of all of it */
    void *memory;       /* owned */
    lsm_slice smallest; /* the bounds of the table, in `memory` */
    lsm_slice largest;
    uint32_t common; /* bytes the stored keys of all entries begin with */
} lsm_table_index;

/* Where the parts of a table lie, for building its index. Offsets are the file's. */
typedef struct lsm_index_source {
    const lsm_table_info *info;
    const lsm_footer *footer;
    const lsm_properties *properties;
    lsm_slice tail;   /* begins at footer->tail_offset */
    uint64_t begin;   /* of the index blocks */
    const char *file; /* for messages */
} lsm_index_source;

/* Reads the index blocks, which must tile the tail between filter or range
 * deletes and the properties, and checks them completely: frames, order, that the data
 * blocks lie end to end from 0 to the tail, that the last separator is the largest key,
 * or below the largest bound where a range delete set that. A table without entries has
 * no index blocks, and every search in its index ends behind its last block, number 0.
 */
lsmkv_status lsm_table_index_init(lsm_table_index *index,
                                  const lsm_index_source *source,
                                  lsmkv_error *err) LSM_MUST_CHECK;
void lsm_table_index_deinit(lsm_table_index *index); /* zeroed is fine */

static inline lsm_slice lsm_table_index_separator(const lsm_table_index *index,
                                                  uint32_t block) {
    uint32_t begin = index->key_ends[block];

    return lsm_slice_make(index->keys + begin, index->key_ends[block + 1] - begin);
}

/* The first block that may hold an entry at or after (skey, trailer); block_count:
 * none. */
uint32_t lsm_table_index_find(const lsm_table_index *index, lsm_slice skey,
                              uint64_t trailer);

#endif
