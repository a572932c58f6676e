/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding the blocks of a damaged table, with nothing to go by but its file id. A
 * checksum is bound to the file and to the place of its block, so a block that verifies
 * is what was written there, whatever is wrong elsewhere in the file:
 *
 *   1. every place where a frame may end is tried as the end of an uncompressed block,
 *      whose frame tells its size. That finds the index, the range deletes and, without
 *      a codec, the data
 *   2. compressed blocks are looked for where the index blocks say; where that is lost,
 *      from the end of one block on to the next frame that verifies
 *
 * Blocks do not overlap: nothing is looked for inside one that was found.
 *
 * Work. What is hashed is at most a constant times the bytes of the file, whatever they
 * are. Blocks that begin at one place are tried with one hash that goes on from end to
 * end (lsm_xxh3_prefix): in step 1 those that begin where the last one ended, in step 2
 * those of the few places that are kept in mind. All others, which come one by one,
 * fall under an effort (base/effort.h). So a block is always found behind another one
 * that was found; behind a damaged frame it may be given up among thousands of forged
 * ones.
 */
#ifndef LSM_TABLE_SALVAGE_SEARCH_H
#define LSM_TABLE_SALVAGE_SEARCH_H

#include "base/effort.h"
#include "base/slice.h"
#include "format/block.h"

/* A block that was found. */
typedef struct lsm_found_block {
    uint64_t offset;
    uint64_t size; /* of the payload */
    lsm_block_type type;
} lsm_found_block;

typedef struct lsm_block_search {
    lsm_slice file; /* borrowed */
    uint64_t file_id;
    lsm_found_block *blocks; /* ascending, disjoint; owned */
    size_t count;
    size_t capacity;
    lsm_effort effort;
} lsm_block_search;

/* Finds the blocks of `search->file`. The rest of the search is zeros before. false: no
 * memory. */
bool lsm_block_search_run(lsm_block_search *search) LSM_MUST_CHECK;
void lsm_block_search_deinit(lsm_block_search *search);

#endif
