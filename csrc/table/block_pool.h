/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for cached blocks, taken from chunks of huge pages: blocks are read at random
 * all over the cache, and with small pages every read would miss the processor's table
 * of page addresses, too.
 *
 * A chunk is LSM_HUGE_PAGE bytes: its header, then RUNS runs. A run is given to one
 * size class and cut into cells; when its last cell is freed it can be given to another
 * class, and a chunk whose runs are all free goes back to the system (one is kept).
 * Classes are a sixteenth apart.
 *
 * Threads: all functions, from any thread. Ownership: the pool stays alive until its
 * last piece is freed, even if it was destroyed before.
 */
#ifndef LSM_TABLE_BLOCK_POOL_H
#define LSM_TABLE_BLOCK_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

typedef struct lsm_block_pool lsm_block_pool;

enum { LSM_POOL_SIZE_MAX = 32 << 10 };

lsm_block_pool *lsm_block_pool_create(void);       /* NULL: no memory */
void lsm_block_pool_destroy(lsm_block_pool *pool); /* NULL is fine */

/* At most LSM_POOL_SIZE_MAX bytes, aligned to a cache line. NULL: no memory. */
void *lsm_block_pool_alloc(lsm_block_pool *pool, size_t size) LSM_MUST_CHECK;
void lsm_block_pool_free(void *memory);
/* The bytes that a piece of `size` bytes takes. */
size_t lsm_block_pool_cell_size(size_t size);
/* Bytes of runs that are given to a class but not to a piece. */
uint64_t lsm_block_pool_idle(const lsm_block_pool *pool);

#endif
