/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: pieces of the pool never overlap, memory given back serves other sizes and goes
 * back to the system, and the pool outlives its destruction while pieces are out.
 * Method: random sizes filled with patterns that are checked when freed; allocation
 * counts; threads (to be run under ThreadSanitizer, too).
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "env/sync.h"
#include "table/block_pool.h"

enum { PIECES = 3000 };

typedef struct piece {
    uint8_t *memory;
    size_t size;
    uint8_t pattern;
} piece;

static void take(lsm_block_pool *pool, piece *p, size_t size, uint8_t pattern) {
    *p = (piece){lsm_block_pool_alloc(pool, size), size, pattern};
    CHECK(p->memory != NULL);
    CHECK_EQ((uintptr_t)p->memory % LSM_CACHE_LINE, 0);
    memset(p->memory, pattern, size);
}

static void give(piece *p) {
    for (size_t i = 0; i < p->size; i++) {
        CHECK_EQ(p->memory[i], p->pattern);
    }
    lsm_block_pool_free(p->memory);
    *p = (piece){0};
}

LSM_TEST(pool_cells_waste_less_than_a_sixteenth_and_a_line) {
    for (size_t size = 1; size <= LSM_POOL_SIZE_MAX; size++) {
        size_t cell = lsm_block_pool_cell_size(size);

        CHECK(cell >= size);
        CHECK(cell <= size + size / 16 + LSM_CACHE_LINE);
        CHECK_EQ(cell % LSM_CACHE_LINE, 0);
        CHECK_EQ(lsm_block_pool_cell_size(cell), cell);
    }
}

LSM_TEST(pool_pieces_never_overlap) {
    static piece pieces[PIECES];
    lsm_block_pool *pool = lsm_block_pool_create();
    lsm_rng rng = {7};
    uint64_t bytes = 0;

    CHECK(pool != NULL);
    memset(pieces, 0, sizeof(pieces));
    for (int i = 0; i < 60000; i++) {
        piece *p = &pieces[lsm_rng_below(&rng, PIECES)];

        if (p->memory != NULL) {
            bytes -= lsm_block_pool_cell_size(p->size);
            give(p);
        } else {
            /* Few classes most of the time, now and then any. */
            size_t size = i % 50 == 0 ? 1 + lsm_rng_below(&rng, LSM_POOL_SIZE_MAX)
                                      : 300 + lsm_rng_below(&rng, 400);

            take(pool, p, size, (uint8_t)i);
            bytes += lsm_block_pool_cell_size(size);
        }
    }
    for (size_t i = 0; i < PIECES; i++) {
        if (pieces[i].memory != NULL) {
            give(&pieces[i]);
        }
    }
    CHECK(bytes > 0);
    CHECK_EQ(lsm_block_pool_idle(pool), 0);
    lsm_block_pool_destroy(pool);
}

LSM_TEST(pool_gives_free_runs_to_other_sizes_and_free_chunks_back) {
    static piece pieces[PIECES];
    lsm_block_pool *pool = lsm_block_pool_create();
    uint64_t live = lsm_alloc_live();
    uint64_t most = 0;

    CHECK(pool != NULL);
    for (size_t size = 1000; size <= 6000; size += 1000) {
        for (size_t i = 0; i < PIECES; i++) {
            take(pool, &pieces[i], size, (uint8_t)i);
        }
        most = lsm_alloc_live() - live;
        /* 18 MB of pieces in chunks of 2 MiB, at most 1/8 of each lost. */
        CHECK(most * LSM_HUGE_PAGE <= PIECES * size * 9 / 8 + 2 * LSM_HUGE_PAGE);
        for (size_t i = 0; i < PIECES; i++) {
            give(&pieces[i * 7 % PIECES]);
        }
        CHECK(lsm_alloc_live() - live <= 1);
    }
    CHECK(most > 7);
    lsm_block_pool_destroy(pool);
    CHECK_EQ(lsm_alloc_live(), live - 1);
}

LSM_TEST(pool_idle_counts_what_is_cut_for_one_size_and_not_used) {
    lsm_block_pool *pool = lsm_block_pool_create();
    static piece pieces[400];
    uint64_t idle;

    CHECK(pool != NULL);
    for (size_t i = 0; i < 400; i++) {
        take(pool, &pieces[i], 5000, (uint8_t)i);
    }
    idle = lsm_block_pool_idle(pool);
    CHECK(idle < 512 << 10);
    /* All but one piece of every run: nothing can be used for another size. */
    for (size_t i = 0; i < 400; i++) {
        if (i % 40 != 0) {
            give(&pieces[i]);
        }
    }
    CHECK(lsm_block_pool_idle(pool) > (uint64_t)1500 << 10);
    for (size_t i = 0; i < 400; i += 40) {
        give(&pieces[i]);
    }
    CHECK_EQ(lsm_block_pool_idle(pool), 0);
    lsm_block_pool_destroy(pool);
}

LSM_TEST(pool_pieces_take_idle_cells_that_are_a_little_larger) {
    static piece pieces[PIECES];
    enum { LARGE = 6400, SMALL = 6000, TINY = 3000 };
    lsm_block_pool *pool = lsm_block_pool_create();

    CHECK(pool != NULL);
    for (size_t i = 0; i < PIECES; i++) {
        take(pool, &pieces[i], LARGE, (uint8_t)i);
    }
    uint64_t full = lsm_block_pool_idle(pool);
    for (size_t i = 0; i < PIECES; i += 2) {
        give(&pieces[i]);
    }
    uint64_t half = lsm_block_pool_idle(pool);
    CHECK(half > full + PIECES / 2 * (uint64_t)(LARGE - 1));
    take(pool, &pieces[0], TINY, 1);
    CHECK(lsm_block_pool_idle(pool) > half); /* a run of its own */
    give(&pieces[0]);
    for (size_t i = 0; i < PIECES; i += 2) {
        take(pool, &pieces[i], SMALL, (uint8_t)i);
    }
    CHECK(lsm_block_pool_idle(pool) <= full);
    for (size_t i = 0; i < PIECES; i++) {
        give(&pieces[i]);
    }
    lsm_block_pool_destroy(pool);
}

LSM_TEST(pool_lives_on_until_its_last_piece_is_freed) {
    uint64_t live = lsm_alloc_live();
    lsm_block_pool *pool = lsm_block_pool_create();
    piece pieces[2];

    CHECK(pool != NULL);
    take(pool, &pieces[0], 5000, 1);
    take(pool, &pieces[1], 900, 2);
    lsm_block_pool_destroy(pool);
    give(&pieces[0]);
    CHECK(lsm_alloc_live() > live);
    give(&pieces[1]);
    CHECK_EQ(lsm_alloc_live(), live);
}

LSM_TEST(pool_without_memory_answers_null_and_goes_on) {
    lsm_block_pool *pool;
    piece p;

    lsm_alloc_fail_after(0, 0);
    CHECK(lsm_block_pool_create() == NULL);
    lsm_alloc_fail_never();
    pool = lsm_block_pool_create();
    CHECK(pool != NULL);
    lsm_alloc_fail_after(0, 0);
    CHECK(lsm_block_pool_alloc(pool, 5000) == NULL);
    lsm_alloc_fail_never();
    take(pool, &p, 5000, 3);
    give(&p);
    lsm_block_pool_destroy(pool);
}

typedef struct worker {
    lsm_block_pool *pool;
    lsm_thread thread;
    uint64_t seed;
} worker;

static void run_worker(void *context) {
    worker *w = context;
    lsm_rng rng = {w->seed};
    piece pieces[60] = {{0}};

    for (int i = 0; i < 20000; i++) {
        piece *p = &pieces[lsm_rng_below(&rng, LSM_ARRAY_COUNT(pieces))];

        if (p->memory != NULL) {
            give(p);
        } else {
            take(w->pool, p, 200 + lsm_rng_below(&rng, 6000), (uint8_t)i);
        }
    }
    for (size_t i = 0; i < LSM_ARRAY_COUNT(pieces); i++) {
        if (pieces[i].memory != NULL) {
            give(&pieces[i]);
        }
    }
}

LSM_TEST(pool_serves_several_threads) {
    lsm_block_pool *pool = lsm_block_pool_create();
    worker workers[3];

    CHECK(pool != NULL);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(workers); i++) {
        workers[i] = (worker){.pool = pool, .seed = i + 1};
        CHECK(lsm_thread_start(&workers[i].thread, run_worker, &workers[i], "pool"));
    }
    for (size_t i = 0; i < LSM_ARRAY_COUNT(workers); i++) {
        lsm_thread_join(&workers[i].thread);
    }
    CHECK_EQ(lsm_block_pool_idle(pool), 0);
    lsm_block_pool_destroy(pool);
}
