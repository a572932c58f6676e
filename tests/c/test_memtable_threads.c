/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers beside the writer of a memtable, for the thread sanitizer as much as for the
 * answers. The writer goes on with the next batch while readers are at work with what
 * was published, so every batch is inserted under their eyes.
 */
#include "memtable_help.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* One writer, several readers. Key k is written over and over; round r gives all keys
 * the sequences r * KEYS + 1 .. (r + 1) * KEYS, in an order of its own. */
enum { KEYS = 400, ROUNDS = 30, WRITES = KEYS * ROUNDS, READERS = 3 };

typedef struct shared_run {
    lsm_memtable *mem;
    _Atomic uint64_t published;
    _Atomic uint64_t reads; /* rounds of readers */
} shared_run;

static lsmkv_bytes numbered_key(uint32_t number, uint8_t key[8]) {
    lsm_put_u64(key, lsm_rng_next(&(lsm_rng){number}));
    return (lsmkv_bytes){key, 8};
}

/* The key that gets this sequence: a permutation of KEYS for every round. */
static uint32_t key_of(uint64_t sequence) {
    uint64_t round = (sequence - 1) / KEYS;

    return (uint32_t)(((sequence - 1) * 7 + round * 31) % KEYS);
}

static void *write_rounds(void *context) {
    shared_run *run = context;
    lsm_rng rng = {9};
    uint64_t sequence = 1;
    lsm_batch batch;
    lsmkv_error err;

    lsm_batch_init(&batch);
    while (sequence <= WRITES) {
        uint64_t most = 1 + lsm_rng_below(&rng, 50);
        uint64_t first = sequence;

        lsm_batch_clear(&batch);
        for (; sequence <= WRITES && sequence < first + most; sequence++) {
            uint8_t key[8];
            uint8_t value[16];
            lsmkv_bytes bytes = {value, value_make(sequence, value)};

            CHECK_OK(lsm_batch_put(&batch, 1, numbered_key(key_of(sequence), key),
                                   bytes, &err));
        }
        lsm_batch_stamp(&batch, first, 0);
        insert_batch(run->mem, &batch, first);
        uint64_t reads = atomic_load(&run->reads);

        atomic_store_explicit(&run->published, sequence - 1, memory_order_release);
        /* The next batch goes in while readers are at work with this one. */
        while (atomic_load(&run->reads) == reads) {
            (void)sched_yield();
        }
    }
    lsm_batch_deinit(&batch);
    return NULL;
}

/* Every key that was written by `sequence` is found with its newest version of then. */
static void read_points(const lsm_memtable *mem, lsm_rng *rng, uint64_t sequence) {
    uint64_t back = lsm_rng_below(rng, sequence < KEYS ? sequence : KEYS);
    uint64_t expected = sequence - back;
    uint8_t skey[12] = {0, 0, 0, 1};
    lsm_found found;

    (void)numbered_key(key_of(expected), skey + 4);
    for (uint64_t later = expected + 1; later <= sequence; later++) {
        expected = key_of(later) == key_of(expected) ? later : expected;
    }
    lsm_lookup lookup = lsm_lookup_make(lsm_slice_make(skey, sizeof(skey)), sequence);

    CHECK_EQ(lsm_memtable_get(mem, &lookup, &found), LSMKV_OK);
    CHECK_EQ(lsm_trailer_sequence(found.trailer), expected);
    CHECK(value_is(found.field, found.trailer));
}

/* An iteration passes every version up to `sequence` once, in order. */
static void read_all(lsm_memtable *mem, uint64_t sequence, bool forward) {
    lsm_iter *iter = lsm_memtable_iter(mem);
    lsm_slice before = {NULL, 0};
    uint64_t seen = 0;

    CHECK(iter != NULL);
    if (forward) {
        lsm_iter_seek_first(iter);
    } else {
        lsm_iter_seek_last(iter);
    }
    while (iter->valid) {
        uint64_t trailer = lsm_ikey_trailer(iter->key);

        CHECK(value_is(iter->value, trailer));
        if (before.data != NULL) {
            int order = lsm_ikey_compare(before, iter->key);

            CHECK(forward ? order < 0 : order > 0);
        }
        before = iter->key;
        seen += lsm_trailer_sequence(trailer) <= sequence;
        if (forward) {
            lsm_iter_next(iter);
        } else {
            lsm_iter_prev(iter);
        }
    }
    CHECK_EQ(seen, sequence);
    lsm_iter_destroy(iter);
}

static void *read_rounds(void *context) {
    shared_run *run = context;
    lsm_rng rng = {(uint64_t)(uintptr_t)&rng};
    uint64_t sequence = 0;

    for (unsigned round = 0; sequence < WRITES; round++) {
        sequence = atomic_load_explicit(&run->published, memory_order_acquire);
        if (sequence == 0) {
            (void)sched_yield();
            continue;
        }
        atomic_fetch_add(&run->reads, 1);
        for (unsigned i = 0; i < 200; i++) {
            read_points(run->mem, &rng, sequence);
            read_points(run->mem, &rng, 1 + lsm_rng_below(&rng, sequence));
        }
        if (round % 4 == 0) {
            read_all(run->mem, sequence, round % 8 == 0);
        }
    }
    return NULL;
}

LSM_TEST(memtable_readers_beside_the_writer_see_all_that_was_published) {
    shared_run run = {.mem = lsm_memtable_create(8 << 20, 5)};
    pthread_t threads[READERS + 1];

    CHECK(run.mem != NULL);
    for (size_t i = 0; i < READERS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, read_rounds, &run), 0);
    }
    CHECK_EQ(pthread_create(&threads[READERS], NULL, write_rounds, &run), 0);
    for (size_t i = 0; i <= READERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    lsm_memtable_unref(run.mem);
}
