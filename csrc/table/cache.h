/* SPDX-License-Identifier: Apache-2.0
 *
 * Block cache: which blocks stay in memory. There is no hash table: every open table
 * has one atomic slot per data block, and a cached block is found by loading its slot.
 * The cache is the replacement policy alone.
 *
 * Policy: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi, SOSP 2023). New blocks enter a small
 * FIFO (a tenth of the capacity); at its end a block read again moves to the main
 * FIFO, others are evicted and leave a ghost: the slot keeps a tagged stamp (low bit
 * set) of when that was. A block that comes back while its stamp is young enters the
 * main FIFO at once. In the main FIFO, a block with hits goes round again.
 *
 * A hit takes no lock and writes nothing once the block's hit count has reached its
 * cap of 3. Inserting and evicting take the cache's one mutex; file reads do not.
 *
 * Blocks of a cache that is not small come from a pool over huge pages
 * (table/block_pool.h). If too much of the pool lies idle, because blocks of other
 * sizes are wanted than before, more is evicted than would have to be.
 *
 * Lifetime: a loaded slot is valid inside the reader's epoch; evicted blocks are
 * retired to it. Whoever keeps a block beyond that takes a reference inside it
 * (iterators do). Blocks own their bytes. No call here may be made while holding a
 * lock that a release function of the epoch takes.
 */
#ifndef LSM_TABLE_CACHE_H
#define LSM_TABLE_CACHE_H

#include <stdatomic.h>

#include "base/epoch.h"
#include "base/list.h"
#include "env/sync.h"
#include "format/block.h"

typedef struct lsm_cache lsm_cache;

enum { LSM_CACHE_HITS_MAX = 3 };

/* 0: never loaded; low bit set: ghost; else a lsm_cached_block pointer. */
typedef _Atomic uintptr_t lsm_cache_slot;

/* Begins at a cache line, so that what a point read needs first is one line and the
 * slots of the block begin at the next. */
typedef struct lsm_cached_block {
    lsm_block block;       /* decoded; borrows `data` */
    _Atomic uint32_t refs; /* the cache's one and one per keeper */
    _Atomic uint8_t hits;  /* 0..LSM_CACHE_HITS_MAX; relaxed */
    uint8_t queue;         /* under the cache's mutex */
    bool pooled;           /* constant: where its memory is from */
    union {
        lsm_list link;       /* while cached: in a FIFO; under the cache's mutex */
        lsm_retired retired; /* after that */
    };
    union {
        lsm_cache_slot *slot;          /* while cached: under the cache's mutex */
        struct lsm_cached_block *next; /* after that: retired together with it */
    };
    uint8_t data[];
} lsm_cached_block;

_Static_assert(sizeof(lsm_cached_block) <= LSM_CACHE_LINE, "one line of header");

/* `epoch` outlives the cache. capacity 0: nothing is kept. NULL: no memory. */
lsm_cache *lsm_cache_create(uint64_t capacity, lsm_epoch *epoch);
void lsm_cache_destroy(lsm_cache *cache); /* all slots were dropped before */

/* An unpublished block with one reference and `size` bytes of data, to be decoded into;
 * it may outlive the cache. NULL: no memory. */
lsm_cached_block *lsm_cached_block_create(lsm_cache *cache, size_t size);
void lsm_cached_block_ref(lsm_cached_block *block);
void lsm_cached_block_unref(lsm_cached_block *block); /* NULL is fine */
/* A reference of a reader that keeps the block for longer, counted as pinned memory. */
void lsm_cache_pin(lsm_cache *cache, lsm_cached_block *block);
void lsm_cache_unpin(lsm_cache *cache, lsm_cached_block *block); /* NULL is fine */

/* The block in a slot, or NULL, without touching any byte of it, so that it can be
 * prefetched. The caller is inside the epoch. */
static inline lsm_cached_block *lsm_cache_peek(lsm_cache_slot *slot) {
    /* acquire: pairs with the release of lsm_cache_insert, so the bytes are there. */
    uintptr_t word = atomic_load_explicit(slot, memory_order_acquire);

    return (word & 1) != 0 ? NULL : (lsm_cached_block *)word;
}

/* Counts a hit. */
static inline void lsm_cached_block_touch(lsm_cached_block *block) {
    uint8_t hits = atomic_load_explicit(&block->hits, memory_order_relaxed);

    if (LSM_UNLIKELY(hits < LSM_CACHE_HITS_MAX)) {
        atomic_store_explicit(&block->hits, (uint8_t)(hits + 1), memory_order_relaxed);
    }
}

/* The block in a slot, or NULL; counts the hit. */
static inline lsm_cached_block *lsm_cache_load(lsm_cache_slot *slot) {
    lsm_cached_block *block = lsm_cache_peek(slot);

    if (block != NULL) {
        lsm_cached_block_touch(block);
    }
    return block;
}

/* Takes the caller's reference to `block`, publishes it in `slot` and returns the
 * block to use, valid inside the caller's epoch: `block`, or the one that another
 * thread published first (ours is then freed). Evicts what no longer fits; with
 * capacity 0 the block is retired at once. */
lsm_cached_block *lsm_cache_insert(lsm_cache *cache, lsm_cache_slot *slot,
                                   lsm_cached_block *block);
/* The same for a block that takes the place of hot ones: it enters the main FIFO. */
lsm_cached_block *lsm_cache_insert_hot(lsm_cache *cache, lsm_cache_slot *slot,
                                       lsm_cached_block *block);
/* How warm a block is, by its FIFO and its hits; 0: it is not in the cache. */
enum {
    LSM_HEAT_SMALL = 1,
    LSM_HEAT_MAIN = LSM_HEAT_SMALL + LSM_CACHE_HITS_MAX + 1,
    LSM_HEAT_MAX = LSM_HEAT_MAIN + LSM_CACHE_HITS_MAX,
};

/* For a block that nobody asks for yet but had this heat before: puts it where it was.
 * It takes free room; if it had been read again, also that of the next victims, as
 * far as nobody has read those again. false: no room for it. Not counted as a miss;
 * takes the caller's reference in any case. */
bool lsm_cache_insert_warm(lsm_cache *cache, lsm_cache_slot *slot,
                           lsm_cached_block *block, uint8_t heat);
/* heats[i] becomes that of the block in slots[i]. */
void lsm_cache_heats(lsm_cache *cache, lsm_cache_slot *slots, size_t count,
                     uint8_t *heats);
/* Whether the block in a slot, if there is one, was read again since it came. */
bool lsm_cache_is_hot(lsm_cache *cache, lsm_cache_slot *slot);
/* Takes every block out of the slots of a table that is going away. */
void lsm_cache_drop(lsm_cache *cache, lsm_cache_slot *slots, size_t count);

uint64_t lsm_cache_used(const lsm_cache *cache);
uint64_t lsm_cache_pinned(const lsm_cache *cache); /* a block once for each pin */
uint64_t lsm_cache_capacity(const lsm_cache *cache);
/* Evicts down to a smaller capacity at once. */
void lsm_cache_set_capacity(lsm_cache *cache, uint64_t capacity);
uint64_t lsm_cache_misses(const lsm_cache *cache); /* blocks inserted */

#endif
