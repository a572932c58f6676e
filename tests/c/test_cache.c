/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the cache keeps to its capacity, keeps what is read again and not what is read
 * once, and never takes a block away from a reader. Method: slots without tables,
 * blocks of one size whose bytes say which slot they belong to; threads that insert,
 * read, hold and drop at once (to be run under ThreadSanitizer, too).
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "env/sync.h"
#include "table/cache.h"

enum { BLOCK_SIZE = 944, CHARGE = 1024, SLOTS = 8000 };

typedef struct cache_fixture {
    lsm_epoch epoch;
    lsm_cache *cache;
    lsm_cache_slot *slots;
} cache_fixture;

static void begin(cache_fixture *f, uint64_t blocks) {
    CHECK(lsm_epoch_init(&f->epoch));
    f->cache = lsm_cache_create(blocks * CHARGE, &f->epoch);
    f->slots = lsm_calloc(SLOTS, sizeof(*f->slots));
    CHECK(f->cache != NULL && f->slots != NULL);
}

static void end(cache_fixture *f) {
    lsm_cache_drop(f->cache, f->slots, SLOTS);
    CHECK_EQ(lsm_cache_used(f->cache), 0);
    lsm_epoch_poll(&f->epoch);
    lsm_cache_destroy(f->cache);
    lsm_free(f->slots);
    lsm_epoch_deinit(&f->epoch);
}

static lsm_cached_block *make_block(cache_fixture *f, size_t slot) {
    lsm_cached_block *block = lsm_cached_block_create(f->cache, BLOCK_SIZE);

    CHECK(block != NULL);
    block->block.data = block->data;
    block->block.size = BLOCK_SIZE;
    memset(block->data, (int)(slot % 251), BLOCK_SIZE);
    return block;
}

static void check_block(const lsm_cached_block *block, size_t slot) {
    CHECK_EQ(block->data[0], slot % 251);
    CHECK_EQ(block->data[BLOCK_SIZE - 1], slot % 251);
}

/* What a point read does. true: it was there. */
static bool use(cache_fixture *f, size_t slot) {
    lsm_epoch_token token = lsm_epoch_enter(&f->epoch);
    lsm_cached_block *block = lsm_cache_load(&f->slots[slot]);
    bool hit = block != NULL;

    if (!hit) {
        block = lsm_cache_insert(f->cache, &f->slots[slot], make_block(f, slot));
    }
    check_block(block, slot);
    lsm_epoch_leave(token);
    return hit;
}

static bool has(cache_fixture *f, size_t slot) {
    return lsm_cache_peek(&f->slots[slot]) != NULL;
}

static size_t count_cached(cache_fixture *f, size_t first, size_t end) {
    size_t count = 0;

    for (size_t i = first; i < end; i++) {
        count += has(f, i);
    }
    return count;
}

LSM_TEST(cache_holds_what_fits_and_never_more) {
    lsm_rng rng = {1};
    cache_fixture f;

    begin(&f, 100);
    for (int i = 0; i < 100; i++) {
        CHECK(!use(&f, (size_t)i));
    }
    CHECK_EQ(count_cached(&f, 0, SLOTS), 100);
    CHECK_EQ(lsm_cache_used(f.cache), 100 * CHARGE);
    for (int i = 0; i < 20000; i++) {
        (void)use(&f, lsm_rng_below(&rng, 1 + lsm_rng_below(&rng, 400)));
        CHECK(lsm_cache_used(f.cache) <= 100 * CHARGE);
    }
    CHECK_EQ(count_cached(&f, 0, SLOTS) * CHARGE, lsm_cache_used(f.cache));
    CHECK(lsm_cache_used(f.cache) == 100 * CHARGE);
    end(&f);
}

LSM_TEST(cache_counts_a_miss_for_every_block_inserted) {
    cache_fixture f;

    begin(&f, 10);
    for (size_t i = 0; i < 7; i++) {
        (void)use(&f, i);
        (void)use(&f, i);
    }
    CHECK_EQ(lsm_cache_misses(f.cache), 7);
    end(&f);
}

LSM_TEST(cache_scan_does_not_flush_hot_blocks) {
    enum { HOT = 50 };
    cache_fixture f;
    size_t hits = 0;

    begin(&f, 100);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < HOT; i++) {
            (void)use(&f, i);
        }
    }
    /* A scan of 30 times the capacity, with a hot read now and then. */
    for (size_t i = HOT; i < 3000; i++) {
        (void)use(&f, i);
        if (i % 10 == 0) {
            hits += use(&f, i / 10 % HOT);
        }
    }
    CHECK_EQ(hits, 295);
    CHECK_EQ(count_cached(&f, 0, HOT), HOT);
    end(&f);
}

/* Reads `count` blocks once that were never read before. */
static void pass_through(cache_fixture *f, size_t *next, size_t count) {
    for (size_t i = 0; i < count; i++) {
        CHECK(!use(f, (*next)++));
    }
}

LSM_TEST(cache_block_that_comes_back_soon_enters_the_main_queue) {
    cache_fixture f;
    size_t next = 10;

    begin(&f, 100);
    (void)use(&f, 0);
    pass_through(&f, &next, 100);
    CHECK(!has(&f, 0));
    CHECK(!use(&f, 0)); /* its ghost is young */
    CHECK(!use(&f, 1)); /* this one was never seen */
    pass_through(&f, &next, 100);
    CHECK(has(&f, 0));
    CHECK(!has(&f, 1));
    end(&f);
}

LSM_TEST(cache_block_that_comes_back_late_starts_again) {
    cache_fixture f;
    size_t next = 10;

    begin(&f, 100);
    (void)use(&f, 0);
    pass_through(&f, &next, 300);
    CHECK(!has(&f, 0));
    CHECK(!use(&f, 0));
    pass_through(&f, &next, 100);
    CHECK(!has(&f, 0));
    end(&f);
}

LSM_TEST(cache_main_queue_gives_up_what_is_no_longer_read) {
    enum { OLD = 90 };
    cache_fixture f;

    begin(&f, 100);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < OLD; i++) {
            (void)use(&f, i);
        }
    }
    /* A new working set, read again and again, moves in. */
    for (int round = 0; round < 12; round++) {
        for (size_t i = OLD; i < 2 * OLD; i++) {
            (void)use(&f, i);
            (void)use(&f, i);
        }
    }
    CHECK(count_cached(&f, OLD, 2 * OLD) > OLD * 8 / 10);
    CHECK(count_cached(&f, 0, OLD) < OLD / 3);
    end(&f);
}

LSM_TEST(cache_main_queue_keeps_what_is_read_again) {
    enum { HOT = 20 };
    cache_fixture f;
    size_t kept = 0;

    begin(&f, 100);
    /* Blocks read twice flow through the main queue; the hot ones among them are read
     * once for every ten others. */
    for (size_t i = HOT; i < 4000; i++) {
        (void)use(&f, i);
        (void)use(&f, i);
        if (i % 10 == 0) {
            for (size_t j = 0; j < HOT; j++) {
                kept += use(&f, j);
            }
        }
    }
    CHECK(kept >= 398 * HOT - 3 * HOT);
    end(&f);
}

LSM_TEST(cache_of_no_capacity_lends_a_block_until_the_epoch_ends) {
    cache_fixture f;
    lsm_epoch_token token;
    lsm_cached_block *block;
    uint64_t live;

    begin(&f, 0);
    live = lsm_alloc_live();
    token = lsm_epoch_enter(&f.epoch);
    block = lsm_cache_insert(f.cache, &f.slots[3], make_block(&f, 3));
    CHECK(!has(&f, 3));
    check_block(block, 3);
    CHECK_EQ(lsm_alloc_live(), live + 1);
    lsm_epoch_leave(token);
    lsm_epoch_poll(&f.epoch);
    CHECK_EQ(lsm_alloc_live(), live);
    end(&f);
}

LSM_TEST(cache_shrinks_at_once_and_grows_again) {
    cache_fixture f;

    begin(&f, 100);
    for (size_t i = 0; i < 100; i++) {
        (void)use(&f, i);
    }
    lsm_cache_set_capacity(f.cache, 30 * CHARGE);
    CHECK_EQ(lsm_cache_capacity(f.cache), 30 * CHARGE);
    CHECK_EQ(count_cached(&f, 0, SLOTS), 30);
    lsm_cache_set_capacity(f.cache, 60 * CHARGE);
    for (size_t i = 0; i < 100; i++) {
        (void)use(&f, i);
    }
    CHECK_EQ(count_cached(&f, 0, SLOTS), 60);
    end(&f);
}

LSM_TEST(cache_second_insert_into_a_slot_yields_the_first_block) {
    cache_fixture f;
    lsm_epoch_token token;
    lsm_cached_block *first;
    uint64_t live;

    begin(&f, 10);
    token = lsm_epoch_enter(&f.epoch);
    first = lsm_cache_insert(f.cache, &f.slots[3], make_block(&f, 3));
    live = lsm_alloc_live();
    CHECK(lsm_cache_insert(f.cache, &f.slots[3], make_block(&f, 3)) == first);
    CHECK_EQ(lsm_alloc_live(), live);
    CHECK_EQ(lsm_cache_used(f.cache), CHARGE);
    CHECK_EQ(lsm_cache_misses(f.cache), 1);
    lsm_epoch_leave(token);
    end(&f);
}

LSM_TEST(cache_drop_leaves_blocks_to_those_who_hold_them) {
    cache_fixture f;
    lsm_epoch_token token;
    lsm_cached_block *held;
    lsm_cached_block *seen;

    begin(&f, 500);
    token = lsm_epoch_enter(&f.epoch);
    for (size_t i = 0; i < 400; i++) {
        (void)lsm_cache_insert(f.cache, &f.slots[i], make_block(&f, i));
    }
    held = lsm_cache_load(&f.slots[1]);
    lsm_cached_block_ref(held);
    seen = lsm_cache_load(&f.slots[2]);
    lsm_cache_drop(f.cache, f.slots, SLOTS);
    CHECK_EQ(count_cached(&f, 0, SLOTS), 0);
    check_block(seen, 2);
    lsm_epoch_leave(token);
    lsm_epoch_poll(&f.epoch);
    check_block(held, 1);
    lsm_cached_block_unref(held);
    end(&f);
}

typedef struct worker {
    cache_fixture *f;
    lsm_thread thread;
    uint64_t seed;
} worker;

/* Reads, holds blocks over epochs as iterators do, and now and then drops a table. */
static void run_worker(void *context) {
    worker *w = context;
    lsm_rng rng = {w->seed};
    lsm_cached_block *held = NULL;
    size_t held_slot = 0;

    for (int i = 0; i < 6000; i++) {
        size_t slot = lsm_rng_below(&rng, 1 + lsm_rng_below(&rng, 200));
        uint64_t choice = lsm_rng_below(&rng, 100);

        (void)use(w->f, slot);
        if (choice == 0) {
            lsm_cache_drop(w->f->cache, w->f->slots + slot, 10);
        } else if (choice == 1) {
            lsm_cache_set_capacity(w->f->cache, (20 + slot % 50) * CHARGE);
        } else if (choice < 20) {
            lsm_epoch_token token = lsm_epoch_enter(&w->f->epoch);

            if (held != NULL) {
                check_block(held, held_slot);
            }
            lsm_cached_block_unref(held);
            held = lsm_cache_load(&w->f->slots[slot]);
            held_slot = slot;
            if (held != NULL) {
                lsm_cached_block_ref(held);
            }
            lsm_epoch_leave(token);
        }
    }
    lsm_cached_block_unref(held);
}

LSM_TEST(cache_is_sound_under_threads_that_read_hold_drop_and_resize) {
    worker workers[4];
    cache_fixture f;

    begin(&f, 40);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(workers); i++) {
        workers[i] = (worker){.f = &f, .seed = i + 1};
        CHECK(lsm_thread_start(&workers[i].thread, run_worker, &workers[i], "cache"));
    }
    for (size_t i = 0; i < LSM_ARRAY_COUNT(workers); i++) {
        lsm_thread_join(&workers[i].thread);
    }
    CHECK(lsm_cache_used(f.cache) <= 70 * CHARGE);
    CHECK_EQ(count_cached(&f, 0, SLOTS) * CHARGE, lsm_cache_used(f.cache));
    end(&f);
}

LSM_TEST(cache_gives_up_blocks_rather_than_memory_when_sizes_change) {
    enum { CAPACITY = 16 << 20, OLD = 3200, OLD_SIZE = 4700, NEW_SIZE = 8000 };
    cache_fixture f;
    uint64_t live;

    begin(&f, CAPACITY / CHARGE);
    live = lsm_alloc_live();
    /* Of the old blocks every eighth is read again, so that its run stays in use. */
    for (size_t i = 0; i < SLOTS; i++) {
        size_t size = i < OLD ? OLD_SIZE : NEW_SIZE;
        lsm_epoch_token token = lsm_epoch_enter(&f.epoch);
        lsm_cached_block *block = lsm_cached_block_create(f.cache, size);

        CHECK(block != NULL);
        block->block.size = (uint32_t)size;
        block->block.data = block->data;
        (void)lsm_cache_insert(f.cache, &f.slots[i], block);
        if (i % 8 == 0) {
            (void)lsm_cache_load(&f.slots[i]);
        }
        lsm_epoch_leave(token);
    }
    CHECK(lsm_cache_used(f.cache) <= CAPACITY);
    CHECK(lsm_cache_used(f.cache) >= CAPACITY / 2);
    /* Every allocation is a chunk of the pool, where there is one. */
    CHECK(!LSM_ALLOC_POOLED ||
          (lsm_alloc_live() - live) * LSM_HUGE_PAGE <= CAPACITY + (9 << 20));
    end(&f);
}

LSM_TEST(cache_warms_slots_whose_blocks_have_gone) {
    cache_fixture f;
    size_t next = 10;
    uint8_t heats[3];

    begin(&f, 100);
    (void)use(&f, 0);
    pass_through(&f, &next, 100);
    CHECK(!has(&f, 0)); /* its ghost is there */
    CHECK(!lsm_cache_is_hot(f.cache, &f.slots[0]));
    CHECK(!lsm_cache_is_hot(f.cache, &f.slots[1]));
    CHECK(
        lsm_cache_insert_warm(f.cache, &f.slots[0], make_block(&f, 0), LSM_HEAT_MAIN));
    CHECK(has(&f, 0) && lsm_cache_is_hot(f.cache, &f.slots[0]));
    /* What is there already stays as it is. */
    CHECK(lsm_cache_insert_warm(f.cache, &f.slots[0], make_block(&f, 0), 8));
    lsm_cache_heats(f.cache, f.slots, 3, heats);
    CHECK(heats[0] == LSM_HEAT_MAIN && heats[1] == 0 && heats[2] == 0);
    end(&f);
}

LSM_TEST(cache_without_memory_is_none) {
    lsm_epoch epoch;

    CHECK(lsm_epoch_init(&epoch));
    for (uint64_t n = 0; n < 2; n++) {
        lsm_alloc_fail_after(n, 0);
        lsm_cache *cache = lsm_cache_create(UINT64_C(1) << 30, &epoch);
        lsm_alloc_fail_never();
        CHECK(cache == NULL || (n == 1 && !LSM_ALLOC_POOLED));
        lsm_cache_destroy(cache);
    }
    lsm_epoch_deinit(&epoch);
}
