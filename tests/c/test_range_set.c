/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a set answers as the tombstones it was built from would, one by one.
 * Method: random tombstones over a small alphabet, every key and sequence asked, with
 * and without strata, written and read back; every hostile byte refused.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "table/range_set.h"

enum { KEYS = 40, TOMBSTONES_MAX = 60 };

typedef struct range_model {
    uint8_t keys[KEYS][6]; /* ascending stored keys */
    lsm_tombstone items[TOMBSTONES_MAX];
    lsm_tombstone shuffled[TOMBSTONES_MAX]; /* what a build may reorder */
    size_t count;
} range_model;

static lsm_slice key_at(const range_model *m, size_t i) {
    return lsm_slice_make(m->keys[i], 6);
}

static void model_fill(range_model *m, lsm_rng *rng) {
    memset(m, 0, sizeof(*m));
    for (size_t i = 0; i < KEYS; i++) {
        lsm_put_u32_be(m->keys[i], 1);
        m->keys[i][4] = (uint8_t)(i / 3);
        m->keys[i][5] = (uint8_t)(i % 3);
    }
    m->count = (size_t)lsm_rng_below(rng, TOMBSTONES_MAX + 1);
    for (size_t i = 0; i < m->count; i++) {
        size_t start = (size_t)lsm_rng_below(rng, KEYS - 1);
        size_t stop = start + 1 + (size_t)lsm_rng_below(rng, KEYS - 1 - start);

        m->items[i] = (lsm_tombstone){key_at(m, start), key_at(m, stop), 10 * (i + 1)};
    }
    memcpy(m->shuffled, m->items, sizeof(m->items));
}

static uint64_t model_cover(const range_model *m, lsm_slice skey, uint64_t sequence) {
    uint64_t newest = 0;

    for (size_t i = 0; i < m->count; i++) {
        const lsm_tombstone *t = &m->items[i];
        if (t->sequence <= sequence && t->sequence > newest &&
            lsm_slice_compare(t->start, skey) <= 0 &&
            lsm_slice_compare(skey, t->stop) < 0) {
            newest = t->sequence;
        }
    }
    return newest;
}

static void check_form(const lsm_range_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        const lsm_range_fragment *f = &set->fragments[i];
        CHECK(f->count > 0 && f->first + f->count <= set->sequence_count);
        CHECK(lsm_slice_compare(f->start, f->stop) < 0);
        CHECK(i == 0 || lsm_slice_compare(f[-1].stop, f->start) <= 0);
        for (size_t k = 1; k < f->count; k++) {
            CHECK(lsm_range_sequences(set, f)[k] < lsm_range_sequences(set, f)[k - 1]);
        }
    }
}

static lsm_range_set *read_back(const lsm_range_set *set, lsm_buf *bytes) {
    lsm_range_set *again = NULL;

    for (size_t i = 0; i < set->count; i++) {
        lsm_range_span span = lsm_range_span_of(set, i);
        CHECK(lsm_range_encode(bytes, &span));
    }
    CHECK_STATUS(lsm_range_set_decode(lsm_buf_slice(bytes), &again), LSMKV_OK);
    return again;
}

LSM_TEST(a_range_set_answers_as_its_tombstones_do) {
    static range_model m;
    lsm_rng rng = {77};

    for (int round = 0; round < 400; round++) {
        model_fill(&m, &rng);
        lsm_range_set *set = lsm_range_set_build(m.shuffled, m.count, NULL);
        lsm_buf bytes = {0};
        size_t place = (size_t)lsm_rng_below(&rng, 9);
        CHECK(set != NULL);
        check_form(set);
        lsm_range_set *again = set->count == 0 ? NULL : read_back(set, &bytes);
        for (size_t i = 0; i < 4 * KEYS; i++) {
            lsm_slice skey = key_at(&m, i < KEYS ? i : lsm_rng_below(&rng, KEYS));
            uint64_t sequence = lsm_rng_below(&rng, 10 * (m.count + 2));
            uint64_t expected = model_cover(&m, skey, sequence);
            CHECK_EQ(lsm_range_set_cover(set, skey, sequence, &place), expected);
            if (again != NULL) {
                CHECK_EQ(lsm_range_set_cover(again, skey, sequence, &place), expected);
            }
        }
        CHECK(lsm_range_set_charge(set) >= sizeof(*set));
        lsm_range_set_destroy(set);
        lsm_range_set_destroy(again);
        lsm_buf_deinit(&bytes);
    }
}

LSM_TEST(a_range_set_with_strata_answers_their_readers) {
    static range_model m;
    lsm_rng rng = {78};

    for (int round = 0; round < 400; round++) {
        uint64_t sequences[4];
        lsm_strata strata = {sequences, 1 + (size_t)lsm_rng_below(&rng, 4)};
        size_t place = 0;
        model_fill(&m, &rng);
        sequences[0] = lsm_rng_below(&rng, 100);
        for (size_t i = 1; i < strata.count; i++) {
            sequences[i] = sequences[i - 1] + 1 + lsm_rng_below(&rng, 200);
        }
        sequences[strata.count - 1] += 10 * TOMBSTONES_MAX;
        lsm_range_set *set = lsm_range_set_build(m.shuffled, m.count, &strata);
        CHECK(set != NULL);
        check_form(set);
        for (size_t i = 0; i < set->count; i++) {
            CHECK(set->fragments[i].count <= strata.count);
        }
        for (size_t i = 0; i < KEYS; i++) {
            for (size_t k = 0; k < strata.count; k++) {
                lsm_slice skey = key_at(&m, i);
                CHECK_EQ(lsm_range_set_cover(set, skey, sequences[k], &place),
                         model_cover(&m, skey, sequences[k]));
            }
        }
        lsm_range_set_destroy(set);
    }
}

LSM_TEST(a_range_list_takes_what_its_bounds_want) {
    static range_model m;
    lsm_rng rng = {79};

    for (int round = 0; round < 200; round++) {
        lsm_range_list list;
        size_t from = (size_t)lsm_rng_below(&rng, KEYS);
        size_t to = from + (size_t)lsm_rng_below(&rng, KEYS - from);
        size_t place = 0;
        model_fill(&m, &rng);
        lsm_range_set *whole = lsm_range_set_build(m.shuffled, m.count, NULL);
        CHECK(whole != NULL);
        lsm_range_list_init(&list);
        list.start = key_at(&m, from);
        list.stop = key_at(&m, to);
        list.sequence_max = lsm_rng_below(&rng, 10 * (m.count + 1));
        CHECK(lsm_range_list_add_set(&list, whole));
        lsm_strata strata = {&list.sequence_max, 1};
        lsm_range_set *set = lsm_range_set_build(list.items, list.count, &strata);
        CHECK(set != NULL);
        check_form(set);
        for (size_t i = from; i < to; i++) {
            CHECK_EQ(lsm_range_set_cover(set, key_at(&m, i), list.sequence_max, &place),
                     model_cover(&m, key_at(&m, i), list.sequence_max));
        }
        lsm_range_set_destroy(set);
        lsm_range_set_destroy(whole);
        lsm_range_list_deinit(&list);
    }
}

/* The whole of a tombstone that others cut is one fragment again where they are of no
 * account. */
LSM_TEST(strata_undo_cuts_that_do_nothing) {
    static range_model m;
    lsm_rng rng = {80};
    uint64_t sequence = LSM_SEQUENCE_MAX;
    lsm_strata strata = {&sequence, 1};

    model_fill(&m, &rng);
    for (size_t i = 0; i < 10; i++) {
        m.items[i] = (lsm_tombstone){key_at(&m, i), key_at(&m, i + 5), 5 + i};
    }
    m.items[10] = (lsm_tombstone){key_at(&m, 0), key_at(&m, 30), 99};
    lsm_range_set *set = lsm_range_set_build(m.items, 11, &strata);
    CHECK(set != NULL);
    CHECK_EQ(set->count, 1);
    CHECK_EQ(set->sequence_count, 1);
    CHECK_EQ(set->sequences[0], 99);
    lsm_range_set_destroy(set);
}

LSM_TEST(a_range_set_out_of_proportion_is_not_built) {
    enum { COUNT = 3000 };
    lsm_tombstone *items = lsm_calloc(COUNT, sizeof(*items));
    uint8_t *keys = lsm_alloc((size_t)2 * COUNT * 6);
    uint64_t sequence = LSM_SEQUENCE_MAX;
    lsm_strata strata = {&sequence, 1};

    CHECK(items != NULL && keys != NULL);
    for (size_t i = 0; i < 2 * COUNT; i++) {
        lsm_put_u32_be(keys + 6 * i, 1);
        keys[6 * i + 4] = (uint8_t)(i >> 8);
        keys[6 * i + 5] = (uint8_t)i;
    }
    for (size_t i = 0; i < COUNT; i++) {
        items[i] =
            (lsm_tombstone){lsm_slice_make(keys + 6 * i, 6),
                            lsm_slice_make(keys + 6 * (2 * COUNT - 1 - i), 6), i + 1};
    }
    CHECK(lsm_range_set_build(items, COUNT, NULL) == NULL);
    lsm_range_set *set = lsm_range_set_build(items, COUNT, &strata);
    CHECK(set != NULL);
    CHECK_EQ(set->count, 2 * COUNT - 1);
    lsm_range_set_destroy(set);
    lsm_free(keys);
    lsm_free(items);
}

/* What takes the square of their number takes minutes here. */
LSM_TEST(tombstones_that_all_overlap_are_built_into_a_set_quickly) {
    enum { COUNT = 100000, SIZE = 8 };
    lsm_tombstone *items = lsm_calloc(COUNT, sizeof(*items));
    uint8_t *keys = lsm_alloc((size_t)2 * COUNT * SIZE);
    uint64_t sequences[] = {COUNT / 3, COUNT / 2, LSM_SEQUENCE_MAX};
    lsm_strata strata = {sequences, LSM_ARRAY_COUNT(sequences)};

    CHECK(items != NULL && keys != NULL);
    for (size_t i = 0; i < 2 * COUNT; i++) {
        lsm_put_u32_be(keys + SIZE * i, 1);
        lsm_put_u32_be(keys + SIZE * i + 4, (uint32_t)i);
    }
    for (int onion = 0; onion < 2; onion++) {
        for (size_t i = 0; i < COUNT; i++) {
            size_t stop = onion ? 2 * COUNT - 1 - i : COUNT + i;
            items[i] = (lsm_tombstone){lsm_slice_make(keys + SIZE * i, SIZE),
                                       lsm_slice_make(keys + SIZE * stop, SIZE), i + 1};
        }
        lsm_range_set *set = lsm_range_set_build(items, COUNT, &strata);
        CHECK(set != NULL);
        size_t place = 0;
        for (size_t i = 0; i < COUNT; i += 997) {
            lsm_slice key = lsm_slice_make(keys + SIZE * i, SIZE);
            uint64_t seen = i + 1 < COUNT / 2 ? i + 1 : COUNT / 2;
            CHECK_EQ(lsm_range_set_cover(set, key, LSM_SEQUENCE_MAX, &place), i + 1);
            CHECK_EQ(lsm_range_set_cover(set, key, COUNT / 2, &place), seen);
        }
        lsm_range_set_destroy(set);
    }
    lsm_free(keys);
    lsm_free(items);
}

LSM_TEST(hostile_bytes_of_a_range_set_are_refused) {
    static range_model m;
    lsm_rng rng = {81};

    for (int round = 0; round < 60; round++) {
        lsm_buf bytes = {0};
        lsm_range_set *again = NULL;
        model_fill(&m, &rng);
        lsm_range_set *set = lsm_range_set_build(m.shuffled, m.count, NULL);
        CHECK(set != NULL);
        if (set->count > 0) {
            lsm_range_set_destroy(read_back(set, &bytes));
        }
        for (size_t size = 0; size < bytes.size; size++) {
            /* Cut: a whole number of fragments is fine, anything else is not. */
            lsmkv_status status =
                lsm_range_set_decode(lsm_slice_make(bytes.data, size), &again);
            CHECK(status == LSMKV_OK || (status == LSMKV_CORRUPTION && again == NULL));
            if (status == LSMKV_OK) {
                check_form(again);
                CHECK(again->count < set->count);
            }
            lsm_range_set_destroy(again);
        }
        for (size_t i = 0; i < bytes.size; i++) {
            uint8_t was = bytes.data[i];
            bytes.data[i] = (uint8_t)lsm_rng_next(&rng);
            if (lsm_range_set_decode(lsm_buf_slice(&bytes), &again) == LSMKV_OK) {
                check_form(again);
            }
            lsm_range_set_destroy(again);
            bytes.data[i] = was;
        }
        lsm_range_set_destroy(set);
        lsm_buf_deinit(&bytes);
    }
}

static lsmkv_status decode_one(const char *start, size_t start_size, const char *stop,
                               size_t stop_size, const uint64_t sequences[2]) {
    lsm_range_set *set = NULL;
    lsm_buf bytes = {0};
    lsm_range_span span = {lsm_slice_make(start, start_size),
                           lsm_slice_make(stop, stop_size), sequences, 2};

    CHECK(lsm_range_encode(&bytes, &span));
    lsmkv_status status = lsm_range_set_decode(lsm_buf_slice(&bytes), &set);
    lsm_range_set_destroy(set);
    lsm_buf_deinit(&bytes);
    return status;
}

LSM_TEST(a_fragment_keeps_to_one_namespace_and_known_sequences) {
    const uint64_t good[2] = {9, 3};
    const uint64_t same[2] = {9, 9};
    const uint64_t zero[2] = {9, 0};
    const uint64_t large[2] = {LSM_SEQUENCE_MAX + 1, 3};

    CHECK_STATUS(decode_one("\0\0\0\1a", 5, "\0\0\0\1b", 5, good), LSMKV_OK);
    CHECK_STATUS(decode_one("\0\0\0\1a", 5, "\0\0\0\2", 4, good), LSMKV_OK);
    CHECK_STATUS(decode_one("\0\0\0\1", 4, "\0\0\0\2", 4, good), LSMKV_OK);
    CHECK_STATUS(decode_one("\0\0\0\1a", 5, "\0\0\0\2a", 5, good), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_one("\0\0\0\1a", 5, "\0\0\0\3", 4, good), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_one("\0\0\0\1b", 5, "\0\0\0\1a", 5, good), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_one("\0\0\0\1a", 5, "\0\0\0\1a", 5, good), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_one("\0\0\0", 3, "\0\0\0\1a", 5, good), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_one("\0\0\0\1a", 5, "\0\0\1", 3, good), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_one("\0\0\0\1a", 5, "\0\0\0\1b", 5, same), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_one("\0\0\0\1a", 5, "\0\0\0\1b", 5, zero), LSMKV_CORRUPTION);
    CHECK_STATUS(decode_one("\0\0\0\1a", 5, "\0\0\0\1b", 5, large), LSMKV_CORRUPTION);
}

LSM_TEST(a_range_set_without_memory_is_none) {
    static range_model m;
    lsm_rng rng = {82};
    uint64_t after = 0;

    do {
        model_fill(&m, &rng);
    } while (m.count < 20);
    for (;; after++) {
        lsm_alloc_fail_after(after, 1);
        lsm_range_set *set = lsm_range_set_build(m.shuffled, m.count, NULL);
        lsm_alloc_fail_never();
        if (set != NULL) {
            lsm_range_set_destroy(set);
            break;
        }
    }
    CHECK(after > 4);
}
