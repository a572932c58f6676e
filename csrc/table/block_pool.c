/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs with free cells wait in a list per class, chunks with free runs in one list. A
 * free cell holds the address of the next one; cells never used yet are counted. A
 * piece may lie in a cell of a class a little larger than its own. The owner of a piece
 * is found from its address, because chunks are aligned to their size.
 */
#include "table/block_pool.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/list.h"
#include "env/sync.h"

enum {
    CHUNK_SIZE = LSM_HUGE_PAGE,
    RUNS = 8,
    RUN_SIZE = CHUNK_SIZE / RUNS,
    HEADER_SIZE = 1024, /* of a chunk; the first run has that much less */
    STEP_LOG2 = 4,      /* classes per doubling */
    CLASSES = 128,
    SPARE_CHUNKS_MAX = 1,
    ROUND_UP_MAX = 3,  /* classes */
    ROUND_UP_PART = 4, /* of the size, for classes that are few lines */
};

/* All under the pool's mutex. */
typedef struct run {
    lsm_list link;      /* among the runs of its class with free cells */
    uint8_t *next_free; /* a cell; NULL: none was freed */
    uint32_t cell_size; /* 0: the run is free */
    uint32_t cells;
    uint32_t touched; /* cells that were ever used */
    uint32_t used;
} run;

typedef struct chunk {
    lsm_block_pool *pool; /* constant */
    lsm_list link;        /* among those with free runs; under the pool's mutex */
    uint32_t runs_used;   /* likewise */
    run runs[RUNS];
} chunk;

_Static_assert(sizeof(chunk) <= HEADER_SIZE, "the header has room for the runs");

struct lsm_block_pool {
    lsm_mutex mu;
    lsm_list partial[CLASSES] LSM_GUARDED_BY(mu);
    lsm_list chunks LSM_GUARDED_BY(mu); /* with free runs */
    uint32_t spare_chunks LSM_GUARDED_BY(mu);
    uint64_t run_bytes LSM_GUARDED_BY(mu);
    uint64_t cell_bytes LSM_GUARDED_BY(mu);
    bool closing LSM_GUARDED_BY(mu);
    _Atomic uint64_t idle; /* run_bytes - cell_bytes; relaxed, nothing depends on it */
};

lsm_block_pool *lsm_block_pool_create(void) {
    lsm_block_pool *pool = lsm_calloc(1, sizeof(*pool));

    if (pool == NULL) {
        return NULL;
    }
    lsm_mutex_init(&pool->mu);
    for (size_t i = 0; i < CLASSES; i++) {
        lsm_list_init(&pool->partial[i]);
    }
    lsm_list_init(&pool->chunks);
    return pool;
}

/* Frees a pool in which nothing is left. */
static void free_pool(lsm_block_pool *pool) LSM_NO_LOCK_ANALYSIS {
    while (!lsm_list_empty(&pool->chunks)) {
        chunk *spare = LSM_CONTAINER_OF(pool->chunks.next, chunk, link);

        lsm_list_remove(&spare->link);
        lsm_free_huge(spare, CHUNK_SIZE);
    }
    lsm_mutex_deinit(&pool->mu);
    lsm_free(pool);
}

/* Ends every change: notes what is idle, and frees a closing pool when it is empty. */
static void settle_and_unlock(lsm_block_pool *pool) LSM_RELEASE(pool->mu) {
    bool last = pool->closing && pool->cell_bytes == 0;

    atomic_store_explicit(&pool->idle, pool->run_bytes - pool->cell_bytes,
                          memory_order_relaxed);
    lsm_mutex_unlock(&pool->mu);
    if (last) {
        free_pool(pool);
    }
}

void lsm_block_pool_destroy(lsm_block_pool *pool) {
    if (pool != NULL) {
        lsm_mutex_lock(&pool->mu);
        pool->closing = true;
        settle_and_unlock(pool);
    }
}

/* The class of a size, and the size of its cells: the next number of cache lines with
 * at most STEP_LOG2 + 1 significant bits. */
static uint32_t pick_class(size_t size, uint32_t *cell_size) {
    uint32_t lines = (uint32_t)((size + LSM_CACHE_LINE - 1) / LSM_CACHE_LINE);
    uint32_t shift = 0;

    while (((lines + (1u << shift) - 1) >> shift) > (2u << STEP_LOG2)) {
        shift++;
    }
    lines = (lines + (1u << shift) - 1) >> shift;
    *cell_size = (lines << shift) * LSM_CACHE_LINE;
    return (shift << STEP_LOG2) + lines;
}

size_t lsm_block_pool_cell_size(size_t size) {
    uint32_t cell_size = 0;

    (void)pick_class(size, &cell_size);
    return cell_size;
}

static uint8_t *run_begin(chunk *owner, const run *r) {
    size_t index = (size_t)(r - owner->runs);

    return (uint8_t *)owner + (index == 0 ? HEADER_SIZE : index * RUN_SIZE);
}

static chunk *chunk_of(void *memory) {
    uint8_t *at = memory;

    return (chunk *)(void *)(at - ((uintptr_t)at & (CHUNK_SIZE - 1)));
}

/* A chunk with a free run. NULL: no memory. */
static chunk *find_chunk_locked(lsm_block_pool *pool) LSM_REQUIRES(pool->mu) {
    chunk *fresh = NULL;

    if (!lsm_list_empty(&pool->chunks)) {
        return LSM_CONTAINER_OF(pool->chunks.next, chunk, link);
    }
    fresh = lsm_alloc_huge(CHUNK_SIZE);
    if (fresh == NULL) {
        return NULL;
    }
    memset(fresh, 0, sizeof(*fresh));
    fresh->pool = pool;
    lsm_list_insert(&pool->chunks, &fresh->link);
    pool->spare_chunks++;
    return fresh;
}

/* Gives a free run to a class. NULL: no memory. */
static run *start_run_locked(lsm_block_pool *pool, uint32_t class_index,
                             uint32_t cell_size) LSM_REQUIRES(pool->mu) {
    LSM_ASSERT(class_index < CLASSES);
    chunk *owner = find_chunk_locked(pool);
    size_t index = 0;
    run *r = NULL;

    if (owner == NULL) {
        return NULL;
    }
    while (owner->runs[index].cell_size != 0) {
        index++;
    }
    r = &owner->runs[index];
    *r = (run){.cell_size = cell_size,
               .cells = (RUN_SIZE - (index == 0 ? HEADER_SIZE : 0u)) / cell_size};
    lsm_list_insert(&pool->partial[class_index], &r->link);
    pool->run_bytes += RUN_SIZE;
    pool->spare_chunks -= owner->runs_used == 0;
    owner->runs_used++;
    if (owner->runs_used == RUNS) {
        lsm_list_remove(&owner->link);
    }
    return r;
}

static void *take_cell_locked(lsm_block_pool *pool, run *r) LSM_REQUIRES(pool->mu) {
    uint8_t *cell = r->next_free;

    if (cell != NULL) {
        memcpy(&r->next_free, cell, sizeof(r->next_free));
    } else {
        cell = run_begin(chunk_of(r), r) + (size_t)r->touched * r->cell_size;
        r->touched++;
    }
    r->used++;
    pool->cell_bytes += r->cell_size;
    if (r->used == r->cells) {
        lsm_list_remove(&r->link);
    }
    return cell;
}

/* A run with a free cell of the class or, so that cells do not lie idle when sizes
 * shift a little, of one of the next ones. NULL: there is none. */
static run *find_run_locked(lsm_block_pool *pool, uint32_t class_index,
                            uint32_t cell_size) LSM_REQUIRES(pool->mu) {
    uint32_t end = class_index + ROUND_UP_MAX + 1;

    for (uint32_t i = class_index; i < end && i < CLASSES; i++) {
        if (!lsm_list_empty(&pool->partial[i])) {
            run *r = LSM_CONTAINER_OF(pool->partial[i].next, run, link);
            return r->cell_size <= cell_size + cell_size / ROUND_UP_PART ? r : NULL;
        }
    }
    return NULL;
}

void *lsm_block_pool_alloc(lsm_block_pool *pool, size_t size) {
    uint32_t cell_size = 0;
    uint32_t class_index = pick_class(size, &cell_size);
    void *cell = NULL;
    run *r = NULL;

    LSM_ASSERT(size != 0 && size <= LSM_POOL_SIZE_MAX);
    lsm_mutex_lock(&pool->mu);
    r = find_run_locked(pool, class_index, cell_size);
    if (r == NULL) {
        r = start_run_locked(pool, class_index, cell_size);
    }
    if (r != NULL) {
        cell = take_cell_locked(pool, r);
    }
    settle_and_unlock(pool);
    return cell;
}

/* Takes a run whose last cell was freed back from its class. */
static void end_run_locked(lsm_block_pool *pool, run *r) LSM_REQUIRES(pool->mu) {
    chunk *owner = chunk_of(r);

    lsm_list_remove(&r->link);
    r->cell_size = 0;
    pool->run_bytes -= RUN_SIZE;
    if (owner->runs_used == RUNS) {
        lsm_list_insert(&pool->chunks, &owner->link);
    }
    owner->runs_used--;
    if (owner->runs_used != 0) {
        return;
    }
    if (pool->spare_chunks == SPARE_CHUNKS_MAX) {
        lsm_list_remove(&owner->link);
        lsm_free_huge(owner, CHUNK_SIZE);
    } else {
        pool->spare_chunks++;
    }
}

void lsm_block_pool_free(void *memory) {
    chunk *owner = chunk_of(memory);
    lsm_block_pool *pool = owner->pool;
    uint32_t cell_size = 0;
    run *r = &owner->runs[(size_t)((uint8_t *)memory - (uint8_t *)owner) / RUN_SIZE];

    lsm_mutex_lock(&pool->mu);
    LSM_ASSERT(r->used != 0);
    if (r->used == r->cells) {
        lsm_list_insert(&pool->partial[pick_class(r->cell_size, &cell_size)], &r->link);
    }
    memcpy(memory, &r->next_free, sizeof(r->next_free));
    r->next_free = memory;
    r->used--;
    pool->cell_bytes -= r->cell_size;
    if (r->used == 0) {
        end_run_locked(pool, r);
    }
    settle_and_unlock(pool);
}

uint64_t lsm_block_pool_idle(const lsm_block_pool *pool) {
    return atomic_load_explicit(&pool->idle, memory_order_relaxed);
}
