/* SPDX-License-Identifier: Apache-2.0
 *
 * S3-FIFO over blocks of different sizes. All sizes are bytes charged: a block's data
 * and its header.
 *
 * The stamp of a ghost is the number of bytes the small queue had evicted when it was
 * made, in units of STAMP_UNIT. It is young while fewer bytes than the main queue may
 * hold have been evicted since: the ghosts of S3-FIFO, without the queue of them.
 *
 * Victims are chained and retired after the mutex was released, because release
 * functions run inside lsm_epoch_retire, and that of a table comes back here.
 */
#include "table/cache.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"
#include "table/block_pool.h"

enum {
    SMALL_PART = 10, /* the small queue's part of the capacity */
    STAMP_UNIT = 512,
    DROP_BATCH = 128, /* slots emptied per hold of the mutex */
    MALLOC_OVERHEAD = 16,
    POOLED_CAPACITY_MIN = 16 << 20,
    IDLE_PART = 16,     /* the part of the capacity that may lie idle in the pool */
    IDLE_MIN = 4 << 20, /* and always this much */
    IDLE_EVICTIONS = 2, /* per insert while more does */
};

enum { QUEUE_SMALL, QUEUE_MAIN };

struct lsm_cache {
    lsm_epoch *epoch;     /* borrowed; constant */
    lsm_block_pool *pool; /* owned; constant; NULL: small blocks are allocated singly */
    lsm_mutex mu;
    lsm_list queues[2] LSM_GUARDED_BY(mu); /* oldest first */
    uint64_t bytes[2] LSM_GUARDED_BY(mu);
    uint64_t evicted LSM_GUARDED_BY(mu); /* bytes, from the small queue */
    /* Written under mu, read by anyone; relaxed, nothing else depends on them. */
    _Atomic uint64_t used;
    _Atomic uint64_t capacity;
    _Atomic uint64_t misses;
    /* Written by whoever pins; relaxed, likewise. */
    _Atomic uint64_t pinned;
};

lsm_cache *lsm_cache_create(uint64_t capacity, lsm_epoch *epoch) {
    lsm_cache *cache = lsm_calloc(1, sizeof(*cache));

    if (cache == NULL) {
        return NULL;
    }
    cache->epoch = epoch;
    if (LSM_ALLOC_POOLED && capacity >= POOLED_CAPACITY_MIN) {
        cache->pool = lsm_block_pool_create();
        if (cache->pool == NULL) {
            lsm_free(cache);
            return NULL;
        }
    }
    lsm_mutex_init(&cache->mu);
    lsm_list_init(&cache->queues[QUEUE_SMALL]);
    lsm_list_init(&cache->queues[QUEUE_MAIN]);
    atomic_store_explicit(&cache->capacity, capacity, memory_order_relaxed);
    return cache;
}

void lsm_cache_destroy(lsm_cache *cache) {
    if (cache == NULL) {
        return;
    }
    LSM_ASSERT(lsm_list_empty(&cache->queues[QUEUE_SMALL]));
    LSM_ASSERT(lsm_list_empty(&cache->queues[QUEUE_MAIN]));
    lsm_mutex_deinit(&cache->mu);
    lsm_block_pool_destroy(cache->pool);
    lsm_free(cache);
}

lsm_cached_block *lsm_cached_block_create(lsm_cache *cache, size_t size) {
    bool pooled = cache->pool != NULL && size <= LSM_POOL_SIZE_MAX - LSM_CACHE_LINE;
    lsm_cached_block *block =
        pooled ? lsm_block_pool_alloc(cache->pool, sizeof(*block) + size)
               : lsm_alloc_aligned(sizeof(*block) + size);

    if (block == NULL) {
        return NULL;
    }
    *block = (lsm_cached_block){.pooled = pooled};
    atomic_init(&block->refs, 1);
    return block;
}

static void free_block(lsm_cached_block *block) {
    if (block->pooled) {
        lsm_block_pool_free(block);
    } else {
        lsm_free_aligned(block);
    }
}

void lsm_cached_block_ref(lsm_cached_block *block) {
    /* relaxed: the caller already has the block; nothing is published by this. */
    atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
}

void lsm_cached_block_unref(lsm_cached_block *block) {
    /* acq_rel: every holder's reads come before the free by the last one. */
    if (block != NULL &&
        atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel) == 1) {
        free_block(block);
    }
}

static uint64_t charge_of(const lsm_cached_block *block) {
    size_t size = sizeof(*block) + block->block.size;

    return block->pooled ? lsm_block_pool_cell_size(size) : size + MALLOC_OVERHEAD;
}

void lsm_cache_pin(lsm_cache *cache, lsm_cached_block *block) {
    lsm_cached_block_ref(block);
    atomic_fetch_add_explicit(&cache->pinned, charge_of(block), memory_order_relaxed);
}

void lsm_cache_unpin(lsm_cache *cache, lsm_cached_block *block) {
    if (block != NULL) {
        atomic_fetch_sub_explicit(&cache->pinned, charge_of(block),
                                  memory_order_relaxed);
        lsm_cached_block_unref(block);
    }
}

static lsm_cached_block *block_of(lsm_list *link) {
    return LSM_CONTAINER_OF(link, lsm_cached_block, link);
}

static void release_chain(lsm_retired *retired) {
    lsm_cached_block *block = LSM_CONTAINER_OF(retired, lsm_cached_block, retired);

    while (block != NULL) {
        lsm_cached_block *next = block->next;

        lsm_cached_block_unref(block);
        block = next;
    }
}

/* Retires a chain of blocks that are in no slot and no queue. NULL is fine. */
static void retire_chain(lsm_cache *cache, lsm_cached_block *victims) {
    if (victims != NULL) {
        lsm_epoch_retire(cache->epoch, &victims->retired, release_chain);
    }
}

static void enqueue_locked(lsm_cache *cache, lsm_cached_block *block, uint8_t queue)
    LSM_REQUIRES(cache->mu) {
    block->queue = queue;
    lsm_list_insert(&cache->queues[queue], &block->link);
    cache->bytes[queue] += charge_of(block);
}

static void dequeue_locked(lsm_cache *cache, lsm_cached_block *block)
    LSM_REQUIRES(cache->mu) {
    lsm_list_remove(&block->link);
    cache->bytes[block->queue] -= charge_of(block);
}

/* Leaves `word` in the slot of a dequeued block and chains the block. */
static void unpublish_locked(lsm_cached_block *block, uintptr_t word,
                             lsm_cached_block **victims) {
    /* relaxed: readers that see it find nothing to read. */
    atomic_store_explicit(block->slot, word, memory_order_relaxed);
    block->next = *victims;
    *victims = block;
}

static uintptr_t make_stamp(uint64_t evicted) {
    return (uintptr_t)(evicted / STAMP_UNIT) << 1 | 1;
}

static bool is_young_locked(const lsm_cache *cache, uintptr_t stamp)
    LSM_REQUIRES(cache->mu) {
    uint64_t capacity = atomic_load_explicit(&cache->capacity, memory_order_relaxed);
    uintptr_t age = (make_stamp(cache->evicted) - stamp) >> 1;

    return age * (uint64_t)STAMP_UNIT < capacity - capacity / SMALL_PART;
}

/* Moves the oldest block of the small queue on, or out. */
static void evict_small_locked(lsm_cache *cache, lsm_cached_block **victims)
    LSM_REQUIRES(cache->mu) {
    lsm_cached_block *block = block_of(cache->queues[QUEUE_SMALL].next);

    dequeue_locked(cache, block);
    if (atomic_load_explicit(&block->hits, memory_order_relaxed) != 0) {
        atomic_store_explicit(&block->hits, 0, memory_order_relaxed);
        enqueue_locked(cache, block, QUEUE_MAIN);
        return;
    }
    cache->evicted += charge_of(block);
    unpublish_locked(block, make_stamp(cache->evicted), victims);
}

/* Sends the oldest block of the main queue round again, or out. */
static void evict_main_locked(lsm_cache *cache, lsm_cached_block **victims)
    LSM_REQUIRES(cache->mu) {
    lsm_cached_block *block = block_of(cache->queues[QUEUE_MAIN].next);
    uint8_t hits = atomic_load_explicit(&block->hits, memory_order_relaxed);

    dequeue_locked(cache, block);
    if (hits != 0) {
        atomic_store_explicit(&block->hits, (uint8_t)(hits - 1), memory_order_relaxed);
        enqueue_locked(cache, block, QUEUE_MAIN);
        return;
    }
    unpublish_locked(block, 0, victims);
}

static uint64_t used_locked(const lsm_cache *cache) LSM_REQUIRES(cache->mu) {
    return cache->bytes[QUEUE_SMALL] + cache->bytes[QUEUE_MAIN];
}

/* Whether memory is lost in the pool, and worth more than the blocks it would cost to
 * get it back. */
static bool is_pool_idle_locked(const lsm_cache *cache, uint64_t capacity)
    LSM_REQUIRES(cache->mu) {
    return cache->pool != NULL && used_locked(cache) > capacity / 2 &&
           lsm_block_pool_idle(cache->pool) > capacity / IDLE_PART + IDLE_MIN;
}

/* Evicts down to the capacity, and a little more if the pool lies idle. Every block
 * goes round at most LSM_CACHE_HITS_MAX times. */
static lsm_cached_block *evict_locked(lsm_cache *cache) LSM_REQUIRES(cache->mu) {
    uint64_t capacity = atomic_load_explicit(&cache->capacity, memory_order_relaxed);
    lsm_cached_block *victims = NULL;

    while (used_locked(cache) > capacity && !LSM_MUTANT(BLOCK_CACHE_GROWS)) {
        if (cache->bytes[QUEUE_SMALL] > capacity / SMALL_PART ||
            lsm_list_empty(&cache->queues[QUEUE_MAIN])) {
            evict_small_locked(cache, &victims);
        } else {
            evict_main_locked(cache, &victims);
        }
    }
    for (int i = 0; i < IDLE_EVICTIONS && is_pool_idle_locked(cache, capacity); i++) {
        /* Runs of sizes that are no longer wanted are kept by old blocks. */
        if (lsm_list_empty(&cache->queues[QUEUE_MAIN])) {
            evict_small_locked(cache, &victims);
        } else {
            evict_main_locked(cache, &victims);
        }
    }
    atomic_store_explicit(&cache->used, used_locked(cache), memory_order_relaxed);
    return victims;
}

static lsm_cached_block *insert(lsm_cache *cache, lsm_cache_slot *slot,
                                lsm_cached_block *block, bool hot) {
    lsm_cached_block *victims = NULL;
    uintptr_t word = 0;

    lsm_mutex_lock(&cache->mu);
    word = atomic_load_explicit(slot, memory_order_relaxed);
    if (word != 0 && (word & 1) == 0) {
        lsm_mutex_unlock(&cache->mu);
        lsm_cached_block_unref(block);
        return (lsm_cached_block *)word;
    }
    block->slot = slot;
    hot = hot || (word != 0 && is_young_locked(cache, word));
    enqueue_locked(cache, block, hot ? QUEUE_MAIN : QUEUE_SMALL);
    /* release: pairs with the acquire of lsm_cache_load. */
    atomic_store_explicit(slot, (uintptr_t)block, memory_order_release);
    atomic_fetch_add_explicit(&cache->misses, 1, memory_order_relaxed);
    victims = evict_locked(cache);
    lsm_mutex_unlock(&cache->mu);
    retire_chain(cache, victims);
    return block;
}

lsm_cached_block *lsm_cache_insert(lsm_cache *cache, lsm_cache_slot *slot,
                                   lsm_cached_block *block) {
    return insert(cache, slot, block, false);
}

lsm_cached_block *lsm_cache_insert_hot(lsm_cache *cache, lsm_cache_slot *slot,
                                       lsm_cached_block *block) {
    return insert(cache, slot, block, true);
}

/* Whether the oldest block of a queue was not read again. */
static bool has_cold_head_locked(const lsm_cache *cache, uint8_t queue)
    LSM_REQUIRES(cache->mu) {
    const lsm_list *head = &cache->queues[queue];

    return !lsm_list_empty(head) &&
           atomic_load_explicit(&block_of(head->next)->hits, memory_order_relaxed) == 0;
}

/* Evicts for a block of `charge` bytes, if it displaces any, only what was not read
 * again. A block goes from one queue to the other at most once, so this ends. */
static bool make_room_locked(lsm_cache *cache, uint64_t charge, bool displaces,
                             lsm_cached_block **victims) LSM_REQUIRES(cache->mu) {
    uint64_t capacity = atomic_load_explicit(&cache->capacity, memory_order_relaxed);

    while (used_locked(cache) + charge > capacity) {
        if (!displaces) {
            return false;
        }
        if (has_cold_head_locked(cache, QUEUE_SMALL)) {
            evict_small_locked(cache, victims);
        } else if (has_cold_head_locked(cache, QUEUE_MAIN)) {
            evict_main_locked(cache, victims);
        } else {
            return false;
        }
    }
    return true;
}

bool lsm_cache_insert_warm(lsm_cache *cache, lsm_cache_slot *slot,
                           lsm_cached_block *block, uint8_t heat) {
    lsm_cached_block *victims = NULL;
    bool main_queue = heat >= LSM_HEAT_MAIN;
    uint8_t hits = (uint8_t)(heat - (main_queue ? LSM_HEAT_MAIN : LSM_HEAT_SMALL));

    lsm_mutex_lock(&cache->mu);
    uintptr_t word = atomic_load_explicit(slot, memory_order_relaxed);
    bool there = word != 0 && (word & 1) == 0;
    bool room = !there && make_room_locked(cache, charge_of(block),
                                           heat > LSM_HEAT_SMALL, &victims);
    if (room) {
        block->slot = slot;
        atomic_store_explicit(&block->hits, hits, memory_order_relaxed);
        enqueue_locked(cache, block, main_queue ? QUEUE_MAIN : QUEUE_SMALL);
        /* release: pairs with the acquire of lsm_cache_load. */
        atomic_store_explicit(slot, (uintptr_t)block, memory_order_release);
    }
    atomic_store_explicit(&cache->used, used_locked(cache), memory_order_relaxed);
    lsm_mutex_unlock(&cache->mu);
    retire_chain(cache, victims);
    if (!room) {
        lsm_cached_block_unref(block);
    }
    return room || there;
}

/* Of what a slot holds; under the mutex. */
static uint8_t heat_of(uintptr_t word) {
    if (word == 0 || (word & 1) != 0) {
        return 0;
    }
    const lsm_cached_block *block = (const lsm_cached_block *)word;
    uint8_t hits = atomic_load_explicit(&block->hits, memory_order_relaxed);
    return (uint8_t)(hits +
                     (block->queue == QUEUE_MAIN ? LSM_HEAT_MAIN : LSM_HEAT_SMALL));
}

void lsm_cache_heats(lsm_cache *cache, lsm_cache_slot *slots, size_t count,
                     uint8_t *heats) {
    lsm_mutex_lock(&cache->mu);
    for (size_t i = 0; i < count; i++) {
        heats[i] = heat_of(atomic_load_explicit(&slots[i], memory_order_relaxed));
    }
    lsm_mutex_unlock(&cache->mu);
}

bool lsm_cache_is_hot(lsm_cache *cache, lsm_cache_slot *slot) {
    bool hot = false;

    lsm_mutex_lock(&cache->mu);
    uintptr_t word = atomic_load_explicit(slot, memory_order_relaxed);
    if (word != 0 && (word & 1) == 0) {
        lsm_cached_block *block = (lsm_cached_block *)word;

        hot = block->queue == QUEUE_MAIN ||
              atomic_load_explicit(&block->hits, memory_order_relaxed) != 0;
    }
    lsm_mutex_unlock(&cache->mu);
    return hot;
}

/* Empties some slots; what was in them is chained in front of `victims`. */
static lsm_cached_block *empty_slots(lsm_cache *cache, lsm_cache_slot *slots,
                                     size_t count, lsm_cached_block *victims) {
    lsm_mutex_lock(&cache->mu);
    for (size_t i = 0; i < count; i++) {
        uintptr_t word = atomic_load_explicit(&slots[i], memory_order_relaxed);

        if (word != 0 && (word & 1) == 0) {
            lsm_cached_block *block = (lsm_cached_block *)word;

            dequeue_locked(cache, block);
            unpublish_locked(block, 0, &victims);
        }
    }
    atomic_store_explicit(&cache->used, used_locked(cache), memory_order_relaxed);
    lsm_mutex_unlock(&cache->mu);
    return victims;
}

void lsm_cache_drop(lsm_cache *cache, lsm_cache_slot *slots, size_t count) {
    lsm_cached_block *victims = NULL;

    for (size_t i = 0; i < count; i += DROP_BATCH) {
        size_t batch = count - i < DROP_BATCH ? count - i : DROP_BATCH;

        victims = empty_slots(cache, slots + i, batch, victims);
    }
    retire_chain(cache, victims);
}

uint64_t lsm_cache_used(const lsm_cache *cache) {
    return atomic_load_explicit(&cache->used, memory_order_relaxed);
}

uint64_t lsm_cache_pinned(const lsm_cache *cache) {
    return atomic_load_explicit(&cache->pinned, memory_order_relaxed);
}

uint64_t lsm_cache_capacity(const lsm_cache *cache) {
    return atomic_load_explicit(&cache->capacity, memory_order_relaxed);
}

void lsm_cache_set_capacity(lsm_cache *cache, uint64_t capacity) {
    lsm_cached_block *victims = NULL;

    lsm_mutex_lock(&cache->mu);
    atomic_store_explicit(&cache->capacity, capacity, memory_order_relaxed);
    victims = evict_locked(cache);
    lsm_mutex_unlock(&cache->mu);
    retire_chain(cache, victims);
}

uint64_t lsm_cache_misses(const lsm_cache *cache) {
    return atomic_load_explicit(&cache->misses, memory_order_relaxed);
}
